package httpadapter_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/latchkey-go/latchkey"
	"github.com/latchkey-go/latchkey/httpadapter"
	"github.com/latchkey-go/latchkey/memstore"
)

var ctx = context.Background()

type fixture struct {
	t     *testing.T
	time  atomic.Int64 // µs; background writes read it
	store *failingStore
	keys  *latchkey.Manager
	acme  latchkey.Account
	other latchkey.Account
}

func (w *fixture) now() time.Time          { return time.UnixMicro(w.time.Load()).UTC() }
func (w *fixture) advance(d time.Duration) { w.time.Add(d.Microseconds()) }

type failingStore struct {
	latchkey.Store
	err error
}

func (s *failingStore) ByDigest(ctx context.Context, slot latchkey.Slot, d ...[32]byte) (latchkey.Found, error) {
	if s.err != nil {
		return latchkey.Found{}, s.err
	}
	return s.Store.ByDigest(ctx, slot, d...)
}

func newFixture(t *testing.T) *fixture {
	w := &fixture{t: t}
	w.time.Store(time.Date(2026, 11, 22, 9, 0, 0, 0, time.UTC).UnixMicro())
	w.store = &failingStore{Store: memstore.New(&memstore.Options{Clock: w.now})}
	w.keys = latchkey.New(w.store, &latchkey.Options{Clock: w.now, CacheTokens: -1})
	w.acme, w.other = w.keys.For("acme"), w.keys.For("other")
	return w
}

func (w *fixture) issue(a latchkey.Account, kind latchkey.Kind, s latchkey.Settings) (id, text string) {
	if kind == latchkey.KindSession && s.Validity.NotAfter.IsZero() {
		s.Validity.NotAfter = w.now().Add(time.Hour)
	}
	t, secret, err := a.Issue(ctx, s.Spec(kind))
	require.NoError(w.t, err)
	return t.ID, secret.Reveal()
}

// key issues a key of acme that may read all of dataset/orders, and the EU rows of dataset/clients.
func (w *fixture) key() string {
	_, text := w.issue(w.acme, latchkey.KindAPIKey, latchkey.Settings{Permissions: latchkey.Permissions{
		latchkey.Allow(latchkey.Read).On("dataset/orders"),
		latchkey.Allow(latchkey.Read).On("dataset/clients").Where(latchkey.Where("region", latchkey.Eq, "EU")),
	}})
	return text
}

// get sends a GET with a Bearer token ("" for none).
func get(h http.Handler, target, token string, headers ...string) *httptest.ResponseRecorder {
	r := httptest.NewRequest("GET", target, nil)
	if token != "" {
		r.Header.Set("Authorization", "Bearer "+token)
	}
	for i := 0; i < len(headers); i += 2 {
		r.Header[headers[i]] = append(r.Header[headers[i]], headers[i+1])
	}
	w := httptest.NewRecorder()
	h.ServeHTTP(w, r)
	return w
}

// whoami replies with what the middleware stored in the context.
var whoami = http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
	access, ok := httpadapter.AccessFrom(r.Context())
	rows, bounded := httpadapter.RowsFrom(r.Context())
	text := "nobody"
	if ok {
		text = access.Owner()
	}
	switch {
	case bounded && rows.IsAllRows():
		text += ", all rows"
	case bounded:
		text += ", some rows"
	}
	_, _ = w.Write([]byte(text))
})

