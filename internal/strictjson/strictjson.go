// Package strictjson reads JSON that has exactly one meaning.
//
// encoding/json takes the last of several equal names, and matches names to fields in any case (and U+212A for k,
// U+017F for s). It ignores unknown members, and replaces invalid Unicode by U+FFFD. So two parsers of one text can
// disagree about its meaning, which attackers use to bypass checks. All of that is an error here, as RFC 7493 (I-JSON)
// requires, and more.
package strictjson

import (
	"bytes"
	"encoding/json"
	"errors"
	"reflect"
	"strconv"
	"unicode/utf8"
)

// MaxDepth is how deep arrays and objects may be nested for [Unmarshal].
const MaxDepth = 32

// maxNumber is how many bytes a number may have, more than any float64 needs. Without it a number of a million digits
// would be accepted here, and be slow to read later.
const maxNumber = 1024

// maxMembers is how many members an object may have. It is far more than any document needs, and low enough that a
// hostile object is refused within milliseconds.
const maxMembers = 10_000

// Error tells where a text was refused and why. Its message never holds any of the text.
type Error struct {
	Offset int64 // in bytes, from 0; -1: unknown
	Reason string
	err    error
}

func (e *Error) Error() string {
	if e.Offset < 0 {
		return "json: " + e.Reason
	}
	return "json: at byte " + strconv.FormatInt(e.Offset, 10) + ": " + e.Reason
}

// Unwrap returns the error of a type's own UnmarshalJSON or UnmarshalText, or of encoding/json. It returns nil if this
// package refused the text. The message of that error may hold some of the text.
func (e *Error) Unwrap() error { return e.err }

// Unmarshal is json.Unmarshal, but refuses:
//
//   - duplicate names, names that differ by case alone (from each other or from a field's), and unknown members;
//   - invalid UTF-8, lone surrogates and trailing data;
//   - nesting deeper than MaxDepth, objects of more than 10,000 members, and numbers of more than 1024 bytes.
//
// Numbers that go into an any become json.Number. All errors are an *Error. If the text does not fit v, v may have been
// changed in part.
//
// A type with its own UnmarshalJSON matches its members itself, and does so strictly only if it calls Unmarshal. Values
// that an any inside *v already points to are not checked, so leave such fields nil.
func Unmarshal(data []byte, v any) error { return unmarshal(data, v, false) }

// UnmarshalOpen is [Unmarshal] for protocols whose readers must ignore unknown members. It refuses all that Unmarshal
// refuses, but for unknown members. What is within those is checked, too, and then ignored. A name that differs from a
// field's by case alone is refused: encoding/json would take it for the field's.
func UnmarshalOpen(data []byte, v any) error { return unmarshal(data, v, true) }

func unmarshal(data []byte, v any, open bool) error {
	if err := check(data, MaxDepth, targetType(v), open); err != nil {
		return err
	}
	d := json.NewDecoder(bytes.NewReader(data))
	if !open {
		d.DisallowUnknownFields()
	}
	d.UseNumber()
	err := d.Decode(v)
	if err == nil {
		return nil
	}
	if _, ok := err.(*json.InvalidUnmarshalError); ok {
		return &Error{Offset: -1, Reason: "the target is not a pointer, or nil", err: err}
	}
	if e, ok := err.(*json.UnmarshalTypeError); ok { // its text holds the number
		reason := "a value of the wrong type"
		if e.Field != "" {
			reason += " for " + strconv.Quote(e.Field)
		}
		return &Error{Offset: e.Offset, Reason: reason, err: err}
	}
	// from a nested call: its reason is better, its offset is relative to another text
	if e, ok := errors.AsType[*Error](err); ok {
		return &Error{Offset: -1, Reason: e.Reason, err: err}
	}
	return &Error{Offset: -1, Reason: "a value that does not fit", err: err}
}

