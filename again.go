package latchkey

import (
	"context"
	"errors"
	"slices"
)

// Again verifies once more what an Access was given for, without the secret: for a connection that lives longer than a
// request, and before something that must not happen on an old answer. What a request brought along (signature,
// referer) is not asked again; the address is. It counts against no rate. Errors are those of [Manager.Verify], for the
// zero Access too.
func (m *Manager) Again(ctx context.Context, a Access) (Access, error) {
	fresh, _, err := m.again(ctx, a)
	return fresh, err
}

func (m *Manager) again(ctx context.Context, a Access) (Access, Found, error) {
	if a.m != m || a.set == nil {
		return Access{}, Found{}, ErrUnknownToken
	}
	if a.who.kind == 0 {
		return m.assumedAgain(ctx, a)
	}
	f, err := m.loader.load(ctx, a.who.owner, a.id)
	if errors.Is(err, ErrNotFound) {
		m.refused(ctx, a.refusal(ErrUnknownToken, deletedSince))
		return Access{}, Found{}, ErrUnknownToken
	} else if err != nil {
		return Access{}, Found{}, unavailable(err)
	}
	at, err := m.witnessed(ctx)
	if err != nil {
		return Access{}, Found{}, err
	}
	if err := m.judgeRecords(&f, at); err != nil {
		return Access{}, Found{}, a.refuse(ctx, err)
	}
	l, err := m.compile(f)
	if err != nil {
		return Access{}, Found{}, err
	}
	if err := l.set.restrict.checkAddress(a.from); err != nil {
		return Access{}, Found{}, a.refuse(ctx, err)
	}
	b := Access{set: l.set, who: &l.who, m: m, id: a.id, from: a.from}
	if len(a.set.narrowed) != 0 {
		narrowed, held := stillHeld(a.set.narrowed, l.set)
		roles, err := m.rolesOf(ctx, a.who.owner, l.set, narrowed)
		if err != nil {
			return Access{}, Found{}, err
		}
		b = b.with(narrowed, held, roles, a.who.client)
		b.set.confined = a.set.confined
	}
	return b, f, nil
}

// rolesOf are the roles that layers name, as they are now. A role the token has lost gives nothing.
func (m *Manager) rolesOf(ctx context.Context, owner string, set *compiled, layers []layer) (map[string]Role, error) {
	known := set.roleSet
	for _, l := range layers {
		for _, id := range l.roles {
			if _, ok := known[id]; ok || !set.anyRole {
				continue
			}
			more, err := m.roleClosure(ctx, owner, known, id)
			if errors.Is(err, ErrNotFound) {
				continue
			} else if err != nil {
				return nil, unavailable(err)
			}
			known = more
		}
	}
	return known, nil
}

// assumedAgain looks at all that is stored about an assumed caller: the account.
func (m *Manager) assumedAgain(ctx context.Context, a Access) (Access, Found, error) {
	o, err := m.store.Owner(ctx, a.who.owner)
	if err != nil {
		return Access{}, Found{}, unavailable(err)
	}
	if o.Disabled {
		return Access{}, Found{}, a.refuse(ctx, ErrOwnerDisabled)
	}
	if o.Boundary == nil {
		return a, Found{Owner: o}, nil
	}
	layers := slices.DeleteFunc(slices.Clone(a.set.layers), func(l layer) bool { return l.name == boundaryLayer })
	layers = append(layers, layer{name: boundaryLayer, rules: o.Boundary})
	a.set = &compiled{layers: layers, narrowed: a.set.narrowed, confined: a.set.confined, roleSet: a.set.roleSet,
		roles:  a.set.roles,
		policy: newPolicy(append(slices.Clone(a.set.narrowed), layers...), a.set.roleSet)}
	return a, Found{Owner: o}, nil
}
