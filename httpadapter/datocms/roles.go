package datocms

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"slices"

	"github.com/latchkey-go/latchkey"
)

type roleResource struct {
	ID            string          `json:"id"`
	Type          string          `json:"type"`
	Attributes    json.RawMessage `json:"attributes"`
	Relationships struct {
		Inherits relationship `json:"inherits_permissions_from"`
	} `json:"relationships"`
	Meta struct {
		Final *permissions `json:"final_permissions"`
	} `json:"meta"`
}

// role returns a role of this surface. The caller must have been authorized.
func (c *call) role(id string) (latchkey.Role, error) {
	if !validID(id) {
		return latchkey.Role{}, latchkey.ErrNotFound
	}
	r, err := c.account.Role(c.r.Context(), id)
	if err == nil && r.Origin != Origin {
		err = latchkey.ErrNotFound
	}
	return r, err
}

// mayRead returns an error if the caller may not read roles.
func (c *call) mayRead(id string) error {
	if c.s.opts.OpenRoles {
		return nil
	}
	if !validID(id) {
		id = "any"
	}
	return c.access.Check(latchkey.Read, latchkey.Path("latchkey", "role", id))
}

func (c *call) renderRole(l *inheritance, r latchkey.Role) (roleResource, error) {
	out := roleResource{ID: r.ID, Type: "role"}
	final, err := l.resolve(c.r.Context(), r)
	if err != nil {
		return out, err
	}
	out.Meta.Final = final
	if out.Attributes, err = storedPermissions(r.Extra).marshal(r.Name); err != nil {
		return out, err
	}
	links := []linkage{}
	for _, id := range r.Inherits {
		links = append(links, linkage{id, "role"})
	}
	out.Relationships.Inherits.Data = links
	return out, nil
}

func (c *call) oneRole(status int, r latchkey.Role) (int, any, error) {
	out, err := c.renderRole(newInheritance(c.account), r)
	return status, out, err
}

// allRoles returns the roles of this surface, without damaged ones.
func (c *call) allRoles() ([]latchkey.Role, error) {
	origin := Origin
	var roles []latchkey.Role
	for r, err := range c.account.Roles(c.r.Context(), latchkey.RoleQuery{Origin: &origin}) {
		if damaged := (*latchkey.DamagedError)(nil); errors.As(err, &damaged) {
			continue // it cannot be shown
		} else if err != nil {
			return nil, err
		}
		roles = append(roles, r)
	}
	return roles, nil
}

func (c *call) listRoles() (int, any, error) {
	if err := c.mayRead(""); err != nil {
		return 0, nil, err
	}
	roles, err := c.allRoles()
	if err != nil {
		return 0, nil, err
	}
	l := newInheritance(c.account, roles...)
	list := []roleResource{}
	for _, r := range roles {
		out, err := c.renderRole(l, r)
		if err != nil {
			return 0, nil, err
		}
		list = append(list, out)
	}
	return http.StatusOK, list, nil
}

func (c *call) findRole() (int, any, error) {
	if err := c.mayRead(c.id); err != nil {
		return 0, nil, err
	}
	r, err := c.role(c.id)
	if err != nil {
		return 0, nil, err
	}
	return c.oneRole(http.StatusOK, r)
}

// roleBody is the body of create and update: the changes to make to a role.
type roleBody struct {
	attributes map[string]json.RawMessage
	name       *string
	inherits   *[]string
}

func (c *call) readRole(id string) (b roleBody, err error) {
	check := newChecker("role", id != "")
	required, optional := []string{"attributes"}, []string{"relationships", "meta"}
	if id != "" {
		required, optional = nil, append(optional, "attributes")
	}
	data, err := readData(c.r, check, "role", id, required, optional)
	if err != nil {
		return b, err
	}
	if raw, ok := data["attributes"]; ok {
		const at = "#/data/attributes"
		required, optional := []string{"name"}, slices.Concat(flagNames, []string{"environments_access"}, listNames)
		if id != "" {
			required, optional = nil, append(optional, "name")
		}
		b.attributes = check.object(raw, at, required, optional)
		if raw, ok := b.attributes["name"]; ok {
			name := check.text(raw, at+"/name")
			b.name = &name
		}
		newPermissions().read(check, b.attributes, at)
	}
	if raw, ok := data["meta"]; ok { // clients return what they received; it is ignored
		check.object(raw, "#/data/meta", nil, []string{"final_permissions"})
	}
	if raw, ok := data["relationships"]; ok {
		const at = "#/data/relationships/inherits_permissions_from"
		m := check.object(raw, "#/data/relationships", nil, []string{"inherits_permissions_from"})
		if raw, ok := m["inherits_permissions_from"]; ok {
			list := []string{}
			if m := check.object(raw, at, []string{"data"}, nil); m["data"] != nil {
				for i, one := range check.list(m["data"], at+"/data", maxParents) {
					list = append(list, check.link(one, at+"/data/"+itoa(i), "role"))
				}
			}
			b.inherits = &list
		}
	}
	if err := check.err(); err != nil {
		return b, err
	}
	if b.name != nil {
		if err := checkName("Role", *b.name); err != nil {
			return b, err
		}
	}
	if b.inherits != nil {
		for i, up := range *b.inherits {
			if up == id || slices.Contains((*b.inherits)[:i], up) {
				return b, errInherits
			}
			if _, err := c.role(up); errors.Is(err, latchkey.ErrNotFound) {
				return b, errInherits
			} else if err != nil {
				return b, err
			}
		}
	}
	return b, nil
}

