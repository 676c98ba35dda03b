package latchkey

import (
	"fmt"
	"strings"
	"unicode/utf8"
)

// Action is what a caller wants to do. Latchkey gives meaning to none but [Any]; the names below are the usual ones and
// a host adds its own. An action is 1 to 64 bytes of [a-z0-9_.:-].
type Action string

const (
	Read   Action = "read"
	Create Action = "create"
	Update Action = "update"
	Delete Action = "delete"
	Alter  Action = "alter"
	Use    Action = "use"
	Reveal Action = "reveal" // of a token's secret, on latchkey/token/<id>
	Rotate Action = "rotate" // of a token's secret, on latchkey/token/<id>
	// Exceed, on latchkey/token/<id>, frees an actor of the bounds of its own token: see [Account]. Only a rule that
	// names it allows it. Neither [Any] nor a secret key includes it.
	Exceed Action = "exceed"
	// Any, in a rule, is every action but Exceed. A Deny of it denies Exceed too. It is never asked about.
	Any Action = "*"
)

const (
	maxAction   = 64  // bytes
	maxResource = 512 // bytes
	reserved    = "latchkey/"
	upperHex    = "0123456789ABCDEF"
)

// Validate says whether a rule may name the action: [Any] passes, though nobody may ask about it. The error wraps
// [ErrInvalid].
func (a Action) Validate() error {
	if a == Any || a.concrete() {
		return nil
	}
	return fmt.Errorf("%w: action %.80q is not 1 to %d bytes of a-z 0-9 _ . : -", ErrInvalid, string(a), maxAction)
}

// askable says whether the action may be asked about.
func (a Action) concrete() bool {
	if len(a) == 0 || len(a) > maxAction {
		return false
	}
	for i := range len(a) {
		switch c := a[i]; {
		case 'a' <= c && c <= 'z', '0' <= c && c <= '9', c == '_', c == '.', c == ':', c == '-':
		default:
			return false
		}
	}
	return true
}

// Resource is what is asked about: one or more non-empty segments joined by "/". It is literal: nothing in it is a
// wildcard, and bytes compare exactly. NUL, invalid UTF-8, "." and ".." segments, a raw "*" and more than 512 bytes
// make it invalid; an invalid resource is denied whatever the rules say. Build one from input with [Path].
type Resource string

// Path joins segments to a resource, so that input can never name another one: it escapes whatever is not allowed
// within a segment. "%", "/", "*", NUL and bytes that are no UTF-8 become "%" and two hex digits, the segments "." and
// ".." become "%2E" and "%2E%2E", and an empty segment becomes a lone "%". Different segments make different resources;
// [Resource.Segments] turns one back. The result is valid unless there are no segments or it is longer than 512 bytes.
func Path(segments ...string) Resource {
	var b strings.Builder
	for i, s := range segments {
		if i > 0 {
			b.WriteByte('/')
		}
		switch s {
		case "":
			b.WriteByte('%')
		case ".":
			b.WriteString("%2E")
		case "..":
			b.WriteString("%2E%2E")
		default:
			escapeSegment(&b, s)
		}
	}
	return Resource(b.String())
}

func escapeSegment(b *strings.Builder, s string) {
	for i := 0; i < len(s); {
		r, n := utf8.DecodeRuneInString(s[i:])
		if r == '%' || r == '/' || r == '*' || r == 0 || r == utf8.RuneError && n == 1 {
			b.WriteByte('%')
			b.WriteByte(upperHex[s[i]>>4])
			b.WriteByte(upperHex[s[i]&15])
			i++
			continue
		}
		b.WriteString(s[i : i+n])
		i += n
	}
}

// Segments returns what [Path] was given to make r. A "%" that Path would not have written stands for itself.
func (r Resource) Segments() []string {
	segments := strings.Split(string(r), "/")
	for i, s := range segments {
		segments[i] = unescapeSegment(s)
	}
	return segments
}

