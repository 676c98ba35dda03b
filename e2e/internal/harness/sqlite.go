package harness

import (
	"context"
	"database/sql"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"
	_ "modernc.org/sqlite"

	"github.com/latchkey-go/latchkey"
	"github.com/latchkey-go/latchkey/sqlstore"
)

// Modernc is SQLite in pure Go. Of sqlEngine it uses what needs no server.
var Modernc = &Engine{Name: "SQLite, modernc", Dialect: latchkey.SQLite, Driver: "sqlite"}

// WAL is the DSN the documentation recommends.
func WAL(file string) string {
	return "file:" + file + "?_pragma=journal_mode(WAL)&_pragma=busy_timeout(5000)"
}

func NewFile(t testing.TB) string { return filepath.Join(t.TempDir(), "latchkey.db") }

func OpenSQLite(t testing.TB, dsn string) *sql.DB {
	t.Helper()
	db, err := sql.Open("sqlite", dsn)
	require.NoError(t, err)
	t.Cleanup(func() { db.Close() })
	return db
}

// OpenSQLiteStore migrates and opens a store that is closed with the test.
func OpenSQLiteStore(t testing.TB, db *sql.DB) *sqlstore.Store {
	t.Helper()
	return OpenStore(t, db, latchkey.SQLite)
}

func OpenStore(t testing.TB, db *sql.DB, d latchkey.Dialect) *sqlstore.Store {
	t.Helper()
	ctx := context.Background()
	require.NoError(t, sqlstore.Migrate(ctx, db, d))
	s, err := sqlstore.New(ctx, db, d, nil)
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, s.Close()) })
	return s
}
