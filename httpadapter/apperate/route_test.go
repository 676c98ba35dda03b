package apperate

import (
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/latchkey-go/latchkey"
)

// What each request needs: "action resource" pairs, or "secret" where only a secret token may. "denied": the table
// has no such route, and only a secret token passes. "bad": nothing passes.
func TestRoutes(t *testing.T) {
	for line := range strings.Lines(strings.TrimSpace(`
GET stock/aapl/quote                            read core/stock; core STOCK_QUOTE
GET stock/market/batch?symbols=a,b&types=quote  read core/stock; core STOCK_BATCH
HEAD stock/aapl/quote                           read core/stock; core STOCK_QUOTE
POST stock/aapl/quote                           denied
GET ref-data/symbols                            read core/ref-data; core REF_DATA_SYMBOLS
POST ref-data/isin                              read core/ref-data; core REF_DATA_ISIN
GET fx/latest                                   read core/fx; core FX_LATEST
GET tops                                        read core/tops; core TOPS
GET deep/book                                   read core/deep; core DEEP_BOOK
GET crypto/btcusd/price                         read core/crypto; core CRYPTO_PRICE
GET search/apple                                read core/search; core SEARCH
GET data-points/AAPL/PE                         read core/data-points; core DATA_POINTS
GET files/download/X                            read premium/files; premium FILES
GET time-series                                 read core/%2A; core CORE
GET time-series/reported_financials/AAPL/10-Q   read core/REPORTED_FINANCIALS; core CORE_REPORTED_FINANCIALS
GET time-series/premium_brain_x/AAPL            read premium/PREMIUM_BRAIN_X; premium CORE_PREMIUM_BRAIN_X
GET data/core/quote/aapl                        read core/QUOTE; core CORE_QUOTE
GET data/CORE/QUOTE,PREMIUM_X/AAPL              read core/QUOTE, read premium/PREMIUM_X; core premium CORE_BATCH
GET data/CORE                                   read core/%2A; core CORE
GET meta/CORE/*/AAPL                            read core/%2A; core CORE
GET data/acme/cars                              read dataset/ACME/CARS; ACME_CARS
GET query/ACME/CARS/A1                          read dataset/ACME/CARS; ACME_CARS
GET data/ACME/CARS,trucks/A1,B2                 read dataset/ACME/CARS, read dataset/ACME/TRUCKS; ACME_BATCH
GET data/ACME/CARS%2CTRUCKS/A1                  read dataset/ACME/CARS, read dataset/ACME/TRUCKS; ACME_BATCH
GET data/ACME/CARS.TRUCKS/A1?batchSeparator=.   read dataset/ACME/CARS, read dataset/ACME/TRUCKS; ACME_BATCH
GET data/ACME/CARS,TRUCKS/A1?batchSeparator=.   read dataset/ACME/CARS, read dataset/ACME/TRUCKS; ACME_BATCH
GET data/ACME/CARS.TRUCKS                       bad
GET data/ACME/CARS?batchSeparator=_             bad
GET data/ACME/CARS?batchSeparator=A             bad
GET data/ACME/CARS?batchSeparator=.&batchSeparator=-  bad
GET data/ACME/CARS/A/B/C                        read dataset/ACME/CARS; ACME_CARS
GET data/ACME/CARS/A/B/C/D                      denied
GET data/ACME                                   read dataset/ACME/%2A; ACME
GET data                                        denied
GET meta                                        denied
GET meta/ACME/CARS                              read dataset/ACME/CARS; ACME_CARS
GET data/ACME/_system_logs                      bad
GET data/_SYSTEM/X                              bad
GET data/ACME/CARS%2F..%2FX                     bad
GET data/ACME/,                                 bad
POST record/ACME/CARS                           create dataset/ACME/CARS, update dataset/ACME/CARS; ACME_CARS
POST write/acme/cars                            create dataset/ACME/CARS, update dataset/ACME/CARS; ACME_CARS
POST record/CORE/QUOTE                          create core/QUOTE, update core/QUOTE; core CORE_QUOTE
POST record/ACME                                denied
POST record/ACME/CARS/A1                        denied
GET record/ACME/CARS                            denied
POST data/ACME/CARS                             create dataset/ACME/CARS, update dataset/ACME/CARS; ACME_CARS
POST data/ACME/CARS?overwrite=true              overwrite ACME/CARS
POST data/ACME/CARS?overwrite=1                 overwrite ACME/CARS
POST data/ACME/CARS?overwrite=false             create dataset/ACME/CARS, update dataset/ACME/CARS; ACME_CARS
POST data/ACME/CARS?overwrite=false&overwrite=true  overwrite ACME/CARS
DELETE data/ACME/CARS/A1                        delete dataset/ACME/CARS; ACME_CARS
DELETE data/ACME/CARS/A1/S/20230101             delete dataset/ACME/CARS; ACME_CARS
DELETE data/ACME/CARS                           denied
PUT data/ACME/CARS                              denied
GET datasets/ACME                               read dataset/ACME/%2A; ACME
GET datasets/ACME/CARS                          read dataset/ACME/CARS; ACME_CARS
POST datasets/ACME                              secret DATASETS
POST datasets/ACME/CARS                         secret DATASETS
PATCH datasets/ACME/CARS                        secret DATASETS
PATCH datasets/ACME/CARS/A1                     create dataset/ACME/CARS, update dataset/ACME/CARS; ACME_CARS
PUT datasets/ACME/CARS                          create dataset/ACME/CARS, update dataset/ACME/CARS; ACME_CARS
PUT datasets/ACME/CARS/NEW                      secret DATASETS
DELETE datasets/ACME/CARS                       secret DATASETS
DELETE datasets/ACME/CARS/A1                    delete dataset/ACME/CARS; ACME_CARS
GET jobs/ACME/x                                 secret JOBS
POST credentials/ACME                           secret CREDENTIALS
GET account/metadata                            secret ACCOUNT
GET rules/schema                                secret RULES
GET STOCK/aapl/quote                            denied
GET openapi-doc                                 denied
GET latchkey/token                              denied
`)) {
		request, want, _ := strings.Cut(strings.TrimSpace(line), "  ")
		method, target, _ := strings.Cut(request, " ")
		u, err := url.Parse("/" + target)
		require.NoError(t, err)
		path, ok := pathOf(u)
		require.True(t, ok, line)
		route, ok := routeOf(method, path, u.Query())
		want = strings.ReplaceAll(strings.TrimSpace(want), "overwrite ACME/CARS", "create dataset/ACME/CARS, "+
			"update dataset/ACME/CARS, delete dataset/ACME/CARS; ACME_CARS")
		require.Equal(t, want, describe(route, ok), request)
	}
}

