package main

import (
	"time"

	"github.com/latchkey-go/latchkey"
)

// invoices are the columns that conditions may name.
var invoices = latchkey.NewSchema(latchkey.Fields{
	"tenant":   {Column: "tenant", Type: latchkey.Text},
	"number":   {Column: "number", Type: latchkey.Text},
	"customer": {Column: "customer", Type: latchkey.Text},
	"state":    {Column: "state", Type: latchkey.Text},
	"cents":    {Column: "cents", Type: latchkey.Integer},
})

var (
	drafts     = latchkey.Where("state", latchkey.Eq, "draft")
	ofCustomer = latchkey.Where("customer", latchkey.Eq, latchkey.ClientID)
	ofTenant   = latchkey.Values{"tenant": latchkey.OwnerID} // written into each new row
)

// roles hold for every tenant. No tenant has a record of them.
var roles = []latchkey.Role{
	{Name: "viewer", Permissions: latchkey.Permissions{
		latchkey.Allow(latchkey.Read).On("invoice/*"),
	}},
	{Name: "clerk", Inherits: []string{"viewer"}, Permissions: latchkey.Permissions{
		latchkey.Allow(latchkey.Create).On("invoice/*").Where(drafts).Force(ofTenant),
		latchkey.Allow(latchkey.Update).On("invoice/*").Where(drafts), // what was sent is final
	}},
	{Name: "admin", Inherits: []string{"viewer"}, Permissions: latchkey.Permissions{
		latchkey.Allow(latchkey.Create).On("invoice/*").Force(ofTenant),
		latchkey.Allow(latchkey.Update).On("invoice/*"),
		latchkey.Allow(latchkey.Any).On("latchkey/token/*"),   // it issues, rotates and ends the keys of its tenant
		latchkey.Allow(latchkey.Give).On("latchkey/client/*"), // to anybody
		latchkey.Allow(latchkey.Read).On("latchkey/event"),    // and reads who did what
		latchkey.Allow(latchkey.Read).On("latchkey/role/*"),
	}},
}

// forCustomer is what a customer's page may do: read its own invoices, for a quarter of an hour.
func forCustomer(id string) latchkey.Narrowing {
	return latchkey.Narrowing{
		Client:      latchkey.Client{ID: id},
		Lifetime:    15 * time.Minute,
		Permissions: latchkey.Permissions{latchkey.Allow(latchkey.Read).On("invoice/*")},
		Rows:        []latchkey.Condition{ofCustomer},
	}
}

// perDay is what each key may spend.
func perDay(requests latchkey.Credits) latchkey.Limits {
	return latchkey.Limits{
		Rate:   latchkey.PerSecond(50),
		Quotas: []latchkey.Quota{{Meter: "api", Amount: requests * latchkey.Credit, Per: latchkey.Day}},
	}
}
