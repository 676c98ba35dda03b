package bench

import (
	"context"
	"crypto/sha256"
	"database/sql"
	"fmt"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/latchkey-go/latchkey"
	"github.com/latchkey-go/latchkey/e2e/internal/harness"
	"github.com/latchkey-go/latchkey/e2e/internal/world"
	"github.com/latchkey-go/latchkey/sqlstore"
)

// usagePlaces are where usage is written to: each engine near, and servers a round trip of 20 ms away.
var usagePlaces = []usagePlace{{"SQLite", nil, 0}, {"PostgreSQL", harness.Postgres, 0}, {"MariaDB", harness.MariaDB, 0},
	{"PostgreSQL, 20 ms away", harness.Postgres, 20 * time.Millisecond},
	{"MariaDB, 20 ms away", harness.MariaDB, 20 * time.Millisecond}}

type usagePlace struct {
	name   string
	engine *harness.Engine // nil: SQLite
	far    time.Duration   // the round trip
}

// openFar returns a store on a new place that is a round trip away, and what counts the round trips: nil for SQLite.
func openFar(t testing.TB, e *harness.Engine, far time.Duration) (*sqlstore.Store, *harness.Distance) {
	if e == nil {
		return harness.OpenSQLiteStore(t, harness.OpenSQLite(t, harness.WAL(harness.NewFile(t)))), nil
	}
	dsn := e.Place(t)
	require.NoError(t, sqlstore.Migrate(context.Background(), e.Open(t, dsn), e.Dialect))
	dsn, distance := harness.Far(t, e, dsn, far)
	return farStore(t, e, dsn), distance
}

func farStore(t testing.TB, e *harness.Engine, dsn string) *sqlstore.Store {
	db, err := sql.Open(e.Driver, dsn)
	require.NoError(t, err)
	db.SetMaxOpenConns(8)
	db.SetMaxIdleConns(8)
	t.Cleanup(func() { db.Close() })
	s, err := sqlstore.New(context.Background(), db, e.Dialect, nil)
	require.NoError(t, err)
	t.Cleanup(func() { s.Close() })
	return s
}

// BenchmarkUsage is how many rows of usage one caller writes in a second: by AddUsage itself in batches of some sizes,
// and by Count, until all is stored. New rows and rows that are there already take turns.
func BenchmarkUsage(b *testing.B) {
	for _, p := range usagePlaces {
		for _, size := range []int{1000, 5000} {
			for _, old := range []bool{false, true} {
				b.Run(fmt.Sprintf("%s/AddUsage/%d/old=%v", p.name, size, old), func(b *testing.B) {
					store, _ := openFar(b, p.engine, p.far)
					rows := make([]latchkey.UsageRow, 40*size)
					for i := range rows {
						rows[i] = latchkey.UsageRow{Owner: "acme", TokenID: bulkID(i / 4), Meter: "calls",
							Endpoint: fmt.Sprint("GET /things/", i%4), Day: "2026-11-22", Count: 1, Credits: 2}
					}
					write := func() {
						for batch := range slices.Chunk(rows, size) {
							require.NoError(b, store.AddUsage(b.Context(),
								latchkey.UsageBatch{ID: world.WriteID(), At: world.Noon, Rows: batch}))
						}
					}
					if old {
						write()
					}
					b.ResetTimer()
					for n := 0; b.Loop(); n++ {
						if !old {
							b.StopTimer()
							for i := range rows {
								rows[i].Day = time.Date(2026, 1, 1+n, 0, 0, 0, 0, time.UTC).Format(time.DateOnly)
							}
							b.StartTimer()
						}
						write()
					}
					b.ReportMetric(0, "ns/op")
					b.ReportMetric(float64(b.N*len(rows))/b.Elapsed().Seconds(), "rows/s")
				})
			}
		}
		b.Run(p.name+"/Count", func(b *testing.B) {
			store, _ := openFar(b, p.engine, p.far)
			keys := latchkey.New(store, nil)
			acme := keys.For("acme")
			const clients, endpoints = 1000, 100
			for n := 0; b.Loop(); n++ {
				for c := range clients {
					a, err := acme.Assume(latchkey.Client{ID: fmt.Sprint("client ", c)}, nil)
					require.NoError(b, err)
					for e := range endpoints {
						a.Count("calls", fmt.Sprintf("GET /things/%d/%d", n, e), 1)
					}
				}
				_, err := acme.Usage(b.Context(), latchkey.UsageQuery{ClientID: "none"}) // it writes first
				require.NoError(b, err)
			}
			b.ReportMetric(0, "ns/op")
			b.ReportMetric(float64(b.N*clients*endpoints)/b.Elapsed().Seconds(), "rows/s")
			require.NoError(b, keys.Close(context.Background()))
		})
	}
}

