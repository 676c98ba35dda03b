package latchkey

import (
	"context"
	"fmt"
	"sync"
	"time"
)

// Two clocks take part in what is decided here: that of this machine, by which time passes, and the store's, which
// bears it witness. A reading of this machine's clock counts only while the store's agrees with it: otherwise nobody
// knows what time it is, and the answer is ErrUnavailable. Neither clock is remembered when they differ, so all is well
// again as soon as they agree. A store without a clock (Feed.Now is zero) leaves this machine's alone.

const (
	// clockBound is how far the two may lie apart, either way.
	clockBound = time.Minute
	// clockGood is for how long a clock that was right is taken to go right, where to ask takes longer than clockCheap.
	clockGood  = time.Second
	clockCheap = 20 * time.Microsecond
)

// moment is a reading of this machine's clock.
type moment struct {
	us     int64 // µs since 1970
	passed int64 // ns since the Manager was made, by Go's monotonic clock: it never goes back
}

// reading is the store's epoch, and this machine's clock as of the end of that read, which the store's agreed with.
type reading struct {
	epoch uint64
	at    moment
	store int64 // µs, the store's clock; 0: it has none
}

// clock is a reading of this machine's clock, which nobody has confirmed.
func (m *Manager) clock() moment { return m.moment(m.opts.Clock()) }

// moment is a reading as the rest is worked out from. What passed is that until now for a clock of the host's own.
func (m *Manager) moment(at time.Time) moment {
	us := at.UnixMicro()
	if day := int32(us / (24 * time.Hour).Microseconds()); day != m.day.Load() {
		m.day.Store(day)
	}
	if m.hostClock {
		at = time.Now()
	}
	return moment{us, int64(at.Sub(m.made))}
}

// present is the time in µs from which what is made counts, and in whose month credits are spent.
func (m *Manager) present() int64 { return m.making(m.clock()) }

// making is present at a moment: the later of the two clocks, but what they showed before they were set back is
// forgotten, or what is made would live too long.
func (m *Manager) making(at moment) int64 {
	us, high := at.us, m.high.Load()
	if high > us && high-us <= clockBound.Microseconds() {
		return high
	}
	return us
}

// elapsed returns how much time has passed by a moment, in µs. A clock that is set does not count, but for one of the
// host's own.
func (m *Manager) elapsed(at moment) int64 {
	if m.hostClock {
		return at.us
	}
	return at.passed / 1000
}

// now is the time in µs by which ends are judged. See judging.
func (m *Manager) now() int64 { return m.judging(m.clock()) }

// judging is the time in µs by which ends are judged, at a moment: it does not fall behind what both clocks have shown,
// so that clocks set back together revive nothing. They may have been wrong together too, so that lasts until they have
// gone on for an hour.
func (m *Manager) judging(at moment) int64 { return max(at.us, m.high.Load()) }

// agree compares a reading of this machine's clock with one of the store's of the same moment, in µs; 0: it has none.
func (m *Manager) agree(at moment, store int64) error {
	if apart := store - at.us; store != 0 && (apart > clockBound.Microseconds() || apart < -clockBound.Microseconds()) {
		return &clockError{time.Duration(apart) * time.Microsecond}
	}
	// Now and then is enough: what is written here each processor has to fetch.
	if ago := at.us - m.checked.Load(); ago > clockGood.Microseconds()/8 || ago < 0 {
		m.checked.Store(at.us)
		m.checkedAt.Store(at.passed)
	}
	for store != 0 {
		was := m.high.Load()
		if store < was {
			since := m.back.Load()
			if since == 0 || store < since {
				m.back.Store(store)
				break
			}
			if store-since < clockSteps.Microseconds() {
				break
			}
		}
		if by := store - was; by >= 0 && by < 1000 || m.high.CompareAndSwap(was, store) { // it may lag by a millisecond
			if m.back.Load() != 0 {
				m.back.Store(0)
			}
			break
		}
	}
	return nil
}

// clockError is ErrUnavailable: nobody knows what time it is.
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

// witnessed returns this machine's clock, compared with the store's: by a read, or where that takes its time in the
// last moment.
func (m *Manager) witnessed(ctx context.Context) (moment, error) {
	at := m.clock()
	if was := m.checked.Load(); was != 0 && m.askCost.Load() > int64(clockCheap) {
		// By both, for neither a clock that stands still nor one that was set may pass for one that was looked at.
		went, passed := at.us-was, at.passed-m.checkedAt.Load()
		if good := clockGood.Microseconds(); went <= good && went >= -good && passed <= int64(clockGood) {
			return at, nil
		}
	}
	return m.askClock(ctx)
}

// askClock returns this machine's clock, compared with the store's by a read that begins after the call.
func (m *Manager) askClock(ctx context.Context) (moment, error) {
	begin := time.Now()
	r, err := m.follow.epoch(ctx)
	m.askCost.Store(int64(time.Since(begin)))
	return r.at, err
}

// jumped is how far a clock went more than time passed, between two of its readings, by Go's monotonic clock. 0 for
// readings without one.
func jumped(from, to time.Time) time.Duration { return to.Round(0).Sub(from.Round(0)) - to.Sub(from) }

// jumpWatch notices that a clock was set. Where the store is on the same machine no other witness has a clock of its
// own.
type jumpWatch struct {
	mu   sync.Mutex
	last time.Time
}

// jump is an error, once, for a clock that was set by more than the bound since it was last looked at.
func (w *jumpWatch) jump(at time.Time) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	by := jumped(w.last, at)
	if w.last = at; by > clockBound || by < -clockBound {
		return fmt.Errorf("%w: this machine's clock was set by %v, or it slept: see that the time is right, and try again",
			ErrUnavailable, by.Round(time.Second))
	}
	return nil
}
