package latchkey_test

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/latchkey-go/latchkey"
	"github.com/latchkey-go/latchkey/memstore"
)

// world is a manager over a store in memory, with a clock the test turns.
type world struct {
	*testing.T
	ctx   context.Context
	time  atomic.Int64
	store *meddler
	keys  *latchkey.Manager
	acme  latchkey.Account
}

func (w *world) now() time.Time       { return time.UnixMicro(w.time.Load()).UTC() }
func (w *world) turn(d time.Duration) { w.time.Add(d.Microseconds()) }
func (w *world) is(want, got error)   { w.Helper(); require.ErrorIs(w, got, want) }
func (w *world) ok(err error)         { w.Helper(); require.NoError(w, err) }
func (w *world) options() latchkey.Options {
	return latchkey.Options{Clock: w.now, CreditLease: creditLease}
}

func newWorld(t *testing.T, change ...func(*latchkey.Options)) *world {
	w := &world{T: t, ctx: t.Context()}
	w.time.Store(time.Date(2026, 3, 4, 5, 6, 7, 0, time.UTC).UnixMicro())
	w.store = &meddler{Store: memstore.New(&memstore.Options{Clock: w.now})}
	o := w.options()
	for _, c := range change {
		c(&o)
	}
	w.keys = latchkey.New(w.store, &o)
	w.acme = w.keys.For("acme")
	t.Cleanup(func() { _ = w.keys.Close(context.Background()) })
	return w
}

func (w *world) role(name string, p ...latchkey.Rule) latchkey.Role {
	w.Helper()
	r, err := w.acme.CreateRole(w.ctx, latchkey.Role{Name: name, Permissions: p})
	w.ok(err)
	return r
}

func (w *world) issue(kind latchkey.Kind, s latchkey.Settings) (latchkey.Token, string) {
	w.Helper()
	if kind == latchkey.KindSession && s.Validity.NotAfter.IsZero() {
		s.Validity.NotAfter = w.now().Add(time.Hour)
	}
	t, secret, err := w.acme.Issue(w.ctx, s.Spec(kind))
	w.ok(err)
	return t, secret.Reveal()
}

func (w *world) key(rules ...latchkey.Rule) (latchkey.Token, string) {
	w.Helper()
	return w.issue(latchkey.KindAPIKey, latchkey.Settings{Permissions: rules})
}

func (w *world) verify(secret string) (latchkey.Access, error) {
	return w.keys.Verify(w.ctx, latchkey.Presented{Secret: secret})
}

func (w *world) access(secret string) latchkey.Access {
	w.Helper()
	a, err := w.verify(secret)
	w.ok(err)
	return a
}

func (w *world) mint(a latchkey.Access, n latchkey.Narrowing) (latchkey.Token, string) {
	w.Helper()
	if n.Lifetime == 0 {
		n.Lifetime = time.Hour
	}
	t, s, err := a.Mint(w.ctx, n)
	w.ok(err)
	return t, s.Reveal()
}

// meddler is a store that counts, and that fails when told to.
type meddler struct {
	latchkey.Store
	lookups, epochs atomic.Int64
	fail            atomic.Pointer[error]
	unknown         atomic.Int64 // writes that take effect and say ErrUnknownOutcome
	gone            atomic.Bool  // after one of those the store is gone
	between         atomic.Pointer[func()]
}

// before runs do before the next Write, between what a call read and what it writes. Done reports whether it ran.
func (s *meddler) before(do func()) (done func() bool) {
	var ran atomic.Bool
	f := func() { ran.Store(true); do() }
	s.between.Store(&f)
	return ran.Load
}

func (s *meddler) trouble() error {
	if e := s.fail.Load(); e != nil {
		return *e
	}
	return nil
}

func (s *meddler) ByDigest(ctx context.Context, d ...[32]byte) (latchkey.Found, error) {
	s.lookups.Add(1)
	if err := s.trouble(); err != nil {
		return latchkey.Found{}, err
	}
	return s.Store.ByDigest(ctx, d...)
}

func (s *meddler) Load(ctx context.Context, owner, id string) (latchkey.Found, error) {
	if err := s.trouble(); err != nil {
		return latchkey.Found{}, err
	}
	return s.Store.Load(ctx, owner, id)
}

func (s *meddler) Changes(ctx context.Context, after uint64, n int) (latchkey.Feed, error) {
	s.epochs.Add(1)
	if err := s.trouble(); err != nil {
		return latchkey.Feed{}, err
	}
	return s.Store.Changes(ctx, after, n)
}

func (s *meddler) Write(ctx context.Context, w latchkey.Write) (uint64, error) {
	if err := s.trouble(); err != nil {
		return 0, err
	}
	if do := s.between.Swap(nil); do != nil {
		(*do)()
	}
	epoch, err := s.Store.Write(ctx, w)
	if err == nil && s.unknown.Load() > 0 {
		s.unknown.Add(-1)
		if s.gone.Load() {
			s.fail.Store(&latchkey.ErrUnavailable)
		}
		return 0, latchkey.ErrUnknownOutcome
	}
	return epoch, err
}

