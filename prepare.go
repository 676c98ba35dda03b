package latchkey

import (
	"errors"
	"fmt"
	"slices"
)

// prepare decides about one row that is to be written: a create when before is nil, a delete when after is nil, an
// update otherwise. Conditions of gs hold no references. It returns the row to write as a typed copy, and nil for a
// delete.
//
// For a create, prepare tries every grant. It writes the forced values of the grant into the row, then tests the
// condition of the grant on the result. A row that a grant admits unchanged is returned. Otherwise all admitted results
// must be equal, or it is ErrForced.
//
// For an update nothing is forced: some grant must admit the row before, and some grant the row after, which is the
// whole new row. Only rows that the OR of all grants admits are ever returned.
//
// If no grant admits the row, the error is a *DeniedError. It is a *ConditionError if any grant holds a field that s
// does not have, or a value or condition that does not fit. The same goes for the rows. OfRule is false for three
// sources: the rows, a condition that no rule made, and a value that a layer forces beside its rules.
func prepare(gs []grant, a Action, on Resource, s *Schema, before, after Row, layers ...compiledLayer) (Row, error) {
	switch {
	case before == nil && after == nil:
		return nil, fmt.Errorf("%w: Prepare needs a row before, a row after, or both", ErrInvalid)
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
		if !admitted(before) { // as it is, untyped, so that Match agrees with SQL
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
	differ, unchanged := false, false
	for i, g := range gs { // all of them, so that the error does not depend on their order
		row := after
		if len(g.forced) > 0 {
			if row, err = s.force(after, g.forced); err != nil {
				return nil, ofRules(err, layers)
			}
		}
		switch {
		case !tests[i].Match(row):
		case s.inner.SameRow(row, after):
			unchanged = true
		case written == nil:
			written = row
		case !s.inner.SameRow(row, written):
			differ = true
		}
	}
	switch {
	case unchanged:
		return after, nil
	case differ:
		return nil, fmt.Errorf("%w: %s on %q is allowed in several ways that write different rows", ErrForced, a, string(on))
	case written == nil:
		return nil, refused
	}
	return written, nil
}

// ofRules sets OfRule on an error about forced values, unless the values are of a layer.
func ofRules(err error, layers []compiledLayer) error {
	of, ok := errors.AsType[*ConditionError](err)
	if !ok || slices.ContainsFunc(layers, func(l compiledLayer) bool { _, has := l.forced[of.Field]; return has }) {
		return err
	}
	noted := *of
	noted.OfRule = true
	return &noted
}

// checkRows returns ErrInvalid for rows that contradict the action. An update without the row before would pass for a
// create, and take over a row that the caller may not reach. A create with a row before would skip the forced values.
func checkRows(a Action, before, after bool) error {
	switch {
	case a == Create && (before || !after):
		return fmt.Errorf("%w: a create takes no row before, and a row after", ErrInvalid)
	case a == Update && !(before && after):
		return fmt.Errorf("%w: an update takes the whole row before and the whole row after", ErrInvalid)
	case a == Delete && (!before || after):
		return fmt.Errorf("%w: a delete takes a row before, and none after", ErrInvalid)
	}
	return nil
}

// Row types the values of a row as Bind types those of a condition, so that it can be written. Text from a form becomes
// a number in an Integer or Number field. The result holds
//
//	Text      string
//	Integer   int64
//	Number    int64, float64 if it was a float, else json.Number: the exact decimal text, which drivers pass on as text
//	Float     float64, the nearest
//	Boolean   bool
//	Date      string, 2026-11-22
//	DateTime  string, RFC 3339 in UTC, truncated to the microsecond; no zone means UTC
//
// and nil where the row has NULL.
//
// A field that the schema does not have, and a value that does not fit, are a *ConditionError. A whole float64 of 2^53
// or more does not fit an Integer or a Number, nor does a whole float32 of 2^24 or more. It may be a rounded integer.
// Reading JSON into a [Row] keeps numbers exact.
//
// Of two names of one column only the first in byte order stays, if both have the same value; otherwise Row returns an
// error. The row itself is not changed.
func (s *Schema) Row(in Row) (Row, error) {
	out, err := s.inner.Row(in)
	if err != nil {
		return nil, conditionError(err, false)
	}
	return out, nil
}

// force returns a copy of a row with the forced values, typed, in place of its own. A column keeps the name that the
// row uses for it.
func (s *Schema) force(row Row, forced Values) (Row, error) {
	out, err := s.inner.Force(row, forced)
	if err != nil {
		return nil, conditionError(err, false)
	}
	return out, nil
}
