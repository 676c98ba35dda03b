package latchkey

import (
	"encoding/json"
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
	o.Extra = slices.Clone(o.Extra)
	return o
}

// ended reports whether the token is dead by mass revocation: by the clock of the machine that made it, or because it
// was committed before.
func (o *Owner) ended(t *Token) bool {
	return t.Created.Before(o.NotBefore) || t.OwnerVersion < o.Since
}
