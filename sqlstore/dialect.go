package sqlstore

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/latchkey-go/latchkey"
)

// dialect is all that differs between engines. Statements are written with "?".
type dialect struct {
	name string
	dir  string // of the migrations

	// begin starts a transaction, on a connection from db, that holds, or will take before it reads, the locks its writes
	// need.
	begin func(ctx context.Context, db *sql.DB) (transaction, error)
	// retry says that err undid a transaction, or kept it from starting, and that trying again may succeed.
	isRetryable func(err error) bool
	// waited says that err ended a read that had waited in vain already. Nil: never.
	readWaitTimedOut func(err error) bool
	// taken says that err is a taken unique key, that it undid its own statement only, and that ifAbsent could not say
	// so. Nil: never.
	isDuplicateKey func(err error) bool
	// unkept says that err refuses a value because the engine cannot keep it. Nil: never.
	isUnstorable func(err error) bool
	// check refuses, at New, an engine or a database that cannot keep the contract.
	checkEngine func(ctx context.Context, db *sql.DB) error
	// session refuses, at New and Migrate, settings of a session with which something would fail or lie later. Nil: never.
	checkSession func(ctx context.Context, db *sql.DB, writes bool) error
	// node refuses, at New, a server of a cluster whose reads, or whose writes, would not be those of all. Nil: never. Of
	// others it says whether transactions must be begun by beginClustered.
	checkNode      func(ctx context.Context, db *sql.DB, opts *Options) (clustered bool, err error)
	beginClustered func(ctx context.Context, db *sql.DB) (transaction, error)
	// migrate brings the schema up to date, one process at a time, from before the first look.
	migrate func(ctx context.Context, db *sql.DB, dia *dialect, steps []migrationStep) error
	// lockMigrations is begin for a migrate that is one transaction.
	lockMigrations func(ctx context.Context, db *sql.DB) (transaction, error)
	// tables lists tables that begin with latchkey_.
	tables string
	// spoilt lists what was done to the tables that would make a store lie. See tables.go.
	tableFaults string
	// columns describes the columns of a host's table; schema may be "". None: there is no such table.
	columns    func(ctx context.Context, db *sql.DB, schema, table string) (columns, error)
	fieldKinds map[latchkey.FieldType]allowedKinds
	// probe makes a column of a declared type to try a driver's times in. keepsText: days and moments may be text. unzoned
	// says what a program does that a probe fails.
	probe       func(ctx context.Context, db *sql.DB, of column, typ latchkey.FieldType) (probe, error)
	timesAsText bool
	timeFix     map[kind]string
	// quotes are what names may stand in. foldsPlain: case counts for names of columns, but in plain ones it is lowered.
	quotes        map[byte]byte
	foldsUnquoted bool

	writers          int  // how many transactions of one Store write at once
	mintWorkers      int  // how many batches of mints are at work besides; 0: mints wait for a commit among the other writes
	arrays           bool // many rows are best given as an array for each column; otherwise as VALUES
	groupCommit      bool // many writes may share one commit, and gain by it
	waitsForReplicas bool // a commit waits for other servers, and giving up leaves what was committed on this one
	interruptible    bool // a statement that is interrupted leaves nothing behind but a broken transaction
	prepares         bool // preparing is worth it; the drivers of the others remember statements themselves
	numbered         bool // placeholders are $1, $2, …
	// own makes statements that read the epoch find none on a server that lags behind. Nil: as they are.
	primaryOnly *strings.Replacer

	// lock ends a SELECT whose rows are this transaction's own until the commit, share one whose rows must stay as they
	// are, and skip one that passes over rows which are another's.
	forUpdate, forShare, forUpdateSkip string
	// shareSkip is share for those rows only that are free.
	forShareSkip string
	// ownedSeq, not empty, is the number of an owner's last event, in a SELECT that takes the row of the owner for this
	// transaction. Where there is one writer nothing has to be taken.
	lockedSeq string
	// ifAbsent ends an INSERT that does nothing when a unique key is taken. See insert.
	ifAbsent string
	// insertOrUndo begins an INSERT in a transaction that is undone when any of it fails.
	insertOrFail string
	// rowList comes before a list of rows in "(a, b) IN (…)".
	rowList string
	// returning says that an INSERT … SELECT may end in RETURNING.
	returning bool
	// onTaken ends an INSERT that updates the row which has the key; the row not inserted is "excluded".
	onConflictUpdate func(key, set string) string
	// advance raises the epoch by one, lists the changes, and notes the epoch with the write.
	advanceEpoch func(t *tx, p *plan, rows []latchkey.Change) (epoch uint64, err error)
	// join is an expression of the bytes of several, one after the other.
	concat func(parts ...string) string
	// clock is the database's, as an expression of microseconds; noClock: it is this machine's.
	clock string
	// startsWith is true for a text column that begins with the bytes of its second argument, whose length is its first.
	startsWith func(column string) string
}

