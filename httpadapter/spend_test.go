package httpadapter_test

import (
	"encoding/json"
	"math"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/latchkey-go/latchkey"
	"github.com/latchkey-go/latchkey/httpadapter"
)

func (w *fixture) quotas(q ...latchkey.Quota) (id, text string) {
	return w.issue(w.acme, latchkey.KindAPIKey, latchkey.Settings{Limits: latchkey.Limits{Quotas: q},
		Permissions: latchkey.Permissions{latchkey.Allow(latchkey.Read).On("order/*")}})
}

// request makes one request with a token, and returns the reply.
func request(h http.Handler, method, path, token string) *httptest.ResponseRecorder {
	r := httptest.NewRequest(method, path, nil)
	r.Header.Set("Authorization", "Bearer "+token)
	out := httptest.NewRecorder()
	h.ServeHTTP(out, r)
	return out
}

var served = http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusNoContent) })

// 22 November 2026 is a Sunday; it is nine in the morning.
func TestSpend(t *testing.T) {
	const credit = latchkey.Credit
	for _, c := range []struct {
		what               string
		quotas             []latchkey.Quota
		price              latchkey.Credits
		replies            []int
		policy, state      string // of the last reply
		retry, problemType string
	}{
		{"no quota holds", []latchkey.Quota{{Meter: "mail", Per: latchkey.Day}}, credit, []int{204, 204}, "", "", "", ""},
		{"a day", []latchkey.Quota{{Meter: "api", Amount: 5 * credit, Per: latchkey.Day}}, 2 * credit, []int{204},
			`"api-day";q=2;w=86400`, `"api-day";r=1;t=54000`, "", ""},
		{"a day, used up", []latchkey.Quota{{Meter: "api", Amount: 5 * credit, Per: latchkey.Day}}, 2 * credit,
			[]int{204, 204, 429}, `"api-day";q=2;w=86400`, `"api-day";r=0;t=54000`, "54000", "over-limit"},
		{"a minute and a month", []latchkey.Quota{{Amount: 100, Per: latchkey.Month}, {Amount: 2, Per: latchkey.Minute}}, 1,
			[]int{204, 204, 429}, `"api-minute";q=2;w=60, "api-month";q=100;w=2592000`, `"api-minute";r=0;t=60`, "60",
			"over-limit"},
		{"anchors", []latchkey.Quota{{Amount: 9, Per: latchkey.Month, Anchor: 23},
			{Amount: 90, Per: latchkey.Week, Anchor: 3}, {Amount: 80, Per: latchkey.Hour}}, 1, []int{204},
			`"api-month-23";q=9;w=2678400, "api-week-3";q=90;w=604800, "api-hour";q=80;w=3600`, `"api-month-23";r=8;t=54000`,
			"", ""},
		{"an anchor of today", []latchkey.Quota{{Amount: 9, Per: latchkey.Month, Anchor: 22}}, 1, []int{204},
			`"api-month-22";q=9;w=2592000`, `"api-month-22";r=8;t=2559600`, "", ""},
		{"for ever", []latchkey.Quota{{Amount: 2, Per: latchkey.Forever}}, 1, []int{204, 204, 402},
			`"api-forever";q=2`, `"api-forever";r=0`, "", "over-limit"},
		{"more than a whole period has", []latchkey.Quota{{Amount: 2, Per: latchkey.Day}}, 3, []int{402},
			`"api-day";q=0;w=86400`, `"api-day";r=0`, "", "over-limit"},
		{"more with what is carried", []latchkey.Quota{{Amount: 2, Per: latchkey.Day, Carry: 1}}, 3, []int{429},
			`"api-day";q=0;w=86400`, `"api-day";r=0;t=54000`, "54000", "over-limit"},
		{"nothing", []latchkey.Quota{{Per: latchkey.Day}}, 1, []int{402}, `"api-day";q=0;w=86400`, `"api-day";r=0`, "",
			"over-limit"},
		{"more than a whole month has", []latchkey.Quota{{Amount: 2, Per: latchkey.Month}}, 3, []int{402},
			`"api-month";q=0;w=2592000`, `"api-month";r=0`, "", "over-limit"},
		{"too large for a header", []latchkey.Quota{{Amount: math.MaxInt64, Per: latchkey.Forever}}, 1, []int{204},
			`"api-forever";q=999999999999999`, `"api-forever";r=999999999999999`, "", ""},
		{"free", []latchkey.Quota{{Per: latchkey.Day}}, 0, []int{204}, "", "", "", ""},
	} {
		t.Run(c.what, func(t *testing.T) {
			w := newFixture(t)
			_, token := w.quotas(c.quotas...)
			h := httpadapter.New(w.keys, nil).Spend("api", c.price)(served)
			var out *httptest.ResponseRecorder
			for _, want := range c.replies {
				out = request(h, "GET", "/", token)
				require.Equal(t, want, out.Code)
			}
			require.Equal(t, c.policy, out.Header().Get("RateLimit-Policy"))
			require.Equal(t, c.state, out.Header().Get("RateLimit"))
			require.Equal(t, c.retry, out.Header().Get("Retry-After"))
			if c.problemType != "" {
				require.Contains(t, out.Body.String(), httpadapter.ProblemType+c.problemType)
				require.Equal(t, "application/problem+json", out.Header().Get("Content-Type"))
			}
		})
	}
}

