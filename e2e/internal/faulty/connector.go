package faulty

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

	"github.com/latchkey-go/latchkey/e2e/internal/harness"
	"github.com/latchkey-go/latchkey/sqlstore"
)

// Connector is a driver.Connector around another driver. It writes down every statement, and makes one of them fail, or
// each of them slow. It passes on what notifies others, which a store does when it pleases.
type Connector struct {
	// Pause is the longest random pause before each statement. Before is called before each statement, by several
	// goroutines at once; nil: nothing is called. Both are set before the pool is used.
	Pause  time.Duration
	Before func(text string)

	wrapped driver.Driver
	dsn     string
	// preparesAll reports whether the driver itself prepares what has arguments.
	preparesAll bool

	mu    sync.Mutex
	op    string // what the test is doing
	log   []Statement
	left  int // statements until the one that fails; negative: none
	after bool
	err   error
	hit   string // the statement that failed
}

// Statement is a statement with its arguments, and what the test was doing when it came.
type Statement struct {
	Op, Text string
	Args     []driver.NamedValue
}

// OpenSQLite opens a pool of SQLite behind a Connector. The end of the test closes it.
func OpenSQLite(t testing.TB, dsn string) (*sql.DB, *Connector) {
	return Open(t, harness.OpenSQLite(t, dsn), dsn)
}

// Open opens a pool behind a Connector, with the driver of plain. The end of the test closes it.
func Open(t testing.TB, plain *sql.DB, dsn string) (*sql.DB, *Connector) {
	f := New(plain.Driver(), dsn)
	db := sql.OpenDB(f)
	t.Cleanup(func() { db.Close() })
	return db, f
}

// New wraps a driver that connects to dsn. Nothing fails until Begin.
func New(wrapped driver.Driver, dsn string) *Connector {
	f := &Connector{wrapped: wrapped, dsn: dsn, left: -1}
	_, f.preparesAll = wrapped.(*mysql.MySQLDriver)
	return f
}

// Begin names what comes, and arms the fault: the statement after n more fails with err, before its effect or after
// it. With a negative n none fails.
func (f *Connector) Begin(op string, n int, after bool, err error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.op, f.left, f.after, f.err, f.hit = op, n, after, err, ""
}

// Disarm ends the fault, and returns the statement that failed, or "" if none did.
func (f *Connector) Disarm() string {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.left = -1
	return f.hit
}

// Count returns how many statements there have been.
func (f *Connector) Count() int {
	f.mu.Lock()
	defer f.mu.Unlock()
	return len(f.log)
}

// Statements returns a copy of the statements so far, without the first n.
func (f *Connector) Statements(n int) []Statement {
	f.mu.Lock()
	defer f.mu.Unlock()
	return slices.Clone(f.log[n:])
}

