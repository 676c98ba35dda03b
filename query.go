package latchkey

import (
	"cmp"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"
)

// Page asks for at most Limit items whose key is above After. A Limit of 0 or less
// means 100, and one above 1000 means 1000.
type Page struct {
	After string
	Limit int
}

// Size returns how many items the page may hold: Limit, 100 for a Limit ≤ 0, and 1000 at most.
func (p Page) Size() int {
	if p.Limit <= 0 {
		return 100
	}
	return min(p.Limit, 1000)
}

// Listing is one page of a listing, with where the next one begins. Its JSON is a reply that hands out pages:
// {"items": […], "next": "…"}.
type Listing[T any] struct {
	// Items are never nil. One whose Damaged is set could not be read: what is left of it stands among the others.
	Items []T `json:"items"`
	// Next is the After of the page that follows. "" at the end: no page that a Next leads to is empty, except where the
	// method that made the Listing says so. It is opaque, and may hold a NUL: escape it in a URL.
	Next string `json:"next"`
}

// TokenQuery selects tokens. Zero fields select everything. A token must meet all fields that are set.
type TokenQuery struct {
	Page            // After is what Key returned for the last token of the page before
	IDs    []string // those of these tokens that there are, at most 1000: more are [ErrInvalid]
	Kinds  []Kind
	Origin *string // nil: any; "" means the host's own
	Parent string  // tokens that this token id minted directly
	Role   string  // tokens that name this role, by its id or, in an Account, by its name; ended ones too
	Client string  // tokens that belong to this client id
	Search string  // prefix of name, id or hint; byte for byte
	// Find is a text anywhere in the name, id, hint or client's id, whatever the case of letters. Each character is
	// compared by Unicode's simple case folding, as [strings.EqualFold] does. Accents count, and so does whether a letter
	// is composed.
	Find   string
	States []State
	Now    time.Time // the moment that States are of; the Account sets it if zero
	// ExpiresFrom and ExpiresTo select tokens with a NotAfter in [from, to). Zero: open on that side. Tokens without an
	// end are selected only if both are zero.
	ExpiresFrom, ExpiresTo time.Time
	UnusedSince            time.Time // never used, or last used before
	CreatedBefore          time.Time // made before
	// Order is the order of the listing, the zero value by id. Reverse turns it round. A token whose place changes while
	// pages are read may be listed twice, or not at all.
	Order   TokenOrder
	Reverse bool
}

const maxQueryIDs = 1000

// TokenOrder is an order of tokens. Where two are equal in it, the id decides.
type TokenOrder uint8

const (
	OrderID   TokenOrder = iota // by id: oldest first
	OrderName                   // by name, byte for byte
	OrderUsed                   // by last use: never used first, then longest unused first
	OrderEnd                    // by Validity.NotAfter: soonest first, those without an end last
)

// Key returns the After of the page that follows t. For OrderID it is the id, for any other order a text to be passed
// on as it is.
func (q TokenQuery) Key(t Token) string {
	switch q.Order {
	case OrderName:
		return t.Name + "\x00" + t.ID
	case OrderUsed:
		return timeKey(t.Used) + "\x00" + t.ID
	case OrderEnd:
		return timeKey(t.Validity.NotAfter) + "\x00" + t.ID
	}
	return t.ID
}

func timeKey(t time.Time) string {
	if t.IsZero() {
		return ""
	}
	return strconv.FormatInt(micros(t), 10)
}

