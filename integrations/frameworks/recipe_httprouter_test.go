package frameworks_test

import (
	"encoding/json"
	"net/http"

	"github.com/julienschmidt/httprouter"

	"github.com/latchkey-go/latchkey"
	"github.com/latchkey-go/latchkey/httpadapter"
	"github.com/latchkey-go/latchkey/httpadapter/console"
	"github.com/latchkey-go/latchkey/httpadapter/webforce"
	latchkeyhttprouter "github.com/latchkey-go/latchkey/integrations/frameworks/httprouter"
)

func httprouterRecipe(keys *latchkey.Manager, signedIn console.SignedIn) http.Handler {
	auth := httpadapter.New(keys, &httpadapter.Options{PathValue: latchkeyhttprouter.PathValue})
	m := httprouter.New()

	dataset := func(w http.ResponseWriter, r *http.Request) {
		access, _ := httpadapter.AccessFrom(r.Context()) // the caller
		id := httprouter.ParamsFromContext(r.Context()).ByName("id")
		_ = json.NewEncoder(w).Encode(map[string]any{"dataset": id, "owner": access.Owner()})
	}
	m.Handler("GET", "/data/:id", auth.Require(latchkey.Read, "dataset/{id}")(http.HandlerFunc(dataset)))

	list := func(w http.ResponseWriter, r *http.Request) {
		rows, _ := httpadapter.RowsFrom(r.Context()) // which rows the caller may read
		orders, err := ordersIn(rows)
		if err != nil {
			auth.WriteError(w, r, err)
			return
		}
		_ = json.NewEncoder(w).Encode(orders)
	}
	m.Handler("GET", "/orders", auth.RequireRows(latchkey.Read, "dataset/orders")(http.HandlerFunc(list)))

	report := func(w http.ResponseWriter, r *http.Request) { w.WriteHeader(http.StatusAccepted) }
	m.Handler("POST", "/reports", auth.Require(latchkey.Create, "report")(
		auth.Spend("reports", 1)(http.HandlerFunc(report)))) // each costs a credit

	for _, method := range []string{"GET", "HEAD", "POST"} {
		m.Handler(method, "/console/*rest", http.StripPrefix("/console", console.Handler(signedIn, nil)))
		m.Handler(method, "/api", webforce.Handler(keys.For("acme"), nil))
	}
	return m
}
