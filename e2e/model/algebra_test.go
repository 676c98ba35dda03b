package model

import (
	_ "embed"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/latchkey-go/latchkey"
	"github.com/latchkey-go/latchkey/memstore"
)

//go:embed algebra.smt2
var algebra string

// laws hold for every world. Each is a formula over three roles g, a token x, its parent y, the owner's boundary z, and
// the rules and answers named below.
var laws = []struct{ name, formula string }{
	{"a child admits no row that its parent does not",
		`(=> (admits (of-three x y z g)) (admits (of-two y z g)))`},
	{"a layer more never admits more",
		`(=> (admits (of-two x y g)) (and (admits (of-layer x g)) (admits (of-layer y g))))`},
	{"what a parent forces, its children write",
		`(=> (distinct (writes y) free) (within (of-three x y z g) (single (writes y))))`},
	{"the order of the layers does not matter",
		`(= (of-three x y z g) (of-three z x y g))`},
	{"a boundary of the owner that forces nothing changes no value",
		`(=> (= (of-layer z g) all) (= (of-three x y z g) (of-two x y g)))`},
	{"no rule, no right",
		`(=> (and (= (verb r) absent) (= (verb s) absent)) (= (apply2 r s none) none))`},
	{"a deny in the last place removes the row unless it is known not to meet it",
		`(=> (and (= (verb r) deny) (distinct (on r) no)) (= (apply r p) none))`},
	{"a deny adds nothing, and a grant removes nothing",
		`(and (=> (= (verb r) deny) (within (apply r p) p)) (=> (= (verb r) grant) (within p (apply r p))))`},
	{"an allow in the last place makes what came before it irrelevant",
		`(=> (= (verb r) allow) (= (apply r p) (apply r q)))`},
	{"an unknown condition admits nothing",
		`(=> (and (= (on r) unknown) (= (verb r) allow)) (= (apply r p) none))`},
	{"an unknown condition of a grant adds nothing",
		`(=> (and (= (on r) unknown) (= (verb r) grant)) (= (apply r p) p))`},
	{"more before a list of rules never leads to less after it",
		`(=> (within p q) (within (apply2 r s p) (apply2 r s q)))`},
	{"a role more never takes a row away",
		`(let ((more (layer (full x) true (has-b x) (has-c x) (own1 x) (own2 x) (rows x) (writes x))))
		   (within (of-layer x g) (of-layer more g)))`},
	{"what a token has from a role with a boundary, some boundary lets through",
		`(=> (and (not (full x)) (not (has-a x)) (not (has-b x)) (bounded (c g)) (= (verb (own1 x)) absent)
		          (= (verb (own2 x)) absent) (admits (of-layer x g)))
		     (or (admits (through (c g))) (and (c-b g) (admits (through (b g))))
		         (and (or (c-a g) (and (c-b g) (b-a g))) (admits (through (a g))))))`},
	{"a boundary without an allow lets nothing through",
		`(=> (and (bounded (a g)) (or (= (verb (bound1 (a g))) deny) (= (verb (bound1 (a g))) absent))
		          (or (= (verb (bound2 (a g))) deny) (= (verb (bound2 (a g))) absent)))
		     (= (meet (gives-a g) (bound-a g)) none))`},
	{"a boundary forces nothing",
		`(within (bound-c g) all)`},
	{"a role that inherits denies gives no row that an inherited role denies, directly or not",
		`(=> (and (denies (c g)) (c-b g) (b-a g) (role-denies (a g))) (= (gives-c g) none))`},
	{"without inherited denies, an own allow outweighs what is inherited",
		`(=> (and (not (denies (c g))) (= (verb (second (c g))) allow) (= (on (second (c g))) yes)
		          (= (forced (second (c g))) free)) (= (gives-c g) all))`},
	{"rows that are not known to be met admit nothing",
		`(=> (distinct (rows x) yes) (= (of-three x y z g) none))`},
	{"meeting widens nothing, and agrees with itself",
		`(and (=> (admits (meet p q)) (and (admits p) (admits q))) (= (meet p q) (meet q p)) (= (meet p all) p))`},
	{"values that differ never meet",
		`(= (meet #b010 #b100) none)`},
}

