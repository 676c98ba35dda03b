package latchkey

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// accessOf returns an Access of a client with these rules, and roles in addition.
func accessOf(client string, layers ...layer) Access {
	return Access{set: &compiled{policy: newPolicy(layers, nil)},
		who: &principal{lineage: &lineage{owner: "acme"}, client: Client{ID: client}}}
}

func reachText(list []Reached) (out []string) {
	for _, x := range list {
		text := string(x.Pattern)
		if !x.Rows.IsAllRows() {
			text += " where " + x.Rows.String()
		}
		for _, e := range x.Except {
			text += " - " + string(e)
		}
		out = append(out, text)
	}
	return out
}

func TestReach(t *testing.T) {
	mine := Where("by", Eq, ClientID)
	for _, c := range []struct {
		rules  Permissions
		client string
		under  Resource
		want   []string
	}{
		{nil, "", "", nil},
		{Permissions{Allow(Read).On("*")}, "", "", []string{"*"}},
		{Permissions{Allow(Read).On("*")}, "", "dataset", []string{"dataset", "dataset/*"}},
		{Permissions{Allow(Read).On("*"), Deny(Read).On("dataset/payroll")}, "", "", []string{"* - dataset/payroll"}},
		{Permissions{Allow(Read).On("*"), Deny(Read).On("dataset/payroll/*"), Allow(Read).On("dataset/payroll/*")}, "", "",
			[]string{"*"}},
		{Permissions{Allow(Read).On("dataset/*"), Allow(Read).On("dataset/orders").Where(mine)}, "u", "",
			[]string{"dataset/* - dataset/orders", `dataset/orders where by = "u"`}},
		{Permissions{Allow(Read).On("dataset/*"), Allow(Update).On("dataset/orders")}, "", "", []string{"dataset/*"}},
		{Permissions{Allow(Read).On("user/{*client}/*")}, "a/b", "", []string{"user/a%2Fb/*"}},
		{Permissions{Allow(Read).On("user/{*client}/*")}, "", "", nil},
		{Permissions{Allow(Read).On("user/{*}/*"), Deny(Read).On("user/{*client}/x")}, "", "",
			[]string{"user/{*}/* - user/{*}/x"}},
		{Permissions{Allow(Read).On("user/{*}/*"), Deny(Read).On("user/{*client}/x")}, "u", "",
			[]string{"user/{*}/* - user/u/x"}},
		{Permissions{Allow(Read).On("user/{*}/*")}, "", "user/u", []string{"user/u/*"}},
		{Permissions{Allow(Read).On("project/{*}/file"), Deny(Read).On("project/x/*")}, "", "",
			[]string{"project/{*}/file - project/x/file"}},
		{Permissions{Allow(Read).On("{*}/{*}"), Allow(Read).On("a/{*}").Where(Where("x", Eq, 1)), Allow(Read).On("{*}/b")},
			"", "", []string{"a/b", "a/{*} where x = 1 - a/b", "{*}/{*} - a/{*}"}},
		{Permissions{Allow(Any).On("latchkey/token/*"), Allow(Read).On("*")}, "", "", []string{"*", "latchkey/token/*"}},
		{Permissions{Allow(Any).On("latchkey/token/*"), Allow(Read).On("*")}, "", "latchkey",
			[]string{"latchkey", "latchkey/token/*"}},
		{Permissions{Allow(Read).On("*"), Deny(Read).On("user/{*}")}, "", "", []string{"* - user/{*}"}},
		{Permissions{Allow(Read).On("*"), Deny(Read).On("user/{*}/x"), Deny(Read).On("user/u")}, "", "",
			[]string{"* - user/u - user/{*}/x"}},
		{Permissions{Allow(Read).On("*"), Allow(Read).On("a/*").Where(Where("x", Eq, 1)),
			Allow(Read).On("a/b").Where(Where("x", Eq, 2))}, "", "",
			[]string{"* - a/*", "a/* where x = 1 - a/b", "a/b where x = 2"}},
		{Permissions{Allow(Read).On("a/{*}").Where(Where("x", Eq, 1)), Allow(Read).On("{*}/b")}, "", "",
			[]string{"a/{*} where x = 1 - a/b", "{*}/b"}},

		// Of what bears the name of the administration, only what lies beneath it at the top is apart.
		{Permissions{Allow(Read).On("{*}"), Deny(Read).On("latchkey")}, "", "", []string{"{*} - latchkey"}},
		{Permissions{Allow(Read).On("{*}/*")}, "", "", []string{"{*}/*"}},
		{Permissions{Allow(Read).On("{*}/{*}")}, "", "", []string{"{*}/{*}"}},
		{Permissions{Allow(Read).On("a/*"), Deny(Read).On("a/latchkey/x")}, "", "", []string{"a/* - a/latchkey/x"}},
		{Permissions{Allow(Read).On("a/*"), Deny(Read).On("a/latchkey/x")}, "", "a", []string{"a/* - a/latchkey/x"}},
	} {
		list, more, err := accessOf(c.client, layer{rules: c.rules}).Reach(Read, c.under, Page{})
		require.NoError(t, err)
		assert.False(t, more)
		assert.Equal(t, c.want, reachText(list), "%v beneath %q", c.rules, c.under)
	}
}

