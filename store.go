package latchkey

import (
	"context"
	"errors"
	"fmt"
	"time"
)

// Store keeps everything latchkey must not forget. A Store is correct when storetest.Run passes on it
// (github.com/latchkey-go/latchkey/storetest).
//
// Words. An owner is a tenant; nothing crosses owners, and every method but ByDigest, Changes, AddUsage and Purge names
// one: another owner's record is a missing record. Ids are unique within an owner, digests in the whole store. The epoch
// is a number that grows by one, in commit order, with every transaction that could alter an answer of a token that
// existed before it: those with at least one [Change]. A page is a slice of a listing; After is the key of the last thing
// seen. Ids, names and digests are bytes: they compare and sort exactly, whatever an engine's collation thinks.
//
// Errors. A missing record is ErrNotFound, a failed precondition ErrConflict, a taken unique key ErrExists, a record
// still named by others ErrInUse, an account without enough ErrOverLimit. A Store that cannot answer says ErrUnavailable;
// one that cannot know whether a write happened says ErrUnknownOutcome. A cancelled or expired context says
// ErrUnavailable too, wrapping the context's error, or ErrUnknownOutcome where a commit was under way. Every error wraps
// exactly one of these, or ErrInvalid for a call that no store could carry out: a Write or UsageBatch without an ID, a
// record of another owner in a Write, usage grouped by an unknown column, and where it is said below. Unavailable is
// never reported as "not found" or as an empty listing.
//
// A record that cannot be read is a *[DamagedError], which wraps ErrUnavailable. Load, Role and Owner then return, with
// the error, what is kept beside the record, at least its id, its owner and its Version, with Damaged set; of Found
// that goes for each record in it, and the error names the first. Secrets returns, with the error, all secrets, one
// that cannot be read with at least its Digest. Tokens and Roles return such records among the others, without an
// error. A Store that has nothing beside its records may fail as a whole. A Token put with Damaged set is one that
// cannot be read from then on: what is kept beside its record is replaced, and no secret of it is good for anything.
// Every other put replaces a damaged record wholly, and to remove one it need not be read.
//
// Values go in and come out by copy: nothing is shared with the caller. Times are kept to the microsecond, in UTC; the
// zero time stays zero. A nil slice and an empty one need not be told apart, except Boundary. All methods are safe
// for concurrent use, obey ctx, and read their own committed writes. What Load and Changes say must not depend on the
// values in a context: a Manager asks once, with the context of one, for all who want the same at the same time. A Store
// looks at no clock of its own except for Feed.Now: whether a time is over is for the Manager (and for the caller of
// Purge) to say.
type Store interface {
	// ByDigest finds the secret that has one of these digests (several while a Keyring turns), its token, the token's
	// ancestors (nearest first), every role that any of them names or inherits, directly or not, and the owner: one
	// consistent cut, and the epoch of that cut. Secrets past their end are found while they are there; signing secrets
	// are not. ErrNotFound if there is none.
	ByDigest(ctx context.Context, digests ...[32]byte) (Found, error)
	// Load is ByDigest by id: Found.Secret stays zero.
	Load(ctx context.Context, owner, tokenID string) (Found, error)
	// Tokens returns one page by id (UUIDv7: oldest first).
	Tokens(ctx context.Context, owner string, q TokenQuery) ([]Token, error)
	// Secrets returns all secrets of a token, retired ones included until they are purged; oldest first.
	// ErrNotFound if there is no such token.
	Secrets(ctx context.Context, owner, tokenID string) ([]SecretRecord, error)
	// Role returns a role. ErrNotFound if there is none.
	Role(ctx context.Context, owner, id string) (Role, error)
	// Roles returns one page by id.
	Roles(ctx context.Context, owner string, q RoleQuery) ([]Role, error)
	// Clients returns one page by client id, byte order.
	Clients(ctx context.Context, owner string, p Page) ([]Client, error)
	// Owner returns the owner's record. One that was never written is not an error: Owner{ID: owner}, Version 0.
	Owner(ctx context.Context, owner string) (Owner, error)
	// Events returns at most n audit events with Seq > after, oldest first. n ≤ 0: 100.
	Events(ctx context.Context, owner string, after uint64, n int) ([]Event, error)
	// Changes reports at most n changes with an epoch above after, in commit order, and the store's epoch and clock. n = 0
	// asks for epoch and clock alone and must be cheap: one indexed row. The epoch is read before the changes are, so
	// changes later than Feed.Epoch may be missing, never earlier ones, but for those of the pages to come. Truncated:
	// history no longer reaches back to after, or after lies ahead of the store's epoch (it was restored from a copy), so
	// the reader must forget everything it knows. Never told when n = 0.
	Changes(ctx context.Context, after uint64, n int) (Feed, error)

	// Write applies all of w or nothing, in one transaction, checking every precondition inside it, and returns the
	// epoch after it. A Write whose ID was applied before changes nothing and returns the epoch of that time; so
	// ErrUnknownOutcome is settled by writing again.
	Write(ctx context.Context, w Write) (epoch uint64, err error)
	// Once records key until the given time; ErrExists if it is recorded already (and not purged yet).
	Once(ctx context.Context, owner string, key [32]byte, until time.Time) error

	// AddUsage adds a batch, once per b.ID, and raises last-used times (a token that is gone is passed over). It never
	// advances the epoch or a Version. A Count or Credits below zero is ErrInvalid.
	AddUsage(ctx context.Context, b UsageBatch) error
	// Usage sums rows by q.By, ordered by the grouped columns in the order of q.By. Columns not grouped by are empty in
	// the result, but for Owner. Without q.By there is exactly one row, be it of zeros. A count or sum that would leave the
	// range of an int64 stops at its end.
	Usage(ctx context.Context, owner string, q UsageQuery) ([]UsageRow, error)
	// Reserve takes r.Amount from every account named, all or none: an *OverLimitError, which names the account, if one
	// has not enough left. It is idempotent by (r.Owner, r.Key): the same key with the same Amount and accounts, in any
	// order, returns the first answer and takes nothing; with others, also when Adjust made it another Amount, it is
	// ErrConflict. So is a key whose reservation lapsed, until Purge forgets it. An Amount ≤ 0, no account, or one named
	// twice is ErrInvalid.
	Reserve(ctx context.Context, r Reservation) (Reserved, error)
	// Adjust cuts a reservation, pledges part of it, and puts off when it lapses: see Adjustment. It moves each only one
	// way, so it is idempotent, and one that comes late undoes nothing. ErrNotFound for an unknown key; ErrConflict if the
	// reservation is settled or lapsed, or if less is left of it than a.Pledged; ErrInvalid unless 0 ≤ a.Pledged ≤
	// a.Amount and a.Amount > 0. After an error other than ErrUnknownOutcome nothing has changed.
	Adjust(ctx context.Context, owner string, key [16]byte, a Adjustment) error
	// Settle replaces a reservation's amount by what was really spent, 0 ≤ actual ≤ reserved (else ErrInvalid), and
	// gives the rest back; what was pledged does not bind it. Idempotent; settling again with another amount is
	// ErrConflict, an unknown key ErrNotFound. A reservation that lapsed counts as settled with what was pledged. One that
	// Purge has not returned yet can still be settled.
	Settle(ctx context.Context, owner string, key [16]byte, actual Credits) error

	// Purge removes at most n things whose time is over and says how many it removed; fewer than n means done. n ≤ 0:
	// 100. It never advances the epoch: what it removes was dead before. See PurgePolicy for what goes.
	Purge(ctx context.Context, p PurgePolicy, n int) (removed int, err error)
}

