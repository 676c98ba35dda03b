package latchkey

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"slices"
	"strings"

	"github.com/latchkey-go/latchkey/internal/fault"
)

// Revision is a set of changes to the roles and the boundary of an owner that are not made yet: see [Account.Effects].
type Revision struct {
	// Roles are roles as they would be. The ID names the stored role that would become it. A role with an ID that no
	// stored role has would be new: any text will do that others name it by. Inherits holds ids. Owner and Version do not
	// count.
	Roles []Role
	// Deleted are ids of roles that would be deleted.
	Deleted []string
	// Boundary is what Owner.Boundary would become, where SetBoundary is set. Nil: none.
	Boundary    Permissions
	SetBoundary bool
}

// Effect is what a [Revision] would mean for a token.
type Effect struct {
	Token Token
	// Gains reports whether the token could do something that it may not do now, and Loses whether it may do something now
	// that it could not do then. Both are true as well where the two cannot be compared: the work is bounded.
	Gains, Loses bool
}

// Effects iterates the tokens whose rights a revision would change, by id. It changes nothing. It is for a plan that is
// shown before it is carried out.
//
// The tokens are the issued and imported ones that are neither revoked nor over. Disabled ones and those that are not
// valid yet are among them. Minted tokens are not: they may do no more than what they were minted from. Roles that a
// token holds until a moment count until then. Of a damaged token, and of one that depends on a damaged record, it
// yields what is left with a [*DamagedError], and goes on. The loop ends after any other error, such as [ErrInvalid]
// for a revision with a malformed role, or with two for one ID.
//
// Only the host itself may ask: an actor gets a *[DeniedError].
func (a Account) Effects(ctx context.Context, rev Revision) iter.Seq2[Effect, error] {
	return func(yield func(Effect, error) bool) {
		if a.checked {
			yield(Effect{}, &DeniedError{Action: Read, Resource: Path("latchkey", "owner")})
			return
		}
		e, err := a.newEffects(ctx, &rev)
		if err != nil {
			yield(Effect{}, err)
			return
		}
		now := fromMicros(a.m.expiryNow())
		q := TokenQuery{Now: now, Kinds: []Kind{KindSecret, KindPublishable, KindAPIKey, KindSession},
			States: []State{Active, Disabled, NotYetValid}}
		pages(Page{Limit: 1000}, func(p Page) ([]Token, error) {
			q.Page = p
			return a.m.store.Tokens(ctx, a.owner, q)
		}, q.Key, func(t Token, err error) bool {
			if err != nil {
				return yield(Effect{}, err)
			}
			if e.owner.ended(&t) || t.over(now) { // a disabled one may be over
				return true
			}
			out, err := e.of(ctx, t)
			if err != nil && !isDamaged(err) {
				yield(Effect{}, err)
				return false
			}
			return err == nil && !out.Gains && !out.Loses || yield(out, err)
		})
	}
}

// effects is one iteration of Effects. It keeps what it has read and compared, within bounds.
type effects struct {
	a             Account
	owner, later  Owner // as it is, and as it would be
	before, after rolesView
	touched       map[string]bool // ids of roles that the revision changes
	known         map[rightsKey]Effect
}

// rolesView is the roles of an owner, as they are or as they would be.
type rolesView struct {
	a       Account
	instead map[string]*Role // by id; nil: there would be none
	read    map[string]*Role // the same, of the store
}

func (a Account) newEffects(ctx context.Context, rev *Revision) (*effects, error) {
	owner, err := a.m.store.Owner(ctx, a.owner)
	if err != nil {
		return nil, err
	}
	e := &effects{a: a, owner: owner, later: owner, touched: map[string]bool{}, known: map[rightsKey]Effect{}}
	instead := map[string]*Role{}
	for _, r := range rev.Roles {
		r = r.Clone()
		if err := r.Validate(); err != nil {
			return nil, fmt.Errorf("role %q: %w", r.Name, err)
		}
		if r.ID == "" || isCodeID(r.ID) || e.touched[r.ID] {
			return nil, fmt.Errorf("%w: role %q of a revision needs an ID of its own", ErrInvalid, r.Name)
		}
		instead[r.ID], e.touched[r.ID] = &r, true
	}
	for _, id := range rev.Deleted {
		if e.touched[id] {
			return nil, fmt.Errorf("%w: a revision names role %q twice", ErrInvalid, id)
		}
		instead[id], e.touched[id] = nil, true
	}
	if rev.SetBoundary {
		if err := rev.Boundary.Validate(); err != nil {
			return nil, fmt.Errorf("boundary: %w", err)
		}
		e.later.Boundary = slices.Clone(rev.Boundary)
	}
	read := map[string]*Role{}
	e.before = rolesView{a: a, read: read}
	e.after = rolesView{a: a, read: read, instead: instead}
	return e, nil
}

// of compares what a token may do with what it could do.
func (e *effects) of(ctx context.Context, t Token) (Effect, error) {
	out := Effect{Token: t}
	if t.Damaged {
		return out, damagedToken(&t)
	}
	f := withLiveRoles(Found{Token: t, Owner: e.owner}, e.a.m.expiryNow())
	before, touched, err := e.before.closure(ctx, f.Token.Roles, e.touched)
	if err != nil {
		return out, err
	}
	// What does not lead to a touched role now would not lead to one later: only touched ones would inherit others.
	if !touched && samePermissions(e.owner.Boundary, e.later.Boundary) {
		return out, nil
	}
	after, _, err := e.after.closure(ctx, f.Token.Roles, nil)
	if err != nil {
		return out, err
	}
	key := keyOfRights(&f)
	known, ok := e.known[key]
	if !ok {
		then := f
		then.Owner = e.later
		is, would := e.a.m.policyOf(&f, before), e.a.m.policyOf(&then, after)
		known = keep(e.known, key, Effect{Gains: !would.withinSame(ctx, is), Loses: !is.withinSame(ctx, would)})
		if err := ctx.Err(); err != nil {
			return out, fault.Unavailable(err)
		}
	}
	out.Gains, out.Loses = known.Gains, known.Loses
	return out, nil
}

// policyOf returns what decides about a token with these roles, the owner's boundary included.
func (m *Manager) policyOf(f *Found, roles map[string]Role) *policy {
	layers, _, _ := chainLayers(f, roles)
	return m.newPolicy(layers, roles)
}

// closure returns the roles with these ids and all that they inherit. It reports whether one of touched is named by any
// of them. Roles that there are not are missing.
func (v *rolesView) closure(ctx context.Context, ids []string, touched map[string]bool) (map[string]Role, bool, error) {
	out, seen, hit := map[string]Role{}, map[string]bool{}, false
	for queue := slices.Clone(ids); len(queue) > 0; queue = queue[1:] {
		id := queue[0]
		if seen[id] {
			continue
		}
		seen[id] = true
		hit = hit || touched[id]
		r, err := v.role(ctx, id)
		if err != nil {
			return nil, false, err
		}
		if r != nil {
			out[id] = *r
			queue = append(queue, r.Inherits...)
		}
	}
	return out, hit, nil
}

// role returns a role, or nil if there is none.
func (v *rolesView) role(ctx context.Context, id string) (*Role, error) {
	if r, ok := v.instead[id]; ok {
		return r, nil
	}
	if r, ok := v.read[id]; ok {
		return r, nil
	}
	switch r, err := v.a.m.role(ctx, v.a.owner, id); {
	case errors.Is(err, ErrNotFound):
		return keep(v.read, strings.Clone(id), (*Role)(nil)), nil
	case err != nil:
		return nil, err
	default:
		return keep(v.read, strings.Clone(id), &r), nil
	}
}
