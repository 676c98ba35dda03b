package sqlstore

import (
	"cmp"
	"context"
	"database/sql"
	"errors"
	"fmt"
	"reflect"
	"strings"

	"github.com/latchkey-go/latchkey"
)

var sqlite = dialect{
	name:           "SQLite",
	dir:            "migrations/sqlite",
	begin:          beginSQLite,
	lockMigrations: beginSQLiteMigration,
	isRetryable:    isBusySQLite,
	checkEngine:    checkSQLite,
	migrate:        migrateInOneTransaction,
	tables: `SELECT name FROM sqlite_master WHERE type = 'table' AND name LIKE 'latchkey!_%' ESCAPE '!' ` +
		`ORDER BY name`,
	tableFaults: sqliteTableFaults,
	columns:     sqliteColumns,
	fieldKinds:  sqliteFieldKinds,
	probe:       sqliteProbe,
	timesAsText: true,
	timeFix: map[kind]string{
		kindText: "remove settings that convert texts and times from the DSN",
		kindDate: "declare the column TEXT, and write 2026-11-22",
		kindDateTime: "with modernc.org/sqlite set _time_format=sqlite, and nothing else that converts times, in the DSN; " +
			"or declare the column TEXT, and write RFC 3339",
	},
	quotes:           map[byte]byte{'"': '"', '`': '`', '[': ']'},
	writers:          1,  // its lock excludes every other writer, so no row needs a lock
	bulkRows:         64, // there are no round trips to be saved
	groupCommit:      true,
	prepares:         true,
	insertOrFail:     `INSERT OR FAIL`, // it needs no statement journal
	writeID:          `?, ?, 0, ?`,
	ifAbsent:         ` ON CONFLICT DO NOTHING`,
	onConflictUpdate: func(key, set string) string { return ` ON CONFLICT (` + key + `) DO UPDATE SET ` + set },
	advanceEpoch:     advanceSQLite,
	concat:           func(parts ...string) string { return `CAST(` + strings.Join(parts, ` || `) + ` AS BLOB)` },
	clock:            noClock,
	startsWith:       func(column string) string { return `substr(CAST(` + column + ` AS BLOB), 1, ?) = ?` },
	contains:         func(column string) string { return `instr(` + column + `, CAST(? AS TEXT)) > 0` },
	containsLower:    func(column string) string { return `instr(lower(` + column + `), CAST(? AS TEXT)) > 0` },
}

// beginSQLite takes the write lock before anything is read. A transaction that read first could not be upgraded
// (SQLITE_BUSY_SNAPSHOT), and whether a driver's Begin is immediate depends on the host's DSN. A statement that writes
// takes the lock, even if it finds nothing to write. As the first statement it has the effect of BEGIN IMMEDIATE.
func beginSQLite(ctx context.Context, db *sql.DB) (_ transaction, err error) {
	conn, err := db.Conn(ctx)
	if err != nil {
		return transaction{}, err
	}
	defer func() {
		if err != nil {
			conn.Close()
		}
	}()
	// With less than FULL, a power failure may undo an acknowledged write. It cannot be set inside a transaction.
	if _, err := conn.ExecContext(ctx, "PRAGMA synchronous = FULL"); err != nil {
		return transaction{}, err
	}
	tx, err := conn.BeginTx(context.WithoutCancel(ctx), nil) // database/sql must not roll back on its own
	if err != nil {
		rollbackSQLite(ctx, conn)
		return transaction{}, err
	}
	if _, err := tx.ExecContext(ctx, "DELETE FROM latchkey_epoch WHERE id = 0"); err != nil {
		_ = tx.Rollback()
		rollbackSQLite(ctx, conn)
		return transaction{}, err
	}
	committed := false
	return transaction{
		executor: tx,
		bindStmt: func(ctx context.Context, stmt *sql.Stmt) *sql.Stmt { return tx.StmtContext(ctx, stmt) },
		commit: func(ctx context.Context) error {
			// From here on no deadline may interrupt the commit.
			ctx = context.WithoutCancel(ctx)
			// Without WAL a reader may make the commit wait. During the retries the transaction stays open and keeps new readers
			// out. A driver's own Commit would roll back instead, and busy readers would starve every writer.
			err := retry(ctx, isBusySQLite, func() error {
				_, err := tx.ExecContext(ctx, "COMMIT")
				return err
			})
			committed = err == nil
			return err
		},
		release: func() {
			_ = tx.Rollback() // after a commit this only releases the connection
			if !committed {
				rollbackSQLite(ctx, conn)
			}
			conn.Close()
		},
	}, nil
}

// beginSQLiteMigration is beginSQLite for a database that has no tables yet.
func beginSQLiteMigration(ctx context.Context, db *sql.DB) (transaction, error) {
	conn, err := db.Conn(ctx)
	if err != nil {
		return transaction{}, err
	}
	if _, err := conn.ExecContext(ctx, "BEGIN IMMEDIATE"); err != nil {
		rollbackSQLite(ctx, conn) // an interrupted BEGIN may have begun
		conn.Close()
		return transaction{}, err
	}
	committed := false
	return transaction{
		executor: conn,
		commit: func(ctx context.Context) error {
			_, err := conn.ExecContext(context.WithoutCancel(ctx), "COMMIT")
			committed = err == nil
			return err
		},
		release: func() {
			if !committed {
				rollbackSQLite(ctx, conn)
			}
			conn.Close()
		},
	}, nil
}

