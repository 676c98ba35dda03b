package usage

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"math"
	"math/rand/v2"
	"runtime"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"
	"unicode/utf8"

	"github.com/latchkey-go/latchkey/internal/fault"
	"github.com/latchkey-go/latchkey/internal/uuidv7"
)

// Most bytes of the texts of a Key. What is longer is cut off.
const (
	MaxClient   = 256
	MaxMeter    = 64
	MaxEndpoint = 256
)

const (
	countDelay = time.Second     // how long counts are gathered
	countRetry = 5 * time.Second // how long they wait after the store failed
	countRoom  = 1 << 17         // different counts that may wait: in all stripes, and as many while the store is away
	countBatch = 1000            // rows of one transaction
	// maxDoubt is how long a batch of unknown outcome is repeated. It is shorter than any store remembers the IDs of
	// batches (24 h), so that none is added twice.
	maxDoubt = 12 * time.Hour
)

// CounterSink is what [Counters] write to. It is safe for concurrent use.
type CounterSink interface {
	// Clock returns the time, and how much time has passed since some moment, both in µs. The latter goes on evenly when
	// the clock is set.
	Clock() (now, elapsed int64)
	// NewID returns a new id for the time now.
	NewID(now int64) ([16]byte, error)
	// AddCounts adds the rows of a batch to what is stored. It does nothing if a batch with that ID was added.
	// ErrInvalid refuses the batch for good; after ErrUnavailable nothing was written; after any other error it may have
	// been.
	AddCounts(ctx context.Context, b Batch) error
	// Warn logs what no caller is told. The error may be nil.
	Warn(msg string, err error)
}

// Key is all that counts are told apart by.
type Key struct {
	Owner, Client, Meter, Endpoint string
	Token                          [16]byte // zero: none
	Day                            int32    // since 1970, UTC
}

// Batch is rows that are written together. A batch that is repeated has the same ID, rows and At.
type Batch struct {
	ID   [16]byte
	At   int64
	Rows []Row
}

// Row is what was counted of one Key.
type Row struct {
	Owner, Token, Client, Meter, Endpoint string
	Day                                   string // "2006-01-02"
	Count, Credits                        int64
}

// Counters gather counts and write them behind. They are safe for concurrent use.
type Counters struct {
	sink    CounterSink
	stripes []stripe    // a power of two: a count goes to any of them
	armed   atomic.Bool // a flush is due

	mu      sync.Mutex // of timer and closed
	timer   *time.Timer
	closed  bool
	flushes sync.WaitGroup

	writing chan struct{} // held while one flushes, for what follows
	waiting map[Key]sum
	pending []pendingBatch
}

type pendingBatch struct {
	Batch
	doubt bool  // some attempt may have written it
	since int64 // of its At: how much time had passed
}

type sum struct {
	key            Key
	count, credits int64
}

// stripe gathers some of the counts.
type stripe struct {
	mu      sync.Mutex
	rows    []sum
	index   map[Key]uint32 // row number + 1
	recent  [64]uint32     // the same, by a few bytes of the key: found without hashing it
	dropped int64
	_       [64]byte // so that no two of them share a cache line
}

// NewCounters returns Counters that write to sink. They start nothing before something is counted.
func NewCounters(sink CounterSink) *Counters {
	n := 8
	for n < 4*runtime.GOMAXPROCS(0) && n < 64 {
		n *= 2
	}
	return &Counters{sink: sink, stripes: make([]stripe, n), writing: make(chan struct{}, 1)}
}

// Armed reports whether a flush is due, so that something was counted of late.
func (c *Counters) Armed() bool { return c.armed.Load() }

// Add adds to what was counted of a key. Neither number is negative; a sum stops at the end of its range.
func (c *Counters) Add(k *Key, count, credits int64) {
	s := &c.stripes[int(rand.Uint32())&(len(c.stripes)-1)]
	s.mu.Lock()
	row, half := s.row(k, countRoom/len(c.stripes))
	if row != nil {
		row.count, row.credits = addUp(row.count, count), addUp(row.credits, credits)
	} else {
		s.dropped = addUp(s.dropped, count)
	}
	s.mu.Unlock()
	// Asked after the count is in: a flush that cleared armed in between may have passed this stripe already.
	if !c.armed.Load() {
		c.arm(countDelay)
	}
	if half {
		c.hurry()
	}
}

