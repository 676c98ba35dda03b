package latchkey

import (
	"context"
	"encoding/json"
	"fmt"
	"math"
	"net/netip"
	"slices"
	"time"

	"github.com/latchkey-go/latchkey/internal/uuidv7"
)

// Access says what a caller may do, as of its Verify. It is an immutable snapshot and a small value. Keep it for one
// request, not for a connection: [Access.Again] verifies anew. The zero Access allows nothing, so that a forgotten
// error check fails closed. An Access is safe for concurrent use.
type Access struct {
	set  *compiled
	who  *principal
	m    *Manager
	id   [16]byte // zero: Assumed
	from netip.Addr
	ends int64 // µs: of the record that it was made from; 0 and math.MaxInt64: none
}

// Allows reports whether the action is allowed on every row of the resource. It does not allocate, unless
// the chain of tokens has over 256 roles, or several of its layers force values.
func (a Access) Allows(action Action, on Resource) bool {
	return a.verdict(action, on) == verdictAll
}

// verdict returns how much of a resource is allowed. Only where grants themselves are needed does the policy need to
// know more of the caller than its client.
func (a *Access) verdict(action Action, on Resource) verdict {
	if a.set == nil || a.set.policy == nil {
		return verdictNone
	}
	if p := a.set.policy; !p.forcesRefs {
		q := question{action: action, on: string(on), client: a.who.client.ID, apart: a.who.apart()}
		return p.verdictOf(&q)
	}
	q := a.question(action, on)
	return a.set.policy.verdictOf(&q)
}

// Check returns nil if the action is allowed on every row of the resource, and otherwise a *[DeniedError]. Its Rows
// field is true if some rows are allowed; [Access.Filter] says which. If the rules are invalid, and therefore allow
// nothing, the error is a *[FaultError] that wraps the *DeniedError.
func (a Access) Check(action Action, on Resource) error {
	switch a.verdict(action, on) {
	case verdictAll:
		return nil
	case verdictSome:
		return &DeniedError{Action: action, Resource: on, Rows: !a.rows(action, on).IsNoRows()}
	}
	return a.denied(action, on)
}

// Filter returns the condition that a row must meet. It is [AllRows] exactly if Check returns nil. If no row can meet
// it, Filter returns a *[DeniedError] and the zero Condition, which admits no row.
func (a Access) Filter(action Action, on Resource) (Condition, error) {
	c := a.rows(action, on)
	if c.IsNoRows() {
		return Condition{}, a.denied(action, on)
	}
	return c, nil
}

// CheckRow returns nil if the action is allowed on this row, and otherwise a *[DeniedError]. It returns a
// *[ConditionError] if the schema lacks a field that the rules name; its OfRule says whose mistake that is. It returns
// [ErrInvalid] for a nil Schema.
func (a Access) CheckRow(action Action, on Resource, s *Schema, r Row) error {
	if s == nil {
		return fmt.Errorf("%w: no schema", ErrInvalid)
	}
	c, err := a.Filter(action, on)
	if err != nil {
		return err
	}
	p, err := s.Bind(c)
	if err != nil {
		return err
	}
	if !p.Match(r) {
		return &DeniedError{Action: action, Resource: on, Rows: true}
	}
	return nil
}

