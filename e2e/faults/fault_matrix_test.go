package faults

import (
	"context"
	"database/sql"
	"database/sql/driver"
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/latchkey-go/latchkey"
	"github.com/latchkey-go/latchkey/e2e/internal/faulty"
	"github.com/latchkey-go/latchkey/e2e/internal/harness"
	"github.com/latchkey-go/latchkey/e2e/internal/world"
	"github.com/latchkey-go/latchkey/sqlstore"
)

// faultyWorld is a database with the world in it, behind a driver that fails.
type faultyWorld struct {
	harness.Subject
	dsn   string
	plain *sql.DB // does not fail
	db    *sql.DB
	f     *faulty.Connector
	reset func()
	// always is text of statements that are not sampled.
	always string
}

func newFaultyWorld(t *testing.T, s harness.Subject) *faultyWorld {
	w := &faultyWorld{Subject: s, dsn: s.Fresh(t)}
	w.plain = s.Open(t, w.dsn)
	world.Build(t, harness.OpenStore(t, w.plain, s.Dialect))
	w.db, w.f = faulty.Open(t, s.Open(t, w.dsn), w.dsn)
	w.db.SetMaxOpenConns(1)
	w.reset = world.Keep(t, w.plain)
	return w
}

// newStore opens a store that knows nothing yet, on a pool that has one connection. For New it has two: on PostgreSQL
// New looks which of the server's connections two of ours reach, and would open six one after the other. Each of them
// costs the server more than all statements of an operation.
func newStore(t testing.TB, db *sql.DB, d latchkey.Dialect) *sqlstore.Store {
	t.Helper()
	db.SetMaxOpenConns(2)
	defer db.SetMaxOpenConns(1)
	s, err := sqlstore.New(context.Background(), db, d, nil)
	require.NoError(t, err)
	return s
}

// newStore opens one on the pool that fails. The end of the test closes it.
func (w *faultyWorld) newStore(t testing.TB) *sqlstore.Store {
	t.Helper()
	s := newStore(t, w.db, w.Dialect)
	t.Cleanup(func() { require.NoError(t, s.Close()) })
	return s
}

// oneFault is a fault for a call with a context of its own.
type oneFault struct {
	name string
	make func(ctx faulty.Expiring) error
}

func faultsOf(e *harness.Engine) []oneFault {
	return []oneFault{
		{"an error", func(faulty.Expiring) error { return errors.New("the disk is on fire") }},
		{"a lost connection", func(faulty.Expiring) error { return driver.ErrBadConn }},
		{"a connection lost by a timeout",
			func(faulty.Expiring) error { return fmt.Errorf("read: i/o timeout: %w", driver.ErrBadConn) }},
		{"a deadline", func(ctx faulty.Expiring) error { return faulty.Happens(ctx.Expire) }},
		{"a deadlock", func(faulty.Expiring) error { return deadlocks[e] }},
	}
}

// each fails each statement of call in each way, before and after its effect, or a sample of those: one of n.
func (w *faultyWorld) each(t *testing.T, n int, name string, call func(ctx context.Context) error,
	judge func(about, hit string, err error)) (injected int) {
	first := w.f.Count()
	_ = call(context.Background())
	statements := w.f.Statements(first)
	require.NotEmpty(t, statements, name)
	for i, s := range statements {
		always := w.always != "" && strings.Contains(s.Text, w.always)
		for _, after := range []bool{false, true} {
			for _, fault := range faultsOf(w.Engine) {
				if !always && !harness.Sampled(n) {
					continue
				}
				ctx := faulty.NewExpiring()
				w.f.Begin(name, i, after, fault.make(ctx))
				err := call(ctx)
				hit := w.f.Disarm()
				require.NotEmpty(t, hit)
				ctx.Expire() // whoever still waits for it goes
				judge(fmt.Sprintf("%s: %s at %q (after its effect: %t): %v", name, fault.name, hit, after, err), hit, err)
				injected++
			}
		}
	}
	return injected
}

