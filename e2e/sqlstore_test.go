package e2e

import (
	"context"
	"crypto/sha256"
	"database/sql"
	"fmt"
	"path/filepath"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/stretchr/testify/require"
	_ "modernc.org/sqlite"

	"github.com/latchkey-go/latchkey"
	"github.com/latchkey-go/latchkey/sqlstore"
)

// wal is the DSN the documentation recommends.
func wal(file string) string {
	return "file:" + file + "?_pragma=journal_mode(WAL)&_pragma=busy_timeout(5000)"
}

func newFile(t testing.TB) string { return filepath.Join(t.TempDir(), "latchkey.db") }

func openDB(t testing.TB, dsn string) *sql.DB {
	t.Helper()
	db, err := sql.Open("sqlite", dsn)
	require.NoError(t, err)
	t.Cleanup(func() { db.Close() })
	return db
}

// openStore migrates and opens a store that is closed with the test.
func openStore(t testing.TB, db *sql.DB) *sqlstore.Store {
	t.Helper()
	return openStoreOf(t, db, latchkey.SQLite)
}

func openStoreOf(t testing.TB, db *sql.DB, d latchkey.Dialect) *sqlstore.Store {
	t.Helper()
	ctx := context.Background()
	require.NoError(t, sqlstore.Migrate(ctx, db, d))
	s, err := sqlstore.New(ctx, db, d, nil)
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, s.Close()) })
	return s
}

var noon = time.Date(2026, 11, 22, 12, 0, 0, 0, time.UTC)

func newID() string { return uuid.Must(uuid.NewV7()).String() }

func writeID() [16]byte { return uuid.Must(uuid.NewV7()) } // in order, as a Manager's are

// digest is all over the index, as those of secrets are.
func digest(n int) [32]byte { return sha256.Sum256(fmt.Append(nil, "digest ", n)) }

// mint is what Issue writes: a token with its secret.
func mint(owner, id string, n int) latchkey.Write {
	token := latchkey.Token{ID: id, Owner: owner, Kind: latchkey.KindAPIKey, Created: noon, Hint: "ak_12…xyz"}
	token.Name = "reporting"
	secret := latchkey.SecretRecord{Digest: digest(n), Hint: token.Hint, Created: noon}
	return latchkey.Write{ID: writeID(), Owner: owner, At: noon, Silent: true, Tokens: []latchkey.Token{token},
		Secrets: []latchkey.SecretChange{{TokenID: id, Add: &secret}}}
}

func TestSQLiteSmoke(t *testing.T) {
	ctx := context.Background()
	s := openStore(t, openDB(t, wal(newFile(t))))
	id := newID()
	_, err := s.Write(ctx, mint("acme", id, 1))
	require.NoError(t, err)
	f, err := s.ByDigest(ctx, digest(1))
	require.NoError(t, err)
	require.Equal(t, id, f.Token.ID)
	_, err = s.ByDigest(ctx, digest(2))
	require.ErrorIs(t, err, latchkey.ErrNotFound)
}
