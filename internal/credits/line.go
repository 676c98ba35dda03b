package credits

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/latchkey-go/latchkey/internal/fault"
)

// lineKey tells sets of accounts apart. Those beyond the nearest limited token are determined by it.
type lineKey struct {
	owner, meter string
	nearest      [16]byte // zero: only the owner is limited
}

// line pays the debits of one set of accounts.
type line struct {
	pool  *Pool
	key   lineKey
	turn  chan struct{} // held by the caller that asks the store for more: in this process never more than one
	users int           // callers that have it in hand; guarded by the shard

	mu      sync.Mutex
	leases  []*lease // oldest first
	seeking bool     // a goroutine is about to fetch one ahead of need
	coming  *lease   // nil: none is
	failed  error    // why the latest did not come
	left    int64    // what the store last said is left beyond what is taken
	least   int      // and of which account
	plenty  bool     // and that is enough for a lease
	used    int64    // when credits were last asked for, µs
	idle    int64    // how long after that a lease is released, µs
	resting int64    // nothing is done ahead of need before, µs
}

// debit takes n out of a lease in memory, for a Hold or, if h is nil, for good. It reports whether it did.
func (l *line) debit(limits *Limits, n int64, at Instant, h *Hold) (left Left, ok bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.used = at.Now
	for _, lease := range l.leases {
		if n > lease.committed-lease.taken || !lease.serves(limits, at.Now) {
			continue
		}
		lease.taken += n
		left = Left{Credits: l.left + lease.amount - lease.taken, Limit: min(l.least, lease.accounts.Len()-1)}
		left.Resets = lease.accounts.resets(left.Limit)
		for _, other := range l.leases {
			if other != lease && other.serves(limits, at.Now) {
				left.Credits += other.amount - other.taken
			}
		}
		if h != nil {
			lease.hold(h, at.Elapsed)
			h.left = left
		}
		l.ahead(lease, at.Now)
		return left, true
	}
	return Left{}, false
}

// ahead does what will be needed soon. The caller holds l.mu.
func (l *line) ahead(of *lease, now int64) {
	if of.ends() {
		l.releaseBehind(context.Background(), of)
	}
	if now < l.resting && l.resting-now <= pauseFor.Microseconds() { // more is of a clock that was set back
		return
	}
	if !of.extending && of.committed < of.amount && of.committed-of.taken <= of.step()/2 {
		of.extending = l.pool.background(context.Background(), func(ctx context.Context) {
			l.pool.warn(ctx, of.extend(ctx, 1))
		})
	}
	if !l.seeking && l.coming == nil && l.plenty && of.amount-of.taken < of.size/4 && l.leases[len(l.leases)-1] == of {
		l.seeking = l.pool.background(context.Background(), func(ctx context.Context) {
			l.fetch(ctx, &of.debit, 1, now)
			l.mu.Lock()
			l.seeking = false
			l.mu.Unlock()
		})
	}
}

// releaseBehind releases a lease for good in the background, and reports whether it does: not once the Pool is closed.
func (l *line) releaseBehind(ctx context.Context, of *lease) bool {
	return l.pool.background(ctx, func(ctx context.Context) { l.pool.warn(ctx, of.release(ctx, true)) })
}

// rest puts work ahead of need off for a while. The caller holds l.mu.
func (l *line) rest(now int64) { l.resting = now + pauseFor.Microseconds() }

// room finds a lease that has n, of which too little is committed, and retires those that serve nobody any more.
func (l *line) room(limits *Limits, n int64, now int64) (with, coming *lease) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, lease := range l.leases {
		switch {
		case !lease.serves(limits, now):
			l.retire(lease)
		case n <= lease.amount-lease.taken && with == nil:
			with = lease
		}
	}
	return with, l.coming
}

// retire ends a lease as soon as its Holds are settled. What is free of it is returned at once. The caller holds l.mu.
func (l *line) retire(of *lease) {
	if of.retired {
		return
	}
	of.retired = true
	l.releaseBehind(context.Background(), of)
}

