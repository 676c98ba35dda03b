package predicate

import (
	"cmp"
	"encoding/json"
	"math"
	"reflect"
	"strconv"
	"strings"
	"time"
)

// Match reports whether the row is admitted. It does not allocate for rows of the common kinds.
func (p *Predicate) Match(r map[string]any) bool {
	if p == nil || len(p.nodes) == 0 {
		return false
	}
	at := p.start
	for at >= 0 {
		n := &p.nodes[at]
		if n.admits(r) {
			at = n.yes
		} else {
			at = n.no
		}
	}
	return at == admitted
}

// quickTest is a comparison that Match makes by itself where the row holds the usual kind of value. It makes all others
// by comparison.match, which is the same for each of these.
type quickTest uint8

const (
	quickNone  quickTest = iota
	quickText            // Text with one text, but not part of it
	quickTexts           // in of Text, of few values
	quickWhole           // Integer, and Number with a value within int64
	quickDay             // Date
)

// fewTexts is how many texts are compared one after the other. More are searched.
const fewTexts = 8

// quick returns how Match makes the comparison.
func (l *comparison) quick() quickTest {
	ordered := l.op >= opEq && l.op <= opGe
	switch {
	case len(l.slot.names) > 1: // the value may be under another name
	case l.typ == Text && ordered:
		return quickText
	case l.typ == Text && l.op == opIn && len(l.list) <= fewTexts:
		return quickTexts
	case (l.typ == Integer || l.typ == Number) && ordered && l.value.whole:
		return quickWhole
	case l.typ == Date && ordered:
		return quickDay
	}
	return quickNone
}

// admits reports whether a node without kids admits a row.
func (n *boundNode) admits(r map[string]any) bool {
	l := &n.leaf
	switch n.quick {
	case quickNone:
		if n.kind == boundLeaf {
			return l.match(r)
		}
		return n.kind == boundEvery // else fail closed
	case quickText:
		if s, ok := r[l.name].(string); ok {
			return meets(l.op, s, l.value.text)
		}
	case quickTexts:
		if s, ok := r[l.name].(string); ok {
			for i := range l.list {
				if l.list[i].text == s {
					return true
				}
			}
			return false
		}
	case quickWhole:
		switch v := r[l.name].(type) {
		case int64:
			return meets(l.op, v, l.value.floor)
		case int:
			return meets(l.op, int64(v), l.value.floor)
		}
	case quickDay:
		if s, ok := r[l.name].(string); ok {
			return isDay(s) && meets(l.op, s, l.value.text) // days compare as their texts do
		}
	}
	return l.match(r)
}

// meets reports whether v compares with w as one of the ordered operators says.
func meets[T string | int64](op boundOp, v, w T) bool {
	switch op {
	case opEq:
		return v == w
	case opNe:
		return v != w
	case opLt:
		return v < w
	case opLe:
		return v <= w
	case opGt:
		return v > w
	case opGe:
		return v >= w
	}
	return false
}

func (l *comparison) match(r map[string]any) bool {
	v, ok := r[l.name]
	if len(l.slot.names) > 1 {
		v, ok = l.lookUp(r)
	}
	return ok && l.admits(v) // an absent value is unknown, for is-null too
}

// lookUp returns the value of a column that has several names. A row that has two different values for it has none.
func (l *comparison) lookUp(r map[string]any) (found any, given bool) {
	for _, name := range l.slot.names {
		v, ok := r[name]
		if !ok {
			continue
		}
		if given && !l.slot.same(found, v) {
			return nil, false
		}
		found, given = v, true
	}
	return found, given
}

// admits reports whether the operator admits a value that is present.
func (l *comparison) admits(v any) bool {
	if l.op == opNull || l.op == opNotNull {
		return l.slot.isNull(v) == (l.op == opNull)
	}
	switch x := v.(type) {
	case string:
		return l.admitsText(x)
	case []byte:
		return x != nil && l.admitsText(string(x))
	case int64:
		return l.admitsInt(x)
	case int:
		return l.admitsInt(int64(x))
	case float64:
		return l.admitsFloat(x)
	case bool:
		if l.typ == Boolean {
			i := int64(0)
			if x {
				i = 1
			}
			return l.test(rowValue{kind: rowWhole, whole: i})
		}
	case time.Time:
		switch l.typ {
		case Date:
			day, ok := dayOf(x)
			return ok && l.test(rowValue{kind: rowWhole, whole: day})
		case DateTime:
			micro, ok := instantOf(x)
			return ok && l.test(rowValue{kind: rowWhole, whole: micro})
		}
	case json.Number:
		switch l.typ {
		case Integer, Number, Float:
			return l.admitsText(string(x))
		case Boolean:
			bit, ok := bitOf(string(x))
			return ok && l.admitsInt(bit)
		}
	case uint64:
		switch {
		case x <= math.MaxInt64:
			return l.admitsInt(int64(x))
		case l.typ == Integer || l.typ == Number:
			return l.admitsText(strconv.FormatUint(x, 10))
		case l.typ == Float:
			return l.admitsFloat(float64(x))
		}
	case nil:
	default:
		if p, ok := l.slot.unwrap(v); ok {
			return l.admits(p)
		}
	}
	return false // NULL, or a value that does not fit the field: unknown
}

