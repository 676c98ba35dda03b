package latchkey

import (
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"testing"

	"github.com/stretchr/testify/require"
)

var (
	inEU    = Where("region", Eq, "EU")
	isOpen  = Where("status", Eq, "open")
	payroll = Permissions{
		Allow(Read, Update).On("db/*"),
		Deny(Any).On("db/payroll"),
	}
)

// ruleCase is one row of a table of rules: an action, a resource, and the verdict.
type ruleCase struct {
	a    Action
	on   Resource
	want verdict
}

func allow(a Action, on Resource) ruleCase { return ruleCase{a, on, verdictAll} }
func some(a Action, on Resource) ruleCase  { return ruleCase{a, on, verdictSome} }
func deny(a Action, on Resource) ruleCase  { return ruleCase{a, on, verdictNone} }

func TestRuleTables(t *testing.T) {
	for _, c := range []struct {
		name string
		p    Permissions
		want []ruleCase
	}{
		{"no rule allows nothing", nil, []ruleCase{deny(Read, "db/1")}},
		{"a rule covers its actions and resources only", payroll, []ruleCase{
			allow(Read, "db/orders"), allow(Update, "db/orders/1"), deny(Delete, "db/orders"), deny(Read, "db"),
			deny(Read, "files/1"), deny(Read, "db/payroll"), allow(Read, "db/payroll/2026"),
		}},
		{"position beats specificity: everything first, then one denied", Permissions{
			Allow(Read).On("*"), Deny(Read).On("db/7"),
		}, []ruleCase{allow(Read, "db/8"), deny(Read, "db/7")}},
		{"position beats specificity: one denied first, then everything", Permissions{
			Deny(Read).On("db/7"), Allow(Read).On("*"),
		}, []ruleCase{allow(Read, "db/8"), allow(Read, "db/7")}},
		{"overlaps per action: a later entry decides what it names, the rest survives", Permissions{
			Allow(Read, Update).On("db/7"), Deny(Update).On("db/7"), Allow(Create).On("db/7"),
		}, []ruleCase{allow(Read, "db/7"), deny(Update, "db/7"), allow(Create, "db/7")}},
		{"the same overlap the other way round", Permissions{
			Deny(Update).On("db/7"), Allow(Create).On("db/7"), Allow(Read, Update).On("db/7"),
		}, []ruleCase{allow(Read, "db/7"), allow(Update, "db/7"), allow(Create, "db/7")}},
		{"allow replaces: fewer rows later are fewer rows", Permissions{
			Allow(Read).On("db/*"), Allow(Read).On("db/7").Where(inEU),
		}, []ruleCase{allow(Read, "db/8"), some(Read, "db/7")}},
		{"grant adds: fewer rows later change nothing", Permissions{
			Grant(Read).On("db/*"), Grant(Read).On("db/7").Where(inEU),
		}, []ruleCase{allow(Read, "db/7")}},
		{"positives, then negatives after them", Permissions{
			Grant(Read).On("env/main/model/*"), Grant(Any).On("env/main/model/12"),
			Deny(Delete).On("env/main/model/12"), Deny(Read).On("env/main/model/13").Where(isOpen),
		}, []ruleCase{
			allow(Read, "env/main/model/11"), allow(Update, "env/main/model/12"), deny(Delete, "env/main/model/12"),
			some(Read, "env/main/model/13"), deny(Update, "env/main/model/13"),
		}},
		{"a condition of no row allows nothing and denies everything", Permissions{
			Allow(Read).On("a", "b").Where(Condition{}), Allow(Use).On("a", "b"), Deny(Use).On("b").Where(Condition{}),
		}, []ruleCase{deny(Read, "a"), allow(Use, "a"), deny(Use, "b")}},
		{"our own administration needs its own pattern", Permissions{
			Allow(Any).On("*"), Allow(Read).On("latchkey/token/*"),
		}, []ruleCase{
			allow(Alter, "anything/at/all"), deny(Read, "latchkey/role/1"), allow(Read, "latchkey/token/1"),
			deny(Reveal, "latchkey/token/1"),
		}},
	} {
		t.Run(c.name, func(t *testing.T) {
			require.NoError(t, c.p.Validate())
			p := newPolicy([]layer{{rules: c.p}}, nil)
			for _, s := range c.want {
				require.Equal(t, s.want, p.verdict(s.a, s.on), "%s %s", s.a, s.on)
				require.Equal(t, s.want == verdictAll, c.p.Allows(s.a, s.on), "%s %s", s.a, s.on)
				require.Equal(t, s.want, extent(c.p.Decide(s.a, s.on).Rows()), "%s %s", s.a, s.on)
			}
		})
	}
}

