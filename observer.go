package latchkey

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"time"

	"github.com/latchkey-go/latchkey/internal/uuidv7"
	"github.com/latchkey-go/latchkey/internal/visit"
)

// Observer holds callbacks for metrics, traces and audit. A nil member is not called, and costs nothing. More members
// may follow, so name them in a literal.
//
// All must be safe for concurrent use and must not block. They run on the goroutine that did the work: the caller's, or
// one in the background. The context is that of the work. It carries the caller's values, such as a span, where there
// is a caller. What is told holds no secret, and changes no answer. A panic of a callback is recovered, and told to
// Failed and Options.Logger.
//
// StoreCall and Failed must not call the Manager, nor an Access or Account of it, other than [Manager.Stats]: they may
// run while a call holds what the other would wait for. The others may, but are then called for that call, too.
//
// Every text that is documented as a label is one of a fixed and short list, and never an id. [Manager.Stats] has the
// numbers that are levels, such as the size of the cache.
type Observer struct {
	// Verified is called at the end of each Verify and of each [Access.Again], whatever its outcome, but not for the zero
	// Access. A Mint, or a call of an Account with an actor, that reads its caller anew is none.
	Verified func(context.Context, Verification)

	// Refused is called once for each refusal of a token that exists, before the call returns. It is called by Verify,
	// Again and Mint, and by Spend and Reserve if a quota is used up. HTTP surfaces call it for what they deny,
	// before they answer. It is not called for Access.Allows, Check and Filter, because programs branch on those;
	// [Access.Refused] reports them. It is not called for texts that are no token, because no record says whose they are.
	// Nor is it called when the store cannot answer, because then nothing is known.
	Refused func(context.Context, Refusal)

	// StoreCall is called at the end of each call of the [Store] that can fail, also of those in the background. Feeds and
	// Locate are none. The context of a call that serves several callers is that of one of them.
	StoreCall func(context.Context, StoreCall)

	// Minted is called at the end of each [Access.Mint], whatever its outcome, but not for the zero Access.
	Minted func(context.Context, Minting)

	// Changed is called after each change was committed, once per audit event. Its Seq is 0: only the store knows it.
	Changed func(context.Context, Event)

	// Leased is called when this process took a lease of credits, returned some or all of one, or could not take one. See
	// Options.CreditLease.
	Leased func(context.Context, Leasing)

	// Failed is called for each failure that no caller is told, and which may be logged: see Options.Logger. Most are of
	// work in the background, which tries again.
	Failed func(context.Context, Failure)
}

// Verification is a [Manager.Verify], [Account.Verify] or [Access.Again] that has ended.
type Verification struct {
	// Outcome is a label. It is "ok", or one of the values of Refusal.Reason of Verify and Again, or one of
	//
	//   - "unknown": the text is no token of this store. Source tells whether the store was asked.
	//   - "limited": the store was not asked, because the surface's gate refused the address
	//   - "unavailable": the store could not answer, or the clocks differ
	//   - "canceled": the caller's context was canceled first
	Outcome string
	Source  Source // what decided
	Again   bool   // it was an Access.Again
	Kind    Kind   // of the token; 0: not known, or an Assumed caller
	Owner   string // of the token; "": not known. It is no label unless the host has few owners.
	Err     error  // what was returned; nil: Outcome is "ok"

	// Start and Duration are zero if Source is not SourceStore. What the cache decides takes less time than it takes to
	// look at the clock twice. A reading of the store's epoch that it had to wait for is a StoreCall.
	Start    time.Time
	Duration time.Duration
}

// Source is what decided a [Verification]. It is a label.
type Source string

const (
	SourceNone Source = "none" // the shape of the text, or a gate: neither the cache nor the store was asked
	// SourceCache is the cached token, or for a stateless one its text and its cached parent. The store was asked for its
	// epoch at most.
	SourceCache Source = "cache"
	SourceStore Source = "store" // what was read from the store for this call
)

// StoreCall is a call of the Store that has ended.
type StoreCall struct {
	// Op is a label: the name of the method of [Store]. A Changes that asks for the epoch alone is "Epoch".
	Op       string
	Start    time.Time
	Duration time.Duration
	Err      error // what the Store returned; nil: it succeeded

	// Class is a label: what Err means. An answer is no failure of the store.
	//
	//   - "ok"
	//   - answers: "not_found", "conflict", "exists", "in_use", "over_limit", "too_many", "invalid"
	//   - "canceled": the caller's context was canceled
	//   - failures: "timeout" (a deadline passed), "damaged" (a record), "unknown_outcome", "unavailable" (any other)
	Class string
}

// Minting is an [Access.Mint] that has ended.
type Minting struct {
	// Outcome is a label. It is "ok", one of the values of Refusal.Reason, "forced" ([ErrForced]), or a
	// StoreCall.Class that is no answer about a token: "conflict", "exists", "invalid", "canceled", "timeout", "damaged",
	// "unknown_outcome" or "unavailable".
	Outcome  string
	Owner    string
	ParentID string // "": an Assumed caller
	TokenID  string // what was minted; "": nothing
	Tries    int    // how often it was begun: 1, and one more for each conflict with another writer
	Err      error  // nil: Outcome is "ok"
	Start    time.Time
	Duration time.Duration
}

