package latchkey

import (
	"slices"
	"sync/atomic"
	"time"
)

// layer is one step of a chain: a token (or rules without a token), or the owner's boundary.
type layer struct {
	name   string      // for Explain: the id of the token, or "owner boundary"
	full   bool        // starts from everything allowed, "latchkey/" included
	root   bool        // of a full layer: it is a secret key, which does not have Exceed
	roles  []string    // ids; rules are applied to the union of what the roles allow
	rules  Permissions // the layer's own
	rows   []Condition // AND-ed to every grant
	forced Values      // merged into every grant's forced values, for Create only
	// apart means that rows and forced are not here: each question brings those of its caller. See apartRights. Forces
	// says that there are forced values.
	apart, forces bool
	// ends says until when roles are held, in a layer that Access.Narrow adds. Those of tokens are in their records.
	ends map[string]time.Time
	// selfRoles is the value of SelfRoles in this layer: the roles of the token of the layer, not of the presented one.
	// Otherwise a minted token with other roles could do what its parent may not. Nil: SelfRoles is not filled in.
	selfRoles *selfRoles
}

// apartRights are the rows and the forced values of one token. They are kept beside what the token shares with others
// in a cache, because most minted tokens differ in them alone: so a thousand children of a key, each with the rows of
// its customer, have one compiled policy. The layer of the token in that policy is apart: it allows nothing in a
// question that does not bring them. They never change.
type apartRights struct {
	rows   Condition // valid
	forced Values    // canonical, without references; nil: none
	extent verdict   // of rows
	is     bool      // false: the token has none apart
}

// everything is what takes nothing away.
var everything = apartRights{rows: AllRows, extent: verdictAll, is: true}

// extentOf returns how much the rows admit: nothing if there are none.
func (r *apartRights) extentOf() verdict {
	if r == nil {
		return verdictNone
	}
	return r.extent
}

// in returns a layer with the rows and the forced values.
func (r *apartRights) in(l layer) layer {
	l.apart, l.forces = false, false
	if l.rows = nil; !r.rows.IsAllRows() {
		l.rows = []Condition{r.rows}
	}
	l.forced = r.forced
	return l
}

// equal reports whether both are the same.
func (r *apartRights) equal(o *apartRights) bool {
	return r.is == o.is && r.rows.Equal(o.rows) && forcedKey(r.forced) == forcedKey(o.forced)
}

// policy is a compiled chain of layers: what all of them allow together. It is immutable, but for what it remembers.
// A nil policy allows nothing.
type policy struct {
	layers []compiledLayer
	nodes  []roleNode // the roles that layers name, and those that they inherit, inherited ones first
	// paired reports whether more than one layer forces values, so that some pairs of their grants may disagree. Only then
	// does a verdict need the grants themselves. pairedCreate is the same for Create, where layer.forced counts too.
	paired, pairedCreate bool
	nested               bool                     // some role in compiledLayer.others inherits
	forcesRefs           bool                     // some rule forces a reference: the caller matters
	clientPatterns       bool                     // a pattern holds ClientSegment
	verdicts             atomic.Pointer[verdicts] // on prepared questions; nil: none was asked yet
	number               uint64                   // of no other policy
	apart                bool                     // some layer is apart
}

type compiledLayer struct {
	name   string
	broken bool // something in it is invalid: it allows nothing
	apart  bool // its rows and forced values come with the question, and it allows nothing in one without them
	full   bool
	root   bool
	top    []int32 // the roles of the layer, as indices of policy.nodes
	// union is the roles of top that a verdict can join, and others are the rest of top. Nil: there are none.
	union  *roleUnion
	others []int32
	own    *ruleset // nil: no rules
	rows   Condition
	extent verdict // of rows
	forced Values
	key    string
	roles  *selfRoles // nil: not filled in
}

// roleNode is a role in a policy.
type roleNode struct {
	id, name string
	// broken roles give nothing: they are missing, invalid, or part of a cycle. A role with InheritDenies that inherits a
	// broken one gives nothing either: what it should deny is not known. Fail-closed.
	broken        bool
	missing       bool   // broken because there is no such role
	why           string // why it is broken
	cyclic        bool
	incomplete    bool // it is broken, or a role that it inherits is
	inherits      []int32
	inheritDenies bool // Role.InheritDenies
	rules         *ruleset
	boundary      *ruleset // nil: none
	boundaries    []int32  // of a role with a boundary: itself and the inherited roles that have one
	// joins reports whether its rules, and those it inherits, can be part of a roleUnion.
	joins bool
}

