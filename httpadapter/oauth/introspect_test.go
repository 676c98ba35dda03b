package oauth

import (
	"context"
	"fmt"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/latchkey-go/latchkey"
	"github.com/latchkey-go/latchkey/httpadapter"
	"github.com/latchkey-go/latchkey/latchkeytest"
)

var inactive = map[string]any{"active": false}

// reader is a key that may read every token, as a resource server has it.
func (f *fixture) reader(owner string, actions ...latchkey.Action) key {
	rules := latchkey.Permissions{latchkey.Grant(actions...).On("latchkey/token/*")}
	return f.issue(owner, latchkey.Spec{Permissions: rules})
}

func (f *fixture) introspect(k key, text string) map[string]any {
	f.t.Helper()
	got := f.as(k, "/oauth/introspect", "token", text, "token_type_hint", "refresh_token")
	require.Equal(f.t, 200, got.status, got.body)
	require.Equal(f.t, "no-store", got.header.Get("Cache-Control"))
	return got.json
}

// RFC 7662 §2.2.
func TestIntrospection(t *testing.T) {
	f := newFixture(t, nil)
	reader := f.reader("acme", latchkey.Read)
	minted := f.mint(f.key, "scope", "read")
	tok, err := f.keys.For("acme").Get(t.Context(), minted.id)
	require.NoError(t, err)
	want := map[string]any{"active": true, "scope": "read", "client_id": f.id, "token_type": "Bearer",
		"iat": float64(tok.Created.Unix()), "exp": float64(tok.Validity.NotAfter.Unix()),
		"aud": issuer, "iss": issuer, "jti": minted.id}
	require.Equal(t, want, f.introspect(reader, minted.text))
	r := post("/oauth/introspect", pairs("token", minted.text))
	r.Header.Set("Authorization", "Bearer "+reader.text)
	require.Equal(t, want, f.send(r).json, "by a Bearer token")
	// A key has the scopes that it covers.
	named := f.issue("acme", latchkey.Spec{Permissions: readWrite(), Client: latchkey.Client{ID: "ann"},
		Validity: latchkey.Validity{NotBefore: time.Unix(1, 0)}})
	got := f.introspect(reader, named.text)
	delete(got, "iat")
	require.Equal(t, map[string]any{"active": true, "scope": "read write", "client_id": named.id, "token_type": "Bearer",
		"nbf": 1., "sub": "ann", "aud": issuer, "iss": issuer, "jti": named.id}, got)
}

// A resource server may keep a reply until exp. The text of a secret that was rotated away ends before its token.
func TestIntrospectionAnswersWhenTheSecretEnds(t *testing.T) {
	f := newFixture(t, nil)
	reader := f.reader("acme", latchkey.Read)
	require.NotContains(t, f.introspect(reader, f.text), "exp")
	for _, end := range []time.Duration{0, 30 * time.Minute, 3 * time.Hour} { // of the token; 0: none
		spec := latchkey.Spec{Permissions: readWrite()}
		if end > 0 {
			spec.Validity.NotAfter = time.Now().Add(end)
		}
		k := f.issue("acme", spec)
		second, err := f.keys.For("acme").Rotate(t.Context(), k.id, time.Hour)
		require.NoError(t, err)
		found, err := f.keys.Find(t.Context(), k.text)
		require.NoError(t, err)
		require.False(t, found.NotAfter.IsZero())
		want := found.NotAfter
		if end == 30*time.Minute {
			want = found.Token.Validity.NotAfter
		}
		require.EqualValues(t, want.Unix(), f.introspect(reader, k.text)["exp"], end)
		exp, ok := f.introspect(reader, second.Reveal())["exp"]
		require.Equal(t, end > 0, ok)
		if ok {
			require.EqualValues(t, found.Token.Validity.NotAfter.Unix(), exp)
		}
	}
}

