package sqlite

import (
	"bufio"
	"context"
	"database/sql"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/stretchr/testify/require"

	"github.com/latchkey-go/latchkey"
	"github.com/latchkey-go/latchkey/e2e/internal/faulty"
	"github.com/latchkey-go/latchkey/e2e/internal/harness"
	"github.com/latchkey-go/latchkey/e2e/internal/world"
	"github.com/latchkey-go/latchkey/sqlstore"
)

func TestSQLiteMigrateAtOnce(t *testing.T) {
	for _, dsn := range []string{"file:%s", "file:%s?_pragma=journal_mode(WAL)", "file:%s?_txlock=exclusive"} {
		file := harness.NewFile(t)
		var wg sync.WaitGroup
		errs := make([]error, 8)
		for i := range errs {
			db := harness.OpenSQLite(t, fmt.Sprintf(dsn, file)) // a pool of its own, as another process has
			wg.Go(func() { errs[i] = sqlstore.Migrate(context.Background(), db, latchkey.SQLite) })
		}
		wg.Wait()
		require.NoError(t, errors.Join(errs...), dsn)
		db := harness.OpenSQLite(t, fmt.Sprintf(dsn, file))
		require.NoError(t, sqlstore.Migrate(context.Background(), db, latchkey.SQLite), "again")
		harness.OpenSQLiteStore(t, db)
	}
}

func TestSQLiteMigrateRefuses(t *testing.T) {
	ctx := context.Background()
	next := harness.Migrations(t) + 1
	newer := strings.NewReplacer("NEXT1", fmt.Sprint(next+1), "NEXT", fmt.Sprint(next), "LAST", fmt.Sprint(next-1)).Replace
	for _, c := range []struct {
		name, spoil, says string
	}{
		{"a newer schema", newer("INSERT INTO latchkey_schema VALUES (NEXT, 'future.sql')"), "use a newer latchkey"},
		{"a newer schema that says so", newer("INSERT INTO latchkey_migrations VALUES (NEXT, 'future.sql', NEXT)"),
			newer("(future.sql), newer than this program's LAST, and does not allow programs that know fewer than NEXT")},
		{"another second migration", `INSERT INTO latchkey_schema VALUES (2, '0002_future.sql')`, "use a newer latchkey"},
		{"a step left out", newer("INSERT INTO latchkey_migrations VALUES (NEXT1, 'future.sql', 1)"), "half done"},
		{"a step not recorded", `DELETE FROM latchkey_schema`, "half done"},
		{"no record at all", `DROP TABLE latchkey_schema`, "half done"},
		{"a table that is gone", `DROP TABLE latchkey_once`, "latchkey_once is missing"},
	} {
		t.Run(c.name, func(t *testing.T) {
			db := harness.OpenSQLite(t, harness.WAL(harness.NewFile(t)))
			require.NoError(t, sqlstore.Migrate(ctx, db, latchkey.SQLite))
			_, err := db.Exec(c.spoil)
			require.NoError(t, err)
			require.ErrorContains(t, sqlstore.Migrate(ctx, db, latchkey.SQLite), c.says)
			_, err = sqlstore.New(ctx, db, latchkey.SQLite, nil)
			require.ErrorContains(t, err, c.says)
		})
	}
}

// A migration that dies at any statement leaves nothing, and the next one completes.
func TestSQLiteMigrateDies(t *testing.T) {
	ctx := context.Background()
	db, f := faulty.OpenSQLite(t, "file:"+harness.NewFile(t))
	require.NoError(t, sqlstore.Migrate(ctx, db, latchkey.SQLite))
	statements := f.Count()
	require.Greater(t, statements, 30)
	for i := range statements {
		db, f := faulty.OpenSQLite(t, "file:"+harness.NewFile(t))
		f.Begin("migrate", i, i%2 == 0, errors.New("disk I/O error (10)"))
		err := sqlstore.Migrate(ctx, db, latchkey.SQLite)
		// Who reads one row may not see that the next could not be read.
		hit := f.Disarm()
		if hit != "ROLLBACK" && !(i%2 == 0 && (strings.HasPrefix(hit, "SELECT ") || strings.HasPrefix(hit, "PRAGMA "))) {
			require.Error(t, err, hit)
		}
		require.NoError(t, sqlstore.Migrate(ctx, db, latchkey.SQLite))
		harness.OpenSQLiteStore(t, db)
		db.Close()
	}
}

