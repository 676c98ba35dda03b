package latchkey_test

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/latchkey-go/latchkey"
	"github.com/latchkey-go/latchkey/memstore"
)

func foreignText(t *testing.T) string {
	t.Helper()
	w := newWorld(t)
	_, secret := w.key()
	return secret
}

// A text is a token once, under whichever key its digest was made.
func TestImportUnderANewKey(t *testing.T) {
	k1, k2 := must(latchkey.GenerateKey(nil, 1)), must(latchkey.GenerateKey(nil, 2))
	w := newWorld(t, func(o *latchkey.Options) { o.Keyring = must(latchkey.NewKeyring(k1)) })
	_, secret := w.key()
	newer := latchkey.New(w.store, &latchkey.Options{Clock: w.now, Keyring: must(latchkey.NewKeyring(k2, k1))})
	_, err := newer.For("other").Import(w.ctx, latchkey.Spec{Kind: latchkey.KindAPIKey}, secret)
	w.is(latchkey.ErrExists, err)
}

func TestListingTokens(t *testing.T) {
	w := newWorld(t)
	var want []string
	for i := range 25 {
		w.turn(time.Millisecond)
		tok, _ := w.issue(latchkey.KindAPIKey, latchkey.Settings{Name: fmt.Sprintf("key %d", i)})
		want = append(want, tok.Name)
	}
	var got []string
	for tok, err := range w.acme.Tokens(w.ctx, latchkey.TokenQuery{Page: latchkey.Page{Limit: 10}}) {
		w.ok(err)
		got = append(got, tok.Name)
	}
	assert.Equal(t, want, got)
	down := latchkey.ErrUnavailable
	w.store.fail.Store(&down)
}

// wordyStore says more of what it does not find, as one on a database does.
type wordyStore struct{ latchkey.Store }

func (s wordyStore) ByDigest(ctx context.Context, slot latchkey.Slot, digests ...[32]byte) (latchkey.Found, error) {
	f, err := s.Store.ByDigest(ctx, slot, digests...)
	if err != nil {
		err = fmt.Errorf("find token: %w", err)
	}
	return f, err
}

func TestFind(t *testing.T) {
	ctx := t.Context()
	for name, ring := range map[string]bool{"plain": false, "with a keyring": true} {
		t.Run(name, func(t *testing.T) {
			opts := &latchkey.Options{Imported: func(text string) bool { return len(text) == 30 }}
			if ring {
				key, err := latchkey.GenerateKey(nil, 1)
				require.NoError(t, err)
				opts.Keyring, err = latchkey.NewKeyring(key)
				require.NoError(t, err)
			}
			m := latchkey.New(wordyStore{memstore.New(nil)}, opts)
			t.Cleanup(func() { require.NoError(t, m.Close(context.Background())) })
			a := m.For("acme")
			key, secret, err := a.Issue(ctx, latchkey.Spec{Kind: latchkey.KindAPIKey})
			require.NoError(t, err)
			_, unknown, err := latchkey.New(memstore.New(nil), nil).For("acme").Issue(ctx,
				latchkey.Spec{Kind: latchkey.KindAPIKey})
			require.NoError(t, err)
			_, err = a.Find(ctx, unknown.Reveal())
			require.Equal(t, latchkey.ErrNotFound, err, "in the same words as for another's")
			site, _, err := a.Issue(ctx, latchkey.Spec{Kind: latchkey.KindPublishable, Test: true})
			require.NoError(t, err)
			foreign := "0123456789abcdef0123456789abcd"
			imported, err := a.Import(ctx, latchkey.Spec{Kind: latchkey.KindAPIKey}, foreign)
			require.NoError(t, err)
			second, err := a.Rotate(ctx, key.ID, time.Hour)
			require.NoError(t, err)
			require.NoError(t, a.Revoke(ctx, imported.ID, ""))
			for text, want := range map[string]string{secret.Reveal(): key.ID, second.Reveal(): key.ID,
				site.Public: site.ID, foreign: imported.ID} {
				got, err := a.Find(ctx, text)
				require.NoError(t, err)
				require.Equal(t, want, got.ID)
				require.Zero(t, got.Used, "it is no use of the token")
				found, err := m.Find(ctx, text)
				require.NoError(t, err)
				require.Equal(t, got, found.Token, "whoever owns it")
				require.Equal(t, text == site.Public, found.SecretID == "")
				require.False(t, found.Ended)
				_, err = m.For("other").Find(ctx, text)
				require.Equal(t, latchkey.ErrNotFound, err)
				blind, err := a.As(must(a.Assume(latchkey.Client{ID: "w"},
					latchkey.Permissions{latchkey.Allow(latchkey.Read).On("latchkey/token/x")})))
				require.NoError(t, err)
				_, err = blind.Find(ctx, text)
				require.Equal(t, latchkey.ErrNotFound, err, "as if it were another's")
			}
			for _, text := range []string{"", "x", secret.Reveal()[:20], secret.Reveal() + "x"} {
				_, err := a.Find(ctx, text)
				require.ErrorIs(t, err, latchkey.ErrNotFound)
				_, err = m.Find(ctx, text)
				require.ErrorIs(t, err, latchkey.ErrNotFound)
				require.NotContains(t, err.Error(), secret.Reveal()[3:20])
			}
		})
	}
}

