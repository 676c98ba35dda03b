package latchkey_test

import (
	"context"
	"net/netip"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/latchkey-go/latchkey"
	"github.com/latchkey-go/latchkey/memstore"
)

// world is a Manager over a store in memory, with a clock that the test sets.
type world struct {
	*testing.T
	ctx   context.Context
	time  atomic.Int64
	store *meddler
	keys  *latchkey.Manager
	acme  latchkey.Account
}

func (w *world) now() time.Time { return time.UnixMicro(w.time.Load()).UTC() }

func (w *world) turn(d time.Duration) { w.time.Add(d.Microseconds()) }

func (w *world) is(want, got error) { w.Helper(); require.ErrorIs(w, got, want) }

func (w *world) ok(err error) { w.Helper(); require.NoError(w, err) }

func (w *world) options() latchkey.Options {
	return latchkey.Options{Clock: w.now, CreditLease: creditLease}
}

func newWorld(t *testing.T, change ...func(*latchkey.Options)) *world {
	w := &world{T: t, ctx: t.Context()}
	w.time.Store(time.Date(2026, 3, 4, 5, 6, 7, 0, time.UTC).UnixMicro())
	w.store = &meddler{Store: memstore.New(&memstore.Options{Clock: w.now})}
	o := w.options()
	for _, c := range change {
		c(&o)
	}
	w.keys = latchkey.New(w.store, &o)
	w.acme = w.keys.For("acme")
	t.Cleanup(func() {
		_ = w.keys.Close(context.Background())
		if !t.Failed() { // a test that failed may have left early
			require.Nil(t, w.store.between.Load(), "what was to happen before a Write never did")
		}
	})
	return w
}

func (w *world) role(name string, p ...latchkey.Rule) latchkey.Role {
	w.Helper()
	r, err := w.acme.CreateRole(w.ctx, latchkey.Role{Name: name, Permissions: p})
	w.ok(err)
	return r
}

func (w *world) issue(kind latchkey.Kind, s latchkey.Settings) (latchkey.Token, string) {
	w.Helper()
	if kind == latchkey.KindSession && s.Validity.NotAfter.IsZero() {
		s.Validity.NotAfter = w.now().Add(time.Hour)
	}
	t, secret, err := w.acme.Issue(w.ctx, s.Spec(kind))
	w.ok(err)
	return t, secret.Reveal()
}

func (w *world) key(rules ...latchkey.Rule) (latchkey.Token, string) {
	w.Helper()
	return w.issue(latchkey.KindAPIKey, latchkey.Settings{Permissions: rules})
}

func (w *world) verify(secret string) (latchkey.Access, error) {
	return w.keys.Verify(w.ctx, latchkey.Presented{Secret: secret})
}

func (w *world) access(secret string) latchkey.Access {
	w.Helper()
	a, err := w.verify(secret)
	w.ok(err)
	return a
}

func (w *world) mint(a latchkey.Access, n latchkey.Narrowing) (latchkey.Token, string) {
	w.Helper()
	if n.Lifetime == 0 {
		n.Lifetime = time.Hour
	}
	t, s, err := a.Mint(w.ctx, n)
	w.ok(err)
	return t, s.Reveal()
}

// meddler is a store that counts reads, and that fails on demand.
type meddler struct {
	latchkey.Store
	lookups, epochs atomic.Int64
	fail            atomic.Pointer[error]
	unknown         atomic.Int64 // how many writes still take effect and return ErrUnknownOutcome
	gone            atomic.Bool  // after one of those, every call fails
	between         atomic.Pointer[func()]
}

// before calls do before the next Write, after the call's reads. Done reports whether it was called.
func (s *meddler) before(do func()) (done func() bool) {
	var ran atomic.Bool
	f := func() { ran.Store(true); do() }
	s.between.Store(&f)
	return ran.Load
}

func (s *meddler) trouble() error {
	if e := s.fail.Load(); e != nil {
		return *e
	}
	return nil
}

