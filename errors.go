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

// DamagedError names a stored record that cannot be read: it is cut off or altered, or a later version wrote it. It
// wraps [ErrUnavailable], for nothing may be decided by what is left of it, and nothing that depends on it is answered.
//
// Ending something needs no record. Revoke, Delete, Rotate and Update, which can then only set Disabled, work on a
// damaged token by its id, DeleteRole and UpdateRole on a damaged role, and Configure on a damaged owner.
type DamagedError struct {
	Kind  ChangeKind // ChangedToken (or a secret of it), ChangedRole or ChangedOwner
	Owner string
	ID    string // of the token or the role; of the owner's own record, the owner
	Err   error  // what is wrong with it; may be nil
}

// noun is what a record of the kind is called in "latchkey/<noun>".
func (k ChangeKind) noun() string {
	return map[ChangeKind]string{ChangedToken: "token", ChangedRole: "role", ChangedOwner: "owner"}[k]
}

func (e *DamagedError) Error() string {
	what := e.Kind.noun()
	if e.Kind == ChangedOwner {
		what += " record"
	}
	text := fmt.Sprintf("%v: the stored %s %q of owner %q cannot be read", ErrUnavailable, what, e.ID, e.Owner)
	if e.Err != nil {
		text += ": " + e.Err.Error()
	}
	return text
}

func (e *DamagedError) Unwrap() []error {
	if e.Err == nil {
		return []error{ErrUnavailable}
	}
	return []error{ErrUnavailable, e.Err}
}

// isDamaged reports whether err says that a record cannot be read, and nothing worse.
func isDamaged(err error) bool {
	var damaged *DamagedError
	return errors.As(err, &damaged)
}

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

func damagedRole(r *Role) error { return &DamagedError{Kind: ChangedRole, Owner: r.Owner, ID: r.ID} }

func damagedToken(t *Token) error {
	return &DamagedError{Kind: ChangedToken, Owner: t.Owner, ID: t.ID}
}

// damaged reports that a record of f cannot be read, so that nothing is decided by what is left of it. A Store says so
// itself with an error; this is for one that forgot it.
func (f *Found) damaged() error {
	if f.Token.Damaged {
		return damagedToken(&f.Token)
	}
	if f.Owner.Damaged {
		return &DamagedError{Kind: ChangedOwner, Owner: f.Token.Owner, ID: f.Token.Owner}
	}
	for i := range f.Ancestors {
		if f.Ancestors[i].Damaged {
			return damagedToken(&f.Ancestors[i])
		}
	}
	for i := range f.Roles {
		if f.Roles[i].Damaged {
			return &DamagedError{Kind: ChangedRole, Owner: f.Token.Owner, ID: f.Roles[i].ID}
		}
	}
	return nil
}