func TestReachIsBoundedAndPaged(t *testing.T) {
	var rules Permissions
	for i := range 250 {
		rules = append(rules, Allow(Read).On(Pattern(fmt.Sprintf("data/%03d", i))))
	}
	a := accessOf("", layer{rules: rules})
	var got []string
	for after, pages := "", 0; ; pages++ {
		list, more, err := a.Reach(Read, "", Page{After: after})
		require.NoError(t, err)
		got = append(got, reachText(list)...)
		if after = string(list[len(list)-1].Pattern); !more {
			require.Equal(t, 2, pages)
			break
		}
		require.Len(t, list, 100)
	}
	require.Len(t, got, 250)
	require.True(t, slices.IsSorted(got))
	list, more, err := a.Reach(Read, "", Page{After: "data/2480"})
	require.NoError(t, err)
	require.False(t, more)
	require.Equal(t, []string{"data/249"}, reachText(list))

	var many Permissions
	for i := range 160 {
		many = append(many, Allow(Read).On(Pattern(fmt.Sprintf("{*}/%d", i)), Pattern(fmt.Sprintf("%d/{*}", i))))
	}
	_, _, err = accessOf("", layer{rules: many}).Reach(Read, "", Page{})
	require.ErrorIs(t, err, ErrInvalid)
	list, _, err = accessOf("", layer{rules: many}).Reach(Read, "7", Page{})
	require.NoError(t, err)
	require.Equal(t, []string{"7/{*}"}, reachText(list))
	long := Pattern(strings.Repeat("x", 400))
	both := Permissions{Allow(Read).On("{*}/"+long, long+"/{*}")}
	list, _, err = accessOf("", layer{rules: both}).Reach(Read, "", Page{})
	require.NoError(t, err)
	require.Len(t, list, 2, "what is too long to be a resource is not listed")
	require.Empty(t, list[0].Except)
	longest := Pattern(strings.Repeat("x", maxResource))
	list, _, err = accessOf("", layer{rules: Permissions{Allow(Read).On(longest)}}).Reach(Read, "", Page{})
	require.NoError(t, err)
	require.Equal(t, []string{string(longest)}, reachText(list))
	first, last := Pattern(strings.Repeat("x", maxResource/2-3)), Pattern(strings.Repeat("y", maxResource/2-1))
	both = Permissions{Grant(Read).On(first + "/{*}/{*}").Where(isOpen), Grant(Read).On("{*}/{*}/" + last).Where(inEU)}
	_, _, err = accessOf("", layer{rules: both}).Reach(Read, "", Page{})
	require.ErrorIs(t, err, ErrInvalid, "where both hold there are resources, but a pattern of them would be too long")

	for _, bad := range []struct {
		a  Action
		on Resource
	}{{Any, "a"}, {"", "a"}, {Read, "a/{*}"}, {Read, "/"}} {
		_, _, err := a.Reach(bad.a, bad.on, Page{})
		require.ErrorIs(t, err, ErrInvalid)
	}
	list, more, err = Access{}.Reach(Read, "", Page{})
	require.NoError(t, err)
	require.Empty(t, list)
	require.False(t, more)
	_, _, err = accessOf("", layer{rules: Permissions{{}}}).Reach(Read, "", Page{})
	var fault *FaultError
	require.ErrorAs(t, err, &fault)
}

