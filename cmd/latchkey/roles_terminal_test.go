//go:build !windows

package main

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"
)

// On a terminal "roles apply" shows the plan, and asks.
func TestRolesApplyAsks(t *testing.T) {
	dir := t.TempDir()
	must(t, dir, "", "init", "-owner", "acme")
	require.NoError(t, os.WriteFile(filepath.Join(dir, "roles.json"), []byte(`{"format": 1, "owners": {"acme": {"roles": [
		{"name": "viewer", "permissions": [{"allow": ["read"], "on": ["dataset/*"]}]}]}}}`), 0o600))
	term := onTerminal(t, dir, []string{"NO_COLOR=1"}, "roles", "apply", "roles.json")
	term.until("Make these changes? [y/N] ")
	require.Contains(t, term.screen(), "+  1  allow read on dataset/*")
	term.typed("n\n")
	require.Equal(t, exitRefused, term.exit(), term.screen())
	require.Equal(t, exitFindings, try(t, dir, "", "roles", "plan", "roles.json").code, "nothing was changed")

	term = onTerminal(t, dir, []string{"NO_COLOR=1"}, "roles", "apply", "roles.json")
	term.until("[y/N] ")
	must(t, dir, "", "roles", "apply", "-yes", "roles.json") // somebody else was faster
	term.typed("y\n")
	require.Equal(t, exitRefused, term.exit(), term.screen())
	require.Contains(t, term.screen(), "it has changed since the plan was made")
	require.Contains(t, term.screen(), "run the command again")

	require.NoError(t, os.WriteFile(filepath.Join(dir, "roles.json"), []byte(`{"format": 1, "owners": {"acme": {"roles": [
		{"name": "viewer"}]}}}`), 0o600))
	term = onTerminal(t, dir, []string{"TERM=xterm"}, "roles", "apply", "roles.json")
	term.until("[y/N] ")
	require.Contains(t, term.screen(), "\x1b[31m", "what is removed is red")
	term.typed("y\n")
	require.Equal(t, exitDone, term.exit(), term.screen())
	require.Equal(t, exitDone, try(t, dir, "", "roles", "plan", "roles.json").code)
}
