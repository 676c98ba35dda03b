package latchkey_test

import (
	"bytes"
	"context"
	"fmt"
	"log/slog"
	"net/netip"
	"reflect"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/latchkey-go/latchkey"
	"github.com/latchkey-go/latchkey/internal/visit"
	"github.com/latchkey-go/latchkey/latchkeytest"
	"github.com/latchkey-go/latchkey/memstore"
)

// ear keeps what an Observer was told. It is safe for concurrent use.
type ear struct {
	mu       sync.Mutex
	verified []latchkey.Verification
	minted   []latchkey.Minting
	changed  []latchkey.Event
	leased   []latchkey.Leasing
	failed   []latchkey.Failure
}

func hear[T any](e *ear, list *[]T) func(context.Context, T) {
	return func(_ context.Context, what T) {
		e.mu.Lock()
		defer e.mu.Unlock()
		*list = append(*list, what)
	}
}

// take returns what was heard of one member since its last call.
func take[T any](e *ear, list *[]T) []T {
	e.mu.Lock()
	defer e.mu.Unlock()
	got := *list
	*list = nil
	return got
}

func (e *ear) observer() latchkey.Observer {
	return latchkey.Observer{Verified: hear(e, &e.verified), Minted: hear(e, &e.minted), Changed: hear(e, &e.changed),
		Leased: hear(e, &e.leased), Failed: hear(e, &e.failed)}
}

func newEar(t *testing.T, change ...func(*latchkey.Options)) (*world, *ear) {
	e := &ear{}
	return newWorld(t, append(change, func(o *latchkey.Options) { o.Observer = e.observer() })...), e
}

// closed is a surface that lets nobody read the store.
type closed struct{ err error }

func (c closed) Enter(context.Context) error { return c.err }
func (closed) Leave(bool)                    {}
func (closed) Refused(any)                   {}

