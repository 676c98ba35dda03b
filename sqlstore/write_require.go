package sqlstore

import (
	"database/sql"

	"github.com/latchkey-go/latchkey"
)

func (t *tx) require(p *plan, _ *changeSet) error {
	w := &p.w
	for _, ref := range w.RequireTokens {
		err := t.requireRef(`SELECT 1 FROM latchkey_tokens WHERE owner = ? AND id = ? AND revoked IS NULL`, w.Owner, ref,
			contractError(latchkey.ErrConflict, "token %q changed, was revoked or is gone", ref.ID))
		if err != nil {
			return err
		}
	}
	for _, ref := range w.RequireRoles {
		err := t.requireRef(`SELECT 1 FROM latchkey_roles WHERE owner = ? AND id = ?`, w.Owner, ref,
			contractError(latchkey.ErrConflict, "role %q changed or is gone", ref.ID))
		if err != nil {
			return err
		}
	}
	if w.RequireOwner != nil {
		text, args, want := `SELECT 1 FROM latchkey_owners WHERE owner = ?`, []any{w.Owner}, int64(0)
		if *w.RequireOwner != 0 {
			text, args, want = text+` AND version = ?`, append(args, int64(*w.RequireOwner)), 1
		}
		err := t.requireLater(text, args, func(n int64) error {
			if n != want {
				return contractError(latchkey.ErrConflict, "the owner's record changed since it was read")
			}
			return nil
		})
		if err != nil {
			return err
		}
	}
	for i := range w.RequireHolders {
		if err := t.requireHolders(w.Owner, &w.RequireHolders[i]); err != nil {
			return err
		}
	}
	return nil
}

// requireRef returns conflict, at once or later, unless a query finds the record in the version that it must have.
func (t *tx) requireRef(text, owner string, ref latchkey.Ref, conflict error) error {
	args := []any{owner, ref.ID}
	if ref.Version != 0 {
		text, args = text+` AND version = ?`, append(args, int64(ref.Version))
	}
	return t.requireLater(text, args, func(n int64) error {
		if n != 1 {
			return conflict
		}
		return nil
	})
}

// requireHolders returns ErrConflict if the records that name a role are not exactly those listed. The lock of
// lockOwner keeps this true until the commit.
func (t *tx) requireHolders(owner string, h *latchkey.Holders) error {
	roles, err := t.versions(`SELECT r.id, r.version FROM latchkey_role_inherits x CROSS JOIN latchkey_roles r
		WHERE r.owner = x.owner AND r.id = x.role_id AND x.owner = ? AND x.inherits_id = ?`, owner, h.RoleID)
	if err != nil {
		return err
	}
	text := `SELECT t.id, t.version FROM latchkey_token_roles x CROSS JOIN latchkey_tokens t
		WHERE t.owner = x.owner AND t.id = x.token_id AND x.owner = ? AND x.role_id = ? AND t.revoked IS NULL`
	if !h.Minted {
		text += ` AND t.parent = ''`
	}
	tokens, err := t.versions(text, owner, h.RoleID)
	if err != nil {
		return err
	}
	if !sameRefs(roles, h.Roles) || !sameRefs(tokens, h.Tokens) {
		return contractError(latchkey.ErrConflict, "the holders of role %q changed since they were read", h.RoleID)
	}
	return nil
}

// versions reads ids with versions.
func (t *tx) versions(text string, args ...any) (map[string]uint64, error) {
	found := map[string]uint64{}
	return found, t.each(text, args, func(rows *sql.Rows) error {
		var id string
		var version uint64
		err := rows.Scan(&id, &version)
		found[id] = version
		return err
	})
}

func sameRefs(found map[string]uint64, refs []latchkey.Ref) bool {
	for _, ref := range refs {
		if v, ok := found[ref.ID]; !ok || v != ref.Version {
			return false
		}
	}
	return len(found) == len(refs)
}

// lockVersion reads the version of a token or role, and locks it until the commit.
func (t *tx) lockVersion(table, owner, id, lock string) (version uint64, found bool, err error) {
	found, err = t.row(`SELECT version FROM `+table+` WHERE owner = ? AND id = ?`+lock, []any{owner, id}, &version)
	return version, found, err
}

// requireDeletable checks the reference of a record to delete.
func (t *tx) requireDeletable(table, owner string, ref latchkey.Ref) error {
	version, found, err := t.lockVersion(table, owner, ref.ID, t.dialect().forUpdate)
	switch {
	case err != nil:
		return err
	case ref.Version == 0 && !found:
		return contractError(latchkey.ErrNotFound, "%q", ref.ID)
	case ref.Version != 0 && (!found || version != ref.Version):
		return contractError(latchkey.ErrConflict, "%q changed since it was read", ref.ID)
	}
	return nil
}
