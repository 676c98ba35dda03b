package rolefile

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/latchkey-go/latchkey"
)

// ErrChanged reports that a record changed since the plan was made. It wraps latchkey.ErrConflict. A new plan shows
// what it is now.
var ErrChanged = fmt.Errorf("%w: it has changed since the plan was made", latchkey.ErrConflict)

// Apply carries the plan out. It writes each record only if it is as it was when the plan was made, and stops at the
// first that is not, or that is refused. Report is told of what was done. What was done stays done: a plan that is made
// anew has what is left.
//
// Roles are written after those that they inherit. A boundary that lets less through is written before them, and every
// other one after them.
func (p *Plan) Apply(ctx context.Context, accounts Accounts, report func(done string)) error {
	if p.Blocked() {
		return fmt.Errorf("%w: a role that is to be deleted is still held", latchkey.ErrInUse)
	}
	for i := range p.Owners {
		o := &p.Owners[i]
		account, err := accounts(o.Owner)
		if err == nil {
			err = o.apply(ctx, account, func(format string, args ...any) {
				report(fmt.Sprintf("owner %q: ", o.Owner) + fmt.Sprintf(format, args...))
			})
		}
		if err != nil {
			return fmt.Errorf("owner %q: %w", o.Owner, err)
		}
	}
	return nil
}

func (p *OwnerPlan) apply(ctx context.Context, account latchkey.Account, report func(string, ...any)) error {
	first := p.changesRecord && p.narrows()
	if first {
		if err := p.applyRecord(ctx, account, report); err != nil {
			return err
		}
	}
	made := map[string]string{} // the ids of new roles, by name
	for i := range p.Roles {
		if err := p.Roles[i].apply(ctx, account, made, report); err != nil {
			return fmt.Errorf("role %q: %w", p.Roles[i].Name(), err)
		}
	}
	if p.changesRecord && !first {
		return p.applyRecord(ctx, account, report)
	}
	return nil
}

// narrows reports whether the new boundary lets no more through than the old one.
func (p *OwnerPlan) narrows() bool {
	switch {
	case p.New.Boundary == nil:
		return p.Old.Boundary == nil
	case p.Old.Boundary == nil:
		return true
	}
	return p.New.Boundary.Within(p.Old.Boundary)
}

func (p *OwnerPlan) applyRecord(ctx context.Context, account latchkey.Account, report func(string, ...any)) error {
	err := account.Configure(ctx, func(o *latchkey.Owner) error {
		if o.Version != p.Old.Version {
			return ErrChanged
		}
		o.Boundary, o.Limits, o.Policy = p.New.Boundary, p.New.Limits, p.New.Policy
		return nil
	})
	if err != nil {
		return fmt.Errorf("what holds for all tokens: %w", err)
	}
	report("changed what holds for all tokens")
	return nil
}

func (c *RoleChange) apply(ctx context.Context, account latchkey.Account, made map[string]string,
	report func(string, ...any)) error {
	if c.Verb == Delete {
		return c.remove(ctx, account, report)
	}
	want := c.New.Clone()
	want.Inherits = nil
	for _, of := range c.inherits {
		if of.newName != "" {
			of.id = made[of.newName]
		}
		want.Inherits = append(want.Inherits, of.id)
	}
	if c.Verb == Create {
		r, err := account.CreateRole(ctx, want)
		if errors.Is(err, latchkey.ErrExists) {
			return fmt.Errorf("%w: %w", ErrChanged, err)
		}
		if err != nil {
			return err
		}
		made[r.Name] = r.ID
		report("created role %q (%s)", r.Name, r.ID)
		return nil
	}
	_, err := account.UpdateRole(ctx, c.Old.ID, func(r *latchkey.Role) error {
		if r.Version != c.Old.Version {
			return ErrChanged
		}
		r.Inherits, r.InheritDenies, r.Permissions = want.Inherits, want.InheritDenies, want.Permissions
		r.Boundary, r.Extra = want.Boundary, want.Extra
		return nil
	})
	if errors.Is(err, latchkey.ErrNotFound) {
		return fmt.Errorf("%w: %w", ErrChanged, err)
	}
	if err == nil {
		report("changed role %q (%s)", c.Old.Name, c.Old.ID)
	}
	return err
}

// remove deletes a role that is as it was. A change in the moment between is lost with the role: it deletes by id.
func (c *RoleChange) remove(ctx context.Context, account latchkey.Account, report func(string, ...any)) error {
	r, err := account.Role(ctx, c.Old.ID)
	switch {
	case errors.Is(err, latchkey.ErrNotFound):
		report("role %q was deleted already", c.Old.Name)
		return nil
	case err != nil:
		return err
	case r.Version != c.Old.Version:
		return ErrChanged
	}
	if err := account.DeleteRole(ctx, r.ID); err != nil {
		return err
	}
	report("deleted role %q (%s)", r.Name, r.ID)
	return nil
}

// Export returns the roles of owners, and what holds for their tokens, as a file. Roles that a surface made are left
// out.
func Export(ctx context.Context, accounts Accounts, owners ...string) (File, error) {
	f := File{Owners: map[string]Owner{}}
	for _, id := range owners {
		account, err := accounts(id)
		if err != nil {
			return f, err
		}
		stored, err := readRoles(ctx, account)
		if err != nil {
			return f, fmt.Errorf("owner %q: %w", id, err)
		}
		record, err := account.Record(ctx)
		if err != nil {
			return f, fmt.Errorf("owner %q: %w", id, err)
		}
		o := Owner{Boundary: &record.Boundary, Limits: &record.Limits, Policy: &record.Policy}
		for r, err := range account.Roles(ctx, latchkey.RoleQuery{}) {
			if err != nil {
				return f, fmt.Errorf("owner %q: %w", id, err)
			}
			if r.Origin != "" || r.Coded() {
				continue
			}
			for i, up := range r.Inherits {
				r.Inherits[i] = stored.name(up)
				if _, both := stored.byID[latchkey.CodeRoleID(r.Inherits[i])]; both {
					r.Inherits[i] = up // an older role has the name of one of the application
				}
			}
			slices.Sort(r.Inherits)
			o.Roles = append(o.Roles, r)
		}
		if o.Roles, err = byInheritance(o.Roles); err != nil {
			return f, fmt.Errorf("owner %q: %w", id, err)
		}
		f.Owners[id] = o
	}
	return f, nil
}
