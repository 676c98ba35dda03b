package latchkey

import (
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
)

// grant is one way in which something is allowed: rows, and the values forced into them.
type grant struct {
	rows   Condition
	forced Values
}

// rowsOf are the rows of all grants.
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

// either is anyOf for which every row stays every row, though another part had become too large to be a condition.
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

// answer is a set of grants under construction, one part for each set of forced values. Grants that force the same are
// one grant: whichever of them admits a row, the row written is the same.
type answer struct {
	parts []part
	index map[string]int // key to part, once there are many
	nots  []Condition    // negated conditions of the Denies so far
}

type part struct {
	forced Values
	key    string        // the forced values as text
	any    []alternative // in the order they were given
}

// alternative is rows less those that later Denies removed. Denies are kept beside the rows, not wrapped around them,
// so that a long list of Grants and Denies does not make a deep condition.
type alternative struct {
	rows  Condition
	since int // the Denies from here on, in answer.nots, speak about it
}

const indexFrom = 16 // parts

// find returns the part with the key, or nil.
func (ans *answer) find(key string) *part {
	if len(ans.parts) < indexFrom {
		for i := range ans.parts {
			if ans.parts[i].key == key {
				return &ans.parts[i]
			}
		}
		return nil
	}
	if ans.index == nil {
		ans.index = make(map[string]int, 2*len(ans.parts))
		for i := range ans.parts {
			ans.index[ans.parts[i].key] = i
		}
	}
	if i, ok := ans.index[key]; ok {
		return &ans.parts[i]
	}
	return nil
}

func (ans *answer) clear() { *ans = answer{} }

// add adds rows under forced values.
func (ans *answer) add(rows Condition, forced Values, key string) {
	if rows.IsNoRows() {
		return
	}
	alt := alternative{rows, len(ans.nots)}
	if p := ans.find(key); p != nil {
		p.any = append(p.any, alt)
		return
	}
	if ans.index != nil {
		ans.index[key] = len(ans.parts)
	}
	ans.parts = append(ans.parts, part{forced: forced, key: key, any: []alternative{alt}})
}

func (ans *answer) addAll(gs []grant) {
	for _, g := range gs {
		ans.add(g.rows, g.forced, forcedKey(g.forced))
	}
}

// deny removes the rows that neg, the negated condition of the denial, does not admit.
func (ans *answer) deny(neg Condition) {
	if neg.IsNoRows() {
		ans.clear()
		return
	}
	if len(ans.parts) > 0 {
		ans.nots = append(ans.nots, neg)
	}
}

// apply is one rule's turn.
func (ans *answer) apply(r compiledRule) {
	switch r.verb {
	case VerbAllow:
		ans.clear()
		ans.add(r.rows, r.forced, r.key)
	case VerbGrant:
		ans.add(r.rows, r.forced, r.key)
	default:
		ans.deny(r.neg)
	}
}

// rows are the rows of a part.
func (ans *answer) rows(p *part) Condition {
	var parts []Condition
	for i := 0; i < len(p.any); {
		since := p.any[i].since
		var same []Condition // those the same Denies speak about
		for ; i < len(p.any) && p.any[i].since == since; i++ {
			same = append(same, p.any[i].rows)
		}
		rows := either(same)
		if nots := ans.nots[since:]; len(nots) > 0 {
			rows = allOf(append([]Condition{rows}, nots...)...)
		}
		parts = append(parts, rows)
	}
	return either(parts)
}

// maxDenied bounds how often Denies are put upon the Grants before them, so that no list of both can make a question
// arbitrarily expensive. Beyond it the answer is a fault, as one that is too large to be a condition.
const maxDenied = 1 << 17

var tooManyDenied = []grant{{rows: Condition{&node{kind: nodeFault, depth: 1, count: 1,
	fault: &ConditionError{Reason: "too many denies behind too many grants", OfRule: true}}}}}

// denied counts the negated conditions that rows will put upon alternatives.
func (ans *answer) denied() (n int) {
	if len(ans.nots) == 0 {
		return 0
	}
	for i := range ans.parts {
		last := -1
		for _, alt := range ans.parts[i].any {
			if alt.since != last {
				n += len(ans.nots) - alt.since
				last = alt.since
			}
		}
	}
	return n
}

// grants is what was built; nil when nothing is allowed.
func (ans *answer) grants() []grant {
	if ans.denied() > maxDenied {
		return tooManyDenied
	}
	var gs []grant
	for i := range ans.parts {
		if rows := ans.rows(&ans.parts[i]); !rows.IsNoRows() {
			gs = append(gs, grant{rows, ans.parts[i].forced})
		}
	}
	return gs
}

// maxPairs bounds the pairs of one meet of grants that force values on both sides, and maxForced the weight of the
// values in them, so that no rules can make a question arbitrarily expensive. Beyond them the answer is a fault: it
// admits no row, and lies within nothing but every row.
const (
	maxPairs  = 1 << 16
	maxForced = 1 << 17
)

var tooManyPairs = []grant{{rows: faulty("", "too many pairs of grants that force values, or too many values in them")}}

// weight is how many forced values there are; a long one counts as several.
func weight(v Values) int {
	n := 0
	for name, value := range v {
		text, _ := value.(string)
		number, _ := value.(json.Number)
		n += 1 + (len(name)+len(text)+len(number))/64
	}
	return n
}

// mergeWork is the weight of what a meet of a and b merges. A single grant that forces nothing leaves all as it is.
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

// told is what whoever asks is told: of too many pairs, nothing.
func told(gs []grant) []grant {
	if len(gs) == 1 && gs[0].rows.n == tooManyPairs[0].rows.n {
		return nil
	}
	return gs
}

// meet is what both a and b allow: each pair of grants, its conditions AND-ed and its forced values merged. A pair that
// would force two values into one field is dropped.
func meet(a, b []grant) []grant {
	if len(a) > 1 && len(b) > 1 && len(a)*len(b) > maxPairs || mergeWork(a, b) > maxForced {
		return tooManyPairs
	}
	var ans answer
	for _, x := range a {
		for _, y := range b {
			if forced, ok := mergeForced(x.forced, y.forced); ok {
				ans.add(allOf(x.rows, y.rows), forced, forcedKey(forced))
			}
		}
	}
	return ans.grants()
}

// mergeForced joins forced values; false if they disagree. Values are compared as they are, before any schema has typed
// them: "7" and 7 disagree.
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

// forcedKey writes forced values as a text that no others have.
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

// valueKey writes one value as a text that no other value has.
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
