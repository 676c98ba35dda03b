package engines

import (
	"context"
	"database/sql"
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/jackc/pgx/v5/stdlib"
	"github.com/stretchr/testify/require"

	"github.com/latchkey-go/latchkey"
	"github.com/latchkey-go/latchkey/e2e/internal/harness"
	"github.com/latchkey-go/latchkey/sqlstore"
)

// What docs/operations.md shows: a store over the pool that a program has already. The share is how many of the pool's
// connections the store may use.
func storeOfPool(ctx context.Context, pool *pgxpool.Pool, share int) (*sql.DB, *sqlstore.Store, error) {
	db := stdlib.OpenDBFromPool(pool)
	db.SetMaxOpenConns(share) // before New, which plans with it: the pool's own limit cannot be seen through db
	if err := sqlstore.Migrate(ctx, db, latchkey.Postgres); err != nil {
		return nil, nil, err
	}
	store, err := sqlstore.New(ctx, db, latchkey.Postgres, nil)
	return db, store, err
}

func newPool(t *testing.T, dsn string, conns int32, change ...func(*pgxpool.Config)) *pgxpool.Pool {
	t.Helper()
	config, err := pgxpool.ParseConfig(dsn)
	require.NoError(t, err)
	config.MaxConns = conns
	for _, c := range change {
		c(config)
	}
	pool, err := pgxpool.NewWithConfig(t.Context(), config)
	require.NoError(t, err)
	t.Cleanup(pool.Close)
	return pool
}

// All that a store must do it does over a pool of pgx, also of a few connections only. Sampled: LONG=1
// runs all cases, which are run without such a pool in any case.
func TestPgxPoolIsAStore(t *testing.T) {
	harness.RunCases(t, harness.Parts("pgx pool", 10)[0], func(t *testing.T) latchkey.Store {
		pool := newPool(t, harness.Postgres.Place(t), 4)
		db, store, err := storeOfPool(t.Context(), pool, 4)
		require.NoError(t, err)
		t.Cleanup(func() {
			require.NoError(t, store.Close())
			require.NoError(t, db.Close())
		})
		return store
	})
}

// Two connections are enough. One is not: it looks like a transaction pooler, because the pool hands out the same one
// again. A store that does not know its share waits for itself.
func TestSmallPgxPools(t *testing.T) {
	ctx := t.Context()
	place := harness.Postgres.Place(t)
	db, store, err := storeOfPool(ctx, newPool(t, place, 2), 2)
	require.NoError(t, err)
	_, _, err = latchkey.New(store, nil).For("acme").Issue(ctx, latchkey.Spec{Kind: latchkey.KindAPIKey})
	require.NoError(t, err)
	require.NoError(t, store.Close())
	require.NoError(t, db.Close())

	one := newPool(t, place, 1)
	_, _, err = storeOfPool(ctx, one, 1)
	require.ErrorContains(t, err, "behind a transaction pooler")
	unlimited := stdlib.OpenDBFromPool(one)
	waiting, cancel := context.WithTimeout(ctx, 2*time.Second) // whatever the time, it cannot succeed
	defer cancel()
	_, err = sqlstore.New(waiting, unlimited, latchkey.Postgres, nil)
	require.ErrorIs(t, err, context.DeadlineExceeded)
	require.NoError(t, unlimited.Close())
}

// The program keeps its own queries going beside the store, however many callers there are: the store takes no more
// than its share, and gives back what it does not use.
func TestPgxPoolIsShared(t *testing.T) {
	ctx := t.Context()
	const conns, share = 5, 4
	pool := newPool(t, harness.Postgres.Place(t), conns)
	db, store, err := storeOfPool(ctx, pool, share)
	require.NoError(t, err)
	var mu sync.Mutex
	failed := map[string]error{}
	keys := latchkey.New(store, &latchkey.Options{Observer: latchkey.Observer{
		StoreCall: func(_ context.Context, c latchkey.StoreCall) {
			mu.Lock()
			defer mu.Unlock()
			if c.Err != nil {
				failed[c.Op] = c.Err
			}
		}}})
	own := make(chan error, 1)
	done := make(chan struct{})
	most := int32(0)
	go func() { // the program's own queries always find a connection
		for {
			select {
			case <-done:
				own <- nil
				return
			default:
			}
			most = max(most, pool.Stat().AcquiredConns())
			var one int
			if err := pool.QueryRow(ctx, "SELECT 1").Scan(&one); err != nil {
				own <- err
				return
			}
		}
	}()
	var all sync.WaitGroup
	for n := range 16 {
		all.Go(func() {
			owner := keys.For(fmt.Sprint("owner ", n))
			for range 5 {
				token, secret, err := owner.Issue(ctx, latchkey.Spec{Kind: latchkey.KindAPIKey})
				if err != nil {
					t.Error(err)
					return
				}
				if _, err = keys.Verify(ctx, latchkey.Presented{Secret: secret.Reveal()}); err != nil {
					t.Error(err)
				}
				if err = owner.Revoke(ctx, token.ID, ""); err != nil {
					t.Error(err)
				}
				if _, err = keys.Verify(ctx, latchkey.Presented{Secret: secret.Reveal()}); err == nil {
					t.Error("a revoked token was accepted")
				}
			}
		})
	}
	all.Wait()
	close(done)
	require.NoError(t, <-own)
	require.LessOrEqual(t, most, int32(conns))
	require.LessOrEqual(t, db.Stats().OpenConnections, share)
	require.NoError(t, keys.Close(ctx))
	require.NoError(t, store.Close())
	harness.Eventually(t, "the store has given its connections back", func() bool {
		return pool.Stat().AcquiredConns() == 0
	})
	mu.Lock()
	defer mu.Unlock()
	require.Empty(t, failed)
	require.NoError(t, db.Close())
	require.NoError(t, pool.Ping(ctx), "the pool is the program's: closing the store leaves it open")
}

