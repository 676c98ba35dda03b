package latchkey

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"slices"
	"strings"

	"github.com/latchkey-go/latchkey/internal/fault"
	"github.com/latchkey-go/latchkey/internal/uuidv7"
)

// Holder is a token that may do something.
type Holder struct {
	Token Token
	// Rows are those that it may do it to, with references filled in. [AllRows]: all of them.
	Rows Condition
	// Hidden reports that the caller may not read a role, or a token it was minted from, that the token's rights come
	// from. Rows is the zero Condition then: rows would show their rules.
	Hidden bool
}

// WhoQuery asks [Account.WhoOf] which tokens may do something.
type WhoQuery struct {
	Page     // After is the ID of the last token that was seen
	Action   Action
	Resource Resource
	// Minted includes tokens that were minted. Each may do no more than the token it was minted from, and there may be
	// very many, so they are left out otherwise.
	Minted bool
	// Seen is called with each token that the caller may read, before it is found out whether it may do the action. The
	// loop ends if it returns false. So a page of an API can bound its work, and begin the next one behind the last token
	// that was seen. Nil: the loop ends with the tokens.
	Seen func(Token) bool
}

// Who iterates the tokens that may do an action on a resource, or on some of its rows, oldest first. It is
// [Account.WhoOf] for issued and imported tokens, from the first on.
//
//	for h, err := range acme.Who(ctx, latchkey.Delete, "dataset/payroll") { … }
func (a Account) Who(ctx context.Context, action Action, on Resource) iter.Seq2[Holder, error] {
	return a.WhoOf(ctx, WhoQuery{Action: action, Resource: on})
}

// WhoOf iterates the tokens that may do q.Action on q.Resource, or on some of its rows, by id. It reads page by page as
// the loop goes on: Limit is the size of a page, not of the listing. Each role, and each token that others were minted
// from, is read about once.
//
// Only tokens that [Manager.Verify] would accept now are in it: neither they nor those they were minted from are
// revoked, disabled, ended or not yet valid, and the owner is not disabled. What a request brings along does not count:
// an address, a signature, a rate. Nor do roles of Options.Roles that this process lacks. An answer is as of the
// reading, and is no snapshot of all tokens at one moment.
//
// Of a damaged token, and of one that depends on a damaged record, it yields what is left with a [*DamagedError], and
// goes on. Whether it may do the action is not known. The loop ends after any other error, such as [ErrInvalid] for an
// action or a resource that cannot be decided about. An actor sees only tokens that it may read.
//
// [Account.Explain] with Holder.Token.ID says why a token may do it.
func (a Account) WhoOf(ctx context.Context, q WhoQuery) iter.Seq2[Holder, error] {
	return func(yield func(Holder, error) bool) {
		if !q.Action.concrete() {
			yield(Holder{}, fmt.Errorf("%w: action %.80q: name one action", ErrInvalid, string(q.Action)))
			return
		}
		if err := q.Resource.Validate(); err != nil {
			yield(Holder{}, err)
			return
		}
		w, err := a.newWho(ctx, &q)
		if err != nil {
			yield(Holder{}, err)
			return
		}
		if w.owner.Disabled {
			return
		}
		list := TokenQuery{Now: fromMicros(a.m.expiryNow())}
		if !q.Minted {
			list.Kinds = []Kind{KindSecret, KindPublishable, KindAPIKey, KindSession}
		}
		pages(q.Page, func(p Page) ([]Token, error) {
			list.Page, w.at = p, a.m.readClock()
			return a.m.store.Tokens(ctx, a.owner, list)
		}, list.Key, func(t Token, err error) bool {
			if err != nil {
				return yield(Holder{}, err)
			}
			if w.call.check(Read, "token", t.ID) != nil {
				return true
			}
			if q.Seen != nil && !q.Seen(t) {
				return false
			}
			h, may, err := w.holder(ctx, t)
			if err != nil && !isDamaged(err) {
				yield(Holder{}, err)
				return false
			}
			if !may && err == nil {
				return true
			}
			return yield(h, err)
		})
	}
}

