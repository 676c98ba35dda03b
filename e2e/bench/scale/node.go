package main

import (
	"cmp"
	"context"
	"database/sql"
	"fmt"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/latchkey-go/latchkey"
	"github.com/latchkey-go/latchkey/e2e/internal/harness"
	"github.com/latchkey-go/latchkey/sqlstore"
)

// node is what one process has: a pool, a store and a Manager.
type node struct {
	*latchkey.Manager
	db    *sql.DB
	store *sqlstore.Store
	trips *harness.Distance // nil: near
	once  sync.Once
}

// place returns the DSN of an empty, migrated database.
func place(t testing.TB) string {
	dsn := server.Place(t)
	db := server.Open(t, dsn)
	require.NoError(t, sqlstore.Migrate(context.Background(), db, server.Dialect))
	require.NoError(t, db.Close())
	return dsn
}

// newNode returns a node with as many connections as docs/operations.md advises, or fewer.
func newNode(t testing.TB, dsn string, connections int, maxStale time.Duration) *node {
	db, err := sql.Open(server.Driver, dsn)
	require.NoError(t, err)
	db.SetMaxOpenConns(connections)
	db.SetMaxIdleConns(connections)
	n := &node{db: db}
	n.store, err = sqlstore.New(context.Background(), db, server.Dialect, nil)
	require.NoError(t, err)
	n.Manager = latchkey.New(n.store, &latchkey.Options{MaxStale: maxStale})
	t.Cleanup(func() { n.end(t) })
	return n
}

// end ends the node. It may be called more than once.
func (n *node) end(t testing.TB) {
	n.once.Do(func() {
		require.NoError(t, n.Close(context.Background()))
		require.NoError(t, n.store.Close())
		require.NoError(t, n.db.Close())
	})
}

// farNode returns a node whose server is a round trip away.
func farNode(t testing.TB, dsn string, roundTrip time.Duration) *node {
	dsn, trips := harness.Far(t, server, dsn, roundTrip)
	n := newNode(t, dsn, 16, 0)
	n.trips = trips
	return n
}

// count returns how many round trips do makes, and how long it takes.
func (n *node) count(t testing.TB, do func() error) (trips int64, took time.Duration) {
	before, began := n.trips.Trips(), time.Now()
	require.NoError(t, do())
	return n.trips.Trips() - before, time.Since(began)
}

// settle waits until nothing is written behind, such as the last use of the Verify before. Its round trips are none of
// the next call's, which does not wait for them.
func (n *node) settle(roundTrip time.Duration) {
	for before := int64(-1); before != n.trips.Trips(); {
		before = n.trips.Trips()
		time.Sleep(3*roundTrip + 100*time.Millisecond)
	}
}

// issue issues a key, and returns its id and text.
func (n *node) issue(t testing.TB, owner string) (id, text string) {
	token, secret, err := n.For(owner).Issue(context.Background(), latchkey.Spec{Kind: latchkey.KindAPIKey})
	require.NoError(t, err)
	return token.ID, secret.Reveal()
}

// owners issues one key for each of n owners, and returns a call that renames the key of owner i.
func owners(t testing.TB, by *node, n int) func(on *node, i int) error {
	var next, names atomic.Int64
	var all sync.WaitGroup
	ids := make([]string, n)
	for range 16 {
		all.Go(func() {
			for i := next.Add(1) - 1; i < int64(n); i = next.Add(1) - 1 {
				ids[i], _ = by.issue(t, fmt.Sprint("owner ", i))
			}
		})
	}
	all.Wait()
	return func(on *node, i int) error {
		name := fmt.Sprint("name ", names.Add(1))
		_, err := on.For(fmt.Sprint("owner ", i)).Update(context.Background(), ids[i], func(t *latchkey.Token) error {
			t.Name = name
			return nil
		})
		return err
	}
}

// perSecond returns how often so many callers call do in a second. Calls that have begun are waited for, and count in
// full: at a distance a turn may be shorter than one of them.
func perSecond(t testing.TB, callers int, each time.Duration, do func(caller int) error) float64 {
	var done atomic.Int64
	var all sync.WaitGroup
	began := time.Now()
	for i := range callers {
		all.Go(func() {
			for first := true; first || time.Since(began) < each; first = false {
				if err := do(i); err != nil {
					t.Error(err)
					return
				}
				done.Add(1)
			}
		})
	}
	all.Wait()
	return float64(done.Load()) / time.Since(began).Seconds()
}

// inBackground calls do, again and again, until the call that it returns.
func inBackground(t testing.TB, do func() error) (stop func()) {
	ctx, cancel := context.WithCancel(context.Background())
	var all sync.WaitGroup
	all.Go(func() {
		for ctx.Err() == nil {
			if err := do(); err != nil {
				t.Error(err)
				return
			}
		}
	})
	return func() {
		cancel()
		all.Wait()
	}
}

func median[T cmp.Ordered](list []T) T {
	list = slices.Sorted(slices.Values(list))
	return list[len(list)/2]
}

func ms(d time.Duration) string { return fmt.Sprintf("%.1f ms", d.Seconds()*1000) }
