package sqlstore

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"regexp"
	"strconv"
	"strings"
	"time"

	"github.com/latchkey-go/latchkey"
)

// dialect holds all that differs between engines. Statements are written with "?".
type dialect struct {
	name string
	dir  string // of the migrations

	// begin starts a transaction on a connection from db. The transaction holds the locks that its writes need, or takes
	// them before it reads.
	begin func(ctx context.Context, db *sql.DB) (transaction, error)
	// isRetryable reports whether err undid a transaction, or prevented its start, and another try may succeed.
	isRetryable func(err error) bool
	// readWaitTimedOut reports whether err ended a read after a long wait. Such a read is not retried. Nil: never.
	readWaitTimedOut func(err error) bool
	// isDuplicateKey reports whether err means that a unique key is taken, and undid only its own statement. It is for
	// engines where ifAbsent cannot tell. Nil: never.
	isDuplicateKey func(err error) bool
	// isUnstorable reports whether err refuses a value that the engine cannot store. Nil: never.
	isUnstorable func(err error) bool
	// checkEngine refuses, at New, an engine or a database that cannot keep the contract.
	checkEngine func(ctx context.Context, db *sql.DB) error
	// checkSession refuses, at New and Migrate, session settings with which a later call would fail or answer wrongly.
	// Nil: none.
	checkSession func(ctx context.Context, db *sql.DB, writes bool) error
	// checkNode refuses, at New, a server of a cluster whose reads or writes are not those of the whole cluster. For other
	// servers it reports whether transactions must be begun by beginClustered. Nil: no check.
	checkNode      func(ctx context.Context, db *sql.DB, opts *Options) (clustered bool, err error)
	beginClustered func(ctx context.Context, db *sql.DB) (transaction, error)
	// adapt changes own, a copy of the dialect, for a server that is another engine behind the same protocol. It is called
	// at New. Nil: there is none.
	adapt func(ctx context.Context, db *sql.DB, own *dialect) error
	// migrate brings the schema up to date. Only one process at a time runs it, its first read included.
	migrate func(ctx context.Context, db *sql.DB, dia *dialect, steps []migrationStep) error
	// makeOptional makes what the database lacks of the migrations' optional statements, in a transaction, and reports
	// whether it did. Where the database forbids them it leaves them out. Nil: there are none.
	makeOptional func(ctx context.Context, q execQuerier, steps []migrationStep) (made bool, err error)
	// raisesAtCommit reports, at New, whether the database itself raises the epoch for what is in latchkey_pending. Nil:
	// it does not.
	raisesAtCommit func(ctx context.Context, q querier, steps []migrationStep) (bool, error)
	// isRolledBack reports whether a commit's error says that nothing was committed. Nil: it cannot be known.
	isRolledBack func(err error) bool
	// lockMigrations is begin for a migrate that is one transaction.
	lockMigrations func(ctx context.Context, db *sql.DB) (transaction, error)
	// tables lists the tables that begin with latchkey_.
	tables string
	// tableFaults lists faults of the tables with which a store would answer wrongly. See migrate_check.go.
	tableFaults string
	// columns describes the columns of a host's table; schema may be "". If there is no such table, it returns none.
	columns    func(ctx context.Context, db *sql.DB, schema, table string) (columns, error)
	fieldKinds map[latchkey.FieldType]allowedKinds
	// probe makes a column of a declared type to try a driver's times with. timesAsText: dates and times may be text.
	// timeFix is the advice for each kind of column whose probe fails.
	probe       func(ctx context.Context, db *sql.DB, of column, typ latchkey.FieldType) (probe, error)
	timesAsText bool
	timeFix     map[kind]string
	// quotes maps the opening quotes of names to the closing ones. foldsUnquoted: column names are case-sensitive, and
	// unquoted ones are converted to lower case.
	quotes        map[byte]byte
	foldsUnquoted bool

	writers          int  // write transactions of one Store at once
	mintWorkers      int  // batches of mints at once, besides the writers; 0: mints are queued with the other writes
	arrays           bool // many rows are passed as an array for each column, otherwise as VALUES
	packsFeed        bool // lists of what changed are cheaper than rows
	bulkRows         int  // rows of one INSERT with VALUES; a power of two
	groupCommit      bool // many writes may share one commit, which is faster
	mergesStatements bool // statements that return no rows may be parts of one; see tx.later
	waitsForReplicas bool // a commit waits for other servers; one that gives up waiting has committed on this server
	interruptible    bool // an interrupted statement leaves nothing but a failed transaction
	prepares         bool // preparing pays off; the drivers of the other engines cache statements themselves
	numbered         bool // placeholders are $1, $2, …
	// reserved matches columns' names in statements that must be quoted with backticks. Nil: none.
	reserved *regexp.Regexp
	// primaryOnly changes statements that read the epoch, so that they find none on a standby. Nil: no change.
	primaryOnly *strings.Replacer

	// forUpdate ends a SELECT whose rows no other transaction may lock until the commit. forShare ends one whose rows must
	// not change. forUpdateSkip is forUpdate for the rows that are not locked.
	forUpdate, forShare, forUpdateSkip string
	// forShareSkip is forShare for the rows that are not locked.
	forShareSkip string
	// lockedSeq is the number of an owner's last event, in a SELECT that locks the row of the owner. It is "" where there
	// is only one writer and nothing has to be locked.
	lockedSeq string
	// planning is an expression that sets how later statements of the transaction are planned, where arrays are passed.
	planning string
	// ifAbsent ends an INSERT that does nothing if a unique key is taken. See tx.insert.
	ifAbsent string
	// insertOrFail begins an INSERT in a transaction that is undone if any row fails.
	insertOrFail string
	// listsRows: rows are found by "(a, b) IN ((?, ?), …)". Otherwise inRows writes each row out.
	listsRows bool
	// writeID lists the values of the row of a Write's ID: its owner, its id, 0, its time.
	writeID string
	// onConflictUpdate ends an INSERT that updates the row which has the key. The row not inserted is "excluded".
	onConflictUpdate func(key, set string) string
	// advanceEpoch adds one to the epoch and inserts the changes with it.
	advanceEpoch func(t *tx, p *plan, rows []latchkey.Change) error
	// notify has those notified that listen, unless another process is about to. Nil: nobody can listen.
	notify func(ctx context.Context, s *Store, n notice) (noticed, error)
	// concat returns an expression that concatenates bytes.
	concat func(parts ...string) string
	// clock is an expression for the database's time in microseconds. noClock: this machine's clock is used.
	clock string
	// startsWith returns a condition: the text column begins with the bytes of the second argument. The first argument is
	// their length.
	startsWith func(column string) string
	// contains returns a condition: the text column has the bytes of the argument in it. containsLower is the same of the
	// column with its letters A to Z in lower case, whatever becomes of others; nil: there is no such condition.
	contains, containsLower func(column string) string
}

