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
	"unicode"

	"github.com/latchkey-go/latchkey/internal/strictjson"
)

// Catalogue declares, once and in code, what a host has: its resources, what may be done to each, and the fields of
// their rows. Set it as [Options.Catalogue].
//
// Then rules are checked when they are saved: by Issue, Import, Update, CreateRole, UpdateRole, Configure and Mint. An
// action, a resource or a field that the host does not have is refused: see [Catalogue.CheckRules]. Routes are checked
// when they are made: see [Catalogue.CheckRoute]. Pages and [Access.Explain] take names and choices from it.
//
// It never decides. A stored rule that does not fit stays valid and decides as before, and an Update that leaves the
// rules as they are is not checked. Resources beneath "latchkey/" need no declaration. Tokens and roles with an Origin
// are not checked, because the surface that made them has resources of its own.
//
// A Manager copies it. The methods are safe for concurrent use as long as nobody changes the fields. A nil Catalogue
// declares nothing and refuses nothing.
type Catalogue struct {
	// Resources are all kinds of resources, at least one. Their order is that of pages.
	Resources []ResourceType

	// Actions are words for people, such as {"approve": "approve and pay"}. An action that is missing here is shown as it
	// is. Each must be one of a resource's Actions.
	Actions map[Action]string

	// Warn receives what would be refused otherwise: the error of CheckRules, with the record that it is about. The rules
	// are saved. It is called once for each call that saved something, on its goroutine, and must not block. Nil: they are
	// refused. JSON leaves it out.
	Warn func(context.Context, error)

	parsed []template // of Resources; nil: not parsed yet
}

// ResourceType is one kind of resources of a [Catalogue].
type ResourceType struct {
	// Template is the resources of the kind. A segment in braces stands for any one: "invoice/{id}", as in
	// httpadapter.Adapter.Require. "{name...}" in the last place stands for one or more. Two kinds may not have the same
	// shape. Where several fit, the one with a literal segment first is meant: "invoice/new" before "invoice/{id}".
	Template string

	// Name is a noun for people: "invoice". "": the template is shown.
	Name string

	// Actions are what may be done to it, at least one. [Any] is not one.
	Actions []Action

	// Schema is the fields of its rows. Rules with a condition, rules that force values, and RequireRows need one. Nil: it
	// has no rows.
	Schema *Schema
}

// template is a parsed Template.
type template []templateSegment

type templateSegment struct {
	text string // the literal, or the name of the wildcard
	wild wildness
}

type wildness uint8

const (
	literalSegment wildness = iota
	oneSegment              // any one
	moreSegments            // one or more, up to the end
)

// parseTemplate parses a text with wildcards: each a whole segment.
func parseTemplate(text string) (template, error) {
	bad := func(why string) (template, error) {
		return nil, fmt.Errorf("%w: resource %.80q %s", ErrInvalid, text, why)
	}
	var t template
	var plain []string
	parts := strings.Split(text, "/")
	for i, part := range parts {
		name, opens := strings.CutPrefix(part, "{")
		name, closes := strings.CutSuffix(name, "}")
		s := templateSegment{text: part}
		switch {
		case opens && closes:
			s = templateSegment{name, oneSegment}
			if more, ok := strings.CutSuffix(name, "..."); ok {
				s = templateSegment{more, moreSegments}
				if i < len(parts)-1 {
					return bad(`has "{name...}" before its end: only the last segment may stand for several`)
				}
			}
			if s.text == "" || s.text != "*" && strings.ContainsAny(s.text, "{}*.:$/") {
				return bad(`has a malformed wildcard: write "{name}", or "{name...}" at the end`)
			}
			plain = append(plain, "x")
		case strings.ContainsAny(part, "{}"):
			return bad(`has a brace within a segment: a wildcard is a whole segment, "{name}"`)
		default:
			plain = append(plain, part)
		}
		t = append(t, s)
	}
	if why := whyInvalid(strings.Join(plain, "/")); why != "" {
		return bad(why)
	}
	return t, nil
}

// shape returns the template without the names of its wildcards.
func (t template) shape() string {
	var b strings.Builder
	for _, s := range t {
		b.WriteString([]string{s.text, "{}", "{...}"}[s.wild])
		b.WriteByte('/')
	}
	return b.String()
}

