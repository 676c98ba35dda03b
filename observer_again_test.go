package latchkey_test

import (
	"context"
	"fmt"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/latchkey-go/latchkey"
	"github.com/latchkey-go/latchkey/memstore"
)

// A callback, other than StoreCall, may call the Manager again: it waits for nothing that waits for it.
func TestObserversMayCallTheManager(t *testing.T) {
	for _, stale := range []time.Duration{0, time.Minute} {
		for _, member := range []string{"Verified", "Refused", "Minted", "Changed", "Leased"} {
			t.Run(fmt.Sprint(member, " ", stale), func(t *testing.T) {
				var keys *latchkey.Manager
				var access latchkey.Access
				var secret string
				var inside, calls atomic.Int64
				var ready atomic.Bool
				again := func(name string) {
					if name != member || !ready.Load() || !inside.CompareAndSwap(0, 1) {
						return
					}
					defer inside.Store(0)
					calls.Add(1)
					ctx, cancel := context.WithTimeout(context.Background(), 60*time.Second)
					defer cancel()
					_, err := keys.Verify(ctx, latchkey.Presented{Secret: secret})
					if err != nil {
						t.Errorf("Verify within %s: %v", name, err)
					}
					if _, err = access.Spend(ctx, "api", "GET /", latchkey.Credit); err != nil {
						t.Errorf("Spend within %s: %v", name, err)
					}
					if _, _, err = access.Mint(ctx, latchkey.Narrowing{Lifetime: time.Hour}); err != nil {
						t.Errorf("Mint within %s: %v", name, err)
					}
					if _, err = access.Again(ctx); err != nil {
						t.Errorf("Again within %s: %v", name, err)
					}
					keys.Stats()
				}
				keys = latchkey.New(memstore.New(nil), &latchkey.Options{MaxStale: stale, CreditLease: latchkey.Hundredth,
					Observer: latchkey.Observer{
						Verified: func(context.Context, latchkey.Verification) { again("Verified") },
						Refused:  func(context.Context, latchkey.Refusal) { again("Refused") },
						Minted:   func(context.Context, latchkey.Minting) { again("Minted") },
						Changed:  func(context.Context, latchkey.Event) { again("Changed") },
						Leased:   func(context.Context, latchkey.Leasing) { again("Leased") },
					}})
				ctx := t.Context()
				acme := keys.For("acme")
				_, s, err := acme.Issue(ctx, latchkey.Spec{Kind: latchkey.KindAPIKey, Limits: latchkey.Limits{
					Quotas: []latchkey.Quota{{Amount: 100_000 * latchkey.Credit, Per: latchkey.Day}}}})
				require.NoError(t, err)
				secret = s.Reveal()
				access, err = keys.Verify(ctx, latchkey.Presented{Secret: secret})
				require.NoError(t, err)
				ready.Store(true)
				done := make(chan struct{})
				go func() {
					defer close(done)
					for range 3 {
						_, err := keys.Verify(ctx, latchkey.Presented{Secret: secret})
						if err != nil {
							t.Error(err)
						}
						for range 1500 {
							if _, err := access.Spend(ctx, "api", "GET /", latchkey.Credit); err != nil {
								t.Error(err)
							}
						}
						if _, _, err = access.Mint(ctx, latchkey.Narrowing{Lifetime: time.Hour}); err != nil {
							t.Error(err)
						}
						token, _, err := acme.Issue(ctx, latchkey.Spec{Kind: latchkey.KindAPIKey})
						if err != nil {
							t.Error(err)
						}
						if err := acme.Revoke(ctx, token.ID, ""); err != nil {
							t.Error(err)
						}
						_, _ = keys.Verify(ctx, latchkey.Presented{Secret: secret, Test: true})
						if err := keys.Close(ctx); err != nil {
							t.Error(err)
						}
					}
				}()
				select {
				case <-done:
				case <-time.After(3 * time.Minute):
					t.Fatal("it waits for itself")
				}
				require.NotZero(t, calls.Load())
			})
		}
	}
}
