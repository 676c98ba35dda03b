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

// Engine is a database server that stores are tested on. The first call of Place starts it, in a temporary folder, as a
// user without rights, on a Unix socket in that folder. To test against a running server, name it in the environment:
//
//	LATCHKEY_POSTGRES_DSN='postgres://user:password@host/database'  the user may create schemas there
//	LATCHKEY_MYSQL_DSN='user:password@tcp(host:3306)/'              the user may create databases
type Engine struct {
	Name    string // of subtests
	Dialect latchkey.Dialect
	Driver  string // of database/sql

	Env     string                                  // the variable that names a running server; "": there is none
	Start   func(e *Engine) (dsn string, err error) // starts the server in Folder
	DataDir string                                  // the query for the server's data directory
	// statements for the schema or database of a test, with %s for its name
	Create, Drop string
	In           func(dsn, place string) (string, error) // returns the DSN of that schema or database
	Quit         syscall.Signal                          // what ends the server
	Durable      bool                                    // commits reach the disk, as a benchmark needs it
	// Programs is the folder of the server's programs. Libraries are those of libraries that only they use, separated by
	// colons. "": those of the system.
	Programs, Libraries string
	// Host is where the server runs. Nil: in the network of the tests.
	Host *Host

	// What follows is set when the server is started. Process is nil if Env names a running server.
	DSN     string
	Admin   *sql.DB // a pool of an administrator
	Folder  string  // holds data and sockets
	Process *exec.Cmd
	Beside  *exec.Cmd     // a pooler before the server; nil: there is none
	Log     LockedBuffer  // what the server printed
	Ended   chan struct{} // closed when Process has ended

	once   sync.Once
	failed error
}

// Engines are the servers that all tests of a process share.
var Engines = []*Engine{Postgres, MariaDB}

// Another returns an engine of the same kind, which is not started.
func (e *Engine) Another() *Engine {
	return &Engine{Name: e.Name, Dialect: e.Dialect, Driver: e.Driver, Env: e.Env, Start: e.Start, DataDir: e.DataDir,
		Create: e.Create, Drop: e.Drop, In: e.In, Quit: e.Quit}
}

// With returns the DSN with a setting that each connection of it begins with.
func (e *Engine) With(t testing.TB, dsn, setting, value string) string {
	t.Helper()
	if e.Dialect == latchkey.Postgres {
		dsn, err := PostgresSetting(dsn, setting, value)
		require.NoError(t, err)
		return dsn
	}
	return addSetting(dsn, setting, value)
}

// addSetting is With for a DSN of MariaDB.
func addSetting(dsn, setting, value string) string {
	separator := "?"
	if strings.Contains(dsn, "?") {
		separator = "&"
	}
	return dsn + separator + setting + "=" + url.QueryEscape(value)
}

// OnEngines runs a test on PostgreSQL and on MariaDB.
func OnEngines(t *testing.T, test func(t *testing.T, e *Engine)) {
	for _, e := range Engines {
		t.Run(e.Name, func(t *testing.T) { test(t, e) })
	}
}

// Place returns the DSN of an empty schema or database for this test alone. If no server can be started, the test
// fails.
func (e *Engine) Place(t testing.TB) string {
	t.Helper()
	e.once.Do(func() { e.failed = e.run() })
	require.NoError(t, e.failed, e.mustRun())
	name := "latchkey_test_" + strings.ReplaceAll(uuid.NewString(), "-", "")
	_, err := e.Admin.Exec(fmt.Sprintf(e.Create, name))
	require.NoError(t, err)
	if e.Process == nil { // a server that was started here is removed as a whole
		t.Cleanup(func() {
			_, err := e.Admin.Exec(fmt.Sprintf(e.Drop, name))
			require.NoError(t, err)
		})
	}
	dsn, err := e.In(e.DSN, name)
	require.NoError(t, err)
	return dsn
}

func (e *Engine) mustRun() string {
	if e.Env == "" {
		return e.Name + " must run"
	}
	return fmt.Sprintf("%s must run; %s can name a server of your own", e.Name, e.Env)
}

// Open opens a new pool, as another process has. The end of the test closes it.
func (e *Engine) Open(t testing.TB, dsn string) *sql.DB {
	t.Helper()
	db, err := sql.Open(e.Driver, dsn)
	require.NoError(t, err)
	t.Cleanup(func() { db.Close() })
	db.SetMaxOpenConns(16)
	db.SetMaxIdleConns(16)
	return db
}

// Store migrates a database and opens a store on a new pool.
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

// MakeFolder makes Folder. The end of the tests calls Stop.
func (e *Engine) MakeFolder() (err error) {
	AtEnd(e.Stop)
	if e.Folder, err = os.MkdirTemp("", "lk-"); err == nil && os.Geteuid() == 0 {
		err = os.Chown(e.Folder, Nobody, Nobody)
	}
	return err
}

// Ready waits until the server answers, and checks that it is the one that was started.
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

// Stop stops the server and removes its folder. It may be called more than once.
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

// Nobody is the id of the user and of the group nobody in Debian.
const Nobody = 65534

// Command returns a command that is run in Folder, and as nobody if this process is root: database servers refuse root.
// Its output goes to Log.
func (e *Engine) Command(name string, args ...string) *exec.Cmd {
	cmd := exec.Command(name, args...)
	cmd.Dir = e.Folder
	cmd.Env = []string{"PATH=" + os.Getenv("PATH") + ":/usr/sbin:/sbin", "HOME=" + e.Folder, "TMPDIR=" + e.Folder,
		"LC_ALL=C"}
	if e.Libraries != "" && filepath.Dir(name) == e.Programs {
		cmd.Env = append(cmd.Env, "LD_LIBRARY_PATH="+e.Libraries)
	}
	cmd.Stdout, cmd.Stderr = &e.Log, &e.Log
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: e.Quit} // a test process that is killed leaves no server behind
	if os.Geteuid() == 0 {
		cmd.SysProcAttr.Credential = &syscall.Credential{Uid: Nobody, Gid: Nobody}
	}
	return cmd
}

// Serve starts the server and sets Process and Ended. It waits for the end, as a server that ended must not remain a
// zombie.
func (e *Engine) Serve(name string, args ...string) error {
	cmd := e.Command(name, args...)
	start := cmd.Start
	if e.Host != nil {
		start = func() error { return e.Host.Do(cmd.Start) }
	}
	if err := start(); err != nil {
		return err
	}
	e.Process, e.Ended = cmd, make(chan struct{})
	go func() {
		_ = cmd.Wait()
		close(e.Ended)
	}()
	return nil
}

// Program returns the path of a program: in PATH, or else in the first of the folders that has it. Empty folders are
// ignored.
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

// Exec executes statements as an administrator.
func (e *Engine) Exec(t testing.TB, statements ...string) {
	t.Helper()
	for _, s := range statements {
		_, err := e.Admin.Exec(s)
		require.NoError(t, err, s)
	}
}
