package sqlstore

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/latchkey-go/latchkey"
)

// pgError is an error with an SQLSTATE.
type pgError struct{ code, text string }

func (c pgError) Error() string { return c.text }

func (c pgError) SQLState() string { return c.code }

func TestExplainError(t *testing.T) {
	for err, want := range map[error]error{
		pgError{"42P05", "prepared statement exists"}:                           errNamedStatements,
		pgError{"26000", "prepared statement does not exist"}:                   errNamedStatements,
		pgError{"57014", "canceling statement due to statement timeout"}:        errStatementTimeout,
		errors.New("Error 1969 (70100): Query execution was interrupted"):       errStatementTimeout,
		errors.New("Error 3024 (HY000): maximum statement execution time"):      errStatementTimeout,
		pgError{"57014", "canceling statement due to user request"}:             nil,
		pgError{"23505", "duplicate key"}:                                       nil,
		errors.New("Error 1062 (23000): Duplicate entry 'x' for key 'PRIMARY'"): nil,
	} {
		got := explainError(err)
		require.ErrorIs(t, got, err)
		if want != nil {
			require.ErrorIs(t, got, want)
			require.Equal(t, got, explainError(got), "once is enough")
		} else {
			require.Equal(t, err, got)
		}
	}
}

type codedError int

func (c codedError) Error() string { return fmt.Sprintf("code %d", int(c)) }

func (c codedError) Code() int { return int(c) }

func TestMapError(t *testing.T) {
	ctx, cancel := context.WithCancel(context.Background())
	engine := errors.New("disk I/O error")
	is := func(err error, want ...error) {
		t.Helper()
		for _, w := range want {
			require.ErrorIs(t, err, w)
		}
		named := 0
		for _, known := range contractErrors {
			if errors.Is(err, known) {
				named++
			}
		}
		require.Equal(t, 1, named, "%v", err)
	}
	require.NoError(t, mapError(ctx, "x", nil))
	is(mapError(ctx, "x", engine), latchkey.ErrUnavailable, engine)
	is(mapError(ctx, "x", sql.ErrNoRows), latchkey.ErrUnavailable)
	is(mapError(ctx, "x", contractError(latchkey.ErrConflict, "why")), latchkey.ErrConflict)
	cancel()
	is(mapError(ctx, "x", engine), latchkey.ErrUnavailable, engine, context.Canceled)
	is(mapError(ctx, "x", context.Canceled), latchkey.ErrUnavailable, context.Canceled)

	for _, code := range []int{5, 6, 261, 262, 517} {
		require.True(t, isBusySQLite(fmt.Errorf("begin: %w", codedError(code))), code)
	}
	for _, code := range []int{1, 8, 10, 13, 19, 2067} {
		require.False(t, isBusySQLite(codedError(code)), code)
	}
	require.True(t, isBusySQLite(errors.New("database is locked")))
	require.False(t, isBusySQLite(engine))
}
