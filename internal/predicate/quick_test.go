package predicate

import (
	"encoding/json"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// bySteps is Match without its shortcuts: by recursion, and each comparison by what it is documented to do.
func bySteps(n *boundNode, r map[string]any) bool {
	switch n.kind {
	case boundLeaf:
		return n.leaf.match(r)
	case boundAll:
		for i := range n.kids {
			if !bySteps(&n.kids[i], r) {
				return false
			}
		}
		return true
	case boundAny:
		for i := range n.kids {
			if bySteps(&n.kids[i], r) {
				return true
			}
		}
	}
	return n.kind == boundEvery
}

var quickFields = map[string]Field{"s": {"s", Text}, "i": {"i", Integer}, "n": {"n", Number}, "b": {"b", Boolean},
	"d": {"d", Date}, "t": {"t", DateTime}, "f": {"f", Float}, "s1": {"alias", Text}, "s2": {"alias", Text}}

// quickValues are values that a condition takes for each field.
var quickValues = map[string][]any{
	"s":  {"", "a", "b", "ab"},
	"s1": {"a", "b"},
	"i":  {int64(-1), int64(0), int64(5), "7"},
	"n":  {int64(0), int64(5), json.Number("5.5"), json.Number("99999999999999999999")},
	"b":  {true, false},
	"d":  {"2026-02-28", "2026-03-01"},
	"t":  {"2026-02-28T00:00:00Z"},
	"f":  {int64(5), json.Number("0.5")},
}

// quickRows are values that a row holds, fit or not.
var quickRows = []any{nil, "", "a", "b", "ab", "c", []byte("a"), []byte(nil), 5, int64(5), int64(-1), int32(5),
	uint64(5), 5.0, 5.5, 0.5, true, false, "5", "5.5", json.Number("5"), "2026-02-28", "2026-02-30", "2026-03-01x",
	"2026-03-01",
	time.Date(2026, 3, 1, 0, 0, 0, 0, time.UTC), "2026-02-28T00:00:00Z", new("a"), new(5), secret("a")}

// grow describes a random tree beneath node at.
func grow(t testing.TB, r *rand.Rand, b *Binder, at, depth int) {
	if depth > 0 && r.IntN(3) > 0 {
		n := r.IntN(4) // a group of nothing, too
		first := 0
		if r.IntN(2) == 0 {
			first = b.All(at, n)
		} else {
			first = b.Any(at, n)
		}
		for i := range n {
			grow(t, r, b, first+i, depth-1)
		}
		b.End()
		return
	}
	switch r.IntN(12) {
	case 0:
		b.Every(at)
		return
	case 1:
		b.Never(at)
		return
	}
	fields := []string{"s", "s", "s1", "i", "i", "n", "n", "b", "d", "d", "t", "f"}
	field := fields[r.IntN(len(fields))]
	values := quickValues[field]
	var ops []string
	for op := range boundOps {
		if quickFields[field].Type.supports(op) {
			ops = append(ops, op)
		}
	}
	op, value := ops[r.IntN(len(ops))], values[r.IntN(len(values))]
	switch op {
	case "is-null":
		value = r.IntN(2) == 0
	case "in":
		list := make([]any, r.IntN(2*fewTexts))
		for i := range list {
			list[i] = values[r.IntN(len(values))]
		}
		value = list
	case "contains", "starts-with":
		value = "a"
	}
	if err := b.Compare(at, field, op, value, r.IntN(2) == 0); err != nil {
		t.Fatal(err)
	}
}

// The shortcuts of Match change no answer, whatever the condition and the row.
func TestMatchIsQuickAndTheSame(t *testing.T) {
	s := schema(t, quickFields)
	r := rand.New(rand.NewPCG(16, 2))
	admitted, quick := 0, map[quickTest]int{}
	for range 5000 {
		b := NewBinder(s, 200, nil)
		grow(t, r, &b, 0, 3)
		p := b.Predicate()
		for i := range p.nodes {
			quick[p.nodes[i].quick]++
		}
		for range 20 {
			row := map[string]any{}
			for name := range quickFields {
				if r.IntN(5) > 0 {
					row[name] = quickRows[r.IntN(len(quickRows))]
				}
			}
			want := bySteps(&p.nodes[0], row)
			if want {
				admitted++
			}
			require.Equal(t, want, p.Match(row), "%v", row)
		}
	}
	assert.Greater(t, admitted, 10_000)
	assert.Len(t, quick, int(quickDay)+1, "every shortcut was taken")
}

// BenchmarkMatch is of three comparisons of a row that they admit.
func BenchmarkMatch(b *testing.B) {
	s := schema(b, map[string]Field{"owner": {"owner", Text}, "amount": {"amount", Integer}, "status": {"status", Text}})
	p := threeComparisons(b, s)
	row := map[string]any{"owner": "user-17", "amount": int64(500), "status": "paid"}
	b.ReportAllocs()
	for b.Loop() {
		if !p.Match(row) {
			b.Fatal("not admitted")
		}
	}
}

func threeComparisons(t testing.TB, s *Schema) Predicate {
	b := NewBinder(s, 4, nil)
	first := b.All(0, 3)
	require.Nil(t, b.Compare(first, "owner", "=", "user-17", false))
	require.Nil(t, b.Compare(first+1, "amount", "<", int64(1000), false))
	require.Nil(t, b.Compare(first+2, "status", "in", []any{"open", "paid", "sent"}, false))
	b.End()
	return b.Predicate()
}
