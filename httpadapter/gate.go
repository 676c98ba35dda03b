package httpadapter

import (
	"context"
	"errors"
	"hash/maphash"
	"net/netip"
	"sync"
	"sync/atomic"
	"time"

	"github.com/latchkey-go/latchkey"
	"github.com/latchkey-go/latchkey/internal/visit"
)

// DefaultAddressRate is how many credentials of one client address may be refused: 100 a second, 200 of them at once.
var DefaultAddressRate = latchkey.Rate{Count: 100, Per: time.Second, Burst: 199}

// ErrAddressLimited says that too many credentials of one client address were refused, so the store is not asked about
// another one. It wraps [latchkey.ErrRateLimited], and is a 429.
var ErrAddressLimited error = addressLimited{}

// addressLimited is ErrAddressLimited with the time to wait.
type addressLimited struct{ wait time.Duration }

func (e addressLimited) Error() string {
	return "httpadapter: too many refused credentials from this address"
}
func (e addressLimited) Unwrap() error             { return latchkey.ErrRateLimited }
func (e addressLimited) Is(target error) bool      { _, ok := target.(addressLimited); return ok }
func (e addressLimited) RetryAfter() time.Duration { return e.wait }

// Gate bounds what credentials that are nobody's may cost. The checksum of a token is no secret, so everybody can
// write texts that only the store can refuse. A Gate holds each client address to a rate of refusals. Beyond the
// rate the store is not read for that address. A token that this process has verified already needs no such read,
// so callers who share the address with an attacker go on.
//
// Every surface of this package and of those beneath it has one. A surface of the host's own verifies with a
// context of [Gate.Watch]. Addresses of IPv6 count by their /64, and all that are not known count as one. The state
// is this process's own, half a megabyte however many addresses there are. Each address has one of 65,536 places by
// a secret hash. Two addresses that share a place share the rate. A nil Gate bounds nothing. Safe for concurrent
// use.
type Gate struct {
	step, slack int64 // ns: as in the generic cell rate algorithm (ITU-T I.371, annex A)
	clock       func() time.Time
	seed        maphash.Seed

	mu      sync.Mutex
	last    time.Time
	elapsed int64   // ns: what the clock has gone forward
	due     []int64 // by place: when its next refusal is due, in ns like passed
	pending map[int]*pending
}

// line is the look-ups of one place that are under way, and those that wait for their outcome.
type pending struct {
	running int
	waiting []chan struct{}
}

const gateSlots = 1 << 16

// NewGate returns a Gate. The zero Rate is [DefaultAddressRate]; one with a negative Count bounds nothing, and the
// result is nil. A malformed rate panics. A nil clock is time.Now.
func NewGate(rate latchkey.Rate, clock func() time.Time) *Gate {
	if rate.Count < 0 {
		return nil
	}
	if rate == (latchkey.Rate{}) {
		rate = DefaultAddressRate
	}
	latchkey.NewLimiter(rate, clock) // panics, with a sentence, on what is no rate
	if clock == nil {
		clock = time.Now
	}
	step := (int64(rate.Per) + int64(rate.Count) - 1) / int64(rate.Count)
	return &Gate{step: step, slack: int64(rate.Burst) * step, clock: clock, seed: maphash.MakeSeed(), last: clock(),
		pending: map[int]*pending{}}
}

// Watch returns a context to verify a request with that comes from address. What is refused counts against the address,
// and [RefusalFrom] finds it.
func (g *Gate) Watch(ctx context.Context, address netip.Addr) context.Context {
	w := &watchedContext{Context: ctx}
	w.watch(g, address)
	return w
}

// Exhausted returns an [ErrAddressLimited] if the address has no refusal left, else nil. A surface asks it before
// it reads a body to find a credential there. Nothing is counted.
func (g *Gate) Exhausted(address netip.Addr) error {
	if g == nil {
		return nil
	}
	place := g.slot(address)
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.due == nil || g.pending[place] != nil { // what is under way may turn out to be good
		return nil
	}
	if wait := g.due[place] - g.now() - g.slack; wait > 0 {
		return addressLimited{time.Duration(wait)}
	}
	return nil
}

// Miss counts one refusal against an address.
func (g *Gate) Miss(address netip.Addr) {
	if g == nil {
		return
	}
	place := g.slot(address)
	g.mu.Lock()
	defer g.mu.Unlock()
	g.allocate()
	now := g.now()
	g.due[place] = min(max(g.due[place], now), now+g.slack) + g.step
}

func (g *Gate) slot(address netip.Addr) int {
	var key [17]byte // the zero Addr and "::" are two
	if address.IsValid() {
		key[0] = 1
		whole := network(address).As16()
		copy(key[1:], whole[:])
	}
	return int(maphash.Bytes(g.seed, key[:]) % gateSlots)
}

// network is what an address counts as: whoever has one address of a /64 of IPv6 has them all.
func network(address netip.Addr) netip.Addr {
	address = address.Unmap().WithZone("")
	if address.Is6() {
		if prefix, err := address.Prefix(64); err == nil {
			return prefix.Addr()
		}
	}
	return address
}

