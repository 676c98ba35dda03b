package latchkey

import (
	"errors"
	"fmt"

	"github.com/latchkey-go/latchkey/internal/fault"
)

// Errors of Verify. Each narrow one wraps [ErrInvalidToken]. The native HTTP surface shows all of them as one
// "invalid_token"; only adapters that speak a documented API with documented refusals tell them apart.
var (
	ErrInvalidToken      = errors.New("latchkey: invalid token")
	ErrUnknownToken      = invalid("unknown token") // no such token; another owner's, for Account.Verify
	ErrExpired           = invalid("token expired") // by NotAfter or by Idle, or its secret was rotated away
	ErrNotYetValid       = invalid("token not yet valid")
	ErrRevoked           = invalid("token revoked") // itself, or made before Owner.NotBefore
	ErrDisabled          = invalid("token disabled")
	ErrParent            = invalid("token's parent no longer valid") // one it was minted from, however far up
	ErrOwnerDisabled     = invalid("owner disabled")
	ErrTestMode          = invalid("test token on a live surface, or the reverse")
	ErrSignatureRequired = invalid("signature required")
	ErrSignature         = invalid("signature invalid")
	ErrReplay            = invalid("request replayed")
	ErrReferer           = invalid("referer not allowed")
	ErrAddress           = invalid("address not allowed")
)

// Errors of decisions and of malformed calls.
var (
	ErrDenied       = errors.New("latchkey: denied")                 // every *DeniedError wraps it
	ErrOverLimit    = fault.ErrOverLimit                             // a credit limit; also of the Store
	ErrRateLimited  = errors.New("latchkey: rate limited")           // of Verify, though not an invalid token. See Limits
	ErrInvalid      = fault.ErrInvalid                               // a Spec, Narrowing, Role, resource or pattern
	ErrBadCondition = fmt.Errorf("%w: bad condition", ErrInvalid)    // a malformed condition, row or forced value
	ErrForced       = errors.New("latchkey: forced values disagree") // nothing was minted, or may be written
	ErrNeedsKeyring = errors.New("latchkey: needs a keyring: set Options.Keyring")
)

// The closed set of errors a [Store] may return, beside [ErrOverLimit].
var (
	ErrNotFound       = fault.ErrNotFound
	ErrExists         = errors.New("latchkey: already exists")
	ErrConflict       = fault.ErrConflict              // changed since it was read, or a precondition failed
	ErrInUse          = errors.New("latchkey: in use") // a role that tokens or roles still name
	ErrUnavailable    = fault.ErrUnavailable           // the store could not answer; never means "not found"
	ErrUnknownOutcome = fault.ErrUnknownOutcome        // whether the write happened: write again with the same ID
)

type invalidTokenError struct{ msg string }

func (e *invalidTokenError) Error() string { return "latchkey: " + e.msg }
func (e *invalidTokenError) Unwrap() error { return ErrInvalidToken }

func invalid(msg string) error { return &invalidTokenError{msg} }

// DeniedError says that an access may not do what was asked. It wraps [ErrDenied].
type DeniedError struct {
	Action   Action
	Resource Resource
	Rows     bool // some rows are allowed: ask Access.Filter or Access.CheckRow
}

func (e *DeniedError) Error() string {
	if e.Rows {
		return fmt.Sprintf("latchkey: %s on %q is allowed for some rows only", e.Action, string(e.Resource))
	}
	return fmt.Sprintf("latchkey: denied %s on %q", e.Action, string(e.Resource))
}

func (e *DeniedError) Unwrap() error { return ErrDenied }

// FaultError refuses what an Access is asked, because its rules are invalid and so allow nothing: a mistake of the
// host's, not of the caller. It wraps a *[DeniedError] (and so [ErrDenied]), and Fault, which wraps [ErrInvalid].
type FaultError struct {
	Denied *DeniedError
	Fault  error // what is wrong, and where
}

func (e *FaultError) Error() string { return fmt.Sprintf("%v, as all else: %v", e.Denied, e.Fault) }

func (e *FaultError) Unwrap() []error { return []error{e.Denied, e.Fault} }

// ConditionError says what is wrong with a condition, a row or a forced value, and at which field. It wraps
// [ErrBadCondition] (and so [ErrInvalid]). Its text never holds the value.
type ConditionError struct {
	Field   string // "" when the fault is not one field's
	Unknown bool   // the schema has no such field
	Reason  string
	// OfRule says that the fault is in a rule or a condition of the host's, not in what the caller sent: a rule on a field
	// that the schema lacks, say. False of rows, and of conditions that no rule made, as those of [Narrowing.Rows].
	OfRule bool
}

func (e *ConditionError) Error() string {
	if e.Field == "" {
		return ErrBadCondition.Error() + ": " + e.Reason
	}
	return fmt.Sprintf("%s: field %q: %s", ErrBadCondition, e.Field, e.Reason)
}

func (e *ConditionError) Unwrap() error { return ErrBadCondition }
