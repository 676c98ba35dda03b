package latchkey

import (
	"crypto/sha256"
	"fmt"
	"hash/maphash"
	"sync"
	"time"
)

// maxRateSpan bounds a Rate: its Per, and the time in which its whole burst comes back.
const maxRateSpan = 366 * 24 * time.Hour

// check refuses what is no rate.
func (r Rate) check() error {
	switch {
	case r == Rate{}:
		return nil
	case r.Count <= 0:
		return fmt.Errorf("%w: Rate.Count must be positive", ErrInvalid)
	case r.Per <= 0:
		return fmt.Errorf("%w: Rate.Per must be positive", ErrInvalid)
	case r.Burst < 0:
		return fmt.Errorf("%w: Rate.Burst is negative", ErrInvalid)
	case r.Per > maxRateSpan:
		return fmt.Errorf("%w: Rate.Per is more than 366 days", ErrInvalid)
	case time.Duration(r.Count) > r.Per:
		return fmt.Errorf("%w: a rate of more than one request per nanosecond", ErrInvalid)
	case int64(r.Burst) >= int64(maxRateSpan)/r.cells().step:
		return fmt.Errorf("%w: Rate.Burst takes more than 366 days to come back", ErrInvalid)
	}
	return nil
}

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

// buckets holds one time per key: when its next request is due. A key whose time has come says nothing that a missing
// one does not, so only such keys are ever forgotten.
type buckets struct {
	base   int64 // µs: times are kept as ns since then
	seed   maphash.Seed
	shards [rateShards]rateShard
}

type rateShard struct {
	mu   sync.Mutex
	now  int64 // ns: the latest time seen; it stands still while the clock is behind it, so nothing refills twice
	room int
	due  map[[16]byte]int64
	_    [16]byte // one cache line, or two, each
}

func newBuckets(now int64) *buckets {
	b := &buckets{base: now, seed: maphash.MakeSeed()}
	for i := range b.shards {
		b.shards[i].room = rateKeys / rateShards
		b.shards[i].due = map[[16]byte]int64{}
	}
	return b
}

// lock finds the shard of a key, by a secret hash: nobody fills one shard by choosing keys.
func (b *buckets) lock(key *[16]byte, now int64) *rateShard {
	s := &b.shards[maphash.Bytes(b.seed, key[:])%rateShards]
	s.mu.Lock()
	s.now = max(s.now, (now-b.base)*1000)
	return s
}

// take lets one request of key pass, or not. Now is in µs.
func (b *buckets) take(key *[16]byte, g gcra, now int64) (RateInfo, bool) {
	s := b.lock(key, now)
	defer s.mu.Unlock()
	due, known := s.due[*key]
	if !known {
		if wait, ok := s.makeRoom(); !ok {
			// Fail closed: who is not remembered would never be refused.
			i := g.info(s.now, s.now)
			i.Remaining, i.Reset, i.RetryAfter = 0, wait, wait
			return i, false
		}
	}
	due = max(due, s.now)
	if due-s.now > g.slack {
		return g.info(due, s.now), false
	}
	due += g.step
	s.due[*key] = due
	return g.info(due, s.now), true
}

// give takes back a take that let a request pass.
func (b *buckets) give(key *[16]byte, g gcra, now int64) {
	s := b.lock(key, now)
	defer s.mu.Unlock()
	if due, ok := s.due[*key]; ok {
		s.due[*key] = due - g.step
	}
}

// look says what take would find.
func (b *buckets) look(key *[16]byte, g gcra, now int64) RateInfo {
	s := b.lock(key, now)
	defer s.mu.Unlock()
	return g.info(s.due[*key], s.now)
}

// makeRoom forgets a few keys whose time has come, out of some picked at random, before one is added. False: the shard
// is full of others, for about as long as is said.
func (s *rateShard) makeRoom() (time.Duration, bool) {
	look, first := rateProbe, int64(-1)
	if len(s.due) >= s.room {
		look = rateSearch
	}
	for key, due := range s.due { // Go starts at a random place
		if due <= s.now {
			delete(s.due, key)
		} else if first < 0 || due < first {
			first = due
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
// it is full of others, further keys are refused. A clock set back refills nothing. Safe for concurrent use.
type Limiter struct {
	rate    gcra
	none    bool
	clock   func() time.Time
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
	return &Limiter{rate: r.cells(), clock: clock, buckets: newBuckets(clock().UnixMicro())}
}

// Allow says whether one more request of key passes, and counts it only if it does. Keys are compared exactly up to 15
// bytes, longer ones by a cryptographic hash. Without a rate, info is zero.
func (l *Limiter) Allow(key string) (ok bool, info RateInfo) {
	if l.none {
		return true, RateInfo{}
	}
	k := rateKey(key)
	info, ok = l.buckets.take(&k, l.rate, l.clock().UnixMicro())
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
func (m *Manager) judgeRate(a Access, now int64) error {
	rates := a.set.limits.rates
	for i := range rates {
		r := &rates[i]
		info, ok := m.rates.take(r.of(&a), r.rate, now)
		if ok {
			continue
		}
		for j := range rates[:i] {
			m.rates.give(rates[j].of(&a), rates[j].rate, now)
		}
		return &RateLimitError{Info: info}
	}
	return nil
}

// Rate is the state of the tightest rate limit that holds for the token (its own, that of a token it was minted from,
// the owner's), on this node and as of now: for a header that tells the caller. False if there is none.
func (a Access) Rate() (RateInfo, bool) {
	if a.set == nil || a.set.limits == nil || len(a.set.limits.rates) == 0 {
		return RateInfo{}, false
	}
	now := a.m.now()
	var tightest RateInfo
	for i := range a.set.limits.rates {
		r := &a.set.limits.rates[i]
		info := a.m.rates.look(r.of(&a), r.rate, now)
		if i == 0 || info.Remaining < tightest.Remaining ||
			info.Remaining == tightest.Remaining && info.RetryAfter > tightest.RetryAfter {
			tightest = info
		}
	}
	return tightest, true
}