func TestChainTables(t *testing.T) {
	roles := map[string]Role{
		"reader": {ID: "reader", Name: "reader", Permissions: Permissions{Allow(Read).On("db/*")}},
		"eu":     {ID: "eu", Permissions: Permissions{Allow(Read, Update).On("db/*").Where(inEU)}},
		"no-7":   {ID: "no-7", Name: "no seven", Permissions: Permissions{Deny(Any).On("db/7")}},
		"heir":   {ID: "heir", Inherits: []string{"reader"}, Permissions: Permissions{Deny(Read).On("db/7")}},
		"rebel":  {ID: "rebel", Inherits: []string{"heir"}, Permissions: Permissions{Grant(Read).On("db/7")}},
		"obedient": {ID: "obedient", Inherits: []string{"heir"}, InheritDenies: true,
			Permissions: Permissions{Grant(Read, Use).On("db/7")}},
		"child": {ID: "child", Inherits: []string{"obedient"}, InheritDenies: true,
			Permissions: Permissions{Allow(Any).On("*")}},
		"giver": {ID: "giver", Permissions: Permissions{Allow(Any).On("db/*")}, Boundary: Permissions{}},
		"asia":  {ID: "asia", Inherits: []string{"giver"}, Boundary: Permissions{Allow(Read).On("db/7").Where(inEU)}},
		"bare":  {ID: "bare", Inherits: []string{"giver", "asia"}},
		"wide": {ID: "wide", Inherits: []string{"asia"},
			Boundary: Permissions{Allow(Update).On("db/*"), Deny(Any).On("db/8")}},
		"orphan": {ID: "orphan", Inherits: []string{"gone"}, Permissions: Permissions{Allow(Read).On("db/*")},
			Boundary: Permissions{}},
		"bad": {ID: "bad", Permissions: Permissions{Allow(Read).On("*")}, Boundary: Permissions{{}}},
		"forcing": {ID: "forcing", Permissions: Permissions{Allow(Read).On("*")},
			Boundary: Permissions{Allow(Any).On("*").Force(Values{"a": 1})}},
		"self": {ID: "self", Inherits: []string{"self"}, Permissions: Permissions{Allow(Read).On("*")}},
		"one":  {ID: "one", Inherits: []string{"two"}, Permissions: Permissions{Allow(Read).On("*")}},
		"two":  {ID: "two", Inherits: []string{"one"}, Permissions: Permissions{Allow(Read).On("*")}},
	}
	for _, c := range []struct {
		name   string
		layers []layer
		want   []ruleCase
	}{
		{"a union joins", []layer{{roles: []string{"reader", "eu"}}},
			[]ruleCase{allow(Read, "db/1"), some(Update, "db/1")}},
		{"the deny of a role applies to its own list only", []layer{{roles: []string{"no-7", "reader"}}},
			[]ruleCase{allow(Read, "db/7")}},
		{"the deny of a token applies to all its roles",
			[]layer{{roles: []string{"reader"}, rules: Permissions{Deny(Any).On("db/7")}}},
			[]ruleCase{deny(Read, "db/7"), allow(Read, "db/8")}},
		{"a role's rules come after what it inherits", []layer{{roles: []string{"heir"}}},
			[]ruleCase{deny(Read, "db/7"), allow(Read, "db/8")}},
		{"a grant after an inherited deny", []layer{{roles: []string{"rebel"}}},
			[]ruleCase{allow(Read, "db/7")}},
		{"inherited denies once more", []layer{{roles: []string{"obedient"}}},
			[]ruleCase{deny(Read, "db/7"), allow(Use, "db/7"), allow(Read, "db/8")}},
		{"denies of grandparents too", []layer{{roles: []string{"child"}}},
			[]ruleCase{deny(Read, "db/7"), allow(Use, "db/7"), allow(Read, "a")}},
		{"a role gives nothing beyond its boundary", []layer{{roles: []string{"giver"}}},
			[]ruleCase{deny(Read, "db/7")}},
		{"but passes on what it does not give itself", []layer{{roles: []string{"asia"}}},
			[]ruleCase{some(Read, "db/7"), deny(Read, "db/8"), deny(Update, "db/7")}},
		{"boundaries bind who has one", []layer{{roles: []string{"bare"}}},
			[]ruleCase{allow(Read, "db/7"), allow("host:own", "db/8")}},
		{"boundaries add up like grants", []layer{{roles: []string{"wide"}}},
			[]ruleCase{some(Read, "db/7"), allow(Update, "db/7"), deny(Update, "db/8"), deny(Delete, "db/7")}},
		{"each role within its own", []layer{{roles: []string{"wide", "giver"}}},
			[]ruleCase{allow(Update, "db/7"), deny(Delete, "db/7")}},
		{"a token's own rules are beyond it", []layer{{roles: []string{"giver"}, rules: Permissions{Grant(Read).On("db/7")}}},
			[]ruleCase{allow(Read, "db/7"), deny(Update, "db/7")}},
		{"a role that is gone opens no boundary", []layer{{roles: []string{"orphan"}}},
			[]ruleCase{deny(Read, "db/7")}},
		{"an invalid boundary lets nothing through", []layer{{roles: []string{"bad", "forcing"}}},
			[]ruleCase{deny(Read, "db/7")}},
		{"a circle gives nothing", []layer{{roles: []string{"self", "one"}}},
			[]ruleCase{deny(Read, "db/1")}},
		{"a meet is as little as its least", []layer{{roles: []string{"reader"}}, {full: true}, {roles: []string{"eu"}}},
			[]ruleCase{some(Read, "db/1"), deny(Update, "db/1")}},
		{"a boundary bounds a secret",
			[]layer{{full: true}, {name: "owner boundary", rules: Permissions{Allow(Any).On("core/*")}}},
			[]ruleCase{allow(Use, "core/stock"), deny(Use, "premium/x"), deny(Read, "latchkey/token/1")}},
		{"a secret reaches everything", []layer{{full: true}},
			[]ruleCase{allow(Read, "latchkey/token/1"), allow("host:own", "x")}},
		{"rows limit everything", []layer{{full: true, rows: []Condition{inEU, isOpen}}},
			[]ruleCase{some(Read, "x"), some(Read, "latchkey/token/1")}},
	} {
		t.Run(c.name, func(t *testing.T) {
			p := newPolicy(c.layers, roles)
			for _, s := range c.want {
				require.Equal(t, s.want, p.verdict(s.a, s.on), "%s %s", s.a, s.on)
				require.Equal(t, s.want, extent(p.rows(s.a, s.on)), "%s %s", s.a, s.on)
			}
		})
	}
}

