package latchkey_test

import (
	"context"
	"fmt"
	"log"

	"github.com/latchkey-go/latchkey"
	"github.com/latchkey-go/latchkey/memstore"
)

// A page shows whose rights a change of a role would touch, before it is made.
func ExampleAccount_Effects() {
	ctx := context.Background()
	acme := latchkey.New(memstore.New(nil), nil).For("acme")
	viewer, err := acme.CreateRole(ctx, latchkey.Role{Name: "viewer", Permissions: latchkey.Permissions{
		latchkey.Allow(latchkey.Read).On("dataset/*")}})
	if err != nil {
		log.Fatal(err)
	}
	for _, name := range []string{"reporting", "backup"} {
		if _, _, err := acme.Issue(ctx, latchkey.Spec{Kind: latchkey.KindAPIKey, Name: name,
			Roles: []string{viewer.ID}}); err != nil {
			log.Fatal(err)
		}
	}
	viewer.Permissions = append(viewer.Permissions, latchkey.Deny(latchkey.Any).On("dataset/payroll"))
	for e, err := range acme.Effects(ctx, latchkey.Revision{Roles: []latchkey.Role{viewer}}) {
		if err != nil {
			log.Fatal(err)
		}
		fmt.Println(e.Token.Name, "gains:", e.Gains, "loses:", e.Loses)
	}
	// Output:
	// reporting gains: false loses: true
	// backup gains: false loses: true
}
