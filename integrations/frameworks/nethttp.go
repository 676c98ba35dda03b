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

// ChiPathValue is for programs whose handlers unescape the values of chi's URLParam. Those are escaped if the path was
// encoded differently than Go does. Without this hook such a value causes status 400. Handlers must read values as it
// does.
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
	if err != nil { // never: net/http refuses such a path
		return "", true
	}
	return decoded, true
}

// GorillaPathValue reads the variables of gorilla/mux. With UseEncodedPath they are escaped, and every value with an
// escape causes status 400.
func GorillaPathValue(r *http.Request, name string) (string, bool) {
	value, ok := mux.Vars(r)[name]
	return value, ok
}

// HTTPRouterPathValue reads the parameters of httprouter. It returns the value of a catch-all without the leading
// slash, as other routers do. Handlers of httprouter get the slash.
func HTTPRouterPathValue(r *http.Request, name string) (string, bool) {
	for _, p := range httprouter.ParamsFromContext(r.Context()) {
		if p.Key == name {
			return strings.TrimPrefix(p.Value, "/"), true // no other value has a slash
		}
	}
	return "", false
}
