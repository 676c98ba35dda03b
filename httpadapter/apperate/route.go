package apperate

import (
	"net/http"
	"net/url"
	"slices"
	"strings"
	"unicode/utf8"

	"github.com/latchkey-go/latchkey"
)

// The first segments of resources: core/<NAME>, premium/<NAME>, dataset/<WORKSPACE>/<ID>.
const (
	coreRoot    = "core"
	premiumRoot = "premium"
	datasetRoot = "dataset"
)

const (
	coreWorkspace = "CORE"
	premiumPrefix = "PREMIUM_"
)

// Need is an action that a request must be allowed to do.
type Need struct {
	Action   latchkey.Action
	Resource latchkey.Resource
}

// Route is what a request asks for.
type Route struct {
	// Secret: only a secret token may.
	Secret bool
	// Needs must all be allowed. Empty: only a secret token may.
	Needs []Need
	// Core and Premium report which of the product's own data the request reads.
	Core, Premium bool
	// Endpoint names the route in account/usage ("STOCK_QUOTE", "ACME_PENGUINS").
	Endpoint string

	// The parts of the path. Ids are in upper case.
	Workspace string
	Datasets  []string
	Keys      []string
	Subkey    string
	Date      string
}

func (t *Route) need(action latchkey.Action, on latchkey.Resource) {
	t.Needs = append(t.Needs, Need{action, on})
}

// dataset adds a need for each action on one data set of t.Workspace.
func (t *Route) dataset(id string, actions ...latchkey.Action) {
	on := latchkey.Path(datasetRoot, t.Workspace, id)
	switch {
	case t.Workspace == coreWorkspace && strings.HasPrefix(id, premiumPrefix):
		on, t.Premium = latchkey.Path(premiumRoot, id), true
	case t.Workspace == coreWorkspace:
		on, t.Core = latchkey.Path(coreRoot, id), true
	}
	for _, a := range actions {
		t.need(a, on)
	}
}

// pathOf returns the segments of a path without empty ones, which some clients send. ok is false for a segment that
// is invalid, or that readers of a path understand differently, such as dot segments.
func pathOf(u *url.URL) (segments []string, ok bool) {
	for part := range strings.SplitSeq(u.EscapedPath(), "/") {
		if part == "" {
			continue
		}
		s, err := url.PathUnescape(part)
		if err != nil || s == "." || s == ".." || !utf8.ValidString(s) ||
			strings.ContainsFunc(s, func(r rune) bool { return r < ' ' || r == 0x7f }) || len(segments) == maxSegments {
			return nil, false
		}
		segments = append(segments, s)
	}
	return segments, true
}

// coreRoutes are the first segments of the product's own data, which is read with GET.
var coreRoutes = []string{"stock", "ref-data", "fx", "crypto", "tops", "last", "hist", "deep", "stats", "search",
	"market", "data-points", "options", "futures"}

// ownerRoutes are first segments that only a secret token may use.
var ownerRoutes = []string{"account", "rules", "jobs", "data-sources", "credentials", "webhooks", "logs",
	"generate-schema", "sample-data-source", "aws-onboarding", "ingestion-history", "ingestion-schedules"}

