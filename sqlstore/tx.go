package sqlstore

import (
	"context"
	"database/sql"
	"fmt"

	"github.com/latchkey-go/latchkey"
)

// tx is a write transaction in progress.
//
// On SQLite its statements run without the caller's deadline. SQLite answers an interrupted statement by rolling back
// the whole transaction, and later statements would then commit by themselves. So the deadline is checked between
// statements.
//
// If preparing pays off, the statements are the Store's prepared ones, where they exist. Preparing needs another
// connection, which a pool of one does not have during the transaction. So new texts are run unprepared, and prepared
// before the next transaction.
type tx struct {
	store *Store
	transaction
	job        *job
	changed    bool                 // it advances the epoch, or repeats a Write that may have
	merged     []mergedStatement    // not run yet, in order; see later
	shared     bool                 // changes of several owners share it
	changes    commitRows           // not given to the trigger yet
	eventHeads map[string]eventHead // of owners whose row the job has locked
	stmts      map[string]*sql.Stmt // bound to this transaction; nil: not prepared
}

// eventHead is what the row of an owner says of its audit trail.
type eventHead struct {
	seq  int64  // the number of the last event
	head []byte // what the last Write.Seal returned; nil: there was none
}

// sealed returns the i-th event of a Write as it is kept, and raises h to it.
func (h *eventHead) sealed(w *latchkey.Write, i int) latchkey.Event {
	h.seq++
	e := w.Events[i]
	e.Seq, e.Owner = uint64(h.seq), w.Owner
	if w.Seal != nil {
		h.head = w.Seal(i, &e, h.head)
	}
	return e
}

func (t *tx) run(j *job) error {
	t.job, t.eventHeads, t.merged, t.changes = j, nil, nil, commitRows{}
	if err := j.apply(t); err != nil {
		return err
	}
	return t.finish()
}

// finish runs what was kept back until the end of the job.
func (t *tx) finish() error {
	if err := t.insertCommit(); err != nil {
		return err
	}
	return t.runMerged()
}

// context returns the context that a statement runs with.
func (t *tx) context() (context.Context, error) {
	if err := t.job.ctx.Err(); err != nil || t.dialect().interruptible {
		return t.job.ctx, err
	}
	return context.WithoutCancel(t.job.ctx), nil
}

func (t *tx) dialect() *dialect { return t.store.dialect }

// bound returns the prepared statement for a text, or nil if there is none yet.
func (t *tx) bound(ctx context.Context, text string) *sql.Stmt {
	stmt, ok := t.stmts[text]
	if ok || t.bindStmt == nil {
		return stmt
	}
	if stmt = t.store.prepared(text); stmt != nil {
		stmt = t.bindStmt(ctx, stmt)
	}
	if t.stmts == nil {
		t.stmts = map[string]*sql.Stmt{}
	}
	t.stmts[text] = stmt
	return stmt
}

// result runs a statement that returns no rows.
func (t *tx) result(text string, args ...any) (sql.Result, error) {
	if err := t.runMerged(); err != nil {
		return nil, err
	}
	ctx, err := t.context()
	if err != nil {
		return nil, err
	}
	if stmt := t.bound(ctx, text); stmt != nil {
		return stmt.ExecContext(ctx, args...)
	}
	return t.executor.ExecContext(ctx, t.store.render(text), args...)
}

// exec returns how many rows the statement touched. MySQL counts only rows whose values changed.
func (t *tx) exec(text string, args ...any) (int64, error) {
	result, err := t.result(text, args...)
	if err != nil {
		return 0, err
	}
	return result.RowsAffected()
}

// insert is exec for an INSERT of one row. If a unique key is taken, it does nothing and returns 0. If another
// transaction may be about to take the key, insert waits for its end.
func (t *tx) insert(text string, args ...any) (int64, error) {
	n, err := t.exec(text+t.dialect().ifAbsent, args...)
	if err != nil && t.dialect().isDuplicateKey != nil && t.dialect().isDuplicateKey(err) {
		return 0, nil
	}
	return n, err
}

// execOne is exec for a statement that must touch exactly one row of the Store's own.
func (t *tx) execOne(text string, args ...any) error {
	n, err := t.exec(text, args...)
	if err == nil && n != 1 {
		err = fmt.Errorf("%d rows were touched instead of one", n)
	}
	return err
}

// each calls scan for each row.
func (t *tx) each(text string, args []any, scan func(*sql.Rows) error) error {
	if err := t.runMerged(); err != nil {
		return err
	}
	ctx, err := t.context()
	if err != nil {
		return err
	}
	if stmt := t.bound(ctx, text); stmt != nil {
		rows, err := stmt.QueryContext(ctx, args...)
		return eachRow(rows, err, scan)
	}
	rows, err := t.executor.QueryContext(ctx, t.store.render(text), args...)
	return eachRow(rows, err, scan)
}

// row reads the first row into dest, and reports whether there was one.
func (t *tx) row(text string, args []any, dest ...any) (found bool, err error) {
	err = t.each(text, args, func(rows *sql.Rows) error {
		if found {
			return nil
		}
		found = true
		return rows.Scan(dest...)
	})
	return found, err
}

// lockOwner locks an owner's records until the commit, so that what is read there, and what is missing, stays the same.
// If shared, other transactions that only add may run at the same time. A transaction that needs both must not take the
// shared lock first: two of them would deadlock.
func (t *tx) lockOwner(owner string, shared bool) error {
	if t.dialect().lockedSeq == "" {
		return nil
	}
	return t.readEventHead(owner, t.dialect().lockOwner(shared))
}

// readEventHead reads the row of an owner. It inserts the row if there is none.
func (t *tx) readEventHead(owner, text string) error {
	for range 2 {
		var last eventHead
		found, err := t.row(text, []any{owner}, &last.seq, &last.head)
		if err != nil {
			return err
		}
		if found {
			if t.eventHeads == nil {
				t.eventHeads = map[string]eventHead{}
			}
			t.eventHeads[owner] = last
			return nil
		}
		if _, err := t.insert(`INSERT INTO latchkey_event_seqs (owner, seq) VALUES (?, 0)`, owner); err != nil {
			return err
		}
	}
	return errRetry
}

// sealEvents numbers the events of a Write and seals them. They follow the owner's last event.
func (t *tx) sealEvents(w *latchkey.Write) ([]latchkey.Event, error) {
	if _, ok := t.eventHeads[w.Owner]; !ok {
		err := t.readEventHead(w.Owner, `SELECT seq, head FROM latchkey_event_seqs WHERE owner = ?`)
		if err != nil {
			return nil, err
		}
	}
	last := t.eventHeads[w.Owner]
	events := make([]latchkey.Event, len(w.Events))
	for i := range events {
		events[i] = last.sealed(w, i)
	}
	t.eventHeads[w.Owner] = last
	return events, t.later(`UPDATE latchkey_event_seqs SET seq = ?, head = ? WHERE owner = ?`,
		[]any{last.seq, nullBytes(last.head), w.Owner}, touchedOne)
}
