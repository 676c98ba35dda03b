// A keyring: secrets that can be revealed later, and the change to a new key.
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
	first, err := latchkey.GenerateKey(nil, 1) // once; then store 1 and first.Secret with your other secrets
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

	// A new key seals new secrets. The old key stays, for what it sealed and digested.
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

	// Without the keyring the secret cannot be revealed.
	_, err = latchkey.New(store, nil).For("acme").Reveal(ctx, token.ID)
	fmt.Println("without a ring:", err)
	return nil
}
