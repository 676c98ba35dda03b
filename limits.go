package latchkey

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync/atomic"
	"time"

	"github.com/latchkey-go/latchkey/internal/credits"
	"github.com/latchkey-go/latchkey/internal/fault"
	"github.com/latchkey-go/latchkey/internal/usage"
	"github.com/latchkey-go/latchkey/internal/uuidv7"
)

// Hundredth is a ready-made Options.CreditLease: a hundredth of the limit. Ten processes then refuse when at most 18 %
// of a quota is left, all of it held by the other nine.
func Hundredth(limit Credits) Credits { return limit / 100 }

// limitSet is every limit that holds for a token: its own, those of the tokens it was minted from, and its owner's.
type limitSet struct {
	meters []meterLimits // the first is of all meters that no quota names
	rates  []rateLink
}

// meterLimits is the quotas that hold for one meter.
type meterLimits struct {
	meter  string
	limits *credits.Limits
	quotas []Quota // by the index of limits.List
}

// of returns the quotas that hold for a meter, nil if there are none.
func (s *limitSet) of(meter string) *meterLimits {
	if s == nil || len(s.meters) == 0 {
		return nil
	}
	l := &s.meters[0]
	for i := range s.meters[1:] {
		if s.meters[i+1].meter == meter {
			l = &s.meters[i+1]
		}
	}
	if len(l.quotas) == 0 {
		return nil
	}
	return l
}

// named returns the meters that quotas name.
func (s *limitSet) named() (meters []string) {
	if s == nil || len(s.meters) == 0 {
		return nil
	}
	for i := range s.meters[1:] {
		meters = append(meters, s.meters[i+1].meter)
	}
	return meters
}

// holder is a token of a chain, or the owner, with its limits.
type holder struct {
	limit  credits.Limit // without what is of one quota
	id     [16]byte      // of a token that does not pay itself
	quotas []Quota
}

// meetLimits collects the limits of a chain; nil if there are none.
func meetLimits(f *Found) (*limitSet, error) {
	set := &limitSet{}
	owner := f.Token.Owner
	if owner == "" { // an Assumed caller has no token
		owner = f.Owner.ID
	}
	var holders []holder
	meters := []string{""}
	add := func(l Limits, h holder, key rateKey) error {
		if err := l.check(); err != nil {
			return err
		}
		for _, q := range l.Quotas {
			if !slices.Contains(meters, q.Meter) {
				meters = append(meters, q.Meter)
			}
		}
		if h.quotas = l.Quotas; len(h.quotas) != 0 {
			holders = append(holders, h)
		}
		if l.Rate != (Rate{}) {
			set.rates = append(set.rates, rateLink{key, h.limit.Own, l.Rate.cells()})
		}
		return nil
	}
	err := add(f.Token.Limits, holder{limit: credits.Limit{Own: true}}, tokenRateKey(owner, [16]byte{}))
	for i := range f.Ancestors {
		t := &f.Ancestors[i]
		id := uuidv7.Parse(t.ID)
		err = errors.Join(err, add(t.Limits, holder{limit: credits.Limit{TokenID: t.ID, Made: uuidv7.Time(id)}, id: id},
			tokenRateKey(owner, id)))
	}
	err = errors.Join(err, add(f.Owner.Limits, holder{}, ownerRateKey(f.Owner.ID)))
	if err != nil || len(holders)+len(set.rates) == 0 {
		return nil, err
	}
	if len(holders) != 0 {
		for _, meter := range meters {
			set.meters = append(set.meters, meetQuotas(holders, meter))
		}
	}
	return set, nil
}

// meetQuotas collects the quotas for one meter. Those of one holder that share an account become one.
func meetQuotas(holders []holder, meter string) meterLimits {
	m := meterLimits{meter: meter, limits: &credits.Limits{}}
	for _, h := range holders {
		first := len(m.quotas)
		for _, q := range h.quotas {
			if q.Meter != "" && q.Meter != meter {
				continue
			}
			if len(m.quotas) == 0 {
				m.limits.Nearest = h.id
			}
			period := q.period()
			i := first
			for i < len(m.quotas) && m.limits.List[i].Period != period {
				i++
			}
			if i < len(m.quotas) {
				if q.Amount > m.quotas[i].Amount {
					q, m.quotas[i] = m.quotas[i], q
				}
				m.quotas[i] = Quota{q.Meter, q.Amount, q.Per, q.Anchor, min(q.Carry, m.quotas[i].Carry)}
			} else {
				m.quotas, m.limits.List = append(m.quotas, q), append(m.limits.List, h.limit)
			}
			l := &m.limits.List[i]
			l.Period, l.Credits, l.Carry = period, int64(m.quotas[i].Amount), int64(m.quotas[i].Carry)
		}
	}
	return m
}

