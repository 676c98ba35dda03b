package sqlstore

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"strings"

	"github.com/latchkey-go/latchkey"
)

var postgres = dialect{
	name:           "PostgreSQL",
	dir:            "migrations/postgres",
	begin:          beginPostgres,
	lockMigrations: beginPostgresMigration,
	makeOptional:   makeTriggers,
	raisesAtCommit: findTrigger,
	isRolledBack:   isRolledBackPostgres,
	isRetryable:    func(err error) bool { return oneOf(sqlState(err), "40001", "40P01", "55P03") },
	// Text with a NUL or that is not UTF-8; an index entry that is too large.
	isUnstorable: func(err error) bool { return oneOf(sqlState(err), "22021", "54000") },
	checkEngine:  checkPostgres,
	checkSession: sessionPostgres,
	checkNode:    checkPostgresNode,
	migrate:      migrateInOneTransaction,
	tables: `SELECT CAST(relname AS TEXT) FROM pg_class WHERE relkind IN ('r', 'p') AND pg_table_is_visible(oid)
		AND relname LIKE 'latchkey!_%' ESCAPE '!' ORDER BY 1`,
	tableFaults: postgresTableFaults,
	columns:     postgresColumns,
	fieldKinds:  postgresFieldKinds,
	probe:       postgresProbe,
	timeFix: map[kind]string{
		kindDate: postgresTimeFix, kindDateTime: postgresTimeFix},
	quotes:           map[byte]byte{'"': '"'},
	foldsUnquoted:    true,
	writers:          8,
	mintWorkers:      2,
	arrays:           true,
	packsFeed:        true,
	mergesStatements: true,
	waitsForReplicas: true,
	interruptible:    true,
	numbered:         true,
	listsRows:        true,
	primaryOnly:      strings.NewReplacer(epochWhere, epochWhere+notStandby, epochWhereE, epochWhereE+notStandby),
	forUpdate:        ` FOR UPDATE`,
	forShare:         ` FOR SHARE`,
	forUpdateSkip:    ` FOR UPDATE SKIP LOCKED`,
	forShareSkip:     ` FOR SHARE SKIP LOCKED`,
	// A process that stalls in a transaction would block all others, so the server ends the transaction after a while.
	// Set together with the lock it costs no round trip, and it ends with the transaction.
	lockedSeq: `CASE WHEN (SELECT set_config('idle_in_transaction_session_timeout', '10s', true)
		|| ` + postgresPlanning() + `) IS NOT NULL THEN seq END`,
	planning:         postgresPlanning(),
	writeID:          `CAST(? AS TEXT), CAST(? AS BYTEA), 0, CAST(? AS BIGINT)`,
	ifAbsent:         ` ON CONFLICT DO NOTHING`,
	onConflictUpdate: func(key, set string) string { return ` ON CONFLICT (` + key + `) DO UPDATE SET ` + set },
	advanceEpoch:     advancePostgres,
	notify:           notifyPostgres,
	concat:           func(parts ...string) string { return strings.Join(parts, ` || `) },
	clock:            postgresClock,
	startsWith:       func(column string) string { return `substr(convert_to(` + column + `, 'UTF8'), 1, ?) = ?` },
	contains:         func(column string) string { return `strpos(` + column + `, convert_from(?, 'UTF8')) > 0` },
	// The collation of the columns is "C".
	containsLower: func(column string) string { return `strpos(lower(` + column + `), convert_from(?, 'UTF8')) > 0` },
}

// A failover may lead a pool to a standby long after New. There a read of the epoch finds no row, and nothing can be
// answered without the epoch.
const (
	epochWhere  = `FROM latchkey_epoch WHERE id = 1`
	epochWhereE = `WHERE e.id = 1`
	notStandby  = ` AND NOT pg_is_in_recovery()`
)

const postgresClock = `CAST(extract(epoch FROM clock_timestamp()) * 1000000 AS BIGINT)`

// postgresPlanning returns an expression that sets how the rest of a transaction is planned. A connection keeps its
// plans, so a plan must find rows by their keys, one after another: one that was made while a table was small would
// read all of it later. A plan that has no choice looks expensive then, and is not worth compiling.
func postgresPlanning() string {
	return `set_config('plan_cache_mode', 'force_generic_plan', true)
	|| set_config('enable_seqscan', 'off', true) || set_config('enable_hashjoin', 'off', true)
	|| set_config('enable_mergejoin', 'off', true) || set_config('jit', 'off', true)`
}

func beginPostgres(ctx context.Context, db *sql.DB) (transaction, error) {
	_, txn, err := beginReadCommitted(ctx, db, "", "")
	return txn, err
}

