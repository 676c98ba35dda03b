package latchkey

import (
	"cmp"
	"context"
	"crypto/sha256"
	"fmt"
	"net/netip"
	"slices"
	"time"

	"github.com/latchkey-go/latchkey/internal/uuidv7"
)

// Account administers the records of one owner. [Manager.For] returns it for the host itself, with every right.
// [Account.As] returns it for an actor: every call of the actor is checked. It is a small value, safe for concurrent
// use.
//
// An actor needs these rights:
//
//   - create, read, update, delete, reveal or rotate on "latchkey/token/<id>". To revoke needs delete, to disable
//     update, and to end a secret rotate. The signing secret needs reveal.
//   - create, read, update or delete on "latchkey/role/<id>"
//   - read on "latchkey/client", "latchkey/event" and "latchkey/usage"
//   - read or update on "latchkey/owner"
//
// A rule gives them only through a pattern that begins with "latchkey/". A secret key has them all. A record that the
// actor may not read is reported as not found.
//
// Calls fail with a *[DeniedError] if the result could do more than the actor. The result is the token or role itself,
// and every token and role that has a changed role. What cannot be compared, such as rows that are too large together,
// counts as more. A test token manages only test tokens, and roles that no live token has. A minted token cannot issue,
// import, rotate or reveal a token, because the secret would outlive it. The records that a call was judged by must be
// unchanged when it is written.
//
// An actor issues and imports tokens for the client that it has itself, or for none, and with attributes that it has
// itself, of equal value. The right [Give] on "latchkey/client/<id>" lets it name that client, and on
// "latchkey/attribute/<name>" give any value of that attribute and name it in ChildAttributes. Only a rule that names
// Give allows it, or a secret key. What the token may do must still lie within what the actor may do. Rules that refer
// to the client or to attributes are compared with the values of both.
//
// A secret key has every right but [Exceed], and so it has Give without a rule. An actor makes, imports, changes or
// enables one, and gets a secret of one, only if it has all of that itself: it is a secret key, or has a rule such as
// Allow(Any, Give).On("*", "latchkey/*"). The same holds for a damaged record, whose rights are not known, and with
// Exceed for a token with a role of Options.Roles that this process lacks. To revoke, to delete and to switch off pass
// no right on: for these the rights that only a rule names do not count.
//
// Calls also fail if the result would exceed the bounds of the actor's own token:
//
//   - What the actor issues or imports ends no later than that token, and keeps to its Addresses, Domains, Signed and
//     MintFrom.
//   - What the actor updates becomes no wider than that. It gains no right, by a role either, unless it keeps to those
//     bounds.
//   - An actor whose token has Limits, or an idle limit, makes no other token, gives none a right and reveals no secret
//     of one. Several tokens could spend more together, and none would idle out with it. It also changes no token that
//     has wider limits.
//   - Such an actor can mint, because its own bounds hold for what it mints.
//
// An actor that has a role until a moment ([Settings.RoleEnds]) gives nobody its rights for longer, neither by that
// role nor by others or by rules. What it issues, enables, rotates, reveals or gives rights to may do no more, at each
// moment at which the actor loses a role, than the actor may then. No right lifts that.
//
// A call whose record changes before it is written reads it again. It returns [ErrConflict] if that goes on for ten
// seconds and 16 tries.
//
// The right [Exceed] on "latchkey/token/<id>" lifts these bounds, and no others. Give it by name to a service that
// issues keys for customers, or have the program call [Account.Exceeding]. An Assumed caller has no token, so none of
// these bounds apply to it.
type Account struct {
	m       *Manager
	owner   string
	actor   Access
	checked bool   // false: the host itself
	exceeds bool   // the host lifts the bounds of the actor's own token
	by, why string // of the host itself, for the audit trail: see By
	reading *call  // the actor as Reading has read it; nil: each call reads it

	versions []uint64 // of IfVersion; nil: any
	request  *Request // of ForRequest; nil: none
}

// For returns the Account of an owner for the host itself, with every right. An owner is any text of 1 to 256 bytes of
// valid UTF-8 without NUL. For panics on any other text, because the host's own code names owners.
func (m *Manager) For(owner string) Account {
	if err := checkText("owner", owner, 1, 256); err != nil {
		panic(err.Error())
	}
	return Account{m: m, owner: owner}
}

// Tenant is [Manager.For] for an owner that comes from a request, such as its host name. It returns [ErrInvalid] for a
// text that is no owner's id. It does not check whether the owner has a record: one without a record is an owner, too.
func (m *Manager) Tenant(owner string) (Account, error) {
	if err := checkText("owner", owner, 1, 256); err != nil {
		return Account{}, err
	}
	return m.For(owner), nil
}

