package latchkey

import (
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/latchkey-go/latchkey/internal/uuidv7"
)

// apartWorld returns a random chain of records: a key with a role, perhaps a child of it, and a child of that.
func apartWorld(r *rand.Rand) Found {
	pick := func(texts ...string) string { return texts[r.IntN(len(texts))] }
	condition := func() Condition {
		switch r.IntN(6) {
		case 0:
			return AllRows
		case 1:
			return Condition{}
		case 2:
			return Where("role", In, SelfRoles)
		case 3:
			return AnyOf(Where("customer", Eq, pick("a", "b")), Where("n", Lt, r.IntN(3)))
		}
		return Where("customer", Eq, pick("a", "b", "c"))
	}
	rules := func() (p Permissions) {
		for range 1 + r.IntN(2) {
			rule := Allow(Action(pick("read", "create", "*"))).On(Pattern(pick("*", "set/*", "set/a", "user/{*client}")))
			if r.IntN(4) == 0 {
				rule = rule.Where(condition())
			}
			if r.IntN(4) == 0 {
				rule = rule.Force(Values{pick("x", "y"): pick("a", "b")})
			}
			p = append(p, rule)
		}
		return p
	}
	narrowed := func(t Token) Token {
		if r.IntN(3) > 0 {
			t.Rows = append(t.Rows, condition())
		}
		if r.IntN(4) == 0 {
			t.Rows = append(t.Rows, condition())
		}
		if r.IntN(3) == 0 {
			t.Forced = Values{pick("x", "y"): pick("a", "b")}
		}
		if t.Full = r.IntN(2) == 0; !t.Full {
			t.Permissions = rules()
		}
		return t
	}
	id := func() string {
		return uuidv7.Text([16]byte{0: byte(r.IntN(256)), 1: byte(r.IntN(256)), 6: 0x70, 8: 0x80})
	}
	role := Role{ID: id(), Name: "reader", Permissions: rules()}
	root := Token{ID: id(), Owner: "acme", Kind: KindAPIKey, Settings: Settings{Roles: []string{role.ID}}}
	f := Found{Roles: []Role{role}, Ancestors: []Token{root}}
	if r.IntN(2) == 0 {
		mid := narrowed(Token{ID: id(), Owner: "acme", Kind: KindAccess, Parent: root.ID, Depth: 1})
		f.Ancestors = []Token{mid, root}
	}
	f.Token = narrowed(Token{ID: id(), Owner: "acme", Kind: KindAccess, Parent: f.Ancestors[0].ID,
		Depth: uint8(len(f.Ancestors))})
	f.Token.Client.ID = pick("", "a")
	if r.IntN(4) == 0 {
		f.Owner.Boundary = rules()
	}
	return f
}

// accessTo returns an Access of records as a Verify compiles them, and one whose layers hold everything.
func accessTo(t *testing.T, m *Manager, f Found) (apart, whole Access) {
	set, _, err := m.compileRights(f)
	require.NoError(t, err)
	who, _ := m.principalOf(&f, lineageOf(&f, 0), 0)
	apart = Access{set: set, who: &who, m: m, id: uuidv7.Parse(f.Token.ID)}
	all := *set
	all.shared, _, _ = chainLayers(&f, set.roleSet)
	all.shared[0].name = "token"
	all.policy = newPolicy(all.shared, set.roleSet)
	whole = apart
	whole.set = &all
	return apart, whole
}

