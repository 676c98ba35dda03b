// Package ratelimit holds keys to rates by the generic cell rate algorithm (GCRA; ITU-T I.371, annex A).
//
// It guarantees:
//
//   - In any span of time no more pass than the rate and its burst let, and one that is refused counts for nothing.
//   - Memory is bounded. A key is forgotten only when it may send its whole burst again anyway. While a Limiter is full
//     of others, further keys are refused.
//   - A clock that is set back refills nothing and keeps no key waiting: what counts is the time that passes.
//   - A rate that changed holds at once, for what passed before too.
//   - Take, Give and Look do not allocate, but for keys that are new.
package ratelimit

import (
	"crypto/sha256"
	"hash/maphash"
	"math/bits"
	"sync"
	"sync/atomic"
	"time"
)

// Rate is a rate as the algorithm takes it, in ns: a request may come once per Step, and up to Slack ahead of its time.
// Step is positive, Slack is not negative.
type Rate struct{ Step, Slack int64 }

// State is the state of a key under a rate.
type State struct {
	Limit      int           // how many pass at once after a rest
	Remaining  int           // how many would pass now
	Reset      time.Duration // until Remaining is Limit again
	Window     time.Duration // in which Limit become free again, however they were spread
	RetryAfter time.Duration // until one passes again; 0 if one would pass now
}

// state returns the state of a key whose next request is due at tat.
func (r Rate) state(tat, now int64) State {
	ahead := max(tat-now, 0)
	s := State{Limit: int(r.Slack/r.Step) + 1, Reset: time.Duration(ahead),
		Window: time.Duration(r.Slack + r.Step)}
	if ahead > r.Slack {
		s.RetryAfter = time.Duration(ahead - r.Slack)
	} else {
		s.Remaining = int((r.Slack-ahead)/r.Step) + 1
	}
	return s
}

// MaxKeys is how many keys a Limiter remembers at most.
const MaxKeys = 1 << 20

const (
	shardCount = 64
	probeAdd   = 4  // keys looked at for one that is over whenever one is added
	probeFull  = 32 // the same in a full shard
)

// Limiter holds, per key, when its next request is due, and the rate by which that is so. Under another rate it is due
// when that rate would have it: see cell.under. A key whose time has come says nothing that a missing one does not, so
// only such keys are ever forgotten. A Limiter is safe for concurrent use.
type Limiter struct {
	base   time.Time        // of the clock's readings
	clock  func() time.Time // nil: what passed is given
	used   atomic.Bool      // some key was ever added
	seed   maphash.Seed
	shards [shardCount]shard
}

type shard struct {
	mu    sync.Mutex
	now   int64 // ns of time that passed; it never goes back
	watch stopwatch
	room  int
	cells map[[16]byte]cell
	_     [48]byte // whole cache lines each
}

// cell is what is known of one key.
type cell struct {
	tat, last int64 // ns; tat: when the next request is due (theoretical arrival time); last: the latest that passed
	Rate
}

// under returns when the next request would be due under another rate: as many requests wait to come free as did after
// the latest one, at most as many as that rate lets pass at once. A debt that could only be made under the rate before
// is none.
func (c cell) under(r Rate) int64 {
	if c.Rate == r || c.Step == 0 {
		return c.tat
	}
	most := r.Slack + r.Step
	high, low := bits.Mul64(uint64(max(c.tat-c.last, 0)), uint64(r.Step))
	if high >= uint64(c.Step) {
		return c.last + most
	}
	waits, rest := bits.Div64(high, low, uint64(c.Step))
	if rest > 0 {
		waits++
	}
	return c.last + int64(min(waits, uint64(most)))
}

// New returns a Limiter. With a nil clock, Take, Give and Look are told how many ns have passed. Otherwise they read
// the clock, which may be set, and ignore what they are told; now is a reading of it.
func New(now time.Time, clock func() time.Time) *Limiter {
	l := &Limiter{base: now, clock: clock, seed: maphash.MakeSeed()}
	for i := range l.shards {
		l.shards[i].room = MaxKeys / shardCount
		l.shards[i].cells = map[[16]byte]cell{}
	}
	return l
}

// Unused reports whether no key was ever added.
func (l *Limiter) Unused() bool { return !l.used.Load() }

// Keys returns how many keys are remembered.
func (l *Limiter) Keys() int {
	n := 0
	for i := range l.shards {
		s := &l.shards[i]
		s.mu.Lock()
		n += len(s.cells)
		s.mu.Unlock()
	}
	return n
}

