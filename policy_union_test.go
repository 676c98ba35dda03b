package latchkey

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"
)

// joinNow joins the unions of a policy, as many questions do. It returns how many lists were joined.
func (p *policy) joinNow() (n int) {
	for i := range p.layers {
		if u := p.layers[i].union; u != nil {
			u.asked.Store(joinCost * u.entries)
			if len(u.members) > fewMembers && u.join() != nil {
				n += len(u.members)
			}
		}
	}
	return n
}

// manyRoles is a random world whose layers name many roles. Most roles only add; some take back, inherit, are bounded,
// broken, or missing.
func manyRoles(r *rand.Rand) *world {
	w := &world{roles: map[string]modelRole{}}
	ids := []string{"r0", "r1", "r2", "r3", "r4", "r5", "r6", "r7", "missing", "code:missing"}
	for i, id := range ids[:8] {
		m := modelRole{rules: randomRules(r, 3), again: r.IntN(6) == 0, invalid: r.IntN(40) == 0}
		if adds := r.IntN(5) > 0; adds {
			for i := range m.rules {
				m.rules[i].verb = VerbGrant - Verb(r.IntN(2)*r.IntN(2))
			}
		}
		if i > 0 && r.IntN(3) == 0 {
			m.inherits = append(m.inherits, ids[r.IntN(i)])
		}
		if r.IntN(30) == 0 {
			if up := ids[r.IntN(len(ids))]; !slices.Contains(m.inherits, up) {
				m.inherits = append(m.inherits, up) // it may be missing, or make a cycle
			}
		}
		if m.bounded = r.IntN(8) == 0; m.bounded {
			m.bound = randomRules(r, 4)
			for i := range m.bound {
				m.bound[i].forced = nil
			}
		}
		w.roles[id] = m
	}
	for range 1 + r.IntN(2) {
		l := modelLayer{roles: pick(r, ids, 4, 9), rules: randomRules(r, 2*r.IntN(2)), forced: randomForced(r, 8)}
		if r.IntN(4) == 0 {
			l.rows = []modelCond{randomCond(r, 0)}
		}
		w.layers = append(w.layers, l)
	}
	return w
}

// Roles asked one by one and roles joined give what the model says.
func TestJoinedRolesMatchTheModel(t *testing.T) {
	joined, counts := 0, map[verdict]int{}
	eachWorld(t, 6000, func(t *testing.T, r *rand.Rand) {
		w := manyRoles(r)
		p := w.policy()
		type asked struct {
			a  Action
			on Resource
		}
		want := map[asked]verdict{}
		for _, on := range modelResources {
			for _, a := range modelActions {
				want[asked{a, on}] = modelVerdict(w.ask(a, on))
				require.Equal(t, want[asked{a, on}], p.verdict(a, on), "%s %s: one by one", a, on)
			}
		}
		joined += p.joinNow()
		for q, v := range want {
			require.Equal(t, v, p.verdict(q.a, q.on), "%s %s: joined", q.a, q.on)
			counts[v]++
		}
	})
	if !testing.Short() {
		require.Greater(t, joined, 1000)
		require.Greater(t, min(counts[verdictNone], counts[verdictSome], counts[verdictAll]), 1000)
	}
}

