package mount

import (
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// wrapped is a mux of another type around http.ServeMux.
type wrapped struct{ mux *http.ServeMux }

func (w wrapped) Handle(pattern string, h http.Handler) { w.mux.Handle(pattern, h) }

// chiLike routes as chi does: a pattern is one path unless it ends in "/*", and the path of the request stays whole
// beneath a prefix. The module integrations/frameworks tests the real chi.
type chiLike struct {
	prefix string
	routes map[string]http.Handler
}

func (c chiLike) Handle(pattern string, h http.Handler) { c.routes[pattern] = h }

func (c chiLike) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	path := routed(r.URL)[len(c.prefix):]
	if h, ok := c.routes[path]; ok {
		r.Pattern = strings.TrimSuffix(c.prefix+path, "/")
		h.ServeHTTP(w, r)
		return
	}
	for i := len(path) - 1; i >= 0; i-- {
		if h, ok := c.routes[path[:i+1]+"*"]; ok && path[i] == '/' {
			r.Pattern = c.prefix + path[:i+1] + "*"
			r.SetPathValue("*", path[i+1:])
			h.ServeHTTP(w, r)
			return
		}
	}
	http.NotFound(w, r)
}

// A host's pattern with a method that matches more paths is no conflict, and each keeps its paths.
func TestHandleBesideMethods(t *testing.T) {
	answer := func(text string) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write([]byte(text)) })
	}
	mux := http.NewServeMux()
	mux.Handle("GET /", answer("host"))
	Subtree(mux, "/console", "", answer("console"))
	Path(mux, "/roles/{id}", answer("role"))
	Slashed(mux, "/api", answer("api"))
	mux.Handle("POST /", answer("host"))
	mux.Handle("/", answer("host"))
	for target, want := range map[string]string{"/": "host", "/consoles": "host", "/console/x": "console",
		"/roles/7": "role", "/roles/7/x": "host", "/api": "api", "/api/": "api", "/api/x": "host"} {
		for _, method := range []string{"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE"} {
			w := httptest.NewRecorder()
			mux.ServeHTTP(w, httptest.NewRequest(method, target, nil))
			require.Equal(t, want, w.Body.String(), "%s %s", method, target)
		}
	}
}

func TestSubtree(t *testing.T) {
	std, inner := http.NewServeMux(), http.NewServeMux()
	chi, deep := chiLike{"", map[string]http.Handler{}}, chiLike{"/api/v2", map[string]http.Handler{}}
	twice := chiLike{"/console", map[string]http.Handler{}}
	seen := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		_, _ = w.Write([]byte(r.URL.Path + " " + r.URL.EscapedPath()))
	})
	for _, tt := range []struct {
		name   string
		mux    Mux
		serve  http.Handler
		prefix string
	}{
		{"ServeMux", std, std, ""},
		{"a type around it", wrapped{inner}, inner, ""},
		{"chi", chi, chi, ""},
		{"chi beneath a prefix", deep, deep, "/api/v2"},
		{"chi beneath the same", twice, twice, "/console"},
		{"ServeMux and its host", nil, nil, ""}, // serves the first
	} {
		name := tt.name
		pre := tt.prefix
		if tt.mux == nil { // patterns with a host
			mux := http.NewServeMux()
			mux.Handle("example.com/", std)
			tt.serve = mux
		} else {
			Subtree(tt.mux, "/console", "", seen)
			Subtree(tt.mux, "/v1", "/v1", seen)
			Path(tt.mux, "/roles/{id}", seen)
			if c, ok := tt.mux.(chiLike); ok {
				c.Handle("/roles/a%2Fb", c.routes["/roles/{id}"])
			}
		}
		for _, step := range []struct {
			target string
			status int
			want   string // the body, or Location
		}{
			{"/console/", 200, "/ /"},
			{"/console/roles", 200, "/roles /roles"},
			{"/console/roles/", 200, "/roles/ /roles/"},
			{"/console/role/a%2Fb", 200, "/role/a/b /role/a%2Fb"},
			{"/console/role/50%25", 200, "/role/50% /role/50%25"},
			{"/console/role/caf%C3%A9", 200, "/role/café /role/caf%C3%A9"},
			{"/console/*", 200, "/* /*"},
			{"/console/console/", 200, "/console/ /console/"},
			{"/v1/data/ACME/CARS", 200, "/v1/data/ACME/CARS /v1/data/ACME/CARS"},
			{"/v1/", 200, "/v1/ /v1/"},
			{"/roles/a%2Fb", 200, "/roles/a/b /roles/a%2Fb"},
			{"/console?x=1", 307, "/console/?x=1"},
			{"/elsewhere", 404, ""},
		} {
			w := httptest.NewRecorder()
			tt.serve.ServeHTTP(w, httptest.NewRequest("GET", pre+step.target, nil))
			require.Equal(t, step.status, w.Code, "%s: %s", name, step.target)
			switch step.status {
			case 200:
				require.Equal(t, step.want, w.Body.String(), "%s: %s", name, step.target)
			case 307:
				to, err := w.Result().Location()
				require.NoError(t, err)
				base := httptest.NewRequest("GET", pre+step.target, nil).URL
				require.Equal(t, pre+step.want, base.ResolveReference(to).RequestURI(), name)
			}
		}
	}
}
