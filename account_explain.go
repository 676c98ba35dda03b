package latchkey

import (
	"cmp"
	"context"
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/latchkey-go/latchkey/internal/uuidv7"
)

// Explain returns what a token may do and why, one answer for each question, without needing its secret. It is for
// pages where people manage tokens. The answers follow the rules of the token, of all that it was minted from, and of
// the owner's boundary. Whether the token can be used at all is [Token.State]. References in Explanation.Rows are
// filled in.
//
// Roles that have ended are shown, and give nothing. A role of Options.Roles that this process lacks is named in
// Explanation.Missing.
//
// An actor needs read on the token, on those it was minted from, and on every role in the answer. Explain returns
// [ErrNotFound] if there is no such token.
func (a Account) Explain(ctx context.Context, id string, ask ...Question) ([]Explanation, error) {
	return a.explain(ctx, id, nil, ask)
}

// ExplainWith is [Account.Explain] as if the role r were saved as it is passed, with its ID. It writes nothing. The
// difference between both is what the change of the role changes for the token. A token that neither names the role nor
// inherits it gets the answers of Explain. An actor needs read on the roles that r inherits, too.
//
// ExplainWith returns ErrInvalid for a role that could not be saved: see [Account.UpdateRole].
func (a Account) ExplainWith(ctx context.Context, id string, r Role, ask ...Question) ([]Explanation, error) {
	return a.explain(ctx, id, &r, ask)
}

// explain is Explain, with the role becomes as it would be; nil: all are as they are stored.
func (a Account) explain(ctx context.Context, id string, becomes *Role, ask []Question) ([]Explanation, error) {
	c, err := a.beginReading(ctx)
	if err != nil {
		return nil, err
	}
	if c.check(Read, "token", id) != nil {
		return nil, ErrNotFound
	}
	f, err := a.m.store.Load(ctx, a.owner, id)
	if err != nil {
		return nil, notStored(id, err)
	}
	for i := range f.Ancestors {
		if err := c.check(Read, "token", f.Ancestors[i].ID); err != nil {
			return nil, err
		}
	}
	f = a.m.withCodeRoles(f)
	if becomes != nil {
		if err := c.suppose(ctx, &f, *becomes); err != nil {
			return nil, err
		}
	}
	for i := range f.Roles {
		if err := c.check(Read, "role", f.Roles[i].ID); err != nil {
			return nil, err
		}
	}
	now := a.m.expiryNow()
	live := withLiveRoles(f, now)
	e, err := a.m.compile(live)
	if err == nil && becomes != nil { // the cache knows rights by the versions of roles, and this one has none
		e.Value, e.Deps, err = a.m.compileRights(withHeldRoles(live))
	}
	if err != nil {
		return nil, err
	}
	access := Access{set: e.Value, who: &e.Principal, m: a.m, id: uuidv7.Parse(id), ends: e.Ends}
	out := make([]Explanation, len(ask))
	for i, q := range ask {
		out[i] = access.Explain(q.Action, q.Resource)
		out[i].Rows = access.rows(q.Action, q.Resource)
		a.m.noteRoles(&out[i], &f, now)
	}
	return out, nil
}

// noteRoles adds to an answer about a token when its roles end, and those that have ended by now, in µs. It also adds
// which roles have a name of Options.Roles.
func (m *Manager) noteRoles(e *Explanation, f *Found, now int64) {
	known := map[string]Role{}
	for _, r := range f.Roles {
		known[r.ID] = r
	}
	for i := range e.Layers {
		l := &e.Layers[i]
		if i <= len(f.Ancestors) { // the boundary comes last
			t := &f.Token
			if i > 0 {
				t = &f.Ancestors[i-1]
			}
			for _, id := range t.Roles {
				end, ends := t.RoleEnds[id]
				at := slices.IndexFunc(l.Roles, func(r ExplainedRole) bool { return r.ID == id && !r.Inherited })
				switch {
				case !ends:
				case ended(t.RoleEnds, id, now):
					l.Roles = append(l.Roles, ExplainedRole{ID: id, Name: known[id].Name, Verdict: verdictNone.String(), Ends: end,
						Ended: true, Fault: "it was held until " + end.Format(time.RFC3339)})
					if e.Decided == l.Name && e.Reason == l.Name+noRule {
						r := &l.Roles[len(l.Roles)-1]
						e.Reason += fmt.Sprintf(", and role %s gives nothing: %s", r.label(), r.Fault)
					}
				case at >= 0:
					l.Roles[at].Ends = end
				}
			}
		}
		for at := range l.Roles {
			r := &l.Roles[at]
			if code, ok := m.CodeRoleNamed(r.Name); ok && r.ID != code.ID && known[r.ID].Origin == "" && r.Name != "" {
				r.SameName = code.ID
			}
		}
	}
}

