package latchkey

import (
	"bytes"
	"crypto/rand"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"log/slog"
	"strings"
	"unsafe"

	"github.com/latchkey-go/latchkey/internal/base62"
)

const redacted = "[redacted]"

// Secret is a text that was just made or revealed. It holds a func, so that no printing, logging, encoding or test diff
// can show the text: they show "[redacted]". The zero Secret is an empty text. Safe for concurrent use.
type Secret struct{ f func() string }

func newSecret(text string) Secret { return Secret{func() string { return text }} }

// Reveal returns the text. The zero Secret reveals "".
func (s Secret) Reveal() string {
	if s.f == nil {
		return ""
	}
	return s.f()
}

// String returns "[redacted]", as every other way to print or encode a Secret does.
func (s Secret) String() string { return redacted }

// GoString returns "[redacted]".
func (s Secret) GoString() string { return redacted }

// Format writes "[redacted]", whatever the verb.
func (s Secret) Format(f fmt.State, _ rune) { _, _ = io.WriteString(f, redacted) }

// MarshalJSON returns "[redacted]" as a JSON string.
func (s Secret) MarshalJSON() ([]byte, error) { return []byte(`"` + redacted + `"`), nil }

// MarshalText returns "[redacted]".
func (s Secret) MarshalText() ([]byte, error) { return []byte(redacted), nil }

// LogValue returns "[redacted]".
func (s Secret) LogValue() slog.Value { return slog.StringValue(redacted) }

// The text form of a token:
//
//	<prefix>_[<mark>_]<34 random characters><6 characters of CRC-32>
//
// prefix   sk pk ak at ss, or Tsk Tpk
// mark     an organisation's own: 1 to 8 of [a-z0-9]
// random   base62, each character uniform: 202 bits
// CRC-32   IEEE, over all that stands before it, in base62. It tells junk and typing errors from tokens without
// asking a store. It is no authentication: anybody can compute it.
//
// At most 53 bytes, so that one SHA-256 block holds it.
const (
	randomChars = 34
	bodyChars   = randomChars + base62.Width32
	maxMark     = 8
	maxText     = len("Tsk_") + maxMark + len("_") + bodyChars
)

func textPrefix(kind Kind, test bool) string {
	switch kind {
	case KindSecret:
		if test {
			return "Tsk_"
		}
		return "sk_"
	case KindPublishable:
		if test {
			return "Tpk_"
		}
		return "pk_"
	case KindAPIKey:
		return "ak_"
	case KindAccess:
		return "at_"
	case KindSession:
		return "ss_"
	}
	return ""
}

// newText makes the text of a new token. A nil rand is crypto/rand. test alters the prefix of KindSecret and
// KindPublishable only. A reader that fails or repeats itself is an error, never a text.
func newText(rand io.Reader, kind Kind, test bool, mark string) (string, error) {
	prefix := textPrefix(kind, test)
	if prefix == "" {
		return "", fmt.Errorf("%w: unknown kind %d", ErrInvalid, kind)
	}
	if mark != "" && !validMark(mark) {
		return "", fmt.Errorf("%w: a prefix mark is 1 to %d of [a-z0-9]", ErrInvalid, maxMark)
	}
	text := make([]byte, 0, maxText)
	text = append(text, prefix...)
	if mark != "" {
		text = append(append(text, mark...), '_')
	}
	start := len(text)
	text = text[:start+randomChars]
	for left := text[start:]; len(left) > 0; {
		// 48 bytes nearly always hold 34 usable ones (31 of 32 are). All bytes left over are thrown away.
		var buf [48]byte
		if err := readRandom(rand, buf[:]); err != nil {
			return "", err
		}
		n := base62.Fill(left, buf[:])
		if n == 0 {
			return "", errRandom
		}
		left = left[n:]
	}
	return string(base62.AppendUint32(text, crc32.ChecksumIEEE(text))), nil
}

var errRandom = errors.New("latchkey: the source of randomness is stuck")

// readRandom fills buf, which has an even length of 16 bytes or more, or fails. Both halves of it being equal is the
// mark of a source that is stuck: chance needs 2^64 tries for it at the least.
func readRandom(r io.Reader, buf []byte) error {
	if r == nil {
		r = rand.Reader
	}
	for n, idle := 0, 0; n < len(buf); {
		m, err := r.Read(buf[n:])
		if m < 0 || m > len(buf)-n {
			return errRandom
		}
		n += m
		if err != nil && n < len(buf) {
			if err == io.EOF {
				err = io.ErrUnexpectedEOF
			}
			return fmt.Errorf("latchkey: reading randomness: %w", err)
		}
		if m > 0 {
			idle = 0
		} else if idle++; idle > 100 { // io.ReadFull would wait for ever
			return errRandom
		}
	}
	if half := len(buf) / 2; string(buf[:half]) == string(buf[half:]) {
		return errRandom
	}
	return nil
}

func validMark(mark string) bool {
	if len(mark) < 1 || len(mark) > maxMark {
		return false
	}
	for i := range len(mark) {
		if c := mark[i]; (c < 'a' || c > 'z') && (c < '0' || c > '9') {
			return false
		}
	}
	return true
}

// shape is what a presented text looks like.
type shape uint8

const (
	shapeForeign  shape = iota // not ours by its looks: only Options.Imported may claim it
	shapeNative                // ours, and the check is right. Says nothing about who made it.
	shapeBroken                // looks like ours, but the check is wrong: refused without asking anything
	shapeReserved              // "at_" and any other form: kept for sealed tokens
)

// parseText says of which kind a text of native shape with a right check is. It does not allocate.
func parseText(text string) (kind Kind, ok bool) {
	kind, sh := readText(text)
	return kind, sh == shapeNative
}

