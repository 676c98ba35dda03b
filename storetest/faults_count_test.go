package storetest_test

import (
	"context"
	"errors"
	"maps"
	"math"
	"slices"
	"sync"
	"time"

	"github.com/latchkey-go/latchkey"
)

var countFaults = map[string]fault{
	"counts a row that comes twice in a batch once": {[]string{"usage/many"}, func(f *faulty, s latchkey.Store) {
		f.addUsage = func(ctx context.Context, b latchkey.UsageBatch) error {
			seen := map[latchkey.UsageRow]bool{}
			b.Rows = slices.DeleteFunc(slices.Clone(b.Rows), func(r latchkey.UsageRow) bool {
				twice := seen[r]
				seen[r] = true
				return twice
			})
			return s.AddUsage(ctx, b)
		}
	}},
	"keeps the last of a token's uses in a batch": {[]string{"usage/many"}, func(f *faulty, s latchkey.Store) {
		f.addUsage = func(ctx context.Context, b latchkey.UsageBatch) error {
			last := map[[2]string]latchkey.LastUsed{}
			for _, l := range b.Last {
				last[[2]string{l.Owner, l.TokenID}] = l
			}
			b.Last = slices.Collect(maps.Values(last))
			return s.AddUsage(ctx, b)
		}
	}},
	"checks a Once key before recording it": {[]string{"once/race"}, func(f *faulty, s latchkey.Store) {
		var keys sync.Map
		f.once = func(_ context.Context, owner string, key [32]byte, _ time.Time) error {
			if _, again := keys.Load(key); again {
				return latchkey.ErrExists
			}
			pause()
			keys.Store(key, true)
			return nil
		}
	}},
	"removes Once keys by its own clock": {[]string{"once"}, func(f *faulty, s latchkey.Store) {
		f.once = func(ctx context.Context, owner string, key [32]byte, until time.Time) error {
			err := s.Once(ctx, owner, key, until)
			if key[17] == 2 {
				return nil
			}
			return err
		}
	}},
	"counts a repeated batch again": {[]string{"usage/add", "usage/race"}, func(f *faulty, s latchkey.Store) {
		f.addUsage = func(ctx context.Context, b latchkey.UsageBatch) error {
			if b.ID != ([16]byte{}) {
				b.ID = newID()
			}
			return s.AddUsage(ctx, b)
		}
	}},
	"lets an older last use win": {[]string{"usage/last"}, func(f *faulty, s latchkey.Store) {
		var used sync.Map
		f.addUsage = func(ctx context.Context, b latchkey.UsageBatch) error {
			for _, l := range b.Last {
				used.Store(l.Owner+l.TokenID, l.At.Truncate(time.Microsecond))
			}
			return s.AddUsage(ctx, b)
		}
		editReads(f, s, func(t *latchkey.Token) {
			if at, ok := used.Load(t.Owner + t.ID); ok {
				t.Used = at.(time.Time)
			}
		})
	}},
	"sums usage as floating point": {[]string{"usage/add"}, func(f *faulty, s latchkey.Store) {
		f.usage = func(ctx context.Context, owner string, q latchkey.UsageQuery) ([]latchkey.UsageRow, error) {
			rows, err := s.Usage(ctx, owner, q)
			for i := range rows {
				rows[i].Count = int64(float64(rows[i].Count))
			}
			return rows, err
		}
	}},
	"does not leave out a meter": {[]string{"usage/query"},
		editsUsage(func(q *latchkey.UsageQuery) { q.ExceptMeters = nil }, func([]latchkey.UsageRow) {})},
	"sorts usage in no order": {[]string{"usage/query"}, func(f *faulty, s latchkey.Store) {
		f.usage = func(ctx context.Context, owner string, q latchkey.UsageQuery) ([]latchkey.UsageRow, error) {
			rows, err := s.Usage(ctx, owner, q)
			slices.Reverse(rows)
			return rows, err
		}
	}},
	"forgets the usage of purged tokens": {[]string{"purge/children-and-usage", "delete/tokens"},
		func(f *faulty, s latchkey.Store) {
			f.usage = func(ctx context.Context, owner string, q latchkey.UsageQuery) ([]latchkey.UsageRow, error) {
				for _, id := range q.TokenIDs {
					if _, err := s.Load(ctx, owner, id); err != nil {
						q.ClientID = "gone"
					}
				}
				return s.Usage(ctx, owner, q)
			}
		}},
	"reads, then writes an account":      {[]string{"credits/race"}, faultyLedger{racy: true}.seed},
	"takes from the first accounts only": {[]string{"credits/reserve"}, faultyLedger{partial: true}.seed},
	"gives back again with each Settle":  {[]string{"credits/settle"}, faultyLedger{twice: true}.seed},
	"takes again for a repeated key": {[]string{"credits/idempotent", "credits/race"},
		faultyLedger{forgetful: true}.seed},
	"ignores that a repeated key is other": {[]string{"credits/idempotent"}, faultyLedger{careless: true}.seed},
	"lets large amounts wrap around":       {[]string{"credits/amounts"}, faultyLedger{wraps: true}.seed},
	"keeps the first limit it was given":   {[]string{"credits/reserve"}, faultyLedger{oldLimit: true}.seed},
	"carries nothing":                      {[]string{"credits/carry"}, faultyLedger{carriesNothing: true}.seed},
	"carries all that was left":            {[]string{"credits/carry"}, faultyLedger{carriesAll: true}.seed},
	"carries from another":                 {[]string{"credits/carry"}, faultyLedger{carriesFromAnyone: true}.seed},
	"carries what was carried":             {[]string{"credits/carry"}, faultyLedger{carriesOn: true}.seed},
	"reports limits as what is left": {[]string{"credits/balances"}, func(f *faulty, s latchkey.Store) {
		f.balances = func(ctx context.Context, owner string, accounts []latchkey.CreditAccount) ([]latchkey.Credits, error) {
			if _, err := s.Balances(ctx, owner, accounts); err != nil {
				return nil, err
			}
			left := make([]latchkey.Credits, len(accounts))
			for i, a := range accounts {
				left[i] = max(a.Limit, 0)
			}
			return left, nil
		}
	}},
	"reports what is left below zero": {[]string{"credits/balances"}, func(f *faulty, s latchkey.Store) {
		f.balances = func(ctx context.Context, owner string, accounts []latchkey.CreditAccount) ([]latchkey.Credits, error) {
			left, err := s.Balances(ctx, owner, accounts)
			for i := range left {
				if left[i] == 0 {
					left[i] = -1
				}
			}
			return left, err
		}
	}},
	"reports what is left in another order": {[]string{"credits/balances"}, func(f *faulty, s latchkey.Store) {
		f.balances = func(ctx context.Context, owner string, accounts []latchkey.CreditAccount) ([]latchkey.Credits, error) {
			left, err := s.Balances(ctx, owner, accounts)
			slices.Reverse(left)
			return left, err
		}
	}},
	"takes what it reports": {[]string{"credits/balances"}, func(f *faulty, s latchkey.Store) {
		var calls byte
		f.balances = func(ctx context.Context, owner string, accounts []latchkey.CreditAccount) ([]latchkey.Credits, error) {
			left, err := s.Balances(ctx, owner, accounts)
			if err == nil && len(accounts) > 0 && left[0] > 0 {
				calls++
				_, _ = s.Reserve(ctx, latchkey.Reservation{Owner: owner, Key: [16]byte{15: calls}, Amount: 1,
					Accounts: accounts[:1]})
			}
			return left, err
		}
	}},
	"lists what was taken of one page alone": {[]string{"credits/taken"}, func(f *faulty, s latchkey.Store) {
		f.taken = func(ctx context.Context, owner string, q latchkey.TakenQuery) ([]latchkey.TakenCredits, string, error) {
			page, _, err := s.Taken(ctx, owner, q)
			return page, "", err
		}
	}},
	"lists what everybody took": {[]string{"credits/taken"}, func(f *faulty, s latchkey.Store) {
		f.taken = func(ctx context.Context, owner string, q latchkey.TakenQuery) ([]latchkey.TakenCredits, string, error) {
			var all []latchkey.TakenCredits
			for _, o := range []string{owner, other} {
				list, _, err := s.Taken(ctx, o, latchkey.TakenQuery{Page: latchkey.Page{Limit: 1000}})
				if all = append(all, list...); err != nil {
					return nil, "", err
				}
			}
			return pageOfTaken(all, q)
		}
	}},
	"lists what was taken without its end": {[]string{"credits/taken"}, func(f *faulty, s latchkey.Store) {
		f.taken = func(ctx context.Context, owner string, q latchkey.TakenQuery) ([]latchkey.TakenCredits, string, error) {
			page, next, err := s.Taken(ctx, owner, q)
			for i := range page {
				page[i].Ends = time.Time{}
			}
			return page, next, err
		}
	}},
	"lists what was taken in any order": {[]string{"credits/taken"}, func(f *faulty, s latchkey.Store) {
		f.taken = func(ctx context.Context, owner string, q latchkey.TakenQuery) ([]latchkey.TakenCredits, string, error) {
			page, next, err := s.Taken(ctx, owner, q)
			slices.Reverse(page)
			return page, next, err
		}
	}},
	"says that the first is least": {[]string{"credits/least"}, faultyLedger{saysFirst: true}.seed},
	"does not say what is left": {[]string{"credits/carry", "credits/least"},
		faultyLedger{saysNothing: true}.seed},
	"never gives back what lapsed":                {[]string{"purge/reservations"}, faultyLedger{}.seed},
	"settles any amount, even more than reserved": {[]string{"credits/settle"}, faultyLedger{generous: true}.seed},
}

