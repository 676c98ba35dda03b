package latchkey

import (
	"cmp"
	"context"
	"errors"
	"slices"
	"sync"
	"time"

	"github.com/latchkey-go/latchkey/internal/fault"
	"github.com/latchkey-go/latchkey/internal/uuidv7"
)

const (
	useStep    = 10 * time.Minute      // how far a last use moves before it is written, for tokens that do not idle out
	useStepMin = time.Second           // the same, at the least, for tokens that do
	useDelay   = 50 * time.Millisecond // how long uses are gathered into one batch
	useBatch   = 250                   // uses of one transaction: it holds their rows, which others wait for
	useRetry   = time.Second           // how long uses wait after the store failed
	useRoom    = 1 << 16               // uses that may wait while the store is away; more are dropped and told to the log
)

// lastUses knows when tokens were used and writes it behind. A crash loses at most what moved less than a step, and
// what was gathered in the last moment.
type lastUses struct {
	m *Manager

	mu      sync.Mutex
	known   map[string]use // only of tokens that idle out
	waiting map[string]LastUsed
	timer   bool
	closed  bool
	flushes sync.WaitGroup
	writing chan struct{} // holds one value while a batch is written
}

type use struct{ at, written int64 } // µs

func newLastUses(m *Manager) *lastUses {
	return &lastUses{m: m, known: map[string]use{}, waiting: map[string]LastUsed{}, writing: make(chan struct{}, 1)}
}

// saw takes note of a use that the store knows. One that lies ahead was noted by a clock that was wrong, and says no
// more than that there was one: it counts as one of the moment when it is first seen.
func (u *lastUses) saw(id string, at, now int64) {
	u.mu.Lock()
	defer u.mu.Unlock()
	k, ok := u.known[id]
	if k.at > now {
		k.at = now
	}
	if at > now {
		if at = now; ok {
			at = k.at
		}
	}
	if !ok && len(u.known) >= max(useRoom, u.m.opts.CacheTokens) {
		u.makeRoom()
	}
	u.known[id] = use{max(k.at, at), min(max(k.written, at), now)}
}

// makeRoom forgets the half that was used longest ago, roughly; the store still knows them.
func (u *lastUses) makeRoom() {
	n, half := 0, len(u.known)/2
	for id := range u.known {
		if _, waits := u.waiting[id]; !waits {
			delete(u.known, id)
		}
		if n++; n > half {
			return
		}
	}
}

// idledOut says whether, as far as is known here, the token was not used for idle µs. A token that is not known looks
// idled out, so that the store is asked.
func (u *lastUses) idledOut(id string, idle, now int64) bool {
	u.mu.Lock()
	defer u.mu.Unlock()
	k, ok := u.known[id]
	return !ok || now-k.at >= idle
}

// useStepOf is how many µs a last use moves before it is written.
func useStepOf(idle int64) int64 {
	if idle == 0 {
		return useStep.Microseconds()
	}
	return max(idle/20, useStepMin.Microseconds())
}

// latestUse is the latest that a token can have been used, by what the store knows.
func latestUse(t *Token, now int64) time.Time {
	if t.Used.IsZero() || t.Validity.Idle != 0 && over(t.IdleEnd(), now) {
		return t.Used
	}
	return fromMicros(max(micros(t.Used), min(now, micros(t.Used)+useStepOf(t.Validity.Idle.Microseconds()))))
}

// used takes note of a use now of a token that idles out. The first use is written whatever the step: until then a
// listing says that the token was never used.
func (u *lastUses) used(owner, id string, idle, now int64, first bool) {
	step := useStepOf(idle)
	u.mu.Lock()
	defer u.mu.Unlock()
	k := u.known[id]
	k.at = now
	if first || now-k.written >= step || k.written-now >= step {
		k.written = now
		u.wait(owner, id, now)
	}
	u.known[id] = k
}

// wait puts a use into the next batch.
func (u *lastUses) wait(owner, id string, now int64) {
	if u.closed {
		return
	}
	if _, ok := u.waiting[id]; !ok && len(u.waiting) >= useRoom {
		u.m.warn("latchkey: too many last uses wait for the store; one is dropped", nil)
		return
	}
	u.waiting[id] = LastUsed{Owner: owner, TokenID: id, At: fromMicros(now)}
	u.arm(useDelay)
}

