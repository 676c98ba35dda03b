package latchkey

import (
	"encoding/json"
	"fmt"
	"slices"
	"time"
)

// Owner is the record of an account: what all of its tokens together may do. By default there is none.
type Owner struct {
	ID       string `json:"id"`
	Version  uint64 `json:"version"`            // 0: no record
	Disabled bool   `json:"disabled,omitempty"` // Verify refuses every token of the owner until this is false again
	// Boundary is a ceiling for every token of the owner, of whatever kind. Nil: none. Empty but not nil allows nothing.
	// Like any rules it reaches "latchkey/…" only through a pattern that begins so.
	Boundary Permissions `json:"boundary,omitzero"`
	Limits   Limits      `json:"limits,omitzero"`
	Policy   OwnerPolicy `json:"policy,omitzero"` // what tokens may be made; zero: no rule
	// NotBefore is mass revocation in one row: tokens created before it are dead. See [Account.Configure].
	NotBefore time.Time `json:"not_before,omitzero"`
	// Since is the Version of this record that ended every token committed before it, whatever any clock said. A token
	// with a lower Token.OwnerVersion is dead. 0: none is. [Account.Configure] sets it when NotBefore moves to now.
	Since uint64          `json:"since,omitempty"`
	Extra json.RawMessage `json:"extra,omitempty"` // the host's; kept byte for byte
	// Damaged reports that the stored record cannot be read: see [DamagedError]. Boundary is then empty and not nil, which
	// lets nothing through.
	Damaged bool `json:"damaged,omitempty"`
}

// MarshalJSON writes the record. An Extra that is not JSON, which a program of an earlier version may have kept, is
// written as a text: its base64.
func (o Owner) MarshalJSON() ([]byte, error) {
	type plain Owner
	if len(o.Extra) != 0 && !json.Valid(o.Extra) {
		text, err := json.Marshal([]byte(o.Extra))
		if err != nil {
			return nil, err
		}
		o.Extra = text
	}
	return json.Marshal(plain(o))
}

// Clone returns a deep copy of o. Rules are immutable and stay shared. A nil Boundary stays nil and an empty one stays
// empty.
func (o Owner) Clone() Owner {
	o.Boundary = slices.Clone(o.Boundary)
	o.Limits = o.Limits.clone()
	o.Policy.Kinds = slices.Clone(o.Policy.Kinds)
	o.Extra = slices.Clone(o.Extra)
	return o
}

// ended reports whether the token is dead by mass revocation: by the clock of the machine that made it, or because it
// was committed before.
func (o *Owner) ended(t *Token) bool {
	return t.Created.Before(o.NotBefore) || t.OwnerVersion < o.Since
}

// OwnerPolicy says which tokens may be made for an owner. It holds for everyone, the host included, when a token is
// issued, imported, minted or updated. Each zero field is no rule. Only the host sets it, by [Account.Configure].
//
// It ends no token. One that was made before a rule stays as it is, and counts. Update of such a token may leave a
// field that the rule is about. A field that it changes must keep to the rule.
//
// Programs of earlier versions cannot read the record of an owner with a policy, and refuse that owner's tokens. Set
// one when no such program is left.
type OwnerPolicy struct {
	// MaxLifetime is the longest time from Token.Created to Validity.NotAfter. A token with a later end, or none, is
	// refused with [ErrPolicy]. A mint is not refused: it ends at that time at the latest. At least a microsecond.
	MaxLifetime time.Duration `json:"max_lifetime,omitempty"`
	// MaxIdle is the longest Validity.Idle. A token with a longer one, or none, is refused with [ErrPolicy]. A mint is
	// not refused: it gets this one. At least a second.
	MaxIdle time.Duration `json:"max_idle,omitempty"`
	// Tokens is how many issued and imported tokens may live at once. One more is [ErrTooMany]. At most 1,000,000.
	//
	// A token lives until it is revoked or deleted, NotAfter has come, or it is known to have idled out: a twentieth of
	// Idle, and at least a second, after its IdleEnd. Mass revocation ends it too. A disabled token lives: it can be
	// enabled again. Whether the tokens that it was minted from live does not matter. A token that no longer lives gives
	// its place to the next that needs one. An Update that lets a dead token live again needs a place too.
	Tokens int `json:"tokens,omitempty"`
	// Children is how many tokens minted from one token, directly, may live at once. Otherwise it is as Tokens.
	Children int `json:"children,omitempty"`
	// Kinds are the kinds that may be made, each once. Another one is refused with [ErrPolicy]. Minting makes
	// [KindAccess]. Nil: all. Empty but not nil is [ErrInvalid].
	Kinds []Kind `json:"kinds,omitempty"`
	// MintRight demands of a token that mints the right [Mint] on "latchkey/token/<its id>". A secret key has it.
	MintRight bool `json:"mint_right,omitempty"`
	// ClientRight demands of a token without a client that mints for one the right [Give] on "latchkey/client/<its id>". A
	// secret key has it. Without this rule such a token may mint for any client: see [Access.Mint]. [Access.Narrow] is the
	// host's own, and does not ask.
	ClientRight bool `json:"client_right,omitempty"`
	// AuditMints leaves an event "token.mint" in the audit trail for each mint, with the parent as its actor.
	AuditMints bool `json:"audit_mints,omitempty"`
}

