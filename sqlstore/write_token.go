package sqlstore

import (
	"database/sql"
	"slices"

	"github.com/latchkey-go/latchkey"
)

const insertToken = `INSERT INTO latchkey_tokens (owner, id, version, kind, test, parent, depth, origin, name, client_id,
	client_name, created, not_before, not_after, idle, disabled, revoked, reason, hint, public, extra, body, used)
	VALUES (?, ?, 1, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)`

// A put never takes back a later use: the use may have been written since the token was read.
const updateToken = `UPDATE latchkey_tokens SET version = version + 1, kind = ?, test = ?, parent = ?, depth = ?,
	origin = ?, name = ?, client_id = ?, client_name = ?, created = ?, not_before = ?, not_after = ?, idle = ?,
	disabled = ?, revoked = ?, reason = ?, hint = ?, public = ?, extra = ?, body = ?,
	used = CASE WHEN used IS NULL OR used < ? THEN COALESCE(?, used) ELSE used END
	WHERE owner = ? AND id = ? AND version = ?`

func (t *tx) putTokens(p *plan, c *changes) error {
	owner := p.w.Owner
	for i := range p.w.Tokens {
		token, args := &p.w.Tokens[i], p.tokens[i]
		used := micros(token.Used)
		if token.Version == 0 {
			args := append(append([]any{owner, token.ID}, args...), used)
			n, err := t.insert(insertToken, args...)
			if err != nil {
				return err
			}
			if n != 1 {
				return say(latchkey.ErrExists, "token %q", token.ID)
			}
			if c.inserted == nil {
				c.inserted = map[string]bool{}
			}
			c.inserted[token.ID] = true
		} else {
			args := append(slices.Clone(args), used, used, owner, token.ID, int64(token.Version))
			n, err := t.exec(updateToken, args...)
			if err != nil {
				return err
			}
			if n != 1 {
				return say(latchkey.ErrConflict, "token %q changed since it was read", token.ID)
			}
			if _, err := t.exec(deleteTokenRoles, owner, token.ID); err != nil {
				return err
			}
			c.add(latchkey.ChangedToken, token.ID)
		}
		for _, role := range token.Roles {
			_, err := t.insert(`INSERT INTO latchkey_token_roles (owner, token_id, role_id) VALUES (?, ?, ?)`,
				owner, token.ID, role)
			if err != nil {
				return err
			}
		}
	}
	return nil
}

const (
	deleteTokenRoles = `DELETE FROM latchkey_token_roles WHERE owner = ? AND token_id = ?`
	deleteSecrets    = `DELETE FROM latchkey_secrets WHERE owner = ? AND token_id = ?`
	deleteToken      = `DELETE FROM latchkey_tokens WHERE owner = ? AND id = ?`
	deleteSecret     = `DELETE FROM latchkey_secrets WHERE owner = ? AND token_id = ? AND digest = ?`
)

func (t *tx) changeSecrets(p *plan, c *changes) error {
	for i := range p.w.Secrets {
		change := &p.w.Secrets[i]
		if !c.inserted[change.TokenID] {
			if _, found, err := t.version("latchkey_tokens", p.w.Owner, change.TokenID, t.dialect().lock); err != nil || !found {
				return orNotFound(err, "token %q", change.TokenID)
			}
		}
		if err := t.changeSecret(p, change); err != nil {
			return err
		}
		c.add(latchkey.ChangedToken, change.TokenID)
	}
	return nil
}

const insertSecret = `INSERT INTO latchkey_secrets (digest, owner, token_id, key_id, sealed, signing, hint, created,
	not_after) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)`