// ExplainRole is [Account.Explain] of a token that has one role and no rules of its own. References in the answers stay
// as they are, because they mean the caller. The answers are for a caller without a client, so a pattern with
// [ClientSegment] counts in a Deny only. An actor needs read on the role and on all that it inherits. ExplainRole
// returns [ErrNotFound] if there is no such role.
func (a Account) ExplainRole(ctx context.Context, id string, ask ...Question) ([]Explanation, error) {
	return a.explainRole(ctx, id, nil, ask)
}

// ExplainRoleAs is [Account.ExplainRole] as if the role r were saved as it is passed. It writes nothing. With the ID
// of a stored role, the difference between both is what the change changes. The ID of a new role is "".
//
// ExplainRoleAs returns ErrInvalid for a role that could not be saved: see [Account.UpdateRole].
func (a Account) ExplainRoleAs(ctx context.Context, r Role, ask ...Question) ([]Explanation, error) {
	return a.explainRole(ctx, r.ID, &r, ask)
}

// newRoleID stands for the id of a role that has none yet. No stored role has it.
const newRoleID = "new"

// supposed returns a role as it would be saved, and all that it would inherit, by id.
func (c *call) supposed(ctx context.Context, r Role) (Role, map[string]Role, error) {
	if r.ID == "" {
		r.ID = newRoleID
	}
	r = r.Clone()
	r.Owner, r.Damaged = c.owner, false
	if err := c.resolveInherits(ctx, &r, nil); err != nil {
		return r, nil, err
	}
	if err := c.checkRole(ctx, nil, &r, &Write{}); err != nil {
		return r, nil, err
	}
	roles := map[string]Role{}
	for _, up := range r.Inherits {
		var err error
		if roles, err = c.m.roleClosure(ctx, c.owner, roles, up); err != nil {
			return r, nil, err
		}
	}
	roles[r.ID] = r
	return r, roles, nil
}

// suppose replaces a role that decides about a token by what it would become, with all that it would inherit.
func (c *call) suppose(ctx context.Context, f *Found, becomes Role) error {
	r, roles, err := c.supposed(ctx, becomes)
	if err != nil || !slices.ContainsFunc(f.Roles, func(x Role) bool { return x.ID == r.ID }) {
		return err
	}
	for _, x := range f.Roles {
		if _, ok := roles[x.ID]; !ok {
			roles[x.ID] = x
		}
	}
	f.Roles = slices.Collect(maps.Values(roles))
	return nil
}

// explainRole is ExplainRole, with the role as it would become; nil: as it is stored.
func (a Account) explainRole(ctx context.Context, id string, becomes *Role, ask []Question) ([]Explanation, error) {
	c, err := a.beginReading(ctx)
	if err != nil {
		return nil, err
	}
	var roles map[string]Role
	if becomes != nil {
		var r Role
		if r, roles, err = c.supposed(ctx, *becomes); err == nil {
			id = r.ID
		}
	} else if c.check(Read, "role", id) != nil {
		return nil, ErrNotFound
	} else {
		roles, err = a.m.roleClosure(ctx, a.owner, nil, id)
	}
	if err != nil {
		return nil, err
	}
	for up := range roles {
		if up == newRoleID {
			continue
		}
		if err := c.check(Read, "role", up); err != nil {
			return nil, err
		}
	}
	owner, err := a.m.store.Owner(ctx, a.owner)
	if err != nil {
		return nil, err
	}
	layers := []layer{{name: "role " + roles[id].Name, roles: []string{id}}}
	if owner.Boundary != nil {
		layers = append(layers, layer{name: boundaryLayer, rules: owner.Boundary})
	}
	p := a.m.newPolicy(layers, roles)
	f := Found{Roles: slices.Collect(maps.Values(roles))}
	out := make([]Explanation, len(ask))
	for i, q := range ask {
		out[i] = p.explainOf(&question{action: q.Action, on: string(q.Resource)})
		a.m.opts.Catalogue.name(&out[i])
		a.m.noteRoles(&out[i], &f, 0)
	}
	return out, nil
}

