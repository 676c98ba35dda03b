package nodes

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"
	"github.com/stretchr/testify/require"

	"github.com/latchkey-go/latchkey"
	"github.com/latchkey-go/latchkey/e2e/internal/faulty"
	"github.com/latchkey-go/latchkey/e2e/internal/harness"
	"github.com/latchkey-go/latchkey/e2e/internal/world"
	"github.com/latchkey-go/latchkey/sqlstore"
)

// ear is a connection that listens.
type ear struct {
	t    *testing.T
	ctx  context.Context
	conn *pgx.Conn
	on   *harness.Engine
}

func newEar(t *testing.T, on *harness.Engine, dsn string) *ear {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	t.Cleanup(cancel)
	conn, err := pgx.Connect(ctx, dsn)
	require.NoError(t, err)
	t.Cleanup(func() { conn.Close(context.Background()) })
	_, err = conn.Exec(ctx, "LISTEN "+sqlstore.NotifyChannel)
	require.NoError(t, err)
	return &ear{t, ctx, conn, on}
}

// soFar returns how many notifications were sent since it was last called.
func (e *ear) soFar() (n int) {
	e.t.Helper()
	// they come in the order of commits
	_, err := e.on.Admin.Exec("NOTIFY " + sqlstore.NotifyChannel + ", 'so far'")
	require.NoError(e.t, err)
	for ; ; n++ {
		note, err := e.conn.WaitForNotification(e.ctx)
		require.NoError(e.t, err)
		if note.Payload == "so far" {
			return n
		}
		require.Empty(e.t, note.Payload)
	}
}

// next waits for a notification.
func (e *ear) next() {
	e.t.Helper()
	_, err := e.conn.WaitForNotification(e.ctx)
	require.NoError(e.t, err)
}

// What advances the epoch is notified, and nothing else. Close sends what is due, so then all has been sent.
func TestNotifications(t *testing.T) {
	t.Run(harness.Postgres.Name, func(t *testing.T) { notifications(t, harness.Postgres) })
	harness.OnVersions(t, notifications)
}

func notifications(t *testing.T, on *harness.Engine) {
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Minute)
	defer cancel()
	server := on.NodeEngine()
	dsn := server.Place(t)
	e := newEar(t, on, dsn)
	process := func(do func(keys *latchkey.Manager, acme latchkey.Account)) {
		t.Helper()
		store, err := sqlstore.New(ctx, server.Open(t, dsn), latchkey.Postgres, nil)
		require.NoError(t, err)
		keys := latchkey.New(store, nil)
		do(keys, keys.For("acme"))
		require.NoError(t, keys.Close(ctx))
		require.NoError(t, store.Close())
	}
	var token latchkey.Token
	process(func(keys *latchkey.Manager, acme latchkey.Account) {
		var secret latchkey.Secret
		var err error
		token, secret, err = acme.Issue(ctx, latchkey.Spec{Kind: latchkey.KindSecret})
		require.NoError(t, err)
		access, err := keys.Verify(ctx, latchkey.Presented{Secret: secret.Reveal()})
		require.NoError(t, err)
		for range 40 {
			_, _, err := access.Mint(ctx, latchkey.Narrowing{Lifetime: time.Hour})
			require.NoError(t, err)
		}
	})
	require.Zero(t, e.soFar(), "new tokens alter no answer")
	process(func(_ *latchkey.Manager, acme latchkey.Account) {
		_, err := acme.Update(ctx, token.ID, func(*latchkey.Token) error { return errors.New("no") })
		require.Error(t, err)
	})
	require.Zero(t, e.soFar(), "nothing was written")
	process(func(_ *latchkey.Manager, acme latchkey.Account) {
		_, err := acme.Update(ctx, token.ID, func(token *latchkey.Token) error { token.Name = "new"; return nil })
		require.NoError(t, err)
	})
	require.Equal(t, 1, e.soFar())
	process(func(_ *latchkey.Manager, acme latchkey.Account) { require.NoError(t, acme.Delete(ctx, token.ID)) })
	require.Equal(t, 1, e.soFar(), "one transaction, one notification")
}

