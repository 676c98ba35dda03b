package nodes

import (
	"bufio"
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"os/exec"
	"slices"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"github.com/latchkey-go/latchkey"
	"github.com/latchkey-go/latchkey/e2e/internal/faulty"
	"github.com/latchkey-go/latchkey/e2e/internal/harness"
	"github.com/latchkey-go/latchkey/e2e/internal/world"
	"github.com/latchkey-go/latchkey/sqlstore"
)

// A node is a process of its own: this test binary, started again. It reads orders, a line of JSON each, works on
// many at once, and answers each with at least one line.

type nodeSpec struct {
	Engine, DSN string
	MaxStale    time.Duration
	Lag         time.Duration // planted: the epoch it sees is that old
}

type nodeOrder struct {
	ID     int
	Do     string // see serveNode
	Change string
	Owner  string
	Target target
	N      uint64 // an epoch
}

type nodeReply struct {
	ID    int
	Err   string
	Saw   string // of those that say something before they are done
	Body  target
	Began int64 // ns on the clock that all processes of a machine share
	Ended int64
	// Of a watch: when the last Verify began that was answered as before the change, and when the first one ended that was
	// answered as after it.
	LastOld, FirstNew int64
	Acked             []string   // of storm: the ids of the changes
	Seen              [][]string // of storm: what each poller read
}

// machineTime is the monotonic clock of the machine, in ns.
func machineTime() int64 {
	var ts unix.Timespec
	if err := unix.ClockGettime(unix.CLOCK_MONOTONIC, &ts); err != nil {
		panic(err)
	}
	return ts.Nano()
}

func init() {
	if text := os.Getenv("LATCHKEY_E2E_NODE"); text != "" {
		if err := serveNode(text); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		os.Exit(0)
	}
}

type nodeProcess struct {
	ctx   context.Context
	e     *harness.NodeEngine
	dsn   string
	store latchkey.Store
	keys  *latchkey.Manager
	mu    sync.Mutex
	out   *json.Encoder
	ended chan uint64 // of storm: the last epoch
	goOn  chan struct{}
}

func serveNode(text string) error {
	var spec nodeSpec
	if err := json.Unmarshal([]byte(text), &spec); err != nil {
		return err
	}
	i := slices.IndexFunc(harness.NodeEngines, func(e *harness.NodeEngine) bool { return e.Name == spec.Engine })
	if i < 0 {
		return errors.New("no such engine")
	}
	p := &nodeProcess{ctx: context.Background(), e: harness.NodeEngines[i], dsn: spec.DSN, out: json.NewEncoder(os.Stdout),
		ended: make(chan uint64, 1), goOn: make(chan struct{})}
	db, err := harness.OpenPool(p.e.Driver, spec.DSN)
	if err != nil {
		return err
	}
	if p.store, err = sqlstore.New(p.ctx, db, p.e.Dialect, nil); err != nil {
		return err
	}
	if spec.Lag > 0 {
		p.store = &laggingStore{Store: p.store, lag: spec.Lag}
	}
	p.keys = latchkey.New(p.store, &latchkey.Options{MaxStale: spec.MaxStale})
	work := map[string]func(nodeOrder) (nodeReply, error){"make": p.make, "change": p.change, "watch": p.watch,
		"storm": p.storm, "end": p.end, "hold": p.hold, "commit": p.commit}
	p.say(nodeReply{})
	lines := bufio.NewScanner(os.Stdin)
	lines.Buffer(nil, 1<<20)
	for lines.Scan() {
		var o nodeOrder
		if err := json.Unmarshal(lines.Bytes(), &o); err != nil {
			return err
		}
		go func() {
			r, err := work[o.Do](o)
			if r.ID = o.ID; err != nil {
				r.Err = fmt.Sprintf("%s %s: %v", o.Do, o.Change+o.Target.Change, err)
			}
			p.say(r)
		}()
	}
	return lines.Err()
}

func (p *nodeProcess) say(r nodeReply) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if err := p.out.Encode(r); err != nil {
		os.Exit(1) // nobody listens any more
	}
}

// laggingStore returns an epoch that is out of date, which no store may do.
type laggingStore struct {
	latchkey.Store
	lag  time.Duration
	mu   sync.Mutex
	past []datedFeed
}

type datedFeed struct {
	at   time.Time
	feed latchkey.Feed
}

