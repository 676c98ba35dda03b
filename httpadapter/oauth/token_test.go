package oauth

import (
	"bytes"
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"net/url"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/latchkey-go/latchkey"
	"github.com/latchkey-go/latchkey/httpadapter"
	"github.com/latchkey-go/latchkey/memstore"
)

const (
	badReq    = "Bad Request: invalid_request"
	badClient = "Unauthorized: invalid_client"
	badScope  = "Bad Request: invalid_scope"
	badGrant  = "Bad Request: unsupported_grant_type"
	away      = "Service Unavailable: temporarily_unavailable"
)

func basic(user, password string) string {
	return "Basic " + base64.StdEncoding.EncodeToString([]byte(user+":"+password))
}

// RFC 6749 §4.4 and §5.1.
func TestClientCredentials(t *testing.T) {
	f := newFixture(t, nil)
	byBasic := f.as(f.key, "/oauth/token", "grant_type", grantClientCredentials, "scope", "write read read")
	byPost := f.anon("/oauth/token", "grant_type", grantClientCredentials, "scope", "read write",
		"client_id", f.id, "client_secret", f.text)
	for name, got := range map[string]reply{"client_secret_basic": byBasic, "client_secret_post": byPost} {
		require.Equal(t, 200, got.status, "%s: %s", name, got.body)
		require.Equal(t, "no-store", got.header.Get("Cache-Control"))
		require.Equal(t, "no-cache", got.header.Get("Pragma"))
		text := got.text("access_token")
		delete(got.json, "access_token")
		require.Equal(t, map[string]any{"token_type": "Bearer", "expires_in": 900., "scope": "read write"}, got.json)
		a := f.access(text)
		require.Equal(t, latchkey.KindAccess, a.Kind())
		require.True(t, a.Allows(latchkey.Read, "data/x"))
		tok, err := a.Token(t.Context())
		require.NoError(t, err)
		require.Equal(t, f.id, tok.Parent)
		require.Equal(t, Origin, tok.Origin)
		require.Equal(t, 15*time.Minute, tok.Validity.NotAfter.Sub(tok.Created))
	}
	// Without a scope: all that the key covers. "all" is not among them.
	got := f.as(f.key, "/oauth/token", "grant_type", grantClientCredentials)
	require.Equal(t, "read write", got.text("scope"))
	// One scope is not the other.
	got = f.as(f.key, "/oauth/token", "grant_type", grantClientCredentials, "scope", "read", "unknown", "ignored")
	require.Equal(t, "read", got.text("scope"))
	a := f.access(got.text("access_token"))
	require.True(t, a.Allows(latchkey.Read, "data/x"))
	require.False(t, a.Allows(latchkey.Update, "data/x"))
	// client_id beside Basic is no second credential.
	got = f.as(f.key, "/oauth/token", "grant_type", grantClientCredentials, "client_id", f.id)
	require.Equal(t, 200, got.status, got.body)
	// A parameter without a value is absent.
	got = f.as(f.key, "/oauth/token", "grant_type", grantClientCredentials, "scope", "", "client_secret", "",
		"resource", "")
	require.Equal(t, "read write", got.text("scope"))
}

func TestExpiresInIsTrue(t *testing.T) {
	f := newFixture(t, func(o *Options) { o.Lifetime = time.Hour })
	got := f.as(f.key, "/oauth/token", "grant_type", grantClientCredentials)
	require.Equal(t, 3600., got.json["expires_in"])
	end := time.Now().Add(10 * time.Minute)
	short := f.issue("acme", latchkey.Spec{Permissions: readWrite(), Validity: latchkey.Validity{NotAfter: end}})
	got = f.as(short, "/oauth/token", "grant_type", grantClientCredentials)
	require.LessOrEqual(t, got.json["expires_in"], 600., "it ends with its parent")
	require.Positive(t, got.json["expires_in"])
	require.NoError(t, f.keys.For("acme").Configure(t.Context(), func(o *latchkey.Owner) error {
		o.Policy.MaxLifetime, o.Policy.Children = 90*time.Second, 2
		return nil
	}))
	got = f.as(f.key, "/oauth/token", "grant_type", grantClientCredentials)
	require.Equal(t, 90., got.json["expires_in"], "where the owner's policy says")
	got = f.as(f.key, "/oauth/token", "grant_type", grantClientCredentials)
	require.Equal(t, "Bad Request: unauthorized_client", got.refused(), "two live already")
}

