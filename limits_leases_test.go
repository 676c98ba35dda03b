package latchkey_test

import (
	"cmp"
	"context"
	"crypto/rand"
	"errors"
	mathrand "math/rand/v2"
	"os"
	"runtime"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/latchkey-go/latchkey"
)

// creditLease is Options.CreditLease of every test; nil but for those of TestLimitsHoldWithLeases.
var creditLease func(latchkey.Credits) latchkey.Credits

// All that is promised of one process without leases is promised with them.
func TestLimitsHoldWithLeases(t *testing.T) {
	defer func() { creditLease = nil }()
	for name, size := range map[string]func(latchkey.Credits) latchkey.Credits{
		"a hundredth": latchkey.Hundredth,
		"all":         func(limit latchkey.Credits) latchkey.Credits { return limit },
	} {
		creditLease = size
		for what, test := range map[string]func(*testing.T){
			"amounts": TestAmounts, "no limit": TestNoLimitAsksNobody, "exact": TestCreditsAreExact,
			"chains": TestAllAccountsOfAChainPayOrNone, "a lowered limit": TestALoweredLimitBitesAtTheNextVerify,
			"the month": TestTheMonthTurnsInUTC, "lapsing": TestAHoldNobodySettlesLapses,
			"once": TestAChargeIsMadeOnceWhateverTheStoreSays,
		} {
			t.Run(name+"/"+what, test)
		}
	}
}

// ledger counts what is asked of a store, and says how it looks from there.
type ledger struct {
	latchkey.Store
	reserves, adjusts, settles atomic.Int64
	asking, most               atomic.Int64 // Reserves under way
	fault                      atomic.Pointer[func() (before, after error)]
}

func (s *ledger) call(f func() error) error {
	var before, after error
	if fault := s.fault.Load(); fault != nil {
		before, after = (*fault)()
	}
	if before != nil {
		return before
	}
	return cmp.Or(f(), after)
}

func (s *ledger) Reserve(ctx context.Context, r latchkey.Reservation) (got latchkey.Reserved, err error) {
	s.reserves.Add(1)
	n := s.asking.Add(1)
	for was := s.most.Load(); n > was && !s.most.CompareAndSwap(was, n); was = s.most.Load() {
	}
	runtime.Gosched()
	defer s.asking.Add(-1)
	err = s.call(func() (err error) { got, err = s.Store.Reserve(ctx, r); return err })
	return got, err
}

func (s *ledger) Adjust(ctx context.Context, owner string, key [16]byte, a latchkey.Adjustment) error {
	s.adjusts.Add(1)
	return s.call(func() error { return s.Store.Adjust(ctx, owner, key, a) })
}

func (s *ledger) Settle(ctx context.Context, owner string, key [16]byte, actual latchkey.Credits) error {
	s.settles.Add(1)
	return s.call(func() error { return s.Store.Settle(ctx, owner, key, actual) })
}

// taken is what the store counts as taken from an account in the month of the clock.
func (w *world) taken(tokenID, meter string) latchkey.Credits {
	w.Helper()
	const limit = 1 << 60
	key := [16]byte{0xAA}
	_, err := rand.Read(key[1:])
	w.ok(err)
	r := latchkey.Reservation{Owner: "acme", Key: key, Amount: 1, Accounts: []latchkey.CreditAccount{
		{TokenID: tokenID, Meter: meter, Period: w.now().Format("2006-01"), Limit: limit}}}
	inner := w.store.Store.(*ledger).Store
	got, err := inner.Reserve(w.ctx, r)
	w.ok(err)
	w.ok(inner.Settle(w.ctx, "acme", key, 0))
	return limit - got.Left - 1
}

// leaseWorld is a world whose managers take leases of so many credits.
func leaseWorld(t *testing.T, size latchkey.Credits) (*world, *ledger) {
	w := newWorld(t, func(o *latchkey.Options) { o.CreditLease = leasesOf(size) })
	s := &ledger{Store: w.store.Store}
	w.store.Store = s
	return w, s
}

func leasesOf(size latchkey.Credits) func(latchkey.Credits) latchkey.Credits {
	return func(latchkey.Credits) latchkey.Credits { return size }
}

// process is another process over the same store.
func (w *world) process(size latchkey.Credits) *latchkey.Manager {
	return latchkey.New(w.store, &latchkey.Options{Clock: w.now, CreditLease: leasesOf(size)})
}

