package latchkey

import (
	"bytes"
	"encoding/json"
	"fmt"
	"hash/maphash"
	"maps"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"

	"github.com/latchkey-go/latchkey/internal/predicate"
	"github.com/latchkey-go/latchkey/internal/strictjson"
)

// Condition is a row filter: an immutable tree of comparisons, made by [Where], [All], [AnyOf] and [Not]. The zero
// Condition admits no row; [AllRows] is the only one that admits every row. Safe for concurrent use.
//
// A comparison admits a row only if the row's value is known: present, not NULL, and fit for the type of the field. The
// same holds for its negation, so a missing value never lets a row in; only [IsNull] admits NULL. Therefore c and
// Not(c) together may still leave rows out. The full complement of region = "EU" is
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

const maxListItems = 1000 // of one list

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
	return c.limitedTo(givenLimits)
}

// All admits the rows that every part admits. A part that admits no row makes the whole admit none. All of nothing is
// refused, for it would be every row.
func All(parts ...Condition) Condition { return group(nodeAll, parts).limitedTo(givenLimits) }

// AnyOf admits the rows that some part admits. AnyOf of nothing is refused.
func AnyOf(parts ...Condition) Condition { return group(nodeAny, parts).limitedTo(givenLimits) }

// Not admits the rows that c is known to refuse: a row whose value is unknown is admitted neither by a comparison nor
// by its negation. Not of the zero Condition is the zero Condition, not every row: nothing said never becomes a right.
func Not(c Condition) Condition { return not(c).limitedTo(givenLimits) }

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
	if d := c.limitedTo(givenLimits); d.n != nil && d.n.kind == nodeFault {
		return d.n.fault
	}
	return nil
}

