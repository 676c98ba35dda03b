package usage

import (
	"math"
	"sync"
	"sync/atomic"
)

// Prepared counts of one key, which it finds no more. It is safe for concurrent use. What it counted is written with
// what the Counters gathered, and like that is never lost, also if nothing refers to the Prepared any more.
type Prepared struct {
	c     *Counters
	key   Key // Day is not used
	cells []cell

	_       [64]byte    // what every count reads, apart from what was counted
	pending atomic.Bool // it is in Counters.listed, or a flush that took it from there will look at it
	day     atomic.Int32

	turning sync.Mutex // excludes those who empty the cells
}

// cell is a part of what was counted of late.
type cell struct {
	count, credits atomic.Int64
	_              [112]byte // so that no two of them share a cache line, nor a pair of them
}

// The largest number that a cell takes, and the sum with which it is emptied: so none comes to the end of its range.
const (
	maxCellCount = math.MaxInt32
	fullCell     = 1 << 60
)

// Prepare returns a Prepared for a key, the Day of which does not matter.
func (c *Counters) Prepare(k Key) *Prepared { return c.prepare(k, width()) }

// prepare returns a Prepared of so many cells, a power of two.
func (c *Counters) prepare(k Key, cells int) *Prepared {
	return &Prepared{c: c, key: k, cells: make([]cell, cells)}
}

// Pending reports whether something was counted since the last flush.
func (p *Prepared) Pending() bool { return p.pending.Load() }

// Add is [Counters.Add] for the key on a day.
func (p *Prepared) Add(day int32, count, credits int64) {
	p.addTo(&p.cells[int(part())&(len(p.cells)-1)], day, count, credits)
}

// addTo is Add to one of the cells.
func (p *Prepared) addTo(to *cell, day int32, count, credits int64) {
	if count|credits > maxCellCount {
		p.turn(day, count, credits)
		return
	}
	if day != p.day.Load() {
		p.turn(day, 0, 0)
	}
	full := to.count.Add(count) > fullCell
	if credits != 0 {
		full = to.credits.Add(credits) > fullCell || full
	}
	// Asked after the count is in: a flush that cleared pending in between may have passed the cell already.
	if !p.pending.Load() {
		p.c.list(p)
	}
	if full {
		p.turn(day, 0, 0)
	}
}

// turn moves what was counted to the rows of a stripe, and goes on with a day, of which it counts more there. What
// others count meanwhile may go to either day.
func (p *Prepared) turn(day int32, count, credits int64) {
	p.turning.Lock()
	defer p.turning.Unlock() // at the end: a flush that waits for it passes the stripes later
	if r, ok := p.sum(); ok {
		p.c.addRow(&r.key, r.count, r.credits)
	}
	p.day.Store(day)
	if count|credits != 0 {
		k := p.key
		k.Day = day
		p.c.addRow(&k, count, credits)
	}
}

// take empties the cells, and returns what was in them, and false if there was nothing.
func (p *Prepared) take() (sum, bool) {
	p.pending.Store(false) // before the cells are emptied: see Add
	p.turning.Lock()
	defer p.turning.Unlock()
	r, ok := p.sum()
	r.key.clean()
	return r, ok
}

// sum empties the cells. The caller holds turning.
func (p *Prepared) sum() (r sum, ok bool) {
	r.key = p.key
	r.key.Day = p.day.Load()
	for i := range p.cells {
		r.count = addUp(r.count, p.cells[i].count.Swap(0))
		r.credits = addUp(r.credits, p.cells[i].credits.Swap(0))
	}
	return r, r.count|r.credits != 0
}

// list makes the next flush look at p.
func (c *Counters) list(p *Prepared) {
	c.listing.Lock()
	if !p.pending.Load() {
		c.listed = append(c.listed, p)
		p.pending.Store(true)
	}
	c.listing.Unlock()
	if !c.armed.Load() { // after it is listed: a flush that cleared armed before has not passed the list yet
		c.arm(countDelay)
	}
}
