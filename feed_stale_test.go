package latchkey_test

import (
	"context"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/latchkey-go/latchkey"
	"github.com/latchkey-go/latchkey/memstore"
)

// lagging is a store with a feed that lags behind an epoch seen before, as a replica does. A caller must not spin on
// it.
type lagging struct {
	latchkey.Store
	calls int
}

func (s *lagging) Changes(ctx context.Context, after uint64, n int) (latchkey.Feed, error) {
	f, err := s.Store.Changes(ctx, after, n)
	if s.calls++; n == 0 {
		f.Epoch += 5
	}
	if s.calls > 100 {
		panic("asked for ever")
	}
	return f, err
}

func TestAFeedThatLagsBehindItsEpoch(t *testing.T) {
	store := &lagging{Store: memstore.New(nil)}
	keys := latchkey.New(store, nil)
	_, secret, err := keys.For("acme").Issue(t.Context(), latchkey.Spec{Kind: latchkey.KindSecret})
	require.NoError(t, err)
	_, err = keys.Verify(t.Context(), latchkey.Presented{Secret: secret.Reveal()})
	require.NoError(t, err)
	_, err = keys.Verify(t.Context(), latchkey.Presented{Secret: secret.Reveal()})
	require.ErrorIs(t, err, latchkey.ErrUnavailable)
	require.Positive(t, store.calls)
}

// MaxStale is a duration, whatever the time is: a store clock that runs ahead must not extend it.
func TestMaxStaleHoldsThoughTheStoreClockIsAhead(t *testing.T) {
	w := newWorld(t)
	store := memstore.New(&memstore.Options{Clock: func() time.Time { return w.now().Add(time.Minute) }})
	here := latchkey.New(store, &latchkey.Options{Clock: w.now, MaxStale: time.Second})
	there := latchkey.New(store, &latchkey.Options{Clock: w.now})
	tok, secret, err := there.For("acme").Issue(w.ctx, latchkey.Spec{Kind: latchkey.KindSecret})
	w.ok(err)
	p := latchkey.Presented{Secret: secret.Reveal()}
	for range 5 {
		_, err = here.Verify(w.ctx, p)
		w.ok(err)
		w.turn(400 * time.Millisecond)
	}
	w.ok(there.For("acme").Revoke(w.ctx, tok.ID, ""))
	w.turn(1001 * time.Millisecond)
	_, err = here.Verify(w.ctx, p)
	w.is(latchkey.ErrRevoked, err)
	w.ok(here.Close(w.ctx))
}
