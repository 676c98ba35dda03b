package latchkey

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"net/netip"
	"slices"
	"strings"
	"time"

	"github.com/latchkey-go/latchkey/internal/fault"
)

// covers returns an error if layers, with the roles they name, may do more than the actor. The owner's boundary is left
// out on both sides, for it holds for both, unless it refers to who asks: then it does not mean the same for both.
func (c *call) checkRights(ctx context.Context, layers []layer, roles map[string]Role, action Action, kind, id string) error {
	if !c.checked {
		return nil
	}
	set := c.access.set
	var mine []layer
	for _, l := range slices.Concat(set.narrowed, set.layers) {
		if l.name != boundaryLayer {
			mine = append(mine, l)
		} else if slices.ContainsFunc(l.rules, func(r Rule) bool { return r.rows.n != nil && asksWho(r.rows.n) }) {
			l.selfRoles = nil // whoever asks
			mine, layers = append(mine, l), append(slices.Clone(layers), l)
		}
	}
	but := Action("")
	if action == Delete { // what only ends gives nobody the right, and a secret key must be able to end whatever there is
		but = Exceed
	}
	if newPolicy(layers, roles).withinBut(ctx, newPolicy(mine, set.roleSet), but) {
		return nil
	}
	if err := ctx.Err(); err != nil {
		return fault.Unavailable(err)
	}
	denied := &DeniedError{Action: action, Resource: Path("latchkey", kind, id)}
	return fmt.Errorf("%w: it could do more than the actor", denied)
}

// anything is the layers of what cannot be read: it may do whatever there is.
var anything = []layer{{full: true}}

// coversToken returns an error if a token may do more than the actor, or is live and the actor is not.
func (c *call) checkTokenRights(ctx context.Context, t *Token, ancestors []Token, action Action) error {
	if !c.checked {
		return nil
	}
	if c.access.Test() && !t.Test {
		return deniedToken(action, t.ID)
	}
	layers := layersOf(t, ancestors)
	roles, err := c.rolesNamed(ctx, layers)
	if t.Damaged || isDamaged(err) || slices.ContainsFunc(ancestors, func(a Token) bool { return a.Damaged }) {
		return c.checkRights(ctx, anything, nil, action, "token", t.ID)
	}
	if err != nil {
		return err
	}
	if action != Delete { // what only ends needs no more than the right to end it
		c.requireUnchanged(roles, ancestors)
	}
	return c.checkRights(ctx, layers, roles, action, "token", t.ID)
}

// coversRole returns an error if a role allows more than the actor, or would if a role were as becomes says.
func (c *call) checkRoleRights(ctx context.Context, r Role, becomes *Role, action Action) error {
	if !c.checked {
		return nil
	}
	if r.Damaged {
		return c.checkRights(ctx, anything, nil, action, "role", r.ID)
	}
	up := layer{roles: r.Inherits}
	if becomes != nil {
		up.roles = slices.Concat(r.Inherits, becomes.Inherits)
	}
	roles, err := c.rolesNamed(ctx, []layer{up})
	if isDamaged(err) {
		return c.checkRights(ctx, anything, nil, action, "role", r.ID)
	}
	if err != nil {
		return err
	}
	roles = maps.Clone(roles)
	if roles == nil {
		roles = map[string]Role{}
	}
	roles[r.ID] = r
	if becomes != nil {
		roles[becomes.ID] = *becomes
	}
	c.requireUnchangedExcept(roles, r.ID, becomes)
	return c.checkRights(ctx, []layer{{roles: []string{r.ID}}}, roles, action, "role", r.ID)
}