func readAll() latchkey.Rule { return latchkey.Allow(latchkey.Read).On("*") }

func TestIssueAndVerifyEveryKind(t *testing.T) {
	for _, c := range []struct {
		kind     latchkey.Kind
		test     bool
		prefix   string
		everyone bool // may read without being told so
	}{
		{latchkey.KindSecret, false, "sk_", true},
		{latchkey.KindSecret, true, "Tsk_", true},
		{latchkey.KindPublishable, false, "pk_", false},
		{latchkey.KindPublishable, true, "Tpk_", false},
		{latchkey.KindAPIKey, false, "ak_", false},
		{latchkey.KindSession, false, "ss_", false},
	} {
		t.Run(c.prefix, func(t *testing.T) {
			w := newWorld(t)
			spec := latchkey.Spec{Kind: c.kind, Test: c.test}
			spec.Name = "n"
			spec.Validity.NotAfter = w.now().Add(time.Hour)
			tok, secret, err := w.acme.Issue(w.ctx, spec)
			w.ok(err)
			require.True(t, strings.HasPrefix(secret.Reveal(), c.prefix), tok.Hint)
			assert.Equal(t, c.kind == latchkey.KindPublishable, tok.Public == secret.Reveal())
			for range 2 { // from the store, then from memory
				a, err := w.keys.Verify(w.ctx, latchkey.Presented{Secret: secret.Reveal(), Test: c.test})
				w.ok(err)
				assert.Equal(t, c.everyone, a.Allows(latchkey.Read, "dataset/x"))
				assert.Equal(t, c.everyone, a.Allows(latchkey.Create, "latchkey/token/x"))
				assert.Equal(t, tok.ID, a.TokenID())
				assert.Equal(t, "acme", a.Owner())
				assert.Equal(t, c.kind, a.Kind())
				_, err = w.keys.Verify(w.ctx, latchkey.Presented{Secret: secret.Reveal(), Test: !c.test})
				w.is(latchkey.ErrTestMode, err)
			}
			got, err := w.acme.Get(w.ctx, tok.ID)
			w.ok(err)
			got.Used = time.Time{}
			assert.Equal(t, tok, got)
		})
	}
}

