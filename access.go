package latchkey

import (
	"context"
	"fmt"
	"net/netip"
	"slices"

	"github.com/latchkey-go/latchkey/internal/uuidv7"
)

// Access is what a caller may do, as of its Verify: an immutable photograph, a few words long, asked many times within
// one request. Hold it for a request, not for a connection; [Access.Again] looks anew. The zero Access may do nothing,
// so a forgotten error check fails closed. Safe for concurrent use.
type Access struct {
	set  *compiled
	who  *principal
	m    *Manager
	id   [16]byte // zero: Assumed
	from netip.Addr
}

// Allows says whether the action is allowed on every row of the resource. It does not allocate.
func (a Access) Allows(action Action, on Resource) bool {
	return a.set != nil && a.set.policy.verdict(action, on) == verdictAll
}

// Check is nil if the action is allowed on every row of the resource, else a *[DeniedError]; its Rows field says that
// some rows are allowed, and [Access.Filter] which. A *[FaultError] around it says that the rules are invalid, and
// therefore allow nothing.
func (a Access) Check(action Action, on Resource) error {
	if a.set == nil {
		return &DeniedError{Action: action, Resource: on}
	}
	switch a.set.policy.verdict(action, on) {
	case verdictAll:
		return nil
	case verdictSome:
		return &DeniedError{Action: action, Resource: on, Rows: !a.rows(action, on).IsNoRows()}
	}
	return a.denied(action, on)
}

// refused is the refusal of everything that action could mean there.
func (a Access) denied(action Action, on Resource) error {
	return a.withFault(&DeniedError{Action: action, Resource: on})
}

// fault says what is invalid about the rules, so that they allow nothing; nil if nothing is.
func (a Access) fault() error {
	if a.set == nil {
		return nil
	}
	return a.set.policy.fault()
}

// faulty adds to a refusal what is invalid about the rules.
func (a Access) withFault(err error) error {
	if denied, ok := err.(*DeniedError); ok {
		if fault := a.fault(); fault != nil {
			return &FaultError{Denied: denied, Fault: fault}
		}
	}
	return err
}

// Filter returns the condition a row must meet: [AllRows] exactly when Check is nil. When no row can meet it, the error
// is a *[DeniedError] and the condition the zero one, which admits no row either.
func (a Access) Filter(action Action, on Resource) (Condition, error) {
	c := a.rows(action, on)
	if c.IsNoRows() {
		return Condition{}, a.denied(action, on)
	}
	return c, nil
}

// rows is the answer for rows, with references filled in.
func (a Access) rows(action Action, on Resource) Condition {
	if a.set == nil {
		return Condition{}
	}
	return a.set.policy.rows(action, on).resolve(a.lookup)
}

// CheckRow is nil if the action is allowed on this row. The error is a *[DeniedError], or a *[ConditionError] if the
// schema does not know a field the rules speak of; its OfRule then says whose mistake that is. A nil Schema is
// [ErrInvalid].
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

// Prepare says which row may be written: it forces values into a new row, and checks the row against the caller's
// conditions before and after. A nil before is a create, a nil after a delete (which returns a nil Row); [Create],
// [Update] and [Delete] with other rows are [ErrInvalid], while an action of the host's own goes with any. Before and
// after are whole rows, their values typed as [Schema.Bind] types them (the text of a form becomes a number). The other
// errors are *[DeniedError], *[ConditionError] for an unknown field or an unfit value (OfRule tells those of the rules
// from those of the rows), and [ErrForced] if grants would force different rows. With an error nothing may be written.
func (a Access) Prepare(action Action, on Resource, s *Schema, before, after Row) (Row, error) {
	if err := checkRows(action, before != nil, after != nil); err != nil {
		return nil, err
	}
	if a.set == nil {
		return nil, &DeniedError{Action: action, Resource: on}
	}
	grants := slices.Clone(a.set.policy.grants(action, on))
	for i := range grants {
		grants[i].rows = grants[i].rows.resolve(a.lookup)
	}
	grants = slices.DeleteFunc(grants, func(g grant) bool { return g.rows.IsNoRows() })
	row, err := prepare(grants, action, on, s, before, after, a.set.policy.layers...)
	return row, a.withFault(err)
}

// lookup gives the values that conditions refer to.
func (a Access) lookup(v RefVar) (any, bool) {
	switch v {
	case Self:
		if a.who.root == "" {
			return a.TokenID(), a.id != [16]byte{}
		}
		return a.who.root, true
	case SelfRoles:
		return a.set.roles, len(a.set.roles) > 0
	case ClientID:
		return a.who.client.ID, a.who.client.ID != ""
	case OwnerID:
		return a.who.owner, a.who.owner != ""
	}
	return nil, false
}

