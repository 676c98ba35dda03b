package credits

import (
	"maps"
	"slices"
	"sync/atomic"
)

// accountName tells accounts apart.
type accountName struct{ owner, token, meter, period string }

func nameOf(owner string, a Account) accountName {
	return accountName{owner, a.TokenID, a.Meter, a.Period}
}

// holding is what this process holds of one account. It is guarded by Pool.mu.
type holding struct {
	pins   int // of callers that ask the store for the last of it
	short  int // those of them that were refused: no lease is taken meanwhile
	leases map[*lease]struct{}
	freed  atomic.Uint64 // grows whenever credits may have come free in one of the leases
}

// holding finds or makes what is known of an account. The caller holds p.mu.
func (p *Pool) holding(name accountName) *holding {
	h := p.holdings[name]
	if h == nil {
		h = &holding{leases: map[*lease]struct{}{}}
		p.holdings[name] = h
	}
	return h
}

// forget drops what is known of an account if nobody needs it. The caller holds p.mu.
func (p *Pool) forget(name accountName, h *holding) {
	if h.pins == 0 && len(h.leases) == 0 {
		delete(p.holdings, name)
	}
}

// add lists a lease under its accounts, unless a caller asks the store for the last of one of them. It reports whether
// it did.
func (p *Pool) add(l *lease) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	owner := l.line.key.owner
	var holdings []*holding
	for i := range l.accounts.Len() {
		h := p.holding(nameOf(owner, l.accounts.At(i)))
		holdings = append(holdings, h)
		if h.short > 0 { // so a caller has pinned it, and of the others nothing was known before
			for i, h := range holdings {
				p.forget(nameOf(owner, l.accounts.At(i)), h)
			}
			return false
		}
	}
	l.holdings = holdings
	for _, h := range holdings {
		h.leases[l] = struct{}{}
	}
	return true
}

// remove undoes add.
func (p *Pool) remove(l *lease) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for i, h := range l.holdings {
		delete(h.leases, l)
		p.forget(nameOf(l.line.key.owner, l.accounts.At(i)), h)
	}
}

// pin keeps what is known of accounts until unpin.
func (p *Pool) pin(owner string, accounts Accounts) []*holding {
	p.mu.Lock()
	defer p.mu.Unlock()
	holdings := make([]*holding, accounts.Len())
	for i := range holdings {
		holdings[i] = p.holding(nameOf(owner, accounts.At(i)))
		holdings[i].pins++
	}
	return holdings
}

// unpin undoes pin, and markShort for those that short names.
func (p *Pool) unpin(owner string, accounts Accounts, holdings []*holding, short []bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for i, h := range holdings {
		if h.pins--; short[i] {
			h.short--
		}
		p.forget(nameOf(owner, accounts.At(i)), h)
	}
}

// markShort says that the store refused a caller for want of credits in an account.
func (p *Pool) markShort(h *holding) {
	p.mu.Lock()
	defer p.mu.Unlock()
	h.short++
}

// leasesNamed is leasesOf of an account that nobody needs to have pinned.
func (p *Pool) leasesNamed(name accountName) (list []*lease) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if h := p.holdings[name]; h != nil {
		list = slices.Collect(maps.Keys(h.leases))
	}
	return list
}

// leasesOf returns the leases that hold credits of an account, or are about to.
func (p *Pool) leasesOf(h *holding) []*lease {
	p.mu.Lock()
	defer p.mu.Unlock()
	return slices.Collect(maps.Keys(h.leases))
}