func TestIssueRefuses(t *testing.T) {
	w := newWorld(t)
	at := func(d time.Duration) latchkey.Validity { return latchkey.Validity{NotAfter: w.now().Add(d)} }
	for name, spec := range map[string]latchkey.Spec{
		"no kind":                  {},
		"an access token":          {Kind: latchkey.KindAccess, Validity: at(time.Hour)},
		"a secret with roles":      {Kind: latchkey.KindSecret, Roles: []string{"x"}},
		"a secret with rules":      {Kind: latchkey.KindSecret, Permissions: latchkey.Permissions{readAll()}},
		"an endless session":       {Kind: latchkey.KindSession},
		"a test API key":           {Kind: latchkey.KindAPIKey, Test: true},
		"an end that is past":      {Kind: latchkey.KindAPIKey, Validity: at(-time.Second)},
		"an end that is now":       {Kind: latchkey.KindAPIKey, Validity: at(0)},
		"an unknown role":          {Kind: latchkey.KindAPIKey, Roles: []string{"nope"}},
		"negative credits":         {Kind: latchkey.KindAPIKey, Limits: latchkey.Limits{Credits: -1}},
		"a rate without Per":       {Kind: latchkey.KindAPIKey, Limits: latchkey.Limits{Rate: latchkey.Rate{Count: 1}}},
		"a negative idle time":     {Kind: latchkey.KindAPIKey, Validity: latchkey.Validity{Idle: -1}},
		"a name with NUL":          {Kind: latchkey.KindAPIKey, Name: "a\x00"},
		"a name of bad UTF-8":      {Kind: latchkey.KindAPIKey, Name: "a\xff"},
		"a pattern with empty seg": {Kind: latchkey.KindAPIKey, Permissions: latchkey.Permissions{latchkey.Allow(latchkey.Read).On("a//b")}},
		"a domain with user info":  {Kind: latchkey.KindAPIKey, Restrictions: latchkey.Restrictions{Domains: []string{"a@b.com"}}},
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

// Two slips that everybody makes once: the error says what to do.
func TestIssueSaysWhatToMend(t *testing.T) {
	w := newWorld(t)
	role, err := w.acme.CreateRole(w.ctx, latchkey.Role{Name: "clerk"})
	w.ok(err)
	_, _, err = w.acme.Issue(w.ctx, latchkey.Spec{})
	require.ErrorContains(t, err, "Spec.Kind is not set")
	_, _, err = w.acme.Issue(w.ctx, latchkey.Spec{Kind: latchkey.KindAccess})
	require.ErrorContains(t, err, "are minted")
	_, _, err = w.acme.Issue(w.ctx, latchkey.Spec{
		Kind: latchkey.KindAPIKey, Roles: []string{role.Name}})
	require.ErrorContains(t, err, `unknown role "clerk": a role is named by its ID`)
}

func TestNewPanicsWithASentence(t *testing.T) {
	store := memstore.New(nil)
	for say, f := range map[string]func(){
		"New needs a Store":     func() { latchkey.New(nil, nil) },
		"1 to 8 characters":     func() { latchkey.New(store, &latchkey.Options{Prefix: "ninechars"}) },
		"a-z and 0-9":           func() { latchkey.New(store, &latchkey.Options{Prefix: "A_"}) },
		"MaxStale is negative":  func() { latchkey.New(store, &latchkey.Options{MaxStale: -1}) },
		"MaxDepth must be":      func() { latchkey.New(store, &latchkey.Options{MaxDepth: 33}) },
		"owner is empty":        func() { latchkey.New(store, nil).For("") },
		"owner holds a NUL":     func() { latchkey.New(store, nil).For("\x00") },
		"SignatureSkew is nega": func() { latchkey.New(store, &latchkey.Options{SignatureSkew: -1}) },
	} {
		func() {
			defer func() { assert.Contains(t, fmt.Sprint(recover()), say) }()
			f()
		}()
	}
}

func TestUnknownTextsAreRefusedWithoutAskingTheStore(t *testing.T) {
	w := newWorld(t)
	_, secret := w.key()
	flipped := []byte(secret)
	flipped[10] ^= 1
	for _, text := range []string{"", "x", secret[:len(secret)-1], secret + "0", " " + secret, string(flipped),
		strings.ToUpper(secret), strings.Repeat("a", 600), "at_tooshort", "Bearer " + secret} {
		_, err := w.verify(text)
		require.ErrorIs(t, err, latchkey.ErrUnknownToken, text)
		require.ErrorIs(t, err, latchkey.ErrInvalidToken)
	}
	assert.Zero(t, w.store.lookups.Load())
}

func TestRefusalsComeInOrder(t *testing.T) {
	w := newWorld(t)
	hour := w.now().Add(time.Hour)
	tok, secret := w.issue(latchkey.KindSecret, latchkey.Settings{
		Validity:     latchkey.Validity{NotBefore: hour},
		Restrictions: latchkey.Restrictions{Domains: []string{"example.com"}, Signed: true, Addresses: prefixes("10.0.0.0/8")},
	})
	other := w.keys.For("other")
	// Everything is wrong at once; each step mends what was told, and the next refusal shows.
	p := latchkey.Presented{Secret: secret, Test: true}
	step := func(want error) {
		w.Helper()
		for range 2 {
			_, err := other.Verify(w.ctx, p)
			w.is(want, err)
		}
	}
	w.ok(w.acme.Configure(w.ctx, func(o *latchkey.Owner) error { o.Disabled = true; return nil }))
	_, err := w.acme.Update(w.ctx, tok.ID, func(t *latchkey.Token) error { t.Disabled = true; return nil })
	w.ok(err)
	step(latchkey.ErrUnknownToken) // another owner's is as good as none
	other = w.acme
	step(latchkey.ErrTestMode)
	p.Test = false
	step(latchkey.ErrOwnerDisabled)
	w.ok(w.acme.Configure(w.ctx, func(o *latchkey.Owner) error { o.Disabled = false; return nil }))
	step(latchkey.ErrDisabled)
	_, err = w.acme.Update(w.ctx, tok.ID, func(t *latchkey.Token) error { t.Disabled = false; return nil })
	w.ok(err)
	step(latchkey.ErrNotYetValid)
	w.turn(time.Hour)
	step(latchkey.ErrSignatureRequired)
	_, err = w.acme.Update(w.ctx, tok.ID, func(t *latchkey.Token) error { t.Restrictions.Signed = false; return nil })
	w.ok(err)
	step(latchkey.ErrReferer)
	p.Referer = "https://example.com/page"
	step(latchkey.ErrAddress)
	p.Address = netip.MustParseAddr("10.1.2.3")
	_, err = other.Verify(w.ctx, p)
	w.ok(err)
	w.ok(w.acme.Revoke(w.ctx, tok.ID, "enough"))
	step(latchkey.ErrRevoked)
	w.ok(w.acme.Delete(w.ctx, tok.ID))
	step(latchkey.ErrUnknownToken)
}

func prefixes(list ...string) (out []netip.Prefix) {
	for _, p := range list {
		out = append(out, netip.MustParsePrefix(p))
	}
	return out
}

// Whatever changes, the next Verify knows, from memory or not.
func TestChangesBiteOnTheNextVerify(t *testing.T) {
	for name, c := range map[string]struct {
		change func(w *world, key latchkey.Token, role latchkey.Role)
		want   error // of the minted token; nil: it lives and may no longer read
	}{
		"revoking the key": {func(w *world, k latchkey.Token, _ latchkey.Role) { w.ok(w.acme.Revoke(w.ctx, k.ID, "")) }, latchkey.ErrParent},
		"deleting the key": {func(w *world, k latchkey.Token, _ latchkey.Role) { w.ok(w.acme.Delete(w.ctx, k.ID)) }, latchkey.ErrUnknownToken},
		"disabling the owner": {func(w *world, _ latchkey.Token, _ latchkey.Role) {
			w.configure(func(o *latchkey.Owner) { o.Disabled = true })
		}, latchkey.ErrOwnerDisabled},
		"ending all tokens": {func(w *world, _ latchkey.Token, _ latchkey.Role) {
			w.turn(time.Second)
			w.configure(func(o *latchkey.Owner) { o.NotBefore = w.now() })
		}, latchkey.ErrRevoked},
		"erasing the owner": {func(w *world, _ latchkey.Token, _ latchkey.Role) { w.ok(w.acme.Erase(w.ctx)) }, latchkey.ErrUnknownToken},
		"the key's end": {func(w *world, k latchkey.Token, _ latchkey.Role) {
			w.update(k, func(t *latchkey.Token) { t.Validity.NotAfter = w.now() })
		}, latchkey.ErrParent},
		"time": {func(w *world, _ latchkey.Token, _ latchkey.Role) { w.turn(time.Hour) }, latchkey.ErrExpired},
		"taking the role": {func(w *world, k latchkey.Token, _ latchkey.Role) {
			w.update(k, func(t *latchkey.Token) { t.Roles = nil })
		}, nil},
		"editing the role": {func(w *world, _ latchkey.Token, r latchkey.Role) {
			w.editRole(r, func(r *latchkey.Role) { r.Permissions = nil })
		}, nil},
		"a boundary": {func(w *world, _ latchkey.Token, _ latchkey.Role) {
			w.configure(func(o *latchkey.Owner) { o.Boundary = latchkey.Permissions{} })
		}, nil},
		"a deny on the key": {func(w *world, k latchkey.Token, _ latchkey.Role) {
			w.update(k, func(t *latchkey.Token) { t.Permissions = latchkey.Permissions{latchkey.Deny(latchkey.Read).On("*")} })
		}, nil},
		"a restriction": {func(w *world, k latchkey.Token, _ latchkey.Role) {
			w.update(k, func(t *latchkey.Token) { t.Restrictions.Domains = []string{"a.com"} })
		}, latchkey.ErrReferer},
		"rotating keeps alive": {func(w *world, k latchkey.Token, r latchkey.Role) {
			_, err := w.acme.Rotate(w.ctx, k.ID, 0)
			w.ok(err)
			w.editRole(r, func(r *latchkey.Role) { r.Permissions = nil })
		}, nil},
	} {
		for _, depth := range []int{1, 3} {
			t.Run(fmt.Sprintf("%s, %d generations", name, depth), func(t *testing.T) {
				w := newWorld(t)
				role := w.role("reader", readAll())
				key, secret := w.issue(latchkey.KindAPIKey, latchkey.Settings{Roles: []string{role.ID}})
				other, otherSecret := w.key(readAll())
				child := secret
				for range depth {
					_, child = w.mint(w.access(child), latchkey.Narrowing{})
				}
				for range 3 {
					require.True(t, w.access(child).Allows(latchkey.Read, "a/b"))
				}
				w.access(otherSecret)
				c.change(w, key, role)
				for range 3 {
					a, err := w.verify(child)
					if c.want != nil {
						want := c.want
						if name == "time" || name == "deleting the key" || depth == 1 {
							w.is(want, err)
						} else {
							w.is(latchkey.ErrInvalidToken, err)
						}
						require.False(t, a.Allows(latchkey.Read, "a/b"))
						continue
					}
					w.ok(err)
					require.False(t, a.Allows(latchkey.Read, "a/b"))
				}
				_ = other
				if name == "revoking the key" || name == "deleting the key" {
					require.True(t, w.access(otherSecret).Allows(latchkey.Read, "a/b"), "siblings live")
				}
			})
		}
	}
}

func (w *world) configure(f func(*latchkey.Owner)) {
	w.Helper()
	w.ok(w.acme.Configure(w.ctx, func(o *latchkey.Owner) error { f(o); return nil }))
}

func (w *world) update(t latchkey.Token, f func(*latchkey.Token)) {
	w.Helper()
	_, err := w.acme.Update(w.ctx, t.ID, func(t *latchkey.Token) error { f(t); return nil })
	w.ok(err)
}

func (w *world) editRole(r latchkey.Role, f func(*latchkey.Role)) {
	w.Helper()
	_, err := w.acme.UpdateRole(w.ctx, r.ID, func(r *latchkey.Role) error { f(r); return nil })
	w.ok(err)
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
	_, err = w.acme.Rotate(w.ctx, tok.ID, -1)
	w.is(latchkey.ErrInvalid, err)
	w.ok(w.acme.Revoke(w.ctx, tok.ID, ""))
	_, err = w.acme.Rotate(w.ctx, tok.ID, 0)
	w.is(latchkey.ErrInvalid, err)
}

func TestIdle(t *testing.T) {
	t.Run("slides, up to the cap", func(t *testing.T) {
		w := newWorld(t)
		_, secret := w.issue(latchkey.KindSession, latchkey.Settings{
			Validity: latchkey.Validity{NotAfter: w.now().Add(time.Hour), Idle: 20 * time.Minute}})
		for range 3 {
			w.turn(19 * time.Minute)
			w.access(secret)
		}
		w.turn(2 * time.Minute)
		w.access(secret)
		w.turn(time.Minute) // 60 minutes: the cap, however busy
		_, err := w.verify(secret)
		w.is(latchkey.ErrExpired, err)
	})
	t.Run("never used", func(t *testing.T) {
		w := newWorld(t)
		_, secret := w.issue(latchkey.KindAPIKey, latchkey.Settings{Validity: latchkey.Validity{Idle: 20 * time.Minute}})
		w.turn(20 * time.Minute)
		_, err := w.verify(secret)
		w.is(latchkey.ErrExpired, err)
	})
	t.Run("not used for long", func(t *testing.T) {
		w := newWorld(t)
		_, secret := w.issue(latchkey.KindAPIKey, latchkey.Settings{Validity: latchkey.Validity{Idle: 20 * time.Minute}})
		w.turn(10 * time.Minute)
		w.access(secret)
		w.turn(20 * time.Minute)
		for range 2 {
			_, err := w.verify(secret)
			w.is(latchkey.ErrExpired, err)
		}
	})
	t.Run("used on another node", func(t *testing.T) {
		w := newWorld(t)
		_, secret := w.issue(latchkey.KindAPIKey, latchkey.Settings{Validity: latchkey.Validity{Idle: 20 * time.Minute}})
		o := w.options()
		node := latchkey.New(w.store, &o)
		w.access(secret)
		for range 4 {
			w.turn(15 * time.Minute)
			_, err := node.Verify(w.ctx, latchkey.Presented{Secret: secret})
			w.ok(err)
		}
		w.ok(node.Close(w.ctx))
		w.access(secret) // looks idle here; the store knows better
	})
	t.Run("a parent that idles out takes its children along", func(t *testing.T) {
		w := newWorld(t)
		_, secret := w.issue(latchkey.KindAPIKey, latchkey.Settings{
			Permissions: latchkey.Permissions{readAll()}, Validity: latchkey.Validity{Idle: 20 * time.Minute}})
		_, child := w.mint(w.access(secret), latchkey.Narrowing{Lifetime: 24 * time.Hour})
		w.turn(15 * time.Minute)
		w.access(child)
		w.access(secret)
		w.turn(15 * time.Minute)
		w.access(child) // its use is not the parent's, but the parent was used too
		w.turn(5 * time.Minute)
		for range 2 {
			_, err := w.verify(child)
			w.is(latchkey.ErrParent, err)
		}
	})
}

func TestLastUse(t *testing.T) {
	w := newWorld(t)
	tok, secret := w.key()
	w.turn(time.Second)
	w.access(secret)
	first := w.now()
	got, err := w.acme.Get(w.ctx, tok.ID)
	w.ok(err)
	assert.Equal(t, first, got.Used, "a process reads its own uses")
	w.turn(5 * time.Minute)
	w.access(secret)
	got, err = w.acme.Get(w.ctx, tok.ID)
	w.ok(err)
	assert.Equal(t, first, got.Used, "it moved by less than ten minutes")
	w.turn(5 * time.Minute)
	w.access(secret)
	w.ok(w.keys.Close(w.ctx))
	f, err := w.store.Load(w.ctx, "acme", tok.ID)
	w.ok(err)
	assert.Equal(t, w.now(), f.Token.Used, "Close writes what waits")
	assert.Equal(t, uint64(1), f.Token.Version)
}

func TestClockSetBackRevivesNothing(t *testing.T) {
	w := newWorld(t)
	_, secret := w.issue(latchkey.KindAPIKey, latchkey.Settings{Validity: latchkey.Validity{NotAfter: w.now().Add(time.Hour)}})
	_, live := w.key()
	w.access(live)
	w.turn(time.Hour)
	w.access(live) // the store's clock is seen
	_, err := w.verify(secret)
	w.is(latchkey.ErrExpired, err)
	w.turn(-2 * time.Hour)
	_, err = w.verify(secret)
	w.is(latchkey.ErrExpired, err)
}

func TestStoreTroubleIsNeverNotFound(t *testing.T) {
	w := newWorld(t)
	_, cached := w.key(readAll())
	_, fresh := w.key(readAll())
	w.access(cached)
	down := fmt.Errorf("%w: the cable", latchkey.ErrUnavailable)
	w.store.fail.Store(&down)
	for _, s := range []string{cached, fresh} {
		a, err := w.verify(s)
		w.is(latchkey.ErrUnavailable, err)
		assert.NotErrorIs(t, err, latchkey.ErrInvalidToken)
		assert.False(t, a.Allows(latchkey.Read, "x"))
	}
	odd := errors.New("a driver's own error")
	w.store.fail.Store(&odd)
	_, err := w.verify(fresh)
	w.is(latchkey.ErrUnavailable, err)
	w.store.fail.Store(nil)
	w.access(cached)
}

func TestUnknownOutcomeIsSettledByWritingAgain(t *testing.T) {
	w := newWorld(t)
	w.store.unknown.Store(2)
	tok, secret := w.key()
	w.access(secret)
	w.store.unknown.Store(2)
	w.ok(w.acme.Revoke(w.ctx, tok.ID, "x"))
	n := 0
	for range w.acme.Events(w.ctx, 0) {
		n++
	}
	assert.Equal(t, 2, n, "one event each, however often it was written")
	w.store.unknown.Store(100)
	_, _, err := w.acme.Issue(w.ctx, latchkey.Spec{Kind: latchkey.KindAPIKey})
	w.is(latchkey.ErrUnknownOutcome, err)
}

// A store that is gone before it can be asked again does not make it known that nothing happened.
func TestUnknownOutcomeStaysUnknown(t *testing.T) {
	w := newWorld(t)
	tok, secret := w.key()
	w.store.unknown.Store(1)
	w.store.gone.Store(true)
	err := w.acme.Revoke(w.ctx, tok.ID, "x")
	w.is(latchkey.ErrUnknownOutcome, err)
	assert.NotErrorIs(t, err, latchkey.ErrUnavailable)
	w.store.fail.Store(nil)
	_, err = w.verify(secret)
	w.is(latchkey.ErrRevoked, err)
}

func TestMaxStale(t *testing.T) {
	const bound = 10 * time.Second
	setup := func(t *testing.T) (w *world, other *latchkey.Manager, tok latchkey.Token, secret string) {
		w = newWorld(t, func(o *latchkey.Options) { o.MaxStale = bound })
		o := w.options()
		other = latchkey.New(w.store, &o)
		tok, secret = w.key(readAll())
		w.access(secret)
		return
	}
	t.Run("within the bound the store is not asked", func(t *testing.T) {
		w, _, _, secret := setup(t)
		w.access(secret)
		before := w.store.epochs.Load() + w.store.lookups.Load()
		w.turn(bound / 2)
		for range 100 {
			w.access(secret)
		}
		assert.Equal(t, before, w.store.epochs.Load()+w.store.lookups.Load())
	})
	t.Run("past it every change is known", func(t *testing.T) {
		w, other, tok, secret := setup(t)
		w.access(secret)
		w.ok(other.For("acme").Revoke(w.ctx, tok.ID, ""))
		w.turn(bound + time.Microsecond)
		_, err := w.verify(secret)
		w.is(latchkey.ErrRevoked, err)
	})
	t.Run("one's own changes are known at once", func(t *testing.T) {
		w, _, tok, secret := setup(t)
		w.access(secret)
		w.ok(w.acme.Revoke(w.ctx, tok.ID, ""))
		_, err := w.verify(secret)
		w.is(latchkey.ErrRevoked, err)
	})
	t.Run("what one finds ended already is known at once", func(t *testing.T) {
		w, other, tok, secret := setup(t)
		w.access(secret)
		w.ok(other.For("acme").Revoke(w.ctx, tok.ID, ""))
		w.ok(w.acme.Revoke(w.ctx, tok.ID, ""))
		_, err := w.verify(secret)
		w.is(latchkey.ErrRevoked, err)
	})
	t.Run("what one finds deleted already is known at once", func(t *testing.T) {
		w, other, tok, secret := setup(t)
		w.access(secret)
		w.ok(other.For("acme").Delete(w.ctx, tok.ID))
		w.is(latchkey.ErrNotFound, w.acme.Delete(w.ctx, tok.ID))
		_, err := w.verify(secret)
		w.is(latchkey.ErrUnknownToken, err)
	})
	t.Run("so is a role", func(t *testing.T) {
		w, other, _, _ := setup(t)
		r := w.role("reader", readAll())
		_, secret := w.issue(latchkey.KindAPIKey, latchkey.Settings{Roles: []string{r.ID}})
		w.access(secret)
		a := w.access(secret)
		_, err := other.For("acme").Update(w.ctx, a.TokenID(), func(t *latchkey.Token) error { t.Roles = nil; return nil })
		w.ok(err)
		w.ok(other.For("acme").DeleteRole(w.ctx, r.ID))
		w.ok(w.access(secret).Check(latchkey.Read, "x"))
		w.is(latchkey.ErrNotFound, w.acme.DeleteRole(w.ctx, r.ID))
		w.is(latchkey.ErrDenied, w.access(secret).Check(latchkey.Read, "x"))
	})
	t.Run("what one perhaps changed is looked at", func(t *testing.T) {
		w, _, tok, secret := setup(t)
		w.access(secret)
		w.store.unknown.Store(100)
		w.is(latchkey.ErrUnknownOutcome, w.acme.Revoke(w.ctx, tok.ID, ""))
		_, err := w.verify(secret)
		w.is(latchkey.ErrRevoked, err)
	})
	t.Run("past it without the store nothing is answered", func(t *testing.T) {
		w, _, _, secret := setup(t)
		w.access(secret)
		down := latchkey.ErrUnavailable
		w.store.fail.Store(&down)
		w.turn(bound / 2)
		w.access(secret)
		w.turn(bound/2 + time.Microsecond)
		_, err := w.verify(secret)
		w.is(latchkey.ErrUnavailable, err)
		w.store.fail.Store(nil)
		w.access(secret)
	})
	t.Run("Wake reads now", func(t *testing.T) {
		w, other, tok, secret := setup(t)
		w.access(secret)
		w.ok(other.For("acme").Revoke(w.ctx, tok.ID, ""))
		w.keys.Wake()
		require.Eventually(t, func() bool { _, err := w.verify(secret); return errors.Is(err, latchkey.ErrRevoked) },
			time.Minute, time.Millisecond)
	})
}

// rewound is a store whose feed can be made to lie about the past.
type rewound struct {
	latchkey.Store
	edit atomic.Pointer[func(latchkey.Feed) latchkey.Feed]
}

func (s *rewound) Changes(ctx context.Context, after uint64, n int) (latchkey.Feed, error) {
	feed, err := s.Store.Changes(ctx, after, n)
	if f := s.edit.Load(); f != nil {
		feed = (*f)(feed)
	}
	return feed, err
}

func TestHolesInHistoryForgetEverything(t *testing.T) {
	for name, edit := range map[string]func(latchkey.Feed) latchkey.Feed{
		"truncated": func(f latchkey.Feed) latchkey.Feed { f.Truncated, f.Changes = true, nil; return f },
		"truncated, and dense": func(f latchkey.Feed) latchkey.Feed {
			f.Truncated = true
			for i := range f.Changes {
				f.Changes[i].ID = "another"
			}
			return f
		},
		"a kind that is unknown": func(f latchkey.Feed) latchkey.Feed {
			for i := range f.Changes {
				f.Changes[i].Kind, f.Changes[i].ID = 99, "another"
			}
			return f
		},
		"a hole": func(f latchkey.Feed) latchkey.Feed { f.Changes = f.Changes[:0]; return f },
		"too high": func(f latchkey.Feed) latchkey.Feed {
			if len(f.Changes) > 1 {
				f.Changes = f.Changes[1:]
			}
			return f
		},
		"an epoch gone back": func(f latchkey.Feed) latchkey.Feed { f.Epoch, f.Changes = 1, nil; return f },
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			store := &rewound{Store: w.store}
			o := w.options()
			node := latchkey.New(store, &o)
			a, sa := w.key(readAll())
			b, _ := w.key()
			for range 3 { // so that there is a past
				w.update(b, func(t *latchkey.Token) { t.Name += "x" })
			}
			for range 3 {
				_, err := node.Verify(w.ctx, latchkey.Presented{Secret: sa})
				w.ok(err)
			}
			w.ok(w.acme.Revoke(w.ctx, a.ID, "")) // the change that goes missing
			w.ok(w.acme.Revoke(w.ctx, b.ID, ""))
			edited := 0
			lie := func(f latchkey.Feed) latchkey.Feed { edited++; return edit(f) }
			store.edit.Store(&lie)
			_, err := node.Verify(w.ctx, latchkey.Presented{Secret: sa})
			w.is(latchkey.ErrRevoked, err)
			require.Positive(t, edited)
		})
	}
}

