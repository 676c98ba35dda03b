package latchkey_test

import (
	"context"
	"errors"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/latchkey-go/latchkey"
	"github.com/latchkey-go/latchkey/memstore"
)

// deadLine is a store with one half-open connection: a read over it never returns. All other reads do.
type deadLine struct {
	latchkey.Store
	dead atomic.Int64 // how many of the next questions are lost
	feed bool         // of those for the feed itself, not for its epoch
}

func (s *deadLine) Changes(ctx context.Context, feed latchkey.FeedID, after uint64, n int) (latchkey.Feed, error) {
	if (n != 0) == s.feed {
		if err := s.lost(ctx); err != nil {
			return latchkey.Feed{}, err
		}
	}
	time.Sleep(time.Millisecond)
	return s.Store.Changes(ctx, feed, after, n)
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

// A caller without a deadline whose read is lost does not delay other callers for long, whatever it read.
func TestLostReadDelaysNoOtherCaller(t *testing.T) {
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

// If a shared write of a caller without a deadline is lost, it does not block other callers for ever.
func TestLostWriteDelaysNoOtherCaller(t *testing.T) {
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
			return spend(context.Background(), a, "reads", 1)
		},
	}
	for name, way := range ways {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s := &deadWrite{Store: memstore.New(nil)}
				m := latchkey.New(s, &latchkey.Options{CreditLease: latchkey.Hundredth})
				_, secret, err := m.For("acme").Issue(t.Context(), latchkey.Spec{Kind: latchkey.KindAPIKey,
					Limits: monthly(1000)})
				require.NoError(t, err)
				a, err := m.Verify(t.Context(), latchkey.Presented{Secret: secret.Reveal()})
				require.NoError(t, err)
				go func() { _ = way(s, m, a) }()
				synctest.Wait()
				require.False(t, s.usage.Load() || s.reserve.Load(), "the question is lost")
				ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
				defer cancel()
				require.NoError(t, spend(ctx, a, "reads", 1))
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

func TestMaxStale(t *testing.T) {
	const bound = 10 * time.Second
	setup := func(t *testing.T) (w *world, other *latchkey.Manager, tok latchkey.Token, secret string) {
		w = newWorld(t, func(o *latchkey.Options) { o.MaxStale = bound })
		o := w.options()
		other = latchkey.New(w.store, &o)
		tok, secret = w.key(readAll())
		w.access(secret)
		return
	}
	t.Run("within the bound the store is not asked", func(t *testing.T) {
		w, _, _, secret := setup(t)
		w.access(secret)
		before := w.store.epochs.Load() + w.store.lookups.Load()
		w.turn(bound / 2)
		for range 100 {
			w.access(secret)
		}
		assert.Equal(t, before, w.store.epochs.Load()+w.store.lookups.Load())
	})
	t.Run("past it every change is known", func(t *testing.T) {
		w, other, tok, secret := setup(t)
		w.access(secret)
		w.ok(other.For("acme").Revoke(w.ctx, tok.ID, ""))
		w.turn(bound + time.Microsecond)
		_, err := w.verify(secret)
		w.is(latchkey.ErrRevoked, err)
	})
	t.Run("one's own changes are known at once", func(t *testing.T) {
		w, _, tok, secret := setup(t)
		w.access(secret)
		w.ok(w.acme.Revoke(w.ctx, tok.ID, ""))
		_, err := w.verify(secret)
		w.is(latchkey.ErrRevoked, err)
	})
	t.Run("what one finds ended already is known at once", func(t *testing.T) {
		w, other, tok, secret := setup(t)
		w.access(secret)
		w.ok(other.For("acme").Revoke(w.ctx, tok.ID, ""))
		w.ok(w.acme.Revoke(w.ctx, tok.ID, ""))
		_, err := w.verify(secret)
		w.is(latchkey.ErrRevoked, err)
	})
	t.Run("what one finds deleted already is known at once", func(t *testing.T) {
		w, other, tok, secret := setup(t)
		w.access(secret)
		w.ok(other.For("acme").Delete(w.ctx, tok.ID))
		w.is(latchkey.ErrNotFound, w.acme.Delete(w.ctx, tok.ID))
		_, err := w.verify(secret)
		w.is(latchkey.ErrUnknownToken, err)
	})
	t.Run("so is a role", func(t *testing.T) {
		w, other, _, _ := setup(t)
		r := w.role("reader", readAll())
		_, secret := w.issue(latchkey.KindAPIKey, latchkey.Settings{Roles: []string{r.ID}})
		w.access(secret)
		a := w.access(secret)
		_, err := other.For("acme").Update(w.ctx, a.TokenID(), func(t *latchkey.Token) error { t.Roles = nil; return nil })
		w.ok(err)
		w.ok(other.For("acme").DeleteRole(w.ctx, r.ID))
		w.ok(w.access(secret).Check(latchkey.Read, "x"))
		w.is(latchkey.ErrNotFound, w.acme.DeleteRole(w.ctx, r.ID))
		w.is(latchkey.ErrDenied, w.access(secret).Check(latchkey.Read, "x"))
	})
	t.Run("what one perhaps changed is looked at", func(t *testing.T) {
		w, _, tok, secret := setup(t)
		w.access(secret)
		w.store.unknown.Store(100)
		w.is(latchkey.ErrUnknownOutcome, w.acme.Revoke(w.ctx, tok.ID, ""))
		_, err := w.verify(secret)
		w.is(latchkey.ErrRevoked, err)
	})
	t.Run("past it without the store nothing is answered", func(t *testing.T) {
		w, _, _, secret := setup(t)
		w.access(secret)
		down := latchkey.ErrUnavailable
		w.store.fail.Store(&down)
		w.turn(bound / 2)
		w.access(secret)
		w.turn(bound/2 + time.Microsecond)
		_, err := w.verify(secret)
		w.is(latchkey.ErrUnavailable, err)
		w.store.fail.Store(nil)
		w.access(secret)
	})
	t.Run("Wake reads now", func(t *testing.T) {
		w, other, tok, secret := setup(t)
		w.access(secret)
		w.ok(other.For("acme").Revoke(w.ctx, tok.ID, ""))
		w.keys.Wake()
		require.Eventually(t, func() bool { _, err := w.verify(secret); return errors.Is(err, latchkey.ErrRevoked) },
			time.Minute, time.Millisecond)
	})
}

// rewound is a store whose feed can return false history.
type rewound struct {
	latchkey.Store
	edit atomic.Pointer[func(latchkey.Feed) latchkey.Feed]
}

func (s *rewound) Changes(ctx context.Context, feed latchkey.FeedID, after uint64, n int) (latchkey.Feed, error) {
	answer, err := s.Store.Changes(ctx, feed, after, n)
	if f := s.edit.Load(); f != nil {
		answer = (*f)(answer)
	}
	return answer, err
}

func TestFeedGapsResetTheCache(t *testing.T) {
	for name, edit := range map[string]func(latchkey.Feed) latchkey.Feed{
		"truncated": func(f latchkey.Feed) latchkey.Feed { f.Truncated, f.Changes = true, nil; return f },
		"truncated, and dense": func(f latchkey.Feed) latchkey.Feed {
			f.Truncated = true
			for i := range f.Changes {
				f.Changes[i].ID = "another"
			}
			return f
		},
		"a kind that is unknown": func(f latchkey.Feed) latchkey.Feed {
			for i := range f.Changes {
				f.Changes[i].Kind, f.Changes[i].ID = 99, "another"
			}
			return f
		},
		"a hole": func(f latchkey.Feed) latchkey.Feed { f.Changes = f.Changes[:0]; return f },
		"too high": func(f latchkey.Feed) latchkey.Feed {
			if len(f.Changes) > 1 {
				f.Changes = f.Changes[1:]
			}
			return f
		},
		"an epoch gone back": func(f latchkey.Feed) latchkey.Feed { f.Epoch, f.Changes = 1, nil; return f },
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			store := &rewound{Store: w.store}
			o := w.options()
			node := latchkey.New(store, &o)
			a, sa := w.key(readAll())
			b, _ := w.key()
			for range 3 { // so that there is a past
				w.update(b, func(t *latchkey.Token) { t.Name += "x" })
			}
			for range 3 {
				_, err := node.Verify(w.ctx, latchkey.Presented{Secret: sa})
				w.ok(err)
			}
			w.ok(w.acme.Revoke(w.ctx, a.ID, "")) // the change that goes missing
			w.ok(w.acme.Revoke(w.ctx, b.ID, ""))
			edited := 0
			lie := func(f latchkey.Feed) latchkey.Feed { edited++; return edit(f) }
			store.edit.Store(&lie)
			_, err := node.Verify(w.ctx, latchkey.Presented{Secret: sa})
			w.is(latchkey.ErrRevoked, err)
			require.Positive(t, edited)
		})
	}
}

