package engines

import (
	"context"
	"crypto/sha256"
	"database/sql"
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/stretchr/testify/require"

	"github.com/latchkey-go/latchkey"
	"github.com/latchkey-go/latchkey/e2e/internal/faulty"
	"github.com/latchkey-go/latchkey/e2e/internal/harness"
	"github.com/latchkey-go/latchkey/e2e/internal/world"
	"github.com/latchkey-go/latchkey/sqlstore"
)

// configure is a change: the first record of an owner.
func configure(owner string) latchkey.Write {
	return latchkey.Write{ID: world.WriteID(), Owner: owner, At: world.Noon, OwnerRecord: &latchkey.Owner{ID: owner},
		Events: []latchkey.Event{{At: world.Noon, Owner: owner, Action: "owner.configure", Object: owner}}}
}

// epochs reads the whole feed of a store, and checks that it has no gap. It returns the owner of each epoch.
func epochs(t *testing.T, s latchkey.Store) (owners []string) {
	t.Helper()
	var last uint64
	for {
		feed, err := s.Changes(t.Context(), 0, last, 1000)
		require.NoError(t, err)
		require.False(t, feed.Truncated)
		for _, c := range feed.Changes {
			if c.Epoch != last {
				require.Equal(t, last+1, c.Epoch)
				last, owners = c.Epoch, append(owners, c.Owner)
			}
		}
		if last == feed.Epoch {
			return owners
		}
		require.NotEmpty(t, feed.Changes)
	}
}

// withoutTrigger removes the trigger, so that a store that is opened later raises the epoch by itself.
func withoutTrigger(t *testing.T, db *sql.DB) {
	t.Helper()
	_, err := db.Exec("DROP TRIGGER latchkey_number_changes ON latchkey_commits")
	require.NoError(t, err)
}

// newStore opens a store without a migration.
func newStore(t *testing.T, db *sql.DB, d latchkey.Dialect) *sqlstore.Store {
	t.Helper()
	s, err := sqlstore.New(t.Context(), db, d, nil)
	require.NoError(t, err)
	t.Cleanup(func() { s.Close() })
	return s
}

// triggerRuns reports whether a change waits for the epoch inside COMMIT, and not before it.
func triggerRuns(t *testing.T, db *sql.DB, f *faulty.Connector, s *sqlstore.Store, owner string) bool {
	t.Helper()
	start := f.Count()
	require.NoError(t, s.Write(t.Context(), configure(owner)))
	raises, pending := false, false
	for _, l := range f.Statements(start) {
		raises = raises || strings.Contains(l.Text, "SET epoch = epoch + 1")
		pending = pending || strings.Contains(l.Text, "INTO latchkey_commits")
	}
	require.True(t, raises || pending)
	require.Equal(t, []string{"0"}, world.Column(t, db, "SELECT count(*) FROM latchkey_commits"))
	return !raises
}

// A transaction that has done everything but COMMIT holds up no change of another owner.
func TestEpochIsHeldForNoRoundTrip(t *testing.T) {
	ctx := t.Context()
	e := harness.Postgres
	dsn := e.Place(t)
	others := e.Store(t, dsn)
	world.Build(t, others)
	db, f := faulty.Open(t, e.Open(t, dsn), dsn)
	stalled := harness.OpenStore(t, db, e.Dialect)
	stalls, goOn := make(chan struct{}), make(chan struct{})
	var once sync.Once
	f.Before = func(text string) {
		if text == "COMMIT" {
			once.Do(func() {
				close(stalls)
				<-goOn
			})
		}
	}
	var all sync.WaitGroup
	all.Go(func() { require.NoError(t, stalled.Write(ctx, configure("slow"))) })
	<-stalls
	for i := range 5 {
		require.NoError(t, others.Write(ctx, configure(fmt.Sprint("quick", i))))
	}
	close(goOn)
	all.Wait()
	owners := epochs(t, others)
	require.Equal(t, "slow", owners[len(owners)-1], "it committed last")
	require.Empty(t, world.Walk(t, db))
}

