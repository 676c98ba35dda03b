package latchkey

import (
	"context"
	"errors"
	"fmt"
	"net/netip"

	"github.com/latchkey-go/latchkey/internal/visit"
)

// Observer holds callbacks for metrics and audit. A nil member is not called. More members may follow, so name them in
// a literal. All run on the caller's goroutine, must not block, and must be safe for concurrent use. A panic of a
// callback is recovered and logged to Options.Logger. It changes no answer.
type Observer struct {
	// Refused is called once for each refusal of a token that exists, before the call returns. It is called by Verify,
	// Again and Mint, and by Spend and Reserve if a quota is used up. HTTP surfaces call it for what they deny,
	// before they answer. It is not called for Access.Allows, Check and Filter, because programs branch on those;
	// [Access.Refused] reports them. It is not called for texts that are no token, because no record says whose they are.
	// Nor is it called when the store cannot answer, because then nothing is known.
	Refused func(context.Context, Refusal)
}

// Refusal says which token was refused, whose it is, and why. It is for the operator of the host, never for the caller,
// who may not be the owner. It holds no secret.
type Refusal struct {
	TokenID string // "": an Assumed caller
	Owner   string
	Client  Client // the one that a token belongs to, or an Assumed caller's
	Kind    Kind   // 0: Assumed
	Test    bool

	// Err is what the method returned. It is [ErrUnknownToken] for a token that exists, but not on this surface.
	Err error

	// Reason is a short and stable name of the cause, for labels of metrics. Verify's, in the order of its checks:
	//
	//   - "foreign_owner": another owner's token, for Account.Verify
	//   - "test_mode"
	//   - "rotated": a secret that a rotation ended
	//   - "owner_disabled", "disabled", "revoked", "not_yet_valid"
	//   - "expired": by its end or by idling
	//   - "parent", "signature_required", "signature", "replay", "referer"
	//   - "address": also by Restrictions.MintFrom
	//   - "rate_limited"
	//
	// The others are:
	//
	//   - "denied", "over_limit"
	//   - "too_many": it minted no token, because too many live (Owner.Policy.Children)
	//   - "deleted": since its Verify
	//   - "unaccepted": a token that the surface does not take
	//   - "invalid" and "other"
	Reason string

	Action   Action     // what was denied, if the refusal names it
	Resource Resource   // likewise
	Address  netip.Addr // the client's, as it was presented; the zero Addr: not known
}

// Refused reports to Options.Observer that this caller's request was refused with err. It is for refusals of the host's
// own, and for those of Check, CheckRow, Filter and Prepare that ended a request. What Verify, Again, Mint, Spend and
// Reserve return is reported already, and so is what an HTTP surface answered. The ctx is the request's. Refused does
// nothing for a nil error, for [ErrUnavailable] and [ErrUnknownOutcome], and for the zero Access.
func (a Access) Refused(ctx context.Context, err error) {
	if a.set == nil || err == nil || errors.Is(err, ErrUnavailable) || errors.Is(err, ErrUnknownOutcome) {
		return
	}
	a.m.report(ctx, a.refusal(err, reasonOf(err)))
}

// reportRefusal reports err to the observer if it is a refusal, and returns it.
func (a Access) reportRefusal(ctx context.Context, err error) error {
	if a.set != nil && isRefusal(err) {
		a.m.report(ctx, a.refusal(err, reasonOf(err)))
	}
	return err
}

// refusal returns the Refusal of this caller with err.
func (a Access) refusal(err error, reason string) Refusal {
	return Refusal{TokenID: a.TokenID(), Owner: a.who.owner, Client: a.who.client, Kind: a.who.kind, Test: a.who.test,
		Err: err, Reason: reason, Address: a.from}
}

// reportTokenRefusal is reportRefusal for a token that Verify found, before there is an Access. If reason is "", it is
// reasonOf(err).
func (m *Manager) reportTokenRefusal(ctx context.Context, t *Token, p *Presented, err error, reason string) error {
	if !isRefusal(err) {
		return err
	}
	if reason == "" {
		reason = reasonOf(err)
	}
	m.report(ctx, Refusal{TokenID: t.ID, Owner: t.Owner, Client: t.Client, Kind: t.Kind, Test: t.Test, Err: err,
		Reason: reason, Address: p.Address})
	return err
}

// report passes a refusal to the request's surface and to Options.Observer. Neither can change the answer.
func (m *Manager) report(ctx context.Context, r Refusal) {
	if denied, ok := errors.AsType[*DeniedError](r.Err); ok {
		r.Action, r.Resource = denied.Action, denied.Resource
	}
	if v := visit.From(ctx); v != nil {
		v.Refused(r)
	}
	m.countRefusal(&r)
	if m.opts.Observer.Refused == nil {
		return
	}
	defer func() {
		if p := recover(); p != nil {
			m.warn("latchkey: Observer.Refused panicked", fmt.Errorf("%v", p))
		}
	}()
	m.opts.Observer.Refused(ctx, r)
}

// Values of Refusal.Reason that do not follow from the error.
const (
	reasonForeignOwner = "foreign_owner"
	reasonRotated      = "rotated"
	reasonDeleted      = "deleted"
)

// reasons are tried in this order. An error that wraps another stands before it.
var reasons = []struct {
	err    error
	reason string
}{
	{ErrTestMode, "test_mode"},
	{ErrOwnerDisabled, "owner_disabled"},
	{ErrDisabled, "disabled"},
	{ErrRevoked, "revoked"},
	{ErrNotYetValid, "not_yet_valid"},
	{ErrExpired, "expired"},
	{ErrParent, "parent"},
	{ErrSignatureRequired, "signature_required"},
	{ErrSignature, "signature"},
	{ErrReplay, "replay"},
	{ErrReferer, "referer"},
	{ErrAddress, "address"},
	{ErrRateLimited, "rate_limited"},
	{ErrOverLimit, "over_limit"},
	{ErrTooMany, "too_many"},
	{ErrUnknownToken, "unaccepted"},
	{ErrInvalidToken, "invalid"},
	{ErrDenied, "denied"},
}

// reasonOf returns the Reason of a refusal with err.
func reasonOf(err error) string {
	for _, r := range reasons {
		if errors.Is(err, r.err) {
			return r.reason
		}
	}
	return "other"
}

// isRefusal reports whether err is an answer about a token. The store's errors are none, because then nothing is known.
func isRefusal(err error) bool {
	if errors.Is(err, ErrUnavailable) || errors.Is(err, ErrUnknownOutcome) {
		return false
	}
	return errors.Is(err, ErrInvalidToken) || errors.Is(err, ErrRateLimited) || errors.Is(err, ErrOverLimit) ||
		errors.Is(err, ErrTooMany) || errors.Is(err, ErrDenied)
}

// enter asks the request's surface, if there is one, whether the store may be read for a credential that may be
// unknown. If it returns no error, the caller calls leave after the read; missed means that the credential was unknown.
func enter(ctx context.Context) (leave func(missed bool), err error) {
	v := visit.From(ctx)
	if v == nil {
		return func(bool) {}, nil
	}
	if err := v.Enter(ctx); err != nil {
		return nil, err
	}
	return v.Leave, nil
}
