package latchkey

import (
	"context"
	"errors"
	"net/netip"
	"slices"
	"time"

	"github.com/latchkey-go/latchkey/internal/fault"
	"github.com/latchkey-go/latchkey/internal/readonly"
	"github.com/latchkey-go/latchkey/internal/tokentext"
	"github.com/latchkey-go/latchkey/internal/uuidv7"
)

// Presented is what a request carries.
type Presented struct {
	Secret    string     // the token's text; "": the one that the signature names
	Referer   string     // the Referer header as received; "": absent
	Origin    string     // the Origin header as received; "": absent
	Address   netip.Addr // the client's address; the zero Addr: not known, which passes no address restriction
	Signature *Signature // nil: the request was not signed
	Test      bool       // the surface is a sandbox, which accepts test tokens only; false: it accepts none of them
}

// Verify authenticates p and returns what the caller may do. Checks run in this order: shape, lookup, owner of the
// Account, test or live, rotated secret, owner disabled, disabled, revoked, time, ancestors, signature, referer and
// origin, address, rate.
//
// Errors wrap [ErrInvalidToken], but for a *[RateLimitError] and for [ErrUnavailable]. ErrUnavailable means that the
// store could not answer, never that the token is bad. The Access that comes with an error allows nothing.
// Options.Observer is called with each refusal of a token that exists.
func (m *Manager) Verify(ctx context.Context, p Presented) (Access, error) {
	return m.verify(ctx, &p, "")
}

// Again verifies a's token once more, without the secret. It is for connections that outlive a request, and for actions
// that must not rest on an old answer. It does not check the signature and the referer again, but it does check the
// address. It counts against no rate. Errors are those of [Manager.Verify], for the zero Access too.
func (a Access) Again(ctx context.Context) (Access, error) {
	if a.set == nil || a.m.opts.Observer.Verified == nil {
		fresh, _, err := a.m.reverify(ctx, a)
		return fresh, err
	}
	v := Verification{Source: SourceStore, Again: true, Kind: a.who.kind, Owner: a.who.owner, Start: time.Now()}
	fresh, _, err := a.m.reverify(ctx, a)
	v.Duration, v.Err = time.Since(v.Start), err
	if v.Outcome = outcomeOf(err); err == ErrUnknownToken {
		v.Outcome = reasonDeleted
	}
	a.m.verified(ctx, &v)
	return fresh, err
}

// verify is Verify for tokens of one owner, or of any owner if owner is "".
func (m *Manager) verify(ctx context.Context, p *Presented, owner string) (Access, error) {
	text := p.Secret
	if p.Signature != nil {
		if text == "" {
			text = p.Signature.Key
		} else if p.Signature.Key != "" && p.Signature.Key != text {
			other := *p // an invalid signature in its place, so that it is refused in the documented order, and reported
			other.Signature = &Signature{}
			p = &other
		}
	}
	long := len(text) > tokentext.Max // to digest it would take longer than to look at its shape
	sealed := long && m.isSealed(text)
	if long && !sealed && !m.mayBeToken(text) {
		return m.verifyNone(ctx)
	}
	sum := tokentext.Digest(text)
	if hit, ok := m.cache.Lookup(&sum); ok {
		at, err := m.follower(hit.Feed()).ensureFresh(ctx)
		if err != nil {
			m.verified(ctx, &Verification{Outcome: failureOf(err), Source: SourceCache, Err: err})
			return Access{}, err
		}
		if r, set, who, ok := m.cache.Live(&hit, &sum); ok {
			a, err := m.verifyCached(ctx, p, owner, text, r, set, who, at)
			if err == nil {
				if m.opts.Observer.Verified != nil {
					m.verifiedCached(ctx, who)
				}
				return a, nil
			}
			if err != errCacheStale {
				return Access{}, m.reportCachedRefusal(ctx, p, owner, r, set, who, err)
			}
		}
	} else if !long && !m.mayBeToken(text) { // what is cached had the shape of a token
		return m.verifyNone(ctx)
	}
	if sealed {
		return m.verifySealed(ctx, p, owner, text, sum)
	}
	return m.verifyStored(ctx, p, owner, text, sum)
}

