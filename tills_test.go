package latchkey

import (
	"context"
	"fmt"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/latchkey-go/latchkey/internal/fault"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// stuckStore has credits for everybody, and answers nobody about one owner.
type stuckStore struct {
	Store
	mu      sync.Mutex
	stuck   string
	settled map[string]bool
}

func (s *stuckStore) Reserve(_ context.Context, r Reservation) (Reserved, error) {
	return Reserved{Left: 1 << 40}, nil
}

// Changes tells of no clock.
func (s *stuckStore) Changes(context.Context, uint64, int) (Feed, error) { return Feed{}, nil }

func (s *stuckStore) Adjust(context.Context, string, [16]byte, Adjustment) error { return nil }

func (s *stuckStore) Settle(ctx context.Context, owner string, _ [16]byte, _ Credits) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if owner == s.stuck {
		s.mu.Unlock()
		<-ctx.Done()
		s.mu.Lock()
	}
	if ctx.Err() != nil {
		return fault.Unavailable(ctx.Err())
	}
	s.settled[owner] = true
	return nil
}

// An owner of whom the store does not answer, as when somebody holds a lock, keeps nobody else's blocks from being
// renewed and given back.
func TestAStuckOwnerHoldsUpNoOther(t *testing.T) {
	for what, tend := range map[string]func(*Manager, context.Context) error{
		"tend":  func(m *Manager, ctx context.Context) error { return m.tills.tend(ctx) },
		"close": (*Manager).Close,
	} {
		t.Run(what, func(t *testing.T) {
			// Time passes when all wait: what a call may take is used up by the one that is stuck, on a slow machine too.
			synctest.Test(t, func(t *testing.T) { aStuckOwner(t, tend) })
		})
	}
}

func aStuckOwner(t *testing.T, tend func(*Manager, context.Context) error) {
	const owners = 100
	store := &stuckStore{settled: map[string]bool{}}
	var now atomic.Int64
	m := New(store, &Options{Clock: func() time.Time { return time.UnixMicro(now.Load()) }, CreditBlock: Hundredth})
	for i := range owners {
		a := Access{m: m, set: &compiled{limits: &limitSet{purses: []purse{{limit: 1 << 30}}}},
			who: &principal{owner: fmt.Sprint(i), kind: KindAPIKey}}
		require.NoError(t, a.Charge(t.Context(), "reads", 1))
		require.NoError(t, a.Charge(t.Context(), "reads", 1))
	}
	store.mu.Lock()
	clear(store.settled)
	store.stuck = "0"
	store.mu.Unlock()
	now.Add(blockIdle.Microseconds())
	ctx, cancel := context.WithTimeout(t.Context(), 2*tillCall)
	defer cancel()
	assert.ErrorIs(t, tend(m, ctx), ErrUnavailable)
	assert.Len(t, store.settled, owners-1)
	assert.NoError(t, ctx.Err(), "and it ends")
}
