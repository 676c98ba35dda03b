package latchkey

import (
	"bytes"
	"context"
	"crypto/cipher"
	"crypto/hkdf"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"encoding/binary"
	"errors"
	"fmt"
	"hash"
	"io"
	"log/slog"
	"slices"
	"strconv"
	"strings"
	"sync"

	"github.com/latchkey-go/latchkey/internal/compact"
	"github.com/latchkey-go/latchkey/internal/tokentext"
	"golang.org/x/crypto/chacha20poly1305"
)

const minKeySecret = 32 // bytes

// Key is one key of a [Keyring]. Printing or logging a Key, or encoding it as text or JSON, shows its ID alone. Its
// Secret field is plain bytes to a debugger, to gob and to test diffs. So keep a Key no longer than it takes to make a
// Keyring of it.
type Key struct {
	ID     uint32 // 1 or more; stored beside everything made with the key, so never reuse it for another key
	Secret []byte // 32 random bytes or more
}

// GenerateKey returns a key of 32 random bytes. Nil rand: crypto/rand. It returns ErrInvalid for an id of 0, and an
// error if rand fails or repeats itself.
func GenerateKey(rand io.Reader, id uint32) (Key, error) {
	if id == 0 {
		return Key{}, fmt.Errorf("%w: a key's id is 1 or more", ErrInvalid)
	}
	key := Key{ID: id, Secret: make([]byte, minKeySecret)}
	if err := tokentext.ReadRandom(rand, key.Secret); err != nil {
		return Key{}, err
	}
	return key, nil
}

// String returns the id and "[redacted]", as every other way to print or encode a Key does.
func (k Key) String() string { return "key " + strconv.FormatUint(uint64(k.ID), 10) + " " + redacted }

// GoString returns what String does.
func (k Key) GoString() string { return k.String() }

// Format writes what String returns, whatever the verb.
func (k Key) Format(f fmt.State, _ rune) { _, _ = io.WriteString(f, k.String()) }

// MarshalJSON returns what String does, as a JSON string.
func (k Key) MarshalJSON() ([]byte, error) { return []byte(`"` + k.String() + `"`), nil }

// MarshalText returns what String does.
func (k Key) MarshalText() ([]byte, error) { return []byte(k.String()), nil }

// LogValue returns what String does.
func (k Key) LogValue() slog.Value { return slog.StringValue(k.String()) }

// Keyring holds the keys that digest and seal secrets, and that the texts of stateless tokens are encrypted with. New
// secrets are made with the current key. Retired keys still find and open what was made with them. To rotate, put a new
// key in front. Drop the old key when nothing names it any more. What a dropped key digested is no longer found, and
// what it sealed no longer opens. A stateless token is refused from then on. No record names the key of one, so keep an
// old key for [MaxStateless] after the last process had it in front.
//
// A Keyring is immutable and safe for concurrent use. Printing, logging, encoding and test diffs show "[redacted]".
// Make one with [NewKeyring], [ParseKeyring] or [UnwrapKeyring].
type Keyring struct {
	f func() []*ringKey // current first; a func for the same reason as in Secret
}

// ringKey is a key with its subkeys, derived by HKDF (RFC 5869). Each purpose has a subkey of its own, so that the uses
// of a key are independent.
type ringKey struct {
	id     uint32
	secret []byte
	seal   []byte
	text   cipher.AEAD // of the texts of stateless tokens
	macs   sync.Pool   // of *digester
	audit  *sync.Pool  // of *auditDigester
}

type digester struct {
	mac hash.Hash
	out [sha256.Size]byte // here, because an interface call would make one on the stack escape
}

// NewKeyring returns a keyring. It returns ErrInvalid if an id is 0 or is used twice, or if a secret is shorter than 32
// bytes or is used twice. The secrets are copied.
func NewKeyring(current Key, retired ...Key) (*Keyring, error) {
	var ring []*ringKey
	for i, key := range slices.Concat([]Key{current}, retired) {
		switch {
		case key.ID == 0:
			return nil, fmt.Errorf("%w: key number %d has the id 0: ids are 1 or more", ErrInvalid, i+1)
		case len(key.Secret) < minKeySecret:
			return nil, fmt.Errorf("%w: the secret of key %d is shorter than %d bytes", ErrInvalid, key.ID, minKeySecret)
		}
		for _, other := range ring {
			if other.id == key.ID {
				return nil, fmt.Errorf("%w: the key id %d is used twice", ErrInvalid, key.ID)
			}
			if string(other.secret) == string(key.Secret) {
				return nil, fmt.Errorf("%w: keys %d and %d have the same secret", ErrInvalid, other.id, key.ID)
			}
		}
		k, err := newRingKey(key)
		if err != nil {
			return nil, err
		}
		ring = append(ring, k)
	}
	return &Keyring{func() []*ringKey { return ring }}, nil
}

