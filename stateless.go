package latchkey

import (
	"context"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"math"
	"slices"
	"time"

	"github.com/latchkey-go/latchkey/internal/fault"
	"github.com/latchkey-go/latchkey/internal/tokentext"
	"github.com/latchkey-go/latchkey/internal/uuidv7"
)

// MaxStateless is the longest life of a stateless token. It bounds how long a revocation of one is kept, and a retired
// key of the [Keyring].
const MaxStateless = 24 * time.Hour

// IsStateless reports whether an id is that of a stateless token: see [Narrowing].Stateless. Such an id is a UUIDv8,
// and that of a stored token a UUIDv7. An id in another spelling, as in upper case, is no token's.
func IsStateless(id string) bool {
	u := uuidv7.Parse(id)
	return uuidv7.IsUnstored(u) && uuidv7.Text(u) == id
}

// isStateless is IsStateless for a record that a Manager made.
func isStateless(t *Token) bool { return len(t.ID) == 36 && t.ID[14] == '8' }

// notStored returns err, and [ErrStateless] in its place if it says that a stateless token was not found.
func notStored(id string, err error) error {
	if errors.Is(err, ErrNotFound) && IsStateless(id) {
		return ErrStateless
	}
	return err
}

// anyRevocation is the dependency of the rights of all stateless tokens on every revocation that is not of one token
// alone: by their parent, client or owner. They are read again from their texts then, which costs no read of the store.
var anyRevocation = dependsOn(ChangedRevocation, "")

// parentReading is what the store says of a token that has minted stateless ones, in the facts of its cached record.
// The cache drops it as it drops every record of which something has changed.
type parentReading struct {
	found *Found
	chain []Token   // the token and its ancestors: those of what it minted
	set   *compiled // what was compiled of it
}

// parentKey returns where the cache has the reading of a parent, with roles that its minted tokens name besides its
// own. It begins with random bytes, so that nobody can present a text with this digest.
func (m *Manager) parentKey(owner string, id [16]byte, roles []string) [32]byte {
	b := make([]byte, 0, 256)
	b = append(append(b, m.readingSalt[:]...), id[:]...)
	b = append(binary.AppendUvarint(b, uint64(len(owner))), owner...)
	for _, role := range roles {
		b = append(binary.AppendUvarint(b, uint64(len(role))), role...)
	}
	return sha256.Sum256(b)
}

// parent returns what the store says of a token, and its rights. What the cache has counts,
// which is as fresh as the last ensureFresh. Cached reports whether it was used. With again the store is read.
// More are roles that the rights are to know besides the token's own. The result must not be changed.
func (m *Manager) parent(ctx context.Context, feed *follower, owner string, id [16]byte, more []string, at moment,
	again bool) (up *parentReading, a Access, cached bool, err error) {
	sum := m.parentKey(owner, id, more)
	now := m.expiryTime(at)
	if hit, ok := m.cache.Lookup(&sum); ok && !again {
		r, set, who, ok := m.cache.Live(&hit, &sum)
		if ok && now < r.Ends && who.facts != nil && who.facts.reading != nil && who.facts.reading.set == set {
			return who.facts.reading, Access{set: set, who: who, m: m, id: id, ends: r.Ends}, true, nil
		}
	}
	resets := m.cache.Resets()
	found, err := m.load(ctx, owner, id)
	if err != nil {
		return nil, Access{}, false, err
	}
	if len(more) != 0 {
		if found.Roles, err = m.rolesBeside(ctx, owner, found.Roles, more); err != nil {
			return nil, Access{}, false, err
		}
	}
	e, err := m.compile(withLiveRoles(found, now), more...)
	if err != nil {
		return nil, Access{}, false, err
	}
	of := facts{}
	if e.Principal.facts != nil {
		of = *e.Principal.facts
	}
	set := e.Value
	of.reading = &parentReading{&found, append([]Token{found.Token}, found.Ancestors...), set}
	e.Principal.facts, e.Alone, e.Resets = &of, true, resets
	feed.cached.Put(sum, *e)
	return of.reading, Access{set: set, who: &e.Principal, m: m, id: id, ends: e.Ends}, false, nil
}

