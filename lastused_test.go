package latchkey_test

import (
	"context"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/latchkey-go/latchkey"
	"github.com/latchkey-go/latchkey/memstore"
)

// batches counts the batches in which last uses are written.
type batches struct {
	latchkey.Store
	n, uses atomic.Int64
}

func (s *batches) AddUsage(ctx context.Context, b latchkey.UsageBatch) error {
	if len(b.Last) > 0 {
		s.n.Add(1)
		s.uses.Add(int64(len(b.Last)))
	}
	return s.Store.AddUsage(ctx, b)
}

// What an embedded page does: it uses its token the moment it has it. Another process soon sees that it was used.
func TestAFirstUseIsWrittenSoon(t *testing.T) {
	for name, cache := range map[string]int{"cached": 0, "not cached": -1} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				ctx := t.Context()
				store := &batches{Store: memstore.New(nil)}
				keys := latchkey.New(store, &latchkey.Options{CacheTokens: cache})
				acme, elsewhere := keys.For("acme"), latchkey.New(store, nil).For("acme")
				_, key, err := acme.Issue(ctx, latchkey.Spec{Kind: latchkey.KindAPIKey})
				require.NoError(t, err)
				parent, err := acme.Verify(ctx, latchkey.Presented{Secret: key.Reveal()})
				require.NoError(t, err)
				mint := func() (string, string) {
					tok, secret, err := parent.Mint(ctx, latchkey.Narrowing{Lifetime: 24 * time.Hour, Idle: 20 * time.Minute})
					require.NoError(t, err)
					return tok.ID, secret.Reveal()
				}
				use := func(secret string) {
					_, err := acme.Verify(ctx, latchkey.Presented{Secret: secret})
					require.NoError(t, err)
				}
				listed := func(id string) time.Time {
					tok, err := elsewhere.Get(ctx, id)
					require.NoError(t, err)
					return tok.Used
				}
				idle, secret := mint()
				require.Zero(t, listed(idle))
				first := time.Now().UTC()
				use(secret)
				time.Sleep(time.Second)
				synctest.Wait()
				require.Equal(t, first.Truncate(time.Microsecond), listed(idle))

				// From then on a use moves it by a twentieth of the idle time or not at all.
				before := store.uses.Load()
				use(secret)
				time.Sleep(time.Second)
				synctest.Wait()
				require.Equal(t, before, store.uses.Load())
				time.Sleep(time.Minute)
				use(secret)
				time.Sleep(time.Second)
				synctest.Wait()
				require.Equal(t, before+1, store.uses.Load())

				// Many at once are few batches.
				batches := store.n.Load()
				var ids []string
				for range 300 {
					id, secret := mint()
					use(secret)
					use(secret)
					ids = append(ids, id)
				}
				time.Sleep(time.Second)
				synctest.Wait()
				for _, id := range ids {
					require.NotZero(t, listed(id))
				}
				require.LessOrEqual(t, store.n.Load()-batches, int64(5))
				require.NoError(t, keys.Close(ctx))
			})
		})
	}
}

// A token that the cache learned of by a refusal, which is no use, is used for the first time like any other.
func TestAFirstUseAfterARefusalIsWrittenSoon(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx := t.Context()
		store := &batches{Store: memstore.New(nil)}
		keys := latchkey.New(store, nil)
		acme, elsewhere := keys.For("acme"), latchkey.New(store, nil).For("acme")
		_, key, err := acme.Issue(ctx, latchkey.Spec{Kind: latchkey.KindAPIKey,
			Limits: latchkey.Limits{Rate: latchkey.Rate{Count: 1, Per: 10 * time.Second}}})
		require.NoError(t, err)
		parent, err := acme.Verify(ctx, latchkey.Presented{Secret: key.Reveal()})
		require.NoError(t, err)
		tok, secret, err := parent.Mint(ctx, latchkey.Narrowing{Lifetime: 24 * time.Hour, Idle: 20 * time.Minute})
		require.NoError(t, err)
		_, err = acme.Verify(ctx, latchkey.Presented{Secret: secret.Reveal()})
		require.ErrorIs(t, err, latchkey.ErrRateLimited, "the parent's rate is taken")
		time.Sleep(10 * time.Second)
		synctest.Wait()
		got, err := elsewhere.Get(ctx, tok.ID)
		require.NoError(t, err)
		require.Zero(t, got.Used, "a refusal is no use")
		_, err = acme.Verify(ctx, latchkey.Presented{Secret: secret.Reveal()})
		require.NoError(t, err)
		time.Sleep(time.Second)
		synctest.Wait()
		got, err = elsewhere.Get(ctx, tok.ID)
		require.NoError(t, err)
		require.NotZero(t, got.Used)
		require.NoError(t, keys.Close(ctx))
	})
}

