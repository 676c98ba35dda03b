package latchkey

import "context"

// Question is what [Account.Explain] is asked: may this be done there?
type Question struct {
	Action   Action
	Resource Resource
}

// Explain says what a token may do and why, one answer for each question, without its secret: for pages where people
// manage tokens. It tells what the token's rules say together with those of all it was minted from and of the owner's
// boundary; whether it may be used at all is [Token.State]. The references in Explanation.Rows are filled in. Who acts
// needs read on the token, on those it was minted from and on every role in the answer. [ErrNotFound] if there is no such
// token.
func (a Account) Explain(ctx context.Context, id string, ask ...Question) ([]Explanation, error) {
	c, err := a.begin(ctx)
	if err != nil {
		return nil, err
	}
	if c.check(Read, "token", id) != nil {
		return nil, ErrNotFound
	}
	f, err := a.m.store.Load(ctx, a.owner, id)
	if err != nil {
		return nil, err
	}
	for i := range f.Ancestors {
		if err := c.check(Read, "token", f.Ancestors[i].ID); err != nil {
			return nil, err
		}
	}
	for i := range f.Roles {
		if err := c.check(Read, "role", f.Roles[i].ID); err != nil {
			return nil, err
		}
	}
	l, err := a.m.compile(f)
	if err != nil {
		return nil, err
	}
	access := Access{set: l.set, who: &l.who, m: a.m, id: idBytes(id)}
	out := make([]Explanation, len(ask))
	for i, q := range ask {
		out[i] = access.Explain(q.Action, q.Resource)
		out[i].Rows = access.rows(q.Action, q.Resource)
	}
	return out, nil
}

// ExplainRole is [Account.Explain] of a token that has one role and no rules of its own. References stay as they are: they
// mean whoever has the role. Who acts needs read on the role and on all that it inherits. [ErrNotFound] if there is none.
func (a Account) ExplainRole(ctx context.Context, id string, ask ...Question) ([]Explanation, error) {
	c, err := a.begin(ctx)
	if err != nil {
		return nil, err
	}
	if c.check(Read, "role", id) != nil {
		return nil, ErrNotFound
	}
	roles, err := a.m.roleClosure(ctx, a.owner, nil, id)
	if err != nil {
		return nil, err
	}
	for up := range roles {
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
	p := newPolicy(layers, roles)
	out := make([]Explanation, len(ask))
	for i, q := range ask {
		out[i] = p.explain(q.Action, q.Resource)
	}
	return out, nil
}
