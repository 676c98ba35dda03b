//go:build unix

package main

import (
	"path/filepath"
	"syscall"
	"testing"

	"github.com/stretchr/testify/require"
)

// A pipe cannot be read twice, and opening one waits for its writer, also after Ctrl-C.
func TestImportTakesNoPipe(t *testing.T) {
	dir := t.TempDir()
	must(t, dir, "", "init", "-owner", "acme")
	require.NoError(t, syscall.Mkfifo(filepath.Join(dir, "pipe"), 0o600))
	for _, args := range [][]string{{"import", "pipe"}, {"import", "-check", "pipe"}} {
		r := try(t, dir, "", args...)
		require.Equal(t, exitUsage, r.code, r.err)
		require.Contains(t, r.err, "pipe is no ordinary file")
	}
}
