package latchkey

import (
	"crypto/sha256"
	"encoding/binary"
	"encoding/json"
	"math"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"unsafe"

	"github.com/latchkey-go/latchkey/internal/uuidv7"
)

// compiled is all that decides for a token and that other tokens with the same roles, rules and parents share. Apart
// from dead it never changes.
type compiled struct {
	policy   *policy
	restrict *restriction
	limits   *limitSet      // nil: none
	layers   []layer        // what policy was made of: own first, the owner's boundary last
	narrowed []layer        // added by Access.Narrow, nearest first; empty for what a token has
	confined []Restrictions // by Access.Narrow
	roleSet  map[string]Role
	deps     []dependency
	roles    []string   // the token's roles: its own, or its parent's if its mint named none
	anyRole  bool       // a mint may name any role of the owner
	idle     int64      // µs: the token's own idle limit; 0: none
	idlers   []idleLink // ancestors that end by not being used
	dead     atomic.Bool
}

type idleLink struct {
	id   string
	idle int64 // µs
}

// principal is who a token stands for. Comparable, so that it can be shared.
type principal struct {
	owner  string
	root   string // Self: the id of the root of the chain, or an Assumed caller's Client.ID; "": the token itself
	kind   Kind   // 0: Assumed
	test   bool
	client Client
}

// record is one verified secret, in one line of a processor's cache. It holds no pointer, so that the garbage collector
// passes over a million of them, and it never changes once it can be found, except for used and dead.
type record struct {
	digest [16]byte // half of the plain SHA-256 of the text, whatever the store keeps; nobody can aim at 128 bits
	id     [16]byte
	ends   int64         // µs; MaxInt64: never
	used   atomic.Uint32 // s: the last use that was, or will be, written
	set    uint32
	who    uint32
	dead   atomic.Bool
	_      [8]byte
}

var _ = [1]struct{}{}[unsafe.Sizeof(record{})-64] // does not compile when a record is not 64 bytes

const (
	chunkBits = 10
	chunkSize = 1 << chunkBits
)

// table is what readers look in without a lock. The one writer appends records, people and sets, and only then publishes
// a record through its atomic index slot; so whoever sees the slot sees what it leads to. It is replaced as a whole when
// it is full.
type table struct {
	mask   uint64
	index  []atomic.Uint64 // upper half: a tag of the digest; lower half: record number + 1; 0: empty
	chunks atomic.Pointer[[]*[chunkSize]record]
	sets   atomic.Pointer[[]*compiled]
	whos   atomic.Pointer[[]*principal]

	// The writer's own.
	byID  []uint32 // record number + 1, probed by id
	n     uint32   // records used
	limit uint32   // records there is room for
}

func (t *table) record(n uint32) *record  { return &(*t.chunks.Load())[n>>chunkBits][n&(chunkSize-1)] }
func (t *table) who(r *record) *principal { return (*t.whos.Load())[r.who] }

// push appends to a list that others read.
func push[T any](list *atomic.Pointer[[]T], v T) uint32 {
	grown := append(*list.Load(), v)
	list.Store(&grown)
	return uint32(len(grown) - 1)
}

func (t *table) find(sum *[32]byte) *record {
	h := binary.LittleEndian.Uint64(sum[:8])
	tag := h >> 32 << 32
	for i := h & t.mask; ; i = (i + 1) & t.mask {
		slot := t.index[i].Load()
		if slot == 0 {
			return nil
		}
		if slot>>32<<32 != tag {
			continue
		}
		if r := t.record(uint32(slot) - 1); [16]byte(sum[:16]) == r.digest {
			return r
		}
	}
}

func newTable(room uint32) *table {
	size := uint64(2 * chunkSize)
	for size < 2*uint64(room) {
		size *= 2
	}
	t := &table{
		mask:  size - 1,
		index: make([]atomic.Uint64, size),
		byID:  make([]uint32, size),
		limit: uint32(size / 2),
	}
	t.chunks.Store(new([]*[chunkSize]record))
	t.sets.Store(new([]*compiled))
	t.whos.Store(new([]*principal))
	return t
}

// cache holds verified tokens as of an epoch. Every change up to that epoch has been applied to it.
type cache struct {
	tab     atomic.Pointer[table]
	applied atomic.Uint64

	mu   sync.Mutex // for writers
	max  uint32     // live records kept
	sets map[[32]byte]uint32
	whos map[principal]uint32
	deps map[dependency][]*compiled
}

// dependency is a record that compiled sets were made from.
type dependency struct {
	kind ChangeKind
	id   string
}