func (w *world) accessOf(keys *latchkey.Manager, secret string) latchkey.Access {
	w.Helper()
	a, err := keys.Verify(w.ctx, latchkey.Presented{Secret: secret})
	w.ok(err)
	return a
}

// drain charges 1 until it is refused, and says how often it was not.
func (w *world) drain(a latchkey.Access, meter string) (n latchkey.Credits) {
	w.Helper()
	for {
		err := spend(w.ctx, a, meter, 1)
		if errors.Is(err, latchkey.ErrOverLimit) {
			return n
		}
		w.ok(err)
		n++
	}
}

func (w *world) purge() {
	w.Helper()
	_, err := w.keys.Purge(w.ctx)
	w.ok(err)
}

func TestLeasesArePaidOutOfInMemory(t *testing.T) {
	w, store := leaseWorld(t, 1000)
	tok, secret := w.issue(latchkey.KindAPIKey, credits(100_000))
	a := w.access(secret)
	for range 10_000 {
		w.ok(spend(w.ctx, a, "reads", 1))
	}
	calls := store.reserves.Load() + store.adjusts.Load() + store.settles.Load()
	assert.Less(t, calls, int64(300), "10,000 debits")
	assert.GreaterOrEqual(t, w.taken(tok.ID, "reads"), latchkey.Credits(10_000))
	assert.LessOrEqual(t, w.taken(tok.ID, "reads"), latchkey.Credits(12_000), "two leases at most")
	w.ok(w.keys.Close(w.ctx))
	assert.EqualValues(t, 10_000, w.taken(tok.ID, "reads"), "a clean stop strands nothing")
	w.ok(spend(w.ctx, a, "reads", 1)) // a closed manager still charges, each debit by itself
	assert.EqualValues(t, 10_001, w.taken(tok.ID, "reads"))
}

func TestOneDebitTakesNoLease(t *testing.T) {
	w, _ := leaseWorld(t, 1000)
	tok, secret := w.issue(latchkey.KindAPIKey, credits(100_000))
	w.ok(spend(w.ctx, w.access(secret), "reads", 7))
	assert.EqualValues(t, 7, w.taken(tok.ID, "reads"))
}

func TestLeasesShrinkAsLessIsLeft(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w, _ := leaseWorld(t, 1000)
		tok, secret := w.issue(latchkey.KindAPIKey, credits(5000))
		a := w.access(secret)
		for spent := latchkey.Credits(1); spent <= 5000; spent++ {
			w.ok(spend(w.ctx, a, "reads", 1))
			synctest.Wait() // what is taken and given back in the background has been
			held := w.taken(tok.ID, "reads") - spent
			require.LessOrEqual(t, held, (5000-spent)/4+1, "after %d", spent)
		}
		w.is(latchkey.ErrOverLimit, spend(w.ctx, a, "reads", 1))
	})
}

// However many are waiting, one of a process asks the store.
func TestOneOfAProcessAsksForAllThatWait(t *testing.T) {
	w, store := leaseWorld(t, 500)
	_, secret := w.issue(latchkey.KindAPIKey, credits(3000))
	a := w.access(secret)
	var paid atomic.Int64
	var all sync.WaitGroup
	for range 64 {
		all.Go(func() {
			for range 60 {
				if err := spend(w.ctx, a, "reads", 1); err == nil {
					paid.Add(1)
				} else {
					assert.ErrorIs(t, err, latchkey.ErrOverLimit)
				}
			}
		})
	}
	all.Wait()
	assert.EqualValues(t, 3000, paid.Load())
	assert.LessOrEqual(t, store.most.Load(), int64(2), "the next lease may come while somebody asks for an exact amount")
}