// A rate and quotas, of the token and of its owner, are told in one field.
func TestSpendBesideARate(t *testing.T) {
	w := newFixture(t)
	require.NoError(t, w.acme.Configure(ctx, func(o *latchkey.Owner) error {
		o.Limits.Quotas = []latchkey.Quota{{Amount: 2, Per: latchkey.Day}, {Amount: 50, Per: latchkey.Hour}}
		return nil
	}))
	_, token := w.issue(w.acme, latchkey.KindAPIKey, latchkey.Settings{Limits: latchkey.Limits{
		Rate:   latchkey.PerMinute(60),
		Quotas: []latchkey.Quota{{Amount: 40, Per: latchkey.Hour}, {Amount: 9, Per: latchkey.Day}}}})
	h := httpadapter.New(w.keys, nil).Spend("api", 1)(served)
	out := request(h, "GET", "/", token)
	require.Equal(t, `"token";q=60;w=60, "api-day";q=2;w=86400, "api-hour";q=40;w=3600`,
		out.Header().Get("RateLimit-Policy"))
	require.Equal(t, `"token";r=59;t=1, "api-day";r=1;t=54000`, out.Header().Get("RateLimit"))

	// Of two with one name that are not the one that has least left, the smaller is told, whichever is whose.
	require.NoError(t, w.acme.Configure(ctx, func(o *latchkey.Owner) error {
		o.Limits.Quotas[1].Amount = 30
		return nil
	}))
	out = request(h, "GET", "/", token)
	require.Equal(t, `"token";q=60;w=60, "api-day";q=2;w=86400, "api-hour";q=30;w=3600`,
		out.Header().Get("RateLimit-Policy"))
}

func TestNamesOfPoliciesAreEscaped(t *testing.T) {
	w := newFixture(t)
	meter := "a~ \"b\\ 5%\n\x7fé"
	_, token := w.quotas(latchkey.Quota{Meter: meter, Amount: 7, Per: latchkey.Day})
	out := request(httpadapter.New(w.keys, nil).Spend(meter, 1)(served), "GET", "/", token)
	require.Equal(t, 204, out.Code)
	require.Equal(t, `"a~ \"b\\ 5%25%0A%7F%C3%A9-day";r=6;t=54000`, out.Header().Get("RateLimit"))
}

// What is refused before costs nothing, and what is served is counted by its route.
func TestSpendInsideRequire(t *testing.T) {
	w := newFixture(t)
	a := httpadapter.New(w.keys, nil)
	id, token := w.quotas(latchkey.Quota{Amount: 10, Per: latchkey.Day})
	guard := func(resource string) http.Handler {
		return a.Require(latchkey.Read, resource)(a.Spend("api", 3)(served))
	}
	mux := http.NewServeMux()
	mux.Handle("GET /orders/{id}", guard("order/{id}"))
	mux.Handle("/any/{id}", guard("order/{id}"))
	mux.Handle("GET /payroll", guard("payroll"))
	require.Equal(t, 403, request(mux, "GET", "/payroll", token).Code)
	require.Equal(t, 204, request(mux, "GET", "/orders/7", token).Code)
	require.Equal(t, 204, request(mux, "HEAD", "/orders/8", token).Code)
	require.Equal(t, 204, request(mux, "POST", "/any/7", token).Code)
	require.Equal(t, 429, request(mux, "GET", "/orders/7", token).Code)
	w.advance(24 * time.Hour)
	require.Equal(t, 204, request(mux, "BREW", "/any/7", token).Code)
	require.Equal(t, 401, request(mux, "GET", "/orders/7", "nonsense").Code)
	noPattern := guard("order/a") // of a router that does not set r.Pattern
	require.Equal(t, 204, request(noPattern, "PUT", "/x", token).Code)
	require.Equal(t, 204, request(a.Authenticate(a.Spend("api", 0)(served)), "PUT", "/x", token).Code)
	rows, err := w.acme.Usage(ctx, latchkey.UsageQuery{By: []string{"token", "meter", "endpoint"}})
	require.NoError(t, err)
	row := func(endpoint string, n int64, c latchkey.Credits) latchkey.UsageRow {
		return latchkey.UsageRow{Owner: "acme", TokenID: id, Meter: "api", Endpoint: endpoint, Count: n, Credits: c}
	}
	require.Equal(t, []latchkey.UsageRow{row("GET /orders/{id}", 2, 6), row("OTHER /any/{id}", 1, 3),
		row("POST /any/{id}", 1, 3), row("PUT", 1, 0), row("PUT order/a", 1, 3)}, rows)
}

