package latchkey

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"time"
)

// Page asks for at most Limit things whose key is above After. Limit ≤ 0: 100; at most 1000.
type Page struct {
	After string
	Limit int
}

// Size is how many things the page may hold: Limit, 100 when that is not above 0, and never more than 1000.
func (p Page) Size() int {
	if p.Limit <= 0 {
		return 100
	}
	return min(p.Limit, 1000)
}

// TokenQuery selects tokens. Zero fields select everything; what is given must all hold.
type TokenQuery struct {
	Page
	Kinds  []Kind
	Origin *string // nil: any; "" means the host's own
	Parent string  // tokens that this token id minted, itself and not by way of others
	Role   string  // tokens that name this role id
	Client string  // tokens minted for this client id
	Search string  // prefix of name, id or hint; byte for byte
	States []State
	Now    time.Time // the moment States speak of; the Account fills it in
	// ExpiresFrom and ExpiresTo select tokens whose NotAfter lies in [from, to); zero: open on that side. Tokens
	// without an end are selected only if both are zero.
	ExpiresFrom, ExpiresTo time.Time
	UnusedSince            time.Time // never used, or last used before
}

// Match says whether the query selects t. It does not look at the Page.
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

// State is what a token is at a given moment: the first that applies of Revoked, Disabled, Expired and NotYetValid, and
// Active if none does.
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

// State says what the token is at now, by its own record alone: neither its ancestors nor its owner are asked.
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

// over says whether NotAfter or the idle end has come. The end itself is already too late.
func (t Token) over(now time.Time) bool {
	if end := t.Validity.NotAfter; !end.IsZero() && !now.Before(end) {
		return true
	}
	end := t.IdleEnd()
	return !end.IsZero() && !now.Before(end)
}

// IdleEnd is when the token ends unless it is used before. The zero time: it has no idle limit.
func (t Token) IdleEnd() time.Time {
	if t.Validity.Idle <= 0 {
		return time.Time{}
	}
	if t.Used.IsZero() {
		return t.Created.Add(t.Validity.Idle)
	}
	return t.Used.Add(t.Validity.Idle)
}

// RoleQuery selects roles. Zero fields select everything; what is given must all hold.
type RoleQuery struct {
	Page
	IDs, Names []string
	Origin     *string // nil: any; "" means the host's own
	Inherits   string  // roles that inherit this one directly
}

// Match says whether the query selects r. It does not look at the Page.
func (q RoleQuery) Match(r Role) bool {
	return (len(q.IDs) == 0 || slices.Contains(q.IDs, r.ID)) &&
		(len(q.Names) == 0 || slices.Contains(q.Names, r.Name)) &&
		(q.Origin == nil || *q.Origin == r.Origin) &&
		(q.Inherits == "" || slices.Contains(r.Inherits, q.Inherits))
}

// UsageRow is one count.
type UsageRow struct {
	Owner    string  `json:"owner"`
	TokenID  string  `json:"token_id,omitempty"`
	ClientID string  `json:"client_id,omitempty"`
	Meter    string  `json:"meter,omitempty"`
	Endpoint string  `json:"endpoint,omitempty"`
	Day      string  `json:"day,omitempty"` // 2006-01-02, UTC
	Count    int64   `json:"count"`
	Credits  Credits `json:"credits"`
}

// UsageQuery selects and groups usage.
type UsageQuery struct {
	TokenIDs, Meters []string
	ClientID         string
	From, To         string   // days, both included; "": open
	By               []string // any of "token", "client", "meter", "endpoint", "day"; none: one sum
}

// Event is one entry of the audit trail.
type Event struct {
	Seq   uint64    `json:"seq"` // grows within an owner; given by the Store
	At    time.Time `json:"at"`
	Owner string    `json:"owner"`
	// Actor is the token id of who did it; "client:<id>" for an Assumed caller; "" for the host itself.
	Actor  string          `json:"actor,omitempty"`
	From   string          `json:"from,omitempty"` // the network address, "" if not known
	Action string          `json:"action"`         // "token.issue", "role.update", …
	Object string          `json:"object"`         // the id of what it was done to
	Reason string          `json:"reason,omitempty"`
	Before json.RawMessage `json:"before,omitempty"` // the record, without secrets; nil: there was none
	After  json.RawMessage `json:"after,omitempty"`
}
