package httpadapter

import "net/http"

// isPreflight reports whether r is a CORS preflight (Fetch standard, "CORS-preflight fetch"). A preflight names one
// origin and one method, and never carries an Authorization header.
func isPreflight(r *http.Request) bool {
	if r.Method != http.MethodOptions {
		return false
	}
	origin, method := r.Header["Origin"], r.Header["Access-Control-Request-Method"]
	return len(origin) == 1 && origin[0] != "" && len(method) == 1 && isHTTPToken(method[0]) &&
		len(r.Header["Authorization"]) == 0
}

// preflight answers a preflight. It never calls the guarded handler: many act whatever the method, and the request is
// not authenticated.
func (a *Adapter) preflight(w http.ResponseWriter, r *http.Request) {
	if a.opts.Preflight != nil {
		a.opts.Preflight.ServeHTTP(w, r)
		return
	}
	w.WriteHeader(http.StatusNoContent)
}
