package world

import (
	"database/sql"
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/latchkey-go/latchkey"
	"github.com/latchkey-go/latchkey/e2e/internal/harness"
)

// AllTables are TenantTables and those of the whole database.
var AllTables = append(slices.Clone(TenantTables), "latchkey_epoch", "latchkey_changes", "latchkey_batches")

// Keep copies all tables, and returns what puts their rows back. Tables that hold those rows already are left alone: to
// write each of them takes longer than most operations.
func Keep(t *testing.T, db *sql.DB) (reset func()) {
	for _, table := range AllTables {
		_, err := db.Exec(fmt.Sprintf("CREATE TABLE world_%s AS SELECT * FROM %s", table, table))
		require.NoError(t, err)
	}
	kept := contents(t, db)
	return func() {
		now := contents(t, db)
		tx, err := db.Begin()
		require.NoError(t, err)
		for i, table := range AllTables {
			if now[i] == kept[i] {
				continue
			}
			_, err = tx.Exec("DELETE FROM " + table)
			require.NoError(t, err)
			_, err = tx.Exec(fmt.Sprintf("INSERT INTO %s SELECT * FROM world_%s", table, table))
			require.NoError(t, err)
		}
		require.NoError(t, tx.Commit())
	}
}

// TenantTables hold what belongs to an owner.
var TenantTables = []string{"latchkey_tokens", "latchkey_secrets", "latchkey_token_roles", "latchkey_roles",
	"latchkey_role_inherits", "latchkey_owners", "latchkey_clients", "latchkey_events", "latchkey_event_seqs",
	"latchkey_once", "latchkey_usage", "latchkey_credits", "latchkey_reservations", "latchkey_writes",
	"latchkey_cursors", "latchkey_live"}

// LaterTables are those of TenantTables that migrations after the first one make.
var LaterTables = []string{"latchkey_cursors", "latchkey_live"}

// Plan returns the steps in which SQLite runs a statement.
func Plan(t *testing.T, db *sql.DB, text string) (steps []string) {
	rows, err := db.Query("EXPLAIN QUERY PLAN "+text, make([]any, strings.Count(text, "?"))...)
	require.NoError(t, err, text)
	defer rows.Close()
	for rows.Next() {
		var id, parent, unused int
		var step string
		require.NoError(t, rows.Scan(&id, &parent, &unused, &step))
		steps = append(steps, step)
	}
	require.NoError(t, rows.Err())
	return steps
}

// Objects returns the names of the tables of a database, temporary ones too.
func Objects(t *testing.T, e *harness.Engine, db *sql.DB) (names []string) {
	query := map[latchkey.Dialect]string{
		latchkey.SQLite:   "SELECT name FROM sqlite_master UNION ALL SELECT name FROM sqlite_temp_master",
		latchkey.Postgres: "SELECT relname FROM pg_class WHERE relname LIKE 'latchkey%probe%' OR relpersistence = 't'",
		latchkey.MySQL:    "SELECT table_name FROM information_schema.tables WHERE table_schema = DATABASE()",
	}[e.Dialect]
	db.SetMaxOpenConns(1) // so that the connection is the one that was probed on
	defer db.SetMaxOpenConns(0)
	rows, err := db.Query(query)
	require.NoError(t, err)
	defer rows.Close()
	for rows.Next() {
		var name string
		require.NoError(t, rows.Scan(&name))
		names = append(names, name)
	}
	require.NoError(t, rows.Err())
	return names
}

// Dump returns everything that the database holds, as text.
func Dump(t testing.TB, db *sql.DB) string {
	t.Helper()
	return strings.Join(contents(t, db), "")
}

// contents returns the rows of AllTables as text, by table.
func contents(t testing.TB, db *sql.DB) []string {
	t.Helper()
	if fmt.Sprintf("%T", db.Driver()) == "*stdlib.Driver" { // PostgreSQL
		return contentsAtOnce(t, db)
	}
	texts := make([]string, len(AllTables))
	for i, table := range AllTables {
		rows, err := db.Query("SELECT * FROM " + table + " ORDER BY 1, 2")
		require.NoError(t, err)
		columns, err := rows.Columns()
		require.NoError(t, err)
		values, dest := make([]any, len(columns)), make([]any, len(columns))
		for i := range values {
			dest[i] = &values[i]
		}
		var out strings.Builder
		for rows.Next() {
			require.NoError(t, rows.Scan(dest...))
			fmt.Fprintf(&out, "%s %v\n", table, values)
		}
		require.NoError(t, rows.Err())
		rows.Close()
		texts[i] = out.String()
	}
	return texts
}

// contentsAtOnce is contents for PostgreSQL, in one statement: that many of them take longer than what they read.
func contentsAtOnce(t testing.TB, db *sql.DB) []string {
	t.Helper()
	parts := make([]string, len(AllTables))
	for i, table := range AllTables {
		parts[i] = fmt.Sprintf("SELECT %d AS place, t::text AS content FROM %s t", i, table)
	}
	rows, err := db.Query(strings.Join(parts, " UNION ALL ") + " ORDER BY 1, 2")
	require.NoError(t, err)
	defer rows.Close()
	texts := make([]string, len(AllTables))
	for rows.Next() {
		var place int
		var content string
		require.NoError(t, rows.Scan(&place, &content))
		texts[place] += AllTables[place] + " " + content + "\n"
	}
	require.NoError(t, rows.Err())
	return texts
}

// SQLiteFile returns the content of a SQLite file with the world in it.
func SQLiteFile(t testing.TB) []byte {
	file := harness.NewFile(t)
	db := harness.OpenSQLite(t, "file:"+file)
	Build(t, harness.OpenSQLiteStore(t, db))
	require.NoError(t, db.Close())
	bytes, err := os.ReadFile(file)
	require.NoError(t, err)
	return bytes
}