// Rights whose rows and forced values are apart are those that they would be in the layer of the token. That holds for
// every answer of an Access, and for what is narrowed and minted from it.
func TestApartRightsEqualThoseInTheLayer(t *testing.T) {
	if testing.Short() {
		t.Skip("one goroutine, and much work")
	}
	r := rand.New(rand.NewPCG(1, 2))
	m := New(noStore{}, nil)
	fields := Fields{"n": {Column: "n", Type: Integer}}
	for _, name := range []string{"customer", "role", "x", "y"} {
		fields[name] = Field{Column: name, Type: Text}
	}
	schema := NewSchema(fields)
	shared, narrowed := 0, 0
	for range 1000 {
		f := apartWorld(r)
		apart, whole := accessTo(t, m, f)
		sibling := f
		if other := apartWorld(r).Token; r.IntN(2) == 0 {
			sibling.Token.Rows, sibling.Token.Forced = other.Rows, other.Forced
		}
		if keyOfRights(&f) == keyOfRights(&sibling) { // its set is that of the token
			shared++
			set := apart.set
			apart, whole = accessTo(t, m, sibling)
			apart.set, f = set, sibling
		}
		require.Equal(t, apartOf(&f.Token).is, apart.set.policy.apart)
		compareAccess := func(apart, whole Access) {
			for _, action := range []Action{Read, Create, Any} {
				for _, on := range []Resource{"set/a", "set/b", "user/a", "other"} {
					name := fmt.Sprint(action, on, f.Token.Rows, f.Token.Forced)
					require.Equal(t, whole.Allows(action, on), apart.Allows(action, on), name)
					q := PrepareQuestion(action, on)
					for range 2 {
						require.Equal(t, whole.Allows(action, on), apart.AllowsQuestion(q), name)
					}
					require.True(t, whole.rowsAnew(action, on).Equal(apart.rows(action, on)), name)
					require.Equal(t, whole.Explain(action, on), apart.Explain(action, on), name)
					for _, row := range []Row{{"customer": "a"}, {"customer": "b", "n": int64(1), "x": "b"}} {
						want, err1 := whole.Prepare(action, on, schema, nil, row)
						got, err2 := apart.Prepare(action, on, schema, nil, row)
						require.Equal(t, want, got, name)
						require.Equal(t, fmt.Sprint(err1), fmt.Sprint(err2), name)
					}
				}
			}
			require.Equal(t, whole.policy().size(), apart.policy().size())
			p := Permissions{Allow(Read).On("set/*").Where(Where("customer", Eq, "a"))}
			require.Equal(t, whole.Covers(t.Context(), p), apart.Covers(t.Context(), p))
		}
		compareAccess(apart, whole)
		n := Narrowing{Rows: []Condition{Where("customer", Ne, "z")}, Forced: Values{"x": "a"}}
		x, err1 := whole.Narrow(t.Context(), n)
		y, err2 := apart.Narrow(t.Context(), n)
		require.Equal(t, fmt.Sprint(err1), fmt.Sprint(err2))
		if err1 == nil && narrowed < 300 {
			narrowed++
			compareAccess(y, x)
		}
	}
	assert.Greater(t, shared, 200)
	assert.Equal(t, 300, narrowed)
}

// A layer whose rows are apart allows nothing in a question that does not bring them, and its policy is within nothing.
func TestRightsThatAreApartAreNeverForgotten(t *testing.T) {
	m := New(noStore{}, nil)
	f := Found{Token: Token{Owner: "acme", Kind: KindAccess, Full: true, Forced: Values{"x": "a"},
		Rows: []Condition{Where("customer", Eq, "a")}}}
	a, _ := accessTo(t, m, f)
	q := a.question(Read, "set/a")
	require.Equal(t, verdictSome, a.set.policy.verdictOf(&q))
	require.Len(t, a.set.policy.grantsOf(&q), 1)
	for _, action := range []Action{Read, Create, Exceed} {
		q := question{action: action, on: "set/a"}
		require.Equal(t, verdictNone, a.set.policy.verdictOf(&q))
		require.Empty(t, a.set.policy.grantsOf(&q))
		require.Equal(t, verdictNone, a.set.policy.remembered(PrepareQuestion(action, "set/a").q, nil))
	}
	everything := newPolicy([]layer{{full: true}}, nil)
	require.True(t, a.policy().within(t.Context(), everything))
	some := newPolicy([]layer{{rules: Permissions{Allow(Read).On("set/*")}}}, nil)
	require.False(t, a.set.policy.within(t.Context(), some), "what its rows are is not known")
	require.False(t, some.within(t.Context(), a.set.policy))
	require.False(t, a.set.policy.unrestricted())
	b := a
	b.who = &principal{lineage: a.who.lineage}
	require.False(t, b.Allows(Read, "set/a"))
	require.True(t, b.rows(Read, "set/a").IsNoRows())
}