// Settings that the pool gives its sessions are seen, and refused by name, wherever they come from.
func TestPgxPoolSettings(t *testing.T) {
	ctx := t.Context()
	place := harness.Postgres.Place(t)
	for name, change := range map[string]func(*pgxpool.Config){
		"the DSN": func(c *pgxpool.Config) { c.ConnConfig.RuntimeParams["statement_timeout"] = "100" },
		"AfterConnect": func(c *pgxpool.Config) {
			c.AfterConnect = func(ctx context.Context, conn *pgx.Conn) error {
				_, err := conn.Exec(ctx, "SET statement_timeout = 100")
				return err
			}
		},
	} {
		_, _, err := storeOfPool(ctx, newPool(t, place, 4, change), 4)
		require.ErrorContains(t, err, "statement_timeout is 100", name)
	}
	for name, change := range map[string]func(*pgxpool.Config){
		"nothing special": func(*pgxpool.Config) {},
		"the simple protocol": func(c *pgxpool.Config) {
			c.ConnConfig.DefaultQueryExecMode = pgx.QueryExecModeSimpleProtocol
		},
		"no statements cached": func(c *pgxpool.Config) { c.ConnConfig.DefaultQueryExecMode = pgx.QueryExecModeExec },
		"a longer timeout": func(c *pgxpool.Config) {
			c.AfterConnect = func(ctx context.Context, conn *pgx.Conn) error {
				_, err := conn.Exec(ctx, "SET statement_timeout = '30s'")
				return err
			}
		},
	} {
		db, store, err := storeOfPool(ctx, newPool(t, place, 4, change), 4)
		require.NoError(t, err, name)
		_, _, err = latchkey.New(store, nil).For("acme").Issue(ctx, latchkey.Spec{Kind: latchkey.KindAPIKey})
		require.NoError(t, err, name)
		require.NoError(t, store.Close())
		require.NoError(t, db.Close())
	}
}

// A connection that listens has the pool's settings, and takes none of its places.
func TestPgxPoolListens(t *testing.T) {
	ctx := t.Context()
	pool := newPool(t, harness.Postgres.Place(t), 4)
	db, store, err := storeOfPool(ctx, pool, 4)
	require.NoError(t, err)
	reader := latchkey.New(store, &latchkey.Options{MaxStale: time.Hour})
	writer := latchkey.New(store, nil)
	token, secret, err := writer.For("acme").Issue(ctx, latchkey.Spec{Kind: latchkey.KindAPIKey})
	require.NoError(t, err)
	verify := func() error {
		_, err := reader.Verify(ctx, latchkey.Presented{Secret: secret.Reveal()})
		return err
	}
	require.NoError(t, verify())
	require.NoError(t, verify())

	conn, err := pgx.ConnectConfig(ctx, pool.Config().ConnConfig)
	require.NoError(t, err)
	_, err = conn.Exec(ctx, "LISTEN "+sqlstore.NotifyChannel)
	require.NoError(t, err)
	heard := make(chan error, 1)
	listening, stop := context.WithCancel(ctx)
	go func() {
		for {
			if _, err := conn.WaitForNotification(listening); err != nil {
				heard <- err
				return
			}
			reader.Wake()
		}
	}()
	require.NoError(t, writer.For("acme").Revoke(ctx, token.ID, ""))
	harness.Eventually(t, "the reader hears of the revocation", func() bool { return verify() != nil })
	require.ErrorIs(t, verify(), latchkey.ErrRevoked)
	stop()
	require.ErrorIs(t, <-heard, context.Canceled)
	_ = conn.Close(ctx)
	require.NoError(t, reader.Close(ctx))
	require.NoError(t, writer.Close(ctx))
	require.NoError(t, store.Close())
	require.NoError(t, db.Close())
}
