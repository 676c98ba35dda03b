package e2e

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/go-sql-driver/mysql"
	"github.com/google/uuid"
	_ "github.com/jackc/pgx/v5/stdlib"
	"github.com/stretchr/testify/require"

	"github.com/latchkey-go/latchkey"
	"github.com/latchkey-go/latchkey/sqlstore"
)

// One PostgreSQL and one MariaDB serve all tests of a process. The first test that needs one starts it, in a folder of
// its own, as a user without rights, on a socket that nobody else reaches. To test against a server of one's own:
//
//	LATCHKEY_POSTGRES_DSN='postgres://user:password@host/database'  the user may create schemas there
//	LATCHKEY_MYSQL_DSN='user:password@tcp(host:3306)/'              the user may create databases

// sqlEngine is a database server that stores are tested on.
type sqlEngine struct {
	name    string
	dialect latchkey.Dialect
	driver  string
	env     string // the variable that names a server of one's own
	start   func(e *sqlEngine) (dsn string, err error)
	dataDir string // what the server says its folder is
	// create and drop are about a place of a test, and in makes the DSN of it.
	create, drop string
	in           func(dsn, place string) (string, error)
	durable      bool // what is committed reaches the disk, as a benchmark wants it

	once    sync.Once
	failed  error
	dsn     string
	admin   *sql.DB
	folder  string
	process *exec.Cmd
	beside  *exec.Cmd // a pooler
	log     lockedBuffer
	ended   chan struct{}
	quit    syscall.Signal
}

var postgres = &sqlEngine{
	name: "PostgreSQL", dialect: latchkey.Postgres, driver: "pgx", env: "LATCHKEY_POSTGRES_DSN",
	start: startPostgres, dataDir: "SHOW data_directory", quit: syscall.SIGINT,
	create: "CREATE SCHEMA %s", drop: "DROP SCHEMA %s CASCADE",
	in: func(dsn, place string) (string, error) { return pgSetting(dsn, "search_path", place) },
}

var mariadb = &sqlEngine{
	name: "MariaDB", dialect: latchkey.MySQL, driver: "mysql", env: "LATCHKEY_MYSQL_DSN",
	start: startMariaDB, dataDir: "SELECT @@datadir", quit: syscall.SIGTERM,
	create: "CREATE DATABASE %s", drop: "DROP DATABASE %s",
	in: func(dsn, place string) (string, error) {
		config, err := mysql.ParseDSN(dsn)
		if err != nil {
			return "", err
		}
		config.DBName = place
		return config.FormatDSN(), nil
	},
}

var sqlEngines = []*sqlEngine{postgres, mariadb}

// pgSetting adds a setting to a DSN of either form.
func pgSetting(dsn, name, value string) (string, error) {
	if !strings.Contains(dsn, "://") {
		return dsn + " " + name + "='" + value + "'", nil
	}
	u, err := url.Parse(dsn)
	if err != nil {
		return "", err
	}
	q := u.Query()
	q.Set(name, value)
	u.RawQuery = q.Encode()
	return u.String(), nil
}

// with adds a setting that each connection of a DSN begins with.
func (e *sqlEngine) with(t testing.TB, dsn, setting, value string) string {
	t.Helper()
	if e.dialect == latchkey.Postgres {
		dsn, err := pgSetting(dsn, setting, value)
		require.NoError(t, err)
		return dsn
	}
	separator := "?"
	if strings.Contains(dsn, "?") {
		separator = "&"
	}
	return dsn + separator + setting + "=" + url.QueryEscape(value)
}

// onEngines runs a test on each.
func onEngines(t *testing.T, test func(t *testing.T, e *sqlEngine)) {
	for _, e := range sqlEngines {
		t.Run(e.name, func(t *testing.T) { test(t, e) })
	}
}

// place returns the DSN of an empty schema or database of the test's own. Without a server the test fails.
func (e *sqlEngine) place(t testing.TB) string {
	t.Helper()
	e.once.Do(func() { e.failed = e.run() })
	require.NoError(t, e.failed, "%s must run; %s can name a server of your own", e.name, e.env)
	name := "latchkey_test_" + strings.ReplaceAll(uuid.NewString(), "-", "")
	_, err := e.admin.Exec(fmt.Sprintf(e.create, name))
	require.NoError(t, err)
	if e.process == nil { // ours goes as a whole
		t.Cleanup(func() {
			_, err := e.admin.Exec(fmt.Sprintf(e.drop, name))
			require.NoError(t, err)
		})
	}
	dsn, err := e.in(e.dsn, name)
	require.NoError(t, err)
	return dsn
}

