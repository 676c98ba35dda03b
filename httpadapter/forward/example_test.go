package forward_test

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/netip"

	"github.com/latchkey-go/latchkey"
	"github.com/latchkey-go/latchkey/httpadapter"
	"github.com/latchkey-go/latchkey/httpadapter/forward"
	"github.com/latchkey-go/latchkey/memstore"
)

// nginx asks whether two requests may pass.
func Example() {
	keys := latchkey.New(memstore.New(nil), nil)
	_, secret, err := keys.For("acme").Issue(ctx, latchkey.Spec{Kind: latchkey.KindAPIKey,
		Permissions: latchkey.Permissions{latchkey.Allow(latchkey.Read).On("dataset/orders")}})
	if err != nil {
		panic(err)
	}
	proxies := []netip.Prefix{netip.MustParsePrefix("192.0.2.1/32")} // where nginx is
	mux := http.NewServeMux()

	auth := httpadapter.New(keys, &httpadapter.Options{Proxies: proxies})
	mux.Handle("/auth", forward.New(auth, []forward.Route{
		{Pattern: "GET /data/{id}", Action: latchkey.Read, Resource: "dataset/{id}"},
	}, &forward.Options{From: forward.Nginx}))

	for _, target := range []string{"/data/orders", "/data/payroll"} {
		r := httptest.NewRequest("GET", "/auth", nil) // as nginx asks
		r.Header.Set("X-Original-Method", "GET")
		r.Header.Set("X-Original-URI", target)
		r.Header.Set("X-Original-Host", "api.example.com")
		r.Header.Set("X-Forwarded-For", "203.0.113.7")
		r.Header.Set("Authorization", "Bearer "+secret.Reveal())
		w := httptest.NewRecorder()
		mux.ServeHTTP(w, r)
		fmt.Printf("%s: %d %q\n", target, w.Code, w.Header().Get("Latchkey-Owner"))
	}
	// Output:
	// /data/orders: 200 "acme"
	// /data/payroll: 403 ""
}