// refusals returns calls that a store refuses, whatever happens meanwhile.
func refusals() []world.Operation {
	write := func(want error, name string, edit func(*latchkey.Write)) world.Operation {
		return world.Operation{Name: name, Again: want, Run: func(ctx context.Context, s *sqlstore.Store) (any, error) {
			w := latchkey.Write{ID: [16]byte{99}, Owner: "acme", At: world.Noon,
				Events: []latchkey.Event{{At: world.Noon, Action: "refused"}}}
			edit(&w)
			return nil, s.Write(ctx, w)
		}}
	}
	other := func(want error, name string, run func(context.Context, *sqlstore.Store) error) world.Operation {
		return world.Operation{Name: name, Again: want, Run: func(ctx context.Context, s *sqlstore.Store) (any, error) {
			return nil, run(ctx, s)
		}}
	}
	secret := latchkey.SecretRecord{Digest: world.Digest(1), Created: world.Noon}
	one := uint64(7)
	return []world.Operation{
		write(latchkey.ErrInUse, "a role that a token names", func(w *latchkey.Write) {
			w.DeleteRoles = []latchkey.Ref{{ID: world.RoleID}}
		}),
		write(latchkey.ErrInUse, "a role that another inherits", func(w *latchkey.Write) {
			w.DeleteRoles = []latchkey.Ref{{ID: world.SpareID}, {ID: world.BaseID, Version: 1}}
		}),
		write(latchkey.ErrExists, "a taken id",
			func(w *latchkey.Write) { w.Tokens = world.Mint("acme", world.ParentID, 50).Tokens }),
		write(latchkey.ErrExists, "a taken digest", func(w *latchkey.Write) {
			w.Tokens, w.Secrets = world.Mint("acme", "new", 50).Tokens, []latchkey.SecretChange{{TokenID: "new", Add: &secret}}
		}),
		write(latchkey.ErrExists, "a taken name", func(w *latchkey.Write) {
			w.Roles = []latchkey.Role{{ID: "new", Owner: "acme", Name: "analyst"}}
		}),
		write(latchkey.ErrConflict, "a stale token", func(w *latchkey.Write) {
			w.Tokens = world.Mint("acme", world.ParentID, 50).Tokens
			w.Tokens[0].Version = 7
		}),
		write(latchkey.ErrConflict, "a stale role to delete", func(w *latchkey.Write) {
			w.DeleteRoles = []latchkey.Ref{{ID: world.SpareID, Version: 7}}
		}),
		write(latchkey.ErrConflict, "a parent that is gone", func(w *latchkey.Write) {
			w.Tokens, w.RequireTokens = world.Mint("acme", "new", 50).Tokens, []latchkey.Ref{{ID: "gone"}}
		}),
		write(latchkey.ErrConflict, "an owner that changed", func(w *latchkey.Write) {
			w.Tokens, w.RequireOwner = world.Mint("acme", "new", 50).Tokens, &one
		}),
		write(latchkey.ErrNotFound, "a token to delete that is gone", func(w *latchkey.Write) {
			w.DeleteTokens = []latchkey.Ref{{ID: world.ParentID}, {ID: "gone"}}
		}),
		write(latchkey.ErrNotFound, "a secret to retire that is gone", func(w *latchkey.Write) {
			w.Secrets = []latchkey.SecretChange{{TokenID: world.ParentID, Retire: world.Digest(50)}}
		}),
		other(latchkey.ErrOverLimit, "credits beyond the limit", func(ctx context.Context, s *sqlstore.Store) error {
			r := world.Reservation(2)
			r.Amount = 61 // the first account has 60 left
			_, err := s.Reserve(ctx, r)
			return err
		}),
		other(latchkey.ErrConflict, "a key of another reservation", func(ctx context.Context, s *sqlstore.Store) error {
			r := world.Reservation(1)
			r.Amount = 1
			_, err := s.Reserve(ctx, r)
			return err
		}),
		other(latchkey.ErrNotFound, "an unknown reservation", func(ctx context.Context, s *sqlstore.Store) error {
			return s.Settle(ctx, "acme", [16]byte{77}, 1)
		}),
		other(latchkey.ErrNotFound, "an unknown digest", func(ctx context.Context, s *sqlstore.Store) error {
			_, err := s.ByDigest(ctx, 0, world.Digest(50), world.Digest(51))
			return err
		}),
		other(latchkey.ErrNotFound, "secrets of nobody", func(ctx context.Context, s *sqlstore.Store) error {
			_, err := s.Secrets(ctx, "acme", "gone")
			return err
		}),
	}
}