// stuck is a store that does not answer AddUsage until leave is closed.
type stuck struct {
	latchkey.Store
	entered, leave chan struct{}
}

func (s *stuck) AddUsage(context.Context, latchkey.UsageBatch) error {
	s.entered <- struct{}{}
	<-s.leave
	return latchkey.ErrUnavailable
}

// A reader, and Close, wait for last uses that are being written only as long as their context allows.
func TestAStuckBatchOfLastUsesBlocksNoCaller(t *testing.T) {
	store := &stuck{Store: memstore.New(nil), entered: make(chan struct{}), leave: make(chan struct{})}
	keys := latchkey.New(store, nil)
	acme := keys.For("acme")
	tok, secret, err := acme.Issue(t.Context(), latchkey.Spec{Kind: latchkey.KindSecret})
	require.NoError(t, err)
	_, err = keys.Verify(t.Context(), latchkey.Presented{Secret: secret.Reveal()})
	require.NoError(t, err)
	<-store.entered // the batch is under way
	done := make(chan error, 2)
	go func() {
		ctx, cancel := context.WithTimeout(t.Context(), 10*time.Millisecond)
		defer cancel()
		_, err := acme.Get(ctx, tok.ID)
		done <- err
		done <- keys.Close(ctx)
	}()
	for range 2 {
		select {
		case err := <-done:
			assert.ErrorIs(t, err, context.DeadlineExceeded)
		case <-time.After(time.Minute):
			t.Error("it waits for the batch")
		}
	}
	close(store.leave)
}

func TestIdle(t *testing.T) {
	t.Run("slides, up to the cap", func(t *testing.T) {
		w := newWorld(t)
		_, secret := w.issue(latchkey.KindSession, latchkey.Settings{
			Validity: latchkey.Validity{NotAfter: w.now().Add(time.Hour), Idle: 20 * time.Minute}})
		for range 3 {
			w.turn(19 * time.Minute)
			w.access(secret)
		}
		w.turn(2 * time.Minute)
		w.access(secret)
		w.turn(time.Minute) // 60 minutes: the cap, however busy
		_, err := w.verify(secret)
		w.is(latchkey.ErrExpired, err)
	})
	t.Run("never used", func(t *testing.T) {
		w := newWorld(t)
		_, secret := w.issue(latchkey.KindAPIKey, latchkey.Settings{Validity: latchkey.Validity{Idle: 20 * time.Minute}})
		w.turn(20 * time.Minute)
		_, err := w.verify(secret)
		w.is(latchkey.ErrExpired, err)
	})
	t.Run("not used for long", func(t *testing.T) {
		w := newWorld(t)
		_, secret := w.issue(latchkey.KindAPIKey, latchkey.Settings{Validity: latchkey.Validity{Idle: 20 * time.Minute}})
		w.turn(10 * time.Minute)
		w.access(secret)
		w.turn(20 * time.Minute)
		for range 2 {
			_, err := w.verify(secret)
			w.is(latchkey.ErrExpired, err)
		}
	})
	t.Run("used on another node", func(t *testing.T) {
		w := newWorld(t)
		_, secret := w.issue(latchkey.KindAPIKey, latchkey.Settings{Validity: latchkey.Validity{Idle: 20 * time.Minute}})
		o := w.options()
		node := latchkey.New(w.store, &o)
		w.access(secret)
		for range 4 {
			w.turn(15 * time.Minute)
			_, err := node.Verify(w.ctx, latchkey.Presented{Secret: secret})
			w.ok(err)
		}
		w.ok(node.Close(w.ctx))
		w.access(secret) // looks idle here; the store knows better
	})
	t.Run("a parent that idles out takes its children along", func(t *testing.T) {
		w := newWorld(t)
		_, secret := w.issue(latchkey.KindAPIKey, latchkey.Settings{
			Permissions: latchkey.Permissions{readAll()}, Validity: latchkey.Validity{Idle: 20 * time.Minute}})
		_, child := w.mint(w.access(secret), latchkey.Narrowing{Lifetime: 24 * time.Hour})
		w.turn(15 * time.Minute)
		w.access(child)
		w.access(secret)
		w.turn(15 * time.Minute)
		w.access(child) // its use is not the parent's, but the parent was used too
		w.turn(5 * time.Minute)
		for range 2 {
			_, err := w.verify(child)
			w.is(latchkey.ErrParent, err)
		}
	})
}

