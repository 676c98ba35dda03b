package adapters

import (
	"encoding/json"
	"fmt"
	"net"
	"net/http"
	"net/url"
	"path"
	"strings"
)

// CheckURL returns the URL of an option that identifies a server: https, or http for this machine, with a plain path
// without a slash at its end, and nothing behind it. It panics otherwise; pkg begins the message.
func CheckURL(pkg, option, text string) *url.URL {
	u, err := url.Parse(text)
	ip := net.IP(nil)
	if err == nil {
		ip = net.ParseIP(u.Hostname())
	}
	switch {
	case err != nil || u.Hostname() == "" || u.Opaque != "" || u.String() != text:
		panic(fmt.Sprintf("%s: Options.%s must be an absolute URL", pkg, option))
	case u.Scheme != "https" && (u.Scheme != "http" || u.Hostname() != "localhost" && !ip.IsLoopback()):
		panic(fmt.Sprintf("%s: Options.%s must begin with https://", pkg, option))
	case u.User != nil || u.RawQuery != "" || u.ForceQuery || u.Fragment != "":
		panic(fmt.Sprintf("%s: Options.%s must have no user, query or fragment", pkg, option))
	case u.RawPath != "" || u.Path != "" && (path.Clean(u.Path) != u.Path || u.Path == "/") ||
		strings.ContainsAny(u.Path, "{}* \t"):
		panic(fmt.Sprintf("%s: Options.%s must have a plain path without a slash at its end", pkg, option))
	}
	return u
}

// Document serves metadata as JSON. It is public, and pages of every origin may read it.
func Document(v any) http.Handler {
	body, err := json.Marshal(v)
	if err != nil { // cannot fail for lists of strings
		panic(err)
	}
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Method != http.MethodGet && r.Method != http.MethodHead {
			w.Header().Set("Allow", "GET, HEAD")
			http.Error(w, "use GET", http.StatusMethodNotAllowed)
			return
		}
		w.Header().Set("Content-Type", "application/json")
		w.Header().Set("Cache-Control", "public, max-age=300")
		w.Header().Set("Access-Control-Allow-Origin", "*")
		w.Header().Set("X-Content-Type-Options", "nosniff")
		_, _ = w.Write(body)
	})
}

// Endpoints serves handlers by the exact path of the request. Every other path is answered 404.
func Endpoints(byPath map[string]http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if h, ok := byPath[r.URL.Path]; ok {
			h.ServeHTTP(w, r)
			return
		}
		http.NotFound(w, r)
	})
}
