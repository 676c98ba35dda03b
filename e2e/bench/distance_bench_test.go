package bench

import (
	"fmt"
	"os"
	"strconv"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/latchkey-go/latchkey"
	"github.com/latchkey-go/latchkey/e2e/internal/harness"
	"github.com/latchkey-go/latchkey/sqlstore"
)

// BenchmarkDistantChanges has many callers change tokens, each of an owner of its own, on a server that is far away.
// Per second it reports how many changes there are, and how many commits of one updated row by as many callers beside
// them.
func BenchmarkDistantChanges(b *testing.B) {
	for _, c := range []struct {
		trip    time.Duration
		callers int
	}{{80 * time.Millisecond, 128}, {20 * time.Millisecond, 128}, {2 * time.Millisecond, 128}, {0, 16}} {
		b.Run(fmt.Sprintf("trip=%v,callers=%d", c.trip, c.callers), func(b *testing.B) {
			distantChanges(b, c.trip, c.callers)
		})
	}
}

func distantChanges(b *testing.B, trip time.Duration, callers int) {
	ctx := b.Context()
	e := durablePostgres(b)
	place := e.Place(b)
	dsn, far := harness.Far(b, e, place, trip)
	db := e.Open(b, dsn)
	conns := 64
	if n, err := strconv.Atoi(os.Getenv("BENCH_CONNS")); err == nil {
		conns = n
	}
	db.SetMaxOpenConns(conns)
	db.SetMaxIdleConns(conns)
	require.NoError(b, sqlstore.Migrate(ctx, db, latchkey.Postgres))
	store, err := sqlstore.New(ctx, db, latchkey.Postgres, nil)
	require.NoError(b, err)
	defer store.Close()
	keys := latchkey.New(store, nil)
	near := e.Open(b, place)
	_, err = near.Exec(`CREATE TABLE bare (id INT PRIMARY KEY, n INT) WITH (fillfactor = 50)`)
	require.NoError(b, err)
	_, err = near.Exec(`INSERT INTO bare SELECT generate_series(0, $1 - 1), 0`, callers)
	require.NoError(b, err)
	ids := make([]string, callers)
	var all sync.WaitGroup
	for n := range callers {
		all.Go(func() {
			token, _, err := keys.For(fmt.Sprint("owner", n)).Issue(ctx, latchkey.Spec{Kind: latchkey.KindAPIKey})
			if err != nil {
				b.Error(err)
			}
			ids[n] = token.ID
		})
	}
	all.Wait()
	change := func(n, round int) error {
		_, err := keys.For(fmt.Sprint("owner", n)).Update(ctx, ids[n], func(t *latchkey.Token) error {
			t.Name = fmt.Sprint("name ", round)
			return nil
		})
		return err
	}
	bare := func(n, round int) error {
		_, err := db.ExecContext(ctx, `UPDATE bare SET n = $1 WHERE id = $2`, round, n)
		return err
	}
	run := func(d time.Duration, call func(n, round int) error) float64 {
		var done atomic.Int64
		stop := make(chan struct{})
		var all sync.WaitGroup
		for n := range callers {
			all.Go(func() {
				for round := 0; ; round++ {
					select {
					case <-stop:
						return
					default:
					}
					if err := call(n, round); err != nil {
						b.Error(err)
						return
					}
					done.Add(1)
				}
			})
		}
		begun := time.Now()
		time.Sleep(d)
		rate := float64(done.Load()) / time.Since(begun).Seconds()
		close(stop)
		all.Wait()
		return rate
	}
	run(max(time.Second, 20*trip), change) // warm
	trips, before := far.Trips(), int64(0)
	for range 10 {
		before = far.Trips()
		require.NoError(b, change(0, 77+int(far.Trips())))
		trips = far.Trips() - before
	}

	var changes, commits float64
	rounds := 0
	for b.Loop() { // interleaved: the machine may be busy with something else for a while
		changes += run(max(time.Second, 30*trip), change)
		commits += run(time.Second, bare)
		rounds++
	}
	b.ReportMetric(changes/float64(rounds), "changes/s")
	b.ReportMetric(commits/float64(rounds), "commits/s")
	b.ReportMetric(changes/commits, "changes/commit")
	b.ReportMetric(float64(trips), "trips/change")
}

var durable *harness.Engine

// durablePostgres returns a server of which each commit reaches the disk.
func durablePostgres(b *testing.B) *harness.Engine {
	if durable == nil {
		durable = harness.Postgres.Another()
		durable.Env, durable.Durable = "", true
	}
	durable.Place(b) // starts it
	return durable
}