func (f *Connector) statement(text string, args []driver.NamedValue) (before, after error) {
	if strings.Contains(text, "pg_notify('"+sqlstore.NotifyChannel) {
		return nil, nil // a store sends it in the background, at any moment
	}
	if f.Pause > 0 {
		time.Sleep(rand.N(f.Pause))
	}
	if f.Before != nil {
		f.Before(text)
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	f.log = append(f.log, Statement{f.op, text, slices.Clone(args)})
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

// Driver is that of driver.Connector.
func (f *Connector) Driver() driver.Driver { return f.wrapped }

// Connect is that of driver.Connector.
func (f *Connector) Connect(context.Context) (driver.Conn, error) {
	conn, err := f.wrapped.Open(f.dsn)
	if err != nil {
		return nil, err
	}
	return &faultyConn{Conn: conn, f: f}, nil
}

// Happens is a fault that is no error: the function is called at that statement, and expires a deadline for example.
type Happens func()

func (Happens) Error() string { return "something happens" }

func called(err error) error {
	if f, ok := err.(Happens); ok {
		f()
		return nil
	}
	return err
}

// Ended is a fault before a statement: the transaction is rolled back, and no error says so.
type Ended struct{}

func (Ended) Error() string { return "the transaction has ended" }

func (c *faultyConn) called(err error) error {
	if _, ok := err.(Ended); ok {
		_, err := c.Conn.(driver.ExecerContext).ExecContext(context.Background(), "ROLLBACK", nil)
		return err
	}
	return called(err)
}

// Expiring is a context whose deadline passes when Expire is called, without a clock.
type Expiring struct {
	context.Context
	over chan struct{}
	once *sync.Once
}

// NewExpiring returns a context that has not expired.
func NewExpiring() Expiring { return Expiring{context.Background(), make(chan struct{}), &sync.Once{}} }

// Expire lets the deadline pass. It may be called more than once.
func (e Expiring) Expire() { e.once.Do(func() { close(e.over) }) }

// Done is that of context.Context.
func (e Expiring) Done() <-chan struct{} { return e.over }

// Err is that of context.Context.
func (e Expiring) Err() error {
	select {
	case <-e.over:
		return context.DeadlineExceeded
	default:
		return nil
	}
}

type faultyConn struct {
	driver.Conn
	f    *Connector
	lost bool // nothing works any more on what was said to be a bad connection
}

func (c *faultyConn) statement(text string, args []driver.NamedValue) (before, after error) {
	if c.lost {
		return driver.ErrBadConn, nil
	}
	before, after = c.f.statement(text, args)
	c.lost = lost(before) || lost(after)
	return before, after
}

func lost(err error) bool { return errors.Is(err, driver.ErrBadConn) }

func (c *faultyConn) exec(text string, args []driver.NamedValue, run func() (driver.Result, error)) (
	driver.Result, error) {
	before, after := c.statement(text, args)
	if before = c.called(before); before != nil {
		return nil, before
	}
	result, err := run()
	if after = called(after); err == nil && after != nil {
		return nil, after
	}
	return result, err
}

func (c *faultyConn) query(text string, args []driver.NamedValue, run func() (driver.Rows, error)) (
	driver.Rows, error) {
	before, after := c.statement(text, args)
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
	return c.exec(q, args, func() (driver.Result, error) {
		return c.Conn.(driver.ExecerContext).ExecContext(ctx, q, args)
	})
}

func (c *faultyConn) QueryContext(ctx context.Context, q string, args []driver.NamedValue) (driver.Rows, error) {
	if c.f.preparesAll && len(args) > 0 {
		return nil, driver.ErrSkip
	}
	return c.query(q, args, func() (driver.Rows, error) {
		return c.Conn.(driver.QueryerContext).QueryContext(ctx, q, args)
	})
}

func (c *faultyConn) PrepareContext(ctx context.Context, q string) (driver.Stmt, error) {
	stmt, err := c.Conn.(driver.ConnPrepareContext).PrepareContext(ctx, q)
	if err != nil {
		return nil, err
	}
	return &faultyStmt{stmt, c, q}, nil
}

func (c *faultyConn) BeginTx(ctx context.Context, opts driver.TxOptions) (tx driver.Tx, err error) {
	_, err = c.exec("BEGIN", nil, func() (driver.Result, error) {
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
	_, err := t.c.exec("COMMIT", nil, func() (driver.Result, error) { return nil, t.Tx.Commit() })
	return err
}

func (t faultyTx) Rollback() error {
	_, err := t.c.exec("ROLLBACK", nil, func() (driver.Result, error) { return nil, t.Tx.Rollback() })
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
	return s.c.exec(s.text, args,
		func() (driver.Result, error) { return s.Stmt.(driver.StmtExecContext).ExecContext(ctx, args) })
}

func (s *faultyStmt) QueryContext(ctx context.Context, args []driver.NamedValue) (driver.Rows, error) {
	return s.c.query(s.text, args,
		func() (driver.Rows, error) { return s.Stmt.(driver.StmtQueryContext).QueryContext(ctx, args) })
}

// cutRows fails where the rows end. A caller that does not ask for the error takes the listing for a whole one.
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
