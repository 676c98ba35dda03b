package apperate

import (
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/latchkey-go/latchkey"
)

func TestWhereTheTokenIs(t *testing.T) {
	w := newFixture(t, nil)
	post := func(path, body string, headers ...string) *http.Request {
		return request("POST", path, strings.ReplaceAll(body, "PK", w.pk), headers...)
	}
	w.ok(w.send(post("/v1/ref-data/isin", `{"token":"PK","isin":["US0378331005"]}`, "Content-Type", "application/json")))
	w.ok(w.send(post("/v1/ref-data/isin", `{"token":"PK"}`, "Content-Type", "undefined")))
	w.ok(w.send(request("GET", "/v1/stock/aapl/quote?&token="+w.pk, "", "Content-Type", "undefined")))
	for body, f := range map[string]Fault{
		"":                            NoKey,
		"[object Object]":             NoKey,
		`["PK"]`:                      NoKey,
		`{"a":{"token":"PK"}}`:        NoKey,
		`{"token":"PK","token":"PK"}`: NoKey, // not JSON with exactly one meaning
		`{"token":"PK"} x`:            NoKey,
		`{"token":""}`:                NoKey,
		`{"token":0}`:                 BadRequest,
		`{"token":null}`:              BadRequest,
		`{"token":["PK"]}`:            BadRequest,
		`{"Token":"PK"}`:              NoKey,
	} {
		w.requireFault(f, w.send(post("/v1/ref-data/isin", body)))
	}
	// So much of a body is searched, before anybody knows who sends it. None is if the query has a token.
	given := post("/v1/ref-data/isin?token="+w.pk, strings.Repeat(" ", maxTokenBody+1))
	given.ContentLength = -1
	w.ok(w.send(given))
	for n, found := range map[int]bool{maxTokenBody: true, maxTokenBody + 1: false} {
		head := `{"token":"` + w.pk + `","isin":"`
		whole := post("/v1/ref-data/isin", head+strings.Repeat("x", n-len(head)-2)+`"}`)
		chunked := whole.Clone(t.Context())
		chunked.Body, chunked.ContentLength = post("/", head+strings.Repeat("x", n-len(head)-2)+`"}`).Body, -1
		if found {
			w.ok(w.send(whole))
			w.ok(w.send(chunked))
		} else {
			w.requireFault(NoKey, w.send(whole))
			w.requireFault(TooLarge, w.send(chunked))
		}
	}
	// Two tokens are refused, even if equal.
	w.requireFault(BadRequest, w.send(post("/v1/ref-data/isin?token="+w.pk, `{"token":"PK"}`)))
	w.requireFault(BadRequest, w.get("/v1/stock/aapl/quote?token="+w.pk, w.pk))
	w.requireFault(BadRequest, w.get("/v1/stock/aapl/quote?token=", w.pk))
	w.requireFault(BadRequest, w.get("/v1/stock/aapl/quote", w.pk, "Authorization", "Bearer "+w.pk))
	w.requireFault(NoKey, w.send(request("GET", "/v1/stock/aapl/quote", "", "Authorization", "Bearer "+w.pk)))
	w.requireFault(NoKey, w.send(request("GET", "/v1/stock/aapl/quote&token="+w.pk, "")))
	w.requireFault(NoKey, w.send(request("GET", "/v1/stock/aapl/quote?Token="+w.pk, "")))
	w.requireFault(BadRequest, w.send(request("GET", "/v1/stock/aapl/quote?a=1;b=2&token="+w.pk, "")))
	// A column may be named token: a member of data is not a credential.
	w.ok(w.send(post("/v1/record/ACME/TRUCKS?token="+w.pk, `{"token":"x"}`)))
	w.requireFault(NoKey, w.send(post("/v1/record/ACME/TRUCKS", `{"token":"PK"}`)))

	out := w.send(post("/v1/record/ACME/TRUCKS?token="+w.pk, `[object Object]`))
	w.ok(out)
	require.Contains(t, out.Body.String(), "[object Object]")
	w.requireFault(TooLarge, w.send(post("/v1/record/ACME/TRUCKS?token="+w.pk, strings.Repeat("x", DefaultMaxBody+1))))
	w.requireFault(BadRequest, w.send(post("/v1/record/ACME/TRUCKS?token="+w.pk, "x", "Content-Encoding", "gzip")))
}