// mistakes are definitions that are wrong. Each makes a law fail.
var mistakes = []struct{ at, with, law string }{
	{`(and (= (verb r) deny) (distinct (on r) no))) ; [a deny removes what it does not know]`,
		`(and (= (verb r) deny) (= (on r) yes)))`,
		"a deny in the last place removes the row unless it is known not to meet it"},
	{`(ite (= (on r) yes) (single (forced r)) none) ; [an allow replaces]`,
		`(ite (= (on r) yes) (bvor x (single (forced r))) x)`,
		"an allow in the last place makes what came before it irrelevant"},
	{`none)) ; [values that differ do not meet]`,
		`(ite (= (bvor x y) #b110) x none)))`,
		"values that differ never meet"},
	{`(or (c-a g) (and (c-b g) (b-a g)))) ; [inherited through another role]`, `(c-a g))`,
		"a role that inherits denies gives no row that an inherited role denies, directly or not"},
	{`(ite (bounded (a g)) (through (a g)) all)) ; [a boundary bounds]`,
		`(ite (and (bounded (a g)) (distinct (through (a g)) none)) (through (a g)) all))`,
		"a boundary without an allow lets nothing through"},
	{`(meet (of-layer x g) (of-layer y g))) ; [a child has its parent's limits]`,
		`(of-layer x g))`,
		"a layer more never admits more"},
}

const anyWorld = `
(declare-const g Roles) (declare-const x Layer) (declare-const y Layer) (declare-const z Layer)
(declare-const r Rule) (declare-const s Rule) (declare-const p Answer) (declare-const q Answer)
`

// z3 runs Z3 and returns the lines that it prints.
func z3(t *testing.T, text string) []string {
	t.Helper()
	cmd := exec.Command("z3", "-in", "-t:600000")
	cmd.Stdin, cmd.Stderr = strings.NewReader(text), os.Stderr
	out, err := cmd.Output()
	require.NoError(t, err, "z3 is installed by scripts/install: %s", out)
	return strings.Fields(strings.TrimSpace(string(out)))
}

// refute returns "unsat" if the formula holds in every world, and "sat" if some world contradicts it.
func refute(formula string) string { return "(push)(assert (not " + formula + "))(check-sat)(pop)\n" }

func TestLawsOfTheAlgebra(t *testing.T) {
	var script strings.Builder
	script.WriteString(algebra + anyWorld)
	for _, l := range laws {
		script.WriteString(refute(l.formula))
	}
	found := z3(t, script.String())
	require.Len(t, found, len(laws))
	for i, l := range laws {
		if found[i] != "unsat" {
			t.Errorf("%s: %s, want unsat", l.name, found[i])
		}
	}
}

func TestLawsFindMistakes(t *testing.T) {
	for _, m := range mistakes {
		t.Run(m.law, func(t *testing.T) {
			require.Equal(t, 1, strings.Count(algebra, m.at), "the line that the mistake replaces")
			wrong := strings.Replace(algebra, m.at, m.with, 1)
			for _, l := range laws {
				if l.name == m.law {
					require.Equal(t, []string{"sat"}, z3(t, wrong+anyWorld+refute(l.formula)))
					return
				}
			}
			t.Fatal("there is no such law")
		})
	}
}

// The worlds that are put to both.

type truth string
type verb string

type rule struct {
	verb   verb
	on     truth
	forced string // "free", "zero" or "one"
}

func (r rule) smt() string { return fmt.Sprintf("(rule %s %s %s)", r.verb, r.on, r.forced) }

const thing, other = "thing", "other"

// condition returns a condition that is true, false or unknown for the row.
func condition(on truth) latchkey.Condition {
	switch on {
	case "yes":
		return latchkey.Where("x", latchkey.Eq, 1)
	case "no":
		return latchkey.Where("x", latchkey.Eq, 2)
	}
	return latchkey.Where("y", latchkey.Eq, 1)
}

var theRow = latchkey.Row{"x": 1, "y": nil, "f": nil}

var schema = latchkey.NewSchema(latchkey.Fields{"x": {Column: "x", Type: latchkey.Integer},
	"y": {Column: "y", Type: latchkey.Integer}, "f": {Column: "f", Type: latchkey.Integer}})

func forced(f string) map[string]any {
	switch f {
	case "zero":
		return map[string]any{"f": 0}
	case "one":
		return map[string]any{"f": 1}
	}
	return nil
}

