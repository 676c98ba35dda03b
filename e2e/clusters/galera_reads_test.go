package clusters

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/latchkey-go/latchkey"
	"github.com/latchkey-go/latchkey/e2e/internal/faulty"
	"github.com/latchkey-go/latchkey/e2e/internal/harness"
	"github.com/latchkey-go/latchkey/e2e/internal/world"
	"github.com/latchkey-go/latchkey/sqlstore"
)

// managers returns a Manager on each node, as three processes have.
func (c *galeraCluster) managers(t testing.TB, dsns [3]string) (keys [3]*latchkey.Manager) {
	t.Helper()
	for i, n := range c.nodes {
		keys[i] = latchkey.New(n.Store(t, dsns[i]), nil)
		t.Cleanup(func() { require.NoError(t, keys[i].Close(context.Background())) })
	}
	return keys
}

// busyNode writes until the end of the test, so that the other nodes have something to catch up with.
func busyNode(t testing.TB, s *sqlstore.Store, writers int) {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	var all sync.WaitGroup
	for g := range writers {
		all.Go(func() {
			for ctx.Err() == nil {
				err := s.Write(ctx, world.Mint(fmt.Sprint("busy ", g), world.NewID(), rand.Int()))
				if err != nil && ctx.Err() == nil {
					t.Error(err)
					return
				}
			}
		})
	}
	t.Cleanup(all.Wait)
	t.Cleanup(cancel)
}

// What has returned on the node that is written to is obeyed on every other by each call that begins afterwards.
func TestGaleraVerifyElsewhere(t *testing.T) {
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Minute)
	defer cancel()
	dsns := galera.place(t)
	keys := galera.managers(t, dsns)
	busyNode(t, galera.nodes[0].Store(t, dsns[0]), 3)
	acme := keys[0].For("acme")
	// elsewhere wants the same of both other nodes at once.
	elsewhere := func(what, secret string, want error) {
		t.Helper()
		var all sync.WaitGroup
		for i, there := range keys[1:] {
			all.Go(func() {
				access, err := there.Verify(ctx, latchkey.Presented{Secret: secret})
				if err == nil {
					err = access.Check(latchkey.Read, "dataset/orders")
				}
				if !errors.Is(err, want) {
					t.Errorf("%s: node %d answers %v instead of %v", what, i+2, err, want)
				}
			})
		}
		all.Wait()
		if t.Failed() {
			t.FailNow()
		}
	}
	on := func(resource latchkey.Pattern) latchkey.Permissions {
		return latchkey.Permissions{latchkey.Allow(latchkey.Read).On(resource)}
	}
	for range harness.Rounds(6, 200) {
		reader, err := acme.CreateRole(ctx, latchkey.Role{Name: "reader " + world.NewID(),
			Permissions: on("dataset/*")})
		require.NoError(t, err)
		token, secret, err := acme.Issue(ctx, latchkey.Spec{Kind: latchkey.KindAPIKey,
			Roles: []string{reader.ID}})
		require.NoError(t, err)
		elsewhere("issued", secret.Reveal(), nil)

		_, err = acme.UpdateRole(ctx, reader.ID, func(r *latchkey.Role) error { r.Permissions = on("other"); return nil })
		require.NoError(t, err)
		elsewhere("role narrowed", secret.Reveal(), latchkey.ErrDenied)
		_, err = acme.UpdateRole(ctx, reader.ID, func(r *latchkey.Role) error { r.Permissions = on("*"); return nil })
		require.NoError(t, err)
		elsewhere("role widened", secret.Reveal(), nil)

		fresh, err := acme.Rotate(ctx, token.ID, 0)
		require.NoError(t, err)
		elsewhere("rotated away", secret.Reveal(), latchkey.ErrInvalidToken)
		elsewhere("rotated", fresh.Reveal(), nil)

		_, err = acme.Update(ctx, token.ID, func(k *latchkey.Token) error { k.Disabled = true; return nil })
		require.NoError(t, err)
		elsewhere("disabled", fresh.Reveal(), latchkey.ErrDisabled)
		_, err = acme.Update(ctx, token.ID, func(k *latchkey.Token) error { k.Disabled = false; return nil })
		require.NoError(t, err)

		access, err := keys[1].Verify(ctx, latchkey.Presented{Secret: fresh.Reveal()})
		require.NoError(t, err)
		_, child, err := access.Mint(ctx, latchkey.Narrowing{Lifetime: time.Hour})
		require.NoError(t, err)
		require.NoError(t, acme.Revoke(ctx, token.ID, ""))
		elsewhere("revoked", fresh.Reveal(), latchkey.ErrRevoked)
		elsewhere("its parent revoked", child.Reveal(), latchkey.ErrParent)
	}
}

