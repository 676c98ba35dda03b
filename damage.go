package latchkey

import (
	"context"
	"fmt"
)

// loadLeft is Store.Load for whoever administers a token: what cannot be read of it, or of what it depends on, has
// Damaged set, and is no error. The caller must decide nothing by it but to end the token.
func (a Account) loadLeft(ctx context.Context, id string) (Found, error) {
	f, err := a.m.store.Load(ctx, a.owner, id)
	if isDamaged(err) && f.Token.ID == id && f.Token.Owner == a.owner && f.Token.Version != 0 {
		return f, nil
	}
	return f, err
}

// roleLeft is loadLeft for a role.
func (a Account) roleLeft(ctx context.Context, id string) (Role, error) {
	r, err := a.m.store.Role(ctx, a.owner, id)
	if isDamaged(err) && r.ID == id && r.Owner == a.owner && r.Version != 0 {
		r.Damaged = true
		return withoutRights(r), nil
	}
	return r, err
}

// withoutRights is what a damaged role is shown as, and written as by an edit that does not look: it denies everything,
// to its heirs too, for what it denied before is lost.
func withoutRights(r Role) Role {
	r.Inherits, r.Boundary, r.Permissions = nil, nil, Permissions{Deny(Any).On("*", "latchkey/*")}
	return r
}

// ownerLeft is loadLeft for the owner's own record.
func (a Account) ownerLeft(ctx context.Context) (Owner, error) {
	o, err := a.m.store.Owner(ctx, a.owner)
	if isDamaged(err) && o.ID == a.owner && o.Version != 0 {
		return o, nil
	}
	return o, err
}

func damagedRole(r *Role) error { return &DamagedError{Kind: ChangedRole, Owner: r.Owner, ID: r.ID} }

func damagedToken(t *Token) error {
	return &DamagedError{Kind: ChangedToken, Owner: t.Owner, ID: t.ID}
}

// damaged reports that a record of f cannot be read, so that nothing is decided by what is left of it. A Store says so
// itself with an error; this is for one that forgot it.
func (f *Found) damaged() error {
	if f.Token.Damaged {
		return damagedToken(&f.Token)
	}
	if f.Owner.Damaged {
		return &DamagedError{Kind: ChangedOwner, Owner: f.Token.Owner, ID: f.Token.Owner}
	}
	for i := range f.Ancestors {
		if f.Ancestors[i].Damaged {
			return damagedToken(&f.Ancestors[i])
		}
	}
	for i := range f.Roles {
		if f.Roles[i].Damaged {
			return &DamagedError{Kind: ChangedRole, Owner: f.Token.Owner, ID: f.Roles[i].ID}
		}
	}
	return nil
}

// tombstone is the record of a damaged token that is revoked: what is known of it, and no right, for it is dead for
// ever.
func tombstone(t Token) Token {
	t.Damaged = false
	t.Roles, t.Permissions, t.Full = nil, nil, false
	if t.Parent != "" && t.Depth == 0 {
		t.Depth = 1 // it is not kept beside the record
	}
	return t
}

// switched is what Update may make of a damaged token: on or off, which both leave it unable to do anything.
func switched(t, edited *Token) error {
	frame := *edited
	frame.Disabled, frame.Damaged = t.Disabled, true
	if !sameRecord(frame, *t) {
		return fmt.Errorf("%w: its Settings are lost: nothing but Disabled can be changed", damagedToken(t))
	}
	t.Disabled = edited.Disabled
	return nil
}
