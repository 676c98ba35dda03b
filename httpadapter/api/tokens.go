package api

import (
	"errors"
	"net/http"

	"github.com/latchkey-go/latchkey"
)

var (
	kinds  = []string{"secret", "publishable", "api_key", "access", "session"}
	states = []string{"active", "revoked", "disabled", "expired", "not_yet_valid"}
	orders = []string{"id", "name", "used", "end"}
)

// tokenFilter are the parameters that select tokens.
var tokenFilter = []parameter{
	{name: "kind", kind: listParameter, values: kinds, text: "Kinds, with commas between."},
	{name: "state", kind: listParameter, values: states, text: "States, with commas between. By the token's own record " +
		"alone: what it was minted from, and the owner, do not count."},
	{name: "role", text: "Tokens that name this role, by its id or name. Not those that have it by inheritance."},
	{name: "client", text: "Tokens of the client with this id."},
	{name: "parent", text: "Tokens that the token with this id minted directly."},
	{name: "origin", text: "Tokens that this surface made, such as datocms. Empty: the host's own."},
	{name: "search", text: "How the name, the id or the hint begins, byte for byte."},
	{name: "find", text: "A text anywhere in the name, the id or the hint, whatever the case of letters."},
	{name: "expires_from", kind: timeParameter, text: "Tokens that end at this time or later."},
	{name: "expires_to", kind: timeParameter, text: "Tokens that end before this time."},
	{name: "unused_since", kind: timeParameter, text: "Tokens that were never used, or last before this time."},
	{name: "created_before", kind: timeParameter, text: "Tokens that were made before this time."},
}

// tokens returns what the parameters of tokenFilter select.
func (q query) tokens() latchkey.TokenQuery {
	all := latchkey.TokenQuery{Role: q["role"], Client: q["client"], Parent: q["parent"], Origin: q.pointer("origin"),
		Search: q["search"], Find: q["find"], ExpiresFrom: q.time("expires_from"), ExpiresTo: q.time("expires_to"),
		UnusedSince: q.time("unused_since"), CreatedBefore: q.time("created_before")}
	all.Kinds = kindsOf(q.list("kind"))
	for _, text := range q.list("state") {
		for s := latchkey.Active; s <= latchkey.NotYetValid; s++ {
			if s.String() == text {
				all.States = append(all.States, s)
			}
		}
	}
	return all
}

func kindsOf(names []string) (list []latchkey.Kind) {
	for _, name := range names {
		var k latchkey.Kind
		if k.UnmarshalText([]byte(name)) == nil {
			list = append(list, k)
		}
	}
	return list
}

func (c *call) listTokens(*none) (List[Token], error) {
	q := c.query.tokens()
	for i, name := range orders {
		if name == c.query["order"] {
			q.Order = latchkey.TokenOrder(i)
		}
	}
	q.Reverse = c.query.bool("reverse")
	var err error
	if q.Page, err = c.page(); err != nil {
		return List[Token]{}, err
	}
	l, err := c.account.TokensPage(c.ctx(), q)
	if err != nil {
		return List[Token]{}, err
	}
	items, err := c.tokens(l.Items...)
	return List[Token]{Items: items, Next: c.cursor(l.Next)}, err
}

// Count is the reply to a request that counts.
type Count struct {
	// How many there are, but no more than most.
	Count int `json:"count"`
	// There may be more than count: most was reached.
	More bool `json:"more"`
}

func (c *call) countTokens(*none) (Count, error) {
	most := c.query.number("most", 1000)
	n, err := c.account.CountTokens(c.ctx(), c.query.tokens(), most)
	return Count{n, n >= most}, err
}

func (c *call) issueToken(in *NewToken) (Made, error) {
	t, secret, err := c.carryOut().Issue(c.ctx(), in.spec())
	if err != nil {
		return Made{}, err
	}
	return c.made(t, secret.Reveal()), nil
}

// made is the reply about a token that was just made. The token exists, and its secret is shown once: so nothing may
// fail here.
func (c *call) made(t latchkey.Token, secret string) Made {
	if !latchkey.IsStateless(t.ID) { // which has no record
		c.w.Header().Set("Location", c.locate("tokens", t.ID))
	}
	refused, _ := c.account.Refusals(c.ctx(), t) // nil after an error
	return Made{Token: shown(t, refused[t.ID]), Secret: secret}
}

// locate returns a reference to a record, relative to the request's own path: the prefix of the API is not known here.
func (c *call) locate(collection, id string) string {
	up := ""
	for i := 1; i < len(c.op.path); i++ {
		if c.op.path[i] == '/' {
			up += "../"
		}
	}
	return up + collection + "/" + id
}

func (c *call) getToken(*none) (Token, error) {
	t, err := c.readToken(c.id())
	if err != nil {
		return Token{}, err
	}
	return c.token(t)
}

// readToken reads a token. A damaged one is shown as what is left of it, so that it can be ended.
func (c *call) readToken(id string) (latchkey.Token, error) {
	t, err := c.account.Get(c.ctx(), id)
	if _, damaged := errors.AsType[*latchkey.DamagedError](err); damaged && t.ID == id && t.Damaged {
		err = nil
	}
	return t, err
}

