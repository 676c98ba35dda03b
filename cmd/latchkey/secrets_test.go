package main

import (
	"bytes"
	"encoding/json"
	"os"
	"os/exec"
	"testing"

	"github.com/stretchr/testify/require"
)

// Nobody reads the secret that was made: the command says which token has it. It does not just end by SIGPIPE.
func TestSecretThatNobodyReads(t *testing.T) {
	dir := t.TempDir()
	must(t, dir, "", "init", "-owner", "acme", "-first-key", "admin")
	var admin struct{ ID string }
	require.NoError(t, json.Unmarshal([]byte(must(t, dir, "", "list", "-json")), &admin))
	for _, args := range [][]string{
		{"issue", "-name", "lost"}, {"issue", "-json"}, {"rotate", admin.ID},
		{"init", "-settings", "a.json", "-db", "a.db", "-owner", "acme", "-first-key", "x"},
		{"init", "-settings", "b.json", "-db", "b.db", "-owner", "acme", "-first-key", "x", "-json"},
	} {
		cmd := exec.Command(binary(), args...)
		cmd.Dir, cmd.Env = dir, append(os.Environ(), "LATCHKEY_SETTINGS=")
		r, w, err := os.Pipe()
		require.NoError(t, err)
		require.NoError(t, r.Close())
		var said bytes.Buffer
		cmd.Stdout, cmd.Stderr = w, &said
		require.Error(t, cmd.Run())
		require.NoError(t, w.Close())
		require.Equal(t, exitFailed, cmd.ProcessState.ExitCode(), "%v: %s", args, said.String())
		require.Regexp(t, `the token [0-9a-f-]{36} was (made|rotated), and its (new )?secret could not be written`,
			said.String())
	}
}