func TestSeekPage(t *testing.T) {
	now := time.Date(2026, 11, 22, 9, 0, 0, 0, time.UTC)
	clock := func() time.Time { return now }
	keys := latchkey.New(memstore.New(&memstore.Options{Clock: clock}), &latchkey.Options{Clock: clock})
	acme := keys.For("acme")
	ctx := t.Context()
	var ids []string
	seek := func(size int, before string) []string {
		t.Helper()
		q := latchkey.TokenQuery{Page: latchkey.Page{Limit: size}}
		after, err := acme.SeekPage(ctx, q, before)
		require.NoError(t, err)
		q.After = after
		var got []string
		for token, err := range acme.Tokens(ctx, q) {
			require.NoError(t, err)
			if got = append(got, token.ID); len(got) == size {
				break
			}
		}
		return got
	}
	require.Empty(t, seek(5, ""))
	for i := range 300 {
		if i%7 == 0 {
			now = now.Add(time.Duration(i) * time.Minute) // others come within one tick of the clock
		}
		token, _, err := acme.Issue(ctx, latchkey.Spec{Kind: latchkey.KindAPIKey,
			Name: fmt.Sprint("key ", i)})
		require.NoError(t, err)
		ids = append(ids, token.ID)
	}
	for _, size := range []int{1, 5, 25, 299, 300, 1000} {
		require.Equal(t, ids[max(0, 300-size):], seek(size, ""), size)
		for _, at := range []int{299, 150, size, size / 2, 1} {
			if at < 300 {
				require.Equal(t, ids[max(0, at-size):][:min(size, 300)], seek(size, ids[at]), "%d before %d", size, at)
			}
		}
	}
}

func TestUpdateConflicts(t *testing.T) {
	w := newWorld(t)
	tok, _ := w.key()
	calls := 0
	got, err := w.acme.Update(w.ctx, tok.ID, func(t *latchkey.Token) error {
		if calls++; calls == 1 { // another writer comes between
			w.update(tok, func(t *latchkey.Token) { t.Name = "theirs" })
		}
		t.Name += "+mine"
		return nil
	})
	w.ok(err)
	assert.Equal(t, "theirs+mine", got.Name)
	assert.Equal(t, 2, calls)

	shown := tok.Version
	_, err = w.acme.Update(w.ctx, tok.ID, func(t *latchkey.Token) error {
		if t.Version != shown {
			return latchkey.ErrConflict
		}
		return nil
	})
	w.is(latchkey.ErrConflict, err)
	own := errors.New("my own")
	_, err = w.acme.Update(w.ctx, tok.ID, func(*latchkey.Token) error { return own })
	assert.Equal(t, own, err)

	for name, edit := range map[string]func(*latchkey.Token){
		"the kind":   func(t *latchkey.Token) { t.Kind = latchkey.KindSecret },
		"the owner":  func(t *latchkey.Token) { t.Owner = "other" },
		"revocation": func(t *latchkey.Token) { t.Revoked = time.Time{}.Add(1) },
		"the parent": func(t *latchkey.Token) { t.Parent = "x" },
		"full":       func(t *latchkey.Token) { t.Full = true },
		"rows":       func(t *latchkey.Token) { t.Rows = []latchkey.Condition{latchkey.AllRows} },
		"a bad name": func(t *latchkey.Token) { t.Name = "\xff" },
		"a bad role": func(t *latchkey.Token) { t.Roles = []string{"nope"} },
	} {
		_, err = w.acme.Update(w.ctx, tok.ID, func(t *latchkey.Token) error { edit(t); return nil })
		assert.ErrorIs(t, err, latchkey.ErrInvalid, name)
	}
	after, err := w.acme.Get(w.ctx, tok.ID)
	w.ok(err)
	assert.Equal(t, "theirs+mine", after.Name)
}

