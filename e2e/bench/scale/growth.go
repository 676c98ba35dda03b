package main

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"io/fs"
	"math"
	"math/rand/v2"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/latchkey-go/latchkey"
	"github.com/latchkey-go/latchkey/e2e/internal/harness"
	"github.com/latchkey-go/latchkey/e2e/internal/world"
	"github.com/latchkey-go/latchkey/sqlstore"
)

// Growth is measured on databases that the engine itself filled. Of n owners, one has n tokens, and the others nine
// each. Each owner has a hundred rows of usage, up to usageMax in all.
const (
	tokensEach = 10
	usageEach  = 100
	usageMax   = 10_000_000
)

// growth prints what operations take with each power of ten owners, and the slope of a line through the logarithms: 0
// is independent of the size, 1 is proportional to it.
func growth(t testing.TB, c config, out *table) {
	for _, engine := range c.engines {
		var names []string
		took := map[string][]time.Duration{}
		var sizes []float64
		for n := min(10_000, c.grow); n <= c.grow; n *= 10 {
			g := grown(t, engine, n)
			sizes = append(sizes, float64(n))
			for _, o := range g.measure(t, c) {
				if len(sizes) == 1 {
					names = append(names, o.name)
				}
				took[o.name] = append(took[o.name], o.took)
				out.line(fmt.Sprintf("%s, %d owners: %s", engine, n, o.name), ms(o.took), "")
			}
			g.drop()
		}
		for _, name := range names {
			var figures []string
			for _, d := range took[name] {
				figures = append(figures, fmt.Sprintf("%.2f", d.Seconds()*1000))
			}
			line := ""
			if len(sizes) > 1 {
				line = fmt.Sprintf("slope %+.2f", slope(sizes, took[name]))
			}
			out.line(engine+": "+name, strings.Join(figures, " → ")+" ms", line)
		}
	}
}

// slope fits a line through the logarithms.
func slope(sizes []float64, took []time.Duration) float64 {
	var sx, sy, sxx, sxy float64
	for i := range sizes {
		x, y := math.Log(sizes[i]), math.Log(took[i].Seconds())
		sx, sy, sxx, sxy = sx+x, sy+y, sxx+x*x, sxy+x*y
	}
	n := float64(len(sizes))
	return (n*sxy - sx*sy) / (n*sxx - sx*sx)
}

// filled is a database of a size.
type filled struct {
	owners  int
	db      *sql.DB
	dialect latchkey.Dialect
	store   *sqlstore.Store
	drop    func()
	times   []operation // of filling and migrating
}

type operation struct {
	name string
	took time.Duration
}

func bigID(i int) string   { return fmt.Sprintf("01930000-0000-7000-8000-%012d", i) }
func ownerID(i int) string { return fmt.Sprintf("owner-%09d", i) }

const bigOwner = "owner-of-many00" // as long as the others

// grown makes a database of the first version, fills it, and migrates it.
func grown(t testing.TB, engine string, n int) *filled {
	g := &filled{owners: n}
	ctx := context.Background()
	switch engine {
	case "PostgreSQL":
		g.dialect = latchkey.Postgres
		dsn := server.Place(t)
		g.db = server.Open(t, dsn)
		var schema string
		require.NoError(t, g.db.QueryRow("SELECT current_schema()").Scan(&schema))
		g.drop = func() {
			_ = g.store.Close()
			_, err := g.db.Exec("DROP SCHEMA " + schema + " CASCADE")
			require.NoError(t, err)
			_, err = g.db.Exec("CREATE SCHEMA " + schema) // the end of a test removes it from a server that goes on
			require.NoError(t, err)
			require.NoError(t, g.db.Close())
		}
	case "SQLite":
		g.dialect = latchkey.SQLite
		file := harness.NewFile(t)
		g.db = harness.OpenSQLite(t, harness.WAL(file))
		g.db.SetMaxOpenConns(8)
		g.db.SetMaxIdleConns(8)
		g.drop = func() {
			_ = g.store.Close()
			require.NoError(t, g.db.Close())
			removeFiles(t, file)
		}
	default:
		t.Fatalf("growth is measured on PostgreSQL and SQLite, not on %q", engine)
	}
	first := firstMigration(t, g.dialect)
	for _, statement := range strings.SplitAfter(first, ";\n") {
		if strings.TrimSpace(statement) != "" {
			_, err := g.db.Exec(statement)
			require.NoError(t, err, statement)
		}
	}
	began := time.Now()
	g.fill(t)
	g.times = append(g.times, operation{"(filling)", time.Since(began)})
	began = time.Now()
	require.NoError(t, sqlstore.Migrate(ctx, g.db, g.dialect))
	g.times = append(g.times, operation{"Migrate from the first version", time.Since(began)})
	_, err := g.db.Exec("ANALYZE")
	require.NoError(t, err)
	g.store, err = sqlstore.New(ctx, g.db, g.dialect, nil)
	require.NoError(t, err)
	return g
}

