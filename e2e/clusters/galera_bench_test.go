package clusters

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/latchkey-go/latchkey"
	"github.com/latchkey-go/latchkey/e2e/internal/world"
	"github.com/latchkey-go/latchkey/sqlstore"
)

// What a revocation on the write node costs on another: a Verify there that begins right after it, with
// wsrep_sync_wait and without, where it may be stale. Bare is the same point lookup by the same driver, on a node
// where nothing happens.
func BenchmarkGaleraVerifyElsewhere(b *testing.B) {
	dsns := galera.place(b)
	here := latchkey.New(galera.nodes[0].Store(b, dsns[0]), nil)
	b.Cleanup(func() { here.Close(context.Background()) })
	for _, wait := range []string{"0", "1"} {
		dsn := strings.Replace(dsns[1], "wsrep_sync_wait=1", "wsrep_sync_wait="+wait, 1)
		b.Run("wait="+wait, func(b *testing.B) { verifyElsewhere(b, here, dsns[0], dsn) })
		b.Run("bare lookup, wait="+wait, func(b *testing.B) {
			lookup, err := galera.nodes[1].Open(b, dsn).Prepare("SELECT epoch FROM latchkey_epoch WHERE id = ?")
			require.NoError(b, err)
			var took []time.Duration
			for b.Loop() {
				begin := time.Now()
				var epoch int64
				require.NoError(b, lookup.QueryRow(1).Scan(&epoch))
				took = append(took, time.Since(begin))
			}
			percentiles(b, took)
		})
	}
}

func verifyElsewhere(b *testing.B, here *latchkey.Manager, hereDSN, dsn string) {
	ctx := context.Background()
	s, err := sqlstore.New(ctx, galera.nodes[1].Open(b, dsn), latchkey.MySQL, &sqlstore.Options{OnlyNode: true})
	require.NoError(b, err)
	defer s.Close()
	there := latchkey.New(s, nil)
	defer there.Close(ctx)
	busyNode(b, galera.nodes[0].Store(b, hereDSN), 2)
	acme := here.For("acme " + world.NewID())
	var took []time.Duration
	stale := 0
	for b.Loop() {
		token, secret, err := acme.Issue(ctx, latchkey.Spec{Kind: latchkey.KindAPIKey})
		require.NoError(b, err)
		presented := latchkey.Presented{Secret: secret.Reveal()}
		for {
			if _, err = there.Verify(ctx, presented); !errors.Is(err, latchkey.ErrUnknownToken) {
				break // it has arrived
			}
		}
		require.NoError(b, err)
		require.NoError(b, acme.Revoke(ctx, token.ID, ""))
		begin := time.Now()
		_, err = there.Verify(ctx, presented)
		took = append(took, time.Since(begin))
		if err == nil {
			stale++
		}
	}
	percentiles(b, took)
	b.ReportMetric(100*float64(stale)/float64(len(took)), "%stale")
}

func percentiles(b *testing.B, took []time.Duration) {
	slices.Sort(took)
	b.ReportMetric(float64(took[len(took)/2].Microseconds()), "p50-µs")
	b.ReportMetric(float64(took[len(took)*99/100].Microseconds()), "p99-µs")
}

// Changes of the epoch by writers that all use one node, and by writers on all three.
func BenchmarkGaleraChanges(b *testing.B) {
	for _, c := range []struct{ writers, nodes int }{{1, 1}, {9, 1}, {9, 3}} {
		b.Run(fmt.Sprintf("%d writers on %d", c.writers, c.nodes), func(b *testing.B) {
			ctx := context.Background()
			dsns := galera.place(b)
			var stores []*sqlstore.Store
			for i, n := range galera.nodes[:c.nodes] {
				stores = append(stores, n.Store(b, dsns[i]))
			}
			var left atomic.Int64
			left.Store(int64(b.N))
			var all sync.WaitGroup
			b.ResetTimer()
			for g := range c.writers {
				owner := fmt.Sprint("owner ", g)
				all.Go(func() {
					for n := uint64(0); left.Add(-1) >= 0; n++ {
						err := stores[g%c.nodes].Write(ctx, latchkey.Write{ID: world.WriteID(), Owner: owner,
							OwnerRecord: &latchkey.Owner{ID: owner, Version: n}})
						if err != nil {
							b.Error(err)
							return
						}
					}
				})
			}
			all.Wait()
			b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "changes/s")
		})
	}
}
