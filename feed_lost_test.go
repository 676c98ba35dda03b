package latchkey_test

import (
	"context"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/latchkey-go/latchkey"
	"github.com/latchkey-go/latchkey/memstore"
)

// deadLine is a store of which one connection is half open: what is asked over it is never answered. All others are.
type deadLine struct {
	latchkey.Store
	dead atomic.Int64 // how many of the next questions are lost
	feed bool         // of those for the feed itself, not for its epoch
}

func (s *deadLine) Changes(ctx context.Context, after uint64, n int) (latchkey.Feed, error) {
	if (n != 0) == s.feed {
		if err := s.lost(ctx); err != nil {
			return latchkey.Feed{}, err
		}
	}
	time.Sleep(time.Millisecond)
	return s.Store.Changes(ctx, after, n)
}

func (s *deadLine) Load(ctx context.Context, owner, id string) (latchkey.Found, error) {
	if err := s.lost(ctx); err != nil {
		return latchkey.Found{}, err
	}
	time.Sleep(time.Millisecond)
	return s.Store.Load(ctx, owner, id)
}

func (s *deadLine) lost(ctx context.Context) error {
	if s.dead.Add(-1) >= 0 {
		<-ctx.Done()
		return ctx.Err()
	}
	return nil
}

// A caller without a deadline whose question is lost holds up nobody else for long, whatever it asked.
func TestOneLostQuestionHoldsUpNobody(t *testing.T) {
	for name, c := range map[string]struct {
		stale time.Duration
		feed  bool
		again bool
		lost  int64
	}{
		"the epoch":                   {0, false, false, 1},
		"the epoch, three times":      {0, false, false, 3},
		"the epoch, with MaxStale":    {200 * time.Millisecond, false, false, 1},
		"the feed":                    {0, true, false, 1},
		"the feed, with MaxStale":     {200 * time.Millisecond, true, false, 1},
		"the token, for those who do": {0, false, true, 1},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s := &deadLine{Store: memstore.New(nil), feed: c.feed}
				s.dead.Store(-1 << 40)
				m := latchkey.New(s, &latchkey.Options{MaxStale: c.stale})
				acme := m.For("acme")
				tok, secret, err := acme.Issue(t.Context(), latchkey.Spec{Kind: latchkey.KindAPIKey})
				require.NoError(t, err)
				p := latchkey.Presented{Secret: secret.Reveal()}
				a, err := m.Verify(t.Context(), p)
				require.NoError(t, err)
				ask := func(ctx context.Context) error {
					if c.again {
						_, err := a.Again(ctx)
						return err
					}
					_, err := m.Verify(ctx, p)
					return err
				}
				time.Sleep(2*c.stale + time.Millisecond)
				if c.feed { // something for the feed to say
					other := latchkey.New(s.Store, nil)
					_, err := other.For("acme").Update(t.Context(), tok.ID, func(t *latchkey.Token) error { t.Name = "x"; return nil })
					require.NoError(t, err)
				}
				s.dead.Store(c.lost)
				forever, stop := context.WithCancel(t.Context())
				var wg sync.WaitGroup
				wg.Go(func() { _ = ask(forever) })
				for s.dead.Load() == c.lost { // until the question is lost
					time.Sleep(time.Millisecond)
				}
				failed := 0
				for range 20 {
					ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
					if ask(ctx) != nil {
						failed++
					}
					cancel()
				}
				require.LessOrEqual(t, int64(failed), 2*c.lost-1)
				stop()
				wg.Wait()
				require.NoError(t, ask(t.Context()))
				require.NoError(t, m.Close(t.Context()))
			})
		})
	}
}

// deadWrite is a store that never answers the next AddUsage, or the next Reserve.
type deadWrite struct {
	latchkey.Store
	usage, reserve atomic.Bool
}

func (s *deadWrite) AddUsage(ctx context.Context, b latchkey.UsageBatch) error {
	if s.usage.CompareAndSwap(true, false) {
		<-ctx.Done()
		return ctx.Err()
	}
	return s.Store.AddUsage(ctx, b)
}

func (s *deadWrite) Reserve(ctx context.Context, r latchkey.Reservation) (latchkey.Reserved, error) {
	if s.reserve.CompareAndSwap(true, false) {
		<-ctx.Done()
		return latchkey.Reserved{}, ctx.Err()
	}
	return s.Store.Reserve(ctx, r)
}

// What a caller without a deadline writes on behalf of all holds up nobody for ever when its question is lost.
func TestOneLostWriteHoldsUpNobody(t *testing.T) {
	ways := map[string]func(s *deadWrite, m *latchkey.Manager, a latchkey.Access) error{
		"last uses": func(s *deadWrite, m *latchkey.Manager, a latchkey.Access) error {
			s.usage.Store(true)
			_, err := m.For("acme").Get(context.Background(), a.TokenID())
			return err
		},
		"usage": func(s *deadWrite, m *latchkey.Manager, a latchkey.Access) error {
			a.Count("reads", "list", 1)
			s.usage.Store(true)
			_, err := m.For("acme").Usage(context.Background(), latchkey.UsageQuery{})
			return err
		},
		"credits": func(s *deadWrite, _ *latchkey.Manager, a latchkey.Access) error {
			s.reserve.Store(true)
			return a.Charge(context.Background(), "reads", 1)
		},
	}
	for name, way := range ways {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s := &deadWrite{Store: memstore.New(nil)}
				m := latchkey.New(s, &latchkey.Options{CreditLease: latchkey.Hundredth})
				_, secret, err := m.For("acme").Issue(t.Context(), latchkey.Spec{Kind: latchkey.KindAPIKey,
					Limits: latchkey.Limits{Credits: 1000}})
				require.NoError(t, err)
				a, err := m.Verify(t.Context(), latchkey.Presented{Secret: secret.Reveal()})
				require.NoError(t, err)
				go func() { _ = way(s, m, a) }()
				synctest.Wait()
				require.False(t, s.usage.Load() || s.reserve.Load(), "the question is lost")
				ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
				defer cancel()
				require.NoError(t, a.Charge(ctx, "reads", 1))
				a.Count("reads", "list", 1)
				rows, err := m.For("acme").Usage(ctx, latchkey.UsageQuery{})
				require.NoError(t, err)
				require.Len(t, rows, 1)
				tok, err := m.For("acme").Get(ctx, a.TokenID())
				require.NoError(t, err)
				require.False(t, tok.Used.IsZero())
				require.NoError(t, m.Close(ctx))
			})
		})
	}
}