// missingHere reports whether the role is one of Options.Roles that this process lacks.
func (n *roleNode) missingHere() bool { return n.missing && isCodeID(n.id) }

// newPolicy compiles a chain of layers. A missing role gives nothing, and neither does one that inherits itself.
func newPolicy(layers []layer, roles map[string]Role) *policy {
	return newPolicySharing(nil, layers, roles)
}

// newPolicySharing is newPolicy with lists of rules that other policies may hold. Lists may be nil.
func newPolicySharing(lists *roleLists, layers []layer, roles map[string]Role) *policy {
	b := policyBuilder{p: &policy{}, lists: lists, roles: roles, at: map[string]int32{}}
	forcing, forcingCreate := 0, 0
	for _, l := range layers {
		c := b.layer(l)
		if b.forces(c) {
			forcing++
			forcingCreate++
		}
		if len(c.forced) > 0 || l.forces {
			forcingCreate++
		}
		b.p.apart = b.p.apart || c.apart
		b.p.layers = append(b.p.layers, c)
	}
	b.p.paired, b.p.pairedCreate = forcing > 1, forcingCreate > 1
	b.p.forcesRefs = slices.ContainsFunc(b.p.rulesets(), func(s *ruleset) bool { return s.forcesRefs })
	b.p.clientPatterns, b.p.number = b.p.refersToClient(), policyNumbers.Add(1)
	return b.p
}

// with returns p with the rows and the forced values of own in their layer. P and own may be nil.
func (p *policy) with(own *apartRights) *policy {
	if p == nil || !p.apart || own == nil {
		return p
	}
	of := &policy{nodes: p.nodes, paired: p.paired, pairedCreate: p.pairedCreate, nested: p.nested,
		forcesRefs: p.forcesRefs, clientPatterns: p.clientPatterns, number: policyNumbers.Add(1)}
	of.layers = append(of.layers, p.layers...)
	for i := range of.layers {
		if l := &of.layers[i]; l.apart {
			l.apart, l.rows, l.extent, l.forced = false, own.rows, own.extent, own.forced
		}
	}
	return of
}

type policyBuilder struct {
	p      *policy
	lists  *roleLists
	roles  map[string]Role
	at     map[string]int32 // role id to node; underWay while the roles that it inherits are compiled
	unions []*roleUnion     // of the layers so far
}

const underWay = -1

func (b *policyBuilder) layer(l layer) compiledLayer {
	c := compiledLayer{name: l.name, full: l.full, root: l.root, rows: AllRows, extent: verdictAll, roles: l.selfRoles,
		apart: l.apart}
	if len(l.rules) > 0 {
		c.own = newRuleset(l.rules)
		c.broken = c.own.broken
	}
	for _, id := range l.roles {
		if n := b.node(id); !slices.Contains(c.top, n) {
			c.top = append(c.top, n)
		}
	}
	b.join(&c)
	if len(l.rows) > 0 {
		c.rows = allOf(l.rows...)
		c.extent = extent(c.rows)
		c.broken = c.broken || c.rows.n != nil && c.rows.n.kind == nodeFault
	}
	forced, err := normaliseValues(l.forced)
	if err != nil || forced.hasRefs() { // a mint fills references in: this record was not made by one
		c.broken = true
	} else if len(forced) > 0 {
		c.forced, c.key = forced, forcedKey(forced)
	}
	return c
}

// join finds the union of a layer and its other roles.
func (b *policyBuilder) join(c *compiledLayer) {
	var members []*ruleset
	var shapes []shape
	known := make([]bool, len(b.p.nodes)) // those whose rules are members
	for _, at := range c.top {
		n := &b.p.nodes[at]
		if n.joins && n.boundary == nil {
			more, all := b.unknown(at, known), shapes
			for _, up := range more {
				all = withShapes(all, b.p.nodes[up].rules.shapes)
			}
			if len(all) <= maxPatternShapes {
				for _, up := range more {
					members = append(members, b.p.nodes[up].rules)
				}
				shapes = all
				continue
			}
			// The rules of more are asked with the role, so no later role needs them as members.
		}
		c.others = append(c.others, at)
		b.p.nested = b.p.nested || len(n.inherits) > 0
	}
	if len(members) == 0 {
		return
	}
	for _, u := range b.unions {
		if slices.Equal(u.members, members) {
			c.union = u // a mint often names the roles of its parent
			return
		}
	}
	c.union = newRoleUnion(members)
	b.unions = append(b.unions, c.union)
}