// Explain says why the answer is what it is: which rules spoke, in which layer.
func (a Access) Explain(action Action, on Resource) Explanation {
	if a.set == nil {
		return newPolicy([]layer{{name: "the zero Access"}}, nil).explain(action, on)
	}
	return a.set.policy.explain(action, on)
}

// Token reads the record of the token. [ErrNotFound] if it is gone, or if there is none because the caller was Assumed.
func (a Access) Token(ctx context.Context) (Token, error) {
	if a.set == nil || a.who.kind == 0 {
		return Token{}, ErrNotFound
	}
	f, err := a.m.store.Load(ctx, a.who.owner, a.TokenID())
	return f.Token, err
}

// Manager is the manager that verified or assumed the caller, nil for the zero Access.
func (a Access) Manager() *Manager { return a.m }

// Owner is the owner's id, "" for the zero Access.
func (a Access) Owner() string {
	if a.set == nil {
		return ""
	}
	return a.who.owner
}

// TokenID is the id of the token, "" for the zero Access and for an Assumed caller.
func (a Access) TokenID() string {
	if a.id == ([16]byte{}) {
		return ""
	}
	return uuidv7.Text(a.id)
}

// Kind is the kind of the token, 0 for the zero Access and for an Assumed caller.
func (a Access) Kind() Kind {
	if a.set == nil {
		return 0
	}
	return a.who.kind
}

// Test says whether the token is a test token.
func (a Access) Test() bool { return a.set != nil && a.who.test }

// Client is the one the token was minted for, or who was Assumed.
func (a Access) Client() Client {
	if a.set == nil {
		return Client{}
	}
	return a.who.client
}

// Roles are the ids of the roles the token has: its own, or its parent's if its mint named none. A copy.
func (a Access) Roles() []string {
	if a.set == nil {
		return nil
	}
	return slices.Clone(a.set.roles)
}

// Address is the network address the caller was seen at, the zero Addr if it is not known.
func (a Access) Address() netip.Addr { return a.from }

// String names the token, never its secret, and what is invalid about its rules.
func (a Access) String() string {
	switch {
	case a.set == nil:
		return "no access"
	case a.who.kind == 0:
		return fmt.Sprintf("access of client %q of %q", a.who.client.ID, a.who.owner) + a.faultText()
	}
	return fmt.Sprintf("access of token %s of %q", a.TokenID(), a.who.owner) + a.faultText()
}

func (a Access) faultText() string {
	if err := a.fault(); err != nil {
		return ", which allows nothing: " + err.Error()
	}
	return ""
}

// Narrow is Mint without a token: an Access that may do what a may do, less n. Nothing is stored, and Lifetime, Idle,
// Name, Origin and Extra mean nothing here. Of the Restrictions only Addresses can be asked of a request that has passed
// already; others are [ErrInvalid], and so are Limits: a stays within those it has. It reads the store only to find a role that the caller's kind may name without
// having it; that is what ctx is for. Errors are those of [Access.Mint].
func (a Access) Narrow(ctx context.Context, n Narrowing) (Access, error) {
	if a.set == nil {
		return Access{}, ErrInvalidToken
	}
	if n.Restrictions.Signed || len(n.Restrictions.Domains) != 0 || len(n.Restrictions.MintFrom) != 0 {
		return Access{}, fmt.Errorf("%w: Narrow takes no restrictions but Addresses", ErrInvalid)
	}
	if n.Limits != (Limits{}) {
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
	b := a.withNarrowLayers(append([]layer{nl.layer}, a.set.narrowLayers...), nl.roles, nl.roleSet, nl.client)
	b.set.confined = a.set.confined
	if from := n.Restrictions.Addresses; len(from) != 0 {
		b.set.confined = append(slices.Clone(a.set.confined), Restrictions{Addresses: slices.Clone(from)})
	}
	return b, nil
}

// with puts layers on top of what a may do without them.
func (a Access) withNarrowLayers(narrowed []layer, roles []string, roleSet map[string]Role, client Client) Access {
	anyRole := a.set.anyRole && !slices.ContainsFunc(narrowed, func(l layer) bool { return !l.full })
	set := &compiled{restrict: a.set.restrict, limits: a.set.limits, layers: a.set.layers, narrowLayers: narrowed,
		roleSet: roleSet, roles: roles, anyRole: anyRole}
	set.policy = newPolicy(append(slices.Clone(narrowed), a.set.layers...), roleSet)
	who := *a.who
	who.client = client
	a.set, a.who = set, &who
	return a
}
