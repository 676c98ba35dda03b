package consistency

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"os/exec"
	"strconv"
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

// backend is a database that several stores, and processes, open.
type backend struct{ Engine, DSN string }

// onBackends runs a test on a file of SQLite and on each server.
func onBackends(t *testing.T, test func(t *testing.T, at backend)) {
	t.Run("SQLite", func(t *testing.T) { test(t, backend{"SQLite", harness.WAL(harness.NewFile(t))}) })
	harness.OnTiDBToo(t, func(t *testing.T, e *harness.Engine) { test(t, backend{e.Name, e.Place(t)}) })
}

func (s backend) store(t testing.TB) *sqlstore.Store {
	for _, e := range harness.WithTiDB() {
		if e.Name == s.Engine {
			return e.Store(t, s.DSN)
		}
	}
	return harness.OpenSQLiteStore(t, harness.OpenSQLite(t, s.DSN))
}

// echo is a store that makes calls about credits twice at once now and then, as a driver that repeats a statement
// does, or loses the answer after the effect.
type echo struct {
	latchkey.Store
	repeats sync.WaitGroup

	mu             sync.Mutex
	lost           map[[16]byte]bool   // whose last answer was lost
	taken, refused map[[16]byte]string // reservations: their owners
}

func newEcho(s latchkey.Store) *echo {
	return &echo{Store: s, lost: map[[16]byte]bool{}, taken: map[[16]byte]string{}, refused: map[[16]byte]string{}}
}

func (s *echo) call(key [16]byte, f func() error) error {
	switch rand.IntN(20) {
	case 0, 1:
		s.repeats.Go(func() { _ = f() }) // it may come long after everything else
	case 2:
		if err := f(); err != nil {
			return err
		}
		s.mu.Lock()
		defer s.mu.Unlock()
		if s.lost[key] = !s.lost[key]; s.lost[key] { // who asks again is answered: or in the end somebody would never know
			return fmt.Errorf("the answer is lost: %w", latchkey.ErrUnknownOutcome)
		}
		return nil
	}
	return f()
}

func (s *echo) Reserve(ctx context.Context, r latchkey.Reservation) (latchkey.Reserved, error) {
	answer := make(chan latchkey.Reserved, 2)
	err := s.call(r.Key, func() error {
		got, err := s.Store.Reserve(ctx, r)
		if err == nil {
			answer <- got
			s.mu.Lock()
			defer s.mu.Unlock()
			s.taken[r.Key] = r.Owner
		}
		return err
	})
	if err != nil {
		if errors.Is(err, latchkey.ErrOverLimit) {
			s.mu.Lock()
			defer s.mu.Unlock()
			s.refused[r.Key] = r.Owner
		}
		return latchkey.Reserved{}, err
	}
	return <-answer, nil
}

func (s *echo) Adjust(ctx context.Context, owner string, key [16]byte, a latchkey.Adjustment) error {
	return s.call(key, func() error { return s.Store.Adjust(ctx, owner, key, a) })
}

func (s *echo) Settle(ctx context.Context, owner string, key [16]byte, actual latchkey.Credits) error {
	return s.call(key, func() error { return s.Store.Settle(ctx, owner, key, actual) })
}

// lapse gives back at once what otherwise lapses: a reservation was refused, and credits were free by the time its
// repeat came.
func (s *echo) lapse(ctx context.Context) error {
	s.repeats.Wait()
	s.mu.Lock()
	defer s.mu.Unlock()
	for key, owner := range s.refused {
		if _, taken := s.taken[key]; taken {
			if err := s.Store.Settle(ctx, owner, key, 0); err != nil {
				return err
			}
		}
	}
	return nil
}

// spenderJob is the variable that makes this program a spender.
const spenderJob = "LATCHKEY_E2E_SPENDER"

// spending is the job of a process that spends.
type spending struct {
	Backend backend
	Secret  string
	Block   latchkey.Credits
	Clients int
	Cancels bool
}