// open opens a pool of its own, as another process has.
func (e *sqlEngine) open(t testing.TB, dsn string) *sql.DB {
	t.Helper()
	db, err := sql.Open(e.driver, dsn)
	require.NoError(t, err)
	t.Cleanup(func() { db.Close() })
	db.SetMaxOpenConns(16)
	db.SetMaxIdleConns(16)
	return db
}

// store migrates and opens a store on a pool of its own.
func (e *sqlEngine) store(t testing.TB, dsn string) *sqlstore.Store {
	t.Helper()
	return openStoreOf(t, e.open(t, dsn), e.dialect)
}

func (e *sqlEngine) run() (err error) {
	if e.dsn = os.Getenv(e.env); e.env != "" && e.dsn != "" {
		e.admin, err = sql.Open(e.driver, e.dsn)
		return errors.Join(err, e.admin.Ping())
	}
	if err := e.makeFolder(); err != nil {
		return err
	}
	if e.dsn, err = e.start(e); err != nil {
		return fmt.Errorf("starting %s: %w\n%s", e.name, err, e.log.String())
	}
	if e.admin, err = sql.Open(e.driver, e.dsn); err != nil {
		return err
	}
	return e.ready()
}

// makeFolder makes the folder of a server. From then on the end of the tests stops the server and removes the folder.
func (e *sqlEngine) makeFolder() (err error) {
	atEnd(e.stop)
	if e.folder, err = os.MkdirTemp("", "lk-"); err == nil && os.Geteuid() == 0 {
		err = os.Chown(e.folder, nobody, nobody)
	}
	return err
}

// ready waits until the server answers, and makes sure that it is the one that was started.
func (e *sqlEngine) ready() error {
	var err error
	for deadline := time.Now().Add(3 * time.Minute); time.Now().Before(deadline); time.Sleep(20 * time.Millisecond) {
		select {
		case <-e.ended:
			return fmt.Errorf("%s ended at once:\n%s", e.name, e.log.String())
		default:
		}
		var folder string
		if err = e.admin.QueryRow(e.dataDir).Scan(&folder); err != nil {
			continue
		}
		if filepath.Clean(folder) != filepath.Join(e.folder, "data") {
			return fmt.Errorf("another server answers: its data lie in %s", folder)
		}
		return nil
	}
	return fmt.Errorf("%s does not answer: %w\n%s", e.name, err, e.log.String())
}

func (e *sqlEngine) stop() {
	if e.admin != nil {
		e.admin.Close()
	}
	if e.beside != nil {
		_ = e.beside.Process.Kill()
		_ = e.beside.Wait()
	}
	if e.process != nil {
		_ = e.process.Process.Signal(e.quit)
		select {
		case <-e.ended:
		case <-time.After(20 * time.Second):
			_ = e.process.Process.Kill()
			<-e.ended
		}
	}
	if e.folder != "" {
		os.RemoveAll(e.folder)
	}
}

// nobody is the user and the group of Debian that may do nothing.
const nobody = 65534

// command is a program of the server's, run by nobody if this is root: no database server likes to be root.
func (e *sqlEngine) command(name string, args ...string) *exec.Cmd {
	cmd := exec.Command(name, args...)
	cmd.Dir = e.folder
	cmd.Env = []string{"PATH=" + os.Getenv("PATH") + ":/usr/sbin:/sbin", "HOME=" + e.folder, "TMPDIR=" + e.folder, "LC_ALL=C"}
	cmd.Stdout, cmd.Stderr = &e.log, &e.log
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: e.quit} // a test that is killed leaves no server behind
	if os.Geteuid() == 0 {
		cmd.SysProcAttr.Credential = &syscall.Credential{Uid: nobody, Gid: nobody}
	}
	return cmd
}

// serve starts the server, of which this process is the parent: one that ended must not stay as a zombie.
func (e *sqlEngine) serve(name string, args ...string) error {
	cmd := e.command(name, args...)
	if err := cmd.Start(); err != nil {
		return err
	}
	e.process, e.ended = cmd, make(chan struct{})
	go func() {
		_ = cmd.Wait()
		close(e.ended)
	}()
	return nil
}

