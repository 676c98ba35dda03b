package sqlstore

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"strings"
	"time"

	"github.com/latchkey-go/latchkey"
)

var errClosed = errors.New("the store is closed")

var errNoDB = errors.New("latchkey/sqlstore: db is nil: pass an open *sql.DB")

// contractErrors are all errors that a Store may return.
var contractErrors = []error{
	latchkey.ErrNotFound, latchkey.ErrExists, latchkey.ErrConflict, latchkey.ErrInUse, latchkey.ErrOverLimit,
	latchkey.ErrUnavailable, latchkey.ErrUnknownOutcome, latchkey.ErrInvalid, latchkey.ErrTooMany,
}

func isContractError(err error) bool {
	for _, known := range contractErrors {
		if errors.Is(err, known) {
			return true
		}
	}
	return false
}

// mapError maps an error of this engine to an error of the contract.
func (s *Store) mapError(ctx context.Context, what string, err error) error {
	if err != nil && !isContractError(err) && s.dialect.isUnstorable != nil && s.dialect.isUnstorable(err) {
		err = fmt.Errorf("%w: a value that %s cannot store: %w", latchkey.ErrInvalid, s.dialect.name, err)
	}
	return mapError(ctx, what, explainError(err))
}

// mapError is the only place where errors of an engine become errors of the contract. An error that the contract does
// not have becomes ErrUnavailable, never "not found".
func mapError(ctx context.Context, what string, err error) error {
	switch {
	case err == nil:
		return nil
	case isContractError(err):
		return fmt.Errorf("latchkey/sqlstore: %s: %w", what, err)
	case ctx.Err() != nil && !errors.Is(err, ctx.Err()):
		// An engine that was interrupted returns an error of its own.
		return fmt.Errorf("latchkey/sqlstore: %s: %w: %w: %w", what, latchkey.ErrUnavailable, ctx.Err(), err)
	}
	return fmt.Errorf("latchkey/sqlstore: %s: %w: %w", what, latchkey.ErrUnavailable, err)
}

var errStatementTimeout = errors.New("statement_timeout (PostgreSQL), max_statement_time (MariaDB) or " +
	"max_execution_time (MySQL) interrupted a statement: set it to 0, or to at least one second")

// explainError adds the cause to an error that session settings lead to. One is about the name of a prepared statement,
// because no statement of this package names one. The other is a time limit for statements.
func explainError(err error) error {
	if errors.Is(err, errStatementTimeout) || errors.Is(err, errNamedStatements) {
		return err
	}
	if oneOf(mysqlCode(err), 1969, 3024) || sqlState(err) == "57014" && strings.Contains(err.Error(),
		"statement timeout") {
		return fmt.Errorf("%w: %w", errStatementTimeout, err)
	}
	var coder interface {
		error
		SQLState() string
	}
	if errors.As(err, &coder) && oneOf(coder.SQLState(), "42P05", "26000") {
		return fmt.Errorf("%w: %w", errNamedStatements, coder)
	}
	return err
}

// ifBusy makes an error one of ErrUnavailable if another program holds what is needed: the same call may succeed later.
func (d *dialect) ifBusy(err error) error {
	if !d.isRetryable(err) {
		return err
	}
	return fmt.Errorf("%w: another program writes the database: try again (%w)", latchkey.ErrUnavailable, err)
}

// contractError returns an error of the contract with its reason.
func contractError(sentinel error, format string, args ...any) error {
	return fmt.Errorf("%w: %s", sentinel, fmt.Sprintf(format, args...))
}

// orNotFound is for a look-up that failed or found nothing. A failure never becomes ErrNotFound.
func orNotFound(err error, format string, args ...any) error {
	if err != nil {
		return err
	}
	return contractError(latchkey.ErrNotFound, format, args...)
}

// orRowMissing is orNotFound for a row of the Store's own, without which nothing can be answered.
func orRowMissing(err error, what string) error {
	if err != nil {
		return err
	}
	return errors.New(what + " is missing: the database is damaged, or its server has become a standby")
}

const epochRow = "the row of latchkey_epoch"

// errNotCommitted means that no commit was tried.
var errNotCommitted = errors.New("given up before the commit")

// errRetry means that another transaction was first. This one must run again to see the other's result.
var errRetry = errors.New("another transaction was first")

// isRetryable reports whether a transaction was undone, and another try may succeed.
func (s *Store) isRetryable(err error) bool {
	return errors.Is(err, errRetry) || s.dialect.isRetryable(err)
}

// isNotCommitted reports whether the error of a commit says that nothing was written.
func (s *Store) isNotCommitted(err error) bool {
	return errors.Is(err, errNotCommitted) || s.isRetryable(err) ||
		s.dialect.isRolledBack != nil && s.dialect.isRolledBack(err)
}

// maxBusyWait bounds how long a call without a deadline waits for a database that stays busy.
const maxBusyWait = 10 * time.Second

// retry calls f again, after a short random pause, while busy reports true for its error.
func retry(ctx context.Context, busy func(error) bool, f func() error) error {
	began := time.Now()
	for pause := time.Millisecond; ; pause = min(2*pause, 32*time.Millisecond) {
		err := f()
		if err == nil || isContractError(err) || !busy(err) || time.Since(began) > maxBusyWait {
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
