package latchkey_test

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/stretchr/testify/require"

	"github.com/latchkey-go/latchkey"
	"github.com/latchkey-go/latchkey/memstore"
)

// spoilt is a store some of whose roles cannot be read.
type spoilt struct {
	latchkey.Store
	roles map[string]bool
}

func (s *spoilt) Role(ctx context.Context, owner, id string) (latchkey.Role, error) {
	r, err := s.Store.Role(ctx, owner, id)
	if err == nil && s.roles[id] {
		r.Damaged, r.Permissions = true, nil
		err = &latchkey.DamagedError{Kind: latchkey.ChangedRole, Owner: owner, ID: id, Err: errors.New("cut off")}
	}
	return r, err
}

func (s *spoilt) Load(ctx context.Context, owner, id string) (latchkey.Found, error) {
	f, err := s.Store.Load(ctx, owner, id)
	for i := range f.Roles {
		if s.roles[f.Roles[i].ID] {
			f.Roles[i].Damaged, f.Roles[i].Permissions = true, nil
			err = &latchkey.DamagedError{Kind: latchkey.ChangedRole, Owner: owner, ID: f.Roles[i].ID}
		}
	}
	return f, err
}

// spoil makes a token one that cannot be read.
func spoil(t *testing.T, s latchkey.Store, id string) {
	t.Helper()
	f, err := s.Load(t.Context(), "acme", id)
	require.NoError(t, err)
	f.Token.Damaged = true
	_, err = s.Write(t.Context(), latchkey.Write{ID: uuid.Must(uuid.NewV7()), Owner: "acme", At: time.Now(),
		Tokens: []latchkey.Token{f.Token}})
	require.NoError(t, err)
}

// What cannot be read may have allowed anything: who may less than everything does not touch it.
func TestDamagedIsEndedByWhoMayEverything(t *testing.T) {
	for _, c := range []struct {
		what string
		kind latchkey.Kind
		set  latchkey.Settings
		may  bool
	}{
		{"a secret key", latchkey.KindSecret, latchkey.Settings{}, true},
		{"all rules", latchkey.KindAPIKey, latchkey.Settings{Permissions: latchkey.Permissions{
			latchkey.Allow(latchkey.Any).On("*", "latchkey/*")}}, true},
		{"all but reading one", latchkey.KindAPIKey, latchkey.Settings{Permissions: latchkey.Permissions{
			latchkey.Allow(latchkey.Any).On("*", "latchkey/*"), latchkey.Deny(latchkey.Read).On("dataset/a")}}, false},
		{"an administrator of tokens and roles", latchkey.KindAPIKey, latchkey.Settings{Permissions: latchkey.Permissions{
			latchkey.Allow(latchkey.Any).On("latchkey/*")}}, false},
	} {
		t.Run(c.what, func(t *testing.T) {
			ctx := t.Context()
			s := &spoilt{Store: memstore.New(nil)}
			keys := latchkey.New(s, nil)
			acme := keys.For("acme")
			_, secret, err := acme.Issue(ctx, c.set.Spec(c.kind))
			require.NoError(t, err)
			access, err := keys.Verify(ctx, latchkey.Presented{Secret: secret.Reveal()})
			require.NoError(t, err)
			as, err := acme.As(access)
			require.NoError(t, err)
			role, err := acme.CreateRole(ctx, latchkey.Role{Name: "empty"})
			require.NoError(t, err)
			lonely, err := acme.CreateRole(ctx, latchkey.Role{Name: "lonely"})
			require.NoError(t, err)
			holder, _, err := acme.Issue(ctx, latchkey.Spec{Kind: latchkey.KindAPIKey,
				Roles: []string{role.ID}})
			require.NoError(t, err)
			bad, _, err := acme.Issue(ctx, latchkey.Spec{Kind: latchkey.KindAPIKey})
			require.NoError(t, err)
			spoil(t, s, bad.ID)
			s.roles = map[string]bool{role.ID: true, lonely.ID: true}
			edit := func(id string) error {
				_, err := as.UpdateRole(ctx, id, func(r *latchkey.Role) error { r.Permissions = nil; return nil })
				return err
			}
			for i, do := range []func() error{
				func() error {
					_, err := as.Update(ctx, bad.ID, func(t *latchkey.Token) error { t.Disabled = true; return nil })
					return err
				},
				func() error { _, err := as.Rotate(ctx, bad.ID, 0); return err },
				func() error { return as.Revoke(ctx, bad.ID, "") },
				func() error { return as.Delete(ctx, bad.ID) },
				func() error { return edit(lonely.ID) },
				func() error { return edit(role.ID) },
				func() error { return as.Revoke(ctx, holder.ID, "") },
			} {
				if err := do(); c.may {
					require.NoError(t, err, i)
				} else {
					require.ErrorIs(t, err, latchkey.ErrDenied, i)
				}
			}
		})
	}
}

