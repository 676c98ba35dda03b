package predicate

import (
	"math/rand/v2"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// The calendar is Go's.
func TestDays(t *testing.T) {
	for day := int64(firstDayNumber) - 1000; day <= lastDayNumber; day += 1 + day&15 {
		text := time.Unix(day*secondsPerDay, 0).UTC().Format(time.DateOnly)
		got, ok := parseDay(text)
		if ok != (day >= firstDayNumber) || ok && got != day {
			t.Fatal(text, got, ok)
		}
	}
	for _, bad := range []string{"", "2026-02-29", "2026-13-01", "2026-00-01", "2026-01-00", "2026-1-1", "2026/01/01",
		"+026-01-01", "2026-01-01 ", "10000-01-01", "1900-02-29"} {
		_, ok := parseDay(bad)
		require.False(t, ok, bad)
	}
}

func TestInstants(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 0))
	for range 10_000 {
		micro := firstMicro + r.Int64N(lastMicro-firstMicro)
		text := time.UnixMicro(micro).In(time.FixedZone("", (r.IntN(28*60)-14*60)*60)).Format(time.RFC3339Nano)
		got, ok := parseInstant(text, true)
		if len(text) > 4 && text[4] != '-' { // a zone that leads into the year 10000
			continue
		}
		require.True(t, ok, text)
		require.Equal(t, micro, got, text)
		require.Equal(t, micro, must(parseInstant(formatInstant(micro), true)))
	}
}

func must(v int64, ok bool) int64 {
	if !ok {
		panic("not ok")
	}
	return v
}
