package latchkey_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/latchkey-go/latchkey"
)

func admin() latchkey.Permissions {
	return latchkey.Permissions{latchkey.Allow(latchkey.Any).On("*", "latchkey/*")}
}

func TestUpdateConflicts(t *testing.T) {
	w := newWorld(t)
	tok, _ := w.key()
	calls := 0
	got, err := w.acme.Update(w.ctx, tok.ID, func(t *latchkey.Token) error {
		if calls++; calls == 1 { // somebody else comes between
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

func TestNothingCrossesOwners(t *testing.T) {
	w := newWorld(t)
	tok, secret := w.key(readAll())
	role := w.role("reader", readAll())
	other := w.keys.For("other")
	for _, id := range []string{tok.ID, "00000000-0000-7000-8000-000000000000", "", "x"} {
		_, err := other.Get(w.ctx, id)
		w.is(latchkey.ErrNotFound, err)
		_, err = other.Update(w.ctx, id, func(*latchkey.Token) error { return nil })
		w.is(latchkey.ErrNotFound, err)
		_, err = other.Rotate(w.ctx, id, 0)
		w.is(latchkey.ErrNotFound, err)
		w.is(latchkey.ErrNotFound, other.Revoke(w.ctx, id, ""))
		w.is(latchkey.ErrNotFound, other.Delete(w.ctx, id))
		_, err = other.Reveal(w.ctx, id)
		w.is(latchkey.ErrNotFound, err)
	}
	_, err := other.Role(w.ctx, role.ID)
	w.is(latchkey.ErrNotFound, err)
	_, err = other.UpdateRole(w.ctx, role.ID, func(*latchkey.Role) error { return nil })
	w.is(latchkey.ErrNotFound, err)
	w.is(latchkey.ErrNotFound, other.DeleteRole(w.ctx, role.ID))
	_, err = other.CreateRole(w.ctx, latchkey.Role{Name: "x", Inherits: []string{role.ID}})
	w.is(latchkey.ErrInvalid, err)
	_, _, err = other.Issue(w.ctx, latchkey.Spec{Kind: latchkey.KindAPIKey, Roles: []string{role.ID}})
	w.is(latchkey.ErrInvalid, err)
	_, err = other.As(w.access(secret))
	w.is(latchkey.ErrInvalidToken, err)
	_, err = other.Verify(w.ctx, latchkey.Presented{Secret: secret})
	w.is(latchkey.ErrUnknownToken, err)
	w.access(secret)
}

// The matrix of what somebody who acts may do: never more than she may herself.
func TestActingAs(t *testing.T) {
	w := newWorld(t)
	strong := w.role("strong", latchkey.Allow(latchkey.Any).On("*"))
	weak := w.role("weak", latchkey.Allow(latchkey.Read).On("dataset/a"))
	as := func(rules ...latchkey.Rule) latchkey.Account {
		t.Helper()
		_, s := w.key(rules...)
		a, err := w.acme.As(w.access(s))
		w.ok(err)
		return a
	}
	tokens := latchkey.Allow(latchkey.Any).On("latchkey/token/*", "latchkey/role/*")
	data := latchkey.Allow(latchkey.Read).On("dataset/*")
	victim, _ := w.issue(latchkey.KindAPIKey, latchkey.Settings{Roles: []string{strong.ID}})
	small, _ := w.issue(latchkey.KindAPIKey, latchkey.Settings{Roles: []string{weak.ID}})
	spec := func(k latchkey.Kind, rules ...latchkey.Rule) latchkey.Spec {
		return latchkey.Spec{Kind: k, Permissions: rules}
	}
	issue := func(s latchkey.Spec) func(latchkey.Account) error {
		return func(a latchkey.Account) error { _, _, err := a.Issue(w.ctx, s); return err }
	}
	nop := func(*latchkey.Token) error { return nil }
	type call = func(latchkey.Account) error
	clerk := as(tokens, data)
	_, adminKey := w.key(admin()...)
	_, mint := w.mint(w.access(adminKey), latchkey.Narrowing{})
	minted := mustAs(w, w.access(mint)).Exceeding() // what binds it is that it is minted
	for name, c := range map[string]struct {
		who latchkey.Account
		do  call
		may bool
	}{
		"the host issues a secret":        {w.acme, issue(spec(latchkey.KindSecret)), true},
		"a clerk issues what she may":     {clerk, issue(spec(latchkey.KindAPIKey, latchkey.Allow(latchkey.Read).On("dataset/a"))), true},
		"a clerk issues nothing":          {clerk, issue(spec(latchkey.KindPublishable)), true},
		"a clerk issues more":             {clerk, issue(spec(latchkey.KindAPIKey, latchkey.Allow(latchkey.Create).On("dataset/a"))), false},
		"a clerk issues wider":            {clerk, issue(spec(latchkey.KindAPIKey, latchkey.Allow(latchkey.Read).On("*"))), false},
		"a clerk issues a secret":         {clerk, issue(spec(latchkey.KindSecret)), false},
		"a clerk issues by a strong role": {clerk, issue(latchkey.Spec{Kind: latchkey.KindAPIKey, Roles: []string{strong.ID}}), false},
		"a clerk issues by a weak role":   {clerk, issue(latchkey.Spec{Kind: latchkey.KindAPIKey, Roles: []string{weak.ID}}), true},
		"an admin issues a secret":        {as(admin()...), issue(spec(latchkey.KindSecret)), true},
		"data rights issue nothing":       {as(latchkey.Allow(latchkey.Any).On("*")), issue(spec(latchkey.KindPublishable)), false},
		"a clerk updates a weak token":    {clerk, func(a latchkey.Account) error { _, err := a.Update(w.ctx, small.ID, nop); return err }, true},
		"a clerk updates a strong token":  {clerk, func(a latchkey.Account) error { _, err := a.Update(w.ctx, victim.ID, nop); return err }, false},
		"a clerk raises a weak token": {clerk, func(a latchkey.Account) error {
			_, err := a.Update(w.ctx, small.ID, func(t *latchkey.Token) error { t.Roles = []string{strong.ID}; return nil })
			return err
		}, false},
		"a clerk weakens a strong token": {clerk, func(a latchkey.Account) error {
			_, err := a.Update(w.ctx, victim.ID, func(t *latchkey.Token) error { t.Roles = nil; return nil })
			return err
		}, false},
		"a clerk rotates a strong token": {clerk, func(a latchkey.Account) error { _, err := a.Rotate(w.ctx, victim.ID, 0); return err }, false},
		"a clerk revokes a strong token": {clerk, func(a latchkey.Account) error { return a.Revoke(w.ctx, victim.ID, "") }, false},
		"a clerk deletes a strong token": {clerk, func(a latchkey.Account) error { return a.Delete(w.ctx, victim.ID) }, false},
		"a clerk reveals a strong token": {clerk, func(a latchkey.Account) error { _, err := a.Reveal(w.ctx, victim.ID); return err }, false},
		"a clerk makes a weak role": {clerk, func(a latchkey.Account) error {
			_, err := a.CreateRole(w.ctx, latchkey.Role{Name: "r1", Permissions: latchkey.Permissions{latchkey.Grant(latchkey.Read).On("dataset/x")}})
			return err
		}, true},
		"a clerk makes a strong role": {clerk, func(a latchkey.Account) error {
			_, err := a.CreateRole(w.ctx, latchkey.Role{Name: "r2", Permissions: latchkey.Permissions{latchkey.Allow(latchkey.Any).On("*")}})
			return err
		}, false},
		"a clerk inherits a strong role": {clerk, func(a latchkey.Account) error {
			_, err := a.CreateRole(w.ctx, latchkey.Role{Name: "r3", Inherits: []string{strong.ID}})
			return err
		}, false},
		"a clerk weakens a strong role": {clerk, func(a latchkey.Account) error {
			_, err := a.UpdateRole(w.ctx, strong.ID, func(r *latchkey.Role) error { r.Permissions = nil; return nil })
			return err
		}, false},
		"a clerk renames a weak role": {clerk, func(a latchkey.Account) error {
			_, err := a.UpdateRole(w.ctx, weak.ID, func(r *latchkey.Role) error { r.Name = "weaker"; return nil })
			return err
		}, true},
		"a clerk widens a weak role": {clerk, func(a latchkey.Account) error {
			_, err := a.UpdateRole(w.ctx, weak.ID, func(r *latchkey.Role) error { r.Permissions = admin(); return nil })
			return err
		}, false},
		"a clerk lifts the boundary": {as(admin()...), func(a latchkey.Account) error {
			return a.Configure(w.ctx, func(o *latchkey.Owner) error { o.Boundary = latchkey.Permissions{}; return nil })
		}, false},
		"an admin switches nothing": {as(admin()...), func(a latchkey.Account) error {
			return a.Configure(w.ctx, func(o *latchkey.Owner) error { o.Extra = []byte("{}"); return nil })
		}, true},
		"an admin ends all tokens": {as(admin()...), func(a latchkey.Account) error {
			return a.Configure(w.ctx, func(o *latchkey.Owner) error { o.NotBefore = w.now().Add(-time.Hour); return nil })
		}, true},
		"an admin revives ended tokens": {as(admin()...), func(a latchkey.Account) error {
			w.configure(func(o *latchkey.Owner) { o.NotBefore = w.now().Add(-time.Hour) })
			return a.Configure(w.ctx, func(o *latchkey.Owner) error { o.NotBefore = time.Time{}; return nil })
		}, false},
		"a minted admin issues":  {minted, issue(spec(latchkey.KindPublishable)), false},
		"a minted admin rotates": {minted, func(a latchkey.Account) error { _, err := a.Rotate(w.ctx, small.ID, 0); return err }, false},
		"a minted admin reveals": {minted, func(a latchkey.Account) error { _, err := a.Reveal(w.ctx, small.ID); return err }, false},
		"a minted admin renames": {minted, func(a latchkey.Account) error {
			_, err := a.Update(w.ctx, small.ID, func(t *latchkey.Token) error { t.Name = "x"; return nil })
			return err
		}, true},
		"an admin erases": {as(admin()...), func(a latchkey.Account) error { return a.Erase(w.ctx) }, false},
		"a clerk lists clients": {clerk, func(a latchkey.Account) error {
			for _, err := range a.Clients(w.ctx) {
				return err
			}
			return nil
		}, false},
		"an admin lists clients": {as(admin()...), func(a latchkey.Account) error {
			for _, err := range a.Clients(w.ctx) {
				return err
			}
			return nil
		}, true},
		"a reader of tokens changes none": {as(latchkey.Allow(latchkey.Read).On("latchkey/token/*")), func(a latchkey.Account) error { return a.Revoke(w.ctx, small.ID, "") }, false},
		"an assumed admin issues":         {mustAs(w, must(w.acme.Assume(latchkey.Client{ID: "7"}, admin()))), issue(spec(latchkey.KindSecret)), true},
		"an assumed nobody issues":        {mustAs(w, must(w.acme.Assume(latchkey.Client{ID: "7"}, nil))), issue(spec(latchkey.KindPublishable)), false},
	} {
		t.Run(name, func(t *testing.T) {
			err := c.do(c.who)
			if c.may {
				require.NoError(t, err)
			} else {
				require.ErrorIs(t, err, latchkey.ErrDenied)
			}
		})
	}
	for tok, err := range as(latchkey.Allow(latchkey.Read).On(latchkey.Exactly(latchkey.Path("latchkey", "token", small.ID)))).Tokens(w.ctx, latchkey.TokenQuery{}) {
		w.ok(err)
		assert.Equal(t, small.ID, tok.ID, "one who may read one token sees one")
	}
	_, err := as(data).Get(w.ctx, small.ID)
	w.is(latchkey.ErrNotFound, err)
}

// A role that an actor may not read is missing to it.
func TestRolesThatAnActorMayNotRead(t *testing.T) {
	w := newWorld(t)
	theirs, mine := w.role("theirs", readAll()), w.role("mine")
	_, s := w.key(latchkey.Allow(latchkey.Read).On(latchkey.Exactly(latchkey.Path("latchkey", "role", mine.ID))))
	as := mustAs(w, w.access(s))
	_, err := as.Role(w.ctx, theirs.ID)
	w.is(latchkey.ErrNotFound, err)
	_, err = as.ExplainRole(w.ctx, theirs.ID)
	w.is(latchkey.ErrNotFound, err)
	got, err := as.Role(w.ctx, mine.ID)
	w.ok(err)
	assert.Equal(t, mine, got)
	_, err = as.ExplainRole(w.ctx, mine.ID)
	w.ok(err)
	seen := 0
	for r, err := range as.Roles(w.ctx, latchkey.RoleQuery{}) {
		w.ok(err)
		require.Equal(t, mine.ID, r.ID)
		seen++
	}
	assert.Equal(t, 1, seen)

	heir, err := w.acme.CreateRole(w.ctx, latchkey.Role{Name: "heir", Inherits: []string{theirs.ID}})
	w.ok(err)
	tok, _ := w.issue(latchkey.KindAPIKey, latchkey.Settings{Roles: []string{theirs.ID}})
	_, s = w.key(latchkey.Allow(latchkey.Read).On("latchkey/token/*",
		latchkey.Exactly(latchkey.Path("latchkey", "role", heir.ID))))
	as = mustAs(w, w.access(s))
	_, err = as.ExplainRole(w.ctx, heir.ID) // the answer would show what it inherits
	w.is(latchkey.ErrDenied, err)
	_, err = as.Explain(w.ctx, tok.ID)
	w.is(latchkey.ErrDenied, err)
	_, s = w.key(latchkey.Allow(latchkey.Read).On("latchkey/token/*", "latchkey/role/*"))
	as = mustAs(w, w.access(s))
	_, err = as.ExplainRole(w.ctx, heir.ID)
	w.ok(err)
	_, err = as.Explain(w.ctx, tok.ID)
	w.ok(err)
}

func mustAs(w *world, a latchkey.Access) latchkey.Account {
	w.Helper()
	acc, err := w.acme.As(a)
	w.ok(err)
	return acc
}

// What is stored about an Assumed caller is its owner's record, which every call asks anew.
func TestAnAssumedActorObeysTheOwnersRecord(t *testing.T) {
	w := newWorld(t)
	a := must(w.acme.Assume(latchkey.Client{ID: "7"}, admin()))
	as := mustAs(w, a)
	issue := func() error {
		_, _, err := as.Issue(w.ctx, latchkey.Spec{Kind: latchkey.KindPublishable})
		return err
	}
	w.ok(issue())
	for range 2 { // a boundary takes the place of the one before it
		w.configure(func(o *latchkey.Owner) { o.Boundary = latchkey.Permissions{readAll()} })
		w.is(latchkey.ErrDenied, issue())
		again, err := a.Again(w.ctx)
		w.ok(err)
		assert.False(t, again.Allows(latchkey.Create, "latchkey/token/x"))
		a = again
	}
	w.configure(func(o *latchkey.Owner) { o.Boundary = admin() })
	w.ok(issue())
	a, err := a.Again(w.ctx)
	w.ok(err)
	assert.True(t, a.Allows(latchkey.Create, "latchkey/token/x"))
	w.configure(func(o *latchkey.Owner) { o.Boundary, o.Disabled = nil, true })
	w.is(latchkey.ErrOwnerDisabled, issue())
	_, err = a.Again(w.ctx)
	w.is(latchkey.ErrOwnerDisabled, err)
	w.configure(func(o *latchkey.Owner) { o.Disabled = false })
	w.ok(issue())
}

func TestAnActorWhoLostHerRightsDoesNothing(t *testing.T) {
	w := newWorld(t)
	tok, secret := w.issue(latchkey.KindAPIKey, latchkey.Settings{Permissions: admin()})
	as := mustAs(w, w.access(secret))
	w.update(tok, func(t *latchkey.Token) { t.Permissions = nil })
	_, _, err := as.Issue(w.ctx, latchkey.Spec{Kind: latchkey.KindPublishable})
	w.is(latchkey.ErrDenied, err)
	w.ok(w.acme.Revoke(w.ctx, tok.ID, ""))
	_, _, err = as.Issue(w.ctx, latchkey.Spec{Kind: latchkey.KindPublishable})
	w.is(latchkey.ErrRevoked, err)
}

func TestAuditTrail(t *testing.T) {
	var heard []latchkey.Event
	w := newWorld(t, func(o *latchkey.Options) {
		o.Events = func(_ context.Context, e latchkey.Event) { heard = append(heard, e) }
	})
	tok, secret := w.issue(latchkey.KindAPIKey, latchkey.Settings{Permissions: admin()})
	as := mustAs(w, w.access(secret))
	other, otherSecret := w.key(readAll())
	w.ok(as.Revoke(w.ctx, other.ID, "left the company"))
	w.ok(as.Revoke(w.ctx, other.ID, "again"))
	var kept []latchkey.Event
	for e, err := range w.acme.Events(w.ctx, 0) {
		w.ok(err)
		kept = append(kept, e)
	}
	require.Len(t, kept, 3, "what changes nothing is no event")
	require.Len(t, heard, 3)
	last := kept[2]
	assert.Equal(t, "token.revoke", last.Action)
	assert.Equal(t, tok.ID, last.Actor)
	assert.Equal(t, other.ID, last.Object)
	assert.Equal(t, "left the company", last.Reason)
	var before, after latchkey.Token
	w.ok(json.Unmarshal(last.Before, &before))
	w.ok(json.Unmarshal(last.After, &after))
	assert.True(t, before.Revoked.IsZero())
	assert.False(t, after.Revoked.IsZero())
	for _, e := range kept {
		text := fmt.Sprintf("%+v %s %s", e, e.Before, e.After)
		assert.NotContains(t, text, secret)
		assert.NotContains(t, text, otherSecret)
	}
}

func TestRolesThatInherit(t *testing.T) {
	w := newWorld(t)
	a := w.role("a", latchkey.Grant(latchkey.Read).On("x/*"))
	b, err := w.acme.CreateRole(w.ctx, latchkey.Role{Name: "b", Inherits: []string{a.ID}})
	w.ok(err)
	c, err := w.acme.CreateRole(w.ctx, latchkey.Role{Name: "c", Inherits: []string{b.ID}, Permissions: latchkey.Permissions{
		latchkey.Deny(latchkey.Read).On("x/secret")}})
	w.ok(err)
	_, err = w.acme.UpdateRole(w.ctx, a.ID, func(r *latchkey.Role) error { r.Inherits = []string{c.ID}; return nil })
	w.is(latchkey.ErrInvalid, err)
	_, err = w.acme.UpdateRole(w.ctx, a.ID, func(r *latchkey.Role) error { r.Inherits = []string{a.ID}; return nil })
	w.is(latchkey.ErrInvalid, err)
	_, err = w.acme.CreateRole(w.ctx, latchkey.Role{Name: "a"})
	w.is(latchkey.ErrExists, err)

	_, secret := w.issue(latchkey.KindAPIKey, latchkey.Settings{Roles: []string{c.ID}})
	assert.True(t, w.access(secret).Allows(latchkey.Read, "x/1"))
	assert.False(t, w.access(secret).Allows(latchkey.Read, "x/secret"))
	w.editRole(a, func(r *latchkey.Role) { r.Permissions = nil }) // two roles away
	assert.False(t, w.access(secret).Allows(latchkey.Read, "x/1"))

	w.is(latchkey.ErrInUse, w.acme.DeleteRole(w.ctx, c.ID))
	w.is(latchkey.ErrInUse, w.acme.DeleteRole(w.ctx, a.ID))
	var names []string
	for r, err := range w.acme.Roles(w.ctx, latchkey.RoleQuery{Page: latchkey.Page{Limit: 2}}) {
		w.ok(err)
		names = append(names, r.Name)
	}
	assert.Equal(t, []string{"a", "b", "c"}, names)
}

// Two who each make the other's role inherit from their own: one must lose, or the roles form a ring.
func TestRolesNeverFormARing(t *testing.T) {
	for range 50 {
		w := newWorld(t)
		a, b := w.role("a"), w.role("b")
		var wg sync.WaitGroup
		errs := make([]error, 2)
		for i, pair := range [][2]latchkey.Role{{a, b}, {b, a}} {
			wg.Go(func() {
				_, errs[i] = w.acme.UpdateRole(w.ctx, pair[0].ID, func(r *latchkey.Role) error {
					r.Inherits = []string{pair[1].ID}
					return nil
				})
			})
		}
		wg.Wait()
		require.True(t, (errs[0] == nil) != (errs[1] == nil), "%v", errs)
	}
}

// The same where the other comes between what the first read and what it writes.
func TestARingIsSeenThoughItIsMadeMeanwhile(t *testing.T) {
	for name, ring := range map[string]bool{"a ring": true, "no ring": false} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			a, b, c := w.role("a"), w.role("b"), w.role("c")
			w.editRole(b, func(r *latchkey.Role) { r.Inherits = []string{c.ID} })
			done := w.store.before(func() {
				w.editRole(c, func(r *latchkey.Role) {
					if ring {
						r.Inherits = []string{a.ID}
					}
				})
			})
			_, err := w.acme.UpdateRole(w.ctx, a.ID, func(r *latchkey.Role) error { r.Inherits = []string{b.ID}; return nil })
			require.True(t, done())
			if ring {
				w.is(latchkey.ErrInvalid, err)
			} else {
				w.ok(err)
			}
		})
	}
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

func TestSecretsAppearNowhere(t *testing.T) {
	var log strings.Builder
	w := newWorld(t)
	_, secret, err := w.acme.Issue(w.ctx, latchkey.Spec{Kind: latchkey.KindAPIKey})
	w.ok(err)
	text := secret.Reveal()
	a := w.access(text)
	_, denied := w.verify(text + "x")
	for _, v := range []any{secret, a, denied, a.Check(latchkey.Read, "x"), w.keys.For("acme")} {
		for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%q"} {
			fmt.Fprintf(&log, verb, v)
		}
	}
	assert.NotContains(t, log.String(), text)
	assert.NotContains(t, log.String(), text[5:20])
}
