package latchkey

import (
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"runtime"
	"slices"
	"testing"

	"github.com/stretchr/testify/require"
)

// manyRules returns n rules that let read one resource each, and no others.
func manyRules(n int, prefix string) (p Permissions) {
	for i := range n {
		p = append(p, Grant(Read).On(Exactly(Path(prefix, fmt.Sprint(i)))))
	}
	return p
}

// policyOfRole returns the policy of a caller with one role, and the node of that role.
func (m *Manager) policyOfRole(r Role) (*policy, *roleNode) {
	p := m.newPolicy([]layer{{roles: []string{r.ID}}}, map[string]Role{r.ID: r})
	return p, &p.nodes[0]
}

// The rules of a role are compiled once, whoever holds it with whichever other rules.
func TestPoliciesShareTheRulesOfARole(t *testing.T) {
	m := New(noStore{}, nil)
	role := Role{ID: "r", Permissions: manyRules(sharedRules, "a"), Boundary: manyRules(sharedRules, "a")}
	_, first := m.policyOfRole(role)
	require.NotSame(t, first.rules, first.boundary)
	p := m.newPolicy([]layer{{roles: []string{"s", "r"}, rules: Permissions{Grant(Update).On("b")}}},
		map[string]Role{"r": role.Clone(), "s": {ID: "s", Inherits: []string{"r"}, Permissions: manyRules(40, "s")}})
	require.Same(t, first.rules, p.nodes[0].rules)
	require.Same(t, first.boundary, p.nodes[0].boundary)
	require.Equal(t, verdictAll, p.verdict(Read, "a/3"))
	require.Equal(t, verdictNone, p.verdict(Read, "a/32"))

	var read Permissions // as from a store that keeps text
	text, err := json.Marshal(role.Permissions)
	require.NoError(t, err)
	require.NoError(t, json.Unmarshal(text, &read))
	_, again := m.policyOfRole(Role{ID: "r", Permissions: read, Boundary: role.Boundary})
	require.Same(t, first.rules, again.rules)

	_, few := m.policyOfRole(Role{ID: "r", Permissions: manyRules(sharedRules-1, "a")})
	_, same := m.policyOfRole(Role{ID: "r", Permissions: manyRules(sharedRules-1, "a")})
	require.NotSame(t, few.rules, same.rules, "few rules are compiled as fast as they are found")
	var none *Manager
	p, _ = none.policyOfRole(role)
	require.Equal(t, verdictAll, p.verdict(Read, "a/3"))
}

// What an edit would make of a role has the id and the version of the role, and rules of its own.
func TestRulesOfAnEditedRoleAreItsOwn(t *testing.T) {
	m := New(noStore{}, nil)
	role := Role{ID: "r", Version: 3, Permissions: manyRules(100, "a")}
	edited := role.Clone()
	edited.Permissions[7] = Deny(Read).On("a/*")
	_, is := m.policyOfRole(role)
	for range 3 {
		p, node := m.policyOfRole(role)
		require.Same(t, is.rules, node.rules)
		require.Equal(t, verdictAll, p.verdict(Read, "a/3"))
		p, node = m.policyOfRole(edited)
		require.NotSame(t, is.rules, node.rules)
		require.Equal(t, verdictNone, p.verdict(Read, "a/3"))
		require.Equal(t, verdictAll, p.verdict(Read, "a/8"))
	}
	invalid := role.Clone()
	invalid.Permissions[7] = Grant(Read).On("a//b")
	for range 2 {
		p, node := m.policyOfRole(invalid)
		require.True(t, node.broken)
		require.Equal(t, verdictNone, p.verdict(Read, "a/3"))
		require.Len(t, m.lists.latest, 2, "an invalid list is not kept")
	}
}

// To issue a key with a role, or to verify the first one with other rules of its own, does not compile the role again.
func TestIssueAndVerifyShareTheRulesOfARole(t *testing.T) {
	m := New(noStore{}, nil)
	role := Role{ID: "r", Version: 1, Permissions: manyRules(100, "a")}
	_, issued := m.policyOfRole(role)
	for i := range 3 {
		set, _, err := m.compileRights(Found{Roles: []Role{role.Clone()}, Token: Token{ID: fmt.Sprint(i), Kind: KindAPIKey,
			Settings: Settings{Roles: []string{"r"}, Permissions: Permissions{Grant(Update).On("b")}}}})
		require.NoError(t, err)
		require.Same(t, issued.rules, set.policy.nodes[0].rules)
		require.Same(t, &issued.rules.source[0], &set.roleSet["r"].Permissions[0], "the list is in memory once")
		require.Nil(t, set.roleSet["r"].Boundary)
	}
	set, _, err := m.compileRights(Found{Roles: []Role{{ID: "r", Boundary: Permissions{}}},
		Token: Token{Kind: KindAPIKey, Settings: Settings{Roles: []string{"r"}}}})
	require.NoError(t, err)
	require.NotNil(t, set.roleSet["r"].Boundary, "an empty boundary is not none")
}

// What no policy holds any more is forgotten but for the latest lists.
func TestRulesOfRolesAreForgotten(t *testing.T) {
	var l roleLists
	const each = latestRules / 8
	for i := range 40 {
		l.ruleset(roleList{role: fmt.Sprint(i)}, manyRules(each, "a"))
		require.LessOrEqual(t, l.rules, latestRules)
	}
	require.Len(t, l.latest, 8)
	held := l.ruleset(roleList{role: "39"}, manyRules(each, "a"))
	require.Same(t, held, l.latest[7])
	require.Len(t, l.latest, 8, "it is among them once")

	l.ruleset(roleList{role: "large"}, manyRules(latestRules+1, "a"))
	require.Len(t, l.latest, 1)
	require.Same(t, held, l.ruleset(roleList{role: "39"}, manyRules(each, "a")), "whatever is held is known")

	runtime.GC()
	l.clean()
	require.Len(t, l.known, 1)
	require.Contains(t, l.known, roleList{role: "39"})
	runtime.KeepAlive(held)
}

// Rules are the same only if they read the same, and a copy is.
func TestSameRulesReadTheSame(t *testing.T) {
	if testing.Short() {
		t.Skip("one goroutine, and much work")
	}
	r := rand.New(rand.NewPCG(1, 2))
	text := func(p Permissions) string {
		b, err := json.Marshal(p)
		require.NoError(t, err)
		return string(b)
	}
	var lists []Permissions
	for range 300 {
		var p Permissions
		for range 1 + r.IntN(2) {
			rule := RuleStart{VerbAllow + Verb(r.IntN(3)), pick(r, []Action{Read, Update, Any}, 1, 2)}.
				On(pick(r, []Pattern{"a", "a/*", "b/{*}/c"}, 1, 2)...)
			if r.IntN(3) == 0 {
				rule = rule.Where(Where("n", Eq, r.IntN(2)))
			}
			if rule.verb != VerbDeny && r.IntN(3) == 0 {
				rule = rule.Force(Values{"n": r.IntN(2)})
			}
			p = append(p, rule)
		}
		lists = append(lists, p)
	}
	alike := 0
	for _, p := range lists {
		require.True(t, p.same(slices.Clone(p)))
		for _, q := range lists {
			equal := text(p) == text(q)
			require.Equal(t, equal, p.same(q), "%s\n%s", p, q)
			if equal {
				alike++
			}
		}
	}
	require.Greater(t, alike, len(lists))
	bad := Permissions{Grant(Read).On("a//b")}
	require.False(t, bad.same(bad), "two mistakes are not compared")
}
