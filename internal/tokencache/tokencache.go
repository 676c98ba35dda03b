// Package tokencache holds verified tokens in memory: for the digest of a secret, its token, when it ends, what the
// token may do and the principal that it stands for.
//
// What a token may do is a value of type S, compiled once and shared by all tokens with the same [Entry.Key]. The
// principal is a value of type P; equal principals are stored once.
//
// The cache guarantees:
//
//   - A reader ([Cache.Lookup], [Cache.Live], [Cache.Epoch]) takes no lock and does not allocate. Writers exclude each
//     other, and never a reader.
//   - The cache reflects the store as of an epoch. Once [Cache.Apply] has returned, Live answers for no token that one
//     of the changes was about, and for none whose shared value depends on a record that changed.
//   - [Cache.Put] ignores what was read from the store before a change that has been applied.
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

// Cache holds verified tokens as of an epoch of the store. It is safe for concurrent use. Make one with [New].
type Cache[S any, P comparable] struct {
	table atomic.Pointer[table[S, P]]
	epoch atomic.Uint64

	mu         sync.Mutex // excludes writers from each other
	max        uint32     // valid records kept
	shared     map[[32]byte]uint32
	principals map[P]uint32
	dependents map[Dependency][]*Shared[S]
}

// Shared is a value that several records refer to. It must not change once it is part of an [Entry].
type Shared[S any] struct {
	Value S
	Deps  []Dependency // the records of the store that Value was made from
	dead  atomic.Bool
}

// Dependency names a record of the store.
type Dependency struct {
	Kind uint8 // as the caller numbers its kinds of records
	ID   string
}

// Change is a record of the store that was written or deleted.
type Change struct {
	Dependency
	Token [16]byte // the id of the token that changed; zero: the record is no token
}

// Entry is what [Cache.Put] adds.
type Entry[S any, P comparable] struct {
	ID        [16]byte   // of the token; zero: there is nothing to add
	Epoch     uint64     // of the store when all of this was read
	Ends      int64      // µs since 1970; math.MaxInt64: never
	Used      uint32     // s since 1970
	Key       [32]byte   // stands for Shared: entries with equal keys share a value
	Shared    *Shared[S] // from [Cache.Shared], or a new one
	Principal P
}

// Hit is a record that [Cache.Lookup] found. It may be invalid: ask [Cache.Live].
type Hit[S any, P comparable] struct {
	table  *table[S, P]
	record *Record
}

// New returns an empty cache at epoch 0. It holds at most 2*max records, valid or not. Where there is no room for one
// more, it drops those that are not valid, and if max or more are, the half of them that was added first. With 0 it
// holds none.
func New[S any, P comparable](max int) *Cache[S, P] {
	c := &Cache[S, P]{max: uint32(min(max, math.MaxUint32/4))}
	c.clear()
	return c
}

// Epoch returns the epoch up to which changes have been applied.
func (c *Cache[S, P]) Epoch() uint64 { return c.epoch.Load() }

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
		if t, r = now, now.find(sum); r == nil {
			return nil, nil, nil, false
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

// Put adds an entry, in place of an older one of the same secret. It does nothing if a change after e.Epoch has been
// applied.
func (c *Cache[S, P]) Put(sum [32]byte, e Entry[S, P]) {
	if e.ID == [16]byte{} || c.max == 0 {
		return
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	t := c.table.Load()
	if e.Epoch < c.epoch.Load() {
		return
	}
	if t.n == 0 {
		c.epoch.Store(e.Epoch) // nothing is cached, so no change since can matter
	}
	if t.n >= t.capacity || t.n >= 2*c.max {
		t = c.rebuild(t)
	}
	shared, principal := c.intern(t, &e)
	r := t.next()
	r.digest, r.ID, r.Ends = [16]byte(sum[:16]), e.ID, e.Ends
	r.shared, r.principal = shared, principal
	r.Used.Store(e.Used)
	t.publish(r)
}

// Apply invalidates what the changes concern, and advances the cache to epoch. It never goes back to an earlier one.
func (c *Cache[S, P]) Apply(changes []Change, epoch uint64) {
	c.mu.Lock()
	defer c.mu.Unlock()
	t := c.table.Load()
	for _, ch := range changes {
		for _, s := range c.dependents[ch.Dependency] {
			s.dead.Store(true)
		}
		delete(c.dependents, ch.Dependency)
		if ch.Token != [16]byte{} {
			t.invalidate(ch.Token)
		}
	}
	if epoch > c.epoch.Load() {
		c.epoch.Store(epoch)
	}
}

// Reset empties the cache and sets its epoch, be it to an earlier one.
func (c *Cache[S, P]) Reset(epoch uint64) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.clear()
	c.epoch.Store(epoch)
}

func (c *Cache[S, P]) clear() {
	c.shared = map[[32]byte]uint32{}
	c.principals = map[P]uint32{}
	c.dependents = map[Dependency][]*Shared[S]{}
	c.table.Store(newTable[S, P](0))
}

// intern returns the indexes in t of what e shares with other entries, and adds what is not there yet.
func (c *Cache[S, P]) intern(t *table[S, P], e *Entry[S, P]) (shared, principal uint32) {
	shared, ok := c.shared[e.Key]
	if !ok || (*t.shared.Load())[shared].dead.Load() {
		shared = appendTo(&t.shared, e.Shared)
		c.shared[e.Key] = shared
		for _, d := range e.Shared.Deps {
			c.dependents[d] = append(c.dependents[d], e.Shared)
		}
	}
	principal, ok = c.principals[e.Principal]
	if !ok {
		p := e.Principal // a copy, so that the cache does not hold the whole entry
		principal = appendTo(&t.principals, &p)
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
		keep = keep[len(keep)/2:]
	}
	t := newTable[S, P](uint32(min(2*len(keep)+chunkSize, 2*int(c.max)+1)))
	shared, principals := map[uint32]uint32{}, map[uint32]uint32{}
	referred := map[*Shared[S]]bool{}
	for _, n := range keep {
		from := old.record(n)
		r := t.next()
		r.digest, r.ID, r.Ends = from.digest, from.ID, from.Ends
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
	clear(c.principals)
	for n, p := range *t.principals.Load() {
		c.principals[*p] = uint32(n)
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
