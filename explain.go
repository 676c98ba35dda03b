package latchkey

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"
)

// Explanation describes why a decision is what it is. It is made for people and pages: to decide, call [Access.Check]
// and the methods beside it. Rules and conditions in it show their values.
type Explanation struct {
	Action   Action   `json:"action"`
	Resource Resource `json:"resource"`
	// ActionWords and ResourceName are what people call them, and Undeclared is why a host cannot have meant the question,
	// by Options.Catalogue. "": it says nothing.
	ActionWords  string    `json:"action_words,omitempty"`
	ResourceName string    `json:"resource_name,omitempty"`
	Undeclared   string    `json:"undeclared,omitempty"`
	Verdict      string    `json:"verdict"`          // "all" rows, "some" or "none"
	Rows         Condition `json:"rows"`             // the allowed rows, with references not filled in
	Grants       []Granted `json:"grants,omitempty"` // of an Access, with references in forced values filled in
	// Decided is the name of the layer that decided: the first that allows as little as the whole does.
	Decided string `json:"decided_by,omitempty"`
	Reason  string `json:"reason"` // one sentence
	// Layers are the steps of the chain, with what each allows by itself. All of them must allow.
	Layers []ExplainedLayer `json:"layers,omitempty"`
	// Missing are ids of roles of Options.Roles that the layers name or inherit and that this process lacks. The answer is
	// then that of this process only: one that has the roles may allow more. It is empty for an answer that is complete.
	Missing []string `json:"missing_roles,omitempty"`
}

// ExplainedLayer is one step of a chain: a token, one of those it was minted from, or the owner's boundary.
type ExplainedLayer struct {
	Name    string    `json:"name"`
	Full    bool      `json:"full,omitempty"` // its rules start from everything allowed
	Verdict string    `json:"verdict"`        // "all" rows, "some" or "none"
	Rows    Condition `json:"rows"`
	// Limit is the condition that the layer adds to everything; nil if none. Forced are the values that it forces into
	// creates.
	Limit  *Condition      `json:"limit,omitempty"`
	Forced Values          `json:"forced,omitempty"`
	Fault  string          `json:"fault,omitempty"` // if not "": why the layer is invalid and allows nothing
	Roles  []ExplainedRole `json:"roles,omitempty"` // inherited ones first
	// Rules are those that match: those of roles, in the order of Roles, then the layer's own.
	Rules []ExplainedRule `json:"rules,omitempty"`
}

// ExplainedRole is a role that a layer names, or that such a role inherits.
type ExplainedRole struct {
	ID        string `json:"id"`
	Name      string `json:"name,omitempty"`
	Inherited bool   `json:"inherited,omitempty"` // the layer does not name it
	Verdict   string `json:"verdict"`             // of its rules and the inherited ones: "all" rows, "some" or "none"
	Fault     string `json:"fault,omitempty"`     // if not "": why the role is invalid and gives nothing
	// Limit is what the boundary of the role lets through to the layer, if the layer names the role. Nil: no boundary.
	Limit *Condition `json:"limit,omitempty"`
	// Ends is until when the token of the layer has the role, and Ended whether that is past: the role gives nothing then.
	// Only [Account.Explain] sets them. Zero: no end.
	Ends  time.Time `json:"ends,omitzero"`
	Ended bool      `json:"ended,omitempty"`
	// SameName is the id of the role of Options.Roles whose name this stored role has, but for case and spaces. It is a
	// role from before that one; its name names both. "": none.
	SameName string `json:"same_name,omitempty"`
}

// ExplainedRule is a rule that names the action and covers the resource.
type ExplainedRule struct {
	Role     string `json:"role,omitempty"` // id; "": the layer's own rule
	RoleName string `json:"role_name,omitempty"`
	Position int    `json:"position"` // in its list, from 1
	Rule     string `json:"rule"`     // as Rule.String writes it
	// RepeatedBy is the role that applies this Deny of an inherited role once more, after its own rules (InheritDenies).
	RepeatedBy string `json:"repeated_by,omitempty"`
	// Replaced reports whether a later Allow, or a later Deny of every row, leaves nothing of the effect of the rule.
	Replaced bool `json:"replaced,omitempty"`
	// OverriddenBy are the roles that allow rows which this Deny removes: a Deny of a role applies to that role only.
	// Roles that inherit it and allow the rows after it are included.
	OverriddenBy []string `json:"overridden_by,omitempty"`
}

