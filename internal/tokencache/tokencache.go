// Package tokencache holds verified tokens in memory: for the digest of a secret, its token, when it ends, what the
// token may do and the principal that it stands for.
//
// What a token may do is a value of type S, compiled once and shared by all tokens with the same [Key]. The principal
// is a value of type P; equal principals are stored once, except those of [Entry.Alone].
//
// The cache guarantees:
//
//   - A reader ([Cache.Lookup], [Cache.Live], [Feed.Epoch]) takes no lock and does not allocate. Writers exclude each
//     other, and never a reader. What a [Feed.Put] does under the lock is bounded, however many tokens there are.
//   - Each token belongs to a [Feed], which reflects the store's feed as of an epoch. Once [Feed.Apply] has returned,
//     Live answers for no token that one of the changes was about, and for none whose shared value depends on a record
//     that changed. Records are told apart by owner and id.
//   - A shared value that a [Change.Remade] made invalid becomes valid again for all its tokens by one Put that is as
//     new as everything that was applied. None of them is answered for with a value of another epoch than its own
//     record.
//   - [Feed.Put] ignores what was read from the store before a change of the same owner that has been applied. Changes
//     of other owners do not matter to it.
//   - A record is 64 bytes without a pointer, so the garbage collector does not scan a million of them. With the index
//     and the spare room of a cache that grows, one takes at most 120 bytes.
//   - Memory is bounded: see [New].
//
// Time is the caller's: a record stays valid after its [Record.Ends].
package tokencache

import (
	"encoding/binary"
	"iter"
	"maps"
	"math"
	"math/bits"
	"slices"
	"strings"
	"sync"
	"sync/atomic"

	"github.com/latchkey-go/latchkey/internal/uuidv7"
)

// Cache holds verified tokens. It is safe for concurrent use. Make one with [New].
type Cache[S any, P comparable] struct {
	// Dropped is told the last use of a token, Record.Seen, when its record makes room, valid or not. It must not call the
	// Cache. Nil: nobody is told. Set it before the first use.
	Dropped func(owner string, id [16]byte, seen int64)

	segments []atomic.Pointer[segment[S, P]] // a power of two; neighbours may be the same segment
	bits     uint8                           // of a place, which choose one of them
	resets   atomic.Uint64                   // of all feeds

	records, loads, evicted atomic.Int64 // for Stats

	mu         sync.Mutex // excludes writers from each other
	feeds      []*Feed[S, P]
	max        uint32 // valid records kept
	ids        []ids  // as many as segments
	groups     map[uint64]*group[S]
	bearers    []bearers[S, P] // of those that are not alone; as many as segments
	watches    map[string]*watch[S]
	dependents map[ownedRecord]map[*watch[S]]struct{}
	watched    map[string]int // by owner: how many of watches are of it
}

// Feed is the part of a cache that follows one feed of the store. Make one with [Cache.NewFeed].
type Feed[S any, P comparable] struct {
	cache  *Cache[S, P]
	number uint32
	epoch  atomic.Uint64
	latest atomic.Uint64 // the highest epoch at which anything was read since the last reset; never below epoch

	// These are guarded by cache.mu.
	held       int                // records put since the last reset of the feed, valid or not
	changed    map[string]*uint64 // by owner: the epoch of the last change after knownSince
	knownSince uint64             // changes from this epoch on are in changed
	lastReset  uint64             // Cache.Resets after the last reset of the feed
}

// maxChanged bounds the number of owners whose last change is remembered.
const maxChanged = 10_000

// Key stands for a shared value.
type Key struct {
	Shape   [32]byte // a digest of all that it is made from, but for what Change.Remade names; it differs between owners
	Content [16]byte // a digest of that: of versions, which nobody can choose
}

// group is the records that refer to one shared value.
type group[S any] struct {
	value atomic.Pointer[S] // nil: it is invalid
	feed  uint32

	// These are guarded by Cache.mu.
	key    Key
	dead   bool      // it never becomes valid again
	latest uint64    // the highest epoch that the value or a record may be as of
	refs   uint32    // bearers
	at     uint32    // index in watch.groups
	watch  *watch[S] // what the value was made from; of a dead group too, for the owner
	next   *group[S] // another group in the same place of Cache.groups
}