// With wildcards, clients and references the verdict is that of the grants, which are never joined.
func TestJoinedRolesWithWildcardsAgreeWithTheirGrants(t *testing.T) {
	joined := 0
	eachWorld(t, 1500, func(t *testing.T, r *rand.Rand) {
		roles := map[string]Role{}
		l := layer{}
		for i := range 4 + r.IntN(6) {
			role := Role{ID: fmt.Sprint("r", i), Permissions: randomWildRules(r, 3)}
			if r.IntN(4) > 0 {
				for i := range role.Permissions {
					role.Permissions[i].verb = VerbGrant
				}
			}
			if r.IntN(5) == 0 {
				role.Permissions = append(role.Permissions, Grant(Read).On(randomWildPattern(r)).Where(Where("x", Eq, Self)))
			}
			if i > 0 && r.IntN(4) == 0 {
				role.Inherits = []string{fmt.Sprint("r", r.IntN(i))}
			}
			roles[role.ID] = role
			l.roles = append(l.roles, role.ID)
		}
		if r.IntN(3) == 0 {
			l.rules = randomWildRules(r, 2)
		}
		p := newPolicy([]layer{l}, roles)
		again := newPolicy([]layer{l}, roles)
		joined += again.joinNow()
		for range 200 {
			q := question{action: pick(r, []Action{Read, Update, Delete}, 1, 1)[0],
				on: string(wildResources[r.IntN(len(wildResources))]), client: wildClients[r.IntN(len(wildClients))]}
			plain, once := q, q
			want := extent(p.rowsFor(&plain))
			require.Equal(t, want, p.verdictOf(&q), "%s %s as %q: one by one", q.action, q.on, q.client)
			once.complete()
			require.Equal(t, want, again.verdictOf(&once), "%s %s as %q: joined", q.action, q.on, q.client)
		}
	})
	require.Positive(t, joined)
}

// A union is joined after enough questions, and not before; few roles never are.
func TestRolesAreJoinedOnceTheyAreOftenAsked(t *testing.T) {
	policyOf := func(n int) *policy {
		roles, l := map[string]Role{}, layer{}
		for i := range n {
			id := fmt.Sprint("r", i)
			roles[id] = Role{ID: id, Permissions: Permissions{Grant(Read).On(Exactly(Path("d", id)), "all")}}
			l.roles = append(l.roles, id)
		}
		return newPolicy([]layer{l, {roles: slices.Clone(l.roles)}}, roles)
	}
	p := policyOf(10)
	u := p.layers[0].union
	require.Same(t, u, p.layers[1].union, "layers with the same roles share it")
	require.Len(t, u.members, 10)
	for range joinCost - 1 {
		require.Equal(t, verdictNone, p.verdict(Update, "d/r3"))
	}
	require.Nil(t, u.joined.Load())
	for range 10 * joinCost {
		require.Equal(t, verdictAll, p.verdict(Read, "d/r9"))
	}
	require.NotNil(t, u.joined.Load())
	require.Len(t, u.joined.Load().entries, 11, "what they have in common is in it once")

	few := policyOf(fewMembers)
	for range 1000 {
		require.Equal(t, verdictAll, few.verdict(Read, "d/r2"))
	}
	require.Nil(t, few.layers[0].union.joined.Load())
}

// Many callers ask while the roles are joined.
func TestRolesAreJoinedWhileTheyAreAsked(t *testing.T) {
	roles, l := map[string]Role{}, layer{}
	for i := range 50 {
		id := fmt.Sprint("r", i)
		roles[id] = Role{ID: id, Permissions: Permissions{Grant(Read).On(Exactly(Path("d", id)))}}
		l.roles = append(l.roles, id)
	}
	p := newPolicy([]layer{l}, roles)
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() {
			for i := range 500 {
				on := Path("d", fmt.Sprint("r", i%60))
				if got := p.verdict(Read, on) == verdictAll; got != (i%60 < 50) {
					t.Errorf("%s: %v", on, got)
				}
			}
		})
	}
	wg.Wait()
}

// A union keeps to the shapes that one list may hold. A role that would bring more is asked by itself, with all that it
// inherits.
func TestShapesOfAUnionAreBounded(t *testing.T) {
	shaped := func(i int) Pattern { // the i-th shape
		return Pattern(strings.Repeat("a/", i) + "{*}")
	}
	roles, l := map[string]Role{"base": {ID: "base", Permissions: Permissions{Grant(Read).On("base")}}}, layer{}
	const n = maxPatternShapes + 6
	for i := range n {
		id := fmt.Sprint("r", i)
		roles[id] = Role{ID: id, Permissions: Permissions{Grant(Read).On(shaped(i))}}
		if i == maxPatternShapes {
			roles[id] = Role{ID: id, Inherits: []string{"base"}, Permissions: Permissions{Grant(Read).On(shaped(i))}}
		}
		l.roles = append(l.roles, id)
	}
	l.roles = append(l.roles, "base")
	p := newPolicy([]layer{l}, roles)
	require.Len(t, p.layers[0].others, n-maxPatternShapes)
	for range 2 {
		for i := range n {
			require.Equal(t, verdictAll, p.verdict(Read, Resource(strings.Repeat("a/", i)+"x")), i)
		}
		require.Equal(t, verdictAll, p.verdict(Read, "base"))
		require.NotZero(t, p.joinNow())
	}
	require.Len(t, p.layers[0].union.joined.Load().shapes, maxPatternShapes)
}

