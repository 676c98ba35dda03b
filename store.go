package latchkey

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"strings"
	"time"

	"github.com/latchkey-go/latchkey/internal/tokentext"
)

// Store keeps everything that latchkey must not forget. A Store is correct when storetest.Run passes on it
// (github.com/latchkey-go/latchkey/storetest).
//
// # Words
//
// An owner is a tenant. Nothing crosses owners: another owner's record is a missing record. Every method but ByDigest,
// ByLookup, Ending, Unused, KeySecrets, Undelivered, Changes, Revocations, AddUsage and Purge names an owner. Ids are
// unique within an owner, digests and lookup parts within a feed. Ids, names, digests and lookup parts are bytes: they
// compare and sort exactly, whatever collation an engine has.
//
// A feed is the history of changes of some owners. A plain store has one feed, with the [FeedID] 0. A store over
// several databases has one for each, because no order exists between their transactions. Locate names the feed of an
// owner, and the slot that texts of its tokens carry.
//
// The epoch of a feed is a number that grows by one, in commit order, with every transaction that could alter an answer
// of an existing token. These are the transactions with at least one [Change]. Epochs of different feeds say nothing
// about each other. A page is a slice of a listing: After is the key of the last item seen.
//
// # Errors
//
//   - ErrNotFound: a record is missing.
//   - ErrConflict: a precondition failed.
//   - ErrExists: a unique key is taken.
//   - ErrInUse: a record is still named by others.
//   - ErrOverLimit: an account has not enough left.
//   - ErrTooMany: more tokens would be live than may be.
//   - ErrUnavailable: the store cannot answer. It is never reported as "not found" or as an empty listing.
//   - ErrUnknownOutcome: the store cannot know whether a write happened.
//   - ErrInvalid: no store could carry out the call. Examples are a Write or UsageBatch without an ID, a record of
//     another owner in a Write, and usage grouped by an unknown column. The methods name other cases.
//
// Every error wraps exactly one of these. A cancelled or expired context is ErrUnavailable too, wrapping the context's
// error, or ErrUnknownOutcome where a commit was under way.
//
// # Damaged records
//
// A record that cannot be read is a *[DamagedError], which wraps ErrUnavailable.
//
//   - Load, Role and Owner return, with the error, what is kept beside the record: at least its id, its owner and its
//     Version, with Damaged set. In a Found that holds for each record, and the error names the first.
//   - Secrets returns all secrets with the error. One that cannot be read has at least its Digest.
//   - Tokens and Roles return such records among the others, without an error.
//   - A Store that keeps nothing beside its records may fail as a whole.
//   - A Token put with Damaged set is one that cannot be read from then on. What is kept beside its record is replaced,
//     and all of its secrets are refused.
//   - Every other put replaces a damaged record wholly. A damaged record need not be read to be removed.
//
// # Values and concurrency
//
// Values go in and come out by copy: nothing is shared with the caller. Times are kept to the microsecond, in UTC. The
// zero time stays zero. A nil slice and an empty one need not be distinguished, except Boundary.
//
// All methods are safe for concurrent use, obey ctx, and read their own committed writes. What Load and Changes return
// must not depend on the values in a context. A Manager reads once, with the context of one caller, for all callers
// that want the same at the same time.
//
// A Store reads no clock of its own except for Feed.Now. The Manager, or the caller of Purge, decides whether a time is
// over.
type Store interface {
	// Feeds returns the feeds of the store, at least one, each once. It reads nothing.
	Feeds() []FeedID
	// Locate returns where the records of an owner are. It answers for every owner, also for one that was never written,
	// and reads nothing. The answer stays the same for as long as the owner has records: an owner does not change feeds.
	Locate(owner string) Location

	// ByDigest returns the secret that has one of the digests, its token, and all that decides about that token: its
	// ancestors (nearest first), every role that any of them names or inherits, directly or not, and the owner. All of it
	// is one consistent snapshot, with the feed and the epoch of that snapshot. Several digests are given while a Keyring
	// has several keys. Secrets past their end are found until they are removed. Signing secrets are not found, nor are
	// secrets with an Algorithm: what their Digest names is no text. It returns ErrNotFound if there is no such secret in
	// any feed. If it found none, and could not ask all of them, it returns ErrUnavailable.
	//
	// The slot is where to look first: it was read from a text that anyone may have made. A wrong one costs another
	// look-up, and finds the same. [NoSlot] is none. A Manager imports no text that is a token already. Two imports at the
	// same time, by owners of two feeds, may both succeed. Then the secret of the slot's feed is found, or else that of
	// the first feed that could be asked.
	ByDigest(ctx context.Context, slot Slot, digests ...[32]byte) (Found, error)
	// ByLookup is ByDigest for a secret with an Algorithm, by its Lookup. What is found has not been compared with the
	// text yet. Texts of other systems carry no slot: the first feed that has the Lookup answers.
	ByLookup(ctx context.Context, lookup string) (Found, error)
	// Load is ByDigest by id: Found.Secret stays zero.
	Load(ctx context.Context, owner, tokenID string) (Found, error)
	// Tokens returns one page in the order of q, by id if it says nothing (UUIDv7: oldest first). A page has fewer tokens
	// than q.Size only at the end of the listing. It returns ErrInvalid where q.Start does.
	//
	// A page by id costs what it holds, and what the query passes over. Any other order, and a Search or Find that few
	// tokens meet, may cost a look at all tokens of the owner for each page.
	Tokens(ctx context.Context, owner string, q TokenQuery) ([]Token, error)
	// Count returns how many tokens q selects, whatever its Page and order, but at most limit: that many means that many
	// or more. A limit of 0 or less is 1000. It may cost a look at all tokens of the owner, until limit of them are found.
	Count(ctx context.Context, owner string, q TokenQuery, limit int) (int, error)
	// Ending returns one page of tokens of all owners of a feed, by end, owner and id. It returns ErrInvalid where q.Start
	// does, and for a feed that is not among Feeds. A page costs what it holds, and the minted tokens that end in the same
	// time.
	Ending(ctx context.Context, q EndingQuery) ([]Token, error)
	// Unused returns one page of tokens of all owners of a feed, by owner and id, with the After of the next page. It
	// looks at some thousand tokens in one call. So a page may hold fewer than asked for, or none, and yet not be the
	// last. After the last, next is "". Errors are those of Ending.
	Unused(ctx context.Context, q UnusedQuery) (page []Token, next string, err error)
	// KeySecrets returns one page of the secrets of all owners of a feed whose KeyID is another than q.KeyID, with the
	// After of the next page. Secrets with an Algorithm are left out: no key made them. It looks at some thousand secrets
	// in one call. So a page may hold fewer than asked for, or none, and yet not be the last. After the last, next is "".
	// Secrets that cannot be read are left out: no key helps them. Errors are those of Ending.
	KeySecrets(ctx context.Context, q KeyQuery) (page []KeySecret, next string, err error)
	// Undelivered returns one page of the owners of a feed whose last event the cursor q.Cursor has not reached, by owner,
	// and how far it has come. It looks at some thousand owners in one call, as KeySecrets does at secrets. Errors are
	// those of Ending.
	Undelivered(ctx context.Context, q UndeliveredQuery) (page []Delivery, next string, err error)
	// Deliver records that a cursor has reached the event seq of an owner. A cursor begins before the first event, and
	// never moves back: an earlier seq changes nothing. It returns ErrInvalid for a name that is not 1 to 64 bytes. Erase
	// keeps it, because the numbers of an owner's events go on.
	Deliver(ctx context.Context, owner, cursor string, seq uint64) error
	// Secrets returns all secrets of a token, oldest first, with retired ones until they are purged. It returns
	// ErrNotFound if there is no such token.
	Secrets(ctx context.Context, owner, tokenID string) ([]SecretRecord, error)
	// Role returns a role. It returns ErrNotFound if there is none.
	Role(ctx context.Context, owner, id string) (Role, error)
	// Roles returns one page by id.
	Roles(ctx context.Context, owner string, q RoleQuery) ([]Role, error)
	// Clients returns one page by client id, in byte order.
	Clients(ctx context.Context, owner string, p Page) ([]Client, error)
	// Owner returns the owner's record. One that was never written is not an error: Owner{ID: owner}, Version 0.
	Owner(ctx context.Context, owner string) (Owner, error)
	// Events returns one page of audit events in the order of Seq, newest first with q.Reverse, and the After of the next
	// page. It returns ErrInvalid where q.Start does.
	//
	// A page costs what it holds if q selects by Actor alone, by Object alone, or by neither. For all else that q selects
	// by, one call looks at some thousand events, and then may stop. So a page may hold fewer than asked for, or none, and
	// yet not be the last. After the last, next is "". It is "" at once if the call could see that no event of q follows.
	Events(ctx context.Context, owner string, q EventQuery) (page []Event, next string, err error)
	// Changes returns at most n changes of a feed with an epoch above after, in commit order, and the feed's epoch and
	// clock. n = 0 asks for epoch and clock alone and must be cheap: one indexed row. The epoch is read before the changes
	// are. So changes later than Feed.Epoch may be missing, but earlier ones only if they are on a later page. It returns
	// ErrInvalid for a feed that is not among Feeds.
	//
	// Truncated: history no longer reaches back to after, or after lies ahead of the feed's epoch because the store was
	// restored from a copy. The reader must then forget everything it knows of this feed. Truncated is never set when
	// n = 0.
	//
	// Reads do not go back: a Changes that begins after a Found was returned shows an epoch of at least Found.Epoch.
	Changes(ctx context.Context, feed FeedID, after uint64, n int) (Feed, error)

	// Revocations returns one page of the revocations of a feed that last beyond q.Until, by their Until, with the After
	// of the next page. Each is as [Store.Changes] returns it. After the last, next is "". A page costs what it holds,
	// however long the history is. A read that begins after Changes has returned an epoch holds every such revocation of
	// that epoch, or an earlier one. Errors are those of Ending.
	Revocations(ctx context.Context, q RevocationQuery) (page []Change, next string, err error)

	// Write applies all of w or nothing, in one transaction. It checks every precondition inside that transaction. A
	// Write whose ID was applied before changes nothing and succeeds. So ErrUnknownOutcome is settled by writing again.
	// The epoch is not returned: a database may number the transaction while it commits. A read of the owner's feed that
	// begins after Write has returned holds the changes.
	Write(ctx context.Context, w Write) error
	// Once records key until the given time. It returns ErrExists if the key is recorded already and not purged yet.
	Once(ctx context.Context, owner string, key [32]byte, until time.Time) error

	// AddUsage adds a batch, once per b.ID, and raises last-used times. It ignores the last use of a token that is gone.
	// It never advances the epoch or a Version. A Count or Credits below zero is ErrInvalid. A batch holds owners of one
	// feed only; a store of several feeds returns ErrInvalid for another.
	AddUsage(ctx context.Context, b UsageBatch) error
	// Usage sums rows whose Day lies within q.Bounds by q.By, ordered by the grouped columns in the order of q.By. Columns
	// that are not grouped by are empty in the result, except for Owner. Without q.By there is exactly one row, also if it
	// is all zeros. A count or sum that would leave the range of an int64 stops at its end.
	Usage(ctx context.Context, owner string, q UsageQuery) ([]UsageRow, error)
	// Reserve takes r.Amount from every account named, or from none. It returns an *OverLimitError, which names the
	// account, if one has not enough left. It is idempotent by (r.Owner, r.Key): the same key with the same Amount and
	// accounts, in any order, returns the first answer and takes nothing. It returns ErrConflict for the same key with
	// other values, also after Adjust changed the Amount. So it does for a key whose reservation lapsed, until Purge
	// forgets it. An Amount ≤ 0, no account, or one named twice is ErrInvalid.
	Reserve(ctx context.Context, r Reservation) (Reserved, error)
	// Balances returns how much Reserve could take from each of some accounts, in their order: 0 or more, and 0 for a
	// Limit of 0 or less. It takes nothing. What others take meanwhile may count for some of them and not for others. An
	// account that carries from itself is ErrInvalid.
	Balances(ctx context.Context, owner string, accounts []CreditAccount) ([]Credits, error)
	// Adjust reduces a reservation, pledges part of it, and puts off when it lapses: see Adjustment. It moves each value
	// only one way, so it is idempotent, and a late call undoes nothing. After an error other than ErrUnknownOutcome
	// nothing has changed. It returns
	//
	//   - ErrNotFound for an unknown key,
	//   - ErrConflict if the reservation is settled or lapsed, or if less is left of it than a.Pledged,
	//   - ErrInvalid unless 0 ≤ a.Pledged ≤ a.Amount and a.Amount > 0.
	Adjust(ctx context.Context, owner string, key [16]byte, a Adjustment) error
	// Settle replaces a reservation's amount by what was really spent, 0 ≤ actual ≤ reserved (else ErrInvalid), and gives
	// the rest back. A pledge does not bind it. It is idempotent. Settling again with another amount is ErrConflict, an
	// unknown key ErrNotFound. A reservation that lapsed counts as settled with what was pledged. One that Purge has not
	// returned yet can still be settled.
	Settle(ctx context.Context, owner string, key [16]byte, actual Credits) error

	// Taken returns one page of the accounts of an owner that credits were taken from, by token, meter and period in byte
	// order, with the After of the next page. What open reservations hold is taken. Accounts that have nothing taken may
	// be among them or not. After the last page, next is "". It is for copies: what is reserved and settled in another
	// store is taken there. It returns ErrInvalid where q.Start does.
	Taken(ctx context.Context, owner string, q TakenQuery) (page []TakenCredits, next string, err error)

	// Purge removes at most n items of the feed p.Feed whose time is over and returns how many it removed. Fewer than n
	// means that nothing is left to remove. n ≤ 0 is 100. It never advances the epoch: what it removes was dead before.
	// PurgePolicy lists what it removes. It returns ErrInvalid for a feed that is not among Feeds.
	Purge(ctx context.Context, p PurgePolicy, n int) (removed int, err error)
}