// What is public proves nothing: its holder may not make the server search for texts, nor compare scopes.
func TestPublishableKeysAreNoClients(t *testing.T) {
	f := newFixture(t, nil)
	public := f.issue("acme", latchkey.Spec{Kind: latchkey.KindPublishable,
		Permissions: latchkey.Permissions{latchkey.Grant(latchkey.Read, latchkey.Delete).On("latchkey/token/*")}})
	minted := f.mint(f.key)
	for _, path := range []string{"/oauth/introspect", "/oauth/revoke", "/oauth/token"} {
		got := f.as(public, path, "token", minted.text, "grant_type", grantClientCredentials, "scope", "unknown")
		require.Equal(t, "Bad Request: unauthorized_client", got.refused(), path)
	}
	require.Equal(t, "Bad Request: unauthorized_client", f.exchange(public.text, "scope", "unknown").refused())
	last := f.errs[len(f.errs)-1] // as the host hears it
	require.ErrorIs(t, last, latchkey.ErrDenied)
	require.ErrorContains(t, last, "a publishable key is no secret: latchkey: denied")
	require.Equal(t, true, f.introspect(f.reader("acme", latchkey.Read), minted.text)["active"])
}

// The scope is what holds now. A resource server that reads no more must not let a token do more.
func TestIntrospectionAnswersTheScopesThatHoldNow(t *testing.T) {
	f := newFixture(t, nil)
	reader := f.reader("acme", latchkey.Read)
	minted := f.mint(f.key, "scope", "read write")
	require.Equal(t, "read write", f.introspect(reader, minted.text)["scope"])
	_, err := f.keys.For("acme").Update(t.Context(), f.id, func(tok *latchkey.Token) error {
		tok.Permissions = append(tok.Permissions, latchkey.Deny(latchkey.Update).On("data/7"))
		return nil
	})
	require.NoError(t, err)
	require.Equal(t, "read", f.introspect(reader, minted.text)["scope"])
}

// What the token itself may do only as the client that asks, introspection leaves out: see the package's doc.
func TestIntrospectionIsConservative(t *testing.T) {
	f := newFixture(t, func(o *Options) {
		o.Scopes["own"] = latchkey.Permissions{latchkey.Grant(latchkey.Read).On("data/{*client}")}
		o.Scopes["rows"] = latchkey.Permissions{latchkey.Grant(latchkey.Read).On("data/*").Where(
			latchkey.Where("client", latchkey.Eq, latchkey.ClientID))}
	})
	ann := f.issue("acme", latchkey.Spec{Permissions: readWrite(), Client: latchkey.Client{ID: "ann"}})
	reader := f.reader("acme", latchkey.Read)
	own, rows := f.mint(ann, "scope", "own"), f.mint(ann, "scope", "rows")
	require.True(t, f.access(own.text).Allows(latchkey.Read, "data/ann"))
	require.NotContains(t, f.introspect(reader, own.text), "scope")
	require.Equal(t, "rows", f.introspect(reader, rows.text)["scope"])
}

// Only a caller that may read the token learns anything.
func TestIntrospectionTellsOthersNothing(t *testing.T) {
	f := newFixture(t, nil)
	reader := f.reader("acme", latchkey.Read)
	minted := f.mint(f.key, "scope", "read")
	require.Equal(t, true, f.introspect(reader, minted.text)["active"])
	require.Equal(t, inactive, f.introspect(f.key, minted.text), "its own client may not read it")
	require.Equal(t, inactive, f.introspect(minted, minted.text))
	require.Equal(t, inactive, f.introspect(f.reader("other", latchkey.Read), minted.text))
	require.Equal(t, inactive, f.introspect(f.reader("acme", latchkey.Delete), minted.text))
	require.Equal(t, inactive, f.introspect(reader, "x"))
	require.Equal(t, inactive, f.introspect(reader, f.issue("other", latchkey.Spec{}).text))
	for name, kv := range map[string][]string{
		"nobody":       {"token", minted.text},
		"a wrong one":  {"token", minted.text, "client_id", reader.id, "client_secret", "x"},
		"without a id": {"token", minted.text, "client_secret", reader.text},
	} {
		for _, path := range []string{"/oauth/introspect", "/oauth/revoke"} {
			got := f.anon(path, kv...)
			require.Equal(t, badClient, got.refused(), name+path)
			require.NotEmpty(t, got.header.Get("WWW-Authenticate"))
		}
	}
	require.Equal(t, badReq, f.as(reader, "/oauth/introspect").refused())
	require.Equal(t, badReq, f.as(reader, "/oauth/revoke").refused())
}

