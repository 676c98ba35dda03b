package tokencache

import (
	"encoding/binary"
	"iter"
	"slices"
	"sync/atomic"
	"unsafe"
)

// Record is one verified secret. It is one cache line and holds no pointer, so the garbage collector does not scan it.
// Apart from Seen, Used and a mark that it is dead it does not change after it was published.
type Record struct {
	key  atomic.Uint64 // with rest: the first half of the secret's SHA-256; nobody can aim at 128 bits. 0: no record
	rest uint64
	ID   [16]byte // of the token
	Ends int64    // µs since 1970; math.MaxInt64: never
	// Seen is the last use, of a token that idles out: µs since 1970. 0: not known. Any goroutine may change it. What is
	// stored while the segment is replaced may be lost.
	Seen atomic.Int64
	// Used is the last use that was, or will be, written: s since 1970. Any goroutine may change it.
	Used   atomic.Uint32
	state  atomic.Uint32 // dead and retired; in the upper bits the number of the Put
	bearer uint32        // index in segment.bearers
	_      [4]byte
}

var _ = [1]struct{}{}[unsafe.Sizeof(Record{})-64] // does not compile unless a record is 64 bytes

const (
	dead    = 1 << 0
	retired = 1 << 1
	putBits = 2 // the number of the Put begins at this bit
)

// Retired reports whether the secret has an end of its own.
func (r *Record) Retired() bool { return r.state.Load()&retired != 0 }

// secretKey is what a record is found by.
type secretKey struct{ key, rest uint64 }

func keyOfSum(sum *[32]byte) secretKey {
	key := binary.LittleEndian.Uint64(sum[:8])
	if key == 0 {
		key = 1 // 0 marks an empty slot
	}
	return secretKey{key, binary.LittleEndian.Uint64(sum[8:16])}
}

// place says where a record is: the upper bits choose the segment, and the others where to begin in it.
func (k secretKey) place() uint32 { return uint32(k.key >> 32) }

// segment is a part of the hash table, which readers search without a lock. A record lies in the first free slot from
// its place on. The one writer fills a slot and then publishes it by its key. Slots are not used twice: a segment that
// has no room left is replaced by one without the dead records.
type segment[S any, P comparable] struct {
	slots   [][2]Record // pairs, because processors load two lines at once
	bearers atomic.Pointer[[]*bearer[S, P]]
	bits    uint8 // how many upper bits all its places have in common

	// Only the writer uses these.
	used, room uint32
	puts       uint32 // how many there were, of this segment and those before it
}

// A segment is replaced when so much of it is used. Then it gets room for an eighth more. So between 66 and 75 % of the
// slots of a cache that grows are used.
const (
	fullest    = 0.75
	growBy     = 8 // the part of what is there
	leastRoom  = 12
	mostShared = 32 // bearers of a segment that are looked at before one is listed again
)

// newSegment returns an empty segment with room for some records.
func newSegment[S any, P comparable](room uint32, bits uint8) *segment[S, P] {
	s := &segment[S, P]{slots: make([][2]Record, uint32(float64(room)/fullest)/2+1), bits: bits, room: room}
	s.bearers.Store(new([]*bearer[S, P]))
	return s
}

// start returns the pair in which a record is looked for first.
func (s *segment[S, P]) start(place uint32) uint64 {
	return uint64(place<<(s.bits&31)) * uint64(len(s.slots)) >> 32
}

// find returns the record of a secret that is not dead, and nil if there is none.
func (s *segment[S, P]) find(k secretKey) *Record {
	for at := s.start(k.place()); ; at++ {
		if at == uint64(len(s.slots)) {
			at = 0
		}
		pair := &s.slots[at]
		for i := range pair {
			r := &pair[i]
			key := r.key.Load()
			if key == k.key && r.rest == k.rest && r.state.Load()&dead == 0 {
				return r
			}
			if key == 0 {
				return nil
			}
		}
	}
}

// from iterates over the slots from a place on, without end. The first that has no record is the last that matters.
func (s *segment[S, P]) from(place uint32) iter.Seq[*Record] {
	return func(yield func(*Record) bool) {
		for at := s.start(place); ; at++ {
			if at == uint64(len(s.slots)) {
				at = 0
			}
			for i := range s.slots[at] {
				if !yield(&s.slots[at][i]) {
					return
				}
			}
		}
	}
}

