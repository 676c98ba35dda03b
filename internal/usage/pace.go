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
	slow       int           // how many were far too many of late; others come near that slowly. 0: not known
}

func newPace(most int, aim time.Duration) pace {
	return pace{size: paceStart, most: most, aim: aim, floor: -1}
}

// wrote takes note of what a batch of n took. The next one is as large as that says the time allows, and at most twice
// as large. Where a few more take far longer, as where more pages are flushed than a disk takes at once, one batch in
// some five tries whether that is still so.
func (p *pace) wrote(n int, took time.Duration) {
	if p.floor < 0 || took < p.floor || n <= paceStart { // the way may have become longer
		p.floor = took
	}
	if n <= paceStart {
		p.slow = 0 // many may have been slow for that reason
	}
	budget := max(p.aim, p.floor)
	items := max(took-p.floor, 1)
	size := int(float64(n) * min(float64(budget)/float64(items), 2))
	switch {
	case items > 2*budget:
		p.size, p.slow = max(1, n/2), n
	case size < n:
		p.size = max(1, size)
	case n >= p.size && 2*took < writeTimeout:
		if p.slow > 0 {
			p.slow += p.slow/32 + 1
			size = max(n, min(size, p.slow-p.slow/8))
		}
		p.size = min(size, p.most)
	}
}

// failed takes note that a batch of n was not written: it may have been too many for its deadline.
func (p *pace) failed(n int) { p.size = max(1, min(p.size, n/2)) }