// rolesBeside returns roles, and those of the store that ids name and that are not among them, with what they inherit.
// A role that is gone is left out, and gives nothing.
func (m *Manager) rolesBeside(ctx context.Context, owner string, roles []Role, ids []string) ([]Role, error) {
	known := map[string]bool{}
	for i := range roles {
		known[roles[i].ID] = true
	}
	roles = slices.Clone(roles)
	for queue := slices.Clone(ids); len(queue) > 0; queue = queue[1:] {
		id := queue[0]
		if known[id] {
			continue
		}
		known[id] = true
		r, ok := m.code.byID[id]
		if !isCodeID(id) {
			stored, err := m.store.Role(ctx, owner, id)
			if errors.Is(err, ErrNotFound) {
				continue
			} else if err != nil {
				return nil, err
			}
			roles, r, ok = append(roles, stored), stored, true
		}
		if ok {
			queue = append(queue, r.Inherits...)
		}
	}
	return roles, nil
}

// rolesLacking returns the roles of claims that the reading of the parent lacks. Only a parent that may name any role
// of the owner has such ones.
func rolesLacking(c *claims, f *Found) (more []string) {
	for _, id := range c.roles {
		if !slices.ContainsFunc(f.Roles, func(r Role) bool { return r.ID == id }) && !isCodeID(id) {
			more = append(more, id)
		}
	}
	if len(more) != 0 && !anyRole(f) {
		return nil
	}
	return more
}

// reverifyCached is reverify for a parent of a stateless token: what the cache has counts, which is as fresh as a
// Verify is. It returns the time.
func (m *Manager) reverifyCached(ctx context.Context, a Access) (Access, Found, moment, error) {
	fail := func(err error) (Access, Found, moment, error) { return Access{}, Found{}, moment{}, err }
	feed := m.follower(a.who.feed)
	at, err := feed.ensureFresh(ctx)
	if err != nil {
		return fail(err)
	}
	if _, err := feed.knowRevocations(ctx); err != nil {
		return fail(err)
	}
	for again := false; ; again = true {
		up, b, cached, err := m.parent(ctx, feed, a.who.owner, a.id, nil, at, again)
		if errors.Is(err, ErrNotFound) {
			m.report(ctx, a.refusal(ErrUnknownToken, reasonDeleted))
			return fail(ErrUnknownToken)
		} else if err != nil {
			return fail(fault.Unavailable(err))
		}
		f := up.found
		err = m.verifyRecords(f, at)
		if errors.Is(err, ErrExpired) && cached && idles(f) {
			continue // it may have been used elsewhere meanwhile
		}
		if err == nil {
			b.from = a.from
			err = b.set.restrict.verifyAddress(a.from)
		}
		if err != nil {
			return fail(a.reportRefusal(ctx, err))
		}
		return b, *f, at, nil
	}
}

// idles reports whether a token, or one that it was minted from, ends by not being used.
func idles(f *Found) bool {
	return f.Token.Validity.Idle != 0 ||
		slices.ContainsFunc(f.Ancestors, func(t Token) bool { return t.Validity.Idle != 0 })
}

// mayBeStateless returns [ErrInvalid] for what only a stored token can be, and says what to do. ForRequest says that it
// is minted for a [Request].
func (n *Narrowing) mayBeStateless(forRequest bool) error {
	what := ""
	switch {
	case forRequest:
		what = "MintFor remembers the request"
	case n.Idle != 0:
		what = "Idle asks when the token was last used"
	case !n.Limits.IsZero():
		what = "Limits count what the token itself uses; it draws on those of its parent"
	case n.Restrictions.Signed:
		what = "Restrictions.Signed needs a signing secret"
	case len(n.Restrictions.MintFrom) != 0:
		what = "Restrictions.MintFrom is for tokens that mint, and it mints nothing"
	default:
		return nil
	}
	return fmt.Errorf("%w: a stateless token is not stored: %s. Leave that out, or Stateless", ErrInvalid, what)
}

// letsStateless returns [ErrInvalid] if the owner's policy is about what only a stored token can be.
func (p *OwnerPolicy) letsStateless() error {
	what := ""
	switch {
	case p.Children != 0:
		what = "Children counts the tokens that live"
	case p.AuditMints:
		what = "AuditMints leaves an event of each"
	case p.MaxIdle != 0:
		what = "MaxIdle asks when the token was last used"
	default:
		return nil
	}
	return fmt.Errorf("%w: %w wants tokens that are stored: %s (Owner.Policy). Mint without Stateless", ErrInvalid,
		ErrPolicy, what)
}