// AddressKey names a client address for a [latchkey.Limiter]. Addresses of IPv6 are named by their /64, and all
// that are not known are one.
func AddressKey(address netip.Addr) string {
	if !address.IsValid() {
		return "unknown"
	}
	return network(address).String()
}

// begin makes the places when the first is needed. Locked.
func (g *Gate) allocate() {
	if g.due == nil {
		g.due = make([]int64, gateSlots)
	}
}

// now is the time in ns, of which only steps forward count: a clock that is put back blocks nobody. Locked.
func (g *Gate) now() int64 {
	t := g.clock()
	if step := t.Sub(g.last); step > 0 {
		g.elapsed += int64(step)
	}
	g.last = t
	return g.elapsed
}

// enter takes one refusal of a place in advance, and leave gives it back unless it was needed. So no more look-ups are
// ever under way than may turn out bad. When all are taken by look-ups under way, it waits for one of them.
func (g *Gate) enter(ctx context.Context, place int) error {
	for {
		g.mu.Lock()
		g.allocate()
		now := g.now()
		l := g.pending[place]
		if due := max(g.due[place], now); due-now <= g.slack {
			g.due[place] = due + g.step
			if l == nil {
				l = &pending{}
				g.pending[place] = l
			}
			l.running++
			g.mu.Unlock()
			return nil
		}
		if l == nil {
			wait := g.due[place] - now - g.slack
			g.mu.Unlock()
			return addressLimited{time.Duration(wait)}
		}
		turn := make(chan struct{})
		l.waiting = append(l.waiting, turn)
		g.mu.Unlock()
		select {
		case <-turn:
		case <-ctx.Done():
			return errors.Join(latchkey.ErrUnavailable, ctx.Err())
		}
	}
}

func (g *Gate) leave(place int, missed bool) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if !missed {
		g.due[place] -= g.step
	}
	l := g.pending[place]
	l.running--
	if l.running == 0 {
		delete(g.pending, place)
		for _, turn := range l.waiting {
			close(turn)
		}
	} else if !missed && len(l.waiting) > 0 {
		close(l.waiting[0])
		l.waiting = l.waiting[1:]
	}
}

// watched is the context of a request that a Gate watches: see package visit. A state has one within, and verifies with
// that, so that what is written to the state afterwards is read by nobody who still has the context.
type watchedContext struct {
	context.Context
	gate    *Gate
	address netip.Addr
	active  bool
	refusal atomic.Pointer[latchkey.Refusal]
}

func (w *watchedContext) watch(g *Gate, address netip.Addr) {
	w.gate, w.address, w.active = g, address, true
}

// Value implements [context.Context].
func (w *watchedContext) Value(key any) any {
	if key == (visit.Key{}) && w.active {
		return w
	}
	return w.Context.Value(key)
}

// Enter implements [visit.Visit].
func (w *watchedContext) Enter(ctx context.Context) error {
	if w.gate == nil {
		return nil
	}
	return w.gate.enter(ctx, w.gate.slot(w.address))
}

// Leave implements [visit.Visit].
func (w *watchedContext) Leave(missed bool) {
	if w.gate != nil {
		w.gate.leave(w.gate.slot(w.address), missed)
	}
}

// Refused implements [visit.Visit]: it keeps the refusal for OnError, and counts bad credentials.
func (w *watchedContext) Refused(refusal any) {
	r, ok := refusal.(latchkey.Refusal)
	if !ok {
		return
	}
	w.refusal.Store(&r)
	if errors.Is(r.Err, latchkey.ErrInvalidToken) {
		w.gate.Miss(w.address)
	}
}

// RefusalFrom returns what was refused last in a request, and whether anything was whose owner is known: in OnError it
// tells which token, whose, and why. See [latchkey.Observer].
func RefusalFrom(ctx context.Context) (latchkey.Refusal, bool) {
	if w, ok := visit.From(ctx).(*watchedContext); ok {
		if r := w.refusal.Load(); r != nil {
			return *r, true
		}
	}
	return latchkey.Refusal{}, false
}

// Refused reports a refusal to the Observer of the request's [latchkey.Access], if the context has one (see
// [AccessFrom]) and err is a refusal that was not reported yet: a denial, a limit, a token that is not accepted.
// Surfaces call it for whatever they answer; other errors are passed over.
func Refused(ctx context.Context, err error) {
	access, ok := AccessFrom(ctx)
	if !ok || err == nil {
		return
	}
	if p := ProblemOf(err); p.Status >= 500 {
		return // trouble is no refusal, whatever else it wraps
	}
	if !errors.Is(err, latchkey.ErrDenied) && !errors.Is(err, latchkey.ErrOverLimit) &&
		!errors.Is(err, latchkey.ErrInvalidToken) && !errors.Is(err, latchkey.ErrRateLimited) {
		return
	}
	if last, ok := RefusalFrom(ctx); ok && errors.Is(err, last.Err) {
		return // the Manager did, or whoever answered before
	}
	access.Refused(ctx, err)
}
