package frameworks_test

import (
	"encoding/json"
	"net/http"

	"github.com/latchkey-go/latchkey"
	"github.com/latchkey-go/latchkey/httpadapter"
	"github.com/latchkey-go/latchkey/httpadapter/console"
	"github.com/latchkey-go/latchkey/httpadapter/webforce"
)

func serveMuxRecipe(keys *latchkey.Manager, signedIn console.SignedIn) http.Handler {
	auth := httpadapter.New(keys, nil)
	mux := http.NewServeMux()

	dataset := func(w http.ResponseWriter, r *http.Request) {
		access, _ := httpadapter.AccessFrom(r.Context()) // the caller
		_ = json.NewEncoder(w).Encode(map[string]any{"dataset": r.PathValue("id"), "owner": access.Owner()})
	}
	mux.Handle("GET /data/{id}", auth.Require(latchkey.Read, "dataset/{id}")(http.HandlerFunc(dataset)))

	list := func(w http.ResponseWriter, r *http.Request) {
		rows, _ := httpadapter.RowsFrom(r.Context()) // which rows the caller may read
		orders, err := ordersIn(rows)
		if err != nil {
			auth.WriteError(w, r, err)
			return
		}
		_ = json.NewEncoder(w).Encode(orders)
	}
	mux.Handle("GET /orders", auth.RequireRows(latchkey.Read, "dataset/orders")(http.HandlerFunc(list)))

	report := func(w http.ResponseWriter, r *http.Request) { w.WriteHeader(http.StatusAccepted) }
	mux.Handle("POST /reports", auth.Require(latchkey.Create, "report")(
		auth.Spend("reports", 1)(http.HandlerFunc(report)))) // each costs a credit

	console.Mount(mux, "/console", signedIn, nil)
	webforce.Mount(mux, keys.For("acme"), nil)
	return mux
}
