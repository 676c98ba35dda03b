package latchkey

import (
	"context"
	"fmt"
	"reflect"
	"slices"

	"github.com/latchkey-go/latchkey/internal/fault"
	"github.com/latchkey-go/latchkey/internal/predicate"
)

// within reports whether q allows whatever p allows, rows and forced values included. True is certain. False may only
// mean that it was not found out: the work is bounded, and ends with ctx.
//
// within compares the two on representative actions and resources. There is one resource for each kind that any of
// their patterns distinguishes from the rest: see [class]. The actions are those that a rule names, and one that none
// does. What holds for these holds for all.
//
// A p that holds an invalid part, or whose rows together are too large, lies only within a policy that allows
// everything. It allows nothing today, but a change of another record may make it valid, and then nothing would check
// it again.
//
// The two are not assumed to be evaluated for the same caller. A condition on [Self], [SelfRoles], [ClientID] or an
// attribute lies within every row only. With [ClientSegment] in a pattern, what p allows to any client must be allowed
// by q to every client, and to a caller without one.
func (p *policy) within(ctx context.Context, q *policy) bool {
	return p.withinFor(ctx, q, false, nil, nil)
}

// withinSame is within for two policies of one caller: what refers to the caller means the same in both, whatever its
// value.
func (p *policy) withinSame(ctx context.Context, q *policy) bool {
	return p.withinBy(q, false, &subsumption{ctx: ctx, left: maxSteps, same: true})
}

// withinFor is within; if anyOnly is true, for the actions that [Any] includes only. Mine and theirs are what is known
// of the callers of p and of q, for good: references that they fill in are compared by their values. Mine returns a
// reference itself if its value may still come to be known. Nil: nothing is known.
func (p *policy) withinFor(ctx context.Context, q *policy, anyOnly bool, mine, theirs refValues) bool {
	return p.withinBy(q, anyOnly, &subsumption{ctx: ctx, left: maxSteps, mine: mine, theirs: theirs})
}

// withinBy is withinFor with the work of w.
func (p *policy) withinBy(q *policy, anyOnly bool, w *subsumption) bool {
	switch {
	case p == nil:
		return true
	case q.unrestricted() && (anyOnly || !p.mentions(Exceed)):
		return true
	case p.invalid():
		return false
	case p.pairedCreate && p.forcesRefsBut(w.mine):
		return false // values that disagree here may agree for some caller
	case q == nil:
		q = &policy{}
	}
	unforced := !q.forcesValues()
	actions := representedActions(p, q)
	pClients, qClients := p.refersToClient(), q.refersToClient()
	if w.same { // each case of the one is that of the other
		pClients, qClients = pClients || qClients, pClients || qClients
	}
	for of := range representatives(p, q) {
		if !w.spend(of.work) {
			return false
		}
		asked, ok := of.questions(pClients)
		answered, ok2 := of.questions(qClients)
		if !ok || !ok2 {
			return false
		}
		for _, a := range actions {
			if !(anyOnly && a.named()) && !w.classWithin(p, q, a, unforced, asked, answered) {
				return false
			}
		}
	}
	return true
}

// classWithin reports whether q allows, for one action and in each of the cases of a class of resources, what p allows
// in any. Of one caller, each case is compared with itself alone. Unforced says that q forces no values.
func (w *subsumption) classWithin(p, q *policy, a Action, unforced bool, asked, answered []question) bool {
	for i, x := range asked {
		x.action = a
		if !w.spend(1) {
			return false
		}
		if !p.mayDisagree(a) && p.fastVerdict(&x) == verdictNone {
			continue
		}
		cases := answered
		if w.same {
			cases = answered[i : i+1]
		}
		for _, y := range cases {
			y.action = a
			if unforced && !q.mayDisagree(a) && q.fastVerdict(&y) == verdictAll {
				continue
			}
			x.caller, y.caller = w.mine, w.theirs
			if !w.spend(p.cost(&x)+q.cost(&y)) || !w.grantsWithin(p.evaluate(&x), q.evaluate(&y)) {
				return false
			}
		}
	}
	return true
}

