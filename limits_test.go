package latchkey_test

import (
	"context"
	"math"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/latchkey-go/latchkey"
)

// shaky is a store that counts badly when told to: the next calls fail, before or after they took effect.
type shaky struct {
	latchkey.Store
	before, after              atomic.Int64 // how many calls fail
	err                        error
	reserves, settles, batches atomic.Int64
	mu                         sync.Mutex
	batchIDs                   map[[16]byte]int
}

func (s *shaky) call(f func() error) error {
	if s.before.Load() > 0 {
		s.before.Add(-1)
		return s.err
	}
	if err := f(); err != nil {
		return err
	}
	if s.after.Load() > 0 {
		s.after.Add(-1)
		return s.err
	}
	return nil
}

func (s *shaky) Reserve(ctx context.Context, r latchkey.Reservation) (got latchkey.Reserved, err error) {
	s.reserves.Add(1)
	err = s.call(func() error { got, err = s.Store.Reserve(ctx, r); return err })
	if err != nil {
		got = latchkey.Reserved{}
	}
	return got, err
}

func (s *shaky) Settle(ctx context.Context, owner string, key [16]byte, actual latchkey.Credits) error {
	s.settles.Add(1)
	return s.call(func() error { return s.Store.Settle(ctx, owner, key, actual) })
}

func (s *shaky) AddUsage(ctx context.Context, b latchkey.UsageBatch) error {
	if len(b.Rows) != 0 {
		s.batches.Add(1)
		s.mu.Lock()
		if s.batchIDs == nil {
			s.batchIDs = map[[16]byte]int{}
		}
		s.batchIDs[b.ID]++
		s.mu.Unlock()
	}
	return s.call(func() error { return s.Store.AddUsage(ctx, b) })
}

func newShakyWorld(t *testing.T, change ...func(*latchkey.Options)) (*world, *shaky) {
	w := newWorld(t, change...)
	s := &shaky{Store: w.store.Store}
	w.store.Store = s
	return w, s
}

// monthly is limits of one quota: n credits of each meter in a calendar month.
func monthly(n latchkey.Credits) latchkey.Limits {
	return latchkey.Limits{Quotas: []latchkey.Quota{{Amount: n, Per: latchkey.Month}}}
}

func spend(ctx context.Context, a latchkey.Access, meter string, n latchkey.Credits) error {
	_, err := a.Spend(ctx, meter, latchkey.Uncounted, n)
	return err
}

// credits is monthly(n), without a limit for 0.
func credits(n latchkey.Credits) latchkey.Settings {
	s := latchkey.Settings{Permissions: latchkey.Permissions{readAll()}}
	if n != 0 {
		s.Limits = monthly(n)
	}
	return s
}

// left is what an access has left of a meter, found out by spending nothing.
func (w *world) left(a latchkey.Access, meter string) latchkey.Credits {
	w.Helper()
	h, err := a.Reserve(w.ctx, meter, latchkey.Uncounted, 1)
	if err != nil {
		w.is(latchkey.ErrOverLimit, err)
		return 0
	}
	w.ok(h.Settle(w.ctx, 0))
	left := h.Left()
	require.True(w, left.Limited())
	return left.Credits
}

func TestCreditLimitsThatAreNone(t *testing.T) {
	w := newWorld(t)
	bad := monthly(-1)
	tok, secret := w.key(readAll())
	_, err := w.acme.Update(w.ctx, tok.ID, func(t *latchkey.Token) error { t.Limits = bad; return nil })
	w.is(latchkey.ErrInvalid, err)
	w.is(latchkey.ErrInvalid, w.acme.Configure(w.ctx, func(o *latchkey.Owner) error { o.Limits = bad; return nil }))
	_, _, err = w.access(secret).Mint(w.ctx, latchkey.Narrowing{Lifetime: time.Hour, Limits: bad})
	w.is(latchkey.ErrInvalid, err)
	for _, l := range []latchkey.Limits{bad, monthly(1), perSecond(0)} {
		_, err = w.access(secret).Narrow(w.ctx, latchkey.Narrowing{Limits: l})
		w.is(latchkey.ErrInvalid, err) // there is no token whose credits they could be
	}
}

