package latchkey

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/latchkey-go/latchkey/internal/coalesce"
	"github.com/latchkey-go/latchkey/internal/fault"
)

// follower follows one feed of the store. It keeps what the cache has of the feed as young as Options.MaxStale
// promises, by reading the feed's epoch and its changes. A feed that cannot be read holds up no other.
type follower struct {
	m             *Manager
	id            FeedID
	cached        *cachedFeed
	clock         confirmation
	epochReads    coalesce.Group[epochReading]
	epochWindow   coalesce.Window
	feedReads     coalesce.Group[*feedRead]
	feedWindow    coalesce.Window
	applying      sync.Mutex  // guards feedRead.applied, and the order in which the cache is changed
	revoked       revocations // of stateless tokens
	revokedReads  coalesce.Group[struct{}]
	revokedWindow coalesce.Window
	lastPoll      atomic.Pointer[pollStart] // the last successful one; nil: none yet
	missed        atomic.Uint64             // counts changes that the cache may have missed; only later polls count
	background    sync.WaitGroup            // polls in the background
	state         atomic.Uint32             // of polling in the background: pollIdle, pollRunning or pollTwice
	told          atomic.Bool               // that something changed: the next of these polls asks what at once
	failing       atomic.Int64              // ns after Manager.made: the first failed reading since a good one; 0: none
	failed        atomic.Int64              // readings that failed
}

const (
	pollIdle    = iota
	pollRunning // a poll is under way
	pollTwice   // and it may have begun too early for a caller: another follows
)

// pollStart is when a poll began, and how many changes had been missed by then.
type pollStart struct {
	at     time.Time
	moment // of at
	missed uint64
}

// feed returns the follower of a feed. It returns ErrUnavailable for one that is not among the store's.
func (m *Manager) feed(id FeedID) (*follower, error) {
	for _, f := range *m.followers.Load() {
		if f.id == id {
			return f, nil
		}
	}
	m.following.Lock()
	defer m.following.Unlock()
	known := *m.followers.Load()
	for _, f := range known {
		if f.id == id {
			return f, nil // another caller was faster
		}
	}
	if !slices.Contains(m.store.Feeds(), id) {
		return nil, fmt.Errorf("%w: the store names feed %d, which is not among its feeds", ErrUnavailable, id)
	}
	f := &follower{m: m, id: id, cached: m.cache.NewFeed(),
		epochWindow: coalesce.Window{Threshold: 2 * time.Microsecond}}
	known = append(slices.Clip(known), f) // at the place of its number
	m.followers.Store(&known)
	return f, nil
}

// feedOf returns the follower of the feed in which the changes of an owner are.
func (m *Manager) feedOf(owner string) (*follower, error) { return m.feed(m.store.Locate(owner).Feed) }

// follower returns the follower with a number, of which the cache or an Access says that it exists.
func (m *Manager) follower(number uint32) *follower { return (*m.followers.Load())[number] }

// markStale makes the next answer about a token of the owner read the store. See follower.markStale.
func (m *Manager) markStale(owner string) {
	if f, err := m.feedOf(owner); err == nil {
		f.markStale()
		return
	}
	for _, f := range *m.followers.Load() {
		f.markStale()
	}
}

// markStale makes the next answer read the store, whatever MaxStale is. It is for a change that a call of this process
// made or found, and that may not have reached the cache.
func (f *follower) markStale() { f.missed.Add(1) }

// ensureFresh returns once what is cached of the feed reflects all that was committed before now − MaxStale. It returns
// the time, by a reading of this machine's clock that the store's confirmed: since the call, or within that bound.
func (f *follower) ensureFresh(ctx context.Context) (moment, error) {
	if f.m.opts.MaxStale == 0 {
		return f.ensureCurrent(ctx)
	}
	clock := f.m.opts.Clock()
	at := f.m.momentOf(clock)
	age, known := f.age(clock, at)
	bound := f.m.opts.MaxStale
	switch {
	case !known || age > bound:
		return f.poll(ctx) // fail closed: past the bound nothing is answered from memory
	case age > bound/2:
		f.startPoll()
	}
	return at, nil
}

// ensureCurrent is ensureFresh as if MaxStale were 0: what is cached reflects all that was committed before the call.
func (f *follower) ensureCurrent(ctx context.Context) (moment, error) {
	var r epochReading // by pointers: copies of it would take longer than what is compared
	err := f.epoch(ctx, &r)
	if err == nil {
		err = f.follow(ctx, &r)
	}
	return r.at, err
}

// age returns how old the cache is, and reports whether that is known. The wall clock may be set, and the monotonic one
// stands still while the machine sleeps. The one that shows more is right, and if they differ by much nothing is known.
//
// Clock is a reading of Options.Clock, and at its moment.
func (f *follower) age(clock time.Time, at moment) (age time.Duration, known bool) {
	last := f.lastPoll.Load()
	if last == nil || last.missed != f.missed.Load() {
		return 0, false
	}
	return f.ageOf(last, clock, at)
}

