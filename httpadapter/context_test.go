package httpadapter_test

import (
	"net/http"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/latchkey-go/latchkey"
	"github.com/latchkey-go/latchkey/httpadapter"
)

func TestWithAccess(t *testing.T) {
	w := newFixture(t)
	host := func(a latchkey.Access, h http.Handler) http.Handler {
		return http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
			h.ServeHTTP(rw, r.WithContext(httpadapter.WithAccess(r.Context(), a)))
		})
	}
	may := latchkey.Permissions{latchkey.Allow(latchkey.Read).On("dataset/orders")}
	h := httpadapter.New(w.keys, &httpadapter.Options{Owner: "acme"}).Require(latchkey.Read, "dataset/orders")(whoami)
	require.Equal(t, 200, get(host(must(w.acme.Assume(latchkey.Client{ID: "7"}, may)), h), "/", "").Code)
	require.Equal(t, 403, get(host(must(w.acme.Assume(latchkey.Client{ID: "7"}, nil)), h), "/", "").Code)
	require.Equal(t, 401, get(host(must(w.other.Assume(latchkey.Client{ID: "7"}, may)), h), "/", "").Code)
	require.Equal(t, 401, get(host(latchkey.Access{}, h), "/", "").Code)
	_, ok := httpadapter.AccessFrom(ctx)
	require.False(t, ok)
	rows, ok := httpadapter.RowsFrom(httpadapter.WithAccess(ctx, must(w.acme.Assume(latchkey.Client{}, may))))
	require.False(t, ok)
	require.True(t, rows.IsNoRows())
}
