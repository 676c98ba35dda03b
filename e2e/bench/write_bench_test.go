package bench

import (
	"cmp"
	"context"
	"database/sql"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/latchkey-go/latchkey"
	"github.com/latchkey-go/latchkey/e2e/internal/harness"
	"github.com/latchkey-go/latchkey/e2e/internal/world"
	"github.com/latchkey-go/latchkey/sqlstore"
)

// What writing costs, and what does not grow with the number of tokens. Each figure that matters is a ratio,
// x_commit: how many bare commits of one row, with the same driver, in the same run and between the same noises, take
// as long; x_cpu says the same of the work of processors, the server's and this program's.

// benchPlace is an engine that flushes what it commits, with a table of its own for bare rows.
type benchPlace struct {
	name  string
	db    *sql.DB
	store *sqlstore.Store
	bare  *sql.Stmt
	n     atomic.Int64
	// server is the process of the engine, if it has one of its own that was started here.
	server *exec.Cmd
}

// onBenchPlaces runs a benchmark on SQLite, PostgreSQL and MariaDB.
func onBenchPlaces(b *testing.B, run func(b *testing.B, p *benchPlace)) {
	b.Run("SQLite", func(b *testing.B) {
		db := harness.OpenSQLite(b, harness.WAL(harness.NewFile(b))+"&_pragma=synchronous(FULL)")
		db.SetMaxOpenConns(4)
		db.SetMaxIdleConns(4)
		run(b, newBenchPlace(b, "SQLite", db, latchkey.SQLite,
			`CREATE TABLE bare (digest BLOB PRIMARY KEY, body BLOB) STRICT, WITHOUT ROWID`))
	})
	for _, known := range harness.Engines {
		b.Run(known.Name, func(b *testing.B) {
			e := known.Another()
			e.Durable = true
			b.Cleanup(e.Stop)
			db := e.Open(b, e.Place(b))
			table := `CREATE TABLE bare (digest BYTEA PRIMARY KEY, body BYTEA)`
			if e.Dialect == latchkey.MySQL {
				table = `CREATE TABLE bare (digest VARBINARY(32) PRIMARY KEY, body VARBINARY(100)) ENGINE=InnoDB`
			}
			p := newBenchPlace(b, e.Name, db, e.Dialect, table)
			p.server = e.Process
			run(b, p)
		})
	}
}

func newBenchPlace(b *testing.B, name string, db *sql.DB, d latchkey.Dialect, table string) *benchPlace {
	p := &benchPlace{name: name, db: db, store: harness.OpenStore(b, db, d)}
	_, err := db.Exec(table)
	require.NoError(b, err)
	insert := "INSERT INTO bare VALUES (?, ?)"
	if d == latchkey.Postgres {
		insert = "INSERT INTO bare VALUES ($1, $2)"
	}
	p.bare, err = db.Prepare(insert)
	require.NoError(b, err)
	b.Cleanup(func() { p.bare.Close() })
	return p
}

// commit is the barest durable write: one row, one statement, one commit.
func (p *benchPlace) commit() error {
	d := world.Digest(int(p.n.Add(1)))
	_, err := p.bare.Exec(d[:], d[:])
	return err
}

// mint is what Account.Issue writes.
func (p *benchPlace) mint(event bool) func() error {
	return func() error {
		w := world.Mint("acme", world.NewID(), int(p.n.Add(1)))
		if event {
			w.Events = []latchkey.Event{{At: world.Noon, Action: "token.issue", Object: w.Tokens[0].ID,
				After: []byte(`{"name":"reporting"}`)}}
		}
		err := p.store.Write(context.Background(), w)
		return err
	}
}

