package latchkey

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"iter"
	"maps"
	"slices"
)

// CreateRole stores a new role. Its ID, Owner, Version and Damaged must be empty: CreateRole sets them. It returns
// [ErrExists] if the name is taken within the origin, or is that of another role of the host but for case and spaces:
// see [Role]. Roles of Options.Roles count as the host's. It returns [ErrInvalid] for a malformed role, and for one
// that inherits an unknown role.
//
// Without an Origin, Inherits may name roles as [Account.Issue] takes them. The stored role has ids.
func (a Account) CreateRole(ctx context.Context, r Role) (Role, error) {
	if r.ID != "" || r.Owner != "" || r.Version != 0 || r.Damaged {
		return Role{}, fmt.Errorf("%w: ID, Owner, Version and Damaged of a new role must be empty", ErrInvalid)
	}
	var out Role
	err := retry(ctx, func() (err error) {
		out, err = a.createRole(ctx, r)
		return err
	})
	return out, err
}

// Role reads a role. It returns [ErrNotFound] if there is none. Of a damaged role it returns what is left, with a
// [*DamagedError].
func (a Account) Role(ctx context.Context, id string) (Role, error) {
	c, err := a.beginReading(ctx)
	if err != nil {
		return Role{}, err
	}
	if c.check(Read, "role", id) != nil {
		return Role{}, ErrNotFound
	}
	r, err := a.roleEvenDamaged(ctx, id)
	if err == nil && r.Damaged {
		err = damagedRole(&r)
	}
	return r, err
}

// EnsureRole makes the stored role with the Name and the Origin of r what r says, and returns it. It reports whether
// that changed anything. If the role is as r says already, EnsureRole writes nothing: no event, and no epoch.
// Otherwise it creates the role, or updates the one that there is, by [Account.CreateRole] or [Account.UpdateRole] and
// with their errors. It can be called with each start of a program, and at the same moment by several: the calls end
// with one role. If they say different things, the last one holds, so programs that are deployed one after the other
// may each change it.
//
// ID, Owner, Version and Damaged must be empty. For an existing role an actor needs update on it, also if nothing
// changes.
func (a Account) EnsureRole(ctx context.Context, r Role) (_ Role, changed bool, err error) {
	if r.ID != "" || r.Owner != "" || r.Version != 0 || r.Damaged {
		return Role{}, false, fmt.Errorf("%w: ID, Owner, Version and Damaged of a role to ensure must be empty", ErrInvalid)
	}
	if err := r.Validate(); err != nil {
		return Role{}, false, err
	}
	r = r.Clone()
	for try := 1; ; try++ {
		id, err := a.roleNamed(ctx, r.Name, r.Origin)
		switch {
		case errors.Is(err, ErrNotFound):
			made, err := a.CreateRole(ctx, r)
			if !errors.Is(err, ErrExists) || try >= conflictTries {
				return made, err == nil, err
			}
			if _, again := a.roleNamed(ctx, r.Name, r.Origin); again != nil {
				return Role{}, false, err // the name is taken by a role of another spelling
			}
		case err != nil:
			return Role{}, false, err
		default:
			out, changed, err := a.updateRole(ctx, id, func(old *Role) error {
				old.Inherits, old.InheritDenies, old.Permissions = r.Inherits, r.InheritDenies, r.Permissions
				old.Boundary, old.Extra = r.Boundary, r.Extra
				return nil
			}, sameRole)
			if !errors.Is(err, ErrNotFound) || try >= conflictTries {
				return out, changed, err
			}
		}
	}
}

// roleNamed returns the id of the stored role with a name and an origin. It returns ErrNotFound if there is none.
func (a Account) roleNamed(ctx context.Context, name, origin string) (id string, err error) {
	list, err := a.m.store.Roles(ctx, a.owner, RoleQuery{Names: []string{name}, Origin: &origin})
	if err != nil {
		return "", err
	}
	for _, r := range list {
		if r.Name == name && r.Origin == origin {
			return r.ID, nil
		}
	}
	return "", ErrNotFound
}

