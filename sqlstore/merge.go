package sqlstore

import (
	"database/sql"
	"errors"
	"fmt"
	"regexp"
	"strings"
)

// mergedStatement is a statement that later has kept back. If changes share the transaction, it has a row of arguments
// and a check for each of them.
type mergedStatement struct {
	text   string
	rows   [][]any
	reads  bool // it is a SELECT 1
	checks []func(n int64) error
}

// maxMerged bounds how many statements are merged into one. It also bounds how many different texts there are.
const maxMerged = 12

// later runs a statement at the latest before the next one that is not given to later, or at the end of the job. Then
// it calls check with the number of rows that the statement touched. Nil: any number is right. The checks are called
// in the order of the statements, and may run statements themselves.
//
// On an engine that is far away, the round trips are what a transaction costs. So statements that are given to later
// one after another are run as one, where the engine can: each is a part of a WITH. All parts see the rows as they
// were before, and touch them in no particular order. So a part must not depend on what an earlier one did, and no two
// may touch the same row. Where they would, runMerged separates them.
//
// While changes of several owners share the transaction, statements of the same text are one part, whose arguments are
// arrays. So what a shared transaction costs, and its text, hardly depend on how many changes there are. Then a
// statement with a check must touch one row at most.
func (t *tx) later(text string, args []any, check func(n int64) error) error {
	if !t.dialect().mergesStatements {
		n, err := t.exec(text, args...)
		if err != nil || check == nil {
			return err
		}
		return check(n)
	}
	return t.merge(text, args, false, check)
}

// merge keeps a statement back.
func (t *tx) merge(text string, args []any, reads bool, check func(n int64) error) error {
	if t.shared {
		for i := range t.merged {
			if m := &t.merged[i]; m.text == text {
				m.rows, m.checks = append(m.rows, args), append(m.checks, check)
				return nil
			}
		}
	}
	t.merged = append(t.merged, mergedStatement{text, [][]any{args}, reads, []func(int64) error{check}})
	if len(t.merged) >= maxMerged && !t.shared {
		return t.runMerged()
	}
	return nil
}

// requireLater is later for a SELECT 1 of a row that must not change until the commit.
func (t *tx) requireLater(text string, args []any, check func(n int64) error) error {
	if t.dialect().mergesStatements {
		// No lock of the row: who changes it has the lock of its owner, which this transaction has too.
		return t.merge(text, args, true, check)
	}
	var n int64
	if _, err := t.row(text+t.dialect().forShare, args, &n); err != nil {
		return err
	}
	return check(n)
}

// insertLater is later for tx.insert.
func (t *tx) insertLater(text string, args []any, check func(n int64) error) error {
	if t.dialect().mergesStatements {
		return t.later(text+t.dialect().ifAbsent, args, check)
	}
	n, err := t.insert(text, args...)
	if err == nil && check != nil {
		err = check(n)
	}
	return err
}

// touchedOne is a check for a statement that must touch exactly one row of the Store's own.
func touchedOne(n int64) error {
	if n != 1 {
		return fmt.Errorf("%d rows were touched instead of one", n)
	}
	return nil
}

// errUneven means that a statement of a shared transaction found what it needs for some of the changes only. Which of
// them is at fault shows when each is tried alone.
var errUneven = errors.New("a statement for several changes touched a row for some of them")

// check calls the checks with the number of rows that the statement touched.
func (m *mergedStatement) check(touched int64) error {
	for _, check := range m.checks {
		each := touched
		switch {
		case check == nil:
			continue
		case touched == int64(len(m.rows)):
			each = 1
		case touched != 0:
			return errUneven
		}
		if err := check(each); err != nil {
			return err
		}
	}
	return nil
}

// runMerged runs the statements that later has kept back.
func (t *tx) runMerged() error {
	merged := t.merged
	t.merged = nil // before anything is run, which would come here again
	touched := make([]int64, len(merged))
	switch {
	case len(merged) == 0:
		return nil
	case len(merged) == 1 && len(merged[0].rows) == 1:
		m := merged[0]
		var err error
		if m.reads {
			_, err = t.row(m.text, m.rows[0], &touched[0])
		} else {
			touched[0], err = t.exec(m.text, m.rows[0]...)
		}
		if err != nil {
			return err
		}
	default:
		var with, sum strings.Builder
		var args []any
		dest := make([]any, len(merged))
		for i, m := range merged {
			separator, end := ", ", " RETURNING 1"
			if i == 0 {
				separator = ""
			}
			if m.reads {
				end = ""
			}
			if len(m.rows) > 1 {
				types := columnTypes(m.rows)
				m.text = t.store.forRows(m.text, types)
				for c := range types {
					args = append(args, arrayOf(m.rows, c))
				}
			} else {
				args = append(args, m.rows[0]...)
			}
			fmt.Fprintf(&with, "%sm%d AS (%s%s)", separator, i, m.text, end)
			fmt.Fprintf(&sum, "%s(SELECT count(*) FROM m%d)", separator, i)
			dest[i] = &touched[i]
		}
		err := t.each(`WITH `+with.String()+` SELECT `+sum.String(), args,
			func(rows *sql.Rows) error { return rows.Scan(dest...) })
		if err != nil {
			return err
		}
	}
	for i := range merged {
		if err := merged[i].check(touched[i]); err != nil {
			return err
		}
	}
	return nil
}

// columnTypes returns PostgreSQL's types of the arguments, which are the same in each row.
func columnTypes(rows [][]any) []string {
	types := make([]string, len(rows[0]))
	for c, v := range rows[0] {
		switch v.(type) {
		case int64, int, noNumber:
			types[c] = "bigint"
		case string:
			types[c] = "text"
		case []byte, noBytes:
			types[c] = "bytea"
		default:
			panic(fmt.Sprintf("sqlstore: %T in an array", v))
		}
	}
	return types
}

// forRows is statementForRows, computed once for each text.
func (s *Store) forRows(text string, types []string) string {
	if known, ok := s.rowForms.Load(text); ok {
		return known.(string)
	}
	form := statementForRows(text, types)
	s.rowForms.Store(text, form)
	return form
}

// where begins the condition of a statement, onConflict the end of an INSERT.
var where, onConflict = regexp.MustCompile(`\s+WHERE\s`), regexp.MustCompile(`\s+ON CONFLICT|$`)

// statementForRows returns the statement that does for each row of arrays what text does for one row of arguments. The
// text is an UPDATE, a DELETE, a SELECT of one table, or an INSERT of VALUES or of a SELECT without FROM. The engine is
// PostgreSQL.
func statementForRows(text string, types []string) string {
	var arrays, names []string
	for i, typ := range types {
		arrays, names = append(arrays, `CAST(? AS `+typ+`[])`), append(names, fmt.Sprint("c", i))
		text = strings.Replace(text, `?`, fmt.Sprint("v.c", i), 1)
	}
	list := ` unnest(` + strings.Join(arrays, `, `) + `) AS v (` + strings.Join(names, `, `) + `)`
	before := func(part *regexp.Regexp, insert string) string {
		i := part.FindStringIndex(text)[0]
		return text[:i] + insert + list + text[i:]
	}
	verb, _, _ := strings.Cut(text, " ")
	switch verb {
	case "UPDATE":
		return before(where, ` FROM`)
	case "DELETE":
		return before(where, ` USING`)
	case "SELECT":
		return before(where, `,`)
	}
	if head, rest, ok := strings.Cut(text, `VALUES (`); ok {
		values, end, _ := strings.Cut(rest, `)`)
		text = head + `SELECT ` + values + end
	}
	return before(onConflict, ` FROM`)
}
