package latchkey_test

import (
	"context"
	"encoding/json"
	"errors"
	"net/netip"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/latchkey-go/latchkey"
)

// loads keeps what a store's Load returned, and a copy of it. A Load takes so long that callers share it.
type loads struct {
	latchkey.Store
	mu    sync.Mutex
	found []latchkey.Found
	texts []string
}

func (s *loads) Load(ctx context.Context, owner, id string) (latchkey.Found, error) {
	time.Sleep(time.Millisecond)
	f, err := s.Store.Load(ctx, owner, id)
	text, bad := json.Marshal(f)
	if err != nil || bad != nil {
		return f, errors.Join(err, bad)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.found, s.texts = append(s.found, f), append(s.texts, string(text))
	return f, nil
}

// Callers share what was loaded, but not their rights and addresses: each has an answer of its own. What was loaded is
// not changed.
func TestCoalescedLoadsKeepCallersApart(t *testing.T) {
	w := newWorld(t)
	store := &loads{Store: w.store}
	o := w.options()
	keys := latchkey.New(store, &o)
	acme := keys.For("acme")
	base := w.role("base", latchkey.Allow(latchkey.Read).On("dataset/a"))
	heir, err := acme.CreateRole(w.ctx, latchkey.Role{Name: "heir", Inherits: []string{base.ID},
		Permissions: latchkey.Permissions{latchkey.Allow(latchkey.Any).On("latchkey/token/*")}})
	w.ok(err)
	w.ok(acme.Configure(w.ctx, func(o *latchkey.Owner) error {
		o.Boundary = latchkey.Permissions{latchkey.Allow(latchkey.Any).On("*"), latchkey.Allow(latchkey.Any).On("latchkey/*")}
		return nil
	}))
	_, text := w.issue(latchkey.KindAPIKey, latchkey.Settings{
		Roles:        []string{heir.ID, base.ID},
		Permissions:  latchkey.Permissions{latchkey.Allow(latchkey.Any).On("dataset/b")},
		Restrictions: latchkey.Restrictions{MintFrom: []netip.Prefix{netip.MustParsePrefix("192.0.2.0/24")}},
		Extra:        json.RawMessage(`{"a":1}`),
	})
	at := func(address string) latchkey.Access {
		a, err := keys.Verify(w.ctx, latchkey.Presented{Secret: text, Address: netip.MustParseAddr(address)})
		w.ok(err)
		return a
	}
	inside, outside := at("192.0.2.1"), at("198.51.100.1")
	narrowed, err := inside.Narrow(w.ctx, latchkey.Narrowing{Roles: []string{base.ID}})
	w.ok(err)
	another, _ := w.key(latchkey.Allow(latchkey.Read).On("dataset/a"))

	before := len(store.found)
	var wg sync.WaitGroup
	const rounds = 10
	for range rounds {
		for range 4 {
			wg.Go(func() { // mints
				_, _, err := inside.Mint(w.ctx, latchkey.Narrowing{Roles: []string{base.ID}, Lifetime: time.Hour})
				if err != nil {
					t.Error(err)
				}
			})
			wg.Go(func() { // may not mint from its address
				_, _, err := outside.Mint(w.ctx, latchkey.Narrowing{Lifetime: time.Hour})
				if !errors.Is(err, latchkey.ErrAddress) {
					t.Error("minted from elsewhere:", err)
				}
			})
			wg.Go(func() { // may all that the token may
				a, err := inside.Again(w.ctx)
				if err != nil || a.Check(latchkey.Update, "dataset/b") != nil || a.Check(latchkey.Read, "dataset/a") != nil {
					t.Error(err)
				}
			})
			wg.Go(func() { // may less
				a, err := narrowed.Again(w.ctx)
				if err != nil || a.Check(latchkey.Update, "dataset/b") == nil || a.Check(latchkey.Read, "dataset/a") != nil {
					t.Error("more than was left to it:", err)
				}
			})
			wg.Go(func() {
				as, err := acme.As(narrowed)
				if err == nil {
					_, err = as.Get(w.ctx, another.ID)
				}
				if !errors.Is(err, latchkey.ErrDenied) && !errors.Is(err, latchkey.ErrNotFound) {
					t.Error("more than was left to it:", err)
				}
			})
			wg.Go(func() {
				as, err := acme.As(outside)
				if err == nil {
					_, err = as.Get(w.ctx, another.ID)
				}
				if err != nil {
					t.Error(err)
				}
			})
		}
		wg.Wait()
	}
	require.Less(t, len(store.found)-before, 24*rounds, "none was shared")
	for i, f := range store.found {
		text, err := json.Marshal(f)
		w.ok(err)
		require.Equal(t, store.texts[i], string(text), "somebody changed it")
	}
}