func TestAuthenticate(t *testing.T) {
	w := newFixture(t)
	h := httpadapter.New(w.keys, nil).Authenticate(whoami)

	out := get(h, "/", w.key())
	require.Equal(t, 200, out.Code)
	require.Equal(t, "acme", out.Body.String())
	require.Empty(t, out.Header().Get("Cache-Control"), "the host's own reply is the host's own")

	out = get(h, "/", "")
	require.Equal(t, 401, out.Code)
	require.Equal(t, `Bearer realm="latchkey"`, out.Header().Get("WWW-Authenticate"))
	require.Equal(t, "application/problem+json", out.Header().Get("Content-Type"))
	require.Equal(t, "no-store", out.Header().Get("Cache-Control"))
	require.JSONEq(t, `{"type":"tag:latchkey-go.github.io,2026:problem/no-credential","title":"Credential required",`+
		`"status":401}`,
		out.Body.String())

	out = get(h, "/", "rubbish")
	require.Equal(t, `Bearer realm="latchkey", error="invalid_token"`, out.Header().Get("WWW-Authenticate"))
	require.JSONEq(t, `{"type":"tag:latchkey-go.github.io,2026:problem/invalid-token","title":"Invalid token",`+
		`"status":401}`, out.Body.String())

	out = get(h, "/", w.key(), "Authorization", "Bearer x")
	require.Equal(t, 400, out.Code)
	require.Equal(t, `Bearer realm="latchkey", error="invalid_request"`, out.Header().Get("WWW-Authenticate"))

	out = get(h, "/?token="+w.key(), "")
	require.Equal(t, 401, out.Code, "no query parameter is read by default")
}

// TestWrongTokens calls every route with every kind of invalid token. Only a missing token and two tokens look
// different: a reply does not tell an unknown token from another owner's.
func TestWrongTokens(t *testing.T) {
	w := newFixture(t)
	auth := httpadapter.New(w.keys, &httpadapter.Options{Owner: "acme"})
	mux := http.NewServeMux()
	mux.Handle("GET /me", auth.Authenticate(whoami))
	mux.Handle("GET /orders", auth.Require(latchkey.Read, "dataset/orders")(whoami))
	mux.Handle("GET /clients", auth.RequireRows(latchkey.Read, "dataset/clients")(whoami))
	mux.Handle("GET /data/{id}", auth.Require(latchkey.Read, "dataset/{id}")(whoami))

	good := w.key()
	may := latchkey.Permissions{latchkey.Allow(latchkey.Any).On("*")}
	revokedID, revoked := w.issue(w.acme, latchkey.KindAPIKey, latchkey.Settings{Permissions: may})
	require.NoError(t, w.acme.Revoke(ctx, revokedID, ""))
	_, expired := w.issue(w.acme, latchkey.KindAPIKey,
		latchkey.Settings{Permissions: may, Validity: latchkey.Validity{NotAfter: w.now().Add(time.Second)}})
	_, early := w.issue(w.acme, latchkey.KindAPIKey,
		latchkey.Settings{Permissions: may, Validity: latchkey.Validity{NotBefore: w.now().Add(time.Hour)}})
	_, disabled := w.issue(w.acme, latchkey.KindAPIKey, latchkey.Settings{Permissions: may, Disabled: true})
	_, foreign := w.issue(w.other, latchkey.KindSecret, latchkey.Settings{})
	_, elsewhere := w.issue(w.acme, latchkey.KindAPIKey,
		latchkey.Settings{Permissions: may, Restrictions: latchkey.Restrictions{
			Addresses: []netip.Prefix{netip.MustParsePrefix("10.0.0.0/8")}}})
	_, paged := w.issue(w.acme, latchkey.KindAPIKey,
		latchkey.Settings{Permissions: may, Restrictions: latchkey.Restrictions{Domains: []string{"a.example"}}})
	test, err := testKey(w)
	require.NoError(t, err)
	w.advance(time.Second)

	for _, path := range []string{"/me", "/orders", "/clients", "/data/orders"} {
		require.Equal(t, 200, get(mux, path, good).Code, path)
		unknown := get(mux, path, good[:len(good)-1]+"_")
		require.Equal(t, 401, unknown.Code)
		for name, token := range map[string]string{"truncated": good[:len(good)-1], "longer": good + "0",
			"rubbish": "x", "revoked": revoked,
			"expired": expired, "early": early, "disabled": disabled, "foreign": foreign, "elsewhere": elsewhere,
			"paged": paged, "test": test} {
			out := get(mux, path, token)
			require.Equal(t, 401, out.Code, "%s %s", path, name)
			require.Equal(t, unknown.Body.String(), out.Body.String(), "%s %s", path, name)
			require.Equal(t, unknown.Header(), out.Header(), "%s %s", path, name)
		}
		require.Equal(t, 401, get(mux, path, "").Code)
		require.Equal(t, 400, get(mux, path, good, "Authorization", "Bearer "+good).Code)
	}
}