// Found is one consistent reading of all that decides about a token. Of Ancestors, Used decides only where Validity.Idle
// is set: elsewhere it may be an earlier one.
type Found struct {
	Token     Token
	Secret    SecretRecord // the one presented
	Ancestors []Token      // parent first, root last; fewer than Token.Depth means that one is gone
	Roles     []Role       // in no order; a role that is gone is missing
	Owner     Owner
	Epoch     uint64
}

// SecretRecord is one secret of a token. It holds no plain text.
type SecretRecord struct {
	Digest   [32]byte  `json:"digest"`             // of the text
	KeyID    uint32    `json:"key_id,omitempty"`   // the Keyring key of both; 0: plain SHA-256, nothing sealed
	Sealed   []byte    `json:"sealed,omitempty"`   // for Reveal; nil: not recoverable
	Signing  bool      `json:"signing,omitempty"`  // signs requests; is never presented, never found by ByDigest
	Hint     string    `json:"hint"`               // first 5 and last 3 characters, for people
	Created  time.Time `json:"created"`            // microseconds
	NotAfter time.Time `json:"not_after,omitzero"` // zero: as long as the token
}

// Feed is the answer of [Store.Changes]. Changes holds whole transactions only: a page never ends inside one, so it is
// longer than asked for when its first transaction is. Numbers have no gaps: epoch after + 1 comes first. Of a truncated
// feed, Changes holds what is left above after; a [ChangedRevocation] is always left until Purge finds it over.
type Feed struct {
	Changes   []Change
	Epoch     uint64    // the store's, not that of the last change
	Now       time.Time // the store's clock; zero: it has none
	Truncated bool      // history no longer reaches back to after
}

