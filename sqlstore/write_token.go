package sqlstore

import (
	"database/sql"
	"slices"
	"strings"
	"time"

	"github.com/latchkey-go/latchkey"
)

const insertToken = `INSERT INTO latchkey_tokens (owner, id, version, kind, parent, origin, name, client_id, created,
	not_before, not_after, idle, disabled, revoked, hint, owner_version, record, used)
	VALUES (?, ?, 1, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)`

// An update never undoes a later use, which may have been written since the token was read.
const updateToken = `UPDATE latchkey_tokens SET version = version + 1, kind = ?, parent = ?, origin = ?, name = ?,
	client_id = ?, created = ?, not_before = ?, not_after = ?, idle = ?, disabled = ?, revoked = ?, hint = ?,
	owner_version = ?, record = ?, used = CASE WHEN used IS NULL OR used < ? THEN COALESCE(?, used) ELSE used END
	WHERE owner = ? AND id = ? AND version = ?`

// updateDamaged is updateToken for a record that cannot be read. The old record stays in its column, for repair by
// hand, and is not read again.
func (d *dialect) updateDamaged() string {
	return strings.Replace(updateToken, `record = ?`, `record = `+d.concat(`?`, `record`), 1)
}

func (t *tx) putTokens(p *plan, c *changeSet) error {
	owner := p.w.Owner
	for i := range p.w.Tokens {
		token, packed := &p.w.Tokens[i], p.tokens[i]
		used := micros(token.Used)
		if token.Version == 0 {
			args := append(append([]any{owner, token.ID}, packed.args...), used)
			err := t.insertLater(insertToken, args, func(n int64) error {
				if n != 1 {
					return contractError(latchkey.ErrExists, "token %q", token.ID)
				}
				return nil
			})
			if err != nil {
				return err
			}
			if c.inserted == nil {
				c.inserted = map[string]bool{}
			}
			c.inserted[token.ID] = true
		} else {
			args := append(slices.Clone(packed.args), used, used, owner, token.ID, int64(token.Version))
			text := updateToken
			if token.Damaged {
				text = t.dialect().updateDamaged()
			}
			err := t.later(text, args, func(n int64) error {
				if n != 1 {
					return contractError(latchkey.ErrConflict, "token %q changed since it was read", token.ID)
				}
				return nil
			})
			if err != nil {
				return err
			}
			at := packedUsed(token.Used)
			// A damaged copy may be shorter or empty: it keeps what is there. The token must be revocable all the same.
			err = t.later(`UPDATE latchkey_secrets SET found = `+t.dialect().concat(`COALESCE(CASE WHEN substr(found, 1, 8) < ?
				THEN ? ELSE substr(found, 1, 8) END, '')`,
				`COALESCE(substr(found, 9, CASE WHEN head < 8 THEN 0 ELSE head - 8 END), '')`, `?`)+`, owner_version = ?
				WHERE owner = ? AND token_id = ?`,
				[]any{at, at, packed.record, int64(token.OwnerVersion), owner, token.ID}, nil)
			if err != nil {
				return err
			}
			c.add(latchkey.ChangedToken, token.ID)
		}
		if err := t.putNames(tokenRoleNames, owner, token.ID, token.Roles, token.Version == 0); err != nil {
			return err
		}
		if i+1 < len(p.w.Tokens) && p.w.Tokens[i+1].ID == token.ID {
			if err := t.runMerged(); err != nil {
				return err
			}
		}
	}
	return nil
}

// nameTable is a table of the roles that a record names.
type nameTable struct{ table, record, named string }

var (
	tokenRoleNames    = nameTable{"latchkey_token_roles", "token_id", "role_id"}
	roleInheritsNames = nameTable{"latchkey_role_inherits", "role_id", "inherits_id"}
)

// putNames makes names the roles that a record names. A new record names none so far.
func (t *tx) putNames(n nameTable, owner, id string, names []string, isNew bool) error {
	remove := `DELETE FROM ` + n.table + ` WHERE owner = ? AND ` + n.record + ` = ?`
	insert := `INSERT INTO ` + n.table + ` (owner, ` + n.record + `, ` + n.named + `)`
	if t.dialect().arrays {
		rows := make([][]any, len(names))
		for i, name := range names {
			rows[i] = []any{name}
		}
		list := arrayOf(rows, 0)
		if !isNew {
			// What stays is not touched: the order of the two statements is not known.
			err := t.later(remove+` AND `+n.named+` <> ALL (CAST(? AS TEXT[]))`, []any{owner, id, list}, nil)
			if err != nil {
				return err
			}
		}
		if len(names) == 0 {
			return nil
		}
		return t.insertLater(insert+` SELECT CAST(? AS TEXT), CAST(? AS TEXT), unnest(CAST(? AS TEXT[]))`,
			[]any{owner, id, list}, nil)
	}
	if !isNew {
		if _, err := t.exec(remove, owner, id); err != nil {
			return err
		}
	}
	for _, name := range names {
		if _, err := t.insert(insert+` VALUES (?, ?, ?)`, owner, id, name); err != nil {
			return err
		}
	}
	return nil
}