func TestAmounts(t *testing.T) {
	w := newWorld(t)
	const most = latchkey.Credits(math.MaxInt64)
	for _, c := range []struct {
		limit, n        latchkey.Credits
		reserve, charge error
	}{
		{5, 0, latchkey.ErrInvalid, nil}, // to charge nothing is free
		{5, -1, latchkey.ErrInvalid, latchkey.ErrInvalid},
		{5, math.MinInt64, latchkey.ErrInvalid, latchkey.ErrInvalid},
		{5, 1, nil, nil},
		{5, 5, nil, nil},
		{5, 6, latchkey.ErrOverLimit, latchkey.ErrOverLimit},
		{5, most, latchkey.ErrOverLimit, latchkey.ErrOverLimit},
		{most, most, nil, nil},
		{most - 1, most, latchkey.ErrOverLimit, latchkey.ErrOverLimit},
		{0, most, nil, nil}, // no limit
		{0, 5, nil, nil},
		{0, -1, latchkey.ErrInvalid, latchkey.ErrInvalid},
	} {
		_, secret := w.issue(latchkey.KindAPIKey, credits(c.limit))
		a := w.access(secret)
		h, err := a.Reserve(w.ctx, "reads", latchkey.Uncounted, c.n)
		require.ErrorIs(t, err, c.reserve, "%+v", c)
		if err == nil {
			require.Equal(t, c.limit != 0, h.Left().Limited())
			require.Equal(t, max(c.limit-c.n, 0), h.Left().Credits)
			for _, actual := range []latchkey.Credits{-1, c.n + 1, math.MinInt64} { // n + 1 wraps around for the most
				require.ErrorIs(t, h.Settle(w.ctx, actual), latchkey.ErrInvalid)
			}
			w.ok(h.Settle(w.ctx, 0))
			w.ok(h.Settle(w.ctx, 0))
			w.is(latchkey.ErrConflict, h.Settle(w.ctx, 1))
			require.Equal(t, c.limit, h.Left().Credits)
		} else {
			require.Nil(t, h)
		}
		require.ErrorIs(t, spend(w.ctx, a, "reads", c.n), c.charge, "%+v", c)
		if c.limit == most && c.n == most {
			require.ErrorIs(t, spend(w.ctx, a, "reads", 1), latchkey.ErrOverLimit, "most + 1")
		}
	}
	for _, meter := range []string{"", "a\x00", "\xff", string(make([]byte, 65))} {
		_, secret := w.issue(latchkey.KindAPIKey, credits(1))
		for _, n := range []latchkey.Credits{0, 1} {
			w.is(latchkey.ErrInvalid, spend(w.ctx, w.access(secret), meter, n))
		}
	}
	var nobody latchkey.Access
	w.is(latchkey.ErrInvalidToken, spend(w.ctx, nobody, "reads", 1))
	w.is(latchkey.ErrInvalidToken, spend(w.ctx, nobody, "reads", 0))
	_, err := nobody.Reserve(w.ctx, "reads", latchkey.Uncounted, 1)
	w.is(latchkey.ErrInvalidToken, err)
}

func TestNoLimitAsksNobody(t *testing.T) {
	w, store := newShakyWorld(t)
	_, secret := w.key(readAll())
	a := w.access(secret)
	h, err := a.Reserve(w.ctx, "reads", latchkey.Uncounted, 7)
	w.ok(err)
	assert.Zero(t, h.Left())
	w.ok(h.Settle(w.ctx, 3))
	w.is(latchkey.ErrConflict, h.Settle(w.ctx, 4))
	w.ok(spend(w.ctx, a, "reads", 7))
	assert.Zero(t, store.reserves.Load()+store.settles.Load())
}