func testKey(w *fixture) (string, error) {
	_, secret, err := w.acme.Issue(ctx, latchkey.Spec{Kind: latchkey.KindSecret, Test: true})
	return secret.Reveal(), err
}

func TestRequire(t *testing.T) {
	w := newFixture(t)
	auth := httpadapter.New(w.keys, nil)
	mux := http.NewServeMux()
	mux.Handle("/all/{id}", auth.Require(latchkey.Read, "dataset/{id}")(whoami))
	mux.Handle("/some/{id}", auth.RequireRows(latchkey.Read, "dataset/{id}")(whoami))
	mux.Handle("/lost/{name}", auth.RequireRows(latchkey.Read, "dataset/{id}")(whoami))
	mux.Handle("/write/{id}", auth.RequireRows(latchkey.Update, "dataset/{id}")(whoami))
	mux.Handle("/twice/{id}", auth.RequireRows(latchkey.Read,
		"dataset/{id}")(auth.Require(latchkey.Read, "dataset/orders")(whoami)))
	mux.Handle("/nested/{id}", auth.Authenticate(auth.Require(latchkey.Read, "dataset/{id}")(whoami)))
	key := w.key()
	_, star := w.issue(w.acme, latchkey.KindAPIKey,
		latchkey.Settings{Permissions: latchkey.Permissions{latchkey.Allow(latchkey.Read).On("dataset/*")}})
	for _, tt := range []struct {
		target, token string
		status        int
		want          string
	}{
		{"/all/orders", key, 200, "acme"},
		{"/nested/orders", key, 200, "acme"},
		{"/all/clients", key, 403, ""}, // some rows are not all rows
		{"/all/others", key, 403, ""},
		{"/some/orders", key, 200, "acme, all rows"},
		{"/some/clients", key, 200, "acme, some rows"},
		{"/some/others", key, 403, ""},
		{"/write/orders", key, 403, ""},
		{"/twice/clients", key, 200, "acme, some rows"}, // an inner check does not change the handler's rows
		{"/twice/others", key, 403, ""},
		{"/lost/orders", key, 500, ""}, // the route has no such wildcard
		{"/lost/orders", star, 500, ""},
		{"/all/anything", star, 200, "acme"},
		{"/all/a%2Fb", star, 200, "acme"},
		{"/all/orders%2F..%2Fsecret", key, 400, ""},
		{"/all/order%2573", key, 400, ""},
		{"/all/%2A", key, 403, ""}, // "*" is a data set's name here, not everything
		{"/all/*", key, 403, ""},
		{"/all/%FF", star, 200, "acme"}, // taken literally
		{"/all/%00", star, 200, "acme"},
		{"/all/%00", key, 403, ""},
		{"/all/" + strings.Repeat("x", 600), star, 403, ""},
	} {
		out := get(mux, tt.target, tt.token)
		require.Equal(t, tt.status, out.Code, tt.target)
		switch tt.status {
		case 200:
			require.Equal(t, tt.want, out.Body.String(), tt.target)
		case 400:
			require.JSONEq(t, `{"type":"tag:latchkey-go.github.io,2026:problem/bad-request","title":"Bad request",
				"status":400,"field":"id","detail":`+detailOf(t, out)+`}`, out.Body.String())
		case 403:
			require.Equal(t, `Bearer realm="latchkey", error="insufficient_scope"`, out.Header().Get("WWW-Authenticate"))
			detail := ""
			if tt.target == "/all/clients" {
				detail = `,"detail":"This is allowed for some rows only."`
			}
			require.JSONEq(t, `{"type":"tag:latchkey-go.github.io,2026:problem/denied","title":"Forbidden","status":403`+detail+
				`}`, out.Body.String())
		case 500:
			require.JSONEq(t, `{"type":"tag:latchkey-go.github.io,2026:problem/internal","title":"Internal error","status":500}`,
				out.Body.String())
		}
	}
	require.Panics(t, func() { auth.Require(latchkey.Read, "dataset/{id") })
	require.Panics(t, func() { auth.Require(latchkey.Any, "dataset/x") })
	require.Panics(t, func() { auth.Require("", "dataset/x") })
	require.Panics(t, func() { auth.Require("READ", "dataset/x") }, "no rule could ever name it")
}