// watch is the groups of an owner whose values depend on the same records.
type watch[S any] struct {
	feed   uint32
	owner  string
	deps   []Dependency
	key    string // in Cache.watches
	groups []*group[S]
}

// bearer is what records of one group with the same principal refer to. Only refs changes.
type bearer[S any, P comparable] struct {
	group     *group[S]
	hash      uint32 // 0: it is alone
	refs      uint32 // records, dead or not; guarded by Cache.mu
	principal P
}

// Dependency names a record of the store.
type Dependency struct {
	Kind uint8 // as the caller numbers its kinds of records
	ID   string
}

type ownedRecord struct {
	Dependency
	owner string
}

// Change is a record of the store that was written or deleted.
type Change struct {
	Dependency
	Owner string
	Epoch uint64
	Token string // the id of the token that changed; "": the record is no token
	// Remade says that what depends on the record differs in Key.Content alone, and that no token's own record does.
	Remade bool
}

// Entry is what [Feed.Put] adds.
type Entry[S any, P comparable] struct {
	ID        [16]byte // of the token; zero: there is nothing to add
	Owner     string   // of the token
	Epoch     uint64   // of the feed: all of this is as of then or later
	Latest    uint64   // the highest one that some of it may be as of; below Epoch: all of it is as of Epoch
	Resets    uint64   // Cache.Resets before it was read
	Ends      int64    // µs since 1970; math.MaxInt64: never
	Seen      int64    // see Record
	Used      uint32   // s since 1970
	Retired   bool     // the secret has an end of its own
	Key       Key
	Value     *S           // from [Cache.Shared], or a new one; it must not change
	Deps      []Dependency // the records of the store that Value was made from, sorted
	Principal P
	Alone     bool // no other token has an equal principal, so none is looked for
}

// Hit is a record that [Cache.Lookup] found. It may be invalid: ask [Cache.Live].
type Hit[S any, P comparable] struct {
	segment *segment[S, P]
	record  *Record
	bearer  *bearer[S, P]
}

// Feed returns the number of the feed that the token belongs to.
func (h *Hit[S, P]) Feed() uint32 { return h.bearer.group.feed }

// mostOfSegment is how many records a segment should hold at most: replacing one takes a fraction of a millisecond.
const mostOfSegment = 1 << 13

// New returns an empty cache without feeds. It holds at most 2*max records, valid or not. One for more than 4096 is
// divided into parts at random while it fills, and what follows holds for each part in the end. Where there is no room
// for one more, it drops those that are not valid, and if more than one and a half max are valid, the half of them that
// was added first. So it keeps at least the max tokens that were added last, but for those that are not valid. With 0
// it holds none.
func New[S any, P comparable](max int) *Cache[S, P] {
	c := &Cache[S, P]{max: uint32(min(max, math.MaxUint32/4))}
	c.bits = uint8(min(bits.Len32(2*c.max/mostOfSegment), 14))
	c.segments, c.ids = make([]atomic.Pointer[segment[S, P]], 1<<c.bits), make([]ids, 1<<c.bits)
	c.bearers = make([]bearers[S, P], 1<<c.bits)
	c.clear()
	return c
}

// most returns how many records a segment may hold.
func (c *Cache[S, P]) most() uint32 { return 2 * c.max >> c.bits }

// NewFeed adds a feed at epoch 0. Feeds are numbered from 0 in the order in which they are added.
func (c *Cache[S, P]) NewFeed() *Feed[S, P] {
	c.mu.Lock()
	defer c.mu.Unlock()
	f := &Feed[S, P]{cache: c, number: uint32(len(c.feeds)), changed: map[string]*uint64{}}
	c.feeds = append(c.feeds, f)
	return f
}

// Number returns the number of the feed, which [Hit.Feed] returns.
func (f *Feed[S, P]) Number() uint32 { return f.number }

// Epoch returns the epoch up to which changes have been applied.
func (f *Feed[S, P]) Epoch() uint64 { return f.epoch.Load() }

