package outages

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/latchkey-go/latchkey"
	"github.com/latchkey-go/latchkey/e2e/internal/harness"
	"github.com/latchkey-go/latchkey/e2e/internal/world"
	"github.com/latchkey-go/latchkey/sqlstore"
)

// TestWriterProcess is no test: it is the process that TestSQLiteWriterIsKilled kills.
func TestWriterProcess(t *testing.T) {
	dsn := os.Getenv("LATCHKEY_E2E_LOAD")
	if dsn == "" {
		return
	}
	ctx := context.Background()
	for _, s := range harness.Subjects {
		if s.Name != os.Getenv("LATCHKEY_E2E_DRIVER") {
			continue
		}
		store := s.Store(t, dsn)
		pipe := os.NewFile(3, "acknowledged")
		var all sync.WaitGroup
		for i := range killedWorkers {
			w := newWorker(i)
			require.NoError(t, w.begin(ctx, store))
			all.Go(func() {
				for n := 0; ; n++ {
					require.NoError(t, w.step(ctx, store, n))
					_, err := fmt.Fprintf(pipe, "%d %d\n", i, n) // one write: lines do not mix
					require.NoError(t, err)
				}
			})
		}
		all.Wait()
	}
}

const killedWorkers = 6

// A process that makes all kinds of writes is killed at random moments. What it acknowledged is there. What was under
// way is there or not, never half, and the same call again settles which.
func TestSQLiteWriterIsKilled(t *testing.T) {
	for _, s := range harness.Subjects {
		if s.Dialect != latchkey.SQLite {
			continue
		}
		t.Run(s.Name, func(t *testing.T) {
			kills, acknowledged := harness.Rounds(2, 300), 0
			for kill := range kills {
				// Each lets go of its files.
				t.Run(fmt.Sprint(kill), func(t *testing.T) { acknowledged += writerIsKilled(t, s) })
			}
			t.Logf("%d kills of a process on %s, %d acknowledged writes: all are there, and none is half", kills, s.Name,
				acknowledged)
		})
	}
}

// writerIsKilled returns how many writes the process acknowledged.
func writerIsKilled(t *testing.T, s harness.Subject) int {
	dsn := s.Fresh(t)
	read, write, err := os.Pipe()
	require.NoError(t, err)
	defer read.Close()
	child := exec.Command(os.Args[0], "-test.run=^TestWriterProcess$")
	child.Env = append(os.Environ(), "LATCHKEY_E2E_LOAD="+dsn, "LATCHKEY_E2E_DRIVER="+s.Name)
	child.ExtraFiles = []*os.File{write}
	var said harness.LockedBuffer
	child.Stdout, child.Stderr = &said, &said
	require.NoError(t, child.Start())
	write.Close()
	a := acked{done: map[int]int{}}
	for after, chunk := 150+rand.N(400), make([]byte, 4096); ; {
		n, err := read.Read(chunk)
		a.read(chunk[:n])
		if err != nil {
			break // the end: the process is dead
		}
		if a.all >= after {
			_ = child.Process.Kill()
		}
	}
	_ = child.Wait()
	require.GreaterOrEqual(t, a.all, 150, said.String())

	db := s.Open(t, dsn)
	require.Empty(t, world.Walk(t, db))
	require.Equal(t, []string{"ok"}, world.Column(t, db, "PRAGMA integrity_check"))
	store, err := sqlstore.New(context.Background(), db, s.Dialect, nil)
	require.NoError(t, err)
	defer store.Close()
	var workers []worker
	var done []int
	for i := range killedWorkers {
		w, n := newWorker(i), a.done[i]
		err := w.step(context.Background(), store, n)
		if n%cycle == once && errors.Is(err, latchkey.ErrExists) {
			err = nil
		}
		require.NoError(t, err, "what was under way, again: worker %d, step %d", i, n)
		w.check(t, store, n+1)
		workers, done = append(workers, w), append(done, n+1)
	}
	checkRows(t, db, workers, done)
	require.Empty(t, world.Walk(t, db))
	return a.all
}

// The server is killed under load and started again. Meanwhile calls are unavailable, or have an unknown outcome.
// What was acknowledged is there, the same call again settles what is unknown, and all callers go on by themselves.
func TestEnginesServerIsKilled(t *testing.T) {
	harness.OnEngines(t, func(t *testing.T, e *harness.Engine) {
		own := e.Own(t)
		dsn := own.Place(t)
		limit := time.Duration(harness.Rounds(10, 600)) * time.Minute
		ctx, cancel := context.WithTimeout(context.Background(), limit)
		defer cancel()
		db := own.Open(t, dsn)
		c := newCrew(ctx, t, harness.OpenStore(t, db, own.Dialect), 8)
		w := newWatch(t, own, dsn)
		c.all.Go(func() { w.run(ctx, &c.stop) })
		kills := harness.Rounds(2, 300)
		for range kills {
			c.progress(100 + rand.N[int64](200))
			own.Kill9(t)
			c.refused(1)
			w.away(ctx)
			own.Restart(t)
			w.back(ctx)
		}
		c.progress(100)
		c.finish(db)
		w.check(ctx)
		t.Logf("%d kills of a server of %s, %d acknowledged writes: all are there, and none is half", kills, e.Name,
			c.steps.Load())
	})
}