func firstMigration(t testing.TB, d latchkey.Dialect) string {
	files, err := sqlstore.Migrations(d)
	require.NoError(t, err)
	names, err := fs.Glob(files, "*.sql")
	require.NoError(t, err)
	slices.Sort(names)
	text, err := fs.ReadFile(files, names[0])
	require.NoError(t, err)
	return string(text)
}

// template is what a store keeps of one token, in parts: between them are its owner and its id.
type template struct{ before, between, after, secret []byte }

// newTemplate reads a token that a store has written into a database of its own.
func newTemplate(t testing.TB) (x template) {
	ctx := context.Background()
	db := harness.OpenSQLite(t, harness.WAL(harness.NewFile(t)))
	s := harness.OpenStore(t, db, latchkey.SQLite)
	require.NoError(t, s.Write(ctx, world.Mint(ownerID(0), bigID(0), 0)))
	var record, found []byte
	var head int
	require.NoError(t, db.QueryRow("SELECT record FROM latchkey_tokens").Scan(&record))
	require.NoError(t, db.QueryRow("SELECT found, head FROM latchkey_secrets").Scan(&found, &head))
	text := string(record)
	owner, id := strings.Index(text, ownerID(0)), strings.Index(text, bigID(0))
	require.Positive(t, owner)
	require.Greater(t, id, owner)
	x.before, x.between, x.after = record[:owner], record[owner+len(ownerID(0)):id], record[id+len(bigID(0)):]
	x.secret = found[8+32 : head]
	return x
}