// coversHolders returns an error if a token that holds a role, directly or through other roles, may do more than the
// actor, as the role is or as it becomes (nil: it will be gone), and if a role that inherits it would. The write then
// requires that nobody else has come to hold it.
//
// Tokens that were minted do not count, for they lie within their parents, with two exceptions. A test actor changes no
// role that a live token holds, minted or not. And a minted token whose rows are too large to be told, or which holds
// an invalid role, allows nothing today: it may become readable by the change, so it must lie within the actor then.
func (c *call) checkHolders(ctx context.Context, r Role, becomes *Role, action Action) error {
	if !c.checked {
		return nil
	}
	if err := c.checkRoleRights(ctx, r, nil, action); err != nil {
		return err
	}
	if err := c.checkDirectHolders(ctx, r.ID, r, becomes, action); err != nil {
		return err
	}
	for heir, err := range c.heirs(ctx, r.ID) {
		if err != nil {
			return err
		}
		if becomes != nil {
			if err := c.checkRoleRights(ctx, heir, becomes, action); err != nil {
				return err
			}
		}
		if err := c.checkDirectHolders(ctx, heir.ID, r, becomes, action); err != nil {
			return err
		}
	}
	return nil
}

// holdersOf judges who names the role id, which is the changed one or inherits it.
func (c *call) checkDirectHolders(ctx context.Context, id string, changed Role, becomes *Role, action Action) error {
	seen := Holders{RoleID: id, Minted: c.access.Test()}
	var fail error
	pages(Page{}, func(p Page) ([]Role, error) {
		return c.m.store.Roles(ctx, c.owner, RoleQuery{Page: p, Inherits: id})
	}, func(r Role) string { return r.ID }, func(r Role, err error) bool {
		seen.Roles = append(seen.Roles, Ref{r.ID, r.Version})
		fail = err
		return err == nil
	})
	if fail != nil {
		return fail
	}
	alike := map[string]bool{} // what was judged of tokens without rules of their own, by their roles
	pages(Page{}, func(p Page) ([]Token, error) {
		return c.m.store.Tokens(ctx, c.owner, TokenQuery{Page: p, Role: id})
	}, func(t Token) string { return t.ID }, func(t Token, err error) bool {
		if err != nil {
			fail = err
			return false
		}
		if !t.Revoked.IsZero() {
			return true
		}
		if t.Parent == "" || seen.Minted {
			seen.Tokens = append(seen.Tokens, Ref{t.ID, t.Version})
		}
		key := strings.Join(t.Roles, "\n")
		if plain := len(t.Permissions) == 0 && t.Parent == "" && !t.Damaged; plain && !c.access.Test() && c.unbounded() {
			if alike[key] {
				return true
			}
			alike[key] = true
		}
		fail = c.checkHolder(ctx, &t, changed, becomes, action)
		return fail == nil
	})
	c.holders = append(c.holders, seen)
	return fail
}

func (c *call) checkHolder(ctx context.Context, t *Token, changed Role, becomes *Role, action Action) error {
	if c.access.Test() && !t.Test {
		return deniedToken(action, t.ID)
	}
	layers := []layer{layerOf(t)}
	before, err := c.rolesNamed(ctx, layers)
	if t.Damaged || isDamaged(err) {
		return c.checkRights(ctx, anything, nil, action, "token", t.ID)
	}
	if err != nil {
		return err
	}
	is := newPolicy(layers, before)
	if t.Parent != "" {
		if !is.invalid() && is.overgrown(ctx) == nil {
			return nil
		}
	} else if err := c.checkRights(ctx, layers, before, action, "token", t.ID); err != nil {
		return err
	}
	after := maps.Clone(before)
	delete(after, changed.ID)
	if becomes != nil {
		after[becomes.ID] = *becomes
		after, err = c.m.rolesOf(ctx, c.owner, &compiled{anyRole: true, roleSet: after}, []layer{{roles: becomes.Inherits}})
		if err != nil {
			return err
		}
	}
	c.requireUnchangedExcept(after, changed.ID, becomes)
	if err := c.checkRights(ctx, layers, after, action, "token", t.ID); err != nil {
		return err
	}
	if becomes == nil || t.Parent != "" || c.unbounded() || newPolicy(layers, after).within(ctx, is) {
		return nil
	}
	return c.checkOwnBounds(t, nil, action, &t.Settings, true) // by the role it gets rights, which it would keep
}

func deniedToken(action Action, id string) error {
	return &DeniedError{Action: action, Resource: Path("latchkey", "token", id)}
}

func layersOf(t *Token, ancestors []Token) []layer {
	layers := []layer{layerOf(t)}
	for i := range ancestors {
		layers = append(layers, layerOf(&ancestors[i]))
	}
	return layers
}

