// Package coalesce lets concurrent callers share one read of a store.
//
// It is singleflight with a stricter rule: a caller gets the result of a read that began after it asked, so it sees all
// that was committed before. The first caller is the leader and reads. Callers that ask meanwhile are followers of the
// next read. When the leader is done, one of them becomes the leader of that read and the others share its result.
//
// [Group] guarantees:
//
//   - At most one read of a group is under way, apart from reads that were abandoned.
//   - A follower whose context ends returns at once, with [fault.ErrUnavailable]. If it was to lead the next read,
//     another follower, or the next caller, leads it.
//   - A follower returns the leader's error. It tries again instead if the leader's own context had ended.
//   - A read that gets no answer delays others for a bounded time: it is abandoned after twice the duration of the last
//     successful read, at least 50 ms, and twice as long after each abandoned one, up to 5 s. Its followers try again.
//     The read itself goes on, for its own caller alone.
//   - If a read panics, its own caller has the panic and its followers get [ErrPanicked].
//
// Where reads are fast, as from memory, sharing costs more than reading: see [Window].
package coalesce

import (
	"context"
	"fmt"
	"sync"
	"time"

	"github.com/latchkey-go/latchkey/internal/fault"
)

// ErrPanicked is what the followers of a read get that panicked.
var ErrPanicked = fmt.Errorf("%w: a read panicked", fault.ErrUnavailable)

// errAbandoned is the error of a read that was abandoned. No caller gets it: a follower tries again, or its own context
// has ended.
var errAbandoned = fmt.Errorf("%w: a read was not answered", fault.ErrUnavailable)

const (
	minPatience = 50 * time.Millisecond
	maxPatience = 5 * time.Second
)

// Group coalesces the reads of one thing. The zero Group is ready to use. It is safe for concurrent use and must not be
// copied.
type Group[T any] struct {
	mu        sync.Mutex
	leader    *leadership[T] // who reads, or was handed the lead; nil: nobody
	next      *call[T]       // what waiting followers will share; nil: there are none
	watchdog  *time.Timer    // abandons the leader
	took      time.Duration  // how long the last successful read took
	abandoned int            // leaders abandoned since
}

// leadership is the right to do one read.
type leadership[T any] struct {
	call *call[T] // of its followers; nil: there are none, or the read was abandoned
}

// call is one read as its followers see it.
type call[T any] struct {
	lead  chan *leadership[T] // a value: its receiver leads; closed: the fields below are set
	value T
	err   error
	retry bool // the leader's own context had ended, or the read was abandoned
}

// Do returns the result of a read that began after the call, be it another caller's. The value is shared and must not
// be changed. All calls of a group pass the same w.
func (g *Group[T]) Do(ctx context.Context, w *Window, read func(context.Context) (T, error)) (T, error) {
	w.callers.Add(1)
	defer w.callers.Add(-1)
	for {
		g.mu.Lock()
		if g.leader == nil {
			me := &leadership[T]{}
			g.leader = me
			g.mu.Unlock()
			return g.lead(ctx, me, w, read)
		}
		if g.next == nil {
			g.next = &call[T]{lead: make(chan *leadership[T], 1)}
			g.watch()
		}
		c := g.next
		g.mu.Unlock()
		select {
		case me := <-c.lead:
			if me != nil {
				return g.lead(ctx, me, w, read)
			}
		case <-ctx.Done():
			var none T
			return none, fault.Unavailable(ctx.Err())
		}
		if c.err == nil || !c.retry {
			return c.value, c.err
		}
		if err := ctx.Err(); err != nil {
			var none T
			return none, fault.Unavailable(err)
		}
		// Only the leader's context ended, so try again. The error cannot tell: a dialler that times out by itself returns
		// the same, and followers who all tried again, one after the other, would wait for each other's timeout too.
	}
}

// lead reads for itself and for the followers that wait, and then hands the lead to one of those that came meanwhile. A
// leader that was abandoned before it began reads for itself alone: the followers have another, who is watched.
func (g *Group[T]) lead(ctx context.Context, me *leadership[T], w *Window,
	read func(context.Context) (T, error)) (value T, err error) {
	w.gather()
	g.mu.Lock()
	if g.leader == me && g.next != nil {
		me.call, g.next = g.next, nil
		g.watch()
	}
	g.mu.Unlock()
	err = ErrPanicked
	begin := time.Now()
	defer func() {
		took := time.Since(begin)
		w.note(took, err)
		g.mu.Lock()
		c := me.call
		if g.leader == me {
			if g.watchdog != nil {
				g.watchdog.Stop()
			}
			if err == nil {
				g.took, g.abandoned = took, 0
			}
			g.handOver()
			if g.next != nil {
				g.watch()
			}
		}
		if c != nil {
			me.call = nil
			c.value, c.err, c.retry = value, err, ended(ctx)
			close(c.lead)
		}
		g.mu.Unlock()
	}()
	return read(ctx)
}

// handOver makes one of the waiting followers the leader. If that one leaves before it has the lead, the next caller
// finds it in the channel. The caller holds g.mu.
func (g *Group[T]) handOver() {
	if g.next == nil {
		g.leader = nil
		return
	}
	g.leader = &leadership[T]{}
	select {
	case <-g.next.lead: // nobody has taken it yet
	default:
	}
	g.next.lead <- g.leader
}

// watch abandons the leader unless it is done in time. Without followers there is no need to. The caller holds g.mu.
func (g *Group[T]) watch() {
	patience := min(max(minPatience, 2*g.took)<<min(g.abandoned, 10), maxPatience)
	if g.watchdog == nil {
		g.watchdog = time.AfterFunc(patience, g.abandon)
	} else {
		g.watchdog.Reset(patience)
	}
}

// abandon takes the lead from the leader. Its followers try again.
func (g *Group[T]) abandon() {
	g.mu.Lock()
	defer g.mu.Unlock()
	lost := g.leader
	if lost == nil || lost.call == nil && g.next == nil {
		return
	}
	g.abandoned++
	g.leader = nil
	if c := lost.call; c != nil {
		lost.call = nil
		c.err, c.retry = errAbandoned, true
		close(c.lead)
	}
	g.handOver()
}

// ended reports whether ctx has ended, or is about to: a connection may notice its deadline first.
func ended(ctx context.Context) bool {
	end, has := ctx.Deadline()
	return ctx.Err() != nil || has && !time.Now().Before(end)
}