// Latest returns the highest epoch at which anything in the cache was read. It may be beyond Epoch. A store that is at
// an earlier one, by a read that begins after the call, has another history.
func (f *Feed[S, P]) Latest() uint64 { return f.latest.Load() }

// Resets returns how many feeds have been reset so far. What was read from the store before a reset may come from
// another history, and cannot be told from it by its epoch.
func (c *Cache[S, P]) Resets() uint64 { return c.resets.Load() }

// segment returns the one that a place is in.
func (c *Cache[S, P]) segment(place uint32) *atomic.Pointer[segment[S, P]] {
	return &c.segments[c.index(place)]
}

// index returns the index of a place in segments.
func (c *Cache[S, P]) index(place uint32) int {
	return int(place >> 1 >> ((31 - c.bits) & 31)) // two shifts, because bits may be 0
}

// Lookup finds the record of a secret by the SHA-256 of its text.
func (c *Cache[S, P]) Lookup(sum *[32]byte) (h Hit[S, P], ok bool) {
	k := keyOfSum(sum)
	s := c.segment(k.place()).Load()
	// Most records are in the first pair. In which half of it cannot be predicted, so this chooses without a branch.
	pair := &s.slots[s.start(k.place())]
	r := &pair[0]
	if r.key.Load() != k.key {
		r = &pair[1]
	}
	if r.key.Load() != k.key || r.rest != k.rest || r.state.Load()&dead != 0 {
		if r = s.find(k); r == nil {
			return h, false
		}
	}
	return Hit[S, P]{s, r, s.bearerOf(r)}, true
}

// Live returns what a hit refers to, and reports whether it is valid as of now. Sum is that of the lookup: if the
// segment has been replaced since, Live looks again.
func (c *Cache[S, P]) Live(h *Hit[S, P], sum *[32]byte) (*Record, *S, *P, bool) {
	if c.segment(keyOfSum(sum).place()).Load() != h.segment { // what is invalidated now is marked in the new one only
		again, ok := c.Lookup(sum)
		if !ok || again.Feed() != h.Feed() { // or the caller has asked another feed what has changed
			return nil, nil, nil, false
		}
		*h = again
	}
	value := h.bearer.group.value.Load()
	return h.record, value, &h.bearer.principal, value != nil && h.record.state.Load()&dead == 0
}

// Seen returns the last use of a token by all its secrets that are known, valid or not, and 0 if there is none. A use
// after now, by a clock that was wrong, counts as one of now from then on.
func (c *Cache[S, P]) Seen(owner string, id [16]byte, now int64) (last int64) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for r := range c.recordsOf(owner, id) {
		seen := r.Seen.Load()
		if seen > now && r.Seen.CompareAndSwap(seen, now) {
			seen = now
		}
		last = max(last, seen)
	}
	return last
}

// recordsOf iterates over the records of a token. A token of another owner may have the same id. The caller holds c.mu.
func (c *Cache[S, P]) recordsOf(owner string, id [16]byte) func(yield func(*Record) bool) {
	h := hashID(id)
	return func(yield func(*Record) bool) {
		for place := range c.ids[h.part(len(c.ids))].places(h) {
			s := c.segment(place).Load()
			for r := range s.from(place) {
				if r.key.Load() == 0 {
					break
				}
				if r.ID == id && s.bearerOf(r).group.watch.owner == owner && !yield(r) {
					return
				}
			}
		}
	}
}

// Shared returns the valid shared value that has this key with the records that it was made from, and nil if there is
// none.
func (c *Cache[S, P]) Shared(key *Key) (*S, []Dependency) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for g := c.groups[place(key)]; g != nil; g = g.next {
		if value := g.value.Load(); value != nil && g.key == *key {
			return value, g.watch.deps
		}
	}
	return nil, nil
}

// place returns the key in Cache.groups.
func place(key *Key) uint64 { return binary.LittleEndian.Uint64(key.Shape[:8]) }

