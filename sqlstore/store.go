package sqlstore

import (
	"context"
	"database/sql"
	"database/sql/driver"
	"errors"
	"fmt"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"time"

	"github.com/latchkey-go/latchkey"
)

// Options configure a [Store]. The zero value, and nil, are ready to use.
type Options struct {
	// Clock is Feed.Now. Nil: the database's own clock, asked once a second; for SQLite that is the clock of this machine.
	Clock func() time.Time
	// OnlyNode says that of a Galera cluster every process uses the one node that db leads to, for reads and writes. Only
	// then may wsrep_sync_wait be off. It does nothing on other engines.
	OnlyNode bool
}

// Store is a latchkey.Store over database/sql. Make it with [New]. Safe for concurrent use.
type Store struct {
	db      *sql.DB
	dialect *dialect
	clock   func() time.Time
	writing chan struct{} // holds a token for each who writes
	queue   queue
	memory  *memory
	texts   sync.Map // of statements, as the engine wants them
	heard   atomic.Pointer[heard]

	mu     sync.RWMutex
	stmts  map[string]*sql.Stmt
	wanted []string // texts to prepare
	closed bool
}

var _ latchkey.Store = (*Store)(nil)

var errClosed = errors.New("the store is closed")

// New returns a Store that keeps its records in db. It refuses an engine that is not what d says, a schema that
// [Migrate] has not brought up to date, and a database that cannot be written; the error says what to do. The Store does
// not own db: close the Store first, then db.
func New(ctx context.Context, db *sql.DB, d latchkey.Dialect, opts *Options) (*Store, error) {
	if opts == nil {
		opts = &Options{}
	}
	s, steps, err := newStore(db, d, opts)
	if err != nil {
		return nil, err
	}
	if err := retrying(ctx, s.dialect.retry, func() error { return s.check(ctx, steps, opts) }); err != nil {
		return nil, fmt.Errorf("latchkey/sqlstore: %w", explained(err))
	}
	return s, nil
}

var errNoDB = errors.New("latchkey/sqlstore: a database is needed, and it is nil")

func newStore(db *sql.DB, d latchkey.Dialect, opts *Options) (*Store, []migrationStep, error) {
	dia, err := dialectOf(d)
	if err != nil {
		return nil, nil, err
	}
	if db == nil {
		return nil, nil, errNoDB
	}
	steps, err := migrationSteps(dia)
	return &Store{
		db:      db,
		dialect: dia,
		clock:   opts.Clock,
		writing: make(chan struct{}, dia.writers),
		memory:  newMemory(),
		stmts:   map[string]*sql.Stmt{},
	}, steps, err
}

// checkVersion refuses a schema that is not up to date.
func (s *Store) checkVersion(ctx context.Context, steps []migrationStep) error {
	version, err := schemaVersion(ctx, s.db, s.dialect, steps)
	if err == nil && version < int64(len(steps)) {
		err = fmt.Errorf("the schema has version %d, and %d is needed: run sqlstore.Migrate", version, len(steps))
	}
	return err
}

func (s *Store) check(ctx context.Context, steps []migrationStep, opts *Options) error {
	if err := s.dialect.fit(ctx, s.db); err != nil {
		return err
	}
	if s.dialect.node != nil {
		clustered, err := s.dialect.node(ctx, s.db, opts)
		if err != nil {
			return err
		}
		if clustered {
			own := *s.dialect
			own.begin = own.beginClustered
			s.dialect = &own
		}
	}
	if err := s.checkVersion(ctx, steps); err != nil {
		return err
	}
	tx, err := s.dialect.begin(ctx, s.db)
	if err != nil {
		return fmt.Errorf("the database cannot be written (is the file, its directory or the connection read-only?): %w", err)
	}
	defer tx.end()
	if _, err := tx.on.ExecContext(ctx, "UPDATE latchkey_epoch SET epoch = epoch WHERE id = 1"); err != nil {
		return fmt.Errorf("the database cannot be written (is the connection read-only, or the server a standby?): %w", err)
	}
	ids, err := queryStrings(ctx, tx.on, "SELECT id FROM latchkey_epoch")
	if err == nil && len(ids) != 1 {
		err = errors.New("the row of latchkey_epoch is missing: restore a backup")
	}
	return err
}