// forcesRefsBut reports whether a rule forces a reference that caller does not fill in. Nil fills in none.
func (p *policy) forcesRefsBut(caller refValues) bool {
	if !p.forcesRefs || caller == nil {
		return p.forcesRefs
	}
	return slices.ContainsFunc(p.rulesets(), func(s *ruleset) bool {
		return slices.ContainsFunc(s.source, func(r Rule) bool {
			forced, missing := r.forced.resolve(caller)
			return missing != "" || forced.hasRefs()
		})
	})
}

// invalid reports whether some part of p is invalid and therefore allows nothing. A missing role is not such a part:
// its id never names another role again.
func (p *policy) invalid() bool {
	for i := range p.layers {
		if p.layers[i].broken || p.layers[i].apart { // of one that is apart no question brings the rows here
			return true
		}
	}
	for i := range p.nodes {
		if n := &p.nodes[i]; n.broken && !n.missing {
			return true
		}
	}
	return false
}

// mentions reports whether a rule of p names the action itself.
func (p *policy) mentions(a Action) bool {
	for _, s := range p.rulesets() {
		for _, x := range s.actions {
			if x == a {
				return true
			}
		}
	}
	return false
}

// checkSize returns an error if the rows that p allows for some action and resource are together larger than a
// condition may be. Then p would allow nothing there, and could not be compared with anything. It returns nil if the
// bounded work finds no such case, and ErrUnavailable if ctx ends first.
func (p *policy) checkSize(ctx context.Context) error {
	if p.size().fits() {
		return nil
	}
	w := subsumption{ctx: ctx, left: maxSteps}
	actions, clients := representedActions(p), p.refersToClient()
	for of := range representatives(p) {
		asked, _ := of.questions(clients)
		for _, a := range actions {
			for _, q := range asked {
				q.action = a
				if !w.spend(of.work) {
					return unavailableCtx(ctx)
				}
				if !p.mayDisagree(a) && p.fastVerdict(&q) != verdictSome {
					continue
				}
				if !w.spend(p.cost(&q)) {
					return unavailableCtx(ctx)
				}
				rows := rowsOf(p.evaluate(&q))
				if rows.n != nil && rows.n.kind == nodeFault {
					return fmt.Errorf("%w: the rows that the rules allow together for one action and resource are too large (%s):"+
						" use fewer rules with conditions, or shorter lists", ErrInvalid, rows.n.fault.Reason)
				}
			}
		}
	}
	return nil
}

func unavailableCtx(ctx context.Context) error {
	if err := ctx.Err(); err != nil {
		return fault.Unavailable(err)
	}
	return nil
}

// cost estimates the work of evaluating p on a resource. It counts the rules that match, the Denies that are combined
// with Grants, and the pairs of grants that force values.
func (p *policy) cost(q *question) int {
	cost := 8 * (len(p.layers) + len(p.nodes))
	for _, s := range p.rulesets() {
		n := s.countPatterns(q)
		cost = add(cost, 4*n+3*min(times(n, s.size.runs), maxDenials))
	}
	if p.paired {
		cost = add(cost, 64*p.pairs(q))
	}
	return cost
}

// pairs returns an upper bound of the pairs of grants that force values, on a resource.
func (p *policy) pairs(q *question) int {
	inherited := 0
	for i := range p.nodes {
		if s := p.nodes[i].rules; s != nil && s.forces {
			inherited += s.countPatterns(q)
		}
	}
	pairs := 1
	for i := range p.layers {
		l, n := &p.layers[i], 0
		if l.own != nil && l.own.forces {
			n = l.own.countPatterns(q)
		}
		if len(l.top) > 0 {
			n += inherited
		}
		pairs = min(times(pairs, max(n, 1)), maxPairs)
	}
	return pairs
}

// unrestricted reports whether p allows everything by its form alone, but for [Exceed].
func (p *policy) unrestricted() bool {
	if p == nil || len(p.layers) == 0 {
		return false
	}
	for i := range p.layers {
		l := &p.layers[i]
		if l.broken || l.apart || !l.full || l.own != nil || l.extent != verdictAll || len(l.forced) > 0 {
			return false
		}
	}
	return true
}

// forcesValues reports whether anything in p forces values.
func (p *policy) forcesValues() bool {
	for i := range p.layers {
		if len(p.layers[i].forced) > 0 {
			return true
		}
	}
	for _, s := range p.rulesets() {
		if s.forces {
			return true
		}
	}
	return false
}

