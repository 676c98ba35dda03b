package latchkey

import (
	"context"
	"errors"
	"time"

	"github.com/latchkey-go/latchkey/internal/fault"
)

// Signature is a request signature that an adapter parsed and Verify judges.
type Signature struct {
	Key  string    // the token text the signature names; it must be Presented.Secret, when that is given
	Date time.Time // when it was signed
	Once [32]byte  // what must not come again within the skew; zero: repeats are not refused
	// Repeat lets the same Once come again for this long after Date, by the clock of this side. 0: never.
	Repeat time.Duration
	// OK says whether the signature was made with this key. It must compare in constant time.
	OK func(signingKey []byte) bool
}

// clockSteps is how far a clock may be put back without letting a signed request pass twice.
const clockSteps = time.Hour

func (m *Manager) judgeSignature(ctx context.Context, s *Signature, a Access, now int64) error {
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
			m.warn("latchkey: cannot open a signing secret", err)
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
	// The same request may come again for as long as its date is believed, and again when the clock is put back.
	until := fromMicros(max(now, date) + (2*skew + clockSteps).Microseconds())
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

// signingSecrets reads a token's secrets. A surface may refuse to, as for a look-up: whoever knows a publishable
// token can send as many bad signatures as it likes.
func (m *Manager) signingSecrets(ctx context.Context, a Access) ([]SecretRecord, error) {
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
