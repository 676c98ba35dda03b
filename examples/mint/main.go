// A backend with a key mints short-lived tokens, each narrowed to what one person may do.
package main

import (
	"context"
	"errors"
	"fmt"
	"log"
	"time"

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
	key, secret, err := acme.Issue(ctx, latchkey.Spec{Kind: latchkey.KindAPIKey,
		Permissions: latchkey.Permissions{
			latchkey.Allow(latchkey.Read, latchkey.Create).On("dataset/*"),
		}})
	if err != nil {
		return err
	}
	access, err := keys.Verify(ctx, latchkey.Presented{Secret: secret.Reveal()})
	if err != nil {
		return err
	}

	token, child, err := access.Mint(ctx, latchkey.Narrowing{
		Client:   latchkey.Client{ID: "42", Name: "Ada"},
		Lifetime: 15 * time.Minute,
		Rows:     []latchkey.Condition{latchkey.Where("region", latchkey.Eq, "EU")}, // AND-ed to what the key may reach
		Forced:   map[string]any{"region": "EU"},                                    // written into what the client creates
	})
	if err != nil {
		return err
	}
	fmt.Println(token.Kind, "for", token.Client.Name, "of", token.Validity.NotAfter.Sub(token.Created))

	ada, err := keys.Verify(ctx, latchkey.Presented{Secret: child.Reveal()})
	if err != nil {
		return err
	}
	rows, err := ada.Filter(latchkey.Read, "dataset/orders")
	if err != nil {
		return err
	}
	fmt.Println("reads where", rows)
	fmt.Println(ada.Check(latchkey.Delete, "dataset/orders"))

	// When the parent is revoked, its children are no longer valid.
	if err := acme.Revoke(ctx, key.ID, "leaked"); err != nil {
		return err
	}
	_, err = keys.Verify(ctx, latchkey.Presented{Secret: child.Reveal()})
	fmt.Println(errors.Is(err, latchkey.ErrParent), err)
	return nil
}
