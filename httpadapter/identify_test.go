package httpadapter

import (
	"net/http"
	"net/http/httptest"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/latchkey-go/latchkey"
	"github.com/latchkey-go/latchkey/memstore"
)

// Identify passes a caller that the host has authenticated, if the Adapter could have made its Access and no page of
// another origin made the request.
func TestIdentify(t *testing.T) {
	keys := latchkey.New(memstore.New(nil), nil)
	auth := New(keys, &Options{Owner: "acme"})
	seen := ""
	handler := auth.Identify(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		access, _ := AccessFrom(r.Context())
		seen = access.Client().ID
	}))
	given := func(m *latchkey.Manager, owner string) latchkey.Access {
		a, err := m.For(owner).Assume(latchkey.Client{ID: "ann"}, nil)
		require.NoError(t, err)
		return a
	}
	ann := given(keys, "acme")
	link := []string{"Sec-Fetch-Site", "cross-site", "Sec-Fetch-Mode", "navigate", "Sec-Fetch-Dest", "document"}
	cross := []string{"Sec-Fetch-Site", "cross-site", "Origin", "https://evil.example"}
	for name, c := range map[string]struct {
		access  *latchkey.Access
		method  string
		headers []string
		status  int
	}{
		"signed in":                             {&ann, "POST", nil, 200},
		"signed in, its own page":               {&ann, "POST", []string{"Sec-Fetch-Site", "same-origin"}, 200},
		"signed in, another page":               {&ann, "POST", cross, 403},
		"signed in, another page reads":         {&ann, "GET", cross, 403},
		"signed in, a link":                     {&ann, "GET", link, 200},
		"signed in, a form that is posted":      {&ann, "POST", link, 403},
		"signed in, a program's page":           {&ann, "POST", append(cross[:4:4], "Authorization", "Bearer x"), 200},
		"signed in, Basic from another page":    {&ann, "POST", append(cross[:4:4], "Authorization", "Basic eDp5"), 403},
		"signed in, a header with two readings": {&ann, "POST", []string{"Authorization", "Bearer"}, 200},
		"signed in, a malformed header":         {&ann, "POST", []string{"Authorization", "Bea\x01rer x"}, 400},
		"another owner's":                       {new(given(keys, "other")), "POST", nil, 401},
		"another Manager's":                     {new(given(latchkey.New(memstore.New(nil), nil), "acme")), "POST", nil, 401},
		"the zero Access":                       {new(latchkey.Access{}), "POST", nil, 401},
		"nobody":                                {nil, "POST", nil, 401},
		"a preflight": {&ann, "OPTIONS", []string{"Origin", "https://a.example", "Access-Control-Request-Method", "POST"},
			204},
	} {
		seen = ""
		r := httptest.NewRequest(c.method, "/x", nil)
		for i := 0; i < len(c.headers); i += 2 {
			r.Header.Set(c.headers[i], c.headers[i+1])
		}
		if c.access != nil {
			r = r.WithContext(WithAccess(r.Context(), *c.access))
		}
		w := httptest.NewRecorder()
		handler.ServeHTTP(w, r)
		require.Equal(t, c.status, w.Code, "%s: %s", name, w.Body)
		require.Equal(t, c.status == 200, seen == "ann", name)
	}

	// What an Adapter found itself was judged then.
	_, secret, err := keys.For("acme").Issue(t.Context(), latchkey.Spec{Kind: latchkey.KindAPIKey})
	require.NoError(t, err)
	r := httptest.NewRequest("POST", "/x", nil)
	r.Header.Set("Authorization", "Bearer "+secret.Reveal())
	r.Header.Set("Sec-Fetch-Site", "cross-site")
	r.Header.Set("Origin", "https://spa.example")
	for _, h := range []http.Handler{handler, auth.Authenticate(handler), auth.Identify(handler)} {
		w := httptest.NewRecorder()
		h.ServeHTTP(w, r)
		require.Equal(t, 200, w.Code)
	}
}
