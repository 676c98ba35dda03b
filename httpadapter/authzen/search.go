package authzen

import (
	"context"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/latchkey-go/latchkey"
	"github.com/latchkey-go/latchkey/httpadapter"
	"github.com/latchkey-go/latchkey/internal/strictjson"
)

// searchReply is the response of §8.3. Page comes first, as it should.
type searchReply struct {
	Page    pageReply `json:"page"`
	Results []found   `json:"results"`
}

type pageReply struct {
	Next  string `json:"next_token"`
	Count int    `json:"count"`
}

// found is an entity: one with a type and an id, or an action.
type found struct {
	Type string `json:"type,omitempty"`
	ID   string `json:"id,omitempty"`
	Name string `json:"name,omitempty"`
}

// position is what a page token holds. It needs no signature: whatever it says, the caller gets only what it may see.
type position struct {
	After string `json:"a"`           // the id, or the name, that the page begins behind
	Limit *int64 `json:"l,omitempty"` // of the first request
	Of    []byte `json:"of"`          // a digest of the search and of the caller
}

// page is one page of a search while it is collected.
type page struct {
	after  string
	most   int
	looked int
	last   string // the last candidate that was looked at
	next   string // not "": where the next page begins
	list   []found
}

// look reports whether one more candidate may be looked at.
func (p *page) look(at string) bool {
	if p.looked == maxLooked {
		p.next = p.last
		return false
	}
	p.looked++
	p.last = at
	return true
}

// add adds a result, and reports whether the page goes on.
func (p *page) add(f found) bool {
	if len(p.list) == p.most {
		f = p.list[p.most-1]
		p.next = f.ID + f.Name // one of them is ""
		return false
	}
	p.list = append(p.list, f)
	return true
}

// search answers a search. What names the endpoint.
func (c *caller) search(what string, q *Question, f *pageForm, find func(*page) error) (any, error) {
	at := position{Limit: f.Limit}
	who, err := json.Marshal([]any{what, c.access.Owner(), c.access.TokenID(), c.access.Client().ID, q})
	if err != nil {
		return nil, err // cannot fail: it came from JSON
	}
	digest := sha256.Sum256(who)
	at.Of = digest[:16]
	if f.Token != nil && *f.Token != "" {
		if at, err = readPosition(*f.Token, at); err != nil {
			return nil, err
		}
	}
	p := &page{after: at.After, most: latchkey.Page{}.Size(), list: []found{}}
	if at.Limit != nil {
		if *at.Limit < 0 {
			return nil, httpadapter.BadRequest("the limit of the page is negative")
		}
		p.most = latchkey.Page{Limit: int(min(*at.Limit, 1<<20))}.Size()
	}
	if at.Limit != nil && *at.Limit == 0 { // a page of nothing, before whatever there is
		return searchReply{Page: pageReply{Next: at.text()}, Results: p.list}, nil
	}
	if err := find(p); err != nil {
		return nil, err
	}
	reply := searchReply{Page: pageReply{Count: len(p.list)}, Results: p.list}
	if p.next != "" {
		at.After = p.next
		reply.Page.Next = at.text()
	}
	return reply, nil
}

// text returns the position as a page token.
func (p position) text() string {
	data, err := json.Marshal(p)
	if err != nil { // cannot fail for texts and numbers
		panic(err)
	}
	return base64.RawURLEncoding.EncodeToString(data)
}

// readPosition reads a page token of a search that begins with first.
func readPosition(text string, first position) (position, error) {
	data, err := base64.RawURLEncoding.Strict().DecodeString(text)
	var at position
	if err == nil {
		err = strictjson.Unmarshal(data, &at)
	}
	switch {
	case err != nil || !slices.Equal(at.Of, first.Of) || strings.Contains(at.After, "\x00"): // no id, and not in SQL
		return position{}, httpadapter.BadRequest("the token of the page is not one of this search: repeat the " +
			"entities of the request that it came from")
	case first.Limit != nil && (at.Limit == nil || *at.Limit != *first.Limit):
		return position{}, httpadapter.BadRequest("the limit of the page differs from that of the first page")
	}
	return at, nil
}

// searchSubject serves the Subject Search API (§8.4).
func (c *caller) searchSubject(ctx context.Context, f *subjectSearchForm) (any, error) {
	q, err := f.question()
	if err != nil {
		return nil, asBadRequest(err)
	}
	return c.search("subject", &q, &f.Page, func(p *page) error {
		if t, ok := c.opts.Subjects[q.Subject.Type]; ok {
			return c.findSubjects(ctx, q, t, p)
		}
		if q.Subject.Type == typeToken {
			return c.findTokens(ctx, q, p)
		}
		return nil
	})
}

// findTokens finds the tokens that may do what is asked.
func (c *caller) findTokens(ctx context.Context, q Question, p *page) error {
	ask := latchkey.WhoQuery{Page: latchkey.Page{After: p.after}, Action: c.opts.Action(q.Action),
		Resource: c.kind(q.Resource.Type).resource(q.Resource.ID), Minted: true,
		Seen: func(t latchkey.Token) bool { return p.look(t.ID) }}
	if !askable(ask.Action) || ask.Resource.Validate() != nil {
		return nil
	}
	var damaged *latchkey.DamagedError
	for h, err := range c.as.WhoOf(ctx, ask) {
		switch {
		case errors.As(err, &damaged): // it is not known whether it may
			continue
		case err != nil:
			return err
		case h.Token.Test != c.access.Test():
			continue
		}
		if q.Subject.ID = h.Token.ID; h.Hidden || !h.Rows.IsAllRows() {
			if ok, err := c.allows(ctx, &q); err != nil {
				return err
			} else if !ok {
				continue
			}
		}
		if !p.add(found{Type: typeToken, ID: h.Token.ID}) {
			return nil
		}
	}
	return nil
}

