package sqlstore

import (
	"database/sql"

	"github.com/latchkey-go/latchkey"
)

func (t *tx) require(p *plan, _ *changeSet) error {
	w := &p.w
	for _, ref := range w.RequireTokens {
		var version uint64
		var revoked sql.NullInt64
		found, err := t.row(`SELECT version, revoked FROM latchkey_tokens WHERE owner = ? AND id = ?`+t.dialect().forShare,
			[]any{w.Owner, ref.ID}, &version, &revoked)
		switch {
		case err != nil:
			return err
		case !found, ref.Version != 0 && ref.Version != version, revoked.Valid:
			return contractError(latchkey.ErrConflict, "token %q changed, was revoked or is gone", ref.ID)
		}
	}
	for _, ref := range w.RequireRoles {
		version, found, err := t.lockVersion("latchkey_roles", w.Owner, ref.ID, t.dialect().forShare)
		switch {
		case err != nil:
			return err
		case !found, ref.Version != 0 && ref.Version != version:
			return contractError(latchkey.ErrConflict, "role %q changed or is gone", ref.ID)
		}
	}
	if w.RequireOwner != nil {
		version, err := t.lockOwnerVersion(w.Owner)
		if err != nil {
			return err
		}
		if version != *w.RequireOwner {
			return contractError(latchkey.ErrConflict, "the owner's record changed since it was read")
		}
	}
	for i := range w.RequireHolders {
		if err := t.requireHolders(w.Owner, &w.RequireHolders[i]); err != nil {
			return err
		}
	}
	return nil
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

// lockOwnerVersion returns the version of the owner's record, 0 if there is none. The lock of lockOwner keeps it so.
func (t *tx) lockOwnerVersion(owner string) (version uint64, err error) {
	_, err = t.row(`SELECT version FROM latchkey_owners WHERE owner = ?`+t.dialect().forShare, []any{owner}, &version)
	return version, err
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