// ageOf returns how long ago a poll began.
func (f *follower) ageOf(last *pollStart, clock time.Time, at moment) (age time.Duration, known bool) {
	if f.m.hostClock {
		return ageAt(last.at, clock)
	}
	return ageBetween(last.us, at.us, last.passed, at.passed)
}

// ageBetween is ageAt of two moments of time.Now, to the microsecond. It takes a quarter of the time.
func ageBetween(started, now, startedPassed, nowPassed int64) (age time.Duration, known bool) {
	wall, passed := time.Duration(now-started)*time.Microsecond, time.Duration(nowPassed-startedPassed)
	apart := wall - passed
	return max(wall, passed), wall >= 0 && apart <= clockBound && apart >= -clockBound
}

func ageAt(started, now time.Time) (age time.Duration, known bool) {
	wall := now.Round(0).Sub(started.Round(0))
	apart := clockStep(started, now)
	return max(wall, now.Sub(started)), wall >= 0 && apart <= clockBound && apart >= -clockBound
}

// startPoll starts a poll in the background, so that callers within the bound need not wait, unless one is under way
// already. It reports whether it did.
func (f *follower) startPoll() bool {
	if !f.state.CompareAndSwap(pollIdle, pollRunning) {
		return false
	}
	f.background.Go(f.pollInBackground)
	return true
}

// requestPoll polls in the background, by a poll that begins after the call. A poll under way may have read the epoch
// just before the commit that the caller was notified of.
func (f *follower) requestPoll() {
	f.told.Store(true)
	for !f.startPoll() {
		if f.state.CompareAndSwap(pollRunning, pollTwice) || f.state.Load() == pollTwice {
			return
		}
	}
}

func (f *follower) pollInBackground() {
	for {
		ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
		if _, err := f.pollBy(ctx, f.told.Swap(false)); err != nil {
			f.m.warn(ctx, partFeed, "latchkey: cannot read the store's changes", err)
		}
		cancel()
		if f.state.CompareAndSwap(pollRunning, pollIdle) {
			return
		}
		f.state.Store(pollRunning)
	}
}

// poll brings the cache up to the feed's present epoch and records when it began. It returns the time, as epoch does.
func (f *follower) poll(ctx context.Context) (moment, error) { return f.pollBy(ctx, false) }

// pollBy is poll. Told that something changed, it reads the changes at once, which give the epoch too.
func (f *follower) pollBy(ctx context.Context, told bool) (moment, error) {
	start := pollStart{missed: f.missed.Load(), at: f.m.opts.Clock()}
	start.moment = f.m.momentOf(start.at)
	read := f.epoch
	if told {
		read = f.changes
	}
	var r epochReading
	if err := read(ctx, &r); err != nil {
		return r.at, err
	}
	if err := f.follow(ctx, &r); err != nil {
		return r.at, err
	}
	for {
		was := f.lastPoll.Load()
		if was != nil && was.missed >= start.missed && !was.at.Before(start.at) {
			if _, known := ageAt(was.at, f.m.opts.Clock()); known {
				return r.at, nil // a later poll was first
			}
		}
		if f.lastPoll.CompareAndSwap(was, &start) {
			return r.at, nil
		}
	}
}

// epoch reads the store's epoch, or shares a read that begins after the call, and compares the clocks.
func (f *follower) epoch(ctx context.Context, r *epochReading) (err error) {
	if f.epochWindow.Alone() {
		return f.readEpoch(ctx, r)
	}
	*r, err = f.epochReads.Do(ctx, &f.epochWindow, func(ctx context.Context) (r epochReading, err error) {
		err = f.readEpoch(ctx, &r)
		return r, err
	})
	return err
}

func (f *follower) readEpoch(ctx context.Context, r *epochReading) error {
	r.latest = f.cached.Latest()
	feed, err := f.m.store.Changes(ctx, f.id, f.cached.Epoch(), 0)
	if err != nil {
		return f.note(fault.Unavailable(err))
	}
	r.epoch = feed.Epoch
	r.at, r.storeClock = f.m.readClocks(&feed)
	return f.note(f.compareClocks(r.at, r.storeClock))
}

// note takes note whether a reading of the feed succeeded, and returns err.
func (f *follower) note(err error) error {
	switch {
	case err == nil:
		if f.failing.Load() != 0 { // stored only then: each write makes every processor load the cache line again
			f.failing.Store(0)
		}
	case !errors.Is(err, context.Canceled): // which says nothing about the store
		f.failed.Add(1)
		f.failing.CompareAndSwap(0, max(int64(time.Since(f.m.made)), 1))
	}
	return err
}

// stats returns the FeedStats.
func (f *follower) stats() FeedStats {
	s := FeedStats{Feed: f.id, Epoch: f.cached.Epoch(), Age: -1, Failed: f.failed.Load()}
	clock := f.m.opts.Clock()
	at := f.m.momentOf(clock)
	if f.m.opts.MaxStale == 0 {
		if f.clock.host.Load() != 0 {
			s.Age = max(time.Duration(at.passed-f.clock.passed.Load()), 0)
		}
	} else if last := f.lastPoll.Load(); last != nil {
		if age, known := f.ageOf(last, clock, at); known {
			s.Age = max(age, 0)
		}
	}
	if since := f.failing.Load(); since != 0 {
		s.Failing = max(time.Since(f.m.made)-time.Duration(since), 1)
	}
	return s
}