func TestUpdateNeverTurnsNothingIntoEverything(t *testing.T) {
	w := newWorld(t)
	role := w.role("reader", readAll())
	_, secret := w.issue(latchkey.KindAPIKey, latchkey.Settings{Roles: []string{role.ID}})
	tok, child := w.mint(w.access(secret), latchkey.Narrowing{Roles: []string{role.ID}})
	w.update(tok, func(t *latchkey.Token) { t.Roles = nil })
	assert.False(t, w.access(child).Allows(latchkey.Read, "x"), "a mint whose last role is taken has none, not all")

	_, secret = w.key(latchkey.Allow(latchkey.Read, latchkey.Create).On("*"))
	for name, edit := range map[string]func(t *latchkey.Token){
		"rules":  func(t *latchkey.Token) { t.Permissions = latchkey.Permissions{latchkey.Grant(latchkey.Read).On("*")} },
		"a role": func(t *latchkey.Token) { t.Roles = []string{role.ID} },
	} {
		tok, child = w.mint(w.access(secret), latchkey.Narrowing{})
		require.True(t, w.access(child).Allows(latchkey.Create, "x"), name)
		w.update(tok, edit)
		assert.False(t, w.access(child).Allows(latchkey.Create, "x"), "a mint of all that is given %s has only those", name)
	}
}

func TestEditsThatCannotBeWrittenDown(t *testing.T) {
	w := newWorld(t)
	tok, _ := w.key()
	far := time.Date(10000, 1, 1, 0, 0, 0, 0, time.UTC)
	w.is(latchkey.ErrInvalid, w.acme.Configure(w.ctx, func(o *latchkey.Owner) error { o.NotBefore = far; return nil }))
	for name, edit := range map[string]func(*latchkey.Token){
		"a time":   func(t *latchkey.Token) { t.Created = far },
		"a kind":   func(t *latchkey.Token) { t.Kind = 99 },
		"a value":  func(t *latchkey.Token) { t.Forced = latchkey.Values{"x": make(chan int)} },
		"no kind":  func(t *latchkey.Token) { t.Kind = 0 },
		"an extra": func(t *latchkey.Token) { t.Extra = []byte("{") },
	} {
		_, err := w.acme.Update(w.ctx, tok.ID, func(t *latchkey.Token) error { edit(t); return nil })
		assert.ErrorIs(t, err, latchkey.ErrInvalid, name)
	}
}

// Uses are written with a delay: a new idle limit must not end a token that was used a minute ago.
func TestANewIdleLimitSparesATokenInUse(t *testing.T) {
	for name, before := range map[string]time.Duration{"none before": 0, "a longer one before": 10 * time.Hour} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			tok, secret := w.issue(latchkey.KindAPIKey, latchkey.Settings{Validity: latchkey.Validity{Idle: before}})
			unused, other := w.issue(latchkey.KindAPIKey, latchkey.Settings{Validity: latchkey.Validity{Idle: before}})
			w.access(secret)
			_, err := w.acme.Get(w.ctx, tok.ID) // writes the first use
			w.ok(err)
			for range 8 {
				w.turn(time.Minute)
				w.access(secret)
			}
			limit := func(t *latchkey.Token) { t.Validity.Idle = 5 * time.Minute }
			w.update(tok, limit)
			w.update(unused, limit)
			w.access(secret)
			_, err = w.verify(other)
			w.is(latchkey.ErrExpired, err)
			w.turn(5 * time.Minute)
			_, err = w.verify(secret)
			w.is(latchkey.ErrExpired, err)
			w.update(tok, func(t *latchkey.Token) { t.Validity.Idle = 4 * time.Minute })
			_, err = w.verify(secret)
			w.is(latchkey.ErrExpired, err) // it is no use, and revives nothing
		})
	}
}

