package latchkey

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"math"
	"net/netip"
	"slices"
	"strings"
	"time"

	"github.com/latchkey-go/latchkey/internal/fault"
)

// checkRights returns an error if layers, with the roles they name, may do more than the actor. The owner's boundary is
// left out on both sides, because it holds for both. A boundary that refers to the caller does not mean the same for
// both: layers must lie within the actor with it as well as without it.
//
// Ends says that the call only ends or switches something off. That passes no right on, so the actor need not have
// what only a rule that names it gives: a secret key must be able to end every token.
//
// Known is what is known for good of whoever will use layers: see withinFor. References of the actor are filled in with
// its own values. They stay the same for its token.
func (c *call) checkRights(ctx context.Context, layers []layer, roles map[string]Role, known refValues, ends bool,
	action Action, kind, id string) error {
	if !c.checked {
		return nil
	}
	set := c.access.set
	own := slices.Concat(set.narrowLayers, c.access.layers())
	return c.checkRightsBy(ctx, own, layers, roles, known, ends, action, kind, id)
}

// checkRightsBy is checkRights for an actor with the layers actor.
func (c *call) checkRightsBy(ctx context.Context, actor, layers []layer, roles map[string]Role, known refValues,
	ends bool, action Action, kind, id string) error {
	set := c.access.set
	var mine []layer
	var bound *layer
	for _, l := range actor {
		if l.name != boundaryLayer {
			mine = append(mine, l)
		} else if slices.ContainsFunc(l.rules, Rule.dependsOnCaller) {
			l.selfRoles = nil // those of the caller count
			bound = &l
		}
	}
	own := func(ref any) (any, bool) {
		if ref == SelfRoles {
			return ref, true // each layer has filled in its own
		}
		return c.identity().lookup(ref)
	}
	within := func(layers, mine []layer) bool {
		return c.m.newPolicy(layers, roles).withinFor(ctx, c.m.newPolicy(mine, set.roleSet), ends, known, own)
	}
	// Without the boundary too: it may be lifted, and what it hides from one of them would not be compared again.
	if within(layers, mine) && (bound == nil ||
		within(append(slices.Clone(layers), *bound), append(mine, *bound))) {
		return nil
	}
	if err := ctx.Err(); err != nil {
		return fault.Unavailable(err)
	}
	denied := &DeniedError{Action: action, Resource: Path("latchkey", kind, id)}
	return fmt.Errorf("%w: it could do more than the actor", denied)
}

// anything is the layers of a record that cannot be read: it counts as a secret key.
var anything = []layer{{full: true, root: true}}

// anythingAndMore is the layers of a token with a role that this process lacks. Where its roles are known, it may have
// these rights, which no secret key has without a rule.
var anythingAndMore = []layer{{full: true, root: true,
	rules: Permissions{Grant(namedActions[:]...).On("*", "latchkey/*")}}}

// checkTokenRights returns an error if a token may do more than the actor, or is live while the actor is a test token.
// Ends is as for checkRights.
func (c *call) checkTokenRights(ctx context.Context, t *Token, ancestors []Token, ends bool, action Action) error {
	if !c.checked {
		return nil
	}
	if c.access.Test() && !t.Test {
		return deniedToken(action, t.ID)
	}
	layers := layersOf(t, ancestors)
	roles, err := c.rolesNamed(ctx, layers)
	if t.Damaged || isUnknowable(err) || slices.ContainsFunc(ancestors, func(a Token) bool { return a.Damaged }) {
		// A damaged token stays refused, whatever its secret.
		if _, missing := errors.AsType[*missingRoleError](err); missing {
			return c.checkRights(ctx, anythingAndMore, nil, nil, ends, action, "token", t.ID)
		}
		return c.checkRights(ctx, anything, nil, nil, ends, action, "token", t.ID)
	}
	if err != nil {
		return err
	}
	if action != Delete { // to end a token needs no more than the right to end it
		c.requireUnchanged(roles, ancestors)
	}
	return c.checkRights(ctx, layers, roles, t.lookup, ends, action, "token", t.ID)
}

