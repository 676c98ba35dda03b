package memstore

import (
	"cmp"
	"slices"

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
	revoked []*change
	gone    int // how many of revoked are removed
}

type change struct {
	latchkey.Change
	at    int64
	place uint64 // among the changes of its transaction
	gone  bool   // removed from revoked
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
	for i := range n {
		h.floor = h.rows[i].Epoch
		if h.rows[i].Kind == latchkey.ChangedRevocation {
			c := h.rows[i]
			h.revoked = append(h.revoked, &c)
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
		if !c.gone && c.Epoch > after && !add(c.Change) {
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
	look := func(c *change) {
		if c.Kind == latchkey.ChangedRevocation && !c.gone && c.Until.UnixMicro() >= until {
			all = append(all, *c)
		}
	}
	for _, c := range h.revoked {
		look(c)
	}
	for i := range h.rows {
		look(&h.rows[i])
	}
	return all
}

// forget removes a change from revoked. It stays there, marked, until more than half of them are, so that removing many
// takes amortized constant time each.
func (h *history) forget(c *change) {
	c.gone = true
	if h.gone++; h.gone > len(h.revoked)/2 {
		h.revoked = slices.DeleteFunc(h.revoked, func(c *change) bool { return c.gone })
		h.gone = 0
	}
}
