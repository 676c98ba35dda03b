package faults

import (
	"context"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/latchkey-go/latchkey"
	"github.com/latchkey-go/latchkey/e2e/internal/harness"
	"github.com/latchkey-go/latchkey/e2e/internal/world"
	"github.com/latchkey-go/latchkey/sqlstore"
)

// New and Migrate report tables that another migrator made otherwise, or that were changed, and say what to do.
func TestStartRefusesSpoiltTables(t *testing.T) {
	ctx := context.Background()
	harness.OnSubjects(t, func(t *testing.T, s harness.Subject) {
		cases := map[latchkey.Dialect][]struct{ spoil, says string }{
			latchkey.SQLite: {
				{`DROP TABLE latchkey_clients; CREATE TABLE latchkey_clients (owner TEXT COLLATE NOCASE NOT NULL, id TEXT NOT NULL,
					name TEXT NOT NULL, PRIMARY KEY (owner, id))`, "latchkey_clients has a COLLATE"},
				{`DROP INDEX latchkey_tokens_client; CREATE INDEX latchkey_tokens_client
					ON latchkey_tokens (owner, client_id collate rtrim, id)`, "latchkey_tokens has a COLLATE"},
			},
			latchkey.Postgres: {
				{`ALTER TABLE latchkey_tokens ALTER id TYPE text COLLATE "en_US"`, "latchkey_tokens.id has the collation en_US"},
				{`CREATE COLLATION folds (provider = icu, locale = 'und-u-ks-level2', deterministic = false);
					ALTER TABLE latchkey_roles ALTER name TYPE text COLLATE folds`, `TYPE TEXT COLLATE "C"`},
				{`ALTER TABLE latchkey_once SET UNLOGGED`, "ALTER TABLE latchkey_once SET LOGGED"},
			},
			latchkey.MySQL: {
				{`ALTER TABLE latchkey_roles MODIFY name VARCHAR(250) CHARACTER SET utf8mb4 COLLATE utf8mb4_general_ci NOT NULL`,
					"latchkey_roles.name has the collation utf8mb4_general_ci"},
				{`ALTER TABLE latchkey_once ENGINE=Aria`, "ALTER TABLE latchkey_once ENGINE=InnoDB"},
			},
		}[s.Dialect]
		for _, c := range cases {
			db := s.Open(t, s.Fresh(t))
			db.SetMaxOpenConns(4)
			require.NoError(t, sqlstore.Migrate(ctx, db, s.Dialect))
			_, err := db.Exec(strings.ReplaceAll(c.spoil, "en_US", icu(t, s)))
			require.NoError(t, err, c.spoil)
			says := strings.ReplaceAll(c.says, "en_US", icu(t, s))
			_, err = sqlstore.New(ctx, db, s.Dialect, nil)
			require.ErrorContains(t, err, says)
			require.ErrorContains(t, sqlstore.Migrate(ctx, db, s.Dialect), says)
			db.Close()
		}
	})
	t.Run("a log that is not flushed", func(t *testing.T) {
		own := harness.MariaDB.Own(t)
		db := own.Open(t, own.Place(t))
		_, err := own.Admin.Exec("SET GLOBAL innodb_flush_log_at_trx_commit = 0")
		require.NoError(t, err)
		defer func() {
			_, err := own.Admin.Exec("SET GLOBAL innodb_flush_log_at_trx_commit = 2")
			require.NoError(t, err)
		}()
		require.ErrorContains(t, sqlstore.Migrate(ctx, db, latchkey.MySQL), "innodb_flush_log_at_trx_commit is 0")
	})
}

// icu is a collation that every PostgreSQL with ICU has.
func icu(t testing.TB, s harness.Subject) string {
	if s.Dialect != latchkey.Postgres {
		return ""
	}
	return "en-x-icu"
}