func (q *Quota) period() credits.Period {
	unit := map[Period]credits.Unit{Minute: credits.Minute, Hour: credits.Hour, Day: credits.Day, Week: credits.Week,
		Month: credits.Month, Forever: credits.Forever}[q.Per]
	return credits.Period{Unit: unit, Anchor: q.anchor()}
}

// limitsWithin reports whether a token may spend no more, and no faster, than another one, chains included. The owner's
// limits hold for both.
func limitsWithin(t *Token, ancestors []Token, of *Token, ofAncestors []Token) bool {
	chain := append([]Token{*t}, ancestors...)
	lists := make([][]Quota, len(chain))
	for i := range chain {
		lists[i] = chain[i].Limits.Quotas
	}
	for _, up := range append([]Token{*of}, ofAncestors...) {
		rate := up.Limits.Rate == Rate{}
		for i := range chain {
			if l := &chain[i].Limits; !rate && l.Rate != (Rate{}) {
				mine, theirs := l.Rate.cells(), up.Limits.Rate.cells()
				rate = mine.Step >= theirs.Step && mine.Slack <= theirs.Slack // so its Burst is no larger either
			}
		}
		if !rate || !quotasWithin(up.Limits.Quotas, lists...) {
			return false
		}
	}
	return true
}

// Left is what a caller may still spend of a meter: what is left of the [Quota] that has the least.
type Left struct {
	Credits Credits

	quota       *Quota // nil: none holds
	resets, now int64  // µs; resets 0: never
}

// Limited reports whether a quota holds at all. Otherwise l is zero.
func (l Left) Limited() bool { return l.quota != nil }

// Quota returns the quota that has the least left: the token's own, of one it was minted from, or the owner's. It is
// zero if none holds.
func (l Left) Quota() Quota {
	if l.quota == nil {
		return Quota{}
	}
	return *l.quota
}

// Resets returns when the period of that quota is over, in UTC. Zero: never.
func (l Left) Resets() time.Time {
	if l.resets == 0 {
		return time.Time{}
	}
	return fromMicros(l.resets)
}

// ResetsIn returns how long it is until Resets, as of the call that returned l. 0: it never comes.
func (l Left) ResetsIn() time.Duration {
	if l.resets == 0 {
		return 0
	}
	return max(time.Duration(l.resets-l.now)*time.Microsecond, 1)
}

func (l *meterLimits) left(of credits.Left, now int64) Left {
	return Left{Credits: Credits(of.Credits), quota: &l.quotas[of.Limit], resets: of.Resets, now: now}
}

// Uncounted as an endpoint says that [Access.Spend] and [Hold.Settle] count nothing as usage: the caller counts itself,
// with [Access.Count].
const Uncounted = "\x00"

// Hold is credits taken in advance by [Access.Reserve]. It is safe for concurrent use.
type Hold struct {
	hold            credits.Hold
	limits          *meterLimits // nil: none
	now             int64        // µs, when it was reserved
	access          Access
	meter, endpoint string
	counted         atomic.Bool
}

// Spend takes n credits of a meter ("api") from every quota that holds for the token: its own, those of each token it
// was minted from, and its owner's. It takes them from all of these or from none: an *[OverLimitError], which wraps
// [ErrOverLimit], says which has less than n left, and when that begins anew. A Spend succeeds if what was spent plus n
// is within each. Then it counts one use at the endpoint, with n credits, as [Access.Count] does. It returns what is
// left: see [Left]. With Options.CreditLease that is as of the latest answer of the store, and without what others have
// spent since.
//
// After any error, do not serve the request. Nothing was counted then, and only with [ErrUnknownOutcome] may the
// credits have been spent. The errors are those of [Access.Reserve]. For n = 0 Spend checks the Access and the meter
// and counts the use; nothing is taken, and Left is zero. With Options.CreditLease most calls are paid in memory and do
// not allocate.
func (a Access) Spend(ctx context.Context, meter, endpoint string, n Credits) (Left, error) {
	var left Left
	switch {
	case n < 0:
		return Left{}, fmt.Errorf("%w: a negative number of credits", ErrInvalid)
	case n == 0:
		if err := a.checkMeter(meter); err != nil {
			return Left{}, err
		}
	default:
		l, err := a.limits(ctx, meter)
		if err == nil && l != nil {
			left, err = a.spend(ctx, l, meter, n)
		}
		if err != nil {
			return Left{}, err
		}
	}
	if endpoint != Uncounted {
		a.count(meter, endpoint, 1, n)
	}
	return left, nil
}

