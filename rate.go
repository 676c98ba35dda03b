package latchkey

import (
	"crypto/sha256"
	"hash/maphash"
	"math/bits"
	"sync"
	"sync/atomic"
	"time"

	"github.com/latchkey-go/latchkey/internal/uuidv7"
)

// gcra is a rate as the generic cell rate algorithm takes it (ITU-T I.371, annex A): a request may come once per step,
// and up to slack ahead of its time. In ns.
type gcra struct{ step, slack int64 }

// cells rounds the step up, so that no more than Count ever pass in a Per.
func (r Rate) cells() gcra {
	step := (int64(r.Per) + int64(r.Count) - 1) / int64(r.Count)
	return gcra{step, int64(r.Burst) * step}
}

// RateInfo is the state of a rate limit.
type RateInfo struct {
	Limit      int           // how many requests pass at once after a rest: 1 + Rate.Burst
	Remaining  int           // how many would pass now
	Reset      time.Duration // until Remaining is Limit again
	Window     time.Duration // in which Limit requests become free again, however they were spread
	RetryAfter time.Duration // until one passes again; 0 if one would pass now
}

// info is the state of a bucket whose next request is due at tat.
func (g gcra) info(tat, now int64) RateInfo {
	ahead := max(tat-now, 0)
	i := RateInfo{Limit: int(g.slack/g.step) + 1, Reset: time.Duration(ahead),
		Window: time.Duration(g.slack + g.step)}
	if ahead > g.slack {
		i.RetryAfter = time.Duration(ahead - g.slack)
	} else {
		i.Remaining = int((g.slack-ahead)/g.step) + 1
	}
	return i
}

// RateLimitError is [ErrRateLimited] with the state of the rate that refused.
type RateLimitError struct{ Info RateInfo }

func (e *RateLimitError) Error() string { return ErrRateLimited.Error() }
func (e *RateLimitError) Unwrap() error { return ErrRateLimited }

// RetryAfter is how long to wait until the next request passes.
func (e *RateLimitError) RetryAfter() time.Duration { return e.Info.RetryAfter }

const (
	rateShards = 64
	rateKeys   = 1 << 20 // in all shards
	rateProbe  = 4       // keys looked at for a lapsed one whenever one is added
	rateSearch = 32      // the same in a full shard
)

// buckets holds, per key, when its next request is due, and the rate by which that is so: under another rate it is due
// when that rate would have it, see under. A key whose time has come says nothing that a missing one does not, so only
// such keys are ever forgotten.
type buckets struct {
	base   time.Time        // of the clock's readings
	clock  func() time.Time // nil: what passed is given. Other clocks are read here: they may be set
	used   atomic.Bool      // some key was ever added
	seed   maphash.Seed
	shards [rateShards]rateShard
}

type rateShard struct {
	mu   sync.Mutex
	now  int64 // ns of time that passed; it never goes back
	went went
	room int
	due  map[[16]byte]bucket
	_    [48]byte // whole cache lines each
}

type bucket struct {
	due, last int64 // ns; last: the latest request that passed
	gcra
}

// under is a bucket as another rate would have it: as many requests wait to come free as did after the latest one, at
// most as many as the rate lets pass at once. A debt that could only be made under the rate before is none.
func (b bucket) under(g gcra) int64 {
	if b.gcra == g || b.step == 0 {
		return b.due
	}
	most := g.slack + g.step
	high, low := bits.Mul64(uint64(max(b.due-b.last, 0)), uint64(g.step))
	if high >= uint64(b.step) {
		return b.last + most
	}
	waits, rest := bits.Div64(high, low, uint64(b.step))
	if rest > 0 {
		waits++
	}
	return b.last + int64(min(waits, uint64(most)))
}

func newBuckets(now time.Time) *buckets {
	b := &buckets{base: now, seed: maphash.MakeSeed()}
	for i := range b.shards {
		b.shards[i].room = rateKeys / rateShards
		b.shards[i].due = map[[16]byte]bucket{}
	}
	return b
}

// lock finds the shard of a key, by a secret hash: nobody fills one shard by choosing keys.
func (b *buckets) lock(key *[16]byte, passed int64) *rateShard {
	s := &b.shards[maphash.Bytes(b.seed, key[:])%rateShards]
	s.mu.Lock()
	if b.clock != nil {
		// Read in the lock, so that each reading is later than the one before and a step back is one.
		passed = s.went.on(int64(b.clock().Sub(b.base)))
	}
	s.now = max(s.now, passed)
	return s
}

// went makes of the readings of a clock that may be set the time that passed. A step back is no time, and from there it
// goes on as the clock does. When the clock jumps forth again over the point where it stepped back, and by half as much
// at least, it was put right: then what lies between is no time either.
type went struct {
	last     int64 // the latest reading
	off      int64 // what to add to a reading
	from, by int64 // the step back that may be taken back: its beginning, and how far it went; by 0: there is none
	offFrom  int64 // off before it
}

