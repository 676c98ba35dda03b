// One role for every employee: its rules refer to whoever asks, by the client and the attributes of the token.
package main

import (
	"context"
	"fmt"
	"log"

	"github.com/latchkey-go/latchkey"
	"github.com/latchkey-go/latchkey/memstore"
)

func main() {
	if err := run(context.Background()); err != nil {
		log.Fatal(err)
	}
}

func run(ctx context.Context) error {
	keys := latchkey.New(memstore.New(nil), nil)
	acme := keys.For("acme")
	employee, err := acme.CreateRole(ctx, latchkey.Role{Name: "employee", Permissions: latchkey.Permissions{
		latchkey.Allow(latchkey.Read).On("dataset/reports").Where(
			latchkey.Where("department", latchkey.Eq, latchkey.Attr("department"))),
		latchkey.Allow(latchkey.Create).On("dataset/reports").
			Force(map[string]any{"author": latchkey.ClientID, "department": latchkey.Attr("department")}),
	}})
	if err != nil {
		return err
	}
	reports := latchkey.NewSchema(latchkey.Fields{
		"author":     {Column: "author", Type: latchkey.Text},
		"department": {Column: "department", Type: latchkey.Text},
	})

	_, secret, err := acme.Issue(ctx, latchkey.Spec{Kind: latchkey.KindAPIKey, Name: "Ada's laptop",
		Roles:      []string{employee.ID},
		Client:     latchkey.Client{ID: "u-42", Name: "Ada"},
		Attributes: latchkey.Attributes{"department": "sales"}})
	if err != nil {
		return err
	}
	access, err := keys.Verify(ctx, latchkey.Presented{Secret: secret.Reveal()})
	if err != nil {
		return err
	}
	fmt.Printf("%s: %v of %s\n", access.Name(), access.RoleNames(), access.Client().Name)
	rows, err := access.Filter(latchkey.Read, "dataset/reports")
	if err != nil {
		return err
	}
	fmt.Println("reads where", rows)
	row, err := access.Prepare(latchkey.Create, "dataset/reports", reports, nil, latchkey.Row{"author": "somebody else"})
	if err != nil {
		return err
	}
	fmt.Println("writes", row)
	for token, err := range acme.Tokens(ctx, latchkey.TokenQuery{Client: "u-42"}) {
		if err != nil {
			return err
		}
		fmt.Println("Ada has", token.Name)
	}
	return nil
}
