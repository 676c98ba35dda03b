package e2e

import (
	"context"
	"database/sql"
	"database/sql/driver"
	"errors"
	"io"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/go-sql-driver/mysql"
)

// faults is a driver.Connector around another driver. It writes down every statement, and makes one of them fail, or each
// of them slow.
type faults struct {
	wrapped driver.Driver
	dsn     string
	// preparesAll says that the driver itself prepares what has arguments.
	preparesAll bool
	pause       time.Duration // at most; before each statement
	before      func(text string)

	mu    sync.Mutex
	op    string // what the test is doing
	log   []logged
	left  int // statements until the one that fails; negative: none
	after bool
	err   error
	hit   string // the statement that failed
}

// logged is a statement, and what the test was doing.
type logged struct{ op, text string }

// openFaulty opens SQLite with a driver that fails when it is told to.
func openFaulty(t testing.TB, dsn string) (*sql.DB, *faults) {
	return openFaultyOf(t, openDB(t, dsn), dsn)
}

// openFaultyOf opens what plain is a pool of.
func openFaultyOf(t testing.TB, plain *sql.DB, dsn string) (*sql.DB, *faults) {
	f := newFaults(plain.Driver(), dsn)
	db := sql.OpenDB(f)
	t.Cleanup(func() { db.Close() })
	return db, f
}

// newFaults wraps a driver that connects to dsn. It fails nothing until begin.
func newFaults(wrapped driver.Driver, dsn string) *faults {
	f := &faults{wrapped: wrapped, dsn: dsn, left: -1}
	_, f.preparesAll = wrapped.(*mysql.MySQLDriver)
	return f
}

// begin names what comes, and arms the fault: statement n fails with err, before or after its effect.
func (f *faults) begin(op string, n int, after bool, err error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.op, f.left, f.after, f.err, f.hit = op, n, after, err, ""
}

// disarm returns the statement that failed, "" if none did.
func (f *faults) disarm() string {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.left = -1
	return f.hit
}

// count returns how many statements there have been.
func (f *faults) count() int {
	f.mu.Lock()
	defer f.mu.Unlock()
	return len(f.log)
}

// statements returns a copy of the statements so far, without the first n.
func (f *faults) statements(n int) []logged {
	f.mu.Lock()
	defer f.mu.Unlock()
	return slices.Clone(f.log[n:])
}