func (a *Access) spend(ctx context.Context, l *meterLimits, meter string, n Credits) (Left, error) {
	if a.m.opts.CreditLease != nil {
		if err := ctx.Err(); err != nil {
			return Left{}, fault.Unavailable(err)
		}
		d, now := a.debit(l, meter), a.m.creationNow()
		if left, ok := a.m.credits.Charge(&d, int64(n), now); ok {
			return l.left(left, now), nil
		}
	}
	var h credits.Hold
	now, err := a.reserve(ctx, l, meter, n, &h)
	if err != nil {
		return Left{}, a.reportRefusal(ctx, err)
	}
	if err := h.Settle(ctx, int64(n)); err != nil {
		return Left{}, err
	}
	left, _ := h.Left()
	return l.left(left, now), nil
}

// Reserve takes n credits in advance, as [Access.Spend] takes them, for what costs a sum that is known only afterwards:
// Settle says what was really spent, and counts the use. Without any quota nothing is taken, and the Hold is free.
//
// Quotas are those that the Access saw: one that was lowered since holds from the next Verify on. An Assumed caller saw
// none, so the owner's record is read. Reserve and Spend are exact across all processes that share the store: they
// never take more than a quota together. With Options.CreditLease, what another process has leased and not spent counts
// as spent until that process returns it, so a refusal may come early by that much: see there. For what this process
// holds itself it is exact. What a Hold has counts in the period in which it was reserved.
//
// Credits that nobody settles are returned by the first [Manager.Purge] after 15 minutes, at the earliest.
//
// Errors are [ErrInvalid] for n ≤ 0 and for a meter that is not 1 to 64 bytes of valid UTF-8 without NUL,
// [ErrInvalidToken] for the zero Access, and [ErrUnavailable] and [ErrUnknownOutcome] if the store cannot tell. After
// the last two, do not serve the request. If credits were taken all the same, [Manager.Purge] returns them.
func (a Access) Reserve(ctx context.Context, meter, endpoint string, n Credits) (*Hold, error) {
	if n <= 0 {
		return nil, fmt.Errorf("%w: a reservation needs a positive number of credits", ErrInvalid)
	}
	l, err := a.limits(ctx, meter)
	if err != nil {
		return nil, err
	}
	h := &Hold{limits: l, access: a, meter: meter, endpoint: endpoint}
	if l == nil {
		h.hold.Unlimited(int64(n))
		return h, nil
	}
	if h.now, err = a.reserve(ctx, l, meter, n, &h.hold); err != nil {
		return nil, a.reportRefusal(ctx, err)
	}
	return h, nil
}

// reserve fills h, and returns what time it is, µs.
func (a *Access) reserve(ctx context.Context, l *meterLimits, meter string, n Credits, h *credits.Hold) (int64, error) {
	at, err := a.m.follower(a.who.feed).confirmedTime(ctx) // in which period?
	if err != nil {
		return 0, err
	}
	d, now := a.debit(l, meter), a.m.instant(at)
	if err = a.m.credits.Reserve(ctx, &d, int64(n), now, h); err != nil {
		l.explain(err, n, now.Now)
	}
	return now.Now, err
}

// explain tells an error of creditHost.Reserve which quota it is of.
func (l *meterLimits) explain(err error, n Credits, now int64) {
	var over *OverLimitError
	if !errors.As(err, &over) {
		return
	}
	q := l.quotas[over.limit]
	if over.Quota = q; !over.Resets.IsZero() && q.Amount != 0 && n <= q.Amount+q.Carry {
		over.wait = max(over.Resets.Sub(fromMicros(now)), time.Second)
	}
}

func (a *Access) debit(l *meterLimits, meter string) credits.Debit {
	return credits.Debit{Owner: a.who.owner, Meter: meter, Token: a.payer(), Limits: l.limits}
}

func (a *Access) checkMeter(meter string) error {
	if a.set == nil {
		return ErrInvalidToken
	}
	return checkMeter(meter)
}

func checkMeter(meter string) error { return checkText("meter", meter, 1, usage.MaxMeter) }

// limits returns what a debit must keep to, and nil if no quota holds for the meter.
func (a *Access) limits(ctx context.Context, meter string) (*meterLimits, error) {
	if err := a.checkMeter(meter); err != nil {
		return nil, err
	}
	if a.who.kind != 0 {
		return a.set.limits.of(meter), nil
	}
	o, err := a.m.store.Owner(ctx, a.who.owner)
	if err != nil {
		return nil, err
	}
	set, err := meetLimits(&Found{Owner: o})
	if err != nil {
		return nil, fmt.Errorf("%w: stored limits: %w", ErrUnavailable, err)
	}
	return set.of(meter), nil
}

// Quotas returns the quotas that [Access.Spend] keeps to for a meter: the token's own, those of the tokens it was
// minted from, and the owner's. The owner's of an Assumed caller are not among them. It does not read the store.
func (a Access) Quotas(meter string) []Quota {
	if a.set == nil {
		return nil
	}
	if l := a.set.limits.of(meter); l != nil {
		return slices.Clone(l.quotas)
	}
	return nil
}