// A node that cannot keep up does not answer at all, rather than from an old state. Without wsrep_sync_wait it
// answers, which is why New refuses that.
func TestGaleraLaggingNode(t *testing.T) {
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Minute)
	defer cancel()
	dsns := galera.place(t)
	keys := galera.managers(t, dsns)
	unwaiting := strings.Replace(dsns[2], "wsrep_sync_wait=1", "wsrep_sync_wait=0", 1)
	blind, err := sqlstore.New(ctx, galera.nodes[2].Open(t, unwaiting), latchkey.MySQL,
		&sqlstore.Options{OnlyNode: true}) // which is not true
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, blind.Close()) })
	deceived := latchkey.New(blind, nil)
	t.Cleanup(func() { require.NoError(t, deceived.Close(context.Background())) })
	token, secret, err := keys[0].For("acme").Issue(ctx, latchkey.Spec{Kind: latchkey.KindAPIKey})
	require.NoError(t, err)
	presented := latchkey.Presented{Secret: secret.Reveal()}
	_, err = keys[2].Verify(ctx, presented)
	require.NoError(t, err)
	_, err = deceived.Verify(ctx, presented)
	require.NoError(t, err)

	// What comes from the other nodes is not applied for as long as this lock is held.
	held, err := galera.nodes[2].Admin.Conn(ctx)
	require.NoError(t, err)
	_, err = held.ExecContext(ctx, "FLUSH TABLES WITH READ LOCK")
	require.NoError(t, err)
	release := sync.OnceFunc(func() {
		_, err := held.ExecContext(ctx, "UNLOCK TABLES")
		require.NoError(t, errors.Join(err, held.Close()))
	})
	defer release()
	require.NoError(t, keys[0].For("acme").Revoke(ctx, token.ID, ""))
	_, err = keys[1].Verify(ctx, presented)
	require.ErrorIs(t, err, latchkey.ErrRevoked)
	_, err = deceived.Verify(ctx, presented)
	require.NoError(t, err, "the reason for what New refuses is gone: it need not refuse")
	short, cancelShort := context.WithTimeout(ctx, 500*time.Millisecond)
	defer cancelShort()
	_, err = keys[2].Verify(short, presented)
	require.ErrorIs(t, err, latchkey.ErrUnavailable)
	require.NotErrorIs(t, err, latchkey.ErrInvalidToken)

	waiting := make(chan error, 1)
	go func() {
		_, err := keys[2].Verify(ctx, presented)
		waiting <- err
	}()
	select {
	case err := <-waiting:
		t.Fatalf("answered while it could not know: %v", err)
	case <-time.After(200 * time.Millisecond):
	}
	release()
	require.ErrorIs(t, <-waiting, latchkey.ErrRevoked)
}

// Writers and pollers on all three nodes: no poller skips a change, and numbers have no gaps.
func TestGaleraNoChangeIsSkipped(t *testing.T) {
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Minute)
	defer cancel()
	dsns := galera.place(t)
	changes := harness.Rounds(12, 100)
	var stores [3]*sqlstore.Store
	for i, n := range galera.nodes {
		stores[i] = n.Store(t, dsns[i])
	}
	var all, polling sync.WaitGroup
	for i, s := range stores {
		owner := fmt.Sprint("owner ", i)
		all.Go(func() {
			for n := range changes {
				w := latchkey.Write{ID: world.WriteID(), Owner: owner, OwnerRecord: &latchkey.Owner{ID: owner, Version: uint64(n)}}
				epoch, err := world.WriteEpoch(ctx, s, w)
				require.NoError(t, err)
				feed, err := stores[(i+1)%3].Changes(ctx, 0, 0, 0)
				require.NoError(t, err)
				require.GreaterOrEqual(t, feed.Epoch, epoch, "what was acknowledged here is known there")
			}
		})
		polling.Go(func() {
			last := uint64(0)
			for last < uint64(3*changes) {
				feed, err := s.Changes(ctx, 0, last, 5)
				require.NoError(t, err)
				require.False(t, feed.Truncated)
				for _, c := range feed.Changes {
					require.Equal(t, last+1, c.Epoch)
					last = c.Epoch
				}
			}
		})
	}
	all.Wait()
	polling.Wait()
}