// maxLive is the highest number of live tokens that a policy can bound: they may have to be counted in a transaction.
const maxLive = 1_000_000

// check returns an error for a policy that cannot be enforced. It truncates times to the precision that stores keep.
func (p *OwnerPolicy) check() error {
	switch {
	case p.MaxLifetime != 0 && p.MaxLifetime < time.Microsecond:
		return fmt.Errorf("%w: Policy.MaxLifetime must be a microsecond or more, or 0 for no rule", ErrInvalid)
	case p.MaxIdle != 0 && p.MaxIdle < time.Second:
		return fmt.Errorf("%w: Policy.MaxIdle must be a second or more, or 0 for no rule", ErrInvalid)
	case p.Tokens < 0 || p.Tokens > maxLive:
		return fmt.Errorf("%w: Policy.Tokens must be 1 to %d, or 0 for no rule", ErrInvalid, maxLive)
	case p.Children < 0 || p.Children > maxLive:
		return fmt.Errorf("%w: Policy.Children must be 1 to %d, or 0 for no rule", ErrInvalid, maxLive)
	case p.Kinds != nil && len(p.Kinds) == 0:
		return fmt.Errorf("%w: Policy.Kinds is empty: pass nil for all kinds", ErrInvalid)
	}
	for i, k := range p.Kinds {
		if !k.Valid() {
			return fmt.Errorf("%w: Policy.Kinds: no such kind: %d", ErrInvalid, uint8(k))
		}
		if slices.Contains(p.Kinds[:i], k) {
			return fmt.Errorf("%w: Policy.Kinds names %s twice", ErrInvalid, k)
		}
	}
	p.MaxLifetime, p.MaxIdle = p.MaxLifetime.Truncate(time.Microsecond), p.MaxIdle.Truncate(time.Microsecond)
	return nil
}

// checkKind returns ErrDenied for a kind that may not be made.
func (p *OwnerPolicy) checkKind(k Kind) error {
	if p.Kinds == nil || slices.Contains(p.Kinds, k) {
		return nil
	}
	return fmt.Errorf("%w: %w allows no %s tokens (Owner.Policy.Kinds)", ErrDenied, ErrPolicy, k)
}

// checkValidity returns ErrInvalid if a token that was made at created may not have what v says of its end. From is
// what it had before, nil for a new token: what stays the same is not checked.
func (p *OwnerPolicy) checkValidity(created time.Time, v, from *Validity) error {
	if p.MaxLifetime != 0 && (from == nil || !v.NotAfter.Equal(from.NotAfter)) {
		if last := created.Add(p.MaxLifetime); v.NotAfter.IsZero() || v.NotAfter.After(last) {
			return fmt.Errorf("%w: %w lets a token live for %s after it was made (Owner.Policy.MaxLifetime): set NotAfter, to "+
				"%s at the latest", ErrInvalid, ErrPolicy, p.MaxLifetime, last.Format(time.RFC3339Nano))
		}
	}
	if p.MaxIdle != 0 && (from == nil || v.Idle != from.Idle) && (v.Idle == 0 || v.Idle > p.MaxIdle) {
		return fmt.Errorf("%w: %w lets a token idle for %s (Owner.Policy.MaxIdle): set Validity.Idle, to that at most",
			ErrInvalid, ErrPolicy, p.MaxIdle)
	}
	return nil
}

// clampMint returns the lifetime and the idle limit that a mint gets.
func (p *OwnerPolicy) clampMint(lifetime, idle time.Duration) (time.Duration, time.Duration) {
	if p.MaxLifetime != 0 {
		lifetime = min(lifetime, p.MaxLifetime)
	}
	if p.MaxIdle != 0 && (idle == 0 || idle > p.MaxIdle) {
		idle = p.MaxIdle
	}
	return lifetime, idle
}

// live returns what bounds the live tokens that were minted from parent, or were issued if parent is empty. It returns
// nil if the policy does not bound them. Now is in µs.
func (o *Owner) live(parent string, now int64) *LiveLimit {
	most := o.Policy.Tokens
	if parent != "" {
		most = o.Policy.Children
	}
	if most == 0 {
		return nil
	}
	return &LiveLimit{Parent: parent, Max: most, Now: fromMicros(now), OwnerVersion: o.Version, NotBefore: o.NotBefore,
		Since: o.Since}
}
