package latchkey

import (
	"bytes"
	"encoding/json"
	"fmt"
	"maps"
	"net/netip"
	"slices"
	"time"

	"github.com/latchkey-go/latchkey/internal/strictjson"
)

// Kind is the kind of a token. It decides what the token may do and mint, and how its text begins.
type Kind uint8

const (
	// KindSecret may do everything of its owner, including the administration of latchkey. It takes no roles or rules.
	KindSecret Kind = iota + 1
	// KindPublishable may do what its roles and rules allow. It mints nothing. Its text is public: any page shows it.
	KindPublishable
	// KindAPIKey may do what its roles and rules allow.
	KindAPIKey
	// KindAccess is a minted token. It may never do more than its parent, and it always ends.
	KindAccess
	// KindSession may do what its roles and rules allow, and always ends.
	KindSession
)

var kindNames = [...]string{
	KindSecret:      "secret",
	KindPublishable: "publishable",
	KindAPIKey:      "api_key",
	KindAccess:      "access",
	KindSession:     "session",
}

// Valid reports whether k is one of the five kinds.
func (k Kind) Valid() bool { return k >= KindSecret && k <= KindSession }

// String returns the kind's name as JSON and databases hold it: "secret", "publishable", "api_key", "access" or
// "session". Any other value is shown as a number.
func (k Kind) String() string {
	if !k.Valid() {
		return fmt.Sprintf("kind(%d)", uint8(k))
	}
	return kindNames[k]
}

// MarshalText returns String for a valid kind, and ErrInvalid for any other: a kind that could not be read back is
// never written.
func (k Kind) MarshalText() ([]byte, error) {
	if !k.Valid() {
		return nil, fmt.Errorf("%w: no such kind: %d", ErrInvalid, uint8(k))
	}
	return []byte(kindNames[k]), nil
}

// UnmarshalText accepts exactly the five names. It returns ErrInvalid for any other text and leaves k as it was.
func (k *Kind) UnmarshalText(text []byte) error {
	for i := KindSecret; i <= KindSession; i++ {
		if kindNames[i] == string(text) {
			*k = i
			return nil
		}
	}
	return fmt.Errorf("%w: no such kind: %q", ErrInvalid, text)
}

// Token is the record of a token. It never holds the secret. It is a value: changing it changes nothing stored.
type Token struct {
	ID      string `json:"id"` // UUIDv7
	Owner   string `json:"owner"`
	Version uint64 `json:"version"` // 1 when created, one more with every change
	Kind    Kind   `json:"kind"`
	Test    bool   `json:"test,omitempty"` // accepted only by surfaces that are sandboxes
	// Parent is the token that minted this one, "" for an issued one. Depth is the number of its ancestors.
	Parent string `json:"parent,omitempty"`
	Depth  uint8  `json:"depth,omitempty"`
	// Origin is the surface that made the token ("cloudtables", "datocms"); empty: the host.
	Origin string `json:"origin,omitempty"`

	Settings

	// Client is the one that the token belongs to, given when it was issued or minted. Rows may refer to it.
	Client Client `json:"client,omitzero"`
	// Attributes are facts about who uses the token, given when it was issued or minted. Rows may refer to them.
	Attributes Attributes `json:"attributes,omitempty"`
	// ChildAttributes are names that a mint may set where the token has no value: see [Spec].
	ChildAttributes []string `json:"child_attributes,omitempty"`
	// Full is true for a minted token if its mint named neither roles nor permissions. The token may then do all that its
	// parent may do, within Rows. It is false for every other token.
	Full bool `json:"full,omitempty"`
	// Rows limits a minted token to rows that meet all of them. Empty: no limit of its own.
	Rows []Condition `json:"rows,omitempty"`
	// Forced holds values a minted token writes into every row it creates, over the caller's.
	Forced Values `json:"forced,omitempty"`

	Created time.Time `json:"created"` // microseconds, UTC, as every time of a record
	// OwnerVersion is the Version of the owner's record when the token was committed. It is an order that needs no clock:
	// see Owner.Since. 0: there was no record, or an earlier version of latchkey made the token.
	OwnerVersion uint64 `json:"owner_version,omitempty"`
	// Used is the last use, to about ten minutes or a twentieth of Validity.Idle. Zero: never used. The first use is
	// written within a second. Use of a token that this one minted does not count. [Account.Secrets] tells the last use of
	// each secret.
	Used    time.Time `json:"used,omitzero"`
	Revoked time.Time `json:"revoked,omitzero"` // zero: not revoked
	Reason  string    `json:"reason,omitempty"` // why it was revoked
	Hint    string    `json:"hint"`             // "ak_3f…9Qz": the first 5 and last 3 characters of the newest secret
	Public  string    `json:"public,omitempty"` // KindPublishable only: the text itself

	// Damaged reports that the stored record cannot be read: see [DamagedError]. The other fields may be shown to people,
	// and decide nothing. The token can do nothing until it is revoked or deleted.
	Damaged bool `json:"damaged,omitempty"`
}