// askable reports whether an action can be asked about.
func askable(a latchkey.Action) bool { return a != latchkey.Any && a.Validate() == nil }

// listed is how many subjects a List is asked for at once.
const listed = 100

// findSubjects finds subjects of a type of the host's.
func (c *caller) findSubjects(ctx context.Context, q Question, t SubjectType, p *page) error {
	if t.List == nil {
		return nil
	}
	for after := p.after; ; {
		ids, err := t.List(ctx, c.account, latchkey.Page{After: after, Limit: listed})
		if err != nil {
			return err
		}
		for _, id := range ids {
			if id <= after {
				return fmt.Errorf("authzen: Options.Subjects: %q: List must return ids behind After, in order", q.Subject.Type)
			}
			if after = id; !p.look(id) {
				return nil
			}
			q.Subject.ID = id
			if ok, err := c.allows(ctx, &q); err != nil {
				return err
			} else if ok && !p.add(found{Type: q.Subject.Type, ID: id}) {
				return nil
			}
		}
		if len(ids) < listed {
			return nil
		}
	}
}

// searchResource serves the Resource Search API (§8.5).
func (c *caller) searchResource(ctx context.Context, f *resourceSearchForm) (any, error) {
	q, err := f.question()
	if err != nil {
		return nil, asBadRequest(err)
	}
	return c.search("resource", &q, &f.Page, func(p *page) error {
		k := c.kind(q.Resource.Type)
		if k.Search == nil || !askable(c.opts.Action(q.Action)) {
			return nil
		}
		s, err := c.subject(ctx, &q)
		if err != nil || s.absent != "" {
			return err
		}
		return c.findResources(ctx, q, k, s.rights, p)
	})
}

// findResources finds resources of a type that the rights allow the action on.
func (c *caller) findResources(ctx context.Context, q Question, k *kind, rights latchkey.Rights, p *page) error {
	ask := ResourceQuery{Question: q, Rows: c.rowsOf(k, rights, c.opts.Action(q.Action)),
		Page: latchkey.Page{After: p.after, Limit: min(p.most+1, maxLooked)}}
	if ask.Rows == nil {
		return nil
	}
	for {
		list, err := k.Search(ctx, c.account, ask)
		if err != nil {
			return err
		}
		for _, r := range list {
			if r.ID <= ask.Page.After {
				return fmt.Errorf("authzen: Options.Resources: %q: Search must return ids behind After, in order", q.Resource.Type)
			}
			if ask.Page.After = r.ID; !p.look(r.ID) {
				return nil
			}
			q.Resource.ID = r.ID
			allowed, _, err := c.judge(ctx, rights, &q, r.Row)
			if err != nil {
				return err
			}
			if allowed && !p.add(found{Type: q.Resource.Type, ID: r.ID}) {
				return nil
			}
		}
		if len(list) < ask.Page.Size() {
			return nil
		}
	}
}

// rowsOf returns a predicate that admits every row of a kind that the rights allow the action on, and as few others as
// can be said in one. It is nil if there is no such row.
func (c *caller) rowsOf(k *kind, rights latchkey.Rights, action latchkey.Action) *latchkey.Predicate {
	every, err := latchkey.NewSchema(nil).Bind(latchkey.AllRows)
	if err != nil { // cannot fail
		panic(err)
	}
	rows, err := latchkey.Condition{}, error(nil)
	if k.id < 0 { // they are the rows of one resource
		on := k.resource("")
		if denied, err := denial(rights.Check(action, on)); err == nil && denied != nil && !denied.Rows {
			return nil
		}
		rows, err = rights.Filter(action, on)
	} else {
		under := latchkey.Resource("")
		if k.id > 0 {
			under = latchkey.Path(k.segments[:k.id]...)
		}
		var list []latchkey.Reached
		var more bool
		list, more, err = rights.Reach(action, under, latchkey.Page{Limit: 1000})
		switch {
		case more:
			return every
		case err == nil && len(list) == 0:
			return nil
		}
		each := make([]latchkey.Condition, len(list))
		for i, r := range list {
			each[i] = r.Rows
		}
		rows = latchkey.AnyOf(each...)
	}
	schema := c.schema(k, k.resource("x"))
	if err != nil || schema == nil { // not shown to the caller, or too much: each row is decided about afterwards
		return every
	}
	bound, err := schema.Bind(rows)
	if err != nil { // of rules on other resources beneath, say
		return every
	}
	return bound
}

// searchAction serves the Action Search API (§8.6).
func (c *caller) searchAction(ctx context.Context, f *actionSearchForm) (any, error) {
	q, err := f.question()
	if err != nil {
		return nil, asBadRequest(err)
	}
	return c.search("action", &q, &f.Page, func(p *page) error {
		s, err := c.subject(ctx, &q)
		if err != nil || s.absent != "" {
			return err
		}
		for _, name := range c.actions(&q.Resource) {
			if name <= p.after {
				continue
			}
			if !p.look(name) {
				return nil
			}
			q.Action.Name = name
			allowed, _, err := c.judge(ctx, s.rights, &q, nil)
			if err != nil {
				return err
			}
			if allowed && !p.add(found{Name: name}) {
				return nil
			}
		}
		return nil
	})
}

// actions returns the names of what may be done to a resource, in order.
func (c *caller) actions(r *Resource) []string {
	k := c.kind(r.Type)
	names := slices.Clone(k.Actions)
	if names == nil {
		declared, _ := c.catalogue.Find(k.resource(r.ID))
		for _, a := range declared.Actions {
			names = append(names, string(a))
		}
	}
	slices.Sort(names)
	return slices.Compact(names)
}
