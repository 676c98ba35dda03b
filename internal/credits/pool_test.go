package credits

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/latchkey-go/latchkey/internal/fault"
)

func TestALeaseIsPaidFromInMemory(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBooks()
		p, d := New(b, of(1000)), owned(100_000)
		for range 10_000 {
			require.NoError(t, charge(p, d, 1))
		}
		synctest.Wait()
		require.GreaterOrEqual(t, b.taken(""), int64(10_000))
		require.LessOrEqual(t, b.taken(""), int64(12_000), "two leases at most")
		require.Less(t, len(b.reservations), 15)
		require.NoError(t, p.Close(t.Context()))
		require.EqualValues(t, 10_000, b.taken(""), "a clean stop strands nothing")
		require.NoError(t, charge(p, d, 1), "a closed Pool still charges")
		require.EqualValues(t, 10_001, b.taken(""))
		require.Zero(t, b.warnings)
	})
}

func TestChargeCallsNobodyAndDoesNotAllocate(t *testing.T) {
	b := newBooks()
	p, d := New(b, of(1<<40)), owned(1<<60)
	_, ok := p.Charge(d, 1, b.at.Now)
	require.False(t, ok, "there is no lease yet")
	require.NoError(t, charge(p, d, 1))
	require.NoError(t, charge(p, d, 1))
	calls := b.called()
	require.Zero(t, testing.AllocsPerRun(1000, func() {
		if _, ok := p.Charge(d, 1, b.at.Now); !ok {
			t.Error("out of credits")
		}
	}))
	require.Equal(t, calls, b.called())
	require.NoError(t, p.Close(t.Context()))
}

func TestWithoutASizeThereAreNoLeases(t *testing.T) {
	b := newBooks()
	p, d := New(b, nil), owned(100)
	for range 5 {
		require.NoError(t, charge(p, d, 2))
		require.EqualValues(t, len(b.reservations)*2, b.taken(""))
	}
	h := reserve(t, p, d, 90)
	require.ErrorIs(t, charge(p, d, 1), fault.ErrOverLimit)
	require.NoError(t, h.Settle(t.Context(), 30))
	require.NoError(t, p.Close(t.Context()))
	require.NoError(t, charge(p, d, 60))
	require.Empty(t, p.lines())
}

// Idle leases are released, leases in use renewed, and lines that hold nothing are forgotten.
func TestRenew(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBooks()
		p, d := New(b, of(100)), owned(10_000)
		for range 3 {
			require.NoError(t, charge(p, d, 1))
		}
		b.turn(30*second - 1)
		p.Renew(t.Context())
		require.EqualValues(t, 101, b.taken(""))
		for range 20 { // for longer than a lease lasts unless it is renewed
			require.NoError(t, charge(p, d, 1))
			b.turn(20 * second)
			p.Renew(t.Context())
			b.expire()
		}
		require.EqualValues(t, 101, b.taken(""))
		b.turn(30 * second)
		p.Renew(t.Context())
		require.EqualValues(t, 23, b.taken(""))
		require.Empty(t, p.lines())
		require.Empty(t, p.holdings)
		require.Zero(t, b.warnings)
		require.NoError(t, p.Close(t.Context()))
	})
}

// In the background too, though nobody calls Renew.
func TestLeasesAreRenewedBehind(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBooks()
		p, d := New(b, of(100)), owned(10_000)
		for range 3 {
			require.NoError(t, charge(p, d, 1))
		}
		b.turn(minute)
		time.Sleep(renewEvery + time.Second)
		synctest.Wait()
		require.EqualValues(t, 3, b.taken(""))
		require.Empty(t, p.lines())
		time.Sleep(time.Hour)
		require.NoError(t, p.Close(t.Context()))
	})
}

