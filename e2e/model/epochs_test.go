package model

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/latchkey-go/latchkey"
	"github.com/latchkey-go/latchkey/e2e/internal/harness"
	"github.com/latchkey-go/latchkey/memstore"
)

const epochs = "epochs.pml"

// explore lets Spin visit every state of the model, and returns what it reports. Optimize is an option of the compiler:
// the program of a model that has few states, or ends soon, takes longer to optimize than to run.
func explore(t *testing.T, optimize string, bounds ...string) string {
	t.Helper()
	dir := t.TempDir()
	text, err := os.ReadFile(epochs)
	require.NoError(t, err)
	require.NoError(t, os.WriteFile(filepath.Join(dir, epochs), text, 0o600))
	run := func(name string, args ...string) string {
		cmd := exec.Command(name, args...)
		cmd.Dir = dir
		out, err := cmd.CombinedOutput()
		require.NoError(t, err, "%s: %s\nscripts/install installs spin and gcc", name, out)
		return string(out)
	}
	run("spin", append(bounds, "-a", epochs)...)
	run("gcc", optimize, "-w", "-DSAFETY", "-DCOLLAPSE", "-DMEMLIM=6000", "-o", "pan", "pan.c")
	return run("./pan", "-m1000000", "-n")
}

// TestChangesAreFollowed visits all states of two nodes, and, sampled, those of other bounds. LONG=1 has all bounds.
func TestChangesAreFollowed(t *testing.T) {
	bounds := [][]string{{"-DNODES=2", "-DCALLERS=1"}}
	others := [][]string{
		{"-DNODES=1", "-DCALLERS=2"}, // of one node, at a time
		{"-DNODES=1", "-DCALLERS=1", "-DBOUND=1", "-DTICKS=2"},
	}
	if os.Getenv("LONG") == "" {
		t.Logf("SEED=%d draws the same bounds", harness.Seed())
		bounds = append(bounds, others[harness.Drawn(t.Name()).IntN(len(others))])
	} else {
		bounds = append(append(bounds, others...),
			[]string{"-DNODES=2", "-DCALLERS=1", "-DBOUND=1", "-DTICKS=2"},
			[]string{"-DNODES=1", "-DCALLERS=1", "-DVERIFIES=4", "-DCHANGES=5"})
	}
	for _, b := range bounds {
		t.Run(strings.Join(b, " "), func(t *testing.T) {
			out := explore(t, "-O2", b...)
			require.Contains(t, out, "errors: 0")
			require.NotContains(t, out, "out of memory")
			require.NotContains(t, out, "max search depth too small")
			t.Log(strings.TrimSpace(out))
		})
	}
}

// TestMistakesAreFound plants mistakes, each of which an answer shows that came too late, or a write that counts twice.
func TestMistakesAreFound(t *testing.T) {
	for mistake, law := range map[string]string{
		"EPOCH_FIRST":      "since[me]",  // the epoch is raised before the record is committed
		"NOT_INVALIDATED":  "since[me]",  // a change that is read does not end what is in memory
		"PUT_WHAT_IS_OLD":  "since[me]",  // a record enters the memory though a change was applied since it was read
		"WRITE_WITHOUT_ID": "applied[w]", // a write whose reply was lost is applied again
		"FAILS_OPEN":       "allowed&(1", // memory answers although the store does not
	} {
		t.Run(mistake, func(t *testing.T) {
			bounds := []string{"-DMISTAKE_" + mistake, "-DNODES=1", "-DCALLERS=2"}
			if mistake == "FAILS_OPEN" {
				bounds = []string{"-DMISTAKE_" + mistake, "-DNODES=1", "-DCALLERS=1", "-DBOUND=1", "-DTICKS=2"}
			}
			out := explore(t, "-O0", bounds...)
			require.Contains(t, out, "assertion violated ("+law)
		})
	}
}

// pausing is a Store whose readings wait until the test lets them go on. Each Manager has its own.
type pausing struct {
	latchkey.Store
	waiting chan reading
	// skips says that readings of the epoch do not wait: between find and the answer they compare the clocks only.
	skips atomic.Bool
}

type reading struct {
	what    string
	proceed chan struct{} // closed by the test
	done    chan struct{} // closed when the store has been read
}