// The files are whole: any migrator can run them.
func TestSQLiteMigrationsByHand(t *testing.T) {
	files, err := sqlstore.Migrations(latchkey.SQLite)
	require.NoError(t, err)
	names, err := fs.Glob(files, "*.sql")
	require.NoError(t, err)
	db := harness.OpenSQLite(t, harness.WAL(harness.NewFile(t)))
	for _, name := range names {
		text, err := fs.ReadFile(files, name)
		require.NoError(t, err)
		_, err = db.Exec(string(text))
		require.NoError(t, err)
	}
	_, err = sqlstore.New(context.Background(), db, latchkey.SQLite, nil)
	require.NoError(t, err)
}

func TestSQLiteNewRefuses(t *testing.T) {
	ctx := context.Background()
	file := harness.NewFile(t)
	db := harness.OpenSQLite(t, harness.WAL(file))
	_, err := sqlstore.New(ctx, db, latchkey.SQLite, nil)
	require.ErrorContains(t, err, "run sqlstore.Migrate")
	require.NoError(t, sqlstore.Migrate(ctx, db, latchkey.SQLite))

	for _, d := range []latchkey.Dialect{latchkey.Postgres, latchkey.MySQL} {
		_, err = sqlstore.New(ctx, db, d, nil)
		require.ErrorContains(t, err, "or it cannot be reached")
		require.ErrorContains(t, sqlstore.Migrate(ctx, db, d), "or it cannot be reached")
	}
	_, err = sqlstore.New(ctx, harness.OpenSQLite(t, "file:"+file+"?mode=ro"), latchkey.SQLite, nil)
	require.ErrorContains(t, err, "read-only")
	_, err = sqlstore.New(ctx, harness.OpenSQLite(t, "file:"+file+"?_pragma=query_only(1)"), latchkey.SQLite, nil)
	require.ErrorContains(t, err, "cannot be written")

	_, err = sqlstore.New(ctx, harness.OpenSQLite(t, "file:"+file+"?cache=shared&_pragma=read_uncommitted(1)"),
		latchkey.SQLite, nil)
	require.ErrorContains(t, err, "read_uncommitted is on")

	utf16 := harness.OpenSQLite(t, "file:"+harness.NewFile(t)+"?_pragma=encoding('UTF-16')")
	require.ErrorContains(t, sqlstore.Migrate(ctx, utf16, latchkey.SQLite), "UTF-8")
	_, err = sqlstore.New(ctx, utf16, latchkey.SQLite, nil)
	require.ErrorContains(t, err, "UTF-8")

	private := harness.OpenSQLite(t, ":memory:")
	require.NoError(t, sqlstore.Migrate(ctx, private, latchkey.SQLite))
	_, err = sqlstore.New(ctx, private, latchkey.SQLite, nil)
	require.ErrorContains(t, err, "in-memory database of its own")
	private = harness.OpenSQLite(t, ":memory:")
	private.SetMaxOpenConns(1)
	harness.OpenSQLiteStore(t, private)
}

