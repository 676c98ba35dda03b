package latchkey

import (
	"fmt"
	"math"
	"strings"
	"unicode/utf8"
)

// Action is what a caller wants to do. Latchkey gives a meaning to [Any], and to actions on its own resources beneath
// "latchkey/". Other actions mean what the host makes of them. The names below are the usual ones, and a host adds its
// own. An action is 1 to 64 bytes of [a-z0-9_.:-].
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
	// Mint, on latchkey/token/<id of the token that mints>, is needed where [OwnerPolicy.MintRight] says so.
	Mint Action = "mint"
	// Exceed, on latchkey/token/<id>, exempts an actor from the bounds of its own token: see [Account]. Only a rule that
	// names it allows it. Neither [Any] nor a secret key includes it.
	Exceed Action = "exceed"
	// Give, on latchkey/client/<id> or latchkey/attribute/<name>, lets an actor issue tokens for a client, or with an
	// attribute, that it does not have itself: see [Account]. Only a rule that names it allows it, or a secret key. [Any]
	// does not include it.
	Give Action = "give-identity"
	// Any, in a rule, is every action but Exceed and Give. A Deny of it denies these too. A check of Any is always denied.
	Any Action = "*"
)

// namedActions are the actions that a rule of [Any] does not allow: a rule must name them.
var namedActions = [...]Action{Exceed, Give}

// named reports whether the action is one of namedActions.
func (a Action) named() bool { return a == Exceed || a == Give }

const (
	maxAction   = 64  // bytes
	maxResource = 512 // bytes
	reserved    = "latchkey/"
	upperHex    = "0123456789ABCDEF"
)

// Validate returns nil if a rule may name the action, which includes [Any]. Otherwise the error wraps [ErrInvalid].
func (a Action) Validate() error {
	if a == Any || a.concrete() {
		return nil
	}
	return fmt.Errorf("%w: action %.80q: an action is 1 to %d bytes of a-z 0-9 _ . : -", ErrInvalid, string(a), maxAction)
}

// concrete reports whether the action is valid and not [Any], so that it can be decided about.
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

// Resource is what a decision is about: one or more non-empty segments joined by "/". It is literal: nothing in it is a
// wildcard, and bytes compare exactly. NUL, invalid UTF-8, "." and ".." segments, a raw "*" and more than 512 bytes
// make it invalid. An invalid resource is always denied. Build a resource from input with [Path].
type Resource string

// Path joins segments to a resource. It escapes what is not allowed within a segment, so that input cannot name another
// resource. "%", "/", "*", NUL and invalid UTF-8 bytes become "%" and two hex digits. The segments "." and ".." become
// "%2E" and "%2E%2E", and an empty segment becomes "%".
//
// Different segments make different resources, and [Resource.Segments] is the inverse. The result is valid unless there
// are no segments or it is longer than 512 bytes.
func Path(segments ...string) Resource {
	var space [128]byte
	b := space[:0]
	for i, s := range segments {
		if i > 0 {
			b = append(b, '/')
		}
		b = appendSegment(b, s, math.MaxInt)
	}
	return Resource(b)
}

// appendSegment appends a segment as Path writes it. It may stop once b is longer than most.
func appendSegment(b []byte, s string, most int) []byte {
	switch s {
	case "":
		return append(b, '%')
	case ".":
		return append(b, "%2E"...)
	case "..":
		return append(b, "%2E%2E"...)
	}
	for i := 0; i < len(s) && len(b) <= most; {
		r, n := utf8.DecodeRuneInString(s[i:])
		if r == '%' || r == '/' || r == '*' || r == 0 || r == utf8.RuneError && n == 1 {
			b = append(b, '%', upperHex[s[i]>>4], upperHex[s[i]&15])
			i++
			continue
		}
		b = append(b, s[i:i+n]...)
		i += n
	}
	return b
}

// Segments returns the segments that [Path] made r from. A "%" that Path would not have written stays as it is.
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

// Validate returns an error that wraps [ErrInvalid] if r is not a valid resource.
func (r Resource) Validate() error {
	if why := whyInvalid(string(r)); why != "" {
		return fmt.Errorf("%w: resource %.80q %s", ErrInvalid, string(r), why)
	}
	return nil
}

// valid reports whether Validate returns nil. It is on the path of every decision: one pass over the bytes, no error
// value.
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

// whyInvalid returns why s is not a resource, or "" if it is one.
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

// Pattern is the resources that a rule covers. It is segments joined by "/":
//
//   - A segment of a resource stands for itself: "dataset/orders" is one resource.
//   - [AnySegment] stands for any one segment: "project/{*}/file". It never stands for none, or for two.
//   - [ClientSegment] stands for the id of the client that asks, as [Path] writes it: "user/{*client}/inbox".
//   - "*" at the end stands for everything beneath: "p/*" covers "p/a" and "p/a/b", but not "p". "*" alone is
//     everything.
//
// If the caller has no client, an Allow or a Grant on a pattern with ClientSegment covers nothing. A Deny on it covers
// any segment there: whose it is cannot be known.
//
// Resources beneath "latchkey/" administer latchkey itself. Only patterns that begin with "latchkey/" match them. A
// pattern has at most 512 bytes before its "/*". Build one from input with [Exactly], [Under] and [JoinPatterns].
type Pattern string

