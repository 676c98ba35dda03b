package bench

import (
	"context"
	"database/sql"
	"runtime"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/latchkey-go/latchkey"
	"github.com/latchkey-go/latchkey/e2e/internal/harness"
	"github.com/latchkey-go/latchkey/e2e/internal/world"
)

// BenchmarkSQLiteCharge is a debit: as a bare statement of the same driver, as the two transactions of an account
// without blocks, and out of blocks of a thousand debits, the store's share of the work included.
func BenchmarkSQLiteCharge(b *testing.B) {
	ctx := context.Background()
	db := harness.OpenSQLite(b, harness.WAL(harness.NewFile(b))+"&_pragma=synchronous(FULL)")
	db.SetMaxOpenConns(4)
	db.SetMaxIdleConns(4)
	store := harness.OpenSQLiteStore(b, db)
	_, err := db.Exec(`CREATE TABLE bare (id INTEGER PRIMARY KEY, used INTEGER) STRICT; INSERT INTO bare VALUES (1, 0)`)
	require.NoError(b, err)
	bare, err := db.Prepare("UPDATE bare SET used = used + 1 WHERE id = 1 AND used < 1000000000000")
	require.NoError(b, err)
	kinds := []struct {
		name string
		call func() error
	}{{"bare conditional update", func() error { return errOf(bare.Exec()) }}}
	for _, c := range []struct {
		name  string
		block func(latchkey.Credits) latchkey.Credits
	}{{"charge, each debit", nil}, {"charge, blocks of 1000", func(latchkey.Credits) latchkey.Credits { return 1000 }}} {
		keys := latchkey.New(store, &latchkey.Options{CreditLease: c.block})
		b.Cleanup(func() { require.NoError(b, keys.Close(ctx)) })
		_, secret, err := keys.For("acme").Issue(ctx, latchkey.Spec{Kind: latchkey.KindAPIKey,
			Limits: latchkey.Limits{Quotas: world.Monthly(1 << 60)}})
		require.NoError(b, err)
		access, err := keys.Verify(ctx, latchkey.Presented{Secret: secret.Reveal()})
		require.NoError(b, err)
		kinds = append(kinds, struct {
			name string
			call func() error
		}{c.name, func() error { return world.Spend(ctx, access, "reads", 1) }})
	}
	for _, k := range kinds {
		b.Run(k.name+"/1 caller", func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				if err := k.call(); err != nil {
					b.Fatal(err)
				}
			}
		})
		b.Run(k.name+"/64 callers", func(b *testing.B) {
			b.SetParallelism(max(1, 64/runtime.GOMAXPROCS(0)))
			b.RunParallel(func(pb *testing.PB) {
				for pb.Next() {
					if err := k.call(); err != nil {
						b.Error(err)
						return
					}
				}
			})
		})
	}
}

func errOf(_ sql.Result, err error) error { return err }
