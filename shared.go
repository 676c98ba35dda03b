package latchkey

import (
	"context"
	"fmt"
	"runtime"
	"sync"
	"sync/atomic"
	"time"
)

// sharedRead lets callers who want the same at the same time share one read. It begins after each of them came: one that
// had begun before could miss what was committed before they asked.
type sharedRead[T any] struct {
	mu      sync.Mutex
	reading bool         // somebody reads, or has been given the turn to
	next    *readTurn[T] // what those who wait will share
}

type readTurn[T any] struct {
	turn  chan struct{} // a value: the one who receives it reads; closed: it was read
	value T
	err   error
	late  bool // the time of the one who read was over
}

// do returns what read says, be it to another caller. Nobody may change it.
func (s *sharedRead[T]) do(ctx context.Context, g *gathering, read func(context.Context) (T, error)) (T, error) {
	g.asking.Add(1)
	defer g.asking.Add(-1)
	for {
		s.mu.Lock()
		if !s.reading {
			s.reading = true
			s.mu.Unlock()
			return s.lead(ctx, g, read)
		}
		if s.next == nil {
			s.next = &readTurn[T]{turn: make(chan struct{}, 1)}
		}
		call := s.next
		s.mu.Unlock()
		select {
		case _, lead := <-call.turn:
			if lead {
				return s.lead(ctx, g, read)
			}
		case <-ctx.Done():
			var none T
			return none, unavailable(ctx.Err())
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

// lead reads for itself and for those who wait, and then gives one of those who came meanwhile the turn to read. If that
// one has left, whoever comes next finds the turn where the others wait.
func (s *sharedRead[T]) lead(ctx context.Context, g *gathering, read func(context.Context) (T, error)) (value T, err error) {
	g.gather()
	s.mu.Lock()
	call := s.next
	s.next = nil
	s.mu.Unlock()
	err = errPanicked
	begin := time.Now()
	defer func() {
		g.note(time.Since(begin), err)
		s.mu.Lock()
		if s.next != nil {
			s.next.turn <- struct{}{}
		} else {
			s.reading = false
		}
		s.mu.Unlock()
		if call != nil {
			call.value, call.err, call.late = value, err, timeIsOver(ctx)
			close(call.turn)
		}
	}()
	return read(ctx)
}

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

// alone says that the store is in memory, by all that was seen: each reads for herself from now on.
func (g *gathering) alone() bool { return g.quick.Load() >= 8 }

func (g *gathering) note(took time.Duration, err error) {
	if took < g.worth && err == nil {
		g.quick.Add(1)
	} else {
		g.quick.Store(0)
	}
}

// gather lets those who are about to ask do so before a read begins, for they may not share one that has begun. Where
// reading never waits, as in SQLite, no two callers of one processor would ever meet otherwise. When nobody else is about
// it costs next to nothing, and it is seldom tried.
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
		return l.store.Load(ctx, owner, idText(id))
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
		return l.store.Load(ctx, owner, idText(id))
	})
}