// The same if a process learns it from the changes alone, when it follows a change of its own.
func TestAFeedThatWentBackResetsTheCache(t *testing.T) {
	w := newWorld(t)
	store := &rewound{Store: w.store}
	o := w.options()
	o.MaxStale = time.Hour
	node := latchkey.New(store, &o)
	_, secret := w.key(readAll())
	b, _ := w.key()
	for range 3 { // so that there is a past
		w.update(b, func(t *latchkey.Token) { t.Name += "x" })
	}
	_, err := node.Verify(w.ctx, latchkey.Presented{Secret: secret})
	w.ok(err)
	back := func(f latchkey.Feed) latchkey.Feed { f.Epoch, f.Changes = 1, nil; return f }
	store.edit.Store(&back)
	_, err = node.For("acme").Update(w.ctx, b.ID, func(t *latchkey.Token) error { t.Name += "y"; return nil })
	w.ok(err)
	store.edit.Store(nil)
	before := w.store.lookups.Load()
	_, err = node.Verify(w.ctx, latchkey.Presented{Secret: secret})
	w.ok(err)
	require.Greater(t, w.store.lookups.Load(), before, "what was cached is of another history")
}

// A Verify that starts after Revoke returned must not succeed.
func TestVerifyFailsOnceRevokeReturned(t *testing.T) {
	w := newWorld(t)
	o := w.options()
	nodes := []*latchkey.Manager{w.keys, latchkey.New(w.store, &o)}
	for range 30 {
		tok, secret := w.key(readAll())
		_, child := w.mint(w.access(secret), latchkey.Narrowing{})
		var revoked, stop atomic.Bool
		var wrong atomic.Int64
		var wg sync.WaitGroup
		for _, node := range nodes {
			for _, s := range []string{secret, child} {
				wg.Go(func() {
					for !stop.Load() {
						late := revoked.Load()
						if _, err := node.Verify(w.ctx, latchkey.Presented{Secret: s}); err == nil && late {
							wrong.Add(1)
						}
					}
				})
			}
		}
		time.Sleep(time.Millisecond)
		w.ok(w.acme.Revoke(w.ctx, tok.ID, ""))
		revoked.Store(true)
		time.Sleep(time.Millisecond)
		stop.Store(true)
		wg.Wait()
		require.Zero(t, wrong.Load())
	}
}

