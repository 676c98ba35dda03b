package credits

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/latchkey-go/latchkey/internal/fault"
)

const (
	leaseFor   = 5 * time.Minute  // how long a lease outlives a process that does not renew it
	idleAfter  = 30 * time.Second // a lease of which nothing was taken for so long is released,
	idleShare  = 8                // or for this part of the shortest of its periods, if that is less
	leaseShare = 8                // a lease is at most this part of what is left, and is committed in such parts
	leaseWorth = 4                // and is taken only for this many debits like the one at hand
	leaseCount = 2                // leases of one line that are in use: the next one comes before one is used up
)

// A lease is a reservation out of which one process pays many debits. Four numbers, each at most the next one, say how
// far it has come, and every order of events and crashes keeps them so:
//
//	taken ≤ committed, here ≤ committed, at the store ≤ amount, at the store
//
// Only what the store is known to have written as committed is paid out. So what a dead process paid is within what the
// store counts as spent when the lease expires. No clock is part of that: a process that comes back late, or whose
// clock jumped, still pays out of nothing but what was counted as its own. It is refused when it wants to commit more.
type lease struct {
	line     *line
	key      [16]byte
	debit    Debit // the one it was taken for: a debit under other limits gets nothing of it
	accounts Accounts
	holdings []*holding
	from, to int64         // all its periods, µs
	size     int64         // what was reserved
	arrived  chan struct{} // closed when the store has answered
	turn     chan struct{} // held while the store is told about it

	// Guarded by line.mu.
	amount    int64 // what is ours
	stored    int64 // what the store has as its amount, or more
	committed int64
	taken     int64 // spent and held
	held      int64 // by Holds that are not settled
	until     int64 // when it expires, µs
	first     *Hold // of those, oldest first
	last      *Hold
	extending bool // a goroutine is about to commit more
	retired   bool // nothing is taken of it any more
	ending    bool // a goroutine is about to release it
	final     bool // it is to be settled with taken
	expired   bool // the store has counted committed as spent; it knows the lease no more
	gone      bool // there is nothing left to tell the store
}

func (l *lease) serves(limits *Limits, now int64) bool {
	return !l.retired && !l.final && l.lasts(now) && l.debit.Limits.equal(limits)
}

func (l *lease) step() int64 { return max(l.size/leaseShare, 1) }

// lasts reports whether all periods of the lease go on.
func (l *lease) lasts(now int64) bool {
	return now >= l.from && now < l.to
}

// idle returns after what time without debits the lease is released, in µs.
func (l *lease) idle() int64 {
	idle := idleAfter.Microseconds()
	for _, p := range l.accounts.present.parts {
		if p.ends != 0 {
			idle = min(idle, (p.to-p.from)/idleShare)
		}
	}
	return idle
}

// isOver reports whether nothing will be taken of the lease any more. The caller holds line.mu.
func (l *lease) isOver(now int64) bool { return l.retired || !l.lasts(now) }

// hold remembers a Hold out of the lease. The caller holds line.mu.
func (l *lease) hold(h *Hold, elapsed int64) {
	h.lease, h.expires = l, elapsed+holdFor.Microseconds()
	l.held += h.reserved
	if h.prev = l.last; l.last != nil {
		l.last.next = h
	} else {
		l.first = h
	}
	l.last = h
}

// free forgets a Hold of which so much was spent. The caller holds line.mu.
func (l *lease) free(h *Hold, spent int64) {
	if h.prev != nil {
		h.prev.next = h.next
	} else {
		l.first = h.next
	}
	if h.next != nil {
		h.next.prev = h.prev
	} else {
		l.last = h.prev
	}
	h.prev, h.next, h.freed = nil, nil, true
	l.held -= h.reserved
	if back := h.reserved - spent; back > 0 {
		l.taken -= back
		for _, of := range l.holdings { // in the lock: see line.exact
			of.freed.Add(1)
		}
	}
}

// freeExpired frees the Holds that nobody settled in time. The caller holds line.mu.
func (l *lease) freeExpired() {
	if l.first == nil {
		return
	}
	elapsed := l.line.pool.host.Clock().Elapsed
	for h := l.first; h != nil && elapsed >= h.expires; h = l.first {
		l.free(h, 0)
	}
}

// hasSpare reports whether release would return something.
func (l *lease) hasSpare() bool {
	l.line.mu.Lock()
	defer l.line.mu.Unlock()
	l.freeExpired()
	return !l.gone && (l.stored > l.taken || l.final)
}

// settle ends a Hold out of the lease.
func (l *lease) settle(ctx context.Context, h *Hold, spent int64) error {
	l.line.mu.Lock()
	switch {
	case !h.freed:
		l.free(h, spent)
		h.spent = spent // also if the store is not told below: what came free may be spent by now
	case spent != h.spent: // 0 of one that expired
		l.line.mu.Unlock()
		return fmt.Errorf("%w: settled already, with another amount, or not in time", fault.ErrConflict)
	}
	end := l.ends()
	l.line.mu.Unlock()
	if end && !l.line.releaseBehind(ctx, l) {
		return l.release(ctx, true) // closed: there is nobody left to do it
	}
	return nil
}