// Minted tokens that differ in their rows and the values that they force have one set of compiled rights, and those
// that do not differ have one principal.
func TestMintedTokensShareTheirRights(t *testing.T) {
	m := New(noStore{}, nil)
	of := func(customer string, forced Values) (rightsKey, principal, bool) {
		f := Found{Token: Token{Owner: "acme", Kind: KindAccess, Full: true, Forced: forced,
			Rows: []Condition{Where("customer", Eq, customer)}}}
		who, alone := m.principalOf(&f, nil, 0)
		return keyOfRights(&f), who, alone
	}
	a, first, alone := of("a", nil)
	require.True(t, alone)
	again, second, alone := of("a", nil)
	require.False(t, alone)
	require.Equal(t, a, again)
	require.Same(t, first.facts, second.facts)
	b, other, _ := of("b", nil)
	require.Equal(t, a, b)
	require.NotSame(t, first.facts, other.facts)
	x, forcing, _ := of("a", Values{"x": "1"})
	require.NotEqual(t, a, x, "whether it forces values is known of a set")
	y, forcingOther, _ := of("a", Values{"x": "2"})
	require.Equal(t, x, y)
	require.False(t, forcing.facts.apart.equal(forcingOther.facts.apart))
	require.False(t, forcing.facts.apart.equal(first.facts.apart))
	for i := range 3 * len(m.recent) { // also where two have one place among the recent
		_, who, _ := of(fmt.Sprint(i), nil)
		require.True(t, who.apart().rows.Equal(Where("customer", Eq, fmt.Sprint(i))))
	}
}

// Values that cannot be forced are not kept apart from the layer that they break, and neither are references.
func TestWhatIsInvalidIsNotApart(t *testing.T) {
	for name, forced := range map[string]Values{
		"a list":      {"a": []any{"x"}},
		"a bad name":  {"a\x00": "x"},
		"a reference": {"a": Attr("dept")},
	} {
		require.False(t, apartOf(&Token{Kind: KindAccess, Forced: forced}).is, name)
	}
	require.True(t, apartOf(&Token{Kind: KindAccess, Forced: Values{"a": "x"}}).is)
}

// The table of facts that are shared takes what is small, up to its bounds.
func TestSharedFactsAreSmall(t *testing.T) {
	where := func(n, bytes int) Condition {
		var all []Condition
		for i := range n {
			all = append(all, Where(fmt.Sprint("f", i), Eq, strings.Repeat("x", bytes)))
		}
		return All(all...)
	}
	values := func(n, bytes int) Values {
		v := Values{}
		for i := range n {
			v[fmt.Sprint("f", i)] = strings.Repeat("x", bytes)
		}
		return v
	}
	for name, c := range map[string]struct {
		apart  apartRights
		shared bool
	}{
		"all rows":            {apartRights{rows: AllRows}, true},
		"rows":                {apartRights{rows: where(15, 1)}, true},
		"too many conditions": {apartRights{rows: where(16, 1)}, false},
		"too long a text":     {apartRights{rows: where(1, 511)}, false},
		"a long text":         {apartRights{rows: where(1, 510)}, true},
		"values":              {apartRights{rows: AllRows, forced: values(8, 1)}, true},
		"too many values":     {apartRights{rows: AllRows, forced: values(9, 1)}, false},
		"long values":         {apartRights{rows: AllRows, forced: values(2, 200)}, true},
		"too long values":     {apartRights{rows: AllRows, forced: values(2, 260)}, false},
	} {
		recent := new(recentFacts)
		first, before := recent.shared(&facts{apart: &c.apart})
		require.False(t, before, name)
		again := c.apart
		second, before := recent.shared(&facts{apart: &again})
		require.Equal(t, c.shared, before, name)
		require.Equal(t, c.shared, first == second, name)
	}
}

// Facts that differ, in their rows alone or in what they force alone, have places of their own.
func TestPlacesOfSharedFacts(t *testing.T) {
	for name, of := range map[string]func(i int) apartRights{
		"rows":   func(i int) apartRights { return apartRights{rows: Where("a", Eq, i)} },
		"forced": func(i int) apartRights { return apartRights{rows: AllRows, forced: Values{"a": fmt.Sprint(i)}} },
	} {
		recent := new(recentFacts)
		const n = 64 // of 1024 places: a few share one
		for i := range n {
			own := of(i)
			recent.shared(&facts{apart: &own})
		}
		kept := 0
		for i := range n {
			own := of(i)
			if _, before := recent.shared(&facts{apart: &own}); before {
				kept++
			}
		}
		require.Greater(t, kept, n/2, name)
	}
}

// Rows that cannot be evaluated are not kept apart either.
func TestFaultyRowsAreNotApart(t *testing.T) {
	bad := Where("a\x00", Eq, "x")
	require.False(t, apartOf(&Token{Kind: KindAccess, Rows: []Condition{bad}}).is)
	require.False(t, apartOf(&Token{Kind: KindAccess, Rows: []Condition{Where("a", Eq, "x"), bad}}).is)
	require.True(t, apartOf(&Token{Kind: KindAccess, Rows: []Condition{Where("a", Eq, "x")}}).is)
}