// What of a resource is kept for the next list of rules is right, and a text that is no resource is never one.
func TestQuestionsOfAnyText(t *testing.T) {
	p := newPolicy([]layer{
		{rules: Permissions{Allow(Read).On("a", "a/*", "user/{*}/inbox", "user/{*client}", "x/y/*")}},
		{rules: Permissions{Allow(Read).On("*", "a/b/c/d/e/f/g/h/*")}},
		{full: true},
	}, nil)
	eachWorld(t, 20_000, func(t *testing.T, r *rand.Rand) {
		parts := pick(r, []string{"a", "b", "user", "inbox", "x", "y", "/", "/", "/", "/", ".", "..", "*", "{*}", "{*client}",
			"\x00", "\xff", "\xfe", "é", "latchkey/", strings.Repeat("z", 300), strings.Repeat("a/", 20)}, 0, 12)
		on := strings.Join(parts, "")
		q := question{action: Read, on: on, client: []string{"", "a"}[r.IntN(2)]}
		once := q
		once.complete()
		require.Equal(t, Resource(on).valid(), once.valid(), "%q", on)
		before := once
		want := verdictNone
		if Resource(on).valid() {
			plain := q
			want = extent(p.rowsFor(&plain))
		}
		require.Equal(t, want, p.verdictOf(&q), "%q", on)
		require.Equal(t, want, p.verdictOf(&once), "%q", on)
		before.caller, once.caller = nil, nil
		require.Equal(t, before, once, "a prepared question is only read")
	})
}

func TestAnIndexComparesWholeKeys(t *testing.T) {
	s := newRuleset(Permissions{Allow(Read).On("a")})
	require.Equal(t, int32(0), s.find(hashOf("a"), "a", keyExact))
	require.Equal(t, int32(-1), s.find(hashOf("a"), "b", keyExact), "another key of the same hash")
	require.Equal(t, int32(-1), s.find(hashOf("a"), "a", keyUnder), "the same key of another kind")
}

// What an Allow of no rows resets is reset, however the list is evaluated.
func TestListsThatTakeBackAreNotPlain(t *testing.T) {
	where := Where("x", Eq, 1)
	for name, c := range map[string]struct {
		p             Permissions
		plain, adding bool
	}{
		"grants":         {Permissions{Grant(Read).On("a"), Grant(Read).On("a").Where(where)}, true, true},
		"an allow":       {Permissions{Grant(Read).On("a").Where(where), Allow(Read).On("a")}, true, true},
		"some, then all": {Permissions{Allow(Read).On("a").Where(where), Allow(Read).On("b")}, true, false},
		"all, then some": {Permissions{Allow(Read).On("*"), Allow(Read).On("a").Where(where)}, false, false},
		"some, then no rows": {Permissions{Grant(Read).On("a").Where(where), Allow(Read).On("a").Where(Condition{})},
			false, false},
		"a deny":                {Permissions{Deny(Read).On("b")}, false, false},
		"a deny of no rows":     {Permissions{Deny(Read).On("b").Where(Condition{})}, false, false},
		"nothing":               {nil, true, true},
		"an invalid rule":       {Permissions{{}}, false, false},
		"an allow of some rows": {Permissions{Allow(Read).On("a").Where(where)}, true, false},
	} {
		s := newRuleset(c.p)
		require.Equal(t, c.plain, s.plain, "%s: plain", name)
		require.Equal(t, c.adding, s.adding, "%s: adding", name)
	}
}