// watch is two Managers on pools of their own: one with MaxStale 0, and one that may be stale.
type watch struct {
	t          *testing.T
	managers   [2]*latchkey.Manager
	live, dead latchkey.Secret
	counted    atomic.Int64
}

const watched = "watched"

func newWatch(t *testing.T, e *harness.Engine, dsn string) *watch {
	w := &watch{t: t}
	for i, stale := range []time.Duration{0, 100 * time.Millisecond} {
		w.managers[i] = latchkey.New(e.Store(t, dsn), &latchkey.Options{MaxStale: stale})
	}
	ctx := context.Background()
	acme := w.managers[0].For(watched)
	var token latchkey.Token
	var err error
	_, w.live, err = acme.Issue(ctx, latchkey.Spec{Kind: latchkey.KindSecret})
	require.NoError(t, err)
	token, w.dead, err = acme.Issue(ctx, latchkey.Spec{Kind: latchkey.KindSecret})
	require.NoError(t, err)
	require.NoError(t, acme.Revoke(ctx, token.ID, "lost"))
	return w
}

// run verifies until it is stopped. A dead token must never be accepted, and a live one never be called unknown.
func (w *watch) run(ctx context.Context, stop *atomic.Bool) {
	for !stop.Load() {
		for _, m := range w.managers {
			_ = w.look(ctx, m)
		}
	}
}

// look returns the error of the live token.
func (w *watch) look(ctx context.Context, m *latchkey.Manager) error {
	if _, err := m.Verify(ctx, latchkey.Presented{Secret: w.dead.Reveal()}); !errors.Is(err, latchkey.ErrRevoked) &&
		!errors.Is(err, latchkey.ErrUnavailable) {
		w.t.Errorf("a dead token: %v", err)
	}
	access, err := m.Verify(ctx, latchkey.Presented{Secret: w.live.Reveal()})
	if err == nil {
		access.Count("looks", "", 1)
		w.counted.Add(1)
	} else if !errors.Is(err, latchkey.ErrUnavailable) || errors.Is(err, latchkey.ErrInvalidToken) {
		w.t.Errorf("a live token: %v", err)
	}
	return err
}

// away waits until both fail closed, and makes calls that only the store can answer.
func (w *watch) away(ctx context.Context) {
	for _, m := range w.managers {
		for w.look(ctx, m) == nil {
			require.NoError(w.t, ctx.Err(), "it answers from memory for ever")
			time.Sleep(5 * time.Millisecond)
		}
		acme := m.For(watched)
		for what, call := range map[string]func() error{
			"issue": func() error { _, _, err := acme.Issue(ctx, latchkey.Spec{Kind: latchkey.KindSecret}); return err },
			"get":   func() error { _, err := acme.Get(ctx, "nobody"); return err },
			"role":  func() error { _, err := acme.Role(ctx, "nobody"); return err },
			"tokens": func() error {
				for _, err := range acme.Tokens(ctx, latchkey.TokenQuery{}) {
					return err
				}
				return nil
			},
			"usage":  func() error { _, err := acme.Usage(ctx, latchkey.UsageQuery{}); return err },
			"revoke": func() error { return acme.Revoke(ctx, "nobody", "") },
			"purge":  func() error { _, err := m.Purge(ctx); return err },
		} {
			err := call()
			require.ErrorIs(w.t, err, latchkey.ErrUnavailable, what)
			require.NotErrorIs(w.t, err, latchkey.ErrNotFound, what)
		}
	}
}

// back waits until both answer again, without being restarted.
func (w *watch) back(ctx context.Context) {
	for _, m := range w.managers {
		for w.look(ctx, m) != nil {
			require.NoError(w.t, ctx.Err(), "it does not come back")
			time.Sleep(5 * time.Millisecond)
		}
		_, _, err := m.For(watched).Issue(ctx, latchkey.Spec{Kind: latchkey.KindSecret})
		require.NoError(w.t, err)
	}
}

// check closes them: each count is written, and once.
func (w *watch) check(ctx context.Context) {
	for _, m := range w.managers {
		require.NoError(w.t, m.Close(ctx))
	}
	rows, err := w.managers[0].For(watched).Usage(ctx, latchkey.UsageQuery{Meters: []string{"looks"}})
	require.NoError(w.t, err)
	require.Equal(w.t, w.counted.Load(), rows[0].Count, "counts are lost, or counted twice")
}
