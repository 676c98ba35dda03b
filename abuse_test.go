package latchkey_test

import (
	"context"
	"fmt"
	"net/netip"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/latchkey-go/latchkey"
	"github.com/latchkey-go/latchkey/memstore"
)

// A role may be weak and still hold a Deny that keeps a role above it in bounds.
func TestNobodyLiftsADenyFromUnderAStrongerRole(t *testing.T) {
	w := newWorld(t)
	base := w.role("base", latchkey.Deny(latchkey.Read).On("hr/*"))
	above, err := w.acme.CreateRole(w.ctx, latchkey.Role{Name: "above", Inherits: []string{base.ID}, InheritDenies: true,
		Permissions: latchkey.Permissions{latchkey.Allow(latchkey.Read).On("*"), latchkey.Allow(latchkey.Any).On("latchkey/role/*")}})
	w.ok(err)
	_, secret := w.issue(latchkey.KindAPIKey, latchkey.Settings{Roles: []string{above.ID}})
	require.False(t, w.access(secret).Allows(latchkey.Read, "hr/pay"))
	_, err = mustAs(w, w.access(secret)).UpdateRole(w.ctx, base.ID, func(r *latchkey.Role) error { r.Permissions = nil; return nil })
	assert.ErrorIs(t, err, latchkey.ErrDenied)
	assert.False(t, w.access(secret).Allows(latchkey.Read, "hr/pay"))
}