func (s *meddler) ByDigest(ctx context.Context, slot latchkey.Slot, d ...[32]byte) (latchkey.Found, error) {
	s.lookups.Add(1)
	if err := s.trouble(); err != nil {
		return latchkey.Found{}, err
	}
	return s.Store.ByDigest(ctx, slot, d...)
}

func (s *meddler) Ending(ctx context.Context, q latchkey.EndingQuery) ([]latchkey.Token, error) {
	if err := s.trouble(); err != nil {
		return nil, err
	}
	return s.Store.Ending(ctx, q)
}

func (s *meddler) Unused(ctx context.Context, q latchkey.UnusedQuery) ([]latchkey.Token, string, error) {
	if err := s.trouble(); err != nil {
		return nil, "", err
	}
	return s.Store.Unused(ctx, q)
}

func (s *meddler) Load(ctx context.Context, owner, id string) (latchkey.Found, error) {
	if err := s.trouble(); err != nil {
		return latchkey.Found{}, err
	}
	return s.Store.Load(ctx, owner, id)
}

func (s *meddler) Changes(ctx context.Context, feed latchkey.FeedID, after uint64, n int) (latchkey.Feed, error) {
	s.epochs.Add(1)
	if err := s.trouble(); err != nil {
		return latchkey.Feed{}, err
	}
	return s.Store.Changes(ctx, feed, after, n)
}

func (s *meddler) Write(ctx context.Context, w latchkey.Write) error {
	if err := s.trouble(); err != nil {
		return err
	}
	if do := s.between.Swap(nil); do != nil {
		(*do)()
	}
	err := s.Store.Write(ctx, w)
	if err == nil && s.unknown.Load() > 0 {
		s.unknown.Add(-1)
		if s.gone.Load() {
			s.fail.Store(&latchkey.ErrUnavailable)
		}
		return latchkey.ErrUnknownOutcome
	}
	return err
}

func readAll() latchkey.Rule { return latchkey.Allow(latchkey.Read).On("*") }

func prefixes(list ...string) (out []netip.Prefix) {
	for _, p := range list {
		out = append(out, netip.MustParsePrefix(p))
	}
	return out
}

func (w *world) configure(f func(*latchkey.Owner)) {
	w.Helper()
	w.ok(w.acme.Configure(w.ctx, func(o *latchkey.Owner) error { f(o); return nil }))
}

func (w *world) update(t latchkey.Token, f func(*latchkey.Token)) {
	w.Helper()
	_, err := w.acme.Update(w.ctx, t.ID, func(t *latchkey.Token) error { f(t); return nil })
	w.ok(err)
}

func (w *world) editRole(r latchkey.Role, f func(*latchkey.Role)) {
	w.Helper()
	_, err := w.acme.UpdateRole(w.ctx, r.ID, func(r *latchkey.Role) error { f(r); return nil })
	w.ok(err)
}

func mustVerify(w *world, p latchkey.Presented) latchkey.Access {
	w.Helper()
	a, err := w.keys.Verify(w.ctx, p)
	w.ok(err)
	return a
}

// allocates counts what f allocates on average, in a world of its own in which nothing that is written behind is due
// meanwhile: AllocsPerRun counts that of every goroutine.
func allocates(t *testing.T, runs int,
	prepare func(w *world) (f func()), change ...func(*latchkey.Options)) (average float64) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		f := prepare(newWorld(t, change...))
		average = testing.AllocsPerRun(runs, f)
	})
	return average
}

var orders = latchkey.NewSchema(latchkey.Fields{
	"region": {Column: "o.region", Type: latchkey.Text},
	"amount": {Column: "o.amount", Type: latchkey.Integer},
	"owner":  {Column: "o.owner", Type: latchkey.Text},
	"client": {Column: "o.client", Type: latchkey.Text},
})

func eq(field string, v any) latchkey.Condition { return latchkey.Where(field, latchkey.Eq, v) }

func contains(list []latchkey.Action, a latchkey.Action) bool {
	for _, x := range list {
		if x == a {
			return true
		}
	}
	return false
}
