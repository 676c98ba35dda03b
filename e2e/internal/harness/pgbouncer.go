package harness

import (
	"database/sql"
	"fmt"
	"net/url"
	"os"
	"path/filepath"
	"syscall"
	"testing"
	"time"

	"github.com/latchkey-go/latchkey"
)

// Pgbouncer is a PostgreSQL server behind pgbouncer in transaction mode: the statements of one connection may run on
// different connections of the server, except those of one transaction. No variable names a running pooler, as its
// set-up is what is tested.
var Pgbouncer = &Engine{
	Name: "pgbouncer", Dialect: latchkey.Postgres, Driver: "pgx",
	Start: startPgbouncer, DataDir: "SHOW data_directory", Quit: syscall.SIGINT,
	Create: "CREATE DATABASE %s", Drop: "DROP DATABASE %s",
	In: func(dsn, place string) (string, error) { return PooledDSN(dsn, place, "simple_protocol"), nil },
}

// bouncerPort only names a socket in the engine's own folder.
const bouncerPort = 6432

// PooledDSN returns the DSN of a database behind the pooler.
func PooledDSN(dsn, database, mode string) string {
	u, _ := url.Parse(dsn)
	q := u.Query()
	q.Set("port", fmt.Sprint(bouncerPort))
	q.Set("default_query_exec_mode", mode)
	u.Path, u.RawQuery = "/"+database, q.Encode()
	return u.String()
}

func startPgbouncer(e *Engine) (dsn string, err error) {
	bouncer, err := Program("pgbouncer", "/usr/sbin", "/usr/bin", "/usr/local/bin")
	if err != nil {
		return "", err
	}
	if _, err := StartPostgres(e); err != nil {
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
	// The server answers first: pgbouncer waits for 15 seconds after a login that failed.
	u := url.URL{Scheme: "postgres", User: url.User("postgres"), Path: "/postgres"}
	u.RawQuery = url.Values{"host": {e.Folder}, "sslmode": {"disable"}}.Encode()
	direct := u.String()
	if err := answers(direct); err != nil {
		return "", err
	}
	file := filepath.Join(e.Folder, "pgbouncer.ini")
	if err := os.WriteFile(file, []byte(settings), 0o644); err != nil {
		return "", err
	}
	e.Beside = e.Command(bouncer, file)
	if err := e.Beside.Start(); err != nil {
		e.Beside = nil
		return "", err
	}
	return direct, answers(PooledDSN(direct, "postgres", "simple_protocol"))
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

// OnPooledToo runs a test on each of WithTiDB and behind pgbouncer.
func OnPooledToo(t *testing.T, test func(t *testing.T, e *Engine)) {
	OnTiDBToo(t, test)
	t.Run(Pgbouncer.Name, func(t *testing.T) { test(t, Pgbouncer) })
}