// verifyNone ends a Verify of what is no token by its shape.
func (m *Manager) verifyNone(ctx context.Context) (Access, error) {
	m.verified(ctx, &Verification{Outcome: outcomeUnknown, Source: SourceNone, Err: ErrUnknownToken})
	return Access{}, ErrUnknownToken
}

// mayBeToken reports whether a text may be a token, by its shape. Other texts are refused without reading the store.
func (m *Manager) mayBeToken(text string) bool {
	if len(text) == 0 || len(text) > maxPresented {
		return false
	}
	switch _, shape := tokentext.Read(text); shape {
	case tokentext.Native:
		return true
	case tokentext.Foreign:
		if m.opts.Imported != nil && m.opts.Imported(text) {
			return true
		}
		_, _, ok := m.opts.Legacy.split(text)
		return ok
	}
	return false
}

// errCacheStale means that the cached record has ended, but the stored one may have a later end.
var errCacheStale = errors.New("latchkey: stale")

// verifyCached verifies a request against a cached token. The records passed when they were cached, and have not
// changed since. So it checks only the time and the request.
func (m *Manager) verifyCached(ctx context.Context, p *Presented, owner, text string, r *record, set *compiled,
	who *principal, at moment) (Access, error) {
	if owner != "" && who.owner != owner {
		return Access{}, ErrUnknownToken
	}
	if who.test != p.Test {
		return Access{}, ErrTestMode
	}
	now := m.expiryTime(at)
	if now >= r.Ends || set.idle != 0 && now-r.Seen.Load() >= set.idle && m.idledOut(who.owner, r.ID, set.idle, now) {
		return Access{}, errCacheStale
	}
	for _, link := range set.idlers {
		if m.idledOut(who.owner, link.id, link.idle, now) {
			return Access{}, errCacheStale
		}
	}
	a := Access{set: set, who: who, m: m, id: r.ID, from: p.Address, ends: r.Ends}
	if p.Signature != nil || set.restrict != nil { // otherwise nothing about the request matters
		if err := m.verifyRequest(ctx, p, a, now); err != nil {
			return Access{}, err
		}
	}
	if set.limits != nil {
		if err := m.verifyRate(a, at); err != nil {
			return Access{}, err
		}
	}
	m.touch(p, text, r, set, who.owner, now)
	return a, nil
}

// reportCachedRefusal reports to the observer that Verify refused a cached token with err, and returns err.
func (m *Manager) reportCachedRefusal(ctx context.Context, p *Presented, owner string, r *record, set *compiled,
	who *principal, err error) error {
	a := Access{set: set, who: who, m: m, id: r.ID, from: p.Address, ends: r.Ends}
	v := Verification{Source: SourceCache, Kind: who.kind, Owner: who.owner, Err: err}
	if owner != "" && who.owner != owner {
		v.Outcome = reasonForeignOwner
		m.report(ctx, a.refusal(err, reasonForeignOwner))
	} else {
		v.Outcome = outcomeOf(err)
		err = a.reportRefusal(ctx, err)
	}
	m.verified(ctx, &v)
	return err
}

// verifyStored verifies a request against the store, and caches the token.
func (m *Manager) verifyStored(ctx context.Context, p *Presented, owner, text string, sum [32]byte) (Access, error) {
	m.misses.Add(1)
	if m.opts.Observer.Verified == nil {
		return m.verifyRead(ctx, p, owner, text, sum, &Verification{})
	}
	v := Verification{Source: SourceStore, Start: time.Now()}
	a, err := m.verifyRead(ctx, p, owner, text, sum, &v)
	if v.Outcome == "" {
		v.Outcome = outcomeOf(err)
	}
	if v.Source == SourceStore {
		v.Duration = time.Since(v.Start)
	} else {
		v.Start = time.Time{}
	}
	v.Err = err
	m.verified(ctx, &v)
	return a, err
}