// arm makes a flush due. The caller holds u.mu.
func (u *lastUses) arm(after time.Duration) {
	if u.timer || u.closed {
		return
	}
	u.timer = true
	u.flushes.Add(1)
	time.AfterFunc(after, func() {
		defer u.flushes.Done()
		ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
		defer cancel()
		if err := u.flush(ctx); err != nil {
			u.m.warn("latchkey: cannot write last uses; they are kept", err)
			u.mu.Lock()
			defer u.mu.Unlock()
			if len(u.waiting) > 0 {
				u.arm(useRetry)
			}
		}
	})
}

// flush writes what waits, in small transactions: what is written stays written, and nobody waits long for a row. What
// could not be written is kept.
func (u *lastUses) flush(ctx context.Context) error {
	select {
	case u.writing <- struct{}{}:
		defer func() { <-u.writing }()
	case <-ctx.Done():
		return fault.Unavailable(ctx.Err())
	}
	u.mu.Lock()
	u.timer = false
	batch := make([]LastUsed, 0, len(u.waiting))
	for _, l := range u.waiting {
		batch = append(batch, l)
	}
	clear(u.waiting)
	u.mu.Unlock()
	// In the order of stores, so that rows that lie together are written together.
	slices.SortFunc(batch, func(a, b LastUsed) int {
		return cmp.Or(cmp.Compare(a.Owner, b.Owner), cmp.Compare(a.TokenID, b.TokenID))
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

// flushCall bounds one transaction of last uses or usage, whoever flushes: all others wait for it, and its connection
// may be dead.
const flushCall = 10 * time.Second

func (u *lastUses) write(ctx context.Context, part []LastUsed) error {
	ctx, cancel := context.WithTimeout(ctx, flushCall)
	defer cancel()
	now := u.m.now()
	id, err := u.m.ids.New(now)
	if err != nil {
		return err
	}
	return u.m.store.AddUsage(ctx, UsageBatch{ID: id, At: fromMicros(now), Last: part})
}

func (u *lastUses) keep(batch []LastUsed) {
	u.mu.Lock()
	defer u.mu.Unlock()
	for _, l := range batch {
		if w, ok := u.waiting[l.TokenID]; !ok || w.At.Before(l.At) {
			u.waiting[l.TokenID] = l // raising a time twice is harmless, so an unknown outcome needs no more care
		}
	}
}

// close flushes a last time and waits for what is under way, as long as ctx says.
func (u *lastUses) close(ctx context.Context) error {
	u.mu.Lock()
	u.closed = true
	u.mu.Unlock()
	err := u.flush(ctx)
	return errors.Join(err, fault.WaitFor(ctx, &u.flushes))
}

// touch notes that a cached token was used now.
func (m *Manager) touch(r *record, set *compiled, owner string, now int64) {
	if set.idle != 0 {
		first := r.Used.Load() == 0 && r.Used.CompareAndSwap(0, seconds(now))
		m.uses.used(owner, uuidv7.Text(r.ID), set.idle, now, first)
		return
	}
	was := r.Used.Load()
	if now-int64(was)*1e6 >= useStep.Microseconds() && r.Used.CompareAndSwap(was, seconds(now)) {
		m.uses.mu.Lock()
		defer m.uses.mu.Unlock()
		m.uses.wait(owner, uuidv7.Text(r.ID), now)
	}
}

func seconds(us int64) uint32 { return uint32(max(us, 0) / 1e6) }

// touchStored notes that a token just read from the store was used now, and says which use is, or will be, stored.
func (m *Manager) touchStored(t *Token, now int64) int64 {
	if idle := t.Validity.Idle.Microseconds(); idle != 0 {
		m.uses.used(t.Owner, t.ID, idle, now, t.Used.IsZero())
		return now
	}
	if !t.Used.IsZero() && now-micros(t.Used) < useStep.Microseconds() {
		return micros(t.Used)
	}
	m.uses.mu.Lock()
	defer m.uses.mu.Unlock()
	m.uses.wait(t.Owner, t.ID, now)
	return now
}
