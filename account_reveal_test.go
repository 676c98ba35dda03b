package latchkey_test

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/latchkey-go/latchkey"
)

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
	require.Equal(t, len(texts), revealed(), "each is in the audit trail, under her name")

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