// fetch begins to take a lease, in the background. False: there is to be none.
func (l *line) fetch(ctx context.Context, d *Debit, n int64, now int64) bool {
	l.mu.Lock()
	left, plenty := l.left, l.plenty
	l.mu.Unlock()
	// The less is left, the less of it one process keeps from others.
	size := min(l.pool.size(d.Limits.smallest()), left/leaseShare)
	if !plenty || size/leaseWorth < n {
		l.mu.Lock()
		l.plenty = false // until a reservation says what is left
		l.mu.Unlock()
		return false
	}
	accounts, err := d.Accounts(now)
	if err != nil {
		return false
	}
	key, err := l.pool.host.NewID(now)
	if err != nil {
		return false
	}
	next := &lease{line: l, key: key, debit: *d, accounts: accounts, size: size, stored: size,
		arrived: make(chan struct{}), turn: make(chan struct{}, 1)}
	next.from, next.to = accounts.present.from, accounts.present.to
	next.debit.Owner, next.debit.Meter, next.accounts.meter = l.key.owner, l.key.meter, l.key.meter
	l.mu.Lock()
	if l.coming != nil {
		l.mu.Unlock()
		return true
	}
	l.coming, l.idle = next, next.idle()
	pause := l.pause()
	l.mu.Unlock()
	l.pool.schedule(pause)
	if l.pool.add(next) && l.pool.background(ctx, func(ctx context.Context) {
		err := l.take(ctx, next)
		l.arrive(next, err)
		what := Taken
		if errors.Is(err, fault.ErrOverLimit) {
			what = Refused
		} else if err != nil {
			what = Failed
		}
		l.tell(ctx, what, size, err)
	}) {
		return true
	}
	l.arrive(next, errNoLease)
	return false
}

// tell tells the Host what happened to a lease. The caller holds no lock and no turn.
func (l *line) tell(ctx context.Context, what What, amount int64, err error) {
	l.pool.host.Leased(ctx, Event{What: what, Owner: l.key.owner, Meter: l.key.meter, Amount: amount, Err: err})
}

// errNoLease says that no lease may be taken now.
var errNoLease = errors.New("latchkey: no credits may be leased")