func (p *policy) rulesets() []*ruleset {
	var sets []*ruleset
	for i := range p.layers {
		if own := p.layers[i].own; own != nil {
			sets = append(sets, own)
		}
	}
	for i := range p.nodes {
		for _, set := range []*ruleset{p.nodes[i].rules, p.nodes[i].boundary} {
			if set != nil {
				sets = append(sets, set)
			}
		}
	}
	return sets
}

// maxSteps bounds the work of one comparison. A step is some 50 ns. A comparison that is not decided by then counts as
// false.
const maxSteps = 20_000_000

// subsumption decides whether conditions lie within others, within a budget of steps.
type subsumption struct {
	ctx       context.Context
	left      int
	checkedAt int // the steps that were left when ctx was last checked, plus 1

	mine, theirs refValues // as in withinFor
	same         bool      // both are of one caller, whose references have one value each, or none
}

// spend takes steps from the budget. It reports whether the work may continue.
func (w *subsumption) spend(steps int) bool {
	if w.left -= steps; w.left < 0 {
		return false
	}
	if w.checkedAt == 0 || w.checkedAt-w.left > 10_000 {
		w.checkedAt = w.left + 1
		if w.ctx != nil && w.ctx.Err() != nil {
			w.left = -1
			return false
		}
	}
	return true
}

// grantsWithin reports whether the grants of hs allow all that those of gs do. A row that g writes holds g's forced
// values, and some h must admit it unchanged. So h may force only what g forces alike.
func (w *subsumption) grantsWithin(gs, hs []grant) bool {
	for _, g := range gs {
		if g.rows = known(g.rows, w.mine); g.rows.IsNoRows() {
			continue // for want of a value that will never come
		}
		var rows []Condition
		if !w.spend(len(hs)) {
			return false
		}
		for _, h := range hs {
			if w.subset(h.forced, g.forced) {
				rows = append(rows, known(h.rows, w.theirs))
			}
		}
		if len(rows) == 0 || !w.implies(g.rows, either(rows)) {
			return false
		}
	}
	return true
}

// known returns c with the references filled in whose values are known.
func known(c Condition, caller refValues) Condition {
	if caller == nil {
		return c
	}
	return c.resolve(caller)
}

// subset reports whether g holds every value of h. A reference that is not filled in equals no other but OwnerID: two
// callers may differ.
func (w *subsumption) subset(h, g Values) bool {
	for name, v := range h {
		if other, ok := g[name]; !ok || valueKey(other) != valueKey(v) || isRef(v) && v != OwnerID && !w.same {
			return false
		}
	}
	return true
}

// implies reports whether h admits every row that g admits, or would admit if it were small enough to be a condition.
func (w *subsumption) implies(g, h Condition) bool {
	switch {
	case g.IsNoRows(), h.IsAllRows():
		return true
	case h.IsNoRows(), g.IsAllRows():
		return false
	case g.n.kind == nodeFault, h.n.kind == nodeFault:
		return false // the rows of g are unknown, and h admits none
	}
	return w.nodeImplies(signed{g.n, false}, signed{h.n, false})
}

// signed is a node or its negation.
type signed struct {
	n   *node
	not bool
}

// plain removes leading negations.
func (s signed) plain() signed {
	for s.n.kind == nodeNot {
		s = signed{s.n.parts[0], !s.not}
	}
	return s
}

// is reports whether s is a group of this kind. A negated group is one of the other kind, of negated parts.
func (s signed) is(kind nodeKind) bool {
	if s.not {
		kind = nodeAll + nodeAny - kind
	}
	return s.n.kind == kind
}

func (w *subsumption) nodeImplies(g, h signed) bool {
	if !w.spend(2) {
		return false
	}
	g, h = g.plain(), h.plain()
	switch {
	case g.n.kind == nodeNever:
		return true
	case h.n.kind == nodeNever:
		return false
	case g.not == h.not && sameNode(g.n, h.n):
		return w.same || !dependsOnCaller(g.n)
	case g.is(nodeAny):
		return g.every(func(part signed) bool { return w.nodeImplies(part, h) })
	case h.is(nodeAll):
		return h.every(func(part signed) bool { return w.nodeImplies(g, part) })
	}
	if h.is(nodeAny) && !h.every(func(part signed) bool { return !w.nodeImplies(g, part) }) {
		return true
	}
	if g.is(nodeAll) && !g.every(func(part signed) bool { return !w.nodeImplies(part, h) }) {
		return true
	}
	return g.n.kind == nodeLeaf && h.n.kind == nodeLeaf && w.leafImplies(g, h)
}