// A client that reads 0 as "never" must not hear it.
func TestNoTokenWithoutASecondLeft(t *testing.T) {
	begin := time.Date(2026, 5, 1, 12, 0, 0, 0, time.UTC)
	var passed atomic.Int64 // last uses are written behind, by the same clock
	clock := func() time.Time { return begin.Add(time.Duration(passed.Load())) }
	keys := latchkey.New(memstore.New(&memstore.Options{Clock: clock}), &latchkey.Options{Clock: clock})
	f := newFixture(t, nil)
	f.keys, f.h = keys, Handler(keys, &f.opts)
	soon := f.issue("acme", latchkey.Spec{Permissions: readWrite(),
		Validity: latchkey.Validity{NotAfter: begin.Add(1500 * time.Millisecond)}})
	got := f.as(soon, "/oauth/token", "grant_type", grantClientCredentials)
	require.Equal(t, 1., got.json["expires_in"], got.body)
	passed.Store(int64(time.Second))
	got = f.as(soon, "/oauth/token", "grant_type", grantClientCredentials)
	require.Equal(t, "Bad Request: invalid_grant", got.refused())
	require.Empty(t, got.text("access_token"))
}

// RFC 6749 §3.2, §5.2: requests that are malformed or have two meanings.
func TestMalformedRequests(t *testing.T) {
	f := newFixture(t, nil)
	creds := pairs("client_id", f.id, "client_secret", f.text)
	good := creds + "&grant_type=client_credentials"
	// What is added to make it as long, and of as many parameters, as it may be.
	fill := strings.Repeat("a", maxBody-len(good+"&x="))
	more := strings.Repeat("&", maxPairs-1-strings.Count(good, "&"))
	for _, body := range []string{good, good + "&x=" + fill, good + more} {
		require.Equal(t, 200, f.send(post("/oauth/token", body)).status)
	}
	withBasic := func(r *http.Request) *http.Request { r.SetBasicAuth(f.id, f.text); return r }
	header := func(name string, values ...string) *http.Request {
		r := post("/oauth/token", good)
		r.Header[name] = values
		return r
	}
	says := map[string]string{"query": "not into the URL", "JSON": "must be application/x-www-form-urlencoded",
		"two content types": "malformed or has two meanings", "too many": "too many parameters",
		"brackets of a target": "brackets in its name", "no credential": "authentication is required",
		"Basic, no id": "client_id is missing", "Basic, no secret": "must be form-encoded"}
	for name, tt := range map[string]struct {
		r    *http.Request
		want string
	}{
		"no grant type":        {post("/oauth/token", creds), badReq},
		"unknown grant type":   {post("/oauth/token", creds+"&grant_type=password"), badGrant},
		"grant type in case":   {post("/oauth/token", creds+"&grant_type=Client_Credentials"), badGrant},
		"grant type twice":     {post("/oauth/token", good+"&grant_type=client_credentials"), badReq},
		"client_id twice":      {post("/oauth/token", good+"&client_id="+f.id), badReq},
		"client_secret twice":  {post("/oauth/token", good+"&client_secret="+f.text), badReq},
		"scope twice":          {post("/oauth/token", good+"&scope=read&scope=read"), badReq},
		"twice without value":  {post("/oauth/token", good+"&scope=read&scope="), badReq},
		"unknown name twice":   {post("/oauth/token", good+"&x=1&x=2"), badReq},
		"escaped name twice":   {post("/oauth/token", good+"&%63lient_id="+f.id), badReq},
		"brackets":             {post("/oauth/token", good+"&scope[]=read"), badReq},
		"brackets of a target": {post("/oauth/token", good+"&resource[]="+issuer), badReq},
		"deep brackets":        {post("/oauth/token", good+"&resource[0][a]="+issuer), badReq},
		"bad escape":           {post("/oauth/token", good+"&scope=%zz"), badReq},
		"semicolon":            {post("/oauth/token", good+";scope=read"), badReq},
		"JSON":                 {header("Content-Type", "application/json"), badReq},
		"multipart":            {header("Content-Type", "multipart/form-data; boundary=x"), badReq},
		"no content type":      {header("Content-Type"), badReq},
		"two content types": {header("Content-Type", "application/x-www-form-urlencoded", "text/plain"),
			badReq},
		"compressed": {header("Content-Encoding", "gzip"), badReq},
		"too long": {post("/oauth/token", good+"&x="+fill+"a"),
			"Request Entity Too Large: invalid_request"},
		"too many":          {post("/oauth/token", good+more+"&"), badReq},
		"query":             {post("/oauth/token?scope=read", good), badReq},
		"credentials there": {post("/oauth/token?"+creds, "grant_type=client_credentials"), badReq},
		"empty query":       {post("/oauth/token?", good), badReq},
		"Basic and body":    {withBasic(post("/oauth/token", good)), badReq},
		"another client_id": {withBasic(post("/oauth/token", "grant_type=client_credentials&client_id=x")), badReq},
		"two Authorization": {header("Authorization", basic(f.id, f.text), basic(f.id, f.text)), badReq},
		"Bearer beside":     {header("Authorization", "Bearer "+f.text), badReq},
		"Basic, two colons": {header("Authorization", basic(f.id, "a:b")), badReq},
		"Digest beside":     {header("Authorization", `Digest username="x"`), badClient},
		"Basic, no name":    {header("Authorization", basic("%zz", f.text)), badReq},
		"Basic, no secret":  {header("Authorization", basic(f.id, "%zz")), badReq},
		"Basic, no id":      {header("Authorization", basic("", f.text)), badClient},
		"no credential":     {post("/oauth/token", "grant_type=client_credentials"), badClient},
		"no client_id":      {post("/oauth/token", "grant_type=client_credentials&client_secret="+f.text), badClient},
		"a wrong client_id": {post("/oauth/token", good[strings.Index(good, "&"):]+"&client_id=x"), badClient},
		"a cookie": {func() *http.Request {
			r := post("/oauth/token", "grant_type=client_credentials&client_id="+f.id)
			r.AddCookie(&http.Cookie{Name: "client_secret", Value: f.text})
			return r
		}(), badClient},
	} {
		if strings.HasPrefix(name, "Basic, ") { // the only credential
			tt.r.Body = post("/", "grant_type=client_credentials").Body
			tt.r.ContentLength = -1
		}
		got := f.send(tt.r)
		require.Equal(t, tt.want, got.refused(), "%s: %s", name, got.body)
		require.Contains(t, got.text("error_description"), says[name], name)
		require.NotContains(t, got.header, "Retry-After", name)
		require.Equal(t, "no-store", got.header.Get("Cache-Control"), name)
		challenge := ""
		if got.status == 401 {
			challenge = `Basic realm="latchkey", charset="UTF-8"`
		}
		require.Equal(t, challenge, got.header.Get("WWW-Authenticate"), name)
		require.NotContains(t, got.body, f.text, name)
		require.NotEmpty(t, got.text("error_description"), name)
		require.Empty(t, got.text("access_token"), name)
	}
	for _, path := range []string{"/oauth/token", "/oauth/introspect", "/oauth/revoke"} {
		for _, method := range []string{"GET", "HEAD", "PUT", "OPTIONS"} {
			got := f.send(httptest.NewRequest(method, path, nil))
			require.Equal(t, 405, got.status)
			require.Equal(t, "POST", got.header.Get("Allow"))
		}
	}
	require.Equal(t, 404, f.send(post("/oauth/token/", good)).status)
	for _, err := range f.errs {
		require.NotContains(t, err.Error(), f.text)
	}
}