// Valid checks a text as [Unmarshal] does before it looks at the target. A maxDepth of 0 allows neither arrays nor
// objects.
func Valid(data []byte, maxDepth int) error { return check(data, maxDepth, nil, false) }

// targetType returns the type that Decode(v) writes to, or nil if it is unknown.
func targetType(v any) reflect.Type {
	rv := reflect.ValueOf(v)
	for (rv.Kind() == reflect.Pointer || rv.Kind() == reflect.Interface) && !rv.IsNil() {
		rv = rv.Elem()
	}
	if !rv.IsValid() || rv.Kind() == reflect.Interface {
		return nil
	}
	return rv.Type()
}

func check(data []byte, maxDepth int, t reflect.Type, open bool) error {
	s := scanner{data: data, max: maxDepth, open: open}
	s.space()
	if !s.value(t, 0) {
		return s.err
	}
	s.space()
	if s.i < len(data) {
		s.refuse("trailing data")
		return s.err
	}
	return nil
}

// scanner reads a text once, from left to right. Its methods return false when s.err is set.
type scanner struct {
	data []byte
	i    int
	max  int
	open bool // unknown members are ignored
	err  error
	fold []byte // reused
}

func (s *scanner) refuse(reason string) bool { return s.refuseAt(s.i, reason) }

func (s *scanner) refuseAt(i int, reason string) bool {
	s.err = &Error{Offset: int64(i), Reason: reason}
	return false
}

// peek returns the next byte, or 0 at the end. A 0 in the text is refused, too.
func (s *scanner) peek() byte {
	if s.i < len(s.data) {
		return s.data[s.i]
	}
	return 0
}

func (s *scanner) unexpected() bool {
	if s.i >= len(s.data) {
		return s.refuse("unexpected end")
	}
	return s.refuse("unexpected byte")
}

func (s *scanner) space() {
	for s.i < len(s.data) {
		switch s.data[s.i] {
		case ' ', '\t', '\n', '\r':
			s.i++
		default:
			return
		}
	}
}

// value reads one value that will be decoded into a t. Nil: into any type.
func (s *scanner) value(t reflect.Type, depth int) bool {
	switch c := s.peek(); {
	case c == '{':
		return s.enter(depth) && s.object(t, depth+1)
	case c == '[':
		return s.enter(depth) && s.array(elem(t), depth+1)
	case c == '"':
		_, ok := s.str()
		return ok
	case c == '-' || isDigit(c):
		return s.number()
	case c == 't':
		return s.word("true")
	case c == 'f':
		return s.word("false")
	case c == 'n':
		return s.word("null")
	}
	return s.unexpected()
}

func (s *scanner) enter(depth int) bool {
	if depth >= s.max {
		return s.refuse("nested too deeply")
	}
	s.i++
	s.space()
	return true
}

func (s *scanner) array(t reflect.Type, depth int) bool {
	if s.peek() == ']' {
		s.i++
		return true
	}
	for {
		if !s.value(t, depth) {
			return false
		}
		s.space()
		switch s.peek() {
		case ',':
			s.i++
			s.space()
		case ']':
			s.i++
			return true
		default:
			return s.unexpected()
		}
	}
}

func (s *scanner) object(t reflect.Type, depth int) bool {
	if s.peek() == '}' {
		s.i++
		return true
	}
	var seen names
	member := members(t)
	for {
		start := s.i
		if s.peek() != '"' {
			return s.unexpected()
		}
		name, ok := s.name()
		if !ok {
			return false
		}
		s.fold = appendFold(s.fold[:0], name)
		if !seen.add(s.fold) {
			return s.refuseAt(start, "a name that the object has already, or has but for its case")
		}
		if seen.n > maxMembers {
			return s.refuseAt(start, "an object of too many members")
		}
		mt, ok := member(name)
		if !ok && !s.open {
			return s.refuseAt(start, "unknown member")
		}
		if !ok && isFieldButForCase(t, s.fold) {
			return s.refuseAt(start, "a name that differs from a known one by its case alone")
		}
		s.space()
		if s.peek() != ':' {
			return s.unexpected()
		}
		s.i++
		s.space()
		if !s.value(mt, depth) {
			return false
		}
		s.space()
		switch s.peek() {
		case ',':
			s.i++
			s.space()
		case '}':
			s.i++
			return true
		default:
			return s.unexpected()
		}
	}
}