var errInherits = refuseField("Role", "inherits_permissions_from", fieldInvalid)

// apply makes the changes of the body.
func (b *roleBody) apply(c *call, r *latchkey.Role) error {
	p := newPermissions()
	if r.ID != "" {
		p = storedPermissions(r.Extra)
	}
	check := newChecker("role", r.ID != "")
	p.read(check, b.attributes, "#/data/attributes")
	if err := check.err(); err != nil {
		return err
	}
	if b.name != nil {
		r.Name = *b.name
	}
	if b.inherits != nil {
		r.Inherits = *b.inherits
	}
	if err := p.apply(r, c.s.environments()[0], !c.s.opts.NegativesNotInherited); err != nil {
		return err
	}
	if err := r.Permissions.Validate(); err != nil {
		return refuseFormat("#/data/attributes: permissions that cannot be kept.")
	}
	return nil
}

// roleError maps an error of the account. Other errors of a request were refused before.
func roleError(err error) error {
	var known *refusal
	switch {
	case errors.As(err, &known):
		return err
	case errors.Is(err, latchkey.ErrExists):
		return refuseField("Role", "name", fieldUnique)
	case errors.Is(err, latchkey.ErrInvalid): // a cycle, or a role that was deleted meanwhile
		return errInherits
	case errors.Is(err, latchkey.ErrInUse):
		return refuse(http.StatusUnprocessableEntity, codeBound, err)
	}
	return err
}

func (c *call) createRole() (int, any, error) {
	account, err := c.admin(latchkey.Create, "role", "")
	if err != nil {
		return 0, nil, err
	}
	b, err := c.readRole("")
	if err != nil {
		return 0, nil, err
	}
	r := latchkey.Role{Origin: Origin}
	if err := b.apply(c, &r); err != nil {
		return 0, nil, err
	}
	if r, err = account.CreateRole(c.r.Context(), r); err != nil {
		return 0, nil, roleError(err)
	}
	return c.oneRole(http.StatusCreated, r)
}

func (c *call) updateRole() (int, any, error) {
	if err := c.mayRead(c.id); err != nil {
		return 0, nil, err
	}
	r, err := c.role(c.id)
	if err != nil {
		return 0, nil, err
	}
	account, err := c.admin(latchkey.Update, "role", r.ID)
	if err != nil {
		return 0, nil, err
	}
	b, err := c.readRole(r.ID)
	if err != nil {
		return 0, nil, err
	}
	r, err = account.UpdateRole(c.r.Context(), r.ID, func(r *latchkey.Role) error { return b.apply(c, r) })
	if err != nil {
		return 0, nil, roleError(err)
	}
	return c.oneRole(http.StatusOK, r)
}

func (c *call) duplicateRole() (int, any, error) {
	if err := c.mayRead(c.id); err != nil {
		return 0, nil, err
	}
	r, err := c.role(c.id)
	if err != nil {
		return 0, nil, err
	}
	account, err := c.admin(latchkey.Create, "role", "")
	if err != nil {
		return 0, nil, err
	}
	if _, err := readBody(c.r); err != nil {
		return 0, nil, err
	}
	roles, err := c.allRoles()
	if err != nil {
		return 0, nil, err
	}
	name := r.Name
	r.ID, r.Owner, r.Version = "", "", 0
	// Compiled again: Recompile may have run since r was read.
	storedPermissions(r.Extra).applyRules(&r, c.s.environments()[0], !c.s.opts.NegativesNotInherited)
	for n, tries := 1, 0; ; n++ {
		r.Name = name + fmt.Sprintf(duplicateSuffix, n)
		if slices.ContainsFunc(roles, func(other latchkey.Role) bool { return other.Name == r.Name }) {
			continue
		}
		if err := checkName("Role", r.Name); err != nil {
			return 0, nil, err
		}
		made, err := account.CreateRole(c.r.Context(), r)
		if errors.Is(err, latchkey.ErrExists) { // it is being duplicated concurrently
			if tries++; tries < maxTries {
				continue
			}
			err = latchkey.ErrConflict // the caller did not choose the name, so it may retry
		}
		if err != nil {
			return 0, nil, roleError(err)
		}
		return c.oneRole(http.StatusCreated, made)
	}
}

func (c *call) destroyRole() (int, any, error) {
	if err := c.mayRead(c.id); err != nil {
		return 0, nil, err
	}
	r, err := c.role(c.id)
	if err != nil {
		return 0, nil, err
	}
	account, err := c.admin(latchkey.Delete, "role", r.ID)
	if err != nil {
		return 0, nil, err
	}
	if _, err := readBody(c.r); err != nil {
		return 0, nil, err
	}
	status, out, err := c.oneRole(http.StatusOK, r)
	if err != nil {
		return 0, nil, err
	}
	if err := account.DeleteRole(c.r.Context(), r.ID); err != nil {
		return 0, nil, roleError(err)
	}
	return status, out, nil
}
