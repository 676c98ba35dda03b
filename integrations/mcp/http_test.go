package latchkeymcp_test

import (
	"context"
	"encoding/json"
	"net/http"
	"net/netip"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/modelcontextprotocol/go-sdk/auth"
	"github.com/modelcontextprotocol/go-sdk/mcp"
	"github.com/modelcontextprotocol/go-sdk/oauthex"
	"github.com/stretchr/testify/require"

	"github.com/latchkey-go/latchkey"
	"github.com/latchkey-go/latchkey/httpadapter"
	latchkeymcp "github.com/latchkey-go/latchkey/integrations/mcp"
	"github.com/latchkey-go/latchkey/latchkeytest"
)

// whoami is a call that every valid token may make.
var whoami = tool("whoami", `{}`)

func TestEveryRequestNeedsOneValidToken(t *testing.T) {
	kit := latchkeytest.New(t, nil)
	url := serve(t, kit, rules())
	token := key(t, kit, "acme")
	test := func(spec latchkey.Spec) string {
		if spec.Kind == 0 {
			spec.Kind = latchkey.KindAPIKey
		}
		_, text := kit.Secret("acme", spec)
		return text
	}
	sandbox := test(latchkey.Spec{Kind: latchkey.KindSecret, Test: true})
	ended := test(latchkey.Spec{Validity: latchkey.Validity{NotAfter: kit.Clock.Now().Add(time.Minute)}})
	require.Equal(t, "acme", post(t, url, ended, whoami).text())
	kit.Clock.Advance(time.Hour)

	unknown := token[:len(token)-1] + map[bool]string{true: "y", false: "x"}[token[len(token)-1] == 'x']
	require.Equal(t, "acme", post(t, url, token, whoami).text())
	authorization := func(values ...string) func(*http.Request) {
		return func(r *http.Request) { r.Header["Authorization"] = values }
	}
	inURL := func(query string) func(*http.Request) {
		return func(r *http.Request) { r.URL.RawQuery = query }
	}
	const invalidToken = `Bearer realm="latchkey", error="invalid_token"`
	const invalidRequest = `Bearer realm="latchkey", error="invalid_request"`
	for _, c := range []struct {
		name, token string
		edit        func(*http.Request)
		status      int
		challenge   string
	}{
		{"no token", "", func(*http.Request) {}, 401, `Bearer realm="latchkey"`},
		{"an unknown token", unknown, func(*http.Request) {}, 401, invalidToken},
		{"one that has ended", ended, func(*http.Request) {}, 401, invalidToken},
		{"a test token", sandbox, func(*http.Request) {}, 401, invalidToken},
		{"one for another address", test(latchkey.Spec{Restrictions: latchkey.Restrictions{
			Addresses: []netip.Prefix{netip.MustParsePrefix("192.0.2.0/24")}}}), func(*http.Request) {}, 401, invalidToken},
		{"two headers", token, authorization("Bearer "+token, "Bearer "+token), 400, invalidRequest},
		{"two spaces", "", authorization("Bearer  " + token), 400, invalidRequest},
		{"another scheme", "", authorization("Basic " + token), 401, `Bearer realm="latchkey"`},
		{"also in the URL", token, inURL("access_token=" + token), 400, invalidRequest},
		{"only in the URL", "", inURL("access_token=" + token), 400, invalidRequest},
		{"an empty one in the URL", token, inURL("access_token="), 400, invalidRequest},
		{"another header", "", header("X-API-Key", token), 401, `Bearer realm="latchkey"`},
	} {
		t.Run(c.name, func(t *testing.T) {
			got := post(t, url, c.token, whoami, c.edit)
			require.Equal(t, c.status, got.Status, got.Body)
			require.Equal(t, c.challenge, got.Header.Get("WWW-Authenticate"))
			require.NotContains(t, got.Body, token)
			require.Empty(t, got.Result)
		})
	}
	require.Equal(t, "acme", post(t, url, token, whoami, inURL("other=1")).text(), "other parameters are the host's")
}