const noClock = `NULL`

// checkServer refuses an engine, a database or a session that cannot keep the contract.
func (d *dialect) checkServer(ctx context.Context, db *sql.DB) error {
	if err := d.checkEngine(ctx, db); err != nil || d.checkSession == nil {
		return err
	}
	return d.checkSession(ctx, db, true)
}

// lockOwner is a query for an owner's eventHead that locks the owner's row.
func (d *dialect) lockOwner(shared bool) string {
	lock := d.forUpdate
	if shared {
		lock = d.forShare
	}
	return `SELECT ` + d.lockedSeq + ` AS seq, head FROM latchkey_event_seqs WHERE owner = ?` + lock
}

// render returns a statement in the engine's form.
func (d *dialect) render(text string) string {
	if d.reserved != nil {
		text = d.reserved.ReplaceAllString(text, "`$0`")
	}
	if !d.numbered {
		return text
	}
	if d.primaryOnly != nil {
		text = d.primaryOnly.Replace(text)
	}
	var b strings.Builder
	for n := 1; ; n++ {
		before, after, found := strings.Cut(text, "?")
		b.WriteString(before)
		if !found {
			return b.String()
		}
		b.WriteByte('$')
		b.WriteString(strconv.Itoa(n))
		text = after
	}
}

func dialectOf(d latchkey.Dialect) (*dialect, error) {
	switch d {
	case latchkey.SQLite:
		return &sqlite, nil
	case latchkey.Postgres:
		return &postgres, nil
	case latchkey.MySQL:
		return &mysql, nil
	}
	return nil, fmt.Errorf("latchkey/sqlstore: dialect %d is unknown; known: SQLite, Postgres, MySQL", d)
}

// wrongEngine is the error for a database that answers but is another engine than the dialect says.
func wrongEngine(want, version string) error {
	return fmt.Errorf("this is no %s database, it reports %q: name the dialect of the engine that the driver connects to",
		want, version)
}

