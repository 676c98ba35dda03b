package clusters

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/latchkey-go/latchkey"
	"github.com/latchkey-go/latchkey/e2e/internal/harness"
	"github.com/latchkey-go/latchkey/e2e/internal/world"
	"github.com/latchkey-go/latchkey/sqlstore"
)

// newPostgres returns a server that is not started, and is stopped at the end of the test. Each test has its own, as
// servers die in it.
func newPostgres(t testing.TB, name string) *harness.Engine {
	t.Helper()
	e := harness.Postgres.Another()
	e.Name = name
	t.Cleanup(e.Stop)
	return e
}

// newPrimary starts a primary.
func newPrimary(t testing.TB) *harness.Engine {
	t.Helper()
	e := newPostgres(t, "primary")
	require.NoError(t, e.MakeFolder())
	_, err := harness.StartPostgres(e)
	require.NoError(t, err, e.Log.String())
	e.DSN = fmt.Sprintf("host=%s user=postgres dbname=postgres sslmode=disable", e.Folder)
	e.Admin, err = sql.Open(e.Driver, e.DSN)
	require.NoError(t, err)
	require.NoError(t, e.Ready())
	return e
}

// follow makes e a standby of primary, under the name that synchronous_standby_names knows, and waits until it answers.
// What e had before is gone.
func follow(t testing.TB, e *harness.Engine, primary *harness.Engine, name string) {
	t.Helper()
	if e.Folder == "" {
		require.NoError(t, e.MakeFolder())
	}
	data := filepath.Join(e.Folder, "data")
	require.NoError(t, os.RemoveAll(data))
	folder := pgFolder(t)
	err := e.Command(filepath.Join(folder, "pg_basebackup"), "-D", data, "-R", "-X", "stream", "-c", "fast", "--no-sync",
		"-d", fmt.Sprintf("host=%s user=postgres application_name=%s", primary.Folder, name)).Run()
	require.NoError(t, err, e.Log.String())
	e.DSN = fmt.Sprintf("host=%s user=postgres dbname=postgres sslmode=disable", e.Folder)
	if e.Admin == nil {
		e.Admin, err = sql.Open(e.Driver, e.DSN)
		require.NoError(t, err)
	}
	servePostgres(t, e)
}

func servePostgres(t testing.TB, e *harness.Engine) {
	t.Helper()
	require.NoError(t, e.Serve(filepath.Join(pgFolder(t), "postgres"), "-D", filepath.Join(e.Folder, "data"), "-k",
		e.Folder, "-c", "listen_addresses=", "-c", "fsync=off", "-c", "full_page_writes=off", "-c", "max_connections=1000"))
	if err := e.Ready(); err != nil { // what was killed may still hold the folder
		e.Restart(t)
	}
}

func pgFolder(t testing.TB) string {
	t.Helper()
	initdb, err := harness.Program("initdb",
		append([]string{os.Getenv("LATCHKEY_PG_BIN")}, harness.PostgresFolders()...)...)
	require.NoError(t, err)
	initdb, err = filepath.EvalSymlinks(initdb)
	require.NoError(t, err)
	return filepath.Dir(initdb)
}

// waitsFor makes the primary acknowledge only what the standby has done: written it, or shown it to readers.
func waitsFor(t testing.TB, e *harness.Engine, name, level string) {
	t.Helper()
	e.Exec(t, "ALTER SYSTEM SET synchronous_standby_names = '"+name+"'",
		"ALTER SYSTEM SET synchronous_commit = '"+level+"'", "SELECT pg_reload_conf()")
	require.Eventually(t, func() bool {
		var state string
		err := e.Admin.QueryRow("SELECT sync_state FROM pg_stat_replication WHERE application_name = $1", name).Scan(&state)
		return err == nil && state == "sync"
	}, 5*time.Minute, 5*time.Millisecond)
}

// promote makes a standby the primary, and waits until it is one.
func promote(t testing.TB, e *harness.Engine) {
	t.Helper()
	var done bool
	require.NoError(t, e.Admin.QueryRow("SELECT pg_promote(true, 60)").Scan(&done), e.Log.String())
	require.True(t, done)
}

// caughtUp waits until a standby has all that its primary has.
func caughtUp(t testing.TB, e *harness.Engine, primary *harness.Engine) {
	t.Helper()
	var at string
	require.NoError(t, primary.Admin.QueryRow("SELECT pg_current_wal_lsn()").Scan(&at))
	require.Eventually(t, func() bool {
		var there bool
		err := e.Admin.QueryRow("SELECT pg_last_wal_replay_lsn() >= $1::pg_lsn", at).Scan(&there)
		return err == nil && there
	}, 5*time.Minute, 5*time.Millisecond)
}