// Methods are few, so endpoints are.
func TestEndpointsOfMethods(t *testing.T) {
	w := newFixture(t)
	_, token := w.quotas(latchkey.Quota{Amount: 100, Per: latchkey.Day})
	h := httpadapter.New(w.keys, nil).Spend("api", 1)(served)
	known := []string{"CONNECT", "DELETE", "GET", "HEAD", "OPTIONS", "PATCH", "POST", "PUT", "TRACE"}
	for _, method := range append([]string{"BREW", "get", "PROPFIND"}, known...) {
		require.Equal(t, 204, request(h, method, "/", token).Code, method)
	}
	rows, err := w.acme.Usage(ctx, latchkey.UsageQuery{By: []string{"endpoint"}})
	require.NoError(t, err)
	counted := map[string]int64{}
	for _, r := range rows {
		counted[r.Endpoint] = r.Count
	}
	want := map[string]int64{"OTHER": 3}
	for _, method := range known {
		want[method] = 1
	}
	require.Equal(t, want, counted)
}

// Of two quotas of one name the field tells the one that has least left, not the smaller one.
func TestTheQuotaThatHasLeastLeftIsTold(t *testing.T) {
	w := newFixture(t)
	_, token := w.quotas(latchkey.Quota{Amount: 10, Per: latchkey.Day})
	h := httpadapter.New(w.keys, nil).Spend("api", 1)(served)
	for range 8 {
		require.Equal(t, 204, request(h, "GET", "/", token).Code)
	}
	require.NoError(t, w.acme.Configure(ctx, func(o *latchkey.Owner) error { // which has spent nothing yet
		o.Limits.Quotas = []latchkey.Quota{{Amount: 5, Per: latchkey.Day}}
		return nil
	}))
	out := request(h, "GET", "/", token)
	require.Equal(t, `"api-day";q=10;w=86400`, out.Header().Get("RateLimit-Policy"))
	require.Equal(t, `"api-day";r=1;t=54000`, out.Header().Get("RateLimit"))
}

// An Access that another Adapter could not have made is not charged: it may be another host's.
func TestSpendTakesNoForeignAccess(t *testing.T) {
	w := newFixture(t)
	_, token := w.quotas(latchkey.Quota{Amount: 10, Per: latchkey.Day})
	other := httpadapter.New(w.keys, &httpadapter.Options{Owner: "other"})
	out := request(httpadapter.New(w.keys, nil).Authenticate(other.Spend("api", 1)(served)), "GET", "/", token)
	require.Equal(t, 401, out.Code)
	require.True(t, json.Valid(out.Body.Bytes()), "it is answered once: %s", out.Body)
	require.Empty(t, out.Header().Get("RateLimit"))
	rows, err := w.acme.Usage(ctx, latchkey.UsageQuery{})
	require.NoError(t, err)
	require.Zero(t, rows[0].Count)
}

func TestSpendRefusesWhatIsNoPrice(t *testing.T) {
	a := httpadapter.New(newFixture(t).keys, nil)
	for _, meter := range []string{"", "\xff", "a\x00", strings.Repeat("m", 65)} {
		require.Panics(t, func() { a.Spend(meter, 1) }, "%q", meter)
	}
	require.NotPanics(t, func() { a.Spend(strings.Repeat("m", 64), 1) })
	require.Panics(t, func() { a.Spend("api", -1) })
}
