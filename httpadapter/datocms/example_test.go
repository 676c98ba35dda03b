package datocms_test

import (
	"context"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"

	"github.com/latchkey-go/latchkey"
	"github.com/latchkey-go/latchkey/httpadapter"
	"github.com/latchkey-go/latchkey/httpadapter/datocms"
	"github.com/latchkey-go/latchkey/memstore"
)

// A host serves the product's calls about tokens and roles, and guards its own delivery API. A role decides which
// records a token may read there.
func ExampleMount() {
	ctx := context.Background()
	keys := latchkey.New(memstore.New(nil), nil)
	acme := keys.For("acme")
	admin, err := acme.CreateRole(ctx, datocms.AdminRole("Admin", "main"))
	if err != nil {
		panic(err)
	}
	_, secret, err := acme.Issue(ctx, datocms.TokenSpec("Full access", admin.ID, true, true, true))
	if err != nil {
		panic(err)
	}
	records := latchkey.NewSchema(latchkey.Fields{
		datocms.FieldCreator: {Column: "creator_id", Type: latchkey.Text},
	})

	mux := http.NewServeMux()
	datocms.Mount(mux, acme, nil)
	content := datocms.Delivery(acme, nil)(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		access, _ := httpadapter.AccessFrom(r.Context())
		asked, _ := datocms.DeliveredFrom(r.Context())
		rows, err := access.Filter(latchkey.Read, datocms.Model(asked.Environment, "article"))
		if err != nil {
			datocms.WriteError(w, r, err)
			return
		}
		p, err := records.Bind(rows)
		if err != nil {
			datocms.WriteError(w, r, err)
			return
		}
		where, _ := p.SQL(latchkey.SQLite, 1)
		fmt.Fprint(w, "drafts: ", asked.Drafts, ", WHERE ", where)
	}))
	mux.Handle("/graphql", content) // every method: a browser asks with OPTIONS first
	mux.Handle("/graphql/", content)

	send := func(path, body string, header ...string) string {
		r := httptest.NewRequest("POST", path, strings.NewReader(body))
		r.Header.Set("Authorization", "Bearer "+secret.Reveal())
		r.Header.Set("Content-Type", "application/json")
		r.Header.Set("X-Api-Version", "3")
		for i := 0; i+1 < len(header); i += 2 {
			r.Header.Set(header[i], header[i+1])
		}
		w := httptest.NewRecorder()
		mux.ServeHTTP(w, r)
		return fmt.Sprint(w.Code, " ", w.Body)
	}
	made := send("/roles", `{"data":{"type":"role","attributes":{"name":"Editor"}}}`)
	fmt.Println(strings.HasPrefix(made, "201 "))
	fmt.Println(send("/graphql", `{"query":"{ allArticles { id } }"}`, "X-Include-Drafts", "true"))
	fmt.Println(send("/graphql/environments/main", `{"query":"{ allArticles { id } }"}`))
	// Output:
	// true
	// 200 drafts: true, WHERE (1=1)
	// 200 drafts: false, WHERE (1=1)
}

// A host passes a whole prefix, so that the product's clients get a reply in their format from every path.
func ExampleHandler() {
	acme := latchkey.New(memstore.New(nil), nil).For("acme")
	mux := http.NewServeMux()
	mux.Handle("/cma/", http.StripPrefix("/cma", datocms.Handler(acme, nil)))

	w := httptest.NewRecorder()
	mux.ServeHTTP(w, httptest.NewRequest("GET", "/cma/site", nil))
	fmt.Println(w.Code, w.Header().Get("Content-Type"))
	// Output: 401 application/json; charset=utf-8
}
