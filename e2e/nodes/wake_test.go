package nodes

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/stretchr/testify/require"

	"github.com/latchkey-go/latchkey"
	"github.com/latchkey-go/latchkey/e2e/internal/harness"
)

// wire is a proxy before a PostgreSQL server, which can stall and be cut.
type wire struct {
	to           net.Addr
	listener     net.Listener
	mu           sync.Mutex
	open         chan struct{} // closed unless it stalls
	cut          bool
	conns        map[net.Conn]bool
	transporting sync.WaitGroup
}

// newWire returns a wire to the server of dsn, and the DSN of its near end.
func newWire(t testing.TB, dsn string) (*wire, string) {
	t.Helper()
	config, err := pgx.ParseConfig(dsn)
	require.NoError(t, err)
	w := &wire{open: make(chan struct{}), conns: map[net.Conn]bool{}}
	close(w.open)
	if filepath.IsAbs(config.Host) {
		w.to = &net.UnixAddr{Name: filepath.Join(config.Host, fmt.Sprintf(".s.PGSQL.%d", config.Port)), Net: "unix"}
	} else {
		w.to, err = net.ResolveTCPAddr("tcp", net.JoinHostPort(config.Host, fmt.Sprint(config.Port)))
		require.NoError(t, err)
	}
	w.listener, err = net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	w.transporting.Go(w.accept)
	t.Cleanup(func() {
		w.set(false, true)
		w.listener.Close()
		w.transporting.Wait()
	})
	port := w.listener.Addr().(*net.TCPAddr).Port
	return w, harness.Postgres.With(t, harness.Postgres.With(t, dsn, "host", "127.0.0.1"), "port", fmt.Sprint(port))
}

// set makes the wire stall, or cuts it, or mends it. After set has returned, nothing passes that should not.
func (w *wire) set(stalls, cut bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	select {
	case <-w.open:
		if stalls {
			w.open = make(chan struct{})
		}
	default:
		if !stalls {
			close(w.open)
		}
	}
	if w.cut = cut; cut {
		for conn := range w.conns {
			conn.Close()
		}
		clear(w.conns)
	}
}

func (w *wire) accept() {
	for {
		near, err := w.listener.Accept()
		if err != nil {
			return
		}
		far, err := net.Dial(w.to.Network(), w.to.String())
		if err != nil {
			near.Close()
			continue
		}
		w.mu.Lock()
		if w.cut {
			near.Close()
			far.Close()
		}
		w.conns[near], w.conns[far] = true, true
		w.mu.Unlock()
		w.transporting.Go(func() { w.carry(near, far) })
		w.transporting.Go(func() { w.carry(far, near) })
	}
}

func (w *wire) carry(from, to net.Conn) {
	defer from.Close()
	defer to.Close()
	buffer := make([]byte, 32<<10)
	for {
		n, err := from.Read(buffer)
		if n > 0 && !w.pass(to, buffer[:n]) || err != nil {
			return
		}
	}
}

// pass writes while nobody can make the wire stall, so that what set said holds from when it returns.
func (w *wire) pass(to io.Writer, b []byte) bool {
	for {
		w.mu.Lock()
		open := w.open
		select {
		case <-open:
			_, err := to.Write(b)
			w.mu.Unlock()
			return err == nil
		default:
		}
		w.mu.Unlock()
		<-open
	}
}

// listening runs listen until the end of the test.
func listening(t testing.TB, dsn string, keys *latchkey.Manager) {
	t.Helper()
	ctx, stop := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() {
		defer close(done)
		listen(ctx, dsn, keys, slog.New(slog.DiscardHandler))
	}()
	t.Cleanup(func() {
		stop()
		<-done
	})
}

// known issues a token that there has verified, and so keeps.
func known(t testing.TB, here latchkey.Account, there *latchkey.Manager) (id, secret string) {
	t.Helper()
	token, text, err := here.Issue(context.Background(), latchkey.Spec{Kind: latchkey.KindSecret})
	require.NoError(t, err)
	for range 2 { // the first finds it, the second looks whether anything happened since
		_, err = there.Verify(context.Background(), latchkey.Presented{Secret: text.Reveal()})
		require.NoError(t, err)
	}
	return token.ID, text.Reveal()
}

// refusedSoon waits until a token is refused, and for no other reason than that it was revoked.
func refusedSoon(t testing.TB, keys *latchkey.Manager, secret, why string) {
	t.Helper()
	for deadline := time.Now().Add(3 * time.Minute); ; time.Sleep(time.Millisecond) {
		_, err := keys.Verify(context.Background(), latchkey.Presented{Secret: secret})
		if errors.Is(err, latchkey.ErrRevoked) {
			return
		}
		require.NoError(t, err, why)
		require.True(t, time.Now().Before(deadline), why)
	}
}

// never is a bound that no test reaches: a node that is up to date before it was woken.
const never = time.Hour

var onPostgres = harness.NodeEngines[1]

