// Package tokencache holds verified tokens in memory: for the digest of a secret, its token, when it ends, what the
// token may do and the principal that it stands for.
//
// What a token may do is a value of type S, compiled once and shared by all tokens with the same [Entry.Key]. The
// principal is a value of type P; equal principals are stored once, except those of [Entry.Alone].
//
// The cache guarantees:
//
//   - A reader ([Cache.Lookup], [Cache.Live], [Feed.Epoch]) takes no lock and does not allocate. Writers exclude each
//     other, and never a reader.
//   - Each token belongs to a [Feed], which reflects the store's feed as of an epoch. Once [Feed.Apply] has returned,
//     Live answers for no token that one of the changes was about, and for none whose shared value depends on a record
//     that changed. Records are told apart by owner and id.
//   - [Feed.Put] ignores what was read from the store before a change of the same owner that has been applied. Changes
//     of other owners do not matter to it.
//   - A record is 64 bytes without a pointer, so the garbage collector does not scan a million of them.
//   - Memory is bounded: see [New].
//
// Time is the caller's: a record stays valid after its [Record.Ends].
package tokencache

import (
	"math"
	"sync"
	"sync/atomic"
)

// Cache holds verified tokens. It is safe for concurrent use. Make one with [New].
type Cache[S any, P comparable] struct {
	table  atomic.Pointer[table[S, P]]
	resets atomic.Uint64 // of all feeds

	records, loads, evicted atomic.Int64 // for Stats

	mu         sync.Mutex // excludes writers from each other
	feeds      []*Feed[S, P]
	max        uint32 // valid records kept
	shared     map[[32]byte]uint32
	principals map[P]uint32
	dependents map[Dependency][]*Shared[S]
}

// Feed is the part of a cache that follows one feed of the store. Make one with [Cache.NewFeed].
type Feed[S any, P comparable] struct {
	cache  *Cache[S, P]
	number uint32
	epoch  atomic.Uint64
	latest atomic.Uint64 // the highest epoch at which anything was read since the last reset; never below epoch

	// These are guarded by cache.mu.
	held       int               // records put since the last reset of the feed, valid or not
	changed    map[string]uint64 // by owner: the epoch of the last change after knownSince
	knownSince uint64            // changes from this epoch on are in changed
	lastReset  uint64            // Cache.Resets after the last reset of the feed
}

// maxChanged bounds the number of owners whose last change is remembered.
const maxChanged = 10_000

// Shared is a value that several records of one owner refer to. It must not change once it is part of an [Entry].
type Shared[S any] struct {
	Value S
	Deps  []Dependency // the records of the store that Value was made from
	feed  uint32
	dead  atomic.Bool
	owner string // of all that share it
}

// Dependency names a record of the store.
type Dependency struct {
	Kind uint8 // as the caller numbers its kinds of records
	ID   string
}

// Change is a record of the store that was written or deleted.
type Change struct {
	Dependency
	Owner string
	Epoch uint64
	Token [16]byte // the id of the token that changed; zero: the record is no token
}

// Entry is what [Feed.Put] adds.
type Entry[S any, P comparable] struct {
	ID        [16]byte   // of the token; zero: there is nothing to add
	Owner     string     // of the token
	Epoch     uint64     // of the feed when all of this was read
	Resets    uint64     // Cache.Resets before it was read
	Ends      int64      // µs since 1970; math.MaxInt64: never
	Used      uint32     // s since 1970
	Retired   bool       // the secret has an end of its own
	Key       [32]byte   // stands for Shared: entries with equal keys share a value; it differs between owners
	Shared    *Shared[S] // from [Cache.Shared], or a new one
	Principal P
	Alone     bool // no other token has an equal principal, so none is looked for
}

// Hit is a record that [Cache.Lookup] found. It may be invalid: ask [Cache.Live].
type Hit[S any, P comparable] struct {
	table  *table[S, P]
	record *Record
}

// Feed returns the number of the feed that the token belongs to.
func (h Hit[S, P]) Feed() uint32 { return (*h.table.shared.Load())[h.record.shared].feed }

// New returns an empty cache without feeds. It holds at most 2*max records, valid or not. Where there is no room for
// one more, it drops those that are not valid, and if max or more are, the half of them that was added first. With 0 it
// holds none.
func New[S any, P comparable](max int) *Cache[S, P] {
	c := &Cache[S, P]{max: uint32(min(max, math.MaxUint32/4))}
	c.clear()
	return c
}

