package sqlstore

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"regexp"
	"strings"

	"github.com/latchkey-go/latchkey"
)

// mysql is MySQL, MariaDB and TiDB.
var mysql = dialect{
	name:             "MySQL",
	dir:              "migrations/mysql",
	begin:            beginMySQL,
	isRetryable:      isRetryableMySQL,
	readWaitTimedOut: func(err error) bool { return mysqlCode(err) == 1205 }, // no lock: this is wsrep_sync_wait
	isDuplicateKey:   func(err error) bool { return mysqlCode(err) == 1062 },
	isUnstorable:     func(err error) bool { return mysqlCode(err) == 1406 }, // longer than its column
	checkEngine:      checkMySQL,
	checkSession:     sessionMySQL,
	checkNode:        checkMySQLNode,
	beginClustered:   beginGalera,
	adapt:            adaptToTiDB,
	migrate:          migrateMySQL,
	tables: `SELECT table_name FROM information_schema.tables WHERE table_schema = DATABASE()
		AND ` + mysqlOwnTable + ` ORDER BY 1`,
	tableFaults: mysqlTableFaults,
	columns:     mysqlColumns,
	fieldKinds:  mysqlFieldKinds,
	probe:       mysqlProbe,
	timeFix: map[kind]string{
		kindDate: mysqlTimeFix, kindDateTime: mysqlTimeFix},
	quotes:        map[byte]byte{'`': '`'},
	reserved:      regexp.MustCompile(`\buntil\b`),
	writers:       8,
	mintWorkers:   2,
	bulkRows:      1024, // of at most 18 columns: a statement takes 65,535 values
	interruptible: true,
	prepares:      true,
	listsRows:     true,
	forUpdate:     ` FOR UPDATE`,
	forShare:      ` LOCK IN SHARE MODE`,
	forUpdateSkip: ` FOR UPDATE SKIP LOCKED`,
	forShareSkip:  ` FOR UPDATE SKIP LOCKED`, // MySQL and MariaDB share no syntax for skipping with a shared lock
	lockedSeq:     `seq`,
	insertOrFail:  `INSERT`,
	writeID:       `?, ?, 0, ?`,
	// INSERT IGNORE would also truncate values that are too long. What ON DUPLICATE KEY UPDATE reports depends on the DSN.
	ifAbsent: ``,
	onConflictUpdate: func(_, set string) string {
		return ` ON DUPLICATE KEY UPDATE ` + excludedColumn.ReplaceAllString(set, "VALUES($1)")
	},
	advanceEpoch: advanceMySQL,
	concat:       func(parts ...string) string { return `CONCAT(` + strings.Join(parts, `, `) + `)` },
	clock:        mysqlClock,
	startsWith:   func(column string) string { return `LEFT(` + column + `, ?) = ?` },
	contains:     func(column string) string { return `INSTR(` + column + `, ?) > 0` },
}

// It must not depend on the session's time zone, in which some hours occur twice.
const mysqlClock = `TIMESTAMPDIFF(MICROSECOND, '1970-01-01', UTC_TIMESTAMP(6))`

// mysqlOwnTable is a condition on table_name. TiDB ignores the ESCAPE of a LIKE here.
const mysqlOwnTable = `LEFT(table_name, 9) = 'latchkey_'`

var excludedColumn = regexp.MustCompile(`excluded\.(\w+)`)

func beginMySQL(ctx context.Context, db *sql.DB) (transaction, error) {
	_, txn, err := beginMySQLOn(ctx, db, "", "")
	return txn, err
}

func beginMySQLOn(ctx context.Context, db *sql.DB, before, after string) (*sql.Tx, transaction, error) {
	tx, txn, err := beginReadCommitted(ctx, db, before, after)
	if err != nil {
		return nil, txn, err
	}
	txn.bindStmt = tx.StmtContext
	commit := txn.commit
	txn.commit = func(ctx context.Context) error {
		err := commit(ctx)
		if mysqlCode(err) == galeraNotReady {
			err = errors.Join(errNotCommitted, err)
		}
		return err
	}
	return tx, txn, nil
}

