package bench

import (
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/latchkey-go/latchkey"
	"github.com/latchkey-go/latchkey/e2e/internal/faulty"
	"github.com/latchkey-go/latchkey/e2e/internal/harness"
	"github.com/latchkey-go/latchkey/e2e/internal/world"
	"github.com/latchkey-go/latchkey/sqlstore"
)

// size is how many tokens a store is tried with. LONG=1 loads a million.
func size() int {
	if os.Getenv("LONG") != "" {
		return 1_000_000
	}
	return 20_000
}

// bulk fills a store with n tokens of "acme", token i with the secret digest(i): one in 50 is revoked, one in 50 has
// expired at noon, one in 20 expires at an hour of its own after it; each hundredth has a role, each thousandth a
// client, and names begin with their number modulo 1000.
func bulk(t testing.TB, s *sqlstore.Store, n int) {
	ctx := context.Background()
	err := s.Write(ctx, latchkey.Write{ID: world.WriteID(), Owner: "acme", At: world.Noon, Roles: []latchkey.Role{
		{ID: world.RoleID, Owner: "acme", Name: "analyst"}}})
	require.NoError(t, err)
	const batch = 1000
	var all sync.WaitGroup
	var next atomic.Int64
	for range 2 {
		all.Go(func() {
			for {
				from := int(next.Add(batch)) - batch
				if from >= n {
					return
				}
				w := latchkey.Write{ID: world.WriteID(), Owner: "acme", At: world.Noon, Silent: true}
				for i := from; i < min(from+batch, n); i++ {
					m := world.Mint("acme", bulkID(i), i)
					token := &m.Tokens[0]
					token.Name = fmt.Sprintf("%03d reports", i%1000)
					switch {
					case i%50 == 7:
						token.Revoked = world.Noon.Add(-time.Hour)
					case i%50 == 8:
						token.Validity.NotAfter = world.Noon
					case i%20 == 3:
						token.Validity.NotAfter = world.Noon.Add(time.Duration(i) * time.Hour)
					}
					if i%100 == 0 {
						token.Roles = []string{world.RoleID}
					}
					if i%1000 == 5 {
						token.Client = latchkey.Client{ID: "42", Name: "Ada"}
					}
					w.Tokens, w.Secrets = append(w.Tokens, *token), append(w.Secrets, m.Secrets...)
				}
				if err := s.Write(ctx, w); err != nil {
					t.Error(err)
					return
				}
			}
		})
	}
	all.Wait()
}

func bulkID(i int) string { return fmt.Sprintf("0193-%012d", i) }

// atSize is a store with many tokens, and a pool of its own beside it.
type atSize struct {
	*sqlstore.Store
	dialect latchkey.Dialect
	db      *sql.DB
	f       *faulty.Connector // of the store's pool: what it is asked
	n       int
}

// onStores runs a test on SQLite, PostgreSQL and MariaDB, filled.
func onStores(t *testing.T, test func(t *testing.T, s *atSize)) {
	run := func(t *testing.T, plain *sql.DB, dsn string, d latchkey.Dialect) {
		s := &atSize{dialect: d, db: plain, n: size()}
		var db *sql.DB
		db, s.f = faulty.Open(t, plain, dsn)
		db.SetMaxOpenConns(8)
		db.SetMaxIdleConns(8)
		s.Store = harness.OpenStore(t, db, d)
		began := time.Now()
		bulk(t, s.Store, s.n)
		t.Logf("%d tokens in %v", s.n, time.Since(began).Round(time.Millisecond))
		analyse := map[latchkey.Dialect]string{latchkey.SQLite: "ANALYZE", latchkey.Postgres: "ANALYZE",
			latchkey.MySQL: "ANALYZE TABLE latchkey_tokens, latchkey_token_roles, latchkey_secrets"}
		_, err := plain.Exec(analyse[d])
		require.NoError(t, err)
		test(t, s)
	}
	t.Run("SQLite", func(t *testing.T) {
		dsn := harness.WAL(harness.NewFile(t))
		run(t, harness.OpenSQLite(t, dsn), dsn, latchkey.SQLite)
	})
	harness.OnEngines(t, func(t *testing.T, e *harness.Engine) {
		dsn := e.Place(t)
		run(t, e.Open(t, dsn), dsn, e.Dialect)
	})
}

