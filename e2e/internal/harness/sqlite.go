package harness

import (
	"context"
	"database/sql"
	"io/fs"
	"os"
	"path/filepath"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"
	_ "modernc.org/sqlite"

	"github.com/latchkey-go/latchkey"
	"github.com/latchkey-go/latchkey/sqlstore"
)

// Modernc is SQLite in pure Go. It has no server: of Engine only Open, Store and the fields Name, Dialect and Driver
// serve.
var Modernc = &Engine{Name: "SQLite, modernc", Dialect: latchkey.SQLite, Driver: "sqlite"}

// WAL returns the DSN that the documentation recommends.
func WAL(file string) string {
	return "file:" + file + "?_pragma=journal_mode(WAL)&_pragma=busy_timeout(5000)"
}

// NewFile returns the path of a file that does not exist, in a folder of the test.
func NewFile(t testing.TB) string { return filepath.Join(t.TempDir(), "latchkey.db") }

// NewMigratedFile is NewFile with a file that was migrated already. To migrate one takes longer than most tests.
func NewMigratedFile(t testing.TB) string {
	t.Helper()
	content, err := migratedFile()
	require.NoError(t, err)
	file := NewFile(t)
	require.NoError(t, os.WriteFile(file, content, 0o600))
	return file
}

var migratedFile = sync.OnceValues(func() ([]byte, error) {
	folder, err := os.MkdirTemp("", "lk-")
	if err != nil {
		return nil, err
	}
	defer os.RemoveAll(folder)
	file := filepath.Join(folder, "latchkey.db")
	db, err := sql.Open("sqlite", "file:"+file)
	if err != nil {
		return nil, err
	}
	defer db.Close()
	if err := sqlstore.Migrate(context.Background(), db, latchkey.SQLite); err != nil {
		return nil, err
	}
	if err := db.Close(); err != nil {
		return nil, err
	}
	return fs.ReadFile(os.DirFS(folder), filepath.Base(file))
})

// OpenSQLite opens a pool that is closed with the test.
func OpenSQLite(t testing.TB, dsn string) *sql.DB {
	t.Helper()
	db, err := sql.Open("sqlite", dsn)
	require.NoError(t, err)
	t.Cleanup(func() { db.Close() })
	return db
}

// OpenSQLiteStore is OpenStore for SQLite.
func OpenSQLiteStore(t testing.TB, db *sql.DB) *sqlstore.Store {
	t.Helper()
	return OpenStore(t, db, latchkey.SQLite)
}

// OpenStore migrates a database and opens a store that is closed with the test.
func OpenStore(t testing.TB, db *sql.DB, d latchkey.Dialect) *sqlstore.Store {
	t.Helper()
	ctx := context.Background()
	require.NoError(t, sqlstore.Migrate(ctx, db, d))
	s, err := sqlstore.New(ctx, db, d, nil)
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, s.Close()) })
	return s
}
