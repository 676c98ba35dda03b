package latchkey_test

import (
	"net/netip"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/latchkey-go/latchkey"
)

// secrets lists the secrets of a token by hint.
func (w *world) secrets(id string) (list []latchkey.LiveSecret, byHint map[string]latchkey.LiveSecret) {
	w.Helper()
	list, err := w.acme.Secrets(w.ctx, id)
	w.ok(err)
	byHint = map[string]latchkey.LiveSecret{}
	for _, s := range list {
		byHint[s.Hint] = s
	}
	return list, byHint
}

func hintOf(text string) string { return text[:5] + "…" + text[len(text)-3:] }

// After a rotation it can be seen before the old secret ends whether it is still used, from where, and the new one too.
func TestTheUseOfEachSecretIsSeenDuringAnOverlap(t *testing.T) {
	for name, change := range map[string]func(*latchkey.Options){
		"plain":      func(*latchkey.Options) {},
		"not cached": func(o *latchkey.Options) { o.CacheTokens = -1 },
		"keyring": func(o *latchkey.Options) {
			o.Keyring = must(latchkey.NewKeyring(must(latchkey.GenerateKey(nil, 1)), must(latchkey.GenerateKey(nil, 2))))
		},
	} {
		for kind, idle := range map[string]time.Duration{"": 0, " and idling": 10 * time.Hour} {
			t.Run(name+kind, func(t *testing.T) {
				w := newWorld(t, change)
				four, six := netip.MustParseAddr("192.0.2.1"), netip.MustParseAddr("2001:db8::1")
				use := func(secret string, from netip.Addr) {
					w.Helper()
					_, err := w.keys.Verify(w.ctx, latchkey.Presented{Secret: secret, Address: from})
					w.ok(err)
				}
				tok, old := w.issue(latchkey.KindAPIKey, latchkey.Settings{Validity: latchkey.Validity{Idle: idle}})
				use(old, netip.AddrFrom16(four.As16()))
				_, uses := w.secrets(tok.ID)
				require.Equal(t, w.now(), uses[hintOf(old)].Used)
				require.Equal(t, four, uses[hintOf(old)].UsedFrom, "an address is kept in its short form")

				w.turn(time.Minute)
				next, err := w.acme.Rotate(w.ctx, tok.ID, time.Hour)
				w.ok(err)
				w.turn(2 * time.Second)
				use(next.Reveal(), six) // the token's own last use is fresh
				w.turn(2 * time.Second)
				use(old, six)
				list, uses := w.secrets(tok.ID)
				require.Len(t, list, 2)
				require.Equal(t, w.now(), uses[hintOf(old)].Used, "the first use of the old one after the rotation")
				require.Equal(t, w.now().Add(-2*time.Second), uses[hintOf(next.Reveal())].Used)
				require.Equal(t, six, uses[hintOf(next.Reveal())].UsedFrom)

				// Later uses of one that ends are seen within two minutes, whatever else is in use.
				for range 12 {
					w.turn(15 * time.Second)
					use(next.Reveal(), six)
					use(old, four)
				}
				_, uses = w.secrets(tok.ID)
				require.Less(t, w.now().Sub(uses[hintOf(old)].Used), 2*time.Minute)
				require.Equal(t, four, uses[hintOf(old)].UsedFrom)
				last := uses[hintOf(old)].Used

				w.turn(40 * time.Minute)
				use(next.Reveal(), six)
				_, uses = w.secrets(tok.ID)
				require.Equal(t, last, uses[hintOf(old)].Used, "not used any more")
				require.Equal(t, w.now(), uses[hintOf(next.Reveal())].Used)
			})
		}
	}
}

