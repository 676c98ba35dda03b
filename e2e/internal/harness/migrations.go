package harness

import (
	"io/fs"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/latchkey-go/latchkey"
	"github.com/latchkey-go/latchkey/sqlstore"
)

// Migrations returns how many migrations this version knows. Each engine has as many.
func Migrations(t testing.TB) int {
	t.Helper()
	files, err := sqlstore.Migrations(latchkey.SQLite)
	require.NoError(t, err)
	names, err := fs.Glob(files, "*.sql")
	require.NoError(t, err)
	require.NotEmpty(t, names)
	return len(names)
}