func TestOwnersAndTestMode(t *testing.T) {
	kit := latchkeytest.New(t, nil)
	acme, umbrella := key(t, kit, "acme"), key(t, kit, "umbrella")
	_, sandbox := kit.Secret("acme", latchkey.Spec{Kind: latchkey.KindSecret, Test: true})

	opts := rules()
	opts.Owner = "acme"
	url := serve(t, kit, opts)
	require.Equal(t, "acme", post(t, url, acme, whoami).text())
	require.Equal(t, 401, post(t, url, umbrella, whoami).Status)

	opts = rules()
	opts.OwnerOf = func(r *http.Request) (string, error) {
		if tenant := r.Header.Get("X-Tenant"); tenant != "" {
			return tenant, nil
		}
		return "", httpadapter.ErrNoTenant
	}
	url = serve(t, kit, opts)
	require.Equal(t, "umbrella", post(t, url, umbrella, whoami, header("X-Tenant", "umbrella")).text())
	require.Equal(t, 401, post(t, url, umbrella, whoami, header("X-Tenant", "acme")).Status)
	require.Equal(t, 401, post(t, url, umbrella, whoami).Status)

	opts = rules()
	opts.Test = true
	url = serve(t, kit, opts)
	require.Equal(t, "acme", post(t, url, sandbox, whoami).text())
	require.Equal(t, 401, post(t, url, acme, whoami).Status)
}

func TestTheAddressIsTheClients(t *testing.T) {
	kit := latchkeytest.New(t, nil)
	opts := rules()
	opts.Proxies = []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8")}
	url := serve(t, kit, opts)
	_, token := kit.Secret("acme", latchkey.Spec{Kind: latchkey.KindAPIKey, Restrictions: latchkey.Restrictions{
		Addresses: []netip.Prefix{netip.MustParsePrefix("192.0.2.0/24")}}})
	require.Equal(t, "acme", post(t, url, token, whoami, header("X-Forwarded-For", "192.0.2.7")).text())
	require.Equal(t, 401, post(t, url, token, whoami, header("X-Forwarded-For", "198.51.100.7")).Status)
	require.Equal(t, 401, post(t, serve(t, kit, rules()), token, whoami, header("X-Forwarded-For", "192.0.2.7")).Status,
		"without Proxies the header is not believed")
}

func TestRatesAreAnsweredWithRetryAfter(t *testing.T) {
	kit := latchkeytest.New(t, nil)
	_, token := kit.Secret("acme", latchkey.Spec{Kind: latchkey.KindAPIKey,
		Limits: latchkey.Limits{Rate: latchkey.Rate{Count: 1, Per: time.Minute}}})
	url := serve(t, kit, rules())
	require.Equal(t, "acme", post(t, url, token, whoami).text())
	over := post(t, url, token, whoami)
	require.Equal(t, 429, over.Status, over.Body)
	require.NotEmpty(t, over.Header.Get("RateLimit"))
	seconds, err := strconv.Atoi(over.Header.Get("Retry-After"))
	require.NoError(t, err)
	require.Equal(t, 60, seconds)
	kit.Clock.Advance(time.Minute)
	require.Equal(t, "acme", post(t, url, token, whoami).text())
}

func TestFloodsOfInvalidTokensAreLimited(t *testing.T) {
	kit := latchkeytest.New(t, nil)
	opts := rules()
	opts.AddressRate = latchkey.Rate{Count: 1, Per: time.Hour}
	url := serve(t, kit, opts)
	gone := key(t, kit, "acme")
	require.NoError(t, kit.For("acme").Delete(t.Context(), id(kit, gone)))
	require.Equal(t, 401, post(t, url, gone, whoami).Status)
	flooded := post(t, url, gone, whoami)
	require.Equal(t, 429, flooded.Status, flooded.Body)
	require.NotEmpty(t, flooded.Header.Get("Retry-After"))
}

func TestAnUnreachableStoreIsNoDenial(t *testing.T) {
	kit := latchkeytest.New(t, nil)
	url := serve(t, kit, rules())
	token := key(t, kit, "acme")
	kit.Store.Down(true)
	got := post(t, url, token, whoami)
	require.Equal(t, 503, got.Status, got.Body)
	require.NotEmpty(t, got.Header.Get("Retry-After"))
	kit.Store.Down(false)
	require.Equal(t, "acme", post(t, url, token, whoami).text())
}

