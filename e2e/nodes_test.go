package e2e

import (
	"context"
	"database/sql"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/latchkey-go/latchkey"
	"github.com/latchkey-go/latchkey/sqlstore"
)

// nodeEngine is a database that several processes share.
type nodeEngine struct {
	name    string
	driver  string
	dialect latchkey.Dialect
	empty   func(testing.TB) string
}

var nodeEngines = []*nodeEngine{
	{"SQLite", "sqlite", latchkey.SQLite, func(t testing.TB) string { return wal(newFile(t)) }},
	{postgres.name, postgres.driver, postgres.dialect, postgres.place},
	{mariadb.name, mariadb.driver, mariadb.dialect, mariadb.place},
}

// place returns the DSN of a migrated database of the test's own.
func (e *nodeEngine) place(t testing.TB) string {
	t.Helper()
	dsn := e.empty(t)
	require.NoError(t, sqlstore.Migrate(context.Background(), e.open(t, dsn), e.dialect))
	return dsn
}

// open opens a pool of its own, as another process has.
func (e *nodeEngine) open(t testing.TB, dsn string) *sql.DB {
	t.Helper()
	db, err := openPool(e.driver, dsn)
	require.NoError(t, err)
	t.Cleanup(func() { db.Close() })
	return db
}

func openPool(driver, dsn string) (*sql.DB, error) {
	db, err := sql.Open(driver, dsn)
	if err == nil {
		db.SetMaxOpenConns(8)
		db.SetMaxIdleConns(8)
	}
	return db, err
}

// nodeOn is a Manager on a pool of its own, as another process has.
func nodeOn(t testing.TB, e *nodeEngine, dsn string, maxStale time.Duration) *latchkey.Manager {
	t.Helper()
	store, err := sqlstore.New(context.Background(), e.open(t, dsn), e.dialect, nil)
	require.NoError(t, err)
	keys := latchkey.New(store, &latchkey.Options{MaxStale: maxStale})
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
		defer cancel()
		_ = keys.Close(ctx) // its database may be out of reach by now
		require.NoError(t, store.Close())
	})
	return keys
}
