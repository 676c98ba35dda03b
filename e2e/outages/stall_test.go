package outages

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"github.com/latchkey-go/latchkey"
	"github.com/latchkey-go/latchkey/e2e/internal/faulty"
	"github.com/latchkey-go/latchkey/e2e/internal/harness"
	"github.com/latchkey-go/latchkey/e2e/internal/world"
)

// noLeaks checks, after all other cleanups of the test, that none of its goroutines is left. Call it first.
func noLeaks(t *testing.T) {
	t.Helper()
	before := goleak.IgnoreCurrent()
	t.Cleanup(func() {
		var err error
		for deadline := time.Now().Add(2 * time.Minute); time.Now().Before(deadline); {
			if err = goleak.Find(before); err == nil { // it waits a while itself
				return
			}
		}
		t.Errorf("goroutines are left: %v", err)
	})
}

// proxy stands between a pool and its server, and stalls or drops what goes through.
type proxy struct {
	t    *testing.T
	to   string // the server's socket
	all  sync.WaitGroup
	gate sync.RWMutex // locked while it stalls

	mu     sync.Mutex
	conns  map[net.Conn]bool
	closed bool
}

// proxied returns the DSN of a place behind a proxy.
func proxied(t *testing.T, e *harness.Engine, dsn string) (string, *proxy) {
	folder, err := os.MkdirTemp("", "lk-p-") // short: so must be the name of a socket
	require.NoError(t, err)
	socket := ".s.PGSQL.5432"
	if e.Dialect == latchkey.MySQL {
		socket = "s.sock"
	}
	p := &proxy{t: t, to: filepath.Join(e.Folder, socket), conns: map[net.Conn]bool{}}
	listener, err := net.Listen("unix", filepath.Join(folder, socket))
	require.NoError(t, err)
	p.all.Go(func() {
		for {
			conn, err := listener.Accept()
			if err != nil {
				return
			}
			p.all.Go(func() { p.serve(conn) })
		}
	})
	t.Cleanup(func() {
		listener.Close()
		p.mu.Lock()
		p.closed = true
		p.mu.Unlock()
		p.drop()
		p.all.Wait()
		os.RemoveAll(folder)
	})
	return strings.ReplaceAll(dsn, e.Folder, folder), p
}

func (p *proxy) serve(conn net.Conn) {
	defer conn.Close()
	server, err := net.Dial("unix", p.to)
	if err != nil {
		return
	}
	defer server.Close()
	p.mu.Lock()
	p.conns[conn], p.conns[server] = true, true
	closed := p.closed
	p.mu.Unlock()
	if closed {
		return
	}
	var both sync.WaitGroup
	pump := func(to, from net.Conn) {
		// Who is gone on one side is gone on the other.
		defer to.Close()
		defer from.Close()
		for bytes := make([]byte, 32<<10); ; {
			n, err := from.Read(bytes)
			p.gate.RLock()
			_, writeErr := to.Write(bytes[:n])
			p.gate.RUnlock()
			if err != nil || writeErr != nil {
				return
			}
		}
	}
	both.Go(func() { pump(server, conn) })
	both.Go(func() { pump(conn, server) })
	both.Wait()
	p.mu.Lock()
	delete(p.conns, conn)
	delete(p.conns, server)
	p.mu.Unlock()
}

// stall lets nothing through until goOn is called.
func (p *proxy) stall() (goOn func()) {
	p.gate.Lock()
	return p.gate.Unlock
}

// drop cuts all connections.
func (p *proxy) drop() {
	p.mu.Lock()
	defer p.mu.Unlock()
	for conn := range p.conns {
		conn.Close()
	}
}

