package latchkey

import (
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"sync/atomic"

	"github.com/latchkey-go/latchkey/internal/predicate"
	"github.com/latchkey-go/latchkey/internal/strictjson"
)

// FieldType is how values of a field compare.
type FieldType uint8

const (
	// Text compares byte by byte: no folding, no normalisation, no padding.
	Text FieldType = iota + 1
	// Integer compares with whole numbers within int64, exactly. A row may hold any number that a Number compares.
	Integer
	// Number compares decimals of at most 35 digits before and 30 after the point. The comparison is exact with a row that
	// holds an integer or a decimal. With a row that holds a float it is by the nearest float64. A float of 2^53 or more,
	// which may be a rounded integer, is unknown, and so are infinities. See [Float].
	Number
	// Boolean supports equality and lists, but no order. A row may hold true, false, 1 or 0.
	Boolean
	// Date compares calendar days of the years 1000 to 9999, written 2026-11-22.
	Date
	// DateTime compares instants of the years 1000 to 9999, to the microsecond. A condition writes them as RFC 3339, with
	// a zone: 2026-11-22T10:00:00.5Z. A row may omit the zone, which means UTC, and write a space for the T. On PostgreSQL
	// the column is a timestamptz, on MySQL a DATETIME that holds UTC, on SQLite text.
	DateTime
	// Float compares as float64 does: the value of a condition and that of a row are each the nearest float64. It is for
	// columns that hold floats of any magnitude, infinity included, and never for ids or money. Text may have an exponent:
	// 6.022e23. NaN is unknown.
	Float
)

// Dialect is a family of SQL engines.
type Dialect uint8

const (
	SQLite Dialect = iota + 1
	Postgres
	MySQL // MySQL and MariaDB
)

// Field is the SQL column of a field of a condition, and how its values compare.
type Field struct {
	Column string // written into SQL as it is: it must never come from input
	Type   FieldType
}

// Fields maps the names that conditions use to columns. Two names may map to one column, and are then one field
// everywhere. They must write the column alike, and have one type.
type Fields map[string]Field

// Row is one row by field name. A missing name is an unknown value: no comparison admits it, nor does is-null. nil is
// NULL. Otherwise a value may be of any kind that database drivers return:
//
//   - string, []byte (which is text), integers, floats, bool, time.Time and json.Number;
//   - types made of these, and pointers to them;
//   - structs such as sql.NullString.
//
// A value that does not fit the type of its field is unknown, though not NULL. See [Blob].
type Row map[string]any

// Blob marks a value that SQL holds as a BLOB and not as text, so that Match does not take it for text. Only SQLite
// distinguishes the two within one column. A host that reads a []byte from a column of SQLite makes it a Blob.
type Blob []byte

// Schema is a set of fields, checked once. Make one per table and keep it: it caches the SQL of conditions by their
// shape. Safe for concurrent use.
type Schema struct {
	fields Fields
	inner  *predicate.Schema
	every  *Predicate // of AllRows
}

// NewSchema returns the schema of fields. It panics, naming the field, on an empty name or column, and on an unknown
// type. It also panics on two names of one column that differ in type, or that write the column differently (in case).
func NewSchema(fields Fields) *Schema {
	typed := make(map[string]predicate.Field, len(fields))
	for name, f := range fields {
		typed[name] = predicate.Field{Column: f.Column, Type: predicate.Type(f.Type)}
	}
	inner, err := predicate.NewSchema(typed, opaque)
	if err != nil {
		panic("latchkey: NewSchema: " + err.Error())
	}
	s := &Schema{fields: maps.Clone(fields), inner: inner}
	b := predicate.NewBinder(inner, 1, nil)
	b.Every(0)
	s.every = &Predicate{b.Predicate()}
	return s
}

// opaque returns why no field holds a value, for the types of this package that are no value of a row. It returns ""
// for every other value.
func opaque(v any) string {
	switch v.(type) {
	case Blob:
		return "a BLOB fits no field"
	case RefVar, AttrRef: // they belong in a condition, not in a row
		return "a value of a kind no field holds"
	}
	return ""
}

// Fields returns a copy of the fields that the schema was made from.
func (s *Schema) Fields() Fields { return maps.Clone(s.fields) }

// column returns the column that a name maps to.
func (s *Schema) column(name string) (string, bool) {
	f, ok := s.fields[name]
	return f.Column, ok
}

// Bind is NewSchema(f).Bind(c). A program that binds often keeps a [Schema].
func (c Condition) Bind(f Fields) (*Predicate, error) { return NewSchema(f).Bind(c) }

