package e2e

import (
	"context"
	"fmt"
	"testing"

	"github.com/go-sql-driver/mysql"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/stretchr/testify/require"

	"github.com/latchkey-go/latchkey"
)

// What a server says, and what is made of it: tried again, told as not done, or told as not known. What is not in here is
// not done before the COMMIT, and not known at it.
func TestEnginesCodes(t *testing.T) {
	const (
		again   = "again"
		not     = "not done"
		unknown = "not known"
	)
	ctx := context.Background()
	places := map[*sqlEngine]string{postgres: postgres.place(t), mariadb: mariadb.place(t)}
	for i, c := range []struct {
		e                   *sqlEngine
		code                string
		read, write, commit string
	}{
		{mariadb, "1213", again, again, again},   // deadlock; Galera: another node was first
		{mariadb, "1205", not, again, again},     // lock wait timeout; of a read: wsrep_sync_wait in vain
		{mariadb, "1020", again, again, again},   // changed since it was read
		{mariadb, "1047", not, not, not},         // Galera: no part of the majority; nothing was run
		{mariadb, "1180", not, not, unknown},     // error during COMMIT; Galera: cut off while committing
		{mariadb, "1290", not, not, unknown},     // the server is read-only
		{mariadb, "1053", not, not, unknown},     // the server is shutting down
		{mariadb, "1317", not, not, unknown},     // interrupted
		{postgres, "40001", again, again, again}, // serialization; on a standby: what was read is gone
		{postgres, "40P01", again, again, again}, // deadlock
		{postgres, "55P03", again, again, again}, // lock timeout
		{postgres, "25006", not, not, unknown},   // the server is, or became, a standby
		{postgres, "57P01", not, not, unknown},   // shut down; while it waits for its standby it has committed
		{postgres, "57P03", not, not, unknown},   // starting up
		{postgres, "57014", not, not, unknown},   // cancelled
	} {
		t.Run(c.e.name+" "+c.code, func(t *testing.T) {
			dsn, owner := places[c.e], "owner "+c.code
			db, f := openFaultyOf(t, c.e.open(t, dsn), dsn)
			db.SetMaxOpenConns(1)
			s := openStoreOf(t, db, c.e.dialect)
			var fault error = &pgconn.PgError{Severity: "ERROR", Code: c.code, Message: "injected"}
			if c.e == mariadb {
				e := &mysql.MySQLError{Message: "injected"}
				_, err := fmt.Sscan(c.code, &e.Number)
				require.NoError(t, err)
				fault = e
			}
			_, err := s.Write(ctx, mint(owner, "t0", 1000*i)) // makes all that a first write makes
			require.NoError(t, err)
			before := f.count()
			_, err = s.Write(ctx, mint(owner, "t1", 1000*i+1))
			require.NoError(t, err)
			statements := f.count() - before

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
			f.begin("read", 0, false, fault)
			_, err = s.ByDigest(ctx, digest(1000*i))
			require.NotEmpty(t, f.disarm())
			check(c.read, err, "read")
			for at := range statements {
				id := fmt.Sprint("w", at)
				f.begin("write", at, false, fault)
				_, err := s.Write(ctx, mint(owner, id, 1000*i+100+at))
				hit := f.disarm()
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
