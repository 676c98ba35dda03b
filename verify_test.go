package latchkey_test

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/latchkey-go/latchkey"
)

// found is a store that hands out what edit made of a record, and counts how often.
type found struct {
	latchkey.Store
	edit   func(f *latchkey.Found)
	edited int
}

func (s *found) change(f latchkey.Found, err error) (latchkey.Found, error) {
	if s.edit != nil && err == nil {
		f.Token = f.Token.Clone()
		f.Ancestors = append([]latchkey.Token(nil), f.Ancestors...)
		s.edited++
		s.edit(&f)
	}
	return f, err
}

func (s *found) ByDigest(ctx context.Context, slot latchkey.Slot, d ...[32]byte) (latchkey.Found, error) {
	return s.change(s.Store.ByDigest(ctx, slot, d...))
}

func (s *found) Load(ctx context.Context, owner, id string) (latchkey.Found, error) {
	return s.change(s.Store.Load(ctx, owner, id))
}

// Records that contradict each other, or that cannot be read, are refused. They are never taken for empty ones.
func TestInconsistentRecordsAreRefused(t *testing.T) {
	for name, c := range map[string]struct {
		edit func(w *world, f *latchkey.Found)
		want error
	}{
		"as it was":    {func(*world, *latchkey.Found) {}, nil},
		"no ancestors": {func(_ *world, f *latchkey.Found) { f.Ancestors = nil }, latchkey.ErrParent},
		"the root is gone": {func(_ *world, f *latchkey.Found) {
			f.Ancestors = f.Ancestors[:1]
		}, latchkey.ErrParent},
		"the parent is gone": {func(_ *world, f *latchkey.Found) {
			f.Ancestors = f.Ancestors[1:]
		}, latchkey.ErrParent},
		"one too many": {func(_ *world, f *latchkey.Found) {
			f.Ancestors = append(f.Ancestors, f.Ancestors[1])
		}, latchkey.ErrParent},
		"no parent is named": {func(_ *world, f *latchkey.Found) { f.Token.Parent = "" }, latchkey.ErrParent},
		"another parent is named": {func(_ *world, f *latchkey.Found) {
			f.Token.Parent = f.Ancestors[1].ID
		}, latchkey.ErrParent},
		"a parent, but no depth": {func(_ *world, f *latchkey.Found) {
			f.Ancestors, f.Token.Depth = nil, 0
		}, latchkey.ErrParent},
		"a parent of another owner": {func(_ *world, f *latchkey.Found) {
			f.Ancestors[1].Owner = "other"
		}, latchkey.ErrParent},
		"a parent that is off": {func(_ *world, f *latchkey.Found) {
			f.Ancestors[0].Disabled = true
		}, latchkey.ErrParent},
		"a root that is off": {func(_ *world, f *latchkey.Found) {
			f.Ancestors[1].Disabled = true
		}, latchkey.ErrParent},
		"a root that was revoked": {func(w *world, f *latchkey.Found) {
			f.Ancestors[1].Revoked = w.now()
		}, latchkey.ErrParent},
		"a root that has ended": {func(w *world, f *latchkey.Found) {
			f.Ancestors[1].Validity.NotAfter = w.now()
		}, latchkey.ErrParent},
		"a root that has not begun": {func(w *world, f *latchkey.Found) {
			f.Ancestors[1].Validity.NotBefore = w.now().Add(1 * time.Hour)
		}, latchkey.ErrParent},
		"a root from before all tokens were ended": {func(_ *world, f *latchkey.Found) {
			f.Ancestors[1].Created, f.Owner.NotBefore = f.Token.Created.Add(-time.Second), f.Token.Created
		}, latchkey.ErrParent},
		"a domain that is none": {func(_ *world, f *latchkey.Found) {
			f.Token.Restrictions.Domains = []string{"a@b"}
		}, latchkey.ErrUnavailable},
		"a root's domain": {func(_ *world, f *latchkey.Found) {
			f.Ancestors[1].Restrictions.Domains, f.Ancestors[1].Version = []string{"a@b"}, 2
		}, latchkey.ErrUnavailable},
		"an address that is none": {func(_ *world, f *latchkey.Found) {
			f.Token.Restrictions.Addresses = []netip.Prefix{{}}
		}, latchkey.ErrUnavailable},
		"an address to mint from": {func(_ *world, f *latchkey.Found) {
			f.Ancestors[0].Restrictions.MintFrom, f.Ancestors[0].Version = []netip.Prefix{{}}, 2
		}, latchkey.ErrUnavailable},
		"credits that are none": {func(_ *world, f *latchkey.Found) {
			f.Token.Limits = monthly(-1)
		}, latchkey.ErrUnavailable},
		"a rate that is none": {func(_ *world, f *latchkey.Found) {
			f.Ancestors[1].Limits.Rate.Count, f.Ancestors[1].Version = 1, 2
		}, latchkey.ErrUnavailable},
		"an owner's rate": {func(_ *world, f *latchkey.Found) {
			f.Owner.Limits.Rate.Per = 1
		}, latchkey.ErrUnavailable},
		"an owner that is off": {func(_ *world, f *latchkey.Found) {
			f.Owner.Disabled = true
		}, latchkey.ErrOwnerDisabled},
		"another owner": {func(_ *world, f *latchkey.Found) {
			f.Token.Owner = "other"
		}, latchkey.ErrUnknownToken},
		"a token that was revoked": {func(w *world, f *latchkey.Found) { f.Token.Revoked = w.now() }, latchkey.ErrRevoked},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			_, root := w.key(readAll())
			_, parent := w.mint(w.access(root), latchkey.Narrowing{})
			_, child := w.mint(w.access(parent), latchkey.Narrowing{})
			store := &found{Store: w.store, edit: func(f *latchkey.Found) {}}
			keys := latchkey.New(store, &latchkey.Options{Clock: w.now})
			acme := keys.For("acme")
			p := latchkey.Presented{Secret: child}
			before, err := keys.Verify(w.ctx, p)
			w.ok(err)
			fresh := latchkey.New(store, &latchkey.Options{Clock: w.now})
			store.edit, store.edited = func(f *latchkey.Found) { c.edit(w, f) }, 0
			_, err = fresh.For("acme").Verify(w.ctx, p)
			require.ErrorIs(t, err, c.want)
			assert.Equal(t, 1, store.edited)
			if name == "another owner" {
				return // the rest reads by the owner
			}
			_, err = before.Again(w.ctx)
			require.ErrorIs(t, err, c.want)
			as, err := acme.As(before)
			w.ok(err)
			_, err = as.Record(w.ctx)
			if c.want == nil {
				c.want = latchkey.ErrDenied // it may read, and no more
			}
			require.ErrorIs(t, err, c.want)
			_, _, err = before.Mint(w.ctx, latchkey.Narrowing{Lifetime: time.Hour})
			if c.want == latchkey.ErrDenied {
				w.ok(err)
			} else {
				require.ErrorIs(t, err, c.want)
			}
			require.Equal(t, 4, store.edited)
		})
	}
}