// A notification is sent when the commit is visible, and not before. So is that of a commit whose caller has left, and
// that of a Write that is repeated because its outcome is not known.
func TestNotificationsFollowTheCommit(t *testing.T) {
	dsn := onPostgres.Place(t)
	e := newEar(t, harness.Postgres, dsn)
	g := faulty.OpenGate(t, harness.Postgres, dsn)
	reader := harness.Postgres.Open(t, dsn)
	w := func(id string) latchkey.Write {
		return latchkey.Write{ID: uuid.New(), Owner: "acme", At: world.Noon,
			Revocations: []latchkey.Revocation{{ID: id, Until: world.Noon.Add(time.Hour)}}}
	}
	epoch := func() (n int) {
		require.NoError(t, reader.QueryRow("SELECT epoch FROM latchkey_epoch WHERE id = 1").Scan(&n))
		return n
	}
	open := g.Hold()
	done := make(chan error, 1)
	first := w("first")
	go func() { done <- g.Write(t.Context(), first) }()
	harness.Eventually(t, "the commit is held up", func() bool { return g.Waiting.Load() == 1 })
	require.Zero(t, e.soFar())
	require.Zero(t, epoch())
	open()
	require.NoError(t, <-done)
	e.next()
	require.Equal(t, 1, epoch())

	require.NoError(t, g.Write(t.Context(), w("second")))
	e.next()
	require.Equal(t, 2, epoch())
	require.NoError(t, g.Write(t.Context(), first), "again")
	e.next()
	require.Equal(t, 2, epoch())

	open = g.Hold()
	ctx, leave := context.WithCancel(t.Context())
	go func() { done <- g.Write(ctx, w("third")) }()
	harness.Eventually(t, "the commit is held up", func() bool { return g.Waiting.Load() == 1 })
	leave()
	require.ErrorIs(t, <-done, latchkey.ErrUnknownOutcome)
	e.next() // it may have been committed by now, as far as anybody knows
	require.Zero(t, e.soFar())
	open()
	e.next() // or by now
}

// Changes of many callers in several processes share notifications. Whoever listens hears of the last one.
func TestNotificationsAreShared(t *testing.T) {
	const processes, callers, changes = 3, 8, 10
	ctx := t.Context()
	dsn := onPostgres.Place(t)
	e := newEar(t, harness.Postgres, dsn)
	reader := harness.Postgres.Open(t, dsn)
	var stores []*sqlstore.Store
	for range processes {
		stores = append(stores, harness.Postgres.Store(t, dsn))
	}
	var heard atomic.Int64
	var known atomic.Uint64
	ctx, stop := context.WithCancel(ctx)
	listening := make(chan error, 1)
	go func() {
		for {
			_, err := e.conn.WaitForNotification(ctx)
			if err != nil {
				listening <- nil
				return
			}
			heard.Add(1)
			var n uint64
			if err := reader.QueryRow("SELECT epoch FROM latchkey_epoch WHERE id = 1").Scan(&n); err != nil {
				listening <- err
				return
			}
			known.Store(n)
		}
	}()
	const each = callers * changes
	for round := range uint64(3) {
		var writing sync.WaitGroup
		for p, s := range stores {
			for c := range callers {
				writing.Go(func() {
					for i := range changes {
						err := s.Write(ctx, latchkey.Write{ID: uuid.New(), Owner: fmt.Sprint("acme ", p, c), At: world.Noon,
							Revocations: []latchkey.Revocation{{ID: fmt.Sprint(round, i), Until: world.Noon.Add(time.Hour)}}})
						if err != nil {
							t.Error(err)
						}
					}
				})
			}
		}
		writing.Wait()
		harness.Eventually(t, "the last change is told", func() bool { return known.Load() == (round+1)*processes*each })
	}
	stop()
	require.NoError(t, <-listening)
	require.Less(t, heard.Load(), int64(3*processes*each)/2)
	t.Logf("%d notifications of %d changes", heard.Load(), 3*processes*each)
}

// A program of the version before notifies in each of its transactions, whoever is about to notify.
func TestNotificationsOfTheVersionBefore(t *testing.T) {
	ctx := t.Context()
	dsn := onPostgres.Place(t)
	e := newEar(t, harness.Postgres, dsn)
	db := harness.Postgres.Open(t, dsn)
	s := harness.Postgres.Store(t, dsn)
	const before = `WITH e AS (UPDATE latchkey_epoch SET epoch = epoch + 1 WHERE id = 1
			RETURNING epoch, pg_notify('latchkey_epoch', ''))
		INSERT INTO latchkey_changes (epoch, seq, owner, kind, id, until, at) SELECT epoch, 0, 'acme', 1, 't', NULL, 0 FROM e`
	for range 5 {
		_, err := db.Exec(before)
		require.NoError(t, err)
	}
	require.Equal(t, 5, e.soFar())
	for i := range 5 { // this process and that one, by turns
		require.NoError(t, s.Write(ctx, latchkey.Write{ID: uuid.New(), Owner: "acme", At: world.Noon,
			Revocations: []latchkey.Revocation{{ID: fmt.Sprint(i), Until: world.Noon.Add(time.Hour)}}}))
		_, err := db.Exec(before)
		require.NoError(t, err)
	}
	require.NoError(t, s.Close())
	require.Greater(t, e.soFar(), 5)
	var epoch int
	require.NoError(t, db.QueryRow("SELECT epoch FROM latchkey_epoch").Scan(&epoch))
	require.Equal(t, 15, epoch)
}
