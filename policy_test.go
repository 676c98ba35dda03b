package latchkey

import (
	"fmt"
	"math/rand/v2"
	"testing"

	"github.com/stretchr/testify/require"
)

func compared(gs []grant, t *testing.T) map[string]rowSet {
	sets := map[string]rowSet{}
	for _, g := range gs {
		forced := map[string]any(g.forced)
		if forced == nil {
			forced = map[string]any{}
		}
		if set := admitted(t, g.rows); set != 0 {
			sets[fmt.Sprint(forced)] |= set
		}
	}
	return sets
}

func TestPolicyMatchesModel(t *testing.T) {
	counts := map[verdict]int{}
	eachWorld(t, 1500, func(t *testing.T, r *rand.Rand) {
		w := randomWorld(r)
		p := w.policy()
		for _, on := range modelResources {
			for _, a := range append(modelActions, "other") {
				want, got := w.ask(a, on), p.grants(a, on)
				v := p.verdict(a, on)
				counts[v]++
				require.Equal(t, modelVerdict(want), v, "%s %s", a, on)
				require.Equal(t, v, extent(p.rows(a, on)), "%s %s: verdict and rows", a, on)
				require.Equal(t, byForced(want), compared(got, t), "%s %s", a, on)
				seen := map[string]bool{}
				for _, g := range got {
					require.False(t, g.rows.IsNoRows())
					require.False(t, seen[forcedKey(g.forced)], "grants that force the same are one")
					seen[forcedKey(g.forced)] = true
				}
				if r.IntN(4) > 0 {
					continue
				}
				e := p.explain(a, on)
				require.Equal(t, v.String(), e.Verdict)
				require.True(t, e.Rows.Equal(p.rows(a, on)))
				require.NotEmpty(t, e.Reason)
				require.NotEmpty(t, e.Decided)
				require.NotEmpty(t, e.String())
			}
		}
	})
	for _, v := range []verdict{verdictNone, verdictSome, verdictAll} {
		require.Greater(t, counts[v], 100, "the worlds must show verdict %s", v)
	}
	t.Logf("%d questions to policies: the model answers alike", counts[verdictNone]+counts[verdictSome]+counts[verdictAll])
}

func TestPermissionsMatchModel(t *testing.T) {
	eachWorld(t, 1500, func(t *testing.T, r *rand.Rand) {
		rules := randomRules(r, 8)
		p := permissionsOf(rules)
		require.NoError(t, p.Validate())
		one := newPolicy([]layer{{rules: p}}, nil)
		for _, on := range modelResources {
			for _, a := range modelActions {
				want := modelApply(rules, nil, a, on)
				d := p.Decide(a, on)
				require.Equal(t, modelVerdict(want) == verdictAll, p.Allows(a, on))
				require.Equal(t, p.Allows(a, on), d.Allowed())
				require.Equal(t, modelVerdict(want), one.verdict(a, on))
				require.Equal(t, modelVerdict(want), extent(d.Rows()))
				if want == nil {
					continue
				}
				var rows rowSet
				for _, g := range want {
					rows |= g.rows
				}
				require.Equal(t, rows, admitted(t, d.Rows()))
			}
		}
	})
}

func TestChainsNeverWiden(t *testing.T) {
	asked := 0
	eachWorld(t, 600, func(t *testing.T, r *rand.Rand) {
		w := randomWorld(r)
		whole := w.policy()
		for i := range w.layers {
			alone := (&world{w.roles, w.layers[i : i+1]}).policy()
			for _, on := range modelResources {
				for _, a := range modelActions {
					asked++
					require.LessOrEqual(t, whole.verdict(a, on), alone.verdict(a, on))
					more := admitted(t, whole.rows(a, on)) &^ admitted(t, alone.rows(a, on))
					require.Zero(t, more, "%s %s: rows that layer %d does not allow", a, on, i)
					for _, g := range whole.grants(a, on) {
						ok := false
						for _, h := range alone.grants(a, on) {
							ok = ok || (&subsumption{}).subset(h.forced, g.forced) && admitted(t, g.rows)&admitted(t, h.rows) != 0
						}
						require.True(t, ok || admitted(t, g.rows) == 0, "%s %s: forced values of no grant of layer %d", a, on, i)
					}
				}
			}
		}
	})
	t.Logf("%d questions to chains: none gives more than each of its layers", asked)
}