// shard finds the shard of a key, by a secret hash: nobody fills one shard by choosing keys.
func (l *Limiter) shard(key *[16]byte) *shard {
	return &l.shards[maphash.Bytes(l.seed, key[:])%shardCount]
}

// lock locks the shard of a key, and moves its time on.
func (l *Limiter) lock(key *[16]byte, passed int64) *shard {
	s := l.shard(key)
	s.mu.Lock()
	if l.clock != nil {
		// Read in the lock, so that each reading is later than the one before and a step back is one.
		passed = s.watch.passed(int64(l.clock().Sub(l.base)))
	}
	s.now = max(s.now, passed)
	return s
}

// stopwatch makes of the readings of a clock that may be set the time that passed. A step back is no time, and from
// there it goes on as the clock does. When the clock jumps forth again over the point where it stepped back, and by
// half as much at least, it was put right: then what lies between is no time either.
type stopwatch struct {
	last     int64 // the latest reading
	off      int64 // what to add to a reading
	from, by int64 // the step back that may be taken back: its beginning, and how far it went; by 0: there is none
	offFrom  int64 // off before it
}

func (w *stopwatch) passed(reading int64) int64 {
	jump := reading - w.last
	switch {
	case jump < 0:
		if w.by == 0 {
			w.from, w.offFrom = w.last, w.off
		}
		w.off -= jump
		w.by = w.from - reading
	case w.by > 0 && reading >= w.from:
		if jump >= w.by/2 {
			w.off = w.offFrom
		}
		w.by = 0
	}
	w.last = reading
	return reading + w.off
}

// Take lets one request of a key pass and counts it, or refuses it, which it then reports with false.
func (l *Limiter) Take(key *[16]byte, r Rate, passed int64) (State, bool) {
	s := l.lock(key, passed)
	defer s.mu.Unlock()
	was, known := s.cells[*key]
	if !known {
		l.used.Store(true)
		if wait, ok := s.makeRoom(); !ok {
			// Fail closed: a key that is not remembered would never be refused.
			state := r.state(s.now, s.now)
			state.Remaining, state.Reset, state.RetryAfter = 0, wait, wait
			return state, false
		}
	}
	tat := max(s.now, was.under(r))
	if tat-s.now > r.Slack {
		return r.state(tat, s.now), false
	}
	tat += r.Step
	s.cells[*key] = cell{tat, s.now, r}
	return r.state(tat, s.now), true
}

// Give takes back a Take that let a request pass.
func (l *Limiter) Give(key *[16]byte, r Rate, passed int64) {
	s := l.lock(key, passed)
	defer s.mu.Unlock()
	if was, ok := s.cells[*key]; ok && was.Rate == r {
		s.cells[*key] = cell{was.tat - r.Step, was.last, r}
	}
}

// Look returns the state of a key, and counts nothing.
func (l *Limiter) Look(key *[16]byte, r Rate, passed int64) State {
	s := l.lock(key, passed)
	defer s.mu.Unlock()
	return r.state(s.cells[*key].under(r), s.now)
}

// Forget lets a key begin anew.
func (l *Limiter) Forget(key *[16]byte) {
	s := l.shard(key)
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.cells, *key)
}

// makeRoom forgets a few keys whose time has come, out of some picked at random, before one is added. False: the shard
// is full of others, for about as long as is said.
func (s *shard) makeRoom() (time.Duration, bool) {
	look, first := probeAdd, int64(-1)
	if len(s.cells) >= s.room {
		look = probeFull
	}
	for key, c := range s.cells { // Go starts at a random place
		if c.tat <= s.now {
			delete(s.cells, key)
		} else if first < 0 || c.tat < first {
			first = c.tat
		}
		if look--; look == 0 {
			break
		}
	}
	return time.Duration(first - s.now), len(s.cells) < s.room
}

// Key returns a text as a key. Texts of up to 15 bytes stand as they are, longer ones as a cryptographic hash.
func Key(s string) (k [16]byte) {
	if len(s) < len(k) {
		copy(k[:], s)
		k[15] = byte(len(s)) // it keeps short texts and hashes apart
		return k
	}
	sum := sha256.Sum256([]byte(s))
	copy(k[:], sum[:])
	k[15] |= 0x80
	return k
}