// A record that was damaged in the database can still be revoked.
func TestADamagedTokenCanBeRevoked(t *testing.T) {
	w := newWorld(t)
	tok := latchkey.Token{ID: "00000000-0000-7000-8000-000000000001", Owner: "acme", Kind: latchkey.KindAPIKey,
		Created: time.Date(12345, 1, 1, 0, 0, 0, 0, time.UTC), Settings: latchkey.Settings{Extra: []byte("{")}}
	err := w.store.Store.Write(w.ctx, latchkey.Write{ID: [16]byte{1}, Owner: "acme", Tokens: []latchkey.Token{tok}})
	w.ok(err)
	w.ok(w.acme.Revoke(w.ctx, tok.ID, "damaged"))
	got, err := w.acme.Get(w.ctx, tok.ID)
	w.ok(err)
	assert.False(t, got.Revoked.IsZero())
	for e, err := range w.acme.Events(w.ctx, latchkey.EventQuery{}) {
		w.ok(err)
		assert.NotEmpty(t, e.Before)
	}
}

// Of a damaged token only Disabled can be changed. Once revoked, it has no rights left.
func TestWhatIsLeftOfADamagedToken(t *testing.T) {
	w := newWorld(t)
	role := w.role("r", readAll())
	tok, _ := w.issue(latchkey.KindAPIKey, latchkey.Settings{Roles: []string{role.ID},
		Permissions: latchkey.Permissions{readAll()}})
	spoil(t, w.store.Store, tok.ID)
	var damaged *latchkey.DamagedError
	for name, edit := range map[string]func(t *latchkey.Token){
		"a name":  func(t *latchkey.Token) { t.Name = "x" },
		"rights":  func(t *latchkey.Token) { t.Permissions = nil },
		"the end": func(t *latchkey.Token) { t.Disabled, t.Validity.NotAfter = true, w.now().Add(time.Hour) },
		"repair":  func(t *latchkey.Token) { t.Damaged = false; t.Name = "x" },
	} {
		_, err := w.acme.Update(w.ctx, tok.ID, func(t *latchkey.Token) error { edit(t); return nil })
		require.ErrorAs(t, err, &damaged, name)
		require.Equal(t, latchkey.DamagedError{Kind: latchkey.ChangedToken, Owner: "acme", ID: tok.ID}, *damaged)
	}
	_, err := w.acme.Update(w.ctx, tok.ID, func(t *latchkey.Token) error { t.Disabled = true; return nil })
	w.ok(err)
	w.ok(w.acme.Revoke(w.ctx, tok.ID, "damaged"))
	f, err := w.store.Store.Load(w.ctx, "acme", tok.ID)
	w.ok(err)
	require.False(t, f.Token.Revoked.IsZero())
	require.Empty(t, f.Token.Roles)
	require.Empty(t, f.Token.Permissions)
}

