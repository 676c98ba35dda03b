// Command forward answers the questions of a proxy, and issues a key at its start. docs/forward.md uses it.
package main

import (
	"context"
	"fmt"
	"log"
	"log/slog"
	"net/http"
	"net/netip"
	"time"

	"github.com/latchkey-go/latchkey"
	"github.com/latchkey-go/latchkey/httpadapter"
	"github.com/latchkey-go/latchkey/httpadapter/forward"
	"github.com/latchkey-go/latchkey/memstore"
)

func main() {
	keys := latchkey.New(memstore.New(nil), nil) // with sqlstore, keys are kept
	h := handler(keys)
	_, secret, err := keys.For("acme").Issue(context.Background(), latchkey.Spec{
		Kind: latchkey.KindAPIKey, Permissions: latchkey.Permissions{
			latchkey.Allow(latchkey.Read).On("dataset/*"),
			latchkey.Deny(latchkey.Any).On("dataset/payroll")}})
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println("key:", secret.Reveal()) // a real program shows it to its owner alone
	// Nobody but the proxy needs to reach it.
	log.Fatal(server(h).ListenAndServe())
}

// server listens to the proxy alone. Its bounds let no connection wait for ever.
func server(h http.Handler) *http.Server {
	return &http.Server{Addr: "127.0.0.1:9091", Handler: h, ReadHeaderTimeout: 5 * time.Second,
		ReadTimeout: 15 * time.Second, WriteTimeout: 30 * time.Second, IdleTimeout: 2 * time.Minute}
}

// handler answers questions at /auth.
func handler(keys *latchkey.Manager) http.Handler {
	auth := httpadapter.New(keys, &httpadapter.Options{
		Proxies: []netip.Prefix{netip.MustParsePrefix("127.0.0.1/32")}, // where nginx is
		Logger:  slog.Default(),
	})
	mux := http.NewServeMux()
	mux.Handle("/auth", forward.New(auth, []forward.Route{
		{Pattern: "GET /data/{id}", Action: latchkey.Read, Resource: "dataset/{id}"},
		{Pattern: "PUT /data/{id}", Action: latchkey.Update, Resource: "dataset/{id}"},
	}, &forward.Options{From: forward.Nginx}))
	return mux
}
