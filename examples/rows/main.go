// A caller that may read some rows only, in SQL and in memory.
package main

import (
	"context"
	"errors"
	"fmt"
	"log"

	"github.com/latchkey-go/latchkey"
	"github.com/latchkey-go/latchkey/memstore"
)

// orders maps the fields of conditions to SQL columns. Columns come from here only, never from input.
var orders = latchkey.NewSchema(latchkey.Fields{
	"region": {Column: "o.region", Type: latchkey.Text},
	"amount": {Column: "o.amount", Type: latchkey.Integer},
})

func main() {
	if err := run(context.Background()); err != nil {
		log.Fatal(err)
	}
}

func run(ctx context.Context) error {
	keys := latchkey.New(memstore.New(nil), nil)
	_, secret, err := keys.For("acme").Issue(ctx, latchkey.Spec{Kind: latchkey.KindAPIKey,
		Permissions: latchkey.Permissions{
			latchkey.Allow(latchkey.Read).On("dataset/orders").Where(latchkey.All(
				latchkey.Where("region", latchkey.Eq, "EU"), latchkey.Where("amount", latchkey.Lt, 1000))),
		}})
	if err != nil {
		return err
	}
	access, err := keys.Verify(ctx, latchkey.Presented{Secret: secret.Reveal()})
	if err != nil {
		return err
	}

	// Check fails if only some rows are allowed, so a program cannot forget the filter.
	err = access.Check(latchkey.Read, "dataset/orders")
	if denied, ok := errors.AsType[*latchkey.DeniedError](err); ok && denied.Rows {
		fmt.Println("some rows only")
	}

	rows, err := access.Filter(latchkey.Read, "dataset/orders")
	if err != nil {
		return err // no row at all
	}
	p, err := orders.Bind(rows)
	if err != nil {
		return err // a condition on a field that orders does not have
	}
	where, args := p.SQL(latchkey.Postgres, 2) // placeholders from $2 on: $1 is the shop
	fmt.Printf("SELECT o.* FROM orders o WHERE o.shop = $1 AND\n%s\n", where)
	fmt.Println(args)

	fmt.Println(p.Match(latchkey.Row{"region": "EU", "amount": 999}))
	fmt.Println(p.Match(latchkey.Row{"region": "EU", "amount": nil})) // NULL never widens
	return nil
}
