package sqlstore

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"testing"

	"github.com/latchkey-go/latchkey"
	"github.com/stretchr/testify/require"
)

// pgError is an error with the code of PostgreSQL.
type pgError struct{ code, text string }

func (c pgError) Error() string { return c.text }

func (c pgError) SQLState() string { return c.code }

func TestExplained(t *testing.T) {
	for err, want := range map[error]error{
		pgError{"42P05", "prepared statement exists"}:                           errPrepares,
		pgError{"26000", "prepared statement does not exist"}:                   errPrepares,
		pgError{"57014", "canceling statement due to statement timeout"}:        errCutOff,
		errors.New("Error 1969 (70100): Query execution was interrupted"):       errCutOff,
		errors.New("Error 3024 (HY000): maximum statement execution time"):      errCutOff,
		pgError{"57014", "canceling statement due to user request"}:             nil,
		pgError{"23505", "duplicate key"}:                                       nil,
		errors.New("Error 1062 (23000): Duplicate entry 'x' for key 'PRIMARY'"): nil,
	} {
		got := explained(err)
		require.ErrorIs(t, got, err)
		if want != nil {
			require.ErrorIs(t, got, want)
			require.Equal(t, got, explained(got), "once is enough")
		} else {
			require.Equal(t, err, got)
		}
	}
}

type coded int

func (c coded) Error() string { return fmt.Sprintf("code %d", int(c)) }

func (c coded) Code() int { return int(c) }

func TestOutcome(t *testing.T) {
	ctx, cancel := context.WithCancel(context.Background())
	engine := errors.New("disk I/O error")
	is := func(err error, want ...error) {
		t.Helper()
		for _, w := range want {
			require.ErrorIs(t, err, w)
		}
		named := 0
		for _, known := range contract {
			if errors.Is(err, known) {
				named++
			}
		}
		require.Equal(t, 1, named, "%v", err)
	}
	require.NoError(t, outcome(ctx, "x", nil))
	is(outcome(ctx, "x", engine), latchkey.ErrUnavailable, engine)
	is(outcome(ctx, "x", sql.ErrNoRows), latchkey.ErrUnavailable)
	is(outcome(ctx, "x", say(latchkey.ErrConflict, "why")), latchkey.ErrConflict)
	cancel()
	is(outcome(ctx, "x", engine), latchkey.ErrUnavailable, engine, context.Canceled)
	is(outcome(ctx, "x", context.Canceled), latchkey.ErrUnavailable, context.Canceled)

	for _, code := range []int{5, 6, 261, 262, 517} {
		require.True(t, busySQLite(fmt.Errorf("begin: %w", coded(code))), code)
	}
	for _, code := range []int{1, 8, 10, 13, 19, 2067} {
		require.False(t, busySQLite(coded(code)), code)
	}
	require.True(t, busySQLite(errors.New("database is locked")))
	require.False(t, busySQLite(engine))
}
