package latchkey_test

import (
	"context"
	"slices"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/latchkey-go/latchkey"
)

// What is left is told of each quota of the chain, as it would be spent, and to tell takes nothing.
func TestBalances(t *testing.T) {
	w := newWorld(t, func(o *latchkey.Options) { o.CreditLease = nil })
	w.at("2026-11-30 12:00:00")
	w.ok(w.acme.Configure(w.ctx, func(o *latchkey.Owner) error {
		o.Limits.Quotas = []quota{{Amount: 100, Per: latchkey.Month}}
		return nil
	}))
	s := quotas(quota{Meter: "api", Amount: 10, Per: latchkey.Day, Carry: 5}, quota{Amount: 50, Per: latchkey.Forever})
	s.Permissions = append(s.Permissions, latchkey.Allow(latchkey.Mint).On("latchkey/token/*"))
	parent, secret := w.issue(latchkey.KindAPIKey, s)
	child, childSecret := w.mint(w.access(secret), latchkey.Narrowing{Limits: latchkey.Limits{
		Quotas: []quota{{Amount: 7, Per: latchkey.Hour}}}})
	_, err := w.access(childSecret).Spend(w.ctx, "api", latchkey.Uncounted, 3)
	w.ok(err)
	_, err = w.access(secret).Spend(w.ctx, "api", latchkey.Uncounted, 2)
	w.ok(err)

	monthEnds, dayEnds := time.Date(2026, 12, 1, 0, 0, 0, 0, time.UTC), time.Date(2026, 12, 1, 0, 0, 0, 0, time.UTC)
	ofParent := []latchkey.Balance{
		{Quota: s.Limits.Quotas[0], TokenID: parent.ID, Meter: "api", Left: 5, Resets: dayEnds},
		{Quota: s.Limits.Quotas[1], TokenID: parent.ID, Meter: "api", Left: 45},
		{Quota: quota{Amount: 100, Per: latchkey.Month}, Meter: "api", Left: 95, Resets: monthEnds},
	}
	ofChild := append([]latchkey.Balance{{Quota: quota{Amount: 7, Per: latchkey.Hour}, TokenID: child.ID,
		Meter: "api", Left: 4, Resets: time.Date(2026, 11, 30, 13, 0, 0, 0, time.UTC)}}, ofParent...)
	for range 2 {
		for id, want := range map[string][]latchkey.Balance{parent.ID: ofParent, child.ID: ofChild} {
			got, err := w.acme.Balances(w.ctx, id, "api")
			w.ok(err)
			require.Equal(t, want, got)
		}
		got, err := w.access(childSecret).Balances(w.ctx, "api")
		w.ok(err)
		require.Equal(t, ofChild, got)
	}
	other, err := w.acme.Balances(w.ctx, parent.ID, "other")
	w.ok(err)
	require.Equal(t, []latchkey.Credits{50, 100}, []latchkey.Credits{other[0].Left, other[1].Left}, "a meter of its own")

	several, err := w.acme.Balances(w.ctx, child.ID, "api", "other")
	w.ok(err)
	require.Equal(t, ofChild, several[:len(ofChild)])
	require.Equal(t, "other", several[len(ofChild)].Meter)
	named, err := w.acme.Balances(w.ctx, child.ID)
	w.ok(err)
	require.Equal(t, ofChild, named, "the meters that quotas name")
	owner, err := w.acme.Balances(w.ctx, "", "api")
	w.ok(err)
	require.Equal(t, ofParent[2:], owner)
	owner, err = w.acme.Balances(w.ctx, "")
	w.ok(err)
	require.Empty(t, owner, "no quota of the owner names a meter")
	_, err = w.acme.Balances(w.ctx, child.ID, slices.Repeat([]string{"api"}, 64)...)
	w.ok(err)
	_, err = w.acme.Balances(w.ctx, child.ID, slices.Repeat([]string{"api"}, 65)...)
	require.ErrorIs(t, err, latchkey.ErrInvalid)

	w.at("2026-12-01 12:00:00") // what was left of the day before is carried, from the second period of the token on
	w.at("2026-12-02 12:00:00")
	got, err := w.acme.Balances(w.ctx, parent.ID, "api")
	w.ok(err)
	require.Equal(t, []latchkey.Credits{15, 45, 100}, []latchkey.Credits{got[0].Left, got[1].Left, got[2].Left})

	_, plain := w.key(readAll())
	free, err := w.access(plain).Balances(w.ctx, "api")
	w.ok(err)
	require.Len(t, free, 1, "the owner's alone")
	assumed, err := w.acme.Assume(latchkey.Client{ID: "ann"}, nil)
	w.ok(err)
	free, err = assumed.Balances(w.ctx, "api")
	w.ok(err)
	require.Equal(t, []latchkey.Balance{{Quota: quota{Amount: 100, Per: latchkey.Month}, Meter: "api", Left: 100,
		Resets: time.Date(2027, 1, 1, 0, 0, 0, 0, time.UTC)}}, free)

	w.ok(w.acme.Configure(w.ctx, func(o *latchkey.Owner) error { o.Limits = latchkey.Limits{}; return nil }))
	unbound, _ := w.issue(latchkey.KindAPIKey, latchkey.Settings{})
	for _, meters := range [][]string{nil, {"api"}, {"api", "other"}} {
		got, err := w.acme.Balances(w.ctx, unbound.ID, meters...)
		w.ok(err)
		require.Empty(t, got, "no quota holds for %v", meters)
	}
	one, _ := w.issue(latchkey.KindAPIKey, quotas(quota{Meter: "api", Amount: 10, Per: latchkey.Day}))
	lone, err := w.acme.Balances(w.ctx, one.ID, "other", "api")
	w.ok(err)
	require.Len(t, lone, 1)
	require.Equal(t, "api", lone[0].Meter)
}

