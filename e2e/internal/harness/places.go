package harness

import (
	"context"
	"database/sql"
	"fmt"
	"strings"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/latchkey-go/latchkey"
	"github.com/latchkey-go/latchkey/sqlstore"
)

// Places are migrated databases of an engine, each of which one test after the other uses. To migrate one takes longer
// than most tests. Between two tests the rows become those that Migrate leaves.
type Places struct {
	engine *Engine
	with   func(dsn string) string
	owner  testing.TB

	mu   sync.Mutex
	free []*place
}

type place struct {
	dsn    string
	db     *sql.DB // of the owner of the places, with the settings of the DSN
	tables []string
}

// NewPlaces returns places that last as long as a test, of which those who use them are subtests. With returns a DSN
// with what is to be set besides. Nil: nothing.
func (e *Engine) NewPlaces(t testing.TB, with func(dsn string) string) *Places {
	return &Places{engine: e, with: with, owner: t}
}

// Store returns a store on a migrated database that nobody else uses.
func (p *Places) Store(t testing.TB) *sqlstore.Store {
	t.Helper()
	at := p.take(t)
	t.Cleanup(func() { // after the store was closed
		at.clear(t, p.engine.Dialect)
		p.mu.Lock()
		defer p.mu.Unlock()
		p.free = append(p.free, at)
	})
	s, err := sqlstore.New(context.Background(), p.engine.Open(t, at.dsn), p.engine.Dialect, nil)
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, s.Close()) })
	return s
}

func (p *Places) take(t testing.TB) *place {
	t.Helper()
	p.mu.Lock()
	if n := len(p.free); n > 0 {
		at := p.free[n-1]
		p.free = p.free[:n-1]
		p.mu.Unlock()
		return at
	}
	p.mu.Unlock()
	at := &place{dsn: p.engine.Place(p.owner)}
	if p.with != nil {
		at.dsn = p.with(at.dsn)
	}
	at.db = p.engine.Open(p.owner, at.dsn)
	require.NoError(t, sqlstore.Migrate(t.Context(), at.db, p.engine.Dialect))
	tables := "SELECT table_name FROM information_schema.tables WHERE table_schema = DATABASE()"
	keep := "CREATE TABLE %s LIKE %s"
	if p.engine.Dialect == latchkey.Postgres {
		tables = "SELECT tablename FROM pg_tables WHERE schemaname = current_schema()"
		keep = "CREATE TABLE %s (LIKE %s)"
	}
	rows, err := at.db.Query(tables)
	require.NoError(t, err)
	defer rows.Close()
	for rows.Next() {
		var name string
		require.NoError(t, rows.Scan(&name))
		at.tables = append(at.tables, name)
	}
	require.NoError(t, rows.Err())
	require.NotEmpty(t, at.tables)
	for _, name := range at.tables {
		_, err := at.db.Exec(fmt.Sprintf(keep, kept(name), name))
		require.NoError(t, err)
		_, err = at.db.Exec("INSERT INTO " + kept(name) + " SELECT * FROM " + name)
		require.NoError(t, err)
	}
	return at
}

// kept is the name of the table that holds the rows of another, as Migrate left them.
func kept(table string) string { return "kept_" + strings.TrimPrefix(table, "latchkey_") }

// clear makes the rows of all tables those that Migrate left.
func (at *place) clear(t testing.TB, d latchkey.Dialect) {
	t.Helper()
	tx, err := at.db.Begin()
	require.NoError(t, err)
	defer func() { _ = tx.Rollback() }()
	var statements []string
	if d == latchkey.Postgres {
		statements = append(statements, "SET LOCAL session_replication_role = replica") // no trigger fires
	}
	for _, name := range at.tables {
		statements = append(statements, "DELETE FROM "+name, "INSERT INTO "+name+" SELECT * FROM "+kept(name))
	}
	for _, statement := range statements {
		_, err := tx.Exec(statement)
		require.NoError(t, err, statement)
	}
	require.NoError(t, tx.Commit())
}
