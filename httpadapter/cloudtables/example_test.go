package cloudtables_test

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"

	"github.com/latchkey-go/latchkey"
	"github.com/latchkey-go/latchkey/httpadapter/cloudtables"
	"github.com/latchkey-go/latchkey/memstore"
)

// A host gives its pages tokens that see one office, and serves their data calls.
func ExampleMount() {
	ctx := context.Background()
	keys := latchkey.New(memstore.New(nil), nil)
	acme := keys.For("acme")
	clerk, err := acme.CreateRole(ctx, latchkey.Role{Name: "clerk", Permissions: latchkey.Permissions{
		latchkey.Allow(latchkey.Read).On("dataset/*"),
	}})
	if err != nil {
		panic(err)
	}
	_, key, err := acme.Issue(ctx, latchkey.Spec{Kind: latchkey.KindAPIKey,
		Name: "web site", Roles: []string{clerk.ID}})
	if err != nil {
		panic(err)
	}
	staff := latchkey.NewSchema(latchkey.Fields{"dp-1": {Column: "office", Type: latchkey.Text}})

	mux := http.NewServeMux()
	cloudtables.Mount(mux, acme, nil)
	authorize := cloudtables.Authorize(acme, nil)
	mux.HandleFunc("GET /io/api/1/dataset/{id}", func(w http.ResponseWriter, r *http.Request) {
		call, err := authorize(r)
		if err != nil {
			cloudtables.WriteError(w, r, err)
			return
		}
		rows, err := call.Access.Filter(latchkey.Read, latchkey.Path("dataset", r.PathValue("id")))
		if err != nil {
			cloudtables.WriteError(w, r, err)
			return
		}
		p, err := staff.Bind(rows)
		if err != nil {
			cloudtables.WriteError(w, r, err)
			return
		}
		fmt.Fprint(w, p.Match(latchkey.Row{"dp-1": "Bath"}), " ", p.Match(latchkey.Row{"dp-1": "York"}))
	})

	send := func(method, target, form string) string {
		r := httptest.NewRequest(method, target, strings.NewReader(form))
		r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
		w := httptest.NewRecorder()
		mux.ServeHTTP(w, r)
		return w.Body.String()
	}
	body := url.Values{"key": {key.Reveal()}, "roles[0]": {"clerk"}, "clientId": {"42"},
		"conditions[0][id]": {"dp-1"}, "conditions[0][value]": {"Bath"}}
	var reply struct{ Token string }
	if err := json.Unmarshal([]byte(send("POST", "/io/api/1/access", body.Encode())), &reply); err != nil {
		panic(err)
	}
	fmt.Println(send("GET", "/io/api/1/dataset/staff?token="+reply.Token, ""))

	body.Set("roles[0]", "owner")
	fmt.Println(send("POST", "/io/api/1/access", body.Encode()))
	// Output:
	// true false
	// {"success":false,"error":"noAccess","errors":[{"msg":"noAccess"}]}
}