func TestForcedValuesMeet(t *testing.T) {
	eu, us := map[string]any{"region": "EU"}, map[string]any{"region": "US"}
	rules := Permissions{
		Grant(Create, Read).On("orders").Where(inEU).Force(eu),
		Grant(Create, Read).On("orders").Where(Where("region", Eq, "US")).Force(us),
	}
	one := newPolicy([]layer{{rules: rules}}, nil)
	require.Len(t, one.grants(Create, "orders"), 2, "a union does not merge forced values")
	require.Len(t, one.grants(Read, "orders"), 2, "they act on the actions the rule names")

	narrowed := newPolicy([]layer{{full: true, forced: Values{"region": "EU", "by": "Ada"}}, {rules: rules}}, nil)
	gs := narrowed.grants(Create, "orders")
	require.Len(t, gs, 1, "the pair that disagrees is dropped")
	require.Equal(t, Values{"region": "EU", "by": "Ada"}, gs[0].forced)
	require.True(t, gs[0].rows.Equal(inEU))
	require.Len(t, narrowed.grants(Read, "orders"), 2, "a narrowing forces creates only")

	none := newPolicy([]layer{{full: true, forced: Values{"region": "FR"}}, {rules: rules}}, nil)
	require.Equal(t, verdictNone, none.verdict(Create, "orders"))
	require.Equal(t, verdictSome, none.verdict(Read, "orders"))
	require.Equal(t, "none", none.explain(Create, "orders").Verdict)
}

