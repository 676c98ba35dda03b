package httpadapter_test

import (
	"context"
	"fmt"
	"net/http"
	"net/http/httptest"

	"github.com/latchkey-go/latchkey"
	"github.com/latchkey-go/latchkey/httpadapter"
	"github.com/latchkey-go/latchkey/memstore"
)

// A handler behind RequireRows serves the rows that its caller may read. A caller without any is refused before.
func ExampleAdapter_RequireRows() {
	keys := latchkey.New(memstore.New(nil), nil)
	_, secret, err := keys.For("acme").Issue(context.Background(), latchkey.Spec{
		Kind: latchkey.KindAPIKey,
		Permissions: latchkey.Permissions{
			latchkey.Allow(latchkey.Read).On("dataset/orders").Where(latchkey.Where("region", latchkey.Eq, "EU")),
		},
	})
	if err != nil {
		panic(err)
	}
	orders := latchkey.NewSchema(latchkey.Fields{"region": {Column: "o.region", Type: latchkey.Text}})

	auth := httpadapter.New(keys, nil)
	mux := http.NewServeMux()
	mux.Handle("GET /data/{id}", auth.RequireRows(latchkey.Read, "dataset/{id}")(
		http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			rows, _ := httpadapter.RowsFrom(r.Context())
			p, err := orders.Bind(rows)
			if err != nil {
				auth.WriteError(w, r, err)
				return
			}
			fmt.Fprint(w, p.Match(latchkey.Row{"region": "EU"}), " ", p.Match(latchkey.Row{"region": "US"}))
		})))

	for _, path := range []string{"/data/orders", "/data/payroll"} {
		r := httptest.NewRequest("GET", path, nil)
		r.Header.Set("Authorization", "Bearer "+secret.Reveal())
		w := httptest.NewRecorder()
		mux.ServeHTTP(w, r)
		fmt.Println(w.Code, w.Body)
	}
	// Output:
	// 200 true false
	// 403 {"type":"tag:latchkey-go.github.io,2026:problem/denied","title":"Forbidden","status":403}
}

// Keys may come in a header of their own, as the user name of Basic, and in a cookie, beside Bearer.
func ExampleCarriers() {
	keys := latchkey.New(memstore.New(nil), nil)
	_, secret, err := keys.For("acme").Issue(context.Background(), latchkey.Spec{Kind: latchkey.KindAPIKey,
		Permissions: latchkey.Permissions{latchkey.Allow(latchkey.Read).On("dataset/*")}})
	if err != nil {
		panic(err)
	}
	auth := httpadapter.New(keys, &httpadapter.Options{Carriers: httpadapter.Carriers{
		Bearer:  true,                  // Authorization: Bearer KEY
		Basic:   httpadapter.BasicUser, // curl -u KEY:
		Headers: []string{"X-API-Key"},
		Cookie:  "__Host-key",
	}})
	h := auth.Require(latchkey.Read, "dataset/orders")(
		http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, "orders") }))

	for _, header := range [][2]string{
		{"Authorization", "Bearer " + secret.Reveal()},
		{"X-API-Key", secret.Reveal()},
		{"Cookie", "__Host-key=" + secret.Reveal()},
		{"Accept", "text/plain"}, // no key
	} {
		r, w := httptest.NewRequest("GET", "/orders", nil), httptest.NewRecorder()
		r.Header.Set(header[0], header[1])
		h.ServeHTTP(w, r)
		fmt.Println(header[0], w.Code)
		for _, challenge := range w.Header().Values("WWW-Authenticate") {
			fmt.Println("  ", challenge)
		}
	}
	// Output:
	// Authorization 200
	// X-API-Key 200
	// Cookie 200
	// Accept 401
	//    Bearer realm="latchkey"
	//    Basic realm="latchkey", charset="UTF-8"
	//    ApiKey realm="latchkey", in="header", name="X-API-Key"
	//    ApiKey realm="latchkey", in="cookie", name="__Host-key"
}

// Pages of one other origin may call. CrossOrigin stands around the router: its routes name methods, so that preflights
// reach no guard.
func ExampleCORS() {
	keys := latchkey.New(memstore.New(nil), nil)
	auth := httpadapter.New(keys, &httpadapter.Options{CORS: &httpadapter.CORS{
		Origins: []string{"https://app.example.com"},
	}})
	orders := http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, "orders") })
	mux := http.NewServeMux()
	mux.Handle("GET /data/orders", auth.Require(latchkey.Read, "dataset/orders")(orders))
	site := auth.CrossOrigin(mux)

	for _, origin := range []string{"https://app.example.com", "https://evil.example"} {
		preflight := httptest.NewRequest("OPTIONS", "/data/orders", nil)
		preflight.Header.Set("Access-Control-Request-Method", "GET")
		preflight.Header.Set("Access-Control-Request-Headers", "authorization")
		for _, r := range []*http.Request{preflight, httptest.NewRequest("GET", "/data/orders", nil)} {
			r.Header.Set("Origin", origin)
			w := httptest.NewRecorder()
			site.ServeHTTP(w, r)
			fmt.Printf("%s %d %q\n", r.Method, w.Code, w.Header().Get("Access-Control-Allow-Origin"))
		}
	}
	// Output:
	// OPTIONS 204 "https://app.example.com"
	// GET 401 "https://app.example.com"
	// OPTIONS 403 ""
	// GET 401 ""
}

// A CORS layer of the host's own is placed before the guard. Its headers are on every reply, and a preflight needs no
// token.
func ExampleAdapter_Require_cors() {
	keys := latchkey.New(memstore.New(nil), nil)
	auth := httpadapter.New(keys, nil)
	cors := func(next http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("Access-Control-Allow-Origin", "https://app.example.com")
			w.Header().Set("Access-Control-Allow-Headers", "Authorization")
			next.ServeHTTP(w, r)
		})
	}
	orders := http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, "orders") })
	mux := http.NewServeMux()
	mux.Handle("/data/orders", cors(auth.Require(latchkey.Read, "dataset/orders")(orders)))

	preflight := httptest.NewRequest("OPTIONS", "/data/orders", nil)
	preflight.Header.Set("Origin", "https://app.example.com")
	preflight.Header.Set("Access-Control-Request-Method", "GET")
	preflight.Header.Set("Access-Control-Request-Headers", "authorization")
	for _, r := range []*http.Request{preflight, httptest.NewRequest("GET", "/data/orders", nil)} {
		w := httptest.NewRecorder()
		mux.ServeHTTP(w, r)
		fmt.Println(r.Method, w.Code, w.Header().Get("Access-Control-Allow-Origin"))
	}
	// Output:
	// OPTIONS 204 https://app.example.com
	// GET 401 https://app.example.com
}
