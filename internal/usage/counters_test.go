package usage

import (
	"context"
	"fmt"
	"math"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/latchkey-go/latchkey/internal/fault"
	"github.com/latchkey-go/latchkey/internal/uuidv7"
)

// sink keeps what it is given, and fails as a test says.
type sink struct {
	mu       sync.Mutex
	now      int64
	ids      uint64
	batches  []Batch // each that was written, once
	tries    int     // calls of AddCounts
	uses     [][]Use
	warnings []string
	fail     func() (before, after error)
	// what happens to owners, by name, before their batch is written: a batch of any of them waits, or fails
	owners func(ctx context.Context, owners []string) error
	groups map[string]uint32
}

func (s *sink) Group(owner string) uint32 { return s.groups[owner] }

// happens is what happens to a batch of these owners.
func (s *sink) happens(ctx context.Context, owners []string) error {
	s.mu.Lock()
	happens := s.owners
	s.mu.Unlock()
	if happens == nil {
		return nil
	}
	err := happens(ctx, owners)
	if err != nil {
		s.mu.Lock()
		defer s.mu.Unlock()
		s.tries++
	}
	return err
}

func (s *sink) Clock() (now, elapsed int64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.now, s.now
}

func (s *sink) NewID(int64) ([16]byte, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.ids++
	return [16]byte(fmt.Appendf(nil, "%016d", s.ids)), nil
}

// call writes with the fault that the test wants, in the lock.
func (s *sink) call(write func()) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.tries++
	var before, after error
	if s.fail != nil {
		before, after = s.fail()
	}
	if before == nil {
		write()
		return after
	}
	return before
}

func (s *sink) AddCounts(ctx context.Context, b Batch) error {
	var owners []string
	for _, r := range b.Rows {
		owners = append(owners, r.Owner)
	}
	if err := s.happens(ctx, owners); err != nil {
		return err
	}
	return s.call(func() {
		for _, old := range s.batches {
			if old.ID == b.ID {
				return
			}
		}
		s.batches = append(s.batches, b)
	})
}

func (s *sink) RaiseLastUsed(ctx context.Context, uses []Use) error {
	var owners []string
	for _, u := range uses {
		owners = append(owners, u.Owner)
	}
	if err := s.happens(ctx, owners); err != nil {
		return err
	}
	return s.call(func() { s.uses = append(s.uses, uses) })
}

func (s *sink) Warn(msg string, _ int64, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.warnings = append(s.warnings, msg)
}

func (s *sink) failing(f func() (before, after error)) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.fail = f
}

// rows are all rows that were written.
func (s *sink) rows() (all []Row) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, b := range s.batches {
		all = append(all, b.Rows...)
	}
	return all
}

// calls returns how often the sink was called, and how many batches were written.
func (s *sink) calls() (tries, batches int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.tries, len(s.batches)
}

// takeUses returns the last uses that were written, and forgets them.
func (s *sink) takeUses() [][]Use {
	s.mu.Lock()
	defer s.mu.Unlock()
	uses := s.uses
	s.uses = nil
	return uses
}

func (s *sink) count() (n int64) {
	for _, r := range s.rows() {
		n = addUp(n, r.Count)
	}
	return n
}

func TestCountsAddUpAndAreWrittenSoon(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &sink{}
		c := NewCounters(s)
		require.False(t, c.Armed())
		token := [16]byte{7}
		for range 100 {
			c.Add(&Key{Owner: "b", Meter: "reads", Day: 20_000}, 1, 2)
			c.Add(&Key{Owner: "a", Meter: "reads", Endpoint: "GET /", Client: "42", Token: token, Day: 20_000}, 3, 0)
		}
		require.True(t, c.Armed())
		tries, _ := s.calls()
		require.Zero(t, tries)
		time.Sleep(countDelay)
		synctest.Wait()
		_, batches := s.calls()
		require.Equal(t, 1, batches)
		require.Equal(t, []Row{
			{Owner: "a", Token: uuidv7.Text(token), Client: "42", Meter: "reads", Endpoint: "GET /", Day: "2024-10-04",
				Count: 300},
			{Owner: "b", Meter: "reads", Day: "2024-10-04", Count: 100, Credits: 200},
		}, s.rows())
		require.False(t, c.Armed())
		c.Add(&Key{Owner: "a"}, 1, 0)
		require.NoError(t, c.Close(t.Context()))
		require.EqualValues(t, 401, s.count())
		time.Sleep(time.Hour)
		c.Add(&Key{Owner: "a"}, 1, 0)
		time.Sleep(time.Hour)
		require.EqualValues(t, 401, s.count(), "what is counted later waits")
		require.NoError(t, c.Flush(t.Context()))
		require.EqualValues(t, 402, s.count())
	})
}

