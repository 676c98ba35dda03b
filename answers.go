package latchkey

import (
	"encoding/binary"
	"hash/maphash"
	"slices"
	"strings"
	"sync/atomic"
)

// answers keeps what [Access.Filter] answered, so that a caller that asks again costs no evaluation, and a condition
// that was bound to a [Schema] costs no Bind.
//
// There are two tables. The first holds what a policy allows on a resource, before references are filled in. It is the
// same for all callers of the policy. The second holds the same for a caller, by the values of its references. An entry
// is found by everything that the answer depends on, so none is ever another caller's. None needs to be removed when
// something changes: a policy never changes, and what takes its place has another number.
//
// Both are of a fixed size, and so is what an entry may hold. An entry takes the place of an older one. They are safe
// for concurrent use, and take no lock.
type answers struct {
	ofPolicy [1 << 8]places[policyAnswer]
	ofCaller [1 << 11]places[callerAnswer]
}

// What an entry may hold: nodes of a condition, and bytes of its texts. What is larger is computed anew.
const (
	keptNodes, keptBytes         = 64, 8 << 10
	keptForCaller, keptTextBytes = 16, 1 << 10
	keptResource                 = 256 // bytes of the resource and of the client's id
)

// policyAnswer is the rows that a policy allows.
type policyAnswer struct {
	policy uint64
	apart  *apartRights // of the caller
	action Action
	on     string
	client string // "" also if the policy does not distinguish clients
	rows   Condition
	refs   []any // the references in rows, each once
	seed   uint64
}

// callerAnswer is the rows that a policy allows a caller.
type callerAnswer struct {
	of     *policyAnswer
	id     [16]byte // of the token, where that is the value of Self
	values []any    // of the references, in their order; nil: it has no value
	rows   Condition
}

// rows returns the condition that a row must meet, with references filled in.
func (a *Access) rows(action Action, on Resource) Condition {
	if a.set == nil {
		return Condition{}
	}
	p := a.set.policy
	if p == nil || p.forcesRefs || a.m == nil || len(on)+len(a.who.client.ID) > keptResource {
		return a.rowsAnew(action, on)
	}
	client := ""
	if p.clientPatterns {
		client = a.who.client.ID
	}
	h := maphash.String(hashSeed, string(on)) ^ maphash.String(hashSeed, string(action))*0x9e3779b97f4a7c15 ^
		p.number*0xff51afd7ed558ccd
	if client != "" {
		h ^= maphash.String(hashSeed, client) * 0xc4ceb9fe1a85ec53
	}
	apart := a.who.apart()
	if apart != nil && apart.rows.n != nil {
		h ^= apart.rows.n.hash * 0x94d049bb133111eb
	}
	at := placesOf(a.m.answers.ofPolicy[:], h)
	for i := range at {
		e := at[i].Load()
		if e == nil {
			continue
		}
		if e.policy == p.number && e.apart == apart && e.on == string(on) && e.action == action && e.client == client {
			return a.callerRows(e)
		}
	}
	q := a.question(action, on)
	rows := p.rowsFor(&q)
	if !rows.fits(keptNodes, keptBytes) {
		return rows.resolve(a.lookup)
	}
	e := &policyAnswer{policy: p.number, apart: apart, action: Action(strings.Clone(string(action))),
		on: strings.Clone(string(on)), client: strings.Clone(client), rows: rows.kept(), seed: h}
	if rows.hasRefs() {
		e.refs = rows.n.appendRefs(nil)
	}
	at.put(e)
	return a.callerRows(e)
}

// rowsAnew is rows without what was kept.
func (a *Access) rowsAnew(action Action, on Resource) Condition {
	q := a.question(action, on)
	return a.set.policy.rowsFor(&q).resolve(a.lookup)
}