// Lineage is a token or a role together with all other records that decide about it. It is made for people and pages:
// decide by [Access.Check] and its siblings.
type Lineage struct {
	Token Token `json:"token,omitzero"` // the zero Token for a role
	// Ancestors are the tokens it was minted from: its parent first, the root last. Of one that the caller may not read
	// only ID, Parent and Depth are set. Fewer than Token.Depth means that one is gone.
	Ancestors []Token `json:"ancestors,omitempty"`
	// Roles are all that the token, or one of its ancestors, names or inherits, by id. Those that are gone are missing,
	// and those of Options.Roles that this process lacks.
	Roles []Role `json:"roles,omitempty"`
	// Boundary is the owner's. Nil: none. It is shown to every caller, as by [Account.Explain].
	Boundary Permissions `json:"boundary,omitzero"`
	// Limits are the owner's. They are zero if there are none, and for a caller that may not read the owner's record.
	Limits Limits `json:"limits,omitzero"`
	// MissingRoles are ids of roles of Options.Roles that are named or inherited and that this process lacks.
	MissingRoles []string `json:"missing_roles,omitempty"`
	// RoleEnds are the first ends of the roles that the token and its ancestors name, by id; past ones too. Nil: none
	// ends.
	RoleEnds map[string]time.Time `json:"role_ends,omitempty"`
	// Ends is the first NotAfter of the token and its ancestors. Zero: none of them has one.
	Ends time.Time `json:"ends,omitzero"`
	// Refused is why [Manager.Verify] refuses the token whatever a request brings along. It wraps [ErrInvalidToken], such
	// as [ErrParent], or is a *[DamagedError] for a record that cannot be read. Nil: it is not refused. JSON leaves it
	// out.
	Refused error `json:"-"`
	// Hidden reports whether an ancestor or a role is left out, in whole or in part, because the caller may not read it.
	Hidden bool `json:"hidden,omitempty"`
}

// Lineage reads a token, the tokens it was minted from, and every role that any of them names or inherits. An actor
// needs read on the token. It returns [ErrNotFound] if there is no such token.
func (a Account) Lineage(ctx context.Context, id string) (Lineage, error) {
	c, err := a.beginReading(ctx)
	if err != nil {
		return Lineage{}, err
	}
	if c.check(Read, "token", id) != nil {
		return Lineage{}, ErrNotFound
	}
	if err := a.m.uses.FlushOwner(ctx, a.owner); err != nil {
		a.m.warn(ctx, partLastUse, "latchkey: cannot write last uses", err)
	}
	f, err := a.m.store.Load(ctx, a.owner, id)
	if err != nil && !isDamaged(err) {
		return Lineage{}, notStored(id, err)
	}
	l := Lineage{Token: f.Token, Ends: f.Token.Validity.NotAfter, Refused: err}
	if err == nil {
		l.Refused = a.m.verifyRecords(&f, a.m.readClock())
	}
	f = a.m.withCodeRoles(f)
	l.addRoleEnds(f.Token.RoleEnds)
	l.addMissing(layersOf(&f.Token, f.Ancestors), f.Roles)
	for _, t := range f.Ancestors {
		l.addRoleEnds(t.RoleEnds)
		if end := t.Validity.NotAfter; !end.IsZero() && (l.Ends.IsZero() || end.Before(l.Ends)) {
			l.Ends = end
		}
		if c.check(Read, "token", t.ID) != nil {
			t, l.Hidden = Token{ID: t.ID, Parent: t.Parent, Depth: t.Depth}, true
		}
		l.Ancestors = append(l.Ancestors, t)
	}
	c.addRoles(&l, slices.Values(f.Roles))
	c.addOwner(&l, f.Owner)
	return l, nil
}

// RoleLineage is [Account.Lineage] of a role: Roles holds it and all that it inherits. An actor needs read on the role.
// It returns [ErrNotFound] if there is no such role.
func (a Account) RoleLineage(ctx context.Context, id string) (Lineage, error) {
	c, err := a.beginReading(ctx)
	if err != nil {
		return Lineage{}, err
	}
	if c.check(Read, "role", id) != nil {
		return Lineage{}, ErrNotFound
	}
	roles, err := a.m.roleClosure(ctx, a.owner, nil, id)
	if err != nil {
		return Lineage{}, err
	}
	owner := c.found.Owner
	if !c.checked {
		if owner, err = a.m.store.Owner(ctx, a.owner); err != nil {
			return Lineage{}, err
		}
	}
	var l Lineage
	l.addMissing([]layer{{roles: []string{id}}}, slices.Collect(maps.Values(roles)))
	c.addRoles(&l, maps.Values(roles))
	c.addOwner(&l, owner)
	return l, nil
}