// either returns a DSN that finds the one of two servers that can be written.
func either(a, b *harness.Engine, schema string) string {
	return fmt.Sprintf("host=%s,%s user=postgres dbname=postgres sslmode=disable target_session_attrs=read-write "+
		"search_path='%s'", a.Folder, b.Folder, schema)
}

func schema(t testing.TB, e *harness.Engine, name string) string {
	t.Helper()
	dsn, err := harness.PostgresSetting(e.DSN, "search_path", name)
	require.NoError(t, err)
	return dsn
}

// A primary that waits for its standby is a store like any other. On the standby listings and usage may be read, and
// nothing may be decided: neither by a Store made on it, nor by one that a failover has led to it.
func TestStandbyReads(t *testing.T) {
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Minute)
	defer cancel()
	primary, standby := newPrimary(t), newPostgres(t, "standby")
	follow(t, standby, primary, "s1")
	waitsFor(t, primary, "s1", "remote_apply")
	t.Run("the primary", func(t *testing.T) {
		primary.Exec(t, "CREATE SCHEMA suite")
		open := inTurn(t, primary, schema(t, primary, "suite"))
		// Sampled, for the engine is one on which all are run: LONG=1 runs all here too.
		harness.RunCases(t, harness.Parts("standby", 12)[0], open)
	})
	primary.Exec(t, "CREATE SCHEMA latchkey")
	dsn := schema(t, standby, "latchkey")
	_, err := sqlstore.NewReplica(ctx, standby.Open(t, dsn), latchkey.Postgres)
	require.ErrorContains(t, err, "run sqlstore.Migrate")
	s := primary.Store(t, schema(t, primary, "latchkey"))
	world.Build(t, s)
	caughtUp(t, standby, primary)

	for _, err := range []error{
		sqlstore.Migrate(ctx, standby.Open(t, dsn), latchkey.Postgres),
		func() error { _, err := sqlstore.New(ctx, standby.Open(t, dsn), latchkey.Postgres, nil); return err }(),
	} {
		require.ErrorContains(t, err, "standby")
		require.ErrorContains(t, err, "connect to the primary")
		require.ErrorContains(t, err, "target_session_attrs=read-write")
		require.ErrorContains(t, err, "NewReplica")
	}
	_, err = sqlstore.NewReplica(ctx, standby.Open(t, dsn), latchkey.MySQL)
	require.ErrorContains(t, err, "this is no ")

	for _, e := range []*harness.Engine{standby, primary} {
		r, err := sqlstore.NewReplica(ctx, e.Open(t, schema(t, e, "latchkey")), latchkey.Postgres)
		require.NoError(t, err)
		tokens, err := r.Tokens(ctx, "acme", latchkey.TokenQuery{})
		require.NoError(t, err)
		require.Len(t, tokens, 2)
		roles, err := r.Roles(ctx, "acme", latchkey.RoleQuery{})
		require.NoError(t, err)
		require.Len(t, roles, 3)
		clients, err := r.Clients(ctx, "acme", latchkey.Page{})
		require.NoError(t, err)
		require.NotEmpty(t, clients)
		events, _, err := r.Events(ctx, "acme", latchkey.EventQuery{Reverse: true})
		require.NoError(t, err)
		require.NotEmpty(t, events)
		usage, err := r.Usage(ctx, "acme", latchkey.UsageQuery{})
		require.NoError(t, err)
		want, err := s.Usage(ctx, "acme", latchkey.UsageQuery{})
		require.NoError(t, err)
		require.Equal(t, want, usage)
		require.NoError(t, r.Close())
		_, err = r.Tokens(ctx, "acme", latchkey.TokenQuery{})
		require.ErrorIs(t, err, latchkey.ErrUnavailable)
	}

	// A pool that a failover leads to the standby: here, a socket that is another server's from one moment to the next.
	link := filepath.Join(t.TempDir(), "host")
	require.NoError(t, os.Symlink(primary.Folder, link))
	db := primary.Open(t, fmt.Sprintf("host=%s user=postgres dbname=postgres sslmode=disable search_path=latchkey", link))
	moved, err := sqlstore.New(ctx, db, latchkey.Postgres, nil)
	require.NoError(t, err)
	defer moved.Close()
	_, err = moved.ByDigest(ctx, 0, world.Digest(2))
	require.NoError(t, err)
	require.NoError(t, os.Remove(link))
	require.NoError(t, os.Symlink(standby.Folder, link))
	db.SetMaxIdleConns(-1) // none that leads to the primary is left
	listed := map[string]bool{"Tokens": true, "Tokens: found, by name": true, "Tokens: by last use": true, "Count": true,
		"Ending": true, "Unused": true, "KeySecrets": true, "Undelivered": true, "Taken": true, "Secrets": true, "Role": true,
		"Revocations": true, "Roles": true, "Clients": true, "Owner": true, "Events": true, "Events by time": true,
		"Usage": true}
	for _, op := range world.Operations() {
		if _, err := op.Run(ctx, moved); !listed[op.Name] {
			require.ErrorIs(t, err, latchkey.ErrUnavailable, op.Name)
		}
	}
	_, err = moved.Changes(ctx, 0, 0, 0)
	require.ErrorIs(t, err, latchkey.ErrUnavailable)
	require.ErrorContains(t, err, "standby")
	_, err = moved.ByDigest(ctx, 0, world.Digest(2))
	require.ErrorIs(t, err, latchkey.ErrUnavailable)

	// Without the standby that it waits for, the primary acknowledges nothing. Who gives up does not know, and asks again.
	standby.Kill9(t)
	w := latchkey.Write{ID: world.WriteID(), Owner: "waiting", At: world.Noon, OwnerRecord: &latchkey.Owner{ID: "waiting"}}
	err = latchkey.ErrUnavailable
	for d := 500 * time.Millisecond; errors.Is(err, latchkey.ErrUnavailable); d *= 2 { // until it comes to the commit
		short, cancelShort := context.WithTimeout(ctx, d)
		err = s.Write(short, w)
		cancelShort()
	}
	require.ErrorIs(t, err, latchkey.ErrUnknownOutcome)
	// Giving up cancels the waiting, and then it is on this server alone: saying it again waits again.
	again, cancelAgain := context.WithTimeout(ctx, 2*time.Second)
	defer cancelAgain()
	err = s.Write(again, w)
	require.Error(t, err, "acknowledged, and in one place only")
	primary.Exec(t, "ALTER SYSTEM SET synchronous_standby_names = ''", "SELECT pg_reload_conf()")
	err = s.Write(ctx, w)
	require.NoError(t, err)
	after, err := s.Owner(ctx, "waiting")
	require.NoError(t, err)
	require.Equal(t, uint64(1), after.Version, "once")
}