// who is one iteration of WhoOf. It keeps what it has read and compiled, within bounds.
type who struct {
	call   call
	owner  Owner
	feed   uint32 // of the follower
	found  Found  // with what all tokens of the owner have in common
	query  *WhoQuery
	at     moment
	chains map[string]whoChain // by the id of a parent
	roles  map[string]*Role    // by id; nil: there is none
	closed map[string]whoRoles // by the ids that a chain names
	rights map[rightsKey]whoRight
}

type whoChain struct {
	tokens []Token // the parent first; nil: it is gone
	err    error   // a DamagedError
}

type whoRoles struct {
	roles  []Role // the stored ones
	hidden bool   // the actor may not read one of them
}

// whoRight is the answer of compiled rights, with references not filled in.
type whoRight struct {
	set  *compiled
	rows Condition
	// each: a pattern or a forced value refers to the caller, or the token has rows of its own, so that rows is not the
	// answer for every token.
	each bool
}

// maxWhoKept bounds each of the maps of a who.
const maxWhoKept = 4096

// keep adds to a map, which begins anew when it is full.
func keep[K comparable, V any](m map[K]V, key K, v V) V {
	if len(m) >= maxWhoKept {
		clear(m)
	}
	m[key] = v
	return v
}

func (a Account) newWho(ctx context.Context, q *WhoQuery) (*who, error) {
	c, err := a.beginReading(ctx)
	if err != nil {
		return nil, err
	}
	if err := a.m.uses.FlushOwner(ctx, a.owner); err != nil {
		a.m.warn(ctx, partLastUse, "latchkey: cannot write last uses", err)
	}
	owner := c.found.Owner
	if !c.checked {
		if owner, err = a.m.store.Owner(ctx, a.owner); err != nil {
			return nil, err
		}
	}
	f, err := a.m.feedOf(a.owner)
	if err != nil {
		return nil, err
	}
	return &who{call: c, owner: owner, feed: f.cached.Number(),
		found: Found{Owner: owner, Feed: a.m.store.Locate(a.owner).Feed}, query: q, chains: map[string]whoChain{},
		roles: map[string]*Role{}, closed: map[string]whoRoles{}, rights: map[rightsKey]whoRight{}}, nil
}

// holder returns a token as a Holder, and whether it may do what is asked. With a DamagedError that is not known.
func (w *who) holder(ctx context.Context, t Token) (h Holder, may bool, err error) {
	h.Token = t
	if t.Damaged {
		return h, false, damagedToken(&t)
	}
	f := w.found
	f.Token = t
	chain, err := w.chain(ctx, t.Parent)
	if err != nil {
		return h, false, err
	}
	if chain.err != nil {
		return h, false, w.readable(chain.err, &t)
	}
	f.Ancestors = chain.tokens
	roles, err := w.rolesOf(ctx, &f)
	if err != nil {
		return h, false, err
	}
	f.Roles = roles.roles
	switch err := w.call.m.verifyRecords(&f, w.at); {
	case isDamaged(err):
		return h, false, w.readable(err, &t)
	case err != nil:
		return h, false, nil
	}
	f = withLiveRoles(f, w.call.m.expiryTime(w.at))
	if roles, err = w.rolesOf(ctx, &f); err != nil { // those that have ended hide nothing
		return h, false, err
	}
	right, err := w.right(&f)
	if err != nil {
		return h, false, err
	}
	h.Rows = right.rows
	if right.each || right.rows.hasRefs() {
		who, _ := w.call.m.principalOf(&f, lineageOf(&f, w.feed), 0)
		access := Access{set: right.set, who: &who, m: w.call.m, id: uuidv7.Parse(t.ID)}
		if right.each {
			h.Rows = access.rows(w.query.Action, w.query.Resource)
		} else {
			h.Rows = right.rows.resolve(access.lookup)
		}
	}
	if h.Rows.IsNoRows() {
		return h, false, nil
	}
	if roles.hidden || w.hides(f.Ancestors) {
		h.Rows, h.Hidden = Condition{}, true
	}
	return h, true, nil
}