// A page of a listing costs what is on it: the first, a middle and the last one of an owner with many tokens the same,
// counted in rows that the engine looks at. SQLite does not count them: it must plan to search an index, in its order.
func TestPagesAtSize(t *testing.T) {
	ctx := context.Background()
	const limit = 50
	onStores(t, func(t *testing.T, s *atSize) {
		children := world.Mint("acme", world.NewID(), 2_000_000)
		children.Tokens, children.Secrets = nil, nil
		for i := range 200 {
			m := world.Mint("acme", fmt.Sprintf("0193-%012d-child", i*s.n/200), 2_000_000+i)
			m.Tokens[0].Parent, m.Tokens[0].Depth = bulkID(1), 1
			children.Tokens, children.Secrets = append(children.Tokens, m.Tokens...), append(children.Secrets, m.Secrets...)
		}
		err := s.Write(ctx, children)
		require.NoError(t, err)
		if s.dialect != latchkey.SQLite { // what a batch of mints locks is found by its keys: a walk would lock it all
			ids, placeholders := []any{}, "(?, ?)"+strings.Repeat(", (?, ?)", 63)
			if s.dialect == latchkey.Postgres {
				placeholders = ""
				for i := range 64 {
					placeholders += fmt.Sprintf(", ($%d, $%d)", 2*i+1, 2*i+2)
				}
				placeholders = placeholders[2:]
			}
			for i := range 64 {
				ids = append(ids, "acme", bulkID(i*s.n/64))
			}
			looked := s.rows(t, "locks", false, "SELECT version FROM latchkey_tokens WHERE (owner, id) IN ("+placeholders+
				") ORDER BY owner, id FOR UPDATE", ids)
			t.Logf("locks of 64 parents: %d rows looked at", looked)
			require.LessOrEqual(t, looked, 300) // PostgreSQL counts them once more on the way from the index
		}
		for _, c := range []struct {
			name string
			q    latchkey.TokenQuery
			args []any // between the owner and After
			// rows is how many may be looked at for each token that is shown; 0: as many as there are.
			rows int
		}{
			{"all", latchkey.TokenQuery{}, nil, 1},
			{"of a client", latchkey.TokenQuery{Client: "42"}, []any{"42"}, 1},
			{"of a parent", latchkey.TokenQuery{Parent: bulkID(1)}, []any{bulkID(1)}, 1},
			{"with a role", latchkey.TokenQuery{Role: world.RoleID}, []any{world.RoleID}, 2}, // the binding and the token
			{"in a state", latchkey.TokenQuery{States: []latchkey.State{latchkey.Revoked}}, []any{world.Noon.UnixMicro(),
				world.Noon.UnixMicro(), world.Noon.UnixMicro(), 2}, 51}, // one in 50
			{"that will expire", latchkey.TokenQuery{ExpiresFrom: world.Noon.Add(time.Hour)},
				[]any{world.Noon.Add(time.Hour).UnixMicro()}, 30}, // fewer than one in 20
			{"by a prefix", latchkey.TokenQuery{Search: "007"}, []any{3, []byte("007"), 3, []byte("007"), 3, []byte("007")}, 0},
		} {
			var looked []int
			for _, after := range []string{"", bulkID(s.n / 2), bulkID(s.n - 3*limit)} {
				q := c.q
				q.After, q.Limit, q.Now = after, limit, world.Noon
				list, err := s.Tokens(ctx, "acme", q)
				require.NoError(t, err)
				if after == "" {
					require.NotEmpty(t, list, c.name)
				}
				text := s.f.Statements(s.f.Count() - 1)[0].Text
				require.Contains(t, text, "LIMIT")
				args := append([]any{"acme"}, c.args...)
				if after != "" {
					args = append(args, after)
				}
				looked = append(looked, s.rows(t, c.name, after == "", text, append(args, limit)))
			}
			t.Logf("%s: rows looked at for the first, a middle and the last page: %v", c.name, looked)
			for _, rows := range looked {
				switch {
				case c.rows == 0:
				case c.rows > 2 && s.dialect == latchkey.Postgres: // its planner may prefer to sort all of the owner's
					require.LessOrEqual(t, rows, s.n+1000, c.name)
				default: // at the end, all that is left
					require.LessOrEqual(t, rows, max((limit+10)*c.rows, 5*limit), c.name)
				}
			}
		}
	})
}