// sameRole reports whether an edit leaves a role as it was, but for the order of Inherits.
func sameRole(old, r *Role) bool {
	return !old.Damaged && old.Name == r.Name && old.InheritDenies == r.InheritDenies &&
		slices.Equal(slices.Sorted(slices.Values(old.Inherits)), slices.Sorted(slices.Values(r.Inherits))) &&
		(len(old.Permissions)+len(r.Permissions) == 0 || samePermissions(old.Permissions, r.Permissions)) &&
		(old.Boundary == nil) == (r.Boundary == nil) && samePermissions(old.Boundary, r.Boundary) &&
		bytes.Equal(old.Extra, r.Extra)
}

// Roles lists roles, oldest first, and then those of Options.Roles, by id. It reads page by page as the loop goes on:
// Limit is the size of a page. Of a damaged role it yields what is left, at least its ID, with a [*DamagedError], and
// goes on. The loop ends after any other error.
func (a Account) Roles(ctx context.Context, q RoleQuery) iter.Seq2[Role, error] {
	return func(yield func(Role, error) bool) {
		c, err := a.beginReading(ctx)
		if err != nil {
			yield(Role{}, err)
			return
		}
		if q.Inherits, err = c.resolveQuery(ctx, q.Inherits, q.Origin); err != nil {
			yield(Role{}, err)
			return
		}
		pages(q.Page, a.readRoles(ctx, q), func(r Role) string { return r.ID }, func(r Role, err error) bool {
			if err == nil && c.check(Read, "role", r.ID) != nil {
				return true
			}
			if err == nil && r.Damaged {
				r, err = withoutRights(r), damagedRole(&r)
			}
			return yield(r, err)
		})
	}
}

// readRoles returns a function that reads a page of the roles that q selects: stored ones, and then those of
// Options.Roles, whose ids sort behind.
func (a Account) readRoles(ctx context.Context, q RoleQuery) func(Page) ([]Role, error) {
	return func(p Page) (list []Role, err error) {
		if q.Page = p; !isCodeID(p.After) {
			if list, err = a.m.store.Roles(ctx, a.owner, q); err != nil {
				return nil, err
			}
			list = slices.DeleteFunc(list, func(r Role) bool { return r.Coded() }) // no store has such a role
		}
		for _, r := range a.m.code.list {
			if len(list) < p.Size() && r.ID > p.After && q.Match(r) {
				list = append(list, r.Clone())
			}
		}
		return list, nil
	}
}

// RolesPage is one page of [Account.Roles], those of Options.Roles included. A damaged role stands among the others:
// see [Listing].
func (a Account) RolesPage(ctx context.Context, q RoleQuery) (Listing[Role], error) {
	c, err := a.beginReading(ctx)
	if err != nil {
		return Listing[Role]{}, err
	}
	if q.Inherits, err = c.resolveQuery(ctx, q.Inherits, q.Origin); err != nil {
		return Listing[Role]{}, err
	}
	l, err := listing(q.Page, a.readRoles(ctx, q), func(r Role) string { return r.ID },
		func(r Role) bool { return c.check(Read, "role", r.ID) == nil })
	for i, r := range l.Items {
		if r.Damaged {
			l.Items[i] = withoutRights(r)
		}
	}
	return l, err
}

// UpdateRole changes a role. Every token that has it follows the new rules before UpdateRole returns. ID, Owner, Origin
// and Version are for reading. An actor must have all that the role allows, and all that the tokens and roles that have
// it allow, before and after.
//
// If the role changes meanwhile, edit is called again with the newer one. To refuse that, return [ErrConflict] when
// Version is not the one that was shown to the user. An error of edit is returned as it is. A damaged role is replaced
// wholly: edit gets what [Account.Role] returns, which inherits nothing and denies everything, and sets all that is to
// hold.
//
// It returns [ErrNotFound] if there is no such role and [ErrExists] if the name is taken. It returns [ErrInvalid] for a
// malformed role, for one that inherits an unknown role, and for a cycle.
func (a Account) UpdateRole(ctx context.Context, id string, edit func(*Role) error) (Role, error) {
	out, _, err := a.updateRole(ctx, id, edit, nil)
	return out, err
}

