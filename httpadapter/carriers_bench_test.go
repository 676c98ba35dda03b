package httpadapter_test

import (
	"net/http"
	"net/http/httptest"
	"testing"
	"time"

	"github.com/latchkey-go/latchkey"
	"github.com/latchkey-go/latchkey/httpadapter"
	"github.com/latchkey-go/latchkey/memstore"
)

// BenchmarkRequire is a whole guarded request of a cached token, by carrier, without a server.
func BenchmarkRequire(b *testing.B) {
	keys := latchkey.New(memstore.New(nil), &latchkey.Options{MaxStale: time.Minute})
	_, secret, err := keys.For("acme").Issue(ctx, latchkey.Spec{Kind: latchkey.KindAPIKey,
		Permissions: latchkey.Permissions{latchkey.Allow(latchkey.Read).On("dataset/orders")}})
	if err != nil {
		b.Fatal(err)
	}
	text := secret.Reveal()
	all := everywhere
	all.Query = nil
	cors := &httpadapter.CORS{Origins: []string{app}}
	for _, bb := range []struct {
		name          string
		opts          *httpadapter.Options
		header, value string
	}{
		{"Bearer alone", nil, "Authorization", "Bearer " + text},
		{"Bearer alone, CORS", &httpadapter.Options{CORS: cors}, "Authorization", "Bearer " + text},
		{"Bearer of all", &httpadapter.Options{Carriers: all}, "Authorization", "Bearer " + text},
		{"header of all", &httpadapter.Options{Carriers: all}, "X-Api-Key", text},
		{"cookie of all", &httpadapter.Options{Carriers: all}, "Cookie", "theme=dark; key=" + text + "; seen=1"},
		{"Basic of all", &httpadapter.Options{Carriers: all}, "Authorization", basic(text + ":")},
	} {
		b.Run(bb.name, func(b *testing.B) {
			h := httpadapter.New(keys, bb.opts).Require(latchkey.Read, "dataset/orders")(
				http.HandlerFunc(func(http.ResponseWriter, *http.Request) {}))
			r := httptest.NewRequest("GET", "/", nil)
			r.Header.Set(bb.header, bb.value)
			r.Header.Set("Origin", app)
			if bb.header == "Cookie" || bb.name == "Basic of all" {
				r.Header.Set("Sec-Fetch-Site", "same-origin")
			}
			w := discard{http.Header{}}
			b.ReportAllocs()
			for b.Loop() {
				clear(w.h)
				h.ServeHTTP(w, r)
			}
			if w.h.Get("WWW-Authenticate") != "" {
				b.Fatal("refused")
			}
		})
	}
}
