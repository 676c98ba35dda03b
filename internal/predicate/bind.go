package predicate

import (
	"cmp"
	"encoding/json"
	"math"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"
)

// boundOp is an operator or its negation: a bound tree has no Not.
type boundOp uint8

const (
	opEq boundOp = iota + 1
	opNe
	opLt
	opLe
	opGt
	opGe
	opIn
	opNotIn
	opContains
	opNotContains
	opPrefix
	opNotPrefix
	opNull
	opNotNull
	opKnown // not in of nothing
	opNever // in of nothing
)

// boundOps maps the operators of a condition, as the root package writes them, to the bound operator and its negation.
var boundOps = map[string][2]boundOp{
	"=": {opEq, opNe}, "!=": {opNe, opEq}, "<": {opLt, opGe}, "<=": {opLe, opGt}, ">": {opGt, opLe}, ">=": {opGe, opLt},
	"in": {opIn, opNotIn}, "contains": {opContains, opNotContains}, "starts-with": {opPrefix, opNotPrefix},
	"is-null": {opNull, opNotNull},
}

// boundNode is a node of a bound tree.
type boundNode struct {
	kind  boundKind
	quick quickTest
	// Where Match goes on after a node without kids, by its answer: an index in Predicate.nodes, or admitted or refused.
	yes, no int32
	first   int         // of kids, in Predicate.nodes
	kids    []boundNode // of all and any
	leaf    comparison
}

// In place of the index of a node: the whole predicate is decided.
const (
	admitted int32 = -1
	refused  int32 = -2
)

type boundKind uint8

const (
	boundNever boundKind = iota // fail closed
	boundEvery
	boundLeaf
	boundAll
	boundAny
)

// comparison compares a column with values.
type comparison struct {
	op        boundOp
	typ       Type // of the slot
	slot      *slot
	name      string // as the condition writes it
	value     operand
	list      []operand // of in: sorted, not empty
	successor string    // of a prefix
}

// operand is a value of a condition as its field compares it. floor depends on the type. It is an Integer itself, 0 or
// 1 for a Boolean, the day number of a Date, and the microsecond of a DateTime. For a Number it is the greatest int64
// not above it.
type operand struct {
	boxed  any    // the value as an argument of a statement, if it can be one: boxed once
	text   string // Text; a Date; the decimal text of a Number that is no int64
	floor  int64
	float  float64 // Integer, Number, Float: the nearest
	whole  bool    // floor is the whole value
	beyond int8    // Number: 1 above, -1 below every int64
}

// decimal returns the canonical decimal text of a number.
func (v *operand) decimal() string {
	if v.text != "" {
		return v.text
	}
	return strconv.FormatInt(v.floor, 10)
}

// Binder makes one Predicate. The caller walks a condition from its root, which is node 0, and describes each node to
// the Binder exactly once. A Not is no node: the caller describes everything beneath it negated, with All and Any
// exchanged.
type Binder struct {
	schema *Schema
	nodes  []boundNode // never grows beyond its capacity, because kids point into it
	key    []byte      // the shape
}

// NewBinder starts a predicate of at most count nodes. Space is memory that it may use: 256 bytes suffice for most.
func NewBinder(s *Schema, count int, space []byte) Binder {
	return Binder{schema: s, nodes: make([]boundNode, 1, count), key: space[:0]}
}

// Predicate returns the bound predicate. The Binder must not be used after it.
func (b *Binder) Predicate() Predicate {
	p := Predicate{schema: b.schema, shape: b.schema.shape(b.key), nodes: b.nodes}
	p.start = p.link(0, admitted, refused)
	return p
}

// link says in the nodes beneath node at where Match goes on after each, and returns the one that Match asks first.
func (p *Predicate) link(at, yes, no int32) (start int32) {
	n := &p.nodes[at]
	all := n.kind == boundAll
	if !all && n.kind != boundAny {
		n.yes, n.no = yes, no
		if n.kind == boundLeaf {
			n.quick = n.leaf.quick()
		}
		return at
	}
	start = yes
	if !all {
		start = no
	}
	for i := len(n.kids) - 1; i >= 0; i-- { // the last first: the one before it goes on there
		if all {
			start = p.link(int32(n.first+i), start, no)
		} else {
			start = p.link(int32(n.first+i), yes, start)
		}
	}
	return start
}

