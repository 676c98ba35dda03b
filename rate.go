package latchkey

import (
	"encoding/binary"
	"hash/maphash"
	"time"

	"github.com/latchkey-go/latchkey/internal/ratelimit"
	"github.com/latchkey-go/latchkey/internal/uuidv7"
)

// cells returns the rate as package ratelimit takes it. The step is rounded up, so that no more than Count ever pass in
// a Per.
func (r Rate) cells() ratelimit.Rate {
	step := (int64(r.Per) + int64(r.Count) - 1) / int64(r.Count)
	return ratelimit.Rate{Step: step, Slack: int64(r.Burst) * step}
}

// RateInfo is the state of a rate limit.
type RateInfo struct {
	Limit      int           `json:"limit"`                 // how many requests pass at once after a rest: 1 + Rate.Burst
	Remaining  int           `json:"remaining"`             // how many would pass now
	Reset      time.Duration `json:"reset"`                 // until Remaining is Limit again
	Window     time.Duration `json:"window"`                // in which Limit requests become free again, however spread
	RetryAfter time.Duration `json:"retry_after,omitempty"` // until one passes again; 0 if one would pass now
}

// RateLimitError is [ErrRateLimited] with the state of the rate that refused.
type RateLimitError struct{ Info RateInfo }

func (e *RateLimitError) Error() string { return ErrRateLimited.Error() }
func (e *RateLimitError) Unwrap() error { return ErrRateLimited }

// RetryAfter returns how long to wait until the next request passes.
func (e *RateLimitError) RetryAfter() time.Duration { return e.Info.RetryAfter }

// Limiter holds callers, each named by a key, to one rate: say, by network address before anything else is known of
// them. It knows what passed through it alone: it protects a process, and credits are the exact limit across several.
//
// It keeps at most about a million keys (2^20), and drops a key only when that key has its whole burst again.
// While no key can be dropped, new keys are refused. A clock set back refills nothing, and keeps no caller waiting:
// what counts is the time that passes, for time.Now by Go's monotonic clock. A Limiter is safe for concurrent use.
type Limiter struct {
	rate  ratelimit.Rate
	inner *ratelimit.Limiter // nil: everything passes
}

// NewLimiter returns a Limiter. The zero Rate lets everything pass. NewLimiter panics on a malformed one, with a
// sentence that says why, but takes a Per below a microsecond. A nil clock is time.Now.
func NewLimiter(r Rate, clock func() time.Time) *Limiter {
	if err := r.check(); err != nil {
		panic(err.Error())
	}
	if r == (Rate{}) {
		return &Limiter{}
	}
	if clock == nil {
		clock = time.Now
	}
	return &Limiter{rate: r.cells(), inner: ratelimit.New(clock(), clock)}
}

// Allow reports whether one more request of key passes, and counts it only if it does. Keys are compared exactly up to
// 15 bytes, longer ones by a cryptographic hash. Without a rate, info is zero.
func (l *Limiter) Allow(key string) (ok bool, info RateInfo) {
	if l.inner == nil {
		return true, RateInfo{}
	}
	k := ratelimit.Key(key)
	state, ok := l.inner.Take(&k, l.rate, 0)
	return ok, RateInfo(state)
}

// rateLink is one rate that holds for a token.
type rateLink struct {
	key  rateKey // of an own rate it is that of the zero id
	own  bool    // of the token itself: tokens of one owner with equal rights share the link
	rate ratelimit.Rate
}

func (r *rateLink) of(a *Access) rateKey {
	if r.own {
		return r.key.ofToken(a.id)
	}
	return r.key
}

// rateKey tells rates apart, those of owners and those of tokens. Tokens of two owners may have the same id.
type rateKey [16]byte

// rateSeeds are secrets of the process: whoever chooses the id of a token cannot aim at the rate of another owner's.
var rateSeeds = [2]maphash.Seed{maphash.MakeSeed(), maphash.MakeSeed()}

// tokenRateKey returns the key of a token's rate. For the zero id it is what ofToken makes keys of.
func tokenRateKey(owner string, id [16]byte) rateKey {
	var k rateKey
	binary.LittleEndian.PutUint64(k[:8], maphash.String(rateSeeds[0], owner))
	binary.LittleEndian.PutUint64(k[8:], maphash.String(rateSeeds[1], owner))
	return k.ofToken(id)
}

// ofToken returns the key of a token's rate from that of its owner's zero id.
func (k rateKey) ofToken(id [16]byte) rateKey {
	for i := range k {
		k[i] ^= id[i]
	}
	return k
}

// ownerRateKey returns the key of an owner's rate. No token has the id that it stands for: UUIDs have a version below
// 15.
func ownerRateKey(owner string) rateKey { return tokenRateKey(owner, [16]byte{6: 0xf0}) }

// verifyRate counts a request against every rate that holds for the token. One that is refused counts nowhere.
func (m *Manager) verifyRate(a Access, at moment) error {
	rates := a.set.limits.rates
	for i := range rates {
		r := &rates[i]
		key := r.of(&a)
		state, ok := m.rates.Take((*[16]byte)(&key), r.rate, at.passed)
		if ok {
			continue
		}
		for j := range rates[:i] {
			key := rates[j].of(&a)
			m.rates.Give((*[16]byte)(&key), rates[j].rate, at.passed)
		}
		return &RateLimitError{Info: RateInfo(state)}
	}
	return nil
}

// forgetRates lets begin anew what has no rate now, so that one that is set again later finds nothing of the one
// before.
func (m *Manager) forgetRates(f *Found) {
	if m.rates.Unused() {
		return
	}
	forget := func(l Limits, key rateKey) {
		if l.Rate == (Rate{}) {
			m.rates.Forget((*[16]byte)(&key))
		}
	}
	forget(f.Token.Limits, tokenRateKey(f.Token.Owner, uuidv7.Parse(f.Token.ID)))
	for i := range f.Ancestors {
		forget(f.Ancestors[i].Limits, tokenRateKey(f.Token.Owner, uuidv7.Parse(f.Ancestors[i].ID)))
	}
	forget(f.Owner.Limits, ownerRateKey(f.Owner.ID))
}

// Rate returns the state of the tightest rate limit that holds for the token, on this node and as of now: for a header
// that tells the caller. The limits are its own, those of the tokens it was minted from, and the owner's. It returns
// false if there is none.
func (a Access) Rate() (RateInfo, bool) {
	if a.set == nil || a.set.limits == nil || len(a.set.limits.rates) == 0 {
		return RateInfo{}, false
	}
	at := a.m.readClock()
	var tightest ratelimit.State
	for i := range a.set.limits.rates {
		r := &a.set.limits.rates[i]
		key := r.of(&a)
		state := a.m.rates.Look((*[16]byte)(&key), r.rate, at.passed)
		if i == 0 || state.Remaining < tightest.Remaining ||
			state.RetryAfter > tightest.RetryAfter { // which is positive only if nothing remains
			tightest = state
		}
	}
	return RateInfo(tightest), true
}
