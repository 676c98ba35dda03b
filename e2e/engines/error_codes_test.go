package engines

import (
	"context"
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

// What a server's error codes mean: try again, not done, or outcome unknown. A code that is not listed here means not
// done before the COMMIT, and unknown at it.
func TestEnginesCodes(t *testing.T) {
	const (
		again   = "again"
		not     = "not done"
		unknown = "not known"
	)
	ctx := context.Background()
	places := map[*harness.Engine]string{harness.Postgres: harness.Postgres.Place(t),
		harness.MariaDB: harness.MariaDB.Place(t)}
	for i, c := range []struct {
		e                   *harness.Engine
		code                string
		read, write, commit string
	}{
		{harness.MariaDB, "1213", again, again, again},   // deadlock; Galera: another node was first
		{harness.MariaDB, "1205", not, again, again},     // lock wait timeout; of a read: wsrep_sync_wait in vain
		{harness.MariaDB, "1020", again, again, again},   // changed since it was read
		{harness.MariaDB, "1047", not, not, not},         // Galera: no part of the majority; nothing was run
		{harness.MariaDB, "1180", not, not, unknown},     // error during COMMIT; Galera: cut off while committing
		{harness.MariaDB, "1290", not, not, unknown},     // the server is read-only
		{harness.MariaDB, "1053", not, not, unknown},     // the server is shutting down
		{harness.MariaDB, "1317", not, not, unknown},     // interrupted
		{harness.Postgres, "40001", again, again, again}, // serialization; on a standby: what was read is gone
		{harness.Postgres, "40P01", again, again, again}, // deadlock
		{harness.Postgres, "55P03", again, again, again}, // lock timeout
		{harness.Postgres, "25006", not, not, unknown},   // the server is, or became, a standby
		{harness.Postgres, "57P01", not, not, unknown},   // shut down; while it waits for its standby it has committed
		{harness.Postgres, "57P03", not, not, unknown},   // starting up
		{harness.Postgres, "57014", not, not, unknown},   // cancelled
	} {
		t.Run(c.e.Name+" "+c.code, func(t *testing.T) {
			dsn, owner := places[c.e], "owner "+c.code
			db, f := faulty.Open(t, c.e.Open(t, dsn), dsn)
			db.SetMaxOpenConns(1)
			s := harness.OpenStore(t, db, c.e.Dialect)
			var fault error = &pgconn.PgError{Severity: "ERROR", Code: c.code, Message: "injected"}
			if c.e == harness.MariaDB {
				e := &mysql.MySQLError{Message: "injected"}
				_, err := fmt.Sscan(c.code, &e.Number)
				require.NoError(t, err)
				fault = e
			}
			err := s.Write(ctx, world.Mint(owner, "t0", 1000*i)) // makes all that a first write makes
			require.NoError(t, err)
			before := f.Count()
			err = s.Write(ctx, world.Mint(owner, "t1", 1000*i+1))
			require.NoError(t, err)
			statements := f.Count() - before

			check := func(want string, err error, what string) {
				t.Helper()
				switch want {
				case again:
					require.NoError(t, err, what)
				case not:
					require.ErrorIs(t, err, latchkey.ErrUnavailable, what)
					require.NotErrorIs(t, err, latchkey.ErrUnknownOutcome, what)
				case unknown:
					require.ErrorIs(t, err, latchkey.ErrUnknownOutcome, what)
					require.NotErrorIs(t, err, latchkey.ErrUnavailable, what)
				}
				require.NotErrorIs(t, err, latchkey.ErrNotFound)
			}
			f.Begin("read", 0, false, fault)
			_, err = s.ByDigest(ctx, 0, world.Digest(1000*i))
			require.NotEmpty(t, f.Disarm())
			check(c.read, err, "read")
			for at := range statements {
				id := fmt.Sprint("w", at)
				f.Begin("write", at, false, fault)
				err := s.Write(ctx, world.Mint(owner, id, 1000*i+100+at))
				hit := f.Disarm()
				want := c.write
				if at == statements-1 {
					require.Equal(t, "COMMIT", hit)
					want = c.commit
				}
				if want == not && err == nil {
					want = again // a mint that could not share a transaction is tried once more, alone
				}
				check(want, err, hit)
				_, err = s.Load(ctx, owner, id)
				if want == again {
					require.NoError(t, err, hit)
				} else {
					require.ErrorIs(t, err, latchkey.ErrNotFound, "it failed before its effect: %s", hit)
				}
			}
		})
	}
}