// The primary dies under load, and its standby takes over. A DSN that names both goes on, and all is there that a
// primary that waited for its standby had acknowledged. In between nothing is answered.
func TestStandbyTakesOver(t *testing.T) {
	levels := []string{"remote_apply"}
	if os.Getenv("LONG") != "" {
		levels = append(levels, "on")
	}
	for _, level := range levels {
		t.Run(level, func(t *testing.T) { standbyTakesOver(t, level) })
	}
}

func standbyTakesOver(t *testing.T, level string) {
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Minute)
	defer cancel()
	primary, standby := newPrimary(t), newPostgres(t, "standby")
	follow(t, standby, primary, "s1")
	waitsFor(t, primary, "s1", level)
	primary.Exec(t, "CREATE SCHEMA latchkey")
	both := either(primary, standby, "latchkey")
	load := &loadOnNodes{stores: []*sqlstore.Store{primary.Store(t, both)}}
	keys := latchkey.New(primary.Store(t, either(standby, primary, "latchkey")), nil)
	t.Cleanup(func() { require.NoError(t, keys.Close(context.Background())) })
	bounded := latchkey.New(primary.Store(t, both), &latchkey.Options{MaxStale: 200 * time.Millisecond})
	t.Cleanup(func() { require.NoError(t, bounded.Close(context.Background())) })
	former := primary.Store(t, schema(t, primary, "latchkey")) // knows one server
	acme := keys.For("acme")
	dead, deadSecret, err := acme.Issue(ctx, latchkey.Spec{Kind: latchkey.KindAPIKey})
	require.NoError(t, err)
	live, liveSecret, err := acme.Issue(ctx, latchkey.Spec{Kind: latchkey.KindAPIKey})
	require.NoError(t, err)
	verify := func(k *latchkey.Manager, s latchkey.Secret) error {
		_, err := k.Verify(ctx, latchkey.Presented{Secret: s.Reveal()})
		return err
	}
	require.NoError(t, verify(keys, deadSecret))
	require.NoError(t, verify(bounded, liveSecret))
	require.NoError(t, acme.Revoke(ctx, dead.ID, ""))

	load.begin(ctx, t, 4)
	load.has(t, 40)
	killed := time.Now()
	primary.Kill9(t)
	gone := func(k *latchkey.Manager) func() bool { // a server's children may outlive it by a moment
		return func() bool { return errors.Is(verify(k, liveSecret), latchkey.ErrUnavailable) }
	}
	require.Eventually(t, gone(keys), 5*time.Minute, 10*time.Millisecond)
	require.ErrorIs(t, verify(keys, deadSecret), latchkey.ErrUnavailable)
	err = acme.Revoke(ctx, live.ID, "")
	require.ErrorIs(t, err, latchkey.ErrUnavailable)
	_, err = acme.Get(ctx, live.ID)
	require.ErrorIs(t, err, latchkey.ErrUnavailable)
	require.Eventually(t, gone(bounded), 5*time.Minute, 10*time.Millisecond, "past the bound")

	promote(t, standby)
	standby.Exec(t, "ALTER SYSTEM SET synchronous_standby_names = ''", "SELECT pg_reload_conf()") // it has none of its own
	load.has(t, load.done.Load()+40)
	load.stop.Store(true)
	load.all.Wait()
	require.NoError(t, load.failed)
	t.Logf("%d rounds; the standby took over within %v", len(load.tokens), time.Since(killed).Round(time.Millisecond))
	load.check(t, standby.Store(t, schema(t, standby, "latchkey")), "the standby that took over")
	require.NoError(t, verify(keys, liveSecret))
	require.NoError(t, verify(bounded, liveSecret))
	require.ErrorIs(t, verify(keys, deadSecret), latchkey.ErrRevoked)
	require.NoError(t, acme.Revoke(ctx, live.ID, ""))

	// The former primary comes back as a standby. Whoever knows no other server must not take it for the primary.
	follow(t, primary, standby, "s2")
	caughtUp(t, primary, standby)
	_, err = former.Changes(ctx, 0, 0, 0)
	require.ErrorIs(t, err, latchkey.ErrUnavailable)
	_, err = sqlstore.New(ctx, primary.Open(t, schema(t, primary, "latchkey")), latchkey.Postgres, nil)
	require.ErrorContains(t, err, "standby")
	require.ErrorIs(t, verify(keys, liveSecret), latchkey.ErrRevoked)
}