// Pages of all owners cost the same wherever they begin, also within one owner with many tokens. What a page reads of
// the owner that it begins in is found by an index.
func TestPagesOfAllOwnersAtSize(t *testing.T) {
	ctx := context.Background()
	const scan = 4096 // how many rows a page looks at, at most
	onStores(t, func(t *testing.T, s *atSize) {
		for name, list := range map[string]struct {
			page func(after int) error
			args func(after int) []any
		}{
			"secrets by key": {func(after int) error {
				_, _, err := s.KeySecrets(ctx, latchkey.KeyQuery{KeyID: 7, Page: latchkey.Page{Limit: 10,
					After: latchkey.KeyQuery{}.Key("acme", bulkID(after), [32]byte{})}})
				return err
			}, func(after int) []any { return []any{"acme", bulkID(after), bulkID(after), make([]byte, 32)} }},
			"unused": {func(after int) error {
				_, _, err := s.Unused(ctx, latchkey.UnusedQuery{Since: world.Noon.AddDate(9, 0, 0), Page: latchkey.Page{Limit: 10,
					After: "acme\x00" + bulkID(after)}})
				return err
			}, func(after int) []any { return []any{"acme", bulkID(after)} }},
		} {
			var looked []int
			for _, after := range []int{0, s.n / 2, s.n - 100} {
				before := s.f.Count()
				require.NoError(t, list.page(after), name)
				text := s.f.Statements(before)[0].Text
				require.Contains(t, text, "LIMIT")
				if s.dialect == latchkey.SQLite {
					for _, step := range world.Plan(t, s.db, text) {
						require.Regexp(t, `^SEARCH .*\(owner=\? AND (token_id|id)>\?\)$`, step, name)
					}
					continue
				}
				looked = append(looked, s.rows(t, name, false, text, append(list.args(after), scan)))
			}
			if s.dialect == latchkey.SQLite {
				continue
			}
			t.Logf("%s: rows looked at for the first, a middle and the last page: %v", name, looked)
			require.LessOrEqual(t, looked[2], 300, "%s: a hundred are left", name)
			if s.dialect == latchkey.MySQL { // PostgreSQL may prefer to sort all of an owner's that come behind the place
				require.LessOrEqual(t, looked[1], scan+300, name)
			}
		}
	})
}

// rows is how many rows the engine looks at for the statement of a page.
func (s *atSize) rows(t *testing.T, name string, first bool, text string, args []any) int {
	ctx := context.Background()
	switch s.dialect {
	case latchkey.SQLite:
		for _, step := range world.Plan(t, s.db, text) {
			require.NotContains(t, step, "TEMP B-TREE", name)
			require.True(t, strings.HasPrefix(step, "SEARCH "), "%s: %s", name, step)
			if !first { // the first one begins where the index does
				require.Regexp(t, `(id>\?|owner=\? AND id=\?)\)$`, step, name)
			}
		}
		return 0
	case latchkey.Postgres:
		var explained []byte
		require.NoError(t, s.db.QueryRow("EXPLAIN (ANALYZE, FORMAT JSON) "+text, args...).Scan(&explained), name)
		var plans []struct{ Plan map[string]any }
		require.NoError(t, json.Unmarshal(explained, &plans))
		var walk func(node map[string]any) float64
		walk = func(node map[string]any) (rows float64) {
			if strings.Contains(node["Node Type"].(string), "Scan") {
				removed, _ := node["Rows Removed by Filter"].(float64)
				rows = (node["Actual Rows"].(float64) + removed) * node["Actual Loops"].(float64)
			}
			children, _ := node["Plans"].([]any)
			for _, child := range children {
				rows += walk(child.(map[string]any))
			}
			return rows
		}
		return int(walk(plans[0].Plan))
	}
	conn, err := s.db.Conn(ctx)
	require.NoError(t, err)
	defer conn.Close()
	handled := func() (n int) {
		require.NoError(t, conn.QueryRowContext(ctx, `SELECT SUM(VARIABLE_VALUE) FROM information_schema.SESSION_STATUS
			WHERE VARIABLE_NAME IN
			('HANDLER_READ_FIRST', 'HANDLER_READ_KEY', 'HANDLER_READ_NEXT', 'HANDLER_READ_PREV')`).Scan(&n))
		return n
	}
	_, before := handled(), handled()
	idle := handled() - before // what the question itself costs
	before = handled()
	rows, err := conn.QueryContext(ctx, text, args...)
	require.NoError(t, eachOf(rows, err))
	return handled() - before - idle
}

func eachOf(rows *sql.Rows, err error) error {
	if err != nil {
		return err
	}
	for rows.Next() {
	}
	return errors.Join(rows.Err(), rows.Close())
}