// versus runs bare commits and ours in turns, and reports how many commits one of ours takes as long as.
func (p *benchPlace) versus(callers, turn int, ours func() error) func(*testing.B) {
	return func(b *testing.B) {
		burst := func(f func() error) time.Duration {
			var left atomic.Int64
			left.Store(int64(turn))
			began := time.Now()
			var all sync.WaitGroup
			for range callers {
				all.Go(func() {
					for left.Add(-1) >= 0 {
						if err := f(); err != nil {
							b.Error(err)
							return
						}
					}
				})
			}
			all.Wait()
			return time.Since(began)
		}
		burst(p.commit)
		burst(ours)
		// Medians: what else the machine does comes in gusts.
		var bare, mine, ratios []float64
		var worked [2]time.Duration
		for b.Loop() {
			start := p.worked()
			one := burst(p.commit).Seconds()
			middle := p.worked()
			other := burst(ours).Seconds()
			worked[0], worked[1] = worked[0]+middle-start, worked[1]+p.worked()-middle
			bare, mine, ratios = append(bare, one), append(mine, other), append(ratios, other/one)
		}
		if worked[0] > 0 {
			b.ReportMetric(float64(worked[1])/float64(worked[0]), "x_cpu")
		}
		b.ReportMetric(0, "ns/op")
		b.ReportMetric(float64(turn)/median(bare), "bare/s")
		b.ReportMetric(float64(turn)/median(mine), "ours/s")
		b.ReportMetric(median(ratios), "x_commit")
	}
}

// worked is the time that this process and the server's have been at work, as Linux tells it: where a machine is busy
// with other things, it says more than the time that went by. Elsewhere it is 0.
func (p *benchPlace) worked() (sum time.Duration) {
	pids := []string{strconv.Itoa(os.Getpid())}
	if p.server != nil {
		server := strconv.Itoa(p.server.Process.Pid)
		children, _ := os.ReadFile("/proc/" + server + "/task/" + server + "/children")
		pids = append(append(pids, server), strings.Fields(string(children))...)
	}
	for _, pid := range pids {
		tasks, _ := filepath.Glob("/proc/" + pid + "/task/*/schedstat")
		for _, task := range tasks {
			if text, err := os.ReadFile(task); err == nil {
				ns, _ := strconv.ParseInt(strings.Fields(string(text))[0], 10, 64)
				sum += time.Duration(ns)
			}
		}
	}
	return sum
}

func median[T cmp.Ordered](list []T) T {
	slices.Sort(list)
	return list[len(list)/2]
}

func BenchmarkMint(b *testing.B) {
	onBenchPlaces(b, func(b *testing.B, p *benchPlace) {
		ctx := context.Background()
		keys := latchkey.New(p.store, nil)
		b.Cleanup(func() { require.NoError(b, keys.Close(ctx)) })
		acme := keys.For("acme")
		_, secret, err := acme.Issue(ctx, latchkey.Spec{Kind: latchkey.KindAPIKey})
		require.NoError(b, err)
		access, err := keys.Verify(ctx, latchkey.Presented{Secret: secret.Reveal()})
		require.NoError(b, err)
		// Two owners with a policy: one with room, and one whose every second mint or so finds the last place taken by a
		// token that has ended.
		limited := func(most int, lifetime time.Duration) func() error {
			owner := keys.For(fmt.Sprint("at most ", most))
			require.NoError(b, owner.Configure(ctx, func(o *latchkey.Owner) error { o.Policy.Children = most; return nil }))
			_, secret, err := owner.Issue(ctx, latchkey.Spec{Kind: latchkey.KindAPIKey})
			require.NoError(b, err)
			access, err := keys.Verify(ctx, latchkey.Presented{Secret: secret.Reveal()})
			require.NoError(b, err)
			return func() error {
				_, _, err := access.Mint(ctx, latchkey.Narrowing{Lifetime: lifetime})
				if errors.Is(err, latchkey.ErrTooMany) {
					err = nil
				}
				return err
			}
		}
		for _, what := range []struct {
			name string
			do   func() error
		}{
			{"write of token and secret", p.mint(false)},
			{"write of token, secret and event", p.mint(true)},
			{"Access.Mint", func() error {
				_, _, err := access.Mint(ctx, latchkey.Narrowing{Lifetime: time.Hour})
				return err
			}},
			{"Access.Mint with a limit", limited(1_000_000, time.Hour)},
			{"Access.Mint at a limit", limited(200, 100*time.Millisecond)},
			{"Account.Issue", func() error {
				_, _, err := acme.Issue(ctx, latchkey.Spec{Kind: latchkey.KindAPIKey})
				return err
			}},
		} {
			name := strings.ReplaceAll(what.name, " ", "_")
			b.Run(name+"/1_caller", p.versus(1, 30, what.do))
			b.Run(name+"/64_callers", p.versus(64, 256, what.do))
		}
	})
}