// Whatever happens to the trigger, before New or after it, no change is lost.
func TestTriggerOff(t *testing.T) {
	ctx := t.Context()
	e := harness.Postgres
	for name, c := range map[string]struct {
		off  string
		runs bool // it is fired nevertheless
	}{
		"disabled":     {"ALTER TABLE latchkey_commits DISABLE TRIGGER latchkey_number_changes", false},
		"all disabled": {"ALTER TABLE latchkey_commits DISABLE TRIGGER ALL", false},
		"for replicas": {"ALTER TABLE latchkey_commits ENABLE REPLICA TRIGGER latchkey_number_changes", false},
		"dropped":      {"DROP TRIGGER latchkey_number_changes ON latchkey_commits", false},
		"always":       {"ALTER TABLE latchkey_commits ENABLE ALWAYS TRIGGER latchkey_number_changes", true},
	} {
		t.Run(name, func(t *testing.T) {
			dsn := e.Place(t)
			admin := e.Open(t, dsn)
			db, f := faulty.Open(t, e.Open(t, dsn), dsn)
			s := harness.OpenStore(t, db, e.Dialect)
			require.True(t, triggerRuns(t, admin, f, s, "before"))
			_, err := admin.Exec(c.off)
			require.NoError(t, err)
			require.Equal(t, c.runs, triggerRuns(t, admin, f, s, "after"), "a store that runs notices")
			require.Equal(t, c.runs, triggerRuns(t, admin, f, newStore(t, db, e.Dialect), "later"))
			// Migrate makes what is missing, and leaves alone what was disabled.
			runs := c.runs || name == "dropped"
			require.Equal(t, runs, triggerRuns(t, admin, f, harness.OpenStore(t, db, e.Dialect), "migrated"))
			require.Equal(t, []string{"before", "after", "later", "migrated"}, epochs(t, s))
			require.Empty(t, world.Walk(t, admin))
		})
	}
	t.Run("by a session", func(t *testing.T) {
		dsn := e.Place(t)
		admin := e.Open(t, dsn)
		db, f := faulty.Open(t, e.Open(t, dsn), dsn)
		s := harness.OpenStore(t, db, e.Dialect)
		db.SetMaxOpenConns(1)
		_, err := db.Exec("SET session_replication_role = replica")
		require.NoError(t, err)
		require.False(t, triggerRuns(t, admin, f, s, "acme"))
		require.Equal(t, []string{"acme"}, epochs(t, s))
		replica := e.With(t, dsn, "session_replication_role", "replica")
		_, err = sqlstore.New(ctx, e.Open(t, replica), e.Dialect, nil)
		require.ErrorContains(t, err, "session_replication_role is replica")
		harness.OpenStore(t, e.Open(t, e.With(t, dsn, "session_replication_role", "local")), e.Dialect)
	})
	t.Run("another function", func(t *testing.T) {
		for what, change := range map[string]string{
			"body": `CREATE OR REPLACE FUNCTION latchkey_number_changes() RETURNS trigger LANGUAGE plpgsql
				SET search_path = pg_catalog AS $$ BEGIN RETURN NULL; END $$`,
			"search_path": `ALTER FUNCTION latchkey_number_changes() RESET search_path`,
			"definer":     `ALTER FUNCTION latchkey_number_changes() SECURITY DEFINER`,
		} {
			dsn := e.Place(t)
			admin := e.Open(t, dsn)
			db, f := faulty.Open(t, e.Open(t, dsn), dsn)
			harness.OpenStore(t, db, e.Dialect)
			_, err := admin.Exec(change)
			require.NoError(t, err)
			s := harness.OpenStore(t, db, e.Dialect)
			require.False(t, triggerRuns(t, admin, f, s, "acme"), what)
			require.Equal(t, []string{"acme"}, epochs(t, s), what)
		}
	})
}

