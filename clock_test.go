package latchkey_test

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"
	"unsafe"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/latchkey-go/latchkey"
	"github.com/latchkey-go/latchkey/memstore"
)

// clocks is a set of nodes over one store. Each has a clock of its own, which may be off the true time, stand still, or
// be wrong once.
type clocks struct {
	*testing.T
	ctx   context.Context
	mu    sync.Mutex
	true  time.Time
	db    *offClock
	store *meddler
	open  []*latchkey.Manager
}

type offClock struct {
	c     *clocks
	off   time.Duration
	still time.Time     // not zero: it stands
	once  time.Duration // off by so much more, at the next reading
}

func (o *offClock) now() time.Time {
	o.c.mu.Lock()
	defer o.c.mu.Unlock()
	at := o.c.true.Add(o.off + o.once)
	o.once = 0
	if !o.still.IsZero() {
		return o.still
	}
	return at
}

func (o *offClock) set(change func(o *offClock)) {
	o.c.mu.Lock()
	defer o.c.mu.Unlock()
	change(o)
}

func newClocks(t *testing.T) *clocks {
	c := &clocks{T: t, ctx: t.Context(), true: time.Date(2026, 11, 22, 10, 0, 0, 0, time.UTC)}
	c.db = &offClock{c: c}
	c.store = &meddler{Store: memstore.New(&memstore.Options{Clock: c.db.now})}
	t.Cleanup(func() {
		for _, m := range c.open {
			_ = m.Close(context.Background())
		}
	})
	return c
}

func (c *clocks) turn(d time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.true = c.true.Add(d)
}

func (c *clocks) node(off time.Duration, change ...func(*latchkey.Options)) (*latchkey.Manager, *offClock) {
	o := &offClock{c: c, off: off}
	opts := latchkey.Options{Clock: o.now}
	for _, f := range change {
		f(&opts)
	}
	m := latchkey.New(c.store, &opts)
	c.open = append(c.open, m)
	return m, o
}

func (c *clocks) issue(m *latchkey.Manager, set latchkey.Settings) (latchkey.Token, string) {
	c.Helper()
	t, s, err := m.For("acme").Issue(c.ctx, set.Spec(latchkey.KindAPIKey))
	require.NoError(c, err)
	return t, s.Reveal()
}

func (c *clocks) verify(m *latchkey.Manager, secret string) error {
	_, err := m.Verify(c.ctx, latchkey.Presented{Secret: secret})
	return err
}

func (c *clocks) access(m *latchkey.Manager, secret string) latchkey.Access {
	c.Helper()
	a, err := m.Verify(c.ctx, latchkey.Presented{Secret: secret})
	require.NoError(c, err)
	return a
}

func (c *clocks) endAll(m *latchkey.Manager, at time.Time) error {
	return m.For("acme").Configure(c.ctx, func(o *latchkey.Owner) error { o.NotBefore = at; return nil })
}

