package latchkey

import (
	"context"
	"fmt"
	"sync"
	"sync/atomic"
	"time"
)

// A Manager compares this machine's clock with the store's, for each feed. A reading of this machine's clock is
// confirmed if the store's clock agrees with it to within clockBound. Otherwise the time is unknown, and the answer is
// ErrUnavailable. Readings that differ are not kept, so that answers resume as soon as the clocks agree. If the store
// has no clock (Feed.Now is zero), this machine's counts alone.

const (
	// clockBound is how far the two clocks may lie apart, either way.
	clockBound = time.Minute
	// confirmTTL is how long a confirmation holds, if one takes longer than cheapConfirm.
	confirmTTL   = time.Second
	cheapConfirm = 20 * time.Microsecond
)

// moment is a reading of this machine's clock.
type moment struct {
	us     int64 // µs since 1970
	passed int64 // ns since the Manager was made, by Go's monotonic clock, which never goes back
}

// confirmation says when this machine's clock was last confirmed by the clock of a feed.
type confirmation struct {
	host   atomic.Int64 // µs: moment.us of the last confirmation; 0: none yet
	passed atomic.Int64 // ns: moment.passed of it
	cost   atomic.Int64 // ns: how long it took
}

// epochReading is the epoch of a feed, with both clocks as of the end of that read.
type epochReading struct {
	epoch      uint64
	latest     uint64 // the latest epoch at which anything in the cache had been read before
	at         moment
	storeClock int64 // µs since 1970; 0: the store has no clock
}

// readClock returns an unconfirmed reading of this machine's clock.
func (m *Manager) readClock() moment { return m.momentOf(m.opts.Clock()) }

// readClocks returns a reading of this machine's clock, and that of the store's clock in feed, in µs since 1970; 0 if
// it has none. A Feed.Now with a monotonic part was read by time.Now in this process, so that it is both.
func (m *Manager) readClocks(feed *Feed) (at moment, store int64) {
	switch {
	case feed.Now.IsZero():
		return m.readClock(), 0
	case !m.hostClock && feed.Now != feed.Now.Round(0):
		at = m.momentOf(feed.Now)
		return at, at.us
	}
	return m.readClock(), feed.Now.UnixMicro()
}

// momentOf returns the moment of a reading of Options.Clock. For a clock of the host's own, passed is measured now.
func (m *Manager) momentOf(at time.Time) moment {
	us := at.UnixMicro()
	if day := int32(us / (24 * time.Hour).Microseconds()); day != m.day.Load() {
		m.day.Store(day)
	}
	if m.hostClock {
		at = time.Now()
	}
	return moment{us, int64(at.Sub(m.made))}
}

// creationNow returns creationTime of an unconfirmed reading.
func (m *Manager) creationNow() int64 { return m.creationTime(m.readClock()) }

// creationTime returns the time in µs at which a record is created, and in whose month credits are spent. It is the
// later of the two clocks. What they showed before they were set back does not count, or new tokens would live too
// long.
func (m *Manager) creationTime(at moment) int64 {
	us, high := at.us, m.agreedMax.Load()
	if high > us && high-us <= clockBound.Microseconds() {
		return high
	}
	return us
}

// elapsed returns how much time has passed by a moment, in µs. It is monotonic unless Options.Clock is the host's own.
func (m *Manager) elapsed(at moment) int64 {
	if m.hostClock {
		return at.us
	}
	return at.passed / 1000
}

// expiryNow returns expiryTime of an unconfirmed reading.
func (m *Manager) expiryNow() int64 { return m.expiryTime(m.readClock()) }

// expiryTime returns the time in µs that is compared with ends. It is never before what both clocks have shown, so that
// no expired token works again when both are set back. They may also have been wrong together before. So once they have
// run for maxClockStep after they were set back, their present time counts.
func (m *Manager) expiryTime(at moment) int64 { return max(at.us, m.agreedMax.Load()) }

