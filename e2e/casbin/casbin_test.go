// Package casbin compares decisions of casbin with those of latchkey, for policies that are brought over as
// docs/coming-from.md says.
package casbin

import (
	"fmt"
	"math/rand/v2"
	"os"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/casbin/casbin/v3"
	"github.com/casbin/casbin/v3/model"
	"github.com/stretchr/testify/require"

	"github.com/latchkey-go/latchkey"
	"github.com/latchkey-go/latchkey/memstore"
)

const modelText = `
[request_definition]
r = sub, obj, act

[policy_definition]
p = sub, obj, act, eft

[role_definition]
g = _, _

[policy_effect]
e = %s

[matchers]
m = g(r.sub, p.sub) && keyMatch(r.obj, p.obj) && r.act == p.act
`

// line is a p line of a policy.
type line struct{ sub, obj, act, eft string }

// policy is p lines in order, and g lines: each subject with those that it inherits. They form no cycle.
type policy struct {
	lines   []line
	inherit map[string][]string
	order   []string // subjects, inherited ones first
}

var (
	patterns = []string{"document/*", "document/payroll", "document/hr/*", "document/hr/a", "*"}
	objects  = []string{"document/payroll", "document/hr/a", "document/hr/b", "document/x", "invoice/1"}
	actions  = []string{"read", "update"}
)

func randomPolicy(r *rand.Rand) policy {
	p := policy{inherit: map[string][]string{}}
	for i := range 5 {
		name := fmt.Sprint("subject ", i)
		for _, other := range p.order {
			if r.IntN(3) == 0 {
				p.inherit[name] = append(p.inherit[name], other)
			}
		}
		p.order = append(p.order, name)
	}
	for range 2 + r.IntN(8) {
		l := line{p.order[r.IntN(len(p.order))], patterns[r.IntN(len(patterns))], actions[r.IntN(2)], "allow"}
		if r.IntN(3) == 0 {
			l.eft = "deny"
		}
		if !slices.Contains(p.lines, l) { // casbin keeps a line once
			p.lines = append(p.lines, l)
		}
	}
	return p
}

func (p policy) enforcer(t *testing.T, effect string) *casbin.Enforcer {
	t.Helper()
	m, err := model.NewModelFromString(fmt.Sprintf(modelText, effect))
	require.NoError(t, err)
	e, err := casbin.NewEnforcer(m)
	require.NoError(t, err)
	for _, l := range p.lines {
		_, err := e.AddPolicy(l.sub, l.obj, l.act, l.eft)
		require.NoError(t, err)
	}
	for sub, inherited := range p.inherit {
		for _, other := range inherited {
			_, err := e.AddGroupingPolicy(sub, other)
			require.NoError(t, err)
		}
	}
	return e
}

func (l line) rule() latchkey.Rule {
	start := latchkey.Allow(latchkey.Action(l.act))
	if l.eft == "deny" {
		start = latchkey.Deny(latchkey.Action(l.act))
	}
	return start.On(latchkey.Pattern(l.obj))
}

// rules are those of the lines that are about a subject, the Allows before the Denies.
func (p policy) rules(sub string) (rules latchkey.Permissions) {
	for _, eft := range []string{"allow", "deny"} {
		for _, l := range p.lines {
			if l.sub == sub && l.eft == eft {
				rules = append(rules, l.rule())
			}
		}
	}
	return rules
}

// access is that of a token with one role for each subject, as the section says for an effect that denies.
func (p policy) access(t *testing.T, keys *latchkey.Manager, owner, sub string, inheritDenies bool) latchkey.Access {
	t.Helper()
	acme := keys.For(owner)
	for _, name := range p.order {
		_, _, err := acme.EnsureRole(t.Context(), latchkey.Role{Name: name, Inherits: p.inherit[name],
			InheritDenies: inheritDenies, Permissions: p.rules(name)})
		require.NoError(t, err)
	}
	return issue(t, keys, owner, latchkey.Spec{Roles: []string{sub}})
}

