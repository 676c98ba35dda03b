package sqlite

import (
	"context"
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

// No statement scans a table, or all records of an owner, unless it is a listing.
func TestSQLitePlans(t *testing.T) {
	ctx := context.Background()
	start := world.SQLiteFile(t)
	listings := map[string]bool{"Tokens": true, "Tokens: found, by name": true, "Tokens: by last use": true, "Count": true,
		"Roles": true, "Clients": true, "Events": true, "Usage": true,
		"Write: erase": true, "Write: forget a client": true}
	checked := map[string]bool{}
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
		for _, l := range f.Statements(0) {
			if l.Op != op.Name || listings[op.Name] || checked[l.Text] || !strings.Contains(l.Text, "latchkey_") {
				continue
			}
			checked[l.Text] = true
			for _, step := range world.Plan(t, db, l.Text) {
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
}