// New and Migrate report what is no database of the engine, or cannot be reached, and never wait for it without end.
func TestStartRefusesWhatIsNoDatabase(t *testing.T) {
	ctx := context.Background()
	text := filepath.Join(t.TempDir(), "text.db")
	require.NoError(t, os.WriteFile(text, []byte(strings.Repeat("no database at all\n", 100)), 0o600))
	deaf, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	address := deaf.Addr().String()
	_, port, _ := strings.Cut(address, ":")
	deaf.Close() // nobody listens there
	harness.OnSubjects(t, func(t *testing.T, s harness.Subject) {
		fresh := s.Fresh(t)
		for dsn, says := range map[latchkey.Dialect]map[string]string{
			latchkey.SQLite: {
				"file:" + text: "cannot be",
				"file:" + filepath.Join(t.TempDir(), "no", "such", "folder.db"): "cannot be opened",
			},
			latchkey.Postgres: {
				"host=127.0.0.1 port=" + port + " user=u dbname=d sslmode=disable": "cannot be reached",
				strings.Replace(fresh, "dbname=postgres", "dbname=nosuch", 1):      "cannot be reached",
				strings.Replace(fresh, "user=postgres", "user=nosuch", 1):          "cannot be reached",
			},
			latchkey.MySQL: {
				"u:secret-word@tcp(" + address + ")/d":         "cannot be reached",
				strings.Replace(fresh, "root@", "nosuch@", 1):  "cannot be reached",
				strings.Replace(fresh, "latchkey_", "not_", 1): "cannot be reached",
			},
		}[s.Dialect] {
			db := s.Open(t, dsn)
			_, err := sqlstore.New(ctx, db, s.Dialect, nil)
			require.ErrorContains(t, err, says)
			require.NotContains(t, err.Error(), "secret-word")
			require.Error(t, sqlstore.Migrate(ctx, db, s.Dialect))
			require.Error(t, sqlstore.CheckSchema(ctx, db, s.Dialect, "orders", latchkey.NewSchema(nil)))
		}
	})
}

// A file, or the folder of one, that may not be written is no store, even if it can be read.
func TestStartRefusesWhatIsReadOnly(t *testing.T) {
	ctx := context.Background()
	harness.OnSubjects(t, func(t *testing.T, s harness.Subject) {
		if s.Dialect != latchkey.SQLite {
			return // a setting there: TestEnginesNewRefuses
		}
		file := harness.NewFile(t)
		dsn := "file:" + file
		db := s.Open(t, dsn)
		require.NoError(t, sqlstore.Migrate(ctx, db, s.Dialect))
		db.Close()
		for _, read := range []string{"?mode=ro", "?immutable=1"} {
			_, err := sqlstore.New(ctx, s.Open(t, dsn+read), s.Dialect, nil)
			require.ErrorContains(t, err, "cannot be written", read)
		}
		require.ErrorContains(t, sqlstore.Migrate(ctx, s.Open(t, "file:"+harness.NewFile(t)+"?mode=ro"), s.Dialect),
			"cannot be opened")
	})
}

// A machine whose clock differs from the database's is refused, and a running Manager returns ErrUnavailable for as
// long as they differ. PostgreSQL's clock is changed by a function that is found before its own.
func TestStartRefusesAClockThatIsOff(t *testing.T) {
	for off, says := range map[string]string{"2 h": "behind the database's", "-2 h": "ahead of the database's"} {
		t.Run(off, func(t *testing.T) { startRefusesAClock(t, off, says) })
	}
}

func startRefusesAClock(t *testing.T, off, says string) {
	ctx := context.Background()
	dsn := harness.Postgres.Place(t)
	db := harness.Postgres.Open(t, dsn)
	require.NoError(t, sqlstore.Migrate(ctx, db, latchkey.Postgres))
	place := world.Column(t, db, "SELECT current_schema()")[0]
	clock := func(off string) {
		_, err := db.Exec(`CREATE OR REPLACE FUNCTION clock_timestamp() RETURNS timestamptz LANGUAGE sql AS
			'SELECT pg_catalog.now() + ''` + off + `'''`)
		require.NoError(t, err)
	}
	clock(off)
	found, err := harness.PostgresSetting(harness.Postgres.DSN, "search_path", place+",pg_catalog")
	require.NoError(t, err)
	_, err = sqlstore.New(ctx, harness.Postgres.Open(t, found), latchkey.Postgres, nil)
	require.ErrorContains(t, err, says)
	require.ErrorContains(t, err, "NTP")
	_, err = sqlstore.New(ctx, db, latchkey.Postgres, nil)
	require.NoError(t, err)

	clock("0 h")
	store, err := sqlstore.New(ctx, harness.Postgres.Open(t, found), latchkey.Postgres, nil)
	require.NoError(t, err)
	defer store.Close()
	keys := latchkey.New(store, nil)
	_, secret, err := keys.For("acme").Issue(ctx, latchkey.Spec{Kind: latchkey.KindAPIKey})
	require.NoError(t, err)
	verify := func() error {
		_, err := keys.Verify(ctx, latchkey.Presented{Secret: secret.Reveal()})
		return err
	}
	require.NoError(t, verify())
	clock(off)
	// it is asked once a second
	require.Eventually(t, func() bool { return verify() != nil }, time.Minute, 10*time.Millisecond)
	err = verify()
	require.ErrorIs(t, err, latchkey.ErrUnavailable)
	require.NotErrorIs(t, err, latchkey.ErrInvalidToken)
	_, err = keys.Purge(ctx)
	require.ErrorIs(t, err, latchkey.ErrUnavailable)
	clock("0 h")
	require.Eventually(t, func() bool { return verify() == nil }, time.Minute, 10*time.Millisecond)
}
