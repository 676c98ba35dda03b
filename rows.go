package latchkey

import (
	"encoding/json"
	"math"
	"reflect"
	"strconv"
	"time"
)

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

func formatInstant(micro int64) string {
	return time.UnixMicro(micro).UTC().Format("2006-01-02T15:04:05.999999Z07:00")
}
