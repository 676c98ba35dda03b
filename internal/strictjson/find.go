package strictjson

import (
	"encoding/json"
	"unicode/utf8"
)

// maxFindName is how long the name for [Find] may be, in bytes.
const maxFindName = 64

// Found is the result of [Find].
type Found struct {
	Object bool   // the text is an object
	N      int    // how many members have that name
	First  byte   // the first byte of the first one's value: a quotation mark for a string
	Text   string // that value, if it is a string
}

// Find finds a member of the outermost object and decodes nothing else. It is for input of unknown callers: its
// allocations, except for one value, do not grow with the text.
//
// The whole text must follow the grammar and MaxDepth, but names may be repeated. [Unmarshal] refuses more. Errors are
// an *Error. Name is ASCII of at most 64 bytes.
func Find(data []byte, name string) (f Found, err error) {
	if len(name) > maxFindName {
		panic("strictjson: Find: a name of more than 64 bytes")
	}
	s := scanner{data: data, max: MaxDepth}
	s.space()
	if s.peek() != '{' {
		if s.peek() == '[' {
			return Found{}, nil // not an object: the rest is not checked
		}
		return Found{}, Valid(data, 0)
	}
	f.Object = true
	s.i++
	s.space()
	for first := true; ; first = false {
		if first && s.peek() == '}' {
			s.i++
			break
		}
		hit, ok := s.nameIs(name)
		if !ok || !s.colon() {
			return Found{}, s.err
		}
		start := s.i
		if !s.skip(1) {
			return Found{}, s.err
		}
		if hit {
			if f.N++; f.N == 1 {
				if f.First = data[start]; f.First == '"' {
					if err := json.Unmarshal(data[start:s.i], &f.Text); err != nil {
						return Found{}, &Error{Offset: int64(start), Reason: "not a string", err: err}
					}
				}
			}
		}
		if s.space(); s.peek() == '}' {
			s.i++
			break
		}
		if s.peek() != ',' {
			s.unexpected()
			return Found{}, s.err
		}
		s.i++
		s.space()
	}
	if s.space(); s.i < len(data) {
		s.refuse("trailing data")
		return Found{}, s.err
	}
	return f, nil
}

// nameIs reads a name and reports whether it is want when decoded.
func (s *scanner) nameIs(want string) (same, ok bool) {
	if s.peek() != '"' {
		return false, s.unexpected()
	}
	start := s.i
	escaped, ok := s.str()
	if !ok {
		return false, false
	}
	raw := s.data[start+1 : s.i-1]
	if !escaped {
		return string(raw) == want, true
	}
	if len(raw) > 6*maxFindName { // longer than want, even if every byte of it is written as \u00xx
		return false, true
	}
	var room [6 * maxFindName]byte
	return string(decode(room[:0], raw)) == want, true
}

// decode appends the decoded inside of a string that [scanner.str] accepted.
func decode(dst, raw []byte) []byte {
	for i := 0; i < len(raw); i++ {
		if raw[i] != '\\' {
			dst = append(dst, raw[i])
			continue
		}
		i++
		switch raw[i] {
		case 'b':
			dst = append(dst, '\b')
		case 'f':
			dst = append(dst, '\f')
		case 'n':
			dst = append(dst, '\n')
		case 'r':
			dst = append(dst, '\r')
		case 't':
			dst = append(dst, '\t')
		case 'u':
			h := scanner{data: raw, i: i}
			u, _ := h.hex()
			i = h.i - 1
			dst = utf8.AppendRune(dst, rune(u)) // half a surrogate pair becomes U+FFFD, which no ASCII name holds
		default:
			dst = append(dst, raw[i])
		}
	}
	return dst
}

func (s *scanner) colon() bool {
	s.space()
	if s.peek() != ':' {
		return s.unexpected()
	}
	s.i++
	s.space()
	return true
}

// skip reads one value and discards it.
func (s *scanner) skip(depth int) bool {
	c := s.peek()
	if c != '{' && c != '[' {
		return s.value(nil, depth)
	}
	if !s.enter(depth) {
		return false
	}
	end := byte('}')
	if c == '[' {
		end = ']'
	}
	if s.peek() == end {
		s.i++
		return true
	}
	for {
		if c == '{' {
			if s.peek() != '"' {
				return s.unexpected()
			}
			if _, ok := s.str(); !ok || !s.colon() {
				return false
			}
		}
		if !s.skip(depth + 1) {
			return false
		}
		switch s.space(); s.peek() {
		case ',':
			s.i++
			s.space()
		case end:
			s.i++
			return true
		default:
			return s.unexpected()
		}
	}
}
