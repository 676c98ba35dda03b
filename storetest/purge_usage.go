package storetest

import (
	"fmt"
	"sync"
	"time"

	"github.com/latchkey-go/latchkey"
)

// day is a Duration of 24 hours.
const day = 24 * time.Hour

// addRows adds rows of usage as one batch.
func (w *fixture) addRows(rows ...latchkey.UsageRow) {
	w.Helper()
	w.ok(w.addUsage(latchkey.UsageBatch{ID: w.key(), At: noon, Rows: rows}), "AddUsage")
}

// usageOf reads usage.
func (w *fixture) usageOf(owner string, q latchkey.UsageQuery) []latchkey.UsageRow {
	w.Helper()
	rows, err := w.s.Usage(w.ctx, owner, q)
	w.ok(err, "Usage")
	return rows
}

// counted is a row of usage of some token on a day.
func counted(owner, token, day string, n int64) latchkey.UsageRow {
	return latchkey.UsageRow{Owner: owner, TokenID: token, ClientID: "42", Meter: "calls", Endpoint: "GET /x", Day: day,
		Count: n, Credits: latchkey.Credits(10 * n)}
}

// usagePolicy returns a policy that keeps everything but usage, at noon of a day.
func usagePolicy(now string, days, months time.Duration) latchkey.PurgePolicy {
	t, err := time.Parse(time.DateOnly, now)
	if err != nil {
		panic(err)
	}
	p := keepAll(t.Add(12 * time.Hour))
	p.UsageDays, p.UsageMonths = days, months
	return p
}

var usageColumns = []string{"token", "client", "meter", "endpoint", "day"}