// RFC 6749 §2.3.1: both parts of Basic are form-encoded.
func TestBasicIsFormEncoded(t *testing.T) {
	imported := "k+y%41:é-" + strings.Repeat("x", 40)
	keys := latchkey.New(memstore.New(nil), &latchkey.Options{
		Imported: func(s string) bool { return strings.HasPrefix(s, "k+y") }})
	f := newFixture(t, nil)
	f.keys, f.h = keys, Handler(keys, &f.opts)
	_, err := keys.For("acme").Import(t.Context(), latchkey.Spec{Kind: latchkey.KindAPIKey, Permissions: readWrite(),
		Client: latchkey.Client{ID: "a b"}}, imported)
	require.NoError(t, err)
	send := func(user, password string) reply {
		r := post("/oauth/token", "grant_type=client_credentials")
		r.Header.Set("Authorization", basic(user, password))
		return f.send(r)
	}
	require.Equal(t, 200, send("a+b", url.QueryEscape(imported)).status, "the id of its client, and an escaped secret")
	require.Equal(t, 200, send("a%20b", url.QueryEscape(imported)).status)
	require.Equal(t, badClient, send("a%2Bb", url.QueryEscape(imported)).refused())
	require.Equal(t, badReq, send("a%00b", url.QueryEscape(imported)).refused())
	require.Equal(t, badReq, send("a%FFb", url.QueryEscape(imported)).refused())
}