// every reports whether f holds for all parts of a group.
func (s signed) every(f func(signed) bool) bool {
	for _, part := range s.n.parts {
		if !f(signed{part, s.not}) {
			return false
		}
	}
	return true
}

// leafImplies compares values for every type that a schema may give the field.
func (w *subsumption) leafImplies(g, h signed) bool {
	if g.n.field != h.n.field || !w.same && (dependsOnCaller(g.n) || dependsOnCaller(h.n)) {
		return false
	}
	gop, gnot := positive(g)
	hop, hnot := positive(h)
	switch {
	case gop == hop && gnot == hnot && sameValue(g.n.value, h.n.value):
		return true
	case g.n.refs || h.n.refs: // of an unknown value: OwnerID, or any of one caller
		return false
	case gop == Eq && hop == Eq && !gnot && !hnot && reflect.TypeOf(g.n.value) == reflect.TypeOf(h.n.value):
		return false // what binds as text, or as a whole number, differs there
	}
	return w.spend(4+g.n.items+h.n.items) && predicate.Implies(
		predicate.Comparison{Op: string(g.n.op), Value: g.n.value, Negated: g.not},
		predicate.Comparison{Op: string(h.n.op), Value: h.n.value, Negated: h.not})
}

// positive returns the comparison with a negated operator turned into a negation.
func positive(s signed) (Op, bool) {
	switch s.n.op {
	case Ne:
		return Eq, !s.not
	case Ge:
		return Lt, !s.not
	case Gt:
		return Le, !s.not
	}
	return s.n.op, s.not
}

// dependsOnCaller reports whether the rows of the node depend on the caller. [OwnerID] does not: nothing crosses
// owners.
func dependsOnCaller(n *node) bool {
	if !n.refs {
		return false
	}
	if n.kind == nodeLeaf {
		return n.value != OwnerID
	}
	for _, part := range n.parts {
		if dependsOnCaller(part) {
			return true
		}
	}
	return false
}

// size is an upper bound of the rows that a policy allows anywhere, put together. If it fits, they need not be
// evaluated to know that.
type size struct {
	nodes, items, depth int
	keys                int // number of different sets of forced values
	weight              int // of the heaviest of them
}

// fits reports whether no result can exceed the limits of a composed condition, maxPairs, maxForced, or maxDenials.
func (s size) fits() bool {
	return s.nodes <= composedLimits.nodes && s.items <= composedLimits.items && s.depth <= composedLimits.depth &&
		s.keys <= maxPairs && times(s.keys, s.weight) <= maxForced
}

// noLargerThan reports whether s exceeds other in no field, so that what is built on s is no larger either.
func (s size) noLargerThan(other size) bool {
	return s.nodes <= other.nodes && s.items <= other.items && s.depth <= other.depth && s.keys <= other.keys &&
		s.weight <= other.weight
}

// maxSize is where sizes saturate: far beyond every limit, and far below an overflow.
const maxSize = 1 << 30

func add(a, b int) int { return min(a+b, maxSize) }

func times(a, b int) int {
	if a != 0 && b > maxSize/a {
		return maxSize
	}
	return a * b
}

// conditionSize returns the size of one condition, without forced values.
func conditionSize(c Condition) size {
	if c.n == nil || c.n.kind == nodeEvery {
		return size{}
	}
	return size{nodes: c.n.count, items: c.n.items, depth: c.n.depth}
}

// or returns the size of the union of a and b.
func (a size) or(b size) size {
	return size{nodes: add(add(a.nodes, b.nodes), 1), items: add(a.items, b.items), depth: max(a.depth, b.depth) + 2,
		keys: add(a.keys, b.keys), weight: max(a.weight, b.weight)}
}

