package httpadapter

import (
	"fmt"
	"net/http"
	"strings"
	"unicode/utf8"

	"github.com/latchkey-go/latchkey"
)

// template is a resource with wildcards that the request's route fills in: "dataset/{id}".
type template struct {
	text     string
	constant latchkey.Resource // the whole resource if there are no wildcards
	segments []segment
}

type segment struct {
	text     string
	wildcard bool
}

// parseTemplate panics on a text that can never name a resource: a route whose check cannot work must not start.
func parseTemplate(text string) template {
	t := template{text: text}
	bad := func(why string) {
		panic(fmt.Sprintf("httpadapter: resource %q: %s", text, why))
	}
	if !utf8.ValidString(text) || strings.IndexByte(text, 0) >= 0 || len(text) > 512 {
		bad("must be valid UTF-8 without NUL, at most 512 bytes")
	}
	wildcards := false
	for part := range strings.SplitSeq(text, "/") {
		s := segment{text: part}
		if inner, ok := strings.CutPrefix(part, "{"); ok {
			inner, ok = strings.CutSuffix(inner, "}")
			if !ok || inner == "" || strings.ContainsAny(inner, "{}.:$") || inner != "*" && strings.Contains(inner, "*") {
				bad(`write a wildcard as a whole segment: "{name}" or "{*}"`)
			}
			t.segments, wildcards = append(t.segments, segment{text: inner, wildcard: true}), true
			continue
		} else if strings.ContainsAny(part, "{}") {
			bad(`write a wildcard as a whole segment: "{name}" or "{*}"`)
		}
		switch {
		case part == "":
			bad("remove the empty segment")
		case part == "." || part == "..":
			bad(`remove the "." or ".." segment`)
		case strings.Contains(part, "*"):
			bad(`"*" is a pattern; name one resource, or use a wildcard of the route, "{name}"`)
		}
		t.segments = append(t.segments, s)
	}
	if !wildcards {
		t.constant = latchkey.Resource(text)
	}
	return t
}

// resource replaces the wildcards by the values of the request's route. Each value becomes one literal segment.
func (t template) resource(r *http.Request, opts *Options) (latchkey.Resource, error) {
	b, err := t.appendTo(nil, r, opts)
	if err != nil {
		return "", err
	}
	return t.named(b), nil
}

// named returns the resource that appendTo has appended to nothing.
func (t *template) named(b []byte) latchkey.Resource {
	if t.constant != "" {
		return t.constant
	}
	return latchkey.Resource(b)
}

// appendTo appends the resource with its wildcards replaced. It appends nothing where there are none, and returns nil
// with an error.
func (t *template) appendTo(b []byte, r *http.Request, opts *Options) ([]byte, error) {
	if t.constant != "" {
		return b, nil
	}
	for i := range t.segments {
		s := &t.segments[i]
		if i > 0 {
			b = append(b, '/')
		}
		if !s.wildcard {
			b = append(b, s.text...)
			continue
		}
		value, ok := pathValue(r, s.text, opts)
		if !ok {
			return nil, &routeError{resource: t.text, route: r.Pattern, name: s.text, hook: opts.PathValue != nil}
		}
		if isPlain(value) {
			b = append(b, value...)
			continue
		}
		if reason := ambiguity(value, r, opts); reason != "" {
			return nil, &requestError{field: s.text, reason: reason}
		}
		b = append(b, latchkey.Path(value)...)
	}
	return b, nil
}

// plainChars are the bytes that every reader takes for themselves.
var plainChars = alphaNumAnd("-_")

// isPlain reports whether a value has plainChars alone, as most have: it is not ambiguous, and is a segment as it is.
func isPlain(value string) bool {
	for i := range len(value) {
		if !plainChars[value[i]] {
			return false
		}
	}
	return value != ""
}

// pathValue returns the value of a wildcard. ok is false if the route has no wildcard of that name. Request.PathValue
// returns "" for that as for an empty value, so the route's pattern is checked.
func pathValue(r *http.Request, name string, opts *Options) (value string, ok bool) {
	if opts.PathValue != nil {
		return opts.PathValue(r, name)
	}
	value = r.PathValue(name)
	return value, value != "" || hasWildcard(r.Pattern, name)
}

// hasWildcard reports whether a route of http.ServeMux or chi has a wildcard of that name: {id}, {id...}, {id:[0-9]+}
// or *.
func hasWildcard(route, name string) bool {
	if name == "*" {
		return strings.HasSuffix(route, "*")
	}
	for {
		_, rest, found := strings.Cut(route, "{"+name)
		if !found {
			return false
		}
		if rest != "" && (rest[0] == '}' || rest[0] == ':' || rest[0] == '.') {
			return true
		}
		route = rest
	}
}

// ambiguity returns why readers of the request could understand a value differently, or "" if they cannot.
func ambiguity(value string, r *http.Request, opts *Options) string {
	switch {
	case value == "":
		return "the path has no value here"
	// A decoded value is part of the decoded path. Any other value was not decoded, whatever the options state.
	case hasEscape(value) && !(opts.PathValuesDecoded && strings.Contains(r.URL.Path, value)):
		return "the value in the path is escaped in a way that has two meanings: escape only what must be, and once"
	case strings.Contains(value, " ") && !strings.Contains(r.URL.Path, value) && strings.Contains(r.URL.Path, "+"):
		return `the value in the path has a "+" that could mean a space: write %2B or %20`
	}
	for segment := range strings.SplitSeq(strings.ReplaceAll(value, `\`, "/"), "/") {
		switch segment {
		case "", ".", "..":
			return `the value in the path has an empty, "." or ".." segment`
		}
	}
	return ""
}

// hasEscape reports whether decoding s once more would change it.
func hasEscape(s string) bool {
	for i := strings.IndexByte(s, '%'); i >= 0 && i+2 < len(s); i++ {
		if s[i] == '%' && isHexDigit(s[i+1]) && isHexDigit(s[i+2]) {
			return true
		}
	}
	return false
}

func isHexDigit(c byte) bool {
	return '0' <= c && c <= '9' || 'a' <= c && c <= 'f' || 'A' <= c && c <= 'F'
}

// routeError is a programming error: a route without a value for a wildcard of its resource.
type routeError struct {
	resource, route, name string
	hook                  bool
}

func (e *routeError) Error() string {
	if e.route == "" {
		return fmt.Sprintf("httpadapter: resource %q: the request has no value for the wildcard %q", e.resource, e.name)
	}
	return fmt.Sprintf("httpadapter: resource %q: the route %q has no value for the wildcard %q",
		e.resource, e.route, e.name)
}

func (e *routeError) hint() string {
	if e.hook {
		return "name the wildcard as the route does, or let Options.PathValue find it"
	}
	return "name the wildcard as the route does; put Require inside the route, not before the router; " +
		"for routers other than http.ServeMux and chi set Options.PathValue, or use the adapter in integrations/frameworks"
}