// Start returns where the page begins, for stores: a token with the ID, and the Name, Used or NotAfter, that After
// tells. The page holds what comes after it by Compare. It returns false for a page that begins at the beginning. It
// returns ErrInvalid for an Order that there is not, for an After that is no Key of the Order, and for too many IDs.
func (q TokenQuery) Start() (t Token, ok bool, err error) {
	switch {
	case len(q.IDs) > maxQueryIDs:
		return t, false, fmt.Errorf("%w: a query names %d ids: at most %d", ErrInvalid, len(q.IDs), maxQueryIDs)
	case q.Order > OrderEnd:
		return t, false, fmt.Errorf("%w: there is no order %d of tokens", ErrInvalid, q.Order)
	case q.After == "":
		return t, false, nil
	case q.Order == OrderID:
		return Token{ID: q.After}, true, nil
	}
	at := strings.LastIndexByte(q.After, 0)
	if at < 0 {
		return t, false, errAfter
	}
	t.ID = q.After[at+1:]
	if q.Order == OrderName {
		t.Name = q.After[:at]
		return t, true, nil
	}
	var moment time.Time
	if at > 0 {
		us, err := strconv.ParseInt(q.After[:at], 10, 64)
		if err != nil {
			return t, false, errAfter
		}
		moment = fromMicros(us)
	}
	if q.Order == OrderUsed {
		t.Used = moment
	} else {
		t.Validity.NotAfter = moment
	}
	return t, true, nil
}

var errAfter = fmt.Errorf("%w: After is not what Key returned for this order", ErrInvalid)

// Compare compares the places of two tokens in the listing: below 0 if a comes first.
func (q TokenQuery) Compare(a, b Token) int {
	c := 0
	switch q.Order {
	case OrderName:
		c = strings.Compare(a.Name, b.Name)
	case OrderUsed:
		c = a.Used.Compare(b.Used) // the zero time is before any other
	case OrderEnd:
		switch x, y := a.Validity.NotAfter, b.Validity.NotAfter; {
		case x.IsZero() == y.IsZero():
			c = x.Compare(y)
		case x.IsZero():
			c = 1
		default:
			c = -1
		}
	}
	if c = cmp.Or(c, strings.Compare(a.ID, b.ID)); q.Reverse {
		return -c
	}
	return c
}

// containsFold reports whether text has find in it, by simple case folding. A byte that is no UTF-8 is equal to itself.
func containsFold(text, find string) bool {
	for ; ; text = text[1:] {
		if hasPrefixFold(text, find) {
			return true
		}
		if text == "" {
			return false
		}
	}
}

func hasPrefixFold(text, prefix string) bool {
	for prefix != "" {
		if text == "" {
			return false
		}
		p, pn := utf8.DecodeRuneInString(prefix)
		t, tn := utf8.DecodeRuneInString(text)
		invalid := p == utf8.RuneError && pn == 1 || t == utf8.RuneError && tn == 1
		if p != t && foldRune(p) != foldRune(t) || invalid && (pn != tn || prefix[0] != text[0]) {
			return false
		}
		prefix, text = prefix[pn:], text[tn:]
	}
	return true
}

// foldRune returns the least of the runes that are equal to r by simple case folding.
func foldRune(r rune) rune {
	if r < utf8.RuneSelf { // nothing outside of ASCII is less
		if 'a' <= r && r <= 'z' {
			return r - 'a' + 'A'
		}
		return r
	}
	least := r
	for next := unicode.SimpleFold(r); next != r; next = unicode.SimpleFold(next) {
		least = min(least, next)
	}
	return least
}

// Match reports whether the query selects t. It ignores the Page and the order.
func (q TokenQuery) Match(t Token) bool {
	switch {
	case len(q.Kinds) > 0 && !slices.Contains(q.Kinds, t.Kind),
		q.Origin != nil && *q.Origin != t.Origin,
		q.Parent != "" && q.Parent != t.Parent,
		q.Role != "" && !slices.Contains(t.Roles, q.Role),
		q.Client != "" && q.Client != t.Client.ID,
		q.Search != "" && !strings.HasPrefix(t.Name, q.Search) &&
			!strings.HasPrefix(t.ID, q.Search) && !strings.HasPrefix(t.Hint, q.Search),
		q.Find != "" && !containsFold(t.Name, q.Find) && !containsFold(t.ID, q.Find) && !containsFold(t.Hint, q.Find) &&
			!containsFold(t.Client.ID, q.Find),
		len(q.IDs) > 0 && !slices.Contains(q.IDs, t.ID),
		len(q.States) > 0 && !slices.Contains(q.States, t.State(q.Now)),
		!q.UnusedSince.IsZero() && !t.Used.Before(q.UnusedSince),
		!q.CreatedBefore.IsZero() && !t.Created.Before(q.CreatedBefore):
		return false
	}
	if q.ExpiresFrom.IsZero() && q.ExpiresTo.IsZero() {
		return true
	}
	end := t.Validity.NotAfter
	return !end.IsZero() && !end.Before(q.ExpiresFrom) && (q.ExpiresTo.IsZero() || end.Before(q.ExpiresTo))
}

