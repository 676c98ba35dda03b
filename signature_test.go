package latchkey_test

import (
	"context"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/latchkey-go/latchkey"
)

func TestSignedRequests(t *testing.T) {
	keyring, err := latchkey.NewKeyring(latchkey.Key{ID: 1, Secret: []byte(strings.Repeat("a", 32))})
	require.NoError(t, err)
	w := newWorld(t, func(o *latchkey.Options) { o.Keyring = keyring })
	tok, secret := w.issue(latchkey.KindAPIKey, latchkey.Settings{Restrictions: latchkey.Restrictions{Signed: true}})
	key, err := w.acme.SigningSecret(w.ctx, tok.ID)
	w.ok(err)
	again, err := w.acme.SigningSecret(w.ctx, tok.ID)
	w.ok(err)
	require.Equal(t, key.Reveal(), again.Reveal())
	_, err = w.verify(key.Reveal())
	w.is(latchkey.ErrUnknownToken, err) // it signs, and is never presented

	once := byte(0)
	sign := func(change func(*latchkey.Signature)) error {
		once++
		s := &latchkey.Signature{Key: secret, Date: w.now(), Once: [32]byte{once},
			OK: func(k []byte) bool { return string(k) == key.Reveal() }}
		if change != nil {
			change(s)
		}
		_, err := w.keys.Verify(w.ctx, latchkey.Presented{Signature: s})
		return err
	}
	for range 2 {
		w.ok(sign(nil))
		_, err = w.verify(secret)
		w.is(latchkey.ErrSignatureRequired, err)
		w.is(latchkey.ErrSignature, sign(func(s *latchkey.Signature) { s.OK = func([]byte) bool { return false } }))
		w.is(latchkey.ErrSignature, sign(func(s *latchkey.Signature) { s.OK = nil }))
		w.is(latchkey.ErrSignature, sign(func(s *latchkey.Signature) { s.Date = w.now().Add(-15*time.Minute - time.Second) }))
		w.is(latchkey.ErrSignature, sign(func(s *latchkey.Signature) { s.Date = w.now().Add(15*time.Minute + time.Second) }))
		w.ok(sign(func(s *latchkey.Signature) { s.Date = w.now().Add(-15 * time.Minute) }))
		w.is(latchkey.ErrReplay, sign(func(s *latchkey.Signature) { s.Once = [32]byte{1} }))
	}

	// A read may be let repeat within its own second, however often; after that it never comes again.
	began := w.now()
	repeat := func(s *latchkey.Signature) { s.Once, s.Date, s.Repeat = [32]byte{200}, began, time.Second }
	for range 3 {
		w.ok(sign(repeat))
	}
	w.turn(time.Second - time.Microsecond)
	w.ok(sign(repeat))
	w.turn(time.Microsecond)
	w.is(latchkey.ErrReplay, sign(repeat))
	ahead := func(s *latchkey.Signature) {
		s.Once, s.Date, s.Repeat = [32]byte{201}, began.Add(time.Minute), time.Second
	}
	w.ok(sign(ahead))
	w.is(latchkey.ErrReplay, sign(ahead)) // its second has not come yet

	_, _, err = mustVerify(w, latchkey.Presented{Signature: &latchkey.Signature{Key: secret, Date: w.now(),
		OK: func(k []byte) bool { return string(k) == key.Reveal() }}}).Mint(w.ctx, latchkey.Narrowing{Lifetime: time.Hour})
	w.is(latchkey.ErrDenied, err)
}

// A request that presents one token and is signed for another is refused.
func TestSignatureOfAnotherToken(t *testing.T) {
	w := newWorld(t, func(o *latchkey.Options) {
		o.Keyring = must(latchkey.NewKeyring(latchkey.Key{ID: 1, Secret: []byte(strings.Repeat("a", 32))}))
	})
	tok, secret := w.key(readAll())
	_, other := w.key(readAll())
	key, err := w.acme.SigningSecret(w.ctx, tok.ID)
	w.ok(err)
	verify := func(presented, named string) error {
		_, err := w.keys.Verify(w.ctx, latchkey.Presented{Secret: presented, Signature: &latchkey.Signature{Key: named,
			Date: w.now(), OK: func(k []byte) bool { return string(k) == key.Reveal() }}})
		return err
	}
	for range 2 { // from the store, then from memory
		w.ok(verify(secret, secret))
		w.ok(verify(secret, ""))
		w.ok(verify("", secret))
		w.is(latchkey.ErrSignature, verify(secret, other))
		w.is(latchkey.ErrSignature, verify(other, secret))
		w.is(latchkey.ErrUnknownToken, verify("", ""))
	}
}