func TestPreflightAndStatusNeedNoToken(t *testing.T) {
	w := newFixture(t, nil)
	out := w.send(request("OPTIONS", "/v1/stock/aapl/quote", ""))
	require.Equal(t, 200, out.Code)
	require.Equal(t, "GET, OPTIONS", out.Header().Get("Access-Control-Allow-Methods"))
	for _, target := range []string{"/v1/data/ACME/CARS/A1", "/v1/data", "/v1/datasets/ACME/CARS",
		"/v1//record/ACME/CARS/"} {
		out := w.send(request("OPTIONS", target, ""))
		require.Equal(t, 200, out.Code)
		require.Equal(t, "*", out.Header().Get("Access-Control-Allow-Origin"))
		allowed := strings.Split(out.Header().Get("Access-Control-Allow-Methods"), ", ")
		require.Subset(t, allowed, []string{"GET", "POST", "PUT", "PATCH", "DELETE"}, "a page may be granted deleting")
		require.Contains(t, out.Header().Get("Access-Control-Allow-Headers"), "Content-Type", "the product's client sends it")
		require.Contains(t, out.Header().Get("Access-Control-Expose-Headers"), "Iexcloud-Credits-Used")
	}
	for _, target := range []string{"/v1/status", "/v1/status/?token=nonsense"} {
		out := w.send(request("GET", target, ""))
		w.ok(out)
		require.JSONEq(t, `{"status":"up","version":"1.0","time":1795338000000}`, out.Body.String())
	}
	require.Zero(t, w.served.Load())
}

func TestSandbox(t *testing.T) {
	w := newFixture(t, &Options{Test: true})
	out := w.get("/v1/stock/aapl/quote", w.tpk)
	w.ok(out)
	require.Equal(t, "0", out.Header().Get("Iexcloud-Credits-Used"), "the sandbox is free")
	w.ok(w.get("/v1/account/usage", w.tsk))
	w.requireFault(ProductionInTest, w.get(carsPath, w.pk))
	w.requireFault(ProductionInTest, w.get(carsPath, "sk_nonsense"))
	w.requireFault(InvalidKey, w.get(carsPath, "Tpk_nonsense"))
	w.requireFault(Denied, w.get("/v1/data/ACME/VANS", w.tpk))
}

func TestAddressLimit(t *testing.T) {
	w := newFixture(t, &Options{AddressRate: latchkey.Rate{Count: 10, Per: time.Second, Burst: 1}})
	from := func(addr string, f Fault) {
		t.Helper()
		r := request("GET", withToken(carsPath, w.pk), "", "X-Forwarded-For", "203.0.113.9")
		r.RemoteAddr = addr
		if out := w.send(r); f != "" {
			w.requireFault(f, out)
			require.Equal(t, "1", out.Header().Get("Retry-After"))
		} else {
			w.ok(out)
		}
	}
	from("192.0.2.1:1", "")
	from("192.0.2.1:2", "")
	from("192.0.2.1:3", RateLimited)
	from("192.0.2.2:1", "")
	from("[2001:db8::1]:1", "")
	from("[2001:db8::2]:1", "")
	from("[2001:db8::3]:1", RateLimited) // one customer's network
	from("[2001:db8:0:1::1]:1", "")
	w.advance(100 * time.Millisecond)
	from("192.0.2.1:1", "")
	from("192.0.2.1:1", RateLimited)
}

// Without an AddressRate an address may send what the product allowed, which is less in a sandbox.
func TestDefaultAddressRates(t *testing.T) {
	for rate, opts := range map[latchkey.Rate]*Options{DefaultAddressRate: {}, DefaultSandboxRate: {Test: true}} {
		w := newFixture(t, nil)
		opts.Clock = w.now
		w.serve = Handler(w.acme, opts, http.NotFoundHandler())
		for range 1 + rate.Burst {
			w.requireFault(NoKey, w.get(quote, ""))
		}
		w.requireFault(RateLimited, w.get(quote, ""))
	}
}