// As returns the Account with actor as its actor. Each call reads the actor's rights again, is checked against them,
// and is recorded under its name. It returns [ErrInvalidToken] for the zero Access, and for one of another owner or
// another Manager, and [ErrDenied] for a stateless token.
func (a Account) As(actor Access) (Account, error) {
	if actor.set == nil || actor.m != a.m || actor.who.owner != a.owner {
		return Account{}, fmt.Errorf("%w: an Access of another owner, or of another Manager", ErrUnknownToken)
	}
	if uuidv7.IsUnstored(actor.id) {
		// What a call is judged by is required at its write, and there is no record of this token that could be.
		return Account{}, fmt.Errorf("%w: a stateless token administers nothing", ErrDenied)
	}
	a.actor, a.checked, a.reading = actor, true, nil
	return a, nil
}

// Exceeding returns a with the right [Exceed] on every token for its actor. By this call the host's own code says that
// what the actor issues may exceed the bounds of the actor's token. The actor's other rights stay as they are. It is
// meant for code with that purpose, such as a session that makes lasting keys. It is also the way for secret keys,
// which no rule can give the right.
func (a Account) Exceeding() Account {
	a.exceeds, a.reading = true, nil
	return a
}

// By returns the Account of the host itself with who acts for it, and why, for the audit trail. Events then have the
// Actor "host:<who>", and the Reason why where the call has none of its own. It is for programs with which people
// administer the store. The rights stay those of the host, and nothing checks the name. An Account with an actor has
// that actor in its events, and only takes the reason.
//
// It returns [ErrInvalid] unless who has 1 to 128 bytes of valid UTF-8 without NUL, and why at most 256.
func (a Account) By(who, why string) (Account, error) {
	if err := checkText("name", who, 1, 128); err != nil {
		return Account{}, err
	}
	if err := checkText("reason", why, 0, maxReason); err != nil {
		return Account{}, err
	}
	a.by, a.why = who, why
	return a, nil
}

// Reading returns a for several readings that belong together, such as those of one page. It reads the actor's records
// once, and the methods that list, find, count, explain and show decide by that. Those that change something or show a
// secret read them again all the same. Keep it no longer than for the page: a right that is taken away meanwhile still
// holds for its readings.
func (a Account) Reading(ctx context.Context) (Account, error) {
	c, err := a.begin(ctx)
	if err != nil {
		return Account{}, err
	}
	a.reading = &c
	return a, nil
}

// Owner returns the owner's id.
func (a Account) Owner() string { return a.owner }

// Manager returns the Manager that the account belongs to.
func (a Account) Manager() *Manager { return a.m }

// Verify is [Manager.Verify] for one owner: a token of another owner is [ErrUnknownToken].
func (a Account) Verify(ctx context.Context, p Presented) (Access, error) {
	return a.m.verify(ctx, &p, a.owner)
}

// Assume returns the Access of a client that the host has authenticated itself, in its own session system. Nothing is
// stored. Assume does not read the owner's record, with its off switch and boundary. [Access.Again] reads it, and so
// does every call of an Account acted on As it.
//
// It returns the error of [Permissions.Validate], which wraps [ErrInvalid], for invalid permissions. The Access is then
// the zero Access, which may do nothing, because the invalid rule may have been a Deny.
func (a Account) Assume(client Client, rules Permissions) (Access, error) {
	return a.AssumeWith(Caller{Client: client, Rules: rules})
}

// Caller is one that the host has authenticated itself: see [Account.AssumeWith].
type Caller struct {
	Client     Client
	Attributes Attributes // what [Attr] refers to; nil: none
	Rules      Permissions
	Address    netip.Addr // where it calls from, for the audit trail and [Access.Address]; the zero Addr: not known
}

// AssumeWith is [Account.Assume] for a caller with attributes. It returns [ErrInvalid] for attributes that no token can
// have.
func (a Account) AssumeWith(c Caller) (Access, error) {
	client, rules := c.Client, c.Rules
	if err := rules.Validate(); err != nil {
		return Access{}, err
	}
	attributes, err := c.Attributes.canonical()
	if err != nil {
		return Access{}, err
	}
	f, err := a.m.feedOf(a.owner)
	if err != nil {
		return Access{}, err
	}
	l := layer{name: "client:" + client.ID, rules: slices.Clone(rules)}
	who := &principal{lineage: &lineage{owner: a.owner, root: client.ID, feed: f.cached.Number()}}
	return Access{m: a.m, set: &compiled{policy: newPolicy([]layer{l}, nil), shared: []layer{l}},
		who: who.as(client, newAttributeSet(attributes, nil)), from: c.Address}, nil
}

