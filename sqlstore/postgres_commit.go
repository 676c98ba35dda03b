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
// COMMIT. A transaction puts its changes into latchkey_commits, one row for all its Writes. The trigger raises the
// epoch by the number of Writes, numbers the changes, and removes the row. See 0010_commits.sql.
//
// Programs of earlier versions put a row for each Write into latchkey_pending, which has a trigger of its own. See
// 0003_epoch_at_commit.sql. That trigger is made too, for those that run beside this one.
//
// The database may lack the trigger, or a process of the first version may run beside this one. They raise the epoch by
// the last statement before COMMIT (advancePostgres). All ways lock the same row last, so they keep one order.
//
// Without the trigger, a row of latchkey_commits would be changes that nobody sees. New looks for it, and each
// transaction looks again: insertCommit inserts nothing unless the trigger will be fired. The trigger cannot be
// switched off meanwhile, because the table is locked against that until the commit.

// commitTrigger is a deferred trigger that raises the epoch. Its function has the same name.
type commitTrigger struct {
	name, table string
	migration   int64 // whose optional statements make it
}

var (
	oldTrigger = commitTrigger{"latchkey_raise_epoch", "latchkey_pending", 3}
	newTrigger = commitTrigger{"latchkey_number_changes", "latchkey_commits", 10}
)

// triggerFires returns a condition on a row of pg_trigger: the trigger is fired in this session. An enabled trigger is
// not fired where session_replication_role is replica.
func triggerFires() string {
	return `tgenabled IN ('O', 'A') AND current_setting('session_replication_role') <> 'replica'`
}

// found is the row of the trigger, if there is one.
func (c commitTrigger) found() string {
	return `FROM pg_catalog.pg_trigger WHERE tgrelid = CAST('` + c.table + `' AS regclass) AND tgname = '` + c.name + `'`
}

// statements returns those that make the function and the trigger.
func (c commitTrigger) statements(steps []migrationStep) []string {
	return optionalStatements(steps[c.migration-1 : c.migration])
}

// makeTriggers makes the functions and the triggers that are missing. It leaves alone one that is disabled.
func makeTriggers(ctx context.Context, q execQuerier, steps []migrationStep) (made bool, err error) {
	for _, c := range []commitTrigger{oldTrigger, newTrigger} {
		one, err := c.make(ctx, q, steps)
		if err != nil {
			return false, err
		}
		made = made || one
	}
	return made, nil
}

func (c commitTrigger) make(ctx context.Context, q execQuerier, steps []migrationStep) (made bool, err error) {
	there, err := queryStrings(ctx, q, `SELECT CAST(tgname AS TEXT) `+c.found())
	if err != nil || len(there) > 0 {
		return false, err
	}
	if _, err := q.ExecContext(ctx, `SAVEPOINT latchkey_optional`); err != nil {
		return false, err
	}
	for _, statement := range c.statements(steps) {
		if _, err = q.ExecContext(ctx, statement); err != nil {
			break
		}
	}
	if err == nil {
		return true, nil
	}
	if !isForbidden(err) {
		return false, fmt.Errorf("the trigger %s: %w", c.name, err)
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

// findTrigger reports whether the trigger is there, is fired, and does what 0010_commits.sql says. A trigger of another
// version may do something else, so it is not used.
func findTrigger(ctx context.Context, q querier, steps []migrationStep) (bool, error) {
	body := ""
	for _, statement := range newTrigger.statements(steps) {
		if _, rest, ok := strings.Cut(statement, "$$"); ok {
			body, _, _ = strings.Cut(rest, "$$")
		}
	}
	const insertForEachRow = 1<<0 | 1<<2 // the bits of pg_trigger.tgtype, after and not before
	found, err := queryStrings(ctx, q, `SELECT CAST(tgname AS TEXT) `+newTrigger.found()+` AND `+triggerFires()+`
		AND tgtype = $1 AND tgdeferrable AND tginitdeferred AND tgqual IS NULL AND tgnargs = 0
		AND EXISTS (SELECT 1 FROM pg_catalog.pg_proc p JOIN pg_catalog.pg_language l ON l.oid = p.prolang
			WHERE p.oid = tgfoid AND l.lanname = 'plpgsql' AND p.prosrc = $2 AND NOT p.prosecdef
			AND p.proconfig = ARRAY['search_path=pg_catalog'])
		AND (SELECT count(DISTINCT relnamespace) FROM pg_catalog.pg_class WHERE oid IN (CAST('latchkey_commits' AS regclass),
			CAST('latchkey_epoch' AS regclass), CAST('latchkey_changes' AS regclass))) = 1`, insertForEachRow, body)
	return len(found) == 1, err
}

// errTriggerOff means that the trigger would not be fired, though it was when the Store was opened.
var errTriggerOff = fmt.Errorf("the trigger %s is disabled or missing", newTrigger.name)

// commitRows are the changes of a transaction's Writes, as the trigger takes them.
type commitRows struct {
	owner  string   // of the first Write
	id     [16]byte // likewise
	writes int64
	rows   [][]any
}

var commitColumns = []string{"BIGINT", "BIGINT", "TEXT", "SMALLINT", "TEXT", "BIGINT", "BIGINT"}

// add adds the changes of a Write.
func (c *commitRows) add(w *latchkey.Write, changes []latchkey.Change) {
	if c.writes == 0 {
		c.owner, c.id = w.Owner, w.ID
	}
	c.writes++
	for i, change := range changes {
		c.rows = append(c.rows, []any{c.writes, i, w.Owner, int64(change.Kind), change.ID, micros(change.Until),
			w.At.UnixMicro()})
	}
}

// insertCommit hands the changes of the job to the trigger, if there are any.
func (t *tx) insertCommit() error {
	c := t.changes
	t.changes = commitRows{}
	if c.writes == 0 {
		return nil
	}
	args := []any{c.owner, c.id[:], c.writes}
	var arrays strings.Builder
	for i, typ := range commitColumns {
		arrays.WriteString(`, CAST(? AS ` + typ + `[])`)
		args = append(args, arrayOf(c.rows, i))
	}
	return t.later(`INSERT INTO latchkey_commits (owner, id, writes, nths, seqs, owners, kinds, ids, untils, ats)
		SELECT CAST(? AS TEXT), CAST(? AS BYTEA), CAST(? AS BIGINT)`+arrays.String()+`
		WHERE EXISTS (SELECT `+newTrigger.found()+` AND `+triggerFires()+`)`, args,
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
