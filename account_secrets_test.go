package latchkey_test

import (
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/latchkey-go/latchkey"
)

// A secret moves under the newest key whenever it is presented, also between what Rotate reads and writes.
func TestRotateWhileASecretMovesUnderANewKey(t *testing.T) {
	k1, k2 := must(latchkey.GenerateKey(nil, 1)), must(latchkey.GenerateKey(nil, 2))
	w := newWorld(t, func(o *latchkey.Options) { o.Keyring = must(latchkey.NewKeyring(k1)) })
	tok, secret := w.key()
	newer := latchkey.New(w.store, &latchkey.Options{Clock: w.now, Keyring: must(latchkey.NewKeyring(k2, k1))})
	store := &meddler{Store: w.store}
	rotating := latchkey.New(store, &latchkey.Options{Clock: w.now, Keyring: must(latchkey.NewKeyring(k2, k1))})
	done := store.before(func() { _, err := newer.Verify(w.ctx, latchkey.Presented{Secret: secret}); w.ok(err) })
	fresh, err := rotating.For("acme").Rotate(w.ctx, tok.ID, 0)
	w.ok(err)
	require.True(t, done())
	_, err = newer.Verify(w.ctx, latchkey.Presented{Secret: fresh.Reveal()})
	w.ok(err)
	_, err = newer.Verify(w.ctx, latchkey.Presented{Secret: secret})
	w.is(latchkey.ErrUnknownToken, err)
}

func TestRevealOfARevokedToken(t *testing.T) {
	ring, err := latchkey.NewKeyring(must(latchkey.GenerateKey(nil, 1)))
	require.NoError(t, err)
	w := newWorld(t, func(o *latchkey.Options) { o.Keyring = ring })
	tok, _ := w.key()
	w.ok(w.acme.Revoke(w.ctx, tok.ID, ""))
	_, err = w.acme.Reveal(w.ctx, tok.ID)
	w.is(latchkey.ErrInvalid, err)
	_, err = w.acme.SigningSecret(w.ctx, tok.ID)
	w.is(latchkey.ErrInvalid, err)
}

// A token made without a Keyring has no text to reveal. Without a Keyring there is no signing secret.
func TestNothingIsRevealedWithoutAKeyring(t *testing.T) {
	w := newWorld(t)
	tok, _ := w.key()
	public, text := w.issue(latchkey.KindPublishable, latchkey.Settings{})
	ring := must(latchkey.NewKeyring(must(latchkey.GenerateKey(nil, 1))))
	keys := latchkey.New(w.store, &latchkey.Options{Clock: w.now, Keyring: ring})
	for _, acme := range []latchkey.Account{w.acme, keys.For("acme")} {
		_, err := acme.Reveal(w.ctx, tok.ID)
		w.is(latchkey.ErrNeedsKeyring, err)
		s, err := acme.Reveal(w.ctx, public.ID)
		w.ok(err)
		assert.Equal(t, text, s.Reveal())
	}
	_, err := w.acme.SigningSecret(w.ctx, tok.ID)
	w.is(latchkey.ErrNeedsKeyring, err)
	_, err = keys.For("acme").SigningSecret(w.ctx, tok.ID)
	w.ok(err)
}

