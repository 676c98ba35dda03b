package main

import (
	"context"
	"fmt"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/latchkey-go/latchkey"
	"github.com/latchkey-go/latchkey/e2e/internal/harness"
	"github.com/latchkey-go/latchkey/memstore"
)

// chain measures what the chain of the audit trail adds to a change. Changes with it and without it take turns, so that
// whatever else the machine does slows both.
func chain(t testing.TB, c config, out *table) {
	ctx := context.Background()
	ring, err := latchkey.NewKeyring(latchkey.Key{ID: 1, Secret: make([]byte, 32)})
	require.NoError(t, err)
	file := harness.OpenSQLite(t, harness.WAL(harness.NewFile(t)))
	for _, on := range []struct {
		name  string
		store latchkey.Store
	}{{"memory", memstore.New(nil)}, {"SQLite", harness.OpenSQLiteStore(t, file)},
		{"PostgreSQL", newNode(t, place(t), 16, 0).store}} {
		var rename [2]func(name string) error
		for i, store := range []latchkey.Store{unchained{on.store}, on.store} {
			keys := latchkey.New(store, &latchkey.Options{Keyring: ring})
			defer keys.Close(ctx)
			account := keys.For(fmt.Sprint("owner ", i))
			token, _, err := account.Issue(ctx, latchkey.Spec{Kind: latchkey.KindAPIKey})
			require.NoError(t, err)
			rename[i] = func(name string) error {
				_, err := account.Update(ctx, token.ID, func(t *latchkey.Token) error { t.Name = name; return nil })
				return err
			}
		}
		var took [2][]time.Duration
		for n, began := 0, time.Now(); n < 20 || time.Since(began) < 2*c.each; n++ {
			for k := range rename {
				i := (k + n) % 2 // neither is always the second
				start := time.Now()
				require.NoError(t, rename[i](fmt.Sprint("name ", n)))
				took[i] = append(took[i], time.Since(start))
			}
		}
		without, with := median(took[0]), median(took[1])
		out.line("a change with the chain of audit events, "+on.name, fmt.Sprintf("%.1f µs", with.Seconds()*1e6),
			fmt.Sprintf("%.3f of %.1f µs without", with.Seconds()/without.Seconds(), without.Seconds()*1e6))
	}
}

// unchained is a store that keeps the events as they were before there was a chain.
type unchained struct{ latchkey.Store }

func (s unchained) Write(ctx context.Context, w latchkey.Write) error {
	w.Seal = nil
	return s.Store.Write(ctx, w)
}