// lagging is a store with a feed that lags behind an epoch seen before, as a replica does. A caller must not spin on
// it.
type lagging struct {
	latchkey.Store
	calls int
}

func (s *lagging) Changes(ctx context.Context, feed latchkey.FeedID, after uint64, n int) (latchkey.Feed, error) {
	f, err := s.Store.Changes(ctx, feed, after, n)
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

// history counts what is read of the feed.
type history struct {
	latchkey.Store
	changes, reads atomic.Int64
}

func (s *history) Changes(ctx context.Context, feed latchkey.FeedID, after uint64, n int) (latchkey.Feed, error) {
	answer, err := s.Store.Changes(ctx, feed, after, n)
	s.changes.Add(int64(len(answer.Changes)))
	s.reads.Add(1)
	return answer, err
}

// What many callers change in a second is read at once when a process is woken.
func TestAWakeUpIsOneRead(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx := t.Context()
		s := &history{Store: memstore.New(nil)}
		others := latchkey.New(s.Store, nil).For("acme")
		_, secret, err := others.Issue(ctx, latchkey.Spec{Kind: latchkey.KindAPIKey})
		require.NoError(t, err)
		m := latchkey.New(s, &latchkey.Options{MaxStale: time.Hour})
		_, err = m.Verify(ctx, latchkey.Presented{Secret: secret.Reveal()})
		require.NoError(t, err)
		for range 3000 {
			require.NoError(t, others.Configure(ctx, func(o *latchkey.Owner) error { return nil }))
		}
		changes, reads := s.changes.Load(), s.reads.Load()
		m.Wake()
		synctest.Wait()
		require.Equal(t, changes+3000, s.changes.Load())
		require.Equal(t, reads+1, s.reads.Load())
		require.NoError(t, m.Close(ctx))
	})
}

