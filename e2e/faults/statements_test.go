package faults

import (
	"context"
	"database/sql"
	"database/sql/driver"
	"errors"
	"fmt"
	"testing"

	"github.com/go-sql-driver/mysql"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/stretchr/testify/require"

	"github.com/latchkey-go/latchkey"
	"github.com/latchkey-go/latchkey/e2e/internal/faulty"
	"github.com/latchkey-go/latchkey/e2e/internal/harness"
	"github.com/latchkey-go/latchkey/e2e/internal/world"
)

// deadlocks are the errors of servers for a transaction that was chosen to end a deadlock.
var deadlocks = map[*harness.Engine]error{
	harness.Postgres: &pgconn.PgError{Severity: "ERROR", Code: "40P01", Message: "deadlock detected"},
	harness.MariaDB: &mysql.MySQLError{Number: 1213, SQLState: [5]byte{'4', '0', '0', '0', '1'},
		Message: "Deadlock found"},
}

// Every statement of every operation fails once, before and after its effect. The error must be true, nothing may be
// half written, and the same call again must settle it. Sampled: LONG=1 tries all.
func TestEnginesEveryStatementFails(t *testing.T) {
	harness.OnEngines(t, func(t *testing.T, e *harness.Engine) {
		dsn := e.Place(t)
		world.Build(t, e.Store(t, dsn))
		plain := e.Open(t, dsn)
		reset := world.Keep(t, plain)
		injected := 0
		for _, op := range world.Operations() {
			t.Run(op.Name, func(t *testing.T) { injected += everyStatementFails(t, e, dsn, plain, op, reset) })
		}
		t.Logf("%d faults in the statements of %d operations on %s", injected, len(world.Operations()), e.Name)
		require.Greater(t, injected, harness.Rounds(25, 600))
	})
}

func everyStatementFails(t *testing.T, e *harness.Engine, dsn string, plain *sql.DB, op world.Operation,
	reset func()) (injected int) {
	ctx := context.Background()
	db, f := faulty.Open(t, e.Open(t, dsn), dsn)
	db.SetMaxOpenConns(1)
	s := newStore(t, db, e.Dialect)
	defer func() { require.NoError(t, s.Close()) }()
	reset()
	before := world.Dump(t, plain)
	n := f.Count()
	want, err := op.Run(ctx, s)
	require.NoError(t, err)
	statements, finished := f.Count()-n, world.Dump(t, plain)
	require.Positive(t, statements)
	for i := range statements {
		for _, after := range []bool{false, true} {
			for _, fault := range []error{errors.New("the disk is on fire"), driver.ErrBadConn, deadlocks[e]} {
				if !harness.Sampled(24) {
					continue
				}
				reset()
				require.NoError(t, s.Close())
				s = newStore(t, db, e.Dialect) // one that knows nothing yet, so that each statement is needed
				f.Begin(op.Name, i, after, fault)
				got, err := op.Run(ctx, s)
				hit := f.Disarm()
				require.NotEmpty(t, hit)
				injected++
				about := fmt.Sprintf("%q failed (%v, after its effect: %v): %v", hit, fault, after, err)
				done, unknown := err == nil, errors.Is(err, latchkey.ErrUnknownOutcome)
				if fault == deadlocks[e] && !(hit == "COMMIT" && after) {
					require.NoError(t, err, "who lost a deadlock tries again: "+about)
				}
				switch {
				case done: // a lost connection under a read is tried again too
					require.Equal(t, want, got, about)
					require.Equal(t, finished, world.Dump(t, plain), about)
				case errors.Is(err, latchkey.ErrUnavailable):
					require.False(t, unknown, about)
					require.Equal(t, before, world.Dump(t, plain), "unavailable means not done: "+about)
				case unknown:
					require.Equal(t, "COMMIT", hit, about)
					require.Contains(t, []string{before, finished}, world.Dump(t, plain), "half written: "+about)
				default: // the engine was made to lie: it committed, said that it had not, and the same was done again
					require.ErrorIs(t, err, op.Again, about)
					require.True(t, hit == "COMMIT" && after && fault == deadlocks[e], about)
				}
				got, err = op.Run(ctx, s)
				if op.Again != nil && !errors.Is(err, latchkey.ErrUnavailable) && errors.Is(err, op.Again) {
					err = nil
				}
				require.NoError(t, err, "the repeat, after "+about)
				require.Equal(t, want, got, about)
				require.Equal(t, finished, world.Dump(t, plain), "the repeat did not settle it: "+about)
			}
		}
	}
	return injected
}
