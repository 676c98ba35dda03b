package api

import (
	"encoding/json"
	"errors"
	"net/http"
	"time"

	"github.com/latchkey-go/latchkey"
	"github.com/latchkey-go/latchkey/httpadapter"
)

// Me is the caller.
type Me struct {
	// The account.
	Owner string `json:"owner"`
	// Absent: the caller is signed in by the host, without a token.
	TokenID string `json:"token_id,omitempty"`
	// The name of the token.
	Name string `json:"name,omitempty"`
	// The kind of the token.
	Kind string `json:"kind,omitempty"`
	// It is a test token.
	Test bool `json:"test,omitempty"`
	// The client that the caller is, or acts for.
	Client latchkey.Client `json:"client,omitzero"`
	// The ids of its roles.
	Roles []string `json:"roles,omitempty"`
	// Their names, in the same order. One that is gone has none.
	RoleNames []string `json:"role_names,omitempty"`
	// When the token ends, at the latest. Absent: it has no end.
	Ends time.Time `json:"ends,omitzero"`
	// The caller's network address, as the host sees it.
	Address string `json:"address,omitempty"`
	// The state of the token's rate. Absent: it has none.
	Rate *latchkey.RateInfo `json:"rate,omitempty"`
}

func (c *call) getMe(*none) (Me, error) {
	a := c.access
	me := Me{Owner: a.Owner(), TokenID: a.TokenID(), Name: a.Name(), Test: a.Test(), Client: a.Client(), Roles: a.Roles(),
		RoleNames: a.RoleNames(), Ends: a.Ends()}
	if a.Kind().Valid() {
		me.Kind = a.Kind().String()
	}
	if a.Address().IsValid() {
		me.Address = a.Address().String()
	}
	if info, ok := a.Rate(); ok {
		me.Rate = &info
	}
	return me, nil
}

func balances(list []latchkey.Balance, err error) (List[latchkey.Balance], error) {
	return List[latchkey.Balance]{Items: append([]latchkey.Balance{}, list...)}, err
}

func (c *call) listMyCredits(*none) (List[latchkey.Balance], error) {
	return balances(c.access.Balances(c.ctx(), c.query["meter"]))
}

func (c *call) listCredits(*none) (List[latchkey.Balance], error) {
	return balances(c.account.Balances(c.ctx(), c.id(), c.query["meter"]))
}

var meterParameter = []parameter{{name: "meter", required: true, text: "The meter, such as api."}}

func (c *call) listMyReach(*none) (List[latchkey.Reached], error) {
	page, err := c.page()
	if err != nil {
		return List[latchkey.Reached]{}, err
	}
	found, more, err := c.access.Reach(latchkey.Action(c.query["action"]), latchkey.Resource(c.query["under"]), page)
	out := List[latchkey.Reached]{Items: append([]latchkey.Reached{}, found...)}
	if more && len(found) > 0 {
		out.Next = c.cursor(string(found[len(found)-1].Pattern))
	}
	return out, err
}

// answerOf returns what an Explanation says of the rights, without where they come from.
func answerOf(e latchkey.Explanation) latchkey.Explanation {
	return latchkey.Explanation{Action: e.Action, Resource: e.Resource, ActionWords: e.ActionWords,
		ResourceName: e.ResourceName, Undeclared: e.Undeclared, Verdict: e.Verdict, Rows: e.Rows, Missing: e.Missing}
}

func (c *call) explainMe(in *Questions) (List[latchkey.Explanation], error) {
	if err := in.check(); err != nil {
		return List[latchkey.Explanation]{}, err
	}
	list, err := make([]latchkey.Explanation, len(in.Questions)), error(latchkey.ErrNotFound)
	if id := c.access.TokenID(); id != "" {
		var whole []latchkey.Explanation
		if whole, err = c.account.Explain(c.ctx(), id, in.Questions...); err == nil {
			list = whole
		} else if !errors.Is(err, latchkey.ErrDenied) && !errors.Is(err, latchkey.ErrNotFound) {
			return answered(nil, err)
		}
	}
	for i, q := range in.Questions {
		own := c.access.Explain(q.Action, q.Resource)
		if rows, err := c.access.Filter(q.Action, q.Resource); err == nil {
			own.Rows = rows // with references filled in
		}
		switch {
		case err != nil: // it may not read where its rights come from: it hears what they are
			list[i] = answerOf(own)
		case len(own.Layers) != len(list[i].Layers): // the host narrowed the caller, which may do less than its token
			list[i] = own
		}
	}
	return answered(list, nil)
}

