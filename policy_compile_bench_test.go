package latchkey

import (
	"fmt"
	"runtime"
	"testing"
)

// BenchmarkCompile compiles policies of n grants, in one role and in many. The metric B/grant is what the compiled
// policy keeps, without the rules that it was made of.
func BenchmarkCompile(b *testing.B) {
	for _, c := range []struct{ roles, grants int }{{1, 1}, {1, 100}, {1, 10_000}, {1, 100_000}, {100, 100}, {100, 1000}} {
		b.Run(fmt.Sprintf("roles=%d/grants=%d", c.roles, c.grants), func(b *testing.B) {
			known := map[string]Role{}
			var l layer
			for i := range c.roles {
				r := Role{ID: fmt.Sprint("r", i)}
				for j := range c.grants {
					r.Permissions = append(r.Permissions,
						Grant(Read).On(Exactly(Path("dataset", fmt.Sprintf("d%06d", i*c.grants+j)))))
				}
				known[r.ID] = r
				l.roles = append(l.roles, r.ID)
			}
			heap := func() int64 {
				var m runtime.MemStats
				runtime.GC()
				runtime.ReadMemStats(&m)
				return int64(m.HeapAlloc)
			}
			before := heap()
			p := newPolicy([]layer{l}, known)
			kept := heap() - before
			runtime.KeepAlive(p)
			b.ReportAllocs()
			for b.Loop() {
				newPolicy([]layer{l}, known)
			}
			b.ReportMetric(float64(kept)/float64(c.roles*c.grants), "B/grant")
			b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/float64(c.roles*c.grants), "ns/grant")
		})
	}
}