// A server that does not answer, and connections that are cut: every call ends with its deadline, nothing is lost or
// done twice, and when all is closed no goroutine is left.
func TestEnginesStallAndDrop(t *testing.T) {
	harness.OnEngines(t, func(t *testing.T, e *harness.Engine) {
		own := e.Own(t)
		noLeaks(t)
		place := own.Place(t)
		ctx, cancel := context.WithTimeout(context.Background(), 10*time.Minute)
		defer cancel()
		dsn, p := proxied(t, own, place)
		db := own.Open(t, dsn)
		db.SetMaxOpenConns(4)
		store := harness.OpenStore(t, db, own.Dialect)
		keys := latchkey.New(store, nil)
		_, secret, err := keys.For("readers").Issue(ctx, latchkey.Spec{Kind: latchkey.KindSecret})
		require.NoError(t, err)
		access, err := keys.Verify(ctx, latchkey.Presented{Secret: secret.Reveal()})
		require.NoError(t, err)
		c := &crew{patience: time.Second}
		c.begin(ctx, t, store, 12)
		for range harness.Rounds(1, 10) {
			c.progress(60)
			goOn := p.stall()
			c.refused(24) // each of them has come back though nothing moved
			short, over := context.WithTimeout(ctx, 20*time.Millisecond)
			_, err := keys.Verify(short, latchkey.Presented{Secret: secret.Reveal()})
			require.ErrorIs(t, err, latchkey.ErrUnavailable)
			require.ErrorIs(t, err, context.DeadlineExceeded)
			over()
			goOn()
			c.progress(60)
			for range 5 {
				p.drop()
				c.progress(10)
			}
		}
		// The end of a Manager whose server is away.
		goOn := p.stall()
		access.Count("calls", "", 1)
		short, over := context.WithTimeout(ctx, 20*time.Millisecond)
		require.ErrorIs(t, keys.Close(short), latchkey.ErrUnavailable)
		over()
		goOn()
		c.finish(own.Open(t, place))
		require.Eventually(t, func() bool { return keys.Close(ctx) == nil }, 5*time.Minute, 10*time.Millisecond)
		rows, err := store.Usage(ctx, "readers", latchkey.UsageQuery{})
		require.NoError(t, err)
		require.Equal(t, int64(1), rows[0].Count)
	})
}

// 200 callers on a pool of one connection, with deadlines, without, and cancelled: none waits for ever, each gets the
// true outcome, and no goroutine is left.
func TestPoolOfOne(t *testing.T) {
	harness.OnSubjects(t, func(t *testing.T, s harness.Subject) {
		const callers = 200
		dsn := s.Fresh(t)
		s.Store(t, dsn) // the server's pool and others are not this test's
		noLeaks(t)
		ctx, cancel := context.WithTimeout(context.Background(), 5*time.Minute)
		defer cancel()
		db := s.Open(t, dsn)
		db.SetMaxOpenConns(1)
		store := harness.OpenStore(t, db, s.Dialect)
		keys := latchkey.New(store, nil)
		acme := keys.For("acme")
		_, secret, err := acme.Issue(ctx, latchkey.Spec{Kind: latchkey.KindSecret})
		require.NoError(t, err)
		call := func(ctx context.Context, n int, w latchkey.Write) error {
			switch n % 5 {
			case 0:
				_, err := keys.Verify(ctx, latchkey.Presented{Secret: secret.Reveal()})
				return err
			case 1:
				for _, err := range acme.Tokens(ctx, latchkey.TokenQuery{}) {
					return err
				}
				return nil
			}
			err := store.Write(ctx, w)
			return err
		}
		writes, outcomes := make([]latchkey.Write, callers), make([]error, callers)
		run := func(round int, limited func(n int) (context.Context, context.CancelFunc)) {
			var all sync.WaitGroup
			for n := range callers {
				writes[n] = world.Mint("acme", fmt.Sprintf("%d-%03d", round, n), round*callers+n)
				all.Go(func() {
					ctx, cancel := limited(n)
					defer cancel()
					outcomes[n] = call(ctx, n, writes[n])
				})
			}
			all.Wait()
		}
		given := 0
		truth := func(round int) {
			for n, err := range outcomes {
				about := fmt.Sprintf("round %d, caller %d: %v", round, n, err)
				unknown := errors.Is(err, latchkey.ErrUnknownOutcome)
				if err != nil {
					require.True(t, unknown || errors.Is(err, latchkey.ErrUnavailable), about)
					require.True(t, errors.Is(err, context.DeadlineExceeded) || errors.Is(err, context.Canceled), about)
					given++
				}
				if n%5 < 2 {
					continue
				}
				if !unknown {
					_, found := store.Load(ctx, "acme", writes[n].Tokens[0].ID)
					require.Equal(t, err == nil, found == nil, about)
				}
				err = store.Write(ctx, writes[n])
				require.NoError(t, err, "again, after "+about)
			}
		}
		// A third has no deadline, a third a short one, a third is given up from outside.
		run(1, func(n int) (context.Context, context.CancelFunc) {
			switch n % 3 {
			case 0:
				return context.WithTimeout(ctx, time.Duration(n)*time.Millisecond/4)
			case 1:
				given, cancel := context.WithCancel(ctx)
				time.AfterFunc(time.Duration(n)*time.Millisecond/4, cancel)
				return given, cancel
			}
			return ctx, func() {}
		})
		for n, err := range outcomes {
			if n%3 == 2 {
				require.NoError(t, err)
			}
		}
		truth(1)
		// The host keeps the only connection: all come back while it does.
		host, err := db.Conn(ctx)
		require.NoError(t, err)
		run(2, func(int) (context.Context, context.CancelFunc) { return context.WithTimeout(ctx, 50*time.Millisecond) })
		for _, err := range outcomes {
			require.ErrorIs(t, err, latchkey.ErrUnavailable)
			require.ErrorIs(t, err, context.DeadlineExceeded)
		}
		require.NoError(t, host.Close())
		truth(2)
		require.GreaterOrEqual(t, given, callers)
		require.Empty(t, world.Walk(t, db))
		require.NoError(t, keys.Close(ctx))
	})
}