// nativeShape says what text looks like. A text looks native when it is a known prefix, "_", perhaps 1 to 8 of [a-z0-9]
// and "_", and then exactly 40 base62 characters. Such a text is never looked for under another shape: when its check
// is wrong, it is broken. Any mark will do, so that tokens outlive a change of Options.Prefix.
func nativeShape(text string) shape {
	_, sh := readText(text)
	return sh
}

func readText(text string) (kind Kind, sh shape) {
	kind, n := readPrefix(text)
	if kind == 0 {
		return 0, shapeForeign
	}
	sh = shapeForeign
	if kind == KindAccess {
		sh = shapeReserved
	}
	body := len(text) - bodyChars
	switch {
	case body == n:
	case body > n && body <= n+maxMark+1 && text[body-1] == '_' && validMark(text[n:body-1]):
	default:
		return 0, sh
	}
	if !base62.Valid(text[body:]) {
		return 0, sh
	}
	check := len(text) - base62.Width32
	if !base62.IsUint32(text[check:], crc32.ChecksumIEEE(bytesOf(text[:check]))) {
		return 0, shapeBroken
	}
	return kind, shapeNative
}

// readPrefix returns the kind that text's prefix names and the length of the prefix, or zeros.
func readPrefix(text string) (Kind, int) {
	if len(text) < bodyChars && !strings.HasPrefix(text, "at_") { // too short for anything but reserved
		return 0, 0
	}
	switch text[:3] {
	case "sk_":
		return KindSecret, 3
	case "pk_":
		return KindPublishable, 3
	case "ak_":
		return KindAPIKey, 3
	case "at_":
		return KindAccess, 3
	case "ss_":
		return KindSession, 3
	}
	if text[0] == 'T' {
		switch text[1:4] {
		case "sk_":
			return KindSecret, 4
		case "pk_":
			return KindPublishable, 4
		}
	}
	return 0, 0
}

// hint is what people are shown of a text: its first 5 and last 3 characters. Of a text under 20 characters, or one
// that is not all printable ASCII, it shows nothing but "…".
func hint(text string) string {
	if len(text) < 20 {
		return "…"
	}
	for i := range len(text) {
		if text[i] <= ' ' || text[i] > '~' {
			return "…"
		}
	}
	return text[:5] + "…" + text[len(text)-3:]
}

// digestText is the plain digest of a text. No slow hash: a native text has over 200 random bits, so there is nothing
// to guess. It does not allocate.
func digestText(text string) [32]byte { return sha256.Sum256(bytesOf(text)) }

// bytesOf lends the bytes of s, for hashing without a copy. They must not be written to.
func bytesOf(s string) []byte { return unsafe.Slice(unsafe.StringData(s), len(s)) }

// newSecretRecord makes the record of a text, and lets the token show what of it may be seen.
func (m *Manager) newSecretRecord(t *Token, text string, now int64) (SecretRecord, error) {
	t.Hint = hint(text)
	if t.Kind == KindPublishable {
		t.Public = text
	}
	if t.Created.IsZero() {
		t.Created = fromMicros(now)
	}
	rec := SecretRecord{Hint: t.Hint, Created: fromMicros(now)}
	var err error
	rec.Digest, rec.KeyID, rec.Sealed, err = m.digestAndSeal(text, t.Owner, t.ID)
	return rec, err
}

// newSigning makes a signing secret: a text like a session's, which no carrier ever presents.
func (m *Manager) newSigning(t *Token, now int64) (string, SecretRecord, error) {
	text, err := newText(m.opts.Rand, KindSession, false, m.opts.Prefix)
	if err != nil {
		return "", SecretRecord{}, err
	}
	rec := SecretRecord{Signing: true, Hint: hint(text), Created: fromMicros(now)}
	rec.Digest, rec.KeyID = m.opts.Keyring.digest(text)
	rec.Sealed, _, err = m.opts.Keyring.seal(m.opts.Rand, []byte(text), sealData{"signing", t.Owner, t.ID})
	return text, rec, err
}

func (m *Manager) openSecret(t *Token, rec *SecretRecord, purpose string) (string, error) {
	if m.opts.Keyring == nil {
		return "", ErrNeedsKeyring
	}
	text, err := m.opts.Keyring.open(rec.Sealed, rec.KeyID, sealData{purpose, t.Owner, t.ID})
	return string(text), err
}

// digestAndSeal is how the secret of a token is kept.
func (m *Manager) digestAndSeal(text, owner, tokenID string) (digest [32]byte, keyID uint32, sealed []byte, err error) {
	k := m.opts.Keyring
	if k == nil {
		return digestText(text), 0, nil, nil
	}
	digest, keyID = k.digest(text)
	sealed, _, err = k.seal(m.opts.Rand, []byte(text), sealData{"secret", owner, tokenID})
	return digest, keyID, sealed, err
}

// auditJSON is how a record stands in the audit trail: no record holds a secret. A record that was damaged in the store
// so that it cannot be written down must not keep anybody from revoking it.
func auditJSON(v any) []byte {
	text, err := json.Marshal(v)
	if err != nil {
		return []byte(`{"damaged":true}`)
	}
	return text
}

// samePermissions reports whether p and q are written the same. What cannot be written is like nothing.
func samePermissions(p, q Permissions) bool {
	x, err := json.Marshal(p)
	y, err2 := json.Marshal(q)
	return err == nil && err2 == nil && bytes.Equal(x, y)
}

// sameRecord says whether a and b are written the same. What cannot be written is like nothing.
func sameRecord(a, b Token) bool {
	x, err := json.Marshal(a)
	y, err2 := json.Marshal(b)
	return err == nil && err2 == nil && bytes.Equal(x, y)
}