// detailOf returns the detail of a problem as JSON.
func detailOf(t *testing.T, out *httptest.ResponseRecorder) string {
	var p httpadapter.Problem
	require.NoError(t, json.Unmarshal(out.Body.Bytes(), &p))
	require.NotEmpty(t, p.Detail)
	text, err := json.Marshal(p.Detail)
	require.NoError(t, err)
	return string(text)
}

func TestOwner(t *testing.T) {
	w := newFixture(t)
	_, foreign := w.issue(w.other, latchkey.KindSecret, latchkey.Settings{})
	require.Equal(t, "other", get(httpadapter.New(w.keys, nil).Authenticate(whoami), "/", foreign).Body.String())
	require.Equal(t, 401, get(httpadapter.New(w.keys, &httpadapter.Options{Owner: "acme"}).Authenticate(whoami), "/",
		foreign).Code)
}

// The owner that the request names is the only one whose tokens pass.
func TestOwnerOf(t *testing.T) {
	w := newFixture(t)
	own := w.key()
	_, foreign := w.issue(w.other, latchkey.KindSecret, latchkey.Settings{})
	h := httpadapter.New(w.keys, &httpadapter.Options{OwnerOf: func(r *http.Request) (string, error) {
		return r.URL.Query().Get("owner"), nil
	}}).Authenticate(whoami)
	require.Equal(t, "acme", get(h, "/?owner=acme", own).Body.String())
	require.Equal(t, "other", get(h, "/?owner=other", foreign).Body.String())
	require.Equal(t, 401, get(h, "/?owner=other", own).Code)
	require.Equal(t, 401, get(h, "/?owner=acme", foreign).Code)
	require.Equal(t, 500, get(h, "/", own).Code, "no owner")
}

// A refusal without a reason is no success, and those that are told of it have a reason to write down.
func TestAnErrorThatIsNone(t *testing.T) {
	w := newFixture(t)
	var told error
	a := httpadapter.New(w.keys, &httpadapter.Options{OnError: func(_ *http.Request, err error) { told = err }})
	answer := httptest.NewRecorder()
	a.WriteError(answer, httptest.NewRequest("GET", "/", nil), nil)
	require.Equal(t, 500, answer.Code)
	require.ErrorContains(t, told, "WriteError without an error")
}

func TestSandbox(t *testing.T) {
	w := newFixture(t)
	h := httpadapter.New(w.keys, &httpadapter.Options{Test: true}).Authenticate(whoami)
	test, err := testKey(w)
	require.NoError(t, err)
	require.Equal(t, 200, get(h, "/", test).Code)
	require.Equal(t, 401, get(h, "/", w.key()).Code)
}

func TestQueryToken(t *testing.T) {
	w := newFixture(t)
	carriers := httpadapter.Carriers{Bearer: true, Query: []string{"token"}}
	h := httpadapter.New(w.keys, &httpadapter.Options{Carriers: carriers}).Authenticate(whoami)
	key := w.key()
	for _, out := range []*httptest.ResponseRecorder{get(h, "/?token="+key, ""), get(h, "/", key)} {
		require.Equal(t, 200, out.Code)
		require.Equal(t, "no-store", out.Header().Get("Cache-Control"))
		require.Equal(t, "no-referrer", out.Header().Get("Referrer-Policy"))
	}
	require.Equal(t, 400, get(h, "/?token="+key, key).Code)
	require.Equal(t, 400, get(h, "/?token="+key+"&token="+key, "").Code)
	require.Equal(t, 400, get(h, "/?token="+key+";x=1", "").Code)
}

