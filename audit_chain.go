package latchkey

import (
	"bytes"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"hash"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"
)

// The audit trail of an owner is a chain. Each event is bound to its place and to the event before by a message
// authentication code, under a subkey of the Keyring that has no other use. What may be erased of an event later, the
// record that it holds and the client that caused it, enters the code as a tag of its own. So the code can be verified
// after the erasure too, and a tag without its text says that something was there.
//
// Event.Hash is
//
//	key     4 bytes   the id of the key, big-endian; 0: none, and SHA-256 takes the place of HMAC-SHA-256
//	actor  12 bytes   the tag of an Actor that begins with "client:"; zeros for any other
//	record 16 bytes   the tag of Before, After and Reason; zeros if all of them are empty
//	code   24 bytes   of the key's id, both tags, Owner, Seq, At, Actor, From, Action, Object and Prev
//
// Event.Prev is the Seq of the event before in the chain, in 8 bytes, and its Hash. The first event of a chain has
// none. Numbers between the two are of events that a program wrote which knows of no chain.

const (
	auditActorSize  = 12
	auditRecordSize = 16
	auditCodeSize   = 24
	auditHashSize   = 4 + auditActorSize + auditRecordSize + auditCodeSize
	auditLinkSize   = 8 + auditHashSize
)

// clientActor begins the Actor of an Assumed caller. Alone it is left of one that was erased.
const clientActor = "client:"

// auditHash is the Hash of an event of a chain.
type auditHash [auditHashSize]byte

func (h *auditHash) keyID() uint32  { return binary.BigEndian.Uint32(h[:4]) }
func (h *auditHash) actor() []byte  { return h[4 : 4+auditActorSize] }
func (h *auditHash) record() []byte { return h[4+auditActorSize:][:auditRecordSize] }
func (h *auditHash) code() []byte   { return h[4+auditActorSize+auditRecordSize:] }

// parseAuditHash returns false for what is no Hash of a chain.
func parseAuditHash(text []byte) (h auditHash, ok bool) {
	return h, copy(h[:], text) == auditHashSize && len(text) == auditHashSize
}

// auditLink is the Prev of the event that follows.
func auditLink(seq uint64, h *auditHash) []byte {
	return append(binary.BigEndian.AppendUint64(make([]byte, 0, auditLinkSize), seq), h[:]...)
}

// parseAuditLink returns false for what is no Prev of a chain, nil included.
func parseAuditLink(text []byte) (seq uint64, h []byte, ok bool) {
	if len(text) != auditLinkSize {
		return 0, nil, false
	}
	return binary.BigEndian.Uint64(text), text[8:], true
}

// auditDigester computes one code at a time. Every field has its length before it.
type auditDigester struct {
	code hash.Hash
	text []byte
}

// plainAudit is for chains without a key.
var plainAudit = sync.Pool{New: func() any { return &auditDigester{code: sha256.New()} }}

// newAuditPool returns digesters of a key.
func newAuditPool(key []byte) *sync.Pool {
	return &sync.Pool{New: func() any { return &auditDigester{code: hmac.New(sha256.New, key)} }}
}

func (d *auditDigester) begin(purpose string) {
	d.text = d.text[:0]
	d.field("latchkey 1 " + purpose)
}

func (d *auditDigester) field(text string) {
	d.text = append(binary.AppendUvarint(d.text, uint64(len(text))), text...)
}

func (d *auditDigester) bytes(text []byte) {
	d.text = append(binary.AppendUvarint(d.text, uint64(len(text))), text...)
}

func (d *auditDigester) number(n uint64) { d.text = binary.BigEndian.AppendUint64(d.text, n) }

// sum puts as much of the code into to as fits.
func (d *auditDigester) sum(to []byte) {
	d.code.Reset()
	d.code.Write(d.text) // never fails
	d.text = d.code.Sum(d.text[:0])
	copy(to, d.text)
	if cap(d.text) > 1<<16 { // records are small, but for a few
		d.text = nil
	}
}