// mintStateless is mint for a token that is not stored.
func (a Access) mintStateless(ctx context.Context, n *Narrowing, forRequest bool) (Token, Secret, error) {
	fail := func(err error) (Token, Secret, error) { return Token{}, Secret{}, err }
	if err := n.mayBeStateless(forRequest); err != nil {
		return fail(err)
	}
	a, f, at, err := a.m.reverifyCached(ctx, a)
	if err != nil {
		return fail(err)
	}
	if err := f.Owner.Policy.letsStateless(); err != nil {
		return fail(err)
	}
	t, check, err := a.minted(ctx, n, &f, at)
	if err != nil {
		return fail(err)
	}
	text, err := a.m.sealToken(&t, &f, a.m.follower(a.who.feed), at)
	if err != nil {
		return fail(a.reportRefusal(ctx, err))
	}
	check.saved(ctx)
	return t, newSecret(text), nil
}

// sealToken returns the text of a stateless token, and sets what of its record depends on it. F are the records of the
// parent, which was verified at the time at.
func (m *Manager) sealToken(t *Token, f *Found, feed *follower, at moment) (string, error) {
	k, now := m.opts.Keyring, m.creationTime(at)
	if k == nil {
		return "", fmt.Errorf("%w: it seals the texts of stateless tokens", ErrNeedsKeyring)
	}
	made, err := f.Owner.clampCreation(now)
	if err != nil {
		return "", err
	}
	if before := feed.revoked.before(t, f); before > made {
		if before-now > 3*aheadBound.Microseconds() { // no Manager dates one so
			return "", fmt.Errorf("%w: the stateless tokens of its parent, client or owner are revoked until %s", ErrDenied,
				fromMicros(before).Format(time.RFC3339))
		}
		made = before // so that it is not among those
	}
	c := &claims{owner: t.Owner, parent: uuidv7.Parse(t.Parent), parentVersion: f.Token.Version,
		parentCreated: micros(f.Token.Created), ownerVersion: t.OwnerVersion, created: made,
		ends: micros(t.Validity.NotAfter), test: t.Test, full: t.Full, name: t.Name, origin: t.Origin,
		roles: t.Roles, roleEnds: t.RoleEnds, permissions: t.Permissions,
		restrictions: t.Restrictions, attributes: attributesBeside(t.Attributes, f.Token.Attributes),
		rows: t.Rows, forced: t.Forced, extra: string(t.Extra)}
	if t.Client != f.Token.Client {
		c.client = t.Client
	}
	switch {
	case uuidv7.Text(c.parent) != t.Parent:
		return "", fmt.Errorf("%w: the parent's id %q is no UUID, and a stateless token has no place for it", ErrInvalid,
			t.Parent)
	case c.ends-now > MaxStateless.Microseconds():
		return "", fmt.Errorf("%w: a stateless token lives for %s at most (MaxStateless): lower Lifetime, or leave "+
			"Stateless out", ErrInvalid, MaxStateless)
	}
	var nonce [textNonceSize]byte
	if err := tokentext.ReadRandom(m.opts.Rand, nonce[:]); err != nil {
		return "", err
	}
	text, err := k.sealText(tokentext.SealedHead(m.opts.Prefix), &nonce, c.append(make([]byte, 0, 256)))
	if err != nil {
		return "", err
	}
	if len(text) > tokentext.MaxSealed {
		return "", fmt.Errorf("%w: the text of the stateless token has %d bytes, and may have %d: give it less to say, or "+
			"leave Stateless out", ErrInvalid, len(text), tokentext.MaxSealed)
	}
	t.Version, t.Created, t.Validity.NotAfter = 1, fromMicros(made), fromMicros(c.ends)
	t.ID, t.Hint = uuidv7.Text(statelessID(c, &nonce)), tokentext.Hint(text)
	return text, nil
}

// attributesBeside returns the attributes that a parent's do not have.
func attributesBeside(all, parents Attributes) (added Attributes) {
	for name, v := range all {
		if _, ok := parents[name]; ok {
			continue
		}
		if added == nil {
			added = Attributes{}
		}
		added[name] = v
	}
	return added
}

// statelessID returns the id of a stateless token. The text need not hold it: it follows from the nonce.
func statelessID(c *claims, nonce *[textNonceSize]byte) [16]byte {
	return uuidv7.Unstored(c.created, [8]byte(nonce[:8]))
}

// isSealed reports whether a text has the form of a stateless token's, and this process could read it.
func (m *Manager) isSealed(text string) bool {
	if m.opts.Keyring == nil || len(text) <= tokentext.Max || len(text) > tokentext.MaxSealed {
		return false
	}
	_, shape := tokentext.Read(text)
	return shape == tokentext.Sealed
}

