package outages

import (
	"context"
	crand "crypto/rand"
	"database/sql"
	"encoding/hex"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"github.com/latchkey-go/latchkey"
	"github.com/latchkey-go/latchkey/e2e/internal/harness"
	"github.com/latchkey-go/latchkey/e2e/internal/world"
)

// A disk that is full refuses writes: as unavailable, none of them half done. Reads go on, and with room again
// everything does. A small file system is mounted for it where that is allowed; whoever may not mount anything has
// the tests in which an engine or the kernel ends the growth of a file.

// smallDisk mounts a file system of so many bytes, which only the server's user may read. ok is false where none may
// be mounted.
func smallDisk(t *testing.T, size int) (folder string, ok bool) {
	t.Helper()
	folder, err := os.MkdirTemp("", "lk-full-")
	require.NoError(t, err)
	t.Cleanup(func() { os.RemoveAll(folder) })
	require.NoError(t, os.Chmod(folder, 0o755))
	owner := os.Geteuid()
	if owner == 0 {
		owner = harness.Nobody
	}
	err = syscall.Mount("latchkey", folder, "tmpfs", 0, fmt.Sprintf("size=%d,mode=0700,uid=%d", size, owner))
	if errors.Is(err, syscall.EPERM) || errors.Is(err, syscall.EACCES) {
		t.Logf("no file system may be mounted here (%v)", err)
		return folder, false
	}
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, syscall.Unmount(folder, syscall.MNT_DETACH)) })
	return folder, true
}

// ballast takes all the room that is left. remove makes room again.
func ballast(t *testing.T, folder string) (remove func()) {
	file, err := os.Create(filepath.Join(folder, "ballast"))
	require.NoError(t, err)
	for chunk := make([]byte, 4096); ; {
		if _, err = file.Write(chunk); err != nil {
			break
		}
	}
	require.ErrorIs(t, err, syscall.ENOSPC)
	require.NoError(t, file.Close())
	return func() { require.NoError(t, os.Remove(file.Name())) }
}

// diskFull is the test. The writers are on db; fill and room take and give the room on its disk.
func diskFull(t *testing.T, e *harness.Engine, dsn string, db *sql.DB, fill, room func()) {
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Minute)
	defer cancel()
	store := harness.OpenStore(t, db, e.Dialect)
	keys := latchkey.New(e.Store(t, dsn), nil)
	acme := keys.For("readers")
	token, secret, err := acme.Issue(ctx, latchkey.Spec{Kind: latchkey.KindSecret})
	require.NoError(t, err)
	reads := func() {
		for range 3 {
			_, err := keys.Verify(ctx, latchkey.Presented{Secret: secret.Reveal()})
			require.NoError(t, err, "reads go on")
			_, err = acme.Get(ctx, token.ID)
			require.NoError(t, err)
			_, err = acme.Get(ctx, "nobody")
			require.ErrorIs(t, err, latchkey.ErrNotFound)
			_, err = store.ByDigest(ctx, 0, world.Digest(-1))
			require.ErrorIs(t, err, latchkey.ErrNotFound)
			_, err = store.Tokens(ctx, "owner 0", latchkey.TokenQuery{})
			require.NoError(t, err)
			_, _, err = store.Events(ctx, "owner 1", latchkey.EventQuery{})
			require.NoError(t, err)
		}
	}
	c := newCrew(ctx, t, store, 6)
	c.progress(100)
	fill()
	c.refused(20)
	reads()
	require.Empty(t, world.Walk(t, db))
	w := large("large", 1)
	err = store.Write(ctx, w)
	if !errors.Is(err, latchkey.ErrUnknownOutcome) { // the commit may be what finds no room
		require.ErrorIs(t, err, latchkey.ErrUnavailable)
		_, err = store.Load(ctx, "acme", "large")
	}
	if e.Dialect == latchkey.MySQL && errors.Is(err, latchkey.ErrUnavailable) {
		// To undo the half of a large row MariaDB needs room, and if there is none at all it ends itself ("Out of disk
		// space in rollback"). Then it is as if it had been killed.
		select {
		case <-e.Ended:
		case <-ctx.Done():
			require.NoError(t, ctx.Err(), "the server is there, and cannot be reached")
		}
		room()
		e.Restart(t)
	} else {
		if !errors.Is(err, latchkey.ErrUnknownOutcome) {
			require.ErrorIs(t, err, latchkey.ErrNotFound, "what was refused is not there")
		}
		reads()
		room()
	}
	c.progress(100)
	err = store.Write(ctx, w)
	require.NoError(t, err)
	reads()
	c.finish(db)
	require.NoError(t, keys.Close(ctx))
}

