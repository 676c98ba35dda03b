package engines

import (
	"database/sql"
	"errors"
	"fmt"
	"net/url"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/latchkey-go/latchkey"
	"github.com/latchkey-go/latchkey/e2e/internal/harness"
	"github.com/latchkey-go/latchkey/sqlstore"
)

// A driver that prepares statements by name fails behind a transaction pooler, but not at once. New and Migrate
// report it, also when one connection of the server serves all, and when another client has used it before.
func TestPoolerAndPreparedStatements(t *testing.T) {
	ctx := t.Context()
	place := harness.Pgbouncer.Place(t)
	u, err := url.Parse(place)
	require.NoError(t, err)
	database := filepath.Base(u.Path)
	for _, mode := range []string{"cache_statement", "describe_exec", "cache_describe", "exec", "simple_protocol"} {
		for _, conns := range []int{0, 1, 2} {
			t.Run(fmt.Sprintf("%s, %d connections", mode, conns), func(t *testing.T) {
				db, err := sql.Open("pgx", harness.PooledDSN(harness.Pgbouncer.DSN, database, mode))
				require.NoError(t, err)
				defer db.Close()
				db.SetMaxOpenConns(conns)
				err = sqlstore.Migrate(ctx, db, latchkey.Postgres)
				if mode == "cache_statement" {
					require.ErrorContains(t, err, "default_query_exec_mode=simple_protocol")
					_, err = sqlstore.New(ctx, db, latchkey.Postgres, nil)
					require.ErrorContains(t, err, "default_query_exec_mode=simple_protocol")
					return
				}
				require.NoError(t, err)
				s, err := sqlstore.New(ctx, db, latchkey.Postgres, nil)
				require.NoError(t, err)
				require.NoError(t, s.Close())
			})
		}
	}
	// The same driver, straight to the server, is right.
	direct, err := harness.PostgresSetting(harness.Pgbouncer.DSN, "dbname", database)
	require.NoError(t, err)
	for _, conns := range []int{0, 1, 2} {
		db, err := sql.Open("pgx", direct)
		require.NoError(t, err)
		db.SetMaxOpenConns(conns)
		for range 3 {
			require.NoError(t, sqlstore.Migrate(ctx, db, latchkey.Postgres))
			s, err := sqlstore.New(ctx, db, latchkey.Postgres, nil)
			require.NoError(t, errors.Join(err, s.Close()))
		}
		require.NoError(t, db.Close())
	}
}