// unknown returns a role and those that it inherits, without broken and known ones. It makes them known.
func (b *policyBuilder) unknown(at int32, known []bool) []int32 {
	n := &b.p.nodes[at]
	if known[at] || n.broken {
		return nil
	}
	known[at] = true
	var out []int32
	for _, up := range n.inherits {
		out = append(out, b.unknown(up, known)...)
	}
	return append(out, at)
}

// node returns the index of a role in policy.nodes. The roles that it inherits come before it.
func (b *policyBuilder) node(id string) int32 {
	if at, ok := b.at[id]; ok && at != underWay {
		return at
	}
	role, ok := b.roles[id]
	n := roleNode{id: id, name: role.Name, inheritDenies: role.InheritDenies}
	if !ok {
		n.broken, n.missing, n.why = true, true, "no such role"
		if isCodeID(id) {
			n.why = "this process has no role " + word(id)
		}
	} else {
		b.at[id] = underWay
		for _, parent := range role.Inherits {
			if b.at[parent] == underWay {
				n.cyclic = true
				continue
			}
			at := b.node(parent)
			n.inherits = append(n.inherits, at)
			p := &b.p.nodes[at]
			n.cyclic = n.cyclic || p.cyclic
			if n.incomplete = n.incomplete || p.incomplete; n.incomplete && n.inheritDenies {
				n.broken, n.why = true, "it inherits the denies of a role that is missing or invalid"
			}
		}
		n.rules = b.lists.ruleset(roleList{role: id}, role.Permissions)
		if role.Boundary != nil {
			n.boundary = b.lists.ruleset(roleList{role: id, boundary: true}, role.Boundary)
		}
		switch {
		case n.cyclic:
			n.broken, n.why = true, "its inheritance has a cycle"
		case n.rules.broken:
			n.broken, n.why = true, "it holds an invalid rule: "+n.rules.source.Validate().Error()
		case n.boundary != nil && n.boundary.broken:
			n.broken, n.why = true, "its boundary holds an invalid rule: "+n.boundary.source.Validate().Error()
		case n.boundary != nil && n.boundary.forces:
			n.broken, n.why = true, "its boundary forces values, which only its rules may do"
		}
	}
	n.incomplete = n.incomplete || n.broken
	n.joins = !n.broken && n.rules.plain && (n.rules.adding || len(n.inherits) == 0) &&
		!slices.ContainsFunc(n.inherits, func(up int32) bool { return !b.p.nodes[up].broken && !b.p.nodes[up].joins })
	b.p.nodes = append(b.p.nodes, n)
	at := int32(len(b.p.nodes) - 1)
	b.at[id] = at
	if n.boundary != nil && !n.broken {
		b.p.nodes[at].boundaries = slices.DeleteFunc(append(b.p.ancestors(at), at), func(up int32) bool {
			return b.p.nodes[up].broken || b.p.nodes[up].boundary == nil
		})
	}
	return at
}

// forces reports whether some grant of the layer may force values.
func (b *policyBuilder) forces(c compiledLayer) bool {
	if c.own != nil && c.own.forces {
		return true
	}
	seen := make([]bool, len(b.p.nodes))
	var visit func(at int32) bool
	visit = func(at int32) bool {
		if seen[at] {
			return false
		}
		seen[at] = true
		n := &b.p.nodes[at]
		return n.rules != nil && n.rules.forces || slices.ContainsFunc(n.inherits, visit)
	}
	return slices.ContainsFunc(c.top, visit)
}

// refersToCaller reports whether a verdict depends on the caller.
func (p *policy) refersToCaller() bool { return p != nil && (p.forcesRefs || p.clientPatterns) }

// verdictOf returns how much is allowed: verdictAll exactly when rowsFor admits every row. An invalid resource, an
// invalid action and Any get verdictNone. It does not allocate, unless the chain holds over 256 roles, or several
// layers that force values.
func (p *policy) verdictOf(q *question) verdict {
	if p == nil || len(q.on) > maxResource {
		return verdictNone
	}
	if p.mayDisagree(q.action) {
		return extent(p.rowsFor(q))
	}
	var v verdict
	if p.nested {
		v = p.fastVerdict(q)
	} else {
		v = p.fastVerdictWith(nil, q)
	}
	if v != verdictNone && !q.valid() { // last: a resource that a rule names is valid
		return verdictNone
	}
	return v
}

