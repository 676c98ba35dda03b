package e2e

import (
	"context"
	"database/sql"
	"fmt"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/latchkey-go/latchkey"
	"github.com/latchkey-go/latchkey/sqlstore"
)

// A token that is put twice by one Write is, in its secrets too, what the last one says.
func TestCopiesOfATokenPutTwice(t *testing.T) {
	ctx := context.Background()
	onAllEngines(t, func(t *testing.T, open func() (*sqlstore.Store, *sql.DB)) {
		s, db := open()
		w := mint("acme", "t1", 1)
		again := w.Tokens[0]
		again.Version, again.Disabled = 1, true
		w.Tokens = append(w.Tokens, again)
		_, err := s.Write(ctx, w)
		require.NoError(t, err)
		f, err := s.ByDigest(ctx, digest(1))
		require.NoError(t, err)
		require.Equal(t, []any{uint64(2), true}, []any{f.Token.Version, f.Token.Disabled})
		require.Empty(t, copies(t, db))
	})
}

// What is kept as JSON would come back changed if it were not text: it is refused.
func TestWriteRefusesWhatIsNotText(t *testing.T) {
	ctx := context.Background()
	onAllEngines(t, func(t *testing.T, open func() (*sqlstore.Store, *sql.DB)) {
		s, _ := open()
		named, bound := mint("acme", "t1", 1), mint("acme", "t2", 2)
		named.Tokens[0].Roles = []string{"r", "\xff"}
		bound.Tokens[0].Restrictions.Domains = []string{"\xff"}
		heir := latchkey.Write{ID: writeID(), Owner: "acme", Roles: []latchkey.Role{{ID: "r", Owner: "acme", Name: "r",
			Inherits: []string{"\xff"}}}}
		for _, w := range []latchkey.Write{named, bound, heir} {
			_, err := s.Write(ctx, w)
			require.ErrorIs(t, err, latchkey.ErrInvalid)
		}
	})
}

// held is a transaction that has taken a token, as AddUsage and Write do.
type held struct {
	*sql.Tx
	e   *sqlEngine
	pid int64
}

func hold(t testing.TB, e *sqlEngine, db *sql.DB) *held {
	t.Helper()
	tx, err := db.Begin()
	require.NoError(t, err)
	t.Cleanup(func() { _ = tx.Rollback() })
	h := &held{Tx: tx, e: e}
	if e == postgres { // it notices a deadlock first, and is the one that is undone
		h.exec(t, `SET LOCAL deadlock_timeout = '1ms'`)
		require.NoError(t, tx.QueryRow(`SELECT pg_backend_pid()`).Scan(&h.pid))
	}
	h.exec(t, `UPDATE latchkey_tokens SET used = 1 WHERE owner = 'acme' AND id = '`+childID+`'`)
	return h
}

func (h *held) exec(t testing.TB, text string) {
	t.Helper()
	_, err := h.Exec(text)
	require.NoError(t, err)
}

// waitedFor blocks until somebody waits for it.
func (h *held) waitedFor(t testing.TB, db *sql.DB) {
	t.Helper()
	text := fmt.Sprintf(`SELECT count(*) FROM pg_stat_activity WHERE %d = ANY (pg_blocking_pids(pid))`, h.pid)
	if h.e == mariadb {
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

// Whoever changes a token and its secrets takes the token first: two that met in opposite orders would wait for each other,
// and one of them would be undone.
func TestEnginesTokenBeforeItsSecrets(t *testing.T) {
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	onEngines(t, func(t *testing.T, e *sqlEngine) {
		for what, w := range map[string]latchkey.Write{
			"deletion": {DeleteTokens: []latchkey.Ref{{ID: parentID}}},
			"erasure":  {Erase: true},
		} {
			t.Run(what, func(t *testing.T) {
				dsn := e.place(t)
				s, db := e.store(t, dsn), e.open(t, dsn)
				buildWorld(t, s)
				w.ID, w.Owner = writeID(), "acme"
				usage := hold(t, e, db)
				done := make(chan error, 1)
				go func() {
					_, err := s.Write(ctx, w)
					done <- err
				}()
				usage.waitedFor(t, db)
				usage.exec(t, `UPDATE latchkey_secrets SET head = head WHERE owner = 'acme' AND token_id = '`+childID+`'`)
				require.NoError(t, usage.Commit())
				require.NoError(t, <-done)
				_, err := s.ByDigest(ctx, digest(2))
				require.ErrorIs(t, err, latchkey.ErrNotFound)
			})
		}
	})
}

// What a secret holds of its token is read when nobody else can change it: a use that is just being written is in it.
func TestEnginesSecretsWaitForTheirToken(t *testing.T) {
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	add := &latchkey.SecretRecord{Digest: digest(3), Created: noon}
	onEngines(t, func(t *testing.T, e *sqlEngine) {
		for what, c := range map[string]latchkey.SecretChange{
			"added":    {Add: add},
			"retired":  {Retire: digest(2), At: noon.Add(time.Hour)},
			"replaced": {Retire: digest(2), Add: add, Replace: true},
		} {
			t.Run(what, func(t *testing.T) {
				dsn := e.place(t)
				s, db := e.store(t, dsn), e.open(t, dsn)
				buildWorld(t, s)
				usage := hold(t, e, db)
				done := make(chan error, 1)
				c.TokenID = childID
				go func() {
					_, err := s.Write(ctx, latchkey.Write{ID: writeID(), Owner: "acme", At: noon, Secrets: []latchkey.SecretChange{c}})
					done <- err
				}()
				usage.waitedFor(t, db)
				at := `x'8000000000000001'`
				if e == postgres {
					at = `'\x8000000000000001'::bytea`
				}
				join := map[*sqlEngine]string{
					postgres: at + ` || substr(found, 9)`, mariadb: `CONCAT(` + at + `, substr(found, 9))`,
				}[e]
				usage.exec(t, `UPDATE latchkey_secrets SET found = `+join+` WHERE owner = 'acme' AND token_id = '`+childID+`'`)
				require.NoError(t, usage.Commit())
				require.NoError(t, <-done)
				require.Empty(t, copies(t, db))
				f, err := s.ByDigest(ctx, digest(2), digest(3))
				require.NoError(t, err)
				require.Equal(t, time.UnixMicro(1).UTC(), f.Token.Used)
			})
		}
	})
}
