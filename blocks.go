package latchkey

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/latchkey-go/latchkey/internal/fault"
)

const (
	blockLease = 5 * time.Minute  // how long a block outlives a process that does not renew it
	blockIdle  = 30 * time.Second // a block of which nothing was taken for so long is given back
	blockShare = 8                // a block is at most this part of what is left, and is pledged in such parts of itself
	blockWorth = 4                // and is taken only for this many debits like the one at hand
	blockCount = 2                // blocks of one till that are in use: the next one comes before one is used up
)

// Hundredth is a ready-made Options.CreditBlock: a hundredth of the limit.
func Hundredth(limit Credits) Credits { return limit / 100 }

// A block is a reservation out of which one process pays many debits. Four numbers, each at most the next one, say how
// far it has come, and every order of events and crashes keeps them so:
//
//	taken ≤ pledged, here ≤ pledged, at the store ≤ amount, at the store
//
// Only what the store is known to have written as pledged is paid out, so what a dead process paid is within what the
// store counts as spent when the block lapses. No clock is part of that: a process that comes back late, or whose clock
// jumped, still pays out of nothing but what was counted as its own, and is refused when it wants to pledge more.
type block struct {
	till     *till
	key      [16]byte
	accounts []CreditAccount
	shares   []*purseShare
	limits   *limitSet // what it was taken under: who sees others gets nothing of it
	from, to int64     // its month, µs
	size     Credits   // what was reserved
	landed   chan struct{}
	op       chan struct{} // held by who tells the store about it

	// Guarded by till.mu.
	amount  Credits // what is ours
	told    Credits // what the store has as its amount, or more
	pledged Credits
	taken   Credits // spent and held
	held    Credits // by holds that are not settled
	until   int64   // when it lapses, µs
	first   *Hold   // of those, oldest first
	last    *Hold
	raising bool // somebody is about to pledge more
	retired bool // nothing is taken of it any more
	ending  bool // somebody is about to give it back
	over    bool // it is to be settled with taken
	lapsed  bool // the store has counted pledged as spent; it knows the block no more
	gone    bool // there is nothing left to tell the store
}

func (b *block) serves(l *limitSet, now int64) bool {
	return !b.retired && !b.over && now >= b.from && now < b.to && b.limits.samePurses(l)
}

func (b *block) step() Credits { return max(b.size/blockShare, 1) }

// hold remembers a Hold out of the block, till.mu held.
func (b *block) hold(h *Hold) {
	h.block, h.lapses = b, b.till.of.m.elapsed()+holdFor.Microseconds()
	b.held += h.reserved
	if h.before = b.last; b.last != nil {
		b.last.after = h
	} else {
		b.first = h
	}
	b.last = h
}

// free forgets a Hold of which actual was spent, till.mu held.
func (b *block) free(h *Hold, actual Credits) {
	if h.before != nil {
		h.before.after = h.after
	} else {
		b.first = h.after
	}
	if h.after != nil {
		h.after.before = h.before
	} else {
		b.last = h.before
	}
	h.before, h.after, h.freed = nil, nil, true
	b.held -= h.reserved
	if back := h.reserved - actual; back > 0 {
		b.taken -= back
		for _, p := range b.shares { // in the lock: see till.exact
			p.freed.Add(1)
		}
	}
}

// lapse frees the Holds that nobody settled in time, till.mu held.
func (b *block) lapse() {
	if b.first == nil {
		return
	}
	now := b.till.of.m.elapsed()
	for h := b.first; h != nil && now >= h.lapses; h = b.first {
		b.free(h, 0)
	}
}

// settle ends a Hold out of the block.
func (b *block) settle(ctx context.Context, h *Hold, actual Credits) error {
	t := b.till
	t.mu.Lock()
	switch {
	case !h.freed:
		b.free(h, actual)
		h.actual = actual // also if the store is not told below: what came free may be spent by now
	case actual != h.actual: // 0 of one that lapsed
		t.mu.Unlock()
		return fmt.Errorf("%w: settled already, with another amount, or not in time", ErrConflict)
	}
	end := b.ends()
	t.mu.Unlock()
	if end && !t.of.background(ctx, func(ctx context.Context) { t.of.hear(b.giveBack(ctx, true)) }) {
		return b.giveBack(ctx, true) // closed: there is nobody left to do it
	}
	return nil
}

// ends says, once, that nothing more will come of the block, till.mu held.
func (b *block) ends() bool {
	if b.ending || b.held != 0 || !b.retired && b.taken != b.amount {
		return false
	}
	b.ending = true
	return true
}

// lock is held while the store is told about the block.
func (b *block) lock(ctx context.Context) error {
	select {
	case b.op <- struct{}{}:
		return nil
	case <-ctx.Done():
		return fault.Unavailable(ctx.Err())
	}
}