// addRoleEnds adds ends of roles. Of two of one role the first counts.
func (l *Lineage) addRoleEnds(ends roleEnds) {
	for id, end := range ends {
		if l.RoleEnds == nil {
			l.RoleEnds = roleEnds{}
		}
		if known, ok := l.RoleEnds[id]; !ok || end.Before(known) {
			l.RoleEnds[id] = end
		}
	}
}

// addMissing adds the roles of Options.Roles that layers name, or roles inherit, and that are not among roles.
func (l *Lineage) addMissing(layers []layer, roles []Role) {
	named := []string{}
	for _, x := range layers {
		named = append(named, x.roles...)
	}
	for _, r := range roles {
		named = append(named, r.Inherits...)
	}
	for _, id := range slices.Compact(slices.Sorted(slices.Values(named))) {
		if isCodeID(id) && !slices.ContainsFunc(roles, func(r Role) bool { return r.ID == id }) {
			l.MissingRoles = append(l.MissingRoles, id)
		}
	}
}

// addRoles adds the roles that the actor may read, by id.
func (c *call) addRoles(l *Lineage, roles func(func(Role) bool)) {
	for r := range roles {
		if c.check(Read, "role", r.ID) != nil {
			l.Hidden = true
			continue
		}
		l.Roles = append(l.Roles, r)
	}
	slices.SortFunc(l.Roles, func(a, b Role) int { return cmp.Compare(a.ID, b.ID) })
}

// addOwner adds the boundary, and the limits if the actor may read the owner's record.
func (c *call) addOwner(l *Lineage, o Owner) {
	l.Boundary = o.Boundary
	if c.check(Read, "owner", "") == nil {
		l.Limits = o.Limits
	}
}

// Refusals returns why [Manager.Verify] refuses each token, as it was listed, whatever a request brings along. The
// errors are those of [Lineage.Refused], by token id. Tokens that are not refused are missing. Refusals reads the
// owner's record, and for minted tokens all of their parents at once, and all of those at once.
func (a Account) Refusals(ctx context.Context, tokens ...Token) (map[string]error, error) {
	out := map[string]error{}
	if len(tokens) == 0 {
		return out, nil
	}
	c, err := a.beginReading(ctx)
	if err != nil {
		return nil, err
	}
	owner := c.found.Owner
	if !c.checked {
		if owner, err = a.m.store.Owner(ctx, a.owner); isDamaged(err) {
			for _, t := range tokens {
				out[t.ID] = err
			}
			return out, nil
		} else if err != nil {
			return nil, err
		}
	}
	known, err := a.ancestors(ctx, tokens)
	if err != nil {
		return nil, err
	}
	now := a.m.readClock()
	for _, t := range tokens {
		f := Found{Token: t, Owner: owner}
		for id := t.Parent; id != "" && len(f.Ancestors) <= maxAncestors; {
			up, ok := known[id]
			if !ok { // it is gone
				break
			}
			f.Ancestors = append(f.Ancestors, up)
			id = up.Parent
		}
		if err := a.m.verifyRecords(&f, now); err != nil {
			out[t.ID] = err
		}
	}
	return out, nil
}

// maxAncestors is more than Options.MaxDepth can be.
const maxAncestors = 32

// ancestors returns the tokens that some tokens were minted from, by id, with one reading for all of the same distance.
// Those that are gone are missing.
func (a Account) ancestors(ctx context.Context, tokens []Token) (map[string]Token, error) {
	known := map[string]Token{}
	for range maxAncestors {
		var ids []string
		for i := range tokens {
			up := tokens[i].Parent
			if _, ok := known[up]; !ok && up != "" && !slices.Contains(ids, up) {
				ids = append(ids, up)
			}
		}
		tokens = nil
		for some := range slices.Chunk(ids, maxQueryIDs) {
			list, err := a.m.store.Tokens(ctx, a.owner, TokenQuery{IDs: some, Page: Page{Limit: maxQueryIDs}})
			if err != nil {
				return nil, err
			}
			for _, t := range list {
				known[t.ID] = t
			}
			tokens = append(tokens, list...)
		}
		if len(tokens) == 0 {
			break
		}
	}
	return known, nil
}
