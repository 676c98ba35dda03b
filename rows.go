package latchkey

import (
	"encoding/json"
	"errors"
	"maps"
	"math"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/latchkey-go/latchkey/internal/strictjson"
)

// Row types the values of a row as Bind types those of a condition, so that it can be written: text from a form becomes
// a number in an Integer or Number field. The result holds
//
//	Text      string
//	Integer   int64
//	Number    int64, float64 if it was a float, else json.Number: the exact decimal text, which drivers pass on as text
//	Float     float64, the nearest
//	Boolean   bool
//	Date      string, 2026-11-22
//	DateTime  string, RFC 3339 in UTC. What is finer than a microsecond is cut; no zone means UTC
//
// and nil where the row has NULL. A field the schema does not know, and a value that does not fit, are a
// *ConditionError. For an Integer and a Number a whole float64 of 2^53 or more does not fit, nor does a whole float32
// of 2^24 or more: an integer that was read into a float may have become another one. Reading JSON into a Row keeps
// numbers. Of two names of one column only the first in byte order stays, if both give the same value; else the row is
// refused. The row itself is not changed.
func (s *Schema) Row(in Row) (Row, error) {
	out := make(Row, len(in))
	for _, name := range slices.Sorted(maps.Keys(in)) {
		slot := s.slots[name]
		if slot == nil {
			return nil, &ConditionError{Field: name, Unknown: true, Reason: noField}
		}
		v, reason := slot.typ.typed(in[name])
		if reason != "" {
			return nil, &ConditionError{Field: name, Reason: reason}
		}
		if first, ok := nameIn(out, slot); ok {
			if !slot.typ.same(out[first], v) {
				return nil, &ConditionError{Field: name, Reason: "given twice, differently: also as " + strconv.Quote(first)}
			}
			continue
		}
		out[name] = v
	}
	return out, nil
}

// nameIn is the name by which a row gives a column.
func nameIn(r Row, s *slot) (string, bool) {
	for _, name := range s.names {
		if _, ok := r[name]; ok {
			return name, true
		}
	}
	return "", false
}

// force returns a copy of a row with the forced values, typed, over the row's, whichever name the row used for a column;
// that name stays.
func (s *Schema) force(row Row, forced Values) (Row, error) {
	values, err := s.Row(Row(forced))
	if err != nil {
		return nil, err
	}
	out := maps.Clone(row)
	if out == nil {
		out = Row{}
	}
	for name, v := range values {
		slot := s.slots[name]
		if used, ok := nameIn(row, slot); ok {
			name = used
		}
		for _, alias := range slot.names {
			delete(out, alias)
		}
		out[name] = v
	}
	return out, nil
}

// sameRow says whether two typed rows give the same columns the same values. Names of one column are one; a NULL is not
// the same as nothing.
func (s *Schema) sameRow(a, b Row) bool {
	return s.covers(a, b) && s.covers(b, a)
}

func (s *Schema) covers(a, b Row) bool {
	for name, v := range b {
		slot := s.slots[name]
		if slot == nil {
			return false
		}
		used, ok := nameIn(a, slot)
		if !ok || !slot.typ.same(a[used], v) {
			return false
		}
	}
	return true
}

// same says whether two values of a row are one, by type. What does not fit the type is the same as nothing.
func (t FieldType) same(a, b any) bool {
	a, reason := t.typed(a)
	b, reason2 := t.typed(b)
	if reason != "" || reason2 != "" {
		return false
	}
	if t == Number && a != nil && b != nil { // Float needs no more than ==, and an Integer is one int64
		return compareDecimals(decimalOf(a), decimalOf(b)) == 0
	}
	return a == b
}

func decimalOf(v any) string {
	switch v := v.(type) {
	case int64:
		return strconv.FormatInt(v, 10)
	case float64:
		return strconv.FormatFloat(v, 'f', -1, 64)
	}
	return string(v.(json.Number))
}

// typed is the form of a row's value that [Schema.Row] documents.
func (t FieldType) typed(v any) (any, string) {
	given := v
	switch x := v.(type) {
	case nil:
		return nil, ""
	case Blob:
		return nil, "a BLOB fits no field"
	case []byte:
		if x == nil {
			return nil, ""
		}
		v = string(x)
	case time.Time:
		return t.typedTime(x)
	case string, int64, float64, bool, json.Number:
	default:
		p, ok := bareValue(v)
		if !ok {
			return nil, "a value of a kind no field holds"
		}
		if u, isUint := p.(uint64); isUint {
			if p = int64(u); u > math.MaxInt64 {
				p = json.Number(strconv.FormatUint(u, 10))
			}
		}
		switch p.(type) {
		case nil, Blob, []byte, time.Time:
			return t.typed(p)
		}
		v = p
	}
	if t == DateTime {
		s, _ := v.(string)
		if micro, ok := parseInstant(s, false); ok {
			return formatInstant(micro), ""
		}
	}
	if f, ok := v.(float64); ok && (t == Integer || t == Number || t == Float) {
		return t.typedFloat(f, isSingle(given))
	}
	if s, ok := v.(string); ok && t == Text { // of any length: it is the host's column
		return v, checkText(s)
	}
	if n, ok := v.(json.Number); ok && t == Float {
		v = string(n) // with its exponent, which no other field takes
	}
	c, reason := canonical(v)
	if reason != "" {
		return nil, reason
	}
	x, reason := t.value(c)
	if reason != "" {
		return nil, reason
	}
	switch {
	case t == Number && !x.whole:
		return json.Number(x.text), ""
	case t == Float:
		return x.float, ""
	}
	return x.boxed, ""
}

