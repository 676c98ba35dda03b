package latchkey

import (
	"fmt"
	"hash/maphash"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"
)

// Condition is a row filter: an immutable tree of comparisons, made by [Where], [All], [AnyOf] and [Not]. The zero
// Condition admits no row; [AllRows] is the only one that admits every row. Safe for concurrent use.
//
// A comparison admits a row only if the row's value is known: present, not NULL, and fit for the type of the field. The
// same holds for its negation, so a missing value never lets a row in; only [IsNull] admits NULL. Therefore c and Not(c)
// together may still leave rows out. The full complement of region = "EU" is
//
//	AnyOf(Where("region", Ne, "EU"), Where("region", IsNull, true))
//
// The constructors never panic. A Condition made from something malformed remembers the fault: it admits no row, nor
// does anything made from it, Bind refuses it, and [Condition.Validate] says what is wrong.
type Condition struct{ n *node }

// Op compares a field of a row with a value.
type Op string

const (
	Eq         Op = "="
	Ne         Op = "!="
	Lt         Op = "<"
	Le         Op = "<="
	Gt         Op = ">"
	Ge         Op = ">="
	In         Op = "in"          // the value is a slice; of an empty one nothing is in
	Contains   Op = "contains"    // text, byte for byte
	StartsWith Op = "starts-with" // text, byte for byte
	IsNull     Op = "is-null"     // the value is true or false
)

// RefVar stands for a value known only when an Access answers.
type RefVar uint8

const (
	Self      RefVar = iota + 1 // the id of the root of the asking token's chain; of an Assumed caller its Client.ID
	SelfRoles                   // the ids of the roles of the token whose rules or rows they are: a list, for In
	ClientID                    // Client.ID of the asking token
	OwnerID                     // the owner of the asking token
)

var refNames = [...]string{Self: "self", SelfRoles: "self_roles", ClientID: "client_id", OwnerID: "owner_id"}

// String is the name of the reference in JSON.
func (v RefVar) String() string {
	if v.valid() {
		return refNames[v]
	}
	return "RefVar(" + strconv.Itoa(int(v)) + ")"
}

func (v RefVar) valid() bool { return v >= Self && v <= OwnerID }

// Limits of one condition. What a host or a caller hands in obeys the first set; what latchkey makes of several such
// (the meet of a chain) obeys the second. Depth counts the nesting of the JSON form, so that a condition that was
// accepted can be read back from inside a record.
var (
	givenLimits    = conditionLimits{nodes: 1000, depth: 24, items: 4096}
	composedLimits = conditionLimits{nodes: 8000, depth: 96, items: 4096}
)

type conditionLimits struct{ nodes, depth, items int }

const (
	maxValueBytes = 64 << 10 // of one text value
	maxListItems  = 1000     // of one list
	maxNameBytes  = 512      // of a field name
)

// node is one point of the tree. It never changes once made.
type node struct {
	kind  nodeKind
	refs  bool // a reference lies at or beneath it
	rule  bool // a leaf that a rule made: what is wrong with it is the host's mistake
	depth int  // nesting of its JSON form
	count int  // nodes, itself included
	items int  // values in lists, in all
	hash  uint64

	field string // leaf
	op    Op
	value any // string, bool, int64, json.Number, RefVar, or []any of the first four

	parts []*node         // all, any, not
	fault *ConditionError // fault
}

type nodeKind uint8

const (
	nodeEvery nodeKind = iota + 1 // AllRows; only ever the root
	nodeNever                     // not known to be true, nor its negation: a reference without a value
	nodeLeaf
	nodeAll
	nodeAny
	nodeNot
	nodeFault // only ever the root: it swallows what it is combined with
)

var (
	everyRow = &node{kind: nodeEvery, depth: 1, count: 1}
	neverRow = &node{kind: nodeNever, depth: 1, count: 1, hash: 1}
)

// AllRows is the only condition that admits every row.
var AllRows = Condition{everyRow}

// Where compares a field with a value. The value is a string, a bool, any integer or float, a json.Number, a time.Time
// (cut to microseconds), or a [RefVar]; for [In] a slice of such (of no RefVar), or [SelfRoles]. Whether it fits the
// type of the field is for Bind to say: text from a form binds to every type.
func Where(field string, op Op, value any) Condition {
	c := leaf(field, op, value)
	return c.within(givenLimits)
}

