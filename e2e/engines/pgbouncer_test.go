package engines

import (
	"database/sql"
	"errors"
	"fmt"
	"net/url"
	"os"
	"path/filepath"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/latchkey-go/latchkey"
	"github.com/latchkey-go/latchkey/e2e/internal/harness"
	"github.com/latchkey-go/latchkey/sqlstore"
)

// pgbouncer is a PostgreSQL server behind pgbouncer in transaction mode: the statements of one connection may run on
// different connections of the server, except those of one transaction. No variable names a running pooler, as its
// set-up is what is tested.
var pgbouncer = &harness.Engine{
	Name: "pgbouncer", Dialect: latchkey.Postgres, Driver: "pgx",
	Start: startPgbouncer, DataDir: "SHOW data_directory", Quit: syscall.SIGINT,
	Create: "CREATE DATABASE %s", Drop: "DROP DATABASE %s",
	In: func(dsn, place string) (string, error) { return pooledDSN(dsn, place, "simple_protocol"), nil },
}

// bouncerPort only names a socket in the engine's own folder.
const bouncerPort = 6432

// pooledDSN returns the DSN of a database behind the pooler.
func pooledDSN(dsn, database, mode string) string {
	u, _ := url.Parse(dsn)
	q := u.Query()
	q.Set("port", fmt.Sprint(bouncerPort))
	q.Set("default_query_exec_mode", mode)
	u.Path, u.RawQuery = "/"+database, q.Encode()
	return u.String()
}

func startPgbouncer(e *harness.Engine) (dsn string, err error) {
	bouncer, err := harness.Program("pgbouncer", "/usr/sbin", "/usr/bin", "/usr/local/bin")
	if err != nil {
		return "", err
	}
	if _, err := harness.StartPostgres(e); err != nil {
		return "", err
	}
	settings := fmt.Sprintf(`[databases]
* = host=%[1]s port=5432 user=postgres
[pgbouncer]
listen_addr =
listen_port = %[2]d
unix_socket_dir = %[1]s
auth_type = any
pool_mode = transaction
max_client_conn = 1000
default_pool_size = 8
server_idle_timeout = 5
log_connections = 0
log_disconnections = 0
`, e.Folder, bouncerPort)
	file := filepath.Join(e.Folder, "pgbouncer.ini")
	if err := os.WriteFile(file, []byte(settings), 0o644); err != nil {
		return "", err
	}
	e.Beside = e.Command(bouncer, file)
	if err := e.Beside.Start(); err != nil {
		e.Beside = nil
		return "", err
	}
	u := url.URL{Scheme: "postgres", User: url.User("postgres"), Path: "/postgres"}
	u.RawQuery = url.Values{"host": {e.Folder}, "sslmode": {"disable"}}.Encode()
	direct := u.String()
	return direct, answers(pooledDSN(direct, "postgres", "simple_protocol"))
}

// answers waits until a database answers.
func answers(dsn string) error {
	db, err := sql.Open("pgx", dsn)
	if err != nil {
		return err
	}
	defer db.Close()
	for deadline := time.Now().Add(3 * time.Minute); time.Now().Before(deadline); time.Sleep(20 * time.Millisecond) {
		if err = db.Ping(); err == nil {
			return nil
		}
	}
	return err
}

// onPooledToo runs a test on PostgreSQL, on MariaDB and behind pgbouncer.
func onPooledToo(t *testing.T, test func(t *testing.T, e *harness.Engine)) {
	harness.OnEngines(t, test)
	t.Run(pgbouncer.Name, func(t *testing.T) { test(t, pgbouncer) })
}

// A driver that prepares statements by name fails behind a transaction pooler, but not at once. New and Migrate
// report it, also when one connection of the server serves all, and when another client has used it before.
func TestPoolerAndPreparedStatements(t *testing.T) {
	ctx := t.Context()
	place := pgbouncer.Place(t)
	u, err := url.Parse(place)
	require.NoError(t, err)
	database := filepath.Base(u.Path)
	for _, mode := range []string{"cache_statement", "describe_exec", "cache_describe", "exec", "simple_protocol"} {
		for _, conns := range []int{0, 1, 2} {
			t.Run(fmt.Sprintf("%s, %d connections", mode, conns), func(t *testing.T) {
				db, err := sql.Open("pgx", pooledDSN(pgbouncer.DSN, database, mode))
				require.NoError(t, err)
				defer db.Close()
				db.SetMaxOpenConns(conns)
				err = sqlstore.Migrate(ctx, db, latchkey.Postgres)
				if mode == "cache_statement" {
					require.ErrorContains(t, err, "default_query_exec_mode=simple_protocol")
					_, err = sqlstore.New(ctx, db, latchkey.Postgres, nil)
					require.ErrorContains(t, err, "default_query_exec_mode=simple_protocol")
					return
				}
				require.NoError(t, err)
				s, err := sqlstore.New(ctx, db, latchkey.Postgres, nil)
				require.NoError(t, err)
				require.NoError(t, s.Close())
			})
		}
	}
	// The same driver, straight to the server, is right.
	direct, err := harness.PostgresSetting(pgbouncer.DSN, "dbname", database)
	require.NoError(t, err)
	for _, conns := range []int{0, 1, 2} {
		db, err := sql.Open("pgx", direct)
		require.NoError(t, err)
		db.SetMaxOpenConns(conns)
		for range 3 {
			require.NoError(t, sqlstore.Migrate(ctx, db, latchkey.Postgres))
			s, err := sqlstore.New(ctx, db, latchkey.Postgres, nil)
			require.NoError(t, errors.Join(err, s.Close()))
		}
		require.NoError(t, db.Close())
	}
}