func (t FieldType) typedFloat(f float64, single bool) (any, string) {
	exact := float64(exactFloats)
	if single {
		exact = exactSingles
	}
	switch {
	case math.IsNaN(f) || math.IsInf(f, 0):
		return nil, notFinite
	case t == Float:
		return f, ""
	case f != math.Trunc(f):
		if t == Integer {
			return nil, notWhole
		}
		return f, ""
	case math.Abs(f) >= exact:
		return nil, roundedBy + ", or make the field a Float"
	case t == Integer:
		return int64(f), ""
	}
	return f, ""
}

// isSingle reports whether a value of a row is a float32, or leads to one.
func isSingle(v any) bool {
	r := reflect.ValueOf(v)
	for {
		switch r.Kind() {
		case reflect.Float32:
			return true
		case reflect.Pointer, reflect.Interface:
			r = r.Elem()
		case reflect.Struct: // of a value and a bool, or bareValue had refused it
			r = r.Field(0)
		default:
			return false
		}
	}
}

func (t FieldType) typedTime(v time.Time) (any, string) {
	switch t {
	case Date:
		if day, ok := dayOf(v); ok {
			return time.Unix(day*secondsPerDay, 0).UTC().Format(time.DateOnly), ""
		}
		return nil, "a time that is not midnight, or outside the years 1000 to 9999, is no date"
	case DateTime:
		if micro, ok := instantOf(v.Truncate(time.Microsecond)); ok {
			return formatInstant(micro), ""
		}
		return nil, "the time lies outside the years 1000 to 9999"
	}
	return nil, "a time fits a Date or DateTime field only"
}

// UnmarshalJSON reads an object, and adds its members to the row; null makes the row nil. Numbers become a json.Number,
// so that none loses a digit: 1e3 and 1000.0 become 1000. A name that the object has twice, or twice but for its case,
// is a *[ConditionError], as is all else that has not exactly one meaning; the row then stays as it was.
func (r *Row) UnmarshalJSON(data []byte) error {
	var read map[string]any
	if err := strictjson.Unmarshal(data, &read); err != nil {
		var e *strictjson.Error
		if errors.As(err, &e) {
			return malformed(e.Reason)
		}
		return malformed("malformed")
	}
	if read == nil {
		*r = nil
		return nil
	}
	if *r == nil {
		*r = make(Row, len(read))
	}
	for name, v := range read {
		if n, ok := v.(json.Number); ok {
			v = plainNumber(n)
		}
		(*r)[name] = v
	}
	return nil
}

// plainNumber writes a number of JSON without its exponent, and without a fraction that is zero, where a Number field
// could take it; else it stays as it is.
func plainNumber(n json.Number) json.Number {
	mantissa, exponent := string(n), 0
	if at := strings.IndexAny(mantissa, "eE"); at >= 0 {
		var err error
		if exponent, err = strconv.Atoi(mantissa[at+1:]); err != nil || exponent > 100 || exponent < -100 {
			return n
		}
		mantissa = mantissa[:at]
	}
	whole, fraction, ok := splitDecimal(mantissa)
	if !ok || len(mantissa) > 200 {
		return n
	}
	sign := ""
	if whole[0] == '-' {
		sign, whole = "-", whole[1:]
	}
	digits, point := whole+fraction, len(whole)+exponent
	if point < 0 {
		digits, point = strings.Repeat("0", -point)+digits, 0
	}
	if point > len(digits) {
		digits += strings.Repeat("0", point-len(digits))
	}
	whole, fraction = strings.TrimLeft(digits[:point], "0"), digits[point:]
	if exponent != 0 || strings.Trim(fraction, "0") == "" {
		fraction = strings.TrimRight(fraction, "0")
	}
	if len(whole) > maxWholeDigits || len(fraction) > maxFractionDigits {
		return n
	}
	if whole == "" {
		whole = "0"
	}
	if fraction != "" {
		whole += "." + fraction
	}
	return json.Number(sign + whole)
}

func formatInstant(micro int64) string {
	return time.UnixMicro(micro).UTC().Format("2006-01-02T15:04:05.999999Z07:00")
}
