package webforce

import (
	"bytes"
	"context"
	"encoding/json"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/latchkey-go/latchkey"
	"github.com/latchkey-go/latchkey/memstore"
)

// fixture is two accounts and the API of the first.
type fixture struct {
	t           *testing.T
	time        atomic.Int64 // µs; background writes read it
	store       *failingStore
	keys        *latchkey.Manager
	acme, other latchkey.Account
	session     string // may do all
	serve       http.Handler
	errs        []error
	log         bytes.Buffer
}

func (w *fixture) now() time.Time          { return time.UnixMicro(w.time.Load()).UTC() }
func (w *fixture) advance(d time.Duration) { w.time.Add(d.Microseconds()) }

// failingStore is a store whose reads or writes can be made to fail.
type failingStore struct {
	latchkey.Store
	down, downLoad, downTokens, downWrite error
	loaded                                func(tokenID string) // before each Load; nil: nothing
}

func (s *failingStore) ByDigest(ctx context.Context, slot latchkey.Slot, d ...[32]byte) (latchkey.Found, error) {
	if s.down != nil {
		return latchkey.Found{}, s.down
	}
	return s.Store.ByDigest(ctx, slot, d...)
}

func (s *failingStore) Load(ctx context.Context, owner, id string) (latchkey.Found, error) {
	if s.downLoad != nil {
		return latchkey.Found{}, s.downLoad
	}
	if s.loaded != nil {
		s.loaded(id)
	}
	return s.Store.Load(ctx, owner, id)
}

func (s *failingStore) Tokens(ctx context.Context, owner string, q latchkey.TokenQuery) ([]latchkey.Token, error) {
	if s.downTokens != nil {
		return nil, s.downTokens
	}
	return s.Store.Tokens(ctx, owner, q)
}

func (s *failingStore) Write(ctx context.Context, w latchkey.Write) error {
	if s.downWrite != nil {
		return s.downWrite
	}
	return s.Store.Write(ctx, w)
}

var allRights = latchkey.Permissions{
	latchkey.Allow(latchkey.Any).On("*"),
	latchkey.Allow(latchkey.Any).On("latchkey/token/*"),
}

func newFixture(t *testing.T, opts *Options) *fixture { return newFixtureWith(t, opts, nil) }

func newFixtureWith(t *testing.T, opts *Options, ring *latchkey.Keyring) *fixture {
	w := &fixture{t: t}
	w.time.Store(time.Date(2026, 11, 22, 9, 0, 0, 0, time.UTC).UnixMicro())
	w.store = &failingStore{Store: memstore.New(&memstore.Options{Clock: w.now})}
	w.keys = latchkey.New(w.store, &latchkey.Options{Clock: w.now, CacheTokens: -1, Keyring: ring})
	w.acme, w.other = w.keys.For("acme"), w.keys.For("other")
	w.session = w.newSession(w.acme, allRights)
	o := Options{}
	if opts != nil {
		o = *opts
	}
	o.OnError = func(_ *http.Request, err error) { w.errs = append(w.errs, err) }
	o.Logger = slog.New(slog.NewTextHandler(&w.log, nil))
	mux := http.NewServeMux()
	Mount(mux, w.acme, &o)
	w.serve = mux
	return w
}

func keyring(t *testing.T, id uint32) *latchkey.Keyring {
	key, err := latchkey.GenerateKey(nil, id)
	require.NoError(t, err)
	ring, err := latchkey.NewKeyring(key)
	require.NoError(t, err)
	return ring
}

func (w *fixture) issue(a latchkey.Account, spec latchkey.Spec) (id, text string) {
	w.t.Helper()
	if spec.Kind == latchkey.KindSession && spec.Validity.NotAfter.IsZero() {
		spec.Validity.NotAfter = w.now().Add(time.Hour)
	}
	t, secret, err := a.Issue(context.Background(), spec)
	require.NoError(w.t, err)
	return t.ID, secret.Reveal()
}

