package api_test

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"

	"github.com/latchkey-go/latchkey"
	"github.com/latchkey-go/latchkey/httpadapter"
	"github.com/latchkey-go/latchkey/httpadapter/api"
	"github.com/latchkey-go/latchkey/memstore"
)

func Example() {
	keys := latchkey.New(memstore.New(nil), nil)
	mux := http.NewServeMux()
	auth := httpadapter.New(keys, nil)
	api.Mount(mux, "/latchkey/v1", auth, nil)

	_, admin, err := keys.For("acme").Issue(context.Background(), latchkey.Spec{Kind: latchkey.KindSecret})
	if err != nil {
		panic(err)
	}
	call := func(token, method, path, body string) map[string]any {
		r := httptest.NewRequest(method, "/latchkey/v1"+path, strings.NewReader(body))
		r.Header.Set("Authorization", "Bearer "+token)
		if body != "" {
			r.Header.Set("Content-Type", "application/json")
		}
		w := httptest.NewRecorder()
		mux.ServeHTTP(w, r)
		var reply map[string]any
		_ = json.Unmarshal(w.Body.Bytes(), &reply)
		fmt.Println(method, path, w.Code)
		return reply
	}
	made := call(admin.Reveal(), "POST", "/tokens", `{"kind": "api_key", "name": "reports",
		"permissions": [{"allow": ["read"], "on": ["dataset/*"]}]}`)
	reach := call(made["secret"].(string), "GET", "/me/reach?action=read", "")
	fmt.Println(reach["items"])
	refusal := call(made["secret"].(string), "POST", "/tokens", `{"kind": "secret"}`)
	fmt.Println(refusal["title"])

	// Output:
	// POST /tokens 201
	// GET /me/reach?action=read 200
	// [map[pattern:dataset/* rows:true]]
	// POST /tokens 403
	// Forbidden
}

// A host with its own sign-in lets the people who are signed in use the API.
func ExampleHandler() {
	keys := latchkey.New(memstore.New(nil), nil)
	acme := keys.For("acme")
	auth := httpadapter.New(keys, nil)
	tokens := http.StripPrefix("/keys", api.Handler(auth, nil))
	signedIn := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		user := r.Header.Get("X-Signed-In") // in place of the host's own session
		address, err := httpadapter.ClientAddr(r, nil)
		if err != nil {
			auth.WriteError(w, r, err)
			return
		}
		access, err := acme.AssumeWith(latchkey.Caller{Client: latchkey.Client{ID: user}, Address: address,
			Rules: latchkey.Permissions{latchkey.Allow(latchkey.Read).On("latchkey/token/*")}})
		if err != nil {
			auth.WriteError(w, r, err)
			return
		}
		tokens.ServeHTTP(w, r.WithContext(httpadapter.WithAccess(r.Context(), access)))
	})
	r := httptest.NewRequest("GET", "/keys/me", nil)
	r.Header.Set("X-Signed-In", "ann")
	w := httptest.NewRecorder()
	signedIn.ServeHTTP(w, r)
	fmt.Print(w.Body)
	// Output: {"owner":"acme","client":{"id":"ann"},"address":"192.0.2.1"}
}
