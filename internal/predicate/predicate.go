// Package predicate decides whether a row meets a condition, in memory and in the SQL of each dialect: both admit
// exactly the same rows.
//
// A [Schema] holds the columns and their types. A [Binder] types the comparisons of a condition by the schema, and
// makes a [Predicate] of them. [Predicate.Match] tests it on a row, and [Predicate.SQL] writes it for an engine. A row
// is a map from names to the values that database drivers return. A value is unknown if it is missing, NULL, or does
// not fit its type. An unknown value meets no comparison, and no negation of one either.
//
// Five places define a [Type]; a new type needs an entry in each:
//
//   - bind.go: which operators and values it takes;
//   - match.go: how it compares with the value of a row;
//   - rows.go: what the value of a row becomes when it is written;
//   - sql.go, with a file per dialect: its SQL;
//   - values.go and dates.go: its texts.
package predicate

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
)

// Type is how the values of a field compare. The constants are those of the root package, which documents them.
type Type uint8

const (
	Text Type = iota + 1
	Integer
	Number
	Boolean
	Date
	DateTime
	Float
)

// Dialect is a family of SQL engines. The constants are those of the root package.
type Dialect uint8

const (
	SQLite Dialect = iota + 1
	Postgres
	MySQL
)

// Field is a column and its type.
type Field struct {
	Column string // written into SQL as it is
	Type   Type
}

// FieldError describes what is wrong with a field or its value. It never holds the value.
type FieldError struct {
	Field   string
	Unknown bool // the schema has no such field
	Reason  string
}

func (e *FieldError) Error() string { return fmt.Sprintf("field %q: %s", e.Field, e.Reason) }

const noField = "the schema has no such field"

// Schema is a set of fields. It caches the SQL of conditions by their shape. It is safe for concurrent use.
type Schema struct {
	slots   map[string]*slot
	columns []string // distinct, in byte order

	mu     sync.RWMutex
	shapes map[string]*shape
}

// slot is the column and the type of a name.
type slot struct {
	kind
	column int
	names  []string // every name of the column, in byte order
}

// kind is a type together with the Go types that no field holds.
type kind struct {
	typ    Type
	opaque func(any) string
}

// shape is everything about a bound condition except its values. Its texts are made when first needed.
type shape struct {
	texts [MySQL + 1]atomic.Pointer[[]*sqlText]
}

const (
	maxShapes     = 512
	maxShapeTexts = 4        // per dialect: PostgreSQL numbers placeholders, so each first makes another text
	maxShapeBytes = 16 << 10 // longer texts are made anew each time
)

// NewSchema returns the schema of fields. Names that share a column must write it alike, case included, and have one
// type. It returns an error that names the field if they do not, for an empty name or column, and for an unknown type.
//
// opaque returns why no field holds a value, for types that are meaningless in a row. It returns "" for every other
// value.
func NewSchema(fields map[string]Field, opaque func(any) string) (*Schema, error) {
	s := &Schema{slots: make(map[string]*slot, len(fields)), shapes: map[string]*shape{}}
	byColumn := map[string][]string{}
	written := map[string]string{}
	for _, name := range slices.Sorted(maps.Keys(fields)) {
		f := fields[name]
		if reason := CheckName(name); reason != "" {
			return nil, fmt.Errorf("field %q: %s", name, reason)
		}
		if strings.TrimSpace(f.Column) == "" {
			return nil, fmt.Errorf("field %q has no column", name)
		}
		if f.Type < Text || f.Type > Float {
			return nil, fmt.Errorf("field %q has no type", name)
		}
		folded := strings.ToLower(f.Column)
		if first, ok := written[folded]; ok {
			switch other := fields[byColumn[first][0]]; {
			case first != f.Column:
				return nil, fmt.Errorf("field %q: columns %q and %q differ in case only, and are one to most engines: write "+
					"them alike", name, first, f.Column)
			case other.Type != f.Type:
				return nil, fmt.Errorf("fields %q and %q share a column but differ in type", byColumn[first][0], name)
			}
		}
		written[folded] = f.Column
		byColumn[f.Column] = append(byColumn[f.Column], name)
	}
	s.columns = slices.Sorted(maps.Keys(byColumn))
	for i, column := range s.columns {
		names := byColumn[column]
		for _, name := range names {
			s.slots[name] = &slot{kind: kind{fields[name].Type, opaque}, column: i, names: names}
		}
	}
	return s, nil
}

// shape returns the shape with this key. It makes a new one for an unknown key.
func (s *Schema) shape(key []byte) *shape {
	s.mu.RLock()
	sh := s.shapes[string(key)]
	s.mu.RUnlock()
	if sh != nil {
		return sh
	}
	sh = new(shape)
	if len(key) > maxShapeBytes {
		return sh
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if known := s.shapes[string(key)]; known != nil {
		return known
	}
	if len(s.shapes) >= maxShapes {
		clear(s.shapes) // rare: hosts have few shapes
	}
	s.shapes[string(key)] = sh
	return sh
}

// Predicate is a bound condition. It is immutable and safe for concurrent use. The zero Predicate admits no row.
type Predicate struct {
	schema *Schema
	shape  *shape
	nodes  []boundNode // the root first; children of one node lie side by side
	start  int32       // the node that Match asks first, as boundNode.yes
	fixed  *fixedArgs  // nil: arguments are made anew each time
}

// fixedArgs are the arguments for each dialect, made when first needed.
type fixedArgs [MySQL + 1]atomic.Pointer[[]any]

// Keep makes SQL remember the arguments, for a Predicate that is asked for them more than once. It must be called
// before the Predicate is shared.
func (p *Predicate) Keep() { p.fixed = new(fixedArgs) }

// SQL returns the condition as a fragment in parentheses, and its arguments. Placeholders are ? on SQLite and MySQL,
// and $first, $first+1, … on PostgreSQL, where first must be 1 or more. The other dialects ignore first. The text
// depends on the shape of the condition only. An unknown dialect panics.
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
	if p.fixed == nil {
		return c.text, p.arguments(d, c.args)
	}
	at := &p.fixed[d]
	known := at.Load()
	if known == nil {
		all := p.arguments(d, c.args)
		known = &all
		at.Store(known) // a lost race only costs making them once more
	}
	args = slices.Clone(*known)
	for i, v := range args {
		if list, ok := v.([]string); ok {
			args[i] = slices.Clone(list) // the caller's own: it may change it
		}
	}
	return c.text, args
}

func (p *Predicate) arguments(d Dialect, of []argument) []any {
	args := make([]any, len(of))
	for i, a := range of {
		args[i] = p.argument(d, a)
	}
	return args
}

// text returns the SQL text, from the cache if it is there.
func (p *Predicate) text(d Dialect, first int) *sqlText {
	if p.shape == nil {
		return p.writeSQL(d, first)
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
	c := p.writeSQL(d, first)
	if len(c.text) <= maxShapeBytes {
		if len(known) >= maxShapeTexts {
			known = known[1:]
		}
		list := append(slices.Clone(known), c)
		at.Store(&list) // a lost race only costs writing the text once more
	}
	return c
}
