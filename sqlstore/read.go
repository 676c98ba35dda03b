package sqlstore

import (
	"bytes"
	"cmp"
	"context"
	"database/sql"
	"slices"
	"strings"

	"github.com/latchkey-go/latchkey"
)

// idleMicros is idle in microseconds, rounded up so that no token ends early. It divides without a remainder, because
// "/" of integers yields an integer only on some engines.
const idleMicros = `(idle - idle % 1000) / 1000 + CASE WHEN idle % 1000 = 0 THEN 0 ELSE 1 END`

// tokenState is latchkey.Token.State in SQL. Its three arguments are all the current time.
const tokenState = `CASE WHEN t.revoked IS NOT NULL THEN 2 WHEN t.disabled <> 0 THEN 3
	WHEN t.not_after <= ? OR t.idle > 0 AND COALESCE(t.used, t.created) + ` + idleMicros + ` <= ? THEN 4
	WHEN t.not_before > ? THEN 5 ELSE 1 END`

// readDamagedTokens reads the columns beside damaged records, by id.
func (s *Store) readDamagedTokens(ctx context.Context, owner string, ids ...string) (map[string]latchkey.Token, error) {
	out := make(map[string]latchkey.Token, len(ids))
	text := `SELECT ` + damagedTokenColumns + ` FROM latchkey_tokens t WHERE t.owner = ? AND t.id IN (?` +
		strings.Repeat(`, ?`, len(ids)-1) + `)`
	return out, s.eachUnprepared(ctx, text, append([]any{owner}, anySlice(ids, asAny)...), func(rows *sql.Rows) error {
		var row damagedTokenRow
		err := rows.Scan(row.dest()...)
		out[row.t.ID] = row.token(owner)
		return err
	})
}

// Secrets implements latchkey.Store. For a secret that cannot be read it returns the other columns, with the error.
func (s *Store) Secrets(ctx context.Context, owner, tokenID string) (out []latchkey.SecretRecord, err error) {
	err = s.read(ctx, "list secrets", func() error {
		out = nil
		exists, whole := false, true
		// One statement, so that one cut tells a token without secrets from one that is gone.
		err := s.each(ctx, `SELECT s.digest, s.signing, s.not_after, s.found, s.algorithm, s.lookup, s.hash, s.used,
			s.used_from FROM latchkey_tokens t
			LEFT JOIN latchkey_secrets s ON s.owner = t.owner AND s.token_id = t.id
			WHERE t.owner = ? AND t.id = ?`, []any{owner, tokenID}, func(rows *sql.Rows) error {
			exists = true
			var digest, packed sql.NullString
			var signing, notAfter, used sql.NullInt64
			var foreign foreignSecret
			var from sql.NullString
			err := rows.Scan(append(append([]any{&digest, &signing, &notAfter, &packed}, foreign.dest()...), &used, &from)...)
			if err != nil || !digest.Valid {
				return err
			}
			var record latchkey.SecretRecord
			if _, _, err := unpackSecret(packed.String, &record); err != nil || string(record.Digest[:]) != digest.String {
				record = latchkey.SecretRecord{Signing: signing.Int64 == forSigning, NotAfter: fromMicros(notAfter)}
				copy(record.Digest[:], digest.String)
				whole = false
			}
			foreign.into(&record)
			record.Used, record.UsedFrom = fromMicros(used), parseAddress(from.String)
			out = append(out, record)
			return nil
		})
		slices.SortFunc(out, func(a, b latchkey.SecretRecord) int {
			return cmp.Or(a.Created.Compare(b.Created), bytes.Compare(a.Digest[:], b.Digest[:]))
		})
		if err != nil || !exists {
			return orNotFound(err, "token %q", tokenID)
		}
		if !whole {
			return damagedError(latchkey.ChangedToken, owner, tokenID)
		}
		return nil
	})
	if err != nil && !isDamaged(err) {
		return nil, err
	}
	return out, err
}

// Role implements latchkey.Store.
func (s *Store) Role(ctx context.Context, owner, id string) (role latchkey.Role, err error) {
	err = s.read(ctx, "read role", func() error {
		found := false
		err := s.each(ctx, `SELECT `+roleColumns+` FROM latchkey_roles r WHERE r.owner = ? AND r.id = ?`, []any{owner, id},
			func(rows *sql.Rows) (err error) {
				found = true
				role, err = scanRole(rows)
				return err
			})
		if err != nil || !found {
			return orNotFound(err, "role %q", id)
		}
		if role.Damaged {
			return damagedError(latchkey.ChangedRole, owner, id)
		}
		return nil
	})
	if err != nil && !isDamaged(err) {
		return latchkey.Role{}, err
	}
	return role, err
}

// Roles implements latchkey.Store.
func (s *Store) Roles(ctx context.Context, owner string, q latchkey.RoleQuery) (out []latchkey.Role, err error) {
	var f filter
	if len(q.IDs) > 0 {
		f.and("r.id IN ?", anySlice(q.IDs, asAny)...)
	}
	if len(q.Names) > 0 {
		f.and("r.name IN ?", anySlice(q.Names, asAny)...)
	}
	if q.Origin != nil {
		f.and("r.origin = ?", *q.Origin)
	}
	if q.Inherits != "" {
		f.and(`EXISTS (SELECT 1 FROM latchkey_role_inherits i
			WHERE i.owner = r.owner AND i.role_id = r.id AND i.inherits_id = ?)`, q.Inherits)
	}
	text := `SELECT ` + roleColumns + ` FROM latchkey_roles r WHERE r.owner = ? AND r.id > ?` + f.text.String() +
		` ORDER BY r.id LIMIT ?`
	args := append(append([]any{owner, q.After}, f.args...), q.Size())
	err = s.read(ctx, "list roles", func() error {
		out = nil
		return s.eachUnprepared(ctx, text, args, func(rows *sql.Rows) error {
			role, err := scanRole(rows)
			out = append(out, role)
			return err
		})
	})
	if err != nil {
		return nil, err
	}
	return out, nil
}

func scanRole(rows *sql.Rows) (latchkey.Role, error) {
	var row roleRow
	if err := rows.Scan(row.dest()...); err != nil {
		return latchkey.Role{}, err
	}
	return row.role(), nil
}

// Owner implements latchkey.Store.
func (s *Store) Owner(ctx context.Context, owner string) (out latchkey.Owner, err error) {
	err = s.read(ctx, "read owner", func() error {
		var row ownerRow
		err := s.each(ctx, `SELECT `+ownerColumns+` FROM latchkey_owners o WHERE o.owner = ?`, []any{owner},
			func(rows *sql.Rows) error { return rows.Scan(row.dest()...) })
		if err != nil {
			return err
		}
		if out = row.owner(owner); out.Damaged {
			return damagedError(latchkey.ChangedOwner, owner, owner)
		}
		return nil
	})
	if err != nil && !isDamaged(err) {
		return latchkey.Owner{}, err
	}
	return out, err
}

// Clients implements latchkey.Store.
func (s *Store) Clients(ctx context.Context, owner string, p latchkey.Page) (out []latchkey.Client, err error) {
	err = s.read(ctx, "list clients", func() error {
		out = nil
		return s.each(ctx, `SELECT id, name FROM latchkey_clients WHERE owner = ? AND id > ? ORDER BY id LIMIT ?`,
			[]any{owner, p.After, p.Size()}, func(rows *sql.Rows) error {
				var c latchkey.Client
				err := rows.Scan(&c.ID, &c.Name)
				out = append(out, c)
				return err
			})
	})
	if err != nil {
		return nil, err
	}
	return out, nil
}
