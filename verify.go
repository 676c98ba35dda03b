package latchkey

import (
	"context"
	"errors"
	"net/netip"
	"slices"

	"github.com/latchkey-go/latchkey/internal/fault"
	"github.com/latchkey-go/latchkey/internal/tokentext"
	"github.com/latchkey-go/latchkey/internal/uuidv7"
)

// Presented is what a request brought along.
type Presented struct {
	Secret    string     // the text; "": what the signature names
	Referer   string     // the Referer header as it came, "" if there was none
	Origin    string     // the Origin header as it came, "" if there was none
	Address   netip.Addr // the client's address; the zero Addr is not known, and passes no address restriction
	Signature *Signature // nil: the request was not signed
	Test      bool       // the surface is a sandbox: only test tokens pass it; false: none does
}

// Verify says who presents p and what the caller may do. It checks in this order: shape, lookup, test or live, owner,
// disabled, revoked, time, ancestors, signature, referer and origin, address, rate. Options.Observer is told of
// each refusal of a token that exists. A refusal wraps [ErrInvalidToken], but for [ErrRateLimited], which comes as
// a *[RateLimitError]; [ErrUnavailable] means that nothing is known, never that the token is bad. The zero Access
// that comes with an error may do nothing.
func (m *Manager) Verify(ctx context.Context, p Presented) (Access, error) {
	return m.verify(ctx, &p, "")
}

// verify is Verify for tokens of one owner, or of any if owner is "".
func (m *Manager) verify(ctx context.Context, p *Presented, owner string) (Access, error) {
	text := p.Secret
	if p.Signature != nil {
		if text == "" {
			text = p.Signature.Key
		} else if p.Signature.Key != "" && p.Signature.Key != text {
			other := *p // a signature that no key made: refused where the order of refusals wants it, and reported
			other.Signature = &Signature{}
			p = &other
		}
	}
	if !m.mayBeToken(text) {
		return Access{}, ErrUnknownToken
	}
	sum := tokentext.Digest(text)
	if hit, ok := m.cache.Lookup(&sum); ok {
		at, err := m.follow.ensureFresh(ctx)
		if err != nil {
			return Access{}, err
		}
		if r, set, who, ok := m.cache.Live(hit, &sum); ok {
			a, err := m.verifyCached(ctx, p, owner, r, set, who, at)
			if err == nil {
				return a, nil
			}
			if err != errCacheStale {
				return Access{}, m.reportCachedRefusal(ctx, p, owner, r, set, who, err)
			}
		}
	}
	return m.verifyStored(ctx, p, owner, text, sum)
}

// refuseCached reports to the observer what Verify refuses about a token that the cache knows, and returns the error.
func (m *Manager) reportCachedRefusal(ctx context.Context, p *Presented, owner string, r *record, set *compiled,
	who *principal, err error) error {
	a := Access{set: set, who: who, m: m, id: r.ID, from: p.Address}
	if owner != "" && who.owner != owner {
		m.report(ctx, a.refusal(err, reasonForeignOwner))
		return err
	}
	return a.reportRefusal(ctx, err)
}

// Reasons that the error alone does not say.
const (
	reasonForeignOwner = "foreign_owner"
	reasonRotated  = "rotated"
	reasonDeleted = "deleted"
)

// errStale means that the cache cannot tell: an end has come, which the store may have moved.
var errCacheStale = errors.New("latchkey: stale")

// plausible reports whether a text may be a token at all. Other texts are refused without asking the store.
func (m *Manager) mayBeToken(text string) bool {
	if len(text) == 0 || len(text) > maxPresented {
		return false
	}
	switch _, shape := tokentext.Read(text); shape {
	case tokentext.Native:
		return true
	case tokentext.Foreign:
		return m.opts.Imported != nil && m.opts.Imported(text)
	}
	return false
}

