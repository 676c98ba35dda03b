package api

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/latchkey-go/latchkey"
	"github.com/latchkey-go/latchkey/httpadapter"
	"github.com/latchkey-go/latchkey/memstore"
)

// Nobody exceeds its own rights: who, what, and what comes of it.
func TestRights(t *testing.T) {
	allow := func(on string, actions ...latchkey.Action) latchkey.Rule {
		return latchkey.Allow(actions...).On(latchkey.Pattern(on))
	}
	everything := latchkey.Permissions{latchkey.Allow(latchkey.Any, latchkey.Give).On("*", "latchkey/*")}
	reads := latchkey.Permissions{allow("latchkey/*", latchkey.Read)}
	makes := latchkey.Permissions{allow("latchkey/token/*", latchkey.Create, latchkey.Read), allow("data/1", "read")}
	nothing := latchkey.Permissions{allow("data/*", "read")}
	for _, tt := range []struct {
		who    string
		rules  latchkey.Permissions
		method string
		target string
		body   string
		status int
	}{
		{"nobody's business", nothing, "GET", "/me", "", 200},
		{"nobody's business", nothing, "GET", "/me/reach?action=read", "", 200},
		{"without a right", nothing, "GET", "/tokens/PLAIN", "", 404},
		{"without a right", nothing, "GET", "/roles/ROLE", "", 404},
		{"without a right", nothing, "POST", "/tokens", `{"kind":"api_key"}`, 403},
		{"without a right", nothing, "GET", "/owner", "", 403},
		{"without a right", nothing, "GET", "/events", "", 403},
		{"without a right", nothing, "GET", "/usage", "", 403},
		{"without a right", nothing, "GET", "/clients", "", 403},
		{"without a right", nothing, "GET", "/clients/c1", "", 403},
		{"without a right", nothing, "GET", "/catalogue", "", 200},
		{"may mint, which is less", nothing, "POST", "/me/tokens", `{"lifetime":1000000000}`, 201},
		{"a reader", reads, "GET", "/tokens/PLAIN", "", 200},
		{"a reader", reads, "GET", "/owner", "", 200},
		{"a reader", reads, "PATCH", "/tokens/PLAIN", `{"name":"x"}`, 403},
		{"a reader", reads, "POST", "/tokens/PLAIN/revoke", `{}`, 403},
		{"a reader", reads, "DELETE", "/tokens/PLAIN", "", 403},
		{"a reader", reads, "POST", "/tokens/PLAIN/reveal", "", 403},
		{"a reader", reads, "POST", "/tokens/PLAIN/rotate", "", 403},
		{"a reader", reads, "PATCH", "/roles/ROLE", `{"name":"x"}`, 403},
		{"a reader", reads, "PATCH", "/owner", `{"disabled":true}`, 403},
		{"a reader", reads, "DELETE", "/clients/c1", "", 403},
		{"who makes what it has", makes, "POST", "/tokens", `{"kind":"api_key","permissions":[{"allow":["read"],
			"on":["data/1"]}]}`, 201},
		{"who makes more than it has", makes, "POST", "/tokens", `{"kind":"api_key","permissions":[{"allow":["read"],
			"on":["data/2"]}]}`, 403},
		{"who makes more than it has", makes, "POST", "/tokens", `{"kind":"secret"}`, 403},
		{"who makes more than it has", makes, "POST", "/tokens", `{"kind":"api_key","roles":["reader"]}`, 403},
		{"who makes for others", makes, "POST", "/tokens", `{"kind":"api_key","client":{"id":"c9"}}`, 403},
		{"an administrator", everything, "POST", "/tokens", `{"kind":"secret"}`, 201},
		{"an administrator", everything, "PATCH", "/owner", `{"disabled":false,"extra":1}`, 200},
		{"an administrator", everything, "PATCH", "/owner", `{"policy":{"tokens":9}}`, 403},
		{"an administrator", everything, "PATCH", "/owner", `{"boundary":[]}`, 403},
		{"an administrator", everything, "PATCH", "/owner", `{"limits":{"rate":{"count":1,"per":1000000000}}}`, 403},
		{"an administrator", everything, "PATCH", "/roles/" + codeRole, `{"name":"x"}`, 403},
		{"an administrator", everything, "DELETE", "/roles/" + codeRole, "", 403},
		{"an administrator", everything, "DELETE", "/roles/code:none", "", 404},
	} {
		h := newHouse(t, setup{})
		_, text := h.issue(latchkey.Spec{Kind: latchkey.KindAPIKey, Permissions: tt.rules})
		target := strings.NewReplacer("PLAIN", h.plainID, "ROLE", h.role.ID).Replace(tt.target)
		var body any
		if tt.body != "" {
			body = tt.body
		}
		got := h.as(text, tt.method, target, body)
		assert.Equal(t, tt.status, got.Code, "%s: %s %s %s: %s", tt.who, tt.method, tt.target, tt.body, got.Body)
	}
}