func newCache(max int) *cache {
	c := &cache{max: uint32(min(max, math.MaxUint32/4))}
	c.reset()
	return c
}

func (c *cache) reset() {
	c.sets = map[[32]byte]uint32{}
	c.whos = map[principal]uint32{}
	c.deps = map[dependency][]*compiled{}
	c.tab.Store(newTable(0))
}

// forget drops everything and takes epoch as the one that is applied.
func (c *cache) forget(epoch uint64) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.reset()
	c.applied.Store(epoch)
}

// apply makes the cache forget what changed, and advances it to epoch.
func (c *cache) apply(changes []Change, epoch uint64) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, ch := range changes {
		c.drop(dependency{ch.Kind, ch.ID})
		if ch.Kind == ChangedToken {
			c.kill(ch.ID)
		}
	}
	if epoch > c.applied.Load() {
		c.applied.Store(epoch)
	}
}

func (c *cache) drop(d dependency) {
	for _, s := range c.deps[d] {
		s.dead.Store(true)
	}
	delete(c.deps, d)
}

func (c *cache) kill(tokenID string) {
	id := uuidv7.Parse(tokenID)
	if id == [16]byte{} {
		return // such a token was never put in
	}
	t := c.tab.Load()
	for i := idHash(id) & t.mask; t.byID[i] != 0; i = (i + 1) & t.mask {
		if r := t.record(t.byID[i] - 1); r.id == id {
			r.dead.Store(true)
		}
	}
}

// idHash takes the random half of a UUIDv7.
func idHash(id [16]byte) uint64 { return binary.LittleEndian.Uint64(id[8:]) }

// live says whether the record may still answer, and gives what it refers to.
func (t *table) live(r *record) (*compiled, bool) {
	if r.dead.Load() {
		return nil, false
	}
	s := (*t.sets.Load())[r.set]
	return s, !s.dead.Load()
}

