package storetest

import (
	"errors"
	"fmt"
	"math"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/latchkey-go/latchkey"
)

var onceCases = []Case{
	newCase("once", "Once records a key per owner. A second time is ErrExists until Purge removes the key, whatever its "+
		"end is.", func(w *fixture) {
		w.ok(w.s.Once(w.ctx, acme, digest(1), noon), "a new key")
		w.failed(latchkey.ErrExists, w.s.Once(w.ctx, acme, digest(1), noon), "the same key")
		w.failed(latchkey.ErrExists, w.s.Once(w.ctx, acme, digest(1), noon.AddDate(0, 0, 1)), "the same key with another end")
		w.ok(w.s.Once(w.ctx, acme, digest(2), noon.Add(-time.Hour)), "a key whose time is over already")
		w.failed(latchkey.ErrExists, w.s.Once(w.ctx, acme, digest(2), noon), "that key again: only Purge forgets")
		w.ok(w.s.Once(w.ctx, globex, digest(1), noon), "another owner's key")
		upper, lower := [32]byte{'A'}, [32]byte{'a'}
		w.ok(w.s.Once(w.ctx, acme, upper, noon), "a key")
		w.ok(w.s.Once(w.ctx, acme, lower, noon), "the key in another case")
	}),

	newCase("once/write", "A Write records keys with everything else that it does. ErrExists if one is recorded already, "+
		"but for keys with IfAbsent.", func(w *fixture) {
		w.insert(token(1))
		key := func(n int) latchkey.OnceKey { return latchkey.OnceKey{Key: digest(n), Until: noon} }
		first := latchkey.Write{ID: w.key(), Tokens: []latchkey.Token{token(2)}, Once: []latchkey.OnceKey{key(1), key(2)}}
		w.write(first)
		w.write(first) // repeated
		w.failed(latchkey.ErrExists, w.s.Once(w.ctx, acme, digest(2), noon), "a key that a Write recorded")
		w.ok(w.s.Once(w.ctx, acme, digest(3), noon), "a key of no Write")
		for n := 1; n <= 3; n++ {
			w.refuse(latchkey.ErrExists, latchkey.Write{Tokens: []latchkey.Token{token(3)},
				Once: []latchkey.OnceKey{key(4), key(n)}}, "a key that is recorded")
		}
		w.absent(3)
		w.write(latchkey.Write{Tokens: []latchkey.Token{token(3)}, Silent: true, Once: []latchkey.OnceKey{key(4)}})
		again := key(1)
		again.IfAbsent, again.Until = true, noon.Add(time.Hour)
		fresh := key(5)
		fresh.IfAbsent = true
		w.write(latchkey.Write{DeleteTokens: refs(3), Once: []latchkey.OnceKey{again, fresh}})
		w.failed(latchkey.ErrExists, w.s.Once(w.ctx, acme, digest(5), noon), "a key that was absent")
		w.refuse(latchkey.ErrExists, latchkey.Write{Tokens: []latchkey.Token{token(4)},
			Once: []latchkey.OnceKey{key(6), key(6)}}, "one key twice")
		w.write(latchkey.Write{Owner: globex, Once: []latchkey.OnceKey{key(1)}})
		w.purge(latchkey.PurgePolicy{Now: noon, Expired: -1, Revoked: -1, Changes: -1}, 100)
		for n := 1; n <= 5; n++ {
			w.ok(w.s.Once(w.ctx, acme, digest(n), noon), "after Purge: IfAbsent left the time as it was")
		}
	}),

	newCase("once/race", "Of many that record one key at once, exactly one succeeds.", func(w *fixture) {
		var won atomic.Int64
		var all sync.WaitGroup
		for range 16 {
			all.Go(func() {
				for n := range 5 {
					if err := w.s.Once(w.ctx, acme, digest(n), noon); err == nil {
						won.Add(1)
					} else {
						w.failed(latchkey.ErrExists, err, "Once")
					}
				}
			})
		}
		all.Wait()
		w.same(won.Load(), int64(5), "how many succeeded, for 5 keys")
	}),

	newCase("usage/add", "AddUsage adds every row of a batch, once per batch ID, and is exact for each "+
		"owner.", func(w *fixture) {
		row := latchkey.UsageRow{Owner: acme, TokenID: id(1), ClientID: "42", Meter: "rows", Endpoint: "GET /x",
			Day: "2026-11-22", Count: 3, Credits: 1_500_000}
		theirs := row
		theirs.Owner = globex
		batch := latchkey.UsageBatch{ID: w.key(), At: noon, Rows: []latchkey.UsageRow{row, row, theirs}}
		every := latchkey.UsageQuery{By: []string{"token", "client", "meter", "endpoint", "day"}}
		for range 3 {
			w.ok(w.addUsage(batch), "AddUsage")
		}
		usage := func(owner string) []latchkey.UsageRow {
			w.Helper()
			rows, err := w.s.Usage(w.ctx, owner, every)
			w.ok(err, "Usage")
			return rows
		}
		row.Count, row.Credits = 6, 3_000_000
		w.same(usage(acme), []latchkey.UsageRow{row}, "the usage of a batch added three times")
		w.same(usage(globex), []latchkey.UsageRow{theirs}, "another owner's")
		big := row
		big.Count, big.Credits = 1<<53+1, 1<<60+1
		w.ok(w.addUsage(latchkey.UsageBatch{ID: w.key(), At: noon, Rows: []latchkey.UsageRow{big}}), "AddUsage")
		row.Count, row.Credits = row.Count+big.Count, row.Credits+big.Credits
		w.same(usage(acme), []latchkey.UsageRow{row}, "the usage with large numbers, to the last one")
		w.failed(latchkey.ErrInvalid, w.addUsage(latchkey.UsageBatch{At: noon}), "a batch without ID")
		for _, below := range []latchkey.UsageRow{{Owner: acme, Day: "2026-11-20", Count: -1},
			{Owner: acme, Day: "2026-11-20", Credits: -1}} {
			w.failed(latchkey.ErrInvalid, w.addUsage(latchkey.UsageBatch{ID: w.key(), At: noon,
				Rows: []latchkey.UsageRow{below}}), "usage below zero")
		}
	}),

	newCase("usage/last", "A last use only ever raises Used, to the microsecond. A token that does not exist is "+
		"skipped.", func(w *fixture) {
		w.insert(token(1), token(2))
		last := func(at time.Time) {
			w.Helper()
			w.ok(w.addUsage(latchkey.UsageBatch{ID: w.key(), At: noon, Last: []latchkey.LastUsed{
				{Owner: acme, TokenID: id(9), At: at}, {Owner: globex, TokenID: id(2), At: at},
				{Owner: acme, TokenID: id(1), At: at},
			}}), "AddUsage")
		}
		for _, step := range []struct{ put, want time.Duration }{
			{time.Minute, time.Minute}, {time.Second, time.Minute}, {time.Minute - time.Microsecond, time.Minute},
			{time.Minute + 1999, time.Minute + time.Microsecond}, {time.Hour, time.Hour},
		} {
			last(noon.Add(step.put))
			w.same(w.load(1).Token.Used, noon.Add(step.want), fmt.Sprintf("Used after a last use %v past noon", step.put))
		}
		w.same(w.load(1).Token.Version, uint64(1), "the version")
		w.same(w.load(2).Token.Used, time.Time{}, "Used of a token that only another owner named")
		f, err := w.s.ByDigest(w.ctx, 0, digest(1))
		w.ok(err, "ByDigest")
		w.same(f.Token.Used, noon.Add(time.Hour), "Used of ByDigest")
	}),

	newCase("usage/many", "A large batch has the effect of its rows one by one. A row or token may come twice, two "+
		"owners may have the same id, and there may be more rows than fit a statement.", func(w *fixture) {
		const tokens = 150
		var batch latchkey.UsageBatch
		for n := 1; n <= tokens; n++ {
			mine, theirs := token(n), by(globex, token(n))
			w.insert(mine)
			w.write(latchkey.Write{Owner: globex, Tokens: []latchkey.Token{theirs}, Silent: true})
			for _, owner := range []string{acme, globex} {
				at := noon.Add(time.Duration(n) * time.Minute)
				if owner == globex {
					at = at.Add(time.Second)
				}
				batch.Last = append(batch.Last,
					latchkey.LastUsed{Owner: owner, TokenID: id(n), At: at.Add(-time.Minute)},
					latchkey.LastUsed{Owner: owner, TokenID: id(n), At: at},
					latchkey.LastUsed{Owner: owner, TokenID: id(n), At: at.Add(-time.Second)})
				row := latchkey.UsageRow{Owner: owner, TokenID: id(n), Meter: "calls", Day: "2026-11-22", Count: int64(n),
					Credits: 1}
				batch.Rows = append(batch.Rows, row, row)
			}
		}
		batch.At = noon
		for range 2 {
			batch.ID = w.key()
			w.ok(w.addUsage(batch), "AddUsage")
		}
		for n := 1; n <= tokens; n += 7 {
			w.same(w.load(n).Token.Used, noon.Add(time.Duration(n)*time.Minute), "Used")
			f, err := w.s.Load(w.ctx, globex, id(n))
			w.ok(err, "Load")
			w.same(f.Token.Used, noon.Add(time.Duration(n)*time.Minute+time.Second), "Used of the same id of another owner")
			f, err = w.s.ByDigest(w.ctx, 0, digest(n))
			w.ok(err, "ByDigest")
			w.same(f.Token.Used, noon.Add(time.Duration(n)*time.Minute), "Used of ByDigest")
		}
		for _, owner := range []string{acme, globex} {
			rows, err := w.s.Usage(w.ctx, owner, latchkey.UsageQuery{By: []string{"token"}})
			w.ok(err, "Usage")
			w.same(len(rows), tokens, "tokens that were counted")
			for _, r := range rows {
				w.same(r.Count, int64(4*number(r.TokenID)), "a count")
				w.same(r.Credits, latchkey.Credits(4), "credits")
			}
		}
	}),

	newCase("usage/query", "Usage sums by the columns asked for, in their order, over the rows that meet every "+
		"condition.", func(w *fixture) {
		var rows []latchkey.UsageRow
		add := func(token, client, meter, endpoint, day string, n int64) {
			rows = append(rows, latchkey.UsageRow{Owner: acme, TokenID: token, ClientID: client, Meter: meter,
				Endpoint: endpoint, Day: day,
				Count: n, Credits: latchkey.Credits(n) * 10})
		}
		add("t1", "", "rows", "GET /a", "2026-11-20", 1)
		add("t1", "42", "rows", "GET /a", "2026-11-21", 2)
		add("t1", "42", "calls", "GET /b", "2026-11-21", 4)
		add("t2", "42", "rows", "get /a", "2026-11-22", 8)
		add("t2", "é", "Rows", "GET /a", "2026-12-01", 16)
		w.ok(w.addUsage(latchkey.UsageBatch{ID: w.key(), At: noon, Rows: rows}), "AddUsage")
		w.ok(w.addUsage(latchkey.UsageBatch{ID: w.key(), At: noon,
			Rows: []latchkey.UsageRow{{Owner: globex, TokenID: "t1", Meter: "rows", Day: "2026-11-20", Count: 1000}}}),
			"AddUsage")
		type sums = []latchkey.UsageRow
		sum := func(r latchkey.UsageRow, n int64) latchkey.UsageRow {
			r.Owner, r.Count, r.Credits = acme, n, latchkey.Credits(n)*10
			return r
		}
		none := latchkey.UsageRow{}
		for _, c := range []struct {
			what string
			q    latchkey.UsageQuery
			want sums
		}{
			{"all", latchkey.UsageQuery{}, sums{sum(none, 31)}},
			{"all of nothing", latchkey.UsageQuery{ClientID: "nobody"}, sums{sum(none, 0)}},
			{"groups of nothing", latchkey.UsageQuery{ClientID: "nobody", By: []string{"day"}}, nil},
			{"by token", latchkey.UsageQuery{By: []string{"token"}},
				sums{sum(latchkey.UsageRow{TokenID: "t1"}, 7), sum(latchkey.UsageRow{TokenID: "t2"}, 24)}},
			{"by client", latchkey.UsageQuery{By: []string{"client"}},
				sums{sum(none, 1), sum(latchkey.UsageRow{ClientID: "42"}, 14), sum(latchkey.UsageRow{ClientID: "é"}, 16)}},
			{"by meter", latchkey.UsageQuery{By: []string{"meter"}},
				sums{sum(latchkey.UsageRow{Meter: "Rows"}, 16), sum(latchkey.UsageRow{Meter: "calls"}, 4),
					sum(latchkey.UsageRow{Meter: "rows"}, 11)}},
			{"by endpoint", latchkey.UsageQuery{By: []string{"endpoint"}},
				sums{sum(latchkey.UsageRow{Endpoint: "GET /a"}, 19), sum(latchkey.UsageRow{Endpoint: "GET /b"}, 4),
					sum(latchkey.UsageRow{Endpoint: "get /a"}, 8)}},
			{"by meter and token", latchkey.UsageQuery{By: []string{"meter", "token"}, Meters: []string{"rows", "calls"}}, sums{
				sum(latchkey.UsageRow{Meter: "calls", TokenID: "t1"}, 4),
				sum(latchkey.UsageRow{Meter: "rows", TokenID: "t1"}, 3), sum(latchkey.UsageRow{Meter: "rows", TokenID: "t2"}, 8)}},
			{"by token and meter", latchkey.UsageQuery{By: []string{"token", "meter"}, Meters: []string{"rows", "calls"}}, sums{
				sum(latchkey.UsageRow{TokenID: "t1", Meter: "calls"}, 4),
				sum(latchkey.UsageRow{TokenID: "t1", Meter: "rows"}, 3), sum(latchkey.UsageRow{TokenID: "t2", Meter: "rows"}, 8)}},
			{"tokens", latchkey.UsageQuery{TokenIDs: []string{"t2", "t3"}}, sums{sum(none, 24)}},
			{"a meter, by case", latchkey.UsageQuery{Meters: []string{"Rows"}}, sums{sum(none, 16)}},
			{"all but a meter", latchkey.UsageQuery{ExceptMeters: []string{"rows", "nothing"}}, sums{sum(none, 20)}},
			{"a meter, but not that one", latchkey.UsageQuery{Meters: []string{"rows"}, ExceptMeters: []string{"rows"}},
				sums{sum(none, 0)}},
			{"a client", latchkey.UsageQuery{ClientID: "42"}, sums{sum(none, 14)}},
			{"a client, by accent", latchkey.UsageQuery{ClientID: "e"}, sums{sum(none, 0)}},
			{"from", latchkey.UsageQuery{From: "2026-11-21", By: []string{"day"}},
				sums{sum(latchkey.UsageRow{Day: "2026-11-21"}, 6), sum(latchkey.UsageRow{Day: "2026-11-22"}, 8),
					sum(latchkey.UsageRow{Day: "2026-12-01"}, 16)}},
			{"to", latchkey.UsageQuery{To: "2026-11-21"}, sums{sum(none, 7)}},
			{"from the first of a month", latchkey.UsageQuery{From: "2026-12-01"}, sums{sum(none, 16)}},
			{"one day", latchkey.UsageQuery{From: "2026-11-21", To: "2026-11-21"}, sums{sum(none, 6)}},
			{"everything at once", latchkey.UsageQuery{TokenIDs: []string{"t1"}, Meters: []string{"rows"}, ClientID: "42",
				From: "2026-11-01", To: "2026-11-30"}, sums{sum(none, 2)}},
		} {
			got, err := w.s.Usage(w.ctx, acme, c.q)
			w.ok(err, c.what)
			w.same(got, c.want, c.what)
		}
		_, err := w.s.Usage(w.ctx, acme, latchkey.UsageQuery{By: []string{"owner; --"}})
		w.failed(latchkey.ErrInvalid, err, "grouping by something unknown")
	}),

	newCase("usage/overflow", "A count or a sum that would leave the range of int64 stops at its end.", func(w *fixture) {
		const most = math.MaxInt64
		add := func(meter, day string, n int64) {
			w.ok(w.addUsage(latchkey.UsageBatch{ID: w.key(), At: noon, Rows: []latchkey.UsageRow{
				{Owner: acme, Meter: meter, Day: day, Count: n, Credits: latchkey.Credits(n)}}}), "AddUsage")
		}
		add("most", "2026-11-20", most-1)
		add("most", "2026-11-20", 2)
		for _, n := range []int64{most, most, 1} {
			add("sum", "2026-11-2"+fmt.Sprint(n%7), n)
		}
		add("just", "2026-11-20", most-5<<32-1)
		add("just", "2026-11-21", 5<<32)
		add("less", "2026-11-20", 1<<62+1<<31)
		add("less", "2026-11-21", 1<<61+1<<31+3)
		got, err := w.s.Usage(w.ctx, acme, latchkey.UsageQuery{By: []string{"meter"}})
		w.ok(err, "Usage")
		var want []latchkey.UsageRow
		for _, c := range []struct {
			meter string
			n     int64
		}{{"just", most - 1}, {"less", 1<<62 + 1<<61 + 1<<32 + 3}, {"most", most}, {"sum", most}} {
			want = append(want, latchkey.UsageRow{Owner: acme, Meter: c.meter, Count: c.n, Credits: latchkey.Credits(c.n)})
		}
		w.same(got, want, "the sums")
		got, err = w.s.Usage(w.ctx, acme, latchkey.UsageQuery{})
		w.ok(err, "Usage")
		w.same(got, []latchkey.UsageRow{{Owner: acme, Count: most, Credits: most}}, "the sum of all")
	}),

	newCase("usage/race", "Batches added by many at once, some twice, are all counted, each once.", func(w *fixture) {
		var all sync.WaitGroup
		for worker := range 8 {
			all.Go(func() {
				for n := range 6 {
					b := latchkey.UsageBatch{ID: [16]byte{1, byte(worker / 2), byte(n)}, At: noon, // two workers share an ID
						Rows: []latchkey.UsageRow{{Owner: acme, TokenID: id(1), Meter: "m", Day: "2026-11-22", Count: 1, Credits: 2}}}
					if err := w.addUsage(b); err != nil {
						w.Errorf("AddUsage: %v", err)
					}
				}
			})
		}
		all.Wait()
		rows, err := w.s.Usage(w.ctx, acme, latchkey.UsageQuery{})
		w.ok(err, "Usage")
		w.same(rows, []latchkey.UsageRow{{Owner: acme, Count: 24, Credits: 48}}, "the sum of 24 batches")
	}),
}

