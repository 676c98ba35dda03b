package httpadapter

import "net/http"

// isPreflight reports whether a browser asks if a page of another site may send a request (Fetch standard,
// "CORS-preflight fetch"). It names one site and one method, and never carries an Authorization header.
func isPreflight(r *http.Request) bool {
	if r.Method != http.MethodOptions {
		return false
	}
	origin, method := r.Header["Origin"], r.Header["Access-Control-Request-Method"]
	return len(origin) == 1 && origin[0] != "" && len(method) == 1 && isHTTPToken(method[0]) &&
		len(r.Header["Authorization"]) == 0
}

// preflight never calls the guarded handler: many do their work whatever the method, and nobody was authenticated.
func (a *Adapter) preflight(w http.ResponseWriter, r *http.Request) {
	if a.opts.Preflight != nil {
		a.opts.Preflight.ServeHTTP(w, r)
		return
	}
	w.WriteHeader(http.StatusNoContent)
}