// faulty is a condition that admits no row and says why.
func invalidCondition(field, reason string) Condition {
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

func (c Condition) limitedTo(l conditionLimits) Condition {
	var f Condition
	switch n := c.n; {
	case n == nil || n.kind == nodeFault:
		return c
	case n.count > l.nodes:
		f = invalidCondition("", fmt.Sprintf("more than %d comparisons", l.nodes))
	case n.depth > l.depth:
		f = invalidCondition("", fmt.Sprintf("nested deeper than %d", l.depth))
	case n.items > l.items:
		f = invalidCondition("", fmt.Sprintf("more than %d values in lists", l.items))
	default:
		return c
	}
	f.n.fault.OfRule = l == composedLimits // no caller composes
	return f
}

var hashSeed = maphash.MakeSeed()

func leaf(field string, op Op, value any) Condition {
	if reason := predicate.CheckName(field); reason != "" {
		if !utf8.ValidString(field) || len(field) > predicate.MaxName {
			field = "" // not fit to be shown
		}
		return invalidCondition(field, reason)
	}
	v, reason := canonicalFor(op, value)
	if reason != "" {
		return invalidCondition(field, reason)
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
func allOf(parts ...Condition) Condition { return group(nodeAll, parts).limitedTo(composedLimits) }
func anyOf(parts ...Condition) Condition { return group(nodeAny, parts).limitedTo(composedLimits) }

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
		return invalidCondition("", "All or AnyOf of nothing")
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
	r := c.n.resolve(lookup, false).limitedTo(composedLimits)
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

// MarshalJSON writes a comparison as {"field":"region","op":"=","value":"EU"}, a reference as its value {"ref":"self"},
// groups as {"all":[…]}, {"any":[…]} and {"not":{…}}, [AllRows] as true and the zero Condition as false. A malformed
// Condition is an error.
func (c Condition) MarshalJSON() ([]byte, error) {
	if c.n == nil {
		return []byte("false"), nil
	}
	if c.n.kind == nodeFault {
		return nil, c.n.fault
	}
	return c.n.appendJSON(nil), nil
}

func (n *node) appendJSON(b []byte) []byte {
	switch n.kind {
	case nodeEvery:
		return append(b, "true"...)
	case nodeNever:
		return append(b, "false"...)
	case nodeNot:
		b = n.parts[0].appendJSON(append(b, `{"not":`...))
		return append(b, '}')
	case nodeAll, nodeAny:
		b = append(b, map[nodeKind]string{nodeAll: `{"all":[`, nodeAny: `{"any":[`}[n.kind]...)
		for i, p := range n.parts {
			if i > 0 {
				b = append(b, ',')
			}
			b = p.appendJSON(b)
		}
		return append(b, "]}"...)
	}
	b = appendJSONValue(append(b, `{"field":`...), n.field)
	b = appendJSONValue(append(b, `,"op":`...), string(n.op))
	b = appendJSONValue(append(b, `,"value":`...), n.value)
	return append(b, '}')
}

// appendJSONValue writes a canonical value.
func appendJSONValue(b []byte, v any) []byte {
	switch v := v.(type) {
	case nil:
		return append(b, "null"...)
	case string:
		text, _ := json.Marshal(v) // cannot fail
		return append(b, text...)
	case bool:
		return strconv.AppendBool(b, v)
	case int64:
		return strconv.AppendInt(b, v, 10)
	case json.Number:
		return append(b, v...)
	case RefVar:
		return append(append(append(b, `{"ref":"`...), v.String()...), `"}`...)
	case []any:
		b = append(b, '[')
		for i, e := range v {
			if i > 0 {
				b = append(b, ',')
			}
			b = appendJSONValue(b, e)
		}
		return append(b, ']')
	}
	panic("latchkey: a value that is not canonical")
}

// UnmarshalJSON reads what [Condition.MarshalJSON] writes. It is strict: unknown, missing, repeated or differently
// cased members, null, an empty group, numbers with an exponent, and whatever [Condition.Validate] refuses are errors
// that wrap [ErrBadCondition], and leave the zero Condition, which admits no row.
func (c *Condition) UnmarshalJSON(data []byte) error {
	*c = Condition{}
	d, err := newConditionDecoder(data)
	if err != nil {
		return err
	}
	var read Condition
	switch tok, err := d.next(); {
	case err != nil:
		return err
	case tok == true:
		read = AllRows
	case tok == false:
	case tok == json.Delim('{'):
		if read, err = d.object(0); err != nil {
			return err
		}
	default:
		return malformed("a condition is an object, true or false")
	}
	if err := read.Validate(); err != nil {
		return err
	}
	if read.n != neverRow {
		*c = read
	}
	return nil
}

func malformed(reason string) error { return &ConditionError{Reason: "JSON: " + reason} }

// conditionDecoder reads token by token, so that no member goes unseen.
type conditionDecoder struct{ *json.Decoder }

func newConditionDecoder(data []byte) (conditionDecoder, error) {
	var whole json.RawMessage
	if err := strictjson.Unmarshal(data, &whole); err != nil || !utf8.Valid(data) {
		return conditionDecoder{}, malformed("malformed")
	}
	d := json.NewDecoder(bytes.NewReader(whole))
	d.UseNumber()
	return conditionDecoder{d}, nil
}

func (d conditionDecoder) next() (json.Token, error) {
	tok, err := d.Token()
	if err != nil {
		return nil, malformed("malformed")
	}
	return tok, nil
}

var conditionMembers = [...]string{"field", "op", "value", "all", "any", "not"}

// object reads the rest of an object whose brace was read.
func (d conditionDecoder) object(depth int) (Condition, error) {
	if depth > givenLimits.depth {
		return Condition{}, malformed("nested too deeply")
	}
	var field, op string
	var value any
	var result Condition
	var seen uint // bits of members
	for {
		tok, err := d.next()
		if err != nil {
			return Condition{}, err
		}
		if tok == json.Delim('}') {
			break
		}
		name, _ := tok.(string)
		member := slices.Index(conditionMembers[:], name)
		if member < 0 {
			return Condition{}, malformed("an unknown member")
		}
		if seen&(1<<member) != 0 {
			return Condition{}, malformed("a member twice")
		}
		seen |= 1 << member
		switch name {
		case "field":
			field, err = d.text()
		case "op":
			op, err = d.text()
		case "value":
			value, err = d.value(true)
		case "all", "any":
			result, err = d.group(name, depth)
		case "not":
			result, err = d.part(depth + 1)
			result = not(result)
		}
		if err != nil {
			return Condition{}, err
		}
	}
	switch seen {
	case 0b111:
		return leaf(field, Op(op), value), nil
	case 1 << 3, 1 << 4, 1 << 5:
		return result, nil
	}
	return Condition{}, malformed("an object has field, op and value, or one of all, any and not")
}

func (d conditionDecoder) group(name string, depth int) (Condition, error) {
	if tok, err := d.next(); err != nil || tok != json.Delim('[') {
		return Condition{}, malformed(name + " takes a list")
	}
	var parts []Condition
	for d.More() {
		if len(parts) >= givenLimits.nodes {
			return Condition{}, malformed("too many parts")
		}
		p, err := d.part(depth + 2)
		if err != nil {
			return Condition{}, err
		}
		parts = append(parts, p)
	}
	if _, err := d.next(); err != nil {
		return Condition{}, err
	}
	if len(parts) == 0 {
		return Condition{}, malformed(name + " of nothing")
	}
	if name == "all" {
		return group(nodeAll, parts), nil
	}
	return group(nodeAny, parts), nil
}

// part reads a condition inside another. There false stands for a reference that had no value; true never occurs.
func (d conditionDecoder) part(depth int) (Condition, error) {
	switch tok, err := d.next(); {
	case err != nil:
		return Condition{}, err
	case tok == false:
		return Condition{neverRow}, nil
	case tok == json.Delim('{'):
		c, err := d.object(depth)
		if c.n == nil {
			c.n = neverRow
		}
		return c, err
	}
	return Condition{}, malformed("a part of a condition is an object")
}

func (d conditionDecoder) text() (string, error) {
	tok, err := d.next()
	if err != nil {
		return "", err
	}
	s, ok := tok.(string)
	if !ok {
		return "", malformed("field and op are texts")
	}
	return s, nil
}

// value reads a text, number or bool; composite also a list of such, or a reference. A null stays nil, which no
// condition takes.
func (d conditionDecoder) value(composite bool) (any, error) {
	tok, err := d.next()
	if err != nil {
		return nil, err
	}
	switch tok {
	case json.Delim('['):
		list := []any{}
		for composite && d.More() {
			if len(list) >= maxListItems {
				return nil, malformed("a list is too long")
			}
			v, err := d.value(false)
			if err != nil {
				return nil, err
			}
			list = append(list, v)
		}
		if end, err := d.next(); err != nil || end != json.Delim(']') {
			return nil, malformed("a list within a list")
		}
		return list, nil
	case json.Delim('{'):
		name, _ := d.next()
		ref, _ := d.next()
		end, err := d.next()
		if !composite || err != nil || name != "ref" || end != json.Delim('}') {
			return nil, malformed("a value that is neither plain nor a reference")
		}
		text, _ := ref.(string)
		if i := slices.Index(refNames[:], text); i > 0 {
			return RefVar(i), nil
		}
		return nil, malformed("an unknown reference")
	}
	return tok, nil
}

// MarshalJSON writes the values in their one form, as an object; nil as {}. A value that has none is an error.
func (v Values) MarshalJSON() ([]byte, error) {
	values, err := normaliseValues(v)
	if err != nil {
		return nil, err
	}
	b := []byte{'{'}
	for i, name := range slices.Sorted(maps.Keys(values)) {
		if i > 0 {
			b = append(b, ',')
		}
		b = appendJSONValue(append(appendJSONValue(b, name), ':'), values[name])
	}
	return append(b, '}'), nil
}

// UnmarshalJSON reads an object of texts, numbers, true, false and null. Anything else, a repeated name included, is an
// error that wraps [ErrBadCondition] and leaves v nil.
func (v *Values) UnmarshalJSON(data []byte) error {
	*v = nil
	d, err := newConditionDecoder(data)
	if err != nil {
		return err
	}
	if tok, err := d.next(); err != nil || tok != json.Delim('{') {
		return malformed("forced values are an object")
	}
	read := map[string]any{}
	for d.More() {
		name, err := d.text()
		if err != nil {
			return err
		}
		if _, twice := read[name]; twice {
			return malformed("a name twice")
		}
		value, err := d.value(false)
		if err != nil {
			return err
		}
		if read[name] = value; len(read) > maxListItems {
			return malformed("too many values")
		}
	}
	values, err := normaliseValues(read)
	if err != nil {
		return err
	}
	*v = values
	return nil
}

// Values are forced values by field name. Values read from JSON are string, bool, int64, json.Number (what fits no
// int64) or nil.
type Values map[string]any

// normaliseValues gives every value the one form it has in [Values], and refuses what has none: lists, references,
// numbers that are not finite, text with a NUL or invalid UTF-8. A nil map stays nil.
func normaliseValues(in map[string]any) (Values, error) {
	if in == nil {
		return nil, nil
	}
	if len(in) > maxListItems {
		return nil, &ConditionError{Reason: "more than " + strconv.Itoa(maxListItems) + " values"}
	}
	out := make(Values, len(in))
	for name, value := range in {
		if reason := predicate.CheckName(name); reason != "" {
			return nil, &ConditionError{Reason: reason}
		}
		if value == nil {
			out[name] = nil
			continue
		}
		v, reason := canonical(value)
		if _, isRef := v.(RefVar); isRef {
			reason = "a reference cannot be forced"
		}
		if reason != "" {
			return nil, &ConditionError{Field: name, Reason: reason}
		}
		out[name] = v
	}
	return out, nil
}

// canonicalList is the value of In: a fresh []any of canonical values.
func canonicalList(value any) (any, string) {
	if list, ok := value.([]string); ok { // roles, the common case
		if len(list) > maxListItems {
			return nil, "the list is longer than 1,000 values"
		}
		out := make([]any, len(list))
		for i, s := range list {
			v, reason := predicate.CanonicalText(nil, s)
			if reason != "" {
				return nil, reason
			}
			out[i] = v
		}
		return out, ""
	}
	r := reflect.ValueOf(value)
	if r.Kind() != reflect.Slice || r.Type().Elem().Kind() == reflect.Uint8 {
		return nil, "in takes a list"
	}
	if r.Len() > maxListItems {
		return nil, "the list is longer than 1,000 values"
	}
	out := make([]any, r.Len())
	for i := range out {
		v, reason := canonical(r.Index(i).Interface())
		if _, isRef := v.(RefVar); isRef {
			reason = "a list holds no references"
		}
		if reason != "" {
			return nil, reason
		}
		out[i] = v
	}
	return out, ""
}

func sameValue(a, b any) bool {
	x, ok := a.([]any)
	y, ok2 := b.([]any)
	if !ok || !ok2 {
		return !ok && !ok2 && a == b
	}
	if len(x) != len(y) {
		return false
	}
	for i := range x {
		if x[i] != y[i] {
			return false
		}
	}
	return true
}

func hashValue(h *maphash.Hash, v any) {
	switch v := v.(type) {
	case string:
		h.WriteByte('s')
		h.WriteString(v)
	case json.Number:
		h.WriteByte('n')
		h.WriteString(string(v))
	case []any:
		for _, e := range v {
			hashValue(h, e)
		}
	default:
		maphash.WriteComparable(h, v)
	}
	h.WriteByte(0)
}

func printName(b *strings.Builder, name string) {
	for i := range len(name) {
		c := name[i]
		if c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c == '_' || i > 0 &&
			(c >= '0' && c <= '9' || c == '-' || c == '.') {
			continue
		}
		b.WriteString(strconv.Quote(name))
		return
	}
	b.WriteString(name)
}

func printValue(b *strings.Builder, v any) {
	switch v := v.(type) {
	case string:
		b.WriteString(strconv.Quote(v))
	case bool:
		b.WriteString(strconv.FormatBool(v))
	case int64:
		b.WriteString(strconv.FormatInt(v, 10))
	case json.Number:
		b.WriteString(string(v))
	case RefVar:
		b.WriteString(v.String())
	case []any:
		b.WriteByte('[')
		for i, e := range v {
			if i > 0 {
				b.WriteString(", ")
			}
			printValue(b, e)
		}
		b.WriteByte(']')
	}
}

// canonical returns the one form that a single value has in conditions and forced values: string, bool, int64,
// json.Number or RefVar. So values compare, and survive JSON, exactly.
func canonical(value any) (v any, reason string) {
	if ref, ok := value.(RefVar); ok {
		return ref, ""
	}
	return predicate.Canonical(value)
}