func TestRuleString(t *testing.T) {
	for want, r := range map[string]Rule{
		`allow read on dataset/* where region = "EU"`: Allow(Read).On("dataset/*").Where(inEU),
		`deny any action on *`:                        Deny(Any).On("*"),
		`grant create, update on a, "b c" force by = null, n = 3, region = "EU"`: Grant(Create, Update).On("a", "b c").
			Force(map[string]any{"region": "EU", "by": nil}).Force(map[string]any{"n": 3}),
		`allow read on a where region = "EU" and status = "open"`: Allow(Read).On("a").Where(inEU).Where(isOpen),
		`invalid rule`: {},
	} {
		require.Equal(t, want, r.String())
	}
}

func TestRulesAreImmutable(t *testing.T) {
	actions, patterns, forced := []Action{Read}, []Pattern{"a"}, map[string]any{"x": 1}
	r := Allow(actions...).On(patterns...).Force(forced)
	actions[0], patterns[0], forced["x"] = Any, "*", 2
	r.Actions()[0], r.Patterns()[0] = Any, "*"
	r.Forced()["x"] = 3
	require.Equal(t, `allow read on a force x = 1`, r.String())
	r.Where(inEU)
	r.Force(map[string]any{"y": 1})
	require.Equal(t, `allow read on a force x = 1`, r.String())
	require.Equal(t, VerbAllow, r.Verb())
	require.True(t, r.Condition().IsAllRows())
}

func TestBadRules(t *testing.T) {
	for name, r := range map[string]Rule{
		"zero":             {},
		"no actions":       Allow().On("a"),
		"no patterns":      Allow(Read).On(),
		"action":           Allow("READ").On("a"),
		"pattern":          Allow(Read).On("a", "b/"),
		"input as pattern": Allow(Read).On(Exactly("a/*")),
		"condition":        Allow(Read).On("a").Where(All()),
		"large":            Allow(Read).On("a").Where(inEU).Where(AnyOf()),
		"forced list":      Allow(Read).On("a").Force(map[string]any{"x": []int{1}}),
		"deny forces":      Deny(Read).On("a").Force(map[string]any{"x": 1}),
		"too many actions": Allow(make([]Action, 65)...).On("a"),
		"mended later":     Allow("READ").On("a").Where(inEU).Force(map[string]any{"x": 1}),
	} {
		require.ErrorIs(t, r.Validate(), ErrInvalid, name)
		p := Permissions{Allow(Read).On("*"), r}
		require.ErrorIs(t, p.Validate(), ErrInvalid, name)
		require.ErrorContains(t, p.Validate(), "rule 2")
		require.False(t, p.Allows(Read, "zz"), name)
		require.False(t, p.Decide(Read, "zz").Allowed(), name)
		_, err := r.MarshalJSON()
		require.Error(t, err, name)
	}
	var many []Pattern
	for i := range maxStatements/2 + 1 {
		many = append(many, Pattern(fmt.Sprint("p/", i)))
	}
	r := Allow(Read).On(many...)
	require.NoError(t, Permissions{r}.Validate())
	require.ErrorIs(t, Permissions{r, r}.Validate(), ErrInvalid)
	require.NoError(t, Permissions{r, Allow(Read).On(many[2:]...)}.Validate(), "as many as there may be")
	most := make([]Pattern, maxStatements+1)
	for i := range most {
		most[i] = "a"
	}
	require.NoError(t, Allow(Read).On(most[1:]...).Validate())
	require.ErrorContains(t, Allow(Read).On(most...).Validate(), "patterns")
	actions := make([]Action, maxRuleActions+1)
	for i := range actions {
		actions[i] = Action(fmt.Sprint("a", i))
	}
	require.NoError(t, Allow(actions[1:]...).On("a").Validate())
	require.ErrorContains(t, Allow(actions...).On("a").Validate(), "actions")
}