// explainOf returns why the decision about a question is what it is.
func (p *policy) explainOf(q *question) Explanation {
	e := Explanation{Action: q.action, Resource: Resource(q.on), Verdict: verdictNone.String()}
	switch {
	case q.action == Any:
		e.Reason = "* stands for any action in rules only: name one action"
	case !q.action.concrete():
		e.Reason = "an invalid action is always denied"
	case !e.Resource.valid():
		e.Reason = "an invalid resource is always denied"
	case p == nil || len(p.layers) == 0:
		e.Reason = "no rules apply"
	default:
		p.explainLayers(&e, q)
	}
	return e
}

func (p *policy) explainLayers(e *Explanation, q *question) {
	for i := range p.nodes {
		if n := &p.nodes[i]; n.missingHere() {
			e.Missing = append(e.Missing, n.id)
		}
	}
	known := make([]*[]grant, len(p.nodes))
	var gs []grant
	verdicts := make([]verdict, len(p.layers))
	empty := -1 // the layer after which nothing was left
	for i := range p.layers {
		l := &p.layers[i]
		layerGrants := p.layerGrants(l, known, q)
		if i == 0 {
			gs = layerGrants
		} else {
			gs = withoutFault(meet(gs, layerGrants))
		}
		if len(gs) == 0 && empty < 0 {
			empty = i
		}
		verdicts[i] = extent(rowsOf(layerGrants))
		x := p.explainLayer(l, known, q)
		x.Verdict, x.Rows = verdicts[i].String(), rowsOf(layerGrants)
		e.Layers = append(e.Layers, x)
	}
	whole := extent(rowsOf(gs))
	e.Verdict, e.Rows, e.Grants = whole.String(), rowsOf(gs), exportGrants(gs)
	at := slices.Index(verdicts, whole)
	if whole == verdictNone && q.action == Create && q.caller != nil && p.forcesRefs {
		if field, ref := p.unknownForced(*q); field != "" {
			e.Decided = e.Layers[empty].Name
			e.Reason = fmt.Sprintf("a rule forces field %q to %v, which the caller has no value for", field, ref)
			return
		}
	}
	switch {
	case whole == verdictNone && at < 0: // each allows something, but not the same
		e.Decided = e.Layers[empty].Name
		e.Reason = fmt.Sprintf("%s forces other values than the layers before it: no way is left that all allow",
			e.Decided)
		return
	case at < 0: // pairs of some and some cannot make all, nor can all and all make some, unless values disagree
		at = slices.Index(verdicts, slices.Min(verdicts))
	case whole == verdictAll:
		at = max(0, slices.IndexFunc(e.Layers, func(l ExplainedLayer) bool { return !l.Full }))
	}
	e.Decided = e.Layers[at].Name
	e.Reason = e.Layers[at].reason(whole)
}

// reason returns why a layer that decided allows this much.
func (l *ExplainedLayer) reason(v verdict) string {
	switch {
	case v == verdictAll && l.Full:
		return l.Name + " may do everything"
	case v == verdictAll:
		return l.Name + " allows every row, and no other layer allows less"
	case l.Fault != "":
		return fmt.Sprintf("%s allows nothing: %s", l.Name, l.Fault)
	case v == verdictSome:
		return l.Name + " allows some rows only"
	case l.Limit != nil && l.Limit.IsNoRows():
		return l.Name + " limits everything to no row"
	}
	for _, r := range slices.Backward(l.Rules) {
		if strings.HasPrefix(r.Rule, "deny ") && !r.Replaced {
			return fmt.Sprintf("%s: %s", l.Name, r.String())
		}
	}
	for _, r := range l.Roles {
		if r.Limit != nil && r.Limit.IsNoRows() && r.Verdict != verdictNone.String() {
			return fmt.Sprintf("%s: no rule allows it but those of role %s, whose boundary does not", l.Name, r.label())
		}
		if r.Fault != "" {
			return fmt.Sprintf("%s%s, and role %s gives nothing: %s", l.Name, noRule, r.label(), r.Fault)
		}
	}
	return l.Name + noRule
}

const noRule = ": no rule allows it"

// explainLayer describes a layer and which of its rules match.
func (p *policy) explainLayer(l *compiledLayer, known []*[]grant, q *question) ExplainedLayer {
	x := ExplainedLayer{Name: l.name, Full: l.full}
	if !l.rows.IsAllRows() && !l.broken {
		rows := l.rows
		x.Limit = &rows
	}
	if q.action == Create {
		x.Forced = maps.Clone(l.forced)
	}
	if err := l.fault(); err != nil {
		x.Fault = err.Error()
	}
	if !l.full {
		p.explainRoles(&x, l, known, q)
	}
	if l.own != nil {
		x.Rules = append(x.Rules, explainRules(l.own, q, false)...)
	}
	return x
}

