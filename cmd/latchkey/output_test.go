package main

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/latchkey-go/latchkey"
)

// What went wrong is told without where in the library it did.
func TestPlainText(t *testing.T) {
	for want, err := range map[string]error{
		"not found": latchkey.ErrNotFound,
		"x1: load token: not found: no such token": fmt.Errorf("x1: latchkey/sqlstore: load token: %w: no such token",
			latchkey.ErrNotFound),
		"a.json: invalid argument: unknown member": fmt.Errorf("a.json: %w: unknown member", latchkey.ErrInvalid),
		`role "latchkey: "`:                        errors.New(`role "latchkey: "`),
	} {
		require.Equal(t, want, plainText(err))
	}
	require.Equal(t, "it failed: a: no b: no", oneLine("it failed:\n\ta: no\r\n\tb: no\n"))
}

// A driver's error of several lines is one finding on one line.
func TestDoctorTellsAnErrorInOneLine(t *testing.T) {
	dir := t.TempDir()
	t.Setenv("LATCHKEY_TEST_DSN", "postgres://u:hunter2@127.0.0.1:1/db")
	require.NoError(t, os.WriteFile(filepath.Join(dir, "s.json"),
		[]byte(`{"format":1,"store":{"engine":"postgres","dsn":{"env":"LATCHKEY_TEST_DSN"}}}`), 0o600))
	r := try(t, dir, "", "-settings", "s.json", "doctor")
	require.Equal(t, exitFindings, r.code)
	require.Regexp(t, `(?m)^fail  database +store unavailable: the database: .*127\.0\.0\.1:1`, r.out)
	require.NotContains(t, r.out, `\u00`)
	require.NotContains(t, r.out+r.err, "hunter2")
}