// verifyCached judges what the cache knows. All of it held when it was loaded, and no change came since, so only the
// passing of time and this request are left to check.
func (m *Manager) verifyCached(ctx context.Context, p *Presented, owner string, r *record, set *compiled,
	who *principal, at moment) (Access, error) {
	if owner != "" && who.owner != owner {
		return Access{}, ErrUnknownToken
	}
	if who.test != p.Test {
		return Access{}, ErrTestMode
	}
	now := m.expiryTime(at)
	if now >= r.Ends || set.idle != 0 && m.uses.IdledOut(uuidv7.Text(r.ID), set.idle, now) {
		return Access{}, errCacheStale
	}
	for _, link := range set.idlers {
		if m.uses.IdledOut(link.id, link.idle, now) {
			return Access{}, errCacheStale
		}
	}
	a := Access{set: set, who: who, m: m, id: r.ID, from: p.Address}
	if err := m.verifyRequest(ctx, p, a, now); err != nil {
		return Access{}, err
	}
	if set.limits != nil {
		if err := m.verifyRate(a, at); err != nil {
			return Access{}, err
		}
	}
	m.touch(r, set, who.owner, now)
	return a, nil
}

// judgeRequest checks what depends on the request and not on the records, all but the rate.
func (m *Manager) verifyRequest(ctx context.Context, p *Presented, a Access, now int64) error {
	if err := m.verifySignature(ctx, p.Signature, a, now); err != nil {
		return err
	}
	if err := a.set.restrict.verifyWeb(p.Referer, p.Origin); err != nil {
		return err
	}
	return a.set.restrict.verifyAddress(p.Address)
}

func (m *Manager) verifyStored(ctx context.Context, p *Presented, owner, text string, sum [32]byte) (Access, error) {
	f, err := m.lookUp(ctx, text, sum)
	if err != nil {
		return Access{}, err
	}
	if kind, native := kindOfText(text); native && kind != f.Token.Kind {
		return Access{}, damagedToken(&f.Token) // its text says what it is: a secret key is one bit away from an API key
	}
	at, err := m.confirmedTime(ctx)
	if err != nil {
		return Access{}, err
	}
	a, e, reason, err := m.verifyFound(ctx, p, owner, f, at)
	if err != nil {
		return Access{}, m.reportTokenRefusal(ctx, &f.Token, p, err, reason)
	}
	now := m.expiryTime(at)
	m.forgetRates(&f)
	var limited error
	if a.set.limits != nil {
		limited = m.verifyRate(a, at)
	}
	if limited == nil {
		e.Used = seconds(m.touchStored(&f.Token, now))
	} else {
		e.Used = seconds(micros(f.Token.Used)) // a refusal is no use, but the next one needs no store
	}
	m.cache.Put(sum, *e)
	if k := m.opts.Keyring; k != nil {
		if _, id := k.digest(text); id != f.Secret.KeyID {
			m.redigest(ctx, text, f)
		}
	}
	if limited != nil {
		return Access{}, a.reportRefusal(ctx, limited)
	}
	return a, nil
}

// lookUp finds the token of a text. A surface may refuse to read the store for an address that has asked for unknown
// tokens too often.
func (m *Manager) lookUp(ctx context.Context, text string, sum [32]byte) (f Found, err error) {
	leave, err := enter(ctx)
	if err != nil {
		return Found{}, err
	}
	defer func() { leave(errors.Is(err, ErrUnknownToken)) }()
	if k := m.opts.Keyring; k != nil {
		f, err = m.store.ByDigest(ctx, k.candidates(text)...)
	} else {
		f, err = m.store.ByDigest(ctx, sum)
	}
	if err != nil {
		return Found{}, orUnknown(err)
	}
	return f, nil
}

// judge decides about what the store found, for this request. The reason says what the error alone does not.
func (m *Manager) verifyFound(ctx context.Context, p *Presented, owner string, f Found,
	at moment) (_ Access, _ *entry, reason string, err error) {
	if owner != "" && f.Token.Owner != owner {
		return Access{}, nil, reasonForeignOwner, ErrUnknownToken
	}
	if f.Token.Test != p.Test {
		return Access{}, nil, "", ErrTestMode
	}
	now := m.expiryTime(at)
	if over(f.Secret.NotAfter, now) {
		return Access{}, nil, reasonRotated, ErrExpired
	}
	if err := m.verifyRecords(&f, at); err != nil {
		return Access{}, nil, "", err
	}
	e, err := m.compile(f)
	if err != nil {
		return Access{}, nil, "", err
	}
	a := Access{set: &e.Shared.Value, who: &e.Principal, m: m, id: e.ID, from: p.Address}
	if err := m.verifyRequest(ctx, p, a, now); err != nil {
		return Access{}, nil, "", err
	}
	return a, e, "", nil
}