func (r rule) rule() latchkey.Rule {
	start, on := latchkey.Allow(latchkey.Create), latchkey.Pattern(thing)
	switch r.verb {
	case "absent":
		return start.On(other)
	case "grant":
		start = latchkey.Grant(latchkey.Create)
	case "deny":
		start = latchkey.Deny(latchkey.Create)
	}
	made := start.On(on).Where(condition(r.on))
	if values := forced(r.forced); values != nil && r.verb != "deny" {
		made = made.Force(values)
	}
	return made
}

func list(rules [2]rule, bound bool) latchkey.Permissions {
	p := latchkey.Permissions{}
	for _, r := range rules {
		if bound {
			r.forced = "free"
		}
		p = append(p, r.rule())
	}
	return p
}

type role struct {
	rules, bound    [2]rule
	denies, bounded bool
}

func (r role) smt() string {
	return fmt.Sprintf("(role %s %s %t %t %s %s)", r.rules[0].smt(), r.rules[1].smt(), r.denies, r.bounded,
		r.bound[0].smt(), r.bound[1].smt())
}

type layer struct {
	full   bool
	has    [3]bool
	own    [2]rule
	rows   truth
	writes string
}

func (l layer) smt() string {
	return fmt.Sprintf("(layer %t %t %t %t %s %s %s %s)", l.full, l.has[0], l.has[1], l.has[2], l.own[0].smt(),
		l.own[1].smt(), l.rows, l.writes)
}

type world struct {
	roles       [3]role
	ba, ca, cb  bool
	token       layer
	parent, own layer // own is the owner's boundary
}

func (w world) smt() string {
	return fmt.Sprintf("(simplify (of-three %s %s %s (roles %s %s %s %t %t %t)))\n", w.token.smt(), w.parent.smt(),
		w.own.smt(), w.roles[0].smt(), w.roles[1].smt(), w.roles[2].smt(), w.ba, w.ca, w.cb)
}

func randomRule(r *rand.Rand) rule {
	return rule{[]verb{"absent", "allow", "allow", "grant", "grant", "deny"}[r.IntN(6)],
		[]truth{"yes", "yes", "yes", "no", "unknown"}[r.IntN(5)], []string{"free", "free", "zero", "one"}[r.IntN(4)]}
}

func randomRules(r *rand.Rand) [2]rule { return [2]rule{randomRule(r), randomRule(r)} }

// randomWorld returns a world that latchkey can hold: a token has roles that its parent has, and a boundary forces
// nothing.
func randomWorld(r *rand.Rand) (w world) {
	for i := range w.roles {
		w.roles[i] = role{randomRules(r), randomRules(r), r.IntN(3) == 0, r.IntN(3) == 0}
	}
	w.ba, w.ca, w.cb = r.IntN(2) == 0, r.IntN(3) == 0, r.IntN(2) == 0
	absent := [2]rule{{"absent", "yes", "free"}, {"absent", "yes", "free"}}
	w.parent = layer{own: randomRules(r), rows: "yes", writes: "free"}
	if r.IntN(3) == 0 {
		w.parent.own = absent
	}
	w.token = layer{own: randomRules(r), rows: []truth{"yes", "yes", "yes", "no", "unknown"}[r.IntN(5)],
		writes: []string{"free", "free", "zero", "one"}[r.IntN(4)]}
	if w.token.full = r.IntN(3) == 0; w.token.full {
		w.token.own = absent
	}
	for i := range w.parent.has {
		w.parent.has[i] = r.IntN(2) == 0
		w.token.has[i] = !w.token.full && w.parent.has[i] && r.IntN(3) > 0
	}
	w.own = layer{own: randomRules(r), rows: "yes", writes: "free"}
	if r.IntN(2) == 0 { // otherwise few rows pass at all
		w.own.own = [2]rule{{"allow", "yes", "free"}, {"absent", "yes", "free"}}
	}
	for i := range w.own.own {
		w.own.own[i].forced = "free"
	}
	return w
}