func newRingKey(key Key) (*ringKey, error) {
	var errs []error
	subkey := func(purpose string) []byte {
		k, err := hkdf.Key(sha256.New, key.Secret, nil, "latchkey 1 "+purpose, 32)
		errs = append(errs, err)
		return k
	}
	digestKey, sealKey, auditKey := subkey("digest"), subkey("seal"), subkey("audit")
	text, err := chacha20poly1305.NewX(subkey("stateless"))
	if err := errors.Join(append(errs, err)...); err != nil {
		return nil, fmt.Errorf("latchkey: deriving a key: %w", err)
	}
	k := &ringKey{id: key.ID, secret: slices.Clone(key.Secret), seal: sealKey, text: text, audit: newAuditPool(auditKey)}
	k.macs.New = func() any { return &digester{mac: hmac.New(sha256.New, digestKey)} }
	return k, nil
}

const keyLine = "latchkey-key-1"

// ParseKeyring reads what [Keyring.Export] writes: one line "latchkey-key-1:<id>:<secret in base64>" per key, the
// current key first. Space around lines, empty lines and lines that begin with "#" are ignored. Errors wrap ErrInvalid
// and name the number of the line, never its content.
func ParseKeyring(text string) (*Keyring, error) {
	keys, err := readKeys(text, keyLine)
	if err != nil {
		return nil, err
	}
	return NewKeyring(keys[0], keys[1:]...)
}

// readKeys reads lines of a form, at least one.
func readKeys(text, form string) (keys []Key, err error) {
	n := 0
	for line := range strings.Lines(text) {
		n++
		line = strings.TrimSpace(line)
		if line == "" || line[0] == '#' {
			continue
		}
		key, ok := parseKey(line, form)
		if !ok {
			return nil, fmt.Errorf("%w: line %d of the keyring is not %q", ErrInvalid, n, form+":<id>:<base64>")
		}
		keys = append(keys, key)
	}
	if len(keys) == 0 {
		return nil, fmt.Errorf("%w: the keyring has no key", ErrInvalid)
	}
	return keys, nil
}

func parseKey(line, want string) (Key, bool) {
	form, rest, _ := strings.Cut(line, ":")
	number, text, ok := strings.Cut(rest, ":")
	if !ok || form != want {
		return Key{}, false
	}
	id, err := strconv.ParseUint(number, 10, 32)
	if err != nil || strconv.FormatUint(id, 10) != number {
		return Key{}, false
	}
	secret, err := base64.StdEncoding.Strict().DecodeString(text)
	if err != nil {
		return Key{}, false
	}
	return Key{ID: uint32(id), Secret: secret}, true
}

// Export returns the keys as a text for a secret manager, or for a file that only the host can read. [ParseKeyring]
// reads it.
func (k *Keyring) Export() Secret {
	var b strings.Builder
	for _, key := range k.ring() {
		fmt.Fprintf(&b, "%s:%d:%s\n", keyLine, key.id, base64.StdEncoding.EncodeToString(key.secret))
	}
	return newSecret(b.String())
}

// IDs returns the ids of the keys, current first. They are no secret. A nil Keyring has none.
func (k *Keyring) IDs() []uint32 {
	var ids []uint32
	for _, key := range k.ring() {
		ids = append(ids, key.id)
	}
	return ids
}

const wrappedLine = "latchkey-wrapped-1"

// Wrap is Export with each key wrapped, by a key management service say: what it returns is useless without that
// service. The function gets the id and the secret of a key, and must not keep the secret. An error of it is returned
// with the id. [UnwrapKeyring] reads the text.
func (k *Keyring) Wrap(ctx context.Context,
	wrap func(ctx context.Context, id uint32, secret []byte) ([]byte, error)) (string, error) {
	var b strings.Builder
	for _, key := range k.ring() {
		wrapped, err := wrap(ctx, key.id, slices.Clone(key.secret))
		if err == nil && (len(wrapped) == 0 || bytes.Contains(wrapped, key.secret)) {
			err = fmt.Errorf("%w: the result holds the key as it is, or nothing", ErrInvalid)
		}
		if err != nil {
			return "", fmt.Errorf("latchkey: key %d was not wrapped: %w", key.id, err)
		}
		fmt.Fprintf(&b, "%s:%d:%s\n", wrappedLine, key.id, base64.StdEncoding.EncodeToString(wrapped))
	}
	return b.String(), nil
}

