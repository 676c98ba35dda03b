//go:build cgo

package sqlite

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"github.com/mattn/go-sqlite3"
	"github.com/stretchr/testify/require"

	"github.com/latchkey-go/latchkey"
	"github.com/latchkey-go/latchkey/e2e/internal/harness"
	"github.com/latchkey-go/latchkey/e2e/internal/world"
	"github.com/latchkey-go/latchkey/sqlstore"
	"github.com/latchkey-go/latchkey/storetest"
)

// Sampled: see TestSQLiteConformance.
func TestMattnConformance(t *testing.T) {
	t.Run("file, WAL", func(t *testing.T) {
		storetest.Run(t, func(t *testing.T) latchkey.Store {
			return harness.Mattn.Store(t, harness.MattnWAL(harness.NewMigratedFile(t)))
		})
	})
	t.Run("file, nothing set", func(t *testing.T) {
		harness.RunCases(t, harness.Parts("mattn", 6)[0], func(t *testing.T) latchkey.Store {
			return harness.Mattn.Store(t, "file:"+harness.NewMigratedFile(t))
		})
	})
}

// The numbers of mattn's errors are read from its fields, as sqlstore never imports it.
func TestMattnBusy(t *testing.T) {
	ctx := context.Background()
	file := harness.NewFile(t)
	dsn := "file:" + file + "?_busy_timeout=0"
	s := harness.Mattn.Store(t, dsn)
	other, err := harness.Mattn.Open(t, dsn).Conn(ctx)
	require.NoError(t, err)
	_, err = other.ExecContext(ctx, "BEGIN IMMEDIATE")
	require.NoError(t, err)
	var code sqlite3.Error
	_, err = harness.Mattn.Open(t, dsn).Exec("BEGIN IMMEDIATE")
	require.ErrorAs(t, err, &code)
	require.Equal(t, sqlite3.ErrBusy, code.Code)
	done := make(chan error, 1)
	go func() {
		err := s.Write(ctx, world.Mint("acme", "t", 1))
		done <- err
	}()
	select {
	case err := <-done:
		t.Fatalf("it did not wait for the other process: %v", err)
	case <-time.After(100 * time.Millisecond): // some tries later
	}
	_, err = other.ExecContext(ctx, "ROLLBACK")
	require.NoError(t, err)
	require.NoError(t, <-done)
}

// Two stores on one file, as two processes have, with DSNs that set nothing helpful.
func TestMattnAnyDSN(t *testing.T) {
	for _, dsn := range []string{"%s", "file:%s?_busy_timeout=0", "file:%s?_journal_mode=WAL&_busy_timeout=0",
		"file:%s?_txlock=exclusive", "file:%s?_txlock=immediate&_journal_mode=WAL&_synchronous=OFF&_foreign_keys=1"} {
		ctx, cancel := context.WithTimeout(context.Background(), 5*time.Minute)
		dsn := fmt.Sprintf(dsn, harness.NewFile(t))
		stores := []*sqlstore.Store{harness.Mattn.Store(t, dsn), harness.Mattn.Store(t, dsn)}
		var wg sync.WaitGroup
		for g := range 6 {
			s, other := stores[g%2], stores[1-g%2]
			wg.Go(func() {
				for i := range 8 {
					n := g*100 + i
					id := fmt.Sprintf("%04d", n)
					err := s.Write(ctx, world.Mint("acme", id, n))
					require.NoError(t, err, dsn)
					revoked := world.Mint("acme", id, n).Tokens[0]
					revoked.Version, revoked.Revoked = 1, world.Noon
					err = s.Write(ctx, latchkey.Write{ID: world.WriteID(), Owner: "acme", Tokens: []latchkey.Token{revoked}})
					require.NoError(t, err, dsn)
					f, err := other.ByDigest(ctx, 0, world.Digest(n))
					require.NoError(t, err, dsn)
					require.Equal(t, world.Noon, f.Token.Revoked, "a write that returned is read by all")
				}
			})
		}
		wg.Wait()
		require.Empty(t, world.Walk(t, harness.Mattn.Open(t, dsn)), dsn)
		cancel()
	}
}

func TestMattnRefuses(t *testing.T) {
	ctx := context.Background()
	file := harness.NewFile(t)
	db := harness.Mattn.Open(t, harness.MattnWAL(file))
	_, err := sqlstore.New(ctx, db, latchkey.SQLite, nil)
	require.ErrorContains(t, err, "run sqlstore.Migrate")
	for _, d := range []latchkey.Dialect{latchkey.Postgres, latchkey.MySQL} {
		require.ErrorContains(t, sqlstore.Migrate(ctx, db, d), "this is no ")
	}
	require.NoError(t, sqlstore.Migrate(ctx, db, latchkey.SQLite))
	for _, dsn := range []string{"file:" + file + "?mode=ro", "file:" + file + "?_query_only=1"} {
		_, err = sqlstore.New(ctx, harness.Mattn.Open(t, dsn), latchkey.SQLite, nil)
		require.ErrorContains(t, err, "cannot be written", dsn)
	}
	private := harness.Mattn.Open(t, ":memory:")
	require.NoError(t, sqlstore.Migrate(ctx, private, latchkey.SQLite))
	_, err = sqlstore.New(ctx, private, latchkey.SQLite, nil)
	require.ErrorContains(t, err, "in-memory database of its own")
	noFile := filepath.Join(t.TempDir(), "no", "such", "folder", "a.db")
	_, err = sqlstore.New(ctx, harness.Mattn.Open(t, noFile), latchkey.SQLite, nil)
	require.ErrorContains(t, err, "cannot be opened")
	text := filepath.Join(t.TempDir(), "text.db")
	require.NoError(t, os.WriteFile(text, []byte("this is a text, and long enough to be taken for a page of a database"),
		0o600))
	require.Error(t, sqlstore.Migrate(ctx, harness.Mattn.Open(t, text), latchkey.SQLite))
	require.ErrorContains(t, sqlstore.CheckSchema(ctx, db, latchkey.SQLite, "nosuch", latchkey.NewSchema(nil)), "no table")
}
