package latchkey_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"math"
	mathrand "math/rand/v2"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/latchkey-go/latchkey"
)

type quota = latchkey.Quota

func quotas(q ...quota) latchkey.Settings {
	return latchkey.Settings{Permissions: latchkey.Permissions{readAll()}, Limits: latchkey.Limits{Quotas: q}}
}

// at sets the clock.
func (w *world) at(text string) {
	w.Helper()
	t, err := time.Parse("2006-01-02 15:04:05", text)
	w.ok(err)
	w.time.Store(t.UnixMicro())
}

func TestQuotasThatAreNone(t *testing.T) {
	w := newWorld(t)
	tok, secret := w.key(readAll())
	nine := make([]quota, 9)
	for i := range nine {
		nine[i] = quota{Meter: fmt.Sprint(i), Per: latchkey.Day}
	}
	for _, c := range []struct {
		says   string // "": valid
		quotas []quota
	}{
		{"", []quota{{Per: latchkey.Minute}, {Per: latchkey.Hour}, {Per: latchkey.Day}, {Per: latchkey.Week},
			{Per: latchkey.Month}, {Per: latchkey.Forever}}},
		{"Quota.Per is missing", []quota{{Amount: 5}}},
		{`Quota.Per "year" is unknown: write minute, hour, day, week, month or forever`, []quota{{Per: "year"}}},
		{"is unknown", []quota{{Per: "Day"}}},
		{"is unknown", []quota{{Per: "day "}}},
		{"Quota.Amount is negative: 0 leaves nothing", []quota{{Per: latchkey.Day, Amount: -1}}},
		{"Quota.Amount is negative", []quota{{Per: latchkey.Month, Amount: math.MinInt64}}},
		{"Quota.Carry is negative", []quota{{Per: latchkey.Day, Carry: -1}}},
		{"never begins anew", []quota{{Per: latchkey.Forever, Carry: 1}}},
		{"together are too large", []quota{{Per: latchkey.Day, Amount: math.MaxInt64, Carry: 1}}},
		{"", []quota{{Per: latchkey.Day, Amount: math.MaxInt64 - 1, Carry: 1}}},
		{"", []quota{{Per: latchkey.Month, Anchor: 1}, {Per: latchkey.Month, Anchor: 28}, {Per: latchkey.Week, Anchor: 7}}},
		{"Quota.Anchor 29 of a quota per month: it must be a day from 1 to 28", []quota{{Per: latchkey.Month, Anchor: 29}}},
		{"it must be a day from 1 to 28", []quota{{Per: latchkey.Month, Anchor: -1}}},
		{"it must be a day from 1 to 7", []quota{{Per: latchkey.Week, Anchor: 8}}},
		{"only a week and a month have one", []quota{{Per: latchkey.Day, Anchor: 1}}},
		{"only a week and a month have one", []quota{{Per: latchkey.Forever, Anchor: 2}}},
		{`two quotas of meter "api" per day`, []quota{{Meter: "api", Per: latchkey.Day},
			{Meter: "api", Per: latchkey.Day, Amount: 5}}},
		{"two quotas", []quota{{Per: latchkey.Week}, {Per: latchkey.Week, Anchor: 1}}},
		{"", []quota{{Per: latchkey.Week}, {Per: latchkey.Week, Anchor: 2}, {Meter: "a", Per: latchkey.Week}}},
		{"more than 8 quotas", nine},
		{"", nine[:8]},
		{"Quota.Meter has more than 64 bytes", []quota{{Per: latchkey.Day, Meter: strings.Repeat("x", 65)}}},
		{"Quota.Meter is not valid UTF-8", []quota{{Per: latchkey.Day, Meter: "\xff"}}},
		{"Quota.Meter holds a NUL", []quota{{Per: latchkey.Day, Meter: "a\x00"}}},
	} {
		l := latchkey.Limits{Quotas: c.quotas}
		check := func(err error) {
			if c.says == "" {
				require.NoError(t, err, "%+v", c.quotas)
				return
			}
			require.ErrorIs(t, err, latchkey.ErrInvalid, "%+v", c.quotas)
			require.ErrorContains(t, err, c.says)
		}
		_, _, err := w.acme.Issue(w.ctx, latchkey.Spec{Kind: latchkey.KindAPIKey, Limits: l})
		check(err)
		_, err = w.acme.Update(w.ctx, tok.ID, func(t *latchkey.Token) error { t.Limits = l; return nil })
		check(err)
		_, _, err = w.access(secret).Mint(w.ctx, latchkey.Narrowing{Lifetime: time.Hour, Limits: l})
		check(err)
		check(w.acme.Configure(w.ctx, func(o *latchkey.Owner) error { o.Limits = l; return nil }))
	}
}

