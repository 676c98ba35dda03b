package httpadapter

import (
	"fmt"
	"net/http"
	"strings"
	"unicode/utf8"

	"github.com/latchkey-go/latchkey"
)

// template is a resource with places for values of the route's wildcards: "dataset/{id}".
type template struct {
	text     string
	fixed    latchkey.Resource // the whole, when there are no wildcards
	segments []segment
}

type segment struct {
	text     string
	wildcard bool
}

// parseTemplate panics on what can never name a resource: it is the host's code that is wrong, and a route whose check
// cannot work must not start.
func parseTemplate(text string) template {
	t := template{text: text}
	bad := func(why string) {
		panic(fmt.Sprintf("httpadapter: resource %q: %s", text, why))
	}
	if !utf8.ValidString(text) || strings.IndexByte(text, 0) >= 0 || len(text) > 512 {
		bad("invalid UTF-8, NUL, or longer than 512 bytes")
	}
	wildcards := false
	for part := range strings.SplitSeq(text, "/") {
		s := segment{text: part}
		if inner, ok := strings.CutPrefix(part, "{"); ok {
			inner, ok = strings.CutSuffix(inner, "}")
			if !ok || inner == "" || strings.ContainsAny(inner, "{}.$") {
				bad(`a wildcard is a whole segment, "{name}"`)
			}
			s, wildcards = segment{text: inner, wildcard: true}, true
		} else if strings.ContainsAny(part, "{}") {
			bad(`a wildcard is a whole segment, "{name}"`)
		}
		switch {
		case part == "":
			bad("an empty segment")
		case part == "." || part == "..":
			bad(`"." and ".." are no segments`)
		case strings.Contains(part, "*"):
			bad("a resource holds no wildcard patterns")
		}
		t.segments = append(t.segments, s)
	}
	if !wildcards {
		t.fixed = latchkey.Resource(text)
	}
	return t
}

// resource fills in the wildcards of the request's route. Each value becomes one literal segment, whatever it holds. ok
// is false when one is missing or empty.
func (t template) resource(r *http.Request) (res latchkey.Resource, ok bool) {
	if t.fixed != "" {
		return t.fixed, true
	}
	var b strings.Builder
	for i, s := range t.segments {
		if i > 0 {
			b.WriteByte('/')
		}
		if !s.wildcard {
			b.WriteString(s.text)
			continue
		}
		value := r.PathValue(s.text)
		if value == "" {
			return "", false // fail closed
		}
		b.WriteString(string(latchkey.Path(value)))
	}
	return latchkey.Resource(b.String()), true
}