// While the clocks differ, every call returns ErrUnavailable, whichever clock is wrong. Calls work again when they
// agree.
func TestClocksThatDiffer(t *testing.T) {
	ways := map[string]func(c *clocks, m *latchkey.Manager, tok latchkey.Token, cached, fresh string,
		a latchkey.Access) error{
		"Verify, cached": func(c *clocks, m *latchkey.Manager, _ latchkey.Token, cached, _ string, _ latchkey.Access) error {
			return c.verify(m, cached)
		},
		"Verify, of the store": func(c *clocks, m *latchkey.Manager, _ latchkey.Token, _, fresh string,
			_ latchkey.Access) error {
			return c.verify(m, fresh)
		},
		"Again": func(c *clocks, m *latchkey.Manager, _ latchkey.Token, _, _ string, a latchkey.Access) error {
			_, err := a.Again(c.ctx)
			return err
		},
		"Mint": func(c *clocks, m *latchkey.Manager, _ latchkey.Token, _, _ string, a latchkey.Access) error {
			_, _, err := a.Mint(c.ctx, latchkey.Narrowing{Lifetime: time.Minute})
			return err
		},
		"Issue": func(c *clocks, m *latchkey.Manager, _ latchkey.Token, _, _ string, _ latchkey.Access) error {
			_, _, err := m.For("acme").Issue(c.ctx, latchkey.Spec{Kind: latchkey.KindAPIKey})
			return err
		},
		"Rotate": func(c *clocks, m *latchkey.Manager, tok latchkey.Token, _, _ string, _ latchkey.Access) error {
			_, err := m.For("acme").Rotate(c.ctx, tok.ID, time.Hour)
			return err
		},
		"Spend": func(c *clocks, m *latchkey.Manager, _ latchkey.Token, _, _ string, a latchkey.Access) error {
			return spend(c.ctx, a, "reads", 1)
		},
		"Purge": func(c *clocks, m *latchkey.Manager, _ latchkey.Token, _, _ string, _ latchkey.Access) error {
			_, err := m.Purge(c.ctx)
			return err
		},
		"Configure": func(c *clocks, m *latchkey.Manager, _ latchkey.Token, _, _ string, _ latchkey.Access) error {
			return c.endAll(m, c.true.Add(-24*time.Hour))
		},
	}
	for off, bad := range map[time.Duration]bool{
		61 * time.Second: true, -61 * time.Second: true, 365 * 24 * time.Hour: true, -365 * 24 * time.Hour: true,
		59 * time.Second: false, -59 * time.Second: false,
	} {
		for whose := range 2 {
			for name, way := range ways {
				t.Run(fmt.Sprint(name, " ", []string{"store", "node"}[whose], " ", off), func(t *testing.T) {
					c := newClocks(t)
					m, own := c.node(0)
					c.turn(48 * time.Hour)
					limits := latchkey.Settings{Limits: monthly(1000)}
					tok, cached := c.issue(m, limits)
					_, fresh := c.issue(m, limits)
					a := c.access(m, cached)
					wrong := []*offClock{c.db, own}[whose]
					c.turn(2 * time.Second) // for a second a clock that was right is taken to go right
					wrong.set(func(o *offClock) { o.off = off })
					if err := way(c, m, tok, cached, fresh, a); bad {
						require.ErrorIs(t, err, latchkey.ErrUnavailable)
						require.NotErrorIs(t, err, latchkey.ErrInvalidToken)
						require.ErrorContains(t, err, "clock")
					} else {
						require.NoError(t, err)
					}
					wrong.set(func(o *offClock) { o.off = 0 })
					require.NoError(t, way(c, m, tok, cached, fresh, a), "it heals by itself")
				})
			}
		}
	}
}

// Calls that end a token do not depend on a clock.
func TestRevocationNeedsNoClock(t *testing.T) {
	c := newClocks(t)
	m, own := c.node(0)
	var ids []string
	for range 4 {
		tok, _ := c.issue(m, latchkey.Settings{})
		ids = append(ids, tok.ID)
	}
	own.set(func(o *offClock) { o.off = 1000 * time.Hour })
	acme := m.For("acme")
	require.NoError(t, acme.Revoke(c.ctx, ids[0], ""))
	require.NoError(t, acme.Delete(c.ctx, ids[1]))
	_, err := acme.Update(c.ctx, ids[2], func(t *latchkey.Token) error { t.Disabled = true; return nil })
	require.NoError(t, err)
	_, err = acme.Rotate(c.ctx, ids[3], 0)
	require.NoError(t, err)
	require.NoError(t, acme.Configure(c.ctx, func(o *latchkey.Owner) error { o.Disabled = true; return nil }))
	require.NoError(t, acme.Configure(c.ctx, func(o *latchkey.Owner) error { o.NotBefore = time.Time{}; return nil }))
}

