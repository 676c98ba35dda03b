package api

import (
	"net/http"
	"time"

	"github.com/latchkey-go/latchkey"
)

// Selection says which tokens are ended, and why. A token must meet all members that are set.
type Selection struct {
	// Tokens of the client with this id.
	Client string `json:"client,omitempty"`
	// Tokens that name this role, by its id or name.
	Role string `json:"role,omitempty"`
	// Tokens that this surface made. Empty: the host's own.
	Origin *string `json:"origin,omitempty"`
	// Tokens that the token with this id minted directly.
	Parent string `json:"parent,omitempty"`
	// Tokens of these kinds.
	Kinds []latchkey.Kind `json:"kinds,omitempty"`
	// Tokens that were made before.
	CreatedBefore time.Time `json:"created_before,omitzero"`
	// Tokens that were neither used nor made since.
	UnusedSince time.Time `json:"unused_since,omitzero"`
	// Without any other member: all tokens of the account.
	All bool `json:"all,omitempty"`

	// For the audit trail, and kept with revoked tokens; at most 256 bytes.
	Reason string `json:"reason,omitempty"`
	// The after of the reply before: where to go on.
	After string `json:"after,omitempty"`
}

// Swept is what was done with the tokens of a Selection.
type Swept struct {
	// How many tokens were ended by this request.
	Done int `json:"done"`
	// How many are selected that the caller may read and not end.
	Refused int `json:"refused"`
	// Some of these.
	RefusedIDs []string `json:"refused_ids,omitempty"`
	// Tokens may be left: send the request again, with after.
	More bool `json:"more"`
	// Where to go on. Absent: all were decided about.
	After string `json:"after,omitempty"`
}

// sweepMost is how many tokens one request decides about: five transactions, a few seconds on a slow store.
const sweepMost = 1000

func (in *Selection) selector() latchkey.Selector {
	return latchkey.Selector{Client: in.Client, Role: in.Role, Origin: in.Origin, Parent: in.Parent, Kinds: in.Kinds,
		CreatedBefore: in.CreatedBefore, UnusedSince: in.UnusedSince, All: in.All, After: in.After, Most: sweepMost}
}

func sweptOf(s latchkey.Swept, err error) (Swept, error) {
	return Swept{Done: s.Done, Refused: s.Refused, RefusedIDs: s.RefusedIDs, More: s.More, After: s.After}, err
}

func (c *call) revokeTokens(in *Selection) (Swept, error) {
	return sweptOf(c.account.RevokeAll(c.ctx(), in.selector(), in.Reason))
}

func (c *call) disableTokens(in *Selection) (Swept, error) {
	return sweptOf(c.account.DisableAll(c.ctx(), in.selector(), in.Reason))
}

func sweepOperations() []*operation {
	const text = " Oldest first, a thousand in one request: send it again with after while there is more. " +
		"What was done stays done, so it can be repeated. countTokens tells beforehand how many are meant."
	return []*operation{
		handle(operation{id: "revokeTokens", method: http.MethodPost, path: "/tokens/revoke", tag: "token",
			summary: "Revoke the tokens that a selection selects", text: "As revokeToken does each." + text,
			refuses: []int{409}}, (*call).revokeTokens),
		handle(operation{id: "disableTokens", method: http.MethodPost, path: "/tokens/disable", tag: "token",
			summary: "Switch off the tokens that a selection selects", text: "They can be enabled again." + text,
			refuses: []int{409}}, (*call).disableTokens),
	}
}
