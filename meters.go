package latchkey

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

const (
	usageDelay = time.Second     // how long counts are gathered
	usageRetry = 5 * time.Second // how long they wait after the store failed
	usageRoom  = 1 << 17         // different counts that may wait: in all stripes, and as many while the store is away
	usageBatch = 1000            // rows of one transaction
	// usageDoubt is how long a batch of unknown outcome is repeated. It is shorter than any store remembers the IDs of
	// batches (24 h), so that none is added twice.
	usageDoubt = 12 * time.Hour
)

// meters gathers what Access.Count counts and writes it behind, in batches that are repeated under the same ID until
// they are known to be written.
type meters struct {
	m       *Manager
	stripes []usageStripe // a power of two: a count goes to any of them
	armed   atomic.Bool   // a flush is due

	mu      sync.Mutex // of timer and closed
	timer   *time.Timer
	closed  bool
	flushes sync.WaitGroup

	writing chan struct{} // held by who flushes, for what follows
	waiting map[usageKey]usageSum
	pending []pendingBatch
}

type pendingBatch struct {
	UsageBatch
	doubt bool  // some attempt may have written it
	since int64 // of its At, as Manager.elapsed has it
}

// usageKey is all that is told apart.
type usageKey struct {
	owner, client, meter, endpoint string
	token                          [16]byte // zero: ""
	day                            int32    // since 1970, UTC
}

type usageSum struct {
	key            usageKey
	count, credits int64
}

// usageStripe gathers some of the counts.
type usageStripe struct {
	mu      sync.Mutex
	rows    []usageSum
	index   map[usageKey]uint32 // row number + 1
	recent  [64]uint32          // the same, by a few bytes of the key: found without hashing it
	dropped int64
	_       [64]byte // so that no two of them share a cache line
}

func newMeters(m *Manager) *meters {
	n := 8
	for n < 4*runtime.GOMAXPROCS(0) && n < 64 {
		n *= 2
	}
	return &meters{m: m, stripes: make([]usageStripe, n), writing: make(chan struct{}, 1)}
}

func (u *meters) add(k usageKey, count, credits int64) {
	if !u.armed.Load() {
		u.m.now() // the first for a while: see which day it is
	}
	k.day = u.m.day.Load()
	s := &u.stripes[int(rand.Uint32())&(len(u.stripes)-1)]
	s.mu.Lock()
	row, half := s.row(&k, usageRoom/len(u.stripes))
	if row != nil {
		row.count, row.credits = addUp(row.count, count), addUp(row.credits, credits)
	} else {
		s.dropped = addUp(s.dropped, count)
	}
	s.mu.Unlock()
	// Asked again after the count is in: a flush that cleared armed in between may have passed this stripe already.
	if !u.armed.Load() {
		u.arm(usageDelay)
	}
	if half {
		u.hurry()
	}
}

// addUp adds and stops at the end of the range.
func addUp(a, b int64) int64 {
	if a > math.MaxInt64-b {
		return math.MaxInt64
	}
	return a + b
}

// row finds or adds the row of k; nil if there is no room. Half: the stripe just became half full.
func (s *usageStripe) row(k *usageKey, room int) (row *usageSum, half bool) {
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
			s.index = map[usageKey]uint32{}
		}
		s.rows = append(s.rows, usageSum{key: *k})
		n = uint32(len(s.rows))
		s.index[*k] = n
		half = len(s.rows) == room/2
	}
	*slot = n
	return &s.rows[n-1], half
}

// slot mixes a few bytes in which keys are likely to differ.
func (k *usageKey) slot() int {
	h := uint32(k.token[15]) + 31*uint32(len(k.endpoint)) + 7*uint32(len(k.meter))
	if n := len(k.endpoint); n > 0 {
		h += 13*uint32(k.endpoint[n-1]) + 5*uint32(k.endpoint[n/2])
	}
	if n := len(k.client); n > 0 {
		h += 17 * uint32(k.client[n-1])
	}
	return int(h % 64)
}

