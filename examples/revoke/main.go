// How tokens end: by rotation with an overlap, by revocation, which ends minted tokens too, and by idling.
package main

import (
	"context"
	"fmt"
	"log"
	"time"

	"github.com/latchkey-go/latchkey"
	"github.com/latchkey-go/latchkey/memstore"
)

func main() {
	if err := run(context.Background()); err != nil {
		log.Fatal(err)
	}
}

func run(ctx context.Context) error {
	now := time.Date(2026, 11, 22, 9, 0, 0, 0, time.UTC)
	clock := func() time.Time { return now } // the same for the store and the manager
	keys := latchkey.New(memstore.New(&memstore.Options{Clock: clock}), &latchkey.Options{Clock: clock})
	acme := keys.For("acme")
	verify := func(what string, s latchkey.Secret) latchkey.Access {
		access, err := keys.Verify(ctx, latchkey.Presented{Secret: s.Reveal()})
		fmt.Println(now.Format("15:04"), what, err)
		return access
	}

	key, old, err := acme.Issue(ctx, latchkey.Spec{Kind: latchkey.KindAPIKey})
	if err != nil {
		return err
	}
	fresh, err := acme.Rotate(ctx, key.ID, time.Hour) // both work for an hour
	if err != nil {
		return err
	}
	verify("old secret:", old)
	now = now.Add(time.Hour)
	verify("old secret:", old)
	access := verify("new secret:", fresh)

	_, child, err := access.Mint(ctx, latchkey.Narrowing{Lifetime: 8 * time.Hour, Idle: 30 * time.Minute})
	if err != nil {
		return err
	}
	now = now.Add(20 * time.Minute)
	verify("child:", child) // used, so its idle time starts again
	now = now.Add(29 * time.Minute)
	verify("child:", child)
	now = now.Add(30 * time.Minute)
	verify("child, idle for half an hour:", child)

	_, child, err = access.Mint(ctx, latchkey.Narrowing{Lifetime: 8 * time.Hour})
	if err != nil {
		return err
	}
	verify("another child:", child)
	err = acme.Revoke(ctx, key.ID, "leaked") // the parent
	if err != nil {
		return err
	}
	verify("another child:", child)
	verify("key:", fresh)
	return nil
}
