// Administration of tokens on behalf of an actor: each call is checked against its rights and recorded with its id.
package main

import (
	"context"
	"errors"
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
	acme := keys.For("acme") // the host itself, with every right
	_, secret, err := acme.Issue(ctx, latchkey.Spec{Kind: latchkey.KindAPIKey,
		Name: "support desk", Permissions: latchkey.Permissions{
			latchkey.Allow(latchkey.Read).On("dataset/*"),
			latchkey.Allow(latchkey.Any).On("latchkey/token/*"), // no "*" reaches latchkey's own administration
		}})
	if err != nil {
		return err
	}
	access, err := keys.Verify(ctx, latchkey.Presented{Secret: secret.Reveal()})
	if err != nil {
		return err
	}

	desk, err := acme.As(access)
	if err != nil {
		return err
	}
	spec := latchkey.Spec{Kind: latchkey.KindAPIKey, Name: "guest"}

	spec.Permissions = latchkey.Permissions{latchkey.Allow(latchkey.Read, latchkey.Update).On("dataset/orders")}
	_, _, err = desk.Issue(ctx, spec)
	fmt.Println("stronger than the desk refused:", errors.Is(err, latchkey.ErrDenied))

	spec.Permissions = latchkey.Permissions{latchkey.Allow(latchkey.Read).On("dataset/orders")}
	guest, _, err := desk.Issue(ctx, spec)
	if err != nil {
		return err
	}
	err = desk.Revoke(ctx, guest.ID, "left the company")
	if err != nil {
		return err
	}

	names := map[string]string{"": "the host", access.TokenID(): "the support desk"}
	for e, err := range acme.Events(ctx, latchkey.EventQuery{}) {
		if err != nil {
			return err
		}
		fmt.Printf("%d %s by %s %q\n", e.Seq, e.Action, names[e.Actor], e.Reason)
	}
	return nil
}
