package harness

import (
	"database/sql"
	"errors"
	"fmt"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/stretchr/testify/require"

	"github.com/latchkey-go/latchkey"
	"github.com/latchkey-go/latchkey/sqlstore"
)

// One PostgreSQL and one MariaDB serve all tests of a process. The first test that needs one starts it, in a folder of
// its own, as a user without rights, on a socket that nobody else reaches. To test against a server of one's own:
//
//	LATCHKEY_POSTGRES_DSN='postgres://user:password@host/database'  the user may create schemas there
//	LATCHKEY_MYSQL_DSN='user:password@tcp(host:3306)/'              the user may create databases

// Engine is a database server that stores are tested on.
type Engine struct {
	Name    string
	Dialect latchkey.Dialect
	Driver  string
	Env     string // the variable that names a server of one's own
	Start   func(e *Engine) (dsn string, err error)
	DataDir string // what the server says its folder is
	// create and drop are about a place of a test, and in makes the DSN of it.
	Create, Drop string
	In           func(dsn, place string) (string, error)
	Durable      bool // what is committed reaches the disk, as a benchmark wants it

	once    sync.Once
	failed  error
	DSN     string
	Admin   *sql.DB
	Folder  string
	Process *exec.Cmd
	Beside  *exec.Cmd // a pooler
	Log     LockedBuffer
	Ended   chan struct{}
	Quit    syscall.Signal
}

var Engines = []*Engine{Postgres, MariaDB}

// With adds a setting that each connection of a DSN begins with.
func (e *Engine) With(t testing.TB, dsn, setting, value string) string {
	t.Helper()
	if e.Dialect == latchkey.Postgres {
		dsn, err := PostgresSetting(dsn, setting, value)
		require.NoError(t, err)
		return dsn
	}
	separator := "?"
	if strings.Contains(dsn, "?") {
		separator = "&"
	}
	return dsn + separator + setting + "=" + url.QueryEscape(value)
}

// OnEngines runs a test on each.
func OnEngines(t *testing.T, test func(t *testing.T, e *Engine)) {
	for _, e := range Engines {
		t.Run(e.Name, func(t *testing.T) { test(t, e) })
	}
}

// Place returns the DSN of an empty schema or database of the test's own. Without a server the test fails.
func (e *Engine) Place(t testing.TB) string {
	t.Helper()
	e.once.Do(func() { e.failed = e.run() })
	require.NoError(t, e.failed, "%s must run; %s can name a server of your own", e.Name, e.Env)
	name := "latchkey_test_" + strings.ReplaceAll(uuid.NewString(), "-", "")
	_, err := e.Admin.Exec(fmt.Sprintf(e.Create, name))
	require.NoError(t, err)
	if e.Process == nil { // ours goes as a whole
		t.Cleanup(func() {
			_, err := e.Admin.Exec(fmt.Sprintf(e.Drop, name))
			require.NoError(t, err)
		})
	}
	dsn, err := e.In(e.DSN, name)
	require.NoError(t, err)
	return dsn
}

// Open opens a pool of its own, as another process has.
func (e *Engine) Open(t testing.TB, dsn string) *sql.DB {
	t.Helper()
	db, err := sql.Open(e.Driver, dsn)
	require.NoError(t, err)
	t.Cleanup(func() { db.Close() })
	db.SetMaxOpenConns(16)
	db.SetMaxIdleConns(16)
	return db
}

// Store migrates and opens a store on a pool of its own.
func (e *Engine) Store(t testing.TB, dsn string) *sqlstore.Store {
	t.Helper()
	return OpenStore(t, e.Open(t, dsn), e.Dialect)
}

func (e *Engine) run() (err error) {
	if e.DSN = os.Getenv(e.Env); e.Env != "" && e.DSN != "" {
		e.Admin, err = sql.Open(e.Driver, e.DSN)
		return errors.Join(err, e.Admin.Ping())
	}
	if err := e.MakeFolder(); err != nil {
		return err
	}
	if e.DSN, err = e.Start(e); err != nil {
		return fmt.Errorf("starting %s: %w\n%s", e.Name, err, e.Log.String())
	}
	if e.Admin, err = sql.Open(e.Driver, e.DSN); err != nil {
		return err
	}
	return e.Ready()
}

