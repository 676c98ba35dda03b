package oauth

import (
	"fmt"
	"net/http/httptest"
	"testing"

	"github.com/latchkey-go/latchkey"
	"github.com/latchkey-go/latchkey/memstore"
)

// The three endpoints with 3 and with 64 scopes. Each token that is made stays in the store.
func BenchmarkEndpoints(b *testing.B) {
	for _, n := range []int{3, maxScopes} {
		scopes := map[string]latchkey.Permissions{}
		for i := range n {
			on := latchkey.Pattern(fmt.Sprintf("data%d/*", i))
			scopes[fmt.Sprintf("s%d", i)] = latchkey.Permissions{latchkey.Grant("read", "update").On(on)}
		}
		keys := latchkey.New(memstore.New(nil), nil)
		tok, secret, err := keys.For("acme").Issue(b.Context(), latchkey.Spec{Kind: latchkey.KindSecret})
		if err != nil {
			b.Fatal(err)
		}
		h := Handler(keys, &Options{Issuer: issuer, Scopes: scopes})
		for _, bb := range []struct{ name, path, form string }{
			{"token, one scope", "/oauth/token", pairs("grant_type", grantClientCredentials, "scope", "s1")},
			{"token, all scopes", "/oauth/token", pairs("grant_type", grantClientCredentials)},
			{"introspect", "/oauth/introspect", pairs("token", secret.Reveal())},
			{"revoke nothing", "/oauth/revoke", pairs("token", "x")},
		} {
			b.Run(fmt.Sprintf("%s of %d", bb.name, n), func(b *testing.B) {
				b.ReportAllocs()
				for b.Loop() {
					r := post(bb.path, bb.form)
					r.SetBasicAuth(tok.ID, secret.Reveal())
					w := httptest.NewRecorder()
					if h.ServeHTTP(w, r); w.Code != 200 {
						b.Fatal(w.Body)
					}
				}
			})
		}
	}
}
