package latchkey

import (
	"context"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"

	"github.com/stretchr/testify/require"

	"github.com/latchkey-go/latchkey/internal/uuidv7"
)

// loadStore reports each load, and blocks it until the test releases it.
type loadStore struct {
	Store
	began   chan string // ids
	leave   chan struct{}
	version atomic.Uint64
}

func (s *loadStore) Load(_ context.Context, owner, id string) (Found, error) {
	f := Found{Token: Token{ID: id, Owner: owner, Version: s.version.Load()}}
	s.began <- owner + " " + id
	<-s.leave
	return f, nil
}

// Callers that load the same token while another load is under way share the next one, which begins after all of them
// called. Other tokens, and the same id of another owner, are other loads.
func TestLoadsAreCoalesced(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store := &loadStore{began: make(chan string, 64), leave: make(chan struct{})}
		m := New(store, nil)
		first, second := [16]byte{1}, [16]byte{2}
		var wg sync.WaitGroup
		load := func(owner string, id [16]byte, version uint64) {
			wg.Go(func() {
				f, err := m.load(t.Context(), owner, id)
				if err != nil || f.Token.Owner != owner || f.Token.ID != uuidv7.Text(id) || f.Token.Version != version {
					t.Errorf("%s %d: %+v, %v", owner, id[0], f.Token, err)
				}
			})
		}
		load("acme", first, 0)
		load("acme", second, 0)
		load("other", first, 0)
		synctest.Wait()
		require.Len(t, store.began, 3)
		store.version.Add(1) // committed before the others call
		for range 63 {
			load("acme", first, 1)
		}
		synctest.Wait()
		require.Len(t, store.began, 3, "nobody loads beside one who loads the same")
		for range 3 {
			store.leave <- struct{}{}
		}
		synctest.Wait()
		require.Len(t, store.began, 4)
		store.leave <- struct{}{}
		wg.Wait()
		require.Len(t, store.began, 4, "one load for all who waited")
		require.NoError(t, m.Close(t.Context()))
	})
}
