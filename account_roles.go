package latchkey

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"slices"
)

// CreateRole stores a new role; its ID, Owner and Version are given to it and must be empty. [ErrExists] if the name is
// taken within the origin; [ErrInvalid] for a malformed role or one that inherits an unknown one.
func (a Account) CreateRole(ctx context.Context, r Role) (Role, error) {
	if r.ID != "" || r.Owner != "" || r.Version != 0 {
		return Role{}, fmt.Errorf("%w: ID, Owner and Version of a new role are given to it", ErrInvalid)
	}
	var out Role
	err := retry(func() (err error) {
		out, err = a.createRole(ctx, r)
		return err
	})
	return out, err
}

func (a Account) createRole(ctx context.Context, r Role) (Role, error) {
	c, err := a.begin(ctx)
	if err != nil {
		return Role{}, err
	}
	r = r.Clone()
	r.Owner = a.owner
	if r.ID, err = a.m.newRecordID(a.m.now()); err != nil {
		return Role{}, err
	}
	var w Write
	if err := a.checkRole(ctx, &r, &w); err != nil {
		return Role{}, err
	}
	if err := c.check(Create, "role", r.ID); err != nil {
		return Role{}, err
	}
	if err := c.coversRole(ctx, r, nil, Create); err != nil {
		return Role{}, err
	}
	w.Roles = []Role{r}
	c.announceHeir(r, &w)
	r.Version = 1
	if err := c.write(ctx, w, Event{Action: "role.create", Object: r.ID, After: auditJSON(r)}); err != nil {
		return Role{}, err
	}
	return r, nil
}

// checkRole refuses a role that is malformed, inherits an unknown role or, by whatever way round, itself. What it
// inherits must not change before the role is written.
func (a Account) checkRole(ctx context.Context, r *Role, w *Write) error {
	if err := r.Validate(); err != nil {
		return err
	}
	for _, up := range r.Inherits {
		if up == r.ID {
			return fmt.Errorf("%w: role %q inherits itself", ErrInvalid, r.Name)
		}
		known, err := a.m.roleClosure(ctx, a.owner, nil, up)
		if errors.Is(err, ErrNotFound) {
			return fmt.Errorf("%w: role %q inherits an unknown role %q: a role is named by its ID", ErrInvalid, r.Name, up)
		} else if err != nil {
			return err
		}
		for id, k := range known {
			if id == r.ID {
				return fmt.Errorf("%w: role %q inherits itself, by way of role %q", ErrInvalid, r.Name, k.Name)
			}
			ref := Ref{ID: id, Version: k.Version}
			if !containsRef(w.RequireRoles, ref) {
				w.RequireRoles = append(w.RequireRoles, ref)
			}
		}
	}
	return nil
}

func containsRef(refs []Ref, r Ref) bool {
	for _, x := range refs {
		if x == r {
			return true
		}
	}
	return false
}

// Role reads a role. [ErrNotFound] if there is none.
func (a Account) Role(ctx context.Context, id string) (Role, error) {
	c, err := a.begin(ctx)
	if err != nil {
		return Role{}, err
	}
	if c.check(Read, "role", id) != nil {
		return Role{}, ErrNotFound
	}
	return a.m.store.Role(ctx, a.owner, id)
}

// Roles lists roles, oldest first, reading page by page as the loop goes on; Limit is the size of a page. The loop ends
// after an error.
func (a Account) Roles(ctx context.Context, q RoleQuery) iter.Seq2[Role, error] {
	return func(yield func(Role, error) bool) {
		c, err := a.begin(ctx)
		if err != nil {
			yield(Role{}, err)
			return
		}
		pages(q.Page, func(p Page) ([]Role, error) {
			q.Page = p
			return a.m.store.Roles(ctx, a.owner, q)
		}, func(r Role) string { return r.ID }, func(r Role, err error) bool {
			if err == nil && c.check(Read, "role", r.ID) != nil {
				return true
			}
			return yield(r, err)
		})
	}
}

// UpdateRole changes a role; every token that has it answers by the new rules before UpdateRole returns. ID, Owner,
// Origin and Version are for reading. When somebody else changes the role meanwhile, edit is called again on the newer
// one; to refuse that, return [ErrConflict] when Version is not the one your form showed. An error of edit is returned
// as it is. Who acts must have all that the tokens with this role may do. [ErrNotFound] if there is no such role,
// [ErrExists] if the name is taken, [ErrInvalid] for a malformed role, one that inherits an unknown one, and a cycle.
func (a Account) UpdateRole(ctx context.Context, id string, edit func(*Role) error) (Role, error) {
	var out Role
	err := retry(func() error {
		c, err := a.begin(ctx)
		if err != nil {
			return err
		}
		if err := c.check(Update, "role", id); err != nil {
			return err
		}
		old, err := a.m.store.Role(ctx, a.owner, id)
		if err != nil {
			return err
		}
		r := old.Clone()
		if err := edit(&r); err != nil {
			return &editError{err}
		}
		if r.ID != old.ID || r.Owner != old.Owner || r.Origin != old.Origin || r.Version != old.Version {
			return fmt.Errorf("%w: UpdateRole changes no ID, Owner, Origin or Version", ErrInvalid)
		}
		r = r.Clone()
		var w Write
		if err := a.checkRole(ctx, &r, &w); err != nil {
			return err
		}
		if err := c.coversHolders(ctx, old, &r, Update); err != nil {
			return err
		}
		if err := c.coversRole(ctx, r, nil, Update); err != nil {
			return err
		}
		w.Roles = []Role{r}
		c.announceHeir(r, &w)
		out = r
		out.Version++
		return c.write(ctx, w, Event{Action: "role.update", Object: id, Before: auditJSON(old), After: auditJSON(out)})
	})
	if err != nil {
		return Role{}, err
	}
	return out, nil
}

