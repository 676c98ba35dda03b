package surfacetest

import (
	"context"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/latchkey-go/latchkey"
	"github.com/latchkey-go/latchkey/httpadapter"
	"github.com/latchkey-go/latchkey/httpadapter/apperate"
	"github.com/latchkey-go/latchkey/httpadapter/authzen"
	"github.com/latchkey-go/latchkey/httpadapter/cloudtables"
	"github.com/latchkey-go/latchkey/httpadapter/console"
	"github.com/latchkey-go/latchkey/httpadapter/datocms"
	"github.com/latchkey-go/latchkey/httpadapter/forward"
	"github.com/latchkey-go/latchkey/httpadapter/oauth"
	"github.com/latchkey-go/latchkey/httpadapter/webforce"
	"github.com/latchkey-go/latchkey/memstore"
)

// watched is a manager whose refusals are recorded, and what OnError was given for each.
type watched struct {
	t    *testing.T
	keys *latchkey.Manager
	acme latchkey.Account
	all  []latchkey.Refusal
	told []latchkey.Refusal
	ids  []string // the token that OnError finds by AccessFrom
}

func newWatched(t *testing.T) *watched {
	w := &watched{t: t}
	w.keys = latchkey.New(memstore.New(nil), &latchkey.Options{Observer: latchkey.Observer{
		Refused: func(_ context.Context, r latchkey.Refusal) { w.all = append(w.all, r) }}})
	w.acme = w.keys.For("acme")
	return w
}

func (w *watched) onError(r *http.Request, _ error) {
	refusal, _ := httpadapter.RefusalFrom(r.Context())
	access, _ := httpadapter.AccessFrom(r.Context())
	w.told, w.ids = append(w.told, refusal), append(w.ids, access.TokenID())
}

func (w *watched) issue(kind latchkey.Kind, s latchkey.Settings) (id, text string) {
	w.t.Helper()
	t, secret, err := w.acme.Issue(w.t.Context(), s.Spec(kind))
	require.NoError(w.t, err)
	return t.ID, secret.Reveal()
}

// refused sends a request that must be refused. The refusal is reported to the host once, and not to the caller.
func (w *watched) refused(h http.Handler, r *http.Request, id, reason string) latchkey.Refusal {
	w.t.Helper()
	w.all, w.told, w.ids = nil, nil, nil
	out := httptest.NewRecorder()
	h.ServeHTTP(out, r)
	require.Len(w.t, w.all, 1, out.Body.String())
	require.Equal(w.t, id, w.all[0].TokenID)
	require.Equal(w.t, "acme", w.all[0].Owner)
	require.Equal(w.t, reason, w.all[0].Reason)
	if len(w.told) > 0 {
		require.Equal(w.t, w.all, w.told, "OnError finds the same")
	}
	said := out.Body.String() + strings.Join(out.Header()["Www-Authenticate"], "")
	if id != "" {
		require.NotContains(w.t, said, id)
	}
	if !strings.Contains(said, "<html") { // the console shows the owner to its signed-in user
		require.NotContains(w.t, said, "acme")
	}
	return w.all[0]
}

func (w *watched) get(target, bearerToken string) *http.Request {
	r := httptest.NewRequest("GET", target, nil)
	if bearerToken != "" {
		bearer(r, bearerToken)
	}
	return r
}

func (w *watched) form(target string, pairs string) *http.Request {
	r := httptest.NewRequest("POST", target, nil)
	setBody(r, "application/x-www-form-urlencoded", pairs)
	r.Header.Set("Sec-Fetch-Site", "same-origin")
	return r
}