// adjusts returns a fault that edits every adjustment, or the error of the call. Nil edits nothing.
func adjusts(edit func(*latchkey.Adjustment), answer func(error) error) func(*faulty, latchkey.Store) {
	return func(f *faulty, s latchkey.Store) {
		f.adjust = func(ctx context.Context, owner string, key [16]byte, a latchkey.Adjustment) error {
			if edit != nil {
				edit(&a)
			}
			err := s.Adjust(ctx, owner, key, a)
			if answer != nil {
				err = answer(err)
			}
			return err
		}
	}
}

var adjustFaults = map[string]fault{
	"gives back all of what lapsed, pledged or not": {[]string{"purge/pledged", "purge/pledged/race"},
		adjusts(func(a *latchkey.Adjustment) { a.Pledged = 0 }, nil)},
	"gives back nothing of what was pledged in part": {[]string{"purge/pledged"},
		adjusts(func(a *latchkey.Adjustment) { a.Pledged = min(a.Amount, 100) }, nil)},
	"reports success for a pledge of what lapsed": {[]string{"purge/pledged", "credits/adjust"},
		adjusts(nil, func(err error) error {
			if errors.Is(err, latchkey.ErrConflict) {
				return nil
			}
			return err
		})},
	"never moves the time it lapses later": {[]string{"purge/pledged"},
		adjusts(func(a *latchkey.Adjustment) { a.Until = time.Unix(0, 0) }, nil)},
	"cuts nothing": {[]string{"credits/adjust"},
		adjusts(func(a *latchkey.Adjustment) { a.Amount = max(a.Amount, 1<<40) }, nil)},
	"pledges anything": {[]string{"credits/adjust"},
		adjusts(func(a *latchkey.Adjustment) { a.Pledged = max(0, min(a.Pledged, a.Amount)) }, nil)},
	"lowers a pledge":                  {[]string{"purge/pledged"}, faultyLedger{lapses: true, lowers: true}.seed},
	"moves the time it lapses earlier": {[]string{"purge/pledged"}, faultyLedger{lapses: true, hastens: true}.seed},
	"gives back with every cut":        {[]string{"credits/adjust"}, faultyLedger{lapses: true, cutsAgain: true}.seed},
	"keeps the pledge of what was cut off": {[]string{"purge/pledged"},
		faultyLedger{lapses: true, overPledges: true}.seed},
	"checks the pledge, then writes it": {[]string{"purge/pledged/race"}, faultyLedger{lapses: true, hasty: true}.seed},
	"names another account than the short one": {[]string{"credits/reserve"}, func(f *faulty, s latchkey.Store) {
		f.reserve = func(ctx context.Context, r latchkey.Reservation) (latchkey.Reserved, error) {
			got, err := s.Reserve(ctx, r)
			if errors.Is(err, latchkey.ErrOverLimit) {
				err = &latchkey.OverLimitError{Account: r.Accounts[0]}
			}
			return got, err
		}
	}},
	"names no account": {[]string{"credits/reserve"}, func(f *faulty, s latchkey.Store) {
		f.reserve = func(ctx context.Context, r latchkey.Reservation) (latchkey.Reserved, error) {
			got, err := s.Reserve(ctx, r)
			if errors.Is(err, latchkey.ErrOverLimit) {
				err = latchkey.ErrOverLimit
			}
			return got, err
		}
	}},
}

