package latchkey

import (
	"cmp"
	"encoding/json"
	"math"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"
)

// boundOp is an operator with its negation inside: a bound tree has no Not.
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

var boundOps = map[Op][2]boundOp{ // as it is, and negated
	Eq: {opEq, opNe}, Ne: {opNe, opEq}, Lt: {opLt, opGe}, Le: {opLe, opGt}, Gt: {opGt, opLe}, Ge: {opGe, opLt},
	In: {opIn, opNotIn}, Contains: {opContains, opNotContains}, StartsWith: {opPrefix, opNotPrefix},
	IsNull: {opNull, opNotNull},
}

// bound is a node of a bound tree: nodeEvery, nodeNever, nodeLeaf, nodeAll or nodeAny.
type bound struct {
	kind  nodeKind
	first int     // of kids, in Predicate.nodes
	kids  []bound // of all and any
	leaf  leafTest
}

// leafTest is a bound comparison.
type leafTest struct {
	op        boundOp
	typ       FieldType
	column    int
	name      string   // as the condition says
	names     []string // all names of the column
	value     typed
	list      []typed // of in: sorted, not empty
	successor string  // of a prefix
}

// typed is a value of a condition as its field compares it. floor is the number itself of an Integer, 0 or 1 of a
// Boolean, the day number of a Date, the microsecond of a DateTime, and of a Number the greatest int64 not above it.
type typed struct {
	boxed  any    // the argument of a statement, where one fits: boxed once
	text   string // Text; a Date; the decimal text of a Number that is no int64
	floor  int64
	float  float64 // Integer, Number, Float: the nearest
	whole  bool    // floor is all of it
	beyond int8    // Number: 1 above, -1 below every int64
}

// decimal is the canonical decimal text of a number.
func (v *typed) decimal() string {
	if v.text != "" {
		return v.text
	}
	return strconv.FormatInt(v.floor, 10)
}

type binder struct {
	schema *Schema
	nodes  []bound // its capacity suffices: kids point into it
	key    []byte  // the shape
}

func (b *binder) bind(at int, n *node, negated bool) error {
	for n.kind == nodeNot {
		n, negated = n.parts[0], !negated
	}
	switch n.kind {
	case nodeLeaf:
		b.nodes[at].kind = nodeLeaf
		return b.leaf(&b.nodes[at].leaf, n, negated)
	case nodeAll, nodeAny:
		kind := n.kind
		if negated {
			kind = nodeAll + nodeAny - kind
		}
		first, end := len(b.nodes), len(b.nodes)+len(n.parts)
		b.nodes = b.nodes[:end]
		to := &b.nodes[at]
		to.kind, to.first, to.kids = kind, first, b.nodes[first:end:end]
		b.key = append(b.key, '(', byte(kind))
		for i, p := range n.parts {
			if err := b.bind(first+i, p, negated); err != nil {
				return err
			}
		}
		b.key = append(b.key, ')')
		return nil
	case nodeEvery:
		b.nodes[at].kind = nodeEvery
		b.key = append(b.key, 'e')
		return nil
	}
	b.nodes[at].kind = nodeNever
	b.key = append(b.key, 'n')
	return nil
}

const noField = "the schema has no such field"

func (b *binder) leaf(l *leafTest, n *node, negated bool) error {
	slot := b.schema.slots[n.field]
	if slot == nil {
		return &ConditionError{Field: n.field, Unknown: true, Reason: noField, OfRule: n.rule}
	}
	if ref, ok := n.value.(RefVar); ok {
		return n.unfit("the reference " + ref.String() + " is not filled in: bind what Access.Filter answers")
	}
	pair := boundOps[n.op]
	op := pair[0]
	if negated {
		op = pair[1]
	}
	if !slot.typ.takes(n.op) {
		return n.unfit("the operator " + string(n.op) + " does not go with its type")
	}
	l.op, l.typ, l.column, l.name, l.names = op, slot.typ, slot.column, n.field, slot.names

	var reason string
	size := 0
	switch n.op {
	case IsNull:
		if n.value == false {
			l.op = pair[1]
			if negated {
				l.op = pair[0]
			}
		}
	case In:
		list := n.value.([]any)
		if size = padded(len(list)); len(list) == 0 {
			size = 0
			if l.op = opNever; negated {
				l.op = opKnown
			}
			break
		}
		l.list = make([]typed, len(list))
		for i, v := range list {
			if l.list[i], reason = slot.typ.value(v); reason != "" {
				return n.unfit(reason)
			}
		}
		slices.SortFunc(l.list, func(a, b typed) int { return l.typ.order(&a, &b) })
	default:
		if l.value, reason = slot.typ.value(n.value); reason == "" && n.op == StartsWith {
			l.successor, reason = successor(l.value.text)
		}
		if reason != "" {
			return n.unfit(reason)
		}
	}
	b.key = append(b.key, byte(l.op), byte(size>>8), byte(size))
	b.key = append(b.key, byte(l.column>>16), byte(l.column>>8), byte(l.column))
	return nil
}

