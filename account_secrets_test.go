package latchkey_test

import (
	"crypto/rand"
	"errors"
	"io"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/latchkey-go/latchkey"
	"github.com/latchkey-go/latchkey/latchkeytest"
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
	fourth, err := w.acme.Rotate(w.ctx, tok.ID, time.Minute)
	w.ok(err)
	w.turn(time.Minute)
	for _, old := range []string{second.Reveal(), third.Reveal()} { // a shorter overlap ends each of them sooner
		_, err = w.verify(old)
		w.is(latchkey.ErrExpired, err)
	}
	w.access(fourth.Reveal())
	last, err := w.acme.Rotate(w.ctx, tok.ID, 0)
	w.ok(err)
	for _, old := range []string{first, second.Reveal(), third.Reveal(), fourth.Reveal()} {
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
	_, err = fast.For("acme").Rotate(c.ctx, tok.ID, time.Hour)
	require.ErrorIs(t, err, latchkey.ErrUnavailable, "an overlap counts from now, which that clock does not tell")
	require.NoError(t, c.verify(m, newest.Reveal()))
}

// Rotate without an overlap has the store end the old secrets at once, not at a time that a clock has said.
func TestRotateEndsSecretsAtNoTime(t *testing.T) {
	w := newWorld(t)
	tok, _ := w.key()
	store := &secretWrites{Store: w.store}
	keys := latchkey.New(store, &latchkey.Options{Clock: w.now})
	for _, overlap := range []time.Duration{time.Microsecond, 0} {
		_, err := keys.For("acme").Rotate(w.ctx, tok.ID, overlap)
		w.ok(err)
		want := time.Time{}
		if overlap > 0 {
			want = w.now().Add(overlap)
		}
		retired := 0
		for _, c := range store.last {
			if c.Add == nil {
				require.Equal(t, want, c.At)
				retired++
			}
		}
		require.Positive(t, retired)
	}
	w.ok(keys.Close(w.ctx))
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
	tok, old := w.key(readAll())
	plain := latchkey.New(w.store, &latchkey.Options{Clock: w.now})
	secret, err := plain.For("acme").Rotate(w.ctx, tok.ID, time.Minute)
	w.ok(err)
	shown, err := w.acme.Reveal(w.ctx, tok.ID)
	w.ok(err)
	require.Equal(t, old, shown.Reveal(), "the newest that was kept, while it works")
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

// What is shown is of a token that is still as it was read: one that was revoked meanwhile is not shown.
func TestNothingIsShownOfATokenThatIsRevokedMeanwhile(t *testing.T) {
	w := newWorld(t, withKeys)
	for name, show := range map[string]func(id string) error{
		"reveal":         func(id string) error { _, err := w.acme.Reveal(w.ctx, id); return err },
		"signing secret": func(id string) error { _, err := w.acme.SigningSecret(w.ctx, id); return err },
	} {
		for _, signs := range []bool{false, true} {
			token, _ := w.key()
			if signs {
				must(w.acme.SigningSecret(w.ctx, token.ID))
			}
			done := w.store.before(func() { w.ok(w.keys.For("acme").Revoke(w.ctx, token.ID, "")) })
			require.ErrorIs(t, show(token.ID), latchkey.ErrInvalid, name)
			require.True(t, done())
		}
	}
	token, _ := w.key()
	done := w.store.before(func() { w.ok(w.keys.For("acme").Revoke(w.ctx, token.ID, "")) })
	require.Empty(t, must(w.acme.RevealAll(w.ctx, token.ID)))
	require.True(t, done())
}

// Of two callers that ask for the first signing secret at once, both get the same.
func TestTwoAskForTheFirstSigningSecret(t *testing.T) {
	w := newWorld(t, withKeys)
	token, _ := w.key()
	var first latchkey.Secret
	done := w.store.before(func() { first = must(w.keys.For("acme").SigningSecret(w.ctx, token.ID)) })
	second, err := w.acme.SigningSecret(w.ctx, token.ID)
	w.ok(err)
	require.True(t, done())
	require.Equal(t, first.Reveal(), second.Reveal())
	list, _ := w.secrets(token.ID)
	require.Len(t, list, 2)
}

// To show secrets changes no answer, so no cache is told, and no changes are read.
func TestShowingSecretsTellsNoCache(t *testing.T) {
	w := newWorld(t, withKeys, func(o *latchkey.Options) { o.MaxStale = time.Minute })
	token, _ := w.key()
	must(w.acme.SigningSecret(w.ctx, token.ID)) // the first makes one
	epoch := must(w.store.Changes(w.ctx, 0, 0, 0)).Epoch
	before := w.store.epochs.Load()
	must(w.acme.Reveal(w.ctx, token.ID))
	must(w.acme.SigningSecret(w.ctx, token.ID))
	require.Len(t, must(w.acme.RevealAll(w.ctx, token.ID)), 1)
	require.Equal(t, before, w.store.epochs.Load())
	require.Equal(t, epoch, must(w.store.Changes(w.ctx, 0, 0, 0)).Epoch)
}

// An actor is not shown the secret of a token that has come to do more than the actor may while it was asked.
func TestNothingIsShownOfATokenThatGainsRightsMeanwhile(t *testing.T) {
	w := newWorld(t, withKeys)
	_, text := w.key(latchkey.Allow(latchkey.Any).On("latchkey/token/*"), latchkey.Allow(latchkey.Read).On("a"))
	clerk := mustAs(w, w.access(text))
	for name, show := range map[string]func(id string) error{
		"reveal":         func(id string) error { _, err := clerk.Reveal(w.ctx, id); return err },
		"signing secret": func(id string) error { _, err := clerk.SigningSecret(w.ctx, id); return err },
		"reveal all": func(id string) error {
			all, err := clerk.RevealAll(w.ctx, id)
			require.Empty(t, all)
			return errors.Join(err, latchkey.ErrDenied) // it is left out
		},
	} {
		token, _ := w.key(latchkey.Allow(latchkey.Read).On("a"))
		must(w.acme.SigningSecret(w.ctx, token.ID))
		done := w.store.before(func() {
			w.update(token, func(t *latchkey.Token) { t.Permissions = latchkey.Permissions{readAll()} })
		})
		require.ErrorIs(t, show(token.ID), latchkey.ErrDenied, name)
		require.True(t, done())
	}
}

// A listing shows what it can: a secret that cannot be read is left out, and a store that is lost is an error. Where
// nothing is shown nothing is written, and without a Keyring nothing is read.
func TestRevealAllShowsWhatItCan(t *testing.T) {
	w := newWorld(t, withKeys)
	token, text := w.key()
	broken, _ := w.key()
	damaged := &latchkey.DamagedError{Kind: latchkey.ChangedToken, Owner: "acme", ID: broken.ID}
	for _, c := range []struct {
		call  string
		fails error
		want  error
	}{
		{"Load", damaged, nil},
		{"Secrets", damaged, nil},
		{"Load", latchkey.ErrUnavailable, latchkey.ErrUnavailable},
		{"Secrets", latchkey.ErrUnavailable, latchkey.ErrUnavailable},
	} {
		store, calls := &latchkeytest.Store{Store: w.store}, map[string]int{}
		store.Fail(func(call string) error {
			if calls[call]++; call == c.call && calls[call] == 1 {
				return c.fails
			}
			return nil
		})
		o := w.options()
		withKeys(&o)
		keys := latchkey.New(store, &o)
		got, err := keys.For("acme").RevealAll(w.ctx, broken.ID)
		require.ErrorIs(t, err, c.want)
		require.Empty(t, got)
		require.Zero(t, calls["Write"])
		clear(calls)
		got, err = keys.For("acme").RevealAll(w.ctx, min(broken.ID, token.ID), max(broken.ID, token.ID))
		require.ErrorIs(t, err, c.want)
		if c.want == nil {
			require.Len(t, got, 1)
		}
		w.ok(keys.Close(w.ctx))

		o.Keyring = nil
		clear(calls)
		keys = latchkey.New(store, &o)
		got, err = keys.For("acme").RevealAll(w.ctx, token.ID)
		w.ok(err)
		require.Empty(t, got)
		require.Empty(t, calls)
		w.ok(keys.Close(w.ctx))
	}
	require.Equal(t, text, must(w.acme.Reveal(w.ctx, token.ID)).Reveal())
	_, err := w.acme.ForRequest(latchkey.Request{Key: "once", Until: w.now().Add(time.Hour)}).RevealAll(w.ctx, token.ID)
	w.is(latchkey.ErrInvalid, err)
}

// Each time that random bytes are read they may fail to come. Then nothing is made, and nothing changes.
func TestNothingIsMadeOfHalfTheRandomness(t *testing.T) {
	reads, fails := 0, 0
	w := newWorld(t, withKeys, func(o *latchkey.Options) {
		o.Rand = readerFunc(func(p []byte) (int, error) {
			if reads++; reads == fails {
				return 0, io.ErrUnexpectedEOF
			}
			return rand.Read(p)
		})
	})
	tok, _ := w.key()
	for name, do := range map[string]func() error{
		"rotate": func() error { _, err := w.acme.Rotate(w.ctx, tok.ID, time.Hour); return err },
		"sign":   func() error { _, err := w.acme.SigningSecret(w.ctx, tok.ID); return err },
	} {
		before, _ := w.secrets(tok.ID)
		reads, fails = 0, 1
		for ; ; fails++ {
			reads = 0
			if err := do(); reads < fails {
				w.ok(err)
				break
			} else {
				require.ErrorIs(t, err, io.ErrUnexpectedEOF, "%s, read %d", name, fails)
			}
			after, _ := w.secrets(tok.ID)
			require.Equal(t, before, after)
		}
		require.Greater(t, fails, 2, name)
		after, _ := w.secrets(tok.ID)
		require.Len(t, after, len(before)+1)
	}
}