// updateRole is UpdateRole. If same is not nil and returns true for the role before and after the edit, nothing is
// written. It reports whether something was.
func (a Account) updateRole(ctx context.Context, id string, edit func(*Role) error,
	same func(old, r *Role) bool) (out Role, changed bool, err error) {
	err = retry(ctx, func() error {
		c, err := a.begin(ctx)
		if err != nil {
			return err
		}
		if err := c.check(Update, "role", id); err != nil {
			return err
		}
		if isCodeID(id) {
			return a.fixedRole(id)
		}
		old, err := a.roleEvenDamaged(ctx, id)
		if err != nil {
			return err
		}
		if err := a.checkVersion(old.Version); err != nil {
			return err
		}
		r := old.Clone()
		if err := edit(&r); err != nil {
			return &editError{err}
		}
		r.Damaged = false // the edit replaces it
		if r.ID != old.ID || r.Owner != old.Owner || r.Origin != old.Origin || r.Version != old.Version {
			return fmt.Errorf("%w: UpdateRole cannot change ID, Owner, Origin or Version", ErrInvalid)
		}
		r = r.Clone()
		if err := c.resolveInherits(ctx, &r, old.Inherits); err != nil {
			return err
		}
		if same != nil && same(&old, &r) {
			out, changed = old, false
			return nil
		}
		if r.Name != old.Name {
			if err := c.checkRoleName(ctx, &r); err != nil {
				return err
			}
		}
		var w Write
		if err := a.checkRole(ctx, &old, &r, &w); err != nil {
			return err
		}
		check := a.m.checkSaved(r.Origin)
		if err := check.role(&old, &r); err != nil {
			return err
		}
		if err := c.checkHolders(ctx, old, &r, Update); err != nil {
			return err
		}
		if err := c.checkRoleRights(ctx, r, nil, Update); err != nil {
			return err
		}
		w.Roles = []Role{r}
		out, changed = r, true
		out.Version++
		err = c.write(ctx, w, Event{Action: "role.update", Object: id, Before: auditJSON(old), After: auditJSON(out)})
		if err == nil {
			check.saved(ctx)
		}
		return err
	})
	if err != nil {
		return Role{}, false, err
	}
	return out, changed, nil
}

// fixedRole returns the error for a change of a role of Options.Roles.
func (a Account) fixedRole(id string) error {
	if _, ok := a.m.code.byID[id]; !ok {
		return &missingRoleError{id}
	}
	return fmt.Errorf("%w: role %q is one of Options.Roles, and changes with the program that lists it", ErrInvalid, id)
}

// resolveInherits replaces the names of roles by ids in a role of the host. What is in known is an id already.
func (c *call) resolveInherits(ctx context.Context, r *Role, known []string) (err error) {
	if r.Origin == "" && len(r.Inherits) <= maxInherits {
		r.Inherits, err = c.m.resolveRoles(ctx, c.owner, r.Inherits, known, c.mayShow)
	}
	return err
}

