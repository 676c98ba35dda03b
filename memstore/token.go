package memstore

import (
	"iter"
	"net/netip"
	"slices"
	"time"

	"github.com/latchkey-go/latchkey"
)

// token is a stored token with its secrets: the fields that nearly every token has, and a pointer to the others. That
// halves the memory of a plain token. Its slices are never changed in place, so a reader may copy them late.
type token struct {
	of *ownerData

	id, parent, name, hint                             string
	version, ownerVersion                              uint64
	created, used, revoked, notAfter                   int64
	kind                                               latchkey.Kind
	depth                                              uint8
	test, disabled, full, signed, damaged, uncommitted bool // uncommitted: inserted by the running Write
	roles                                              []string
	client                                             *latchkey.Client // nil: none
	more                                               *more
	secrets                                            []secret
	family                                             *family // of its parent; nil: it was not minted, or was removed
	prev, next                                         *token  // in family
}

// family is the tokens that one token minted, the newest first. It is a list in the tokens themselves: an entry of a
// map would take more memory than a token's other entries, and most of the time of a mint.
type family struct {
	first *token
	size  int
}

func (f *family) add(t *token) {
	if t.family, t.prev, t.next = f, nil, f.first; t.next != nil {
		t.next.prev = t
	}
	f.first = t
	f.size++
}

func (f *family) remove(t *token) {
	if t.next != nil {
		t.next.prev = t.prev
	}
	if t.prev != nil {
		t.prev.next = t.next
	} else {
		f.first = t.next
	}
	t.family, t.prev, t.next = nil, nil, nil
	f.size--
}

// all iterates over the family. A nil family is empty.
func (f *family) all() iter.Seq[*token] {
	return func(yield func(*token) bool) {
		if f == nil {
			return
		}
		for t := f.first; t != nil; t = t.next {
			if !yield(t) {
				return
			}
		}
	}
}

// more is what few tokens have.
type more struct {
	origin, reason, public string
	permissions            latchkey.Permissions
	domains                []string
	addresses, mintFrom    []netip.Prefix
	limits                 latchkey.Limits
	notBefore              int64
	idle                   time.Duration
	extra                  []byte
	rows                   []latchkey.Condition
	forced                 latchkey.Values
	roleEnds               map[string]time.Time
	attributes             latchkey.Attributes
	childAttributes        []string
}

// secret is a stored SecretRecord.
type secret struct {
	digest            [32]byte
	keyID             uint32
	signing           bool
	sealed            []byte
	hint              string
	created, notAfter int64
	foreign           *foreign
	use               *use // nil: none is known
}

// foreign is what only secrets of other systems have.
type foreign struct {
	algorithm, lookup string
	hash              []byte
}

// use is a secret's last use. It is replaced, not changed.
type use struct {
	at   int64
	from netip.Addr
}

// micros returns a time as it is stored: microseconds since 1970, rounded down. Every time of the years 1 to 9999 fits,
// the zero time included, and fromMicros restores it.
func micros(t time.Time) int64 { return t.UnixMicro() }

func fromMicros(us int64) time.Time { return time.UnixMicro(us).UTC() }

var never = micros(time.Time{})

// set stores a copy of t, without its secrets. It copies what Token.Clone does, and not the whole record twice.
func (r *token) set(t *latchkey.Token) {
	r.id, r.parent, r.name, r.hint = t.ID, t.Parent, t.Name, t.Hint
	r.version, r.ownerVersion, r.kind, r.depth = t.Version, t.OwnerVersion, t.Kind, t.Depth
	r.created, r.used, r.revoked = micros(t.Created), micros(t.Used), micros(t.Revoked)
	r.notAfter = micros(t.Validity.NotAfter)
	r.test, r.disabled, r.full, r.signed = t.Test, t.Disabled, t.Full, t.Restrictions.Signed
	r.damaged = t.Damaged
	r.roles = slices.Clone(t.Roles)
	r.client, r.more = nil, nil
	if t.Client != (latchkey.Client{}) {
		r.client = &latchkey.Client{ID: t.Client.ID, Name: t.Client.Name}
	}
	if t.Permissions == nil && t.Restrictions.Domains == nil && t.Restrictions.Addresses == nil &&
		t.Restrictions.MintFrom == nil && t.Limits.IsZero() && t.Extra == nil && t.Rows == nil && t.Forced == nil &&
		t.RoleEnds == nil && t.Attributes == nil && t.ChildAttributes == nil {
		if t.Origin != "" || t.Reason != "" || t.Public != "" || !t.Validity.NotBefore.IsZero() ||
			t.Validity.Idle != 0 {
			r.more = &more{origin: t.Origin, reason: t.Reason, public: t.Public,
				notBefore: micros(t.Validity.NotBefore), idle: t.Validity.Idle}
		}
		return
	}
	own := t.Clone()
	r.more = &more{
		origin: t.Origin, reason: t.Reason, public: t.Public,
		permissions: own.Permissions,
		domains:     own.Restrictions.Domains, addresses: own.Restrictions.Addresses, mintFrom: own.Restrictions.MintFrom,
		limits:    own.Limits,
		notBefore: micros(t.Validity.NotBefore), idle: t.Validity.Idle,
		extra: own.Extra, rows: own.Rows, forced: own.Forced, roleEnds: own.RoleEnds,
		attributes: own.Attributes, childAttributes: own.ChildAttributes,
	}
}

