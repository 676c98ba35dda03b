package latchkeygrpc

import (
	"errors"
	"fmt"
	"strconv"
	"strings"
	"sync/atomic"
	"unicode/utf8"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"

	"github.com/latchkey-go/latchkey"
	"github.com/latchkey-go/latchkey/httpadapter"
)

const maxResource = 512 // bytes, as of latchkey.Resource

// template is a resource with segments that fields of the request fill in: "order/{order.id}".
type template struct {
	text     string
	constant latchkey.Resource // the whole resource if it names no field
	segments []segment
	resolved atomic.Pointer[fields]
}

type segment struct {
	text string   // as it is written
	path []string // the names of fields; nil: text is literal
}

// fields are the fields that a template names in one type of message.
type fields struct {
	of    protoreflect.MessageDescriptor
	paths [][]protoreflect.FieldDescriptor // by segment; nil: it is literal
}

// parseTemplate returns an error for a text that can never name a resource.
func parseTemplate(text string) (*template, error) {
	t := &template{text: text}
	bad := func(why string) (*template, error) { return nil, fmt.Errorf("resource %q: %s", text, why) }
	if !utf8.ValidString(text) || strings.IndexByte(text, 0) >= 0 || len(text) > maxResource {
		return bad(fmt.Sprintf("it must be valid UTF-8 without NUL, at most %d bytes", maxResource))
	}
	names := false
	for part := range strings.SplitSeq(text, "/") {
		s := segment{text: part}
		switch inner, opened := strings.CutPrefix(part, "{"); {
		case opened:
			inner, closed := strings.CutSuffix(inner, "}")
			s.path = strings.Split(inner, ".")
			if !closed || !validNames(s.path) {
				return bad(`write a field as a whole segment: "{name}", or "{order.id}" for a field of a field`)
			}
			names = true
		case strings.ContainsAny(part, "{}"):
			return bad(`write a field as a whole segment: "{name}", or "{order.id}" for a field of a field`)
		case part == "":
			return bad("remove the empty segment")
		case part == "." || part == "..":
			return bad(`remove the "." or ".." segment`)
		case strings.Contains(part, "*"):
			return bad(`"*" is a pattern; name one resource, or a field of the request, "{name}"`)
		}
		t.segments = append(t.segments, s)
	}
	if !names {
		t.constant = latchkey.Resource(text)
	}
	return t, nil
}

// shape is t with wildcards as the routes of HTTP have them: "order/{1}".
func (t *template) shape() string {
	parts := make([]string, len(t.segments))
	for i, s := range t.segments {
		if parts[i] = s.text; s.path != nil {
			parts[i] = "{" + strconv.Itoa(i) + "}"
		}
	}
	return strings.Join(parts, "/")
}

// validNames reports whether each of them can be the name of a field.
func validNames(names []string) bool {
	for _, name := range names {
		if !protoreflect.Name(name).IsValid() {
			return false
		}
	}
	return len(names) > 0
}

// resolve finds the fields of a type of message.
func (t *template) resolve(of protoreflect.MessageDescriptor) (*fields, error) {
	found := &fields{of: of, paths: make([][]protoreflect.FieldDescriptor, len(t.segments))}
	for i, s := range t.segments {
		if s.path == nil {
			continue
		}
		path, err := resolvePath(of, s.path)
		if err != nil {
			return nil, fmt.Errorf("resource %q: %w", t.text, err)
		}
		found.paths[i] = path
	}
	return found, nil
}

func resolvePath(of protoreflect.MessageDescriptor, names []string) ([]protoreflect.FieldDescriptor, error) {
	var path []protoreflect.FieldDescriptor
	for i, name := range names {
		fd := of.Fields().ByName(protoreflect.Name(name))
		last := i == len(names)-1
		switch {
		case fd == nil:
			if other := of.Fields().ByJSONName(name); other != nil {
				return nil, fmt.Errorf("%s has no field %q: write its name in the proto file, %q", of.FullName(), name,
					other.Name())
			}
			return nil, fmt.Errorf("%s has no field %q", of.FullName(), name)
		case fd.Cardinality() == protoreflect.Repeated: // a map, too
			return nil, fmt.Errorf("field %q of %s is repeated: a resource needs one value", name, of.FullName())
		case !last && fd.Message() == nil:
			return nil, fmt.Errorf("field %q of %s is no message: it has no field %q", name, of.FullName(), names[i+1])
		case last && !nameable(fd.Kind()):
			return nil, fmt.Errorf("field %q of %s is of type %v: a resource takes strings and whole numbers only",
				name, of.FullName(), fd.Kind())
		}
		path = append(path, fd)
		of = fd.Message()
	}
	return path, nil
}

// nameable reports whether a value of that kind names something, in one way only.
func nameable(k protoreflect.Kind) bool {
	switch k {
	case protoreflect.StringKind,
		protoreflect.Int32Kind, protoreflect.Sint32Kind, protoreflect.Sfixed32Kind,
		protoreflect.Int64Kind, protoreflect.Sint64Kind, protoreflect.Sfixed64Kind,
		protoreflect.Uint32Kind, protoreflect.Fixed32Kind, protoreflect.Uint64Kind, protoreflect.Fixed64Kind:
		return true
	}
	return false
}