// What this process holds is returned before it refuses a debit, and nothing else is.
func TestARefusalIsExactForWhatThisProcessHolds(t *testing.T) {
	w, store := leaseWorld(t, 200)
	w.configure(func(o *latchkey.Owner) { o.Limits = monthly(10_000) })
	_, parentSecret := w.issue(latchkey.KindAPIKey, credits(5000))
	parent := w.access(parentSecret)
	_, childSecret := w.mint(parent, latchkey.Narrowing{Limits: monthly(1000)})
	child := w.access(childSecret)
	_, strangerSecret := w.key(readAll())
	stranger := w.access(strangerSecret)
	_, spentSecret := w.issue(latchkey.KindAPIKey, credits(50))
	w.ok(spend(w.ctx, w.access(spentSecret), "reads", 50))
	for _, a := range []latchkey.Access{parent, child, stranger} {
		for range 3 {
			w.ok(spend(w.ctx, a, "reads", 1))
		}
	}
	h, err := child.Reserve(w.ctx, "reads", latchkey.Uncounted, 5)
	w.ok(err)
	require.Eventually(t, func() bool { return w.taken("", "reads") > 550 }, time.Minute, time.Millisecond,
		"three leases are out")
	before, settled := w.taken("", "reads"), store.settles.Load()
	w.is(latchkey.ErrOverLimit, spend(w.ctx, w.access(spentSecret), "reads", 1))
	assert.Equal(t, before, w.taken("", "reads"), "its own account was short: no lease had to return anything")
	assert.Equal(t, settled, store.settles.Load())

	free := latchkey.Credits(10_000 - 50 - 9 - 5)
	w.is(latchkey.ErrOverLimit, spend(w.ctx, stranger, "reads", free+1))
	w.ok(spend(w.ctx, stranger, "reads", free))
	for _, a := range []latchkey.Access{parent, child, stranger} {
		w.is(latchkey.ErrOverLimit, spend(w.ctx, a, "reads", 1))
	}
	w.ok(h.Settle(w.ctx, 2))
	w.is(latchkey.ErrOverLimit, spend(w.ctx, stranger, "reads", 4)) // 3 came back to a lease of the child's
	w.ok(spend(w.ctx, stranger, "reads", 3))
	w.is(latchkey.ErrOverLimit, spend(w.ctx, child, "reads", 1))
	assert.EqualValues(t, 10_000, w.taken("", "reads"))
}

func TestALeaseBelongsToItsMonth(t *testing.T) {
	w, _ := leaseWorld(t, 100)
	tok, secret := w.issue(latchkey.KindAPIKey, credits(1000))
	a := w.access(secret)
	for range 5 {
		w.ok(spend(w.ctx, a, "reads", 1))
	}
	h, err := a.Reserve(w.ctx, "reads", latchkey.Uncounted, 6)
	w.ok(err)
	march := w.time.Load()
	assert.Greater(t, w.taken(tok.ID, "reads"), latchkey.Credits(90))
	w.time.Store(time.Date(2026, 4, 1, 0, 0, 0, 0, time.UTC).UnixMicro())
	assert.EqualValues(t, 1000, w.drain(a, "reads"), "all of April")
	april := w.time.Load()
	w.time.Store(march)
	require.Eventually(t, func() bool { return w.taken(tok.ID, "reads") == 11 }, time.Minute, time.Millisecond,
		"what was not spent of March is returned to March")
	w.time.Store(april)
	w.ok(h.Settle(w.ctx, 2)) // as are Holds
	w.time.Store(march)
	require.Eventually(t, func() bool { return w.taken(tok.ID, "reads") == 7 }, time.Minute, time.Millisecond)
}

func TestALeaseTakenUnderAnotherLimitPaysNobodyElse(t *testing.T) {
	w, _ := leaseWorld(t, 100)
	tok, secret := w.issue(latchkey.KindAPIKey, credits(1000))
	old := w.access(secret)
	for range 20 {
		w.ok(spend(w.ctx, old, "reads", 1))
	}
	require.Greater(t, w.taken(tok.ID, "reads"), latchkey.Credits(100))
	w.update(tok, func(t *latchkey.Token) { t.Limits = monthly(25) })
	lowered := w.access(secret)
	assert.EqualValues(t, 5, w.drain(lowered, "reads"), "what is held under the old limit does not count as spent")
	w.ok(spend(w.ctx, old, "reads", 1)) // a snapshot
	w.is(latchkey.ErrOverLimit, spend(w.ctx, lowered, "reads", 1))
	w.update(tok, func(t *latchkey.Token) { t.Limits = monthly(500) })
	raised := w.access(secret)
	w.ok(spend(w.ctx, raised, "reads", 1))
	w.is(latchkey.ErrOverLimit, spend(w.ctx, lowered, "reads", 1))
	w.ok(w.keys.Close(w.ctx))
	assert.EqualValues(t, 27, w.taken(tok.ID, "reads"))
}

