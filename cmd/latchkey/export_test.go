//go:build unix

package main

import (
	"bytes"
	"os"
	"os/exec"
	"testing"

	"github.com/stretchr/testify/require"
)

// A pipe cannot be read twice, and opening a named one waits for its writer, also after Ctrl-C.
func TestImportTakesNoPipe(t *testing.T) {
	dir := t.TempDir()
	must(t, dir, "", "init", "-owner", "acme")
	for _, args := range [][]string{{"import", "/dev/fd/3"}, {"import", "-check", "/dev/fd/3"}} {
		r, w, err := os.Pipe()
		require.NoError(t, err)
		require.NoError(t, w.Close())
		cmd := exec.Command(binary(), args...)
		cmd.Dir, cmd.Env, cmd.ExtraFiles = dir, append(os.Environ(), "LATCHKEY_SETTINGS="), []*os.File{r}
		var said bytes.Buffer
		cmd.Stderr = &said
		require.Error(t, cmd.Run())
		require.NoError(t, r.Close())
		require.Equal(t, exitUsage, cmd.ProcessState.ExitCode(), said.String())
		require.Contains(t, said.String(), "is no ordinary file")
	}
}
