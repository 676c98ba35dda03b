package consistency

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"sync"
	"testing"
	"time"

	"github.com/anishathalye/porcupine"
	"github.com/stretchr/testify/require"

	"github.com/latchkey-go/latchkey"
	"github.com/latchkey-go/latchkey/e2e/internal/harness"
	"github.com/latchkey-go/latchkey/e2e/internal/world"
	"github.com/latchkey-go/latchkey/memstore"
)

// The calls of many callers and their answers are recorded. A checker of linearizability then looks for one order of
// all calls, each between its beginning and its end, in which a single caller would have got the same answers.

// history is the calls and their answers.
type history struct {
	mu    sync.Mutex
	began time.Time
	ops   []porcupine.Operation
}

func (h *history) do(client int, in any, call func() (out any)) {
	at := time.Since(h.began)
	out := call()
	end := time.Since(h.began)
	h.mu.Lock()
	defer h.mu.Unlock()
	h.ops = append(h.ops, porcupine.Operation{ClientId: client, Input: in, Call: at.Nanoseconds(), Output: out,
		Return: end.Nanoseconds()})
}

func (h *history) check(t *testing.T, model porcupine.Model) porcupine.CheckResult {
	t.Helper()
	result := porcupine.CheckOperationsTimeout(model, h.ops, 3*time.Minute)
	require.NotEqual(t, porcupine.Unknown, result, "%d operations are too many to judge", len(h.ops))
	return result
}

// debit is a call about credits: n taken, or n given back, which was never refused.
type debit struct {
	n    latchkey.Credits
	back bool
}

// accountOf is a model of one account. elsewhere is what each process other than the one that refuses may hold
// unspent at most: 0 is strict.
func accountOf(limit, elsewhere latchkey.Credits) porcupine.Model {
	return porcupine.Model{
		Init: func() any { return latchkey.Credits(0) },
		Step: func(state, input, output any) (bool, any) {
			used, in := state.(latchkey.Credits), input.(debit)
			switch {
			case in.back:
				return used >= in.n, used - in.n
			case output.(bool):
				return used+in.n <= limit, used + in.n
			}
			return used+in.n+elsewhere > limit, used
		},
		DescribeOperation: func(input, output any) string { return fmt.Sprint(input, output) },
	}
}

// spendAtOnce lets clients of several managers charge, reserve and settle until most of it is refused.
func spendAtOnce(t *testing.T, limit latchkey.Credits, managers ...*latchkey.Manager) *history {
	const clients, rounds = 8, 40
	harness.BeforeMidnight(t)
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Minute)
	defer cancel()
	_, secret, err := managers[0].For("acme "+world.NewID()).Issue(ctx, latchkey.Spec{Kind: latchkey.KindAPIKey,
		Limits: latchkey.Limits{Quotas: world.Monthly(limit)}})
	require.NoError(t, err)
	h := &history{began: time.Now()}
	var all sync.WaitGroup
	for c := range clients {
		access, err := managers[c%len(managers)].Verify(ctx, latchkey.Presented{Secret: secret.Reveal()})
		require.NoError(t, err)
		all.Go(func() {
			told := func(err error) bool {
				if err != nil && !errors.Is(err, latchkey.ErrOverLimit) {
					t.Errorf("a debit: %v", err)
				}
				return err == nil
			}
			for i := range rounds {
				n := latchkey.Credits(1 + rand.IntN(3))
				if i%2 == 0 {
					h.do(c, debit{n: n}, func() any { return told(world.Spend(ctx, access, "reads", n)) })
					continue
				}
				var hold *latchkey.Hold
				h.do(c, debit{n: n}, func() any {
					var err error
					hold, err = access.Reserve(ctx, "reads", "GET /", n)
					return told(err)
				})
				if hold == nil {
					continue
				}
				spent := latchkey.Credits(rand.IntN(int(n)))
				h.do(c, debit{n: n - spent, back: true}, func() any { return told(hold.Settle(ctx, spent)) })
			}
		})
	}
	all.Wait()
	return h
}

