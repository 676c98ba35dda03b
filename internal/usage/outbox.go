package usage

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/latchkey-go/latchkey/internal/fault"
)

// batch is items of one group that are written together.
type batch[T any] struct {
	items []T
	id    [16]byte // of counts; zero: not yet tried
	at    int64    // of counts: when it was tried first
	since int64    // of counts: how much time had passed then
	doubt bool     // some attempt may have written it

	tries  int       // that failed
	tried  bool      // in this send
	late   bool      // its deadline came first, the last time
	failed time.Time // when it failed last; zero: never
	blamed time.Time // when it failed first while another was written; zero: never
}

// outbox writes the items of one group. A batch that fails is repeated as it is, under its ID, while nothing else is
// written either: the store is away, and what is new adds up where it waits. If its deadline came first, its items wait
// again, to be written in smaller batches. If another batch is written, something in it is at fault: it is set apart,
// and halved until what is at fault stands alone. One goroutine at a time uses an outbox.
type outbox[T any] struct {
	pace pace
	kept []*batch[T] // failed while nothing was written; tried before what is new
	held []*batch[T] // in doubt, or set apart; tried after what is new, each once in a send
	room int         // items of held
	last time.Time   // when something was written last

	failed atomic.Int64 // items of kept and held after the latest send

	// write returns nil when the batch is done with, ErrInvalid if the store refuses it for good, ErrUnavailable if
	// nothing was written, and any other error if something may have been.
	write func(ctx context.Context, b *batch[T]) error
	// drop is told of items that are given up.
	drop func(items []T, why string, err error)
}

const (
	maxFails = 2 // batches in a row that fail before the rest waits: one of them may be at fault by itself
	maxAlone = 3 // tries of a batch that is the only one that fails, before it is halved to see which half is at fault
)

// send writes what is kept, what take returns, and what is held. It returns what is to wait again.
func (o *outbox[T]) send(ctx context.Context, take func() []T) (back []T, err error) {
	var failed []*batch[T]
	fails, wrote := 0, false
	goesOn := func() bool { return fails < maxFails && ctx.Err() == nil }
	var deliver func(b *batch[T])
	deliver = func(b *batch[T]) {
		b.tried = goesOn()
		if !b.tried {
			failed = append(failed, b)
			return
		}
		n, began := len(b.items), time.Now()
		e := o.try(ctx, b)
		switch {
		case e == nil:
			o.pace.wrote(n, time.Since(began))
			fails, wrote, o.last = 0, true, time.Now()
		case errors.Is(e, fault.ErrInvalid):
			fails, wrote, o.last = 0, true, time.Now() // the store answers
			if n == 1 {
				o.drop(b.items, "the store refuses them for good", e)
				return
			}
			for _, half := range b.halves() {
				deliver(half)
			}
		default:
			err = e
			failed = append(failed, b)
			if ctx.Err() == nil {
				fails++
			}
		}
	}
	kept, held := o.kept, o.held
	o.kept, o.held = nil, nil
	for _, b := range kept {
		deliver(b)
	}
	var items []T
	if goesOn() {
		items = take()
	}
	for len(items) > 0 && goesOn() {
		n := min(len(items), o.pace.size)
		deliver(&batch[T]{items: items[:n:n]})
		items = items[n:]
	}
	for _, b := range held {
		deliver(b)
	}
	// First those that had no turn.
	slices.SortStableFunc(failed, func(a, b *batch[T]) int { return cmp.Compare(btoi(a.tried), btoi(b.tried)) })
	back = items
	for _, b := range failed {
		if o.keep(b, ctx.Err() != nil, wrote, err) {
			back = append(back[:len(back):len(back)], b.items...)
		}
	}
	if len(o.kept) == 1 && o.kept[0].tries >= maxAlone && len(o.kept[0].items) > 1 {
		o.kept = o.kept[0].halves()
	}
	o.bound()
	n := 0
	for _, b := range append(o.kept[:len(o.kept):len(o.kept)], o.held...) {
		n += len(b.items)
	}
	o.failed.Store(int64(n))
	if err == nil && ctx.Err() != nil && len(back)+len(o.kept)+len(o.held) > 0 {
		err = fault.Unavailable(ctx.Err())
	}
	return back, err
}

