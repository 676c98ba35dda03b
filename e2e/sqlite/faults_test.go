package sqlite

import (
	"context"
	"database/sql"
	"database/sql/driver"
	"errors"
	"fmt"
	"os"
	"slices"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/latchkey-go/latchkey"
	"github.com/latchkey-go/latchkey/e2e/internal/faulty"
	"github.com/latchkey-go/latchkey/e2e/internal/harness"
	"github.com/latchkey-go/latchkey/e2e/internal/world"
	"github.com/latchkey-go/latchkey/sqlstore"
)

// busy is what a driver says when another process holds the lock.
type busy struct{}

func (busy) Error() string { return "database is locked (5) (SQLITE_BUSY)" }

func (busy) Code() int { return 5 }

// Every statement of every operation fails once, before and after its effect. The error must be true, nothing may be
// half written, and the same call again must settle it. Sampled: how it fails is drawn of three ways, and LONG=1: all.
func TestSQLiteEveryStatementFails(t *testing.T) {
	ctx := context.Background()
	start := world.SQLiteFile(t)
	injected := 0
	for _, op := range world.Operations() {
		t.Run(op.Name, func(t *testing.T) {
			open := func() (*sqlstore.Store, *sql.DB, *sql.DB, *faulty.Connector) {
				file := harness.NewFile(t)
				require.NoError(t, os.WriteFile(file, start, 0o600))
				db, f := faulty.OpenSQLite(t, "file:"+file)
				db.SetMaxOpenConns(1)
				s, err := sqlstore.New(ctx, db, latchkey.SQLite, nil)
				require.NoError(t, err)
				return s, db, harness.OpenSQLite(t, "file:"+file), f
			}
			s, db, plain, f := open()
			before := world.Dump(t, plain)
			n := f.Count()
			want, err := op.Run(ctx, s)
			require.NoError(t, err)
			statements, finished := f.Count()-n, world.Dump(t, plain)
			require.Positive(t, statements)
			require.NoError(t, s.Close())
			db.Close()
			for i := range statements {
				for _, after := range []bool{false, true} {
					for _, fault := range []error{errors.New("disk I/O error (10)"), driver.ErrBadConn, busy{}} {
						if !harness.Sampled(6) {
							continue
						}
						s, db, plain, f := open()
						f.Begin(op.Name, i, after, fault)
						got, err := op.Run(ctx, s)
						hit := f.Disarm()
						require.NotEmpty(t, hit)
						injected++
						about := fmt.Sprintf("%q failed (%v, after its effect: %v): %v", hit, fault, after, err)
						done := err == nil
						unknown := errors.Is(err, latchkey.ErrUnknownOutcome)
						if fault == (busy{}) && !(hit == "COMMIT" && after) {
							require.NoError(t, err, "what is busy is tried again: "+about)
						}
						switch {
						case done: // a lost connection under a read is tried again too
							require.Equal(t, want, got, about)
							require.Equal(t, finished, world.Dump(t, plain), about)
						case errors.Is(err, latchkey.ErrUnavailable):
							require.False(t, unknown, about)
							require.Equal(t, before, world.Dump(t, plain), "unavailable means not done: "+about)
						default:
							require.True(t, unknown, about)
							require.Equal(t, "COMMIT", hit, about)
							require.Contains(t, []string{before, finished}, world.Dump(t, plain), "half written: "+about)
						}
						got, err = op.Run(ctx, s)
						if op.Again != nil && (unknown || done) && errors.Is(err, op.Again) {
							err = nil
						}
						require.NoError(t, err, "the repeat, after "+about)
						require.Equal(t, want, got, about)
						require.Equal(t, finished, world.Dump(t, plain), "the repeat did not settle it: "+about)
						require.NoError(t, s.Close())
						db.Close()
						plain.Close()
					}
				}
			}
		})
	}
	t.Logf("%d faults in the statements of %d operations on SQLite", injected, len(world.Operations()))
	require.Greater(t, injected, harness.Rounds(200, 1200))
}

func TestSQLiteStatementsCarryOwner(t *testing.T) {
	ctx := context.Background()
	start := world.SQLiteFile(t)
	free := []string{"ByDigest", "ByDigest of three", "ByLookup", "Changes", "AddUsage", "AddUsage: a secret's last use",
		"Ending", "Unused", "KeySecrets", "Undelivered", "Purge"}
	checked := 0
	for _, op := range world.Operations() {
		file := harness.NewFile(t)
		require.NoError(t, os.WriteFile(file, start, 0o600))
		db, f := faulty.OpenSQLite(t, "file:"+file)
		s, err := sqlstore.New(ctx, db, latchkey.SQLite, nil)
		require.NoError(t, err)
		f.Begin(op.Name, -1, false, nil)
		_, err = op.Run(ctx, s)
		require.NoError(t, err)
		for _, l := range f.Statements(0) {
			if l.Op != op.Name || slices.Contains(free, op.Name) {
				continue
			}
			checked++
			require.LessOrEqual(t, world.Ownerless(l.Text), 0, "%s: a statement on a tenant's table without its owner:\n%s",
				l.Op, l.Text)
		}
		require.NoError(t, s.Close())
	}
	require.Greater(t, checked, 100)
	// The check itself must be able to fail.
	require.Positive(t, world.Ownerless("DELETE FROM latchkey_tokens WHERE id = ?"))
	require.Positive(t,
		world.Ownerless("SELECT 1 FROM latchkey_tokens t JOIN latchkey_roles r ON r.id = t.id WHERE t.owner = ?"))
	require.Positive(t, world.Ownerless("INSERT INTO latchkey_once (id) VALUES (?)"))
}
