package api

import (
	"errors"
	"net/http"
	"time"

	"github.com/latchkey-go/latchkey"
)

// maxLooked bounds the tokens that one request of whoMay finds out about. Each may cost a read of the store.
const maxLooked = 1000

// maxQuestions bounds the questions of one request.
const maxQuestions = 100

// Questions are what is asked about.
type Questions struct {
	// At most 100.
	Questions []latchkey.Question `json:"questions"`
}

func (in *Questions) check() error {
	if n := len(in.Questions); n == 0 || n > maxQuestions {
		return badMember("/questions", "must have 1 to 100 questions", nil)
	}
	return nil
}

func answered(list []latchkey.Explanation, err error) (List[latchkey.Explanation], error) {
	return List[latchkey.Explanation]{Items: append([]latchkey.Explanation{}, list...)}, err
}

func (c *call) explainToken(in *Questions) (List[latchkey.Explanation], error) {
	if err := in.check(); err != nil {
		return List[latchkey.Explanation]{}, err
	}
	list, err := c.account.Explain(c.ctx(), c.id(), in.Questions...)
	return answered(list, c.hidden(err))
}

func (c *call) explainRole(in *Questions) (List[latchkey.Explanation], error) {
	if err := in.check(); err != nil {
		return List[latchkey.Explanation]{}, err
	}
	list, err := c.account.ExplainRole(c.ctx(), c.id(), in.Questions...)
	return answered(list, c.hidden(err))
}

// Lineage is a token or a role with all records that decide about it.
type Lineage struct {
	// Absent for a role.
	Token *Token `json:"token,omitempty"`
	// The tokens it was minted from, its parent first.
	Ancestors []Ancestor `json:"ancestors,omitempty"`
	// All that are named or inherited, by id.
	Roles []Role `json:"roles,omitempty"`
	// The account's. Absent: none.
	Boundary latchkey.Permissions `json:"boundary,omitzero"`
	// The account's, for a caller that may read them.
	Limits Limits `json:"limits,omitzero"`
	// Ids of roles of the program that are named and that this process lacks.
	MissingRoles []string `json:"missing_roles,omitempty"`
	// When roles that are named end, by id; past ones too.
	RoleEnds map[string]time.Time `json:"role_ends,omitempty"`
	// The first end of the token and its ancestors.
	Ends time.Time `json:"ends,omitzero"`
	// Something is left out because the caller may not read it.
	Hidden bool `json:"hidden,omitempty"`
}

// Ancestor is a token that another was minted from.
type Ancestor struct {
	ID     string `json:"id"`               // Its id.
	Parent string `json:"parent,omitempty"` // The id of the token that minted it. Absent: it was issued.
	// How many ancestors it has itself.
	Depth uint8 `json:"depth"`
	// Absent: the caller may not read it.
	Token *Token `json:"token,omitempty"`
}

func lineageOf(l latchkey.Lineage) Lineage {
	out := Lineage{Boundary: l.Boundary, Limits: Limits(l.Limits), MissingRoles: l.MissingRoles, RoleEnds: l.RoleEnds,
		Ends: l.Ends, Hidden: l.Hidden}
	if l.Token.ID != "" {
		t := shown(l.Token, l.Refused)
		out.Token = &t
	}
	for _, t := range l.Ancestors {
		a := Ancestor{ID: t.ID, Parent: t.Parent, Depth: t.Depth}
		if t.Version != 0 { // else nothing but that is known to the caller
			a.Token = &Token{Token: t, Kind: t.Kind, Limits: Limits(t.Limits)}
		}
		out.Ancestors = append(out.Ancestors, a)
	}
	for _, r := range l.Roles {
		out.Roles = append(out.Roles, roleOf(r))
	}
	return out
}

func (c *call) tokenLineage(*none) (Lineage, error) {
	l, err := c.account.Lineage(c.ctx(), c.id())
	return lineageOf(l), err
}

func (c *call) roleLineage(*none) (Lineage, error) {
	l, err := c.account.RoleLineage(c.ctx(), c.id())
	return lineageOf(l), err
}