func unescapeSegment(s string) string {
	if s == "%" {
		return ""
	}
	if !strings.Contains(s, "%") {
		return s
	}
	var b strings.Builder
	for i := 0; i < len(s); i++ {
		if s[i] == '%' && i+2 < len(s) {
			hi, lo := strings.IndexByte(upperHex, s[i+1]), strings.IndexByte(upperHex, s[i+2])
			if hi >= 0 && lo >= 0 {
				b.WriteByte(byte(hi<<4 | lo))
				i += 2
				continue
			}
		}
		b.WriteByte(s[i])
	}
	return b.String()
}

// Validate says whether r can be asked about. The error wraps [ErrInvalid].
func (r Resource) Validate() error {
	if why := whyInvalid(string(r)); why != "" {
		return fmt.Errorf("%w: resource %.80q %s", ErrInvalid, string(r), why)
	}
	return nil
}

// sound is Validate on the way of every decision: one pass over the bytes, no error made.
func (r Resource) valid() bool {
	if len(r) == 0 || len(r) > maxResource {
		return false
	}
	start := 0 // of the segment
	for i := 0; i < len(r); i++ {
		switch byteClass[r[i]] {
		case plainByte:
		case slashByte:
			if emptyOrDots(string(r[start:i])) {
				return false
			}
			start = i + 1
		case badByte:
			return false
		default:
			return whyInvalid(string(r)) == ""
		}
	}
	return !emptyOrDots(string(r[start:]))
}

const (
	plainByte = iota
	slashByte
	badByte
	wideByte // of a longer UTF-8 sequence
)

var byteClass = func() (class [256]uint8) {
	class['/'], class['*'], class[0] = slashByte, badByte, badByte
	for c := utf8.RuneSelf; c < 256; c++ {
		class[c] = wideByte
	}
	return class
}()

func emptyOrDots(segment string) bool { return segment == "" || segment == "." || segment == ".." }

// faultIn says what keeps s from being a resource; "" if nothing does.
func whyInvalid(s string) string {
	switch {
	case s == "":
		return "is empty"
	case len(s) > maxResource:
		return fmt.Sprintf("is longer than %d bytes", maxResource)
	case !utf8.ValidString(s):
		return "is not valid UTF-8"
	case strings.ContainsRune(s, 0):
		return "holds a NUL"
	case strings.Contains(s, "*"):
		return `holds a raw "*"`
	}
	for segment := range strings.SplitSeq(s, "/") {
		if segment == "" {
			return "has an empty segment"
		}
		if emptyOrDots(segment) {
			return fmt.Sprintf("has a %q segment", segment)
		}
	}
	return ""
}

// Pattern is what a rule speaks about: a resource, "p/*" for everything beneath p (but not p itself), or "*" for
// everything. Resources beneath "latchkey/", which administer latchkey itself, lie beneath no pattern that does not
// begin with "latchkey/".
type Pattern string

// Exactly is the pattern of one resource. Of an invalid resource it is the empty pattern, which is invalid and matches
// nothing: input can never become a wildcard.
func Exactly(r Resource) Pattern {
	if !r.valid() {
		return ""
	}
	return Pattern(r)
}

// Under is the pattern of everything beneath a resource, but not the resource itself. Of an invalid resource it is the
// empty pattern, which is invalid and matches nothing.
func Under(r Resource) Pattern {
	if !r.valid() {
		return ""
	}
	return Pattern(r + "/*")
}

// Validate says whether p is a pattern. The error wraps [ErrInvalid].
func (p Pattern) Validate() error {
	if p == "*" {
		return nil
	}
	base, _ := strings.CutSuffix(string(p), "/*")
	if why := whyInvalid(base); why != "" {
		return fmt.Errorf(`%w: pattern %.80q %s: it is a resource, "p/*" or "*"`, ErrInvalid, string(p), why)
	}
	return nil
}

// Matches says whether a rule on p speaks about r. An invalid pattern matches nothing, an invalid resource is matched
// by nothing.
func (p Pattern) Matches(r Resource) bool { return r.valid() && p.Validate() == nil && p.covers(r) }

// covers is Matches of a valid pattern and resource.
func (p Pattern) covers(r Resource) bool {
	if p == "*" {
		return !strings.HasPrefix(string(r), reserved)
	}
	if base, ok := strings.CutSuffix(string(p), "*"); ok { // keeps the slash: "a/*" is not the parent of "ab"
		return strings.HasPrefix(string(r), base)
	}
	return string(p) == string(r)
}