// An actor hears of the quotas of records that it may read, and of no others.
func TestBalancesForAnActor(t *testing.T) {
	w := newWorld(t)
	w.ok(w.acme.Configure(w.ctx, func(o *latchkey.Owner) error {
		o.Limits.Quotas = []quota{{Amount: 100, Per: latchkey.Month}}
		return nil
	}))
	parent, secret := w.issue(latchkey.KindAPIKey, quotas(quota{Amount: 10, Per: latchkey.Day}))
	child, _ := w.mint(w.access(secret), latchkey.Narrowing{Limits: latchkey.Limits{
		Quotas: []quota{{Amount: 7, Per: latchkey.Hour}}}})
	token := func(id string) latchkey.Pattern { return latchkey.Pattern("latchkey/token/" + id) }
	for _, c := range []struct {
		may  []latchkey.Pattern
		of   string
		want []string // whose quotas; nil: not found
	}{
		{[]latchkey.Pattern{"latchkey/*"}, child.ID, []string{child.ID, parent.ID, ""}},
		{[]latchkey.Pattern{token(child.ID)}, child.ID, []string{child.ID}},
		{[]latchkey.Pattern{token(child.ID), "latchkey/owner"}, child.ID, []string{child.ID, ""}},
		{[]latchkey.Pattern{"latchkey/token/*"}, child.ID, []string{child.ID, parent.ID}},
		{[]latchkey.Pattern{token(parent.ID)}, child.ID, nil},
		{[]latchkey.Pattern{"latchkey/owner"}, child.ID, nil},
		{[]latchkey.Pattern{"latchkey/owner"}, "", []string{""}},
		{[]latchkey.Pattern{"latchkey/*"}, "0198c2a5-7b1e-7c3d-8f00-5a1b2c3d4e5f", nil},
	} {
		_, text := w.key(latchkey.Allow(latchkey.Read).On(c.may...))
		as, err := w.acme.As(w.access(text))
		w.ok(err)
		got, err := as.Balances(w.ctx, c.of, "api")
		if c.want == nil {
			w.is(latchkey.ErrNotFound, err)
			continue
		}
		w.ok(err)
		var whose []string
		for _, b := range got {
			whose = append(whose, b.TokenID)
		}
		require.Equal(t, c.want, whose, c.may)
	}
	for _, meter := range []string{"", "a\x00", "\xff", string(make([]byte, 65))} {
		_, err := w.acme.Balances(w.ctx, child.ID, meter)
		w.is(latchkey.ErrInvalid, err)
	}
	_, err := (latchkey.Access{}).Balances(w.ctx, "api")
	w.is(latchkey.ErrInvalidToken, err)
}

