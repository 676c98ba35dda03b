package sqlite

import (
	"context"
	"database/sql"
	"os"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/latchkey-go/latchkey"
	"github.com/latchkey-go/latchkey/e2e/internal/faulty"
	"github.com/latchkey-go/latchkey/e2e/internal/harness"
	"github.com/latchkey-go/latchkey/e2e/internal/world"
	"github.com/latchkey-go/latchkey/sqlstore"
)

// No statement scans a table, or all records of an owner, unless it is a listing. SQLite may choose another plan once
// ANALYZE has told it how large the tables are.
func TestSQLitePlans(t *testing.T) {
	ctx := context.Background()
	start := world.SQLiteFile(t)
	listings := map[string]bool{"Tokens": true, "Tokens: found, by name": true, "Tokens: by last use": true, "Count": true,
		"Roles": true, "Clients": true, "Events": true, "Usage": true,
		"Write: erase": true, "Write: forget a client": true}
	checked := map[string]bool{}
	listed := 0 // statements that find several rows by two columns
	for _, op := range world.Operations() {
		file := harness.NewFile(t)
		require.NoError(t, os.WriteFile(file, start, 0o600))
		db, f := faulty.OpenSQLite(t, "file:"+file)
		s, err := sqlstore.New(ctx, db, latchkey.SQLite, nil)
		require.NoError(t, err)
		f.Begin(op.Name, -1, false, nil)
		_, err = op.Run(ctx, s)
		require.NoError(t, err)
		require.NoError(t, s.Close())
		large := harness.NewFile(t)
		require.NoError(t, os.WriteFile(large, start, 0o600))
		billion := harness.OpenSQLite(t, "file:"+large)
		analyzeAsLarge(t, billion)
		for _, l := range f.Statements(0) {
			if l.Op != op.Name || listings[op.Name] || checked[l.Text] || !strings.Contains(l.Text, "latchkey_") {
				continue
			}
			checked[l.Text] = true
			if strings.Contains(l.Text, ") OR (owner = ? AND ") {
				listed++
			}
			for _, step := range append(world.Plan(t, db, l.Text), world.Plan(t, billion, l.Text)...) {
				if step == "SCAN e" && strings.Contains(l.Text, "latchkey_epoch e") || step == "SCAN latchkey_epoch" ||
					step == "SCAN latchkey_schema" {
					continue // it has one row
				}
				if strings.HasPrefix(step, "SEARCH o ") || strings.HasPrefix(step, "SEARCH latchkey_owners ") ||
					strings.HasPrefix(step, "SEARCH latchkey_event_seqs ") {
					continue // one row an owner
				}
				bad := strings.HasPrefix(step, "SCAN ") && !strings.HasPrefix(step, "SCAN c") &&
					!strings.HasPrefix(step, "SCAN k") &&
					!strings.HasPrefix(step, "SCAN d") && !strings.HasPrefix(step, "SCAN CONSTANT") &&
					!strings.HasSuffix(step, "-ROW VALUES CLAUSE") ||
					strings.HasSuffix(step, "(owner=?)") || strings.Contains(step, "AUTOMATIC")
				require.False(t, bad, "%s: %s\n%s", op.Name, step, l.Text)
			}
		}
	}
	require.Greater(t, len(checked), 50)
	require.Positive(t, listed)
}

// analyzeAsLarge gives a database the statistics of one with a billion rows in each table, ten of each owner, and a
// million in each index of some rows.
func analyzeAsLarge(t *testing.T, db *sql.DB) {
	db.SetMaxOpenConns(1) // the connection that has read them
	for _, text := range []string{"ANALYZE", "DELETE FROM sqlite_stat1", `INSERT INTO sqlite_stat1 (tbl, idx, stat)
		SELECT m.name, i.name, iif(i.partial, '1000000', '1000000000') ||
			(SELECT group_concat(CASE WHEN seqno + 1 < n THEN ' 10' ELSE ' 1' END, '')
			FROM (SELECT seqno, count(*) OVER () AS n FROM pragma_index_info(i.name)))
		FROM sqlite_schema m, pragma_index_list(m.name) i WHERE m.type = 'table' AND m.name LIKE 'latchkey%'`,
		"ANALYZE sqlite_schema"} {
		_, err := db.Exec(text)
		require.NoError(t, err)
	}
	plan := world.Plan(t, db, "DELETE FROM latchkey_tokens WHERE (owner, id) IN (VALUES (?, ?), (?, ?))")
	require.True(t, strings.HasSuffix(plan[0], "(owner=?)"), "the statistics are taken for none: %s", plan)
}
