package latchkey_test

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/latchkey-go/latchkey"
)

// A role taken from a key is taken from what the key minted, even where another role of the key admits the same rows.
func TestTakingARoleReachesWhatWasMintedWithIt(t *testing.T) {
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
