package sqlstore

import (
	"context"
	"database/sql"
	"strings"

	"github.com/latchkey-go/latchkey"
)

// filter is a WHERE clause that grows.
type filter struct {
	text strings.Builder
	args []any
}

// and adds a condition. An "IN ?" in it takes all of args.
func (f *filter) and(condition string, args ...any) {
	f.text.WriteString(" AND ")
	f.text.WriteString(strings.Replace(condition, "IN ?", "IN (?"+strings.Repeat(", ?", max(len(args)-1, 0))+")", 1))
	f.args = append(f.args, args...)
}

func anys[T any](list []T, f func(T) any) []any {
	out := make([]any, len(list))
	for i, v := range list {
		out[i] = f(v)
	}
	return out
}

func asAny[T any](v T) any { return v }

// idleMicros is idle in microseconds, rounded up, so that no token ends early. What is divided leaves nothing over: "/" of
// integers is an integer to some engines only.
const idleMicros = `(idle - idle % 1000) / 1000 + CASE WHEN idle % 1000 = 0 THEN 0 ELSE 1 END`

// tokenState is latchkey.Token.State in SQL; it takes the moment twice before its end, thrice in all.
const tokenState = `CASE WHEN t.revoked IS NOT NULL THEN 2 WHEN t.disabled <> 0 THEN 3
	WHEN t.not_after <= ? OR t.idle > 0 AND COALESCE(t.used, t.created) + ` + idleMicros + ` <= ? THEN 4
	WHEN t.not_before > ? THEN 5 ELSE 1 END`

// Tokens implements latchkey.Store. Without a filter, and by Client, Parent or Role, a page is read from an index, whatever
// lies before and after it. Other filters are asked of one token after another, from After on, until the page is full.
func (s *Store) Tokens(ctx context.Context, owner string, q latchkey.TokenQuery) (out []latchkey.Token, err error) {
	var f filter
	if len(q.Kinds) > 0 {
		f.and("t.kind IN ?", anys(q.Kinds, func(k latchkey.Kind) any { return int64(k) })...)
	}
	if q.Origin != nil {
		f.and("t.origin = ?", *q.Origin)
	}
	if q.Parent != "" {
		f.and("t.parent = ? AND t.parent <> ''", q.Parent) // the second half lets the partial index serve
	}
	from, id := `latchkey_tokens t WHERE t.owner = ?`, "t.id"
	if q.Role != "" {
		// In this order: a few of many tokens may have the role.
		from = `latchkey_token_roles x CROSS JOIN latchkey_tokens t WHERE x.owner = ? AND t.owner = x.owner AND t.id = x.token_id`
		id = "x.token_id"
		f.and("x.role_id = ?", q.Role)
	}
	if q.Client != "" {
		f.and("t.client_id = ? AND t.client_id <> ''", q.Client)
	}
	if q.Search != "" {
		prefix, n := []byte(q.Search), len(q.Search)
		f.and("("+s.dialect.startsWith("t.name")+" OR "+s.dialect.startsWith("t.id")+" OR "+s.dialect.startsWith("t.hint")+")",
			n, prefix, n, prefix, n, prefix)
	}
	if len(q.States) > 0 {
		now := q.Now.UnixMicro()
		args := []any{now, now, now}
		f.text.WriteString(" AND " + tokenState)
		f.text.WriteString(" IN (?" + strings.Repeat(", ?", len(q.States)-1) + ")")
		f.args = append(f.args, append(args, anys(q.States, func(st latchkey.State) any { return int64(st) })...)...)
	}
	if !q.ExpiresFrom.IsZero() || !q.ExpiresTo.IsZero() {
		f.and("t.not_after IS NOT NULL")
	}
	if !q.ExpiresFrom.IsZero() {
		f.and("t.not_after >= ?", ceilMicros(q.ExpiresFrom))
	}
	if !q.ExpiresTo.IsZero() {
		f.and("t.not_after < ?", ceilMicros(q.ExpiresTo))
	}
	if !q.UnusedSince.IsZero() {
		f.and("(t.used IS NULL OR t.used < ?)", ceilMicros(q.UnusedSince))
	}
	text := `SELECT ` + tokenColumns + ` FROM ` + from + ` AND ` + id + ` > ?` + f.text.String() +
		` ORDER BY ` + id + ` LIMIT ?`
	args := append(append([]any{owner, q.After}, f.args...), q.Size())
	err = s.read(ctx, "list tokens", func() error {
		out = nil
		var unread []string
		err := s.eachUnprepared(ctx, text, args, func(rows *sql.Rows) error {
			var row tokenRow
			err := rows.Scan(row.dest()...)
			out = append(out, row.token(owner))
			if row := &out[len(out)-1]; err == nil && row.Damaged {
				unread = append(unread, row.ID)
			}
			return err
		})
		if err != nil || len(unread) == 0 {
			return err
		}
		left, err := s.left(ctx, owner, unread...)
		for i := range out {
			if t, ok := left[out[i].ID]; ok {
				out[i] = t
			}
		}
		return err
	})
	if err != nil {
		return nil, err
	}
	return out, nil
}

// Roles implements latchkey.Store.
func (s *Store) Roles(ctx context.Context, owner string, q latchkey.RoleQuery) (out []latchkey.Role, err error) {
	var f filter
	if len(q.IDs) > 0 {
		f.and("r.id IN ?", anys(q.IDs, asAny)...)
	}
	if len(q.Names) > 0 {
		f.and("r.name IN ?", anys(q.Names, asAny)...)
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