// Close closes what the Store prepared. It does not close the database. Calls that follow say ErrUnavailable.
func (s *Store) Close() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.closed = true
	var errs []error
	for _, stmt := range s.stmts {
		errs = append(errs, stmt.Close())
	}
	clear(s.stmts)
	return errors.Join(errs...)
}

// stmt returns the statement for a text, prepared once per Store. Only for texts of which there are few.
func (s *Store) stmt(ctx context.Context, text string) (*sql.Stmt, error) {
	s.mu.RLock()
	stmt, closed := s.stmts[text], s.closed
	s.mu.RUnlock()
	switch {
	case closed:
		return nil, errClosed
	case stmt != nil:
		return stmt, nil
	}
	// Prepared outside the lock: a full pool must not stop callers whose statement is there. The loser of a race closes.
	fresh, err := s.db.PrepareContext(ctx, s.text(text))
	if err != nil {
		return nil, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return nil, errors.Join(errClosed, fresh.Close())
	}
	if stmt = s.stmts[text]; stmt != nil {
		return stmt, fresh.Close()
	}
	s.stmts[text] = fresh
	return fresh, nil
}

// text is a statement as the engine wants it. Only for texts of which there are few.
func (s *Store) text(text string) string {
	if !s.dialect.numbered {
		return text
	}
	if known, ok := s.texts.Load(text); ok {
		return known.(string)
	}
	own := s.dialect.text(text)
	s.texts.Store(text, own)
	return own
}

// prepared returns a statement that stmt has made before. Otherwise it is nil, and will be made before the next
// transaction.
func (s *Store) prepared(text string) *sql.Stmt {
	s.mu.RLock()
	stmt := s.stmts[text]
	s.mu.RUnlock()
	if stmt == nil {
		s.mu.Lock()
		defer s.mu.Unlock()
		s.wanted = append(s.wanted, text)
	}
	return stmt
}

// prepareWanted prepares what the last transactions would have liked. That it may fail does no harm.
func (s *Store) prepareWanted(ctx context.Context) {
	s.mu.RLock()
	none := len(s.wanted) == 0
	s.mu.RUnlock()
	if none {
		return
	}
	s.mu.Lock()
	wanted := s.wanted
	s.wanted = nil
	s.mu.Unlock()
	for _, text := range wanted {
		if _, err := s.stmt(ctx, text); err != nil {
			return
		}
	}
}

func (s *Store) isClosed() bool {
	s.mu.RLock()
	defer s.mu.RUnlock()
	return s.closed
}

// busy says that a transaction was undone, and that trying again may succeed.
func (s *Store) busy(err error) bool { return errors.Is(err, errAgain) || s.dialect.retry(err) }

// outcome gives an error the name it has in the contract.
func (s *Store) outcome(ctx context.Context, what string, err error) error {
	if err != nil && !ofContract(err) && s.dialect.unkept != nil && s.dialect.unkept(err) {
		err = fmt.Errorf("%w: a value that %s cannot keep: %w", latchkey.ErrInvalid, s.dialect.name, err)
	}
	return outcome(ctx, what, explained(err))
}

// read runs a read, again while the database is busy, and gives its errors their names. f may run more than once and
// must start anew each time.
func (s *Store) read(ctx context.Context, what string, f func() error) error {
	busy := func(err error) bool { return s.busy(err) && (s.dialect.waited == nil || !s.dialect.waited(err)) }
	return s.outcome(ctx, what, retrying(ctx, busy, func() error {
		if err := ctx.Err(); err != nil {
			return err
		}
		if s.isClosed() {
			return errClosed
		}
		return f()
	}))
}

// each runs a query and calls scan for each row. Only for texts of which there are few.
func (s *Store) each(ctx context.Context, text string, args []any, scan func(*sql.Rows) error) error {
	if !s.dialect.prepares {
		rows, err := s.db.QueryContext(ctx, s.text(text), args...)
		return eachRow(rows, err, scan)
	}
	stmt, err := s.stmt(ctx, text)
	if err != nil {
		return err
	}
	rows, err := stmt.QueryContext(ctx, args...)
	return eachRow(rows, err, scan)
}

