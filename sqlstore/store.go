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

// The path of a write: Store.Write makes a plan (write.go). The plan's records are packed before the transaction
// (record.go, pack.go). The plan waits in the queue as a job. A leader commits it together with others
// (groupcommit.go), or a worker commits it in a batch of mints (mint_batch.go, mint.go) or of changes
// (change_batch.go). In the transaction (tx.go), plan.apply runs the plan's steps (write_apply.go). These are
// preconditions (write_require.go), tokens and secrets (write_token.go), roles (write_role.go), the other records, and
// finally the epoch (postgres_commit.go). Statements may be merged (merge.go).
//
// The path of a read: ByDigest and Load read a token with its owner, ancestors and roles as of one epoch, a cut
// (load.go). Most of it comes from the cache (cache.go), which follows the feed of changes (feed.go). Listings are one
// statement each (read.go), as are sums of usage (usage.go).
//
// What differs between engines is a dialect (dialect.go; sqlite.go, postgres.go, mysql.go, galera.go). Errors of
// engines become errors of the contract in errors.go. New checks the session (session.go) and the schema
// (migrate_check.go).

// Options configure a [Store]. The zero value and nil are ready to use.
type Options struct {
	// Clock is the source of Feed.Now. Nil: the database's own clock, read once a second. For SQLite that is the clock
	// of this machine.
	Clock func() time.Time
	// OnlyNode declares that every process uses only the one Galera node that db leads to, for reads and writes. Only
	// then may wsrep_sync_wait be off. Other engines ignore it.
	OnlyNode bool
}

// Store is a latchkey.Store over database/sql. Make it with [New]. It is safe for concurrent use.
type Store struct {
	db             *sql.DB
	dialect        *dialect
	clock          func() time.Time
	writeSlots     chan struct{} // a semaphore of write transactions
	queue          queue
	cache          *recordCache
	raisesAtCommit atomic.Bool // see dialect.raisesAtCommit; it becomes false if that ceases to be so
	notifier       *notifier   // nil: the engine notifies nobody
	rendered       sync.Map    // statements in the engine's form, by text
	rowForms       sync.Map    // statements for several rows, by that for one: see forRows
	lastClock      atomic.Pointer[clockReading]
	purges         purges

	mu     sync.RWMutex
	stmts  map[string]*sql.Stmt
	wanted []string // texts to prepare
	closed bool
}

var _ latchkey.Store = (*Store)(nil)

// New returns a Store that keeps its records in db. It refuses an engine that is not what d says, and a schema that
// [Migrate] has not brought up to date. It refuses a database that cannot be written. The error says what to do. The
// Store does not own db: close the Store first, then db. If db has a limit of open connections, set it before: writes
// use at most half of them.
//
// On PostgreSQL New looks for the trigger that raises the epoch inside COMMIT. A Store that finds none, or a disabled
// or an altered one, raises the epoch itself.
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
	s := &Store{
		db:         db,
		dialect:    dia,
		clock:      opts.Clock,
		writeSlots: make(chan struct{}, writeSlots(dia, db)),
		cache:      newRecordCache(),
		stmts:      map[string]*sql.Stmt{},
	}
	if dia.notify != nil {
		s.notifier = newNotifier(func(ctx context.Context, n notice) (noticed, error) { return s.dialect.notify(ctx, s, n) },
			func() bool {
				most := db.Stats().MaxOpenConnections
				return most == 0 || most >= notifyPool
			})
	}
	return s, steps, err
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
	if s.dialect.adapt != nil {
		own := *s.dialect
		if err := own.adapt(ctx, s.db, &own); err != nil {
			return err
		}
		s.dialect = &own
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
	if s.dialect.raisesAtCommit != nil {
		raises, err := s.dialect.raisesAtCommit(ctx, s.db, steps)
		if err != nil {
			return err
		}
		s.raisesAtCommit.Store(raises)
	}
	tx, err := s.dialect.begin(ctx, s.db)
	if err != nil {
		if busy := s.dialect.ifBusy(err); errors.Is(busy, latchkey.ErrUnavailable) {
			return busy
		}
		return fmt.Errorf("the database cannot be written (is the file, its directory or the connection read-only?): %w", err)
	}
	defer tx.release()
	if _, err := tx.executor.ExecContext(ctx, "UPDATE latchkey_epoch SET epoch = epoch WHERE id = 1"); err != nil {
		if busy := s.dialect.ifBusy(err); errors.Is(busy, latchkey.ErrUnavailable) {
			return busy
		}
		return fmt.Errorf("the database cannot be written (is the connection read-only, or the server a standby?): %w", err)
	}
	ids, err := queryStrings(ctx, tx.executor, "SELECT id FROM latchkey_epoch")
	if err == nil && len(ids) != 1 {
		err = errors.New("the row of latchkey_epoch is missing: restore a backup")
	}
	return err
}

// Close closes the prepared statements. It does not close the database. Later calls return ErrUnavailable. On
// PostgreSQL it first sends the notification that is due, for a second at most.
func (s *Store) Close() error {
	s.notifier.close()
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

// read runs f and maps its error to the contract. While the database is busy, it runs f again, so f must reset its
// results.
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

// write runs apply in a transaction. Writers queue in the process, because an engine's own queue is unfair. A few
// writers at once are as fast as many. If the engine supports group commit, the writer at the front also commits for
// the ones that queued meanwhile. One flush to disk then serves all of them.
func (s *Store) write(ctx context.Context, what string, apply func(*tx) error) error {
	return s.mapError(ctx, what, s.enqueue(&job{ctx: ctx, apply: apply, done: make(chan error, 1)}))
}

// writeSlots returns how many write transactions of a Store may run at once. At least half of the pool's connections
// are left to reads, which changes make too: otherwise no change could begin while others wait for the database.
func writeSlots(dia *dialect, db *sql.DB) int {
	if most := db.Stats().MaxOpenConnections; most > 0 {
		return max(1, min(dia.writers, most/2))
	}
	return dia.writers
}
