// A keyring: secrets that can be shown again, and the change to a new key.
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
	first, err := latchkey.GenerateKey(nil, 1) // once; then keep 1 and first.Secret where your other secrets are
	if err != nil {
		return err
	}
	ring, err := latchkey.NewKeyring(first)
	if err != nil {
		return err
	}
	store := memstore.New(nil)
	keys := latchkey.New(store, &latchkey.Options{Keyring: ring})
	token, secret, err := keys.For("acme").Issue(ctx, latchkey.Spec{Kind: latchkey.KindAPIKey})
	if err != nil {
		return err
	}
	shown, err := keys.For("acme").Reveal(ctx, token.ID) // recorded in the audit trail
	if err != nil {
		return err
	}
	fmt.Println("the same:", shown.Reveal() == secret.Reveal())

	// A new key seals what is made from now on. The old one stays, for what it sealed and digested.
	second, err := latchkey.GenerateKey(nil, 2)
	if err != nil {
		return err
	}
	ring, err = latchkey.NewKeyring(second, first)
	if err != nil {
		return err
	}
	keys = latchkey.New(store, &latchkey.Options{Keyring: ring})
	shown, err = keys.For("acme").Reveal(ctx, token.ID)
	fmt.Println("under the new ring:", shown.Reveal() == secret.Reveal(), err)
	_, err = keys.Verify(ctx, latchkey.Presented{Secret: secret.Reveal()})
	fmt.Println("and it is still good:", err)

	// Without the ring the secret stays where it is.
	_, err = latchkey.New(store, nil).For("acme").Reveal(ctx, token.ID)
	fmt.Println("without a ring:", err)
	return nil
}