// templateOf returns a pattern as a template. Its wildcards are the "*" at its end, and the segments that stand for any
// one: a segment such as "{*}" or "{*name}", which no literal can be.
func templateOf(p Pattern) template {
	var t template
	parts := strings.Split(string(p), "/")
	for i, part := range parts {
		s := templateSegment{text: part}
		switch {
		case part == "*" && i == len(parts)-1:
			s.wild = moreSegments
		case strings.HasPrefix(part, "{*") && strings.HasSuffix(part, "}"):
			s.wild = oneSegment
		}
		t = append(t, s)
	}
	return t
}

// meets reports whether some resource fits both templates.
func (t template) meets(u template) bool {
	for i := 0; ; i++ {
		switch {
		case i == len(t) || i == len(u):
			return len(t) == len(u)
		case t[i].wild == moreSegments, u[i].wild == moreSegments:
			return true // the other one has a segment here, and this one takes all that follow
		case t[i].wild == literalSegment && u[i].wild == literalSegment && t[i].text != u[i].text:
			return false
		}
	}
}

// before reports whether t is meant where both fit: a literal segment before a wildcard, and one segment before
// several.
func (t template) before(u template) bool {
	for i := range min(len(t), len(u)) {
		if t[i].wild != u[i].wild {
			return t[i].wild < u[i].wild
		}
	}
	return false
}

// Validate returns what is wrong with the declaration, or nil. The error wraps [ErrInvalid]. [New] panics with it.
func (c *Catalogue) Validate() error {
	if c == nil {
		return nil
	}
	_, err := c.parse()
	return err
}

func (c *Catalogue) parse() ([]template, error) {
	if len(c.Resources) == 0 {
		return nil, fmt.Errorf("%w: the catalogue declares no resource", ErrInvalid)
	}
	parsed := make([]template, len(c.Resources))
	shapes := map[string]string{}
	actions := map[Action]bool{Exceed: true, Give: true}
	for _, a := range []Action{Read, Create, Update, Delete, Reveal, Rotate, Mint} { // of latchkey's own resources
		actions[a] = true
	}
	for i, r := range c.Resources {
		t, err := parseTemplate(r.Template)
		if err != nil {
			return nil, fmt.Errorf("catalogue: %w", err)
		}
		bad := func(why string, args ...any) ([]template, error) {
			return nil, fmt.Errorf("%w: catalogue: resource %q: %s", ErrInvalid, r.Template, fmt.Sprintf(why, args...))
		}
		if t[0].text == "latchkey" && t[0].wild == literalSegment {
			return bad("what lies beneath latchkey/ is known already: remove it")
		}
		names := map[string]bool{}
		for _, s := range t {
			if s.wild != literalSegment && names[s.text] {
				return bad("two wildcards are named %q", s.text)
			}
			names[s.text] = names[s.text] || s.wild != literalSegment
		}
		if other, ok := shapes[t.shape()]; ok {
			return bad("%q has the same shape: declare one of them", other)
		}
		shapes[t.shape()] = r.Template
		if err := checkWords(r.Name); err != nil {
			return bad("Name: %v", err)
		}
		if len(r.Actions) == 0 {
			return bad("it has no Actions: name what may be done to it")
		}
		own := map[Action]bool{}
		for _, a := range r.Actions {
			switch {
			case !a.concrete():
				return bad("action %.80q: name one action, 1 to %d bytes of a-z 0-9 _ . : -", string(a), maxAction)
			case own[a]:
				return bad("action %q is named twice", string(a))
			}
			own[a], actions[a] = true, true
		}
		parsed[i] = t
	}
	for _, a := range slices.Sorted(maps.Keys(c.Actions)) {
		if !actions[a] {
			return nil, fmt.Errorf("%w: catalogue: Actions has words for %q, which no resource has", ErrInvalid, string(a))
		}
		if err := checkWords(c.Actions[a]); err != nil {
			return nil, fmt.Errorf("%w: catalogue: Actions: %q: %w", ErrInvalid, string(a), err)
		}
	}
	return parsed, nil
}

// checkWords returns what is wrong with words for people.
func checkWords(s string) error {
	if strings.TrimSpace(s) != s || strings.ContainsFunc(s, func(r rune) bool {
		return unicode.IsControl(r) || unicode.In(r, unicode.Cf, unicode.Zl, unicode.Zp)
	}) {
		return errors.New("words have no space at their ends, and no invisible character")
	}
	return checkText("words", s, 0, 256)
}

