package tokencache

import (
	"encoding/binary"
	"iter"
)

// ids finds the places of the records of a token. It is a hash table of words of 8 bytes: a hash of the token's id, and
// the place. Different tokens may have the same hash, and a token may have several records. Only the writer uses it.
type ids struct {
	words []uint64
	used  int // words that are not empty
	held  int // of them, those that are not gone
}

// Words that stand for no record. The upper bit of a hash is set, so that no other word is one of them.
const (
	empty = 0
	gone  = 1
)

// idHash is the hash of a token's id.
type idHash uint64

// hashID hashes the random half of a UUIDv7.
func hashID(id [16]byte) idHash {
	return idHash(binary.LittleEndian.Uint64(id[8:]) * 0x9e3779b97f4a7c15)
}

// part chooses one of n tables, a power of two.
func (h idHash) part(n int) int { return int(h>>20) & (n - 1) }

func (h idHash) word(place uint32) uint64 { return uint64(h)>>32<<32 | 1<<63 | uint64(place) }

// from iterates over the indexes from the one where a word is looked for first, to the first that is empty.
func (t *ids) from(word uint64) iter.Seq[int] {
	return func(yield func(int) bool) {
		if len(t.words) == 0 {
			return
		}
		for at := int(word >> 32 << 33 >> 32 * uint64(len(t.words)) >> 32); ; at++ {
			if at == len(t.words) {
				at = 0
			}
			if !yield(at) || t.words[at] == empty {
				return
			}
		}
	}
}

// add adds a place of a token. The same may be added several times.
func (t *ids) add(h idHash, place uint32) {
	if t.used >= len(t.words)/4*3 {
		old := *t
		*t = ids{words: make([]uint64, max(16, t.held/3*5)/4*4)}
		for _, word := range old.words {
			if word > gone {
				t.put(word)
			}
		}
	}
	t.put(h.word(place))
}

func (t *ids) put(word uint64) {
	for at := range t.from(word) {
		if t.words[at] == empty {
			t.words[at] = word
			t.used++
			t.held++
			return
		}
	}
}

// remove removes a place of a token once.
func (t *ids) remove(h idHash, place uint32) {
	word := h.word(place)
	for at := range t.from(word) {
		if t.words[at] == word {
			t.words[at] = gone
			t.held--
			return
		}
	}
}

// places iterates over the places that the records of a token may be at.
func (t *ids) places(h idHash) iter.Seq[uint32] {
	return func(yield func(uint32) bool) {
		first := h.word(0)
		for at := range t.from(first) {
			if word := t.words[at]; word>>32 == first>>32 && !yield(uint32(word)) {
				return
			}
		}
	}
}