func TestClientIDIsTheHosts(t *testing.T) {
	f := newFixture(t, func(o *Options) {
		o.ClientID = func(a latchkey.Access, id string) bool { return id == "app-"+a.Owner() }
	})
	require.Equal(t, 200, f.as(key{"app-acme", f.text}, "/oauth/token", "grant_type", grantClientCredentials).status)
	got := f.as(f.key, "/oauth/token", "grant_type", grantClientCredentials)
	require.Equal(t, badClient, got.refused())
	r := post("/oauth/introspect", pairs("token", f.text)) // a Bearer token needs no id beside it
	r.Header.Set("Authorization", "Bearer "+f.reader("acme", latchkey.Read).text)
	require.Equal(t, true, f.send(r).json["active"])
}

// Tokens that are no client: RFC 6749 §5.2.
func TestClientsThatAreRefused(t *testing.T) {
	f := newFixture(t, func(o *Options) { o.Owner = "acme" })
	ctx, acme := t.Context(), f.keys.For("acme")
	rw := readWrite()
	revoked := f.issue("acme", latchkey.Spec{Permissions: rw})
	require.NoError(t, acme.Revoke(ctx, revoked.id, ""))
	far := latchkey.Restrictions{Addresses: []netip.Prefix{netip.MustParsePrefix("203.0.113.0/24")}}
	mintFar := latchkey.Restrictions{MintFrom: far.Addresses}
	for name, tt := range map[string]struct {
		key  key
		want string
	}{
		"good":       {f.key, "OK: "},
		"unknown":    {key{f.id, f.text[:len(f.text)-1]}, badClient},
		"revoked":    {revoked, badClient},
		"disabled":   {f.issue("acme", latchkey.Spec{Permissions: rw, Disabled: true}), badClient},
		"of another": {f.issue("other", latchkey.Spec{Permissions: rw}), badClient},
		"test":       {f.issue("acme", latchkey.Spec{Kind: latchkey.KindSecret, Test: true}), badClient},
		"far":        {f.issue("acme", latchkey.Spec{Permissions: rw, Restrictions: far}), badClient},
		"mint far":   {f.issue("acme", latchkey.Spec{Permissions: rw, Restrictions: mintFar}), badClient},
		"publishable": {f.issue("acme", latchkey.Spec{Kind: latchkey.KindPublishable, Permissions: rw}),
			"Bad Request: unauthorized_client"},
	} {
		got := f.as(tt.key, "/oauth/token", "grant_type", grantClientCredentials, "scope", "read")
		require.Equal(t, tt.want, got.refused(), "%s: %s", name, got.body)
	}
}

// RFC 6749 §3.3: scopes narrow, never widen.
func TestScopes(t *testing.T) {
	f := newFixture(t, nil)
	part := f.issue("acme", latchkey.Spec{Permissions: latchkey.Permissions{latchkey.Grant(latchkey.Read).On("data/1")}})
	none := f.issue("acme", latchkey.Spec{})
	secret := f.issue("acme", latchkey.Spec{Kind: latchkey.KindSecret})
	for name, tt := range map[string]struct {
		key         key
		scope, want string
	}{
		"one":            {f.key, "read", "read"},
		"in any order":   {f.key, "write read", "read write"},
		"of a secret":    {secret, "all", "all"},
		"all of them":    {secret, "", "all read write"},
		"not covered":    {f.key, "all", badScope},
		"one of two":     {f.key, "read all", badScope},
		"a part only":    {part, "read", badScope},
		"a part, absent": {part, "", badScope},
		"no rights":      {none, "", badScope},
		"unknown":        {f.key, "read admin", badScope},
		"case":           {f.key, "READ", badScope},
		"two spaces":     {f.key, "read  write", badScope},
		"a space":        {f.key, " ", badScope},
		"a tab":          {f.key, "read\twrite", badScope},
		"a line":         {f.key, "read\r\nX-Evil: 1", badScope},
		"quotes":         {f.key, `"read"`, badScope},
	} {
		got := f.as(tt.key, "/oauth/token", "grant_type", grantClientCredentials, "scope", tt.scope)
		if got.status == 200 {
			require.Equal(t, tt.want, got.text("scope"), name)
			continue
		}
		require.Equal(t, tt.want, got.refused(), "%s: %s", name, got.body)
		require.NotContains(t, got.body, "Evil")
		require.Empty(t, got.header.Get("X-Evil"))
	}
}

// RFC 8707 §2: every resource, and audience, must be this server's.
func TestTargets(t *testing.T) {
	f := newFixture(t, func(o *Options) { o.Resource = "https://data.example.com/v1" })
	send := func(kv ...string) reply {
		return f.as(f.key, "/oauth/token", append([]string{"grant_type", grantClientCredentials}, kv...)...)
	}
	const own, other = "https://data.example.com/v1", "https://data.example.com/v2"
	require.Equal(t, 200, send("resource", own).status)
	require.Equal(t, 200, send("resource", own, "resource", own, "audience", own).status)
	require.Equal(t, "Bad Request: invalid_target", send("resource", other).refused())
	require.Equal(t, "Bad Request: invalid_target", send("resource", own, "resource", other).refused())
	require.Equal(t, "Bad Request: invalid_target", send("audience", other).refused())
	require.Equal(t, "Bad Request: invalid_target", send("resource", issuer).refused())
}