func btoi(b bool) int {
	if b {
		return 1
	}
	return 0
}

// keep says what becomes of a batch that was not written. It reports whether its items wait again. Cut: the send was
// ended, so that the failure says nothing. Wrote: something else was written.
func (o *outbox[T]) keep(b *batch[T], cut, wrote bool, err error) (back bool) {
	before := b.failed
	if b.tried && !cut {
		b.tries++
		b.failed = time.Now()
		if b.blamed.IsZero() && !b.doubt {
			o.pace.failed(len(b.items))
		}
	}
	switch {
	case b.doubt:
		o.held = append(o.held, b)
	case b.tried && !cut && (wrote || !before.IsZero() && o.last.After(before)):
		o.blame(b, err)
	case !b.blamed.IsZero():
		o.held = append(o.held, b)
	case b.tried && (cut || !b.late), !b.tried && b.id != ([16]byte{}), !b.tried && b.tries > 0:
		o.kept = append(o.kept, b)
	default:
		return true
	}
	return false
}

// try makes one attempt with a deadline of its own. What is in doubt is given longer each time, up to four times as
// long: it cannot be halved.
func (o *outbox[T]) try(ctx context.Context, b *batch[T]) error {
	timeout := writeTimeout
	if b.doubt {
		timeout <<= min(b.tries, 2)
	}
	own, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	err := o.write(own, b)
	b.late = own.Err() != nil && ctx.Err() == nil
	return err
}

// blame sets a batch apart that failed while another one was written.
func (o *outbox[T]) blame(b *batch[T], err error) {
	if b.blamed.IsZero() {
		b.blamed = time.Now()
	}
	switch {
	case len(b.items) > 1:
		o.held = append(o.held, b.halves()...)
	case time.Since(b.blamed) > maxDoubt:
		o.drop(b.items, fmt.Sprintf("they could not be written for %v, while others could", maxDoubt), err)
	default:
		o.held = append(o.held, b)
	}
}

// halves returns two batches with the items of b, of which nothing was written.
func (b *batch[T]) halves() []*batch[T] {
	n := len(b.items) / 2
	return []*batch[T]{{items: b.items[:n:n], blamed: b.blamed}, {items: b.items[n:], blamed: b.blamed}}
}

// bound drops what is held for longest, so that it takes no more memory than there is room for.
func (o *outbox[T]) bound() {
	n := 0
	for i := len(o.held) - 1; i >= 0; i-- {
		if n += len(o.held[i].items); n > o.room {
			for _, b := range o.held[:i+1] {
				o.drop(b.items, "too many wait for the store", nil)
			}
			o.held = o.held[i+1:]
			return
		}
	}
}

// outboxes are an outbox for each group. A group whose store is away holds up no other.
type outboxes[T any] struct {
	take  func(group uint32) []T        // removes and returns what waits, in the order in which it is written
	put   func(group uint32, items []T) // lets items wait again
	waits func(group uint32) bool
	open  func() *outbox[T] // makes an outbox
	fail  func(err error)   // is told that a group could not be written in the background
	delay time.Duration     // how long items are gathered
	retry time.Duration     // how long they wait after the store failed

	ctx  context.Context // of work in the background: ends when Close gives up waiting for it
	stop context.CancelFunc

	mu      sync.Mutex
	groups  map[uint32]*groupBox[T]
	closed  bool
	flushes sync.WaitGroup
}

type groupBox[T any] struct {
	*outbox[T]
	writing chan struct{} // holds one value while one flushes, for what precedes
	due     bool          // a flush in the background is to come, or under way
	timer   *time.Timer   // nil: it is under way
}