// openToken reads the text of a stateless token. It returns false for one that this process's Keyring did not seal.
func (m *Manager) openToken(text string) (plain string, c *claims, id [16]byte, ok bool) {
	plain, nonce, ok := m.opts.Keyring.openText(text)
	if !ok {
		return "", nil, id, false
	}
	if c, ok = readClaims(plain); !ok {
		return "", nil, id, false // a later version wrote it
	}
	return plain, c, statelessID(c, &nonce), true
}

// foundBy returns the records of a stateless token, from those of its parent. It returns ErrParent if the parent is not
// as the claims demand: then the token has no rights.
func (c *claims) foundBy(from *parentReading, id [16]byte, revoked *revocations) (Found, error) {
	f := from.found
	t := c.record(uuidv7.Text(id), f.Token.ID)
	up := &f.Token
	t.Depth = up.Depth + 1
	switch {
	case up.Version < c.parentVersion: // the store is an older copy
		return Found{Token: t}, ErrParent
	case micros(up.Created) != c.parentCreated: // another token with the same id
		return Found{Token: t}, ErrParent
	case t.Client == Client{}:
		t.Client = up.Client
	case up.Client.ID != "" && t.Client.ID != up.Client.ID:
		return Found{Token: t}, ErrParent
	}
	t.Attributes, t.ChildAttributes = up.Attributes, up.ChildAttributes
	if len(c.attributes) != 0 {
		set, err := newAttributeSet(up.Attributes, up.ChildAttributes).narrowed(c.attributes)
		if err != nil {
			return Found{Token: t}, ErrParent
		}
		t.Attributes, t.ChildAttributes = set.values, set.child
	}
	if t.Test != up.Test {
		return Found{Token: t}, ErrParent
	}
	if revoked.revoked(&t, f) {
		t.Revoked = t.Created
	}
	return Found{Token: t, Ancestors: from.chain, Roles: f.Roles, Owner: f.Owner, Feed: f.Feed}, nil
}

// statelessFound are the records of a stateless token: its own, of which at least the owner, the id and the parent are
// known, and with no error those of its parent. All of that is as of Epoch or later, and not as of later than latest.
type statelessFound struct {
	Found
	feed   *follower
	at     moment
	latest uint64
	cached bool // what the cache has of the parent was used
}

// findStateless returns the records of a stateless token. Those of its parent are as fresh as what a Verify finds in
// the cache. With again the store is read, and nothing is older than the call.
func (m *Manager) findStateless(ctx context.Context, c *claims, id [16]byte, again bool) (s statelessFound, err error) {
	s.Token = c.record(uuidv7.Text(id), uuidv7.Text(c.parent))
	s.Token.Depth = 1
	if s.feed, err = m.feedOf(c.owner); err != nil {
		return s, err
	}
	if again {
		s.at, err = s.feed.poll(ctx)
	} else {
		s.at, err = s.feed.ensureFresh(ctx)
	}
	if err != nil {
		return s, err
	}
	beside := false
	epoch, err := s.feed.knowRevocations(ctx)
	if err != nil {
		return s, err
	}
	up, _, cached, err := m.parent(ctx, s.feed, c.owner, c.parent, nil, s.at, again)
	if err == nil && len(c.roles) != 0 {
		if more := rolesLacking(c, up.found); more != nil {
			beside = true
			up, _, cached, err = m.parent(ctx, s.feed, c.owner, c.parent, more, s.at, again)
		}
	}
	if errors.Is(err, ErrNotFound) {
		return s, ErrParent
	} else if err != nil {
		return s, fault.Unavailable(err)
	}
	if cached && (up.found.Token.Version < c.parentVersion || micros(up.found.Token.Created) != c.parentCreated) {
		return m.findStateless(ctx, c, id, true) // the parent has changed since it was cached
	}
	s.cached = cached
	if s.Found, err = c.foundBy(up, id, &s.feed.revoked); err != nil {
		return s, err
	}
	if s.Epoch, s.latest = epoch, up.found.Epoch; beside {
		s.latest = math.MaxUint64 // those roles are read apart, and no epoch comes with them
	}
	return s, nil
}