// clone returns a copy that shares nothing that the host may change, with its templates parsed.
func (c *Catalogue) clone() (*Catalogue, error) {
	out := &Catalogue{Resources: slices.Clone(c.Resources), Actions: maps.Clone(c.Actions), Warn: c.Warn}
	for i, r := range out.Resources {
		out.Resources[i].Actions = slices.Clone(r.Actions)
	}
	var err error
	out.parsed, err = out.parse()
	return out, err
}

// templates returns the templates of c.Resources. Those of a catalogue that Validate refuses meet nothing.
func (c *Catalogue) templates() []template {
	switch {
	case c == nil:
		return nil
	case c.parsed != nil:
		return c.parsed
	}
	parsed, _ := c.parse()
	return parsed
}

// Find returns the kind that a resource is of, and whether there is one.
func (c *Catalogue) Find(on Resource) (ResourceType, bool) {
	at := c.find(on)
	if at < 0 {
		return ResourceType{}, false
	}
	return c.Resources[at], true
}

func (c *Catalogue) find(on Resource) int {
	if !on.valid() {
		return -1
	}
	parsed := c.templates()
	best := -1
	for i := range parsed {
		if parsed[i].meets(templateOf(Pattern(on))) && (best < 0 || parsed[i].before(parsed[best])) {
			best = i
		}
	}
	return best
}

// Words returns the words for an action: its own text if there are none.
func (c *Catalogue) Words(a Action) string {
	if c != nil && c.Actions[a] != "" {
		return c.Actions[a]
	}
	return string(a)
}

// NameOf returns what people call a resource: "invoice 7" for invoice/7. It is "" for a resource that is not declared,
// or whose kind has no Name.
func (c *Catalogue) NameOf(on Resource) string {
	at := c.find(on)
	if at < 0 || c.Resources[at].Name == "" {
		return ""
	}
	var values []string
	segments := on.Segments()
	for i, s := range c.templates()[at] {
		switch s.wild {
		case oneSegment:
			values = append(values, segments[i])
		case moreSegments:
			values = append(values, segments[i:]...)
		}
	}
	return strings.TrimSpace(c.Resources[at].Name + " " + strings.Join(values, "/"))
}

// Declared returns all actions that a resource has, sorted.
func (c *Catalogue) Declared() []Action {
	if c == nil {
		return nil
	}
	all := map[Action]bool{}
	for _, r := range c.Resources {
		for _, a := range r.Actions {
			all[a] = true
		}
	}
	return slices.Sorted(maps.Keys(all))
}

// CheckRoute returns an error unless a route that asks for action on resource can be meant. The resource may have
// wildcards, as in httpadapter.Adapter.Require. Some declared kind must fit it and have the action. With rows, as for
// RequireRows, it must also have a Schema. Resources beneath "latchkey/" pass. The error wraps [ErrInvalid].
func (c *Catalogue) CheckRoute(action Action, resource string, rows bool) error {
	if c == nil || strings.HasPrefix(resource, reserved) {
		return nil
	}
	t, err := parseTemplate(resource)
	if err != nil {
		return err
	}
	met := c.meeting(t)
	able := slices.DeleteFunc(slices.Clone(met), func(i int) bool {
		return !slices.Contains(c.Resources[i].Actions, action)
	})
	switch {
	case len(met) == 0:
		return fmt.Errorf("%w: the catalogue has no resource %.80q: it has %s", ErrInvalid, resource, c.listed(nil))
	case len(able) == 0:
		return fmt.Errorf("%w: the catalogue has no action %q on %.80q: there are %s", ErrInvalid, string(action), resource,
			c.actionsOf(met))
	case rows && !slices.ContainsFunc(able, func(i int) bool { return c.Resources[i].Schema != nil }):
		return fmt.Errorf("%w: the catalogue has no Schema of %.80q: declare the fields of its rows, or ask for the whole "+
			"resource", ErrInvalid, resource)
	}
	return nil
}

// meeting returns the indexes of the kinds that a template meets.
func (c *Catalogue) meeting(t template) (met []int) {
	for i, u := range c.templates() {
		if t.meets(u) {
			met = append(met, i)
		}
	}
	return met
}

// listed returns the templates of kinds for an error; nil: of all. It names a few.
func (c *Catalogue) listed(of []int) string {
	if of == nil {
		for i := range c.Resources {
			of = append(of, i)
		}
	}
	var names []string
	for _, i := range of[:min(len(of), 8)] {
		names = append(names, strconv.Quote(c.Resources[i].Template))
	}
	if len(of) > 8 {
		names = append(names, fmt.Sprintf("and %d more", len(of)-8))
	}
	return strings.Join(names, ", ")
}