// Erase starts the versions of an owner's record anew: a number seen before may then stand for other content.
func TestABoundaryAfterErase(t *testing.T) {
	w := newWorld(t)
	bound := func(on latchkey.Pattern) {
		w.configure(func(o *latchkey.Owner) {
			o.Boundary = latchkey.Permissions{latchkey.Allow(latchkey.Read).On(on)}
		})
	}
	bound("*")
	_, before := w.issue(latchkey.KindSecret, latchkey.Settings{})
	require.True(t, w.access(before).Allows(latchkey.Read, "x"))
	w.ok(w.acme.Erase(w.ctx))
	bound("a")
	_, after := w.issue(latchkey.KindSecret, latchkey.Settings{})
	assert.False(t, w.access(after).Allows(latchkey.Read, "x"))
	assert.True(t, w.access(after).Allows(latchkey.Read, "a"))
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

func TestTwoConfigureAFreshOwner(t *testing.T) {
	w := newWorld(t)
	calls := 0
	w.ok(w.acme.Configure(w.ctx, func(o *latchkey.Owner) error {
		if calls++; calls == 1 {
			w.configure(func(o *latchkey.Owner) { o.Disabled = true })
		}
		o.Extra = []byte("{}")
		return nil
	}))
	got, err := w.acme.Record(w.ctx)
	w.ok(err)
	assert.True(t, got.Disabled)
	assert.Equal(t, 2, calls)
}

// A test token passes sandboxes only, and so does all that it makes or lays hands on.
func TestATestTokenReachesNoLiveOne(t *testing.T) {
	w := newWorld(t)
	live, _ := w.key()
	_, secret, err := w.acme.Issue(w.ctx, latchkey.Spec{Kind: latchkey.KindSecret, Test: true})
	w.ok(err)
	a, err := w.keys.Verify(w.ctx, latchkey.Presented{Secret: secret.Reveal(), Test: true})
	w.ok(err)
	as := mustAs(w, a)
	_, _, err = as.Issue(w.ctx, latchkey.Spec{Kind: latchkey.KindSecret})
	assert.ErrorIs(t, err, latchkey.ErrDenied)
	_, err = as.Rotate(w.ctx, live.ID, 0)
	assert.ErrorIs(t, err, latchkey.ErrDenied)
	assert.ErrorIs(t, as.Revoke(w.ctx, live.ID, ""), latchkey.ErrDenied)
	_, _, err = as.Issue(w.ctx, latchkey.Spec{Kind: latchkey.KindSecret, Test: true})
	assert.NoError(t, err)

	off := func(o *latchkey.Owner) error { o.Disabled = true; return nil }
	w.is(latchkey.ErrDenied, as.Configure(w.ctx, off)) // the owner's record holds for live tokens
	_, secret, err = w.acme.Issue(w.ctx, latchkey.Spec{Kind: latchkey.KindSecret})
	w.ok(err)
	w.ok(mustAs(w, w.access(secret.Reveal())).Configure(w.ctx, off))
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

func must[T any](v T, err error) T {
	if err != nil {
		panic(err)
	}
	return v
}

func TestAForeignSecretPastItsEndIsUnknown(t *testing.T) {
	w := newWorld(t)
	tok, secret := w.key()
	_, err := w.acme.Rotate(w.ctx, tok.ID, time.Minute)
	w.ok(err)
	w.turn(time.Minute)
	_, err = w.verify(secret)
	w.is(latchkey.ErrExpired, err)
	_, err = w.keys.For("other").Verify(w.ctx, latchkey.Presented{Secret: secret})
	w.is(latchkey.ErrUnknownToken, err)
}

// An actor writes nothing after it lost the right to, though it had it when the call began.
func TestNothingIsWrittenPastALoss(t *testing.T) {
	for name, c := range map[string]struct {
		lose func(w *world, root latchkey.Token, r latchkey.Role)
		want error
	}{
		"nothing": {func(*world, latchkey.Token, latchkey.Role) {}, nil},
		"revoking the actor": {func(w *world, root latchkey.Token, _ latchkey.Role) {
			w.ok(w.acme.Revoke(w.ctx, root.ID, ""))
		}, latchkey.ErrRevoked},
		"deleting the actor": {func(w *world, root latchkey.Token, _ latchkey.Role) {
			w.ok(w.acme.Delete(w.ctx, root.ID))
		}, latchkey.ErrUnknownToken},
		"editing the actor": {func(w *world, root latchkey.Token, _ latchkey.Role) {
			w.update(root, func(t *latchkey.Token) { t.Roles = nil })
		}, latchkey.ErrDenied},
		"editing the role": {func(w *world, _ latchkey.Token, r latchkey.Role) {
			w.editRole(r, func(r *latchkey.Role) { r.Permissions = nil })
		}, latchkey.ErrDenied},
		"a boundary": {func(w *world, _ latchkey.Token, _ latchkey.Role) {
			w.configure(func(o *latchkey.Owner) { o.Boundary = latchkey.Permissions{} })
		}, latchkey.ErrDenied},
		"ending all tokens": {func(w *world, _ latchkey.Token, _ latchkey.Role) {
			w.configure(func(o *latchkey.Owner) { o.NotBefore = w.now() })
		}, latchkey.ErrRevoked},
	} {
		for _, issue := range []bool{true, false} {
			t.Run(fmt.Sprint(name, ", a token ", issue), func(t *testing.T) {
				w := newWorld(t)
				var err error
				role := w.role("admin", admin()...)
				root, secret := w.issue(latchkey.KindAPIKey, latchkey.Settings{Roles: []string{role.ID}})
				as := mustAs(w, w.access(secret))
				done := w.store.before(func() { c.lose(w, root, role) })
				if issue {
					_, _, err = as.Issue(w.ctx, latchkey.Spec{Kind: latchkey.KindAPIKey,
						Permissions: admin()})
				} else {
					_, err = as.CreateRole(w.ctx, latchkey.Role{Name: "new", Permissions: admin()})
				}
				require.True(t, done())
				require.ErrorIs(t, err, c.want)
			})
		}
	}
	// What a minted token does depends on its parents, too.
	for name, minted := range map[string]bool{"a parent of the actor": true, "nothing of a parent": false} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			root, secret := w.issue(latchkey.KindAPIKey, latchkey.Settings{Permissions: admin()})
			_, child := w.mint(w.access(secret), latchkey.Narrowing{})
			other, _ := w.key()
			as := mustAs(w, w.access(child))
			done := w.store.before(func() {
				if minted {
					w.update(root, func(t *latchkey.Token) { t.Permissions = nil })
				}
			})
			err := as.Revoke(w.ctx, other.ID, "")
			require.True(t, done())
			if minted {
				w.is(latchkey.ErrDenied, err)
			} else {
				w.ok(err)
			}
		})
	}
}

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

