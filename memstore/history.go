package memstore

import (
	"cmp"
	"slices"
	"time"

	"github.com/latchkey-go/latchkey"
)

// keepChanges is the length of the history. A reader that is further behind starts again, which costs it one pass over
// its cache.
const keepChanges = 65536

// history holds the latest changes in commit order.
type history struct {
	rows  []change
	floor uint64 // the highest epoch of which a change was dropped
	// revoked are the dropped changes that still count: revocations of stateless tokens that have not ended.
	revoked []change
}

type change struct {
	latchkey.Change
	at    int64
	place uint64 // among the changes of its transaction
}

func (h *history) add(c change) {
	if n := len(h.rows); n > 0 && h.rows[n-1].Epoch == c.Epoch {
		c.place = h.rows[n-1].place + 1
	}
	h.rows = append(h.rows, c)
	if len(h.rows) > keepChanges {
		h.drop(len(h.rows) - keepChanges)
	}
}

// drop forgets the oldest n rows. It keeps the revocations among them in revoked.
func (h *history) drop(n int) {
	for _, c := range h.rows[:n] {
		h.floor = c.Epoch
		if c.Kind == latchkey.ChangedRevocation {
			h.revoked = append(h.revoked, c)
		}
	}
	clear(h.rows[:n])   // frees the strings
	h.rows = h.rows[n:] // append moves the rest to a new array when this one is used up
}

// since returns whole transactions after the given epoch: as many as fit into n changes, but at least one.
func (h *history) since(after uint64, n int) []latchkey.Change {
	var page []latchkey.Change
	// add reports whether c was added.
	add := func(c latchkey.Change) bool {
		if len(page) >= n && page[len(page)-1].Epoch != c.Epoch {
			return false
		}
		page = append(page, c)
		return true
	}
	full := false
	for _, c := range h.revoked {
		if c.Epoch > after && !add(c.Change) {
			full = true
			break
		}
	}
	if !full {
		first, _ := slices.BinarySearchFunc(h.rows, after+1, func(c change, e uint64) int { return cmp.Compare(c.Epoch, e) })
		for _, c := range h.rows[first:] {
			if !add(c.Change) {
				break
			}
		}
	}
	if len(page) <= n {
		return page
	}
	// The last transaction does not fit. It is left for the next page, unless it is the only one.
	last := page[len(page)-1].Epoch
	if i := slices.IndexFunc(page, func(c latchkey.Change) bool { return c.Epoch == last }); i > 0 {
		page = slices.Clip(page[:i])
	}
	return page
}

// compareLasting orders revocations by their Until.
func compareLasting(a, b change) int {
	return cmp.Or(a.Until.Compare(b.Until), cmp.Compare(a.Epoch, b.Epoch), cmp.Compare(a.place, b.place))
}

// lasting returns the revocations whose Until, in µs, is the given time or later.
func (h *history) lasting(until int64) (all []change) {
	for _, rows := range [][]change{h.revoked, h.rows} {
		for _, c := range rows {
			if c.Kind == latchkey.ChangedRevocation && !c.Until.IsZero() && c.Until.UnixMicro() >= until {
				all = append(all, c)
			}
		}
	}
	return all
}

// purge drops at most n changes made at or before the cutoff, then revocations whose token ended long enough ago.
func (h *history) purge(n int, isOld func(at int64) bool, now int64, keepRevoked time.Duration) int {
	old := 0
	for old < n && old < len(h.rows) && isOld(h.rows[old].at) {
		old++
	}
	removed := 0
	for _, c := range h.rows[:old] {
		if c.Kind != latchkey.ChangedRevocation {
			removed++ // a revocation only moves to revoked: it counts when it is removed from there
		}
	}
	h.drop(old)
	h.revoked = slices.DeleteFunc(h.revoked, func(c change) bool {
		if removed >= n || !over(micros(c.Until), keepRevoked, now) {
			return false
		}
		removed++
		return true
	})
	return removed
}