func (f *faults) statement(text string) (before, after error) {
	if f.pause > 0 {
		time.Sleep(rand.N(f.pause))
	}
	if f.before != nil {
		f.before(text)
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	f.log = append(f.log, logged{f.op, text})
	f.left--
	if f.left != -1 {
		return nil, nil
	}
	f.hit = text
	if f.after {
		return nil, f.err
	}
	return f.err, nil
}

func (f *faults) Driver() driver.Driver { return f.wrapped }

func (f *faults) Connect(context.Context) (driver.Conn, error) {
	conn, err := f.wrapped.Open(f.dsn)
	if err != nil {
		return nil, err
	}
	return &faultyConn{Conn: conn, f: f}, nil
}

// happens is a fault that is no error of the driver's: something happens at that statement, such as a deadline.
type happens func()

func (happens) Error() string { return "something happens" }

func called(err error) error {
	if f, ok := err.(happens); ok {
		f()
		return nil
	}
	return err
}

// ended is a fault before a statement: the transaction is rolled back, and no answer says so.
type ended struct{}

func (ended) Error() string { return "the transaction has ended" }

func (c *faultyConn) called(err error) error {
	if _, ok := err.(ended); ok {
		_, err := c.Conn.(driver.ExecerContext).ExecContext(context.Background(), "ROLLBACK", nil)
		return err
	}
	return called(err)
}

// expiring is a context whose deadline comes when it is told to, with no clock.
type expiring struct {
	context.Context
	over chan struct{}
	once *sync.Once
}

func newExpiring() expiring { return expiring{context.Background(), make(chan struct{}), &sync.Once{}} }

func (e expiring) expire()               { e.once.Do(func() { close(e.over) }) }
func (e expiring) Done() <-chan struct{} { return e.over }
func (e expiring) Err() error {
	select {
	case <-e.over:
		return context.DeadlineExceeded
	default:
		return nil
	}
}

type faultyConn struct {
	driver.Conn
	f    *faults
	lost bool // nothing works any more on what was said to be a bad connection
}

func (c *faultyConn) statement(text string) (before, after error) {
	if c.lost {
		return driver.ErrBadConn, nil
	}
	before, after = c.f.statement(text)
	c.lost = lost(before) || lost(after)
	return before, after
}

func lost(err error) bool { return errors.Is(err, driver.ErrBadConn) }

func (c *faultyConn) exec(text string, run func() (driver.Result, error)) (driver.Result, error) {
	before, after := c.statement(text)
	if before = c.called(before); before != nil {
		return nil, before
	}
	result, err := run()
	if after = called(after); err == nil && after != nil {
		return nil, after
	}
	return result, err
}

func (c *faultyConn) query(text string, run func() (driver.Rows, error)) (driver.Rows, error) {
	before, after := c.statement(text)
	if before = c.called(before); before != nil {
		return nil, before
	}
	rows, err := run()
	if after = called(after); err == nil && after != nil {
		return cutRows{rows, after}, nil
	}
	return rows, err
}

func (c *faultyConn) ExecContext(ctx context.Context, q string, args []driver.NamedValue) (driver.Result, error) {
	if c.f.preparesAll && len(args) > 0 {
		return nil, driver.ErrSkip
	}
	return c.exec(q, func() (driver.Result, error) { return c.Conn.(driver.ExecerContext).ExecContext(ctx, q, args) })
}

func (c *faultyConn) QueryContext(ctx context.Context, q string, args []driver.NamedValue) (driver.Rows, error) {
	if c.f.preparesAll && len(args) > 0 {
		return nil, driver.ErrSkip
	}
	return c.query(q, func() (driver.Rows, error) { return c.Conn.(driver.QueryerContext).QueryContext(ctx, q, args) })
}

func (c *faultyConn) PrepareContext(ctx context.Context, q string) (driver.Stmt, error) {
	stmt, err := c.Conn.(driver.ConnPrepareContext).PrepareContext(ctx, q)
	if err != nil {
		return nil, err
	}
	return &faultyStmt{stmt, c, q}, nil
}

func (c *faultyConn) BeginTx(ctx context.Context, opts driver.TxOptions) (tx driver.Tx, err error) {
	_, err = c.exec("BEGIN", func() (driver.Result, error) {
		tx, err = c.Conn.(driver.ConnBeginTx).BeginTx(ctx, opts)
		return nil, err
	})
	return faultyTx{tx, c}, err
}

type faultyTx struct {
	driver.Tx
	c *faultyConn
}

func (t faultyTx) Commit() error {
	_, err := t.c.exec("COMMIT", func() (driver.Result, error) { return nil, t.Tx.Commit() })
	return err
}

func (t faultyTx) Rollback() error {
	_, err := t.c.exec("ROLLBACK", func() (driver.Result, error) { return nil, t.Tx.Rollback() })
	return err
}

func (c *faultyConn) ResetSession(ctx context.Context) error {
	if r, ok := c.Conn.(driver.SessionResetter); ok {
		return r.ResetSession(ctx)
	}
	return nil
}

func (c *faultyConn) IsValid() bool {
	v, ok := c.Conn.(driver.Validator)
	return !c.lost && (!ok || v.IsValid())
}

type faultyStmt struct {
	driver.Stmt
	c    *faultyConn
	text string
}

func (s *faultyStmt) ExecContext(ctx context.Context, args []driver.NamedValue) (driver.Result, error) {
	return s.c.exec(s.text, func() (driver.Result, error) { return s.Stmt.(driver.StmtExecContext).ExecContext(ctx, args) })
}

func (s *faultyStmt) QueryContext(ctx context.Context, args []driver.NamedValue) (driver.Rows, error) {
	return s.c.query(s.text, func() (driver.Rows, error) { return s.Stmt.(driver.StmtQueryContext).QueryContext(ctx, args) })
}

// cutRows breaks where the rows end: whoever does not ask takes the listing for a whole one.
type cutRows struct {
	driver.Rows
	err error
}

func (r cutRows) Next(dest []driver.Value) error {
	err := r.Rows.Next(dest)
	if err == io.EOF {
		return r.err
	}
	return err
}

// tenantTables hold what belongs to an owner.
var tenantTables = []string{"latchkey_tokens", "latchkey_secrets", "latchkey_token_roles", "latchkey_roles",
	"latchkey_role_inherits", "latchkey_owners", "latchkey_clients", "latchkey_events", "latchkey_event_seqs",
	"latchkey_once", "latchkey_usage", "latchkey_credits", "latchkey_reservations", "latchkey_writes"}

// ownerless says how many mentions of tenant tables a statement has beyond its conditions on owner.
func ownerless(text string) int {
	text = strings.Replace(strings.Join(strings.Fields(text), " "), "INSERT OR FAIL ", "INSERT ", 1)
	mentions := 0
	for _, table := range tenantTables {
		for _, verb := range []string{"FROM ", "JOIN ", "UPDATE "} {
			for rest := text; ; {
				_, after, found := strings.Cut(rest, verb+table)
				if !found {
					break
				}
				if after == "" || after[0] == ' ' || after[0] == ')' {
					mentions++
				}
				rest = after
			}
		}
		for _, head := range []string{"(owner, ", "(digest, owner, "} {
			if strings.HasPrefix(text, "INSERT INTO "+table+" "+head) {
				mentions-- // an insert names the owner among its values
			}
		}
		if strings.HasPrefix(text, "INSERT INTO "+table+" ") {
			mentions++
		}
	}
	return mentions - strings.Count(text, "owner = ")
}
