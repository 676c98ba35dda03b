package latchkey_test

import (
	"context"
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

func (s *found) ByDigest(ctx context.Context, d ...[32]byte) (latchkey.Found, error) {
	return s.change(s.Store.ByDigest(ctx, d...))
}

func (s *found) Load(ctx context.Context, owner, id string) (latchkey.Found, error) {
	return s.change(s.Store.Load(ctx, owner, id))
}

// What was spoilt in the store, so that it does not fit together or cannot be read, is never taken for nothing.
func TestRecordsThatDoNotFitAreRefused(t *testing.T) {
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
			f.Token.Limits.Credits = -1
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
				return // what follows asks by the owner
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

// The zero Access, which comes with an error, may do nothing at all.
func TestTheZeroAccessMayDoNothing(t *testing.T) {
	w := newWorld(t)
	_, secret := w.key(readAll())
	good := w.access(secret)
	for a, want := range map[latchkey.Access]error{{}: latchkey.ErrDenied, good: nil} {
		zero := a == latchkey.Access{}
		require.ErrorIs(t, a.Check(latchkey.Read, "data/x"), want)
		assert.Equal(t, !zero, a.Allows(latchkey.Read, "data/x"))
		_, err := a.Filter(latchkey.Read, "data/x")
		require.ErrorIs(t, err, want)
		require.ErrorIs(t, a.CheckRow(latchkey.Read, "data/x", orders, latchkey.Row{"region": "EU"}), want)
		_, err = a.Prepare(latchkey.Read, "data/x", orders, latchkey.Row{"region": "EU"}, latchkey.Row{"region": "EU"})
		require.ErrorIs(t, err, want)
		assert.Equal(t, zero, a.Explain(latchkey.Read, "data/x").Verdict == "none")
		if zero {
			want = latchkey.ErrInvalidToken
		}
		_, err = a.Narrow(w.ctx, latchkey.Narrowing{})
		require.ErrorIs(t, err, want)
		_, err = a.Again(w.ctx)
		require.ErrorIs(t, err, want)
		_, err = w.acme.As(a)
		require.ErrorIs(t, err, want)
		_, _, err = a.Mint(w.ctx, latchkey.Narrowing{Lifetime: time.Hour})
		require.ErrorIs(t, err, want)
		_, err = a.Reserve(w.ctx, "calls", 1)
		require.ErrorIs(t, err, want)
		require.ErrorIs(t, a.Charge(w.ctx, "calls", 1), want)
		_, err = a.Token(w.ctx)
		if zero {
			w.is(latchkey.ErrNotFound, err)
		} else {
			w.ok(err)
		}
		assert.Equal(t, zero, a.Owner() == "" && a.TokenID() == "" && a.Kind() == 0 && a.Roles() == nil)
	}
	assumed := must(w.acme.Assume(latchkey.Client{ID: "7"}, latchkey.Permissions{readAll()}))
	_, err := assumed.Token(w.ctx)
	w.is(latchkey.ErrNotFound, err)
	other := latchkey.New(w.store, nil)
	_, err = other.For("acme").As(good)
	w.is(latchkey.ErrUnknownToken, err)
}

// Rows of which the schema knows nothing are an error, and rows that no rule admits are refused.
func TestCheckRowRefuses(t *testing.T) {
	w := newWorld(t)
	_, secret := w.key(latchkey.Allow(latchkey.Read).On("data/x").Where(eq("region", "EU")),
		latchkey.Allow(latchkey.Read).On("data/y").Where(eq("elsewhere", 1)))
	a := w.access(secret)
	w.ok(a.CheckRow(latchkey.Read, "data/x", orders, latchkey.Row{"region": "EU"}))
	w.is(latchkey.ErrDenied, a.CheckRow(latchkey.Read, "data/x", orders, latchkey.Row{"region": "US"}))
	w.is(latchkey.ErrDenied, a.CheckRow(latchkey.Read, "data/x", orders, latchkey.Row{}))
	w.is(latchkey.ErrDenied, a.CheckRow(latchkey.Update, "data/x", orders, latchkey.Row{"region": "EU"}))
	w.is(latchkey.ErrBadCondition, a.CheckRow(latchkey.Read, "data/y", orders, latchkey.Row{"region": "EU"}))
}

// Again asks the address, which a restriction made meanwhile may forbid.
func TestAgainAsksTheAddress(t *testing.T) {
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

// overtaken is a store that does something between reading a token and handing it out.
type overtaken struct {
	latchkey.Store
	then func()
}

func (s *overtaken) ByDigest(ctx context.Context, d ...[32]byte) (latchkey.Found, error) {
	f, err := s.Store.ByDigest(ctx, d...)
	if then := s.then; then != nil {
		s.then = nil
		then()
	}
	return f, err
}

// What was read before a change is not kept after it: the next Verify sees the change.
func TestWhatWasReadBeforeAChangeIsNotKept(t *testing.T) {
	w := newWorld(t)
	store := &overtaken{Store: w.store}
	keys := latchkey.New(store, &latchkey.Options{Clock: w.now})
	tok, secret := w.key(readAll())
	_, other := w.key(readAll())
	verify := func(secret string) error {
		_, err := keys.Verify(w.ctx, latchkey.Presented{Secret: secret})
		return err
	}
	w.ok(verify(other))
	store.then = func() {
		w.ok(w.acme.Revoke(w.ctx, tok.ID, ""))
		w.ok(verify(other)) // the cache has applied the change by now
	}
	w.ok(verify(secret)) // it began before the change
	require.Nil(t, store.then)
	w.is(latchkey.ErrRevoked, verify(secret))
	w.ok(verify(other))
}

// signers is a store whose answers about signatures can be changed.
type signers struct {
	latchkey.Store
	secrets func([]latchkey.SecretRecord) ([]latchkey.SecretRecord, error)
	once    error
}

func (s *signers) Secrets(ctx context.Context, owner, id string) ([]latchkey.SecretRecord, error) {
	list, err := s.Store.Secrets(ctx, owner, id)
	if s.secrets != nil && err == nil {
		return s.secrets(list)
	}
	return list, err
}

func (s *signers) Once(ctx context.Context, owner string, key [32]byte, until time.Time) error {
	if s.once != nil {
		return s.once
	}
	return s.Store.Once(ctx, owner, key, until)
}

// A signature that cannot be judged, or whose repetition could not be told, is refused.
func TestSignaturesThatCannotBeJudged(t *testing.T) {
	ring := must(latchkey.NewKeyring(latchkey.Key{ID: 1, Secret: []byte(strings.Repeat("a", 32))}))
	other := must(latchkey.NewKeyring(latchkey.Key{ID: 2, Secret: []byte(strings.Repeat("b", 32))}))
	w := newWorld(t, func(o *latchkey.Options) { o.Keyring = ring })
	tok, secret := w.issue(latchkey.KindAPIKey, latchkey.Settings{Restrictions: latchkey.Restrictions{Signed: true}})
	key, err := w.acme.SigningSecret(w.ctx, tok.ID)
	w.ok(err)
	store := &signers{Store: w.store}
	once := byte(0)
	sign := func(k *latchkey.Keyring) error {
		once++
		keys := latchkey.New(store, &latchkey.Options{Clock: w.now, Keyring: k})
		_, err := keys.Verify(w.ctx, latchkey.Presented{Secret: secret, Signature: &latchkey.Signature{Date: w.now(),
			Once: [32]byte{once}, OK: func(k []byte) bool { return string(k) == key.Reveal() }}})
		return err
	}
	w.ok(sign(ring))
	w.is(latchkey.ErrInvalidToken, sign(other))
	w.is(latchkey.ErrInvalidToken, sign(nil))
	down := func([]latchkey.SecretRecord) ([]latchkey.SecretRecord, error) { return nil, latchkey.ErrUnavailable }
	for name, c := range map[string]struct {
		edit func(*latchkey.SecretRecord)
		want error
	}{
		"as it was":      {func(*latchkey.SecretRecord) {}, nil},
		"no signing key": {func(r *latchkey.SecretRecord) { r.Signing = false }, latchkey.ErrSignature},
		"ended":          {func(r *latchkey.SecretRecord) { r.NotAfter = w.now() }, latchkey.ErrSignature},
		"altered": {func(r *latchkey.SecretRecord) {
			r.Sealed = append([]byte("x"), r.Sealed...)
		}, latchkey.ErrSignature},
		"cut":           {func(r *latchkey.SecretRecord) { r.Sealed = r.Sealed[:8] }, latchkey.ErrSignature},
		"of a lost key": {func(r *latchkey.SecretRecord) { r.KeyID = 9 }, latchkey.ErrSignature},
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
		assert.ErrorIs(t, sign(ring), c.want, name)
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