// A caller that may access only some rows is refused, unless the handlers apply the condition.
func TestRows(t *testing.T) {
	for _, rows := range []bool{false, true} {
		w := newFixture(t, &Options{Rows: rows})
		w.update(w.pk, func(t *latchkey.Token) {
			t.Permissions = latchkey.Permissions{latchkey.Allow(latchkey.Read).On("dataset/ACME/CARS").
				Where(latchkey.Where("colour", latchkey.Eq, "red"))}
		})
		if out := w.get(carsPath, w.pk); rows {
			w.ok(out)
		} else {
			w.requireFault(Denied, out)
		}
		w.requireFault(Denied, w.get("/v1/data/ACME/CARS,TRUCKS", w.pk))
	}
}

func TestManyTenants(t *testing.T) {
	var w *fixture
	w = newFixture(t, &Options{Account: func(r *http.Request) (latchkey.Account, error) {
		switch name, _, _ := strings.Cut(r.Host, "."); name {
		case "acme":
			return w.acme, nil
		case "other":
			return w.other, nil
		case "zero":
			return latchkey.Account{}, nil
		}
		return latchkey.Account{}, latchkey.ErrNotFound
	}})
	otherSK := w.issue(w.other, latchkey.Spec{Kind: latchkey.KindSecret})
	to := func(host, token string) *http.Request {
		r := request("GET", withToken(carsPath, token), "")
		r.Host = host
		return r
	}
	w.ok(w.send(to("acme.example", w.sk)))
	w.ok(w.send(to("other.example", otherSK)))
	w.requireFault(InvalidKey, w.send(to("acme.example", otherSK)))
	w.requireFault(InvalidKey, w.send(to("other.example", w.sk)))
	w.requireFault(NotFound, w.send(to("nobody.example", w.sk)))
	w.requireFault(Internal, w.send(to("zero.example", w.sk)))
}

// Every route of the table, called with every token that must not pass it.
func TestEveryRouteWithWrongTokens(t *testing.T) {
	w := newFixture(t, nil)
	expired := w.publishable(func(s *latchkey.Spec) { s.Validity.NotAfter = w.now().Add(time.Second) })
	revoked := w.publishable(nil)
	require.NoError(t, w.acme.Revoke(t.Context(), w.ids[revoked], ""))
	disabled := w.publishable(func(s *latchkey.Spec) { s.Disabled = true })
	none, err := PublishableSpec("none", Grant{NoCore: true})
	require.NoError(t, err)
	weak := w.issue(w.acme, none)
	foreign := w.issue(w.other, latchkey.Spec{Kind: latchkey.KindSecret})
	w.advance(time.Second)

	routes := 0
	walk := func(method string, path ...string) {
		for _, p := range path {
			routes++
			for name, c := range map[string]struct {
				token string
				want  []Fault
			}{
				"missing":     {"", []Fault{NoKey}},
				"malformed":   {"pk_%3Cscript%3E", []Fault{InvalidKey}},
				"expired":     {expired, []Fault{InvalidKey}},
				"revoked":     {revoked, []Fault{InvalidKey}},
				"other owner": {foreign, []Fault{InvalidKey}},
				"wrong kind":  {w.ak, []Fault{InvalidKey}},
				"disabled":    {disabled, []Fault{DisabledKey}},
				"test":        {w.tsk, []Fault{TestInProduction}},
				"unsigned":    {w.signedPK, []Fault{SignatureRequired}},
				"too weak":    {weak, []Fault{Denied, SecretRequired, PremiumDenied}},
			} {
				out := w.send(request(method, withToken("/v1/"+p, c.token), "[]"))
				var bodies []string
				for _, f := range c.want {
					bodies = append(bodies, replies[f].Body)
				}
				if method != "HEAD" {
					require.Contains(t, bodies, out.Body.String(), "%s %s %s", name, method, p)
				}
				require.GreaterOrEqual(t, out.Code, 401, "%s %s %s", name, method, p)
			}
		}
	}
	for _, name := range append(coreRoutes, "files", "time-series") {
		walk("GET", name, name+"/a", name+"/a/b/c")
		walk("HEAD", name+"/a")
	}
	walk("POST", "ref-data/isin")
	walk("GET", "data", "data/ACME", "data/ACME/CARS", "data/ACME/CARS/A/B/C", "data/CORE/QUOTE", "data/CORE/PREMIUM_X",
		"query/ACME/CARS", "meta", "meta/ACME", "meta/ACME/CARS", "datasets/ACME", "datasets/ACME/CARS", "nonsense", "")
	walk("POST", "record/ACME/CARS", "write/ACME/CARS", "data/ACME/CARS", "datasets/ACME", "datasets/ACME/CARS")
	walk("PUT", "datasets/ACME/CARS", "datasets/ACME/CARS/VANS")
	walk("PATCH", "datasets/ACME/CARS", "datasets/ACME/CARS/A1")
	walk("DELETE", "data/ACME/CARS", "data/ACME/CARS/A1", "datasets/ACME/CARS", "datasets/ACME/CARS/A1")
	for _, name := range ownerRoutes {
		walk("GET", name, name+"/ACME")
		walk("POST", name+"/ACME")
	}
	walk("GET", "account/metadata", "account/usage", "account/usage/messages", "account/usage/credits",
		"account/usage/rules")
	walk("POST", "account/signed", "account/messagebudget")
	require.Greater(t, routes, 100)
	require.Zero(t, w.served.Load(), "a handler saw a request that was refused")
}