func TestUnionLosesNoRow(t *testing.T) {
	eachWorld(t, 600, func(t *testing.T, r *rand.Rand) {
		w := randomWorld(r)
		roles := []string{"r0", "r1", "r2", "r3", "r4"}
		all := (&world{w.roles, []modelLayer{{roles: roles}}}).policy()
		for _, id := range roles {
			one := (&world{w.roles, []modelLayer{{roles: []string{id}}}}).policy()
			for _, on := range modelResources {
				for _, a := range modelActions {
					require.GreaterOrEqual(t, all.verdict(a, on), one.verdict(a, on))
					lost := compared(one.grants(a, on), t)
					for forced, rows := range compared(all.grants(a, on), t) {
						lost[forced] &^= rows
					}
					for forced, rows := range lost {
						require.Zero(t, rows, "%s %s: %s loses rows forced %s", a, on, id, forced)
					}
				}
			}
		}
	})
}

func TestInvalidActionsAndResourcesAreDenied(t *testing.T) {
	full := newPolicy([]layer{{full: true}}, nil)
	any := Permissions{Allow(Any).On("*", "a/*", "latchkey/*")}
	p := newPolicy([]layer{{rules: any}}, nil)
	require.Equal(t, verdictAll, full.verdict(Read, "a/b"))
	require.Equal(t, verdictAll, p.verdict(Read, "a/b"))
	for _, q := range []struct {
		a  Action
		on Resource
	}{
		{Any, "a/b"}, {"", "a/b"}, {"Read", "a/b"}, {"read ", "a/b"}, {Read, ""}, {Read, "*"}, {Read, "a/*"}, {Read, "/a"},
		{Read, "a/"}, {Read, "a//b"}, {Read, "."}, {Read, "a/../b"}, {Read, "a/./b"}, {Read, "a\x00"}, {Read, "a/\xff"},
		{Read, unmentioned}, {unmentioned, "a"}, {Read, Resource(make([]byte, 600))}, {Read, "é/\xff"}, {Read, "é/.."},
	} {
		for name, p := range map[string]*policy{"full": full, "any": p, "nil": nil, "empty": newPolicy(nil, nil)} {
			require.Equal(t, verdictNone, p.verdict(q.a, q.on), "%s: %q %q", name, q.a, q.on)
			require.True(t, p.rows(q.a, q.on).IsNoRows())
			require.Empty(t, p.grants(q.a, q.on))
			require.Equal(t, "none", p.explain(q.a, q.on).Verdict)
		}
		require.False(t, any.Allows(q.a, q.on))
		require.False(t, any.Decide(q.a, q.on).Allowed())
	}
	var nobody *policy
	require.Equal(t, verdictNone, nobody.verdict(Read, "a"))
	require.Equal(t, verdictNone, newPolicy(nil, nil).verdict(Read, "a"))
	require.Equal(t, verdictNone, newPolicy([]layer{{}}, nil).verdict(Read, "a"))
}