// DeleteRole removes a role. [ErrInUse] while another role inherits it or a token names it, tokens that are revoked or
// were minted not counted: those lose it.
func (a Account) DeleteRole(ctx context.Context, id string) error {
	return retry(func() error {
		c, err := a.begin(ctx)
		if err != nil {
			return err
		}
		if err := c.check(Delete, "role", id); err != nil {
			return err
		}
		r, err := a.m.store.Role(ctx, a.owner, id)
		if err != nil {
			return err
		}
		if err := c.coversHolders(ctx, r, nil, Delete); err != nil {
			return err
		}
		w := Write{DeleteRoles: []Ref{{ID: id, Version: r.Version}}}
		return c.write(ctx, w, Event{Action: "role.delete", Object: id, Before: auditJSON(r)})
	})
}

// announceHeir makes whoever is about to change a role that r inherits look again who inherits it: her write requires the
// owner's record as it was. (A role inherited is required by whoever writes an heir, but no heir by whoever changes it.)
func (c *act) announceHeir(r Role, w *Write) {
	if c.acts && len(r.Inherits) != 0 {
		o := c.found.Owner
		w.OwnerRecord = &o
	}
}

// coversRole refuses a role that allows more than who acts may do, or would if a role it inherits were as becomes says.
func (c *act) coversRole(ctx context.Context, r Role, becomes *Role, action Action) error {
	if !c.acts {
		return nil
	}
	l := layer{roles: []string{r.ID}}
	up := layer{roles: r.Inherits}
	if becomes != nil {
		up.roles = slices.Concat(r.Inherits, becomes.Inherits)
	}
	known, err := c.m.rolesOf(ctx, c.owner, &compiled{anyRole: true}, []layer{up})
	if err != nil {
		return err
	}
	all := map[string]Role{}
	for id, v := range known {
		all[id] = v
	}
	if becomes != nil {
		all[becomes.ID] = *becomes
	}
	all[r.ID] = r
	return c.covers(newPolicy([]layer{l}, all), action, "role", r.ID)
}

// coversHolders refuses a role that a token holds, directly or through other roles, which may do more than who acts. It
// refuses becomes, when not nil, if a role that inherits it might then give more than it did and becomes gives: one that
// applies Denies again, for taking a Deny away adds nothing to the role itself; and where there are boundaries, for an heir
// without one takes over what those of becomes, or of an heir that applies Denies again, hold back, and its own may let
// through what they add.
func (c *act) coversHolders(ctx context.Context, r Role, becomes *Role, action Action) error {
	if !c.acts {
		return nil
	}
	if err := c.coversRole(ctx, r, nil, action); err != nil {
		return err
	}
	seen := map[string]bool{r.ID: true}
	var heirs []Role
	for queue := []string{r.ID}; len(queue) > 0; queue = queue[1:] {
		var fail error
		pages(Page{}, func(p Page) ([]Token, error) {
			return c.m.store.Tokens(ctx, c.owner, TokenQuery{Page: p, Role: queue[0]})
		}, func(t Token) string { return t.ID }, func(t Token, err error) bool {
			if err == nil && t.Parent == "" && t.Revoked.IsZero() {
				err = c.coversToken(ctx, &t, nil, action)
			}
			fail = err
			return err == nil
		})
		if fail != nil {
			return fail
		}
		pages(Page{}, func(p Page) ([]Role, error) {
			return c.m.store.Roles(ctx, c.owner, RoleQuery{Page: p, Inherits: queue[0]})
		}, func(r Role) string { return r.ID }, func(r Role, err error) bool {
			if err == nil && !seen[r.ID] {
				seen[r.ID] = true
				queue, heirs = append(queue, r.ID), append(heirs, r)
			}
			fail = err
			return err == nil
		})
		if fail != nil {
			return fail
		}
	}
	if becomes == nil {
		return nil
	}
	all := becomes.Boundary != nil || slices.ContainsFunc(heirs, func(r Role) bool { return r.InheritDenies && r.Boundary != nil })
	for _, r := range heirs {
		if all || r.InheritDenies || r.Boundary != nil {
			if err := c.coversRole(ctx, r, becomes, action); err != nil {
				return err
			}
		}
	}
	return nil
}