func TestTokensThatAreNotActive(t *testing.T) {
	f := newFixture(t, nil)
	reader, acme := f.reader("acme", latchkey.Read), f.keys.For("acme")
	revoked, parent := f.issue("acme", latchkey.Spec{}), f.issue("acme", latchkey.Spec{Permissions: readWrite()})
	child := f.mint(parent)
	require.Equal(t, true, f.introspect(reader, revoked.text)["active"])
	require.Equal(t, true, f.introspect(reader, child.text)["active"])
	require.NoError(t, acme.Revoke(t.Context(), revoked.id, ""))
	require.NoError(t, acme.Revoke(t.Context(), parent.id, ""))
	here := latchkey.Restrictions{Addresses: []netip.Prefix{netip.MustParsePrefix("192.0.2.0/24")}} // that of the requests
	for name, k := range map[string]key{
		"revoked":  revoked,
		"a child":  child,
		"disabled": f.issue("acme", latchkey.Spec{Disabled: true}),
		"early":    f.issue("acme", latchkey.Spec{Validity: latchkey.Validity{NotBefore: time.Now().Add(time.Hour)}}),
		"test":     f.issue("acme", latchkey.Spec{Kind: latchkey.KindSecret, Test: true}),
		"bound":    f.issue("acme", latchkey.Spec{Restrictions: here}),
		"domains":  f.issue("acme", latchkey.Spec{Restrictions: latchkey.Restrictions{Domains: []string{"example.com"}}}),
	} {
		require.Equal(t, inactive, f.introspect(reader, k.text), name)
	}
	_, err := f.keys.Verify(t.Context(), latchkey.Presented{Secret: f.text})
	require.NoError(t, err)
	_, err = acme.Rotate(t.Context(), f.id, 0)
	require.NoError(t, err)
	require.Equal(t, inactive, f.introspect(reader, f.text), "rotated")
}

// A resource server that asks too often for one token is told to wait. That says nothing about the token.
func TestIntrospectionCounts(t *testing.T) {
	f := newFixture(t, nil)
	reader := f.reader("acme", latchkey.Read)
	slow := f.issue("acme", latchkey.Spec{Limits: latchkey.Limits{Rate: latchkey.Rate{Count: 1, Per: time.Hour}}})
	require.Equal(t, true, f.introspect(reader, slow.text)["active"])
	got := f.as(reader, "/oauth/introspect", "token", slow.text)
	require.Equal(t, "Too Many Requests: temporarily_unavailable", got.refused())
	require.NotEmpty(t, got.header.Get("Retry-After"))
	require.Equal(t, inactive, f.introspect(f.key, slow.text), "who may not read it hears the same as ever")
}

// Ended tokens that a resource server asks about are no refused credentials of its own.
func TestIntrospectionIsNotLimitedByEndedTokens(t *testing.T) {
	f := newFixture(t, func(o *Options) { o.AddressRate = latchkey.Rate{Count: 1, Per: time.Hour} })
	reader, ended := f.reader("acme", latchkey.Read), f.issue("acme", latchkey.Spec{Disabled: true})
	for range 5 {
		require.Equal(t, inactive, f.introspect(reader, ended.text))
		require.Equal(t, inactive, f.introspect(reader, "x"))
	}
	got := f.anon("/oauth/introspect", "token", ended.text, "client_id", reader.id, "client_secret", reader.text)
	require.Equal(t, 200, got.status, got.body)
}