// State is what a token is at a given moment. It is the first that applies of Revoked, Disabled, Expired and
// NotYetValid, and Active if none does.
type State uint8

const (
	Active State = iota + 1
	Revoked
	Disabled
	Expired // by NotAfter or by Idle
	NotYetValid
)

// String returns "active", "revoked", "disabled", "expired" or "not_yet_valid". Any other value is shown as a number.
func (s State) String() string {
	switch s {
	case Active:
		return "active"
	case Revoked:
		return "revoked"
	case Disabled:
		return "disabled"
	case Expired:
		return "expired"
	case NotYetValid:
		return "not_yet_valid"
	}
	return fmt.Sprintf("state(%d)", uint8(s))
}

// State returns the token's state at now, by its own record alone: neither its ancestors nor its owner count.
func (t Token) State(now time.Time) State {
	switch {
	case !t.Revoked.IsZero():
		return Revoked
	case t.Disabled:
		return Disabled
	case t.over(now):
		return Expired
	case now.Before(t.Validity.NotBefore):
		return NotYetValid
	}
	return Active
}

// over reports whether NotAfter or the idle end has come. The end itself is already too late.
func (t Token) over(now time.Time) bool {
	if end := t.Validity.NotAfter; !end.IsZero() && !now.Before(end) {
		return true
	}
	end := t.IdleEnd()
	return !end.IsZero() && !now.Before(end)
}

// IdleEnd returns when the token ends unless it is used before. It returns the zero time for a token without an idle
// limit.
func (t Token) IdleEnd() time.Time {
	if t.Validity.Idle <= 0 {
		return time.Time{}
	}
	if t.Used.IsZero() {
		return t.Created.Add(t.Validity.Idle)
	}
	return t.Used.Add(t.Validity.Idle)
}

// EndingQuery selects the tokens of all owners of a feed that end within a time. It is about issued tokens only: minted
// and revoked ones are left out.
type EndingQuery struct {
	Page               // After is what Key returned for the last token of the page before
	Feed     FeedID    // whose owners
	From, To time.Time // of NotAfter, in [From, To); zero: open on that side
}

// Match reports whether the query selects t. It ignores the Page and the feed.
func (q EndingQuery) Match(t Token) bool {
	end := t.Validity.NotAfter
	return t.Parent == "" && t.Revoked.IsZero() && !end.IsZero() && !end.Before(q.From) &&
		(q.To.IsZero() || end.Before(q.To))
}

// Compare compares the places of two tokens in the listing: by end, owner and id.
func (q EndingQuery) Compare(a, b Token) int {
	return cmp.Or(a.Validity.NotAfter.Compare(b.Validity.NotAfter), strings.Compare(a.Owner, b.Owner),
		strings.Compare(a.ID, b.ID))
}

// Key returns the After of the page that follows t.
func (q EndingQuery) Key(t Token) string {
	return timeKey(t.Validity.NotAfter) + "\x00" + t.Owner + "\x00" + t.ID
}