// A user who may make no functions works without them. Once they may be made, Migrate makes them.
func TestFunctionsForbidden(t *testing.T) {
	ctx := t.Context()
	e := harness.Postgres
	dsn := e.Place(t)
	admin := e.Open(t, dsn)
	place := world.Column(t, admin, "SELECT current_schema()")[0]
	user := "lk_" + strings.ReplaceAll(uuid.NewString(), "-", "")
	e.Exec(t, "CREATE ROLE "+user+" LOGIN", "GRANT ALL ON SCHEMA "+place+" TO "+user,
		"REVOKE USAGE ON LANGUAGE plpgsql FROM PUBLIC")
	t.Cleanup(func() { e.Exec(t, "GRANT USAGE ON LANGUAGE plpgsql TO PUBLIC") })
	dsn = e.With(t, dsn, "user", user)
	db, f := faulty.Open(t, e.Open(t, dsn), dsn)
	s := harness.OpenStore(t, db, e.Dialect)
	require.False(t, triggerRuns(t, admin, f, s, "forbidden"))
	require.NoError(t, sqlstore.Migrate(ctx, db, e.Dialect), "again, as at each start")
	e.Exec(t, "GRANT USAGE ON LANGUAGE plpgsql TO PUBLIC")
	require.NoError(t, sqlstore.Migrate(ctx, db, e.Dialect))
	require.False(t, triggerRuns(t, admin, f, s, "an open store goes on"))
	later := harness.OpenStore(t, db, e.Dialect)
	require.True(t, triggerRuns(t, admin, f, later, "a later one"))
	require.False(t, triggerRuns(t, admin, f, s, "beside it"))
	require.Len(t, epochs(t, s), 4)
	require.Empty(t, world.Walk(t, admin))

	// A program that may only use the tables may use the trigger.
	reader := user + "_r"
	e.Exec(t, "CREATE ROLE "+reader+" LOGIN", "GRANT USAGE ON SCHEMA "+place+" TO "+reader,
		"GRANT SELECT, INSERT, UPDATE, DELETE ON ALL TABLES IN SCHEMA "+place+" TO "+reader,
		"REVOKE EXECUTE ON ALL FUNCTIONS IN SCHEMA "+place+" FROM PUBLIC")
	dsn = e.With(t, dsn, "user", reader)
	db, f = faulty.Open(t, e.Open(t, dsn), dsn)
	require.True(t, triggerRuns(t, admin, f, harness.OpenStore(t, db, e.Dialect), "with rights to the tables"))
}

// The function finds its tables whatever the session's search_path is, and whatever temporary tables it has.
func TestTriggerFindsItsTables(t *testing.T) {
	e := harness.Postgres
	dsn := e.Place(t)
	s := e.Store(t, dsn)
	db := e.Open(t, dsn)
	place := world.Column(t, db, "SELECT current_schema()")[0]
	conn, err := db.Conn(t.Context())
	require.NoError(t, err)
	defer conn.Close()
	for i, path := range []string{`''`, `pg_temp, "$user"`, `"no such schema"`, "pg_catalog"} {
		for _, text := range []string{
			"SET search_path = " + path,
			"CREATE TEMPORARY TABLE IF NOT EXISTS latchkey_epoch (id INT, epoch INT)",
			"CREATE TEMPORARY TABLE IF NOT EXISTS latchkey_changes (epoch INT)",
			fmt.Sprintf(`INSERT INTO %s.latchkey_pending VALUES ('o%d', decode(repeat('0%d', 16), 'hex'), 5,
				'{1, 4}', '{"a", "b"}', '{NULL, 7}')`, place, i, i),
			fmt.Sprintf(`INSERT INTO %s.latchkey_commits VALUES ('p%d', decode(repeat('0%d', 16), 'hex'), 2,
				'{1, 1, 2}', '{0, 1, 0}', '{"p%d", "p%d", "q%d"}', '{1, 4, 2}', '{"a", "b", "c d"}', '{NULL, 7, NULL}',
				'{5, 5, 6}')`, place, i, i, i, i, i),
		} {
			_, err := conn.ExecContext(t.Context(), text)
			require.NoError(t, err, text)
		}
		var is string
		require.NoError(t, conn.QueryRowContext(t.Context(), "SHOW search_path").Scan(&is))
		require.NotContains(t, is, place, "the path is as it was")
	}
	require.Equal(t, []string{"o0", "p0", "q0", "o1", "p1", "q1", "o2", "p2", "q2", "o3", "p3", "q3"}, epochs(t, s))
	require.Equal(t, []string{"0"}, world.Column(t, db, `SELECT count(*) FROM latchkey_pending, latchkey_commits`))
	until := time.UnixMicro(7).UTC()
	want := []latchkey.Change{{Epoch: 10, Owner: "o3", Kind: latchkey.ChangedToken, ID: "a"},
		{Epoch: 10, Owner: "o3", Kind: latchkey.ChangedRevocation, ID: "b", Until: until},
		{Epoch: 11, Owner: "p3", Kind: latchkey.ChangedToken, ID: "a"},
		{Epoch: 11, Owner: "p3", Kind: latchkey.ChangedRevocation, ID: "b", Until: until},
		{Epoch: 12, Owner: "q3", Kind: latchkey.ChangedRole, ID: "c d"}}
	feed, err := s.Changes(t.Context(), 0, 9, 10)
	require.NoError(t, err)
	require.Equal(t, want, feed.Changes)
	require.Equal(t, []string{"12"}, world.Column(t, db, `SELECT count(*) FROM latchkey_changes WHERE packed IS NOT NULL`))
	_, err = db.Exec(`UPDATE latchkey_changes SET packed = NULL`)
	require.NoError(t, err)
	feed, err = s.Changes(t.Context(), 0, 9, 10)
	require.NoError(t, err)
	require.Equal(t, want, feed.Changes, "what an earlier version inserts is packed when it is read")
}

