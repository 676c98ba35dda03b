package latchkey_test

import (
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/latchkey-go/latchkey"
)

// A role taken from a key is taken from what the key minted, even where another role of the key admits the same rows.
func TestTakingARoleReachesMintedTokens(t *testing.T) {
	w := newWorld(t)
	all := w.role("all", latchkey.Allow(latchkey.Read).On("dataset/*"))
	eu := w.role("eu", latchkey.Allow(latchkey.Read).On("dataset/*").Where(eq("region", "EU")))
	key, secret := w.issue(latchkey.KindAPIKey, latchkey.Settings{Roles: []string{all.ID, eu.ID}})
	_, child := w.mint(w.access(secret), latchkey.Narrowing{Roles: []string{eu.ID}})
	_, both := w.mint(w.access(secret), latchkey.Narrowing{Roles: []string{all.ID, eu.ID}})
	_, grandchild := w.mint(w.access(both), latchkey.Narrowing{Roles: []string{eu.ID}})
	_, whole := w.mint(w.access(secret), latchkey.Narrowing{})
	_, ofWhole := w.mint(w.access(whole), latchkey.Narrowing{Roles: []string{eu.ID}})
	_, session := w.issue(latchkey.KindSession, latchkey.Settings{Permissions: latchkey.Permissions{
		latchkey.Allow(latchkey.Any).On("*")}})
	_, named := w.mint(w.access(session), latchkey.Narrowing{Roles: []string{eu.ID}})
	some := func(secret string) error {
		_, err := w.access(secret).Filter(latchkey.Read, "dataset/orders")
		return err
	}
	for _, secret := range []string{child, both, grandchild, whole, ofWhole, named} {
		w.ok(some(secret))
	}

	_, err := w.acme.Update(w.ctx, key.ID, func(t *latchkey.Token) error { t.Roles = []string{all.ID}; return nil })
	w.ok(err)
	for _, secret := range []string{child, grandchild, ofWhole} {
		w.is(latchkey.ErrDenied, some(secret))
		require.Empty(t, w.access(secret).Roles())
	}
	w.ok(w.access(both).Check(latchkey.Read, "dataset/orders"))
	require.Equal(t, []string{all.ID}, w.access(both).Roles())
	w.ok(some(whole))
	w.ok(some(named)) // a session may name any role of its owner

	_, err = w.acme.Update(w.ctx, key.ID, func(t *latchkey.Token) error { t.Roles = []string{all.ID, eu.ID}; return nil })
	w.ok(err)
	for _, secret := range []string{child, grandchild, ofWhole} {
		w.ok(some(secret))
	}
}

// What a parent may do with its roles does not grow by the roles that its mint names.
func TestTheRolesOfAParentAreItsOwn(t *testing.T) {
	w := newWorld(t)
	rows := latchkey.Allow(latchkey.Read).On("data").Where(latchkey.Where("region", latchkey.In, latchkey.SelfRoles))
	low, high := w.role("low", rows), w.role("high", rows)
	_, secret := w.issue(latchkey.KindSession, latchkey.Settings{Roles: []string{low.ID}})
	for name, c := range map[string]struct {
		role, row latchkey.Role
		may       bool
	}{
		"its own role":     {low, low, true},
		"a role it lacks":  {high, high, false},
		"of another's row": {high, low, false},
	} {
		n := latchkey.Narrowing{Roles: []string{c.role.ID}}
		_, child := w.mint(w.access(secret), n)
		narrowed, err := w.access(secret).Narrow(w.ctx, n)
		w.ok(err)
		for _, a := range []latchkey.Access{w.access(child), narrowed} {
			err := a.CheckRow(latchkey.Read, "data", orders, latchkey.Row{"region": c.row.ID})
			assert.Equal(t, c.may, err == nil, name)
		}
	}
}

// Taking a role from a key takes it from what was narrowed to it, as from what was minted.
func TestAgainForgetsALostRole(t *testing.T) {
	w := newWorld(t)
	low := w.role("low", latchkey.Allow(latchkey.Read).On("dataset/*"))
	high, err := w.acme.CreateRole(w.ctx,
		latchkey.Role{Name: "high", Inherits: []string{low.ID}, Permissions: latchkey.Permissions{
			latchkey.Allow(latchkey.Update).On("dataset/*")}})
	w.ok(err)
	key, secret := w.issue(latchkey.KindAPIKey, latchkey.Settings{Roles: []string{high.ID, low.ID}})
	n, err := w.access(secret).Narrow(w.ctx, latchkey.Narrowing{Roles: []string{low.ID}})
	w.ok(err)
	require.True(t, n.Allows(latchkey.Read, "dataset/a"))
	w.update(key, func(t *latchkey.Token) { t.Roles = []string{high.ID} })
	again, err := n.Again(w.ctx)
	w.ok(err)
	assert.False(t, again.Allows(latchkey.Read, "dataset/a"))
	assert.Empty(t, again.Roles())
	_, err = again.Narrow(w.ctx, latchkey.Narrowing{Roles: []string{low.ID}})
	w.is(latchkey.ErrInvalid, err)

	_, session := w.issue(latchkey.KindSession, latchkey.Settings{})
	n, err = w.access(session).Narrow(w.ctx, latchkey.Narrowing{Roles: []string{low.ID}})
	w.ok(err)
	_, err = n.Narrow(w.ctx, latchkey.Narrowing{Roles: []string{high.ID}})
	w.is(latchkey.ErrInvalid, err) // as for a mint of a mint
}
