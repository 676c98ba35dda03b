package sqlite

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
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
)

// The same Write comes several times at once, or several come with one id or digest. It is done once, and the writes
// beside it are done too.
func TestSQLiteMintsTwiceAtOnce(t *testing.T) {
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Minute)
	defer cancel()
	g := faulty.OpenGate(t, harness.Modernc, harness.WAL(harness.NewFile(t)))
	world.Build(t, g.Store)
	var all, first sync.WaitGroup
	open := g.Block(t, &first)
	var done, taken, same, beside atomic.Int64
	repeated := world.Mint("acme", "repeated", 5000)
	repeated.Events = []latchkey.Event{{At: world.Noon, Action: "token.issue"}}
	for i := range 8 {
		all.Go(func() {
			err := g.Write(ctx, repeated)
			require.NoError(t, err)
			done.Add(1)
		})
		all.Go(func() { // another Write of the same token
			w := world.Mint("acme", "contested", 5100+i)
			w.Events = []latchkey.Event{{At: world.Noon, Action: "token.issue"}}
			if err := g.Write(ctx, w); err != nil {
				require.ErrorIs(t, err, latchkey.ErrExists)
				return
			}
			taken.Add(1)
		})
		all.Go(func() { // another token of the same digest
			w := world.Mint("globex", fmt.Sprint("digest", i), 5200)
			w.Events = []latchkey.Event{{At: world.Noon, Action: "token.issue"}}
			if err := g.Write(ctx, w); err != nil {
				require.ErrorIs(t, err, latchkey.ErrExists)
				return
			}
			same.Add(1)
		})
		all.Go(func() {
			err := g.Write(ctx, world.Mint("acme", world.NewID(), 5300+i))
			require.NoError(t, err)
			beside.Add(1)
		})
	}
	time.Sleep(50 * time.Millisecond)
	open()
	all.Wait()
	first.Wait()
	require.EqualValues(t, 8, done.Load())
	require.EqualValues(t, 1, taken.Load())
	require.EqualValues(t, 1, same.Load())
	require.EqualValues(t, 8, beside.Load())
	list, err := world.Events(ctx, g, "acme")
	require.NoError(t, err)
	require.Len(t, list, 1+2)
	list, err = world.Events(ctx, g, "globex")
	require.NoError(t, err)
	require.Len(t, list, 1)
}

// Mints share transactions with all other writes, callers give up, and the database fails now and then. A mint that
// was reported done is there, once; one that was reported not done is not there. The numbers of events have no gap,
// nothing is minted after a revocation, and no transaction stays open.
func TestSQLiteMintsAmongOthers(t *testing.T) {
	background, cancel := context.WithTimeout(context.Background(), 5*time.Minute)
	defer cancel()
	g := faulty.OpenGate(t, harness.Modernc, harness.WAL(harness.NewFile(t)))
	world.Build(t, g.Store)
	const writers, rounds = 24, 30
	type written struct {
		w   latchkey.Write
		err error
	}
	results := make([][]written, writers)
	var all sync.WaitGroup
	stop := make(chan struct{})
	var spoiler sync.WaitGroup
	spoiler.Go(func() { // a statement fails, before its effect or after
		for n := 0; ; n++ {
			select {
			case <-stop:
				g.F.Disarm()
				return
			case <-time.After(5 * time.Millisecond):
				g.F.Begin("", rand.IntN(40), n%2 == 0, errors.New("the line is cut"))
			}
		}
	})
	for i := range writers {
		all.Go(func() {
			for n := range rounds {
				id := fmt.Sprintf("w%02d-%03d", i, n)
				w := world.Mint([]string{"acme", "globex", "third"}[rand.IntN(3)], id, 100_000+i*1000+n)
				switch rand.IntN(8) {
				case 0: // not silent: no mint
					w.Silent = false
				case 1:
					w.Tokens[0].Roles = []string{world.RoleID}
				case 2: // more than share statements
					for k := range 5 {
						m := world.Mint(w.Owner, fmt.Sprintf("%s-%d", id, k), int(faulty.Blocked.Add(1)))
						w.Tokens, w.Secrets = append(w.Tokens, m.Tokens...), append(w.Secrets, m.Secrets...)
					}
				case 3:
					w.Clients = []latchkey.Client{{ID: fmt.Sprint(n % 3), Name: fmt.Sprint("name", i)}}
				case 4:
					w.RequireTokens = []latchkey.Ref{{ID: "nobody"}}
				}
				w.Events = []latchkey.Event{{At: world.Noon, Action: "token.issue", Object: id}}
				ctx, leave := background, context.CancelFunc(func() {})
				if rand.IntN(6) == 0 {
					ctx, leave = context.WithTimeout(background, time.Duration(rand.IntN(5000))*time.Microsecond)
				}
				err := g.Write(ctx, w)
				leave()
				results[i] = append(results[i], written{w, err})
			}
		})
	}
	all.Wait()
	close(stop)
	spoiler.Wait()

	seen := map[string]int{}
	for _, owner := range []string{"acme", "globex", "third"} {
		var after uint64
		list, err := world.Events(background, g, owner)
		require.NoError(t, err)
		for _, event := range list {
			require.Equal(t, after+1, event.Seq, owner)
			after = event.Seq
			seen[event.Object]++
		}
	}
	counts := map[string]int{}
	for _, list := range results {
		for _, r := range list {
			_, err := g.Load(background, r.w.Owner, r.w.Tokens[0].ID)
			found := err == nil
			if err != nil {
				require.ErrorIs(t, err, latchkey.ErrNotFound)
			}
			n := seen[r.w.Tokens[0].ID]
			require.Equal(t, found, n == 1, "a token with its event, or neither")
			require.LessOrEqual(t, n, 1)
			switch {
			case r.err == nil:
				counts["done"]++
				require.True(t, found, "acknowledged and lost")
			case errors.Is(r.err, latchkey.ErrUnknownOutcome):
				counts["in doubt"]++
			case errors.Is(r.err, latchkey.ErrConflict):
				counts["conflict"]++
				require.False(t, found)
				require.Len(t, r.w.RequireTokens, 1)
			default:
				counts["not done"]++
				require.ErrorIs(t, r.err, latchkey.ErrUnavailable)
				require.False(t, found, "refused and done: %v", r.err)
			}
			if len(r.w.RequireTokens) == 0 {
				err := g.Write(background, r.w)
				require.NoError(t, err, "the same write settles it")
			}
		}
	}
	t.Log(counts)
	require.Positive(t, counts["done"])
}

