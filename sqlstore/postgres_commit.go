package sqlstore

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/latchkey-go/latchkey"
)

// Every change of every owner waits for the row of the epoch. If a statement of the client raised it, the row would
// stay locked for as long as the COMMIT takes to arrive. So a deferred trigger raises it, which PostgreSQL runs inside
// COMMIT. A Write puts its changes into latchkey_pending, one row for each Write. For each row, the trigger raises the
// epoch by one, numbers the changes with it, and removes the row. See 0003_epoch_at_commit.sql.
//
// The database may lack the trigger, or a process of an earlier version may run beside this one. They raise the epoch
// by the last statement before COMMIT (advancePostgres). Both ways lock the same row last, so they keep one order.
//
// Without the trigger, a row of latchkey_pending would be a change that nobody sees. New looks for it, and each
// transaction looks again: insertPending inserts nothing unless the trigger will be fired. The trigger cannot be
// switched off meanwhile, because the table is locked against that until the commit.

const triggerName = "latchkey_raise_epoch"

// triggerFires returns a condition on a row of pg_trigger: the trigger is fired in this session. An enabled trigger is
// not fired where session_replication_role is replica.
func triggerFires() string {
	return `tgenabled IN ('O', 'A') AND current_setting('session_replication_role') <> 'replica'`
}

// findsTrigger is the row of the trigger, if there is one.
const findsTrigger = `FROM pg_catalog.pg_trigger
	WHERE tgrelid = CAST('latchkey_pending' AS regclass) AND tgname = '` + triggerName + `'`

// makeTrigger makes the function and the trigger where the trigger is missing. It leaves alone one that is disabled.
func makeTrigger(ctx context.Context, q execQuerier, steps []migrationStep) (made bool, err error) {
	there, err := queryStrings(ctx, q, `SELECT CAST(tgname AS TEXT) `+findsTrigger)
	if err != nil || len(there) > 0 {
		return false, err
	}
	if _, err := q.ExecContext(ctx, `SAVEPOINT latchkey_optional`); err != nil {
		return false, err
	}
	for _, statement := range optionalStatements(steps) {
		if _, err = q.ExecContext(ctx, statement); err != nil {
			break
		}
	}
	if err == nil {
		return true, nil
	}
	if !isForbidden(err) {
		return false, fmt.Errorf("the trigger %s: %w", triggerName, err)
	}
	_, err = q.ExecContext(ctx, `ROLLBACK TO SAVEPOINT latchkey_optional`)
	return false, err
}

// isForbidden reports whether a database does not let a function or a trigger be made. The user may lack a privilege
// (42501), the language may be missing (42704), the server may have no triggers (0A000), or an event trigger of the
// host may refuse (P0001).
func isForbidden(err error) bool {
	return oneOf(sqlState(err), "42501", "42704", "42883", "0A000", "P0001")
}

// findTrigger reports whether the trigger is there, is fired, and does what 0003_epoch_at_commit.sql says. A trigger
// of another version may do something else, so it is not used.
func findTrigger(ctx context.Context, q querier, steps []migrationStep) (bool, error) {
	body := ""
	for _, statement := range optionalStatements(steps) {
		if _, rest, ok := strings.Cut(statement, "$$"); ok {
			body, _, _ = strings.Cut(rest, "$$")
		}
	}
	const insertForEachRow = 1<<0 | 1<<2 // the bits of pg_trigger.tgtype, after and not before
	found, err := queryStrings(ctx, q, `SELECT CAST(tgname AS TEXT) `+findsTrigger+` AND `+triggerFires()+`
		AND tgtype = $1 AND tgdeferrable AND tginitdeferred AND tgqual IS NULL AND tgnargs = 0
		AND EXISTS (SELECT 1 FROM pg_catalog.pg_proc p JOIN pg_catalog.pg_language l ON l.oid = p.prolang
			WHERE p.oid = tgfoid AND l.lanname = 'plpgsql' AND p.prosrc = $2 AND NOT p.prosecdef
			AND p.proconfig = ARRAY['search_path=pg_catalog'])
		AND (SELECT count(DISTINCT relnamespace) FROM pg_catalog.pg_class WHERE oid IN (CAST('latchkey_pending' AS regclass),
			CAST('latchkey_epoch' AS regclass), CAST('latchkey_changes' AS regclass))) = 1`, insertForEachRow, body)
	return len(found) == 1, err
}

// errTriggerOff means that the trigger would not be fired, though it was when the Store was opened.
var errTriggerOff = errors.New("the trigger " + triggerName + " is disabled or missing")

// insertPending hands the changes to the trigger.
func (t *tx) insertPending(p *plan, changes []latchkey.Change) error {
	rows := make([][]any, len(changes))
	for i, c := range changes {
		rows[i] = []any{int64(c.Kind), c.ID, micros(c.Until)}
	}
	return t.later(`INSERT INTO latchkey_pending (owner, id, at, kinds, ids, untils)
		SELECT CAST(? AS TEXT), CAST(? AS BYTEA), CAST(? AS BIGINT), CAST(? AS SMALLINT[]), CAST(? AS TEXT[]),
		CAST(? AS BIGINT[]) `+findsTrigger+` AND `+triggerFires(),
		[]any{p.w.Owner, p.w.ID[:], p.w.At.UnixMicro(), arrayOf(rows, 0), arrayOf(rows, 1), arrayOf(rows, 2)},
		func(n int64) error {
			if n != 1 {
				// Until the next New this Store raises the epoch itself. No trigger that appears again is trusted.
				t.store.raisesAtCommit.Store(false)
				return errors.Join(errRetry, errTriggerOff)
			}
			return nil
		})
}

// isRolledBackPostgres recognizes errors that PostgreSQL returns to a COMMIT before it commits, most of them from the
// trigger. Other errors, and a lost connection, may come after that.
func isRolledBackPostgres(err error) bool {
	state := sqlState(err)
	return len(state) == 5 && oneOf(state[:2], "22", "23", "42", "P0")
}