// Each Verify and each Again is told of once, with what decided.
func TestVerificationsAreObserved(t *testing.T) {
	w, e := newEar(t)
	token, secret := w.key(readAll())
	one := func(err error) latchkey.Verification {
		t.Helper()
		got := take(e, &e.verified)
		require.Len(t, got, 1)
		v := got[0]
		require.Equal(t, err, v.Err)
		require.Equal(t, v.Source == latchkey.SourceStore, !v.Start.IsZero(), "a time only where the store was read")
		require.GreaterOrEqual(t, v.Duration, time.Duration(0))
		v.Start, v.Duration, v.Err = time.Time{}, 0, nil
		return v
	}
	known := latchkey.Verification{Outcome: "ok", Source: latchkey.SourceStore, Kind: latchkey.KindAPIKey, Owner: "acme"}
	a, err := w.verify(secret)
	w.ok(err)
	require.Equal(t, known, one(nil))
	_, err = w.acme.Verify(w.ctx, latchkey.Presented{Secret: secret})
	w.ok(err)
	cached := known
	cached.Source = latchkey.SourceCache
	require.Equal(t, cached, one(nil))
	again := known
	again.Again = true
	_, err = a.Again(w.ctx)
	w.ok(err)
	require.Equal(t, again, one(nil))

	// Texts that are no token.
	_, other, err := latchkey.New(w.store, &latchkey.Options{Clock: w.now}).For("acme").Issue(w.ctx,
		latchkey.Spec{Kind: latchkey.KindAPIKey})
	w.ok(err)
	for text, source := range map[string]latchkey.Source{"": latchkey.SourceNone, "nonsense": latchkey.SourceNone,
		string(bytes.Repeat([]byte("x"), 1000)): latchkey.SourceNone, unknownText(t): latchkey.SourceStore} {
		_, err = w.verify(text)
		w.is(latchkey.ErrUnknownToken, err)
		require.Equal(t, latchkey.Verification{Outcome: "unknown", Source: source}, one(latchkey.ErrUnknownToken), text)
	}

	// A gate, and a caller that leaves before its turn.
	limited := &latchkey.RateLimitError{}
	for outcome, err := range map[string]error{"limited": limited,
		"canceled": fmt.Errorf("%w: %w", latchkey.ErrUnavailable, context.Canceled)} {
		ctx := context.WithValue(w.ctx, visit.Key{}, visit.Visit(closed{err}))
		_, got := w.keys.Verify(ctx, latchkey.Presented{Secret: unknownText(t)})
		require.Equal(t, err, got)
		require.Equal(t, latchkey.Verification{Outcome: outcome, Source: latchkey.SourceNone}, one(err))
	}

	// The store is away: for a cached token, for another, and for Again.
	w.store.fail.Store(&latchkey.ErrUnavailable)
	_, err = w.verify(secret)
	w.is(latchkey.ErrUnavailable, err)
	require.Equal(t, latchkey.Verification{Outcome: "unavailable", Source: latchkey.SourceCache}, one(err))
	_, err = w.verify(other.Reveal())
	w.is(latchkey.ErrUnavailable, err)
	require.Equal(t, latchkey.Verification{Outcome: "unavailable", Source: latchkey.SourceStore}, one(err))
	_, err = a.Again(w.ctx)
	w.is(latchkey.ErrUnavailable, err)
	again.Outcome = "unavailable"
	require.Equal(t, again, one(err))
	canceled := fmt.Errorf("%w: %w", latchkey.ErrUnavailable, context.Canceled)
	w.store.fail.Store(&canceled)
	_, err = w.verify(other.Reveal())
	w.is(context.Canceled, err)
	require.Equal(t, latchkey.Verification{Outcome: "canceled", Source: latchkey.SourceStore}, one(err))
	w.store.fail.Store(nil)

	// What ends in the cache is decided by the store.
	ending, text := w.issue(latchkey.KindAPIKey, latchkey.Settings{Validity: latchkey.Validity{
		NotAfter: w.now().Add(time.Minute)}})
	w.access(text)
	require.Equal(t, known, one(nil))
	w.update(ending, func(t *latchkey.Token) { t.Validity.NotAfter = w.now().Add(time.Second) })
	w.access(text)
	require.Equal(t, known, one(nil))
	w.turn(time.Second)
	_, err = w.verify(text)
	w.is(latchkey.ErrExpired, err)
	expired := known
	expired.Outcome = "expired"
	require.Equal(t, expired, one(err))

	// Refusals of Again.
	w.ok(w.acme.Revoke(w.ctx, token.ID, ""))
	_, err = a.Again(w.ctx)
	w.is(latchkey.ErrRevoked, err)
	again.Outcome = "revoked"
	require.Equal(t, again, one(err))
	w.ok(w.acme.Delete(w.ctx, token.ID))
	_, err = a.Again(w.ctx)
	w.is(latchkey.ErrUnknownToken, err)
	again.Outcome = "deleted"
	require.Equal(t, again, one(err))

	// What is none: the zero Access, Narrow, an actor's call, and a Mint.
	_, err = latchkey.Access{}.Again(w.ctx)
	w.is(latchkey.ErrUnknownToken, err)
	_, text = w.issue(latchkey.KindAPIKey, latchkey.Settings{Permissions: admin()})
	a = w.access(text)
	require.Equal(t, known, one(nil))
	_, _, err = a.Mint(w.ctx, latchkey.Narrowing{Lifetime: time.Minute})
	w.ok(err)
	as := mustAs(w, a)
	for _, err := range as.Tokens(w.ctx, latchkey.TokenQuery{}) {
		w.ok(err)
	}
	require.Empty(t, take(e, &e.verified))

	// An Assumed caller has no kind.
	person, err := w.acme.Assume(latchkey.Client{ID: "7"}, nil)
	w.ok(err)
	_, err = person.Again(w.ctx)
	w.ok(err)
	again.Outcome, again.Kind = "ok", 0
	require.Equal(t, again, one(nil))
}

