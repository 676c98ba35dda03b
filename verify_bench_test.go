package latchkey_test

import (
	"context"
	"crypto/sha256"
	"fmt"
	"math/rand/v2"
	"runtime"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/latchkey-go/latchkey"
	"github.com/latchkey-go/latchkey/memstore"
	"github.com/latchkey-go/latchkey/storetest"
)

var sink atomic.Int64

// many issues n keys that share one role, and verifies each once.
func many(b *testing.B, n int, opts *latchkey.Options) (*latchkey.Manager, []string) {
	b.Helper()
	return manyIn(b, memstore.New(nil), n, opts)
}

func manyIn(b *testing.B, store latchkey.Store, n int, opts *latchkey.Options) (*latchkey.Manager, []string) {
	b.Helper()
	ctx := context.Background()
	keys := latchkey.New(store, opts)
	acme := keys.For("acme")
	role, err := acme.CreateRole(ctx, latchkey.Role{Name: "reader", Permissions: latchkey.Permissions{
		latchkey.Allow(latchkey.Read).On("dataset/*")}})
	require.NoError(b, err)
	secrets := make([]string, n)
	for i := range secrets {
		_, s, err := acme.Issue(ctx, latchkey.Spec{Kind: latchkey.KindAPIKey, Roles: []string{role.ID}})
		require.NoError(b, err)
		secrets[i] = s.Reveal()
		_, err = keys.Verify(ctx, latchkey.Presented{Secret: secrets[i]})
		require.NoError(b, err)
	}
	rand.Shuffle(n, func(i, j int) { secrets[i], secrets[j] = secrets[j], secrets[i] })
	require.NoError(b, keys.Close(ctx))
	runtime.GC()
	return keys, secrets
}

// BenchmarkSHA256 is what any verification of a random token must cost at the least, to read the others beside.
func BenchmarkSHA256(b *testing.B) {
	text := []byte("ak_0123456789012345678901234567890123456789")
	for b.Loop() {
		sum := sha256.Sum256(text)
		sink.Store(int64(sum[0]))
	}
}

func BenchmarkVerify(b *testing.B) {
	ctx := context.Background()
	for _, mode := range []struct {
		name string
		opts latchkey.Options
	}{{"strict", latchkey.Options{}}, {"MaxStale=1s", latchkey.Options{MaxStale: time.Second}}} {
		for _, n := range []int{1, 1_000, 1_000_000} {
			if n == 1_000_000 && (testing.Short() || mode.name != "strict") {
				continue
			}
			var keys *latchkey.Manager
			var secrets []string
			setup := func(b *testing.B) {
				if keys == nil {
					keys, secrets = many(b, n, &mode.opts)
				}
			}
			b.Run(fmt.Sprintf("%s/tokens=%d", mode.name, n), func(b *testing.B) {
				setup(b)
				b.ReportAllocs()
				i := 0
				for b.Loop() {
					if _, err := keys.Verify(ctx, latchkey.Presented{Secret: secrets[i]}); err != nil {
						b.Fatal(err)
					}
					if i++; i == n {
						i = 0
					}
				}
			})
			b.Run(fmt.Sprintf("%s/tokens=%d/parallel", mode.name, n), func(b *testing.B) {
				setup(b)
				b.ReportAllocs()
				b.RunParallel(func(pb *testing.PB) {
					i := rand.IntN(n)
					for pb.Next() {
						if _, err := keys.Verify(ctx, latchkey.Presented{Secret: secrets[i]}); err != nil {
							b.Error(err)
							return
						}
						if i++; i == n {
							i = 0
						}
					}
				})
			})
		}
	}
	b.Run("strict/three feeds", func(b *testing.B) {
		keys, secrets := manyIn(b, storetest.NewFeeds(memstore.New(nil), memstore.New(nil), memstore.New(nil)), 1, nil)
		b.ReportAllocs()
		for b.Loop() {
			if _, err := keys.Verify(ctx, latchkey.Presented{Secret: secrets[0]}); err != nil {
				b.Fatal(err)
			}
		}
	})
	b.Run("not cached", func(b *testing.B) {
		keys, secrets := many(b, 1000, &latchkey.Options{CacheTokens: -1})
		b.ReportAllocs()
		i := 0
		for b.Loop() {
			if _, err := keys.Verify(ctx, latchkey.Presented{Secret: secrets[i%1000]}); err != nil {
				b.Fatal(err)
			}
			i++
		}
	})
	b.Run("junk", func(b *testing.B) {
		keys, secrets := many(b, 1, nil)
		junk := []byte(secrets[0])
		junk[10]++
		b.ReportAllocs()
		for b.Loop() {
			if _, err := keys.Verify(ctx, latchkey.Presented{Secret: string(junk)}); err == nil {
				b.Fatal("accepted")
			}
		}
	})
}