// RFC 8693.
func TestTokenExchange(t *testing.T) {
	f := newFixture(t, nil)
	got := f.exchange(f.text, "scope", "read")
	require.Equal(t, 200, got.status, got.body)
	text := got.text("access_token")
	delete(got.json, "access_token")
	require.Equal(t, map[string]any{"issued_token_type": typeAccessToken, "token_type": "Bearer", "expires_in": 900.,
		"scope": "read"}, got.json)
	require.Equal(t, "no-store", got.header.Get("Cache-Control"))
	// A chain narrows.
	require.Equal(t, "read", f.exchange(text).text("scope"))
	require.Equal(t, badScope, f.exchange(text, "scope", "write").refused())
	again := f.exchange(text, "requested_token_type", typeAccessToken, "resource", issuer)
	require.Equal(t, 200, again.status, again.body)
	// What the first loses, the last loses.
	require.NoError(t, f.keys.For("acme").Revoke(t.Context(), f.id, ""))
	_, err := f.keys.Verify(t.Context(), latchkey.Presented{Secret: again.text("access_token")})
	require.ErrorIs(t, err, latchkey.ErrParent)
}

func TestExchangesThatAreRefused(t *testing.T) {
	f := newFixture(t, nil)
	acme := f.keys.For("acme")
	rw := readWrite()
	revoked, ended := f.issue("acme", latchkey.Spec{Permissions: rw}), f.issue("acme", latchkey.Spec{Permissions: rw})
	require.NoError(t, acme.Revoke(t.Context(), revoked.id, ""))
	_, err := acme.Update(t.Context(), ended.id, func(tok *latchkey.Token) error {
		tok.Validity.NotAfter = time.Now().Add(-time.Minute)
		return nil
	})
	require.NoError(t, err)
	foreign := f.issue("other", latchkey.Spec{Permissions: rw})
	test := f.issue("acme", latchkey.Spec{Kind: latchkey.KindSecret, Test: true})
	public := f.issue("acme", latchkey.Spec{Kind: latchkey.KindPublishable, Permissions: rw})
	const jwt = "urn:ietf:params:oauth:token-type:jwt"
	for name, tt := range map[string]struct {
		key  *key // the client; nil: none
		kv   []string
		want string
	}{
		"good":                 {nil, []string{f.text, typeAccessToken}, "OK: "},
		"by a client":          {&f.key, []string{f.text, typeAccessToken}, "OK: "},
		"no token":             {nil, []string{"", typeAccessToken}, badReq},
		"no type":              {nil, []string{f.text, ""}, badReq},
		"another type":         {nil, []string{f.text, jwt}, badReq},
		"another type back":    {nil, []string{f.text, typeAccessToken, "requested_token_type", jwt}, badReq},
		"an actor":             {nil, []string{f.text, typeAccessToken, "actor_token", f.text}, badReq},
		"an actor's type":      {nil, []string{f.text, typeAccessToken, "actor_token_type", jwt}, badReq},
		"unknown":              {nil, []string{"x", typeAccessToken}, badReq},
		"revoked":              {nil, []string{revoked.text, typeAccessToken}, badReq},
		"ended":                {nil, []string{ended.text, typeAccessToken}, badReq},
		"test":                 {nil, []string{test.text, typeAccessToken}, badReq},
		"publishable":          {nil, []string{public.text, typeAccessToken}, "Bad Request: unauthorized_client"},
		"of another":           {&f.key, []string{foreign.text, typeAccessToken}, badReq},
		"by a client, revoked": {&revoked, []string{f.text, typeAccessToken}, badClient},
		"by a client, wrong":   {&key{f.id, "x"}, []string{f.text, typeAccessToken}, badClient},
		"another target":       {nil, []string{f.text, typeAccessToken, "audience", "x"}, "Bad Request: invalid_target"},
	} {
		kv := append([]string{"grant_type", grantTokenExchange, "subject_token", tt.kv[0], "subject_token_type", tt.kv[1]},
			tt.kv[2:]...)
		var got reply
		if tt.key == nil {
			got = f.anon("/oauth/token", kv...)
		} else {
			got = f.as(*tt.key, "/oauth/token", kv...)
		}
		require.Equal(t, tt.want, got.refused(), "%s: %s", name, got.body)
	}
	require.Equal(t, 200, f.exchange(foreign.text).status, "by nobody: its holder may mint from it")
	for secret, want := range map[string]string{f.text: "OK: ", foreign.text: badClient, "x": badClient} {
		got := f.exchange(f.text, "client_id", f.id, "client_secret", secret)
		require.Equal(t, want, got.refused(), "by client_secret_post")
	}
	r := post("/oauth/token", pairs("grant_type", grantTokenExchange, "subject_token", f.text, "subject_token_type",
		typeAccessToken))
	r.Header["Authorization"] = []string{basic(f.id, f.text), basic(f.id, f.text)}
	require.Equal(t, badReq, f.send(r).refused())
	got := f.anon("/oauth/token", "grant_type", grantTokenExchange, "subject_token_type", typeAccessToken)
	require.Equal(t, "subject_token is missing", got.text("error_description"))
}

