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
// Condition admits no row. [AllRows] is the only one that admits every row. Safe for concurrent use.
//
// A comparison admits a row only if the value of the row is known: present, not NULL, and fit for the type of the
// field. The same holds for its negation, so a missing value never admits a row. Only [IsNull] admits NULL. Therefore c
// and Not(c) together may still exclude rows. The full complement of region = "EU" is
//
//	AnyOf(Where("region", Ne, "EU"), Where("region", IsNull, true))
//
// The constructors never panic. A Condition made from something malformed admits no row, nor does anything made from
// it. Bind refuses it, and [Condition.Validate] returns what is wrong.
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
	In         Op = "in"          // the value is a slice; an empty one admits no row
	Contains   Op = "contains"    // text, byte for byte
	StartsWith Op = "starts-with" // text, byte for byte
	IsNull     Op = "is-null"     // the value is true or false
)

// RefVar is a reference: it stands for a value that is known only when an [Access] is asked.
type RefVar uint8

const (
	Self      RefVar = iota + 1 // the id of the root of the caller's chain of tokens; of an Assumed caller the Client.ID
	SelfRoles                   // the ids of the roles of the token that holds the rule or the rows: a list, for In
	ClientID                    // the Client.ID of the caller's token
	OwnerID                     // the owner of the caller's token
)

var refNames = [...]string{Self: "self", SelfRoles: "self_roles", ClientID: "client_id", OwnerID: "owner_id"}

// String returns the name of the reference in JSON.
func (v RefVar) String() string {
	if v.valid() {
		return refNames[v]
	}
	return "RefVar(" + strconv.Itoa(int(v)) + ")"
}

func (v RefVar) valid() bool { return v >= Self && v <= OwnerID }

// AttrRef is a reference to an attribute of the caller. Make it with [Attr].
type AttrRef struct{ name string }

// Attr refers to an attribute of the caller by its name: see [Attributes]. It goes where a [RefVar] goes:
//
//	Where("department", Eq, Attr("department"))
//	Where("region", In, Attr("regions"))
//
// An attribute that is a list goes with [In] only, and no other goes with In. Values bind to the type of the column as
// literals do. A caller without the attribute, or with one that does not fit, gets no row, and none by [Not] either.
func Attr(name string) AttrRef { return AttrRef{name} }

// Name returns the name of the attribute.
func (r AttrRef) Name() string { return r.name }

// String returns the reference as [Condition.String] shows it: attr("department").
func (r AttrRef) String() string { return "attr(" + strconv.Quote(r.name) + ")" }

// refValues returns the value of a reference, a [RefVar] or an [AttrRef], and false if it has none. It may return the
// reference itself, which then stays.
type refValues func(ref any) (any, bool)

// isRef reports whether a canonical value is a reference.
func isRef(v any) bool {
	switch v.(type) {
	case RefVar, AttrRef:
		return true
	}
	return false
}

// Limits of one condition. The first set is for what a host or a caller passes in. The second is for what latchkey
// makes of several such conditions, as for a chain of tokens. Depth counts the nesting of the JSON form, so that a
// condition that was accepted can be read back from inside a record.
var (
	givenLimits    = conditionLimits{nodes: 1000, depth: 24, items: 4096}
	composedLimits = conditionLimits{nodes: 8000, depth: 96, items: 4096}
)

type conditionLimits struct{ nodes, depth, items int }

const maxListItems = 1000 // of one list

// node is a node of the tree. It is immutable.
type node struct {
	kind  nodeKind
	refs  bool // it is or holds a reference
	rule  bool // a leaf that a rule made: a mistake in it is the host's
	depth int  // nesting of its JSON form
	count int  // nodes, itself included
	items int  // values in lists, in all
	hash  uint64

	field string // leaf
	op    Op
	value any // string, bool, int64, json.Number, RefVar, AttrRef, or []any of the first four

	parts []*node         // all, any, not
	fault *ConditionError // fault
	bound *bindings       // of the root of a condition that is kept; nil: what it is bound to is not
}

type nodeKind uint8

const (
	nodeEvery nodeKind = iota + 1 // AllRows; the root only
	nodeNever                     // neither it nor its negation is known to be true: a reference without a value
	nodeLeaf
	nodeAll
	nodeAny
	nodeNot
	nodeFault // the root only: what it is combined with becomes it
)

var (
	everyRow = &node{kind: nodeEvery, depth: 1, count: 1}
	neverRow = &node{kind: nodeNever, depth: 1, count: 1, hash: 1}
)

// AllRows is the only condition that admits every row.
var AllRows = Condition{everyRow}

// Where compares a field with a value. The value is a string, a bool, any integer or float, a json.Number, a time.Time
// (truncated to microseconds), a [RefVar], or [Attr] of a name. For [In] it is a slice of these, without references,
// or [SelfRoles], or Attr.
// [Schema.Bind] checks whether it fits the type of the field: text from a form binds to every type.
func Where(field string, op Op, value any) Condition {
	c := leaf(field, op, value)
	return c.limitedTo(givenLimits)
}