// RFC 7009.
func TestRevocation(t *testing.T) {
	f := newFixture(t, nil)
	other := f.issue("acme", latchkey.Spec{Permissions: readWrite()})
	live := func(k key) bool {
		_, err := f.keys.Verify(t.Context(), latchkey.Presented{Secret: k.text})
		return err == nil
	}
	revoke := func(by, k key) {
		t.Helper()
		got := f.as(by, "/oauth/revoke", "token", k.text, "token_type_hint", "access_token")
		require.Equal(t, 200, got.status, got.body)
		require.Empty(t, got.body)
	}
	minted := f.mint(f.key)
	revoke(other, minted)
	require.True(t, live(minted), "of another client")
	revoke(f.reader("other", latchkey.Read, latchkey.Delete), minted)
	require.True(t, live(minted), "of another owner")
	revoke(minted, minted)
	require.True(t, live(minted), "it has no right to end itself")
	revoke(f.key, key{"", "x"})
	revoke(f.key, f.key)
	require.True(t, live(f.key))
	got := f.as(f.reader("acme", latchkey.Read), "/oauth/revoke", "token", minted.text)
	require.Equal(t, "Bad Request: unauthorized_client", got.refused(), "who may read it hears that it still lives")
	require.True(t, live(minted))

	revoke(f.key, minted)
	require.False(t, live(minted), "a client ends what it got")
	tok, err := f.keys.For("acme").Get(t.Context(), minted.id)
	require.NoError(t, err)
	require.Equal(t, "oauth: by "+f.id, tok.Reason)
	revoke(f.key, minted) // again
	revoke(f.issue("acme", latchkey.Spec{Kind: latchkey.KindSecret}), other)
	require.False(t, live(other))

	// What the host minted itself is not the client's to end.
	access := f.access(f.text)
	_, secret, err := access.Mint(t.Context(), latchkey.Narrowing{Lifetime: time.Hour})
	require.NoError(t, err)
	revoke(f.key, key{"", secret.Reveal()})
	require.True(t, live(key{"", secret.Reveal()}))
}

// A read of the store that fails is never "inactive", nor a revocation.
func TestIntrospectionFailsClosed(t *testing.T) {
	f := newFixture(t, nil)
	reader := f.reader("acme", latchkey.Read, latchkey.Delete)
	minted := f.mint(f.key)
	for _, path := range []string{"/oauth/introspect", "/oauth/revoke"} {
		store := &failing{Store: f.store}
		var log strings.Builder
		f.opts.Logger = slog.New(slog.NewTextHandler(&log, nil))
		f.h = Handler(latchkey.New(store, nil), &f.opts)
		require.Equal(t, 200, f.as(reader, path, "token", f.issue("acme", latchkey.Spec{}).text).status)
		store.broken = true
		got := f.as(reader, path, "token", minted.text)
		require.Equal(t, away, got.refused(), path)
		require.Contains(t, log.String(), "path="+path)
		require.NotContains(t, log.String(), minted.text)
		require.NotContains(t, log.String(), reader.text)
	}
}

// Whichever call of the store fails, and whichever finds no token any more, no reply says what is not so.
func TestIntrospectionHalfway(t *testing.T) {
	for _, c := range []struct {
		path, who string
		whole     string // the reply if no call fails
		gone      string // if a token is gone
	}{
		{"/oauth/introspect", "reader", `"active":true`, `{"active":false}`},
		{"/oauth/revoke", "ender", "", ""},
		{"/oauth/revoke", "client", "", ""},
		{"/oauth/revoke", "nobody", "", ""},
	} {
		for _, fail := range []error{latchkey.ErrUnavailable, latchkey.ErrNotFound} {
			for n, hit := 0, true; hit; n++ {
				f := newFixture(t, nil)
				minted := f.mint(f.key)
				by := map[string]key{"reader": f.reader("acme", latchkey.Read), "ender": f.reader("acme", latchkey.Delete),
					"client": f.key, "nobody": f.issue("acme", latchkey.Spec{})}[c.who]
				store := &latchkeytest.Store{Store: f.store}
				f.h = Handler(latchkey.New(store, nil), &f.opts)
				called := 0
				hit = false
				store.Fail(func(call string) error {
					if call != "ByDigest" && call != "Load" && (call != "Write" || fail == latchkey.ErrNotFound) {
						return nil // such as those in the background
					}
					if called++; called-1 == n {
						hit = true
						return fail
					}
					return nil
				})
				got := f.as(by, c.path, "token", minted.text)
				store.Fail(nil)
				switch {
				case !hit:
					require.Equal(t, 200, got.status, got.body)
					require.Contains(t, got.body, c.whole)
				case fail == latchkey.ErrUnavailable:
					require.Equal(t, away, got.refused(), "%v, call %d", c, n)
				case got.status != 401: // the caller itself was not gone
					require.Equal(t, 200, got.status, "%v, call %d: %s", c, n, got.body)
					require.Equal(t, c.gone, strings.TrimSpace(got.body), "%v, call %d", c, n)
				}
			}
		}
	}
}

