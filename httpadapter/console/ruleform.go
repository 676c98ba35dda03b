package console

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"html/template"
	"maps"
	"slices"
	"strconv"
	"strings"

	"github.com/latchkey-go/latchkey"
	"github.com/latchkey-go/latchkey/internal/form"
)

// ruleForm is one rule, as it was typed.
type ruleForm struct {
	Verb    string
	Ticked  []string // actions that have a box
	Actions string   // others
	Order   string   // the order of the actions of the stored rule
	On      string   // patterns, one per line
	Pick    string   // a pattern to be added
	Where   string   // a condition, as text or JSON
	Was     string   // Where, as the form was drawn
	Join    string   // "any": one of Rows, else all of them
	Rows    []comparisonForm
	Force   string
	Kept    string // the digest of a stored rule that the form cannot hold
	Text    string
	Error   template.HTML
	Warning template.HTML
	Open    bool // its fields are visible
	addRow  bool // a row was asked for
}

// comparisonForm is one comparison of a condition.
type comparisonForm struct{ Field, Op, Value string }

func (c *comparisonForm) blank() bool { return c.Field+c.Value == "" }

var blankRow = comparisonForm{Op: string(latchkey.Eq)}

func newRule() ruleForm { return ruleForm{Verb: "allow", Open: true, Rows: []comparisonForm{blankRow}} }

// usualActions have a box where the host has declared no actions.
var usualActions = []latchkey.Action{latchkey.Read, latchkey.Create, latchkey.Update, latchkey.Delete}

// boxedActions returns the actions that have a box.
func (v *view) boxedActions() []latchkey.Action {
	if v.host == nil {
		return usualActions
	}
	declared := v.host.Declared()
	return declared[:min(len(declared), maxBoxed)]
}

const (
	maxBoxed = 12 // actions
	maxRows  = 8  // comparisons that are drawn as rows; others are text
)

// size estimates the bytes of the rule on a page.
func (e *ruleForm) size() (n int) {
	for _, s := range []string{e.Actions, e.On, e.Where, e.Where, e.Force, shorten(e.Text, 300)} {
		n += len(template.HTMLEscapeString(s))
	}
	for _, r := range e.Rows {
		n += 900 + len(template.HTMLEscapeString(r.Field+r.Value))
	}
	if e.Kept == "" {
		n += 1800
	}
	return n
}

func (e *ruleForm) blank() bool {
	return len(e.Ticked) == 0 && e.Actions+e.On+e.Pick+e.Where+e.Force+e.Kept == "" &&
		!slices.ContainsFunc(e.Rows, func(c comparisonForm) bool { return !c.blank() })
}

func digestOf(r latchkey.Rule) string {
	text, err := r.MarshalJSON()
	if err != nil {
		return "" // not for a stored rule
	}
	sum := sha256.Sum256(text)
	return hex.EncodeToString(sum[:16])
}

// readRule reads the fields of one rule.
func readRule(x *form.Value) ruleForm {
	e := ruleForm{Verb: text(x, "verb"), Ticked: texts(x, "act"), Actions: text(x, "actions"), Order: text(x, "order"),
		On: strings.ReplaceAll(text(x, "on"), "\r", ""), Pick: text(x, "pick"), Where: lines(text(x, "where")),
		Was: lines(text(x, "was")), Join: text(x, "join"), Force: text(x, "force"), Kept: text(x, "kept")}
	fields, ops, values := texts(x, "field"), texts(x, "op"), texts(x, "value")
	for i := range min(len(fields), len(ops), len(values), maxRows+1) {
		e.Rows = append(e.Rows, comparisonForm{strings.TrimSpace(fields[i]), ops[i], strings.TrimSpace(values[i])})
	}
	return e
}

// lines returns a text with the line breaks that a program writes.
func lines(s string) string { return strings.ReplaceAll(s, "\r\n", "\n") }

