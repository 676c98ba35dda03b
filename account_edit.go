package latchkey

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"
)

// Edit is what [Account.EditAll] changes of each token. At least one field must be set.
type Edit struct {
	// NotAfter is the new end of tokens that end before it. It ends none sooner: one with a later end, or none, keeps it.
	// A token that has ended stays so. Zero: no end is moved.
	NotAfter time.Time
	// AddRoles and DropRoles are ids of roles, or names as for [Account.Issue]. None may be in both.
	AddRoles, DropRoles []string
	// Enable sets Settings.Disabled back.
	Enable bool
}

// errFullToken is why EditAll gives no role to a minted token with all rights of its parent: Update would make the role
// its only right.
var errFullToken = fmt.Errorf("%w: it may do all that its parent may do: a role would take the rest away", ErrInvalid)

// EditAll edits the tokens that s selects, as [Account.Update] does each, with an audit event for each that has the
// reason. Each is a transaction of its own. What is written stays written, and a call that failed can be made again: a
// token that is already so is left as it is. Otherwise it goes on and ends as [Account.RevokeAll] does.
//
// A token that cannot be edited so is reported in Swept.Refused, as is one that the actor may not edit: a secret key
// and a minted token with all rights of its parent take no roles ([ErrInvalid]), an end may be later than the owner's
// policy allows ([ErrPolicy]), and a record may be damaged.
//
// EditAll returns ErrInvalid for an Edit that changes nothing, for a role that there is not, and for what RevokeAll
// returns it.
func (a Account) EditAll(ctx context.Context, s Selector, e Edit, reason string) (Swept, error) {
	if e.NotAfter.IsZero() && len(e.AddRoles)+len(e.DropRoles) == 0 && !e.Enable {
		return Swept{After: s.After}, fmt.Errorf("%w: the Edit changes nothing: set a field", ErrInvalid)
	}
	c, err := a.begin(ctx)
	if err != nil {
		return Swept{After: s.After}, err
	}
	for _, roles := range []*[]string{&e.AddRoles, &e.DropRoles} {
		if len(*roles) > maxRoles {
			return Swept{After: s.After}, fmt.Errorf("%w: the Edit names more than %d roles", ErrInvalid, maxRoles)
		}
		if *roles, err = a.m.resolveRoles(ctx, a.owner, *roles, nil, c.mayShow); err != nil {
			return Swept{After: s.After}, err
		}
	}
	for _, id := range e.AddRoles {
		if slices.Contains(e.DropRoles, id) {
			return Swept{After: s.After}, fmt.Errorf("%w: the Edit adds and drops the role %q", ErrInvalid, id)
		}
	}
	// A role that does not exist would be refused for each token; said once, it changes nothing. An actor does not hear
	// whether there is one that it may not read.
	known := slices.DeleteFunc(slices.Clone(e.AddRoles), func(id string) bool { return !c.mayShow(Role{ID: id}) })
	if _, err := a.rolesByID(ctx, known); err != nil {
		return Swept{After: s.After}, err
	}
	a.versions = nil
	return a.sweepBy(ctx, s, reason, func(q TokenQuery) (step Swept, more bool, err error) {
		step.After = q.After
		list, err := a.m.store.Tokens(ctx, a.owner, q)
		if err != nil {
			return step, false, err
		}
		for i := range list {
			t := &list[i]
			c, err := a.begin(ctx) // the actor's rights may end meanwhile
			if err != nil {
				return step, false, err
			}
			switch err := a.editOne(ctx, t, e, reason); {
			case err == nil:
				step.Done, step.Seen = step.Done+1, step.Seen+1
			case isOfOneToken(err):
				step.passed(&c, t.ID, err)
			case errors.Is(err, errUnchanged), errors.Is(err, ErrNotFound):
				step.passed(&c, t.ID, nil)
			default:
				return step, false, err
			}
			step.looked++
			step.After = t.ID
		}
		return step, len(list) == q.Size(), nil
	})
}

// isOfOneToken reports whether an error is about one token, so that a sweep can go on.
func isOfOneToken(err error) bool {
	return errors.Is(err, ErrDenied) || errors.Is(err, ErrInvalid) || isDamaged(err)
}

// editOne edits a token. It returns errUnchanged if nothing changes. What time it is is asked for each: a sweep takes
// long, and what ends meanwhile is not revived.
func (a Account) editOne(ctx context.Context, t *Token, e Edit, reason string) error {
	apply := func(t *Token) error { return e.apply(t, fromMicros(a.m.expiryNow())) }
	if err := apply(t); err != nil { // of what was listed: it saves a transaction
		return err
	}
	_, err := a.update(ctx, t.ID, reason, apply)
	return err
}

// apply edits a token.
func (e *Edit) apply(t *Token, now time.Time) error {
	if !t.Revoked.IsZero() {
		return errUnchanged
	}
	changed := false
	if end := t.Validity.NotAfter; !end.IsZero() && end.Before(e.NotAfter) && !t.over(now) {
		t.Validity.NotAfter, changed = e.NotAfter, true
	}
	roles := slices.DeleteFunc(slices.Clone(t.Roles), func(id string) bool { return slices.Contains(e.DropRoles, id) })
	for _, id := range e.AddRoles {
		if !slices.Contains(roles, id) {
			roles = append(roles, id)
		}
	}
	if !slices.Equal(roles, t.Roles) {
		if t.Full {
			return errFullToken
		}
		t.Roles, changed = roles, true
	}
	if e.Enable && t.Disabled {
		t.Disabled, changed = false, true
	}
	if !changed {
		return errUnchanged
	}
	return nil
}