// unknownText is a token of another store.
func unknownText(t *testing.T) string {
	t.Helper()
	_, text := newWorld(t).key()
	return text
}

// How long a verification took is told where the store was asked, from the beginning of the call.
func TestDurationsOfVerifications(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store := &latchkeytest.Store{Store: memstore.New(nil)}
		var told []latchkey.Verification
		opts := latchkey.Options{MaxStale: time.Minute, Keyring: testKeyring(), Observer: latchkey.Observer{
			Verified: func(_ context.Context, v latchkey.Verification) { told = append(told, v) }}}
		other := latchkey.New(store, &opts)
		_, secret, err := other.For("acme").Issue(t.Context(), latchkey.Spec{Kind: latchkey.KindAPIKey})
		require.NoError(t, err)
		access, err := other.Verify(t.Context(), latchkey.Presented{Secret: secret.Reveal()})
		require.NoError(t, err)
		_, stateless, err := access.Mint(t.Context(), latchkey.Narrowing{Stateless: true, Lifetime: time.Hour})
		require.NoError(t, err)
		told = nil
		keys := latchkey.New(store, &opts)
		store.Fail(func(string) error { time.Sleep(time.Second); return nil })
		for range 2 {
			_, err = keys.Verify(t.Context(), latchkey.Presented{Secret: secret.Reveal()})
			require.NoError(t, err)
		}
		began := time.Now()
		_, foreign, err := latchkey.New(memstore.New(nil), nil).For("acme").Issue(t.Context(),
			latchkey.Spec{Kind: latchkey.KindAPIKey})
		require.NoError(t, err)
		_, err = keys.Verify(t.Context(), latchkey.Presented{Secret: foreign.Reveal()})
		require.ErrorIs(t, err, latchkey.ErrUnknownToken)
		require.Len(t, told, 3)
		require.Equal(t, latchkey.SourceStore, told[0].Source)
		require.GreaterOrEqual(t, told[0].Duration, time.Second)
		require.Equal(t, latchkey.SourceCache, told[1].Source)
		require.Zero(t, told[1].Duration)
		require.Equal(t, latchkey.SourceStore, told[2].Source)
		require.Positive(t, told[2].Duration)
		require.Equal(t, time.Since(began), told[2].Duration)

		starting := latchkey.New(store, &opts)
		began = time.Now()
		_, err = starting.Verify(t.Context(), latchkey.Presented{Secret: stateless.Reveal()})
		require.NoError(t, err)
		require.Equal(t, latchkey.SourceStore, told[3].Source)
		require.Positive(t, told[3].Duration)
		require.Equal(t, time.Since(began), told[3].Duration)
		store.Fail(nil)
		for _, m := range []*latchkey.Manager{keys, starting, other} {
			require.NoError(t, m.Close(t.Context()))
		}
	})
}

// The context of a callback is that of the call.
func TestObserverHasTheCallersContext(t *testing.T) {
	type key struct{}
	heard := map[string]bool{}
	check := func(name string) func(ctx context.Context) {
		return func(ctx context.Context) {
			heard[name] = ctx.Value(key{}) == "a span"
		}
	}
	w := newWorld(t, func(o *latchkey.Options) {
		o.Observer = latchkey.Observer{
			Verified: func(ctx context.Context, _ latchkey.Verification) { check("Verified")(ctx) },
			Refused:  func(ctx context.Context, _ latchkey.Refusal) { check("Refused")(ctx) },
			StoreCall: func(ctx context.Context, c latchkey.StoreCall) {
				if c.Op != "AddUsage" { // written at some time, by no caller
					check("StoreCall " + c.Op)(ctx)
				}
			},
			Minted:  func(ctx context.Context, _ latchkey.Minting) { check("Minted")(ctx) },
			Changed: func(ctx context.Context, _ latchkey.Event) { check("Changed")(ctx) },
		}
	})
	w.ctx = context.WithValue(w.ctx, key{}, "a span")
	token, secret := w.key(readAll())
	a := w.access(secret)
	w.mint(a, latchkey.Narrowing{})
	w.ok(w.acme.Revoke(w.ctx, token.ID, ""))
	_, err := w.verify(secret)
	w.is(latchkey.ErrRevoked, err)
	require.Equal(t, map[string]bool{"Verified": true, "Refused": true, "Minted": true, "Changed": true,
		"StoreCall Write": true, "StoreCall ByDigest": true, "StoreCall Epoch": true, "StoreCall Load": true,
		"StoreCall Changes": true, "StoreCall Owner": heard["StoreCall Owner"]}, withOwner(heard))
}