func (c *call) updateToken(*Settings) (Token, error) {
	patch, err := c.readPatch()
	if err != nil {
		return Token{}, err
	}
	if !c.readable() {
		return Token{}, latchkey.ErrNotFound // the reply would show it
	}
	t, err := c.account.Update(c.ctx(), c.id(), func(t *latchkey.Token) error {
		settings := settingsOf(t.Settings)
		if err := patch.apply(&settings); err != nil {
			return err
		}
		if onlyMember(patch, "disabled") { // also of a damaged token, whose Settings are lost
			t.Disabled = settings.Disabled
			return nil
		}
		extra := t.Extra
		t.Settings = settings.settings()
		if !patch.has("extra") { // it stays as it is, byte for byte
			t.Extra = extra
		}
		return nil
	})
	if err != nil {
		return Token{}, c.hidden(err)
	}
	return c.token(t)
}

// Revocation says why a token is revoked.
type Revocation struct {
	// Kept with the token and in the audit trail; at most 256 bytes.
	Reason string `json:"reason,omitempty"`
}

func (c *call) revokeToken(in *Revocation) (none, error) {
	return none{}, c.hidden(c.account.Revoke(c.ctx(), c.id(), in.Reason))
}

func (c *call) deleteToken(*none) (none, error) {
	return none{}, c.hidden(c.account.Delete(c.ctx(), c.id()))
}

// hidden returns ErrNotFound in place of a refusal about a token that the caller may not read: it looks as one that
// does not exist.
func (c *call) hidden(err error) error {
	if errors.Is(err, latchkey.ErrDenied) && !c.readable() {
		return latchkey.ErrNotFound
	}
	return err
}

// readable reports whether the caller may read the token or the role that the path names.
func (c *call) readable() bool {
	return c.access.Allows(latchkey.Read, latchkey.Path("latchkey", c.op.tag, c.id()))
}

func tokenOperations() []*operation {
	return []*operation{
		handle(operation{id: "listTokens", method: http.MethodGet, path: "/tokens", tag: "token",
			summary: "List tokens", text: "Oldest first unless order says otherwise. Only those that the caller may read.",
			query: params(tokenFilter, []parameter{
				{name: "order", values: orders, text: "By what the list is sorted. Without it: id, which is oldest first. used: " +
					"never used first. end: without an end last."},
				{name: "reverse", kind: boolParameter, text: "The other way round."},
			}, pageParameters)}, (*call).listTokens),
		handle(operation{id: "countTokens", method: http.MethodGet, path: "/tokens/count", tag: "token",
			summary: "Count tokens", query: params(tokenFilter, []parameter{
				{name: "most", kind: numberParameter, text: "How far to count. Without it: 1000."}})}, (*call).countTokens),
		handle(operation{id: "issueToken", method: http.MethodPost, path: "/tokens", tag: "token",
			summary: "Issue a token", text: "The secret is in the reply, and nowhere else.",
			status: http.StatusCreated, secret: true, once: true, versioned: true},
			(*call).issueToken),
		handle(operation{id: "getToken", method: http.MethodGet, path: "/tokens/{id}", tag: "token",
			summary: "Read a token", versioned: true}, (*call).getToken),
		handle(operation{id: "updateToken", method: http.MethodPatch, path: "/tokens/{id}", tag: "token",
			summary: "Change a token", text: "A JSON Merge Patch (RFC 7396) of its settings: null removes a member. The " +
				"caller must be able to read it, too.",
			merge: true, versioned: true, ifMatch: true}, (*call).updateToken),
		handle(operation{id: "listCredits", method: http.MethodGet, path: "/tokens/{id}/credits", tag: "token",
			summary: "List what is left of a token's quotas", text: "Its own, those of the tokens it was minted from, and the " +
				"account's, as far as the caller may read these records. What processes hold in advance counts as spent.",
			query: meterParameter}, (*call).listCredits),
		handle(operation{id: "revokeToken", method: http.MethodPost, path: "/tokens/{id}/revoke", tag: "token",
			summary: "Revoke a token", text: "It ends the token and all that was minted from it. The record stays. A revoked " +
				"token stays as it is.",
			optional: true, ifMatch: true}, (*call).revokeToken),
		handle(operation{id: "deleteToken", method: http.MethodDelete, path: "/tokens/{id}", tag: "token",
			summary: "Delete a token", text: "It ends the token and all that was minted from it, and removes the records.",
			ifMatch: true}, (*call).deleteToken),
	}
}

func params(lists ...[]parameter) (all []parameter) {
	for _, l := range lists {
		all = append(all, l...)
	}
	return all
}

// operations returns the table, in the order of the document.
func operations() []*operation {
	var all []*operation
	for _, of := range [][]*operation{meOperations(), tokenOperations(), secretOperations(), sweepOperations(),
		lineageOperations(), roleOperations(), clientOperations(), ownerOperations(), usageOperations()} {
		all = append(all, of...)
	}
	return all
}
