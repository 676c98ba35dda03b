package console

import (
	"html/template"
	"net/http"
	"regexp"
	"slices"
	"strings"

	"github.com/latchkey-go/latchkey"
)

// verdict is one answer as a page shows it.
type verdict struct {
	Action, Resource string
	Word, Class      string
	Rows             string // which rows, in words
	Decided, Reason  string
	SQL              string
	Args             []any
	NoSQL            string // why there is no SQL
	Steps            []string
}

func (v *visit) verdictOf(e latchkey.Explanation) verdict {
	out := verdict{Action: string(e.Action), Resource: string(e.Resource), Decided: e.Decided, Reason: sentence(roleIDs.ReplaceAllString(e.Reason, ""))}
	switch e.Verdict {
	case "all":
		out.Word, out.Class = "every row", "on"
	case "some":
		out.Word, out.Class, out.Rows = "some rows", "warn", e.Rows.String()
	default:
		out.Word, out.Class = "no", "off"
	}
	return out
}

// verdicts are answers as a table has them: actions on one thing that get one answer share a row.
func (v *visit) verdicts(answers []latchkey.Explanation) []verdict {
	var rows []verdict
	for _, e := range answers {
		x := v.verdictOf(e)
		x.Rows, x.Reason = short(x.Rows, 160), short(x.Reason, 240)
		i := slices.IndexFunc(rows, func(y verdict) bool {
			return y.Resource == x.Resource && y.Word == x.Word && y.Rows == x.Rows && y.Decided == x.Decided && y.Reason == x.Reason
		})
		if i < 0 {
			rows = append(rows, x)
		} else {
			rows[i].Action += ", " + x.Action
		}
	}
	return rows
}

// roleIDs are what an explanation writes behind the names of roles, for logs.
var roleIDs = regexp.MustCompile(` \([0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}\)`)

// probe is a resource that stands for everything a pattern covers.
func probe(p latchkey.Pattern) latchkey.Resource {
	if p == "*" {
		return "…"
	}
	if above, ok := strings.CutSuffix(string(p), "/*"); ok {
		return latchkey.Resource(above + "/…")
	}
	return latchkey.Resource(p)
}

const (
	maxProbes   = 60
	maxRowBytes = 36_000 // of the table of answers, as a page writes it
)

// size is about what a row of the table weighs.
func (x *verdict) size() int {
	n := 450
	for _, s := range []string{x.Action, x.Resource, x.Rows, x.Decided, x.Reason} {
		n += len(template.HTMLEscapeString(s))
	}
	return n
}

// probes are the questions that rules and the catalogue give rise to.
func (v *visit) probes(lists ...latchkey.Permissions) []latchkey.Question {
	var out []latchkey.Question
	add := func(a latchkey.Action, on latchkey.Pattern) {
		q := latchkey.Question{Action: a, Resource: probe(on)}
		if len(out) < maxProbes && a != latchkey.Any && !slices.Contains(out, q) {
			out = append(out, q)
		}
	}
	usual := []latchkey.Action{latchkey.Read, latchkey.Create, latchkey.Update, latchkey.Delete}
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

func (v *visit) tokenAccess(id string) error {
	t, err := v.account.Get(v.r.Context(), id)
	if err != nil {
		return err
	}
	lists := []latchkey.Permissions{t.Permissions}
	for _, role := range t.Roles {
		if r, err := v.account.Role(v.r.Context(), role); err == nil {
			lists = append(lists, r.Permissions)
		}
	}
	return v.showAccess(ui{Title: "What " + label(&t) + " may do", Nav: "tokens"}, "token/"+id, stateOf(&t, v.now), v.probes(lists...),
		func(ask ...latchkey.Question) ([]latchkey.Explanation, error) {
			return v.account.Explain(v.r.Context(), id, ask...)
		})
}

func (v *visit) roleAccess(id string) error {
	r, err := v.account.Role(v.r.Context(), id)
	if err != nil {
		return err
	}
	lists := []latchkey.Permissions{r.Permissions}
	for _, up := range r.Inherits {
		if r, err := v.account.Role(v.r.Context(), up); err == nil {
			lists = append(lists, r.Permissions)
		}
	}
	return v.showAccess(ui{Title: "What the role " + r.Name + " allows", Nav: "roles"}, "role/"+id, state{}, v.probes(lists...),
		func(ask ...latchkey.Question) ([]latchkey.Explanation, error) {
			return v.account.ExplainRole(v.r.Context(), id, ask...)
		})
}

// showAccess is the table of what is allowed, and the tester. A test is a question, so it is a GET.
func (v *visit) showAccess(page ui, back string, st state, ask []latchkey.Question,
	explain func(...latchkey.Question) ([]latchkey.Explanation, error)) error {
	what, _, _ := strings.Cut(back, "/")
	data := map[string]any{"Back": back, "What": what, "State": st, "Action": text(v.query, "action"), "Resource": text(v.query, "resource"), "Test": nil}
	if data["Action"] == "" {
		data["Action"] = "read"
	}
	tested := text(v.query, "resource") != ""
	if tested {
		ask = append(ask, latchkey.Question{Action: latchkey.Action(text(v.query, "action")),
			Resource: latchkey.Resource(text(v.query, "resource"))})
	}
	answers, err := explain(ask...)
	if err != nil {
		return err
	}
	if tested {
		last := answers[len(answers)-1]
		answers = answers[:len(answers)-1]
		x := v.verdictOf(last)
		v.sql(&x, last)
		for line := range strings.Lines(last.String()) {
			x.Steps = append(x.Steps, strings.TrimRight(line, "\n"))
		}
		data["Test"] = &x
	}
	rows := v.verdicts(answers)
	shown := part(len(rows), 0, maxProbes, maxRowBytes, func(i int) int { return rows[i].size() })
	data["Rows"], data["More"] = rows[:shown], len(rows)-shown
	return v.show(http.StatusOK, "access", page, data)
}

// sql is the filter as the resource's own database would run it.
func (v *visit) sql(x *verdict, e latchkey.Explanation) {
	if e.Verdict == "none" || v.opts.Schema == nil {
		return
	}
	schema, dialect := v.opts.Schema(e.Resource)
	if schema == nil {
		x.NoSQL = "This server knows no fields of that resource."
		return
	}
	p, err := schema.Bind(e.Rows)
	if err != nil {
		x.NoSQL = "The filter does not fit the fields of that resource: " + why(err)
		return
	}
	x.SQL, x.Args = p.SQL(dialect, 1)
}
