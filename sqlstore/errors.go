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

var errNoDB = errors.New("latchkey/sqlstore: a database is needed, and it is nil")

// contract is the closed set of what a Store says.
var contractErrors = []error{
	latchkey.ErrNotFound, latchkey.ErrExists, latchkey.ErrConflict, latchkey.ErrInUse, latchkey.ErrOverLimit,
	latchkey.ErrUnavailable, latchkey.ErrUnknownOutcome, latchkey.ErrInvalid,
}

func isContractError(err error) bool {
	for _, known := range contractErrors {
		if errors.Is(err, known) {
			return true
		}
	}
	return false
}

// outcome gives an error the name it has in the contract.
func (s *Store) mapError(ctx context.Context, what string, err error) error {
	if err != nil && !isContractError(err) && s.dialect.isUnstorable != nil && s.dialect.isUnstorable(err) {
		err = fmt.Errorf("%w: a value that %s cannot keep: %w", latchkey.ErrInvalid, s.dialect.name, err)
	}
	return mapError(ctx, what, explainError(err))
}

// outcome is the one place where errors of an engine become errors of the contract. What has no name there is
// ErrUnavailable: never "not found".
func mapError(ctx context.Context, what string, err error) error {
	switch {
	case err == nil:
		return nil
	case isContractError(err):
		return fmt.Errorf("latchkey/sqlstore: %s: %w", what, err)
	case ctx.Err() != nil && !errors.Is(err, ctx.Err()):
		// An engine that was interrupted says so in its own words.
		return fmt.Errorf("latchkey/sqlstore: %s: %w: %w: %w", what, latchkey.ErrUnavailable, ctx.Err(), err)
	}
	return fmt.Errorf("latchkey/sqlstore: %s: %w: %w", what, latchkey.ErrUnavailable, err)
}

var errStatementTimeout = errors.New("statement_timeout (PostgreSQL), max_statement_time (MariaDB) or max_execution_time " +
	"(MySQL) cut a " +
	"statement off: set it to 0, or to a second and more")

// explained names the cause of an error that comes of a session's settings: one about the name of a prepared statement,
// for no statement of ours gives one, and a limit of the time of statements.
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

// say makes an error of the contract with its reason.
func contractError(sentinel error, format string, args ...any) error {
	return fmt.Errorf("%w: %s", sentinel, fmt.Sprintf(format, args...))
}

// orNotFound is for a look-up that failed or found nothing: never the one for the other.
func orNotFound(err error, format string, args ...any) error {
	if err != nil {
		return err
	}
	return contractError(latchkey.ErrNotFound, format, args...)
}

// orMissing is orNotFound for a row of the Store's own, without which nothing can be answered.
func orRowMissing(err error, what string) error {
	if err != nil {
		return err
	}
	return errors.New(what + " is missing: the database is damaged, or its server has become a standby")
}

const epochRow = "the row of latchkey_epoch"

// errNotCommitted says that a commit was not even tried.
var errNotCommitted = errors.New("given up before the commit")

// errAgain says that another transaction was first, and that this one must be done anew to see what it did.
var errRetry = errors.New("another transaction was first")

// busy says that a transaction was undone, and that trying again may succeed.
func (s *Store) isRetryable(err error) bool {
	return errors.Is(err, errRetry) || s.dialect.isRetryable(err)
}

// maxBusyWait bounds how long a call without a deadline waits for a database that stays busy.
const maxBusyWait = 10 * time.Second

// retrying calls f again, after a short random pause, while the engine says busy.
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
