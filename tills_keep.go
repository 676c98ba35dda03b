package latchkey

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"time"

	"github.com/latchkey-go/latchkey/internal/fault"
)

// What keeps the books of tills: who holds which purse, what runs in the background, what is given back and when.

// enter finds or makes the till of a set of purses, and keeps it until leaveTill.
func (s *tills) enter(k tillKey, now int64) *till {
	shard := s.shard(k)
	shard.mu.Lock()
	defer shard.mu.Unlock()
	t := shard.m[k]
	if t == nil {
		k.owner, k.meter = strings.Clone(k.owner), strings.Clone(k.meter) // not the request they were cut out of
		t = &till{of: s, key: k, turn: make(chan struct{}, 1), used: now}
		if shard.m == nil {
			shard.m = map[tillKey]*till{}
		}
		shard.m[k] = t
		s.watch()
	}
	t.users++
	return t
}

func (s *tills) leaveTill(t *till) {
	shard := s.shard(t.key)
	shard.mu.Lock()
	t.users--
	shard.mu.Unlock()
}

// watch makes sure that somebody looks after the tills.
func (s *tills) watch() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.timer == nil && !s.closed {
		s.timer = time.AfterFunc(tillPulse, s.pulse)
	}
}

func (s *tills) pulse() {
	s.background(context.Background(), func(context.Context) {
		s.hear(s.tend(s.open)) // as long as it takes
		s.mu.Lock()
		s.timer = nil
		s.mu.Unlock()
		if len(s.all()) > 0 {
			s.watch()
		}
	})
}

// background runs f, unless the tills are closed. What it does outlives the caller's context.
func (s *tills) background(ctx context.Context, f func(context.Context)) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return false
	}
	s.work.Go(func() {
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), s.call)
		defer cancel()
		f(ctx)
	})
	return true
}

// await runs f in the background and waits for it: a caller who leaves must not leave the store's answer unheard.
func (s *tills) await(ctx context.Context, f func(context.Context) error) error {
	done := make(chan error, 1)
	if !s.background(ctx, func(ctx context.Context) { done <- f(ctx) }) {
		return nothingSpent(f(ctx))
	}
	select {
	case err := <-done:
		return nothingSpent(err)
	case <-ctx.Done():
		return fault.Unavailable(ctx.Err())
	}
}

// bounded runs f for no longer than one thing may take.
func (s *tills) bounded(ctx context.Context, f func(context.Context) error) error {
	ctx, cancel := context.WithTimeout(ctx, s.call)
	defer cancel()
	return f(ctx)
}

func (s *tills) hear(err error) {
	if err != nil {
		s.m.warn("latchkey: the store was not told about credits taken in advance; it will be tried again", err)
	}
}

func (s *tills) isOpen() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return !s.closed
}

func nameOf(owner string, c CreditAccount) purseName {
	return purseName{owner, c.TokenID, c.Meter, c.Period}
}

// share finds or makes what is known of a purse, s.mu held.
func (s *tills) share(name purseName) *purseShare {
	p := s.purses[name]
	if p == nil {
		p = &purseShare{blocks: map[*block]struct{}{}}
		s.purses[name] = p
	}
	return p
}

// forget drops what is known of a purse when nobody needs it, s.mu held.
func (s *tills) forget(name purseName, p *purseShare) {
	if p.pins == 0 && len(p.blocks) == 0 {
		delete(s.purses, name)
	}
}

// join lists a block with its purses, unless somebody asks the store for the last of one of them.
func (s *tills) join(b *block) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	var shares []*purseShare
	for _, c := range b.accounts {
		p := s.share(nameOf(b.till.key.owner, c))
		shares = append(shares, p)
		if p.short > 0 { // so somebody has pinned it, and of the others nothing was known before
			for i, p := range shares {
				s.forget(nameOf(b.till.key.owner, b.accounts[i]), p)
			}
			return false
		}
	}
	b.shares = shares
	for _, p := range shares {
		p.blocks[b] = struct{}{}
	}
	return true
}

// leave undoes join.
func (s *tills) leave(b *block) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for i, p := range b.shares {
		delete(p.blocks, b)
		s.forget(nameOf(b.till.key.owner, b.accounts[i]), p)
	}
}

// pin keeps what is known of purses until unpin.
func (s *tills) pin(owner string, accounts []CreditAccount) []*purseShare {
	s.mu.Lock()
	defer s.mu.Unlock()
	shares := make([]*purseShare, len(accounts))
	for i, c := range accounts {
		shares[i] = s.share(nameOf(owner, c))
		shares[i].pins++
	}
	return shares
}

func (s *tills) unpin(owner string, accounts []CreditAccount, shares []*purseShare, short []bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for i, p := range shares {
		if p.pins--; short[i] {
			p.short--
		}
		s.forget(nameOf(owner, accounts[i]), p)
	}
}

