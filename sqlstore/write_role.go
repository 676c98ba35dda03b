package sqlstore

import (
	"slices"

	"github.com/latchkey-go/latchkey"
)

func (t *tx) putRoles(p *plan, c *changeSet) error {
	owner := p.w.Owner
	for i := range p.w.Roles {
		if err := t.putRole(owner, &p.w.Roles[i], p.roles[i]); err != nil {
			return err
		}
		if len(p.w.Roles) > 1 { // one may take the name that another gives up
			if err := t.runMerged(); err != nil {
				return err
			}
		}
		c.add(latchkey.ChangedRole, p.w.Roles[i].ID)
	}
	return nil
}

func (t *tx) putRole(owner string, role *latchkey.Role, args []any) error {
	check := func(n int64) error {
		if n == 1 {
			return nil
		}
		return t.whyNotPut(owner, role)
	}
	var err error
	if role.Version == 0 {
		err = t.insertLater(`INSERT INTO latchkey_roles (owner, id, version, origin, name, inherit_denies, extra, body)
			VALUES (?, ?, 1, ?, ?, ?, ?, ?)`, append([]any{owner, role.ID}, args...), check)
	} else {
		err = t.updateRole(owner, role, args, check)
	}
	if err != nil {
		return err
	}
	return t.putNames(roleInheritsNames, owner, role.ID, role.Inherits, role.Version == 0)
}

// updateRole updates a role, unless it changed or its name is taken.
func (t *tx) updateRole(owner string, role *latchkey.Role, args []any, check func(n int64) error) error {
	text := `UPDATE latchkey_roles SET version = version + 1, origin = ?, name = ?, inherit_denies = ?, extra = ?,
		body = ? WHERE owner = ? AND id = ? AND version = ?`
	args = append(slices.Clone(args), owner, role.ID, int64(role.Version))
	if t.dialect().isDuplicateKey != nil { // MySQL cannot read the table that it updates
		return t.insertLater(text, args, check)
	}
	return t.later(text+` AND NOT EXISTS (SELECT 1 FROM latchkey_roles other
		WHERE other.owner = ? AND other.origin = ? AND other.name = ? AND other.id <> ?)`,
		append(args, owner, role.Origin, role.Name, role.ID), check)
}

// whyNotPut returns why a role was not put. A stale record is ErrConflict whatever its name.
func (t *tx) whyNotPut(owner string, role *latchkey.Role) error {
	version, found, err := t.lockVersion("latchkey_roles", owner, role.ID, t.dialect().forUpdate)
	switch {
	case err != nil:
		return err
	case role.Version == 0 && found:
		return contractError(latchkey.ErrExists, "role %q", role.ID)
	case role.Version != 0 && (!found || version != role.Version):
		return contractError(latchkey.ErrConflict, "role %q changed since it was read", role.ID)
	}
	return contractError(latchkey.ErrExists, "a role named %q", role.Name)
}

const deleteRoleInherits = `DELETE FROM latchkey_role_inherits WHERE owner = ? AND role_id = ?`

func (t *tx) deleteRoles(p *plan, c *changeSet) error {
	owner := p.w.Owner
	for _, ref := range p.w.DeleteRoles {
		if err := t.requireDeletable("latchkey_roles", owner, ref); err != nil {
			return err
		}
	}
	for _, ref := range p.w.DeleteRoles {
		for _, text := range []string{`DELETE FROM latchkey_roles WHERE owner = ? AND id = ?`, deleteRoleInherits} {
			if err := t.later(text, []any{owner, ref.ID}, nil); err != nil {
				return err
			}
		}
		c.add(latchkey.ChangedRole, ref.ID)
	}
	// Checked after all of them are deleted: roles that name each other may be deleted together.
	for _, ref := range p.w.DeleteRoles {
		var one int
		inUse, err := t.row(`SELECT 1 FROM latchkey_role_inherits WHERE owner = ? AND inherits_id = ? UNION ALL
			SELECT 1 FROM latchkey_token_roles x CROSS JOIN latchkey_tokens t
			WHERE t.owner = x.owner AND t.id = x.token_id AND x.owner = ? AND x.role_id = ?
				AND t.parent = '' AND t.revoked IS NULL LIMIT 1`,
			[]any{owner, ref.ID, owner, ref.ID}, &one)
		if err != nil {
			return err
		}
		if inUse {
			return contractError(latchkey.ErrInUse, "role %q", ref.ID)
		}
	}
	return nil
}
