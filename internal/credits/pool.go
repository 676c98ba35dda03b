package credits

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"hash/maphash"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/latchkey-go/latchkey/internal/fault"
)

const (
	renewEvery   = 15 * time.Second // how often leases are renewed, and idle ones released; of short periods more often
	pauseFor     = time.Second      // how long work ahead of need pauses after the store failed
	callTimeout  = 10 * time.Second // bounds one thing that is done in the background
	renewWorkers = 8                // how many lines are renewed at once
)

// Pool is the credits that this process holds in advance: one line for each set of accounts, so that all tokens that
// share their accounts share a lease. It is safe for concurrent use.
type Pool struct {
	host    Host
	size    func(limit int64) int64 // nil: no lease is ever taken
	timeout time.Duration           // callTimeout
	open    context.Context         // until halt
	halt    context.CancelFunc
	seed    maphash.Seed
	shards  [64]lineShard
	leases  atomic.Int64 // that are held

	mu         sync.Mutex // of what follows, and of each holding
	holdings   map[accountName]*holding
	unresolved []unresolved
	closed     bool
	timer      *time.Timer // nil: there is nothing to renew
	due        time.Time   // when it fires
	work       sync.WaitGroup
}

type lineShard struct {
	mu sync.RWMutex
	m  map[lineKey]*line
	_  [64]byte
}

// unresolved is a reservation of which nobody knows whether it was made.
type unresolved struct {
	owner string
	key   [16]byte
}

// New returns a Pool. Size says how large a lease may be, by the smallest limit that it is taken under; 0 or less is
// none. With a nil size no lease is ever taken, and each debit is a reservation of its own. It starts nothing: lines
// are renewed in the background once there are some.
func New(host Host, size func(limit int64) int64) *Pool {
	p := &Pool{host: host, size: size, timeout: callTimeout, seed: maphash.MakeSeed(),
		holdings: map[accountName]*holding{}}
	p.open, p.halt = context.WithCancel(context.Background())
	return p
}

// Leases returns how many leases are held.
func (p *Pool) Leases() int { return int(p.leases.Load()) }

// Charge spends n out of a lease, and reports whether there is one with so much. It does not call the Host.
func (p *Pool) Charge(d *Debit, n, now int64) (left Left, ok bool) {
	if p.size == nil {
		return Left{}, false
	}
	k := d.key()
	shard := p.shard(k)
	shard.mu.RLock()
	l := shard.m[k]
	shard.mu.RUnlock()
	if l == nil {
		return Left{}, false
	}
	return l.debit(d.Limits, n, Instant{Now: now}, nil)
}

// Reserve fills an empty Hold with n: out of a lease, out of one that is taken first, or, where no lease fits and after
// Close, by a reservation of its own. At is the present.
func (p *Pool) Reserve(ctx context.Context, d *Debit, n int64, at Instant, h *Hold) error {
	h.pool, h.owner, h.reserved = p, d.Owner, n
	if p.size == nil || !p.isOpen() {
		return h.reserve(ctx, d, at.Now)
	}
	if err := ctx.Err(); err != nil {
		return fault.Unavailable(err)
	}
	l := p.enter(d.key(), at.Now)
	defer p.leave(l)
	if _, ok := l.debit(d.Limits, n, at, h); ok {
		return nil
	}
	select {
	case l.turn <- struct{}{}:
		defer func() { <-l.turn }()
	case <-ctx.Done():
		return fault.Unavailable(ctx.Err())
	}
	for range 4 {
		at = p.host.Clock()
		if _, ok := l.debit(d.Limits, n, at, h); ok {
			return nil
		}
		with, coming := l.room(d.Limits, n, at.Now)
		var err error
		switch {
		case with != nil:
			err = p.await(ctx, func(ctx context.Context) error { return with.extend(ctx, n) })
		case coming != nil || l.fetch(ctx, d, n, at.Now):
			err = l.awaitLease(ctx)
		default:
			return l.exact(ctx, h, d, at.Now)
		}
		if err != nil {
			return err
		}
	}
	at = p.host.Clock()
	return l.exact(ctx, h, d, at.Now)
}