// verdicts are those on some prepared questions. Each slot takes the first question that falls on it, and keeps
// it: the number of the question, and the verdict plus 1 in the lowest two bits. 0: none yet. They are safe for
// concurrent use.
type verdicts [32]atomic.Uint32

// remembered is verdictOf for a prepared question, of a policy that does not refer to the caller, and for what the
// caller has apart.
func (p *policy) remembered(q *question, apart *apartRights) verdict {
	switch {
	case p == nil:
		return verdictNone
	case p.apart && p.mayDisagree(q.action):
		with := *q
		with.apart = apart
		return p.verdictOf(&with)
	case p.apart:
		return min(p.rememberedOf(q), apart.extentOf())
	}
	return p.rememberedOf(q)
}

// rememberedOf is remembered without what a caller has apart.
func (p *policy) rememberedOf(q *question) verdict {
	known := p.verdicts.Load()
	if known == nil {
		p.verdicts.CompareAndSwap(nil, new(verdicts))
		known = p.verdicts.Load()
	}
	slot := &known[q.number%uint32(len(known))]
	at := slot.Load()
	if at>>2 == q.number && at != 0 {
		return verdict(at&3 - 1)
	}
	var v verdict
	if p.apart {
		with := *q
		with.apart = &everything
		v = p.verdictOf(&with)
	} else {
		v = p.verdictOf(q)
	}
	if at == 0 && q.number != 0 {
		slot.CompareAndSwap(0, q.number<<2|uint32(v+1))
	}
	return v
}

// mayDisagree reports whether a verdict needs the grants themselves. It does for [Exceed] and [Give], because the rule
// effects that fastVerdict reads count rules of [Any] for every action.
func (p *policy) mayDisagree(a Action) bool {
	return p.paired || (p.pairedCreate || p.forcesRefs) && a == Create || a.named()
}

// fastVerdict is verdictOf for a valid action and resource, and layers whose grants cannot disagree. For others it may
// return anything.
func (p *policy) fastVerdict(q *question) verdict {
	switch {
	case !p.nested:
		return p.fastVerdictWith(nil, q)
	case len(p.nodes) <= 16:
		var known [16]roleResult
		return p.fastVerdictWith(known[:], q)
	case len(p.nodes) <= 256:
		return p.fastVerdictOfMany(q)
	}
	return p.fastVerdictWith(make([]roleResult, len(p.nodes)), q)
}

// fastVerdictOfMany is a function of its own because few roles should not pay for clearing its space.
func (p *policy) fastVerdictOfMany(q *question) verdict {
	var known [256]roleResult
	return p.fastVerdictWith(known[:], q)
}

// roleResult is the cached verdict of a role in one decision. denied is how much its Denies and those of the roles it
// inherits remove.
type roleResult struct {
	computed      bool
	gives, denied verdict
}

func (p *policy) fastVerdictWith(known []roleResult, q *question) verdict {
	if len(p.layers) == 0 {
		return verdictNone
	}
	v := verdictAll
	for i := range p.layers {
		if v = min(v, p.layerVerdict(&p.layers[i], known, q)); v == verdictNone {
			break
		}
	}
	return v
}

func (p *policy) layerVerdict(l *compiledLayer, known []roleResult, q *question) verdict {
	if l.broken {
		return verdictNone
	}
	v := verdictNone
	switch {
	case l.full:
		v = verdictAll
	case l.union != nil:
		v = l.union.verdict(q)
	}
	for _, at := range l.others {
		if v == verdictAll {
			break
		}
		v = max(v, min(p.roleVerdict(at, known, q).gives, p.boundaryVerdict(at, q)))
	}
	if l.own != nil {
		v = l.own.after(v, q)
	}
	if l.apart {
		return min(v, q.apart.extentOf())
	}
	return min(v, l.extent)
}