// BenchmarkLastUses is a process that has just started and verifies many tokens once: how long it takes until all last
// uses are stored, from the first and from the last Verify on. Of revocations it tells what the slowest took: alone,
// while tokens were verified, and while what was left of the last uses was written.
func BenchmarkLastUses(b *testing.B) {
	const tokens = 60_000
	for _, p := range append(slices.Clone(usagePlaces[:3]), usagePlace{"PostgreSQL, 80 ms away", harness.Postgres,
		80 * time.Millisecond}) {
		b.Run(p.name, func(b *testing.B) {
			ctx := b.Context()
			var db *sql.DB
			var near, far *sqlstore.Store
			var distance *harness.Distance
			if p.engine == nil {
				db = harness.OpenSQLite(b, harness.WAL(harness.NewFile(b)))
				near = harness.OpenSQLiteStore(b, db)
				far = near
			} else {
				dsn := p.engine.Place(b)
				db = p.engine.Open(b, dsn)
				near = harness.OpenStore(b, db, p.engine.Dialect)
				dsn, distance = harness.Far(b, p.engine, dsn, p.far)
				far = farStore(b, p.engine, dsn)
			}
			text := func(i int) string { return fmt.Sprintf("imported-%08d-of-a-length-as-usual", i) }
			for i := 0; i < tokens; i += 1000 {
				w := latchkey.Write{ID: world.WriteID(), Owner: "acme", At: world.Noon, Silent: true}
				for j := i; j < i+1000; j++ {
					m := world.Mint("acme", world.NewID(), j)
					m.Secrets[0].Add.Digest = sha256.Sum256([]byte(text(j)))
					w.Tokens, w.Secrets = append(w.Tokens, m.Tokens...), append(w.Secrets, m.Secrets...)
				}
				err := near.Write(ctx, w)
				require.NoError(b, err)
			}
			opts := &latchkey.Options{Imported: func(string) bool { return true }, MaxStale: time.Minute}
			maker := latchkey.New(near, opts).For("acme")
			var revoke []string
			for range 2000 {
				t, _, err := maker.Issue(ctx, latchkey.Spec{Kind: latchkey.KindAPIKey})
				require.NoError(b, err)
				revoke = append(revoke, t.ID)
			}
			// revoking returns the slowest of some revocations, one after the other, and how many there were.
			revoking := func(while func()) (slowest time.Duration, n int) {
				done := make(chan struct{})
				var all sync.WaitGroup
				all.Go(func() {
					for ; n < len(revoke); n++ {
						select {
						case <-done:
							return
						case <-time.After(10 * time.Millisecond):
						}
						began := time.Now()
						if err := maker.Revoke(ctx, revoke[n], ""); err != nil {
							b.Error(err)
						}
						slowest = max(slowest, time.Since(began))
					}
				})
				while()
				close(done)
				all.Wait()
				revoke = revoke[n:]
				return slowest, n
			}
			for b.Loop() {
				_, err := db.Exec("UPDATE latchkey_tokens SET used = NULL")
				require.NoError(b, err)
				keys := latchkey.New(splitStore{near, far}, opts)
				trips := int64(0)
				if distance != nil {
					trips = distance.Trips()
				}
				// What a revocation takes alone, on this machine at this time.
				idle, _ := revoking(func() { time.Sleep(2 * time.Second) })
				began := time.Now()
				var verified time.Time
				verifying, n := revoking(func() {
					var all sync.WaitGroup
					for g := range 8 {
						all.Go(func() {
							for i := g; i < tokens; i += 8 {
								if _, err := keys.Verify(ctx, latchkey.Presented{Secret: text(i)}); err != nil {
									b.Error(err)
								}
							}
						})
					}
					all.Wait()
					verified = time.Now()
				})
				writing, more := revoking(func() {
					for stored := 0; stored < tokens; {
						time.Sleep(5 * time.Millisecond)
						require.NoError(b, db.QueryRow("SELECT COUNT(*) FROM latchkey_tokens WHERE used IS NOT NULL").Scan(&stored))
					}
				})
				if distance != nil {
					b.ReportMetric(float64(distance.Trips()-trips), "trips")
				}
				b.ReportMetric(time.Since(began).Seconds(), "s/first-verify")
				b.ReportMetric(time.Since(verified).Seconds(), "s/last-verify")
				b.ReportMetric(float64(idle.Milliseconds()), "ms/revoke-idle")
				b.ReportMetric(float64(verifying.Milliseconds()), "ms/revoke-verifying")
				b.ReportMetric(float64(writing.Milliseconds()), "ms/revoke-writing")
				b.ReportMetric(float64(n+more), "revocations")
				require.NoError(b, keys.Close(ctx))
			}
			b.ReportMetric(0, "ns/op")
		})
	}
}

// splitStore reads near and writes usage far.
type splitStore struct {
	latchkey.Store
	far latchkey.Store
}

func (s splitStore) AddUsage(ctx context.Context, b latchkey.UsageBatch) error {
	return s.far.AddUsage(ctx, b)
}