// FeedID names a feed of a [Store]. A feed keeps its FeedID. A plain store has feed 0.
type FeedID uint32

// Slot is a part of a store's owners. A text of a token may carry the one of its owner, in two of its 34 random
// characters. Each slot lies within one feed. A slot does not identify an owner.
type Slot uint16

const (
	// NoSlot is the slot of a text that carries none, and of the owners of a store that has no slots.
	NoSlot Slot = 0
	// MaxSlot is the highest slot, and how many there are.
	MaxSlot = Slot(tokentext.MaxSlot)
)

// Location is where the records of an owner are.
type Location struct {
	Feed FeedID
	Slot Slot // NoSlot: texts of the owner's tokens are random in full
}

// Found is one consistent snapshot of all that decides about a token. Used of an ancestor is current only
// if that ancestor has Validity.Idle. Otherwise it may be out of date, and nothing depends on it.
type Found struct {
	Token     Token
	Secret    SecretRecord // the one presented
	Ancestors []Token      // parent first, root last; fewer than Token.Depth: one is gone
	Roles     []Role       // in no order; a role that is gone is missing
	Owner     Owner
	Feed      FeedID // of the owner
	Epoch     uint64 // of Feed
}

// SecretRecord is one secret of a token. It holds no plain text.
//
// A secret that another system made may be kept as that system kept it: with an Algorithm. Such a secret has a Lookup
// and a Hash, and is not Signing. A secret without an Algorithm has neither. Everything else is ErrInvalid.
type SecretRecord struct {
	// Digest is that of the text. Of a secret with an Algorithm it is any value that no other secret has.
	Digest   [32]byte  `json:"digest"`
	KeyID    uint32    `json:"key_id,omitempty"`   // the key of Digest and Sealed; 0: plain SHA-256, nothing sealed
	Sealed   []byte    `json:"sealed,omitempty"`   // for Reveal; nil: not recoverable
	Signing  bool      `json:"signing,omitempty"`  // signs requests; is never presented, never found by ByDigest
	Hint     string    `json:"hint"`               // first 5 and last 3 characters, for people
	Created  time.Time `json:"created"`            // microseconds
	NotAfter time.Time `json:"not_after,omitzero"` // zero: as long as the token

	// Algorithm names how a presented text is compared with Hash: at most 64 bytes. A Manager knows "bcrypt" and
	// "argon2id", and lets nobody in by another. "" is latchkey's own: the text is found by its Digest, and that is all.
	Algorithm string `json:"algorithm,omitempty"`
	// Lookup is the public part of the text by which the secret is found: 1 to 256 bytes, unique within a feed, whatever
	// the Algorithm. Where several systems could use the same one, it begins with the system's name.
	Lookup string `json:"lookup,omitempty"`
	Hash   []byte `json:"hash,omitempty"` // what the other system kept to compare with, with its salt; 1 to 1024 bytes

	// Used is the last use of this secret, as far as LastUsed told, and UsedFrom where it came from. Zero: not known.
	// [Store.Secrets] returns both, ByDigest and ByLookup only Used. A new secret has neither, whatever is put.
	Used     time.Time  `json:"used,omitzero"`
	UsedFrom netip.Addr `json:"used_from,omitzero"`
}