// withOwner ignores whether the owner was read.
func withOwner(heard map[string]bool) map[string]bool {
	if _, ok := heard["StoreCall Owner"]; !ok {
		heard["StoreCall Owner"] = false
	}
	return heard
}

// Each Mint is told of once, also one that had to begin again.
func TestMintsAreObserved(t *testing.T) {
	w, e := newEar(t)
	parent, secret := w.issue(latchkey.KindAPIKey, latchkey.Settings{Permissions: latchkey.Permissions{readAll()},
		Restrictions: latchkey.Restrictions{MintFrom: prefixes("192.0.2.0/24")}})
	a := mustVerify(w, latchkey.Presented{Secret: secret, Address: netip.MustParseAddr("192.0.2.1")})
	one := func(err error) latchkey.Minting {
		t.Helper()
		got := take(e, &e.minted)
		require.Len(t, got, 1)
		m := got[0]
		require.Equal(t, err, m.Err)
		require.False(t, m.Start.IsZero())
		require.GreaterOrEqual(t, m.Duration, time.Duration(0))
		m.Start, m.Duration, m.Err = time.Time{}, 0, nil
		return m
	}
	n := latchkey.Narrowing{Lifetime: time.Hour}
	child, _, err := a.Mint(w.ctx, n)
	w.ok(err)
	require.Equal(t, latchkey.Minting{Outcome: "ok", Owner: "acme", ParentID: parent.ID, TokenID: child.ID, Tries: 1},
		one(nil))

	// The parent changes while its child is written.
	done := w.store.before(func() {
		_, err := latchkey.New(w.store, &latchkey.Options{Clock: w.now}).For("acme").Update(w.ctx, parent.ID,
			func(t *latchkey.Token) error { t.Name = "new"; return nil })
		w.ok(err)
	})
	child, _, err = a.Mint(w.ctx, n)
	w.ok(err)
	require.True(t, done())
	require.Equal(t, latchkey.Minting{Outcome: "ok", Owner: "acme", ParentID: parent.ID, TokenID: child.ID, Tries: 2},
		one(nil))

	failed := latchkey.Minting{Owner: "acme", ParentID: parent.ID, Tries: 1}
	fails := func(outcome string, a latchkey.Access, n latchkey.Narrowing) {
		t.Helper()
		_, _, err := a.Mint(w.ctx, n)
		require.Error(t, err)
		failed.Outcome = outcome
		require.Equal(t, failed, one(err))
	}
	fails("invalid", a, latchkey.Narrowing{})
	outside := mustVerify(w, latchkey.Presented{Secret: secret, Address: netip.MustParseAddr("203.0.113.1")})
	fails("address", outside, n)
	w.configure(func(o *latchkey.Owner) { o.Policy.Children = 2 })
	fails("too_many", a, n)
	w.configure(func(o *latchkey.Owner) { o.Policy = latchkey.OwnerPolicy{MintRight: true} })
	fails("denied", a, n)
	w.configure(func(o *latchkey.Owner) { o.Policy = latchkey.OwnerPolicy{} })
	w.store.fail.Store(&latchkey.ErrUnavailable)
	fails("unavailable", a, n)
	canceled := fmt.Errorf("%w: %w", latchkey.ErrUnavailable, context.Canceled)
	w.store.fail.Store(&canceled)
	fails("canceled", a, n)
	w.store.fail.Store(nil)
	force := func(v string) latchkey.Narrowing {
		return latchkey.Narrowing{Lifetime: time.Hour, Forced: latchkey.Values{"region": v}}
	}
	first, minted := w.mint(a, force("north"))
	take(e, &e.minted)
	failed.ParentID = first.ID
	fails("forced", w.access(minted), force("south"))
	failed.ParentID = parent.ID
	w.ok(w.acme.Delete(w.ctx, parent.ID))
	fails("deleted", a, n)

	person, err := w.acme.Assume(latchkey.Client{ID: "7"}, nil)
	w.ok(err)
	failed.ParentID = ""
	fails("invalid", person, n)
	_, _, err = latchkey.Access{}.Mint(w.ctx, n)
	w.is(latchkey.ErrInvalidToken, err)
	require.Empty(t, take(e, &e.minted))
}

