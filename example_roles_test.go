package latchkey_test

import (
	"bytes"
	"context"
	"fmt"
	"log"
	"time"

	"github.com/latchkey-go/latchkey"
	"github.com/latchkey-go/latchkey/memstore"
)

// Roles in code hold for every owner. A program without that code reads them from a file.
func ExampleWriteRoles() {
	ctx := context.Background()
	store := memstore.New(nil)
	viewer := latchkey.Role{Name: "viewer", Permissions: latchkey.Permissions{
		latchkey.Allow(latchkey.Read).On("invoice/*")}}
	editor := latchkey.Role{Name: "editor", Inherits: []string{"viewer"}, Permissions: latchkey.Permissions{
		latchkey.Grant(latchkey.Update).On("invoice/*")}}
	keys := latchkey.New(store, &latchkey.Options{Roles: []latchkey.Role{viewer, editor}})
	acme := keys.For("acme")

	// Each owner may have roles of its own beside them. This one is made with the first start, and kept as it is later.
	_, changed, err := acme.EnsureRole(ctx, latchkey.Role{Name: "clerk", Inherits: []string{"viewer"}})
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println("changed:", changed)

	// Ada may edit until the end of the week, and sees what there is as long as the key works.
	week := time.Now().AddDate(0, 0, 7)
	token, _, err := acme.Issue(ctx, latchkey.Spec{Kind: latchkey.KindAPIKey, Name: "Ada's laptop",
		Roles: []string{"clerk", "editor"}, RoleEnds: map[string]time.Time{"editor": week}})
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println("the record has ids:", token.Roles[1])

	var file bytes.Buffer
	if err := latchkey.WriteRoles(&file, keys.CodeRoles()); err != nil {
		log.Fatal(err)
	}
	roles, err := latchkey.ReadRoles(&file)
	if err != nil {
		log.Fatal(err)
	}
	tool := latchkey.New(store, &latchkey.Options{Roles: roles}).For("acme")
	e, err := tool.Explain(ctx, token.ID, latchkey.Question{Action: latchkey.Update, Resource: "invoice/7"})
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println("a tool says:", e[0].Verdict)
	// Output:
	// changed: true
	// the record has ids: code:editor
	// a tool says: all
}