func TestCreditsAreLinearizable(t *testing.T) {
	const limit, block = 300, 40
	runs := harness.Rounds(3, 125) // of at least 320 operations each: 40,000 of each case
	blocks := &latchkey.Options{CreditLease: func(latchkey.Credits) latchkey.Credits { return block }}
	onBackends(t, func(t *testing.T, at backend) {
		open := func(opts *latchkey.Options) *latchkey.Manager {
			keys := latchkey.New(at.store(t), opts)
			t.Cleanup(func() { require.NoError(t, keys.Close(context.Background())) })
			return keys
		}
		for name, c := range map[string]struct {
			managers  []*latchkey.Manager
			elsewhere latchkey.Credits
		}{
			"two processes":             {managers: []*latchkey.Manager{open(nil), open(nil)}},
			"one process with blocks":   {managers: []*latchkey.Manager{open(blocks)}},
			"two processes with blocks": {[]*latchkey.Manager{open(blocks), open(blocks)}, 2 * block},
		} {
			t.Run(name, func(t *testing.T) {
				operations := 0
				for range runs {
					h := spendAtOnce(t, limit, c.managers...)
					require.Equal(t, porcupine.Ok, h.check(t, accountOf(limit, c.elsewhere)))
					operations += len(h.ops)
				}
				t.Logf("%d operations of %s on %s: %d histories, all linearizable", operations, name, at.Engine, runs)
			})
		}
	})
}

// Credits move between blocks and the store all the time here, and one process stays exact all the same.
func TestOneProcessWithBlocksIsLinearizable(t *testing.T) {
	for range 60 {
		keys := latchkey.New(memstore.New(nil), &latchkey.Options{
			CreditLease: func(latchkey.Credits) latchkey.Credits { return latchkey.Credits(8 + rand.IntN(20)) }})
		h := spendAtOnce(t, 150, keys)
		require.NoError(t, keys.Close(context.Background()))
		require.Equal(t, porcupine.Ok, h.check(t, accountOf(150, 0)))
	}
}

// lossy is a store that reads an account and writes it later: of two debits at once, one is lost.
type lossy struct {
	latchkey.Store
	mu     sync.Mutex
	asking int
}

func (s *lossy) Reserve(ctx context.Context, r latchkey.Reservation) (latchkey.Reserved, error) {
	s.mu.Lock()
	s.asking++
	lost := s.asking > 1 // somebody else has read, and will write over it
	s.mu.Unlock()
	got, err := s.Store.Reserve(ctx, r)
	if err == nil && lost {
		err = s.Store.Settle(ctx, r.Owner, r.Key, 0)
	}
	time.Sleep(100 * time.Microsecond)
	s.mu.Lock()
	s.asking--
	s.mu.Unlock()
	return got, err
}

func (s *lossy) Settle(ctx context.Context, owner string, key [16]byte, actual latchkey.Credits) error {
	if err := s.Store.Settle(ctx, owner, key, actual); !errors.Is(err, latchkey.ErrConflict) {
		return err
	}
	return nil
}

func TestALostUpdateIsNotLinearizable(t *testing.T) {
	store := &lossy{Store: memstore.New(nil)}
	h := spendAtOnce(t, 300, latchkey.New(store, nil), latchkey.New(store, nil))
	require.Equal(t, porcupine.Illegal, h.check(t, accountOf(300, 0)), "credits were spent twice, and nobody noticed")
	require.Equal(t, porcupine.Illegal, h.check(t, accountOf(300, 100)))
	// And one that refuses what there is.
	keys := latchkey.New(memstore.New(nil), nil)
	h = spendAtOnce(t, 300, keys)
	require.Equal(t, porcupine.Ok, h.check(t, accountOf(300, 0)))
	require.Equal(t, porcupine.Illegal, h.check(t, accountOf(310, 0)))
}