// Holder is a token that may do what was asked about.
type Holder struct {
	Token Token `json:"token"` // The token.
	// The rows that it may do it to. Absent: hidden or unknown.
	Rows *latchkey.Condition `json:"rows,omitempty"`
	// The caller may not read a role or a token that the rights come from.
	Hidden bool `json:"hidden,omitempty"`
	// Whether it may do it is not known: a record that it depends on cannot be read.
	Unknown bool `json:"unknown,omitempty"`
}

func (q query) who() latchkey.WhoQuery {
	return latchkey.WhoQuery{Action: latchkey.Action(q["action"]), Resource: latchkey.Resource(q["resource"]),
		Minted: q.bool("minted")}
}

func (c *call) whoMay(*none) (List[Holder], error) {
	page, err := c.page()
	if err != nil {
		return List[Holder]{}, err
	}
	var found []latchkey.Holder
	var unknown []bool
	looked, last, next := 0, "", ""
	q := c.query.who()
	q.After, q.Seen = page.After, func(t latchkey.Token) bool {
		if looked == maxLooked {
			next = last
			return false
		}
		looked, last = looked+1, t.ID
		return true
	}
	for h, err := range c.account.WhoOf(c.ctx(), q) {
		_, damaged := errors.AsType[*latchkey.DamagedError](err)
		if err != nil && (!damaged || h.Token.ID == "") {
			return List[Holder]{}, err
		}
		found, unknown = append(found, h), append(unknown, damaged)
		if len(found) > page.Limit {
			break
		}
	}
	if len(found) > page.Limit {
		found = found[:page.Limit]
		next = found[page.Limit-1].Token.ID
	}
	records := make([]latchkey.Token, len(found))
	for i, h := range found {
		records[i] = h.Token
	}
	tokens, err := c.tokens(records...)
	if err != nil {
		return List[Holder]{}, err
	}
	out := List[Holder]{Items: make([]Holder, len(found)), Next: c.cursor(next)}
	for i, h := range found {
		out.Items[i] = Holder{Token: tokens[i], Hidden: h.Hidden, Unknown: unknown[i]}
		if !h.Hidden && !unknown[i] {
			out.Items[i].Rows = &h.Rows
		}
	}
	return out, nil
}

// actionAndResource are the parameters of a question.
var actionAndResource = []parameter{
	{name: "action", required: true, text: "One action, such as read."},
	{name: "resource", required: true, text: "One resource, such as dataset/orders."},
}

func lineageOperations() []*operation {
	return []*operation{
		handle(operation{id: "explainToken", method: http.MethodPost, path: "/tokens/{id}/explain", tag: "token",
			summary: "Explain what a token may do", text: "One answer for each question, with the rules that decided. The " +
				"caller must also be able to read the roles and the tokens that its rights come from."},
			(*call).explainToken),
		handle(operation{id: "tokenLineage", method: http.MethodGet, path: "/tokens/{id}/lineage", tag: "token",
			summary: "Read all that decides about a token"}, (*call).tokenLineage),
		handle(operation{id: "explainRole", method: http.MethodPost, path: "/roles/{id}/explain", tag: "role",
			summary: "Explain what a role allows", text: "To a token that has it alone. References stay as they are."},
			(*call).explainRole),
		handle(operation{id: "roleLineage", method: http.MethodGet, path: "/roles/{id}/lineage", tag: "role",
			summary: "Read a role with all that it inherits"}, (*call).roleLineage),
		handle(operation{id: "whoMay", method: http.MethodGet, path: "/who", tag: "token",
			summary: "List the tokens that may do something", text: "On the resource, or on some of its rows. Only tokens " +
				"that would be accepted now. A page may have fewer items than limit, or none, and yet a next.",
			query: params(actionAndResource, []parameter{{name: "minted", kind: boolParameter,
				text: "Also tokens that were minted. Each may do no more than the token it was minted from."}},
				pageParameters)}, (*call).whoMay),
	}
}