// One wrong reading of either clock has no effect later.
func TestOneWrongClockReading(t *testing.T) {
	for _, wrong := range []time.Duration{365 * 24 * time.Hour, -365 * 24 * time.Hour, 2 * time.Hour, -2 * time.Hour} {
		for whose := range 2 {
			t.Run(fmt.Sprint([]string{"store", "node"}[whose], " ", wrong), func(t *testing.T) {
				c := newClocks(t)
				m, own := c.node(0)
				_, secret := c.issue(m, latchkey.Settings{Validity: latchkey.Validity{NotAfter: c.true.Add(time.Hour),
					Idle: 30 * time.Minute},
					Limits: monthly(100)})
				_, ended := c.issue(m, latchkey.Settings{Validity: latchkey.Validity{NotAfter: c.true.Add(time.Minute)}})
				a := c.access(m, secret)
				require.NoError(t, c.verify(m, ended))
				c.turn(2 * time.Minute)
				once := func() { []*offClock{c.db, own}[whose].set(func(o *offClock) { o.once = wrong }) }
				for _, s := range []string{secret, ended} {
					once()
					err := c.verify(m, s)
					require.Error(t, err)
					require.True(t, s == ended || !isToken(err), "%v", err)
				}
				once()
				if child, _, err := a.Mint(c.ctx, latchkey.Narrowing{Lifetime: 15 * time.Minute}); err == nil {
					require.WithinDuration(t, c.true.Add(15*time.Minute), child.Validity.NotAfter, time.Minute)
				} else {
					require.ErrorIs(t, err, latchkey.ErrUnavailable)
				}
				once()
				if _, err := m.Purge(c.ctx); err != nil {
					require.ErrorIs(t, err, latchkey.ErrUnavailable)
				}
				// All is as if nothing had been.
				[]*offClock{c.db, own}[whose].set(func(o *offClock) { o.once = 0 })
				a = c.access(m, secret)
				require.Error(t, c.verify(m, ended))
				require.NoError(t, spend(c.ctx, a, "reads", 1))
				child, s, err := a.Mint(c.ctx, latchkey.Narrowing{Lifetime: 15 * time.Minute})
				require.NoError(t, err)
				require.Equal(t, c.true.Add(15*time.Minute), child.Validity.NotAfter)
				require.NoError(t, c.verify(m, s.Reveal()))
				c.turn(29 * time.Minute)
				require.NoError(t, c.verify(m, secret))
				require.ErrorIs(t, c.verify(m, s.Reveal()), latchkey.ErrExpired)
				c.turn(30 * time.Minute)
				require.ErrorIs(t, c.verify(m, secret), latchkey.ErrExpired)
			})
		}
	}
}

// isToken reports whether an error is about the token.
func isToken(err error) bool { return errors.Is(err, latchkey.ErrInvalidToken) }

// A clock that stands still is noticed within a minute.
func TestStoppedClock(t *testing.T) {
	for whose := range 2 {
		for _, stale := range []time.Duration{0, 10 * time.Second} {
			c := newClocks(t)
			m, own := c.node(0, func(o *latchkey.Options) { o.MaxStale = stale })
			_, secret := c.issue(m, latchkey.Settings{Validity: latchkey.Validity{NotAfter: c.true.Add(50 * time.Second)}})
			require.NoError(t, c.verify(m, secret))
			stands := []*offClock{c.db, own}[whose]
			stands.set(func(o *offClock) { o.still = c.true })
			c.turn(61 * time.Second)
			if whose == 1 && stale > 0 {
				continue // the node has only its own clock to notice that the bound is over
			}
			require.Error(t, c.verify(m, secret))
			stands.set(func(o *offClock) { o.still = time.Time{} })
			require.ErrorIs(t, c.verify(m, secret), latchkey.ErrExpired)
		}
	}
}

// slow is a store whose clock is slow to read.
type slow struct{ latchkey.Store }

func (s slow) Changes(ctx context.Context, feed latchkey.FeedID, after uint64, n int) (latchkey.Feed, error) {
	time.Sleep(time.Millisecond)
	return s.Store.Changes(ctx, feed, after, n)
}

// The same if the store's clock is not read each time: it is read once enough time has passed.
func TestStoppedClockWithASlowStore(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		stands := time.Now()
		m := latchkey.New(slow{memstore.New(nil)}, &latchkey.Options{Clock: func() time.Time { return stands }})
		_, secret, err := m.For("acme").Issue(t.Context(), latchkey.Spec{Kind: latchkey.KindAPIKey})
		require.NoError(t, err)
		a, err := m.Verify(t.Context(), latchkey.Presented{Secret: secret.Reveal()})
		require.NoError(t, err)
		time.Sleep(30 * time.Second)
		_, err = a.Again(t.Context())
		require.NoError(t, err)
		time.Sleep(31 * time.Second)
		_, err = a.Again(t.Context())
		require.ErrorIs(t, err, latchkey.ErrUnavailable)
		require.NoError(t, m.Close(t.Context()))
	})
}

