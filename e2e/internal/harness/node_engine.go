package harness

import (
	"context"
	"database/sql"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/latchkey-go/latchkey"
	"github.com/latchkey-go/latchkey/sqlstore"
)

// NodeEngine is a database that several processes share.
type NodeEngine struct {
	Name    string
	Driver  string
	Dialect latchkey.Dialect
	Empty   func(testing.TB) string // makes an empty database, and returns its DSN
}

// NodeEngines are SQLite, PostgreSQL and MariaDB.
var NodeEngines = []*NodeEngine{
	{"SQLite", "sqlite", latchkey.SQLite, func(t testing.TB) string { return WAL(NewFile(t)) }},
	Postgres.NodeEngine(),
	MariaDB.NodeEngine(),
}

// NodeEngine returns the server as a database that several processes share.
func (e *Engine) NodeEngine() *NodeEngine { return &NodeEngine{e.Name, e.Driver, e.Dialect, e.Place} }

// Place returns the DSN of a migrated database for this test alone.
func (e *NodeEngine) Place(t testing.TB) string {
	t.Helper()
	dsn := e.Empty(t)
	require.NoError(t, sqlstore.Migrate(context.Background(), e.Open(t, dsn), e.Dialect))
	return dsn
}

// Open opens a new pool, as another process has. The end of the test closes it.
func (e *NodeEngine) Open(t testing.TB, dsn string) *sql.DB {
	t.Helper()
	db, err := OpenPool(e.Driver, dsn)
	require.NoError(t, err)
	t.Cleanup(func() { db.Close() })
	return db
}

// OpenPool opens a pool of at most eight connections.
func OpenPool(driver, dsn string) (*sql.DB, error) {
	db, err := sql.Open(driver, dsn)
	if err == nil {
		db.SetMaxOpenConns(8)
		db.SetMaxIdleConns(8)
	}
	return db, err
}

// NewNode returns a Manager on a new pool, as another process has. The end of the test closes it.
func NewNode(t testing.TB, e *NodeEngine, dsn string, maxStale time.Duration) *latchkey.Manager {
	t.Helper()
	store, err := sqlstore.New(context.Background(), e.Open(t, dsn), e.Dialect, nil)
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