// A text is a token once, under whichever key its digest was made.
func TestImportUnderANewKey(t *testing.T) {
	k1, k2 := must(latchkey.GenerateKey(nil, 1)), must(latchkey.GenerateKey(nil, 2))
	w := newWorld(t, func(o *latchkey.Options) { o.Keyring = must(latchkey.NewKeyring(k1)) })
	_, secret := w.key()
	newer := latchkey.New(w.store, &latchkey.Options{Clock: w.now, Keyring: must(latchkey.NewKeyring(k2, k1))})
	_, err := newer.For("other").Import(w.ctx, latchkey.Spec{Kind: latchkey.KindAPIKey}, secret)
	w.is(latchkey.ErrExists, err)
}

// Nobody loosens what binds herself.
func TestNobodyLoosensHerOwnToken(t *testing.T) {
	home := netip.MustParseAddr("10.0.0.1")
	for name, c := range map[string]struct {
		edit func(*latchkey.Token)
		may  bool
	}{
		"her name":            {func(t *latchkey.Token) { t.Name = "x" }, true},
		"fewer addresses":     {func(t *latchkey.Token) { t.Restrictions.Addresses = prefixes("10.0.0.0/16") }, true},
		"an earlier end":      {func(t *latchkey.Token) { t.Validity.NotAfter = t.Validity.NotAfter.Add(-time.Minute) }, true},
		"more addresses":      {func(t *latchkey.Token) { t.Restrictions.Addresses = prefixes("10.0.0.0/8", "192.0.2.0/24") }, false},
		"a shorter prefix":    {func(t *latchkey.Token) { t.Restrictions.Addresses = prefixes("10.0.0.0/7") }, false},
		"all addresses":       {func(t *latchkey.Token) { t.Restrictions.Addresses = nil }, false},
		"minting from all":    {func(t *latchkey.Token) { t.Restrictions.MintFrom = nil }, false},
		"a later end":         {func(t *latchkey.Token) { t.Validity.NotAfter = t.Validity.NotAfter.Add(1 * time.Minute) }, false},
		"no end":              {func(t *latchkey.Token) { t.Validity.NotAfter = time.Time{} }, false},
		"a longer idle time":  {func(t *latchkey.Token) { t.Validity.Idle *= 2 }, false},
		"no idle limit":       {func(t *latchkey.Token) { t.Validity.Idle = 0 }, false},
		"a shorter idle time": {func(t *latchkey.Token) { t.Validity.Idle /= 2 }, true},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			tok, secret := w.issue(latchkey.KindAPIKey, latchkey.Settings{Permissions: admin(),
				Validity:     latchkey.Validity{NotAfter: w.now().Add(time.Hour), Idle: 10 * time.Minute},
				Restrictions: latchkey.Restrictions{Addresses: prefixes("10.0.0.0/8"), MintFrom: prefixes("10.0.0.0/8")}})
			as := mustAs(w, mustVerify(w, latchkey.Presented{Secret: secret, Address: home}))
			_, err := as.Update(w.ctx, tok.ID, func(t *latchkey.Token) error { c.edit(t); return nil })
			if c.may {
				assert.NoError(t, err)
			} else {
				assert.ErrorIs(t, err, latchkey.ErrDenied)
			}
		})
	}
}

// A store whose feed answers with an older epoch than one seen (a replica that lags) must not keep a caller spinning.
type lagging struct {
	latchkey.Store
	calls int
}

func (s *lagging) Changes(ctx context.Context, after uint64, n int) (latchkey.Feed, error) {
	f, err := s.Store.Changes(ctx, after, n)
	if s.calls++; n == 0 {
		f.Epoch += 5
	}
	if s.calls > 100 {
		panic("asked for ever")
	}
	return f, err
}

func TestAFeedThatLagsBehindItsEpoch(t *testing.T) {
	store := &lagging{Store: memstore.New(nil)}
	keys := latchkey.New(store, nil)
	_, secret, err := keys.For("acme").Issue(t.Context(), latchkey.Spec{Kind: latchkey.KindSecret})
	require.NoError(t, err)
	_, err = keys.Verify(t.Context(), latchkey.Presented{Secret: secret.Reveal()})
	require.NoError(t, err)
	_, err = keys.Verify(t.Context(), latchkey.Presented{Secret: secret.Reveal()})
	require.ErrorIs(t, err, latchkey.ErrUnavailable)
	require.Positive(t, store.calls)
}

