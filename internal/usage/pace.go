package usage

import "time"

// paceStart is how many items the first batch has, and at most one that shows what a batch takes by itself.
const paceStart = 32

// pace chooses how many items are written together. Others wait for what a batch locks, so its items are to take a
// short time. What a batch takes by itself, such as round trips, is learned from the fastest and from small ones.
type pace struct {
	size, most int
	aim        time.Duration // that the items may take, or as long as a batch takes by itself if that is more
	floor      time.Duration // what a batch takes by itself
}

func newPace(most int, aim time.Duration) pace {
	return pace{size: paceStart, most: most, aim: aim, floor: -1}
}

// paceGrowth is by how much a batch is larger than the one before, at most.
const paceGrowth = 2

// wrote takes note of what a batch of n took. The next one is as large as that says the time allows. So it comes near
// the aim by steps that become smaller: a batch of twice the rows may take far more than twice the time.
func (p *pace) wrote(n int, took time.Duration) {
	if p.floor < 0 || took < p.floor || n <= paceStart { // the way may have become longer
		p.floor = took
	}
	budget := max(p.aim, p.floor)
	items := max(took-p.floor, 1)
	size := int(min(float64(n)*float64(budget)/float64(items), paceGrowth*float64(n)))
	switch {
	case size < n:
		p.size = max(1, n/2, size)
	case n >= p.size && 2*took < writeTimeout:
		p.size = min(size, p.most)
	}
}

// failed takes note that a batch of n was not written: it may have been too many for its deadline.
func (p *pace) failed(n int) { p.size = max(1, min(p.size, n/2)) }