func (p *Pool) shard(k lineKey) *lineShard {
	return &p.shards[maphash.Comparable(p.seed, k)%uint64(len(p.shards))]
}

// enter finds or makes the line of a set of accounts, and keeps it until leave.
func (p *Pool) enter(k lineKey, now int64) *line {
	shard := p.shard(k)
	shard.mu.Lock()
	defer shard.mu.Unlock()
	l := shard.m[k]
	if l == nil {
		k.owner, k.meter = strings.Clone(k.owner), strings.Clone(k.meter) // not the request they were cut out of
		l = &line{pool: p, key: k, turn: make(chan struct{}, 1), used: now, idle: idleAfter.Microseconds()}
		if shard.m == nil {
			shard.m = map[lineKey]*line{}
		}
		shard.m[k] = l
		p.schedule(renewEvery)
	}
	l.users++
	return l
}

func (p *Pool) leave(l *line) {
	shard := p.shard(l.key)
	shard.mu.Lock()
	l.users--
	shard.mu.Unlock()
}

// schedule makes sure that the lines will be renewed within so long.
func (p *Pool) schedule(within time.Duration) {
	p.mu.Lock()
	defer p.mu.Unlock()
	due := time.Now().Add(within)
	switch {
	case p.closed:
	case p.timer == nil:
		p.timer, p.due = time.AfterFunc(within, p.renewBehind), due
	case due.Before(p.due) && p.timer.Stop(): // else it runs already, and schedules the next itself
		p.timer.Reset(within)
		p.due = due
	}
}

func (p *Pool) renewBehind() {
	p.background(context.Background(), func(context.Context) {
		p.Renew(p.open) // as long as it takes
		p.mu.Lock()
		p.timer = nil
		p.mu.Unlock()
		lines := p.lines()
		if len(lines) == 0 {
			return
		}
		pause := renewEvery
		for _, l := range lines {
			l.mu.Lock()
			pause = min(pause, l.pause())
			l.mu.Unlock()
		}
		p.schedule(pause)
	})
}

// background runs f in a goroutine of its own, and reports whether it does: not once the Pool is closed. What f does
// outlives the caller's context.
func (p *Pool) background(ctx context.Context, f func(context.Context)) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.closed {
		return false
	}
	p.work.Go(func() {
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), p.timeout)
		defer cancel()
		f(ctx)
	})
	return true
}

// await runs f in the background and waits for it: a caller that leaves must not leave the store's answer unheard.
func (p *Pool) await(ctx context.Context, f func(context.Context) error) error {
	done := make(chan error, 1)
	if !p.background(ctx, func(ctx context.Context) { done <- f(ctx) }) {
		return nothingSpent(f(ctx))
	}
	select {
	case err := <-done:
		return nothingSpent(err)
	case <-ctx.Done():
		return fault.Unavailable(ctx.Err())
	}
}

// bounded runs f for no longer than one call may take.
func (p *Pool) bounded(ctx context.Context, f func(context.Context) error) error {
	ctx, cancel := context.WithTimeout(ctx, p.timeout)
	defer cancel()
	return f(ctx)
}

// warn logs an error that no caller is told.
func (p *Pool) warn(ctx context.Context, err error) {
	if err != nil {
		p.host.Warn(ctx, "latchkey: the store was not told about credits taken in advance; it will be tried again", err)
	}
}

func (p *Pool) isOpen() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return !p.closed
}

func (p *Pool) lines() []*line {
	var list []*line
	for i := range p.shards {
		shard := &p.shards[i]
		shard.mu.RLock()
		for _, l := range shard.m {
			list = append(list, l)
		}
		shard.mu.RUnlock()
	}
	return list
}

// each calls f for lines, some of each group at once: where the store does not answer about one, the others do not
// wait.
func (p *Pool) each(lines []*line, f func(*line) error) error {
	return eachOf(p, lines, func(l *line) string { return l.key.owner }, f)
}

