package engines

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"io/fs"
	"strconv"
	"strings"
	"sync"
	"testing"

	"github.com/go-sql-driver/mysql"
	"github.com/stretchr/testify/require"

	"github.com/latchkey-go/latchkey"
	"github.com/latchkey-go/latchkey/e2e/internal/faulty"
	"github.com/latchkey-go/latchkey/e2e/internal/harness"
	"github.com/latchkey-go/latchkey/e2e/internal/world"
	"github.com/latchkey-go/latchkey/sqlstore"
)

// Sampled: LONG=1 tries three times on each server.
func TestEnginesMigrateAtOnce(t *testing.T) {
	test := func(t *testing.T, e *harness.Engine) {
		for range harness.Rounds(1, 3) {
			dsn := e.Place(t)
			var wg sync.WaitGroup
			errs := make([]error, 8)
			for i := range errs {
				db := e.Open(t, dsn) // a pool of its own, as another process has
				wg.Go(func() { errs[i] = sqlstore.Migrate(context.Background(), db, e.Dialect) })
			}
			wg.Wait()
			require.NoError(t, errors.Join(errs...))
			world.Build(t, e.Store(t, dsn)) // migrates again
		}
	}
	harness.OnPooledToo(t, test)
	harness.OnVersions(t, test)
}

func TestEnginesMigrateRefuses(t *testing.T) {
	ctx := context.Background()
	next := harness.Migrations(t) + 1
	newer := strings.NewReplacer("NEXT1", fmt.Sprint(next+1), "NEXT", fmt.Sprint(next), "LAST", fmt.Sprint(next-1)).Replace
	harness.OnEngines(t, func(t *testing.T, e *harness.Engine) {
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
				db := e.Open(t, e.Place(t))
				require.NoError(t, sqlstore.Migrate(ctx, db, e.Dialect))
				_, err := db.Exec(c.spoil)
				require.NoError(t, err)
				require.ErrorContains(t, sqlstore.Migrate(ctx, db, e.Dialect), c.says)
				_, err = sqlstore.New(ctx, db, e.Dialect, nil)
				require.ErrorContains(t, err, c.says)
			})
		}
		t.Run("somebody else's table", func(t *testing.T) {
			db := e.Open(t, e.Place(t))
			_, err := db.Exec("CREATE TABLE latchkey_tokens (id INT)")
			require.NoError(t, err)
			require.ErrorContains(t, sqlstore.Migrate(ctx, db, e.Dialect), "half done")
		})
	})
}

// A migration whose process dies at any statement, before or after its effect, is completed by the next one.
func TestEnginesMigrateDies(t *testing.T) {
	ctx := context.Background()
	harness.OnEngines(t, func(t *testing.T, e *harness.Engine) {
		faulty := func() (*sql.DB, *faulty.Connector) {
			dsn := e.Place(t)
			return faulty.Open(t, e.Open(t, dsn), dsn)
		}
		db, f := faulty()
		require.NoError(t, sqlstore.Migrate(ctx, db, e.Dialect))
		statements := f.Count()
		require.Greater(t, statements, 30)
		// Sampled: LONG=1 tries each.
		step, random := harness.Rounds(12, 1), harness.Drawn(e.Name)
		for i := random.IntN(step); i < statements; i += step {
			db, f := faulty()
			after := random.IntN(2) == 0
			f.Begin("migrate", i, after, errors.New("the connection was lost"))
			err := sqlstore.Migrate(ctx, db, e.Dialect)
			// Who reads one row may not see that the next could not be read.
			hit := f.Disarm()
			read := strings.HasPrefix(hit, "SELECT") || strings.HasPrefix(hit, "SHOW")
			if !(after && read) && hit != "ROLLBACK" {
				require.Error(t, err, hit)
			}
			require.NoError(t, sqlstore.Migrate(ctx, db, e.Dialect), "statement %d, after its effect: %t: %s", i, after, hit)
			s, err := sqlstore.New(ctx, db, e.Dialect, nil)
			require.NoError(t, err)
			err = s.Write(ctx, world.Mint("acme", "t", 1))
			require.NoError(t, err)
			require.NoError(t, s.Close())
			db.Close()
		}
	})
}

