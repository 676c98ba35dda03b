package engines

import (
	"context"
	"database/sql"
	"fmt"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/latchkey-go/latchkey"
	"github.com/latchkey-go/latchkey/e2e/internal/harness"
	"github.com/latchkey-go/latchkey/e2e/internal/world"
	"github.com/latchkey-go/latchkey/sqlstore"
)

// A token that one Write puts twice is what the last one says, in its secrets too.
func TestCopiesOfATokenPutTwice(t *testing.T) {
	ctx := context.Background()
	onAllEngines(t, func(t *testing.T, open func() (*sqlstore.Store, *sql.DB)) {
		s, db := open()
		w := world.Mint("acme", "t1", 1)
		again := w.Tokens[0]
		again.Version, again.Disabled = 1, true
		w.Tokens = append(w.Tokens, again)
		err := s.Write(ctx, w)
		require.NoError(t, err)
		f, err := s.ByDigest(ctx, 0, world.Digest(1))
		require.NoError(t, err)
		require.Equal(t, []any{uint64(2), true}, []any{f.Token.Version, f.Token.Disabled})
		require.Empty(t, world.Copies(t, db))
	})
}

// What is kept as JSON is refused if it is not text, as it would come back changed.
func TestWriteRefusesWhatIsNotText(t *testing.T) {
	ctx := context.Background()
	onAllEngines(t, func(t *testing.T, open func() (*sqlstore.Store, *sql.DB)) {
		s, _ := open()
		named, bound := world.Mint("acme", "t1", 1), world.Mint("acme", "t2", 2)
		named.Tokens[0].Roles = []string{"r", "\xff"}
		bound.Tokens[0].Restrictions.Domains = []string{"\xff"}
		heir := latchkey.Write{ID: world.WriteID(), Owner: "acme", Roles: []latchkey.Role{{ID: "r", Owner: "acme", Name: "r",
			Inherits: []string{"\xff"}}}}
		for _, w := range []latchkey.Write{named, bound, heir} {
			err := s.Write(ctx, w)
			require.ErrorIs(t, err, latchkey.ErrInvalid)
		}
	})
}

// held is a transaction that has taken a token, as AddUsage and Write do.
type held struct {
	*sql.Tx
	e   *harness.Engine
	pid int64
}

func hold(t testing.TB, e *harness.Engine, db *sql.DB) *held {
	t.Helper()
	tx, err := db.Begin()
	require.NoError(t, err)
	t.Cleanup(func() { _ = tx.Rollback() })
	h := &held{Tx: tx, e: e}
	if e == harness.Postgres { // it notices a deadlock first, and is the one that is undone
		h.exec(t, `SET LOCAL deadlock_timeout = '1ms'`)
		require.NoError(t, tx.QueryRow(`SELECT pg_backend_pid()`).Scan(&h.pid))
	}
	h.exec(t, `UPDATE latchkey_tokens SET used = 1 WHERE owner = 'acme' AND id = '`+world.ChildID+`'`)
	return h
}

func (h *held) exec(t testing.TB, text string) {
	t.Helper()
	_, err := h.Exec(text)
	require.NoError(t, err)
}

// waitedFor waits until another transaction waits for this one.
func (h *held) waitedFor(t testing.TB, db *sql.DB) {
	t.Helper()
	text := fmt.Sprintf(`SELECT count(*) FROM pg_stat_activity WHERE %d = ANY (pg_blocking_pids(pid))`, h.pid)
	if h.e == harness.MariaDB {
		text = `SELECT count(*) FROM information_schema.innodb_trx t JOIN information_schema.processlist p
			ON p.id = t.trx_mysql_thread_id WHERE t.trx_state = 'LOCK WAIT' AND p.db = DATABASE()`
	}
	// Asked more often, InnoDB says again what it said.
	for deadline := time.Now().Add(20 * time.Second); ; time.Sleep(150 * time.Millisecond) {
		var n int
		require.NoError(t, db.QueryRow(text).Scan(&n))
		if n > 0 {
			return
		}
		require.True(t, time.Now().Before(deadline), "nobody waits")
	}
}

// Every write locks a token before its secrets. Two writes in opposite orders would wait for each other, and one of
// them would be undone.
func TestEnginesTokenBeforeItsSecrets(t *testing.T) {
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	harness.OnEngines(t, func(t *testing.T, e *harness.Engine) {
		for what, w := range map[string]latchkey.Write{
			"deletion": {DeleteTokens: []latchkey.Ref{{ID: world.ParentID}}},
			"erasure":  {Erase: true},
		} {
			t.Run(what, func(t *testing.T) {
				dsn := e.Place(t)
				s, db := e.Store(t, dsn), e.Open(t, dsn)
				world.Build(t, s)
				w.ID, w.Owner = world.WriteID(), "acme"
				usage := hold(t, e, db)
				done := make(chan error, 1)
				go func() {
					err := s.Write(ctx, w)
					done <- err
				}()
				usage.waitedFor(t, db)
				usage.exec(t, `UPDATE latchkey_secrets SET head = head WHERE owner = 'acme' AND token_id = '`+world.ChildID+`'`)
				require.NoError(t, usage.Commit())
				require.NoError(t, <-done)
				_, err := s.ByDigest(ctx, 0, world.Digest(2))
				require.ErrorIs(t, err, latchkey.ErrNotFound)
			})
		}
	})
}

// What a secret holds of its token is read under the token's lock, so a use that is being written is in it.
func TestEnginesSecretsWaitForTheirToken(t *testing.T) {
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	add := &latchkey.SecretRecord{Digest: world.Digest(3), Created: world.Noon}
	harness.OnEngines(t, func(t *testing.T, e *harness.Engine) {
		for what, c := range map[string]latchkey.SecretChange{
			"added":    {Add: add},
			"retired":  {Retire: world.Digest(2), At: world.Noon.Add(time.Hour)},
			"replaced": {Retire: world.Digest(2), Add: add, Replace: true},
		} {
			t.Run(what, func(t *testing.T) {
				dsn := e.Place(t)
				s, db := e.Store(t, dsn), e.Open(t, dsn)
				world.Build(t, s)
				usage := hold(t, e, db)
				done := make(chan error, 1)
				c.TokenID = world.ChildID
				go func() {
					err := s.Write(ctx,
						latchkey.Write{ID: world.WriteID(), Owner: "acme", At: world.Noon, Secrets: []latchkey.SecretChange{c}})
					done <- err
				}()
				usage.waitedFor(t, db)
				at := `x'8000000000000001'`
				if e == harness.Postgres {
					at = `'\x8000000000000001'::bytea`
				}
				join := map[*harness.Engine]string{
					harness.Postgres: at + ` || substr(found, 9)`, harness.MariaDB: `CONCAT(` + at + `, substr(found, 9))`,
				}[e]
				usage.exec(t, `UPDATE latchkey_secrets SET found = `+join+`
						WHERE owner = 'acme' AND token_id = '`+world.ChildID+`'`)
				require.NoError(t, usage.Commit())
				require.NoError(t, <-done)
				require.Empty(t, world.Copies(t, db))
				f, err := s.ByDigest(ctx, 0, world.Digest(2), world.Digest(3))
				require.NoError(t, err)
				require.Equal(t, time.UnixMicro(1).UTC(), f.Token.Used)
			})
		}
	})
}