// A stored "credits" is a quota of each meter for the calendar month, and such a quota is stored as that. Everything
// else is read strictly.
func TestLimitsAsJSON(t *testing.T) {
	rate := latchkey.Rate{Count: 1, Per: time.Second}
	for _, c := range []struct {
		limits latchkey.Limits
		text   string
	}{
		{latchkey.Limits{}, `{}`},
		{monthly(5), `{"credits":5}`},
		{monthly(0), `{"credits":-9223372036854775808}`},
		{latchkey.Limits{Quotas: monthly(5).Quotas, Rate: rate}, `{"credits":5,"rate":{"count":1,"per":1000000000}}`},
		{quotas(quota{Amount: 5, Per: latchkey.Day}).Limits, `{"quotas":[{"amount":5,"per":"day"}]}`},
		{quotas(quota{Amount: 5, Per: latchkey.Month, Anchor: 1}).Limits,
			`{"quotas":[{"amount":5,"per":"month","anchor":1}]}`},
		{quotas(quota{Amount: 5, Per: latchkey.Month, Carry: 1}).Limits, `{"quotas":[{"amount":5,"per":"month","carry":1}]}`},
		{quotas(quota{Meter: "api", Amount: 5, Per: latchkey.Month}).Limits,
			`{"quotas":[{"meter":"api","amount":5,"per":"month"}]}`},
		{quotas(quota{Amount: 5, Per: latchkey.Month}, quota{Per: latchkey.Forever}).Limits,
			`{"quotas":[{"amount":5,"per":"month"},{"amount":0,"per":"forever"}]}`},
		{quotas(quota{Amount: -5, Per: latchkey.Month}).Limits, `{"quotas":[{"amount":-5,"per":"month"}]}`},
	} {
		text, err := json.Marshal(c.limits)
		require.NoError(t, err)
		require.JSONEq(t, c.text, string(text))
		var back latchkey.Limits
		require.NoError(t, json.Unmarshal(text, &back))
		require.Equal(t, c.limits, back)
		require.True(t, back.Equal(c.limits))
	}
	for _, text := range []string{`{"credits":5,"quotas":[{"amount":5,"per":"day"}]}`, `{"quota":[]}`, `{"Quotas":[]}`,
		`{"quotas":[{"amount":1,"per":"day","every":2}]}`, `{"quotas":[{"amount":1.5,"per":"day"}]}`, `{"quotas":{}}`,
		`{"quotas":[{"amount":1,"amount":2,"per":"day"}]}`, `{"credits":"5"}`} {
		l := monthly(7)
		require.ErrorIs(t, json.Unmarshal([]byte(text), &l), latchkey.ErrInvalid, text)
		require.Equal(t, monthly(7), l, text)
	}
	// What is read and cannot be kept to is refused where it is used.
	w := newWorld(t)
	for i, text := range []string{`{"credits":-1}`, `{"quotas":[{"amount":1,"per":"fortnight"}]}`,
		`{"quotas":[{"amount":1}]}`, `{"quotas":[{"amount":-1,"per":"day"}]}`} {
		tok, secret := w.key(readAll())
		require.NoError(t, json.Unmarshal([]byte(text), &tok.Limits))
		w.ok(w.store.Write(w.ctx, latchkey.Write{ID: [16]byte{1, byte(i)}, Owner: "acme", Tokens: []latchkey.Token{tok}}))
		_, err := w.verify(secret)
		w.is(latchkey.ErrUnavailable, err)
	}
}

func TestLimitsThatAreEqual(t *testing.T) {
	one := quotas(quota{Amount: 5, Per: latchkey.Week}, quota{Meter: "a", Amount: 1, Per: latchkey.Day}).Limits
	for _, per := range []latchkey.Period{latchkey.Week, latchkey.Month} {
		require.True(t, quotas(quota{Per: per}).Limits.Equal(quotas(quota{Per: per, Anchor: 1}).Limits), per)
	}
	same := quotas(quota{Amount: 5, Per: latchkey.Week, Anchor: 1}, one.Quotas[1]).Limits
	assert.True(t, one.Equal(same))
	assert.True(t, latchkey.Limits{}.Equal(latchkey.Limits{Quotas: []quota{}}))
	for _, other := range []latchkey.Limits{{}, monthly(5), {Quotas: one.Quotas[:1]},
		{Quotas: []quota{one.Quotas[1], one.Quotas[0]}}, {Quotas: one.Quotas, Rate: latchkey.PerSecond(1)},
		{Quotas: []quota{one.Quotas[0], {Meter: "a", Amount: 1, Per: latchkey.Day, Carry: 1}}}} {
		assert.False(t, one.Equal(other), "%+v", other)
	}
	assert.True(t, latchkey.Limits{Quotas: []quota{}}.IsZero())
	assert.False(t, monthly(0).IsZero(), "a quota of nothing is one")
	assert.False(t, latchkey.Limits{Rate: latchkey.PerSecond(1)}.IsZero())
	q, ok := one.Quota("a", latchkey.Day)
	assert.True(t, ok)
	assert.Equal(t, one.Quotas[1], q)
	_, ok = one.Quota("b", latchkey.Day)
	assert.False(t, ok)
	q, _ = latchkey.Limits{Quotas: []quota{{Amount: 5, Per: latchkey.Day}, {Meter: "a", Amount: 0, Per: latchkey.Day}}}.
		Quota("a", latchkey.Day)
	assert.Equal(t, "a", q.Meter, "the smallest")
}