// All admits the rows that every part admits. A part that admits no row makes the whole admit none. All of nothing
// would be every row, so it is malformed.
func All(parts ...Condition) Condition { return group(nodeAll, parts).limitedTo(givenLimits) }

// AnyOf admits the rows that some part admits. AnyOf of nothing is malformed.
func AnyOf(parts ...Condition) Condition { return group(nodeAny, parts).limitedTo(givenLimits) }

// Not admits the rows that c is known to refuse. A row whose value is unknown is admitted neither by a comparison nor
// by its negation. Not of the zero Condition is the zero Condition, not every row: an absent condition never allows
// anything.
func Not(c Condition) Condition { return not(c).limitedTo(givenLimits) }

// IsAllRows reports whether c is [AllRows].
func (c Condition) IsAllRows() bool { return c.n != nil && c.n.kind == nodeEvery }

// IsNoRows reports whether c is the zero Condition. It is false for a condition that happens to admit no row, such as
// [In] of an empty list.
func (c Condition) IsNoRows() bool { return c.n == nil }

// Equal reports whether both are the same tree: the same comparisons in the same order. Different trees may still admit
// the same rows.
func (c Condition) Equal(d Condition) bool { return sameNode(c.n, d.n) }

// Validate returns a *ConditionError if c is malformed:
//
//   - an unknown operator, a value of a wrong kind, or an empty All or AnyOf;
//   - text with a NUL or invalid UTF-8, or of more than 64 KiB;
//   - a list of more than 1,000 values, or more than 4,096 such values in all;
//   - more than 1,000 comparisons, or a nesting of more than 24 in its JSON form.
//
// It does not check fields and types: [Schema.Bind] does.
func (c Condition) Validate() error {
	if d := c.limitedTo(givenLimits); d.n != nil && d.n.kind == nodeFault {
		return d.n.fault
	}
	return nil
}

// invalidCondition returns a condition that admits no row and holds the reason.
func invalidCondition(field, reason string) Condition {
	return Condition{&node{kind: nodeFault, depth: 1, count: 1, fault: &ConditionError{Field: field, Reason: reason}}}
}

// ofRule returns c with a mark at each leaf that a rule made it.
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
		of.rule, of.bound = true, nil
		return &of
	case nodeAll, nodeAny, nodeNot:
		of := *n
		of.bound = nil
		of.parts = make([]*node, len(n.parts))
		for i, p := range n.parts {
			of.parts[i] = p.ofRule()
		}
		return &of
	}
	return n
}

// limitedTo returns c, or an invalid condition if c exceeds the limits.
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
	f.n.fault.OfRule = l == composedLimits // callers do not compose conditions
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
	case RefVar, AttrRef:
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

