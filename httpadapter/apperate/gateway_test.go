package apperate

import (
	"context"
	"errors"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/latchkey-go/latchkey"
	"github.com/latchkey-go/latchkey/httpadapter"
)

func TestPublishableToken(t *testing.T) {
	w := newFixture(t, nil)
	allow := func(method, path string) {
		t.Helper()
		w.ok(w.send(request(method, withToken(path, w.pk), "[]")))
	}
	deny := func(f Fault, method, path string) {
		t.Helper()
		before := w.served.Load()
		w.requireFault(f, w.send(request(method, withToken(path, w.pk), "[]")))
		require.Equal(t, before, w.served.Load())
		if f != BadRequest {
			w.ok(w.send(request(method, withToken(path, w.sk), "[]")))
		}
	}
	allow("GET", "/v1/stock/aapl/quote")
	allow("GET", "/v1/data/core/quote/aapl")
	allow("GET", "/v1/data/ACME/CARS")
	allow("GET", "/v1/data/ACME/CARS,TRUCKS/A1")
	allow("POST", "/v1/record/ACME/TRUCKS")
	allow("POST", "/v1/data/ACME/TRUCKS?overwrite=true")
	allow("DELETE", "/v1/data/ACME/TRUCKS/A1")
	deny(Denied, "GET", "/v1/data/ACME/VANS")
	deny(Denied, "GET", "/v1/data/ACME/CARS,VANS/A1") // a batch is as good as its weakest
	deny(Denied, "GET", "/v1/data/ACME/CARS.VANS?batchSeparator=.")
	deny(Denied, "GET", "/v1/data/OTHER/CARS")
	deny(Denied, "GET", "/v1/data/ACME")
	deny(Denied, "POST", "/v1/record/ACME/CARS") // reads it only
	deny(Denied, "POST", "/v1/record/ACME/CARS?createDatasetOnDemand=true&duplicateKeyHandling=replace")
	deny(Denied, "POST", "/v1/record/ACME/TRUCKS,CARS")
	deny(Denied, "DELETE", "/v1/data/ACME/CARS/A1")
	deny(Denied, "DELETE", "/v1/data/ACME/TRUCKS")
	deny(Denied, "POST", "/v1/record/CORE/QUOTE")
	deny(Denied, "GET", "/v1/nonsense")
	deny(PremiumDenied, "GET", "/v1/time-series/PREMIUM_X/AAPL")
	deny(PremiumDenied, "GET", "/v1/data/CORE/QUOTE,PREMIUM_X/AAPL")
	deny(SecretRequired, "POST", "/v1/datasets/ACME")
	deny(SecretRequired, "GET", "/v1/jobs/ACME/ingest")
	deny(SecretRequired, "GET", "/v1/account/usage")
	deny(BadRequest, "GET", "/v1/data/ACME/_system")
	deny(BadRequest, "GET", "/v1/data/ACME/CARS/..")
	deny(BadRequest, "GET", "/v1/data/ACME/CARS?a=%zz")
}