// Each segment costs one step, and one more for each pattern that covers it so far. So does each that an entry of the
// list is compared with. Nothing is done beyond the steps.
func TestReachCountsItsSteps(t *testing.T) {
	a := accessOf("", layer{rules: Permissions{Allow(Read).On("a/{*}/c"), Allow(Read).On("a/b")}})
	work := func(steps int) *reach {
		r := &reach{access: a, action: Read, steps: steps}
		r.root = r.build(nil, []*patternNode{newPatternTree(a.set.policy.rulesets(), nil)})
		for _, c := range r.cells {
			r.add(c)
		}
		return r
	}
	// The root, latchkey, a, a/{*}, a/{*}/c, a/b, and a/b/c with one pattern less than a/b, which two cover.
	const build = 2 + 2 + 2 + 2 + 2 + 3 + 2
	// From the root to a/{*}/c, where a/b/c is found too, and to a/b.
	const walk = 6 + 3
	require.Zero(t, work(build+walk).steps)
	require.Equal(t, []string{"a/{*}/c", "a/b"}, reachText(work(build+walk).list))
	require.Negative(t, work(build+walk-1).steps)
	require.Len(t, work(build).cells, 12)
	require.Equal(t, -3, work(build).steps, "no walk goes on")
	require.Less(t, len(work(build-1).cells), 12)
}

// On each resource that a pattern covers and its exceptions do not, the answer is that of Check and Filter, and each
// resource with something allowed is in one.
func TestReachAgreesWithCheck(t *testing.T) {
	exceptions := 0
	eachWorld(t, 150, func(t *testing.T, r *rand.Rand) {
		client := wildClients[r.IntN(len(wildClients))]
		layers := []layer{{rules: randomWildRules(r, 4)}}
		if r.IntN(3) == 0 {
			layers = append(layers, layer{full: true, rules: randomWildRules(r, 2)})
		}
		a := accessOf(client, layers...)
		under := []Resource{"", "", "a", "latchkey", "u%2Fv/b", "yy"}[r.IntN(6)]
		list, more, err := a.Reach(Read, under, Page{Limit: 1000})
		require.NoError(t, err)
		require.False(t, more)
		for _, x := range list {
			require.NoError(t, x.Pattern.Validate())
			require.False(t, x.Rows.IsNoRows())
			exceptions += len(x.Except)
		}
		for _, on := range wildResources {
			covers := func(p Pattern) bool { return p.Matches(on) }
			rows := a.rows(Read, on)
			listed := false
			for _, x := range list {
				if !covers(x.Pattern) || slices.ContainsFunc(x.Except, covers) {
					continue
				}
				listed = true
				require.True(t, rows.Equal(x.Rows), "%s for %q: %v, but %v of %v, by %v", on, client, rows, x, reachText(list),
					layers)
				require.Equal(t, x.Rows.IsAllRows(), a.Check(Read, on) == nil)
			}
			within := under == "" || on == under || strings.HasPrefix(string(on), string(under)+"/")
			require.Equal(t, within && !rows.IsNoRows(), listed, "%s for %q beneath %q: %v, by %v", on, client, under,
				reachText(list), layers)
		}
	})
	if !testing.Short() {
		require.NotZero(t, exceptions)
	}
}
