package api

import (
	"encoding/json"
	"errors"
	"time"

	"github.com/latchkey-go/latchkey"
)

// Limits are what a token or an owner may spend and how often it may call. In latchkey's own JSON a single quota may be
// written as "credits"; here all are quotas, so that a merge patch has one meaning.
type Limits struct {
	// What may be spent in each period; at most eight.
	Quotas []latchkey.Quota `json:"quotas,omitempty"`
	// How often the token is accepted, in each process separately.
	Rate latchkey.Rate `json:"rate,omitzero"`
}

// Token is a token as replies show it.
type Token struct {
	latchkey.Token
	// Absent: the stored record cannot be read.
	Kind latchkey.Kind `json:"kind,omitzero"`
	// What the token may spend, and how often it may call.
	Limits Limits `json:"limits,omitzero"`
	// Why the token is refused now, whatever a request brings along: a reason such as revoked, disabled, expired,
	// not_yet_valid, parent, owner_disabled or damaged. Absent: it is not refused.
	Refused string `json:"refused,omitempty"`
}

func (t Token) record() (any, uint64) { return t, t.Version }

// Settings are what may be changed about a token.
type Settings struct {
	// At most 256 bytes.
	Name string `json:"name,omitempty"`
	// Ids or names of roles. The record has ids.
	Roles []string `json:"roles,omitempty"`
	// Until when the token has some of its roles, by id or name as in roles.
	RoleEnds map[string]time.Time `json:"role_ends,omitempty"`
	// The token's own rules, in order, applied to the union of its roles.
	Permissions latchkey.Permissions `json:"permissions,omitempty"`

	// Where the token may be used.
	Restrictions latchkey.Restrictions `json:"restrictions,omitzero"`
	// What it may spend, and how often it may call.
	Limits Limits `json:"limits,omitzero"`
	// When it may be used.
	Validity latchkey.Validity `json:"validity,omitzero"`
	// The off switch. What the token minted is off, too.
	Disabled bool `json:"disabled,omitempty"`
	// Any JSON of the host's, kept byte for byte.
	Extra json.RawMessage `json:"extra,omitempty"`
}

func settingsOf(s latchkey.Settings) Settings {
	return Settings{Name: s.Name, Roles: s.Roles, RoleEnds: s.RoleEnds, Permissions: s.Permissions,
		Restrictions: s.Restrictions, Limits: Limits(s.Limits), Validity: s.Validity, Disabled: s.Disabled, Extra: s.Extra}
}

func (s *Settings) settings() latchkey.Settings {
	return latchkey.Settings{Name: s.Name, Roles: s.Roles, RoleEnds: s.RoleEnds, Permissions: s.Permissions,
		Restrictions: s.Restrictions, Limits: latchkey.Limits(s.Limits), Validity: s.Validity, Disabled: s.Disabled,
		Extra: s.Extra}
}

// NewToken is what a token is issued from. It names no id, owner, origin or version: these are not the caller's.
type NewToken struct {
	// Any but access: access tokens are minted.
	Kind latchkey.Kind `json:"kind"`
	// A test token, which sandboxes alone accept. Secret and publishable keys only.
	Test bool `json:"test,omitempty"`
	Settings
	// The client that the token belongs to.
	Client latchkey.Client `json:"client,omitzero"`
	// Facts about who uses the token, which rules may refer to. They never change.
	Attributes latchkey.Attributes `json:"attributes,omitempty"`
	// Names of attributes that a mint may set.
	ChildAttributes []string `json:"child_attributes,omitempty"`
}

func (n *NewToken) spec() latchkey.Spec {
	s := n.settings()
	spec := s.Spec(n.Kind)
	spec.Test, spec.Client, spec.Attributes, spec.ChildAttributes = n.Test, n.Client, n.Attributes, n.ChildAttributes
	return spec
}

// Made is the reply to a request that makes a token.
type Made struct {
	Token Token `json:"token"` // The token.
	// The text of the token. It is shown this once. Absent after an import, whose client has it already.
	Secret string `json:"secret,omitempty"`
}

func (m Made) record() (any, uint64) { return m.Token, m.Token.Version }

// Secret is the reply that holds the text of a secret.
type Secret struct {
	// The text.
	Secret string `json:"secret"`
}

// List is one page.
type List[T any] struct {
	Items []T `json:"items"` // The items of the page, in the order of the list.
	// The cursor of the page that follows. Absent: there is none.
	Next string `json:"next,omitempty"`
}

// list makes a page of what the store listed.
func list[From, To any](c *call, l latchkey.Listing[From], show func(From) To) List[To] {
	out := List[To]{Items: make([]To, len(l.Items)), Next: c.cursor(l.Next)}
	for i, item := range l.Items {
		out.Items[i] = show(item)
	}
	return out
}

func shown(t latchkey.Token, refused error) Token {
	return Token{Token: t, Kind: t.Kind, Limits: Limits(t.Limits), Refused: reasonOf(refused)}
}

// tokens returns tokens as replies show them.
func (c *call) tokens(list ...latchkey.Token) ([]Token, error) {
	refused, err := c.account.Refusals(c.ctx(), list...)
	if err != nil {
		return nil, err
	}
	out := make([]Token, len(list))
	for i, t := range list {
		out[i] = shown(t, refused[t.ID])
	}
	return out, nil
}

// token returns one token as replies show it.
func (c *call) token(t latchkey.Token) (Token, error) {
	list, err := c.tokens(t)
	if err != nil {
		return Token{}, err
	}
	return list[0], nil
}

// reasonOf returns why a token is refused, in one word, "" for nil.
func reasonOf(err error) string {
	if err == nil {
		return ""
	}
	if _, damaged := errors.AsType[*latchkey.DamagedError](err); damaged {
		return "damaged"
	}
	return latchkey.ReasonOf(err)
}
