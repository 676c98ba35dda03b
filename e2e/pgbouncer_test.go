package e2e

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
	"github.com/latchkey-go/latchkey/sqlstore"
)

// pgbouncer is a PostgreSQL of its own behind pgbouncer in transaction mode: the statements of one connection, but for
// those of a transaction, may run on different connections of the server. LATCHKEY_PGBOUNCER_DSN does not exist: how a
// pooler is set up is what is tested.
var pgbouncer = &sqlEngine{
	name: "pgbouncer", dialect: latchkey.Postgres, driver: "pgx",
	start: startPgbouncer, dataDir: "SHOW data_directory", quit: syscall.SIGINT,
	create: "CREATE DATABASE %s", drop: "DROP DATABASE %s",
	in: func(dsn, place string) (string, error) { return pooledDSN(dsn, place, "simple_protocol"), nil },
}

// bouncerPort only makes the name of a socket in the engine's own folder.
const bouncerPort = 6432

// pooledDSN is how a database is reached through the pooler.
func pooledDSN(dsn, database, mode string) string {
	u, _ := url.Parse(dsn)
	q := u.Query()
	q.Set("port", fmt.Sprint(bouncerPort))
	q.Set("default_query_exec_mode", mode)
	u.Path, u.RawQuery = "/"+database, q.Encode()
	return u.String()
}

func startPgbouncer(e *sqlEngine) (dsn string, err error) {
	bouncer, err := program("pgbouncer", "/usr/sbin", "/usr/bin", "/usr/local/bin")
	if err != nil {
		return "", err
	}
	if _, err := startPostgres(e); err != nil {
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
`, e.folder, bouncerPort)
	file := filepath.Join(e.folder, "pgbouncer.ini")
	if err := os.WriteFile(file, []byte(settings), 0o644); err != nil {
		return "", err
	}
	e.beside = e.command(bouncer, file)
	if err := e.beside.Start(); err != nil {
		e.beside = nil
		return "", err
	}
	u := url.URL{Scheme: "postgres", User: url.User("postgres"), Path: "/postgres"}
	u.RawQuery = url.Values{"host": {e.folder}, "sslmode": {"disable"}}.Encode()
	direct := u.String()
	return direct, answers(pooledDSN(direct, "postgres", "simple_protocol"))
}

// answers waits until there is an answer.
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

// onPooledToo is onEngines, and the pooler.
func onPooledToo(t *testing.T, test func(t *testing.T, e *sqlEngine)) {
	onEngines(t, test)
	t.Run(pgbouncer.name, func(t *testing.T) { test(t, pgbouncer) })
}

// A driver that prepares statements by name fails behind a transaction pooler, but not at once: New and Migrate say so,
// also when one connection of the server serves all, and when somebody has been there before.
func TestPoolerAndPreparedStatements(t *testing.T) {
	ctx := t.Context()
	place := pgbouncer.place(t)
	u, err := url.Parse(place)
	require.NoError(t, err)
	database := filepath.Base(u.Path)
	for _, mode := range []string{"cache_statement", "describe_exec", "cache_describe", "exec", "simple_protocol"} {
		for _, conns := range []int{0, 1, 2} {
			t.Run(fmt.Sprintf("%s, %d connections", mode, conns), func(t *testing.T) {
				db, err := sql.Open("pgx", pooledDSN(pgbouncer.dsn, database, mode))
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
	direct, err := pgSetting(pgbouncer.dsn, "dbname", database)
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