// credits reserves from accounts of acme.
type credits struct {
	*fixture
	accounts []latchkey.CreditAccount
}

func (p credits) reserve(key [16]byte, amount latchkey.Credits) (latchkey.Credits, error) {
	r, err := p.s.Reserve(p.ctx, latchkey.Reservation{Owner: acme, Key: key, Accounts: p.accounts, Amount: amount,
		Until: noon.Add(time.Minute)})
	return r.Left, err
}

// used checks how much is taken from each account. The rest of a limit can be reserved, and no more.
func (p credits) used(want latchkey.Credits, what string) {
	p.Helper()
	const limit = 1 << 40
	for i := range p.accounts {
		one := p
		one.accounts = []latchkey.CreditAccount{p.accounts[i]}
		one.accounts[0].Limit = limit
		if _, err := one.reserve(p.key(), limit-want+1); err == nil {
			p.Errorf("%s: less than %d was taken from account %d", what, want, i)
			return
		}
		key := p.key()
		if _, err := one.reserve(key, limit-want); err != nil {
			p.Errorf("%s: more than %d was taken from account %d: %v", what, want, i, err)
			return
		}
		p.ok(p.s.Settle(p.ctx, acme, key, 0), "Settle")
	}
}

// overLimit is failed for ErrOverLimit. It also checks that the error names the account.
func (w *fixture) overLimit(want latchkey.CreditAccount, err error, what string) {
	w.Helper()
	w.failed(latchkey.ErrOverLimit, err, what)
	var over *latchkey.OverLimitError
	if !errors.As(err, &over) {
		w.Errorf("%s: %v is no *OverLimitError", what, err)
		return
	}
	w.same(over.Account, want, what+": the account in the error")
}