// Quota finds the smallest of the quotas that hold for a meter: those of that meter, and those of each.
func TestTheSmallestQuotaOfAMeter(t *testing.T) {
	l := latchkey.Limits{Quotas: []quota{{Amount: 50, Per: latchkey.Month},
		{Meter: "api", Amount: 20, Per: latchkey.Month}, {Meter: "mail", Amount: 90, Per: latchkey.Month},
		{Meter: "mail", Amount: 7, Per: latchkey.Day},
		{Amount: 30, Per: latchkey.Week}, {Amount: 30, Per: latchkey.Week, Anchor: 2},
		{Meter: "api", Amount: 40, Per: latchkey.Week}}}
	for _, c := range []struct {
		meter string
		per   latchkey.Period
		want  quota
	}{
		{"api", latchkey.Month, l.Quotas[1]},  // its own
		{"mail", latchkey.Month, l.Quotas[0]}, // that of each meter, which is smaller
		{"sms", latchkey.Month, l.Quotas[0]},
		{"", latchkey.Month, l.Quotas[0]}, // no meter's own
		{"mail", latchkey.Day, l.Quotas[3]},
		{"api", latchkey.Day, quota{}},
		{"", latchkey.Day, quota{}},
		{"api", latchkey.Week, l.Quotas[4]}, // the first of equal ones
	} {
		got, ok := l.Quota(c.meter, c.per)
		assert.Equal(t, c.want, got, "%q per %s", c.meter, c.per)
		assert.Equal(t, c.want != quota{}, ok)
	}
}

func TestRatesOfOneNumber(t *testing.T) {
	assert.Equal(t, latchkey.Rate{Count: 5, Per: time.Second, Burst: 4}, latchkey.PerSecond(5))
	assert.Equal(t, latchkey.Rate{Count: 600, Per: time.Minute, Burst: 599}, latchkey.PerMinute(600))
	assert.Equal(t, latchkey.Rate{Count: 1, Per: time.Minute}, latchkey.PerMinute(1))
	w := newWorld(t)
	_, _, err := w.acme.Issue(w.ctx, latchkey.Spec{Kind: latchkey.KindAPIKey,
		Limits: latchkey.Limits{Rate: latchkey.PerSecond(0)}})
	w.is(latchkey.ErrInvalid, err)
}

// All quotas that are for the meter must have room, and a refusal takes from none.
func TestEveryQuotaMustHaveRoom(t *testing.T) {
	w := newWorld(t)
	w.configure(func(o *latchkey.Owner) { o.Limits.Quotas = []quota{{Meter: "api", Amount: 30, Per: latchkey.Forever}} })
	_, secret := w.issue(latchkey.KindAPIKey, quotas(
		quota{Meter: "api", Amount: 5, Per: latchkey.Minute}, quota{Meter: "api", Amount: 12, Per: latchkey.Hour},
		quota{Amount: 100, Per: latchkey.Hour}, // shares the account of the hour with the one before
		quota{Meter: "mail", Amount: 0, Per: latchkey.Day}))
	parent := w.access(secret)
	_, secret = w.mint(parent, latchkey.Narrowing{Limits: quotas(quota{Amount: 9, Per: latchkey.Day}).Limits})
	child := w.access(secret)
	steps := []struct {
		a     latchkey.Access
		meter string
		n     latchkey.Credits
		ok    bool
		turn  time.Duration // before
	}{
		{parent, "mail", 1, false, 0},
		{parent, "mail", 0, true, 0},
		{parent, "api", 6, false, 0},                // the minute has 5
		{parent, "api", 5, true, 0},                 // and the hour 7 now
		{child, "api", 1, false, 0},                 // the minute is its parent's too
		{child, "other", 9, true, 0},                // another meter: its own day
		{parent, "other", 92, false, 0},             // of 100 an hour, a child has spent 9
		{parent, "other", 91, true, 0},              //
		{child, "api", 5, true, time.Minute},        // the hour has 2 now, the child's day 4
		{child, "api", 3, false, time.Minute},       // the hour
		{child, "api", 2, true, 0},                  // to the last one
		{parent, "api", 1, false, time.Minute},      //
		{child, "api", 3, false, time.Hour},         // the child's day has 2
		{parent, "api", 5, true, 0},                 // the owner's has 13 now
		{parent, "api", 5, true, time.Minute},       // 8, and the hour 2
		{parent, "api", 5, true, time.Hour},         // 3
		{parent, "api", 4, false, time.Hour},        //
		{child, "api", 2, true, 0},                  // 1
		{child, "api", 1, false, 0},                 // the child's day
		{parent, "api", 1, true, 0},                 // the last for ever
		{parent, "api", 1, false, 1000 * time.Hour}, //
		{parent, "other", 100, true, 0},
	}
	for i, s := range steps {
		w.turn(s.turn)
		err := spend(w.ctx, s.a, s.meter, s.n)
		if s.ok {
			require.NoError(t, err, "step %d", i)
		} else {
			require.ErrorIs(t, err, latchkey.ErrOverLimit, "step %d", i)
		}
	}
}

