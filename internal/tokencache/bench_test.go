package tokencache

import (
	"fmt"
	"math/rand/v2"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"
)

// BenchmarkGrowth fills caches of 10^3 to 10^7 plain tokens. For each it says what a look-up in random order takes, how
// many bytes a token has taken at the most since a tenth of them were there, what a forced collection takes, and the
// slowest Put on the way. The last is also what a reader could not be held up by: it takes no lock.
func BenchmarkGrowth(b *testing.B) {
	for n := 1000; n <= 10_000_000; n *= 10 {
		if n > 1_000_000 && testing.Short() {
			continue
		}
		b.Run(fmt.Sprintf("tokens=%d", n), func(b *testing.B) {
			heap := func() uint64 {
				runtime.GC()
				var m runtime.MemStats
				runtime.ReadMemStats(&m)
				return m.HeapAlloc
			}
			before := heap()
			c := newCache(n)
			e := entryOf(0, "reader")
			e.Resets = c.Resets()
			slow := make([]time.Duration, 0, n)
			most := 0.0
			for i := range uint64(n) {
				e.ID = idOf(i)
				start := time.Now()
				c.Feed.Put(sumOf(i), e)
				slow = append(slow, time.Since(start))
				if done := int(i) + 1; done >= n/10 && done%(n/10) == 0 {
					most = max(most, float64(heap()-before-uint64(n)*8)/float64(done))
				}
			}
			start := time.Now()
			runtime.GC()
			collection := time.Since(start)
			slices.Sort(slow)
			random := make([]uint64, 1<<20)
			for i := range random {
				random[i] = rand.Uint64N(uint64(n))
			}
			i := 0
			for b.Loop() {
				sum := sumOf(random[i&(len(random)-1)])
				hit, _ := c.Lookup(&sum)
				if _, _, _, ok := c.Live(&hit, &sum); !ok {
					b.Fatal("lost")
				}
				i++
			}
			b.ReportMetric(most, "B/token")
			b.ReportMetric(float64(collection.Microseconds())/1000, "ms/collection")
			b.ReportMetric(float64(slow[len(slow)-1].Microseconds())/1000, "ms/slowest-Put")
			b.ReportMetric(float64(slow[len(slow)*999/1000].Nanoseconds()), "ns/99.9%-Put")
		})
	}
}

// BenchmarkRemade says what a change of a record costs that 100,000 tokens share, until all of them are valid again.
func BenchmarkRemade(b *testing.B) {
	const n = 100_000
	c := newCache(n)
	for i := range uint64(n) {
		c.Put(sumOf(i), entryOf(i, "reader"))
	}
	epoch := uint64(0)
	for b.Loop() {
		epoch++
		c.Apply([]Change{{Dependency: role("reader"), Remade: true}}, epoch)
		e := entryOf(0, strings.Clone("reader"))
		e.Epoch = epoch
		c.Put(sumOf(0), e)
		for i := range uint64(n) {
			if !has(c, i) {
				b.Fatal("not valid")
			}
		}
	}
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/n, "ns/token")
}