// How long fields of a SecretRecord may be, in bytes.
const (
	maxAlgorithm = 64
	maxLookup    = 256
	maxHash      = 1024
)

// Validate returns ErrInvalid for a record that no [Store] keeps: see [SecretRecord]. It is for stores.
func (s *SecretRecord) Validate() error {
	if s.Algorithm == "" && s.Lookup == "" && len(s.Hash) == 0 {
		return nil
	}
	if s.Algorithm == "" || s.Lookup == "" || len(s.Hash) == 0 || s.Signing || len(s.Algorithm) > maxAlgorithm ||
		len(s.Lookup) > maxLookup || len(s.Hash) > maxHash {
		return fmt.Errorf("%w: a secret with an algorithm has a lookup part of at most %d bytes and a hash of at most %d, "+
			"and does not sign; one without has neither", ErrInvalid, maxLookup, maxHash)
	}
	return nil
}

// Feed is the answer of [Store.Changes]. Changes holds whole transactions only: a page never ends inside one, so it is
// longer than asked for if its first transaction is. Epochs have no gaps: epoch after + 1 comes first. In a truncated
// feed, Changes holds what is left above after. A [ChangedRevocation] is always left until Purge removes it.
type Feed struct {
	Changes   []Change
	Epoch     uint64    // the feed's, not that of the last change
	Now       time.Time // the clock of the feed's database; zero: it has none
	Truncated bool      // history no longer reaches back to after
}