// Prepare returns the row that may be written. It forces values into a new row, and checks the row before and the row
// after against the caller's conditions. A nil before means a create. A nil after means a delete, which returns a nil
// Row. Both are whole rows. Their values are typed as by [Schema.Bind]: the text of a form becomes a number.
//
// With an error nothing may be written. The errors are:
//
//   - [ErrInvalid] for [Create], [Update] and [Delete] with rows that do not fit; an action of the host's own fits any
//   - *[DeniedError]
//   - *[ConditionError] for an unknown field or an unfit value; OfRule is true for those of the rules, and false for
//     those of the rows
//   - [ErrForced] if grants would force different rows, or a reference that the caller has no value for
func (a Access) Prepare(action Action, on Resource, s *Schema, before, after Row) (Row, error) {
	if err := checkRows(action, before != nil, after != nil); err != nil {
		return nil, err
	}
	if a.set == nil {
		return nil, &DeniedError{Action: action, Resource: on}
	}
	q := a.question(action, on)
	grants := slices.Clone(a.set.policy.grantsOf(&q))
	for i := range grants {
		grants[i].rows = grants[i].rows.resolve(a.lookup)
	}
	grants = slices.DeleteFunc(grants, func(g grant) bool { return g.rows.IsNoRows() })
	if len(grants) == 0 && action == Create && a.set.policy != nil && a.set.policy.forcesRefs && on.valid() {
		if field, ref := a.set.policy.unknownForced(q); field != "" {
			return nil, fmt.Errorf("%w: a rule forces field %q to %v, which the caller has no value for", ErrForced, field, ref)
		}
	}
	row, err := prepare(grants, action, on, s, before, after, a.policy().layers...)
	return row, a.withFault(err)
}

// Explain returns the answer with its reasons: which rules decided, in which layer.
func (a Access) Explain(action Action, on Resource) Explanation {
	if a.set == nil {
		return newPolicy([]layer{{name: "the zero Access"}}, nil).explainOf(&question{action: action, on: string(on)})
	}
	q := a.question(action, on)
	e := a.policy().explainOf(&q)
	a.m.opts.Catalogue.name(&e)
	return e
}

// Covers reports whether a may do all that p allows, on all rows that p allows it on. It is sound and conservative, as
// [Permissions.Within] is: true is certain for as long as no right of a changes, and false may only mean that it was
// not found out. References in conditions stand for a's own values in both. One that a has no value for lies within
// every row only. [ClientSegment] in a pattern of p may be any client's. An invalid p is covered by nothing, and the
// zero Access covers nothing. The time is bounded at about a second. Covers returns false once ctx is done.
func (a Access) Covers(ctx context.Context, p Permissions) bool {
	if a.set == nil || p.Validate() != nil {
		return false
	}
	known := func(ref any) (any, bool) {
		if v, ok := a.lookup(ref); ok {
			return v, true
		}
		return ref, true // its value may come to be known for what a mints
	}
	return newPolicy([]layer{{rules: p}}, nil).withinFor(ctx, a.policy(), false, known, a.lookup)
}

// Narrow is Mint without a token: it returns an Access that may do what a may do, narrowed by n. It stores nothing, and
// ignores Lifetime, Idle, Name, Origin and Extra. Of the Restrictions it takes only Addresses, because the request was
// verified already. For others it returns [ErrInvalid], and for Limits: a stays within its own. It reads the store,
// with ctx, only for a role that the caller's kind may name without having it. Stateless is ignored, too. An Assumed
// caller and a publishable token can narrow. Other errors are [ErrInvalid], [ErrForced] and [ErrUnavailable].
func (a Access) Narrow(ctx context.Context, n Narrowing) (Access, error) {
	if a.set == nil {
		return Access{}, ErrInvalidToken
	}
	if n.Restrictions.Signed || len(n.Restrictions.Domains) != 0 || len(n.Restrictions.MintFrom) != 0 {
		return Access{}, fmt.Errorf("%w: Narrow takes no Restrictions but Addresses", ErrInvalid)
	}
	if !n.Limits.IsZero() {
		return Access{}, fmt.Errorf("%w: Narrow takes no Limits: only a token has credits of its own; Mint one", ErrInvalid)
	}
	nl, err := a.resolveNarrowing(ctx, &n)
	if err != nil {
		return Access{}, err
	}
	here, err := compileRestrictions(n.Restrictions)
	if err != nil {
		return Access{}, err
	}
	if err := here.verifyAddress(a.from); err != nil {
		return Access{}, err
	}
	if nl.layer.ends != nil {
		if _, err := clampRoleEnds(nl.layer.ends, nil, &Found{}, a.m.expiryNow()); err != nil {
			return Access{}, err
		}
	}
	b := a.withNarrowLayers(append([]layer{nl.layer}, a.set.narrowLayers...), *nl.layer.selfRoles, nl.roleSet,
		a.who.as(nl.client, nl.attributes))
	b.set.confined = a.set.confined
	if from := n.Restrictions.Addresses; len(from) != 0 {
		b.set.confined = append(slices.Clone(a.set.confined), Restrictions{Addresses: slices.Clone(from)})
	}
	return b, nil
}

