package latchkey

import (
	"context"
	"fmt"
	"runtime"
	"sync"
	"sync/atomic"
	"time"

	"github.com/latchkey-go/latchkey/internal/fault"
	"github.com/latchkey-go/latchkey/internal/uuidv7"
)

// sharedRead lets callers who want the same at the same time share one read. It begins after each of them came: one
// that had begun before could miss what was committed before they asked.
//
// A read that is not answered, for its connection is dead and its caller has no deadline, holds nobody up for long:
// after some patience it is given up, and the next of those who wait reads.
type sharedRead[T any] struct {
	mu     sync.Mutex
	leader *leadership[T] // who reads, or has been given the turn to; nil: nobody
	next   *readTurn[T]   // what those who wait will share
	watch  *time.Timer    // gives the leader up
	took   time.Duration  // the last read that was answered
	lapses int            // leaders given up since
}

// leadership is one read under way.
type leadership[T any] struct {
	call *readTurn[T] // of those who share it; nil: nobody, or it was given up
}

type readTurn[T any] struct {
	turn  chan *leadership[T] // a value: the one who receives it reads; closed: it was read
	value T
	err   error
	late  bool // the time of the one who read was over, or it was given up
}

const (
	minPatience = 50 * time.Millisecond
	maxPatience = 5 * time.Second
)

// watchLeader gives the leader up unless it is done in time. While others wait for nothing, nobody is watched. The
// caller holds s.mu.
func (s *sharedRead[T]) watchLeader() {
	patience := min(max(minPatience, 2*s.took)<<min(s.lapses, 10), maxPatience)
	if s.watch == nil {
		s.watch = time.AfterFunc(patience, s.giveUp)
	} else {
		s.watch.Reset(patience)
	}
}

// giveUp passes the turn on. Those who shared the read try again.
func (s *sharedRead[T]) giveUp() {
	s.mu.Lock()
	defer s.mu.Unlock()
	lost := s.leader
	if lost == nil || lost.call == nil && s.next == nil {
		return
	}
	s.lapses++
	s.leader = nil
	if call := lost.call; call != nil {
		lost.call = nil
		call.late, call.err = true, errGivenUp
		close(call.turn)
	}
	s.pass()
}

// pass gives one of those who wait the turn to read. The caller holds s.mu.
func (s *sharedRead[T]) pass() {
	if s.next == nil {
		s.leader = nil
		return
	}
	s.leader = &leadership[T]{}
	select {
	case <-s.next.turn: // nobody has taken it yet
	default:
	}
	s.next.turn <- s.leader
}

// do returns what read says, be it to another caller. Nobody may change it.
func (s *sharedRead[T]) do(ctx context.Context, g *gathering, read func(context.Context) (T, error)) (T, error) {
	g.asking.Add(1)
	defer g.asking.Add(-1)
	for {
		s.mu.Lock()
		if s.leader == nil {
			me := &leadership[T]{}
			s.leader = me
			s.mu.Unlock()
			return s.lead(ctx, me, g, read)
		}
		if s.next == nil {
			s.next = &readTurn[T]{turn: make(chan *leadership[T], 1)}
			s.watchLeader()
		}
		call := s.next
		s.mu.Unlock()
		select {
		case me := <-call.turn:
			if me != nil {
				return s.lead(ctx, me, g, read)
			}
		case <-ctx.Done():
			var none T
			return none, fault.Unavailable(ctx.Err())
		}
		if call.err == nil || ctx.Err() != nil || !call.late {
			return call.value, call.err
		}
		// The leader's own context ended. Ours has not: try again. What the error says is no help: a dialler that gives up
		// by itself says the same, and those who all tried again, one after the other, would wait for each other's time too.
	}
}

// timeIsOver says that ctx has ended, or is about to: a connection may notice its deadline first.
func timeIsOver(ctx context.Context) bool {
	end, has := ctx.Deadline()
	return ctx.Err() != nil || has && !time.Now().Before(end)
}

