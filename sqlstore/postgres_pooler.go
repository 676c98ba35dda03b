package sqlstore

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"math/rand/v2"
	"strings"
)

// A transaction pooler (pgbouncer, pgcat, Odyssey …) gives each transaction of a connection to any of the server's
// connections. A driver that prepares named statements once for a connection then finds them missing, or taken by
// another's. The checks at New usually work all the same, because an idle pooler uses the same server connection again
// and again. For the same reason two of our connections reach the same server connection, and that can be detected.

// poolerProbe is prepared by a driver that prepares. It is the same in every process, so a statement that another
// process left behind is detected too.
const poolerProbe = `SELECT pg_backend_pid() + CAST($1 AS INTEGER)`

// pgbouncerPrefix begins the names of statements that pgbouncer tracks (max_prepared_statements, from 1.21).
const pgbouncerPrefix = "PGBOUNCER_"

var errNamedStatements = errors.New("the driver prepares named statements behind a transaction pooler, where they " +
	"are missing or taken by others: add default_query_exec_mode=simple_protocol (or exec) to the DSN of pgx, or " +
	"connect to the server directly")

// checkPooler refuses a driver that prepares named statements behind a transaction pooler.
func checkPooler(ctx context.Context, db *sql.DB) error {
	const looks = 6
	var ours [2]*sql.Conn // with a pool of one, each probe uses a new connection
	alone := db.Stats().MaxOpenConnections == 1
	for i := range ours {
		if alone {
			break
		}
		conn, err := db.Conn(ctx)
		if err != nil {
			return err
		}
		defer conn.Close()
		ours[i] = conn
	}
	pooled, prepared := false, false
	pids := map[int]int64{} // the server's connection, by ours
	for look := range looks {
		number, conn := look%len(ours), ours[look%len(ours)]
		if alone {
			number = look
			own, err := db.Conn(ctx)
			if err != nil {
				return err
			}
			conn = own
		}
		pid, named, err := backendPID(ctx, conn, look == 0)
		if alone {
			discardConn(conn)
			conn.Close()
		}
		if err != nil {
			return err
		}
		prepared = prepared || named
		for other, was := range pids {
			pooled = pooled || (other == number) != (was == pid)
		}
		pids[number] = pid
	}
	if pooled && prepared {
		return errNamedStatements
	}
	return nil
}

// backendPID returns which of the server's connections serves conn at this moment. With look it also reports whether
// the driver prepared the query under a name of its own.
func backendPID(ctx context.Context, conn *sql.Conn, look bool) (pid int64, named bool, err error) {
	if err = conn.QueryRowContext(ctx, poolerProbe, 0).Scan(&pid); err != nil || !look {
		return pid, false, err
	}
	tx, err := conn.BeginTx(ctx, nil) // so that both queries reach the same server connection
	if err != nil {
		return 0, false, err
	}
	defer func() { _ = tx.Rollback() }()
	// A text that was never prepared before.
	own := fmt.Sprintf("%s -- latchkey %016x", poolerProbe, rand.Uint64())
	if err := tx.QueryRowContext(ctx, own, 0).Scan(&pid); err != nil {
		return 0, false, err
	}
	names, err := queryStrings(ctx, tx,
		`SELECT CAST(name AS TEXT) FROM pg_prepared_statements WHERE statement = '`+own+`'`)
	for _, name := range names {
		named = named || !strings.HasPrefix(name, pgbouncerPrefix)
	}
	return pid, named, err
}
