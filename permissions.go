package latchkey

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"

	"github.com/latchkey-go/latchkey/internal/strictjson"
)

// Permissions is an ordered list of rules. Each rule changes what the rules before it allow. Allow replaces it, Grant
// adds rows to it, and Deny removes rows from it. So a later rule overrides an earlier one, however specific the
// earlier one is. What no rule allows is denied.
//
// The zero value allows nothing, and a list that holds an invalid rule allows nothing either. A value is immutable once
// made and safe for concurrent use.
//
// The methods here read the list from start to end at each call: they are for tests, tools and pages. An [Access] has
// its rules indexed, and decides in a time that does not grow with their number.
type Permissions []Rule

// Rule is one statement of a [Permissions] list. Make it with [Allow], [Grant] or [Deny]. It is immutable: each method
// returns another rule. The zero Rule is invalid.
type Rule struct {
	verb     Verb
	wild     bool // a pattern holds a wildcard of one segment
	actions  []Action
	patterns []Pattern
	rows     Condition // AllRows without Where
	forced   Values    // replace the caller's values in a create
	fault    error     // the first mistake in it, which Validate returns
}

// Verb is what a rule does to what the rules before it allow.
type Verb uint8

const (
	VerbAllow Verb = iota + 1 // replaces
	VerbGrant                 // adds rows
	VerbDeny                  // removes rows
)

// String returns "allow", "grant" or "deny".
func (v Verb) String() string {
	switch v {
	case VerbAllow:
		return "allow"
	case VerbGrant:
		return "grant"
	case VerbDeny:
		return "deny"
	}
	return "Verb(" + strconv.Itoa(int(v)) + ")"
}

const (
	maxRuleActions = 64
	maxStatements  = 100_000 // rules times the patterns of each
)

// RuleStart is an unfinished rule: [RuleStart.On] adds its resources.
type RuleStart struct {
	verb    Verb
	actions []Action
}

// Allow replaces what the rules before it allow for the actions it names, by every row or those of [Rule.Where]. An
// action may be any valid name and is not checked against a list: [Access.Explain] shows which rules match.
func Allow(actions ...Action) RuleStart { return RuleStart{VerbAllow, actions} }

// Grant adds every row, or those of [Rule.Where], to what the rules before it allow.
func Grant(actions ...Action) RuleStart { return RuleStart{VerbGrant, actions} }

// Deny removes every row, or those of [Rule.Where], from what the rules before it allow. It also removes a row on which
// the condition is unknown.
func Deny(actions ...Action) RuleStart { return RuleStart{VerbDeny, actions} }

// On finishes the rule with the patterns that it covers. [Rule.Validate] returns what is wrong with it.
func (s RuleStart) On(patterns ...Pattern) Rule {
	r := Rule{verb: s.verb, actions: slices.Clone(s.actions), patterns: slices.Clone(patterns), rows: AllRows,
		wild: slices.ContainsFunc(patterns, Pattern.wild)}
	r.fault = r.check()
	return r
}

// check validates everything but the condition and the forced values.
func (r Rule) check() error {
	switch {
	case r.verb < VerbAllow || r.verb > VerbDeny:
		return fmt.Errorf("%w: a rule is neither allow, grant nor deny", ErrInvalid)
	case len(r.actions) == 0:
		return fmt.Errorf("%w: a rule without actions", ErrInvalid)
	case len(r.actions) > maxRuleActions:
		return fmt.Errorf("%w: a rule with more than %d actions", ErrInvalid, maxRuleActions)
	case len(r.patterns) == 0:
		return fmt.Errorf("%w: a rule without patterns", ErrInvalid)
	case len(r.patterns) > maxStatements:
		return fmt.Errorf("%w: a rule with more than %d patterns", ErrInvalid, maxStatements)
	}
	for _, a := range r.actions {
		if err := a.Validate(); err != nil {
			return err
		}
	}
	for _, p := range r.patterns {
		if err := p.Validate(); err != nil {
			return err
		}
	}
	return nil
}

// Where limits the rule to rows that meet c. A second call limits it to rows that meet both conditions.
func (r Rule) Where(c Condition) Rule {
	r.rows = All(r.rows, c.ofRule())
	if err := r.rows.Validate(); err != nil && r.fault == nil {
		r.fault = err
	}
	return r
}