// Change is one record that changed. All changes of one transaction share its epoch, and each record is listed once. A
// token that the same transaction inserted is not listed.
type Change struct {
	Epoch uint64
	Owner string
	Kind  ChangeKind
	ID    string
	// Of, Before and Until are those of the Revocation. They are zero for any other kind.
	Of            RevocationOf
	Before, Until time.Time
}

// ChangeKind is the kind of record that a [Change] names.
type ChangeKind uint8

const (
	ChangedToken      ChangeKind = iota + 1 // updated, revoked, deleted (with its parent too), or its secrets changed
	ChangedRole                             // put or deleted. A new one too: something may name its id already
	ChangedOwner                            // configured or erased: all of the owner may be different
	ChangedRevocation                       // stateless tokens were revoked
)

// Write is one transaction: a value that lists everything it does.
//
// A record put with Version 0 is inserted and gets Version 1. It is ErrExists if its id, a digest, or a role's name
// within owner and origin is taken. A record put with Version n replaces version n and gets Version n+1. It is
// ErrConflict if the stored one has another version, or is gone. A put never moves Token.Used back.
type Write struct {
	// ID makes the Write idempotent within the owner. It is required. A Manager's are UUIDv7: they come in order.
	ID    [16]byte
	Owner string
	// At is when it is written, for Purge of this ID.
	At     time.Time
	Tokens []Token
	// Secrets are changed after Tokens are put. ErrNotFound if there is no such token, or no such secret of it to retire.
	Secrets []SecretChange
	// DeleteTokens removes tokens with their secrets, and every token minted from them, however deep. With Version 0 any
	// version is removed, and a missing token is ErrNotFound. With another Version, a token of a different version or a
	// missing one is ErrConflict. Usage counts stay.
	DeleteTokens []Ref
	Revocations  []Revocation // of stateless tokens
	Roles        []Role
	// DeleteRoles removes roles, with Versions as in DeleteTokens. ErrInUse while another role inherits one, or while a
	// token names it that is neither revoked nor minted. All of this Write counts: a role and the last record that names
	// it can go together. Expired and disabled tokens count, because they can be brought back. Minted ones lose the role.
	DeleteRoles []Ref
	OwnerRecord *Owner
	// Erase removes everything of the owner: records, clients, usage, credits, Once keys and the audit trail. Only Events
	// of this Write stay, their Seq going on from the last one, with the IDs of writes and what the feed holds.
	Erase   bool
	Clients []Client // an empty Name leaves the one known
	// ForgetClients removes clients, by id, with the names given for them. The usage of each is added to the rows of no
	// client that are equal in everything else, and removed: a sum never changes. Tokens stay as they are. Where
	// the Actor of an event that is stored already is "client:<id>" of one of these, it becomes "client:".
	ForgetClients []string
	// Redact empties Before, After and Reason of each event that is stored already and whose Object is one of these.
	Redact []string
	// Once are keys that are recorded with this Write, as by [Store.Once]. ErrExists if one is recorded already.
	Once []OnceKey
	// RequireTokens and RequireRoles must exist, at that version (0: any), and such a token must not be revoked.
	// RequireOwner, if not nil, is the version of the owner's record. If one does not hold, Write returns ErrConflict.
	// Versions are those before this Write. The records are locked until the commit, so that nothing is minted past a
	// revocation.
	RequireTokens []Ref
	RequireRoles  []Ref
	RequireOwner  *uint64
	// RequireHolders lists, for some roles, all that names them before this Write. ErrConflict if it is anything else.
	RequireHolders []Holders
	// Live bounds how many tokens are live after this Write. ErrTooMany if there would be more. Nil: no bound.
	Live   *LiveLimit
	Events []Event // Seq and Owner are given by the Store
	// Seal, if not nil, is called in the transaction for each of Events, in their order, when its Seq and Owner are set.
	// It gets the index of the event, a copy, and the owner's head: what the last Seal of the owner returned, nil before
	// the first. It sets Prev and Hash of the copy, which are kept, and returns the next head, of at most 64 bytes. The
	// Store keeps the head with the number of the owner's last event: Purge and Erase leave both, and a Write without Seal
	// leaves the head as it is. Seal changes nothing else, waits for nothing, and is safe for concurrent use. Neither it
	// nor the Store writes to a slice of bytes that passed between them. It may be called several times for one event,
	// because transactions are tried again: what the last call said is kept.
	Seal func(i int, e *Event, head []byte) (next []byte)
	// Silent writes leave the epoch and the feed alone. They are only for what can alter no answer: inserted tokens with
	// their secrets, client names, events, and a secret that is digested anew.
	Silent bool
}

