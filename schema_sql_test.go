package latchkey

import (
	"fmt"
	"math/rand/v2"
	"os"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestSQLRefusesMisuse(t *testing.T) {
	p, err := NewSchema(testFields).Bind(AllRows)
	require.NoError(t, err)
	require.Panics(t, func() { p.SQL(0, 1) })
	require.Panics(t, func() { p.SQL(Postgres, 0) })
	for _, d := range []Dialect{SQLite, Postgres, MySQL} {
		where, args := p.SQL(d, 1)
		require.Equal(t, "(1=1)", where)
		require.Empty(t, args)
		none, err := NewSchema(testFields).Bind(Condition{})
		require.NoError(t, err)
		where, args = none.SQL(d, 1)
		require.Equal(t, "(1=0)", where)
		require.Empty(t, args)
		where, _ = (&Predicate{}).SQL(d, 1)
		require.Equal(t, "(1=0)", where)
	}
	require.True(t, p.Match(nil))
	require.False(t, (&Predicate{}).Match(Row{}))
}

func TestSQLNumbersPlaceholders(t *testing.T) {
	s := NewSchema(testFields)
	p, err := s.Bind(All(Where("s", Eq, "a"), Where("i", In, []int{2, 1}), Where("s", StartsWith, "b")))
	require.NoError(t, err)
	for range 2 {
		for _, first := range []int{1, 7, 100, 1, 2, 3, 4, 5} {
			where, args := p.SQL(Postgres, first)
			require.Equal(t, fmt.Sprintf(`((s = $%d::text AND s::text COLLATE "C" = $%d::text) AND (i = ANY($%d::bigint[]))`+
				` AND (s::text COLLATE "C">=$%d::text AND s::text COLLATE "C"<$%d::text))`, first, first, first+1,
				first+2, first+3), where)
			require.Equal(t, []any{"a", "{1,2}", "b", "c"}, args)
		}
	}
}

// A list of three and one of four share a text; the missing value repeats the last.
func TestListsArePadded(t *testing.T) {
	s := NewSchema(testFields)
	var texts []string
	for n := 1; n <= 9; n++ {
		p, err := s.Bind(Where("i", In, make([]int, n)))
		require.NoError(t, err)
		where, args := p.SQL(MySQL, 1)
		require.Equal(t, strings.Count(where, "?"), len(args))
		texts = append(texts, where)
	}
	require.Equal(t, texts[2], texts[3])
	require.Equal(t, texts[4], texts[7])
	require.NotEqual(t, texts[3], texts[4])

	three, err := s.Bind(Where("s", In, []string{"c", "a", "b"}))
	require.NoError(t, err)
	four, err := s.Bind(Where("s", In, []string{"d", "c", "a", "b"}))
	require.NoError(t, err)
	_, args := three.SQL(SQLite, 1)
	require.Equal(t, []any{"a", "b", "c", "c", "a", "b", "c", "c"}, args)
	_, args = four.SQL(SQLite, 1)
	require.Equal(t, []any{"a", "b", "c", "d", "a", "b", "c", "d"}, args)
}

// The text of the SQL is a function of the shape: fields, operators and structure, and the rounded length of lists.
func TestSQLDependsOnShapeOnly(t *testing.T) {
	for _, seed := range seeds(t) {
		sqlDependsOnShapeOnly(t, rand.New(rand.NewPCG(seed, 0)))
	}
}

func sqlDependsOnShapeOnly(t *testing.T, r *rand.Rand) {
	var revalue func(n *node) Condition
	revalue = func(n *node) Condition {
		switch n.kind {
		case nodeNot:
			return Not(revalue(n.parts[0]))
		case nodeAll, nodeAny:
			parts := make([]Condition, len(n.parts))
			for i, p := range n.parts {
				parts[i] = revalue(p)
			}
			return group(n.kind, parts)
		}
		switch v := n.value.(type) {
		case string:
			return Where(n.field, n.op, fmt.Sprintf("'; DROP TABLE x; -- $1 ? %d", r.Int()))
		case int64:
			return Where(n.field, n.op, r.Int64()-r.Int64())
		case []any:
			list := make([]string, len(v))
			for i := range list {
				list[i] = fmt.Sprint("') OR 1=1 --", r.Int())
			}
			return Where(n.field, n.op, list)
		}
		return Condition{n}
	}
	warm := NewSchema(testFields)
	for range 2000 {
		c := randomCondition(r, 3, true)
		if c.n == nil {
			continue
		}
		d := revalue(c.n)
		if d.n.count != c.n.count {
			continue // two parts became one
		}
		for _, dialect := range []Dialect{SQLite, Postgres, MySQL} {
			p, err := warm.Bind(c)
			require.NoError(t, err)
			q, err := NewSchema(testFields).Bind(d)
			require.NoError(t, err, "%v", d)
			where, args := p.SQL(dialect, 3)
			where2, args2 := q.SQL(dialect, 3)
			require.Equal(t, where, where2)
			require.Equal(t, len(args), len(args2))
			require.NotContains(t, where2, "DROP")
			if dialect != Postgres {
				require.Equal(t, strings.Count(where, "?"), len(args))
			}
			warmed, err := warm.Bind(d)
			require.NoError(t, err)
			where3, args3 := warmed.SQL(dialect, 3)
			require.Equal(t, where2, where3)
			require.Equal(t, args2, args3, "arguments do not come from what was bound before")
		}
	}
}

// testdata/conditions.golden holds every template, filled in. LATCHKEY_UPDATE=1 rewrites it.
func TestGoldenSQL(t *testing.T) {
	s := NewSchema(testFields)
	var b strings.Builder
	values := map[FieldType]any{Text: "aß", Integer: 4000, Number: "5.5", Boolean: true, Date: "2026-11-22",
		DateTime: "2026-11-22T11:00:00.5+01:00",
		Float:    "6.02e23"}
	for _, field := range []string{"s", "i", "n", "b", "d", "t", "f"} {
		typ := testFields[field].Type
		for _, op := range []Op{Eq, Ne, Lt, Le, Gt, Ge, In, Contains, StartsWith, IsNull} {
			ordered, textual := op == Lt || op == Le || op == Gt || op == Ge, op == Contains || op == StartsWith
			if ordered && typ == Boolean || textual && typ != Text {
				continue
			}
			conditions := []Condition{Where(field, op, values[typ])}
			switch op {
			case In:
				c := Where(field, In, []any{values[typ], values[typ], values[typ]})
				conditions = []Condition{c, Not(c), Where(field, In, []string{}), Not(Where(field, In, []string{}))}
			case IsNull:
				conditions = []Condition{Where(field, IsNull, true), Where(field, IsNull, false)}
			case Contains, StartsWith:
				conditions = append(conditions, Not(conditions[0]))
			}
			for _, c := range conditions {
				p, err := s.Bind(c)
				require.NoError(t, err, "%v", c)
				fmt.Fprintf(&b, "%v\n", c)
				for _, d := range []Dialect{SQLite, Postgres, MySQL} {
					where, args := p.SQL(d, 1)
					fmt.Fprintf(&b, "\t%s\n\t\t%#v\n", where, args)
				}
			}
		}
	}
	const file = "testdata/conditions.golden"
	if os.Getenv("LATCHKEY_UPDATE") != "" {
		require.NoError(t, os.MkdirAll("testdata", 0o755))
		require.NoError(t, os.WriteFile(file, []byte(b.String()), 0o644))
	}
	want, err := os.ReadFile(file)
	require.NoError(t, err)
	require.Equal(t, string(want), b.String())
}