func (v *view) ruleFormOf(r latchkey.Rule) ruleForm {
	e := v.editableForm(r)
	if e.size() > maxRuleLength || !e.roundTrips(v, r) {
		e = ruleForm{Kept: digestOf(r), Text: e.Text}
	}
	e.Text = shorten(e.Text, 300)
	e.Warning = v.warningOf(r)
	return e
}

// roundTrips reports whether a form that is sent unchanged gives the same rule. Names may hold line breaks and
// spaces, which browsers change.
func (e ruleForm) roundTrips(v *view, r latchkey.Rule) bool {
	e.Actions, e.On, e.Order = asSent(e.Actions, true), asSent(e.On, false), asSent(e.Order, true)
	e.Where, e.Force = asSent(e.Where, false), asSent(e.Force, false)
	e.Was = asSent(e.Was, false)
	e.Rows = slices.Clone(e.Rows)
	for i := range e.Rows {
		e.Rows[i].Field, e.Rows[i].Value = asSent(e.Rows[i].Field, true), asSent(e.Rows[i].Value, true)
	}
	again, err := e.rule(v)
	return err == nil && digestOf(again) == digestOf(r)
}

// editableForm returns a rule as the fields of the form.
func (v *view) editableForm(r latchkey.Rule) ruleForm {
	e := ruleForm{Verb: r.Verb().String(), Text: r.String()}
	boxed := v.boxedActions()
	var all, others, on []string
	for _, a := range r.Actions() {
		all = append(all, string(a))
		if slices.Contains(boxed, a) || a == latchkey.Any {
			e.Ticked = append(e.Ticked, string(a))
		} else {
			others = append(others, string(a))
		}
	}
	for _, p := range r.Patterns() {
		on = append(on, string(p))
	}
	e.Actions, e.Order, e.On = strings.Join(others, ", "), strings.Join(all, ","), strings.Join(on, "\n")
	if c := r.Condition(); !c.IsAllRows() {
		e.Where = textOfCondition(c)
		e.Rows, e.Join = v.comparisons(c)
		e.Was = e.Where
	}
	if len(r.Forced()) > 0 {
		_, text, _ := strings.Cut(latchkey.Allow(latchkey.Read).On("x").Force(r.Forced()).String(), " force ")
		if e.Force = text; !sameValues(text, r.Forced()) {
			if text, err := r.Forced().MarshalJSON(); err == nil {
				e.Force = unescaped(string(text))
			}
		}
	}
	return e
}

// textOfCondition returns a condition as people read it, or as JSON if a browser would change that.
func textOfCondition(c latchkey.Condition) string {
	text := c.String()
	if back, err := latchkey.ParseCondition(asSent(text, false)); err == nil && back.Equal(c) {
		return text
	}
	written, err := c.MarshalJSON()
	if err != nil {
		return ""
	}
	return unescaped(string(written))
}

func sameValues(text string, want latchkey.Values) bool {
	got, err := latchkey.ParseValues(asSent(text, true))
	return err == nil && maps.Equal(got, want)
}

// unescaped returns JSON as people write it: encoding/json escapes characters that could end a script.
func unescaped(text string) string {
	if strings.Contains(text, `\\`) {
		return text // an escaped backslash: leave the text as it is
	}
	return strings.NewReplacer(`\u003c`, "<", `\u003e`, ">", `\u0026`, "&").Replace(text)
}

// actions returns the ticked and the typed actions. Those of the stored rule keep their order.
func (e *ruleForm) actions() (out []latchkey.Action) {
	all := slices.Clone(e.Ticked)
	for a := range strings.FieldsFuncSeq(e.Actions, func(r rune) bool { return r == ',' || r == ' ' }) {
		all = append(all, a)
	}
	for a := range strings.SplitSeq(e.Order, ",") {
		if slices.Contains(all, a) && !slices.Contains(out, latchkey.Action(a)) {
			out = append(out, latchkey.Action(a))
		}
	}
	for _, a := range all {
		if !slices.Contains(out, latchkey.Action(a)) {
			out = append(out, latchkey.Action(a))
		}
	}
	return out
}

