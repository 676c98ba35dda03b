// Package frameworks uses latchkey with other routers than http.ServeMux, and tests it with them. The module is never
// released: copy the function that your program needs.
//
// There are two kinds of functions. Hooks for [httpadapter.Options].PathValue read the values of wildcards from a
// router of net/http: [ChiPathValue], [GorillaPathValue], [HTTPRouterPathValue]. The others convert middleware of an
// Adapter for frameworks with their own handlers: [Gin], [Echo4], [Echo5], [Fiber]. They set [http.Request.PathValue],
// so they need no hook.
package frameworks

import (
	"net/http"
	"strings"
)

// Middleware is the type of Adapter.Authenticate, and of the results of Adapter.Require and RequireRows.
type Middleware = func(http.Handler) http.Handler

// fill sets the values of wildcards of a request, and its pattern. The pattern has {name} and * for wildcards, in place
// of what the framework writes. An Adapter uses it to tell an empty value from a wildcard that the route does not have.
func fill(r *http.Request, route string, names, values []string) {
	known := map[string]bool{}
	for i, name := range names {
		r.SetPathValue(name, values[i])
		known[name] = true
	}
	segments := strings.Split(route, "/")
	for i, s := range segments {
		if name := strings.TrimRight(strings.TrimLeft(s, ":*+"), "?"); s != name && known[name] {
			segments[i] = "{" + name + "}"
		}
	}
	r.Pattern = strings.Join(segments, "/")
}