// A call that is refused stays refused when statements fail: for its own reason, or because the store is unavailable.
// Nothing of it is done, and its outcome is never unknown.
func TestFaultsOfRefusals(t *testing.T) {
	harness.OnSubjects(t, func(t *testing.T, s harness.Subject) {
		w := newFaultyWorld(t, s)
		store, err := sqlstore.New(context.Background(), w.db, w.Dialect, nil)
		require.NoError(t, err)
		defer store.Close()
		w.always = "latchkey_role_inherits WHERE owner = ? AND inherits_id" // is it in use?
		if w.Dialect == latchkey.Postgres {
			w.always = "latchkey_role_inherits WHERE owner = $1 AND inherits_id"
		}
		before := world.Dump(t, w.plain)
		injected := 0
		for _, op := range refusals() {
			_, err := op.Run(context.Background(), store)
			require.ErrorIs(t, err, op.Again, op.Name)
			injected += w.each(t, 16, op.Name, func(ctx context.Context) error {
				_, err := op.Run(ctx, store)
				return err
			}, func(about, hit string, err error) {
				require.Error(t, err, about)
				require.True(t, errors.Is(err, op.Again) || errors.Is(err, latchkey.ErrUnavailable), about)
				require.NotErrorIs(t, err, latchkey.ErrUnknownOutcome, about)
				require.Equal(t, before, world.Dump(t, w.plain), about)
			})
		}
		t.Logf("%d faults", injected)
		require.Greater(t, injected, harness.Rounds(len(refusals()), 60))
	})
}

// The deadline comes at each statement of each operation, before and after its effect, in the words of the real driver.
func TestFaultsOfDeadlines(t *testing.T) {
	harness.OnSubjects(t, func(t *testing.T, s harness.Subject) {
		w := newFaultyWorld(t, s)
		injected, given := 0, 0
		for _, op := range world.Operations() {
			w.reset()
			store := w.newStore(t) // what a Store remembers saves statements
			before, first := world.Dump(t, w.plain), w.f.Count()
			want, err := op.Run(context.Background(), store)
			require.NoError(t, err)
			statements, finished := w.f.Count()-first, world.Dump(t, w.plain)
			for i := range statements {
				for _, after := range []bool{false, true} {
					if !harness.Sampled(24) {
						continue
					}
					w.reset()
					store, ctx := w.newStore(t), faulty.NewExpiring()
					w.f.Begin(op.Name, i, after, faulty.Happens(ctx.Expire))
					got, err := op.Run(ctx, store)
					hit := w.f.Disarm()
					require.NotEmpty(t, hit)
					injected++
					about := fmt.Sprintf("%s: the deadline at %q (after its effect: %t): %v", op.Name, hit, after, err)
					switch unknown := errors.Is(err, latchkey.ErrUnknownOutcome); {
					case err == nil:
						require.Equal(t, want, got, about)
						require.Equal(t, finished, world.Dump(t, w.plain), about)
					case unknown:
						// A mint waits for another goroutine's commit, which may be under way by the time of its look-up.
						require.True(t, hit == "COMMIT" || op.Name == "Write: mint", about)
						require.NotErrorIs(t, err, latchkey.ErrUnavailable, about)
					default:
						given++
						require.ErrorIs(t, err, latchkey.ErrUnavailable, about)
						require.ErrorIs(t, err, context.DeadlineExceeded, about)
						require.Equal(t, before, world.Dump(t, w.plain), "unavailable means not done: "+about)
					}
					again, repeatErr := op.Run(context.Background(), store)
					if op.Again != nil && !errors.Is(err, latchkey.ErrUnavailable) && errors.Is(repeatErr, op.Again) {
						repeatErr = nil
					}
					require.NoError(t, repeatErr, "the repeat, after "+about)
					require.Equal(t, want, again, about)
					require.Equal(t, finished, world.Dump(t, w.plain), "the repeat did not settle it: "+about)
				}
			}
		}
		t.Logf("%d deadlines, %d calls given up", injected, given)
		require.Greater(t, injected, harness.Rounds(10, 200))
		require.Greater(t, given, harness.Rounds(3, 100))
	})
}

