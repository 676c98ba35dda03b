package apperate_test

import (
	"context"
	"fmt"
	"net/http"
	"net/http/httptest"

	"github.com/latchkey-go/latchkey"
	"github.com/latchkey-go/latchkey/httpadapter/apperate"
	"github.com/latchkey-go/latchkey/memstore"
)

// A host sells its data: a page's token may read one data set, and quotes at one credit each.
func ExampleHandler() {
	ctx := context.Background()
	keys := latchkey.New(memstore.New(nil), nil)
	acme := keys.For("acme")
	spec, err := apperate.PublishableSpec("web page", apperate.Grant{
		Datasets: []apperate.DatasetGrant{{Workspace: "ACME", ID: "CARS", Read: true}},
	})
	if err != nil {
		panic(err)
	}
	spec.Limits.Quotas = []latchkey.Quota{{Meter: apperate.MeterCore, Amount: latchkey.Credit, Per: latchkey.Month}}
	_, token, err := acme.Issue(ctx, spec)
	if err != nil {
		panic(err)
	}

	data := http.NewServeMux()
	data.HandleFunc("GET /data/ACME/{datasets}/{keys}", func(w http.ResponseWriter, r *http.Request) {
		call, _ := apperate.CallFrom(r.Context())
		apperate.WriteJSON(w, []any{call.Datasets, call.Keys})
	})
	data.HandleFunc("GET /stock/{symbol}/quote", func(w http.ResponseWriter, r *http.Request) {
		apperate.WriteJSON(w, map[string]string{"symbol": r.PathValue("symbol")})
	})
	gateway := apperate.Handler(acme, nil, data)

	for _, path := range []string{"/v1/data/acme/cars/F-150", "/v1/data/acme/vans/1",
		"/v1/stock/aapl/quote", "/v1/stock/aapl/quote"} {
		w := httptest.NewRecorder()
		gateway.ServeHTTP(w, httptest.NewRequest("GET", path+"?token="+token.Reveal(), nil))
		fmt.Println(w.Code, w.Body.String())
	}
	// Output:
	// 200 [["CARS"],["F-150"]]
	// 403 Forbidden
	// 200 {"symbol":"aapl"}
	// 402 You have exceeded your allotted message quota. Please enable pay-as-you-go to regain access
}
