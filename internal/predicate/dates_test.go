package predicate

import (
	"fmt"
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

// isDay takes the texts that parseDay takes, and no other: each byte of a day is replaced by every other one.
func TestIsDay(t *testing.T) {
	same := func(text string) {
		if _, ok := parseDay(text); ok != isDay(text) {
			t.Fatalf("%q: %t", text, ok)
		}
	}
	for year := range 10_000 {
		for _, rest := range []string{"01-01", "02-28", "02-29", "02-30", "04-30", "04-31", "12-31", "12-32", "13-01",
			"00-10", "05-00"} {
			same(fmt.Sprintf("%04d-%s", year, rest))
		}
	}
	for _, day := range []string{"2026-11-22", "1000-01-01", "9999-12-31", "2024-02-29"} {
		for at := range day {
			for c := range 256 {
				same(day[:at] + string([]byte{byte(c)}) + day[at+1:])
			}
		}
		same(day + "0")
		same(day[:9])
	}
	same("")
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