// A secret that a newer key digests anew keeps its last use, and the use that made it move is its own.
func TestTheUseOfASecretUnderANewKey(t *testing.T) {
	k1, k2 := must(latchkey.GenerateKey(nil, 1)), must(latchkey.GenerateKey(nil, 2))
	w := newWorld(t, func(o *latchkey.Options) { o.Keyring = must(latchkey.NewKeyring(k1)) })
	tok, text := w.key()
	before, _ := w.secrets(tok.ID)
	newer := latchkey.New(w.store, &latchkey.Options{Clock: w.now, Keyring: must(latchkey.NewKeyring(k2, k1))})
	_, err := newer.Verify(w.ctx, latchkey.Presented{Secret: text})
	w.ok(err)
	w.ok(newer.Close(w.ctx))
	list, _ := w.secrets(tok.ID)
	require.Equal(t, w.now(), list[0].Used)
	require.Equal(t, before[0].ID, list[0].ID, "its name stays")
}

// Where a secret has one use after another, the store is written as rarely as before.
func TestUsesOfASecretAreWrittenRarely(t *testing.T) {
	for name, c := range map[string]struct {
		idle time.Duration
		most int64
	}{"plain": {0, 7}, "idling": {10 * time.Hour, 3}} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				store := &batches{}
				w := newWorld(t)
				store.Store = w.store
				keys := latchkey.New(store, &latchkey.Options{Clock: w.now})
				_, text := w.issue(latchkey.KindAPIKey, latchkey.Settings{Validity: latchkey.Validity{Idle: c.idle}})
				for range 60 {
					_, err := keys.Verify(t.Context(), latchkey.Presented{Secret: text})
					w.ok(err)
					w.turn(time.Minute)
					time.Sleep(time.Second)
					synctest.Wait()
				}
				require.NoError(t, keys.Close(t.Context()))
				require.LessOrEqual(t, store.uses.Load(), c.most)
				require.Positive(t, store.uses.Load())
			})
		})
	}
}

func TestSecretsOfAToken(t *testing.T) {
	w := newWorld(t, func(o *latchkey.Options) {
		o.Keyring = must(latchkey.NewKeyring(must(latchkey.GenerateKey(nil, 1))))
	})
	tok, first := w.key(latchkey.Allow(latchkey.Read).On("dataset/a"))
	second := must(w.acme.Rotate(w.ctx, tok.ID, time.Hour)).Reveal() // the clock of the test stands still
	third := must(w.acme.Rotate(w.ctx, tok.ID, 2*time.Hour)).Reveal()
	must(w.acme.SigningSecret(w.ctx, tok.ID))

	list, by := w.secrets(tok.ID)
	require.Len(t, list, 4)
	ids := map[string]bool{}
	for _, s := range list {
		ids[s.ID] = true
	}
	require.Len(t, ids, 4, "each has an id of its own")
	assert.Equal(t, []string{hintOf(first), hintOf(second), hintOf(third)},
		[]string{list[0].Hint, list[1].Hint, list[2].Hint}, "oldest first")
	assert.Equal(t, []bool{false, false, true, false},
		[]bool{list[0].Newest, list[1].Newest, list[2].Newest, list[3].Newest})
	assert.True(t, list[3].Signing)
	for i := range list {
		assert.Equal(t, w.now().Add(time.Duration(i)*time.Microsecond), list[i].Created, "no two at once")
	}
	assert.Zero(t, list[2].NotAfter)
	assert.Equal(t, w.now().Add(time.Hour), list[0].NotAfter, "an end never moves later")

	end := func(text string) error { return w.acme.EndSecret(w.ctx, tok.ID, by[hintOf(text)].ID, "leaked") }
	w.is(latchkey.ErrInvalid, end(third))
	_, err := w.verify(third)
	w.ok(err)
	_, err = w.verify(first)
	w.ok(err)
	w.ok(end(first))
	w.is(latchkey.ErrNotFound, end(first))
	_, err = w.verify(first)
	w.is(latchkey.ErrUnknownToken, err)
	_, err = w.verify(second)
	w.ok(err)
	w.ok(w.acme.EndSecret(w.ctx, tok.ID, list[3].ID, ""))
	w.is(latchkey.ErrNotFound, w.acme.EndSecret(w.ctx, tok.ID, "", ""))
	w.is(latchkey.ErrNotFound, w.acme.EndSecret(w.ctx, tok.ID, "no such one", ""))
	w.is(latchkey.ErrNotFound, w.acme.EndSecret(w.ctx, "no such token", list[1].ID, ""))
	w.turn(2 * time.Hour)
	w.is(latchkey.ErrNotFound, end(second)) // it has ended by itself
	list, _ = w.secrets(tok.ID)
	require.Len(t, list, 1)

	var last latchkey.Event
	for e, err := range w.acme.Events(w.ctx, latchkey.EventQuery{}) {
		w.ok(err)
		if e.Action == "token.end-secret" && e.Reason != "" {
			last = e
		}
	}
	assert.Equal(t, tok.ID, last.Object)
	assert.Equal(t, "leaked", last.Reason)
	must(w.acme.Rotate(w.ctx, tok.ID, time.Hour))
	w.is(latchkey.ErrInvalid, w.acme.EndSecret(w.ctx, tok.ID, list[0].ID, string(make([]byte, 257))))
	w.is(latchkey.ErrInvalid, w.acme.EndSecret(w.ctx, tok.ID, list[0].ID, "\xff"))
	w.ok(w.acme.Revoke(w.ctx, tok.ID, ""))
	w.is(latchkey.ErrInvalid, w.acme.EndSecret(w.ctx, tok.ID, list[0].ID, ""))
}

