package latchkey

import (
	"context"
	"errors"
	"time"

	"github.com/latchkey-go/latchkey/internal/fault"
	"github.com/latchkey-go/latchkey/internal/uuidv7"
)

// Signature is a request signature that an adapter parsed and [Manager.Verify] checks.
type Signature struct {
	Key  string    // the token text that the signature names; it must equal Presented.Secret if that is not ""
	Date time.Time // when the request was signed
	Once [32]byte  // a nonce, which must not be repeated within the skew; zero: repeats are not refused
	// Repeat is how long after Date, by this side's clock, the same Once is accepted again. 0: never.
	Repeat time.Duration
	// OK reports whether the signature was made with this key. It must compare in constant time.
	OK func(signingKey []byte) bool
}

// maxClockStep is how far a clock may be set back without letting a signed request pass twice.
const maxClockStep = time.Hour

// verifySignature returns nil if the signature of a request is valid, or if there is none and none is required.
func (m *Manager) verifySignature(ctx context.Context, s *Signature, a Access, now int64) error {
	if s == nil {
		if a.set.restrict.needsSignature() {
			return ErrSignatureRequired
		}
		return nil
	}
	skew := m.opts.SignatureSkew
	date := micros(s.Date)
	if s.OK == nil || date < now-skew.Microseconds() || date > now+skew.Microseconds() {
		return ErrSignature
	}
	secrets, err := m.signingSecrets(ctx, a)
	if err != nil {
		return err
	}
	good := false
	for _, rec := range secrets {
		if !rec.Signing || over(rec.NotAfter, now) || m.opts.Keyring == nil {
			continue
		}
		key, err := m.opts.Keyring.open(rec.Sealed, rec.KeyID, sealData{"signing", a.who.owner, a.TokenID()})
		if err != nil {
			m.warn(ctx, partSecret, "latchkey: cannot open a signing secret", err)
			continue
		}
		good = s.OK(key) || good
	}
	if !good {
		return ErrSignature
	}
	if s.Once == ([32]byte{}) {
		return nil
	}
	// The same request would pass for as long as its date is within the skew, and again if the clock is set back.
	until := fromMicros(max(now, date) + (2*skew + maxClockStep).Microseconds())
	switch err := m.store.Once(ctx, a.who.owner, s.Once, until); {
	case errors.Is(err, ErrExists):
		if date <= now && now < date+s.Repeat.Microseconds() {
			return nil
		}
		return ErrReplay
	case err != nil:
		return fault.Unavailable(err) // fail closed: an unrecorded nonce could be used twice
	}
	return nil
}

// signingSecrets reads a token's secrets. As for lookUp, a surface may refuse the read: a caller that knows a
// publishable token can send any number of bad signatures.
func (m *Manager) signingSecrets(ctx context.Context, a Access) ([]SecretRecord, error) {
	if uuidv7.IsUnstored(a.id) {
		return nil, nil // no record keeps any
	}
	leave, err := enter(ctx)
	if err != nil {
		return nil, err
	}
	defer leave(false)
	secrets, err := m.store.Secrets(ctx, a.who.owner, a.TokenID())
	if err != nil {
		return nil, orUnknown(err)
	}
	return secrets, nil
}
