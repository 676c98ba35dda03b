// Which rows a caller may write, and with which values.
package main

import (
	"errors"
	"fmt"
	"log"

	"github.com/latchkey-go/latchkey"
	"github.com/latchkey-go/latchkey/memstore"
)

var orders = latchkey.NewSchema(latchkey.Fields{
	"region": {Column: "region", Type: latchkey.Text},
	"amount": {Column: "amount", Type: latchkey.Integer},
})

func main() {
	if err := run(); err != nil {
		log.Fatal(err)
	}
}

func run() error {
	keys := latchkey.New(memstore.New(nil), nil)
	eu := latchkey.Where("region", latchkey.Eq, "EU")
	access, err := keys.For("acme").Assume(latchkey.Client{ID: "42"}, latchkey.Permissions{
		latchkey.Allow(latchkey.Create).On("dataset/orders").Where(eu).Force(map[string]any{"region": "EU"}),
		latchkey.Allow(latchkey.Update, latchkey.Delete).On("dataset/orders").Where(eu),
	})
	if err != nil {
		return err
	}

	// Create: no row before. Forced values replace those of the caller, and text from a form gets its type.
	row, err := access.Prepare(latchkey.Create, "dataset/orders", orders, nil,
		latchkey.Row{"amount": "3", "region": "US"})
	if err != nil {
		return err
	}
	fmt.Printf("create %v, amount is %T\n", row, row["amount"])

	// Update: the rules must allow the row before and after, so none can be moved out of reach.
	before := latchkey.Row{"region": "EU", "amount": 3}
	row, err = access.Prepare(latchkey.Update, "dataset/orders", orders, before, latchkey.Row{"region": "EU", "amount": 4})
	if err != nil {
		return err
	}
	fmt.Println("update", row)
	_, err = access.Prepare(latchkey.Update, "dataset/orders", orders, before, latchkey.Row{"region": "US", "amount": 4})
	fmt.Println(errors.Is(err, latchkey.ErrDenied), err)

	// Delete: no row after.
	_, err = access.Prepare(latchkey.Delete, "dataset/orders", orders, latchkey.Row{"region": "US", "amount": 9}, nil)
	fmt.Println(errors.Is(err, latchkey.ErrDenied), err)

	// An unknown field is an error. It is never dropped.
	_, err = access.Prepare(latchkey.Create, "dataset/orders", orders, nil, latchkey.Row{"amuont": 3})
	fmt.Println(errors.Is(err, latchkey.ErrBadCondition), err)
	return nil
}