var creditCases = []Case{
	newCase("credits/reserve", "Reserve takes from every account or from none. Owner, token, meter and period together "+
		"name an account. The limit comes with the call.", func(w *fixture) {
		all := credits{w, []latchkey.CreditAccount{
			{TokenID: id(1), Meter: "m", Period: "2026-11", Limit: 100}, {Meter: "m", Period: "2026-11", Limit: 50},
			{TokenID: id(1), Meter: "m", Limit: 70},
		}}
		for _, step := range []struct{ amount, left latchkey.Credits }{{20, 30}, {29, 1}, {1, 0}} {
			left, err := all.reserve(w.key(), step.amount)
			w.ok(err, "Reserve")
			w.same(left, step.left, "the least that an account has left")
		}
		_, err := all.reserve(w.key(), 1)
		w.overLimit(all.accounts[1], err, "Reserve from an exhausted account")
		all.used(50, "after an account was too small: nothing was taken from the others")

		// Other accounts are unchanged.
		for _, other := range []latchkey.CreditAccount{
			{TokenID: id(2), Meter: "m", Period: "2026-11"}, {TokenID: id(1), Meter: "M", Period: "2026-11"},
			{TokenID: id(1), Meter: "m", Period: "2026-12"},
			{Meter: "m"}, {Meter: "m ", Period: "2026-11"},
		} {
			credits{w, []latchkey.CreditAccount{other}}.used(0, "another account")
		}
		_, err = w.s.Reserve(w.ctx, latchkey.Reservation{Owner: globex, Key: w.key(), Amount: 50, Until: noon,
			Accounts: all.accounts})
		w.ok(err, "Reserve from another owner's account of the same name")

		// A raised limit and a lowered one take effect at once. A limit of 0 allows nothing.
		_, err = credits{w, []latchkey.CreditAccount{{Meter: "m", Period: "2026-11", Limit: 60},
			all.accounts[2]}}.reserve(w.key(), 5)
		w.ok(err, "Reserve from accounts with enough")
		for _, key := range [][16]byte{w.key(), w.key()} { // the exhausted account is named, at any position
			all.accounts[1].Limit = 100
			_, err = all.reserve(key, 20)
			w.overLimit(all.accounts[2], err, "Reserve of more than one account has")
			all.accounts[0], all.accounts[2] = all.accounts[2], all.accounts[0]
			_, err = all.reserve(key, 20)
			w.overLimit(all.accounts[0], err, "the same, the accounts in another order")
			all.accounts[0], all.accounts[2] = all.accounts[2], all.accounts[0]
		}
		one := credits{w, []latchkey.CreditAccount{{Meter: "m", Period: "2026-11", Limit: 56}}}
		left, err := one.reserve(w.key(), 1)
		w.ok(err, "Reserve with a raised limit")
		w.same(left, latchkey.Credits(0), "what is left")
		for _, limit := range []latchkey.Credits{56, 55, 1, 0, -1, math.MinInt64} {
			one.accounts[0].Limit = limit
			_, err = one.reserve(w.key(), 1)
			w.failed(latchkey.ErrOverLimit, err, fmt.Sprintf("Reserve with a limit of %d", limit))
		}
		one.used(56, "after refusals")
	}),

	newCase("credits/carry", "An account that carries may take as much more as the period before left of the same limit, "+
		"and at most Carry. The account of that period is that of the same token and meter.", func(w *fixture) {
		const before, now = "2026-11-21/P1D", "2026-11-22/P1D"
		take := func(a latchkey.CreditAccount, n latchkey.Credits) (latchkey.Credits, error) {
			got, err := w.s.Reserve(w.ctx, latchkey.Reservation{Owner: acme, Key: w.key(), Amount: n, Until: noon,
				Accounts: []latchkey.CreditAccount{a}})
			return got.Left, err
		}
		for i, c := range []struct {
			limit, carry, taken latchkey.Credits // taken in the period before
			more                latchkey.Credits // than the limit may be taken
		}{
			{100, 30, 100, 0}, {100, 30, 90, 10}, {100, 30, 70, 30}, {100, 30, 20, 30}, {100, 30, 0, 30},
			{100, 200, 0, 100}, {100, 200, 1, 99}, {100, 30, 130, 0}, {100, -1, 0, 0}, {100, math.MinInt64, 0, 0},
			{math.MaxInt64, math.MaxInt64, 0, 0}, {math.MaxInt64 - 5, 9, 0, 5}, {0, 30, 0, 0}, {-1, 30, 0, 0},
			{math.MinInt64, math.MaxInt64, 0, 0},
		} {
			a := latchkey.CreditAccount{TokenID: id(1), Meter: fmt.Sprint(i), Period: now, Limit: c.limit, Carry: c.carry,
				CarryFrom: before}
			what := fmt.Sprintf("%d, carrying at most %d, after %d", c.limit, c.carry, c.taken)
			if c.taken != 0 {
				_, err := take(latchkey.CreditAccount{TokenID: id(1), Meter: a.Meter, Period: before, Limit: 130}, c.taken)
				w.ok(err, "Reserve in the period before")
			}
			// Others of that period do not count.
			for _, other := range []latchkey.CreditAccount{{Meter: a.Meter}, {TokenID: id(2), Meter: a.Meter},
				{TokenID: id(1), Meter: a.Meter + "'"}} {
				other.Period, other.Limit = before, 7
				_, err := take(other, 7)
				w.ok(err, "Reserve from another account of the period before")
			}
			all := max(c.limit, 0) + c.more
			if all < math.MaxInt64 {
				_, err := take(a, all+1)
				w.overLimit(a, err, what+": Reserve of more than there is")
				var over *latchkey.OverLimitError
				if errors.As(err, &over) {
					w.same(over.Left, all, what+": what the error says is left")
				}
			}
			if all == 0 {
				continue
			}
			left, err := take(a, all)
			w.ok(err, what+": Reserve of all there is")
			w.same(left, latchkey.Credits(0), what+": what is left")
			_, err = take(a, 1)
			w.overLimit(a, err, what+": Reserve from an exhausted account")
		}
		// What is given back in the period before is carried, and what it carried itself is not.
		was := latchkey.CreditAccount{Meter: "m", Period: before, Limit: 10, Carry: 10, CarryFrom: "2026-11-20/P1D"}
		is := latchkey.CreditAccount{Meter: "m", Period: now, Limit: 10, Carry: 10, CarryFrom: before}
		held := w.key()
		_, err := w.s.Reserve(w.ctx, latchkey.Reservation{Owner: acme, Key: held, Amount: 15, Until: noon,
			Accounts: []latchkey.CreditAccount{was}})
		w.ok(err, "Reserve of what was carried, in the period before")
		_, err = take(is, 11)
		w.overLimit(is, err, "Reserve of more than the limit, when the period before took more than its own")
		w.ok(w.s.Settle(w.ctx, acme, held, 6), "Settle")
		left, err := take(is, 12)
		w.ok(err, "Reserve of some of what was left")
		w.same(left, latchkey.Credits(2), "what is left")
		_, err = take(is, 3)
		w.overLimit(is, err, "Reserve of more than there is")
		is.Carry = 0
		_, err = take(is, 1)
		w.overLimit(is, err, "Reserve of what was carried, when nothing is carried any more")
		is.Carry, is.CarryFrom = 1, now
		_, err = take(is, 1)
		w.failed(latchkey.ErrInvalid, err, "Reserve from an account that carries from itself")
	}),

	newCase("credits/least", "Reserve says which account has the least left. The error of one that has not enough says "+
		"what it has left.", func(w *fixture) {
		account := func(token, period string, limit latchkey.Credits) latchkey.CreditAccount {
			return latchkey.CreditAccount{TokenID: token, Meter: "m", Period: period, Limit: limit}
		}
		accounts := []latchkey.CreditAccount{account("", "b", 50), account(id(1), "", 30), account(id(1), "a", 40)}
		accounts[1].Carry, accounts[1].CarryFrom = 15, "before" // so that it has 45
		for i := range accounts {
			for least := range accounts {
				list := slices.Concat(accounts[i:], accounts[:i]) // in each order
				at := (least + len(list) - i) % len(list)
				list[at].Limit -= 25
				r := latchkey.Reservation{Owner: acme, Key: w.key(), Amount: 1, Until: noon, Accounts: list}
				for _, what := range []string{"Reserve", "Reserve repeated"} {
					got, err := w.s.Reserve(w.ctx, r)
					w.ok(err, what)
					w.same(got.Least, at, what+": the account with the least")
				}
				w.ok(w.s.Settle(w.ctx, acme, r.Key, 0), "Settle")
			}
		}
		one := credits{w, accounts[:1]}
		_, err := one.reserve(w.key(), 20)
		w.ok(err, "Reserve")
		_, err = one.reserve(w.key(), 31)
		var over *latchkey.OverLimitError
		if !errors.As(err, &over) {
			w.Errorf("Reserve of too much: %v is no *OverLimitError", orNil(err))
			return
		}
		w.same(over.Left, latchkey.Credits(30), "what the error says is left")
	}),

	newCase("credits/balances", "Balances says of each account what Reserve could take from it, with what it carries, "+
		"and "+
		"takes nothing. An account that carries from itself is ErrInvalid.", func(w *fixture) {
		account := func(token, period string, limit latchkey.Credits) latchkey.CreditAccount {
			return latchkey.CreditAccount{TokenID: token, Meter: "m", Period: period, Limit: limit}
		}
		take := func(owner string, n latchkey.Credits, of ...latchkey.CreditAccount) [16]byte {
			key := w.key()
			_, err := w.s.Reserve(w.ctx, latchkey.Reservation{Owner: owner, Key: key, Amount: n, Until: noon, Accounts: of})
			w.ok(err, "Reserve")
			return key
		}
		accounts := []latchkey.CreditAccount{account("", "now", 50), account(id(1), "now", 40), account(id(1), "", 30),
			account(id(2), "now", 20), account(id(3), "now", 0), account(id(4), "now", -5), account(id(5), "now", 10)}
		accounts[1].Carry, accounts[1].CarryFrom = 15, "before"
		balances := func(when string, want ...latchkey.Credits) {
			w.Helper()
			for range 2 {
				got, err := w.s.Balances(w.ctx, acme, accounts)
				w.ok(err, "Balances "+when)
				w.same(got, want, "Balances "+when)
			}
		}
		balances("of new accounts", 50, 55, 30, 20, 0, 0, 10)
		held := take(acme, 12, accounts[:3]...)
		take(acme, 35, account(id(1), "before", 40)) // which leaves 5 to carry
		take("globex", 9, account("", "now", 50))
		take(acme, 10, account(id(5), "now", 10))
		balances("after some was taken", 38, 33, 18, 20, 0, 0, 0)
		w.ok(w.s.Settle(w.ctx, acme, held, 2), "Settle")
		accounts[6].Limit = 4 // lowered below what is taken
		balances("after some was given back", 48, 43, 28, 20, 0, 0, 0)
		take(acme, 43, accounts[1])
		balances("of an exhausted account", 48, 0, 28, 20, 0, 0, 0)
		accounts = []latchkey.CreditAccount{}
		balances("of none")
		itself := account("", "now", 50)
		itself.Carry, itself.CarryFrom = 1, "now"
		_, err := w.s.Balances(w.ctx, acme, []latchkey.CreditAccount{itself})
		w.failed(latchkey.ErrInvalid, err, "Balances of an account that carries from itself")
	}),

	newCase("credits/amounts", "An amount ≤ 0, no account, or one named twice is ErrInvalid. The largest amounts neither "+
		"overflow nor round.", func(w *fixture) {
		one := credits{w, []latchkey.CreditAccount{{Meter: "m", Limit: math.MaxInt64}}}
		for _, amount := range []latchkey.Credits{0, -1, math.MinInt64} {
			_, err := one.reserve(w.key(), amount)
			w.failed(latchkey.ErrInvalid, err, fmt.Sprintf("Reserve of %d", amount))
		}
		_, err := credits{w, nil}.reserve(w.key(), 1)
		w.failed(latchkey.ErrInvalid, err, "Reserve from no account")
		twice := append(one.accounts, one.accounts[0])
		twice[1].Limit--
		_, err = credits{w, twice}.reserve(w.key(), 1)
		w.failed(latchkey.ErrInvalid, err, "Reserve from one account twice")
		big := w.key()
		left, err := one.reserve(big, math.MaxInt64-1)
		w.ok(err, "Reserve of nearly everything")
		w.same(left, latchkey.Credits(1), "what is left")
		for _, amount := range []latchkey.Credits{2, 3, math.MaxInt64 - 1, math.MaxInt64} {
			_, err = one.reserve(w.key(), amount)
			w.failed(latchkey.ErrOverLimit, err, fmt.Sprintf("Reserve of %d of the 1 that is left", amount))
		}
		left, err = one.reserve(w.key(), 1)
		w.ok(err, "Reserve of the last one")
		w.same(left, latchkey.Credits(0), "what is left")
		w.ok(w.s.Settle(w.ctx, acme, big, 0), "Settle")
		one.used(1, "after the large amount was given back")
	}),

	newCase("credits/idempotent", "The same key with the same amount and accounts returns the same result and takes "+
		"nothing more. With others it is ErrConflict.", func(w *fixture) {
		p := credits{w, []latchkey.CreditAccount{{Meter: "m", Limit: 10}, {TokenID: id(1), Meter: "m", Limit: 20}}}
		key := w.key()
		left, err := p.reserve(key, 4)
		w.ok(err, "Reserve")
		w.same(left, latchkey.Credits(6), "what is left")
		_, err = p.reserve(w.key(), 5)
		w.ok(err, "another Reserve")
		again := func(what string) {
			w.Helper()
			left, err := p.reserve(key, 4)
			w.ok(err, what)
			w.same(left, latchkey.Credits(6), "what was left then: "+what)
		}
		again("the same again")
		p.accounts[0], p.accounts[1] = p.accounts[1], p.accounts[0]
		again("the accounts in another order")
		p.used(9, "after repeating")
		_, err = p.reserve(key, 3)
		w.failed(latchkey.ErrConflict, err, "another amount")
		_, err = credits{w, p.accounts[:1]}.reserve(key, 4)
		w.failed(latchkey.ErrConflict, err, "fewer accounts")
		other := append([]latchkey.CreditAccount{{Meter: "M", Limit: 10}}, p.accounts[0])
		_, err = credits{w, other}.reserve(key, 4)
		w.failed(latchkey.ErrConflict, err, "another account")
		w.ok(w.s.Settle(w.ctx, acme, key, 4), "Settle")
		again("after it was settled")
		p.used(9, "after all that")
		// A refused reservation has no effect.
		key = w.key()
		_, err = credits{w, []latchkey.CreditAccount{{Meter: "n", Limit: 3}}}.reserve(key, 4)
		w.failed(latchkey.ErrOverLimit, err, "Reserve of too much")
		_, err = credits{w, []latchkey.CreditAccount{{Meter: "n", Limit: 4}}}.reserve(key, 4)
		w.ok(err, "Reserve with the same key and a higher limit")
	}),

	newCase("credits/settle", "Settle gives back what was not spent, once. Another amount then is ErrConflict. More than "+
		"reserved, or less than 0, is ErrInvalid.", func(w *fixture) {
		p := credits{w, []latchkey.CreditAccount{{Meter: "m", Limit: 100}, {TokenID: id(1), Meter: "m", Limit: 100}}}
		full, part, none := w.key(), w.key(), w.key()
		for _, key := range [][16]byte{full, part, none} {
			_, err := p.reserve(key, 10)
			w.ok(err, "Reserve")
		}
		settle := func(key [16]byte, actual latchkey.Credits) error { return w.s.Settle(w.ctx, acme, key, actual) }
		w.failed(latchkey.ErrInvalid, settle(full, 11), "Settle of more than was reserved")
		w.failed(latchkey.ErrInvalid, settle(full, -1), "Settle of less than nothing")
		w.failed(latchkey.ErrNotFound, settle(w.key(), 0), "Settle of an unknown key")
		p.used(30, "after nothing was settled")
		w.ok(settle(full, 10), "Settle in full")
		p.used(30, "after one was spent in full")
		for range 3 {
			w.ok(settle(part, 4), "Settle in part")
			p.used(24, "after one was spent in part")
		}
		w.ok(settle(none, 0), "Settle of nothing")
		p.used(14, "after one was not spent")
		w.failed(latchkey.ErrConflict, settle(part, 5), "Settle with another amount")
		w.failed(latchkey.ErrConflict, settle(part, 0), "Settle with nothing, after something")
		w.failed(latchkey.ErrConflict, settle(none, 1), "Settle with something, after nothing")
		w.ok(settle(full, 10), "Settle in full again")
		p.used(14, "at the end")
	}),

	newCase("credits/taken", "Taken lists what is taken of each account of an owner, with its end, by token, meter and "+
		"period. What it lists can be taken alike from another owner.", func(w *fixture) {
		list := func(owner string, size int) (got []latchkey.TakenCredits) {
			w.Helper()
			q := latchkey.TakenQuery{Page: latchkey.Page{Limit: size}}
			for range 1000 {
				page, next, err := w.s.Taken(w.ctx, owner, q)
				w.ok(err, "Taken")
				if len(page) > size {
					w.Fatalf("Taken: %d accounts on a page of %d", len(page), size)
				}
				for _, c := range page {
					if c.Taken != 0 { // those with nothing taken may be among them
						got = append(got, c)
					}
				}
				if next == "" {
					return got
				}
				q.After = next
			}
			w.Fatalf("Taken never comes to an end")
			return nil
		}
		w.same(list(acme, 10), []latchkey.TakenCredits(nil), "accounts before anything was taken")
		end := noon.Add(time.Hour)
		take := func(owner string, amount latchkey.Credits, c latchkey.CreditAccount) [16]byte {
			w.Helper()
			key := w.key()
			c.Limit = 1 << 40
			_, err := w.s.Reserve(w.ctx, latchkey.Reservation{Owner: owner, Key: key, Amount: amount,
				Until: noon.AddDate(1, 0, 0), Accounts: []latchkey.CreditAccount{c}})
			w.ok(err, "Reserve")
			return key
		}
		var want []latchkey.TakenCredits // in order
		for i, c := range []latchkey.CreditAccount{{}, {Period: "2026-11", Ends: end}, {Meter: "A"}, {Meter: "a"},
			{Meter: "a", Period: "2026-10"}, {Meter: "a", Period: "2026-11", Ends: end}, {Meter: "a "}, {Meter: "é"},
			{TokenID: id(1), Meter: "a"}, {TokenID: id(2), Ends: end}} {
			n := latchkey.Credits(10 + i)
			want = append(want, latchkey.TakenCredits{TokenID: c.TokenID, Meter: c.Meter, Period: c.Period, Taken: n,
				Ends: c.Ends})
		}
		for _, c := range slices.Backward(want) { // in another order
			take(acme, c.Taken, latchkey.CreditAccount{TokenID: c.TokenID, Meter: c.Meter, Period: c.Period, Ends: c.Ends})
		}
		take(globex, 7, latchkey.CreditAccount{Meter: "a"})
		for _, size := range []int{1, 3, len(want), 100} {
			w.same(list(acme, size), want, fmt.Sprintf("accounts in pages of %d", size))
		}
		w.same(list(globex, 10), []latchkey.TakenCredits{{Meter: "a", Taken: 7}}, "another owner's")
		gone := take(acme, 5, latchkey.CreditAccount{Meter: "z"})
		w.ok(w.s.Settle(w.ctx, acme, gone, 0), "Settle")
		part := take(acme, 5, latchkey.CreditAccount{Meter: "A"})
		w.ok(w.s.Settle(w.ctx, acme, part, 2), "Settle")
		want[2].Taken += 2
		w.same(list(acme, 2), want, "accounts after some was given back")
		_, _, err := w.s.Taken(w.ctx, acme, latchkey.TakenQuery{Page: latchkey.Page{After: "x"}})
		w.failed(latchkey.ErrInvalid, err, "an After that is none")
		for _, c := range want {
			key := take("copy", c.Taken, latchkey.CreditAccount{TokenID: c.TokenID, Meter: c.Meter, Period: c.Period,
				Ends: c.Ends})
			w.ok(w.s.Settle(w.ctx, "copy", key, c.Taken), "Settle")
		}
		w.same(list("copy", 100), want, "accounts of a copy")
	}),

	newCase("credits/race", "However many reserve at once, with repeats and settlements, no account exceeds its limit "+
		"and the sum is exact.", func(w *fixture) {
		const limit, workers, rounds = 500, 64, 4
		accounts := []latchkey.CreditAccount{{Meter: "m", Limit: limit}, {TokenID: id(1), Meter: "m", Limit: limit + 7}}
		var kept, refused atomic.Int64
		var all sync.WaitGroup
		for worker := range workers {
			p := credits{w, append([]latchkey.CreditAccount(nil), accounts...)}
			if worker%2 == 1 { // the order of the accounts differs
				p.accounts[0], p.accounts[1] = p.accounts[1], p.accounts[0]
			}
			all.Go(func() {
				for n := range rounds {
					key := [16]byte{2, byte(worker), byte(n)}
					const amount = 3
					left, err := p.reserve(key, amount)
					if err != nil {
						w.failed(latchkey.ErrOverLimit, err, "Reserve")
						refused.Add(1)
						continue
					}
					if left < 0 {
						w.Errorf("Reserve left %d", left)
					}
					if _, err := p.reserve(key, amount); err != nil {
						w.Errorf("Reserve repeated: %v", err)
					}
					actual := latchkey.Credits(amount)
					if n == 1 {
						actual = 1
					}
					for range 2 {
						if err := w.s.Settle(w.ctx, acme, key, actual); err != nil {
							w.Errorf("Settle: %v", err)
						}
					}
					kept.Add(int64(actual))
				}
			})
		}
		all.Wait()
		sum := latchkey.Credits(kept.Load())
		if sum > limit || refused.Load() == 0 {
			w.Errorf("%d were taken of %d, and %d refused", sum, limit, refused.Load())
		}
		credits{w, accounts}.used(sum, "after the race")
	}),
}
