package credits

import (
	"fmt"
	"math"
	"time"

	"github.com/latchkey-go/latchkey/internal/fault"
)

// Unit is how long a period is.
type Unit uint8

const (
	Minute Unit = iota + 1
	Hour
	Day
	Week
	Month
	Forever
)

// Period divides time, in UTC, into parts that follow each other without a gap.
type Period struct {
	Unit   Unit
	Anchor int // the first day: of a Month 1 to 28, of a Week 1 (Monday) to 7; of others 0
}

// span is one part of a Period: from ≤ t < to, in µs since 1970.
type span struct {
	// name tells it from every other part of every Period. Names of one Period sort by time, the first of all too: "" is
	// Forever. A month that begins on its first day is named as all months once were: "2026-11".
	name     string
	from, to int64
}

// maxTime is the end of the years whose names sort by time.
var maxTime = time.Date(10000, 1, 1, 0, 0, 0, 0, time.UTC).UnixMicro()

// at returns the part that now lies in. It returns ErrUnavailable for a time before 1970, or after the year 9999: no
// clock that is right shows one.
func (p Period) at(now int64) (span, error) {
	if now < 0 || now >= maxTime {
		return span{}, fmt.Errorf("%w: the clock is wrong: it shows a time outside the years 1970 to 9999",
			fault.ErrUnavailable)
	}
	return p.around(now), nil
}

// around is at for any time.
func (p Period) around(now int64) span {
	t := time.UnixMicro(now).UTC()
	y, m, d := t.Date()
	day := func(y int, m time.Month, d int) time.Time { return time.Date(y, m, d, 0, 0, 0, 0, time.UTC) }
	var from, to time.Time
	layout, suffix := "2006-01-02", "" // ISO 8601: where it begins, and how long it is
	switch p.Unit {
	case Minute:
		from, layout, suffix = t.Truncate(time.Minute), "2006-01-02T15:04", "/PT1M"
		to = from.Add(time.Minute)
	case Hour:
		from, layout, suffix = t.Truncate(time.Hour), "2006-01-02T15", "/PT1H"
		to = from.Add(time.Hour)
	case Day:
		from, to, suffix = day(y, m, d), day(y, m, d+1), "/P1D"
	case Week:
		// time.Monday is 1, and Sunday is 0.
		since := (int(t.Weekday()) + 7 - p.anchor()%7) % 7
		from, to, suffix = day(y, m, d-since), day(y, m, d-since+7), "/P1W"
	case Month:
		if d < p.anchor() {
			m--
		}
		from, to, suffix = day(y, m, p.anchor()), day(y, m+1, p.anchor()), "/P1M"
		if p.anchor() == 1 {
			layout, suffix = "2006-01", ""
		}
	default: // Forever
		return span{from: math.MinInt64, to: math.MaxInt64}
	}
	return span{from.Format(layout) + suffix, from.UnixMicro(), to.UnixMicro()}
}

func (p Period) anchor() int { return max(p.Anchor, 1) }

// present is the parts of all periods of some limits that a moment lies in.
type present struct {
	from, to int64 // what they have in common
	parts    []part
}

// part is where one limit stands.
type part struct {
	span
	before string // the part before it, which it may carry from; "" for Forever
	ends   int64  // when the part after it is over, so that nothing can draw on it any more; 0: never
}

// at returns the parts that now lies in. They are worked out once for each of them.
func (l *Limits) at(now int64) (*present, error) {
	if p := l.now.Load(); p != nil && now >= p.from && now < p.to {
		return p, nil
	}
	p := &present{from: math.MinInt64, to: math.MaxInt64, parts: make([]part, len(l.List))}
	for i := range l.List {
		of := l.List[i].Period
		is, err := of.at(now)
		if err != nil {
			return nil, err
		}
		p.from, p.to = max(p.from, is.from), min(p.to, is.to)
		if p.parts[i] = (part{span: is}); of.Unit != Forever {
			p.parts[i].before, p.parts[i].ends = of.around(is.from-1).name, of.around(is.to).to
		}
	}
	l.now.Store(p)
	return p, nil
}