// Change is one record that changed. All changes of one transaction share its epoch; a record is in it once. A token
// inserted by the transaction is not in it, whatever else happened to it there.
type Change struct {
	Epoch uint64
	Owner string
	Kind  ChangeKind
	ID    string
	Until time.Time // ChangedRevocation: the stateless token's own end
}

// ChangeKind says what sort of record a [Change] speaks of.
type ChangeKind uint8

const (
	ChangedToken      ChangeKind = iota + 1 // updated, revoked, deleted (with its parent too), or its secrets changed
	ChangedRole                             // put or deleted. A new one too: something may name its id already
	ChangedOwner                            // configured or erased: whatever the owner has may be different
	ChangedRevocation                       // a stateless token was revoked
)

// Write is one transaction: a value that lists everything it does. A record put with Version 0 is inserted (ErrExists if
// its id, a digest, or a role's name within owner and origin is taken) and gets Version 1; one put with Version n
// replaces version n (ErrConflict if the stored one is another, or gone) and gets Version n+1. Token.Used never goes
// back by a put.
type Write struct {
	ID     [16]byte // idempotency, within the owner; required. A Manager's are UUIDv7: they come in order
	Owner  string
	At     time.Time // when, for Purge of this ID
	Tokens []Token
	// Secrets are changed after Tokens are put. ErrNotFound if there is no such token, or no such secret of it to retire.
	Secrets []SecretChange
	// DeleteTokens removes tokens with their secrets, and every token minted from them, however deep. Version 0: whatever
	// it is, ErrNotFound if there is none; another or a missing version is ErrConflict. Usage counts stay.
	DeleteTokens []Ref
	Revocations  []Revocation // of stateless tokens
	Roles        []Role
	// DeleteRoles removes roles, with Versions as in DeleteTokens. ErrInUse while another role inherits one, or a token
	// names it that is neither revoked nor minted, all of this Write counted: a role and the last that names it can go
	// together. (Expired and disabled tokens count: they can be brought back. Minted ones lose the role.)
	DeleteRoles []Ref
	OwnerRecord *Owner
	// Erase removes everything of the owner: records, clients, usage, credits, Once keys and the audit trail. Only Events
	// of this Write stay, their Seq going on from the last one, with the IDs of writes and what the feed holds.
	Erase   bool
	Clients []Client // an empty Name leaves the one known
	// RequireTokens and RequireRoles must exist, at that version (0: any), and such a token unrevoked; RequireOwner, when
	// not nil, is the version of the owner's record. Else ErrConflict. They speak of what was there before this Write, and
	// are locked until the commit, so that nothing is minted past a revocation.
	RequireTokens []Ref
	RequireRoles  []Ref
	RequireOwner  *uint64
	// RequireHolders lists, for some roles, all that names them before this Write. ErrConflict if it is anything else.
	RequireHolders []Holders
	Events         []Event // Seq and Owner are given by the Store
	// Silent writes leave the epoch and the feed alone. Only for what can alter no answer: inserted tokens with their
	// secrets, client names, events, and a secret re-digested under a new key.
	Silent bool
}

// Ref names a record and the version it must have. 0: any.
type Ref struct {
	ID      string
	Version uint64
}

// Holders is all that names a role directly, with the versions it has: the roles that inherit it, and the tokens that
// hold it. Tokens that are revoked are not counted, and those that were minted only with Minted.
type Holders struct {
	RoleID string
	Roles  []Ref // in any order, each once
	Tokens []Ref // likewise
	Minted bool
}

