package latchkey

import (
	"context"
	"errors"
	"fmt"

	"github.com/latchkey-go/latchkey/internal/credits"
	"github.com/latchkey-go/latchkey/internal/fault"
	"github.com/latchkey-go/latchkey/internal/usage"
	"github.com/latchkey-go/latchkey/internal/uuidv7"
)

// Hundredth is a ready-made Options.CreditLease: a hundredth of the limit.
func Hundredth(limit Credits) Credits { return limit / 100 }

// limitSet is every limit that holds for a token: its own, those of the tokens it was minted from, and its owner's.
type limitSet struct {
	credits credits.Limits
	rates   []rateLink
}

// meetLimits collects the limits of a chain; nil if there are none.
func meetLimits(f *Found) (*limitSet, error) {
	set := &limitSet{}
	add := func(l Limits, of credits.Limit, rateKey [16]byte) error {
		if err := l.check(); err != nil {
			return err
		}
		if l.Credits != 0 {
			of.Credits = int64(max(l.Credits, 0))
			set.credits.List = append(set.credits.List, of)
		}
		if l.Rate != (Rate{}) {
			set.rates = append(set.rates, rateLink{rateKey, l.Rate.cells()})
		}
		return nil
	}
	err := add(f.Token.Limits, credits.Limit{Own: true}, [16]byte{})
	for i := range f.Ancestors {
		t := &f.Ancestors[i]
		err = errors.Join(err, add(t.Limits, credits.Limit{TokenID: t.ID}, uuidv7.Parse(t.ID)))
	}
	err = errors.Join(err, add(f.Owner.Limits, credits.Limit{}, ownerRateKey(f.Owner.ID)))
	list := set.credits.List
	if err != nil || len(list)+len(set.rates) == 0 {
		return nil, err
	}
	if len(list) != 0 && list[0].TokenID != "" {
		set.credits.Nearest = uuidv7.Parse(list[0].TokenID)
	}
	return set, nil
}

// limitsWithin reports whether a token may spend no more, and no faster, than another one, chains included. The owner's
// limits hold for both.
func limitsWithin(t *Token, ancestors []Token, of *Token, ofAncestors []Token) bool {
	chain := append([]Token{*t}, ancestors...)
	for _, up := range append([]Token{*of}, ofAncestors...) {
		credits, rate := up.Limits.Credits == 0, up.Limits.Rate == Rate{}
		for i := range chain {
			l := &chain[i].Limits
			credits = credits || l.Credits != 0 && l.Credits <= up.Limits.Credits
			if !rate && l.Rate != (Rate{}) {
				mine, theirs := l.Rate.cells(), up.Limits.Rate.cells()
				rate = mine.Step >= theirs.Step && mine.Slack <= theirs.Slack && l.Rate.Burst <= up.Limits.Rate.Burst
			}
		}
		if !credits || !rate {
			return false
		}
	}
	return true
}

// Hold is credits taken in advance by [Access.Reserve]. It is safe for concurrent use.
type Hold struct{ hold credits.Hold }

// Reserve takes n credits in advance from every limited account that the token draws on: its own (Limits.Credits), that
// of each token it was minted from, and its owner's. It takes them from all of these or from none. There is one account
// per meter and calendar month in UTC, each as large as the limit. Reserve returns an *[OverLimitError], which wraps
// [ErrOverLimit], if one of them has less than n left. Without any limit nothing is taken, and the Hold is free.
//
// Limits are those that the Access saw: a limit that was lowered since holds from the next Verify on. An Assumed caller
// saw none, so the owner's record is read. Reserve is exact across all processes that share the store: they never take
// more than the limit together. With Options.CreditLease, what another process has leased and not spent counts as spent
// until that process returns it, so a refusal may come early by that much. For what this process holds itself it is
// exact.
//
// Settle says what was really spent. Credits that nobody settles are returned by the first [Manager.Purge] after 15
// minutes, at the earliest. Nothing is counted as usage: see [Access.CountCredits].
//
// Errors are [ErrInvalid] for n ≤ 0 and for a meter that is not 1 to 64 bytes of valid UTF-8 without NUL,
// [ErrInvalidToken] for the zero Access, and [ErrUnavailable] and [ErrUnknownOutcome] if the store cannot tell. After
// the last two, do not serve the request. If credits were taken all the same, [Manager.Purge] returns them.
func (a Access) Reserve(ctx context.Context, meter string, n Credits) (*Hold, error) {
	if n <= 0 {
		return nil, fmt.Errorf("%w: a reservation needs a positive number of credits", ErrInvalid)
	}
	l, err := a.limits(ctx, meter)
	if err != nil {
		return nil, err
	}
	h, err := a.reserve(ctx, l, meter, n)
	if err != nil {
		return nil, a.reportRefusal(ctx, err)
	}
	return h, nil
}

