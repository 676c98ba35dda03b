package latchkey

import (
	"errors"
	"fmt"

	"github.com/latchkey-go/latchkey/internal/fault"
)

// Errors of Verify. Each of them wraps [ErrInvalidToken]. The native HTTP surface reports all of them as
// "invalid_token". Only adapters of an API that documents its refusals distinguish them.
var (
	ErrInvalidToken      = errors.New("latchkey: invalid token")
	ErrUnknownToken      = invalid("unknown token") // no such token, or of another owner in Account.Verify
	ErrExpired           = invalid("token expired") // by NotAfter or by Idle, or a rotation replaced its secret
	ErrNotYetValid       = invalid("token not yet valid")
	ErrRevoked           = invalid("token revoked") // the token itself, or it was made before Owner.NotBefore
	ErrDisabled          = invalid("token disabled")
	ErrParent            = invalid("token's parent no longer valid") // a token that it was minted from, at any depth
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
	ErrOverLimit    = fault.ErrOverLimit                             // a quota is used up; also of the Store
	ErrRateLimited  = errors.New("latchkey: rate limited")           // of Verify; does not wrap ErrInvalidToken
	ErrInvalid      = fault.ErrInvalid                               // a Spec, Narrowing, Role, resource or pattern
	ErrBadCondition = fmt.Errorf("%w: bad condition", ErrInvalid)    // a malformed condition, row or forced value
	ErrForced       = errors.New("latchkey: forced values disagree") // nothing was minted, or nothing may be written
	ErrNeedsKeyring = errors.New("latchkey: needs a keyring: set Options.Keyring")
)

// Errors of [OwnerPolicy]. ErrTooMany wraps ErrPolicy. A refused kind is both ErrPolicy and ErrDenied, and a refused
// end both ErrPolicy and ErrInvalid.
var (
	ErrPolicy        = errors.New("the owner's policy") // each refusal by OwnerPolicy, but for MintRight and ClientRight
	ErrTooMany error = &tooManyError{}                  // OwnerPolicy.Tokens or Children live already; also of the Store
)

type tooManyError struct{}

func (*tooManyError) Error() string { return "latchkey: too many live tokens" }
func (*tooManyError) Unwrap() error { return ErrPolicy }

// Errors of records and of the store. [Store] lists which errors a store may return.
var (
	ErrNotFound  = fault.ErrNotFound
	ErrStateless = fmt.Errorf("%w: the token is stateless: it is not stored, so it is neither listed nor changed, and "+
		"only revoked", ErrNotFound)
	ErrExists         = errors.New("latchkey: already exists")
	ErrConflict       = fault.ErrConflict              // changed since it was read, or a precondition failed
	ErrInUse          = errors.New("latchkey: in use") // tokens or roles still name the role
	ErrUnavailable    = fault.ErrUnavailable           // the store could not answer; never means "not found"
	ErrUnknownOutcome = fault.ErrUnknownOutcome        // the write may have happened: repeat it with the same ID
)

type invalidTokenError struct{ msg string }

func (e *invalidTokenError) Error() string { return "latchkey: " + e.msg }
func (e *invalidTokenError) Unwrap() error { return ErrInvalidToken }

func invalid(msg string) error { return &invalidTokenError{msg} }

// DeniedError is the refusal of an action on a resource. It wraps [ErrDenied].
type DeniedError struct {
	Action   Action
	Resource Resource
	Rows     bool // some rows are allowed: call Access.Filter or Access.CheckRow
}

func (e *DeniedError) Error() string {
	if e.Rows {
		return fmt.Sprintf("latchkey: %s on %q is allowed for some rows only", e.Action, string(e.Resource))
	}
	return fmt.Sprintf("latchkey: denied %s on %q", e.Action, string(e.Resource))
}

func (e *DeniedError) Unwrap() error { return ErrDenied }

// FaultError is the refusal of an Access whose rules are invalid, so that it allows nothing. That is a mistake of the
// host, not of the caller. It wraps a *[DeniedError] (and so [ErrDenied]), and Fault, which wraps [ErrInvalid].
type FaultError struct {
	Denied *DeniedError
	Fault  error // what is wrong, and where
}

func (e *FaultError) Error() string {
	return fmt.Sprintf("%v: invalid rules allow nothing: %v", e.Denied, e.Fault)
}

func (e *FaultError) Unwrap() []error { return []error{e.Denied, e.Fault} }

// ConditionError describes what is wrong with a condition, a row or a forced value, and at which field. It wraps
// [ErrBadCondition] (and so [ErrInvalid]). Its text never holds the value.
type ConditionError struct {
	Field   string // "" if the error is not about one field
	Unknown bool   // the schema has no such field
	Reason  string
	// OfRule reports whether the mistake is in a rule or a condition of the host. An example is a rule on a field that the
	// schema lacks. It is false for what the caller sent: rows, and conditions that no rule made, such as
	// [Narrowing.Rows].
	OfRule bool
}

func (e *ConditionError) Error() string {
	if e.Field == "" {
		return ErrBadCondition.Error() + ": " + e.Reason
	}
	return fmt.Sprintf("%s: field %q: %s", ErrBadCondition, e.Field, e.Reason)
}

func (e *ConditionError) Unwrap() error { return ErrBadCondition }
