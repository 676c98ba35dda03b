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

	// Boundary is a ceiling on what the role gives to a token that names it: of what its rules say, with those it inherits,
	// only what its Boundary or that of a role it inherits, directly or not, lets through. So boundaries are inherited like
	// grants, they add up; and a role meant only to be inherited may pass on rules that it gives to nobody itself. Nil:
	// none, and those of the roles it inherits say nothing. Empty but not nil: it gives nothing but what those let through.
	// A boundary forces no values. Like any rules it reaches "latchkey/…" only through a pattern that begins so.
	Boundary Permissions `json:"boundary,omitzero"`

	// Extra belongs to the host or to the surface named by Origin. It is kept byte for byte.
	Extra json.RawMessage `json:"extra,omitempty"`

	// Damaged says that the stored record cannot be read: see [DamagedError]. Who has the role, or one that inherits it,
	// may do nothing until [Account.UpdateRole] has replaced it. A new role has it false.
	Damaged bool `json:"damaged,omitempty"`
}

// Validate says what is wrong with a role by itself: ErrInvalid, or ErrBadCondition for the conditions and forced values
// of its rules. Whether the roles it inherits exist and form no cycle, and whether its name is free, shows when it is
// saved. ID, Owner and Version are not looked at.
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

// Clone returns a copy that shares nothing changeable with r. A nil Boundary stays nil and an empty one stays empty.
func (r Role) Clone() Role {
	r.Inherits = slices.Clone(r.Inherits)
	r.Permissions = slices.Clone(r.Permissions)
	r.Boundary = slices.Clone(r.Boundary)
	r.Extra = slices.Clone(r.Extra)
	return r
}
