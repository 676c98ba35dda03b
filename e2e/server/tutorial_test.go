package server

import (
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/latchkey-go/latchkey/e2e/internal/harness"
)

// The backend of the tutorial runs its own test on PostgreSQL, unchanged.
func TestTutorialOnPostgreSQL(t *testing.T) {
	root, err := harness.Root()
	require.NoError(t, err)
	dsn := harness.Postgres.Place(t)
	test := exec.Command("go", "test", "-count=1", "-run", "^TestBackend$", ".")
	test.Dir = filepath.Join(root, "..", "examples", "tutorial")
	test.Env = append(os.Environ(), "TUTORIAL_DB="+dsn)
	out, err := test.CombinedOutput()
	require.NoError(t, err, string(out))
	var rows int
	require.NoError(t, harness.Postgres.Open(t, dsn).QueryRow(`SELECT COUNT(*) FROM invoices`).Scan(&rows))
	require.Equal(t, 2, rows, "it ran on this database")
}