// NewFeed adds a feed at epoch 0. Feeds are numbered from 0 in the order in which they are added.
func (c *Cache[S, P]) NewFeed() *Feed[S, P] {
	c.mu.Lock()
	defer c.mu.Unlock()
	f := &Feed[S, P]{cache: c, number: uint32(len(c.feeds)), changed: map[string]uint64{}}
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

// Lookup finds the record of a secret by the SHA-256 of its text.
func (c *Cache[S, P]) Lookup(sum *[32]byte) (Hit[S, P], bool) {
	t := c.table.Load()
	r := t.find(sum)
	return Hit[S, P]{t, r}, r != nil
}

// Live returns what a hit refers to, and reports whether it is valid as of now. Sum is that of the lookup: if the table
// has been replaced since, Live looks again.
func (c *Cache[S, P]) Live(h Hit[S, P], sum *[32]byte) (*Record, *S, *P, bool) {
	t, r := h.table, h.record
	if now := c.table.Load(); now != t { // what is invalidated from now on is marked in the new table only
		feed := h.Feed()
		if t, r = now, now.find(sum); r == nil || (Hit[S, P]{t, r}).Feed() != feed {
			return nil, nil, nil, false // or the caller has asked another feed what has changed
		}
	}
	s, ok := t.live(r)
	if !ok {
		return nil, nil, nil, false
	}
	return r, s, t.principalOf(r), true
}

// Shared returns the valid shared value that has this key, and nil if there is none.
func (c *Cache[S, P]) Shared(key [32]byte) *Shared[S] {
	c.mu.Lock()
	defer c.mu.Unlock()
	if n, ok := c.shared[key]; ok {
		if s := (*c.table.Load().shared.Load())[n]; !s.dead.Load() {
			return s
		}
	}
	return nil
}

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
	t := c.table.Load()
	if t.n >= t.capacity || t.n >= 2*c.max {
		t = c.rebuild(t)
	}
	shared, principal := c.intern(t, &e, f.number)
	r := t.next()
	r.digest, r.ID, r.Ends, r.Retired = [16]byte(sum[:16]), e.ID, e.Ends, e.Retired
	r.shared, r.principal = shared, principal
	r.Used.Store(e.Used)
	t.publish(r)
	c.loads.Add(1)
	c.records.Store(int64(t.n))
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
	return f.knownSince <= epoch && f.changed[owner] <= epoch
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
// back to an earlier one.
func (f *Feed[S, P]) Apply(changes []Change, epoch uint64) {
	c := f.cache
	c.mu.Lock()
	defer c.mu.Unlock()
	t := c.table.Load()
	if len(f.changed) > maxChanged {
		clear(f.changed)
		f.knownSince = f.epoch.Load()
	}
	for _, ch := range changes {
		f.changed[ch.Owner] = max(ch.Epoch, f.changed[ch.Owner])
		of := c.dependents[ch.Dependency]
		others := of[:0]
		for _, s := range of {
			if s.owner == ch.Owner {
				s.dead.Store(true)
			} else { // another owner's record has the same id
				others = append(others, s)
			}
		}
		clear(of[len(others):])
		if len(others) == 0 {
			delete(c.dependents, ch.Dependency)
		} else {
			c.dependents[ch.Dependency] = others
		}
		if ch.Token != [16]byte{} {
			t.invalidate(ch.Owner, ch.Token)
		}
	}
	if epoch > f.epoch.Load() {
		f.sawEpoch(epoch)
		f.epoch.Store(epoch)
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
		for _, s := range *c.table.Load().shared.Load() {
			if s.feed == f.number {
				s.dead.Store(true)
			}
		}
	}
	f.held = 0
	f.latest.Store(epoch)
	f.advance(epoch)
}

func (c *Cache[S, P]) clear() {
	c.shared = map[[32]byte]uint32{}
	c.principals = map[P]uint32{}
	c.dependents = map[Dependency][]*Shared[S]{}
	c.table.Store(newTable[S, P](0))
	c.records.Store(0)
}

// intern returns the indexes in t of what e shares with other entries of the feed, and adds what is not there yet.
func (c *Cache[S, P]) intern(t *table[S, P], e *Entry[S, P], feed uint32) (shared, principal uint32) {
	shared, ok := c.shared[e.Key]
	if !ok || (*t.shared.Load())[shared].dead.Load() {
		if e.Shared.feed != feed || e.Shared.owner != e.Owner { // otherwise readers may have it
			e.Shared.feed, e.Shared.owner = feed, e.Owner
		}
		shared = appendTo(&t.shared, e.Shared)
		c.shared[e.Key] = shared
		for _, d := range e.Shared.Deps {
			c.dependents[d] = append(c.dependents[d], e.Shared)
		}
	}
	if !e.Alone {
		if principal, ok = c.principals[e.Principal]; ok {
			return shared, principal
		}
	}
	p := e.Principal // a copy, so that the cache does not hold the whole entry
	principal = appendTo(&t.principals, &p)
	if !e.Alone {
		c.principals[p] = principal
	}
	return shared, principal
}

// rebuild replaces the table by one without dead records and, if the cache is full, without the half of the valid ones
// that was added first.
func (c *Cache[S, P]) rebuild(old *table[S, P]) *table[S, P] {
	var keep []uint32
	for n := range old.n {
		if _, ok := old.live(old.record(n)); ok {
			keep = append(keep, n)
		}
	}
	if len(keep) >= int(c.max) {
		c.evicted.Add(int64(len(keep) / 2))
		keep = keep[len(keep)/2:]
	}
	t := newTable[S, P](uint32(min(2*len(keep)+chunkSize, 2*int(c.max)+1)))
	shared, principals := map[uint32]uint32{}, map[uint32]uint32{}
	referred := map[*Shared[S]]bool{}
	for _, n := range keep {
		from := old.record(n)
		r := t.next()
		r.digest, r.ID, r.Ends, r.Retired = from.digest, from.ID, from.Ends, from.Retired
		r.Used.Store(from.Used.Load())
		r.shared = renumber(shared, from.shared, &t.shared, &old.shared)
		r.principal = renumber(principals, from.principal, &t.principals, &old.principals)
		referred[(*t.shared.Load())[r.shared]] = true
		t.publish(r)
	}
	for key, n := range c.shared {
		if m, ok := shared[n]; ok {
			c.shared[key] = m
		} else {
			delete(c.shared, key)
		}
	}
	for p, n := range c.principals {
		if m, ok := principals[n]; ok {
			c.principals[p] = m
		} else {
			delete(c.principals, p)
		}
	}
	for d, list := range c.dependents {
		kept := list[:0:0]
		for _, s := range list {
			if referred[s] {
				kept = append(kept, s)
			}
		}
		if len(kept) == 0 {
			delete(c.dependents, d)
		} else {
			c.dependents[d] = kept
		}
	}
	c.table.Store(t)
	return t
}