// What the trigger refuses is not committed, and the caller is told so. No number is lost by it.
func TestTriggerRefuses(t *testing.T) {
	ctx := t.Context()
	e := harness.Postgres
	for name, c := range map[string]struct{ spoil, mend, says string }{
		"the epoch is missing": {"DELETE FROM latchkey_epoch", "INSERT INTO latchkey_epoch VALUES (1, 1, 0)",
			"the row of latchkey_epoch is missing"},
		"the number is taken": {"INSERT INTO latchkey_changes VALUES (2, 0, 'x', 1, 'x', NULL, 0)",
			"DELETE FROM latchkey_changes WHERE owner = 'x'", "duplicate key"},
		"a right is missing": {"ALTER TABLE latchkey_changes ADD CONSTRAINT nothing CHECK (epoch < 2)",
			"ALTER TABLE latchkey_changes DROP CONSTRAINT nothing", "nothing"},
	} {
		t.Run(name, func(t *testing.T) {
			dsn := e.Place(t)
			admin := e.Open(t, dsn)
			db, f := faulty.Open(t, e.Open(t, dsn), dsn)
			s := harness.OpenStore(t, db, e.Dialect)
			require.NoError(t, s.Write(ctx, configure("first")))
			var once sync.Once
			spoil := func() {
				_, err := admin.Exec(c.spoil)
				require.NoError(t, err)
			}
			f.Before = func(text string) {
				if text == "COMMIT" {
					once.Do(spoil)
				}
			}
			w := configure("second")
			err := s.Write(ctx, w)
			require.ErrorIs(t, err, latchkey.ErrUnavailable)
			require.NotErrorIs(t, err, latchkey.ErrUnknownOutcome)
			require.ErrorContains(t, err, c.says)
			o, err := s.Owner(ctx, "second")
			require.NoError(t, err)
			require.Zero(t, o.Version)
			_, err = admin.Exec(c.mend)
			require.NoError(t, err)
			require.NoError(t, s.Write(ctx, w))
			require.Equal(t, []string{"first", "second"}, epochs(t, s))
			require.Empty(t, world.Walk(t, admin))
		})
	}
}

// A caller that gives up while its COMMIT waits for the epoch does not know the outcome. The same Write again settles
// it.
func TestGivenUpInsideCommit(t *testing.T) {
	e := harness.Postgres
	dsn := e.Place(t)
	s := e.Store(t, dsn)
	db := e.Open(t, dsn)
	holder, err := db.Begin()
	require.NoError(t, err)
	_, err = holder.Exec("UPDATE latchkey_epoch SET epoch = epoch + 1")
	require.NoError(t, err)
	writes := make([]latchkey.Write, 5)
	var all sync.WaitGroup
	for i := range writes {
		writes[i] = configure(fmt.Sprint("o", i))
		all.Go(func() {
			ctx, cancel := context.WithTimeout(t.Context(), 150*time.Millisecond)
			defer cancel()
			err := s.Write(ctx, writes[i])
			if !errors.Is(err, latchkey.ErrUnknownOutcome) { // it did not come as far as COMMIT
				require.ErrorIs(t, err, latchkey.ErrUnavailable)
			}
			require.ErrorIs(t, err, context.DeadlineExceeded)
		})
	}
	all.Wait()
	require.NoError(t, holder.Rollback())
	for _, w := range writes {
		require.NoError(t, s.Write(t.Context(), w))
		require.NoError(t, s.Write(t.Context(), w))
	}
	require.ElementsMatch(t, []string{"o0", "o1", "o2", "o3", "o4"}, epochs(t, s))
	require.Empty(t, world.Walk(t, db))
}

