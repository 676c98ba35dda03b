package storetest_test

import (
	"context"
	"slices"
	"sync"
	"time"

	"github.com/latchkey-go/latchkey"
)

var countFaults = map[string]fault{
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
	"forgets Once keys by a clock of its own": {[]string{"once"}, func(f *faulty, s latchkey.Store) {
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
				b.ID = freshID()
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
		each(f, s, func(t *latchkey.Token) {
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
	"reads, then writes a purse":              {[]string{"credits/race"}, badBank{racy: true}.seed},
	"takes from the first accounts only":      {[]string{"credits/reserve"}, badBank{partial: true}.seed},
	"gives back again with each Settle":       {[]string{"credits/settle"}, badBank{twice: true}.seed},
	"takes again for a repeated key":          {[]string{"credits/idempotent", "credits/race"}, badBank{forgetful: true}.seed},
	"ignores that a repeated key is other":    {[]string{"credits/idempotent"}, badBank{careless: true}.seed},
	"lets large amounts wrap around":          {[]string{"credits/amounts"}, badBank{wraps: true}.seed},
	"remembers the first limit it was told":   {[]string{"credits/reserve"}, badBank{oldLimit: true}.seed},
	"never gives back what lapsed":            {[]string{"purge/reservations"}, badBank{}.seed},
	"lets anybody settle anything, even more": {[]string{"credits/settle"}, badBank{generous: true}.seed},
}

var purgeFaults = map[string]fault{
	"purges as much as it likes": {[]string{"purge/bounded"}, func(f *faulty, s latchkey.Store) {
		f.purge = func(ctx context.Context, p latchkey.PurgePolicy, _ int) (int, error) { return s.Purge(ctx, p, 1000) }
	}},
	"says it is done too early": {[]string{"purge/bounded"}, func(f *faulty, s latchkey.Store) {
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
	"purges by a clock of its own": {[]string{"purge/tokens", "purge/secrets", "purge/once"},
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

// badBank is a keeper of credits that is right but for its faults. It knows nothing of Purge.
type badBank struct{ racy, partial, twice, forgetful, careless, wraps, oldLimit, generous bool }

func (bad badBank) seed(f *faulty, s latchkey.Store) {
	type slot struct {
		owner   string
		account latchkey.CreditAccount
	}
	type entry struct {
		content      latchkey.Reservation
		left, actual latchkey.Credits
		settled      bool
	}
	var mu sync.Mutex
	used, limits := make(map[slot]latchkey.Credits), make(map[slot]latchkey.Credits)
	done := make(map[string]*entry)
	at := func(owner string, c latchkey.CreditAccount) slot {
		c.Limit = 0
		return slot{owner, c}
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
			return latchkey.Reserved{Left: old.left}, nil
		}
		left, read := latchkey.Credits(1<<62), make(map[slot]latchkey.Credits)
		for i, c := range r.Accounts {
			a := at(r.Owner, c)
			if _, twice := read[a]; twice {
				return latchkey.Reserved{}, latchkey.ErrInvalid
			}
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
				return latchkey.Reserved{}, latchkey.ErrOverLimit
			}
			left = min(left, c.Limit-read[a]-r.Amount)
		}
		if bad.racy {
			mu.Unlock()
			pause()
			mu.Lock()
		}
		for a, was := range read {
			used[a] = was + r.Amount
		}
		done[key] = &entry{content: r, left: left}
		return latchkey.Reserved{Left: left}, nil
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
}