// view returns the token. It shares slices with the store: Clone it before it leaves the package.
func (r *token) view() latchkey.Token {
	t := latchkey.Token{
		ID: r.id, Owner: r.of.id, Version: r.version, Kind: r.kind, Test: r.test, Parent: r.parent, Depth: r.depth,
		Settings: latchkey.Settings{Name: r.name, Roles: r.roles, Disabled: r.disabled},
		Full:     r.full, Hint: r.hint, OwnerVersion: r.ownerVersion, Damaged: r.damaged,
		Created: fromMicros(r.created), Used: fromMicros(r.used), Revoked: fromMicros(r.revoked),
	}
	t.Restrictions.Signed = r.signed
	t.Validity.NotAfter = fromMicros(r.notAfter)
	if r.client != nil {
		t.Client = *r.client
	}
	if m := r.more; m != nil {
		t.Origin, t.Reason, t.Public = m.origin, m.reason, m.public
		t.Permissions, t.Limits, t.Extra = m.permissions, m.limits, m.extra
		t.Restrictions.Domains, t.Restrictions.Addresses, t.Restrictions.MintFrom = m.domains, m.addresses, m.mintFrom
		t.Validity.NotBefore, t.Validity.Idle = fromMicros(m.notBefore), m.idle
		t.Rows, t.Forced, t.RoleEnds = m.rows, m.forced, m.roleEnds
		t.Attributes, t.ChildAttributes = m.attributes, m.childAttributes
	}
	return t
}

func (r *token) copy() latchkey.Token { return r.view().Clone() }

// secretAt returns the index of a secret by its digest, or -1.
func (r *token) secretAt(digest [32]byte) int {
	return slices.IndexFunc(r.secrets, func(s secret) bool { return s.digest == digest })
}

func packSecret(s latchkey.SecretRecord) secret {
	packed := secret{
		digest: s.Digest, keyID: s.KeyID, signing: s.Signing, sealed: slices.Clone(s.Sealed), hint: s.Hint,
		created: micros(s.Created), notAfter: micros(s.NotAfter),
	}
	if s.Algorithm != "" {
		packed.foreign = &foreign{s.Algorithm, s.Lookup, slices.Clone(s.Hash)}
	}
	return packed
}

// copy returns the record of s without its last use.
func (s secret) copy() latchkey.SecretRecord {
	record := latchkey.SecretRecord{
		Digest: s.digest, KeyID: s.keyID, Signing: s.signing, Sealed: slices.Clone(s.sealed), Hint: s.hint,
		Created: fromMicros(s.created), NotAfter: fromMicros(s.notAfter),
	}
	if f := s.foreign; f != nil {
		record.Algorithm, record.Lookup, record.Hash = f.algorithm, f.lookup, slices.Clone(f.hash)
	}
	return record
}

// copyWithUse returns the record of s.
func (s secret) copyWithUse() latchkey.SecretRecord {
	record := s.copy()
	if s.use != nil {
		record.Used, record.UsedFrom = fromMicros(s.use.at), s.use.from
	}
	return record
}

// link makes secrets of t findable, and unlink undoes it.
func (s *Store) link(t *token, secrets ...secret) {
	for _, sec := range secrets {
		s.digests[sec.digest] = t
		if sec.foreign != nil {
			s.lookups[sec.foreign.lookup] = t
		}
	}
}

func (s *Store) unlink(secrets ...secret) {
	for _, sec := range secrets {
		delete(s.digests, sec.digest)
		if sec.foreign != nil {
			delete(s.lookups, sec.foreign.lookup)
		}
	}
}

// taken reports whether another secret has the digest or the lookup part of sec.
func (s *Store) taken(sec secret) bool {
	return s.digests[sec.digest] != nil || sec.foreign != nil && s.lookups[sec.foreign.lookup] != nil
}