// actionsOf returns the actions of kinds for an error.
func (c *Catalogue) actionsOf(of []int) string {
	all := map[Action]bool{}
	for _, i := range of {
		for _, a := range c.Resources[i].Actions {
			all[a] = true
		}
	}
	var names []string
	for _, a := range slices.Sorted(maps.Keys(all)) {
		names = append(names, strconv.Quote(string(a)))
	}
	return strings.Join(names, ", ")
}

// CheckRules returns what is wrong with the first rule that the host cannot mean, numbered from 1:
//
//   - a pattern that covers no resource of any declared kind. A wider one is fine: "*", "invoice/*".
//   - an action that no kind has which the rule covers. [Any] is fine.
//   - a condition or a forced value whose field is in no Schema of these kinds, or whose value does not fit the field.
//     The error is a *[ConditionError] then. Of a reference such as [Self] only the field is checked.
//
// Where a rule covers several kinds, each of its actions and fields need fit one of them. A pattern beneath "latchkey/"
// is known. Every other error wraps [ErrInvalid].
func (c *Catalogue) CheckRules(p Permissions) error {
	if c == nil {
		return nil
	}
	for i := range p {
		if err := c.checkRule(&p[i]); err != nil {
			return fmt.Errorf("rule %d: %w", i+1, err)
		}
	}
	return nil
}

func (c *Catalogue) checkRule(r *Rule) error {
	if err := r.Validate(); err != nil {
		return err
	}
	own := false // it covers resources of latchkey
	covered := map[int]bool{}
	for _, p := range r.patterns {
		if strings.HasPrefix(string(p), reserved) {
			own = true
			continue
		}
		met := c.meeting(templateOf(p))
		if len(met) == 0 {
			return fmt.Errorf("%w: the catalogue has no resource that %.80q covers: it has %s", ErrInvalid, string(p),
				c.listed(nil))
		}
		for _, i := range met {
			covered[i] = true
		}
	}
	if own {
		return nil // what latchkey's own resources have is not declared
	}
	kinds := slices.Sorted(maps.Keys(covered))
	for _, a := range r.actions {
		if a != Any && !slices.ContainsFunc(kinds, func(i int) bool { return slices.Contains(c.Resources[i].Actions, a) }) {
			return fmt.Errorf("%w: the catalogue has no action %q on %s: there are %s", ErrInvalid, string(a), c.listed(kinds),
				c.actionsOf(kinds))
		}
	}
	return c.checkFields(kinds, r.rows, r.forced)
}

// checkFields returns an error unless each comparison and each forced value fits the Schema of one of the kinds.
func (c *Catalogue) checkFields(kinds []int, rows Condition, forced Values) error {
	check := func(field string, fits func(*Schema) error) error {
		found := &ConditionError{Field: field, Unknown: true, Reason: "the catalogue has no such field in the rows of " +
			c.listed(kinds)}
		for _, i := range kinds {
			schema := c.Resources[i].Schema
			if schema == nil {
				continue
			}
			if _, ok := schema.column(field); !ok {
				continue
			}
			err := fits(schema)
			if err == nil {
				return nil
			}
			if of, ok := errors.AsType[*ConditionError](err); ok {
				noted := *of
				noted.OfRule = false // it is of who saves the rule
				found = &noted
			}
		}
		return found
	}
	for leaf := range rows.leaves() {
		err := check(leaf.field, func(s *Schema) error {
			if leaf.refs {
				return nil // what the caller has is not known yet
			}
			_, err := s.Bind(Condition{leaf})
			return err
		})
		if err != nil {
			return err
		}
	}
	for _, field := range slices.Sorted(maps.Keys(forced)) {
		err := check(field, func(s *Schema) error {
			if isRef(forced[field]) {
				return nil
			}
			_, err := s.force(Row{}, Values{field: forced[field]})
			return err
		})
		if err != nil {
			return err
		}
	}
	return nil
}

// leaves yields the comparisons of a condition.
func (c Condition) leaves() func(yield func(*node) bool) {
	return func(yield func(*node) bool) {
		var walk func(n *node) bool
		walk = func(n *node) bool {
			if n == nil {
				return true
			}
			if n.kind == nodeLeaf {
				return yield(n)
			}
			for _, part := range n.parts {
				if !walk(part) {
					return false
				}
			}
			return true
		}
		walk(c.n)
	}
}

