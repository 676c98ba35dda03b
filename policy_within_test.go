package latchkey

import (
	"context"
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// modelWithin reports whether hs allow all that gs allow, rows and forced values included.
func modelWithin(gs, hs []modelGrant) bool {
	var all rowSet
	for _, h := range hs {
		all |= h.rows
	}
	for _, g := range gs {
		if g.rows&^all != 0 {
			return false
		}
		for i, row := range modelRows {
			writable := func(x modelGrant) bool { return x.rows&(1<<i) != 0 && modelConsistent(row, x.forced) }
			if writable(g) && !slices.ContainsFunc(hs, writable) {
				return false
			}
		}
		if g.every && !slices.ContainsFunc(hs, func(h modelGrant) bool { return h.every }) {
			return false
		}
	}
	return true
}

// vary changes a rule or two.
func vary(r *rand.Rand, rules []modelRule) []modelRule {
	out := slices.Clone(rules)
	for range 1 + r.IntN(2) {
		extra := randomRules(r, 2)
		at := r.IntN(len(out) + 1)
		switch {
		case r.IntN(3) == 0 && at < len(out):
			out = slices.Delete(out, at, at+1)
		case r.IntN(3) == 0 && at < len(out):
			out[at].where = randomCond(r, 0)
		default:
			out = slices.Insert(out, at, extra...)
		}
	}
	return out
}

func TestWithinIsSound(t *testing.T) {
	yes, no, missed := 0, 0, 0
	eachWorld(t, 1200, func(t *testing.T, r *rand.Rand) {
		w := randomWorld(r)
		v := &world{roles: w.roles, layers: slices.Clone(w.layers)}
		switch r.IntN(3) {
		case 0: // fewer layers
			v.layers = v.layers[:1+r.IntN(len(v.layers))]
		case 1: // other rules
			v.layers[0].rules = vary(r, v.layers[0].rules)
		case 2: // other rows and roles
			v.layers[0].rows = []modelCond{randomCond(r, 0)}
			v.layers[0].roles = pick(r, []string{"r0", "r1", "r2", "r3"}, 0, 4)
		}
		p, q := w.policy(), v.policy()
		require.True(t, p.invalid() || p.within(t.Context(), p), "a policy without references lies within itself")
		got := p.within(t.Context(), q)
		want := true
		for _, on := range append(modelResources, "zz/top", "a/zz", "a/b/zz", "latchkey/zz", "latchkey/token/zz/zz") {
			for _, a := range append(modelActions, "other") {
				if !modelWithin(w.ask(a, on), v.ask(a, on)) {
					want = false
					require.False(t, got, "within returned true, but not for %s on %s", a, on)
				}
			}
		}
		switch {
		case got:
			yes++
		case want:
			missed++
		default:
			no++
		}
	})
	t.Logf("%d pairs of policies: %d lie within, %d do not, %d might have", yes+no+missed, yes, no, missed)
	require.Greater(t, yes, 20)
	require.Greater(t, no, 5)
	require.Less(t, missed, yes, "conservative, not useless")
}

func TestWithin(t *testing.T) {
	everything := Permissions{Allow(Any).On("*")}
	readEU := Permissions{Allow(Read).On("dataset/*").Where(inEU)}
	either := Where("region", In, []string{"EU", "US"})
	at := func(c Condition) Permissions { return Permissions{Allow(Read).On("a").Where(c)} }
	forced := func(v string) Permissions {
		return Permissions{Allow(Create).On("a").Force(map[string]any{"region": v})}
	}
	for name, c := range map[string]struct {
		p, q Permissions
		want bool
	}{
		"nothing":                       {nil, nil, true},
		"nothing in something":          {nil, readEU, true},
		"something in nothing":          {readEU, nil, false},
		"itself":                        {readEU, readEU, true},
		"rows in every row":             {readEU, everything, true},
		"every row in rows":             {Permissions{Allow(Read).On("dataset/*")}, readEU, false},
		"our administration":            {Permissions{Allow(Read).On("latchkey/*")}, everything, false},
		"everything is not our affairs": {everything, Permissions{Allow(Any).On("*", "latchkey/*")}, true},
		"one beneath":                   {Permissions{Allow(Read).On("a/b")}, Permissions{Allow(Read).On("a/*")}, true},
		"all beneath in one":            {Permissions{Allow(Read).On("a/*")}, Permissions{Allow(Read).On("a/b")}, false},
		"a hole": {Permissions{Allow(Read).On("a/*")},
			Permissions{Allow(Read).On("a/*"), Deny(Read).On("a/b")}, false},
		"the same hole": {Permissions{Allow(Read).On("a/*"), Deny(Any).On("a/b")},
			Permissions{Allow(Read).On("a/*"), Deny(Read).On("a/b")}, true},
		"any action": {Permissions{Allow(Any).On("a")},
			Permissions{Allow(Read, Create, Update, Delete, Alter, Use).On("a")}, false},
		"one of a list":         {at(inEU), at(either), true},
		"a list in one":         {at(either), at(inEU), false},
		"not a list in not one": {at(Not(either)), at(Where("region", Ne, "EU")), true},
		"not one in not a list": {at(Not(inEU)), at(Not(either)), false},
		"both in one":           {at(All(inEU, isOpen)), at(isOpen), true},
		"one in both":           {at(isOpen), at(All(inEU, isOpen)), false},
		"one in either":         {at(isOpen), at(AnyOf(inEU, isOpen)), true},
		"either in one":         {at(AnyOf(inEU, isOpen)), at(isOpen), false},
		"not either in not one": {at(Not(AnyOf(inEU, isOpen))), at(Not(isOpen)), true},
		"grants together": {at(either),
			Permissions{Grant(Read).On("a").Where(inEU), Grant(Read).On("a").Where(either)}, true},
		"who asks":                   {at(Where("owner", Eq, Self)), at(Where("owner", Eq, Self)), false},
		"who asks, by another way":   {at(Where("owner", Eq, ClientID)), at(Not(Where("owner", Ne, ClientID))), false},
		"who asks in every row":      {at(Where("owner", Eq, Self)), everything, true},
		"the owner is everybody's":   {at(Where("tenant", Eq, OwnerID)), at(Where("tenant", Eq, OwnerID)), true},
		"forced alike":               {forced("EU"), forced("EU"), true},
		"forced otherwise":           {forced("EU"), forced("US"), false},
		"forced in free":             {forced("EU"), Permissions{Allow(Create).On("a")}, true},
		"free in forced":             {Permissions{Allow(Create).On("a")}, forced("EU"), false},
		"an invalid list is nothing": {append(slices.Clone(everything), Rule{}), nil, true},
	} {
		require.Equal(t, c.want, c.p.Within(c.q), name)
	}

	full := newPolicy([]layer{{full: true}}, nil)
	bounded := newPolicy([]layer{{full: true}, {rules: everything}}, nil)
	forcing := newPolicy([]layer{{full: true, forced: Values{"region": "EU"}}}, nil)
	var nobody *policy
	require.True(t, bounded.within(t.Context(), full))
	require.False(t, full.within(t.Context(), bounded))
	require.True(t, forcing.within(t.Context(), full))
	require.False(t, full.within(t.Context(), forcing))
	require.True(t, nobody.within(t.Context(), nobody))
	require.True(t, nobody.within(t.Context(), full))
	require.False(t, full.within(t.Context(), nobody))
	require.False(t, full.within(t.Context(), newPolicy(nil, nil)))
}

func TestWithinEndsOnHostileConditions(t *testing.T) {
	leaf := func(i int) Condition { return Where("x", Eq, i) }
	build := func(salt int) Condition {
		c := leaf(salt)
		for i := range 5 {
			c = AnyOf(All(c, leaf(i)), All(c, leaf(salt+i)), All(c, Where("y", Eq, i)))
		}
		return c
	}
	p := Permissions{Allow(Read).On("a").Where(build(100))}
	q := Permissions{Allow(Read).On("a").Where(build(200))}
	require.NoError(t, p.Validate())
	require.False(t, p.Within(q))
}

// within of large lists of rules ends with its context, and after a bounded amount of work.
func TestWithinHasABudget(t *testing.T) {
	var rules Permissions
	for i := range 9000 {
		rules = append(rules, Grant(Read, Update).On(Pattern(fmt.Sprintf("data/%d", i%500))).Where(Where("a", Eq, i)))
	}
	p := newPolicy([]layer{{rules: rules}}, nil)
	require.True(t, p.within(t.Context(), p))
	gone, cancel := context.WithCancel(t.Context())
	cancel()
	require.False(t, p.within(gone, p))
	require.ErrorIs(t, newPolicy([]layer{{rules: rules}}, nil).checkSize(gone), ErrUnavailable)

	w := subsumption{ctx: t.Context(), left: 100}
	require.True(t, w.spend(100))
	require.False(t, w.spend(1))
	require.False(t, w.spend(0), "it is over")
}

// An invalid policy, and rows that are too large, lie only within a policy that allows everything.
func TestInvalidPoliciesLieWithinNothing(t *testing.T) {
	bad := Role{ID: "bad", Permissions: Permissions{{}}}
	again := Role{ID: "again", Inherits: []string{"bad"}, InheritDenies: true}
	circle := Role{ID: "circle", Inherits: []string{"circle"}}
	bounded := Role{ID: "bounded", Boundary: Permissions{{}}}
	all := newPolicy([]layer{{full: true}}, nil)
	most := newPolicy([]layer{{rules: Permissions{Allow(Any).On("*", "latchkey/*")}}}, nil)
	for name, p := range map[string]*policy{
		"an invalid role": newPolicy([]layer{{roles: []string{"bad"}}}, map[string]Role{"bad": bad}),
		"a role that builds on it": newPolicy([]layer{{roles: []string{"again"}}}, map[string]Role{"bad": bad,
			"again": again}),
		"a circle":                    newPolicy([]layer{{roles: []string{"circle"}}}, map[string]Role{"circle": circle}),
		"an invalid boundary":         newPolicy([]layer{{roles: []string{"bounded"}}}, map[string]Role{"bounded": bounded}),
		"invalid rules":               newPolicy([]layer{{rules: Permissions{{}}}}, nil),
		"rows that are too large":     newPolicy([]layer{{full: true, rows: []Condition{invalidCondition("", "x")}}}, nil),
		"forced values that are none": newPolicy([]layer{{full: true, forced: Values{"x": make(chan int)}}}, nil),
	} {
		require.False(t, p.within(t.Context(), most), name)
		require.False(t, p.within(t.Context(), p), name)
		require.True(t, p.within(t.Context(), all), name)
	}
	root := newPolicy([]layer{{full: true, root: true}}, nil)
	exceeding := Role{ID: "exceeding", Inherits: []string{"again"},
		Permissions: Permissions{Allow(Exceed).On("latchkey/token/*")}}
	p := newPolicy([]layer{{roles: []string{"exceeding"}}}, map[string]Role{"bad": bad, "again": again,
		"exceeding": exceeding})
	require.False(t, p.within(t.Context(), root), "what is invalid hides no right that a secret key lacks")
	require.True(t, p.withinFor(t.Context(), root, true, nil, nil))
	gone := newPolicy([]layer{{roles: []string{"gone"}}}, nil)
	require.True(t, gone.within(t.Context(), most), "the id of a missing role never names another one")
}

// cost counts the work of pairs and Denies, by resource.
func TestCostCountsPairsAndDenials(t *testing.T) {
	pairs := newPolicy([]layer{{rules: forcing(200, 1, "a", "")}, {rules: forcing(200, 1, "b", "")}}, nil)
	assert.GreaterOrEqual(t, pairs.cost(&question{on: "d/x"}), 200*200)
	assert.Less(t, pairs.cost(&question{on: "e/x"}), 1000)
	role := Role{ID: "r", Permissions: forcing(200, 1, "a", "")}
	byRole := newPolicy([]layer{{roles: []string{"r"}}, {rules: forcing(200, 1, "b", "")}}, map[string]Role{"r": role})
	assert.GreaterOrEqual(t, byRole.cost(&question{on: "d/x"}), 200*200)
	assert.GreaterOrEqual(t, newPolicy([]layer{{rules: mixed(300)}}, nil).cost(&question{on: "d/x"}), 300*300/2)
	assert.Less(t, newPolicy([]layer{{rules: mixed(1)}}, nil).cost(&question{on: "d/x"}), 100)
}

// What the rows of a rule depend on is known however deep it lies.
func TestRowsThatDependOnTheCaller(t *testing.T) {
	by := func(v any) Condition { return Where("by", Eq, v) }
	for name, c := range map[string]struct {
		rows Condition
		want bool
	}{
		"all":                  {AllRows, false},
		"none":                 {Condition{}, false},
		"a value":              {by("x"), false},
		"the caller":           {by(Self), true},
		"its client":           {by(ClientID), true},
		"its roles":            {Where("by", In, SelfRoles), true},
		"its attribute":        {by(Attr("team")), true},
		"the owner":            {by(OwnerID), false},
		"the owner, and more":  {All(by(OwnerID), by("x")), false},
		"first of several":     {All(by(Self), by("x")), true},
		"last of several":      {AnyOf(by("x"), All(inEU, Not(by(ClientID)))), true},
		"beside the owner":     {All(by(OwnerID), AnyOf(inEU, by(Self))), true},
		"of the owner, deeper": {All(inEU, AnyOf(by("x"), by(OwnerID))), false},
	} {
		require.Equal(t, c.want, Allow(Read).On("a").Where(c.rows).dependsOnCaller(), name)
	}
	require.True(t, Allow(Create).On("a").Force(map[string]any{"by": Self}).dependsOnCaller())
}