// Of two quotas that share an account the smaller amount and the smaller carry hold.
func TestQuotasThatShareAnAccount(t *testing.T) {
	w := newWorld(t)
	for _, list := range [][]quota{
		{{Amount: 10, Per: latchkey.Day, Carry: 2}, {Meter: "api", Amount: 7, Per: latchkey.Day, Carry: 5}},
		{{Meter: "api", Amount: 7, Per: latchkey.Day, Carry: 2}, {Amount: 10, Per: latchkey.Day, Carry: 5}},
		{{Meter: "api", Amount: 10, Per: latchkey.Day, Carry: 2}, {Amount: 7, Per: latchkey.Day, Carry: 5}},
	} {
		_, secret := w.issue(latchkey.KindAPIKey, quotas(list...))
		a := w.access(secret)
		assert.EqualValues(t, 7, w.drain(a, "api"))
		w.turn(2 * 24 * time.Hour)
		a = w.access(secret)
		assert.EqualValues(t, 9, w.drain(a, "api"))
		var want quota
		for _, q := range list {
			if q.Amount == 7 {
				want = q
			}
		}
		want.Carry = 2
		assert.Equal(t, []quota{want}, a.Quotas("api"))
	}
}

// What was spent in a period is kept, whatever becomes of the quota meanwhile.
func TestAChangedQuotaKeepsWhatWasSpent(t *testing.T) {
	w := newWorld(t)
	tok, secret := w.issue(latchkey.KindAPIKey, quotas(quota{Amount: 10, Per: latchkey.Day}))
	w.ok(spend(w.ctx, w.access(secret), "api", 6))
	for _, c := range []struct {
		what string
		now  []quota
		left latchkey.Credits
	}{
		{"more", []quota{{Amount: 20, Per: latchkey.Day}}, 14},
		{"less", []quota{{Amount: 5, Per: latchkey.Day}}, 0},
		{"of one meter", []quota{{Meter: "api", Amount: 20, Per: latchkey.Day}}, 14},
		{"of both", []quota{{Amount: 9, Per: latchkey.Day}, {Meter: "api", Amount: 8, Per: latchkey.Day}}, 2},
		{"of another period, which has seen nothing", []quota{{Amount: 20, Per: latchkey.Hour}}, 20},
		{"back again", []quota{{Amount: 10, Per: latchkey.Day}}, 4},
		{"beside another", []quota{{Amount: 100, Per: latchkey.Month}, {Amount: 10, Per: latchkey.Day}}, 4},
	} {
		w.update(tok, func(t *latchkey.Token) { t.Limits = latchkey.Limits{} })
		assert.Zero(t, must(w.access(secret).Spend(w.ctx, "api", latchkey.Uncounted, 0)))
		w.update(tok, func(t *latchkey.Token) { t.Limits.Quotas = c.now })
		if c.left == 0 {
			w.is(latchkey.ErrOverLimit, spend(w.ctx, w.access(secret), "api", 1))
			continue
		}
		assert.Equal(t, c.left, w.left(w.access(secret), "api"), c.what)
	}
	// What is spent while no quota of a period holds is not counted for it.
	w.update(tok, func(t *latchkey.Token) { t.Limits = latchkey.Limits{} })
	w.ok(spend(w.ctx, w.access(secret), "api", 1000))
	w.update(tok, func(t *latchkey.Token) { t.Limits.Quotas = []quota{{Amount: 10, Per: latchkey.Day}} })
	assert.EqualValues(t, 4, w.drain(w.access(secret), "api"))
}