// signers is a store whose answers about signatures can be changed.
type signers struct {
	latchkey.Store
	secrets func([]latchkey.SecretRecord) ([]latchkey.SecretRecord, error)
	once    error
	until   time.Time // of the last nonce
}

func (s *signers) Secrets(ctx context.Context, owner, id string) ([]latchkey.SecretRecord, error) {
	list, err := s.Store.Secrets(ctx, owner, id)
	if s.secrets != nil && err == nil {
		return s.secrets(list)
	}
	return list, err
}

func (s *signers) Once(ctx context.Context, owner string, key [32]byte, until time.Time) error {
	if s.until = until; s.once != nil {
		return s.once
	}
	return s.Store.Once(ctx, owner, key, until)
}

// A signature that cannot be verified, or whose nonce cannot be recorded, is refused.
func TestSignaturesThatCannotBeVerified(t *testing.T) {
	ring := must(latchkey.NewKeyring(latchkey.Key{ID: 1, Secret: []byte(strings.Repeat("a", 32))}))
	other := must(latchkey.NewKeyring(latchkey.Key{ID: 2, Secret: []byte(strings.Repeat("b", 32))}))
	w := newWorld(t, func(o *latchkey.Options) { o.Keyring = ring })
	tok, secret := w.issue(latchkey.KindAPIKey, latchkey.Settings{Restrictions: latchkey.Restrictions{Signed: true}})
	key, err := w.acme.SigningSecret(w.ctx, tok.ID)
	w.ok(err)
	store := &signers{Store: w.store}
	once, told := byte(0), 0
	failed := func(context.Context, latchkey.Failure) { told++ }
	// The request is signed by the key, and by no key at all.
	ok := func(k []byte) bool { return string(k) == key.Reveal() || len(k) == 0 }
	sign := func(k *latchkey.Keyring) error {
		once++
		keys := latchkey.New(store, &latchkey.Options{Clock: w.now, Keyring: k, Observer: latchkey.Observer{Failed: failed}})
		_, err := keys.Verify(w.ctx, latchkey.Presented{Secret: secret,
			Signature: &latchkey.Signature{Date: w.now(), Once: [32]byte{once}, OK: ok}})
		return err
	}
	w.ok(sign(ring))
	w.is(latchkey.ErrInvalidToken, sign(other))
	w.is(latchkey.ErrInvalidToken, sign(nil))
	down := func([]latchkey.SecretRecord) ([]latchkey.SecretRecord, error) { return nil, latchkey.ErrUnavailable }
	for name, c := range map[string]struct {
		edit func(*latchkey.SecretRecord)
		want error
		told int // that it cannot be opened
	}{
		"as it was":      {func(*latchkey.SecretRecord) {}, nil, 0},
		"no signing key": {func(r *latchkey.SecretRecord) { r.Signing = false }, latchkey.ErrSignature, 0},
		"ended":          {func(r *latchkey.SecretRecord) { r.NotAfter = w.now() }, latchkey.ErrSignature, 0},
		"altered": {func(r *latchkey.SecretRecord) {
			r.Sealed = append([]byte("x"), r.Sealed...)
		}, latchkey.ErrSignature, 1},
		"cut":           {func(r *latchkey.SecretRecord) { r.Sealed = r.Sealed[:8] }, latchkey.ErrSignature, 1},
		"of a lost key": {func(r *latchkey.SecretRecord) { r.KeyID = 9 }, latchkey.ErrSignature, 1},
	} {
		store.secrets = func(list []latchkey.SecretRecord) ([]latchkey.SecretRecord, error) {
			out := append([]latchkey.SecretRecord(nil), list...)
			for i := range out {
				if out[i].Signing {
					c.edit(&out[i])
				}
			}
			return out, nil
		}
		told = 0
		assert.ErrorIs(t, sign(ring), c.want, name)
		assert.Equal(t, c.told, told, name)
	}
	store.secrets = down
	w.is(latchkey.ErrUnavailable, sign(ring))
	store.secrets = nil
	store.once = latchkey.ErrUnavailable
	w.is(latchkey.ErrUnavailable, sign(ring))
	store.once = context.DeadlineExceeded
	w.is(latchkey.ErrUnavailable, sign(ring))
	store.once = nil
	w.ok(sign(ring))
}