// holders are the blocks that hold credits of a purse, or are about to.
func (s *tills) holders(p *purseShare) []*block {
	s.mu.Lock()
	defer s.mu.Unlock()
	list := make([]*block, 0, len(p.blocks))
	for b := range p.blocks {
		list = append(list, b)
	}
	return list
}

// disown remembers a reservation that may have been made, and is not needed.
func (s *tills) disown(o orphan) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.orphans) < 1<<12 { // what is not remembered lapses
		s.orphans = append(s.orphans, o)
	}
}

func (s *tills) all() []*till {
	var list []*till
	for i := range s.shards {
		shard := &s.shards[i]
		shard.mu.RLock()
		for _, t := range shard.m {
			list = append(list, t)
		}
		shard.mu.RUnlock()
	}
	return list
}

// each calls f for all tills, some at once: where the store does not answer about one, the others wait for nothing.
func (s *tills) each(ctx context.Context, f func(context.Context, *till) error) error {
	var mu sync.Mutex
	var first error // that of every till would be as long as the list
	var next, failed int
	all := s.all()
	var work sync.WaitGroup
	for range min(tillHands, len(all)) {
		work.Go(func() {
			mu.Lock()
			defer mu.Unlock()
			for next < len(all) {
				t := all[next]
				next++
				mu.Unlock()
				err := f(ctx, t)
				mu.Lock()
				if err != nil {
					failed++
					first = cmp.Or(first, err)
				}
			}
		})
	}
	work.Wait()
	if failed > 1 {
		return fmt.Errorf("%w (and %d more)", first, failed-1)
	}
	return first
}

// tend renews blocks that are in use, gives back those that are not, ends Holds that nobody settled in time, and tells the
// store what it could not be told before.
func (s *tills) tend(ctx context.Context) error {
	err := s.each(ctx, func(ctx context.Context, t *till) error { return t.tend(ctx, s.m.present()) })
	err = errors.Join(err, s.giveUpOrphans(ctx))
	now := s.m.present()
	for i := range s.shards {
		shard := &s.shards[i]
		shard.mu.Lock()
		for k, t := range shard.m {
			if t.users == 0 && t.isIdle(now) {
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

func (t *till) isIdle(now int64) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	return len(t.blocks) == 0 && t.coming == nil && !t.seeking && t.quiet(now)
}

// quiet says that no credits have been asked for of late, t.mu held. A clock that was set back does not lengthen that.
func (t *till) quiet(now int64) bool {
	t.used = min(t.used, now)
	return now-t.used >= blockIdle.Microseconds()
}

func (t *till) tend(ctx context.Context, now int64) error {
	t.mu.Lock()
	idle := t.quiet(now)
	blocks := append([]*block(nil), t.blocks...)
	t.mu.Unlock()
	var errs []error
	for _, b := range blocks {
		t.mu.Lock()
		b.lapse()
		end := idle || b.retired || b.over || now < b.from || now >= b.to || b.told > b.amount
		left := b.until - now
		renew := left < blockLease.Microseconds()/2 || left > blockLease.Microseconds() // by a clock that was set back
		t.mu.Unlock()
		if end {
			errs = append(errs, t.of.bounded(ctx, func(ctx context.Context) error { return b.giveBack(ctx, b.isOver(now)) }))
		}
		if renew {
			errs = append(errs, t.of.bounded(ctx, func(ctx context.Context) error { return b.raise(ctx, 0) }))
		}
	}
	return errors.Join(errs...)
}

// isOver says that nothing will be taken of the block any more.
func (b *block) isOver(now int64) bool {
	b.till.mu.Lock()
	defer b.till.mu.Unlock()
	return b.retired || now < b.from || now >= b.to
}

func (s *tills) giveUpOrphans(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, s.call)
	defer cancel()
	s.mu.Lock()
	orphans := s.orphans
	s.orphans = nil
	s.mu.Unlock()
	var errs []error
	for _, o := range orphans {
		err := fault.UntilKnown(ctx, func() error { return s.m.store.Settle(ctx, o.owner, o.key, 0) })
		if err != nil && !isLost(err) {
			s.disown(o)
			errs = append(errs, err)
		}
	}
	return errors.Join(errs...)
}

// close gives everything back but what Holds have out: those give it back when they are settled.
func (s *tills) close(ctx context.Context) error {
	s.mu.Lock()
	s.closed = true
	if s.timer != nil {
		s.timer.Stop()
	}
	s.mu.Unlock()
	s.halt()
	err := fault.WaitFor(ctx, &s.work)
	return errors.Join(err, s.each(ctx, func(ctx context.Context, t *till) error {
		t.mu.Lock()
		blocks := append([]*block(nil), t.blocks...)
		t.mu.Unlock()
		var errs []error
		for _, b := range blocks {
			errs = append(errs, t.of.bounded(ctx, func(ctx context.Context) error { return b.giveBack(ctx, true) }))
		}
		return errors.Join(errs...)
	}), s.giveUpOrphans(ctx))
}
