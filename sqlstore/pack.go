package sqlstore

import (
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"sync"
	"time"

	"github.com/latchkey-go/latchkey"
	"github.com/latchkey-go/latchkey/internal/strictjson"
)

// A token is stored as one value, its record. Each of its secrets is stored with a copy of the record, in the column
// latchkey_secrets.found. So a presented secret is found by reading one row, and the driver passes one value instead of
// thirty:
//
//	record  format, numbers, flags, times, texts, and the body as JSON
//	found   the last use (8 bytes), the digest (32), the secret (all of this is head bytes long), and the record
//
// The last use is not part of the record: it changes without the token, and stands where a statement can replace it.
// Every transaction that changes a token or a secret changes the copies too, and locks the token's row first. The other
// columns repeat fields of the record for the statements that search: listings, Purge, preconditions, and the search
// for ancestors.

const (
	packedFormat  = 1 // of records and secrets; any other format is refused
	damagedFormat = 0 // begins a record that is known to be damaged
	usedSize      = 8
	digestSize    = 32
)

// packedUsed returns the last use as bytes that sort as the times do. The zero time sorts first.
func packedUsed(t time.Time) []byte {
	var b [usedSize]byte
	if !t.IsZero() {
		binary.BigEndian.PutUint64(b[:], uint64(t.UnixMicro())^1<<63)
	}
	return b[:]
}

// Flags: which optional values are present.
const (
	tokenTest = 1 << iota
	tokenDisabled
	tokenCreated
	tokenNotBefore
	tokenNotAfter
	tokenRevoked
	tokenExtra
	tokenFlags = 1<<iota - 1
)

// tokenBody holds nested values, as JSON.
type tokenBody struct {
	Roles        []string              `json:"roles,omitempty"`
	RoleEnds     map[string]time.Time  `json:"role_ends,omitempty"`
	Permissions  latchkey.Permissions  `json:"permissions,omitempty"`
	Restrictions latchkey.Restrictions `json:"restrictions,omitzero"`
	Limits       latchkey.Limits       `json:"limits,omitzero"`
	Full         bool                  `json:"full,omitempty"`
	Rows         []latchkey.Condition  `json:"rows,omitempty"`
	Forced       latchkey.Values       `json:"forced,omitempty"`

	Attributes      latchkey.Attributes `json:"attributes,omitempty"`
	ChildAttributes []string            `json:"child_attributes,omitempty"`
}

// packToken returns the record of t as it is after the write, with the next version.
func packToken(t *latchkey.Token) ([]byte, error) {
	body, err := json.Marshal(tokenBody{t.Roles, t.RoleEnds, t.Permissions, t.Restrictions, t.Limits, t.Full, t.Rows,
		t.Forced, t.Attributes, t.ChildAttributes})
	if err != nil {
		return nil, err
	}
	times := [...]struct {
		flag byte
		time time.Time
	}{{tokenCreated, t.Created}, {tokenNotBefore, t.Validity.NotBefore}, {tokenNotAfter, t.Validity.NotAfter},
		{tokenRevoked, t.Revoked}}
	var flags byte
	if t.Test {
		flags |= tokenTest
	}
	if t.Disabled {
		flags |= tokenDisabled
	}
	if t.Extra != nil {
		flags |= tokenExtra
	}
	for _, at := range times {
		if !at.time.IsZero() {
			flags |= at.flag
		}
	}
	b := make([]byte, 0, 192+len(t.Name)+len(t.Extra)+len(body))
	b = append(b, packedFormat, byte(t.Kind), t.Depth, flags)
	b = binary.AppendUvarint(b, t.Version+1)
	for _, at := range times {
		if !at.time.IsZero() {
			b = binary.AppendVarint(b, at.time.UnixMicro())
		}
	}
	b = binary.AppendVarint(b, int64(t.Validity.Idle))
	for _, text := range [...]string{t.Owner, t.ID, t.Parent, t.Origin, t.Name, t.Client.ID, t.Client.Name, t.Reason,
		t.Hint, t.Public} {
		b = appendText(b, text)
	}
	if t.Extra != nil {
		b = appendText(b, t.Extra)
	}
	return append(b, body...), nil
}

