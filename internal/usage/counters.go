package usage

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"math"
	"runtime"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"
	"unicode/utf8"
	"unsafe"

	"github.com/latchkey-go/latchkey/internal/fault"
	"github.com/latchkey-go/latchkey/internal/uuidv7"
)

// Most bytes of the texts of a Key. What is longer is cut off.
const (
	MaxClient   = 256
	MaxMeter    = 64
	MaxEndpoint = 256
)

// RefusedMeter is the meter of refusals, with the reason as Endpoint. It is longer than MaxMeter, so that no count of a
// host ever had it or can have it.
const RefusedMeter = "latchkey/refused: requests that were refused, by reason, as RefusalReport shows"

// CountRoom is how many different counts may wait: in all stripes, and as many of each group.
const CountRoom = 1 << 17

const (
	countDelay = time.Second     // how long counts are gathered
	countRetry = 5 * time.Second // how long they wait after the store failed
	countMost  = 1 << 13         // rows of one transaction
	countAim   = 50 * time.Millisecond
	// maxDoubt is how long a batch of unknown outcome is repeated. It is shorter than any store remembers the IDs of
	// batches (24 h), so that none is added twice.
	maxDoubt = 12 * time.Hour
)

// CounterSink is what [Counters] write to. It is safe for concurrent use.
type CounterSink interface {
	// Clock returns the time, and how much time has passed since some moment, both in µs. The latter goes on evenly when
	// the clock is set.
	Clock() (now, elapsed int64)
	// Group returns which owners may be written together: those with the same number.
	Group(owner string) uint32
	// NewID returns a new id for the time now.
	NewID(now int64) ([16]byte, error)
	// AddCounts adds the rows of a batch, all of one group, to what is stored. It does nothing if a batch with that ID was
	// added.
	// ErrInvalid refuses the batch for good; after ErrUnavailable nothing was written; after any other error it may have
	// been.
	AddCounts(ctx context.Context, b Batch) error
	// Warn logs what no caller is told: lost is how much will never be written. The error may be nil.
	Warn(msg string, lost int64, err error)
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
	stripes []stripe    // a power of two: a count goes to any of them, and mostly to the same from one goroutine
	armed   atomic.Bool // a flush is due

	timing sync.Mutex // of what follows, to closed
	timer  *time.Timer
	closed bool

	listing sync.Mutex // of listed
	listed  []*Prepared

	mu      sync.Mutex             // of waiting
	waiting map[uint32]map[Key]sum // by group
	boxes   outboxes[sum]
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
	// What is counted often, by the same bytes: counted without the lock. Such a key may have a row as well.
	often [64]atomic.Pointer[Prepared]
	_     [64]byte // so that no two of them share a cache line
}

// NewCounters returns Counters that write to sink. They start nothing before something is counted.
func NewCounters(sink CounterSink) *Counters {
	c := &Counters{sink: sink, stripes: make([]stripe, width()), waiting: map[uint32]map[Key]sum{}}
	c.boxes = outboxes[sum]{take: c.take, put: c.put, waits: c.waits, delay: countDelay, retry: countRetry,
		open: func() *outbox[sum] {
			return &outbox[sum]{pace: newPace(countMost, countAim), room: CountRoom, write: c.write, drop: c.drop}
		},
		fail: func(err error) { sink.Warn("latchkey: cannot write usage; it is kept", 0, err) }}
	c.boxes.init()
	return c
}

// width returns into how many parts counts are split, so that processors seldom write to the same one: a power of two.
func width() int {
	n := 8
	for n < 4*runtime.GOMAXPROCS(0) && n < 64 {
		n *= 2
	}
	return n
}

// part returns a number that stays the same while a goroutine counts in a loop, and mostly differs between goroutines.
// It comes from where the stack is. So a processor goes on with the memory that it has, which a random part costs.
func part() uint32 {
	var here byte
	return uint32(uintptr(unsafe.Pointer(&here))>>12) * 0x9e3779b1 >> 16
}

// Armed reports whether a flush is due, so that something was counted of late.
func (c *Counters) Armed() bool { return c.armed.Load() }

// Add adds to what was counted of a key. Neither number is negative; a sum stops at the end of its range.
func (c *Counters) Add(k *Key, count, credits int64) {
	often := &c.stripes[int(part())&(len(c.stripes)-1)].often[k.slot()]
	p := often.Load()
	if p != nil && p.key.is(k) {
		p.addTo(&p.cells[0], k.Day, count, credits) // it has no other
		return
	}
	sofar := c.addRow(k, count, credits)
	// One that is in use stays, or two keys of one place would take turns.
	if sofar >= oftenFrom && k.Meter != RefusedMeter && (p == nil || !p.Pending()) {
		p = c.prepare(*k, 1)
		c.list(p) // so that it is in use from now on
		often.Store(p)
	}
}

