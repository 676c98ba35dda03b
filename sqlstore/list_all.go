package sqlstore

import (
	"context"
	"database/sql"
	"math"
	"slices"

	"github.com/latchkey-go/latchkey"
)

// These listings are of all owners, and Deliver belongs to one of them. They are the only ones.

// Ending implements latchkey.Store. It reads the index on not_after, and passes over minted and revoked tokens.
func (s *Store) Ending(ctx context.Context, q latchkey.EndingQuery) ([]latchkey.Token, error) {
	start, paged, err := q.Start()
	if err == nil {
		err = checkFeed(q.Feed)
	}
	if err != nil {
		return nil, mapError(ctx, "list ending tokens", err)
	}
	from, to := int64(math.MinInt64), int64(math.MaxInt64)
	if !q.From.IsZero() {
		from = ceilMicros(q.From)
	}
	if !q.To.IsZero() {
		to = ceilMicros(q.To)
	}
	text := `SELECT t.owner, ` + tokenColumns + ` FROM latchkey_tokens t WHERE t.not_after IS NOT NULL AND t.not_after >= ?
		AND t.not_after < ? AND t.parent = '' AND t.revoked IS NULL`
	args := []any{from, to}
	if paged {
		after := start.Validity.NotAfter.UnixMicro()
		args[0] = max(from, after)
		text += ` AND (t.not_after, t.owner, t.id) > (?, ?, ?)`
		args = append(args, after, start.Owner, start.ID)
	}
	text += ` ORDER BY t.not_after, t.owner, t.id LIMIT ?`
	return s.readTokensOfAll(ctx, "list ending tokens", text, append(args, q.Size()))
}

// Unused implements latchkey.Store. An index on used would cost every last use more than such a listing is worth: on
// PostgreSQL it would turn each from an update in place into one of every index. So it looks at a bounded number of
// tokens, by their key.
func (s *Store) Unused(ctx context.Context, q latchkey.UnusedQuery) (page []latchkey.Token, next string, err error) {
	const what = "list unused tokens"
	start, _, err := q.Start()
	if err == nil {
		err = checkFeed(q.Feed)
	}
	if err != nil {
		return nil, "", mapError(ctx, what, err)
	}
	const columns = `SELECT owner, id, parent, created, used, revoked FROM latchkey_tokens t WHERE `
	found, next, err := scanPage(ctx, s, what, []scanPart{
		{columns + `owner = ? AND id > ? ORDER BY id LIMIT ?`, []any{start.Owner, start.ID}},
		{columns + `owner > ? ORDER BY owner, id LIMIT ?`, []any{start.Owner}},
	}, q.Size(), func(rows *sql.Rows) (t latchkey.Token, key string, keep bool, err error) {
		var created, used, revoked sql.NullInt64
		err = rows.Scan(&t.Owner, &t.ID, &t.Parent, &created, &used, &revoked)
		t.Created, t.Used, t.Revoked = fromMicros(created), fromMicros(used), fromMicros(revoked)
		return t, q.Key(t), q.Match(t), err
	})
	if err != nil || len(found) == 0 {
		return nil, next, err
	}
	args := make([]any, 0, 2*len(found))
	for _, t := range found {
		args = append(args, t.Owner, t.ID)
	}
	page, err = s.readTokensOfAll(ctx, what, `SELECT t.owner, `+tokenColumns+` FROM latchkey_tokens t
		WHERE `+s.dialect.inRows("t.owner, t.id", len(found))+`
		ORDER BY t.owner, t.id`, args)
	if err != nil {
		return nil, "", err
	}
	kept := page[:0]
	for _, t := range page { // it may have been used meanwhile
		if q.Match(t) {
			kept = append(kept, t)
		}
	}
	return kept, next, nil
}

// KeySecrets implements latchkey.Store.
func (s *Store) KeySecrets(ctx context.Context, q latchkey.KeyQuery) (
	page []latchkey.KeySecret, next string, err error,
) {
	const what = "list secrets by key"
	start, err := q.Start()
	if err == nil {
		err = checkFeed(q.Feed)
	}
	if err != nil {
		return nil, "", mapError(ctx, what, err)
	}
	const columns = `SELECT owner, token_id, digest, found, algorithm, lookup, hash, used, used_from
		FROM latchkey_secrets WHERE `
	return scanPage(ctx, s, what, []scanPart{
		{columns + `owner = ? AND token_id >= ? AND (token_id > ? OR digest > ?) ORDER BY token_id, digest LIMIT ?`,
			[]any{start.Owner, start.TokenID, start.TokenID, start.Secret.Digest[:]}},
		{columns + `owner > ? ORDER BY owner, token_id, digest LIMIT ?`, []any{start.Owner}},
	}, q.Size(),
		func(rows *sql.Rows) (k latchkey.KeySecret, key string, keep bool, err error) {
			var digest, packed string
			var foreign foreignSecret
			var used sql.NullInt64
			var from sql.NullString
			err = rows.Scan(append(append([]any{&k.Owner, &k.TokenID, &digest, &packed}, foreign.dest()...), &used,
				&from)...)
			if err != nil {
				return k, "", false, err
			}
			_, _, damage := unpackSecret(packed, &k.Secret)
			damaged := damage != nil || string(k.Secret.Digest[:]) != digest
			copy(k.Secret.Digest[:], digest)
			foreign.into(&k.Secret)
			k.Secret.Used, k.Secret.UsedFrom = fromMicros(used), parseAddress(from.String)
			return k, q.Key(k.Owner, k.TokenID, k.Secret.Digest), !damaged && q.Match(&k.Secret), nil
		})
}