// What a process paid out of a lease is within what the store counts as spent when the lease expires.
func TestADeadProcessOverspendsNothing(t *testing.T) {
	for _, debits := range []int64{2, 3, 17, 130, 799, 800} {
		synctest.Test(t, func(t *testing.T) {
			b := newBooks()
			p, d := New(b, of(800)), owned(20_000)
			paid := int64(0)
			for range debits {
				require.NoError(t, charge(p, d, 1))
				paid++
			}
			synctest.Wait()
			b.failing(func(string) (before, after error) { return fault.ErrUnavailable, nil })
			for charge(p, d, 1) == nil { // it goes on for as long as it can
				paid++
			}
			b.failing(nil)
			b.turn(leaseFor.Microseconds())
			b.expire() // before it renews
			require.GreaterOrEqual(t, b.taken(""), paid)
			require.LessOrEqual(t, b.taken(""), paid+2*(800/leaseShare+1))
			taken := b.taken("")
			paid += drain(t, p, d) // it comes back, late
			require.LessOrEqual(t, paid, int64(20_000))
			require.GreaterOrEqual(t, paid, 20_000-taken)
			require.NoError(t, p.Close(t.Context()))
		})
	}
}

// A reservation of which nobody knows whether it was made is settled with 0 later.
func TestUnresolvedReservationsAreSettled(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBooks()
		p, d := New(b, of(100)), owned(10_000)
		require.NoError(t, charge(p, d, 1))
		b.failing(func(call string) (before, after error) {
			if call == "reserve" {
				return nil, fault.ErrUnknownOutcome
			}
			return fault.ErrUnavailable, nil
		})
		err := charge(p, d, 1)
		require.ErrorIs(t, err, fault.ErrUnavailable)
		require.NotErrorIs(t, err, fault.ErrUnknownOutcome, "nothing was spent")
		require.EqualValues(t, 101, b.taken(""), "a lease that nobody has")
		p.Renew(t.Context())
		require.Equal(t, 1, b.warnings)
		require.EqualValues(t, 101, b.taken(""))
		b.failing(nil)
		p.Renew(t.Context())
		require.Equal(t, 1, b.warnings)
		require.EqualValues(t, 1, b.taken(""))
		require.NoError(t, p.Close(t.Context()))
	})
}

// A store that fails before and after the fact, callers that leave, two processes: what was paid is never more than the
// limit, and in the end the books agree to the last credit.
func TestPoolsSurviveABadStore(t *testing.T) {
	const limit = 3000
	b := newBooks()
	pools := [2]*Pool{New(b, of(60)), New(b, of(30))}
	b.failing(func(string) (before, after error) {
		switch rand.IntN(12) {
		case 0:
			return fault.ErrUnavailable, nil
		case 1:
			return fault.ErrUnknownOutcome, nil
		case 2:
			return nil, fault.ErrUnknownOutcome
		}
		return nil, nil
	})
	var sure, perhaps atomic.Int64
	var all sync.WaitGroup
	for g := range 16 {
		p, d := pools[g%2], owned(limit)
		if g%4 < 2 {
			d.Token, d.Limits = [16]byte{7}, &Limits{List: []Limit{{Own: true, Period: monthly, Credits: 1000},
				{Period: monthly, Credits: limit}}}
		}
		all.Go(func() {
			for i := range 60 {
				n := int64(1 + rand.IntN(3))
				ctx, cancel := context.WithCancel(context.Background())
				if i%7 == 0 {
					time.AfterFunc(time.Duration(rand.IntN(200))*time.Microsecond, cancel)
				}
				h := &Hold{}
				switch err := p.Reserve(ctx, d, n, b.Clock(), h); {
				case err == nil && h.Settle(context.Background(), n-1) == nil:
					sure.Add(n - 1)
				case err == nil, errors.Is(err, fault.ErrUnavailable), errors.Is(err, fault.ErrUnknownOutcome):
					perhaps.Add(n)
				default:
					assert.ErrorIs(t, err, fault.ErrOverLimit)
				}
				cancel()
			}
		})
	}
	all.Wait()
	b.failing(nil)
	for _, p := range pools {
		p.Renew(t.Context())
		require.NoError(t, p.Close(t.Context()))
		require.Empty(t, p.holdings)
	}
	b.turn(60 * minute)
	b.expire()
	require.LessOrEqual(t, sure.Load(), int64(limit))
	require.GreaterOrEqual(t, b.taken(""), sure.Load())
	require.LessOrEqual(t, b.taken(""), sure.Load()+perhaps.Load())
	require.Equal(t, limit-b.taken(""), drain(t, New(b, nil), owned(limit)))
}