// UnwrapKeyring reads what [Keyring.Wrap] returns. It calls unwrap with each key, once and in order: call it at the
// start of the program, because every later use of the keyring needs no service. Lines are read as by [ParseKeyring]. A
// line that holds a key as it is, is ErrInvalid. An error of unwrap is returned with the id of the key.
func UnwrapKeyring(ctx context.Context, text string,
	unwrap func(ctx context.Context, id uint32, wrapped []byte) ([]byte, error)) (*Keyring, error) {
	keys, err := readKeys(text, wrappedLine)
	if err != nil {
		return nil, err
	}
	for i, key := range keys {
		if keys[i].Secret, err = unwrap(ctx, key.ID, key.Secret); err != nil {
			return nil, fmt.Errorf("latchkey: key %d was not unwrapped: %w", key.ID, err)
		}
	}
	return NewKeyring(keys[0], keys[1:]...)
}

// String returns "[redacted]", as every other way to print or encode a Keyring does.
func (k *Keyring) String() string { return redacted }

// GoString returns "[redacted]".
func (k *Keyring) GoString() string { return redacted }

// Format writes "[redacted]", whatever the verb.
func (k *Keyring) Format(f fmt.State, _ rune) { _, _ = io.WriteString(f, redacted) }

// MarshalJSON returns "[redacted]" as a JSON string.
func (k *Keyring) MarshalJSON() ([]byte, error) { return []byte(`"` + redacted + `"`), nil }

// MarshalText returns "[redacted]".
func (k *Keyring) MarshalText() ([]byte, error) { return []byte(redacted), nil }

// LogValue returns "[redacted]".
func (k *Keyring) LogValue() slog.Value { return slog.StringValue(redacted) }

// ring returns the keys, current first. A nil or zero Keyring has none.
func (k *Keyring) ring() []*ringKey {
	if k == nil || k.f == nil {
		return nil
	}
	return k.f()
}

// digest returns the digest under which a new secret is stored, and the id of the key that made it. The digest is
// HMAC-SHA-256 by the current key; without a keyring it is plain SHA-256, and the id is 0. digest does not allocate.
func (k *Keyring) digest(text string) (d [32]byte, keyID uint32) {
	ring := k.ring()
	if len(ring) == 0 {
		return tokentext.Digest(text), 0
	}
	return ring[0].digest(text), ring[0].id
}

// digests returns the digests that a text has under the keys, current first. A secret that was verified has one of
// them, unless it could not be stored under the current key.
func (k *Keyring) digests(text string) [][32]byte {
	ring := k.ring()
	if len(ring) == 0 {
		return [][32]byte{tokentext.Digest(text)}
	}
	all := make([][32]byte, len(ring))
	for i, key := range ring {
		all[i] = key.digest(text)
	}
	return all
}

// candidates returns every digest under which a text may be stored. The current key's is first, then those of the
// retired keys. The plain digest, from before there was a keyring, is last.
func (k *Keyring) candidates(text string) [][32]byte {
	ring := k.ring()
	all := make([][32]byte, 0, len(ring)+1)
	for _, key := range ring {
		all = append(all, key.digest(text))
	}
	return append(all, tokentext.Digest(text))
}

func (k *ringKey) digest(text string) [32]byte {
	d := k.macs.Get().(*digester)
	d.mac.Reset()
	d.mac.Write(tokentext.Bytes(text)) // never fails
	d.mac.Sum(d.out[:0])
	out := d.out
	k.macs.Put(d)
	return out
}

// sealData names the record that a sealed value belongs to. The value opens for that record only.
type sealData struct {
	purpose string // the column, and what the value is for
	owner   string
	tokenID string
}

// bytes returns the additional data. Lengths stand before their texts, so no two sealData have the same bytes.
func (ad sealData) bytes(keyID uint32) []byte {
	b := make([]byte, 0, 128)
	for _, s := range []string{"latchkey 1 seal", ad.purpose, ad.owner, ad.tokenID} {
		b = binary.BigEndian.AppendUint64(b, uint64(len(s)))
		b = append(b, s...)
	}
	return binary.BigEndian.AppendUint32(b, keyID)
}

