package latchkey

import (
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"sync/atomic"
)

// policyNumbers counts policies. A number stands for a policy where a pointer would keep it in memory.
var policyNumbers atomic.Uint64

// grant is rows that are allowed, and the values that are forced into them.
type grant struct {
	rows   Condition
	forced Values
}

// rowsOf returns the rows of all grants.
func rowsOf(gs []grant) Condition {
	switch len(gs) {
	case 0:
		return Condition{}
	case 1:
		return gs[0].rows
	}
	parts := make([]Condition, len(gs))
	for i := range gs {
		parts[i] = gs[i].rows
	}
	return either(parts)
}

// either is anyOf, except that every row stays every row, even if another part is too large to be a condition.
func either(parts []Condition) Condition {
	if slices.ContainsFunc(parts, Condition.IsAllRows) {
		return AllRows
	}
	return anyOf(parts...)
}

func exportGrants(gs []grant) []Granted {
	var out []Granted
	for _, g := range gs {
		out = append(out, Granted{g.rows, maps.Clone(g.forced)})
	}
	return out
}

// grantSet is a set of grants under construction, with one group for each set of forced values. Grants that force the
// same values are one grant: whichever of them admits a row, the row that is written is the same.
type grantSet struct {
	groups  []grantGroup
	byKey   map[string]int // key to group; nil while there are few
	denials []Condition    // negated conditions of the Denies so far
}

type grantGroup struct {
	forced       Values
	key          string        // the forced values as text
	alternatives []alternative // in the order of the rules
}

// alternative is the rows of one rule less those that later Denies removed. Denies are kept beside the rows, not
// wrapped around them, so that a long list of Grants and Denies does not make a deep condition.
type alternative struct {
	rows  Condition
	since int // the Denies from this index of grantSet.denials on apply to it
}

const byKeyFrom = 16 // groups

// find returns the group with the key, or nil.
func (set *grantSet) find(key string) *grantGroup {
	if len(set.groups) < byKeyFrom {
		for i := range set.groups {
			if set.groups[i].key == key {
				return &set.groups[i]
			}
		}
		return nil
	}
	if set.byKey == nil {
		set.byKey = make(map[string]int, 2*len(set.groups))
		for i := range set.groups {
			set.byKey[set.groups[i].key] = i
		}
	}
	if i, ok := set.byKey[key]; ok {
		return &set.groups[i]
	}
	return nil
}

func (set *grantSet) clear() { *set = grantSet{} }

// add adds rows under forced values.
func (set *grantSet) add(rows Condition, forced Values, key string) {
	if rows.IsNoRows() {
		return
	}
	alt := alternative{rows, len(set.denials)}
	if p := set.find(key); p != nil {
		p.alternatives = append(p.alternatives, alt)
		return
	}
	if set.byKey != nil {
		set.byKey[key] = len(set.groups)
	}
	set.groups = append(set.groups, grantGroup{forced: forced, key: key, alternatives: []alternative{alt}})
}

func (set *grantSet) addAll(gs []grant) {
	for _, g := range gs {
		set.add(g.rows, g.forced, forcedKey(g.forced))
	}
}

// deny removes the rows that neg, the negated condition of a Deny, does not admit.
func (set *grantSet) deny(neg Condition) {
	if neg.IsNoRows() {
		set.clear()
		return
	}
	if len(set.groups) > 0 {
		set.denials = append(set.denials, neg)
	}
}

// applyRule changes the set by one rule.
func (set *grantSet) applyRule(r compiledRule) {
	switch r.verb {
	case VerbAllow:
		set.clear()
		set.add(r.rows, r.forced, r.key)
	case VerbGrant:
		set.add(r.rows, r.forced, r.key)
	default:
		set.deny(r.neg)
	}
}

// groupRows returns the rows of a group.
func (set *grantSet) groupRows(p *grantGroup) Condition {
	var parts []Condition
	for i := 0; i < len(p.alternatives); {
		since := p.alternatives[i].since
		var same []Condition // those with the same Denies
		for ; i < len(p.alternatives) && p.alternatives[i].since == since; i++ {
			same = append(same, p.alternatives[i].rows)
		}
		rows := either(same)
		if denials := set.denials[since:]; len(denials) > 0 {
			rows = allOf(append([]Condition{rows}, denials...)...)
		}
		parts = append(parts, rows)
	}
	return either(parts)
}

// maxDenials bounds how often Denies are combined with the Grants before them. Otherwise a long list of both could make
// a decision arbitrarily expensive. Beyond it the result is a fault, as for rows that are too large to be a condition.
const maxDenials = 1 << 17

var tooManyDenials = []grant{{rows: Condition{&node{kind: nodeFault, depth: 1, count: 1,
	fault: &ConditionError{Reason: "too many denies after too many grants", OfRule: true}}}}}

// countDenials returns how many negated conditions groupRows will combine with alternatives.
func (set *grantSet) countDenials() (n int) {
	if len(set.denials) == 0 {
		return 0
	}
	for i := range set.groups {
		last := -1
		for _, alt := range set.groups[i].alternatives {
			if alt.since != last {
				n += len(set.denials) - alt.since
				last = alt.since
			}
		}
	}
	return n
}

