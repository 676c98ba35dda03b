package cloudtables

import (
	"bytes"
	"context"
	"encoding/json"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/latchkey-go/latchkey"
	"github.com/latchkey-go/latchkey/memstore"
)

// fixture is one account with an API key that has some roles, and the access call of that account.
type fixture struct {
	t     *testing.T
	time  atomic.Int64 // µs; background writes read it
	store *failingStore
	keys  *latchkey.Manager
	acme  latchkey.Account
	other latchkey.Account
	roles map[string]latchkey.Role
	keyID string
	key   string
	serve http.Handler
	mux   *http.ServeMux
	errs  []error
	log   bytes.Buffer
}

func (w *fixture) now() time.Time          { return time.UnixMicro(w.time.Load()).UTC() }
func (w *fixture) advance(d time.Duration) { w.time.Add(d.Microseconds()) }

// failingStore is a store that can be made to fail.
type failingStore struct {
	latchkey.Store
	down      error
	downRoles error
	downWrite error
	damaged   string // the name of a role that cannot be read
}

func (s *failingStore) ByDigest(ctx context.Context, slot latchkey.Slot, d ...[32]byte) (latchkey.Found, error) {
	if s.down != nil {
		return latchkey.Found{}, s.down
	}
	return s.Store.ByDigest(ctx, slot, d...)
}

func (s *failingStore) Roles(ctx context.Context, owner string, q latchkey.RoleQuery) ([]latchkey.Role, error) {
	if s.downRoles != nil {
		return nil, s.downRoles
	}
	roles, err := s.Store.Roles(ctx, owner, q)
	for i := range roles {
		roles[i].Damaged = s.damaged != "" && roles[i].Name == s.damaged
	}
	return roles, err
}

func (s *failingStore) Write(ctx context.Context, w latchkey.Write) error {
	if s.downWrite != nil {
		return s.downWrite
	}
	return s.Store.Write(ctx, w)
}

var keyRoles = []string{"it", "front desk", "Front of house", "one", "a", "b"}

func newFixture(t *testing.T, opts *Options) *fixture {
	w := &fixture{t: t, roles: map[string]latchkey.Role{}}
	w.time.Store(time.Date(2026, 11, 22, 9, 0, 0, 0, time.UTC).UnixMicro())
	w.store = &failingStore{Store: memstore.New(&memstore.Options{Clock: w.now})}
	w.keys = latchkey.New(w.store, &latchkey.Options{Clock: w.now, CacheTokens: -1})
	w.acme, w.other = w.keys.For("acme"), w.keys.For("other")
	for _, name := range append([]string{"admin"}, keyRoles...) {
		w.roles[name] = w.role(w.acme, latchkey.Role{Name: name,
			Permissions: latchkey.Permissions{latchkey.Allow(latchkey.Read,
				latchkey.Create).On(latchkey.Pattern(latchkey.Path("dataset", name)))}})
	}
	var ids []string
	for _, name := range keyRoles {
		ids = append(ids, w.roles[name].ID)
	}
	w.keyID, w.key = w.issue(w.acme, latchkey.Spec{Kind: latchkey.KindAPIKey, Name: "site", Roles: ids})
	o := Options{}
	if opts != nil {
		o = *opts
	}
	o.OnError = func(_ *http.Request, err error) { w.errs = append(w.errs, err) }
	o.Logger = slog.New(slog.NewTextHandler(&w.log, nil))
	w.mux = http.NewServeMux()
	Mount(w.mux, w.acme, &o)
	w.serve = w.mux
	return w
}

func (w *fixture) role(a latchkey.Account, r latchkey.Role) latchkey.Role {
	r, err := a.CreateRole(context.Background(), r)
	require.NoError(w.t, err)
	return r
}

func (w *fixture) issue(a latchkey.Account, spec latchkey.Spec) (id, text string) {
	t, secret, err := a.Issue(context.Background(), spec)
	require.NoError(w.t, err)
	return t.ID, secret.Reveal()
}

// send serves a request. The key K of the tables becomes the real one.
func (w *fixture) send(c wire) *httptest.ResponseRecorder {
	c.body = strings.NewReplacer(`key=K`, `key=`+w.key, `"key":"K`, `"key":"`+w.key).Replace(c.body)
	c.target = strings.ReplaceAll(c.target, `key=K`, `key=`+w.key)
	c.headers = slices.Clone(c.headers)
	for i, v := range c.headers {
		c.headers[i] = strings.TrimSuffix(v, "K")
		if c.headers[i] != v {
			c.headers[i] += w.key
		}
	}
	out := httptest.NewRecorder()
	w.serve.ServeHTTP(out, c.request())
	require.Equal(w.t, "no-store", out.Header().Get("Cache-Control"))
	require.Equal(w.t, "application/json", out.Header().Get("Content-Type"))
	require.Equal(w.t, "nosniff", out.Header().Get("X-Content-Type-Options"))
	require.NotContains(w.t, out.Body.String(), w.key, "a reply holds the key")
	require.Equal(w.t, out.Code == 401, out.Header().Get("WWW-Authenticate") != "")
	return out
}

// mint sends a request that must succeed, and returns the token.
func (w *fixture) mint(body string) string {
	out := w.send(wire{body: body})
	require.Equal(w.t, 200, out.Code, out.Body.String())
	var got struct{ Token string }
	require.NoError(w.t, json.Unmarshal(out.Body.Bytes(), &got))
	require.Equal(w.t, `{"token":"`+got.Token+`","success":true}`, out.Body.String())
	return got.Token
}

func (w *fixture) refused(status int, want string, c wire) {
	w.t.Helper()
	before := w.count()
	out := w.send(c)
	require.Equal(w.t, want, out.Body.String())
	require.Equal(w.t, status, out.Code)
	require.Equal(w.t, before, w.count(), "a refusal made a token")
}

func (w *fixture) verify(token string) (latchkey.Access, error) {
	return w.acme.Verify(context.Background(), latchkey.Presented{Secret: token})
}

func (w *fixture) verified(token string) latchkey.Access {
	a, err := w.verify(token)
	require.NoError(w.t, err)
	return a
}

func (w *fixture) tokens() []latchkey.Token {
	var out []latchkey.Token
	for t, err := range w.acme.Tokens(context.Background(), latchkey.TokenQuery{}) {
		require.NoError(w.t, err)
		out = append(out, t)
	}
	return out
}

func (w *fixture) count() int { return len(w.tokens()) }

// can lists the data sets a token may read.
func (w *fixture) can(token string) string {
	a := w.verified(token)
	var out []string
	for _, name := range append([]string{"admin"}, keyRoles...) {
		if _, err := a.Filter(latchkey.Read, latchkey.Path("dataset", name)); err == nil {
			out = append(out, name)
		}
	}
	return strings.Join(out, ", ")
}