// Sixty-four at once never spend more than there is, and what is left is what was not spent.
func TestCreditsAreExact(t *testing.T) {
	w := newWorld(t)
	const limit = 5000
	w.configure(func(o *latchkey.Owner) { o.Limits = monthly(2 * limit) })
	_, parentSecret := w.issue(latchkey.KindAPIKey, credits(limit))
	parent := w.access(parentSecret)
	_, childSecret := w.mint(parent, latchkey.Narrowing{Limits: monthly(limit / 4)})
	child := w.access(childSecret)

	var spent, spentByChild, held atomic.Int64
	var wg sync.WaitGroup
	for g := range 64 {
		wg.Go(func() {
			a, mine := parent, new(atomic.Int64)
			if g%2 == 0 {
				a, mine = child, &spentByChild
			}
			for range 40 {
				n := latchkey.Credits(1 + rand.Int64N(9))
				switch rand.IntN(3) {
				case 0:
					if spend(w.ctx, a, "reads", n) == nil {
						spent.Add(int64(n))
						mine.Add(int64(n))
					}
				default:
					h, err := a.Reserve(w.ctx, "reads", latchkey.Uncounted, n)
					if err != nil {
						assert.ErrorIs(t, err, latchkey.ErrOverLimit)
						continue
					}
					assert.LessOrEqual(t, held.Add(int64(n))+spent.Load(), int64(limit+64*9))
					actual := rand.Int64N(int64(n) + 1)
					held.Add(-int64(n))
					assert.NoError(t, h.Settle(w.ctx, latchkey.Credits(actual)))
					spent.Add(actual)
					mine.Add(actual)
				}
			}
		})
	}
	wg.Wait()
	assert.LessOrEqual(t, spent.Load(), int64(limit))
	assert.LessOrEqual(t, spentByChild.Load(), int64(limit/4))
	for spend(w.ctx, parent, "reads", 1) == nil { // exactly the rest is left
		spent.Add(1)
	}
	assert.Equal(t, int64(limit), spent.Load())
	_, free := w.key(readAll())
	assert.Equal(t, latchkey.Credits(limit), w.left(w.access(free), "reads"), "the owner's account paid it all")
}

func TestAllAccountsOfAChainPayOrNone(t *testing.T) {
	w := newWorld(t)
	w.configure(func(o *latchkey.Owner) { o.Limits = monthly(100) })
	_, s := w.issue(latchkey.KindAPIKey, credits(50))
	root := w.access(s)
	_, s = w.mint(root, latchkey.Narrowing{Limits: monthly(1000)}) // more than its parent: no matter
	child := w.access(s)
	_, s = w.mint(child, latchkey.Narrowing{Limits: monthly(10)})
	grandchild := w.access(s)
	_, s = w.mint(child, latchkey.Narrowing{}) // none of its own
	sibling := w.access(s)
	_, s = w.key(readAll())
	stranger := w.access(s)

	w.ok(spend(w.ctx, grandchild, "reads", 10))
	w.is(latchkey.ErrOverLimit, spend(w.ctx, grandchild, "reads", 1))
	assert.EqualValues(t, 40, w.left(root, "reads"), "a refusal took nothing")
	assert.EqualValues(t, 40, w.left(child, "reads"))
	assert.EqualValues(t, 90, w.left(stranger, "reads"))
	w.is(latchkey.ErrOverLimit, spend(w.ctx, sibling, "reads", 41))
	w.ok(spend(w.ctx, sibling, "reads", 40))
	w.is(latchkey.ErrOverLimit, spend(w.ctx, child, "reads", 1))
	assert.EqualValues(t, 50, w.left(stranger, "reads"))
	w.ok(spend(w.ctx, stranger, "reads", 50))
	w.is(latchkey.ErrOverLimit, spend(w.ctx, stranger, "reads", 1))

	w.ok(spend(w.ctx, grandchild, "writes", 10)) // each meter has its own accounts
	n, err := grandchild.Narrow(w.ctx, latchkey.Narrowing{Rows: []latchkey.Condition{eq("a", 1)}})
	w.ok(err)
	w.is(latchkey.ErrOverLimit, spend(w.ctx, n, "writes", 1)) // narrowing gets nobody out of a limit
	again, err := n.Again(w.ctx)
	w.ok(err)
	w.is(latchkey.ErrOverLimit, spend(w.ctx, again, "writes", 1))

	guest := must(w.acme.Assume(latchkey.Client{ID: "7"}, latchkey.Permissions{readAll()}))
	w.is(latchkey.ErrOverLimit, spend(w.ctx, guest, "reads", 1)) // the owner's limit holds too
	w.ok(spend(w.ctx, guest, "writes", 90))
	w.is(latchkey.ErrOverLimit, spend(w.ctx, guest, "writes", 1))
	w.ok(spend(w.ctx, must(w.keys.For("other").Assume(latchkey.Client{}, nil)), "reads", 1<<60))
}

