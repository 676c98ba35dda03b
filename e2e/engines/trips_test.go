package engines

import (
	"database/sql"
	"fmt"
	"math"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/latchkey-go/latchkey"
	"github.com/latchkey-go/latchkey/e2e/internal/faulty"
	"github.com/latchkey-go/latchkey/e2e/internal/harness"
	"github.com/latchkey-go/latchkey/sqlstore"
)

// distant is a process whose database is far away: its round trips count.
type distant struct {
	t    *testing.T
	far  *harness.Distance
	db   *sql.DB
	keys *latchkey.Manager
	busy atomic.Bool // another owner changes before each statement
}

func newDistant(t *testing.T) *distant {
	e := harness.Postgres
	place := e.Place(t)
	others := latchkey.New(e.Store(t, place), nil).For("other")
	d := &distant{t: t}
	dsn, far := harness.Far(t, e, place, 0)
	d.far = far
	var f *faulty.Connector
	d.db, f = faulty.Open(t, e.Open(t, dsn), dsn)
	d.db.SetMaxOpenConns(4)
	d.db.SetMaxIdleConns(4)
	n := 0
	f.Before = func(string) {
		if d.busy.Load() {
			n++
			require.NoError(t, others.Configure(t.Context(), func(o *latchkey.Owner) error {
				o.Extra = fmt.Append(nil, n)
				return nil
			}))
		}
	}
	d.start()
	return d
}

// start forgets all that the process knows.
func (d *distant) start() {
	store, err := sqlstore.New(d.t.Context(), d.db, latchkey.Postgres, nil)
	require.NoError(d.t, err)
	d.t.Cleanup(func() { store.Close() })
	d.keys = latchkey.New(store, nil)
}

// least returns the fewest round trips of a call, once its statements are known to the server. While a notification
// takes one connection, the call may come to another, which does not know all of them.
func (d *distant) least(call func() int) int {
	least := math.MaxInt
	for i := range 12 {
		if trips := call(); i >= 6 {
			least = min(least, trips)
		}
	}
	return least
}

// trips returns how many round trips a call takes.
func (d *distant) trips(call func()) int {
	before := d.far.Trips()
	call()
	return int(d.far.Trips() - before)
}

// The round trips of a change in a process that has made one before. Each one more is noticed by a user far away.
func TestTripsOfAChange(t *testing.T) {
	ctx := t.Context()
	d := newDistant(t)
	acme := d.keys.For("acme")
	role, err := acme.CreateRole(ctx, latchkey.Role{Name: "reader", Permissions: latchkey.Permissions{
		latchkey.Allow(latchkey.Read).On("dataset/*")}})
	require.NoError(t, err)
	issue := func() string {
		token, _, err := acme.Issue(ctx, latchkey.Spec{Kind: latchkey.KindAPIKey,
			Roles: []string{role.ID}})
		require.NoError(t, err)
		return token.ID
	}
	id, n := issue(), 0
	for name, call := range map[string]func() error{
		"Update": func() error {
			_, err := acme.Update(ctx, id, func(t *latchkey.Token) error { t.Name = fmt.Sprint("name ", n); return nil })
			return err
		},
		"UpdateRole": func() error {
			_, err := acme.UpdateRole(ctx, role.ID, func(r *latchkey.Role) error {
				r.Permissions = latchkey.Permissions{latchkey.Allow(latchkey.Read).On(latchkey.Pattern(fmt.Sprint("dataset/", n)))}
				return nil
			})
			return err
		},
		"Configure": func() error {
			return acme.Configure(ctx, func(o *latchkey.Owner) error { o.Extra = fmt.Append(nil, n); return nil })
		},
	} {
		for _, busy := range []bool{false, true} {
			d.busy.Store(busy)
			trips := d.least(func() int {
				return d.trips(func() {
					n++
					require.NoError(t, call(), name)
				})
			})
			d.busy.Store(false)
			t.Logf("%s, others change: %t: %d round trips", name, busy, trips)
			require.LessOrEqual(t, trips, 6, "%s, others change: %t", name, busy)
		}
	}
	for _, busy := range []bool{false, true} {
		ids := make([]string, 12)
		for i := range ids {
			ids[i] = issue()
		}
		next := 0
		d.busy.Store(busy)
		trips := d.least(func() int {
			return d.trips(func() {
				require.NoError(t, acme.Revoke(ctx, ids[next], ""))
				next++
			})
		})
		d.busy.Store(false)
		t.Logf("Revoke, others change: %t: %d round trips", busy, trips)
		require.LessOrEqual(t, trips, 6)
	}
}

// A process that knows nothing verifies a token, and revokes one, while another owner changes before each statement.
func TestTripsOfAColdProcess(t *testing.T) {
	ctx := t.Context()
	d := newDistant(t)
	acme := d.keys.For("acme")
	role, err := acme.CreateRole(ctx, latchkey.Role{Name: "reader", Permissions: latchkey.Permissions{
		latchkey.Allow(latchkey.Read).On("dataset/*")}})
	require.NoError(t, err)
	_, secret, err := acme.Issue(ctx, latchkey.Spec{Kind: latchkey.KindAPIKey,
		Roles: []string{role.ID}})
	require.NoError(t, err)
	access, err := d.keys.Verify(ctx, latchkey.Presented{Secret: secret.Reveal()})
	require.NoError(t, err)
	_, child, err := access.Mint(ctx, latchkey.Narrowing{Lifetime: time.Hour})
	require.NoError(t, err)
	verify := func(text string) func() {
		return func() {
			_, err := d.keys.Verify(ctx, latchkey.Presented{Secret: text})
			require.NoError(t, err)
		}
	}
	// cold returns the round trips of a call in a process that has just begun.
	cold := func(busy bool, call func()) int {
		d.start()
		before := d.far.Trips()
		d.busy.Store(busy)
		defer d.busy.Store(false)
		call()
		return int(d.far.Trips() - before)
	}
	for _, busy := range []bool{false, true} {
		for name, call := range map[string]func(){"a token": verify(secret.Reveal()),
			"a minted one": verify(child.Reveal())} {
			trips := d.least(func() int { return cold(busy, call) })
			t.Logf("Verify of %s, others change: %t: %d round trips", name, busy, trips)
			require.LessOrEqual(t, trips, 6, "Verify of %s, others change: %t", name, busy)
		}
		trips := d.least(func() int {
			token, _, err := acme.Issue(ctx, latchkey.Spec{Kind: latchkey.KindAPIKey})
			require.NoError(t, err)
			return cold(busy, func() { require.NoError(t, d.keys.For("acme").Revoke(ctx, token.ID, "")) })
		})
		t.Logf("Revoke, others change: %t: %d round trips", busy, trips)
		require.LessOrEqual(t, trips, 8, "Revoke, others change: %t", busy)
	}
}