// To list secrets takes the right to read the token, to end one the right to rotate it. A minted token rotates nothing.
func TestWhoMaySeeAndEndSecrets(t *testing.T) {
	w := newWorld(t)
	tok, _ := w.key(latchkey.Allow(latchkey.Read).On("dataset/a"))
	must(w.acme.Rotate(w.ctx, tok.ID, time.Hour))
	list, _ := w.secrets(tok.ID)
	can := func(rules ...latchkey.Rule) latchkey.Account {
		rules = append(rules, latchkey.Allow(latchkey.Read).On("dataset/*"))
		_, text := w.key(rules...)
		return must(w.acme.As(w.access(text)))
	}
	on := latchkey.Pattern("latchkey/token/" + tok.ID)
	reads, nothing := can(latchkey.Allow(latchkey.Read).On(on)), can()
	_, err := reads.Secrets(w.ctx, tok.ID)
	w.ok(err)
	_, err = nothing.Secrets(w.ctx, tok.ID)
	w.is(latchkey.ErrNotFound, err)
	w.is(latchkey.ErrDenied, reads.EndSecret(w.ctx, tok.ID, list[0].ID, ""))
	_, err = w.keys.For("globex").Secrets(w.ctx, tok.ID)
	w.is(latchkey.ErrNotFound, err)
	w.is(latchkey.ErrNotFound, w.keys.For("globex").EndSecret(w.ctx, tok.ID, list[0].ID, ""))
	rotates := can(latchkey.Allow(latchkey.Rotate).On(on))
	w.ok(rotates.EndSecret(w.ctx, tok.ID, list[0].ID, ""))
	strong, _ := w.key(latchkey.Allow(latchkey.Read).On("*"))
	more := can(latchkey.Allow(latchkey.Rotate).On("latchkey/token/*"))
	must(w.acme.Rotate(w.ctx, strong.ID, time.Hour))
	list, _ = w.secrets(strong.ID)
	w.is(latchkey.ErrDenied, more.EndSecret(w.ctx, strong.ID, list[0].ID, "")) // it may do more than the actor
}