// Force makes an Allow or a Grant write these values, by field name, into every row that it admits to a create. They
// replace the values of the caller. A value may be a reference: see [Values]. A second call adds its values, and
// replaces those of the same field. A Deny forces nothing.
func (r Rule) Force(values map[string]any) Rule {
	forced, err := normaliseValues(values)
	if err == nil && r.verb == VerbDeny {
		err = fmt.Errorf("%w: a deny takes no forced values", ErrInvalid)
	}
	if err != nil {
		if r.fault == nil {
			r.fault = err
		}
		return r
	}
	if len(forced) > 0 {
		joined := make(Values, len(r.forced)+len(forced))
		maps.Copy(joined, r.forced)
		maps.Copy(joined, forced)
		r.forced = joined
	}
	return r
}

// Validate returns what is wrong with the rule: [ErrInvalid], or [ErrBadCondition] for its condition and its forced
// values.
func (r Rule) Validate() error {
	if r.fault == nil && r.verb == 0 {
		return r.check() // the zero Rule
	}
	return r.fault
}

// Verb returns what the rule does: allow, grant or deny. It is 0 for the zero Rule.
func (r Rule) Verb() Verb { return r.verb }

// Actions returns a copy of the actions that the rule names.
func (r Rule) Actions() []Action { return slices.Clone(r.actions) }

// Patterns returns a copy of the patterns that the rule covers.
func (r Rule) Patterns() []Pattern { return slices.Clone(r.patterns) }

// Condition returns the condition on rows: [AllRows] without [Rule.Where].
func (r Rule) Condition() Condition { return r.rows }

// Forced returns a copy of the values that the rule forces; nil if none.
func (r Rule) Forced() Values { return maps.Clone(r.forced) }

// String returns the rule as text, such as: allow read on dataset/* where region = "EU".
func (r Rule) String() string {
	if r.verb == 0 {
		return "invalid rule"
	}
	var b strings.Builder
	b.WriteString(r.verb.String())
	for i, a := range r.actions {
		b.WriteString(separator(i))
		if a == Any {
			b.WriteString("any action")
		} else {
			b.WriteString(word(string(a)))
		}
	}
	b.WriteString(" on")
	for i, p := range r.patterns {
		b.WriteString(separator(i))
		b.WriteString(word(string(p)))
	}
	if !r.rows.IsAllRows() {
		b.WriteString(" where ")
		b.WriteString(r.rows.String())
	}
	if len(r.forced) > 0 {
		b.WriteString(" force ")
		b.WriteString(forcedText(r.forced))
	}
	return b.String()
}

func separator(i int) string {
	if i == 0 {
		return " "
	}
	return ", "
}

// word returns s, quoted if it would not read as one word.
func word(s string) string {
	if s == "" || strings.ContainsFunc(s, func(c rune) bool {
		return c <= ' ' || c == ',' || c == '"' ||
			!strconv.IsPrint(c)
	}) {
		return strconv.Quote(s)
	}
	return s
}

func forcedText(v Values) string {
	var b strings.Builder
	for i, name := range slices.Sorted(maps.Keys(v)) {
		if i > 0 {
			b.WriteString(", ")
		}
		printName(&b, name)
		b.WriteString(" = ")
		if v[name] == nil {
			b.WriteString("null")
		} else {
			printValue(&b, v[name])
		}
	}
	return b.String()
}

// namesAction reports whether the rule names the action. [Any] names [Exceed] and [Give] in a Deny only.
func (r *Rule) namesAction(a Action) bool {
	for _, x := range r.actions {
		if x == a || x == Any && (!a.named() || r.verb == VerbDeny) {
			return true
		}
	}
	return false
}

// dependsOnCaller reports whether the rule means something else for another caller.
func (r Rule) dependsOnCaller() bool {
	return r.rows.n != nil && dependsOnCaller(r.rows.n) || r.forced.hasRefs() ||
		slices.ContainsFunc(r.patterns, Pattern.refersToClient)
}

// matches reports whether the rule names the action and covers the resource, for a caller without a client.
func (r *Rule) matches(a Action, on Resource) bool {
	if !r.namesAction(a) {
		return false
	}
	for _, p := range r.patterns {
		if r.wild && p.wild() {
			if p.coversSegments(string(on), "", r.verb == VerbDeny) {
				return true
			}
		} else if p.covers(on) {
			return true
		}
	}
	return false
}

// Validate returns what is wrong with the first invalid rule, numbered from 1: [ErrInvalid], or [ErrBadCondition] for
// conditions and forced values. A list may hold 100,000 patterns in all its rules together.
//
// Patterns with [AnySegment] or [ClientSegment] are of one shape if they have these in the same places, are equally
// deep, and both end in "*" or both do not. A list may hold 64 shapes, because each makes a decision dearer.
func (p Permissions) Validate() error {
	statements, wild := 0, false
	for i := range p {
		if err := p[i].Validate(); err != nil {
			return fmt.Errorf("rule %d: %w", i+1, err)
		}
		if statements += len(p[i].patterns); statements > maxStatements {
			return fmt.Errorf("%w: more than %d patterns in one list of rules", ErrInvalid, maxStatements)
		}
		wild = wild || p[i].wild
	}
	if wild {
		return p.checkShapes()
	}
	return nil
}