func TestPermissionsJSON(t *testing.T) {
	for form, r := range map[string]Rule{
		`{"allow":["read"],"on":["dataset/*"]}`: Allow(Read).On("dataset/*"),
		`{"grant":["create","x:y"],"on":["a","b/*"],"where":{"field":"region","op":"=","value":"EU"},"force":{"by":null,` +
			`"n":3,"region":"EU"}}`: Grant(Create, "x:y").On("a",
			"b/*").Where(inEU).Force(map[string]any{"region": "EU", "by": nil, "n": 3}),
		`{"deny":["*"],"on":["*"],"where":false}`: Deny(Any).On("*").Where(Condition{}),
	} {
		data, err := json.Marshal(Permissions{r})
		require.NoError(t, err)
		require.Equal(t, "["+form+"]", string(data))
		var back Permissions
		require.NoError(t, json.Unmarshal(data, &back))
		require.Len(t, back, 1)
		require.Equal(t, r.String(), back[0].String())
		require.True(t, r.Condition().Equal(back[0].Condition()))
		require.Equal(t, r.Forced(), back[0].Forced())
	}
	for form, want := range map[string]Permissions{`null`: nil, `[]`: {}} {
		got := Permissions{Deny(Any).On("*")}
		require.NoError(t, json.Unmarshal([]byte(form), &got))
		require.Equal(t, want, got)
		data, err := json.Marshal(want)
		require.NoError(t, err)
		require.Equal(t, form, string(data))
	}
	var o Owner
	require.NoError(t, json.Unmarshal([]byte(`{"boundary":null}`), &o))
	require.Nil(t, o.Boundary, "no boundary")
	require.NoError(t, json.Unmarshal([]byte(`{"boundary":[]}`), &o))
	require.NotNil(t, o.Boundary, "a boundary that allows nothing")

	for form, want := range map[string]Role{`{"id":"","owner":"","version":0,"name":"r"}`: {Name: "r"},
		`{"id":"","owner":"","version":0,"name":"r","boundary":[]}`: {Name: "r", Boundary: Permissions{}}} {
		data, err := json.Marshal(want)
		require.NoError(t, err)
		require.Equal(t, form, string(data))
		var r Role
		require.NoError(t, json.Unmarshal(data, &r))
		require.Equal(t, want, r)
	}
}

