// One program for many tenants: the host name of a request says which. A token works at its own tenant's host only.
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

func main() {
	if err := run(context.Background()); err != nil {
		log.Fatal(err)
	}
}

func run(ctx context.Context) error {
	keys := latchkey.New(memstore.New(nil), nil)
	tenants := map[string]string{"acme.example": "acme", "globex.example": "globex"} // in memory: it is asked often

	auth := httpadapter.New(keys, &httpadapter.Options{OwnerOf: func(r *http.Request) (string, error) {
		if owner, ok := tenants[r.Host]; ok {
			return owner, nil
		}
		return "", httpadapter.ErrNoTenant // answered like an unknown token
	}})
	mux := http.NewServeMux()
	mux.Handle("GET /orders", auth.Require(latchkey.Read, "dataset/orders")(
		http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			access, _ := httpadapter.AccessFrom(r.Context())
			fmt.Fprint(w, "orders of ", access.Owner())
		})))

	_, secret, err := keys.For("acme").Issue(ctx, latchkey.Spec{Kind: latchkey.KindAPIKey,
		Permissions: latchkey.Permissions{latchkey.Allow(latchkey.Read).On("dataset/*")}})
	if err != nil {
		return err
	}
	for _, host := range []string{"acme.example", "globex.example", "nobody.example"} {
		r := httptest.NewRequest("GET", "http://"+host+"/orders", nil)
		r.Header.Set("Authorization", "Bearer "+secret.Reveal())
		w := httptest.NewRecorder()
		mux.ServeHTTP(w, r)
		fmt.Println(host, w.Code)
	}
	return nil
}
