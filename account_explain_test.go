package latchkey_test

import (
	"context"
	"errors"
	"slices"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/latchkey-go/latchkey"
	"github.com/latchkey-go/latchkey/memstore"
)

func TestExplainWithoutTheSecret(t *testing.T) {
	keys := latchkey.New(memstore.New(nil), nil)
	acme := keys.For("acme")
	ctx := t.Context()
	reader, err := acme.CreateRole(ctx, latchkey.Role{Name: "reader", Permissions: latchkey.Permissions{
		latchkey.Allow(latchkey.Read).On("dataset/*").Where(latchkey.Where("by", latchkey.Eq, latchkey.ClientID))}})
	require.NoError(t, err)
	key, secret, err := acme.Issue(ctx, latchkey.Spec{Kind: latchkey.KindAPIKey,
		Roles: []string{reader.ID}})
	require.NoError(t, err)
	access, err := acme.Verify(ctx, latchkey.Presented{Secret: secret.Reveal()})
	require.NoError(t, err)
	child, _, err := access.Mint(ctx, latchkey.Narrowing{Lifetime: time.Hour, Client: latchkey.Client{ID: "42"}})
	require.NoError(t, err)

	ask := []latchkey.Question{{latchkey.Read, "dataset/a"}, {latchkey.Update, "dataset/a"}}
	got, err := acme.Explain(ctx, child.ID, ask...)
	require.NoError(t, err)
	require.Equal(t, "some", got[0].Verdict)
	require.Equal(t, `by = "42"`, got[0].Rows.String(), "references are filled in")
	require.Equal(t, "none", got[1].Verdict)
	got, err = acme.Explain(ctx, key.ID, ask[0])
	require.NoError(t, err)
	require.True(t, got[0].Rows.IsNoRows(), "the key is for no client")

	_, err = keys.For("other").Explain(ctx, key.ID, ask...)
	require.ErrorIs(t, err, latchkey.ErrNotFound)
	_, err = keys.For("other").ExplainRole(ctx, reader.ID, ask...)
	require.ErrorIs(t, err, latchkey.ErrNotFound)

	of := func(rules ...latchkey.Rule) latchkey.Account {
		who, err := acme.As(must(acme.Assume(latchkey.Client{ID: "desk"}, rules)))
		require.NoError(t, err)
		return who
	}
	_, err = of().Explain(ctx, key.ID, ask...)
	require.ErrorIs(t, err, latchkey.ErrNotFound)
	_, err = of(latchkey.Allow(latchkey.Read).On("latchkey/token/*")).Explain(ctx, key.ID, ask...)
	require.ErrorIs(t, err, latchkey.ErrDenied, "the answer shows the rules of a role")
	_, err = of(latchkey.Allow(latchkey.Read).On("latchkey/*")).Explain(ctx, child.ID, ask...)
	require.NoError(t, err)

	require.NoError(t, acme.Configure(ctx, func(o *latchkey.Owner) error {
		o.Boundary = latchkey.Permissions{latchkey.Allow(latchkey.Read).On("dataset/b")}
		return nil
	}))
	got, err = acme.ExplainRole(ctx, reader.ID, latchkey.Question{Action: latchkey.Read, Resource: "dataset/a"},
		latchkey.Question{Action: latchkey.Read, Resource: "dataset/b"})
	require.NoError(t, err)
	require.Equal(t, "owner boundary", got[0].Decided)
	require.Equal(t, "none", got[0].Verdict)
	require.Equal(t, "role reader", got[1].Decided)
	require.Equal(t, "by = client_id", got[1].Rows.String())
}

// lineageWorld is a key with a role that inherits another, what it minted, and what that minted.
func lineageWorld(t *testing.T) (a latchkey.Account, now *time.Time, key, child, grandchild latchkey.Token, up,
	role latchkey.Role) {
	ctx := t.Context()
	at := time.Date(2026, 11, 22, 9, 0, 0, 0, time.UTC)
	now = &at
	clock := func() time.Time { return *now }
	m := latchkey.New(memstore.New(&memstore.Options{Clock: clock}), &latchkey.Options{Clock: clock})
	t.Cleanup(func() { require.NoError(t, m.Close(context.Background())) })
	a = m.For("acme")
	var err error
	up, err = a.CreateRole(ctx, latchkey.Role{Name: "up",
		Permissions: latchkey.Permissions{latchkey.Allow(latchkey.Read).On("a/*")}})
	require.NoError(t, err)
	role, err = a.CreateRole(ctx, latchkey.Role{Name: "role", Inherits: []string{up.ID}})
	require.NoError(t, err)
	key, secret, err := a.Issue(ctx, latchkey.Spec{Kind: latchkey.KindAPIKey,
		Roles:    []string{role.ID},
		Validity: latchkey.Validity{NotAfter: at.Add(48 * time.Hour)}})
	require.NoError(t, err)
	mint := func(secret latchkey.Secret) (latchkey.Token, latchkey.Secret) {
		access, err := m.Verify(ctx, latchkey.Presented{Secret: secret.Reveal()})
		require.NoError(t, err)
		c, s, err := access.Mint(ctx, latchkey.Narrowing{Lifetime: 24 * time.Hour})
		require.NoError(t, err)
		return c, s
	}
	child, s := mint(secret)
	grandchild, _ = mint(s)
	return a, now, key, child, grandchild, up, role
}