func TestAllocationsOfQuestions(t *testing.T) {
	if raceEnabled {
		t.Skip("the race detector allocates")
	}
	roles, l := map[string]Role{}, layer{rules: Permissions{Allow(Read).On("user/{*client}/*")}}
	for i := range 10 {
		id := fmt.Sprint("r", i)
		roles[id] = Role{ID: id, Permissions: Permissions{Grant(Read).On("dataset/*", Exactly(Path("d", id)))}}
		l.roles = append(l.roles, id)
	}
	p := newPolicy([]layer{l}, roles)
	a := Access{set: &compiled{policy: p}, who: &principal{lineage: &lineage{}, client: Client{ID: "u"}}}
	p.layers[0].union.asked.Store(-1000) // not joined in the midst of the first round
	for _, on := range []Resource{"dataset/orders", "d/r7", "user/u/inbox"} {
		q := PrepareQuestion(Read, on)
		for range 2 {
			require.True(t, a.Allows(Read, on))
			require.Zero(t, testing.AllocsPerRun(10, func() { a.Allows(Read, on) }), on)
			require.Zero(t, testing.AllocsPerRun(10, func() { a.AllowsQuestion(q) }), on)
			p.joinNow()
		}
	}
	require.NotNil(t, p.layers[0].union.joined.Load())
}

// Answers that are kept are those of the question, however many there are.
func TestAnswersAreKeptByQuestion(t *testing.T) {
	p := newPolicy([]layer{{rules: Permissions{Allow(Read).On("d/0/*"),
		Allow(Read).On("d/1").Where(Where("x", Eq, 1))}}}, nil)
	var asked []PreparedQuestion
	for i := range 200 {
		asked = append(asked, PrepareQuestion(Read, Path("d", fmt.Sprint(i%3), "x")), PrepareQuestion(Read, "d/1"))
	}
	for range 3 {
		for _, q := range asked {
			require.Equal(t, p.verdictOf(q.q), p.remembered(q.q, nil), q.Question())
		}
	}
	known := p.verdicts.Load()
	for i := range known {
		require.NotZero(t, known[i].Load())
	}

	var few numbers // there are no more: two questions never share one
	few.last.Store(maxNumber - 1)
	require.Equal(t, uint32(maxNumber), few.next())
	for range 3 {
		require.Zero(t, few.next())
	}
	p = newPolicy([]layer{{rules: Permissions{Allow(Read).On("d/0/*")}}}, nil) // with free slots
	yes, no := PrepareQuestion(Read, "d/0/x"), PrepareQuestion(Read, "d")
	yes.q.number, no.q.number = 0, 0
	for range 2 {
		require.Equal(t, verdictAll, p.remembered(yes.q, nil))
		require.Equal(t, verdictNone, p.remembered(no.q, nil))
	}
}

// A search for a pattern that there is not ends at a free slot. A Deny of the client's own has two patterns.
func TestAnIndexHasFreeSlots(t *testing.T) {
	var rules Permissions
	for n := range 100 {
		rules = append(rules, Deny(Read).On(Pattern(fmt.Sprint("d", n, "/{*client}"))))
		s := newRuleset(rules)
		require.Len(t, s.entries, 2*(n+1))
		free := 0
		for _, slot := range s.slots {
			if slot.entry == 0 {
				free++
			}
		}
		require.GreaterOrEqual(t, 4*free, len(s.slots), "%d rules", n+1)
		require.Equal(t, len(s.slots)-len(s.entries), free)
	}
}

// The shapes of a question are put together in a list of their own, for those of a policy are shared by its questions.
func TestShapesArePutTogetherApart(t *testing.T) {
	of := func(patterns ...Pattern) (shapes []shape) {
		shapes = make([]shape, 0, 8)
		for _, p := range patterns {
			shapes = addShape(shapes, p.shape())
		}
		return shapes
	}
	low, high := of("{*}"), of("a/b/{*}", "{*}/c/d/e")
	all := of("{*}", "a/b/{*}", "{*}/c/d/e")
	for range 2 {
		require.Equal(t, all, withShapes(high, low))
		require.Equal(t, all, withShapes(low, high))
		require.Equal(t, of("{*}"), low)
		require.Equal(t, of("a/b/{*}", "{*}/c/d/e"), high)
		require.Equal(t, high[:3][2], shape{}, "nor what lies behind it")
	}
	require.Equal(t, high, withShapes(high, nil))
}