// What a crash left on MySQL is settled by a look at what is there.
func TestMariaDBMigrateTakesUp(t *testing.T) {
	ctx := context.Background()
	half := func(t *testing.T, spoil ...string) *sql.DB {
		db := harness.MariaDB.Open(t, harness.MariaDB.Place(t))
		require.NoError(t, sqlstore.Migrate(ctx, db, latchkey.MySQL))
		// As if no migration after the first had begun.
		for _, s := range append([]string{`DELETE FROM latchkey_schema`, `DROP TABLE latchkey_migrations`,
			`DELETE FROM latchkey_schema_steps WHERE version > 1`, `ALTER TABLE latchkey_tokens DROP COLUMN owner_version`,
			`ALTER TABLE latchkey_secrets DROP COLUMN owner_version, DROP COLUMN used, DROP COLUMN used_from,
				DROP COLUMN algorithm, DROP COLUMN lookup, DROP COLUMN hash`,
			`ALTER TABLE latchkey_credits DROP COLUMN ends`, `ALTER TABLE latchkey_events DROP COLUMN prev, DROP COLUMN hash,
				DROP INDEX latchkey_events_object, DROP INDEX latchkey_events_actor, DROP INDEX latchkey_events_time`,
			`ALTER TABLE latchkey_owners DROP COLUMN since`, `DROP INDEX latchkey_usage_day ON latchkey_usage`,
			`DROP TABLE latchkey_cursors`, `DROP TABLE latchkey_live`,
			`ALTER TABLE latchkey_event_seqs DROP COLUMN head`},
			spoil...) {
			_, err := db.Exec(s)
			require.NoError(t, err, s)
		}
		return db
	}
	var last int
	db := half(t)
	require.NoError(t, db.QueryRow(`SELECT MAX(step) FROM latchkey_schema_steps`).Scan(&last))
	forget := `DELETE FROM latchkey_schema_steps WHERE step >= `
	undone := `UPDATE latchkey_schema_steps SET done = 0 WHERE step = ` + strconv.Itoa(last-1)
	for name, spoil := range map[string][]string{
		"only the record is missing": {forget + strconv.Itoa(last)},
		"noted, and there":           {forget + strconv.Itoa(last), undone},
		"noted, and not there":       {forget + strconv.Itoa(last), undone, `DROP TABLE latchkey_reservations`},
		"not noted":                  {forget + strconv.Itoa(last-1), `DROP TABLE latchkey_reservations`},
	} {
		t.Run(name, func(t *testing.T) {
			db := half(t, spoil...)
			_, err := sqlstore.New(ctx, db, latchkey.MySQL, nil)
			require.ErrorContains(t, err, "run sqlstore.Migrate")
			world.Build(t, harness.OpenStore(t, db, latchkey.MySQL))
		})
	}
	t.Run("there, and not noted", func(t *testing.T) {
		db := half(t, forget+strconv.Itoa(last-1))
		require.ErrorContains(t, sqlstore.Migrate(ctx, db, latchkey.MySQL), "already exists", "made by somebody else")
	})
}

// The files are whole: any migrator can run them.
func TestEnginesMigrationsByHand(t *testing.T) {
	harness.OnEngines(t, func(t *testing.T, e *harness.Engine) {
		files, err := sqlstore.Migrations(e.Dialect)
		require.NoError(t, err)
		names, err := fs.Glob(files, "*.sql")
		require.NoError(t, err)
		dsn := e.Place(t)
		if e == harness.MariaDB {
			config, err := mysql.ParseDSN(dsn)
			require.NoError(t, err)
			config.MultiStatements = true
			dsn = config.FormatDSN()
		}
		db := e.Open(t, dsn)
		for _, name := range names {
			text, err := fs.ReadFile(files, name)
			require.NoError(t, err)
			_, err = db.Exec(string(text))
			require.NoError(t, err)
		}
		world.Build(t, e.Store(t, dsn))
	})
}