// migrationLock is a number that other programs are unlikely to use.
const migrationLock = 0x6c6174636b6579 // "latchkey"

func beginPostgresMigration(ctx context.Context, db *sql.DB) (transaction, error) {
	tx, txn, err := beginReadCommitted(ctx, db, "", "")
	if err != nil {
		return txn, err
	}
	// The lock belongs to the transaction, not to the session, so it also works behind a transaction pooler.
	if _, err := tx.ExecContext(ctx, "SELECT pg_advisory_xact_lock($1)", int64(migrationLock)); err != nil {
		txn.release()
		return transaction{}, err
	}
	return txn, nil
}

// maxAdvance is how many changes are inserted by the statement that advances the epoch.
const maxAdvance = 16

// advancePostgres leaves it to the trigger, if there is one. Otherwise it uses one statement, so that the process
// cannot stall between two while other transactions wait for the epoch.
func advancePostgres(t *tx, p *plan, rows []latchkey.Change) error {
	if t.store.raisesAtCommit.Load() {
		t.changes.add(&p.w, rows)
		return nil
	}
	now := rows[:min(len(rows), maxAdvance)]
	var args []any
	var epoch uint64
	for i, c := range now {
		args = append(args, i, p.w.Owner, int64(c.Kind), c.ID, micros(c.Until), p.w.At.UnixMicro())
	}
	const row = `(CAST(? AS BIGINT), CAST(? AS TEXT), CAST(? AS SMALLINT), CAST(? AS TEXT), CAST(? AS BIGINT),
		CAST(? AS BIGINT))`
	listed := 0
	err := t.each(`WITH e AS (UPDATE latchkey_epoch SET epoch = epoch + 1 WHERE id = 1 RETURNING epoch)
		INSERT INTO latchkey_changes (epoch, seq, owner, kind, id, until, at)
		SELECT e.epoch, c.* FROM e CROSS JOIN (VALUES `+row+strings.Repeat(`, `+row, len(now)-1)+`) c RETURNING epoch`,
		args, func(rows *sql.Rows) error {
			listed++
			return rows.Scan(&epoch)
		})
	switch {
	case err != nil:
		return err
	case listed == 0:
		return orRowMissing(nil, epochRow)
	case listed != len(now):
		return fmt.Errorf("%d changes were listed instead of %d", listed, len(now))
	}
	return t.insertChanges(p, epoch, len(now), rows[len(now):])
}

// sqlState returns the error's SQLSTATE without importing a driver.
func sqlState(err error) string {
	var coder interface{ SQLState() string } // pgx, lib/pq
	if errors.As(err, &coder) {
		return coder.SQLState()
	}
	return ""
}

func checkPostgres(ctx context.Context, db *sql.DB) error {
	var version string
	if err := db.QueryRowContext(ctx, "SELECT version()").Scan(&version); err != nil {
		return fmt.Errorf("this is no PostgreSQL database, or it cannot be reached: %w", err)
	}
	if !strings.HasPrefix(version, "PostgreSQL ") {
		return wrongEngine("PostgreSQL", version)
	}
	var number, micros int64
	var encoding string
	var standby bool
	err := db.QueryRowContext(ctx, `SELECT CAST(current_setting('server_version_num') AS BIGINT),
		current_setting('server_encoding'), pg_is_in_recovery(), `+postgresClock).Scan(&number, &encoding, &standby, &micros)
	switch {
	case err != nil:
		return err
	case number < 130000:
		return fmt.Errorf("PostgreSQL %d.%d is too old: 13 or newer is needed", number/10000, number%10000)
	case encoding != "UTF8":
		return fmt.Errorf("the database's encoding is %s: create it with ENCODING 'UTF8'", encoding)
	case standby:
		return errStandby
	}
	return checkClock(micros)
}

// errStandby is returned by checkPostgres.
var errStandby = errors.New("this server is a standby, which lags behind: connect to the primary (if the DSN names " +
	"several hosts, target_session_attrs=read-write finds it), or use NewReplica for listings and usage")

// checkPostgresNode refuses a session whose acknowledged writes a crash would lose.
func checkPostgresNode(ctx context.Context, db *sql.DB, _ *Options) (clustered bool, err error) {
	var commit string
	err = db.QueryRowContext(ctx, `SELECT current_setting('synchronous_commit')`).Scan(&commit)
	if err == nil && commit == "off" {
		err = errors.New("synchronous_commit is off, so a crash could undo an acknowledged revocation: turn it on, for the " +
			"database or in the DSN")
	}
	return false, err
}