// A web page may ask only from a known origin, and a local server answers only to its own name.
func TestDNSRebinding(t *testing.T) {
	kit := latchkeytest.New(t, nil)
	opts := rules()
	opts.Resource, opts.Origins = "https://MCP.example.com/mcp", []string{"https://inspector.example.com"}
	url := serve(t, kit, opts)
	token := key(t, kit, "acme")
	for _, origin := range []string{"https://inspector.example.com", "https://mcp.example.com",
		"https://Inspector.Example.com"} {
		require.Equal(t, "acme", post(t, url, token, whoami, header("Origin", origin)).text(), origin)
	}
	for _, origin := range []string{"https://evil.example.com", "http://inspector.example.com", "null",
		"https://inspector.example.com.evil.example", "https://inspector.example.com:8443", ""} {
		got := post(t, url, token, whoami, func(r *http.Request) { r.Header["Origin"] = []string{origin} })
		require.Equal(t, 403, got.Status, origin)
		require.Empty(t, got.Header.Get("WWW-Authenticate"), "another token does not help")
	}
	require.Equal(t, 403, post(t, url, token, whoami, func(r *http.Request) {
		r.Header["Origin"] = []string{"https://mcp.example.com", "https://mcp.example.com"}
	}).Status, "two headers")
	elsewhere := func(r *http.Request) { r.Host = "evil.example.com" }
	require.Equal(t, 403, post(t, url, token, whoami, elsewhere).Status, "Host")
}