func (w *went) on(reading int64) int64 {
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

// take lets one request of key pass, or not.
func (b *buckets) take(key *[16]byte, g gcra, passed int64) (RateInfo, bool) {
	s := b.lock(key, passed)
	defer s.mu.Unlock()
	was, known := s.due[*key]
	if !known {
		b.used.Store(true)
		if wait, ok := s.makeRoom(); !ok {
			// Fail closed: who is not remembered would never be refused.
			i := g.info(s.now, s.now)
			i.Remaining, i.Reset, i.RetryAfter = 0, wait, wait
			return i, false
		}
	}
	due := max(s.now, was.under(g))
	if due-s.now > g.slack {
		return g.info(due, s.now), false
	}
	due += g.step
	s.due[*key] = bucket{due, s.now, g}
	return g.info(due, s.now), true
}

// give takes back a take that let a request pass.
func (b *buckets) give(key *[16]byte, g gcra, passed int64) {
	s := b.lock(key, passed)
	defer s.mu.Unlock()
	if was, ok := s.due[*key]; ok && was.gcra == g {
		s.due[*key] = bucket{was.due - g.step, was.last, g}
	}
}

// look says what take would find.
func (b *buckets) look(key *[16]byte, g gcra, passed int64) RateInfo {
	s := b.lock(key, passed)
	defer s.mu.Unlock()
	return g.info(s.due[*key].under(g), s.now)
}

// forget lets a key begin anew.
func (b *buckets) forget(key *[16]byte) {
	s := &b.shards[maphash.Bytes(b.seed, key[:])%rateShards]
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.due, *key)
}

// makeRoom forgets a few keys whose time has come, out of some picked at random, before one is added. False: the shard
// is full of others, for about as long as is said.
func (s *rateShard) makeRoom() (time.Duration, bool) {
	look, first := rateProbe, int64(-1)
	if len(s.due) >= s.room {
		look = rateSearch
	}
	for key, b := range s.due { // Go starts at a random place
		if b.due <= s.now {
			delete(s.due, key)
		} else if first < 0 || b.due < first {
			first = b.due
		}
		if look--; look == 0 {
			break
		}
	}
	return time.Duration(first - s.now), len(s.due) < s.room
}

// Limiter holds callers, each named by a key, to one rate: say, by network address before anything else is known of
// them. It knows what passed through it alone: it protects a process, and credits are the exact limit across several.
//
// It keeps at most about a million keys (2^20), and forgets one only when it may send its whole burst again anyway. While
// it is full of others, further keys are refused. A clock set back refills nothing, and keeps nobody waiting: what
// counts is the time that passes, for time.Now by Go's monotonic clock. Safe for concurrent use.
type Limiter struct {
	rate    gcra
	none    bool
	buckets *buckets
}

// NewLimiter returns a Limiter. The zero Rate lets everything pass; one that is malformed panics, with a sentence that
// says why. A nil clock is time.Now.
func NewLimiter(r Rate, clock func() time.Time) *Limiter {
	if err := r.check(); err != nil {
		panic(err.Error())
	}
	if clock == nil {
		clock = time.Now
	}
	if r == (Rate{}) {
		return &Limiter{none: true}
	}
	b := newBuckets(clock())
	b.clock = clock
	return &Limiter{rate: r.cells(), buckets: b}
}

// Allow says whether one more request of key passes, and counts it only if it does. Keys are compared exactly up to 15
// bytes, longer ones by a cryptographic hash. Without a rate, info is zero.
func (l *Limiter) Allow(key string) (ok bool, info RateInfo) {
	if l.none {
		return true, RateInfo{}
	}
	k := rateKey(key)
	info, ok = l.buckets.take(&k, l.rate, 0)
	return ok, info
}

// rateKey is a text in 16 bytes. The last one keeps short texts, that stand as they are, and hashes apart.
func rateKey(s string) (k [16]byte) {
	if len(s) < len(k) {
		copy(k[:], s)
		k[15] = byte(len(s))
		return k
	}
	sum := sha256.Sum256([]byte(s))
	copy(k[:], sum[:])
	k[15] |= 0x80
	return k
}

// rateLink is one rate that holds for a token.
type rateLink struct {
	key  [16]byte // zero: the token's own
	rate gcra
}

func (r *rateLink) of(a *Access) *[16]byte {
	if r.key == ([16]byte{}) {
		return &a.id
	}
	return &r.key
}

// judgeRate counts a request against every rate that holds for the token. One that is refused counts nowhere.
func (m *Manager) judgeRate(a Access, at moment) error {
	rates := a.set.limits.rates
	for i := range rates {
		r := &rates[i]
		info, ok := m.rates.take(r.of(&a), r.rate, at.passed)
		if ok {
			continue
		}
		for j := range rates[:i] {
			m.rates.give(rates[j].of(&a), rates[j].rate, at.passed)
		}
		return &RateLimitError{Info: info}
	}
	return nil
}

// forgetRates lets begin anew what has no rate now, so that one that is set again later finds nothing of the one
// before.
func (m *Manager) forgetRates(f *Found) {
	if !m.rates.used.Load() {
		return
	}
	forget := func(l Limits, key [16]byte) {
		if l.Rate == (Rate{}) {
			m.rates.forget(&key)
		}
	}
	forget(f.Token.Limits, uuidv7.Parse(f.Token.ID))
	for i := range f.Ancestors {
		forget(f.Ancestors[i].Limits, uuidv7.Parse(f.Ancestors[i].ID))
	}
	forget(f.Owner.Limits, ownerRateKey(f.Owner.ID))
}

// Rate is the state of the tightest rate limit that holds for the token (its own, that of a token it was minted from,
// the owner's), on this node and as of now: for a header that tells the caller. False if there is none.
func (a Access) Rate() (RateInfo, bool) {
	if a.set == nil || a.set.limits == nil || len(a.set.limits.rates) == 0 {
		return RateInfo{}, false
	}
	at := a.m.clock()
	var tightest RateInfo
	for i := range a.set.limits.rates {
		r := &a.set.limits.rates[i]
		info := a.m.rates.look(r.of(&a), r.rate, at.passed)
		if i == 0 || info.Remaining < tightest.Remaining ||
			info.Remaining == tightest.Remaining && info.RetryAfter > tightest.RetryAfter {
			tightest = info
		}
	}
	return tightest, true
}
