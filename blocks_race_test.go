package latchkey_test

import (
	"context"
	"errors"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/latchkey-go/latchkey"
)

// crossroads is a store at which the test steps in before and after each Reserve.
type crossroads struct {
	latchkey.Store
	mu            sync.Mutex
	before, after func(r latchkey.Reservation, err error)
}

func (s *crossroads) meet(which *func(latchkey.Reservation, error), r latchkey.Reservation, err error) {
	s.mu.Lock()
	step := *which
	s.mu.Unlock()
	if step != nil {
		step(r, err)
	}
}

func (s *crossroads) Reserve(ctx context.Context, r latchkey.Reservation) (latchkey.Reserved, error) {
	s.meet(&s.before, r, nil)
	got, err := s.Store.Reserve(ctx, r)
	s.meet(&s.after, r, err)
	return got, err
}

func (s *crossroads) at(before, after func(latchkey.Reservation, error)) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.before, s.after = before, after
}

// twoTills is an owner with 1000 credits, and a key with a limit of its own beside one that only the owner limits.
func twoTills(t *testing.T) (w *world, s *crossroads, one, other latchkey.Access) {
	w, ledger := blockWorld(t, 100)
	s = &crossroads{Store: ledger.Store}
	ledger.Store = s
	w.configure(func(o *latchkey.Owner) { o.Limits.Credits = 1000 })
	_, limited := w.issue(latchkey.KindAPIKey, credits(900))
	_, plain := w.key(readAll())
	return w, s, w.access(limited), w.access(plain)
}

func TestWhatComesFreeWhileTheStoreRefusesIsNotRefused(t *testing.T) {
	w, s, one, other := twoTills(t)
	w.ok(one.Charge(w.ctx, "reads", 1))
	w.ok(one.Charge(w.ctx, "reads", 1))
	hold, err := one.Reserve(w.ctx, "reads", 8)
	w.ok(err)
	refusals := 0
	s.at(nil, func(r latchkey.Reservation, err error) {
		if r.Amount != 993 || !errors.Is(err, latchkey.ErrOverLimit) {
			return
		}
		if refusals++; refusals == 2 { // all blocks have given back what they could
			w.ok(hold.Settle(w.ctx, 5))
		}
	})
	w.ok(other.Charge(w.ctx, "reads", 993))
	assert.Equal(t, 2, refusals)
	w.is(latchkey.ErrOverLimit, other.Charge(w.ctx, "reads", 1))
}

func TestNobodyTakesABlockWhileAnotherAsksForTheLast(t *testing.T) {
	w, s, one, other := twoTills(t)
	for range 3 {
		w.ok(one.Charge(w.ctx, "reads", 1))
	}
	require.Equal(t, latchkey.Credits(101), w.taken("", "reads"), "a block is out")
	asked := 0
	s.at(func(r latchkey.Reservation, _ error) {
		if r.Amount != 990 {
			return
		}
		if asked++; asked == 2 {
			for range 3 {
				w.ok(one.Charge(w.ctx, "reads", 1))
			}
			assert.EqualValues(t, 6, w.taken("", "reads"), "each by itself")
		}
	}, nil)
	w.ok(other.Charge(w.ctx, "reads", 990))
	assert.Equal(t, 2, asked)
}

func TestARefusalWaitsForTheBlockThatIsOnItsWay(t *testing.T) {
	w, s, one, other := twoTills(t)
	w.ok(one.Charge(w.ctx, "reads", 1))
	taken, refused := make(chan struct{}), make(chan struct{})
	var once, first sync.Once
	s.at(nil, func(r latchkey.Reservation, err error) {
		switch {
		case r.Amount == 100: // a block: the store has it, the process does not know
			first.Do(func() {
				close(taken)
				<-refused
				time.Sleep(5 * time.Millisecond) // time to be wrong in
			})
		case r.Amount == 990 && err != nil:
			once.Do(func() { close(refused) })
		}
	})
	var all sync.WaitGroup
	all.Go(func() { assert.NoError(t, one.Charge(w.ctx, "reads", 1)) })
	<-taken
	w.ok(other.Charge(w.ctx, "reads", 990))
	all.Wait()
	assert.LessOrEqual(t, w.drain(one, "reads"), latchkey.Credits(8))
	assert.EqualValues(t, 1000, w.taken("", "reads"))
}
