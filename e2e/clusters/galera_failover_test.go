package clusters

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/latchkey-go/latchkey"
	"github.com/latchkey-go/latchkey/e2e/internal/world"
	"github.com/latchkey-go/latchkey/memstore"
	"github.com/latchkey-go/latchkey/sqlstore"
)

// loadOnNodes mints, revokes and debits on the first of some stores that answers, and repeats there, with the same
// id, what an earlier one left unanswered. So all of it is acknowledged in the end, and once.
type loadOnNodes struct {
	stores []*sqlstore.Store
	before uint64       // the epoch at the start
	first  atomic.Int32 // the store that is asked first
	done   atomic.Int32 // rounds acknowledged
	moved  atomic.Int64 // ns: when something was acknowledged after a move for the first time
	stop   atomic.Bool
	all    sync.WaitGroup

	mu     sync.Mutex
	tokens []string // minted and revoked
	failed error
}

const loadOwner, loadLimit = "load", 1_000_000

func loadPurse() []latchkey.CreditAccount {
	return []latchkey.CreditAccount{{Meter: "calls", Limit: loadLimit}}
}

func (l *loadOnNodes) begin(ctx context.Context, t testing.TB, workers int) {
	feed, err := l.stores[0].Changes(ctx, 0, 0, 0)
	require.NoError(t, err)
	l.before = feed.Epoch
	for g := range workers {
		l.all.Go(func() {
			for i := 0; !l.stop.Load(); i++ {
				if err := l.round(ctx, g, i); err != nil {
					l.mu.Lock()
					l.failed = errors.Join(l.failed, err)
					l.mu.Unlock()
					return
				}
			}
		})
	}
}

func (l *loadOnNodes) round(ctx context.Context, g, i int) error {
	id := fmt.Sprintf("t-%02d-%06d", g, i)
	issue := world.Mint(loadOwner, id, 100_000*g+i)
	gone := issue.Tokens[0]
	gone.Version, gone.Revoked = 1, world.Noon
	revoke := latchkey.Write{ID: world.WriteID(), Owner: loadOwner, At: world.Noon, Tokens: []latchkey.Token{gone}}
	debit := latchkey.Reservation{Owner: loadOwner, Key: world.WriteID(), Amount: 1, Accounts: loadPurse()}
	for _, call := range []func(s *sqlstore.Store) error{
		func(s *sqlstore.Store) error { err := s.Write(ctx, issue); return err },
		func(s *sqlstore.Store) error { err := s.Write(ctx, revoke); return err },
		func(s *sqlstore.Store) error { _, err := s.Reserve(ctx, debit); return err },
	} {
		if err := l.settle(ctx, call); err != nil {
			return err
		}
	}
	l.mu.Lock()
	l.tokens = append(l.tokens, id)
	l.mu.Unlock()
	l.done.Add(1)
	return nil
}

func (l *loadOnNodes) settle(ctx context.Context, call func(*sqlstore.Store) error) error {
	for ; ; time.Sleep(5 * time.Millisecond) {
		at := l.first.Load()
		err := call(l.stores[at])
		if err == nil && at > 0 {
			l.moved.CompareAndSwap(0, time.Now().UnixNano())
		}
		if !errors.Is(err, latchkey.ErrUnavailable) && !errors.Is(err, latchkey.ErrUnknownOutcome) || ctx.Err() != nil {
			return err
		}
		l.first.CompareAndSwap(at, min(at+1, int32(len(l.stores)-1)))
	}
}

// has waits for so many rounds.
func (l *loadOnNodes) has(t testing.TB, rounds int32) {
	t.Helper()
	require.Eventually(t, func() bool {
		l.mu.Lock()
		defer l.mu.Unlock()
		return l.done.Load() >= rounds || l.failed != nil
	}, 5*time.Minute, 5*time.Millisecond)
}