// checkShapes returns an error if the patterns of a list are of too many shapes.
func (p Permissions) checkShapes() error {
	var shapes []shape
	for i := range p {
		for _, pattern := range p[i].patterns {
			if !pattern.wild() {
				continue
			}
			if shapes = addShape(shapes, pattern.shape()); len(shapes) > maxPatternShapes {
				return fmt.Errorf("%w: rule %d: the wildcards {*} and {*client} stand in more than %d different ways in one list "+
					"of rules: put them in the same segments, or make several roles", ErrInvalid, i+1, maxPatternShapes)
			}
		}
	}
	return nil
}

// Allows reports whether the rules allow the action on every row of the resource. An invalid resource, an invalid
// action and [Any] are never allowed.
func (p Permissions) Allows(a Action, on Resource) bool {
	if !a.concrete() || !on.valid() || p.Validate() != nil {
		return false
	}
	allowed := false
	for i := range p {
		switch r := &p[i]; {
		case !r.matches(a, on):
		case r.verb == VerbDeny:
			allowed = false // on some rows at least
		case r.verb == VerbAllow || !allowed:
			allowed = r.rows.IsAllRows()
		}
	}
	return allowed
}

// Decide returns which rows of the resource the rules allow the action on. [Permissions.Allows] is [Decision.Allowed]
// of it.
func (p Permissions) Decide(a Action, on Resource) Decision {
	if !a.concrete() || !on.valid() || p.Validate() != nil {
		return Decision{}
	}
	var set grantSet
	for i := range p {
		if p[i].matches(a, on) {
			set.applyRule(compileRule(&p[i]))
		}
	}
	return Decision{set.grants()}
}

// Within reports whether p allows nothing that q does not allow. It is sound and conservative: true is certain, and
// false may only mean that it was not found out.
//
//   - A condition that refers to the caller ([Self], [SelfRoles], [ClientID], [Attr]) lies within every row only, and a
//     forced value that does equals no other. Another caller may hold p than holds q. So [ClientSegment] in p may be
//     any segment, and in q none of those.
//   - Comparisons lie within others only if they do so for every type of field: x < 500 within x < 1000, but x = 1 not
//     within x < 1000, because a Boolean has no order.
//   - Rows that are too large together to be one condition lie within every row only.
//   - An invalid list allows nothing, so it lies within every list.
//
// The time grows with the number of different patterns, times that of different actions. It is bounded at about a
// second; beyond that Within returns false.
func (p Permissions) Within(q Permissions) bool {
	if p.Validate() != nil {
		return true // it allows nothing, and cannot be saved
	}
	return newPolicy([]layer{{rules: p}}, nil).within(context.Background(), newPolicy([]layer{{rules: q}}, nil))
}

// Decision is the result of [Permissions.Decide]. The zero Decision allows nothing.
type Decision struct{ grants []grant }

// Granted is one grant: rows that are allowed, and the values that a create writes into them.
type Granted struct {
	Rows   Condition `json:"rows"`
	Forced Values    `json:"forced,omitempty"`
}

// Allowed reports whether every row is allowed.
func (d Decision) Allowed() bool { return d.Rows().IsAllRows() }

// Rows returns the rows that are allowed; the zero Condition if none are. References are not filled in.
func (d Decision) Rows() Condition { return rowsOf(d.grants) }

// Granted returns a copy of the grants, one for each set of forced values. None: nothing is allowed.
func (d Decision) Granted() []Granted { return exportGrants(d.grants) }

// ruleJSON is the JSON form of a rule. Where and Force are decoded separately, so that a null is not taken for absence:
// that would turn some rows into every row.
type ruleJSON struct {
	Allow actionsJSON     `json:"allow,omitempty"`
	Grant actionsJSON     `json:"grant,omitempty"`
	Deny  actionsJSON     `json:"deny,omitempty"`
	On    []Pattern       `json:"on"`
	Where json.RawMessage `json:"where,omitempty"`
	Force json.RawMessage `json:"force,omitempty"`
}

// actionsJSON is a list that must not be null.
type actionsJSON []Action

func (a *actionsJSON) UnmarshalJSON(data []byte) error {
	if err := json.Unmarshal(data, (*[]Action)(a)); err != nil {
		return err
	}
	if *a == nil {
		return errors.New("null in place of a list of actions")
	}
	return nil
}