// auditKey makes the codes of one key. The zero one needs no key.
type auditKey struct {
	id   uint32
	pool *sync.Pool
}

// auditKey returns the key of new events.
func (k *Keyring) auditKey() auditKey {
	if ring := k.ring(); len(ring) > 0 {
		return auditKey{ring[0].id, ring[0].audit}
	}
	return auditKey{pool: &plainAudit}
}

// auditKeyOf returns a key by its id, and false for one that the keyring lacks.
func (k *Keyring) auditKeyOf(id uint32) (auditKey, bool) {
	if id == 0 {
		return auditKey{pool: &plainAudit}, true
	}
	for _, key := range k.ring() {
		if key.id == id {
			return auditKey{id, key.audit}, true
		}
	}
	return auditKey{}, false
}

// tagActor computes the tag of an Actor. It is the same in every event of the owner, so that an erasure can name it.
func (k auditKey) tagActor(to []byte, owner, actor string) {
	clear(to)
	if !strings.HasPrefix(actor, clientActor) {
		return
	}
	d := k.pool.Get().(*auditDigester)
	d.begin("audit actor")
	d.field(owner)
	d.field(actor)
	d.sum(to)
	k.pool.Put(d)
}

// tagRecord computes the tag of what an event holds of a record.
func (k auditKey) tagRecord(to []byte, e *Event) {
	clear(to)
	if hasNoRecord(e) {
		return
	}
	d := k.pool.Get().(*auditDigester)
	d.begin("audit record")
	d.bytes(e.Before)
	d.bytes(e.After)
	d.field(e.Reason)
	d.sum(to)
	k.pool.Put(d)
}

func hasNoRecord(e *Event) bool { return len(e.Before)+len(e.After)+len(e.Reason) == 0 }

// sumEvent computes the code of an event whose tags are in h.
func (k auditKey) sumEvent(to []byte, e *Event, h *auditHash) {
	actor := e.Actor
	if strings.HasPrefix(actor, clientActor) {
		actor = clientActor // the rest is in its tag
	}
	d := k.pool.Get().(*auditDigester)
	d.begin("audit event")
	d.bytes(h[:len(h)-auditCodeSize])
	d.field(e.Owner)
	d.number(e.Seq)
	d.number(uint64(e.At.UnixMicro()))
	d.field(actor)
	d.field(e.From)
	d.field(e.Action)
	d.field(e.Object)
	d.bytes(e.Prev)
	d.sum(to)
	k.pool.Put(d)
}

// sealer returns the Write.Seal of events. The tags are computed here, before the transaction locks the owner.
func (k auditKey) sealer(owner string, events []Event) func(int, *Event, []byte) []byte {
	tagged := make([]auditHash, len(events))
	for i := range events {
		h, e := &tagged[i], &events[i]
		binary.BigEndian.PutUint32(h[:4], k.id)
		k.tagActor(h.actor(), owner, e.Actor)
		k.tagRecord(h.record(), e)
	}
	return func(i int, e *Event, head []byte) []byte {
		h := tagged[i]
		e.Prev = head // whatever it is: a wrong one is found, and must not keep anybody from a revocation
		k.sumEvent(h.code(), e, &h)
		next := auditLink(e.Seq, &h)
		e.Hash = next[8:]
		return next
	}
}

// auditState is what the Hash of one event says of it.
type auditState int

const (
	auditUnchained auditState = iota // it has none
	auditGenuine
	auditEdited
	auditUnknownKey
)

// auditVerdict is what one event says of itself, whatever is before and behind it.
type auditVerdict struct {
	state           auditState
	hash            auditHash
	recordErased    bool // the event held something of a record, and an erasure must name its Object
	actorErased     bool // an erasure must name the tag of the actor
	followed        uint64
	followedHash    []byte
	followsNothing  bool // it begins a chain
	followsNonsense bool // Prev is none
}