// A nonce is kept for twice the skew and an hour after the later of the request's date and now.
func TestHowLongNoncesAreKept(t *testing.T) {
	ring := must(latchkey.NewKeyring(latchkey.Key{ID: 1, Secret: []byte(strings.Repeat("a", 32))}))
	w := newWorld(t, func(o *latchkey.Options) { o.Keyring = ring })
	tok, secret := w.issue(latchkey.KindAPIKey, latchkey.Settings{})
	_, err := w.acme.SigningSecret(w.ctx, tok.ID)
	w.ok(err)
	store := &signers{Store: w.store}
	for i, c := range []struct{ skew, date, kept time.Duration }{ // date and kept are from now on
		{0, 0, 90 * time.Minute},
		{0, -15 * time.Minute, 90 * time.Minute},
		{0, 15 * time.Minute, 105 * time.Minute},
		{time.Minute, 0, 62 * time.Minute},
		{time.Minute, time.Minute, 63 * time.Minute},
	} {
		keys := latchkey.New(store, &latchkey.Options{Clock: w.now, Keyring: ring, SignatureSkew: c.skew})
		_, err := keys.Verify(w.ctx, latchkey.Presented{Secret: secret, Signature: &latchkey.Signature{
			Date: w.now().Add(c.date), Once: [32]byte{byte(i + 1)}, OK: func([]byte) bool { return true }}})
		w.ok(err)
		require.Equal(t, c.kept, store.until.Sub(w.now()), "%+v", c)
		w.ok(keys.Close(w.ctx))
	}
}

// A request does not pass again after a restart with a clock that was set back by less than an hour, though what was
// over was purged before.
func TestSignedRequestsAfterTheClockIsSetBack(t *testing.T) {
	ring := must(latchkey.NewKeyring(latchkey.Key{ID: 1, Secret: []byte(strings.Repeat("a", 32))}))
	w := newWorld(t, func(o *latchkey.Options) { o.Keyring = ring })
	tok, secret := w.issue(latchkey.KindAPIKey, latchkey.Settings{Restrictions: latchkey.Restrictions{Signed: true}})
	key, err := w.acme.SigningSecret(w.ctx, tok.ID)
	w.ok(err)
	date := w.now()
	for _, ahead := range []time.Duration{0, -15 * time.Minute, 15 * time.Minute} {
		w.time.Store(date.UnixMicro())
		s := &latchkey.Signature{Key: secret, Date: date.Add(ahead), Once: [32]byte{byte(100 + ahead/time.Minute)},
			OK: func(k []byte) bool { return string(k) == key.Reveal() }}
		send := func() error {
			keys := latchkey.New(w.store, &latchkey.Options{Clock: w.now, Keyring: ring})
			defer keys.Close(context.Background())
			_, err := keys.Verify(w.ctx, latchkey.Presented{Signature: s})
			return err
		}
		w.ok(send())
		w.is(latchkey.ErrReplay, send())
		last := date.Add(ahead + 15*time.Minute) // the last moment at which it is not too old
		w.time.Store(last.Add(time.Hour).UnixMicro())
		purging := latchkey.New(w.store, &latchkey.Options{Clock: w.now})
		_, err = purging.Purge(w.ctx)
		w.ok(err)
		w.ok(purging.Close(context.Background()))
		w.is(latchkey.ErrSignature, send())
		w.time.Store(last.UnixMicro())
		w.is(latchkey.ErrReplay, send())
	}
}