// A page of another site cannot use what a browser keeps.
func TestCrossOriginBasicIsRefused(t *testing.T) {
	f := newFixture(t, func(o *Options) { o.TrustedOrigins = []string{"https://app.example.com"} })
	send := func(origin, site string) reply {
		r := post("/oauth/token", "grant_type=client_credentials")
		r.SetBasicAuth(f.id, f.text)
		r.Header.Set("Origin", origin)
		if site != "" {
			r.Header.Set("Sec-Fetch-Site", site)
		}
		return f.send(r)
	}
	require.Equal(t, 200, send("https://app.example.com", "same-site").status)
	require.Equal(t, "Forbidden: invalid_client", send("https://evil.example", "cross-site").refused())
	require.Equal(t, "Forbidden: invalid_client", send("null", "").refused())
}

// The store's failures are no refusals.
func TestFailures(t *testing.T) {
	f := newFixture(t, nil)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	for name, tt := range map[string]struct {
		err  error
		want string
	}{
		"unavailable": {latchkey.ErrUnavailable, away},
		"limited":     {latchkey.ErrRateLimited, "Too Many Requests: temporarily_unavailable"},
		"conflict":    {latchkey.ErrConflict, away},
		"unknown":     {errors.New("secret detail"), "Internal Server Error: server_error"},
		"invalid":     {latchkey.ErrInvalid, "Internal Server Error: server_error"},
		"too many":    {latchkey.ErrTooMany, "Bad Request: unauthorized_client"},
		"policy":      {latchkey.ErrPolicy, "Bad Request: unauthorized_client"},
		"denied":      {latchkey.ErrDenied, "Bad Request: unauthorized_client"},
		"both":        {errors.Join(latchkey.ErrUnavailable, latchkey.ErrUnknownToken), away},
		"tenant":      {httpadapter.ErrNoTenant, badClient},
		"a rule": {fmt.Errorf("%w: %w", latchkey.ErrDenied, &latchkey.ConditionError{Field: "regoin", OfRule: true}),
			"Internal Server Error: server_error"},
	} {
		var log bytes.Buffer
		h := newSurface(f.keys, &Options{Issuer: issuer, Scopes: testScopes(),
			Logger: slog.New(slog.NewTextHandler(&log, nil))}).endpoint(
			func(r *http.Request, _ params) (*http.Request, any, error) {
				return r, nil, subjectError(tt.err, false)
			})
		w := httptest.NewRecorder()
		h.ServeHTTP(w, post("/oauth/token", "a=b").WithContext(ctx))
		require.Equal(t, tt.want, http.StatusText(w.Code)+": "+strings.Split(w.Body.String(), `"`)[3], name)
		require.NotContains(t, w.Body.String(), "secret detail")
		require.Equal(t, w.Code >= 500, strings.Contains(log.String(), "request failed"), "%s: %s", name, &log)
		if w.Code == 503 && name != "conflict" {
			require.NotEmpty(t, w.Header().Get("Retry-After"), name)
		}
	}
	s := newSurface(f.keys, &f.opts)
	_, err := s.scopes(ctx, f.access(f.text), "read")
	require.Equal(t, codeUnavailable, refusalOf(err).code, "a request that has ended is no refusal")
	s.patience = time.Nanosecond
	_, err = s.scopes(t.Context(), f.access(f.text), "read")
	require.Equal(t, codeUnavailable, refusalOf(err).code)
	_, err = s.scopes(t.Context(), f.access(f.text), "")
	require.Equal(t, codeUnavailable, refusalOf(err).code)
	_, err = s.covered(t.Context(), f.access(f.text))
	require.Equal(t, codeUnavailable, refusalOf(err).code)
	r := post("/oauth/introspect", pairs("token", f.text))
	r.Header.Set("Authorization", "Bearer "+f.reader("acme", latchkey.Read).text)
	w := httptest.NewRecorder()
	s.endpoint(s.introspect).ServeHTTP(w, r)
	require.Equal(t, http.StatusServiceUnavailable, w.Code, "not with fewer scopes")
	err = subjectError(errors.Join(latchkey.ErrUnavailable, latchkey.ErrUnknownToken), true)
	require.Equal(t, codeUnavailable, refusalOf(err).code)
}