func TestLastUse(t *testing.T) {
	w := newWorld(t)
	tok, secret := w.key()
	w.turn(time.Second)
	w.access(secret)
	first := w.now()
	got, err := w.acme.Get(w.ctx, tok.ID)
	w.ok(err)
	assert.Equal(t, first, got.Used, "a process reads its own uses")
	w.turn(5 * time.Minute)
	w.access(secret)
	got, err = w.acme.Get(w.ctx, tok.ID)
	w.ok(err)
	assert.Equal(t, first, got.Used, "it moved by less than ten minutes")
	w.turn(5 * time.Minute)
	w.access(secret)
	w.ok(w.keys.Close(w.ctx))
	f, err := w.store.Load(w.ctx, "acme", tok.ID)
	w.ok(err)
	assert.Equal(t, w.now(), f.Token.Used, "Close writes what waits")
	assert.Equal(t, uint64(1), f.Token.Version)
}

// Which uses are written by a process that does not have the token in its cache: those that move the last use by ten
// minutes, and by a second for a secret that ends.
func TestLastUseOfATokenThatIsNotCached(t *testing.T) {
	for _, c := range []struct {
		name string
		ends bool
		step time.Duration
	}{
		{"a secret without an end", false, 10 * time.Minute},
		{"a secret that was rotated", true, time.Second},
	} {
		w := newWorld(t)
		tok, secret := w.key()
		if c.ends {
			_, err := w.acme.Rotate(w.ctx, tok.ID, time.Hour)
			w.ok(err)
		}
		use := func() time.Time {
			o := w.options()
			keys := latchkey.New(w.store, &o)
			a, err := keys.Verify(w.ctx, latchkey.Presented{Secret: secret})
			w.ok(err)
			require.Equal(t, tok.ID, a.TokenID())
			w.ok(keys.Close(w.ctx))
			f, err := w.store.Load(w.ctx, "acme", tok.ID)
			w.ok(err)
			return f.Token.Used
		}
		w.turn(time.Hour / 2)
		first := w.now()
		require.Equal(t, first, use(), c.name)
		w.turn(c.step - time.Microsecond)
		require.Equal(t, first, use(), c.name)
		w.turn(time.Microsecond)
		require.Equal(t, w.now(), use(), c.name)
	}
}

// A use that follows another by less than a twentieth of Idle is not written. That is days if Idle is months, and Purge
// removes no token that such a use keeps alive.
func TestPurgeAllowsForUsesThatAreNotWritten(t *testing.T) {
	const day = 24 * time.Hour
	for _, idle := range []time.Duration{20 * day, 60 * day, 400 * day} {
		synctest.Test(t, func(t *testing.T) {
			ctx := t.Context()
			keys := latchkey.New(memstore.New(nil), nil)
			acme := keys.For("acme")
			tok, secret, err := acme.Issue(ctx, latchkey.Spec{Kind: latchkey.KindAPIKey,
				Validity: latchkey.Validity{Idle: idle}})
			require.NoError(t, err)
			use := func() error {
				_, err := keys.Verify(ctx, latchkey.Presented{Secret: secret.Reveal()})
				return err
			}
			require.NoError(t, use())
			time.Sleep(idle/20 - time.Hour)
			require.NoError(t, use())
			time.Sleep(idle - time.Hour)
			_, err = keys.Purge(ctx)
			require.NoError(t, err)
			require.NoError(t, use(), "it was used less than Idle ago")
			time.Sleep(time.Second)
			got, err := acme.Get(ctx, tok.ID)
			require.NoError(t, err)
			require.Equal(t, time.Now().Add(-time.Second).UTC(), got.Used)

			// It goes in the end: a twentieth of Idle, and KeepExpired, after it idled out.
			time.Sleep(idle + idle/20 + day - 2*time.Second)
			_, err = keys.Purge(ctx)
			require.NoError(t, err)
			_, err = acme.Get(ctx, tok.ID)
			require.NoError(t, err)
			time.Sleep(2 * time.Second)
			_, err = keys.Purge(ctx)
			require.NoError(t, err)
			_, err = acme.Get(ctx, tok.ID)
			require.ErrorIs(t, err, latchkey.ErrNotFound)
			require.NoError(t, keys.Close(ctx))
		})
	}
}

