package usage

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"sync"
	"time"

	"github.com/latchkey-go/latchkey/internal/fault"
)

// UseRoom is how many uses of each group may wait while the store is away.
const UseRoom = 1 << 16

const (
	useStep    = 10 * time.Minute      // how far a last use moves before it is written, for tokens that do not idle out
	useStepMin = time.Second           // the same, at the least, for tokens that do
	useDelay   = 50 * time.Millisecond // how long uses are gathered into one batch
	useMost    = 1 << 12               // uses of one transaction
	useAim     = 10 * time.Millisecond // how long it may hold their rows: a revocation waits for them
	useRetry   = time.Second           // how long uses wait after the store failed
)

// Step returns by how much a last use moves, in µs, before it is written, for a token that idles out after idle µs. 0
// is one that does not.
func Step(idle int64) int64 {
	if idle == 0 {
		return useStep.Microseconds()
	}
	return max(idle/20, useStepMin.Microseconds())
}

// Use is when a secret of a token was last used.
type Use struct {
	Owner, Token string
	At           int64
	Digest       [32]byte   // of the secret; zero: not known
	From         netip.Addr // where it came from; the zero Addr: not known
}

// tokenKey names a token. Tokens of two owners may have the same id.
type tokenKey struct{ owner, token string }

// key is what uses are told apart by.
type key struct {
	tokenKey
	digest [32]byte
}

// LastUsedSink is what a [LastUsed] writes to. It is safe for concurrent use.
type LastUsedSink interface {
	// Group returns which owners may be written together: those with the same number.
	Group(owner string) uint32
	// RaiseLastUsed stores last uses, all of one group; an older one than is stored changes nothing.
	RaiseLastUsed(ctx context.Context, uses []Use) error
	// Warn logs what no caller is told: lost is how much will never be written. The error may be nil.
	Warn(msg string, lost int64, err error)
}

// LastUsed knows when tokens were last used and writes it behind. It is safe for concurrent use.
type LastUsed struct {
	sink LastUsedSink
	room int // of known

	mu      sync.Mutex
	known   map[tokenKey]use       // only of tokens that idle out
	waiting map[uint32]map[key]Use // by group
	closed  bool
	boxes   outboxes[Use]
}

type use struct{ at, written int64 } // µs

// NewLastUsed returns a LastUsed that writes to sink. It knows as many tokens that idle out as room says, or more.
func NewLastUsed(sink LastUsedSink, room int) *LastUsed {
	u := &LastUsed{sink: sink, room: max(UseRoom, room), known: map[tokenKey]use{}, waiting: map[uint32]map[key]Use{}}
	u.boxes = outboxes[Use]{take: u.take, put: u.put, waits: u.waits, delay: useDelay, retry: useRetry,
		open: func() *outbox[Use] {
			return &outbox[Use]{pace: newPace(useMost, useAim), room: UseRoom, write: u.write, drop: u.drop}
		},
		fail: func(err error) { sink.Warn("latchkey: cannot write last uses; they are kept", 0, err) }}
	u.boxes.init()
	return u
}

// Saw takes note of a use that the store knows, of a token that idles out. One that lies ahead was noted by a clock
// that was wrong, and says no more than that there was one: it counts as one of the moment when it is first seen.
func (u *LastUsed) Saw(owner, token string, at, now int64) {
	key := tokenKey{owner, token}
	u.mu.Lock()
	defer u.mu.Unlock()
	k, ok := u.known[key]
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
	u.known[key] = use{max(k.at, at), min(max(k.written, at), now)}
}

// Noted takes note of a use that the store may not know yet.
func (u *LastUsed) Noted(owner, token string, at int64) {
	key := tokenKey{owner, token}
	u.mu.Lock()
	defer u.mu.Unlock()
	k, ok := u.known[key]
	if !ok && len(u.known) >= u.room {
		u.makeRoom()
	}
	k.at = max(k.at, at)
	u.known[key] = k
}

// makeRoom forgets the half that was used longest ago, roughly; the store still knows them.
func (u *LastUsed) makeRoom() {
	n, half := 0, len(u.known)/2
	waits := map[tokenKey]bool{}
	for _, uses := range u.waiting {
		for k := range uses {
			waits[k.tokenKey] = true
		}
	}
	for token := range u.known {
		if !waits[token] {
			delete(u.known, token)
		}
		if n++; n > half {
			return
		}
	}
}

// IdledOut reports whether, as far as is known here, the token was not used for idle µs. A token that is not known
// looks idled out, so that the store is asked.
func (u *LastUsed) IdledOut(owner, token string, idle, now int64) bool {
	u.mu.Lock()
	defer u.mu.Unlock()
	k, ok := u.known[tokenKey{owner, token}]
	return !ok || now-k.at >= idle
}

