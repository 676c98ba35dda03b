package latchkey

import (
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"

	"github.com/latchkey-go/latchkey/internal/strictjson"
)

// FieldType is how values of a field compare.
type FieldType uint8

const (
	// Text compares byte by byte: no folding, no normalisation, no padding.
	Text FieldType = iota + 1
	// Integer compares with whole numbers within int64, exactly. A row may hold any number that Number knows.
	Integer
	// Number compares decimals of at most 35 digits before and 30 behind the point: exactly with a row that holds an
	// integer or a decimal, and as the nearest float64 with one that holds a float. Of a float of 2^53 or more, which may
	// be an integer that was rounded, it knows nothing, and so it is with infinities. See [Float].
	Number
	// Boolean knows = and != only. A row may hold true, false, 1 or 0.
	Boolean
	// Date compares calendar days of the years 1000 to 9999, written 2026-11-22.
	Date
	// DateTime compares instants of the years 1000 to 9999, to the microsecond. A condition writes them as RFC 3339
	// does, 2026-11-22T10:00:00.5Z, with a zone. A row may leave it out, which means UTC, and write a space for the T. On
	// PostgreSQL the column is a timestamptz, on MySQL a DATETIME that holds UTC, on SQLite text.
	DateTime
	// Float compares as float64 does: what stands in a condition, and what stands in a row, is the nearest float64. It is
	// for columns that hold floats of any magnitude, infinity included, and never for ids or money. Text may have an
	// exponent: 6.022e23. NaN is unknown.
	Float
)

// Dialect is a family of SQL engines.
type Dialect uint8

const (
	SQLite Dialect = iota + 1
	Postgres
	MySQL // MySQL and MariaDB
)

// Field is where a field of a condition lives in SQL, and how its values compare.
type Field struct {
	Column string // emitted as it is: it comes from the host's code, never from input
	Type   FieldType
}

// Fields maps the names conditions use to columns. Two names may map to one column and are then one field everywhere;
// they must write the column alike, and have one type.
type Fields map[string]Field

// Row is one row by field name. A missing name is an unknown value: no comparison admits it, nor does is-null. nil is
// NULL. Otherwise a value may be of any kind that database drivers hand out: string, []byte (which is text), integers,
// floats, bool, time.Time, json.Number, types made of these, pointers to them, and structs such as sql.NullString. A
// value that does not fit the type of its field is unknown, though not NULL. See [Blob].
type Row map[string]any

// Blob marks a value that SQL holds as a BLOB and not as text, so that Match does not take it for text. Only SQLite
// keeps the two apart within one column: a host that reads a []byte from a column of SQLite makes it a Blob.
type Blob []byte

// Schema is a set of fields, checked once. Make one per table and keep it: it remembers the SQL of the conditions it has
// seen, by their shape. Safe for concurrent use.
type Schema struct {
	fields  Fields
	slots   map[string]*slot
	columns []string // distinct, in byte order

	mu     sync.RWMutex
	shapes map[string]*sqlShape
}

// slot is what Bind knows of a name.
type slot struct {
	column int
	typ    FieldType
	names  []string // every name of the column, in byte order
}

// sqlShape is everything about a bound condition but its values. Texts are made when first asked for.
type sqlShape struct {
	texts [MySQL + 1]atomic.Pointer[[]*sqlText]
}

const (
	maxShapes     = 512
	maxShapeTexts = 4        // per dialect: PostgreSQL numbers placeholders, so each first makes another text
	maxShapeBytes = 16 << 10 // longer texts are made anew each time
)

// NewSchema checks fields and panics, naming the field, on an empty name or column, an unknown type, or two names of one
// column that differ in type or write the column differently (in case).
func NewSchema(fields Fields) *Schema {
	s := &Schema{fields: maps.Clone(fields), slots: make(map[string]*slot, len(fields)), shapes: map[string]*sqlShape{}}
	byColumn := map[string][]string{}
	written := map[string]string{}
	for _, name := range slices.Sorted(maps.Keys(fields)) {
		f := fields[name]
		if reason := checkName(name); reason != "" {
			panic(fmt.Sprintf("latchkey: NewSchema: field %q: %s", name, reason))
		}
		if strings.TrimSpace(f.Column) == "" {
			panic(fmt.Sprintf("latchkey: NewSchema: field %q has no column", name))
		}
		if f.Type < Text || f.Type > Float {
			panic(fmt.Sprintf("latchkey: NewSchema: field %q has no type", name))
		}
		folded := strings.ToLower(f.Column)
		if first, ok := written[folded]; ok {
			switch other := fields[byColumn[first][0]]; {
			case first != f.Column:
				panic(fmt.Sprintf("latchkey: NewSchema: field %q: columns %q and %q differ in case only, and are one to "+
					"most engines: write them alike", name, first, f.Column))
			case other.Type != f.Type:
				panic(fmt.Sprintf("latchkey: NewSchema: fields %q and %q share a column but differ in type",
					byColumn[first][0], name))
			}
		}
		written[folded] = f.Column
		byColumn[f.Column] = append(byColumn[f.Column], name)
	}
	s.columns = slices.Sorted(maps.Keys(byColumn))
	for i, column := range s.columns {
		names := byColumn[column]
		for _, name := range names {
			s.slots[name] = &slot{column: i, typ: fields[name].Type, names: names}
		}
	}
	return s
}

// Fields returns a copy of what the schema was made from.
func (s *Schema) Fields() Fields { return maps.Clone(s.fields) }

// column is the column a name maps to.
func (s *Schema) column(name string) (string, bool) {
	f, ok := s.fields[name]
	return f.Column, ok
}

