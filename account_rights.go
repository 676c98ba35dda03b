package latchkey

import (
	"context"

	"github.com/latchkey-go/latchkey/internal/uuidv7"
)

// Rights is what somebody may do, without being able to do it: a snapshot that answers questions. It is for decisions
// about callers that are not there, as a policy decision point makes them. It is no credential. It cannot mint, spend,
// administer or be narrowed, and nothing that is asked of it counts as a use of a token.
//
// [Account.RightsOf], [Access.RightsFor] and [Access.Rights] return one. Keep it for one request. The zero Rights allow
// nothing. Rights are a small value, safe for concurrent use.
type Rights struct {
	access Access
	hidden error // why the rules must not be shown; nil: they may
}

// Rights returns what a may do, so that it can be handed to code that must only ask.
func (a Access) Rights() Rights { return Rights{access: a} }

// RightsOf returns what a token may do now, without its secret. It is as of the store's newest epoch, whatever MaxStale
// is. Questions have the answers that the [Access] of a Verify has. What a request brings along does not count: an
// address, a signature, a referer, a rate. So Verify may still refuse the token.
//
// The errors are [ErrNotFound] if there is no such token, and those of [Manager.Verify] for a token that has ended, is
// disabled, or depends on one that is. The Rights that come with an error allow nothing. The refusal is nobody's, so
// Options.Observer does not hear of it.
//
// An actor needs read on the token; without it the token is reported as not found. With that right alone it gets
// decisions. [Rights.Filter], [Rights.Explain] and [Rights.Reach] show rules, so they need read on each token that this
// one was minted from, and on each role in its rights.
func (a Account) RightsOf(ctx context.Context, id string) (Rights, error) {
	c, err := a.begin(ctx)
	if err != nil {
		return Rights{}, err
	}
	if c.check(Read, "token", id) != nil || !uuidv7.Valid(id) {
		return Rights{}, notStored(id, ErrNotFound)
	}
	e, f, _, err := a.m.current(ctx, a.owner, uuidv7.Parse(id))
	if err != nil {
		return Rights{}, err
	}
	access := Access{set: e.Value, who: &e.Principal, m: a.m, id: e.ID}
	return Rights{access: access, hidden: c.hidden(&f)}, nil
}

// hidden returns a *DeniedError if the actor may not read one of the records that a token's rights come from.
func (c *call) hidden(f *Found) error {
	if err := c.check(Read, "token", f.Token.ID); err != nil {
		return err
	}
	for i := range f.Ancestors {
		if err := c.check(Read, "token", f.Ancestors[i].ID); err != nil {
			return err
		}
	}
	for _, r := range c.m.withCodeRoles(*f).Roles {
		if err := c.check(Read, "role", r.ID); err != nil {
			return err
		}
	}
	return nil
}

// RightsFor returns what a token could do that a mints for a client and narrows no further. Nothing is minted. The
// errors are those of [Access.Mint] where it could not. A is verified again first. A can ask for decisions without a
// right. For what shows rules it needs the rights that an actor of RightsOf needs, on its own token.
func (a Access) RightsFor(ctx context.Context, client string) (Rights, error) {
	if err := a.mayBeParent(); err != nil {
		return Rights{}, err
	}
	a, f, err := a.m.reverify(ctx, a)
	if err != nil {
		return Rights{}, err
	}
	nl, err := a.mayMint(ctx, &Narrowing{Client: Client{ID: client}}, &f)
	if err != nil {
		return Rights{}, err
	}
	if err := a.checkSize(ctx, &nl, a.policy().size()); err != nil {
		return Rights{}, err
	}
	asks := call{Account: Account{m: a.m, owner: a.who.owner, checked: true}, access: a}
	minted := a.withNarrowLayers([]layer{nl.layer}, *nl.layer.selfRoles, nl.roleSet, a.who.as(nl.client, nl.attributes))
	return Rights{access: minted, hidden: asks.hidden(&f)}, nil
}

// Owner returns the owner's id, "" for the zero Rights.
func (r Rights) Owner() string { return r.access.Owner() }

// TokenID returns the id of the token that the Rights are of: for RightsFor that of the token that would mint. It is ""
// for the zero Rights and for those of an Assumed caller.
func (r Rights) TokenID() string { return r.access.TokenID() }

// Test reports whether the token is a test token.
func (r Rights) Test() bool { return r.access.Test() }

// Check is [Access.Check].
func (r Rights) Check(action Action, on Resource) error { return r.access.Check(action, on) }

// CheckRow is [Access.CheckRow]. A *[ConditionError] may name a field of a rule that an actor may not read.
func (r Rights) CheckRow(action Action, on Resource, s *Schema, row Row) error {
	return r.access.CheckRow(action, on, s, row)
}

// Filter is [Access.Filter]. It returns a *[DeniedError] that names a record which the actor of RightsOf may not read.
func (r Rights) Filter(action Action, on Resource) (Condition, error) {
	if r.hidden != nil {
		return Condition{}, r.hidden
	}
	return r.access.Filter(action, on)
}

// Explain is [Access.Explain], with the error of [Rights.Filter].
func (r Rights) Explain(action Action, on Resource) (Explanation, error) {
	if r.hidden != nil {
		return Explanation{}, r.hidden
	}
	return r.access.Explain(action, on), nil
}

// Reach is [Access.Reach], with the error of [Rights.Filter].
func (r Rights) Reach(action Action, under Resource, page Page) (list []Reached, more bool, err error) {
	if r.hidden != nil {
		return nil, false, r.hidden
	}
	return r.access.Reach(action, under, page)
}

// String returns a text with the token's id, as [Access.String] does.
func (r Rights) String() string { return "rights, " + r.access.String() }