// MarshalJSON writes {"allow":["read"],"on":["dataset/*"],"where":…,"force":{…}}, with "grant" or "deny" for the other
// verbs. It returns the error of Validate for an invalid rule.
func (r Rule) MarshalJSON() ([]byte, error) {
	if err := r.Validate(); err != nil {
		return nil, err
	}
	form := ruleJSON{On: r.patterns}
	switch r.verb {
	case VerbAllow:
		form.Allow = r.actions
	case VerbGrant:
		form.Grant = r.actions
	case VerbDeny:
		form.Deny = r.actions
	}
	var err error
	if !r.rows.IsAllRows() {
		if form.Where, err = r.rows.MarshalJSON(); err != nil {
			return nil, err
		}
	}
	if len(r.forced) > 0 {
		if form.Force, err = r.forced.MarshalJSON(); err != nil {
			return nil, err
		}
	}
	return json.Marshal(form)
}

// UnmarshalJSON reads exactly what MarshalJSON writes. It returns an error that wraps [ErrInvalid] for an unknown,
// repeated or differently cased member, for a second verb, and for null. The same goes for a rule for which Validate
// returns an error. After an error r is the zero Rule, so that a list that holds it allows nothing.
func (r *Rule) UnmarshalJSON(data []byte) error {
	*r = Rule{}
	var form *ruleJSON
	if err := strictjson.Unmarshal(data, &form); err != nil {
		return fmt.Errorf("%w: rule: %w", ErrInvalid, err)
	}
	if form == nil {
		return fmt.Errorf("%w: rule: null", ErrInvalid)
	}
	read, err := form.rule()
	if err != nil {
		return fmt.Errorf("rule: %w", err)
	}
	*r = read
	return nil
}

func (form *ruleJSON) rule() (Rule, error) {
	var start RuleStart
	verbs := 0
	for _, s := range [...]RuleStart{Allow(form.Allow...), Grant(form.Grant...), Deny(form.Deny...)} {
		if s.actions != nil {
			start = s
			verbs++
		}
	}
	if verbs != 1 {
		return Rule{}, fmt.Errorf("%w: a rule has exactly one of allow, grant and deny", ErrInvalid)
	}
	r := start.On(form.On...)
	if form.Where != nil {
		var c Condition
		if err := c.UnmarshalJSON(form.Where); err != nil {
			return Rule{}, err
		}
		r = r.Where(c)
	}
	if form.Force != nil {
		var v Values
		if err := v.UnmarshalJSON(form.Force); err != nil {
			return Rule{}, err
		}
		if len(v) == 0 {
			return Rule{}, fmt.Errorf("%w: force is empty: leave it out, or name a field and its value", ErrInvalid)
		}
		r = r.Force(v)
	}
	if err := r.Validate(); err != nil {
		return Rule{}, err
	}
	return r, nil
}

// UnmarshalJSON reads a list of rules, or null, which is the nil list. For anything else it returns an error that wraps
// [ErrInvalid], and leaves an empty list that is not nil. Such a list allows nothing, also where nil means no limit.
func (p *Permissions) UnmarshalJSON(data []byte) error {
	*p = Permissions{}
	var rules []Rule
	if err := strictjson.Unmarshal(data, &rules); err != nil {
		return fmt.Errorf("%w: permissions: %w", ErrInvalid, err)
	}
	if err := Permissions(rules).Validate(); err != nil {
		return err
	}
	*p = rules
	return nil
}

// same reports whether p and q have equal rules in the same order, all valid so far as is known. It takes a few
// nanoseconds a rule if one list is a copy of the other.
func (p Permissions) same(q Permissions) bool {
	if len(p) != len(q) {
		return false
	}
	for i := range p {
		if !p[i].same(&q[i]) {
			return false
		}
	}
	return true
}

// same reports whether two rules without a fault are equal.
func (r *Rule) same(o *Rule) bool {
	return r.verb == o.verb && r.fault == nil && o.fault == nil && sameList(r.patterns, o.patterns) &&
		sameList(r.actions, o.actions) && r.rows.Equal(o.rows) &&
		len(r.forced) == len(o.forced) && (len(r.forced) == 0 || forcedKey(r.forced) == forcedKey(o.forced))
}

// sameList is slices.Equal. Of one array in memory, which no rule changes, it does not look at the elements.
func sameList[T comparable](x, y []T) bool {
	return len(x) == len(y) && (len(x) == 0 || &x[0] == &y[0] || slices.Equal(x, y))
}

// samePermissions reports whether p and q have the same JSON. Permissions without a JSON form equal none.
func samePermissions(p, q Permissions) bool {
	x, err := json.Marshal(p)
	y, err2 := json.Marshal(q)
	return err == nil && err2 == nil && bytes.Equal(x, y)
}