// put adds what was loaded as of epoch. It does nothing when a later change has been applied meanwhile.
func (c *cache) put(sum [32]byte, l *loaded) {
	id := uuidv7.Parse(l.found.Token.ID)
	if id == [16]byte{} || c.max == 0 {
		return
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	t := c.tab.Load()
	if l.found.Epoch < c.applied.Load() {
		return
	}
	if t.n == 0 {
		c.applied.Store(l.found.Epoch) // nothing is cached, so no change since can matter
	}
	if t.n >= t.limit || t.n >= 2*c.max {
		t = c.rebuild(t)
	}
	set, who := c.intern(t, l)
	r := t.next()
	r.digest, r.id, r.ends = [16]byte(sum[:16]), id, l.ends
	r.set, r.who = set, who
	r.used.Store(seconds(l.used))
	t.publish(r)
}

// next is room for one more record, which nobody finds before publish.
func (t *table) next() *record {
	if int(t.n>>chunkBits) == len(*t.chunks.Load()) {
		push(&t.chunks, new([chunkSize]record))
	}
	return t.record(t.n)
}

// publish makes the next record findable, in place of an older one of the same secret.
func (t *table) publish(r *record) {
	t.n++
	h := binary.LittleEndian.Uint64(r.digest[:8])
	entry := h>>32<<32 | uint64(t.n)
	for i := h & t.mask; ; i = (i + 1) & t.mask {
		slot := t.index[i].Load()
		if slot == 0 {
			t.index[i].Store(entry)
			break
		}
		if slot>>32 == h>>32 && t.record(uint32(slot)-1).digest == r.digest {
			t.index[i].Store(entry)
			t.record(uint32(slot) - 1).dead.Store(true)
			break
		}
	}
	i := idHash(r.id) & t.mask
	for t.byID[i] != 0 {
		i = (i + 1) & t.mask
	}
	t.byID[i] = t.n
}

// rebuild leaves out what is dead and, when the cache is full, the half that was loaded first.
func (c *cache) rebuild(old *table) *table {
	var keep []uint32
	for n := range old.n {
		if _, ok := old.live(old.record(n)); ok {
			keep = append(keep, n)
		}
	}
	if len(keep) >= int(c.max) {
		keep = keep[len(keep)/2:]
	}
	t := newTable(uint32(min(2*len(keep)+chunkSize, 2*int(c.max)+1)))
	sets, whos := map[uint32]uint32{}, map[uint32]uint32{}
	alive := map[*compiled]bool{}
	for _, n := range keep {
		from := old.record(n)
		r := t.next()
		r.digest, r.id, r.ends = from.digest, from.id, from.ends
		r.used.Store(from.used.Load())
		r.set = renumber(sets, from.set, &t.sets, &old.sets)
		r.who = renumber(whos, from.who, &t.whos, &old.whos)
		alive[(*t.sets.Load())[r.set]] = true
		t.publish(r)
	}
	for key, n := range c.sets {
		if m, ok := sets[n]; ok {
			c.sets[key] = m
		} else {
			delete(c.sets, key)
		}
	}
	clear(c.whos)
	for n, w := range *t.whos.Load() {
		c.whos[*w] = uint32(n)
	}
	for d, list := range c.deps {
		kept := list[:0:0]
		for _, s := range list {
			if alive[s] {
				kept = append(kept, s)
			}
		}
		if len(kept) == 0 {
			delete(c.deps, d)
		} else {
			c.deps[d] = kept
		}
	}
	c.tab.Store(t)
	return t
}

func renumber[T any](seen map[uint32]uint32, n uint32, to, from *atomic.Pointer[[]T]) uint32 {
	m, ok := seen[n]
	if !ok {
		m = push(to, (*from.Load())[n])
		seen[n] = m
	}
	return m
}

// intern finds or adds the shared parts of l.
func (c *cache) intern(t *table, l *loaded) (set, who uint32) {
	set, ok := c.sets[l.key]
	if !ok || (*t.sets.Load())[set].dead.Load() {
		set = push(&t.sets, l.set)
		c.sets[l.key] = set
		for _, d := range l.set.deps {
			c.deps[d] = append(c.deps[d], l.set)
		}
	}
	who, ok = c.whos[l.who]
	if !ok {
		who = push(&t.whos, &l.who)
		c.whos[l.who] = who
	}
	return set, who
}

// shared finds a compiled set made of the same records, if there is one.
func (c *cache) shared(key [32]byte) *compiled {
	c.mu.Lock()
	defer c.mu.Unlock()
	if n, ok := c.sets[key]; ok {
		if s := (*c.tab.Load().sets.Load())[n]; !s.dead.Load() {
			return s
		}
	}
	return nil
}

// setKey names what a compiled set is made of. A record with its version stands for its content; only what belongs to
// the token alone is spelled out, so that tokens which differ in nothing else share one set. The owner's boundary and
// limits are spelled out too: an owner that was erased begins again with version 1.
func setKey(f *Found) [32]byte {
	t := &f.Token
	key := make([]byte, 0, 512)
	key = appendRef(key, f.Owner.ID, f.Owner.Version)
	key = append(key, flag(t.Kind == KindSecret), flag(t.Full), flag(t.Permissions == nil), flag(anyRole(f)),
		flag(f.Owner.Boundary == nil))
	key = binary.AppendUvarint(key, uint64(t.Validity.Idle.Microseconds()))
	key = binary.AppendUvarint(key, uint64(len(t.Roles)))
	for _, id := range t.Roles {
		key = appendRef(key, id, 0)
	}
	key = binary.AppendUvarint(key, uint64(len(f.Ancestors)))
	for i := range f.Ancestors {
		key = appendRef(key, f.Ancestors[i].ID, f.Ancestors[i].Version)
	}
	order := make([]int, len(f.Roles))
	for i := range order {
		order[i] = i
	}
	slices.SortFunc(order, func(a, b int) int { return strings.Compare(f.Roles[a].ID, f.Roles[b].ID) })
	for _, i := range order {
		key = appendRef(key, f.Roles[i].ID, f.Roles[i].Version)
	}
	r := &t.Restrictions
	if len(t.Permissions)+len(t.Rows)+len(t.Forced)+len(r.Domains)+len(r.Addresses)+len(r.MintFrom) != 0 || r.Signed ||
		t.Limits != (Limits{}) || f.Owner.Boundary != nil || f.Owner.Limits != (Limits{}) {
		own, err := json.Marshal(struct {
			P Permissions
			R []Condition
			F Values
			X Restrictions
			B Permissions
			L [2]Limits
		}{t.Permissions, t.Rows, t.Forced, *r, f.Owner.Boundary, [2]Limits{t.Limits, f.Owner.Limits}})
		if err != nil { // cannot be: everything in it was read from its stored form
			panic("latchkey: " + err.Error())
		}
		key = append(key, own...)
	}
	return sha256.Sum256(key)
}

func appendRef(key []byte, id string, version uint64) []byte {
	key = binary.AppendUvarint(key, uint64(len(id)))
	key = append(key, id...)
	return binary.AppendUvarint(key, version)
}

func flag(b bool) byte {
	if b {
		return 1
	}
	return 0
}