// verifyRead is verifyStored. It says in v what is known of the token, and the outcome if that does not follow from the
// error.
func (m *Manager) verifyRead(ctx context.Context, p *Presented, owner, text string, sum [32]byte,
	v *Verification) (Access, error) {
	resets := m.cache.Resets()
	f, err := m.lookUp(ctx, text, sum, v)
	v.Kind, v.Owner = f.Token.Kind, f.Token.Owner
	if f.Token.ID != "" && errors.Is(err, ErrRateLimited) {
		return Access{}, m.reportTokenRefusal(ctx, &f.Token, p, err, "")
	}
	if err != nil {
		if v.Outcome == "" && errors.Is(err, ErrUnknownToken) {
			v.Outcome = outcomeUnknown
		}
		return Access{}, err
	}
	if kind, native := kindOfText(text); native && kind != f.Token.Kind {
		return Access{}, damagedToken(&f.Token) // one flipped bit of Kind would turn an API key into a secret key
	}
	feed, err := m.feed(f.Feed)
	if err != nil {
		return Access{}, err
	}
	at, err := feed.confirmedTime(ctx)
	if err != nil {
		return Access{}, err
	}
	a, e, reason, err := m.verifyFound(ctx, p, owner, f, at)
	if err != nil {
		v.Outcome = reason
		return Access{}, m.reportTokenRefusal(ctx, &f.Token, p, err, reason)
	}
	now := m.expiryTime(at)
	m.forgetRates(&f)
	var limited error
	if a.set.limits != nil {
		limited = m.verifyRate(a, at)
	}
	outdated := m.outdated(&f.Secret, text, sum)
	if limited == nil {
		if a.set.idle != 0 {
			e.Seen = now
		}
		digests := [][32]byte{f.Secret.Digest}
		if outdated {
			digests = append(m.opts.Keyring.digests(text), f.Secret.Digest)
		}
		e.Used = seconds(m.touchStored(p, &f, now, digests...))
	} else {
		e.Used = seconds(micros(f.Secret.Used)) // a refusal is no use; the token is cached, so the next one reads no store
	}
	e.Retired = !f.Secret.NotAfter.IsZero()
	e.Resets = resets
	feed.cached.Put(sum, *e)
	if outdated {
		m.redigest(ctx, text, f)
	}
	if limited != nil {
		return Access{}, a.reportRefusal(ctx, limited)
	}
	return a, nil
}

// lookUp reads the token of a text from the store. What is found must not be changed. A surface may refuse the read for
// an address that has presented unknown tokens too often.
func (m *Manager) lookUp(ctx context.Context, text string, sum [32]byte, v *Verification) (f Found, err error) {
	leave, err := enter(ctx)
	if err != nil {
		v.Source = SourceNone
		if v.Outcome = failureOf(err); errors.Is(err, ErrRateLimited) {
			v.Outcome = outcomeLimited
		}
		return Found{}, err
	}
	defer func() {
		// With several feeds a look-up may have read some of them and found nothing.
		partly := errors.Is(err, ErrUnavailable) && len(m.store.Feeds()) > 1
		leave(errors.Is(err, ErrUnknownToken) || errors.Is(err, ErrRateLimited) || partly)
	}()
	if f, err = m.byText(readonly.Context(ctx), text, sum); errors.Is(err, ErrRateLimited) {
		return f, err
	} else if err != nil {
		return Found{}, orUnknown(err)
	}
	return f, nil
}

// byText finds the token of a text in the store. Sum is the SHA-256 of the text. Errors are those of Store.ByDigest,
// and a *RateLimitError if too many other secret parts were presented with the same lookup part.
func (m *Manager) byText(ctx context.Context, text string, sum [32]byte) (Found, error) {
	digests := [][32]byte{sum}
	if k := m.opts.Keyring; k != nil {
		digests = k.candidates(text)
	}
	if m.opts.Legacy == nil {
		return m.store.ByDigest(ctx, slotOf(text), digests...)
	}
	if _, shape := tokentext.Read(text); shape != tokentext.Foreign {
		return m.store.ByDigest(ctx, slotOf(text), digests...)
	}
	digests = append(digests, m.opts.Legacy.digests(text)...)
	f, err := m.store.ByDigest(ctx, NoSlot, digests...)
	if _, _, ok := m.opts.Legacy.split(text); !ok || !errors.Is(err, ErrNotFound) {
		return f, err
	}
	if f, err = m.byLookup(ctx, text, sum); !errors.Is(err, ErrNotFound) {
		return f, err
	}
	return m.store.ByDigest(ctx, NoSlot, digests...) // another process may have stored it under its digest meanwhile
}

// slotOf returns the slot that a text may carry.
func slotOf(text string) Slot {
	if _, shape := tokentext.Read(text); shape != tokentext.Native {
		return NoSlot
	}
	return Slot(tokentext.Slot(text))
}

