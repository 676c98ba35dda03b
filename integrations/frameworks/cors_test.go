package frameworks_test

import (
	"net/http"
	"net/http/httptest"
	"testing"

	"github.com/gin-gonic/gin"
	"github.com/stretchr/testify/require"

	"github.com/latchkey-go/latchkey"
	"github.com/latchkey-go/latchkey/httpadapter"
	latchkeygin "github.com/latchkey-go/latchkey/integrations/frameworks/gin"
	"github.com/latchkey-go/latchkey/memstore"
)

// TestGinCrossOrigin: CrossOrigin as middleware of the engine answers preflights of routes that name another method. It
// sets its headers on what the router itself answers, and lets nobody in.
func TestGinCrossOrigin(t *testing.T) {
	keys := latchkey.New(memstore.New(nil), nil)
	_, secret, err := keys.For("acme").Issue(t.Context(), latchkey.Spec{Kind: latchkey.KindAPIKey,
		Permissions: latchkey.Permissions{latchkey.Allow(latchkey.Read).On("orders")}})
	require.NoError(t, err)
	const page = "https://app.example.com"
	auth := httpadapter.New(keys, &httpadapter.Options{CORS: &httpadapter.CORS{Origins: []string{page}}})
	e := gin.New()
	e.Use(latchkeygin.Guard(auth.CrossOrigin))
	served := 0
	e.GET("/orders", latchkeygin.Guard(auth.RequireRows(latchkey.Read, "orders")), func(c *gin.Context) {
		served++
		rows, _ := httpadapter.RowsFrom(c.Request.Context())
		c.String(http.StatusOK, rows.String())
	})
	ask := func(method, path, origin string, headers ...string) *httptest.ResponseRecorder {
		r := httptest.NewRequest(method, path, nil)
		r.Header.Set("Origin", origin)
		for i := 0; i < len(headers); i += 2 {
			r.Header.Set(headers[i], headers[i+1])
		}
		out := httptest.NewRecorder()
		e.ServeHTTP(out, r)
		return out
	}
	const other = "https://other.example.com"
	preflight := []string{"Access-Control-Request-Method", "GET", "Access-Control-Request-Headers", "authorization"}
	key := []string{"Authorization", "Bearer " + secret.Reveal()}
	for _, c := range []struct {
		method, path, origin string
		headers              []string
		status               int
	}{
		{"OPTIONS", "/orders", page, preflight, 204},
		{"OPTIONS", "/none", page, preflight, 204},
		{"OPTIONS", "/orders", other, preflight, 403},
		{"OPTIONS", "/orders", page, nil, 404},
		{"GET", "/orders", page, key, 200},
		{"GET", "/orders", page, nil, 401},
		{"GET", "/none", page, nil, 404},
		{"GET", "/orders", other, key, 200}, // the browser does not show it to the page
	} {
		before := served
		out := ask(c.method, c.path, c.origin, c.headers...)
		require.Equal(t, c.status, out.Code, "%+v", c)
		require.Equal(t, c.status == 200, served > before, "%+v", c)
		want := ""
		if c.origin == page {
			want = page
		}
		require.Equal(t, want, out.Header().Get("Access-Control-Allow-Origin"), "%+v", c)
	}
}