// Bind is NewSchema(f).Bind(c). A program that binds often keeps a [Schema].
func (c Condition) Bind(f Fields) (*Predicate, error) { return NewSchema(f).Bind(c) }

// Bind types the values of c and refuses, with a *ConditionError that names the field, what does not fit: an unknown
// field, an operator the type does not know, a value the type does not hold. A value may be text, as a form has it.
func (s *Schema) Bind(c Condition) (*Predicate, error) {
	p := &Predicate{schema: s}
	if c.n == nil {
		p.nodes = []bound{{kind: nodeNever}}
		return p, nil
	}
	if c.n.kind == nodeFault {
		return nil, c.n.fault
	}
	var space [256]byte
	b := binder{schema: s, nodes: make([]bound, 1, c.n.count), key: space[:0]}
	if err := b.bind(0, c.n, false); err != nil {
		return nil, err
	}
	p.nodes = b.nodes
	p.shape = s.shape(b.key)
	return p, nil
}

func (s *Schema) shape(key []byte) *sqlShape {
	s.mu.RLock()
	sh := s.shapes[string(key)]
	s.mu.RUnlock()
	if sh != nil {
		return sh
	}
	sh = new(sqlShape)
	if len(key) > maxShapeBytes {
		return sh
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if known := s.shapes[string(key)]; known != nil {
		return known
	}
	if len(s.shapes) >= maxShapes {
		clear(s.shapes) // simple, and rare: hosts have few shapes
	}
	s.shapes[string(key)] = sh
	return sh
}

// text is the compiled text, from memory when it was asked for before.
func (p *Predicate) text(d Dialect, first int) *sqlText {
	if p.shape == nil {
		return p.compile(d, first)
	}
	at := &p.shape.texts[d]
	var known []*sqlText
	if list := at.Load(); list != nil {
		known = *list
		for _, c := range known {
			if c.first == first {
				return c
			}
		}
	}
	c := p.compile(d, first)
	if len(c.text) <= maxShapeBytes {
		if len(known) >= maxShapeTexts {
			known = known[1:]
		}
		list := append(slices.Clone(known), c)
		at.Store(&list) // a lost race costs one more compile, no more
	}
	return c
}

// Predicate is a bound condition. Match and SQL admit exactly the same rows. It is immutable; safe for concurrent use.
// A nil Predicate admits no row.
type Predicate struct {
	schema *Schema
	shape  *sqlShape
	nodes  []bound // the root first; children of one node lie side by side
}

// SQL returns the condition as a fragment in parentheses, and its arguments. Placeholders are ? on SQLite and MySQL, and
// $first, $first+1, … on PostgreSQL; first means nothing to the others. The text depends on the shape of the condition
// only: columns come from [Fields], values go into args.
//
// The fragment may stand in a WHERE clause under AND and OR. It must never stand under NOT, nor in a place that turns
// NULL into true: bind [Not] of the condition instead. An unknown dialect, or first < 1 on PostgreSQL, panics.
func (p *Predicate) SQL(d Dialect, first int) (where string, args []any) {
	switch d {
	case Postgres:
		if first < 1 {
			panic("latchkey: Predicate.SQL: PostgreSQL numbers placeholders from 1")
		}
	case SQLite, MySQL:
		first = 0
	default:
		panic(fmt.Sprintf("latchkey: Predicate.SQL: unknown dialect %d", d))
	}
	if p == nil || len(p.nodes) == 0 {
		return "(1=0)", nil
	}
	c := p.text(d, first)
	if len(c.args) == 0 {
		return c.text, nil
	}
	args = make([]any, len(c.args))
	for i, a := range c.args {
		args[i] = p.argument(d, a)
	}
	return c.text, args
}

// UnmarshalJSON reads an object, and adds its members to the row; null makes the row nil. Numbers become a json.Number,
// so that none loses a digit: 1e3 and 1000.0 become 1000. A name that the object has twice, or twice but for its case,
// is a *[ConditionError], as is all else that has not exactly one meaning; the row then stays as it was.
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
			v = plainNumber(n)
		}
		(*r)[name] = v
	}
	return nil
}

// plainNumber writes a number of JSON without its exponent, and without a fraction that is zero, where a Number field
// could take it; else it stays as it is.
func plainNumber(n json.Number) json.Number {
	mantissa, exponent := string(n), 0
	if at := strings.IndexAny(mantissa, "eE"); at >= 0 {
		var err error
		if exponent, err = strconv.Atoi(mantissa[at+1:]); err != nil || exponent > 100 || exponent < -100 {
			return n
		}
		mantissa = mantissa[:at]
	}
	whole, fraction, ok := splitDecimal(mantissa)
	if !ok || len(mantissa) > 200 {
		return n
	}
	sign := ""
	if whole[0] == '-' {
		sign, whole = "-", whole[1:]
	}
	digits, point := whole+fraction, len(whole)+exponent
	if point < 0 {
		digits, point = strings.Repeat("0", -point)+digits, 0
	}
	if point > len(digits) {
		digits += strings.Repeat("0", point-len(digits))
	}
	whole, fraction = strings.TrimLeft(digits[:point], "0"), digits[point:]
	if exponent != 0 || strings.Trim(fraction, "0") == "" {
		fraction = strings.TrimRight(fraction, "0")
	}
	if len(whole) > maxWholeDigits || len(fraction) > maxFractionDigits {
		return n
	}
	if whole == "" {
		whole = "0"
	}
	if fraction != "" {
		whole += "." + fraction
	}
	return json.Number(sign + whole)
}