// fault returns what is invalid about a layer, or nil.
func (l *compiledLayer) fault() error {
	switch {
	case !l.broken:
		return nil
	case l.own != nil && l.own.broken:
		return fmt.Errorf("its rules are invalid: %w", l.own.source.Validate())
	case l.rows.n != nil && l.rows.n.kind == nodeFault:
		return fmt.Errorf("its rows are invalid: %w", l.rows.n.fault)
	}
	return fmt.Errorf("%w: its forced values are invalid", ErrInvalid)
}

// fault returns what is invalid about the first invalid layer, which makes the whole policy allow nothing, or nil.
func (p *policy) fault() error {
	for i := range p.layers {
		if err := p.layers[i].fault(); err != nil {
			return fmt.Errorf("%s: %w", p.layers[i].name, err)
		}
	}
	return nil
}

func (p *policy) explainRoles(x *ExplainedLayer, l *compiledLayer, known []*[]grant, q *question) {
	lineage := make(map[int32][]int32) // of each role the layer reaches: itself and what it inherits
	for _, at := range l.top {
		lineage[at] = append(p.ancestors(at), at)
		for _, up := range lineage[at] {
			lineage[up] = append(p.ancestors(up), up)
		}
	}
	effective := p.effectiveRoles(l, lineage, q)
	for _, at := range slices.Sorted(maps.Keys(lineage)) {
		n := &p.nodes[at]
		role := ExplainedRole{
			ID: n.id, Name: n.name, Fault: n.why, Inherited: !slices.Contains(l.top, at),
			Verdict: extent(rowsOf(p.roleGrants(at, known, q))).String(),
		}
		if n.boundary != nil && !n.broken && !role.Inherited {
			limit := rowsOf(p.boundaryGrants(at, q))
			role.Limit = &limit
		}
		x.Roles = append(x.Roles, role)
		if n.broken {
			continue
		}
		for _, r := range explainRules(n.rules, q, !effective[at]) {
			r.Role, r.RoleName = n.id, n.name
			if rule := &n.rules.rules[r.Position-1]; rule.verb == VerbDeny {
				p.addOverriding(&r, rule.neg, at, l.top, lineage,
					func(role int32) []grant { return p.boundedGrants(role, known, q) })
				for _, heir := range slices.Sorted(maps.Keys(lineage)) {
					h := &p.nodes[heir]
					p.addOverriding(&r, rule.neg, at, h.inherits, lineage, func(role int32) []grant {
						return p.roleGrants(role, known, q)
					})
					if h.inheritDenies && !h.broken && heir != at && slices.Contains(lineage[heir], at) && r.RepeatedBy == "" {
						r.RepeatedBy = h.label()
					}
				}
			}
			x.Rules = append(x.Rules, r)
		}
	}
}

// addOverriding adds to a Deny the roles of one union that override it: those that allow what it removes. The Deny is
// of one of the roles, or of one that such a role inherits.
func (p *policy) addOverriding(r *ExplainedRule, neg Condition, at int32, union []int32, lineage map[int32][]int32,
	gives func(role int32) []grant) {
	if !slices.ContainsFunc(union, func(member int32) bool { return slices.Contains(lineage[member], at) }) {
		return
	}
	keeps := func(role int32) bool {
		w := subsumption{left: maxSteps / 1000}
		return w.implies(rowsOf(gives(role)), neg)
	}
	if !keeps(at) {
		return // a later rule of the role itself gives it back
	}
	for _, member := range union {
		label := p.nodes[member].label()
		if !keeps(member) && !slices.Contains(r.OverriddenBy, label) {
			r.OverriddenBy = append(r.OverriddenBy, label)
		}
	}
}

// effectiveRoles returns the roles whose rules still have an effect in the layer: no rule list between replaces it.
func (p *policy) effectiveRoles(l *compiledLayer, lineage map[int32][]int32, q *question) map[int32]bool {
	effective := make(map[int32]bool, len(lineage))
	if l.own == nil || !l.own.replacesAll(q) {
		for _, at := range l.top {
			effective[at] = true
		}
	}
	for _, at := range slices.Backward(slices.Sorted(maps.Keys(lineage))) { // heirs come after what they inherit
		n := &p.nodes[at]
		if effective[at] && !n.broken && !n.rules.replacesAll(q) {
			for _, up := range n.inherits {
				effective[up] = true
			}
		}
	}
	return effective
}

