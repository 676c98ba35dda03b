package latchkey

import (
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/maphash"
	"math"
	"slices"
	"strings"
	"sync/atomic"
	"time"

	"github.com/latchkey-go/latchkey/internal/compact"
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
	size  size      // of its policy

	good      bool  // the records let it in when they were read
	idles     bool  // it or an ancestor ends by not being used
	notBefore int64 // µs: it and its ancestors work from then on
	chainEnds int64 // µs: it and its ancestors have their ends then, whatever their roles have

	shared [32]atomic.Pointer[sharedRights] // of what it minted, by a hash of sharedRights.of
}

// sharedRights are the rights that stateless tokens of one parent have in common, if their claims about them are the
// same. A text of which they are known costs no compilation, and its claims about them are not even read: what is
// encrypted alike says the same. They last as long as the reading of the parent, and depend on the same records.
type sharedRights struct {
	of    rightsClaims
	set   *compiled
	apart *apartRights // nil: none. The claims hold them too, so that they are the same
	key   rightsKey
	deps  []dependency
}

// rightsClaims is what the claims of a token say of its rights.
type rightsClaims struct {
	flags uint64 // those of claimRights
	text  string // what appendRights has appended
}

func (up *parentReading) sharedAt(m *Manager, of rightsClaims) *atomic.Pointer[sharedRights] {
	return &up.shared[maphash.Comparable(m.readingSeeds[0], of)%uint64(len(up.shared))]
}

// works reports whether verifyRecords says so of a reading that the cache has, before its record ends. False: ask it.
// Only the time can make a difference: the cache drops the reading when a record has changed.
func (up *parentReading) works(at moment) bool { return up.good && !up.idles && at.us >= up.notBefore }

// parentKey returns where the cache has the reading of a parent, with roles that its minted tokens name besides its
// own. It is made with random bytes, so that nobody can present a text with this digest. Two may be the same by chance:
// look at whose the reading is.
func (m *Manager) parentKey(owner string, id [16]byte, roles []string) (sum [32]byte) {
	if len(roles) == 0 {
		key := parentID{owner, id}
		a, b := maphash.Comparable(m.readingSeeds[0], key), maphash.Comparable(m.readingSeeds[1], key)
		binary.LittleEndian.PutUint64(sum[:8], a)
		binary.LittleEndian.PutUint64(sum[8:], b)
		copy(sum[16:], id[:])
		return sum
	}
	b := make([]byte, 0, 256)
	b = append(append(b, m.readingSalt[:]...), id[:]...)
	b = append(binary.AppendUvarint(b, uint64(len(owner))), owner...)
	for _, role := range roles {
		b = append(binary.AppendUvarint(b, uint64(len(role))), role...)
	}
	return sha256.Sum256(b)
}

type parentID struct {
	owner string
	id    [16]byte
}

// cachedParent is parent by what the cache has.
func (m *Manager) cachedParent(sum *[32]byte, owner string, id [16]byte,
	now int64) (up *parentReading, a Access, ok bool) {
	hit, ok := m.cache.Lookup(sum)
	if !ok {
		return nil, a, false
	}
	r, set, who, ok := m.cache.Live(&hit, sum)
	if !ok || now >= r.Ends {
		return nil, a, false
	}
	up = who.more().reading
	if up == nil || up.set != set || r.ID != id || who.owner != owner {
		return nil, a, false
	}
	return up, Access{set: set, who: who, m: m, id: id, ends: r.Ends}, true
}

