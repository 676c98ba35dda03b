package predicate

import (
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

type secret []byte // a type that no field holds

func opaque(v any) string {
	if _, ok := v.(secret); ok {
		return "a secret"
	}
	return ""
}

func schema(t testing.TB, fields map[string]Field) *Schema {
	t.Helper()
	s, err := NewSchema(fields, opaque)
	require.NoError(t, err)
	return s
}

var oneOfEach = map[string]Field{"s": {"s", Text}, "i": {"i", Integer}, "n": {"n", Number}, "b": {"b", Boolean},
	"d": {"d", Date}, "t": {"t", DateTime}, "f": {"f", Float}}

// compare binds one comparison.
func compare(t testing.TB, s *Schema, field, op string, value any, negated bool) *Predicate {
	t.Helper()
	b := NewBinder(s, 1, nil)
	if err := b.Compare(0, field, op, value, negated); err != nil {
		t.Fatal(err)
	}
	p := b.Predicate()
	return &p
}

func TestTheZeroPredicateAdmitsNothing(t *testing.T) {
	for _, p := range []*Predicate{nil, {}} {
		assert.False(t, p.Match(map[string]any{"s": "a"}))
		where, args := p.SQL(SQLite, 1)
		assert.Equal(t, "(1=0)", where)
		assert.Empty(t, args)
	}
}

func TestSchemaRemembersBoundedly(t *testing.T) {
	s := schema(t, oneOfEach)
	for i := range 3 * maxShapes {
		b := NewBinder(s, 100, nil)
		at := b.All(0, 10)
		for bit := range 10 {
			require.Nil(t, b.Compare(at+bit, "i", "=", int64(1), i>>bit&1 == 1))
		}
		b.End()
		p := b.Predicate()
		for first := range 10 {
			p.SQL(Postgres, first+1)
		}
		require.LessOrEqual(t, len(*p.shape.texts[Postgres].Load()), maxShapeTexts)
	}
	require.LessOrEqual(t, len(s.shapes), maxShapes)
}