func TestRevealAll(t *testing.T) {
	key, err := latchkey.GenerateKey(nil, 1)
	require.NoError(t, err)
	ring, err := latchkey.NewKeyring(key)
	require.NoError(t, err)
	w := newWorld(t, func(o *latchkey.Options) { o.Keyring = ring })

	var ids []string
	texts := map[string]string{}
	for range 230 { // more than two rounds
		tok, text := w.key(latchkey.Allow(latchkey.Read).On("dataset/a"))
		ids = append(ids, tok.ID)
		texts[tok.ID] = text
	}
	strong, _ := w.issue(latchkey.KindSecret, latchkey.Settings{})
	revoked, _ := w.key()
	w.ok(w.acme.Revoke(w.ctx, revoked.ID, ""))
	public, _ := w.issue(latchkey.KindPublishable, latchkey.Settings{})
	foreign, _, err := w.keys.For("other").Issue(w.ctx, latchkey.Spec{Kind: latchkey.KindAPIKey})
	w.ok(err)
	asked := append(ids, strong.ID, revoked.ID, public.ID, foreign.ID, "", "x", ids[0])

	_, clerk := w.key(latchkey.Allow(latchkey.Any).On("latchkey/token/*"), latchkey.Allow(latchkey.Read).On("dataset/*"))
	as, err := w.acme.As(w.access(clerk))
	w.ok(err)
	revealed := func() (n int) {
		for e, err := range w.acme.Events(w.ctx, latchkey.EventQuery{}) {
			w.ok(err)
			if e.Action == "token.reveal" {
				require.Equal(t, w.access(clerk).TokenID(), e.Actor)
				require.Contains(t, texts, e.Object)
				n++
			}
		}
		return n
	}
	got, err := as.RevealAll(w.ctx, asked...)
	w.ok(err)
	require.Len(t, got, len(texts))
	for id, text := range texts {
		require.True(t, got[id].Reveal() == text)
	}
	require.Equal(t, len(texts), revealed(), "each is in the audit trail, under the actor's name")

	_, reader := w.key(latchkey.Allow(latchkey.Read).On("latchkey/token/*"), latchkey.Allow(latchkey.Read).On("dataset/*"))
	as, err = w.acme.As(w.access(reader))
	w.ok(err)
	got, err = as.RevealAll(w.ctx, asked...)
	w.ok(err)
	require.Empty(t, got, "to read is not to reveal")

	got, err = w.acme.RevealAll(w.ctx, strong.ID)
	w.ok(err)
	require.Len(t, got, 1)

	w.store.fail.Store(&latchkey.ErrUnavailable)
	got, err = w.acme.RevealAll(w.ctx, ids...)
	w.is(latchkey.ErrUnavailable, err)
	require.Nil(t, got)

	plain := newWorld(t)
	tok, _ := plain.key()
	got, err = plain.acme.RevealAll(plain.ctx, tok.ID)
	require.True(t, err == nil && len(got) == 0, err)
}

func TestRotateWithOverlap(t *testing.T) {
	w := newWorld(t)
	tok, first := w.key(readAll())
	_, child := w.mint(w.access(first), latchkey.Narrowing{Lifetime: 24 * time.Hour})
	second, err := w.acme.Rotate(w.ctx, tok.ID, time.Hour)
	w.ok(err)
	w.access(first)
	w.access(second.Reveal())
	third, err := w.acme.Rotate(w.ctx, tok.ID, 2*time.Hour)
	w.ok(err)
	w.turn(time.Hour - time.Microsecond)
	w.access(first)
	w.turn(time.Microsecond)
	for range 2 {
		_, err = w.verify(first)
		w.is(latchkey.ErrExpired, err)
	}
	w.access(second.Reveal()) // an end given once is not moved by a later rotation, and this one is later
	last, err := w.acme.Rotate(w.ctx, tok.ID, 0)
	w.ok(err)
	for _, old := range []string{first, second.Reveal(), third.Reveal()} {
		_, err = w.verify(old)
		w.is(latchkey.ErrInvalidToken, err)
	}
	w.access(last.Reveal())
	w.access(child)
	got, err := w.acme.Get(w.ctx, tok.ID)
	w.ok(err)
	assert.NotEqual(t, tok.Hint, got.Hint)
	for _, overlap := range []time.Duration{-time.Hour, -1, 1, time.Microsecond - 1} {
		_, err = w.acme.Rotate(w.ctx, tok.ID, overlap)
		w.is(latchkey.ErrInvalid, err)
	}
	shortest, err := w.acme.Rotate(w.ctx, tok.ID, time.Microsecond)
	w.ok(err)
	w.access(last.Reveal())
	w.turn(time.Microsecond)
	_, err = w.verify(last.Reveal())
	w.is(latchkey.ErrExpired, err)
	w.access(shortest.Reveal())
	w.ok(w.acme.Revoke(w.ctx, tok.ID, ""))
	_, err = w.acme.Rotate(w.ctx, tok.ID, 0)
	w.is(latchkey.ErrInvalid, err)
}

