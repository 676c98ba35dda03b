package clusters

import (
	"context"
	"errors"
	"fmt"
	"net"
	"sync"
	"testing"
	"time"

	"github.com/go-sql-driver/mysql"
	"github.com/stretchr/testify/require"

	"github.com/latchkey-go/latchkey"
	"github.com/latchkey-go/latchkey/e2e/internal/harness"
	"github.com/latchkey-go/latchkey/e2e/internal/world"
	"github.com/latchkey-go/latchkey/sqlstore"
)

// afar returns the DSN of a node over the network, for a client that is a host of its own.
func (c *galeraCluster) afar(t testing.TB, n *galeraNode, dsn string) string {
	t.Helper()
	const protocol, user = "galera-client", "afar"
	mysql.RegisterDialContext(protocol, func(ctx context.Context, address string) (net.Conn, error) {
		return c.client.Dial(ctx, address)
	})
	n.Exec(t, "CREATE USER IF NOT EXISTS "+user+"@'%'", "GRANT ALL ON *.* TO "+user+"@'%'")
	config, err := mysql.ParseDSN(dsn)
	require.NoError(t, err)
	config.User, config.Net, config.Addr = user, protocol, n.at(3306)
	return config.FormatDSN()
}

// observer verifies on a node, as a process there or elsewhere does.
type observer struct {
	name  string
	bound time.Duration
	keys  *latchkey.Manager
}

// verify begins at the returned time.
func (o observer) verify(secret string, patience time.Duration) (began time.Time, err error) {
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	began = time.Now()
	_, err = o.keys.Verify(ctx, latchkey.Presented{Secret: secret})
	return began, err
}

// A node is cut off by the network: nobody died, no connection was closed, and packets to it and from it are dropped.
// The majority goes on. The node does not know what the majority acknowledges, so it answers nothing. That holds for
// clients beside it, whose connections work, and for clients that cannot reach it.
func TestGaleraNodeCutOff(t *testing.T) {
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Minute)
	defer cancel()
	dsns := galeraApart.place(t)
	node := galeraApart.nodes[2]
	distant := galeraApart.afar(t, node, dsns[2])
	majority := galeraApart.nodes[0].Store(t, dsns[0])
	acme := harness.NewNode(t, nodeEngine(galeraApart.nodes[0]), dsns[0], 0).For("acme")
	beside := node.Store(t, dsns[2])
	var observers []observer
	for place, dsn := range map[string]string{"beside it": dsns[2], "afar": distant} {
		for _, bound := range []time.Duration{0, 2 * time.Second} {
			observers = append(observers, observer{fmt.Sprintf("%s, MaxStale %v", place, bound), bound,
				harness.NewNode(t, nodeEngine(node), dsn, bound)})
		}
	}
	for round := range harness.Rounds(1, 5) {
		t.Run(fmt.Sprint("round ", round+1), func(t *testing.T) {
			token, secret, err := acme.Issue(ctx, latchkey.Spec{Kind: latchkey.KindAPIKey})
			require.NoError(t, err)
			_, stays, err := acme.Issue(ctx, latchkey.Spec{Kind: latchkey.KindAPIKey})
			require.NoError(t, err)
			for _, o := range observers {
				for range 2 { // the first finds it, the second looks whether anything happened since
					for _, s := range []latchkey.Secret{secret, stays} {
						_, err := o.verify(s.Reveal(), time.Minute)
						require.NoError(t, err, o.name)
					}
				}
			}
			writers := writersOn(ctx, beside, round)
			writers.has(t, 50)

			require.NoError(t, node.Host.Cut(true))
			cut := time.Now()
			defer func() { require.NoError(t, node.Host.Cut(false)) }()
			// Until the others are sure that it is gone nobody is answered.
			for err = errors.New("not yet"); err != nil; {
				if err = acme.Revoke(ctx, token.ID, ""); err != nil && !errors.Is(err, latchkey.ErrUnavailable) {
					require.ErrorIs(t, err, latchkey.ErrUnknownOutcome)
				}
			}
			t.Logf("the majority went on after %v", time.Since(cut).Round(time.Millisecond))

			// Calls without a deadline wait for as long as nobody tells them. The others do not wait for them.
			var all, patient sync.WaitGroup
			for _, o := range observers {
				patient.Go(func() {
					if began, err := o.verify(secret.Reveal(), 5*time.Minute); err == nil && began.Sub(cut) > o.bound {
						t.Errorf("%s: a call that was begun after the revocation was answered from before it", o.name)
					}
				})
			}
			for _, o := range observers {
				all.Go(func() {
					for past := 0; past < 4; {
						for name, s := range map[string]latchkey.Secret{"revoked": secret, "unchanged": stays} {
							began, err := o.verify(s.Reveal(), 300*time.Millisecond)
							if err != nil && !errors.Is(err, latchkey.ErrUnavailable) {
								t.Errorf("%s, %s: it cannot know: %v", o.name, name, err)
								return
							}
							if began.Sub(cut) > o.bound {
								past++
								if err == nil {
									t.Errorf("%s, %s: answered %v after the cut", o.name, name, began.Sub(cut))
									return
								}
							}
						}
					}
				})
			}
			for n := range 20 { // which the node learns of when it is back
				err := majority.Write(ctx, world.Mint("majority", fmt.Sprintf("t-%d-%d", round, n), 1000*round+n))
				require.NoError(t, err)
			}
			all.Wait()
			if t.Failed() {
				return
			}
			// Without a deadline a write ends when the node notices that it is alone.
			outcomes := writers.end(t)
			t.Logf("on the node, writes were %v", outcomes)
			require.Equal(t, "non-Primary", node.status("wsrep_cluster_status"))
			for _, op := range world.Operations() {
				got, err := op.Run(ctx, beside)
				require.ErrorIs(t, err, latchkey.ErrUnavailable, "%s: %v", op.Name, got)
			}
			_, err = sqlstore.New(ctx, node.Open(t, dsns[2]), latchkey.MySQL, nil)
			require.Error(t, err)

			require.NoError(t, node.Host.Cut(false))
			require.NoError(t, node.synced())
			for _, o := range observers {
				harness.Eventually(t, o.name+": it does not come back", func() bool {
					_, err := o.verify(secret.Reveal(), time.Minute)
					if err != nil && errors.Is(err, latchkey.ErrUnavailable) {
						return false
					}
					require.ErrorIs(t, err, latchkey.ErrRevoked, "%s: it was out of date, and answered", o.name)
					return true
				})
				_, err := o.verify(stays.Reveal(), time.Minute)
				require.NoError(t, err, o.name)
			}
			patient.Wait()
			writers.check(t, beside)
			writers.check(t, majority)
			writers.settle(t, beside)
			writers.check(t, majority)
			// The observers write what they counted at times of their own, so that a row may come between two dumps.
			first := galeraApart.nodes[0].Open(t, dsns[0])
			for i := range galeraApart.nodes[1:] {
				other := galeraApart.nodes[i+1].Open(t, dsns[i+1])
				harness.Eventually(t, "the nodes differ", func() bool { return world.Dump(t, first) == world.Dump(t, other) })
			}
		})
	}
}

