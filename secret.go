package latchkey

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"

	"github.com/latchkey-go/latchkey/internal/tokentext"
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

// textPrefix returns what the text of a token begins with: see package tokentext. test matters for KindSecret and
// KindPublishable only. "": no token is of that kind.
func textPrefix(kind Kind, test bool) string {
	switch kind {
	case KindSecret:
		if test {
			return tokentext.TestSecret
		}
		return tokentext.Secret
	case KindPublishable:
		if test {
			return tokentext.TestPublishable
		}
		return tokentext.Publishable
	case KindAPIKey:
		return tokentext.APIKey
	case KindAccess:
		return tokentext.Access
	case KindSession:
		return tokentext.Session
	}
	return ""
}

// newText makes the text of a new token.
func (m *Manager) newText(kind Kind, test bool) (string, error) {
	prefix := textPrefix(kind, test)
	if prefix == "" {
		return "", fmt.Errorf("%w: unknown kind %d", ErrInvalid, kind)
	}
	return tokentext.New(m.opts.Rand, prefix, m.opts.Prefix)
}

// kindOfText returns the kind that a text names. It is not ok for a text that is not of native shape. It does not
// allocate.
func kindOfText(text string) (kind Kind, ok bool) {
	prefix, shape := tokentext.Read(text)
	if shape != tokentext.Native {
		return 0, false
	}
	switch prefix {
	case tokentext.Secret, tokentext.TestSecret:
		return KindSecret, true
	case tokentext.Publishable, tokentext.TestPublishable:
		return KindPublishable, true
	case tokentext.APIKey:
		return KindAPIKey, true
	case tokentext.Access:
		return KindAccess, true
	case tokentext.Session:
		return KindSession, true
	}
	return 0, false
}

// newSecretRecord makes the record of a text, and lets the token show what of it may be seen.
func (m *Manager) newSecretRecord(t *Token, text string, now int64) (SecretRecord, error) {
	t.Hint = tokentext.Hint(text)
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
	text, err := m.newText(KindSession, false)
	if err != nil {
		return "", SecretRecord{}, err
	}
	rec := SecretRecord{Signing: true, Hint: tokentext.Hint(text), Created: fromMicros(now)}
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
		return tokentext.Digest(text), 0, nil, nil
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