// A primary that does not wait for its standby dies, and what the standby had not received is lost. No Manager goes
// on answering from what is lost: one that knew it forgets all it knew.
func TestStandbyThatMissedSomething(t *testing.T) {
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Minute)
	defer cancel()
	primary, standby := newPrimary(t), newPostgres(t, "standby")
	primary.Exec(t, "CREATE SCHEMA latchkey")
	s := primary.Store(t, schema(t, primary, "latchkey"))
	follow(t, standby, primary, "s1")
	both := either(primary, standby, "latchkey")
	keys := latchkey.New(primary.Store(t, both), nil)
	bounded := latchkey.New(primary.Store(t, both), &latchkey.Options{MaxStale: 100 * time.Millisecond})
	for _, k := range []*latchkey.Manager{keys, bounded} {
		t.Cleanup(func() { require.NoError(t, k.Close(context.Background())) })
	}
	acme := keys.For("acme")
	role, err := acme.CreateRole(ctx, latchkey.Role{Name: "reader",
		Permissions: latchkey.Permissions{latchkey.Allow(latchkey.Read).On("dataset/orders")}})
	require.NoError(t, err)
	_, secret, err := acme.Issue(ctx, latchkey.Spec{Kind: latchkey.KindAPIKey,
		Roles: []string{role.ID}})
	require.NoError(t, err)
	payroll := func(k *latchkey.Manager) error {
		access, err := k.Verify(ctx, latchkey.Presented{Secret: secret.Reveal()})
		if err != nil {
			return err
		}
		return access.Check(latchkey.Read, "dataset/payroll")
	}
	caughtUp(t, standby, primary)
	standby.Kill9(t) // and so the primary is alone

	_, err = acme.UpdateRole(ctx, role.ID, func(r *latchkey.Role) error {
		r.Permissions = latchkey.Permissions{latchkey.Allow(latchkey.Read).On("*")}
		return nil
	})
	require.NoError(t, err)
	before, err := s.Changes(ctx, 0, 0, 0)
	require.NoError(t, err)
	require.NoError(t, payroll(keys))
	require.NoError(t, payroll(bounded))
	primary.Kill9(t)
	servePostgres(t, standby)
	promote(t, standby)

	after, err := primary.Store(t, both).Changes(ctx, 0, before.Epoch, 10)
	require.NoError(t, err)
	require.Less(t, after.Epoch, before.Epoch)
	require.True(t, after.Truncated)
	err = payroll(keys)
	for errors.Is(err, latchkey.ErrUnavailable) && ctx.Err() == nil { // until its pool has dropped what the primary left
		err = payroll(keys)
	}
	require.ErrorIs(t, err, latchkey.ErrDenied)
	require.Eventually(t, func() bool { return errors.Is(payroll(bounded), latchkey.ErrDenied) },
		5*time.Minute, 10*time.Millisecond)
}
