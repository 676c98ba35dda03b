package httpadapter_test

import (
	"context"
	"net/http"
	"net/http/httptest"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/latchkey-go/latchkey"
	"github.com/latchkey-go/latchkey/httpadapter"
	"github.com/latchkey-go/latchkey/memstore"
)

// A refusal that the Manager has reported is not reported again with the reply, even if the host set the Access.
func TestARefusalOfAnAccessOfTheHostIsReportedOnce(t *testing.T) {
	var heard []latchkey.Refusal
	keys := latchkey.New(memstore.New(nil), &latchkey.Options{Observer: latchkey.Observer{
		Refused: func(_ context.Context, r latchkey.Refusal) { heard = append(heard, r) }}})
	acme := keys.For("acme")
	require.NoError(t, acme.Configure(ctx, func(o *latchkey.Owner) error {
		o.Limits.Quotas = []latchkey.Quota{{Amount: 10, Per: latchkey.Month}}
		return nil
	}))
	var told latchkey.Refusal
	a := httpadapter.New(keys, &httpadapter.Options{OnError: func(r *http.Request, _ error) {
		told, _ = httpadapter.RefusalFrom(r.Context())
	}})
	h := a.Require(latchkey.Read, "dataset/orders")(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		access, _ := httpadapter.AccessFrom(r.Context())
		_, err := access.Spend(r.Context(), "calls", "GET /", 11)
		a.WriteError(w, r, err)
	}))
	assumed := must(acme.Assume(latchkey.Client{ID: "7"}, latchkey.Permissions{latchkey.Allow(latchkey.Read).On("*")}))
	for range 2 {
		heard, told = nil, latchkey.Refusal{}
		out := httptest.NewRecorder()
		r := httptest.NewRequest("GET", "/", nil)
		h.ServeHTTP(out, r.WithContext(httpadapter.WithAccess(r.Context(), assumed)))
		require.Equal(t, 402, out.Code)
		require.Len(t, heard, 1)
		require.Equal(t, "over_limit", heard[0].Reason)
		require.Equal(t, "over_limit", told.Reason)
	}
}