func (w *fixture) newSession(a latchkey.Account, p latchkey.Permissions) string {
	w.t.Helper()
	_, text := w.issue(a, latchkey.Spec{Kind: latchkey.KindSession, Permissions: p})
	return text
}

func (w *fixture) send(r *http.Request) reply {
	w.t.Helper()
	out := httptest.NewRecorder()
	w.serve.ServeHTTP(out, r)
	require.Equal(w.t, 200, out.Code)
	require.Equal(w.t, "application/json", out.Header().Get("Content-Type"))
	require.Equal(w.t, "nosniff", out.Header().Get("X-Content-Type-Options"))
	require.Equal(w.t, "no-store", out.Header().Get("Cache-Control"))
	require.Equal(w.t, "no-referrer", out.Header().Get("Referrer-Policy"))
	r1 := reply{body: out.Body.String()}
	require.NoError(w.t, json.Unmarshal(out.Body.Bytes(), &r1), out.Body.String())
	require.NotContains(w.t, r1.body, w.session)
	return r1
}

// reply is an envelope.
type reply struct {
	Code    string          `json:"return_code"`
	Message string          `json:"message"`
	Data    json.RawMessage `json:"data"`
	body    string
}

func post(form string) *http.Request {
	r := httptest.NewRequest("POST", "/api", strings.NewReader(form))
	r.Header.Set("Content-Type", "application/x-www-form-urlencoded; charset=utf-8")
	r.Header.Set("X-Requested-With", "XMLHttpRequest")
	r.Header.Set("Accept", "application/json")
	r.Header.Set("X-Request", "JSON")
	return r
}

// encode encodes name, value, name, value. Names are not escaped, as in the client.
func encode(pairs ...string) string {
	var b strings.Builder
	for i := 0; i < len(pairs); i += 2 {
		b.WriteString("&" + pairs[i] + "=" + url.QueryEscape(pairs[i+1]))
	}
	return strings.TrimPrefix(b.String(), "&")
}

// as calls a command with an auth_token; call does so with the session's.
func (w *fixture) as(token, cmd string, pairs ...string) reply {
	w.t.Helper()
	return w.send(post(encode(append([]string{"cmd", cmd, "auth_token", token}, pairs...)...)))
}

func (w *fixture) call(cmd string, pairs ...string) reply {
	w.t.Helper()
	return w.as(w.session, cmd, pairs...)
}

func (w *fixture) fails(message string, r reply) {
	w.t.Helper()
	want := `{"return_code":"FAILURE","message":` + string(quote(message)) + `,"data":{}}`
	require.Equal(w.t, want, r.body)
}

// hash is a token as replies show it.
type hash struct {
	ID, Token, Name string
	Extra           json.RawMessage
}

func (w *fixture) ok(r reply) hash {
	w.t.Helper()
	require.Equal(w.t, "SUCCESS", r.Code, r.Message)
	require.Empty(w.t, r.Message)
	var h hash
	require.NoError(w.t, json.Unmarshal(r.Data, &h))
	require.Equal(w.t, `{"return_code":"SUCCESS","message":"","data":`+string(r.Data)+`}`, r.body)
	return h
}

func (w *fixture) add(name, extra string) hash {
	w.t.Helper()
	return w.ok(w.call("access.add", "name", name, "extra", extra))
}

func (w *fixture) list(r reply) []hash {
	w.t.Helper()
	require.Equal(w.t, "SUCCESS", r.Code, r.Message)
	var list []hash
	require.NoError(w.t, json.Unmarshal(r.Data, &list))
	require.NotNil(w.t, list)
	return list
}

func (w *fixture) verified(token string) latchkey.Access {
	w.t.Helper()
	a, err := w.acme.Verify(context.Background(), latchkey.Presented{Secret: token})
	require.NoError(w.t, err)
	return a
}

// has returns the flags that a token has on a database.
func has(access latchkey.Access, id string) string {
	var out []string
	for _, f := range flags {
		if access.Allows(f.action, Database(id)) {
			out = append(out, f.name)
		}
	}
	return strings.Join(out, ",")
}
