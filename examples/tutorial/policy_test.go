package main

import (
	"testing"

	"github.com/latchkey-go/latchkey"
	"github.com/latchkey-go/latchkey/latchkeytest"
)

// What each role may do, without a database.
func TestRoles(t *testing.T) {
	kit := latchkeytest.New(t, &latchkey.Options{Roles: roles})
	key := func(role string) latchkey.Access {
		return kit.Access("acme", latchkey.Spec{Kind: latchkey.KindAPIKey, Roles: []string{role}})
	}
	latchkeytest.Check(t, key("viewer"),
		latchkeytest.All(latchkey.Read, "invoice/7"),
		latchkeytest.None(latchkey.Create, "invoice/7"),
		latchkeytest.None(latchkey.Create, "latchkey/token/x"))
	latchkeytest.Check(t, key("clerk"),
		latchkeytest.All(latchkey.Read, "invoice/7"),
		latchkeytest.Some(latchkey.Update, "invoice/7"), // drafts
		latchkeytest.None(latchkey.Delete, "invoice/7"))
	latchkeytest.Check(t, key("admin"),
		latchkeytest.All(latchkey.Update, "invoice/7"),
		latchkeytest.All(latchkey.Create, "latchkey/token/x"),
		latchkeytest.None(latchkey.Update, "latchkey/role/x"),
		latchkeytest.None(latchkey.Delete, "invoice/7")) // nobody deletes an invoice
	latchkeytest.Check(t, kit.Mint(key("clerk"), forCustomer("c-1")),
		latchkeytest.Some(latchkey.Read, "invoice/7"), // its own
		latchkeytest.None(latchkey.Update, "invoice/7"))
}

// Which rows, without a database: what SQL selects is what Match admits.
func TestRows(t *testing.T) {
	kit := latchkeytest.New(t, &latchkey.Options{Roles: roles})
	clerk := kit.Access("acme", latchkey.Spec{Kind: latchkey.KindAPIKey, Roles: []string{"clerk"}})
	row := func(customer, state string) latchkey.Row {
		return latchkey.Row{"tenant": "acme", "number": "7", "customer": customer, "state": state, "cents": int64(100)}
	}
	for _, c := range []struct {
		who     latchkey.Access
		action  latchkey.Action
		row     latchkey.Row
		allowed bool
	}{
		{clerk, latchkey.Update, row("c-1", "draft"), true},
		{clerk, latchkey.Update, row("c-1", "sent"), false},
		{kit.Mint(clerk, forCustomer("c-1")), latchkey.Read, row("c-1", "sent"), true},
		{kit.Mint(clerk, forCustomer("c-1")), latchkey.Read, row("c-2", "sent"), false},
	} {
		err := c.who.CheckRow(c.action, "invoice/7", invoices, c.row)
		if (err == nil) != c.allowed {
			t.Errorf("%s %v: %v", c.action, c.row, err)
		}
	}
}
