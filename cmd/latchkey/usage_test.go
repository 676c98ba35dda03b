package main

import (
	"bufio"
	"context"
	"database/sql"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/latchkey-go/latchkey"
	"github.com/latchkey-go/latchkey/settings"
	"github.com/latchkey-go/latchkey/sqlstore"
)

// application returns a Manager as the application has it beside the command, by the same settings file.
func application(t *testing.T, dir string) *latchkey.Manager {
	t.Helper()
	s, err := settings.Read(filepath.Join(dir, "latchkey.json"))
	require.NoError(t, err)
	o, err := s.Options()
	require.NoError(t, err)
	path, err := s.DSN()
	require.NoError(t, err)
	db, err := sql.Open("sqlite", "file:"+path+"?_pragma=busy_timeout(10000)&_pragma=journal_mode(WAL)")
	require.NoError(t, err)
	store, err := sqlstore.New(t.Context(), db, latchkey.SQLite, nil)
	require.NoError(t, err)
	keys := latchkey.New(store, o)
	t.Cleanup(func() {
		require.NoError(t, keys.Close(context.Background()))
		require.NoError(t, store.Close())
		require.NoError(t, db.Close())
	})
	return keys
}

func TestUsage(t *testing.T) {
	dir := t.TempDir()
	secret := strings.TrimSpace(must(t, dir, "", "init", "-owner", "acme", "-first-key", "admin"))
	keys := application(t, dir)
	access, err := keys.Verify(t.Context(), latchkey.Presented{Secret: secret})
	require.NoError(t, err)
	access.Count("calls", "list", 2, 1_500_000)
	access.Count("calls", "=cmd|' /C calc'!A0", 1)
	access.Count("bytes", "list", 7)
	require.NoError(t, keys.For("acme").Revoke(t.Context(), access.TokenID(), ""))
	_, err = keys.Verify(t.Context(), latchkey.Presented{Secret: secret})
	require.ErrorIs(t, err, latchkey.ErrInvalidToken)
	require.NoError(t, keys.Close(t.Context()))

	require.Equal(t, "COUNT  CREDITS\n10     1.5\n", must(t, dir, "", "usage"))
	require.Equal(t, "METER  COUNT  CREDITS\nbytes  7      0\ncalls  3      1.5\n",
		must(t, dir, "", "usage", "-by", "meter"))
	require.Equal(t, "COUNT  CREDITS\n7      0\n", must(t, dir, "", "usage", "-meter", "bytes"))
	require.Equal(t, "COUNT  CREDITS\n0      0\n", must(t, dir, "", "usage", "-month", "2001-02"))
	require.Equal(t, "meter,endpoint,count,credits\nbytes,list,7,0\ncalls,'=cmd|' /C calc'!A0,1,0\ncalls,list,2,1.5\n",
		must(t, dir, "", "usage", "-by", "meter", "-by", "endpoint", "-csv"), "no cell is a formula")
	require.Contains(t, must(t, dir, "", "usage", "-by", "meter", "-json"),
		`{"owner":"acme","meter":"calls","count":3,"credits":1500000}`)
	require.Equal(t, "REASON   COUNT\nrevoked  1\n", must(t, dir, "", "usage", "-refusals", "-by", "reason"))
	require.Contains(t, must(t, dir, "", "usage", "-refusals", "-json"), `"reason":"revoked"`)
	for _, args := range [][]string{{"-month", "2026"}, {"-month", "2026-11", "-from", "2026-11-01"},
		{"-from", "yesterday"}, {"-by", "reason"}, {"-refusals", "-by", "meter"}, {"-refusals", "-meter", "a"},
		{"-csv", "-json"}, {"-by", "owner"}} {
		require.Equal(t, exitUsage, try(t, dir, "", append([]string{"usage"}, args...)...).code, args)
	}
}

// With -f what another process writes is shown as it comes, and an interruption is the usual end.
func TestAuditFollows(t *testing.T) {
	dir := t.TempDir()
	must(t, dir, "", "init", "-owner", "acme", "-first-key", "admin")
	cmd := exec.Command(binary(), "audit", "-f", "-json")
	cmd.Dir, cmd.Stderr = dir, os.Stderr
	out, err := cmd.StdoutPipe()
	require.NoError(t, err)
	require.NoError(t, cmd.Start())
	lines := bufio.NewScanner(out)
	next := func() string {
		require.True(t, lines.Scan(), "the command ended")
		return lines.Text()
	}
	require.Contains(t, next(), `"seq":1,`)
	must(t, dir, "", "issue", "-name", "one", "-kind", "secret")
	require.Contains(t, next(), `"seq":2,`)
	must(t, dir, "", "issue", "-name", "two", "-kind", "secret")
	require.Contains(t, next(), `"seq":3,`)
	require.NoError(t, cmd.Process.Signal(os.Interrupt))
	require.False(t, lines.Scan())
	require.NoError(t, cmd.Wait())
}