func ids[T any](list []T, id func(T) string) (out []string) {
	for _, v := range list {
		out = append(out, id(v))
	}
	return out
}

func tokenID(t latchkey.Token) string { return t.ID }

func roleID(r latchkey.Role) string { return r.ID }

func TestLineage(t *testing.T) {
	ctx := t.Context()
	a, now, key, child, grandchild, up, role := lineageWorld(t)
	l, err := a.Lineage(ctx, grandchild.ID)
	require.NoError(t, err)
	require.Equal(t, grandchild.ID, l.Token.ID)
	require.Equal(t, []string{child.ID, key.ID}, ids(l.Ancestors, tokenID))
	require.Equal(t, []string{up.ID, role.ID}, ids(l.Roles, roleID))
	require.Nil(t, l.Boundary)
	require.NoError(t, l.Refused)
	require.Equal(t, now.Add(24*time.Hour), l.Ends)
	require.False(t, l.Hidden)
	_, err = a.Lineage(ctx, "none")
	require.ErrorIs(t, err, latchkey.ErrNotFound)
	_, err = a.Manager().For("other").Lineage(ctx, key.ID)
	require.ErrorIs(t, err, latchkey.ErrNotFound)

	// The first end of the chain is the token's, also when it is set later.
	_, err = a.Update(ctx, key.ID, func(t *latchkey.Token) error { t.Validity.NotAfter = now.Add(time.Hour); return nil })
	require.NoError(t, err)
	l, err = a.Lineage(ctx, grandchild.ID)
	require.NoError(t, err)
	require.Equal(t, now.Add(time.Hour), l.Ends)

	require.NoError(t, a.Configure(ctx, func(o *latchkey.Owner) error {
		o.Boundary = latchkey.Permissions{latchkey.Allow(latchkey.Read).On("*"),
			latchkey.Allow(latchkey.Any).On("latchkey/*")}
		o.Limits = monthly(7)
		return nil
	}))
	l, err = a.RoleLineage(ctx, role.ID)
	require.NoError(t, err)
	require.Equal(t, []string{up.ID, role.ID}, ids(l.Roles, roleID))
	require.Len(t, l.Boundary, 2)
	require.Equal(t, monthly(7), l.Limits)
	_, err = a.RoleLineage(ctx, "none")
	require.ErrorIs(t, err, latchkey.ErrNotFound)

	// A caller that may not read all of it gets the rest, with Hidden set.
	who := func(on ...latchkey.Pattern) latchkey.Account {
		some, err := a.As(must(a.Assume(latchkey.Client{ID: "w"},
			latchkey.Permissions{latchkey.Allow(latchkey.Read).On(on...)})))
		require.NoError(t, err)
		return some
	}
	some := who(latchkey.Pattern("latchkey/token/"+grandchild.ID), latchkey.Pattern("latchkey/role/"+role.ID))
	l, err = some.Lineage(ctx, grandchild.ID)
	require.NoError(t, err)
	require.True(t, l.Hidden)
	require.Equal(t, []latchkey.Token{{ID: child.ID, Parent: key.ID, Depth: 1}, {ID: key.ID}}, l.Ancestors)
	require.Equal(t, []string{role.ID}, ids(l.Roles, roleID))
	require.Zero(t, l.Limits)
	l, err = some.RoleLineage(ctx, role.ID)
	require.NoError(t, err)
	require.True(t, l.Hidden)
	require.Equal(t, []string{role.ID}, ids(l.Roles, roleID))
	for _, f := range []func() error{
		func() error { _, err := some.Lineage(ctx, child.ID); return err },
		func() error { _, err := some.RoleLineage(ctx, up.ID); return err },
	} {
		require.ErrorIs(t, f(), latchkey.ErrNotFound)
	}
	l, err = who("latchkey/*").Lineage(ctx, grandchild.ID)
	require.NoError(t, err)
	require.False(t, l.Hidden)
	require.Equal(t, monthly(7), l.Limits)
}