// orUnknown returns ErrUnknownToken for ErrNotFound, and ErrUnavailable for any other error of the store.
func orUnknown(err error) error {
	if errors.Is(err, ErrNotFound) {
		return ErrUnknownToken
	}
	return fault.Unavailable(err)
}

// verifyFound verifies a request against what the store found, other than the rate. The reason is "" if it follows from
// the error.
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
	f = withLiveRoles(f, now)
	e, err := m.compile(f)
	if err != nil {
		return Access{}, nil, "", err
	}
	a := Access{set: e.Value, who: &e.Principal, m: m, id: e.ID, from: p.Address, ends: e.Ends}
	if err := m.verifyRequest(ctx, p, a, now); err != nil {
		return Access{}, nil, "", err
	}
	return a, e, "", nil
}

// verifyRecords checks what depends on the records and the time alone, in Verify's order.
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
		return ErrParent // fail closed: an ancestor is missing
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

// verifyTimes checks a token's validity, and that it has not idled out.
func (m *Manager) verifyTimes(t *Token, at moment) error {
	if at.us < micros(t.Validity.NotBefore) && !t.Validity.NotBefore.IsZero() {
		return ErrNotYetValid
	}
	now := m.expiryTime(at)
	if over(t.Validity.NotAfter, now) {
		return ErrExpired
	}
	if idle := t.Validity.Idle.Microseconds(); idle != 0 {
		m.uses.Saw(t.Owner, t.ID, max(micros(t.Used), micros(t.Created)), now)
		if m.idledOut(t.Owner, uuidv7.Parse(t.ID), idle, now) {
			return ErrExpired
		}
	}
	return nil
}

// verifyRequest checks what depends on the request, other than the rate.
func (m *Manager) verifyRequest(ctx context.Context, p *Presented, a Access, now int64) error {
	if err := m.verifySignature(ctx, p.Signature, a, now); err != nil {
		return err
	}
	if err := a.set.restrict.verifyWeb(p.Referer, p.Origin); err != nil {
		return err
	}
	return a.set.restrict.verifyAddress(p.Address)
}

// outdated reports whether a secret is not stored as this process would store its text, of which sum is the SHA-256.
func (m *Manager) outdated(s *SecretRecord, text string, sum [32]byte) bool {
	id := uint32(0)
	if m.opts.Keyring != nil {
		sum, id = m.opts.Keyring.digest(text)
	}
	return s.KeyID != id || s.Digest != sum
}

// redigest stores a secret under the newest key, now that its text is known, and no longer as another system kept it.
// Errors are logged only: it is still found as before, and the next use tries again. Another process may be first.
func (m *Manager) redigest(ctx context.Context, text string, f Found) {
	rec := f.Secret
	rec.Algorithm, rec.Lookup, rec.Hash = "", "", nil
	var err error
	if rec.Digest, rec.KeyID, rec.Sealed, err = m.digestAndSeal(text, f.Token.Owner, f.Token.ID); err != nil {
		m.warn(ctx, partSecret, "latchkey: cannot seal a secret under the newest key", err)
		return
	}
	err = m.write(ctx, Write{
		Owner:   f.Token.Owner,
		Secrets: []SecretChange{{TokenID: f.Token.ID, Add: &rec, Retire: f.Secret.Digest, Replace: true}},
		Silent:  true,
	})
	if err != nil && !errors.Is(err, ErrExists) && !errors.Is(err, ErrConflict) && !errors.Is(err, ErrNotFound) {
		m.warn(ctx, partSecret, "latchkey: cannot store a secret under the newest key", err)
	}
}

