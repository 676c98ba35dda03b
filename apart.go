package latchkey

import (
	"hash/maphash"
	"sync/atomic"
)

// apartOf returns what of a token's rights is kept apart. What is invalid is not, so that its layer is broken.
func apartOf(t *Token) (r apartRights) {
	if t.Kind == KindSecret || len(t.Rows) == 0 && len(t.Forced) == 0 {
		return r
	}
	forced, err := normaliseValues(t.Forced)
	if err != nil || forced.hasRefs() {
		return r
	}
	r.rows = AllRows
	if len(t.Rows) > 0 {
		r.rows = allOf(t.Rows...)
	}
	if r.rows.n != nil && r.rows.n.kind == nodeFault {
		return apartRights{}
	}
	r.forced, r.extent, r.is = forced, extent(r.rows), true
	return r
}

// apart returns what the caller has apart, nil if nothing.
func (p *principal) apart() *apartRights {
	if p.facts == nil {
		return nil
	}
	return p.facts.apart
}

// recentFacts are facts of tokens that have nothing but rights apart, which were compiled of late. A narrowing that is
// minted often is one of them, so that its tokens share it. The table is of a fixed size, and takes only what is small.
// It is safe for concurrent use.
type recentFacts [1 << 10]atomic.Pointer[facts]

// What facts may hold that are shared by recentFacts.
const (
	recentNodes, recentBytes = 16, 512
	recentForced             = 8
)

// shared returns facts that are equal to of, and reports whether they were there before. If not, it keeps of.
func (t *recentFacts) shared(of *facts) (*facts, bool) {
	own := of.apart
	if !own.rows.fits(recentNodes, recentBytes) || len(own.forced) > recentForced {
		return of, false
	}
	forced := forcedKey(own.forced)
	if len(forced) > recentBytes {
		return of, false
	}
	h := maphash.String(hashSeed, forced)
	if n := own.rows.n; n != nil {
		h ^= n.hash
	}
	at := &t[(h^h>>32)&uint64(len(t)-1)]
	if was := at.Load(); was != nil && was.attributes == of.attributes && was.apart.equal(own) {
		return was, true
	}
	at.Store(of)
	return of, false
}
