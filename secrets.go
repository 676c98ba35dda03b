package latchkey

import (
	"bytes"
	"encoding/json"
)

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