// Find does not reveal that a text belongs to a record of another owner, or to one that the caller may not read. That
// holds for damaged records too.
func TestFindOfADamagedTokenRevealsNothing(t *testing.T) {
	s := &bare{Store: memstore.New(nil)}
	keys := latchkey.New(s, nil)
	ctx, acme := t.Context(), keys.For("acme")
	tok, secret, err := acme.Issue(ctx, latchkey.Spec{Kind: latchkey.KindAPIKey})
	require.NoError(t, err)
	other, err := keys.For("other").As(must(keys.For("other").Assume(latchkey.Client{ID: "7"},
		latchkey.Permissions{latchkey.Allow(latchkey.Any).On("latchkey/*")})))
	require.NoError(t, err)
	blind, err := acme.As(must(acme.Assume(latchkey.Client{ID: "7"}, latchkey.Permissions{
		latchkey.Allow(latchkey.Any).On("latchkey/*"),
		latchkey.Deny(latchkey.Any).On("latchkey/token/*", "latchkey/role/*", "latchkey/owner")})))
	require.NoError(t, err)
	for _, s.fail = range []*latchkey.DamagedError{
		{Kind: latchkey.ChangedToken, Owner: "acme", ID: tok.ID},
		{Kind: latchkey.ChangedRole, Owner: "acme", ID: "a role of it"},
		{Kind: latchkey.ChangedOwner, Owner: "acme", ID: "acme"},
	} {
		for name, a := range map[string]latchkey.Account{
			"another owner": keys.For("other"), "its actor": other, "blind": blind} {
			_, err = a.Find(ctx, secret.Reveal())
			require.ErrorIs(t, err, latchkey.ErrNotFound, name)
			require.NotContains(t, err.Error(), "acme", name)
			_, err = a.FindSecret(ctx, secret.Reveal())
			require.ErrorIs(t, err, latchkey.ErrNotFound, name)
			require.NotContains(t, err.Error(), "acme", name)
		}
		var damaged *latchkey.DamagedError
		_, err = acme.Find(ctx, secret.Reveal())
		require.ErrorAs(t, err, &damaged)
		require.Equal(t, s.fail.ID, damaged.ID)
		_, err = acme.FindSecret(ctx, secret.Reveal())
		require.ErrorAs(t, err, &damaged)
		require.Equal(t, s.fail.ID, damaged.ID)
	}
}

// bare is a store that returns nothing for a text except which record is damaged.
type bare struct {
	latchkey.Store
	fail *latchkey.DamagedError
}

func (s *bare) ByDigest(context.Context, latchkey.Slot, ...[32]byte) (latchkey.Found, error) {
	return latchkey.Found{}, s.fail
}

// Import returns the same error for the text of another owner's damaged record as for every text that is taken.
func TestImportOfADamagedTokensText(t *testing.T) {
	s := &bare{Store: memstore.New(nil),
		fail: &latchkey.DamagedError{Kind: latchkey.ChangedToken, Owner: "acme", ID: "its id"}}
	k, err := latchkey.GenerateKey(nil, 1)
	require.NoError(t, err)
	ring, err := latchkey.NewKeyring(k)
	require.NoError(t, err)
	_, err = latchkey.New(s, &latchkey.Options{Keyring: ring}).For("other").Import(t.Context(),
		latchkey.Spec{Kind: latchkey.KindAPIKey}, foreignText(t))
	require.ErrorIs(t, err, latchkey.ErrExists)
	require.NotContains(t, err.Error(), "acme")
}

func TestIssueRefuses(t *testing.T) {
	w := newWorld(t)
	at := func(d time.Duration) latchkey.Validity { return latchkey.Validity{NotAfter: w.now().Add(d)} }
	for name, spec := range map[string]latchkey.Spec{
		"no kind":              {},
		"an access token":      {Kind: latchkey.KindAccess, Validity: at(time.Hour)},
		"a secret with roles":  {Kind: latchkey.KindSecret, Roles: []string{"x"}},
		"a secret with rules":  {Kind: latchkey.KindSecret, Permissions: latchkey.Permissions{readAll()}},
		"an endless session":   {Kind: latchkey.KindSession},
		"a test API key":       {Kind: latchkey.KindAPIKey, Test: true},
		"an end that is past":  {Kind: latchkey.KindAPIKey, Validity: at(-time.Second)},
		"an end that is now":   {Kind: latchkey.KindAPIKey, Validity: at(0)},
		"an unknown role":      {Kind: latchkey.KindAPIKey, Roles: []string{"nope"}},
		"negative credits":     {Kind: latchkey.KindAPIKey, Limits: monthly(-1)},
		"a rate without Per":   {Kind: latchkey.KindAPIKey, Limits: latchkey.Limits{Rate: latchkey.Rate{Count: 1}}},
		"a negative idle time": {Kind: latchkey.KindAPIKey, Validity: latchkey.Validity{Idle: -1}},
		"a name with NUL":      {Kind: latchkey.KindAPIKey, Name: "a\x00"},
		"a name of bad UTF-8":  {Kind: latchkey.KindAPIKey, Name: "a\xff"},
		"a pattern with empty seg": {Kind: latchkey.KindAPIKey,
			Permissions: latchkey.Permissions{latchkey.Allow(latchkey.Read).On("a//b")}},
		"a domain with user info": {Kind: latchkey.KindAPIKey,
			Restrictions: latchkey.Restrictions{Domains: []string{"a@b.com"}}},
	} {
		t.Run(name, func(t *testing.T) {
			_, secret, err := w.acme.Issue(w.ctx, spec)
			require.ErrorIs(t, err, latchkey.ErrInvalid)
			assert.Empty(t, secret.Reveal())
		})
	}
	for range w.acme.Tokens(w.ctx, latchkey.TokenQuery{}) {
		t.Fatal("something was stored")
	}
}