// spend spends until there is nothing left. Each line it prints is an amount that was acknowledged, with "?" before
// it one that may have been spent.
func spend(t *testing.T, job spending) {
	ctx := context.Background()
	store := newEcho(job.Backend.store(t))
	keys := latchkey.New(store,
		&latchkey.Options{CreditLease: func(latchkey.Credits) latchkey.Credits { return job.Block }})
	access, err := keys.Verify(ctx, latchkey.Presented{Secret: job.Secret})
	require.NoError(t, err)
	var out sync.Mutex
	say := func(format string, args ...any) {
		out.Lock()
		defer out.Unlock()
		fmt.Printf(format+"\n", args...)
	}
	one := func(ctx context.Context, i int) error {
		n := latchkey.Credits(1 + rand.IntN(3))
		if i%3 != 0 {
			err := world.Spend(ctx, access, "reads", n)
			if err == nil {
				say("%d", n)
			} else if !errors.Is(err, latchkey.ErrOverLimit) {
				say("?%d", n)
			}
			return err
		}
		hold, err := access.Reserve(ctx, "reads", "GET /", n)
		if err != nil {
			return err // nothing is spent of what was perhaps reserved
		}
		var both sync.WaitGroup
		var settled [2]error
		for i := range settled {
			both.Go(func() { settled[i] = hold.Settle(context.WithoutCancel(ctx), n-1) })
		}
		both.Wait()
		if err := errors.Join(settled[:]...); err != nil {
			say("?%d", n)
			return err
		}
		if n > 1 {
			say("%d", n-1)
		}
		return nil
	}
	say("ready")
	_, _ = bufio.NewReader(os.Stdin).ReadString('\n') // all processes begin at once
	var all sync.WaitGroup
	for range job.Clients {
		all.Go(func() {
			for i, refused := 0, false; !refused; i++ {
				ctx, cancel := context.WithTimeout(ctx, time.Minute)
				if job.Cancels {
					time.Sleep(rand.N(4 * time.Millisecond)) // so that the kill comes in the middle
					if rand.IntN(10) == 0 {
						time.AfterFunc(rand.N(3*time.Millisecond), cancel)
					}
				}
				err := one(ctx, i)
				cancel()
				switch {
				case errors.Is(err, latchkey.ErrOverLimit):
					refused = true
				case err != nil && !errors.Is(err, latchkey.ErrUnavailable) && !errors.Is(err, latchkey.ErrUnknownOutcome):
					t.Errorf("a debit: %v", err)
					return
				}
			}
		})
	}
	all.Wait()
	require.NoError(t, store.lapse(ctx))
	for try := 0; ; try++ { // answers are lost here too
		if err = keys.Close(ctx); err == nil || try == 20 {
			break
		}
	}
	require.NoError(t, err)
	require.NoError(t, store.lapse(ctx))
	say("closed")
}

// spender is a process that spends.
type spender struct {
	cmd            *exec.Cmd
	acked, perhaps atomic.Int64
	closed         atomic.Bool
	ready, ended   chan struct{}
	begin          io.WriteCloser
}

func startSpender(t *testing.T, job spending) *spender {
	text, err := json.Marshal(job)
	require.NoError(t, err)
	p := &spender{cmd: exec.Command(os.Args[0], "-test.run=^TestCreditsOfManyProcesses$"),
		ready: make(chan struct{}), ended: make(chan struct{})}
	p.cmd.Env = append(os.Environ(), spenderJob+"="+string(text))
	p.cmd.Stderr = os.Stderr
	out, err := p.cmd.StdoutPipe()
	require.NoError(t, err)
	p.begin, err = p.cmd.StdinPipe()
	require.NoError(t, err)
	require.NoError(t, p.cmd.Start())
	t.Cleanup(func() {
		_ = p.cmd.Process.Kill()
		<-p.ended
	})
	go func() {
		defer close(p.ended)
		for lines := bufio.NewScanner(out); lines.Scan(); {
			text, sum := lines.Text(), &p.acked
			if text != "" && text[0] == '?' {
				text, sum = text[1:], &p.perhaps
			}
			if n, err := strconv.Atoi(text); err == nil {
				sum.Add(int64(n))
			} else if text == "ready" {
				close(p.ready)
			} else if text == "closed" {
				p.closed.Store(true)
			}
		}
		_ = p.cmd.Wait()
	}()
	return p
}

// Three processes of 64 clients each spend one account at the same time, while statements are repeated and answers
// are lost. In one run all end well: every credit is accounted for. In another some callers leave and one process is
// killed: no more is acknowledged than there was, and what the dead process had not spent comes back, except for what
// it had pledged.
func TestCreditsOfManyProcesses(t *testing.T) {
	if text := os.Getenv(spenderJob); text != "" {
		var job spending
		require.NoError(t, json.Unmarshal([]byte(text), &job))
		spend(t, job)
		return
	}
	onBackends(t, func(t *testing.T, at backend) {
		for name, killed := range map[string]bool{"clean": false, "killed": true} {
			t.Run(name, func(t *testing.T) {
				for try := 0; !manyProcesses(t, at, fmt.Sprint(name, try), killed); try++ {
					require.Less(t, try, 10, "none of them could be killed")
				}
			})
		}
	})
}