// routeOf is the table of routes. It maps the method, the path after the version, and the query to a route. An
// unknown route is the zero Route, which only a secret token passes. ok is false if the request names something that
// cannot be a data set.
func routeOf(method string, path []string, query url.Values) (t Route, ok bool) {
	if method == http.MethodHead {
		method = http.MethodGet
	}
	if len(path) == 0 {
		return Route{}, true
	}
	name, rest := path[0], path[1:]
	get := method == http.MethodGet
	switch {
	case slices.Contains(ownerRoutes, name):
		return Route{Secret: true, Endpoint: endpoint(name)}, true

	case slices.Contains(coreRoutes, name) && (get || name == "ref-data" && method == http.MethodPost):
		t.Core, t.Endpoint = true, legacyEndpoint(path)
		t.need(latchkey.Read, latchkey.Path(coreRoot, name))
		return t, true

	case name == "files" && get:
		t.Premium, t.Endpoint = true, endpoint(name)
		t.need(latchkey.Read, latchkey.Path(premiumRoot, name))
		return t, true

	case name == "time-series" && get:
		t.Workspace = coreWorkspace
		return t.data(rest, query, latchkey.Read)

	case (name == "data" || name == "query" || name == "meta") && get && len(rest) > 0:
		if t.Workspace, ok = canonicalID(rest[0]); !ok {
			return Route{}, false
		}
		return t.data(rest[1:], query, latchkey.Read)

	case name == "datasets" && get && (len(rest) == 1 || len(rest) == 2):
		if t.Workspace, ok = canonicalID(rest[0]); !ok {
			return Route{}, false
		}
		return t.data(rest[1:], query, latchkey.Read)

	case (name == "record" || name == "write") && method == http.MethodPost && len(rest) == 2,
		name == "data" && method == http.MethodPost && len(rest) == 2,
		name == "datasets" && method == http.MethodPut && len(rest) == 2, // PyEX loads data this way; a third segment renames
		name == "datasets" && method == http.MethodPatch && len(rest) > 2:
		actions := []latchkey.Action{latchkey.Create, latchkey.Update} // a record replaces the one with its key
		for _, v := range query["overwrite"] {
			if v != "false" {
				actions = append(actions, latchkey.Delete)
				break
			}
		}
		if t.Workspace, ok = canonicalID(rest[0]); !ok {
			return Route{}, false
		}
		return t.data(rest[1:], query, actions...)

	case (name == "data" || name == "datasets") && method == http.MethodDelete && len(rest) > 2:
		if t.Workspace, ok = canonicalID(rest[0]); !ok {
			return Route{}, false
		}
		return t.data(rest[1:], query, latchkey.Delete)

	case name == "datasets":
		return Route{Secret: true, Endpoint: endpoint(name)}, true
	}
	return Route{}, true
}

// data parses "ID[,ID2…]/KEY[,K2…]/SUBKEY/DATE". Without an id, or with "*", the route is about the whole workspace.
func (t Route) data(rest []string, query url.Values, actions ...latchkey.Action) (Route, bool) {
	if len(rest) > 4 {
		return Route{}, true
	}
	separators := ","
	if given, there := query["batchSeparator"]; there {
		if len(given) != 1 || len(given[0]) != 1 || isIDByte(given[0][0]) {
			return Route{}, false
		}
		separators += given[0]
	}
	if len(rest) == 0 || rest[0] == "*" {
		t.dataset("*", actions...)
		t.Endpoint = endpoint(t.Workspace)
	} else {
		// Ids hold no separator of either kind. So the handler cannot split them into ids that were not checked.
		for _, text := range strings.FieldsFunc(rest[0], func(r rune) bool { return strings.ContainsRune(separators, r) }) {
			id, ok := canonicalID(text)
			if !ok || len(t.Datasets) == maxIDs {
				return Route{}, false
			}
			if !slices.Contains(t.Datasets, id) {
				t.dataset(id, actions...)
				t.Datasets = append(t.Datasets, id)
			}
		}
		switch len(t.Datasets) {
		case 0:
			return Route{}, false
		case 1:
			t.Endpoint = endpoint(t.Workspace + "_" + t.Datasets[0])
		default:
			t.Endpoint = endpoint(t.Workspace + "_BATCH")
		}
	}
	if len(rest) > 1 {
		t.Keys = strings.Split(rest[1], separators[len(separators)-1:])
	}
	if len(rest) > 2 {
		t.Subkey = rest[2]
	}
	if len(rest) > 3 {
		t.Date = rest[3]
	}
	return t, true
}

// canonicalPath returns a path of the table with its ids as they were checked.
func (t *Route) canonicalPath(path []string) []string {
	if t.Workspace == "" {
		return path
	}
	path = slices.Clone(path)
	at := 1 // time-series/ID
	if path[0] != "time-series" {
		path[1], at = t.Workspace, 2
	}
	if len(t.Datasets) > 0 {
		path[at] = strings.Join(t.Datasets, ",")
	}
	return path
}

// legacyEndpoint returns STOCK_QUOTE for "stock/aapl/quote", and REF_DATA_SYMBOLS for "ref-data/symbols".
func legacyEndpoint(path []string) string {
	at := 1
	if path[0] == "stock" || path[0] == "crypto" {
		at = 2
	}
	if at < len(path) && path[0] != "search" && path[0] != "data-points" {
		return endpoint(path[0] + "_" + path[at])
	}
	return endpoint(path[0])
}

// endpoint returns a name for account/usage. text may hold what a caller wrote, so the result is short and plain.
func endpoint(text string) string {
	b := []byte(strings.ToUpper(text))
	for i, c := range b {
		if !isIDByte(c) || c == '-' {
			b[i] = '_'
		}
	}
	return string(b[:min(len(b), 64)])
}