func TestInvalidPartsAllowNothing(t *testing.T) {
	all := Permissions{Allow(Any).On("*")}
	bad := Permissions{Allow(Any).On("*"), Deny(Any).On("a/")} // the mistyped Deny must not vanish
	require.Error(t, bad.Validate())
	require.False(t, bad.Allows(Read, "b"))
	roles := map[string]Role{
		"good": {ID: "good", Permissions: all},
		"bad":  {ID: "bad", Permissions: bad},
	}
	for name, l := range map[string]layer{
		"own rules":     {roles: []string{"good"}, rules: bad},
		"full":          {full: true, rules: bad},
		"rows":          {full: true, rows: []Condition{AllRows, Where("", Eq, 1)}},
		"zero rows":     {full: true, rows: []Condition{{}}},
		"forced":        {full: true, forced: Values{"x": []int{1}}},
		"role":          {roles: []string{"bad"}},
		"no such role":  {roles: []string{"gone"}},
		"nothing named": {},
	} {
		p := newPolicy([]layer{l}, roles)
		require.Equal(t, verdictNone, p.verdict(Read, "b"), name)
		require.Empty(t, p.grants(Read, "b"), name)
		require.Equal(t, "none", p.explain(Read, "b").Verdict, name)
	}
	p := newPolicy([]layer{{roles: []string{"bad", "good"}}}, roles)
	require.Equal(t, verdictAll, p.verdict(Read, "b"), "a bad role takes nothing from others")

	// The rules and denies of a broken role are not known. It gives nothing to a role that inherits it, and a role that
	// also inherits its denies gives nothing at all.
	ring := Role{ID: "ring", Inherits: []string{"ring 2"}, Permissions: all}
	for name, broken := range map[string]Role{
		"a rule":           {ID: "broken", Permissions: bad},
		"its boundary":     {ID: "broken", Permissions: all, Boundary: bad},
		"a forced value":   {ID: "broken", Permissions: all, Boundary: Permissions{all[0].Force(map[string]any{"x": 1})}},
		"a ring":           {ID: "broken", Permissions: all, Inherits: []string{"ring"}},
		"what it inherits": {ID: "broken", Inherits: []string{"bad"}, InheritDenies: true, Permissions: all},
	} {
		roles := map[string]Role{"broken": broken, "bad": roles["bad"], "ring": ring,
			"ring 2": {ID: "ring 2", Inherits: []string{"ring"}},
			"heir":   {ID: "heir", Inherits: []string{"broken"}},
			"own":    {ID: "own", Inherits: []string{"broken"}, Permissions: all},
			"again":  {ID: "again", Inherits: []string{"broken"}, InheritDenies: true, Permissions: all},
			"twice":  {ID: "twice", Inherits: []string{"again"}, Permissions: Permissions{Grant(Read).On("c")}},
		}
		for id, want := range map[string]verdict{"broken": verdictNone, "heir": verdictNone, "again": verdictNone,
			"twice": verdictNone, "own": verdictAll} {
			if name == "a ring" && id == "own" {
				want = verdictNone // a role that inherits a cycle is broken too
			}
			p := newPolicy([]layer{{roles: []string{id}}}, roles)
			require.Equal(t, want, p.verdict(Read, "b"), "%s: %s", name, id)
			require.Equal(t, want == verdictNone, len(p.grants(Read, "b")) == 0, "%s: %s", name, id)
		}
	}
}

func TestVerdictDoesNotAllocate(t *testing.T) {
	roles := map[string]Role{
		"base":   {ID: "base", Permissions: Permissions{Grant(Read).On("dataset/*").Where(Where("x", Eq, 1))}},
		"writer": {ID: "writer", Inherits: []string{"base"}, Permissions: Permissions{Grant(Any).On("dataset/orders")}},
	}
	p := newPolicy([]layer{
		{roles: []string{"base", "writer"}, rows: []Condition{Where("y", Eq, 2)}, forced: Values{"y": 2}},
		{full: true},
		{rules: Permissions{Allow(Any).On("*")}},
	}, roles)
	for _, on := range []Resource{"dataset/orders", "dataset/é", "a/very/deep/resource", "latchkey/token/x", "a//b"} {
		require.Zero(t, testing.AllocsPerRun(100, func() { p.verdict(Create, on) }), on)
	}
}

func benchmarkPolicy(n int) (*policy, []Resource) {
	var rules Permissions
	on := make([]Resource, n)
	for i := range n {
		on[i] = Path("dataset", fmt.Sprintf("d%06d", i))
		rules = append(rules, Grant(Read).On(Exactly(on[i])))
	}
	return newPolicy([]layer{{roles: []string{"r"}}}, map[string]Role{"r": {ID: "r", Permissions: rules}}), on
}

func BenchmarkVerdict(b *testing.B) {
	for _, n := range []int{1, 100, 10_000, 100_000} {
		p, on := benchmarkPolicy(n)
		hot := on[:min(n, 1024)]
		b.Run(fmt.Sprintf("grants=%d", n), func(b *testing.B) {
			b.ReportAllocs()
			i := 0
			for b.Loop() {
				if p.verdict(Read, hot[i]) != verdictAll {
					b.Fatal("denied")
				}
				if i++; i == len(hot) {
					i = 0
				}
			}
		})
		b.Run(fmt.Sprintf("grants=%d/cold", n), func(b *testing.B) {
			b.ReportAllocs()
			r := rand.New(rand.NewPCG(1, 1))
			for b.Loop() {
				p.verdict(Read, on[r.IntN(n)])
			}
		})
	}
	b.Run("chain", func(b *testing.B) { // a minted token, its parent with a role and rules, the owner's boundary
		p := newPolicy([]layer{
			{full: true, rows: []Condition{Where("region", Eq, "EU")}},
			{roles: []string{"r"}, rules: Permissions{Deny(Delete).On("*")}},
			{rules: Permissions{Allow(Any).On("*")}},
		}, map[string]Role{"r": {ID: "r", Permissions: Permissions{Allow(Read).On("dataset/*")}}})
		b.ReportAllocs()
		for b.Loop() {
			p.verdict(Read, "dataset/orders")
		}
	})
}
