package sqlstore

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/latchkey-go/latchkey"
)

func TestUnknownDialect(t *testing.T) {
	for _, d := range []latchkey.Dialect{0, 99} {
		_, err := New(context.Background(), nil, d, nil)
		require.ErrorContains(t, err, "known: SQLite, Postgres, MySQL")
		require.ErrorContains(t, Migrate(context.Background(), nil, d), "known: SQLite")
		_, err = Migrations(d)
		require.ErrorContains(t, err, "known: SQLite")
	}
}

func TestRender(t *testing.T) {
	require.Equal(t, "a = $1 AND b IN ($2, $3)", postgres.render("a = ? AND b IN (?, ?)"))
	require.Equal(t, "a = ?", mysql.render("a = ?"))
	require.Equal(t, "n = VALUES(n) + t.n", strings.TrimPrefix(mysql.onConflictUpdate("k", "n = excluded.n + t.n"),
		" ON DUPLICATE KEY UPDATE "))
}

func TestErrorCodes(t *testing.T) {
	wrap := func(err error) error { return errors.Join(errors.New("outer"), fmt.Errorf("more: %w", err)) }
	for code, retry := range map[string]bool{"40001": true, "40P01": true, "55P03": true, "23505": false, "25P03": false} {
		require.Equal(t, retry, postgres.isRetryable(wrap(pgError{code, ""})), code)
	}
	require.True(t, postgres.isUnstorable(wrap(pgError{"22021", ""})))
	require.False(t, postgres.isRetryable(errors.New("40001")), "words are not a code")
	for code, retry := range map[int]bool{1213: true, 1205: true, 1020: true, 1062: false, 1047: false, 1406: false,
		9007: true, 8022: true, 8028: true, 8501: false} { // these are TiDB's
		for _, text := range []string{"Error %d (40001): Deadlock found", "Error %d: Deadlock found"} {
			err := wrap(fmt.Errorf(text, code))
			require.Equal(t, code, mysqlCode(err))
			require.Equal(t, retry, mysql.isRetryable(err), code)
		}
	}
	require.True(t, mysql.isRetryable(wrap(errors.New("Error 1105 (HY000): pessimistic lock retry limit reached"))))
	require.False(t, mysql.isRetryable(wrap(errors.New("Error 1105 (HY000): unknown"))))
	require.True(t, mysql.isDuplicateKey(fmt.Errorf("Error %d (23000): Duplicate entry", 1062)))
	require.False(t, mysql.isRetryable(errors.New("the value 'Error 1213' is odd")))
	require.Zero(t, mysqlCode(nil))
}
