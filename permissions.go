package latchkey

import (
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

// Permissions is an ordered list of rules. Order decides: Allow replaces the answer given so far, Grant adds rows to
// it, Deny removes them; so a later rule outweighs an earlier one, however specific that was. Nothing said is nothing
// allowed. The zero value allows nothing, and a list with an invalid rule anywhere in it allows nothing either. A value
// is immutable once made and safe for concurrent use.
//
// The methods here read the list from start to end at each call: they are for tests, tools and pages. An [Access] has
// its rules compiled and answers in a time that does not grow with their number.
type Permissions []Rule

// Rule is one statement of a [Permissions] list. Make it with [Allow], [Grant] or [Deny]. It is immutable: each method
// returns another rule. The zero Rule is invalid.
type Rule struct {
	verb     Verb
	actions  []Action
	patterns []Pattern
	rows     Condition // every row, unless Where said less
	forced   Values    // written over the caller's
	fault    error     // the first thing wrong with it; Validate tells
}

// Verb is what a rule does to the answer given so far.
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

// RuleStart is an unfinished rule: say where with [RuleStart.On].
type RuleStart struct {
	verb    Verb
	actions []Action
}

// Allow replaces the answer given so far for the actions it names: every row, or those of [Rule.Where]. Actions of your
// own are as good as the named ones, so none is checked against a list: [Access.Explain] shows which rules spoke.
func Allow(actions ...Action) RuleStart { return RuleStart{VerbAllow, actions} }

// Grant adds every row, or those of [Rule.Where], to the answer given so far.
func Grant(actions ...Action) RuleStart { return RuleStart{VerbGrant, actions} }

// Deny removes every row, or those of [Rule.Where], from the answer given so far. A row on which the condition is
// unknown is removed too.
func Deny(actions ...Action) RuleStart { return RuleStart{VerbDeny, actions} }

// On finishes the rule: it speaks about these patterns. What is wrong with it is told by [Rule.Validate].
func (s RuleStart) On(patterns ...Pattern) Rule {
	r := Rule{verb: s.verb, actions: slices.Clone(s.actions), patterns: slices.Clone(patterns), rows: AllRows}
	r.fault = r.check()
	return r
}

// check looks at everything but the condition and the forced values.
func (r Rule) check() error {
	switch {
	case r.verb < VerbAllow || r.verb > VerbDeny:
		return fmt.Errorf("%w: a rule that is neither allow, grant nor deny", ErrInvalid)
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

// Where limits the rule to rows that meet c; said twice, to rows that meet both.
func (r Rule) Where(c Condition) Rule {
	r.rows = All(r.rows, c.ofRule())
	if err := r.rows.Validate(); err != nil && r.fault == nil {
		r.fault = err
	}
	return r
}

// Force makes an Allow or a Grant write these values, by field name, into every row it admits to a create, over the
// caller's. Said twice, the values join, and the later one of a field stays. A Deny forces nothing.
func (r Rule) Force(values map[string]any) Rule {
	forced, err := normaliseValues(values)
	if err == nil && r.verb == VerbDeny {
		err = fmt.Errorf("%w: a deny forces no values", ErrInvalid)
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

// Validate says what is wrong with the rule: ErrInvalid, or ErrBadCondition for its condition and its forced values.
func (r Rule) Validate() error {
	if r.fault == nil && r.verb == 0 {
		return r.check() // the zero Rule
	}
	return r.fault
}

// Verb is what the rule does to the answer given so far; 0 for the zero Rule.
func (r Rule) Verb() Verb { return r.verb }

// Actions are the actions the rule names, as a copy.
func (r Rule) Actions() []Action { return slices.Clone(r.actions) }

// Patterns are the patterns the rule speaks about, as a copy.
func (r Rule) Patterns() []Pattern { return slices.Clone(r.patterns) }

// Condition tells the rows the rule speaks about: [AllRows] unless [Rule.Where] said less.
func (r Rule) Condition() Condition { return r.rows }

// Forced are the values the rule forces, as a copy; nil if none.
func (r Rule) Forced() Values { return maps.Clone(r.forced) }

// String reads the rule aloud: allow read on dataset/* where region = "EU".
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

// word quotes what would not read as one word.
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
		b.WriteString(word(name))
		b.WriteString(" = ")
		switch x := v[name].(type) {
		case nil:
			b.WriteString("null")
		case string:
			b.WriteString(strconv.Quote(x))
		default:
			fmt.Fprint(&b, x)
		}
	}
	return b.String()
}

// names reports whether the rule names the action. [Any] names [Exceed] in a Deny only.
func (r *Rule) namesAction(a Action) bool {
	for _, x := range r.actions {
		if x == a || x == Any && (a != Exceed || r.verb == VerbDeny) {
			return true
		}
	}
	return false
}

// speaks says whether the rule names the action and covers the resource.
func (r *Rule) matches(a Action, on Resource) bool {
	if !r.namesAction(a) {
		return false
	}
	for _, p := range r.patterns {
		if p.covers(on) {
			return true
		}
	}
	return false
}

// Validate says what is wrong with the first bad rule, numbered from 1: ErrInvalid, or ErrBadCondition for conditions
// and forced values. A list may hold 100,000 patterns altogether.
func (p Permissions) Validate() error {
	statements := 0
	for i := range p {
		if err := p[i].Validate(); err != nil {
			return fmt.Errorf("rule %d: %w", i+1, err)
		}
		if statements += len(p[i].patterns); statements > maxStatements {
			return fmt.Errorf("%w: more than %d patterns in one list of rules", ErrInvalid, maxStatements)
		}
	}
	return nil
}

// Allows says whether the rules allow the action on every row of the resource. An invalid resource or action, and
// [Any], are never allowed.
func (p Permissions) Allows(a Action, on Resource) bool {
	if !a.concrete() || !on.valid() || p.Validate() != nil {
		return false
	}
	v := verdictNone
	for i := range p {
		if p[i].matches(a, on) {
			v = p[i].apply(v)
		}
	}
	return v == verdictAll
}

// sway is what the rule makes of the answer given so far.
func (r *Rule) apply(v verdict) verdict {
	switch r.verb {
	case VerbAllow:
		return extent(r.rows)
	case VerbGrant:
		return max(v, extent(r.rows))
	}
	if not(r.rows).IsNoRows() {
		return verdictNone
	}
	return min(v, verdictSome)
}

// Decide is Allows that tells some rows from none, and which they are.
func (p Permissions) Decide(a Action, on Resource) Decision {
	if !a.concrete() || !on.valid() || p.Validate() != nil {
		return Decision{}
	}
	var set grantSet
	for i := range p {
		if p[i].matches(a, on) {
			set.applyRule(compileRule(p[i]))
		}
	}
	return Decision{set.grants()}
}

// Within reports whether p allows nothing that q does not allow. It is sound and conservative: true is certain, false
// may only mean that it was not seen. A condition that refers to the caller ([Self], [SelfRoles], [ClientID]) lies
// within every row and nothing less, since another caller may hold p than holds q. So do rows that are too large
// together to be a condition. A list that is invalid allows nothing, so it lies within every other. The time grows with
// the number of different patterns, times that of different actions, up to a bound (about a second), beyond which the
// answer is false.
func (p Permissions) Within(q Permissions) bool {
	if p.Validate() != nil {
		return true // it allows nothing, and nobody saves it
	}
	return newPolicy([]layer{{rules: p}}, nil).within(context.Background(), newPolicy([]layer{{rules: q}}, nil))
}

// Decision is the answer of [Permissions.Decide]. The zero Decision allows nothing.
type Decision struct{ grants []grant }

// Granted is one way in which something is allowed: rows, and the values written into them by a create.
type Granted struct {
	Rows   Condition `json:"rows"`
	Forced Values    `json:"forced,omitempty"`
}

// Allowed says whether every row is allowed.
func (d Decision) Allowed() bool { return d.Rows().IsAllRows() }

// Rows are the rows that are allowed; the zero Condition when there are none. References are not filled in.
func (d Decision) Rows() Condition { return rowsOf(d.grants) }

// Granted are the grants, one for each set of forced values, as a copy. None: nothing is allowed.
func (d Decision) Granted() []Granted { return exportGrants(d.grants) }

// ruleJSON is the form of a rule in JSON. Where and Force are read by themselves, so that a null is not taken for
// absence: it would turn some rows into every row.
type ruleJSON struct {
	Allow actionsJSON     `json:"allow,omitempty"`
	Grant actionsJSON     `json:"grant,omitempty"`
	Deny  actionsJSON     `json:"deny,omitempty"`
	On    []Pattern       `json:"on"`
	Where json.RawMessage `json:"where,omitempty"`
	Force json.RawMessage `json:"force,omitempty"`
}

// actionsJSON is a list that is not null.
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
// verbs. An invalid rule is an error.
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

// UnmarshalJSON reads what MarshalJSON writes and nothing else: an unknown, repeated or differently cased member, a
// second verb, null, and whatever Validate refuses are errors that wrap [ErrInvalid] and leave the zero Rule, which
// makes any list that holds it allow nothing.
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
		return Rule{}, fmt.Errorf("%w: it has one of allow, grant and deny", ErrInvalid)
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
			return Rule{}, fmt.Errorf("%w: it forces no value", ErrInvalid)
		}
		r = r.Force(v)
	}
	if err := r.Validate(); err != nil {
		return Rule{}, err
	}
	return r, nil
}

// UnmarshalJSON reads a list of rules, or null, which is the nil list. Anything that is not exactly that is an error
// that wraps [ErrInvalid] and leaves an empty list that is not nil: it allows nothing, also where nil is no limit.
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