// MakeFolder makes the folder of a server. From then on the end of the tests stops the server and removes the folder.
func (e *Engine) MakeFolder() (err error) {
	AtEnd(e.Stop)
	if e.Folder, err = os.MkdirTemp("", "lk-"); err == nil && os.Geteuid() == 0 {
		err = os.Chown(e.Folder, Nobody, Nobody)
	}
	return err
}

// Ready waits until the server answers, and makes sure that it is the one that was started.
func (e *Engine) Ready() error {
	var err error
	for deadline := time.Now().Add(3 * time.Minute); time.Now().Before(deadline); time.Sleep(20 * time.Millisecond) {
		select {
		case <-e.Ended:
			return fmt.Errorf("%s ended at once:\n%s", e.Name, e.Log.String())
		default:
		}
		var folder string
		if err = e.Admin.QueryRow(e.DataDir).Scan(&folder); err != nil {
			continue
		}
		if filepath.Clean(folder) != filepath.Join(e.Folder, "data") {
			return fmt.Errorf("another server answers: its data lie in %s", folder)
		}
		return nil
	}
	return fmt.Errorf("%s does not answer: %w\n%s", e.Name, err, e.Log.String())
}

func (e *Engine) Stop() {
	if e.Admin != nil {
		e.Admin.Close()
	}
	if e.Beside != nil {
		_ = e.Beside.Process.Kill()
		_ = e.Beside.Wait()
	}
	if e.Process != nil {
		_ = e.Process.Process.Signal(e.Quit)
		select {
		case <-e.Ended:
		case <-time.After(20 * time.Second):
			_ = e.Process.Process.Kill()
			<-e.Ended
		}
	}
	if e.Folder != "" {
		os.RemoveAll(e.Folder)
	}
}

// Nobody is the user and the group of Debian that may do nothing.
const Nobody = 65534

// Command is a program of the server's, run by nobody if this is root: no database server likes to be root.
func (e *Engine) Command(name string, args ...string) *exec.Cmd {
	cmd := exec.Command(name, args...)
	cmd.Dir = e.Folder
	cmd.Env = []string{"PATH=" + os.Getenv("PATH") + ":/usr/sbin:/sbin", "HOME=" + e.Folder, "TMPDIR=" + e.Folder, "LC_ALL=C"}
	cmd.Stdout, cmd.Stderr = &e.Log, &e.Log
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: e.Quit} // a test that is killed leaves no server behind
	if os.Geteuid() == 0 {
		cmd.SysProcAttr.Credential = &syscall.Credential{Uid: Nobody, Gid: Nobody}
	}
	return cmd
}

// Serve starts the server, of which this process is the parent: one that ended must not stay as a zombie.
func (e *Engine) Serve(name string, args ...string) error {
	cmd := e.Command(name, args...)
	if err := cmd.Start(); err != nil {
		return err
	}
	e.Process, e.Ended = cmd, make(chan struct{})
	go func() {
		_ = cmd.Wait()
		close(e.Ended)
	}()
	return nil
}

// Program finds a program in the PATH or in one of the folders; the first folder that has it wins where it is not in the
// PATH.
func Program(name string, folders ...string) (string, error) {
	if found, err := exec.LookPath(name); err == nil {
		return found, nil
	}
	for _, folder := range folders {
		if found, err := exec.LookPath(filepath.Join(folder, name)); folder != "" && err == nil {
			return found, nil
		}
	}
	return "", fmt.Errorf("%s is not installed: run scripts/install", name)
}

func (e *Engine) Exec(t testing.TB, statements ...string) {
	t.Helper()
	for _, s := range statements {
		_, err := e.Admin.Exec(s)
		require.NoError(t, err, s)
	}
}
