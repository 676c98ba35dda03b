// Duties of a host: audit events for another system, one person's data, a change of keys.
package main

import (
	"context"
	"fmt"
	"io"
	"log"
	"os"
	"strings"
	"time"

	"github.com/latchkey-go/latchkey"
	"github.com/latchkey-go/latchkey/memstore"
)

func main() {
	if err := run(context.Background(), os.Stdout); err != nil {
		log.Fatal(err)
	}
}

func run(ctx context.Context, out io.Writer) error {
	old, err := latchkey.GenerateKey(nil, 1)
	if err != nil {
		return err
	}
	ring, err := latchkey.NewKeyring(old)
	if err != nil {
		return err
	}
	store := memstore.New(nil)
	keys := latchkey.New(store, &latchkey.Options{Keyring: ring})
	acme := keys.For("acme")
	_, secret, err := acme.Issue(ctx, latchkey.Spec{Kind: latchkey.KindSecret})
	if err != nil {
		return err
	}
	access, err := keys.Verify(ctx, latchkey.Presented{Secret: secret.Reveal()})
	if err != nil {
		return err
	}
	token, _, err := access.Mint(ctx, latchkey.Narrowing{Client: latchkey.Client{ID: "42", Name: "Ada"},
		Lifetime: time.Hour})
	if err != nil {
		return err
	}
	if err := acme.Revoke(ctx, token.ID, "Ada left"); err != nil {
		return err
	}

	send := func(events []latchkey.Event) error {
		for _, e := range events {
			fmt.Fprintln(out, "sent:", e.Seq, e.Action)
		}
		return nil
	}
	n, err := keys.Deliver(ctx, "siem", func(ctx context.Context, events []latchkey.Event) error {
		return send(events) // nil: the cursor moves behind them
	})
	if err != nil {
		return err
	}
	fmt.Fprintln(out, n, "events")

	// What is kept about a person, and its removal.
	var data strings.Builder
	if err := acme.ExportClient(ctx, "42", &data); err != nil {
		return err
	}
	fmt.Fprintln(out, strings.Count(data.String(), "\n"), "lines about Ada")
	if err := acme.EraseClient(ctx, "42"); err != nil {
		return err
	}

	// A new key: what the old one made moves.
	latest, err := latchkey.GenerateKey(nil, 2)
	if err != nil {
		return err
	}
	if ring, err = latchkey.NewKeyring(latest, old); err != nil {
		return err
	}
	moved, left, err := latchkey.New(store, &latchkey.Options{Keyring: ring}).Rekey(ctx)
	fmt.Fprintln(out, moved, "secrets moved,", len(left), "older keys in use")
	return err
}