// A driver's panic reaches one caller, the leader of the batch. The writes of the others are done.
func TestSQLiteMintsPanic(t *testing.T) {
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	g := faulty.OpenGate(t, harness.Modernc, harness.WAL(harness.NewFile(t)))
	world.Build(t, g.Store)
	var armed atomic.Bool
	held := g.F.Before
	g.F.Before = func(text string) {
		held(text)
		if strings.Contains(text, "INSERT OR FAIL INTO latchkey_secrets") && armed.CompareAndSwap(true, false) {
			panic("the driver's")
		}
	}
	var all, first sync.WaitGroup
	var panics, done atomic.Int64
	open := g.Block(t, &first)
	for i := range 20 {
		all.Go(func() {
			defer func() {
				if recover() != nil {
					panics.Add(1)
				}
			}()
			err := g.Write(ctx, world.Mint("acme", fmt.Sprint("p", i), 6000+i))
			require.NoError(t, err)
			done.Add(1)
		})
	}
	time.Sleep(100 * time.Millisecond)
	armed.Store(true)
	open()
	all.Wait()
	first.Wait()
	require.EqualValues(t, 1, panics.Load())
	require.EqualValues(t, 19, done.Load())
}

// Mints that are repeated, as after an unknown outcome, do not keep others from sharing a commit.
func TestSQLiteMintsRepeatedShareCommits(t *testing.T) {
	ctx := context.Background()
	for _, repeats := range []int{1, 32} {
		commits := 0
		for try := range 6 { // a slow machine may need longer until they queue
			g := faulty.OpenGate(t, harness.Modernc, harness.WAL(harness.NewFile(t)))
			world.Build(t, g.Store)
			writes := make([]latchkey.Write, 32)
			for i := range writes {
				writes[i] = world.Mint("acme", fmt.Sprint("r", i), 7000+i)
				if i < repeats {
					err := g.Write(ctx, writes[i])
					require.NoError(t, err)
				}
			}
			var all, first sync.WaitGroup
			open := g.Block(t, &first)
			before := g.Commits()
			for _, w := range writes {
				all.Go(func() {
					err := g.Write(ctx, w)
					require.NoError(t, err)
				})
			}
			time.Sleep(50 * time.Millisecond << try)
			open()
			all.Wait()
			first.Wait()
			if commits = g.Commits() - before; commits < 16 {
				break
			}
		}
		require.Less(t, commits, 16, "%d repeated", repeats)
	}
}