func TestPermissionsJSONIsStrict(t *testing.T) {
	const rule = `{"allow":["read"],"on":["a"]}`
	for _, form := range []string{
		``, `{}`, rule, `"*"`, `true`, `1`, `[null]`, `[[]]`, `["*"]`, `[{}]`, `[` + rule + `,null]`, `[` + rule + `]x`,
		`[{"allow":["read"]}]`, `[{"on":["a"]}]`,
		`[{"allow":[],"on":["a"]}]`, `[{"allow":["read"],"on":[]}]`, `[{"allow":["read"],"on":null}]`,
		`[{"allow":null,"on":["a"]}]`, `[{"allow":null,"grant":["read"],"on":["a"]}]`,
		`[{"allow":["read"],"deny":["read"],"on":["a"]}]`, `[{"allow":["read"],"deny":[],"on":["a"]}]`,
		`[{"allow":"read","on":["a"]}]`, `[{"allow":["read"],"on":"a"}]`, `[{"allow":[null],"on":["a"]}]`,
		`[{"allow":["read"],"on":[null]}]`, `[{"allow":["READ"],"on":["a"]}]`, `[{"allow":["read"],"on":["a//b"]}]`,
		`[{"allow":5,"on":["a"]}]`, `[{"allow":{},"on":["a"]}]`, `[{"allow":["read",5],"on":["a"]}]`,
		`[{"allow":["read"],"on":["a"],"where":null}]`, `[{"allow":["read"],"on":["a"],"where":{}}]`,
		`[{"allow":["read"],"on":["a"],"where":[]}]`, `[{"allow":["read"],"on":["a"],"where":{"all":[]}}]`,
		`[{"allow":["read"],"on":["a"],"force":null}]`, `[{"allow":["read"],"on":["a"],"force":{}}]`,
		`[{"allow":["read"],"on":["a"],"force":{"x":[1]}}]`, `[{"allow":["read"],"on":["a"],"force":{"x":{"ref":"nobody"}}}]`,
		`[{"deny":["read"],"on":["a"],"force":{"x":1}}]`,
	} {
		p := Permissions{Allow(Any).On("*")}
		require.Error(t, json.Unmarshal([]byte(form), &p), "%s", form)
		p = Permissions{Allow(Any).On("*")}
		require.ErrorIs(t, p.UnmarshalJSON([]byte(form)), ErrInvalid, "%s", form)
		require.Equal(t, Permissions{}, p, "%s: nothing, and not nil, which for a boundary is no limit", form)
	}
}

func TestPermissionsJSONRoundTrip(t *testing.T) {
	eachWorld(t, 500, func(t *testing.T, r *rand.Rand) {
		p := permissionsOf(randomRules(r, 8))
		data, err := json.Marshal(p)
		require.NoError(t, err)
		var back Permissions
		require.NoError(t, json.Unmarshal(data, &back))
		require.Len(t, back, len(p))
		for i := range p {
			require.Equal(t, p[i].String(), back[i].String())
			require.True(t, p[i].Condition().Equal(back[i].Condition()))
			require.Equal(t, p[i].Forced(), back[i].Forced())
		}
	})
}

func FuzzPermissionsJSON(f *testing.F) {
	f.Add([]byte(`[{"allow":["read"],"on":["dataset/*"],"where":{"field":"region","op":"=","value":"EU"},` +
		`"force":{"a":1.5}}]`))
	f.Add([]byte(`[{"deny":["*"],"on":["*","latchkey/*"],"where":{"not":{"any":[{"field":"a","op":"in","value":[1,"b"]},` +
		`false]}}}]`))
	f.Add([]byte(`null`))
	f.Fuzz(func(t *testing.T, data []byte) {
		var p Permissions
		if err := p.UnmarshalJSON(data); err != nil {
			require.ErrorIs(t, err, ErrInvalid)
			require.Equal(t, Permissions{}, p)
			return
		}
		require.NoError(t, p.Validate())
		again, err := json.Marshal(p)
		require.NoError(t, err)
		var back Permissions
		require.NoError(t, json.Unmarshal(again, &back), "%s", again)
		third, err := json.Marshal(back)
		require.NoError(t, err)
		require.Equal(t, string(again), string(third))
		for _, on := range modelResources {
			require.Equal(t, p.Allows(Read, on), back.Allows(Read, on))
		}
	})
}

func BenchmarkAllows(b *testing.B) {
	p := Permissions{Allow(Read).On("dataset/*"), Deny(Any).On("dataset/payroll")}
	b.ReportAllocs()
	for b.Loop() {
		p.Allows(Read, "dataset/orders")
	}
}

// A name that would not read as one word stands in quotes.
func TestWords(t *testing.T) {
	for text, want := range map[string]string{"a": "a", "a/b": "a/b", "ü": "ü", "": `""`, "a b": `"a b"`, "a,b": `"a,b"`,
		`a"b`: `"a\"b"`, "a\tb": `"a\tb"`, "a\u202eb": `"a\u202eb"`, "a'b": "a'b"} {
		require.Equal(t, want, word(text))
	}
}
