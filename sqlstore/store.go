package sqlstore

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
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
	db         *sql.DB
	dialect    *dialect
	clock      func() time.Time
	writeSlots chan struct{} // holds a token for each who writes
	queue      queue
	cache      *recordCache
	rendered   sync.Map // of statements, as the engine wants them
	lastClock  atomic.Pointer[clockReading]

	mu     sync.RWMutex
	stmts  map[string]*sql.Stmt
	wanted []string // texts to prepare
	closed bool
}

var _ latchkey.Store = (*Store)(nil)

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
	if err := retry(ctx, s.dialect.isRetryable, func() error { return s.check(ctx, steps, opts) }); err != nil {
		return nil, fmt.Errorf("latchkey/sqlstore: %w", explainError(err))
	}
	return s, nil
}

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
		db:         db,
		dialect:    dia,
		clock:      opts.Clock,
		writeSlots: make(chan struct{}, dia.writers),
		cache:      newRecordCache(),
		stmts:      map[string]*sql.Stmt{},
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
	if err := s.dialect.checkServer(ctx, s.db); err != nil {
		return err
	}
	if s.dialect.checkNode != nil {
		clustered, err := s.dialect.checkNode(ctx, s.db, opts)
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
	defer tx.release()
	if _, err := tx.executor.ExecContext(ctx, "UPDATE latchkey_epoch SET epoch = epoch WHERE id = 1"); err != nil {
		return fmt.Errorf("the database cannot be written (is the connection read-only, or the server a standby?): %w", err)
	}
	ids, err := queryStrings(ctx, tx.executor, "SELECT id FROM latchkey_epoch")
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

func (s *Store) isClosed() bool {
	s.mu.RLock()
	defer s.mu.RUnlock()
	return s.closed
}

// read runs a read, again while the database is busy, and gives its errors their names. f may run more than once and
// must start anew each time.
func (s *Store) read(ctx context.Context, what string, f func() error) error {
	busy := func(err error) bool {
		return s.isRetryable(err) && (s.dialect.readWaitTimedOut == nil || !s.dialect.readWaitTimedOut(err))
	}
	return s.mapError(ctx, what, retry(ctx, busy, func() error {
		if err := ctx.Err(); err != nil {
			return err
		}
		if s.isClosed() {
			return errClosed
		}
		return f()
	}))
}

// write runs apply in a transaction. Writers queue here, in the process, because an engine's own queue is unfair, and a few
// that write at once are as fast as many. Who reaches the front commits, where the engine gains by it, for those who
// queued meanwhile too: one flush to disk serves them all.
func (s *Store) write(ctx context.Context, what string, apply func(*tx) error) error {
	return s.mapError(ctx, what, s.enqueue(&job{ctx: ctx, apply: apply, done: make(chan error, 1)}))
}
