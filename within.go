package latchkey

import "strings"

// within says whether whatever p allows, q allows too, rows and forced values included. Yes is certain; no may only mean
// that it was not seen. It asks both about one resource of each kind that any of their patterns can tell from the rest,
// and about each action that a rule names, and one that none does: what holds for those holds for all.
//
// The two are not taken to be asked by the same caller: a condition on [Self], [SelfRoles] or [ClientID] lies within
// every row only.
func (p *policy) within(q *policy) bool {
	if p == nil || q.everything() {
		return true
	}
	if q == nil {
		q = &policy{}
	}
	w := comparison{left: maxSteps}
	unforced := !q.forcing()
	actions, resources := distinguished(p, q)
	for _, a := range actions {
		for on := range resources {
			if !p.mayDisagree(a) && p.quick(a, on) == verdictNone {
				continue
			}
			if unforced && q.quick(a, on) == verdictAll {
				continue
			}
			if !w.covered(p.meet(a, on), q.meet(a, on)) {
				return false
			}
		}
	}
	return true
}

// everything says whether q visibly allows everything.
func (p *policy) everything() bool {
	if p == nil || len(p.layers) == 0 {
		return false
	}
	for i := range p.layers {
		l := &p.layers[i]
		if l.broken || !l.full || l.own != nil || l.extent != verdictAll || len(l.forced) > 0 {
			return false
		}
	}
	return true
}

// forcing says whether anything in p forces values.
func (p *policy) forcing() bool {
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
		for _, set := range []*ruleset{p.nodes[i].set, p.nodes[i].boundary} {
			if set != nil {
				sets = append(sets, set)
			}
		}
	}
	return sets
}

// fresh is a segment, and an action, that no valid pattern or rule holds.
const fresh = "\x00"

// distinguished returns the actions and resources that stand for all others.
func distinguished(policies ...*policy) ([]Action, map[string]struct{}) {
	actions := []Action{fresh, Create}
	known := map[Action]bool{Create: true}
	resources := map[string]struct{}{fresh: {}, reserved + fresh: {}}
	for _, p := range policies {
		for _, s := range p.rulesets() {
			for _, a := range s.actions {
				if !known[a] {
					known[a] = true
					actions = append(actions, a)
				}
			}
			for key := range s.cells {
				if key == "" || strings.HasSuffix(key, "/") {
					key += fresh
				}
				resources[key] = struct{}{}
			}
		}
	}
	return actions, resources
}

// maxSteps bounds the work of one comparison; what was not decided by then is a no.
const maxSteps = 2_000_000

// comparison decides which conditions lie within which.
type comparison struct{ left int }

// covered says whether the grants of hs allow all that those of gs do. A row written by g holds g's forced values; some
// h must let it stand as it is, so h may force nothing but what g forces alike.
func (w *comparison) covered(gs, hs []grant) bool {
	for _, g := range gs {
		var rows []Condition
		for _, h := range hs {
			if subset(h.forced, g.forced) {
				rows = append(rows, h.rows)
			}
		}
		if len(rows) == 0 || !w.implies(g.rows, either(rows)) {
			return false
		}
	}
	return true
}

func subset(h, g Values) bool {
	for name, v := range h {
		if other, ok := g[name]; !ok || valueKey(other) != valueKey(v) {
			return false
		}
	}
	return true
}

// implies says whether every row that g admits is admitted by h.
func (w *comparison) implies(g, h Condition) bool {
	switch {
	case g.IsNoRows(), h.IsAllRows():
		return true
	case h.IsNoRows(), g.IsAllRows():
		return false
	case g.n.kind == nodeFault:
		return true // admits nothing
	case h.n.kind == nodeFault:
		return false
	}
	return w.follows(signed{g.n, false}, signed{h.n, false})
}

// signed is a node or its negation.
type signed struct {
	n   *node
	not bool
}

// plain takes the negations off the front.
func (s signed) plain() signed {
	for s.n.kind == nodeNot {
		s = signed{s.n.parts[0], !s.not}
	}
	return s
}

// is says whether s is a group of this kind; a negated group is one of the other kind, of negated parts.
func (s signed) is(kind nodeKind) bool {
	if s.not {
		kind = nodeAll + nodeAny - kind
	}
	return s.n.kind == kind
}

func (w *comparison) follows(g, h signed) bool {
	if w.left--; w.left < 0 {
		return false
	}
	g, h = g.plain(), h.plain()
	switch {
	case g.n.kind == nodeNever:
		return true
	case h.n.kind == nodeNever:
		return false
	case g.not == h.not && sameNode(g.n, h.n):
		return !asksWho(g.n)
	case g.is(nodeAny):
		return g.every(func(part signed) bool { return w.follows(part, h) })
	case h.is(nodeAll):
		return h.every(func(part signed) bool { return w.follows(g, part) })
	}
	if h.is(nodeAny) && !h.every(func(part signed) bool { return !w.follows(g, part) }) {
		return true
	}
	if g.is(nodeAll) && !g.every(func(part signed) bool { return !w.follows(part, h) }) {
		return true
	}
	return g.n.kind == nodeLeaf && h.n.kind == nodeLeaf && leafFollows(g, h)
}

// every says whether f holds for all parts of a group.
func (s signed) every(f func(signed) bool) bool {
	for _, part := range s.n.parts {
		if !f(signed{part, s.not}) {
			return false
		}
	}
	return true
}

// leafFollows knows two things: a comparison and the negation of its opposite are one, and of two lists the longer one
// admits more. Values are compared as they are: equal ones stay equal whatever type a schema gives them.
func leafFollows(g, h signed) bool {
	if asksWho(g.n) || asksWho(h.n) || g.n.field != h.n.field {
		return false
	}
	gop, gnot := positive(g)
	hop, hnot := positive(h)
	if gnot != hnot {
		return false
	}
	gv, hv := g.n.value, h.n.value
	if gnot {
		gop, hop, gv, hv = hop, gop, hv, gv // not x lies within not y when y lies within x
	}
	if gop == hop && sameValue(gv, hv) {
		return true
	}
	list, ok := hv.([]any)
	if hop != In || !ok {
		return false
	}
	switch gop {
	case Eq:
		return holds(list, gv)
	case In:
		items, ok := gv.([]any)
		if !ok {
			return false
		}
		for _, v := range items {
			if !holds(list, v) {
				return false
			}
		}
		return true
	}
	return false
}

func holds(list []any, v any) bool {
	for _, x := range list {
		if x == v {
			return true
		}
	}
	return false
}

// positive is the comparison with negated operators turned into negations.
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

// asksWho says whether the node depends on who is asking. [OwnerID] does not: nothing crosses owners.
func asksWho(n *node) bool {
	if !n.refs {
		return false
	}
	if n.kind == nodeLeaf {
		return n.value != OwnerID
	}
	for _, part := range n.parts {
		if asksWho(part) {
			return true
		}
	}
	return false
}