// A process that dies loses what it had committed at most; the rest comes back after the lease.
func TestWhatADeadProcessHeldComesBack(t *testing.T) {
	for _, debits := range []int{2, 3, 17, 130, 799, 800} {
		w, store := leaseWorld(t, 800)
		tok, secret := w.issue(latchkey.KindAPIKey, credits(20_000))
		line := &ledger{Store: store.Store} // of the one that dies
		dying := latchkey.New(line, &latchkey.Options{Clock: w.now, CreditLease: leasesOf(800)})
		dead := w.accessOf(dying, secret)
		for range debits {
			w.ok(spend(w.ctx, dead, "reads", 1))
		}
		acked := latchkey.Credits(debits)
		cut := func() (before, after error) { return latchkey.ErrUnavailable, nil }
		line.fault.Store(&cut)
		if debits == 17 { // it goes on for as long as it can, and dies then
			for spend(w.ctx, dead, "reads", 1) == nil {
				acked++
			}
		}
		live := w.access(secret)
		for range 10 {
			w.ok(spend(w.ctx, live, "reads", 1))
		}
		w.turn(5*time.Minute - time.Microsecond)
		w.ok(spend(w.ctx, live, "reads", 1)) // so this one is not idle
		w.purge()
		w.turn(5 * time.Minute) // whatever renewed what, the dead renew nothing
		w.purge()
		w.ok(w.keys.Close(w.ctx))
		lost := w.taken(tok.ID, "reads") - acked - 11
		assert.GreaterOrEqual(t, lost, latchkey.Credits(0), "what was acknowledged is counted: %d", debits)
		assert.LessOrEqual(t, lost, latchkey.Credits(2*(800/8+1)), "an eighth of a lease each: %d", debits)
		if debits <= 2 {
			assert.LessOrEqual(t, lost, latchkey.Credits(101))
		}
		rest := w.accessOf(w.process(800), secret)
		assert.Equal(t, 20_000-acked-11-lost, w.drain(rest, "reads"))
	}
}

// The leases of a process that lives are purged, by a time that is ahead: it pays what was committed, and no more. A
// Manager whose clock is ahead does not purge them.
func TestALeaseThatExpiredUnderItsProcess(t *testing.T) {
	w, _ := leaseWorld(t, 800)
	tok, secret := w.issue(latchkey.KindAPIKey, credits(10_000))
	a := w.access(secret)
	spent := latchkey.Credits(0)
	for range 10 {
		w.ok(spend(w.ctx, a, "reads", 1))
		spent++
	}
	ahead := latchkey.New(w.store, &latchkey.Options{Clock: func() time.Time { return w.now().Add(time.Hour) }})
	_, err := ahead.Purge(w.ctx)
	w.is(latchkey.ErrUnavailable, err)
	_, err = w.store.Purge(w.ctx, latchkey.PurgePolicy{Now: w.now().Add(time.Hour), Expired: -1, Revoked: -1}, 1000)
	w.ok(err)
	spent += w.drain(a, "reads")
	assert.LessOrEqual(t, spent, latchkey.Credits(10_000))
	assert.GreaterOrEqual(t, spent, latchkey.Credits(10_000-202), "all but what was committed and not spent can be spent")
	assert.EqualValues(t, 10_000, w.taken(tok.ID, "reads"))
}

func TestWithoutItsStoreAProcessPaysWhatIsCommitted(t *testing.T) {
	w, store := leaseWorld(t, 800)
	tok, secret := w.issue(latchkey.KindAPIKey, credits(10_000))
	a := w.access(secret)
	spent := latchkey.Credits(0)
	for range 3 {
		w.ok(spend(w.ctx, a, "reads", 1))
		spent++
	}
	for _, down := range []error{latchkey.ErrUnavailable, latchkey.ErrUnknownOutcome} {
		gone := func() (before, after error) { return down, nil }
		store.fault.Store(&gone)
		var err error
		for range 1000 {
			if err = spend(w.ctx, a, "reads", 1); err != nil {
				break
			}
			spent++
		}
		w.is(latchkey.ErrUnavailable, err)
		assert.NotErrorIs(t, err, latchkey.ErrUnknownOutcome, "nothing was spent")
		_, err = a.Reserve(w.ctx, "reads", latchkey.Uncounted, 1)
		w.is(latchkey.ErrUnavailable, err)
		assert.LessOrEqual(t, spent, w.taken(tok.ID, "reads"))
		store.fault.Store(nil)
		w.ok(spend(w.ctx, a, "reads", 1))
		spent++
	}
	w.ok(w.keys.Close(w.ctx))
	assert.Equal(t, spent, w.taken(tok.ID, "reads"))
}

