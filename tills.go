package latchkey

import (
	"context"
	"errors"
	"fmt"
	"hash/maphash"
	"sync"
	"sync/atomic"
	"time"

	"github.com/latchkey-go/latchkey/internal/fault"
)

const (
	tillPulse = 15 * time.Second // how often blocks are renewed, and idle ones given back
	tillPause = time.Second      // how long work ahead of need rests after the store failed
	tillCall  = 10 * time.Second // bounds one thing that is done in the background
	tillHands = 8                // how many tills are looked after at once
)

// tills are what this process has taken of purses in advance: one for each set of purses, so that they all share a block.
type tills struct {
	m      *Manager
	size   func(limit Credits) Credits
	call   time.Duration   // tillCall
	open   context.Context // until halt
	halt   context.CancelFunc
	seed   maphash.Seed
	shards [64]tillShard

	mu      sync.Mutex // of what follows, and of purseShare
	purses  map[purseName]*purseShare
	orphans []orphan
	closed  bool
	timer   *time.Timer // nil: there is nothing to look after
	work    sync.WaitGroup
}

type tillShard struct {
	mu sync.RWMutex
	m  map[tillKey]*till
	_  [64]byte
}

// tillKey tells sets of purses apart. Those above the nearest limited token are determined by it.
type tillKey struct {
	owner, meter string
	nearest      [16]byte // zero: only the owner is limited
}

type purseName struct{ owner, token, meter, period string }

// purseShare is what this process holds of one purse.
type purseShare struct {
	pins   int // of who asks the store for the last of it
	short  int // those of them who were refused: no block is taken meanwhile
	blocks map[*block]struct{}
	freed  atomic.Uint64 // grows whenever credits may have come free in one of them
}

// orphan is a reservation of which nobody knows whether it was made.
type orphan struct {
	owner string
	key   [16]byte
}

// till pays the debits of one set of purses.
type till struct {
	of    *tills
	key   tillKey
	turn  chan struct{} // held by who asks the store for more: of this process never more than one
	users int           // that have it in hand; guarded by the shard

	mu      sync.Mutex
	blocks  []*block // oldest first
	seeking bool     // somebody is about to fetch one ahead of need
	coming  *block   // nil: none is
	failed  error    // why the latest did not come
	left    Credits  // what the store last said is left beyond what is taken
	plenty  bool     // and that is enough for a block
	used    int64    // when credits were last asked for, µs
	resting int64    // nothing is done ahead of need before, µs
}

func newTills(m *Manager, size func(Credits) Credits) *tills {
	s := &tills{m: m, size: size, call: tillCall, seed: maphash.MakeSeed(), purses: map[purseName]*purseShare{}}
	s.open, s.halt = context.WithCancel(context.Background())
	return s
}

func (a Access) tillKey(l *limitSet, meter string) tillKey {
	k := tillKey{owner: a.who.owner, meter: meter, nearest: l.nearest}
	if l.purses[0].own {
		k.nearest = a.id
	}
	return k
}

func (s *tills) shard(k tillKey) *tillShard {
	return &s.shards[maphash.Comparable(s.seed, k)%uint64(len(s.shards))]
}

// charge spends n out of a block, if there is one with so much.
func (s *tills) charge(a Access, l *limitSet, meter string, n Credits, now int64) bool {
	k := a.tillKey(l, meter)
	shard := s.shard(k)
	shard.mu.RLock()
	t := shard.m[k]
	shard.mu.RUnlock()
	return t != nil && t.debit(l, n, now, nil)
}

// reserve fills h: out of a block, out of one that is taken first, or, where blocks do not fit, by a reservation of its own.
func (s *tills) reserve(ctx context.Context, a Access, l *limitSet, meter string, h *Hold, now int64) error {
	t := s.enter(a.tillKey(l, meter), now)
	defer s.leaveTill(t)
	if t.debit(l, h.reserved, now, h) {
		return nil
	}
	select {
	case t.turn <- struct{}{}:
		defer func() { <-t.turn }()
	case <-ctx.Done():
		return fault.Unavailable(ctx.Err())
	}
	for range 4 {
		now = s.m.present()
		if t.debit(l, h.reserved, now, h) {
			return nil
		}
		b, coming := t.room(l, h.reserved, now)
		var err error
		switch {
		case b != nil:
			err = s.await(ctx, func(ctx context.Context) error { return b.raise(ctx, h.reserved) })
		case coming != nil || t.fetch(ctx, a.accounts(l, meter, now), l, h.reserved, now):
			err = t.awaitBlock(ctx)
		default:
			return t.exact(ctx, h, a.accounts(l, meter, now), now)
		}
		if err != nil {
			return err
		}
	}
	now = s.m.present()
	return t.exact(ctx, h, a.accounts(l, meter, now), now)
}

