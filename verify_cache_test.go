package latchkey_test

import (
	"context"
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/latchkey-go/latchkey"
)

func TestCacheIsBounded(t *testing.T) {
	w := newWorld(t, func(o *latchkey.Options) { o.CacheTokens = 50 })
	type pair struct {
		id, secret string
		dead       bool
	}
	var all []pair
	for range 400 {
		tok, s := w.key(readAll())
		all = append(all, pair{id: tok.ID, secret: s})
	}
	for round := range 3 {
		for i := range all {
			p := &all[i]
			if i%7 == round && !p.dead {
				w.ok(w.acme.Revoke(w.ctx, p.id, ""))
				p.dead = true
			}
			a, err := w.verify(p.secret)
			require.Equal(t, p.dead, err != nil)
			if err == nil {
				require.Equal(t, p.id, a.TokenID())
			}
		}
	}
}

// Reads take no lock while the table grows, is rebuilt and is reset.
func TestCacheUnderConcurrentGrowth(t *testing.T) {
	w := newWorld(t, func(o *latchkey.Options) { o.CacheTokens = 3000 })
	secrets := make([]string, 6000)
	ids := make([]string, len(secrets))
	for i := range secrets {
		tok, s := w.issue(latchkey.KindAPIKey, latchkey.Settings{Permissions: latchkey.Permissions{
			latchkey.Allow(latchkey.Read).On(latchkey.Exactly(latchkey.Path("d", fmt.Sprint(i%100))))}})
		secrets[i], ids[i] = s, tok.ID
	}
	var wg sync.WaitGroup
	for g := range 4 {
		wg.Go(func() {
			for round := range 3 {
				for i := range secrets {
					i = (i*7 + g*1500 + round) % len(secrets)
					a, err := w.verify(secrets[i])
					if err != nil || a.TokenID() != ids[i] || !a.Allows(latchkey.Read, latchkey.Path("d", fmt.Sprint(i%100))) {
						t.Errorf("token %d: %v", i, err)
						return
					}
				}
			}
		})
	}
	wg.Go(func() {
		for i := range 50 {
			w.configure(func(o *latchkey.Owner) { o.Extra = []byte(fmt.Sprint(i)) })
		}
	})
	wg.Wait()
}

// overtaken is a store that does something between reading a token and handing it out.
type overtaken struct {
	latchkey.Store
	then func()
}

func (s *overtaken) ByDigest(ctx context.Context, slot latchkey.Slot, d ...[32]byte) (latchkey.Found, error) {
	f, err := s.Store.ByDigest(ctx, slot, d...)
	if then := s.then; then != nil {
		s.then = nil
		then()
	}
	return f, err
}

// What was read before a change is not cached after it: the next Verify sees the change.
func TestOutdatedReadsAreNotCached(t *testing.T) {
	w := newWorld(t)
	store := &overtaken{Store: w.store}
	keys := latchkey.New(store, &latchkey.Options{Clock: w.now})
	tok, secret := w.key(readAll())
	_, other := w.key(readAll())
	verify := func(secret string) error {
		_, err := keys.Verify(w.ctx, latchkey.Presented{Secret: secret})
		return err
	}
	w.ok(verify(other))
	store.then = func() {
		w.ok(w.acme.Revoke(w.ctx, tok.ID, ""))
		w.ok(verify(other)) // the cache has applied the change by now
	}
	w.ok(verify(secret)) // it began before the change
	require.Nil(t, store.then)
	w.is(latchkey.ErrRevoked, verify(secret))
	w.ok(verify(other))
}

// A change of a role costs one read, whatever the number of cached tokens that have it. Their own records are current.
func TestAnEditedRoleIsReadOnce(t *testing.T) {
	w := newWorld(t)
	base := w.role("base", latchkey.Allow(latchkey.Read).On("dataset/a"))
	role, err := w.acme.CreateRole(w.ctx, latchkey.Role{Name: "heir", Inherits: []string{base.ID}})
	w.ok(err)
	const n = 20
	tokens, secrets := make([]latchkey.Token, n), make([]string, n)
	for i := range secrets {
		tokens[i], secrets[i] = w.issue(latchkey.KindAPIKey, latchkey.Settings{Roles: []string{role.ID},
			Name: fmt.Sprint("token ", i)})
		w.access(secrets[i])
	}
	_, minted := w.mint(w.access(secrets[0]), latchkey.Narrowing{})
	w.access(minted)
	all := func(reads int64, may string, not string) {
		t.Helper()
		before := w.store.lookups.Load()
		for i, secret := range secrets {
			a := w.access(secret)
			require.Equal(t, fmt.Sprint("token ", i), a.Name())
			require.True(t, a.Allows(latchkey.Read, latchkey.Resource(may)))
			require.False(t, a.Allows(latchkey.Read, latchkey.Resource(not)))
		}
		require.Equal(t, reads, w.store.lookups.Load()-before)
		require.True(t, w.access(minted).Allows(latchkey.Read, latchkey.Resource(may)))
	}
	edit := func(id string, change func(*latchkey.Role)) {
		_, err := w.acme.UpdateRole(w.ctx, id, func(r *latchkey.Role) error { change(r); return nil })
		w.ok(err)
	}
	on := func(p string) latchkey.Permissions {
		return latchkey.Permissions{latchkey.Allow(latchkey.Read).On(latchkey.Pattern(p))}
	}
	all(0, "dataset/a", "dataset/b")
	edit(role.ID, func(r *latchkey.Role) { r.Permissions = on("dataset/b") })
	all(1, "dataset/b", "dataset/c")
	edit(base.ID, func(r *latchkey.Role) { r.Permissions = on("dataset/c") })
	all(1, "dataset/c", "dataset/a")
	more := w.role("more", latchkey.Allow(latchkey.Read).On("dataset/d"))
	edit(role.ID, func(r *latchkey.Role) { r.Inherits = append(r.Inherits, more.ID) })
	all(1, "dataset/d", "dataset/a")
	edit(more.ID, func(r *latchkey.Role) { r.Permissions = on("dataset/e") })
	all(1, "dataset/e", "dataset/d")

	// What is not the role's alone is read for each token.
	edit(role.ID, func(r *latchkey.Role) { r.Permissions = on("dataset/f") })
	w.update(tokens[1], func(t *latchkey.Token) { t.Roles = nil })
	w.ok(w.acme.Revoke(w.ctx, tokens[2].ID, ""))
	require.True(t, w.access(secrets[0]).Allows(latchkey.Read, "dataset/f"))
	require.False(t, w.access(secrets[1]).Allows(latchkey.Read, "dataset/f"))
	_, err = w.verify(secrets[2])
	w.is(latchkey.ErrRevoked, err)
	edit(role.ID, func(r *latchkey.Role) { r.Permissions = on("dataset/g") })
	w.turn(time.Second)
	w.configure(func(o *latchkey.Owner) { o.NotBefore = w.now() })
	for _, secret := range secrets[3:] {
		_, err = w.verify(secret)
		w.is(latchkey.ErrRevoked, err)
	}
}

// What Find returns is the caller's: changing it changes neither the store nor what a Verify answers.
func TestFindReturnsACopy(t *testing.T) {
	w := newWorld(t)
	_, secret := w.key(latchkey.Allow(latchkey.Read).On("dataset/a"))
	found, err := w.acme.Find(w.ctx, secret)
	w.ok(err)
	found.Permissions[0] = latchkey.Allow(latchkey.Any).On("*")
	require.False(t, w.access(secret).Allows(latchkey.Update, "dataset/a"))
}