// All admits the rows that every part admits. A part that admits no row makes the whole admit none. All of nothing is
// refused, for it would be every row.
func All(parts ...Condition) Condition { return group(nodeAll, parts).within(givenLimits) }

// AnyOf admits the rows that some part admits. AnyOf of nothing is refused.
func AnyOf(parts ...Condition) Condition { return group(nodeAny, parts).within(givenLimits) }

// Not admits the rows that c is known to refuse: a row whose value is unknown is admitted neither by a comparison nor by
// its negation. Not of the zero Condition is the zero Condition, not every row: nothing said never becomes a right.
func Not(c Condition) Condition { return not(c).within(givenLimits) }

// IsAllRows says whether c is [AllRows].
func (c Condition) IsAllRows() bool { return c.n != nil && c.n.kind == nodeEvery }

// IsNoRows says whether c is the zero Condition. One that merely happens to admit no row, such as [In] of an empty
// list, is not.
func (c Condition) IsNoRows() bool { return c.n == nil }

// Equal says whether both are the same tree: the same comparisons in the same order. Different trees may still admit
// the same rows.
func (c Condition) Equal(d Condition) bool { return sameNode(c.n, d.n) }

// Validate says, with a *ConditionError, what is malformed about c: an unknown operator, a value of a wrong kind, an
// empty All or AnyOf, text with a NUL or invalid UTF-8, or something too large (a text of 64 KiB, a list of 1,000
// values, 4,096 such values in all, 1,000 comparisons, or nesting of 24 in its JSON form). Whether fields exist and
// values fit them is for Bind to say.
func (c Condition) Validate() error {
	if d := c.within(givenLimits); d.n != nil && d.n.kind == nodeFault {
		return d.n.fault
	}
	return nil
}

// faulty is a condition that admits no row and says why.
func faulty(field, reason string) Condition {
	return Condition{&node{kind: nodeFault, depth: 1, count: 1, fault: &ConditionError{Field: field, Reason: reason}}}
}

// ofRule is c with a note at each leaf that a rule made it.
func (c Condition) ofRule() Condition {
	if c.n == nil {
		return c
	}
	return Condition{c.n.ofRule()}
}

func (n *node) ofRule() *node {
	switch n.kind {
	case nodeLeaf:
		if n.rule {
			return n
		}
		of := *n
		of.rule = true
		return &of
	case nodeAll, nodeAny, nodeNot:
		of := *n
		of.parts = make([]*node, len(n.parts))
		for i, p := range n.parts {
			of.parts[i] = p.ofRule()
		}
		return &of
	}
	return n
}

func (c Condition) within(l conditionLimits) Condition {
	var f Condition
	switch n := c.n; {
	case n == nil || n.kind == nodeFault:
		return c
	case n.count > l.nodes:
		f = faulty("", fmt.Sprintf("more than %d comparisons", l.nodes))
	case n.depth > l.depth:
		f = faulty("", fmt.Sprintf("nested deeper than %d", l.depth))
	case n.items > l.items:
		f = faulty("", fmt.Sprintf("more than %d values in lists", l.items))
	default:
		return c
	}
	f.n.fault.OfRule = l == composedLimits // no caller composes
	return f
}

var hashSeed = maphash.MakeSeed()

func leaf(field string, op Op, value any) Condition {
	if reason := checkName(field); reason != "" {
		if !utf8.ValidString(field) || len(field) > maxNameBytes {
			field = "" // not fit to be shown
		}
		return faulty(field, reason)
	}
	v, reason := canonicalFor(op, value)
	if reason != "" {
		return faulty(field, reason)
	}
	n := &node{kind: nodeLeaf, depth: 1, count: 1, field: field, op: op, value: v}
	switch v := v.(type) {
	case RefVar:
		n.refs, n.depth = true, 2
	case []any:
		n.items, n.depth = len(v), 2
	}
	var h maphash.Hash
	h.SetSeed(hashSeed)
	h.WriteString(field)
	h.WriteByte(0)
	h.WriteString(string(op))
	hashValue(&h, v)
	n.hash = h.Sum64()
	return Condition{n}
}