// and returns the size of the meet of a and b: each set of forced values of one with each of the other.
func (a size) and(b size) size {
	ka, kb := max(a.keys, 1), max(b.keys, 1)
	return size{
		nodes:  add(add(times(a.nodes, kb), times(b.nodes, ka)), times(ka, kb)),
		items:  add(times(a.items, kb), times(b.items, ka)),
		depth:  max(a.depth, b.depth) + 4,
		keys:   times(ka, kb),
		weight: add(a.weight, b.weight),
	}
}

// rulesSize is what one list of rules adds to the size of a result.
type rulesSize struct {
	gives  size // of its Allows and Grants
	takes  size // of its Denies, each with one Not
	denies int
	runs   int // of Allows and Grants behind a Deny
}

func (s *ruleset) measure() {
	plain := false // some rule forces nothing
	var forced map[string]bool
	heaviest, denied := 0, false
	for i := range s.rules {
		r := &s.rules[i]
		if r.verb != VerbDeny {
			if denied {
				s.size.runs++
			}
			denied = false
			heaviest = max(heaviest, weight(r.forced))
			s.size.gives = s.size.gives.beside(conditionSize(r.rows))
			switch {
			case r.key == "":
				plain = true
			case forced == nil:
				forced = map[string]bool{r.key: true}
			default:
				forced[r.key] = true
			}
			continue
		}
		denied = true
		c := conditionSize(r.neg)
		s.size.takes = s.size.takes.beside(c)
		s.size.denies++
	}
	s.size.gives.keys, s.size.gives.weight = len(forced), heaviest
	if plain {
		s.size.gives.keys++
	}
}

// beside returns the size of a list of conditions that will be parts of one group.
func (a size) beside(b size) size {
	return size{nodes: add(a.nodes, b.nodes), items: add(a.items, b.items), depth: max(a.depth, b.depth), keys: a.keys}
}

// after returns the size of the result after the rules, given the size before them. A Deny is repeated for each run of
// Grants between two Denies, in each set of forced values.
func (r *rulesSize) after(base size) size {
	s := base
	s.nodes, s.items = add(s.nodes, r.gives.nodes), add(s.items, r.gives.items)
	s.depth, s.keys = max(s.depth, r.gives.depth)+4, add(max(s.keys, 1), r.gives.keys)
	s.weight = max(s.weight, r.gives.weight)
	return s.less(r.takes, r.denies)
}

// less returns the size of a result after some Denies.
func (a size) less(takes size, denies int) size {
	if denies == 0 {
		return a
	}
	repeats := times(denies+1, max(a.keys, 1))
	a.nodes = add(add(a.nodes, times(takes.nodes, repeats)), times(2, repeats))
	a.items = add(a.items, times(takes.items, repeats))
	a.depth = max(a.depth, takes.depth) + 4
	return a
}

// size returns an upper bound of the results of the whole policy.
func (p *policy) size() size {
	of := make([]size, len(p.nodes))
	for at := range p.nodes { // inherited ones come first
		n := &p.nodes[at]
		if n.broken {
			continue
		}
		var base size
		for _, up := range n.inherits {
			base = base.or(of[up])
		}
		s := n.rules.size.after(base)
		if n.inheritDenies {
			for _, up := range p.ancestors(int32(at)) {
				if set := p.nodes[up].rules; set != nil {
					s = s.less(set.size.takes, set.size.denies)
				}
			}
		}
		of[at] = s
	}
	var whole size
	for i := range p.layers {
		l := &p.layers[i]
		var s size
		for _, at := range l.top {
			roleSize := of[at]
			if n := &p.nodes[at]; n.boundary != nil {
				var bounds size
				for _, up := range n.boundaries {
					bounds = bounds.or(p.nodes[up].boundary.size.after(size{}))
				}
				roleSize = roleSize.and(bounds)
			}
			s = s.or(roleSize)
		}
		if l.own != nil {
			s = l.own.size.after(s)
		}
		limit := conditionSize(l.rows)
		limit.weight = weight(l.forced)
		s = s.and(limit)
		if i == 0 {
			whole = s
		} else {
			whole = whole.and(s)
		}
	}
	whole.nodes = add(whole.nodes, 1)
	return whole
}

// countPatterns returns how many patterns of rules cover the resource of a question.
func (s *ruleset) countPatterns(q *question) (n int) {
	s.eachEntry(q, func(c *indexEntry) { n += int(c.positionCount) })
	return n
}