// stuckHost has credits for everybody, and answers nobody about one owner.
type stuckHost struct {
	now     atomic.Int64
	ids     atomic.Uint32
	mu      sync.Mutex
	stuck   string
	settled map[string]bool
}

func (s *stuckHost) Reserve(context.Context, Reservation) (int64, int, error)   { return 1 << 40, 0, nil }
func (s *stuckHost) Adjust(context.Context, string, [16]byte, Adjustment) error { return nil }
func (s *stuckHost) Short(error) (string, string, bool)                         { return "", "", false }
func (s *stuckHost) Clock() Instant                                             { return Instant{Now: s.now.Load()} }
func (s *stuckHost) NewID(int64) (id [16]byte, err error)                       { id[0] = byte(s.ids.Add(1)); return }
func (s *stuckHost) Leased(context.Context, Event)                              {}
func (s *stuckHost) Warn(context.Context, string, error)                        {}
func (s *stuckHost) Group(string) uint32                                        { return 0 }

func (s *stuckHost) Settle(ctx context.Context, owner string, _ [16]byte, _ int64) error {
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

// An owner about which the store does not answer, as when a lock is held, keeps no other owner's leases from being
// renewed and released.
func TestAStuckOwnerHoldsUpNoOther(t *testing.T) {
	for what, f := range map[string]func(*Pool, context.Context) error{"renew": (*Pool).renew, "close": (*Pool).Close} {
		t.Run(what, func(t *testing.T) {
			// Time passes when all wait: what a call may take is used up by the one that is stuck, on a slow machine too.
			synctest.Test(t, func(t *testing.T) { aStuckOwner(t, f) })
		})
	}
}

func aStuckOwner(t *testing.T, f func(*Pool, context.Context) error) {
	const owners = 100
	host := &stuckHost{settled: map[string]bool{}}
	p := New(host, func(limit int64) int64 { return limit / 100 })
	for i := range owners {
		d := owned(1 << 30)
		d.Owner = fmt.Sprint(i)
		require.NoError(t, charge(p, d, 1))
		require.NoError(t, charge(p, d, 1))
	}
	host.mu.Lock()
	clear(host.settled)
	host.stuck = "0"
	host.mu.Unlock()
	host.now.Add(idleAfter.Microseconds())
	ctx, cancel := context.WithTimeout(t.Context(), 2*callTimeout)
	defer cancel()
	assert.ErrorIs(t, f(p, ctx), fault.ErrUnavailable)
	assert.Len(t, host.settled, owners-1)
	assert.NoError(t, ctx.Err(), "and it ends")
	p.Close(ctx)
}

// twoLines are a token with a limit of its own, and the owner with 1000 credits that limits both it and another.
func twoLines() (b *books, p *Pool, one, other *Debit) {
	b = newBooks()
	one = &Debit{Owner: "acme", Meter: "reads", Token: [16]byte{7},
		Limits: &Limits{List: []Limit{{Own: true, Period: monthly, Credits: 900}, {Period: monthly, Credits: 1000}}}}
	return b, New(b, of(100)), one, owned(1000)
}

func TestWhatComesFreeWhileTheStoreRefusesIsNotRefused(t *testing.T) {
	b, p, one, other := twoLines()
	require.NoError(t, charge(p, one, 1))
	require.NoError(t, charge(p, one, 1))
	hold := reserve(t, p, one, 8)
	refusals := 0
	b.steps(nil, func(r Reservation, err error) {
		if r.Amount != 993 || !errors.Is(err, fault.ErrOverLimit) {
			return
		}
		if refusals++; refusals == 2 { // all leases have returned what they could
			assert.NoError(t, hold.Settle(t.Context(), 5))
		}
	})
	require.NoError(t, charge(p, other, 993))
	require.Equal(t, 2, refusals)
	require.ErrorIs(t, charge(p, other, 1), fault.ErrOverLimit)
	require.NoError(t, p.Close(t.Context()))
}

func TestNobodyTakesALeaseWhileAnotherAsksForTheLast(t *testing.T) {
	b, p, one, other := twoLines()
	for range 3 {
		require.NoError(t, charge(p, one, 1))
	}
	require.EqualValues(t, 101, b.taken(""), "a lease is out")
	asked := 0
	b.steps(func(r Reservation, _ error) {
		if r.Amount != 990 {
			return
		}
		if asked++; asked == 2 {
			for range 3 {
				assert.NoError(t, charge(p, one, 1))
			}
			assert.EqualValues(t, 6, b.taken(""), "each by itself")
		}
	}, nil)
	require.NoError(t, charge(p, other, 990))
	require.Equal(t, 2, asked)
	require.NoError(t, p.Close(t.Context()))
}

func TestARefusalWaitsForTheLeaseThatIsOnItsWay(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b, p, one, other := twoLines()
		require.NoError(t, charge(p, one, 1))
		taken, refused := make(chan struct{}), make(chan struct{})
		var leased, short atomic.Bool
		b.steps(nil, func(r Reservation, err error) {
			switch {
			case r.Amount == 100 && !leased.Swap(true): // a lease: the store has it, the process does not know
				close(taken)
				<-refused
				time.Sleep(time.Second) // it arrives once nobody can do anything without it
			case r.Amount == 990 && err != nil && !short.Swap(true):
				close(refused)
			}
		})
		var all sync.WaitGroup
		all.Go(func() { assert.NoError(t, charge(p, one, 1)) })
		<-taken
		require.NoError(t, charge(p, other, 990))
		require.True(t, short.Load(), "it was refused at first")
		all.Wait()
		require.LessOrEqual(t, drain(t, p, one), int64(8))
		require.EqualValues(t, 1000, b.taken(""))
		require.NoError(t, p.Close(t.Context()))
	})
}

