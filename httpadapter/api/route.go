package api

import (
	"fmt"
	"maps"
	"net/http"
	"net/url"
	"slices"
	"strings"

	"github.com/latchkey-go/latchkey"
	"github.com/latchkey-go/latchkey/httpadapter"
)

// route is a node of the tree of paths.
type route struct {
	fixed   map[string]*route
	any     *route // of a wildcard
	name    string // of the wildcard
	methods map[string]*operation
}

func routes(ops []*operation) *route {
	root := &route{}
	for _, op := range ops {
		at := root
		for _, segment := range strings.Split(op.path[1:], "/") {
			if name, ok := strings.CutPrefix(segment, "{"); ok {
				if at.any == nil {
					at.any = &route{name: strings.TrimSuffix(name, "}")}
				}
				at = at.any
				continue
			}
			next := at.fixed[segment]
			if next == nil {
				if at.fixed == nil {
					at.fixed = map[string]*route{}
				}
				next = &route{}
				at.fixed[segment] = next
			}
			at = next
		}
		if at.methods == nil {
			at.methods = map[string]*operation{}
		}
		if at.methods[op.method] != nil {
			panic(fmt.Sprintf("api: two operations %s %s", op.method, op.path))
		}
		at.methods[op.method] = op
	}
	return root
}

// find returns the operation of a request and the wildcards of its path. A path that does not exist is ErrNotFound,
// which looks as a record that does not exist. Another method is 405, with Allow.
func (root *route) find(w http.ResponseWriter, r *http.Request) (*operation, map[string]string, error) {
	path, ok := strings.CutPrefix(r.URL.EscapedPath(), "/")
	if !ok || len(path) > maxPath {
		return nil, nil, latchkey.ErrNotFound
	}
	at, values := root, map[string]string{}
	for _, segment := range strings.Split(path, "/") {
		if next := at.fixed[segment]; next != nil {
			at = next
			continue
		}
		value, err := url.PathUnescape(segment)
		if at.any == nil || err != nil || value == "" {
			return nil, nil, latchkey.ErrNotFound
		}
		at = at.any
		values[at.name] = value
	}
	if at.methods == nil {
		return nil, nil, latchkey.ErrNotFound
	}
	method := r.Method
	if method == http.MethodHead {
		method = http.MethodGet
	}
	op := at.methods[method]
	if op == nil {
		allowed := slices.Collect(maps.Keys(at.methods))
		if at.methods[http.MethodGet] != nil {
			allowed = append(allowed, http.MethodHead)
		}
		slices.Sort(allowed)
		w.Header().Set("Allow", strings.Join(allowed, ", "))
		return nil, nil, httpadapter.Refusal(problem(http.StatusMethodNotAllowed, "method", "Method not allowed",
			"Allow names the methods of this path."), nil)
	}
	return op, values, nil
}