// addRow is Add to a row of a stripe. It returns the count of that row, 0 if there was no room for it.
func (c *Counters) addRow(k *Key, count, credits int64) (sofar int64) {
	at, last := int(part()), len(c.stripes)-1
	half := false
	for tries := 0; ; tries++ {
		var added bool
		s := &c.stripes[(at+tries)&last]
		if added, half, sofar = s.add(k, count, credits, CountRoom/len(c.stripes), tries == last); added {
			break
		}
	}
	// Asked after the count is in: a flush that cleared armed in between may have passed this stripe already.
	if !c.armed.Load() {
		c.arm(countDelay)
	}
	if half {
		c.hurry()
	}
	return sofar
}

// add is Counters.Add for a stripe that has room for so many rows. It returns false if there is none left, unless no
// other stripe can be tried: then the count is dropped. Half: it just got half as many. Sofar is the count of the row.
func (s *stripe) add(k *Key, count, credits int64, room int, last bool) (added, half bool, sofar int64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	most := room
	if k.Meter == RefusedMeter {
		most /= 2 // refusals, which callers can cause at will, leave room for the rest
	}
	row, half := s.row(k, most, room/2)
	switch {
	case row != nil:
		row.count, row.credits = addUp(row.count, count), addUp(row.credits, credits)
		sofar = row.count
	case last:
		s.dropped = addUp(s.dropped, count)
	default:
		return false, false, 0
	}
	return true, half, sofar
}

// oftenFrom is the count of a row from which its key is one that is counted often.
const oftenFrom = 32

// addUp adds and stops at the end of the range.
func addUp(a, b int64) int64 {
	if a > math.MaxInt64-b {
		return math.MaxInt64
	}
	return a + b
}

// row finds or adds the row of k. It returns nil if there is no room. Half: the stripe just got as many rows as full.
func (s *stripe) row(k *Key, room, full int) (row *sum, half bool) {
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
		half = len(s.rows) == full
	}
	*slot = n
	return &s.rows[n-1], half
}