// rule reads the fields. Patterns are one per line, since they may hold commas and spaces.
func (e *ruleForm) rule(v *view) (latchkey.Rule, error) {
	var on []latchkey.Pattern
	for line := range strings.Lines(e.On + "\n" + e.Pick) {
		if line = strings.TrimSpace(line); line != "" && !slices.Contains(on, latchkey.Pattern(line)) {
			on = append(on, latchkey.Pattern(line))
		}
	}
	actions := e.actions()
	start := latchkey.Allow(actions...)
	switch e.Verb {
	case "allow":
	case "grant":
		start = latchkey.Grant(actions...)
	case "deny":
		start = latchkey.Deny(actions...)
	default:
		return latchkey.Rule{}, fmt.Errorf("%w: choose allow, grant or deny as the verb", latchkey.ErrInvalid)
	}
	r := start.On(on...)
	c, err := e.condition(v)
	if err != nil {
		return latchkey.Rule{}, err
	}
	if !c.IsAllRows() {
		r = r.Where(c)
	}
	if e.Force != "" {
		var values latchkey.Values
		if strings.HasPrefix(e.Force, "{") {
			err = values.UnmarshalJSON([]byte(e.Force))
		} else {
			values, err = latchkey.ParseValues(e.Force)
		}
		if err != nil {
			return latchkey.Rule{}, err
		}
		r = r.Force(values)
	}
	return r, r.Validate()
}

// condition returns the condition of the form: the text if that was changed, or the rows. If both were changed, neither
// can be left out without giving other rights than were meant, and that is an error. The rows are the whole condition
// if they were drawn for all of it, and else they are added to the text.
func (e *ruleForm) condition(v *view) (latchkey.Condition, error) {
	base, err := parseWhere(e.Where)
	if err != nil {
		return latchkey.Condition{}, err
	}
	was, err := parseWhere(e.Was)
	if err != nil {
		was = latchkey.AllRows // no form of this console
	}
	_, drawn := v.comparisons(was)
	if e.Where != e.Was {
		rows, err := e.joined(v, nil)
		switch {
		case err != nil:
			return latchkey.Condition{}, err
		case rows.IsAllRows(), rows.Equal(base), drawn != "" && rows.Equal(was):
			return base, nil
		}
		return latchkey.Condition{}, fmt.Errorf("%w: the rows and the text of the condition were both changed: change one "+
			"of them", latchkey.ErrInvalid)
	}
	var parts []latchkey.Condition
	if drawn == "" && !base.IsAllRows() {
		parts = append(parts, base) // it is no list of comparisons
	}
	return e.joined(v, parts)
}

// joined returns what the rows say together with other parts.
func (e *ruleForm) joined(v *view, parts []latchkey.Condition) (latchkey.Condition, error) {
	for _, row := range e.Rows {
		if row.blank() {
			continue
		}
		c, err := v.comparison(row)
		if err != nil {
			return latchkey.Condition{}, err
		}
		parts = append(parts, c)
	}
	switch {
	case len(parts) == 0:
		return latchkey.AllRows, nil
	case e.Join == "any":
		return latchkey.AnyOf(parts...), nil
	}
	return latchkey.All(parts...), nil
}

// parseWhere reads a condition that was typed as text, or as JSON. "" is every row.
func parseWhere(text string) (c latchkey.Condition, err error) {
	if text == "" {
		return latchkey.AllRows, nil
	}
	if strings.HasPrefix(text, "{") || text == "true" || text == "false" {
		err = c.UnmarshalJSON([]byte(text))
		return c, err
	}
	return latchkey.ParseCondition(text)
}

