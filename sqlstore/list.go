package sqlstore

import (
	"context"
	"database/sql"
	"math"
	"strings"
	"time"

	"github.com/latchkey-go/latchkey"
)

// tokenList is the part of a query about tokens that SQL answers: everything but Find. No engine folds as Match does,
// so SQL lets tokens through that Match then leaves out.
type tokenList struct {
	q     latchkey.TokenQuery
	owner string
	from  string // the tables and the WHERE clause, without the place where the page begins
	args  []any
	// What the listing is ordered by. key is "" for the id alone.
	id, key, direction, above string
}

func (s *Store) tokenList(owner string, q latchkey.TokenQuery) tokenList {
	var f filter
	if len(q.IDs) > 0 {
		f.and("t.id IN ?", anySlice(q.IDs, asAny)...)
	}
	if len(q.Kinds) > 0 {
		f.and("t.kind IN ?", anySlice(q.Kinds, func(k latchkey.Kind) any { return int64(k) })...)
	}
	if q.Origin != nil {
		f.and("t.origin = ?", *q.Origin)
	}
	if q.Parent != "" {
		f.and("t.parent = ? AND t.parent <> ''", q.Parent) // the second condition makes the partial index usable
	}
	from, id := `latchkey_tokens t WHERE t.owner = ?`, "t.id"
	if q.Role != "" {
		// In this order: only a few of many tokens may have the role.
		from = `latchkey_token_roles x CROSS JOIN latchkey_tokens t ` +
			`WHERE x.owner = ? AND t.owner = x.owner AND t.id = x.token_id`
		id = "x.token_id"
		f.and("x.role_id = ?", q.Role)
	}
	if q.Client != "" {
		f.and("t.client_id = ? AND t.client_id <> ''", q.Client)
	}
	if q.Search != "" {
		prefix, n := []byte(q.Search), len(q.Search)
		f.and("("+s.dialect.startsWith("t.name")+" OR "+s.dialect.startsWith("t.id")+" OR "+
			s.dialect.startsWith("t.hint")+")", n, prefix, n, prefix, n, prefix)
	}
	if q.Find != "" {
		s.dialect.andFind(&f, q.Find)
	}
	if len(q.States) > 0 {
		now := q.Now.UnixMicro()
		args := []any{now, now, now}
		f.text.WriteString(" AND " + tokenState)
		f.text.WriteString(" IN (?" + strings.Repeat(", ?", len(q.States)-1) + ")")
		f.args = append(f.args, append(args, anySlice(q.States, func(st latchkey.State) any { return int64(st) })...)...)
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
	if !q.CreatedBefore.IsZero() {
		f.and("(t.created IS NULL OR t.created < ?)", ceilMicros(q.CreatedBefore))
	}
	l := tokenList{q: q, owner: owner, from: from + f.text.String(), args: append([]any{owner}, f.args...), id: id,
		above: " > "}
	// No time is as early or as late as these bounds.
	switch q.Order {
	case latchkey.OrderName:
		l.key = "t.name"
	case latchkey.OrderUsed:
		l.key = "COALESCE(t.used, -9223372036854775807)"
	case latchkey.OrderEnd:
		l.key = "COALESCE(t.not_after, 9223372036854775807)"
	}
	if q.Reverse {
		l.direction, l.above = " DESC", " < "
	}
	return l
}

// selectAfter returns a statement for the next n tokens, and its arguments. A nil start is the beginning.
func (l *tokenList) selectAfter(columns string, start *latchkey.Token, n int) (text string, args []any) {
	args = append(args, l.args...)
	text = `SELECT ` + columns + ` FROM ` + l.from
	orNull := func(t time.Time, none int64) any {
		if t.IsZero() {
			return none
		}
		return t.UnixMicro()
	}
	if start != nil {
		switch l.q.Order {
		case latchkey.OrderID:
			text += ` AND ` + l.id + l.above + `?`
		default:
			text += ` AND (` + l.key + `, ` + l.id + `)` + l.above + `(?, ?)`
		}
		switch l.q.Order {
		case latchkey.OrderName:
			args = append(args, start.Name)
		case latchkey.OrderUsed:
			args = append(args, orNull(start.Used, -math.MaxInt64))
		case latchkey.OrderEnd:
			args = append(args, orNull(start.Validity.NotAfter, math.MaxInt64))
		}
		args = append(args, start.ID)
	}
	if l.key == "" {
		return text + ` ORDER BY ` + l.id + l.direction + ` LIMIT ?`, append(args, n)
	}
	order := ` ORDER BY ` + l.key + l.direction + `, t.id` + l.direction
	// All that the filters leave is sorted, so that is done with ids alone. The records are joined afterwards.
	return `SELECT ` + columns + ` FROM (SELECT t.id ` + strings.TrimPrefix(text, `SELECT `+columns+` `) + order +
		` LIMIT ?) p JOIN latchkey_tokens t ON t.owner = ? AND t.id = p.id` + order, append(args, n, l.owner)
}

// Tokens implements latchkey.Store. Without a filter, and by Client, Parent or Role, it reads a page by id from an
// index, at any position. Other filters are applied to one token after another, from After on, until the page is full.
// Other orders sort what the filters leave, for each page. Of Find, SQL sees to what no token lacks that Match selects:
// see needles.
func (s *Store) Tokens(ctx context.Context, owner string, q latchkey.TokenQuery) (out []latchkey.Token, err error) {
	start, err := pageStart(q)
	if err != nil {
		return nil, mapError(ctx, "list tokens", err)
	}
	l := s.tokenList(owner, q)
	match := latchkey.TokenQuery{Find: q.Find}
	for n := q.Size(); ; n = min(4*n, scanSize) {
		text, args := l.selectAfter(tokenColumns, start, n)
		page, err := s.readTokens(ctx, owner, text, args)
		if err != nil {
			return nil, err
		}
		for i := range page {
			if match.Match(page[i]) {
				out = append(out, page[i])
			}
		}
		if len(page) < n || len(out) >= q.Size() {
			return out[:min(len(out), q.Size())], nil
		}
		start = &page[n-1]
	}
}

// Count implements latchkey.Store.
func (s *Store) Count(ctx context.Context, owner string, q latchkey.TokenQuery, limit int) (n int, err error) {
	if limit <= 0 {
		limit = 1000
	}
	q.Page, q.Order, q.Reverse = latchkey.Page{}, latchkey.OrderID, false
	l := s.tokenList(owner, q)
	if q.Find != "" {
		return s.countFound(ctx, &l, limit)
	}
	text := `SELECT COUNT(*) FROM (SELECT 1 AS one FROM ` + l.from + ` LIMIT ?) n`
	err = s.read(ctx, "count tokens", func() error {
		return s.eachUnprepared(ctx, text, append(l.args, limit), func(rows *sql.Rows) error { return rows.Scan(&n) })
	})
	if err != nil {
		return 0, err
	}
	return n, nil
}

// pageStart returns where the page of a query begins, or nil for the beginning.
func pageStart(q latchkey.TokenQuery) (*latchkey.Token, error) {
	start, ok, err := q.Start()
	if err != nil || !ok {
		return nil, err
	}
	return &start, nil
}

// scanSize is how many tokens one statement of a search reads. No statement takes long, however many there are.
const scanSize = 4096

// countFound is Count with a Find.
func (s *Store) countFound(ctx context.Context, l *tokenList, limit int) (n int, err error) {
	match := latchkey.TokenQuery{Find: l.q.Find}
	for start := (*latchkey.Token)(nil); ; {
		text, args := l.selectAfter(`t.id, t.name, t.hint, t.client_id`, start, scanSize)
		var page []latchkey.Token
		err := s.read(ctx, "search tokens", func() error {
			page = page[:0]
			return s.eachUnprepared(ctx, text, args, func(rows *sql.Rows) error {
				var t latchkey.Token
				err := rows.Scan(&t.ID, &t.Name, &t.Hint, &t.Client.ID)
				page = append(page, t)
				return err
			})
		})
		if err != nil {
			return 0, err
		}
		for i := range page {
			if match.Match(page[i]) {
				n++
			}
		}
		if n >= limit || len(page) < scanSize {
			return min(n, limit), nil
		}
		start = &page[len(page)-1]
	}
}

// readTokens reads the tokens that a statement selects by tokenColumns. Of damaged ones it reads what is left.
func (s *Store) readTokens(ctx context.Context, owner, text string, args []any) (out []latchkey.Token, err error) {
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
		left, err := s.readDamagedTokens(ctx, owner, unread...)
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
