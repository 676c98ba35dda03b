package datocms

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// deliver posts a query as the product's client does, whose body is text/plain.
func (w *fixture) deliver(token string, h http.Header) *httptest.ResponseRecorder {
	w.t.Helper()
	return w.deliverTo(w.cda, "/graphql", token, h)
}

func (w *fixture) deliverTo(cda http.Handler, path, token string, h http.Header) *httptest.ResponseRecorder {
	w.t.Helper()
	r := httptest.NewRequest("POST", path, strings.NewReader(`{"query":"{ a }"}`))
	r.Header.Set("Content-Type", "text/plain;charset=UTF-8")
	r.Header.Set("Accept", "application/json")
	if token != "" {
		r.Header.Set("Authorization", "Bearer "+token)
	}
	for name, values := range h {
		r.Header[name] = values
	}
	out := httptest.NewRecorder()
	cda.ServeHTTP(out, r)
	return out
}

func TestDeliveryGate(t *testing.T) {
	w := newFixture(t, &Options{Environments: []string{"main", "sandbox"}})
	token := func(environments string, cda, preview bool) string {
		role := w.newRole(fmt.Sprint(environments, cda, preview), `"environments_access":"`+environments+`"`)
		return *w.newToken("t", role.ID, cda, preview, false).Attributes.Token
	}
	both, published, preview, none := token("all", true, true), token("all", true, false), token("all", false, true),
		token("all", false, false)
	primary, sandbox, nowhere := token("primary_only", true, true), token("sandbox_only", true, true),
		token("none", true, true)
	drafts := http.Header{"X-Include-Drafts": {"true"}}
	in := func(env string) http.Header { return http.Header{"X-Environment": {env}} }
	for name, c := range map[string]struct {
		token string
		h     http.Header
		want  string // the handler's answer, or the code
	}{
		"published":                       {both, nil, `{"Environment":"main","Drafts":false}`},
		"drafts":                          {both, drafts, `{"Environment":"main","Drafts":true}`},
		"published only":                  {published, nil, `{"Environment":"main","Drafts":false}`},
		"drafts without the flag":         {published, drafts, codePermissions},
		"preview only, drafts":            {preview, drafts, `{"Environment":"main","Drafts":true}`},
		"preview only, published":         {preview, nil, codePermissions},
		"neither":                         {none, nil, codeAuthorization},
		"neither, drafts":                 {none, drafts, codeAuthorization},
		"a value that is not true":        {both, http.Header{"X-Include-Drafts": {"false"}}, codeDrafts},
		"true twice":                      {both, http.Header{"X-Include-Drafts": {"true", "true"}}, codeDrafts},
		"no token":                        {"", nil, codeAuthorization},
		"null, as the client sends it":    {"null", nil, codeAuthorization},
		"a named environment":             {both, in("sandbox"), `{"Environment":"sandbox","Drafts":false}`},
		"an unknown environment":          {both, in("nope"), codeEnvironment},
		"primary only":                    {primary, nil, `{"Environment":"main","Drafts":false}`},
		"primary only, elsewhere":         {primary, in("sandbox"), codePermissions},
		"sandboxes only":                  {sandbox, in("sandbox"), `{"Environment":"sandbox","Drafts":false}`},
		"sandboxes only, in the primary":  {sandbox, nil, codePermissions},
		"nowhere":                         {nowhere, nil, codePermissions},
		"nowhere, in a named environment": {nowhere, in("sandbox"), codePermissions},
	} {
		t.Run(name, func(t *testing.T) {
			out := w.deliver(c.token, c.h)
			if strings.HasPrefix(c.want, "{") {
				require.Equal(t, 200, out.Code, out.Body.String())
				require.JSONEq(t, c.want, out.Body.String())
				return
			}
			status := map[string]int{codeEnvironment: 404, codeDrafts: 400}[c.want]
			if status == 0 {
				status = 401
			}
			details := refusedReply(t, out, status, c.want)
			if c.want == codeDrafts {
				require.JSONEq(t, `{"message":"X-Include-Drafts header can only be set to `+"`true`"+`"}`, details)
			}
		})
	}

	w.opts.PreviewReadsPublished = true
	w.cda = Delivery(w.acme, &w.opts)(http.HandlerFunc(func(http.ResponseWriter, *http.Request) {}))
	require.Equal(t, 200, w.deliver(preview, nil).Code)
	require.Equal(t, 401, w.deliver(none, nil).Code)
}