// chain returns a token's ancestors, by the id of its parent.
func (w *who) chain(ctx context.Context, parent string) (whoChain, error) {
	if parent == "" {
		return whoChain{}, nil
	}
	if known, ok := w.chains[parent]; ok {
		return known, nil
	}
	var c whoChain
	switch up, err := w.call.m.store.Load(ctx, w.call.owner, parent); {
	case err == nil:
		c.tokens = append([]Token{up.Token}, up.Ancestors...)
	case isDamaged(err):
		c.err = err
	case !errors.Is(err, ErrNotFound):
		return c, err
	}
	return keep(w.chains, parent, c), nil
}

// rolesOf returns the roles that a token and its ancestors name, with all that those inherit.
func (w *who) rolesOf(ctx context.Context, f *Found) (whoRoles, error) {
	named := f.Token.Roles
	for i := range f.Ancestors {
		named = slices.Concat(named, f.Ancestors[i].Roles)
	}
	if len(named) == 0 {
		return whoRoles{}, nil
	}
	key := strings.Join(named, "\n")
	if known, ok := w.closed[key]; ok {
		return known, nil
	}
	var out whoRoles
	seen := map[string]bool{}
	for queue := slices.Clone(named); len(queue) > 0; queue = queue[1:] {
		id := queue[0]
		if seen[id] {
			continue
		}
		seen[id] = true
		r, err := w.role(ctx, id)
		if err != nil {
			return out, err
		}
		if r == nil {
			continue // it gives nothing
		}
		if !r.Coded() {
			out.roles = append(out.roles, *r)
		}
		out.hidden = out.hidden || w.call.check(Read, "role", id) != nil
		queue = append(queue, r.Inherits...)
	}
	return keep(w.closed, key, out), nil
}

// role returns a role, or nil if there is none. A damaged one has Damaged set.
func (w *who) role(ctx context.Context, id string) (*Role, error) {
	if r, ok := w.roles[id]; ok {
		return r, nil
	}
	switch r, err := w.call.m.role(ctx, w.call.owner, id); {
	case isDamaged(err):
		return keep(w.roles, id, &Role{ID: id, Owner: w.call.owner, Version: r.Version, Damaged: true}), nil
	case errors.Is(err, ErrNotFound):
		return keep(w.roles, id, nil), nil
	case err != nil:
		return nil, fault.Unavailable(err)
	default:
		return keep(w.roles, id, &r), nil
	}
}

// right returns the answer of a token's rights, which it shares with all that have the same.
func (w *who) right(f *Found) (whoRight, error) {
	key := keyOfRights(f)
	if known, ok := w.rights[key]; ok {
		return known, nil
	}
	set, _ := w.call.m.cache.Shared(&key)
	if set == nil {
		var err error
		if set, _, err = w.call.m.compileRights(withHeldRoles(w.call.m.withCodeRoles(*f))); err != nil {
			return whoRight{}, err
		}
	}
	r := whoRight{set: set}
	if r.each = r.set.policy.apart || r.set.policy.forcesRefs || r.set.policy.refersToClient(); !r.each {
		r.rows = r.set.policy.rowsFor(&question{action: w.query.Action, on: string(w.query.Resource)})
	}
	return keep(w.rights, key, r), nil
}

// hides reports whether the actor may not read one of some tokens.
func (w *who) hides(tokens []Token) bool {
	return slices.ContainsFunc(tokens, func(t Token) bool { return w.call.check(Read, "token", t.ID) != nil })
}

// readable returns a DamagedError, or that of the token if the actor may not know of the record that it names.
func (w *who) readable(err error, t *Token) error {
	if d, ok := errors.AsType[*DamagedError](err); ok && w.call.check(Read, d.Kind.noun(), d.recordID()) == nil {
		return err
	}
	return damagedToken(t)
}

// recordID returns the id of the record in "latchkey/<kind>/<id>": "" for the owner's.
func (e *DamagedError) recordID() string {
	if e.Kind == ChangedOwner {
		return ""
	}
	return e.ID
}