// check compares what was acknowledged with what is there: all of it, and nothing else.
func (l *loadOnNodes) check(t testing.TB, s *sqlstore.Store, where string) {
	t.Helper()
	ctx := context.Background()
	for _, id := range l.tokens {
		f, err := s.Load(ctx, loadOwner, id)
		require.NoError(t, err, "%s: %s", where, id)
		require.Equal(t, world.Noon, f.Token.Revoked, "%s: the revocation of %s is lost", where, id)
	}
	feed, err := s.Changes(ctx, 0, 0, 1)
	require.NoError(t, err)
	require.Equal(t, l.before+uint64(len(l.tokens)), feed.Epoch, where)
	probe := latchkey.Reservation{Owner: loadOwner, Key: world.WriteID(), Amount: 1, Accounts: loadPurse()}
	left, err := s.Reserve(ctx, probe)
	require.NoError(t, err, where)
	require.NoError(t, s.Settle(ctx, loadOwner, probe.Key, 0))
	require.Equal(t, latchkey.Credits(loadLimit-len(l.tokens)-1), left.Left, where)
}

// The node that is written to dies under load. The others go on. Neither they nor the node that comes back have lost
// what was acknowledged, or have any of it twice.
func TestGaleraNodeDies(t *testing.T) {
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Minute)
	defer cancel()
	dsns := galera.place(t)
	load := &loadOnNodes{}
	for i, n := range galera.nodes {
		load.stores = append(load.stores, n.Store(t, dsns[i]))
	}
	first := latchkey.New(load.stores[0], nil).For("acme")
	dead, deadSecret, err := first.Issue(ctx, latchkey.Spec{Kind: latchkey.KindAPIKey})
	require.NoError(t, err)
	_, liveSecret, err := first.Issue(ctx, latchkey.Spec{Kind: latchkey.KindAPIKey})
	require.NoError(t, err)
	require.NoError(t, first.Revoke(ctx, dead.ID, ""))
	load.begin(ctx, t, 4)
	load.has(t, 40)
	// Meanwhile the others are asked.
	var verified, unanswered atomic.Int64
	var verifiers sync.WaitGroup
	for _, s := range load.stores[1:] {
		keys := latchkey.New(s, nil)
		t.Cleanup(func() { require.NoError(t, keys.Close(context.Background())) })
		verifiers.Go(func() {
			for !load.stop.Load() {
				_, err := keys.Verify(ctx, latchkey.Presented{Secret: liveSecret.Reveal()})
				switch {
				case err == nil:
					verified.Add(1)
				case errors.Is(err, latchkey.ErrUnavailable):
					unanswered.Add(1)
				default:
					t.Errorf("a good token: %v", err)
					return
				}
				_, err = keys.Verify(ctx, latchkey.Presented{Secret: deadSecret.Reveal()})
				if !errors.Is(err, latchkey.ErrRevoked) && !errors.Is(err, latchkey.ErrUnavailable) {
					t.Errorf("a revoked token: %v", err)
					return
				}
			}
		})
	}
	killed := time.Now()
	galera.nodes[0].kill(t)
	load.has(t, load.done.Load()+40)
	load.stop.Store(true)
	load.all.Wait()
	verifiers.Wait()
	require.NoError(t, load.failed)
	require.Positive(t, verified.Load())
	t.Logf("%d verified, %d not answered", verified.Load(), unanswered.Load())
	t.Logf("%d rounds; writes went on %v after the kill", len(load.tokens),
		time.Unix(0, load.moved.Load()).Sub(killed).Round(time.Millisecond))
	for i, s := range load.stores[1:] {
		load.check(t, s, galera.nodes[i+1].Name)
	}
	back := time.Now()
	galera.whole(t)
	t.Logf("the node was back %v after its start", time.Since(back).Round(time.Millisecond))
	load.check(t, galera.nodes[0].Store(t, dsns[0]), "the node that came back")
}

// noUsage is a store that drops usage. A Manager writes it at times of its own, which a comparison of all rows would
// show.
type noUsage struct{ latchkey.Store }

func (noUsage) AddUsage(context.Context, latchkey.UsageBatch) error { return nil }

