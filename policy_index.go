package latchkey

import (
	"hash/maphash"
	"math/bits"
	"slices"
	"strings"
	"sync/atomic"
	"unicode/utf8"
)

// question is what a policy is asked. A compiled policy is shared by tokens of different clients, so that the client
// comes with the question.
//
// What is found out about the resource is kept here, because a chain asks for it once for each list of rules. A
// question that was made by [NewQuestion] has all of it, so that it is only read from then on.
type question struct {
	action Action
	on     string
	client string // Client.ID; "": none
	// caller fills in the references in forced values. Nil: they stay as they are.
	caller refValues
	apart  *apartRights // what the caller has of the layer that is apart; nil: nothing, and that layer allows nothing

	hash     uint64            // of on; 0: not yet known
	prefixes [maxHashed]uint64 // the hashes up to and with the first "/", the second, …; 0: not yet known
	validity validity          // of on
	concrete bool              // the action is known to be a valid one
	number   uint32            // of a prepared question; 0: none
	segments uint8             // how many there are; 0: not yet known; manySegments: more than ends holds
	ends     [maxEnds]uint16
}

type validity uint8

const (
	validityUnknown validity = iota
	validResource
	invalidResource
)

const (
	maxHashed    = 4
	maxEnds      = 16
	manySegments = 255
)

// valid reports whether the question names one action and a valid resource.
func (q *question) valid() bool {
	if q.validity == validityUnknown {
		q.scan()
	}
	return q.validity == validResource && (q.concrete || q.action.concrete())
}

// scan finds out whether the resource is valid, and where its segments end.
func (q *question) scan() {
	if len(q.on) > maxAsked {
		q.validity, q.segments = invalidResource, manySegments
		return
	}
	ok, wide, n, start := len(q.on) <= maxResource, false, 0, 0
	for i := 0; i < len(q.on); i++ {
		switch byteClass[q.on[i]] {
		case plainByte:
			continue
		case slashByte:
			if emptyOrDots(q.on[start:i]) {
				ok = false
			}
			start = i + 1
			if n < maxEnds {
				q.ends[n] = uint16(i)
			}
			n++
		case badByte:
			ok = false
		default:
			wide = true
		}
	}
	if n < maxEnds {
		q.ends[n] = uint16(len(q.on))
	}
	if n++; n > maxEnds {
		n = manySegments
	}
	q.segments = uint8(n)
	q.validity = invalidResource
	if ok && !emptyOrDots(q.on[start:]) && (!wide || utf8.ValidString(q.on)) {
		q.validity = validResource
	}
}

// complete finds out all that can be known of the question, so that it is only read from then on.
func (q *question) complete() {
	q.scan()
	q.concrete, q.number = q.action.concrete(), questionNumbers.next()
	q.hash = hashOf(q.on)
	if q.segments == manySegments {
		return
	}
	for i := range min(int(q.segments)-1, maxHashed) {
		q.prefixHash(i)
	}
}

// prefixHash returns the hash up to and with a "/", the first being 0. The ends of segments must be known.
func (q *question) prefixHash(i int) uint64 {
	prefix := q.on[:q.ends[i]+1]
	if i >= maxHashed {
		return hashOf(prefix)
	}
	if q.prefixes[i] == 0 {
		q.prefixes[i] = hashOf(prefix)
	}
	return q.prefixes[i]
}

// numbers gives numbers to prepared questions. It is safe for concurrent use.
type numbers struct{ last atomic.Uint64 }

// maxNumber is the greatest number that a slot of verdicts holds. Questions beyond it have none: two never share one.
const maxNumber = 1<<30 - 1

// next returns the next number; 0: there are no more.
func (c *numbers) next() uint32 {
	if c.last.Load() >= maxNumber {
		return 0
	}
	if n := c.last.Add(1); n <= maxNumber {
		return uint32(n)
	}
	return 0
}

var questionNumbers numbers

// keyHash returns the hash of the resource.
func (q *question) keyHash() uint64 {
	if q.hash == 0 {
		q.hash = hashOf(q.on)
	}
	return q.hash
}

var keySeed = maphash.MakeSeed()

// hashOf returns the hash of a key, which is never 0. Nobody outside this process can choose keys that collide.
func hashOf(key string) uint64 { return maphash.String(keySeed, key) | 1 }

// keyKind is which resources an entry of an index covers.
type keyKind uint8

const (
	keyExact keyKind = iota // one: the key is the resource
	keyUnder                // those beneath one: "p/" for "p/*"
	keyStar                 // all that lie not beneath "latchkey/": ""
	keyWild                 // by wildcards of one segment, which are single bytes in the key: found by a [shape]
)

// indexEntry holds the rules of one pattern.
type indexEntry struct {
	key string // see keyKind
	// above is the entry that covers all that this one does, and the least besides. -1: none, or this one is wild. Those
	// of the wildcards of one segment are found apart.
	above                        int32
	firstEffect, effectCount     uint32 // start in ruleset.effects, and number; by action, Any (0) first
	firstPosition, positionCount uint32 // in ruleset.positions
	// action and gives are those of the only effect, if there is one: to look at it there would be one wait more.
	action uint32
	gives  verdict
	kind   keyKind
}