// Taking a role from a key takes it from what was narrowed to it, as from what was minted.
func TestAgainForgetsALostRole(t *testing.T) {
	w := newWorld(t)
	low := w.role("low", latchkey.Allow(latchkey.Read).On("dataset/*"))
	high, err := w.acme.CreateRole(w.ctx, latchkey.Role{Name: "high", Inherits: []string{low.ID}, Permissions: latchkey.Permissions{
		latchkey.Allow(latchkey.Update).On("dataset/*")}})
	w.ok(err)
	key, secret := w.issue(latchkey.KindAPIKey, latchkey.Settings{Roles: []string{high.ID, low.ID}})
	n, err := w.access(secret).Narrow(w.ctx, latchkey.Narrowing{Roles: []string{low.ID}})
	w.ok(err)
	require.True(t, n.Allows(latchkey.Read, "dataset/a"))
	w.update(key, func(t *latchkey.Token) { t.Roles = []string{high.ID} })
	again, err := n.Again(w.ctx)
	w.ok(err)
	assert.False(t, again.Allows(latchkey.Read, "dataset/a"))
	assert.Empty(t, again.Roles())
	_, err = again.Narrow(w.ctx, latchkey.Narrowing{Roles: []string{low.ID}})
	w.is(latchkey.ErrInvalid, err)

	_, session := w.issue(latchkey.KindSession, latchkey.Settings{})
	n, err = w.access(session).Narrow(w.ctx, latchkey.Narrowing{Roles: []string{low.ID}})
	w.ok(err)
	_, err = n.Narrow(w.ctx, latchkey.Narrowing{Roles: []string{high.ID}})
	w.is(latchkey.ErrInvalid, err) // as for a mint of a mint
}

// What somebody spoilt in the database is no reason to keep a token alive.
func TestADamagedTokenCanBeRevoked(t *testing.T) {
	w := newWorld(t)
	tok := latchkey.Token{ID: "00000000-0000-7000-8000-000000000001", Owner: "acme", Kind: latchkey.KindAPIKey,
		Created: time.Date(12345, 1, 1, 0, 0, 0, 0, time.UTC), Settings: latchkey.Settings{Extra: []byte("{")}}
	_, err := w.store.Store.Write(w.ctx, latchkey.Write{ID: [16]byte{1}, Owner: "acme", Tokens: []latchkey.Token{tok}})
	w.ok(err)
	w.ok(w.acme.Revoke(w.ctx, tok.ID, "damaged"))
	got, err := w.acme.Get(w.ctx, tok.ID)
	w.ok(err)
	assert.False(t, got.Revoked.IsZero())
	for e, err := range w.acme.Events(w.ctx, 0) {
		w.ok(err)
		assert.NotEmpty(t, e.Before)
	}
}

// stuck is a store that does not answer AddUsage until it is let go.
type stuck struct {
	latchkey.Store
	entered, leave chan struct{}
}

func (s *stuck) AddUsage(context.Context, latchkey.UsageBatch) error {
	s.entered <- struct{}{}
	<-s.leave
	return latchkey.ErrUnavailable
}

// Whoever reads or closes while last uses are being written waits for that no longer than her context says.
func TestAStuckBatchOfLastUsesHoldsUpNobody(t *testing.T) {
	store := &stuck{Store: memstore.New(nil), entered: make(chan struct{}), leave: make(chan struct{})}
	keys := latchkey.New(store, nil)
	acme := keys.For("acme")
	tok, secret, err := acme.Issue(t.Context(), latchkey.Spec{Kind: latchkey.KindSecret})
	require.NoError(t, err)
	_, err = keys.Verify(t.Context(), latchkey.Presented{Secret: secret.Reveal()})
	require.NoError(t, err)
	<-store.entered // the batch is under way
	done := make(chan error, 2)
	go func() {
		ctx, cancel := context.WithTimeout(t.Context(), 10*time.Millisecond)
		defer cancel()
		_, err := acme.Get(ctx, tok.ID)
		done <- err
		done <- keys.Close(ctx)
	}()
	for range 2 {
		select {
		case err := <-done:
			assert.ErrorIs(t, err, context.DeadlineExceeded)
		case <-time.After(time.Minute):
			t.Error("it waits for the batch")
		}
	}
	close(store.leave)
}

