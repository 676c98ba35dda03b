package nodes

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/latchkey-go/latchkey"
	"github.com/latchkey-go/latchkey/e2e/internal/harness"
	"github.com/latchkey-go/latchkey/e2e/internal/world"
	"github.com/latchkey-go/latchkey/sqlstore"
)

// sighting is what one watcher in one process saw of one change.
type sighting struct {
	node              int
	lastOld, firstNew int64
}

// judge returns what breaks the promise: no Verify that began later than bound after the change returned is answered
// from before it, and none at all in the process that made the change.
func judge(change *nodeChange, bound time.Duration, maker int, began, returned int64, saw []sighting) (wrong []string) {
	for _, s := range saw {
		allowed := max(bound, change.late)
		if s.node == maker {
			allowed = change.late
		}
		if late := time.Duration(s.lastOld - returned); late > allowed {
			wrong = append(wrong, fmt.Sprintf("%s, made by node %d: node %d answered as before %v after it had returned; "+
				"%v is allowed", change.name, maker, s.node, late, allowed))
		}
		if s.firstNew < began {
			wrong = append(wrong, fmt.Sprintf("%s: node %d obeyed before it was made", change.name, s.node))
		}
	}
	return wrong
}

// judge tells right from wrong.
func TestJudge(t *testing.T) {
	at := func(d time.Duration) int64 { return int64(time.Hour + d) }
	plain, late := &nodeChange{}, &nodeChange{late: time.Second}
	for _, c := range []struct {
		name           string
		change         *nodeChange
		bound, lastOld time.Duration
		node           int
		wrong          bool
	}{
		{"as before, while it was made", plain, 0, -time.Nanosecond, 1, false},
		{"as before, at the moment it returned", plain, 0, 0, 1, false},
		{"as before, after it returned", plain, 0, time.Nanosecond, 1, true},
		{"as before, within the bound", plain, time.Second, time.Second, 1, false},
		{"as before, past the bound", plain, time.Second, time.Second + 1, 1, true},
		{"as before, within the bound, where it was made", plain, time.Second, time.Millisecond, 0, true},
		{"before it holds", late, 0, time.Second, 0, false},
		{"after it holds", late, time.Millisecond, time.Second + 1, 1, true},
	} {
		wrong := judge(c.change, c.bound, 0, at(-time.Minute), at(0), []sighting{{c.node, at(c.lastOld), at(2 * time.Hour)}})
		require.Equal(t, c.wrong, len(wrong) > 0, c.name)
	}
	require.NotEmpty(t, judge(plain, 0, 0, at(0), at(1), []sighting{{1, at(-2), at(-1)}}), "obeyed before it was made")
}

// everyChange lets processes over one database make changes, several at once and in any order, while all of them verify
// what is changed. It returns what broke the promise.
func everyChange(t *testing.T, e *harness.NodeEngine, dsn string, claimed time.Duration, spec nodeSpec,
	changes []nodeChange) (wrong []string) {
	const processes, watchers, atOnce = 3, 2, 3
	var nodes []*nodeHandle
	spec.DSN = dsn
	for i := range processes {
		nodes = append(nodes, startNode(t, e, fmt.Sprint(i), spec))
	}
	changes = slices.Clone(changes)
	rand.Shuffle(len(changes), func(i, j int) { changes[i], changes[j] = changes[j], changes[i] })
	var mu sync.Mutex
	work := make(chan *nodeChange)
	var all sync.WaitGroup
	for range atOnce {
		all.Go(func() {
			for c := range work {
				found, err := oneChange(nodes, watchers, claimed, spec.Lag, c)
				if err != nil {
					t.Errorf("%s: %v", c.name, err)
				}
				mu.Lock()
				wrong = append(wrong, found...)
				mu.Unlock()
			}
		})
	}
	for i := range changes {
		work <- &changes[i]
	}
	close(work)
	all.Wait()
	return wrong
}

