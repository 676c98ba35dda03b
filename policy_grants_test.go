package latchkey

import (
	"fmt"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// forcing returns n Grants that each force values of their own into so many fields.
func forcing(n, fields int, prefix, value string) (p Permissions) {
	for i := range n {
		v := Values{}
		for k := range fields {
			v[fmt.Sprint(prefix, k)] = fmt.Sprint(i, value)
		}
		p = append(p, Grant(Create).On("d/*").Force(v))
	}
	return p
}

// The pairs of forced values, and the values in them, are bounded, so that no rules make one decision take seconds.
func TestForcedValuesAreBounded(t *testing.T) {
	if testing.Short() {
		t.Skip("one goroutine, and much work")
	}
	long := strings.Repeat("x", 4096)
	layers := func(ls ...layer) []layer { return ls }
	rules := func(n, fields int, prefix, value string) layer {
		return layer{rules: forcing(n, fields, prefix, value)}
	}
	mint := func(forced Values) layer { return layer{full: true, forced: forced} }
	for name, c := range map[string]struct {
		layers []layer
		large  bool
	}{
		"as many pairs as there may be": {layers(rules(256, 1, "a", ""), rules(256, 1, "b", "")), false},
		"one pair more":                 {layers(rules(257, 1, "a", ""), rules(256, 1, "b", "")), true},
		"fewer of many values":          {layers(rules(100, 20, "a", ""), rules(100, 20, "b", "")), true},
		"fewer of long values":          {layers(rules(100, 1, "a", long), rules(100, 1, "b", long)), true},
		"many values on one side":       {layers(rules(300, 1, "a", ""), mint(forcing(1, 900, "b", "")[0].forced)), true},
		"one side forces nothing":       {layers(rules(300, 900, "a", ""), mint(nil)), false},
		"a few in a mint":               {layers(rules(3000, 2, "a", ""), mint(Values{"x": "1", "y": "2"})), false},
	} {
		p := newPolicy(c.layers, nil)
		rows := rowsOf(p.evaluate(&question{action: Create, on: "d/x"}))
		fault := rows.n != nil && rows.n.kind == nodeFault
		assert.Equal(t, c.large, fault, name)
		assert.Equal(t, c.large, p.checkSize(t.Context()) != nil, name)
		if fault {
			assert.False(t, p.size().fits(), name)
			assert.Equal(t, verdictNone, p.verdict(Create, "d/x"), name)
		}
	}
}

// mixed returns n Grants, each followed by a Deny. Their union is small, because they are alike.
func mixed(n int) (p Permissions) {
	for range n {
		p = append(p, Grant(Read).On("d/*").Where(Where("k", Eq, 1)), Deny(Read).On("d/*").Where(Where("j", Eq, 1)))
	}
	return p
}

// The Denies that are combined with the Grants before them are bounded too.
func TestDeniesAfterGrantsAreBounded(t *testing.T) {
	few, many := newPolicy([]layer{{rules: mixed(300)}}, nil), newPolicy([]layer{{rules: mixed(600)}}, nil)
	require.NoError(t, few.checkSize(t.Context()))
	want := All(Where("k", Eq, 1), Not(Where("j", Eq, 1)))
	assert.True(t, rowsOf(few.evaluate(&question{action: Read, on: "d/x"})).Equal(want))
	require.ErrorIs(t, many.checkSize(t.Context()), ErrInvalid)
	assert.False(t, many.size().fits())
	rows := rowsOf(many.evaluate(&question{action: Read, on: "d/x"}))
	require.Error(t, rows.Validate())
	_, err := (&Schema{}).Bind(rows)
	assert.Error(t, err)
	assert.False(t, many.within(t.Context(), few), "a fault lies within nothing")
	// A long list of Denies after all Grants is not affected.
	p := append(Permissions{Grant(Read).On("d/*")}, mixed(1)...)
	for i := range 3000 {
		p = append(p, Deny(Read).On("d/*").Where(Where("j", Eq, i%100)))
	}
	assert.NoError(t, newPolicy([]layer{{rules: p}}, nil).checkSize(t.Context()))
}

// Roles that inherit one another may nest rows too deep. Then they allow nothing, and are not saved.
func TestRowsThatAreNestedTooDeepAreBounded(t *testing.T) {
	for n, deep := range map[int]bool{10: false, 24: false, 25: true, 40: true} {
		roles := map[string]Role{}
		var last []string
		for i := range n {
			id := fmt.Sprint(i)
			roles[id] = Role{ID: id, Inherits: last, Permissions: Permissions{Grant(Read).On("d/*").Where(Where("k", Eq, i)),
				Deny(Read).On("d/*").Where(Where("j", Eq, i))}}
			last = []string{id}
		}
		p := newPolicy([]layer{{roles: last}}, roles)
		rows := rowsOf(p.evaluate(&question{action: Read, on: "d/x"}))
		require.Equal(t, deep, rows.n.kind == nodeFault, "%d", n)
		require.Equal(t, deep, p.checkSize(t.Context()) != nil, "%d", n)
	}
}

// Grants with the same Denies after them are joined first, and combined with these once.
func TestDeniesAreCountedOncePerJoin(t *testing.T) {
	var set grantSet
	for i := range 600 {
		set.add(Where("k", Eq, i), nil, "")
	}
	set.denials = make([]Condition, 600)
	require.Equal(t, 600, set.countDenials())
}

func TestTooManyForcedPairsAllowNothing(t *testing.T) {
	many := func(field string, n int) (p Permissions) {
		for i := range n {
			p = append(p, Grant(Create).On("a").Force(map[string]any{field: i}))
		}
		return p
	}
	p := newPolicy([]layer{{rules: many("x", 300)}, {rules: many("y", 300)}}, nil)
	require.Equal(t, verdictNone, p.verdict(Create, "a"))
	require.Empty(t, p.grants(Create, "a"))
	p = newPolicy([]layer{{rules: many("x", 100)}, {rules: many("y", 100)}}, nil)
	require.Equal(t, verdictAll, p.verdict(Create, "a"))
	require.Len(t, p.grants(Create, "a"), 10_000)
}

func BenchmarkGrants(b *testing.B) {
	p, on := benchmarkPolicy(100)
	b.ReportAllocs()
	for b.Loop() {
		p.grants(Read, on[50])
	}
}

// What a meet merges is each value of one side once for each grant of the other.
func TestMergeWork(t *testing.T) {
	none := []grant{{}}
	one := []grant{{forced: Values{"a": "x"}}}
	two := []grant{{forced: Values{"a": "x"}}, {forced: Values{"b": "x", "c": "x"}}}
	free := []grant{{}, {}}
	for _, c := range []struct {
		a, b []grant
		want int
	}{
		{none, two, 0}, {two, none, 0}, {none, none, 0},
		{one, one, 2}, {one, two, 1*2 + 3*1}, {two, one, 3*1 + 1*2}, {two, two, 12}, {two, free, 6}, {free, two, 6},
		{free, free, 0}, {nil, two, 0}, {two, nil, 0},
	} {
		require.Equal(t, c.want, mergeWork(c.a, c.b), "%v, %v", c.a, c.b)
	}
	long := make([]byte, 64)
	require.Equal(t, 2, weight(Values{"": string(long)}))
	require.Equal(t, 1, weight(Values{"": string(long[1:])}))
	require.Equal(t, 2, weight(Values{"n": string(long[1:])}), "with its name")
	require.Equal(t, 2, weight(Values{"a": true, "b": int64(1)}))
}