func TestALoweredLimitBitesAtTheNextVerify(t *testing.T) {
	w := newWorld(t)
	tok, secret := w.issue(latchkey.KindAPIKey, credits(100))
	a := w.access(secret)
	w.ok(spend(w.ctx, a, "reads", 60))
	w.update(tok, func(t *latchkey.Token) { t.Limits = monthly(50) })
	w.ok(spend(w.ctx, a, "reads", 1)) // a snapshot
	w.is(latchkey.ErrOverLimit, spend(w.ctx, w.access(secret), "reads", 1))
	w.update(tok, func(t *latchkey.Token) { t.Limits = monthly(62) })
	w.ok(spend(w.ctx, w.access(secret), "reads", 1))
	w.is(latchkey.ErrOverLimit, spend(w.ctx, w.access(secret), "reads", 1))
	w.update(tok, func(t *latchkey.Token) { t.Limits = latchkey.Limits{} })
	w.ok(spend(w.ctx, w.access(secret), "reads", 1000))
	w.configure(func(o *latchkey.Owner) { o.Limits = monthly(3) })
	w.ok(spend(w.ctx, w.access(secret), "reads", 3))
	w.is(latchkey.ErrOverLimit, spend(w.ctx, w.access(secret), "reads", 1))
}

func TestTheMonthTurnsInUTC(t *testing.T) {
	w := newWorld(t, func(o *latchkey.Options) {
		utc := o.Clock
		o.Clock = func() time.Time { return utc().In(time.FixedZone("east", 14*60*60)) }
	})
	_, secret := w.issue(latchkey.KindAPIKey, credits(10))
	a := w.access(secret)
	for _, c := range []struct {
		at    time.Time
		wants error
	}{
		{time.Date(2026, 10, 31, 9, 0, 0, 0, time.UTC), nil},
		{time.Date(2026, 10, 31, 23, 59, 59, 999_999_000, time.UTC), latchkey.ErrOverLimit}, // November, in the east
		{time.Date(2026, 11, 1, 0, 0, 0, 0, time.UTC), nil},
		{time.Date(2026, 11, 30, 23, 0, 0, 0, time.UTC), latchkey.ErrOverLimit},
		{time.Date(2027, 11, 1, 0, 0, 0, 0, time.UTC), nil}, // the year counts too
	} {
		w.time.Store(c.at.UnixMicro())
		require.ErrorIs(t, spend(w.ctx, a, "reads", 10), c.wants, c.at)
	}
}

func TestAHoldNobodySettlesLapses(t *testing.T) {
	w := newWorld(t)
	_, secret := w.issue(latchkey.KindAPIKey, credits(10))
	a := w.access(secret)
	h, err := a.Reserve(w.ctx, "reads", latchkey.Uncounted, 10)
	w.ok(err)
	late, err := a.Reserve(w.ctx, "writes", latchkey.Uncounted, 10)
	w.ok(err)
	w.ok(spend(w.ctx, a, "kept", 10))
	purge := func() {
		_, err := w.keys.Purge(w.ctx)
		w.ok(err)
	}
	w.turn(15*time.Minute - time.Microsecond)
	purge()
	w.is(latchkey.ErrOverLimit, spend(w.ctx, a, "reads", 1))
	w.turn(time.Microsecond)
	w.ok(late.Settle(w.ctx, 10)) // in time: nobody purged yet
	purge()
	w.is(latchkey.ErrConflict, h.Settle(w.ctx, 1))
	w.ok(h.Settle(w.ctx, 0))
	w.ok(spend(w.ctx, a, "reads", 10))
	w.is(latchkey.ErrOverLimit, spend(w.ctx, a, "writes", 1))
	w.is(latchkey.ErrOverLimit, spend(w.ctx, a, "kept", 1))
	w.turn(25 * time.Hour)
	purge() // the reservation is forgotten, the account is not
	w.is(latchkey.ErrOverLimit, spend(w.ctx, a, "kept", 1))
	w.is(latchkey.ErrConflict, h.Settle(w.ctx, 3))
}