// OnceKey is a key that a [Write] records until the given time.
type OnceKey struct {
	Key   [32]byte
	Until time.Time
	// IfAbsent says that a key that is recorded already stays as it is, and is no error.
	IfAbsent bool
}

// LiveLimit bounds the live tokens of an owner that have the same parent. Of two writes at once that both need the last
// place exactly one succeeds.
//
// A Store need not count for each Write. It may keep a number that a Write raises by the tokens which it inserts, and
// count anew where that number would exceed Max. It must count anew
//
//   - where the number was made under another OwnerVersion: what was written under that one may have had no LiveLimit,
//   - where the Write replaces tokens: it may let a dead one live again.
//
// Under one OwnerVersion every Write that could let more tokens live has a LiveLimit. So the number is never too low.
// What died since it was made leaves it when Max is reached. Ids are UUIDv7, and no token is written with an id more
// than 65 minutes older than one that is stored, or 5 minutes for a minted one: what is older than the oldest live one
// need not be looked at again.
type LiveLimit struct {
	Parent string // tokens minted from it directly; "": issued tokens
	Max    int    // at least 1
	Now    time.Time
	// OwnerVersion, NotBefore and Since are those of the owner's record. The Write requires that Version.
	OwnerVersion uint64
	NotBefore    time.Time
	Since        uint64
}

