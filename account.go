package latchkey

import (
	"context"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"time"
)

// Account administers what one owner has. [Manager.For] gives it to the host itself, with every right; [Account.As] to
// somebody whose every call is checked. A small value, safe for concurrent use.
//
// An actor needs these rights: create, read, update, delete, reveal or rotate on "latchkey/token/<id>" (to revoke is
// delete, the signing secret is reveal), create, read, update or delete on "latchkey/role/<id>", read on
// "latchkey/client", "latchkey/event" and "latchkey/usage", read or update on "latchkey/owner". A rule gives them only
// through a pattern that begins with "latchkey/". A secret key has them all. A record that the actor may not read is
// missing to it.
//
// Calls fail with a *[DeniedError] if the result could do more than the actor: the token or role itself, and every
// token and role that has a changed role. What cannot be compared, such as rows that are too large together, counts as
// more. A test token manages test tokens only, and roles that no live token has. A minted token issues, imports,
// rotates and reveals none, for that would outlive it. What a call was judged by must still hold when it is written.
//
// Calls also fail if the result would exceed the bounds of the actor's own token. What the actor issues or imports ends
// no later than that token, and keeps to its Addresses, Domains, Signed and MintFrom. What it updates becomes no wider
// than that, and gets no right, by a role either, unless it keeps to that. An actor whose token has Limits, or ends by
// idling, makes no other token, gives none a right and reveals no secret of one: several tokens could spend more
// together, and none would idle out with it. It changes no token with wider limits. It can mint, for what it mints is
// bound by it. The right [Exceed] on "latchkey/token/<id>" lifts these bounds, and no others. Give it by name to a desk
// that issues keys for customers, or have the program call [Account.Exceeding]. An Assumed caller has no token, so
// nothing of this kind bounds it.
type Account struct {
	m       *Manager
	owner   string
	actor   Access
	checked bool // false: the host itself
	exceeds bool // the host lifts the bounds of the actor's own token
}

// For is the account of an owner, acted on by the host itself: with every right. Any text of 1 to 256 bytes of valid
// UTF-8 without NUL is an owner; For panics on others, for it is the host's code that names owners.
func (m *Manager) For(owner string) Account {
	if err := checkText("owner", owner, 1, 256); err != nil {
		panic(err.Error())
	}
	return Account{m: m, owner: owner}
}

// As is the account acted on by who: each call is checked against who's own rights, read anew, and recorded under its
// name. [ErrInvalidToken] for the zero Access, and for one of another owner.
func (a Account) As(who Access) (Account, error) {
	if who.set == nil || who.m != a.m || who.who.owner != a.owner {
		return Account{}, fmt.Errorf("%w: an Access of another owner, or of another Manager", ErrUnknownToken)
	}
	a.actor, a.checked = who, true
	return a, nil
}

// Exceeding returns a, with the right [Exceed] for its actor on every token: the host's own code says that what the
// actor issues need not keep to the bounds of the actor's token. Its other rights stay as they are. It is for surfaces
// whose purpose is that, such as a session that makes lasting keys, and for secret keys, which no rule can give the
// right to.
func (a Account) Exceeding() Account {
	a.exceeds = true
	return a
}

// Owner is the owner's id.
func (a Account) Owner() string { return a.owner }

// Manager is the manager this account belongs to.
func (a Account) Manager() *Manager { return a.m }

// Verify is [Manager.Verify] that takes another owner's token for an unknown one.
func (a Account) Verify(ctx context.Context, p Presented) (Access, error) {
	return a.m.verify(ctx, &p, a.owner)
}

