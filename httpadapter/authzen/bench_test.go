package authzen

import (
	"net/http/httptest"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/latchkey-go/latchkey"
	"github.com/latchkey-go/latchkey/httpadapter"
	"github.com/latchkey-go/latchkey/memstore"
)

// What an evaluation about a token costs, with and without its reason.
func BenchmarkEvaluation(b *testing.B) {
	keys := latchkey.New(memstore.New(nil), nil)
	issue := func(rules ...latchkey.Rule) (latchkey.Token, string) {
		tok, secret, err := keys.For("acme").Issue(b.Context(), latchkey.Spec{Kind: latchkey.KindAPIKey, Permissions: rules})
		require.NoError(b, err)
		return tok, secret.Reveal()
	}
	_, pep := issue(allow(latchkey.Read).On("latchkey/*"))
	tok, _ := issue(allow(latchkey.Read).On("dataset/*").Where(latchkey.Where("region", latchkey.Eq, "EU")))
	body := question("token", tok.ID, "read", "dataset", "a", `{"region":"EU"}`)
	for name, silent := range map[string]bool{"reason": false, "silent": true} {
		h := Handler(httpadapter.New(keys, nil), &Options{URL: pdp, NoReasons: silent,
			Resources: map[string]ResourceType{"dataset": {Schema: orders}}})
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				w := httptest.NewRecorder()
				if h.ServeHTTP(w, request("evaluation", pep, body)); w.Code != 200 {
					b.Fatal(w.Body)
				}
			}
		})
	}
}
