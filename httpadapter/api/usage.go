package api

import (
	"encoding/json"
	"net/http"

	"github.com/latchkey-go/latchkey"
	"github.com/latchkey-go/latchkey/httpadapter"
)

// maxRows bounds the rows of one reply about usage: they are sums, and have no pages.
const maxRows = 10_000

func bounded[T any](rows []T, err error) (List[T], error) {
	if err == nil && len(rows) > maxRows {
		err = httpadapter.Refusal(problem(http.StatusBadRequest, "too-many-rows", "Too many rows",
			"The reply would have more than 10,000 rows: name fewer columns in by, or a shorter range."), nil)
	}
	return List[T]{Items: append([]T{}, rows...)}, err
}

var days = []parameter{
	{name: "from", kind: dayParameter, text: "The first day, in UTC."},
	{name: "to", kind: dayParameter, text: "The last day, in UTC."},
}

func (c *call) listUsage(*none) (List[latchkey.UsageRow], error) {
	return bounded(c.account.Usage(c.ctx(), c.query.usage()))
}

func (q query) usage() latchkey.UsageQuery {
	return latchkey.UsageQuery{TokenIDs: q.list("token"), Meters: q.list("meter"), ClientID: q["client"], From: q["from"],
		To: q["to"], By: q.list("by")}
}

func (c *call) listRefusals(*none) (List[latchkey.RefusalCount], error) {
	return bounded(c.account.RefusalReport(c.ctx(), c.query.refusals()))
}

func (q query) refusals() latchkey.RefusalQuery {
	return latchkey.RefusalQuery{TokenIDs: q.list("token"), From: q["from"], To: q["to"], By: q.list("by")}
}

func (c *call) listEvents(*none) (List[latchkey.Event], error) {
	page, err := c.page()
	if err != nil {
		return List[latchkey.Event]{}, err
	}
	q := c.query.events()
	q.Page = page
	l, err := c.account.EventsPage(c.ctx(), q)
	return list(c, l, func(e latchkey.Event) latchkey.Event { return e }), err
}

func (q query) events() latchkey.EventQuery {
	return latchkey.EventQuery{Actor: q.pointer("actor"), Object: q["object"], Action: q["action"], From: q.time("from"),
		To: q.time("to"), Reverse: q["order"] != "oldest"}
}

// Catalogue is what the host declares of its resources and actions.
type Catalogue struct {
	Resources []ResourceType `json:"resources,omitempty"` // The kinds of resources that there are.
	// What people call actions.
	Actions map[latchkey.Action]string `json:"actions,omitempty"`
}

// ResourceType is one kind of resource.
type ResourceType struct {
	// Such as invoice/{id}.
	Template string `json:"template"`
	// What people call it.
	Name    string            `json:"name,omitempty"`
	Actions []latchkey.Action `json:"actions,omitempty"` // The actions that there are on it.
	// The types of the fields of its rows: text, integer, number, boolean, date, datetime or float.
	Fields map[string]string `json:"fields,omitempty"`
}

func (c *call) getCatalogue(*none) (out Catalogue, err error) {
	declared := c.manager().Catalogue()
	if declared == nil {
		return out, latchkey.ErrNotFound
	}
	text, err := json.Marshal(declared)
	if err == nil {
		err = json.Unmarshal(text, &out)
	}
	return out, err
}

func usageOperations() []*operation {
	return []*operation{
		handle(operation{id: "listUsage", method: http.MethodGet, path: "/usage", tag: "usage",
			summary: "Sum up usage", text: "By the columns that by names; without it one sum of everything. At most 10,000 " +
				"rows.",
			query: params(days, []parameter{
				{name: "by", kind: listParameter, values: []string{"token", "client", "meter", "endpoint", "day"},
					text: "Columns, with commas between."},
				{name: "token", kind: listParameter, text: "Of the tokens with these ids."},
				{name: "meter", kind: listParameter, text: "Of these meters."},
				{name: "client", text: "Of the client with this id."},
			})}, (*call).listUsage),
		handle(operation{id: "listRefusals", method: http.MethodGet, path: "/refusals", tag: "usage",
			summary: "Count refusals of tokens", text: "By the columns that by names; without it by token, day and reason.",
			query: params(days, []parameter{
				{name: "by", kind: listParameter, values: []string{"token", "reason", "day"},
					text: "Columns, with commas between."},
				{name: "token", kind: listParameter, text: "Of the tokens with these ids."},
			})}, (*call).listRefusals),
		handle(operation{id: "listEvents", method: http.MethodGet, path: "/events", tag: "usage",
			summary: "Read the audit trail", text: "Newest first unless order says otherwise. A page may have fewer items " +
				"than limit, or none, and yet a next.",
			query: params([]parameter{
				{name: "actor", text: "Who did it: the id of a token, client:<id> for somebody who was signed in, empty for the " +
					"host."},
				{name: "object", text: "The id of the record it was done to."},
				{name: "action", text: "The action, or how it begins if it ends in a dot: token. selects token.issue."},
				{name: "from", kind: timeParameter, text: "At this time or later."},
				{name: "to", kind: timeParameter, text: "Before this time."},
				{name: "order", values: []string{"newest", "oldest"}, text: "Which comes first. Without it: newest."},
			}, pageParameters)}, (*call).listEvents),
		handle(operation{id: "getCatalogue", method: http.MethodGet, path: "/catalogue", tag: "owner",
			summary: "Read the resources and actions that the host declares", text: "404 if it declares none.",
			refuses: []int{404}}, (*call).getCatalogue),
	}
}
