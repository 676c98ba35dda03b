package sqlstore

import (
	"context"
	"database/sql"
	"math"
	"strings"
	"time"

	"github.com/latchkey-go/latchkey"
)

// tokenList is the part of a query about tokens that SQL answers: everything but Find. No engine folds as Match does.
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
	text += ` ORDER BY `
	if l.key != "" {
		text += l.key + l.direction + `, `
	}
	return text + l.id + l.direction + ` LIMIT ?`, append(args, n)
}

// Tokens implements latchkey.Store. Without a filter, and by Client, Parent or Role, it reads a page by id from an
// index, at any position. Other filters are applied to one token after another, from After on, until the page is full.
// Other orders sort what the filters leave, for each page. Find reads the names of the tokens and compares them here.
func (s *Store) Tokens(ctx context.Context, owner string, q latchkey.TokenQuery) (out []latchkey.Token, err error) {
	start, err := pageStart(q)
	if err != nil {
		return nil, mapError(ctx, "list tokens", err)
	}
	l := s.tokenList(owner, q)
	if q.Find == "" {
		text, args := l.selectAfter(tokenColumns, start, q.Size())
		return s.readTokens(ctx, owner, text, args)
	}
	for {
		var places []latchkey.Token
		done, err := s.scanTokens(ctx, &l, &start, func(t *latchkey.Token) bool {
			places = append(places, *t)
			return len(out)+len(places) < q.Size()
		})
		if err != nil {
			return nil, err
		}
		found, err := s.readFound(ctx, &l, places)
		if err != nil {
			return nil, err
		}
		// A token that was changed or removed meanwhile is not among them, and others take its place.
		if out = append(out, found...); done || len(out) >= q.Size() {
			return out, nil
		}
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
		var start *latchkey.Token
		_, err := s.scanTokens(ctx, &l, &start, func(*latchkey.Token) bool {
			n++
			return n < limit
		})
		if err != nil {
			return 0, err
		}
		return n, nil
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

// scanTokens reads what a search compares, from start on, and calls found with each token that the query selects, until
// that returns false. It sets start to the last token that it has read. It reports whether it came to the end.
func (s *Store) scanTokens(ctx context.Context, l *tokenList, start **latchkey.Token,
	found func(*latchkey.Token) bool) (done bool, err error) {
	match := latchkey.TokenQuery{Find: l.q.Find}
	for {
		text, args := l.selectAfter(`t.id, t.name, t.hint, t.used, t.not_after`, *start, scanSize)
		var page []latchkey.Token
		err := s.read(ctx, "search tokens", func() error {
			page = page[:0]
			return s.eachUnprepared(ctx, text, args, func(rows *sql.Rows) error {
				var t latchkey.Token
				var used, notAfter sql.NullInt64
				err := rows.Scan(&t.ID, &t.Name, &t.Hint, &used, &notAfter)
				t.Used, t.Validity.NotAfter = fromMicros(used), fromMicros(notAfter)
				page = append(page, t)
				return err
			})
		})
		if err != nil {
			return false, err
		}
		for i := range page {
			*start = &page[i]
			if match.Match(page[i]) && !found(&page[i]) {
				return false, nil
			}
		}
		if len(page) < scanSize {
			return true, nil
		}
	}
}

// readFound reads the tokens at these places, in their order. It leaves out those that have moved, or that the search
// does not select any more.
func (s *Store) readFound(ctx context.Context, l *tokenList, places []latchkey.Token) ([]latchkey.Token, error) {
	if len(places) == 0 {
		return nil, nil
	}
	text := `SELECT ` + tokenColumns + ` FROM latchkey_tokens t WHERE t.owner = ? AND t.id IN (?` +
		strings.Repeat(`, ?`, len(places)-1) + `)`
	id := func(t latchkey.Token) any { return t.ID }
	list, err := s.readTokens(ctx, l.owner, text, append([]any{l.owner}, anySlice(places, id)...))
	if err != nil {
		return nil, err
	}
	byID := make(map[string]latchkey.Token, len(list))
	for _, t := range list {
		byID[t.ID] = t
	}
	match := latchkey.TokenQuery{Find: l.q.Find}
	out := list[:0]
	for _, place := range places {
		if t, ok := byID[place.ID]; ok && l.q.Compare(place, t) == 0 && match.Match(t) {
			out = append(out, t)
		}
	}
	return out, nil
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