func oneChange(nodes []*nodeHandle, watchers int, claimed, lag time.Duration, c *nodeChange) (
	wrong []string, err error) {
	maker := rand.N(len(nodes))
	made := nodes[rand.N(len(nodes))].do(nodeOrder{Do: "make", Change: c.name, Owner: world.NewID()})
	if made.Err != "" {
		return nil, errors.New(made.Err)
	}
	type watcher struct {
		node    int
		replies chan nodeReply
	}
	var watching []watcher
	for i, n := range nodes {
		for range watchers {
			watching = append(watching, watcher{i, n.send(nodeOrder{Do: "watch", Target: made.Body})})
		}
	}
	for _, w := range watching {
		if r := nodes[w.node].next(w.replies); r.Err != "" {
			return nil, fmt.Errorf("node %d, before the change: %s", w.node, r.Err)
		}
	}
	time.Sleep(lag + rand.N(20*time.Millisecond)) // until all have heard of the making; whatever their polls are at
	changed := nodes[maker].do(nodeOrder{Do: "change", Target: made.Body})
	if changed.Err != "" {
		return nil, errors.New(changed.Err)
	}
	var saw []sighting
	for _, w := range watching {
		r := nodes[w.node].next(w.replies)
		if r.Err != "" {
			return nil, fmt.Errorf("node %d: %s", w.node, r.Err)
		}
		saw = append(saw, sighting{w.node, r.LastOld, r.FirstNew})
	}
	return judge(c, claimed, maker, changed.Began, changed.Ended, saw), nil
}

// Three processes over one database obey what has returned in one of them: at once with MaxStale 0, and otherwise
// within it.
func TestNodesObey(t *testing.T) {
	for _, e := range harness.NodeEngines {
		for _, bound := range []time.Duration{0, 100 * time.Millisecond} {
			t.Run(fmt.Sprintf("%s, MaxStale %v", e.Name, bound), func(t *testing.T) {
				changes := slices.Repeat(nodeChanges, harness.Rounds(1, 20))
				wrong := everyChange(t, e, e.Place(t), bound, nodeSpec{MaxStale: bound}, changes)
				require.Empty(t, strings.Join(wrong, "\n"))
			})
		}
	}
}

// The same watchers and the same judge find nodes that break the promise.
func TestNodesThatDoNotObey(t *testing.T) {
	e := harness.NodeEngines[0]
	for name, spec := range map[string]nodeSpec{
		"a feed that lags":                     {Lag: 100 * time.Millisecond},
		"a feed that lags, and a bound":        {Lag: 300 * time.Millisecond, MaxStale: 50 * time.Millisecond},
		"a bound that is larger than was said": {MaxStale: time.Second},
	} {
		t.Run(name, func(t *testing.T) {
			// On a busy machine a node may not come to answer while it lags: try until one did.
			var wrong string
			for try := 0; try < 30 && !strings.Contains(wrong, "answered as before"); try++ {
				list := everyChange(t, e, e.Place(t), min(spec.MaxStale, 50*time.Millisecond), spec, nodeChanges[:4])
				wrong = strings.Join(list, "\n")
			}
			require.Contains(t, wrong, "answered as before")
		})
	}
}