// judgeRecords checks what depends on the records alone, in the published order.
func (m *Manager) verifyRecords(f *Found, at moment) error {
	t := &f.Token
	if err := f.damaged(); err != nil {
		return err
	}
	if f.Owner.Disabled {
		return ErrOwnerDisabled
	}
	if t.Disabled {
		return ErrDisabled
	}
	if !t.Revoked.IsZero() || f.Owner.ended(t) {
		return ErrRevoked
	}
	if err := m.verifyTimes(t, at); err != nil {
		return err
	}
	if len(f.Ancestors) != int(t.Depth) || (t.Depth > 0) != (t.Parent != "") {
		return ErrParent // fail closed: one of them is gone
	}
	child := t
	for i := range f.Ancestors {
		a := &f.Ancestors[i]
		if a.ID != child.Parent || a.Owner != t.Owner || a.Disabled || !a.Revoked.IsZero() ||
			f.Owner.ended(a) || m.verifyTimes(a, at) != nil {
			return ErrParent
		}
		child = a
	}
	return nil
}

// damaged returns a *[DamagedError] if a record of f cannot be read: nothing may be decided by what is left of it. A
// Store returns that error itself; this check is for one that forgot it.
func (f *Found) damaged() error {
	if f.Token.Damaged {
		return damagedToken(&f.Token)
	}
	if f.Owner.Damaged {
		return &DamagedError{Kind: ChangedOwner, Owner: f.Token.Owner, ID: f.Token.Owner}
	}
	for i := range f.Ancestors {
		if f.Ancestors[i].Damaged {
			return damagedToken(&f.Ancestors[i])
		}
	}
	for i := range f.Roles {
		if f.Roles[i].Damaged {
			return &DamagedError{Kind: ChangedRole, Owner: f.Token.Owner, ID: f.Roles[i].ID}
		}
	}
	return nil
}

func (m *Manager) verifyTimes(t *Token, at moment) error {
	if at.us < micros(t.Validity.NotBefore) && !t.Validity.NotBefore.IsZero() {
		return ErrNotYetValid
	}
	now := m.expiryTime(at)
	if over(t.Validity.NotAfter, now) {
		return ErrExpired
	}
	if idle := t.Validity.Idle.Microseconds(); idle != 0 {
		m.uses.Saw(t.ID, max(micros(t.Used), micros(t.Created)), now)
		if m.uses.IdledOut(t.ID, idle, now) {
			return ErrExpired
		}
	}
	return nil
}

// stillHeld is withHeldRoles for what Narrow put upon a token. It returns narrowed without the roles that what it
// narrows has lost, and the roles that are left.
func heldNarrowLayers(narrowed []layer, set *compiled) ([]layer, []string) {
	narrowed = slices.Clone(narrowed)
	have, anyRole := set.roles, set.anyRole
	for i := len(narrowed) - 1; i >= 0; i-- { // the nearest stands first
		l := &narrowed[i]
		if !l.full {
			if !anyRole {
				l.roles = slices.DeleteFunc(slices.Clone(l.roles), func(id string) bool { return !slices.Contains(have, id) })
			}
			have, anyRole = l.roles, false
		}
		roles := have
		l.selfRoles = &roles
	}
	return narrowed, have
}

// redigest keeps a secret under the newest key, now that its text is known. The caller does not see errors: the old key
// still works, and the next use tries again.
func (m *Manager) redigest(ctx context.Context, text string, f Found) {
	rec := f.Secret
	var err error
	if rec.Digest, rec.KeyID, rec.Sealed, err = m.digestAndSeal(text, f.Token.Owner, f.Token.ID); err != nil {
		m.warn("latchkey: cannot seal a secret under the newest key", err)
		return
	}
	_, err = m.write(ctx, Write{
		Owner:   f.Token.Owner,
		Secrets: []SecretChange{{TokenID: f.Token.ID, Add: &rec, Retire: f.Secret.Digest, Replace: true}},
		Silent:  true,
	})
	if err != nil && !errors.Is(err, ErrExists) && !errors.Is(err, ErrConflict) {
		m.warn("latchkey: cannot keep a secret under the newest key", err)
	}
}