// checkRoleName returns an error for a new name of a role of the host that people could mistake for another one. It
// reads all roles of the host.
func (c *call) checkRoleName(ctx context.Context, r *Role) error {
	if r.Origin != "" {
		return nil
	}
	if err := checkNewRoleName(r.Name); err != nil {
		return err
	}
	taken := func(other Role) error {
		by := ""
		if c.mayShow(other) {
			by = fmt.Sprintf(" by role %q (%s)", other.Name, other.ID)
		}
		return fmt.Errorf("%w: the name %q is taken%s: case and the spaces between words do not tell names apart", ErrExists,
			r.Name, by)
	}
	if other, ok := c.m.CodeRoleNamed(r.Name); ok {
		return taken(other)
	}
	fold, host := foldName(r.Name), ""
	var fail error
	pages(Page{Limit: 1000}, func(p Page) ([]Role, error) {
		return c.m.store.Roles(ctx, c.owner, RoleQuery{Page: p, Origin: &host})
	}, func(r Role) string { return r.ID }, func(other Role, err error) bool {
		if fail = err; err == nil && other.ID != r.ID && foldName(other.Name) == fold {
			fail = taken(other)
		}
		return fail == nil
	})
	return fail
}

// DeleteRole removes a role. It returns [ErrInUse] while another role inherits it or a token names it. Revoked and
// minted tokens do not count: they lose the role.
func (a Account) DeleteRole(ctx context.Context, id string) error {
	return retry(ctx, func() error {
		c, err := a.begin(ctx)
		if err != nil {
			return err
		}
		if err := c.check(Delete, "role", id); err != nil {
			return err
		}
		if isCodeID(id) {
			return a.fixedRole(id)
		}
		r, err := a.roleEvenDamaged(ctx, id)
		if errors.Is(err, ErrNotFound) {
			a.m.markStale(a.owner) // another process may have deleted it
		}
		if err != nil {
			return err
		}
		if err := a.checkVersion(r.Version); err != nil {
			return err
		}
		if err := c.checkHolders(ctx, r, nil, Delete); err != nil {
			return err
		}
		w := Write{DeleteRoles: []Ref{{ID: id, Version: r.Version}}}
		return c.write(ctx, w, Event{Action: "role.delete", Object: id, Before: auditJSON(r)})
	})
}

// createRole is one try of CreateRole.
func (a Account) createRole(ctx context.Context, r Role) (Role, error) {
	c, err := a.begin(ctx)
	if err != nil {
		return Role{}, err
	}
	r = r.Clone()
	r.Owner = a.owner
	if r.ID, err = a.m.ids.NewText(a.m.expiryNow()); err != nil {
		return Role{}, err
	}
	// Checked first, so that an actor without the right learns nothing about roles.
	if err := c.check(Create, "role", r.ID); err != nil {
		return Role{}, err
	}
	if err := c.checkRoleName(ctx, &r); err != nil {
		return Role{}, err
	}
	if err := c.resolveInherits(ctx, &r, nil); err != nil {
		return Role{}, err
	}
	var w Write
	if err := a.checkRole(ctx, nil, &r, &w); err != nil {
		return Role{}, err
	}
	check := a.m.checkSaved(r.Origin)
	if err := check.role(&Role{}, &r); err != nil {
		return Role{}, err
	}
	if err := c.checkRoleRights(ctx, r, nil, Create); err != nil {
		return Role{}, err
	}
	w.Roles = []Role{r}
	r.Version = 1
	if err := c.write(ctx, w, Event{Action: "role.create", Object: r.ID, After: auditJSON(r)}); err != nil {
		return Role{}, err
	}
	check.saved(ctx)
	return r, nil
}