// A commit hangs. A caller that waits for it may give up, and is told that the outcome is unknown. The commit is not
// torn, and the same call again settles it. On SQLite only the file can hang: the caller that commits waits for it,
// and those that share the commit need not.
func TestCommitHangs(t *testing.T) {
	harness.OnSubjects(t, func(t *testing.T, s harness.Subject) {
		dsn := s.Fresh(t)
		s.Store(t, dsn)
		noLeaks(t)
		ctx, cancel := context.WithTimeout(context.Background(), 5*time.Minute)
		defer cancel()
		db, f := faulty.Open(t, s.Open(t, dsn), dsn)
		store := harness.OpenStore(t, db, s.Dialect)
		began, others, hangs, goOn := make(chan struct{}), make(chan struct{}), make(chan struct{}), make(chan struct{})
		var first, commit sync.Once
		f.Before = func(text string) {
			switch text {
			case "BEGIN":
				first.Do(func() {
					close(began)
					<-others // so that they queue behind it, and may share its commit
					time.Sleep(50 * time.Millisecond)
				})
			case "COMMIT":
				commit.Do(func() {
					close(hangs)
					<-goOn
				})
			}
		}
		const writers = 8
		type answer struct {
			n   int
			err error
		}
		answers := make(chan answer, writers)
		deadlines := make([]faulty.Expiring, writers)
		write := func(ctx context.Context, n int) error {
			w := world.Mint("acme", fmt.Sprint("t", n), n)
			w.ID = [16]byte{1, byte(n)}
			err := store.Write(ctx, w)
			return err
		}
		var all sync.WaitGroup
		for n := range writers {
			deadlines[n] = faulty.NewExpiring()
			all.Go(func() { answers <- answer{n, write(deadlines[n], n)} })
			if n == 0 {
				<-began
			}
		}
		close(others)
		<-hangs
		free := writers
		if s.Dialect == latchkey.SQLite {
			free-- // not who commits
		}
		expired, refused := 0, []int(nil)
		for _, d := range deadlines {
			d.Expire()
		}
		for range free {
			a := <-answers // while the commit hangs, or the test does
			if a.err == nil {
				continue // it had a connection of its own, and was done before
			}
			expired++
			require.ErrorIs(t, a.err, context.DeadlineExceeded)
			if errors.Is(a.err, latchkey.ErrUnavailable) {
				refused = append(refused, a.n)
			} else {
				require.ErrorIs(t, a.err, latchkey.ErrUnknownOutcome)
			}
		}
		require.Positive(t, expired)
		close(goOn)
		all.Wait()
		for _, n := range refused {
			_, err := store.Load(ctx, "acme", fmt.Sprint("t", n))
			require.ErrorIs(t, err, latchkey.ErrNotFound, "unavailable means not done, now and later")
		}
		for n := range writers {
			require.NoError(t, write(ctx, n), "the same again")
		}
		tokens, err := store.Tokens(ctx, "acme", latchkey.TokenQuery{})
		require.NoError(t, err)
		require.Len(t, tokens, writers)
		require.Empty(t, world.Walk(t, db))
	})
}