// Leasing is what happened to a lease of credits.
type Leasing struct {
	// What is a label:
	//
	//   - "taken": Amount was reserved
	//   - "returned": of what was reserved, Amount was given back. It is 0 for a lease that ends because it is used up.
	//   - "expired": the store no longer knows the lease, of which this process had Amount by then
	//   - "refused": too little is left for a lease of Amount
	//   - "failed": the store could not be told about a lease of Amount. What is due will be tried again.
	What   string
	Owner  string
	Meter  string // as the host named it: a label if the host has few meters
	Amount Credits
	Err    error // nil unless What is "refused" or "failed"
}

// Failure is a failure that no caller is told.
type Failure struct {
	// Part is a label:
	//
	//   - "feed": the store's changes could not be read in the background
	//   - "usage", "last_use": counts or last uses could not be written. They are kept, unless Lost says otherwise.
	//   - "lease": the store was not told about credits
	//   - "secret": a secret could not be stored under the newest key, or a signing secret not be opened
	//   - "deliver": events were purged before [Manager.Deliver] handed them over
	//   - "observer": a callback panicked
	Part    string
	Message string // what is logged
	Err     error  // what is logged with it; may be nil
	Lost    int64  // how many counts, last uses or events are lost for good; 0: none
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

	parent string // under which it is counted, for a stateless token; "": TokenID
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
	r := Refusal{TokenID: a.TokenID(), Owner: a.who.owner, Client: a.who.client, Kind: a.who.kind, Test: a.who.test,
		Err: err, Reason: reason, Address: a.from}
	if payer := a.payer(); payer != a.id {
		r.parent = uuidv7.Text(payer)
	}
	return r
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
	r := Refusal{TokenID: t.ID, Owner: t.Owner, Client: t.Client, Kind: t.Kind, Test: t.Test, Err: err,
		Reason: reason, Address: p.Address}
	if isStateless(t) {
		r.parent = t.Parent
	}
	m.report(ctx, r)
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
	tell(ctx, m, "Refused", m.opts.Observer.Refused, r)
}

// verified passes a Verification to the observer.
func (m *Manager) verified(ctx context.Context, v *Verification) {
	tell(ctx, m, "Verified", m.opts.Observer.Verified, *v)
}

// changed passes an event to the observer.
func (m *Manager) changed(ctx context.Context, e Event) {
	tell(ctx, m, "Changed", m.opts.Observer.Changed, e)
}

// verifiedCached is verified for a cached token that passed. The Verification is made where the callback finds it:
// copies would take longer than all else.
func (m *Manager) verifiedCached(ctx context.Context, who *principal) {
	defer m.recoverFrom(ctx, "Verified")
	m.opts.Observer.Verified(ctx, Verification{Outcome: outcomeOK, Source: SourceCache, Kind: who.kind, Owner: who.owner})
}

// tell calls a member of the observer, if it is set. It can change no answer.
func tell[T any](ctx context.Context, m *Manager, name string, member func(context.Context, T), what T) {
	if member != nil {
		defer m.recoverFrom(ctx, name)
		member(ctx, what)
	}
}

// recoverFrom is deferred around a call of a member of the observer.
func (m *Manager) recoverFrom(ctx context.Context, name string) {
	if p := recover(); p != nil {
		m.fail(ctx, partObserver, Failure{Message: "latchkey: Observer." + name + " panicked", Err: fmt.Errorf("%v", p)})
	}
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

// ReasonOf returns the [Refusal].Reason of an error that wraps [ErrInvalidToken], [ErrDenied] or another refusal: one
// word, such as "expired". It is "other" for any other error.
func ReasonOf(err error) string { return reasonOf(err) }

// reasonOf returns the Reason of a refusal with err.
func reasonOf(err error) string {
	for _, r := range reasons {
		if errors.Is(err, r.err) {
			return r.reason
		}
	}
	return "other"
}

// Values of Verification.Outcome and Minting.Outcome that are no Refusal.Reason.
const (
	outcomeOK          = "ok"
	outcomeUnknown     = "unknown"
	outcomeLimited     = "limited"
	outcomeUnavailable = "unavailable"
	outcomeCanceled    = "canceled"
	outcomeForced      = "forced"
)

// outcomeOf returns the Verification.Outcome of a known token.
func outcomeOf(err error) string {
	switch {
	case err == nil:
		return outcomeOK
	case isRefusal(err):
		return reasonOf(err)
	}
	return failureOf(err)
}

// failureOf returns the Verification.Outcome of an error that is no refusal.
func failureOf(err error) string {
	if errors.Is(err, context.Canceled) {
		return outcomeCanceled
	}
	return outcomeUnavailable
}

// classes are tried in this order.
var classes = []struct {
	err   error
	class string
}{
	{ErrUnknownOutcome, "unknown_outcome"},
	{context.Canceled, outcomeCanceled},
	{context.DeadlineExceeded, "timeout"},
	{ErrUnavailable, outcomeUnavailable},
	{ErrNotFound, "not_found"},
	{ErrConflict, "conflict"},
	{ErrExists, "exists"},
	{ErrInUse, "in_use"},
	{ErrOverLimit, "over_limit"},
	{ErrTooMany, "too_many"},
	{ErrInvalid, "invalid"},
}

// classOf returns the StoreCall.Class of an error.
func classOf(err error) string {
	if err == nil {
		return outcomeOK
	}
	if isDamaged(err) {
		return "damaged"
	}
	for _, c := range classes {
		if errors.Is(err, c.err) {
			return c.class
		}
	}
	return outcomeUnavailable
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