// take reserves a lease and commits the first part of it.
func (l *line) take(ctx context.Context, next *lease) error {
	host, owner, until := l.pool.host, l.key.owner, l.pool.host.Clock().Now+leaseFor.Microseconds()
	r := Reservation{Owner: owner, Key: next.key, Accounts: next.accounts, Amount: next.size, Until: until}
	var left int64
	var least int
	err := fault.UntilKnown(ctx, func() (err error) {
		left, least, err = host.Reserve(ctx, r)
		return err
	})
	if errors.Is(err, fault.ErrOverLimit) {
		return err
	}
	committed := next.step()
	if err == nil {
		a := Adjustment{Amount: next.size, Committed: committed, Until: until}
		err = fault.UntilKnown(ctx, func() error { return host.Adjust(ctx, owner, next.key, a) })
	}
	if err != nil {
		l.pool.doubt(unresolved{owner, next.key})
		return err
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	next.amount, next.committed, next.until = next.size, committed, until
	l.left, l.least = left, least
	for _, h := range next.holdings {
		h.freed.Add(1)
	}
	return nil
}

// arrive ends the wait for a lease.
func (l *line) arrive(next *lease, err error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.coming, l.failed = nil, err; err == nil {
		l.pool.leases.Add(1)
		if l.leases = append(l.leases, next); len(l.leases) > leaseCount {
			l.retire(l.leases[len(l.leases)-leaseCount-1])
		}
	} else {
		next.gone = true
		l.pool.remove(next)
		if errors.Is(err, fault.ErrOverLimit) {
			l.plenty = false
		} else {
			l.rest(l.pool.host.Clock().Now)
		}
	}
	close(next.arrived)
}

// awaitLease waits for the lease that is coming. That there is none to be had is no error.
func (l *line) awaitLease(ctx context.Context) error {
	l.mu.Lock()
	next := l.coming
	l.mu.Unlock()
	if next != nil {
		select {
		case <-next.arrived:
		case <-ctx.Done():
			return fault.Unavailable(ctx.Err())
		}
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if err := l.failed; err != nil && !errors.Is(err, fault.ErrOverLimit) && err != errNoLease {
		return nothingSpent(err)
	}
	return nil
}

// nothingSpent makes of an unknown outcome one that is known to the caller: nothing was spent.
func nothingSpent(err error) error {
	if errors.Is(err, fault.ErrUnknownOutcome) {
		return fmt.Errorf("%w: %v", fault.ErrUnavailable, err)
	}
	return err
}

// exact makes a reservation of h alone. A refusal is exact for all that this process knows: before it, every lease
// returns what it does not need of the account that is short, and nothing came free in one between that and the store's
// answer.
func (l *line) exact(ctx context.Context, h *Hold, d *Debit, now int64) error {
	p := l.pool
	accounts, err := d.Accounts(now)
	if err != nil {
		return err
	}
	holdings := p.pin(h.owner, accounts)
	short := make([]bool, len(holdings))
	defer func() { p.unpin(h.owner, accounts, holdings, short) }()
	seen, empty := make([]uint64, len(holdings)), make([]bool, len(holdings))
	for i, of := range holdings {
		seen[i] = of.freed.Load()
		empty[i] = len(p.leasesOf(of)) == 0
	}
	for {
		// Bounded, for the turn is held: whoever else needs the store for these accounts waits.
		err := p.bounded(ctx, func(ctx context.Context) error { return h.reserveFrom(ctx, accounts, now) })
		l.mu.Lock()
		switch {
		case err == nil:
			l.left, l.least, l.plenty = h.left.Credits, h.left.Limit, true
		case errors.Is(err, fault.ErrOverLimit):
			l.left, l.plenty = 0, false
		}
		l.mu.Unlock()
		tokenID, period, ok := p.host.Short(err)
		if !ok {
			return err
		}
		i := 0
		for i < accounts.Len() && (accounts.At(i).TokenID != tokenID || accounts.At(i).Period != period) {
			i++
		}
		if i == accounts.Len() {
			return err
		}
		carried, carryErr := p.releaseBefore(ctx, h.owner, accounts.At(i))
		if carryErr != nil {
			return nothingSpent(carryErr)
		}
		if !carried && empty[i] && holdings[i].freed.Load() == seen[i] {
			return err
		}
		if !short[i] {
			p.markShort(holdings[i])
			short[i] = true
		}
		seen[i], empty[i] = holdings[i].freed.Load(), true
		for _, of := range p.leasesOf(holdings[i]) {
			select {
			case <-of.arrived:
			case <-ctx.Done():
				return fault.Unavailable(ctx.Err())
			}
			if !of.hasSpare() {
				continue
			}
			if err := p.bounded(ctx, func(ctx context.Context) error { return of.release(ctx, false) }); err != nil {
				return nothingSpent(err)
			}
		}
	}
}

// releaseBefore returns what leases of the period before do not need, if the account carries from it. It reports
// whether there was something.
func (p *Pool) releaseBefore(ctx context.Context, owner string, a Account) (released bool, err error) {
	if a.CarryFrom == "" {
		return false, nil
	}
	a.Period = a.CarryFrom
	for _, of := range p.leasesNamed(nameOf(owner, a)) {
		select {
		case <-of.arrived:
		case <-ctx.Done():
			return false, fault.Unavailable(ctx.Err())
		}
		if !of.hasSpare() {
			continue
		}
		if err := p.bounded(ctx, func(ctx context.Context) error { return of.release(ctx, true) }); err != nil {
			return false, err
		}
		released = true
	}
	return released, nil
}

func (l *line) isIdle(now int64) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return len(l.leases) == 0 && l.coming == nil && !l.seeking && l.quiet(now)
}

// pause returns how long the line may wait to be renewed. The caller holds l.mu.
func (l *line) pause() time.Duration {
	return min(renewEvery, max(time.Duration(l.idle)*time.Microsecond/2, time.Second))
}

// quiet reports whether no credits have been asked for of late. A clock that was set back does not lengthen that. The
// caller holds l.mu.
func (l *line) quiet(now int64) bool {
	l.used = min(l.used, now)
	return now-l.used >= l.idle
}

// renew does for one line what Pool.Renew promises.
func (l *line) renew(ctx context.Context, now int64) error {
	l.mu.Lock()
	idle := l.quiet(now)
	leases := append([]*lease(nil), l.leases...)
	l.mu.Unlock()
	var errs []error
	for _, of := range leases {
		l.mu.Lock()
		of.freeExpired()
		end := idle || of.final || of.isOver(now) || of.stored > of.amount
		left := of.until - now
		renew := left < leaseFor.Microseconds()/2 || left > leaseFor.Microseconds() // by a clock that was set back
		l.mu.Unlock()
		if end {
			errs = append(errs, l.pool.bounded(ctx, func(ctx context.Context) error {
				l.mu.Lock()
				over := of.isOver(now)
				l.mu.Unlock()
				return of.release(ctx, over)
			}))
		}
		if renew {
			errs = append(errs, l.pool.bounded(ctx, func(ctx context.Context) error { return of.extend(ctx, 0) }))
		}
	}
	return errors.Join(errs...)
}
