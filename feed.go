package latchkey

import (
	"context"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"github.com/latchkey-go/latchkey/internal/coalesce"
	"github.com/latchkey-go/latchkey/internal/fault"
)

// follower keeps the cache as young as Options.MaxStale promises, by reading the store's epoch and its changes.
type follower struct {
	m       *Manager
	feeds   coalesce.Group[*feedRead]
	feeding coalesce.Window
	apply   sync.Mutex                // of feedRead.done and the cache's changes
	started atomic.Pointer[pollStart] // of the last successful poll; nil: none yet
	missed  atomic.Uint64             // changes that the cache was perhaps not told; only polls begun since count
	behind  sync.WaitGroup
	ahead   atomic.Uint32 // what happens in the background: resting, polling or pollingTwice
	reads   coalesce.Group[reading]
	window  coalesce.Window // of reads
}

const (
	resting      = iota
	polling      // a poll is under way
	pollingTwice // and it may have begun too early for somebody: another follows
)

// pollStart is when a poll began, and how many changes had been missed by then.
type pollStart struct {
	at     time.Time
	missed uint64
}

func newFollower(m *Manager) *follower {
	return &follower{m: m, window: coalesce.Window{Threshold: 2 * time.Microsecond}}
}

// suspect makes the next answer ask the store, whatever MaxStale says: a call here made or found a change that the
// cache may not have been told.
func (f *follower) suspect() { f.missed.Add(1) }

// fresh returns once the cache reflects all that was committed before now − MaxStale, and the time, by a reading of
// this machine's clock that the store's confirmed: since, or within that bound.
func (f *follower) fresh(ctx context.Context) (moment, error) {
	if f.m.opts.MaxStale == 0 {
		r, err := f.epoch(ctx)
		if err == nil && r.epoch != f.m.cache.Epoch() {
			err = f.catchUp(ctx, r.epoch)
		}
		return r.at, err
	}
	at := f.m.opts.Clock()
	age, known := f.age(at)
	bound := f.m.opts.MaxStale
	switch {
	case !known || age > bound:
		return f.poll(ctx) // fail closed: past the bound nothing is answered from memory
	case age > bound/2:
		f.kick()
	}
	return f.m.moment(at), nil
}

// age is how old the cache is. The clock on the wall may be set, and the monotonic one stands still while the machine
// sleeps: the one that says more is right, and when they differ by much nothing is known.
func (f *follower) age(at time.Time) (age time.Duration, known bool) {
	started := f.started.Load()
	if started == nil || started.missed != f.missed.Load() {
		return 0, false
	}
	return ageAt(started.at, at)
}

func ageAt(started, now time.Time) (age time.Duration, known bool) {
	wall := now.Round(0).Sub(started.Round(0))
	apart := jumped(started, now)
	return max(wall, now.Sub(started)), wall >= 0 && apart <= clockBound && apart >= -clockBound
}

// kick polls in the background, once at a time, so that callers within the bound need not wait. False: a poll is under
// way already.
func (f *follower) kick() bool {
	if !f.ahead.CompareAndSwap(resting, polling) {
		return false
	}
	f.behind.Go(f.pollAhead)
	return true
}

// wake polls in the background, beginning after it was called: a poll under way may have read the epoch just before the
// commit that somebody was woken for.
func (f *follower) wake() {
	for !f.kick() {
		if f.ahead.CompareAndSwap(polling, pollingTwice) || f.ahead.Load() == pollingTwice {
			return
		}
	}
}

func (f *follower) pollAhead() {
	for {
		ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
		if _, err := f.poll(ctx); err != nil {
			f.m.warn("latchkey: cannot read the store's changes", err)
		}
		cancel()
		if f.ahead.CompareAndSwap(polling, resting) {
			return
		}
		f.ahead.Store(polling)
	}
}