// BenchmarkVerifyObserved is BenchmarkVerify of one token with an Observer that counts, beside one without.
func BenchmarkVerifyObserved(b *testing.B) {
	ctx := context.Background()
	var count atomic.Int64
	verified := latchkey.Observer{Verified: func(context.Context, latchkey.Verification) { count.Add(1) }}
	calls := latchkey.Observer{StoreCall: func(context.Context, latchkey.StoreCall) { count.Add(1) }}
	for _, o := range []struct {
		name string
		latchkey.Options
	}{
		{"nil", latchkey.Options{MaxStale: time.Second}},
		{"counts", latchkey.Options{MaxStale: time.Second, Observer: verified}},
		{"strict/nil", latchkey.Options{}},
		{"strict/counts", latchkey.Options{Observer: verified}},
		{"strict/counts store calls", latchkey.Options{Observer: calls}},
	} {
		b.Run(o.name, func(b *testing.B) {
			keys, secrets := many(b, 1, &o.Options)
			b.ReportAllocs()
			for b.Loop() {
				if _, err := keys.Verify(ctx, latchkey.Presented{Secret: secrets[0]}); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

func BenchmarkVerifyAndAllows(b *testing.B) {
	ctx := context.Background()
	keys, secrets := many(b, 1000, nil)
	b.ReportAllocs()
	i := 0
	for b.Loop() {
		a, err := keys.Verify(ctx, latchkey.Presented{Secret: secrets[i%1000]})
		if err != nil || !a.Allows(latchkey.Read, "dataset/orders") {
			b.Fatal(err)
		}
		i++
	}
}

func BenchmarkMint(b *testing.B) {
	ctx := context.Background()
	keys, secrets := many(b, 1, nil)
	a, err := keys.Verify(ctx, latchkey.Presented{Secret: secrets[0]})
	require.NoError(b, err)
	for name, n := range map[string]latchkey.Narrowing{
		"plain": {},
		"rules": {Permissions: latchkey.Permissions{latchkey.Allow(latchkey.Read).On("dataset/orders", "dataset/clients").
			Where(latchkey.Where("region", latchkey.Eq, "EU"))},
			Restrictions: latchkey.Restrictions{Domains: []string{"*.example.com", "example.org"}}},
	} {
		b.Run(name, func(b *testing.B) {
			n.Client, n.Lifetime = latchkey.Client{ID: "42", Name: "Ada"}, time.Hour
			b.ReportAllocs()
			for b.Loop() {
				if _, _, err := a.Mint(ctx, n); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

// BenchmarkMemory says how many bytes a million verified tokens take in the cache alone: plain ones, ones with a name,
// ones that share a few sets of attributes, ones with a client of their own, and minted ones with rows of their own.
// With -short it is a hundred thousand.
func BenchmarkMemory(b *testing.B) {
	n := 1_000_000
	if testing.Short() {
		n = 100_000
	}
	for _, kind := range []struct {
		name string
		edit func(i int, s *latchkey.Spec)
	}{
		{"plain", func(int, *latchkey.Spec) {}},
		{"named", func(i int, s *latchkey.Spec) { s.Name = fmt.Sprintf("laptop %07d", i) }},
		{"attributes", func(i int, s *latchkey.Spec) { s.Attributes = latchkey.Attributes{"department": i % 100} }},
		{"client", func(i int, s *latchkey.Spec) { s.Client = latchkey.Client{ID: fmt.Sprint("user-", i)} }},
		{"minted with rows", nil},
	} {
		b.Run(kind.name, func(b *testing.B) { benchmarkMemory(b, n, kind.edit) })
	}
}

func benchmarkMemory(b *testing.B, n int, edit func(i int, s *latchkey.Spec)) {
	ctx := context.Background()
	store := memstore.New(nil)
	keys := latchkey.New(store, nil)
	acme := keys.For("acme")
	secrets := make([]string, n)
	_, parent, err := acme.Issue(ctx, latchkey.Spec{Kind: latchkey.KindAPIKey, Permissions: latchkey.Permissions{
		latchkey.Allow(latchkey.Any).On("dataset/*")}})
	require.NoError(b, err)
	access, err := keys.Verify(ctx, latchkey.Presented{Secret: parent.Reveal()})
	require.NoError(b, err)
	for i := range secrets {
		if edit == nil {
			_, s, err := access.Mint(ctx, latchkey.Narrowing{Lifetime: 24 * time.Hour,
				Rows: []latchkey.Condition{latchkey.Where("customer", latchkey.Eq, i)}})
			require.NoError(b, err)
			secrets[i] = s.Reveal()
			continue
		}
		spec := latchkey.Spec{Kind: latchkey.KindAPIKey}
		edit(i, &spec)
		_, s, err := acme.Issue(ctx, spec)
		require.NoError(b, err)
		secrets[i] = s.Reveal()
	}
	require.NoError(b, keys.Close(ctx))
	heap := func() uint64 {
		runtime.GC()
		runtime.GC()
		var m runtime.MemStats
		runtime.ReadMemStats(&m)
		return m.HeapAlloc
	}
	for range b.N {
		keys := latchkey.New(store, nil)
		before := heap()
		for _, s := range secrets {
			if _, err := keys.Verify(ctx, latchkey.Presented{Secret: s}); err != nil {
				b.Fatal(err)
			}
		}
		require.NoError(b, keys.Close(ctx))
		b.ReportMetric(float64(heap()-before)/float64(n), "B/token")
		start := time.Now()
		runtime.GC()
		b.ReportMetric(float64(time.Since(start).Microseconds())/1000, "ms/GC-with-the-store")
		runtime.KeepAlive(keys)
	}
}
