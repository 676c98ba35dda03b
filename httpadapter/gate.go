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

// ErrAddressLimited: too many credentials of one client address were refused, so the store is not read for another
// one. It wraps [latchkey.ErrRateLimited], and is a 429.
var ErrAddressLimited error = addressLimited{}

// addressLimited is ErrAddressLimited with the time to wait.
type addressLimited struct{ wait time.Duration }

func (e addressLimited) Error() string {
	return "httpadapter: too many refused credentials from this address"
}
func (e addressLimited) Unwrap() error             { return latchkey.ErrRateLimited }
func (e addressLimited) Is(target error) bool      { _, ok := target.(addressLimited); return ok }
func (e addressLimited) RetryAfter() time.Duration { return e.wait }

// Gate bounds the cost of invalid credentials. The checksum of a token is public, so anyone can write texts that only
// the store can refuse. A Gate limits the rate of refusals of each client address. Beyond the rate the store is not
// read for that address. A token that this process has verified already needs no such read, so it still passes from
// an address that an attacker shares.
//
// Every surface of this package and of the packages beneath it has one. A surface of the host's own verifies with a
// context of [Gate.Watch]. IPv6 addresses count by their /64, and all unknown addresses count as one.
//
// The state belongs to this process, and takes half a megabyte for any number of addresses. A secret hash maps each
// address to one of 65,536 slots. Two addresses that share a slot share the rate. A nil Gate bounds nothing. Safe for
// concurrent use.
type Gate struct {
	step, slack int64 // ns: as in the generic cell rate algorithm (ITU-T I.371, annex A)
	clock       func() time.Time
	seed        maphash.Seed

	mu      sync.Mutex
	last    time.Time
	elapsed int64   // how far the clock has moved forward
	due     []int64 // by slot: when its next refusal is due, in ns like elapsed
	pending map[int]*pending
}

// pending counts the store reads of one slot that are running, and holds those that wait for their outcome.
type pending struct {
	running int
	waiting []chan struct{}
}

const gateSlots = 1 << 16

// NewGate returns a Gate. The zero Rate is [DefaultAddressRate]. With a negative Count it returns nil, which bounds
// nothing. A malformed rate panics. A nil clock is time.Now.
func NewGate(rate latchkey.Rate, clock func() time.Time) *Gate {
	if rate.Count < 0 {
		return nil
	}
	if rate == (latchkey.Rate{}) {
		rate = DefaultAddressRate
	}
	latchkey.NewLimiter(rate, clock) // panics on an invalid rate
	if clock == nil {
		clock = time.Now
	}
	step := (int64(rate.Per) + int64(rate.Count) - 1) / int64(rate.Count)
	return &Gate{step: step, slack: int64(rate.Burst) * step, clock: clock, seed: maphash.MakeSeed(), last: clock(),
		pending: map[int]*pending{}}
}

// Watch returns a context for verifying a request from address. Refusals count against the address, and [RefusalFrom]
// returns the last one.
func (g *Gate) Watch(ctx context.Context, address netip.Addr) context.Context {
	w := &watchedContext{Context: ctx}
	w.watch(g, address)
	return w
}

// Exhausted returns [ErrAddressLimited] if address has no refusal left, else nil. Call it before reading a body to
// find a credential there. It counts nothing.
func (g *Gate) Exhausted(address netip.Addr) error {
	if g == nil {
		return nil
	}
	place := g.slot(address)
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.due == nil || g.pending[place] != nil { // a running read may free its place
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

// slot returns the slot of an address.
func (g *Gate) slot(address netip.Addr) int {
	var key [17]byte // the zero Addr and "::" differ
	if address.IsValid() {
		key[0] = 1
		whole := network(address).As16()
		copy(key[1:], whole[:])
	}
	return int(maphash.Bytes(g.seed, key[:]) % gateSlots)
}

// network returns the address that counts for address: a client that has one address of an IPv6 /64 has them all.
func network(address netip.Addr) netip.Addr {
	address = address.Unmap().WithZone("")
	if address.Is6() {
		prefix, _ := address.Prefix(64) // fails only for a length that the address does not have
		return prefix.Addr()
	}
	return address
}

// AddressKey returns the key of a client address for a [latchkey.Limiter]. IPv6 addresses share the key of their /64,
// and all unknown addresses share one.
func AddressKey(address netip.Addr) string {
	if !address.IsValid() {
		return "unknown"
	}
	return network(address).String()
}

// allocate makes the slots when the first one is needed. g.mu must be held.
func (g *Gate) allocate() {
	if g.due == nil {
		g.due = make([]int64, gateSlots)
	}
}

// now returns the time in ns, counting only steps forward: setting the clock back blocks nothing. g.mu must be held.
func (g *Gate) now() int64 {
	t := g.clock()
	g.elapsed += max(0, int64(t.Sub(g.last)))
	g.last = t
	return g.elapsed
}

// enter reserves one refusal of a slot; leave returns it unless the credential was refused. So the reads that run at
// once never exceed the refusals that are left. If running reads hold all of them, enter waits for one to end.
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

// leave ends a read that enter admitted; missed reports that the credential was refused.
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

// watchedContext is the context of a request that a Gate watches: see package visit. A requestState embeds one and
// verifies with it alone, so that later writes to the state do not race with readers of the context.
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

// Refused implements [visit.Visit]. It keeps the refusal for OnError, and counts invalid credentials.
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

// RefusalFrom returns the last refusal of a request, and whether there was one of a token whose owner is known. In
// OnError it names the token, its owner and the cause. See [latchkey.Observer].
func RefusalFrom(ctx context.Context) (latchkey.Refusal, bool) {
	if w, ok := visit.From(ctx).(*watchedContext); ok {
		if r := w.refusal.Load(); r != nil {
			return *r, true
		}
	}
	return latchkey.Refusal{}, false
}

// Refused reports a refusal to the Observer of the request's [latchkey.Access]: a denial, a limit, or a token that is
// not accepted. It does nothing without an Access in the context (see [AccessFrom]), for other errors, and for a
// refusal that was reported before. Surfaces call it for every error that they answer.
func Refused(ctx context.Context, err error) {
	access, ok := AccessFrom(ctx)
	if !ok || err == nil {
		return
	}
	if p := ProblemOf(err); p.Status >= 500 {
		return // a failure is not a refusal, whatever else it wraps
	}
	if !errors.Is(err, latchkey.ErrDenied) && !errors.Is(err, latchkey.ErrOverLimit) && !errors.Is(err,
		latchkey.ErrPolicy) &&
		!errors.Is(err, latchkey.ErrInvalidToken) && !errors.Is(err, latchkey.ErrRateLimited) {
		return
	}
	if last, ok := RefusalFrom(ctx); ok && errors.Is(err, last.Err) {
		return // the Manager or an earlier reply reported it
	}
	access.Refused(ctx, err)
}