// Counts reports whether a token is among those that the limit bounds, and is live: it is not revoked, not over at Now,
// and not ended by NotBefore or Since. It has idled out a twentieth of Validity.Idle, and at least a second, after
// [Token.IdleEnd], as for [PurgePolicy]. It is for stores.
func (l *LiveLimit) Counts(t Token) bool {
	end, idle := t.Validity.NotAfter, t.IdleEnd()
	return t.Parent == l.Parent && t.Revoked.IsZero() &&
		(end.IsZero() || end.After(l.Now)) &&
		(idle.IsZero() || idle.Add(max(t.Validity.Idle/20, time.Second)).After(l.Now)) &&
		!t.Created.Before(l.NotBefore) && t.OwnerVersion >= l.Since
}

// Ref names a record and the version that it must have. Version 0 is any.
type Ref struct {
	ID      string
	Version uint64
}

// Holders is all that names a role directly, with its versions: the roles that inherit it, and the tokens that hold it.
// Revoked tokens do not count, and minted ones only with Minted.
type Holders struct {
	RoleID string
	Roles  []Ref // in any order, each once
	Tokens []Ref // likewise
	Minted bool
}

// KeySecret is a secret of a token of any owner.
type KeySecret struct {
	Owner, TokenID string
	Secret         SecretRecord
}

// Delivery is how far a cursor has come in the events of an owner.
type Delivery struct {
	Owner string
	Seq   uint64 // of the last event that was delivered; 0: none
	Last  uint64 // of the last event that there was, removed or not
}

// SecretChange adds a secret to a token, ends one, or both. It is ErrInvalid if it does neither.
type SecretChange struct {
	TokenID string
	Add     *SecretRecord
	Retire  [32]byte // the digest of the secret to end; zero: none
	// At is when Retire ends. If it is zero, or not after Write.At, the secret is removed at once. An end never moves
	// later: a secret that ends before At already keeps its own.
	At time.Time
	// Replace says that Add takes the place of Retire: the same secret under another key or algorithm. Digest, KeyID,
	// Sealed, Algorithm, Lookup and Hash are taken from Add. Everything else stays, its last use too, so that a retired
	// secret is not revived. At is ignored.
	Replace bool
}