// operators are those of a row, in the order of its list.
var operators = []string{string(latchkey.Eq), string(latchkey.Ne), string(latchkey.Lt), string(latchkey.Le),
	string(latchkey.Gt), string(latchkey.Ge), string(latchkey.In), string(latchkey.Contains),
	string(latchkey.StartsWith), isNull, isNotNull}

const (
	isNull    = "is null"
	isNotNull = "is not null"
)

// comparison reads a row. A value that is written as in the text of a condition means the same: 1000, true, self, a
// text in double quotes. Anything else is a text, and so is everything for a field that holds texts.
func (v *view) comparison(row comparisonForm) (latchkey.Condition, error) {
	field := row.Field
	if _, err := latchkey.ParseCondition(field + " is null"); err != nil && !strings.HasPrefix(field, `"`) {
		field = strconv.Quote(field)
	}
	switch row.Op {
	case isNull, isNotNull:
		return latchkey.ParseCondition(field + " " + row.Op)
	}
	if !slices.Contains(operators, row.Op) {
		return latchkey.Condition{}, fmt.Errorf("%w: choose an operator", latchkey.ErrInvalid)
	}
	start := field + " " + row.Op + " "
	quoted := func(s string) string {
		s = strings.TrimSpace(s)
		c, err := latchkey.ParseCondition("x = " + s)
		number := err == nil && !c.IsNoRows() && strings.Trim(s, "-.0123456789") == ""
		if err != nil || number && v.holdsText(row.Field) {
			return strconv.Quote(s)
		}
		return s
	}
	switch {
	case row.Op != string(latchkey.In):
		if c, err := latchkey.ParseCondition(start + quoted(row.Value)); err == nil {
			return c, nil
		}
		return latchkey.ParseCondition(start + strconv.Quote(row.Value))
	case strings.HasPrefix(row.Value, "["), strings.HasPrefix(row.Value, "attr("), row.Value == "self_roles":
		return latchkey.ParseCondition(start + row.Value)
	}
	var list []string
	for s := range strings.SplitSeq(row.Value, ",") {
		if strings.TrimSpace(s) != "" {
			list = append(list, quoted(s))
		}
	}
	return latchkey.ParseCondition(start + "[" + strings.Join(list, ", ") + "]")
}

// holdsText reports whether the host has declared a field, and as text everywhere.
func (v *view) holdsText(field string) bool {
	found := false
	if v.host == nil {
		return false
	}
	for _, kind := range v.host.Resources {
		if kind.Schema == nil {
			continue
		}
		if f, ok := kind.Schema.Fields()[field]; ok {
			if f.Type != latchkey.Text {
				return false
			}
			found = true
		}
	}
	return found
}

// comparisons returns the rows of a condition that is one comparison, or a list of them that all or any must hold. join
// is "" for any other.
func (v *view) comparisons(c latchkey.Condition) (rows []comparisonForm, join string) {
	written, err := c.MarshalJSON()
	if err != nil || c.IsAllRows() || c.IsNoRows() {
		return nil, ""
	}
	var tree struct {
		Field    string
		All, Any []json.RawMessage
	}
	if json.Unmarshal(written, &tree) != nil {
		return nil, ""
	}
	parts := []json.RawMessage{written}
	switch join = "all"; {
	case tree.All != nil:
		parts = tree.All
	case tree.Any != nil:
		parts, join = tree.Any, "any"
	}
	if len(parts) > maxRows {
		return nil, ""
	}
	for _, part := range parts {
		row, ok := v.comparisonOf(part)
		if !ok {
			return nil, ""
		}
		rows = append(rows, row)
	}
	return rows, join
}

