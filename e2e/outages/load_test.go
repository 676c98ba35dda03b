package outages

import (
	"bytes"
	"context"
	"database/sql"
	"encoding/binary"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/latchkey-go/latchkey"
	"github.com/latchkey-go/latchkey/e2e/internal/world"
	"github.com/latchkey-go/latchkey/sqlstore"
)

// worker makes every kind of write, over and over, on records of its own and on accounts that all share. What it does
// is known in advance, step by step, so that what must be there after n steps is known too. Each step can be
// repeated.
type worker struct {
	id    int
	owner string // shared with others
}

// cycle is how many steps a worker takes until it begins anew, with the next token.
const cycle = 10

func newWorker(id int) worker { return worker{id, fmt.Sprint("owner ", id%2)} }

func (w worker) token(c int) string { return fmt.Sprintf("w%02d-%05d", w.id, c) }

func (w worker) role() string { return fmt.Sprintf("role-%02d", w.id) }

func (w worker) key(n int) (id [16]byte) {
	id[0] = 1
	binary.BigEndian.PutUint32(id[4:], uint32(w.id))
	binary.BigEndian.PutUint32(id[8:], uint32(n))
	return id
}

func (w worker) digest(n int) [32]byte {
	k := w.key(n)
	return [32]byte(slices.Concat(k[:], k[:]))
}

func (w worker) accounts() []latchkey.CreditAccount {
	return []latchkey.CreditAccount{{TokenID: w.role(), Meter: "calls", Limit: 1 << 40}, {Meter: "calls", Limit: 1 << 40}}
}

// begin makes what the first step needs.
func (w worker) begin(ctx context.Context, s *sqlstore.Store) error {
	err := s.Write(ctx, latchkey.Write{ID: w.key(1 << 30), Owner: w.owner, At: world.Noon,
		Roles: []latchkey.Role{{ID: w.role(), Owner: w.owner, Name: w.role()}}})
	return err
}

// once is the step that a repeat may refuse as done.
const once = 7

// step does step n.
func (w worker) step(ctx context.Context, s *sqlstore.Store, n int) error {
	c, base := n/cycle, n-n%cycle
	write := latchkey.Write{ID: w.key(n), Owner: w.owner, At: world.Noon}
	write.Events = []latchkey.Event{{At: world.Noon, Action: "step", Object: fmt.Sprintf("%d/%d", w.id, n)}}
	token := world.Mint(w.owner, w.token(c), 0).Tokens[0]
	token.Roles = []string{w.role()}
	secret := latchkey.SecretRecord{Digest: w.digest(n), Created: world.Noon}
	switch n % cycle {
	case 0: // mint
		write.Silent = true
		write.Tokens, write.Secrets = []latchkey.Token{token}, []latchkey.SecretChange{{TokenID: token.ID, Add: &secret}}
		write.RequireRoles = []latchkey.Ref{{ID: w.role()}}
		write.Clients = []latchkey.Client{{ID: fmt.Sprint(w.id), Name: fmt.Sprint(c)}}
	case 1: // rotate
		write.Secrets = []latchkey.SecretChange{{TokenID: token.ID, Add: &secret, Retire: w.digest(base)}}
	case 2: // change a role
		write.Roles = []latchkey.Role{{ID: w.role(), Owner: w.owner, Name: fmt.Sprint(w.role(), " ", c),
			Version: uint64(c + 1)}}
	case 3, 4: // take credits; those of step 3 stay open
		_, err := s.Reserve(ctx, latchkey.Reservation{Owner: w.owner, Key: w.key(n), Amount: 5, Accounts: w.accounts()})
		return err
	case 5:
		return s.Settle(ctx, w.owner, w.key(n-1), 2)
	case 6:
		return s.AddUsage(ctx, latchkey.UsageBatch{ID: w.key(n), At: world.Noon, Rows: []latchkey.UsageRow{
			{Owner: w.owner, TokenID: token.ID, Meter: "calls", Day: "2026-11-22", Count: 1, Credits: 3}},
			Last: []latchkey.LastUsed{{Owner: w.owner, TokenID: token.ID, At: world.Noon.Add(time.Duration(n) * time.Second)}}})
	case once:
		return s.Once(ctx, w.owner, w.digest(n), world.Noon.Add(time.Hour))
	case 8: // revoke
		token.Version, token.Revoked = 1, world.Noon
		write.Tokens = []latchkey.Token{token}
	case 9: // delete every third
		if c%3 != 0 {
			return nil
		}
		write.DeleteTokens = []latchkey.Ref{{ID: token.ID, Version: 2}}
	}
	err := s.Write(ctx, write)
	return err
}