// benchSize is how many tokens the following are measured at: LATCHKEY_BENCH_TOKENS, or 100,000.
func benchSize(b *testing.B) int {
	text := os.Getenv("LATCHKEY_BENCH_TOKENS")
	if text == "" {
		return 100_000
	}
	n, err := strconv.Atoi(text)
	require.NoError(b, err)
	require.GreaterOrEqual(b, n, 1000)
	return n
}

// BenchmarkAtSize is what is asked of a store with many tokens. Loading them is a figure of its own.
func BenchmarkAtSize(b *testing.B) {
	ctx := context.Background()
	onBenchPlaces(b, func(b *testing.B, p *benchPlace) {
		n := benchSize(b)
		began := time.Now()
		bulk(b, p.store, n)
		loading := time.Since(began)
		b.Run("load", func(b *testing.B) {
			for b.Loop() {
			}
			b.ReportMetric(0, "ns/op")
			b.ReportMetric(float64(n)/loading.Seconds(), "tokens/s")
		})
		p.n.Store(int64(n))
		for _, page := range []struct {
			name, after string
			q           latchkey.TokenQuery
		}{
			{"page/first", "", latchkey.TokenQuery{}},
			{"page/middle", bulkID(n / 2), latchkey.TokenQuery{}},
			{"page/last", bulkID(n - 101), latchkey.TokenQuery{}},
			{"page/by_role,_middle", bulkID(n / 2), latchkey.TokenQuery{Role: world.RoleID}},
			{"page/by_client,_first", "", latchkey.TokenQuery{Client: "42"}},
			{"page/revoked,_middle", bulkID(n / 2),
				latchkey.TokenQuery{States: []latchkey.State{latchkey.Revoked}, Now: world.Noon}},
			{"page/by_prefix,_first", "", latchkey.TokenQuery{Search: "007"}},
		} {
			page.q.After = page.after
			b.Run(page.name, p.versus(1, 10, func() error {
				list, err := p.store.Tokens(ctx, "acme", page.q)
				if err == nil && len(list) == 0 {
					err = errors.New("an empty page")
				}
				return err
			}))
		}
		revoke := func() error {
			w := world.Mint("acme", world.NewID(), int(p.n.Add(1)))
			if err := p.store.Write(ctx, w); err != nil {
				return err
			}
			w.Tokens[0].Version, w.Tokens[0].Revoked = 1, world.Noon
			err := p.store.Write(ctx, latchkey.Write{ID: world.WriteID(), Owner: "acme", At: world.Noon, Tokens: w.Tokens,
				Events: []latchkey.Event{{At: world.Noon, Action: "token.revoke", Object: w.Tokens[0].ID}}})
			return err
		}
		b.Run("mint_and_revoke/1_caller", p.versus(1, 20, revoke))
		b.Run("mint_and_revoke/64_callers", p.versus(64, 128, revoke))
		b.Run("revoke", func(b *testing.B) { // its latency
			var tokens []latchkey.Token
			var took []time.Duration
			for b.Loop() {
				b.StopTimer()
				if len(tokens) == 0 {
					w := latchkey.Write{ID: world.WriteID(), Owner: "acme", At: world.Noon, Silent: true}
					for range 200 {
						w.Tokens = append(w.Tokens, world.Mint("acme", world.NewID(), 0).Tokens...)
					}
					err := p.store.Write(ctx, w)
					require.NoError(b, err)
					tokens = w.Tokens
				}
				dead := tokens[0]
				tokens = tokens[1:]
				dead.Version, dead.Revoked = 1, world.Noon
				b.StartTimer()
				began := time.Now()
				err := p.store.Write(ctx,
					latchkey.Write{ID: world.WriteID(), Owner: "acme", At: world.Noon, Tokens: []latchkey.Token{dead}})
				if err != nil {
					b.Fatal(err)
				}
				took = append(took, time.Since(began))
			}
			slices.Sort(took)
			b.ReportMetric(float64(took[len(took)/2].Microseconds()), "p50-µs")
			b.ReportMetric(float64(took[len(took)*99/100].Microseconds()), "p99-µs")
		})
		b.Run("purge_of_1000", func(b *testing.B) {
			const batch = 1000
			policy := latchkey.PurgePolicy{Now: world.Noon, Expired: -1, Changes: -1}
			var bare, mine time.Duration
			removed := 0
			for b.Loop() {
				b.StopTimer()
				w := latchkey.Write{ID: world.WriteID(), Owner: "acme", At: world.Noon, Silent: true}
				for range batch {
					m := world.Mint("acme", world.NewID(), int(p.n.Add(1)))
					m.Tokens[0].Revoked = world.Noon
					w.Tokens, w.Secrets = append(w.Tokens, m.Tokens...), append(w.Secrets, m.Secrets...)
				}
				err := p.store.Write(ctx, w)
				require.NoError(b, err)
				began := time.Now()
				for range 20 {
					require.NoError(b, p.commit())
				}
				bare += time.Since(began) / 20
				b.StartTimer()
				began = time.Now()
				done, err := p.store.Purge(ctx, policy, batch)
				if err != nil || done != batch {
					b.Fatal(done, err)
				}
				mine += time.Since(began)
				removed += done
			}
			b.ReportMetric(float64(removed)/mine.Seconds(), "tokens/s")
			b.ReportMetric(mine.Seconds()/bare.Seconds(), "x_commit")
		})
	})
}