// Again checks the address against the restrictions that hold now.
func TestAgainChecksTheAddress(t *testing.T) {
	w := newWorld(t)
	tok, secret := w.key(append(admin(), readAll())...)
	a := mustVerify(w, latchkey.Presented{Secret: secret, Address: netip.MustParseAddr("10.0.0.1")})
	w.update(tok, func(t *latchkey.Token) { t.Restrictions.Addresses = prefixes("10.0.0.0/8") })
	_, err := a.Again(w.ctx)
	w.ok(err)
	w.update(tok, func(t *latchkey.Token) { t.Restrictions.Addresses = prefixes("192.0.2.0/24") })
	_, err = a.Again(w.ctx)
	w.is(latchkey.ErrAddress, err)
	_, _, err = mustAs(w, a).Issue(w.ctx, latchkey.Spec{Kind: latchkey.KindPublishable})
	w.is(latchkey.ErrAddress, err)
}

func TestIssueAndVerifyEveryKind(t *testing.T) {
	for _, c := range []struct {
		kind     latchkey.Kind
		test     bool
		prefix   string
		everyone bool // may read without a rule
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

func TestUnknownTextsCostNoRead(t *testing.T) {
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

func TestVerifyChecksInOrder(t *testing.T) {
	w := newWorld(t)
	hour := w.now().Add(time.Hour)
	tok, secret := w.issue(latchkey.KindSecret, latchkey.Settings{
		Validity: latchkey.Validity{NotBefore: hour},
		Restrictions: latchkey.Restrictions{Domains: []string{"example.com"}, Signed: true,
			Addresses: prefixes("10.0.0.0/8")},
	})
	other := w.keys.For("other")
	// Everything is wrong at first. Each step corrects the cause of the last refusal, and the next one shows.
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

// The next Verify reflects every change, with the cache and without it.
func TestVerifySeesEveryChange(t *testing.T) {
	for name, c := range map[string]struct {
		change func(w *world, key latchkey.Token, role latchkey.Role)
		want   error // of the minted token; nil: it lives and may no longer read
	}{
		"revoking the key": {func(w *world, k latchkey.Token, _ latchkey.Role) { w.ok(w.acme.Revoke(w.ctx, k.ID, "")) },
			latchkey.ErrParent},
		"deleting the key": {func(w *world, k latchkey.Token, _ latchkey.Role) { w.ok(w.acme.Delete(w.ctx, k.ID)) },
			latchkey.ErrUnknownToken},
		"disabling the owner": {func(w *world, _ latchkey.Token, _ latchkey.Role) {
			w.configure(func(o *latchkey.Owner) { o.Disabled = true })
		}, latchkey.ErrOwnerDisabled},
		"ending all tokens": {func(w *world, _ latchkey.Token, _ latchkey.Role) {
			w.turn(time.Second)
			w.configure(func(o *latchkey.Owner) { o.NotBefore = w.now() })
		}, latchkey.ErrRevoked},
		"erasing the owner": {func(w *world, _ latchkey.Token, _ latchkey.Role) { w.ok(w.acme.Erase(w.ctx)) },
			latchkey.ErrUnknownToken},
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

func TestStoreErrorsAreNeverNotFound(t *testing.T) {
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

func TestAgainKeepsNarrowing(t *testing.T) {
	w := newWorld(t)
	role := w.role("reader", readAll())
	key, secret := w.issue(latchkey.KindAPIKey, latchkey.Settings{Roles: []string{role.ID}})
	n, err := w.access(secret).Narrow(w.ctx, latchkey.Narrowing{Rows: []latchkey.Condition{eq("region", "EU")}})
	w.ok(err)
	n, err = n.Narrow(w.ctx, latchkey.Narrowing{Roles: []string{role.ID}})
	w.ok(err)
	again, err := n.Again(w.ctx)
	w.ok(err)
	c, err := again.Filter(latchkey.Read, "x")
	w.ok(err)
	assert.False(t, c.IsAllRows())
	w.update(key, func(t *latchkey.Token) { t.Roles = nil })
	again, err = n.Again(w.ctx)
	w.ok(err)
	_, err = again.Filter(latchkey.Read, "x")
	w.is(latchkey.ErrDenied, err)
	_, err = w.access(secret).Narrow(w.ctx, latchkey.Narrowing{Restrictions: latchkey.Restrictions{Signed: true}})
	w.is(latchkey.ErrInvalid, err)
	_, err = w.access(secret).Narrow(w.ctx,
		latchkey.Narrowing{Restrictions: latchkey.Restrictions{Addresses: prefixes("10.0.0.0/8")}})
	w.is(latchkey.ErrAddress, err)
}