// answer builds the world in latchkey and returns what it answers, in the model's form.
func (w world) answer(t *testing.T) string {
	t.Helper()
	ctx := t.Context()
	keys := latchkey.New(memstore.New(nil), nil)
	defer func() { require.NoError(t, keys.Close(ctx)) }()
	acme := keys.For("acme")
	var ids [3]string
	inherits := [3][]string{}
	for i, m := range w.roles {
		r := latchkey.Role{Name: string('a' + rune(i)), Permissions: list(m.rules, false), InheritDenies: m.denies}
		switch {
		case i == 1 && w.ba:
			inherits[1] = append(inherits[1], ids[0])
		case i == 2:
			if w.ca {
				inherits[2] = append(inherits[2], ids[0])
			}
			if w.cb {
				inherits[2] = append(inherits[2], ids[1])
			}
		}
		r.Inherits = inherits[i]
		if m.bounded {
			r.Boundary = list(m.bound, true)
		}
		made, err := acme.CreateRole(ctx, r)
		require.NoError(t, err)
		ids[i] = made.ID
	}
	held := func(l layer) (roles []string) {
		for i, has := range l.has {
			if has {
				roles = append(roles, ids[i])
			}
		}
		return roles
	}
	require.NoError(t, acme.Configure(ctx, func(o *latchkey.Owner) error {
		o.Boundary = list(w.own.own, true)
		return nil
	}))
	_, secret, err := acme.Issue(ctx, latchkey.Spec{Kind: latchkey.KindAPIKey, Roles: held(w.parent),
		Permissions: list(w.parent.own, false)})
	require.NoError(t, err)
	parent, err := keys.Verify(ctx, latchkey.Presented{Secret: secret.Reveal()})
	require.NoError(t, err)
	n := latchkey.Narrowing{Lifetime: time.Hour, Rows: []latchkey.Condition{condition(w.token.rows)},
		Forced: forced(w.token.writes)}
	if !w.token.full {
		n.Roles, n.Permissions = held(w.token), list(w.token.own, false)
	}
	_, secret, err = parent.Mint(ctx, n)
	require.NoError(t, err)
	token, err := keys.Verify(ctx, latchkey.Presented{Secret: secret.Reveal()})
	require.NoError(t, err)

	bits := [3]byte{'0', '0', '0'}
	for _, g := range token.Explain(latchkey.Create, thing).Grants {
		rows, err := schema.Bind(g.Rows)
		require.NoError(t, err)
		if rows.Match(theRow) {
			at := 2 // the last digit is bit 0
			if v, ok := g.Forced["f"]; ok {
				at = 1 - int(v.(int64))
			}
			bits[at] = '1'
		}
	}
	answer := "#b" + string(bits[:])
	w.agrees(t, token, answer)
	return answer
}

// agrees checks that the other questions to the token are answered as the grants say.
func (w world) agrees(t *testing.T, token latchkey.Access, answer string) {
	t.Helper()
	rows, err := token.Filter(latchkey.Create, thing)
	bound := false
	if err == nil {
		p, err := schema.Bind(rows)
		require.NoError(t, err)
		bound = p.Match(theRow)
	}
	require.Equal(t, answer != "#b000", bound, "Filter, of %s", answer)
	row, err := token.Prepare(latchkey.Create, thing, schema, nil, latchkey.Row{"x": 1})
	switch answer {
	case "#b000":
		require.ErrorIs(t, err, latchkey.ErrDenied)
	case "#b010", "#b100":
		require.NoError(t, err)
		require.EqualValues(t, map[string]int64{"#b010": 0, "#b100": 1}[answer], row["f"], "the value that is forced")
	case "#b001":
		require.NoError(t, err)
		require.NotContains(t, row, "f")
	}
}

// TestTheAlgebraIsThatOfLatchkey puts random worlds to the definitions and to latchkey, with LONG twenty times as many.
func TestTheAlgebraIsThatOfLatchkey(t *testing.T) {
	n := 3000
	if os.Getenv("LONG") != "" {
		n *= 20
	}
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	r := rand.New(rand.NewPCG(seed, 1))
	worlds := make([]world, n)
	var script strings.Builder
	script.WriteString(algebra)
	for i := range worlds {
		worlds[i] = randomWorld(r)
		script.WriteString(worlds[i].smt())
	}
	want := z3(t, script.String())
	require.Len(t, want, n)
	seen := map[string]int{}
	for i, w := range worlds {
		got := w.answer(t)
		require.Equal(t, want[i], got, "world %d: %s", i, w.smt())
		seen[got]++
	}
	t.Logf("answers: %v", seen)
	for _, answer := range []string{"#b000", "#b001", "#b010", "#b100", "#b011", "#b101"} {
		require.NotZero(t, seen[answer], "no world had the answer %s: the comparison says little", answer)
	}
}
