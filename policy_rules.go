package latchkey

import (
	"slices"
	"strings"
)

// compiledRule is a rule with what every evaluation would compute again.
type compiledRule struct {
	verb   Verb
	rows   Condition
	neg    Condition // of a Deny: the rows that it keeps
	forced Values
	key    string
}

func compileRule(r Rule) compiledRule {
	c := compiledRule{verb: r.verb, rows: r.rows, forced: r.forced, key: forcedKey(r.forced)}
	if r.verb == VerbDeny {
		c.neg = not(r.rows)
	}
	return c
}

// ruleset is a compiled Permissions list. It is immutable, and shared by all that hold the same list. A decision costs
// one map look-up for the resource, one for each ancestor whose depth has a "p/*" pattern, and one for "*". The number
// of rules does not matter.
type ruleset struct {
	broken    bool // a rule is invalid, so the list gives nothing. Fail-closed: that rule may have been a Deny
	source    Permissions
	rules     []compiledRule
	denies    bool // some rule is a Deny
	forces    bool // some rule forces values
	index     map[string]indexEntry
	effects   []ruleEffect
	positions []int32 // positions of rules, by index entry
	actions   []Action
	actionAt  map[Action]uint32 // index in actions, plus 1; nil while there are few
	exact     uint64            // bit n: a pattern of one resource of n slashes (63: 63 or more)
	under     uint64            // bit n: a pattern "p/*" where p has n slashes
	star      bool              // a pattern "*"
	size      rulesSize
}

// indexEntry holds the rules of one pattern. Its key is the resource, "p/" for "p/*", and "" for "*". Each key is a
// part of the requested resource, so that looking it up makes no string.
type indexEntry struct {
	firstEffect, effectCount     uint32 // start in ruleset.effects, and number; by action, Any (0) first
	firstPosition, positionCount uint32
}

// ruleEffect is the combined effect of the rules of one pattern on one action, so that a verdict needs no look at the
// rules. A rule resets if its result does not depend on the rules before it. After the last such rule a conditional
// Grant can only raise none to some, and a conditional Deny only lower all to some. Positions are of rules in the list,
// so the effects of several patterns combine by the later position. -1: none.
type ruleEffect struct {
	action  uint32
	reset   int32   // the last rule that resets: an Allow, or a Grant or Deny of every row
	grant   int32   // the last conditional Grant
	deny    int32   // the last conditional Deny
	settled verdict // after reset
	denied  verdict // how much the Denies remove, at any position: nothing, some rows, all
}

var noEffect = ruleEffect{reset: -1, grant: -1, deny: -1}

func (e *ruleEffect) join(o *ruleEffect) {
	if o.reset > e.reset {
		e.reset, e.settled = o.reset, o.settled
	}
	e.grant = max(e.grant, o.grant)
	e.deny = max(e.deny, o.deny)
	e.denied = max(e.denied, o.denied)
}

// apply returns the verdict after the rules, given the verdict before them.
func (e *ruleEffect) apply(base verdict) verdict {
	if e.reset >= 0 {
		base = e.settled
	}
	switch {
	case base == verdictNone && e.grant > e.reset, base == verdictAll && e.deny > e.reset:
		return verdictSome
	}
	return base
}

// add adds the rule at a position, which must be later than all before.
func (e *ruleEffect) add(r *compiledRule, at int32) {
	if r.verb == VerbDeny {
		if r.neg.IsNoRows() {
			e.reset, e.settled, e.denied = at, verdictNone, verdictAll
		} else {
			e.deny, e.denied = at, max(e.denied, verdictSome)
		}
		return
	}
	switch rows := extent(r.rows); {
	case r.verb == VerbAllow || rows == verdictAll:
		e.reset, e.settled = at, rows
	case rows == verdictSome:
		e.grant = at
	}
}

const actionsByMap = 8

// newRuleset compiles a list.
func newRuleset(p Permissions) *ruleset {
	s := &ruleset{source: slices.Clone(p)}
	if s.source.Validate() != nil {
		s.broken = true
		return s
	}
	s.rules = make([]compiledRule, len(p))
	s.index = make(map[string]indexEntry, len(p))
	for i, r := range s.source {
		s.rules[i] = compileRule(r)
		s.denies = s.denies || r.verb == VerbDeny
		s.forces = s.forces || len(r.forced) > 0
		for _, pattern := range r.patterns {
			key := s.indexPattern(pattern)
			c := s.index[key]
			c.positionCount++
			s.index[key] = c
		}
	}
	var n uint32
	for key, c := range s.index {
		s.index[key] = indexEntry{firstPosition: n}
		n += c.positionCount
	}
	s.positions = make([]int32, n)
	for i, r := range s.source {
		for _, pattern := range r.patterns {
			key := indexKey(pattern)
			c := s.index[key]
			if c.positionCount > 0 && s.positions[c.firstPosition+c.positionCount-1] == int32(i) {
				continue // the rule names the pattern twice
			}
			s.positions[c.firstPosition+c.positionCount] = int32(i)
			c.positionCount++
			s.index[key] = c
		}
	}
	s.buildEffects()
	s.measure()
	return s
}