func TestAddressAndReferer(t *testing.T) {
	w := newFixture(t)
	may := latchkey.Permissions{latchkey.Allow(latchkey.Read).On("*")}
	_, near := w.issue(w.acme, latchkey.KindAPIKey,
		latchkey.Settings{Permissions: may, Restrictions: latchkey.Restrictions{
			Addresses: []netip.Prefix{netip.MustParsePrefix("203.0.113.0/24")}}})
	_, paged := w.issue(w.acme, latchkey.KindAPIKey,
		latchkey.Settings{Permissions: may, Restrictions: latchkey.Restrictions{Domains: []string{"a.example"}}})
	h := httpadapter.New(w.keys, &httpadapter.Options{Proxies: []netip.Prefix{netip.MustParsePrefix(
		"192.0.2.1/32")}}).Authenticate(whoami)
	naive := httpadapter.New(w.keys, nil).Authenticate(whoami)

	require.Equal(t, 200, get(h, "/", near, "X-Forwarded-For", "203.0.113.9").Code)
	require.Equal(t, 401, get(naive, "/", near, "X-Forwarded-For", "203.0.113.9").Code)
	require.Equal(t, 401, get(h, "/", near).Code)
	require.Equal(t, 400, get(h, "/", near, "X-Forwarded-For", "203.0.113.9", "X_forwarded_for", "203.0.113.9").Code)
	require.Equal(t, 200, get(naive, "/", paged, "Referer", "https://a.example/x").Code)
	require.Equal(t, 401, get(naive, "/", paged, "Referer", "https://a.example.evil/x").Code)
	require.Equal(t, 401, get(naive, "/", paged).Code)
	require.Equal(t, 400, get(naive, "/", paged, "Referer", "https://a.example/", "Referer", "https://b.example/").Code)
}

func TestTroubleIsNeverARefusal(t *testing.T) {
	w := newFixture(t)
	key := w.key()
	var log bytes.Buffer
	var heard error
	auth := httpadapter.New(w.keys, &httpadapter.Options{
		Logger:  slog.New(slog.NewTextHandler(&log, nil)),
		OnError: func(_ *http.Request, err error) { heard = err },
		Problem: func(rw http.ResponseWriter, _ *http.Request, p httpadapter.Problem) {
			rw.Header().Set("Content-Type", "text/plain")
			rw.WriteHeader(p.Status)
			_, _ = rw.Write([]byte(p.Title))
		},
	})
	w.store.err = errors.Join(latchkey.ErrUnavailable, errors.New("dial tcp\nSECRET"))
	out := get(auth.Require(latchkey.Read, "dataset/orders")(whoami), "/?x=SECRET", key)
	require.Equal(t, 503, out.Code)
	require.Equal(t, "Temporarily unavailable", out.Body.String())
	require.Equal(t, "1", out.Header().Get("Retry-After"))
	require.Equal(t, "no-store", out.Header().Get("Cache-Control"))
	require.ErrorIs(t, heard, latchkey.ErrUnavailable)
	require.NotContains(t, log.String(), key)
	require.NotContains(t, log.String(), "x=SECRET")
	require.Equal(t, 1, strings.Count(log.String(), "\n"), "a newline in an error must not look like a second entry")

	out = httptest.NewRecorder()
	auth.WriteError(out, httptest.NewRequest("GET", "/", nil), nil)
	require.Equal(t, 500, out.Code)
}

func TestProblemsAreJSON(t *testing.T) {
	w := newFixture(t)
	auth := httpadapter.New(w.keys, nil)
	for _, err := range []error{latchkey.ErrNotFound, latchkey.ErrConflict,
		&latchkey.ConditionError{Field: `<"\n`}, errors.New("x")} {
		out := httptest.NewRecorder()
		auth.WriteError(out, httptest.NewRequest("GET", "/", nil), err)
		var p httpadapter.Problem
		require.NoError(t, json.Unmarshal(out.Body.Bytes(), &p))
		require.Equal(t, out.Code, p.Status)
		require.True(t, strings.HasPrefix(p.Type, httpadapter.ProblemType))
	}
}

func TestNewPanics(t *testing.T) {
	w := newFixture(t)
	require.Panics(t, func() { httpadapter.New(nil, nil) })
	require.Panics(t, func() { httpadapter.New(w.keys, &httpadapter.Options{Realm: `a"b`}) })
	require.Panics(t, func() { httpadapter.New(w.keys, &httpadapter.Options{Realm: "a\r\nb"}) })
	require.Panics(t, func() { httpadapter.New(w.keys, &httpadapter.Options{Realm: "a\x7f"}) })
	require.Panics(t, func() { httpadapter.New(w.keys, &httpadapter.Options{Realm: "é"}) })
	require.NotPanics(t, func() { httpadapter.New(w.keys, &httpadapter.Options{Realm: " ~"}) })
	require.Panics(t, func() { httpadapter.New(w.keys, &httpadapter.Options{Proxies: []netip.Prefix{{}}}) })
}