// Changes of several owners share a transaction. Each gets its own answer and its own number.
func TestSharedChanges(t *testing.T) {
	ctx := t.Context()
	e := harness.Postgres
	dsn := e.Place(t)
	admin := e.Open(t, dsn)
	db, f := faulty.Open(t, e.Open(t, dsn), dsn)
	db.SetMaxOpenConns(4) // two transactions at a time
	s := harness.OpenStore(t, db, e.Dialect)
	const owners = 20
	for i := range owners {
		require.NoError(t, s.Write(ctx, configure(fmt.Sprintf("o%02d", i))))
	}
	first := epochs(t, s)
	holder, err := admin.Begin()
	require.NoError(t, err)
	_, err = holder.Exec("SELECT 1 FROM latchkey_event_seqs WHERE owner = 'o07' FOR UPDATE")
	require.NoError(t, err)

	begins, goOn := make(chan struct{}), make(chan struct{})
	var once sync.Once
	f.Before = func(text string) {
		if text == "BEGIN" {
			once.Do(func() { close(begins) })
			<-goOn
		}
	}
	var start int
	update := func(ctx context.Context, owner int, version uint64) error {
		w := configure(fmt.Sprintf("o%02d", owner))
		w.OwnerRecord.Version, w.Events = version, nil
		return s.Write(ctx, w)
	}
	var all sync.WaitGroup
	all.Go(func() { require.NoError(t, update(ctx, 0, 1)) })
	<-begins
	left, leave := context.WithCancel(ctx)
	var locked sync.WaitGroup
	// Each is queued before the next one, and o07 behind another: two transactions wait at their begin, so the next one
	// finds the rest in the queue. Otherwise o07 might have a transaction to itself.
	for i := 1; i < owners; i++ {
		queued := make(chan struct{}, 1)
		switch i {
		case 8:
			continue
		case 7:
			locked.Go(func() { require.NoError(t, update(queuedContext{ctx, queued}, i, 1)) })
		case 9:
			all.Go(func() {
				err := update(queuedContext{left, queued}, i, 1)
				require.ErrorIs(t, err, latchkey.ErrUnavailable)
				require.ErrorIs(t, err, context.Canceled)
			})
		default:
			all.Go(func() { require.NoError(t, update(queuedContext{ctx, queued}, i, 1)) })
		}
		<-queued
	}
	leave()
	close(goOn)
	all.Wait()
	o, err := s.Owner(ctx, "o07")
	require.NoError(t, err)
	require.Equal(t, uint64(1), o.Version, "its owner is locked")
	require.NoError(t, holder.Rollback())
	locked.Wait()
	got := epochs(t, s)
	require.Len(t, got, len(first)+owners-2)
	seen := map[string]int{}
	for _, owner := range got {
		seen[owner]++
	}
	for i := range owners {
		want := 2
		if i == 8 || i == 9 {
			want = 1
		}
		require.Equal(t, want, seen[fmt.Sprintf("o%02d", i)], i)
	}

	// With nothing in the way there are fewer commits than changes, as soon as some are queued at the same time. One that
	// conflicts spoils no other.
	f.Before = nil
	for version := uint64(2); ; version++ {
		start = f.Count()
		for i := range owners {
			all.Go(func() {
				if i == 8 && version%2 == 0 {
					require.ErrorIs(t, update(ctx, i, 1000), latchkey.ErrConflict)
				} else if i != 8 && i != 9 {
					require.NoError(t, update(ctx, i, version))
				}
			})
		}
		all.Wait()
		if commits(f, start) < owners-2 {
			break
		}
	}
	epochs(t, s)
	require.Empty(t, world.Walk(t, admin))
}