// bearerOf returns the bearer of a record.
func (s *segment[S, P]) bearerOf(r *Record) *bearer[S, P] { return (*s.bearers.Load())[r.bearer] }

// next returns the slot of a record with this key. There must be room.
func (s *segment[S, P]) next(k secretKey) *Record {
	for r := range s.from(k.place()) {
		if r.key.Load() == 0 {
			return r
		}
	}
	panic("unreachable")
}

// publish makes a record that next returned visible to readers.
func (s *segment[S, P]) publish(r *Record, k secretKey) {
	s.used++
	r.rest = k.rest
	r.key.Store(k.key)
}

// list returns the index of a bearer, which it adds if it is not among the first ones.
func (s *segment[S, P]) list(b *bearer[S, P]) uint32 {
	all := *s.bearers.Load()
	if i := slices.Index(all[:min(len(all), mostShared)], b); i >= 0 {
		return uint32(i)
	}
	all = append(all, b)
	s.bearers.Store(&all)
	return uint32(len(all) - 1)
}

// live reports whether a record is valid, or will be once its group has a value again.
func (s *segment[S, P]) live(r *Record) bool {
	return r.state.Load()&dead == 0 && !s.bearerOf(r).group.dead
}

// age returns how many records were put after this one.
func (s *segment[S, P]) age(r *Record) uint32 {
	return (s.puts<<putBits - r.state.Load()&^(1<<putBits-1)) >> putBits
}

// split returns the records that are kept when s is replaced, and those that are dropped. Most is how many a segment
// may hold. If more than three quarters of it are valid, s is full: the next one would soon have to be replaced again.
func (s *segment[S, P]) split(most uint32) (keep, drop []*Record, full bool) {
	keep = make([]*Record, 0, s.used)
	for i := range s.slots {
		for j := range s.slots[i] {
			r := &s.slots[i][j]
			if r.key.Load() == 0 {
				continue
			}
			if s.live(r) {
				keep = append(keep, r)
			} else {
				drop = append(drop, r)
			}
		}
	}
	return keep, drop, s.room >= most && uint64(len(keep))*4 > uint64(most)*3
}

// evict divides records into the newer half, which is kept, and the others.
func (s *segment[S, P]) evict(all []*Record) (keep, drop []*Record) {
	ages := make([]uint32, len(all))
	for i, r := range all {
		ages[i] = s.age(r)
	}
	slices.Sort(ages)
	oldest := ages[len(ages)/2]
	for _, r := range all {
		if s.age(r) < oldest {
			keep = append(keep, r)
		} else {
			drop = append(drop, r)
		}
	}
	return keep, drop
}

// halves divides records, whose places have some upper bits in common, by the next bit.
func halves(all []*Record, bits uint8) (low, high []*Record) {
	for _, r := range all {
		if (secretKey{key: r.key.Load()}).place()<<(bits&31)>>31 == 0 {
			low = append(low, r)
		} else {
			high = append(high, r)
		}
	}
	return low, high
}

// grown returns a segment with the records keep of s, in place of it or of the half of it that has one bit more.
func (s *segment[S, P]) grown(keep []*Record, most uint32, bits uint8) *segment[S, P] {
	n := uint32(len(keep))
	to := newSegment[S, P](min(max(n+n/growBy, leastRoom), most), bits)
	to.puts = s.puts
	old := *s.bearers.Load()
	var all []*bearer[S, P]
	moved := make([]uint32, len(old)) // new indexes + 1; 0: not yet
	for _, from := range keep {
		if moved[from.bearer] == 0 {
			all = append(all, old[from.bearer])
			moved[from.bearer] = uint32(len(all))
		}
		k := secretKey{from.key.Load(), from.rest}
		r := to.next(k)
		r.ID, r.Ends, r.bearer = from.ID, from.Ends, moved[from.bearer]-1
		r.Seen.Store(from.Seen.Load())
		r.Used.Store(from.Used.Load())
		r.state.Store(from.state.Load())
		to.publish(r, k)
	}
	all = slices.Clip(all)
	to.bearers.Store(&all)
	return to
}