func TestListen(t *testing.T) {
	ctx := context.Background()
	dsn := onPostgres.Place(t)
	here := harness.NewNode(t, onPostgres, dsn, 0).For("acme")
	listeners := func(name string) string { return harness.Postgres.With(t, dsn, "application_name", name) }

	t.Run("wakes a node", func(t *testing.T) {
		there := harness.NewNode(t, onPostgres, dsn, never)
		listening(t, dsn, there)
		for range 10 {
			id, secret := known(t, here, there)
			require.NoError(t, here.Revoke(ctx, id, ""))
			refusedSoon(t, there, secret, "nobody woke it")
		}
	})
	t.Run("nothing else wakes it", func(t *testing.T) { // or the test above would prove nothing
		there := harness.NewNode(t, onPostgres, dsn, never)
		id, secret := known(t, here, there)
		require.NoError(t, here.Revoke(ctx, id, ""))
		time.Sleep(50 * time.Millisecond)
		_, err := there.Verify(ctx, latchkey.Presented{Secret: secret})
		require.NoError(t, err)
	})
	t.Run("comes back when it was killed", func(t *testing.T) {
		there := harness.NewNode(t, onPostgres, dsn, never)
		listening(t, listeners("killed"), there)
		for range 4 {
			id, secret := known(t, here, there)
			for killed := 0; killed == 0; {
				require.NoError(t, harness.Postgres.Admin.QueryRow(`SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity
					WHERE application_name = 'killed'`).Scan(&killed))
			}
			require.NoError(t, here.Revoke(ctx, id, ""))
			refusedSoon(t, there, secret, "it does not listen again")
		}
	})
	t.Run("wakes for what it did not hear", func(t *testing.T) {
		there := harness.NewNode(t, onPostgres, dsn, never)
		w, ears := newWire(t, dsn)
		listening(t, ears, there)
		id, secret := known(t, here, there)
		require.NoError(t, here.Revoke(ctx, id, ""))
		refusedSoon(t, there, secret, "nobody woke it")
		for cut, tries := 0, 0; cut < 3; tries++ {
			require.Less(t, tries, 50, "somebody else wakes it")
			id, secret = known(t, here, there)
			w.set(false, true)
			require.NoError(t, here.Revoke(ctx, id, ""))
			_, err := there.Verify(ctx, latchkey.Presented{Secret: secret})
			w.set(false, false)
			if errors.Is(err, latchkey.ErrRevoked) {
				continue // what it heard before the cut made it look after it
			}
			require.NoError(t, err, "it cannot know: the bound is an hour")
			cut++
			refusedSoon(t, there, secret, "it came back and looked at nothing")
		}
	})
	t.Run("polling keeps the bound when it hears nothing", func(t *testing.T) {
		const bound = 150 * time.Millisecond
		there := harness.NewNode(t, onPostgres, dsn, bound)
		w, ears := newWire(t, dsn)
		listening(t, ears, there)
		for i := range 6 {
			id, secret := known(t, here, there)
			w.set(i%3 > 0, i%3 == 1) // it hears, it stalls, it is cut
			require.NoError(t, here.Revoke(ctx, id, ""))
			returned := time.Now()
			for {
				began := time.Now()
				_, err := there.Verify(ctx, latchkey.Presented{Secret: secret})
				if errors.Is(err, latchkey.ErrRevoked) {
					break
				}
				require.NoError(t, err)
				require.LessOrEqual(t, began.Sub(returned), bound, "a Verify that began past the bound was answered from before")
			}
		}
	})
}

// A node that cannot reach the database answers from memory up to the bound, and then nothing.
func TestNodeCutOff(t *testing.T) {
	dsn := onPostgres.Place(t)
	here := harness.NewNode(t, onPostgres, dsn, 0).For("acme")
	for _, bound := range []time.Duration{0, 100 * time.Millisecond} {
		for _, cut := range []bool{false, true} {
			t.Run(fmt.Sprintf("MaxStale %v, cut %t", bound, cut), func(t *testing.T) {
				w, far := newWire(t, dsn)
				there := harness.NewNode(t, onPostgres, far, bound)
				listening(t, far, there)
				id, secret := known(t, here, there)
				_, stays := known(t, here, there)
				patience := 200 * time.Millisecond
				verify := func(secret string) error {
					ctx, cancel := context.WithTimeout(context.Background(), patience)
					defer cancel()
					_, err := there.Verify(ctx, latchkey.Presented{Secret: secret})
					return err
				}
				w.set(!cut, cut)
				lost := time.Now()
				require.NoError(t, here.Revoke(context.Background(), id, ""))
				for past := 0; past < 3; {
					began := time.Now()
					err := verify(secret)
					if began.Sub(lost) > bound {
						past++
						require.ErrorIs(t, err, latchkey.ErrUnavailable, "past the bound nothing is answered")
					}
					if err != nil {
						require.ErrorIs(t, err, latchkey.ErrUnavailable)
						require.NotErrorIs(t, err, latchkey.ErrInvalidToken, "nothing is known")
					}
				}
				w.set(false, false)
				patience = time.Minute
				for deadline := time.Now().Add(3 * time.Minute); ; {
					err := verify(secret)
					if errors.Is(err, latchkey.ErrRevoked) {
						break
					}
					require.ErrorIs(t, err, latchkey.ErrUnavailable, "it was out of date, and answered")
					require.True(t, time.Now().Before(deadline), "it does not come back: %v", err)
				}
				require.NoError(t, verify(stays))
			})
		}
	}
}

// A node of another version's server is woken too.
func TestListenOnVersions(t *testing.T) {
	harness.OnVersions(t, func(t *testing.T, e *harness.Engine) {
		server := e.NodeEngine()
		dsn := server.Place(t)
		here := harness.NewNode(t, server, dsn, 0).For("acme")
		there := harness.NewNode(t, server, dsn, never)
		listening(t, dsn, there)
		for range 3 {
			id, secret := known(t, here, there)
			require.NoError(t, here.Revoke(context.Background(), id, ""))
			refusedSoon(t, there, secret, "nobody woke it")
		}
	})
}
