package latchkey

import (
	"encoding/json"
	"fmt"
	"slices"
)

// Role is a named set of permissions of one owner. A role is its own rules applied to the union of the roles it
// inherits. Names are unique within owner and origin, byte for byte.
type Role struct {
	ID      string `json:"id"`
	Owner   string `json:"owner"`
	Version uint64 `json:"version"` // 1 when created, one more with every change
	Name    string `json:"name"`    // 1 to 256 bytes of valid UTF-8, no NUL

	// Origin is the surface that made the role ("datocms", "webforce"); empty: the host.
	Origin string `json:"origin,omitempty"`

	// Inherits holds ids of roles of the same owner. A cycle is refused when the role is saved.
	Inherits []string `json:"inherits,omitempty"`

	// InheritDenies applies the Deny rules of the roles it inherits, directly or not, once more, after its own rules.
	InheritDenies bool `json:"inherit_denies,omitempty"`

	Permissions Permissions `json:"permissions,omitempty"`

	// Boundary is a ceiling on what the role gives to a token that names it. Of its rules and those it inherits, the role
	// gives a row only if a boundary allows it: its own, or that of a role it inherits, directly or not. So several
	// boundaries form a union. A role that is only inherited may pass on rules that it gives to no token
	// itself.
	//
	// Nil: no boundary, and those of the inherited roles do not matter. Empty but not nil: the role gives only what the
	// inherited boundaries let through. A boundary forces no values. Like any rules it reaches "latchkey/…" only through a
	// pattern that begins so.
	Boundary Permissions `json:"boundary,omitzero"`

	// Extra belongs to the host or to the surface named by Origin. It is kept byte for byte.
	Extra json.RawMessage `json:"extra,omitempty"`

	// Damaged reports that the stored record cannot be read: see [DamagedError]. A token that has the role, or one that
	// inherits it, may do nothing until [Account.UpdateRole] has replaced it. A new role has it false.
	Damaged bool `json:"damaged,omitempty"`
}

// Validate returns what is wrong with a role by itself. That is ErrInvalid, or ErrBadCondition for the conditions and
// forced values of its rules. ID, Owner and Version are not checked. CreateRole and UpdateRole check the rest: whether
// the inherited roles exist and form no cycle, and whether the name is free.
func (r Role) Validate() error {
	if err := checkText("role name", r.Name, 1, maxName); err != nil {
		return err
	}
	if err := checkText("role origin", r.Origin, 0, maxOrigin); err != nil {
		return err
	}
	if len(r.Inherits) > maxInherits {
		return fmt.Errorf("%w: role inherits more than %d roles", ErrInvalid, maxInherits)
	}
	for i, id := range r.Inherits {
		switch {
		case id == "":
			return fmt.Errorf("%w: role inherits a role without an id", ErrInvalid)
		case id == r.ID:
			return fmt.Errorf("%w: role inherits itself", ErrInvalid)
		case slices.Contains(r.Inherits[:i], id):
			return fmt.Errorf("%w: role inherits %.80q twice", ErrInvalid, id)
		}
	}
	if err := r.Permissions.Validate(); err != nil {
		return fmt.Errorf("role permissions: %w", err)
	}
	if err := r.Boundary.Validate(); err != nil {
		return fmt.Errorf("role boundary: %w", err)
	}
	if slices.ContainsFunc(r.Boundary, func(r Rule) bool { return len(r.forced) > 0 }) {
		return fmt.Errorf("%w: role boundary: a rule that forces values", ErrInvalid)
	}
	return checkExtra(r.Extra)
}

// Clone returns a deep copy of r. Rules are immutable and stay shared. A nil Boundary stays nil and an empty one stays
// empty.
func (r Role) Clone() Role {
	r.Inherits = slices.Clone(r.Inherits)
	r.Permissions = slices.Clone(r.Permissions)
	r.Boundary = slices.Clone(r.Boundary)
	r.Extra = slices.Clone(r.Extra)
	return r
}