// What shared transactions write is what each change writes alone, whatever it does.
func TestSharedChangesOfEveryShape(t *testing.T) {
	ctx := t.Context()
	e := harness.Postgres
	const owners = 5
	id := func(i int, what string) string { return fmt.Sprintf("%s of o%d", what, i) }
	at := world.Noon
	// Each step is a write for each owner. The versions go up by one.
	steps := []func(i int, w *latchkey.Write){
		func(i int, w *latchkey.Write) { w.OwnerRecord = &latchkey.Owner{ID: w.Owner} }, // makes the row that is locked
		func(i int, w *latchkey.Write) {
			version := uint64(1)
			w.RequireOwner = &version
			w.Roles = []latchkey.Role{{ID: id(i, "base"), Owner: w.Owner, Name: "base"}}
		},
		func(i int, w *latchkey.Write) {
			w.Roles = []latchkey.Role{{ID: id(i, "top"), Owner: w.Owner, Name: "top", Inherits: []string{id(i, "base")}}}
			w.RequireRoles = []latchkey.Ref{{ID: id(i, "base"), Version: 1}}
		},
		func(i int, w *latchkey.Write) {
			w.Tokens = []latchkey.Token{{ID: id(i, "bare"), Owner: w.Owner, Kind: latchkey.KindAPIKey, Created: at,
				Settings: latchkey.Settings{Name: `quo"te \ {}`, Roles: []string{id(i, "base"), id(i, "top")}}}}
		},
		func(i int, w *latchkey.Write) {
			w.Tokens = []latchkey.Token{{ID: id(i, "token"), Owner: w.Owner, Version: 1, Kind: latchkey.KindAPIKey,
				Created: at, Settings: latchkey.Settings{Name: "renamed", Roles: []string{id(i, "top")},
					Validity: latchkey.Validity{NotAfter: at.Add(time.Hour)}}}}
			w.RequireTokens = []latchkey.Ref{{ID: id(i, "token")}}
			w.RequireRoles = []latchkey.Ref{{ID: id(i, "base")}, {ID: id(i, "top"), Version: 1}}
		},
		func(i int, w *latchkey.Write) {
			w.Tokens = []latchkey.Token{{ID: id(i, "token"), Owner: w.Owner, Version: 2, Kind: latchkey.KindAPIKey,
				Created: at, Revoked: at}}
		},
		func(i int, w *latchkey.Write) {
			w.Tokens = []latchkey.Token{{ID: id(i, "token"), Owner: w.Owner, Version: 3, Damaged: true, Revoked: at}}
		},
		func(i int, w *latchkey.Write) {
			w.Roles = []latchkey.Role{{ID: id(i, "top"), Owner: w.Owner, Version: 1, Name: "summit",
				InheritDenies: true, Extra: []byte(`{"x": 1}`)}}
		},
		func(i int, w *latchkey.Write) {
			w.OwnerRecord = &latchkey.Owner{ID: w.Owner, Version: 1, Disabled: true, NotBefore: at, Since: 1,
				Boundary: latchkey.Permissions{}}
			w.Events = nil
		},
	}
	mint := func(i int) latchkey.Write {
		owner := fmt.Sprint("o", i)
		digest := sha256.Sum256([]byte(owner))
		return latchkey.Write{ID: world.WriteID(), Owner: owner, At: at, Silent: true,
			Tokens: []latchkey.Token{{ID: id(i, "token"), Owner: owner, Kind: latchkey.KindAPIKey, Created: at,
				Settings: latchkey.Settings{Roles: []string{id(i, "base")}}}},
			Secrets: []latchkey.SecretChange{{TokenID: id(i, "token"), Add: &latchkey.SecretRecord{Digest: digest}}}}
	}
	writes := make([][]latchkey.Write, len(steps))
	for k, step := range steps {
		for i := range owners {
			w := latchkey.Write{ID: world.WriteID(), Owner: fmt.Sprint("o", i), At: at.Add(time.Duration(k) * time.Second)}
			w.Events = []latchkey.Event{{At: w.At, Owner: w.Owner, Action: "step", Object: fmt.Sprint(k), After: []byte(`{}`)}}
			step(i, &w)
			writes[k] = append(writes[k], w)
		}
	}
	dsn := e.Place(t)
	admin := e.Open(t, dsn)
	db, f := faulty.Open(t, e.Open(t, dsn), dsn)
	db.SetMaxOpenConns(2) // one transaction at a time
	s := harness.OpenStore(t, db, e.Dialect)
	alone := e.Place(t)
	one := e.Store(t, alone)
	seen := 0
	for k, list := range writes {
		start := f.Count()
		begins, goOn, queued := make(chan struct{}), make(chan struct{}), make(chan struct{}, 100)
		var once sync.Once
		f.Before = func(text string) {
			if text == "BEGIN" {
				once.Do(func() { close(begins) })
				<-goOn
			}
		}
		var all sync.WaitGroup
		all.Go(func() { require.NoError(t, s.Write(ctx, list[0])) })
		<-begins
		for _, w := range list[1:] {
			all.Go(func() { require.NoError(t, s.Write(queuedContext{ctx, queued}, w)) })
			<-queued
		}
		close(goOn)
		all.Wait()
		f.Before = nil
		if k > 0 { // at first there are no rows to lock
			require.Equal(t, 2, commits(f, start), "step %d", k)
			inserts := 0 // one alone, and one for all others
			for _, l := range f.Statements(start) {
				inserts += strings.Count(l.Text, "INTO latchkey_writes")
			}
			require.Equal(t, 2, inserts, "step %d: changes that share a transaction share its statements", k)
		}
		order := epochs(t, s)[seen:]
		if seen += len(order); len(order) == 0 { // a new token is no change that others are told
			order = []string{"o0", "o1", "o2", "o3", "o4"}
		}
		require.Len(t, order, owners)
		for _, owner := range order {
			i := slices.IndexFunc(list, func(w latchkey.Write) bool { return w.Owner == owner })
			require.NoError(t, one.Write(ctx, list[i]))
		}
		require.Equal(t, world.Dump(t, e.Open(t, alone)), world.Dump(t, admin), "step %d", k)
		if k == 5 { // the next one leaves what cannot be read
			require.Empty(t, world.Copies(t, admin))
		}
		for i := 0; k == 3 && i < owners; i++ {
			w := mint(i)
			require.NoError(t, s.Write(ctx, w))
			require.NoError(t, one.Write(ctx, w))
		}
	}
	var last []latchkey.LastUsed
	for i := range owners {
		owner := fmt.Sprint("o", i)
		last = append(last, latchkey.LastUsed{Owner: owner, TokenID: id(i, "token"), At: at,
			Digest: sha256.Sum256([]byte(owner))})
	}
	require.NoError(t, s.AddUsage(ctx, latchkey.UsageBatch{ID: world.WriteID(), At: at, Last: last}))
	planning, texts := "", []string{}
	for _, l := range f.Statements(0) {
		switch {
		case strings.HasPrefix(l.Text, "SELECT set_config("):
			planning = l.Text
		case strings.HasPrefix(l.Text, "WITH m0 AS") && strings.Contains(l.Text, "unnest("),
			strings.HasPrefix(l.Text, "UPDATE latchkey_tokens t"), strings.HasPrefix(l.Text, "UPDATE latchkey_secrets s"):
			if !slices.Contains(texts, l.Text) {
				texts = append(texts, l.Text)
			}
		}
	}
	require.Greater(t, len(texts), len(steps))
	requirePlansByKeys(t, admin, planning, texts)
}