func TestASumStopsAtItsEnd(t *testing.T) {
	s := &sink{}
	c := NewCounters(s)
	for range 200 {
		c.Add(&Key{Owner: "a"}, math.MaxInt64, math.MaxInt64-1)
	}
	require.NoError(t, c.Flush(t.Context()))
	require.Equal(t, []Row{{Owner: "a", Day: "1970-01-01", Count: math.MaxInt64, Credits: math.MaxInt64}}, s.rows())
}

func TestTextsAreBoundedAndClean(t *testing.T) {
	for text, want := range map[string]string{
		"a\x00b\xff":                             "a\uFFFDb\uFFFD",
		strings.Repeat("é", 50):                  strings.Repeat("é", 32),
		"a" + strings.Repeat("é", 50):            "a" + strings.Repeat("é", 31),
		strings.Repeat("\xffx", 100):             strings.Repeat("\uFFFDx", 16),
		"fits exactly" + strings.Repeat(".", 52): "fits exactly" + strings.Repeat(".", 52),
	} {
		require.Equal(t, want, cleanText(text, MaxMeter))
	}
	s := &sink{}
	c := NewCounters(s)
	for i := range 9 {
		c.Add(&Key{Endpoint: strings.Repeat("e", MaxEndpoint) + fmt.Sprint(i)}, 1, 0)
	}
	require.NoError(t, c.Flush(t.Context()))
	require.Len(t, s.rows(), 1, "what differs only beyond the bound is one")
}

func TestCountsAreWrittenOnceWhateverTheStoreSays(t *testing.T) {
	for name, c := range map[string]struct {
		before, after int // how many calls fail
		err           error
		fails         bool // the first Flush
	}{
		"unknown, not done":       {before: 1, err: fault.ErrUnknownOutcome},
		"unknown, done":           {after: 1, err: fault.ErrUnknownOutcome},
		"unknown again and again": {after: 4, err: fault.ErrUnknownOutcome, fails: true},
		"unknown, and not done":   {before: 4, err: fault.ErrUnknownOutcome, fails: true},
		"unavailable":             {before: 1, err: fault.ErrUnavailable, fails: true},
		"an error it may not say": {after: 1, err: fault.ErrConflict, fails: true},
	} {
		t.Run(name, func(t *testing.T) {
			s := &sink{now: 1}
			s.fail = func() (before, after error) {
				if c.before > 0 {
					c.before--
					return c.err, nil
				}
				if c.after > 0 {
					c.after--
					return nil, c.err
				}
				return nil, nil
			}
			counters := NewCounters(s)
			counters.Add(&Key{Owner: "a"}, 10, 0)
			if err := counters.Flush(t.Context()); c.fails {
				require.ErrorIs(t, err, c.err)
			} else {
				require.NoError(t, err)
			}
			counters.Add(&Key{Owner: "a"}, 5, 0)
			s.now += maxDoubt.Microseconds()
			require.NoError(t, counters.Flush(t.Context()))
			require.EqualValues(t, 15, s.count())
			require.Len(t, s.batches, 2)
			require.EqualValues(t, 2, s.ids, "a batch keeps its ID")
			require.Empty(t, s.warnings)
			require.NoError(t, counters.Close(t.Context()))
		})
	}
}

// A batch of unknown outcome is not repeated for longer than stores remember its ID; one that is known not to be
// written waits for as long as it takes. One that the store refuses for good holds up no other.
func TestBatchesThatAreGivenUp(t *testing.T) {
	synctest.Test(t, testBatchesThatAreGivenUp)
}

func testBatchesThatAreGivenUp(t *testing.T) {
	s := &sink{now: 1}
	c := NewCounters(s)
	try := func(err error, after bool) error {
		s.fail = func() (error, error) {
			if after {
				return nil, err
			}
			return err, nil
		}
		c.Add(&Key{Owner: "a"}, 10, 0)
		got := c.Flush(t.Context())
		s.fail = nil
		return got
	}
	require.ErrorIs(t, try(fault.ErrUnavailable, false), fault.ErrUnavailable)
	s.now += 100 * maxDoubt.Microseconds()
	require.NoError(t, c.Flush(t.Context()))
	require.EqualValues(t, 10, s.count())
	require.Empty(t, s.warnings)

	require.ErrorIs(t, try(fault.ErrUnknownOutcome, true), fault.ErrUnknownOutcome)
	s.batches = nil // it forgot
	s.now += maxDoubt.Microseconds() + 1
	require.NoError(t, c.Flush(t.Context()))
	require.Empty(t, s.rows())
	require.Len(t, s.warnings, 1)
	require.Contains(t, s.warnings[0], "nobody can say")

	require.NoError(t, try(fault.ErrInvalid, false))
	require.Contains(t, s.warnings[1], "for good")
	require.NoError(t, c.Close(t.Context()))
	require.Empty(t, s.rows())
}