// Start returns where the page begins, for stores, as [TokenQuery.Start] does: a token with NotAfter, Owner and ID.
func (q EndingQuery) Start() (t Token, ok bool, err error) {
	if q.After == "" {
		return t, false, nil
	}
	end, rest, _ := strings.Cut(q.After, "\x00")
	at := strings.LastIndexByte(rest, 0)
	us, err := strconv.ParseInt(end, 10, 64)
	if err != nil || at < 0 {
		return t, false, errAfter
	}
	t.Owner, t.ID, t.Validity.NotAfter = rest[:at], rest[at+1:], fromMicros(us)
	return t, true, nil
}

// UnusedQuery selects the tokens of all owners of a feed that were neither used nor made since a time. It is about
// issued tokens only: minted and revoked ones are left out.
type UnusedQuery struct {
	Page         // After is what Unused returned beside the page before
	Feed  FeedID // whose owners
	Since time.Time
}

// Match reports whether the query selects t. It ignores the Page and the feed.
func (q UnusedQuery) Match(t Token) bool {
	return t.Parent == "" && t.Revoked.IsZero() && t.Used.Before(q.Since) && t.Created.Before(q.Since)
}

// Compare compares the places of two tokens in the listing: by owner and id.
func (q UnusedQuery) Compare(a, b Token) int {
	return cmp.Or(strings.Compare(a.Owner, b.Owner), strings.Compare(a.ID, b.ID))
}

// Key returns the After of the page that begins behind t.
func (q UnusedQuery) Key(t Token) string { return t.Owner + "\x00" + t.ID }

// Start returns where the page begins, for stores, as [TokenQuery.Start] does: a token with Owner and ID.
func (q UnusedQuery) Start() (t Token, ok bool, err error) {
	if q.After == "" {
		return t, false, nil
	}
	at := strings.LastIndexByte(q.After, 0)
	if at < 0 {
		return t, false, errAfter
	}
	t.Owner, t.ID = q.After[:at], q.After[at+1:]
	return t, true, nil
}

// TakenQuery asks for the accounts of credits of an owner.
type TakenQuery struct {
	Page // After is what Taken returned beside the page before
}

// Key returns the After of the page that begins behind an account.
func (q TakenQuery) Key(t TakenCredits) string {
	return t.TokenID + "\x00" + t.Meter + "\x00" + t.Period
}

// Start returns where the page begins, for stores: behind this account. It returns false for a page that begins at the
// beginning, and ErrInvalid for an After that is no Key.
func (q TakenQuery) Start() (t TakenCredits, ok bool, err error) {
	if q.After == "" {
		return t, false, nil
	}
	parts := strings.Split(q.After, "\x00")
	if len(parts) != 3 {
		return t, false, errAfter
	}
	return TakenCredits{TokenID: parts[0], Meter: parts[1], Period: parts[2]}, true, nil
}

// Compare compares the places of two accounts in the listing: by token, meter and period.
func (q TakenQuery) Compare(a, b TakenCredits) int {
	return cmp.Or(strings.Compare(a.TokenID, b.TokenID), strings.Compare(a.Meter, b.Meter),
		strings.Compare(a.Period, b.Period))
}

// KeyQuery selects the secrets of all owners of a feed that were made under another key than one, or under none.
type KeyQuery struct {
	Page         // After is what KeySecrets returned beside the page before
	Feed  FeedID // whose owners
	KeyID uint32 // as SecretRecord.KeyID
}

// Match reports whether the query selects the secret. It ignores the Page and the feed.
func (q KeyQuery) Match(s *SecretRecord) bool { return s.KeyID != q.KeyID && s.Algorithm == "" }

// Key returns the After of the page that begins behind a secret.
func (q KeyQuery) Key(owner, tokenID string, digest [32]byte) string {
	return owner + "\x00" + tokenID + "\x00" + hex.EncodeToString(digest[:])
}

