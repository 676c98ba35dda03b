package memstore

import (
	"cmp"
	"context"
	"fmt"
	"math"
	"slices"
	"time"

	"github.com/latchkey-go/latchkey"
)

// Once implements [latchkey.Store].
func (s *Store) Once(ctx context.Context, owner string, key [32]byte, until time.Time) error {
	if err := check(ctx); err != nil {
		return err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	a := s.ensure(owner)
	if _, again := a.once[key]; again {
		return latchkey.ErrExists
	}
	if a.once == nil {
		a.once = make(map[[32]byte]int64)
	}
	a.once[key] = micros(until)
	return nil
}

type usageKey struct{ token, client, meter, endpoint, day string }

type count struct {
	count   int64
	credits latchkey.Credits
}

func (c count) plus(d count) count {
	return count{sum(c.count, d.count), latchkey.Credits(sum(int64(c.credits), int64(d.credits)))}
}

// sum returns a+b, or the nearest int64: a count that overflowed would be negative.
func sum(a, b int64) int64 {
	switch c := a + b; {
	case a > 0 && b > 0 && c < 0:
		return math.MaxInt64
	case a < 0 && b < 0 && c >= 0:
		return math.MinInt64
	default:
		return c
	}
}

// AddUsage implements [latchkey.Store].
func (s *Store) AddUsage(ctx context.Context, b latchkey.UsageBatch) error {
	if err := check(ctx); err != nil {
		return err
	}
	if b.ID == ([16]byte{}) {
		return fmt.Errorf("%w: a usage batch needs an ID", latchkey.ErrInvalid)
	}
	for _, r := range b.Rows {
		if r.Count < 0 || r.Credits < 0 {
			return fmt.Errorf("%w: negative usage", latchkey.ErrInvalid)
		}
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if _, again := s.batches[b.ID]; again {
		return nil
	}
	s.batches[b.ID] = struct{}{}
	s.batched = append(s.batched, stamp[[16]byte]{b.ID, micros(b.At)})
	for _, r := range b.Rows {
		a := s.ensure(r.Owner)
		if a.usage == nil {
			a.usage = make(map[usageKey]count)
		}
		k := usageKey{r.TokenID, r.ClientID, r.Meter, r.Endpoint, r.Day}
		a.usage[k] = a.usage[k].plus(count{r.Count, r.Credits})
	}
	for _, l := range b.Last {
		t, ok := s.lookup(l.Owner).tokens.get(l.TokenID)
		if !ok {
			continue
		}
		at := micros(l.At)
		t.used = max(t.used, at)
		if l.Digest == ([32]byte{}) {
			continue
		}
		if i := t.secretAt(l.Digest); i >= 0 && (t.secrets[i].use == nil || t.secrets[i].use.at < at) {
			t.secrets[i].use = &use{at, l.From.WithZone("")}
		}
	}
	return nil
}

// Usage implements [latchkey.Store].
func (s *Store) Usage(ctx context.Context, owner string, q latchkey.UsageQuery) ([]latchkey.UsageRow, error) {
	if err := check(ctx); err != nil {
		return nil, err
	}
	for i, by := range q.By {
		if column(&usageKey{}, by) == nil || slices.Contains(q.By[:i], by) {
			return nil, fmt.Errorf("%w: cannot group usage by %q", latchkey.ErrInvalid, by)
		}
	}
	s.mu.RLock()
	defer s.mu.RUnlock()
	from, to := q.Bounds()
	groups := make(map[usageKey]count)
	if len(q.By) == 0 {
		groups[usageKey{}] = count{} // one sum, even without rows
	}
	for k, c := range s.lookup(owner).usage {
		if len(q.TokenIDs) > 0 && !slices.Contains(q.TokenIDs, k.token) ||
			len(q.Meters) > 0 && !slices.Contains(q.Meters, k.meter) ||
			slices.Contains(q.ExceptMeters, k.meter) ||
			q.ClientID != "" && q.ClientID != k.client ||
			from != "" && k.day < from || to != "" && k.day > to {
			continue
		}
		var g usageKey
		for _, by := range q.By {
			*column(&g, by) = *column(&k, by)
		}
		groups[g] = groups[g].plus(c)
	}
	keys := make([]usageKey, 0, len(groups))
	for k := range groups {
		keys = append(keys, k)
	}
	slices.SortFunc(keys, func(x, y usageKey) int {
		for _, by := range q.By {
			if c := cmp.Compare(*column(&x, by), *column(&y, by)); c != 0 {
				return c
			}
		}
		return 0
	})
	rows := make([]latchkey.UsageRow, len(keys))
	for i, k := range keys {
		rows[i] = latchkey.UsageRow{
			Owner: owner, TokenID: k.token, ClientID: k.client, Meter: k.meter, Endpoint: k.endpoint, Day: k.day,
			Count: groups[k].count, Credits: groups[k].credits,
		}
	}
	return rows, nil
}

// column returns the field of k that usage is grouped by, or nil for an unknown name.
func column(k *usageKey, by string) *string {
	switch by {
	case "token":
		return &k.token
	case "client":
		return &k.client
	case "meter":
		return &k.meter
	case "endpoint":
		return &k.endpoint
	case "day":
		return &k.day
	}
	return nil
}

// creditKey names an account that credits are taken from. Token "" is the owner's own account.
type creditKey struct{ token, meter, period string }

// account is how much is taken from an account of credits, when its period is over, and how many reservations of it are
// not settled. While there is one, used is above 0.
type account struct {
	used latchkey.Credits
	ends int64
	open int
}

type reservation struct {
	accounts []creditKey // sorted
	amount   latchkey.Credits
	pledged  latchkey.Credits
	until    int64
	left     latchkey.Credits // what Reserve answered
	settled  bool
	lapsed   bool // settled by Purge with the pledged amount
	actual   latchkey.Credits
}

// Reserve implements [latchkey.Store].
func (s *Store) Reserve(ctx context.Context, r latchkey.Reservation) (latchkey.Reserved, error) {
	if err := check(ctx); err != nil {
		return latchkey.Reserved{}, err
	}
	if r.Amount <= 0 || len(r.Accounts) == 0 {
		return latchkey.Reserved{}, fmt.Errorf("%w: a reservation needs an amount above 0 and an account",
			latchkey.ErrInvalid)
	}
	accounts := make([]creditKey, len(r.Accounts))
	for i, c := range r.Accounts {
		if accounts[i] = keyOf(&c); c.Carry > 0 && c.CarryFrom == c.Period {
			return latchkey.Reserved{}, fmt.Errorf("%w: an account carries from itself", latchkey.ErrInvalid)
		}
	}
	slices.SortFunc(accounts, func(x, y creditKey) int {
		return cmp.Or(cmp.Compare(x.token, y.token), cmp.Compare(x.meter, y.meter), cmp.Compare(x.period, y.period))
	})
	if len(slices.Compact(slices.Clone(accounts))) != len(accounts) {
		return latchkey.Reserved{}, fmt.Errorf("%w: a reservation names an account twice", latchkey.ErrInvalid)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	a := s.ensure(r.Owner)
	if old := a.reservations[r.Key]; old != nil {
		if old.lapsed || old.amount != r.Amount || !slices.Equal(old.accounts, accounts) {
			return latchkey.Reserved{}, latchkey.ErrConflict
		}
		answer := latchkey.Reserved{Left: old.left}
		least := latchkey.Credits(math.MaxInt64)
		for i := range r.Accounts {
			if left := a.left(&r.Accounts[i]); left < least {
				least, answer.Least = left, i
			}
		}
		return answer, nil
	}
	answer := latchkey.Reserved{Left: math.MaxInt64}
	for i := range r.Accounts {
		left := a.left(&r.Accounts[i])
		if r.Amount > left {
			return latchkey.Reserved{}, &latchkey.OverLimitError{Account: r.Accounts[i], Left: left}
		}
		if left -= r.Amount; left < answer.Left {
			answer = latchkey.Reserved{Left: left, Least: i}
		}
	}
	if a.credits == nil {
		a.credits = make(map[creditKey]account)
		a.reservations = make(map[[16]byte]*reservation)
	}
	for _, c := range r.Accounts {
		key := keyOf(&c)
		one, ok := a.credits[key]
		if !ok {
			one.ends = micros(c.Ends)
		}
		one.used += r.Amount
		one.open++
		a.credits[key] = one
	}
	a.reservations[r.Key] = &reservation{accounts: accounts, amount: r.Amount, until: micros(r.Until), left: answer.Left}
	return answer, nil
}

// Balances implements [latchkey.Store].
func (s *Store) Balances(ctx context.Context, owner string, accounts []latchkey.CreditAccount) (
	[]latchkey.Credits, error) {
	if err := check(ctx); err != nil {
		return nil, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	a := s.lookup(owner)
	left := make([]latchkey.Credits, len(accounts))
	for i := range accounts {
		c := &accounts[i]
		if c.Carry > 0 && c.CarryFrom == c.Period {
			return nil, fmt.Errorf("%w: an account carries from itself", latchkey.ErrInvalid)
		}
		left[i] = a.left(c)
	}
	return left, nil
}

// Taken implements [latchkey.Store].
func (s *Store) Taken(ctx context.Context, owner string, q latchkey.TakenQuery) (
	page []latchkey.TakenCredits, next string, err error,
) {
	if err := check(ctx); err != nil {
		return nil, "", err
	}
	at, ok, err := q.Start()
	if err != nil {
		return nil, "", err
	}
	s.mu.RLock()
	defer s.mu.RUnlock()
	for key, one := range s.lookup(owner).credits {
		c := latchkey.TakenCredits{TokenID: key.token, Meter: key.meter, Period: key.period, Taken: one.used,
			Ends: fromMicros(one.ends)}
		if !ok || q.Compare(c, at) > 0 {
			page = append(page, c)
		}
	}
	slices.SortFunc(page, q.Compare)
	if len(page) <= q.Size() {
		return page, "", nil
	}
	page = page[:q.Size()]
	return page, q.Key(page[len(page)-1]), nil
}

func keyOf(c *latchkey.CreditAccount) creditKey { return creditKey{c.TokenID, c.Meter, c.Period} }

// left returns what an account has left with what it carries, 0 or more.
func (a *ownerData) left(c *latchkey.CreditAccount) latchkey.Credits {
	if c.Limit <= 0 {
		return 0
	}
	key := keyOf(c)
	limit := c.Limit
	if c.Carry > 0 {
		before := key
		before.period = c.CarryFrom
		// used is never below 0, and the limit is above it, so no subtraction here overflows.
		unspent := max(c.Limit-a.credits[before].used, 0)
		limit = latchkey.Credits(sum(int64(limit), int64(min(c.Carry, unspent))))
	}
	return max(limit-a.credits[key].used, 0)
}

// Adjust implements [latchkey.Store].
func (s *Store) Adjust(ctx context.Context, owner string, key [16]byte, j latchkey.Adjustment) error {
	if err := check(ctx); err != nil {
		return err
	}
	if j.Amount <= 0 || j.Pledged < 0 || j.Pledged > j.Amount {
		return fmt.Errorf("%w: an adjustment needs an amount above 0, and a pledge between 0 and the amount",
			latchkey.ErrInvalid)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	a := s.lookup(owner)
	r := a.reservations[key]
	switch {
	case r == nil:
		return latchkey.ErrNotFound
	case r.settled || j.Pledged > r.amount:
		return latchkey.ErrConflict
	}
	a.keep(r, min(r.amount, j.Amount))
	r.pledged = min(max(r.pledged, j.Pledged), r.amount)
	if until := micros(j.Until); until == never || r.until != never && until > r.until {
		r.until = until
	}
	return nil
}

// Settle implements [latchkey.Store].
func (s *Store) Settle(ctx context.Context, owner string, key [16]byte, actual latchkey.Credits) error {
	if err := check(ctx); err != nil {
		return err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	a := s.lookup(owner)
	r := a.reservations[key]
	switch {
	case r == nil:
		return latchkey.ErrNotFound
	case actual < 0 || actual > r.amount:
		return fmt.Errorf("%w: the settled amount must be between 0 and the reserved amount", latchkey.ErrInvalid)
	case r.settled && actual != r.actual:
		return latchkey.ErrConflict
	case !r.settled:
		a.settle(r, actual)
	}
	return nil
}

// settle ends a reservation and gives back what was not spent.
func (a *ownerData) settle(r *reservation, actual latchkey.Credits) {
	for _, key := range r.accounts {
		one := a.credits[key]
		one.open--
		a.credits[key] = one
	}
	a.give(r, r.amount-actual)
	r.settled, r.actual = true, actual
}

// keep reduces a reservation to amount.
func (a *ownerData) keep(r *reservation, amount latchkey.Credits) {
	a.give(r, r.amount-amount)
	r.amount = amount
}

// give gives back credits of a reservation to its accounts.
func (a *ownerData) give(r *reservation, back latchkey.Credits) {
	for _, p := range r.accounts {
		one := a.credits[p]
		if one.used -= back; one.used == 0 {
			delete(a.credits, p)
		} else {
			a.credits[p] = one
		}
	}
}
