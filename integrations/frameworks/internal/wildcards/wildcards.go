// Package wildcards tells an Adapter what a framework found in the path of a request.
package wildcards

import (
	"net/http"
	"strings"
)

// Fill sets the values of wildcards of a request, and its pattern. The pattern has {name} and * for wildcards, in place
// of what the framework writes. An Adapter uses it to tell an empty value from a wildcard that the route does not have.
//
// Of two wildcards with one name the first counts: it is the one that gin, echo and fiber give a handler.
func Fill(r *http.Request, route string, names, values []string) {
	known := map[string]bool{}
	for i, name := range names {
		if !known[name] {
			r.SetPathValue(name, values[i])
			known[name] = true
		}
	}
	segments := strings.Split(route, "/")
	for i, s := range segments {
		if name := strings.TrimRight(strings.TrimLeft(s, ":*+"), "?"); s != name && known[name] {
			segments[i] = "{" + name + "}"
		}
	}
	r.Pattern = strings.Join(segments, "/")
}