// Start returns where the page begins, for stores: behind this secret. It returns an error that wraps [ErrInvalid] for
// an After that Key does not return.
func (q KeyQuery) Start() (s KeySecret, err error) {
	if q.After == "" {
		return s, nil
	}
	at := strings.LastIndexByte(q.After, 0)
	before := strings.LastIndexByte(q.After[:max(at, 0)], 0)
	if before < 0 {
		return s, errAfter
	}
	digest, err := hex.DecodeString(q.After[at+1:])
	if err != nil || len(digest) != len(s.Secret.Digest) {
		return s, errAfter
	}
	s.Secret.Digest = [32]byte(digest)
	s.Owner, s.TokenID = q.After[:before], q.After[before+1:at]
	return s, nil
}

// UndeliveredQuery selects the owners of a feed that have events behind a cursor.
type UndeliveredQuery struct {
	Page          // After is an owner
	Feed   FeedID // whose owners
	Cursor string
}

// RevocationQuery selects the revocations of a feed that last: see [Store.Revocations].
type RevocationQuery struct {
	Page            // After is the next of the page before
	Feed  FeedID    // whose owners
	Until time.Time // those that end later
}

// RevocationKey returns the After of the page that follows a revocation, given its place among those of the same Until
// and epoch. It is for stores.
func RevocationKey(c *Change, place uint64) string {
	return strconv.FormatInt(c.Until.UnixMicro(), 36) + "." + strconv.FormatUint(c.Epoch, 36) + "." +
		strconv.FormatUint(place, 36)
}

// Start returns the Until in µs, the epoch and the place of After; an empty one is below every other. It returns
// [ErrInvalid] for an After that no page had. It is for stores.
func (q RevocationQuery) Start() (until int64, epoch, place uint64, err error) {
	if q.After == "" {
		return micros(q.Until), math.MaxInt64, math.MaxInt64, nil
	}
	a, rest, _ := strings.Cut(q.After, ".")
	b, c, _ := strings.Cut(rest, ".")
	until, err = strconv.ParseInt(a, 36, 64)
	if err == nil {
		epoch, err = strconv.ParseUint(b, 36, 63)
	}
	if err == nil {
		place, err = strconv.ParseUint(c, 36, 63)
	}
	if err != nil {
		return 0, 0, 0, errAfter
	}
	return until, epoch, place, nil
}

// CheckCursor returns [ErrInvalid] for a name that no cursor can have. It is for stores.
func CheckCursor(name string) error { return checkText("cursor", name, 1, 64) }

// RoleQuery selects roles. Zero fields select everything. A role must meet all fields that are set.
type RoleQuery struct {
	Page
	IDs, Names []string
	Origin     *string // nil: any; "" means the host's own
	Inherits   string  // roles that inherit this one directly; its id or, in an Account, its name
}

// Match reports whether the query selects r. It ignores the Page.
func (q RoleQuery) Match(r Role) bool {
	return (len(q.IDs) == 0 || slices.Contains(q.IDs, r.ID)) &&
		(len(q.Names) == 0 || slices.Contains(q.Names, r.Name)) &&
		(q.Origin == nil || *q.Origin == r.Origin) &&
		(q.Inherits == "" || slices.Contains(r.Inherits, q.Inherits))
}

// UsageRow is one count.
type UsageRow struct {
	Owner    string `json:"owner"`
	TokenID  string `json:"token_id,omitempty"`
	ClientID string `json:"client_id,omitempty"`
	Meter    string `json:"meter,omitempty"`
	Endpoint string `json:"endpoint,omitempty"`
	// Day is the day, 2006-01-02 in UTC. It is the month, 2006-01, of what Purge has added up (Options.KeepUsageDays).
	Day     string  `json:"day,omitempty"`
	Count   int64   `json:"count"`
	Credits Credits `json:"credits"`
}

// UsageQuery selects and groups usage. Usage that is kept by month counts as of the first day of the month: From and To
// select all of it or nothing. So the sums of adjoining ranges add up, and a range of whole months is exact.
type UsageQuery struct {
	TokenIDs, Meters []string
	ExceptMeters     []string // these are left out
	ClientID         string
	From, To         string   // days, both included; "": open
	By               []string // any of "token", "client", "meter", "endpoint", "day"; none: one sum
}