// rollbackSQLite ensures that no open transaction returns to the pool, whatever the driver has done or failed to do.
func rollbackSQLite(ctx context.Context, conn *sql.Conn) {
	// In a context of its own: the caller's may have ended.
	_, err := conn.ExecContext(context.WithoutCancel(ctx), "ROLLBACK")
	if err != nil && !strings.Contains(err.Error(), "no transaction is active") {
		discardConn(conn)
	}
}

// isBusySQLite recognizes SQLITE_BUSY (5) and SQLITE_LOCKED (6) and their extended codes (261, 262, 517 …). It uses the
// number if the driver's error has it, otherwise SQLite's message.
func isBusySQLite(err error) bool {
	if code, ok := sqliteCode(err); ok {
		return code&0xff == 5 || code&0xff == 6
	}
	text := err.Error()
	return strings.Contains(text, "database is locked") || strings.Contains(text, "database table is locked")
}

func advanceSQLite(t *tx, p *plan, rows []latchkey.Change) error {
	var epoch uint64
	found, err := t.row(`UPDATE latchkey_epoch SET epoch = epoch + 1 WHERE id = 1 RETURNING epoch`, nil, &epoch)
	if err != nil || !found {
		return orRowMissing(err, epochRow)
	}
	return t.insertChanges(p, epoch, 0, rows)
}

// sqliteCode returns the error's code, which may be an extended one, without importing a driver.
func sqliteCode(err error) (int, bool) {
	var coder interface{ Code() int } // modernc.org/sqlite
	if errors.As(err, &coder) {
		return coder.Code(), true
	}
	return sqliteCodeField(err)
}

// sqliteCodeField reads the code of an error of github.com/mattn/go-sqlite3, which has it in fields and has no method
// for it. SQLite's message is not enough: one code has several.
func sqliteCodeField(err error) (int, bool) {
	if v := reflect.Indirect(reflect.ValueOf(err)); v.Kind() == reflect.Struct {
		code, found := v.Type().FieldByName("Code")
		extended, both := v.Type().FieldByName("ExtendedCode")
		if found && both && len(code.Index) == 1 && len(extended.Index) == 1 && // no embedded field, which might be nil
			code.Type.Kind() == reflect.Int && extended.Type.Kind() == reflect.Int {
			return int(cmp.Or(v.FieldByIndex(extended.Index).Int(), v.FieldByIndex(code.Index).Int())), true
		}
	}
	switch wrapper := err.(type) {
	case interface{ Unwrap() error }:
		return sqliteCodeField(wrapper.Unwrap())
	case interface{ Unwrap() []error }:
		for _, one := range wrapper.Unwrap() {
			if code, ok := sqliteCodeField(one); ok {
				return code, true
			}
		}
	}
	return 0, false
}

func checkSQLite(ctx context.Context, db *sql.DB) error {
	var version, encoding string
	if err := db.QueryRowContext(ctx, "SELECT sqlite_version()").Scan(&version); err != nil {
		return fmt.Errorf("this is no SQLite database, or it cannot be opened (name the dialect of the engine that the "+
			"driver connects to): %w", err)
	}
	var major, minor int
	if _, err := fmt.Sscanf(version, "%d.%d", &major, &minor); err != nil || major < 3 || major == 3 && minor < 37 {
		return fmt.Errorf("SQLite %s is too old: 3.37 or newer is needed", version)
	}
	if err := db.QueryRowContext(ctx, "PRAGMA encoding").Scan(&encoding); err != nil {
		return err
	}
	if encoding != "UTF-8" {
		return fmt.Errorf("the database's encoding is %s: latchkey compares bytes and needs a database created with UTF-8",
			encoding)
	}
	var dirty int64
	if err := db.QueryRowContext(ctx, "PRAGMA read_uncommitted").Scan(&dirty); err != nil {
		return err
	}
	if dirty != 0 {
		return errors.New("read_uncommitted is on, so with a shared cache a read could return rows that are never " +
			"committed: remove it from the DSN")
	}
	return checkInMemory(ctx, db)
}

// checkInMemory refuses a pool whose connections would each open a database of their own.
func checkInMemory(ctx context.Context, db *sql.DB) error {
	if db.Stats().MaxOpenConnections == 1 {
		return nil
	}
	first, err := db.Conn(ctx)
	if err != nil {
		return err
	}
	defer first.Close()
	var file sql.NullString
	err = first.QueryRowContext(ctx, "SELECT file FROM pragma_database_list WHERE name = 'main'").Scan(&file)
	if err != nil || file.String != "" {
		return err
	}
	count := func(conn *sql.Conn) (n int, err error) {
		err = conn.QueryRowContext(ctx, "SELECT count(*) FROM sqlite_master").Scan(&n)
		return n, err
	}
	second, err := db.Conn(ctx)
	if err != nil {
		return err
	}
	defer second.Close()
	one, err := count(first)
	if err != nil {
		return err
	}
	two, err := count(second)
	if err != nil {
		return err
	}
	if one != two {
		return errors.New("each connection of this pool has an in-memory database of its own: open " +
			"file:NAME?mode=memory&cache=shared, or call SetMaxOpenConns(1)")
	}
	return nil
}
