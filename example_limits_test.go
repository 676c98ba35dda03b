package latchkey_test

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/latchkey-go/latchkey"
	"github.com/latchkey-go/latchkey/memstore"
)

// A key with credits for a month pays for what it reads: in advance, then for what it really was.
func ExampleAccess_Reserve() {
	ctx := context.Background()
	keys := latchkey.New(memstore.New(nil), nil)
	acme := keys.For("acme")
	_, secret, _ := acme.Issue(ctx, latchkey.Spec{Kind: latchkey.KindAPIKey,
		Limits: latchkey.Limits{Credits: 100}})
	access, _ := keys.Verify(ctx, latchkey.Presented{Secret: secret.Reveal()})

	hold, err := access.Reserve(ctx, "reads", 80) // at most so many rows
	if err != nil {
		fmt.Println(err)
		return
	}
	_ = hold.Settle(ctx, 30) // so many there were
	access.CountCredits("reads", "GET /orders", 1, 30)
	left, _ := hold.Left()
	fmt.Println("left:", left)

	err = access.Charge(ctx, "reads", 71)
	fmt.Println(errors.Is(err, latchkey.ErrOverLimit), err)

	usage, _ := acme.Usage(ctx, latchkey.UsageQuery{By: []string{"endpoint"}})
	fmt.Println(usage[0].Endpoint, usage[0].Count, usage[0].Credits)
	// Output:
	// left: 70
	// true latchkey: over limit: meter "reads" of the token
	// GET /orders 1 30
}

// A Limiter holds network addresses to a rate, before anything else is known of them.
func ExampleLimiter() {
	perAddress := latchkey.NewLimiter(latchkey.Rate{Count: 1, Per: time.Hour, Burst: 1}, nil)
	for range 3 {
		ok, info := perAddress.Allow("192.0.2.1")
		fmt.Println(ok, info.Remaining)
	}
	// Output:
	// true 1
	// true 0
	// false 0
}
