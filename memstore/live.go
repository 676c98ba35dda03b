package memstore

import (
	"container/heap"
	"fmt"
	"math"
	"time"

	"github.com/latchkey-go/latchkey"
)

// liveTokens are the tokens of one parent that a LiveLimit counts. One is looked at again when its time is over, and
// all are when there is no room and a Write may have ended some. So a Write costs the same however many tokens there
// are that have ended and are not purged.
type liveTokens struct {
	ownerVersion, since uint64 // of the LiveLimit by which they were found
	notBefore           time.Time
	list                liveHeap
	ended               int64 // the latest end, in µs, of those that are not in list because their time was over
	touched             bool  // some in list may have been revoked, shortened or deleted
}

// liveToken is a token that was live when it was looked at.
type liveToken struct {
	*token
	until int64 // µs: before this moment only a Write ends it
}

// liveHeap has the token first whose time is over first.
type liveHeap []liveToken

func (h liveHeap) Len() int           { return len(h) }
func (h liveHeap) Less(i, j int) bool { return h[i].until < h[j].until }
func (h liveHeap) Swap(i, j int)      { h[i], h[j] = h[j], h[i] }
func (h *liveHeap) Push(x any)        { *h = append(*h, x.(liveToken)) }

func (h *liveHeap) Pop() any {
	last := len(*h) - 1
	x := (*h)[last]
	(*h)[last] = liveToken{}
	*h = (*h)[:last]
	return x
}

// timeIsOver returns when a token ends by its time, as LiveLimit.Counts has it, in µs.
func timeIsOver(t *latchkey.Token) int64 {
	until := int64(math.MaxInt64)
	if end := t.Validity.NotAfter; !end.IsZero() {
		until = micros(end)
	}
	if end := t.IdleEnd(); !end.IsZero() {
		until = min(until, micros(end.Add(max(t.Validity.Idle/20, time.Second))))
	}
	return until
}

// limitLive returns ErrTooMany if more tokens are live than the Write allows.
func (tx *tx) limitLive() error {
	a, l := tx.a, tx.w.Live
	if l == nil {
		return nil
	}
	replaces := false
	for i := range tx.w.Tokens {
		replaces = replaces || tx.w.Tokens[i].Version != 0
	}
	is := a.live[l.Parent]
	if replaces || !is.holds(l) { // a token may live again
		is = a.findLive(l)
		if a.live == nil {
			a.live = make(map[string]*liveTokens)
		}
		a.live[l.Parent] = is
	}
	if replaces || len(tx.w.DeleteTokens) > 0 {
		tx.onUndo(func() { delete(a.live, l.Parent) }) // what this Write changed was looked at
	}
	var fresh []liveToken
	for _, t := range tx.added {
		if one := (liveToken{token: t}); is.look(&one, l, micros(l.Now)) {
			fresh = append(fresh, one)
		}
	}
	is.dropEnded(l)
	if len(is.list)+len(fresh) > l.Max && is.touched {
		is.dropDead(l)
	}
	if len(is.list)+len(fresh) > l.Max {
		return fmt.Errorf("%w: at most %d", latchkey.ErrTooMany, l.Max)
	}
	for _, t := range fresh {
		heap.Push(&is.list, t)
	}
	if len(fresh) > 0 {
		tx.onUndo(func() { delete(a.live, l.Parent) })
	}
	return nil
}

// holds reports whether a token that is not in the list can be none that the limit counts, if it was there before.
func (is *liveTokens) holds(l *latchkey.LiveLimit) bool {
	return is != nil && is.ownerVersion == l.OwnerVersion && is.since == l.Since && is.notBefore.Equal(l.NotBefore) &&
		micros(l.Now) >= is.ended
}

// findLive finds the tokens that a limit counts, without those that the running Write inserts.
func (a *ownerData) findLive(l *latchkey.LiveLimit) *liveTokens {
	is := &liveTokens{ownerVersion: l.OwnerVersion, since: l.Since, notBefore: l.NotBefore}
	now := micros(l.Now)
	look := func(t *token) {
		one := liveToken{token: t}
		if !t.uncommitted && is.look(&one, l, now) {
			is.list = append(is.list, one)
		}
	}
	if l.Parent != "" {
		for t := range a.children[l.Parent].all() {
			look(t)
		}
	} else {
		for _, t := range a.tokens.m {
			if t.parent == "" {
				look(t)
			}
		}
	}
	heap.Init(&is.list)
	return is
}

// dropEnded removes the tokens whose time is over.
func (is *liveTokens) dropEnded(l *latchkey.LiveLimit) {
	now := micros(l.Now)
	for len(is.list) > 0 && is.list[0].until <= now {
		if is.look(&is.list[0], l, now) {
			heap.Fix(&is.list, 0)
		} else {
			heap.Pop(&is.list)
		}
	}
}

// dropDead removes all tokens that are not live.
func (is *liveTokens) dropDead(l *latchkey.LiveLimit) {
	now, kept := micros(l.Now), is.list[:0]
	for _, t := range is.list {
		if is.look(&t, l, now) {
			kept = append(kept, t)
		}
	}
	clear(is.list[len(kept):])
	is.list, is.touched = kept, false
	heap.Init(&is.list)
}

// look reports whether a token is live, and sets its time anew. A use may have put that off.
func (is *liveTokens) look(t *liveToken, l *latchkey.LiveLimit, now int64) bool {
	if stored, _ := t.of.tokens.get(t.id); stored != t.token { // nil if it is gone
		return false
	}
	v := t.view()
	end := timeIsOver(&v)
	t.until = max(end, now+1)
	if l.Counts(v) {
		return true
	}
	if end <= now {
		is.ended = max(is.ended, end)
	}
	return false
}

// touchLive takes note that a token was changed or removed, which may have ended it.
func (a *ownerData) touchLive(t *token) {
	if is := a.live[t.parent]; is != nil {
		is.touched = true
	}
}
