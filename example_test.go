package latchkey_test

import (
	"context"
	"errors"
	"fmt"
	"log"
	"time"

	"github.com/latchkey-go/latchkey"
	"github.com/latchkey-go/latchkey/memstore"
)

func ExampleNew() {
	ctx := context.Background()
	keys := latchkey.New(memstore.New(nil), nil)
	_, secret, err := keys.For("acme").Issue(ctx, latchkey.Spec{Kind: latchkey.KindAPIKey,
		Permissions: latchkey.Permissions{latchkey.Allow(latchkey.Read).On("dataset/*")}})
	if err != nil {
		log.Fatal(err)
	}
	access, err := keys.Verify(ctx, latchkey.Presented{Secret: secret.Reveal()}) // what a request brought along
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println("the key:", secret) // printing never shows it; Reveal does
	fmt.Println("read:", access.Check(latchkey.Read, "dataset/orders"))
	fmt.Println("update:", access.Check(latchkey.Update, "dataset/orders"))
	// Output:
	// the key: [redacted]
	// read: <nil>
	// update: latchkey: denied update on "dataset/orders"
}

// A caller who may see some rows only. Check refuses the caller, so that no handler can forget the filter.
func ExampleAccess_Filter() {
	orders := latchkey.NewSchema(latchkey.Fields{"region": {Column: "o.region", Type: latchkey.Text}}) // once
	access, err := latchkey.New(memstore.New(nil), nil).For("acme").Assume(latchkey.Client{ID: "42"}, latchkey.Permissions{
		latchkey.Allow(latchkey.Read).On("dataset/orders").Where(latchkey.Where("region", latchkey.Eq, "EU")),
	})
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(access.Check(latchkey.Read, "dataset/orders"))

	rows, err := access.Filter(latchkey.Read, "dataset/orders")
	if err != nil {
		log.Fatal(err) // not one row
	}
	p, err := orders.Bind(rows)
	if err != nil {
		log.Fatal(err) // the rules speak of a field that orders does not have
	}
	where, args := p.SQL(latchkey.SQLite, 1)
	fmt.Println(where, args)
	fmt.Println(p.Match(latchkey.Row{"region": "EU"}), p.Match(latchkey.Row{"region": "US"}))
	// Output:
	// latchkey: read on "dataset/orders" is allowed for some rows only
	// (typeof(o.region)='text' AND o.region = ? AND o.region COLLATE BINARY = ?) [EU EU]
	// true false
}

// Prepare answers what to write, or refuses.
func ExampleAccess_Prepare() {
	orders := latchkey.NewSchema(latchkey.Fields{
		"region": {Column: "region", Type: latchkey.Text},
		"amount": {Column: "amount", Type: latchkey.Integer},
	})
	access, err := latchkey.New(memstore.New(nil), nil).For("acme").Assume(latchkey.Client{ID: "42"}, latchkey.Permissions{
		latchkey.Allow(latchkey.Create, latchkey.Update).On("dataset/orders").
			Where(latchkey.Where("region", latchkey.Eq, "EU")).
			Force(map[string]any{"region": "EU"}), // decides what a create writes, whatever the caller sends
	})
	if err != nil {
		log.Fatal(err)
	}

	row, err := access.Prepare(latchkey.Create, "dataset/orders", orders, nil, latchkey.Row{"amount": "3"})
	fmt.Println(row, err)

	before := latchkey.Row{"region": "EU", "amount": 3}
	_, err = access.Prepare(latchkey.Update, "dataset/orders", orders, before, latchkey.Row{"region": "US", "amount": 3})
	fmt.Println(errors.Is(err, latchkey.ErrDenied))
	// Output:
	// map[amount:3 region:EU] <nil>
	// true
}