type discard struct{ h http.Header }

func (d discard) Header() http.Header         { return d.h }
func (d discard) Write(b []byte) (int, error) { return len(b), nil }
func (d discard) WriteHeader(int)             {}

func TestAllocations(t *testing.T) {
	if raceEnabled {
		t.Skip("the race detector allocates")
	}
	keys := latchkey.New(memstore.New(nil), nil)
	_, secret, err := keys.For("acme").Issue(ctx, latchkey.Spec{Kind: latchkey.KindAPIKey,
		Permissions: latchkey.Permissions{latchkey.Allow(latchkey.Read).On("dataset/orders")}})
	require.NoError(t, err)
	auth := httpadapter.New(keys, nil)
	nothing := http.HandlerFunc(func(http.ResponseWriter, *http.Request) {})
	r := httptest.NewRequest("GET", "/", nil)
	r.Header.Set("Authorization", "Bearer "+secret.Reveal())
	r.SetPathValue("id", "orders")
	w := discard{http.Header{}}
	for _, tt := range []struct {
		name string
		h    http.Handler
		most float64
	}{
		{"Authenticate", auth.Authenticate(nothing), 2}, // the state, and the request that has it in its context
		{"Require", auth.Require(latchkey.Read, "dataset/orders")(nothing), 1},
		{"Require, a wildcard", auth.Require(latchkey.Read, "dataset/{id}")(nothing), 1},
	} {
		require.LessOrEqual(t, testing.AllocsPerRun(100, func() { tt.h.ServeHTTP(w, r) }), tt.most, tt.name)
		require.Empty(t, w.h, "%s refused", tt.name)
	}
}

// A resource with a wildcard that the route does not have is a programming error, never a refusal. That holds for
// callers that may do everything, and for those that may do nothing. The log says what to do.
func TestMisnamedWildcardSaysSo(t *testing.T) {
	w := newFixture(t)
	_, root := w.issue(w.acme, latchkey.KindSecret, latchkey.Settings{})
	_, nothing := w.issue(w.acme, latchkey.KindAPIKey, latchkey.Settings{})
	var heard error
	var log bytes.Buffer
	opts := httpadapter.Options{
		OnError: func(_ *http.Request, err error) { heard = err },
		Logger:  slog.New(slog.NewTextHandler(&log, nil)),
	}
	plain := httpadapter.New(w.keys, &opts)
	opts.PathValue = func(_ *http.Request, name string) (string, bool) { return "", false }
	hooked := httpadapter.New(w.keys, &opts)
	for _, tt := range []struct {
		auth       *httpadapter.Adapter
		whole      bool // Require before the router
		said, todo string
	}{
		{plain, false, `the route "GET /data/{set}" has no value for the wildcard "id"`, "set Options.PathValue"},
		{plain, true, `the request has no value for the wildcard "id"`, "put Require inside the route"},
		{hooked, false, `the route "GET /data/{set}" has no value for the wildcard "id"`, "let Options.PathValue find it"},
	} {
		guard := tt.auth.RequireRows(latchkey.Read, "dataset/{id}")
		mux := http.NewServeMux()
		h := http.Handler(mux)
		if tt.whole {
			mux.Handle("GET /data/{id}", whoami)
			h = guard(mux)
		} else {
			mux.Handle("GET /data/{set}", guard(whoami))
		}
		for _, token := range []string{root, nothing} {
			log.Reset()
			require.Equal(t, 500, get(h, "/data/orders", token).Code)
			require.ErrorContains(t, heard, tt.said)
			require.NotErrorIs(t, heard, latchkey.ErrDenied)
			require.Contains(t, log.String(), strings.ReplaceAll(tt.said, `"`, `\"`))
			require.Contains(t, log.String(), tt.todo)
			require.Equal(t, 1, strings.Count(log.String(), "\n"))
		}
	}
}