// BenchmarkColdStart is the first Verify of each token after a start, when nothing is cached: beside a bare look-up.
func BenchmarkColdStart(b *testing.B) {
	ctx := context.Background()
	onBenchPlaces(b, func(b *testing.B, p *benchPlace) {
		const batch = 1000
		n := min(benchSize(b), 20_000)
		maker := latchkey.New(p.store, nil)
		acme := maker.For("acme")
		secrets := make([]string, n)
		var next atomic.Int64
		var all sync.WaitGroup
		for range 64 {
			all.Go(func() {
				for i := next.Add(1) - 1; i < int64(n); i = next.Add(1) - 1 {
					_, secret, err := acme.Issue(ctx, latchkey.Spec{Kind: latchkey.KindAPIKey})
					if err != nil {
						b.Error(err)
						return
					}
					secrets[i] = secret.Reveal()
				}
			})
		}
		all.Wait()
		require.NoError(b, maker.Close(ctx))
		for range n / 10 {
			require.NoError(b, p.commit())
		}
		text := "SELECT body FROM bare WHERE digest = ?"
		if p.name == harness.Postgres.Name {
			text = "SELECT body FROM bare WHERE digest = $1"
		}
		lookup, err := p.db.Prepare(text)
		require.NoError(b, err)
		defer lookup.Close()
		var bare, cold time.Duration
		looked, verified := 0, 0
		for b.Loop() {
			keys := latchkey.New(p.store, nil)
			order := rand.Perm(n)
			for i := range n/batch + 1 { // in turns
				began := time.Now()
				for range batch / 10 {
					d := world.Digest(1 + rand.N(n/10))
					var body []byte
					if err := lookup.QueryRow(d[:]).Scan(&body); err != nil {
						b.Fatal(err)
					}
					looked++
				}
				bare += time.Since(began)
				began = time.Now()
				for _, i := range order[min(i*batch, n):min((i+1)*batch, n)] {
					if _, err := keys.Verify(ctx, latchkey.Presented{Secret: secrets[i]}); err != nil {
						b.Fatal(err)
					}
					verified++
				}
				cold += time.Since(began)
			}
			require.NoError(b, keys.Close(ctx))
		}
		b.ReportMetric(0, "ns/op")
		b.ReportMetric(float64(verified)/cold.Seconds(), "tokens/s")
		b.ReportMetric(cold.Seconds()/float64(verified)/(bare.Seconds()/float64(looked)), "x_lookup")
	})
}