const (
	secretSigning = 1 << iota
	secretSealed
	secretCreated
	secretNotAfter
	secretFlags = 1<<iota - 1
)

// packSecret returns the part of found before the record.
func packSecret(used []byte, s *latchkey.SecretRecord) []byte {
	var flags byte
	if s.Signing {
		flags |= secretSigning
	}
	if s.Sealed != nil {
		flags |= secretSealed
	}
	if !s.Created.IsZero() {
		flags |= secretCreated
	}
	if !s.NotAfter.IsZero() {
		flags |= secretNotAfter
	}
	b := make([]byte, 0, usedSize+digestSize+32+len(s.Hint)+len(s.Sealed))
	b = append(append(b, used...), s.Digest[:]...)
	b = binary.AppendUvarint(append(b, packedFormat, flags), uint64(s.KeyID))
	if !s.Created.IsZero() {
		b = binary.AppendVarint(b, s.Created.UnixMicro())
	}
	if !s.NotAfter.IsZero() {
		b = binary.AppendVarint(b, s.NotAfter.UnixMicro())
	}
	b = appendText(b, s.Hint)
	if s.Sealed != nil {
		b = appendText(b, s.Sealed)
	}
	return b
}

func appendText[T ~string | ~[]byte](b []byte, text T) []byte {
	return append(binary.AppendUvarint(b, uint64(len(text))), text...)
}

var errUnreadable = errors.New("it is truncated, damaged, or was written by another version")

// unpackFound reads all of found. On error it returns the zero Found.
func unpackFound(found string) (f latchkey.Found, err error) {
	used, record, err := unpackSecret(found, &f.Secret)
	if err == nil {
		f.Token, err = unpackToken(record, used)
	}
	if err != nil {
		return latchkey.Found{}, err
	}
	return f, nil
}

// unpackSecret reads the secret into s, and returns the last use and the record.
func unpackSecret(found string, s *latchkey.SecretRecord) (used time.Time, record string, err error) {
	u := unpacker{rest: found}
	if at := u.take(usedSize); len(at) == usedSize && at != string(make([]byte, usedSize)) {
		used = time.UnixMicro(int64(binary.BigEndian.Uint64([]byte(at)) ^ 1<<63)).UTC()
	}
	copy(s.Digest[:], u.take(digestSize))
	format, flags, key := u.byte(), u.byte(), u.uvarint()
	s.KeyID, s.Signing = uint32(key), flags&secretSigning != 0
	s.Created, s.NotAfter = u.time(flags&secretCreated != 0), u.time(flags&secretNotAfter != 0)
	s.Hint = u.text()
	if flags&secretSealed != 0 {
		s.Sealed = []byte(u.text())
	}
	if u.bad || format != packedFormat || flags > secretFlags || key > 1<<32-1 {
		return time.Time{}, "", fmt.Errorf("a stored secret cannot be read: %w", errUnreadable)
	}
	return used, u.rest, nil
}