// Two stores on one file, as two processes have, with DSNs that set nothing helpful: no call fails, nothing is lost,
// and no epoch is given twice.
func TestSQLiteAnyDSN(t *testing.T) {
	for _, dsn := range []string{"file:%s", "file:%s?_pragma=journal_mode(WAL)", "file:%s?_txlock=exclusive",
		"file:%s?_pragma=journal_mode(WAL)&_pragma=synchronous(OFF)&_pragma=foreign_keys(1)"} {
		ctx, cancel := context.WithTimeout(context.Background(), 5*time.Minute)
		file := harness.NewFile(t)
		stores := []*sqlstore.Store{harness.OpenSQLiteStore(t, harness.OpenSQLite(t, fmt.Sprintf(dsn, file))),
			harness.OpenSQLiteStore(t, harness.OpenSQLite(t, fmt.Sprintf(dsn, file)))}
		var wg sync.WaitGroup
		for g := range 6 {
			s := stores[g%2]
			wg.Go(func() {
				for i := range 10 {
					n := g*100 + i
					id := fmt.Sprintf("%04d", n)
					err := s.Write(ctx, world.Mint("acme", id, n))
					require.NoError(t, err)
					revoked := world.Mint("acme", id, n).Tokens[0]
					revoked.Version, revoked.Revoked = 1, world.Noon
					err = s.Write(ctx, latchkey.Write{ID: world.WriteID(), Owner: "acme", Tokens: []latchkey.Token{revoked}})
					require.NoError(t, err)
					f, err := stores[(g+1)%2].ByDigest(ctx, 0, world.Digest(n))
					require.NoError(t, err)
					require.Equal(t, world.Noon, f.Token.Revoked, "a write that returned is read by all")
				}
			})
		}
		wg.Wait()
		feed, err := stores[0].Changes(ctx, 0, 0, 1000)
		require.NoError(t, err)
		require.Len(t, feed.Changes, 60)
		for i, c := range feed.Changes {
			require.Equal(t, uint64(i+1), c.Epoch)
		}
		cancel()
	}
}

func TestSQLiteWritesAreFull(t *testing.T) {
	db := harness.OpenSQLite(t, harness.WAL(harness.NewFile(t))+"&_pragma=synchronous(OFF)")
	db.SetMaxOpenConns(1)
	s := harness.OpenSQLiteStore(t, db)
	err := s.Write(context.Background(), world.Mint("acme", world.NewID(), 1))
	require.NoError(t, err)
	var level int
	require.NoError(t, db.QueryRow("PRAGMA synchronous").Scan(&level))
	require.Equal(t, 2, level)
}

func TestSQLitePoolOfOne(t *testing.T) {
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Minute)
	defer cancel()
	db := harness.OpenSQLite(t, harness.WAL(harness.NewFile(t)))
	db.SetMaxOpenConns(1)
	s := harness.OpenSQLiteStore(t, db)
	world.Build(t, s)
	var wg sync.WaitGroup
	for g := range 50 {
		wg.Go(func() {
			err := s.Write(ctx, world.Mint("acme", fmt.Sprintf("w%d", g), 1000+g))
			require.NoError(t, err)
			_, err = s.ByDigest(ctx, 0, world.Digest(2))
			require.NoError(t, err)
			_, err = s.Tokens(ctx, "acme", latchkey.TokenQuery{})
			require.NoError(t, err)
			_, err = s.Changes(ctx, 0, 0, 10)
			require.NoError(t, err)
		})
	}
	wg.Wait()
}

// A wait ends with the deadline, wherever a write waits: for the pool, for another process, for the batch it is in.
func TestSQLiteDeadlines(t *testing.T) {
	background := context.Background()
	file := harness.NewFile(t)
	db := harness.OpenSQLite(t, "file:"+file+"?_pragma=journal_mode(WAL)&_pragma=busy_timeout(300000)")
	db.SetMaxOpenConns(2)
	s := harness.OpenSQLiteStore(t, db)
	other, err := harness.OpenSQLite(t, harness.WAL(file)).Conn(background)
	require.NoError(t, err)
	_, err = other.ExecContext(background, "BEGIN IMMEDIATE")
	require.NoError(t, err)
	start := time.Now()
	var wg sync.WaitGroup
	for i := range 5 {
		wg.Go(func() {
			ctx, cancel := context.WithTimeout(background, 100*time.Millisecond)
			defer cancel()
			err := s.Write(ctx, world.Mint("acme", fmt.Sprint(i), i))
			require.ErrorIs(t, err, latchkey.ErrUnavailable)
			require.ErrorIs(t, err, context.DeadlineExceeded)
		})
	}
	wg.Wait()
	require.Less(t, time.Since(start), 4*time.Minute, "the busy timeout of 5 min was waited out")
	_, err = other.ExecContext(background, "ROLLBACK")
	require.NoError(t, err)
	tokens, err := s.Tokens(background, "acme", latchkey.TokenQuery{})
	require.NoError(t, err)
	require.Empty(t, tokens, "what was given up must not happen later")
	err = s.Write(background, world.Mint("acme", "0", 0))
	require.NoError(t, err)
	for _, f := range []func(context.Context) error{
		func(ctx context.Context) error { err := s.Write(ctx, world.Mint("acme", "x", 77)); return err },
		func(ctx context.Context) error { _, err := s.ByDigest(ctx, 0, world.Digest(0)); return err },
		func(ctx context.Context) error { _, err := s.Changes(ctx, 0, 0, 0); return err },
	} {
		ctx, cancel := context.WithCancel(background)
		cancel()
		err := f(ctx)
		require.ErrorIs(t, err, latchkey.ErrUnavailable)
		require.ErrorIs(t, err, context.Canceled)
	}
}

