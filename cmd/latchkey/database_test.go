package main

import (
	"database/sql"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"
)

// While another program writes SQLite's file for long, the command says that the store is busy: try again.
func TestBusySQLiteIsUnavailable(t *testing.T) {
	t.Parallel() // it waits for the time that the command waits
	dir := t.TempDir()
	must(t, dir, "", "init", "-owner", "acme")
	db, err := sql.Open("sqlite", filepath.Join(dir, "latchkey.db"))
	require.NoError(t, err)
	defer db.Close()
	conn, err := db.Conn(t.Context())
	require.NoError(t, err)
	defer conn.Close()
	_, err = conn.ExecContext(t.Context(), "BEGIN IMMEDIATE")
	require.NoError(t, err)
	r := try(t, dir, "", "issue", "-name", "x")
	require.Equal(t, exitUnavailable, r.code, r.err)
	require.Contains(t, r.err, "another program")
	require.NotContains(t, r.err, "latchkey migrate")
	require.Empty(t, r.out)
	_, err = conn.ExecContext(t.Context(), "ROLLBACK")
	require.NoError(t, err)
	must(t, dir, "", "issue", "-name", "x")
}