// No Verify that starts after Revoke returned may succeed.
func TestNothingIsAcceptedAfterRevokeReturned(t *testing.T) {
	w := newWorld(t)
	o := w.options()
	nodes := []*latchkey.Manager{w.keys, latchkey.New(w.store, &o)}
	for range 30 {
		tok, secret := w.key(readAll())
		_, child := w.mint(w.access(secret), latchkey.Narrowing{})
		var revoked, stop atomic.Bool
		var wrong atomic.Int64
		var wg sync.WaitGroup
		for _, node := range nodes {
			for _, s := range []string{secret, child} {
				wg.Go(func() {
					for !stop.Load() {
						late := revoked.Load()
						if _, err := node.Verify(w.ctx, latchkey.Presented{Secret: s}); err == nil && late {
							wrong.Add(1)
						}
					}
				})
			}
		}
		time.Sleep(time.Millisecond)
		w.ok(w.acme.Revoke(w.ctx, tok.ID, ""))
		revoked.Store(true)
		time.Sleep(time.Millisecond)
		stop.Store(true)
		wg.Wait()
		require.Zero(t, wrong.Load())
	}
}

func TestCacheIsBoundedAndStaysRight(t *testing.T) {
	w := newWorld(t, func(o *latchkey.Options) { o.CacheTokens = 50 })
	type pair struct {
		id, secret string
		dead       bool
	}
	var all []pair
	for range 400 {
		tok, s := w.key(readAll())
		all = append(all, pair{id: tok.ID, secret: s})
	}
	for round := range 3 {
		for i := range all {
			p := &all[i]
			if i%7 == round && !p.dead {
				w.ok(w.acme.Revoke(w.ctx, p.id, ""))
				p.dead = true
			}
			a, err := w.verify(p.secret)
			require.Equal(t, p.dead, err != nil)
			if err == nil {
				require.Equal(t, p.id, a.TokenID())
			}
		}
	}
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
	for _, bad := range []string{"", "legacy-short", "other-0123456789abc", "legacy-\x00123456789abc", "at_0123456789abcdefgh"} {
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
			w.ok(err) // plain digests are always looked for
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

// A request that presents one token and is signed for another is neither's.
func TestASignatureThatNamesAnotherToken(t *testing.T) {
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

// Who rotates a token because it leaked must not leave the other half of the leak behind.
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
		w.turn(overlap)
		w.is(latchkey.ErrSignature, signed(next.Reveal(), old))
		w.ok(signed(next.Reveal(), fresh))
	}
}

func mustVerify(w *world, p latchkey.Presented) latchkey.Access {
	w.Helper()
	a, err := w.keys.Verify(w.ctx, p)
	w.ok(err)
	return a
}

func TestRandomnessThatFailsMakesNoToken(t *testing.T) {
	w := newWorld(t, func(o *latchkey.Options) { o.Rand = strings.NewReader("") })
	_, secret, err := w.acme.Issue(w.ctx, latchkey.Spec{Kind: latchkey.KindAPIKey})
	require.Error(t, err)
	assert.Empty(t, secret.Reveal())
}

// allocates counts what f allocates on average, in a world of its own in which nothing that is written behind is due
// meanwhile: AllocsPerRun counts that of every goroutine.
func allocates(t *testing.T, runs int, prepare func(w *world) (f func()), change ...func(*latchkey.Options)) (average float64) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		f := prepare(newWorld(t, change...))
		average = testing.AllocsPerRun(runs, f)
	})
	return average
}

