package datocms

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/latchkey-go/latchkey"
)

// deliver posts a query as the product's client does, whose body is text/plain.
func (w *world) deliver(token string, h http.Header) *httptest.ResponseRecorder {
	w.t.Helper()
	r := httptest.NewRequest("POST", "/graphql", strings.NewReader(`{"query":"{ a }"}`))
	r.Header.Set("Content-Type", "text/plain;charset=UTF-8")
	r.Header.Set("Accept", "application/json")
	if token != "" {
		r.Header.Set("Authorization", "Bearer "+token)
	}
	for name, values := range h {
		r.Header[name] = values
	}
	out := httptest.NewRecorder()
	w.cda.ServeHTTP(out, r)
	return out
}

func TestDeliveryGate(t *testing.T) {
	w := newWorld(t, &Options{Environments: []string{"main", "sandbox"}})
	token := func(environments string, cda, preview bool) string {
		role := w.newRole(fmt.Sprint(environments, cda, preview), `"environments_access":"`+environments+`"`)
		return *w.newToken("t", role.ID, cda, preview, false).Attributes.Token
	}
	both, published, preview, none := token("all", true, true), token("all", true, false), token("all", false, true),
		token("all", false, false)
	primary, sandbox, nowhere := token("primary_only", true, true), token("sandbox_only", true, true), token("none", true, true)
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

func TestStoreTroubleIsNoRefusal(t *testing.T) {
	w := newWorld(t, nil)
	w.store.down = latchkey.ErrUnavailable
	out := w.raw("GET", "/roles", "", clientHeaders(w.admin))
	refusedReply(t, out, 503, codeUnavailable)
	require.Contains(t, out.Body.String(), `"transient":true`, "clients come again by themselves")
	refusedReply(t, w.deliver(w.admin, nil), 503, codeUnavailable)
	w.store.down = nil
	w.store.downWrite = latchkey.ErrUnknownOutcome
	out = w.raw("POST", "/roles", roleBodyText("", `"name":"x"`, nil), clientHeaders(w.admin))
	refusedReply(t, out, 503, codeUnavailable)
	require.NotContains(t, out.Body.String(), `transient`, "what may have happened is not repeated")
	w.store.downWrite = latchkey.ErrConflict
	out = w.raw("POST", "/roles", roleBodyText("", `"name":"x"`, nil), clientHeaders(w.admin))
	refusedReply(t, out, 422, codeConcurrent)
	require.Contains(t, out.Body.String(), `"transient":true`)
}

func TestPreflight(t *testing.T) {
	w := newWorld(t, nil)
	for _, path := range []string{"/access_tokens", "/roles/x"} {
		out := w.raw("OPTIONS", path, "", http.Header{"Origin": {"https://example.org"}})
		require.Equal(t, 204, out.Code)
		require.Equal(t, "*", out.Header().Get("Access-Control-Allow-Origin"))
		require.Empty(t, out.Header().Get("Access-Control-Allow-Credentials"))
		require.Contains(t, out.Header().Get("Access-Control-Allow-Headers"), "x-api-version")
	}
}