// take empties the stripe into sums, as far as there is room.
func (s *usageStripe) take(sums map[usageKey]usageSum) (dropped int64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	dropped, s.dropped = s.dropped, 0
	for i := range s.rows {
		r := &s.rows[i]
		r.key.clean()
		sum, known := sums[r.key]
		if !known && len(sums) >= usageRoom {
			dropped = addUp(dropped, r.count)
			continue
		}
		sums[r.key] = usageSum{r.key, addUp(sum.count, r.count), addUp(sum.credits, r.credits)}
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
func (k *usageKey) clean() {
	k.client = cleanText(k.client, maxClientID)
	k.meter = cleanText(k.meter, maxMeter)
	k.endpoint = cleanText(k.endpoint, maxEndpoint)
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

func (u *meters) arm(after time.Duration) {
	u.mu.Lock()
	defer u.mu.Unlock()
	if u.closed || !u.armed.CompareAndSwap(false, true) {
		return
	}
	if u.timer != nil && u.timer.Stop() {
		u.flushes.Done() // one that a flush in between made needless
	}
	u.flushes.Add(1)
	u.timer = time.AfterFunc(after, func() {
		defer u.flushes.Done()
		ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
		defer cancel()
		if err := u.flush(ctx); err != nil {
			u.m.warn("latchkey: cannot write usage; it is kept", err)
			u.arm(usageRetry)
		}
	})
}

// hurry makes the flush that is due come now.
func (u *meters) hurry() {
	u.mu.Lock()
	defer u.mu.Unlock()
	if u.timer != nil && u.timer.Stop() {
		u.timer.Reset(0)
	}
}

// flush writes what was counted before the call. What could not be written is kept, and written first the next time.
func (u *meters) flush(ctx context.Context) error {
	select {
	case u.writing <- struct{}{}:
		defer func() { <-u.writing }()
	case <-ctx.Done():
		return fault.Unavailable(ctx.Err())
	}
	u.armed.Store(false) // before the stripes are emptied: see add
	u.collect()
	if err := u.send(ctx); err != nil {
		return err // what waits goes on adding up
	}
	u.batch()
	return u.send(ctx)
}

// collect adds up what the stripes hold.
func (u *meters) collect() {
	if u.waiting == nil {
		u.waiting = map[usageKey]usageSum{}
	}
	dropped := int64(0)
	for i := range u.stripes {
		dropped = addUp(dropped, u.stripes[i].take(u.waiting))
	}
	if dropped != 0 {
		u.m.warn(fmt.Sprintf("latchkey: too much usage waited for the store: %d counts are lost", dropped), nil)
	}
}

// batch makes batches of what waits.
func (u *meters) batch() {
	rows := make([]UsageRow, 0, len(u.waiting))
	for k, s := range u.waiting {
		r := UsageRow{Owner: k.owner, ClientID: k.client, Meter: k.meter, Endpoint: k.endpoint,
			Day: time.Unix(int64(k.day)*24*60*60, 0).UTC().Format(time.DateOnly), Count: s.count, Credits: Credits(s.credits)}
		if k.token != ([16]byte{}) {
			r.TokenID = uuidv7.Text(k.token)
		}
		rows = append(rows, r)
	}
	slices.SortFunc(rows, func(a, b UsageRow) int { // in one order on all nodes: their row locks cannot cross
		return cmp.Or(cmp.Compare(a.Owner, b.Owner), cmp.Compare(a.Day, b.Day), cmp.Compare(a.TokenID, b.TokenID),
			cmp.Compare(a.ClientID, b.ClientID), cmp.Compare(a.Meter, b.Meter), cmp.Compare(a.Endpoint, b.Endpoint))
	})
	for part := range slices.Chunk(rows, usageBatch) {
		u.pending = append(u.pending, pendingBatch{UsageBatch: UsageBatch{Rows: part}})
	}
	u.waiting = nil
}

// send writes the batches that wait, in order, until one cannot be written.
func (u *meters) send(ctx context.Context) error {
	for len(u.pending) > 0 {
		err := u.sendFirst(ctx, &u.pending[0])
		if err != nil {
			return err
		}
		u.pending = u.pending[1:]
	}
	u.pending = nil
	return nil
}

// sendFirst is nil when the batch is done with.
func (u *meters) sendFirst(ctx context.Context, b *pendingBatch) error {
	at := u.m.clock()
	now, elapsed := u.m.making(at), u.m.elapsed(at)
	if !b.doubt {
		b.At, b.since = fromMicros(now), elapsed
	} else if elapsed-b.since > usageDoubt.Microseconds() {
		u.m.warn(fmt.Sprintf("latchkey: %d rows of usage are dropped: nobody can say any more whether they were written",
			len(b.Rows)), nil)
		return nil
	}
	if b.ID == ([16]byte{}) {
		var err error
		if b.ID, err = u.m.ids.New(now); err != nil {
			return fault.Unavailable(err)
		}
	}
	ctx, cancel := context.WithTimeout(ctx, flushCall)
	defer cancel()
	err := fault.UntilKnown(ctx, func() error {
		err := u.m.store.AddUsage(ctx, b.UsageBatch)
		if err != nil && !errors.Is(err, ErrUnavailable) {
			b.doubt = true
		}
		return err
	})
	switch {
	case err == nil:
		return nil
	case errors.Is(err, ErrInvalid):
		u.m.warn(fmt.Sprintf("latchkey: the store refuses %d rows of usage for good; they are dropped", len(b.Rows)), err)
		return nil
	}
	return err
}

// close writes what waits, and waits for background work as long as ctx says.
func (u *meters) close(ctx context.Context) error {
	u.mu.Lock()
	u.closed = true
	if u.timer != nil && u.timer.Stop() {
		u.flushes.Done()
	}
	u.mu.Unlock()
	err := u.flush(ctx)
	return errors.Join(err, fault.WaitFor(ctx, &u.flushes))
}