// What the period just before left is added, once, and no more than Carry.
func TestCarry(t *testing.T) {
	w := newWorld(t)
	w.at("2026-03-04 12:00:00")
	daily := quota{Amount: 10, Per: latchkey.Day, Carry: 4}
	tok, secret := w.issue(latchkey.KindAPIKey, quotas(daily))
	spent := func(day string, n latchkey.Credits) {
		t.Helper()
		w.at(day + " 01:00:00")
		w.purge()
		a := w.access(secret)
		w.is(latchkey.ErrOverLimit, spend(w.ctx, a, "api", n+1))
		w.ok(spend(w.ctx, a, "api", n))
	}
	w.is(latchkey.ErrOverLimit, spend(w.ctx, w.access(secret), "api", 11)) // made today: there is nothing from yesterday
	w.ok(spend(w.ctx, w.access(secret), "api", 7))
	spent("2026-03-05", 13) // 3 of the day it was made
	spent("2026-03-06", 10) // which spent more than its own amount
	spent("2026-03-07", 10)
	w.at("2026-03-08 01:00:00") // nothing is spent
	spent("2026-03-09", 14)     // 4 of 10
	spent("2026-03-11", 14)     // the tenth left all, also what it carried: that is not carried on
	// A changed quota: of the present amount, what the day before did not spend counts as unspent.
	w.update(tok, func(t *latchkey.Token) { t.Limits.Quotas[0].Amount = 20 })
	spent("2026-03-12", 24) // 20 − 14 are left of the eleventh
	w.update(tok, func(t *latchkey.Token) { t.Limits.Quotas[0].Amount = 26 })
	spent("2026-03-13", 28) // 26 − 24
	w.update(tok, func(t *latchkey.Token) { t.Limits.Quotas[0].Carry = 0 })
	spent("2026-03-15", 26)

	// Two tokens of equal quotas share what is compiled of them, and not when they were made.
	_, other := w.issue(latchkey.KindAPIKey, quotas(quota{Amount: 10, Per: latchkey.Day, Carry: 4}))
	_, child := w.mint(w.access(other), latchkey.Narrowing{Lifetime: 96 * time.Hour})
	for _, s := range []string{other, child} {
		w.is(latchkey.ErrOverLimit, spend(w.ctx, w.access(s), "mail", 11))
	}
	w.at("2026-03-16 00:00:00")
	_, younger := w.issue(latchkey.KindAPIKey, quotas(quota{Amount: 10, Per: latchkey.Day, Carry: 4}))
	w.is(latchkey.ErrOverLimit, spend(w.ctx, w.access(younger), "mail", 11))
	w.ok(spend(w.ctx, w.access(child), "mail", 14))
	w.is(latchkey.ErrOverLimit, spend(w.ctx, w.access(other), "mail", 1))

	// An owner's quota carries from the first period on.
	w.configure(func(o *latchkey.Owner) { o.Limits.Quotas = []quota{{Amount: 5, Per: latchkey.Month, Carry: 3}} })
	_, free := w.key(readAll())
	assert.EqualValues(t, 8, w.drain(w.access(free), "calls"))
	w.at("2026-04-03 00:00:00") // March ended long enough ago to be purged, but April may carry from it
	w.purge()
	assert.EqualValues(t, 5, w.drain(w.access(free), "calls"))
	w.at("2026-05-03 00:00:00")
	w.purge()
	assert.EqualValues(t, 5, w.drain(w.access(free), "calls"))
	w.at("2026-07-01 00:00:00")
	assert.EqualValues(t, 8, w.drain(w.access(free), "calls"))
}

// Spend says what is left of the quota that has the least, and when that begins anew.
func TestSpendSaysWhatIsLeft(t *testing.T) {
	day, month := quota{Meter: "api", Amount: 10, Per: latchkey.Day}, quota{Amount: 12, Per: latchkey.Month, Anchor: 5}
	for name, lease := range map[string]func(latchkey.Credits) latchkey.Credits{"without leases": nil,
		"with leases": leasesOf(1)} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t, func(o *latchkey.Options) { o.CreditLease = lease })
			w.at("2026-03-04 18:00:00")
			_, secret := w.issue(latchkey.KindAPIKey, quotas(day, month))
			a := w.access(secret)
			left, err := a.Spend(w.ctx, "api", "GET /", 3)
			w.ok(err)
			assert.True(t, left.Limited())
			assert.EqualValues(t, 7, left.Credits)
			assert.Equal(t, time.Date(2026, 3, 5, 0, 0, 0, 0, time.UTC), left.Resets())
			assert.Equal(t, 6*time.Hour, left.ResetsIn())
			assert.Equal(t, day, left.Quota())
			h, err := a.Reserve(w.ctx, "api", "GET /", 2)
			w.ok(err)
			assert.EqualValues(t, 5, h.Left().Credits)
			assert.Equal(t, 6*time.Hour, h.Left().ResetsIn())
			w.ok(h.Settle(w.ctx, 1))
			assert.EqualValues(t, 6, h.Left().Credits)
			w.at("2026-03-05 00:00:00") // both begin anew
			left, err = a.Spend(w.ctx, "api", "GET /", 10)
			w.ok(err)
			assert.Zero(t, left.Credits)
			w.at("2026-03-06 00:00:00")
			left, err = a.Spend(w.ctx, "api", "GET /", 1) // the month has 12 − 10 − 1
			w.ok(err)
			assert.EqualValues(t, 1, left.Credits)
			assert.Equal(t, month, left.Quota())
			assert.Equal(t, time.Date(2026, 4, 5, 0, 0, 0, 0, time.UTC), left.Resets())

			_, err = a.Spend(w.ctx, "api", "GET /", 2)
			var over *latchkey.OverLimitError
			require.ErrorAs(t, err, &over)
			assert.EqualValues(t, 1, over.Left)
			assert.Equal(t, month, over.Quota)
			assert.Equal(t, time.Date(2026, 4, 5, 0, 0, 0, 0, time.UTC), over.Resets)
			assert.Equal(t, 30*24*time.Hour, over.RetryAfter())
			assert.EqualError(t, err, `latchkey: over limit: meter "api" of the token, quota per month`)
			assert.Equal(t, a.TokenID(), over.Account.TokenID)

			// To wait is of no use for more than there ever is, for a quota of nothing and for one for ever.
			_, err = a.Spend(w.ctx, "api", "GET /", 13)
			require.ErrorAs(t, err, &over)
			assert.Zero(t, over.RetryAfter())
			for _, q := range []quota{{Per: latchkey.Day}, {Amount: 1, Per: latchkey.Forever}} {
				_, secret := w.issue(latchkey.KindAPIKey, quotas(q))
				_, err := w.access(secret).Reserve(w.ctx, "mail", "GET /", 2)
				require.ErrorAs(t, err, &over)
				assert.Zero(t, over.RetryAfter(), "%+v", q)
				assert.Equal(t, q.Per == latchkey.Forever, over.Resets.IsZero())
			}
			assert.EqualError(t, over, `latchkey: over limit: meter "mail" of the token, quota for ever`)
			w.configure(func(o *latchkey.Owner) { o.Limits.Quotas = []quota{{Amount: 1, Per: latchkey.Minute}} })
			_, free := w.key(readAll())
			assert.EqualError(t, spend(w.ctx, w.access(free), "mail", 2),
				`latchkey: over limit: meter "mail" of the owner, quota per minute`)
			left, err = w.access(free).Spend(w.ctx, "mail", "GET /", 1)
			w.ok(err)
			assert.Equal(t, quota{Amount: 1, Per: latchkey.Minute}, left.Quota())
			guest := must(w.keys.For("nobody").Assume(latchkey.Client{}, nil))
			left, err = guest.Spend(w.ctx, "mail", "GET /", 1)
			w.ok(err)
			assert.Zero(t, left)
			assert.False(t, left.Limited())
		})
	}
	assert.EqualError(t, &latchkey.OverLimitError{Account: latchkey.CreditAccount{TokenID: "t", Meter: "m"}},
		`latchkey: over limit: meter "m" of the token`, "of a store")
}

