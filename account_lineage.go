package latchkey

import (
	"cmp"
	"context"
	"crypto/sha256"
	"errors"
	"maps"
	"slices"
	"time"
)

// Lineage is a token or a role together with all that decides about it besides its own record. It is made for people
// and pages: decide by [Access.Check] and its siblings.
type Lineage struct {
	Token Token // the zero Token for a role
	// Ancestors are the tokens it was minted from: its parent first, the root last. Of one that the caller may not read
	// only ID, Parent and Depth are there. Fewer than Token.Depth means that one is gone.
	Ancestors []Token
	// Roles are all that the token, or one of its ancestors, names or inherits, by id. Those that are gone are missing.
	Roles []Role
	// Boundary is that of the owner, as [Account.Explain] tells it. Nil: none.
	Boundary Permissions
	// Limits are those of the owner; zero if there are none, and for a caller that may not read the owner's record.
	Limits Limits
	// Ends is the first NotAfter of the token and its ancestors. Zero: none of them has one.
	Ends time.Time
	// Refused is why [Manager.Verify] refuses the token whatever a request brings along: an error that wraps
	// [ErrInvalidToken], such as [ErrParent], or a *[DamagedError] for a record that cannot be read. Nil: it does not.
	Refused error
	// Hidden reports whether an ancestor or a role is left out, in whole or in part, because the caller may not read it.
	Hidden bool
}

// Lineage reads a token, the tokens it was minted from, and every role that any of them names or inherits. The caller
// needs read on the token. [ErrNotFound] if there is no such token.
func (a Account) Lineage(ctx context.Context, id string) (Lineage, error) {
	c, err := a.begin(ctx)
	if err != nil {
		return Lineage{}, err
	}
	if c.check(Read, "token", id) != nil {
		return Lineage{}, ErrNotFound
	}
	if err := a.m.uses.flush(ctx); err != nil {
		a.m.warn("latchkey: cannot write last uses", err)
	}
	f, err := a.m.store.Load(ctx, a.owner, id)
	if err != nil && !isDamaged(err) {
		return Lineage{}, err
	}
	l := Lineage{Token: f.Token, Ends: f.Token.Validity.NotAfter, Refused: err}
	if err == nil {
		l.Refused = a.m.judgeRecords(&f, a.m.clock())
	}
	for _, t := range f.Ancestors {
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

// RoleLineage is [Account.Lineage] of a role: Roles holds it and all it inherits. The caller needs read on the role.
// [ErrNotFound] if there is no such role.
func (a Account) RoleLineage(ctx context.Context, id string) (Lineage, error) {
	c, err := a.begin(ctx)
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
	if !c.acts {
		if owner, err = a.m.store.Owner(ctx, a.owner); err != nil {
			return Lineage{}, err
		}
	}
	var l Lineage
	c.addRoles(&l, maps.Values(roles))
	c.addOwner(&l, owner)
	return l, nil
}

func (c *act) addRoles(l *Lineage, roles func(func(Role) bool)) {
	for r := range roles {
		if c.check(Read, "role", r.ID) != nil {
			l.Hidden = true
			continue
		}
		l.Roles = append(l.Roles, r)
	}
	slices.SortFunc(l.Roles, func(a, b Role) int { return cmp.Compare(a.ID, b.ID) })
}

func (c *act) addOwner(l *Lineage, o Owner) {
	l.Boundary = o.Boundary
	if c.check(Read, "owner", "") == nil {
		l.Limits = o.Limits
	}
}

// Refusals says of each token, as it was listed, why [Manager.Verify] refuses it whatever a request brings along: an
// error as in [Lineage.Refused], by id. Tokens that are not refused are missing. It reads the owner's record, and each
// token that others were minted from once.
func (a Account) Refusals(ctx context.Context, tokens ...Token) (map[string]error, error) {
	out := map[string]error{}
	if len(tokens) == 0 {
		return out, nil
	}
	c, err := a.begin(ctx)
	if err != nil {
		return nil, err
	}
	owner := c.found.Owner
	if !c.acts {
		if owner, err = a.m.store.Owner(ctx, a.owner); isDamaged(err) {
			for _, t := range tokens {
				out[t.ID] = err
			}
			return out, nil
		} else if err != nil {
			return nil, err
		}
	}
	spoilt := map[string]error{}    // parents that cannot be read
	parents := map[string][]Token{} // the chain that begins with a token; nil: it is gone
	now := a.m.clock()
	for _, t := range tokens {
		f := Found{Token: t, Owner: owner}
		if t.Parent != "" {
			chain, known := parents[t.Parent]
			if !known {
				switch up, err := a.m.store.Load(ctx, a.owner, t.Parent); {
				case err == nil:
					chain = append([]Token{up.Token}, up.Ancestors...)
				case isDamaged(err):
					spoilt[t.Parent] = err
				case !errors.Is(err, ErrNotFound):
					return nil, err
				}
				parents[t.Parent] = chain
			}
			f.Ancestors = chain
		}
		if err := spoilt[t.Parent]; err != nil {
			out[t.ID] = err
			continue
		}
		if err := a.m.judgeRecords(&f, now); err != nil {
			out[t.ID] = err
		}
	}
	return out, nil
}

// Find returns the token that a text belongs to: one of its secrets that has not been removed, or the text of a
// publishable token. It is no use of the token and is counted nowhere. [ErrNotFound] if there is none, if it is another
// owner's, and if the caller may not read it: these are alike. Where a Store cannot tell which token it is, for a
// record cannot be read that decides about it, it is a *[DamagedError] to a caller that may read that record.
func (a Account) Find(ctx context.Context, text string) (Token, error) {
	c, err := a.begin(ctx)
	if err != nil {
		return Token{}, err
	}
	if !a.m.plausible(text) {
		return Token{}, ErrNotFound
	}
	digests := [][32]byte{digestText(text)}
	if k := a.m.opts.Keyring; k != nil {
		digests = k.candidates(text)
	}
	f, err := a.m.store.ByDigest(ctx, digests...)
	if d, ok := errors.AsType[*DamagedError](err); ok && f.Token.ID == "" {
		id := d.ID
		if d.Kind == ChangedOwner {
			id = "" // it is named by no id
		}
		if d.Owner != a.owner || c.check(Read, d.Kind.noun(), id) != nil {
			return Token{}, ErrNotFound // the error names a record
		}
		return Token{}, err
	} else if err != nil && !ok { // also one that cannot be read can be found, and ended
		return Token{}, err
	}
	if f.Token.Owner != a.owner || c.check(Read, "token", f.Token.ID) != nil {
		return Token{}, ErrNotFound
	}
	return f.Token, nil
}

// Once records a key of the host's own until the given time, so that what was sent twice is done once, on whichever
// node: [ErrExists] if the owner has it recorded already. Keys are any text; they are kept as a digest. It needs no
// right, so ask for those of what is to be done first.
func (a Account) Once(ctx context.Context, key string, until time.Time) error {
	if _, err := a.begin(ctx); err != nil {
		return err
	}
	return a.m.store.Once(ctx, a.owner, sha256.Sum256([]byte("latchkey once\x00"+key)), until)
}