// A store that forgets to say with an error what it marks is not believed either.
func TestDamagedIsNeverAccepted(t *testing.T) {
	mark := map[string]func(f *latchkey.Found){
		"token":    func(f *latchkey.Found) { f.Token.Damaged = true },
		"ancestor": func(f *latchkey.Found) { f.Ancestors[0].Damaged = true },
		"role":     func(f *latchkey.Found) { f.Roles[0].Damaged = true },
		"owner":    func(f *latchkey.Found) { f.Owner.Damaged = true },
	}
	for what, edit := range mark {
		t.Run(what, func(t *testing.T) {
			ctx := t.Context()
			s := &marked{Store: memstore.New(nil)}
			keys := latchkey.New(s, nil)
			acme := keys.For("acme")
			role, err := acme.CreateRole(ctx, latchkey.Role{Name: "empty"})
			require.NoError(t, err)
			_, secret, err := acme.Issue(ctx, latchkey.Spec{Kind: latchkey.KindAPIKey,
				Roles: []string{role.ID}})
			require.NoError(t, err)
			access, err := keys.Verify(ctx, latchkey.Presented{Secret: secret.Reveal()})
			require.NoError(t, err)
			_, child, err := access.Mint(ctx, latchkey.Narrowing{Lifetime: time.Hour})
			require.NoError(t, err)
			access, err = keys.Verify(ctx, latchkey.Presented{Secret: child.Reveal()})
			require.NoError(t, err)
			s.edit = edit
			_, err = latchkey.New(s, nil).Verify(ctx, latchkey.Presented{Secret: child.Reveal()})
			require.ErrorIs(t, err, latchkey.ErrUnavailable)
			_, err = access.Again(ctx)
			require.ErrorIs(t, err, latchkey.ErrUnavailable)
			_, _, err = access.Mint(ctx, latchkey.Narrowing{Lifetime: time.Hour})
			require.ErrorIs(t, err, latchkey.ErrUnavailable)
			_, err = acme.As(access)
			require.NoError(t, err)
		})
	}
}

type marked struct {
	latchkey.Store
	edit func(*latchkey.Found)
}

func (s *marked) ByDigest(ctx context.Context, digests ...[32]byte) (latchkey.Found, error) {
	f, err := s.Store.ByDigest(ctx, digests...)
	if s.edit != nil {
		s.edit(&f)
	}
	return f, err
}

func (s *marked) Load(ctx context.Context, owner, id string) (latchkey.Found, error) {
	f, err := s.Store.Load(ctx, owner, id)
	if s.edit != nil {
		s.edit(&f)
	}
	return f, err
}

func TestDamagedErrorSaysWhat(t *testing.T) {
	err := error(&latchkey.DamagedError{Kind: latchkey.ChangedOwner, Owner: "acme", ID: "acme", Err: context.Canceled})
	require.ErrorIs(t, err, latchkey.ErrUnavailable)
	require.ErrorIs(t, err, context.Canceled)
	require.EqualError(t, err,
		`latchkey: store unavailable: the stored owner record "acme" of owner "acme" cannot be read: context canceled`)
	require.EqualError(t, &latchkey.DamagedError{Kind: latchkey.ChangedToken, Owner: "acme", ID: "x"},
		`latchkey: store unavailable: the stored token "x" of owner "acme" cannot be read`)
}

// The holder of a role that cannot be read may do anything: who may less does not change the role.
func TestARoleOfADamagedTokenIsLeftAlone(t *testing.T) {
	w := newWorld(t)
	data := latchkey.Allow(latchkey.Read).On("data/*")
	role := w.role("r", data)
	holder, _ := w.issue(latchkey.KindAPIKey, latchkey.Settings{Roles: []string{role.ID}})
	_, secret := w.key(data, latchkey.Allow(latchkey.Any).On("latchkey/role/*"))
	as := mustAs(w, w.access(secret))
	rename := func() error {
		_, err := as.UpdateRole(w.ctx, role.ID, func(r *latchkey.Role) error { r.Name += "x"; return nil })
		return err
	}
	w.ok(rename())
	spoil(t, w.store.Store, holder.ID)
	w.is(latchkey.ErrDenied, rename())
}

// Of a token that cannot be read nothing but the switch can be changed, and revoked it has no rights left.
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

// A text says of which kind its token is: a record of another kind is none of it.
func TestARecordOfAnotherKindThanItsText(t *testing.T) {
	w := newWorld(t)
	_, secret := w.key()
	store := &found{Store: w.store}
	verify := func() error {
		_, err := latchkey.New(store, &latchkey.Options{Clock: w.now}).Verify(w.ctx, latchkey.Presented{Secret: secret})
		return err
	}
	w.ok(verify())
	store.edit = func(f *latchkey.Found) { f.Token.Kind = latchkey.KindSecret }
	w.is(latchkey.ErrUnavailable, verify())
	require.Equal(t, 1, store.edited)
}

// A text tells nobody that it belongs to a record of another owner, or to one that the caller may not read, be it
// damaged.
func TestFindOfADamagedTokenTellsNothing(t *testing.T) {
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
		}
		_, err = acme.Find(ctx, secret.Reveal())
		var damaged *latchkey.DamagedError
		require.ErrorAs(t, err, &damaged)
		require.Equal(t, s.fail.ID, damaged.ID)
	}
}

// bare is a store that tells of a text nothing but what is damaged.
type bare struct {
	latchkey.Store
	fail *latchkey.DamagedError
}

func (s *bare) ByDigest(context.Context, ...[32]byte) (latchkey.Found, error) {
	return latchkey.Found{}, s.fail
}

// Import tells of a text that belongs to a damaged record of another owner what it tells of every text that is taken.
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

// A damaged holder of a role may have rights of its own: it is not judged by another one that has the same roles.
func TestADamagedHolderBesideOneLikeIt(t *testing.T) {
	w := newWorld(t)
	role := w.role("reader", readAll())
	_, _ = w.issue(latchkey.KindAPIKey, latchkey.Settings{Roles: []string{role.ID}})
	second, _ := w.issue(latchkey.KindAPIKey, latchkey.Settings{Roles: []string{role.ID}})
	as := mustAs(w, must(w.acme.Assume(latchkey.Client{ID: "7"}, latchkey.Permissions{
		latchkey.Allow(latchkey.Any).On("latchkey/*"), readAll()})))
	rename := func(to string) error {
		_, err := as.UpdateRole(w.ctx, role.ID, func(r *latchkey.Role) error { r.Name = to; return nil })
		return err
	}
	w.ok(rename("one"))
	spoil(t, w.store, second.ID)
	w.is(latchkey.ErrDenied, rename("two"))
}