// For two common mistakes the error says what to do.
func TestIssueErrorsSayWhatToDo(t *testing.T) {
	w := newWorld(t)
	w.role("clerk")
	_, _, err := w.acme.Issue(w.ctx, latchkey.Spec{})
	require.ErrorContains(t, err, "Spec.Kind is not set")
	_, _, err = w.acme.Issue(w.ctx, latchkey.Spec{Kind: latchkey.KindAccess})
	require.ErrorContains(t, err, "are minted")
	_, _, err = w.acme.Issue(w.ctx, latchkey.Spec{
		Kind: latchkey.KindAPIKey, Roles: []string{"clark"}})
	require.ErrorContains(t, err, `unknown role "clark": a role is named by its ID, or by the name`)
	require.ErrorContains(t, err, `there is ["clerk"]`)
}

func TestImport(t *testing.T) {
	w := newWorld(t, func(o *latchkey.Options) {
		o.Imported = func(s string) bool { return strings.HasPrefix(s, "legacy-") }
	})
	spec := latchkey.Spec{Kind: latchkey.KindAPIKey, Permissions: latchkey.Permissions{readAll()}}
	tok, err := w.acme.Import(w.ctx, spec, "legacy-0123456789")
	w.ok(err)
	a := w.access("legacy-0123456789")
	assert.Equal(t, tok.ID, a.TokenID())
	_, err = w.acme.Import(w.ctx, spec, "legacy-0123456789")
	w.is(latchkey.ErrExists, err)
	for _, bad := range []string{"", "legacy-short", "other-0123456789abc", "legacy-\x00123456789abc",
		"at_0123456789abcdefgh"} {
		_, err = w.acme.Import(w.ctx, spec, bad)
		w.is(latchkey.ErrInvalid, err)
	}
	_, native := newWorld(t).key()
	_, err = w.acme.Import(w.ctx, latchkey.Spec{Kind: latchkey.KindSecret}, native)
	w.is(latchkey.ErrInvalid, err)
	_, err = w.acme.Import(w.ctx, spec, native)
	w.ok(err)
	w.access(native)
}

func TestNoSecretIsMadeWithoutRandomness(t *testing.T) {
	var exhausted atomic.Bool // uses are written in the background
	w := newWorld(t, withKeys, func(o *latchkey.Options) {
		o.Rand = readerFunc(func(p []byte) (int, error) {
			if exhausted.Load() {
				return 0, io.EOF
			}
			return rand.Read(p)
		})
	})
	key, text := w.key()
	access := w.access(text)
	exhausted.Store(true)
	_, secret, err := w.acme.Issue(w.ctx, latchkey.Spec{Kind: latchkey.KindAPIKey})
	require.Error(t, err)
	assert.Empty(t, secret.Reveal())
	secret, err = w.acme.Rotate(w.ctx, key.ID, 0)
	require.Error(t, err)
	assert.Empty(t, secret.Reveal())
	for _, stateless := range []bool{false, true} {
		_, secret, err = access.Mint(w.ctx, latchkey.Narrowing{Lifetime: time.Hour, Stateless: stateless})
		require.Error(t, err)
		assert.Empty(t, secret.Reveal())
	}
}

type readerFunc func([]byte) (int, error)

func (f readerFunc) Read(p []byte) (int, error) { return f(p) }
