package latchkeymcp

import (
	"encoding/json"
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"

	"github.com/latchkey-go/latchkey"
	"github.com/latchkey-go/latchkey/httpadapter"
)

// errNoRule is the denial of what no rule names.
var errNoRule = fmt.Errorf("latchkeymcp: no rule names this: %w", latchkey.ErrDenied)

// argumentError is a request whose argument does not name one resource. The reason holds nothing that was sent.
type argumentError struct{ name, reason string }

func (e *argumentError) Error() string {
	return fmt.Sprintf("%v: argument %q: %s", httpadapter.ErrBadRequest, e.name, e.reason)
}

func (e *argumentError) Unwrap() error { return httpadapter.ErrBadRequest }

// values returns the value of a wildcard as text.
type values func(name string) (string, error)

// answer is what a check said.
type answer struct {
	action latchkey.Action
	on     latchkey.Resource
	rows   latchkey.Condition
	err    error
}

// ask checks one rule for a caller. A nil rule is denied.
func (r *rule) ask(access latchkey.Access, from values) answer {
	if r == nil {
		return answer{err: errNoRule}
	}
	if r.Everyone {
		return answer{}
	}
	a := answer{action: r.Action, on: r.constant}
	if a.on == "" {
		if a.on, a.err = r.resource(from); a.err != nil {
			return a
		}
	}
	if r.Rows {
		a.rows, a.err = access.Filter(r.Action, a.on)
	} else {
		a.err = access.Check(r.Action, a.on)
	}
	return a
}

// resource fills in the wildcards. Each value becomes one literal segment.
func (r *rule) resource(from values) (latchkey.Resource, error) {
	var b strings.Builder
	for i, s := range r.segments {
		if i > 0 {
			b.WriteByte('/')
		}
		if !s.wildcard {
			b.WriteString(s.text)
			continue
		}
		value, err := from(s.text)
		if err != nil {
			return "", err
		}
		if reason := ambiguity(value); reason != "" {
			return "", &argumentError{s.text, reason}
		}
		b.WriteString(string(latchkey.Path(value)))
	}
	return latchkey.Resource(b.String()), nil
}