// errNoMessage is a programming error: a codec whose messages have no fields that can be asked for.
var errNoMessage = errors.New("the message is no proto.Message")

// resource replaces the fields by those of a message. Each value becomes one literal segment.
func (t *template) resource(msg any, escapes bool) (latchkey.Resource, error) {
	if t.constant != "" {
		return t.constant, nil
	}
	pm, ok := msg.(proto.Message)
	if !ok {
		return "", &templateError{t.text, errNoMessage}
	}
	m := pm.ProtoReflect()
	of := t.resolved.Load()
	if of == nil || of.of != m.Descriptor() {
		var err error
		if of, err = t.resolve(m.Descriptor()); err != nil {
			return "", &templateError{t.text, err}
		}
		t.resolved.Store(of)
	}
	var space [128]byte
	b := space[:0]
	for i, s := range t.segments {
		if i > 0 {
			b = append(b, '/')
		}
		if s.path == nil {
			b = append(b, s.text...)
			continue
		}
		var reason string
		if b, reason = appendValue(b, m, of.paths[i], escapes); reason != "" {
			return "", &fieldError{field: strings.Join(s.path, "."), reason: reason}
		}
		if len(b) > maxResource {
			return "", &fieldError{field: strings.Join(s.path, "."), reason: "the value is too long"}
		}
	}
	return latchkey.Resource(b), nil
}

// appendValue appends the value at the end of a path, as one segment. The reason says why it names nothing, or could
// name two things; "": it names one.
func appendValue(b []byte, m protoreflect.Message, path []protoreflect.FieldDescriptor, escapes bool) (
	_ []byte, reason string) {
	last := len(path) - 1
	for _, fd := range path[:last] {
		m = m.Get(fd).Message() // empty if it is not set
	}
	fd := path[last]
	if !m.Has(fd) { // for a field without presence: zero, or empty
		return b, "it is not set"
	}
	switch v := m.Get(fd); fd.Kind() {
	case protoreflect.StringKind:
		text := v.String()
		if reason := ambiguity(text, escapes); reason != "" {
			return b, reason
		}
		return append(b, latchkey.Path(text)...), ""
	case protoreflect.Int32Kind, protoreflect.Sint32Kind, protoreflect.Sfixed32Kind,
		protoreflect.Int64Kind, protoreflect.Sint64Kind, protoreflect.Sfixed64Kind:
		return strconv.AppendInt(b, v.Int(), 10), ""
	case protoreflect.Uint32Kind, protoreflect.Fixed32Kind, protoreflect.Uint64Kind, protoreflect.Fixed64Kind:
		return strconv.AppendUint(b, v.Uint(), 10), ""
	}
	return b, "it is no string or whole number" // fail closed: nameable let it through
}

// ambiguity returns why readers of a value could understand it differently, or "" if they cannot. The rules are those
// of httpadapter.Adapter.Require.
func ambiguity(v string, escapes bool) string {
	switch {
	case v == "":
		return "it is empty"
	case len(v) > maxResource:
		return "the value is too long"
	case !utf8.ValidString(v) || strings.IndexByte(v, 0) >= 0:
		return "it is not valid UTF-8, or holds a NUL"
	case !escapes && hasEscape(v):
		return "it has a percent sign before two hex digits, which may be decoded once more"
	}
	for len(v) > 0 {
		segment, rest := v, ""
		if i := strings.IndexAny(v, `/\`); i >= 0 {
			segment, rest = v[:i], v[i+1:]
			if rest == "" {
				return `it has an empty, "." or ".." segment`
			}
		}
		if segment == "" || segment == "." || segment == ".." {
			return `it has an empty, "." or ".." segment`
		}
		v = rest
	}
	return ""
}

// hasEscape reports whether decoding s once more would change it.
func hasEscape(s string) bool {
	for i := 0; i+2 < len(s); i++ {
		if s[i] == '%' && isHexDigit(s[i+1]) && isHexDigit(s[i+2]) {
			return true
		}
	}
	return false
}

func isHexDigit(c byte) bool {
	return '0' <= c && c <= '9' || 'a' <= c && c <= 'f' || 'A' <= c && c <= 'F'
}

// fieldError is a request whose field names no resource, or could name two. It holds nothing that the caller sent.
type fieldError struct{ field, reason string }

func (e *fieldError) Error() string {
	return fmt.Sprintf("latchkeygrpc: bad request: field %q: %s", e.field, e.reason)
}

func (e *fieldError) Unwrap() error { return httpadapter.ErrBadRequest }

// templateError is a programming error: a resource that names a field which the request does not have.
type templateError struct {
	resource string
	err      error
}

func (e *templateError) Error() string {
	return fmt.Sprintf("latchkeygrpc: resource %q: %v", e.resource, e.err)
}

func (e *templateError) Unwrap() error { return e.err }
