package frameworks_test

import (
	"encoding/json"
	"net/http"

	"github.com/go-chi/chi/v5"

	"github.com/latchkey-go/latchkey"
	"github.com/latchkey-go/latchkey/httpadapter"
	"github.com/latchkey-go/latchkey/httpadapter/console"
	"github.com/latchkey-go/latchkey/httpadapter/webforce"
)

func chiRecipe(keys *latchkey.Manager, signedIn console.SignedIn) http.Handler {
	auth := httpadapter.New(keys, nil)
	r := chi.NewRouter()

	r.With(auth.Require(latchkey.Read, "dataset/{id}")).Get("/data/{id}", func(w http.ResponseWriter, r *http.Request) {
		access, _ := httpadapter.AccessFrom(r.Context()) // the caller
		_ = json.NewEncoder(w).Encode(map[string]any{"dataset": chi.URLParam(r, "id"), "owner": access.Owner()})
	})
	r.With(auth.RequireRows(latchkey.Read, "dataset/orders")).Get("/orders", func(w http.ResponseWriter, r *http.Request) {
		rows, _ := httpadapter.RowsFrom(r.Context()) // which rows the caller may read
		orders, err := ordersIn(rows)
		if err != nil {
			auth.WriteError(w, r, err)
			return
		}
		_ = json.NewEncoder(w).Encode(orders)
	})
	r.Group(func(r chi.Router) {
		r.Use(auth.Require(latchkey.Create, "report"), auth.Spend("reports", 1)) // each costs a credit
		r.Post("/reports", func(w http.ResponseWriter, r *http.Request) { w.WriteHeader(http.StatusAccepted) })
	})

	console.Mount(r, "/console", signedIn, nil)
	webforce.Mount(r, keys.For("acme"), nil)
	return r
}