// The owner's policy is obeyed, and the refusal says what it is.
func TestPolicyIsTold(t *testing.T) {
	h := newHouse(t, setup{})
	require.NoError(t, h.acme.Configure(t.Context(), func(o *latchkey.Owner) error {
		o.Policy = latchkey.OwnerPolicy{MaxLifetime: time.Hour, Kinds: []latchkey.Kind{latchkey.KindAPIKey}}
		return nil
	}))
	p := h.do("POST", "/tokens", `{"kind":"api_key"}`).refused(403, "policy")
	require.NotEmpty(t, p.Detail)
	h.do("POST", "/tokens", `{"kind":"session","validity":{"not_after":"2026-11-30T12:30:00Z"}}`).refused(403, "policy")
	h.do("POST", "/tokens", `{"kind":"api_key","validity":{"not_after":"2026-11-30T12:30:00Z"}}`).ok(201)
	p = h.do("PATCH", "/owner", `{"policy":null}`).refused(403, "denied")
	require.Contains(t, p.Detail, "Only the host")
}

// A minted caller hears what it may do, and the rules of it only if it may read where they come from.
func TestExplainMe(t *testing.T) {
	h := newHouse(t, setup{})
	const ask = `{"questions":[{"action":"read","resource":"data/1"}]}`
	first := func(r reply) map[string]any { return r.ok(200)["items"].([]any)[0].(map[string]any) }
	quiet := first(h.as(h.secret, "POST", "/me/explain", ask))
	require.Equal(t, "some", quiet["verdict"])
	require.Equal(t, map[string]any{"field": "region", "op": "=", "value": "EU"}, quiet["rows"])
	require.NotContains(t, quiet, "layers")
	require.Empty(t, quiet["reason"])
	_, text := h.issue(latchkey.Spec{Kind: latchkey.KindAPIKey, Roles: []string{h.role.ID},
		Permissions: latchkey.Permissions{
			latchkey.Allow(latchkey.Read).On("latchkey/*")}})
	whole := first(h.as(text, "POST", "/me/explain", ask))
	require.Equal(t, "some", whole["verdict"])
	require.Contains(t, whole, "layers")
	require.NotEmpty(t, whole["reason"])
	_, text = h.issue(latchkey.Spec{Kind: latchkey.KindAPIKey, Roles: []string{h.role.ID},
		Permissions: latchkey.Permissions{
			latchkey.Allow(latchkey.Read).On("latchkey/token/*")}})
	require.NotContains(t, first(h.as(text, "POST", "/me/explain", ask)), "layers", "it may not read the role")
	for _, body := range []string{`{}`, `{"questions":[]}`,
		`{"questions":[` + strings.Repeat(`{"action":"read","resource":"a"},`, 100) + `{"action":"read","resource":"a"}]}`} {
		h.do("POST", "/me/explain", body).refused(400, "bad-request")
		h.do("POST", "/tokens/"+h.plainID+"/explain", body).refused(400, "bad-request")
		h.do("POST", "/roles/"+h.role.ID+"/explain", body).refused(400, "bad-request")
	}
}