// Processes write in turn and pause in the middle, while processes poll. Each poller sees each change once, in the
// order of its number, and no number is missing.
func TestNodesSkipNoChange(t *testing.T) {
	const processes = 3
	for _, e := range harness.NodeEngines {
		t.Run(e.Name, func(t *testing.T) {
			dsn := e.Place(t)
			store, err := sqlstore.New(t.Context(), e.Open(t, dsn), e.Dialect, nil)
			require.NoError(t, err)
			defer store.Close()
			for range harness.Rounds(1, 20) {
				start, err := store.Changes(t.Context(), 0, 0, 0)
				require.NoError(t, err)
				var nodes []*nodeHandle
				var storms []chan nodeReply
				for i := range processes {
					n := startNode(t, e, fmt.Sprint(i), nodeSpec{DSN: dsn})
					nodes, storms = append(nodes, n), append(storms,
						n.send(nodeOrder{Do: "storm", Owner: world.NewID(), N: start.Epoch}))
				}
				for i, n := range nodes {
					require.Empty(t, n.next(storms[i]).Err)
				}
				end, err := store.Changes(t.Context(), 0, 0, 0)
				require.NoError(t, err)
				var acked []string
				var seen [][]string
				for i, n := range nodes {
					require.Empty(t, n.do(nodeOrder{Do: "end", N: end.Epoch}).Err)
					r := n.next(storms[i])
					require.Empty(t, r.Err)
					acked = append(acked, r.Acked...)
					seen = append(seen, r.Seen...)
				}
				require.NotEmpty(t, acked)
				require.EqualValues(t, len(acked), end.Epoch-start.Epoch, "one number for each change")
				var ids []string // in the order in which a poller saw them
				for i, line := range seen[0] {
					epoch, id, _ := strings.Cut(line, " ")
					require.Equal(t, fmt.Sprint(start.Epoch+1+uint64(i)), epoch, "numbers are dense")
					ids = append(ids, id)
				}
				require.ElementsMatch(t, acked, ids)
				for _, got := range seen {
					require.Equal(t, seen[0], got, "all see them in one order")
				}
			}
		})
	}
}

// A process that took the next number and stalls is waited for. One that is killed then leaves no gap.
func TestNodesStalledInOrder(t *testing.T) {
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Minute)
	defer cancel()
	for _, e := range harness.NodeEngines {
		for _, dies := range []bool{false, true} {
			t.Run(fmt.Sprintf("%s, killed %t", e.Name, dies), func(t *testing.T) {
				dsn := e.Place(t)
				store, err := sqlstore.New(ctx, e.Open(t, dsn), e.Dialect, nil)
				require.NoError(t, err)
				defer store.Close()
				there := harness.NewNode(t, e, dsn, 0)
				_, secret := known(t, harness.NewNode(t, e, dsn, 0).For("acme"), there)
				before, err := store.Changes(ctx, 0, 0, 0)
				require.NoError(t, err)
				n := startNode(t, e, "holder", nodeSpec{DSN: dsn})
				held := n.send(nodeOrder{Do: "hold", N: before.Epoch + 1})
				require.Equal(t, "holds it", n.next(held).Saw)

				written := make(chan error, 1)
				var epoch uint64
				go func() {
					var err error
					epoch, err = world.WriteEpoch(ctx, store, latchkey.Write{ID: world.WriteID(), Owner: "acme",
						OwnerRecord: &latchkey.Owner{ID: "acme", Disabled: true}})
					written <- err
				}()
				select {
				case err := <-written:
					t.Fatalf("a later change was committed before an earlier one: %v", err)
				case <-time.After(100 * time.Millisecond):
				}
				feed, err := store.Changes(ctx, 0, before.Epoch, 10)
				require.NoError(t, err)
				require.Equal(t, before.Epoch, feed.Epoch)
				require.Empty(t, feed.Changes)
				_, err = there.Verify(ctx, latchkey.Presented{Secret: secret})
				require.NoError(t, err, "nobody who only asks waits for it")

				want := before.Epoch + 1
				if dies {
					n.kill()
				} else {
					want++
					require.Empty(t, n.do(nodeOrder{Do: "commit"}).Err)
					require.Empty(t, n.next(held).Err)
				}
				require.NoError(t, <-written)
				require.Equal(t, want, epoch)
				_, err = there.Verify(ctx, latchkey.Presented{Secret: secret})
				require.ErrorIs(t, err, latchkey.ErrOwnerDisabled)
				feed, err = store.Changes(ctx, 0, before.Epoch, 10)
				require.NoError(t, err)
				require.Len(t, feed.Changes, int(want-before.Epoch))
				require.Equal(t, "acme", feed.Changes[len(feed.Changes)-1].Owner)
			})
		}
	}
}