// orUnknown returns ErrUnknownToken for ErrNotFound, and ErrUnavailable for any other error of the store.
func orUnknown(err error) error {
	if errors.Is(err, ErrNotFound) {
		return ErrUnknownToken
	}
	return fault.Unavailable(err)
}

// Again verifies once more what an Access was given for, without the secret: for a connection that lives longer than a
// request, and before something that must not happen on an old answer. What a request brought along (signature,
// referer) is not asked again; the address is. It counts against no rate. Errors are those of [Manager.Verify], for the
// zero Access too.
func (a Access) Again(ctx context.Context) (Access, error) {
	fresh, _, err := a.m.reverify(ctx, a)
	return fresh, err
}

func (m *Manager) reverify(ctx context.Context, a Access) (Access, Found, error) {
	if a.set == nil {
		return Access{}, Found{}, ErrUnknownToken
	}
	if a.who.kind == 0 {
		return m.reverifyAssumed(ctx, a)
	}
	f, err := m.load(ctx, a.who.owner, a.id)
	if errors.Is(err, ErrNotFound) {
		m.report(ctx, a.refusal(ErrUnknownToken, reasonDeleted))
		return Access{}, Found{}, ErrUnknownToken
	} else if err != nil {
		return Access{}, Found{}, fault.Unavailable(err)
	}
	at, err := m.confirmedTime(ctx)
	if err != nil {
		return Access{}, Found{}, err
	}
	if err := m.verifyRecords(&f, at); err != nil {
		return Access{}, Found{}, a.reportRefusal(ctx, err)
	}
	e, err := m.compile(f)
	if err != nil {
		return Access{}, Found{}, err
	}
	set := &e.Shared.Value
	if err := set.restrict.verifyAddress(a.from); err != nil {
		return Access{}, Found{}, a.reportRefusal(ctx, err)
	}
	b := Access{set: set, who: &e.Principal, m: m, id: a.id, from: a.from}
	if len(a.set.narrowLayers) != 0 {
		narrowed, held := heldNarrowLayers(a.set.narrowLayers, set)
		roles, err := m.rolesOf(ctx, a.who.owner, set, narrowed)
		if err != nil {
			return Access{}, Found{}, err
		}
		b = b.withNarrowLayers(narrowed, held, roles, a.who.client)
		b.set.confined = a.set.confined
	}
	return b, f, nil
}

// loadKey names a token whose load is shared.
type loadKey struct {
	owner string
	id    [16]byte
}

// load is Store.Load. Callers who want the same token at the same time share a load, which begins after each of them
// asked. Nobody may change the result.
func (m *Manager) load(ctx context.Context, owner string, id [16]byte) (Found, error) {
	return m.loads.Do(ctx, loadKey{owner, id}, func(ctx context.Context) (Found, error) {
		return m.store.Load(ctx, owner, uuidv7.Text(id))
	})
}

// rolesOf returns the roles that layers name, as they are now. A role that the token has lost gives nothing.
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
				return nil, fault.Unavailable(err)
			}
			known = more
		}
	}
	return known, nil
}

// assumedAgain reads all that is stored about an assumed caller: the account.
func (m *Manager) reverifyAssumed(ctx context.Context, a Access) (Access, Found, error) {
	o, err := m.store.Owner(ctx, a.who.owner)
	if err != nil {
		return Access{}, Found{}, fault.Unavailable(err)
	}
	if o.Disabled {
		return Access{}, Found{}, a.reportRefusal(ctx, ErrOwnerDisabled)
	}
	if o.Boundary == nil {
		return a, Found{Owner: o}, nil
	}
	layers := slices.DeleteFunc(slices.Clone(a.set.layers), func(l layer) bool { return l.name == boundaryLayer })
	layers = append(layers, layer{name: boundaryLayer, rules: o.Boundary})
	a.set = &compiled{layers: layers, narrowLayers: a.set.narrowLayers, confined: a.set.confined, roleSet: a.set.roleSet,
		roles:  a.set.roles,
		policy: newPolicy(append(slices.Clone(a.set.narrowLayers), layers...), a.set.roleSet)}
	return a, Found{Owner: o}, nil
}
