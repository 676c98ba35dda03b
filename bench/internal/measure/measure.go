// Package measure times several ways to do the same work, in turns, in one process.
//
// In each round every way is timed once, in an order that changes from round to round. What the machine does besides
// then slows all of them, and ratios of one round stay true when times do not. No garbage collection runs while a
// sample is timed. What collections cost is measured apart: see [Result].
package measure

import (
	"fmt"
	"runtime"
	"runtime/debug"
	"runtime/metrics"
	"time"
)

// Side is one way to do the work.
type Side struct {
	Name string
	// Run does the work n times, n ≥ 1. It returns an error where an answer is wrong.
	Run func(n int) error
	// Prepare makes ready what the next Run of n needs. Its time does not count. Nil: nothing is needed.
	Prepare func(n int) error
	// Max is how often at most a sample does the work. 0: as often as takes Options.Each.
	Max int
}

// Options say how long is measured.
type Options struct {
	Each   time.Duration // how long a sample takes, about
	Rounds int           // how many samples of each side; at least 1
	// TimesOnly leaves out what is allocated and what collections cost: that takes a dozen collections of the heap.
	TimesOnly bool
	// Progress is called before each round. Nil: nobody is told.
	Progress func(round int)
}

// Result is what was measured of a side.
type Result struct {
	Name string
	// NS is the time of one piece of work in nanoseconds, by round. Nothing was collected meanwhile.
	NS Series
	// Bytes and Allocs are what one piece of work allocates: whole numbers, rounded down, as go test -bench has them.
	Bytes, Allocs float64
	// GC is the CPU time in nanoseconds, of all cores, that collections take for one piece of work, with GOGC=100 and the
	// heap as it is. It is in no figure of NS. It is 0 for what does not allocate.
	GC float64
}

// Compare measures the sides. It changes the percentage of the garbage collector meanwhile, so nothing else may.
func Compare(sides []Side, o Options) ([]Result, error) {
	defer debug.SetGCPercent(debug.SetGCPercent(-1))
	results, times := make([]Result, len(sides)), make([]int, len(sides))
	for i := range sides {
		s := &sides[i]
		results[i].Name = s.Name
		var err error
		if times[i], err = calibrate(s, o.Each); err != nil {
			return nil, fmt.Errorf("%s: %w", s.Name, err)
		}
		if o.TimesOnly {
			continue
		}
		if err = allocations(s, times[i], &results[i]); err != nil {
			return nil, fmt.Errorf("%s: %w", s.Name, err)
		}
	}
	for round := range o.Rounds {
		if o.Progress != nil {
			o.Progress(round)
		}
		for place := range sides {
			i := turn(place, round, len(sides))
			took, err := sample(&sides[i], times[i])
			if err != nil {
				return nil, fmt.Errorf("%s: %w", sides[i].Name, err)
			}
			results[i].NS = append(results[i].NS, float64(took.Nanoseconds())/float64(times[i]))
		}
	}
	return results, nil
}

// turn returns which side has its turn: each round begins with another one, and every second one goes backwards.
func turn(place, round, sides int) int {
	if round%2 == 1 {
		place = sides - 1 - place
	}
	return (place + round/2) % sides
}

// calibrate returns how often the work is to be done in a sample.
func calibrate(s *Side, each time.Duration) (int, error) {
	for n := 1; ; {
		took, err := sample(s, n)
		if err != nil {
			return 0, err
		}
		if s.Max > 0 && n >= s.Max {
			return s.Max, nil
		}
		if took >= each/2 {
			return n, nil
		}
		more := 1.1 * float64(each) / float64(max(took, 1))
		n = max(n+1, int(float64(n)*min(more, 100)))
		if s.Max > 0 {
			n = min(n, s.Max)
		}
	}
}

// sample times n pieces of work.
func sample(s *Side, n int) (time.Duration, error) {
	if s.Prepare != nil {
		if err := s.Prepare(n); err != nil {
			return 0, err
		}
	}
	collectIfDue()
	began := time.Now()
	err := s.Run(n)
	return time.Since(began), err
}

// due is how much is allocated at least before the next collection, which is made between samples: that, and a
// sixteenth of what the heap holds.
const due = 128 << 20

// collected is how much had been allocated when the last collection was made.
var collected uint64

func collectIfDue() {
	if now := read(allocatedBytes).Uint64(); now-collected >= due+read(heapBytes).Uint64()/16 {
		runtime.GC()
		collected = now
	}
}

const (
	allocatedBytes = "/gc/heap/allocs:bytes"
	heapBytes      = "/memory/classes/heap/objects:bytes"
	collectorTime  = "/cpu/classes/gc/total:cpu-seconds"
)

func read(name string) metrics.Value {
	s := []metrics.Sample{{Name: name}}
	metrics.Read(s)
	return s[0].Value
}

// allocations measures what the work allocates, and what collecting that costs.
func allocations(s *Side, n int, r *Result) error {
	if s.Prepare != nil {
		if err := s.Prepare(n); err != nil {
			return err
		}
	}
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	if err := s.Run(n); err != nil {
		return err
	}
	runtime.ReadMemStats(&after)
	r.Bytes = float64((after.TotalAlloc - before.TotalAlloc) / uint64(n))
	r.Allocs = float64((after.Mallocs - before.Mallocs) / uint64(n))
	if r.Allocs == 0 {
		return nil
	}
	cost, done := 0.0, 0
	for range collectedSamples {
		if s.Prepare != nil {
			if err := s.Prepare(n); err != nil {
				return err
			}
		}
		more, err := collections(s, n)
		if err != nil {
			return err
		}
		cost, done = cost+more, done+n
	}
	r.GC = max(0, cost*1e9/float64(done))
	return nil
}

// collectedSamples is how many samples are made with the collector on.
const collectedSamples = 4

// collections does the work n times with the collector on, and returns the CPU time in seconds that it took. The
// runtime adds that time up at the end of a collection. So one is forced before and after, and the time of such a one,
// with nothing to do but the marking of the same heap, is taken off.
func collections(s *Side, n int) (float64, error) {
	runtime.GC()
	begin := read(collectorTime).Float64()
	runtime.GC()
	alone := read(collectorTime).Float64()
	debug.SetGCPercent(100)
	err := s.Run(n)
	debug.SetGCPercent(-1)
	runtime.GC()
	return read(collectorTime).Float64() - alone - (alone - begin), err
}
