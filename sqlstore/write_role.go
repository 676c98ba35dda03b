package sqlstore

import (
	"slices"

	"github.com/latchkey-go/latchkey"
)

func (t *tx) putRoles(p *plan, c *changeSet) error {
	owner := p.w.Owner
	for i := range p.w.Roles {
		role, args := &p.w.Roles[i], p.roles[i]
		// The version first: a stale record is ErrConflict whatever its name.
		version, found, err := t.lockVersion("latchkey_roles", owner, role.ID, t.dialect().forUpdate)
		switch {
		case err != nil:
			return err
		case role.Version == 0 && found:
			return contractError(latchkey.ErrExists, "role %q", role.ID)
		case role.Version != 0 && (!found || version != role.Version):
			return contractError(latchkey.ErrConflict, "role %q changed since it was read", role.ID)
		}
		var one int
		taken, err := t.row(`SELECT 1 FROM latchkey_roles WHERE owner = ? AND origin = ? AND name = ? AND id <> ?`,
			[]any{owner, role.Origin, role.Name, role.ID}, &one)
		if err != nil {
			return err
		}
		if taken {
			return contractError(latchkey.ErrExists, "a role named %q", role.Name)
		}
		if role.Version == 0 {
			err = t.execOne(`INSERT INTO latchkey_roles (owner, id, version, origin, name, inherit_denies, extra, body)
				VALUES (?, ?, 1, ?, ?, ?, ?, ?)`, append([]any{owner, role.ID}, args...)...)
		} else {
			err = t.execOne(`UPDATE latchkey_roles SET version = version + 1, origin = ?, name = ?, inherit_denies = ?, `+
				`extra = ?,
				body = ? WHERE owner = ? AND id = ?`, append(slices.Clone(args), owner, role.ID)...)
		}
		if err != nil {
			return err
		}
		if _, err := t.exec(deleteRoleInherits, owner, role.ID); err != nil {
			return err
		}
		for _, inherited := range role.Inherits {
			_, err := t.insert(`INSERT INTO latchkey_role_inherits (owner, role_id, inherits_id) VALUES (?, ?, ?)`,
				owner, role.ID, inherited)
			if err != nil {
				return err
			}
		}
		c.add(latchkey.ChangedRole, role.ID)
	}
	return nil
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
		if _, err := t.exec(`DELETE FROM latchkey_roles WHERE owner = ? AND id = ?`, owner, ref.ID); err != nil {
			return err
		}
		if _, err := t.exec(deleteRoleInherits, owner, ref.ID); err != nil {
			return err
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