// What is taken out of a lease is left of what the store said, less what others hold.
func TestLeftOutOfALease(t *testing.T) {
	w, store := leaseWorld(t, 100)
	_, secret := w.issue(latchkey.KindAPIKey, quotas(quota{Amount: 1000, Per: latchkey.Minute},
		quota{Amount: 5000, Per: latchkey.Day}))
	a := w.access(secret)
	for n := latchkey.Credits(1); n <= 60; n++ {
		left, err := a.Spend(w.ctx, "api", latchkey.Uncounted, 1)
		w.ok(err)
		require.Equal(t, 1000-n, left.Credits)
		require.Equal(t, latchkey.Minute, left.Quota().Per)
		require.Equal(t, 53*time.Second, left.ResetsIn())
	}
	assert.Less(t, store.reserves.Load(), int64(4), "out of leases")
}

func TestSpendingIsCounted(t *testing.T) {
	for name, lease := range map[string]func(latchkey.Credits) latchkey.Credits{"without leases": nil,
		"with leases": leasesOf(50)} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t, func(o *latchkey.Options) { o.CreditLease = lease })
			tok, secret := w.issue(latchkey.KindAPIKey, quotas(quota{Meter: "api", Amount: 1000, Per: latchkey.Hour}))
			a := w.access(secret)
			for _, meter := range []string{"api", "free"} { // no quota holds for the second
				for range 3 {
					w.ok(second(a.Spend(w.ctx, meter, "GET /", 5)))
				}
				w.ok(second(a.Spend(w.ctx, meter, "GET /", 0)))
				w.ok(second(a.Spend(w.ctx, meter, latchkey.Uncounted, 7)))
				h, err := a.Reserve(w.ctx, meter, "PUT /", 10)
				w.ok(err)
				w.ok(h.Settle(w.ctx, 4))
				w.ok(h.Settle(w.ctx, 4)) // once
				h, err = a.Reserve(w.ctx, meter, "PUT /", 10)
				w.ok(err)
				w.ok(h.Settle(w.ctx, 0)) // not used
				h, err = a.Reserve(w.ctx, meter, latchkey.Uncounted, 10)
				w.ok(err)
				w.ok(h.Settle(w.ctx, 10))
			}
			// After an error nothing is counted.
			w.is(latchkey.ErrOverLimit, second(a.Spend(w.ctx, "api", "GET /", 1001)))
			w.is(latchkey.ErrInvalid, second(a.Spend(w.ctx, "api", "GET /", -1)))
			w.is(latchkey.ErrInvalid, second(a.Spend(w.ctx, "", "GET /", 1)))
			_, err := a.Reserve(w.ctx, "api", "GET /", 1001)
			w.is(latchkey.ErrOverLimit, err)
			h, err := a.Reserve(w.ctx, "api", "GET /", 1)
			w.ok(err)
			w.is(latchkey.ErrInvalid, h.Settle(w.ctx, 2))
			w.turn(20 * time.Minute)
			w.purge()
			w.is(latchkey.ErrConflict, h.Settle(w.ctx, 1))
			rows, err := w.acme.Usage(w.ctx, latchkey.UsageQuery{By: []string{"token", "meter", "endpoint"}})
			w.ok(err)
			row := func(meter, endpoint string, n int64, c latchkey.Credits) latchkey.UsageRow {
				return latchkey.UsageRow{Owner: "acme", TokenID: tok.ID, Meter: meter, Endpoint: endpoint, Count: n, Credits: c}
			}
			assert.Equal(t, []latchkey.UsageRow{row("api", "GET /", 4, 15), row("api", "PUT /", 1, 4),
				row("free", "GET /", 4, 15), row("free", "PUT /", 1, 4)}, rows)
			sum, err := w.acme.UsageTotal(w.ctx, tok.ID, "api", "2026-03")
			w.ok(err)
			assert.EqualValues(t, 19, sum)
			_, err = w.acme.UsageTotal(w.ctx, tok.ID, "api", "2026-3")
			w.is(latchkey.ErrInvalid, err)
		})
	}
}

