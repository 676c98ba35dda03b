// Package latchkeyhttprouter tells an Adapter the values of httprouter: set httpadapter.Options.PathValue to
// [PathValue].
package latchkeyhttprouter

import (
	"net/http"
	"strings"

	"github.com/julienschmidt/httprouter"
)

// PathValue reads the parameters of httprouter. It returns the value of a catch-all without the leading
// slash, as other routers do. Handlers of httprouter get the slash.
func PathValue(r *http.Request, name string) (string, bool) {
	for _, p := range httprouter.ParamsFromContext(r.Context()) {
		if p.Key == name {
			return strings.TrimPrefix(p.Value, "/"), true // no other value has a slash
		}
	}
	return "", false
}