// poll brings the cache up to the store's present epoch and notes when it began. It returns the time, as epoch does.
func (f *follower) poll(ctx context.Context) (moment, error) {
	start := pollStart{missed: f.missed.Load(), at: f.m.opts.Clock()}
	r, err := f.epoch(ctx)
	if err != nil {
		return r.at, err
	}
	if r.epoch != f.m.cache.Epoch() {
		if err := f.catchUp(ctx, r.epoch); err != nil {
			return r.at, err
		}
	}
	for {
		was := f.started.Load()
		if was != nil && was.missed >= start.missed && !was.at.Before(start.at) {
			if _, known := ageAt(was.at, f.m.opts.Clock()); known {
				return r.at, nil // a later poll was first
			}
		}
		if f.started.CompareAndSwap(was, &start) {
			return r.at, nil
		}
	}
}

// epoch reads the store's epoch, or shares a read that starts after the call, and compares the clocks.
func (f *follower) epoch(ctx context.Context) (reading, error) {
	if f.window.Alone() {
		return f.readEpoch(ctx)
	}
	return f.reads.Do(ctx, &f.window, f.readEpoch)
}

func (f *follower) readEpoch(ctx context.Context) (reading, error) {
	feed, err := f.m.store.Changes(ctx, f.m.cache.Epoch(), 0)
	if err != nil {
		return reading{}, fault.Unavailable(err)
	}
	r := reading{epoch: feed.Epoch, at: f.m.clock()}
	if !feed.Now.IsZero() {
		r.store = feed.Now.UnixMicro()
	}
	return r, f.m.agree(r.at, r.store)
}

// feedRead is one reading of the feed.
type feedRead struct {
	after uint64
	feed  Feed
	done  bool // it was applied to the cache
}

// catchUp applies changes until the cache is at target or beyond. At least one reading of the feed that began after the
// call is applied, unless the cache is at target by then.
func (f *follower) catchUp(ctx context.Context, target uint64) error {
	c := f.m.cache
	ahead := target >= c.Epoch()
	for read := false; !read || c.Epoch() < target; {
		if ahead && c.Epoch() >= target {
			return nil // somebody else did it
		}
		r, err := f.feeds.Do(ctx, &f.feeding, f.readFeed)
		if err != nil {
			return err
		}
		if read, err = f.applyFeed(r, target); err != nil {
			return err
		}
	}
	return nil
}

func (f *follower) readFeed(ctx context.Context) (*feedRead, error) {
	r := &feedRead{after: f.m.cache.Epoch()}
	var err error
	if r.feed, err = f.m.store.Changes(ctx, r.after, 1000); err != nil {
		return nil, fault.Unavailable(err)
	}
	return r, nil
}

// applyFeed brings the cache up to a reading of the feed, unless the cache has moved since. It reports whether the
// reading is applied, be it by another caller.
func (f *follower) applyFeed(r *feedRead, target uint64) (bool, error) {
	c := f.m.cache
	f.apply.Lock()
	defer f.apply.Unlock()
	if r.done || c.Epoch() != r.after {
		return r.done, nil
	}
	at, dense := r.after, true
	for _, ch := range r.feed.Changes {
		dense = dense && (ch.Epoch == at+1 || ch.Epoch == at && at > r.after)
		at = ch.Epoch
		if ch.Kind < ChangedToken || ch.Kind > ChangedRevocation {
			dense = false // what changed cannot be told: the row is damaged, or a later version wrote it
		}
	}
	r.done = true
	switch {
	// Numbers are dense, so a hole means history we do not have, and a lower epoch another history altogether
	// (a backup restored): forget everything rather than shrug.
	case r.feed.Truncated || !dense || r.feed.Epoch < r.after || len(r.feed.Changes) == 0 && r.feed.Epoch > r.after:
		c.Reset(r.feed.Epoch)
		return true, nil
	case at == r.after && at < target:
		r.done = false
		return false, fmt.Errorf("%w: its feed lags behind its epoch", ErrUnavailable)
	}
	c.Apply(cacheChanges(r.feed.Changes), at)
	return true, nil
}