// A lease is of one period: what is left of it is not spent in the next, and is given back to its own.
func TestALeaseBelongsToItsPeriods(t *testing.T) {
	w, _ := leaseWorld(t, 40)
	_, secret := w.issue(latchkey.KindAPIKey, quotas(quota{Amount: 400, Per: latchkey.Minute},
		quota{Amount: 700, Per: latchkey.Forever}))
	a := w.access(secret)
	for range 5 {
		w.ok(spend(w.ctx, a, "api", 1))
	}
	w.at("2026-03-04 05:07:00")
	assert.EqualValues(t, 400, w.drain(a, "api"), "all of the next minute")
	w.at("2026-03-04 05:08:00")
	assert.EqualValues(t, 700-405, w.drain(a, "api"), "the quota for ever has back what the first minute did not spend")
	w.at("2026-03-04 05:09:00")
	w.is(latchkey.ErrOverLimit, spend(w.ctx, a, "api", 1))
}

// takenIn is what the store counts as taken from an account of the owner.
func (w *world) takenIn(period string, limit latchkey.Credits) latchkey.Credits {
	w.Helper()
	key := [16]byte{0xBB}
	for i := 1; i < 16; i++ {
		key[i] = byte(mathrand.Uint32())
	}
	r := latchkey.Reservation{Owner: "acme", Key: key, Amount: 1, Accounts: []latchkey.CreditAccount{
		{Meter: "api", Period: period, Limit: limit}}}
	inner := w.store.Store.(*ledger).Store
	got, err := inner.Reserve(w.ctx, r)
	w.ok(err)
	w.ok(inner.Settle(w.ctx, "acme", key, 0))
	return limit - got.Left - 1
}

// Ten processes spend one quota per minute, while the store fails before and after the fact and the clock goes on: no
// minute gives more than its amount and what it carried, and near the end of the books every credit is accounted for.
func TestAQuotaPerMinuteOfTenProcesses(t *testing.T) {
	const amount, carry, processes, minutes = 600, 150, 10, 6
	for name, lease := range map[string]latchkey.Credits{"without leases": 0, "with leases": 12} {
		t.Run(name, func(t *testing.T) {
			w, store := leaseWorld(t, lease)
			w.at("2026-03-04 05:00:00")
			w.configure(func(o *latchkey.Owner) {
				o.Limits.Quotas = []quota{{Amount: amount, Per: latchkey.Minute, Carry: carry}, {Amount: 1e6, Per: latchkey.Day}}
			})
			_, secret := w.key(readAll())
			var all []*latchkey.Manager
			var access []latchkey.Access
			for range processes {
				all = append(all, w.process(lease))
				access = append(access, w.accessOf(all[len(all)-1], secret))
			}
			bad := func() (before, after error) {
				switch mathrand.IntN(15) {
				case 0:
					return latchkey.ErrUnavailable, nil
				case 1:
					return latchkey.ErrUnknownOutcome, nil
				case 2:
					return nil, latchkey.ErrUnknownOutcome
				}
				return nil, nil
			}
			var mu sync.Mutex
			sure, perhaps := map[string]latchkey.Credits{}, map[string]latchkey.Credits{} // by minute
			unplaced := latchkey.Credits(0)                                               // spent while the minute turned
			begun, refused := w.now(), map[string]int{}
			nameOf := func(at time.Time) string { return at.Format("2006-01-02T15:04") + "/PT1M" }
			minute := func() string { return nameOf(w.now()) }
			for m := range minutes {
				store.fault.Store(&bad)
				var work sync.WaitGroup
				for i := range access {
					if m == 2 && i > 0 { // one alone, so that the next minute carries
						continue
					}
					work.Go(func() {
						for k := range 120 {
							n := latchkey.Credits(1 + mathrand.IntN(2))
							at := minute()
							err := spend(w.ctx, access[i], "api", n)
							mu.Lock()
							switch {
							case err == nil && at == minute():
								sure[at] += n
							case err == nil:
								unplaced += n
							case errors.Is(err, latchkey.ErrOverLimit):
								refused[at]++
							default:
								assert.True(t, errors.Is(err, latchkey.ErrUnavailable) || errors.Is(err, latchkey.ErrUnknownOutcome))
								perhaps[at] += n
							}
							mu.Unlock()
							if i == 0 && k == 90 && m != 2 {
								w.turn(time.Minute) // in the middle of it all
							}
						}
					})
				}
				work.Wait()
				store.fault.Store(nil)
				if m == 2 {
					w.turn(time.Minute)
				}
			}
			require.NotEmpty(t, refused, "it was never used up: this test shows nothing")
			for _, keys := range all {
				w.ok(keys.Close(w.ctx))
			}
			ended := w.now()
			w.turn(time.Hour)
			w.purge() // what was reserved, and nobody knew
			var sum, taken latchkey.Credits
			for at := begun; !at.After(ended); at = at.Add(time.Minute) {
				period := nameOf(at)
				in := w.takenIn(period, 1<<40)
				require.LessOrEqual(t, in, latchkey.Credits(amount+carry), period)
				require.LessOrEqual(t, sure[period], in, period)
				sum, taken = sum+sure[period]+perhaps[period], taken+in
			}
			require.LessOrEqual(t, taken, sum+unplaced, "nothing is stranded but what nobody was told about")
		})
	}
}

