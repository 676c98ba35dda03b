package latchkey

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/latchkey-go/latchkey/internal/fault"
	"github.com/latchkey-go/latchkey/internal/uuidv7"
)

const (
	holdFor  = 15 * time.Minute // how long a Hold waits for Settle
	maxMeter = 64               // bytes
)

// limitSet is every limit that holds for a token: its own, those of the tokens it was minted from, and its owner's.
type limitSet struct {
	purses  []purse
	nearest [16]byte // the token of the first purse, unless that is its own; zero: the owner
	rates   []rateLink
}

type purse struct {
	own     bool   // of the token itself, whatever its id: tokens with the same limits share a set
	tokenID string // "": the owner's
	limit   Credits
}

// meetLimits collects the limits of a chain; nil if there are none.
func meetLimits(f *Found) (*limitSet, error) {
	set := &limitSet{}
	add := func(l Limits, p purse, rateKey [16]byte) error {
		if err := l.check(); err != nil {
			return err
		}
		if l.Credits != 0 {
			p.limit = max(l.Credits, 0)
			set.purses = append(set.purses, p)
		}
		if l.Rate != (Rate{}) {
			set.rates = append(set.rates, rateLink{rateKey, l.Rate.cells()})
		}
		return nil
	}
	err := add(f.Token.Limits, purse{own: true}, [16]byte{})
	for i := range f.Ancestors {
		t := &f.Ancestors[i]
		err = errors.Join(err, add(t.Limits, purse{tokenID: t.ID}, uuidv7.Parse(t.ID)))
	}
	err = errors.Join(err, add(f.Owner.Limits, purse{}, ownerRateKey(f.Owner.ID)))
	if err != nil || len(set.purses)+len(set.rates) == 0 {
		return nil, err
	}
	if len(set.purses) != 0 && set.purses[0].tokenID != "" {
		set.nearest = uuidv7.Parse(set.purses[0].tokenID)
	}
	return set, nil
}

// ownerRateKey is no token's id: those are UUIDs, of a version that is not 0.
func ownerRateKey(owner string) [16]byte {
	k := rateKey("latchkey owner " + owner)
	k[6] &= 0x0f // where a UUID has its version
	return k
}

// limitsWithin says whether a token may spend no more, and no faster, than another one, chains included. The owner's
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
				rate = mine.step >= theirs.step && mine.slack <= theirs.slack && l.Rate.Burst <= up.Limits.Rate.Burst
			}
		}
		if !credits || !rate {
			return false
		}
	}
	return true
}

// Hold is credits taken in advance by [Access.Reserve]. Safe for concurrent use.
type Hold struct {
	m        *Manager
	owner    string
	key      [16]byte
	reserved Credits
	limited  bool // something was taken

	mu      sync.Mutex
	left    Credits
	settled bool
	actual  Credits

	block         *block // what it was taken of; nil: it has a reservation of its own
	lapses        int64  // as Manager.elapsed has it
	before, after *Hold  // of the block. Guarded by till.mu, as is:
	freed         bool   // it is out of the block's books
}

// Reserve takes n credits in advance from every limited purse the token draws on: its own (Limits.Credits), that of each
// token it was minted from, and its owner's; from all of them or from none. There is one purse per meter and calendar
// month in UTC, each as large as the limit. [ErrOverLimit], an *[OverLimitError], if one of them has less than n left;
// without any limit there is nothing to take, and the Hold is free.
//
// Limits are those the Access saw: one that was lowered since holds from the next Verify on. For an Assumed caller, who
// saw none, the owner's record is read. Exact across all processes that share the store: they never take more than the
// limit together. With Options.CreditBlock, what another process has taken in advance and not spent counts as spent until
// it gives it back, so a refusal may come early by that much; for what this process holds itself it is exact.
//
// Settle says what was really spent. Credits that nobody settles are given back by the first [Manager.Purge] after 15
// minutes, at the earliest. [ErrInvalid] for n ≤ 0 and for a meter that is not 1 to 64 bytes of valid UTF-8 without NUL;
// [ErrInvalidToken] for the zero Access; [ErrUnavailable] and [ErrUnknownOutcome] if the store cannot tell: nothing may
// be spent then, and what was perhaps taken comes back by itself. Nothing is counted as usage: see [Access.CountCredits].
func (a Access) Reserve(ctx context.Context, meter string, n Credits) (*Hold, error) {
	if n <= 0 {
		return nil, fmt.Errorf("%w: a reservation of no credits, or less", ErrInvalid)
	}
	l, err := a.limits(ctx, meter)
	if err != nil {
		return nil, err
	}
	h, err := a.reserve(ctx, l, meter, n)
	if err != nil {
		return nil, a.refuse(ctx, err)
	}
	return h, nil
}