func describe(t Route, ok bool) string {
	switch {
	case !ok:
		return "bad"
	case t.Secret:
		return "secret " + t.Endpoint
	case len(t.Needs) == 0:
		return "denied"
	}
	var needs, tail []string
	for _, n := range t.Needs {
		needs = append(needs, string(n.Action)+" "+string(n.Resource))
	}
	if t.Core {
		tail = append(tail, "core")
	}
	if t.Premium {
		tail = append(tail, "premium")
	}
	return strings.Join(needs, ", ") + "; " + strings.Join(append(tail, t.Endpoint), " ")
}

func TestPaths(t *testing.T) {
	for target, want := range map[string]string{
		"/v1/stock/aapl/quote/": "v1|stock|aapl|quote",
		"/v1//stock//aapl":      "v1|stock|aapl",
		"/%76%31/stock":         "v1|stock",
		"/v1/a%2Fb/c":           "v1|a/b|c",
		"/":                     "",
		"/v1/../x":              "bad", "/v1/./x": "bad", "/v1/%2e%2E/x": "bad", "/v1/a%00b": "bad", "/v1/a%0ab": "bad",
		"/v1/a%7Fb": "bad",
		"/v1/%ff":   "bad", "/1/2/3/4/5/6/7/8/9/a/b/c/d": "bad", "/1/2/3/4/5/6/7/8/9/a/b/c/": "1|2|3|4|5|6|7|8|9|a|b|c",
	} {
		u, err := url.Parse(target)
		require.NoError(t, err)
		path, ok := pathOf(u)
		got := strings.Join(path, "|")
		if !ok {
			got = "bad"
		}
		require.Equal(t, want, got, target)
	}
}

// The handler receives what was checked, however the path was spelt.
func TestTheHandlerGetsWhatWasChecked(t *testing.T) {
	for target, want := range map[string]string{
		"/v1/data/acme/cars/A1/":                             "/data/ACME/CARS/A1",
		"/v1//data//Acme/cars,Trucks,CARS/A1,b%2Fc":          "/data/ACME/CARS,TRUCKS/A1,b%2Fc",
		"/stable/data/ACME/CARS.trucks/x.y?batchSeparator=.": "/data/ACME/CARS,TRUCKS/x.y",
		"/v1/data/ACME/CARS/a%252Cb%20c":                     "/data/ACME/CARS/a%252Cb%20c",
		"/latest/time-series/quote/aapl":                     "/time-series/QUOTE/aapl",
		"/beta/stock/aapl/quote/?":                           "/stock/aapl/quote",
		"/v1/datasets/acme/cars":                             "/datasets/ACME/CARS",
	} {
		w := newFixture(t, nil)
		out := w.get(target, w.pk)
		w.ok(out)
		require.Contains(t, out.Body.String(), `"path":"`+want+`"`, target)
	}
	w := newFixture(t, nil)
	mux := http.NewServeMux()
	mux.HandleFunc("GET /data/{workspace}/{datasets}/{keys}", func(rw http.ResponseWriter, r *http.Request) {
		c, _ := CallFrom(r.Context())
		WriteJSON(rw, []any{r.PathValue("workspace"), r.PathValue("datasets"), r.PathValue("keys"),
			c.Datasets, c.Keys, c.Version})
	})
	w.serve = Handler(w.acme, nil, mux)
	out := w.get("/v1/data/acme/cars.trucks/a%2Fb.c?batchSeparator=.", w.pk)
	w.ok(out)
	require.JSONEq(t, `["ACME","CARS,TRUCKS","a/b.c",["CARS","TRUCKS"],["a/b","c"],"v1"]`, out.Body.String())
}

func TestHostRoutesComeFirst(t *testing.T) {
	w := newFixture(t, &Options{Routes: func(r *http.Request, path []string) (Route, bool) {
		if path[0] != "weather" {
			return Route{}, false
		}
		return Route{Needs: []Need{{latchkey.Read, latchkey.Path("dataset", "ACME", "CARS")}}, Endpoint: "WEATHER"}, true
	}})
	w.ok(w.get("/v1/weather/Bath", w.pk))
	w.requireFault(Denied, w.get("/v1/wind/Bath", w.pk))
	w.ok(w.get("/v1/wind/Bath", w.sk))
}

// A batch names a hundred data sets at most.
func TestDataSetsOfABatch(t *testing.T) {
	w := newFixture(t, nil)
	var ids []string
	for i := range maxIDs {
		ids = append(ids, "D"+strconv.Itoa(i))
	}
	w.ok(w.get("/v1/data/ACME/"+strings.Join(ids, ",")+"/K", w.sk))
	w.requireFault(BadRequest, w.get("/v1/data/ACME/"+strings.Join(append(ids, "D"), ",")+"/K", w.sk))
}
