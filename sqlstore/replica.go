package sqlstore

import (
	"context"
	"database/sql"
	"errors"
	"fmt"

	"github.com/latchkey-go/latchkey"
)

// Replica reads listings and usage from a copy of the database. The copy is a standby of PostgreSQL, a replica of
// MariaDB, or a node of Galera with any wsrep_sync_wait. It is for people and reports, and takes their load off the
// primary.
//
// A copy lags behind by an unknown time, so a Replica is not a latchkey.Store. Nothing can be decided by it, and no
// Manager accepts it. Make it with [NewReplica]. It is safe for concurrent use.
//
// Its methods and their errors are those of the Store's methods of the same name, except that recent writes may be
// missing.
type Replica struct {
	store *Store
}

// NewReplica returns a Replica that reads from db. It refuses an engine that is not what d says. It refuses a schema
// that [Migrate] has not brought up to date on the primary, or that has not reached the copy. It writes nothing, so db
// needs no privilege to write. The Replica does not own db: close the Replica first, then db.
func NewReplica(ctx context.Context, db *sql.DB, d latchkey.Dialect) (*Replica, error) {
	s, steps, err := newStore(db, d, &Options{})
	if err != nil {
		return nil, err
	}
	err = retry(ctx, s.dialect.isRetryable, func() error {
		if err := s.dialect.checkEngine(ctx, db); err != nil && !errors.Is(err, errStandby) {
			return err
		}
		if s.dialect.checkSession != nil {
			if err := s.dialect.checkSession(ctx, db, false); err != nil {
				return err
			}
		}
		return s.checkVersion(ctx, steps)
	})
	if err != nil {
		return nil, fmt.Errorf("latchkey/sqlstore: %w", explainError(err))
	}
	return &Replica{s}, nil
}

// Close closes the prepared statements. It does not close the database. Later calls return ErrUnavailable.
func (r *Replica) Close() error { return r.store.Close() }

// Tokens returns one page in the order of q.
func (r *Replica) Tokens(ctx context.Context, owner string, q latchkey.TokenQuery) ([]latchkey.Token, error) {
	return r.store.Tokens(ctx, owner, q)
}

// Count returns how many tokens q selects, at most limit.
func (r *Replica) Count(ctx context.Context, owner string, q latchkey.TokenQuery, limit int) (int, error) {
	return r.store.Count(ctx, owner, q, limit)
}

// Ending returns one page of tokens of all owners that end within a time.
func (r *Replica) Ending(ctx context.Context, q latchkey.EndingQuery) ([]latchkey.Token, error) {
	return r.store.Ending(ctx, q)
}

// Unused returns one page of unused tokens of all owners, and the After of the next.
func (r *Replica) Unused(ctx context.Context, q latchkey.UnusedQuery) (page []latchkey.Token, next string, err error) {
	return r.store.Unused(ctx, q)
}

// KeySecrets returns one page of the secrets of all owners that were made under another key, and the After of the next.
func (r *Replica) KeySecrets(ctx context.Context, q latchkey.KeyQuery) (
	page []latchkey.KeySecret, next string, err error,
) {
	return r.store.KeySecrets(ctx, q)
}

// Undelivered returns one page of owners with events behind a cursor, and the After of the next.
func (r *Replica) Undelivered(ctx context.Context, q latchkey.UndeliveredQuery) (
	page []latchkey.Delivery, next string, err error,
) {
	return r.store.Undelivered(ctx, q)
}

// Roles returns one page by id.
func (r *Replica) Roles(ctx context.Context, owner string, q latchkey.RoleQuery) ([]latchkey.Role, error) {
	return r.store.Roles(ctx, owner, q)
}

// Clients returns one page by client id, in byte order.
func (r *Replica) Clients(ctx context.Context, owner string, p latchkey.Page) ([]latchkey.Client, error) {
	return r.store.Clients(ctx, owner, p)
}

// Events returns one page of audit events, and the After of the next.
func (r *Replica) Events(
	ctx context.Context, owner string, q latchkey.EventQuery,
) (page []latchkey.Event, next string, err error) {
	return r.store.Events(ctx, owner, q)
}

// Taken returns one page of the accounts that credits were taken from, and the After of the next.
func (r *Replica) Taken(ctx context.Context, owner string, q latchkey.TakenQuery) (
	page []latchkey.TakenCredits, next string, err error,
) {
	return r.store.Taken(ctx, owner, q)
}

// Usage sums rows by q.By.
func (r *Replica) Usage(ctx context.Context, owner string, q latchkey.UsageQuery) ([]latchkey.UsageRow, error) {
	return r.store.Usage(ctx, owner, q)
}