// Group commit: a write that fails does not fail the others in its batch.
func TestSQLiteNeighbours(t *testing.T) {
	ctx := context.Background()
	s := harness.OpenSQLiteStore(t, harness.OpenSQLite(t, harness.WAL(harness.NewFile(t))))
	err := s.Write(ctx, world.Mint("acme", "taken", 0))
	require.NoError(t, err)
	var wg sync.WaitGroup
	for i := range 200 {
		wg.Go(func() {
			if i%10 == 0 {
				err := s.Write(ctx, world.Mint("acme", "taken", 10_000+i))
				require.ErrorIs(t, err, latchkey.ErrExists)
				return
			}
			err := s.Write(ctx, world.Mint("acme", fmt.Sprintf("t%03d", i), 1+i))
			require.NoError(t, err)
		})
	}
	wg.Wait()
	tokens, err := s.Tokens(ctx, "acme", latchkey.TokenQuery{Page: latchkey.Page{Limit: 1000}})
	require.NoError(t, err)
	require.Len(t, tokens, 181)
}

// When even the rollback fails, the connection must not go back to the pool with its transaction open.
func TestSQLiteRollbackFails(t *testing.T) {
	ctx := context.Background()
	file := harness.NewFile(t)
	db, f := faulty.OpenSQLite(t, "file:"+file)
	s := harness.OpenSQLiteStore(t, db)
	err := s.Write(ctx, world.Mint("acme", "a", 1))
	require.NoError(t, err)
	f.Begin("count", -1, false, nil)
	n := f.Count()
	err = s.Write(ctx, world.Mint("acme", "a", 2))
	require.ErrorIs(t, err, latchkey.ErrExists)
	n = f.Count() - n
	f.Begin("rollback", n-1, false, errors.New("disk I/O error (10)"))
	err = s.Write(ctx, world.Mint("acme", "a", 3))
	require.ErrorIs(t, err, latchkey.ErrExists)
	require.Equal(t, "ROLLBACK", f.Disarm())
	other := harness.OpenSQLiteStore(t, harness.OpenSQLite(t, "file:"+file))
	err = other.Write(ctx, world.Mint("acme", "b", 4))
	require.NoError(t, err, "the lock was left behind")
}

// A record that cannot be read whole is an error, never half a record, and never "not found".
func TestSQLiteCorruption(t *testing.T) {
	world.Corrupt(t, func(t *testing.T) (*sqlstore.Store, *sql.DB) {
		db := harness.OpenSQLite(t, harness.WAL(harness.NewFile(t)))
		return harness.OpenSQLiteStore(t, db), db
	}, func(b []byte) string { return fmt.Sprintf("x'%x'", b) })
}

// The engine itself refuses what no code path should ever write.
func TestSQLiteConstraints(t *testing.T) {
	db := harness.OpenSQLite(t, harness.WAL(harness.NewFile(t)))
	harness.OpenSQLiteStore(t, db)
	for _, q := range []string{
		`INSERT INTO latchkey_credits (owner, token_id, meter, period, used) VALUES ('a', '', 'm', '', -1)`,
		`INSERT INTO latchkey_credits (owner, token_id, meter, period, used)
			VALUES ('a', '', 'm', '', 9223372036854775807 + 1)`,
		`INSERT INTO latchkey_credits (owner, token_id, meter, period, used) VALUES ('a', '', 'm', '', 'NaN')`,
		`INSERT INTO latchkey_reservations VALUES ('a', zeroblob(16), 0, 0, NULL, 0, NULL, 0, x'')`,
		`INSERT INTO latchkey_reservations VALUES ('a', zeroblob(16), 1, 2, NULL, 0, NULL, 0, x'')`,
		`INSERT INTO latchkey_usage VALUES ('a', '', '', '', '', '', -1, 0)`,
		`INSERT INTO latchkey_secrets (digest, owner, token_id, signing, not_after, head, found)
			VALUES ('00000000000000000000000000000000', 'a', 't', 0, NULL, 0, x'')`,
		`INSERT INTO latchkey_batches VALUES (zeroblob(15), 0)`,
		`INSERT INTO latchkey_epoch VALUES (2, 0, 0)`,
	} {
		_, err := db.Exec(q)
		require.Error(t, err, q)
	}
}

