package oauth_test

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"time"

	"github.com/latchkey-go/latchkey"
	"github.com/latchkey-go/latchkey/httpadapter"
	"github.com/latchkey-go/latchkey/httpadapter/oauth"
	"github.com/latchkey-go/latchkey/memstore"
)

func Example() {
	keys := latchkey.New(memstore.New(nil), nil)
	mux := http.NewServeMux()
	oauth.Mount(mux, keys, &oauth.Options{
		Issuer: "https://api.example.com",
		Scopes: map[string]latchkey.Permissions{
			"orders:read":  {latchkey.Grant(latchkey.Read).On("order/*")},
			"orders:write": {latchkey.Grant(latchkey.Create, latchkey.Update).On("order/*")},
		},
		Lifetime: 10 * time.Minute,
	})
	auth := httpadapter.New(keys, nil) // what the tokens are for
	mux.Handle("GET /orders/{id}", auth.Require(latchkey.Read, "order/{id}")(
		http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, "two penguins") })))

	// The key of a customer. Its client gets tokens that may do less, for a while.
	key, secret, err := keys.For("acme").Issue(context.Background(), latchkey.Spec{Kind: latchkey.KindAPIKey,
		Permissions: latchkey.Permissions{latchkey.Grant(latchkey.Read, latchkey.Create, latchkey.Update).On("order/*")}})
	if err != nil {
		panic(err)
	}
	form := url.Values{"grant_type": {"client_credentials"}, "scope": {"orders:read"}}
	r := httptest.NewRequest("POST", "/oauth/token", strings.NewReader(form.Encode()))
	r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	r.SetBasicAuth(key.ID, secret.Reveal())
	w := httptest.NewRecorder()
	mux.ServeHTTP(w, r)
	var token struct {
		Text      string `json:"access_token"`
		Scope     string `json:"scope"`
		ExpiresIn int    `json:"expires_in"`
	}
	if err := json.Unmarshal(w.Body.Bytes(), &token); err != nil {
		panic(err)
	}
	fmt.Println(token.Scope, token.ExpiresIn)

	r = httptest.NewRequest("GET", "/orders/7", nil)
	r.Header.Set("Authorization", "Bearer "+token.Text)
	w = httptest.NewRecorder()
	mux.ServeHTTP(w, r)
	fmt.Println(w.Code, w.Body)
	// Output:
	// orders:read 600
	// 200 two penguins
}