const noClock = `NULL`

// fit refuses an engine, a database or a session that cannot keep the contract.
func (d *dialect) checkServer(ctx context.Context, db *sql.DB) error {
	if err := d.checkEngine(ctx, db); err != nil || d.checkSession == nil {
		return err
	}
	return d.checkSession(ctx, db, true)
}

// text is a statement as the engine wants it.
func (d *dialect) render(text string) string {
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

// wrongEngine is for a database that answers, and is another engine than the dialect says.
func wrongEngine(want, version string) error {
	return fmt.Errorf("this is no %s database: it says it is %q; name the dialect of the engine that the driver speaks to",
		want, version)
}

// transaction is what a Store does its writes in.
type transaction struct {
	executor interface {
		ExecContext(ctx context.Context, query string, args ...any) (sql.Result, error)
		QueryContext(ctx context.Context, query string, args ...any) (*sql.Rows, error)
	}
	// bind returns the Store's statement for use inside; nil: there are none.
	bindStmt func(ctx context.Context, stmt *sql.Stmt) *sql.Stmt
	// intact fails when this is no longer the transaction that was begun, so that what it answered is worth nothing. Nil:
	// the engine says so itself. After it only end is called.
	checkOpen func(ctx context.Context) error
	// commit may be called once. ctx.Err() means that the outcome is not known.
	commit func(ctx context.Context) error
	// end rolls back what was not committed. After it the connection is fit for the pool again, or dropped from it.
	release func()
}

// verdict is err, unless it may come from after the end of the transaction.
func (t *transaction) orLost(ctx context.Context, err error) error {
	if err != nil && t.checkOpen != nil {
		if lost := t.checkOpen(ctx); lost != nil {
			return lost
		}
	}
	return err
}

// maxRestore is how long a connection may take to become what it was. Otherwise it is dropped.
const maxRestore = 5 * time.Second

// beginReadCommitted starts a transaction of an engine with many writers. The isolation is asked for: with more, each
// wait for another's row would end in an error, and the host's default is not known. The connection is told before, and
// after once the transaction has ended; "" is nothing.
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
		discardConn(conn) // it may have begun
		conn.Close()
		return nil, transaction{}, err
	}
	committed, abandoned := false, false
	end := func() {
		// Whatever a driver has done or failed to do, no open transaction reaches the pool.
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
		commit: func(ctx context.Context) error {
			if err := ctx.Err(); err != nil {
				return errors.Join(errNotCommitted, err)
			}
			// Not every driver can give up a commit: who waits for it must be able to.
			done := make(chan error, 1)
			go func() { done <- tx.Commit() }()
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

// maxApart is how far this machine's clock may lie from the database's, either way.
const maxClockDifference = time.Minute

// checkClock refuses a clock that the Manager would not believe: by one that is behind tokens would outlive their end,
// by one that is ahead they would live too long, or not at all.
func checkClock(database int64) error {
	apart, word := time.Until(time.UnixMicro(database)), "behind"
	if apart < 0 {
		apart, word = -apart, "ahead of"
	}
	if apart > maxClockDifference {
		return fmt.Errorf("this machine's clock is %v %s the database's, and they may be %v apart: set right the one "+
			"that is wrong (NTP)", apart.Round(time.Second), word, maxClockDifference)
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