// Of two rotations for the same reason one takes effect, and the other is told.
func TestRotateOnlyTheSecretSeen(t *testing.T) {
	w := newWorld(t)
	tok, old := w.key()
	list, _ := w.secrets(tok.ID)
	seen := latchkey.Rotation{IfNewest: list[0].ID, Reason: "leaked", Overlap: time.Hour}
	next, err := w.acme.RotateWith(w.ctx, tok.ID, seen)
	w.ok(err)
	_, err = w.acme.RotateWith(w.ctx, tok.ID, seen)
	w.is(latchkey.ErrConflict, err)
	for _, text := range []string{old, next.Reveal()} {
		_, err = w.verify(text)
		w.ok(err)
	}
	list, _ = w.secrets(tok.ID)
	require.Len(t, list, 2, "the one that was refused made nothing")
	seen.IfNewest = list[0].ID // retired
	_, err = w.acme.RotateWith(w.ctx, tok.ID, seen)
	w.is(latchkey.ErrConflict, err)
	seen.IfNewest = list[1].ID
	_, err = w.acme.RotateWith(w.ctx, tok.ID, seen)
	w.ok(err)
	_, err = w.acme.RotateWith(w.ctx, tok.ID, latchkey.Rotation{Reason: string(make([]byte, 257))})
	w.is(latchkey.ErrInvalid, err)

	// Of two at once, too: the second reads the token again, and finds another newest secret.
	list, _ = w.secrets(tok.ID)
	seen.IfNewest = list[len(list)-1].ID
	done := w.store.before(func() { must(w.keys.For("acme").RotateWith(w.ctx, tok.ID, seen)) })
	_, err = w.acme.RotateWith(w.ctx, tok.ID, seen)
	w.is(latchkey.ErrConflict, err)
	require.True(t, done())
}

// What is kept of the address of a last use is what the option says. Who changed what, and from where, stays whole.
func TestLastUseAddress(t *testing.T) {
	for _, c := range []struct{ from, network string }{
		{"192.0.2.77", "192.0.2.0"},
		{"::ffff:192.0.2.77", "192.0.2.0"},
		{"2001:db8:12:3456::77", "2001:db8:12::"},
		{"fe80::1%eth0", "fe80::"},
		{"2002:c000:24d:1::77", "2002:c000:200::"},    // 192.0.2.77 by 6to4
		{"2002:c000:2cd:ffff::77", "2002:c000:200::"}, // and 192.0.2.205
		{"", ""},
	} {
		var from netip.Addr
		whole := ""
		if c.from != "" {
			from = netip.MustParseAddr(c.from)
			whole = from.Unmap().WithZone("").String()
		}
		for detail, want := range map[latchkey.AddressDetail]string{
			latchkey.WholeAddress: whole, latchkey.NetworkAddress: c.network, latchkey.NoAddress: "",
		} {
			w := newWorld(t, func(o *latchkey.Options) { o.LastUseAddress = detail })
			tok, text := w.key(latchkey.Allow(latchkey.Any).On("*", "latchkey/*"))
			for range 2 { // from the store, and cached
				access, err := w.keys.Verify(w.ctx, latchkey.Presented{Secret: text, Address: from})
				w.ok(err)
				list, _ := w.secrets(tok.ID)
				require.Equal(t, w.now(), list[0].Used)
				got := ""
				if list[0].UsedFrom.IsValid() {
					got = list[0].UsedFrom.String()
				}
				require.Equal(t, want, got, "%s, detail %d", c.from, detail)
				require.Equal(t, from, access.Address())
				w.turn(time.Hour)
			}
			access, err := w.keys.Verify(w.ctx, latchkey.Presented{Secret: text, Address: from})
			w.ok(err)
			_, err = must(w.acme.As(access)).CreateRole(w.ctx, latchkey.Role{Name: "clerk"})
			w.ok(err)
			for e, err := range w.acme.Events(w.ctx, latchkey.EventQuery{Action: "role.create"}) {
				w.ok(err)
				require.Equal(t, c.from, e.From)
			}
		}
	}
	require.PanicsWithValue(t, "latchkey: Options.LastUseAddress must be WholeAddress, NetworkAddress or NoAddress",
		func() { newWorld(t, func(o *latchkey.Options) { o.LastUseAddress = latchkey.NoAddress + 1 }) })
}

// An address that was kept goes with the next use by a program that keeps none.
func TestAKeptAddressGoes(t *testing.T) {
	w := newWorld(t)
	tok, text := w.key()
	use := func(keys *latchkey.Manager) {
		w.Helper()
		_, err := keys.Verify(w.ctx, latchkey.Presented{Secret: text, Address: netip.MustParseAddr("192.0.2.77")})
		w.ok(err)
	}
	use(w.keys)
	list, _ := w.secrets(tok.ID)
	require.True(t, list[0].UsedFrom.IsValid())
	w.ok(w.keys.Close(w.ctx))
	w.turn(time.Hour)
	w.keys = latchkey.New(w.store, &latchkey.Options{Clock: w.now, LastUseAddress: latchkey.NoAddress})
	w.acme = w.keys.For("acme")
	use(w.keys)
	list, _ = w.secrets(tok.ID)
	require.Equal(t, w.now(), list[0].Used)
	require.False(t, list[0].UsedFrom.IsValid())
}