// check compares what is there with what done steps make: nothing missing, nothing twice, nothing more.
func (w worker) check(t testing.TB, s *sqlstore.Store, done int) {
	t.Helper()
	ctx := context.Background()
	usage, err := s.Usage(ctx, w.owner, latchkey.UsageQuery{By: []string{"token"}})
	require.NoError(t, err)
	counted := map[string]latchkey.UsageRow{}
	for _, row := range usage {
		counted[row.TokenID] = row
	}
	changes := 0
	for c := 0; c*cycle < done; c++ {
		base, steps := c*cycle, min(done-c*cycle, cycle)
		about := fmt.Sprintf("token %s after %d of its steps", w.token(c), steps)
		if steps > 2 {
			changes++
		}
		if steps > 6 {
			require.Equal(t, int64(1), counted[w.token(c)].Count, about)
			require.Equal(t, latchkey.Credits(3), counted[w.token(c)].Credits, about)
		} else {
			require.Zero(t, counted[w.token(c)].Count, about)
		}
		live, gone := w.digest(base), w.digest(base+1)
		if steps > 1 {
			live, gone = gone, live
		}
		_, err := s.ByDigest(ctx, 0, gone)
		require.ErrorIs(t, err, latchkey.ErrNotFound, about)
		f, err := s.ByDigest(ctx, 0, live)
		if steps > 9 && c%3 == 0 {
			require.ErrorIs(t, err, latchkey.ErrNotFound, about)
			continue
		}
		require.NoError(t, err, about)
		require.Equal(t, []string{w.role()}, f.Token.Roles, about)
		require.Len(t, f.Roles, 1, about)
		if steps > 6 {
			require.Equal(t, world.Noon.Add(time.Duration(base+6)*time.Second), f.Token.Used, about)
		}
		require.Equal(t, steps > 8, f.Token.Version == 2, about)
		require.Equal(t, steps > 8, !f.Token.Revoked.IsZero(), about)
	}
	role, err := s.Role(ctx, w.owner, w.role())
	require.NoError(t, err)
	require.Equal(t, uint64(1+changes), role.Version)
}

// checkRows compares what is counted best in the tables themselves, for all workers together.
func checkRows(t testing.TB, db *sql.DB, workers []worker, done []int) {
	t.Helper()
	var want []string
	open, settled, keys := 0, 0, 0
	for i, w := range workers {
		for n := range done[i] {
			switch k := n % cycle; {
			case k == 3, k == 4:
				open++
			case k == 5:
				open, settled = open-1, settled+1
			case k == once:
				keys++
			case k != 6 && (k != 9 || n/cycle%3 == 0):
				want = append(want, fmt.Sprintf("%d/%d", w.id, n))
			}
		}
	}
	slices.Sort(want)
	got := world.Column(t, db, `SELECT object FROM latchkey_events WHERE action = 'step'`)
	slices.Sort(got)
	require.Equal(t, want, got, "each event once")
	number := func(query string) int {
		n, err := strconv.Atoi(world.Column(t, db, query)[0])
		require.NoError(t, err)
		return n
	}
	require.Equal(t, open, number(`SELECT COUNT(*) FROM latchkey_reservations WHERE actual IS NULL`))
	require.Equal(t, settled, number(`SELECT COUNT(*) FROM latchkey_reservations WHERE actual = 2`))
	require.Equal(t, 2*(5*open+2*settled), number(`SELECT SUM(used) FROM latchkey_credits`),
		"what both accounts say is used")
	require.Equal(t, keys, number(`SELECT COUNT(*) FROM latchkey_once`))
}