// comparisonOf returns one comparison as a row that means the same.
func (v *view) comparisonOf(part []byte) (row comparisonForm, ok bool) {
	var leaf struct {
		Field, Op string
		Value     json.RawMessage
	}
	var c latchkey.Condition
	if json.Unmarshal(part, &leaf) != nil || leaf.Field == "" || c.UnmarshalJSON(part) != nil {
		return row, false
	}
	row = comparisonForm{Field: leaf.Field, Op: leaf.Op}
	text := c.String()
	switch at := strings.Index(text, " "+leaf.Op+" "); {
	case leaf.Op == string(latchkey.IsNull) && bytes.Equal(leaf.Value, []byte("true")):
		row.Op = isNull
	case leaf.Op == string(latchkey.IsNull):
		row.Op = isNotNull
	case at < 0:
		return row, false
	default:
		row.Value = text[at+len(leaf.Op)+2:]
	}
	same := func(x comparisonForm) bool {
		x.Field, x.Value = asSent(x.Field, true), asSent(x.Value, true)
		back, err := v.comparison(x)
		return err == nil && back.Equal(c)
	}
	plain := row
	if s, err := strconv.Unquote(row.Value); err == nil && strings.HasPrefix(row.Value, `"`) {
		if plain.Value = s; same(plain) {
			return plain, true
		}
	}
	return row, same(row)
}

// warningOf returns what the host cannot mean by a rule: an action, a resource or a field that it has not declared.
func (v *view) warningOf(r latchkey.Rule) template.HTML {
	err := v.host.CheckRules(latchkey.Permissions{r})
	if err == nil && v.opts.Schema != nil && !r.Condition().IsAllRows() {
		for _, p := range r.Patterns()[:min(len(r.Patterns()), 8)] {
			if strings.ContainsAny(string(p), "*{") {
				continue
			}
			if schema, _ := v.opts.Schema(latchkey.Resource(p)); schema != nil && err == nil {
				if _, unfit := schema.Bind(r.Condition()); unfit != nil && !isReference(unfit) {
					err = unfit
				}
			}
		}
	}
	if err == nil {
		return ""
	}
	return v.errorText(err)
}

// isReference reports whether a condition does not bind because what it refers to is known only when it is asked.
func isReference(err error) bool { return strings.Contains(err.Error(), "reference") }

// boxes returns the actions that have a box, with what the host calls them, and last the one that stands for all.
func (v *view) boxes() (out []option) {
	for _, a := range v.boxedActions() {
		o := option{Value: string(a), Text: string(a)}
		if words := v.host.Words(a); words != string(a) {
			o.About = words
		}
		out = append(out, o)
	}
	return append(out, option{Value: string(latchkey.Any), Text: v.say("role.any-action")})
}

// picks returns a pattern for each declared kind of resources, for the list that adds one.
func (v *view) picks() (out []option) {
	if v.host == nil {
		return nil
	}
	for _, kind := range v.host.Resources[:min(len(v.host.Resources), maxKinds)] {
		o := option{Value: patternOf(kind.Template), Text: kind.Name}
		if o.Text == "" {
			o.Text = kind.Template
		}
		out = append(out, o)
	}
	return out
}

// patternOf returns a pattern that covers all resources of a kind: "invoice/*" for "invoice/{id}".
func patternOf(template string) string {
	segments := strings.Split(template, "/")
	for i, s := range segments {
		name, wild := placeName(s)
		switch {
		case wild && (i == len(segments)-1 || strings.HasSuffix(name, "...")):
			segments[i] = "*"
		case wild:
			segments[i] = string(latchkey.AnySegment)
		}
	}
	return strings.Join(segments, "/")
}

// fieldNames returns the fields that the host has declared, in order: at most 60.
func (v *view) fieldNames() []string {
	all := map[string]bool{}
	if v.host != nil {
		for _, kind := range v.host.Resources {
			if kind.Schema != nil {
				for name := range kind.Schema.Fields() {
					all[name] = len(name) <= maxNameLength
				}
			}
		}
	}
	names := slices.DeleteFunc(slices.Sorted(maps.Keys(all)), func(name string) bool { return !all[name] })
	return names[:min(len(names), maxDeclared)]
}
