package frameworks_test

import (
	"encoding/json"
	"net/http"

	"github.com/gorilla/mux"

	"github.com/latchkey-go/latchkey"
	"github.com/latchkey-go/latchkey/httpadapter"
	"github.com/latchkey-go/latchkey/httpadapter/console"
	"github.com/latchkey-go/latchkey/httpadapter/webforce"
	latchkeymux "github.com/latchkey-go/latchkey/integrations/frameworks/mux"
)

func gorillaRecipe(keys *latchkey.Manager, signedIn console.SignedIn) http.Handler {
	auth := httpadapter.New(keys, &httpadapter.Options{PathValue: latchkeymux.PathValue})
	m := mux.NewRouter()

	dataset := func(w http.ResponseWriter, r *http.Request) {
		access, _ := httpadapter.AccessFrom(r.Context()) // the caller
		_ = json.NewEncoder(w).Encode(map[string]any{"dataset": mux.Vars(r)["id"], "owner": access.Owner()})
	}
	m.Handle("/data/{id}", auth.Require(latchkey.Read, "dataset/{id}")(http.HandlerFunc(dataset))).Methods("GET")

	list := func(w http.ResponseWriter, r *http.Request) {
		rows, _ := httpadapter.RowsFrom(r.Context()) // which rows the caller may read
		orders, err := ordersIn(rows)
		if err != nil {
			auth.WriteError(w, r, err)
			return
		}
		_ = json.NewEncoder(w).Encode(orders)
	}
	m.Handle("/orders", auth.RequireRows(latchkey.Read, "dataset/orders")(http.HandlerFunc(list))).Methods("GET")

	reports := m.NewRoute().Subrouter()
	reports.Use(auth.Require(latchkey.Create, "report"), auth.Spend("reports", 1)) // each costs a credit
	reports.HandleFunc("/reports", func(w http.ResponseWriter, r *http.Request) {
		w.WriteHeader(http.StatusAccepted)
	}).Methods("POST")

	m.PathPrefix("/console/").Handler(http.StripPrefix("/console", console.Handler(signedIn, nil)))
	m.Handle("/console", http.RedirectHandler("/console/", http.StatusTemporaryRedirect))
	m.Handle("/api", webforce.Handler(keys.For("acme"), nil))
	return m
}
