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
	return a.m.balances(ctx, l, a.debit(l, meter))
}

// Balances returns what [Access.Balances] returns for a token, without its secret. An actor needs read on the token.
// The quotas of tokens that it may not read, and the owner's if it may not read the owner's record, are left out. It
// returns [ErrNotFound] if there is no such token, and [ErrInvalid] for a meter that is not 1 to 64 bytes of valid
// UTF-8 without NUL.
func (a Account) Balances(ctx context.Context, tokenID, meter string) ([]Balance, error) {
	c, err := a.begin(ctx)
	if err != nil {
		return nil, err
	}
	if c.check(Read, "token", tokenID) != nil {
		return nil, ErrNotFound
	}
	if err := checkMeter(meter); err != nil {
		return nil, err
	}
	f, err := a.m.store.Load(ctx, a.owner, tokenID)
	if err != nil {
		return nil, err
	}
	set, err := meetLimits(&f)
	if err != nil {
		return nil, fmt.Errorf("%w: stored limits: %w", ErrUnavailable, err)
	}
	l := set.of(meter)
	if l == nil {
		return nil, nil
	}
	all, err := a.m.balances(ctx, l, credits.Debit{Owner: a.owner, Meter: meter, Token: uuidv7.Parse(tokenID),
		Limits: l.limits})
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

func (m *Manager) balances(ctx context.Context, l *meterLimits, d credits.Debit) ([]Balance, error) {
	at, err := m.confirmTimeNow(ctx, d.Owner) // in which period?
	if err != nil {
		return nil, err
	}
	in, err := d.Accounts(m.creationTime(at))
	if err != nil {
		return nil, err
	}
	accounts := make([]CreditAccount, in.Len())
	out := make([]Balance, in.Len())
	for i := range accounts {
		account := in.At(i)
		accounts[i] = creditAccount(account)
		out[i] = Balance{Quota: l.quotas[i], TokenID: account.TokenID}
		if account.Resets != 0 {
			out[i].Resets = fromMicros(account.Resets)
		}
	}
	left, err := m.store.Balances(ctx, d.Owner, accounts)
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