// purges returns a fault that edits the policy of every Purge.
func purges(edit func(*latchkey.PurgePolicy)) func(*faulty, latchkey.Store) {
	return func(f *faulty, s latchkey.Store) {
		f.purge = func(ctx context.Context, p latchkey.PurgePolicy, n int) (int, error) {
			edit(&p)
			return s.Purge(ctx, p, n)
		}
	}
}

// editsUsage returns a fault that edits what is asked of usage, and what is answered.
func editsUsage(ask func(*latchkey.UsageQuery), answer func([]latchkey.UsageRow)) func(*faulty, latchkey.Store) {
	return func(f *faulty, s latchkey.Store) {
		f.usage = func(ctx context.Context, owner string, q latchkey.UsageQuery) ([]latchkey.UsageRow, error) {
			ask(&q)
			rows, err := s.Usage(ctx, owner, q)
			answer(rows)
			return rows, err
		}
	}
}

var usageFaults = map[string]fault{
	"never adds usage up by month": {[]string{"purge/usage-days", "purge/usage-query", "purge/usage-months"},
		purges(func(p *latchkey.PurgePolicy) { p.UsageDays = 0 })},
	"adds usage up before its time": {[]string{"purge/usage-days"},
		purges(func(p *latchkey.PurgePolicy) { p.UsageDays = min(p.UsageDays, 30*24*time.Hour) })},
	"keeps no usage for ever": {[]string{"purge/usage-days"},
		purges(func(p *latchkey.PurgePolicy) {
			if p.UsageDays <= 0 {
				p.UsageDays = time.Hour
			}
		})},
	"removes usage that it adds up": {[]string{"purge/usage-days", "purge/usage-query", "purge/usage-race"},
		purges(func(p *latchkey.PurgePolicy) { p.UsageMonths = max(p.UsageMonths, time.Nanosecond) })},
	"never removes usage by month": {[]string{"purge/usage-months"},
		purges(func(p *latchkey.PurgePolicy) { p.UsageMonths = 0 })},
	"removes usage by month before its time": {[]string{"purge/usage-months"},
		purges(func(p *latchkey.PurgePolicy) { p.UsageMonths = min(p.UsageMonths, 24*time.Hour) })},
	"leaves out a month that is asked for from its first day": {[]string{"purge/usage-query", "purge/usage-days"},
		editsUsage(func(q *latchkey.UsageQuery) {
			if q.From != "" {
				q.From += "-" // "2026-10-01-" is no first of a month
			}
		}, func([]latchkey.UsageRow) {})},
	"shows a month as its first day": {[]string{"purge/usage-days", "purge/usage-query"},
		editsUsage(func(*latchkey.UsageQuery) {}, func(rows []latchkey.UsageRow) {
			for i := range rows {
				if len(rows[i].Day) == len("2006-01") {
					rows[i].Day += "-01"
				}
			}
		})},
}