// Clone returns a deep copy of t. Rules and conditions are immutable and stay shared.
func (t Token) Clone() Token {
	t.Roles = slices.Clone(t.Roles)
	t.RoleEnds = maps.Clone(t.RoleEnds)
	t.Permissions = slices.Clone(t.Permissions)
	t.Restrictions.Domains = slices.Clone(t.Restrictions.Domains)
	t.Restrictions.Addresses = slices.Clone(t.Restrictions.Addresses)
	t.Restrictions.MintFrom = slices.Clone(t.Restrictions.MintFrom)
	t.Limits = t.Limits.clone()
	t.Extra = slices.Clone(t.Extra)
	t.Rows = slices.Clone(t.Rows)
	t.Forced = maps.Clone(t.Forced)
	t.Attributes = t.Attributes.clone()
	t.ChildAttributes = slices.Clone(t.ChildAttributes)
	return t
}

// Settings are what an owner may change about a token after it was made. A [Spec] has the same fields.
type Settings struct {
	Name string `json:"name,omitempty"` // at most 256 bytes of valid UTF-8, no NUL

	// Roles are ids of roles of the same owner or of Options.Roles, each once. A token may do the union of what its roles
	// allow. [Account.Issue] and [Account.Update] also take names; the record has the ids.
	Roles []string `json:"roles,omitempty"`
	// RoleEnds says until when the token has some of its Roles, by id (or name, as Roles). From that moment on it does
	// not have the role, and neither has what it minted. The record keeps the name of the role. Nil: all are held for
	// good.
	RoleEnds map[string]time.Time `json:"role_ends,omitempty"`
	// Permissions are the token's own rules, applied to the union of its roles.
	Permissions Permissions `json:"permissions,omitempty"`

	Restrictions Restrictions `json:"restrictions,omitzero"`
	Limits       Limits       `json:"limits,omitzero"`
	Validity     Validity     `json:"validity,omitzero"`
	// Disabled is the off switch: Verify refuses the token and what it minted.
	Disabled bool            `json:"disabled,omitempty"`
	Extra    json.RawMessage `json:"extra,omitempty"` // the host's or the origin's; kept byte for byte
}

// Spec returns a Spec of a kind with the settings s. Its other fields are empty.
func (s Settings) Spec(kind Kind) Spec {
	return Spec{Kind: kind, Name: s.Name, Roles: s.Roles, RoleEnds: s.RoleEnds,
		Permissions: s.Permissions, Restrictions: s.Restrictions, Limits: s.Limits, Validity: s.Validity,
		Disabled: s.Disabled, Extra: s.Extra}
}

// Validity is when a token may be used. Both ends may be open. The token works before NotAfter, and not at it.
type Validity struct {
	NotBefore time.Time `json:"not_before,omitzero"` // zero: at once
	NotAfter  time.Time `json:"not_after,omitzero"`  // zero: no end (refused for kinds that always end)
	// Idle ends the token this long after its last use, or after its creation while it was not used. 0: no idle limit.
	// Another value below a second is [ErrInvalid].
	Idle time.Duration `json:"idle,omitempty"`
}