// Another node's transaction may end one of this node, and a SELECT that is being answered then does not report it.
// The next statement must not run by itself: the transaction is begun again, and nothing is half written. Sampled:
// LONG=1 tries all.
func TestGaleraTransactionsThatEndUnheard(t *testing.T) {
	ctx := context.Background()
	dsn := galera.place(t)[0]
	node := galera.nodes[0].Engine
	plain := node.Open(t, dsn)
	world.Build(t, harness.OpenStore(t, plain, node.Dialect))
	reset := world.Keep(t, plain)
	db, f := faulty.Open(t, node.Open(t, dsn), dsn)
	db.SetMaxOpenConns(1)
	injected := 0
	for _, op := range world.Operations() {
		reset()
		s := harness.OpenStore(t, db, node.Dialect)
		n := f.Count()
		want, err := op.Run(ctx, s)
		require.NoError(t, err, op.Name)
		statements := f.Statements(n)
		finished := world.Dump(t, plain)
		for i, statement := range statements {
			// Nothing is asked between the look at the savepoint and the COMMIT, which says how it ended.
			if statement.Text == "COMMIT" || !harness.Sampled(6) {
				continue
			}
			reset()
			require.NoError(t, s.Close())
			s = harness.OpenStore(t, db, node.Dialect)
			f.Begin(op.Name, i, false, faulty.Ended{})
			got, err := op.Run(ctx, s)
			about := fmt.Sprintf("%s, ended before %q", op.Name, f.Disarm())
			require.NoError(t, err, about)
			require.Equal(t, want, got, about)
			require.Equal(t, finished, world.Dump(t, plain), about)
			injected++
		}
	}
	t.Logf("%d times", injected)
	require.Greater(t, injected, harness.Rounds(20, 150))
	var autocommit bool
	require.NoError(t, db.QueryRow("SELECT @@SESSION.autocommit").Scan(&autocommit))
	require.True(t, autocommit, "the connection is as it was")
}

// One account, emptied from three nodes at once, each call made on two of them: never one credit over the limit, none
// lost, and no call that waits for ever.
func TestGaleraCredits(t *testing.T) {
	const limit, amount = 60, 2
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Minute)
	defer cancel()
	dsns := galera.place(t)
	var stores [3]*sqlstore.Store
	for i, n := range galera.nodes {
		stores[i] = n.Store(t, dsns[i])
	}
	err := stores[0].Write(ctx, world.Mint("acme", "t", 1))
	require.NoError(t, err)
	accounts := []latchkey.CreditAccount{{TokenID: "t", Meter: "calls", Limit: limit}, {Meter: "calls", Limit: 2 * limit}}
	var mu sync.Mutex
	granted := map[[16]byte]bool{}
	var over, unavailable atomic.Int64
	var all sync.WaitGroup
	for i, s := range stores {
		all.Go(func() {
			for n := range limit/amount + 5 {
				// The key of a call is that of a call on the next node too.
				key := [16]byte{1, byte((i + n%2) % 3), byte(n / 2)}
				_, err := s.Reserve(ctx, latchkey.Reservation{Owner: "acme", Key: key, Amount: amount, Accounts: accounts})
				switch {
				case err == nil:
					mu.Lock()
					granted[key] = true
					mu.Unlock()
				case errors.Is(err, latchkey.ErrOverLimit):
					over.Add(1)
				case errors.Is(err, latchkey.ErrUnavailable): // the others were first for ten seconds: nothing was taken
					unavailable.Add(1)
				default:
					t.Errorf("neither granted nor refused: %v", err)
				}
			}
		})
	}
	all.Wait()
	t.Logf("%d granted, %d refused, %d given up", len(granted), over.Load(), unavailable.Load())
	require.Positive(t, over.Load())
	var used, reserved int64
	db := galera.nodes[2].Open(t, dsns[2])
	require.NoError(t, db.QueryRow(`SELECT used FROM latchkey_credits WHERE token_id = 't'`).Scan(&used))
	require.NoError(t, db.QueryRow(`SELECT SUM(amount) FROM latchkey_reservations`).Scan(&reserved))
	require.Equal(t, int64(limit), used, "all of it and no more")
	require.Equal(t, used, reserved)
	require.Len(t, granted, limit/amount, "each grant was told, and once")

	// Given back on one node, it can be taken on another at once.
	for key := range granted {
		require.NoError(t, stores[1].Settle(ctx, "acme", key, 1))
		require.NoError(t, stores[2].Settle(ctx, "acme", key, 1))
		require.ErrorIs(t, stores[0].Settle(ctx, "acme", key, 2), latchkey.ErrConflict)
	}
	reserve, err := stores[2].Reserve(ctx, latchkey.Reservation{Owner: "acme", Key: [16]byte{2}, Amount: limit / 2,
		Accounts: slices.Clone(accounts)})
	require.NoError(t, err)
	require.Zero(t, reserve.Left)
}
