package credits

import (
	"fmt"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/latchkey-go/latchkey/internal/fault"
)

// everyPeriod is all periods that there are.
func everyPeriod() []Period {
	list := []Period{{Unit: Minute}, {Unit: Hour}, {Unit: Day}, {Unit: Forever}}
	for anchor := 1; anchor <= 7; anchor++ {
		list = append(list, Period{Week, anchor})
	}
	for anchor := 1; anchor <= 28; anchor++ {
		list = append(list, Period{Month, anchor})
	}
	return list
}

func TestPeriods(t *testing.T) {
	for _, c := range []struct {
		of             Period
		at             string
		name, from, to string
	}{
		{Period{Unit: Minute}, "2026-11-30T14:25:59.999999", "2026-11-30T14:25/PT1M", "2026-11-30T14:25:00",
			"2026-11-30T14:26:00"},
		{Period{Unit: Minute}, "1970-01-01T00:00:00", "1970-01-01T00:00/PT1M", "1970-01-01T00:00:00", "1970-01-01T00:01:00"},
		{Period{Unit: Hour}, "2026-12-31T23:59:59", "2026-12-31T23/PT1H", "2026-12-31T23:00:00", "2027-01-01T00:00:00"},
		{Period{Unit: Day}, "2028-02-29T23:59:59", "2028-02-29/P1D", "2028-02-29T00:00:00", "2028-03-01T00:00:00"},
		{Period{Unit: Day}, "2027-02-28T12:00:00", "2027-02-28/P1D", "2027-02-28T00:00:00", "2027-03-01T00:00:00"},
		{Period{Week, 1}, "2026-11-30T00:00:00", "2026-11-30/P1W", "2026-11-30T00:00:00", "2026-12-07T00:00:00"}, // a Monday
		{Period{Week, 1}, "2026-11-29T23:59:59", "2026-11-23/P1W", "2026-11-23T00:00:00", "2026-11-30T00:00:00"},
		{Period{Week, 0}, "2026-11-29T23:59:59", "2026-11-23/P1W", "2026-11-23T00:00:00", "2026-11-30T00:00:00"},
		{Period{Week, 7}, "2026-11-29T00:00:00", "2026-11-29/P1W", "2026-11-29T00:00:00", "2026-12-06T00:00:00"},
		{Period{Week, 1}, "2027-01-01T00:00:00", "2026-12-28/P1W", "2026-12-28T00:00:00", "2027-01-04T00:00:00"},
		{Period{Week, 1}, "1970-01-01T00:00:00", "1969-12-29/P1W", "1969-12-29T00:00:00", "1970-01-05T00:00:00"},
		{Period{Month, 1}, "2026-11-30T23:59:59", "2026-11", "2026-11-01T00:00:00", "2026-12-01T00:00:00"},
		{Period{Month, 0}, "2026-02-01T00:00:00", "2026-02", "2026-02-01T00:00:00", "2026-03-01T00:00:00"},
		{Period{Month, 15}, "2026-11-14T23:59:59", "2026-10-15/P1M", "2026-10-15T00:00:00", "2026-11-15T00:00:00"},
		{Period{Month, 15}, "2026-11-15T00:00:00", "2026-11-15/P1M", "2026-11-15T00:00:00", "2026-12-15T00:00:00"},
		{Period{Month, 15}, "2027-01-01T00:00:00", "2026-12-15/P1M", "2026-12-15T00:00:00", "2027-01-15T00:00:00"},
		{Period{Month, 28}, "2028-02-28T00:00:00", "2028-02-28/P1M", "2028-02-28T00:00:00", "2028-03-28T00:00:00"},
		{Period{Month, 28}, "2028-03-01T00:00:00", "2028-02-28/P1M", "2028-02-28T00:00:00", "2028-03-28T00:00:00"},
	} {
		parse := func(s string) int64 {
			at, err := time.Parse("2006-01-02T15:04:05", s)
			require.NoError(t, err)
			return at.UnixMicro()
		}
		got, err := c.of.at(parse(c.at))
		require.NoError(t, err)
		require.Equal(t, span{c.name, parse(c.from), parse(c.to)}, got, "%+v at %s", c.of, c.at)
	}
}

