// Package latchkeychi is for programs whose handlers unescape the values of chi's wildcards. All others need nothing
// beside httpadapter.
package latchkeychi

import (
	"net/http"
	"net/url"
	"slices"

	"github.com/go-chi/chi/v5"
)

// PathValue is for programs whose handlers unescape the values of chi's URLParam. Those are escaped if the path was
// encoded differently than Go does. Without this hook such a value causes status 400. Handlers must read values as it
// does.
func PathValue(r *http.Request, name string) (string, bool) {
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