// canonicalFor returns the canonical form of a value in a condition, or why op does not take it.
func canonicalFor(op Op, value any) (v any, reason string) {
	switch op {
	case Eq, Ne, Lt, Le, Gt, Ge, Contains, StartsWith, IsNull:
		v, reason = canonical(value)
	case In:
		switch ref := value.(type) {
		case RefVar:
			if ref != SelfRoles {
				return nil, "in takes a list, the reference self_roles, or an attribute"
			}
			return ref, ""
		case AttrRef:
			return canonical(ref)
		}
		return canonicalList(value)
	default:
		return nil, "unknown operator"
	}
	if reason != "" {
		return nil, reason
	}
	switch {
	case isRef(v) && op == IsNull:
		return nil, "is-null takes true or false"
	case v == SelfRoles:
		return nil, "the reference self_roles is a list: it goes with in"
	case isRef(v):
		return v, ""
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

// allOf, anyOf and not are All, AnyOf and Not for conditions that latchkey composes. The result may be larger than a
// condition that is passed in.
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

// group joins parts by kind, nodeAll or nodeAny. It flattens, drops duplicates, and keeps AllRows and the zero
// Condition at the root only.
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
			return p // an invalid part makes the whole invalid
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

// hasRefs reports whether c holds a reference, so that it cannot be bound before resolve.
func (c Condition) hasRefs() bool { return c.n != nil && c.n.refs }

// selfRoles is the value of SelfRoles. Those of Options.Roles that this process lacks are not held. But neither are
// they other roles: for a row that names one, a comparison with SelfRoles is neither true nor false. So no Not, and no
// Deny, admits a row because a role is unknown.
type selfRoles struct{ held, lost []string }

// list returns the roles to compare with, in a comparison that is negated or not.
func (r *selfRoles) list(negated bool) []string {
	if negated && len(r.lost) > 0 {
		return slices.Concat(r.held, r.lost)
	}
	return r.held
}

// resolve fills references in. value returns a string for Self, ClientID and OwnerID, *selfRoles for SelfRoles, and for
// an AttrRef a canonical value or a []string.
//
// A reference without a value, or with an empty text, admits nothing, and neither does its negation. Negations are
// therefore pushed down to the comparisons first, and what has no value stays in the tree as nodeNever. So a Not around
// the result cannot turn it into a right.
func (c Condition) resolve(value refValues) Condition {
	if !c.hasRefs() {
		return c
	}
	r := c.n.resolve(value, false).limitedTo(composedLimits)
	if r.n == neverRow {
		return Condition{}
	}
	return r
}

func (n *node) resolve(value refValues, negated bool) Condition {
	if !n.refs {
		if negated {
			return not(Condition{n})
		}
		return Condition{n}
	}
	switch n.kind {
	case nodeNot:
		return n.parts[0].resolve(value, !negated)
	case nodeAll, nodeAny:
		parts := make([]Condition, len(n.parts))
		for i, p := range n.parts {
			parts[i] = p.resolve(value, negated)
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
	v, ok := value(n.value)
	if roles, is := v.(*selfRoles); is {
		list := roles.list(negated)
		v, ok = list, len(list) > 0
	}
	if s, isText := v.(string); !ok || isText && s == "" {
		return Condition{neverRow}
	}
	c := Condition{n}
	if !isRef(v) || v != n.value { // otherwise the reference stays for a later resolve
		if isRef(v) {
			return Condition{neverRow}
		}
		c = leaf(n.field, n.op, v)
	}
	if c.n.kind == nodeFault {
		return Condition{neverRow} // a value that does not fit counts as none
	}
	if c.n != n {
		c.n.rule = n.rule
	}
	if negated {
		return not(c)
	}
	return c
}

// String returns the condition as text, such as: region = "EU" and not amount >= 4000. It shows the values.
// [ParseCondition] reads it.
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

// MarshalJSON writes a comparison as {"field":"region","op":"=","value":"EU"}, and a reference as its value
// {"ref":"self"} or {"attr":"department"}. Groups are {"all":[…]}, {"any":[…]} and {"not":{…}}. [AllRows] is true, and
// the zero Condition false. A malformed Condition is an error.
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
	case AttrRef:
		return append(appendJSONValue(append(b, `{"attr":`...), v.name), '}')
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

// UnmarshalJSON reads exactly what [Condition.MarshalJSON] writes. It returns an error that wraps [ErrBadCondition] for
// unknown, missing, repeated or differently cased members, for null, and for an empty group. The same goes for numbers
// with an exponent, and for whatever [Condition.Validate] refuses. After an error c is the zero Condition, which admits
// no row.
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

// conditionDecoder reads token by token, so that it sees every member.
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

// object reads the rest of an object, after its brace.
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
			value, err = d.value(true, true)
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

// part reads a condition inside another. There false stands for a reference that had no value, and true never occurs.
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

// value reads a text, number or bool. If lists is set, it also reads a list of these, and if refs is set a reference. A
// null stays nil, which no condition takes.
func (d conditionDecoder) value(lists, refs bool) (any, error) {
	tok, err := d.next()
	if err != nil {
		return nil, err
	}
	switch tok {
	case json.Delim('['):
		list := []any{}
		for lists && d.More() {
			if len(list) >= maxListItems {
				return nil, malformed("a list is too long")
			}
			v, err := d.value(false, false)
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
		text, isText := ref.(string)
		if !refs || err != nil || !isText || name != "ref" && name != "attr" || end != json.Delim('}') {
			return nil, malformed("a value that is neither plain nor a reference")
		}
		if name == "attr" {
			return Attr(text), nil
		}
		if i := slices.Index(refNames[:], text); i > 0 {
			return RefVar(i), nil
		}
		return nil, malformed("an unknown reference")
	}
	return tok, nil
}

// MarshalJSON writes the values in their canonical form, as an object; nil as {}. A value without such a form is an
// error.
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

// UnmarshalJSON reads an object of texts, numbers, true, false, null and references. Anything else, a repeated name
// included, is an error that wraps [ErrBadCondition] and leaves v nil.
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
		value, err := d.value(false, true)
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

// Values are forced values by field name. Values read from JSON are string, bool, int64, json.Number (for what fits no
// int64), nil, or a reference.
//
// A reference is [Self], [ClientID], [OwnerID] or [Attr] of a name. In a [Rule] it is filled in when [Access.Prepare]
// is called, and in a [Narrowing] when the token is minted. A caller that it has no value for, or a list, writes
// nothing and mints nothing: [ErrForced].
type Values map[string]any

// normaliseValues returns the values in their canonical form. It refuses lists, [SelfRoles], numbers that are not
// finite, and text with a NUL or invalid UTF-8. A nil map stays nil.
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
		if v == SelfRoles {
			reason = "the reference self_roles is a list, and cannot be forced"
		}
		if reason != "" {
			return nil, &ConditionError{Field: name, Reason: reason}
		}
		out[name] = v
	}
	return out, nil
}

// canonicalList returns the canonical value of In: a new []any of canonical values.
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
		if isRef(v) {
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
	case AttrRef:
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

// canonical returns the canonical form of a single value in conditions and forced values: string, bool, int64,
// json.Number, RefVar or AttrRef. So values compare, and survive JSON, exactly.
func canonical(value any) (v any, reason string) {
	switch ref := value.(type) {
	case RefVar:
		if !ref.valid() {
			return nil, "unknown reference"
		}
		return ref, ""
	case AttrRef:
		if reason := checkAttributeName(ref.name); reason != "" {
			return nil, reason
		}
		return ref, ""
	}
	return predicate.Canonical(value)
}