// Paths are equivalent to the headers, with the same checks.
func TestDeliveryPathForms(t *testing.T) {
	w := newFixture(t, &Options{Environments: []string{"main", "sandbox", "preview", "Preview"}})
	token := func(environments string, cda, preview bool) string {
		role := w.newRole(fmt.Sprint(environments, cda, preview), `"environments_access":"`+environments+`"`)
		return *w.newToken("t", role.ID, cda, preview, false).Attributes.Token
	}
	both, published, preview, none := token("all", true, true), token("all", true, false), token("all", false, true),
		token("all", false, false)
	primary, sandbox := token("primary_only", true, true), token("sandbox_only", true, true)
	drafts := http.Header{"X-Include-Drafts": {"true"}}
	in := func(env ...string) http.Header { return http.Header{"X-Environment": env} }
	answer := func(env string, drafts bool) string {
		return fmt.Sprintf(`{"Environment":%q,"Drafts":%t}`, env, drafts)
	}
	// Behind a mux, without a mux, and behind http.StripPrefix.
	mux := http.NewServeMux()
	mux.Handle("/graphql", w.cda)
	mux.Handle("/graphql/", w.cda)
	mux.Handle("/api/dato/", http.StripPrefix("/api/dato", w.cda))
	for name, door := range map[string]struct {
		h      http.Handler
		prefix string
	}{"a mux": {mux, "/graphql"}, "none": {w.cda, ""}, "a prefix": {w.cda, "/any/thing"}, "stripped": {mux, "/api/dato"}} {
		for _, c := range []struct {
			path, token string
			h           http.Header
			want        string // the handler's answer, or the code
		}{
			{"/preview", both, nil, answer("main", true)},
			{"/preview/", both, nil, answer("main", true)},
			{"/%70review", both, nil, answer("main", true)},
			{"/preview", both, drafts, answer("main", true)},
			{"/preview", both, in("sandbox"), answer("sandbox", true)},
			{"/preview", preview, nil, answer("main", true)},
			{"/preview", published, nil, codePermissions},
			{"/preview", none, nil, codeAuthorization},
			{"/preview", "", nil, codeAuthorization},
			{"/preview", sandbox, nil, codePermissions},
			{"/preview", both, http.Header{"X-Include-Drafts": {"false"}}, codeDrafts},
			{"/environments/sandbox", both, nil, answer("sandbox", false)},
			{"/environments/sandbox/", both, nil, answer("sandbox", false)},
			{"/environments/s%61ndbox", both, nil, answer("sandbox", false)},
			{"/environments/main", both, nil, answer("main", false)},
			{"/environments/sandbox", published, nil, answer("sandbox", false)},
			{"/environments/sandbox", preview, nil, codePermissions},
			{"/environments/sandbox", primary, nil, codePermissions},
			{"/environments/main", primary, nil, answer("main", false)},
			{"/environments/main", sandbox, nil, codePermissions},
			{"/environments/sandbox", sandbox, nil, answer("sandbox", false)},
			{"/environments/sandbox", both, drafts, answer("sandbox", true)},
			{"/environments/sandbox", published, drafts, codePermissions},
			{"/environments/sandbox/preview", both, nil, answer("sandbox", true)},
			{"/environments/sandbox/preview/", both, nil, answer("sandbox", true)},
			{"/environments/sandbox/preview", published, nil, codePermissions},
			{"/environments/sandbox/preview", preview, nil, answer("sandbox", true)},
			{"/environments/sandbox/preview", primary, nil, codePermissions},
			{"/environments/preview", both, nil, answer("preview", false)},
			{"/environments/Preview", both, nil, answer("Preview", false)},
			{"/environments/preview/preview", both, nil, answer("preview", true)},
			// Path and header.
			{"/environments/sandbox", both, in("sandbox"), answer("sandbox", false)},
			{"/environments/sandbox", both, in("main"), codeEnvironment},
			{"/environments/main", both, in("sandbox"), codeEnvironment},
			{"/environments/sandbox", both, in("sandbox", "sandbox"), codeEnvironment},
			{"/environments/sandbox/preview", both, in("main"), codeEnvironment},
			{"/environments/nope", both, in("main"), codeEnvironment},
			// Environments that do not exist.
			{"/environments/nope", both, nil, codeEnvironment},
			{"/environments/nope/preview", both, nil, codeEnvironment},
			{"/environments/Sandbox", both, nil, codeEnvironment},
			{"/environments/sandbox%20", both, nil, codeEnvironment},
			// Paths in no known form, or with two meanings.
			{"/Preview", both, nil, codeEndpoint},
			{"/PREVIEW/", both, nil, codeEndpoint},
			{"/Environments/sandbox", both, nil, codeEndpoint},
			{"/environments", both, nil, codeEndpoint},
			{"/environments/", both, nil, codeEndpoint},
			{"/environments/sandbox/drafts", both, nil, codeEndpoint},
			{"/environments/sandbox/Preview", both, nil, codeEndpoint},
			{"/environments/sandbox/preview/x", both, nil, codeEndpoint},
			{"/preview/environments/sandbox/x", both, nil, codeEndpoint},
			{"/environments%2Fsandbox", both, nil, codeEndpoint},
			{"/environments/sandbox%2Fpreview", both, nil, codeEndpoint},
			{"/x%2Fpreview", both, nil, codeEndpoint},
			{"/x%2FPreview", both, nil, codeEndpoint},
			{"/x%2Fenvironments%2Fsandbox%2Fx", both, nil, codeEndpoint},
			{"/preview%2F", both, nil, codeEndpoint},
			{"/%2E%2E/preview", both, nil, codeEndpoint},
			{"/environments/sandbox", none, nil, codeAuthorization},
		} {
			t.Run(name+" "+c.path, func(t *testing.T) {
				out := w.deliverTo(door.h, door.prefix+c.path, c.token, c.h)
				if strings.HasPrefix(c.want, "{") {
					require.Equal(t, 200, out.Code, out.Body.String())
					require.JSONEq(t, c.want, out.Body.String())
					return
				}
				status := map[string]int{codeEnvironment: 404, codeEndpoint: 404, codeDrafts: 400}[c.want]
				if status == 0 {
					status = 401
				}
				refusedReply(t, out, status, c.want)
			})
		}
	}
	// Without a mux, which redirects such paths.
	for _, path := range []string{"/environments//sandbox", "/environments//preview",
		"/environments/sandbox//preview", "/x/../preview"} {
		out := w.deliverTo(w.cda, path, both, nil)
		require.Equal(t, 404, out.Code, path)
	}
	for _, path := range []string{"//preview", "/preview//", "/x//preview///"} {
		require.JSONEq(t, answer("main", true), w.deliverTo(w.cda, path, both, nil).Body.String(), path)
	}
}