// advanceMySQL reads the new epoch from the result of the UPDATE itself.
func advanceMySQL(t *tx, p *plan, rows []latchkey.Change) error {
	result, err := t.result(`UPDATE latchkey_epoch SET epoch = LAST_INSERT_ID(epoch + 1) WHERE id = 1`)
	if err != nil {
		return err
	}
	n, err := result.RowsAffected()
	if err != nil || n != 1 { // without the row the number would be that of an earlier statement
		return orRowMissing(err, epochRow)
	}
	epoch, err := result.LastInsertId()
	if err != nil {
		return err
	}
	return t.insertChanges(p, uint64(epoch), 0, rows)
}

// isRetryableMySQL knows the errors of MySQL and MariaDB (1213, 1205, 1020) and of TiDB: another transaction wrote
// first (9007, 8022), the schema changed meanwhile (8028), or too many wait for a lock, which has no number of its own.
func isRetryableMySQL(err error) bool {
	return oneOf(mysqlCode(err), 1213, 1205, 1020, 9007, 8022, 8028) || isTiDBCrowd(err)
}

// isTiDBCrowd reports whether so many waited for a lock of TiDB that one of them was sent away.
func isTiDBCrowd(err error) bool {
	return mysqlCode(err) == 1105 && strings.Contains(err.Error(), "pessimistic lock retry limit reached")
}

// mysqlCode parses the number of a server's error from its text, because the driver's type has no method for it. It
// returns 0 if there is none.
func mysqlCode(err error) (code int) {
	if err == nil {
		return 0
	}
	if n, _ := fmt.Sscanf(err.Error(), "Error %d", &code); n == 1 {
		return code
	}
	switch wrapper := err.(type) {
	case interface{ Unwrap() error }:
		return mysqlCode(wrapper.Unwrap())
	case interface{ Unwrap() []error }:
		for _, one := range wrapper.Unwrap() {
			if code := mysqlCode(one); code != 0 {
				return code
			}
		}
	}
	return 0
}

func checkMySQL(ctx context.Context, db *sql.DB) error {
	var version string
	if err := db.QueryRowContext(ctx, "SELECT VERSION()").Scan(&version); err != nil {
		return fmt.Errorf("this is no MySQL or MariaDB database, or it cannot be reached: %w", err)
	}
	var major, minor int
	if n, _ := fmt.Sscanf(version, "%d.%d", &major, &minor); n != 2 {
		return wrongEngine("MySQL or MariaDB", version)
	}
	if strings.Contains(version, "MariaDB") {
		if major < 10 || major == 10 && minor < 6 {
			return fmt.Errorf("MariaDB %s is too old: 10.6 or newer is needed", version)
		}
	} else if major < 8 {
		return fmt.Errorf("MySQL %s is too old: 8.0.16 or newer is needed", version)
	}
	var database sql.NullString
	var micros int64
	err := db.QueryRowContext(ctx, "SELECT DATABASE(), "+mysqlClock).Scan(&database, &micros)
	switch {
	case err != nil:
		return err
	case !database.Valid:
		return errors.New("no database is chosen: name one in the DSN")
	}
	if err := checkClock(micros); err != nil {
		return errors.Join(err, checkClockRuns(ctx, db)) // the difference, and possibly its cause
	}
	return nil
}

// adaptToTiDB makes transactions wait for locked rows where they would skip them. TiDB 8.4 ignores SKIP LOCKED, and
// then locks nothing: a token would be minted from one that is being revoked. Mints of several owners share no
// transaction, because they would wait for each other's owners.
func adaptToTiDB(ctx context.Context, db *sql.DB, own *dialect) error {
	own.adapt = nil
	found, err := readSettings(ctx, db, `SHOW SESSION VARIABLES WHERE Variable_name = 'tidb_txn_mode'`)
	if err == nil && len(found) > 0 {
		own.forUpdateSkip, own.forShareSkip, own.mintWorkers = own.forUpdate, own.forShare, 0
	}
	return err
}

// refuseTiDB takes what VERSION() or @@version_comment returns. On TiDB 8.4, if arguments are bound to placeholders, a
// condition on text admits a padded row, and a long list of large numbers misses one.
func refuseTiDB(version string) error {
	if !strings.Contains(version, "TiDB") {
		return nil
	}
	return fmt.Errorf("this is TiDB (%s), which compares some conditions differently from MySQL and would admit rows "+
		"that they refuse: keep the table in MariaDB, MySQL or PostgreSQL", version)
}