// Used takes note of a use now, of a token that idles out after idle µs. It reports whether the use is to be written,
// by [LastUsed.Write], and which is the last that was, or will be. The first use is, whatever the step: until then a
// listing says that the secret was never used.
func (u *LastUsed) Used(owner, token string, idle, now int64, first bool) (written int64, write bool) {
	step, key := Step(idle), tokenKey{owner, token}
	u.mu.Lock()
	defer u.mu.Unlock()
	k := u.known[key]
	k.at = now
	if first || now-k.written >= step || k.written-now >= step {
		k.written, write = now, true
	}
	u.known[key] = k
	return k.written, write
}

// Write writes a use behind. The caller knows the step.
func (u *LastUsed) Write(use Use) {
	u.mu.Lock()
	defer u.mu.Unlock()
	if u.closed {
		return
	}
	group := u.sink.Group(use.Owner)
	if !u.add(group, use) {
		u.sink.Warn("latchkey: too many last uses wait for the store; one is dropped", 1, nil)
		return
	}
	u.boxes.flushLater(group, useDelay)
}

// add lets a use wait. It reports whether there was room. The caller holds u.mu.
func (u *LastUsed) add(group uint32, use Use) bool {
	uses := u.waiting[group]
	if uses == nil {
		uses = map[key]Use{}
		u.waiting[group] = uses
	}
	k := key{tokenKey{use.Owner, use.Token}, use.Digest}
	was, ok := uses[k]
	if !ok && len(uses) >= UseRoom {
		return false
	}
	if !ok || was.At < use.At {
		uses[k] = use
	}
	return true
}

// take returns what waits of a group, in the order of stores, so that rows that lie together are written together.
func (u *LastUsed) take(group uint32) []Use {
	u.mu.Lock()
	batch := takeAll(u.waiting, group)
	u.mu.Unlock()
	slices.SortFunc(batch, func(a, b Use) int {
		return cmp.Or(cmp.Compare(a.Owner, b.Owner), cmp.Compare(a.Token, b.Token), bytes.Compare(a.Digest[:], b.Digest[:]))
	})
	return batch
}

// put lets uses wait again that could not be written. A later use of a token stays.
func (u *LastUsed) put(group uint32, uses []Use) {
	if len(uses) == 0 {
		return
	}
	dropped := 0
	u.mu.Lock()
	for _, use := range uses {
		if !u.add(group, use) {
			dropped++
		}
	}
	u.mu.Unlock()
	if dropped > 0 {
		u.sink.Warn(fmt.Sprintf("latchkey: too many last uses wait for the store; %d are dropped", dropped),
			int64(dropped), nil)
	}
}

func (u *LastUsed) waits(group uint32) bool {
	u.mu.Lock()
	defer u.mu.Unlock()
	return len(u.waiting[group]) > 0
}

func (u *LastUsed) groups() (groups []uint32) {
	u.mu.Lock()
	defer u.mu.Unlock()
	for group := range u.waiting {
		groups = append(groups, group)
	}
	return groups
}

// write makes one attempt. Raising a time twice is harmless, so an unknown outcome needs no more care than a failure.
func (u *LastUsed) write(ctx context.Context, b *batch[Use]) error {
	err := u.sink.RaiseLastUsed(ctx, b.items)
	if err != nil && !errors.Is(err, fault.ErrInvalid) {
		return fault.Unavailable(err)
	}
	return err
}

func (u *LastUsed) drop(uses []Use, why string, err error) {
	u.sink.Warn(fmt.Sprintf("latchkey: %d last uses are dropped: %s", len(uses), why), int64(len(uses)), err)
}

// Waiting returns how many uses wait to be written.
func (u *LastUsed) Waiting() int {
	n := u.boxes.pending()
	u.mu.Lock()
	defer u.mu.Unlock()
	for _, uses := range u.waiting {
		n += len(uses)
	}
	return n
}

// Flush writes what waits, in small transactions: what is written stays written, and nobody waits long for a row. What
// could not be written is kept.
func (u *LastUsed) Flush(ctx context.Context) error { return u.boxes.flushAll(ctx, u.groups()) }

// FlushOwner is Flush of an owner's group.
func (u *LastUsed) FlushOwner(ctx context.Context, owner string) error {
	return u.boxes.flush(ctx, u.sink.Group(owner))
}

// Close flushes a last time and waits for background work until ctx ends. Uses that come later are not written.
func (u *LastUsed) Close(ctx context.Context) error {
	u.mu.Lock()
	u.closed = true
	u.mu.Unlock()
	return u.boxes.close(ctx, u.groups())
}