// rolesNamed reads the roles that layers name, and all that those inherit.
func (c *call) rolesNamed(ctx context.Context, layers []layer) (map[string]Role, error) {
	return c.m.rolesOf(ctx, c.owner, &compiled{anyRole: true}, layers)
}

// judged makes the write require what a judgment rested on.
func (c *call) requireUnchanged(roles map[string]Role, ancestors []Token) {
	for id, r := range roles {
		if ref := (Ref{id, r.Version}); !containsRef(c.roles, ref) {
			c.roles = append(c.roles, ref)
		}
	}
	for i := range ancestors {
		a := &ancestors[i]
		if ref := (Ref{a.ID, a.Version}); a.Revoked.IsZero() && !containsRef(c.tokens, ref) {
			c.tokens = append(c.tokens, ref)
		}
	}
}

// judgedBut is judged without the roles that stand for what they will be.
func (c *call) requireUnchangedExcept(roles map[string]Role, id string, becomes *Role) {
	roles = maps.Clone(roles)
	delete(roles, id)
	if becomes != nil {
		delete(roles, becomes.ID)
	}
	c.requireUnchanged(roles, nil)
}

// bounded returns an error if a token that the actor makes or changes could outlive the actor's own token, be used from
// elsewhere or spend more, and the actor has no right to [Exceed]. From is what the settings were, nil for a new token:
// one that was wider before may stay so, but not become wider, and the actor gets at no secret of it; only one with wider
// limits it does not change at all. What was minted from the actor's token is bound by that anyway. Gains says that the
// token gets rights that it had not: then it is bound like a new one, or the rights would outlive the actor in a token
// that was there.
//
// An actor with limits of its own makes no token, and loosens none that spends by itself: one key of 100 credits that
// made ten of them could spend 1,000. An idle limit is an end that nobody knows in advance, so it is treated alike.
func (c *call) checkOwnBounds(t *Token, ancestors []Token, action Action, from *Settings, gains bool) error {
	if c.unbounded() || c.access.Check(Exceed, Path("latchkey", "token", t.ID)) == nil {
		return nil
	}
	makes := gains || action != Update || from.Disabled && !t.Disabled ||
		t.Validity.NotBefore.Before(from.Validity.NotBefore)
	denied := fmt.Errorf("%w: it reaches beyond the actor's own token (end, addresses, domains, signature or limits): "+
		"a rule that names %q lifts these bounds", deniedToken(action, t.ID), Exceed)
	chain := append([]Token{*t}, ancestors...)
	// keeps reports whether some token of the chain, all of which bind it, is as narrow as a bound demands, or whether an
	// update leaves it as narrow as it was.
	keeps := func(wider func(*Settings) bool, widened bool) bool {
		return !makes && !widened || slices.ContainsFunc(chain, func(u Token) bool { return !wider(&u.Settings) })
	}
	keepsRestrictions := func(r Restrictions) bool {
		return keeps(func(s *Settings) bool { return r.loosenedBy(&s.Restrictions) },
			from != nil && from.Restrictions.loosenedBy(&t.Restrictions))
	}
	for _, r := range c.access.set.confined {
		if !keepsRestrictions(r) {
			return denied
		}
	}
	own, actor := &c.found.Token, c.access.TokenID()
	switch {
	case actor == "", // no token, so nothing more to exceed
		slices.ContainsFunc(ancestors, func(a Token) bool { return a.ID == actor }):
		return nil
	case !limitsWithin(t, ancestors, own, c.found.Ancestors):
		return denied
	case actor == t.ID:
		return nil
	}
	for _, a := range append([]Token{*own}, c.found.Ancestors...) {
		end, idle, r := a.Validity.NotAfter, a.Validity.Idle, a.Restrictions
		switch {
		case !keeps(func(s *Settings) bool { return endsLater(end, s.Validity.NotAfter) },
			from != nil && endsLater(from.Validity.NotAfter, t.Validity.NotAfter)),
			idle != 0 && (makes || idlesLonger(from, &t.Settings)),
			a.Limits != (Limits{}) && (makes || spendsMore(from, &t.Settings)),
			!keepsRestrictions(Restrictions{Domains: r.Domains}),
			!keepsRestrictions(Restrictions{Addresses: r.Addresses}),
			!keepsRestrictions(Restrictions{Signed: r.Signed}):
			return denied
		}
	}
	if t.Kind != KindPublishable && !keepsRestrictions(Restrictions{MintFrom: own.Restrictions.MintFrom}) {
		return denied
	}
	return nil
}