// All makes node at one that admits the rows that all its n parts admit. It returns the first part; the others follow
// it.
func (b *Binder) All(at, n int) (first int) { return b.group(boundAll, at, n) }

// Any makes node at one that admits the rows that some of its n parts admits. It returns the first part; the others
// follow it.
func (b *Binder) Any(at, n int) (first int) { return b.group(boundAny, at, n) }

func (b *Binder) group(kind boundKind, at, n int) (first int) {
	first, end := len(b.nodes), len(b.nodes)+n
	b.nodes = b.nodes[:end]
	to := &b.nodes[at]
	to.kind, to.first, to.kids = kind, first, b.nodes[first:end:end]
	b.key = append(b.key, '(', byte(kind))
	return first
}

// End marks the parts of the last open All or Any as complete.
func (b *Binder) End() { b.key = append(b.key, ')') }

// Every makes node at one that admits every row.
func (b *Binder) Every(at int) {
	b.nodes[at].kind = boundEvery
	b.key = append(b.key, 'e')
}

// Never makes node at one that admits no row.
func (b *Binder) Never(at int) {
	b.nodes[at].kind = boundNever
	b.key = append(b.key, 'n')
}

// Compare makes node at a comparison of a field with a value in the form that [Canonical] returns. For "in" it is a
// []any of such values. The error says why the field does not take the operator or the value. The Binder must not be
// used after an error.
func (b *Binder) Compare(at int, field, op string, value any, negated bool) *FieldError {
	slot := b.schema.slots[field]
	if slot == nil {
		return &FieldError{Field: field, Unknown: true, Reason: noField}
	}
	b.nodes[at].kind = boundLeaf
	if reason := b.compare(&b.nodes[at].leaf, slot, field, op, value, negated); reason != "" {
		return &FieldError{Field: field, Reason: reason}
	}
	return nil
}

func (b *Binder) compare(l *comparison, slot *slot, field, name string, value any, negated bool) (reason string) {
	l.slot, l.name = slot, field
	size, reason := l.bind(slot.typ, name, value, negated)
	if reason != "" {
		return reason
	}
	b.key = append(b.key, byte(l.op), byte(size>>8), byte(size))
	b.key = append(b.key, byte(slot.column>>16), byte(slot.column>>8), byte(slot.column))
	return ""
}

// bind makes l the comparison of values of a type. It returns how many placeholders a list takes.
func (l *comparison) bind(typ Type, name string, value any, negated bool) (size int, reason string) {
	pair := boundOps[name]
	op := pair[0]
	if negated {
		op = pair[1]
	}
	if !typ.supports(name) {
		return 0, "its type does not support the operator " + name
	}
	l.op, l.typ = op, typ
	switch name {
	case "is-null":
		if value == false {
			l.op = pair[1]
			if negated {
				l.op = pair[0]
			}
		}
	case "in":
		list, ok := value.([]any)
		if !ok {
			return 0, "in takes a list"
		}
		if size = padded(len(list)); len(list) == 0 {
			size = 0
			if l.op = opNever; negated {
				l.op = opKnown
			}
			break
		}
		l.list = make([]operand, len(list))
		for i, v := range list {
			if l.list[i], reason = typ.value(v); reason != "" {
				return 0, reason
			}
		}
		slices.SortFunc(l.list, func(a, b operand) int { return l.typ.order(&a, &b) })
	default:
		if l.value, reason = typ.value(value); reason == "" && name == "starts-with" {
			l.successor, reason = successor(l.value.text)
		}
	}
	return size, reason
}

// supports reports whether values of the type can be compared with an operator.
func (t Type) supports(op string) bool {
	switch op {
	case "<", "<=", ">", ">=":
		return t != Boolean
	case "contains", "starts-with":
		return t == Text
	}
	return true
}

