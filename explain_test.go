package latchkey

import (
	"encoding/json"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestExplain(t *testing.T) {
	roles := map[string]Role{
		"r1": {ID: "r1", Name: "analyst", Permissions: Permissions{
			Allow(Use).On("*"), Allow(Read).On("dataset/*"), Deny(Any).On("dataset/payroll")}},
		"r2": {ID: "r2", Name: "auditor", Inherits: []string{"r3"}, Permissions: Permissions{
			Grant(Read).On("dataset/payroll").Where(inEU)}},
		"r3": {ID: "r3", Name: "base", Permissions: Permissions{Allow(Use).On("service/x")}},
	}
	p := newPolicy([]layer{
		{name: "token t1", roles: []string{"r1", "r2"}, rules: Permissions{Deny(Use).On("service/*")},
			rows:   []Condition{isOpen},
			forced: Values{"by": "Ada"}},
		{name: "owner boundary", rules: Permissions{Allow(Any).On("dataset/*", "service/*")}},
	}, roles)

	e := p.explain(Read, "dataset/payroll")
	require.Equal(t, `read on dataset/payroll: some rows: region = "EU" and status = "open"
because token t1 allows some rows only
token t1: some rows: region = "EU" and status = "open"
  role analyst (r1) rule 2: allow read on dataset/* — replaced by a later rule
  role analyst (r1) rule 3: deny any action on dataset/payroll — overridden by role auditor (r2)
  role auditor (r2) rule 1: grant read on dataset/payroll where region = "EU"
  limited to status = "open"
owner boundary: every row
  rule 1: allow any action on dataset/*, service/*
`, e.String())

	e = p.explain(Use, "service/x")
	require.Equal(t, "none", e.Verdict)
	require.Equal(t, "token t1", e.Decided)
	require.Equal(t, "token t1: rule 1: deny use on service/*", e.Reason)
	for _, r := range e.Layers[0].Rules[:2] {
		require.True(t, r.Replaced, r.Rule)
	}

	e = p.explain(Use, "other")
	require.Equal(t, "owner boundary", e.Decided)
	require.Equal(t, "owner boundary: no rule allows it", e.Reason)

	data, err := json.Marshal(p.explain(Read, "dataset/payroll"))
	require.NoError(t, err)
	require.Contains(t, string(data), `"overridden_by":["auditor (r2)"]`)
	require.Contains(t, string(data), `"verdict":"some"`)
	require.Contains(t, string(data), `"decided_by":"token t1"`)
}

func TestExplainFaults(t *testing.T) {
	roles := map[string]Role{
		"loop": {ID: "loop", Inherits: []string{"loop"}},
		"heir": {ID: "heir", Inherits: []string{"gone"}, InheritDenies: true, Permissions: Permissions{Allow(Read).On("*")}},
		"old":  {ID: "old", Permissions: Permissions{Allow(Read).On("a"), Deny(Read).On("a").Where(inEU)}},
		"new": {ID: "new", Inherits: []string{"old"}, InheritDenies: true, Permissions: Permissions{
			Grant(Read).On("a")}},
	}
	ask := func(l layer) Explanation {
		l.name = "t"
		return newPolicy([]layer{l}, roles).explain(Read, "a")
	}
	require.Contains(t, ask(layer{roles: []string{"loop"}}).Reason, "has a cycle")
	require.Contains(t, ask(layer{roles: []string{"gone"}}).Reason, "no such role")
	require.Contains(t, ask(layer{roles: []string{"heir"}}).String(), "role heir gives nothing")
	require.Contains(t, ask(layer{full: true, rules: Permissions{{}}}).Reason, "its rules are invalid")
	require.Contains(t, ask(layer{full: true, rows: []Condition{{}}}).Reason, "limits everything to no row")
	require.Contains(t, ask(layer{full: true, rows: []Condition{All()}}).Reason, "invalid")
	for _, bad := range []layer{{full: true, forced: Values{"": 1}},
		{full: true, rows: []Condition{inEU}, forced: Values{"": 1}}} {
		require.Contains(t, ask(bad).Reason, "its forced values are invalid")
	}
	require.Equal(t, "t may do everything", ask(layer{full: true}).Reason)
	roles["torn"] = Role{ID: "torn", Permissions: Permissions{Deny(Read).On("a"), Grant(Read).On("a")}}
	roles["firm"] = Role{ID: "firm", Inherits: []string{"old"}}
	roles["soft"] = Role{ID: "soft", Inherits: []string{"old"},
		Permissions: Permissions{Grant(Read).On("a").Where(isOpen)}}
	require.NotContains(t, ask(layer{roles: []string{"torn"}}).String(), "overridden")
	require.NotContains(t, ask(layer{roles: []string{"old", "firm"}}).String(), "overridden")
	require.Contains(t, ask(layer{roles: []string{"firm", "soft"}}).String(), "overridden by role soft")
	e := ask(layer{roles: []string{"new"}})
	require.Equal(t, "some", e.Verdict)
	require.Contains(t, e.String(), `deny read on a where region = "EU" — applied once more by role new`)
}

// What is said to have decided, and why, where several layers have a part in it.
func TestExplainWhoDecides(t *testing.T) {
	full := layer{name: "token", full: true}
	all := layer{name: "boundary", rules: Permissions{Allow(Any).On("*")}}
	team := layer{name: "token", rules: Permissions{Allow(Any).On("*").Force(map[string]any{"team": Attr("team")})}}
	forces := func(name, value string) layer {
		return layer{name: name, rules: Permissions{Grant(Any).On("*").Force(map[string]any{"team": value})}}
	}
	either := layer{name: "token", rules: Permissions{team.rules[0], Grant(Create).On("*")}}
	for _, c := range []struct {
		layers   []layer
		action   Action
		verdict  string
		decided  string
		because  string
		attached Attributes
	}{
		{[]layer{full}, Read, "all", "token", "token may do everything", nil},
		{[]layer{full, all}, Read, "all", "boundary",
			"boundary allows every row, and no other layer allows less", nil},
		{[]layer{all, {name: "parent", full: true}}, Read, "all", "boundary",
			"boundary allows every row, and no other layer allows less", nil},
		{[]layer{full, {name: "parent", full: true}}, Read, "all", "token", "token may do everything", nil},
		{[]layer{full, {name: "boundary"}}, Read, "none", "boundary", "boundary: no rule allows it", nil},
		{[]layer{team, all}, Create, "none", "token",
			`a rule forces field "team" to attr("team"), which the caller has no value for`, nil},
		{[]layer{team, all}, Read, "all", "token", "token allows every row, and no other layer allows less", nil},
		{[]layer{team, all}, Update, "all", "token", "token allows every row, and no other layer allows less", nil},
		{[]layer{team, all}, Create, "all", "token", "token allows every row, and no other layer allows less",
			Attributes{"team": "a"}},
		{[]layer{forces("token", "a"), forces("parent", "b"), all}, Create, "none", "parent",
			"parent forces other values than the layers before it: no way is left that all allow", nil},
		{[]layer{forces("token", "a"), all, forces("parent", "b")}, Create, "none", "parent",
			"parent forces other values than the layers before it: no way is left that all allow", nil},
		{[]layer{either, all}, Create, "all", "token", "token allows every row, and no other layer allows less", nil},
	} {
		e := newPolicy(c.layers, nil).explainOf(&question{action: c.action, on: "data/x", caller: func(ref any) (any, bool) {
			v, ok := c.attached[ref.(AttrRef).name]
			return v, ok
		}})
		require.Equal(t, c.verdict, e.Verdict, c.because)
		require.Equal(t, c.decided, e.Decided)
		require.Equal(t, c.because, e.Reason)
	}
}

// A Deny names the roles that override it once each, and only those beside the role that has it.
func TestExplainWhoOverrides(t *testing.T) {
	roles := map[string]Role{
		"strict": {ID: "strict", Permissions: Permissions{Allow(Read).On("*"), Deny(Read).On("a")}},
		"base":   {ID: "base", Permissions: Permissions{Allow(Read).On("a")}},
		"other":  {ID: "other", Permissions: Permissions{Allow(Read).On("b")}},
		"heir":   {ID: "heir", Inherits: []string{"base"}},
	}
	for _, c := range []struct {
		roles []string
		by    []string
	}{
		{[]string{"strict"}, nil},
		{[]string{"strict", "other"}, nil},
		{[]string{"strict", "base"}, []string{"base"}},
		{[]string{"strict", "heir"}, []string{"heir"}}, // base is not beside it: heir speaks for it
	} {
		p := newPolicy([]layer{{name: "t", roles: c.roles}}, roles)
		found := 0
		for _, r := range p.explain(Read, "a").Layers[0].Rules {
			if r.Role == "strict" && r.Rule == "deny read on a" {
				require.ElementsMatch(t, c.by, r.OverriddenBy, "%v", c.roles)
				found++
			}
		}
		require.Equal(t, 1, found)
	}
}

// What the boundary of a role leaves is told of roles that have one and are named, and of no others.
func TestExplainLimitsOfRoles(t *testing.T) {
	rules := Permissions{Allow(Read).On("a", "b")}
	roles := map[string]Role{
		"free":  {ID: "free", Permissions: rules},
		"bound": {ID: "bound", Permissions: rules, Boundary: Permissions{Allow(Read).On("a").Where(inEU)}},
		"heir":  {ID: "heir", Inherits: []string{"bound"}},
	}
	limits := func(on Resource, named ...string) map[string]string {
		out := map[string]string{}
		for _, r := range newPolicy([]layer{{name: "t", roles: named}}, roles).explain(Read, on).Layers[0].Roles {
			out[r.ID] = "none"
			if r.Limit != nil {
				out[r.ID] = r.Limit.String()
			}
		}
		return out
	}
	require.Equal(t, map[string]string{"free": "none", "bound": inEU.String()}, limits("a", "free", "bound"))
	require.Equal(t, map[string]string{"bound": Condition{}.String()}, limits("b", "bound"))
	require.Equal(t, map[string]string{"heir": "none", "bound": "none"}, limits("a", "heir"))
}