// addUp adds and stops at the end of the range.
func addUp(a, b int64) int64 {
	if a > math.MaxInt64-b {
		return math.MaxInt64
	}
	return a + b
}

// row finds or adds the row of k. It returns nil if there is no room. Half: the stripe just became half full.
func (s *stripe) row(k *Key, room int) (row *sum, half bool) {
	slot := &s.recent[k.slot()]
	if n := *slot; n != 0 && s.rows[n-1].key == *k {
		return &s.rows[n-1], false
	}
	n, ok := s.index[*k]
	if !ok {
		if len(s.rows) >= room {
			return nil, false
		}
		if s.index == nil {
			s.index = map[Key]uint32{}
		}
		s.rows = append(s.rows, sum{key: *k})
		n = uint32(len(s.rows))
		s.index[*k] = n
		half = len(s.rows) == room/2
	}
	*slot = n
	return &s.rows[n-1], half
}

// slot mixes a few bytes in which keys are likely to differ.
func (k *Key) slot() int {
	h := uint32(k.Token[15]) + 31*uint32(len(k.Endpoint)) + 7*uint32(len(k.Meter))
	if n := len(k.Endpoint); n > 0 {
		h += 13*uint32(k.Endpoint[n-1]) + 5*uint32(k.Endpoint[n/2])
	}
	if n := len(k.Client); n > 0 {
		h += 17 * uint32(k.Client[n-1])
	}
	return int(h % 64)
}

// take empties the stripe into sums, as far as there is room.
func (s *stripe) take(sums map[Key]sum) (dropped int64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	dropped, s.dropped = s.dropped, 0
	for i := range s.rows {
		r := &s.rows[i]
		r.key.clean()
		was, known := sums[r.key]
		if !known && len(sums) >= countRoom {
			dropped = addUp(dropped, r.count)
			continue
		}
		sums[r.key] = sum{r.key, addUp(was.count, r.count), addUp(was.credits, r.credits)}
	}
	if len(s.rows) > 1<<10 {
		s.rows, s.index = nil, nil // after a peak
	} else {
		clear(s.rows) // the strings
		s.rows = s.rows[:0]
		clear(s.index)
	}
	clear(s.recent[:])
	return dropped
}

// clean makes of the texts what every store can keep: one bad name must not hold up the counts of all others.
func (k *Key) clean() {
	k.Client = cleanText(k.Client, MaxClient)
	k.Meter = cleanText(k.Meter, MaxMeter)
	k.Endpoint = cleanText(k.Endpoint, MaxEndpoint)
}

func cleanText(s string, max int) string {
	s = strings.ReplaceAll(strings.ToValidUTF8(s, "\uFFFD"), "\x00", "\uFFFD")
	if len(s) <= max {
		return s
	}
	for max > 0 && !utf8.RuneStart(s[max]) {
		max--
	}
	return s[:max]
}

func (c *Counters) arm(after time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.closed || !c.armed.CompareAndSwap(false, true) {
		return
	}
	if c.timer != nil && c.timer.Stop() {
		c.flushes.Done() // one that a flush in between made needless
	}
	c.flushes.Add(1)
	c.timer = time.AfterFunc(after, func() {
		defer c.flushes.Done()
		ctx, cancel := context.WithTimeout(context.Background(), flushTimeout)
		defer cancel()
		if err := c.Flush(ctx); err != nil {
			c.sink.Warn("latchkey: cannot write usage; it is kept", err)
			c.arm(countRetry)
		}
	})
}

// hurry makes the flush that is due come now.
func (c *Counters) hurry() {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.timer != nil && c.timer.Stop() {
		c.timer.Reset(0)
	}
}