// patternIndex finds the patterns that cover a resource. It is a table with open addressing, at most three quarters
// full.
type patternIndex struct {
	slots   []indexSlot // a power of two
	entries []indexEntry
	star    int32  // the entry of "*"; -1: none
	exact   bool   // some entry is of one resource
	under   uint64 // bit n: an entry "p/" where p has n slashes (63: 63 or more)
}

type indexSlot struct {
	check uint32 // some bits of the hash of the key
	entry uint32 // plus 1; 0: none
}

// newPatternIndex returns an index for about n patterns.
func newPatternIndex(n int) patternIndex {
	return patternIndex{slots: make([]indexSlot, slotsFor(n)), star: -1}
}

func slotsFor(n int) int { return 1 << bits.Len(uint(n+n/3)) }

// find returns the entry of a key, or -1. The index must hold some entry. A search ends at a free slot.
func (x *patternIndex) find(hash uint64, key string, kind keyKind) int32 {
	mask := len(x.slots) - 1
	for i := int(hash>>32) & mask; ; i = (i + 1) & mask {
		s := x.slots[i]
		if s.entry == 0 {
			return -1
		}
		if s.check == uint32(hash) {
			if e := &x.entries[s.entry-1]; e.key == key && e.kind == kind {
				return int32(s.entry - 1)
			}
		}
	}
}

// insert returns the entry of a key, which it makes if there is none.
func (x *patternIndex) insert(key string, kind keyKind) int32 {
	hash := hashOf(key)
	if at := x.find(hash, key, kind); at >= 0 {
		return at
	}
	x.entries = append(x.entries, indexEntry{key: key, above: -1, kind: kind})
	at := int32(len(x.entries) - 1)
	if n := slotsFor(len(x.entries)); n > len(x.slots) {
		x.rebuild(n)
	} else {
		x.place(hash, at)
	}
	switch kind {
	case keyExact:
		x.exact = true
	case keyUnder:
		x.under |= 1 << min(strings.Count(key, "/")-1, 63)
	case keyStar:
		x.star = at
	}
	return at
}

// place puts an entry into the first free slot of its hash.
func (x *patternIndex) place(hash uint64, at int32) {
	mask := len(x.slots) - 1
	i := int(hash>>32) & mask
	for x.slots[i].entry != 0 {
		i = (i + 1) & mask
	}
	x.slots[i] = indexSlot{uint32(hash), uint32(at + 1)}
}

// rebuild places all entries into n slots.
func (x *patternIndex) rebuild(n int) {
	x.slots = make([]indexSlot, n)
	for at := range x.entries {
		x.place(hashOf(x.entries[at].key), int32(at))
	}
}

// seal completes the index once all entries are in it.
func (x *patternIndex) seal() {
	x.entries = slices.Clip(x.entries)
	if n := slotsFor(len(x.entries)); n < len(x.slots) { // many rules of few patterns
		x.rebuild(n)
	}
	for at := range x.entries {
		if e := &x.entries[at]; e.kind == keyExact || e.kind == keyUnder {
			e.above = x.beneath(strings.TrimSuffix(e.key, "/"), e.key)
		}
	}
}

// beneath returns the nearest entry that covers all beneath some resource that the text lies beneath, or everything.
// The resource, or the key, that is asked for tells whether it lies beneath "latchkey/".
func (x *patternIndex) beneath(text, key string) int32 {
	if x.under != 0 {
		depth := strings.Count(text, "/")
		for i := len(text) - 1; i >= 0; i-- {
			if text[i] != '/' {
				continue
			}
			if depth--; x.under&(1<<min(depth, 63)) != 0 {
				if at := x.find(hashOf(text[:i+1]), text[:i+1], keyUnder); at >= 0 {
					return at
				}
			}
		}
	}
	return x.starFor(key)
}

// starFor returns the entry of "*" if that covers the resource, or -1.
func (x *patternIndex) starFor(on string) int32 {
	if x.star >= 0 && !strings.HasPrefix(on, reserved) {
		return x.star
	}
	return -1
}

// nearest returns the entry that covers the resource of a question and the least besides, apart from wildcards of one
// segment. It returns -1 if none does. The entries above it cover the resource too, and no others do.
func (x *patternIndex) nearest(q *question) int32 {
	if x.exact {
		if at := x.find(q.keyHash(), q.on, keyExact); at >= 0 {
			if q.validity != validResource {
				q.validity = validResource // as the pattern is
			}
			return at
		}
	}
	if x.under == 0 {
		return x.starFor(q.on)
	}
	if q.segments == 0 {
		q.scan()
	}
	if q.segments == manySegments {
		return x.beneath(q.on, q.on)
	}
	for i := int(q.segments) - 2; i >= 0; i-- {
		if x.under&(1<<i) == 0 {
			continue
		}
		if at := x.find(q.prefixHash(i), q.on[:q.ends[i]+1], keyUnder); at >= 0 {
			return at
		}
	}
	return x.starFor(q.on)
}