// Beyond the rate, credentials of an address are refused before the store is read.
func TestAddressRate(t *testing.T) {
	f := newFixture(t, func(o *Options) { o.AddressRate = latchkey.Rate{Count: 1, Per: time.Hour, Burst: 1} })
	forged := func() reply {
		return f.as(newFixture(t, nil).key, "/oauth/token", "grant_type", grantClientCredentials)
	}
	require.Equal(t, badClient, forged().refused())
	require.Equal(t, badClient, forged().refused())
	got := forged()
	require.Equal(t, "Too Many Requests: temporarily_unavailable", got.refused())
	require.NotEmpty(t, got.header.Get("Retry-After"))

	// So is each credential in a body, which is not read then. One that is known already passes in a header.
	f = newFixture(t, func(o *Options) { o.AddressRate = latchkey.Rate{Count: 1, Per: time.Hour, Burst: 1} })
	require.Equal(t, 200, f.as(f.key, "/oauth/token", "grant_type", grantClientCredentials).status)
	inBody := func(id string) reply {
		return f.anon("/oauth/token", "grant_type", grantClientCredentials, "client_id", id, "client_secret", f.text)
	}
	require.Equal(t, 200, inBody(f.id).status)
	require.Equal(t, badClient, inBody("x").refused(), "a secret with another id counts as one that is refused")
	require.Equal(t, badClient, inBody("x").refused())
	require.Equal(t, "Too Many Requests: temporarily_unavailable", inBody(f.id).refused())
	require.Equal(t, 200, f.as(f.key, "/oauth/token", "grant_type", grantClientCredentials).status)
	r := httptest.NewRequest(http.MethodPost, "/oauth/token", unread{t})
	require.Equal(t, "Too Many Requests: temporarily_unavailable", f.send(r).refused())
}

// unread is a body that must not be read.
type unread struct{ t *testing.T }

func (u unread) Read([]byte) (int, error) {
	u.t.Error("the body was read")
	return 0, io.EOF
}

// The law: a token of any grant may do nothing that its parent may not, whatever the rules are.
func TestTokensNeverExceedTheirParents(t *testing.T) {
	rnd := rand.New(rand.NewPCG(7, 9))
	patterns := []latchkey.Pattern{"*", "a", "a/*", "a/b", "a/{*}", "a/{*}/c", "b/*"}
	actions := []latchkey.Action{"read", "update", "delete"}
	list := func(grants bool) (p latchkey.Permissions) {
		for range 1 + rnd.IntN(4) {
			verb := latchkey.Grant
			if !grants {
				verb = []func(...latchkey.Action) latchkey.RuleStart{latchkey.Allow, latchkey.Grant, latchkey.Deny}[rnd.IntN(3)]
			}
			r := verb(actions[rnd.IntN(3)]).On(patterns[rnd.IntN(len(patterns))])
			if rnd.IntN(3) == 0 {
				r = r.Where(latchkey.Where("n", latchkey.Lt, rnd.IntN(3)))
			}
			p = append(p, r)
		}
		return p
	}
	resources := []latchkey.Resource{"a", "a/b", "a/x", "a/b/c", "a/x/c", "b", "b/x", "z"}
	schema := latchkey.NewSchema(latchkey.Fields{"n": {Column: "n", Type: latchkey.Integer}})
	minted := 0
	for range 1000 {
		scopes := map[string]latchkey.Permissions{"s": list(true), "t": list(true), "u": list(true)}
		f := newFixture(t, func(o *Options) { o.Scopes = scopes })
		parent := f.issue("acme", latchkey.Spec{Permissions: append(list(true), list(false)...)})
		for step := range 3 {
			scope := []string{"", "s", "t", "u", "s t", "t u s"}[rnd.IntN(6)]
			kv := []string{"grant_type", grantClientCredentials, "scope", scope}
			if step > 0 {
				kv = []string{"grant_type", grantTokenExchange, "subject_token", parent.text, "subject_token_type",
					typeAccessToken, "scope", scope}
			}
			got := f.as(parent, "/oauth/token", kv...)
			if got.status != 200 {
				require.Equal(t, badScope, got.refused())
				continue
			}
			minted++
			up, down := f.access(parent.text), f.access(got.text("access_token"))
			var union latchkey.Permissions
			for _, name := range strings.Fields(got.text("scope")) {
				union = append(union, scopes[name]...)
			}
			for _, action := range actions {
				for _, on := range resources {
					for n := range 4 {
						row := latchkey.Row{"n": n}
						if down.CheckRow(action, on, schema, row) == nil {
							require.NoError(t, up.CheckRow(action, on, schema, row), "%s %s %d", action, on, n)
						}
					}
					// The scope that the reply names is neither more nor less than what the token may do.
					require.Equal(t, union.Allows(action, on), down.Allows(action, on), "%s %s", action, on)
				}
			}
			parent = key{down.TokenID(), got.text("access_token")}
		}
	}
	require.Greater(t, minted, 200)
}