// halfHost answers about the owners of one group at once, and about those of the other not at all.
type halfHost struct {
	stuckHost
	hangs   atomic.Bool
	renewed sync.Map // by owner: when
}

func (s *halfHost) Group(owner string) uint32 { return uint32(strings.Count(owner, "away")) }

func (s *halfHost) Adjust(ctx context.Context, owner string, _ [16]byte, _ Adjustment) error {
	if s.hangs.Load() && s.Group(owner) == 1 {
		<-ctx.Done()
		return fault.Unavailable(ctx.Err())
	}
	s.renewed.Store(owner, time.Now())
	return nil
}

// A part of the store that does not answer lets no lease of another part expire, however many leases there are.
func TestAStuckGroupHoldsUpNoOther(t *testing.T) {
	for what, renew := range map[string]func(*Pool, context.Context){
		"all":   (*Pool).Renew,
		"group": func(p *Pool, ctx context.Context) { p.RenewGroup(ctx, 0) },
	} {
		t.Run(what, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				const owners = 200
				host := &halfHost{}
				host.settled = map[string]bool{}
				p := New(host, func(limit int64) int64 { return limit / 100 })
				use := func() {
					for i := range 2 * owners {
						d := owned(1 << 30)
						d.Owner = fmt.Sprint([]string{"here ", "away "}[i%2], i)
						require.NoError(t, charge(p, d, 1))
					}
				}
				use()
				use()
				host.now.Add(leaseFor.Microseconds()/2 + 1)
				use()
				host.renewed.Clear()
				host.hangs.Store(true)
				begin, n := time.Now(), 0
				renew(p, t.Context())
				if what == "group" {
					assert.Zero(t, time.Since(begin), "the other group is not asked")
				}
				host.renewed.Range(func(_, at any) bool {
					n++
					assert.LessOrEqual(t, at.(time.Time).Sub(begin), leaseFor/4)
					return true
				})
				assert.Equal(t, owners, n)
				host.hangs.Store(false)
				require.NoError(t, p.Close(t.Context()))
			})
		})
	}
}