var purgeUsageCases = []Case{
	newCase("purge/usage-days", "UsageDays after the end of a month its days become one row of the month, for everything "+
		"else that is equal. No sum changes at any moment. What is added to such a day later follows.", func(w *fixture) {
		var rows []latchkey.UsageRow
		for d := 1; d <= 31; d++ {
			rows = append(rows, counted(acme, id(1), fmt.Sprintf("2026-10-%02d", d), 1))
		}
		rows = append(rows, counted(acme, id(2), "2026-10-31", 100), counted(acme, id(1), "2026-11-01", 1000),
			counted(globex, id(1), "2026-10-05", 5), counted(acme, id(1), "2026-09-30", 7))
		w.addRows(rows...)
		total := func() int64 { return w.usageOf(acme, latchkey.UsageQuery{})[0].Count }
		before := total()
		w.same(w.purge(usagePolicy("2026-11-10", 0, 0), 100), 0, "how much was purged without UsageDays")
		w.same(w.purge(usagePolicy("2026-11-10", -1, 0), 100), 0, "how much was purged with a negative UsageDays")
		w.same(w.purge(usagePolicy("2026-11-10", 41*day, 0), 100), 0, "how much was purged, when September ended 41 days "+
			"ago, less half a day")
		w.same(w.purge(usagePolicy("2026-11-10", 10*day, 0), 100), 1, "how much was purged: the day of September")
		removed := 0
		for range 100 {
			n := w.purge(usagePolicy("2026-11-10", 9*day, 0), 4)
			removed += n
			w.same(total(), before, "the sum of all usage, after each Purge")
			w.same(w.usageOf(acme, latchkey.UsageQuery{From: "2026-10-01", To: "2026-10-31"})[0].Count, int64(131),
				"the sum of the month, after each Purge")
			if n < 4 {
				break
			}
		}
		w.same(removed, 33, "how much was purged: 32 rows, and one of another owner")
		w.same(w.purge(usagePolicy("2026-11-10", 9*day, 0), 100), 0, "how much was purged then")
		want := []latchkey.UsageRow{counted(acme, id(1), "2026-09", 7), counted(acme, id(1), "2026-10", 31),
			counted(acme, id(1), "2026-11-01", 1000), counted(acme, id(2), "2026-10", 100)}
		w.same(w.usageOf(acme, latchkey.UsageQuery{By: usageColumns}), want, "the usage that is left")
		w.same(w.usageOf(globex, latchkey.UsageQuery{By: usageColumns}),
			[]latchkey.UsageRow{counted(globex, id(1), "2026-10", 5)}, "another owner's")

		late := latchkey.UsageBatch{ID: w.key(), At: noon, Rows: []latchkey.UsageRow{counted(acme, id(1), "2026-10-31", 9),
			counted(acme, id(3), "2026-10-01", 1)}}
		for range 2 {
			w.ok(w.addUsage(late), "AddUsage")
		}
		w.same(total(), before+10, "the sum with what came late")
		w.same(w.purge(usagePolicy("2026-11-10", 9*day, 0), 100), 2, "how much was purged of what came late")
		w.ok(w.addUsage(late), "AddUsage, once more")
		w.same(w.purge(usagePolicy("2026-11-10", 9*day, 0), 100), 0, "how much was purged of a batch added before")
		want[1] = counted(acme, id(1), "2026-10", 40)
		want = append(want, counted(acme, id(3), "2026-10", 1))
		w.same(w.usageOf(acme, latchkey.UsageQuery{By: usageColumns}), want, "the usage with what came late")
	}),

	newCase("purge/usage-query", "A row of a month counts as of its first day: ranges that adjoin add up, and whole "+
		"months are exact.", func(w *fixture) {
		w.addRows(counted(acme, id(1), "2026-09-30", 1), counted(acme, id(1), "2026-10-01", 2),
			counted(acme, id(1), "2026-10-20", 4), counted(acme, id(1), "2026-11-01", 8), counted(acme, id(1), "2026-11-02", 16))
		w.same(w.purge(usagePolicy("2026-11-10", day, 0), 100), 3, "how much was purged")
		for _, c := range []struct {
			from, to string
			want     int64
		}{
			{"", "", 31}, {"2026-10-01", "2026-10-31", 6}, {"2026-10-01", "2026-10-01", 6}, {"2026-10-02", "2026-10-31", 0},
			{"2026-09-01", "2026-09-30", 1}, {"2026-09-02", "2026-10-15", 6}, {"2026-10-16", "", 24}, {"2026-11-01", "", 24},
			{"2026-11-02", "", 16}, {"", "2026-09-30", 1}, {"", "2026-10-01", 7}, {"", "2026-08-31", 0},
		} {
			w.same(w.usageOf(acme, latchkey.UsageQuery{From: c.from, To: c.to})[0].Count, c.want,
				fmt.Sprintf("usage from %q to %q", c.from, c.to))
		}
		var days []string
		for _, r := range w.usageOf(acme, latchkey.UsageQuery{By: []string{"day"}}) {
			days = append(days, r.Day)
		}
		w.same(days, []string{"2026-09", "2026-10", "2026-11-01", "2026-11-02"}, "usage by day")
	}),

	newCase("purge/usage-months", "Rows of months are removed UsageMonths after the end of the month, and no others.",
		func(w *fixture) {
			w.addRows(counted(acme, id(1), "2026-07-01", 1), counted(acme, id(1), "2026-08-31", 2),
				counted(acme, id(2), "2026-08-31", 2), counted(acme, id(1), "2026-09-01", 4))
			left := func() (days []string) {
				for _, r := range w.usageOf(acme, latchkey.UsageQuery{By: []string{"day", "token"}}) {
					days = append(days, r.Day)
				}
				return days
			}
			w.same(w.purge(usagePolicy("2026-11-10", 0, day), 100), 0, "how much was purged while there are only days")
			w.same(w.purge(usagePolicy("2026-11-10", day, 0), 100), 4, "how much was added up")
			w.same(w.purge(usagePolicy("2026-11-10", day, -1), 100), 0, "how much was purged when months are kept for ever")
			w.same(w.purge(usagePolicy("2026-11-10", day, 101*day), 100), 1, "how much was purged: July")
			w.same(left(), []string{"2026-08", "2026-08", "2026-09"}, "what is left")
			w.same(w.purge(usagePolicy("2026-11-10", day, 71*day), 100), 0,
				"how much was purged, when August ended 71 days ago, less half a day")
			w.same(w.purge(usagePolicy("2026-11-10", day, 70*day), 1), 1, "how much was purged of August, one by one")
			w.same(w.purge(usagePolicy("2026-11-10", day, 70*day), 100), 1, "how much was purged of the rest of August")
			w.same(left(), []string{"2026-09"}, "what is left then")
		}),

	newCase("purge/usage-race", "What is added while days become months is counted once.", func(w *fixture) {
		var all sync.WaitGroup
		for worker := range 4 {
			all.Go(func() {
				for n := range 10 {
					rows := []latchkey.UsageRow{counted(acme, id(1), "2026-10-01", 1), counted(acme, id(worker+2), "2026-10-02", 1)}
					if err := w.s.AddUsage(w.ctx, latchkey.UsageBatch{ID: [16]byte{3, byte(worker), byte(n)}, At: noon,
						Rows: rows}); err != nil {
						w.Errorf("AddUsage: %v", err)
					}
				}
			})
		}
		for range 2 {
			all.Go(func() {
				for range 10 {
					p := usagePolicy("2026-11-10", day, 0)
					p.Feed = w.s.Locate(acme).Feed
					if _, err := w.s.Purge(w.ctx, p, 3); err != nil {
						w.Errorf("Purge: %v", err)
					}
				}
			})
		}
		all.Wait()
		w.same(w.usageOf(acme, latchkey.UsageQuery{})[0].Count, int64(80), "the sum of all")
		w.purge(usagePolicy("2026-11-10", day, 0), 100)
		w.same(w.usageOf(acme, latchkey.UsageQuery{By: []string{"day"}}),
			[]latchkey.UsageRow{{Owner: acme, Day: "2026-10", Count: 80, Credits: 800}}, "usage by day")
	}),
}