func (s *laggingStore) Changes(ctx context.Context, feed latchkey.FeedID, after uint64, n int) (latchkey.Feed, error) {
	answer, err := s.Store.Changes(ctx, feed, after, n)
	if n > 0 || err != nil {
		return answer, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	now := time.Now()
	s.past = append(s.past, datedFeed{now, answer})
	for len(s.past) > 1 && now.Sub(s.past[1].at) >= s.lag {
		s.past = s.past[1:]
	}
	return s.past[0].feed, nil
}

func (p *nodeProcess) make(o nodeOrder) (nodeReply, error) {
	x, err := newTarget(p.ctx, p.keys, o.Change, o.Owner)
	return nodeReply{Body: x}, err
}

func (p *nodeProcess) change(o nodeOrder) (nodeReply, error) {
	c, err := nodeChangeNamed(o.Target.Change)
	if err != nil {
		return nodeReply{}, err
	}
	r := nodeReply{Began: machineTime()}
	err = c.do(p.ctx, p.keys.For(o.Target.Owner), &o.Target)
	r.Ended = machineTime()
	return r, err
}

// watch verifies again and again until the answer has changed. It says once that it has an answer in memory.
func (p *nodeProcess) watch(o nodeOrder) (r nodeReply, err error) {
	c, err := nodeChangeNamed(o.Target.Change)
	if err != nil {
		return r, err
	}
	const sure = 5
	deadline := time.Now().Add(3 * time.Minute)
	for before, after := 0, 0; after < sure; {
		began := machineTime()
		answer, err := o.Target.answer(p.ctx, p.keys)
		ended := machineTime()
		switch {
		case err != nil:
			return r, err
		case answer == "yes":
			r.LastOld, after = began, 0 // it may even come back
			if before++; before == sure {
				p.say(nodeReply{ID: o.ID, Saw: answer})
			}
		case answer != c.after:
			return r, fmt.Errorf("the answer is %q, neither \"yes\" nor %q", answer, c.after)
		default:
			if after++; r.FirstNew == 0 {
				r.FirstNew = ended
			}
		}
		if time.Now().After(deadline) {
			return r, errors.New("the change is not obeyed at all")
		}
		time.Sleep(rand.N(400 * time.Microsecond))
	}
	return r, nil
}

// storm makes changes by several writers that pause between their statements, while pollers read the feed from o.N on,
// until "end" says which epoch is the last.
func (p *nodeProcess) storm(o nodeOrder) (r nodeReply, err error) {
	const writers, rounds, pollers = 3, 8, 2
	plain, err := sql.Open(p.e.Driver, p.dsn)
	if err != nil {
		return r, err
	}
	defer plain.Close()
	f := faulty.New(plain.Driver(), p.dsn)
	f.Pause = 2 * time.Millisecond
	db := sql.OpenDB(f)
	defer db.Close()
	slow, err := sqlstore.New(p.ctx, db, p.e.Dialect, nil)
	if err != nil {
		return r, err
	}
	defer slow.Close()
	var mu sync.Mutex
	var errs []error
	fail := func(err error) {
		mu.Lock()
		defer mu.Unlock()
		errs = append(errs, err)
	}
	var writing, polling sync.WaitGroup
	for w := range writers {
		writing.Go(func() {
			for i := range rounds {
				owner := fmt.Sprint("acme ", i%3) // some wait for each other before they come to the epoch
				id := fmt.Sprintf("%s/%d/%d", o.Owner, w, i)
				err := slow.Write(p.ctx, latchkey.Write{ID: uuid.New(), Owner: owner, At: world.Noon,
					Revocations: []latchkey.Revocation{{ID: id, Until: world.Noon}}})
				if err != nil {
					fail(err)
					return
				}
				mu.Lock()
				r.Acked = append(r.Acked, id)
				mu.Unlock()
			}
		})
	}
	last := make(chan struct{})
	var end uint64
	r.Seen = make([][]string, pollers)
	for i := range pollers {
		polling.Go(func() {
			after := o.N
			for {
				over := false
				select {
				case <-last:
					over = true
				default:
				}
				feed, err := p.store.Changes(p.ctx, 0, after, 1+9*i)
				if err != nil || feed.Truncated {
					fail(fmt.Errorf("poller: %w, truncated %t", err, feed.Truncated))
					return
				}
				for _, c := range feed.Changes {
					r.Seen[i] = append(r.Seen[i], fmt.Sprint(c.Epoch, " ", c.ID))
					after = c.Epoch
				}
				if over && (after >= end || len(feed.Changes) == 0) {
					return
				}
				time.Sleep(rand.N(time.Millisecond))
			}
		})
	}
	writing.Wait()
	p.say(nodeReply{ID: o.ID, Saw: "written"})
	end = <-p.ended
	close(last)
	polling.Wait()
	return r, errors.Join(errs...)
}

func (p *nodeProcess) end(o nodeOrder) (nodeReply, error) {
	p.ended <- o.N
	return nodeReply{}, nil
}

// hold takes the next number in a transaction of its own, and stalls until it is told to commit, or killed.
func (p *nodeProcess) hold(o nodeOrder) (r nodeReply, err error) {
	db, err := harness.OpenPool(p.e.Driver, p.dsn)
	if err != nil {
		return r, err
	}
	defer db.Close()
	tx, err := db.Begin()
	if err != nil {
		return r, err
	}
	defer tx.Rollback()
	if _, err := tx.Exec("UPDATE latchkey_epoch SET epoch = epoch + 1 WHERE id = 1"); err != nil {
		return r, err
	}
	_, err = tx.Exec(fmt.Sprintf("INSERT INTO latchkey_changes (epoch, seq, owner, kind, id, until, at) "+
		"VALUES (%d, 0, 'slow', 3, 'slow', NULL, 0)", o.N))
	if err != nil {
		return r, err
	}
	p.say(nodeReply{ID: o.ID, Saw: "holds it"})
	<-p.goOn
	return r, tx.Commit()
}

func (p *nodeProcess) commit(nodeOrder) (nodeReply, error) {
	close(p.goOn)
	return nodeReply{}, nil
}

// nodeHandle is a node as its parent sees it.
type nodeHandle struct {
	t     testing.TB
	name  string
	cmd   *exec.Cmd
	in    io.WriteCloser
	log   harness.LockedBuffer
	gone  chan struct{}
	mu    sync.Mutex
	last  int
	waits map[int]chan nodeReply
}

// startNode starts a node that ends with the test.
func startNode(t testing.TB, e *harness.NodeEngine, name string, spec nodeSpec) *nodeHandle {
	t.Helper()
	spec.Engine = e.Name
	text, err := json.Marshal(spec)
	require.NoError(t, err)
	n := &nodeHandle{t: t, name: name, cmd: exec.Command(os.Args[0]), waits: map[int]chan nodeReply{},
		gone: make(chan struct{})}
	n.cmd.Env = append(os.Environ(), "LATCHKEY_E2E_NODE="+string(text))
	n.cmd.Stderr = &n.log
	n.cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	n.in, err = n.cmd.StdinPipe()
	require.NoError(t, err)
	out, err := n.cmd.StdoutPipe()
	require.NoError(t, err)
	ready := n.expect(0)
	require.NoError(t, n.cmd.Start())
	go func() {
		defer close(n.gone)
		lines := bufio.NewScanner(out)
		lines.Buffer(nil, 4<<20)
		for lines.Scan() {
			var r nodeReply
			if err := json.Unmarshal(lines.Bytes(), &r); err != nil {
				t.Errorf("node %s says %q", name, lines.Text())
				return
			}
			n.mu.Lock()
			wait := n.waits[r.ID]
			n.mu.Unlock()
			wait <- r
		}
		_ = n.cmd.Wait()
	}()
	t.Cleanup(n.stop)
	n.next(ready)
	return n
}

// stop closes the node's input, at which it ends.
func (n *nodeHandle) stop() {
	n.in.Close()
	select {
	case <-n.gone:
	case <-time.After(time.Minute):
		n.t.Errorf("node %s does not end", n.name)
		n.kill()
	}
}

func (n *nodeHandle) kill() {
	_ = n.cmd.Process.Kill()
	<-n.gone
}

func (n *nodeHandle) expect(id int) chan nodeReply {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.waits[id] = make(chan nodeReply, 4)
	return n.waits[id]
}

// send sends an order, whose replies next returns.
func (n *nodeHandle) send(o nodeOrder) chan nodeReply {
	n.mu.Lock()
	n.last++
	o.ID = n.last
	n.mu.Unlock()
	replies := n.expect(o.ID)
	text, err := json.Marshal(o)
	if err != nil {
		n.t.Error(err)
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	if _, err := n.in.Write(append(text, '\n')); err != nil {
		n.t.Errorf("node %s: %v\n%s", n.name, err, n.log.String())
	}
	return replies
}

func (n *nodeHandle) next(replies chan nodeReply) nodeReply {
	select {
	case r := <-replies:
		return r
	case <-n.gone:
		return nodeReply{Err: "the process has ended: " + n.log.String()}
	case <-time.After(5 * time.Minute):
		return nodeReply{Err: "no answer"}
	}
}

// do sends an order that is answered once.
func (n *nodeHandle) do(o nodeOrder) nodeReply { return n.next(n.send(o)) }