// checkRole returns an error for a role that is malformed, that inherits an unknown role or too many, or that inherits
// itself, directly or not. It also returns one if the rows of the role, or of a role that inherits it, would be too
// large together. It adds to w that what the role inherits must not change before the write. Old is what the role was,
// nil for a new one: rules that stay as they are are not checked again, nor is how many roles they inherit.
func (a Account) checkRole(ctx context.Context, old, r *Role, w *Write) error {
	if err := r.Validate(); err != nil {
		return err
	}
	all := map[string]Role{r.ID: *r}
	for _, up := range r.Inherits {
		if up == r.ID {
			return fmt.Errorf("%w: role %q inherits itself", ErrInvalid, r.Name)
		}
		known, err := a.m.roleClosure(ctx, a.owner, nil, up)
		if errors.Is(err, ErrNotFound) {
			return fmt.Errorf("role %q inherits an unknown one: %w", r.Name, unknownRoleID(up, err))
		} else if err != nil {
			return err
		}
		for id, k := range known {
			if id == r.ID {
				return fmt.Errorf("%w: role %q inherits itself, by way of role %q", ErrInvalid, r.Name, k.Name)
			}
			all[id] = k
			ref := Ref{ID: id, Version: k.Version}
			if !slices.Contains(w.RequireRoles, ref) {
				w.RequireRoles = append(w.RequireRoles, ref)
			}
		}
	}
	if id := missingRole(nil, all); id != "" {
		return lacksRole(id)
	}
	if old != nil && slices.Equal(old.Inherits, r.Inherits) && old.InheritDenies == r.InheritDenies &&
		(old.Boundary == nil) == (r.Boundary == nil) &&
		samePermissions(old.Permissions, r.Permissions) && samePermissions(old.Boundary, r.Boundary) {
		return nil
	}
	if len(all) > maxRoles {
		return tooManyInherited()
	}
	alone := []layer{{roles: []string{r.ID}}}
	is := a.m.newPolicy(alone, all)
	if err := is.checkSize(ctx); err != nil {
		return fmt.Errorf("role %q: %w", r.Name, err)
	}
	if old == nil {
		return nil // no role inherits it yet
	}
	// The old role, with what it inherits now. What else it inherited made it no smaller.
	was := maps.Clone(all)
	was[r.ID] = *old
	if is.size().noLargerThan(a.m.newPolicy(alone, was).size()) {
		return nil
	}
	for heir, err := range a.heirs(ctx, r.ID) {
		if err != nil {
			return err
		}
		heirs := []layer{{roles: []string{heir.ID}}}
		before, err := a.m.rolesOf(ctx, a.owner, &compiled{anyRole: true}, heirs)
		if err != nil {
			return err
		}
		after := maps.Clone(before)
		maps.Copy(after, all)
		if err := a.m.newPolicy(heirs, after).checkSize(ctx); err != nil {
			if a.m.newPolicy(heirs, before).checkSize(ctx) != nil {
				continue // it was too large before: rules can still be taken away
			}
			return fmt.Errorf("role %q, which inherits role %q: %w", heir.Name, r.Name, err)
		}
	}
	return nil
}

// heirs yields the roles that inherit a role, directly or not, each once. It ends after an error.
func (a Account) heirs(ctx context.Context, id string) iter.Seq2[Role, error] {
	return func(yield func(Role, error) bool) {
		seen := map[string]bool{id: true}
		for queue := []string{id}; len(queue) > 0; queue = queue[1:] {
			on := true
			pages(Page{}, func(p Page) ([]Role, error) {
				return a.m.store.Roles(ctx, a.owner, RoleQuery{Page: p, Inherits: queue[0]})
			}, func(r Role) string { return r.ID }, func(r Role, err error) bool {
				if err == nil {
					if seen[r.ID] {
						return true
					}
					seen[r.ID] = true
					queue = append(queue, r.ID)
				}
				on = yield(r, err) && err == nil
				return on
			})
			if !on {
				return
			}
		}
	}
}

// roleEvenDamaged is loadEvenDamaged for a role.
func (a Account) roleEvenDamaged(ctx context.Context, id string) (Role, error) {
	r, err := a.m.role(ctx, a.owner, id)
	if isDamaged(err) && r.ID == id && r.Owner == a.owner && r.Version != 0 {
		r.Damaged = true
		return withoutRights(r), nil
	}
	return r, err
}

// withoutRights returns a damaged role as it is shown, and as an edit that changes nothing writes it. It denies
// everything, also to the roles that inherit it, because what it denied before is lost.
func withoutRights(r Role) Role {
	r.Inherits, r.Boundary, r.Permissions = nil, nil, Permissions{Deny(Any).On("*", "latchkey/*")}
	return r
}