// first reads the first row of a query into dest, and says whether there was one. Unlike each it does not ask for more:
// where there can be one only, that would be a step for nothing.
func (s *Store) first(ctx context.Context, text string, args []any, dest ...any) (found bool, err error) {
	var rows *sql.Rows
	if s.dialect.prepares {
		var stmt *sql.Stmt
		if stmt, err = s.stmt(ctx, text); err == nil {
			rows, err = stmt.QueryContext(ctx, args...)
		}
	} else {
		rows, err = s.db.QueryContext(ctx, s.text(text), args...)
	}
	if err != nil {
		return false, err
	}
	defer rows.Close()
	if !rows.Next() {
		return false, errors.Join(rows.Err(), rows.Close())
	}
	if err := rows.Scan(dest...); err != nil {
		return false, err
	}
	return true, rows.Close()
}

// eachUnprepared is each for texts that depend on what is asked.
func (s *Store) eachUnprepared(ctx context.Context, text string, args []any, scan func(*sql.Rows) error) error {
	rows, err := s.db.QueryContext(ctx, s.dialect.text(text), args...)
	return eachRow(rows, err, scan)
}

func eachRow(rows *sql.Rows, err error, scan func(*sql.Rows) error) error {
	if err != nil {
		return err
	}
	defer rows.Close()
	for rows.Next() {
		if err := scan(rows); err != nil {
			return err
		}
	}
	// Without this a listing cut off by an error would look like a short one.
	return errors.Join(rows.Err(), rows.Close())
}

// contract is the closed set of what a Store says.
var contract = []error{
	latchkey.ErrNotFound, latchkey.ErrExists, latchkey.ErrConflict, latchkey.ErrInUse, latchkey.ErrOverLimit,
	latchkey.ErrUnavailable, latchkey.ErrUnknownOutcome, latchkey.ErrInvalid,
}

func ofContract(err error) bool {
	for _, known := range contract {
		if errors.Is(err, known) {
			return true
		}
	}
	return false
}

// outcome is the one place where errors of an engine become errors of the contract. What has no name there is
// ErrUnavailable: never "not found".
func outcome(ctx context.Context, what string, err error) error {
	switch {
	case err == nil:
		return nil
	case ofContract(err):
		return fmt.Errorf("latchkey/sqlstore: %s: %w", what, err)
	case ctx.Err() != nil && !errors.Is(err, ctx.Err()):
		// An engine that was interrupted says so in its own words.
		return fmt.Errorf("latchkey/sqlstore: %s: %w: %w: %w", what, latchkey.ErrUnavailable, ctx.Err(), err)
	}
	return fmt.Errorf("latchkey/sqlstore: %s: %w: %w", what, latchkey.ErrUnavailable, err)
}

// say makes an error of the contract with its reason.
func say(sentinel error, format string, args ...any) error {
	return fmt.Errorf("%w: %s", sentinel, fmt.Sprintf(format, args...))
}

// maxBusyWait bounds how long a call without a deadline waits for a database that stays busy.
const maxBusyWait = 10 * time.Second

// retrying calls f again, after a short random pause, while the engine says busy.
func retrying(ctx context.Context, busy func(error) bool, f func() error) error {
	began := time.Now()
	for pause := time.Millisecond; ; pause = min(2*pause, 32*time.Millisecond) {
		err := f()
		if err == nil || ofContract(err) || !busy(err) || time.Since(began) > maxBusyWait {
			return err
		}
		timer := time.NewTimer(pause/2 + rand.N(pause))
		select {
		case <-timer.C:
		case <-ctx.Done():
			timer.Stop()
			return errors.Join(ctx.Err(), err)
		}
	}
}

// dropConn takes a connection out of the pool for good.
func dropConn(conn *sql.Conn) {
	_ = conn.Raw(func(any) error { return driver.ErrBadConn })
}

// orNotFound is for a look-up that failed or found nothing: never the one for the other.
func orNotFound(err error, format string, args ...any) error {
	if err != nil {
		return err
	}
	return say(latchkey.ErrNotFound, format, args...)
}

// orMissing is orNotFound for a row of the Store's own, without which nothing can be answered.
func orMissing(err error, what string) error {
	if err != nil {
		return err
	}
	return errors.New(what + " is missing: the database is damaged, or its server has become a standby")
}

const epochRow = "the row of latchkey_epoch"