// What this process still holds of the period before is carried all the same: it is returned before a refusal.
func TestWhatIsHeldOfThePeriodBeforeIsCarried(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBooks()
		p := New(b, of(50))
		d := &Debit{Owner: "acme", Meter: "reads", Limits: &Limits{List: []Limit{
			{Period: Period{Unit: Minute}, Credits: 1000, Carry: 1000}}}}
		for range 3 {
			require.NoError(t, charge(p, d, 1))
		}
		synctest.Wait()
		b.turn(minute)
		other := &Debit{Owner: "acme", Meter: "reads", Limits: &Limits{List: append([]Limit{{TokenID: "t",
			Period: Period{Unit: Minute}, Credits: 5000}}, d.Limits.List...), Nearest: [16]byte{1}}}
		require.NoError(t, charge(p, other, 1000+997), "another line, so that nothing but the refusal returns it")
		require.ErrorIs(t, charge(p, other, 1), fault.ErrOverLimit)
		require.NoError(t, p.Close(t.Context()))
	})
}

// A lease of a short period is returned so much sooner. That of a long one beside it does not wait longer for that.
func TestShortLeasesAreReturnedSoon(t *testing.T) {
	for unit, c := range map[Unit]struct{ held, returned time.Duration }{
		Minute:  {7 * time.Second, 12 * time.Second},
		Hour:    {29 * time.Second, 45 * time.Second},
		Forever: {29 * time.Second, 45 * time.Second},
	} {
		synctest.Test(t, func(t *testing.T) {
			b := newBooks()
			b.at = Instant{Now: time.Date(2026, 3, 4, 5, 6, 0, 0, time.UTC).UnixMicro()}
			p := New(b, of(100))
			taken := func(token string) int64 {
				b.mu.Lock()
				defer b.mu.Unlock()
				return b.used[accountName{"acme", token, "reads", ""}]
			}
			var debits []*Debit
			for _, id := range []string{"long", "short"} {
				list := []Limit{{TokenID: id, Period: Period{Unit: Forever}, Credits: 10_000}}
				if id == "short" && unit != Forever {
					list = append(list, Limit{TokenID: id, Period: Period{Unit: unit}, Credits: 10_000})
				}
				debits = append(debits, &Debit{Owner: "acme", Meter: "reads",
					Limits: &Limits{List: list, Nearest: [16]byte{id[0]}}})
			}
			for _, d := range debits {
				for range 3 {
					require.NoError(t, charge(p, d, 1))
				}
			}
			synctest.Wait()
			require.EqualValues(t, 101, taken("short"))
			pass := func(d time.Duration) { // both clocks
				for range d / (250 * time.Millisecond) {
					b.turn(250_000)
					time.Sleep(250 * time.Millisecond)
					synctest.Wait()
				}
			}
			pass(c.held)
			require.EqualValues(t, 101, taken("short"), "unit %d", unit)
			require.EqualValues(t, 101, taken("long"))
			pass(c.returned - c.held)
			require.EqualValues(t, 3, taken("short"), "unit %d", unit)
			pass(45*time.Second - c.returned)
			require.EqualValues(t, 3, taken("long"))
			require.NoError(t, p.Close(t.Context()))
		})
	}
}
