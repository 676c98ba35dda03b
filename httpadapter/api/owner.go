package api

import (
	"encoding/json"
	"errors"
	"net/http"
	"time"

	"github.com/latchkey-go/latchkey"
	"github.com/latchkey-go/latchkey/httpadapter"
)

// Owner is the record of the account.
type Owner struct {
	ID string `json:"id"` // The account.
	// 0: there is no record yet.
	Version uint64 `json:"version"`
	OwnerSettings
	// The version that ended every token committed before it.
	Since uint64 `json:"since,omitempty"`
	// The stored record cannot be read. A change replaces it.
	Damaged bool `json:"damaged,omitempty"`
}

func (o Owner) record() (any, uint64) { return o, o.Version }

// OwnerSettings are what may be changed about the account.
type OwnerSettings struct {
	// The off switch of all tokens of the account.
	Disabled bool `json:"disabled,omitempty"`
	// A ceiling for every token. Absent: none. Empty: nothing is allowed. Only the host sets it.
	Boundary latchkey.Permissions `json:"boundary,omitzero"`
	// What all tokens together may spend, and how often they may call. Only the host sets it.
	Limits Limits `json:"limits,omitzero"`
	// What tokens may be made. Only the host sets it.
	Policy latchkey.OwnerPolicy `json:"policy,omitzero"`
	// Tokens that were made before are refused. Set to now it ends all there are.
	NotBefore time.Time `json:"not_before,omitzero"`
	// Any JSON of the host's, kept byte for byte.
	Extra json.RawMessage `json:"extra,omitempty"`
}

func ownerSettings(o latchkey.Owner) OwnerSettings {
	return OwnerSettings{o.Disabled, o.Boundary, Limits(o.Limits), o.Policy, o.NotBefore, extraOf(o.Extra)}
}

// extraOf returns an Extra as JSON. One that a program of an earlier version kept may be none: then it is its base64.
func extraOf(extra json.RawMessage) json.RawMessage {
	if len(extra) == 0 || json.Valid(extra) {
		return extra
	}
	text, _ := json.Marshal([]byte(extra)) // cannot fail
	return text
}

func ownerOf(o latchkey.Owner) Owner {
	return Owner{ID: o.ID, Version: o.Version, OwnerSettings: ownerSettings(o), Since: o.Since, Damaged: o.Damaged}
}

func (c *call) getOwner(*none) (Owner, error) {
	o, err := c.account.Record(c.ctx())
	if _, damaged := errors.AsType[*latchkey.DamagedError](err); damaged && o.ID != "" {
		err = nil // what is left of it, so that it can be replaced
	}
	return ownerOf(o), err
}

func (c *call) updateOwner(*OwnerSettings) (Owner, error) {
	patch, err := c.readPatch()
	if err == nil {
		err = c.access.Check(latchkey.Read, latchkey.Path("latchkey", "owner")) // the reply shows it
	}
	if err != nil {
		return Owner{}, err
	}
	var out latchkey.Owner
	err = c.account.Configure(c.ctx(), func(o *latchkey.Owner) error {
		settings := ownerSettings(*o)
		if err := patch.apply(&settings); err != nil {
			return err
		}
		o.Disabled, o.Boundary, o.Limits, o.Policy = settings.Disabled, settings.Boundary, latchkey.Limits(settings.Limits),
			settings.Policy
		o.NotBefore = settings.NotBefore
		if patch.has("extra") { // another one stays as it is, byte for byte
			o.Extra = settings.Extra
		}
		out = *o
		return nil
	})
	if errors.Is(err, latchkey.ErrDenied) && patch.has("boundary", "limits", "policy", "not_before") &&
		c.access.Allows(latchkey.Update, latchkey.Path("latchkey", "owner")) {
		err = httpadapter.Refusal(problem(http.StatusForbidden, "denied", "Forbidden",
			"Only the host sets the boundary, the limits and the policy of the account, and moves not_before back."), err)
	}
	if err != nil {
		return Owner{}, err
	}
	if now, err := c.account.Record(c.ctx()); err == nil { // with its version
		out = now
	} else {
		out.Version++
	}
	return ownerOf(out), nil
}

func ownerOperations() []*operation {
	return []*operation{
		handle(operation{id: "getOwner", method: http.MethodGet, path: "/owner", tag: "owner",
			summary: "Read the account's record", versioned: true}, (*call).getOwner),
		handle(operation{id: "updateOwner", method: http.MethodPatch, path: "/owner", tag: "owner",
			summary: "Change the account's record", text: "A JSON Merge Patch (RFC 7396): null removes a member. The " +
				"caller must be able to read it, too.",
			merge: true, versioned: true, ifMatch: true}, (*call).updateOwner),
	}
}