// reverify is Again, and also returns the records. An Assumed Access has no token: see reverifyAssumed.
func (m *Manager) reverify(ctx context.Context, a Access) (Access, Found, error) {
	if a.set == nil {
		return Access{}, Found{}, ErrUnknownToken
	}
	if a.who.kind == 0 {
		return m.reverifyAssumed(ctx, a)
	}
	e, f, now, err := m.currentOf(ctx, a)
	if err == ErrNotFound {
		m.report(ctx, a.refusal(ErrUnknownToken, reasonDeleted))
		return Access{}, Found{}, ErrUnknownToken
	} else if err != nil {
		return Access{}, Found{}, a.reportRefusal(ctx, err)
	}
	set := e.Value
	if err := set.restrict.verifyAddress(a.from); err != nil {
		return Access{}, Found{}, a.reportRefusal(ctx, err)
	}
	b := Access{set: set, who: &e.Principal, m: m, id: a.id, from: a.from, ends: e.Ends}
	if len(a.set.narrowLayers) != 0 {
		layers, held := heldNarrowLayers(a.set.narrowLayers, selfRoles{set.roles, set.lost}, set.anyRole, now)
		roles, err := m.rolesOf(ctx, a.who.owner, set, layers)
		if err != nil {
			return Access{}, Found{}, err
		}
		b = b.withNarrowLayers(layers, held, roles, b.who.as(a.who.client, a.who.attributes()))
		b.set.confined = a.set.confined
	}
	return b, f, nil
}

// current reads a token by its id, and compiles its rights as they are now, which is the time in µs that it returns.
// The errors are ErrNotFound, those of Verify for what the records say, and ErrUnavailable.
func (m *Manager) current(ctx context.Context, owner string, id [16]byte) (*entry, Found, int64, error) {
	f, err := m.load(ctx, owner, id)
	if errors.Is(err, ErrNotFound) {
		return nil, Found{}, 0, ErrNotFound
	} else if err != nil {
		return nil, Found{}, 0, fault.Unavailable(err)
	}
	feed, err := m.feed(f.Feed)
	if err != nil {
		return nil, Found{}, 0, err
	}
	at, err := feed.confirmedTime(ctx)
	if err != nil {
		return nil, Found{}, 0, err
	}
	if err := m.verifyRecords(&f, at); err != nil {
		return nil, Found{}, 0, err
	}
	now := m.expiryTime(at)
	f = withLiveRoles(f, now)
	e, err := m.compile(f)
	if err != nil {
		return nil, Found{}, 0, err
	}
	return e, f, now, nil
}

// reverifyAssumed is reverify for an Assumed caller. The only record of one is the owner's.
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
	layers := slices.DeleteFunc(slices.Clone(a.set.shared), func(l layer) bool { return l.name == boundaryLayer })
	layers = append(layers, layer{name: boundaryLayer, rules: o.Boundary})
	a.set = &compiled{shared: layers, narrowLayers: a.set.narrowLayers, confined: a.set.confined, roleSet: a.set.roleSet,
		roles: a.set.roles, assumed: a.set.assumed,
		policy: a.m.newPolicy(append(slices.Clone(a.set.narrowLayers), layers...), a.set.roleSet)}
	return a, Found{Owner: o}, nil
}

// loadKey names a token whose concurrent loads are coalesced.
type loadKey struct {
	owner string
	id    [16]byte
}

// load is Store.Load. Concurrent calls for the same token share a read that begins after each of them called. The
// result must not be changed.
func (m *Manager) load(ctx context.Context, owner string, id [16]byte) (Found, error) {
	return m.loads.Do(ctx, loadKey{owner, id}, func(ctx context.Context) (Found, error) {
		return m.store.Load(ctx, owner, uuidv7.Text(id))
	})
}

// heldNarrowLayers is withHeldRoles for the layers that Narrow added to a token. It returns them without the roles that
// the token, or the layer below, has lost, or that have ended at the time at, in µs. It also returns the roles that
// remain. Have are the token's roles, and anyRole says that it may name any.
func heldNarrowLayers(layers []layer, have selfRoles, anyRole bool, at int64) ([]layer, selfRoles) {
	layers = slices.Clone(layers)
	for i := len(layers) - 1; i >= 0; i-- { // the nearest stands first
		l := &layers[i]
		if !l.full {
			if !anyRole {
				l.roles = slices.DeleteFunc(slices.Clone(l.roles), func(id string) bool { return !slices.Contains(have.held, id) })
			}
			if l.ends != nil {
				ends := l.ends
				l.roles = slices.DeleteFunc(slices.Clone(l.roles), func(id string) bool { return ended(ends, id, at) })
			}
			have, anyRole = selfRoles{held: l.roles}, false
		}
		roles := have
		l.selfRoles = &roles
	}
	return layers, have
}

// rolesOf returns the roles that layers name, as they are stored now, with those of set. A role that no longer exists
// is left out, and gives nothing.
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