// Assume is the access of somebody the host has authenticated itself, in its own session system. Nothing is stored. The
// owner's record (off switch, boundary) is not asked here, for that would read the store: [Access.Again] asks it, and
// so does every call of an Account acted on As it.
//
// Permissions that [Permissions.Validate] refuses are an error, which is the one of Validate and wraps [ErrInvalid].
// The Access is then the zero one, which may do nothing: the invalid rule may have been a Deny.
func (a Account) Assume(who Client, may Permissions) (Access, error) {
	if err := may.Validate(); err != nil {
		return Access{}, err
	}
	l := layer{name: "client:" + who.ID, rules: slices.Clone(may)}
	return Access{m: a.m, set: &compiled{policy: newPolicy([]layer{l}, nil), layers: []layer{l}},
		who: &principal{owner: a.owner, root: who.ID, client: who}}, nil
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

// actor is one call by an actor, or by the host itself.
type call struct {
	Account
	access  Access
	found   Found // the actor's own record
	roles   []Ref // what the call was judged by, and the write requires
	tokens  []Ref
	holders []Holders
}

// begin reads who acts anew, so that a right taken away a moment ago is gone.
func (a Account) begin(ctx context.Context) (call, error) {
	if !a.checked {
		return call{Account: a}, nil
	}
	access, found, err := a.m.again(ctx, a.actor)
	return call{Account: a, access: access, found: found}, err
}

func (c *call) check(action Action, kind, id string) error {
	if !c.checked {
		return nil
	}
	// What a minted token does with its rights ends with it, so it makes no secret that would live on.
	if c.access.Kind() == KindAccess && kind == "token" && (action == Create || action == Rotate || action == Reveal) {
		return &DeniedError{Action: action, Resource: Path("latchkey", kind, id)}
	}
	on := Path("latchkey", kind)
	if id != "" {
		on = Path("latchkey", kind, id)
	}
	return c.access.Check(action, on)
}

// write adds the actor to the transaction: it must still be there, unchanged, with all that its rights come from and
// all that the call was judged by.
func (c *call) write(ctx context.Context, w Write, events ...Event) error {
	w.Owner = c.owner
	if c.checked {
		actor, from := "client:"+c.access.Client().ID, ""
		if id := c.access.TokenID(); id != "" {
			w.RequireTokens = append(w.RequireTokens, Ref{ID: id, Version: c.found.Token.Version})
			for i := range c.found.Ancestors {
				w.RequireTokens = append(w.RequireTokens, Ref{c.found.Ancestors[i].ID, c.found.Ancestors[i].Version})
			}
			actor = id
		}
		w.RequireOwner = &c.found.Owner.Version
		w.RequireTokens = appendRefs(w.RequireTokens, c.tokens)
		for id, r := range c.access.set.roleSet { // its token's, and those that it was narrowed to
			w.RequireRoles = appendRefs(w.RequireRoles, []Ref{{id, r.Version}})
		}
		w.RequireRoles = appendRefs(w.RequireRoles, c.roles)
		w.RequireHolders = c.holders
		if c.access.from.IsValid() {
			from = c.access.from.String()
		}
		for i := range events {
			events[i].Actor, events[i].From = actor, from
		}
	}
	w.Events = append(w.Events, events...)
	_, err := c.m.write(ctx, w)
	return err
}

func containsRef(refs []Ref, r Ref) bool {
	for _, x := range refs {
		if x == r {
			return true
		}
	}
	return false
}

// appendRefs adds the references that are not there yet.
func appendRefs(to, more []Ref) []Ref {
	for _, ref := range more {
		if !containsRef(to, ref) {
			to = append(to, ref)
		}
	}
	return to
}

// auditJSON is how a record stands in the audit trail: no record holds a secret. A record that was damaged in the store
// so that it cannot be written down must not keep anybody from revoking it.
func auditJSON(v any) json.RawMessage {
	text, err := json.Marshal(v)
	if err != nil {
		return []byte(`{"damaged":true}`)
	}
	return text
}

// retry runs a read-change-write until nobody came between. An ErrConflict that an edit returned is its own answer.
func retry(f func() error) error {
	for try := 0; ; try++ {
		err := f()
		var own *editError
		if errors.As(err, &own) {
			return own.err
		}
		if !errors.Is(err, ErrConflict) || try == 15 {
			return err
		}
	}
}

// editError is what a caller's edit returned.
type editError struct{ err error }

func (e *editError) Error() string { return e.err.Error() }

// pages walks a keyset listing.
func pages[T any](p Page, read func(Page) ([]T, error), key func(T) string, yield func(T, error) bool) {
	for {
		list, err := read(p)
		if err != nil {
			var zero T
			yield(zero, err)
			return
		}
		for _, v := range list {
			if !yield(v, nil) {
				return
			}
		}
		if len(list) < p.Size() {
			return
		}
		p.After = key(list[len(list)-1])
	}
}