// What is left of a damaged record decides nothing: neither whose token it is, nor that it is inactive.
func TestDamagedTokens(t *testing.T) {
	f := newFixture(t, nil)
	reader, minted := f.reader("acme", latchkey.Read), f.mint(f.key)
	store := &failing{Store: f.store}
	f.h = Handler(latchkey.New(store, nil), &f.opts)
	for _, k := range []key{reader, f.key} {
		require.Equal(t, 200, f.as(k, "/oauth/introspect", "token", "x").status) // from now on the key is cached
	}
	store.damaged = true
	got := f.as(reader, "/oauth/introspect", "token", minted.text)
	require.Equal(t, away, got.refused())
	require.Equal(t, 200, f.as(f.key, "/oauth/revoke", "token", minted.text).status)
	store.damaged = false
	require.Equal(t, true, f.introspect(reader, minted.text)["active"])
	require.Equal(t, 200, f.as(f.key, "/oauth/revoke", "token", minted.text).status)
	require.Equal(t, inactive, f.introspect(reader, minted.text))
}

// failing is a store of which one read fails, or finds a damaged record: that by the text of a token.
type failing struct {
	latchkey.Store
	broken, damaged bool
}

func (s *failing) ByDigest(ctx context.Context, slot latchkey.Slot, digests ...[32]byte) (latchkey.Found, error) {
	if s.broken {
		return latchkey.Found{}, latchkey.ErrUnavailable
	}
	f, err := s.Store.ByDigest(ctx, slot, digests...)
	if err == nil && s.damaged {
		f.Token.Damaged = true
		err = &latchkey.DamagedError{Kind: latchkey.ChangedToken, Owner: f.Token.Owner, ID: f.Token.ID}
	}
	return f, err
}

// RFC 8414 and RFC 9728.
func TestMetadata(t *testing.T) {
	f := newFixture(t, func(o *Options) { o.Issuer += "/tenant"; o.Resource = issuer + "/v1" })
	get := func(path string) reply { return f.send(httptest.NewRequest("GET", path, nil)) }
	got := get("/.well-known/oauth-authorization-server/tenant")
	require.Equal(t, map[string]any{
		"issuer":                                issuer + "/tenant",
		"token_endpoint":                        issuer + "/tenant/oauth/token",
		"token_endpoint_auth_methods_supported": []any{"client_secret_basic", "client_secret_post", "none"},
		"introspection_endpoint":                issuer + "/tenant/oauth/introspect",
		"introspection_endpoint_auth_methods_supported": []any{"client_secret_basic", "client_secret_post"},
		"revocation_endpoint":                           issuer + "/tenant/oauth/revoke",
		"revocation_endpoint_auth_methods_supported":    []any{"client_secret_basic", "client_secret_post"},
		"scopes_supported":                              []any{"all", "read", "write"},
		"response_types_supported":                      []any{},
		"grant_types_supported":                         []any{grantClientCredentials, grantTokenExchange},
		"protected_resources":                           []any{issuer + "/v1"},
	}, got.json)
	require.Equal(t, "application/json", got.header.Get("Content-Type"))
	require.Equal(t, "*", got.header.Get("Access-Control-Allow-Origin"))
	require.Equal(t, map[string]any{"resource": issuer + "/v1", "authorization_servers": []any{issuer + "/tenant"},
		"scopes_supported": []any{"all", "read", "write"}, "bearer_methods_supported": []any{"header"}},
		get("/.well-known/oauth-protected-resource/v1").json)
	// Every endpoint that it names is served.
	for _, name := range []string{"token_endpoint", "introspection_endpoint", "revocation_endpoint"} {
		u, err := url.Parse(got.text(name))
		require.NoError(t, err)
		require.Equal(t, 405, get(u.Path).status)
	}
	put := httptest.NewRequest("PUT", "/.well-known/oauth-authorization-server/tenant", nil)
	require.Equal(t, 405, f.send(put).status)
	require.Equal(t, 404, get("/.well-known/oauth-authorization-server").status)
	// A resource elsewhere serves its own metadata.
	f = newFixture(t, func(o *Options) { o.Resource = "https://data.example.com" })
	require.Equal(t, 404, get("/.well-known/oauth-protected-resource").status)
	require.Equal(t, 200, get("/.well-known/oauth-authorization-server").status)
	f = newFixture(t, func(o *Options) { o.Issuer, o.Resource = "https://localhost", "http://localhost/v1" })
	require.Equal(t, 404, get("/.well-known/oauth-protected-resource/v1").status, "another scheme is elsewhere, too")
}

