package nodes

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/stretchr/testify/require"

	"github.com/latchkey-go/latchkey"
	"github.com/latchkey-go/latchkey/e2e/internal/harness"
	"github.com/latchkey-go/latchkey/sqlstore"
)

func reportLatency(b *testing.B, took []time.Duration) {
	slices.Sort(took)
	at := func(p int) float64 { return took[(len(took)-1)*p/100].Seconds() * 1000 }
	b.ReportMetric(at(50), "p50-ms")
	b.ReportMetric(at(99), "p99-ms")
	b.ReportMetric(0, "ns/op") // of a whole batch: it says nothing
}

// BenchmarkRevokeElsewhere is the time from Revoke's return on one node until another, busy node refuses the token.
func BenchmarkRevokeElsewhere(b *testing.B) {
	for _, e := range harness.NodeEngines {
		dsn := e.Place(b)
		for _, mode := range []struct {
			name    string
			bound   time.Duration
			notify  bool
			between time.Duration // revocations, on average: they meet the polls at any moment
		}{
			{"MaxStale=0", 0, false, 5 * time.Millisecond},
			{"MaxStale=5s, NOTIFY", 5 * time.Second, true, 150 * time.Millisecond}, // seldom enough to be told at once
			{"MaxStale=100ms", 100 * time.Millisecond, false, 10 * time.Millisecond},
			{"MaxStale=1s", time.Second, false, 40 * time.Millisecond},
		} {
			if mode.notify && e.Dialect != latchkey.Postgres {
				continue
			}
			b.Run(e.Name+", "+mode.name, func(b *testing.B) {
				here, there := harness.NewNode(b, e, dsn, 0), harness.NewNode(b, e, dsn, mode.bound)
				if mode.notify {
					listening(b, dsn, there)
				}
				var took []time.Duration
				for b.Loop() {
					took = append(took, revokeElsewhere(b, here, there, mode.between)...)
				}
				reportLatency(b, took)
			})
		}
	}
}

func revokeElsewhere(b *testing.B, here, there *latchkey.Manager, between time.Duration) (took []time.Duration) {
	const revocations = 100
	ctx := context.Background()
	acme := here.For("acme")
	type revoked struct {
		secret   string
		returned time.Time
	}
	ids, secrets := make([]string, revocations), make([]string, revocations)
	for i := range ids {
		ids[i], secrets[i] = known(b, acme, there)
	}
	_, stays := known(b, acme, there)
	done := make(chan revoked, revocations)
	go func() {
		for i, id := range ids {
			time.Sleep(rand.N(2 * between))
			if err := acme.Revoke(ctx, id, ""); err != nil {
				b.Error(err)
			}
			done <- revoked{secrets[i], time.Now()}
		}
		close(done)
	}()
	open := []revoked{{secret: stays}} // there is always something to verify
	for more := true; more || len(open) > 1; {
		for waiting := true; waiting && more; {
			select {
			case r, ok := <-done:
				if more = ok; ok {
					open = append(open, r)
				}
			default:
				waiting = false
			}
		}
		open = slices.DeleteFunc(open, func(r revoked) bool {
			_, err := there.Verify(ctx, latchkey.Presented{Secret: r.secret})
			if errors.Is(err, latchkey.ErrRevoked) {
				took = append(took, time.Since(r.returned))
				return true
			}
			if err != nil {
				b.Fatal(err)
			}
			return false
		})
		time.Sleep(50 * time.Microsecond) // or nothing is left for the servers
	}
	return took
}

