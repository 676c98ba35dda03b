package latchkey

import (
	"cmp"
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

func compileRule(r *Rule) compiledRule {
	c := compiledRule{verb: r.verb, rows: r.rows, forced: r.forced, key: forcedKey(r.forced)}
	if r.verb == VerbDeny {
		c.neg = not(r.rows)
	}
	return c
}

// ruleset is a compiled Permissions list. It is immutable, and shared by all that hold the same list. A decision costs
// one look-up for the resource, one for each ancestor whose depth has a "p/*" pattern until one is found, and one for
// each [shape] of patterns. The number of rules does not matter.
type ruleset struct {
	broken bool // a rule is invalid, so the list gives nothing. Fail-closed: that rule may have been a Deny
	source Permissions
	rules  []compiledRule
	denies bool // some rule is a Deny
	forces bool // some rule forces values
	// forcesRefs reports whether some rule forces a reference.
	forcesRefs bool
	// plain reports whether the list, applied to nothing, gives what the greatest of its rules that match gives: none
	// takes back what one before it gave. Adding reports whether that holds also if it is applied to what other roles
	// give.
	plain, adding bool
	patternIndex
	effects   []ruleEffect
	positions []int32 // positions of rules, by index entry
	actions   []Action
	actionAt  map[Action]uint32 // index in actions, plus 1; nil while there are few
	shapes    []shape           // of the patterns with wildcards of one segment, in order
	size      rulesSize
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
	gives   verdict // what apply(verdictNone) returns, of the effect of one pattern
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

// fewEffects of one entry are searched from start to end.
const fewEffects = 16

// newRuleset compiles a list.
func newRuleset(p Permissions) *ruleset {
	s := &ruleset{source: slices.Clone(p)}
	if s.source.Validate() != nil {
		s.broken = true
		return s
	}
	statements := 0
	for i := range p {
		statements += len(p[i].patterns)
	}
	s.rules = make([]compiledRule, len(p))
	s.patternIndex = newPatternIndex(statements)
	s.plain, s.adding = true, true
	at := make([]int32, 0, statements)   // the entries of each rule, one after the other
	last := make([]int32, 0, statements) // the last rule of each entry, plus 1
	given := false                       // some rule so far gives every row
	for i := range s.source {
		r := &s.source[i]
		s.rules[i] = compileRule(r)
		s.denies = s.denies || r.verb == VerbDeny
		s.forces = s.forces || len(r.forced) > 0
		s.forcesRefs = s.forcesRefs || r.forced.hasRefs()
		all := extent(r.rows) == verdictAll
		some := extent(r.rows) == verdictSome
		s.adding = s.adding && (r.verb == VerbGrant || r.verb == VerbAllow && all)
		s.plain = s.plain && (r.verb == VerbGrant || r.verb == VerbAllow && (all || some && !given))
		given = given || all
		add := func(key string, kind keyKind) {
			e := s.insert(key, kind)
			if int(e) == len(last) {
				last = append(last, 0)
			}
			if last[e] == int32(i+1) {
				e = -1 // the rule names the pattern twice
			} else {
				last[e] = int32(i + 1)
				s.entries[e].positionCount++
			}
			at = append(at, e)
		}
		for _, pattern := range r.patterns {
			key, kind := s.indexPattern(pattern)
			add(key, kind)
			if key, ok := denyKey(pattern, key, r.verb); ok {
				add(key, kind)
			}
		}
		at = append(at, ruleEnd)
	}
	s.shapes = slices.Clip(s.shapes)
	s.seal()
	s.buildPositions(at)
	s.buildEffects()
	s.indexShapes()
	s.measure()
	return s
}

// ruleEnd stands between the entries of two rules.
const ruleEnd = -2

// buildPositions fills in the positions of each entry, given the entries of each rule.
func (s *ruleset) buildPositions(at []int32) {
	var n uint32
	for i := range s.entries {
		e := &s.entries[i]
		e.firstPosition = n
		n += e.positionCount
		e.positionCount = 0
	}
	s.positions = make([]int32, n)
	rule := int32(0)
	for _, entry := range at {
		switch {
		case entry == ruleEnd:
			rule++
		case entry >= 0:
			e := &s.entries[entry]
			s.positions[e.firstPosition+e.positionCount] = rule
			e.positionCount++
		}
	}
}

// buildEffects computes the effects of each index entry.
func (s *ruleset) buildEffects() {
	ids := map[Action]uint32{Any: 0}
	total := 0
	for i := range s.source {
		total += len(s.source[i].actions)
	}
	named, end := make([]uint32, 0, total), make([]uint32, len(s.source)) // the actions of each rule
	for i := range s.source {
		for _, a := range s.source[i].actions {
			id, ok := ids[a]
			if !ok {
				id = uint32(len(ids))
				ids[a] = id
				s.actions = append(s.actions, a)
			}
			named = append(named, id)
		}
		end[i] = uint32(len(named))
	}
	s.setActions(ids)
	w := effectWriter{s, make([]int32, len(ids))}
	s.effects = make([]ruleEffect, 0, len(s.entries))
	for i := range s.entries {
		e := &s.entries[i]
		e.firstEffect = uint32(len(s.effects))
		for _, at := range s.positions[e.firstPosition : e.firstPosition+e.positionCount] {
			from := uint32(0)
			if at > 0 {
				from = end[at-1]
			}
			for _, id := range named[from:end[at]] {
				w.of(id).add(&s.rules[at], at)
			}
		}
		w.finish(e)
	}
	s.effects = slices.Clip(s.effects)
}

// setActions keeps the numbers of the actions, if a search among a few names would be slower.
func (s *ruleset) setActions(ids map[Action]uint32) {
	if len(s.actions) > actionsByMap {
		s.actionAt = ids
	}
}

// effectWriter appends the effects of one entry after the other.
type effectWriter struct {
	s  *ruleset
	at []int32 // the effect of each action within this entry, plus 1
}

// of returns the effect of this entry on an action.
func (w *effectWriter) of(id uint32) *ruleEffect {
	if w.at[id] == 0 {
		t := noEffect
		t.action = id
		w.s.effects = append(w.s.effects, t)
		w.at[id] = int32(len(w.s.effects))
	}
	return &w.s.effects[w.at[id]-1]
}

// finish ends the entry e, whose first effect is known.
func (w *effectWriter) finish(e *indexEntry) {
	effects := w.s.effects[e.firstEffect:]
	for i := range effects {
		w.at[effects[i].action] = 0
		effects[i].gives = effects[i].apply(verdictNone)
	}
	if len(effects) > 1 {
		slices.SortFunc(effects, func(a, b ruleEffect) int { return int(a.action) - int(b.action) })
	}
	e.effectCount = uint32(len(effects))
	if len(effects) == 1 {
		e.action, e.gives = effects[0].action, effects[0].gives
	}
}

// The bytes that stand for wildcards in a key of the index. No resource holds them: two are not valid UTF-8.
const (
	anyByte    = '*'
	clientByte = 0xff
	nobodyByte = 0xfe // ClientSegment, for a caller without a client: only Denies have such an entry
)

// shape is what patterns with wildcards of one segment share: where the wildcards are, and how deep they go. One
// look-up finds all patterns of a shape that cover a resource.
type shape struct {
	depth uint16 // segments, without the "*" at the end
	under bool   // "*" at the end
	last  bool   // the only wildcard is the last of these segments
	wild  []wildcardAt
	// entries are those of the patterns of this shape. A key is the pattern without its wildcards and without "/*", so
	// "user/" for "user/{*client}/*". Nobody are those for a caller without a client, if a wildcard is ClientSegment.
	entries, nobody map[string]int32
}

type wildcardAt struct {
	segment uint16
	client  bool
}

// maxPatternShapes bounds the shapes of one list of rules, and with them the look-ups of a decision.
const maxPatternShapes = 64

func (s shape) compare(o shape) int {
	return cmp.Or(cmp.Compare(s.depth, o.depth), boolCompare(s.under, o.under),
		slices.CompareFunc(s.wild, o.wild, func(a, b wildcardAt) int {
			return cmp.Or(cmp.Compare(a.segment, b.segment), boolCompare(a.client, b.client))
		}))
}

// boolCompare sorts false before true.
func boolCompare(a, b bool) int {
	switch {
	case a == b:
		return 0
	case b:
		return -1
	}
	return 1
}

// refersToClient reports whether a wildcard of the shape is ClientSegment.
func (s shape) refersToClient() bool {
	return slices.ContainsFunc(s.wild, func(w wildcardAt) bool { return w.client })
}

// shape returns the shape of a valid pattern with wildcards of one segment.
func (p Pattern) shape() (s shape) {
	base, under := strings.CutSuffix(string(p), "/*")
	s.under = under
	for segment := range strings.SplitSeq(base, "/") {
		if kind := wildcard(segment); kind != literal {
			s.wild = append(s.wild, wildcardAt{s.depth, kind == clientSegment})
		}
		s.depth++
	}
	s.last = len(s.wild) == 1 && s.wild[0].segment == s.depth-1
	return s
}

// addShape returns shapes, which are in order, with s among them.
func addShape(shapes []shape, s shape) []shape {
	if at, ok := slices.BinarySearchFunc(shapes, s, shape.compare); !ok {
		return slices.Insert(shapes, at, s)
	}
	return shapes
}

// indexShapes gives each shape its entries, once the index is complete.
func (s *ruleset) indexShapes() {
	for _, r := range s.source {
		for _, p := range r.patterns {
			if !p.wild() {
				continue
			}
			of := p.shape()
			at, _ := slices.BinarySearchFunc(s.shapes, of, shape.compare)
			sh := &s.shapes[at]
			if sh.entries == nil {
				sh.entries, sh.nobody = map[string]int32{}, map[string]int32{}
			}
			segments := strings.Split(strings.TrimSuffix(string(p), "/*"), "/")
			for _, w := range of.wild {
				segments[w.segment] = ""
			}
			short, key := strings.Join(segments, "/"), indexKey(p)
			sh.entries[short] = s.insert(key, keyWild)
			if key, ok := denyKey(p, key, r.verb); ok {
				sh.nobody[short] = s.insert(key, keyWild)
			}
		}
	}
}

// maxAsked is the longest resource that a ruleset with shapes is asked for, in bytes. Those of [class.questions] are
// slightly longer than valid ones.
const maxAsked = maxResource + 2*maxClientChoices

// segmentEnds returns where the segments of the resource end, one for each. It uses space if they are many.
func (q *question) segmentEnds(space []uint16) []uint16 {
	if q.segments == 0 {
		q.scan()
	}
	if q.segments != manySegments {
		return q.ends[:q.segments]
	}
	n := 0
	for i := range len(q.on) {
		if q.on[i] == '/' {
			space[n] = uint16(i)
			n++
		}
	}
	space[n] = uint16(len(q.on))
	return space[:n+1]
}

// entry returns the index entry of the patterns of the shape that cover the resource of a question, whose segments end
// at ends. It does not allocate.
func (sh *shape) entry(q *question, ends []uint16) (c int32, ok bool) {
	if len(ends) < int(sh.depth) || sh.under != (len(ends) > int(sh.depth)) {
		return c, false
	}
	start := 0 // of the first wildcard
	if first := sh.wild[0].segment; first > 0 {
		start = int(ends[first-1]) + 1
	} else if strings.HasPrefix(q.on, reserved) {
		return c, false
	}
	entries := sh.entries
	for i := range sh.wild {
		w := &sh.wild[i]
		switch {
		case !w.client:
		case q.client == "":
			entries = sh.nobody
		default:
			from := 0
			if w.segment > 0 {
				from = int(ends[w.segment-1]) + 1
			}
			if !fillsSegment(q.client, q.on[from:ends[w.segment]]) {
				return c, false
			}
		}
	}
	switch {
	case sh.last:
		c, ok = entries[q.on[:start]]
		return c, ok
	case len(q.on) <= 64:
		var space [64]byte
		c, ok = entries[string(sh.key(space[:], q.on, ends, start))]
		return c, ok
	}
	return sh.longEntry(entries, q.on, ends, start)
}

// longEntry is a function of its own because a short resource should not pay for clearing its space.
func (sh *shape) longEntry(entries map[string]int32, on string, ends []uint16, start int) (int32, bool) {
	var space [maxAsked]byte
	c, ok := entries[string(sh.key(space[:], on, ends, start))]
	return c, ok
}

// key writes the key of a resource that the shape fits into space, which is as long as the resource.
func (sh *shape) key(space []byte, on string, ends []uint16, start int) []byte {
	n := copy(space, on[:start])
	for i := range sh.wild {
		from, to := ends[sh.wild[i].segment], ends[sh.depth-1]
		if i+1 < len(sh.wild) {
			to = ends[sh.wild[i+1].segment-1] + 1
		}
		n += copy(space[n:], on[from:to])
	}
	return space[:n]
}

func indexKey(p Pattern) string {
	key := strings.TrimSuffix(string(p), "*")
	if !p.wild() {
		return key
	}
	segments := strings.Split(key, "/")
	for i, segment := range segments {
		switch wildcard(segment) {
		case anySegment:
			segments[i] = string(byte(anyByte))
		case clientSegment:
			segments[i] = "\xff"
		}
	}
	return strings.Join(segments, "/")
}

// denyKey returns the second key of a pattern in a Deny with ClientSegment, for callers without a client.
func denyKey(p Pattern, key string, v Verb) (string, bool) {
	if v != VerbDeny || !p.refersToClient() {
		return "", false
	}
	return strings.ReplaceAll(key, "\xff", "\xfe"), true
}

// indexPattern returns the key of a pattern in the index, and records the shapes of such patterns.
func (s *ruleset) indexPattern(p Pattern) (string, keyKind) {
	switch {
	case p.wild():
		s.shapes = addShape(s.shapes, p.shape())
		return indexKey(p), keyWild
	case p == "*":
		return "", keyStar
	case strings.HasSuffix(string(p), "/*"):
		return string(p[:len(p)-1]), keyUnder
	}
	return string(p), keyExact
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

// join joins the effect of an index entry on an action to t.
func (s *ruleset) join(t *ruleEffect, at int32, id uint32) {
	e := &s.entries[at]
	effects := s.effects[e.firstEffect : e.firstEffect+e.effectCount]
	if len(effects) > fewEffects {
		s.joinMany(t, effects, id)
		return
	}
	for i := range effects {
		if a := effects[i].action; a == 0 || a == id {
			t.join(&effects[i])
		}
	}
}

// joinMany is join for an entry of many actions.
func (s *ruleset) joinMany(t *ruleEffect, effects []ruleEffect, id uint32) {
	if effects[0].action == 0 {
		t.join(&effects[0])
	}
	i, ok := slices.BinarySearchFunc(effects, id, func(x ruleEffect, id uint32) int { return int(x.action) - int(id) })
	if ok && id != 0 {
		t.join(&effects[i])
	}
}

// addShapes joins the effects of the patterns with wildcards of one segment on an action to t.
func (s *ruleset) addShapes(t *ruleEffect, q *question, id uint32) {
	if q.segments == 0 {
		q.scan()
	}
	if q.segments == manySegments {
		s.addDeepShapes(t, q, id)
		return
	}
	for i := range s.shapes {
		if at, ok := s.shapes[i].entry(q, q.ends[:q.segments]); ok {
			s.join(t, at, id)
		}
	}
}

// addDeepShapes is addShapes of a resource of many segments. It is a function of its own because others should not pay
// for clearing its space.
func (s *ruleset) addDeepShapes(t *ruleEffect, q *question, id uint32) {
	var space [maxAsked / 2]uint16
	ends := q.segmentEnds(space[:])
	for i := range s.shapes {
		if at, ok := s.shapes[i].entry(q, ends); ok {
			s.join(t, at, id)
		}
	}
}

// effect returns the effect of all rules that match the question. It does not allocate.
func (s *ruleset) effect(q *question) ruleEffect {
	t := noEffect
	if len(s.entries) == 0 {
		return t
	}
	id := s.actionID(q.action)
	for at := s.nearest(q); at >= 0; at = s.entries[at].above {
		s.join(&t, at, id)
	}
	if len(s.shapes) != 0 {
		s.addShapes(&t, q, id)
	}
	return t
}

// gives returns what the list gives by itself. It does not allocate.
func (s *ruleset) gives(q *question) verdict {
	if !s.plain {
		t := s.effect(q)
		return t.apply(verdictNone)
	}
	v := verdictNone
	if len(s.entries) == 0 {
		return v
	}
	id := s.actionID(q.action)
	for at := s.nearest(q); at >= 0; at = s.entries[at].above {
		if v = max(v, s.entryGives(at, id)); v == verdictAll {
			return v
		}
	}
	if len(s.shapes) != 0 {
		v = max(v, s.shapesGive(q, id))
	}
	return v
}

// entryGives returns what the rules of an entry of a plain list give.
func (s *ruleset) entryGives(at int32, id uint32) verdict {
	e := &s.entries[at]
	if e.effectCount == 1 {
		if e.action == id || e.action == 0 {
			return e.gives
		}
		return verdictNone
	}
	effects := s.effects[e.firstEffect : e.firstEffect+e.effectCount]
	if len(effects) > fewEffects {
		t := noEffect
		s.joinMany(&t, effects, id)
		return t.apply(verdictNone)
	}
	v := verdictNone
	for i := range effects {
		if t := &effects[i]; t.action == id || t.action == 0 {
			v = max(v, t.gives)
		}
	}
	return v
}

// shapesGive returns what the patterns with wildcards of one segment give in a plain list.
func (s *ruleset) shapesGive(q *question, id uint32) verdict {
	if q.segments == 0 {
		q.scan()
	}
	if q.segments == manySegments {
		t := noEffect
		s.addDeepShapes(&t, q, id)
		return t.apply(verdictNone)
	}
	v := verdictNone
	for i := range s.shapes {
		if at, ok := s.shapes[i].entry(q, q.ends[:q.segments]); ok {
			if v = max(v, s.entryGives(at, id)); v == verdictAll {
				break
			}
		}
	}
	return v
}

// after returns what the list leaves of v, and adds to it.
func (s *ruleset) after(v verdict, q *question) verdict {
	if v == verdictNone {
		return s.gives(q)
	}
	if v == verdictAll && s.adding {
		return v
	}
	t := s.effect(q)
	return t.apply(v)
}

// eachEntry calls visit with the index entries of all patterns that cover the resource of a question.
func (s *ruleset) eachEntry(q *question, visit func(*indexEntry)) {
	if len(s.entries) == 0 {
		return
	}
	for at := s.nearest(q); at >= 0; at = s.entries[at].above {
		visit(&s.entries[at])
	}
	if len(s.shapes) != 0 {
		ends := q.segmentEnds(make([]uint16, strings.Count(q.on, "/")+1))
		for i := range s.shapes {
			if at, ok := s.shapes[i].entry(q, ends); ok {
				visit(&s.entries[at])
			}
		}
	}
}

// matching returns the positions of the rules that match a question, in order.
func (s *ruleset) matching(q *question) []int32 {
	var out []int32
	s.eachEntry(q, func(c *indexEntry) {
		for _, i := range s.positions[c.firstPosition : c.firstPosition+c.positionCount] {
			if s.source[i].namesAction(q.action) {
				out = append(out, i)
			}
		}
	})
	slices.Sort(out)
	return slices.Compact(out)
}

// apply returns the grants after the rules, given the grants before them.
func (s *ruleset) apply(base []grant, q *question) []grant {
	matched := s.matching(q)
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
func (s *ruleset) denials(q *question) []Condition {
	var denials []Condition
	if s.denies {
		for _, i := range s.matching(q) {
			if s.rules[i].verb == VerbDeny {
				denials = append(denials, s.rules[i].neg)
			}
		}
	}
	return denials
}