// roleVerdict returns the result of one role. known is nil if no role inherits: computing a result twice then costs no
// more than a cache.
func (p *policy) roleVerdict(at int32, known []roleResult, q *question) roleResult {
	n := &p.nodes[at]
	if known == nil && !n.broken {
		return roleResult{gives: n.rules.gives(q)}
	}
	if known == nil {
		return roleResult{}
	}
	if known[at].computed {
		return known[at]
	}
	r := roleResult{computed: true}
	if n.broken {
		r.denied = verdictAll
		known[at] = r
		return r
	}
	for _, parent := range n.inherits {
		from := p.roleVerdict(parent, known, q)
		r.gives = max(r.gives, from.gives)
		r.denied = max(r.denied, from.denied)
	}
	t := n.rules.effect(q)
	r.gives = t.apply(r.gives)
	if n.inheritDenies {
		switch r.denied {
		case verdictAll:
			r.gives = verdictNone
		case verdictSome:
			r.gives = min(r.gives, verdictSome)
		}
	}
	r.denied = max(r.denied, t.denied)
	known[at] = r
	return r
}

// boundaryVerdict returns how much a role's boundary lets through; verdictAll without a boundary.
func (p *policy) boundaryVerdict(at int32, q *question) verdict {
	n := &p.nodes[at]
	if n.boundary == nil {
		return verdictAll
	}
	v := verdictNone
	for _, up := range n.boundaries {
		v = max(v, p.nodes[up].boundary.gives(q))
	}
	return v
}

// grantsOf returns the grants of the chain: the pairs of what its layers grant. Pairs whose forced values disagree, and
// pairs that admit no row, are dropped. Grants that force the same values are joined. References are not filled in.
//
// With question.caller, references in forced values are filled in before they are compared. Those in rows are not.
func (p *policy) grantsOf(q *question) []grant {
	if p == nil || !q.valid() {
		return nil
	}
	return withoutFault(p.evaluate(q))
}

// rowsFor returns the rows that are allowed: those of all grants, OR-ed. References are not filled in.
func (p *policy) rowsFor(q *question) Condition { return rowsOf(p.grantsOf(q)) }

// evaluate is grantsOf for a valid action and resource. If they are too many, it returns a fault.
func (p *policy) evaluate(q *question) []grant {
	known := make([]*[]grant, len(p.nodes))
	var gs []grant
	for i := range p.layers {
		layerGrants := p.layerGrants(&p.layers[i], known, q)
		if i == 0 {
			gs = layerGrants
		} else {
			gs = meet(gs, layerGrants)
		}
		if len(gs) == 0 {
			return nil
		}
	}
	return gs
}

// layerGrants returns what a layer grants.
func (p *policy) layerGrants(l *compiledLayer, known []*[]grant, q *question) []grant {
	if l.broken {
		return nil
	}
	var gs []grant
	switch {
	case l.full && l.root && q.action == Exceed:
	case l.full:
		gs = []grant{{rows: AllRows}}
	default:
		gs = p.boundedUnion(l.top, known, q)
	}
	if l.own != nil {
		gs = l.own.apply(gs, q)
	}
	if p.forcesRefs && q.caller != nil {
		gs = fillForced(gs, q.action, q.caller) // first: the layer itself may force the same value
	}
	return l.fillSelfRoles(l.limit(gs, q))
}

// fillForced fills in the references in forced values. For a create a grant with one that has no value is dropped: what
// it would write is not known. For other actions, which write none, the reference stays, and agrees with itself only.
func fillForced(gs []grant, a Action, caller refValues) []grant {
	if !slices.ContainsFunc(gs, func(g grant) bool { return g.forced.hasRefs() }) {
		return gs
	}
	var set grantSet
	for _, g := range gs {
		forced, missing := g.forced.resolve(caller)
		if missing == "" || a != Create {
			set.add(g.rows, forced, forcedKey(forced))
		}
	}
	return set.grants()
}

// unknownForced returns the first field, in a valid create, that a rule forces to a reference without a value, and that
// reference. It returns "" if there is none.
func (p *policy) unknownForced(q question) (field string, ref any) {
	caller := q.caller
	q.caller = nil
	known := make([]*[]grant, len(p.nodes))
	for i := range p.layers {
		for _, g := range p.layerGrants(&p.layers[i], known, &q) {
			if _, missing := g.forced.resolve(caller); missing != "" {
				return missing, g.forced[missing]
			}
		}
	}
	return "", nil
}

