package console

import (
	"fmt"
	"math"
	"slices"
	"strings"

	"github.com/latchkey-go/latchkey"
)

// spark is a small bar chart. Text says the same.
type spark struct{ Counts []int64 }

// Sum is the number beside the bars.
func (s *spark) Sum() int64 {
	var n int64
	for _, c := range s.Counts {
		n += c
	}
	return n
}

// spark returns a small chart in words.
func (w *Words) spark(s *spark) string {
	n := len(s.Counts)
	if s.Sum() == 0 {
		return w.say("usage.not-used", "days", n)
	}
	return w.say("usage.spark", "n", s.Sum(), "days", n, "today", s.Counts[n-1])
}

// Path returns the bars as an SVG path: 4 wide and at most 16 high.
func (s *spark) Path() string {
	top := slices.Max(s.Counts)
	var b strings.Builder
	for i, c := range s.Counts {
		if c > 0 {
			h := max(1, int(16*float64(c)/float64(top)))
			fmt.Fprintf(&b, "M%d 16v-%dh3v%dz", i*4, h, h)
		}
	}
	return b.String()
}

// bar is a day of a chart, or a row of a table.
type bar struct {
	Label, Full, Text string
	Count             int64
	Credits           latchkey.Credits
	X, Y, Width, End  int
	Height            int
	Tick              bool
}

// chart is a bar chart by day or by week, in a box of 720 by 180.
type chart struct {
	Bars    []bar
	Top     string
	Half    string
	Summary string
}

const chartHeight = 150

// roundUp returns the top of a chart's axis: 1, 2, 4, 5, 6 or 8 times a power of ten. So the middle is a round
// number, too.
func roundUp(top int64) int64 {
	for unit := int64(1); unit <= math.MaxInt64/10; unit *= 10 {
		for _, n := range []int64{1, 2, 4, 5, 6, 8} {
			if n*unit >= top {
				return n * unit
			}
		}
	}
	return math.MaxInt64
}

// newChart returns the chart of a range of days, which ends today or before.
func (v *view) newChart(bars []bar, days int, today bool) *chart {
	var top, sum int64
	at := 0
	for i, d := range bars {
		sum += d.Count
		if d.Count > top {
			top, at = d.Count, i
		}
	}
	c := &chart{Bars: bars}
	high := roundUp(top)
	if c.Top = v.words.number(high); high%2 == 0 {
		c.Half = v.words.number(high / 2)
	}
	width := float64(656) / float64(max(1, len(bars)))
	for i := range bars {
		b := &bars[i]
		b.X, b.End = 64+int(float64(i)*width), 64+int(float64(i+1)*width)
		b.Width = max(1, b.End-b.X-max(1, (b.End-b.X)/5))
		if b.Count > 0 {
			b.Height = max(1, int(chartHeight*float64(b.Count)/float64(high)))
		}
		b.Y = chartHeight - b.Height + 8
		b.Tick = i%7 == (len(bars)-1)%7
	}
	switch {
	case top == 0:
		c.Summary = v.say("usage.summary-none", "days", days)
	case today:
		c.Summary = v.say("usage.summary", "n", sum, "days", days, "day", own(bars[at].Full), "most", top,
			"today", bars[len(bars)-1].Count)
	default:
		c.Summary = v.say("usage.summary-past", "n", sum, "days", days, "day", own(bars[at].Full), "most", top)
	}
	return c
}