// PathValue replaces Request.PathValue, and its values are checked alike.
func TestPathValueHook(t *testing.T) {
	w := newFixture(t)
	key := w.key()
	auth := httpadapter.New(w.keys, &httpadapter.Options{PathValue: func(r *http.Request, name string) (string, bool) {
		return r.Header.Get("X-Value"), name == "id"
	}})
	h := auth.Require(latchkey.Read, "dataset/{id}")(whoami)
	for value, status := range map[string]int{"orders": 200, "payroll": 403, "": 400, "order%73": 400,
		"x/../orders": 400} {
		require.Equal(t, status, get(h, "/", key, "X-Value", value).Code, value)
	}
}

// An Access of another adapter or the host must be one that this adapter could have made.
func TestAccessFromElsewhere(t *testing.T) {
	w := newFixture(t)
	second := latchkey.New(w.store, &latchkey.Options{Clock: w.now, CacheTokens: -1})
	_, root := w.issue(w.acme, latchkey.KindSecret, latchkey.Settings{})
	sandbox, err := testKey(w)
	require.NoError(t, err)
	_, foreign := w.issue(w.other, latchkey.KindSecret, latchkey.Settings{})
	live, test := &httpadapter.Options{}, &httpadapter.Options{Test: true}
	mine, mineTest := &httpadapter.Options{Owner: "acme"}, &httpadapter.Options{Owner: "acme", Test: true}
	for _, tt := range []struct {
		name         string
		keys         *latchkey.Manager // of the outer adapter
		outer, inner *httpadapter.Options
		token        string
		status       int
	}{
		{"live behind live", w.keys, live, mine, root, 200},
		{"sandbox behind sandbox", w.keys, test, mineTest, sandbox, 200},
		{"live behind sandbox", w.keys, test, live, sandbox, 401},
		{"an owner's live behind sandbox", w.keys, mineTest, mine, sandbox, 401},
		{"sandbox behind live", w.keys, live, test, root, 401},
		{"another owner", w.keys, live, mine, foreign, 401},
		{"any owner", w.keys, live, live, foreign, 200},
		{"another manager", second, live, live, root, 401},
		{"another manager, one owner", second, mine, mine, root, 401},
	} {
		for name, guard := range map[string]func(*httpadapter.Adapter) http.Handler{
			"Require": func(a *httpadapter.Adapter) http.Handler { return a.Require(latchkey.Delete, "payroll/x")(whoami) },
			"RequireRows": func(a *httpadapter.Adapter) http.Handler {
				return a.RequireRows(latchkey.Read,
					"payroll/x")(whoami)
			},
		} {
			h := httpadapter.New(tt.keys, tt.outer).Authenticate(guard(httpadapter.New(w.keys, tt.inner)))
			out := get(h, "/", tt.token)
			require.Equal(t, tt.status, out.Code, "%s, %s", tt.name, name)
			if tt.status == 401 {
				require.Equal(t, `Bearer realm="latchkey", error="invalid_token"`, out.Header().Get("WWW-Authenticate"))
			}
		}
	}
	h := httpadapter.New(w.keys, test).Require(latchkey.Read, "x")(whoami)
	r := httptest.NewRequest("GET", "/", nil)
	assumed := must(w.acme.Assume(latchkey.Client{ID: "7"}, latchkey.Permissions{latchkey.Allow(latchkey.Any).On("*")}))
	out := httptest.NewRecorder()
	h.ServeHTTP(out, r.WithContext(httpadapter.WithAccess(r.Context(), assumed)))
	require.Equal(t, 401, out.Code, "whoever was assumed is no test token")
}