// Wildcards of one segment within a [Pattern]. Neither is ever a segment of a resource, because of the raw "*".
const (
	AnySegment    Pattern = "{*}"
	ClientSegment Pattern = "{*client}"
)

// Exactly returns the pattern of one resource. For an invalid resource it returns the empty pattern, which is invalid
// and matches nothing: input cannot become a wildcard.
func Exactly(r Resource) Pattern {
	if !r.valid() {
		return ""
	}
	return Pattern(r)
}

// Under returns the pattern of everything beneath a resource, but not the resource itself. For an invalid resource it
// returns the empty pattern, which is invalid and matches nothing.
func Under(r Resource) Pattern {
	if !r.valid() {
		return ""
	}
	return Pattern(r + "/*")
}

// JoinPatterns joins patterns with "/". Only the last may be "*", or end with it. For anything else it returns the
// empty pattern, which is invalid and matches nothing.
//
//	JoinPatterns(Exactly(Path("project")), AnySegment, Exactly(Path("file", name)))
func JoinPatterns(parts ...Pattern) Pattern {
	texts := make([]string, len(parts))
	for i, p := range parts {
		texts[i] = string(p) // what is invalid within a part is invalid within the whole
	}
	joined := Pattern(strings.Join(texts, "/"))
	if joined.Validate() != nil {
		return ""
	}
	return joined
}

// Validate returns an error that wraps [ErrInvalid] if p is not a valid pattern.
func (p Pattern) Validate() error {
	if p == "*" {
		return nil
	}
	if why := p.whyInvalid(); why != "" {
		return fmt.Errorf(`%w: pattern %.80q %s: it is a resource, "p/*" or "*", with "{*}" for any one segment and `+
			`"{*client}" for the client's id`, ErrInvalid, string(p), why)
	}
	return nil
}

func (p Pattern) whyInvalid() string {
	base, _ := strings.CutSuffix(string(p), "/*")
	if len(base) > maxResource || !p.wild() {
		return whyInvalid(base)
	}
	segments := strings.Split(base, "/")
	for i, s := range segments {
		if wildcard(s) != literal {
			segments[i] = "-"
		}
	}
	return whyInvalid(strings.Join(segments, "/"))
}

// wild reports whether a valid pattern holds a wildcard of one segment.
func (p Pattern) wild() bool { return strings.Contains(string(p), "{*") }

// refersToClient reports whether a valid pattern holds ClientSegment.
func (p Pattern) refersToClient() bool { return strings.Contains(string(p), string(ClientSegment)) }

// segmentKind is what a segment of a pattern stands for.
type segmentKind uint8

const (
	literal       segmentKind = iota // itself
	anySegment                       // any one
	clientSegment                    // the client's id
)

func wildcard(segment string) segmentKind {
	switch segment {
	case string(AnySegment):
		return anySegment
	case string(ClientSegment):
		return clientSegment
	}
	return literal
}

// Matches reports whether a rule on p covers r for a caller without a client. An invalid pattern matches nothing, and
// nothing matches an invalid resource. A pattern with [ClientSegment] matches nothing, as in an Allow.
func (p Pattern) Matches(r Resource) bool { return p.MatchesClient(r, "") }

// MatchesClient reports whether a rule on p covers r for a caller with this [Client] ID; "": for one without a client.
func (p Pattern) MatchesClient(r Resource, clientID string) bool {
	switch {
	case !r.valid() || p.Validate() != nil:
		return false
	case p.wild():
		return p.coversSegments(string(r), clientID, false)
	}
	return p.covers(r)
}

// covers reports whether a rule on p covers r, for a valid pattern without wildcards of one segment and a valid
// resource.
func (p Pattern) covers(r Resource) bool {
	if p == "*" {
		return !strings.HasPrefix(string(r), reserved)
	}
	if base, ok := strings.CutSuffix(string(p), "*"); ok { // keeps the slash: "a/*" is not the parent of "ab"
		return strings.HasPrefix(string(r), base)
	}
	return string(p) == string(r)
}

// coversSegments is covers of a pattern with wildcards of one segment. Without a client, ClientSegment covers any
// segment if anyone is true, as in a Deny, and none otherwise.
func (p Pattern) coversSegments(r, client string, anyone bool) bool {
	if strings.HasPrefix(r, reserved) && !strings.HasPrefix(string(p), reserved) {
		return false
	}
	base, under := strings.CutSuffix(string(p), "/*")
	for {
		want, restOfPattern, more := strings.Cut(base, "/")
		segment, rest, deeper := strings.Cut(r, "/")
		switch wildcard(want) {
		case literal:
			if want != segment {
				return false
			}
		case clientSegment:
			if client == "" && !anyone || client != "" && !fillsSegment(client, segment) {
				return false
			}
		}
		switch {
		case !more:
			return deeper == under
		case !deeper:
			return false
		}
		base, r = restOfPattern, rest
	}
}

// fillsSegment reports whether segment, of a valid resource, is what [Path] writes for the client's id, which is not
// empty. It does not allocate.
func fillsSegment(client, segment string) bool {
	if strings.IndexByte(segment, '%') < 0 {
		return segment == client // nothing in it was escaped
	}
	var space [maxResource + 8]byte
	return string(appendSegment(space[:0], client, len(segment))) == segment
}