// changes is epoch by a reading of the changes, or of the first of many. It applies them.
func (f *follower) changes(ctx context.Context, r *epochReading) error {
	read, err := f.feedReads.Do(ctx, &f.feedWindow, f.readFeed)
	if err != nil {
		return err
	}
	*r = read.epochReading
	if err := f.compareClocks(r.at, r.storeClock); err != nil {
		return err
	}
	_, err = f.applyFeed(read, r.epoch)
	return err
}

// follow brings the cache up to a reading of the epoch. What was read at a later epoch, before that reading began, is
// of a history that was lost: the store was restored from a backup.
func (f *follower) follow(ctx context.Context, r *epochReading) error {
	if r.epoch < r.latest {
		f.applying.Lock()
		if f.cached.Latest() >= r.latest { // otherwise another caller has done it
			f.revoked.forget()
			f.cached.Reset(r.epoch)
		}
		f.applying.Unlock()
	}
	if r.epoch == f.cached.Epoch() {
		return nil
	}
	return f.catchUp(ctx, r.epoch)
}

// feedRead is one reading of the feed.
type feedRead struct {
	epochReading
	after   uint64
	feed    Feed
	empty   bool // only the epoch matters: nothing was cached that a change could concern
	applied bool // to the cache
}

// catchUp applies changes until the cache is at target or beyond. At least one reading of the feed that began after the
// call is applied, unless the cache is at target by then.
func (f *follower) catchUp(ctx context.Context, target uint64) error {
	c := f.cached
	targetAhead := target >= c.Epoch()
	for applied := false; !applied || c.Epoch() < target; {
		if targetAhead && c.Epoch() >= target {
			return nil // another caller applied it
		}
		r, err := f.feedReads.Do(ctx, &f.feedWindow, f.readFeed)
		if err != nil {
			return err
		}
		if applied, err = f.applyFeed(r, target); err != nil {
			return err
		}
	}
	return nil
}

// refresh applies all changes up to an epoch that is read after the call, be it by another caller.
func (f *follower) refresh(ctx context.Context) error {
	r, err := f.feedReads.Do(ctx, &f.feedWindow, f.readFeed)
	if err != nil {
		return err
	}
	if _, err := f.applyFeed(r, r.feed.Epoch); err != nil {
		return err
	}
	return f.catchUp(ctx, r.feed.Epoch) // not what others have committed since
}

// feedPage is how many changes are read at once: what a second of frequent changes has.
const feedPage = 4000

func (f *follower) readFeed(ctx context.Context) (*feedRead, error) {
	r := &feedRead{after: f.cached.Epoch(), empty: f.cached.Empty()}
	latest := f.cached.Latest()
	n := feedPage
	if r.empty {
		n = 1 // the history of a day would hold up a process that begins with a change, or with Wake
	}
	var err error
	if r.feed, err = f.m.store.Changes(ctx, f.id, r.after, n); f.note(err) != nil {
		return nil, fault.Unavailable(err)
	}
	r.epochReading = epochReading{epoch: r.feed.Epoch, latest: latest}
	r.at, r.storeClock = f.m.readClocks(&r.feed)
	return r, nil
}

// applyFeed brings the cache up to a reading of the feed, unless the cache has moved since. It reports whether the
// reading is applied, be it by another caller.
func (f *follower) applyFeed(r *feedRead, target uint64) (bool, error) {
	c := f.cached
	f.applying.Lock()
	defer f.applying.Unlock()
	if r.applied || c.Epoch() != r.after {
		return r.applied, nil
	}
	if r.empty && r.feed.Epoch >= max(r.after, target) {
		r.applied = c.Skip(r.feed.Epoch) // unless something is cached by now: then the changes are read
		return r.applied, nil
	}
	at, dense := r.after, true
	for _, ch := range r.feed.Changes {
		dense = dense && (ch.Epoch == at+1 || ch.Epoch == at && at > r.after)
		at = ch.Epoch
		if ch.Kind < ChangedToken || ch.Kind > ChangedRevocation || ch.Of > RevokedOwner {
			dense = false // the kind is unknown: the record is damaged, or a later version wrote it
		}
	}
	r.applied = true
	switch {
	// Epochs are dense, so a gap means changes that we do not have, and a lower epoch another history altogether (a backup
	// was restored). Fail closed: empty the cache.
	case r.feed.Truncated || !dense || r.feed.Epoch < r.after || len(r.feed.Changes) == 0 && r.feed.Epoch > r.after:
		f.revoked.forget()
		c.Reset(r.feed.Epoch)
		return true, nil
	case at == r.after && at < target:
		r.applied = false
		return false, fmt.Errorf("%w: the store's feed lags behind its epoch", ErrUnavailable)
	}
	f.revoked.follow(r.after, r.feed.Changes, at, r.at.us)
	c.Apply(cacheChanges(r.feed.Changes), at)
	return true, nil
}
