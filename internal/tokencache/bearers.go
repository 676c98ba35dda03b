package tokencache

import (
	"hash/maphash"
	"iter"
)

// bearers finds the bearer of a group and a principal. It is a hash table with open addressing, at most four fifths
// full: a map would hold the principals once more. Only the writer uses it.
type bearers[S any, P comparable] struct {
	slots []*bearer[S, P]
	held  int
}

var bearerSeed = maphash.MakeSeed()

// hashBearer returns the hash of a bearer's group and principal, which is never 0.
func hashBearer[S any, P comparable](g *group[S], p *P) uint32 {
	h := maphash.Comparable(bearerSeed, g) ^ maphash.Comparable(bearerSeed, *p)
	return uint32(h>>32) | 1<<31
}

// first returns the index at which a hash is looked for first. The lowest bits are the same for all of a table.
func (t *bearers[S, P]) first(hash uint32) int {
	return int(uint64(hash*0x9e3779b1) * uint64(len(t.slots)) >> 32)
}

// from iterates over the indexes from the one where a hash is looked for first, to the first that is free.
func (t *bearers[S, P]) from(hash uint32) iter.Seq[int] {
	return func(yield func(int) bool) {
		if len(t.slots) == 0 {
			return
		}
		for at := t.first(hash); ; at++ {
			if at == len(t.slots) {
				at = 0
			}
			if !yield(at) || t.slots[at] == nil {
				return
			}
		}
	}
}

// find returns the bearer of a group and a principal with this hash, nil if there is none.
func (t *bearers[S, P]) find(hash uint32, g *group[S], p *P) *bearer[S, P] {
	for at := range t.from(hash) {
		if b := t.slots[at]; b != nil && b.hash == hash && b.group == g && b.principal == *p {
			return b
		}
	}
	return nil
}

// add adds a bearer that find does not find.
func (t *bearers[S, P]) add(b *bearer[S, P]) {
	if t.held >= len(t.slots)/5*4 {
		t.rebuild()
	}
	t.put(b)
	t.held++
}

// rebuild makes room for an eighth more.
func (t *bearers[S, P]) rebuild() {
	old := t.slots
	t.slots = make([]*bearer[S, P], max(5, (t.held+t.held/8)/4*5+5))
	for _, b := range old {
		if b != nil {
			t.put(b)
		}
	}
}

func (t *bearers[S, P]) put(b *bearer[S, P]) {
	for at := range t.from(b.hash) {
		if t.slots[at] == nil {
			t.slots[at] = b
			return
		}
	}
}

// remove removes a bearer, if it is there. What lies behind it moves up, so that a search for it does not end before.
func (t *bearers[S, P]) remove(b *bearer[S, P]) {
	for at := range t.from(b.hash) {
		if t.slots[at] != b {
			continue
		}
		t.slots[at] = nil
		t.held--
		for next := at + 1; ; next++ {
			if next == len(t.slots) {
				next = 0
			}
			o := t.slots[next]
			if o == nil {
				return
			}
			t.slots[next] = nil
			t.put(o)
		}
	}
}
