package latchkey

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"time"
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

// TokenQuery selects tokens. Zero fields select everything. A token must meet all fields that are set.
type TokenQuery struct {
	Page
	Kinds  []Kind
	Origin *string // nil: any; "" means the host's own
	Parent string  // tokens that this token id minted directly
	Role   string  // tokens that name this role id
	Client string  // tokens minted for this client id
	Search string  // prefix of name, id or hint; byte for byte
	States []State
	Now    time.Time // the moment that States are of; the Account sets it if zero
	// ExpiresFrom and ExpiresTo select tokens with a NotAfter in [from, to). Zero: open on that side. Tokens without an
	// end are selected only if both are zero.
	ExpiresFrom, ExpiresTo time.Time
	UnusedSince            time.Time // never used, or last used before
}

// Match reports whether the query selects t. It ignores the Page.
func (q TokenQuery) Match(t Token) bool {
	switch {
	case len(q.Kinds) > 0 && !slices.Contains(q.Kinds, t.Kind),
		q.Origin != nil && *q.Origin != t.Origin,
		q.Parent != "" && q.Parent != t.Parent,
		q.Role != "" && !slices.Contains(t.Roles, q.Role),
		q.Client != "" && q.Client != t.Client.ID,
		q.Search != "" && !strings.HasPrefix(t.Name, q.Search) &&
			!strings.HasPrefix(t.ID, q.Search) && !strings.HasPrefix(t.Hint, q.Search),
		len(q.States) > 0 && !slices.Contains(q.States, t.State(q.Now)),
		!q.UnusedSince.IsZero() && !t.Used.Before(q.UnusedSince):
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

// RoleQuery selects roles. Zero fields select everything. A role must meet all fields that are set.
type RoleQuery struct {
	Page
	IDs, Names []string
	Origin     *string // nil: any; "" means the host's own
	Inherits   string  // roles that inherit this one directly
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

// Event is one entry of the audit trail.
type Event struct {
	Seq   uint64    `json:"seq"` // grows within an owner; given by the Store
	At    time.Time `json:"at"`
	Owner string    `json:"owner"`
	// Actor is the actor's token id, "client:<id>" for an Assumed caller, and "" for the host itself.
	Actor  string          `json:"actor,omitempty"`
	From   string          `json:"from,omitempty"` // the network address, "" if not known
	Action string          `json:"action"`         // "token.issue", "role.update", …
	Object string          `json:"object"`         // the id of the record it was done to
	Reason string          `json:"reason,omitempty"`
	Before json.RawMessage `json:"before,omitempty"` // the record, without secrets; nil: there was none
	After  json.RawMessage `json:"after,omitempty"`
}