func TestGrants(t *testing.T) {
	p, err := Grant{}.Permissions()
	require.NoError(t, err)
	require.True(t, p.Allows(latchkey.Read, "core/QUOTE"))
	require.False(t, p.Allows(latchkey.Create, "core/QUOTE"))
	require.False(t, p.Allows(latchkey.Read, "premium/X"))
	require.False(t, p.Allows(latchkey.Read, "dataset/ACME/CARS"))

	p, err = Grant{NoCore: true, Premium: true, Datasets: []DatasetGrant{
		{Workspace: "acme", ID: "cars", Write: true}, {Workspace: "acme", ID: "vans", Delete: true},
		{Workspace: "all", ID: "*", Read: true}, {Workspace: "acme", ID: "none"},
	}}.Permissions()
	require.NoError(t, err)
	for what, want := range map[string]bool{
		"read core/QUOTE": false, "read premium/X": true,
		"create dataset/ACME/CARS": true, "update dataset/ACME/CARS": true, "read dataset/ACME/CARS": false,
		"delete dataset/ACME/CARS": false, "delete dataset/ACME/VANS": true, "update dataset/ACME/VANS": false,
		"read dataset/ALL/X": true, "read dataset/ALL/%2A": true, "read dataset/ALLY/X": false,
		"read dataset/ACME/NONE": false,
	} {
		action, on, _ := strings.Cut(what, " ")
		require.Equal(t, want, p.Allows(latchkey.Action(action), latchkey.Resource(on)), what)
	}
	for _, d := range [][2]string{{"", "X"}, {"A", ""}, {"A/B", "X"}, {"A", "X*"}, {"*", "X"}, {"core", "X"}, {"A", "_system"}} {
		_, err := PublishableSpec("x", Grant{Datasets: []DatasetGrant{{Workspace: d[0], ID: d[1], Read: true}}})
		require.ErrorIs(t, err, latchkey.ErrInvalid, d)
	}
	spec, err := PublishableSpec("page", Grant{})
	require.NoError(t, err)
	require.Equal(t, latchkey.KindPublishable, spec.Kind)
	require.Equal(t, "page", spec.Name)
}

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
		`{"token":"PK","token":"PK"}`: NoKey, // no JSON that one may rely on
		`{"token":"PK"} x`:            NoKey,
		`{"token":""}`:                NoKey,
		`{"token":0}`:                 BadRequest,
		`{"token":null}`:              BadRequest,
		`{"token":["PK"]}`:            BadRequest,
		`{"Token":"PK"}`:              NoKey,
	} {
		w.requireFault(f, w.send(post("/v1/ref-data/isin", body)))
	}
	// Two are one too many, be they equal.
	w.requireFault(BadRequest, w.send(post("/v1/ref-data/isin?token="+w.pk, `{"token":"PK"}`)))
	w.requireFault(BadRequest, w.get("/v1/stock/aapl/quote?token="+w.pk, w.pk))
	w.requireFault(BadRequest, w.get("/v1/stock/aapl/quote?token=", w.pk))
	w.requireFault(BadRequest, w.get("/v1/stock/aapl/quote", w.pk, "Authorization", "Bearer "+w.pk))
	w.requireFault(NoKey, w.send(request("GET", "/v1/stock/aapl/quote", "", "Authorization", "Bearer "+w.pk)))
	w.requireFault(NoKey, w.send(request("GET", "/v1/stock/aapl/quote&token="+w.pk, "")))
	w.requireFault(NoKey, w.send(request("GET", "/v1/stock/aapl/quote?Token="+w.pk, "")))
	w.requireFault(BadRequest, w.send(request("GET", "/v1/stock/aapl/quote?a=1;b=2&token="+w.pk, "")))
	// A column may be called token: what is data names nobody.
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
	for _, target := range []string{"/v1/data/ACME/CARS/A1", "/v1/datasets/ACME/CARS", "/v1//record/ACME/CARS/"} {
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

// Each row takes one more fault away, from the first that is looked for to the last.
func TestPrecedence(t *testing.T) {
	w := newFixture(t, &Options{AddressRate: latchkey.Rate{Count: 1, Per: time.Hour, Burst: 19}})
	spec, err := PublishableSpec("all wrong", Grant{Datasets: []DatasetGrant{{Workspace: "ACME", ID: "CARS", Read: true}}})
	require.NoError(t, err)
	spec.Disabled, spec.Restrictions.Signed, spec.Restrictions.Domains = true, true, []string{"example.com"}
	spec.Limits.Credits, spec.Limits.Rate = 1, latchkey.Rate{Count: 1, Per: 24 * time.Hour}
	pk := w.issue(w.acme, spec)
	key := ""
	disable := func(off bool) {
		require.NoError(t, w.acme.Configure(context.Background(), func(o *latchkey.Owner) error {
			o.Disabled = off
			return nil
		}))
	}
	disable(true)
	path, token, referer := "/v1/time-series/PREMIUM_X", "", ""
	second := 0
	send := func() *http.Request {
		second++
		query := ""
		if token != "" {
			query = "token=" + token
		}
		if key == "" {
			return request("GET", path+"?"+query, "", "Referer", referer)
		}
		r := sign("GET", path, query, "example.com", "", token, key, w.now().Add(time.Duration(second)*time.Second))
		r.Header.Set("Referer", referer)
		return r
	}
	for range 20 { // the address may send no more
		w.send(request("GET", "/v1/stock?token="+w.ak, ""))
	}
	for _, row := range []struct {
		want Fault
		mend func()
	}{
		{RateLimited, func() { w.advance(48 * time.Hour) }},
		{NoKey, func() { token = "Tpk_nonsense" }},
		{TestInProduction, func() { token = "pk_nonsense" }},
		{InvalidKey, func() { token = pk }},
		{Inactive, func() { disable(false) }},
		{DisabledKey, func() { w.update(pk, func(t *latchkey.Token) { t.Disabled = false }) }},
		{SignatureRequired, func() { key = "wrong" }},
		{SignatureInvalid, func() { key = w.signingKey(pk) }},
		{RefererDenied, func() {
			referer = "https://example.com/"
			w.requireFault(PremiumDenied, w.send(send())) // that was the one of the day
		}},
		{RateLimited, func() {
			w.update(pk, func(t *latchkey.Token) { t.Limits.Rate = latchkey.Rate{} })
		}},
		{PremiumDenied, func() { path = "/v1/data/ACME/VANS" }},
		{Denied, func() { path = "/v1/account/usage" }},
		{SecretRequired, func() { path = "/v1/stock/aapl/quote" }},
		{OverLimit, func() { w.update(pk, func(t *latchkey.Token) { t.Limits.Credits = Credit }) }},
	} {
		w.requireFault(row.want, w.send(send()))
		row.mend()
	}
	w.ok(w.send(send()))
}

func TestErrors(t *testing.T) {
	w := newFixture(t, nil)
	w.requireFault(TestInProduction, w.get(carsPath, w.tpk))
	w.requireFault(TestInProduction, w.get(carsPath, "Tsk_00112233445566778899aabbccddeeff"))
	w.requireFault(InvalidKey, w.get(carsPath, "pk_00112233445566778899aabbccddeeff"))
	w.requireFault(InvalidKey, w.get(carsPath, w.pk+"x"))
	w.requireFault(InvalidKey, w.get(carsPath, "nonsense"))
	w.requireFault(InvalidKey, w.get(carsPath, w.ak)) // good elsewhere; the product knows no such kind
	w.requireFault(InvalidKey, w.get(carsPath, strings.Repeat("x", 2000)))
	w.requireFault(InvalidKey, w.get(carsPath, w.issue(w.other, latchkey.Spec{Kind: latchkey.KindSecret})))

	w.update(w.pk, func(t *latchkey.Token) {
		t.Restrictions.Domains = []string{"www.example.com", "https://*.example.org/app"}
	})
	for referer, ok := range map[string]bool{
		"https://www.example.com/x": true, "http://a.example.org/app/1": false, "https://a.example.org/app/1": true,
		"": false, "https://www.example.com.evil.com/": false, "https://www.example.com@evil.com/": false,
		"https://evil.com/?https://www.example.com/": false, "null": false, "https://example.com/": false,
	} {
		headers := []string{"Origin", "https://evil.com"} // which the product never looked at
		if referer != "" {
			headers = append(headers, "Referer", referer)
		}
		out := w.get(carsPath, w.pk, headers...)
		if ok {
			w.ok(out)
		} else {
			w.requireFault(RefererDenied, out)
		}
	}
	w.ok(w.get(carsPath, w.sk)) // the list is the publishable token's

	w.update(w.sk, func(t *latchkey.Token) { t.Limits.Rate = latchkey.Rate{Count: 1, Per: time.Minute} })
	w.ok(w.get(carsPath, w.sk))
	out := w.get(carsPath, w.sk)
	w.requireFault(RateLimited, out)
	require.Equal(t, "60", out.Header().Get("Retry-After"))

	w.store.down = latchkey.ErrUnavailable
	w.requireFault(Unavailable, w.get(carsPath, w.issue(w.acme, latchkey.Spec{Kind: latchkey.KindSecret})))
	for _, err := range w.errs {
		for text := range w.ids {
			require.NotContains(t, err.Error(), text)
		}
	}
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

// Whoever may reach some rows only is refused, unless the handlers say that they ask for the rows.
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

func TestRepliesCanBeReplaced(t *testing.T) {
	w := newFixture(t, &Options{Replies: map[Fault]Reply{PremiumDenied: {451, "Enterprise Permission Required"}}})
	out := w.get("/v1/time-series/PREMIUM_X", w.pk)
	require.Equal(t, 451, out.Code)
	require.Equal(t, "Enterprise Permission Required", out.Body.String())
	w.requireFault(Denied, w.get("/v1/data/ACME/VANS", w.pk))
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

func TestHandlersErrors(t *testing.T) {
	for _, c := range []struct {
		err  error
		want Fault
	}{
		{ErrUnknownSymbol, UnknownSymbol}, {latchkey.ErrNotFound, NotFound}, {latchkey.ErrConflict, BadRequest},
		{latchkey.ErrInvalid, BadRequest}, {&latchkey.DeniedError{}, Denied}, {latchkey.ErrUnavailable, Unavailable},
		{errors.Join(latchkey.ErrNotFound, latchkey.ErrUnavailable), Unavailable}, {latchkey.ErrUnknownOutcome, Unavailable},
		{fault(Denied, latchkey.ErrUnavailable), Unavailable}, {httpadapter.ErrTooLarge, TooLarge},
		{latchkey.ErrOverLimit, OverLimit}, {errors.New("<script>secret</script>"), Internal}, {nil, Internal},
	} {
		w := newFixture(t, nil)
		w.answer = func(rw http.ResponseWriter, r *http.Request, _ *Call) { WriteError(rw, r, c.err) }
		w.requireFault(c.want, w.get("/v1/stock/aapl/quote", w.pk))
	}
	require.Equal(t, 404, httpadapter.ProblemOf(ErrUnknownSymbol).Status, "a host's log takes it for no trouble")
}

// Every route of the table, with every token that must not pass it.
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
	walk("GET", "account/metadata", "account/usage", "account/usage/messages", "account/usage/credits", "account/usage/rules")
	walk("POST", "account/signed", "account/messagebudget")
	require.Greater(t, routes, 100)
	require.Zero(t, w.served.Load(), "a handler saw a request that was refused")
}

// A rule of the host's that does not fit its schema is trouble of the host's, and no word about it is told.
func TestRuleOfTheHostsIsTrouble(t *testing.T) {
	err := &latchkey.ConditionError{Field: "regoin", Unknown: true, OfRule: true, Reason: "the schema has no such field"}
	out := httptest.NewRecorder()
	WriteError(out, httptest.NewRequest("GET", "/", nil), err)
	require.Equal(t, 500, out.Code)
	require.NotContains(t, out.Body.String(), "regoin")
}
