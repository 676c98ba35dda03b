package sqlstore

import (
	"database/sql"
	"fmt"
	"strings"
)

// mergedStatement is a statement that later has kept back.
type mergedStatement struct {
	text  string
	args  []any
	reads bool // it is a SELECT 1
	check func(n int64) error
}

// maxMerged bounds how many statements are merged into one, unless tx.mergeLimit is set. It also bounds how many
// different texts there are.
const maxMerged = 12

// later runs a statement at the latest before the next one that is not given to later, or at the end of the job. Then
// it calls check with the number of rows that the statement touched. Nil: any number is right. The checks are called
// in the order of the statements, and may run statements themselves.
//
// On an engine that is far away, the round trips are what a transaction costs. So statements that are given to later
// one after another are run as one, where the engine can: each is a part of a WITH. All parts see the rows as they
// were before, and touch them in no particular order. So a part must not depend on what an earlier one did, and no two
// may touch the same row. Where they would, runMerged separates them.
func (t *tx) later(text string, args []any, check func(n int64) error) error {
	if check == nil {
		check = func(int64) error { return nil }
	}
	if !t.dialect().mergesStatements {
		n, err := t.exec(text, args...)
		if err != nil {
			return err
		}
		return check(n)
	}
	t.merged = append(t.merged, mergedStatement{text, args, false, check})
	return t.boundMerged()
}

func (t *tx) boundMerged() error {
	if len(t.merged) >= max(maxMerged, t.mergeLimit) {
		return t.runMerged()
	}
	return nil
}

// requireLater is later for a SELECT 1 of a row that must not change until the commit.
func (t *tx) requireLater(text string, args []any, check func(n int64) error) error {
	if t.dialect().mergesStatements {
		// No lock of the row: who changes it has the lock of its owner, which this transaction has too.
		t.merged = append(t.merged, mergedStatement{text, args, true, check})
		return t.boundMerged()
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

// runMerged runs the statements that later has kept back.
func (t *tx) runMerged() error {
	merged := t.merged
	t.merged = nil // before anything is run, which would come here again
	counts := make([]int64, len(merged))
	switch len(merged) {
	case 0:
		return nil
	case 1:
		m := merged[0]
		var err error
		if m.reads {
			_, err = t.row(m.text, m.args, &counts[0])
		} else {
			counts[0], err = t.exec(m.text, m.args...)
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
			fmt.Fprintf(&with, "%sm%d AS (%s%s)", separator, i, m.text, end)
			fmt.Fprintf(&sum, "%s(SELECT count(*) FROM m%d)", separator, i)
			args, dest[i] = append(args, m.args...), &counts[i]
		}
		err := t.each(`WITH `+with.String()+` SELECT `+sum.String(), args,
			func(rows *sql.Rows) error { return rows.Scan(dest...) })
		if err != nil {
			return err
		}
	}
	for i, m := range merged {
		if err := m.check(counts[i]); err != nil {
			return err
		}
	}
	return nil
}