// After both clocks were wrong together and are set right, new records have the right times. What had expired stays
// expired for an hour.
func TestBothClocksSetBack(t *testing.T) {
	c := newClocks(t)
	m, own := c.node(0, func(o *latchkey.Options) { o.CreditLease = nil })
	both := func(d time.Duration) {
		own.set(func(o *offClock) { o.off = d })
		c.db.set(func(o *offClock) { o.off = d })
	}
	_, secret := c.issue(m, latchkey.Settings{Limits: monthly(100)})
	_, ends := c.issue(m, latchkey.Settings{Validity: latchkey.Validity{NotAfter: c.true.Add(30 * 24 * time.Hour)}})
	both(365 * 24 * time.Hour)
	c.access(m, secret)
	require.ErrorIs(t, c.verify(m, ends), latchkey.ErrExpired)
	both(0)
	a := c.access(m, secret)
	require.ErrorIs(t, c.verify(m, ends), latchkey.ErrExpired)
	_, _, err := a.Mint(c.ctx, latchkey.Narrowing{Lifetime: 15 * time.Minute})
	require.ErrorIs(t, err, latchkey.ErrUnavailable, "it would be dead, or live for a year")
	require.NoError(t, spend(c.ctx, a, "reads", 30))
	_, err = c.store.Reserve(c.ctx, latchkey.Reservation{Owner: "acme", Key: [16]byte{1}, Amount: 71,
		Accounts: []latchkey.CreditAccount{
			{TokenID: a.TokenID(), Meter: "reads", Period: "2026-11", Limit: 100}}})
	require.ErrorIs(t, err, latchkey.ErrOverLimit, "the month is the right one")
	for range 61 {
		c.turn(time.Minute)
		c.access(m, secret)
	}
	require.NoError(t, c.verify(m, ends))
	child, s, err := a.Mint(c.ctx, latchkey.Narrowing{Lifetime: 15 * time.Minute})
	require.NoError(t, err)
	require.Equal(t, c.true.Add(15*time.Minute), child.Validity.NotAfter)
	require.NoError(t, c.verify(m, s.Reveal()))
}

// Purge removes nothing by one clock alone.
func TestPurgeByTwoClocks(t *testing.T) {
	for _, off := range []time.Duration{2 * time.Minute, 48 * time.Hour, 365 * 24 * time.Hour} {
		for whose := range 2 {
			c := newClocks(t)
			m, own := c.node(0)
			_, secret := c.issue(m, latchkey.Settings{Validity: latchkey.Validity{NotAfter: c.true.Add(time.Minute)}})
			tok, _ := c.issue(m, latchkey.Settings{Validity: latchkey.Validity{Idle: time.Hour}})
			_, err := m.For("acme").Rotate(c.ctx, tok.ID, time.Minute)
			require.NoError(t, err)
			require.NoError(t, c.store.Once(c.ctx, "acme", [32]byte{1}, c.true.Add(time.Minute)))
			_, err = c.store.Reserve(c.ctx, latchkey.Reservation{Owner: "acme", Key: [16]byte{1}, Amount: 1,
				Until:    c.true.Add(time.Minute),
				Accounts: []latchkey.CreditAccount{{Meter: "m", Period: "2026-11", Limit: 1}}})
			require.NoError(t, err)
			[]*offClock{c.db, own}[whose].set(func(o *offClock) { o.off = off })
			n, err := m.Purge(c.ctx)
			require.ErrorIs(t, err, latchkey.ErrUnavailable)
			require.ErrorContains(t, err, "nothing was purged")
			require.Zero(t, n)
			require.ErrorIs(t, c.store.Once(c.ctx, "acme", [32]byte{1}, c.true), latchkey.ErrExists)
			secrets, err := c.store.Secrets(c.ctx, "acme", tok.ID)
			require.NoError(t, err)
			require.Len(t, secrets, 2)
			require.NoError(t, c.store.Settle(c.ctx, "acme", [16]byte{1}, 1))
			[]*offClock{c.db, own}[whose].set(func(o *offClock) { o.off = 0 })
			require.NoError(t, c.verify(m, secret))
		}
	}
	// Within the bound it is the clock that is behind which decides.
	c := newClocks(t)
	m, _ := c.node(50 * time.Second)
	require.NoError(t, c.store.Once(c.ctx, "acme", [32]byte{1}, c.true.Add(40*time.Second)))
	_, err := m.Purge(c.ctx)
	require.NoError(t, err)
	require.ErrorIs(t, c.store.Once(c.ctx, "acme", [32]byte{1}, c.true), latchkey.ErrExists)
}