// eachOf calls f for all items, some of each owner's group at once.
func eachOf[T any](p *Pool, items []T, owner func(T) string, f func(T) error) error {
	groups := map[uint32][]T{}
	for _, item := range items {
		g := p.host.Group(owner(item))
		groups[g] = append(groups[g], item)
	}
	var mu sync.Mutex // of what follows, and of what is left of each group
	var first error   // that of every item would be as long as the list
	failed := 0
	var work sync.WaitGroup
	for _, left := range groups { // a variable of its own in each turn
		for range min(renewWorkers, len(left)) {
			work.Go(func() {
				mu.Lock()
				defer mu.Unlock()
				for len(left) > 0 {
					item := left[0]
					left = left[1:]
					mu.Unlock()
					err := f(item)
					mu.Lock()
					if err != nil {
						failed++
						first = cmp.Or(first, err)
					}
				}
			})
		}
	}
	work.Wait()
	if failed > 1 {
		return fmt.Errorf("%w (and %d more)", first, failed-1)
	}
	return first
}

// Renew renews leases that are in use, releases those that are not, frees Holds that nobody settled in time, and tells
// the store what it could not be told before. The Pool calls it now and then by itself. Errors are logged: what failed
// is tried again the next time.
func (p *Pool) Renew(ctx context.Context) { p.warn(ctx, p.renew(ctx)) }

// RenewGroup renews the leases of one group that are in use, and releases those that are not.
func (p *Pool) RenewGroup(ctx context.Context, group uint32) {
	lines := slices.DeleteFunc(p.lines(), func(l *line) bool { return p.host.Group(l.key.owner) != group })
	p.warn(ctx, p.renewLines(ctx, lines))
}

func (p *Pool) renewLines(ctx context.Context, lines []*line) error {
	return p.each(lines, func(l *line) error { return l.renew(ctx, p.host.Clock().Now) })
}

func (p *Pool) renew(ctx context.Context) error {
	err := errors.Join(p.renewLines(ctx, p.lines()), p.resolve(ctx))
	now := p.host.Clock().Now
	for i := range p.shards {
		shard := &p.shards[i]
		shard.mu.Lock()
		for k, l := range shard.m {
			if l.users == 0 && l.isIdle(now) {
				delete(shard.m, k)
			}
		}
		if len(shard.m) == 0 {
			shard.m = nil // a map does not shrink
		}
		shard.mu.Unlock()
	}
	return err
}

// doubt remembers a reservation that may have been made, and is not needed.
func (p *Pool) doubt(u unresolved) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if len(p.unresolved) < 1<<12 { // what is not remembered expires
		p.unresolved = append(p.unresolved, u)
	}
}

// resolve settles the unresolved reservations with 0.
func (p *Pool) resolve(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, p.timeout)
	defer cancel()
	p.mu.Lock()
	list := p.unresolved
	p.unresolved = nil
	p.mu.Unlock()
	return eachOf(p, list, func(u unresolved) string { return u.owner }, func(u unresolved) error {
		err := fault.UntilKnown(ctx, func() error { return p.host.Settle(ctx, u.owner, u.key, 0) })
		if err == nil || isGone(err) {
			return nil
		}
		p.doubt(u)
		return err
	})
}

// Close returns everything but what Holds still have: they return it when they are settled. It waits for background
// work until ctx ends. Afterwards no lease is taken: Reserve makes a reservation for each Hold.
func (p *Pool) Close(ctx context.Context) error {
	if p.size == nil {
		return nil
	}
	p.mu.Lock()
	p.closed = true
	if p.timer != nil {
		p.timer.Stop()
	}
	p.mu.Unlock()
	p.halt()
	err := fault.WaitFor(ctx, &p.work)
	return errors.Join(err, p.each(p.lines(), func(l *line) error {
		l.mu.Lock()
		leases := append([]*lease(nil), l.leases...)
		l.mu.Unlock()
		var errs []error
		for _, lease := range leases {
			errs = append(errs, p.bounded(ctx, func(ctx context.Context) error { return lease.release(ctx, true) }))
		}
		return errors.Join(errs...)
	}), p.resolve(ctx))
}
