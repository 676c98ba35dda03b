// Permission logic without tokens: rules are tested without a store, and used for a person that the host authenticated.
package main

import (
	"errors"
	"fmt"
	"log"

	"github.com/latchkey-go/latchkey"
	"github.com/latchkey-go/latchkey/memstore"
)

// staff is what each member of the staff may do. Rules are values: policy_test.go tests them.
var staff = latchkey.Permissions{
	latchkey.Allow(latchkey.Read, latchkey.Update).On("dataset/*"),
	latchkey.Deny(latchkey.Any).On("dataset/payroll"),
	// Grant adds to the rules before it: each member reads its own row.
	latchkey.Grant(latchkey.Read).On("dataset/payroll").Where(latchkey.Where("person", latchkey.Eq, latchkey.Self)),
}

var payroll = latchkey.NewSchema(latchkey.Fields{"person": {Column: "person", Type: latchkey.Text}})

func main() {
	if err := run(); err != nil {
		log.Fatal(err)
	}
}

func run() error {
	fmt.Println("update orders:", staff.Allows(latchkey.Update, "dataset/orders"))
	fmt.Println("read payroll:", staff.Allows(latchkey.Read, "dataset/payroll"))

	keys := latchkey.New(memstore.New(nil), nil)
	me, err := keys.For("acme").Assume(latchkey.Client{ID: "7", Name: "Grace"}, staff) // nothing is stored
	if err != nil {
		return err
	}

	rows, err := me.Filter(latchkey.Read, "dataset/payroll")
	if err != nil {
		return err
	}
	p, err := payroll.Bind(rows)
	if err != nil {
		return err
	}
	fmt.Println(p.SQL(latchkey.SQLite, 1))
	fmt.Println("own line:", me.CheckRow(latchkey.Read, "dataset/payroll", payroll, latchkey.Row{"person": "7"}))
	err = me.CheckRow(latchkey.Read, "dataset/payroll", payroll, latchkey.Row{"person": "8"})
	fmt.Println("another's line refused:", errors.Is(err, latchkey.ErrDenied))
	fmt.Print(me.Explain(latchkey.Update, "dataset/payroll"))
	return nil
}