func TestMount(t *testing.T) {
	f := newFixture(t, nil)
	mux := http.NewServeMux()
	Mount(mux, f.keys, &f.opts)
	// The host's own patterns with a method conflict with none.
	host := http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusTeapot) })
	for _, pattern := range []string{"GET /", "POST /", "/", "GET /oauth/{name}"} {
		mux.Handle(pattern, host)
	}
	f.h = mux
	require.Equal(t, http.StatusTeapot, f.send(httptest.NewRequest("GET", "/oauth/other", nil)).status)
	got := f.send(httptest.NewRequest("GET", "/oauth/token", nil))
	require.Equal(t, 405, got.status)
	require.Equal(t, "no-store", got.header.Get("Cache-Control"))
	require.Equal(t, 200, f.as(f.key, "/oauth/token", "grant_type", grantClientCredentials).status)
	require.Equal(t, 200, f.send(httptest.NewRequest("GET", "/.well-known/oauth-protected-resource", nil)).status)
}

// One server may be for one tenant, or for that of the request.
func TestOwners(t *testing.T) {
	f := newFixture(t, func(o *Options) {
		o.OwnerOf = func(r *http.Request) (string, error) { return r.Host, nil }
	})
	tenant := f.issue("example.com", latchkey.Spec{Permissions: readWrite()}) // the Host of the requests
	require.Equal(t, 200, f.as(tenant, "/oauth/token", "grant_type", grantClientCredentials).status)
	require.Equal(t, badClient, f.as(f.key, "/oauth/token", "grant_type", grantClientCredentials).refused())
	require.Equal(t, badReq, f.exchange(f.text).refused())
	for _, fail := range []error{httpadapter.ErrNoTenant, latchkey.ErrUnavailable} {
		f.opts.OwnerOf = func(*http.Request) (string, error) { return "example.com", fail }
		f.h = Handler(f.keys, &f.opts)
		want := away
		if fail == httpadapter.ErrNoTenant {
			want = badClient
		}
		require.Equal(t, want, f.as(tenant, "/oauth/token", "grant_type", grantClientCredentials).refused())
	}
}

func TestSandbox(t *testing.T) {
	f := newFixture(t, func(o *Options) { o.Test = true })
	test := f.issue("acme", latchkey.Spec{Kind: latchkey.KindSecret, Test: true})
	minted := f.mint(test, "scope", "all")
	require.Equal(t, "all read write", f.introspect(test, minted.text)["scope"])
	require.Equal(t, badClient, f.as(f.key, "/oauth/token", "grant_type", grantClientCredentials).refused())
}