// A backend makes a short-lived token of its key, for one person and some rows.
func ExampleAccess_Mint() {
	ctx := context.Background()
	keys := latchkey.New(memstore.New(nil), nil)
	_, key, err := keys.For("acme").Issue(ctx, latchkey.Spec{Kind: latchkey.KindAPIKey,
		Permissions: latchkey.Permissions{latchkey.Allow(latchkey.Read).On("dataset/*")}})
	if err != nil {
		log.Fatal(err)
	}
	access, err := keys.Verify(ctx, latchkey.Presented{Secret: key.Reveal()})
	if err != nil {
		log.Fatal(err)
	}

	_, secret, err := access.Mint(ctx, latchkey.Narrowing{
		Client:   latchkey.Client{ID: "42", Name: "Ada"},
		Lifetime: 15 * time.Minute,
		Rows:     []latchkey.Condition{latchkey.Where("region", latchkey.Eq, "EU")},
	})
	if err != nil {
		log.Fatal(err)
	}
	ada, err := keys.Verify(ctx, latchkey.Presented{Secret: secret.Reveal()})
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(ada.Kind(), ada.Client().Name)
	fmt.Println(ada.Filter(latchkey.Read, "dataset/orders"))
	// Output:
	// access Ada
	// region = "EU" <nil>
}

// Rules are values: what they allow can be tested with no store at all.
func ExamplePermissions_Allows() {
	p := latchkey.Permissions{
		latchkey.Allow(latchkey.Any).On("dataset/*"),
		latchkey.Deny(latchkey.Update, latchkey.Delete).On("dataset/payroll"), // later, so it outweighs
	}
	fmt.Println(p.Allows(latchkey.Delete, "dataset/orders"))
	fmt.Println(p.Allows(latchkey.Delete, "dataset/payroll"))
	fmt.Println(p.Allows(latchkey.Read, "dataset"))             // "dataset/*" is what lies beneath
	fmt.Println(p.Allows(latchkey.Read, latchkey.Path("user"))) // nothing said is nothing allowed
	// Output:
	// true
	// false
	// false
	// false
}

// A condition and its negation both leave out the rows where the field is NULL. To mean "every other row", add those.
func ExampleNot() {
	people := latchkey.NewSchema(latchkey.Fields{"country": {Column: "country", Type: latchkey.Text}})
	home := latchkey.Where("country", latchkey.Eq, "NZ")
	away := latchkey.Not(home)
	notHome := latchkey.AnyOf(away, latchkey.Where("country", latchkey.IsNull, true))

	for _, row := range []latchkey.Row{{"country": "NZ"}, {"country": "FR"}, {"country": nil}} {
		fmt.Print(row["country"])
		for _, c := range []latchkey.Condition{home, away, notHome} {
			p, err := people.Bind(c)
			if err != nil {
				log.Fatal(err)
			}
			fmt.Print(" ", p.Match(row))
		}
		fmt.Println()
	}
	// Output:
	// NZ true false false
	// FR false true true
	// <nil> false false true
}

// With a keyring, digests are keyed and secrets can be revealed later.
func ExampleKeyring() {
	ctx := context.Background()
	store := memstore.New(nil)
	first, err := latchkey.GenerateKey(nil, 1)
	if err != nil {
		log.Fatal(err)
	}
	ring, err := latchkey.NewKeyring(first)
	if err != nil {
		log.Fatal(err)
	}
	saved := ring.Export().Reveal() // keep this where only the host can read it, and never beside the database
	token, secret, err := latchkey.New(store, &latchkey.Options{Keyring: ring}).For("acme").
		Issue(ctx, latchkey.Spec{Kind: latchkey.KindSecret})
	if err != nil {
		log.Fatal(err)
	}

	// Later, in another process: the saved key still opens what it sealed.
	ring, err = latchkey.ParseKeyring(saved)
	if err != nil {
		log.Fatal(err)
	}
	again, err := latchkey.New(store, &latchkey.Options{Keyring: ring}).For("acme").Reveal(ctx, token.ID)
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(again.Reveal() == secret.Reveal(), ring)
	// Output:
	// true [redacted]
}