// Roles that inherit each other, as another program may have stored them, are shown. They give nothing.
func TestLineageOfRolesThatInheritEachOther(t *testing.T) {
	w := newWorld(t)
	one, two := w.role("one", readAll()), w.role("two", latchkey.Allow(latchkey.Update).On("a"))
	one.Inherits, two.Inherits = []string{two.ID, one.ID, "gone"}, []string{one.ID}
	tok, _ := w.issue(latchkey.KindAPIKey, latchkey.Settings{Roles: []string{one.ID}})
	w.ok(w.store.Store.Write(w.ctx, latchkey.Write{ID: [16]byte{7}, Owner: "acme", Roles: []latchkey.Role{one, two}}))
	for _, id := range []string{one.ID, two.ID} {
		l, err := w.acme.RoleLineage(w.ctx, id)
		w.ok(err)
		require.Equal(t, []string{min(one.ID, two.ID), max(one.ID, two.ID)}, ids(l.Roles, roleID))
		answers, err := w.acme.ExplainRole(w.ctx, id, latchkey.Question{Action: latchkey.Read, Resource: "b"},
			latchkey.Question{Action: latchkey.Update, Resource: "a"})
		w.ok(err)
		require.Equal(t, []string{"none", "none"}, []string{answers[0].Verdict, answers[1].Verdict})
		w.issue(latchkey.KindAPIKey, latchkey.Settings{Roles: []string{id}})
	}
	l, err := w.acme.Lineage(w.ctx, tok.ID)
	w.ok(err)
	require.Len(t, l.Roles, 2)
}

// A chain ends with the first of its tokens that ends. One without an end ends nothing.
func TestLineageEndsWithItsFirstToken(t *testing.T) {
	for name, c := range map[string]struct{ key, child, grandchild, want time.Duration }{
		"the token":   {0, 3, 2, 2},
		"its parent":  {0, 2, 3, 2},
		"the root":    {1, 2, 3, 1},
		"all at once": {2, 2, 2, 2},
	} {
		t.Run(name, func(t *testing.T) {
			a, now, key, child, grandchild, _, _ := lineageWorld(t)
			for id, hours := range map[string]time.Duration{key.ID: c.key, child.ID: c.child, grandchild.ID: c.grandchild} {
				_, err := a.Update(t.Context(), id, func(t *latchkey.Token) error {
					if t.Validity.NotAfter = now.Add(hours * time.Hour); hours == 0 {
						t.Validity.NotAfter = time.Time{}
					}
					return nil
				})
				require.NoError(t, err)
			}
			l, err := a.Lineage(t.Context(), grandchild.ID)
			require.NoError(t, err)
			require.Equal(t, now.Add(c.want*time.Hour), l.Ends)
		})
	}
}

// cutOff is a store of whose records one is damaged: only the ids in it can be read.
type cutOff struct {
	latchkey.Store
	id  string
	why error
}

func (s *cutOff) Load(ctx context.Context, owner, id string) (latchkey.Found, error) {
	f, err := s.Store.Load(ctx, owner, id)
	if err == nil && id == s.id {
		f.Token = latchkey.Token{ID: id, Owner: owner, Parent: f.Token.Parent, Depth: f.Token.Depth, Damaged: true}
		err = &latchkey.DamagedError{Kind: latchkey.ChangedToken, Owner: owner, ID: id, Err: s.why}
	}
	return f, err
}

// Of a damaged token a lineage shows what is left, and what the store says of it. It ends with what it was minted from.
func TestLineageOfADamagedToken(t *testing.T) {
	w := newWorld(t)
	end := w.now().Add(48 * time.Hour)
	key, secret := w.issue(latchkey.KindAPIKey, latchkey.Settings{Validity: latchkey.Validity{NotAfter: end}})
	child, _ := w.mint(w.access(secret), latchkey.Narrowing{})
	store := &cutOff{Store: w.store, id: child.ID, why: errors.New("cut off")}
	keys := latchkey.New(store, &latchkey.Options{Clock: w.now})
	l, err := keys.For("acme").Lineage(w.ctx, child.ID)
	w.ok(err)
	require.Equal(t, []string{key.ID}, ids(l.Ancestors, tokenID))
	require.True(t, end.Equal(l.Ends), l.Ends)
	var damaged *latchkey.DamagedError
	require.ErrorAs(t, l.Refused, &damaged)
	require.Equal(t, store.why, damaged.Err)
	w.ok(keys.Close(w.ctx))
}