// boundless reports whether nothing bounds what the actor makes but its rights.
func (c *call) unbounded() bool {
	if !c.checked || c.exceeds {
		return true
	}
	binds := func(t *Token) bool {
		r := &t.Restrictions
		return !t.Validity.NotAfter.IsZero() || t.Validity.Idle != 0 || t.Limits != (Limits{}) || r.Signed ||
			len(r.Domains)+len(r.Addresses)+len(r.MintFrom) != 0
	}
	return len(c.access.set.confined) == 0 && !binds(&c.found.Token) &&
		!slices.ContainsFunc(c.found.Ancestors, func(t Token) bool { return binds(&t) })
}

// bound reports whether the actor is the token or was minted from it, so that what binds the token binds the actor.
func (c *call) descendsFrom(id string) bool {
	return c.checked && (c.access.TokenID() == id ||
		slices.ContainsFunc(c.found.Ancestors, func(t Token) bool { return t.ID == id }))
}

// gains reports whether a token has rights that it had not when it was as was, as far as can be told.
func (c *call) gainsRights(ctx context.Context, was, t *Token, ancestors []Token) (bool, error) {
	if c.unbounded() || slices.Equal(t.Roles, was.Roles) && samePermissions(t.Permissions, was.Permissions) {
		return false, nil
	}
	before, after := layersOf(was, ancestors), layersOf(t, ancestors)
	roles, err := c.rolesNamed(ctx, slices.Concat(before, after))
	if err != nil {
		return false, err
	}
	return !newPolicy(after, roles).within(ctx, newPolicy(before, roles)), nil
}

// revives reports whether a token with the settings to could spend what it could not with from.
func spendsMore(from, to *Settings) bool {
	more := func(old, now Credits) bool { return old != 0 && (now == 0 || now > old) }
	return more(from.Limits.Credits, to.Limits.Credits) || from.Limits.Rate != to.Limits.Rate || loosens(from, to)
}

// loosens reports whether a token could be used longer, or from elsewhere, with the settings to than with from.
func loosens(from, to *Settings) bool {
	return endsLater(from.Validity.NotAfter, to.Validity.NotAfter) ||
		idlesLonger(from, to) || from.Restrictions.loosenedBy(&to.Restrictions)
}

// loosenedBy reports whether now lets through what old does not.
func (old *Restrictions) loosenedBy(now *Restrictions) bool {
	return old.Signed && !now.Signed || widerPrefixes(old.Addresses, now.Addresses) || widerPrefixes(old.MintFrom, now.MintFrom) ||
		len(old.Domains) != 0 && (len(now.Domains) == 0 ||
			slices.ContainsFunc(now.Domains, func(d string) bool { return !slices.Contains(old.Domains, d) }))
}

func idlesLonger(from, to *Settings) bool {
	return from.Validity.Idle != 0 && (to.Validity.Idle == 0 || to.Validity.Idle > from.Validity.Idle)
}

func endsLater(from, to time.Time) bool { return !from.IsZero() && (to.IsZero() || to.After(from)) }

func widerPrefixes(from, to []netip.Prefix) bool {
	return len(from) != 0 && (len(to) == 0 || slices.ContainsFunc(to, func(p netip.Prefix) bool {
		return !slices.ContainsFunc(from, func(q netip.Prefix) bool { return q.Bits() <= p.Bits() && q.Contains(p.Addr()) })
	}))
}

// samePermissions reports whether p and q are written the same. What cannot be written is like nothing.
func samePermissions(p, q Permissions) bool {
	x, err := json.Marshal(p)
	y, err2 := json.Marshal(q)
	return err == nil && err2 == nil && bytes.Equal(x, y)
}
