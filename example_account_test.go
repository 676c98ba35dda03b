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

// An actor administers tokens within its own rights, and under its own name.
func ExampleAccount_As() {
	ctx := context.Background()
	acme := latchkey.New(memstore.New(nil), nil).For("acme")
	ada, err := acme.Assume(latchkey.Client{ID: "42"}, latchkey.Permissions{
		latchkey.Allow(latchkey.Read).On("dataset/*"),
		latchkey.Allow(latchkey.Any).On("latchkey/token/*"),
	})
	if err != nil {
		log.Fatal(err)
	}
	as, err := acme.As(ada)
	if err != nil {
		log.Fatal(err)
	}
	for _, rule := range []latchkey.Rule{
		latchkey.Allow(latchkey.Read).On("dataset/orders"),
		latchkey.Allow(latchkey.Read).On("*"), // more than the desk may
	} {
		_, _, err := as.Issue(ctx, latchkey.Spec{Kind: latchkey.KindAPIKey,
			Permissions: latchkey.Permissions{rule}})
		fmt.Println(rule, "refused:", errors.Is(err, latchkey.ErrDenied))
	}
	for e, err := range acme.Events(ctx, latchkey.EventQuery{}) {
		fmt.Println(e.Action, "by", e.Actor, err)
	}
	// Output:
	// allow read on dataset/orders refused: false
	// allow read on * refused: true
	// token.issue by client:42 <nil>
}

// A new secret takes over while the old one still works for an hour.
func ExampleAccount_Rotate() {
	ctx := context.Background()
	acme := latchkey.New(memstore.New(nil), nil).For("acme")
	token, old, err := acme.Issue(ctx, latchkey.Spec{Kind: latchkey.KindAPIKey})
	if err != nil {
		log.Fatal(err)
	}
	fresh, err := acme.Rotate(ctx, token.ID, time.Hour)
	if err != nil {
		log.Fatal(err)
	}
	for _, secret := range []latchkey.Secret{old, fresh} {
		access, err := acme.Verify(ctx, latchkey.Presented{Secret: secret.Reveal()})
		fmt.Println(access.TokenID() == token.ID, err)
	}

	if _, err := acme.Rotate(ctx, token.ID, 0); err != nil { // 0 ends the old secrets at once
		log.Fatal(err)
	}
	_, err = acme.Verify(ctx, latchkey.Presented{Secret: fresh.Reveal()})
	fmt.Println(err)
	// Output:
	// true <nil>
	// true <nil>
	// latchkey: unknown token
}

// With a Keyring, a page can show the secrets of the tokens it lists. Each is recorded in the audit trail.
func ExampleAccount_RevealAll() {
	ctx := context.Background()
	key, err := latchkey.GenerateKey(nil, 1)
	if err != nil {
		log.Fatal(err)
	}
	ring, err := latchkey.NewKeyring(key)
	if err != nil {
		log.Fatal(err)
	}
	acme := latchkey.New(memstore.New(nil), &latchkey.Options{Keyring: ring}).For("acme")
	var ids []string
	for range 3 {
		token, _, err := acme.Issue(ctx, latchkey.Spec{Kind: latchkey.KindAPIKey})
		if err != nil {
			log.Fatal(err)
		}
		ids = append(ids, token.ID)
	}

	secrets, err := acme.RevealAll(ctx, ids...)
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(len(secrets), secrets[ids[0]]) // printing never shows a secret; its Reveal method does
	revealed := 0
	for event, err := range acme.Events(ctx, latchkey.EventQuery{}) {
		if err != nil {
			log.Fatal(err)
		}
		if event.Action == "token.reveal" {
			revealed++
		}
	}
	fmt.Println(revealed, "in the audit trail")
	// Output:
	// 3 [redacted]
	// 3 in the audit trail
}

// Configure limits all tokens of an owner together. Later it ends all that were made so far.
func ExampleAccount_Configure() {
	ctx := context.Background()
	acme := latchkey.New(memstore.New(nil), nil).For("acme")
	_, secret, err := acme.Issue(ctx, latchkey.Spec{Kind: latchkey.KindSecret})
	if err != nil {
		log.Fatal(err)
	}
	err = acme.Configure(ctx, func(o *latchkey.Owner) error {
		o.Boundary = latchkey.Permissions{latchkey.Allow(latchkey.Read).On("*")}
		return nil
	})
	if err != nil {
		log.Fatal(err)
	}
	access, err := acme.Verify(ctx, latchkey.Presented{Secret: secret.Reveal()})
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(access.Allows(latchkey.Read, "dataset/orders"), access.Allows(latchkey.Delete, "dataset/orders"))

	err = acme.Configure(ctx, func(o *latchkey.Owner) error {
		o.NotBefore = time.Now() // mass revocation
		return nil
	})
	if err != nil {
		log.Fatal(err)
	}
	_, err = acme.Verify(ctx, latchkey.Presented{Secret: secret.Reveal()})
	fmt.Println(err)
	// Output:
	// true false
	// latchkey: token revoked
}

// Tokens reads page by page as the loop goes on.
func ExampleAccount_Tokens() {
	ctx := context.Background()
	acme := latchkey.New(memstore.New(nil), nil).For("acme")
	for _, name := range []string{"reports", "backup", "reports (old)"} {
		token, _, err := acme.Issue(ctx, latchkey.Spec{Kind: latchkey.KindAPIKey, Name: name})
		if err != nil {
			log.Fatal(err)
		}
		if name == "reports (old)" {
			if err := acme.Revoke(ctx, token.ID, "replaced"); err != nil {
				log.Fatal(err)
			}
		}
	}
	q := latchkey.TokenQuery{Search: "reports", States: []latchkey.State{latchkey.Active}}
	for token, err := range acme.Tokens(ctx, q) {
		if err != nil {
			log.Fatal(err)
		}
		fmt.Println(token.Kind, token.Name)
	}
	// Output:
	// api_key reports
}

// Explain answers what a token may do and why, without its secret.
func ExampleAccount_Explain() {
	ctx := context.Background()
	acme := latchkey.New(memstore.New(nil), nil).For("acme")
	token, _, err := acme.Issue(ctx, latchkey.Spec{Kind: latchkey.KindAPIKey, Permissions: latchkey.Permissions{
		latchkey.Allow(latchkey.Read).On("dataset/*").Where(latchkey.Where("region", latchkey.Eq, "EU")),
		latchkey.Deny(latchkey.Any).On("dataset/payroll"),
	}})
	if err != nil {
		log.Fatal(err)
	}
	answers, err := acme.Explain(ctx, token.ID,
		latchkey.Question{Action: latchkey.Read, Resource: "dataset/orders"},
		latchkey.Question{Action: latchkey.Read, Resource: "dataset/payroll"})
	if err != nil {
		log.Fatal(err)
	}
	for _, answer := range answers {
		fmt.Println(answer.Resource, answer.Verdict, answer.Rows)
	}
	// Output:
	// dataset/orders some region = "EU"
	// dataset/payroll none no row
}