// judge verifies one event by its Hash.
func (k *Keyring) judge(e *Event) (v auditVerdict) {
	if len(e.Hash) == 0 && len(e.Prev) == 0 {
		return v
	}
	var ok bool
	if v.hash, ok = parseAuditHash(e.Hash); !ok {
		v.state = auditEdited
		return v
	}
	v.followsNothing = len(e.Prev) == 0
	v.followed, v.followedHash, ok = parseAuditLink(e.Prev)
	v.followsNonsense = !ok && !v.followsNothing
	key, ok := k.auditKeyOf(v.hash.keyID())
	if !ok {
		v.state = auditUnknownKey
		return v
	}
	v.state = auditEdited
	var want auditHash
	key.sumEvent(want.code(), e, &v.hash)
	if !hmac.Equal(want.code(), v.hash.code()) {
		return v
	}
	key.tagActor(want.actor(), e.Owner, e.Actor)
	key.tagRecord(want.record(), e)
	v.recordErased = hasNoRecord(e) && !bytes.Equal(want.record(), v.hash.record())
	v.actorErased = e.Actor == clientActor && !bytes.Equal(want.actor(), v.hash.actor())
	if (v.recordErased || hmac.Equal(want.record(), v.hash.record())) &&
		(v.actorErased || hmac.Equal(want.actor(), v.hash.actor())) {
		v.state = auditGenuine
	}
	return v
}

// vouches reports whether a verdict is that of an event which only a program with the keyring can have written. Without
// a keyring it is any that agrees with its hash.
func (k *Keyring) vouches(v *auditVerdict) bool {
	return v.state == auditGenuine && (v.hash.keyID() != 0 || len(k.ring()) == 0)
}

// erasedActor is the Object of the event that names an erased client, by the tag that the events have which it caused.
func erasedActor(keyID uint32, tag []byte) string {
	return clientActor + strconv.FormatUint(uint64(keyID), 10) + ":" + hex.EncodeToString(tag)
}

// AuditAnchor says what the last event of an owner's audit trail was at some time. Kept where whoever can write the
// database cannot, it shows later that the trail was not cut, and not written anew: see [Account.VerifyAudit].
//
// An anchor of [Account.AuditCheckpoint] or [Manager.Anchor] is signed under the Keyring, so that it may be kept in a
// place that others can write too. One of [Event.Anchor] is not, nor is any without a Keyring: it is worth what the
// place is worth that it was kept in. It holds no secret.
type AuditAnchor struct {
	Owner string
	Seq   uint64    // of the event
	Hash  []byte    // of the event: see Event.Hash
	At    time.Time // when it was signed; zero: it is not
	// KeyID is the key that signed. 0: it is not signed.
	KeyID     uint32
	Signature []byte
}

// Anchor returns an anchor of the event, for a receiver of [Manager.Deliver]. It is not signed. It returns false for an
// event outside the chain.
func (e Event) Anchor() (AuditAnchor, bool) {
	_, ok := parseAuditHash(e.Hash)
	if !ok {
		return AuditAnchor{}, false
	}
	return AuditAnchor{Owner: e.Owner, Seq: e.Seq, Hash: slices.Clone(e.Hash)}, true
}

// sum returns the signature of the anchor.
func (k auditKey) sumAnchor(a *AuditAnchor) []byte {
	out := make([]byte, sha256.Size)
	d := k.pool.Get().(*auditDigester)
	d.begin("audit anchor")
	d.number(uint64(k.id))
	d.field(a.Owner)
	d.number(a.Seq)
	d.number(uint64(a.At.UnixMicro()))
	d.bytes(a.Hash)
	d.sum(out)
	k.pool.Put(d)
	return out
}

// sign signs the anchor, if there is a key.
func (k *Keyring) sign(a *AuditAnchor, at time.Time) {
	if key := k.auditKey(); key.id != 0 {
		a.At, a.KeyID = at, key.id
		a.Signature = key.sumAnchor(a)
	}
}