// Flush writes what was counted before the call. What could not be written is kept, and written first the next time.
func (c *Counters) Flush(ctx context.Context) error {
	select {
	case c.writing <- struct{}{}:
		defer func() { <-c.writing }()
	case <-ctx.Done():
		return fault.Unavailable(ctx.Err())
	}
	c.armed.Store(false) // before the stripes are emptied: see Add
	c.collect()
	if err := c.send(ctx); err != nil {
		return err // what waits goes on adding up
	}
	c.batch()
	return c.send(ctx)
}

// collect adds up what the stripes hold.
func (c *Counters) collect() {
	if c.waiting == nil {
		c.waiting = map[Key]sum{}
	}
	dropped := int64(0)
	for i := range c.stripes {
		dropped = addUp(dropped, c.stripes[i].take(c.waiting))
	}
	if dropped != 0 {
		c.sink.Warn(fmt.Sprintf("latchkey: too much usage waited for the store: %d counts are lost", dropped), nil)
	}
}

// batch makes batches of what waits.
func (c *Counters) batch() {
	rows := make([]Row, 0, len(c.waiting))
	for k, s := range c.waiting {
		r := Row{Owner: k.Owner, Client: k.Client, Meter: k.Meter, Endpoint: k.Endpoint,
			Day: time.Unix(int64(k.Day)*24*60*60, 0).UTC().Format(time.DateOnly), Count: s.count, Credits: s.credits}
		if k.Token != ([16]byte{}) {
			r.Token = uuidv7.Text(k.Token)
		}
		rows = append(rows, r)
	}
	slices.SortFunc(rows, func(a, b Row) int { // in one order on all nodes: their row locks cannot cross
		return cmp.Or(cmp.Compare(a.Owner, b.Owner), cmp.Compare(a.Day, b.Day), cmp.Compare(a.Token, b.Token),
			cmp.Compare(a.Client, b.Client), cmp.Compare(a.Meter, b.Meter), cmp.Compare(a.Endpoint, b.Endpoint))
	})
	for part := range slices.Chunk(rows, countBatch) {
		c.pending = append(c.pending, pendingBatch{Batch: Batch{Rows: part}})
	}
	c.waiting = nil
}

// send writes the batches that wait, in order, until one cannot be written.
func (c *Counters) send(ctx context.Context) error {
	for len(c.pending) > 0 {
		err := c.sendFirst(ctx, &c.pending[0])
		if err != nil {
			return err
		}
		c.pending = c.pending[1:]
	}
	c.pending = nil
	return nil
}

// sendFirst returns nil when the batch is done with.
func (c *Counters) sendFirst(ctx context.Context, b *pendingBatch) error {
	now, elapsed := c.sink.Clock()
	if !b.doubt {
		b.At, b.since = now, elapsed
	} else if elapsed-b.since > maxDoubt.Microseconds() {
		c.sink.Warn(fmt.Sprintf("latchkey: %d rows of usage are dropped: "+
			"nobody can say any more whether they were written", len(b.Rows)), nil)
		return nil
	}
	if b.ID == ([16]byte{}) {
		var err error
		if b.ID, err = c.sink.NewID(now); err != nil {
			return fault.Unavailable(err)
		}
	}
	ctx, cancel := context.WithTimeout(ctx, writeTimeout)
	defer cancel()
	err := fault.UntilKnown(ctx, func() error {
		err := c.sink.AddCounts(ctx, b.Batch)
		if err != nil && !errors.Is(err, fault.ErrUnavailable) {
			b.doubt = true
		}
		return err
	})
	switch {
	case err == nil:
		return nil
	case errors.Is(err, fault.ErrInvalid):
		c.sink.Warn(fmt.Sprintf("latchkey: the store refuses %d rows of usage for good; they are dropped", len(b.Rows)),
			err)
		return nil
	}
	return err
}

// Close writes what waits, and waits for background work until ctx ends. What is counted later waits for a Flush.
func (c *Counters) Close(ctx context.Context) error {
	c.mu.Lock()
	c.closed = true
	if c.timer != nil && c.timer.Stop() {
		c.flushes.Done()
	}
	c.mu.Unlock()
	err := c.Flush(ctx)
	return errors.Join(err, fault.WaitFor(ctx, &c.flushes))
}
