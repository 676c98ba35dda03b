package api

import (
	"fmt"
	"maps"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/latchkey-go/latchkey"
	"github.com/latchkey-go/latchkey/httpadapter"
)

// parameter is one parameter of a query.
type parameter struct {
	name, text string
	kind       parameterKind
	required   bool
	values     []string // if any: what it may be, or what each of a list may be
}

type parameterKind uint8

const (
	textParameter parameterKind = iota
	listParameter               // texts with commas between them
	timeParameter
	dayParameter
	boolParameter
	numberParameter
)

// query is the parameters of a request, each once.
type query map[string]string

// readQuery reads a query strictly. What is not known is refused: a filter that is misspelt would otherwise select
// everything.
func readQuery(raw string, known []parameter, ignore []string) (query, error) {
	if raw == "" && !slices.ContainsFunc(known, func(p parameter) bool { return p.required }) {
		return nil, nil
	}
	if len(raw) > maxQuery {
		return nil, httpadapter.BadRequest("the query is too long")
	}
	values, err := url.ParseQuery(raw)
	if err != nil {
		return nil, httpadapter.BadRequest("malformed query")
	}
	q := query{}
	for _, name := range slices.Sorted(maps.Keys(values)) { // so that the same query gets the same error
		v := values[name]
		if slices.Contains(ignore, name) {
			continue // the credential, which was read
		}
		at := slices.IndexFunc(known, func(p parameter) bool { return p.name == name })
		switch {
		case at < 0:
			return nil, httpadapter.BadRequest("a parameter that this operation does not have")
		case len(v) > 1:
			return nil, badParameter(name, "a parameter given twice: write a list with commas")
		case !utf8.ValidString(v[0]) || strings.ContainsRune(v[0], 0):
			return nil, badParameter(name, "not valid UTF-8, or with a NUL")
		}
		if err := known[at].check(v[0]); err != nil {
			return nil, err
		}
		q[name] = v[0]
	}
	for _, p := range known {
		if _, ok := q[p.name]; p.required && !ok {
			return nil, badParameter(p.name, "a parameter is missing")
		}
	}
	return q, nil
}

// check returns an error for a value that the parameter cannot have.
func (p *parameter) check(v string) error {
	switch p.kind {
	case listParameter:
		list := strings.Split(v, ",")
		if len(list) > 100 {
			return badParameter(p.name, "more than 100 items")
		}
		for _, item := range list {
			if p.values != nil && !slices.Contains(p.values, item) {
				return badParameter(p.name, "must be a list of "+strings.Join(p.values, ", ")+", with commas between")
			}
		}
	case timeParameter:
		if at, err := time.Parse(time.RFC3339, v); err != nil || at.IsZero() || strings.Contains(v, ",") {
			return badParameter(p.name, "must be a time as in RFC 3339: 2026-11-30T12:00:00Z")
		}
	case dayParameter:
		if _, err := time.Parse(time.DateOnly, v); err != nil {
			return badParameter(p.name, "must be a day: 2026-11-30")
		}
	case boolParameter:
		if v != "true" && v != "false" {
			return badParameter(p.name, "must be true or false")
		}
	case numberParameter:
		n, err := strconv.Atoi(v)
		if err != nil || n < 1 || strconv.Itoa(n) != v || n > maxNumber(p.name) {
			return badParameter(p.name, fmt.Sprintf("must be 1 to %d", maxNumber(p.name)))
		}
	default:
		if p.values != nil && !slices.Contains(p.values, v) {
			return badParameter(p.name, "must be one of "+strings.Join(p.values, ", "))
		}
	}
	return nil
}

// maxNumber is how high a number may be.
func maxNumber(name string) int {
	if name == "most" {
		return 1_000_000
	}
	return MaxLimit
}

func (q query) has(name string) bool { _, ok := q[name]; return ok }

func (q query) list(name string) []string {
	if v, ok := q[name]; ok {
		return strings.Split(v, ",")
	}
	return nil
}

// time returns a time, the zero time if the parameter is absent.
func (q query) time(name string) time.Time {
	at, _ := time.Parse(time.RFC3339, q[name]) // check has parsed it
	return at.UTC()
}

func (q query) bool(name string) bool { return q[name] == "true" }

func (q query) number(name string, otherwise int) int {
	if v, ok := q[name]; ok {
		n, _ := strconv.Atoi(v)
		return n
	}
	return otherwise
}

// pointer returns a text, nil if the parameter is absent.
func (q query) pointer(name string) *string {
	if v, ok := q[name]; ok {
		return &v
	}
	return nil
}

// page returns the page that a listing begins with.
func (c *call) page() (latchkey.Page, error) {
	after, err := c.readCursor()
	return latchkey.Page{After: after, Limit: c.query.number("limit", DefaultLimit)}, err
}

var pageParameters = []parameter{
	{name: "limit", kind: numberParameter, text: "How many items a page holds at most. Without it: 50."},
	{name: "cursor", text: "The next of the page before, of the same listing with the same parameters."},
}