// BenchmarkRevoke compares Revoke, by the median, with a bare UPDATE of one row and its commit, taken by turns.
func BenchmarkRevoke(b *testing.B) {
	ctx := context.Background()
	for _, e := range harness.NodeEngines {
		b.Run(e.Name, func(b *testing.B) {
			dsn := e.Place(b)
			if e.Dialect == latchkey.SQLite {
				dsn += "&_pragma=synchronous(FULL)" // the Store insists on it, so the bare one must have it too
			}
			here := harness.NewNode(b, e, dsn, 0)
			acme := here.For("acme")
			db := e.Open(b, dsn)
			_, err := db.Exec("CREATE TABLE bare (id INT PRIMARY KEY, n INT)")
			require.NoError(b, err)
			_, err = db.Exec("INSERT INTO bare VALUES (1, 0), (2, 0), (3, 0)")
			require.NoError(b, err)
			bare, err := db.Prepare("UPDATE bare SET n = n + 1 WHERE id = 2")
			require.NoError(b, err)
			var ours, theirs []time.Duration
			for b.Loop() {
				for range 20 {
					id, _ := known(b, acme, here)
					began := time.Now()
					_, err := bare.Exec()
					theirs = append(theirs, time.Since(began))
					require.NoError(b, err)
					began = time.Now()
					require.NoError(b, acme.Revoke(ctx, id, "leaked"))
					ours = append(ours, time.Since(began))
				}
			}
			reportLatency(b, ours)
			slices.Sort(theirs)
			bareMedian := theirs[len(theirs)/2]
			b.ReportMetric(bareMedian.Seconds()*1000, "bare-ms")
			b.ReportMetric(float64(ours[len(ours)/2])/float64(bareMedian), "x-bare")
		})
	}
}

// BenchmarkNotify is what telling others costs those who change something: the statement that advances the epoch, alone
// in its transaction, with and without pg_notify, by turns.
func BenchmarkNotify(b *testing.B) {
	ctx := context.Background()
	dsn := harness.Postgres.Place(b)
	harness.Postgres.Store(b, dsn)
	db := harness.Postgres.Open(b, dsn)
	const text = `WITH e AS (UPDATE latchkey_epoch SET epoch = epoch + 1 WHERE id = 1 RETURNING epoch%s)
		INSERT INTO latchkey_changes (epoch, seq, owner, kind, id, until, at) SELECT epoch, 0, 'acme', 1, 't', NULL, 0 FROM e`
	quiet, loud := fmt.Sprintf(text, ""), fmt.Sprintf(text, ", pg_notify('"+sqlstore.NotifyChannel+"', '')")
	for _, listeners := range []int{0, 5} {
		for range listeners {
			conn, err := pgx.Connect(ctx, dsn)
			require.NoError(b, err)
			defer conn.Close(ctx)
			_, err = conn.Exec(ctx, "LISTEN "+sqlstore.NotifyChannel)
			require.NoError(b, err)
			go func() {
				for _, err := conn.WaitForNotification(ctx); err == nil; _, err = conn.WaitForNotification(ctx) {
				}
			}()
		}
		for _, writers := range []int{1, 16} {
			b.Run(fmt.Sprintf("%d writers, %d listeners", writers, listeners), func(b *testing.B) {
				const batch, turns = 50, 20
				var took [2][]time.Duration
				for b.Loop() {
					for turn := range turns {
						for i := range 2 {
							which := (turn + i) % 2 // neither always first
							took[which] = append(took[which], execMany(b, db, [...]string{quiet, loud}[which], writers, batch))
						}
					}
				}
				median := func(took []time.Duration) float64 {
					slices.Sort(took)
					return took[len(took)/2].Seconds()
				}
				b.ReportMetric(batch/median(took[0]), "quiet/s")
				b.ReportMetric(batch/median(took[1]), "notified/s")
				b.ReportMetric(median(took[1])/median(took[0]), "x-quiet")
				b.ReportMetric(0, "ns/op")
			})
		}
	}
}

// execMany is how long it takes to run a statement n times by so many writers.
func execMany(b *testing.B, db *sql.DB, text string, writers, n int) time.Duration {
	var left atomic.Int64
	left.Store(int64(n))
	var all sync.WaitGroup
	began := time.Now()
	for range writers {
		all.Go(func() {
			for left.Add(-1) >= 0 {
				if _, err := db.Exec(text); err != nil {
					b.Error(err)
					return
				}
			}
		})
	}
	all.Wait()
	return time.Since(began)
}