func TestFlushObeysItsContext(t *testing.T) {
	s := &sink{}
	c := NewCounters(s)
	c.Add(&Key{Owner: "a"}, 10, 0)
	writing := c.boxes.group(0).writing
	writing <- struct{}{} // another one flushes
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	require.ErrorIs(t, c.Flush(ctx), fault.ErrUnavailable)
	require.ErrorIs(t, c.FlushOwner(ctx, "a"), fault.ErrUnavailable)
	<-writing
	require.NoError(t, c.Flush(t.Context()))
	require.EqualValues(t, 10, s.count())
}

// While the store is away counts wait, as many as there is room for; how many are lost is logged.
func TestMemoryIsBounded(t *testing.T) {
	st := stripe{}
	for i := range 10 {
		row, half := st.row(&Key{Endpoint: fmt.Sprint(i)}, 8, 4)
		require.Equal(t, i < 8, row != nil)
		require.Equal(t, i == 3, half, "%d", i)
	}
	row, _ := st.row(&Key{Endpoint: "7"}, 8, 4)
	require.NotNil(t, row, "what has a row goes on adding up")
	taken := 0
	require.Zero(t, st.take(func(sum) { taken++ }))
	require.Equal(t, 8, taken)
	require.Empty(t, st.rows)

	s := &sink{groups: map[string]uint32{"other": 7}}
	c := NewCounters(s)
	sums := map[Key]sum{}
	for i := range int32(CountRoom) {
		sums[Key{Day: i}] = sum{key: Key{Day: i}, count: 1}
	}
	c.waiting[0] = sums
	c.Add(&Key{Owner: "new"}, 5, 0)
	c.Add(&Key{Owner: "other"}, 5, 0)
	c.Add(&Key{Day: 1}, 5, 0)
	c.collect()
	require.Len(t, c.waiting[0], CountRoom)
	require.EqualValues(t, 6, c.waiting[0][Key{Day: 1}].count)
	require.Len(t, c.waiting[7], 1, "another group has room of its own")
	require.Equal(t, []string{"latchkey: too much usage waited for the store: 5 counts are lost"}, s.warnings)
	clear(c.waiting)
	require.NoError(t, c.Close(t.Context()))
}

// Nothing is lost between those that count and those that write at the same time.
func TestNothingIsLost(t *testing.T) {
	s := &sink{}
	c := NewCounters(s)
	var counters, writers sync.WaitGroup
	done := make(chan struct{})
	for g := range 4 {
		counters.Go(func() {
			for i := range 5000 {
				c.Add(&Key{Endpoint: fmt.Sprint((i + g) % 300)}, 1, 2)
			}
		})
		writers.Go(func() {
			for {
				select {
				case <-done:
					return
				case <-time.After(time.Millisecond):
					c.Flush(context.Background())
				}
			}
		})
	}
	counters.Wait()
	close(done)
	writers.Wait()
	require.NoError(t, c.Close(t.Context()))
	require.EqualValues(t, 20_000, s.count())
}

func TestAddDoesNotAllocate(t *testing.T) {
	c := NewCounters(&sink{})
	add := func() { c.Add(&Key{Owner: "a", Endpoint: "GET /"}, 1, 1) }
	for range 1000 { // until each stripe has seen it
		add()
	}
	require.Zero(t, testing.AllocsPerRun(1000, add))
	require.NoError(t, c.Close(t.Context()))
}

// Refusals, however many, leave half of the room to what hosts count.
func TestRefusalsLeaveRoom(t *testing.T) {
	require.Greater(t, len(RefusedMeter), MaxMeter, "or a host could have counted by it")
	s := &sink{}
	c := NewCounters(s)
	c.closed = true // nothing is written before it is looked at
	for i := range int32(CountRoom) {
		c.Add(&Key{Owner: "a", Meter: RefusedMeter, Endpoint: "expired", Day: i}, 1, 0)
	}
	held := 0
	for i := range c.stripes {
		held += len(c.stripes[i].rows)
	}
	require.LessOrEqual(t, held, CountRoom/2)
	c.Add(&Key{Owner: "a", Meter: "calls"}, 1, 0)
	c.collect()
	require.LessOrEqual(t, len(c.waiting[0]), CountRoom/2+1)
	require.Contains(t, c.waiting[0], Key{Owner: "a", Meter: "calls"})
	for i := range int32(CountRoom) {
		c.put(0, []sum{{key: Key{Owner: "a", Meter: RefusedMeter, Day: -i}, count: 1}})
	}
	require.LessOrEqual(t, len(c.waiting[0]), CountRoom/2+1)
	clear(c.waiting)
	c.Add(&Key{Owner: "a", Meter: RefusedMeter, Endpoint: "expired"}, 1, 0)
	require.NoError(t, c.Flush(t.Context()))
	rows := s.rows()
	require.Equal(t, RefusedMeter, rows[len(rows)-1].Meter, "whole")
	require.NoError(t, c.Close(t.Context()))
}
