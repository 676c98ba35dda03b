package latchkey_test

import (
	"context"
	"fmt"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/latchkey-go/latchkey"
	"github.com/latchkey-go/latchkey/memstore"
)

// BenchmarkMintWithPolicy mints from keys of owners with a limit and without. "at" ends one child for each that is
// minted: so each mint finds the last place taken.
func BenchmarkMintWithPolicy(b *testing.B) {
	for _, most := range []int{0, 10, 200, 5000} {
		for _, at := range []bool{false, true} {
			name, limit := fmt.Sprint("none", most), most
			if most > 0 {
				name = fmt.Sprint("at", most)
				if !at {
					name, limit = fmt.Sprint("below", most), 1_000_000
				}
			} else if at {
				continue
			}
			b.Run(name, func(b *testing.B) {
				ctx := context.Background()
				now := time.Now().UTC()
				clock := func() time.Time { return now }
				keys := latchkey.New(memstore.New(&memstore.Options{Clock: clock}), &latchkey.Options{Clock: clock})
				acme := keys.For("acme")
				if limit > 0 {
					require.NoError(b, acme.Configure(ctx, func(o *latchkey.Owner) error { o.Policy.Children = limit; return nil }))
				}
				_, secret, err := acme.Issue(ctx, latchkey.Spec{Kind: latchkey.KindAPIKey})
				require.NoError(b, err)
				a, err := keys.Verify(ctx, latchkey.Presented{Secret: secret.Reveal()})
				require.NoError(b, err)
				const step = 100 * time.Millisecond
				n := latchkey.Narrowing{Lifetime: time.Hour}
				if most > 0 {
					n.Lifetime = time.Duration(most) * step
				}
				mint := func() {
					now = now.Add(step)
					if _, _, err := a.Mint(ctx, n); err != nil {
						b.Fatal(err)
					}
				}
				for range most {
					mint()
				}
				b.ReportAllocs()
				for b.Loop() {
					mint()
				}
			})
		}
	}
}
