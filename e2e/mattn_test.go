//go:build cgo

package e2e

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
	"github.com/latchkey-go/latchkey/sqlstore"
	"github.com/latchkey-go/latchkey/storetest"
)

// mattn is SQLite in C, for programs that are built with cgo.
var mattn = &sqlEngine{name: "SQLite, mattn", dialect: latchkey.SQLite, driver: "sqlite3"}

func init() {
	subjects = append(subjects, subject{mattn, func(t testing.TB) string { return mattnWAL(newFile(t)) }})
}

func init() { rowEngines = append(rowEngines, sqliteRows("sqlite, mattn", "sqlite3")) }

func init() {
	deadlocks[mattn] = sqlite3.Error{Code: sqlite3.ErrBusy, ExtendedCode: sqlite3.ErrBusySnapshot}
}

// mattnWAL is the DSN the documentation recommends.
func mattnWAL(file string) string { return "file:" + file + "?_journal_mode=WAL&_busy_timeout=5000" }

func TestMattnConformance(t *testing.T) {
	t.Run("file, WAL", func(t *testing.T) {
		storetest.Run(t, func(t *testing.T) latchkey.Store { return mattn.store(t, mattnWAL(newFile(t))) })
	})
	t.Run("file, nothing set", func(t *testing.T) {
		storetest.Run(t, func(t *testing.T) latchkey.Store { return mattn.store(t, "file:"+newFile(t)) })
	})
}

// The numbers of mattn's errors are read from its fields, for it is never imported by the package.
func TestMattnBusy(t *testing.T) {
	ctx := context.Background()
	file := newFile(t)
	dsn := "file:" + file + "?_busy_timeout=0"
	s := mattn.store(t, dsn)
	other, err := mattn.open(t, dsn).Conn(ctx)
	require.NoError(t, err)
	_, err = other.ExecContext(ctx, "BEGIN IMMEDIATE")
	require.NoError(t, err)
	var code sqlite3.Error
	_, err = mattn.open(t, dsn).Exec("BEGIN IMMEDIATE")
	require.ErrorAs(t, err, &code)
	require.Equal(t, sqlite3.ErrBusy, code.Code)
	done := make(chan error, 1)
	go func() {
		_, err := s.Write(ctx, mint("acme", "t", 1))
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

func TestMattnEveryStatementFails(t *testing.T) {
	w := newFaultyWorld(t, subject{sqlEngine: mattn, fresh: func(t testing.TB) string { return mattnWAL(newFile(t)) }})
	injected := 0
	for _, op := range operations() {
		injected += everyStatementFails(t, mattn, w.dsn, w.plain, op, w.reset)
	}
	t.Logf("%d faults", injected)
	require.Greater(t, injected, 150)
}

// Two stores on one file, as two processes are, with DSNs that help in nothing.
func TestMattnAnyDSN(t *testing.T) {
	for _, dsn := range []string{"%s", "file:%s?_busy_timeout=0", "file:%s?_journal_mode=WAL&_busy_timeout=0",
		"file:%s?_txlock=exclusive", "file:%s?_txlock=immediate&_journal_mode=WAL&_synchronous=OFF&_foreign_keys=1"} {
		ctx, cancel := context.WithTimeout(context.Background(), 5*time.Minute)
		dsn := fmt.Sprintf(dsn, newFile(t))
		stores := []*sqlstore.Store{mattn.store(t, dsn), mattn.store(t, dsn)}
		var wg sync.WaitGroup
		for g := range 6 {
			s, other := stores[g%2], stores[1-g%2]
			wg.Go(func() {
				for i := range 8 {
					n := g*100 + i
					id := fmt.Sprintf("%04d", n)
					_, err := s.Write(ctx, mint("acme", id, n))
					require.NoError(t, err, dsn)
					revoked := mint("acme", id, n).Tokens[0]
					revoked.Version, revoked.Revoked = 1, noon
					_, err = s.Write(ctx, latchkey.Write{ID: writeID(), Owner: "acme", Tokens: []latchkey.Token{revoked}})
					require.NoError(t, err, dsn)
					f, err := other.ByDigest(ctx, digest(n))
					require.NoError(t, err, dsn)
					require.Equal(t, noon, f.Token.Revoked, "a write that returned is read by all")
				}
			})
		}
		wg.Wait()
		require.Empty(t, walk(t, mattn.open(t, dsn)), dsn)
		cancel()
	}
}

func TestMattnRefuses(t *testing.T) {
	ctx := context.Background()
	file := newFile(t)
	db := mattn.open(t, mattnWAL(file))
	_, err := sqlstore.New(ctx, db, latchkey.SQLite, nil)
	require.ErrorContains(t, err, "run sqlstore.Migrate")
	for _, d := range []latchkey.Dialect{latchkey.Postgres, latchkey.MySQL} {
		require.ErrorContains(t, sqlstore.Migrate(ctx, db, d), "this is no ")
	}
	require.NoError(t, sqlstore.Migrate(ctx, db, latchkey.SQLite))
	for _, dsn := range []string{"file:" + file + "?mode=ro", "file:" + file + "?_query_only=1"} {
		_, err = sqlstore.New(ctx, mattn.open(t, dsn), latchkey.SQLite, nil)
		require.ErrorContains(t, err, "cannot be written", dsn)
	}
	private := mattn.open(t, ":memory:")
	require.NoError(t, sqlstore.Migrate(ctx, private, latchkey.SQLite))
	_, err = sqlstore.New(ctx, private, latchkey.SQLite, nil)
	require.ErrorContains(t, err, "in-memory database of its own")
	noFile := filepath.Join(t.TempDir(), "no", "such", "folder", "a.db")
	_, err = sqlstore.New(ctx, mattn.open(t, noFile), latchkey.SQLite, nil)
	require.ErrorContains(t, err, "cannot be opened")
	text := filepath.Join(t.TempDir(), "text.db")
	require.NoError(t, os.WriteFile(text, []byte("this is a text, and long enough to be taken for a page of a database"), 0o600))
	require.Error(t, sqlstore.Migrate(ctx, mattn.open(t, text), latchkey.SQLite))
	require.ErrorContains(t, sqlstore.CheckSchema(ctx, db, latchkey.SQLite, "nosuch", latchkey.NewSchema(nil)), "no table")
}

func TestTimesOfMattn(t *testing.T) {
	checkTimes(t, mattn, sqliteTimes(t, "?_busy_timeout=5000", map[string]bool{
		"": true, "&_loc=UTC": true, "&_loc=auto": true, "&_loc=Asia%2FKolkata": true, "&_case_sensitive_like=1": true,
		"&_txlock=exclusive": true,
	}))
}