func (a Access) reserve(ctx context.Context, l *limitSet, meter string, n Credits) (*Hold, error) {
	h := &Hold{}
	if l == nil {
		h.hold.Unlimited(int64(n))
		return h, nil
	}
	at, err := a.m.follower(a.who.feed).confirmedTime(ctx) // in which month?
	if err != nil {
		return nil, err
	}
	d := a.debit(l, meter)
	if err := a.m.credits.Reserve(ctx, &d, int64(n), a.m.instant(at), &h.hold); err != nil {
		return nil, err
	}
	return h, nil
}

func (a Access) debit(l *limitSet, meter string) credits.Debit {
	return credits.Debit{Owner: a.who.owner, Meter: meter, Token: a.id, Limits: &l.credits}
}

func (a Access) checkMeter(meter string) error {
	if a.set == nil {
		return ErrInvalidToken
	}
	return checkText("meter", meter, 1, usage.MaxMeter)
}

// limits returns what a debit must keep to, and nil if no account is limited.
func (a Access) limits(ctx context.Context, meter string) (*limitSet, error) {
	if err := a.checkMeter(meter); err != nil {
		return nil, err
	}
	set := a.set.limits
	if a.who.kind == 0 {
		o, err := a.m.store.Owner(ctx, a.who.owner)
		if err != nil {
			return nil, err
		}
		if set, err = meetLimits(&Found{Owner: o}); err != nil {
			return nil, fmt.Errorf("%w: stored limits: %w", ErrUnavailable, err)
		}
	}
	if set == nil || len(set.credits.List) == 0 {
		return nil, nil
	}
	return set, nil
}

// Charge spends n credits if every limited account has them, and none if one has not ([ErrOverLimit]): it is
// [Access.Reserve], settled at once. It succeeds if what was spent plus n is within each limit. For n = 0 it only
// checks the Access and the meter. It returns [ErrInvalid] for n < 0. After any error, do not serve the request. Only
// with [ErrUnknownOutcome] may the credits have been spent. With Options.CreditLease most charges are paid in memory
// and do not allocate.
func (a Access) Charge(ctx context.Context, meter string, n Credits) error {
	if n == 0 {
		return a.checkMeter(meter)
	}
	if n < 0 {
		return fmt.Errorf("%w: negative charge", ErrInvalid)
	}
	l, err := a.limits(ctx, meter)
	if err != nil || l == nil {
		return err
	}
	if a.m.opts.CreditLease != nil {
		if err := ctx.Err(); err != nil {
			return fault.Unavailable(err)
		}
		if d := a.debit(l, meter); a.m.credits.Charge(&d, int64(n), a.m.creationNow()) {
			return nil
		}
	}
	h, err := a.reserve(ctx, l, meter, n)
	if err != nil {
		return a.reportRefusal(ctx, err)
	}
	return h.Settle(ctx, n)
}

// Settle keeps what was really spent and returns the rest. Settling again with the same amount does nothing.
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
	return h.hold.Settle(ctx, int64(actual))
}

// Left returns the least that any of the accounts has left, as of the reservation and with what Settle returned: others
// may have spent since. It returns false if none is limited.
func (h *Hold) Left() (Credits, bool) {
	left, limited := h.hold.Left()
	return Credits(left), limited
}

// creditHost is a Manager as package credits needs it.
type creditHost struct{ *Manager }

func (h creditHost) Reserve(ctx context.Context, r credits.Reservation) (int64, error) {
	accounts := make([]CreditAccount, r.Accounts.Len())
	for i := range accounts {
		a := r.Accounts.At(i)
		accounts[i] = CreditAccount{TokenID: a.TokenID, Meter: a.Meter, Period: a.Period, Limit: Credits(a.Limit)}
	}
	got, err := h.store.Reserve(ctx, Reservation{Owner: r.Owner, Key: r.Key, Accounts: accounts, Amount: Credits(r.Amount),
		Until: fromMicros(r.Until)})
	return int64(got.Left), err
}

func (h creditHost) Adjust(ctx context.Context, owner string, key [16]byte, a credits.Adjustment) error {
	return h.store.Adjust(ctx, owner, key, Adjustment{Amount: Credits(a.Amount), Pledged: Credits(a.Committed),
		Until: fromMicros(a.Until)})
}

func (h creditHost) Settle(ctx context.Context, owner string, key [16]byte, spent int64) error {
	return h.store.Settle(ctx, owner, key, Credits(spent))
}

func (h creditHost) Short(err error) (tokenID string, ok bool) {
	var over *OverLimitError
	if !errors.As(err, &over) {
		return "", false
	}
	return over.Account.TokenID, true
}

func (h creditHost) Group(owner string) uint32         { return uint32(h.store.Locate(owner).Feed) }
func (h creditHost) Clock() credits.Instant            { return h.instant(h.readClock()) }
func (h creditHost) NewID(now int64) ([16]byte, error) { return h.ids.New(now) }
func (h creditHost) Warn(msg string, err error)        { h.warn(msg, err) }

func (m *Manager) instant(at moment) credits.Instant {
	return credits.Instant{Now: m.creationTime(at), Elapsed: m.elapsed(at)}
}