var secretText = regexp.MustCompile(`\b(?:T?sk|ak|at|ss)_[0-9A-Za-z]{30,}`)

// The text of a secret is in the replies that the table says, and in no other, and no reply may be stored.
func TestSecretsAreShownOnce(t *testing.T) {
	for _, op := range operations() {
		h := newHouse(t, setup{})
		got := h.request(describedOperations()[op.id], h.examples()[op.id])
		require.Less(t, got.Code, 300, op.id)
		assert.Equal(t, op.secret, secretText.MatchString(got.Body.String()), op.id)
		assert.Equal(t, "no-store", got.Header().Get("Cache-Control"), op.id)
		assert.Equal(t, "nosniff", got.Header().Get("X-Content-Type-Options"), op.id)
	}
}

// What the API changes stands in the audit trail, with who did it and from where.
func TestAudit(t *testing.T) {
	h := newHouse(t, setup{})
	h.do("PATCH", "/tokens/"+h.plainID, `{"name":"x"}`).ok(200)
	h.do("POST", "/tokens/"+h.plainID+"/revoke", `{"reason":"it leaked"}`).ok(204)
	for action, reason := range map[string]any{"token.update": nil, "token.revoke": "it leaked"} {
		e := h.do("GET", "/events?object="+h.plainID+"&action="+action, nil).ok(200)["items"].([]any)[0].(map[string]any)
		require.Equal(t, h.adminID, e["actor"])
		require.Equal(t, "192.0.2.7", e["from"])
		require.Equal(t, reason, e["reason"])
	}
}

// A sweep of many tokens is done in bounded requests.
func TestSweepInSteps(t *testing.T) {
	h := newWorld(t, setup{})
	for i := range sweepMost + 5 {
		h.issue(latchkey.Spec{Kind: latchkey.KindAPIKey, Name: fmt.Sprint(i), Client: latchkey.Client{ID: "many"}})
	}
	first := h.do("POST", "/tokens/revoke", `{"client":"many"}`).ok(200)
	require.Equal(t, float64(sweepMost), first["done"])
	require.Equal(t, true, first["more"])
	second := h.do("POST", "/tokens/revoke", `{"client":"many","after":"`+first["after"].(string)+`"}`).ok(200)
	require.Equal(t, float64(5), second["done"])
	require.Equal(t, false, second["more"])
	h.do("POST", "/tokens/revoke", `{}`).refused(400, "invalid")
}