// checkAnchor returns ErrInvalid for an anchor that is none, or whose signature is not of its key, and ErrNeedsKeyring
// for a key that the keyring lacks.
func (k *Keyring) checkAnchor(a *AuditAnchor) error {
	if _, ok := parseAuditHash(a.Hash); !ok || a.Seq == 0 {
		return fmt.Errorf("%w: an anchor of the audit trail names an event by its number and a hash of %d bytes", ErrInvalid,
			auditHashSize)
	}
	if a.KeyID == 0 {
		if len(a.Signature) > 0 {
			return fmt.Errorf("%w: an anchor of the audit trail is signed by no key", ErrInvalid)
		}
		return nil
	}
	key, ok := k.auditKeyOf(a.KeyID)
	if !ok {
		return fmt.Errorf("%w: the anchor of event %d was signed by key %d", ErrNeedsKeyring, a.Seq, a.KeyID)
	}
	if !hmac.Equal(key.sumAnchor(a), a.Signature) {
		return fmt.Errorf("%w: the anchor of event %d was altered after it was signed", ErrInvalid, a.Seq)
	}
	return nil
}

const anchorText = "latchkey-audit-1"

// String returns the anchor as one line: "latchkey-audit-1:<owner>:<seq>:<hash>:<µs since 1970>:<key>:<signature>",
// with the owner, the hash and the signature in base64url. Of an anchor that is not signed the last three are "0:0:".
// [ParseAuditAnchor] reads it.
func (a AuditAnchor) String() string {
	at := int64(0)
	if a.KeyID != 0 {
		at = a.At.UnixMicro()
	}
	encode := base64.RawURLEncoding.EncodeToString
	return strings.Join([]string{anchorText, encode([]byte(a.Owner)), strconv.FormatUint(a.Seq, 10), encode(a.Hash),
		strconv.FormatInt(at, 10), strconv.FormatUint(uint64(a.KeyID), 10), encode(a.Signature)}, ":")
}

// MarshalText returns what String does. So an anchor is a string in JSON.
func (a AuditAnchor) MarshalText() ([]byte, error) { return []byte(a.String()), nil }

// UnmarshalText is [ParseAuditAnchor].
func (a *AuditAnchor) UnmarshalText(text []byte) (err error) {
	*a, err = ParseAuditAnchor(string(text))
	return err
}

// ParseAuditAnchor reads what [AuditAnchor.String] returns, and nothing else. It does not check the signature, which
// [Account.VerifyAudit] does. Errors wrap [ErrInvalid].
func ParseAuditAnchor(text string) (AuditAnchor, error) {
	parts := strings.Split(text, ":")
	if len(text) > 1024 || len(parts) != 7 || parts[0] != anchorText {
		return AuditAnchor{}, errAnchor
	}
	decode := base64.RawURLEncoding.Strict().DecodeString
	owner, err1 := decode(parts[1])
	seq, err2 := strconv.ParseUint(parts[2], 10, 64)
	sum, err3 := decode(parts[3])
	at, err4 := strconv.ParseInt(parts[4], 10, 64)
	keyID, err5 := strconv.ParseUint(parts[5], 10, 32)
	signature, err6 := decode(parts[6])
	for _, err := range []error{err1, err2, err3, err4, err5, err6} {
		if err != nil {
			return AuditAnchor{}, errAnchor
		}
	}
	a := AuditAnchor{Owner: string(owner), Seq: seq, Hash: sum, KeyID: uint32(keyID)}
	if keyID != 0 {
		a.At, a.Signature = fromMicros(at), signature
	}
	if a.String() != text || checkText("owner", a.Owner, 1, 256) != nil || len(sum) != auditHashSize || seq == 0 ||
		keyID != 0 && len(signature) != sha256.Size {
		return AuditAnchor{}, errAnchor
	}
	return a, nil
}

var errAnchor = fmt.Errorf("%w: this is no anchor of an audit trail: it is one line that begins with %q", ErrInvalid,
	anchorText+":")