func TestVerifyAndAllowsDoNotAllocate(t *testing.T) {
	assert.Zero(t, allocates(t, 200, func(w *world) func() {
		_, secret := w.key(readAll())
		w.access(secret)
		p := latchkey.Presented{Secret: secret}
		return func() {
			a, err := w.keys.Verify(w.ctx, p)
			if err != nil || !a.Allows(latchkey.Read, "dataset/orders") {
				w.Fatal(err)
			}
		}
	}))
}

// Readers look without a lock while the table grows, is rebuilt and forgotten under them.
func TestCacheUnderConcurrentGrowth(t *testing.T) {
	w := newWorld(t, func(o *latchkey.Options) { o.CacheTokens = 3000 })
	secrets := make([]string, 6000)
	ids := make([]string, len(secrets))
	for i := range secrets {
		tok, s := w.issue(latchkey.KindAPIKey, latchkey.Settings{Permissions: latchkey.Permissions{
			latchkey.Allow(latchkey.Read).On(latchkey.Exactly(latchkey.Path("d", fmt.Sprint(i%100))))}})
		secrets[i], ids[i] = s, tok.ID
	}
	var wg sync.WaitGroup
	for g := range 4 {
		wg.Go(func() {
			for round := range 3 {
				for i := range secrets {
					i = (i*7 + g*1500 + round) % len(secrets)
					a, err := w.verify(secrets[i])
					if err != nil || a.TokenID() != ids[i] || !a.Allows(latchkey.Read, latchkey.Path("d", fmt.Sprint(i%100))) {
						t.Errorf("token %d: %v", i, err)
						return
					}
				}
			}
		})
	}
	wg.Go(func() {
		for i := range 50 {
			w.configure(func(o *latchkey.Owner) { o.Extra = []byte(fmt.Sprint(i)) })
		}
	})
	wg.Wait()
}