// value types a canonical value, or returns why it does not fit.
func (t Type) value(v any) (operand, string) {
	switch t {
	case Text:
		if s, ok := v.(string); ok {
			return operand{boxed: v, text: s}, ""
		}
		return operand{}, "a text field takes text"
	case Integer:
		i, ok := v.(int64)
		if s, isText := v.(string); isText {
			whole, fraction, plain := SplitDecimal(s)
			var err error
			i, err = strconv.ParseInt(whole, 10, 64)
			ok, v = plain && fraction == "" && err == nil, i
		}
		if !ok {
			return operand{}, notWhole
		}
		return operand{boxed: v, floor: i, float: float64(i), whole: true}, ""
	case Number:
		switch v := v.(type) {
		case int64:
			return operand{floor: v, float: float64(v), whole: true, boxed: v}, ""
		case string:
			return numberValue(v)
		case json.Number:
			return numberValue(string(v))
		}
		return operand{}, "a number field takes a number"
	case Float:
		switch v := v.(type) {
		case int64:
			return operand{float: float64(v)}, ""
		case string:
			return floatValue(v)
		case json.Number:
			return floatValue(string(v))
		}
		return operand{}, "a float field takes a number"
	case Boolean:
		switch v {
		case true, int64(1), "true", "1":
			return operand{boxed: true, floor: 1, whole: true}, ""
		case false, int64(0), "false", "0":
			return operand{boxed: false, whole: true}, ""
		}
		return operand{}, "a boolean field takes true, false, 1 or 0"
	case Date:
		s, _ := v.(string)
		if day, ok := parseDay(s); ok {
			return operand{boxed: v, text: s, floor: day, whole: true}, ""
		}
		return operand{}, "a date field takes a real day of the years 1000 to 9999, written 2026-11-22"
	case DateTime:
		s, _ := v.(string)
		if micro, ok := parseInstant(s, true); ok {
			return operand{floor: micro, whole: true}, ""
		}
		return operand{}, "a time field takes an instant of the years 1000 to 9999, " +
			"written 2026-11-22T10:00:00Z or with an offset, to the microsecond"
	}
	panic("latchkey: unknown type of field")
}

const notWhole = "an integer field takes digits, within 64 bits"

func floatValue(s string) (operand, string) {
	if f, ok := parseFloat(s); ok {
		return operand{float: f}, ""
	}
	return operand{}, "a float field takes decimals, with an exponent or without, that a float64 can hold"
}

const maxWholeDigits, maxFractionDigits = 35, 30

func numberValue(s string) (operand, string) {
	whole, fraction, ok := SplitDecimal(s)
	digits := strings.TrimPrefix(whole, "-")
	if !ok {
		return operand{}, "a number field takes plain decimals, without an exponent"
	}
	if len(digits) > maxWholeDigits || len(fraction) > maxFractionDigits {
		return operand{}, "a number has at most 35 digits before and 30 after the point"
	}
	negative := len(digits) < len(whole)
	digits = strings.TrimLeft(digits, "0")
	fraction = strings.TrimRight(fraction, "0")
	if digits == "" {
		digits = "0"
		negative = negative && fraction != ""
	}
	if negative {
		digits = "-" + digits
	}
	i, err := strconv.ParseInt(digits, 10, 64)
	if fraction == "" && err == nil {
		return operand{boxed: i, floor: i, float: float64(i), whole: true}, ""
	}
	v := operand{text: digits, floor: i}
	if fraction != "" {
		v.text += "." + fraction
	}
	v.float, _ = strconv.ParseFloat(v.text, 64)
	switch {
	case err != nil && negative:
		v.beyond = -1
	case err != nil:
		v.beyond = 1
	case negative && i == math.MinInt64:
		v.beyond = -1
	case negative:
		v.floor--
	}
	return v, ""
}

// order compares values of one list for sorting.
func (t Type) order(a, b *operand) int {
	switch {
	case t == Text:
		return strings.Compare(a.text, b.text)
	case t == Float:
		return cmp.Compare(a.float, b.float)
	case t != Number || a.whole && b.whole:
		return cmp.Compare(a.floor, b.floor)
	}
	return compareDecimals(a.decimal(), b.decimal())
}

// successor returns the least text above every text with this prefix, in the order of code points, which UTF-8 keeps.
func successor(prefix string) (string, string) {
	for prefix != "" {
		r, size := utf8.DecodeLastRuneInString(prefix)
		prefix = prefix[:len(prefix)-size]
		if r == utf8.MaxRune {
			continue
		}
		if r++; r == 0xD800 {
			r = 0xE000 // surrogates are no characters
		}
		return prefix + string(r), ""
	}
	return "", "no text lies above every text with this prefix"
}