func TestAChargeIsMadeOnceWhateverTheStoreSays(t *testing.T) {
	for name, c := range map[string]struct {
		before, after int64
		err           error
		want          error
		left          latchkey.Credits // what is left of 100 after charging 10, and after what lapses came back
	}{
		"unknown, not done":    {before: 1, err: latchkey.ErrUnknownOutcome, left: 90},
		"unknown, done":        {after: 1, err: latchkey.ErrUnknownOutcome, left: 90},
		"unknown thrice, done": {after: 3, err: latchkey.ErrUnknownOutcome, left: 90},
		"unknown again and again": {after: 100, err: latchkey.ErrUnknownOutcome, want: latchkey.ErrUnknownOutcome,
			left: 100},
		"unavailable":                 {before: 1, err: latchkey.ErrUnavailable, want: latchkey.ErrUnavailable, left: 100},
		"done, though no store would": {after: 1, err: latchkey.ErrUnavailable, want: latchkey.ErrUnavailable, left: 100},
	} {
		t.Run(name, func(t *testing.T) {
			w, store := newShakyWorld(t)
			_, secret := w.issue(latchkey.KindAPIKey, credits(100))
			a := w.access(secret)
			store.err = c.err
			store.before.Store(c.before)
			store.after.Store(c.after)
			require.ErrorIs(t, spend(w.ctx, a, "reads", 10), c.want)
			store.before.Store(0)
			store.after.Store(0)
			w.turn(time.Hour)
			_, err := w.keys.Purge(w.ctx)
			w.ok(err)
			assert.Equal(t, c.left, w.left(w.access(secret), "reads"))
		})
	}
	t.Run("settling", func(t *testing.T) {
		w, store := newShakyWorld(t)
		store.err = latchkey.ErrUnknownOutcome
		_, secret := w.issue(latchkey.KindAPIKey, credits(100))
		a := w.access(secret)
		h, err := a.Reserve(w.ctx, "reads", latchkey.Uncounted, 10)
		w.ok(err)
		store.after.Store(2)
		w.ok(h.Settle(w.ctx, 4))
		store.after.Store(100)
		w.ok(h.Settle(w.ctx, 4)) // known
		store.after.Store(0)
		assert.EqualValues(t, 96, w.left(a, "reads"))
	})
	t.Run("a context that is over", func(t *testing.T) {
		w := newWorld(t)
		_, secret := w.issue(latchkey.KindAPIKey, credits(100))
		a := w.access(secret)
		ctx, cancel := context.WithCancel(w.ctx)
		h, err := a.Reserve(ctx, "reads", latchkey.Uncounted, 10)
		w.ok(err)
		cancel()
		w.is(latchkey.ErrUnavailable, h.Settle(ctx, 3))
		w.is(latchkey.ErrUnavailable, spend(ctx, a, "reads", 3))
		w.ok(h.Settle(context.WithoutCancel(ctx), 3))
		assert.EqualValues(t, 97, w.left(a, "reads"))
	})
}

