package console

import (
	"html/template"
	"net/http"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"github.com/latchkey-go/latchkey"
	"github.com/latchkey-go/latchkey/internal/adapters"
)

// verdict is one answer as a page shows it.
type verdict struct {
	Action, Resource string
	Name             string        // what people call the resource; "": nothing
	Note             template.HTML // why the question cannot be meant
	Word, Class      string
	Rows             string // the condition on rows, in words
	Decided          string
	Reason           template.HTML
	SQL              string
	Args             []any
	NoSQL            template.HTML // why there is no SQL
	Steps            []string
	// How many more there are.
	StepsMore, ArgsMore int
}

// verdictOf renders an explanation.
func (v *view) verdictOf(e latchkey.Explanation, most int) verdict {
	action := strings.ReplaceAll(string(e.Action), string(otherAction), v.say("access.any-other"))
	if e.ActionWords != "" {
		action = e.ActionWords
	}
	out := verdict{Action: action, Resource: string(e.Resource), Name: e.ResourceName,
		Note:    v.inEnglish(adapters.Sentence(e.Undeclared)),
		Decided: v.layerName(e.Decided), Reason: v.reason(&e, most)}
	switch e.Verdict {
	case "all":
		out.Word, out.Class = v.say("access.every-row"), "on"
	case "some":
		out.Word, out.Class, out.Rows = v.say("access.some-rows"), "warn", e.Rows.String()
	default:
		out.Word, out.Class = v.say("access.no"), "off"
	}
	return out
}

// verdicts returns the rows of the table. Actions on one resource with the same answer share a row.
func (v *view) verdicts(answers []latchkey.Explanation) []verdict {
	var rows []verdict
	for _, e := range answers {
		x := v.verdictOf(e, maxFact)
		x.Rows = shorten(x.Rows, 160)
		i := slices.IndexFunc(rows, func(y verdict) bool {
			return y.Resource == x.Resource && y.Word == x.Word && y.Rows == x.Rows && y.Decided == x.Decided &&
				y.Reason == x.Reason
		})
		if i < 0 {
			rows = append(rows, x)
		} else {
			rows[i].Action += ", " + x.Action
		}
	}
	return rows
}

// named returns a text of an explanation with the names of tokens in place of their ids: see callThem.
func (v *view) named(text string) string {
	for id, name := range v.called {
		text = strings.ReplaceAll(text, id, name)
	}
	return text
}

// roleIDs matches the ids that an explanation writes after the names of roles, for logs.
var roleIDs = regexp.MustCompile(` \([0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}\)`)

// placeholder returns the segment that stands for anything no pattern names: "…", or more of them if a pattern holds
// that.
func placeholder(lists []latchkey.Permissions) string {
	s := "…"
	for _, rules := range lists {
		for _, r := range rules {
			for _, p := range r.Patterns() {
				for strings.Contains(string(p), s) {
					s += "…"
				}
			}
		}
	}
	return s
}

const otherAction latchkey.Action = "any-other"

// unnamedAction returns an action that stands for all that no rule names.
func unnamedAction(lists []latchkey.Permissions) latchkey.Action {
	named := map[latchkey.Action]bool{}
	for _, rules := range lists {
		for _, r := range rules {
			for _, a := range r.Actions() {
				named[a] = true
			}
		}
	}
	a := otherAction
	for named[a] { // a rule names this action
		a += "-" + otherAction
	}
	return a
}

// sampleOf returns a resource that stands for all that a pattern covers, for the client of a token; "": none.
func sampleOf(p latchkey.Pattern, stand, client string) latchkey.Resource {
	segments := strings.Split(string(p), "/")
	for i, s := range segments {
		switch {
		case s == string(latchkey.ClientSegment) && client != "":
			segments[i] = string(latchkey.Path(client))
		case s == "*", s == string(latchkey.AnySegment), s == string(latchkey.ClientSegment):
			segments[i] = stand
		}
	}
	return latchkey.Resource(strings.Join(segments, "/"))
}

const (
	maxQuestions = 60
	maxRowBytes  = 36_000 // of the table, as a page writes it
)

// size estimates the bytes of a row of the table.
func (x *verdict) size() int {
	n := 450
	for _, s := range []string{x.Action, x.Resource, x.Name, x.Rows, x.Decided, string(x.Reason)} {
		n += len(template.HTMLEscapeString(s))
	}
	return n
}