// Each audit event is told of once, after the commit, and none of what was not written.
func TestChangesAreObserved(t *testing.T) {
	w, e := newEar(t)
	token, _ := w.key(readAll())
	w.ok(w.acme.Revoke(w.ctx, token.ID, "left"))
	w.store.fail.Store(&latchkey.ErrUnavailable)
	require.Error(t, w.acme.Configure(w.ctx, func(o *latchkey.Owner) error { o.Disabled = true; return nil }))
	w.store.fail.Store(nil)
	w.store.unknown.Store(1) // the same Write again
	w.configure(func(o *latchkey.Owner) { o.Disabled = true })
	var actions []string
	for _, event := range take(e, &e.changed) {
		require.Equal(t, "acme", event.Owner)
		require.Equal(t, w.now(), event.At)
		actions = append(actions, event.Action)
	}
	require.Equal(t, []string{"token.issue", "token.revoke", "owner.configure"}, actions)
}

// A lease is told of when it was taken, when something of it came back, when there is none, and when nobody knows.
func TestLeasesAreObserved(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w, e := newEar(t, func(o *latchkey.Options) { o.CreditLease = leasesOf(40) })
		s := &ledger{Store: w.store.Store}
		w.store.Store = s
		_, secret := w.issue(latchkey.KindAPIKey, latchkey.Settings{Limits: monthly(1000)})
		a := w.access(secret)
		leased := func() []latchkey.Leasing {
			synctest.Wait()
			return take(e, &e.leased)
		}
		w.ok(spend(w.ctx, a, "m", 1)) // says what is left
		require.Empty(t, leased())
		w.ok(spend(w.ctx, a, "m", 1))
		taken := latchkey.Leasing{What: "taken", Owner: "acme", Meter: "m", Amount: 40}
		require.Equal(t, []latchkey.Leasing{taken}, leased())
		require.Equal(t, 1, w.keys.Stats().Leases.Open)
		w.ok(spend(w.ctx, a, "m", 4))
		require.Empty(t, leased(), "paid in memory")

		// The store is away when the lease is to be returned, and then it is not.
		away := func() (error, error) { return latchkey.ErrUnavailable, nil }
		s.fault.Store(&away)
		require.Error(t, w.keys.Close(w.ctx))
		got := leased()
		require.Len(t, got, 1)
		require.ErrorIs(t, got[0].Err, latchkey.ErrUnavailable)
		got[0].Err = nil
		require.Equal(t, latchkey.Leasing{What: "failed", Owner: "acme", Meter: "m", Amount: 40}, got[0])
		s.fault.Store(nil)
		w.ok(w.keys.Close(w.ctx))
		require.Equal(t, []latchkey.Leasing{{What: "returned", Owner: "acme", Meter: "m", Amount: 35}}, leased())
		require.Equal(t, 0, w.keys.Stats().Leases.Open)

		// The same lease again, which the store gives up, because this process looked dead.
		w.keys = latchkey.New(w.store, &latchkey.Options{Clock: w.now, CreditLease: leasesOf(40), Observer: e.observer()})
		a = w.access(secret)
		w.ok(spend(w.ctx, a, "m", 1))
		w.ok(spend(w.ctx, a, "m", 1))
		require.Equal(t, []latchkey.Leasing{taken}, leased())
		w.turn(10 * time.Minute)
		_, err := w.store.Purge(w.ctx, latchkey.PurgePolicy{Now: w.now(), Expired: -1, Revoked: -1}, 100)
		w.ok(err)
		w.ok(w.keys.Close(w.ctx))
		require.Equal(t, []latchkey.Leasing{{What: "expired", Owner: "acme", Meter: "m", Amount: 40}}, leased())
		require.Equal(t, 0, w.keys.Stats().Leases.Open)

		// Another process took the rest in between: there is no lease to be had.
		_, secret = w.issue(latchkey.KindAPIKey, latchkey.Settings{Limits: monthly(1000)})
		w.keys = latchkey.New(w.store, &latchkey.Options{Clock: w.now, CreditLease: leasesOf(40), Observer: e.observer()})
		a = w.access(secret)
		w.ok(spend(w.ctx, a, "m", 1))
		other := latchkey.New(w.store, &latchkey.Options{Clock: w.now})
		w.ok(spend(w.ctx, w.accessOf(other, secret), "m", 990))
		w.ok(spend(w.ctx, a, "m", 1))
		got = leased()
		require.Len(t, got, 1)
		require.ErrorIs(t, got[0].Err, latchkey.ErrOverLimit)
		got[0].Err = nil
		require.Equal(t, latchkey.Leasing{What: "refused", Owner: "acme", Meter: "m", Amount: 40}, got[0])
		w.ok(w.keys.Close(w.ctx))
		w.ok(other.Close(w.ctx))
	})
}