// Bind types the values of c. It returns a *ConditionError that names the field for what does not fit. That is an
// unknown field, an operator that the type does not support, or a value of another type. A value may be text, as it
// comes from a form.
func (s *Schema) Bind(c Condition) (*Predicate, error) {
	switch {
	case c.n == nil:
		return &Predicate{}, nil
	case c.n.kind == nodeFault:
		return nil, c.n.fault
	case c.n.kind == nodeEvery:
		return s.every, nil
	}
	if known := c.n.bound.of(s); known != nil {
		return known, nil
	}
	var space [256]byte
	b := predicate.NewBinder(s.inner, c.n.count, space[:])
	if err := c.n.bind(&b, 0, false); err != nil {
		return nil, err
	}
	p := &Predicate{b.Predicate()}
	if c.n.bound != nil {
		p.inner.Keep()
		c.n.bound.add(s, p)
	}
	return p, nil
}

// bindings are what a condition was bound to last, by schema. Nil holds none. They are safe for concurrent use.
type bindings struct {
	last [4]atomic.Pointer[binding]
	next atomic.Uint32
}

type binding struct {
	schema *Schema
	bound  *Predicate
}

// of returns what the condition was bound to s as, nil if that is not known.
func (b *bindings) of(s *Schema) *Predicate {
	if b == nil {
		return nil
	}
	for i := range b.last {
		if known := b.last[i].Load(); known != nil && known.schema == s {
			return known.bound
		}
	}
	return nil
}

func (b *bindings) add(s *Schema, p *Predicate) {
	b.last[b.next.Add(1)%uint32(len(b.last))].Store(&binding{s, p})
}

// kept returns c with room for what it is bound to. It is for a condition that is handed out more than once.
func (c Condition) kept() Condition {
	if c.n == nil || c.n.kind == nodeEvery || c.n.bound != nil {
		return c
	}
	n := *c.n
	n.bound = new(bindings)
	return Condition{&n}
}

// bind passes the node to b as its node at. If negated, it passes the opposite, which every leaf takes into its
// operator.
func (n *node) bind(b *predicate.Binder, at int, negated bool) error {
	for n.kind == nodeNot {
		n, negated = n.parts[0], !negated
	}
	switch n.kind {
	case nodeLeaf:
		if err := b.Compare(at, n.field, string(n.op), n.value, negated); err != nil {
			if isRef(n.value) && !err.Unknown {
				err.Reason = fmt.Sprintf("the reference %v is not filled in: bind the condition that Access.Filter returns",
					n.value)
			}
			return conditionError(err, n.rule)
		}
		return nil
	case nodeAll, nodeAny:
		var first int
		if (n.kind == nodeAll) != negated {
			first = b.All(at, len(n.parts))
		} else {
			first = b.Any(at, len(n.parts))
		}
		for i, p := range n.parts {
			if err := p.bind(b, first+i, negated); err != nil {
				return err
			}
		}
		b.End()
	case nodeEvery:
		b.Every(at)
	default:
		b.Never(at)
	}
	return nil
}

func conditionError(err *predicate.FieldError, ofRule bool) *ConditionError {
	return &ConditionError{Field: err.Field, Unknown: err.Unknown, Reason: err.Reason, OfRule: ofRule}
}

// Predicate is a bound condition. Match and SQL admit exactly the same rows. It is immutable; safe for concurrent use.
// A nil Predicate admits no row.
type Predicate struct{ inner predicate.Predicate }

// Match reports whether the row is admitted. It does not allocate for rows of the common kinds.
func (p *Predicate) Match(r Row) bool { return p != nil && p.inner.Match(r) }

// SQL returns the condition as a fragment in parentheses, and its arguments. Placeholders are ? on SQLite and MySQL,
// and $first, $first+1, … on PostgreSQL; other dialects ignore first. The text depends on the shape of the condition
// only. Columns come from [Fields], and values go into args.
//
// The fragment may stand in a WHERE clause under AND and OR. It must never stand under NOT, nor in a place that turns
// NULL into true: bind [Not] of the condition instead. SQL panics on an unknown dialect, and on first < 1 on
// PostgreSQL.
func (p *Predicate) SQL(d Dialect, first int) (where string, args []any) {
	if p == nil {
		return new(predicate.Predicate).SQL(predicate.Dialect(d), first)
	}
	return p.inner.SQL(predicate.Dialect(d), first)
}

// UnmarshalJSON reads an object, and adds its members to the row; null makes the row nil. Numbers become a json.Number,
// so that none loses a digit: 1e3 and 1000.0 become 1000. It returns a *[ConditionError] for JSON that has more than
// one meaning, such as a name given twice, or twice but for its case. The row then stays as it was.
func (r *Row) UnmarshalJSON(data []byte) error {
	var read map[string]any
	if err := strictjson.Unmarshal(data, &read); err != nil {
		var e *strictjson.Error
		if errors.As(err, &e) {
			return malformed(e.Reason)
		}
		return malformed("malformed")
	}
	if read == nil {
		*r = nil
		return nil
	}
	if *r == nil {
		*r = make(Row, len(read))
	}
	for name, v := range read {
		if n, ok := v.(json.Number); ok {
			v = predicate.PlainNumber(n)
		}
		(*r)[name] = v
	}
	return nil
}
