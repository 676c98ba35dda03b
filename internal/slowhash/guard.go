package slowhash

import (
	"context"
	"errors"
	"runtime"
	"sync"

	"github.com/latchkey-go/latchkey/internal/fault"
)

const (
	maxSlots   = 4   // hashes computed at once: memory is at most so many times MaxMemory
	keyWaiting = 64  // callers that wait for one key
	allWaiting = 512 // callers that wait for a slot, of all keys
)

// ErrBusy means that so many callers wait already that another one does not.
var ErrBusy = errors.New("slowhash: too many callers wait")

// Guard bounds how many hashes are computed at once: one of each key, and few of all. It is safe for concurrent use.
// Make one with [NewGuard].
type Guard struct {
	slots chan struct{}

	mu      sync.Mutex
	waiting int
	keys    map[string]*turn
}

// turn is a key of which callers compute or wait.
type turn struct {
	token   chan struct{} // held by the one that computes
	callers int
	good    bool // match is a text that matched
	match   [32]byte
}

// NewGuard returns a Guard for as many hashes at once as half of the processors, four at most.
func NewGuard() *Guard {
	n := max(1, min(maxSlots, runtime.GOMAXPROCS(0)/2))
	return &Guard{slots: make(chan struct{}, n), keys: map[string]*turn{}}
}

// Matches calls compare, which computes a slow hash, in its turn, and returns what it returns. Key names what is
// compared with. Callers that come with the same text, of which sum is a digest, share one that matched. Allow is
// called just before compare would be; its error is returned in place of a comparison. ErrBusy: too many callers wait.
// If ctx ends while the caller waits, the error wraps fault.ErrUnavailable.
func (g *Guard) Matches(ctx context.Context, key string, sum [32]byte, allow func() error,
	compare func() bool) (bool, error) {
	t := g.join(key)
	if t == nil {
		return false, ErrBusy
	}
	defer g.leave(key, t)
	select {
	case t.token <- struct{}{}:
	case <-ctx.Done():
		return false, fault.Unavailable(ctx.Err())
	}
	defer func() { <-t.token }()
	if t.good && t.match == sum {
		return true, nil
	}
	if err := allow(); err != nil {
		return false, err
	}
	select {
	case g.slots <- struct{}{}:
	case <-ctx.Done():
		return false, fault.Unavailable(ctx.Err())
	}
	defer func() { <-g.slots }()
	if !compare() {
		return false, nil
	}
	t.good, t.match = true, sum
	return true, nil
}

func (g *Guard) join(key string) *turn {
	g.mu.Lock()
	defer g.mu.Unlock()
	t := g.keys[key]
	if g.waiting >= allWaiting || t != nil && t.callers >= keyWaiting {
		return nil
	}
	if t == nil {
		t = &turn{token: make(chan struct{}, 1)}
		g.keys[key] = t
	}
	t.callers++
	g.waiting++
	return t
}

func (g *Guard) leave(key string, t *turn) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.waiting--
	if t.callers--; t.callers == 0 {
		delete(g.keys, key)
	}
}