// usageDown is a store that takes no usage.
type usageDown struct {
	latchkey.Store
	err atomic.Pointer[error]
}

func (s *usageDown) AddUsage(ctx context.Context, b latchkey.UsageBatch) error {
	if err := s.err.Load(); err != nil {
		return *err
	}
	return s.Store.AddUsage(ctx, b)
}

// What no caller is told is told to Failed, to the log, and to Stats.
func TestFailuresAreObserved(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var log bytes.Buffer
		var lock sync.Mutex
		w, e := newEar(t, func(o *latchkey.Options) {
			o.MaxStale = time.Minute
			o.Logger = slog.New(slog.NewTextHandler(&locked{w: &log, mu: &lock}, nil))
		})
		s := &usageDown{Store: w.store.Store}
		w.store.Store = s
		_, secret := w.key(readAll())
		w.access(secret)
		w.ok(w.keys.Close(w.ctx)) // the first last use is written
		require.Empty(t, take(e, &e.failed))
		total := map[string]int64{}
		expect := func(part string, lost int64, err error) {
			t.Helper()
			synctest.Wait()
			got := take(e, &e.failed)
			require.NotEmpty(t, got, part)
			all := int64(0)
			lock.Lock()
			text := log.String()
			log.Reset()
			lock.Unlock()
			for _, f := range got {
				require.Equal(t, part, f.Part)
				if err != nil {
					require.ErrorIs(t, f.Err, err)
				}
				require.Contains(t, text, f.Message)
				all += f.Lost
				total[part]++
			}
			require.Equal(t, lost, all)
			for _, part := range []string{"feed", "usage", "last_use", "lease", "secret", "deliver", "observer"} {
				n, ok := w.keys.Stats().Failures[part]
				require.True(t, ok, part)
				require.Equal(t, total[part], n, part)
			}
		}

		w.keys = latchkey.New(w.store, &latchkey.Options{Clock: w.now, MaxStale: time.Minute, Observer: e.observer(),
			Logger: slog.New(slog.NewTextHandler(&locked{w: &log, mu: &lock}, nil))})
		clear(total)
		unavailable, invalid := latchkey.ErrUnavailable, latchkey.ErrInvalid
		s.err.Store(&unavailable)
		a := w.access(secret)
		a.Count("api", "GET /", 3)
		time.Sleep(time.Second + time.Millisecond) // of a synctest bubble: until the flush is due
		expect("usage", 0, unavailable)
		require.Equal(t, 1, w.keys.Stats().Usage.Waiting)
		s.err.Store(&invalid)
		time.Sleep(5*time.Second + time.Millisecond)
		expect("usage", 3, invalid)
		require.Equal(t, int64(3), w.keys.Stats().Usage.Dropped)
		require.Equal(t, 0, w.keys.Stats().Usage.Waiting)

		s.err.Store(&unavailable)
		w.turn(time.Hour)
		w.access(secret)
		time.Sleep(100 * time.Millisecond)
		expect("last_use", 0, unavailable)
		require.Equal(t, 1, w.keys.Stats().LastUse.Waiting)
		s.err.Store(&invalid)
		time.Sleep(time.Second)
		expect("last_use", 1, invalid)
		require.Equal(t, int64(1), w.keys.Stats().LastUse.Dropped)
		s.err.Store(nil)

		w.turn(40 * time.Second) // past half of MaxStale: the next Verify reads in the background
		w.store.fail.Store(&latchkey.ErrUnavailable)
		w.access(secret)
		expect("feed", 0, unavailable)
		w.store.fail.Store(nil)
		w.ok(w.keys.Close(w.ctx))
	})
}