// The same of usage that is being written.
func TestAStuckBatchOfUsageHoldsUpNoClose(t *testing.T) {
	store := &stuck{Store: memstore.New(nil), entered: make(chan struct{}, 8), leave: make(chan struct{})}
	keys := latchkey.New(store, nil)
	must(keys.For("acme").Assume(latchkey.Client{ID: "1"}, nil)).Count("calls", "", 1)
	<-store.entered // the batch is under way
	done := make(chan error, 1)
	go func() {
		ctx, cancel := context.WithTimeout(t.Context(), 10*time.Millisecond)
		defer cancel()
		done <- keys.Close(ctx)
	}()
	select {
	case err := <-done:
		assert.ErrorIs(t, err, latchkey.ErrUnavailable)
		assert.ErrorIs(t, err, context.DeadlineExceeded)
	case <-time.After(time.Minute):
		t.Error("it waits for the batch")
	}
	close(store.leave)
}

// MaxStale is a length of time, whatever time it is: a store whose clock runs ahead must not stretch it.
func TestMaxStaleHoldsThoughTheStoreClockIsAhead(t *testing.T) {
	w := newWorld(t)
	store := memstore.New(&memstore.Options{Clock: func() time.Time { return w.now().Add(time.Minute) }})
	here := latchkey.New(store, &latchkey.Options{Clock: w.now, MaxStale: time.Second})
	there := latchkey.New(store, &latchkey.Options{Clock: w.now})
	tok, secret, err := there.For("acme").Issue(w.ctx, latchkey.Spec{Kind: latchkey.KindSecret})
	w.ok(err)
	p := latchkey.Presented{Secret: secret.Reveal()}
	for range 5 {
		_, err = here.Verify(w.ctx, p)
		w.ok(err)
		w.turn(400 * time.Millisecond)
	}
	w.ok(there.For("acme").Revoke(w.ctx, tok.ID, ""))
	w.turn(1001 * time.Millisecond)
	_, err = here.Verify(w.ctx, p)
	w.is(latchkey.ErrRevoked, err)
	w.ok(here.Close(w.ctx))
}

// What a call requires is what was there before it: she may change what her own rights come from.
func TestWhoActsMayChangeHerOwn(t *testing.T) {
	w := newWorld(t)
	role := w.role("admin", admin()...)
	tok, secret := w.issue(latchkey.KindAPIKey, latchkey.Settings{Roles: []string{role.ID}})
	as := mustAs(w, w.access(secret))
	_, err := as.UpdateRole(w.ctx, role.ID, func(r *latchkey.Role) error { r.Name = "chief"; return nil })
	w.ok(err)
	_, err = as.Update(w.ctx, tok.ID, func(t *latchkey.Token) error { t.Name = "mine"; return nil })
	w.ok(err)
	for range 2 { // without a record, and with one
		w.ok(as.Configure(w.ctx, func(o *latchkey.Owner) error { o.Extra = []byte("{}"); return nil }))
	}
	_, err = as.Rotate(w.ctx, tok.ID, time.Minute)
	w.ok(err)
	w.ok(as.Revoke(w.ctx, tok.ID, "done"))
	w.is(latchkey.ErrRevoked, as.Delete(w.ctx, tok.ID))
	_, secret = w.issue(latchkey.KindAPIKey, latchkey.Settings{Roles: []string{role.ID}})
	a := w.access(secret)
	w.ok(mustAs(w, a).Delete(w.ctx, a.TokenID()))
}

// Uses are written down only now and then: an idle limit that is new must not end a token that was used a minute ago.
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

