package apperate

import (
	"context"
	"crypto/sha256"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/latchkey-go/latchkey"
	"github.com/latchkey-go/latchkey/memstore"
)

// fixture is one account with a token of each kind, and the gateway before a handler that echoes its call.
type fixture struct {
	t      *testing.T
	micros atomic.Int64
	store  *failingStore
	keys   *latchkey.Manager
	acme   latchkey.Account
	other  latchkey.Account
	serve  http.Handler
	mu     sync.Mutex
	errs   []error
	served atomic.Int64 // requests that reached the handler
	answer func(http.ResponseWriter, *http.Request, *Call)
	ids    map[string]string // by text

	sk, pk, signedPK, ak, tsk, tpk string
}

// budget is quotas of n core credits in a calendar month.
func budget(n latchkey.Credits) []latchkey.Quota {
	return []latchkey.Quota{{Meter: MeterCore, Amount: n, Per: latchkey.Month}}
}

// failingStore is a store whose parts can be made to fail.
type failingStore struct {
	latchkey.Store
	down, downOnce, downReserve, downSettle error
}

func (s *failingStore) ByDigest(ctx context.Context, slot latchkey.Slot, d ...[32]byte) (latchkey.Found, error) {
	if s.down != nil {
		return latchkey.Found{}, s.down
	}
	return s.Store.ByDigest(ctx, slot, d...)
}

func (s *failingStore) Once(ctx context.Context, owner string, key [32]byte, until time.Time) error {
	if s.downOnce != nil {
		return s.downOnce
	}
	return s.Store.Once(ctx, owner, key, until)
}

func (s *failingStore) Reserve(ctx context.Context, r latchkey.Reservation) (latchkey.Reserved, error) {
	if s.downReserve != nil {
		return latchkey.Reserved{}, s.downReserve
	}
	return s.Store.Reserve(ctx, r)
}

func (s *failingStore) Settle(ctx context.Context, owner string, key [16]byte, actual latchkey.Credits) error {
	if s.downSettle != nil {
		return s.downSettle
	}
	return s.Store.Settle(ctx, owner, key, actual)
}

func (w *fixture) now() time.Time          { return time.UnixMicro(w.micros.Load()).UTC() }
func (w *fixture) advance(d time.Duration) { w.micros.Add(d.Microseconds()) }

func newFixture(t *testing.T, opts *Options) *fixture {
	t.Helper()
	w := &fixture{t: t, ids: map[string]string{}}
	w.micros.Store(time.Date(2026, 11, 22, 9, 0, 0, 0, time.UTC).UnixMicro())
	w.store = &failingStore{Store: memstore.New(&memstore.Options{Clock: w.now})}
	key, err := latchkey.NewKeyring(latchkey.Key{ID: 1, Secret: []byte(strings.Repeat("k", 32))})
	require.NoError(t, err)
	w.keys = latchkey.New(w.store, &latchkey.Options{Clock: w.now, Keyring: key,
		Imported: func(text string) bool { return strings.HasPrefix(text, "pk_old") }})
	t.Cleanup(func() { _ = w.keys.Close(context.Background()) })
	w.acme, w.other = w.keys.For("acme"), w.keys.For("other")
	w.sk = w.issue(w.acme, latchkey.Spec{Kind: latchkey.KindSecret})
	w.tsk = w.issue(w.acme, latchkey.Spec{Kind: latchkey.KindSecret, Test: true})
	w.ak = w.issue(w.acme, latchkey.Spec{Kind: latchkey.KindAPIKey,
		Permissions: latchkey.Permissions{latchkey.Allow(latchkey.Any).On("*")}})
	w.pk = w.publishable(nil)
	w.signedPK = w.publishable(func(s *latchkey.Spec) { s.Restrictions.Signed = true })
	w.tpk = w.publishable(func(s *latchkey.Spec) { s.Test = true })

	o := Options{}
	if opts != nil {
		o = *opts
	}
	o.Clock = w.now
	if o.AddressRate == (latchkey.Rate{}) {
		o.AddressRate.Count = -1
	}
	o.OnError = func(_ *http.Request, err error) {
		w.mu.Lock()
		defer w.mu.Unlock()
		w.errs = append(w.errs, err)
	}
	w.answer = func(rw http.ResponseWriter, r *http.Request, c *Call) {
		body, err := io.ReadAll(r.Body)
		require.NoError(t, err)
		WriteJSON(rw, map[string]any{"path": r.URL.EscapedPath(), "body": string(body), "owner": c.Access.Owner()})
	}
	w.serve = Handler(w.acme, &o, http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
		w.served.Add(1)
		c, ok := CallFrom(r.Context())
		require.True(t, ok)
		w.answer(rw, r, c)
	}))
	return w
}