// fill has the engine make the rows.
func (g *filled) fill(t testing.TB) {
	x := newTemplate(t)
	total := g.owners * tokensEach
	usage := min(g.owners*usageEach, usageMax)
	noon := world.Noon.UnixMicro()
	// Token i is the big owner's, or one of an owner i modulo the number of owners. One in a hundred is revoked.
	owner := fmt.Sprintf("CASE WHEN i < %d THEN '%s' ELSE 'owner-' || %%s END", g.owners, bigOwner)
	var tokens, secrets, rows string
	hex := func(b []byte) string { return fmt.Sprintf("%x", b) }
	if g.dialect == latchkey.Postgres {
		owner = fmt.Sprintf(owner, fmt.Sprintf("lpad((i %% %d)::text, 9, '0')", g.owners))
		id := "'01930000-0000-7000-8000-' || lpad(i::text, 12, '0')"
		series := fmt.Sprintf("(SELECT i, %s AS owner, %s AS id FROM generate_series(0, %d) i) n", owner, id, total-1)
		b := func(p []byte) string { return `'\x` + hex(p) + `'::bytea` }
		record := b(x.before) + " || convert_to(owner, 'UTF8') || " + b(x.between) + " || convert_to(id, 'UTF8') || " +
			b(x.after)
		tokens = fmt.Sprintf(`INSERT INTO latchkey_tokens (owner, id, version, kind, parent, origin, name, client_id, created,
			idle, disabled, revoked, hint, record) SELECT owner, id, 1, %d, '', '', 'reporting', '', %d, 0, 0,
			CASE WHEN i %% 100 = 7 THEN %d END, 'ak_12…xyz', %s FROM %s`, latchkey.KindAPIKey, noon, noon, record, series)
		digest := "sha256(convert_to('digest ' || i, 'UTF8'))"
		secrets = fmt.Sprintf(`INSERT INTO latchkey_secrets (digest, owner, token_id, signing, head, found)
			SELECT %s, owner, id, 0, %d, %s || %s || %s || %s FROM %s`, digest, 8+32+len(x.secret), b(make([]byte, 8)), digest,
			b(x.secret), record, series)
		rows = fmt.Sprintf(`INSERT INTO latchkey_usage (owner, day, token_id, client_id, meter, endpoint, count, credits)
			SELECT 'owner-' || lpad((i / %[1]d %% %[2]d)::text, 9, '0'), '2026-11-' || lpad((1 + i %% 28)::text, 2, '0'),
			'01930000-0000-7000-8000-' || lpad((i / %[1]d)::text, 12, '0'), '', 'calls', 'GET /' || (i %% %[1]d / 28), 1, 0
			FROM generate_series(0, %[3]d) i`, usageEach, g.owners, usage-1)
	} else {
		owner = fmt.Sprintf(owner, fmt.Sprintf("printf('%%09d', i %% %d)", g.owners))
		series := func(last int) string {
			return fmt.Sprintf("WITH RECURSIVE s(i) AS (SELECT 0 UNION ALL SELECT i + 1 FROM s WHERE i < %d)", last)
		}
		from := fmt.Sprintf("(SELECT i, %s AS owner, '01930000-0000-7000-8000-' || printf('%%012d', i) AS id FROM s) n",
			owner)
		b := func(p []byte) string { return "x'" + hex(p) + "'" }
		record := "CAST(" + b(x.before) + " || owner || " + b(x.between) + " || id || " + b(x.after) + " AS BLOB)"
		tokens = fmt.Sprintf(`%s INSERT INTO latchkey_tokens (owner, id, version, kind, parent, origin, name, client_id,
			created, idle, disabled, revoked, hint, record) SELECT owner, id, 1, %d, '', '', 'reporting', '', %d, 0, 0,
			CASE WHEN i %% 100 = 7 THEN %d END, 'ak_12…xyz', %s FROM %s`, series(total-1), latchkey.KindAPIKey, noon, noon,
			record, from)
		// 32 bytes, which lie all over the index.
		digest := "CAST(printf('%010d%022d', i * 2654435761 % 4294967296, i) AS BLOB)"
		secrets = fmt.Sprintf(`%s INSERT INTO latchkey_secrets (digest, owner, token_id, signing, head, found)
			SELECT %s, owner, id, 0, %d, CAST(%s || %s || %s || %s AS BLOB) FROM %s`, series(total-1), digest,
			8+32+len(x.secret), b(make([]byte, 8)), digest, b(x.secret), record, from)
		rows = fmt.Sprintf(`%[4]s INSERT INTO latchkey_usage (owner, day, token_id, client_id, meter, endpoint, count,
			credits)
			SELECT 'owner-' || printf('%%09d', i / %[1]d %% %[2]d), '2026-11-' || printf('%%02d', 1 + i %% 28),
			'01930000-0000-7000-8000-' || printf('%%012d', i / %[1]d), '', 'calls', 'GET /' || (i %% %[1]d / 28), 1, 0
			FROM s`, usageEach, g.owners, usage-1, series(usage-1))
	}
	for _, statement := range []string{tokens, secrets, rows} {
		_, err := g.db.Exec(statement)
		require.NoError(t, err, statement)
	}
}