// Token reads the record of the token. That of a stateless token is made of its text and its parent. It returns
// [ErrNotFound] if the token no longer exists, and for an Assumed caller and the zero Access, which have none.
func (a Access) Token(ctx context.Context) (Token, error) {
	if a.set == nil || a.who.kind == 0 {
		return Token{}, ErrNotFound
	}
	if uuidv7.IsUnstored(a.id) {
		_, f, _, err := a.m.currentStateless(ctx, a)
		return f.Token, err
	}
	f, err := a.m.store.Load(ctx, a.who.owner, a.TokenID())
	return f.Token, err
}

// Manager returns the Manager that verified or assumed the caller, nil for the zero Access.
func (a Access) Manager() *Manager { return a.m }

// Owner returns the owner's id, "" for the zero Access.
func (a Access) Owner() string {
	if a.set == nil {
		return ""
	}
	return a.who.owner
}

// TokenID returns the id of the token, "" for the zero Access and for an Assumed caller.
func (a Access) TokenID() string {
	if a.id == ([16]byte{}) {
		return ""
	}
	return uuidv7.Text(a.id)
}

// Kind returns the kind of the token, 0 for the zero Access and for an Assumed caller.
func (a Access) Kind() Kind {
	if a.set == nil {
		return 0
	}
	return a.who.kind
}

// Test reports whether the token is a test token.
func (a Access) Test() bool { return a.set != nil && a.who.test }

// Name returns the name of the token, "" if it has none. It asks no store, like the methods below.
func (a Access) Name() string {
	if a.set == nil {
		return ""
	}
	return a.who.more().name
}

// Extra returns a copy of the token's Extra, nil if it has none.
func (a Access) Extra() json.RawMessage {
	if a.set == nil || a.who.more().extra == "" {
		return nil
	}
	return json.RawMessage(a.who.more().extra)
}

// Ends returns the first NotAfter of the token and of those that it was minted from. An idle limit may end it earlier,
// and so may the end of a rotated secret. Zero: none of them ends, or the caller was Assumed.
func (a Access) Ends() time.Time {
	if a.set == nil {
		return time.Time{}
	}
	ends := a.ends
	if of := a.who.more(); of.ends != 0 {
		ends = of.ends
	}
	if ends == 0 || ends == math.MaxInt64 {
		return time.Time{}
	}
	return fromMicros(ends)
}

// Attribute returns an attribute of the caller, and false if it has none of that name. The value is a string, a bool,
// an int64, a json.Number (what fits no int64), or a []string, which is a copy.
func (a Access) Attribute(name string) (value any, ok bool) {
	if a.set == nil {
		return nil, false
	}
	value, ok = a.attribute(name)
	return cloneAttribute(value), ok
}

// attribute is Attribute without the copy.
func (a Access) attribute(name string) (any, bool) {
	set := a.who.attributes()
	if set == nil {
		return nil, false
	}
	value, ok := set.values[name]
	return value, ok
}

// Client returns the client that the token belongs to, or that was Assumed. It is the zero Client if there is none.
func (a Access) Client() Client {
	if a.set == nil {
		return Client{}
	}
	return a.who.client
}

// Roles returns the ids of the token's roles: its own, or its parent's if its mint named none. Those that have ended
// are not among them, nor are those of Options.Roles that this process lacks. The slice is a copy.
func (a Access) Roles() []string {
	if a.set == nil {
		return nil
	}
	return slices.Clone(a.set.roles)
}

