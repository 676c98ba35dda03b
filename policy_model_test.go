package latchkey

import (
	"fmt"
	"maps"
	"math/rand/v2"
	"os"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// The model is a second implementation of the algebra, as plain as possible. A condition is the set of rows that it
// admits out of sixteen, a resource is a list of segments, and a decision walks every rule. It shares no code with the
// subject.

// modelRows are all rows of two fields with the values NULL, 0, 1 and 2.
var modelRows = func() (rows []Row) {
	for i := range 16 {
		row := Row{"x": nil, "y": nil}
		if x := i % 4; x > 0 {
			row["x"] = int64(x - 1)
		}
		if y := i / 4; y > 0 {
			row["y"] = int64(y - 1)
		}
		rows = append(rows, row)
	}
	return rows
}()

type rowSet uint16

const allModelRows rowSet = 0xffff

// modelCond is a condition with the rows on which it is true and false. On the others it is unknown.
type modelCond struct {
	c       Condition
	yes, no rowSet
	every   bool // AllRows
	zero    bool // the zero Condition
}

func (m modelCond) not() modelCond {
	switch {
	case m.every, m.zero:
		return modelCond{c: Not(m.c), zero: true, no: allModelRows}
	}
	return modelCond{c: Not(m.c), yes: m.no, no: m.yes}
}

func randomLeaf(r *rand.Rand) modelCond {
	field := []string{"x", "y"}[r.IntN(2)]
	v := int64(r.IntN(3))
	tell := func(c Condition, is func(v any, known bool) (yes, no bool)) modelCond {
		m := modelCond{c: c}
		for i, row := range modelRows {
			yes, no := is(row[field], row[field] != nil)
			if yes {
				m.yes |= 1 << i
			}
			if no {
				m.no |= 1 << i
			}
		}
		return m
	}
	switch r.IntN(5) {
	case 0, 1:
		return tell(Where(field, Eq, v), func(x any, known bool) (bool, bool) { return known && x == v, known && x != v })
	case 2:
		return tell(Where(field, Ne, v), func(x any, known bool) (bool, bool) { return known && x != v, known && x == v })
	case 3:
		w := int64(r.IntN(3))
		return tell(Where(field, In, []int64{v, w}), func(x any, known bool) (bool, bool) {
			return known && (x == v || x == w), known && x != v && x != w
		})
	}
	return tell(Where(field, IsNull, true), func(_ any, known bool) (bool, bool) { return !known, known })
}

// randomCond returns a random condition, at the root sometimes every row or none.
func randomCond(r *rand.Rand, depth int) modelCond {
	switch n := r.IntN(12); {
	case n == 0 && depth == 0:
		return modelCond{c: AllRows, yes: allModelRows, every: true}
	case n == 1 && depth == 0 && r.IntN(3) == 0:
		return modelCond{zero: true, no: allModelRows}
	case n < 6 || depth > 2:
		return randomLeaf(r)
	case n < 8:
		return randomCond(r, depth+1).not()
	case n < 10:
		a, b := randomCond(r, depth+1), randomCond(r, depth+1)
		return modelCond{c: All(a.c, b.c), yes: a.yes & b.yes, no: a.no | b.no}
	default:
		a, b := randomCond(r, depth+1), randomCond(r, depth+1)
		return modelCond{c: AnyOf(a.c, b.c), yes: a.yes | b.yes, no: a.no & b.no}
	}
}

// admitted returns the rows that a condition admits, by its tree.
func admitted(t *testing.T, c Condition) rowSet {
	if c.n == nil {
		return 0
	}
	var set rowSet
	for i, row := range modelRows {
		if yes, _ := kleene(t, c.n, row); yes {
			set |= 1 << i
		}
	}
	return set
}

func kleene(t *testing.T, n *node, row Row) (yes, no bool) {
	switch n.kind {
	case nodeEvery:
		return true, false
	case nodeNot:
		yes, no = kleene(t, n.parts[0], row)
		return no, yes
	case nodeAll, nodeAny:
		allYes, allNo, someYes, someNo := true, true, false, false
		for _, p := range n.parts {
			y, no := kleene(t, p, row)
			allYes, allNo, someYes, someNo = allYes && y, allNo && no, someYes || y, someNo || no
		}
		if n.kind == nodeAll {
			return allYes, someNo
		}
		return someYes, allNo
	case nodeLeaf:
		v := row[n.field]
		known := v != nil
		if n.op == IsNull {
			return known != n.value.(bool), known == n.value.(bool)
		}
		if !known {
			return false, false
		}
		switch n.op {
		case Eq:
			return v == n.value, v != n.value
		case Ne:
			return v != n.value, v == n.value
		case In:
			in := slices.Contains(n.value.([]any), v)
			return in, !in
		}
	}
	t.Fatalf("the model does not know %v", Condition{n})
	return false, false
}

type modelRule struct {
	verb     Verb
	actions  []Action
	patterns []Pattern
	where    modelCond
	forced   map[string]any
}

func (m modelRule) rule() Rule {
	r := RuleStart{m.verb, m.actions}.On(m.patterns...)
	if !m.where.every {
		r = r.Where(m.where.c)
	}
	if m.forced != nil {
		r = r.Force(m.forced)
	}
	return r
}

func permissionsOf(rules []modelRule) (p Permissions) {
	for _, m := range rules {
		p = append(p, m.rule())
	}
	return p
}

type modelGrant struct {
	rows   rowSet
	every  bool
	forced map[string]any
}

func modelMatches(p Pattern, on Resource) bool {
	ps, rs := strings.Split(string(p), "/"), strings.Split(string(on), "/")
	if rs[0] == "latchkey" && len(rs) > 1 && (ps[0] != "latchkey" || len(ps) < 2) {
		return false
	}
	if last := len(ps) - 1; ps[last] == "*" {
		return len(rs) > last && slices.Equal(ps[:last], rs[:last])
	}
	return slices.Equal(ps, rs)
}

func (m modelRule) matches(a Action, on Resource) bool {
	return (slices.Contains(m.actions, a) || slices.Contains(m.actions, Any)) &&
		slices.ContainsFunc(m.patterns, func(p Pattern) bool { return modelMatches(p, on) })
}

func modelDeny(gs []modelGrant, where modelCond) []modelGrant {
	var left []modelGrant
	if where.every || where.zero {
		return nil
	}
	for _, g := range gs {
		left = append(left, modelGrant{g.rows & where.no, false, g.forced})
	}
	return left
}

func modelApply(rules []modelRule, gs []modelGrant, a Action, on Resource) []modelGrant {
	for _, m := range rules {
		if !m.matches(a, on) {
			continue
		}
		if m.verb == VerbDeny {
			gs = modelDeny(gs, m.where)
			continue
		}
		if m.verb == VerbAllow {
			gs = nil
		}
		if !m.where.zero {
			gs = append(slices.Clone(gs), modelGrant{m.where.yes, m.where.every, m.forced})
		}
	}
	return gs
}

func modelMerge(a, b map[string]any) (map[string]any, bool) {
	out := maps.Clone(a)
	if out == nil {
		out = map[string]any{}
	}
	for k, v := range b {
		if old, ok := out[k]; ok && old != v {
			return nil, false
		}
		out[k] = v
	}
	return out, true
}

func modelMeet(a, b []modelGrant) (out []modelGrant) {
	for _, x := range a {
		for _, y := range b {
			if forced, ok := modelMerge(x.forced, y.forced); ok {
				out = append(out, modelGrant{x.rows & y.rows, x.every && y.every, forced})
			}
		}
	}
	return out
}

type modelRole struct {
	inherits []string
	again    bool
	rules    []modelRule
	invalid  bool
	bounded  bool
	bound    []modelRule
}

type modelLayer struct {
	full   bool
	roles  []string
	rules  []modelRule
	rows   []modelCond
	forced map[string]any
}

type world struct {
	roles  map[string]modelRole
	layers []modelLayer
}

// closure returns every role that id inherits, directly or not. id itself is among them only if it is part of a cycle.
func (w *world) closure(id string) map[string]bool {
	seen := map[string]bool{}
	todo := slices.Clone(w.roles[id].inherits)
	for len(todo) > 0 {
		next := todo[0]
		todo = todo[1:]
		if !seen[next] {
			seen[next] = true
			todo = append(todo, w.roles[next].inherits...)
		}
	}
	return seen
}

func (w *world) broken(id string) bool {
	r, ok := w.roles[id]
	if !ok || r.invalid {
		return true
	}
	up := w.closure(id)
	if up[id] {
		return true
	}
	for other := range up {
		if w.closure(other)[other] || r.again && w.broken(other) {
			return true
		}
	}
	return false
}

func (w *world) role(id string, a Action, on Resource) []modelGrant {
	if w.broken(id) {
		return nil
	}
	r := w.roles[id]
	var gs []modelGrant
	for _, up := range r.inherits {
		gs = append(gs, w.role(up, a, on)...)
	}
	gs = modelApply(r.rules, gs, a, on)
	if r.again {
		for up := range w.closure(id) {
			for _, m := range w.roles[up].rules {
				if m.verb == VerbDeny && m.matches(a, on) {
					gs = modelDeny(gs, m.where)
				}
			}
		}
	}
	return gs
}

// bound returns what the boundary of a role lets through.
func (w *world) bound(id string, a Action, on Resource) (gs []modelGrant) {
	if !w.roles[id].bounded {
		return []modelGrant{{allModelRows, true, nil}}
	}
	up := w.closure(id)
	up[id] = true
	for other := range up {
		if !w.broken(other) && w.roles[other].bounded {
			gs = append(gs, modelApply(w.roles[other].bound, nil, a, on)...)
		}
	}
	return gs
}

func (w *world) layer(l modelLayer, a Action, on Resource) []modelGrant {
	var gs []modelGrant
	if l.full {
		gs = []modelGrant{{allModelRows, true, nil}}
	} else {
		for _, id := range l.roles {
			gs = append(gs, modelMeet(w.role(id, a, on), w.bound(id, a, on))...)
		}
	}
	gs = modelApply(l.rules, gs, a, on)
	for _, c := range l.rows {
		if c.zero {
			return nil
		}
		gs = modelMeet(gs, []modelGrant{{c.yes, c.every, nil}})
	}
	if a == Create {
		gs = modelMeet(gs, []modelGrant{{allModelRows, true, l.forced}})
	}
	return gs
}

func (w *world) ask(a Action, on Resource) []modelGrant {
	if len(w.layers) == 0 {
		return nil
	}
	gs := []modelGrant{{allModelRows, true, nil}}
	for _, l := range w.layers {
		gs = modelMeet(gs, w.layer(l, a, on))
	}
	return gs
}

func (w *world) policy() *policy {
	var layers []layer
	for i, l := range w.layers {
		c := layer{name: fmt.Sprint("layer ", i), full: l.full, roles: l.roles,
			rules: permissionsOf(l.rules), forced: l.forced}
		for _, m := range l.rows {
			c.rows = append(c.rows, m.c)
		}
		layers = append(layers, c)
	}
	roles := map[string]Role{}
	for id, m := range w.roles {
		r := Role{ID: id, Name: "role " + id, Inherits: m.inherits, InheritDenies: m.again,
			Permissions: permissionsOf(m.rules)}
		if m.bounded {
			r.Boundary = append(Permissions{}, permissionsOf(m.bound)...)
		}
		switch {
		case m.invalid && len(m.bound)%2 == 1:
			r.Boundary = append(r.Boundary, Rule{})
		case m.invalid:
			r.Permissions = append(r.Permissions, Rule{})
		}
		roles[id] = r
	}
	return newPolicy(layers, roles)
}

func modelVerdict(gs []modelGrant) verdict {
	switch {
	case slices.ContainsFunc(gs, func(g modelGrant) bool { return g.every }):
		return verdictAll
	case len(gs) > 0:
		return verdictSome
	}
	return verdictNone
}

// byForced returns the rows of grants by the values that they force.
func byForced(gs []modelGrant) map[string]rowSet {
	sets := map[string]rowSet{}
	for _, g := range gs {
		if g.rows != 0 {
			sets[fmt.Sprint(g.forced)] |= g.rows
		}
	}
	return sets
}

var (
	modelResources = []Resource{"a", "a/b", "a/b/c", "a/b/c/d", "a/c", "b", "b/c", "ab", "ab/c", "latchkey",
		"latchkey/token/1", "latchkey/role/2"}
	modelPatterns = []Pattern{"*", "*", "*", "a", "a/*", "a/*", "a/b", "a/b/*", "a/b/c", "b", "b/*", "ab/*",
		"latchkey", "latchkey/*", "latchkey/token/*", "latchkey/role/2"}
	modelActions = []Action{Read, Create, Update, "x:y"}
)

func pick[T any](r *rand.Rand, from []T, least, most int) (out []T) {
	for range least + r.IntN(most-least+1) {
		out = append(out, from[r.IntN(len(from))])
	}
	return out
}

func randomForced(r *rand.Rand, oneIn int) map[string]any {
	if r.IntN(oneIn) > 0 {
		return nil
	}
	forced := map[string]any{}
	for _, f := range pick(r, []string{"x", "y"}, 1, 2) {
		forced[f] = int64(r.IntN(2))
	}
	return forced
}

func randomRules(r *rand.Rand, most int) (rules []modelRule) {
	forcing := 3 + 100*r.IntN(2) // half of the lists force nothing
	for range r.IntN(most + 1) {
		m := modelRule{verb: Verb(1 + r.IntN(3)), actions: pick(r, append(modelActions, Any), 1, 3),
			patterns: pick(r, modelPatterns, 1, 3), where: modelCond{c: AllRows, yes: allModelRows, every: true}}
		if r.IntN(2) == 0 {
			m.where = randomCond(r, 0)
		}
		if m.verb != VerbDeny {
			m.forced = randomForced(r, forcing)
		}
		rules = append(rules, m)
	}
	return rules
}

func randomWorld(r *rand.Rand) *world {
	w := &world{roles: map[string]modelRole{}}
	ids := []string{"r0", "r1", "r2", "r3", "r4"}
	for i, id := range ids[:4] { // r4 is always missing
		m := modelRole{again: r.IntN(3) == 0, rules: randomRules(r, 4), invalid: r.IntN(30) == 0}
		if i > 0 && r.IntN(2) == 0 {
			for _, up := range pick(r, ids[:i], 1, 2) {
				if !slices.Contains(m.inherits, up) {
					m.inherits = append(m.inherits, up)
				}
			}
		}
		if r.IntN(20) == 0 {
			m.inherits = append(m.inherits, ids[r.IntN(5)])
		}
		if m.bounded = r.IntN(3) == 0; m.bounded {
			m.bound = randomRules(r, 4)
			for i := range m.bound {
				m.bound[i].forced = nil
			}
		}
		w.roles[id] = m
	}
	for range 1 + r.IntN(3) {
		l := modelLayer{full: r.IntN(5) == 0, rules: randomRules(r, 4), forced: randomForced(r, 4)}
		if !l.full {
			l.roles = pick(r, ids, 0, 3)
		}
		if r.IntN(4) == 0 {
			l.rows = []modelCond{randomCond(r, 0)}
		}
		w.layers = append(w.layers, l)
	}
	return w
}

// seeds returns the seeds of random inputs: 1, for which a test finds the same each time, and one that nobody has
// tried. The run of mutants sets SEEDS=fixed and gets the first alone, so that no mutant is killed by chance. SEED=n
// repeats one.
func seeds(t *testing.T) []uint64 {
	if s := os.Getenv("SEED"); s != "" {
		n, err := strconv.ParseUint(s, 10, 64)
		require.NoError(t, err)
		return []uint64{n}
	}
	if os.Getenv("SEEDS") == "fixed" {
		return []uint64{1}
	}
	fresh := rand.Uint64()
	t.Logf("seed %d", fresh)
	if testing.Short() {
		return []uint64{fresh}
	}
	return []uint64{1, fresh}
}

// eachWorld runs f on n random worlds, half of them the same each time, and prints the seed of the first that fails.
func eachWorld(t *testing.T, n int, f func(t *testing.T, r *rand.Rand)) {
	t.Helper()
	if testing.Short() {
		n /= 10
	}
	for _, start := range seeds(t) {
		for i := range uint64(n / 2) {
			seed := start + i
			func() {
				defer func() { // f may not return
					if t.Failed() {
						t.Logf("seed %d", seed)
					}
				}()
				f(t, rand.New(rand.NewPCG(seed, 1)))
			}()
			if t.Failed() {
				t.FailNow()
			}
		}
	}
}