// read reads the store when the test lets it.
func (p *pausing) read(ctx context.Context, what string, read func()) error {
	r := reading{what, make(chan struct{}), make(chan struct{})}
	select {
	case p.waiting <- r:
	case <-ctx.Done():
		return ctx.Err()
	}
	defer close(r.done)
	select {
	case <-r.proceed:
		read()
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

func (p *pausing) Changes(ctx context.Context, id latchkey.FeedID, after uint64, n int) (
	feed latchkey.Feed, err error) {
	what := "epoch"
	if n > 0 {
		what = "changes"
	} else if p.skips.Load() {
		return p.Store.Changes(ctx, id, after, n)
	}
	paused := p.read(ctx, what, func() { feed, err = p.Store.Changes(ctx, id, after, n) })
	return feed, errors.Join(paused, err)
}

func (p *pausing) ByDigest(ctx context.Context, slot latchkey.Slot, d ...[32]byte) (f latchkey.Found, err error) {
	paused := p.read(ctx, "find", func() { f, err = p.Store.ByDigest(ctx, slot, d...) })
	p.skips.Store(true)
	return f, errors.Join(paused, err)
}

// losing is a Store that loses the reply to a write when it is told to.
type losing struct {
	latchkey.Store
	lose, lost bool
}

func (l *losing) Write(ctx context.Context, w latchkey.Write) error {
	err := l.Store.Write(ctx, w)
	if err == nil && l.lose {
		l.lose, l.lost = false, true
		return fmt.Errorf("%w: the reply is lost", latchkey.ErrUnknownOutcome)
	}
	return err
}

type verified struct {
	name string
	err  error
}

// replayed is a node of the replay: a Manager, and the Verify that it is at.
type replayed struct {
	keys    *latchkey.Manager
	store   *pausing
	answers chan verified
}

// next returns what the Verify does next: a reading that waits, or its answer.
func (n *replayed) next(t *testing.T) (reading, *verified) {
	t.Helper()
	select {
	case r := <-n.store.waiting:
		return r, nil
	case v := <-n.answers:
		return reading{}, &v
	case <-t.Context().Done():
		t.Fatal("the test was ended while a Verify was waited for")
		return reading{}, nil
	}
}

// TestRunsOfTheModelAreThoseOfLatchkey replays random runs of the model against two Managers over one store, step by
// step: each reads the store when the model does, and answers what the model answers.
func TestRunsOfTheModelAreThoseOfLatchkey(t *testing.T) {
	runs := 150
	if os.Getenv("LONG") != "" {
		runs = 3000
	}
	seed := rand.Uint32N(1 << 30)
	t.Logf("the first seed is %d", seed)
	steps := map[string]int{}
	for i := range runs {
		replay(t, int(seed)+i, steps)
	}
	t.Logf("steps: %v", steps)
	for _, step := range []string{"lose", "commit", "verify", "epoch", "changes", "find", "answer"} {
		require.NotZero(t, steps[step], "no run had a step %q: the comparison says little", step)
	}
	require.Greater(t, steps["answer"], steps["find"], "no answer came from memory")
}

func replay(t *testing.T, seed int, steps map[string]int) {
	t.Helper()
	cmd := exec.Command("spin", "-T", "-n"+strconv.Itoa(seed), "-DVERIFIES=6", "-DCHANGES=6", epochs)
	out, err := cmd.Output()
	require.NoError(t, err, "%s", out)

	ctx := t.Context()
	base := memstore.New(nil)
	writes := &losing{Store: base}
	host := latchkey.New(writes, nil)
	owners := []latchkey.Account{host.For("acme"), host.For("globex")}
	var ids, texts [2]string
	for o, account := range owners {
		token, secret, err := account.Issue(ctx, latchkey.Spec{Kind: latchkey.KindAPIKey, Name: "0"})
		require.NoError(t, err)
		ids[o], texts[o] = token.ID, secret.Reveal()
	}
	nodes := make([]*replayed, 2)
	for i := range nodes {
		s := &pausing{Store: base, waiting: make(chan reading)}
		nodes[i] = &replayed{latchkey.New(s, nil), s, make(chan verified, 1)}
	}
	for lines := bufio.NewScanner(bytes.NewReader(out)); lines.Scan(); {
		var step string
		var a, b int
		n, _ := fmt.Sscan(lines.Text(), &step, &a, &b)
		if n < 2 || strings.Contains(lines.Text(), "processes created") {
			continue
		}
		steps[step]++
		where := fmt.Sprintf("seed %d: %s", seed, lines.Text())
		switch step {
		case "lose", "commit": // owner, value
			writes.lose, writes.lost = step == "lose", false
			token, err := owners[a].Update(ctx, ids[a], func(t *latchkey.Token) error {
				t.Name = strconv.Itoa(b)
				return nil
			})
			require.NoError(t, err, where)
			require.Equal(t, strconv.Itoa(b), token.Name, where)
			require.Equal(t, step == "lose", writes.lost, where)
		case "verify": // node, owner
			node := nodes[a]
			node.store.skips.Store(false)
			go func() {
				access, err := node.keys.Verify(ctx, latchkey.Presented{Secret: texts[b]})
				node.answers <- verified{access.Name(), err}
			}()
		case "epoch", "changes", "find": // node
			r, v := nodes[a].next(t)
			require.Nil(t, v, where)
			require.Equal(t, step, r.what, where)
			close(r.proceed)
			<-r.done
		case "answer": // node, value
			r, v := nodes[a].next(t)
			require.NotNil(t, v, "%s: latchkey reads %s", where, r.what)
			require.NoError(t, v.err, where)
			require.Equal(t, strconv.Itoa(b), v.name, where)
		default:
			t.Fatalf("%s: an unknown step", where)
		}
	}
	for o, id := range ids {
		token, err := owners[o].Get(ctx, id)
		require.NoError(t, err)
		require.LessOrEqual(t, token.Version, uint64(7))
	}
	closing, cancel := context.WithTimeout(ctx, time.Minute)
	defer cancel()
	for _, n := range nodes {
		n.store.skips.Store(true)
		require.NoError(t, n.keys.Close(closing))
	}
	require.NoError(t, host.Close(closing))
}
