package latchkey_test

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/latchkey-go/latchkey"
	"github.com/latchkey-go/latchkey/memstore"
)

// The rules of a plan: keys that end within a year, at most two of them, and at most one visitor of each at a time.
func ExampleOwnerPolicy() {
	ctx := context.Background()
	const year = 365 * 24 * time.Hour
	acme := latchkey.New(memstore.New(nil), nil).For("acme")
	err := acme.Configure(ctx, func(o *latchkey.Owner) error {
		o.Policy = latchkey.OwnerPolicy{MaxLifetime: year, Tokens: 2, Children: 1,
			Kinds: []latchkey.Kind{latchkey.KindAPIKey, latchkey.KindAccess}}
		return nil
	})
	fmt.Println(err)

	_, _, err = acme.Issue(ctx, latchkey.Spec{Kind: latchkey.KindAPIKey})
	fmt.Println(errors.Is(err, latchkey.ErrPolicy)) // it would have no end

	spec := latchkey.Spec{Kind: latchkey.KindAPIKey, Validity: latchkey.Validity{NotAfter: time.Now().Add(year)}}
	_, secret, _ := acme.Issue(ctx, spec)
	access, _ := acme.Verify(ctx, latchkey.Presented{Secret: secret.Reveal()})
	_, _, err = access.Mint(ctx, latchkey.Narrowing{Lifetime: time.Hour})
	fmt.Println(err)
	_, _, err = access.Mint(ctx, latchkey.Narrowing{Lifetime: time.Hour})
	fmt.Println(errors.Is(err, latchkey.ErrTooMany))
	// Output:
	// <nil>
	// true
	// <nil>
	// true
}