func (a Access) reserve(ctx context.Context, l *limitSet, meter string, n Credits) (*Hold, error) {
	h := &Hold{m: a.m, owner: a.who.owner, reserved: n, limited: l != nil}
	if !h.limited {
		return h, nil
	}
	at, err := a.m.witnessed(ctx) // in which month?
	if err != nil {
		return nil, err
	}
	if now := a.m.making(at); a.m.tills != nil && a.m.tills.isOpen() {
		if err = ctx.Err(); err != nil {
			return nil, fault.Unavailable(err)
		}
		err = a.m.tills.reserve(ctx, a, l, meter, h, now)
	} else {
		err = h.reserve(ctx, a.accounts(l, meter, now), now)
	}
	if err != nil {
		return nil, err
	}
	return h, nil
}

// reserve makes a reservation of the Hold's own.
func (h *Hold) reserve(ctx context.Context, accounts []CreditAccount, now int64) (err error) {
	if h.key, err = h.m.ids.New(now); err != nil {
		return err
	}
	r := Reservation{Owner: h.owner, Key: h.key, Accounts: accounts, Amount: h.reserved,
		Until: fromMicros(now + holdFor.Microseconds())}
	return fault.UntilKnown(ctx, func() error {
		got, err := h.m.store.Reserve(ctx, r)
		h.left = got.Left
		return err
	})
}

func (a Access) checkMeter(meter string) error {
	if a.set == nil {
		return ErrInvalidToken
	}
	return boundText("meter", meter, 1, maxMeter)
}

// limits are what a debit must keep to; nil if no purse is limited.
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
	if set == nil || len(set.purses) == 0 {
		return nil, nil
	}
	return set, nil
}

// accounts names every limited purse.
func (a Access) accounts(l *limitSet, meter string, now int64) []CreditAccount {
	period := fromMicros(now).Format("2006-01")
	list := make([]CreditAccount, len(l.purses))
	for i, p := range l.purses {
		list[i] = CreditAccount{TokenID: p.tokenID, Meter: meter, Period: period, Limit: p.limit}
		if p.own {
			list[i].TokenID = a.TokenID()
		}
	}
	return list
}

// Charge spends n credits if every limited purse has them, and none if one has not ([ErrOverLimit]): [Access.Reserve],
// kept at once. What is admitted is its cost: what was spent plus n is within the limit. 0 is free and asks nobody; less
// is [ErrInvalid]. After any error nothing may be served for it; only with [ErrUnknownOutcome] were the credits perhaps
// spent all the same. With Options.CreditBlock most charges are paid in memory and do not allocate.
func (a Access) Charge(ctx context.Context, meter string, n Credits) error {
	if n == 0 {
		return a.checkMeter(meter)
	}
	if n < 0 {
		return fmt.Errorf("%w: a charge of less than nothing", ErrInvalid)
	}
	l, err := a.limits(ctx, meter)
	if err != nil || l == nil {
		return err
	}
	if a.m.tills != nil {
		if err := ctx.Err(); err != nil {
			return fault.Unavailable(err)
		}
		if a.m.tills.charge(a, l, meter, n, a.m.present()) {
			return nil
		}
	}
	h, err := a.reserve(ctx, l, meter, n)
	if err != nil {
		return a.refuse(ctx, err)
	}
	return h.Settle(ctx, n)
}

// Settle keeps what was really spent and gives the rest back. Settling again with the same amount does nothing, with
// another it is [ErrConflict], and so is spending what has lapsed; [ErrNotFound] if that was long ago. [ErrInvalid]
// unless 0 ≤ actual ≤ what was reserved. Give a context that outlives the request (context.WithoutCancel): a Hold that
// is not settled counts as spent until it lapses, and as not spent afterwards. (With Options.CreditBlock one that was open
// when its process died, or was never settled after [Manager.Close], counts as spent.)
func (h *Hold) Settle(ctx context.Context, actual Credits) error {
	if actual < 0 || actual > h.reserved {
		return fmt.Errorf("%w: more was spent than reserved, or less than nothing", ErrInvalid)
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.settled {
		if actual != h.actual {
			return fmt.Errorf("%w: settled already, with another amount", ErrConflict)
		}
		return nil
	}
	if h.limited {
		var err error
		if h.block != nil {
			err = h.block.settle(ctx, h, actual)
		} else {
			err = fault.UntilKnown(ctx, func() error { return h.m.store.Settle(ctx, h.owner, h.key, actual) })
		}
		if err != nil {
			return err
		}
		h.left += h.reserved - actual
	}
	h.settled, h.actual = true, actual
	return nil
}

// Left is the least that any of the purses has left, as of the reservation and with what Settle gave back: others may
// have spent since. False if none is limited.
func (h *Hold) Left() (Credits, bool) {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.left, h.limited
}