func TestOptionsAreChecked(t *testing.T) {
	f := newFixture(t, nil)
	for name, edit := range map[string]func(*Options){
		"no issuer":      func(o *Options) { o.Issuer = "" },
		"http":           func(o *Options) { o.Issuer = "http://api.example.com" },
		"a query":        func(o *Options) { o.Issuer += "?a=b" },
		"a fragment":     func(o *Options) { o.Issuer += "#a" },
		"a user":         func(o *Options) { o.Issuer = "https://u@api.example.com" },
		"a slash":        func(o *Options) { o.Issuer += "/" },
		"dots":           func(o *Options) { o.Issuer += "/a/../b" },
		"a wildcard":     func(o *Options) { o.Issuer += "/{a}" },
		"a bad resource": func(o *Options) { o.Resource = "data" },
		"a space there":  func(o *Options) { o.Issuer += "/a%20b" },
		"no host":        func(o *Options) { o.Issuer = "https://:443" },
		"roles": func(o *Options) {
			o.Scopes["x"] = latchkey.Permissions{latchkey.Grant("read").On("a").Where(latchkey.Not(
				latchkey.Where("role", latchkey.In, latchkey.SelfRoles)))}
		},
		"no scopes":      func(o *Options) { o.Scopes = nil },
		"a space":        func(o *Options) { o.Scopes["a b"] = o.Scopes["read"] },
		"a quote":        func(o *Options) { o.Scopes[`a"`] = o.Scopes["read"] },
		"a backslash":    func(o *Options) { o.Scopes[`a\`] = o.Scopes["read"] },
		"no name":        func(o *Options) { o.Scopes[""] = o.Scopes["read"] },
		"no rules":       func(o *Options) { o.Scopes["x"] = nil },
		"an allow":       func(o *Options) { o.Scopes["x"] = latchkey.Permissions{latchkey.Allow("read").On("a")} },
		"a deny":         func(o *Options) { o.Scopes["x"] = latchkey.Permissions{latchkey.Deny("read").On("a")} },
		"any action":     func(o *Options) { o.Scopes["x"] = latchkey.Permissions{latchkey.Grant(latchkey.Any).On("a")} },
		"a bad rule":     func(o *Options) { o.Scopes["x"] = latchkey.Permissions{latchkey.Grant("READ").On("a")} },
		"a short life":   func(o *Options) { o.Lifetime = time.Second - 1 },
		"a negative one": func(o *Options) { o.Lifetime = -time.Hour },
		"two owners": func(o *Options) {
			o.Owner, o.OwnerOf = "a", func(*http.Request) (string, error) { return "a", nil }
		},
		"a realm with a quote": func(o *Options) { o.Realm = `a"b` },
		"with a backslash":     func(o *Options) { o.Realm = `a\b` },
		"with a line":          func(o *Options) { o.Realm = "a\r\nX-Evil: 1" },
		"not ASCII":            func(o *Options) { o.Realm = "é" },
		"with DEL":             func(o *Options) { o.Realm = "a\x7f" },
		"with US":              func(o *Options) { o.Realm = "a\x1f" },
		"a name with DEL":      func(o *Options) { o.Scopes["a\x7f"] = o.Scopes["read"] },
		"a long name":          func(o *Options) { o.Scopes[strings.Repeat("a", 129)] = o.Scopes["read"] },
		"many scopes": func(o *Options) {
			for i := range maxScopes + 1 - len(o.Scopes) {
				o.Scopes[fmt.Sprint(i)] = o.Scopes["read"]
			}
		},
		"proxies": func(o *Options) { o.Proxies = []netip.Prefix{{}} },
	} {
		o := Options{Issuer: issuer, Scopes: testScopes()}
		require.NotPanics(t, func() { Handler(f.keys, &o) })
		edit(&o)
		require.Panics(t, func() { Handler(f.keys, &o) }, name)
	}
	const missing = "oauth: Mount needs a Manager and Options with Issuer and Scopes"
	require.PanicsWithValue(t, missing, func() { Handler(nil, &f.opts) })
	require.PanicsWithValue(t, missing, func() { Handler(f.keys, nil) })
	local := Options{Issuer: "http://127.0.0.1:8080", Scopes: testScopes(), Realm: " ~", Lifetime: time.Second}
	local.Scopes[strings.Repeat("a", 128)], local.Scopes["!~"] = local.Scopes["read"], local.Scopes["read"]
	for i := range maxScopes - len(local.Scopes) {
		local.Scopes[fmt.Sprint(i)] = local.Scopes["read"]
	}
	require.NotPanics(t, func() { Handler(f.keys, &local) })
}

// A form that is read has one meaning: that of net/url, with each name once.
func FuzzForm(f *testing.F) {
	for _, s := range []string{"", "grant_type=client_credentials&scope=read+write", "a=1&a=2", "resource=a&resource=b",
		"scope[]=a", "a=%41&%61=1", "a;b=1", "resource[0]=x&resource=y", "a=&a", "a=%00", "=1", "resource[][]=x"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, text string) {
		p, err := readForm(text)
		if err != nil {
			require.Equal(t, codeInvalidRequest, refusalOf(err).code)
			return
		}
		values, err := url.ParseQuery(text)
		require.NoError(t, err)
		targets := 0
		for name, v := range values {
			if isTarget(name) {
				for _, target := range v {
					if target != "" {
						require.Contains(t, p.targets, target)
						targets++
					}
				}
				continue
			}
			require.Len(t, v, 1, "%q", name)
			require.Equal(t, v[0], p.one[name])
		}
		require.Len(t, p.targets, targets)
	})
}