// name sets what the catalogue says about the question of an explanation.
func (c *Catalogue) name(e *Explanation) {
	if c != nil {
		e.ActionWords, e.ResourceName = c.Actions[e.Action], c.NameOf(e.Resource)
		e.Undeclared = c.undeclared(e.Action, e.Resource)
	}
}

// undeclared returns why the catalogue does not know a question, in words; "" if it does.
func (c *Catalogue) undeclared(a Action, on Resource) string {
	if strings.HasPrefix(string(on), reserved) || !a.concrete() || !on.valid() {
		return ""
	}
	at := c.find(on)
	switch {
	case at < 0:
		return "the catalogue has no such resource"
	case !slices.Contains(c.Resources[at].Actions, a):
		return fmt.Sprintf("the catalogue has no such action on %q: there are %s", c.Resources[at].Template,
			c.actionsOf([]int{at}))
	}
	return ""
}

var fieldTypeNames = map[FieldType]string{Text: "text", Integer: "integer", Number: "number", Boolean: "boolean",
	Date: "date", DateTime: "datetime", Float: "float"}

// catalogueJSON is the JSON form of a Catalogue.
type catalogueJSON struct {
	Resources []resourceTypeJSON `json:"resources"`
	Actions   map[Action]string  `json:"actions,omitempty"`
}

type resourceTypeJSON struct {
	Template string            `json:"template"`
	Name     string            `json:"name,omitempty"`
	Actions  []Action          `json:"actions"`
	Fields   map[string]string `json:"fields,omitzero"` // types by name; missing: no Schema
}

// MarshalJSON writes the catalogue for a process without the code, such as a command line:
//
//	{"resources":[{"template":"invoice/{id}","name":"invoice","actions":["read"],"fields":{"region":"text"}}],
//	 "actions":{"approve":"approve and pay"}}
//
// The types of fields are text, integer, number, boolean, date, datetime and float. Columns are left out. It returns
// the error of Validate.
func (c *Catalogue) MarshalJSON() ([]byte, error) {
	if c == nil {
		return []byte("null"), nil
	}
	if err := c.Validate(); err != nil {
		return nil, err
	}
	form := catalogueJSON{Actions: c.Actions}
	for _, r := range c.Resources {
		t := resourceTypeJSON{Template: r.Template, Name: r.Name, Actions: r.Actions}
		if r.Schema != nil {
			t.Fields = map[string]string{}
			for name, f := range r.Schema.fields {
				t.Fields[name] = fieldTypeNames[f.Type]
			}
		}
		form.Resources = append(form.Resources, t)
	}
	return json.Marshal(form)
}

// ReadCatalogue reads what MarshalJSON writes. It returns [ErrInvalid] for anything else.
//
// The Schemas check rules as those of the host do. They have no columns of a table: do not use them for SQL.
func ReadCatalogue(data []byte) (*Catalogue, error) {
	var form *catalogueJSON
	if err := strictjson.Unmarshal(data, &form); err != nil {
		return nil, fmt.Errorf("%w: catalogue: %w", ErrInvalid, err)
	}
	if form == nil {
		return nil, fmt.Errorf("%w: catalogue: null", ErrInvalid)
	}
	c := &Catalogue{Actions: form.Actions}
	for _, t := range form.Resources {
		r := ResourceType{Template: t.Template, Name: t.Name, Actions: t.Actions}
		if t.Fields != nil {
			fields := Fields{}
			for i, name := range slices.Sorted(maps.Keys(t.Fields)) {
				typ, ok := fieldTypeOf(t.Fields[name])
				if !ok || name == "" {
					return nil, fmt.Errorf("%w: catalogue: resource %.80q: field %.80q has no name, or the unknown type %.80q",
						ErrInvalid, t.Template, name, t.Fields[name])
				}
				fields[name] = Field{Column: "field_" + strconv.Itoa(i+1), Type: typ}
			}
			r.Schema = NewSchema(fields)
		}
		c.Resources = append(c.Resources, r)
	}
	if err := c.Validate(); err != nil {
		return nil, err
	}
	return c, nil
}

func fieldTypeOf(name string) (FieldType, bool) {
	for t, n := range fieldTypeNames {
		if n == name {
			return t, true
		}
	}
	return 0, false
}