func TestMetadataAndChallenges(t *testing.T) {
	kit := latchkeytest.New(t, nil)
	opts := rules()
	opts.Resource = "https://mcp.example.com/a/mcp"
	opts.AuthorizationServers = []string{"https://auth.example.com"}
	opts.Documentation = "https://example.com/keys"
	opts.Scopes = map[string]latchkeymcp.Scope{
		"mcp:use":     {Action: latchkey.Read, Resource: "mcp"},
		"orders:read": {Action: latchkey.Read, Resource: "dataset/orders"},
		"data:drop":   {Action: latchkey.Delete, Resource: "dataset"},
	}
	opts.RequireScopes = []string{"mcp:use"}
	drop := opts.Tools["drop"]
	drop.Scope = "data:drop"
	opts.Tools["drop"] = drop
	guard := latchkeymcp.New(kit.Manager, opts)
	server := newServer()
	mux := http.NewServeMux()
	path, metadata := guard.Metadata()
	require.Equal(t, "/.well-known/oauth-protected-resource/a/mcp", path)
	mux.Handle(path, metadata)
	mux.Handle("/a/mcp", guard.StreamableHTTP(func(*http.Request) *mcp.Server { return server },
		&mcp.StreamableHTTPOptions{Stateless: true}))
	url := start(t, mux)

	resp, err := http.Get(url + path)
	require.NoError(t, err)
	defer resp.Body.Close()
	var document oauthex.ProtectedResourceMetadata
	require.NoError(t, json.NewDecoder(resp.Body).Decode(&document))
	require.Equal(t, oauthex.ProtectedResourceMetadata{Resource: opts.Resource,
		AuthorizationServers: []string{"https://auth.example.com"}, ResourceDocumentation: "https://example.com/keys",
		ScopesSupported:        []string{"data:drop", "mcp:use", "orders:read"},
		BearerMethodsSupported: []string{"header"}}, document)

	for resource, want := range map[string]string{"https://mcp.example.com": "", "https://mcp.example.com/": "",
		"http://127.0.0.1:8080/x%20y": "/x%20y"} {
		at, _ := latchkeymcp.New(kit.Manager, &latchkeymcp.Options{Resource: resource}).Metadata()
		require.Equal(t, "/.well-known/oauth-protected-resource"+want, at)
	}

	url += "/a/mcp"
	at := `, resource_metadata="https://mcp.example.com/.well-known/oauth-protected-resource/a/mcp"`
	challenge := func(r reply) string { return r.Header.Get("WWW-Authenticate") }
	require.Equal(t, `Bearer realm="latchkey", scope="mcp:use"`+at, challenge(post(t, url, "", whoami)))
	require.Equal(t, `Bearer realm="latchkey", error="invalid_token", scope="mcp:use"`+at,
		challenge(post(t, url, "nonsense", whoami)))

	stranger := key(t, kit, "acme")
	lacks := post(t, url, stranger, whoami)
	require.Equal(t, 403, lacks.Status, lacks.Body)
	require.Equal(t, `Bearer realm="latchkey", error="insufficient_scope", scope="mcp:use"`+at, challenge(lacks))

	token := key(t, kit, "acme", latchkey.Allow(latchkey.Read).On("mcp"))
	require.Equal(t, "acme", post(t, url, token, whoami).text())
	for _, c := range []struct{ name, body, scope string }{
		{"a scope that stands for the same", tool("read", `{"id":"orders"}`), "orders:read"},
		{"the scope of the rule", tool("drop", `{"id":"orders"}`), "data:drop"},
	} {
		t.Run(c.name, func(t *testing.T) {
			got := post(t, url, token, c.body)
			require.Equal(t, 403, got.Status, got.Body)
			require.Equal(t, `Bearer realm="latchkey", error="insufficient_scope", scope="`+c.scope+`"`+at, challenge(got))
			require.Equal(t, "application/json", got.Header.Get("Content-Type"))
			require.Equal(t, denied, got.code(), "the body is the JSON-RPC error")
			require.Contains(t, got.Body, `"id":1`)
		})
	}
	none := post(t, url, token, tool("read", `{"id":"payroll"}`))
	require.Equal(t, 200, none.Status, "no scope would help")
	require.Equal(t, denied, none.code())
	for _, body := range []string{tool("read", `{"id":"a/../orders"}`), tool("drop", `{"id":"a/../orders"}`),
		tool("drop", `{}`), tool("unmapped", `{"id":"orders"}`)} {
		require.Equal(t, 200, post(t, url, token, body).Status, body)
	}
	// A token has a scope exactly when Check passes now.
	full := key(t, kit, "acme", latchkey.Allow(latchkey.Read).On("mcp", "dataset/orders"))
	require.Equal(t, "read orders for acme", post(t, url, full, tool("read", `{"id":"orders"}`)).text())
	_, err = kit.For("acme").Update(t.Context(), id(kit, full), func(tok *latchkey.Token) error {
		tok.Permissions = latchkey.Permissions{latchkey.Allow(latchkey.Read).On("mcp")}
		return nil
	})
	require.NoError(t, err)
	require.Equal(t, 403, post(t, url, full, tool("read", `{"id":"orders"}`)).Status)
}

