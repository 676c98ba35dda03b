package e2e

import (
	"context"
	"database/sql"
	"os"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/latchkey-go/latchkey"
	"github.com/latchkey-go/latchkey/sqlstore"
)

// No statement walks through a table, nor through all that an owner has, unless it was asked for a listing.
func TestSQLitePlans(t *testing.T) {
	ctx := context.Background()
	start := template(t)
	listings := map[string]bool{"Tokens": true, "Roles": true, "Clients": true, "Events": true, "Usage": true, "Write: erase": true}
	checked := map[string]bool{}
	for _, op := range operations() {
		file := newFile(t)
		require.NoError(t, os.WriteFile(file, start, 0o600))
		db, f := openFaulty(t, "file:"+file)
		s, err := sqlstore.New(ctx, db, latchkey.SQLite, nil)
		require.NoError(t, err)
		f.begin(op.name, -1, false, nil)
		_, err = op.run(ctx, s)
		require.NoError(t, err)
		require.NoError(t, s.Close())
		for _, l := range f.statements(0) {
			if l.op != op.name || listings[op.name] || checked[l.text] || !strings.Contains(l.text, "latchkey_") {
				continue
			}
			checked[l.text] = true
			for _, step := range plan(t, db, l.text) {
				if strings.HasPrefix(step, "SEARCH o ") || strings.HasPrefix(step, "SEARCH latchkey_owners ") ||
					strings.HasPrefix(step, "SEARCH latchkey_event_seqs ") {
					continue // one row an owner
				}
				bad := strings.HasPrefix(step, "SCAN ") && !strings.HasPrefix(step, "SCAN c") && !strings.HasPrefix(step, "SCAN k") &&
					!strings.HasPrefix(step, "SCAN d") && !strings.HasPrefix(step, "SCAN CONSTANT") &&
					!strings.HasSuffix(step, "-ROW VALUES CLAUSE") ||
					strings.HasSuffix(step, "(owner=?)") || strings.Contains(step, "AUTOMATIC")
				require.False(t, bad, "%s: %s\n%s", op.name, step, l.text)
			}
		}
	}
	require.Greater(t, len(checked), 50)
}

// plan is how SQLite means to run a statement.
func plan(t *testing.T, db *sql.DB, text string) (steps []string) {
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
