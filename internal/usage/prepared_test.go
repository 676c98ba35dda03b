package usage

import (
	"context"
	"fmt"
	"math"
	"runtime"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// sums returns what was written, by day.
func (s *sink) sums() (count, credits map[string]int64) {
	count, credits = map[string]int64{}, map[string]int64{}
	for _, r := range s.rows() {
		count[r.Day] += r.Count
		credits[r.Day] += r.Credits
	}
	return count, credits
}

func TestPreparedCountsByDay(t *testing.T) {
	s := &sink{}
	c := NewCounters(s)
	p := c.Prepare(Key{Owner: "a", Client: "b\x00", Meter: "calls", Endpoint: "GET /", Token: [16]byte{1}})
	require.False(t, p.Pending())
	p.Add(1, 2, 0)
	require.True(t, p.Pending())
	require.Equal(t, 1, c.Waiting())
	p.Add(1, 1, 5)
	p.Add(2, 4, 0)
	p.Add(2, 0, 6)
	require.NoError(t, c.Flush(t.Context()))
	require.False(t, p.Pending())
	require.Zero(t, c.Waiting())
	count, credits := s.sums()
	require.Equal(t, map[string]int64{"1970-01-02": 3, "1970-01-03": 4}, count)
	require.Equal(t, map[string]int64{"1970-01-02": 5, "1970-01-03": 6}, credits)
	for _, r := range s.rows() {
		r.Day, r.Count, r.Credits = "", 0, 0
		require.Equal(t, Row{Owner: "a", Client: "b\uFFFD", Meter: "calls", Endpoint: "GET /",
			Token: "01000000-0000-0000-0000-000000000000"}, r)
	}
	written := len(s.rows())
	require.NoError(t, c.Flush(t.Context()))
	require.Len(t, s.rows(), written, "nothing is written twice")
	p.Add(2, 1, 0)
	require.NoError(t, c.Close(t.Context()))
	count, _ = s.sums()
	require.EqualValues(t, 5, count["1970-01-03"])
	p.Add(2, 1, 0) // waits for a Flush
	require.NoError(t, c.Flush(t.Context()))
	count, _ = s.sums()
	require.EqualValues(t, 6, count["1970-01-03"])
}

// Counting alone makes a flush come, and a Prepared that nothing refers to any more is written too.
func TestPreparedIsWrittenByItself(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &sink{}
		c := NewCounters(s)
		c.Prepare(Key{Owner: "a"}).Add(1, 7, 0)
		runtime.GC()
		time.Sleep(2 * countDelay)
		synctest.Wait()
		require.EqualValues(t, 7, s.count())
		c.Prepare(Key{Owner: "a"}).Add(1, 1, 0)
		time.Sleep(2 * countDelay)
		synctest.Wait()
		require.EqualValues(t, 8, s.count())
		require.NoError(t, c.Close(t.Context()))
	})
}

// However many count, and whenever it is flushed and the day turns, each count is written once.
func TestPreparedLosesNothing(t *testing.T) {
	s := &sink{}
	c := NewCounters(s)
	shared := []*Prepared{c.Prepare(Key{Endpoint: "0"}), c.Prepare(Key{Endpoint: "1"}), c.Prepare(Key{Endpoint: "2"})}
	var counters, writers sync.WaitGroup
	done := make(chan struct{})
	for g := range 4 {
		counters.Go(func() {
			for i := range 30_000 {
				shared[(i+g)%3].Add(int32(i/5000), 1, 2)
				if i%1000 == 0 {
					c.Prepare(Key{Endpoint: fmt.Sprint(g)}).Add(int32(i/5000), 1, 2)
				}
			}
		})
		writers.Go(func() {
			for {
				select {
				case <-done:
					return
				default:
					c.Flush(context.Background())
					runtime.Gosched()
				}
			}
		})
	}
	counters.Wait()
	close(done)
	writers.Wait()
	require.NoError(t, c.Close(t.Context()))
	count, credits := s.sums()
	total, spent := int64(0), int64(0)
	for day := range count {
		total, spent = total+count[day], spent+credits[day]
	}
	require.EqualValues(t, 4*30_030, total)
	require.EqualValues(t, 2*4*30_030, spent)
	require.Len(t, count, 6)
}