func (o *outboxes[T]) init() {
	o.ctx, o.stop = context.WithCancel(context.Background())
	o.groups = map[uint32]*groupBox[T]{}
}

// group returns the box of a group. The caller holds o.mu.
func (o *outboxes[T]) group(id uint32) *groupBox[T] {
	g := o.groups[id]
	if g == nil {
		g = &groupBox[T]{outbox: o.open(), writing: make(chan struct{}, 1)}
		o.groups[id] = g
	}
	return g
}

// flush writes what waits of a group. What could not be written is kept.
func (o *outboxes[T]) flush(ctx context.Context, id uint32) error {
	o.mu.Lock()
	g := o.group(id)
	o.mu.Unlock()
	select {
	case g.writing <- struct{}{}:
		defer func() { <-g.writing }()
	case <-ctx.Done():
		return fault.Unavailable(ctx.Err())
	}
	back, err := g.send(ctx, func() []T { return o.take(id) })
	o.put(id, back)
	if err != nil {
		o.flushLater(id, o.retry)
	}
	return err
}

// flushAll is flush of all groups at once: those of which something waits, and those that hold something.
func (o *outboxes[T]) flushAll(ctx context.Context, ids []uint32) error {
	o.mu.Lock()
	for id := range o.groups {
		if !slices.Contains(ids, id) {
			ids = append(ids, id)
		}
	}
	o.mu.Unlock()
	errs := make([]error, len(ids))
	var all sync.WaitGroup
	for i, id := range ids[min(1, len(ids)):] {
		all.Go(func() { errs[i+1] = o.flush(ctx, id) })
	}
	if len(ids) > 0 {
		errs[0] = o.flush(ctx, ids[0])
	}
	all.Wait()
	return errors.Join(errs...)
}

// pending returns how many items failed in the latest flush of each group and will be tried again as they are.
func (o *outboxes[T]) pending() int {
	o.mu.Lock()
	defer o.mu.Unlock()
	n := int64(0)
	for _, g := range o.groups {
		n += g.failed.Load()
	}
	return int(n)
}

// flushLater makes a flush of a group come in the background. After a failure it comes again.
func (o *outboxes[T]) flushLater(id uint32, after time.Duration) {
	o.mu.Lock()
	defer o.mu.Unlock()
	g := o.group(id)
	if g.due || o.closed {
		return
	}
	g.due = true
	o.flushes.Add(1)
	flush := func() {
		defer o.flushes.Done()
		err := o.flush(o.ctx, id)
		if err != nil {
			o.fail(err)
		}
		o.mu.Lock()
		g.due = false
		o.mu.Unlock()
		if err != nil {
			o.flushLater(id, o.retry)
		} else if o.waits(id) {
			o.flushLater(id, o.delay)
		}
	}
	if after <= 0 {
		// Not a timer: with Go 1.26 and its race detector, two timers of one testing/synctest bubble that are due when
		// they are made end the process.
		g.timer = nil
		go flush()
		return
	}
	g.timer = time.AfterFunc(after, flush)
}

// close flushes a last time and waits for work in the background until ctx ends. What comes later waits for a flush.
func (o *outboxes[T]) close(ctx context.Context, ids []uint32) error {
	o.mu.Lock()
	o.closed = true
	for _, g := range o.groups {
		if g.due && g.timer != nil && g.timer.Stop() {
			g.due = false
			o.flushes.Done()
		}
	}
	o.mu.Unlock()
	err := errors.Join(o.flushAll(ctx, ids), fault.WaitFor(ctx, &o.flushes))
	o.stop()
	return err
}

// takeAll removes and returns what waits of a group.
func takeAll[K comparable, T any](waiting map[uint32]map[K]T, group uint32) []T {
	all := make([]T, 0, len(waiting[group]))
	for _, v := range waiting[group] {
		all = append(all, v)
	}
	delete(waiting, group)
	return all
}
