package latchkey

import (
	"context"
	"errors"
	"fmt"
	"net/netip"

	"github.com/latchkey-go/latchkey/internal/visit"
)

// Observer is told what a [Manager] does, for metrics and audit. Each member may be nil: then nobody listens. More
// members may follow, so name them in a literal. All run on the caller's goroutine, must not block, and must be
// safe for concurrent use. One that panics changes no answer: the panic ends there, and Options.Logger hears of it.
type Observer struct {
	// Refused is called once for each refusal of a token that exists, before the refusal is answered: by Verify,
	// Again and Mint, by Charge and Reserve when a credit limit is reached, and by the HTTP surfaces for what they
	// deny. It is not called for Access.Allows, Check and Filter, which programs ask to branch on; [Access.Refused]
	// reports those. It is not called for texts that are no token: no record says whose they are. Nor is it called
	// when the store cannot answer, for then nothing is known.
	Refused func(context.Context, Refusal)
}

// Refusal says which token was refused, whose it is, and why. It is for whoever operates the host, never for the
// caller: the caller may not be the owner. It holds no secret.
type Refusal struct {
	TokenID string // "": a caller the host has Assumed
	Owner   string
	Client  Client // of a minted token, the one it was made for; or who was Assumed
	Kind    Kind   // 0: Assumed
	Test    bool

	// Err is what the caller of the method got. [ErrUnknownToken] where the token exists, but not on this surface.
	Err error

	// Reason is a short and stable name of the cause, for labels of metrics. Of Verify, in its order:
	// "foreign_owner" (another owner's token, for Account.Verify), "test_mode", "rotated" (a secret that a rotation
	// ended), "owner_disabled", "disabled", "revoked", "not_yet_valid", "expired" (by its end or by idling),
	// "parent", "signature_required", "signature", "replay", "referer", "address" (also Restrictions.MintFrom),
	// "rate_limited". Then "denied", "over_limit", "deleted" (since its Verify), "unaccepted" (a token that the
	// surface does not take), "invalid" and "other".
	Reason string

	Action   Action     // what was denied, where the refusal names it
	Resource Resource   // the same
	Address  netip.Addr // the client's, as it was presented; the zero Addr: not known
}

// reasons are tried in this order: what wraps another error stands before it.
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
	{ErrUnknownToken, "unaccepted"},
	{ErrInvalidToken, "invalid"},
	{ErrDenied, "denied"},
}

func reasonOf(err error) string {
	for _, r := range reasons {
		if errors.Is(err, r.err) {
			return r.reason
		}
	}
	return "other"
}

// isRefusal reports whether err is an answer about a token. What is not, the store's trouble above all, is reported as
// none: nothing is known then.
func isRefusal(err error) bool {
	if errors.Is(err, ErrUnavailable) || errors.Is(err, ErrUnknownOutcome) {
		return false
	}
	return errors.Is(err, ErrInvalidToken) || errors.Is(err, ErrRateLimited) || errors.Is(err, ErrOverLimit) ||
		errors.Is(err, ErrDenied)
}

// Refused reports that what this caller asked for was refused with err, to Options.Observer. It is for refusals of
// the host's own, and for those of Check, CheckRow, Filter and Prepare that ended a request. What Verify, Again,
// Mint, Charge and Reserve return is reported already, and so is what an HTTP surface answered. Ctx is the
// request's. Nil, [ErrUnavailable] and [ErrUnknownOutcome] are no refusals; nor is anything of the zero Access,
// which is nobody.
func (a Access) Refused(ctx context.Context, err error) {
	if a.set == nil || err == nil || errors.Is(err, ErrUnavailable) || errors.Is(err, ErrUnknownOutcome) {
		return
	}
	a.m.refused(ctx, a.refusal(err, reasonOf(err)))
}

// refuse reports err if it is a refusal, and returns it.
func (a Access) refuse(ctx context.Context, err error) error {
	if a.set != nil && isRefusal(err) {
		a.m.refused(ctx, a.refusal(err, reasonOf(err)))
	}
	return err
}

func (a Access) refusal(err error, reason string) Refusal {
	return Refusal{TokenID: a.TokenID(), Owner: a.who.owner, Client: a.who.client, Kind: a.who.kind, Test: a.who.test,
		Err: err, Reason: reason, Address: a.from}
}

// refuseToken reports what Verify answers about a token it has found, if it is a refusal, and returns it. An empty
// reason is the error's own.
func (m *Manager) refuseToken(ctx context.Context, t *Token, p *Presented, err error, reason string) error {
	if !isRefusal(err) {
		return err
	}
	if reason == "" {
		reason = reasonOf(err)
	}
	m.refused(ctx, Refusal{TokenID: t.ID, Owner: t.Owner, Client: t.Client, Kind: t.Kind, Test: t.Test, Err: err,
		Reason: reason, Address: p.Address})
	return err
}

// refused tells the request's surface and the host. Neither can change the answer.
func (m *Manager) refused(ctx context.Context, r Refusal) {
	if denied, ok := errors.AsType[*DeniedError](r.Err); ok {
		r.Action, r.Resource = denied.Action, denied.Resource
	}
	if v := visit.From(ctx); v != nil {
		v.Refused(r)
	}
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

// enter asks the request's surface, if there is one, whether the store may be read for a credential that may be
// nobody's.
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