func TestWhoWasRefused(t *testing.T) {
	w := newWatched(t)
	id, text := w.issue(latchkey.KindAPIKey, latchkey.Settings{})
	a := httpadapter.New(w.keys, &httpadapter.Options{OnError: w.onError})
	r := w.refused(a.Require(latchkey.Read, "invoices")(ok), w.get("/", text), id, "denied")
	require.Equal(t, latchkey.Read, r.Action)
	require.Equal(t, latchkey.Resource("invoices"), r.Resource)
	require.Equal(t, netip.MustParseAddr("192.0.2.1"), r.Address)
	require.Equal(t, []string{id}, w.ids)
	w.refused(a.RequireRows(latchkey.Read, "invoices")(ok), w.get("/", text), id, "denied")
	require.Equal(t, []string{id}, w.ids)
	w.refused(a.Authenticate(a.Require(latchkey.Read, "invoices")(ok)), w.get("/", text), id, "denied")
	own := a.Authenticate(http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
		access, _ := httpadapter.AccessFrom(r.Context())
		a.WriteError(rw, r, access.Check(latchkey.Delete, "invoices"))
	}))
	w.refused(own, w.get("/", text), id, "denied")
	twice := a.Authenticate(http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
		access, _ := httpadapter.AccessFrom(r.Context())
		err := access.Check(latchkey.Delete, "invoices")
		access.Refused(r.Context(), err)
		a.WriteError(rw, r, err)
	}))
	w.refused(twice, w.get("/", text), id, "denied")

	other := httpadapter.New(w.keys, &httpadapter.Options{Owner: "other", OnError: w.onError})
	w.refused(other.Authenticate(ok), w.get("/", text), id, "foreign_owner")
	require.Equal(t, []string{""}, w.ids, "a token that is refused gives no access")
	w.refused(a.Authenticate(other.Require(latchkey.Read, "x")(ok)), w.get("/", text), id, "unaccepted")

	limitedID, limited := w.issue(latchkey.KindAPIKey, latchkey.Settings{Limits: latchkey.Limits{
		Rate: latchkey.Rate{Count: 1, Per: time.Hour}, Quotas: monthly(5)}})
	charge := a.Authenticate(http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
		access, _ := httpadapter.AccessFrom(r.Context())
		_, err := access.Spend(r.Context(), "m", "GET /", 6)
		a.WriteError(rw, r, err)
	}))
	w.refused(charge, w.get("/", limited), limitedID, "over_limit")
	w.refused(charge, w.get("/", limited), limitedID, "rate_limited")

	require.NoError(t, w.acme.Revoke(t.Context(), id, ""))
	w.refused(a.Authenticate(ok), w.get("/", text), id, "revoked")
	require.Equal(t, []string{""}, w.ids)

	// Requests without a token, failures and invalid requests of a known caller are no refusals of a token.
	w.all = nil
	for _, r := range []*http.Request{w.get("/", ""), w.get("/", "nonsense")} {
		a.Authenticate(ok).ServeHTTP(httptest.NewRecorder(), r)
	}
	bad := a.Authenticate(http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
		a.WriteError(rw, r, latchkey.ErrNotFound)
		a.WriteError(rw, r, nil)
	}))
	_, good := w.issue(latchkey.KindSecret, latchkey.Settings{})
	bad.ServeHTTP(httptest.NewRecorder(), w.get("/", good))
	require.Empty(t, w.all)
	_, found := httpadapter.RefusalFrom(t.Context())
	require.False(t, found)
}

func monthly(n latchkey.Credits) []latchkey.Quota {
	return []latchkey.Quota{{Amount: n, Per: latchkey.Month}}
}