// Once records a key of the host until the given time, so that a request sent twice is carried out once, on whichever
// node. It returns [ErrExists] if the owner has the key recorded already. A key is any text, and is stored as a digest.
// Once needs no right: check the rights of the request first.
func (a Account) Once(ctx context.Context, key string, until time.Time) error {
	if _, err := a.begin(ctx); err != nil {
		return err
	}
	return a.m.store.Once(ctx, a.owner, sha256.Sum256([]byte("latchkey once\x00"+key)), until)
}

// call is one call on an Account, by an actor or by the host itself.
type call struct {
	Account
	access  Access
	found   Found // the actor's own record
	roles   []Ref // what the call was judged by, and the write requires
	tokens  []Ref
	holders []Holders
}

// begin reads the actor's records again, so that a right that was just taken away no longer holds.
func (a Account) begin(ctx context.Context) (call, error) {
	c := call{Account: a}
	if a.checked {
		var err error
		if c.access, c.found, err = a.m.reverify(ctx, a.actor); err != nil {
			return c, err
		}
	}
	if a.request != nil {
		return c, a.m.repeated(ctx, a.owner, c.actorName(), a.request)
	}
	return c, nil
}

// actorName returns the actor as audit events name it: see [Event.Actor].
func (c *call) actorName() string {
	if !c.checked {
		return ""
	}
	if id := c.access.TokenID(); id != "" {
		return id
	}
	return "client:" + c.access.Client().ID
}

// beginReading is begin for a method that changes nothing and shows no secret.
func (a Account) beginReading(ctx context.Context) (call, error) {
	if a.reading != nil {
		return *a.reading, nil
	}
	return a.begin(ctx)
}

// check returns a *[DeniedError] unless the actor may do action on "latchkey/<kind>/<id>", or on "latchkey/<kind>" if
// id is empty.
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

// readsEvery reports whether the actor may read every record of a kind, whatever its id. False may only mean that it
// was not found out.
func (c *call) readsEvery(ctx context.Context, kind string) bool {
	return !c.checked || c.access.Covers(ctx, Permissions{Allow(Read).On(Pattern("latchkey/" + kind + "/*"))})
}

// write adds to the transaction what it requires: the actor and all that its rights come from, and all that the call
// was judged by, must be unchanged.
func (c *call) write(ctx context.Context, w Write, events ...Event) error {
	w.Owner = c.owner
	if c.checked {
		actor, from := c.actorName(), ""
		if c.access.TokenID() == "" && slices.Contains(w.ForgetClients, c.access.Client().ID) {
			actor = "client:"
		}
		if id := c.access.TokenID(); id != "" {
			w.RequireTokens = append(w.RequireTokens, Ref{ID: id, Version: c.found.Token.Version})
			for i := range c.found.Ancestors {
				w.RequireTokens = append(w.RequireTokens, Ref{c.found.Ancestors[i].ID, c.found.Ancestors[i].Version})
			}
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
	for i := range events {
		if !c.checked && c.by != "" {
			events[i].Actor = "host:" + c.by
		}
		events[i].Reason = cmp.Or(events[i].Reason, c.why)
	}
	w.RequireRoles = storedRoles(w.RequireRoles)
	w.Events = append(w.Events, events...)
	if c.request != nil {
		c.request.record(&w, c.actorName(), &events[0])
	}
	return c.m.written(ctx, c.owner, c.actorName(), c.request, c.m.write(ctx, w))
}

// appendRefs adds those of more that are not in to yet.
func appendRefs(to, more []Ref) []Ref {
	for _, ref := range more {
		if !slices.Contains(to, ref) {
			to = append(to, ref)
		}
	}
	return to
}

// pages yields the items of a keyset listing, page by page. It ends after an error.
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

// listing returns one page of the items of a keyset listing that keep lets through. It reads one more than the page
// holds, which tells whether another page follows.
func listing[T any](
	p Page, read func(Page) ([]T, error), key func(T) string, keep func(T) bool,
) (Listing[T], error) {
	l, size := Listing[T]{Items: []T{}}, p.Size()
	for passed := false; ; {
		p.Limit = min(size-len(l.Items)+1, 1000)
		if passed { // not one by one past many that the caller may not see
			p.Limit = max(p.Limit, 100)
		}
		list, err := read(p)
		if err != nil {
			return Listing[T]{}, err
		}
		for _, v := range list {
			switch {
			case !keep(v):
				passed = true
			case len(l.Items) == size:
				l.Next = key(l.Items[size-1])
				return l, nil
			default:
				l.Items = append(l.Items, v)
			}
		}
		if len(list) < p.Limit {
			return l, nil
		}
		p.After = key(list[len(list)-1])
	}
}