// grant is what the fixture's publishable tokens may do: read core data and two data sets, and write one of them.
var grant = Grant{Datasets: []DatasetGrant{
	{Workspace: "acme", ID: "cars", Read: true},
	{Workspace: "ACME", ID: "TRUCKS", Read: true, Write: true, Delete: true},
}}

func (w *fixture) publishable(change func(*latchkey.Spec)) string {
	w.t.Helper()
	spec, err := PublishableSpec("page", grant)
	require.NoError(w.t, err)
	if change != nil {
		change(&spec)
	}
	return w.issue(w.acme, spec)
}

func (w *fixture) issue(a latchkey.Account, spec latchkey.Spec) string {
	w.t.Helper()
	t, secret, err := a.Issue(context.Background(), spec)
	require.NoError(w.t, err)
	w.ids[secret.Reveal()] = t.ID
	return secret.Reveal()
}

func (w *fixture) update(text string, edit func(*latchkey.Token)) {
	w.t.Helper()
	_, err := w.acme.Update(context.Background(), w.ids[text], func(t *latchkey.Token) error { edit(t); return nil })
	require.NoError(w.t, err)
}

func (w *fixture) send(r *http.Request) *httptest.ResponseRecorder {
	out := httptest.NewRecorder()
	w.serve.ServeHTTP(out, r)
	require.Equal(w.t, "no-store", out.Header().Get("Cache-Control"))
	require.Equal(w.t, "nosniff", out.Header().Get("X-Content-Type-Options"))
	require.Equal(w.t, "*", out.Header().Get("Access-Control-Allow-Origin"))
	if out.Code >= 400 {
		require.Equal(w.t, "text/html; charset=utf-8", out.Header().Get("Content-Type"))
		require.Empty(w.t, out.Header().Values("Iexcloud-Messages-Used"), "an error costs nothing")
	}
	return out
}

func request(method, target, body string, headers ...string) *http.Request {
	r := httptest.NewRequest(method, target, strings.NewReader(body))
	for i := 0; i+1 < len(headers); i += 2 {
		r.Header.Add(headers[i], headers[i+1])
	}
	return r
}

// get sends a GET with a token in the query.
func (w *fixture) get(path, token string, headers ...string) *httptest.ResponseRecorder {
	return w.send(request("GET", withToken(path, token), "", headers...))
}

func withToken(path, token string) string {
	mark := "?"
	if strings.Contains(path, "?") {
		mark = "&"
	}
	return path + mark + "token=" + token
}

// requireFault requires that a reply is the product's reply to a fault, and that no handler received the request.
func (w *fixture) requireFault(f Fault, out *httptest.ResponseRecorder) {
	w.t.Helper()
	require.Equal(w.t, replies[f].Body, out.Body.String())
	require.Equal(w.t, replies[f].Status, out.Code)
}

func (w *fixture) ok(out *httptest.ResponseRecorder) {
	w.t.Helper()
	require.Equal(w.t, 200, out.Code, out.Body.String())
	require.Equal(w.t, "application/json; charset=utf-8", out.Header().Get("Content-Type"))
}

// signingKey returns the signing secret that account/signed returns.
func (w *fixture) signingKey(token string) string {
	w.t.Helper()
	secret, err := w.acme.SigningSecret(context.Background(), w.ids[token])
	require.NoError(w.t, err)
	return secret.Reveal()
}

// sign returns a request, signed as the product's signers do.
func sign(method, path, query, host, body, token, key string, at time.Time) *http.Request {
	s := signed{method: method, path: path, query: query, host: host, date: at.UTC().Format(dateLayout),
		payload: sha256.Sum256([]byte(body))}
	r := request(method, path+"?"+query, body, "X-Iex-Date", s.date,
		"Authorization", authorization(token, s.date[:8], s.signature([]byte(key))))
	r.Host = host
	return r
}

func authorization(token, stamp, signature string) string {
	return "IEX-HMAC-SHA256 Credential=" + token + "/" + stamp +
		"/iex_request, SignedHeaders=host;x-iex-date, Signature=" +
		signature
}
