package latchkey_test

import (
	"context"
	"fmt"
	"sync"
	"testing"

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
