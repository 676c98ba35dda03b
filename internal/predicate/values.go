package predicate

import (
	"encoding/json"
	"math"
	"reflect"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"
)

const (
	MaxText = 64 << 10 // bytes of one text value
	MaxName = 512      // bytes of the name of a field
)

// CheckName returns what is wrong with the name of a field, or "" if it is valid.
func CheckName(name string) string {
	switch {
	case name == "":
		return "the field has no name"
	case len(name) > MaxName:
		return "the name of the field is too long"
	}
	if reason := CheckText(name); reason != "" {
		return "the name of the field " + strings.TrimPrefix(reason, "the text ")
	}
	return ""
}

// CheckText returns what is wrong with a text, or "" if it is valid.
func CheckText(s string) string {
	switch {
	case strings.IndexByte(s, 0) >= 0:
		return "the text holds a NUL"
	case !utf8.ValidString(s):
		return "the text is not valid UTF-8"
	}
	return ""
}

// Canonical returns the canonical form of a single value in conditions and forced values: string, bool, int64 or
// json.Number. So values compare, and survive JSON, exactly.
func Canonical(value any) (v any, reason string) {
	switch x := value.(type) {
	case nil:
		return nil, "the value is missing: use is-null to find NULL"
	case string:
		return CanonicalText(value, x)
	case bool:
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
	// Named types and other kinds.
	switch r := reflect.ValueOf(value); r.Kind() {
	case reflect.String:
		return CanonicalText(nil, r.String())
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

// CanonicalText is Canonical for a text. boxed is the same text in an interface, to save an allocation; nil if there is
// none.
func CanonicalText(boxed any, s string) (any, string) {
	if len(s) > MaxText {
		return nil, "the text is longer than 64 KiB"
	}
	if reason := CheckText(s); reason != "" {
		return nil, reason
	}
	if boxed == nil {
		boxed = s
	}
	return boxed, ""
}

// exactSingles is exactFloats for a float32.
const exactSingles = 1 << 24

const (
	notFinite = "the number is not finite"
	roundedBy = "a float this large may be a rounded integer: give an integer, a json.Number or text"
)

// canonicalFloat refuses a whole float of the magnitude exact or more, which may be a rounded integer.
func canonicalFloat(f, exact float64) (any, string) {
	switch {
	case math.IsNaN(f) || math.IsInf(f, 0):
		return nil, notFinite
	case math.Abs(f) >= exact && f == math.Trunc(f):
		return nil, roundedBy
	}
	return canonicalNumber(strconv.FormatFloat(f, 'f', -1, 64))
}

// canonicalNumber reads decimal text in the grammar of JSON, without an exponent: the precision of 1e9 is unclear, and
// 1e999999999 is an attack.
func canonicalNumber(s string) (any, string) {
	if len(s) > MaxText {
		return nil, "the number is too long"
	}
	whole, _, ok := SplitDecimal(s)
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

// parseFloat reads text of the form -?d+(.d+)?([eE][+-]?d+)? as the nearest float64. It returns false for a number
// beyond every float64.
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
	if _, _, ok := SplitDecimal(mantissa); !ok {
		return 0, false
	}
	f, err := strconv.ParseFloat(s, 64)
	return f, err == nil
}

// SplitDecimal splits text of the form -?d+(.d+)? at its point.
func SplitDecimal(s string) (whole, fraction string, ok bool) {
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