// A store that fails before and after the fact, callers that leave, two processes: what was acknowledged is never more
// than the limit, and in the end the books agree to the last credit.
func TestLeasesSurviveABadStore(t *testing.T) {
	rounds := latchkey.Credits(60)
	if os.Getenv("LONG") != "" {
		rounds = 1300 // by 32 callers: more than 40,000 operations
	}
	w, store := leaseWorld(t, 60)
	w.configure(func(o *latchkey.Owner) { o.Limits = monthly(70 * rounds) })
	_, parentSecret := w.issue(latchkey.KindAPIKey, credits(50*rounds))
	_, childSecret := w.mint(w.access(parentSecret), latchkey.Narrowing{Limits: monthly(17 * rounds)})
	other := w.process(30)
	bad := func() (before, after error) {
		switch mathrand.IntN(12) {
		case 0:
			return latchkey.ErrUnavailable, nil
		case 1:
			return latchkey.ErrUnknownOutcome, nil
		case 2:
			return nil, latchkey.ErrUnknownOutcome
		}
		return nil, nil
	}
	store.fault.Store(&bad)
	var sure, perhaps atomic.Int64
	var all sync.WaitGroup
	for g := range 32 {
		keys := w.keys
		if g%2 == 0 {
			keys = other
		}
		secret := parentSecret
		if g%4 < 2 {
			secret = childSecret
		}
		a := w.accessOf(keys, secret)
		all.Go(func() {
			for i := range rounds {
				n := latchkey.Credits(1 + mathrand.IntN(3))
				ctx, cancel := context.WithTimeout(w.ctx, time.Hour)
				if i%7 == 0 {
					time.AfterFunc(time.Duration(mathrand.IntN(200))*time.Microsecond, cancel)
				}
				if i%3 != 0 {
					switch err := spend(ctx, a, "reads", n); {
					case err == nil:
						sure.Add(int64(n))
					case errors.Is(err, latchkey.ErrUnavailable), errors.Is(err, latchkey.ErrUnknownOutcome):
						perhaps.Add(int64(n))
					default:
						assert.ErrorIs(t, err, latchkey.ErrOverLimit)
					}
				} else if h, err := a.Reserve(ctx, "reads", latchkey.Uncounted, n); err == nil {
					if h.Settle(w.ctx, n-1) == nil {
						sure.Add(int64(n - 1))
					} else {
						perhaps.Add(int64(n))
					}
				}
				cancel()
			}
		})
	}
	all.Wait()
	store.fault.Store(nil)
	assert.LessOrEqual(t, sure.Load(), int64(50*rounds))
	w.purge()
	w.ok(other.Close(w.ctx))
	w.ok(w.keys.Close(w.ctx))
	w.turn(time.Hour)
	w.purge()
	taken := int64(w.taken("", "reads"))
	assert.GreaterOrEqual(t, taken, sure.Load())
	assert.LessOrEqual(t, taken, sure.Load()+perhaps.Load(), "nothing is stranded but what nobody was told about")
	rest := w.accessOf(w.process(50), parentSecret)
	assert.EqualValues(t, int64(50*rounds)-taken, w.drain(rest, "reads"))
}