// ends reports, once, that nothing more will come of the lease. The caller holds line.mu.
func (l *lease) ends() bool {
	if l.ending || l.held != 0 || !l.retired && l.taken != l.amount {
		return false
	}
	l.ending = true
	return true
}

// lock waits for the turn to tell the store about the lease.
func (l *lease) lock(ctx context.Context) error {
	select {
	case l.turn <- struct{}{}:
		return nil
	case <-ctx.Done():
		return fault.Unavailable(ctx.Err())
	}
}

func (l *lease) unlock() { <-l.turn }

// extend commits so much more that n can be taken, and a part of the lease beyond, and renews the lease. With n = 0 it
// renews the lease only.
func (l *lease) extend(ctx context.Context, n int64) error {
	line, host := l.line, l.line.pool.host
	if err := l.lock(ctx); err != nil {
		line.mu.Lock()
		l.extending = false
		line.mu.Unlock()
		return err
	}
	var told Event
	defer func() { l.tell(ctx, told) }() // without the locks, which are let go of before
	defer l.unlock()
	now := host.Clock().Now
	line.mu.Lock()
	enough := n > 0 && n <= l.committed-l.taken && l.committed-l.taken > l.step()/2
	a := Adjustment{Amount: l.amount, Committed: l.committed, Until: now + leaseFor.Microseconds()}
	if n > 0 {
		a.Committed = max(a.Committed, min(l.amount, l.taken+n+l.step()))
	}
	if l.final || l.gone || l.expired || enough || a.Amount == 0 {
		l.extending = false
		line.mu.Unlock()
		return nil
	}
	line.mu.Unlock()
	err := fault.UntilKnown(ctx, func() error { return host.Adjust(ctx, line.key.owner, l.key, a) })
	line.mu.Lock()
	defer line.mu.Unlock()
	l.extending = false
	switch {
	case err == nil:
		l.committed, l.stored = min(a.Committed, l.amount), a.Amount
		l.until = a.Until
	case isGone(err):
		told = Event{What: Expired, Amount: l.stored}
		l.expire()
		err = nil
	default:
		told = Event{What: Failed, Amount: l.stored, Err: err}
		line.rest(now)
	}
	return err
}

// tell is line.tell, if there is something to tell.
func (l *lease) tell(ctx context.Context, e Event) {
	if e.What != "" {
		l.line.tell(ctx, e.What, e.Amount, e.Err)
	}
}

// isGone reports whether the store will hear nothing more about a reservation: it expired, or its owner was erased.
func isGone(err error) bool {
	return errors.Is(err, fault.ErrConflict) || errors.Is(err, fault.ErrNotFound)
}

// expire keeps what the store has counted as spent: that is ours still, and nothing else. The caller holds line.mu.
func (l *lease) expire() {
	l.expired = true
	l.amount = l.committed
}

// release returns what is not taken. If no Hold is out, it returns all of the lease when it is over: when retire says
// so, and when nothing else is left of it. An error means that the store was not told, or that nobody knows; then what
// is to be returned is taken by nobody meanwhile, and release is to be called again.
func (l *lease) release(ctx context.Context, retire bool) error {
	line, host := l.line, l.line.pool.host
	if err := l.lock(ctx); err != nil {
		line.mu.Lock()
		l.ending = false
		line.mu.Unlock()
		return err
	}
	var told Event
	defer func() { l.tell(ctx, told) }() // without the locks, which are let go of before
	defer l.unlock()
	line.mu.Lock()
	l.retired = l.retired || retire
	l.ending = false
	if l.expired || l.gone {
		if l.retired && l.held == 0 {
			l.leave()
		}
		line.mu.Unlock()
		return nil
	}
	l.amount = l.taken
	l.committed = min(l.committed, l.amount)
	l.final = l.final || l.held == 0
	a := Adjustment{Amount: l.amount, Until: l.until}
	final, spent, same := l.final, l.taken, l.stored == l.amount
	line.mu.Unlock()

	var err error
	switch {
	case final:
		err = fault.UntilKnown(ctx, func() error { return host.Settle(ctx, line.key.owner, l.key, spent) })
	case !same:
		err = fault.UntilKnown(ctx, func() error { return host.Adjust(ctx, line.key.owner, l.key, a) })
	}
	line.mu.Lock()
	defer line.mu.Unlock()
	switch {
	case err == nil && (final || !same):
		told = Event{What: Returned, Amount: l.stored - a.Amount}
	case err == nil:
	case isGone(err):
		told = Event{What: Expired, Amount: l.stored}
	default:
		told = Event{What: Failed, Amount: l.stored, Err: err}
	}
	switch {
	case final && (err == nil || isGone(err)):
		l.leave()
	case err == nil:
		l.stored = a.Amount
	case isGone(err):
		l.expire()
	default:
		return err
	}
	return nil
}

// leave takes the lease off all lists. The caller holds line.mu.
func (l *lease) leave() {
	for i, other := range l.line.leases {
		if other == l {
			l.line.leases = append(l.line.leases[:i:i], l.line.leases[i+1:]...)
			l.line.pool.leases.Add(-1)
			break
		}
	}
	l.gone = true
	l.line.pool.remove(l)
}