// debit takes n out of a block in memory, for a Hold or, if h is nil, for good.
func (t *till) debit(l *limitSet, n Credits, now int64, h *Hold) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.used = now
	for _, b := range t.blocks {
		if n > b.pledged-b.taken || !b.serves(l, now) {
			continue
		}
		b.taken += n
		if h != nil {
			b.hold(h)
			h.left = t.left
			for _, other := range t.blocks {
				if other.serves(l, now) {
					h.left += other.amount - other.taken
				}
			}
		}
		t.ahead(b, l, now)
		return true
	}
	return false
}

// ahead does what will be needed soon, t.mu held.
func (t *till) ahead(b *block, l *limitSet, now int64) {
	if b.ends() {
		t.of.background(context.Background(), func(ctx context.Context) { t.of.hear(b.giveBack(ctx, true)) })
	}
	if now < t.resting && t.resting-now <= tillPause.Microseconds() { // more is of a clock that was set back
		return
	}
	if !b.raising && b.pledged < b.amount && b.pledged-b.taken <= b.step()/2 {
		b.raising = t.of.background(context.Background(), func(ctx context.Context) { t.of.hear(b.raise(ctx, 1)) })
	}
	if !t.seeking && t.coming == nil && t.plenty && b.amount-b.taken < b.size/4 && t.blocks[len(t.blocks)-1] == b {
		t.seeking = t.of.background(context.Background(), func(ctx context.Context) {
			t.fetch(ctx, b.accounts, l, 1, now)
			t.mu.Lock()
			t.seeking = false
			t.mu.Unlock()
		})
	}
}

// rest puts work ahead of need off for a while, t.mu held.
func (t *till) rest(now int64) { t.resting = now + tillPause.Microseconds() }

// room finds a block that has n, of which too little is pledged, and retires those that serve nobody any more.
func (t *till) room(l *limitSet, n Credits, now int64) (with, coming *block) {
	t.mu.Lock()
	defer t.mu.Unlock()
	for _, b := range t.blocks {
		switch {
		case !b.serves(l, now):
			t.retire(b)
		case n <= b.amount-b.taken && with == nil:
			with = b
		}
	}
	return with, t.coming
}

// retire ends a block as soon as its Holds are settled, t.mu held. What is free of it is given back at once.
func (t *till) retire(b *block) {
	if b.retired {
		return
	}
	b.retired = true
	t.of.background(context.Background(), func(ctx context.Context) { t.of.hear(b.giveBack(ctx, true)) })
}

// fetch begins to take a block, in the background. False: there is to be none.
func (t *till) fetch(ctx context.Context, accounts []CreditAccount, l *limitSet, n Credits, now int64) bool {
	t.mu.Lock()
	left, plenty := t.left, t.plenty
	t.mu.Unlock()
	size := min(t.of.size(l.tightest()), left/blockShare) // the less is left, the less of it one process keeps from others
	if !plenty || size/blockWorth < n {
		t.mu.Lock()
		t.plenty = false // until a reservation says what is left
		t.mu.Unlock()
		return false
	}
	key, err := t.of.m.ids.New(now)
	if err != nil {
		return false
	}
	b := &block{till: t, key: key, accounts: accounts, limits: l, size: size, told: size,
		landed: make(chan struct{}), op: make(chan struct{}, 1)}
	b.from, b.to = month(now)
	t.mu.Lock()
	if t.coming != nil {
		t.mu.Unlock()
		return true
	}
	t.coming = b
	t.mu.Unlock()
	if t.of.join(b) && t.of.background(ctx, func(ctx context.Context) { t.land(b, t.take(ctx, b)) }) {
		return true
	}
	t.land(b, errNoBlock)
	return false
}

// errNoBlock says that no block may be taken now.
var errNoBlock = errors.New("latchkey: no block may be taken")