// short is a store that forgets an account.
type short struct{ latchkey.Store }

func (s short) Balances(ctx context.Context, owner string, a []latchkey.CreditAccount) ([]latchkey.Credits, error) {
	left, err := s.Store.Balances(ctx, owner, a)
	return left[1:], err
}

func TestBalancesOfABrokenStore(t *testing.T) {
	w := newWorld(t)
	keys := latchkey.New(short{w.store}, &latchkey.Options{Clock: w.now})
	token, _ := w.issue(latchkey.KindAPIKey, quotas(quota{Amount: 10, Per: latchkey.Day}))
	_, err := keys.For("acme").Balances(w.ctx, token.ID, "api")
	w.is(latchkey.ErrUnavailable, err)
	unbound, _ := w.issue(latchkey.KindAPIKey, latchkey.Settings{})
	got, err := keys.For("acme").Balances(w.ctx, unbound.ID, "api")
	w.ok(err)
	require.Empty(t, got, "the store is not asked")
}

// overdrawn is a store whose owners and tokens have quotas that nobody could save.
type overdrawn struct{ latchkey.Store }

var badQuotas = latchkey.Limits{Quotas: []quota{{Amount: -1, Per: latchkey.Day}}}

func (s overdrawn) Owner(ctx context.Context, id string) (latchkey.Owner, error) {
	o, err := s.Store.Owner(ctx, id)
	o.Limits = badQuotas
	return o, err
}

func (s overdrawn) Load(ctx context.Context, owner, id string) (latchkey.Found, error) {
	f, err := s.Store.Load(ctx, owner, id)
	f.Token.Limits = badQuotas
	return f, err
}

// Stored quotas that cannot be read count as unknown, not as none.
func TestBalancesOfBadQuotas(t *testing.T) {
	w := newWorld(t)
	acme := latchkey.New(overdrawn{w.store}, &latchkey.Options{Clock: w.now}).For("acme")
	token, _ := w.issue(latchkey.KindAPIKey, latchkey.Settings{})
	for _, id := range []string{token.ID, ""} {
		_, err := acme.Balances(w.ctx, id, "api")
		w.is(latchkey.ErrUnavailable, err)
	}
	assumed, err := acme.Assume(latchkey.Client{ID: "ann"}, nil)
	w.ok(err)
	_, err = assumed.Balances(w.ctx, "api")
	w.is(latchkey.ErrUnavailable, err)
}

// Nothing is told to an actor that has ended, nor of a store that does not answer.
func TestBalancesThatCannotBeRead(t *testing.T) {
	w := newWorld(t)
	token, text := w.issue(latchkey.KindAPIKey, latchkey.Settings{
		Permissions: latchkey.Permissions{latchkey.Allow(latchkey.Read).On("*", "latchkey/*")}})
	a := w.access(text)
	as := must(w.acme.As(a))
	w.store.fail.Store(&latchkey.ErrUnavailable)
	_, err := w.acme.Balances(w.ctx, token.ID, "api")
	w.is(latchkey.ErrUnavailable, err)
	w.store.fail.Store(nil)
	w.ok(w.acme.Revoke(w.ctx, token.ID, ""))
	_, err = as.Balances(w.ctx, "", "api")
	w.is(latchkey.ErrRevoked, err)
}