// An actor gives its own token no quota that is wider in any way.
func TestAnActorWidensNoQuota(t *testing.T) {
	w := newWorld(t)
	has := []quota{{Meter: "api", Amount: 10, Per: latchkey.Day, Carry: 5}, {Amount: 100, Per: latchkey.Month, Anchor: 15}}
	month := has[1]
	for name, c := range map[string]struct {
		becomes []quota
		ok      bool
	}{
		"the same":               {has, true},
		"in another order":       {[]quota{month, has[0]}, true},
		"one more":               {append(has[:2:2], quota{Amount: 1, Per: latchkey.Minute}), true},
		"less":                   {[]quota{{Meter: "api", Amount: 9, Per: latchkey.Day}, month}, true},
		"less, that carries":     {[]quota{{Meter: "api", Amount: 9, Per: latchkey.Day, Carry: 6}, month}, true},
		"of each meter":          {[]quota{{Amount: 10, Per: latchkey.Day, Carry: 5}, month}, true},
		"none left of anything":  {[]quota{{Per: latchkey.Minute}}, true},
		"none left of one":       {[]quota{{Meter: "api", Per: latchkey.Forever}, month}, true},
		"none left of one alone": {[]quota{{Meter: "api", Per: latchkey.Forever}}, false},
		"more":                   {[]quota{{Meter: "api", Amount: 11, Per: latchkey.Day}, month}, false},
		"more with carry":        {[]quota{{Meter: "api", Amount: 10, Per: latchkey.Day, Carry: 6}, month}, false},
		"of another meter":       {[]quota{{Meter: "mail", Amount: 1, Per: latchkey.Day}, month}, false},
		"of one meter only":      {[]quota{has[0], {Meter: "api", Amount: 1, Per: latchkey.Month, Anchor: 15}}, false},
		"of another period":      {[]quota{{Meter: "api", Amount: 1, Per: latchkey.Month}, month}, false},
		"for ever":               {[]quota{{Meter: "api", Amount: 1, Per: latchkey.Forever}, month}, false},
		"from another day":       {[]quota{has[0], {Amount: 1, Per: latchkey.Month, Anchor: 16}}, false},
		"gone":                   {[]quota{has[0]}, false},
		"all gone":               {nil, false},
	} {
		tok, secret := w.issue(latchkey.KindAPIKey, latchkey.Settings{Permissions: admin(),
			Limits: latchkey.Limits{Quotas: has}})
		_, err := mustAs(w, w.access(secret)).Update(w.ctx, tok.ID, func(t *latchkey.Token) error {
			t.Limits.Quotas = c.becomes
			return nil
		})
		if c.ok {
			assert.NoError(t, err, name)
		} else {
			assert.ErrorIs(t, err, latchkey.ErrDenied, name)
		}
	}
}

func TestSpendDoesNotAllocate(t *testing.T) {
	lease := func(o *latchkey.Options) { o.CreditLease = leasesOf(1 << 40) }
	for name, list := range map[string][]quota{
		"none holds": nil,
		"one":        {{Amount: 1 << 60, Per: latchkey.Month}},
		"several": {{Meter: "api", Amount: 1 << 60, Per: latchkey.Minute, Carry: 1 << 50},
			{Amount: 1 << 60, Per: latchkey.Week}, {Meter: "mail", Amount: 1 << 60, Per: latchkey.Forever}},
	} {
		assert.Zero(t, allocates(t, 1000, func(w *world) func() {
			_, secret := w.issue(latchkey.KindAPIKey, quotas(list...))
			a := w.access(secret)
			return func() { _, _ = a.Spend(w.ctx, "api", "GET /orders", 1) }
		}, lease), name)
	}
}
