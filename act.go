package latchkey

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"time"
)

// act is one call by whoever acts.
type act struct {
	Account
	access Access
	found  Found // the actor's own record
}

// begin reads who acts anew, so that a right taken away a moment ago is gone.
func (a Account) begin(ctx context.Context) (act, error) {
	if !a.acts {
		return act{Account: a}, nil
	}
	access, found, err := a.m.again(ctx, a.actor)
	return act{a, access, found}, err
}

func (c *act) check(action Action, kind, id string) error {
	if !c.acts {
		return nil
	}
	// What a minted token does with its rights ends with it, so it makes no secret that would live on.
	if c.access.Kind() == KindAccess && kind == "token" && (action == Create || action == Rotate || action == Reveal) {
		return &DeniedError{Action: action, Resource: Path("latchkey", kind, id)}
	}
	on := Path("latchkey", kind)
	if id != "" {
		on = Path("latchkey", kind, id)
	}
	return c.access.Check(action, on)
}

// covers refuses what may do more than who acts. The owner's boundary is left out on both sides: it holds for both.
func (c *act) covers(p *policy, action Action, kind, id string) error {
	if !c.acts {
		return nil
	}
	set := c.access.set
	layers := slices.DeleteFunc(slices.Concat(set.narrowed, set.layers), func(l layer) bool {
		return l.name == boundaryLayer
	})
	if p.within(newPolicy(layers, set.roleSet)) {
		return nil
	}
	return &DeniedError{Action: action, Resource: Path("latchkey", kind, id)}
}

// coversToken refuses a token that may do more than who acts. A live token passes where a test token does not.
func (c *act) coversToken(ctx context.Context, t *Token, ancestors []Token, action Action) error {
	if !c.acts {
		return nil
	}
	if c.access.Test() && !t.Test || !limitsWithin(t, ancestors, &c.found.Token, c.found.Ancestors) {
		return &DeniedError{Action: action, Resource: Path("latchkey", "token", t.ID)}
	}
	layers := []layer{layerOf(t)}
	for i := range ancestors {
		layers = append(layers, layerOf(&ancestors[i]))
	}
	roles, err := c.m.rolesOf(ctx, c.owner, &compiled{anyRole: true}, layers)
	if err != nil {
		return err
	}
	return c.covers(newPolicy(layers, roles), action, "token", t.ID)
}

// write adds who acts to the transaction: she must still be there, unchanged, with all that her rights come from.
func (c *act) write(ctx context.Context, w Write, events ...Event) error {
	w.Owner = c.owner
	if c.acts {
		actor, from := "client:"+c.access.Client().ID, ""
		if id := c.access.TokenID(); id != "" {
			w.RequireTokens = append(w.RequireTokens, Ref{ID: id, Version: c.found.Token.Version})
			for i := range c.found.Ancestors {
				w.RequireTokens = append(w.RequireTokens, Ref{c.found.Ancestors[i].ID, c.found.Ancestors[i].Version})
			}
			for i := range c.found.Roles {
				w.RequireRoles = append(w.RequireRoles, Ref{c.found.Roles[i].ID, c.found.Roles[i].Version})
			}
			actor = id
		}
		w.RequireOwner = &c.found.Owner.Version
		if c.access.from.IsValid() {
			from = c.access.from.String()
		}
		for i := range events {
			events[i].Actor, events[i].From = actor, from
		}
	}
	w.Events = append(w.Events, events...)
	_, err := c.m.write(ctx, w)
	if errors.Is(err, ErrExists) && len(w.Roles) != 0 && w.OwnerRecord != nil && w.OwnerRecord.Version == 0 {
		// A role's name is taken, or somebody else made the owner's first record.
		if o, again := c.m.store.Owner(ctx, c.owner); again == nil && o.Version != 0 {
			return fmt.Errorf("%w: %w", ErrConflict, err)
		}
	}
	return err
}

// retry runs a read-change-write until nobody came between. An ErrConflict that an edit returned is its own answer.
func retry(f func() error) error {
	for try := 0; ; try++ {
		err := f()
		var own *editError
		if errors.As(err, &own) {
			return own.err
		}
		if !errors.Is(err, ErrConflict) || try == 15 {
			return err
		}
	}
}

// editError is what a caller's edit returned.
type editError struct{ err error }

func (e *editError) Error() string { return e.err.Error() }

// bound says whether who acts is the token or was minted from it, so that what binds it binds her.
func (c *act) bound(id string) bool {
	return c.acts && (c.access.TokenID() == id ||
		slices.ContainsFunc(c.found.Ancestors, func(t Token) bool { return t.ID == id }))
}

// loosens says whether a token could be used longer, or from elsewhere, with the settings to than with from.
func loosens(from, to *Settings) bool {
	old, now := &from.Restrictions, &to.Restrictions
	return later(from.Validity.NotAfter, to.Validity.NotAfter) ||
		from.Validity.Idle != 0 && (to.Validity.Idle == 0 || to.Validity.Idle > from.Validity.Idle) ||
		old.Signed && !now.Signed || wider(old.Addresses, now.Addresses) || wider(old.MintFrom, now.MintFrom) ||
		len(old.Domains) != 0 && (len(now.Domains) == 0 ||
			slices.ContainsFunc(now.Domains, func(d string) bool { return !slices.Contains(old.Domains, d) }))
}

func later(from, to time.Time) bool { return !from.IsZero() && (to.IsZero() || to.After(from)) }

func wider(from, to []netip.Prefix) bool {
	return len(from) != 0 && (len(to) == 0 || slices.ContainsFunc(to, func(p netip.Prefix) bool {
		return !slices.ContainsFunc(from, func(q netip.Prefix) bool { return q.Bits() <= p.Bits() && q.Contains(p.Addr()) })
	}))
}