// TestSQLiteKill kills a process that writes. All that it acknowledged is there, and nothing is half there.
func TestSQLiteKill(t *testing.T) {
	if file := os.Getenv("LATCHKEY_E2E_WRITER"); file != "" {
		s := harness.OpenSQLiteStore(t, harness.OpenSQLite(t, harness.WAL(file)))
		for n := 1; ; n++ {
			token := world.Mint("acme", "counter", 1).Tokens[0]
			token.Version = uint64(n)
			w := latchkey.Write{ID: uuid.New(), Owner: "acme", At: world.Noon, Tokens: []latchkey.Token{token},
				Events: []latchkey.Event{{At: world.Noon, Action: "token.update", Object: strconv.Itoa(n)}}}
			epoch, err := world.WriteEpoch(context.Background(), s, w)
			require.NoError(t, err)
			fmt.Printf("acked %d\n", epoch)
		}
	}
	ctx := context.Background()
	for round := range 3 {
		file := harness.NewFile(t)
		s := harness.OpenSQLiteStore(t, harness.OpenSQLite(t, harness.WAL(file)))
		err := s.Write(ctx, world.Mint("acme", "counter", 1))
		require.NoError(t, err)
		child := exec.Command(os.Args[0], "-test.run=^TestSQLiteKill$")
		child.Env = append(os.Environ(), "LATCHKEY_E2E_WRITER="+file)
		out, err := child.StdoutPipe()
		require.NoError(t, err)
		require.NoError(t, child.Start())
		acked := 0
		for lines := bufio.NewScanner(out); lines.Scan(); {
			if text, ok := strings.CutPrefix(lines.Text(), "acked "); ok {
				acked, err = strconv.Atoi(text)
				require.NoError(t, err)
				if acked == 100+17*round {
					require.NoError(t, child.Process.Kill())
				}
			}
		}
		_ = child.Wait()
		require.GreaterOrEqual(t, acked, 100)
		f, err := s.Load(ctx, "acme", "counter")
		require.NoError(t, err)
		require.GreaterOrEqual(t, f.Epoch, uint64(acked), "acknowledged and lost")
		require.Equal(t, f.Epoch+1, f.Token.Version, "half a write")
		events, err := world.Events(ctx, s, "acme")
		require.NoError(t, err)
		require.Len(t, events, int(f.Epoch))
		var ok string
		require.NoError(t, harness.OpenSQLite(t, harness.WAL(file)).QueryRow("PRAGMA integrity_check").Scan(&ok))
		require.Equal(t, "ok", ok)
	}
}

func TestSQLiteClosed(t *testing.T) {
	ctx := context.Background()
	db := harness.OpenSQLite(t, harness.WAL(harness.NewFile(t)))
	s := harness.OpenSQLiteStore(t, db)
	world.Build(t, s)
	require.NoError(t, s.Close())
	_, err := s.ByDigest(ctx, 0, world.Digest(1))
	require.ErrorIs(t, err, latchkey.ErrUnavailable)
	err = s.Write(ctx, world.Mint("acme", "x", 5))
	require.ErrorIs(t, err, latchkey.ErrUnavailable)
	require.NoError(t, db.Ping(), "the database is the host's")
}