// A process that made a change reads the feed once for it, of which what others changed before is a part.
func TestAnOwnChangeIsOneRead(t *testing.T) {
	ctx := t.Context()
	s := &history{Store: memstore.New(nil)}
	m := latchkey.New(s, &latchkey.Options{MaxStale: time.Hour})
	token, secret, err := m.For("acme").Issue(ctx, latchkey.Spec{Kind: latchkey.KindAPIKey})
	require.NoError(t, err)
	_, err = m.Verify(ctx, latchkey.Presented{Secret: secret.Reveal()})
	require.NoError(t, err)
	others := latchkey.New(s.Store, nil).For("acme")
	require.NoError(t, others.Configure(ctx, func(*latchkey.Owner) error { return nil }))
	changes, reads := s.changes.Load(), s.reads.Load()
	require.NoError(t, m.For("acme").Revoke(ctx, token.ID, ""))
	require.Equal(t, changes+2, s.changes.Load())
	require.Equal(t, reads+1, s.reads.Load())
	_, err = m.Verify(ctx, latchkey.Presented{Secret: secret.Reveal()})
	require.ErrorIs(t, err, latchkey.ErrRevoked)
	require.NoError(t, m.Close(ctx))
}

// A process that has nothing cached does not read what others changed before it began, whatever it does first. From
// then on it reads each change.
func TestANewProcessReadsNoHistory(t *testing.T) {
	const past = 5000
	synctest.Test(t, func(t *testing.T) {
		ctx := t.Context()
		store := memstore.New(nil)
		others := latchkey.New(store, nil).For("acme")
		_, secret, err := others.Issue(ctx, latchkey.Spec{Kind: latchkey.KindAPIKey})
		require.NoError(t, err)
		change := func() {
			require.NoError(t, others.Configure(ctx, func(o *latchkey.Owner) error { return nil }))
		}
		for range past {
			change()
		}
		for name, begin := range map[string]func(m *latchkey.Manager){
			"Wake": func(m *latchkey.Manager) { m.Wake() },
			"a change": func(m *latchkey.Manager) {
				require.NoError(t, m.For("globex").Configure(ctx, func(o *latchkey.Owner) error { return nil }))
			},
			"Verify": func(*latchkey.Manager) {},
		} {
			s := &history{Store: store}
			m := latchkey.New(s, &latchkey.Options{MaxStale: time.Hour})
			begin(m)
			synctest.Wait()
			for range 2 {
				_, err := m.Verify(ctx, latchkey.Presented{Secret: secret.Reveal()})
				require.NoError(t, err)
			}
			require.LessOrEqual(t, s.changes.Load(), int64(10), name)
			before := s.changes.Load()
			for range 20 {
				change()
			}
			m.Wake()
			synctest.Wait()
			require.Equal(t, before+20, s.changes.Load(), name)
			require.NoError(t, m.Close(ctx))
		}
	})
}