// The same law where rights come from roles, a boundary, a client, attributes, references and forced values.
func TestTokensNeverExceedParentsWithReferences(t *testing.T) {
	rnd := rand.New(rand.NewPCG(3, 5))
	patterns := []latchkey.Pattern{"*", "a", "a/*", "a/b", "a/{*}", "a/{*client}", "b/*"}
	actions := []latchkey.Action{latchkey.Read, latchkey.Update, latchkey.Create}
	values := []any{"ann", "bob", "acme", latchkey.ClientID, latchkey.OwnerID, latchkey.Attr("team")}
	list := func(verbs ...func(...latchkey.Action) latchkey.RuleStart) (p latchkey.Permissions) {
		for range 1 + rnd.IntN(3) {
			r := verbs[rnd.IntN(len(verbs))](actions[rnd.IntN(3)]).On(patterns[rnd.IntN(len(patterns))])
			if rnd.IntN(2) == 0 {
				r = r.Where(latchkey.Where("w", latchkey.Eq, values[rnd.IntN(len(values))]))
			}
			forced := r.Force(map[string]any{"w": values[rnd.IntN(len(values))]})
			if rnd.IntN(6) == 0 && forced.Validate() == nil {
				r = forced
			}
			p = append(p, r)
		}
		return p
	}
	grants := func() latchkey.Permissions { return list(latchkey.Grant) }
	mixed := func() latchkey.Permissions {
		return append(grants(), list(latchkey.Grant, latchkey.Allow, latchkey.Deny)...)
	}
	schema := latchkey.NewSchema(latchkey.Fields{"w": {Column: "w", Type: latchkey.Text}})
	written := 0
	for range 800 {
		f := newFixture(t, func(o *Options) {
			o.Scopes = map[string]latchkey.Permissions{"s": grants(), "t": grants()}
		})
		acme := f.keys.For("acme")
		if rnd.IntN(3) == 0 {
			require.NoError(t, acme.Configure(t.Context(), func(o *latchkey.Owner) error { o.Boundary = mixed(); return nil }))
		}
		role, err := acme.CreateRole(t.Context(), latchkey.Role{Name: "r", Permissions: mixed()})
		require.NoError(t, err)
		spec := latchkey.Spec{Permissions: mixed(), Roles: []string{role.ID}}
		if rnd.IntN(2) == 0 {
			spec.Permissions = append(spec.Permissions, f.opts.Scopes["s"]...)
		}
		if rnd.IntN(2) == 0 {
			spec.Client, spec.Attributes = latchkey.Client{ID: "ann"}, latchkey.Attributes{"team": "bob"}
		}
		parent := f.issue("acme", spec)
		got := f.as(parent, "/oauth/token", "grant_type", grantClientCredentials)
		if got.status != 200 {
			require.Equal(t, badScope, got.refused(), got.body)
			continue
		}
		up, down := f.access(parent.text), f.access(got.text("access_token"))
		for _, action := range actions {
			for _, on := range []latchkey.Resource{"a", "a/b", "a/ann", "a/bob", "b/x", "z"} {
				for _, w := range []string{"ann", "bob", "acme", "x"} {
					before, after := latchkey.Row{"w": w}, latchkey.Row{"w": w}
					if action == latchkey.Create {
						before = nil
					}
					row, err := down.Prepare(action, on, schema, before, after)
					if err == nil {
						written++
						_, err = up.Prepare(action, on, schema, before, row)
						require.NoError(t, err, "%s %s %v", action, on, row)
					}
				}
			}
		}
	}
	require.Greater(t, written, 500)
}