func TestKeyring(t *testing.T) {
	w := newWorld(t)
	old, err := latchkey.NewKeyring(latchkey.Key{ID: 1, Secret: []byte(strings.Repeat("a", 32))})
	w.ok(err)
	both, err := latchkey.NewKeyring(latchkey.Key{ID: 2, Secret: []byte(strings.Repeat("b", 32))},
		latchkey.Key{ID: 1, Secret: []byte(strings.Repeat("a", 32))})
	w.ok(err)
	next, err := latchkey.NewKeyring(latchkey.Key{ID: 2, Secret: []byte(strings.Repeat("b", 32))})
	w.ok(err)
	manager := func(k *latchkey.Keyring) *latchkey.Manager {
		o := w.options()
		o.Keyring = k
		return latchkey.New(w.store, &o)
	}
	_, plain := w.key() // made before there was a keyring
	tok, secret, err := manager(old).For("acme").Issue(w.ctx, latchkey.Spec{Kind: latchkey.KindAPIKey})
	w.ok(err)
	_, err = w.acme.Reveal(w.ctx, tok.ID)
	w.is(latchkey.ErrNeedsKeyring, err)
	got, err := manager(old).For("acme").Reveal(w.ctx, tok.ID)
	w.ok(err)
	assert.Equal(t, secret.Reveal(), got.Reveal())

	for _, s := range []string{secret.Reveal(), plain} {
		_, err = manager(next).Verify(w.ctx, latchkey.Presented{Secret: s})
		if s == plain {
			w.ok(err) // plain digests are always candidates
		} else {
			w.is(latchkey.ErrUnknownToken, err)
		}
		_, err = manager(both).Verify(w.ctx, latchkey.Presented{Secret: s})
		w.ok(err)
		_, err = manager(next).Verify(w.ctx, latchkey.Presented{Secret: s})
		w.ok(err) // re-digested under the newest key on its use
	}
	got, err = manager(next).For("acme").Reveal(w.ctx, tok.ID)
	w.ok(err)
	assert.Equal(t, secret.Reveal(), got.Reveal())
	_, err = w.verify(secret.Reveal())
	w.is(latchkey.ErrUnknownToken, err)
}

// Rotating a token that leaked also ends its signing secrets, which may have leaked with it.
func TestRotateEndsSigningSecrets(t *testing.T) {
	keyring, err := latchkey.NewKeyring(latchkey.Key{ID: 1, Secret: []byte(strings.Repeat("a", 32))})
	require.NoError(t, err)
	for _, overlap := range []time.Duration{0, time.Hour} {
		w := newWorld(t, func(o *latchkey.Options) { o.Keyring = keyring })
		tok, secret := w.issue(latchkey.KindAPIKey, latchkey.Settings{})
		signing := func() string {
			s, err := w.acme.SigningSecret(w.ctx, tok.ID)
			w.ok(err)
			return s.Reveal()
		}
		signed := func(key, with string) error {
			_, err := w.keys.Verify(w.ctx, latchkey.Presented{Signature: &latchkey.Signature{Key: key, Date: w.now(),
				OK: func(k []byte) bool { return string(k) == with }}})
			return err
		}
		old := signing()
		w.ok(signed(secret, old))
		next, err := w.acme.Rotate(w.ctx, tok.ID, overlap)
		w.ok(err)
		if overlap == 0 {
			w.is(latchkey.ErrSignature, signed(next.Reveal(), old))
		} else {
			w.ok(signed(secret, old))
		}
		fresh := signing()
		require.NotEqual(t, old, fresh)
		require.Equal(t, fresh, signing())
		w.ok(signed(next.Reveal(), fresh))
		if overlap > 0 {
			w.ok(signed(next.Reveal(), old)) // beside the fresh one
		}
		w.turn(overlap)
		w.is(latchkey.ErrSignature, signed(next.Reveal(), old))
		w.ok(signed(next.Reveal(), fresh))
	}
}

// Rotate without an overlap ends every old secret, also one that by a clock which is ahead has ended already.
func TestRotateEndsSecretsDespiteAFastClock(t *testing.T) {
	c := newClocks(t)
	m, _ := c.node(0)
	fast, _ := c.node(24 * time.Hour)
	tok, old := c.issue(m, latchkey.Settings{})
	newer, err := m.For("acme").Rotate(c.ctx, tok.ID, time.Hour)
	require.NoError(t, err)
	require.NoError(t, c.verify(m, old))
	newest, err := fast.For("acme").Rotate(c.ctx, tok.ID, 0)
	require.NoError(t, err)
	require.ErrorIs(t, c.verify(m, old), latchkey.ErrUnknownToken)
	require.ErrorIs(t, c.verify(m, newer.Reveal()), latchkey.ErrUnknownToken)
	require.NoError(t, c.verify(m, newest.Reveal()))
}