// Settle keeps what was really spent and returns the rest. It counts one use with that amount, unless actual is 0:
// then everything is given back, and nothing was used. Settling again with the same amount does nothing. After an error
// nothing was counted.
//
// The errors are:
//
//   - [ErrInvalid] if actual is negative or more than was reserved
//   - [ErrConflict] if the Hold was settled with another amount, or has expired and actual is not 0
//   - [ErrNotFound] if the store has forgotten the Hold
//
// Give a context that outlives the request (context.WithoutCancel): a Hold that is not settled counts as spent until it
// expires, and as not spent afterwards. With Options.CreditLease, a Hold counts as spent if it was open when its
// process died, or was never settled after [Manager.Close].
func (h *Hold) Settle(ctx context.Context, actual Credits) error {
	if err := h.hold.Settle(ctx, int64(actual)); err != nil {
		return err
	}
	if actual != 0 && h.counted.CompareAndSwap(false, true) {
		if h.endpoint != Uncounted {
			h.access.count(h.meter, h.endpoint, 1, actual)
		}
	}
	return nil
}

// Left returns what is left, as of the reservation and with what Settle returned: others may have spent since.
func (h *Hold) Left() Left {
	left, limited := h.hold.Left()
	if !limited {
		return Left{}
	}
	return h.limits.left(left, h.now)
}

// creditHost is a Manager as package credits needs it.
type creditHost struct{ *Manager }

func (h creditHost) Reserve(ctx context.Context, r credits.Reservation) (left int64, least int, err error) {
	accounts := make([]CreditAccount, r.Accounts.Len())
	for i := range accounts {
		accounts[i] = creditAccount(r.Accounts.At(i))
	}
	got, err := h.store.Reserve(ctx, Reservation{Owner: r.Owner, Key: r.Key, Accounts: accounts, Amount: Credits(r.Amount),
		Until: fromMicros(r.Until)})
	var over *OverLimitError
	if errors.As(err, &over) {
		told := *over
		for i := range accounts {
			if a := r.Accounts.At(i); a.TokenID == over.Account.TokenID && a.Period == over.Account.Period {
				if told.limit = i; a.Resets != 0 {
					told.Resets = fromMicros(a.Resets)
				}
			}
		}
		return 0, 0, &told
	}
	if err == nil && (got.Least < 0 || got.Least >= len(accounts)) {
		return 0, 0, fmt.Errorf("%w: the store says that account %d of %d has the least left", ErrUnavailable, got.Least,
			len(accounts))
	}
	return int64(got.Left), got.Least, err
}

// creditAccount returns an account as the Store knows it.
func creditAccount(a credits.Account) CreditAccount {
	out := CreditAccount{TokenID: a.TokenID, Meter: a.Meter, Period: a.Period, Limit: Credits(a.Limit),
		Carry: Credits(a.Carry), CarryFrom: a.CarryFrom}
	if a.Ends != 0 {
		out.Ends = fromMicros(a.Ends)
	}
	return out
}

func (h creditHost) Adjust(ctx context.Context, owner string, key [16]byte, a credits.Adjustment) error {
	return h.store.Adjust(ctx, owner, key, Adjustment{Amount: Credits(a.Amount), Pledged: Credits(a.Committed),
		Until: fromMicros(a.Until)})
}

func (h creditHost) Settle(ctx context.Context, owner string, key [16]byte, spent int64) error {
	return h.store.Settle(ctx, owner, key, Credits(spent))
}

func (h creditHost) Short(err error) (tokenID, period string, ok bool) {
	var over *OverLimitError
	if !errors.As(err, &over) {
		return "", "", false
	}
	return over.Account.TokenID, over.Account.Period, true
}

func (h creditHost) Group(owner string) uint32         { return uint32(h.store.Locate(owner).Feed) }
func (h creditHost) Clock() credits.Instant            { return h.instant(h.readClock()) }
func (h creditHost) NewID(now int64) ([16]byte, error) { return h.ids.New(now) }
func (h creditHost) Warn(ctx context.Context, msg string, err error) {
	h.warn(ctx, partLease, msg, err)
}

func (h creditHost) Leased(ctx context.Context, e credits.Event) {
	tell(ctx, h.Manager, "Leased", h.opts.Observer.Leased,
		Leasing{What: string(e.What), Owner: e.Owner, Meter: e.Meter, Amount: Credits(e.Amount), Err: e.Err})
}

func (m *Manager) instant(at moment) credits.Instant {
	return credits.Instant{Now: m.creationTime(at), Elapsed: m.elapsed(at)}
}