func TestDocumentedSurfacesTellWhoWasRefused(t *testing.T) {
	w := newWatched(t)
	keyID, key := w.issue(latchkey.KindAPIKey, latchkey.Settings{})
	pageID, page := w.issue(latchkey.KindPublishable, latchkey.Settings{Limits: latchkey.Limits{Quotas: monthly(1)},
		Permissions: latchkey.Permissions{latchkey.Allow(latchkey.Read).On("core/*")}})
	endedID, ended := w.issue(latchkey.KindSecret, latchkey.Settings{})
	require.NoError(t, w.acme.Revoke(t.Context(), endedID, ""))

	iex := apperate.Handler(w.acme, &apperate.Options{OnError: w.onError}, http.HandlerFunc(
		func(rw http.ResponseWriter, r *http.Request) { apperate.WriteError(rw, r, latchkey.ErrDenied) }))
	w.refused(iex, w.get("/v1/data/ACME/CARS?token="+page, ""), pageID, "denied")
	require.Equal(t, []string{pageID}, w.ids)
	w.refused(iex, w.get("/v1/data/CORE/PREMIUM_X?token="+page, ""), pageID, "denied")
	w.refused(iex, w.get("/v1/account/usage?token="+page, ""), pageID, "denied")
	w.refused(iex, w.get("/v1/stock/aapl/quote?token="+page, ""), pageID, "over_limit")
	w.refused(iex, w.get("/v1/stock/aapl/quote?token="+key, ""), keyID, "unaccepted")
	w.refused(iex, w.get("/v1/stock/aapl/quote?token="+ended, ""), endedID, "revoked")
	signed := w.get("/v1/stock/aapl/quote?token="+page, "")
	signed.Header.Set("Authorization", "IEX-HMAC-SHA256 nonsense")
	w.refused(iex, signed, pageID, "signature")
	w.refused(apperate.Handler(w.acme, &apperate.Options{OnError: w.onError, Test: true}, ok),
		w.form("/v1/stock/aapl/quote?token="+key, ""), keyID, "test_mode")
	secretID, secret := w.issue(latchkey.KindSecret, latchkey.Settings{})
	w.refused(iex, w.get("/v1/data/ACME/CARS?token="+secret, ""), secretID, "denied") // by the handler behind it

	tables := cloudtables.Handler(w.acme, &cloudtables.Options{OnError: w.onError})
	w.refused(tables, w.form("/api/1/access", "key="+page), pageID, "denied")
	w.refused(tables, w.form("/api/1/access", "key="+ended), endedID, "revoked")
	signedID, signedKey := w.issue(latchkey.KindAPIKey, latchkey.Settings{Restrictions: latchkey.Restrictions{
		MintFrom: []netip.Prefix{netip.MustParsePrefix("203.0.113.0/24")}}})
	w.refused(tables, w.form("/api/1/access", "key="+signedKey), signedID, "address")
	authorize := cloudtables.Authorize(w.acme, nil)
	w.refused(http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
		_, err := authorize(r)
		cloudtables.WriteError(rw, r, err)
	}), w.get("/api/1/dataset?token="+key, ""), keyID, "denied") // a key in the place of a token

	cma := datocms.Handler(w.acme, &datocms.Options{OnError: w.onError, Rate: latchkey.Rate{Count: 1, Per: time.Hour}})
	r := w.refused(cma, w.get("/roles", key), keyID, "denied")
	require.Equal(t, latchkey.Use, r.Action)
	w.refused(cma, w.get("/roles", key), keyID, "rate_limited")
	w.refused(cma, w.get("/roles", ended), endedID, "revoked")
	cda := datocms.Delivery(w.acme, &datocms.Options{OnError: w.onError})(ok)
	require.Equal(t, latchkey.Use, w.refused(cda, w.get("/", key), keyID, "denied").Action)

	wf := webforce.Handler(w.acme, &webforce.Options{OnError: w.onError, Commands: map[string]webforce.Command{
		"db.get": {Run: func(*http.Request, webforce.Call) (any, error) { return nil, nil }}}})
	w.refused(wf, w.form("/api", "cmd=access.get_all&auth_token="+key), keyID, "denied")
	w.refused(wf, w.form("/api", "cmd=db.get&db_id=7&auth_token="+key), keyID, "denied")
	w.refused(wf, w.form("/api", "cmd=db.get&db_id=7&auth_token="+ended), endedID, "revoked")

	read := latchkey.Permissions{latchkey.Grant(latchkey.Read).On("data/*")}
	tokens := oauth.Handler(w.keys, &oauth.Options{OnError: w.onError, Issuer: "https://api.example.com",
		Scopes: map[string]latchkey.Permissions{"read": read}})
	client := func(id, text string) string {
		return "grant_type=client_credentials&client_id=" + id + "&client_secret=" + text
	}
	w.refused(tokens, w.form("/oauth/token", client(endedID, ended)), endedID, "revoked")
	publicID, public := w.issue(latchkey.KindPublishable, latchkey.Settings{Permissions: read})
	w.refused(tokens, w.form("/oauth/token", client(publicID, public)), publicID, "denied")
}