// transaction is a write transaction of an engine.
type transaction struct {
	executor execQuerier
	// bindStmt returns the Store's statement for use in the transaction. Nil: there are none.
	bindStmt func(ctx context.Context, stmt *sql.Stmt) *sql.Stmt
	// checkOpen returns an error if the transaction that was begun has ended, so that its answers are void. After an error
	// only release may be called. Nil: the engine reports this itself.
	checkOpen func(ctx context.Context) error
	// commit may be called once. ctx.Err() means that the outcome is not known.
	commit func(ctx context.Context) error
	// ended is closed when the commit has ended, also if its caller did not wait for that. Nil: callers always wait.
	ended <-chan struct{}
	// release rolls back what was not committed. The connection goes back to the pool, or is dropped if it cannot be used
	// again.
	release func()
}

// orLost returns err, or the error of checkOpen if err may come from after the end of the transaction.
func (t *transaction) orLost(ctx context.Context, err error) error {
	if err != nil && t.checkOpen != nil {
		if lost := t.checkOpen(ctx); lost != nil {
			return lost
		}
	}
	return err
}

// inRows returns the condition that some columns have the values of one of n rows. Its arguments are the rows, in their
// order. SQLite that has statistics of some ten million rows looks for "(a, b) IN (VALUES …)" by a alone, and goes
// through all records of an owner; so each row is an alternative there, which it looks for by an index of its own.
func (d *dialect) inRows(columns string, n int) string {
	if d.listsRows {
		row := `(?` + strings.Repeat(`, ?`, strings.Count(columns, ",")) + `)`
		return `(` + columns + `) IN (` + row + strings.Repeat(`, `+row, n-1) + `)`
	}
	row := `(` + strings.ReplaceAll(columns, ", ", " = ? AND ") + ` = ?)`
	return `(` + row + strings.Repeat(` OR `+row, n-1) + `)`
}

// maxRestore is how long resetting a connection may take. After that the connection is dropped.
const maxRestore = 5 * time.Second

// beginReadCommitted starts a transaction of an engine with many writers. It sets the isolation, because the host's
// default is not known. With a higher level, each wait for another transaction's row would end in an error. It runs the
// statement before on the connection first, and after once the transaction has ended; "" is none.
func beginReadCommitted(ctx context.Context, db *sql.DB, before, after string) (*sql.Tx, transaction, error) {
	conn, err := db.Conn(ctx)
	if err != nil {
		return nil, transaction{}, err
	}
	if before != "" {
		_, err = conn.ExecContext(ctx, before)
	}
	var tx *sql.Tx
	if err == nil {
		tx, err = conn.BeginTx(ctx, &sql.TxOptions{Isolation: sql.LevelReadCommitted})
	}
	if err != nil {
		discardConn(conn) // the transaction may have begun
		conn.Close()
		return nil, transaction{}, err
	}
	committed, abandoned := false, false
	ended := make(chan struct{})
	end := func() {
		// Whatever the driver has done or failed to do, no open transaction returns to the pool.
		err := tx.Rollback()
		if committed {
			err = nil
		}
		if err == nil && after != "" {
			restoring, cancel := context.WithTimeout(context.WithoutCancel(ctx), maxRestore)
			_, err = conn.ExecContext(restoring, after)
			cancel()
		}
		if err != nil {
			discardConn(conn)
		}
		conn.Close()
	}
	return tx, transaction{
		executor: tx,
		ended:    ended,
		commit: func(ctx context.Context) error {
			if err := ctx.Err(); err != nil {
				return errors.Join(errNotCommitted, err)
			}
			// Not every driver can give up a commit, but a caller that waits for one must be able to.
			done := make(chan error, 1)
			go func() {
				err := tx.Commit()
				close(ended)
				done <- err
			}()
			select {
			case err := <-done:
				committed = err == nil
				return err
			case <-ctx.Done():
				abandoned = true
				go func() {
					<-done
					end()
				}()
				return ctx.Err()
			}
		},
		release: func() {
			if !abandoned {
				end()
			}
		},
	}, nil
}

// maxClockDifference is how far this machine's clock may differ from the database's, in either direction.
const maxClockDifference = time.Minute

// checkClock refuses a clock that a Manager would not trust. With one that is behind, tokens would outlive their end.
// With one that is ahead, tokens would live too long or not at all.
func checkClock(database int64) error {
	apart, word := time.Until(time.UnixMicro(database)), "behind"
	if apart < 0 {
		apart, word = -apart, "ahead of"
	}
	if apart > maxClockDifference {
		return fmt.Errorf("this machine's clock is %v %s the database's, and at most %v is allowed: correct the one that "+
			"is wrong (NTP)", apart.Round(time.Second), word, maxClockDifference)
	}
	return nil
}

func oneOf[T comparable](v T, list ...T) bool {
	for _, w := range list {
		if v == w {
			return true
		}
	}
	return false
}
