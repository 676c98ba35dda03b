package latchkeyotel

import (
	"math/rand/v2"
	"sync"
	"sync/atomic"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/metric"
)

// The SDK's synchronous counters find the attribute set of each addition in a map, which takes longer than a cached
// Verify. So counts are kept here, by place, and are read at each collection.

// stripes is how many copies of a grid are counted in, so that processors seldom wait for each other.
const stripes = 8

// labels are the attributes of a family, with their lists of values. Cells are numbered by the places of both.
type labels struct {
	keys  []string
	lists []*list
}

// cells returns the number of combinations.
func (l *labels) cells() int {
	n := 1
	for _, list := range l.lists {
		n *= len(list.values)
	}
	return n
}

// attributes returns the attributes of a cell.
func (l *labels) attributes(cell int) []attribute.KeyValue {
	all := make([]attribute.KeyValue, len(l.lists))
	for i := len(l.lists) - 1; i >= 0; i-- {
		n := len(l.lists[i].values)
		all[i] = attribute.String(l.keys[i], l.lists[i].values[cell%n])
		cell /= n
	}
	return all
}

// grid is one count for each cell. Its options are the attributes of each.
type grid struct {
	counts  [stripes][]atomic.Int64
	options []metric.ObserveOption
}

func newGrid(l *labels, more []attribute.KeyValue) *grid {
	g := &grid{options: make([]metric.ObserveOption, l.cells())}
	for i := range g.counts {
		// Each slice is an allocation of its own, with a cache line to spare.
		g.counts[i] = make([]atomic.Int64, l.cells()+8)[:l.cells()]
	}
	for i := range g.options {
		g.options[i] = metric.WithAttributeSet(attribute.NewSet(append(l.attributes(i), more...)...))
	}
	return g
}

func (g *grid) add(cell int, n int64) { g.counts[rand.Uint32()%stripes][cell].Add(n) }

// family is a counter: a grid, and one for each owner that is told apart.
type family struct {
	instrument metric.Int64ObservableCounter
	labels     *labels
	common     []attribute.KeyValue
	initial    []bool // cells that are exported while they are zero, so that a rate sees their first count
	all        *grid  // what has no owner

	mu     sync.RWMutex
	owners map[string]*grid
}

func newFamily(instrument metric.Int64ObservableCounter, l *labels, common []attribute.KeyValue,
	initial func(values ...string) bool) *family {
	f := &family{instrument: instrument, labels: l, common: common, initial: make([]bool, l.cells()),
		all: newGrid(l, common), owners: map[string]*grid{}}
	for cell := range f.initial {
		var values []string
		for _, a := range l.attributes(cell) {
			values = append(values, a.Value.AsString())
		}
		f.initial[cell] = initial(values...)
	}
	return f
}

// of returns the grid of an owner's label. At most bound labels have one of their own.
func (f *family) of(owner string, bound int) *grid {
	if owner == "" {
		return f.all
	}
	f.mu.RLock()
	g := f.owners[owner]
	full := len(f.owners) >= bound
	if g == nil && full {
		g = f.owners[other]
	}
	f.mu.RUnlock()
	if g != nil {
		return g
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.owners[owner] == nil && len(f.owners) >= bound {
		owner = other // beyond the bound
	}
	if f.owners[owner] == nil {
		f.owners[owner] = newGrid(f.labels, append([]attribute.KeyValue{attribute.String(ownerKey, owner)}, f.common...))
	}
	return f.owners[owner]
}

// observe reports what was counted.
func (f *family) observe(o metric.Observer) {
	f.observeGrid(o, f.all, f.initial)
	f.mu.RLock()
	defer f.mu.RUnlock()
	for _, g := range f.owners {
		f.observeGrid(o, g, nil)
	}
}

func (f *family) observeGrid(o metric.Observer, g *grid, initial []bool) {
	for cell := range g.options {
		var n int64
		for i := range g.counts {
			n += g.counts[i][cell].Load()
		}
		if n != 0 || initial != nil && initial[cell] {
			o.ObserveInt64(f.instrument, n, g.options[cell])
		}
	}
}