// compareClocks confirms a reading of this machine's clock by the store's clock of the same moment, in µs. If store
// is 0, the store has no clock and the reading is confirmed. It returns a *clockError if the clocks differ.
func (f *follower) compareClocks(at moment, store int64) error {
	m := f.m
	if apart := store - at.us; store != 0 && (apart > clockBound.Microseconds() || apart < -clockBound.Microseconds()) {
		return &clockError{time.Duration(apart) * time.Microsecond}
	}
	// Stored at intervals only: each write makes every processor load the cache line again.
	if ago := at.us - f.clock.host.Load(); ago > confirmTTL.Microseconds()/8 || ago < 0 {
		f.clock.host.Store(at.us)
		f.clock.passed.Store(at.passed)
	}
	for store != 0 {
		was := m.agreedMax.Load()
		if store < was {
			since := m.backSince.Load()
			if since == 0 || store < since {
				m.backSince.Store(store)
				break
			}
			if store-since < maxClockStep.Microseconds() {
				break
			}
		}
		// agreedMax may lag by a millisecond.
		if by := store - was; by >= 0 && by < 1000 || m.agreedMax.CompareAndSwap(was, store) {
			if m.backSince.Load() != 0 {
				m.backSince.Store(0)
			}
			break
		}
	}
	return nil
}

// clockError is ErrUnavailable because the time is unknown.
type clockError struct{ apart time.Duration } // of the store's from this machine's

func (e *clockError) Error() string {
	word, apart := "ahead of", e.apart
	if apart < 0 {
		word, apart = "behind", -apart
	}
	return fmt.Sprintf("%v: the store's clock is %v %s this machine's: set right the one that is wrong (NTP)",
		ErrUnavailable, apart.Round(time.Millisecond), word)
}

func (e *clockError) Unwrap() error { return ErrUnavailable }

// confirmedTime returns a confirmed reading of this machine's clock. It reads the store's clock, unless that is slow
// and a reading was confirmed within confirmTTL.
func (f *follower) confirmedTime(ctx context.Context) (moment, error) {
	at := f.m.readClock()
	if was := f.clock.host.Load(); was != 0 && f.clock.cost.Load() > int64(cheapConfirm) {
		// Compared by both clocks, so that neither a clock that stands still nor one that was set counts as confirmed.
		went, passed := at.us-was, at.passed-f.clock.passed.Load()
		if good := confirmTTL.Microseconds(); went <= good && went >= -good && passed <= int64(confirmTTL) {
			return at, nil
		}
	}
	return f.confirmTimeNow(ctx)
}

// confirmTimeNow returns a reading of this machine's clock, confirmed by a read of the store that begins after the
// call.
func (f *follower) confirmTimeNow(ctx context.Context) (moment, error) {
	begin := time.Now()
	var r epochReading
	err := f.epoch(ctx, &r)
	f.clock.cost.Store(int64(time.Since(begin)))
	return r.at, err
}

// confirmTimeNow is follower.confirmTimeNow for the feed of an owner.
func (m *Manager) confirmTimeNow(ctx context.Context, owner string) (moment, error) {
	f, err := m.feedOf(owner)
	if err != nil {
		return moment{}, err
	}
	return f.confirmTimeNow(ctx)
}

// clockStep returns by how much a clock was set between two of its readings, compared with Go's monotonic clock. It is
// 0 for readings without a monotonic part.
func clockStep(from, to time.Time) time.Duration {
	return to.Round(0).Sub(from.Round(0)) - to.Sub(from)
}

// stepWatch notices that a clock was set. It serves where the store is on the same machine, and has the same clock.
type stepWatch struct {
	mu   sync.Mutex
	last time.Time
}

// check returns an error, once, for a clock that was set by more than clockBound since the last call.
func (w *stepWatch) check(at time.Time) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	by := clockStep(w.last, at)
	if w.last = at; by > clockBound || by < -clockBound {
		return fmt.Errorf("%w: this machine's clock was set by %v, or it slept: see that the time is right, and try again",
			ErrUnavailable, by.Round(time.Second))
	}
	return nil
}

// clampCreation returns when a token that is made at now, in µs, counts as created under the owner's record. It is not
// before NotBefore, which came from another machine's clock, so that a token made under that record works.
func (o *Owner) clampCreation(now int64) (int64, error) {
	if o.NotBefore.Sub(fromMicros(now)) > nowTolerance {
		return 0, fmt.Errorf("%w: the owner's NotBefore is in the future, and the token would be refused: set it to now",
			ErrInvalid)
	}
	return max(now, micros(o.NotBefore)), nil
}

// nowTolerance is how far a NotBefore may lie back and still mean now. Two machines, each within the bound of the
// store's clock, may be that far apart.
const nowTolerance = 2 * clockBound