// canonicalFor gives the value the one form it has inside a condition, or says why op cannot take it.
func canonicalFor(op Op, value any) (v any, reason string) {
	switch op {
	case Eq, Ne, Lt, Le, Gt, Ge, Contains, StartsWith, IsNull:
		v, reason = canonical(value)
	case In:
		if ref, ok := value.(RefVar); ok {
			if ref != SelfRoles {
				return nil, "in takes a list or the reference self_roles"
			}
			return ref, ""
		}
		return canonicalList(value)
	default:
		return nil, "unknown operator"
	}
	if reason != "" {
		return nil, reason
	}
	if ref, ok := v.(RefVar); ok {
		switch {
		case !ref.valid():
			return nil, "unknown reference"
		case ref == SelfRoles:
			return nil, "the reference self_roles is a list: it goes with in"
		case op == IsNull:
			return nil, "is-null takes true or false"
		}
		return ref, ""
	}
	text, isText := v.(string)
	_, isBool := v.(bool)
	switch {
	case op == IsNull && !isBool:
		return nil, "is-null takes true or false"
	case (op == Contains || op == StartsWith) && !isText:
		return nil, string(op) + " takes text"
	case (op == Contains || op == StartsWith) && text == "":
		return nil, string(op) + " of an empty text would admit every known value"
	}
	return v, ""
}

// allOf, anyOf and not are All, AnyOf and Not for what latchkey itself makes of conditions it was given: the whole may
// be larger than a given one may be.
func allOf(parts ...Condition) Condition { return group(nodeAll, parts).within(composedLimits) }
func anyOf(parts ...Condition) Condition { return group(nodeAny, parts).within(composedLimits) }

func not(c Condition) Condition {
	if c.n == nil {
		return c
	}
	switch c.n.kind {
	case nodeEvery:
		return Condition{}
	case nodeFault, nodeNever:
		return c
	case nodeNot:
		return Condition{c.n.parts[0]}
	}
	return Condition{&node{kind: nodeNot, refs: c.n.refs, depth: c.n.depth + 1, count: c.n.count + 1, items: c.n.items,
		hash: c.n.hash ^ 0x9e3779b97f4a7c15, parts: []*node{c.n}}}
}

// group joins parts by kind, nodeAll or nodeAny. It flattens, drops duplicates, and leaves AllRows and the zero
// Condition nowhere but at the root.
func group(kind nodeKind, parts []Condition) Condition {
	if len(parts) == 0 {
		return faulty("", "All or AnyOf of nothing")
	}
	size := 0
	every, zero := false, false
	for _, p := range parts {
		switch {
		case p.n == nil:
			zero = true
		case p.n.kind == nodeFault:
			return p // a fault never admits a row, whatever stands beside it
		case p.n.kind == nodeEvery:
			every = true
		case p.n.kind == kind:
			size += len(p.n.parts)
		default:
			if p.n.kind == nodeNever && kind == nodeAll {
				zero = true
			}
			size++
		}
	}
	switch {
	case kind == nodeAll && zero:
		return Condition{}
	case kind == nodeAny && every:
		return AllRows
	case size == 0 && every:
		return AllRows
	case size == 0:
		return Condition{}
	}

	flat := make([]*node, 0, size)
	for _, p := range parts {
		switch {
		case p.n == nil || p.n.kind == nodeEvery:
		case p.n.kind == kind:
			flat = append(flat, p.n.parts...)
		default:
			flat = append(flat, p.n)
		}
	}
	flat = distinct(flat)
	if len(flat) == 1 {
		if flat[0].kind == nodeNever {
			return Condition{}
		}
		return Condition{flat[0]}
	}
	n := &node{kind: kind, count: 1, hash: uint64(kind), parts: flat}
	for _, p := range flat {
		n.refs = n.refs || p.refs
		n.depth = max(n.depth, p.depth+2)
		n.count += p.count
		n.items += p.items
		n.hash = (n.hash ^ p.hash) * 0x100000001b3
	}
	return Condition{n}
}