// Purge takes away what is dead, in batches no larger than asked for, while the store is in full use: nothing that
// lives is refused, lost or left out, nothing dead is let in, the epoch is that of the changes alone, and it ends.
func TestPurgeAtSize(t *testing.T) {
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Minute)
	defer cancel()
	onStores(t, func(t *testing.T, s *atSize) {
		const batch = 100
		var writes, minted, revoked atomic.Int64
		before, err := s.Changes(ctx, 0, 0, 0)
		require.NoError(t, err)
		working, stop := context.WithCancel(ctx)
		var all sync.WaitGroup
		t.Cleanup(func() {
			stop()
			all.Wait()
		})
		// Minting, verifying, and revoking what was minted.
		for g := range 4 {
			all.Go(func() {
				for i := 0; working.Err() == nil; i++ {
					n := 10_000_000 + g*1_000_000 + i
					w := world.Mint("acme", fmt.Sprintf("0194-%d-%08d", g, i), n)
					w.At = world.Noon.Add(24 * time.Hour) // not old yet
					err := s.Write(ctx, w)
					require.NoError(t, err)
					f, err := s.ByDigest(ctx, 0, world.Digest(n))
					require.NoError(t, err, "a token just minted")
					require.Equal(t, w.Tokens[0].ID, f.Token.ID)
					minted.Add(1)
					if i%3 == 0 {
						dead := w.Tokens[0]
						dead.Version, dead.Revoked = 1, world.Noon.Add(24*time.Hour) // a tombstone to be kept
						err := s.Write(ctx,
							latchkey.Write{ID: world.WriteID(), Owner: "acme", At: w.At, Tokens: []latchkey.Token{dead}})
						require.NoError(t, err)
						revoked.Add(1)
					}
					writes.Add(1)
				}
			})
		}
		all.Go(func() { // the living are always there
			for working.Err() == nil {
				i := rand.N(s.n/50) * 50
				f, err := s.ByDigest(ctx, 0, world.Digest(i))
				require.NoError(t, err, "a living token")
				require.Zero(t, f.Token.Revoked)
			}
		})
		all.Go(func() { // the dead are dead to the end
			for working.Err() == nil {
				i := rand.N(s.n/50)*50 + 7
				f, err := s.ByDigest(ctx, 0, world.Digest(i))
				if !errors.Is(err, latchkey.ErrNotFound) {
					require.NoError(t, err)
					require.Equal(t, world.Noon.Add(-time.Hour), f.Token.Revoked, "a revoked token came to life")
				}
			}
		})
		harness.Eventually(t, "writes", func() bool { return writes.Load() > 20 })
		dead := s.n / 50 * 2
		ids := s.count(t, "latchkey_writes WHERE at <= "+fmt.Sprint(world.Noon.UnixMicro()))
		// Revoked tokens are kept for a day after, expired ones go at once; so do the ids of writes, of noon.
		policy := latchkey.PurgePolicy{Now: world.Noon.Add(time.Minute), Revoked: 24 * time.Hour, Changes: time.Minute}
		purge := func() (total int) {
			var purgers sync.WaitGroup
			var removed atomic.Int64
			for range 2 { // as two nodes do
				purgers.Go(func() {
					for {
						n, err := s.Purge(ctx, policy, batch)
						require.NoError(t, err)
						require.LessOrEqual(t, n, batch)
						removed.Add(int64(n))
						if n < batch {
							return
						}
					}
				})
			}
			purgers.Wait()
			return int(removed.Load())
		}
		require.Equal(t, dead/2+ids+1, purge(), "the expired tokens, the ids of writes, the change that made a role")
		require.Equal(t, dead/2,
			s.count(t, "latchkey_tokens WHERE revoked = "+fmt.Sprint(world.Noon.Add(-time.Hour).UnixMicro())),
			"tombstones are kept as long as asked")
		policy.Revoked = time.Hour + time.Minute
		require.Equal(t, dead/2, purge(), "the revoked tokens")
		require.Zero(t, purge(), "again")
		busy := writes.Load()
		harness.Eventually(t, "writes after the purge", func() bool { return writes.Load() > busy+10 })
		stop()
		all.Wait()

		require.Equal(t, s.n-dead+int(minted.Load()), s.count(t, "latchkey_tokens"), "nothing was lost, nothing was left")
		require.Equal(t, s.n-dead+int(minted.Load()), s.count(t, "latchkey_secrets"))
		require.Zero(t, s.count(t,
			`latchkey_token_roles x LEFT JOIN latchkey_tokens t ON t.owner = x.owner AND t.id = x.token_id
			WHERE t.id IS NULL`), "bindings of nobody")
		after, err := s.Changes(ctx, 0, 0, 0)
		require.NoError(t, err)
		require.Equal(t, before.Epoch+uint64(revoked.Load()), after.Epoch, "a purge is no change")
		t.Logf("%d of %d tokens purged, beside %d mints and %d revocations", dead, s.n, minted.Load(), revoked.Load())
	})
}

func (s *atSize) count(t *testing.T, from string) (n int) {
	t.Helper()
	require.NoError(t, s.db.QueryRow("SELECT COUNT(*) FROM "+from).Scan(&n))
	return n
}
