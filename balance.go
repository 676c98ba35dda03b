package latchkey

import (
	"context"
	"fmt"
	"time"

	"github.com/latchkey-go/latchkey/internal/credits"
	"github.com/latchkey-go/latchkey/internal/uuidv7"
)

// Balance is what is left of one of the quotas that a token keeps to.
type Balance struct {
	Quota   Quota     `json:"quota"`
	TokenID string    `json:"token_id,omitempty"` // whose quota it is; "": the owner's
	Meter   string    `json:"meter"`              // The meter that it is for, also where the quota holds for each meter.
	Left    Credits   `json:"left"`               // 0 or more; with what the period before left, where Quota.Carry says so
	Resets  time.Time `json:"resets,omitzero"`    // when the period of the quota is over; zero: never
}

// Balances returns what is left of each quota that [Access.Spend] keeps to for a meter: the token's own, those of the
// tokens it was minted from, and the owner's, in this order. A Spend of no more than the least of them succeeds, if no
// other comes first. It takes nothing. None: no quota holds for the meter.
//
// It reads the store. What processes have leased (Options.CreditLease), this one included, counts as spent, and so do
// open Holds. The errors are those of [Access.Reserve].
func (a Access) Balances(ctx context.Context, meter string) ([]Balance, error) {
	l, err := a.limits(ctx, meter)
	if err != nil || l == nil {
		return nil, err
	}
	return a.m.balances(ctx, a.who.owner, []meterDebit{{meter, l, a.debit(l, meter)}})
}

// maxBalanceMeters bounds the meters of one call of Balances.
const maxBalanceMeters = 64

// Balances returns what [Access.Balances] returns for a token, without its secret, for each of some meters, at most 64.
// Without meters they are those that the quotas name. An empty tokenID asks about the owner's quotas.
//
// An actor needs read on the token. The quotas of tokens that it may not read, and the owner's if it may not read the
// owner's record, are left out. Balances returns [ErrNotFound] if there is no such token, and [ErrInvalid] for a meter
// that is not 1 to 64 bytes of valid UTF-8 without NUL.
func (a Account) Balances(ctx context.Context, tokenID string, meters ...string) ([]Balance, error) {
	c, err := a.beginReading(ctx)
	if err != nil {
		return nil, err
	}
	if tokenID != "" && c.check(Read, "token", tokenID) != nil {
		return nil, ErrNotFound
	}
	if len(meters) > maxBalanceMeters {
		return nil, fmt.Errorf("%w: %d meters: ask about at most %d at a time", ErrInvalid, len(meters), maxBalanceMeters)
	}
	for _, meter := range meters {
		if err := checkMeter(meter); err != nil {
			return nil, err
		}
	}
	var f Found
	if tokenID == "" {
		f.Owner, err = a.m.store.Owner(ctx, a.owner)
	} else {
		f, err = a.m.store.Load(ctx, a.owner, tokenID)
		err = notStored(tokenID, err)
	}
	if err != nil {
		return nil, err
	}
	set, err := meetLimits(&f)
	if err != nil {
		return nil, fmt.Errorf("%w: stored limits: %w", ErrUnavailable, err)
	}
	if len(meters) == 0 {
		meters = set.named()
	}
	var of []meterDebit
	for _, meter := range meters {
		if l := set.of(meter); l != nil {
			of = append(of, meterDebit{meter, l, credits.Debit{Owner: a.owner, Meter: meter, Token: uuidv7.Parse(tokenID),
				Limits: l.limits}})
		}
	}
	if len(of) == 0 {
		return nil, nil
	}
	all, err := a.m.balances(ctx, a.owner, of)
	var shown []Balance
	for _, b := range all {
		kind := "token"
		if b.TokenID == "" {
			kind = "owner"
		}
		if c.check(Read, kind, b.TokenID) == nil {
			shown = append(shown, b)
		}
	}
	return shown, err
}

// meterDebit is what a debit of a meter would take from.
type meterDebit struct {
	meter string
	*meterLimits
	debit credits.Debit
}

func (m *Manager) balances(ctx context.Context, owner string, of []meterDebit) ([]Balance, error) {
	at, err := m.confirmTimeNow(ctx, owner) // in which period?
	if err != nil {
		return nil, err
	}
	var accounts []CreditAccount
	var out []Balance
	for _, x := range of {
		in, err := x.debit.Accounts(m.creationTime(at))
		if err != nil {
			return nil, err
		}
		for i := range in.Len() {
			account := in.At(i)
			accounts = append(accounts, creditAccount(account))
			b := Balance{Quota: x.quotas[i], TokenID: account.TokenID, Meter: x.meter}
			if account.Resets != 0 {
				b.Resets = fromMicros(account.Resets)
			}
			out = append(out, b)
		}
	}
	left, err := m.store.Balances(ctx, owner, accounts)
	if err != nil {
		return nil, err
	}
	if len(left) != len(out) {
		return nil, fmt.Errorf("%w: the store tells of %d accounts, not of %d", ErrUnavailable, len(left), len(out))
	}
	for i := range out {
		out[i].Left = max(left[i], 0)
	}
	return out, nil
}
