package latchkey_test

import (
	"context"
	"runtime"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/latchkey-go/latchkey"
	"github.com/latchkey-go/latchkey/memstore"
)

// limited issues one key with limits.
func limited(b *testing.B, l latchkey.Limits) (*latchkey.Manager, latchkey.Presented, latchkey.Access) {
	b.Helper()
	ctx := context.Background()
	keys := latchkey.New(memstore.New(nil), nil)
	b.Cleanup(func() { require.NoError(b, keys.Close(ctx)) })
	spec := latchkey.Spec{Kind: latchkey.KindAPIKey, Limits: l}
	_, s, err := keys.For("acme").Issue(ctx, spec)
	require.NoError(b, err)
	p := latchkey.Presented{Secret: s.Reveal()}
	a, err := keys.Verify(ctx, p)
	require.NoError(b, err)
	return keys, p, a
}

func BenchmarkCount(b *testing.B) {
	_, _, a := limited(b, latchkey.Limits{})
	endpoints := [8]string{"GET /a", "GET /b", "GET /c", "GET /d", "POST /a", "POST /b", "POST /c", "POST /d"}
	b.Run("1", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			a.Count("reads", "GET /orders", 1)
		}
	})
	b.Run("contended", func(b *testing.B) {
		b.ReportAllocs()
		b.RunParallel(func(pb *testing.PB) {
			for pb.Next() {
				a.Count("reads", "GET /orders", 1)
			}
		})
	})
	b.Run("contended/8 endpoints", func(b *testing.B) {
		b.ReportAllocs()
		b.RunParallel(func(pb *testing.PB) {
			for i := 0; pb.Next(); i++ {
				a.Count("reads", endpoints[i%8], 1)
			}
		})
	})
}

// BenchmarkSpend is a debit that is counted: of a token without quotas, and out of leases.
func BenchmarkSpend(b *testing.B) {
	const most = 1 << 60
	for name, list := range map[string][]latchkey.Quota{
		"no quota": nil,
		"one":      {{Amount: most, Per: latchkey.Month}},
		"several": {{Meter: "reads", Amount: most, Per: latchkey.Minute}, {Amount: most, Per: latchkey.Day, Carry: most},
			{Meter: "writes", Amount: most, Per: latchkey.Forever}, {Amount: most, Per: latchkey.Month}},
	} {
		b.Run(name, func(b *testing.B) {
			ctx := context.Background()
			keys := latchkey.New(memstore.New(nil), &latchkey.Options{CreditLease: latchkey.Hundredth})
			b.Cleanup(func() { require.NoError(b, keys.Close(ctx)) })
			_, s, err := keys.For("acme").Issue(ctx, latchkey.Spec{Kind: latchkey.KindAPIKey,
				Limits: latchkey.Limits{Quotas: list}})
			require.NoError(b, err)
			a, err := keys.Verify(ctx, latchkey.Presented{Secret: s.Reveal()})
			require.NoError(b, err)
			b.ReportAllocs()
			for b.Loop() {
				if _, err := a.Spend(ctx, "reads", "GET /orders", 1); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

func BenchmarkVerifyWithRate(b *testing.B) {
	rate := latchkey.Limits{Rate: latchkey.Rate{Count: 1e8, Per: time.Second, Burst: 1e8}}
	for name, l := range map[string]latchkey.Limits{"none": {}, "rate": rate} {
		keys, p, _ := limited(b, l)
		ctx := context.Background()
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				if _, err := keys.Verify(ctx, p); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

func BenchmarkLimiter(b *testing.B) {
	rate := latchkey.Rate{Count: 1e8, Per: time.Second, Burst: 1e8}
	l := latchkey.NewLimiter(rate, nil)
	b.Run("one key", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			l.Allow("192.0.2.1")
		}
	})
	b.Run("a flood of keys", func(b *testing.B) {
		l := latchkey.NewLimiter(latchkey.Rate{Count: 1, Per: time.Hour}, nil)
		var key [8]byte
		b.ReportAllocs()
		for n := uint64(0); b.Loop(); n++ {
			for i := range key {
				key[i] = byte(n >> (8 * i))
			}
			l.Allow(string(key[:]))
		}
	})
}

// BenchmarkSpendLeases compares a debit out of memory with one that the store makes.
func BenchmarkSpendLeases(b *testing.B) {
	ctx := context.Background()
	for name, size := range map[string]func(latchkey.Credits) latchkey.Credits{
		"each debit": nil, "leases": latchkey.Hundredth} {
		keys := latchkey.New(memstore.New(nil), &latchkey.Options{CreditLease: size})
		b.Cleanup(func() { require.NoError(b, keys.Close(ctx)) })
		_, s, err := keys.For("acme").Issue(ctx, latchkey.Spec{Kind: latchkey.KindAPIKey,
			Limits: monthly(1 << 60)})
		require.NoError(b, err)
		a, err := keys.Verify(ctx, latchkey.Presented{Secret: s.Reveal()})
		require.NoError(b, err)
		charge := func() error { return spend(ctx, a, "reads", 1) }
		hold := func() error {
			h, err := a.Reserve(ctx, "reads", latchkey.Uncounted, 2)
			if err != nil {
				return err
			}
			return h.Settle(ctx, 1)
		}
		for what, f := range map[string]func() error{"charge": charge, "reserve and settle": hold} {
			b.Run(what+"/"+name+"/1", func(b *testing.B) {
				b.ReportAllocs()
				for b.Loop() {
					if err := f(); err != nil {
						b.Fatal(err)
					}
				}
			})
			b.Run(what+"/"+name+"/64", func(b *testing.B) {
				b.ReportAllocs()
				b.SetParallelism(max(1, 64/runtime.GOMAXPROCS(0)))
				b.RunParallel(func(pb *testing.PB) {
					for pb.Next() {
						if err := f(); err != nil {
							b.Error(err)
							return
						}
					}
				})
			})
		}
	}
}