// RoleNames returns the names of Roles, in the same order. A role that no longer exists has none, and is left out.
func (a Access) RoleNames() []string {
	if a.set == nil {
		return nil
	}
	var names []string
	for _, id := range a.set.roles {
		if r, ok := a.set.roleSet[id]; ok {
			names = append(names, r.Name)
		}
	}
	return names
}

// Address returns the caller's network address, the zero Addr if it is not known.
func (a Access) Address() netip.Addr { return a.from }

// String returns a text with the token's id, never its secret, and with what is invalid about its rules.
func (a Access) String() string {
	switch {
	case a.set == nil:
		return "no access"
	case a.who.kind == 0:
		return fmt.Sprintf("access of client %q of %q", a.who.client.ID, a.who.owner) + a.faultText()
	}
	return fmt.Sprintf("access of token %s of %q", a.TokenID(), a.who.owner) + a.faultText()
}

// layers returns the layers that the rights are made of: own first, the owner's boundary last, without those that
// Access.Narrow added.
func (a *Access) layers() []layer {
	own := a.who.apart()
	if len(a.set.shared) == 0 || !a.set.shared[0].apart || own == nil {
		return a.set.shared
	}
	return append([]layer{own.in(a.set.shared[0])}, a.set.shared[1:]...)
}

// policy returns the rights as one policy that needs no more of the caller than its values. It may be nil.
func (a *Access) policy() *policy { return a.set.policy.with(a.who.apart()) }

// question returns a question of this caller, which must not be the zero Access. Only rules that force a reference need
// to know more of the caller than its client.
func (a Access) question(action Action, on Resource) question {
	q := question{action: action, on: string(on), client: a.who.client.ID, apart: a.who.apart()}
	if p := a.set.policy; p != nil && p.forcesRefs {
		q.caller = a.lookup
	}
	return q
}

// lookup returns the value of a reference in a condition, and false if it has none.
func (a Access) lookup(v any) (any, bool) {
	if attr, ok := v.(AttrRef); ok {
		return a.attribute(attr.name)
	}
	switch v {
	case Self:
		if a.who.root == "" {
			return a.TokenID(), a.id != [16]byte{}
		}
		return a.who.root, true
	case SelfRoles:
		return &selfRoles{a.set.roles, a.set.lost}, true
	case ClientID:
		return a.who.client.ID, a.who.client.ID != ""
	case OwnerID:
		return a.who.owner, a.who.owner != ""
	}
	return nil, false
}

// withNarrowLayers returns a with these layers in place of those that Narrow added before, with these roles, and as
// who.
func (a Access) withNarrowLayers(layers []layer, roles selfRoles, roleSet map[string]Role, who *principal) Access {
	anyRole := a.set.anyRole && !slices.ContainsFunc(layers, func(l layer) bool { return !l.full })
	set := &compiled{restrict: a.set.restrict, limits: a.set.limits, shared: a.layers(), narrowLayers: layers,
		roleSet: roleSet, roles: roles.held, lost: roles.lost, anyRole: anyRole, assumed: a.set.assumed}
	if a.who.kind == 0 && set.assumed == nil {
		set.assumed = a.who
	}
	set.policy = a.m.newPolicy(append(slices.Clone(layers), set.shared...), roleSet)
	a.set, a.who = set, who
	return a
}

// denied returns the error for an action that is allowed on no row.
func (a Access) denied(action Action, on Resource) error {
	return a.withFault(&DeniedError{Action: action, Resource: on})
}

// fault returns what is invalid about the rules, so that they allow nothing, or nil.
func (a Access) fault() error {
	if a.set == nil {
		return nil
	}
	return a.set.policy.fault()
}

// withFault returns err, wrapped in a *FaultError if it is a *DeniedError and the rules are invalid.
func (a Access) withFault(err error) error {
	if denied, ok := err.(*DeniedError); ok {
		if fault := a.fault(); fault != nil {
			return &FaultError{Denied: denied, Fault: fault}
		}
	}
	return err
}

func (a Access) faultText() string {
	if err := a.fault(); err != nil {
		return ", which allows nothing: " + err.Error()
	}
	return ""
}
