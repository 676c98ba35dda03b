package frameworks

import (
	"net/http"
	"net/url"
	"slices"
	"strings"

	"github.com/go-chi/chi/v5"
	"github.com/gorilla/mux"
	"github.com/julienschmidt/httprouter"
)

// ChiPathValue is for programs whose handlers unescape the values of chi's URLParam, which are escaped whenever the
// path came in another spelling than Go's. Without it such a value is a 400. The handlers must read values as it does.
func ChiPathValue(r *http.Request, name string) (string, bool) {
	route := chi.RouteContext(r.Context())
	if route == nil || !slices.Contains(route.URLParams.Keys, name) {
		return "", false
	}
	value := route.URLParam(name)
	if r.URL.RawPath == "" { // decoded already
		return value, true
	}
	decoded, err := url.PathUnescape(value)
	if err != nil { // never: net/http takes no such path
		return "", true
	}
	return decoded, true
}

// GorillaPathValue reads the variables of gorilla/mux. With UseEncodedPath they are escaped, and every value with an
// escape is a 400.
func GorillaPathValue(r *http.Request, name string) (string, bool) {
	value, ok := mux.Vars(r)[name]
	return value, ok
}

// HTTPRouterPathValue reads the parameters of httprouter. A catch-all's value has no slash before it, as with other
// routers; its handler gets one.
func HTTPRouterPathValue(r *http.Request, name string) (string, bool) {
	for _, p := range httprouter.ParamsFromContext(r.Context()) {
		if p.Key == name {
			return strings.TrimPrefix(p.Value, "/"), true // no other value has a slash
		}
	}
	return "", false
}