// large is a token that needs a megabyte, which no engine can compress.
func large(id string, n int) latchkey.Write {
	half := make([]byte, 1<<19-1)
	_, _ = crand.Read(half)
	w := world.Mint("acme", id, n)
	w.Tokens[0].Extra = []byte(`"` + hex.EncodeToString(half) + `"`)
	return w
}

func TestSQLiteDiskFull(t *testing.T) {
	for _, s := range harness.Subjects {
		if s.Dialect != latchkey.SQLite {
			continue
		}
		t.Run(s.Name, func(t *testing.T) {
			t.Run("no more pages", func(t *testing.T) {
				dsn := s.Fresh(t)
				db := s.Open(t, dsn)
				db.SetMaxOpenConns(1) // the limit is a connection's
				limit := func(text string) {
					_, err := db.Exec(text)
					require.NoError(t, err)
				}
				diskFull(t, s.Engine, dsn, db, func() { limit("PRAGMA max_page_count = 1") }, // what there is counts as less
					func() { limit("PRAGMA max_page_count = 1000000") })
			})
			t.Run("a small disk", func(t *testing.T) {
				folder, ok := smallDisk(t, 32<<20) // a log that has grown does not shrink: it must fit beside the tables
				if !ok {
					return
				}
				file := filepath.Join(folder, "latchkey.db")
				dsn := map[*harness.Engine]string{harness.Modernc: harness.WAL(file)}[s.Engine]
				if dsn == "" {
					dsn = "file:" + file // with a journal that is rolled back
				}
				var remove func()
				diskFull(t, s.Engine, dsn, s.Open(t, dsn), func() { remove = ballast(t, folder) }, func() { remove() })
			})
			t.Run("a limited file", func(t *testing.T) {
				child := exec.Command(os.Args[0], "-test.run=^TestLimitedProcess$")
				child.Env = append(os.Environ(), "LATCHKEY_E2E_LOAD="+s.Fresh(t), "LATCHKEY_E2E_LIMITED="+s.Name)
				out, err := child.CombinedOutput()
				require.NoError(t, err, string(out))
				require.Contains(t, string(out), "the limit was reached")
			})
		})
	}
}

// TestLimitedProcess is no test but the process of one: its files may not grow any more.
func TestLimitedProcess(t *testing.T) {
	for _, s := range harness.Subjects {
		if s.Name != os.Getenv("LATCHKEY_E2E_LIMITED") {
			continue
		}
		dsn := os.Getenv("LATCHKEY_E2E_LOAD")
		signal.Ignore(syscall.SIGXFSZ)
		var was unix.Rlimit
		require.NoError(t, unix.Getrlimit(unix.RLIMIT_FSIZE, &was))
		diskFull(t, s.Engine, dsn, s.Open(t, dsn), func() {
			limit := unix.Rlimit{Cur: 200 << 10, Max: was.Max}
			require.NoError(t, unix.Setrlimit(unix.RLIMIT_FSIZE, &limit))
		}, func() {
			require.NoError(t, unix.Setrlimit(unix.RLIMIT_FSIZE, &was))
			fmt.Println("the limit was reached")
		})
	}
}

func TestEnginesDiskFull(t *testing.T) {
	harness.OnEngines(t, func(t *testing.T, e *harness.Engine) {
		own := e.Own(t)
		t.Run("a small disk", func(t *testing.T) {
			folder, ok := smallDisk(t, 24<<20)
			if !ok {
				return
			}
			dsn := placeOn(t, own, folder)
			var remove func()
			diskFull(t, own, dsn, own.Open(t, dsn), func() { remove = ballast(t, folder) }, func() { remove() })
		})
		t.Run("a limited file", func(t *testing.T) { limitedFile(t, own) })
	})
}

