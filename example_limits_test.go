package latchkey_test

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/latchkey-go/latchkey"
	"github.com/latchkey-go/latchkey/memstore"
)

// A key with a quota pays for what it asks. It is told what is left, and when it may come back.
func ExampleAccess_Spend() {
	ctx := context.Background()
	clock := func() time.Time { return time.Date(2026, 11, 30, 14, 0, 0, 0, time.UTC) }
	keys := latchkey.New(memstore.New(&memstore.Options{Clock: clock}), &latchkey.Options{Clock: clock})
	_, secret, _ := keys.For("acme").Issue(ctx, latchkey.Spec{Kind: latchkey.KindAPIKey, Limits: latchkey.Limits{
		Quotas: []latchkey.Quota{{Meter: "api", Amount: 5 * latchkey.Credit, Per: latchkey.Day}}}})
	access, _ := keys.Verify(ctx, latchkey.Presented{Secret: secret.Reveal()})

	left, err := access.Spend(ctx, "api", "GET /orders", 3*latchkey.Credit)
	fmt.Println(left.Credits/latchkey.Credit, left.Resets(), err)

	_, err = access.Spend(ctx, "api", "GET /orders", 3*latchkey.Credit)
	var over *latchkey.OverLimitError
	if errors.As(err, &over) {
		fmt.Println(err)
		fmt.Println("left:", over.Left/latchkey.Credit, "until", over.Resets.Format(time.DateOnly))
		fmt.Println("retry after", over.RetryAfter())
	}
	// Output:
	// 2 2026-12-01 00:00:00 +0000 UTC <nil>
	// latchkey: over limit: meter "api" of the token, quota per day
	// left: 2 until 2026-12-01
	// retry after 10h0m0s
}

// What costs a sum that is known only afterwards is reserved first, and settled with what it really was.
func ExampleAccess_Reserve() {
	ctx := context.Background()
	keys := latchkey.New(memstore.New(nil), nil)
	acme := keys.For("acme")
	_, secret, _ := acme.Issue(ctx, latchkey.Spec{Kind: latchkey.KindAPIKey, Limits: latchkey.Limits{
		Quotas: []latchkey.Quota{{Amount: 100 * latchkey.Credit, Per: latchkey.Month}}}})
	access, _ := keys.Verify(ctx, latchkey.Presented{Secret: secret.Reveal()})

	hold, err := access.Reserve(ctx, "reads", "GET /orders", 80*latchkey.Credit) // at most so many rows
	if err != nil {
		fmt.Println(err)
		return
	}
	_ = hold.Settle(ctx, 30*latchkey.Credit) // so many there were
	fmt.Println("left:", hold.Left().Credits/latchkey.Credit)

	_, err = access.Spend(ctx, "reads", "GET /orders", 71*latchkey.Credit)
	fmt.Println(errors.Is(err, latchkey.ErrOverLimit), err)

	usage, _ := acme.Usage(ctx, latchkey.UsageQuery{By: []string{"endpoint"}})
	fmt.Println(usage[0].Endpoint, usage[0].Count, usage[0].Credits/latchkey.Credit)
	// Output:
	// left: 70
	// true latchkey: over limit: meter "reads" of the token, quota per month
	// GET /orders 1 30
}

// A connection that carries many messages counts them by a Counter of its own.
func ExampleAccess_Counter() {
	ctx := context.Background()
	keys := latchkey.New(memstore.New(nil), nil)
	acme := keys.For("acme")
	_, secret, _ := acme.Issue(ctx, latchkey.Spec{Kind: latchkey.KindAPIKey})
	access, _ := keys.Verify(ctx, latchkey.Presented{Secret: secret.Reveal()})

	messages := access.Counter("messages", "GET /feed")
	for range 1000 {
		messages.Add(1)
	}
	messages.Add(1, 5*latchkey.Credit) // with what was spent on it

	usage, _ := acme.Usage(ctx, latchkey.UsageQuery{By: []string{"meter", "endpoint"}})
	fmt.Println(usage[0].Meter, usage[0].Endpoint, usage[0].Count, usage[0].Credits/latchkey.Credit)
	// Output: messages GET /feed 1001 5
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