// grants returns the grants of the set; nil if nothing is allowed.
func (set *grantSet) grants() []grant {
	if set.countDenials() > maxDenials {
		return tooManyDenials
	}
	var gs []grant
	for i := range set.groups {
		if rows := set.groupRows(&set.groups[i]); !rows.IsNoRows() {
			gs = append(gs, grant{rows, set.groups[i].forced})
		}
	}
	return gs
}

// maxPairs bounds the pairs of grants in one meet in which both sides force values. maxForced bounds the weight of the
// values in them. Otherwise rules could make a decision arbitrarily expensive. Beyond them the result is a fault: it
// admits no row, and lies within every row only.
const (
	maxPairs  = 1 << 16
	maxForced = 1 << 17
)

var tooManyPairs = []grant{{rows: invalidCondition("",
	"too many pairs of grants that force values, or too many values in them")}}

// weight returns the number of forced values; a long value counts as several.
func weight(v Values) int {
	n := 0
	for name, value := range v {
		text, _ := value.(string)
		number, _ := value.(json.Number)
		n += 1 + (len(name)+len(text)+len(number))/64
	}
	return n
}

// mergeWork returns the weight of what a meet of a and b merges. It is 0 if one side is a single grant that forces
// nothing.
func mergeWork(a, b []grant) int {
	sum := func(gs []grant) (n int) {
		for _, g := range gs {
			n = add(n, weight(g.forced))
		}
		return n
	}
	wa, wb := sum(a), sum(b)
	if len(a) == 1 && wa == 0 || len(b) == 1 && wb == 0 {
		return 0
	}
	return add(times(wa, len(b)), times(wb, len(a)))
}

// withoutFault returns gs, or nil if they are the fault of too many pairs.
func withoutFault(gs []grant) []grant {
	if len(gs) == 1 && gs[0].rows.n == tooManyPairs[0].rows.n {
		return nil
	}
	return gs
}

// meet returns what both a and b allow: each pair of grants, with the conditions AND-ed and the forced values merged. A
// pair that would force two values into one field is dropped.
func meet(a, b []grant) []grant {
	if len(a) > 1 && len(b) > 1 && len(a)*len(b) > maxPairs || mergeWork(a, b) > maxForced {
		return tooManyPairs
	}
	var set grantSet
	for _, x := range a {
		for _, y := range b {
			if forced, ok := mergeForced(x.forced, y.forced); ok {
				set.add(allOf(x.rows, y.rows), forced, forcedKey(forced))
			}
		}
	}
	return set.grants()
}

// mergeForced joins forced values. It returns false if they disagree. Values are compared before a schema types them:
// "7" and 7 disagree.
func mergeForced(a, b Values) (Values, bool) {
	if len(a) == 0 {
		return b, true
	}
	if len(b) == 0 {
		return a, true
	}
	merged := maps.Clone(a)
	for name, v := range b {
		if old, ok := a[name]; ok && valueKey(old) != valueKey(v) {
			return nil, false
		}
		merged[name] = v
	}
	return merged, true
}

// hasRefs reports whether some value is a reference.
func (v Values) hasRefs() bool {
	for _, value := range v {
		if isRef(value) {
			return true
		}
	}
	return false
}

// resolve returns v with references filled in. Missing is the first field, by name, whose reference has no value, or
// one that cannot be forced, such as a list. Such a reference stays. V itself is not changed.
func (v Values) resolve(caller refValues) (out Values, missing string) {
	if !v.hasRefs() {
		return v, ""
	}
	out = maps.Clone(v)
	for _, field := range slices.Sorted(maps.Keys(v)) {
		if !isRef(v[field]) {
			continue
		}
		value, ok := caller(v[field])
		if ok && value == v[field] {
			continue // it is filled in later
		}
		_, isList := value.([]string)
		known, reason := any(nil), "a list"
		if !isList {
			known, reason = canonical(value)
		}
		if !ok || reason != "" || isRef(known) || known == "" {
			if missing == "" {
				missing = field
			}
			continue
		}
		out[field] = known
	}
	return out, missing
}

// forcedKey returns a text that is different for different forced values.
func forcedKey(v Values) string {
	if len(v) == 0 {
		return ""
	}
	var b strings.Builder
	for _, name := range slices.Sorted(maps.Keys(v)) {
		b.WriteString(strconv.Quote(name))
		b.WriteByte('=')
		b.WriteString(valueKey(v[name]))
		b.WriteByte(';')
	}
	return b.String()
}

// valueKey returns a text that is different for different values.
func valueKey(v any) string {
	switch x := v.(type) {
	case nil:
		return "null"
	case string:
		return strconv.Quote(x)
	case bool:
		return strconv.FormatBool(x)
	case int64:
		return strconv.FormatInt(x, 10)
	case json.Number:
		return "n" + x.String()
	}
	return fmt.Sprintf("%T:%v", v, v)
}
