package e2e

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/latchkey-go/latchkey"
)

// BenchmarkSQLiteManager is what a host sees: Verify and Mint through a Manager over a SQLite file.
func BenchmarkSQLiteManager(b *testing.B) {
	ctx := context.Background()
	db := openDB(b, wal(newFile(b)))
	db.SetMaxOpenConns(8) // more readers than cores gain nothing, and an idle connection kept is one not opened anew
	db.SetMaxIdleConns(8)
	store := openStore(b, db)
	maker := latchkey.New(store, nil)
	acme := maker.For("acme")
	role, err := acme.CreateRole(ctx, latchkey.Role{Name: "reader",
		Permissions: latchkey.Permissions{latchkey.Allow(latchkey.Read).On("dataset/*")}})
	require.NoError(b, err)
	secrets := make([]string, 1000)
	for i := range secrets {
		_, s, err := acme.Issue(ctx, latchkey.Spec{Kind: latchkey.KindAPIKey, Settings: latchkey.Settings{
			Name: fmt.Sprint(i), Roles: []string{role.ID}}})
		require.NoError(b, err)
		secrets[i] = s.Reveal()
	}
	for _, mode := range []struct {
		name string
		opts latchkey.Options
	}{
		{"verify, cached, MaxStale=0", latchkey.Options{}},
		{"verify, cached, MaxStale=1s", latchkey.Options{MaxStale: time.Second}},
		{"verify, not cached", latchkey.Options{CacheTokens: -1}},
	} {
		keys := latchkey.New(store, &mode.opts)
		b.Cleanup(func() { require.NoError(b, keys.Close(context.Background())) })
		verify := func(i int) error {
			a, err := keys.Verify(ctx, latchkey.Presented{Secret: secrets[i%len(secrets)]})
			if err == nil && !a.Allows(latchkey.Read, "dataset/orders") {
				err = errors.New("not allowed")
			}
			return err
		}
		for i := range secrets {
			require.NoError(b, verify(i))
		}
		b.Run(mode.name, func(b *testing.B) {
			b.ReportAllocs()
			i := 0
			for b.Loop() {
				if err := verify(i); err != nil {
					b.Fatal(err)
				}
				i++
			}
		})
		b.Run(mode.name+", 64 callers", func(b *testing.B) {
			b.SetParallelism(32)
			b.RunParallel(func(pb *testing.PB) {
				for i := 0; pb.Next(); i++ {
					if err := verify(i); err != nil {
						b.Error(err)
						return
					}
				}
			})
		})
	}
	access, err := maker.Verify(ctx, latchkey.Presented{Secret: secrets[0]})
	require.NoError(b, err)
	mint := func() error {
		_, _, err := maker.Mint(ctx, access, latchkey.Narrowing{Client: latchkey.Client{ID: "42", Name: "Ada"}, Lifetime: time.Hour})
		return err
	}
	b.Run("mint", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			if err := mint(); err != nil {
				b.Fatal(err)
			}
		}
	})
	b.Run("mint, 64 callers", func(b *testing.B) {
		b.SetParallelism(32)
		b.RunParallel(func(pb *testing.PB) {
			for pb.Next() {
				if err := mint(); err != nil {
					b.Error(err)
					return
				}
			}
		})
	})
}