var purgeFaults = map[string]fault{
	"ignores the limit of Purge": {[]string{"purge/bounded"}, func(f *faulty, s latchkey.Store) {
		f.purge = func(ctx context.Context, p latchkey.PurgePolicy, _ int) (int, error) { return s.Purge(ctx, p, 1000) }
	}},
	"reports too early that it is done": {[]string{"purge/bounded"}, func(f *faulty, s latchkey.Store) {
		calls := 0
		f.purge = func(ctx context.Context, p latchkey.PurgePolicy, n int) (int, error) {
			if calls++; calls == 4 {
				n--
			}
			return s.Purge(ctx, p, n)
		}
	}},
	"purges at once, whatever the policy": {[]string{"purge/tokens", "purge/nothing"}, func(f *faulty, s latchkey.Store) {
		f.purge = func(ctx context.Context, p latchkey.PurgePolicy, n int) (int, error) {
			p.Expired, p.Revoked = 0, 0
			return s.Purge(ctx, p, n)
		}
	}},
	"purges by its own clock": {[]string{"purge/tokens", "purge/secrets", "purge/once"},
		func(f *faulty, s latchkey.Store) {
			f.purge = func(ctx context.Context, p latchkey.PurgePolicy, n int) (int, error) {
				p.Now = p.Now.Add(time.Second)
				return s.Purge(ctx, p, n)
			}
		}},
	"keeps no events unless it is told to": {[]string{"purge/events", "purge/nothing"}, func(f *faulty, s latchkey.Store) {
		f.purge = func(ctx context.Context, p latchkey.PurgePolicy, n int) (int, error) {
			if p.Events == 0 {
				p.Events = time.Nanosecond
			}
			return s.Purge(ctx, p, n)
		}
	}},
	"forgets history at once": {[]string{"purge/history"}, func(f *faulty, s latchkey.Store) {
		f.purge = func(ctx context.Context, p latchkey.PurgePolicy, n int) (int, error) {
			p.Changes = time.Nanosecond
			return s.Purge(ctx, p, n)
		}
	}},
}

