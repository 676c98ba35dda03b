package coalesce

import (
	"runtime"
	"sync/atomic"
	"time"
)

// Window decides whether the reads of one or more groups are worth sharing, and lets callers gather before a read
// begins, for they may not share one that has begun. The zero Window takes every read as worth sharing. It is safe for
// concurrent use and must not be copied.
type Window struct {
	// Threshold is the duration below which a read is not worth sharing: to wait for each other would cost more. Set it
	// before the first use.
	Threshold time.Duration

	fast    atomic.Int32 // how many successful reads in a row took less
	callers atomic.Int32 // in Do at this moment
	crowded atomic.Bool  // there were several when a leader last yielded
	reads   atomic.Uint32
}

// Alone reports whether eight reads in a row were successful and faster than the threshold: the store is in memory.
// Callers should then read without a [Group], where nothing is measured, so that it stays true.
func (w *Window) Alone() bool { return w.fast.Load() >= 8 }

// note takes the duration of a read into account.
func (w *Window) note(took time.Duration, err error) {
	if took < w.Threshold && err == nil {
		w.fast.Add(1)
	} else {
		w.fast.Store(0)
	}
}

// gather yields the processor, so that callers that are about to ask can do so before the read begins. Where reading
// never waits, as in SQLite, no two callers of one processor would ever meet otherwise. If there are no other callers,
// it seldom yields, and costs next to nothing.
func (w *Window) gather() {
	if !w.crowded.Load() && w.reads.Add(1)%16 != 0 {
		return
	}
	runtime.Gosched()
	w.crowded.Store(w.callers.Load() > 1)
}