func (b *block) unlock() { <-b.op }

// raise pledges so much more that n can be taken, and a part of the block beyond; with n = 0 it renews the lease only.
func (b *block) raise(ctx context.Context, n Credits) error {
	t := b.till
	if err := b.lock(ctx); err != nil {
		t.mu.Lock()
		b.raising = false
		t.mu.Unlock()
		return err
	}
	defer b.unlock()
	now := t.of.m.present()
	t.mu.Lock()
	done := b.over || b.gone || b.lapsed || n > 0 && n <= b.pledged-b.taken && b.pledged-b.taken > b.step()/2
	a := Adjustment{Amount: b.amount, Pledged: b.pledged, Until: fromMicros(now + blockLease.Microseconds())}
	if n > 0 {
		a.Pledged = max(a.Pledged, min(b.amount, b.taken+n+b.step()))
	}
	if done || a.Amount == 0 {
		b.raising = false
		t.mu.Unlock()
		return nil
	}
	t.mu.Unlock()
	err := fault.UntilKnown(ctx, func() error { return t.of.m.store.Adjust(ctx, t.key.owner, b.key, a) })
	t.mu.Lock()
	defer t.mu.Unlock()
	b.raising = false
	switch {
	case err == nil:
		b.pledged, b.told = min(a.Pledged, b.amount), a.Amount
		b.until = micros(a.Until)
	case isLost(err):
		b.lose()
		err = nil
	default:
		t.rest(now)
	}
	return err
}

// isLost says that the store will hear nothing more about a block: it lapsed, or its owner was erased.
func isLost(err error) bool { return errors.Is(err, ErrConflict) || errors.Is(err, ErrNotFound) }

// lose keeps what the store has counted as spent: that is ours still, and nothing else. Till.mu is held.
func (b *block) lose() {
	b.lapsed = true
	b.amount = b.pledged
}

// giveBack returns what is not taken; all of the block, if no Hold is out and it is over: when retire says so, and when
// nothing else is left of it. An error means that the store was not told, or that nobody knows; then what is to be
// returned is taken by nobody meanwhile, and giveBack is to be called again.
func (b *block) giveBack(ctx context.Context, retire bool) error {
	t := b.till
	if err := b.lock(ctx); err != nil {
		t.mu.Lock()
		b.ending = false
		t.mu.Unlock()
		return err
	}
	defer b.unlock()
	t.mu.Lock()
	b.retired = b.retired || retire
	b.ending = false
	if b.lapsed || b.gone {
		if b.retired && b.held == 0 {
			b.leave()
		}
		t.mu.Unlock()
		return nil
	}
	b.amount = b.taken
	b.pledged = min(b.pledged, b.amount)
	b.over = b.over || b.held == 0
	a := Adjustment{Amount: b.amount, Until: fromMicros(b.until)}
	over, spent, same := b.over, b.taken, b.told == b.amount
	t.mu.Unlock()

	var err error
	switch {
	case over:
		err = fault.UntilKnown(ctx, func() error { return t.of.m.store.Settle(ctx, t.key.owner, b.key, spent) })
	case !same:
		err = fault.UntilKnown(ctx, func() error { return t.of.m.store.Adjust(ctx, t.key.owner, b.key, a) })
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	switch {
	case over && (err == nil || isLost(err)):
		b.leave()
	case err == nil:
		b.told = a.Amount
	case isLost(err):
		b.lose()
	default:
		return err
	}
	return nil
}

// leave takes the block off all lists, till.mu held.
func (b *block) leave() {
	t := b.till
	for i, other := range t.blocks {
		if other == b {
			t.blocks = append(t.blocks[:i:i], t.blocks[i+1:]...)
			break
		}
	}
	b.gone = true
	t.of.leave(b)
}

// samePurses says whether two sets, of the same nearest purse, name the same purses with the same limits.
func (l *limitSet) samePurses(other *limitSet) bool {
	if l == other {
		return true
	}
	if len(l.purses) != len(other.purses) {
		return false
	}
	for i, p := range l.purses {
		q := other.purses[i]
		if p.limit != q.limit || i > 0 && p.tokenID != q.tokenID {
			return false
		}
	}
	return true
}

// tightest is the smallest limit of all.
func (l *limitSet) tightest() Credits {
	least := l.purses[0].limit
	for _, p := range l.purses[1:] {
		least = min(least, p.limit)
	}
	return least
}

// month is the calendar month, in UTC, that now lies in.
func month(now int64) (from, to int64) {
	y, m, _ := fromMicros(now).Date()
	return time.Date(y, m, 1, 0, 0, 0, 0, time.UTC).UnixMicro(), time.Date(y, m+1, 1, 0, 0, 0, 0, time.UTC).UnixMicro()
}