// placeOn is a place whose tables lie on another disk than the log.
func placeOn(t *testing.T, e *harness.Engine, folder string) (dsn string) {
	t.Helper()
	if e.Dialect == latchkey.Postgres {
		name := filepath.Base(folder)
		exec := func(text string) {
			_, err := e.Admin.Exec(text)
			require.NoError(t, err, text)
		}
		exec(fmt.Sprintf(`CREATE TABLESPACE "%s" LOCATION '%s'`, name, folder))
		dsn = e.Place(t)
		t.Cleanup(func() {
			schema := world.Column(t, e.Admin, `SELECT DISTINCT schemaname FROM pg_tables WHERE tablespace = '`+name+`'`)
			exec("DROP SCHEMA " + schema[0] + " CASCADE")
			exec(`DROP TABLESPACE "` + name + `"`)
		})
		dsn, err := harness.PostgresSetting(dsn, "default_tablespace", name)
		require.NoError(t, err)
		return dsn
	}
	dsn = e.Place(t)
	db := e.Open(t, dsn)
	database := world.Column(t, db, "SELECT DATABASE()")[0]
	from, to := filepath.Join(e.Folder, "data", database), filepath.Join(folder, database)
	require.NoError(t, e.Command("cp", "-r", from, to).Run())
	require.NoError(t, os.RemoveAll(from))
	require.NoError(t, os.Symlink(to, from))
	t.Cleanup(func() {
		_, err := e.Admin.Exec("DROP DATABASE " + database)
		require.NoError(t, err)
	})
	return dsn
}

// limitedFile needs no rights: files of the server's may not grow beyond a size. What is small still finds room in
// others.
func limitedFile(t *testing.T, e *harness.Engine) {
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Minute)
	defer cancel()
	process := e.Process
	e.Kill9(t)
	if e.Dialect == latchkey.MySQL {
		// The engine's own limit, on the file that all tables share when they have none of their own.
		shared, err := os.Stat(filepath.Join(e.Folder, "data", "ibdata1"))
		require.NoError(t, err)
		e.Restart(t, "--innodb-file-per-table=0",
			fmt.Sprintf("--innodb-data-file-path=ibdata1:12M:autoextend:max:%dM", shared.Size()>>20+16))
	} else {
		// The kernel's, in blocks of 512 bytes: 17 MB, for a segment of the log has 16.
		limited := append([]string{"/bin/sh", "-c", `ulimit -S -f 34816 && exec "$0" "$@"`}, process.Args...)
		e.Process = &exec.Cmd{Path: limited[0], Args: limited}
		e.Restart(t)
	}
	room := func() {
		e.Kill9(t)
		e.Process = process
		e.Restart(t)
	}
	dsn := e.Place(t)
	db := e.Open(t, dsn)
	s := harness.OpenStore(t, db, e.Dialect)
	world.Build(t, s)
	var refused latchkey.Write
	for n := 100; ; n++ {
		require.Less(t, n, 300, "it was never full")
		w := large(fmt.Sprint("large ", n), n)
		err := s.Write(ctx, w)
		if err != nil {
			require.ErrorIs(t, err, latchkey.ErrUnavailable)
			refused = w
			break
		}
	}
	for range 3 { // and again
		err := s.Write(ctx, refused)
		require.ErrorIs(t, err, latchkey.ErrUnavailable)
	}
	// Nothing is there of what was refused, and all of what was not.
	reads := func() error {
		if _, err := s.Load(ctx, "acme", refused.Tokens[0].ID); !errors.Is(err, latchkey.ErrNotFound) {
			return fmt.Errorf("what was refused: %w", err)
		}
		f, err := s.Load(ctx, "acme", "large 100")
		if err != nil || len(f.Token.Extra) != 1<<20 {
			return fmt.Errorf("what was not: %d bytes, %w", len(f.Token.Extra), err)
		}
		if f, err = s.ByDigest(ctx, 0, world.Digest(2)); err != nil || f.Token.ID != world.ChildID {
			return fmt.Errorf("token %q, %w", f.Token.ID, err)
		}
		return nil
	}
	err := reads()
	if e.Dialect == latchkey.MySQL && errors.Is(err, latchkey.ErrUnavailable) {
		// As in diskFull: MariaDB may end itself when a rollback finds no room.
		select {
		case <-e.Ended:
		case <-ctx.Done():
			require.NoError(t, ctx.Err(), "the server is there, and cannot be reached")
		}
	} else {
		require.NoError(t, err)
	}
	room()
	require.Eventually(t, func() bool { // connections of the pool are to the process that was killed
		err = reads()
		return err == nil
	}, 3*time.Minute, 20*time.Millisecond, "it does not come back: %v", err)
	require.Empty(t, world.Walk(t, db))
	require.Eventually(t, func() bool {
		err = s.Write(ctx, refused)
		return err == nil
	}, 3*time.Minute, 20*time.Millisecond, "it does not go on: %v", err)
	f, err := s.Load(ctx, "acme", refused.Tokens[0].ID)
	require.NoError(t, err)
	require.Equal(t, refused.Tokens[0].Extra, f.Token.Extra)
	require.Empty(t, world.Walk(t, db))
}