// Restrictions say where a token may be used. Each empty one restricts nothing. All but MintFrom also hold for what the
// token mints.
type Restrictions struct {
	// Domains that may appear in the Referer or Origin header. With a list, a request that names neither is refused.
	// This contains leaks into other web pages; it is no authentication.
	Domains   []string       `json:"domains,omitempty"`
	Addresses []netip.Prefix `json:"addresses,omitempty"` // the client's network address
	Signed    bool           `json:"signed,omitempty"`    // every request carries a signature; such a token may not mint
	MintFrom  []netip.Prefix `json:"mint_from,omitempty"` // addresses minting is allowed from; not inherited
}

// Client is a person or program that the host knows, in the host's own words. Per owner, the newest name given for an
// id wins.
type Client struct {
	ID   string `json:"id,omitempty"`   // at most 256 bytes
	Name string `json:"name,omitempty"` // at most 256 bytes
}

// Spec is what [Account.Issue] and [Account.Import] make a token from: its kind and its first [Settings].
type Spec struct {
	// ID is the id that the token gets: a UUIDv7 in lower case whose time lies within an hour of now. Empty: latchkey
	// makes one. Only the host gives one: an actor gets a *[DeniedError], and the JSON form of a Spec has no ID. An id
	// that the owner has is [ErrExists], and so is one that was given before and whose token is gone. So a host that keeps
	// the id first may repeat Issue after a crash: [Account.Rotate] then makes a secret that it can read.
	ID string `json:"-"`

	Kind   Kind   `json:"kind"`             // not KindAccess: that is minted
	Test   bool   `json:"test,omitempty"`   // KindSecret and KindPublishable only
	Origin string `json:"origin,omitempty"` // "" for the host; at most 64 bytes
	Name   string `json:"name,omitempty"`   // at most 256 bytes of valid UTF-8, no NUL

	// Roles are ids of roles of the same owner or of Options.Roles, each once. A token may do the union of what its roles
	// allow. [Account.Issue] and [Account.Update] also take names; the record has the ids.
	Roles []string `json:"roles,omitempty"`
	// RoleEnds says until when the token has some of its Roles, by id (or name, as Roles). From that moment on it does
	// not have the role, and neither has what it minted. The record keeps the name of the role. Nil: all are held for
	// good.
	RoleEnds map[string]time.Time `json:"role_ends,omitempty"`
	// Permissions are the token's own rules, applied to the union of its roles.
	Permissions Permissions `json:"permissions,omitempty"`

	Restrictions Restrictions `json:"restrictions,omitzero"`
	Limits       Limits       `json:"limits,omitzero"`
	Validity     Validity     `json:"validity,omitzero"`
	// Disabled is the off switch: Verify refuses the token and what it minted.
	Disabled bool            `json:"disabled,omitempty"`
	Extra    json.RawMessage `json:"extra,omitempty"` // the host's or the origin's; kept byte for byte

	// Client is the one that the token belongs to. What the token mints belongs to it, too. Zero: none.
	Client Client `json:"client,omitzero"`
	// Attributes are facts about who uses the token. What the token mints has them, too. Nil: none.
	Attributes Attributes `json:"attributes,omitempty"`
	// ChildAttributes are names of attributes that a mint may set, to any value, where the token has none. What the token
	// mints may pass them on. At most 16, each once. Nil: a mint adds no attribute.
	ChildAttributes []string `json:"child_attributes,omitempty"`
}

// settings returns the fields of s that Update may change later.
func (s *Spec) settings() Settings {
	return Settings{Name: s.Name, Roles: s.Roles, RoleEnds: s.RoleEnds,
		Permissions: s.Permissions, Restrictions: s.Restrictions, Limits: s.Limits, Validity: s.Validity,
		Disabled: s.Disabled, Extra: s.Extra}
}