func TestSQLiteClock(t *testing.T) {
	ctx := context.Background()
	db := harness.OpenSQLite(t, harness.WAL(harness.NewFile(t)))
	harness.OpenSQLiteStore(t, db)
	s, err := sqlstore.New(ctx, db, latchkey.SQLite,
		&sqlstore.Options{Clock: func() time.Time { return world.Noon.Add(1001) }})
	require.NoError(t, err)
	feed, err := s.Changes(ctx, 0, 0, 0)
	require.NoError(t, err)
	require.Equal(t, world.Noon.Add(time.Microsecond), feed.Now)
}

func TestSQLiteCheckSchema(t *testing.T) {
	ctx := context.Background()
	db := harness.OpenSQLite(t, harness.WAL(harness.NewFile(t)))
	_, err := db.Exec(`CREATE TABLE orders (region TEXT, "odd name" VARCHAR(20), amount INTEGER, price DECIMAL(10,2),
		ratio REAL,
		open BOOLEAN, due DATE, at DATETIME, note, data BLOB, any STRING);
		CREATE VIEW open_orders AS SELECT region, amount + 1 AS more FROM orders`)
	require.NoError(t, err)
	check := func(table, column string, typ latchkey.FieldType) error {
		return sqlstore.CheckSchema(ctx, db, latchkey.SQLite, table,
			latchkey.NewSchema(latchkey.Fields{"field": {Column: column, Type: typ}}))
	}
	for _, c := range []struct {
		column string
		fits   []latchkey.FieldType
	}{
		{"region", []latchkey.FieldType{latchkey.Text, latchkey.Date, latchkey.DateTime}},
		{"REGION", []latchkey.FieldType{latchkey.Text, latchkey.Date, latchkey.DateTime}},
		{"o.region", []latchkey.FieldType{latchkey.Text, latchkey.Date, latchkey.DateTime}},
		{`"odd name"`, []latchkey.FieldType{latchkey.Text, latchkey.Date, latchkey.DateTime}},
		{"amount", []latchkey.FieldType{latchkey.Integer, latchkey.Number, latchkey.Boolean}},
		{"price", []latchkey.FieldType{latchkey.Integer, latchkey.Number}},
		{"ratio", []latchkey.FieldType{latchkey.Integer, latchkey.Number, latchkey.Float}},
		{"open", []latchkey.FieldType{latchkey.Boolean}},
		{"due", nil},
		{"at", nil}, // what this DSN makes of times is tried: see TestTimesOfModernc
		{"note", nil}, {"data", nil}, {"any", nil}, {"missing", nil}, {"amount + 1", nil}, {`"amount`, nil}, {"lower(region)",
			nil},
	} {
		for typ := latchkey.Text; typ <= latchkey.Float; typ++ {
			err := check("orders", c.column, typ)
			fits := false
			for _, f := range c.fits {
				fits = fits || f == typ
			}
			if fits {
				require.NoError(t, err, "%s as %d", c.column, typ)
			} else {
				require.ErrorContains(t, err, `"field"`, "%s as %d", c.column, typ)
			}
		}
	}
	require.NoError(t, check("main.orders", "region", latchkey.Text))
	require.NoError(t, check("open_orders", "region", latchkey.Text))
	require.Error(t, check("open_orders", "more", latchkey.Integer), "an expression has no declared type")
	require.ErrorContains(t, check("nosuch", "region", latchkey.Text), "no table")
	require.ErrorContains(t, check("orders; DROP TABLE orders", "region", latchkey.Text), "no table")
	closed, err := sql.Open("sqlite", "file:/nowhere/at/all.db")
	require.NoError(t, err)
	require.Error(t, sqlstore.CheckSchema(ctx, closed, latchkey.SQLite, "orders", latchkey.NewSchema(nil)))
}

func TestSQLiteSmoke(t *testing.T) {
	ctx := context.Background()
	s := harness.OpenSQLiteStore(t, harness.OpenSQLite(t, harness.WAL(harness.NewFile(t))))
	id := world.NewID()
	err := s.Write(ctx, world.Mint("acme", id, 1))
	require.NoError(t, err)
	f, err := s.ByDigest(ctx, 0, world.Digest(1))
	require.NoError(t, err)
	require.Equal(t, id, f.Token.ID)
	_, err = s.ByDigest(ctx, 0, world.Digest(2))
	require.ErrorIs(t, err, latchkey.ErrNotFound)
}
