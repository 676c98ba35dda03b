package latchkey

import (
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

func TestWildcardSegments(t *testing.T) {
	for _, c := range []struct {
		pattern Pattern
		client  string
		yes, no []Resource
	}{
		{"{*}", "", []Resource{"a", "latchkey", "%"}, []Resource{"a/b", "latchkey/token", "", "{*}", "*"}},
		{"{*}/*", "", []Resource{"a/b", "a/b/c"}, []Resource{"a", "latchkey/token", "latchkey/token/1"}},
		{"{*}/{*}", "", []Resource{"a/b"}, []Resource{"a", "a/b/c", "latchkey/token"}},
		{"a/{*}", "", []Resource{"a/b", "a/%2F"}, []Resource{"a", "a/b/c", "b/b", "ab/c"}},
		{"a/{*}/b", "", []Resource{"a/x/b", "a/b/b"}, []Resource{"a/b", "a/x/y/b", "a/x/b/b", "a/x"}},
		{"a/{*}/b/*", "", []Resource{"a/x/b/c", "a/x/b/c/d"}, []Resource{"a/x/b", "a/x/c/b"}},
		{"latchkey/{*}/1", "", []Resource{"latchkey/token/1"}, []Resource{"latchkey/token/2", "a/token/1"}},
		{"user/{*client}/*", "u-42", []Resource{"user/u-42/x", "user/u-42/x/y"},
			[]Resource{"user/u-42", "user/u-4/x", "user/u-421/x", "user/x/u-42"}},
		{"user/{*client}", "a/b", []Resource{"user/a%2Fb"}, []Resource{"user/a/b", "user/a%2fb", "user/a"}},
		{"user/{*client}", "50%", []Resource{"user/50%25"}, []Resource{"user/50%", "user/50"}},
		{"user/{*client}", ".", []Resource{"user/%2E"}, []Resource{"user/.", "user/x"}},
		{"user/{*client}", "*", []Resource{"user/%2A"}, []Resource{"user/*", "user/x"}},
		{"user/{*client}", "{*}", []Resource{"user/{%2A}"}, []Resource{"user/{*}", "user/x"}},
		{"user/{*client}", "", nil, []Resource{"user/u-42", "user/%", "user/"}},
		{"{*client}/token/1", "latchkey", []Resource{}, []Resource{"latchkey/token/1"}},
		{"{*client}", "latchkey", []Resource{"latchkey"}, []Resource{"latchkey/token"}},
		{"latchkey/{*client}/1", "token", []Resource{"latchkey/token/1"}, []Resource{"latchkey/role/1"}},
		{"{*client}/{*client}", "u", []Resource{"u/u"}, []Resource{"u/v", "v/u", "v/v"}},
		{"{*client}/{*}", "u", []Resource{"u/u", "u/v"}, []Resource{"v/u"}},
	} {
		require.NoError(t, c.pattern.Validate())
		compiled := newPolicy([]layer{{rules: Permissions{Allow(Any).On(c.pattern)}}}, nil)
		for _, r := range slices.Concat(c.yes, c.no) {
			want := slices.Contains(c.yes, r)
			assert.Equal(t, want, c.pattern.MatchesClient(r, c.client), "%q on %q for %q", c.pattern, r, c.client)
			got := compiled.verdictOf(&question{action: Read, on: string(r), client: c.client})
			assert.Equal(t, want, got == verdictAll, "%q on %q for %q", c.pattern, r, c.client)
		}
	}
	for _, bad := range []Pattern{"{*}a", "a{*}", "{**}", "{*x}", "a/{*}*", "{*}/*/a", "{*}//a", "{*}/..",
		"{*client}b/*", "{*}/",
		"{*}/**", Pattern(strings.Repeat("{*}/", 128)) + "{*}"} {
		require.ErrorIs(t, bad.Validate(), ErrInvalid, "%q", bad)
		require.False(t, bad.MatchesClient("a/b", "a"))
	}
	require.NoError(t, (Pattern(strings.Repeat("{*}/", 127)) + "{*}/*").Validate())
	require.ErrorContains(t, Pattern("a/*/b").Validate(), `"{*}" for any one segment`)
}

func TestClientSegmentWithoutAClient(t *testing.T) {
	for _, c := range []struct {
		rules  Permissions
		client string
		want   map[Resource]bool
	}{
		{Permissions{Allow(Read).On("user/{*client}/*")}, "", map[Resource]bool{"user/u/x": false}},
		{Permissions{Grant(Read).On("user/{*client}/*")}, "", map[Resource]bool{"user/u/x": false}},
		{Permissions{Allow(Read).On("*"), Deny(Read).On("user/{*client}/*")}, "",
			map[Resource]bool{"user/u/x": false, "user/v/x": false, "user/u": true, "a": true}},
		{Permissions{Allow(Read).On("*"), Deny(Read).On("user/{*client}/*")}, "u",
			map[Resource]bool{"user/u/x": false, "user/v/x": true}},
		{Permissions{Allow(Read).On("*"), Deny(Read).On("{*client}/{*client}")}, "",
			map[Resource]bool{"u/v": false, "u": true, "u/v/w": true}},
	} {
		p := newPolicy([]layer{{rules: c.rules}}, nil)
		for on, want := range c.want {
			q := question{action: Read, on: string(on), client: c.client}
			assert.Equal(t, want, p.verdictOf(&q) == verdictAll, "%v on %q for %q", c.rules, on, c.client)
			if c.client == "" {
				assert.Equal(t, want, c.rules.Allows(Read, on), "%v on %q", c.rules, on)
				assert.Equal(t, want, c.rules.Decide(Read, on).Allowed(), "%v on %q", c.rules, on)
			}
		}
	}
}

func TestJoinPatterns(t *testing.T) {
	assert.Equal(t, Pattern("project/{*}/file"), JoinPatterns("project", AnySegment, "file"))
	assert.Equal(t, Pattern("user/{*client}/*"), JoinPatterns(Exactly("user"), ClientSegment, "*"))
	assert.Equal(t, Pattern("a/%2A/{*}/b/*"), JoinPatterns(Exactly(Path("a", "*")), AnySegment, Under("b")))
	for _, bad := range [][]Pattern{nil, {""}, {"*", "a"}, {"a/*", "b"}, {Exactly("*"), "a"}, {"a", Exactly("{*}")},
		{Pattern(strings.Repeat("a", 512)), "b"}} {
		assert.Equal(t, Pattern(""), JoinPatterns(bad...), "%q", bad)
	}
}

// validBefore is what Pattern.Validate was before there were wildcards of one segment: what any store may hold.
func validBefore(p Pattern) bool {
	if p == "*" {
		return true
	}
	base, _ := strings.CutSuffix(string(p), "/*")
	return whyInvalid(base) == ""
}

// What was a valid pattern before means the same, and is no wildcard. What has a wildcard was invalid, so that a
// process of the version before refuses the rule and its list gives nothing.
func TestNoPatternOfBeforeIsAWildcard(t *testing.T) {
	check := func(t *testing.T, p Pattern) {
		t.Helper()
		if validBefore(p) {
			require.NoError(t, p.Validate(), "%q", p)
			require.False(t, p.wild(), "%q", p)
			require.Empty(t, newRuleset(Permissions{Allow(Read).On(p)}).shapes, "%q", p)
		} else if p.Validate() == nil {
			require.True(t, p.wild(), "%q", p)
			require.NotEmpty(t, newRuleset(Permissions{Allow(Read).On(p)}).shapes, "%q", p)
		}
	}
	parts := []string{"{*}", "{*client}", "*", "{", "}", "a", "+", "{client}", "%2A", "/", "/", "/*", ".", "{}", "{%2A}"}
	r := rand.New(rand.NewPCG(1, 2))
	for range 20_000 {
		text := strings.Join(pick(r, parts, 0, 6), "")
		check(t, Pattern(text))
		check(t, Pattern(text+"/*"))
		made := Path(pick(r, parts, 1, 4)...)
		require.False(t, Exactly(made).wild(), "%q", made)
		require.False(t, Under(made).wild(), "%q", made)
		check(t, Exactly(made))
		require.False(t, Exactly(Resource(text)).wild(), "%q", text)
		require.Equal(t, validBefore(Pattern(text)) && !strings.HasSuffix(text, "*"), Resource(text).valid(), "%q", text)
	}
	for _, p := range []Pattern{AnySegment, ClientSegment, "a/{*}", "a/{*client}/*"} {
		require.False(t, validBefore(p), "%q", p)
		require.False(t, Resource(p).valid(), "%q", p)
		require.Error(t, Resource(p).Validate())
	}
}

func TestShapesOfPatternsAreBounded(t *testing.T) {
	var rules Permissions
	for i := range maxPatternShapes {
		rules = append(rules, Grant(Read).On(Pattern(strings.Repeat("a/", i)+"{*}"), Pattern(strings.Repeat("b/", i)+"{*}")))
	}
	require.NoError(t, rules.Validate())
	more := append(slices.Clone(rules), Grant(Read).On("a/{*client}"))
	require.ErrorIs(t, more.Validate(), ErrInvalid)
	require.ErrorContains(t, more.Validate(), "rule 65")
	require.False(t, more.Allows(Read, "b"))
	require.True(t, newRuleset(more).broken)
	require.Error(t, Role{Name: "r", Permissions: more}.Validate())
	data, err := json.Marshal([]Rule(more))
	require.NoError(t, err)
	var read Permissions
	require.ErrorIs(t, json.Unmarshal(data, &read), ErrInvalid)
	require.NotNil(t, read)
}

func TestWildcardsInJSON(t *testing.T) {
	rules := Permissions{Allow(Read).On("user/{*client}/*", "project/{*}/file")}
	data, err := json.Marshal(rules)
	require.NoError(t, err)
	require.Equal(t, `[{"allow":["read"],"on":["user/{*client}/*","project/{*}/file"]}]`, string(data))
	var read Permissions
	require.NoError(t, json.Unmarshal(data, &read))
	require.True(t, newPolicy([]layer{{rules: read}}, nil).verdictOf(&question{action: Read, on: "user/u/x",
		client: "u"}) == verdictAll)
	require.Equal(t, "allow read on user/{*client}/*, project/{*}/file", rules[0].String())
}

// The model of wildcards is a list of segments and a loop.
func wildModel(p Pattern, on Resource, client string, deny bool) bool {
	ps, rs := strings.Split(string(p), "/"), strings.Split(string(on), "/")
	if rs[0] == "latchkey" && len(rs) > 1 && (ps[0] != "latchkey" || len(ps) < 2) {
		return false
	}
	under := ps[len(ps)-1] == "*"
	if under {
		ps = ps[:len(ps)-1]
	}
	if len(rs) < len(ps) || !under && len(rs) > len(ps) || under && len(rs) == len(ps) {
		return false
	}
	for i, want := range ps {
		switch want {
		case "{*}":
		case "{*client}":
			if client == "" && !deny || client != "" && rs[i] != string(Path(client)) {
				return false
			}
		default:
			if want != rs[i] {
				return false
			}
		}
	}
	return true
}

var (
	wildSegments = []string{"a", "b", "{*}", "{*client}", "latchkey", "u%2Fv"}
	wildClients  = []string{"", "a", "b", "u/v", "latchkey", "zz"}
)

// wildResources are all resources of up to three segments of a small alphabet, with one segment that nothing names.
var wildResources = func() (out []Resource) {
	level := []string{""}
	for range 3 {
		var next []string
		for _, up := range level {
			for _, s := range []string{"a", "b", "latchkey", "u%2Fv", "zz", "yy"} {
				next = append(next, strings.TrimPrefix(up+"/"+s, "/"))
			}
		}
		for _, s := range next {
			out = append(out, Resource(s))
		}
		level = next
	}
	return out
}()

func randomWildPattern(r *rand.Rand) Pattern {
	segments := pick(r, wildSegments, 1, 3)
	if r.IntN(3) == 0 {
		segments = append(segments, "*")
	}
	if r.IntN(10) == 0 {
		return "*"
	}
	return Pattern(strings.Join(segments, "/"))
}

func randomWildRules(r *rand.Rand, most int) (rules Permissions) {
	for range 1 + r.IntN(most) {
		var patterns []Pattern
		for range 1 + r.IntN(2) {
			patterns = append(patterns, randomWildPattern(r))
		}
		rule := RuleStart{Verb(1 + r.IntN(3)), pick(r, []Action{Read, Any, Update}, 1, 2)}.On(patterns...)
		if r.IntN(3) == 0 {
			rule = rule.Where(Where("x", Eq, int64(r.IntN(2))))
		}
		rules = append(rules, rule)
	}
	return rules
}

// wildRows evaluates a list by its definition: the rows x=0, x=1 and any other, as bits.
func wildRows(rules Permissions, a Action, on Resource, client string, before int) int {
	rows := before
	for _, rule := range rules {
		if !rule.namesAction(a) || !slices.ContainsFunc(rule.patterns, func(p Pattern) bool {
			return wildModel(p, on, client, rule.verb == VerbDeny)
		}) {
			continue
		}
		admits, keeps := 7, 0
		if !rule.rows.IsAllRows() {
			admits = 1 << rule.rows.n.value.(int64)
			keeps = 7 &^ admits
		}
		switch rule.verb {
		case VerbAllow:
			rows = admits
		case VerbGrant:
			rows |= admits
		default:
			rows &= keeps
		}
	}
	return rows
}

func conditionRows(t *testing.T, c Condition) (rows int) {
	for i := range 3 {
		row := Row{"x": int64(i)}
		p, err := c.Bind(Fields{"x": {Column: "x", Type: Integer}})
		require.NoError(t, err)
		if p.Match(row) {
			rows |= 1 << i
		}
	}
	return rows
}

// The compiled verdict, the rules that match, the grants, Explain and the definition agree, for every resource, client
// and verb, through roles that inherit denies, boundaries and chains.
func TestWildcardsMatchModel(t *testing.T) {
	eachWorld(t, 60, func(t *testing.T, r *rand.Rand) {
		own, role := randomWildRules(r, 3), randomWildRules(r, 3)
		boundary, base := randomWildRules(r, 2), randomWildRules(r, 2)
		roles := map[string]Role{
			"base": {ID: "base", Permissions: base},
			"role": {ID: "role", Permissions: role, Inherits: []string{"base"}, InheritDenies: true, Boundary: boundary},
		}
		layers := []layer{{name: "t", roles: []string{"role"}, rules: own}, {name: "up", full: true, rules: base}}
		p := newPolicy(layers, roles)
		for range 80 {
			on, client := wildResources[r.IntN(len(wildResources))], wildClients[r.IntN(len(wildClients))]
			a := []Action{Read, Update, Delete}[r.IntN(3)]
			want := wildRows(role, a, on, client, wildRows(base, a, on, client, 0))
			for _, rule := range base {
				if rule.verb == VerbDeny {
					want = wildRows(Permissions{rule}, a, on, client, want)
				}
			}
			want &= wildRows(boundary, a, on, client, 0)
			want = wildRows(own, a, on, client, want)
			want &= wildRows(base, a, on, client, 7)
			q := question{action: a, on: string(on), client: client}
			say := fmt.Sprintf("%s on %s for %q: own %v, role %v, boundary %v, base %v", a, on, client, own, role, boundary,
				base)
			rows := p.rowsFor(&q)
			require.Equal(t, want, conditionRows(t, rows), say)
			require.Equal(t, extent(rows), p.verdictOf(&q), say)
			e := p.explainOf(&q)
			require.Equal(t, p.verdictOf(&q).String(), e.Verdict, say)
			for i, rule := range own {
				matches := rule.namesAction(a) && slices.ContainsFunc(rule.patterns, func(p Pattern) bool {
					return wildModel(p, on, client, rule.verb == VerbDeny)
				})
				explained := slices.ContainsFunc(e.Layers[0].Rules, func(x ExplainedRule) bool {
					return x.Role == "" && x.Position == i+1
				})
				require.Equal(t, matches, explained, say)
			}
			if client == "" {
				require.Equal(t, wildRows(own, a, on, "", 0), conditionRows(t, own.Decide(a, on).Rows()), say)
			}
		}
	})
}

// Within is never a wrong yes, for any pair of callers, and knows the plain cases.
func TestWithinOfWildcardsIsSound(t *testing.T) {
	yes, no, missed := 0, 0, 0
	eachWorld(t, 500, func(t *testing.T, r *rand.Rand) {
		p := randomWildRules(r, 2)
		q := slices.Concat(randomWildRules(r, 2), Permissions{Grant(Any).On(randomWildPattern(r))})
		if r.IntN(3) == 0 {
			q = slices.Concat(p, q)
		}
		got := p.Within(q)
		want := true
		for _, a := range []Action{Read, Update, Delete} {
			for _, on := range wildResources {
				most, least := 0, 7
				for _, client := range append(wildClients, "yy", "%") {
					most |= wildRows(p, a, on, client, 0)
					least &= wildRows(q, a, on, client, 0)
				}
				want = want && most&^least == 0
				if got && !want {
					require.False(t, got, "%s on %s: %v within %v", a, on, p, q)
				}
			}
		}
		switch {
		case got:
			yes++
		case want:
			missed++
			t.Logf("missed: %v within %v", p, q)
		default:
			no++
		}
	})
	t.Logf("yes %d, no %d, a no that might have been a yes %d", yes, no, missed)
	require.NotZero(t, no)
	if !testing.Short() {
		require.Greater(t, yes, 5)
		require.LessOrEqual(t, missed, yes+5)
	}
}

func TestWithinOfWildcards(t *testing.T) {
	read := func(p ...Pattern) Permissions { return Permissions{Allow(Read).On(p...)} }
	for _, c := range []struct {
		p, q Permissions
		want bool
	}{
		{read("a/{*}/b"), read("a/*"), true},
		{read("a/*"), read("a/{*}/b"), false},
		{read("a/*"), read("a/{*}"), false},
		{read("a/*"), read("a/{*}", "a/{*}/*"), true},
		{read("a/x"), read("a/{*}"), true},
		{read("a/{*}"), read("a/x"), false},
		{read("a/{*}"), read("a/{*}"), true},
		{read("a/{*}/c"), read("a/{*}/{*}"), true},
		{read("{*}/b"), read("*"), true},
		{read("*"), read("{*}", "{*}/*"), true},
		{read("latchkey/{*}"), read("{*}/{*}", "*"), false},
		{read("latchkey/token"), read("latchkey/{*}"), true},
		{read("a/{*client}"), read("a/{*}"), true},
		{read("a/{*client}"), read("a/*"), true},
		{read("a/{*}"), read("a/{*client}"), false},
		{read("a/{*client}"), read("a/{*client}"), false}, // another client may hold it
		{read("a/u"), read("a/{*client}"), false},
		{read("a/{*client}/{*client}"), read("a/{*}/{*}"), true},
		{read("a/{*}"), Permissions{Allow(Read).On("a/*"), Deny(Read).On("a/{*client}")}, false},
		{Permissions{Allow(Read).On("a/*"), Deny(Read).On("a/{*client}")}, read("a/*"), true},
		{read("a/{*}"), Permissions{Allow(Read).On("a/*"), Deny(Read).On("a/x")}, false},
		{Permissions{Allow(Read).On("a/{*}"), Deny(Read).On("a/x")},
			Permissions{Allow(Read).On("a/*"), Deny(Read).On("a/x")}, true},
		{read("a/{*}/b"), Permissions{Allow(Read).On("a/*"), Deny(Read).On("a/x/{*}")}, false},
		// What another client than that of the resource may do.
		{Permissions{Allow(Read).On("a/{*}"), Deny(Read).On("a/{*client}")}, nil, false},
		{Permissions{Allow(Read).On("a/{*}"), Deny(Read).On("a/{*client}")}, read("a/{*client}"), false},
		{read("b/{*client}"), Permissions{Allow(Any).On("*"), Allow(Read).On("b/{*client}")}, true},
	} {
		assert.Equal(t, c.want, c.p.Within(c.q), "%v within %v", c.p, c.q)
	}
}

// A set is compiled once and shared by clients, and a decision does not allocate.
func TestWildcardsDoNotAllocate(t *testing.T) {
	rules := Permissions{Allow(Read).On("user/{*client}/*", "a/{*}/b"), Deny(Update).On("user/{*client}")}
	p := newPolicy([]layer{{rules: rules}}, nil)
	long := strings.Repeat("x", 300)
	for _, q := range []question{{action: Read, on: "user/u-42/inbox", client: "u-42"},
		{action: Read, on: "user/a%2Fb/inbox", client: "a/b"}, {action: Read, on: "a/x/b"},
		{action: Read, on: "user/" + long + "/inbox", client: long},
		{action: Read, on: "user/%/inbox", client: strings.Repeat("%", 700)}, {action: Update, on: "user/u-42"}} {
		assert.Zero(t, testing.AllocsPerRun(20, func() { p.verdictOf(&q) }), "%q", q.on)
	}
	require.Equal(t, verdictAll, p.verdictOf(&question{action: Read, on: "user/" + long + "/inbox", client: long}))
	require.Equal(t, verdictAll, p.verdictOf(&question{action: Read, on: "user/a%2Fb/inbox", client: "a/b"}))
}

func BenchmarkClientSegment(b *testing.B) {
	for name, pattern := range map[string]Pattern{"literal": "user/u-42/*", "client": "user/{*client}/*",
		"any": "user/{*}/*"} {
		p := newPolicy([]layer{{rules: Permissions{Allow(Read).On(pattern), Allow(Read).On("dataset/orders")}}}, nil)
		b.Run(name, func(b *testing.B) {
			q := question{action: Read, on: "user/u-42/inbox", client: "u-42"}
			for b.Loop() {
				if p.verdictOf(&q) != verdictAll {
					b.Fatal()
				}
			}
		})
	}
}

// A resource of as many segments as fit is matched as any other.
func TestTheDeepestResource(t *testing.T) {
	deep := Resource("a" + strings.Repeat("/a", maxResource/2-1))
	require.Equal(t, maxResource/2, len(deep.Segments()))
	for _, rules := range []Permissions{
		{Allow(Read).On("a/{*}/*")},
		{Allow(Read).On("a/{*}/a/*", "{*}/a/*")},
		{Allow(Read).On("{*}/*"), Deny(Read).On("{*}/b/*"), Allow(Update).On("b/{*}")},
		{Allow(Read).On("{*client}/{*}/*"), Allow(Any).On("{*}/{*}/{*}/*")},
	} {
		p := newPolicy([]layer{{rules: rules}}, nil)
		require.Equal(t, verdictAll, p.verdictOf(&question{action: Read, on: string(deep), client: "a"}), "%v", rules)
		require.True(t, rules.Allows(Read, deep))
	}
}

// No class is longer than a resource may be: what lies beyond does not exist.
func TestClassesAreResources(t *testing.T) {
	n := 0
	for _, on := range []Pattern{Pattern("a/{*}/" + strings.Repeat("b", maxResource-8)), "{*}/{*}/*",
		Pattern(strings.Repeat("{*}/", 60) + strings.Repeat("c", maxResource-240)),
		Pattern(strings.Repeat("d", maxResource-4) + "/{*}")} {
		rules := Permissions{Allow(Read).On(on)}
		require.NoError(t, rules.Validate())
		for c := range representatives(newPolicy([]layer{{rules: rules}}, nil)) {
			n++
			require.LessOrEqual(t, len(c.on), maxResource)
		}
	}
	require.Greater(t, n, 8)
}

// Of a class in which the client's id may stand in many places, each way is asked, up to a bound.
func TestQuestionsOfAClass(t *testing.T) {
	for n := range maxClientChoices + 2 {
		segments, on := []classSegment{{text: "a"}}, "a"
		for range n {
			segments, on = append(segments, classSegment{client: true}), on+"/"+unmentioned
		}
		c := class{on: on, segments: segments}
		out, ok := c.questions(true)
		require.Equal(t, n <= maxClientChoices, ok, n)
		if ok && n > 0 {
			require.GreaterOrEqual(t, len(out), 1<<n, n)
		}
		out, ok = c.questions(false)
		require.True(t, ok)
		require.Len(t, out, 1)
	}
}