func TestLineageAgreesWithVerify(t *testing.T) {
	for name, c := range map[string]struct {
		do         func(t *testing.T, a latchkey.Account, key, child latchkey.Token)
		child, key error
	}{
		"nothing": {do: func(*testing.T, latchkey.Account, latchkey.Token, latchkey.Token) {}},
		"the root is disabled": {func(t *testing.T, a latchkey.Account, key, _ latchkey.Token) {
			_, err := a.Update(t.Context(), key.ID, func(t *latchkey.Token) error { t.Disabled = true; return nil })
			require.NoError(t, err)
		}, latchkey.ErrParent, latchkey.ErrDisabled},
		"the parent is revoked": {func(t *testing.T, a latchkey.Account, _, child latchkey.Token) {
			require.NoError(t, a.Revoke(t.Context(), child.ID, ""))
		}, latchkey.ErrParent, nil},
		"the account is switched off": {func(t *testing.T, a latchkey.Account, _, _ latchkey.Token) {
			require.NoError(t, a.Configure(t.Context(), func(o *latchkey.Owner) error { o.Disabled = true; return nil }))
		}, latchkey.ErrOwnerDisabled, latchkey.ErrOwnerDisabled},
	} {
		t.Run(name, func(t *testing.T) {
			a, _, key, child, grandchild, _, _ := lineageWorld(t)
			c.do(t, a, key, child)
			why, err := a.Refusals(t.Context(), key, grandchild)
			require.NoError(t, err)
			// Tokens are judged as they were listed: only what they come from is read.
			listed := map[string]latchkey.Token{}
			for token, err := range a.Tokens(t.Context(), latchkey.TokenQuery{}) {
				require.NoError(t, err)
				listed[token.ID] = token
			}
			fresh, err := a.Refusals(t.Context(), listed[key.ID], listed[grandchild.ID])
			require.NoError(t, err)
			for id, want := range map[string]error{grandchild.ID: c.child, key.ID: c.key} {
				l, err := a.Lineage(t.Context(), id)
				require.NoError(t, err)
				if want == nil {
					require.NoError(t, l.Refused)
					require.NoError(t, fresh[id])
				} else {
					require.ErrorIs(t, l.Refused, want)
					require.ErrorIs(t, fresh[id], want)
				}
			}
			if c.child != nil {
				require.ErrorIs(t, why[grandchild.ID], c.child)
			}
		})
	}
}

// askedTokens is a store that keeps which ids of tokens it is asked for.
type askedTokens struct {
	latchkey.Store
	ids [][]string
}

func (s *askedTokens) Tokens(ctx context.Context, owner string, q latchkey.TokenQuery) ([]latchkey.Token, error) {
	s.ids = append(s.ids, slices.Sorted(slices.Values(q.IDs)))
	return s.Store.Tokens(ctx, owner, q)
}

// What refuses tokens is found with one reading for all of their parents, and one for all of those. No token is read
// twice, and none for a token without a parent.
func TestRefusalsReadEachParentOnce(t *testing.T) {
	w := newWorld(t)
	key, secret := w.key(readAll())
	child, text := w.mint(w.access(secret), latchkey.Narrowing{})
	sibling, _ := w.mint(w.access(secret), latchkey.Narrowing{})
	grandchild, _ := w.mint(w.access(text), latchkey.Narrowing{})
	w.update(key, func(t *latchkey.Token) { t.Disabled = true })
	key.Disabled = true
	store := &askedTokens{Store: w.store}
	keys := latchkey.New(store, &latchkey.Options{Clock: w.now})
	for name, c := range map[string]struct {
		tokens []latchkey.Token
		asked  [][]string
	}{
		"none":                     {nil, nil},
		"one without a parent":     {[]latchkey.Token{key}, nil},
		"one with a parent":        {[]latchkey.Token{child}, [][]string{{key.ID}}},
		"two of one parent":        {[]latchkey.Token{child, sibling}, [][]string{{key.ID}}},
		"one with two above":       {[]latchkey.Token{grandchild}, [][]string{{child.ID}, {key.ID}}},
		"one whose parent has one": {[]latchkey.Token{grandchild, sibling}, [][]string{{key.ID, child.ID}}},
	} {
		t.Run(name, func(t *testing.T) {
			store.ids = nil
			why, err := keys.For("acme").Refusals(w.ctx, c.tokens...)
			require.NoError(t, err)
			require.Equal(t, c.asked, store.ids)
			require.Len(t, why, len(c.tokens))
			for _, token := range c.tokens {
				if token.Parent == "" {
					require.ErrorIs(t, why[token.ID], latchkey.ErrDisabled)
				} else {
					require.ErrorIs(t, why[token.ID], latchkey.ErrParent)
				}
			}
		})
	}
	w.ok(keys.Close(w.ctx))
}