// A secret that cannot be read is listed without an id, beside those that can. It is not the newest, and no id ends it.
// A store that is lost is an error.
func TestSecretsBesideOneThatCannotBeRead(t *testing.T) {
	w := newWorld(t)
	tok, _ := w.key()
	must(w.acme.Rotate(w.ctx, tok.ID, time.Hour))
	damaged := &latchkey.DamagedError{Kind: latchkey.ChangedToken, Owner: "acme", ID: tok.ID}
	store := &signers{Store: w.store}
	keys := latchkey.New(store, &latchkey.Options{Clock: w.now})
	acme := keys.For("acme")
	store.secrets = func(list []latchkey.SecretRecord) ([]latchkey.SecretRecord, error) {
		return append(list, latchkey.SecretRecord{Digest: [32]byte{1}}), damaged
	}
	list, err := acme.Secrets(w.ctx, tok.ID)
	require.Equal(t, error(damaged), err)
	require.Len(t, list, 3)
	for i, s := range list {
		require.Equal(t, []bool{i == 1, i < 2}, []bool{s.Newest, s.ID != ""})
	}
	w.is(latchkey.ErrNotFound, acme.EndSecret(w.ctx, tok.ID, "", ""))
	w.is(latchkey.ErrInvalid, acme.EndSecret(w.ctx, tok.ID, list[1].ID, ""))
	w.ok(acme.EndSecret(w.ctx, tok.ID, list[0].ID, ""))

	store.secrets = func([]latchkey.SecretRecord) ([]latchkey.SecretRecord, error) {
		return []latchkey.SecretRecord{{Digest: [32]byte{1}}}, damaged
	}
	list, err = acme.Secrets(w.ctx, tok.ID)
	require.Equal(t, error(damaged), err)
	require.Len(t, list, 1)
	require.False(t, list[0].Newest)

	store.secrets = func([]latchkey.SecretRecord) ([]latchkey.SecretRecord, error) {
		return nil, latchkey.ErrUnavailable
	}
	list, err = acme.Secrets(w.ctx, tok.ID)
	w.is(latchkey.ErrUnavailable, err)
	require.Empty(t, list)
	w.is(latchkey.ErrUnavailable, acme.EndSecret(w.ctx, tok.ID, "any", ""))
	w.ok(keys.Close(w.ctx))
}

// An earlier version may have made a signing secret within the same microsecond as another. Each has its own id.
func TestASigningSecretMadeAtOnceWithAnother(t *testing.T) {
	w := newWorld(t, withKeys)
	tok, _ := w.key()
	must(w.acme.SigningSecret(w.ctx, tok.ID))
	store := &signers{Store: w.store, secrets: func(list []latchkey.SecretRecord) ([]latchkey.SecretRecord, error) {
		for i := range list {
			list[i].Created = w.now()
		}
		return list, nil
	}}
	keys := latchkey.New(store, &latchkey.Options{Clock: w.now})
	list, err := keys.For("acme").Secrets(w.ctx, tok.ID)
	w.ok(err)
	require.Equal(t, []bool{false, true}, []bool{list[0].Signing, list[1].Signing})
	require.Equal(t, []bool{true, false}, []bool{list[0].Newest, list[1].Newest})
	w.is(latchkey.ErrInvalid, keys.For("acme").EndSecret(w.ctx, tok.ID, list[0].ID, ""))
	w.ok(keys.For("acme").EndSecret(w.ctx, tok.ID, list[1].ID, ""))
	left, _ := w.secrets(tok.ID)
	require.Len(t, left, 1)
	require.False(t, left[0].Signing)
	w.ok(keys.Close(w.ctx))
}