// take reserves a block and pledges the first part of it.
func (t *till) take(ctx context.Context, b *block) error {
	m, owner, until := t.of.m, t.key.owner, t.of.m.present()+blockLease.Microseconds()
	r := Reservation{Owner: owner, Key: b.key, Accounts: b.accounts, Amount: b.size, Until: fromMicros(until)}
	var got Reserved
	err := fault.UntilKnown(ctx, func() (err error) {
		got, err = m.store.Reserve(ctx, r)
		return err
	})
	if errors.Is(err, ErrOverLimit) {
		return err
	}
	pledged := b.step()
	if err == nil {
		a := Adjustment{Amount: b.size, Pledged: pledged, Until: r.Until}
		err = fault.UntilKnown(ctx, func() error { return m.store.Adjust(ctx, owner, b.key, a) })
	}
	if err != nil {
		t.of.disown(orphan{owner, b.key})
		return err
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	b.amount, b.pledged, b.until = b.size, pledged, until
	t.left = got.Left
	for _, p := range b.shares {
		p.freed.Add(1)
	}
	return nil
}

// land ends the wait for a block.
func (t *till) land(b *block, err error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.coming, t.failed = nil, err; err == nil {
		if t.blocks = append(t.blocks, b); len(t.blocks) > blockCount {
			t.retire(t.blocks[len(t.blocks)-blockCount-1])
		}
	} else {
		b.gone = true
		t.of.leave(b)
		if errors.Is(err, ErrOverLimit) {
			t.plenty = false
		} else {
			t.rest(t.of.m.present())
		}
	}
	close(b.landed)
}

// awaitBlock waits for the block that is coming. That there is none to be had is no error.
func (t *till) awaitBlock(ctx context.Context) error {
	t.mu.Lock()
	b := t.coming
	t.mu.Unlock()
	if b != nil {
		select {
		case <-b.landed:
		case <-ctx.Done():
			return fault.Unavailable(ctx.Err())
		}
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	if err := t.failed; err != nil && !errors.Is(err, ErrOverLimit) && err != errNoBlock {
		return nothingSpent(err)
	}
	return nil
}

// nothingSpent makes of an unknown outcome one that is known to the caller: nothing was spent.
func nothingSpent(err error) error {
	if errors.Is(err, ErrUnknownOutcome) {
		return fmt.Errorf("%w: %v", ErrUnavailable, err)
	}
	return err
}

// exact makes a reservation of h alone. A refusal is exact for all that this process knows: before it, every block gives
// back what it does not need of the purse that is short, and nothing came free in one between that and the store's answer.
func (t *till) exact(ctx context.Context, h *Hold, accounts []CreditAccount, now int64) error {
	s := t.of
	shares := s.pin(h.owner, accounts)
	short := make([]bool, len(shares))
	defer func() { s.unpin(h.owner, accounts, shares, short) }()
	seen, empty := make([]uint64, len(shares)), make([]bool, len(shares))
	for i, p := range shares {
		seen[i] = p.freed.Load()
		empty[i] = len(s.holders(p)) == 0
	}
	for {
		// Bounded, for the turn is held: whoever else needs the store for these purses waits.
		err := s.bounded(ctx, func(ctx context.Context) error { return h.reserve(ctx, accounts, now) })
		var over *OverLimitError
		t.mu.Lock()
		switch {
		case err == nil:
			t.left, t.plenty = h.left, true
		case errors.Is(err, ErrOverLimit):
			t.left, t.plenty = 0, false
		}
		t.mu.Unlock()
		if !errors.As(err, &over) {
			return err
		}
		i := 0
		for i < len(accounts) && accounts[i].TokenID != over.Account.TokenID {
			i++
		}
		if i == len(accounts) || empty[i] && shares[i].freed.Load() == seen[i] {
			return err
		}
		if !short[i] {
			s.mu.Lock()
			shares[i].short++
			s.mu.Unlock()
			short[i] = true
		}
		seen[i], empty[i] = shares[i].freed.Load(), true
		for _, b := range s.holders(shares[i]) {
			select {
			case <-b.landed:
			case <-ctx.Done():
				return fault.Unavailable(ctx.Err())
			}
			b.till.mu.Lock()
			b.lapse()
			spare := !b.gone && (b.told > b.taken || b.over)
			b.till.mu.Unlock()
			if !spare {
				continue
			}
			if err := s.bounded(ctx, func(ctx context.Context) error { return b.giveBack(ctx, false) }); err != nil {
				return nothingSpent(err)
			}
		}
	}
}