// buildEffects computes the effects of each index entry.
func (s *ruleset) buildEffects() {
	ids := map[Action]uint32{Any: 0}
	named := make([][]uint32, len(s.source)) // the actions of each rule
	for i, r := range s.source {
		named[i] = make([]uint32, 0, len(r.actions))
		for _, a := range r.actions {
			id, ok := ids[a]
			if !ok {
				id = uint32(len(ids))
				ids[a] = id
				s.actions = append(s.actions, a)
			}
			named[i] = append(named[i], id)
		}
	}
	if len(s.actions) > actionsByMap {
		s.actionAt = ids
	}
	at := make([]int32, len(ids)) // the effect of each action within this entry, plus 1
	for key, c := range s.index {
		c.firstEffect = uint32(len(s.effects))
		for _, i := range s.positions[c.firstPosition : c.firstPosition+c.positionCount] {
			for _, id := range named[i] {
				if at[id] == 0 {
					t := noEffect
					t.action = id
					s.effects = append(s.effects, t)
					at[id] = int32(len(s.effects))
				}
				s.effects[at[id]-1].add(&s.rules[i], i)
			}
		}
		effects := s.effects[c.firstEffect:]
		for _, t := range effects {
			at[t.action] = 0
		}
		slices.SortFunc(effects, func(a, b ruleEffect) int { return int(a.action) - int(b.action) })
		c.effectCount = uint32(len(effects))
		s.index[key] = c
	}
	s.effects = slices.Clip(s.effects)
}

func indexKey(p Pattern) string { return strings.TrimSuffix(string(p), "*") }

// indexPattern returns the key of a pattern in the index, and records the depth of such patterns.
func (s *ruleset) indexPattern(p Pattern) string {
	key := indexKey(p)
	switch slashes := strings.Count(key, "/"); {
	case key == "":
		s.star = true
	case strings.HasSuffix(key, "/"):
		s.under |= 1 << min(slashes-1, 63)
	default:
		s.exact |= 1 << min(slashes, 63)
	}
	return key
}

// actionID returns the number of an action in the effects; 0, which is that of Any, if no rule names it.
func (s *ruleset) actionID(a Action) uint32 {
	if s.actionAt != nil {
		return s.actionAt[a]
	}
	for i, x := range s.actions {
		if x == a {
			return uint32(i + 1)
		}
	}
	return 0
}

// addEntry joins the effect of an index entry on an action to t.
func (s *ruleset) addEntry(t *ruleEffect, key string, id uint32) {
	c, ok := s.index[key]
	if !ok {
		return
	}
	effects := s.effects[c.firstEffect : c.firstEffect+c.effectCount]
	if effects[0].action == 0 {
		t.join(&effects[0])
		effects = effects[1:]
	}
	if id == 0 {
		return
	}
	if len(effects) > 16 {
		i, ok := slices.BinarySearchFunc(effects, id, func(x ruleEffect, id uint32) int { return int(x.action) - int(id) })
		if ok {
			t.join(&effects[i])
		}
		return
	}
	for i := range effects {
		if effects[i].action == id {
			t.join(&effects[i])
			return
		}
	}
}

// effect returns the effect of all rules that match a and on, which must be valid. It does not allocate.
func (s *ruleset) effect(a Action, on string) ruleEffect {
	t := noEffect
	if len(s.index) == 0 {
		return t
	}
	id := s.actionID(a)
	if s.star && !strings.HasPrefix(on, reserved) {
		s.addEntry(&t, "", id)
	}
	depth := 0
	for i, left := 0, s.under; left != 0 && i < len(on); i++ {
		if on[i] != '/' {
			continue
		}
		bit := uint64(1) << min(depth, 63)
		if s.under&bit != 0 {
			s.addEntry(&t, on[:i+1], id)
		}
		if depth++; depth < 63 {
			left = s.under >> depth
		}
	}
	if s.exact != 0 && s.exact&(1<<min(strings.Count(on, "/"), 63)) != 0 {
		s.addEntry(&t, on, id)
	}
	return t
}

// matching returns the positions of the rules that match a and on, in order.
func (s *ruleset) matching(a Action, on string) []int32 {
	var out []int32
	gather := func(key string) {
		if c, ok := s.index[key]; ok {
			for _, i := range s.positions[c.firstPosition : c.firstPosition+c.positionCount] {
				if s.source[i].namesAction(a) {
					out = append(out, i)
				}
			}
		}
	}
	if s.star && !strings.HasPrefix(on, reserved) {
		gather("")
	}
	for i := range len(on) {
		if on[i] == '/' {
			gather(on[:i+1])
		}
	}
	gather(on)
	slices.Sort(out)
	return slices.Compact(out)
}

// apply returns the grants after the rules, given the grants before them.
func (s *ruleset) apply(base []grant, a Action, on string) []grant {
	matched := s.matching(a, on)
	if len(matched) == 0 {
		return base
	}
	var set grantSet
	set.addAll(base)
	for _, i := range matched {
		set.applyRule(s.rules[i])
	}
	return set.grants()
}

// denials returns the negated conditions of the Denies that match.
func (s *ruleset) denials(a Action, on string) []Condition {
	var denials []Condition
	if s.denies {
		for _, i := range s.matching(a, on) {
			if s.rules[i].verb == VerbDeny {
				denials = append(denials, s.rules[i].neg)
			}
		}
	}
	return denials
}
