package bench

import (
	"context"
	"crypto/sha256"
	"database/sql"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"strconv"
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

// What Verify costs on each engine. The figures that matter are ratios: ours and the barest statement that finds a
// row by a digest of 32 bytes are run in turns, with the same driver on the same pool, and x_lookup is how many of
// those lookups one of ours takes as long as, median by median. The bare table has a row for each token, with the
// digest as its primary key and the token as its one other column.
//
// LATCHKEY_BENCH_TOKENS is how many tokens there are; 100,000 if it is not set.

// readBench is an engine filled with tokens, and the bare table beside them.
type readBench struct {
	store  *sqlstore.Store
	lookup *sql.Stmt
	epoch  *sql.Stmt
	tokens int
}

// What token i is: one in three has nothing, one has a role that inherits another, one was minted from a token with
// that role.
const (
	plainToken = iota
	roleToken
	mintedToken
	tokenForms
)

func BenchmarkRead(b *testing.B) {
	b.Run("SQLite", func(b *testing.B) {
		db := harness.OpenSQLite(b, harness.WAL(harness.NewFile(b)))
		benchRead(b, db, latchkey.SQLite, `CREATE TABLE bare (digest BLOB PRIMARY KEY, body BLOB) STRICT, WITHOUT ROWID`)
	})
	b.Run("PostgreSQL", func(b *testing.B) {
		benchRead(b, harness.Postgres.Open(b, harness.Postgres.Place(b)), latchkey.Postgres,
			`CREATE TABLE bare (digest BYTEA PRIMARY KEY, body BYTEA)`)
	})
	b.Run("MariaDB", func(b *testing.B) {
		benchRead(b, harness.MariaDB.Open(b, harness.MariaDB.Place(b)), latchkey.MySQL,
			`CREATE TABLE bare (digest VARBINARY(32) PRIMARY KEY, body LONGBLOB) ENGINE=InnoDB`)
	})
}

func benchRead(b *testing.B, db *sql.DB, d latchkey.Dialect, table string) {
	db.SetMaxOpenConns(8) // more readers than cores gain nothing, and an idle connection kept is one not opened anew
	db.SetMaxIdleConns(8)
	r := newReadBench(b, db, d, table)
	for _, form := range []struct {
		name string
		form int
	}{{"no role", plainToken}, {"roles", roleToken}, {"minted", mintedToken}} {
		b.Run("Verify uncached, "+form.name, func(b *testing.B) {
			verify := r.strangers(b, form.form)
			r.versus(b, func() error { return verify() })
		})
		b.Run("ByDigest, "+form.name, func(b *testing.B) {
			r.versus(b, func() error {
				_, err := r.store.ByDigest(context.Background(), 0, sha256.Sum256([]byte(r.text(r.pick(form.form)))))
				return err
			})
		})
	}
	verify := r.acquaintance(b, 0)
	b.Run("Verify cached, MaxStale=0", func(b *testing.B) { r.versus(b, verify) })
	second := r.acquaintance(b, time.Second)
	b.Run("Verify cached, MaxStale=1s", func(b *testing.B) { r.versus(b, second) })
	b.Run("poll", func(b *testing.B) { r.versus(b, r.poll) })
	b.Run("bare epoch", func(b *testing.B) {
		r.versus(b, func() error {
			var n int64
			return r.epoch.QueryRow().Scan(&n)
		})
	})
	b.Run("64 callers, Verify cached, MaxStale=0", func(b *testing.B) {
		coalesced(b, verify, func() error { // what it would be if each read by itself
			if err := r.poll(); err != nil {
				return err
			}
			return second()
		})
	})
}

func newReadBench(b *testing.B, db *sql.DB, d latchkey.Dialect, table string) *readBench {
	ctx := context.Background()
	r := &readBench{store: harness.OpenStore(b, db, d), tokens: 100_000}
	if n, err := strconv.Atoi(os.Getenv("LATCHKEY_BENCH_TOKENS")); err == nil {
		r.tokens = n
	}
	parent := world.Mint("acme", "parent", -1)
	parent.Tokens[0].Roles, parent.Tokens[0].Used = []string{world.RoleID}, time.Now()
	parent.Silent, parent.Roles = false, []latchkey.Role{
		{ID: world.RoleID, Owner: "acme", Name: "reader", Inherits: []string{world.BaseID}, Permissions: latchkey.Permissions{
			latchkey.Allow(latchkey.Read).On("dataset/*").Where(latchkey.Where("region", latchkey.Eq, "EU"))}},
		{ID: world.BaseID, Owner: "acme", Name: "base",
			Permissions: latchkey.Permissions{latchkey.Allow(latchkey.Read).On("news/*")}}}
	err := r.store.Write(ctx, parent)
	require.NoError(b, err)
	const batch = 1000
	for n := 0; n < r.tokens; n += batch {
		w := latchkey.Write{ID: world.WriteID(), Owner: "acme", At: world.Noon, Silent: true}
		for i := n; i < n+batch; i++ {
			m := world.Mint("acme", world.NewID(), i)
			// Its last use is known, so that none is written in the midst of a measurement.
			m.Tokens[0].Used = time.Now().Add(time.Hour)
			m.Secrets[0].Add.Digest = sha256.Sum256([]byte(r.text(i)))
			switch i % tokenForms {
			case roleToken:
				m.Tokens[0].Roles = []string{world.RoleID}
			case mintedToken:
				m.Tokens[0].Kind, m.Tokens[0].Parent, m.Tokens[0].Depth, m.Tokens[0].Full = latchkey.KindAccess, "parent", 1, true
				m.Tokens[0].Client = latchkey.Client{ID: "42", Name: "Ada"}
				m.Tokens[0].Validity.NotAfter = time.Now().Add(24 * time.Hour)
			}
			w.Tokens, w.Secrets = append(w.Tokens, m.Tokens...), append(w.Secrets, m.Secrets...)
		}
		err := r.store.Write(ctx, w)
		require.NoError(b, err)
	}
	for _, text := range append([]string{table, `INSERT INTO bare SELECT s.digest, t.record FROM latchkey_secrets s
		JOIN latchkey_tokens t ON t.owner = s.owner AND t.id = s.token_id`}, analyse[d]...) {
		_, err := db.Exec(text)
		require.NoError(b, err)
	}
	placeholder := map[latchkey.Dialect]string{latchkey.Postgres: "$1"}[d]
	if placeholder == "" {
		placeholder = "?"
	}
	r.lookup, err = db.Prepare("SELECT body FROM bare WHERE digest = " + placeholder)
	require.NoError(b, err)
	r.epoch, err = db.Prepare("SELECT epoch FROM latchkey_epoch WHERE id = 1")
	require.NoError(b, err)
	b.Cleanup(func() { r.lookup.Close(); r.epoch.Close() })
	return r
}

// analyse is what an engine does by itself some time after so many rows came.
var analyse = map[latchkey.Dialect][]string{
	latchkey.Postgres: {"VACUUM ANALYZE"},
	latchkey.MySQL:    {"ANALYZE TABLE latchkey_tokens, latchkey_secrets, bare"},
}

// text is what is presented for token i. The Managers here take it for an imported one.
func (r *readBench) text(i int) string { return fmt.Sprintf("imported-%08d-of-a-length-as-usual", i) }

func (r *readBench) pick(form int) int { return rand.N(r.tokens/tokenForms-1)*tokenForms + form }

func (r *readBench) manager(b *testing.B, maxStale time.Duration) *latchkey.Manager {
	keys := latchkey.New(r.store, &latchkey.Options{MaxStale: maxStale, Imported: func(string) bool { return true }})
	b.Cleanup(func() { require.NoError(b, keys.Close(context.Background())) })
	return keys
}

func verified(keys *latchkey.Manager, text string) error {
	a, err := keys.Verify(context.Background(), latchkey.Presented{Secret: text})
	if err == nil && a.TokenID() == "" {
		err = errors.New("a token without an id")
	}
	return err
}

// strangers verifies a token that its Manager has never seen, each time another.
func (r *readBench) strangers(b *testing.B, form int) func() error {
	order := rand.Perm(r.tokens/tokenForms - 1)
	keys, next := r.manager(b, 0), 0
	require.NoError(b, verified(keys, r.text(order[0]*tokenForms+form))) // statements are prepared now
	return func() error {
		if next++; next == len(order) {
			keys, next = r.manager(b, 0), 0
		}
		return verified(keys, r.text(order[next]*tokenForms+form))
	}
}

// acquaintance verifies one of a thousand tokens that its Manager has seen.
func (r *readBench) acquaintance(b *testing.B, maxStale time.Duration) func() error {
	keys := r.manager(b, maxStale)
	texts := make([]string, 1000)
	for i := range texts {
		texts[i] = r.text(i)
		require.NoError(b, verified(keys, texts[i]))
	}
	var next atomic.Int64
	return func() error { return verified(keys, texts[int(next.Add(1))%len(texts)]) }
}

// poll is what a Manager does to learn whether anything changed.
func (r *readBench) poll() error {
	_, err := r.store.Changes(context.Background(), 0, 0, 0)
	return err
}

func (r *readBench) look() error {
	sum := sha256.Sum256([]byte(r.text(rand.N(r.tokens))))
	var body []byte
	return r.lookup.QueryRow(sum[:]).Scan(&body)
}

// versus runs the bare lookup and ours in turns.
func (r *readBench) versus(b *testing.B, ours func() error) {
	timed := func(f func() error) time.Duration {
		began := time.Now()
		if err := f(); err != nil {
			b.Fatal(err)
		}
		return time.Since(began)
	}
	for range 100 {
		timed(r.look)
		timed(ours)
	}
	var bare, own []time.Duration
	for b.Loop() {
		bare = append(bare, timed(r.look))
		own = append(own, timed(ours))
	}
	b.ReportMetric(testing.AllocsPerRun(100, func() { timed(ours) }), "allocs")
	b.ReportMetric(float64(median(bare)), "ns/lookup")
	b.ReportMetric(float64(median(own)), "ns/op")
	b.ReportMetric(float64(median(own))/float64(median(bare)), "x_lookup")
}

// coalesced runs, in turns, 64 callers whose reads are coalesced, and 64 that verify and read the epoch each by itself.
func coalesced(b *testing.B, verify, alone func() error) {
	const callers, each = 64, 50
	burst := func(f func() error) time.Duration {
		began := time.Now()
		var all sync.WaitGroup
		for range callers {
			all.Go(func() {
				for range each {
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
	burst(alone)
	burst(verify)
	var single, shared []time.Duration
	for b.Loop() {
		single = append(single, burst(alone))
		shared = append(shared, burst(verify))
	}
	b.ReportMetric(0, "ns/op")
	b.ReportMetric(callers*each/median(single).Seconds(), "alone/s")
	b.ReportMetric(callers*each/median(shared).Seconds(), "shared/s")
	b.ReportMetric(float64(median(single))/float64(median(shared)), "x_alone")
}
