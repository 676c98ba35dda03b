package predicate

import (
	"encoding/json"
	"maps"
	"math"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"time"
)

// same reports whether two values of a row are equal, by type. A value that does not fit the type equals nothing.
func (k kind) same(a, b any) bool {
	a, reason := k.normalise(a)
	b, reason2 := k.normalise(b)
	if reason != "" || reason2 != "" {
		return false
	}
	if k.typ == Number && a != nil && b != nil { // Float needs no more than ==, and an Integer is one int64
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

// normalise returns the typed form of a row's value, which Schema.Row of the root package documents, or why there is
// none.
func (k kind) normalise(v any) (any, string) {
	t, given := k.typ, v
	switch x := v.(type) {
	case nil:
		return nil, ""
	case []byte:
		if x == nil {
			return nil, ""
		}
		v = string(x)
	case time.Time:
		return t.normaliseTime(x)
	case string, int64, float64, bool, json.Number:
	default:
		if reason := k.opaque(v); reason != "" {
			return nil, reason
		}
		p, ok := k.unwrap(v)
		if !ok {
			return nil, "a value of a kind no field holds"
		}
		if u, isUint := p.(uint64); isUint {
			if p = int64(u); u > math.MaxInt64 {
				p = json.Number(strconv.FormatUint(u, 10))
			}
		}
		switch p.(type) {
		case string, int64, float64, bool, json.Number:
			v = p
		default: // nil, []byte, time.Time, or opaque
			return k.normalise(p)
		}
	}
	if t == DateTime {
		s, _ := v.(string)
		if micro, ok := parseInstant(s, false); ok {
			return formatInstant(micro), ""
		}
	}
	if f, ok := v.(float64); ok && (t == Integer || t == Number || t == Float) {
		return t.normaliseFloat(f, isSingle(given))
	}
	if s, ok := v.(string); ok && t == Text { // of any length: the host's column decides
		return v, CheckText(s)
	}
	if n, ok := v.(json.Number); ok && t == Float {
		v = string(n) // may have an exponent, which no other type takes
	}
	c, reason := Canonical(v)
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

func (t Type) normaliseFloat(f float64, single bool) (any, string) {
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
		case reflect.Struct: // of a value and a bool, or unwrap had returned false
			r = r.Field(0)
		default:
			return false
		}
	}
}

func (t Type) normaliseTime(v time.Time) (any, string) {
	switch t {
	case Date:
		if day, ok := dayOf(v); ok {
			return time.Unix(day*secondsPerDay, 0).UTC().Format(time.DateOnly), ""
		}
		return nil, "a date field takes a time at midnight, of the years 1000 to 9999"
	case DateTime:
		if micro, ok := instantOf(v.Truncate(time.Microsecond)); ok {
			return formatInstant(micro), ""
		}
		return nil, "the time lies outside the years 1000 to 9999"
	}
	return nil, "a time fits a Date or DateTime field only"
}

func formatInstant(micro int64) string {
	return time.UnixMicro(micro).UTC().Format("2006-01-02T15:04:05.999999Z07:00")
}

// Row returns the row with its values typed, as Schema.Row of the root package documents.
func (s *Schema) Row(in map[string]any) (map[string]any, *FieldError) {
	out := make(map[string]any, len(in))
	for _, name := range slices.Sorted(maps.Keys(in)) {
		slot := s.slots[name]
		if slot == nil {
			return nil, &FieldError{Field: name, Unknown: true, Reason: noField}
		}
		v, reason := slot.normalise(in[name])
		if reason != "" {
			return nil, &FieldError{Field: name, Reason: reason}
		}
		if first, ok := slot.nameIn(out); ok {
			if !slot.same(out[first], v) {
				return nil, &FieldError{Field: name, Reason: "given twice, differently: also as " + strconv.Quote(first)}
			}
			continue
		}
		out[name] = v
	}
	return out, nil
}

// nameIn returns the name that a row uses for the column.
func (s *slot) nameIn(r map[string]any) (string, bool) {
	for _, name := range s.names {
		if _, ok := r[name]; ok {
			return name, true
		}
	}
	return "", false
}

// Force returns a copy of a row with other values, typed, in place of its own. A column keeps the name that the row
// uses for it.
func (s *Schema) Force(row, values map[string]any) (map[string]any, *FieldError) {
	typed, err := s.Row(values)
	if err != nil {
		return nil, err
	}
	out := maps.Clone(row)
	if out == nil {
		out = map[string]any{}
	}
	for name, v := range typed {
		slot := s.slots[name]
		if used, ok := slot.nameIn(row); ok {
			name = used
		}
		for _, alias := range slot.names {
			delete(out, alias)
		}
		out[name] = v
	}
	return out, nil
}

// SameRow reports whether two typed rows have the same values in the same columns. Names of one column are one. A NULL
// differs from an absent value.
func (s *Schema) SameRow(a, b map[string]any) bool { return s.holds(a, b) && s.holds(b, a) }

// holds reports whether a has every value of b.
func (s *Schema) holds(a, b map[string]any) bool {
	for name, v := range b {
		slot := s.slots[name]
		if slot == nil {
			return false
		}
		used, ok := slot.nameIn(a)
		if !ok || !slot.same(a[used], v) {
			return false
		}
	}
	return true
}

// PlainNumber returns a JSON number without its exponent, and without a fraction that is zero, if a Number field could
// take it. Otherwise it returns n.
func PlainNumber(n json.Number) json.Number {
	mantissa, exponent := string(n), 0
	if at := strings.IndexAny(mantissa, "eE"); at >= 0 {
		var err error
		if exponent, err = strconv.Atoi(mantissa[at+1:]); err != nil || exponent > 100 || exponent < -100 {
			return n
		}
		mantissa = mantissa[:at]
	}
	whole, fraction, ok := SplitDecimal(mantissa)
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