// Those who ask about others are told of as callers. A decision about somebody is no refusal.
func TestAuthZENTellsWhoWasRefused(t *testing.T) {
	w := newWatched(t)
	id, key := w.issue(latchkey.KindAPIKey, latchkey.Settings{Permissions: latchkey.Permissions{
		latchkey.Allow(latchkey.Read).On("latchkey/token/*")}})
	h := asking(authzen.Handler(httpadapter.New(w.keys, &httpadapter.Options{OnError: w.onError}),
		&authzen.Options{URL: "https://pdp.example.com"}))
	out := httptest.NewRecorder()
	h.ServeHTTP(out, w.get("/access/v1/evaluation", key))
	require.Equal(t, http.StatusOK, out.Code)
	require.Empty(t, w.all)
	require.NoError(t, w.acme.Revoke(t.Context(), id, ""))
	w.refused(h, w.get("/access/v1/evaluation", key), id, "revoked")
}

// Of a proxy's question, too, whether or not the proxy understands the status.
func TestForwardTellsWhoWasRefused(t *testing.T) {
	w := newWatched(t)
	id, key := w.issue(latchkey.KindAPIKey, latchkey.Settings{Limits: latchkey.Limits{Quotas: monthly(1)},
		Permissions: latchkey.Permissions{latchkey.Allow(latchkey.Read).On("data/cost"), latchkey.Allow(latchkey.Read).
			On("data/some").Where(latchkey.Where("region", latchkey.Eq, "EU"))}})
	for from, set := range map[forward.Source][3]string{
		forward.Nginx:     {"X-Original-Method", "X-Original-Uri", "X-Original-Host"},
		forward.Forwarded: {"X-Forwarded-Method", "X-Forwarded-Uri", "X-Forwarded-Host"},
		forward.Envoy:     {},
	} {
		h := question(forward.New(httpadapter.New(w.keys, &httpadapter.Options{OnError: w.onError,
			Proxies: []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8")}}), []forward.Route{
			{Pattern: "GET /data/{id}", Action: latchkey.Read, Resource: "data/{id}"},
			{Pattern: "GET /cost", Action: latchkey.Read, Resource: "data/cost", Meter: "m", Credits: 2},
		}, &forward.Options{From: from}))
		ask := func(target string) *http.Request {
			r := w.get(target, key)
			for i, value := range []string{"GET", target, "example.com"} {
				if set[i] != "" {
					r.Header.Set(set[i], value)
				}
			}
			return r
		}
		require.Equal(t, latchkey.Resource("data/x"), w.refused(h, ask("/data/x"), id, "denied").Resource)
		require.Len(t, w.told, 1)
		w.refused(h, ask("/data/some"), id, "denied")
		w.refused(h, ask("/cost"), id, "over_limit")
		w.all, w.told = nil, nil
		h.ServeHTTP(httptest.NewRecorder(), ask("/other"))
		require.Empty(t, w.all, "no route: the key was not looked at")
		require.Len(t, w.told, 1)
	}
}

func TestConsoleTellsWhoWasRefused(t *testing.T) {
	w := newWatched(t)
	id, text := w.issue(latchkey.KindAPIKey, latchkey.Settings{})
	access, err := w.keys.Verify(t.Context(), latchkey.Presented{Secret: text})
	require.NoError(t, err)
	person := must(w.acme.Assume(latchkey.Client{ID: "7"}, nil))
	who := person
	page := console.Handler(func(*http.Request) (latchkey.Account, latchkey.Access, error) { return w.acme, who, nil },
		&console.Options{OnError: w.onError})
	r := w.refused(page, w.get("/usage", ""), "", "denied")
	require.Equal(t, latchkey.Client{ID: "7"}, r.Client)
	who = access
	w.refused(page, w.get("/usage", ""), id, "denied")
	require.NoError(t, w.acme.Revoke(t.Context(), id, ""))
	w.refused(page, w.get("/", ""), id, "revoked")
}

// must returns v. It panics if there is an error.
func must[T any](v T, err error) T {
	if err != nil {
		panic(err)
	}
	return v
}
