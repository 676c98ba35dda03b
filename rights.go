package latchkey

import (
	"fmt"
	"math"
	"slices"
)

// loaded is what a reading of the store says about a token, worked out once.
type loaded struct {
	found Found
	set   *compiled
	who   principal
	key   [32]byte
	ends  int64 // µs: the first end in the chain and of the secret
	used  int64 // µs: the last use that the store knows, or will in a moment
}

// compile makes, or finds again, the compiled set of a token.
func (m *Manager) compile(f Found) (*loaded, error) {
	t := &f.Token
	l := &loaded{found: f, ends: math.MaxInt64, key: setKey(&f)}
	for _, v := range append([]Token{*t}, f.Ancestors...) {
		if end := v.Validity.NotAfter; !end.IsZero() {
			l.ends = min(l.ends, micros(end))
		}
	}
	if end := f.Secret.NotAfter; !end.IsZero() {
		l.ends = min(l.ends, micros(end))
	}
	root := "" // itself: so that tokens of one owner share a principal
	if n := len(f.Ancestors); n > 0 {
		root = f.Ancestors[n-1].ID
	}
	l.who = principal{owner: t.Owner, root: root, kind: t.Kind, test: t.Test, client: t.Client}
	if l.set = m.cache.shared(l.key); l.set != nil {
		return l, nil
	}

	f = withHeldRoles(f)
	t = &f.Token
	set := &compiled{idle: t.Validity.Idle.Microseconds(), roleSet: map[string]Role{}, roles: effectiveRoles(&f), anyRole: anyRole(&f)}
	for _, r := range f.Roles {
		set.roleSet[r.ID] = r
	}
	limits := []Restrictions{t.Restrictions}
	own := layerOf(t)
	own.name = "token" // the set is shared by others
	own.selfRoles = &set.roles
	ceiling := own.selfRoles
	set.layers = append(set.layers, own)
	for i := range f.Ancestors {
		a := &f.Ancestors[i]
		l, roles := layerOf(a), effectiveRoles(&Found{Token: *a, Ancestors: f.Ancestors[i+1:]})
		l.selfRoles, ceiling = &roles, &roles
		set.layers = append(set.layers, l)
		limits = append(limits, a.Restrictions)
		set.deps = append(set.deps, dependency{ChangedToken, a.ID})
		if a.Validity.Idle != 0 {
			set.idlers = append(set.idlers, idleLink{a.ID, a.Validity.Idle.Microseconds()})
		}
	}
	if f.Owner.Boundary != nil {
		set.layers = append(set.layers, layer{name: boundaryLayer, rules: f.Owner.Boundary, selfRoles: ceiling})
	}
	var err error
	if set.restrict, err = meetRestrictions(limits); err != nil {
		// A stored restriction that cannot be read must not become none. Fail closed.
		return nil, fmt.Errorf("%w: stored restrictions: %w", ErrUnavailable, err)
	}
	if set.limits, err = meetLimits(&f); err != nil {
		return nil, fmt.Errorf("%w: stored limits: %w", ErrUnavailable, err) // the same
	}
	set.policy = newPolicy(set.layers, set.roleSet)
	set.deps = append(set.deps, dependency{ChangedOwner, t.Owner})
	for _, layer := range set.layers {
		for _, id := range layer.roles {
			set.deps = append(set.deps, dependency{ChangedRole, id}) // also one that is missing
		}
	}
	for id, r := range set.roleSet {
		set.deps = append(set.deps, dependency{ChangedRole, id})
		for _, up := range r.Inherits {
			set.deps = append(set.deps, dependency{ChangedRole, up})
		}
	}
	slices.SortFunc(set.deps, compareDependencies)
	set.deps = slices.Compact(set.deps)
	l.set = set
	return l, nil
}

func compareDependencies(a, b dependency) int {
	if a.kind != b.kind {
		return int(a.kind) - int(b.kind)
	}
	switch {
	case a.id < b.id:
		return -1
	case a.id > b.id:
		return 1
	}
	return 0
}

// layerOf is what a token contributes to the meet of its chain.
func layerOf(t *Token) layer {
	if t.Kind == KindSecret {
		return layer{name: t.ID, full: true, root: true}
	}
	return layer{name: t.ID, full: t.Full, roles: t.Roles, rules: t.Permissions, rows: t.Rows, forced: t.Forced}
}

// withHeldRoles is f without the roles that a minted token names but its parent has lost: taking a role from a key takes
// it from what the key minted, also where another role of the key would let the same rows through. f keeps its own.
func withHeldRoles(f Found) Found {
	f.Ancestors = slices.Clone(f.Ancestors)
	for i := len(f.Ancestors) - 1; i >= 0; i-- { // from the root down: what it names, it has
		t := &f.Token
		if i > 0 {
			t = &f.Ancestors[i-1]
		}
		above := Found{Token: f.Ancestors[i], Ancestors: f.Ancestors[i+1:]}
		if anyRole(&above) {
			continue
		}
		have := effectiveRoles(&above)
		t.Roles = slices.DeleteFunc(slices.Clone(t.Roles), func(id string) bool { return !slices.Contains(have, id) })
	}
	return f
}

// effectiveRoles are a token's roles: a mint that named none has those of its parent.
func effectiveRoles(f *Found) []string {
	if !f.Token.Full {
		return f.Token.Roles
	}
	for i := range f.Ancestors {
		if !f.Ancestors[i].Full {
			return f.Ancestors[i].Roles
		}
	}
	return nil
}

// anyRole says whether a mint from this token may name any role of the owner. The meet keeps it within the parent.
func anyRole(f *Found) bool {
	for i := -1; i < len(f.Ancestors); i++ {
		t := &f.Token
		if i >= 0 {
			t = &f.Ancestors[i]
		}
		if t.Kind == KindSecret || t.Kind == KindSession {
			return true
		}
		if !t.Full {
			return false
		}
	}
	return false
}