// measure returns what operations take: the median of many calls.
func (g *filled) measure(t testing.TB, c config) []operation {
	ctx := context.Background()
	keys := latchkey.New(g.store, nil)
	defer keys.Close(ctx)
	all := g.times
	n := 0
	measured := func(name string, calls int, do func() error) {
		var took []time.Duration
		for i := range calls + calls/10 + 1 {
			n++
			began := time.Now()
			require.NoError(t, do(), name)
			if i > calls/10 {
				took = append(took, time.Since(began))
			}
		}
		all = append(all, operation{name, median(took)})
	}
	const many, few = 200, 5
	// A token that is not revoked, of an owner who has nine.
	anyToken := func() (owner, id string) {
		for {
			i := g.owners + rand.N(g.owners*(tokensEach-1))
			if i%100 != 7 {
				return ownerID(i % g.owners), bigID(i)
			}
		}
	}
	var digests [][32]byte
	for range 2 * many {
		owner, id := anyToken()
		var d []byte
		require.NoError(t, g.db.QueryRow("SELECT digest FROM latchkey_secrets WHERE owner = $1 AND token_id = $2", owner, id).
			Scan(&d))
		digests = append(digests, [32]byte(d))
	}
	measured("a token found by its digest", many, func() error {
		_, err := g.store.ByDigest(ctx, 0, digests[n%len(digests)])
		return err
	})
	measured("Update", many, func() error {
		owner, id := anyToken()
		_, err := keys.For(owner).Update(ctx, id, func(t *latchkey.Token) error {
			t.Name = fmt.Sprint("name ", n)
			return nil
		})
		return err
	})
	measured("Issue", many, func() error {
		owner, _ := anyToken()
		_, _, err := keys.For(owner).Issue(ctx, latchkey.Spec{Kind: latchkey.KindAPIKey})
		return err
	})
	page := func(q latchkey.TokenQuery, least int) func() error {
		q.Now = world.Noon
		return func() error {
			list, err := g.store.Tokens(ctx, bigOwner, q)
			if err == nil && (len(list) < least || slices.ContainsFunc(list, isDamaged)) {
				err = fmt.Errorf("%d tokens are listed, and some of them may be damaged", len(list))
			}
			return err
		}
	}
	measured("the first page of an owner", many, page(latchkey.TokenQuery{}, 100))
	deep := latchkey.Page{After: bigID(g.owners / 10 * 9)}
	measured("a page in its last tenth", many, page(latchkey.TokenQuery{Page: deep}, 10))
	measured("a search in it that finds nothing", few, page(latchkey.TokenQuery{Search: "none such"}, 0))
	measured("usage of one owner", many, func() error {
		owner, _ := anyToken()
		_, err := g.store.Usage(ctx, owner, latchkey.UsageQuery{By: []string{"day"}})
		return err
	})
	measured("1000 rows of usage", few, func() error {
		b := latchkey.UsageBatch{ID: world.WriteID(), At: time.Now()}
		for range 1000 {
			owner, id := anyToken()
			b.Rows = append(b.Rows, latchkey.UsageRow{Owner: owner, TokenID: id, Meter: "calls", Endpoint: "GET /",
				Day: "2026-11-30", Count: 1})
		}
		return g.store.AddUsage(ctx, b)
	})
	dead := latchkey.PurgePolicy{Now: world.Noon.Add(time.Hour), Expired: -1, Revoked: time.Minute, Changes: -1,
		Events: -1}
	measured("Purge of 10 tokens", few, func() error {
		_, err := g.store.Purge(ctx, dead, 10)
		return err
	})
	dead.Revoked = 24 * time.Hour
	measured("Purge of nothing", few, func() error {
		removed, err := g.store.Purge(ctx, dead, 10)
		if err == nil && removed > 0 {
			err = fmt.Errorf("%d were removed", removed)
		}
		return err
	})
	return all
}

func isDamaged(t latchkey.Token) bool { return t.Damaged }

// removeFiles removes a database of SQLite, which may be large, before the end.
func removeFiles(t testing.TB, file string) {
	for _, name := range []string{file, file + "-wal", file + "-shm"} {
		if err := os.Remove(name); err != nil && !errors.Is(err, fs.ErrNotExist) {
			t.Error(err)
		}
	}
}
