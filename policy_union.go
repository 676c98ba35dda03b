package latchkey

import (
	"slices"
	"sync"
	"sync/atomic"
)

// roleUnion is the rules of roles that only add: what they give together is the most that any of their rules that match
// gives. That is so of a role without a boundary whose lists, and those that it inherits, take nothing back: see
// ruleset.plain. A Deny speaks within its own list only, so a list with one is never a member. Neither is a role whose
// Allow of some rows replaces what it inherits.
//
// Many members are joined into one list, once asking each of them has cost more than joining them does. So a union that
// is rarely asked costs nothing but the questions, and one that is often asked at most twice what it had to. It is safe
// for concurrent use.
type roleUnion struct {
	members []*ruleset // each once
	entries int64      // of the members together
	asked   atomic.Int64
	mu      sync.Mutex // held while the members are joined
	joined  atomic.Pointer[ruleset]
}

const (
	// fewMembers are asked one after the other, always.
	fewMembers = 3
	// joinCost is what joining one entry costs, in questions to one member.
	joinCost = 8
)

func newRoleUnion(members []*ruleset) *roleUnion {
	u := &roleUnion{members: members}
	for _, s := range members {
		u.entries += int64(len(s.entries))
	}
	return u
}

// verdict returns what the members give together.
func (u *roleUnion) verdict(q *question) verdict {
	if len(u.members) > fewMembers {
		if s := u.join(); s != nil {
			return s.gives(q)
		}
	}
	v := verdictNone
	for _, s := range u.members {
		if v = max(v, s.gives(q)); v == verdictAll {
			break
		}
	}
	return v
}

// join returns the members as one list; nil while it is not worth while, and while another question joins them.
func (u *roleUnion) join() *ruleset {
	if s := u.joined.Load(); s != nil {
		return s
	}
	if u.asked.Add(int64(len(u.members))) < joinCost*u.entries || !u.mu.TryLock() {
		return nil
	}
	defer u.mu.Unlock()
	if u.joined.Load() == nil {
		u.joined.Store(joinRulesets(u.members))
	}
	return u.joined.Load()
}

// withShapes returns shapes and more, in order. It does not change shapes.
func withShapes(shapes, more []shape) []shape {
	if len(more) == 0 {
		return shapes
	}
	shapes = slices.Clone(shapes)
	for _, s := range more {
		shapes = addShape(shapes, s)
	}
	return shapes
}

// joinRulesets returns one list that gives what the most generous of several plain ones does. It has an index and
// effects, and no rules, so that it answers ruleset.gives and nothing else.
func joinRulesets(sets []*ruleset) *ruleset {
	total := 0
	ids := map[Action]uint32{Any: 0}
	u := &ruleset{plain: true}
	for _, s := range sets {
		total += len(s.entries)
		for _, a := range s.actions {
			if _, ok := ids[a]; !ok {
				ids[a] = uint32(len(ids))
				u.actions = append(u.actions, a)
			}
		}
	}
	u.setActions(ids)
	u.patternIndex = newPatternIndex(total)
	at := make([]int32, 0, total) // the entry of u for each entry of the sets
	for _, s := range sets {
		for i := range s.entries {
			e := u.insert(s.entries[i].key, s.entries[i].kind)
			u.entries[e].positionCount++ // how many are joined in it
			at = append(at, e)
		}
	}
	u.seal()
	u.joinEffects(sets, ids, at)
	for _, s := range sets {
		for i := range s.shapes {
			u.joinShape(&s.shapes[i], s)
		}
	}
	return u
}

// part is an entry of a set that is joined.
type part struct{ set, entry int32 }

// joinEffects computes the effects of each entry from those of the parts that are joined in it.
func (s *ruleset) joinEffects(sets []*ruleset, ids map[Action]uint32, at []int32) {
	parts, n := make([]part, len(at)), uint32(0)
	for i := range s.entries {
		e := &s.entries[i]
		e.firstPosition = n
		n += e.positionCount
		e.positionCount = 0
	}
	for of, set := range sets {
		for i := range set.entries {
			e := &s.entries[at[0]]
			parts[e.firstPosition+e.positionCount] = part{int32(of), int32(i)}
			e.positionCount++
			at = at[1:]
		}
	}
	number := make([][]uint32, len(sets)) // the numbers of the actions of each set
	for i, set := range sets {
		number[i] = []uint32{0}
		for _, a := range set.actions {
			number[i] = append(number[i], ids[a])
		}
	}
	w := effectWriter{s, make([]int32, len(ids))}
	s.effects = make([]ruleEffect, 0, len(s.entries))
	for i := range s.entries {
		e := &s.entries[i]
		e.firstEffect = uint32(len(s.effects))
		for _, p := range parts[e.firstPosition : e.firstPosition+e.positionCount] {
			set := sets[p.set]
			of := &set.entries[p.entry]
			for _, t := range set.effects[of.firstEffect : of.firstEffect+of.effectCount] {
				w.of(number[p.set][t.action]).atLeast(t.gives)
			}
		}
		w.finish(e)
		e.firstPosition, e.positionCount = 0, 0
	}
	s.effects = slices.Clip(s.effects)
}

// atLeast makes the effect give v, or more if it does already.
func (e *ruleEffect) atLeast(v verdict) {
	switch v {
	case verdictAll:
		e.reset, e.settled = 0, verdictAll
	case verdictSome:
		e.grant = 0
	}
}

// joinShape adds the entries of a shape of a set to the same shape of s.
func (s *ruleset) joinShape(from *shape, set *ruleset) {
	s.shapes = addShape(s.shapes, shape{depth: from.depth, under: from.under, last: from.last, wild: from.wild})
	at, _ := slices.BinarySearchFunc(s.shapes, *from, shape.compare)
	sh := &s.shapes[at]
	if sh.entries == nil {
		sh.entries = make(map[string]int32, len(from.entries))
	}
	for short, entry := range from.entries {
		sh.entries[short] = s.insert(set.entries[entry].key, keyWild)
	}
}