// A role may be weak by its boundary alone: who inherits it takes over what the boundary holds back.
func TestNobodyPassesOnWhatABoundaryHoldsBack(t *testing.T) {
	w := newWorld(t)
	all := latchkey.Permissions{latchkey.Allow(latchkey.Any).On("*")}
	base := w.role("base", latchkey.Allow(latchkey.Read).On("a"))
	heir, err := w.acme.CreateRole(w.ctx, latchkey.Role{Name: "heir", Inherits: []string{base.ID}})
	w.ok(err)
	bounded, err := w.acme.CreateRole(w.ctx, latchkey.Role{Name: "bounded", Inherits: []string{base.ID}, Permissions: all,
		Boundary: latchkey.Permissions{latchkey.Allow(latchkey.Read).On("a")}})
	w.ok(err)
	_, secret := w.key(latchkey.Allow(latchkey.Read).On("a"), latchkey.Allow(latchkey.Any).On("latchkey/role/*"))
	mine := mustAs(w, w.access(secret))

	_, err = mine.CreateRole(w.ctx, latchkey.Role{Name: "mine", Inherits: []string{bounded.ID}})
	assert.ErrorIs(t, err, latchkey.ErrDenied, "an heir without a boundary")
	_, err = mine.CreateRole(w.ctx, latchkey.Role{Name: "mine", Inherits: []string{bounded.ID}, Boundary: all})
	assert.ErrorIs(t, err, latchkey.ErrDenied, "an heir with a wide boundary")
	_, err = mine.CreateRole(w.ctx, latchkey.Role{Name: "mine", Inherits: []string{bounded.ID}, Boundary: latchkey.Permissions{}})
	assert.NoError(t, err, "an heir that adds nothing to the boundary")

	_, err = mine.UpdateRole(w.ctx, base.ID, func(r *latchkey.Role) error {
		r.Permissions, r.Boundary = all, latchkey.Permissions{latchkey.Allow(latchkey.Read).On("a")}
		return nil
	})
	assert.ErrorIs(t, err, latchkey.ErrDenied, "rules for an heir, behind a boundary")
	_, err = mine.UpdateRole(w.ctx, base.ID, func(r *latchkey.Role) error { r.Boundary = all; return nil })
	assert.ErrorIs(t, err, latchkey.ErrDenied, "a boundary that lets through what an heir says")
	_, err = mine.UpdateRole(w.ctx, base.ID, func(r *latchkey.Role) error { r.Permissions = nil; return nil })
	assert.NoError(t, err)
	for _, r := range []latchkey.Role{heir, bounded} {
		_, secret := w.issue(latchkey.KindAPIKey, latchkey.Settings{Roles: []string{r.ID}})
		assert.False(t, w.access(secret).Allows(latchkey.Read, "b"), r.Name)
	}
}

// A Deny that a bounded role applies again holds for who inherits that role, too, though within its boundary it changes
// nothing.
func TestNobodyLiftsADenyBehindABoundary(t *testing.T) {
	w := newWorld(t)
	base := w.role("base", latchkey.Deny(latchkey.Read).On("b"))
	bounded, err := w.acme.CreateRole(w.ctx, latchkey.Role{Name: "bounded", Inherits: []string{base.ID}, InheritDenies: true,
		Permissions: latchkey.Permissions{latchkey.Allow(latchkey.Read).On("a", "b")},
		Boundary:    latchkey.Permissions{latchkey.Allow(latchkey.Read).On("a")}})
	w.ok(err)
	heir, err := w.acme.CreateRole(w.ctx, latchkey.Role{Name: "heir", Inherits: []string{bounded.ID}})
	w.ok(err)
	_, held := w.issue(latchkey.KindAPIKey, latchkey.Settings{Roles: []string{heir.ID}})
	assert.False(t, w.access(held).Allows(latchkey.Read, "b"))
	_, secret := w.key(latchkey.Allow(latchkey.Read).On("a"), latchkey.Allow(latchkey.Any).On("latchkey/role/*"))

	_, err = mustAs(w, w.access(secret)).UpdateRole(w.ctx, base.ID, func(r *latchkey.Role) error {
		r.Permissions = nil
		return nil
	})
	assert.ErrorIs(t, err, latchkey.ErrDenied)
	assert.False(t, w.access(held).Allows(latchkey.Read, "b"))
}