// seal encrypts plain with the current key (XChaCha20-Poly1305) for the record that ad names, and returns the key's id.
// The nonce is random: 192 bits do not repeat in practice, while 96 bits could. Nil rand: crypto/rand. It returns an
// error if rand fails or repeats itself, and ErrNeedsKeyring without a keyring.
func (k *Keyring) seal(rand io.Reader, plain []byte, ad sealData) (sealed []byte, keyID uint32, err error) {
	ring := k.ring()
	if len(ring) == 0 {
		return nil, 0, ErrNeedsKeyring
	}
	key := ring[0]
	aead, err := chacha20poly1305.NewX(key.seal)
	if err != nil {
		return nil, 0, fmt.Errorf("latchkey: sealing: %w", err)
	}
	nonce := make([]byte, aead.NonceSize(), aead.NonceSize()+len(plain)+aead.Overhead())
	if err := tokentext.ReadRandom(rand, nonce); err != nil {
		return nil, 0, err
	}
	return aead.Seal(nonce, nonce, plain, ad.bytes(key.id)), key.id, nil
}

var errSealed = errors.New("latchkey: a sealed value does not open: it was altered, or belongs to another record")

// open decrypts what seal returned. If the key is not on the ring, the error wraps ErrNeedsKeyring and names the key's
// id.
func (k *Keyring) open(sealed []byte, keyID uint32, ad sealData) ([]byte, error) {
	ring := k.ring()
	i := slices.IndexFunc(ring, func(key *ringKey) bool { return key.id == keyID })
	if i < 0 {
		return nil, fmt.Errorf("%w: it needs key %d", ErrNeedsKeyring, keyID)
	}
	aead, err := chacha20poly1305.NewX(ring[i].seal)
	if err != nil {
		return nil, fmt.Errorf("latchkey: opening: %w", err)
	}
	if len(sealed) < aead.NonceSize() {
		return nil, errSealed
	}
	plain, err := aead.Open(nil, sealed[:aead.NonceSize()], sealed[aead.NonceSize():], ad.bytes(keyID))
	if err != nil {
		return nil, errSealed
	}
	return plain, nil
}

// textNonceSize is the length of the nonce of a stateless token's text.
const textNonceSize = chacha20poly1305.NonceSizeX

// textWork is the memory in which a text is sealed or opened. What an AEAD is given through its interface cannot lie on
// the stack.
type textWork struct {
	body  [tokentext.MaxSealed]byte
	data  [64]byte
	nonce [textNonceSize]byte
}

var textWorks = sync.Pool{New: func() any { return new(textWork) }}

// done gives the memory back, without what was in plain. Used is how many bytes of the body were written.
func (w *textWork) done(used int) {
	clear(w.body[:min(used, len(w.body))])
	textWorks.Put(w)
}

// textData returns the additional data of a stateless token's text: its head, and the id of the key.
func (w *textWork) textData(head string, keyID []byte) []byte {
	b := append(append(w.data[:0], "latchkey 1 stateless "...), head...)
	return append(b, keyID...)
}

// sealText returns a text that holds plain, encrypted with the current key (XChaCha20-Poly1305): see tokentext.Seal. A
// nonce is used once. It returns ErrNeedsKeyring without a keyring.
//
// The body is the id of the key, the nonce and the ciphertext.
func (k *Keyring) sealText(head string, nonce *[textNonceSize]byte, plain []byte) (string, error) {
	ring := k.ring()
	if len(ring) == 0 {
		return "", ErrNeedsKeyring
	}
	w := textWorks.Get().(*textWork)
	w.nonce = *nonce
	body := compact.AppendUint(w.body[:0], uint64(ring[0].id))
	data := w.textData(head, body)
	body = append(append(body, nonce[:]...), plain...)
	at := len(body) - len(plain)
	body = ring[0].text.Seal(body[:at], w.nonce[:], body[at:], data)
	text := tokentext.Seal(head, body)
	w.done(len(body))
	return text, nil
}

// openText returns what sealText encrypted in a text whose shape is tokentext.Sealed. It returns false for a text that
// was altered or made by somebody else, and for one of a key that is not on the ring. It allocates no more than the
// text is long.
func (k *Keyring) openText(text string) (plain string, nonce [textNonceSize]byte, ok bool) {
	w := textWorks.Get().(*textWork)
	head, body := tokentext.UnsealRead(w.body[:0], text)
	defer w.done(len(body))
	id, n := binary.Uvarint(body)
	ring := k.ring()
	i := slices.IndexFunc(ring, func(key *ringKey) bool { return uint64(key.id) == id }) // none if n <= 0: no id is 0
	if i < 0 || len(body) < n+len(nonce) {
		return "", nonce, false
	}
	copy(w.nonce[:], body[n:])
	sealed := body[n+len(nonce):]
	out, err := ring[i].text.Open(sealed[:0], w.nonce[:], sealed, w.textData(head, body[:n]))
	if err != nil {
		return "", nonce, false
	}
	return string(out), w.nonce, true
}
