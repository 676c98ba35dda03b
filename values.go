package latchkey

import (
	"encoding/json"
	"hash/maphash"
	"math"
	"reflect"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"
)

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
		if reason := checkName(name); reason != "" {
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

// checkName says what is wrong with a field name, "" if nothing is.
func checkName(name string) string {
	switch {
	case name == "":
		return "the field has no name"
	case len(name) > maxNameBytes:
		return "the name of the field is too long"
	}
	if reason := checkText(name); reason != "" {
		return "the name of the field " + strings.TrimPrefix(reason, "the text ")
	}
	return ""
}

func checkText(s string) string {
	switch {
	case strings.IndexByte(s, 0) >= 0:
		return "the text holds a NUL"
	case !utf8.ValidString(s):
		return "the text is not valid UTF-8"
	}
	return ""
}

// canonical gives a single value the one form it has in conditions and forced values: string, bool, int64, json.Number
// or RefVar. So values compare, and survive JSON, exactly.
func canonical(value any) (v any, reason string) {
	switch x := value.(type) {
	case nil:
		return nil, "the value is missing: for NULL ask is-null"
	case string:
		return canonicalText(value, x)
	case bool, RefVar:
		return value, ""
	case int64:
		return value, ""
	case int:
		return int64(x), ""
	case float64:
		return canonicalFloat(x, exactFloats)
	case json.Number:
		return canonicalNumber(string(x))
	case time.Time:
		x = x.UTC()
		if y := x.Year(); y < 1000 || y > 9999 {
			return nil, "the year lies outside 1000 to 9999"
		}
		return x.Format("2006-01-02T15:04:05.999999Z07:00"), ""
	}
	// Named types and the rarer kinds.
	switch r := reflect.ValueOf(value); r.Kind() {
	case reflect.String:
		return canonicalText(nil, r.String())
	case reflect.Bool:
		return r.Bool(), ""
	case reflect.Int, reflect.Int8, reflect.Int16, reflect.Int32, reflect.Int64:
		return r.Int(), ""
	case reflect.Uint, reflect.Uint8, reflect.Uint16, reflect.Uint32, reflect.Uint64:
		if u := r.Uint(); u > math.MaxInt64 {
			return json.Number(strconv.FormatUint(u, 10)), ""
		}
		return int64(r.Uint()), ""
	case reflect.Float32:
		return canonicalFloat(r.Float(), exactSingles)
	case reflect.Float64:
		return canonicalFloat(r.Float(), exactFloats)
	case reflect.Slice, reflect.Array:
		return nil, "a list goes with in only"
	}
	return nil, "a value is text, a number, true or false, or a time"
}

// canonicalText takes the text also as it came, boxed, to spare an allocation.
func canonicalText(boxed any, s string) (any, string) {
	if len(s) > maxValueBytes {
		return nil, "the text is longer than 64 KiB"
	}
	if reason := checkText(s); reason != "" {
		return nil, reason
	}
	if boxed == nil {
		boxed = s
	}
	return boxed, ""
}

// exactSingles is exactFloats of a float32.
const exactSingles = 1 << 24

const (
	notFinite = "the number is not finite"
	roundedBy = "a float this large may be a rounded integer: give an integer, a json.Number or text"
)

// canonicalFloat refuses a whole float of the magnitude exact or more: which integer it was cannot be told any more.
func canonicalFloat(f, exact float64) (any, string) {
	switch {
	case math.IsNaN(f) || math.IsInf(f, 0):
		return nil, notFinite
	case math.Abs(f) >= exact && f == math.Trunc(f):
		return nil, roundedBy
	}
	return canonicalNumber(strconv.FormatFloat(f, 'f', -1, 64))
}

// canonicalNumber takes decimal text in the grammar of JSON, without an exponent: 1e9 is a number of unclear precision,
// and 1e999999999 is an attack.
func canonicalNumber(s string) (any, string) {
	if len(s) > maxValueBytes {
		return nil, "the number is too long"
	}
	whole, _, ok := splitDecimal(s)
	digits := strings.TrimPrefix(whole, "-")
	if !ok || len(digits) > 1 && digits[0] == '0' {
		return nil, "the number is not plain decimal"
	}
	if len(whole) == len(s) {
		if i, err := strconv.ParseInt(s, 10, 64); err == nil {
			return i, ""
		}
	}
	return json.Number(s), ""
}

// parseFloat reads text of the form -?d+(.d+)?([eE][+-]?d+)? as the nearest float64. What lies beyond every float64 is
// none.
func parseFloat(s string) (float64, bool) {
	mantissa := s
	if at := strings.IndexAny(s, "eE"); at >= 0 {
		exponent := s[at+1:]
		if exponent != "" && (exponent[0] == '+' || exponent[0] == '-') {
			exponent = exponent[1:]
		}
		mantissa = s[:at]
		if exponent == "" || strings.Trim(exponent, "0123456789") != "" {
			return 0, false
		}
	}
	if _, _, ok := splitDecimal(mantissa); !ok {
		return 0, false
	}
	f, err := strconv.ParseFloat(s, 64)
	return f, err == nil
}

// splitDecimal splits text of the form -?d+(.d+)? at its point.
func splitDecimal(s string) (whole, fraction string, ok bool) {
	i := 0
	if len(s) > 0 && s[0] == '-' {
		i = 1
	}
	start := i
	for i < len(s) && s[i]-'0' <= 9 {
		i++
	}
	if i == start {
		return whole, fraction, false
	}
	whole = s[:i]
	if i == len(s) {
		return whole, fraction, true
	}
	if s[i] != '.' || i+1 == len(s) {
		return whole, fraction, false
	}
	fraction = s[i+1:]
	for j := range len(fraction) {
		if fraction[j]-'0' > 9 {
			return whole, fraction, false
		}
	}
	return whole, fraction, true
}

// canonicalList is the value of In: a fresh []any of canonical values.
func canonicalList(value any) (any, string) {
	if list, ok := value.([]string); ok { // roles, the common case
		if len(list) > maxListItems {
			return nil, "the list is longer than 1,000 values"
		}
		out := make([]any, len(list))
		for i, s := range list {
			v, reason := canonicalText(nil, s)
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
		if c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c == '_' || i > 0 && (c >= '0' && c <= '9' || c == '-' || c == '.') {
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