// questions returns the questions that the rules and the catalogue give rise to, about a token of a client; "": none.
func (v *view) questions(client string, lists ...latchkey.Permissions) []latchkey.Question {
	var out []latchkey.Question
	seen := map[latchkey.Question]bool{}
	all := placeholder(lists)
	add := func(a latchkey.Action, on latchkey.Pattern) {
		q := latchkey.Question{Action: a, Resource: sampleOf(on, all, client)}
		if a != latchkey.Any && !seen[q] {
			seen[q] = true
			out = append(out, q)
		}
	}
	usual := []latchkey.Action{latchkey.Read, latchkey.Create, latchkey.Update, latchkey.Delete, unnamedAction(lists)}
	for _, g := range v.rights {
		for _, r := range g.rights {
			if g.places == nil {
				add(r.Action, r.Pattern)
			}
		}
	}
	for _, rules := range lists {
		for _, r := range rules {
			for _, p := range r.Patterns() {
				for _, a := range r.Actions() {
					if a == latchkey.Any {
						for _, u := range usual {
							add(u, p)
						}
					}
					add(a, p)
				}
			}
		}
	}
	return out
}

// rulesOf returns all lists of rules that decide about a token or a role.
func rulesOf(l *latchkey.Lineage) []latchkey.Permissions {
	lists := []latchkey.Permissions{l.Token.Permissions}
	if full := l.Token.Kind == latchkey.KindSecret; full { // no rule says that it may do anything
		lists = append(lists, anything)
	}
	for i := range l.Ancestors {
		lists = append(lists, l.Ancestors[i].Permissions)
		if l.Ancestors[i].Kind == latchkey.KindSecret {
			lists = append(lists, anything)
		}
	}
	for i := range l.Roles {
		lists = append(lists, l.Roles[i].Permissions, l.Roles[i].Boundary)
	}
	return append(lists, l.Boundary)
}

var anything = latchkey.Permissions{latchkey.Allow(latchkey.Any).On("*"), latchkey.Allow(latchkey.Any).On("latchkey/*")}

// tokenAccess serves token/*/access.
func (v *view) tokenAccess(id string) error {
	l, err := v.account.Lineage(v.r.Context(), id)
	if err != nil {
		return err
	}
	facts, more := v.facts(&l, true)
	v.callThem(&l)
	return v.showAccess(accessPage{
		page: ui{Title: v.heading("access.title", "name", label(&l.Token)), Nav: "tokens"}, back: "token/" + id,
		state: v.words.refusedState(v.words.stateOf(&l.Token, v.now), l.Refused),
		ask:   v.questions(l.Token.Client.ID, rulesOf(&l)...), facts: facts, factsMore: more, chain: v.chain(&l),
		hidden: l.Hidden,
		explain: func(ask ...latchkey.Question) ([]latchkey.Explanation, error) {
			return v.account.Explain(v.r.Context(), id, ask...)
		}})
}

// roleAccess serves role/*/access.
func (v *view) roleAccess(id string) error {
	l, err := v.account.RoleLineage(v.r.Context(), id)
	if err != nil {
		return err
	}
	name := id
	for i := range l.Roles {
		if l.Roles[i].ID == id {
			name = exact(l.Roles[i].Name)
		}
	}
	var step chainStep
	for i := range l.Roles {
		if l.Roles[i].ID == id {
			step.Own = len(l.Roles[i].Permissions)
			step.Roles, step.RolesMore = rolesOf(l.Roles[i].Inherits, l.Roles)
		}
	}
	chain := []chainStep{step}
	if l.Boundary != nil {
		chain = append(chain, chainStep{Account: true, Own: len(l.Boundary)})
	}
	return v.showAccess(accessPage{page: ui{Title: v.heading("access.title-role", "name", name), Nav: "roles"},
		chain: chain, hidden: l.Hidden,
		back: "role/" + id,
		ask:  v.questions("", rulesOf(&l)...), explain: func(ask ...latchkey.Question) ([]latchkey.Explanation, error) {
			return v.account.ExplainRole(v.r.Context(), id, ask...)
		}})
}