// Bounds returns From and To as bounds of [UsageRow.Day], both included, in the order of bytes. "" is none. A From that
// is the first of a month becomes the month, which the row of the month has as its Day.
func (q UsageQuery) Bounds() (from, to string) {
	from = q.From
	if len(from) == len(time.DateOnly) && strings.HasSuffix(from, "-01") {
		from = strings.TrimSuffix(from, "-01")
	}
	return from, q.To
}

// EventQuery selects audit events. Zero fields select everything. An event must meet all fields that are set.
//
// The order is that of Seq, which is the order in which events were written. Clocks of machines differ, so At may go
// back within it by as much as they differ.
type EventQuery struct {
	Page          // After is what Key returned for the last event of the page before
	Actor *string // Event.Actor. Nil: any; "" means the host itself
	// Object is Event.Object: the id of a token, a role or the owner. "": any.
	Object string
	// Action is Event.Action. With "." at its end it is a prefix: "token." selects "token.issue" and "token.revoke". "":
	// any.
	Action   string
	From, To time.Time // of At, in [From, To); zero: open on that side
	Reverse  bool      // newest first
}

// Key returns the After of the page that follows e.
func (q EventQuery) Key(e Event) string { return strconv.FormatUint(e.Seq, 10) }

// Start returns where the page begins, for stores: behind the event with that Seq. It returns false for a page that
// begins at the beginning. It returns ErrInvalid for an After that is no Key.
func (q EventQuery) Start() (seq uint64, ok bool, err error) {
	if q.After == "" {
		return 0, false, nil
	}
	seq, err = strconv.ParseUint(q.After, 10, 64)
	if err != nil {
		return 0, false, errAfter
	}
	return seq, true, nil
}

// Match reports whether the query selects e. It ignores the Page and the order.
func (q EventQuery) Match(e Event) bool {
	action := q.Action == "" || q.Action == e.Action
	if strings.HasSuffix(q.Action, ".") {
		action = strings.HasPrefix(e.Action, q.Action)
	}
	return action && (q.Actor == nil || *q.Actor == e.Actor) && (q.Object == "" || q.Object == e.Object) &&
		!e.At.Before(q.From) && (q.To.IsZero() || e.At.Before(q.To))
}

// Event is one entry of the audit trail.
type Event struct {
	Seq   uint64    `json:"seq"` // grows within an owner; given by the Store
	At    time.Time `json:"at"`
	Owner string    `json:"owner"`
	// Actor is the actor's token id, "client:<id>" for an Assumed caller, and "" for the host itself. "client:" alone is a
	// caller without an id, or one that was erased. "host:<name>" is the host itself, by a person: see Account.By.
	Actor  string          `json:"actor,omitempty"`
	From   string          `json:"from,omitempty"` // the network address, "" if not known
	Action string          `json:"action"`         // "token.issue", "role.update", …
	Object string          `json:"object"`         // the id of the record it was done to
	Reason string          `json:"reason,omitempty"`
	Before json.RawMessage `json:"before,omitempty"` // the record, without secrets; nil: there was none
	After  json.RawMessage `json:"after,omitempty"`
	// Prev and Hash chain the events of an owner, each at most 64 bytes. Hash is a code of the event under a key of the
	// Keyring, or SHA-256 without one. Prev is the Seq of the event before in the chain, in 8 bytes, and its Hash. Both
	// are nil for an event that a program without a chain wrote, and Prev for the first of a chain. [Account.VerifyAudit]
	// verifies them. A Store keeps them as they are put, or as Write.Seal sets them.
	Prev []byte `json:"prev,omitempty"`
	Hash []byte `json:"hash,omitempty"`
}

// auditJSON returns a record as it stands in the audit trail. No record holds a secret. A damaged record may have no
// JSON form, and must be revocable all the same.
func auditJSON(v any) json.RawMessage {
	text, err := json.Marshal(v)
	if err != nil {
		return []byte(`{"damaged":true}`)
	}
	return text
}