// A rule of the host's that does not fit its schema is an internal error, and is not described to the caller.
func TestRuleOfTheHostsIsTrouble(t *testing.T) {
	err := &latchkey.ConditionError{Field: "regoin", Unknown: true, OfRule: true, Reason: "the schema has no such field"}
	out := httptest.NewRecorder()
	WriteError(out, httptest.NewRequest("GET", "/", nil), err)
	require.Equal(t, 500, out.Code)
	require.NotContains(t, out.Body.String(), "regoin")
}

func TestMount(t *testing.T) {
	w := newFixture(t, nil)
	mux := http.NewServeMux()
	Mount(mux, w.acme, nil, http.HandlerFunc(func(rw http.ResponseWriter, _ *http.Request) { WriteJSON(rw, 1) }))
	for _, v := range []string{"v1", "stable", "beta", "latest"} {
		out := httptest.NewRecorder()
		mux.ServeHTTP(out, request("GET", withToken("/"+v+"/data/ACME/CARS", w.pk), ""))
		require.Equal(t, 200, out.Code)
		require.True(t, Serves("/"+v+"/x"))
		require.True(t, Serves("//"+v+"//x"))
	}
	for _, path := range []string{"", "v1/x", "/v2/x", "/v1x", "/io/v1"} {
		require.False(t, Serves(path), path)
	}
	w.requireFault(NotFound, w.get("/v2/data/ACME/CARS", w.pk))
}

func TestOptionsThatCannotWork(t *testing.T) {
	w := newFixture(t, nil)
	h := http.NotFoundHandler()
	require.Panics(t, func() { Handler(w.acme, nil, nil) })
	require.Panics(t, func() { Handler(latchkey.Account{}, nil, h) })
	require.Panics(t, func() { Handler(w.acme, &Options{MaxBody: -1}, h) })
	require.Panics(t, func() { Handler(w.acme, &Options{Replies: map[Fault]Reply{"nonsense": {403, "x"}}}, h) })
	for status, fine := range map[int]bool{200: false, 399: false, 400: true, 599: true, 600: false} {
		build := func() { Handler(w.acme, &Options{Replies: map[Fault]Reply{Denied: {status, "x"}}}, h) }
		if fine {
			require.NotPanics(t, build, status)
		} else {
			require.Panics(t, build, status)
		}
	}
}
