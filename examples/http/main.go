// Middleware that checks tokens before the handlers of a net/http mux.
package main

import (
	"context"
	"fmt"
	"log"
	"net/http"
	"net/http/httptest"

	"github.com/latchkey-go/latchkey"
	"github.com/latchkey-go/latchkey/httpadapter"
	"github.com/latchkey-go/latchkey/memstore"
)

var orders = latchkey.NewSchema(latchkey.Fields{"region": {Column: "o.region", Type: latchkey.Text}})

func routes(keys *latchkey.Manager) http.Handler {
	auth := httpadapter.New(keys, nil)
	mux := http.NewServeMux()
	mux.Handle("GET /me", auth.Authenticate(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		access, _ := httpadapter.AccessFrom(r.Context()) // without an Access: the zero Access, which may do nothing
		fmt.Fprint(w, access.Owner())
	})))
	mux.Handle("DELETE /data/{id}", auth.Require(latchkey.Delete, "dataset/{id}")(
		http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { w.WriteHeader(http.StatusNoContent) })))
	mux.Handle("GET /data/orders", auth.RequireRows(latchkey.Read, "dataset/orders")(
		http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			rows, _ := httpadapter.RowsFrom(r.Context()) // RequireRows let the caller in for these rows only
			p, err := orders.Bind(rows)
			if err != nil {
				auth.WriteError(w, r, err)
				return
			}
			where, args := p.SQL(latchkey.SQLite, 1)
			fmt.Fprintf(w, "SELECT * FROM orders o WHERE %s %q", where, args)
		})))
	return mux
}

func main() {
	keys := latchkey.New(memstore.New(nil), nil)
	_, secret, err := keys.For("acme").Issue(context.Background(), latchkey.Spec{Kind: latchkey.KindAPIKey,
		Permissions: latchkey.Permissions{
			latchkey.Allow(latchkey.Read).On("dataset/*").Where(latchkey.Where("region", latchkey.Eq, "EU")),
		}})
	if err != nil {
		log.Fatal(err)
	}
	handler := routes(keys)
	for _, c := range []struct{ method, path, bearer string }{
		{"GET", "/me", secret.Reveal()},
		{"GET", "/data/orders", secret.Reveal()},
		{"DELETE", "/data/orders", secret.Reveal()},
		{"GET", "/me", "ak_mistyped"},
	} {
		r := httptest.NewRequest(c.method, c.path, nil)
		r.Header.Set("Authorization", "Bearer "+c.bearer)
		w := httptest.NewRecorder()
		handler.ServeHTTP(w, r)
		fmt.Printf("%s %s %d\n%s\n", c.method, c.path, w.Code, w.Body)
	}
}