// lookup returns what a reference stands for, for the token and for all that will ever be minted from it. It returns
// the reference itself if that is not known: a token without a client may mint for any, and ChildAttributes may be set.
func (t *Token) lookup(ref any) (any, bool) {
	switch of := ref.(type) {
	case AttrRef:
		if v, ok := t.Attributes[of.name]; ok {
			return v, true
		}
		return ref, slices.Contains(t.ChildAttributes, of.name)
	case RefVar:
		switch {
		case of == ClientID && t.Client.ID != "":
			return t.Client.ID, true
		case of == OwnerID:
			return t.Owner, true
		}
	}
	return ref, true
}

// identity returns the actor's access with the client and attributes of its token, or of an Assumed caller, without
// those that Narrow added. What a narrowed actor makes outlives the narrowing. Who has no client is no client's,
// whichever it is narrowed to.
func (c *call) identity() Access {
	a := c.access
	if t := &c.found.Token; t.ID != "" {
		a.who = a.who.as(t.Client, newAttributeSet(t.Attributes, t.ChildAttributes))
	} else if a.set.assumed != nil {
		a.who = a.set.assumed
	}
	return a
}

// checkGiven returns an error if a new token has a client, an attribute, or the permission to set one, that the actor
// neither has nor may give. Rules refer to them, and the host's own code may.
func (c *call) checkGiven(t *Token) error {
	if !c.checked {
		return nil
	}
	give := func(kind, id string) error {
		on := Path("latchkey", kind, id)
		if c.identity().Check(Give, on) == nil { // a pattern may mean the asking client, but not that of a narrowing
			return nil
		}
		return fmt.Errorf("%w: the actor does not have this %s, and no rule that names %q lets it give it",
			&DeniedError{Action: Give, Resource: on}, kind, Give)
	}
	actor := c.identity().who
	if id := t.Client.ID; id != "" && id != actor.client.ID {
		if err := give("client", id); err != nil {
			return err
		}
	}
	var own Attributes
	if set := actor.attributes(); set != nil {
		own = set.values
	}
	for _, name := range slices.Sorted(maps.Keys(t.Attributes)) {
		if own.has(name, t.Attributes[name]) {
			continue
		}
		if err := give("attribute", name); err != nil {
			return err
		}
	}
	for _, name := range t.ChildAttributes { // a mint sets any value
		if err := give("attribute", name); err != nil {
			return err
		}
	}
	return nil
}