// crew is workers in this process. They repeat what was refused as unavailable, or has an unknown outcome.
type crew struct {
	t     *testing.T
	ctx   context.Context
	store *sqlstore.Store
	// patience is each try's deadline; 0: none.
	patience time.Duration
	workers  []worker
	done     []int // steps of each; for use when all have ended
	all      sync.WaitGroup
	stop     atomic.Bool

	steps, unavailable, unknown atomic.Int64
}

func newCrew(ctx context.Context, t *testing.T, s *sqlstore.Store, n int) *crew {
	c := &crew{}
	c.begin(ctx, t, s, n)
	return c
}

func (c *crew) begin(ctx context.Context, t *testing.T, s *sqlstore.Store, n int) {
	c.t, c.ctx, c.store, c.done = t, ctx, s, make([]int, n)
	for i := range n {
		c.workers = append(c.workers, newWorker(i))
		require.NoError(t, c.workers[i].begin(ctx, s))
	}
	t.Cleanup(func() { // of a test that failed
		c.stop.Store(true)
		c.all.Wait()
	})
	for i := range n {
		c.all.Go(func() { c.work(i) })
	}
}

// step tries step n of a worker once.
func (c *crew) step(i, n int) error {
	ctx := c.ctx
	if c.patience > 0 {
		limited, cancel := context.WithTimeout(ctx, c.patience)
		defer cancel()
		ctx = limited
	}
	return c.workers[i].step(ctx, c.store, n)
}

func (c *crew) work(i int) {
	for n := 0; !c.stop.Load(); n++ {
		for doubt := false; ; {
			err := c.step(i, n)
			if err == nil || doubt && n%cycle == once && errors.Is(err, latchkey.ErrExists) {
				break
			}
			switch {
			case errors.Is(err, latchkey.ErrUnknownOutcome):
				doubt = true
				c.unknown.Add(1)
			case errors.Is(err, latchkey.ErrUnavailable):
				c.unavailable.Add(1)
			default:
				c.t.Errorf("worker %d, step %d: of a store that is away a caller hears only that: %v", i, n, err)
				return
			}
			if c.ctx.Err() != nil && c.stop.Load() {
				return
			}
			if c.ctx.Err() != nil {
				c.t.Errorf("worker %d, step %d: it did not recover: %v", i, n, err)
				return
			}
			time.Sleep(5 * time.Millisecond)
		}
		c.done[i] = n + 1
		c.steps.Add(1)
	}
}

// progress waits until n steps more are done.
func (c *crew) progress(n int64) {
	c.t.Helper()
	for until := c.steps.Load() + n; c.steps.Load() < until; time.Sleep(5 * time.Millisecond) {
		require.NoError(c.t, c.ctx.Err(), "it did not go on")
	}
}

// refused waits until n more calls were refused as unavailable, or had an unknown outcome.
func (c *crew) refused(n int64) {
	c.t.Helper()
	was := c.unavailable.Load() + c.unknown.Load()
	for c.unavailable.Load()+c.unknown.Load() < was+n {
		require.NoError(c.t, c.ctx.Err(), "nobody was refused")
		time.Sleep(time.Millisecond)
	}
}

// finish lets all end the step they are at, and checks everything.
func (c *crew) finish(db *sql.DB) {
	c.t.Helper()
	c.stop.Store(true)
	c.all.Wait()
	c.t.Logf("%d steps, %d times unavailable, %d times of unknown outcome", c.steps.Load(), c.unavailable.Load(),
		c.unknown.Load())
	require.Positive(c.t, c.unavailable.Load()+c.unknown.Load())
	for i, w := range c.workers {
		w.check(c.t, c.store, c.done[i])
	}
	checkRows(c.t, db, c.workers, c.done)
	require.Empty(c.t, world.Walk(c.t, db))
}

// acked gathers what a writing process said was done: lines "worker step", each written before the next step began.
type acked struct {
	rest []byte
	done map[int]int // by worker: steps
	all  int
}

func (a *acked) read(p []byte) {
	a.rest = append(a.rest, p...)
	for {
		line, rest, whole := bytes.Cut(a.rest, []byte("\n"))
		if !whole {
			return
		}
		var w, n int
		if _, err := fmt.Sscanf(string(line), "%d %d", &w, &n); err == nil {
			a.done[w] = n + 1
			a.all++
		}
		a.rest = rest
	}
}