// listed is that of a token whose own rules are the lines in reverse order: for the effect of priority, by which the
// first line that matches decides.
func (p policy) listed(t *testing.T, keys *latchkey.Manager, owner, sub string) latchkey.Access {
	t.Helper()
	var of func(string) []string
	of = func(s string) []string {
		all := []string{s}
		for _, other := range p.inherit[s] {
			all = append(all, of(other)...)
		}
		return all
	}
	subjects := of(sub)
	var rules latchkey.Permissions
	for _, l := range slices.Backward(p.lines) {
		if slices.Contains(subjects, l.sub) {
			rules = append(rules, l.rule())
		}
	}
	return issue(t, keys, owner, latchkey.Spec{Permissions: rules})
}

func issue(t *testing.T, keys *latchkey.Manager, owner string, spec latchkey.Spec) latchkey.Access {
	t.Helper()
	spec.Kind = latchkey.KindAPIKey
	_, secret, err := keys.For(owner).Issue(t.Context(), spec)
	require.NoError(t, err)
	a, err := keys.Verify(t.Context(), latchkey.Presented{Secret: secret.Reveal()})
	require.NoError(t, err)
	return a
}

// compare counts the requests on which the two disagree.
func compare(t *testing.T, e *casbin.Enforcer, a latchkey.Access, sub string) (allowed, differ int) {
	t.Helper()
	for _, obj := range objects {
		for _, act := range actions {
			theirs, err := e.Enforce(sub, obj, act)
			require.NoError(t, err)
			if theirs {
				allowed++
			}
			if theirs != a.Allows(latchkey.Action(act), latchkey.Resource(obj)) {
				differ++
			}
		}
	}
	return allowed, differ
}

const (
	allowAndDeny  = "some(where (p.eft == allow)) && !some(where (p.eft == deny))"
	allowOverride = "some(where (p.eft == allow))"
	priority      = "priority(p.eft) || deny"
)

func TestPoliciesBroughtOverDecideAlike(t *testing.T) {
	seed := uint64(time.Now().UnixNano())
	if s, ok := os.LookupEnv("SEED"); ok {
		var err error
		seed, err = strconv.ParseUint(s, 10, 64)
		require.NoError(t, err)
	}
	t.Log("SEED =", seed)
	r := rand.New(rand.NewPCG(seed, 0))
	keys := latchkey.New(memstore.New(nil), nil)
	allowed, plain := 0, 0
	for i := range 150 {
		p := randomPolicy(r)
		owner := fmt.Sprint("owner ", i)
		sub := p.order[r.IntN(len(p.order))]

		e := p.enforcer(t, allowAndDeny)
		n, differ := compare(t, e, p.access(t, keys, owner, sub, true), sub)
		require.Zero(t, differ, "%+v of %q", p, sub)
		allowed += n
		// Without InheritDenies they would not: this is what the page warns of.
		_, differ = compare(t, e, p.access(t, keys, owner+" plain", sub, false), sub)
		plain += differ

		_, differ = compare(t, p.enforcer(t, priority), p.listed(t, keys, owner, sub), sub)
		require.Zero(t, differ, "by priority: %+v of %q", p, sub)

		granted := p
		granted.lines = slices.DeleteFunc(slices.Clone(p.lines), func(l line) bool { return l.eft == "deny" })
		_, differ = compare(t, p.enforcer(t, allowOverride), granted.access(t, keys, owner+" granted", sub, false), sub)
		require.Zero(t, differ, "without denies: %+v of %q", p, sub)
	}
	require.Positive(t, allowed)
	require.Positive(t, plain)
}

// The page quotes the model whose effect it means.
func TestThePageMeansThisModel(t *testing.T) {
	text, err := os.ReadFile("../../docs/coming-from.md")
	require.NoError(t, err)
	for _, effect := range []string{allowAndDeny, allowOverride, priority} {
		require.Regexp(t, regexp.QuoteMeta("`"+effect+"`"), strings.ReplaceAll(string(text), "\\|", "|"))
	}
}