// No sum wraps: large numbers do not stay in a cell, and neither does a large sum.
func TestPreparedStopsAtTheEndOfTheRange(t *testing.T) {
	s := &sink{}
	c := NewCounters(s)
	p := c.Prepare(Key{Owner: "a"})
	p.turn(1, 0, 0)
	for range 3 {
		p.Add(1, 5, 5) // a cell that holds this has no room for what follows
		p.Add(1, math.MaxInt64, 1)
		p.Add(1, 5, 5)
		p.Add(1, 1, math.MaxInt64)
	}
	for i := range p.cells {
		require.Zero(t, p.cells[i].count.Load()+p.cells[i].credits.Load())
		p.cells[i].count.Store(fullCell)
		p.cells[i].credits.Store(fullCell)
	}
	p.Add(1, 1, 0)
	for i := range p.cells {
		require.Zero(t, p.cells[i].count.Load()+p.cells[i].credits.Load(), "emptied")
		p.cells[i].credits.Store(fullCell)
	}
	p.Add(1, 0, 1)
	for i := range p.cells {
		require.Zero(t, p.cells[i].credits.Load(), "emptied")
	}
	require.NoError(t, c.Close(t.Context()))
	count, credits := s.sums()
	require.EqualValues(t, math.MaxInt64, count["1970-01-02"])
	require.EqualValues(t, math.MaxInt64, credits["1970-01-02"])
}

func TestAllocationsOfPrepared(t *testing.T) {
	c := NewCounters(&sink{})
	p := c.Prepare(Key{Owner: "a"})
	p.Add(1, 1, 1)
	require.Zero(t, testing.AllocsPerRun(1000, func() { p.Add(1, 1, 1) }))
	require.NoError(t, c.Close(t.Context()))
}

// One goroutine alone has the room of all stripes, for its counts mostly go to one of them.
func TestOneGoroutineHasAllTheRoom(t *testing.T) {
	c := NewCounters(&sink{})
	c.closed = true // nothing is written before it is looked at
	room := CountRoom / len(c.stripes) * len(c.stripes)
	for i := range int32(room + 10) {
		c.Add(&Key{Owner: "a", Day: i}, 1, 0)
	}
	held, dropped := 0, int64(0)
	for i := range c.stripes {
		held += len(c.stripes[i].rows)
		dropped += c.stripes[i].dropped
	}
	assert.Equal(t, room, held)
	assert.EqualValues(t, 10, dropped)
}

func BenchmarkPrepared(b *testing.B) {
	c := NewCounters(&sink{})
	p := c.Prepare(Key{Owner: "a", Endpoint: "GET /"})
	b.Run("1", func(b *testing.B) {
		for b.Loop() {
			p.Add(1, 1, 0)
		}
	})
	b.Run("contended", func(b *testing.B) {
		b.RunParallel(func(pb *testing.PB) {
			for pb.Next() {
				p.Add(1, 1, 0)
			}
		})
	})
	require.NoError(b, c.Close(context.Background()))
}

// Keys that are counted often are told apart by all that they hold, and by their days.
func TestOftenCountedKeysAreToldApart(t *testing.T) {
	s := &sink{}
	c := NewCounters(s)
	keys := []Key{{Owner: "a"}, {Owner: "b"}, {Owner: "a", Token: [16]byte{1}}, {Owner: "a", Token: [16]byte{2}},
		{Owner: "a", Client: "12"}, {Owner: "a", Client: "32"}, {Owner: "a", Meter: "x"}, {Owner: "a", Meter: "y"},
		{Owner: "a", Endpoint: "12.."}, {Owner: "a", Endpoint: "32.."}}
	want := map[string]int64{}
	for round := range 4 { // one key goes on for a while, until it is one that is counted often
		for i := range keys {
			for n := range 3 * oftenFrom {
				k := keys[i]
				k.Day = int32(n % 2)
				c.Add(&k, 1, 0)
				r := (&sum{key: k}).row()
				want[fmt.Sprint(r)]++
			}
		}
		if round%2 == 0 {
			require.NoError(t, c.Flush(t.Context()))
		}
	}
	often := 0
	for i := range c.stripes {
		for j := range c.stripes[i].often {
			if c.stripes[i].often[j].Load() != nil {
				often++
			}
		}
	}
	require.NotZero(t, often)
	require.NoError(t, c.Close(t.Context()))
	got := map[string]int64{}
	for _, r := range s.rows() {
		n := r.Count
		r.Count = 0
		got[fmt.Sprint(r)] += n
	}
	require.Equal(t, want, got)
}

func BenchmarkAdd(b *testing.B) {
	c := NewCounters(&sink{})
	k := Key{Owner: "acme", Client: "user-17", Meter: "messages", Endpoint: "GET /orders/{id}", Token: [16]byte{15: 7}}
	b.Run("1", func(b *testing.B) {
		for b.Loop() {
			c.Add(&k, 1, 0)
		}
	})
	b.Run("contended", func(b *testing.B) {
		b.RunParallel(func(pb *testing.PB) {
			k := k
			for pb.Next() {
				c.Add(&k, 1, 0)
			}
		})
	})
	require.NoError(b, c.Close(context.Background()))
}