// checkRoleRights returns an error if a role allows more than the actor, or would if the role becomes.ID changed to
// becomes.
func (c *call) checkRoleRights(ctx context.Context, r Role, becomes *Role, action Action) error {
	if !c.checked {
		return nil
	}
	ends := action == Delete
	if r.Damaged {
		return c.checkRights(ctx, anything, nil, nil, ends, action, "role", r.ID)
	}
	up := layer{roles: r.Inherits}
	if becomes != nil {
		up.roles = slices.Concat(r.Inherits, becomes.Inherits)
	}
	roles, err := c.rolesNamed(ctx, []layer{up})
	if isUnknowable(err) {
		return c.checkRights(ctx, anything, nil, nil, ends, action, "role", r.ID)
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
	return c.checkRights(ctx, []layer{{roles: []string{r.ID}}}, roles, nil, ends, action, "role", r.ID)
}

// checkHolders returns an error if any token holding r, directly or through inheritance, may do more than the actor.
// It checks r as it is and as becomes, which is nil if r will be deleted. It also checks the roles that inherit r. The
// write then requires that the holders are the same.
//
// Minted tokens do not count, because they lie within their parents, with three exceptions:
//
//   - A test actor changes no role that a live token holds, minted or not.
//   - A minted token allows nothing today if its rows are too large together, or if it holds an invalid role. The
//     change may make it usable, so it must lie within the actor then.
//   - A minted token whose parent may name any role gets the rights that the role gets. If the actor's own token has
//     bounds, or a role that ends, it gets none that it would keep beyond these.
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

// checkDirectHolders is checkHolders of those that name the role id itself, which is changed or inherits it.
func (c *call) checkDirectHolders(ctx context.Context, id string, changed Role, becomes *Role, action Action) error {
	bound := !c.unbounded() || len(c.roleEnds()) > 0
	seen := Holders{RoleID: id, Minted: c.access.Test() || bound && becomes != nil}
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
	alike := map[string]bool{} // role lists of checked tokens that have no rules of their own
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
		if plain := len(t.Permissions) == 0 && t.Parent == "" && !t.Damaged; plain && !c.access.Test() && !bound {
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

// checkHolder is checkHolders of one token.
func (c *call) checkHolder(ctx context.Context, t *Token, changed Role, becomes *Role, action Action) error {
	if c.access.Test() && !t.Test {
		return deniedToken(action, t.ID)
	}
	layers, ends := []layer{layerOf(t)}, action == Delete
	bound := becomes != nil && (!c.unbounded() || len(c.roleEnds()) > 0)
	before, err := c.rolesNamed(ctx, layers)
	if t.Damaged || isUnknowable(err) {
		return c.checkRights(ctx, anything, nil, nil, ends, action, "token", t.ID)
	}
	if err != nil {
		return err
	}
	is := c.m.newPolicy(layers, before)
	if t.Parent != "" {
		if !is.invalid() && is.checkSize(ctx) == nil {
			if !bound {
				return nil
			}
			return c.checkMintedHolder(ctx, t, changed, *becomes, action)
		}
	} else if err := c.checkRights(ctx, layers, before, nil, ends, action, "token", t.ID); err != nil {
		return err
	}
	after, err := c.rolesAfter(ctx, before, changed, becomes)
	if err != nil {
		return err
	}
	if err := c.checkRights(ctx, layers, after, nil, ends, action, "token", t.ID); err != nil {
		return err
	}
	if !bound || t.Parent != "" {
		return nil
	}
	return c.checkGain(ctx, Found{Token: *t}, before, after, action)
}

// checkMintedHolder is what checkHolder checks of a minted token that lies within its parent.
func (c *call) checkMintedHolder(ctx context.Context, t *Token, changed, becomes Role, action Action) error {
	f, err := c.loadEvenDamaged(ctx, t.ID)
	if errors.Is(err, ErrNotFound) {
		return nil // it was removed meanwhile
	}
	if err != nil {
		return err
	}
	before, err := c.rolesNamed(ctx, layersOf(&f.Token, f.Ancestors))
	if isUnknowable(err) || slices.ContainsFunc(f.Ancestors, func(a Token) bool { return a.Damaged }) {
		return c.checkRights(ctx, anything, nil, nil, false, action, "token", t.ID)
	}
	if err != nil {
		return err
	}
	after, err := c.rolesAfter(ctx, before, changed, &becomes)
	if err != nil {
		return err
	}
	c.requireUnchanged(nil, f.Ancestors)
	return c.checkGain(ctx, f, before, after, action)
}

// rolesAfter returns roles as they will be when the role changed becomes another one, or is deleted. The write requires
// that the others are unchanged.
func (c *call) rolesAfter(ctx context.Context, roles map[string]Role, changed Role, becomes *Role) (map[string]Role,
	error) {
	after := maps.Clone(roles)
	delete(after, changed.ID)
	if becomes != nil {
		after[becomes.ID] = *becomes
		var err error
		after, err = c.m.rolesOf(ctx, c.owner, &compiled{anyRole: true, roleSet: after}, []layer{{roles: becomes.Inherits}})
		if err != nil {
			return nil, err
		}
	}
	c.requireUnchangedExcept(after, changed.ID, becomes)
	return after, nil
}

// checkGain returns an error if a token gets rights by a changed role, and would keep them beyond the bounds of the
// actor's own token, or longer than the actor.
func (c *call) checkGain(ctx context.Context, f Found, before, after map[string]Role, action Action) error {
	if !c.m.gainsRights(ctx, f, f, before, after) {
		return nil
	}
	if err := c.checkOwnBounds(&f.Token, f.Ancestors, action, &f.Token.Settings, true); err != nil {
		return err
	}
	return c.checkRoleEnds(ctx, &f.Token, f.Ancestors, action, &f.Token.Settings, true, after)
}

// deniedToken returns the error of an actor that may not do action on a token.
func deniedToken(action Action, id string) error {
	return &DeniedError{Action: action, Resource: Path("latchkey", "token", id)}
}

// layersOf returns the layers of a token and its ancestors, its own first.
func layersOf(t *Token, ancestors []Token) []layer {
	layers := []layer{layerOf(t)}
	for i := range ancestors {
		layers = append(layers, layerOf(&ancestors[i]))
	}
	return layers
}

// rolesNamed reads the roles that layers name, and all that those inherit. It returns an error for which isUnknowable
// holds if one of Options.Roles is among them that this process lacks.
func (c *call) rolesNamed(ctx context.Context, layers []layer) (map[string]Role, error) {
	roles, err := c.m.rolesOf(ctx, c.owner, &compiled{anyRole: true}, layers)
	if err != nil {
		return nil, err
	}
	if id := missingRole(layers, roles); id != "" {
		return nil, &missingRoleError{id}
	}
	return roles, nil
}

// requireUnchanged makes the write require the versions of roles and unrevoked ancestors that a check relied on.
func (c *call) requireUnchanged(roles map[string]Role, ancestors []Token) {
	for id, r := range roles {
		if ref := (Ref{id, r.Version}); !slices.Contains(c.roles, ref) {
			c.roles = append(c.roles, ref)
		}
	}
	for i := range ancestors {
		a := &ancestors[i]
		if ref := (Ref{a.ID, a.Version}); a.Revoked.IsZero() && !slices.Contains(c.tokens, ref) {
			c.tokens = append(c.tokens, ref)
		}
	}
}

// requireUnchangedExcept is requireUnchanged without the role id and the role becomes: roles does not hold them as they
// are stored.
func (c *call) requireUnchangedExcept(roles map[string]Role, id string, becomes *Role) {
	roles = maps.Clone(roles)
	delete(roles, id)
	if becomes != nil {
		delete(roles, becomes.ID)
	}
	c.requireUnchanged(roles, nil)
}

// checkOwnBounds returns an error if a token that the actor writes could outlive the actor's own token, be used from
// elsewhere or spend more. The right [Exceed] lifts that. Tokens minted from the actor's token are bound by it anyway.
//
// From is what the settings were, nil for a new token. A token that was wider before may stay so, but not become wider.
// The actor cannot get at a secret of it, and cannot change one with wider limits at all. Gains reports whether the
// token gets rights that it did not have. It is then bound like a new one: otherwise the rights would outlive the actor
// in an older token.
//
// An actor with limits makes no token, and loosens none that spends by itself. One key of 100 credits that made ten of
// them could spend 1,000. An idle limit is an end that is not known in advance, so it is treated alike.
func (c *call) checkOwnBounds(t *Token, ancestors []Token, action Action, from *Settings, gains bool) error {
	if c.unbounded() || c.access.Check(Exceed, Path("latchkey", "token", t.ID)) == nil {
		return nil
	}
	makes := gains || action != Update || from.Disabled && !t.Disabled ||
		t.Validity.NotBefore.Before(from.Validity.NotBefore)
	denied := fmt.Errorf("%w: it reaches beyond the actor's own token (end, addresses, domains, signature or limits): "+
		"a rule that names %q lifts these bounds", deniedToken(action, t.ID), Exceed)
	chain := append([]Token{*t}, ancestors...)
	// keeps reports whether a token of the chain is as narrow as a bound demands, or an update leaves the token as it was.
	// All tokens of the chain bind it.
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
			!a.Limits.IsZero() && (makes || spendsMore(from, &t.Settings)),
			!keepsRestrictions(Restrictions{Domains: r.Domains}),
			!keepsRestrictions(Restrictions{Addresses: r.Addresses}),
			!keepsRestrictions(Restrictions{Signed: r.Signed}):
			return denied
		}
	}
	// MintFrom is not inherited, so those of the ancestors do not bind what t mints.
	mints := Restrictions{MintFrom: own.Restrictions.MintFrom}
	if t.Kind != KindPublishable && mints.loosenedBy(&t.Restrictions) &&
		(makes || from.Restrictions.loosenedBy(&t.Restrictions)) {
		return denied
	}
	return nil
}

// unbounded reports whether the actor's own token sets no bounds on what the actor makes: only its rights count.
func (c *call) unbounded() bool {
	if !c.checked || c.exceeds {
		return true
	}
	binds := func(t *Token) bool {
		r := &t.Restrictions
		return !t.Validity.NotAfter.IsZero() || t.Validity.Idle != 0 || !t.Limits.IsZero() || r.Signed ||
			len(r.Domains)+len(r.Addresses)+len(r.MintFrom) != 0
	}
	return len(c.access.set.confined) == 0 && !binds(&c.found.Token) &&
		!slices.ContainsFunc(c.found.Ancestors, func(t Token) bool { return binds(&t) })
}

// descendsFrom reports whether the actor is the token id or was minted from it, so that the token's restrictions hold
// for the actor.
func (c *call) descendsFrom(id string) bool {
	return c.checked && (c.access.TokenID() == id ||
		slices.ContainsFunc(c.found.Ancestors, func(t Token) bool { return t.ID == id }))
}

// gainsRights reports whether a token has rights that it did not have as was, or has them for longer. What cannot be
// compared counts as gained.
func (c *call) gainsRights(ctx context.Context, was, t *Token, ancestors []Token) (bool, error) {
	if c.unbounded() && len(c.roleEnds()) == 0 || slices.Equal(t.Roles, was.Roles) &&
		maps.EqualFunc(t.RoleEnds, was.RoleEnds, time.Time.Equal) && samePermissions(t.Permissions, was.Permissions) {
		return false, nil
	}
	roles, err := c.rolesNamed(ctx, slices.Concat(layersOf(was, ancestors), layersOf(t, ancestors)))
	if isUnknowable(err) {
		return true, nil
	}
	if err != nil {
		return false, err
	}
	return c.m.gainsRights(ctx, Found{Token: *was, Ancestors: ancestors}, Found{Token: *t, Ancestors: ancestors}, roles,
		roles), nil
}

// gainsRights reports whether a chain of tokens has rights, with the roles after, that it did not have as was with the
// roles before. It compares them as of each moment at which one of the two loses a role.
func (m *Manager) gainsRights(ctx context.Context, was, now Found, before, after map[string]Role) bool {
	moments := endsOfRoles(was, now)
	if len(moments) > maxRoleMoments {
		return true
	}
	for _, at := range append([]int64{math.MinInt64}, moments...) {
		x, y := withLiveRoles(was, at), withLiveRoles(now, at)
		if !m.newPolicy(layersOf(&y.Token, y.Ancestors), after).within(ctx,
			m.newPolicy(layersOf(&x.Token, x.Ancestors), before)) {
			return true
		}
	}
	return false
}

// maxRoleMoments is at how many moments rights are compared. A few are usual: roles that were lent for a time.
const maxRoleMoments = 8

// endsOfRoles returns the moments at which tokens lose roles, in µs, in order, each once.
func endsOfRoles(chains ...Found) (moments []int64) {
	for _, f := range chains {
		for i := -1; i < len(f.Ancestors); i++ {
			t := &f.Token
			if i >= 0 {
				t = &f.Ancestors[i]
			}
			for _, end := range t.RoleEnds {
				moments = append(moments, end.UnixMicro())
			}
		}
	}
	slices.Sort(moments)
	return slices.Compact(moments)
}

// roleEnds returns the moments at which the actor loses roles that it has now, as endsOfRoles does. If they are too
// many to look at each, the last one is one at which all of the later ones count as past.
func (c *call) roleEnds() []int64 {
	if !c.checked || c.access.Kind() == 0 {
		return nil
	}
	moments := endsOfRoles(c.found)
	for _, l := range c.access.set.narrowLayers {
		for _, end := range l.ends {
			moments = append(moments, end.UnixMicro())
		}
	}
	slices.Sort(moments)
	moments = slices.Compact(moments)
	return moments[:min(len(moments), maxRoleMoments)]
}

// layersAt returns the layers of the actor at a moment to come, in µs: without the roles that it will have lost then.
// At the last moment of roleEnds it is without all that it will ever lose.
func (c *call) layersAt(at int64) []layer {
	ends := c.roleEnds()
	if at >= ends[len(ends)-1] {
		at = math.MaxInt64
	}
	set := c.access.set
	f := withHeldRoles(withLiveRoles(c.found, at))
	layers, held, lost := chainLayers(&f, set.roleSet)
	narrow, _ := heldNarrowLayers(set.narrowLayers, selfRoles{held, lost}, anyRole(&f), at)
	return slices.Concat(narrow, layers)
}

// checkRoleEnds returns an error if a token that the actor writes could have a right for longer than the actor, which
// has it by a role that ends. At each moment at which the actor loses a role, what the token may do from then on must
// lie within what the actor may do then. A token that has ended by then, or whose own role has, is within. No right
// lifts that: [Exceed] is about bounds of the actor's token, and these are ends of its rights.
//
// From, gains and the kinds of change that count are those of checkOwnBounds: a token that was wider before may stay
// so. Roles are those of the token, nil to read them.
func (c *call) checkRoleEnds(ctx context.Context, t *Token, ancestors []Token, action Action, from *Settings,
	gains bool, roles map[string]Role) error {
	moments := c.roleEnds()
	if len(moments) == 0 || action == Update && !gains && !(from.Disabled && !t.Disabled) &&
		!t.Validity.NotBefore.Before(from.Validity.NotBefore) &&
		!endsLater(from.Validity.NotAfter, t.Validity.NotAfter) && !idlesLonger(from, &t.Settings) {
		return nil
	}
	f := Found{Token: *t, Ancestors: ancestors}
	var unknown bool
	if roles == nil {
		var err error
		roles, err = c.rolesNamed(ctx, layersOf(t, ancestors))
		unknown = t.Damaged || isUnknowable(err) ||
			slices.ContainsFunc(ancestors, func(a Token) bool { return a.Damaged })
		if err != nil && !unknown {
			return err
		}
	}
	for _, at := range moments {
		past := func(u Token) bool { return over(u.Validity.NotAfter, at) }
		if past(*t) || slices.ContainsFunc(ancestors, past) {
			return nil
		}
		live := withLiveRoles(f, at)
		layers := layersOf(&live.Token, live.Ancestors)
		if unknown {
			layers = anything
		}
		if err := c.checkRightsBy(ctx, c.layersAt(at), layers, roles, t.lookup, false, action, "token",
			t.ID); err != nil {
			return fmt.Errorf("%w: the actor has a role until %s, and gives nobody its rights for longer", err,
				fromMicros(at).Format(time.RFC3339))
		}
	}
	return nil
}

// spendsMore reports whether a token with the settings to could spend what it could not with from.
func spendsMore(from, to *Settings) bool {
	return !quotasWithin(from.Limits.Quotas, to.Limits.Quotas) || from.Limits.Rate != to.Limits.Rate || loosens(from, to)
}

// loosens reports whether a token could be used longer, or from elsewhere, with the settings to than with from.
func loosens(from, to *Settings) bool {
	return endsLater(from.Validity.NotAfter, to.Validity.NotAfter) ||
		idlesLonger(from, to) || from.Restrictions.loosenedBy(&to.Restrictions)
}

// loosenedBy reports whether now lets through a request that old does not.
func (old *Restrictions) loosenedBy(now *Restrictions) bool {
	return old.Signed && !now.Signed ||
		widerPrefixes(old.Addresses, now.Addresses) || widerPrefixes(old.MintFrom, now.MintFrom) ||
		len(old.Domains) != 0 && (len(now.Domains) == 0 ||
			slices.ContainsFunc(now.Domains, func(d string) bool { return !slices.Contains(old.Domains, d) }))
}

// idlesLonger reports whether to has a longer idle limit than from, or none.
func idlesLonger(from, to *Settings) bool {
	return from.Validity.Idle != 0 && (to.Validity.Idle == 0 || to.Validity.Idle > from.Validity.Idle)
}

// endsLater reports whether the end to is later than from. Zero is no end.
func endsLater(from, to time.Time) bool { return !from.IsZero() && (to.IsZero() || to.After(from)) }

// widerPrefixes reports whether to holds an address that from does not. An empty list holds all addresses.
func widerPrefixes(from, to []netip.Prefix) bool {
	return len(from) != 0 && (len(to) == 0 || slices.ContainsFunc(to, func(p netip.Prefix) bool {
		return !slices.ContainsFunc(from, func(q netip.Prefix) bool { return q.Bits() <= p.Bits() && q.Contains(p.Addr()) })
	}))
}