func TestTimesWithoutAPeriod(t *testing.T) {
	for _, p := range everyPeriod() {
		for _, now := range []int64{-1, maxTime, maxTime + 1, -1 << 63, 1<<63 - 1} {
			_, err := p.at(now)
			require.ErrorIs(t, err, fault.ErrUnavailable, "%+v at %d", p, now)
		}
		for _, now := range []int64{0, maxTime - 1} {
			_, err := p.at(now)
			require.NoError(t, err)
		}
	}
}

// Every moment lies in exactly one part of a period, the parts follow each other, their names sort by time, and no two
// parts of any periods have the same name.
func TestPeriodsDivideTime(t *testing.T) {
	random := rand.New(rand.NewPCG(1, 2))
	names := map[string]string{}
	for _, p := range everyPeriod() {
		if p.Unit == Forever {
			for _, now := range []int64{0, 1, maxTime - 1} {
				is, err := p.at(now)
				require.NoError(t, err)
				require.Empty(t, is.name)
				require.True(t, is.from <= now && now < is.to)
			}
			continue
		}
		for range 300 {
			now := random.Int64N(maxTime)
			is, err := p.at(now)
			require.NoError(t, err)
			require.True(t, is.from <= now && now < is.to, "%+v at %d: %+v", p, now, is)
			for _, inside := range []int64{is.from, is.to - 1, is.from + random.Int64N(is.to-is.from)} {
				require.Equal(t, is, p.around(inside), "%+v", p)
			}
			next, before := p.around(is.to), p.around(is.from-1)
			require.Equal(t, is.to, next.from, "%+v", p)
			require.Equal(t, is.from, before.to, "%+v", p)
			if next.to <= maxTime && before.from >= 0 {
				require.Less(t, is.name, next.name)
				require.Less(t, before.name, is.name)
			}
			require.LessOrEqual(t, len(is.name), 64)
			whose := fmt.Sprintf("%+v from %d", p, is.from)
			if was, ok := names[is.name]; ok {
				require.Equal(t, was, whose, is.name)
			}
			names[is.name] = whose
			first, last := time.UnixMicro(is.from).UTC(), time.UnixMicro(is.to).UTC()
			require.Equal(t, first, first.Truncate(time.Minute))
			switch days := last.Sub(first) / (24 * time.Hour); p.Unit {
			case Week:
				require.EqualValues(t, 7, days)
				require.Equal(t, time.Weekday(p.Anchor%7), first.Weekday())
			case Month:
				require.True(t, days >= 28 && days <= 31)
				require.Equal(t, p.Anchor, first.Day())
				require.Equal(t, p.Anchor, last.Day())
			}
		}
	}
}

// What the periods have in common holds for a lease, and is worked out again where it ends.
func TestLimitsStandWhereTheirPeriodsMeet(t *testing.T) {
	l := &Limits{List: []Limit{{Period: Period{Unit: Hour}}, {Period: Period{Unit: Forever}}, {Period: Period{Month, 15}}}}
	at := time.Date(2026, 11, 14, 23, 30, 0, 0, time.UTC)
	was, err := l.at(at.UnixMicro())
	require.NoError(t, err)
	require.Equal(t, at.Add(-30*time.Minute).UnixMicro(), was.from)
	require.Equal(t, at.Add(30*time.Minute).UnixMicro(), was.to)
	same, err := l.at(was.to - 1)
	require.NoError(t, err)
	require.Same(t, was, same)
	next, err := l.at(was.to)
	require.NoError(t, err)
	require.Equal(t, "2026-11-15T00/PT1H", next.parts[0].name)
	require.Equal(t, "2026-11-14T23/PT1H", next.parts[0].before)
	require.Equal(t, "2026-11-15/P1M", next.parts[2].name)
	require.Equal(t, part{span: Period{Unit: Forever}.around(0)}, next.parts[1])
	_, err = l.at(-1)
	require.ErrorIs(t, err, fault.ErrUnavailable)
}