// A secret that cannot be read ends with a rotation: its digest is enough for that. A store that is lost ends the
// rotation.
func TestRotateEndsASecretThatCannotBeRead(t *testing.T) {
	w := newWorld(t)
	tok, old := w.key(readAll())
	store := &signers{Store: w.store}
	keys := latchkey.New(store, &latchkey.Options{Clock: w.now})
	for _, lost := range []bool{true, false} {
		store.secrets = func(list []latchkey.SecretRecord) ([]latchkey.SecretRecord, error) {
			if lost {
				return nil, latchkey.ErrUnavailable
			}
			return []latchkey.SecretRecord{{Digest: list[0].Digest}},
				&latchkey.DamagedError{Kind: latchkey.ChangedToken, Owner: "acme", ID: tok.ID}
		}
		next, err := keys.For("acme").Rotate(w.ctx, tok.ID, 0)
		if lost {
			w.is(latchkey.ErrUnavailable, err)
			w.access(old)
			continue
		}
		w.ok(err)
		w.access(next.Reveal())
		_, err = w.verify(old)
		w.is(latchkey.ErrUnknownToken, err)
	}
	w.ok(keys.Close(w.ctx))
}

// A secret that has ended is not revealed in place of a newer one, whose text nobody kept.
func TestRevealAfterARotationWithoutAKeyring(t *testing.T) {
	w := newWorld(t, withKeys)
	tok, _ := w.key(readAll())
	plain := latchkey.New(w.store, &latchkey.Options{Clock: w.now})
	secret, err := plain.For("acme").Rotate(w.ctx, tok.ID, time.Minute)
	w.ok(err)
	w.turn(time.Minute)
	_, err = w.acme.Reveal(w.ctx, tok.ID)
	w.is(latchkey.ErrNeedsKeyring, err)
	revealed := must(w.acme.RevealAll(w.ctx, tok.ID))
	require.Empty(t, revealed)
	w.access(secret.Reveal())
	w.ok(plain.Close(w.ctx))
}

// A token may name a role of a program that this one lacks. It gives nothing.
func TestWhoWithARoleThatThisProgramLacks(t *testing.T) {
	code := latchkey.Role{Name: "auditor", Permissions: latchkey.Permissions{readAll()}}
	w := newWorld(t, func(o *latchkey.Options) { o.Roles = []latchkey.Role{code} })
	tok, _, err := w.acme.Issue(w.ctx, latchkey.Spec{Kind: latchkey.KindAPIKey, Roles: []string{"auditor"}})
	w.ok(err)
	ids := func(keys *latchkey.Manager) (ids []string) {
		for h, err := range keys.For("acme").Who(w.ctx, latchkey.Read, "data/x") {
			w.ok(err)
			ids = append(ids, h.Token.ID)
		}
		return ids
	}
	require.Equal(t, []string{tok.ID}, ids(w.keys))
	lacks := latchkey.New(w.store, &latchkey.Options{Clock: w.now})
	require.Empty(t, ids(lacks))
	w.ok(lacks.Close(w.ctx))
}

// The audit trail says of which token a secret was shown.
func TestShownSecretsAreInTheTrail(t *testing.T) {
	w := newWorld(t, withKeys)
	token, _ := w.key(readAll())
	reveal := func() error { _, err := w.acme.Reveal(w.ctx, token.ID); return err }
	signing := func() error { _, err := w.acme.SigningSecret(w.ctx, token.ID); return err }
	for _, c := range []struct {
		show func() error
		want string
	}{{reveal, "token.reveal"}, {signing, "token.signing-secret"}, {signing, "token.signing-secret"}} {
		w.ok(c.show())
		l, err := w.acme.EventsPage(w.ctx, latchkey.EventQuery{Reverse: true, Page: latchkey.Page{Limit: 1}})
		w.ok(err)
		require.Equal(t, []string{c.want, token.ID}, []string{l.Items[0].Action, l.Items[0].Object})
	}
}