// replacesAll reports whether some rule leaves nothing of what was allowed before the list.
func (s *ruleset) replacesAll(q *question) bool {
	return slices.ContainsFunc(s.matching(q), func(i int32) bool { return s.rules[i].replacesAll() })
}

func (r *compiledRule) replacesAll() bool {
	return r.verb == VerbAllow || r.verb == VerbDeny && r.neg.IsNoRows()
}

// explainRules returns the rules of a list that match, in order.
func explainRules(s *ruleset, q *question, replaced bool) []ExplainedRule {
	var out []ExplainedRule
	for _, i := range slices.Backward(s.matching(q)) {
		out = append(out, ExplainedRule{Position: int(i) + 1, Rule: s.source[i].String(), Replaced: replaced})
		replaced = replaced || s.rules[i].replacesAll()
	}
	slices.Reverse(out)
	return out
}

func label(id, name string) string {
	if name == "" {
		return word(id)
	}
	return word(name) + " (" + word(id) + ")"
}

func (n *roleNode) label() string     { return label(n.id, n.name) }
func (r ExplainedRole) label() string { return label(r.ID, r.Name) }

// String returns the rule with its place in its list, and what other rules do to it.
func (r ExplainedRule) String() string {
	var b strings.Builder
	if r.Role != "" {
		b.WriteString("role " + label(r.Role, r.RoleName) + " ")
	}
	fmt.Fprintf(&b, "rule %d: %s", r.Position, r.Rule)
	if r.Replaced {
		b.WriteString(" — replaced by a later rule")
	}
	if r.RepeatedBy != "" {
		b.WriteString(" — applied once more by role " + r.RepeatedBy)
	}
	if len(r.OverriddenBy) > 0 {
		b.WriteString(" — overridden by role " + strings.Join(r.OverriddenBy, ", "))
	}
	return b.String()
}

// String returns the decision, the reason and every layer, as several lines.
func (e Explanation) String() string {
	var b strings.Builder
	b.WriteString(named(string(e.Action), e.ActionWords) + " on " + named(string(e.Resource), e.ResourceName))
	fmt.Fprintf(&b, ": %s\n", howMuch(e.Verdict, e.Rows))
	if e.Undeclared != "" {
		fmt.Fprintf(&b, "note that %s\n", e.Undeclared)
	}
	fmt.Fprintf(&b, "because %s\n", e.Reason)
	for _, id := range e.Missing {
		fmt.Fprintf(&b, "not complete: this process has no role %s\n", word(id))
	}
	for _, g := range e.Grants {
		if len(g.Forced) > 0 {
			fmt.Fprintf(&b, "a create writes %s where %s\n", forcedText(g.Forced), g.Rows)
		}
	}
	for _, l := range e.Layers {
		fmt.Fprintf(&b, "%s: %s\n", l.Name, howMuch(l.Verdict, l.Rows))
		if l.Fault != "" {
			fmt.Fprintf(&b, "  allows nothing: %s\n", l.Fault)
		}
		if l.Full {
			b.WriteString("  starts from everything\n")
		}
		for _, r := range l.Roles {
			if r.Fault != "" {
				fmt.Fprintf(&b, "  role %s gives nothing: %s\n", r.label(), r.Fault)
			} else if !r.Ends.IsZero() {
				fmt.Fprintf(&b, "  role %s is held until %s\n", r.label(), r.Ends.Format(time.RFC3339))
			}
			if r.SameName != "" {
				fmt.Fprintf(&b, "  role %s has the name of role %s\n", r.label(), word(r.SameName))
			}
			if r.Limit != nil && !r.Limit.IsAllRows() {
				fmt.Fprintf(&b, "  role %s gives, by its boundary, no more than %s\n", r.label(), *r.Limit)
			}
		}
		for _, r := range l.Rules {
			fmt.Fprintf(&b, "  %s\n", r)
		}
		if l.Limit != nil {
			fmt.Fprintf(&b, "  limited to %s\n", *l.Limit)
		}
		if len(l.Forced) > 0 {
			fmt.Fprintf(&b, "  a create writes %s\n", forcedText(l.Forced))
		}
	}
	return b.String()
}

// named returns a text with what people call it.
func named(text, name string) string {
	if name == "" {
		return word(text)
	}
	return word(text) + " (" + name + ")"
}

func howMuch(verdict string, rows Condition) string {
	switch verdict {
	case verdictAll.String():
		return "every row"
	case verdictSome.String():
		return "some rows: " + rows.String()
	}
	return "no"
}