func (l *comparison) admitsText(s string) bool {
	switch l.typ {
	case Text:
		return l.test(rowValue{kind: rowText, text: s})
	case Integer, Number:
		_, _, ok := SplitDecimal(s)
		return ok && l.test(rowValue{kind: rowDecimal, text: s})
	case Float:
		f, ok := parseFloat(s)
		return ok && l.test(rowValue{kind: rowFloat, float: f})
	case Date:
		day, ok := parseDay(s)
		return ok && l.test(rowValue{kind: rowWhole, whole: day})
	case DateTime:
		micro, ok := parseInstant(s, false)
		return ok && l.test(rowValue{kind: rowWhole, whole: micro})
	}
	return false
}

func (l *comparison) admitsInt(i int64) bool {
	switch l.typ {
	case Integer, Number:
		return l.test(rowValue{kind: rowWhole, whole: i})
	case Float:
		return l.test(rowValue{kind: rowFloat, float: float64(i)})
	case Boolean:
		return (i == 0 || i == 1) && l.test(rowValue{kind: rowWhole, whole: i})
	}
	return false
}

// bitOf returns 0 or 1 if decimal text is one of them.
func bitOf(s string) (bit int64, ok bool) {
	if _, _, ok = SplitDecimal(s); !ok {
		return 0, false
	}
	if compareDecimals(s, "1") == 0 {
		return 1, true
	}
	return 0, compareDecimals(s, "0") == 0
}

// exactFloats is 2^53, the magnitude from which a float64 may stand for an integer that it does not equal. Floats that
// large are unknown to Integer and Number, in SQL as well: 9007199254740993 would pass for ...992.
const exactFloats = 1 << 53

func (l *comparison) admitsFloat(f float64) bool {
	switch l.typ {
	case Integer, Number:
		return f > -exactFloats && f < exactFloats && l.test(rowValue{kind: rowFloat, float: f})
	case Float:
		return f == f && l.test(rowValue{kind: rowFloat, float: f})
	case Boolean:
		return (f == 0 || f == 1) && l.test(rowValue{kind: rowWhole, whole: int64(f)})
	}
	return false
}

// rowValue is a known value of a row, by the way it compares.
type rowValue struct {
	kind  rowKind
	whole int64
	float float64
	text  string
}

type rowKind uint8

const (
	rowWhole   rowKind = iota // an integer, 0 or 1, a day, a microsecond
	rowFloat                  // not NaN
	rowDecimal                // text of the form -?d+(.d+)?
	rowText
)

func (l *comparison) test(r rowValue) bool {
	switch l.op {
	case opEq:
		return l.value.compare(r) == 0
	case opNe:
		return l.value.compare(r) != 0
	case opLt:
		return l.value.compare(r) < 0
	case opLe:
		return l.value.compare(r) <= 0
	case opGt:
		return l.value.compare(r) > 0
	case opGe:
		return l.value.compare(r) >= 0
	case opIn:
		return l.find(r)
	case opNotIn:
		return !l.find(r)
	case opContains:
		return strings.Contains(r.text, l.value.text)
	case opNotContains:
		return !strings.Contains(r.text, l.value.text)
	case opPrefix:
		return strings.HasPrefix(r.text, l.value.text)
	case opNotPrefix:
		return !strings.HasPrefix(r.text, l.value.text)
	case opKnown:
		return true
	}
	return false
}

func (l *comparison) find(r rowValue) bool {
	from, to := 0, len(l.list)
	for from < to {
		at := int(uint(from+to) / 2)
		switch c := l.list[at].compare(r); {
		case c == 0:
			return true
		case c > 0:
			from = at + 1
		default:
			to = at
		}
	}
	return false
}

