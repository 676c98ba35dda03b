package latchkey_test

import (
	"context"
	"encoding/json"
	"fmt"
	"log"
	"strings"
	"time"

	"github.com/latchkey-go/latchkey"
	"github.com/latchkey-go/latchkey/memstore"
)

// A handler of a list hands out pages: the items, and where the next page begins.
func ExampleAccount_TokensPage() {
	ctx := context.Background()
	acme := latchkey.New(memstore.New(nil), nil).For("acme")
	for _, name := range []string{"laptop", "phone", "robot"} {
		if _, _, err := acme.Issue(ctx, latchkey.Spec{Kind: latchkey.KindAPIKey, Name: name}); err != nil {
			log.Fatal(err)
		}
	}
	after := "" // from the request: ?after=…
	for {
		page, err := acme.TokensPage(ctx, latchkey.TokenQuery{Page: latchkey.Page{After: after, Limit: 2}})
		if err != nil {
			log.Fatal(err)
		}
		reply, err := json.Marshal(page) // {"items":[…],"next":"…"}
		if err != nil {
			log.Fatal(err)
		}
		fmt.Println(strings.Count(string(reply), `"name"`), "tokens, and more follow:", page.Next != "")
		if after = page.Next; after == "" {
			break
		}
	}
	// Output:
	// 2 tokens, and more follow: true
	// 1 tokens, and more follow: false
}

// The audit trail, newest first: what was done to one token lately.
func ExampleAccount_EventsPage() {
	ctx := context.Background()
	acme := latchkey.New(memstore.New(nil), nil).For("acme")
	token, _, err := acme.Issue(ctx, latchkey.Spec{Kind: latchkey.KindAPIKey})
	if err != nil {
		log.Fatal(err)
	}
	if err := acme.Revoke(ctx, token.ID, "lost"); err != nil {
		log.Fatal(err)
	}
	page, err := acme.EventsPage(ctx, latchkey.EventQuery{
		Object:  token.ID,
		Action:  "token.", // all actions on tokens
		From:    time.Now().Add(-24 * time.Hour),
		Reverse: true, // newest first
	})
	if err != nil {
		log.Fatal(err)
	}
	for _, e := range page.Items {
		fmt.Println(e.Seq, e.Action, e.Reason)
	}
	// Output:
	// 2 token.revoke lost
	// 1 token.issue
}

// With a catalogue, a rule that cannot be meant is refused when it is saved.
func ExampleOptions_catalogue() {
	ctx := context.Background()
	invoices := latchkey.NewSchema(latchkey.Fields{
		"region": {Column: "i.region", Type: latchkey.Text},
		"amount": {Column: "i.amount", Type: latchkey.Number},
	})
	keys := latchkey.New(memstore.New(nil), &latchkey.Options{Catalogue: &latchkey.Catalogue{
		Resources: []latchkey.ResourceType{
			{Template: "invoice/{id}", Name: "invoice", Schema: invoices,
				Actions: []latchkey.Action{latchkey.Read, latchkey.Update, "approve"}},
			{Template: "report", Actions: []latchkey.Action{"export"}},
		},
		Actions: map[latchkey.Action]string{"approve": "approve and pay"},
	}})
	_, err := keys.For("acme").CreateRole(ctx, latchkey.Role{Name: "clerk", Permissions: latchkey.Permissions{
		latchkey.Allow("aprove").On("invoice/*"),
	}})
	_, reason, _ := strings.Cut(err.Error(), "argument: ")
	fmt.Println(reason)
	// Output:
	// the catalogue has no action "aprove" on "invoice/{id}": there are "approve", "read", "update"
}