// verifySealed verifies a request against the text of a stateless token, and caches the token.
func (m *Manager) verifySealed(ctx context.Context, p *Presented, owner, text string, sum [32]byte) (Access, error) {
	plain, c, id, ok := m.openToken(text)
	if !ok {
		return m.verifyNone(ctx)
	}
	v := Verification{Source: SourceCache, Kind: KindAccess, Owner: c.owner}
	var start time.Time
	if m.opts.Observer.Verified != nil {
		start = time.Now()
	}
	a, cached, err := m.verifyClaims(ctx, p, owner, sum, plain, c, id, &v)
	if !cached && err != ErrUnknownToken {
		v.Source, v.Start = SourceStore, start
		if !start.IsZero() {
			v.Duration = time.Since(start)
		}
	}
	if v.Err = err; v.Outcome == "" {
		v.Outcome = outcomeOf(err)
	}
	m.verified(ctx, &v)
	return a, err
}

// verifyClaims is verifySealed for what the text says. It reports whether the store was not read for the parent.
func (m *Manager) verifyClaims(ctx context.Context, p *Presented, owner string, sum [32]byte, plain string, c *claims,
	id [16]byte, v *Verification) (_ Access, cached bool, err error) {
	resets := m.cache.Resets()
	refuse := func(t *Token, err error, reason string) (Access, bool, error) {
		v.Outcome = reason
		return Access{}, cached, m.reportTokenRefusal(ctx, t, p, err, reason)
	}
	if owner != "" && c.owner != owner { // before anything of that owner is read
		t := c.record(uuidv7.Text(id), uuidv7.Text(c.parent))
		cached = true
		return refuse(&t, ErrUnknownToken, reasonForeignOwner)
	}
	for again := false; ; again = true {
		var s statelessFound
		s, err = m.findStateless(ctx, c, id, again)
		cached = s.cached
		if err != nil {
			return refuse(&s.Token, err, "")
		}
		a, e, reason, err := m.verifyFound(ctx, p, owner, s.Found, s.at)
		if err == ErrParent && cached && idles(&s.Found) {
			continue // it may have been used elsewhere meanwhile
		}
		if err != nil {
			return refuse(&s.Token, err, reason)
		}
		keepClaims(e, plain, c)
		e.Resets, e.Latest = resets, s.latest
		if a.set.limits != nil {
			err = m.verifyRate(a, s.at)
		}
		s.feed.cached.Put(sum, *e)
		if err != nil {
			return Access{}, cached, a.reportRefusal(ctx, err)
		}
		return a, cached, nil
	}
}

// keepClaims has the principal of an entry hold the claims of its stateless token, by which it is read again.
func keepClaims(e *entry, plain string, c *claims) {
	of := facts{}
	if e.Principal.facts != nil {
		of = *e.Principal.facts
	}
	of.claims, of.parent = plain, c.parent
	e.Principal.facts, e.Alone = &of, true
}

// currentOf is current for the token of an Access, stored or not.
func (m *Manager) currentOf(ctx context.Context, a Access) (*entry, Found, int64, error) {
	if uuidv7.IsUnstored(a.id) {
		return m.currentStateless(ctx, a)
	}
	return m.current(ctx, a.who.owner, a.id)
}

// currentStateless is current for a stateless token that was verified.
func (m *Manager) currentStateless(ctx context.Context, a Access) (*entry, Found, int64, error) {
	fail := func(err error) (*entry, Found, int64, error) { return nil, Found{}, 0, err }
	plain := a.who.facts.claims
	c, ok := readClaims(plain)
	if !ok {
		return fail(ErrUnknownToken)
	}
	s, err := m.findStateless(ctx, c, a.id, true)
	if err != nil {
		return fail(err)
	}
	if err := m.verifyRecords(&s.Found, s.at); err != nil {
		return fail(err)
	}
	now := m.expiryTime(s.at)
	f := withLiveRoles(s.Found, now)
	e, err := m.compile(f)
	if err != nil {
		return fail(err)
	}
	keepClaims(e, plain, c)
	return e, f, now, nil
}

// payer returns the id of the token whose limits the caller draws on, and under which its use is counted: its own, or
// that of the parent of a stateless token.
func (a *Access) payer() [16]byte {
	if uuidv7.IsUnstored(a.id) {
		return a.who.facts.parent
	}
	return a.id
}

// findText returns the record of a stateless token by its text, as [Account.Find] does. It says nothing about whether
// the token works.
func (m *Manager) findText(ctx context.Context, text string) (Token, error) {
	_, c, id, ok := m.openToken(text)
	if !ok {
		return Token{}, ErrNotFound
	}
	s, err := m.findStateless(ctx, c, id, false)
	if errors.Is(err, ErrParent) {
		return Token{}, ErrNotFound
	}
	s.Token.Hint = tokentext.Hint(text)
	return s.Token, err
}