// An error in the host's rules is logged, with the field and what to do, and not sent to the caller.
func TestRuleThatDoesNotFitTheSchema(t *testing.T) {
	w := newFixture(t)
	var log bytes.Buffer
	auth := httpadapter.New(w.keys, &httpadapter.Options{Logger: slog.New(slog.NewTextHandler(&log, nil))})
	rule := &latchkey.ConditionError{Field: "regoin", Unknown: true, OfRule: true, Reason: "the schema has no such field"}
	out := httptest.NewRecorder()
	auth.WriteError(out, httptest.NewRequest("GET", "/", nil), rule)
	require.Equal(t, 500, out.Code)
	require.NotContains(t, out.Body.String(), "regoin")
	require.Contains(t, log.String(), "regoin")
	require.Contains(t, log.String(), "add the field to the schema")

	log.Reset()
	out = httptest.NewRecorder()
	rule.OfRule = false
	auth.WriteError(out, httptest.NewRequest("GET", "/", nil), rule)
	require.Equal(t, 400, out.Code)
	require.JSONEq(t, `{"type":"tag:latchkey-go.github.io,2026:problem/condition","title":"Invalid field or value",
		"status":400,"field":"regoin","detail":"The schema has no such field."}`, out.Body.String())
	require.Empty(t, log.String())
}

func TestRateLimitFields(t *testing.T) {
	w := newFixture(t)
	id, key := w.issue(w.acme, latchkey.KindAPIKey, latchkey.Settings{
		Permissions: latchkey.Permissions{latchkey.Allow(latchkey.Read).On("*")},
		Limits:      latchkey.Limits{Rate: latchkey.Rate{Count: 2, Per: 3 * time.Second, Burst: 1}}})
	auth := httpadapter.New(w.keys, nil)
	h := auth.Authenticate(auth.Require(latchkey.Read, "a")(whoami))
	for i, want := range []struct {
		status             int
		limit, policy, try string
	}{
		{200, `"token";r=1;t=2`, `"token";q=2;w=3`, ""},
		{200, `"token";r=0;t=3`, `"token";q=2;w=3`, ""}, // counted once, though two middlewares asked
		{429, `"token";r=0;t=3`, `"token";q=2;w=3`, "2"},
	} {
		out := get(h, "/", key)
		require.Equal(t, want.status, out.Code, i)
		require.Equal(t, want.limit, out.Header().Get("RateLimit"), i)
		require.Equal(t, want.policy, out.Header().Get("RateLimit-Policy"), i)
		require.Equal(t, want.try, out.Header().Get("Retry-After"), i)
	}
	w.advance(1500 * time.Millisecond)
	require.Equal(t, 403, get(auth.Require(latchkey.Delete, "a")(whoami), "/", key).Code)
	require.Equal(t, 429, get(h, "/", key).Code, "a denial counts, too")

	require.NoError(t, w.acme.Revoke(ctx, id, ""))
	for _, token := range []string{key, "", w.key()} {
		out := get(h, "/", token)
		require.Empty(t, out.Header().Get("RateLimit"), "who is nobody, or has no rate, is told of none")
		require.Empty(t, out.Header().Get("RateLimit-Policy"))
	}
}

// A caller whose rules are invalid is refused, and the log names the rule.
func TestRulesThatAreNone(t *testing.T) {
	w := newFixture(t)
	var log bytes.Buffer
	auth := httpadapter.New(w.keys, &httpadapter.Options{Logger: slog.New(slog.NewTextHandler(&log, nil))})
	may := latchkey.Permissions{latchkey.Allow(latchkey.Read).On("invoices")}
	a := must(w.acme.Assume(latchkey.Client{ID: "7"}, may))
	err := w.store.Write(ctx, latchkey.Write{ID: [16]byte{1}, Owner: "acme", At: w.now(),
		OwnerRecord: &latchkey.Owner{ID: "acme", Boundary: append(may, latchkey.Allow("Read").On("x"))}})
	require.NoError(t, err)
	a = must(a.Again(ctx))
	served := auth.Require(latchkey.Read, "invoices")(whoami)
	out := httptest.NewRecorder()
	r := httptest.NewRequest("GET", "/", nil)
	served.ServeHTTP(out, r.WithContext(httpadapter.WithAccess(r.Context(), a)))
	require.Equal(t, 500, out.Code)
	require.NotContains(t, out.Body.String(), "rule")
	require.Contains(t, log.String(), "rule 2")
	require.Contains(t, log.String(), "correct the rule")
}

// must returns v. It panics if there is an error.
func must[T any](v T, err error) T {
	if err != nil {
		panic(err)
	}
	return v
}
