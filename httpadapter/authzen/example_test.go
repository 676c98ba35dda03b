package authzen_test

import (
	"context"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"

	"github.com/latchkey-go/latchkey"
	"github.com/latchkey-go/latchkey/httpadapter"
	"github.com/latchkey-go/latchkey/httpadapter/authzen"
	"github.com/latchkey-go/latchkey/memstore"
)

// staff is the host's directory: the token of each user.
type staff map[string]string

func (s staff) rights(ctx context.Context, account latchkey.Account, q authzen.Question) (latchkey.Rights, error) {
	return account.RightsOf(ctx, s[q.Subject.ID])
}

func Example() {
	ctx := context.Background()
	keys := latchkey.New(memstore.New(nil), nil)
	acme := keys.For("acme")
	people := staff{}
	invoices := latchkey.NewSchema(latchkey.Fields{"region": {Column: "i.region", Type: latchkey.Text}})
	mux := http.NewServeMux()
	authzen.Mount(mux, httpadapter.New(keys, nil), &authzen.Options{
		URL:       "https://pdp.example.com",
		Subjects:  map[string]authzen.SubjectType{"user": {Rights: people.rights}},
		Resources: map[string]authzen.ResourceType{"invoice": {Schema: invoices}},
	})

	ada, _, err := acme.Issue(ctx, latchkey.Spec{Kind: latchkey.KindAPIKey, Permissions: latchkey.Permissions{
		latchkey.Allow(latchkey.Read).On("invoice/*").Where(latchkey.Where("region", latchkey.Eq, "EU"))}})
	if err != nil {
		panic(err)
	}
	people["ada"] = ada.ID
	// The key of the gateway that asks. It may ask about every user, and do nothing itself.
	_, gateway, err := acme.Issue(ctx, latchkey.Spec{Kind: latchkey.KindAPIKey, Permissions: latchkey.Permissions{
		latchkey.Allow(latchkey.Read).On("latchkey/subject/user/*")}})
	if err != nil {
		panic(err)
	}
	r := httptest.NewRequest("POST", "https://pdp.example.com/access/v1/evaluations", strings.NewReader(`{
		"subject": {"type": "user", "id": "ada"},
		"action": {"name": "read"},
		"evaluations": [
			{"resource": {"type": "invoice", "id": "7", "properties": {"region": "EU"}}},
			{"resource": {"type": "invoice", "id": "8", "properties": {"region": "US"}}}
		]}`))
	r.Header.Set("Content-Type", "application/json")
	r.Header.Set("Authorization", "Bearer "+gateway.Reveal())
	w := httptest.NewRecorder()
	mux.ServeHTTP(w, r)
	fmt.Println(strings.ReplaceAll(w.Body.String(), "},{", "},\n{"))
	// Output:
	// {"evaluations":[{"decision":true,"context":{"reason":"token allows some rows only, and this is one of them"}},
	// {"decision":false,"context":{"reason":"token allows some rows only, and this is none of them"}}]}
}