// Revocation keeps stateless tokens revoked until they would have ended: see [Narrowing].Stateless. A Write lists each
// once.
type Revocation struct {
	// Of says which tokens ID names. Another value than the constants is ErrInvalid.
	Of RevocationOf
	ID string // as Of says
	// Before spares the tokens that were made at that time or later. Zero: it spares none.
	Before time.Time
	Until  time.Time // the end of the last of them, after which nothing is revoked any more; zero: it revokes nothing
}

// RevocationOf is what a [Revocation] names.
type RevocationOf uint8

const (
	RevokedToken  RevocationOf = iota // the token with the id ID
	RevokedParent                     // all that were minted from the token ID, however deep
	RevokedClient                     // all that belong to a client; a Manager's ID is a digest, so that it names nobody
	RevokedOwner                      // all of the owner; ID is "", anything else is ErrInvalid
)

// Validate returns ErrInvalid for a revocation that names nothing. It is for stores.
func (r *Revocation) Validate() error {
	if r.Of > RevokedOwner || r.Of == RevokedOwner && r.ID != "" {
		return fmt.Errorf("%w: a revocation of an unknown kind, or of an owner with an id", ErrInvalid)
	}
	return nil
}

// UsageBatch is counts and last uses of owners of one feed, to add once per ID.
type UsageBatch struct {
	ID   [16]byte
	At   time.Time // when, for Purge of this ID
	Rows []UsageRow
	Last []LastUsed
}

// LastUsed raises a token's Used, and that of one of its secrets. For each of the two, a time that is not later than
// the one known changes nothing.
type LastUsed struct {
	Owner, TokenID string
	At             time.Time
	// Digest is that of the secret that was presented. Zero, or not one of the token's: only the token's Used is raised.
	Digest [32]byte
	From   netip.Addr // the secret's UsedFrom, if At is its last use; the zero Addr: not known
}

// Reservation takes credits in advance.
type Reservation struct {
	Owner    string
	Key      [16]byte
	Accounts []CreditAccount
	Amount   Credits
	// Until is when it lapses unless it is settled. Purge then gives back what is not pledged. Zero: never.
	Until time.Time
}

// CreditAccount is one account of credits: a token's, or the owner's if TokenID is empty, for one meter and period. The
// limit comes with the debit, so that a lowered limit holds at once. A Limit of 0 or less lets nothing be taken.
// Accounts without a limit are not named.
type CreditAccount struct {
	TokenID, Meter string
	// Period names the time that the account is for, "" for ever: at most 64 bytes. A Manager's are months in UTC, such as
	// "2026-11", and others as ISO 8601 writes them: "2026-11-30T14:25/PT1M". Periods with different names are different
	// accounts, whatever their times.
	Period string
	Limit  Credits
	// Carry, if above 0, is added to Limit as far as the account of the period CarryFrom, of the same token and meter, has
	// not taken all of Limit: the smaller of Carry and of Limit less what is taken there. What CarryFrom itself was given
	// to carry does not count. Its state is read in the transaction of the debit. An account that does not exist has
	// nothing taken. A CarryFrom that is Period is ErrInvalid.
	Carry     Credits
	CarryFrom string
	// Ends is when the account is not needed any more, for Purge: when neither its period goes on nor one that carries
	// from it. It does not tell accounts apart: the first reservation from an account sets it. Zero: at the end of the
	// next month if Period is a month, otherwise never.
	Ends time.Time
}

// TakenCredits is how much is taken from one account of credits.
type TakenCredits struct {
	TokenID string    `json:"token_id,omitempty"` // "": the owner's own account
	Meter   string    `json:"meter,omitempty"`
	Period  string    `json:"period,omitempty"` // as in CreditAccount
	Taken   Credits   `json:"taken"`
	Ends    time.Time `json:"ends,omitzero"` // as in CreditAccount
}

// Reserved is the answer of [Store.Reserve].
type Reserved struct {
	Left Credits // the smallest amount that any of the accounts has left, with what it carries
	// Least is the index of an account that has so much left. Where the same reservation was made before, it is one that
	// has the least by now.
	Least int
}