// look is a call about a token: a Verify, or a change of whether it is good.
type look struct {
	token int
	set   bool
	good  bool // what it is set to
}

// register is a token that is good or not: a Verify tells the last that was written. One that is revoked stays so.
var register = porcupine.Model{
	Partition: func(all []porcupine.Operation) [][]porcupine.Operation {
		byToken := map[int][]porcupine.Operation{}
		for _, op := range all {
			n := op.Input.(look).token
			byToken[n] = append(byToken[n], op)
		}
		var parts [][]porcupine.Operation
		for _, part := range byToken {
			parts = append(parts, part)
		}
		return parts
	},
	Init: func() any { return true },
	Step: func(state, input, output any) (bool, any) {
		if in := input.(look); in.set {
			return true, in.good
		}
		return output.(bool) == state.(bool), state
	},
	DescribeOperation: func(input, output any) string { return fmt.Sprint(input, output) },
}

// lookAtOnce switches tokens off and on through all managers in turn, and revokes them in the end, while others verify.
func lookAtOnce(t *testing.T, managers ...*latchkey.Manager) *history {
	const tokens, verifiers, switches = 3, 2, 5
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Minute)
	defer cancel()
	h := &history{began: time.Now()}
	owner := "acme " + world.NewID()
	var all sync.WaitGroup
	for n := range tokens {
		token, secret, err := managers[0].For(owner).Issue(ctx, latchkey.Spec{Kind: latchkey.KindAPIKey})
		require.NoError(t, err)
		done := make(chan struct{})
		var begun sync.WaitGroup // all have seen it as it was
		begun.Add(verifiers * len(managers))
		for v := range verifiers * len(managers) {
			keys := managers[v%len(managers)]
			all.Go(func() {
				begin := sync.OnceFunc(begun.Done)
				for last := false; !last; begin() {
					select {
					case <-done:
						last = true // once more, after everything
					default:
					}
					h.do(n*100+v, look{token: n}, func() any {
						_, err := keys.Verify(ctx, latchkey.Presented{Secret: secret.Reveal()})
						if err != nil && !errors.Is(err, latchkey.ErrInvalidToken) {
							t.Errorf("verify: %v", err)
						}
						return err == nil
					})
					time.Sleep(rand.N(time.Millisecond))
				}
			})
		}
		all.Go(func() {
			defer close(done)
			begun.Wait()
			for i := range switches {
				acme, good := managers[i%len(managers)].For(owner), i%2 == 1
				time.Sleep(rand.N(3 * time.Millisecond))
				h.do(n*100+99, look{token: n, set: true, good: good && i < switches-1}, func() any {
					var err error
					if i == switches-1 {
						err = acme.Revoke(ctx, token.ID, "")
					} else {
						_, err = acme.Update(ctx, token.ID, func(t *latchkey.Token) error {
							t.Disabled = !good
							return nil
						})
					}
					if err != nil {
						t.Errorf("a change: %v", err)
					}
					return nil
				})
			}
		})
	}
	all.Wait()
	return h
}

// With MaxStale 0 no Verify, on whatever node, is answered from before a change that had returned.
func TestRevocationIsLinearizable(t *testing.T) {
	onBackends(t, func(t *testing.T, at backend) {
		var managers []*latchkey.Manager
		for range 2 {
			keys := latchkey.New(at.store(t), nil)
			t.Cleanup(func() { require.NoError(t, keys.Close(context.Background())) })
			managers = append(managers, keys)
		}
		h := lookAtOnce(t, managers...)
		require.Equal(t, porcupine.Ok, h.check(t, register))
	})
}

// The checker notices a node that may be stale.
func TestAStaleNodeIsNotLinearizable(t *testing.T) {
	store := memstore.New(nil)
	stale := latchkey.New(store, &latchkey.Options{MaxStale: time.Hour})
	h := lookAtOnce(t, latchkey.New(store, nil), stale)
	require.NoError(t, stale.Close(context.Background()))
	require.Equal(t, porcupine.Illegal, h.check(t, register))
}