// Plans that a connection keeps find rows by their keys, also if they were made while the tables were small.
func requirePlansByKeys(t *testing.T, db *sql.DB, planning string, texts []string) {
	t.Helper()
	_, err := db.Exec("ANALYZE")
	require.NoError(t, err)
	tx, err := db.Begin()
	require.NoError(t, err)
	defer tx.Rollback()
	_, err = tx.Exec(planning)
	require.NoError(t, err)
	number := regexp.MustCompile(`\$\d+`)
	for i, text := range texts {
		params := map[string]bool{}
		for _, p := range number.FindAllString(text, -1) {
			params[p] = true
		}
		_, err := tx.Exec(fmt.Sprintf("PREPARE p%d AS %s", i, text))
		require.NoError(t, err, text)
		plan := world.Column(t, tx, fmt.Sprintf("EXPLAIN EXECUTE p%d (NULL%s)", i, strings.Repeat(", NULL", len(params)-1)))
		for _, line := range plan {
			require.NotRegexp(t, `Seq Scan on latchkey_|Hash Join|Merge Join`, line, text)
		}
	}
}

// queuedContext tells when a call begins to wait for its end, as a Write does once it is queued.
type queuedContext struct {
	context.Context
	waits chan<- struct{}
}

func (c queuedContext) Done() <-chan struct{} {
	select {
	case c.waits <- struct{}{}:
	default:
	}
	return c.Context.Done()
}

// commits counts them.
func commits(f *faulty.Connector, start int) (n int) {
	for _, l := range f.Statements(start) {
		if l.Text == "COMMIT" {
			n++
		}
	}
	return n
}