func TestHoldsOutOfALease(t *testing.T) {
	w, store := leaseWorld(t, 400)
	tok, secret := w.issue(latchkey.KindAPIKey, credits(10_000))
	a := w.access(secret)
	w.ok(spend(w.ctx, a, "reads", 1))
	w.ok(spend(w.ctx, a, "reads", 1))
	asked := store.reserves.Load()
	var holds []*latchkey.Hold
	for range 5 {
		h, err := a.Reserve(w.ctx, "reads", latchkey.Uncounted, 4)
		w.ok(err)
		holds = append(holds, h)
	}
	assert.Equal(t, asked, store.reserves.Load())
	assert.EqualValues(t, 10_000-2-4, holds[0].Left().Credits)
	w.ok(holds[2].Settle(w.ctx, 1)) // out of the middle
	w.ok(holds[2].Settle(w.ctx, 1))
	w.is(latchkey.ErrConflict, holds[2].Settle(w.ctx, 2))
	assert.EqualValues(t, 10_000-2-12+3, holds[2].Left().Credits)

	w.turn(15*time.Minute - time.Microsecond)
	late, err := a.Reserve(w.ctx, "reads", latchkey.Uncounted, 4)
	w.ok(err)
	w.purge()
	w.ok(holds[4].Settle(w.ctx, 3)) // in time
	w.turn(time.Microsecond)
	w.ok(holds[3].Settle(w.ctx, 3)) // late, but nobody has purged yet
	w.purge()
	w.is(latchkey.ErrConflict, holds[0].Settle(w.ctx, 1))
	w.ok(holds[1].Settle(w.ctx, 0))

	// Close returns all but what is out; that is returned when it is settled.
	w.ok(w.keys.Close(w.ctx))
	assert.EqualValues(t, 2+1+3+3+4, w.taken(tok.ID, "reads"))
	gone := func() (before, after error) { return latchkey.ErrUnavailable, nil }
	store.fault.Store(&gone)
	w.is(latchkey.ErrUnavailable, late.Settle(w.ctx, 2))
	store.fault.Store(nil)
	w.ok(late.Settle(w.ctx, 2))
	assert.EqualValues(t, 2+1+3+3+2, w.taken(tok.ID, "reads"))
}

// A Hold of which the store could not be told is settled all the same: with one amount.
func TestAHoldIsSettledWithOneAmountThoughTheStoreIsGone(t *testing.T) {
	w, store := leaseWorld(t, 400)
	tok, secret := w.issue(latchkey.KindAPIKey, credits(10_000))
	a := w.access(secret)
	w.ok(spend(w.ctx, a, "reads", 1))
	w.ok(spend(w.ctx, a, "reads", 1))
	hold, err := a.Reserve(w.ctx, "reads", latchkey.Uncounted, 4)
	w.ok(err)
	w.ok(w.keys.Close(w.ctx))
	gone := func() (before, after error) { return latchkey.ErrUnavailable, nil }
	store.fault.Store(&gone)
	w.is(latchkey.ErrUnavailable, hold.Settle(w.ctx, 0))
	store.fault.Store(nil)
	w.is(latchkey.ErrConflict, hold.Settle(w.ctx, 4))
	w.ok(hold.Settle(w.ctx, 0))
	assert.EqualValues(t, 2, w.taken(tok.ID, "reads"))
}

func TestIdleLeasesAreReturned(t *testing.T) {
	w, _ := leaseWorld(t, 100)
	tok, secret := w.issue(latchkey.KindAPIKey, credits(10_000))
	a := w.access(secret)
	for range 3 {
		w.ok(spend(w.ctx, a, "reads", 1))
	}
	w.turn(30*time.Second - time.Microsecond)
	w.purge()
	assert.EqualValues(t, 101, w.taken(tok.ID, "reads"))
	w.turn(time.Microsecond)
	w.purge()
	assert.EqualValues(t, 3, w.taken(tok.ID, "reads"))
	w.ok(spend(w.ctx, a, "reads", 1))
}

func TestTokensThatShareTheirAccountsShareALease(t *testing.T) {
	w, store := leaseWorld(t, 1000)
	w.configure(func(o *latchkey.Owner) { o.Limits = monthly(1 << 40) })
	for range 50 {
		_, secret := w.key(readAll())
		w.ok(spend(w.ctx, w.access(secret), "reads", 1))
	}
	w.ok(spend(w.ctx, must(w.acme.Assume(latchkey.Client{ID: "7"}, nil)), "reads", 1))
	assert.EqualValues(t, 2, store.reserves.Load(), "one debit and one lease")
}

func TestSpendingOutOfALeaseDoesNotAllocate(t *testing.T) {
	lease := func(o *latchkey.Options) { o.CreditLease = leasesOf(1 << 40) }
	access := func(w *world) latchkey.Access {
		_, secret := w.issue(latchkey.KindAPIKey, credits(1<<60))
		return w.access(secret)
	}
	assert.Zero(t, allocates(t, 1000, func(w *world) func() {
		a := access(w)
		return func() { _ = spend(w.ctx, a, "reads", 1) }
	}, lease))
	assert.LessOrEqual(t, allocates(t, 1000, func(w *world) func() {
		a := access(w)
		return func() {
			h, _ := a.Reserve(w.ctx, "reads", latchkey.Uncounted, 2)
			_ = h.Settle(w.ctx, 1)
		}
	}, lease), 1.0)
}
