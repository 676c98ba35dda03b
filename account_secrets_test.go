package latchkey_test

import (
	"testing"

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
		for e, err := range w.acme.Events(w.ctx, 0) {
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
