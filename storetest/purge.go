package storetest

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/latchkey-go/latchkey"
)

// tryPurge calls Purge for each feed, and returns how many things were removed in all.
func (w *fixture) tryPurge(p latchkey.PurgePolicy, n int) (total int, err error) {
	for _, p.Feed = range w.s.Feeds() {
		removed, err := w.s.Purge(w.ctx, p, n-total)
		if total += removed; err != nil || total == n {
			return total, err
		}
	}
	return total, nil
}

// purge calls Purge and checks that it removed at most n things.
func (w *fixture) purge(p latchkey.PurgePolicy, n int) int {
	w.Helper()
	removed, err := w.tryPurge(p, n)
	w.ok(err, "Purge")
	if n > 0 && removed > n {
		w.Errorf("Purge removed %d things, %d were asked for", removed, n)
	}
	return removed
}

// keepAll returns a policy whose durations keep everything.
func keepAll(now time.Time) latchkey.PurgePolicy {
	return latchkey.PurgePolicy{Now: now, Expired: -1, Revoked: -1, Changes: -1, Events: -1}
}

var purgeCases = []Case{
	newCase("purge/nothing", "What has not ended stays: an empty policy removes nothing alive, a negative duration keeps "+
		"for ever.", func(w *fixture) {
		w.same(w.purge(latchkey.PurgePolicy{Now: noon}, 100), 0, "how much of an empty store was purged")
		dead := token(2)
		dead.Revoked, dead.Validity.NotAfter = noon, noon
		w.insert(token(1), dead, minted(3, 1))
		w.write(latchkey.Write{OwnerRecord: &latchkey.Owner{ID: acme}, Roles: []latchkey.Role{role(900, "r")},
			Events: []latchkey.Event{{At: noon}}, Clients: []latchkey.Client{{ID: "a"}}})
		w.ok(w.s.Once(w.ctx, acme, digest(1), noon.Add(time.Microsecond)), "Once")
		w.same(w.purge(keepAll(noon), 100), 0, "how much was purged when all is kept")
		w.present(1, 2, 3)
		w.same(w.purge(latchkey.PurgePolicy{Now: noon, Expired: time.Microsecond, Revoked: time.Microsecond}, 100), 0,
			"how much was purged just before its time")
		w.present(1, 2, 3)
		events, _ := w.events(acme, latchkey.EventQuery{})
		w.same(len(events), 1, "how many events there are")
	}),

	newCase("purge/tokens", "Tokens are removed Expired after NotAfter, or after their idle end and a twentieth of Idle "+
		"that a use may not be stored for, or Revoked after their revocation, with their secrets.", func(w *fixture) {
		for _, c := range []struct {
			what             string
			edit             func(*latchkey.Token)
			expired, revoked time.Duration
			goes             bool
		}{
			{"a living token", func(t *latchkey.Token) {}, 0, 0, false},
			{"NotAfter now", func(t *latchkey.Token) { t.Validity.NotAfter = noon }, 0, -1, true},
			{"NotAfter a microsecond ahead", func(t *latchkey.Token) { t.Validity.NotAfter = noon.Add(time.Microsecond) },
				0, 0, false},
			{"NotAfter an hour ago, kept for an hour", func(t *latchkey.Token) { t.Validity.NotAfter = noon.Add(-time.Hour) },
				time.Hour, -1, true},
			{"NotAfter an hour ago, kept for longer", func(t *latchkey.Token) { t.Validity.NotAfter = noon.Add(-time.Hour) },
				time.Hour + time.Microsecond, 0, false},
			{"NotAfter an hour ago, kept for ever", func(t *latchkey.Token) { t.Validity.NotAfter = noon.Add(-time.Hour) },
				-1, 0, false},
			{"idle since its creation", func(t *latchkey.Token) {
				t.Created, t.Validity.Idle = noon.Add(-63*time.Minute), time.Hour
			}, 0, -1, true},
			{"idle, unless it was used once more", func(t *latchkey.Token) {
				t.Created, t.Validity.Idle = noon.Add(-63*time.Minute+time.Microsecond), time.Hour
			}, 0, 0, false},
			{"idle for 60 days, unless it was used once more", func(t *latchkey.Token) {
				t.Created, t.Used = noon.Add(-99*24*time.Hour), noon.Add(-63*24*time.Hour+time.Microsecond)
				t.Validity.Idle = 60 * 24 * time.Hour
			}, 0, 0, false},
			{"idle for 60 days", func(t *latchkey.Token) {
				t.Created, t.Used = noon.Add(-99*24*time.Hour), noon.Add(-63*24*time.Hour)
				t.Validity.Idle = 60 * 24 * time.Hour
			}, 0, -1, true},
			{"idle for less than a second", func(t *latchkey.Token) {
				t.Created, t.Validity.Idle = noon.Add(-time.Second-time.Millisecond), time.Millisecond
			}, 0, -1, true},
			{"idle for less than a second, unless it was used once more", func(t *latchkey.Token) {
				t.Created, t.Validity.Idle = noon.Add(-time.Second), time.Millisecond
			}, 0, 0, false},
			{"idle, but used", func(t *latchkey.Token) {
				t.Created, t.Used, t.Validity.Idle = noon.Add(-time.Hour), noon.Add(-time.Minute), time.Hour
			}, 0, 0, false},
			{"idle since its last use", func(t *latchkey.Token) {
				t.Created, t.Used, t.Validity.Idle = noon.Add(-9*time.Hour), noon.Add(-123*time.Minute), time.Hour
			}, time.Hour, -1, true},
			{"idle, kept for longer", func(t *latchkey.Token) {
				t.Created, t.Used, t.Validity.Idle = noon.Add(-9*time.Hour), noon.Add(-2*time.Hour), time.Hour
			}, 2 * time.Hour, 0, false},
			{"revoked an hour ago", func(t *latchkey.Token) { t.Revoked = noon.Add(-time.Hour) }, -1, time.Hour, true},
			{"revoked, kept for longer", func(t *latchkey.Token) { t.Revoked = noon.Add(-time.Hour) }, 0,
				time.Hour + time.Microsecond, false},
			{"revoked, kept for ever", func(t *latchkey.Token) { t.Revoked = noon.Add(-time.Hour) }, 0, -1, false},
			{"revoked, kept for longer, and expired", func(t *latchkey.Token) {
				t.Revoked, t.Validity.NotAfter = noon,
					noon
			}, 0, time.Hour, true},
			{"disabled", func(t *latchkey.Token) { t.Disabled = true }, 0, 0, false},
			{"not yet valid", func(t *latchkey.Token) { t.Validity.NotBefore = noon.Add(-time.Hour) }, 0, 0, false},
		} {
			t := token(1)
			c.edit(&t)
			w.insert(t)
			p := keepAll(noon)
			p.Expired, p.Revoked = c.expired, c.revoked
			removed := w.purge(p, 100)
			if c.goes {
				w.same(removed, 1, c.what+": how much was purged")
				w.absent(1)
			} else {
				w.same(removed, 0, c.what+": how much was purged")
				w.present(1)
				w.write(latchkey.Write{DeleteTokens: refs(1)})
			}
		}
	}),

	newCase("purge/children-and-usage", "Purging a token leaves its usage counts, and the tokens minted from it. Those "+
		"have no parent until they end.", func(w *fixture) {
		t := token(1)
		t.Revoked = noon
		w.insert(t, minted(2, 1), minted(3, 2))
		w.ok(w.addUsage(latchkey.UsageBatch{ID: w.key(), At: noon, Rows: []latchkey.UsageRow{
			{Owner: acme, TokenID: id(1), Meter: "m", Day: "2026-11-22", Count: 5}}}), "AddUsage")
		p := keepAll(noon)
		p.Revoked = 0
		w.same(w.purge(p, 100), 1, "how much was purged")
		w.absent(1)
		w.present(2, 3)
		w.same(len(w.load(2).Ancestors), 0, "how many ancestors are left")
		w.same(numbers(w.load(3).Ancestors), []int{2}, "the ancestors of the next generation")
		rows, err := w.s.Usage(w.ctx, acme, latchkey.UsageQuery{TokenIDs: []string{id(1)}})
		w.ok(err, "Usage")
		w.same(rows[0].Count, int64(5), "the usage of a purged token")
	}),

	newCase("purge/secrets", "Retired secrets are removed after their end. The token and its other secrets "+
		"stay.", func(w *fixture) {
		w.insert(token(1), token(2))
		w.write(latchkey.Write{Secrets: []latchkey.SecretChange{
			{TokenID: id(1), Add: secret(5), Retire: digest(1), At: noon.Add(time.Hour)},
			{TokenID: id(2), Add: secret(6), Retire: digest(2), At: noon.Add(time.Hour + time.Microsecond)},
		}})
		w.same(w.purge(keepAll(noon.Add(time.Hour-time.Microsecond)), 100), 0, "how much was purged before the end")
		w.same(w.purge(keepAll(noon.Add(time.Hour)), 100), 1, "how much was purged at the end")
		w.same(w.secrets(1), []latchkey.SecretRecord{*secret(5)}, "the secrets left")
		w.same(len(w.secrets(2)), 2, "how many secrets a token has whose old one is not over")
		_, err := w.s.ByDigest(w.ctx, 0, digest(1))
		w.failed(latchkey.ErrNotFound, err, "ByDigest of a purged secret")
		w.present(2)
	}),

	newCase("purge/once", "Once keys are removed at their end, and can then be recorded again.", func(w *fixture) {
		w.ok(w.s.Once(w.ctx, acme, digest(1), noon), "Once")
		w.ok(w.s.Once(w.ctx, acme, digest(2), noon.Add(time.Microsecond)), "Once")
		w.ok(w.s.Once(w.ctx, globex, digest(1), noon.Add(-time.Hour)), "Once")
		w.same(w.purge(keepAll(noon), 100), 2, "how much was purged")
		w.ok(w.s.Once(w.ctx, acme, digest(1), noon.Add(time.Hour)), "Once with a purged key")
		w.failed(latchkey.ErrExists, w.s.Once(w.ctx, acme, digest(2), noon), "Once with a key that was not over")
	}),

	newCase("purge/reservations", "A reservation that lapsed is given back, and its key stays refused until history is "+
		"purged. Settled ones are not given back.", func(w *fixture) {
		p := credits{w, []latchkey.CreditAccount{{Meter: "m", Limit: 100}, {TokenID: id(1), Meter: "m", Limit: 100}}}
		lapsing, settled := w.key(), w.key()
		for _, key := range [][16]byte{lapsing, settled} {
			_, err := p.reserve(key, 10) // until a minute past noon
			w.ok(err, "Reserve")
		}
		w.ok(w.s.Settle(w.ctx, acme, settled, 7), "Settle")
		w.same(w.purge(keepAll(noon.Add(time.Minute-time.Microsecond)), 100), 0, "how much was purged before it lapsed")
		p.used(17, "before it lapsed")
		end := keepAll(noon.Add(time.Minute))
		// The reservations that used makes are settled. They stay as long as the history.
		w.same(w.purge(end, 100), 1, "how much was purged when it lapsed")
		p.used(7, "after it lapsed")
		w.same(w.purge(end, 100), 0, "how much was purged again")
		_, err := p.reserve(lapsing, 10)
		w.failed(latchkey.ErrConflict, err, "Reserve with a key that lapsed")
		w.failed(latchkey.ErrConflict, w.s.Settle(w.ctx, acme, lapsing, 10), "Settle of what lapsed")
		w.ok(w.s.Settle(w.ctx, acme, lapsing, 0), "Settle of what lapsed, with nothing")
		w.ok(w.s.Settle(w.ctx, acme, settled, 7), "Settle again")
		p.used(7, "after all that")

		end.Changes = time.Hour
		w.same(w.purge(end, 100), 0, "how much was purged before history was old")
		end.Now = noon.Add(time.Minute + time.Hour)
		for w.purge(end, 100) == 100 {
		}
		w.failed(latchkey.ErrNotFound, w.s.Settle(w.ctx, acme, settled, 7), "Settle of a purged reservation")
		p.used(7, "after history was purged: what was spent stays spent")
		_, err = p.reserve(lapsing, 10)
		w.ok(err, "Reserve with a purged key")

		// Settled after it lapsed but before a Purge: it counts as spent.
		late := w.key()
		_, err = p.reserve(late, 10)
		w.ok(err, "Reserve")
		w.ok(w.s.Settle(w.ctx, acme, late, 10), "Settle")
		p.used(27, "at the end")
	}),

	newCase("purge/credits", "What was spent in a month is removed Changes after the next month ended, which "+
		"may carry from it, once no open reservation names it. Other periods stay.", func(w *fixture) {
		type account = latchkey.CreditAccount
		month := func(token, meter, period string) account {
			return account{TokenID: token, Meter: meter, Period: period, Limit: 100}
		}
		accounts := []account{month("", "m", "2026-10"), month(id(1), "m", "2026-10"), month("", "m", "2026-11"),
			month("", "m", ""),
			month("", "m", "2026"), month("", "m", "2026-1"), month("", "m", "always")}
		for _, a := range accounts {
			key := w.key()
			_, err := w.s.Reserve(w.ctx, latchkey.Reservation{Owner: acme, Key: key, Amount: 60, Accounts: []account{a}})
			w.ok(err, "Reserve")
			w.ok(w.s.Settle(w.ctx, acme, key, 60), "Settle")
		}
		held := w.key()
		_, err := w.s.Reserve(w.ctx, latchkey.Reservation{Owner: acme, Key: held, Amount: 30,
			Accounts: []account{month(id(1), "m", "2026-09"), month(id(1), "n", "2026-11")}})
		w.ok(err, "Reserve")
		spent := func(what string, want ...bool) {
			w.Helper()
			for i, a := range accounts {
				key := w.key()
				_, err := w.s.Reserve(w.ctx, latchkey.Reservation{Owner: acme, Key: key, Amount: 50, Accounts: []account{a}})
				if want[i] {
					w.failed(latchkey.ErrOverLimit, err, fmt.Sprintf("%s: Reserve from %+v", what, a))
					continue
				}
				w.ok(err, fmt.Sprintf("%s: Reserve from %+v, which was forgotten", what, a))
				w.ok(w.s.Settle(w.ctx, acme, key, 0), "Settle")
			}
		}
		over := time.Date(2026, 12, 1, 1, 0, 0, 0, time.UTC) // November ended an hour ago
		p := keepAll(over.Add(-time.Microsecond))
		w.same(w.purge(p, 100), 0, "how much was purged when all is kept")
		p.Changes = time.Hour
		w.same(w.purge(p, 100), 0, "how much was purged before November was over for an hour")
		spent("before", true, true, true, true, true, true, true)
		p.Now = over
		w.same(w.purge(p, 1), 1, "how much was purged of two accounts, one at a time")
		w.same(w.purge(p, 100), 1, "how much was purged after it: September is held")
		w.same(w.purge(p, 100), 0, "how much was purged again")
		spent("after", false, false, true, true, true, true, true)
		w.ok(w.s.Settle(w.ctx, acme, held, 20), "Settle of what is from an old month")
		for w.purge(p, 100) == 100 {
		}
		_, err = w.s.Reserve(w.ctx, latchkey.Reservation{Owner: acme, Key: w.key(), Amount: 100,
			Accounts: []account{month(id(1), "m", "2026-09")}})
		w.ok(err, "Reserve from a month that was forgotten once nothing held it")
		_, err = w.s.Reserve(w.ctx, latchkey.Reservation{Owner: acme, Key: w.key(), Amount: 81,
			Accounts: []account{month(id(1), "n", "2026-11")}})
		w.failed(latchkey.ErrOverLimit, err, "Reserve from the other account of that reservation")
	}),

	newCase("purge/credit-ends", "An account is removed Changes after its Ends, whatever its Period is. The first "+
		"reservation sets Ends, which does not tell accounts apart.", func(w *fixture) {
		type account = latchkey.CreditAccount
		over := time.Date(2026, 11, 22, 13, 0, 0, 0, time.UTC)
		ending := func(token, period string, ends time.Time) account {
			return account{TokenID: token, Meter: "m", Period: period, Limit: 100, Ends: ends}
		}
		week := "2026-W47 " + strings.Repeat("é", 27) + "'" // 64 bytes
		accounts := []account{ending("", "2026-11-22", over), ending(id(1), "2026-11-22", over), ending("", week, over),
			ending("", "", over), ending("", "2026-11", over), ending("", "2026-09", over.Add(time.Hour)),
			ending("", "2026-11-22T13", over.Add(time.Microsecond)), ending("", "2026-W46", time.Time{}),
			ending("", "2026-08", time.Time{}), ending("", "2026-10", time.Time{}), ending("", "2026-12", time.Time{})}
		gone := []bool{true, true, true, true, true, false, false, false, true, false, false}
		take := func(a account, n latchkey.Credits) error {
			key := w.key()
			_, err := w.s.Reserve(w.ctx, latchkey.Reservation{Owner: acme, Key: key, Amount: n, Accounts: []account{a}})
			if err == nil {
				w.ok(w.s.Settle(w.ctx, acme, key, n), "Settle")
			}
			return err
		}
		for _, a := range accounts {
			w.ok(take(a, 40), "Reserve")
			a.Ends = over.AddDate(1, 0, 0) // it has its end already
			w.ok(take(a, 20), "Reserve with another end")
		}
		var limit *latchkey.OverLimitError
		if err := take(accounts[2], 50); !errors.As(err, &limit) {
			w.Errorf("Reserve of more than is left: %v", orNil(err))
		} else {
			w.same(limit.Account, accounts[2], "the account that had not enough")
		}
		held := w.key()
		_, err := w.s.Reserve(w.ctx, latchkey.Reservation{Owner: acme, Key: held, Amount: 60,
			Accounts: []account{ending("", "held", over)}})
		w.ok(err, "Reserve")
		p := keepAll(over.Add(time.Hour - time.Microsecond))
		p.Changes = time.Hour
		p.Revoked, p.Expired, p.Events = -1, -1, -1
		w.same(w.purge(p, 100), 1, "how much was purged before the others were over: October")
		p.Now = over.Add(time.Hour)
		removed := 0
		for n := 1; n > 0; removed += n {
			n = w.purge(p, 1) // one by one: the account that is held does not stop the others
		}
		w.same(removed, 5, "how much was purged when they were over for an hour")
		w.same(w.purge(p, 100), 0, "how much was purged again")
		for i, a := range accounts {
			err := take(a, 50)
			if gone[i] {
				w.ok(err, fmt.Sprintf("Reserve from %+v, which was forgotten", a))
			} else {
				w.failed(latchkey.ErrOverLimit, err, fmt.Sprintf("Reserve from %+v", a))
			}
		}
		w.failed(latchkey.ErrOverLimit, take(ending("", "held", over), 50), "Reserve from an account that was held")
		w.ok(w.s.Settle(w.ctx, acme, held, 60), "Settle")
		w.purge(p, 100)
		w.ok(take(ending("", "held", time.Time{}), 50), "Reserve from an account that nothing holds")
		// What is named anew has the end that is named now.
		p.Now = over.AddDate(0, 0, 1)
		w.purge(p, 100)
		w.failed(latchkey.ErrOverLimit, take(ending("", "held", over), 60), "Reserve from an account without an end")
	}),

	newCase("purge/history", "Changes, write IDs and usage batch IDs are removed when they are older than Changes (24 h "+
		"if that is 0), not before.", func(w *fixture) {
		w.insert(token(1))
		write := latchkey.Write{ID: w.key(), Owner: acme, At: noon, Clients: []latchkey.Client{{ID: "a", Name: "Ada"}}}
		batch := latchkey.UsageBatch{ID: w.key(), At: noon,
			Rows: []latchkey.UsageRow{{Owner: acme, Meter: "m", Day: "2026-11-22", Count: 1}}}
		again := func() (name string, count int64) {
			w.ok(w.addUsage(batch), "AddUsage")
			w.write(write)
			clients, err := w.s.Clients(w.ctx, acme, latchkey.Page{})
			w.ok(err, "Clients")
			rows, err := w.s.Usage(w.ctx, acme, latchkey.UsageQuery{})
			w.ok(err, "Usage")
			return clients[0].Name, rows[0].Count
		}
		again()
		before := w.epoch()
		w.update(1, func(t *latchkey.Token) { t.Name = "x" })
		write.Clients[0].Name = "Bea"
		p := latchkey.PurgePolicy{Now: noon.Add(24*time.Hour - time.Microsecond), Expired: -1, Revoked: -1}
		w.same(w.purge(p, 100), 0, "how much was purged within 24 h")
		name, count := again()
		w.same(name, "Ada", "a name, the write being remembered")
		w.same(count, int64(1), "a count, the batch being remembered")
		w.same(len(w.since(before)), 1, "how many changes there are")
		p.Now = noon.Add(24 * time.Hour)
		if n := w.purge(p, 100); n < 3 {
			w.Errorf("Purge after 24 h: removed %d things; there were a change, a write ID and a batch ID", n)
		}
		f, err := w.changes(before, 10)
		w.ok(err, "Changes")
		w.same(f.Truncated, true, "Truncated")
		w.same(len(f.Changes), 0, "how many changes are left")
		name, count = again()
		w.same(name, "Bea", "a name, the write being forgotten")
		w.same(count, int64(2), "a count, the batch being forgotten")
	}),

	newCase("purge/revocations", "A revocation of a stateless token stays in the feed until Until plus Revoked, however "+
		"old history may be.", func(w *fixture) {
		w.write(latchkey.Write{Revocations: []latchkey.Revocation{{ID: "a", Until: noon.Add(time.Hour)},
			{ID: "b", Until: noon.Add(-time.Hour)}}})
		w.write(latchkey.Write{OwnerRecord: &latchkey.Owner{ID: acme}})
		left := func() (ids []string) {
			f, err := w.changes(0, 100)
			w.ok(err, "Changes")
			for _, c := range f.Changes {
				if c.Kind == latchkey.ChangedRevocation {
					ids = append(ids, c.ID)
				}
			}
			slices.Sort(ids)
			return ids
		}
		p := latchkey.PurgePolicy{Now: noon.Add(time.Minute), Expired: -1, Revoked: time.Hour + 2*time.Minute,
			Changes: time.Second, Events: -1}
		for range 2 {
			w.purge(p, 100)
			w.same(left(), []string{"a", "b"}, "the revocations, when none is over")
		}
		p.Revoked = time.Hour + time.Minute
		w.purge(p, 100)
		w.same(left(), []string{"a"}, "the revocations, when one is over")
		p.Now = noon.AddDate(1, 0, 0)
		w.purge(p, 100)
		w.same(len(left()), 0, "how many revocations are left in the end")
		w.same(w.purge(p, 100), 0, "how much was purged at last")
	}),

	newCase("purge/events", "Events are removed when they are older than Events. 0 keeps them for ever. Seq goes "+
		"on.", func(w *fixture) {
		w.write(latchkey.Write{Events: []latchkey.Event{{At: noon.Add(-2 * time.Hour), Action: "old"},
			{At: noon.Add(-time.Hour), Action: "young"}}})
		p := keepAll(noon)
		list := func() []latchkey.Event {
			all, _ := w.events(acme, latchkey.EventQuery{})
			return all
		}
		p.Events = 0
		w.same(w.purge(p, 100), 0, "how much was purged without a duration")
		last := list()[1].Seq
		p.Events = 2 * time.Hour
		w.same(w.purge(p, 100), 1, "how much was purged")
		w.same(len(list()), 1, "how many are left")
		w.same(list()[0].Action, "young", "what is left")
		p.Events = time.Microsecond
		w.same(w.purge(p, 100), 1, "how much was purged then")
		w.write(latchkey.Write{Events: []latchkey.Event{{At: noon}}})
		if got := list()[0].Seq; got <= last {
			w.Errorf("Seq after a purge: got %d, want more than %d", got, last)
		}
	}),

	newCase("purge/bounded", "Purge removes at most n things, fewer than n when it is done, and nothing "+
		"twice.", func(w *fixture) {
		var tokens []latchkey.Token
		x := latchkey.Write{At: noon.Add(time.Hour)}
		for n := 1; n <= 7; n++ {
			t := token(n)
			t.Revoked = noon
			tokens = append(tokens, t)
			x.Events = append(x.Events, latchkey.Event{At: noon})
			w.ok(w.s.Once(w.ctx, acme, digest(n), noon), "Once")
			_, err := credits{w, []latchkey.CreditAccount{{Meter: "m", Limit: 100}}}.reserve(w.key(), 1)
			w.ok(err, "Reserve")
		}
		w.insert(tokens...)
		w.insert(token(8))
		w.write(x)
		ending := latchkey.Write{}
		for n := 20; n < 27; n++ {
			s := secret(n)
			s.NotAfter = noon.Add(time.Second)
			ending.Secrets = append(ending.Secrets, latchkey.SecretChange{TokenID: id(8), Add: s})
		}
		w.write(ending)
		p := latchkey.PurgePolicy{Now: noon.Add(time.Hour), Expired: -1, Revoked: 0, Changes: -1, Events: time.Minute}
		total, calls := 0, 0
		for ; calls < 100; calls++ {
			n := w.purge(p, 3)
			if total += n; n < 3 {
				break
			}
		}
		w.same(total, 35, "how much was purged, three by three: 7 tokens, secrets, Once keys, reservations, events")
		w.same(calls, 11, "how many full batches there were")
		w.same(w.purge(p, 3), 0, "how much was purged when it was done")
		w.present(8)
		w.same(numbers(w.tokens(acme, latchkey.TokenQuery{})), []int{8}, "what is left")
	}),
}
