// Package mount registers handlers on http.ServeMux and on chi so that they serve the same paths on both. A chi router
// may be mounted beneath others.
package mount

import (
	"net/http"
	"net/url"
	"strings"
)

// Mux is httpadapter.Mux.
type Mux interface {
	Handle(pattern string, h http.Handler)
}

// methods are those of RFC 9110 and PATCH, but for HEAD, which GET includes.
var methods = []string{http.MethodGet, http.MethodPost, http.MethodPut, http.MethodPatch, http.MethodDelete,
	http.MethodOptions, http.MethodTrace, http.MethodConnect}

// Handle registers a pattern without a method. On http.ServeMux it registers each method alone. Else the pattern would
// conflict with one of the host's that has a method and matches more paths, such as "GET /", and ServeMux would panic.
// ServeMux itself answers other methods.
func Handle(mux Mux, pattern string, h http.Handler) {
	if _, std := mux.(*http.ServeMux); !std {
		mux.Handle(pattern, h)
		return
	}
	for _, method := range methods {
		mux.Handle(method+" "+pattern, h)
	}
}

// Subtree is Beneath. It also redirects the prefix without a slash at its end.
func Subtree(mux Mux, prefix, keep string, h http.Handler) {
	Beneath(mux, prefix, keep, h)
	if _, std := mux.(*http.ServeMux); std || prefix == "" {
		return // ServeMux redirects by itself
	}
	last := prefix[strings.LastIndexByte(prefix, '/')+1:]
	Handle(mux, prefix, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		u := url.URL{Path: "./" + last + "/", RawQuery: r.URL.RawQuery} // relative: it holds beneath any prefix
		w.Header().Set("Location", u.String())
		w.WriteHeader(http.StatusTemporaryRedirect)
	}))
}

// Beneath serves every path beneath prefix ("/console", "" for the root) with h. In the URL that h gets, keep replaces
// prefix and everything before it.
func Beneath(mux Mux, prefix, keep string, h http.Handler) {
	Handle(mux, prefix+"/", http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		path := routed(r.URL)
		rest, ok := strings.CutPrefix(path, prefix+"/")
		// On a chi router beneath another one's prefix the route is longer, and matches one path only. chi cuts its last
		// slash.
		if route := strings.TrimSuffix(pathOf(r.Pattern), "/"); route != prefix && strings.HasSuffix(route, prefix) {
			rest, ok = "", strings.HasSuffix(path, prefix+"/")
		}
		if !ok {
			http.NotFound(w, r)
			return
		}
		serve(w, r, h, keep+"/"+rest)
	}))
	if _, std := mux.(*http.ServeMux); std {
		return // ServeMux takes "*" literally
	}
	Handle(mux, prefix+"/*", http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		rest := r.PathValue("*")
		if rest == "" && strings.HasSuffix(r.URL.Path, "/*") { // a ServeMux inside another type: "*" is a literal path
			rest = "*"
		}
		serve(w, r, h, keep+"/"+rest)
	}))
}

// Path serves one path, such as "/access_tokens/{id}", with h. The URL that h gets lacks what outer routers matched.
func Path(mux Mux, pattern string, h http.Handler) {
	n := strings.Count(pattern, "/")
	Handle(mux, pattern, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		path := routed(r.URL)
		at := len(path)
		for range n {
			if at = strings.LastIndexByte(path[:at], '/'); at < 0 {
				http.NotFound(w, r)
				return
			}
		}
		serve(w, r, h, path[at:])
	}))
}

// Slashed serves one path with h, with and without a slash at its end.
func Slashed(mux Mux, path string, h http.Handler) {
	Handle(mux, path, h)
	if _, std := mux.(*http.ServeMux); std { // a slash alone would match every path beneath
		Handle(mux, path+"/{$}", h)
	} else {
		Handle(mux, path+"/", h)
	}
}

// pathOf returns a pattern of http.ServeMux without its method and host.
func pathOf(pattern string) string {
	if at := strings.IndexByte(pattern, '/'); at >= 0 {
		return pattern[at:]
	}
	return pattern
}

// routed returns the path that chi routes by: escaped if it differs from the default encoding, else decoded.
func routed(u *url.URL) string {
	if u.RawPath != "" {
		return u.RawPath
	}
	return u.Path
}

// serve calls h with another path in the request. The path has the form of routed.
func serve(w http.ResponseWriter, r *http.Request, h http.Handler, path string) {
	if path == routed(r.URL) {
		h.ServeHTTP(w, r)
		return
	}
	u := *r.URL
	u.Path, u.RawPath = path, ""
	if r.URL.RawPath != "" {
		decoded, err := url.PathUnescape(path)
		if err != nil {
			http.NotFound(w, r)
			return
		}
		u.Path, u.RawPath = decoded, path
	}
	inner := new(http.Request)
	*inner = *r
	inner.URL = &u
	h.ServeHTTP(w, inner)
}