// callerRows returns the rows of an answer with the references of the caller filled in.
func (a *Access) callerRows(of *policyAnswer) Condition {
	if len(of.refs) == 0 {
		return of.rows
	}
	h := of.seed
	for _, ref := range of.refs {
		h = h*0x100000001b3 ^ a.hashRef(ref)
	}
	at := placesOf(a.m.answers.ofCaller[:], h)
	for i := range at {
		if e := at[i].Load(); e != nil && e.of == of && a.hasValues(e) {
			return e.rows
		}
	}
	rows := of.rows.resolve(a.lookup)
	if slices.Contains(of.refs, any(SelfRoles)) { // the layers of a token fill it in: see policy.fillSelfRoles
		return rows
	}
	if !rows.fits(keptForCaller, keptTextBytes) {
		return rows
	}
	e := &callerAnswer{of: of, values: make([]any, len(of.refs)), rows: rows.kept()}
	size := 0
	for i, ref := range of.refs {
		if ref == Self && a.who.root == "" {
			e.id = a.id
			continue
		}
		v, ok := a.lookup(ref)
		if !ok {
			continue
		}
		if text, is := v.(string); is {
			v = strings.Clone(text) // it may be a part of a whole record
		}
		e.values[i] = cloneAttribute(v)
		size += attributeSize(v)
	}
	if size > keptTextBytes {
		return rows
	}
	at.put(e)
	return e.rows
}

// hasValues reports whether the caller has the values of e.
func (a *Access) hasValues(e *callerAnswer) bool {
	for i, ref := range e.of.refs {
		was := e.values[i]
		switch ref {
		case Self:
			if a.who.root == "" {
				if was != nil || e.id != a.id {
					return false
				}
				continue
			}
			if was != a.who.root {
				return false
			}
		case ClientID:
			if was != a.who.client.ID && (was != nil || a.who.client.ID != "") {
				return false
			}
		case OwnerID:
			if was != a.who.owner && (was != nil || a.who.owner != "") {
				return false
			}
		default:
			v, ok := a.lookup(ref)
			if ok != (was != nil) || !sameAttribute(was, v) {
				return false
			}
		}
	}
	return true
}

// hashRef returns a hash of the caller's value of a reference.
func (a *Access) hashRef(ref any) uint64 {
	switch ref {
	case Self:
		if a.who.root == "" {
			return binary.LittleEndian.Uint64(a.id[8:]) * 0x9e3779b97f4a7c15
		}
		return maphash.String(hashSeed, a.who.root)
	case ClientID:
		return maphash.String(hashSeed, a.who.client.ID)
	case OwnerID:
		return maphash.String(hashSeed, a.who.owner)
	}
	v, _ := a.lookup(ref)
	switch v := v.(type) {
	case string:
		return maphash.String(hashSeed, v)
	case []string:
		h := uint64(len(v))
		for _, s := range v {
			h = h*0x100000001b3 ^ maphash.String(hashSeed, s)
		}
		return h
	}
	return maphash.Comparable(hashSeed, v)
}

// sameAttribute reports whether two canonical values of an attribute are equal. Nil is that there is none.
func sameAttribute(a, b any) bool {
	list, is := a.([]string)
	if !is {
		return a == b
	}
	other, is := b.([]string)
	return is && slices.Equal(list, other)
}

// attributeSize returns about how many bytes a value holds.
func attributeSize(v any) int {
	switch v := v.(type) {
	case string:
		return len(v)
	case []string:
		n := 16 * len(v)
		for _, s := range v {
			n += len(s)
		}
		return n
	}
	return 16
}

// places are where an entry may be, by its hash.
type places[E any] [4]atomic.Pointer[E]

// placesOf returns the places of a hash in a table, the size of which is a power of two.
func placesOf[E any](table []places[E], h uint64) *places[E] {
	return &table[(h^h>>32)&uint64(len(table)-1)]
}

// put puts e first. The others move on by one, and the last is lost.
func (p *places[E]) put(e *E) {
	for i := range p {
		if e = p[i].Swap(e); e == nil {
			return
		}
	}
}

// fits reports whether a condition has at most so many nodes, values in lists included, and bytes of text.
func (c Condition) fits(nodes, bytes int) bool {
	return c.n == nil || c.n.kind != nodeFault && c.n.count+c.n.items <= nodes && c.n.textSize() <= bytes
}

// textSize returns how many bytes the texts of a tree take.
func (n *node) textSize() int {
	size := len(n.field) + valueSize(n.value)
	for _, p := range n.parts {
		size += p.textSize()
	}
	return size
}

func valueSize(v any) (size int) {
	switch v := v.(type) {
	case []any:
		for _, e := range v {
			size += valueSize(e)
		}
		return size
	case string:
		return len(v)
	}
	return 16
}

// appendRefs appends the references of a tree, without those that are there.
func (n *node) appendRefs(refs []any) []any {
	if n.refs && n.kind == nodeLeaf && !slices.Contains(refs, n.value) {
		refs = append(refs, n.value)
	}
	for _, p := range n.parts {
		refs = p.appendRefs(refs)
	}
	return refs
}