// Narrowing is what [Access.Mint] and [Access.Narrow] reduce an Access by. Nothing in it can add a right.
type Narrowing struct {
	Origin string `json:"origin,omitempty"` // "" for the host; at most 64 bytes
	Name   string `json:"name,omitempty"`   // at most 256 bytes of valid UTF-8, no NUL

	// Roles are ids or names of roles the parent has. Nil, and no Permissions: all the parent may do. Empty but not nil
	// is ErrInvalid, and so is a role the parent lacks. With an Origin only ids are taken.
	Roles []string `json:"roles,omitzero"`
	// RoleEnds says until when the token has some of its Roles, as Settings.RoleEnds. An end after the parent's own is
	// clamped to it.
	RoleEnds    map[string]time.Time `json:"role_ends,omitempty"`
	Permissions Permissions          `json:"permissions,omitzero"`

	Restrictions Restrictions    `json:"restrictions,omitzero"`
	Limits       Limits          `json:"limits,omitzero"`
	Lifetime     time.Duration   `json:"lifetime,omitempty"` // for Mint a microsecond or more; clamped to the parent's end
	Idle         time.Duration   `json:"idle,omitempty"`     // as Validity.Idle; 0: no idle limit
	Extra        json.RawMessage `json:"extra,omitempty"`    // the host's or the origin's; kept byte for byte
	// Client is the one that the token belongs to. Zero: the parent's. A parent with a client gives no other one. A
	// parent without a client gives any, and then [ClientID] in the parent's rules stands for that client.
	Client Client `json:"client,omitzero"`
	// Attributes are added to the parent's. One that the parent has must be equal. Another must be named by the parent's
	// ChildAttributes. Nil: only the parent's.
	Attributes Attributes `json:"attributes,omitempty"`
	// Rows is AND-ed to everything the token may reach. Empty: no further limit.
	Rows []Condition `json:"rows,omitempty"`
	// Forced is written into each row it creates. References are filled in at once, with the values of the new token.
	Forced Values `json:"forced,omitempty"`
	// Stateless asks for a token that is not stored: its text says all, encrypted, and is longer. Nothing is written. It
	// needs a Keyring, lives for [MaxStateless] at most, and mints nothing. See docs/stateless.md.
	Stateless bool `json:"stateless,omitempty"`
}

// UnmarshalJSON reads a Spec strictly: see [Narrowing.UnmarshalJSON].
func (s *Spec) UnmarshalJSON(data []byte) error {
	type plain Spec
	var read plain
	if err := unmarshalMembers(data, &read); err != nil {
		return err
	}
	*s = Spec(read)
	return nil
}

// UnmarshalJSON reads a Narrowing strictly. A member that is null, unknown, repeated or written in another case is an
// error that wraps [ErrInvalid], and n stays as it was: to leave out what narrows would be all that the parent may do.
func (n *Narrowing) UnmarshalJSON(data []byte) error {
	type plain Narrowing
	var read plain
	if err := unmarshalMembers(data, &read); err != nil {
		return err
	}
	*n = Narrowing(read)
	return nil
}

// unmarshalMembers reads an object into v. Each member must be known, and none may be or hold null, but for forced
// values and Extra.
func unmarshalMembers(data []byte, v any) error {
	var members map[string]json.RawMessage
	if err := strictjson.Unmarshal(data, &members); err != nil {
		return fmt.Errorf("%w: %w", ErrInvalid, err)
	}
	if members == nil {
		return fmt.Errorf("%w: null is not an object", ErrInvalid)
	}
	for name, value := range members {
		null := string(bytes.TrimSpace(value)) == "null"
		if name != "forced" && name != "extra" {
			var read any
			null = json.Unmarshal(value, &read) != nil || holdsNull(read)
		}
		if null {
			return fmt.Errorf("%w: %.40q is or holds null: leave that out", ErrInvalid, name)
		}
	}
	if err := strictjson.Unmarshal(data, v); err != nil {
		return fmt.Errorf("%w: %w", ErrInvalid, err)
	}
	return nil
}

// holdsNull reports whether a value of JSON is null or has one in it.
func holdsNull(v any) bool {
	switch v := v.(type) {
	case nil:
		return true
	case []any:
		return slices.ContainsFunc(v, holdsNull)
	case map[string]any:
		for _, member := range v {
			if holdsNull(member) {
				return true
			}
		}
	}
	return false
}

// roleEnds says until when roles are held, by id.
type roleEnds = map[string]time.Time