// name reads a string and returns it decoded.
func (s *scanner) name() ([]byte, bool) {
	start := s.i
	escaped, ok := s.str()
	if !ok {
		return nil, false
	}
	raw := s.data[start:s.i]
	if !escaped {
		return raw[1 : len(raw)-1], true
	}
	var name string
	if err := json.Unmarshal(raw, &name); err != nil {
		return nil, s.refuseAt(start, "not a string")
	}
	return []byte(name), true
}

func (s *scanner) str() (escaped, ok bool) {
	s.i++
	for s.i < len(s.data) {
		switch c := s.data[s.i]; {
		case c == '"':
			s.i++
			return escaped, true
		case c == '\\':
			escaped = true
			if !s.escape() {
				return false, false
			}
		case c < ' ':
			return false, s.refuse("a control character in a string")
		case c < utf8.RuneSelf:
			s.i++
		default:
			r, n := utf8.DecodeRune(s.data[s.i:])
			if r == utf8.RuneError && n <= 1 {
				return false, s.refuse("invalid UTF-8")
			}
			s.i += n
		}
	}
	return false, s.unexpected()
}

func (s *scanner) escape() bool {
	start := s.i
	s.i++
	switch s.peek() {
	case '"', '\\', '/', 'b', 'f', 'n', 'r', 't':
		s.i++
		return true
	case 'u':
	default:
		return s.unexpected()
	}
	u, ok := s.hex()
	switch {
	case !ok:
		return false
	case u < 0xd800 || u > 0xdfff:
		return true
	case u < 0xdc00 && s.peek() == '\\' && s.i+1 < len(s.data) && s.data[s.i+1] == 'u':
		s.i++
		if low, ok := s.hex(); !ok {
			return false
		} else if low >= 0xdc00 && low <= 0xdfff {
			return true
		}
	}
	return s.refuseAt(start, "a lone surrogate")
}

// hex reads the u of an escape and its four digits.
func (s *scanner) hex() (u uint32, ok bool) {
	s.i++
	for range 4 {
		c := s.peek()
		switch {
		case isDigit(c):
			c -= '0'
		case c >= 'a' && c <= 'f':
			c -= 'a' - 10
		case c >= 'A' && c <= 'F':
			c -= 'A' - 10
		default:
			return 0, s.unexpected()
		}
		u = u<<4 | uint32(c)
		s.i++
	}
	return u, true
}

func (s *scanner) number() bool {
	start := s.i
	if s.peek() == '-' {
		s.i++
	}
	if s.peek() == '0' {
		s.i++
	} else if !s.digits() {
		return false
	}
	if s.peek() == '.' {
		s.i++
		if !s.digits() {
			return false
		}
	}
	if c := s.peek(); c == 'e' || c == 'E' {
		s.i++
		if c := s.peek(); c == '+' || c == '-' {
			s.i++
		}
		if !s.digits() {
			return false
		}
	}
	if s.i-start > maxNumber {
		return s.refuseAt(start, "a number of too many digits")
	}
	return true
}

func (s *scanner) digits() bool {
	if !isDigit(s.peek()) {
		return s.unexpected()
	}
	for isDigit(s.peek()) {
		s.i++
	}
	return true
}

func (s *scanner) word(w string) bool {
	for i := range len(w) {
		if s.peek() != w[i] {
			return s.unexpected()
		}
		s.i++
	}
	return true
}

func isDigit(c byte) bool { return c >= '0' && c <= '9' }