// An actor with limits of its own makes no token that spends by itself, and gives none, its own included, a wider
// limit. The right to exceed lifts that.
func TestAnActorOutspendsNoLimit(t *testing.T) {
	w := newWorld(t)
	rate := latchkey.Rate{Count: 10, Per: time.Second, Burst: 5}
	all := latchkey.Limits{Quotas: monthly(100).Quotas, Rate: latchkey.Rate{Count: 10, Per: time.Second, Burst: 1000}}
	tok, secret := w.issue(latchkey.KindSecret, latchkey.Settings{Limits: all})
	_, unlimited := w.issue(latchkey.KindSecret, latchkey.Settings{})
	_, desk := w.issue(latchkey.KindAPIKey, latchkey.Settings{Limits: all, Permissions: append(admin(),
		latchkey.Allow(latchkey.Exceed).On("latchkey/token/*"))})
	as := func(secret string) latchkey.Account {
		acting, err := w.acme.As(w.access(secret))
		w.ok(err)
		return acting
	}
	spec := func(l latchkey.Limits) latchkey.Spec {
		return latchkey.Spec{Kind: latchkey.KindAPIKey, Limits: l}
	}
	for name, limits := range map[string]latchkey.Limits{
		"the same": all,
		"less":     {Quotas: monthly(1).Quotas, Rate: rate},
		"slower":   {Quotas: monthly(1).Quotas, Rate: latchkey.Rate{Count: 1, Per: time.Minute}},
		"none":     {},
		"no rate":  monthly(100),
		"more":     {Quotas: monthly(101).Quotas, Rate: rate},
		"faster":   {Quotas: monthly(1).Quotas, Rate: latchkey.Rate{Count: 11, Per: time.Second}},
	} {
		_, _, err := as(secret).Issue(w.ctx, spec(limits))
		assert.ErrorIs(t, err, latchkey.ErrDenied, name)
		for _, who := range []string{unlimited, desk} {
			_, _, err = as(who).Issue(w.ctx, spec(limits))
			assert.NoError(t, err, name)
		}
	}
	wider := func(t *latchkey.Token) error { t.Limits.Quotas = monthly(101).Quotas; return nil }
	narrower := func(t *latchkey.Token) error { t.Limits.Quotas = monthly(99).Quotas; return nil }
	_, err := as(secret).Update(w.ctx, tok.ID, wider)
	w.is(latchkey.ErrDenied, err)
	for name, faster := range map[string]latchkey.Rate{
		"a step":  {Count: 11, Per: time.Second},
		"a burst": {Count: 10, Per: time.Second, Burst: 1001},
		"none":    {},
	} {
		_, err = as(secret).Update(w.ctx, tok.ID, func(t *latchkey.Token) error { t.Limits.Rate = faster; return nil })
		assert.ErrorIs(t, err, latchkey.ErrDenied, name)
	}
	_, err = as(secret).Update(w.ctx, tok.ID, narrower)
	w.ok(err)
	free, _ := w.key(readAll())
	_, err = as(secret).Rotate(w.ctx, free.ID, 0) // to get at an account without a limit
	w.is(latchkey.ErrDenied, err)
	change := func(o *latchkey.Owner) error { o.Limits = monthly(1); return nil }
	w.is(latchkey.ErrDenied, as(secret).Configure(w.ctx, change))
	_, minted := w.mint(w.access(secret), latchkey.Narrowing{})
	// Its parent has 99.
	_, _, err = as(minted).Issue(w.ctx, spec(latchkey.Limits{Rate: rate, Quotas: monthly(100).Quotas}))
	w.is(latchkey.ErrDenied, err)
}

// A quota of nothing lets nothing through, of whatever is below it, and no actor that has it gives more away.
func TestAQuotaOfNothing(t *testing.T) {
	w := newWorld(t)
	tok, secret := w.issue(latchkey.KindAPIKey, latchkey.Settings{Permissions: admin(),
		Limits: monthly(0)})
	a := w.access(secret)
	w.is(latchkey.ErrOverLimit, spend(w.ctx, a, "reads", 1))
	_, err := a.Reserve(w.ctx, "reads", latchkey.Uncounted, 1)
	w.is(latchkey.ErrOverLimit, err)
	w.ok(spend(w.ctx, a, "reads", 0))
	_, minted := w.mint(a, latchkey.Narrowing{Limits: monthly(100)})
	w.is(latchkey.ErrOverLimit, spend(w.ctx, w.access(minted), "reads", 1))
	_, err = mustAs(w, a).Update(w.ctx, tok.ID, func(t *latchkey.Token) error { t.Limits = monthly(1); return nil })
	w.is(latchkey.ErrDenied, err)
	w.update(tok, func(t *latchkey.Token) { t.Limits = monthly(1) })
	w.ok(spend(w.ctx, w.access(secret), "reads", 1))
	w.configure(func(o *latchkey.Owner) { o.Limits = monthly(0) })
	w.is(latchkey.ErrOverLimit, spend(w.ctx, w.access(secret), "reads", 1))
	got, err := w.acme.Record(w.ctx)
	w.ok(err)
	assert.Equal(t, monthly(0), got.Limits)
}