// is reports whether k and o differ in their days at most.
func (k *Key) is(o *Key) bool {
	return k.Token == o.Token && k.Endpoint == o.Endpoint && k.Client == o.Client && k.Meter == o.Meter &&
		k.Owner == o.Owner
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

// take empties the stripe. Each row is given to add.
func (s *stripe) take(add func(sum)) (dropped int64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	dropped, s.dropped = s.dropped, 0
	for i := range s.rows {
		s.rows[i].key.clean()
		add(s.rows[i])
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
	if k.Meter != RefusedMeter {
		k.Meter = cleanText(k.Meter, MaxMeter)
	}
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

// arm makes a flush of all groups come.
func (c *Counters) arm(after time.Duration) {
	c.timing.Lock()
	defer c.timing.Unlock()
	if c.closed || !c.armed.CompareAndSwap(false, true) {
		return
	}
	if c.timer != nil {
		c.timer.Stop()
	}
	c.timer = time.AfterFunc(after, c.flushBehind)
}

// flushBehind makes a flush of all groups come in the background, now.
func (c *Counters) flushBehind() {
	c.collect()
	for _, group := range c.groups() {
		c.boxes.flushLater(group, 0)
	}
}

// hurry makes the flush that is due come now.
func (c *Counters) hurry() {
	c.timing.Lock()
	defer c.timing.Unlock()
	if c.timer != nil && c.timer.Stop() {
		go c.flushBehind() // no timer: see flushLater
	}
}

// Flush writes what was counted before the call. What could not be written is kept, and written again the next time.
func (c *Counters) Flush(ctx context.Context) error {
	c.collect()
	return c.boxes.flushAll(ctx, c.groups())
}

// FlushOwner is Flush of an owner's group.
func (c *Counters) FlushOwner(ctx context.Context, owner string) error {
	c.collect()
	own := c.sink.Group(owner)
	for _, group := range c.groups() {
		if group != own {
			c.boxes.flushLater(group, countDelay)
		}
	}
	return c.boxes.flush(ctx, own)
}

// collect adds up what the stripes hold.
func (c *Counters) collect() {
	dropped := int64(0)
	defer func() { c.lost(dropped) }()
	c.mu.Lock()
	defer c.mu.Unlock()
	c.armed.Store(false) // before the stripes are emptied: see Add
	// Before the stripes: what another goroutine moves there is in one or the other.
	c.listing.Lock()
	listed := c.listed
	c.listed = nil
	c.listing.Unlock()
	for _, p := range listed {
		if r, ok := p.take(); ok {
			dropped = addUp(dropped, c.add(c.sink.Group(r.key.Owner), &r))
		}
	}
	for i := range c.stripes {
		stripe := c.stripes[i].take(func(r sum) {
			dropped = addUp(dropped, c.add(c.sink.Group(r.key.Owner), &r))
		})
		dropped = addUp(dropped, stripe)
	}
}

// add adds to what waits of a group. It returns how much there was no room for. The caller holds c.mu.
func (c *Counters) add(group uint32, r *sum) (dropped int64) {
	sums := c.waiting[group]
	if sums == nil {
		sums = map[Key]sum{}
		c.waiting[group] = sums
	}
	was, known := sums[r.key]
	room := CountRoom
	if r.key.Meter == RefusedMeter {
		room /= 2
	}
	if !known && len(sums) >= room {
		return r.count
	}
	sums[r.key] = sum{r.key, addUp(was.count, r.count), addUp(was.credits, r.credits)}
	return 0
}

func (c *Counters) lost(dropped int64) {
	if dropped != 0 {
		c.sink.Warn(fmt.Sprintf("latchkey: too much usage waited for the store: %d counts are lost", dropped), dropped, nil)
	}
}

// groups returns the groups of which something waits.
func (c *Counters) groups() (groups []uint32) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for group := range c.waiting {
		groups = append(groups, group)
	}
	return groups
}

func (c *Counters) waits(group uint32) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return len(c.waiting[group]) > 0
}

// take returns what waits of a group, in one order on all nodes: their row locks cannot cross.
func (c *Counters) take(group uint32) []sum {
	c.mu.Lock()
	rows := takeAll(c.waiting, group)
	c.mu.Unlock()
	slices.SortFunc(rows, func(a, b sum) int {
		x, y := &a.key, &b.key
		return cmp.Or(cmp.Compare(x.Owner, y.Owner), cmp.Compare(x.Day, y.Day), bytes.Compare(x.Token[:], y.Token[:]),
			cmp.Compare(x.Client, y.Client), cmp.Compare(x.Meter, y.Meter), cmp.Compare(x.Endpoint, y.Endpoint))
	})
	return rows
}

// put adds to what waits what could not be written.
func (c *Counters) put(group uint32, rows []sum) {
	if len(rows) == 0 {
		return
	}
	dropped := int64(0)
	defer func() { c.lost(dropped) }()
	c.mu.Lock()
	defer c.mu.Unlock()
	for i := range rows {
		dropped = addUp(dropped, c.add(group, &rows[i]))
	}
}

// write makes one attempt to write a batch.
func (c *Counters) write(ctx context.Context, b *batch[sum]) error {
	now, elapsed := c.sink.Clock()
	if !b.doubt {
		b.at, b.since = now, elapsed
	} else if elapsed-b.since > maxDoubt.Microseconds() {
		c.sink.Warn(fmt.Sprintf("latchkey: %d rows of usage are dropped: "+
			"nobody can say any more whether they were written", len(b.items)), total(b.items), nil)
		return nil
	}
	if b.id == ([16]byte{}) {
		var err error
		if b.id, err = c.sink.NewID(now); err != nil {
			return fault.Unavailable(err)
		}
	}
	rows := Batch{ID: b.id, At: b.at, Rows: make([]Row, len(b.items))}
	for i := range b.items {
		rows.Rows[i] = b.items[i].row()
	}
	return fault.UntilKnown(ctx, func() error {
		err := c.sink.AddCounts(ctx, rows)
		if err != nil && !errors.Is(err, fault.ErrUnavailable) && !errors.Is(err, fault.ErrInvalid) {
			b.doubt = true
		}
		return err
	})
}

func (s *sum) row() Row {
	k := &s.key
	r := Row{Owner: k.Owner, Client: k.Client, Meter: k.Meter, Endpoint: k.Endpoint, Day: dayText(k.Day), Count: s.count,
		Credits: s.credits}
	if k.Token != ([16]byte{}) {
		r.Token = uuidv7.Text(k.Token)
	}
	return r
}

func dayText(day int32) string {
	return time.Unix(int64(day)*24*60*60, 0).UTC().Format(time.DateOnly)
}

func (c *Counters) drop(rows []sum, why string, err error) {
	c.sink.Warn(fmt.Sprintf("latchkey: %d rows of usage are dropped: %s", len(rows), why), total(rows), err)
}

// total returns the sum of what was counted in rows.
func total(rows []sum) (n int64) {
	for i := range rows {
		n = addUp(n, rows[i].count)
	}
	return n
}

// Waiting returns how many rows wait to be written, by the latest look.
func (c *Counters) Waiting() int {
	n := c.boxes.pending()
	c.listing.Lock()
	n += len(c.listed)
	c.listing.Unlock()
	for i := range c.stripes {
		s := &c.stripes[i]
		s.mu.Lock()
		n += len(s.rows)
		s.mu.Unlock()
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, sums := range c.waiting {
		n += len(sums)
	}
	return n
}

// Close writes what waits, and waits for background work until ctx ends. What is counted later waits for a Flush.
func (c *Counters) Close(ctx context.Context) error {
	c.timing.Lock()
	c.closed = true
	if c.timer != nil {
		c.timer.Stop()
	}
	c.timing.Unlock()
	c.collect()
	return c.boxes.close(ctx, c.groups())
}