// Adjustment is what [Store.Adjust] makes of a reservation. A new reservation has nothing pledged.
type Adjustment struct {
	// Amount is how much is kept. The rest is given back. An Amount of all that is there, or more, gives nothing back.
	Amount Credits
	// Pledged is how much of it may be spent without telling the store. The pledge must be known to be written before.
	// What is pledged counts as spent when the reservation lapses, because it may have been spent. A value below the
	// pledge so far changes nothing. A pledge above a reduced amount is reduced with it.
	Pledged Credits
	// Until is when it lapses. Zero: never. An earlier time than the present one is ignored.
	Until time.Time
}

// OverLimitError says which quota had not enough left, and when it begins anew. It wraps [ErrOverLimit].
type OverLimitError struct {
	// Account is the account as it was named in the Reservation: the first that had not enough. A Store sets it and Left.
	Account CreditAccount
	Left    Credits // what the account had left
	// Quota and Resets are set by an [Access].
	Quota  Quota
	Resets time.Time // when the period of the quota is over; zero: never

	limit int           // the index of the quota
	wait  time.Duration // until Resets, as of the refusal; 0: to wait is of no use
}

func (e *OverLimitError) Error() string {
	of, per := "of the token", e.Account.Period
	if e.Account.TokenID == "" {
		of = "of the owner"
	}
	switch e.Quota.Per {
	case Forever:
		per = "for ever"
	case "": // of a Store
	default:
		per = "per " + string(e.Quota.Per)
	}
	return strings.TrimSuffix(fmt.Sprintf("%v: meter %q %s, quota %s", ErrOverLimit, e.Account.Meter, of, per), ", quota ")
}

func (e *OverLimitError) Unwrap() error { return ErrOverLimit }

// RetryAfter returns how long to wait until the quota begins anew, as of the refusal. It is 0 if waiting is of no use:
// for a quota for ever, one of nothing, and where more was asked for than a whole period has.
func (e *OverLimitError) RetryAfter() time.Duration { return e.wait }

// PurgePolicy says what is over at Now. A negative duration keeps for ever. A time is over at Now if it
// is not after Now.
//
// [Store.Purge] counts each of these as one:
//
//   - a dead token with all its secrets. Its usage counts stay. Tokens minted from it are refused already, and
//     are removed at their own end.
//   - a retired secret past its end
//   - a Once key past its time
//   - a reservation that lapsed: what was not pledged is given back, and its key stays refused
//   - a settled or lapsed reservation that is forgotten
//   - an account of credits whose period is over, unless an open reservation names it
//   - a change, a revocation, a write ID, a usage batch ID, an event
//   - a row of usage of a day that is added to the row of its month, and one of a month that is removed
type PurgePolicy struct {
	Feed FeedID // whose owners
	Now  time.Time
	// Expired is how long tokens are kept after NotAfter, or after they idled out. They idled out for certain a twentieth
	// of Validity.Idle, and at least a second, after [Token.IdleEnd]: a use is stored only when it is so much later than
	// the one before.
	Expired time.Duration
	// Revoked is how long tokens are kept after they were revoked, and revocations of stateless tokens after Until.
	Revoked time.Duration
	// Changes is how long history is kept. 0: 24 h. It must be at least the longest MaxStale in use. History is
	//   - changes (except revocations), write IDs and usage batch IDs after their At,
	//   - settled and lapsed reservations after their Until,
	//   - accounts of credits after their Ends.
	Changes time.Duration
	// Events is how long the audit trail is kept. 0: for ever. Options.KeepEvents sets it, and has the chain of the trail
	// tell of it: [Account.VerifyAudit] takes events that are removed without that for deleted.
	Events time.Duration
	// UsageDays is how long usage is kept by day, after the end of the month. Then the rows of each day are added to rows
	// of the month that are equal in everything else, with the month as Day ("2026-11"), and removed: all in one
	// transaction, so that a sum never changes. Rows that are added later to a day of such a month follow with the next
	// Purge. 0 or less: for ever.
	UsageDays time.Duration
	// UsageMonths is how long rows of months are kept after the end of the month. Rows of days stay. 0 or less: for ever.
	UsageMonths time.Duration
}

// DamagedError names a stored record that cannot be read: it is truncated or altered, or a later version wrote it. It
// wraps [ErrUnavailable]: nothing may be decided by what is left of the record, and nothing that depends on it is
// answered.
//
// A damaged record can still be ended. Revoke, Delete, Rotate and Update work on a damaged token by its id; Update can
// then only set Disabled. DeleteRole and UpdateRole work on a damaged role, and Configure on a damaged owner.
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

// noun returns what a record of the kind is called in "latchkey/<noun>".
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
