package latchkey

import (
	"context"
	"errors"
	"slices"
)

// revokeSelected revokes the stateless tokens that s selects. It reports whether it could. A call that goes on where
// another one ended does not do it again.
func (a Account) revokeSelected(ctx context.Context, s *Selector, reason string) (bool, error) {
	if err := s.check(); err != nil {
		return false, err
	}
	revoked, ok := s.stateless()
	if !ok {
		return false, nil
	}
	if err := a.errSteps(); err != nil {
		return false, err
	}
	if err := checkText("reason", reason, 0, maxReason); err != nil {
		return false, err
	}
	if s.After != "" || len(revoked) == 0 {
		return true, nil
	}
	err := a.revokeStateless(ctx, reason, Event{}, revoked...)
	if errors.Is(err, ErrDenied) {
		return false, nil
	}
	return err == nil, err
}

// revokeStateless revokes stateless tokens, with an event. Nothing is written of those that have ended.
func (a Account) revokeStateless(ctx context.Context, reason string, e Event, revoked ...Revocation) error {
	return retry(ctx, func() error {
		c, err := a.begin(ctx)
		if err != nil {
			return err
		}
		if err := c.mayRevokeStateless(e.Object); err != nil {
			return err
		}
		now := fromMicros(a.m.expiryNow())
		w := Write{Revocations: slices.Clone(revoked)}
		if err := a.m.dateRevocations(ctx, a.owner, w.Revocations); err != nil {
			return err
		}
		w.Revocations = slices.DeleteFunc(w.Revocations, func(r Revocation) bool { return !r.Until.After(now) })
		if len(w.Revocations) == 0 {
			return nil
		}
		e.Action, e.Reason = "token.revoke-stateless", reason
		return c.write(ctx, w, e)
	})
}

// mayRevokeStateless returns an error for an actor that may not revoke a stateless token. What the token may do is not
// known, so it counts as more than the actor may do, unless that is everything. "": any of the owner.
func (c *call) mayRevokeStateless(id string) error {
	if err := c.check(Delete, "token", id); err != nil {
		return err
	}
	if c.checked && (c.access.Kind() != KindSecret || len(c.access.set.narrowLayers) != 0) {
		return deniedToken(Delete, id)
	}
	return nil
}

// stateless returns the revocations of the stateless tokens that a Selector selects, for dateRevocations. It returns
// false if no revocation can say which these are.
func (s *Selector) stateless() ([]Revocation, bool) {
	if s.Role+s.Find != "" || s.Origin != nil || len(s.States) != 0 || !s.UnusedSince.IsZero() ||
		!s.ExpiresFrom.IsZero() || !s.ExpiresTo.IsZero() || len(s.Kinds) != 0 && !slices.Contains(s.Kinds, KindAccess) {
		return nil, false
	}
	var all []Revocation
	by := 0
	if len(s.IDs) != 0 {
		by++
		for _, id := range s.IDs {
			if IsStateless(id) {
				all = append(all, Revocation{ID: id})
			}
		}
	}
	if s.Client != "" {
		by++
		all = append(all, Revocation{Of: RevokedClient, ID: clientRevocationID(s.Client)})
	}
	if s.Parent != "" {
		by++
		all = append(all, Revocation{Of: RevokedParent, ID: s.Parent})
	}
	if by == 0 { // all, but for those that were made later
		all = append(all, Revocation{Of: RevokedOwner})
	}
	for i := range all {
		all[i].Before = s.CreatedBefore
	}
	return all, by <= 1
}
