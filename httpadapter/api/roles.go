package api

import (
	"encoding/json"
	"errors"
	"net/http"

	"github.com/latchkey-go/latchkey"
	"github.com/latchkey-go/latchkey/httpadapter"
)

// Role is a role as replies show it.
type Role struct {
	latchkey.Role
	// It is one of the program's: it is read-only, and changes with a deploy.
	Coded bool `json:"coded,omitempty"`
}

func (r Role) record() (any, uint64) { return r, r.Version }

func roleOf(r latchkey.Role) Role { return Role{r, r.Coded()} }

// NewRole is what a role is made from, and what may be changed about it.
type NewRole struct {
	// 1 to 256 bytes. No two roles have names that differ by case and spaces alone.
	Name string `json:"name"`
	// Ids or names of roles whose rules it has, too. The record has ids.
	Inherits []string `json:"inherits,omitempty"`
	// Deny rules of inherited roles apply once more, after its own rules.
	InheritDenies bool `json:"inherit_denies,omitempty"`
	// Its rules, in order.
	Permissions latchkey.Permissions `json:"permissions,omitempty"`
	// A ceiling on what it gives. Absent: none. Empty: only what inherited boundaries let through.
	Boundary latchkey.Permissions `json:"boundary,omitzero"`
	// Any JSON of the host's, kept byte for byte.
	Extra json.RawMessage `json:"extra,omitempty"`
}

var roleFilter = []parameter{
	{name: "id", kind: listParameter, text: "Ids, with commas between."},
	{name: "name", text: "The name, byte for byte."},
	{name: "origin", text: "Roles that this surface made, such as datocms. Empty: the host's own."},
	{name: "inherits", text: "Roles that inherit this one directly, by its id or name."},
}

func (c *call) listRoles(*none) (List[Role], error) {
	page, err := c.page()
	if err != nil {
		return List[Role]{}, err
	}
	q := c.query.roles()
	q.Page = page
	l, err := c.account.RolesPage(c.ctx(), q)
	return list(c, l, roleOf), err
}

func (q query) roles() latchkey.RoleQuery {
	all := latchkey.RoleQuery{IDs: q.list("id"), Origin: q.pointer("origin"), Inherits: q["inherits"]}
	if q.has("name") {
		all.Names = []string{q["name"]}
	}
	return all
}

func (in *NewRole) role() latchkey.Role {
	return latchkey.Role{Name: in.Name, Inherits: in.Inherits, InheritDenies: in.InheritDenies,
		Permissions: in.Permissions, Boundary: in.Boundary, Extra: in.Extra}
}

func (c *call) createRole(in *NewRole) (Role, error) {
	r, err := c.carryOut().CreateRole(c.ctx(), in.role())
	if err != nil {
		return Role{}, err
	}
	c.w.Header().Set("Location", c.locate("roles", r.ID))
	return roleOf(r), nil
}

func (c *call) getRole(*none) (Role, error) {
	r, err := c.account.Role(c.ctx(), c.id())
	if _, damaged := errors.AsType[*latchkey.DamagedError](err); damaged && r.ID == c.id() {
		err = nil // what is left of it, so that it can be replaced
	}
	return roleOf(r), err
}

// writable returns an error for a role that no caller can change.
func (c *call) writable() error {
	if !(latchkey.Role{ID: c.id()}).Coded() {
		return nil
	}
	if _, err := c.account.Role(c.ctx(), c.id()); err != nil {
		return err
	}
	return httpadapter.Refusal(problem(http.StatusForbidden, "read-only", "Forbidden",
		"The role is one of the program's, and changes with a deploy."), nil)
}

func (c *call) updateRole(*NewRole) (Role, error) {
	patch, err := c.readPatch()
	if err == nil {
		err = c.writable()
	}
	if err != nil {
		return Role{}, err
	}
	if !c.readable() {
		return Role{}, latchkey.ErrNotFound // the reply would show it
	}
	r, err := c.account.UpdateRole(c.ctx(), c.id(), func(r *latchkey.Role) error {
		edited := NewRole{r.Name, r.Inherits, r.InheritDenies, r.Permissions, r.Boundary, r.Extra}
		if err := patch.apply(&edited); err != nil {
			return err
		}
		r.Name, r.Inherits, r.InheritDenies = edited.Name, edited.Inherits, edited.InheritDenies
		r.Permissions, r.Boundary = edited.Permissions, edited.Boundary
		if patch.has("extra") { // another one stays as it is, byte for byte
			r.Extra = edited.Extra
		}
		return nil
	})
	return roleOf(r), c.hidden(err)
}

func (c *call) deleteRole(*none) (none, error) {
	if err := c.writable(); err != nil {
		return none{}, err
	}
	return none{}, c.hidden(c.account.DeleteRole(c.ctx(), c.id()))
}

func roleOperations() []*operation {
	return []*operation{
		handle(operation{id: "listRoles", method: http.MethodGet, path: "/roles", tag: "role",
			summary: "List roles", text: "Oldest first, then those of the program. Only those that the caller may read.",
			query: params(roleFilter, pageParameters)}, (*call).listRoles),
		handle(operation{id: "createRole", method: http.MethodPost, path: "/roles", tag: "role",
			summary: "Make a role", status: http.StatusCreated, once: true, versioned: true}, (*call).createRole),
		handle(operation{id: "getRole", method: http.MethodGet, path: "/roles/{id}", tag: "role",
			summary: "Read a role", versioned: true}, (*call).getRole),
		handle(operation{id: "updateRole", method: http.MethodPatch, path: "/roles/{id}", tag: "role",
			summary: "Change a role", text: "A JSON Merge Patch (RFC 7396): null removes a member. Every token that has the " +
				"role follows the new rules at once. The caller must be able to read it, too.",
			merge: true, versioned: true, ifMatch: true}, (*call).updateRole),
		handle(operation{id: "deleteRole", method: http.MethodDelete, path: "/roles/{id}", tag: "role",
			summary: "Delete a role", text: "Not while another role inherits it or a token names it.",
			ifMatch: true}, (*call).deleteRole),
	}
}