// Events that were purged before they were delivered are lost, and said to be.
func TestUndeliveredEventsAreObserved(t *testing.T) {
	w, e := newEar(t)
	w.key(readAll())
	w.turn(time.Hour)
	_, err := w.store.Purge(w.ctx, latchkey.PurgePolicy{Now: w.now(), Expired: -1, Revoked: -1, Events: time.Minute}, 100)
	w.ok(err)
	_, err = w.keys.Deliver(w.ctx, "siem", (&collector{}).deliver)
	w.ok(err)
	got := take(e, &e.failed)
	require.Len(t, got, 1)
	require.Equal(t, "deliver", got[0].Part)
	require.Equal(t, int64(1), got[0].Lost)
	require.Equal(t, "latchkey: events were purged before they were delivered", got[0].Message)
	require.EqualError(t, got[0].Err, `1 events of "acme" up to 1, for "siem"`)
	require.Equal(t, int64(1), w.keys.Stats().Failures["deliver"])

	w.key(readAll())
	n, err := w.keys.Deliver(w.ctx, "siem", (&collector{}).deliver)
	w.ok(err)
	require.Equal(t, 1, n)
	require.Empty(t, take(e, &e.failed), "none is missing")
}

// Whatever member panics, no answer changes, and the panic is told of.
func TestAnyObserverMayPanic(t *testing.T) {
	run := func(w *world) string {
		var said string
		note := func(err error) { said += fmt.Sprintln(err) }
		token, secret := w.issue(latchkey.KindAPIKey, latchkey.Settings{Permissions: latchkey.Permissions{readAll()},
			Limits: monthly(100000)})
		for range 2 {
			a, err := w.verify(secret)
			note(err)
			_, err = a.Again(w.ctx)
			note(err)
			_, _, err = a.Mint(w.ctx, latchkey.Narrowing{Lifetime: time.Minute})
			note(err)
			note(spend(w.ctx, a, "m", 1))
		}
		note(w.acme.Revoke(w.ctx, token.ID, ""))
		_, err := w.verify(secret)
		note(err)
		_, err = w.verify("nonsense")
		note(err)
		note(w.keys.Close(w.ctx))
		return said
	}
	lease := func(o *latchkey.Options) { o.CreditLease = latchkey.Hundredth }
	want := run(newWorld(t, lease))
	members := reflect.TypeFor[latchkey.Observer]()
	for i := range members.NumField() {
		name := members.Field(i).Name
		t.Run(name, func(t *testing.T) {
			var log bytes.Buffer
			var lock sync.Mutex
			var called atomic.Int64
			w := newWorld(t, lease, func(o *latchkey.Options) {
				o.Logger = slog.New(slog.NewTextHandler(&locked{w: &log, mu: &lock}, nil))
				if name == "Failed" { // which is told of another's panic
					o.Observer.Verified = func(context.Context, latchkey.Verification) { panic("first") }
				}
				reflect.ValueOf(&o.Observer).Elem().Field(i).Set(reflect.MakeFunc(members.Field(i).Type,
					func([]reflect.Value) []reflect.Value { called.Add(1); panic("no room") }))
			})
			require.Equal(t, want, run(w))
			require.Positive(t, called.Load())
			lock.Lock()
			defer lock.Unlock()
			require.Contains(t, log.String(), "Observer."+name+" panicked")
			require.Contains(t, log.String(), "no room")
			require.Positive(t, w.keys.Stats().Failures["observer"])
		})
	}
}