// A use by one secret counts for the token's other secret, and for what the token minted, before it is written.
func TestASecretKeepsItsTokenFromIdlingOut(t *testing.T) {
	w := newWorld(t)
	token, first := w.issue(latchkey.KindAPIKey, latchkey.Settings{
		Permissions: latchkey.Permissions{latchkey.Allow(latchkey.Read).On("*")},
		Validity:    latchkey.Validity{Idle: time.Hour}})
	rotated, err := w.acme.Rotate(w.ctx, token.ID, 24*time.Hour)
	w.ok(err)
	second := rotated.Reveal()
	_, child := w.mint(w.access(second), latchkey.Narrowing{Lifetime: 24 * time.Hour})
	for _, secret := range []string{first, second, child, first, second, child} {
		w.access(secret)
	}
	reads := w.store.lookups.Load()
	w.turn(2 * time.Minute)
	w.access(first)
	w.turn(59 * time.Minute)
	w.access(child)
	w.access(second)
	require.Equal(t, reads, w.store.lookups.Load())
	w.turn(time.Hour)
	for _, secret := range []string{child, first, second} {
		_, err = w.verify(secret)
		require.ErrorIs(t, err, latchkey.ErrInvalidToken)
	}
}

// A use that is not written yet counts after the cached token has made room for others.
func TestAUseOutlivesTheCachedToken(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx := t.Context()
		var now atomic.Int64
		now.Store(time.Now().UnixMicro())
		clock := func() time.Time { return time.UnixMicro(now.Load()).UTC() }
		store := memstore.New(&memstore.Options{Clock: clock})
		keys := latchkey.New(store, &latchkey.Options{CacheTokens: 8, Clock: clock})
		defer func() { require.NoError(t, keys.Close(context.Background())) }()
		acme := keys.For("acme")
		use := func(key latchkey.Secret) error {
			_, err := acme.Verify(ctx, latchkey.Presented{Secret: key.Reveal()})
			return err
		}
		issue := func(idle time.Duration) latchkey.Secret {
			_, key, err := acme.Issue(ctx, latchkey.Spec{Kind: latchkey.KindAPIKey,
				Validity: latchkey.Validity{Idle: idle}})
			require.NoError(t, err)
			return key
		}
		key := issue(100 * time.Second)
		for range 3 { // nothing is written meanwhile: no time passes but that of the clock
			for range 2 { // the second is one of the cached token
				now.Add(60e6)
				require.NoError(t, use(key))
			}
			for range 40 {
				require.NoError(t, use(issue(0)))
			}
		}
		require.NotZero(t, keys.Stats().Cache.Evicted)
		now.Add(100e6)
		require.ErrorIs(t, use(key), latchkey.ErrExpired)
	})
}

// A stateless token has no record in which its use could be kept, so none is written of it, cached or not.
func TestNoUseOfAStatelessTokenIsWritten(t *testing.T) {
	for name, cache := range map[string]int{"cached": 0, "not cached": -1} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t, withKeys)
			_, key := w.key(readAll())
			_, page := w.mint(w.access(key), latchkey.Narrowing{Stateless: true, Lifetime: 10 * time.Hour})
			store := &batches{Store: w.store}
			o := w.options()
			withKeys(&o)
			o.CacheTokens = cache
			keys := latchkey.New(store, &o)
			for range 4 {
				w.turn(time.Hour)
				for range 2 {
					_, err := keys.Verify(w.ctx, latchkey.Presented{Secret: page})
					w.ok(err)
				}
			}
			w.ok(keys.Close(w.ctx))
			require.Zero(t, store.uses.Load())
		})
	}
}
