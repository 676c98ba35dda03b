package webforce_test

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"

	"github.com/latchkey-go/latchkey"
	"github.com/latchkey-go/latchkey/httpadapter/webforce"
	"github.com/latchkey-go/latchkey/memstore"
)

// A user who is logged in on the host's own site makes a token for an application. The application then reads one
// database.
func ExampleMount() {
	keys := latchkey.New(memstore.New(nil), nil)
	acme := keys.For("acme")
	databases := map[string]string{"7": "Penguins", "8": "Islands"}

	mux := http.NewServeMux()
	webforce.Mount(mux, acme, &webforce.Options{
		Session: func(_ *http.Request, id string) (latchkey.Access, error) {
			if id != "the session of Ada" {
				return latchkey.Access{}, latchkey.ErrUnknownToken
			}
			return acme.Assume(latchkey.Client{ID: "ada"}, latchkey.Permissions{
				latchkey.Allow(latchkey.Any).On("db/*", "latchkey/token/*"),
			})
		},
		Commands: map[string]webforce.Command{
			"db.get": {Run: func(_ *http.Request, c webforce.Call) (any, error) {
				id, err := c.Text("db_id") // the flag "get" on it was asked already
				if err != nil {
					return nil, err
				}
				name, ok := databases[id]
				if !ok {
					return nil, latchkey.ErrNotFound
				}
				return map[string]string{"id": id, "name": name}, nil
			}},
		},
	})

	call := func(command, token string, params url.Values) string {
		params.Set("cmd", command)
		params.Set("auth_token", token)
		r := httptest.NewRequest("POST", "/api", strings.NewReader(params.Encode()))
		r.Header.Set("Content-Type", "application/x-www-form-urlencoded; charset=utf-8")
		w := httptest.NewRecorder()
		mux.ServeHTTP(w, r)
		return w.Body.String()
	}
	var added struct{ Data struct{ ID, Token string } }
	reply := call("access.add", "the session of Ada", url.Values{"name": {"web site"},
		"extra": {`{"db_permissions":[{"databases":["7"],"permissions":{"get":1}}]}`}})
	if err := json.Unmarshal([]byte(reply), &added); err != nil {
		panic(err)
	}
	fmt.Println(call("db.get", added.Data.Token, url.Values{"db_id": {"7"}}))
	fmt.Println(call("db.get", added.Data.Token, url.Values{"db_id": {"8"}}))
	fmt.Println(call("access.remove", "the session of Ada", url.Values{"token_id": {added.Data.ID}}))
	fmt.Println(call("db.get", added.Data.Token, url.Values{"db_id": {"7"}}))
	// Output:
	// {"return_code":"SUCCESS","message":"","data":{"id":"7","name":"Penguins"}}
	// {"return_code":"FAILURE","message":"Access denied","data":{}}
	// {"return_code":"SUCCESS","message":"","data":{}}
	// {"return_code":"FAILURE","message":"Access denied","data":{}}
}