// compare returns -1, 0 or 1 if the row's value is less than, equal to, or greater than v.
func (v *operand) compare(r rowValue) int {
	switch r.kind {
	case rowText:
		return compareText(r.text, v.text)
	case rowFloat:
		return cmp.Compare(r.float, v.float)
	case rowDecimal:
		if v.text != "" {
			return compareDecimals(r.text, v.text)
		}
		var space [20]byte
		return compareDecimals(r.text, string(strconv.AppendInt(space[:0], v.floor, 10))) // stays on the stack
	}
	switch {
	case v.whole:
		return cmp.Compare(r.whole, v.floor)
	case v.beyond != 0:
		return -int(v.beyond)
	case r.whole <= v.floor: // and v lies between floor and floor+1
		return -1
	}
	return 1
}

// compareText is strings.Compare, through which a text on the stack would escape.
func compareText(a, b string) int {
	switch {
	case a == b:
		return 0
	case a < b:
		return -1
	}
	return 1
}

// compareDecimals compares texts of the form -?d+(.d+)? exactly.
func compareDecimals(a, b string) int {
	aNegative, aWhole, aFraction := decimalParts(a)
	bNegative, bWhole, bFraction := decimalParts(b)
	if aNegative != bNegative {
		if aNegative {
			return -1
		}
		return 1
	}
	c := cmp.Compare(len(aWhole), len(bWhole))
	if c == 0 {
		c = compareText(aWhole, bWhole)
	}
	if c == 0 {
		c = compareText(aFraction, bFraction)
	}
	if aNegative {
		return -c
	}
	return c
}

// decimalParts splits decimal text, without zeros that mean nothing, and without the sign of zero.
func decimalParts(s string) (negative bool, whole, fraction string) {
	whole, fraction, _ = SplitDecimal(s)
	if len(whole) > 0 && whole[0] == '-' {
		negative, whole = true, whole[1:]
	}
	for len(whole) > 0 && whole[0] == '0' {
		whole = whole[1:]
	}
	for n := len(fraction); n > 0 && fraction[n-1] == '0'; n-- {
		fraction = fraction[:n-1]
	}
	return negative && len(whole)+len(fraction) > 0, whole, fraction
}

// isNull reports whether a value that is present is NULL.
func (k kind) isNull(v any) bool {
	switch x := v.(type) {
	case nil:
		return true
	case []byte: // a NULL scanned into a []byte
		return x == nil
	case string, int64, int, float64, bool, time.Time, json.Number, uint64:
		return false
	}
	p, ok := k.unwrap(v)
	return ok && k.isNull(p)
}

// unwrap turns the rarer kinds of a row's values into one of string, int64, uint64, float64, bool, time.Time,
// json.Number, []byte and nil. It also returns a value for which opaque has a reason. ok is false if there is no such
// value, or if v is one already. A sql.NullString and the like are recognised by their form, without database/sql: a
// struct of a value and a bool Valid.
func (k kind) unwrap(v any) (p any, ok bool) {
	if k.opaque(v) != "" {
		return nil, false
	}
	switch r := reflect.ValueOf(v); r.Kind() {
	case reflect.String:
		p = r.String()
	case reflect.Int, reflect.Int8, reflect.Int16, reflect.Int32, reflect.Int64:
		p = r.Int()
	case reflect.Uint, reflect.Uint8, reflect.Uint16, reflect.Uint32, reflect.Uint64:
		p = r.Uint()
	case reflect.Float32, reflect.Float64:
		p = r.Float()
	case reflect.Bool:
		p = r.Bool()
	case reflect.Slice:
		if r.Type().Elem().Kind() != reflect.Uint8 {
			return nil, false
		}
		p = r.Bytes()
	case reflect.Pointer:
		if r.IsNil() {
			return nil, true
		}
		p = r.Elem().Interface()
	case reflect.Struct:
		if t := r.Type(); t.NumField() != 2 || t.Field(1).Name != "Valid" || t.Field(1).Type.Kind() != reflect.Bool ||
			!t.Field(0).IsExported() {
			return nil, false
		}
		if !r.Field(1).Bool() {
			return nil, true
		}
		p = r.Field(0).Interface()
	default:
		return nil, false
	}
	switch p.(type) {
	case nil, string, []byte, int64, uint64, float64, bool, time.Time, json.Number:
		return p, true
	}
	if k.opaque(p) != "" {
		return p, true
	}
	if reflect.TypeOf(p) == reflect.TypeOf(v) {
		return nil, false
	}
	return k.unwrap(p)
}