// A scanPart is a statement of a scan. Its text has one more placeholder, for the number of rows. A scan over all
// owners has two: the rest of one owner, and the owners behind it. No engine finds its place in an index by one
// condition on the owner and what is of it: MariaDB searches by no row value, and PostgreSQL judges one by its first
// column alone.
type scanPart struct {
	text string
	args []any
}

// scanPage looks at the next scanSize rows, those of the first part first, and returns at most size of those that scan
// keeps. Next is the key of the last row that it looked at, and "" after the last row of all.
func scanPage[T any](ctx context.Context, s *Store, what string, parts []scanPart, size int,
	scan func(*sql.Rows) (item T, key string, keep bool, err error)) (page []T, next string, err error) {
	err = s.read(ctx, what, func() error {
		page, next = nil, ""
		read := 0
		for _, part := range parts {
			if read == scanSize || len(page) == size {
				return nil
			}
			err := s.each(ctx, part.text, append(slices.Clone(part.args), scanSize-read), func(rows *sql.Rows) error {
				if read++; len(page) == size {
					return nil
				}
				item, key, keep, err := scan(rows)
				if next = key; err == nil && keep {
					page = append(page, item)
				}
				return err
			})
			if err != nil {
				return err
			}
		}
		if read < scanSize && len(page) < size {
			next = ""
		}
		return nil
	})
	if err != nil {
		return nil, "", err
	}
	return page, next, nil
}

// Undelivered implements latchkey.Store.
func (s *Store) Undelivered(ctx context.Context, q latchkey.UndeliveredQuery) (
	page []latchkey.Delivery, next string, err error,
) {
	const what = "list undelivered events"
	err = checkFeed(q.Feed)
	if err == nil {
		err = latchkey.CheckCursor(q.Cursor)
	}
	if err != nil {
		return nil, "", mapError(ctx, what, err)
	}
	return scanPage(ctx, s, what, []scanPart{{`SELECT e.owner, e.seq, c.seq FROM latchkey_event_seqs e
		LEFT JOIN latchkey_cursors c ON c.owner = e.owner AND c.name = ?
		WHERE e.owner > ? ORDER BY e.owner LIMIT ?`, []any{q.Cursor, q.After}}}, q.Size(),
		func(rows *sql.Rows) (d latchkey.Delivery, key string, keep bool, err error) {
			var last int64
			var at sql.NullInt64
			err = rows.Scan(&d.Owner, &last, &at)
			d.Seq, d.Last = uint64(at.Int64), uint64(last)
			return d, d.Owner, d.Seq < d.Last, err
		})
}

// Revocations implements latchkey.Store.
func (s *Store) Revocations(ctx context.Context, q latchkey.RevocationQuery) (
	page []latchkey.Change, next string, err error,
) {
	const what = "list revocations"
	err = checkFeed(q.Feed)
	var until int64
	var epoch, place uint64
	var last string
	if err == nil {
		until, epoch, place, err = q.Start()
	}
	if err != nil {
		return nil, "", mapError(ctx, what, err)
	}
	err = s.read(ctx, what, func() error {
		page, next = nil, ""
		return s.each(ctx, `SELECT epoch, seq, owner, id, until FROM latchkey_changes
			WHERE kind = 4 AND until >= ? AND (until > ? OR epoch > ? OR epoch = ? AND seq > ?)
			ORDER BY until, epoch, seq LIMIT ?`,
			[]any{until, until, int64(epoch), int64(epoch), int64(place), q.Size() + 1}, func(rows *sql.Rows) error {
				c := latchkey.Change{Kind: latchkey.ChangedRevocation}
				var seq uint64
				var until sql.NullInt64
				if err := rows.Scan(&c.Epoch, &seq, &c.Owner, &c.ID, &until); err != nil {
					return err
				}
				if len(page) == q.Size() {
					next = last
					return nil
				}
				c.Until = fromMicros(until)
				last = latchkey.RevocationKey(&c, seq)
				unpackChange(&c)
				page = append(page, c)
				return nil
			})
	})
	if err != nil {
		return nil, "", err
	}
	return page, next, nil
}

// Deliver implements latchkey.Store.
func (s *Store) Deliver(ctx context.Context, owner, cursor string, seq uint64) error {
	const what = "deliver events"
	if err := latchkey.CheckCursor(cursor); err != nil {
		return mapError(ctx, what, err)
	}
	return s.write(ctx, what, func(t *tx) error {
		_, err := t.exec(`INSERT INTO latchkey_cursors (owner, name, seq) VALUES (?, ?, ?)`+
			t.dialect().onConflictUpdate("owner, name", `seq = CASE WHEN latchkey_cursors.seq > excluded.seq
				THEN latchkey_cursors.seq ELSE excluded.seq END`), owner, cursor, int64(seq))
		return err
	})
}

// readTokensOfAll reads tokens that a statement selects by owner and tokenColumns. Of damaged ones it reads what is
// left.
func (s *Store) readTokensOfAll(ctx context.Context, what, text string, args []any) (out []latchkey.Token, err error) {
	err = s.read(ctx, what, func() error {
		out = nil
		err := s.eachUnprepared(ctx, text, args, func(rows *sql.Rows) error {
			var owner string
			var row tokenRow
			err := rows.Scan(append([]any{&owner}, row.dest()...)...)
			out = append(out, row.token(owner))
			return err
		})
		for i := range out {
			if err != nil || !out[i].Damaged {
				continue
			}
			var left map[string]latchkey.Token
			left, err = s.readDamagedTokens(ctx, out[i].Owner, out[i].ID)
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