func startPostgres(e *sqlEngine) (dsn string, err error) {
	initdb, err := program("initdb", append([]string{os.Getenv("LATCHKEY_PG_BIN")}, postgresFolders()...)...)
	if err != nil {
		return "", err
	}
	data := filepath.Join(e.folder, "data")
	// The order of a language, not of bytes: what latchkey compares must not depend on the database's collation.
	err = e.command(initdb, "-D", data, "-U", "postgres", "-A", "trust", "-E", "UTF8", "--locale=C", "--locale-provider=icu",
		"--icu-locale=en-US", "--no-sync").Run()
	if err != nil {
		return "", err
	}
	// A process that is killed loses nothing that the system holds for it, and no test cuts the power.
	flush := "off"
	if e.durable {
		flush = "on"
	}
	err = e.serve(filepath.Join(filepath.Dir(initdb), "postgres"), "-D", data, "-k", e.folder, "-c", "listen_addresses=",
		"-c", "fsync="+flush, "-c", "full_page_writes="+flush, "-c", "max_connections=300", "-c", "timezone=America/New_York")
	return fmt.Sprintf("host=%s user=postgres dbname=postgres sslmode=disable", e.folder), err
}

// postgresFolders are where Debian and others put what is not in the PATH, newest first.
func postgresFolders() []string {
	folders, _ := filepath.Glob("/usr/lib/postgresql/*/bin")
	slices.SortFunc(folders, func(a, b string) int { return version(b) - version(a) })
	if out, err := exec.Command("pg_config", "--bindir").Output(); err == nil {
		folders = append(folders, strings.TrimSpace(string(out)))
	}
	return folders
}

func version(folder string) int {
	n, _ := strconv.Atoi(filepath.Base(filepath.Dir(folder)))
	return n
}

var mariadbFolders = []string{"/usr/bin", "/usr/sbin", "/usr/libexec", "/usr/local/bin", "/usr/local/sbin",
	"/usr/local/mysql/bin"}

func startMariaDB(e *sqlEngine) (dsn string, err error) {
	_ = mysql.SetLogger(&mysql.NopLogger{}) // connections are broken on purpose
	install, err := program("mariadb-install-db", mariadbFolders...)
	if err != nil {
		return "", err
	}
	server, err := program("mariadbd", mariadbFolders...)
	if err != nil {
		return "", err
	}
	data, temp := filepath.Join(e.folder, "data"), filepath.Join(e.folder, "tmp")
	if err := e.command("mkdir", temp).Run(); err != nil {
		return "", err
	}
	err = e.command(install, "--no-defaults", "--datadir="+data, "--auth-root-authentication-method=normal", "--skip-test-db",
		"--skip-name-resolve", "--tmpdir="+temp, "--cross-bootstrap").Run()
	if err != nil {
		return "", err
	}
	flush := "2"
	if e.durable {
		flush = "1"
	}
	socket := filepath.Join(e.folder, "s.sock")
	err = e.serve(server, "--no-defaults", "--datadir="+data, "--socket="+socket, "--skip-networking",
		"--pid-file="+filepath.Join(e.folder, "pid"), "--tmpdir="+temp, "--skip-name-resolve", "--max-connections=300",
		"--innodb-flush-log-at-trx-commit="+flush, "--default-time-zone=+05:30")
	config := mysql.NewConfig()
	config.User, config.Net, config.Addr = "root", "unix", socket
	return config.FormatDSN(), err
}

// program finds a program in the PATH or in one of the folders; the first folder that has it wins where it is not in the
// PATH.
func program(name string, folders ...string) (string, error) {
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

func TestEnginesSmoke(t *testing.T) {
	onEngines(t, func(t *testing.T, e *sqlEngine) {
		ctx := context.Background()
		s := e.store(t, e.place(t))
		buildWorld(t, s)
		f, err := s.ByDigest(ctx, digest(2))
		require.NoError(t, err)
		require.Equal(t, childID, f.Token.ID)
		require.Len(t, f.Ancestors, 1)
		require.Len(t, f.Roles, 2)
		_, err = s.ByDigest(ctx, digest(3))
		require.ErrorIs(t, err, latchkey.ErrNotFound)
	})
}
