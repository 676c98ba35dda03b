package oauth

import (
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/latchkey-go/latchkey"
	"github.com/latchkey-go/latchkey/memstore"
)

const issuer = "https://api.example.com"

// The scopes of the tests. "all" includes "read".
func testScopes() map[string]latchkey.Permissions {
	return map[string]latchkey.Permissions{
		"read":  {latchkey.Grant(latchkey.Read).On("data/*")},
		"write": {latchkey.Grant(latchkey.Update, latchkey.Create).On("data/*")},
		"all":   {latchkey.Grant(latchkey.Read, latchkey.Update, latchkey.Create, latchkey.Delete).On("data/*")},
	}
}

// fixture is a server with a Manager, and one key of the owner acme that may read and write.
type fixture struct {
	t     *testing.T
	store latchkey.Store
	keys  *latchkey.Manager
	h     http.Handler
	opts  Options
	errs  []error
	key
}

type key struct{ id, text string }

func newFixture(t *testing.T, edit func(*Options)) *fixture {
	t.Helper()
	f := &fixture{t: t, store: memstore.New(nil)}
	f.keys = latchkey.New(f.store, nil)
	f.opts = Options{Issuer: issuer, Scopes: testScopes(), OnError: func(_ *http.Request, err error) {
		f.errs = append(f.errs, err)
	}}
	if edit != nil {
		edit(&f.opts)
	}
	f.h = Handler(f.keys, &f.opts)
	f.key = f.issue("acme", latchkey.Spec{Permissions: readWrite()})
	return f
}

func readWrite() latchkey.Permissions {
	return latchkey.Permissions{latchkey.Grant(latchkey.Read, latchkey.Update, latchkey.Create).On("data/*")}
}

func (f *fixture) issue(owner string, spec latchkey.Spec) key {
	f.t.Helper()
	if spec.Kind == 0 {
		spec.Kind = latchkey.KindAPIKey
	}
	tok, secret, err := f.keys.For(owner).Issue(f.t.Context(), spec)
	require.NoError(f.t, err)
	return key{tok.ID, secret.Reveal()}
}

// reply is a reply with its JSON.
type reply struct {
	status int
	header http.Header
	body   string
	json   map[string]any
}

func (r reply) text(name string) string { s, _ := r.json[name].(string); return s }

// refused is the status and the code of an error.
func (r reply) refused() string { return http.StatusText(r.status) + ": " + r.text("error") }

func (f *fixture) send(r *http.Request) reply {
	f.t.Helper()
	w := httptest.NewRecorder()
	f.h.ServeHTTP(w, r)
	got := reply{status: w.Code, header: w.Header(), body: w.Body.String()}
	if w.Header().Get("Content-Type") == "application/json" {
		require.Equal(f.t, "nosniff", w.Header().Get("X-Content-Type-Options"))
		require.NoError(f.t, json.Unmarshal(w.Body.Bytes(), &got.json), got.body)
	}
	return got
}

func post(path, body string) *http.Request {
	r := httptest.NewRequest(http.MethodPost, path, strings.NewReader(body))
	r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	return r
}

// pairs is a form of names and values.
func pairs(kv ...string) string {
	var b strings.Builder
	for i := 0; i < len(kv); i += 2 {
		b.WriteString("&" + url.QueryEscape(kv[i]) + "=" + url.QueryEscape(kv[i+1]))
	}
	return strings.TrimPrefix(b.String(), "&")
}

// as sends a form as a client, by client_secret_basic.
func (f *fixture) as(k key, path string, kv ...string) reply {
	f.t.Helper()
	r := post(path, pairs(kv...))
	r.SetBasicAuth(url.QueryEscape(k.id), url.QueryEscape(k.text))
	return f.send(r)
}

// anon sends a form without client authentication.
func (f *fixture) anon(path string, kv ...string) reply {
	f.t.Helper()
	return f.send(post(path, pairs(kv...)))
}

// mint gets a token for a key.
func (f *fixture) mint(k key, kv ...string) key {
	f.t.Helper()
	got := f.as(k, "/oauth/token", append([]string{"grant_type", grantClientCredentials}, kv...)...)
	require.Equal(f.t, 200, got.status, got.body)
	text := got.text("access_token")
	tok, err := f.keys.Find(f.t.Context(), text)
	require.NoError(f.t, err)
	return key{tok.Token.ID, text}
}

// exchange sends a token exchange without client authentication.
func (f *fixture) exchange(text string, kv ...string) reply {
	f.t.Helper()
	return f.anon("/oauth/token", append([]string{"grant_type", grantTokenExchange, "subject_token", text,
		"subject_token_type", typeAccessToken}, kv...)...)
}

func (f *fixture) access(text string) latchkey.Access {
	f.t.Helper()
	a, err := f.keys.Verify(f.t.Context(), latchkey.Presented{Secret: text})
	require.NoError(f.t, err)
	return a
}