// ambiguity returns why readers of a value could understand it differently, or "" if they cannot.
func ambiguity(value string) string {
	switch {
	case !utf8.ValidString(value):
		return "it is not valid UTF-8"
	case escaped.MatchString(value):
		return "it is escaped in a way that has two meanings: send the plain value"
	}
	for segment := range strings.SplitSeq(strings.ReplaceAll(value, `\`, "/"), "/") {
		switch segment {
		case "", ".", "..":
			return `it has an empty, "." or ".." segment`
		}
	}
	return ""
}

var (
	escaped = regexp.MustCompile(`%[0-9A-Fa-f]{2}`)
	integer = regexp.MustCompile(`^(0|-?[1-9][0-9]{0,15})$`)
)

// maxExact is the largest integer that a float64, and so every JSON parser, holds exactly (RFC 8259 §6). The SDK passes
// arguments through float64 before a handler gets them.
const maxExact = 1<<53 - 1

// argumentsOf returns the values of a tool's arguments. It refuses JSON that two parsers read differently: the check
// and the tool must read the same.
func argumentsOf(raw json.RawMessage) (values, error) {
	if len(raw) == 0 || string(raw) == "null" {
		raw = json.RawMessage("{}")
	}
	if reason := strictly(raw, maxDepth); reason != "" {
		return nil, &argumentError{"arguments", "not read, because JSON parsers differ: " + reason}
	}
	var object map[string]json.RawMessage
	if err := json.Unmarshal(raw, &object); err != nil {
		return nil, &argumentError{"arguments", "they are no object"}
	}
	return func(name string) (string, error) { return argument(object, name) }, nil
}

// argument finds a value by its path.
func argument(object map[string]json.RawMessage, name string) (string, error) {
	path := strings.Split(name, ".")
	for _, part := range path[:len(path)-1] {
		raw, ok := object[part]
		if !ok {
			return "", &argumentError{name, "it is missing"}
		}
		object = nil
		if err := json.Unmarshal(raw, &object); err != nil || object == nil {
			return "", &argumentError{name, "what should hold it is no object"}
		}
	}
	raw, ok := object[path[len(path)-1]]
	if !ok || string(raw) == "null" {
		return "", &argumentError{name, "it is missing"}
	}
	switch c := raw[0]; {
	case c == '"':
		var text string
		if err := json.Unmarshal(raw, &text); err != nil {
			return "", &argumentError{name, "it is malformed"}
		}
		return text, nil
	case c == '-' || '0' <= c && c <= '9':
		n, err := strconv.ParseInt(string(raw), 10, 64)
		if err != nil || !integer.Match(raw) || n > maxExact || n < -maxExact {
			return "", &argumentError{name, "a number must be an integer of at most 53 bits, without exponent: send a string"}
		}
		return string(raw), nil
	}
	return "", &argumentError{name, "it is neither a string nor an integer"}
}

// textsOf returns the values of arguments that are texts: of prompts, and of what was resolved before a completion.
func textsOf(texts map[string]string) values {
	return func(name string) (string, error) {
		text, ok := texts[name]
		if !ok {
			return "", &argumentError{name, "it is missing"}
		}
		return text, nil
	}
}

// askURI checks all rules that cover a URI.
func (g *Guard) askURI(access latchkey.Access, uri string) ([]*rule, answer) {
	if r, ok := g.resources[uri]; ok {
		return []*rule{r}, r.ask(access, nil)
	}
	var rules []*rule
	var last answer
	for _, r := range g.templates {
		// Both: the SDK chooses the handler by the expression, and Match alone says what the variables are.
		if !r.template.Regexp().MatchString(uri) {
			continue
		}
		rules = append(rules, r)
		if last = r.ask(access, g.variablesOf(r, uri)); last.err != nil {
			return rules, last
		}
	}
	if rules == nil {
		return nil, answer{err: errNoRule}
	}
	if len(rules) > 1 && slices.ContainsFunc(rules, func(r *rule) bool { return r.Rows }) {
		// Each has a condition of its own, and the handler takes one.
		return rules, answer{err: fmt.Errorf("latchkeymcp: several templates with Rows match one URI: %w", errOverlap)}
	}
	return rules, last
}

var errOverlap = errors.New("let one template match it, or none of their rules have Rows")

// variablesOf returns the values of a template's variables in a URI.
func (g *Guard) variablesOf(r *rule, uri string) values {
	return func(name string) (string, error) {
		if strings.Contains(uri, "%") {
			return "", &argumentError{name, "the URI is escaped, which has two meanings: send the plain value"}
		}
		v := r.template.Match(uri).Get(name)
		if len(v.V) != 1 {
			return "", &argumentError{name, "the URI has not one value for it"}
		}
		return v.V[0], nil
	}
}

// reaches reports whether a caller may use something for some value of its wildcards. It is for lists: a call is
// checked by itself.
func (r *rule) reaches(access latchkey.Access) bool {
	if r == nil {
		return false
	}
	if r.Everyone || r.constant != "" {
		return r.ask(access, nil).err == nil
	}
	var prefix []string
	for _, s := range r.segments {
		if s.wildcard {
			break
		}
		prefix = append(prefix, s.text)
	}
	under := latchkey.Resource(strings.Join(prefix, "/"))
	for page := (latchkey.Page{}); ; {
		list, more, err := access.Reach(r.Action, under, page)
		if err != nil {
			return errors.Is(err, latchkey.ErrInvalid) && !errors.Is(err, latchkey.ErrDenied) // too many to list
		}
		for _, at := range list {
			if (r.Rows && !at.Rows.IsNoRows() || at.Rows.IsAllRows()) && r.meets(at.Pattern) {
				return true
			}
		}
		if !more {
			return false
		}
		page.After = string(list[len(list)-1].Pattern)
	}
}

// meets reports whether some resource of the rule is covered by a pattern.
func (r *rule) meets(p latchkey.Pattern) bool {
	parts := strings.Split(string(p), "/")
	for i, part := range parts {
		switch {
		case part == "*" && i == len(parts)-1:
			return i < len(r.segments)
		case i == len(r.segments):
			return false
		case part == string(latchkey.AnySegment) || r.segments[i].wildcard:
		case part != r.segments[i].text:
			return false
		}
	}
	return len(parts) == len(r.segments)
}
