package httpadapter_test

import (
	"net/http"
	"net/http/httptest"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/latchkey-go/latchkey"
	"github.com/latchkey-go/latchkey/httpadapter"
)

// A preflight never reaches the guarded handler, and never needs a token. Every other request does.
func TestPreflight(t *testing.T) {
	w := newFixture(t)
	key := w.key()
	preflight := []string{"Origin", "https://app.example.com", "Access-Control-Request-Method", "GET",
		"Access-Control-Request-Headers", "authorization"}
	served := 0
	work := http.HandlerFunc(func(http.ResponseWriter, *http.Request) { served++ })
	layer := http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
		_, known := httpadapter.AccessFrom(r.Context())
		require.False(t, known)
		rw.Header().Set("Access-Control-Allow-Origin", "*")
		rw.WriteHeader(200)
	})
	send := func(h http.Handler, method string, headers ...string) *httptest.ResponseRecorder {
		r, out := httptest.NewRequest(method, "/", nil), httptest.NewRecorder()
		for i := 0; i < len(headers); i += 2 {
			r.Header[headers[i]] = append(r.Header[headers[i]], headers[i+1])
		}
		h.ServeHTTP(out, r)
		return out
	}
	query := httpadapter.Carriers{Bearer: true, Query: []string{"token"}}
	for _, opts := range []*httpadapter.Options{{}, {Preflight: layer}, {Carriers: query}} {
		auth := httpadapter.New(w.keys, opts)
		for name, h := range map[string]http.Handler{
			"Authenticate": auth.Authenticate(work),
			"Require":      auth.Require(latchkey.Read, "dataset/orders")(work),
			"RequireRows":  auth.RequireRows(latchkey.Read, "dataset/{id}")(work),
			"both":         auth.Authenticate(auth.Require(latchkey.Read, "dataset/orders")(work)),
		} {
			want := 204
			if opts.Preflight != nil {
				want = 200
			}
			out := send(h, "OPTIONS", preflight...)
			require.Equal(t, want, out.Code, name)
			require.Equal(t, opts.Preflight != nil, out.Header().Get("Access-Control-Allow-Origin") == "*", name)
			for _, method := range []string{"GET", "POST", "HEAD", "options"} {
				require.Equal(t, 401, send(h, method, preflight...).Code, "%s, %s", name, method)
			}
			for what, headers := range map[string][]string{
				"no header":    nil,
				"no method":    preflight[:2],
				"no origin":    preflight[2:],
				"empty origin": append([]string{"Origin", ""}, preflight[2:]...),
				"empty method": {"Origin", "https://app.example.com", "Access-Control-Request-Method", ""},
				"no word":      {"Origin", "https://app.example.com", "Access-Control-Request-Method", "GET, PUT"},
				"two methods":  append([]string{"Access-Control-Request-Method", "PUT"}, preflight...),
				"two origins":  append([]string{"Origin", "https://app.example.com"}, preflight...),
				"a bad token":  append([]string{"Authorization", "Bearer x"}, preflight...),
			} {
				require.Equal(t, 401, send(h, "OPTIONS", headers...).Code, "%s, %s", name, what)
			}
		}
	}
	require.Zero(t, served)
	h := httpadapter.New(w.keys, nil).Require(latchkey.Read, "dataset/orders")(work)
	require.Equal(t, 200, send(h, "OPTIONS", "Authorization", "Bearer "+key).Code, "not all OPTIONS are preflights")
	require.Equal(t, 200, send(h, "OPTIONS", append([]string{"Authorization", "Bearer " + key}, preflight...)...).Code)
	require.Equal(t, 2, served)
}