// Callbacks, Stats and all that they are told of may come at once. It is for the race detector.
func TestObserverAtOnce(t *testing.T) {
	var calls atomic.Int64
	w := newWorld(t, func(o *latchkey.Options) {
		o.MaxStale, o.CacheTokens, o.CreditLease = time.Millisecond, 2, latchkey.Hundredth
		members := reflect.ValueOf(&o.Observer).Elem()
		for i := range members.NumField() {
			members.Field(i).Set(reflect.MakeFunc(members.Field(i).Type(), func([]reflect.Value) []reflect.Value {
				calls.Add(1)
				return nil
			}))
		}
	})
	var secrets []string
	for range 4 {
		_, secret := w.issue(latchkey.KindAPIKey, latchkey.Settings{Permissions: latchkey.Permissions{readAll()},
			Limits: latchkey.Limits{Rate: latchkey.PerSecond(1000), Quotas: []latchkey.Quota{
				{Amount: 1_000_000, Per: latchkey.Month}}}})
		secrets = append(secrets, secret)
	}
	var all sync.WaitGroup
	for n := range 8 {
		all.Go(func() {
			for i := range 50 {
				a, err := w.verify(secrets[(n+i)%len(secrets)])
				if err != nil {
					t.Error(err)
					return
				}
				a.Count("api", "GET /", 1)
				if err := spend(w.ctx, a, "m", 1); err != nil {
					t.Error(err)
				}
				if i%10 == 0 {
					if _, _, err := a.Mint(w.ctx, latchkey.Narrowing{Lifetime: time.Minute}); err != nil {
						t.Error(err)
					}
				}
				_, _ = w.verify("nonsense")
				if s := w.keys.Stats(); s.Cache.Capacity != 4 {
					t.Error(s)
				}
			}
		})
	}
	all.Wait()
	w.ok(w.keys.Close(w.ctx))
	require.Greater(t, calls.Load(), int64(8*50*2))
}

// A cached Verify allocates nothing, with or without an Observer.
func TestVerifyObservedDoesNotAllocate(t *testing.T) {
	var n atomic.Int64
	for name, o := range map[string]latchkey.Observer{"nil": {},
		"counts": {Verified: func(context.Context, latchkey.Verification) { n.Add(1) }}} {
		for _, maxStale := range []time.Duration{0, time.Second} {
			require.Zero(t, allocates(t, 100, func(w *world) func() {
				_, secret := w.key(readAll())
				w.access(secret)
				return func() {
					if _, err := w.verify(secret); err != nil {
						t.Error(err)
					}
				}
			}, func(opts *latchkey.Options) { opts.MaxStale, opts.Observer = maxStale, o }), "%s %v", name, maxStale)
		}
	}
	require.Positive(t, n.Load())
}

// locked is a buffer that several goroutines write to.
type locked struct {
	mu *sync.Mutex
	w  *bytes.Buffer
}

func (l *locked) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.w.Write(p)
}
