package latchkey_test

import (
	"context"
	"fmt"
	"time"

	"github.com/latchkey-go/latchkey"
	"github.com/latchkey-go/latchkey/memstore"
)

// A stateless token costs no storage. It can be revoked all the same.
func Example_statelessToken() {
	ctx := context.Background()
	key, err := latchkey.GenerateKey(nil, 1)
	if err != nil {
		panic(err)
	}
	ring, err := latchkey.NewKeyring(key)
	if err != nil {
		panic(err)
	}
	keys := latchkey.New(memstore.New(nil), &latchkey.Options{Keyring: ring})
	acme := keys.For("acme")
	_, secret, err := acme.Issue(ctx, latchkey.Spec{Kind: latchkey.KindAPIKey, Permissions: latchkey.Permissions{
		latchkey.Allow(latchkey.Read).On("order/*")}})
	if err != nil {
		panic(err)
	}
	access, err := keys.Verify(ctx, latchkey.Presented{Secret: secret.Reveal()})
	if err != nil {
		panic(err)
	}

	page, text, err := access.Mint(ctx, latchkey.Narrowing{Stateless: true, Lifetime: 15 * time.Minute,
		Client: latchkey.Client{ID: "42"},
		Rows:   []latchkey.Condition{latchkey.Where("customer", latchkey.Eq, latchkey.ClientID)}})
	if err != nil {
		panic(err)
	}
	visitor, err := keys.Verify(ctx, latchkey.Presented{Secret: text.Reveal()})
	if err != nil {
		panic(err)
	}
	rows, _ := visitor.Filter(latchkey.Read, "order/7")
	fmt.Println(rows)
	_, err = acme.Get(ctx, page.ID)
	fmt.Println(err)

	if err := acme.Revoke(ctx, page.ID, "logged out"); err != nil {
		panic(err)
	}
	_, err = keys.Verify(ctx, latchkey.Presented{Secret: text.Reveal()})
	fmt.Println(err)
	// Output:
	// customer = "42"
	// latchkey: not found: the token is stateless: it is not stored, so it is neither listed nor changed, and only revoked
	// latchkey: token revoked
}
