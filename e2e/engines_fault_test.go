package e2e

import (
	"context"
	"database/sql"
	"database/sql/driver"
	"errors"
	"fmt"
	"slices"
	"testing"

	"github.com/go-sql-driver/mysql"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/stretchr/testify/require"

	"github.com/latchkey-go/latchkey"
	"github.com/latchkey-go/latchkey/sqlstore"
)

var allTables = append(slices.Clone(tenantTables), "latchkey_epoch", "latchkey_changes", "latchkey_batches")

// deadlocks are what servers say when they have chosen a transaction to die.
var deadlocks = map[*sqlEngine]error{
	postgres: &pgconn.PgError{Severity: "ERROR", Code: "40P01", Message: "deadlock detected"},
	mariadb:  &mysql.MySQLError{Number: 1213, SQLState: [5]byte{'4', '0', '0', '0', '1'}, Message: "Deadlock found"},
}

// Every statement of every operation fails once, before and after its effect. Whatever the caller is told must be true,
// nothing may be half written, and the same call again must settle it. Sampled: LONG=1 tries all.
func TestEnginesEveryStatementFails(t *testing.T) {
	onEngines(t, func(t *testing.T, e *sqlEngine) {
		dsn := e.place(t)
		buildWorld(t, e.store(t, dsn))
		plain := e.open(t, dsn)
		reset := keepWorld(t, plain)
		injected := 0
		for _, op := range operations() {
			t.Run(op.name, func(t *testing.T) { injected += everyStatementFails(t, e, dsn, plain, op, reset) })
		}
		t.Logf("%d faults", injected)
		require.Greater(t, injected, 200)
	})
}

func everyStatementFails(t *testing.T, e *sqlEngine, dsn string, plain *sql.DB, op operation, reset func()) (injected int) {
	ctx := context.Background()
	db, f := openFaultyOf(t, e.open(t, dsn), dsn)
	db.SetMaxOpenConns(1)
	s, err := sqlstore.New(ctx, db, e.dialect, nil)
	require.NoError(t, err)
	defer func() { require.NoError(t, s.Close()) }()
	reset()
	before := dump(t, plain)
	n := f.count()
	want, err := op.run(ctx, s)
	require.NoError(t, err)
	statements, finished := f.count()-n, dump(t, plain)
	require.Positive(t, statements)
	for i := range statements {
		for _, after := range []bool{false, true} {
			for _, fault := range []error{errors.New("the disk is on fire"), driver.ErrBadConn, deadlocks[e]} {
				if !sampled(4) {
					continue
				}
				reset()
				require.NoError(t, s.Close())
				s, err = sqlstore.New(ctx, db, e.dialect, nil) // one that knows nothing yet, so that each statement is needed
				require.NoError(t, err)
				f.begin(op.name, i, after, fault)
				got, err := op.run(ctx, s)
				hit := f.disarm()
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
					require.Equal(t, finished, dump(t, plain), about)
				case errors.Is(err, latchkey.ErrUnavailable):
					require.False(t, unknown, about)
					require.Equal(t, before, dump(t, plain), "unavailable means not done: "+about)
				case unknown:
					require.Equal(t, "COMMIT", hit, about)
					require.Contains(t, []string{before, finished}, dump(t, plain), "half written: "+about)
				default: // the engine was made to lie: it committed, said that it had not, and the same was done again
					require.ErrorIs(t, err, op.again, about)
					require.True(t, hit == "COMMIT" && after && fault == deadlocks[e], about)
				}
				got, err = op.run(ctx, s)
				if op.again != nil && !errors.Is(err, latchkey.ErrUnavailable) && errors.Is(err, op.again) {
					err = nil
				}
				require.NoError(t, err, "the repeat, after "+about)
				require.Equal(t, want, got, about)
				require.Equal(t, finished, dump(t, plain), "the repeat did not settle it: "+about)
			}
		}
	}
	return injected
}