func (n *node) unfit(reason string) error {
	return &ConditionError{Field: n.field, Reason: reason, OfRule: n.rule}
}

func (t FieldType) takes(op Op) bool {
	switch op {
	case Lt, Le, Gt, Ge:
		return t != Boolean
	case Contains, StartsWith:
		return t == Text
	}
	return true
}

// value types a canonical value, or says why it does not fit.
func (t FieldType) value(v any) (typed, string) {
	switch t {
	case Text:
		if s, ok := v.(string); ok {
			return typed{boxed: v, text: s}, ""
		}
		return typed{}, "a text field takes text"
	case Integer:
		i, ok := v.(int64)
		if s, isText := v.(string); isText {
			whole, fraction, plain := splitDecimal(s)
			var err error
			i, err = strconv.ParseInt(whole, 10, 64)
			ok, v = plain && fraction == "" && err == nil, i
		}
		if !ok {
			return typed{}, notWhole
		}
		return typed{boxed: v, floor: i, float: float64(i), whole: true}, ""
	case Number:
		switch v := v.(type) {
		case int64:
			return typed{floor: v, float: float64(v), whole: true, boxed: v}, ""
		case string:
			return numberValue(v)
		case json.Number:
			return numberValue(string(v))
		}
		return typed{}, "a number field takes a number"
	case Float:
		switch v := v.(type) {
		case int64:
			return typed{float: float64(v)}, ""
		case string:
			return floatValue(v)
		case json.Number:
			return floatValue(string(v))
		}
		return typed{}, "a float field takes a number"
	case Boolean:
		switch v {
		case true, int64(1), "true", "1":
			return typed{boxed: true, floor: 1, whole: true}, ""
		case false, int64(0), "false", "0":
			return typed{boxed: false, whole: true}, ""
		}
		return typed{}, "a boolean field takes true, false, 1 or 0"
	case Date:
		s, _ := v.(string)
		if day, ok := parseDay(s); ok {
			return typed{boxed: v, text: s, floor: day, whole: true}, ""
		}
		return typed{}, "a date field takes a real day of the years 1000 to 9999, written 2026-11-22"
	case DateTime:
		s, _ := v.(string)
		if micro, ok := parseInstant(s, true); ok {
			return typed{floor: micro, whole: true}, ""
		}
		return typed{}, "a time field takes an instant of the years 1000 to 9999, written 2026-11-22T10:00:00Z or with an " +
			"offset, to the microsecond"
	}
	panic("latchkey: unknown type of field")
}

const notWhole = "an integer field takes digits, within 64 bits"

func floatValue(s string) (typed, string) {
	if f, ok := parseFloat(s); ok {
		return typed{float: f}, ""
	}
	return typed{}, "a float field takes decimals, with an exponent or without, that a float64 can hold"
}

const maxWholeDigits, maxFractionDigits = 35, 30

func numberValue(s string) (typed, string) {
	whole, fraction, ok := splitDecimal(s)
	digits := strings.TrimPrefix(whole, "-")
	if !ok {
		return typed{}, "a number field takes plain decimals, without an exponent"
	}
	if len(digits) > maxWholeDigits || len(fraction) > maxFractionDigits {
		return typed{}, "a number has at most 35 digits before and 30 behind the point"
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
		return typed{boxed: i, floor: i, float: float64(i), whole: true}, ""
	}
	v := typed{text: digits, floor: i}
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

// order sorts values of one list.
func (t FieldType) order(a, b *typed) int {
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

// successor is the least text above every text with this prefix, in the order of code points, which UTF-8 keeps.
func successor(prefix string) (string, string) {
	for prefix != "" {
		r, size := utf8.DecodeLastRuneInString(prefix)
		prefix = prefix[:len(prefix)-size]
		if r == utf8.MaxRune {
			continue
		}
		if r++; r == 0xD800 {
			r = 0xE000 // there are no characters between
		}
		return prefix + string(r), ""
	}
	return "", "no text lies above every text with this prefix"
}