// distinct drops later copies of equal nodes, in place.
func distinct(nodes []*node) []*node {
	if len(nodes) <= 16 {
		kept := nodes[:0]
		for _, n := range nodes {
			if !slices.ContainsFunc(kept, func(k *node) bool { return sameNode(k, n) }) {
				kept = append(kept, n)
			}
		}
		return kept
	}
	seen := make(map[uint64][]*node, len(nodes))
	kept := nodes[:0]
	for _, n := range nodes {
		if slices.ContainsFunc(seen[n.hash], func(k *node) bool { return sameNode(k, n) }) {
			continue
		}
		seen[n.hash] = append(seen[n.hash], n)
		kept = append(kept, n)
	}
	return kept
}

func sameNode(a, b *node) bool {
	if a == b {
		return true
	}
	if a == nil || b == nil || a.hash != b.hash || a.kind != b.kind {
		return false
	}
	switch a.kind {
	case nodeLeaf:
		return a.field == b.field && a.op == b.op && sameValue(a.value, b.value)
	case nodeFault:
		return *a.fault == *b.fault
	}
	return slices.EqualFunc(a.parts, b.parts, sameNode)
}

// hasRefs says whether c holds a reference, so that it cannot be bound before resolve.
func (c Condition) hasRefs() bool { return c.n != nil && c.n.refs }

// resolve fills references in: lookup gives a string for Self, ClientID and OwnerID, a []string for SelfRoles; the
// reference itself stands for one that is left. A
// reference without a value (or with an empty text) admits nothing, and neither does its negation: negations are pushed
// down to the comparisons first, and what could not be filled in stays in the tree, so that a Not around the result
// cannot turn it into a right.
func (c Condition) resolve(lookup func(RefVar) (any, bool)) Condition {
	if !c.hasRefs() {
		return c
	}
	r := c.n.resolve(lookup, false).within(composedLimits)
	if r.n == neverRow {
		return Condition{}
	}
	return r
}

func (n *node) resolve(lookup func(RefVar) (any, bool), negated bool) Condition {
	if !n.refs {
		if negated {
			return not(Condition{n})
		}
		return Condition{n}
	}
	switch n.kind {
	case nodeNot:
		return n.parts[0].resolve(lookup, !negated)
	case nodeAll, nodeAny:
		parts := make([]Condition, len(n.parts))
		for i, p := range n.parts {
			parts[i] = p.resolve(lookup, negated)
		}
		kind := n.kind
		if negated {
			kind = nodeAll + nodeAny - kind
		}
		if r := group(kind, parts); r.n != nil {
			return r
		}
		return Condition{neverRow}
	}
	v, ok := lookup(n.value.(RefVar))
	if s, isText := v.(string); !ok || isText && s == "" {
		return Condition{neverRow}
	}
	c := Condition{n}
	if v != n.value { // the same reference is left for a later resolve
		if _, again := v.(RefVar); again {
			return Condition{neverRow}
		}
		c = leaf(n.field, n.op, v)
	}
	if c.n.kind == nodeFault {
		return Condition{neverRow} // what does not fit is no value
	}
	if c.n != n {
		c.n.rule = n.rule
	}
	if negated {
		return not(c)
	}
	return c
}

// String reads like region = "EU" and not amount >= 4000. It shows the values.
func (c Condition) String() string {
	if c.n == nil {
		return "no row"
	}
	var b strings.Builder
	c.n.print(&b)
	return b.String()
}

func (n *node) print(b *strings.Builder) {
	switch n.kind {
	case nodeEvery:
		b.WriteString("every row")
	case nodeNever:
		b.WriteString("no row")
	case nodeFault:
		b.WriteString("no row (" + n.fault.Error() + ")")
	case nodeNot:
		b.WriteString("not ")
		n.parts[0].printPart(b)
	case nodeAll, nodeAny:
		for i, p := range n.parts {
			if i > 0 {
				b.WriteString(map[nodeKind]string{nodeAll: " and ", nodeAny: " or "}[n.kind])
			}
			p.printPart(b)
		}
	case nodeLeaf:
		printName(b, n.field)
		if n.op == IsNull {
			b.WriteString(map[bool]string{true: " is null", false: " is not null"}[n.value == true])
			return
		}
		b.WriteString(" " + string(n.op) + " ")
		printValue(b, n.value)
	}
}

func (n *node) printPart(b *strings.Builder) {
	if n.kind != nodeAll && n.kind != nodeAny {
		n.print(b)
		return
	}
	b.WriteByte('(')
	n.print(b)
	b.WriteByte(')')
}
