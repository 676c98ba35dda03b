package usage

import (
	"cmp"
	"context"
	"errors"
	"slices"
	"sync"
	"time"

	"github.com/latchkey-go/latchkey/internal/fault"
)

const (
	useStep    = 10 * time.Minute      // how far a last use moves before it is written, for tokens that do not idle out
	useStepMin = time.Second           // the same, at the least, for tokens that do
	useDelay   = 50 * time.Millisecond // how long uses are gathered into one batch
	useBatch   = 250                   // uses of one transaction: it holds their rows, which others wait for
	useRetry   = time.Second           // how long uses wait after the store failed
	useRoom    = 1 << 16               // uses that may wait while the store is away
)

// Step returns by how much a last use moves, in µs, before it is written, for a token that idles out after idle µs. 0
// is one that does not.
func Step(idle int64) int64 {
	if idle == 0 {
		return useStep.Microseconds()
	}
	return max(idle/20, useStepMin.Microseconds())
}

// Use is when a token was last used.
type Use struct {
	Owner, Token string
	At           int64
}

// LastUsedSink is what a [LastUsed] writes to. It is safe for concurrent use.
type LastUsedSink interface {
	// RaiseLastUsed stores last uses; an older one than is stored changes nothing.
	RaiseLastUsed(ctx context.Context, uses []Use) error
	// Warn logs what no caller is told. The error may be nil.
	Warn(msg string, err error)
}

// LastUsed knows when tokens were last used and writes it behind. It is safe for concurrent use.
type LastUsed struct {
	sink LastUsedSink
	room int // of known

	mu      sync.Mutex
	known   map[string]use // only of tokens that idle out
	waiting map[string]Use
	timer   bool
	closed  bool
	flushes sync.WaitGroup
	writing chan struct{} // holds one value while a batch is written
}

type use struct{ at, written int64 } // µs

// NewLastUsed returns a LastUsed that writes to sink. It knows as many tokens that idle out as room says, or more.
func NewLastUsed(sink LastUsedSink, room int) *LastUsed {
	return &LastUsed{sink: sink, room: max(useRoom, room), known: map[string]use{}, waiting: map[string]Use{},
		writing: make(chan struct{}, 1)}
}

// Saw takes note of a use that the store knows, of a token that idles out. One that lies ahead was noted by a clock
// that was wrong, and says no more than that there was one: it counts as one of the moment when it is first seen.
func (u *LastUsed) Saw(token string, at, now int64) {
	u.mu.Lock()
	defer u.mu.Unlock()
	k, ok := u.known[token]
	if k.at > now {
		k.at = now
	}
	if at > now {
		if at = now; ok {
			at = k.at
		}
	}
	if !ok && len(u.known) >= u.room {
		u.makeRoom()
	}
	u.known[token] = use{max(k.at, at), min(max(k.written, at), now)}
}

// makeRoom forgets the half that was used longest ago, roughly; the store still knows them.
func (u *LastUsed) makeRoom() {
	n, half := 0, len(u.known)/2
	for token := range u.known {
		if _, waits := u.waiting[token]; !waits {
			delete(u.known, token)
		}
		if n++; n > half {
			return
		}
	}
}

// IdledOut reports whether, as far as is known here, the token was not used for idle µs. A token that is not known
// looks idled out, so that the store is asked.
func (u *LastUsed) IdledOut(token string, idle, now int64) bool {
	u.mu.Lock()
	defer u.mu.Unlock()
	k, ok := u.known[token]
	return !ok || now-k.at >= idle
}

// Used takes note of a use now, of a token that idles out after idle µs. The first use is written whatever the step:
// until then a listing says that the token was never used.
func (u *LastUsed) Used(owner, token string, idle, now int64, first bool) {
	step := Step(idle)
	u.mu.Lock()
	defer u.mu.Unlock()
	k := u.known[token]
	k.at = now
	if first || now-k.written >= step || k.written-now >= step {
		k.written = now
		u.wait(owner, token, now)
	}
	u.known[token] = k
}

// Write writes a use now behind, of a token that does not idle out. The caller knows the step.
func (u *LastUsed) Write(owner, token string, now int64) {
	u.mu.Lock()
	defer u.mu.Unlock()
	u.wait(owner, token, now)
}

// wait puts a use into the next batch. The caller holds u.mu.
func (u *LastUsed) wait(owner, token string, now int64) {
	if u.closed {
		return
	}
	if _, ok := u.waiting[token]; !ok && len(u.waiting) >= useRoom {
		u.sink.Warn("latchkey: too many last uses wait for the store; one is dropped", nil)
		return
	}
	u.waiting[token] = Use{Owner: owner, Token: token, At: now}
	u.arm(useDelay)
}

// arm makes a flush due. The caller holds u.mu.
func (u *LastUsed) arm(after time.Duration) {
	if u.timer || u.closed {
		return
	}
	u.timer = true
	u.flushes.Add(1)
	time.AfterFunc(after, func() {
		defer u.flushes.Done()
		ctx, cancel := context.WithTimeout(context.Background(), flushTimeout)
		defer cancel()
		if err := u.Flush(ctx); err != nil {
			u.sink.Warn("latchkey: cannot write last uses; they are kept", err)
			u.mu.Lock()
			defer u.mu.Unlock()
			if len(u.waiting) > 0 {
				u.arm(useRetry)
			}
		}
	})
}

// Flush writes what waits, in small transactions: what is written stays written, and nobody waits long for a row. What
// could not be written is kept.
func (u *LastUsed) Flush(ctx context.Context) error {
	select {
	case u.writing <- struct{}{}:
		defer func() { <-u.writing }()
	case <-ctx.Done():
		return fault.Unavailable(ctx.Err())
	}
	u.mu.Lock()
	u.timer = false
	batch := make([]Use, 0, len(u.waiting))
	for _, l := range u.waiting {
		batch = append(batch, l)
	}
	clear(u.waiting)
	u.mu.Unlock()
	// In the order of stores, so that rows that lie together are written together.
	slices.SortFunc(batch, func(a, b Use) int {
		return cmp.Or(cmp.Compare(a.Owner, b.Owner), cmp.Compare(a.Token, b.Token))
	})
	for len(batch) > 0 {
		part := batch[:min(len(batch), useBatch)]
		if err := u.write(ctx, part); err != nil {
			u.keep(batch)
			return err
		}
		batch = batch[len(part):]
	}
	return nil
}

func (u *LastUsed) write(ctx context.Context, part []Use) error {
	ctx, cancel := context.WithTimeout(ctx, writeTimeout)
	defer cancel()
	return u.sink.RaiseLastUsed(ctx, part)
}

func (u *LastUsed) keep(batch []Use) {
	u.mu.Lock()
	defer u.mu.Unlock()
	for _, l := range batch {
		if w, ok := u.waiting[l.Token]; !ok || w.At < l.At {
			u.waiting[l.Token] = l // raising a time twice is harmless, so an unknown outcome needs no more care
		}
	}
}

// Close flushes a last time and waits for background work until ctx ends. Uses that come later are not written.
func (u *LastUsed) Close(ctx context.Context) error {
	u.mu.Lock()
	u.closed = true
	u.mu.Unlock()
	err := u.Flush(ctx)
	return errors.Join(err, fault.WaitFor(ctx, &u.flushes))
}
