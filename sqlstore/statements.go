package sqlstore

import (
	"context"
	"database/sql"
	"database/sql/driver"
	"errors"
	"strings"
)

// stmt returns the statement for a text, prepared once per Store. It never drops one, so the number of texts must be
// small.
func (s *Store) stmt(ctx context.Context, text string) (*sql.Stmt, error) {
	s.mu.RLock()
	stmt, closed := s.stmts[text], s.closed
	s.mu.RUnlock()
	switch {
	case closed:
		return nil, errClosed
	case stmt != nil:
		return stmt, nil
	}
	// Prepared outside the lock: a full pool must not block callers whose statement exists. If two prepare the same text,
	// the slower one closes its statement.
	fresh, err := s.db.PrepareContext(ctx, s.render(text))
	if err != nil {
		return nil, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return nil, errors.Join(errClosed, fresh.Close())
	}
	if stmt = s.stmts[text]; stmt != nil {
		return stmt, fresh.Close()
	}
	s.stmts[text] = fresh
	return fresh, nil
}

// render returns a statement in the engine's form. It keeps every text, so their number must be small.
func (s *Store) render(text string) string {
	if !s.dialect.numbered && s.dialect.reserved == nil {
		return text
	}
	if known, ok := s.rendered.Load(text); ok {
		return known.(string)
	}
	own := s.dialect.render(text)
	s.rendered.Store(text, own)
	return own
}

// prepared returns a statement that stmt has made before. Otherwise it returns nil, and the statement is prepared
// before the next transaction.
func (s *Store) prepared(text string) *sql.Stmt {
	s.mu.RLock()
	stmt := s.stmts[text]
	s.mu.RUnlock()
	if stmt == nil {
		s.mu.Lock()
		defer s.mu.Unlock()
		s.wanted = append(s.wanted, text)
	}
	return stmt
}

// prepareWanted prepares the statements that earlier transactions lacked. A failure does no harm.
func (s *Store) prepareWanted(ctx context.Context) {
	s.mu.RLock()
	none := len(s.wanted) == 0
	s.mu.RUnlock()
	if none {
		return
	}
	s.mu.Lock()
	wanted := s.wanted
	s.wanted = nil
	s.mu.Unlock()
	for _, text := range wanted {
		if _, err := s.stmt(ctx, text); err != nil {
			return
		}
	}
}

// each runs a query and calls scan for each row. It is for a small number of different texts.
func (s *Store) each(ctx context.Context, text string, args []any, scan func(*sql.Rows) error) error {
	if !s.dialect.prepares {
		rows, err := s.db.QueryContext(ctx, s.render(text), args...)
		return eachRow(rows, err, scan)
	}
	stmt, err := s.stmt(ctx, text)
	if err != nil {
		return err
	}
	rows, err := stmt.QueryContext(ctx, args...)
	return eachRow(rows, err, scan)
}

// first reads the first row of a query into dest, and reports whether there was one. Unlike each it does not look for
// another row, which would be one more step of the engine.
func (s *Store) first(ctx context.Context, text string, args []any, dest ...any) (found bool, err error) {
	var rows *sql.Rows
	if s.dialect.prepares {
		var stmt *sql.Stmt
		if stmt, err = s.stmt(ctx, text); err == nil {
			rows, err = stmt.QueryContext(ctx, args...)
		}
	} else {
		rows, err = s.db.QueryContext(ctx, s.render(text), args...)
	}
	if err != nil {
		return false, err
	}
	defer rows.Close()
	if !rows.Next() {
		return false, errors.Join(rows.Err(), rows.Close())
	}
	if err := rows.Scan(dest...); err != nil {
		return false, err
	}
	return true, rows.Close()
}

// eachUnprepared is each for texts that depend on the caller's query.
func (s *Store) eachUnprepared(ctx context.Context, text string, args []any, scan func(*sql.Rows) error) error {
	rows, err := s.db.QueryContext(ctx, s.dialect.render(text), args...)
	return eachRow(rows, err, scan)
}

func eachRow(rows *sql.Rows, err error, scan func(*sql.Rows) error) error {
	if err != nil {
		return err
	}
	defer rows.Close()
	for rows.Next() {
		if err := scan(rows); err != nil {
			return err
		}
	}
	// Without this, a listing that an error cut off would look complete.
	return errors.Join(rows.Err(), rows.Close())
}

type querier interface {
	QueryContext(ctx context.Context, query string, args ...any) (*sql.Rows, error)
}

type execQuerier interface {
	querier
	ExecContext(ctx context.Context, query string, args ...any) (sql.Result, error)
}

func queryStrings(ctx context.Context, q querier, query string, args ...any) ([]string, error) {
	var out []string
	rows, err := q.QueryContext(ctx, query, args...)
	err = eachRow(rows, err, func(rows *sql.Rows) error {
		var s string
		err := rows.Scan(&s)
		out = append(out, s)
		return err
	})
	return out, err
}

// filter builds a WHERE clause.
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

func anySlice[T any](list []T, f func(T) any) []any {
	out := make([]any, len(list))
	for i, v := range list {
		out[i] = f(v)
	}
	return out
}

func asAny[T any](v T) any { return v }

// padded repeats the last element of a list until its length is a power of two.
func padded[T any](list []T) []T {
	for n := len(list); n&(n-1) != 0; n++ {
		list = append(list, list[len(list)-1])
	}
	return list
}

// discardConn closes a connection and removes it from the pool.
func discardConn(conn *sql.Conn) {
	_ = conn.Raw(func(any) error { return driver.ErrBadConn })
}