// The API is served beneath a prefix, for hosts that mount it or strip the prefix themselves, and Location leads to
// what was made.
func TestMount(t *testing.T) {
	h := newHouse(t, setup{})
	auth := httpadapter.New(h.keys, nil)
	mux := http.NewServeMux()
	Mount(mux, "/latchkey/v1", auth, &Options{Clock: h.clock.now})
	mux.Handle("/", http.NotFoundHandler())
	root := http.NewServeMux()
	Mount(root, "", auth, &Options{Clock: h.clock.now})
	for prefix, handler := range map[string]http.Handler{"/latchkey/v1": mux, "": root,
		"/stripped": http.StripPrefix("/stripped", Handler(auth, &Options{Clock: h.clock.now}))} {
		ask := func(method, target, body string) *httptest.ResponseRecorder {
			r := httptest.NewRequest(method, prefix+target, strings.NewReader(body))
			r.Header.Set("Authorization", "Bearer "+h.admin)
			if body != "" {
				r.Header.Set("Content-Type", mediaJSON)
			}
			w := httptest.NewRecorder()
			handler.ServeHTTP(w, r)
			return w
		}
		require.Equal(t, 200, ask("GET", "/me", "").Code, prefix)
		require.Equal(t, 404, ask("GET", "/nope", "").Code, prefix)
		require.Equal(t, 200, ask("GET", "/clients/c1", "").Code, prefix)
		for _, target := range []string{"/tokens", "/me/tokens"} {
			body := map[string]string{"/tokens": `{"kind":"api_key"}`, "/me/tokens": `{"lifetime":60000000000}`}[target]
			made := ask("POST", target, body)
			require.Equal(t, 201, made.Code, "%s: %s", prefix, made.Body)
			to, err := httptest.NewRequest("POST", "http://example.com"+prefix+target,
				nil).URL.Parse(made.Header().Get("Location"))
			require.NoError(t, err)
			require.Equal(t, 200, ask("GET", strings.TrimPrefix(to.Path, prefix), "").Code, to)
		}
		for method, body := range map[string]string{"GET": string(Document()), "HEAD": ""} {
			w := &headed{ResponseRecorder: httptest.NewRecorder()}
			handler.ServeHTTP(w, httptest.NewRequest(method, prefix+"/openapi.json", nil))
			require.Equal(t, 200, w.Code)
			require.Equal(t, 1, w.times)
			require.Equal(t, body, w.Body.String())
			require.Equal(t, http.Header{"Content-Type": {"application/json"}, "Cache-Control": {"public, max-age=300"},
				"X-Content-Type-Options": {"nosniff"}, "Content-Length": {fmt.Sprint(len(Document()))}}, w.Header())
		}
		w := httptest.NewRecorder()
		handler.ServeHTTP(w, httptest.NewRequest("POST", prefix+"/openapi.json", nil))
		require.Equal(t, 401, w.Code, "the document can be read, and no more")
	}
	refused := func(want string, f func()) {
		t.Helper()
		defer func() { require.Contains(t, recover(), want) }()
		f()
	}
	for _, prefix := range []string{"latchkey", "/latchkey/", "/"} {
		refused("must begin with a slash, and must not end with one", func() {
			Mount(http.NewServeMux(), prefix, auth, nil)
		})
	}
	for want, opts := range map[string][]Options{"MaxBody is negative": {{MaxBody: -1}},
		"Remember must be a minute or more": {{Remember: time.Minute - 1}, {Remember: -1}}} {
		for _, o := range opts {
			refused(want, func() { Handler(auth, &o) })
		}
	}
	Handler(auth, &Options{Remember: time.Minute})
	refused("Mount needs an Adapter", func() { Handler(nil, nil) })
}

// Without Options the clock is the system's, as a request that is remembered for a day needs one.
func TestMountWithoutOptions(t *testing.T) {
	keys := latchkey.New(memstore.New(nil), nil)
	_, secret, err := keys.For("acme").Issue(t.Context(), latchkey.Spec{Kind: latchkey.KindSecret})
	require.NoError(t, err)
	w := &world{t: t, keys: keys, acme: keys.For("acme"), admin: secret.Reveal(),
		handler: Handler(httpadapter.New(keys, nil), nil)}
	w.do("POST", "/roles", `{"name":"r"}`, "Idempotency-Key", "k").ok(201)
	w.do("POST", "/roles", `{"name":"r"}`, "Idempotency-Key", "k").refused(409, "carried-out")
}

// Of two operations on one path one would never be called.
func TestOneOperationForAMethodOfAPath(t *testing.T) {
	one := func(method, path string) *operation { return &operation{method: method, path: path} }
	require.PanicsWithValue(t, "api: two operations GET /a/{id}", func() {
		routes([]*operation{one("GET", "/a/{id}"), one("GET", "/a"), one("GET", "/a/{id}")})
	})
	require.NotPanics(t, func() { routes([]*operation{one("GET", "/a/{id}"), one("PUT", "/a/{id}"), one("GET", "/a")}) })
}

// A credential in the URL is no unknown parameter, where the host takes it there.
func TestCredentialInTheURL(t *testing.T) {
	h := newHouse(t, setup{adapter: httpadapter.Options{Carriers: httpadapter.Carriers{Bearer: true,
		Query: []string{"key"}}}})
	require.Equal(t, 200, h.as("", "GET", "/tokens?limit=1&key="+h.admin, nil).Code)
	require.Equal(t, 400, h.as("", "GET", "/tokens?other=1&key="+h.admin, nil).Code)
}