// lead reads for itself and for those who wait, and then gives one of those who came meanwhile the turn to read. If
// that one has left, whoever comes next finds the turn where the others wait. One that was given up before it began
// reads for itself alone: the others wait for somebody else, who is watched.
func (s *sharedRead[T]) lead(ctx context.Context, me *leadership[T], g *gathering,
	read func(context.Context) (T, error)) (value T, err error) {
	g.gather()
	s.mu.Lock()
	if s.leader == me && s.next != nil {
		me.call, s.next = s.next, nil
		s.watchLeader()
	}
	s.mu.Unlock()
	err = errPanicked
	begin := time.Now()
	defer func() {
		took := time.Since(begin)
		g.note(took, err)
		s.mu.Lock()
		call := me.call
		if s.leader == me {
			if s.watch != nil {
				s.watch.Stop()
			}
			if err == nil {
				s.took, s.lapses = took, 0
			}
			s.pass()
			if s.next != nil {
				s.watchLeader()
			}
		}
		if call != nil {
			me.call = nil
			call.value, call.err, call.late = value, err, timeIsOver(ctx)
			close(call.turn)
		}
		s.mu.Unlock()
	}()
	return read(ctx)
}

// errGivenUp is for those who shared a read that was not answered.
var errGivenUp = fmt.Errorf("%w: a read was not answered", ErrUnavailable)

// errPanicked is for those who waited for a read in which the store panicked: its own caller has the panic.
var errPanicked = fmt.Errorf("%w: it panicked", ErrUnavailable)

// gathering is who is about to read.
type gathering struct {
	worth   time.Duration // what takes less is not worth sharing: waiting for each other would cost more
	quick   atomic.Int32  // how many reads in a row took less
	asking  atomic.Int32  // callers who want an answer at this moment
	crowded atomic.Bool   // others came along when the processor was last given away
	turns   atomic.Uint32
}

// alone says that the store is in memory, by all that was seen: each caller reads alone from now on.
func (g *gathering) alone() bool { return g.quick.Load() >= 8 }

func (g *gathering) note(took time.Duration, err error) {
	if took < g.worth && err == nil {
		g.quick.Add(1)
	} else {
		g.quick.Store(0)
	}
}

// gather lets those who are about to ask do so before a read begins, for they may not share one that has begun. Where
// reading never waits, as in SQLite, no two callers of one processor would ever meet otherwise. When nobody else is
// about it costs next to nothing, and it is seldom tried.
func (g *gathering) gather() {
	if !g.crowded.Load() && g.turns.Add(1)%16 != 0 {
		return
	}
	runtime.Gosched()
	g.crowded.Store(g.asking.Load() > 1)
}

// loader loads tokens. Those who want the same one at the same time share a load.
type loader struct {
	store Store
	gathering
	mu    sync.Mutex
	loads map[loadKey]*load
}

func newLoader(store Store) *loader {
	return &loader{store: store, gathering: gathering{worth: 10 * time.Microsecond}, loads: map[loadKey]*load{}}
}

type loadKey struct {
	owner string
	id    [16]byte
}

type load struct {
	sharedRead[Found]
	callers int
}

// load is Store.Load. Nobody may change what is in it.
func (l *loader) load(ctx context.Context, owner string, id [16]byte) (Found, error) {
	if l.alone() {
		return l.store.Load(ctx, owner, uuidv7.Text(id))
	}
	key := loadKey{owner, id}
	l.mu.Lock()
	one := l.loads[key]
	if one == nil {
		one = &load{}
		l.loads[key] = one
	}
	one.callers++
	l.mu.Unlock()
	defer func() {
		l.mu.Lock()
		defer l.mu.Unlock()
		if one.callers--; one.callers == 0 {
			delete(l.loads, key)
		}
	}()
	return one.do(ctx, &l.gathering, func(ctx context.Context) (Found, error) {
		return l.store.Load(ctx, owner, uuidv7.Text(id))
	})
}
