// Roles, a key that has one, and what the key may do.
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
	acme := keys.For("acme") // everything below belongs to this owner

	analyst, err := acme.CreateRole(ctx, latchkey.Role{Name: "analyst", Permissions: latchkey.Permissions{
		latchkey.Allow(latchkey.Read).On("dataset/*"),
		latchkey.Deny(latchkey.Any).On("dataset/payroll"), // a later rule outweighs an earlier one
	}})
	if err != nil {
		return err
	}
	editor, err := acme.CreateRole(ctx, latchkey.Role{Name: "editor", Inherits: []string{analyst.ID},
		Permissions: latchkey.Permissions{latchkey.Allow(latchkey.Create, latchkey.Update).On("dataset/orders")}})
	if err != nil {
		return err
	}
	token, secret, err := acme.Issue(ctx, latchkey.Spec{Kind: latchkey.KindAPIKey,
		Name: "reporting", Roles: []string{editor.ID}})
	if err != nil {
		return err
	}
	text := secret.Reveal() // give this to the caller now: only its digest is stored
	fmt.Println(token.Name, token.Kind, secret)

	access, err := keys.Verify(ctx, latchkey.Presented{Secret: text})
	if err != nil {
		return err
	}
	fmt.Println("read orders:", access.Check(latchkey.Read, "dataset/orders"))
	fmt.Println("update orders:", access.Check(latchkey.Update, "dataset/orders"))
	fmt.Println("read payroll:", access.Check(latchkey.Read, "dataset/payroll"))

	// An Access is a snapshot: the change of a role shows in the next one.
	if _, err := acme.UpdateRole(ctx, editor.ID, func(r *latchkey.Role) error {
		r.Permissions = nil
		return nil
	}); err != nil {
		return err
	}
	now, err := keys.Verify(ctx, latchkey.Presented{Secret: text})
	if err != nil {
		return err
	}
	fmt.Println("update orders, by the old snapshot:", access.Allows(latchkey.Update, "dataset/orders"))
	fmt.Println("update orders, now:", now.Allows(latchkey.Update, "dataset/orders"))
	return nil
}