// New, Migrate and CheckSchema do not take what they cannot read for missing, old or damaged, and they do not pass
// over it.
func TestFaultsAtStart(t *testing.T) {
	harness.OnSubjects(t, func(t *testing.T, s harness.Subject) {
		w := newFaultyWorld(t, s)
		before := world.Dump(t, w.plain)
		// Of a fault that is told only with the rows behind the first, who reads one row need not hear.
		honest := func(about string, err error) {
			for _, wrong := range []string{"run sqlstore.Migrate", "restore a backup", "half done", "is missing", "too old",
				"newer", "no table", "does not exist", "encoding is"} {
				require.NotContains(t, strings.ReplaceAll(err.Error(), "autocommit is", ""), wrong, about)
			}
		}
		var store *sqlstore.Store
		// With a pool of one New opens six connections of PostgreSQL: fewer of its faults are tried.
		for i, n := range []int{80, 24} { // one of so many
			connections := i + 1
			w.db.SetMaxOpenConns(connections)
			w.db.SetMaxIdleConns(connections)
			w.each(t, n, fmt.Sprintf("New with %d", connections), func(ctx context.Context) (err error) {
				store, err = sqlstore.New(ctx, w.db, w.Dialect, nil)
				return err
			}, func(about, _ string, err error) {
				if err != nil {
					honest(about, err)
					return
				}
				_, err = store.ByDigest(context.Background(), 0, world.Digest(2))
				require.NoError(t, err, about)
				require.NoError(t, store.Close())
			})
		}
		w.db.SetMaxOpenConns(1)
		w.each(t, 24, "Migrate", func(ctx context.Context) error {
			return sqlstore.Migrate(ctx, w.db, w.Dialect)
		}, func(about, _ string, err error) {
			if err != nil {
				honest(about, err)
			}
			require.Equal(t, before, world.Dump(t, w.plain), about)
			require.NoError(t, sqlstore.Migrate(context.Background(), w.db, w.Dialect))
		})
		fits := latchkey.NewSchema(latchkey.Fields{"seq": {Column: "seq", Type: latchkey.Integer}})
		unfit := latchkey.NewSchema(latchkey.Fields{"seq": {Column: "seq", Type: latchkey.Text},
			"gone": {Column: "gone", Type: latchkey.Integer}})
		w.each(t, 2, "CheckSchema", func(ctx context.Context) error {
			return sqlstore.CheckSchema(ctx, w.db, w.Dialect, "latchkey_event_seqs", fits)
		}, func(about, _ string, err error) {
			if err != nil {
				honest(about, err)
			}
		})
		w.each(t, 2, "CheckSchema that refuses", func(ctx context.Context) error {
			return sqlstore.CheckSchema(ctx, w.db, w.Dialect, "latchkey_event_seqs", unfit)
		}, func(about, _ string, err error) { require.Error(t, err, about) })

		// Where a driver's times are tried, whatever fails leaves neither a table nor a transaction open.
		moment := map[latchkey.Dialect]string{latchkey.SQLite: "TEXT", latchkey.Postgres: "timestamptz",
			latchkey.MySQL: "DATETIME(6)"}
		_, err := w.plain.Exec("CREATE TABLE probed (at " + moment[w.Dialect] + ")")
		require.NoError(t, err)
		tables := world.Objects(t, w.Engine, w.plain)
		moments := latchkey.NewSchema(latchkey.Fields{"at": {Column: "at", Type: latchkey.DateTime}})
		w.each(t, 40, "CheckSchema of moments", func(ctx context.Context) error {
			return sqlstore.CheckSchema(ctx, w.db, w.Dialect, "probed", moments)
		}, func(about, _ string, err error) {
			if err != nil {
				honest(about, err)
				require.NotContains(t, err.Error(), "is declared", about)
			}
			require.NoError(t, sqlstore.CheckSchema(context.Background(), w.db, w.Dialect, "probed", moments), about)
			require.Equal(t, tables, world.Objects(t, w.Engine, w.plain), about)
		})

		// An empty database: a migration that fails at any statement, in any way, is completed by the next.
		empty := func() (*sql.DB, *faulty.Connector) {
			dsn := s.Fresh(t)
			return faulty.Open(t, s.Open(t, dsn), dsn)
		}
		db, f := empty()
		require.NoError(t, sqlstore.Migrate(context.Background(), db, w.Dialect))
		tried, statements, random := 0, f.Count(), harness.Drawn("migrations of "+w.Name)
		for i := range statements {
			for _, fault := range faultsOf(w.Engine) {
				if !harness.Sampled(200) {
					continue
				}
				db, f := empty()
				after := random.IntN(2) == 0
				ctx := faulty.NewExpiring()
				f.Begin("migrate", i, after, fault.make(ctx))
				err := sqlstore.Migrate(ctx, db, w.Dialect)
				hit := f.Disarm()
				ctx.Expire()
				about := fmt.Sprintf("%s at statement %d, %q (after its effect: %t): %v", fault.name, i, hit, after, err)
				require.NotEmpty(t, hit, about)
				if err != nil {
					honest(about, err)
				}
				require.NoError(t, sqlstore.Migrate(context.Background(), db, w.Dialect), about)
				world.Build(t, harness.OpenStore(t, db, w.Dialect))
				tried++
				db.Close()
			}
		}
		t.Logf("%d migrations", tried)
	})
}
