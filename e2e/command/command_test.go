// Package command runs the command latchkey beside programs that share its store, on every engine.
package command

import (
	"bytes"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/latchkey-go/latchkey"
	"github.com/latchkey-go/latchkey/e2e/internal/harness"
	"github.com/latchkey-go/latchkey/settings"
	"github.com/latchkey-go/latchkey/sqlstore"
)

func TestMain(m *testing.M) { harness.Main(m) }

// build builds the command in its own module, once.
var build = sync.OnceValues(func() (string, error) {
	dir, err := os.MkdirTemp("", "latchkey-command")
	if err != nil {
		return "", err
	}
	harness.AtEnd(func() { os.RemoveAll(dir) })
	root, err := harness.Root()
	if err != nil {
		return "", err
	}
	binary := filepath.Join(dir, "latchkey")
	cmd := exec.Command("go", "build", "-o", binary, ".")
	cmd.Dir = filepath.Join(root, "..", "cmd", "latchkey")
	cmd.Env = append(os.Environ(), "GOWORK=off")
	if out, err := cmd.CombinedOutput(); err != nil {
		return "", fmt.Errorf("go build: %w\n%s", err, out)
	}
	return binary, nil
})

// deployment is a folder with a settings file, made by init.
type deployment struct {
	t      *testing.T
	dir    string
	binary string
	env    []string
	open   func() *sql.DB // a pool as the application has it
}

// run runs the command, and returns what it printed and its exit code.
func (d *deployment) run(stdin string, args ...string) (out, errs string, code int) {
	d.t.Helper()
	cmd := exec.CommandContext(d.t.Context(), d.binary, args...)
	cmd.Dir, cmd.Stdin = d.dir, strings.NewReader(stdin)
	cmd.Env = append(append(os.Environ(), "LATCHKEY_SETTINGS="), d.env...)
	var stdout, stderr bytes.Buffer
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	err := cmd.Run()
	if exit, ok := errors.AsType[*exec.ExitError](err); ok {
		code = exit.ExitCode()
	} else {
		require.NoError(d.t, err)
	}
	return stdout.String(), stderr.String(), code
}

// must is run for what has to succeed.
func (d *deployment) must(stdin string, args ...string) string {
	d.t.Helper()
	out, errs, code := d.run(stdin, args...)
	require.Zero(d.t, code, "latchkey %s\n%s%s", strings.Join(args, " "), out, errs)
	return out
}

// application returns a Manager as a program has it that reads the same settings file.
func (d *deployment) application(maxStale time.Duration) *latchkey.Manager {
	d.t.Helper()
	for _, variable := range d.env {
		name, value, _ := strings.Cut(variable, "=")
		d.t.Setenv(name, value)
	}
	s, err := settings.Read(filepath.Join(d.dir, "latchkey.json"))
	require.NoError(d.t, err)
	opts, err := s.Options()
	require.NoError(d.t, err)
	opts.MaxStale = maxStale
	store, err := sqlstore.New(d.t.Context(), d.open(), s.Engine().Dialect(), nil)
	require.NoError(d.t, err)
	return latchkey.New(store, opts)
}

// onEngines runs a test with a deployment on each engine, which init has not made yet.
func onEngines(t *testing.T, test func(t *testing.T, d *deployment, initArgs []string)) {
	binary, err := build()
	require.NoError(t, err)
	t.Run("SQLite", func(t *testing.T) {
		d := &deployment{t: t, dir: t.TempDir(), binary: binary}
		d.open = func() *sql.DB { return harness.OpenSQLite(t, harness.WAL(filepath.Join(d.dir, "latchkey.db"))) }
		test(t, d, nil)
	})
	harness.OnEngines(t, func(t *testing.T, e *harness.Engine) {
		dsn, engine := e.Place(t), "postgres"
		if e.Dialect == latchkey.MySQL {
			engine = "mysql"
		}
		d := &deployment{t: t, dir: t.TempDir(), binary: binary, env: []string{"LATCHKEY_TEST_DSN=" + dsn}}
		d.open = func() *sql.DB { return e.Open(t, dsn) }
		test(t, d, []string{"-engine", engine, "-dsn-env", "LATCHKEY_TEST_DSN"})
	})
}

