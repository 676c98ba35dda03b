package tokencache

import (
	"encoding/binary"
	"sync/atomic"
	"unsafe"
)

// Record is one verified secret. It is one cache line and holds no pointer, so the garbage collector does not scan it.
// Apart from Used and dead it does not change after it was published.
type Record struct {
	digest [16]byte // the first half of the secret's SHA-256; nobody can aim at 128 bits
	ID     [16]byte // of the token
	Ends   int64    // µs since 1970; math.MaxInt64: never
	// Used is the last use that was, or will be, written: s since 1970. Any goroutine may change it.
	Used      atomic.Uint32
	shared    uint32 // index in table.shared
	principal uint32 // index in table.principals
	dead      atomic.Bool
	Retired   bool // the secret has an end of its own
	_         [7]byte
}

var _ = [1]struct{}{}[unsafe.Sizeof(Record{})-64] // does not compile unless a record is 64 bytes

const (
	chunkBits = 10
	chunkSize = 1 << chunkBits
)

// table is a hash table that readers search without a lock. The one writer appends records, shared values and
// principals, and only then publishes a record through its atomic index slot: a reader that sees the slot sees what it
// leads to. A full table is replaced as a whole.
type table[S any, P comparable] struct {
	mask       uint64
	index      []atomic.Uint64 // upper half: a tag of the digest; lower half: record number + 1; 0: empty
	chunks     atomic.Pointer[[]*[chunkSize]Record]
	shared     atomic.Pointer[[]*Shared[S]]
	principals atomic.Pointer[[]*P]

	// Only the writer uses these.
	byID     []uint32 // record number + 1, hashed by token id
	n        uint32   // records published
	capacity uint32   // records there is room for
}

// newTable returns an empty table with room for at least capacity records.
func newTable[S any, P comparable](capacity uint32) *table[S, P] {
	size := uint64(2 * chunkSize)
	for size < 2*uint64(capacity) {
		size *= 2
	}
	t := &table[S, P]{
		mask:     size - 1,
		index:    make([]atomic.Uint64, size),
		byID:     make([]uint32, size),
		capacity: uint32(size / 2),
	}
	t.chunks.Store(new([]*[chunkSize]Record))
	t.shared.Store(new([]*Shared[S]))
	t.principals.Store(new([]*P))
	return t
}

func (t *table[S, P]) record(n uint32) *Record {
	return &(*t.chunks.Load())[n>>chunkBits][n&(chunkSize-1)]
}

// find returns the newest record of a digest, valid or not, and nil if there is none.
func (t *table[S, P]) find(sum *[32]byte) *Record {
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

// live returns the shared value of a record, and reports whether neither was invalidated.
func (t *table[S, P]) live(r *Record) (*S, bool) {
	if r.dead.Load() {
		return nil, false
	}
	s := (*t.shared.Load())[r.shared]
	return &s.Value, !s.dead.Load()
}

// principalOf returns the principal of a record.
func (t *table[S, P]) principalOf(r *Record) *P { return (*t.principals.Load())[r.principal] }

// next returns the record that publish will make visible.
func (t *table[S, P]) next() *Record {
	if int(t.n>>chunkBits) == len(*t.chunks.Load()) {
		appendTo(&t.chunks, new([chunkSize]Record))
	}
	return t.record(t.n)
}

// publish makes r, the record that next returned, visible to readers. It replaces an older record of the same secret.
func (t *table[S, P]) publish(r *Record) {
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
	i := idHash(r.ID) & t.mask
	for t.byID[i] != 0 {
		i = (i + 1) & t.mask
	}
	t.byID[i] = t.n
}

// invalidate marks all records of a token dead. A token of another owner may have the same id.
func (t *table[S, P]) invalidate(owner string, id [16]byte) {
	shared := *t.shared.Load()
	for i := idHash(id) & t.mask; t.byID[i] != 0; i = (i + 1) & t.mask {
		if r := t.record(t.byID[i] - 1); r.ID == id && shared[r.shared].owner == owner {
			r.dead.Store(true)
		}
	}
}

// idHash returns the random half of a UUIDv7.
func idHash(id [16]byte) uint64 { return binary.LittleEndian.Uint64(id[8:]) }

// appendTo appends v to a list that others read, and returns its index.
func appendTo[T any](list *atomic.Pointer[[]T], v T) uint32 {
	grown := append(*list.Load(), v)
	list.Store(&grown)
	return uint32(len(grown) - 1)
}

// renumber returns the index in to of element n of from, and copies the element there the first time. Moved maps old
// indexes to new ones.
func renumber[T any](moved map[uint32]uint32, n uint32, to, from *atomic.Pointer[[]T]) uint32 {
	m, ok := moved[n]
	if !ok {
		m = appendTo(to, (*from.Load())[n])
		moved[n] = m
	}
	return m
}
