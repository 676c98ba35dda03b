package latchkey

import (
	"cmp"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// noStore is for a Manager that no test makes read.
type noStore struct{ Store }

// askers are callers of several policies, with rules that depend on their references and on their client, and what they
// may ask for. Many of their values are equal, and many are not.
func askers(r *rand.Rand, m *Manager) (callers []Access, on []Resource) {
	values := []any{"a", "b", int64(1), true, Self, ClientID, OwnerID, Attr("team"), Attr("level"), Attr("none")}
	var condition func(depth int) Condition
	condition = func(depth int) Condition {
		field := []string{"by", "region", "level"}[r.IntN(3)]
		switch n := r.IntN(8); {
		case n == 0:
			return Where("region", In, Attr("regions"))
		case n == 1:
			return Where("region", In, []string{"EU", "US"})
		case n < 5 || depth > 2:
			return Where(field, []Op{Eq, Ne}[r.IntN(2)], values[r.IntN(len(values))])
		case n == 5:
			return Not(condition(depth + 1))
		}
		parts := []Condition{condition(depth + 1), condition(depth + 1), condition(depth + 1)}
		return []func(...Condition) Condition{All, AnyOf}[r.IntN(2)](parts...)
	}
	patterns := []Pattern{"*", "set/*", "set/a", "set/b", "user/{*client}", "user/{*client}/x", "user/*"}
	sets := make([]*compiled, 48)
	for i := range sets {
		var rules Permissions
		for range 1 + r.IntN(4) {
			rule := []func(...Action) RuleStart{Allow, Grant, Grant, Deny}[r.IntN(4)]([]Action{Read, Update, Any}[r.IntN(3)]).
				On(patterns[r.IntN(len(patterns))])
			if r.IntN(5) > 0 {
				rule = rule.Where(condition(0))
			}
			rules = append(rules, rule)
		}
		sets[i] = &compiled{policy: newPolicy([]layer{{rules: rules, selfRoles: &selfRoles{}}}, nil)}
	}
	pick := func(texts ...string) string { return texts[r.IntN(len(texts))] }
	for i := range 3000 {
		who := &principal{lineage: &lineage{owner: pick("acme", "umbra"), root: pick("", "", "root", "other")},
			client: Client{ID: pick("", "a", "b", fmt.Sprint("client", r.IntN(300)))}}
		if r.IntN(3) > 0 {
			attributes := Attributes{"regions": []string{pick("EU", "US"), pick("EU", "CH")}, "level": int64(r.IntN(3))}
			if r.IntN(2) == 0 {
				attributes["team"] = fmt.Sprint("team", r.IntN(20))
			}
			who.facts = &facts{attributes: newAttributeSet(attributes, nil)}
		}
		a := Access{set: sets[r.IntN(len(sets))], who: who, m: m}
		if i%4 > 0 {
			a.id = [16]byte{15: byte(r.IntN(4)), 8: byte(r.IntN(100))}
		}
		callers = append(callers, a)
	}
	return callers, []Resource{"set/a", "set/b", "user/a", "user/b", "user/a/x", "user/client7", "else",
		"latchkey/token/x"}
}

// What was kept of earlier answers is what an evaluation returns, for every caller and question, and what it was bound
// to is what a Bind returns, for every schema and dialect.
func TestKeptAnswersAreTheSame(t *testing.T) {
	m := New(noStore{}, nil)
	callers, resources := askers(rand.New(rand.NewPCG(16, 1)), m)
	fields := func(by, region string, level FieldType) Fields {
		return Fields{"by": {by, Text}, "region": {region, Text}, "level": {"level", level}}
	}
	var schemas []*Schema
	for i := range 6 { // more than a condition remembers
		schemas = append(schemas, NewSchema(fields(fmt.Sprint("by", i), "region", []FieldType{Integer, Number, Text}[i%3])))
	}
	var again, all, bound, rebound, lists int
	var counting sync.Mutex
	ask := func(r *rand.Rand) {
		last := map[string]*node{}
		for range 15_000 {
			i := r.IntN(len(callers))
			if r.IntN(2) == 0 {
				i = r.IntN(40) // some ask often
			}
			a, on, action := callers[i], resources[r.IntN(len(resources))], []Action{Read, Update}[r.IntN(2)]
			want, got := a.rowsAnew(action, on), a.rows(action, on)
			if !assert.True(t, want.Equal(got), "%v on %v by %+v:\nwant %v\ngot  %v", action, on, a.who, want, got) {
				return
			}
			key := fmt.Sprint(i, action, on)
			counting.Lock()
			if all++; got.n != nil && last[key] == got.n {
				again++
			}
			counting.Unlock()
			last[key] = got.n
			s := schemas[r.IntN(len(schemas))]
			p, err := s.Bind(got)
			p2, err2 := s.Bind(Condition{unbound(got.n)})
			if !assert.Equal(t, err2 == nil, err == nil, "%v", got) || err != nil {
				continue
			}
			p3, _ := s.Bind(got)
			row := Row{"by": []any{"a", "b", nil, int64(1)}[r.IntN(4)], "region": []any{"EU", "CH", nil}[r.IntN(3)],
				"level": []any{int64(1), "a", nil}[r.IntN(3)]}
			assert.Equal(t, p2.Match(row), p.Match(row), "%v of %v", got, row)
			d, first := []Dialect{SQLite, Postgres, MySQL}[r.IntN(3)], 1+r.IntN(3)
			where, args := p.SQL(d, first)
			where2, args2 := p2.SQL(d, first)
			if !assert.Equal(t, where2, where) || !assert.Equal(t, args2, args, "%v", got) {
				return
			}
			counting.Lock()
			if bound++; p == p3 {
				rebound++
			}
			for i := range args { // what a caller does to them changes no other answer
				if list, ok := args[i].([]string); ok {
					lists++
					list[0] = "changed"
				}
				args[i] = "changed"
			}
			counting.Unlock()
			_, args = p.SQL(d, first)
			if !assert.Equal(t, args2, args, "%v", got) {
				return
			}
		}
	}
	var askers sync.WaitGroup
	for g := range uint64(4) {
		askers.Go(func() { ask(rand.New(rand.NewPCG(g, 2))) })
	}
	askers.Wait()
	assert.Greater(t, again, all/20, "many answers were kept")
	assert.Greater(t, rebound, bound/5, "and what they were bound to")
	assert.Greater(t, lists, 100)
}

// A kept answer is found by all that it depends on. It answers nothing else, wherever it lies.
func TestAnAnswerIsOfOneQuestion(t *testing.T) {
	type asked struct {
		by     Access
		action Action
		on     Resource
	}
	caller := func(id byte, who principal, rules ...Rule) Access {
		who.lineage = cmp.Or(who.lineage, &lineage{})
		return Access{set: &compiled{policy: newPolicy([]layer{{rules: rules}}, nil)}, who: &who, id: [16]byte{15: id}}
	}
	as := func(a Access, id byte, who principal) Access {
		who.lineage = cmp.Or(who.lineage, &lineage{})
		a.id, a.who = [16]byte{15: id}, &who
		return a
	}
	where := func(field string, v any) Rule { return Allow(Read).On("*").Where(Where(field, Eq, v)) }
	team := func(name string) principal {
		return principal{facts: &facts{attributes: newAttributeSet(Attributes{"team": name}, nil)}}
	}
	plain := caller(1, principal{}, where("a", "x"))
	two := caller(1, principal{}, Allow(Read).On("set/a").Where(Where("a", Eq, "x")), Allow(Update, Read).On("set/b"))
	client := caller(1, principal{client: Client{ID: "a"}}, Allow(Read).On("user/{*client}"))
	self := caller(1, principal{lineage: &lineage{root: "root"}}, where("by", Self))
	id := caller(1, principal{}, where("by", Self))
	own := caller(1, principal{}, where("a", "x"))
	own.set.policy = newPolicy([]layer{{rules: Permissions{where("a", "x")}, apart: true}}, nil)
	apart := func(level int) principal {
		rows := Where("level", Eq, level)
		return principal{facts: &facts{apart: &apartRights{rows: rows, extent: extent(rows), is: true}}}
	}
	ofClient := caller(1, principal{client: Client{ID: "a"}}, where("by", ClientID))
	ofOwner := caller(1, principal{lineage: &lineage{owner: "acme"}}, where("by", OwnerID))
	ofTeam := caller(1, team("red"), where("by", Attr("team")))
	for what, pair := range map[string][2]asked{
		"policy":      {{plain, Read, "set/a"}, {caller(1, principal{}, where("a", "y")), Read, "set/a"}},
		"action":      {{two, Read, "set/a"}, {two, Update, "set/a"}},
		"resource":    {{two, Read, "set/a"}, {two, Read, "set/b"}},
		"pattern":     {{client, Read, "user/a"}, {as(client, 1, principal{client: Client{ID: "b"}}), Read, "user/a"}},
		"answer":      {{ofOwner, Read, "a"}, {caller(1, *ofOwner.who, where("other", OwnerID)), Read, "a"}},
		"apart":       {{as(own, 1, apart(1)), Read, "a"}, {as(own, 1, apart(2)), Read, "a"}},
		"root":        {{self, Read, "a"}, {as(self, 1, principal{lineage: &lineage{root: "other"}}), Read, "a"}},
		"no root":     {{self, Read, "a"}, {as(self, 1, principal{}), Read, "a"}},
		"id":          {{id, Read, "a"}, {as(id, 2, principal{}), Read, "a"}},
		"root for id": {{id, Read, "a"}, {as(id, 1, principal{lineage: &lineage{root: "root"}}), Read, "a"}},
		"client":      {{ofClient, Read, "a"}, {as(ofClient, 1, principal{client: Client{ID: "b"}}), Read, "a"}},
		"no client":   {{ofClient, Read, "a"}, {as(ofClient, 1, principal{}), Read, "a"}},
		"owner":       {{ofOwner, Read, "a"}, {as(ofOwner, 1, principal{lineage: &lineage{owner: "umbra"}}), Read, "a"}},
		"attribute":   {{ofTeam, Read, "a"}, {as(ofTeam, 1, team("blue")), Read, "a"}},
		"no value":    {{ofTeam, Read, "a"}, {as(ofTeam, 1, principal{}), Read, "a"}},
	} {
		for i := range pair { // each is the first once
			first, second := pair[i], pair[1-i]
			m := New(noStore{}, nil)
			first.by.m, second.by.m = m, m
			kept := first.by.rows(first.action, first.on)
			inEveryPlace(t, m.answers.ofPolicy[:], true)
			inEveryPlace(t, m.answers.ofCaller[:], false)
			want := second.by.rowsAnew(second.action, second.on)
			assert.False(t, want.Equal(kept), what)
			assert.True(t, want.Equal(second.by.rows(second.action, second.on)), what)
			assert.True(t, kept.Equal(first.by.rows(first.action, first.on)), what)
		}
	}
}

// inEveryPlace puts the one entry of a table in all its places.
func inEveryPlace[E any](t *testing.T, table []places[E], must bool) {
	var found *E
	for i := range table {
		found = cmp.Or(found, table[i][0].Load())
	}
	require.True(t, found != nil || !must)
	for i := range table {
		for j := range table[i] {
			table[i][j].Store(found)
		}
	}
}

// unbound returns a copy of a tree that remembers nothing.
func unbound(n *node) *node {
	if n == nil || n.bound == nil {
		return n
	}
	c := *n
	c.bound = nil
	return &c
}

// Neither large conditions nor long texts are kept, and the tables do not grow.
func TestAnswersAreBounded(t *testing.T) {
	m := New(noStore{}, nil)
	var many []Condition
	for i := range keptNodes {
		many = append(many, Where("n", Eq, i))
	}
	long := strings.Repeat("x", keptBytes)
	ask := func(c Condition, who *principal) (kept bool) {
		rules := Permissions{Allow(Read).On("*").Where(c)}
		a := Access{set: &compiled{policy: newPolicy([]layer{{rules: rules}}, nil)}, who: who, m: m, id: [16]byte{1}}
		require.True(t, a.rows(Read, "a").Equal(a.rowsAnew(Read, "a")))
		return a.rows(Read, "a").n.bound != nil
	}
	nobody := &principal{lineage: &lineage{}}
	with := func(of Attributes) *principal {
		return &principal{lineage: nobody.lineage, facts: &facts{attributes: newAttributeSet(of, nil)}}
	}
	assert.True(t, ask(AnyOf(many[:9]...), nobody))
	assert.False(t, ask(AnyOf(many...), nobody))
	assert.False(t, ask(All(Where("s", Eq, long), Where("t", Eq, "x")), nobody))
	assert.False(t, ask(All(Where("s", In, []string{long}), Where("t", Eq, "x")), nobody))
	assert.True(t, ask(Where("by", Eq, ClientID), &principal{lineage: &lineage{}, client: Client{ID: "x"}}))
	assert.False(t, ask(AnyOf(append(many[:keptForCaller:keptForCaller], Where("by", Eq, ClientID))...),
		&principal{lineage: &lineage{}, client: Client{ID: "x"}}), "many nodes")
	assert.False(t, ask(Where("by", Eq, Attr("text")), with(Attributes{"text": long})), "a long value")
	assert.False(t, ask(Not(Where("by", In, Attr("texts"))),
		with(Attributes{"texts": slices.Repeat([]string{"x"}, keptNodes)})), "a long list")
	a := Access{set: &compiled{policy: newPolicy([]layer{{rules: Permissions{Allow(Read).On("*").
		Where(Where("by", Eq, "x"))}}}, nil)}, who: nobody, m: m}
	on := Resource(strings.Repeat("r", keptResource+1))
	assert.NotNil(t, a.rows(Read, on).n)
	for i := range m.answers.ofPolicy {
		for j := range m.answers.ofPolicy[i] {
			if e := m.answers.ofPolicy[i][j].Load(); e != nil {
				assert.LessOrEqual(t, len(e.on), keptResource)
			}
		}
	}
}

// What a handler pays for rows, once it has asked before: the arguments, and for PostgreSQL each list of texts.
func TestAllocationsOfRows(t *testing.T) {
	if raceEnabled {
		t.Skip("the race detector allocates")
	}
	for name, a := range rowsCallers() {
		bind := func() {
			c, _ := a.Filter(Read, "set/orders")
			p, _ := ordersSchema.Bind(c)
			p.SQL(Postgres, 1)
		}
		assert.LessOrEqual(t, testing.AllocsPerRun(100, bind), 3.0, name)
		c, err := a.Filter(Read, "set/orders")
		require.NoError(t, err)
		p, err := ordersSchema.Bind(c)
		require.NoError(t, err)
		for _, row := range []Row{
			{"owner": "user-17", "amount": int64(500), "status": "paid"},
			{"owner": "user-17", "amount": 500.5, "status": "paid"},
			{"owner": []byte("user-17"), "amount": []byte("500.50"), "status": []byte("paid")},
		} {
			require.True(t, p.Match(row))
			assert.Zero(t, testing.AllocsPerRun(100, func() { p.Match(row) }), "%v", row)
		}
	}
}

var ordersSchema = NewSchema(Fields{"owner": {"owner", Text}, "amount": {"amount", Number}, "status": {"status", Text}})

// rowsCallers returns callers with three terms, with and without a reference.
func rowsCallers() map[string]Access {
	callers := map[string]Access{}
	for name, owner := range map[string]any{"plain": "user-17", "reference": ClientID} {
		rules := Permissions{Allow(Read).On("set/orders").Where(All(Where("owner", Eq, owner), Where("amount", Lt, 1000),
			Where("status", In, []string{"open", "paid", "sent"})))}
		callers[name] = Access{set: &compiled{policy: newPolicy([]layer{{rules: rules}}, nil)},
			who: &principal{lineage: &lineage{owner: "acme"}, client: Client{ID: "user-17"}}, m: New(noStore{}, nil)}
	}
	return callers
}

// BenchmarkFilterBindSQL is what a handler pays for rows.
func BenchmarkFilterBindSQL(b *testing.B) {
	for name, a := range rowsCallers() {
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				c, err := a.Filter(Read, "set/orders")
				if err != nil {
					b.Fatal(err)
				}
				p, err := ordersSchema.Bind(c)
				if err != nil {
					b.Fatal(err)
				}
				p.SQL(Postgres, 1)
			}
		})
	}
}