// unpackToken reads a record. The result may share the memory of record.
func unpackToken(record string, used time.Time) (t latchkey.Token, err error) {
	u := unpacker{rest: record}
	format, kind, depth, flags := u.byte(), u.byte(), u.byte(), u.byte()
	t.Kind, t.Depth, t.Version, t.Used = latchkey.Kind(kind), depth, u.uvarint(), used
	t.Test, t.Disabled = flags&tokenTest != 0, flags&tokenDisabled != 0
	t.Created = u.time(flags&tokenCreated != 0)
	t.Validity.NotBefore, t.Validity.NotAfter = u.time(flags&tokenNotBefore != 0), u.time(flags&tokenNotAfter != 0)
	t.Revoked = u.time(flags&tokenRevoked != 0)
	t.Validity.Idle = time.Duration(u.varint())
	for _, text := range [...]*string{&t.Owner, &t.ID, &t.Parent, &t.Origin, &t.Name, &t.Client.ID, &t.Client.Name,
		&t.Reason, &t.Hint, &t.Public} {
		*text = u.text()
	}
	if flags&tokenExtra != 0 {
		t.Extra = json.RawMessage(u.text())
	}
	var body tokenBody
	if u.bad || format != packedFormat || flags > tokenFlags || t.Version == 0 {
		err = errUnreadable
	} else {
		body, err = tokenBodies.decode(u.rest)
	}
	if err != nil {
		return latchkey.Token{}, fmt.Errorf("a stored token cannot be read: %w", err)
	}
	t.Roles, t.Permissions, t.Restrictions, t.Limits = body.Roles, body.Permissions, body.Restrictions, body.Limits
	t.RoleEnds, t.Full, t.Rows, t.Forced = body.RoleEnds, body.Full, body.Rows, body.Forced
	t.Attributes, t.ChildAttributes = body.Attributes, body.ChildAttributes
	return t, nil
}

// unpacker reads from the start of rest. After the first missing value, every read returns zero and bad is true.
type unpacker struct {
	rest string
	bad  bool
}

func (u *unpacker) take(n uint64) (part string) {
	if u.bad = u.bad || n > uint64(len(u.rest)); !u.bad {
		part, u.rest = u.rest[:n], u.rest[n:]
	}
	return part
}

func (u *unpacker) byte() byte {
	if part := u.take(1); part != "" {
		return part[0]
	}
	return 0
}

func (u *unpacker) uvarint() (n uint64) {
	for shift := 0; shift < 64; shift += 7 {
		b := u.byte()
		if shift == 63 && b > 1 {
			break
		}
		n |= uint64(b&0x7f) << shift
		if b < 0x80 {
			return n
		}
	}
	u.bad = true
	return 0
}

func (u *unpacker) varint() int64 {
	n := u.uvarint()
	return int64(n>>1) ^ -int64(n&1)
}

func (u *unpacker) text() string { return u.take(u.uvarint()) }

func (u *unpacker) time(present bool) time.Time {
	if !present {
		return time.Time{}
	}
	return time.UnixMicro(u.varint()).UTC()
}

// tokenBodies caches decoded bodies of tokens, because many tokens have the same one. A text always decodes to the same
// body.
var tokenBodies = bodyCache{decoded: map[string]tokenBody{}}

type bodyCache struct {
	mu      sync.RWMutex
	decoded map[string]tokenBody
}

const (
	maxBodies  = 1024
	longBody   = 1024 // bytes: longer ones are rarely the same
	emptyToken = `{}`
)

func (m *bodyCache) decode(text string) (body tokenBody, err error) {
	if text == emptyToken {
		return body, nil
	}
	m.mu.RLock()
	body, ok := m.decoded[text]
	m.mu.RUnlock()
	if !ok {
		if err := strictjson.Unmarshal([]byte(text), &body); err != nil {
			return tokenBody{}, err
		}
		if len(text) > longBody {
			return body, nil
		}
		m.mu.Lock()
		if len(m.decoded) >= maxBodies {
			clear(m.decoded)
		}
		m.decoded[strings.Clone(text)] = body // cloned: text shares the memory of a longer one
		m.mu.Unlock()
	}
	return body.clone(), nil
}

// clone returns a copy that shares nothing mutable.
func (b tokenBody) clone() tokenBody {
	var t latchkey.Token
	t.Roles, t.Permissions, t.Restrictions, t.Rows, t.Forced = b.Roles, b.Permissions, b.Restrictions, b.Rows, b.Forced
	t.RoleEnds = b.RoleEnds
	t.Attributes, t.ChildAttributes = b.Attributes, b.ChildAttributes
	t = t.Clone()
	b.RoleEnds = t.RoleEnds
	b.Roles, b.Permissions, b.Restrictions, b.Rows, b.Forced = t.Roles, t.Permissions, t.Restrictions, t.Rows, t.Forced
	b.Attributes, b.ChildAttributes = t.Attributes, t.ChildAttributes
	return b
}