// Put adds an entry, in place of an older one of the same secret. It does nothing if a change of the owner after
// e.Epoch has been applied, or may have been, or if the feed was reset since the entry was read.
func (f *Feed[S, P]) Put(sum [32]byte, e Entry[S, P]) {
	c := f.cache
	if e.ID == [16]byte{} || c.max == 0 {
		return
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if e.Resets < f.lastReset || e.Epoch < f.epoch.Load() && !f.unchangedSince(e.Owner, e.Epoch) {
		return
	}
	if f.held == 0 && e.Epoch > f.epoch.Load() {
		f.advance(e.Epoch) // nothing of the feed is cached, so no change up to there can matter
	}
	f.held++
	f.sawEpoch(e.Epoch)
	c.insert(keyOfSum(&sum), &e, c.bearer(f.group(&e), &e))
	c.loads.Add(1)
}

// group returns the group of an entry, with a valid value.
func (f *Feed[S, P]) group(e *Entry[S, P]) *group[S] {
	c, latest := f.cache, max(e.Epoch, e.Latest)
	var found *group[S]
	for g := c.groups[place(&e.Key)]; g != nil; g = g.next {
		switch value := g.value.Load(); {
		case g.key.Shape != e.Key.Shape:
		case value == nil && max(g.latest, latest) <= f.epoch.Load():
			// The records of the group are what is stored as of the feed's epoch, and so is the new value.
			c.unwatch(g)
			g.key, g.latest = e.Key, latest
			c.watch(g, e.Owner, f.number, e.Deps)
			g.value.Store(e.Value)
			found = g
		case value != nil && g.key == e.Key:
			found = g
		}
	}
	if found == nil {
		found = &group[S]{feed: f.number, key: e.Key, next: c.groups[place(&e.Key)]}
		c.groups[place(&e.Key)] = found
		c.watch(found, e.Owner, f.number, e.Deps)
		found.value.Store(e.Value)
	}
	found.latest = max(found.latest, latest)
	return found
}

// watch has a group invalidated with the records that its value was made from.
func (c *Cache[S, P]) watch(g *group[S], owner string, feed uint32, deps []Dependency) {
	var text strings.Builder
	put := func(s string) {
		text.Write(binary.AppendUvarint(nil, uint64(len(s))))
		text.WriteString(s)
	}
	put(string(binary.AppendUvarint(nil, uint64(feed))))
	put(owner)
	for _, d := range deps {
		text.WriteByte(d.Kind)
		put(d.ID)
	}
	key := text.String()
	w := c.watches[key]
	if w == nil {
		w = &watch[S]{feed: feed, owner: owner, deps: slices.Clone(deps), key: key}
		c.watches[key] = w
		c.watched[owner]++
		for _, d := range w.deps {
			of := ownedRecord{d, owner}
			if c.dependents[of] == nil {
				c.dependents[of] = map[*watch[S]]struct{}{}
			}
			c.dependents[of][w] = struct{}{}
		}
	}
	g.watch, g.at = w, uint32(len(w.groups))
	w.groups = append(w.groups, g)
}

// unwatch undoes watch. The group still knows its owner.
func (c *Cache[S, P]) unwatch(g *group[S]) {
	w := g.watch
	last := w.groups[len(w.groups)-1]
	w.groups[g.at], last.at = last, g.at
	w.groups[len(w.groups)-1] = nil
	if w.groups = w.groups[:len(w.groups)-1]; len(w.groups) != 0 {
		return
	}
	delete(c.watches, w.key)
	if c.watched[w.owner]--; c.watched[w.owner] == 0 {
		delete(c.watched, w.owner)
	}
	for _, d := range w.deps {
		of := ownedRecord{d, w.owner}
		if delete(c.dependents[of], w); len(c.dependents[of]) == 0 {
			delete(c.dependents, of)
		}
	}
}

// kill makes a group invalid for good. Nothing finds it any more.
func (c *Cache[S, P]) kill(g *group[S]) {
	if g.dead {
		return
	}
	g.dead = true
	g.value.Store(nil)
	c.unwatch(g)
	at := place(&g.key)
	if first := c.groups[at]; first != g {
		for before := first; ; before = before.next {
			if before.next == g {
				before.next = g.next
				return
			}
		}
	}
	if g.next == nil {
		delete(c.groups, at)
	} else {
		c.groups[at] = g.next
	}
}

// bearersOf returns the table that bearers with this hash are in.
func (c *Cache[S, P]) bearersOf(hash uint32) *bearers[S, P] {
	return &c.bearers[int(hash)&(len(c.bearers)-1)]
}

// bearer returns what a record of the entry refers to.
func (c *Cache[S, P]) bearer(g *group[S], e *Entry[S, P]) *bearer[S, P] {
	hash := uint32(0)
	if !e.Alone {
		hash = hashBearer(g, &e.Principal)
		if b := c.bearersOf(hash).find(hash, g, &e.Principal); b != nil {
			return b
		}
	}
	b := &bearer[S, P]{group: g, hash: hash, principal: e.Principal}
	if hash != 0 {
		c.bearersOf(hash).add(b)
	}
	g.refs++
	return b
}

// insert adds a record.
func (c *Cache[S, P]) insert(k secretKey, e *Entry[S, P], b *bearer[S, P]) {
	b.refs++
	s := c.segment(k.place()).Load()
	for s.used >= s.room {
		c.replace(s, k.place())
		s = c.segment(k.place()).Load()
	}
	old := s.find(k)
	r := s.next(k)
	r.ID, r.Ends, r.bearer = e.ID, e.Ends, s.list(b)
	r.Seen.Store(e.Seen)
	r.Used.Store(e.Used)
	s.puts++
	state := s.puts << putBits
	if e.Retired {
		state |= retired
	}
	r.state.Store(state)
	s.publish(r, k)
	if old != nil {
		old.state.Or(dead)
	}
	h := hashID(e.ID)
	c.ids[h.part(len(c.ids))].add(h, k.place())
	c.records.Add(1)
}

// replace replaces the segment of a place by one that has room, or by two that share its records.
func (c *Cache[S, P]) replace(old *segment[S, P], place uint32) {
	keep, drop, full := old.split(c.most())
	if full && old.bits < c.bits {
		low, high := halves(keep, old.bits)
		c.store(old.grown(low, c.most(), old.bits+1), place&^(1<<(31-old.bits)))
		c.store(old.grown(high, c.most(), old.bits+1), place|1<<(31-old.bits))
	} else {
		if full {
			var evicted []*Record
			keep, evicted = old.evict(keep)
			drop = append(drop, evicted...)
			c.evicted.Add(int64(len(evicted)))
		}
		c.store(old.grown(keep, c.most(), old.bits), place)
	}
	for _, r := range drop {
		h := hashID(r.ID)
		c.ids[h.part(len(c.ids))].remove(h, secretKey{key: r.key.Load()}.place())
		b := old.bearerOf(r)
		if seen := r.Seen.Load(); seen != 0 && c.Dropped != nil {
			c.Dropped(b.group.watch.owner, r.ID, seen)
		}
		if b.refs--; b.refs != 0 {
			continue
		}
		if b.hash != 0 {
			c.bearersOf(b.hash).remove(b)
		}
		if b.group.refs--; b.group.refs == 0 {
			c.kill(b.group)
		}
	}
	c.records.Add(-int64(len(drop)))
}

// store makes a segment the one of all places that begin as this one does.
func (c *Cache[S, P]) store(s *segment[S, P], place uint32) {
	n := 1 << (c.bits - s.bits)
	first := c.index(place) &^ (n - 1)
	for i := first; i < first+n; i++ {
		c.segments[i].Store(s)
	}
}

// Stats are how full a cache is, and what happened to it.
type Stats struct {
	Records  int64 // that are held, valid or not
	Capacity int64 // how many can be
	Loads    int64 // that were put
	Evicted  int64 // valid ones that were dropped to make room
}

// Stats returns the present Stats. It takes no lock.
func (c *Cache[S, P]) Stats() Stats {
	return Stats{c.records.Load(), 2 * int64(c.max), c.loads.Load(), c.evicted.Load()}
}

// unchangedSince reports whether it is known that no change of the owner after epoch has been applied. The caller holds
// cache.mu.
func (f *Feed[S, P]) unchangedSince(owner string, epoch uint64) bool {
	last := f.changed[owner]
	return f.knownSince <= epoch && (last == nil || *last <= epoch)
}

// advance sets the epoch without the changes up to it. The caller holds cache.mu.
func (f *Feed[S, P]) advance(epoch uint64) {
	clear(f.changed)
	f.knownSince = epoch
	f.sawEpoch(epoch)
	f.epoch.Store(epoch)
}

// sawEpoch takes note that something was read at an epoch. The caller holds cache.mu.
func (f *Feed[S, P]) sawEpoch(epoch uint64) {
	if epoch > f.latest.Load() {
		f.latest.Store(epoch)
	}
}

// Empty reports whether nothing has been put since the feed was added or reset.
func (f *Feed[S, P]) Empty() bool {
	f.cache.mu.Lock()
	defer f.cache.mu.Unlock()
	return f.held == 0
}

// Skip advances an empty feed to a later epoch without the changes up to it, and reports whether it did. What was read
// at an earlier epoch is not put any more.
func (f *Feed[S, P]) Skip(epoch uint64) bool {
	f.cache.mu.Lock()
	defer f.cache.mu.Unlock()
	if f.held != 0 || epoch < f.epoch.Load() {
		return false
	}
	f.advance(epoch)
	return true
}

// Apply invalidates what the changes concern, and advances the feed to epoch, that of the last change. It never goes
// back to an earlier one. It keeps no text of a change. Changes must not call the Cache.
func (f *Feed[S, P]) Apply(changes iter.Seq[Change], epoch uint64) {
	c := f.cache
	c.mu.Lock()
	defer c.mu.Unlock()
	if len(f.changed) > maxChanged {
		clear(f.changed)
		f.knownSince = f.epoch.Load()
	}
	for ch := range changes {
		f.changedAt(ch.Owner, ch.Epoch)
		if c.watched[ch.Owner] == 0 {
			continue // no valid value is of this owner. Most processes know few of those that others change
		}
		for w := range c.dependents[ownedRecord{ch.Dependency, ch.Owner}] {
			if ch.Remade {
				for _, g := range w.groups {
					g.value.Store(nil)
				}
			} else {
				c.killAll(w)
			}
		}
		if ch.Token != "" {
			for r := range c.recordsOf(ch.Owner, uuidv7.Parse(ch.Token)) {
				r.state.Or(dead)
			}
		}
	}
	if epoch > f.epoch.Load() {
		f.sawEpoch(epoch)
		f.epoch.Store(epoch)
	}
}

// changedAt notes a change of an owner. The caller holds cache.mu.
func (f *Feed[S, P]) changedAt(owner string, epoch uint64) {
	if last := f.changed[owner]; last != nil {
		*last = max(*last, epoch) // an assignment to the map would keep the text
	} else {
		f.changed[strings.Clone(owner)] = new(epoch) // which may share the memory of all that was read with it
	}
}

// killAll makes the groups of a watch invalid for good.
func (c *Cache[S, P]) killAll(w *watch[S]) {
	for len(w.groups) != 0 {
		c.kill(w.groups[len(w.groups)-1])
	}
}

// Reset drops all tokens of the feed and sets its epoch, be it to an earlier one.
func (f *Feed[S, P]) Reset(epoch uint64) {
	c := f.cache
	c.mu.Lock()
	defer c.mu.Unlock()
	f.lastReset = c.resets.Add(1)
	if len(c.feeds) == 1 {
		c.clear()
	} else {
		for w := range maps.Values(c.watches) {
			if w.feed == f.number {
				c.killAll(w)
			}
		}
	}
	f.held = 0
	f.latest.Store(epoch)
	f.advance(epoch)
}

func (c *Cache[S, P]) clear() {
	c.groups = map[uint64]*group[S]{}
	clear(c.bearers)
	c.watches = map[string]*watch[S]{}
	c.dependents = map[ownedRecord]map[*watch[S]]struct{}{}
	c.watched = map[string]int{}
	clear(c.ids)
	c.store(newSegment[S, P](0, 0), 0)
	c.records.Store(0)
}