// NewMint is what the caller's own rights are narrowed by.
type NewMint struct {
	// At most 256 bytes.
	Name string `json:"name,omitempty"`
	// Ids or names of roles that the caller has. Absent, and no permissions: all that the caller may do.
	Roles []string `json:"roles,omitempty"`
	// Until when it has some of its roles.
	RoleEnds map[string]time.Time `json:"role_ends,omitempty"`
	// Rules. It may do what they allow and the caller may do.
	Permissions latchkey.Permissions `json:"permissions,omitzero"`
	// Where the token may be used, besides what holds for the caller's.
	Restrictions latchkey.Restrictions `json:"restrictions,omitzero"`
	// What it may spend, besides what holds for the caller's.
	Limits Limits `json:"limits,omitzero"`
	// How long it lives. It ends earlier with the caller's token.
	Lifetime time.Duration `json:"lifetime"`
	// How long after its last use it ends.
	Idle time.Duration `json:"idle,omitempty"`
	// Any JSON of the host's, kept byte for byte.
	Extra json.RawMessage `json:"extra,omitempty"`
	// The client that it belongs to. Absent: the caller's.
	Client latchkey.Client `json:"client,omitzero"`
	// Facts that are added to the caller's.
	Attributes latchkey.Attributes `json:"attributes,omitempty"`
	// Rows to which it is limited, all of them at once.
	Rows []latchkey.Condition `json:"rows,omitempty"`
	// Values that are written into each row it creates.
	Forced latchkey.Values `json:"forced,omitempty"`
	// True: a token that is not stored. Its text says all, encrypted, and is longer. It is in no list, lives for a day at
	// most, mints nothing, and has no limits, idle end or place to mint from. The owner may want stored ones.
	Stateless bool `json:"stateless,omitempty"`
}

func (in *NewMint) narrowing() latchkey.Narrowing {
	return latchkey.Narrowing{Name: in.Name, Roles: in.Roles, RoleEnds: in.RoleEnds, Permissions: in.Permissions,
		Restrictions: in.Restrictions, Limits: latchkey.Limits(in.Limits), Lifetime: in.Lifetime, Idle: in.Idle,
		Extra: in.Extra, Client: in.Client, Attributes: in.Attributes, Rows: in.Rows, Forced: in.Forced,
		Stateless: in.Stateless}
}

func (c *call) mintToken(in *NewMint) (Made, error) {
	n := in.narrowing()
	var t latchkey.Token
	var secret latchkey.Secret
	var err error
	if r, ok := c.request(); ok {
		t, secret, err = c.access.MintFor(c.ctx(), r, n)
	} else {
		t, secret, err = c.access.Mint(c.ctx(), n)
	}
	if in.Stateless && errors.Is(err, latchkey.ErrNeedsKeyring) {
		err = httpadapter.Refusal(problem(http.StatusConflict, "not-kept", "Not kept",
			"The host has no key by which a token could be made that is not stored."), nil)
	}
	if err != nil {
		return Made{}, err
	}
	return c.made(t, secret.Reveal()), nil
}

func meOperations() []*operation {
	return []*operation{
		handle(operation{id: "getMe", method: http.MethodGet, path: "/me", tag: "me",
			summary: "Say who the caller is", text: "Every caller may ask."}, (*call).getMe),
		handle(operation{id: "listMyCredits", method: http.MethodGet, path: "/me/credits", tag: "me",
			summary: "List what is left of the caller's quotas", text: "Its own, those of the tokens it was minted from, and " +
				"the account's. The least of them holds.",
			query: meterParameter}, (*call).listMyCredits),
		handle(operation{id: "listMyReach", method: http.MethodGet, path: "/me/reach", tag: "me",
			summary: "List where the caller may do something", text: "Patterns of resources, in the order of their bytes.",
			query: params([]parameter{actionAndResource[0],
				{name: "under", text: "This resource and what lies beneath it. Without it: everything."}},
				pageParameters)}, (*call).listMyReach),
		handle(operation{id: "explainMe", method: http.MethodPost, path: "/me/explain", tag: "me",
			summary: "Explain what the caller may do", text: "With the rules that decided, if the caller may read its own " +
				"token and all that its rights come from; without them otherwise."}, (*call).explainMe),
		handle(operation{id: "mintToken", method: http.MethodPost, path: "/me/tokens", tag: "me",
			summary: "Mint a token that may do less", text: "The secret is in the reply, and nowhere else. The token ends " +
				"with the caller's own. One that is stateless has no record: the reply has no Location, and its id serves to " +
				"revoke it.",
			status: http.StatusCreated, secret: true, once: true, versioned: true}, (*call).mintToken),
	}
}