// What the command changes, every program hears: at once without MaxStale, and within it otherwise. It works whether
// programs run or not.
func TestProgramsHearWhatTheCommandChanges(t *testing.T) {
	onEngines(t, func(t *testing.T, d *deployment, initArgs []string) {
		ctx := t.Context()
		initArgs = append([]string{"init", "-owner", "acme", "-first-key", "admin"}, initArgs...)
		key := strings.TrimSpace(d.must("", initArgs...))
		exact, cached := d.application(0), d.application(100*time.Millisecond)
		refused := func(secret string, want error) {
			t.Helper()
			_, err := exact.Verify(ctx, latchkey.Presented{Secret: secret})
			require.ErrorIs(t, err, want, "by the next Verify")
			harness.Eventually(t, "the change is heard", func() bool {
				_, err := cached.Verify(ctx, latchkey.Presented{Secret: secret})
				return errors.Is(err, want)
			})
		}
		accepted := func(secret string) {
			t.Helper()
			_, err := exact.Verify(ctx, latchkey.Presented{Secret: secret})
			require.NoError(t, err)
			harness.Eventually(t, "the change is heard", func() bool {
				_, err := cached.Verify(ctx, latchkey.Presented{Secret: secret})
				return err == nil
			})
		}
		accepted(key)
		var token struct{ ID string }
		require.NoError(t, json.Unmarshal([]byte(d.must("", "list", "-json")), &token))

		d.must("", "disable", token.ID)
		refused(key, latchkey.ErrDisabled)
		d.must("", "enable", token.ID)
		accepted(key)
		next := strings.TrimSpace(d.must("", "rotate", token.ID, "-reason", "it leaked"))
		refused(key, latchkey.ErrUnknownToken)
		accepted(next)
		require.Contains(t, d.must(next+"\n", "verify"), "valid")

		// What a program issued, the command finds, and the other way round.
		_, theirs, err := exact.For("globex").Issue(ctx, latchkey.Spec{Kind: latchkey.KindAPIKey, Name: "theirs"})
		require.NoError(t, err)
		require.Contains(t, d.must(theirs.Reveal(), "verify", "-json"), `"name":"theirs"`)
		require.Contains(t, d.must(theirs.Reveal(), "revoke", "-stdin", "-reason", "found"), `of the owner "globex"`)
		refused(theirs.Reveal(), latchkey.ErrRevoked)
		ours := strings.TrimSpace(d.must("", "issue", "-name", "ours", "-owner", "globex"))
		accepted(ours)
		d.must("", "revoke", "-all", "-owner", "globex", "-yes", "-reason", "gone")
		refused(ours, latchkey.ErrRevoked)

		// The audit trail says who, and why.
		var trail []string
		for e, err := range exact.For("acme").Events(ctx, latchkey.EventQuery{}) {
			require.NoError(t, err)
			require.Regexp(t, `^host:.+`, e.Actor)
			trail = append(trail, e.Action+" "+e.Reason)
		}
		require.Equal(t, []string{"token.issue ", "token.update ", "token.update ", "token.rotate it leaked"}, trail)
	})
}

// A process with another keyring makes nothing, because the others would not find it.
func TestRefusalsOnEveryEngine(t *testing.T) {
	onEngines(t, func(t *testing.T, d *deployment, initArgs []string) {
		d.must("", append([]string{"init", "-owner", "acme", "-first-key", "admin"}, initArgs...)...)
		require.NoError(t, os.Rename(filepath.Join(d.dir, "latchkey.key"), filepath.Join(d.dir, "old.key")))
		ring, err := latchkey.GenerateKey(nil, 2)
		require.NoError(t, err)
		other, err := latchkey.NewKeyring(ring)
		require.NoError(t, err)
		require.NoError(t, os.WriteFile(filepath.Join(d.dir, "latchkey.key"), []byte(other.Export().Reveal()), 0o600))
		out, errs, code := d.run("", "issue")
		require.Equal(t, 4, code, errs)
		require.Empty(t, out)
		require.Contains(t, errs, "the store has secrets under key 1, which the keyring lacks")

		// with the old key behind the new one
		old, err := os.ReadFile(filepath.Join(d.dir, "old.key"))
		require.NoError(t, err)
		both := other.Export().Reveal() + string(old)
		require.NoError(t, os.WriteFile(filepath.Join(d.dir, "latchkey.key"), []byte(both), 0o600))
		key := d.must("", "issue", "-name", "second")
		d.must(key, "verify")
	})
}
