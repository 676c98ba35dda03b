package latchkey

import (
	"errors"
	"fmt"
	"slices"
)

// prepare decides about one row that is to be written: a create when before is nil, a delete when after is nil, an
// update otherwise. Conditions of gs hold no references. The row to write is returned as a typed copy; nil for a
// delete.
//
// A create tries every grant: its forced values are written into the row, then its condition is asked of the result. A
// row that stands as the caller gave it wins; else all admitted results must be equal, or it is ErrForced. An update
// forces nothing: some grant must admit the row before, and some grant the row after, which is the whole new row. Only
// rows that the OR of all grants admits are ever returned. Nothing admitted is a *DeniedError; a field that s does not
// know, and a value or condition that does not fit it, is a *ConditionError, whichever grant holds it; OfRule unless it
// is of the rows, of a condition that no rule made, or of a value that some layer forces beside its rules.
func prepare(gs []grant, a Action, on Resource, s *Schema, before, after Row, layers ...compiledLayer) (Row, error) {
	switch {
	case before == nil && after == nil:
		return nil, fmt.Errorf("%w: neither a row before nor a row after", ErrInvalid)
	case s == nil:
		return nil, fmt.Errorf("%w: no schema", ErrInvalid)
	case len(gs) == 0:
		return nil, &DeniedError{Action: a, Resource: on}
	}
	tests := make([]*Predicate, len(gs))
	for i, g := range gs {
		var err error
		if tests[i], err = s.Bind(g.rows); err != nil {
			return nil, err
		}
	}
	admitted := func(row Row) bool {
		for _, t := range tests {
			if t.Match(row) {
				return true
			}
		}
		return false
	}
	refused := &DeniedError{Action: a, Resource: on, Rows: true}

	var err error
	if before != nil {
		if _, err = s.Row(before); err != nil {
			return nil, err
		}
		if !admitted(before) { // as it is, untyped: so Match says what SQL would
			return nil, refused
		}
		if after == nil {
			return nil, nil
		}
	}
	if after, err = s.Row(after); err != nil {
		return nil, err
	}
	if before != nil {
		if !admitted(after) {
			return nil, refused
		}
		return after, nil
	}

	var written Row
	differ, stands := false, false
	for i, g := range gs { // to the end, so that the error does not depend on the order of grants
		row := after
		if len(g.forced) > 0 {
			if row, err = s.force(after, g.forced); err != nil {
				return nil, ofRules(err, layers)
			}
		}
		switch {
		case !tests[i].Match(row):
		case s.inner.SameRow(row, after):
			stands = true
		case written == nil:
			written = row
		case !s.inner.SameRow(row, written):
			differ = true
		}
	}
	switch {
	case stands:
		return after, nil
	case differ:
		return nil, fmt.Errorf("%w: %s on %q is allowed in several ways that write different rows", ErrForced, a, string(on))
	case written == nil:
		return nil, refused
	}
	return written, nil
}

// ofRules notes on an error about forced values that a rule forces them, unless a layer does.
func ofRules(err error, layers []compiledLayer) error {
	of, ok := errors.AsType[*ConditionError](err)
	if !ok || slices.ContainsFunc(layers, func(l compiledLayer) bool { _, has := l.forced[of.Field]; return has }) {
		return err
	}
	noted := *of
	noted.OfRule = true
	return &noted
}

// checkRows refuses rows that contradict the action: an update without the row before would pass for a create and take
// over a row that the caller may not reach, and a create with one would skip what must be forced.
func checkRows(a Action, before, after bool) error {
	switch {
	case a == Create && (before || !after):
		return fmt.Errorf("%w: a create has no row before and a row after", ErrInvalid)
	case a == Update && !(before && after):
		return fmt.Errorf("%w: an update has the whole row before and the whole row after", ErrInvalid)
	case a == Delete && (!before || after):
		return fmt.Errorf("%w: a delete has a row before and none after", ErrInvalid)
	}
	return nil
}

// Row types the values of a row as Bind types those of a condition, so that it can be written: text from a form becomes
// a number in an Integer or Number field. The result holds
//
//	Text      string
//	Integer   int64
//	Number    int64, float64 if it was a float, else json.Number: the exact decimal text, which drivers pass on as text
//	Float     float64, the nearest
//	Boolean   bool
//	Date      string, 2026-11-22
//	DateTime  string, RFC 3339 in UTC. What is finer than a microsecond is cut; no zone means UTC
//
// and nil where the row has NULL. A field the schema does not know, and a value that does not fit, are a
// *ConditionError. For an Integer and a Number a whole float64 of 2^53 or more does not fit, nor does a whole float32
// of 2^24 or more: an integer that was read into a float may have become another one. Reading JSON into a Row keeps
// numbers. Of two names of one column only the first in byte order stays, if both give the same value; else the row is
// refused. The row itself is not changed.
func (s *Schema) Row(in Row) (Row, error) {
	out, err := s.inner.Row(in)
	if err != nil {
		return nil, conditionError(err, false)
	}
	return out, nil
}

// force returns a copy of a row with the forced values, typed, over the row's, whichever name the row used for a
// column; that name stays.
func (s *Schema) force(row Row, forced Values) (Row, error) {
	out, err := s.inner.Force(row, forced)
	if err != nil {
		return nil, conditionError(err, false)
	}
	return out, nil
}