// The SDK's own middleware with this package's verifier.
func TestTokenVerifier(t *testing.T) {
	kit := latchkeytest.New(t, nil)
	opts := rules()
	opts.Scopes = map[string]latchkeymcp.Scope{"orders:read": {Action: latchkey.Read, Resource: "dataset/orders"}}
	guard := latchkeymcp.New(kit.Manager, opts)
	server := newServer()
	guard.Protect(server)
	handler := mcp.NewStreamableHTTPHandler(func(*http.Request) *mcp.Server { return server },
		&mcp.StreamableHTTPOptions{Stateless: true})
	verifier := guard.TokenVerifier()
	url := start(t, auth.RequireBearerToken(verifier,
		&auth.RequireBearerTokenOptions{AllowMissingExpiration: true})(handler))
	scoped := start(t, auth.RequireBearerToken(verifier, &auth.RequireBearerTokenOptions{AllowMissingExpiration: true,
		Scopes: []string{"orders:read"}})(handler))
	token := key(t, kit, "acme", latchkey.Allow(latchkey.Read).On("dataset/orders"))
	other := key(t, kit, "acme")
	require.Equal(t, "acme", post(t, url, token, whoami).text())
	require.Equal(t, denied, post(t, url, token, tool("read", `{"id":"payroll"}`)).code())
	require.Equal(t, "acme", post(t, scoped, token, whoami).text())
	require.Equal(t, 403, post(t, scoped, other, whoami).Status)
	require.Equal(t, 401, post(t, url, token+"x", whoami).Status)
	second := func(r *http.Request) { r.Header.Add("Authorization", "Bearer "+other) }
	require.Equal(t, 401, post(t, url, token, whoami, second).Status)
	require.Equal(t, 401, post(t, url, token, whoami, func(r *http.Request) { r.URL.RawQuery = "access_token=x" }).Status)

	r, err := http.NewRequestWithContext(t.Context(), http.MethodPost, url, nil)
	require.NoError(t, err)
	r.Header.Set("Authorization", "Bearer "+token)
	info, err := verifier(t.Context(), token, r)
	require.NoError(t, err)
	require.Equal(t, []string{"orders:read"}, info.Scopes)
	require.NotEmpty(t, info.UserID)
	for _, c := range []struct {
		token string
		r     *http.Request
	}{{token, nil}, {other, r}} {
		_, err = verifier(t.Context(), c.token, c.r)
		require.ErrorIs(t, err, auth.ErrInvalidToken)
	}
	kit.Store.Down(true)
	_, err = verifier(t.Context(), token, r)
	require.NotErrorIs(t, err, auth.ErrInvalidToken, "an unreachable store must not read as a bad token")
	require.Error(t, err)
	kit.Store.Down(false)
}

// A handler gets no token: what was sent to this server must not be passed on.
func TestHandlersSeeNoToken(t *testing.T) {
	kit := latchkeytest.New(t, nil)
	server := newServer()
	opts := rules()
	opts.Tools["headers"] = latchkeymcp.Rule{Everyone: true}
	mcp.AddTool(server, &mcp.Tool{Name: "headers"}, func(_ context.Context, req *mcp.CallToolRequest, _ struct{}) (
		*mcp.CallToolResult, any, error) {
		var b strings.Builder
		_ = req.Extra.Header.Write(&b)
		return said(b.String()), nil, nil
	})
	url := start(t, guarded(kit, opts, server))
	token := key(t, kit, "acme")
	got := post(t, url, token, tool("headers", `{}`))
	require.Contains(t, got.text(), "Content-Type")
	require.NotContains(t, got.Body, token)
	require.NotContains(t, got.Body, "Authorization")
}

func TestRefusalsReachTheObserver(t *testing.T) {
	var refusals []latchkey.Refusal
	var causes []error
	kit := latchkeytest.New(t, &latchkey.Options{Observer: latchkey.Observer{
		Refused: func(_ context.Context, r latchkey.Refusal) { refusals = append(refusals, r) }}})
	opts := rules()
	opts.OnError = func(_ *http.Request, err error) { causes = append(causes, err) }
	opts.Scopes = map[string]latchkeymcp.Scope{"orders:read": {Action: latchkey.Read, Resource: "dataset/orders"}}
	url := serve(t, kit, opts)
	token := key(t, kit, "acme")
	post(t, url, token, tool("drop", `{"id":"orders"}`))
	require.Len(t, refusals, 1)
	require.Equal(t, "denied", refusals[0].Reason)
	require.Equal(t, latchkey.Delete, refusals[0].Action)
	require.Equal(t, latchkey.Resource("dataset/orders"), refusals[0].Resource)
	post(t, url, token, tool("read", `{"id":"orders"}`)) // a challenge
	require.Len(t, refusals, 2)
	require.Len(t, causes, 1)
	require.NoError(t, kit.For("acme").Revoke(t.Context(), id(kit, token), "leaked"))
	post(t, url, token, whoami)
	require.Len(t, refusals, 3)
	require.Equal(t, "revoked", refusals[2].Reason)
	require.Len(t, causes, 2)
	require.Equal(t, 403, post(t, url, token, whoami, header("Origin", "https://other.example")).Status)
	require.Len(t, causes, 3)
	require.ErrorIs(t, causes[2], httpadapter.ErrCrossOrigin)
}