// fillSelfRoles fills in SelfRoles, and leaves other references for the caller.
func (l *compiledLayer) fillSelfRoles(gs []grant) []grant {
	if l.roles == nil || !slices.ContainsFunc(gs, func(g grant) bool { return g.rows.hasRefs() }) {
		return gs
	}
	var set grantSet
	for _, g := range gs {
		set.add(g.rows.resolve(func(v any) (any, bool) {
			if v == SelfRoles {
				return l.roles, true
			}
			return v, true
		}), g.forced, forcedKey(g.forced))
	}
	return set.grants()
}

// limit adds the rows of the layer, and for a create its forced values, to what its roles and rules grant.
func (l *compiledLayer) limit(gs []grant, q *question) []grant {
	rows, forced, extent := l.rows, l.forced, l.extent
	if l.apart {
		if q.apart == nil {
			return nil
		}
		rows, forced, extent = q.apart.rows, q.apart.forced, q.apart.extent
	}
	if q.action != Create {
		forced = nil
	}
	if len(forced) == 0 && extent == verdictAll {
		return gs
	}
	return meet(gs, []grant{{rows, forced}})
}

// roleGrants is roleVerdict with the grants.
func (p *policy) roleGrants(at int32, known []*[]grant, q *question) []grant {
	if known[at] != nil {
		return *known[at]
	}
	n := &p.nodes[at]
	var gs []grant
	if !n.broken {
		gs = n.rules.apply(p.union(n.inherits, known, q), q)
		if n.inheritDenies && len(gs) > 0 {
			var set grantSet
			set.addAll(gs)
			for _, ancestor := range p.ancestors(at) {
				for _, neg := range p.nodes[ancestor].rules.denials(q) {
					set.deny(neg)
				}
			}
			gs = set.grants()
		}
	}
	known[at] = &gs
	return gs
}

// boundaryGrants is boundaryVerdict with the grants.
func (p *policy) boundaryGrants(at int32, q *question) []grant {
	n := &p.nodes[at]
	if n.boundary == nil {
		return []grant{{rows: AllRows}}
	}
	var set grantSet
	for _, up := range n.boundaries {
		set.addAll(p.nodes[up].boundary.apply(nil, q))
	}
	return set.grants()
}

// boundedGrants returns what a role grants to a token that names it: its grants within its boundary.
func (p *policy) boundedGrants(at int32, known []*[]grant, q *question) []grant {
	gs := p.roleGrants(at, known, q)
	if p.nodes[at].boundary == nil {
		return gs
	}
	return meet(gs, p.boundaryGrants(at, q))
}

// boundedUnion returns what roles together grant to a token that names them: the union of each within its boundary.
func (p *policy) boundedUnion(roles []int32, known []*[]grant, q *question) []grant {
	if !slices.ContainsFunc(roles, func(at int32) bool { return p.nodes[at].boundary != nil }) {
		return p.union(roles, known, q)
	}
	var set grantSet
	for _, at := range roles {
		set.addAll(p.boundedGrants(at, known, q))
	}
	return set.grants()
}

// ancestors returns the roles that an unbroken role inherits, directly or not, each once.
func (p *policy) ancestors(at int32) []int32 {
	var out []int32
	seen := make([]bool, len(p.nodes))
	var visit func(int32)
	visit = func(at int32) {
		for _, parent := range p.nodes[at].inherits {
			if !seen[parent] {
				seen[parent] = true
				visit(parent)
				out = append(out, parent)
			}
		}
	}
	visit(at)
	return out
}

// union returns what the rules of some roles grant together, without their boundaries.
func (p *policy) union(roles []int32, known []*[]grant, q *question) []grant {
	if len(roles) == 1 {
		return p.roleGrants(roles[0], known, q)
	}
	var set grantSet
	for _, at := range roles {
		set.addAll(p.roleGrants(at, known, q))
	}
	return set.grants()
}

// verdict is how much is allowed. A greater verdict allows more.
type verdict uint8

const (
	verdictNone verdict = iota
	verdictSome         // some rows
	verdictAll          // every row
)

func (v verdict) String() string { return [...]string{"none", "some", "all"}[v] }

// extent returns how much a condition admits. A condition that happens to admit every row, or none, still counts as
// some.
func extent(c Condition) verdict {
	switch {
	case c.IsAllRows():
		return verdictAll
	case c.IsNoRows():
		return verdictNone
	}
	return verdictSome
}

const boundaryLayer = "owner boundary" // no token id has this form