// SecretChange adds a secret to a token, or ends one, or both; neither is ErrInvalid.
type SecretChange struct {
	TokenID string
	Add     *SecretRecord
	Retire  [32]byte // the digest of the secret to end; zero: none
	// At is when Retire ends. Zero, or not after Write.At: it is removed at once. An end never moves later: a secret that
	// ends before At already keeps its own.
	At time.Time
	// Replace says that Add takes the place of Retire: the same secret under another key. Digest, KeyID and Sealed are
	// taken from Add, everything else stays, so that nothing retired comes back to life. At says nothing.
	Replace bool
}

// Revocation remembers a revoked stateless token until it would have ended.
type Revocation struct {
	ID    string
	Until time.Time
}

// UsageBatch is counts to add, once per ID.
type UsageBatch struct {
	ID   [16]byte
	At   time.Time // when, for Purge of this ID
	Rows []UsageRow
	Last []LastUsed
}

// LastUsed raises a token's Used; an older time changes nothing.
type LastUsed struct {
	Owner, TokenID string
	At             time.Time
}

// Reservation takes credits in advance.
type Reservation struct {
	Owner    string
	Key      [16]byte
	Accounts []CreditAccount
	Amount   Credits
	Until    time.Time // when it lapses unless settled: Purge then gives back what is not pledged. Zero: never
}

// CreditAccount is one account of credits: a token's or (TokenID "") the owner's, for one meter and period. The limit
// travels with the debit, so that a lowered limit bites at once. Limit ≤ 0 is no credit at all: unlimited accounts are
// not named.
type CreditAccount struct {
	TokenID, Meter string
	Period         string // "2026-11", UTC; "": for ever
	Limit          Credits
}

// Reserved is the answer of [Store.Reserve].
type Reserved struct {
	Left Credits // the least that any of the accounts has left
}

// Adjustment is what becomes of a reservation. Nothing is pledged of a new one.
type Adjustment struct {
	Amount Credits // how much is kept; the rest is given back. All that is there, or more: nothing is given back
	// Pledged is how much of it may be spent without the store being told: it must be known to be written before. What
	// is pledged counts as spent when the reservation lapses, for nobody knows. Less than before changes nothing; what
	// is pledged of an amount that is cut is cut with it.
	Pledged Credits
	Until   time.Time // when it lapses; zero: never. Earlier than before changes nothing
}

// OverLimitError says which account had not enough left. It wraps [ErrOverLimit].
type OverLimitError struct {
	Account CreditAccount // as it was named in the Reservation; the first that was found short
}

func (e *OverLimitError) Error() string {
	of := "of the token"
	if e.Account.TokenID == "" {
		of = "of the owner"
	}
	return fmt.Sprintf("%v: meter %q %s", ErrOverLimit, e.Account.Meter, of)
}

func (e *OverLimitError) Unwrap() error { return ErrOverLimit }

// PurgePolicy says what is over at Now. A negative duration keeps for ever. A time that is reached is over.
//
// One thing, as [Store.Purge] counts them, is: a dead token (with all its secrets; its usage counts stay, and tokens
// minted from it, dead as they are, wait for their own end), a retired secret past its end, a Once key past its time, a
// reservation that lapsed (what was not pledged is given back, its key stays refused), a settled or lapsed one that is
// forgotten, the account of credits of a month that is over (unless an open reservation names it), a change, a revocation,
// a write ID, a usage batch ID, an event.
type PurgePolicy struct {
	Now     time.Time
	Expired time.Duration // tokens go this long after NotAfter, or after they idled out
	Revoked time.Duration // and this long after they were revoked; so do revocations of stateless tokens after Until
	// Changes is how long history is kept: changes (but for revocations), write IDs and usage batch IDs after their At,
	// settled and lapsed reservations after their Until, accounts of credits after the month that is their Period.
	// 0: 24 h. At least the longest MaxStale in use.
	Changes time.Duration
	Events  time.Duration // the audit trail; 0: for ever
}

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

// noun is what a record of the kind is called in "latchkey/<noun>".
func (k ChangeKind) noun() string {
	return map[ChangeKind]string{ChangedToken: "token", ChangedRole: "role", ChangedOwner: "owner"}[k]
}

// isDamaged reports whether err says that a record cannot be read, and nothing worse.
func isDamaged(err error) bool {
	var damaged *DamagedError
	return errors.As(err, &damaged)
}

func damagedToken(t *Token) error {
	return &DamagedError{Kind: ChangedToken, Owner: t.Owner, ID: t.ID}
}

func damagedRole(r *Role) error { return &DamagedError{Kind: ChangedRole, Owner: r.Owner, ID: r.ID} }