// parent returns what the store says of a token, and its rights. What the cache has counts,
// which is as fresh as the last ensureFresh. Cached reports whether it was used. With again the store is read.
// More are roles that the rights are to know besides the token's own. The result must not be changed.
func (m *Manager) parent(ctx context.Context, feed *follower, owner string, id [16]byte, more []string, at moment,
	again bool) (up *parentReading, a Access, cached bool, err error) {
	sum := m.parentKey(owner, id, more)
	now := m.expiryTime(at)
	if !again {
		if up, a, ok := m.cachedParent(&sum, owner, id, now); ok {
			return up, a, true, nil
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
	set := e.Value
	up = &parentReading{found: &found, chain: append([]Token{found.Token}, found.Ancestors...), set: set,
		size: set.policy.with(e.Principal.apart()).size(), idles: idles(&found)}
	up.chainEnds = cmp.Or(e.Principal.more().ends, e.Ends)
	up.good = m.verifyRecords(&found, at) == nil
	for i := range up.chain {
		up.notBefore = max(up.notBefore, micros(up.chain[i].Validity.NotBefore))
	}
	e.Principal = e.Principal.withMore(func(of *moreFacts) { of.reading = up })
	e.Alone, e.Resets = true, resets
	feed.cached.Put(sum, *e)
	return up, Access{set: set, who: &e.Principal, m: m, id: id, ends: e.Ends}, false, nil
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
		if known[id] || isCodeID(id) { // a role of Options.Roles inherits none of the store
			continue
		}
		known[id] = true
		r, err := m.store.Role(ctx, owner, id)
		if errors.Is(err, ErrNotFound) {
			continue
		} else if err != nil {
			return nil, err
		}
		roles, queue = append(roles, r), append(queue, r.Inherits...)
	}
	return roles, nil
}

// rolesLacking returns the roles of claims that the reading of the parent lacks. Only a parent that may name any role
// of the owner has such ones.
func rolesLacking(c *claims, f *Found) (more []string) {
	if !anyRole(f) {
		return nil
	}
	for _, id := range c.roles {
		if !slices.ContainsFunc(f.Roles, func(r Role) bool { return r.ID == id }) && !isCodeID(id) {
			more = append(more, id)
		}
	}
	return more
}

// reverifyParent is reverify for the parent of a mint, of what the cache has: it also returns what is known of the
// parent, and the time. Now says that all that was committed before the call counts. Otherwise the parent is as fresh
// as a Verify is. With again the store is read.
func (m *Manager) reverifyParent(ctx context.Context, a Access,
	now, again bool) (Access, *parentReading, moment, error) {
	fail := func(err error) (Access, *parentReading, moment, error) { return Access{}, nil, moment{}, err }
	feed := m.follower(a.who.feed)
	at, err := moment{}, error(nil)
	if now {
		at, err = feed.ensureCurrent(ctx)
	} else {
		at, err = feed.ensureFresh(ctx)
	}
	if err != nil {
		return fail(err)
	}
	for ; ; again = true {
		up, b, cached, err := m.parent(ctx, feed, a.who.owner, a.id, nil, at, again)
		if errors.Is(err, ErrNotFound) {
			m.report(ctx, a.refusal(ErrUnknownToken, reasonDeleted))
			return fail(ErrUnknownToken)
		} else if err != nil {
			return fail(fault.Unavailable(err))
		}
		if !up.works(at) {
			err = m.verifyRecords(up.found, at)
		}
		if cached && up.idles && (err == ErrExpired || err == ErrParent) {
			continue // it, or an ancestor, may have been used elsewhere meanwhile
		}
		if err == nil {
			b.from = a.from
			err = b.set.restrict.verifyAddress(a.from)
		}
		if err != nil {
			return fail(a.reportRefusal(ctx, err))
		}
		return b, up, at, nil
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
	a, up, at, err := a.m.reverifyParent(ctx, a, false, false)
	if err != nil {
		return fail(err)
	}
	feed := a.m.follower(a.who.feed)
	if _, err := feed.knowRevocations(ctx); err != nil {
		return fail(err)
	}
	if err := up.found.Owner.Policy.letsStateless(); err != nil {
		return fail(err)
	}
	var t Token
	check, err := a.minted(ctx, n, up, at, &t)
	if err != nil {
		return fail(err)
	}
	text, err := a.m.sealToken(&t, up.found, feed, at)
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
	before, known := feed.revoked.before(t.Client.ID, f)
	if !known {
		return "", errHistory
	}
	if before > made {
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
	t.ID, t.Hint = uuidv7.Text(statelessID(c.created, &nonce)), tokentext.Hint(text)
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
func statelessID(created int64, nonce *[textNonceSize]byte) [16]byte {
	return uuidv7.Unstored(created, [8]byte(nonce[:8]))
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
	c, id, ok = readToken(plain, &nonce)
	return plain, c, id, ok
}

// readToken reads what a text holds.
func readToken(plain string, nonce *[textNonceSize]byte) (c *claims, id [16]byte, ok bool) {
	if c, ok = readClaims(plain); !ok {
		return nil, id, false // a later version wrote it
	}
	return c, statelessID(c.created, nonce), true
}

// foundBy returns the records of a stateless token, from those of its parent. It returns ErrParent if the parent is not
// as the claims demand: then the token has no rights. It returns errHistory if the revocations were forgotten since
// knowRevocations.
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
	is, known := revoked.revoked(id, t.Client.ID, c.created, f)
	if !known {
		return Found{Token: t}, errHistory
	}
	if is {
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
	up     *parentReading // nil: it was read with roles besides its own
	cached bool           // what the cache has of the parent was used
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
	if s.Found, err = c.foundBy(up, id, &s.feed.revoked); err == errHistory && !again {
		return m.findStateless(ctx, c, id, true)
	} else if err != nil {
		return s, err
	}
	if s.Epoch, s.latest = epoch, up.found.Epoch; beside {
		s.latest = math.MaxUint64 // those roles are read apart, and no epoch comes with them
	} else {
		s.up = up
	}
	return s, nil
}

// verifySealed verifies a request against the text of a stateless token, and caches the token.
func (m *Manager) verifySealed(ctx context.Context, p *Presented, owner, text string, sum [32]byte) (Access, error) {
	plain, nonce, ok := m.opts.Keyring.openText(text)
	if !ok {
		return m.verifyNone(ctx)
	}
	var start time.Time
	if m.opts.Observer.Verified != nil {
		start = time.Now() // verifyKnown may read the store, and not answer
	}
	if a, ok, err := m.verifyKnown(ctx, p, owner, plain, &nonce, &sum); ok {
		return a, err
	}
	c, id, ok := readToken(plain, &nonce)
	if !ok {
		return m.verifyNone(ctx)
	}
	v := Verification{Source: SourceCache, Kind: KindAccess, Owner: c.owner}
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

// verifyKnown is verifySealed where the cache has the parent, and knows the rights that the claims ask for. It reads
// and builds no record. Ok is false unless it let the token in or found its rate exceeded: then nothing has happened
// yet, and the records are to be asked. So each of its conditions may be stricter than that of verifyFound, and none
// laxer.
func (m *Manager) verifyKnown(ctx context.Context, p *Presented, owner, plain string, nonce *[textNonceSize]byte,
	sum *[32]byte) (a Access, ok bool, err error) {
	var c claims
	r := compact.NewReader(plain)
	flags := c.readHead(&r)
	rights := r.Rest()
	if r.Failed() || flags >= claimEnd || flags&^claimRights != c.headFlags() ||
		flags&(claimAttributes|claimRoleEnds) != 0 || owner != "" && c.owner != owner || c.test != p.Test ||
		p.Signature != nil {
		return a, false, nil
	}
	resets := m.cache.Resets()
	feed, err := m.feedOf(c.owner)
	if err != nil {
		return a, false, nil
	}
	at, err := feed.ensureFresh(ctx)
	if err != nil {
		return a, false, nil
	}
	epoch, err := feed.knowRevocations(ctx)
	if err != nil {
		return a, false, nil
	}
	now := m.expiryTime(at)
	key := m.parentKey(c.owner, c.parent, nil)
	up, parent, ok := m.cachedParent(&key, c.owner, c.parent, now)
	if !ok || !up.works(at) || now >= c.ends {
		return a, false, nil
	}
	t, client, id := &up.found.Token, c.client, statelessID(c.created, nonce)
	if client == (Client{}) {
		client = t.Client
	}
	switch {
	case t.Version < c.parentVersion, micros(t.Created) != c.parentCreated, t.Test != c.test,
		t.Client.ID != "" && client.ID != t.Client.ID, c.created < micros(up.found.Owner.NotBefore),
		c.ownerVersion < up.found.Owner.Since:
		return a, false, nil
	}
	if revoked, known := feed.revoked.revoked(id, client.ID, c.created, up.found); revoked || !known {
		return a, false, nil
	}
	of := rightsClaims{flags & claimRights, rights}
	known := up.sharedAt(m, of).Load()
	if known == nil || known.of != of {
		return a, false, nil
	}
	ends := min(c.ends, parent.ends)
	who := c.principal(known, parent.who, client, plain)
	if chain := min(c.ends, up.chainEnds); chain != ends {
		who.facts.more.ends = chain
	}
	a = Access{set: known.set, who: who, m: m, id: id, from: p.Address, ends: ends}
	if known.set.restrict != nil {
		if err := m.verifyRequest(ctx, p, a, now); err != nil {
			return Access{}, false, nil
		}
	}
	if known.set.limits != nil {
		err = m.verifyRate(a, at)
	}
	if m.seenBefore(sum) {
		feed.cached.Put(*sum, entry{ID: id, Owner: who.owner, Epoch: epoch, Latest: up.found.Epoch, Resets: resets,
			Ends: ends, Key: known.key, Value: known.set, Deps: known.deps, Principal: *who, Alone: true})
	}
	if err != nil {
		err = a.reportRefusal(ctx, err)
		m.verified(ctx, &Verification{Outcome: outcomeOf(err), Source: SourceCache, Kind: KindAccess, Owner: who.owner,
			Err: err})
		return Access{}, true, err
	}
	if m.opts.Observer.Verified != nil {
		m.verifiedCached(ctx, who)
	}
	return a, true, nil
}

// principal returns what a token stands for that has no attributes of its own, and the rights known. The caller sets
// the end of its chain.
func (c *claims) principal(known *sharedRights, parent *principal, client Client, plain string) *principal {
	one := &struct {
		who  principal
		of   facts
		more moreFacts
	}{}
	one.more = moreFacts{name: c.name, extra: c.extra, claims: plain, parent: c.parent}
	one.of = facts{attributes: parent.attributes(), more: &one.more, apart: known.apart}
	one.who = principal{lineage: known.set.lineage, client: client, facts: &one.of}
	return &one.who
}

// shareRights keeps the rights of a token for others that its parent has minted with the same claims about them. What
// a key does not spell out is not shared.
func (m *Manager) shareRights(up *parentReading, plain string, e *entry, t *Token) {
	var c claims
	r := compact.NewReader(plain)
	flags := c.readHead(&r)
	if flags&(claimAttributes|claimRoleEnds) != 0 || ownParts(t) > spelledOut {
		return
	}
	of := rightsClaims{flags & claimRights, strings.Clone(r.Rest())}
	up.sharedAt(m, of).Store(&sharedRights{of, e.Value, e.Principal.apart(), e.Key, e.Deps})
}

// seenBefore reports whether a text was presented before, of some thousand that were presented last. One that is
// presented once, as that of a page view may be, is not worth a place in the cache. It may be wrong either way.
func (m *Manager) seenBefore(sum *[32]byte) bool {
	mark := binary.LittleEndian.Uint64(sum[8:16]) | 1
	return m.seen[binary.LittleEndian.Uint64(sum[:8])%uint64(len(m.seen))].Swap(mark) == mark
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
		if s.up != nil {
			m.shareRights(s.up, plain, e, &s.Token)
		}
		m.seenBefore(&sum)
		s.feed.cached.Put(sum, *e)
		if err != nil {
			return Access{}, cached, a.reportRefusal(ctx, err)
		}
		return a, cached, nil
	}
}

// keepClaims has the principal of an entry hold the claims of its stateless token, by which it is read again.
func keepClaims(e *entry, plain string, c *claims) {
	e.Principal = e.Principal.withMore(func(of *moreFacts) { of.claims, of.parent = plain, c.parent })
	e.Alone = true
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
	plain := a.who.more().claims
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
		return a.who.more().parent
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