// nodeEngine is a node as what several processes share.
func nodeEngine(n *galeraNode) *harness.NodeEngine { return n.NodeEngine() }

// writers mint tokens on a node and revoke them, without a deadline, until an outcome is an error.
type writers struct {
	all sync.WaitGroup
	mu  sync.Mutex
	of  []outcome
}

type outcome struct {
	write latchkey.Write
	err   error
}

func writersOn(ctx context.Context, s *sqlstore.Store, round int) *writers {
	w := &writers{}
	for g := range 8 {
		w.all.Go(func() {
			owner := fmt.Sprintf("writer %d", g)
			for i := 0; ; i++ {
				n := 1_000_000*(round+1) + 10_000*g + i
				issue := world.Mint(owner, fmt.Sprintf("t-%08d", n), n)
				gone := issue.Tokens[0]
				gone.Version, gone.Revoked = 1, world.Noon
				revoke := latchkey.Write{ID: world.WriteID(), Owner: owner, At: world.Noon, Tokens: []latchkey.Token{gone}}
				for _, one := range []latchkey.Write{issue, revoke} {
					err := s.Write(ctx, one)
					w.mu.Lock()
					w.of = append(w.of, outcome{one, err})
					w.mu.Unlock()
					if err != nil {
						return
					}
				}
			}
		})
	}
	return w
}

// has waits for so many writes.
func (w *writers) has(t testing.TB, n int) {
	t.Helper()
	harness.Eventually(t, "nothing is written", func() bool {
		w.mu.Lock()
		defer w.mu.Unlock()
		return len(w.of) >= n
	})
}

// end waits until each writer has met an error, and returns how many writes had which outcome.
func (w *writers) end(t testing.TB) map[string]int {
	t.Helper()
	w.all.Wait()
	count := map[string]int{}
	for _, o := range w.of {
		switch {
		case o.err == nil:
			count["acknowledged"]++
		case errors.Is(o.err, latchkey.ErrUnavailable):
			count["unavailable"]++
		case errors.Is(o.err, latchkey.ErrUnknownOutcome):
			count["unknown"]++
		default:
			t.Errorf("neither done nor unavailable: %v", o.err)
		}
	}
	return count
}

// check compares what was said of each write with what is there.
func (w *writers) check(t testing.TB, s *sqlstore.Store) {
	t.Helper()
	for _, o := range w.of {
		token := o.write.Tokens[0]
		f, err := s.Load(context.Background(), o.write.Owner, token.ID)
		what := fmt.Sprintf("%s, to be revoked: %t", token.ID, !token.Revoked.IsZero())
		switch done := err == nil && (token.Revoked.IsZero() || !f.Token.Revoked.IsZero()); {
		case o.err == nil:
			require.True(t, done, "%s: it is lost: %v", what, err)
		case errors.Is(o.err, latchkey.ErrUnavailable):
			require.False(t, done, "%s: it was said to be undone: %v", what, o.err)
		}
	}
}

// settle repeats what had no known outcome.
func (w *writers) settle(t testing.TB, s *sqlstore.Store) {
	t.Helper()
	for i, o := range w.of {
		if o.err != nil {
			err := s.Write(context.Background(), o.write)
			require.NoError(t, err, "%s cannot be settled", o.write.Tokens[0].ID)
			w.of[i].err = nil
		}
	}
}