func (t *tx) changeSecret(p *plan, c *latchkey.SecretChange) error {
	owner, token, retire := p.w.Owner, c.TokenID, c.Retire[:]
	var old secretRow
	if c.Retire != zeroDigest {
		found, err := t.row(`SELECT `+secretColumns+` FROM latchkey_secrets s
			WHERE s.owner = ? AND s.token_id = ? AND s.digest = ?`, []any{owner, token, retire}, old.dest()...)
		if err != nil || !found {
			return orNotFound(err, "a secret of token %q", token)
		}
	}
	// Add first: a secret that takes its own place without Replace is a taken digest.
	switch a := c.Add; {
	case a == nil:
	case c.Replace && a.Digest == c.Retire:
		_, err := t.exec(`UPDATE latchkey_secrets SET key_id = ?, sealed = ? WHERE owner = ? AND token_id = ? AND digest = ?`,
			int64(a.KeyID), blob(a.Sealed), owner, token, retire)
		return err
	default:
		signing, hint, created, notAfter := flag(a.Signing), a.Hint, micros(a.Created), micros(a.NotAfter)
		if c.Replace {
			signing, hint, created, notAfter = old.signing, old.hint, old.created, old.notAfter
		}
		n, err := t.insert(insertSecret, a.Digest[:], owner, token, int64(a.KeyID), blob(a.Sealed), signing, hint, created,
			notAfter)
		if err != nil {
			return err
		}
		if n != 1 {
			return say(latchkey.ErrExists, "the digest of a secret")
		}
	}
	switch {
	case c.Retire == zeroDigest:
		return nil
	case c.Replace, c.At.IsZero(), !c.At.After(p.w.At):
		return t.one(deleteSecret, owner, token, retire)
	}
	// An end never moves later: retiring twice must not lengthen the overlap.
	at := micros(c.At)
	_, err := t.exec(`UPDATE latchkey_secrets SET not_after = ? WHERE owner = ? AND token_id = ? AND digest = ?
		AND (not_after IS NULL OR not_after > ?)`, at, owner, token, retire, at)
	return err
}

func (t *tx) deleteTokens(p *plan, c *changes) error {
	owner := p.w.Owner
	for _, ref := range p.w.DeleteTokens {
		if err := t.deletable("latchkey_tokens", owner, ref); err != nil {
			return err
		}
	}
	for _, ref := range p.w.DeleteTokens {
		// UNION, not UNION ALL: a ring of parents ends too.
		var doomed []string
		err := t.each(`WITH RECURSIVE doomed (id) AS (
				SELECT id FROM latchkey_tokens WHERE owner = ? AND id = ?
				UNION
				SELECT t.id FROM doomed d CROSS JOIN latchkey_tokens t
				WHERE t.owner = ? AND t.parent = d.id AND t.parent <> '')
			SELECT id FROM doomed ORDER BY id`,
			[]any{owner, ref.ID, owner}, func(rows *sql.Rows) error {
				var id string
				err := rows.Scan(&id)
				doomed = append(doomed, id)
				return err
			})
		if err != nil {
			return err
		}
		for _, id := range doomed {
			if err := t.removeToken(owner, id); err != nil {
				return err
			}
			c.add(latchkey.ChangedToken, id)
		}
	}
	return nil
}

// removeToken takes a token, its secrets and its bindings away. Its usage counts stay.
func (t *tx) removeToken(owner, id string) error {
	for _, text := range []string{deleteSecrets, deleteTokenRoles, deleteToken} {
		if _, err := t.exec(text, owner, id); err != nil {
			return err
		}
	}
	return nil
}

func (t *tx) putRoles(p *plan, c *changes) error {
	owner := p.w.Owner
	for i := range p.w.Roles {
		role, args := &p.w.Roles[i], p.roles[i]
		// The version first: a stale record is ErrConflict whatever its name.
		version, found, err := t.version("latchkey_roles", owner, role.ID, t.dialect().lock)
		switch {
		case err != nil:
			return err
		case role.Version == 0 && found:
			return say(latchkey.ErrExists, "role %q", role.ID)
		case role.Version != 0 && (!found || version != role.Version):
			return say(latchkey.ErrConflict, "role %q changed since it was read", role.ID)
		}
		var one int
		taken, err := t.row(`SELECT 1 FROM latchkey_roles WHERE owner = ? AND origin = ? AND name = ? AND id <> ?`,
			[]any{owner, role.Origin, role.Name, role.ID}, &one)
		if err != nil {
			return err
		}
		if taken {
			return say(latchkey.ErrExists, "a role named %q", role.Name)
		}
		if role.Version == 0 {
			err = t.one(`INSERT INTO latchkey_roles (owner, id, version, origin, name, inherit_denies, extra, body)
				VALUES (?, ?, 1, ?, ?, ?, ?, ?)`, append([]any{owner, role.ID}, args...)...)
		} else {
			err = t.one(`UPDATE latchkey_roles SET version = version + 1, origin = ?, name = ?, inherit_denies = ?, extra = ?,
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

func (t *tx) deleteRoles(p *plan, c *changes) error {
	owner := p.w.Owner
	for _, ref := range p.w.DeleteRoles {
		if err := t.deletable("latchkey_roles", owner, ref); err != nil {
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
	// Judged when all of them are gone: roles that name each other may go together.
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
			return say(latchkey.ErrInUse, "role %q", ref.ID)
		}
	}
	return nil
}
