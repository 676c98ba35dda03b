package latchkey

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"
)

// maxRoleID is how long the id of a role may be, in bytes.
const maxRoleID = 64

// codePrefix begins the ids of the roles of Options.Roles. Those of stored roles are UUIDs, and sort before it.
const codePrefix = "code:"

// isCodeID reports whether an id has the form of those of Options.Roles.
func isCodeID(id string) bool { return strings.HasPrefix(id, codePrefix) }

// Role is a named set of permissions of one owner, or one of Options.Roles, which hold for every owner. A role is its
// own rules applied to the union of the roles it inherits. Names are unique within owner and origin, byte for byte.
//
// A name that the host gives to a role must not equal that of another one but for case (by Unicode's simple folding)
// and for the spaces between words. It must not begin or end with a space, hold a control or an invisible character,
// or look like an id. Roles that have an Origin are not bound by that, nor are names that are stored already. Two
// callers that make such roles at the same moment may both succeed: only equal bytes are refused then. Other
// look-alikes, such as letters of different alphabets, are not refused.
type Role struct {
	ID      string `json:"id"`
	Owner   string `json:"owner"`
	Version uint64 `json:"version"` // 1 when created, one more with every change
	Name    string `json:"name"`    // 1 to 256 bytes of valid UTF-8, no NUL

	// Origin is the surface that made the role ("datocms", "webforce"); empty: the host.
	Origin string `json:"origin,omitempty"`

	// Inherits holds ids of roles of the same owner, or of Options.Roles. A cycle is refused when the role is saved. So
	// are more than 256 ids, and more than 1000 roles with all that they inherit and the role itself. A role of the host
	// may be given with names in place of ids: see [Account.CreateRole].
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

// Coded reports whether r is one of Options.Roles. Such a role has no Owner and the Version 0. It is not stored, and
// changes with a deploy.
func (r Role) Coded() bool { return isCodeID(r.ID) }

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