// One node of three is no majority. It answers nothing: no old state, and no empty one.
func TestGaleraNoQuorum(t *testing.T) {
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Minute)
	defer cancel()
	dsns := galera.place(t)
	last := galera.nodes[0]
	s := last.Store(t, dsns[0])
	world.Build(t, s)
	keys, cached := latchkey.New(noUsage{s}, nil), latchkey.New(noUsage{s}, &latchkey.Options{MaxStale: 2 * time.Second})
	for _, k := range []*latchkey.Manager{keys, cached} {
		t.Cleanup(func() { require.NoError(t, k.Close(context.Background())) })
	}
	token, secret, err := keys.For("globex").Issue(ctx, latchkey.Spec{Kind: latchkey.KindAPIKey})
	require.NoError(t, err)
	_, foreign, err := latchkey.New(memstore.New(nil), nil).For("globex").Issue(ctx,
		latchkey.Spec{Kind: latchkey.KindAPIKey})
	require.NoError(t, err)
	verify := func(k *latchkey.Manager, secret latchkey.Secret) error {
		_, err := k.Verify(ctx, latchkey.Presented{Secret: secret.Reveal()})
		return err
	}
	require.NoError(t, verify(keys, secret))
	require.NoError(t, verify(cached, secret))
	require.ErrorIs(t, verify(keys, foreign), latchkey.ErrUnknownToken)
	before := world.Dump(t, last.Open(t, dsns[0]))
	inTheMiddle, err := last.Open(t, dsns[0]).Begin()
	require.NoError(t, err)
	_, err = inTheMiddle.Exec("UPDATE latchkey_credits SET used = 0")
	require.NoError(t, err)

	for _, n := range galera.nodes[1:] {
		require.NoError(t, n.Process.Process.Kill())
	}
	for _, n := range galera.nodes[1:] {
		<-n.Ended
	}
	reading := map[string]bool{"ByDigest": true, "ByLookup": true, "Load": true, "Tokens": true, "Tokens:": true,
		"Count": true, "Ending": true, "Unused": true, "KeySecrets": true, "Undelivered": true, "Taken": true,
		"Revocations": true, "Secrets": true, "Role": true, "Roles": true, "Clients": true, "Owner": true, "Events": true,
		"Usage": true, "Changes": true}
	for round, when := range []string{"at first", "later"} {
		var all sync.WaitGroup
		for _, op := range world.Operations() {
			all.Go(func() {
				got, err := op.Run(ctx, s)
				if what, _, _ := strings.Cut(op.Name, " "); round == 0 && reading[what] && err == nil {
					return // before it noticed: and nobody is left who could know more
				}
				// Who was committing when the node noticed cannot know.
				if !errors.Is(err, latchkey.ErrUnavailable) && (round > 0 || !errors.Is(err, latchkey.ErrUnknownOutcome)) {
					t.Errorf("%s, %s: %v, %v", when, op.Name, got, err)
				}
			})
		}
		all.Wait()
		require.ErrorIs(t, verify(keys, secret), latchkey.ErrUnavailable)
		require.ErrorIs(t, verify(keys, foreign), latchkey.ErrUnavailable, "it may be somebody's")
	}
	require.ErrorIs(t, keys.For("globex").Revoke(ctx, token.ID, ""), latchkey.ErrUnavailable)
	require.Eventually(t, func() bool { return errors.Is(verify(cached, secret), latchkey.ErrUnavailable) },
		5*time.Minute, 50*time.Millisecond, "past the bound")
	_, err = sqlstore.New(ctx, last.Open(t, dsns[0]), latchkey.MySQL, nil)
	require.Error(t, err)
	require.ErrorContains(t, inTheMiddle.Commit(), "1047")

	// What Galera's manual tells an operator to do who is sure that the others are dead.
	_, err = last.Admin.Exec("SET GLOBAL wsrep_provider_options = 'pc.bootstrap=YES'")
	require.NoError(t, err)
	require.NoError(t, last.synced())
	require.NoError(t, verify(keys, secret))
	require.NoError(t, verify(cached, secret))
	require.Equal(t, before, world.Dump(t, last.Open(t, dsns[0])), "what was said to be undone was done")
	require.NoError(t, keys.For("globex").Revoke(ctx, token.ID, ""))
	if os.Getenv("LONG") == "" {
		return // TestGaleraNodeDies shows how a node comes back
	}
	galera.whole(t)
	elsewhere := latchkey.New(galera.nodes[2].Store(t, dsns[2]), nil)
	t.Cleanup(func() { require.NoError(t, elsewhere.Close(context.Background())) })
	require.ErrorIs(t, verify(elsewhere, secret), latchkey.ErrRevoked)
}
