// Package frameworks puts latchkey before handlers of other routers than http.ServeMux, and is where it is tested with
// them. It is not released: copy the function that your program needs.
//
// There are two kinds. Hooks for [httpadapter.Options].PathValue read what a router of net/http keeps: [ChiPathValue],
// [GorillaPathValue], [HTTPRouterPathValue]. The others wrap a middleware of an Adapter for frameworks with handlers of
// their own: [Gin], [Echo4], [Echo5], [Fiber]. They fill in [http.Request.PathValue], so they need no hook.
package frameworks

import (
	"net/http"
	"strings"
)

// Middleware is what Adapter.Authenticate is, and what Adapter.Require and RequireRows return.
type Middleware = func(http.Handler) http.Handler

// fill gives a request its values of wildcards. The route is one with {name} and * for them, whatever the framework
// writes: an Adapter tells by it whether a value is empty or the route has no such wildcard.
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