const (
	deleteTokenRoles = `DELETE FROM latchkey_token_roles WHERE owner = ? AND token_id = ?`
	deleteSecrets    = `DELETE FROM latchkey_secrets WHERE owner = ? AND token_id = ?`
	deleteToken      = `DELETE FROM latchkey_tokens WHERE owner = ? AND id = ?`
	deleteLive       = `DELETE FROM latchkey_live WHERE owner = ? AND parent = ?`
	deleteSecret     = `DELETE FROM latchkey_secrets WHERE owner = ? AND token_id = ? AND digest = ?`
)

func (t *tx) changeSecrets(p *plan, c *changeSet) error {
	for i := range p.w.Secrets {
		change := &p.w.Secrets[i]
		of, err := t.readTokenCopy(p, c, change.TokenID)
		if err != nil {
			return err
		}
		if err := t.changeSecret(p, change, of); err != nil {
			return err
		}
		c.add(latchkey.ChangedToken, change.TokenID)
	}
	return nil
}

// tokenCopy is what secrets hold of a token.
type tokenCopy struct {
	used, record []byte
	ownerVersion int64
}

// readTokenCopy returns what secrets hold of a token. It locks the token's row until the commit, so the copies stay
// correct.
func (t *tx) readTokenCopy(p *plan, c *changeSet, id string) (tokenCopy, error) {
	i, put := p.findToken(id)
	if once := i+1 >= len(p.tokens) || p.w.Tokens[i+1].ID != id; put && c.inserted[id] && once {
		return p.tokenCopy(i), nil
	}
	var row tokenRow
	found, err := t.row(`SELECT t.record, t.used, t.owner_version FROM latchkey_tokens t
		WHERE t.owner = ? AND t.id = ?`+t.dialect().forUpdate, []any{p.w.Owner, id},
		&row.record, &row.used, &row.ownerVersion)
	if err != nil || !found {
		return tokenCopy{}, orNotFound(err, "token %q", id)
	}
	return tokenCopy{packedUsed(fromMicros(row.used)), []byte(row.record.String), row.ownerVersion.Int64}, nil
}

const insertSecret = `INSERT INTO latchkey_secrets (digest, owner, token_id, signing, not_after, head,
	owner_version, found) VALUES (?, ?, ?, ?, ?, ?, ?, ?)`

// insertWholeSecret is insertSecret for a secret of another system, or one that was used before.
const insertWholeSecret = `INSERT INTO latchkey_secrets (digest, owner, token_id, signing, not_after, head,
	owner_version, found, algorithm, lookup, hash, used, used_from) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)`

// The column signing says by what a secret is found. Only secrets with 0 are found by their digest, by programs of
// every version.
const (
	forSigning = 1 // by nothing
	byLookup   = 2 // by its lookup part: it has an algorithm
)

func foundBy(s *latchkey.SecretRecord) int64 {
	switch {
	case s.Signing:
		return forSigning
	case s.Algorithm != "":
		return byLookup
	}
	return 0
}

// secretArgs returns the columns of insertSecret.
func secretArgs(owner, token string, s *latchkey.SecretRecord, of tokenCopy) []any {
	head := packSecret(of.used, s)
	return []any{s.Digest[:], owner, token, foundBy(s), micros(s.NotAfter), len(head), of.ownerVersion,
		append(head, of.record...)}
}