// The headers that the product's browser client sends and reads are allowed across origins.
func TestDeliveryCORS(t *testing.T) {
	w := newFixture(t, nil)
	for _, h := range []http.Handler{w.cda, Handler(w.acme, &w.opts)} {
		r := httptest.NewRequest("OPTIONS", "/graphql", nil)
		r.Header.Set("Origin", "https://example.org")
		r.Header.Set("Access-Control-Request-Method", "POST")
		out := httptest.NewRecorder()
		h.ServeHTTP(out, r)
		require.Equal(t, 204, out.Code)
		allowed := strings.Split(out.Header().Get("Access-Control-Allow-Headers"), ", ")
		require.Subset(t, allowed, []string{"authorization", "content-type", "accept", "x-environment", "x-api-version",
			"user-agent", "x-include-drafts", "x-exclude-invalid", "x-visual-editing", "x-base-editing-url", "x-cache-tags"})
		require.Contains(t, out.Header().Get("Access-Control-Allow-Methods"), "POST")
	}
	for _, out := range []*httptest.ResponseRecorder{w.deliver(w.admin, nil), w.deliver("unknown", nil)} {
		require.Equal(t, "*", out.Header().Get("Access-Control-Allow-Origin"))
		exposed := strings.Split(out.Header().Get("Access-Control-Expose-Headers"), ", ")
		require.Subset(t, exposed, []string{"x-cache-tags", "x-environment", "x-ratelimit-limit", "x-ratelimit-remaining",
			"x-ratelimit-reset"})
	}
}