// Times are stored to the microsecond, so durations below one are refused.
func TestTimesBelowAMicrosecond(t *testing.T) {
	c := newClocks(t)
	m, _ := c.node(0)
	tok, secret := c.issue(m, latchkey.Settings{})
	a := c.access(m, secret)
	acme := m.For("acme")
	for _, d := range []time.Duration{1, 999} {
		_, _, err := a.Mint(c.ctx, latchkey.Narrowing{Lifetime: d})
		assert.ErrorIs(t, err, latchkey.ErrInvalid)
		_, _, err = a.Mint(c.ctx, latchkey.Narrowing{Lifetime: time.Hour, Idle: d})
		assert.ErrorIs(t, err, latchkey.ErrInvalid)
		_, err = acme.Rotate(c.ctx, tok.ID, d)
		assert.ErrorIs(t, err, latchkey.ErrInvalid)
		_, _, err = acme.Issue(c.ctx, latchkey.Spec{Kind: latchkey.KindSession,
			Validity: latchkey.Validity{NotAfter: c.true.Add(d)}})
		assert.ErrorIs(t, err, latchkey.ErrInvalid)
		rate := latchkey.Limits{Rate: latchkey.Rate{Count: 1, Per: d}}
		_, _, err = acme.Issue(c.ctx, latchkey.Spec{Kind: latchkey.KindAPIKey, Limits: rate})
		assert.ErrorIs(t, err, latchkey.ErrInvalid)
		_, _, err = a.Mint(c.ctx, latchkey.Narrowing{Lifetime: time.Hour, Limits: rate})
		assert.ErrorIs(t, err, latchkey.ErrInvalid)
		assert.ErrorIs(t, acme.Configure(c.ctx, func(o *latchkey.Owner) error { o.Limits = rate; return nil }),
			latchkey.ErrInvalid)
	}
	child, _, err := a.Mint(c.ctx, latchkey.Narrowing{Lifetime: time.Microsecond})
	require.NoError(t, err)
	assert.True(t, child.Validity.NotAfter.After(child.Created))
}

// A last use in the future, which a wrong clock wrote, refuses no caller. It does not extend the token until then
// either.
func TestLastUseInTheFuture(t *testing.T) {
	c := newClocks(t)
	m, _ := c.node(0)
	tok, secret := c.issue(m, latchkey.Settings{Validity: latchkey.Validity{Idle: time.Hour}})
	require.NoError(t, c.store.AddUsage(c.ctx, latchkey.UsageBatch{ID: [16]byte{1}, At: c.true,
		Last: []latchkey.LastUsed{{Owner: "acme", TokenID: tok.ID, At: c.true.Add(365 * 24 * time.Hour)}}}))
	require.NoError(t, c.verify(m, secret))
	c.turn(59 * time.Minute)
	require.NoError(t, c.verify(m, secret))
	c.turn(time.Hour)
	require.ErrorIs(t, c.verify(m, secret), latchkey.ErrExpired)
	require.ErrorIs(t, c.verify(m, secret), latchkey.ErrExpired)
}

// Purge fails once if this machine's clock was set and no other clock shows it.
func TestPurgeAfterAClockStep(t *testing.T) {
	var off atomic.Int64
	// Readings whose wall clock is off, with the monotonic clock as it is.
	clock := func() time.Time { return wallShifted(time.Now(), time.Duration(off.Load())) }
	store := memstore.New(&memstore.Options{Clock: clock})
	m := latchkey.New(store, &latchkey.Options{Clock: clock})
	_, err := m.Purge(t.Context())
	require.NoError(t, err)
	for _, step := range []time.Duration{365 * 24 * time.Hour, 0} {
		off.Store(int64(step))
		n, err := m.Purge(t.Context())
		require.ErrorIs(t, err, latchkey.ErrUnavailable)
		require.ErrorContains(t, err, "was set by")
		require.Zero(t, n)
		_, err = m.Purge(t.Context())
		require.NoError(t, err)
	}
}

// wallShifted is a reading of time.Now whose wall clock says otherwise, by whole seconds.
func wallShifted(at time.Time, by time.Duration) time.Time {
	r := (*struct {
		wall uint64
		ext  int64
		loc  *time.Location
	})(unsafe.Pointer(&at))
	r.wall += uint64(by/time.Second) << 30
	return at
}

func TestClockSetBackKeepsTokensExpired(t *testing.T) {
	w := newWorld(t)
	_, secret := w.issue(latchkey.KindAPIKey,
		latchkey.Settings{Validity: latchkey.Validity{NotAfter: w.now().Add(time.Hour)}})
	_, live := w.key()
	w.access(live)
	w.turn(time.Hour)
	w.access(live) // the store's clock is seen
	_, err := w.verify(secret)
	w.is(latchkey.ErrExpired, err)
	w.turn(-2 * time.Hour)
	_, err = w.verify(secret)
	w.is(latchkey.ErrExpired, err)
}