func (t *tx) changeSecret(p *plan, c *latchkey.SecretChange, of tokenCopy) error {
	owner, retire, at := p.w.Owner, c.Retire[:], c.At
	var old latchkey.SecretRecord
	var found, used sql.NullInt64
	var from sql.NullString
	if c.Retire != zeroDigest {
		var packed string
		exists, err := t.row(`SELECT found, signing, used, used_from FROM latchkey_secrets
			WHERE owner = ? AND token_id = ? AND digest = ?`, []any{owner, c.TokenID, retire}, &packed, &found, &used, &from)
		if err != nil || !exists {
			return orNotFound(err, "a secret of token %q", c.TokenID)
		}
		if _, _, err := unpackSecret(packed, &old); err != nil {
			if c.Replace {
				return damagedError(latchkey.ChangedToken, owner, c.TokenID)
			}
			at = time.Time{} // it cannot be used any more, so it need not stay
		}
	}
	update := func(s *latchkey.SecretRecord) error {
		head := packSecret(of.used, s)
		return t.later(`UPDATE latchkey_secrets SET not_after = ?, head = ?, owner_version = ?, found = ?
			WHERE owner = ? AND token_id = ? AND digest = ?`, []any{micros(s.NotAfter), len(head), of.ownerVersion,
			append(head, of.record...), owner, c.TokenID, retire}, nil)
	}
	if c.Replace {
		add := *c.Add
		add.Signing, add.Hint, add.Created, add.NotAfter = old.Signing, old.Hint, old.Created, old.NotAfter
		switch {
		case add.Signing && add.Algorithm != "":
			return contractError(latchkey.ErrInvalid, "a signing secret cannot get an algorithm")
		case add.Digest == c.Retire && add.Algorithm == "" && found.Int64 != byLookup:
			return update(&add)
		}
		// The old one first, where the new one may have its digest or its lookup part.
		if err := t.later(deleteSecret, []any{owner, c.TokenID, retire}, touchedOne); err != nil {
			return err
		}
		if add.Digest == c.Retire || found.Int64 == byLookup {
			if err := t.runMerged(); err != nil {
				return err
			}
		}
		return t.addSecret(owner, c.TokenID, &add, of, used, from)
	}
	// The addition first: a secret that replaces itself without Replace is a taken digest.
	if c.Add != nil {
		err := t.addSecret(owner, c.TokenID, c.Add, of, sql.NullInt64{}, sql.NullString{})
		if err == nil && (c.Add.Digest == c.Retire || found.Int64 == byLookup) {
			err = t.runMerged() // what it has is taken, by the one to end
		}
		if err != nil {
			return err
		}
	}
	switch {
	case c.Retire == zeroDigest:
		return nil
	case at.IsZero(), !at.After(p.w.At):
		return t.later(deleteSecret, []any{owner, c.TokenID, retire}, touchedOne)
	}
	// An end never moves later: retiring twice must not lengthen the overlap.
	if end := time.UnixMicro(at.UnixMicro()).UTC(); old.NotAfter.IsZero() || old.NotAfter.After(end) {
		old.NotAfter = end
		return update(&old)
	}
	return nil
}

// addSecret inserts a secret. The last use is that of the secret in whose place it comes, if it comes in one's place.
func (t *tx) addSecret(owner, token string, s *latchkey.SecretRecord, of tokenCopy, used sql.NullInt64,
	from sql.NullString) error {
	text, args := insertSecret, secretArgs(owner, token, s, of)
	if s.Algorithm != "" || used.Valid {
		text = insertWholeSecret
		var lookup, hash any
		if s.Algorithm != "" {
			lookup, hash = []byte(s.Lookup), s.Hash
		}
		args = append(args, s.Algorithm, lookup, hash, used, from)
	}
	return t.insertLater(text, args, func(n int64) error {
		if n != 1 {
			return contractError(latchkey.ErrExists, "the digest or the lookup part of a secret")
		}
		return nil
	})
}

func (t *tx) deleteTokens(p *plan, c *changeSet) error {
	owner := p.w.Owner
	for _, ref := range p.w.DeleteTokens {
		if err := t.requireDeletable("latchkey_tokens", owner, ref); err != nil {
			return err
		}
	}
	for _, ref := range p.w.DeleteTokens {
		// UNION, not UNION ALL: so a cycle of parents ends too.
		var ids []string
		err := t.each(`WITH RECURSIVE doomed (id) AS (
				SELECT id FROM latchkey_tokens WHERE owner = ? AND id = ?
				UNION
				SELECT t.id FROM doomed d CROSS JOIN latchkey_tokens t
				WHERE t.owner = ? AND t.parent = d.id AND t.parent <> '')
			SELECT id FROM doomed ORDER BY id`,
			[]any{owner, ref.ID, owner}, func(rows *sql.Rows) error {
				var id string
				err := rows.Scan(&id)
				ids = append(ids, id)
				return err
			})
		if err != nil {
			return err
		}
		for _, id := range ids {
			if err := t.removeToken(owner, id); err != nil {
				return err
			}
			c.add(latchkey.ChangedToken, id)
		}
	}
	return nil
}

// removeToken deletes a token, its secrets and its roles. Its usage counts stay. The token comes first, as in every
// transaction that changes both.
func (t *tx) removeToken(owner, id string) error {
	for _, text := range []string{deleteToken, deleteSecrets, deleteTokenRoles, deleteLive} {
		if err := t.later(text, []any{owner, id}, nil); err != nil {
			return err
		}
	}
	return nil
}