// stepIn is a store where somebody comes between a listing of the roles that inherit one and what is made of it.
type stepIn struct {
	latchkey.Store
	then func()
}

func (s *stepIn) Roles(ctx context.Context, owner string, q latchkey.RoleQuery) ([]latchkey.Role, error) {
	list, err := s.Store.Roles(ctx, owner, q)
	if then := s.then; then != nil && q.Inherits != "" {
		s.then = nil
		then()
	}
	return list, err
}

// Two calls at once, each within her rights, must not make a role that is beyond them.
func TestNobodyMakesAnHeirBehindTheBackOfAnEdit(t *testing.T) {
	for what, early := range map[string]bool{"a new heir": false, "an heir that changes": true} {
		t.Run(what, func(t *testing.T) {
			w := newWorld(t)
			base := w.role("base", latchkey.Deny(latchkey.Read).On("b"))
			_, secret := w.key(latchkey.Allow(latchkey.Read).On("a"), latchkey.Allow(latchkey.Any).On("latchkey/role/*"),
				latchkey.Allow(latchkey.Any).On("latchkey/token/*"))
			mine := mustAs(w, w.access(secret))
			record := func() latchkey.Owner {
				o, err := w.acme.Record(w.ctx)
				w.ok(err)
				o.Version = 0
				return o
			}
			if early {
				w.configure(func(o *latchkey.Owner) {
					o.Extra, o.Limits.Credits, o.Boundary = []byte(`{"plan":1}`), 7, latchkey.Permissions{latchkey.Allow(latchkey.Any).On("*", "latchkey/*")}
				})
			}
			before := record()
			heir := latchkey.Role{Name: "heir", Inherits: []string{base.ID}}
			var err error
			if early {
				heir, err = mine.CreateRole(w.ctx, heir)
				w.ok(err)
			}
			s := &stepIn{Store: w.store.Store}
			w.store.Store = s
			s.then = func() {
				say := func(r *latchkey.Role) error {
					r.InheritDenies, r.Permissions = true, latchkey.Permissions{latchkey.Allow(latchkey.Read).On("a", "b")}
					return nil
				}
				if early {
					_, err = mine.UpdateRole(w.ctx, heir.ID, say)
				} else {
					w.ok(say(&heir))
					heir, err = mine.CreateRole(w.ctx, heir)
				}
				w.ok(err)
			}
			_, err = mine.UpdateRole(w.ctx, base.ID, func(r *latchkey.Role) error { r.Permissions = nil; return nil })
			assert.ErrorIs(t, err, latchkey.ErrDenied)
			require.Nil(t, s.then, "somebody came between")
			_, held := w.issue(latchkey.KindAPIKey, latchkey.Settings{Roles: []string{heir.ID}})
			assert.False(t, w.access(held).Allows(latchkey.Read, "b"))
			assert.Equal(t, before, record(), "the owner's record is what it was")
			_, err = mine.CreateRole(w.ctx, latchkey.Role{Name: "heir", Inherits: []string{base.ID}})
			assert.ErrorIs(t, err, latchkey.ErrExists)
		})
	}
}

// A secret key that was narrowed to a role has its rights from there, though the key does not name it.
func TestNothingIsWrittenPastALossOfANarrowedRole(t *testing.T) {
	w := newWorld(t)
	role := w.role("admin", append(admin(), readAll())...)
	_, secret := w.issue(latchkey.KindSecret, latchkey.Settings{})
	a, err := w.keys.Verify(w.ctx, latchkey.Presented{Secret: secret})
	w.ok(err)
	narrow, err := a.Narrow(w.ctx, latchkey.Narrowing{Roles: []string{role.ID}})
	w.ok(err)
	as, err := w.acme.As(narrow)
	w.ok(err)
	spec := latchkey.Spec{Kind: latchkey.KindAPIKey,
		Permissions: latchkey.Permissions{readAll()}}
	_, _, err = as.Issue(w.ctx, spec)
	w.ok(err)
	done := w.store.before(func() { w.editRole(role, func(r *latchkey.Role) { r.Permissions = nil }) })
	_, _, err = as.Issue(w.ctx, spec)
	w.is(latchkey.ErrDenied, err)
	require.True(t, done())
}