// killOne kills the first that has spent n. Nil: they had all ended before this process came to it.
func killOne(all []*spender, n int64) *spender {
	for running := true; running; time.Sleep(time.Millisecond) {
		running = false
		for _, p := range all {
			select {
			case <-p.ended:
				continue
			default:
				running = true
			}
			if p.acked.Load() < n {
				continue
			}
			_ = p.cmd.Process.Kill()
			if <-p.ended; !p.closed.Load() {
				return p
			}
		}
	}
	return nil
}

// manyProcesses is false if one was to be killed, and all were too quick for that.
func manyProcesses(t *testing.T, at backend, owner string, killed bool) bool {
	const limit, block, clients, processes = 24_000, 400, 64, 3
	harness.BeforeMidnight(t)
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Minute)
	defer cancel()
	store := at.store(t)
	keys := latchkey.New(store, &latchkey.Options{CreditLease: latchkey.Hundredth})
	acme := keys.For(owner)
	require.NoError(t, acme.Configure(ctx, func(o *latchkey.Owner) error {
		o.Limits.Quotas = world.Monthly(2 * limit)
		return nil
	}))
	token, secret, err := acme.Issue(ctx, latchkey.Spec{Kind: latchkey.KindAPIKey,
		Limits: latchkey.Limits{Quotas: world.Monthly(limit)}})
	require.NoError(t, err)
	used := func(tokenID string) latchkey.Credits {
		period, key := time.Now().UTC().Format("2006-01"), world.WriteID()
		got, err := store.Reserve(ctx,
			latchkey.Reservation{Owner: owner, Key: key, Amount: 1, Accounts: []latchkey.CreditAccount{
				{TokenID: tokenID, Meter: "reads", Period: period, Limit: 10 * limit}}})
		require.NoError(t, err)
		require.NoError(t, store.Settle(ctx, owner, key, 0))
		return 10*limit - 1 - got.Left
	}

	var all [processes]*spender
	for i := range all {
		all[i] = startSpender(t,
			spending{Backend: at, Secret: secret.Reveal(), Block: block, Clients: clients, Cancels: killed})
	}
	for _, p := range all {
		select {
		case <-p.ready:
		case <-p.ended:
			t.Fatal("it ended before it began")
		}
	}
	for _, p := range all {
		_, err := p.begin.Write([]byte("go\n"))
		require.NoError(t, err)
	}
	var dead *spender
	if killed {
		if dead = killOne(all[:], limit/20); dead == nil {
			return false
		}
	}
	var acked, perhaps latchkey.Credits
	for i, p := range all {
		<-p.ended
		require.Equal(t, p != dead, p.closed.Load(), "process %d", i)
		acked += latchkey.Credits(p.acked.Load())
		perhaps += latchkey.Credits(p.perhaps.Load())
	}
	require.LessOrEqual(t, acked, latchkey.Credits(limit))
	require.LessOrEqual(t, used(token.ID), latchkey.Credits(limit))
	if killed {
		// By a time that is ahead by more than a Hold and the lease of a block.
		for n := 100; n == 100; {
			n, err = store.Purge(ctx, latchkey.PurgePolicy{Now: time.Now().Add(16 * time.Minute), Expired: -1, Revoked: -1}, 100)
			require.NoError(t, err)
		}
	}
	taken := used(token.ID)
	require.Equal(t, taken, used(""), "all accounts of a debit agree")
	lost := taken - acked
	how := map[bool]string{false: "all end well", true: "one is killed"}[killed]
	t.Logf("%d processes on %s, %s: of %d credits %d acknowledged, %d without an answer, %d lost", processes, at.Engine,
		how, limit, acked, perhaps, lost)
	if killed {
		// Of two blocks an eighth and one debit each, and what was on its way to 64 clients.
		require.GreaterOrEqual(t, lost, latchkey.Credits(0))
		require.LessOrEqual(t, lost, latchkey.Credits(2*(block/8+3)+3*clients)+perhaps)
	} else {
		require.Zero(t, perhaps)
		require.Zero(t, lost, "after a clean stop every credit is accounted for")
	}
	access, err := acme.Verify(ctx, latchkey.Presented{Secret: secret.Reveal()})
	require.NoError(t, err)
	rest := latchkey.Credits(0)
	for ; err == nil; rest++ {
		err = world.Spend(ctx, access, "reads", 1)
	}
	require.ErrorIs(t, err, latchkey.ErrOverLimit)
	require.Equal(t, limit-taken, rest-1, "the survivors spend the rest, to the last one")
	require.NoError(t, keys.Close(ctx))
	require.EqualValues(t, limit, used(token.ID))
	return true
}
