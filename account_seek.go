package latchkey

import (
	"context"
	"encoding/binary"
)

// SeekPage is for going back in a listing that stores read forwards only: it finds what TokenQuery.After must be so that
// the page of q.Limit tokens behind it ends with the last one before the token before, or with the very last one if that
// is "". The page may be shorter, when ids of several machines lie close together. Ids begin with their time, so that is
// what it searches by: a few short pages are read, however long the listing is.
func (a Account) SeekPage(ctx context.Context, q TokenQuery, before string) (after string, err error) {
	c, err := a.begin(ctx)
	if err != nil {
		return "", err
	}
	if q.Now.IsZero() {
		q.Now = fromMicros(a.m.now())
	}
	size := min(q.Page.Size(), 999)
	q.Limit = size + 1
	// probe counts what lies between after and before: size + 1 stands for that and anything above.
	probe := func(after string) (n int, err error) {
		q.After = after
		list, err := a.m.store.Tokens(ctx, a.owner, q)
		for i := range list {
			if before == "" || list[i].ID < before {
				if i == size {
					return i + 1, err // full, be it of tokens that who acts may not read
				}
				if c.check(Read, "token", list[i].ID) == nil {
					n++
				}
			}
		}
		return n, err
	}
	if n, err := probe(""); err != nil || n <= size {
		return "", err // all of them fit
	}
	list, err := a.m.store.Tokens(ctx, a.owner, TokenQuery{Page: Page{Limit: 1}})
	if err != nil || len(list) == 0 {
		return "", err
	}
	// After low are too many, after high none too many. Another machine's clock may be ahead of this one's.
	low, high := idTick(list[0].ID), uint64(a.m.now()/1000+24*3600*1000)<<12
	if before != "" {
		high = idTick(before) + 1
	}
	best := idAt(high)
	for high > low+1 {
		mid := low + (high-low)/2
		n, err := probe(idAt(mid))
		switch {
		case err != nil:
			return "", err
		case n > size:
			low = mid
		default:
			high, best = mid, idAt(mid)
			if n == size {
				return best, nil
			}
		}
	}
	return best, nil
}

// idTick is the time in an id: milliseconds and 12 bits of what follows, without the version between them.
func idTick(id string) uint64 {
	b := idBytes(id)
	v := binary.BigEndian.Uint64(b[:8])
	return v>>16<<12 | v&0xfff
}

// idAt is below every id of that tick or later, and above those of earlier ones.
func idAt(tick uint64) string {
	var id [16]byte
	binary.BigEndian.PutUint64(id[:8], tick>>12<<16|0x7000|tick&0xfff)
	return idText(id)
}
