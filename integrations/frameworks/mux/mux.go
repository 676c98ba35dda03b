// Package latchkeymux tells an Adapter the values of gorilla/mux: set httpadapter.Options.PathValue to [PathValue].
package latchkeymux

import (
	"net/http"

	"github.com/gorilla/mux"
)

// PathValue reads the variables of gorilla/mux. With UseEncodedPath they are escaped, and every value with an
// escape causes status 400.
func PathValue(r *http.Request, name string) (string, bool) {
	value, ok := mux.Vars(r)[name]
	return value, ok
}
