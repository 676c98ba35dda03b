package datocms

import (
	"context"
	"time"

	"github.com/latchkey-go/latchkey"
)

// usageKey is a token and one of the APIs it may have used.
type usageKey struct{ tokenID, meter string }

// lastAccess returns when each token last used each API, in the product's words.
func lastAccess(ctx context.Context, account latchkey.Account, now time.Time, tokens []latchkey.Token) (
	map[usageKey]string, error) {
	now = now.UTC()
	newest := map[usageKey]string{}
	const some = 200 // tokens per query
	for from := 0; from < len(tokens); from += some {
		var ids []string
		for _, t := range tokens[from:min(from+some, len(tokens))] {
			ids = append(ids, t.ID)
		}
		rows, err := account.Usage(ctx, latchkey.UsageQuery{TokenIDs: ids, Meters: []string{MeterCMA, MeterCDA},
			From: lastMonth(now).Format(time.DateOnly), By: []string{"token", "meter", "day"}})
		if err != nil {
			return nil, err
		}
		for _, r := range rows {
			day := r.Day
			if len(day) == len("2006-01") { // a month that is added up counts as of its first day
				day += "-01"
			}
			if u := (usageKey{r.TokenID, r.Meter}); r.Count > 0 && day > newest[u] {
				newest[u] = day
			}
		}
	}
	out := map[usageKey]string{}
	for _, t := range tokens {
		for _, meter := range []string{MeterCMA, MeterCDA} {
			out[usageKey{t.ID, meter}] = bucket(now, newest[usageKey{t.ID, meter}])
		}
	}
	return out, nil
}

// bucket returns the first word that fits a day; day "", which is before all, is "never". Weeks begin on Monday, and
// days are in UTC.
func bucket(now time.Time, day string) string {
	monday := now.AddDate(0, 0, -(int(now.Weekday())+6)%7)
	for _, b := range []struct {
		word string
		from time.Time
	}{
		{"today", now},
		{"yesterday", now.AddDate(0, 0, -1)},
		{"this_week", monday},
		{"last_week", monday.AddDate(0, 0, -7)},
		{"this_month", now.AddDate(0, 0, 1-now.Day())},
		{"last_month", lastMonth(now)},
	} {
		if day >= b.from.Format(time.DateOnly) {
			return b.word
		}
	}
	return "never"
}

// lastMonth returns the first day of the month before.
func lastMonth(now time.Time) time.Time {
	return time.Date(now.Year(), now.Month()-1, 1, 0, 0, 0, 0, time.UTC)
}