// faultyLedger is an implementation of credits that is correct but for the faults set. Purge ignores it unless lapses
// is set.
type faultyLedger struct {
	racy, partial, twice, forgetful, careless, wraps, oldLimit, generous bool
	lapses, lowers, hastens, cutsAgain, overPledges, hasty               bool
	carriesNothing, carriesAll, carriesFromAnyone, carriesOn             bool
	saysFirst, saysNothing                                               bool
}

func (bad faultyLedger) seed(f *faulty, s latchkey.Store) {
	type slot struct {
		owner   string
		account latchkey.CreditAccount
	}
	type entry struct {
		content               latchkey.Reservation
		left, actual, pledged latchkey.Credits
		settled               bool
	}
	var mu sync.Mutex
	used, limits := make(map[slot]latchkey.Credits), make(map[slot]latchkey.Credits)
	ends := make(map[slot]time.Time)
	done := make(map[string]*entry)
	at := func(owner string, c latchkey.CreditAccount) slot {
		return slot{owner, latchkey.CreditAccount{TokenID: c.TokenID, Meter: c.Meter, Period: c.Period}}
	}
	limit := func(owner string, c latchkey.CreditAccount) latchkey.Credits {
		if c.Carry <= 0 || c.Limit <= 0 || bad.carriesNothing {
			return c.Limit
		}
		before := c
		if before.Period = c.CarryFrom; bad.carriesFromAnyone {
			before.TokenID = ""
		}
		unspent := max(c.Limit-used[at(owner, before)], 0)
		if bad.carriesOn {
			unspent = max(c.Limit+c.Carry/2-used[at(owner, before)], 0)
		}
		if carry := min(unspent, c.Carry); !bad.carriesAll {
			unspent = carry
		}
		return c.Limit + min(unspent, math.MaxInt64-c.Limit)
	}
	sameContent := func(a, b latchkey.Reservation) bool {
		if a.Amount != b.Amount || len(a.Accounts) != len(b.Accounts) {
			return false
		}
		for _, c := range a.Accounts {
			if !slices.ContainsFunc(b.Accounts, func(d latchkey.CreditAccount) bool { return at("", c) == at("", d) }) {
				return false
			}
		}
		return true
	}
	f.reserve = func(_ context.Context, r latchkey.Reservation) (latchkey.Reserved, error) {
		if r.Amount <= 0 || len(r.Accounts) == 0 {
			return latchkey.Reserved{}, latchkey.ErrInvalid
		}
		mu.Lock()
		defer mu.Unlock()
		key := r.Owner + string(r.Key[:])
		if old := done[key]; old != nil && !bad.forgetful {
			if !bad.careless && !sameContent(old.content, r) {
				return latchkey.Reserved{}, latchkey.ErrConflict
			}
			answer, least := latchkey.Reserved{Left: old.left}, latchkey.Credits(math.MaxInt64)
			for i, c := range r.Accounts {
				if left := limit(r.Owner, c) - used[at(r.Owner, c)]; left < least {
					least, answer.Least = left, i
				}
			}
			return answer, nil
		}
		answer, read := latchkey.Reserved{Left: 1 << 62}, make(map[slot]latchkey.Credits)
		for i, c := range r.Accounts {
			a := at(r.Owner, c)
			if _, twice := read[a]; twice || c.Carry > 0 && c.CarryFrom == c.Period {
				return latchkey.Reserved{}, latchkey.ErrInvalid
			}
			named := c
			c.Limit = limit(r.Owner, c)
			if read[a] = used[a]; bad.oldLimit && limits[a] != 0 {
				c.Limit = limits[a]
			}
			limits[a] = c.Limit
			over := c.Limit <= 0 || r.Amount > c.Limit-read[a]
			if bad.wraps {
				over = read[a]+r.Amount > c.Limit
			}
			if over {
				if bad.partial {
					for _, c := range r.Accounts[:i] {
						used[at(r.Owner, c)] += r.Amount
					}
				}
				over := &latchkey.OverLimitError{Account: named}
				if !bad.saysNothing {
					over.Left = max(c.Limit, read[a]) - read[a]
				}
				return latchkey.Reserved{}, over
			}
			if left := c.Limit - read[a] - r.Amount; left < answer.Left {
				answer = latchkey.Reserved{Left: left, Least: i}
			}
		}
		if bad.saysFirst {
			answer.Least = 0
		}
		if bad.racy {
			mu.Unlock()
			pause()
			mu.Lock()
		}
		for _, c := range r.Accounts {
			a := at(r.Owner, c)
			if _, known := ends[a]; !known {
				ends[a] = c.Ends
			}
			used[a] = read[a] + r.Amount
		}
		done[key] = &entry{content: r, left: answer.Left}
		return answer, nil
	}
	f.balances = func(_ context.Context, owner string, accounts []latchkey.CreditAccount) ([]latchkey.Credits, error) {
		mu.Lock()
		defer mu.Unlock()
		left := make([]latchkey.Credits, len(accounts))
		for i, c := range accounts {
			if c.Carry > 0 && c.CarryFrom == c.Period {
				return nil, latchkey.ErrInvalid
			}
			left[i] = max(limit(owner, c)-used[at(owner, c)], 0)
		}
		return left, nil
	}
	f.settle = func(_ context.Context, owner string, key [16]byte, actual latchkey.Credits) error {
		mu.Lock()
		defer mu.Unlock()
		e := done[owner+string(key[:])]
		switch {
		case e == nil:
			return latchkey.ErrNotFound
		case !bad.generous && (actual < 0 || actual > e.content.Amount):
			return latchkey.ErrInvalid
		case e.settled && actual != e.actual:
			return latchkey.ErrConflict
		case e.settled && !bad.twice:
			return nil
		}
		for _, c := range e.content.Accounts {
			used[at(owner, c)] -= e.content.Amount - actual
		}
		e.settled, e.actual = true, actual
		return nil
	}
	f.taken = func(_ context.Context, owner string, q latchkey.TakenQuery) ([]latchkey.TakenCredits, string, error) {
		mu.Lock()
		defer mu.Unlock()
		var all []latchkey.TakenCredits
		for a, n := range used {
			if c := a.account; a.owner == owner {
				all = append(all, latchkey.TakenCredits{TokenID: c.TokenID, Meter: c.Meter, Period: c.Period, Taken: n,
					Ends: ends[a]})
			}
		}
		return pageOfTaken(all, q)
	}
	giveBack := func(owner string, e *entry, back latchkey.Credits) {
		for _, c := range e.content.Accounts {
			used[at(owner, c)] -= back
		}
	}
	f.adjust = func(_ context.Context, owner string, key [16]byte, a latchkey.Adjustment) error {
		if a.Amount <= 0 || a.Pledged < 0 || a.Pledged > a.Amount {
			return latchkey.ErrInvalid
		}
		mu.Lock()
		defer mu.Unlock()
		e := done[owner+string(key[:])]
		switch {
		case e == nil:
			return latchkey.ErrNotFound
		case e.settled || a.Pledged > e.content.Amount:
			return latchkey.ErrConflict
		}
		if bad.hasty {
			mu.Unlock()
			pause()
			mu.Lock()
		}
		if cut := e.content.Amount - a.Amount; cut > 0 || cut == 0 && bad.cutsAgain {
			giveBack(owner, e, max(cut, 1))
			e.content.Amount = a.Amount
		}
		if a.Pledged > e.pledged || bad.lowers {
			e.pledged = a.Pledged
		}
		if !bad.overPledges {
			e.pledged = min(e.pledged, e.content.Amount)
		}
		until := &e.content.Until
		if bad.hastens || a.Until.IsZero() || !until.IsZero() && a.Until.After(*until) {
			*until = a.Until
		}
		return nil
	}
	if !bad.lapses {
		return
	}
	f.purge = func(_ context.Context, p latchkey.PurgePolicy, n int) (removed int, err error) {
		mu.Lock()
		defer mu.Unlock()
		for key, e := range done {
			if until := e.content.Until; removed < n && !e.settled && !until.IsZero() && !until.After(p.Now) {
				giveBack(key[:len(key)-16], e, e.content.Amount-e.pledged)
				e.settled, e.actual = true, e.pledged
				removed++
			}
		}
		return removed, nil
	}
}

// pageOfTaken returns the page of q.
func pageOfTaken(all []latchkey.TakenCredits, q latchkey.TakenQuery) ([]latchkey.TakenCredits, string, error) {
	from, ok, err := q.Start()
	if err != nil {
		return nil, "", err
	}
	all = slices.DeleteFunc(all, func(c latchkey.TakenCredits) bool { return ok && q.Compare(c, from) <= 0 })
	slices.SortFunc(all, q.Compare)
	if len(all) <= q.Size() {
		return all, "", nil
	}
	all = all[:q.Size()]
	return all, q.Key(all[len(all)-1]), nil
}
