package credits

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/latchkey-go/latchkey/internal/fault"
)

const (
	second = int64(1e6)
	minute = 60 * second
)

// books is a Host that keeps accounts in memory, and at which a test steps in.
type books struct {
	mu            sync.Mutex
	at            Instant
	ids           uint32
	used          map[accountName]int64
	reservations  map[[16]byte]*booked
	calls         int
	warnings      int
	before, after func(r Reservation, err error)          // of each Reserve
	fail          func(call string) (before, after error) // of each call
}

type booked struct {
	Reservation
	committed, spent int64
	over             bool
}

type shortError struct{ tokenID, period string }

func (e *shortError) Error() string { return fmt.Sprintf("%q is short", e.tokenID) }
func (e *shortError) Unwrap() error { return fault.ErrOverLimit }

func newBooks() *books {
	now := time.Date(2026, 3, 4, 5, 6, 7, 0, time.UTC).UnixMicro()
	return &books{at: Instant{now, now}, used: map[accountName]int64{}, reservations: map[[16]byte]*booked{}}
}

// call makes one call, with the fault that the test wants, in the lock.
func (b *books) call(name string, f func() error) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.calls++
	if b.fail == nil {
		return f()
	}
	before, after := b.fail(name)
	if before != nil {
		return before
	}
	if err := f(); err != nil {
		return err
	}
	return after
}

func (b *books) step(f *func(Reservation, error), r Reservation, err error) {
	b.mu.Lock()
	step := *f
	b.mu.Unlock()
	if step != nil {
		step(r, err)
	}
}

func (b *books) Reserve(_ context.Context, r Reservation) (left int64, least int, err error) {
	b.step(&b.before, r, nil)
	err = b.call("reserve", func() error { left, least, err = b.reserve(r); return err })
	b.step(&b.after, r, err)
	return left, least, err
}

func (b *books) reserve(r Reservation) (left int64, least int, err error) {
	left = int64(1) << 62
	_, again := b.reservations[r.Key]
	for i := range r.Accounts.Len() {
		a := r.Accounts.At(i)
		name := nameOf(r.Owner, a)
		limit := a.Limit
		if a.CarryFrom != "" {
			before := name
			before.period = a.CarryFrom
			limit += min(a.Carry, max(a.Limit-b.used[before], 0))
		}
		if !again && b.used[name]+r.Amount > limit {
			return 0, 0, &shortError{a.TokenID, a.Period}
		}
		now := limit - b.used[name]
		if !again {
			now -= r.Amount
		}
		if now < left {
			left, least = now, i
		}
	}
	if !again {
		b.reservations[r.Key] = &booked{Reservation: r}
		b.take(r, r.Amount)
	}
	return left, least, nil
}

func (b *books) take(r Reservation, n int64) {
	for i := range r.Accounts.Len() {
		b.used[nameOf(r.Owner, r.Accounts.At(i))] += n
	}
}

func (b *books) Adjust(_ context.Context, _ string, key [16]byte, a Adjustment) error {
	return b.call("adjust", func() error {
		r := b.reservations[key]
		if r == nil {
			return fault.ErrNotFound
		}
		if r.over || a.Committed > r.Amount {
			return fault.ErrConflict
		}
		if a.Amount < r.Amount {
			b.take(r.Reservation, a.Amount-r.Amount)
			r.Amount = a.Amount
		}
		r.committed = min(max(r.committed, a.Committed), r.Amount)
		r.Until = max(r.Until, a.Until)
		return nil
	})
}

func (b *books) Settle(_ context.Context, _ string, key [16]byte, spent int64) error {
	return b.call("settle", func() error {
		r := b.reservations[key]
		if r == nil {
			return fault.ErrNotFound
		}
		if r.over && r.spent != spent {
			return fault.ErrConflict
		}
		b.end(r, spent)
		return nil
	})
}

func (b *books) end(r *booked, spent int64) {
	if !r.over {
		b.take(r.Reservation, spent-r.Amount)
		r.over, r.spent = true, spent
	}
}

func (b *books) Short(err error) (tokenID, period string, ok bool) {
	var short *shortError
	if !errors.As(err, &short) {
		return "", "", false
	}
	return short.tokenID, short.period, true
}

func (b *books) Clock() Instant {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.calls++
	return b.at
}

func (b *books) NewID(int64) (id [16]byte, err error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.calls++
	b.ids++
	binary.BigEndian.PutUint32(id[:], b.ids)
	return id, nil
}

func (b *books) Group(string) uint32 { return 0 }

func (b *books) Leased(context.Context, Event) {}

func (b *books) Warn(context.Context, string, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.warnings++
}

// turn sets the clock. Expire does what a store does with reservations that nobody renewed.
func (b *books) turn(by int64) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.at.Now += by
	b.at.Elapsed += by
}

func (b *books) expire() {
	b.mu.Lock()
	defer b.mu.Unlock()
	for _, r := range b.reservations {
		if r.Until <= b.at.Now {
			b.end(r, r.committed)
		}
	}
}

func (b *books) failing(f func(call string) (before, after error)) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.fail = f
}

func (b *books) steps(before, after func(Reservation, error)) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.before, b.after = before, after
}

// taken is what the books count as taken from an account in the month of the clock.
func (b *books) taken(tokenID string) int64 {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.used[accountName{"acme", tokenID, "reads", time.UnixMicro(b.at.Now).UTC().Format("2006-01")}]
}

func (b *books) called() int {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.calls
}

// of is a size of leases, whatever the limit.
func of(size int64) func(int64) int64 { return func(int64) int64 { return size } }

var monthly = Period{Unit: Month, Anchor: 1}

// owned is a debit that only the owner's limit holds for.
func owned(limit int64) *Debit {
	return &Debit{Owner: "acme", Meter: "reads", Limits: &Limits{List: []Limit{{Period: monthly, Credits: limit}}}}
}

// charge is what a caller does for credits that are spent at once.
func charge(p *Pool, d *Debit, n int64) error {
	at := p.host.Clock()
	if _, ok := p.Charge(d, n, at.Now); ok {
		return nil
	}
	h := &Hold{}
	if err := p.Reserve(context.Background(), d, n, at, h); err != nil {
		return err
	}
	return h.Settle(context.Background(), n)
}

func reserve(t *testing.T, p *Pool, d *Debit, n int64) *Hold {
	t.Helper()
	h := &Hold{}
	require.NoError(t, p.Reserve(t.Context(), d, n, p.host.Clock(), h))
	return h
}

// drain charges 1 until it is refused, and returns how often it was not.
func drain(t *testing.T, p *Pool, d *Debit) (n int64) {
	t.Helper()
	for {
		err := charge(p, d, 1)
		if errors.Is(err, fault.ErrOverLimit) {
			return n
		}
		require.NoError(t, err)
		n++
	}
}