// accessPage is the content of a page of answers.
type accessPage struct {
	page      ui
	back      string
	state     state
	ask       []latchkey.Question
	facts     []fact
	factsMore int
	chain     []chainStep // where the rights come from
	hidden    bool        // the person may not see all of it
	explain   func(...latchkey.Question) ([]latchkey.Explanation, error)
}

// Bounds of what the tester shows, in runes and in lines of the explanation. What is longer is cut and marked.
const (
	maxAnswerLength = 2000
	maxSteps        = 60
)

// showAccess shows the table of what is allowed, in parts, and the tester. A test changes nothing, so it is a GET.
func (v *view) showAccess(x accessPage) error {
	what, _, _ := strings.Cut(x.back, "/")
	from, _ := strconv.Atoi(text(v.query, "from"))
	if from < 0 || from >= len(x.ask) {
		from = 0
	}
	asked := slices.Clone(x.ask[from:min(len(x.ask), from+maxQuestions)])
	data := map[string]any{"Back": x.back, "What": what, "State": x.state, "Action": text(v.query, "action"),
		"Resource": text(v.query, "resource"), "Test": nil, "Facts": x.facts, "FactsMore": x.factsMore, "Chain": x.chain,
		"Hidden": x.hidden, "All": len(x.ask)}
	if data["Action"] == "" {
		data["Action"] = "read"
	}
	data["Actions"], data["Resources"] = v.choices()
	tested := text(v.query, "resource") != ""
	if tested {
		asked = append(asked, latchkey.Question{Action: latchkey.Action(text(v.query, "action")),
			Resource: latchkey.Resource(text(v.query, "resource"))})
	}
	answers, err := x.explain(asked...)
	if err != nil {
		return err
	}
	if tested {
		last := answers[len(answers)-1]
		answers = answers[:len(answers)-1]
		y := v.verdictOf(last, maxAnswerLength)
		v.sql(&y, last)
		y.Rows = shorten(y.Rows, maxAnswerLength)
		y.SQL = shorten(y.SQL, 2*maxAnswerLength)
		for line := range strings.Lines(last.String()) {
			if len(y.Steps) == maxSteps {
				y.StepsMore++
				continue
			}
			y.Steps = append(y.Steps, shorten(strings.TrimRight(line, "\n"), 200))
		}
		for i := range y.Args {
			if text, ok := y.Args[i].(string); ok {
				y.Args[i] = shorten(text, 200)
			}
		}
		if more := len(y.Args) - maxSteps; more > 0 {
			y.Args, y.ArgsMore = y.Args[:maxSteps], more
		}
		data["Test"] = &y
	}
	shown := part(len(answers), 0, maxQuestions, maxRowBytes, func(i int) int {
		y := v.verdictOf(answers[i], maxFact)
		y.Rows = shorten(y.Rows, 160)
		return y.size()
	})
	data["Rows"], data["From"] = v.verdicts(answers[:shown]), from
	data["More"], data["Earlier"] = len(x.ask)-from-shown, max(0, from-maxQuestions)
	data["Later"] = from + shown
	return v.show(http.StatusOK, "access", x.page, data)
}

// choices returns the declared actions and kinds of resources, for the fields of the tester: at most 60 of each.
func (v *view) choices() (actions, resources []option) {
	if v.host == nil {
		return nil, nil
	}
	for _, a := range v.host.Declared() {
		actions = append(actions, option{Value: string(a), Text: v.host.Actions[a]})
	}
	for _, r := range v.host.Resources {
		resources = append(resources, option{Value: r.Template, Text: r.Name})
	}
	return actions[:min(len(actions), maxDeclared)], resources[:min(len(resources), maxDeclared)]
}

// sql sets the filter as SQL for the resource's own database.
func (v *view) sql(x *verdict, e latchkey.Explanation) {
	if e.Verdict == "none" || v.opts.Schema == nil {
		return
	}
	schema, dialect := v.opts.Schema(e.Resource)
	if schema == nil {
		x.NoSQL = v.rich("access.no-sql")
		return
	}
	p, err := schema.Bind(e.Rows)
	if err != nil {
		x.NoSQL = v.rich("access.no-sql-fields") + " " + v.errorText(err)
		return
	}
	x.SQL, x.Args = p.SQL(dialect, 1)
}
