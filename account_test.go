package latchkey_test

import (
	"context"
	"encoding/json"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/latchkey-go/latchkey"
	"github.com/latchkey-go/latchkey/memstore"
)

func admin() latchkey.Permissions {
	return latchkey.Permissions{latchkey.Allow(latchkey.Any).On("*", "latchkey/*")}
}

func must[T any](v T, err error) T {
	if err != nil {
		panic(err)
	}
	return v
}

func mustAs(w *world, a latchkey.Access) latchkey.Account {
	w.Helper()
	acc, err := w.acme.As(a)
	w.ok(err)
	return acc
}

func second[T any](_ T, err error) error { return err }

func third[T, U any](_ T, _ U, err error) error { return err }

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

// The matrix of what an actor may do: never more than its own rights.
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
		"the host issues a secret": {w.acme, issue(spec(latchkey.KindSecret)), true},
		"a clerk issues what it may": {clerk,
			issue(spec(latchkey.KindAPIKey, latchkey.Allow(latchkey.Read).On("dataset/a"))), true},
		"a clerk issues nothing": {clerk, issue(spec(latchkey.KindPublishable)), true},
		"a clerk issues more": {clerk,
			issue(spec(latchkey.KindAPIKey, latchkey.Allow(latchkey.Create).On("dataset/a"))), false},
		"a clerk issues wider": {clerk, issue(spec(latchkey.KindAPIKey, latchkey.Allow(latchkey.Read).On("*"))),
			false},
		"a clerk issues a secret": {clerk, issue(spec(latchkey.KindSecret)), false},
		"a clerk issues by a strong role": {clerk,
			issue(latchkey.Spec{Kind: latchkey.KindAPIKey, Roles: []string{strong.ID}}), false},
		"a clerk issues by a weak role": {clerk, issue(latchkey.Spec{Kind: latchkey.KindAPIKey, Roles: []string{weak.ID}}),
			true},
		"an admin issues a secret": {as(admin()...), issue(spec(latchkey.KindSecret)), false},
		"an admin that gives issues a secret": {as(append(admin(),
			latchkey.Grant(latchkey.Give).On("*", "latchkey/*"))...), issue(spec(latchkey.KindSecret)), true},
		"data rights issue nothing": {as(latchkey.Allow(latchkey.Any).On("*")),
			issue(spec(latchkey.KindPublishable)), false},
		"a clerk updates a weak token": {clerk,
			func(a latchkey.Account) error { _, err := a.Update(w.ctx, small.ID, nop); return err }, true},
		"a clerk updates a strong token": {clerk,
			func(a latchkey.Account) error { _, err := a.Update(w.ctx, victim.ID, nop); return err }, false},
		"a clerk raises a weak token": {clerk, func(a latchkey.Account) error {
			_, err := a.Update(w.ctx, small.ID, func(t *latchkey.Token) error { t.Roles = []string{strong.ID}; return nil })
			return err
		}, false},
		"a clerk weakens a strong token": {clerk, func(a latchkey.Account) error {
			_, err := a.Update(w.ctx, victim.ID, func(t *latchkey.Token) error { t.Roles = nil; return nil })
			return err
		}, false},
		"a clerk rotates a strong token": {clerk,
			func(a latchkey.Account) error { _, err := a.Rotate(w.ctx, victim.ID, 0); return err }, false},
		"a clerk revokes a strong token": {clerk, func(a latchkey.Account) error { return a.Revoke(w.ctx, victim.ID, "") },
			false},
		"a clerk deletes a strong token": {clerk, func(a latchkey.Account) error { return a.Delete(w.ctx, victim.ID) },
			false},
		"a clerk reveals a strong token": {clerk,
			func(a latchkey.Account) error { _, err := a.Reveal(w.ctx, victim.ID); return err }, false},
		"a clerk makes a weak role": {clerk, func(a latchkey.Account) error {
			_, err := a.CreateRole(w.ctx,
				latchkey.Role{Name: "r1", Permissions: latchkey.Permissions{latchkey.Grant(latchkey.Read).On("dataset/x")}})
			return err
		}, true},
		"a clerk makes a strong role": {clerk, func(a latchkey.Account) error {
			_, err := a.CreateRole(w.ctx,
				latchkey.Role{Name: "r2", Permissions: latchkey.Permissions{latchkey.Allow(latchkey.Any).On("*")}})
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
		"a minted admin issues": {minted, issue(spec(latchkey.KindPublishable)), false},
		"a minted admin rotates": {minted,
			func(a latchkey.Account) error { _, err := a.Rotate(w.ctx, small.ID, 0); return err }, false},
		"a minted admin reveals": {minted, func(a latchkey.Account) error { _, err := a.Reveal(w.ctx, small.ID); return err },
			false},
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
		"a reader of tokens changes none": {as(latchkey.Allow(latchkey.Read).On("latchkey/token/*")),
			func(a latchkey.Account) error { return a.Revoke(w.ctx, small.ID, "") }, false},
		"an assumed admin issues": {mustAs(w, must(w.acme.Assume(latchkey.Client{ID: "7"}, admin()))),
			issue(spec(latchkey.KindAPIKey, admin()...)), true},
		"an assumed nobody issues": {mustAs(w, must(w.acme.Assume(latchkey.Client{ID: "7"}, nil))),
			issue(spec(latchkey.KindPublishable)), false},
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
	for tok, err := range as(latchkey.Allow(latchkey.Read).On(latchkey.Exactly(latchkey.Path("latchkey", "token",
		small.ID)))).Tokens(w.ctx, latchkey.TokenQuery{}) {
		w.ok(err)
		assert.Equal(t, small.ID, tok.ID, "one who may read one token sees one")
	}
	_, err := as(data).Get(w.ctx, small.ID)
	w.is(latchkey.ErrNotFound, err)
}

// Each call of an actor needs its own right, and no other right is enough.
func TestEveryCallNeedsItsOwnRight(t *testing.T) {
	ring := must(latchkey.NewKeyring(latchkey.Key{ID: 1, Secret: []byte(strings.Repeat("a", 32))}))
	type call struct {
		action latchkey.Action
		on     latchkey.Pattern
		do     func(w *world, as latchkey.Account, token, role string) error
	}
	key := latchkey.Spec{Kind: latchkey.KindAPIKey}
	for name, c := range map[string]call{
		"issue": {latchkey.Create, "latchkey/token/*", func(w *world, as latchkey.Account, _, _ string) error {
			return third(as.Issue(w.ctx, key))
		}},
		"update": {latchkey.Update, "latchkey/token/*", func(w *world, as latchkey.Account, token, _ string) error {
			return second(as.Update(w.ctx, token, func(t *latchkey.Token) error { t.Name = "x"; return nil }))
		}},
		"revoke": {latchkey.Delete, "latchkey/token/*", func(w *world, as latchkey.Account, token, _ string) error {
			return as.Revoke(w.ctx, token, "")
		}},
		"delete": {latchkey.Delete, "latchkey/token/*", func(w *world, as latchkey.Account, token, _ string) error {
			return as.Delete(w.ctx, token)
		}},
		"rotate": {latchkey.Rotate, "latchkey/token/*", func(w *world, as latchkey.Account, token, _ string) error {
			return second(as.Rotate(w.ctx, token, 0))
		}},
		"reveal": {latchkey.Reveal, "latchkey/token/*", func(w *world, as latchkey.Account, token, _ string) error {
			return second(as.Reveal(w.ctx, token))
		}},
		"signing secret": {latchkey.Reveal, "latchkey/token/*", func(w *world, as latchkey.Account, token, _ string) error {
			return second(as.SigningSecret(w.ctx, token))
		}},
		"create role": {latchkey.Create, "latchkey/role/*", func(w *world, as latchkey.Account, _, _ string) error {
			return second(as.CreateRole(w.ctx, latchkey.Role{Name: "x"}))
		}},
		"update role": {latchkey.Update, "latchkey/role/*", func(w *world, as latchkey.Account, _, role string) error {
			return second(as.UpdateRole(w.ctx, role, func(r *latchkey.Role) error { r.Name = "x"; return nil }))
		}},
		"delete role": {latchkey.Delete, "latchkey/role/*", func(w *world, as latchkey.Account, _, role string) error {
			return as.DeleteRole(w.ctx, role)
		}},
		"record": {latchkey.Read, "latchkey/owner", func(w *world, as latchkey.Account, _, _ string) error {
			return second(as.Record(w.ctx))
		}},
		"configure": {latchkey.Update, "latchkey/owner", func(w *world, as latchkey.Account, _, _ string) error {
			return as.Configure(w.ctx, func(o *latchkey.Owner) error { o.Extra = []byte("{}"); return nil })
		}},
		"clients": {latchkey.Read, "latchkey/client", func(w *world, as latchkey.Account, _, _ string) (err error) {
			for _, err = range as.Clients(w.ctx) {
			}
			return err
		}},
		"events": {latchkey.Read, "latchkey/event", func(w *world, as latchkey.Account, _, _ string) (err error) {
			for _, err = range as.Events(w.ctx, latchkey.EventQuery{}) {
			}
			return err
		}},
		"usage": {latchkey.Read, "latchkey/usage", func(w *world, as latchkey.Account, _, _ string) error {
			return second(as.Usage(w.ctx, latchkey.UsageQuery{}))
		}},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t, func(o *latchkey.Options) { o.Keyring = ring })
			must(w.keys.For("acme").Assume(latchkey.Client{ID: "1"}, nil)).Count("calls", "", 1)
			tok, _ := w.key()
			role := w.role("r")
			try := func(rules ...latchkey.Rule) error {
				_, secret := w.key(rules...)
				return c.do(w, mustAs(w, w.access(secret)), tok.ID, role.ID)
			}
			all := latchkey.Allow(latchkey.Any).On("latchkey/*", "*")
			w.is(latchkey.ErrDenied, try())
			w.is(latchkey.ErrDenied, try(latchkey.Allow(latchkey.Any).On("*")))
			w.is(latchkey.ErrDenied, try(all, latchkey.Deny(c.action).On(c.on)))
			w.ok(try(latchkey.Allow(c.action).On(c.on)))
		})
	}
}

// An actor without the right learns nothing of texts and roles.
func TestRightsAreCheckedFirst(t *testing.T) {
	for _, keyring := range []bool{false, true} {
		w := newWorld(t, func(o *latchkey.Options) {
			if keyring {
				o.Keyring = must(latchkey.NewKeyring(must(latchkey.GenerateKey(nil, 1))))
			}
		})
		_, theirs, err := w.keys.For("other").Issue(w.ctx, latchkey.Spec{Kind: latchkey.KindAPIKey})
		w.ok(err)
		role := w.role("there")
		nobody := mustAs(w, must(w.acme.Assume(latchkey.Client{ID: "7"}, nil)))
		key := latchkey.Spec{Kind: latchkey.KindAPIKey}
		for what, err := range map[string]error{
			"a text of another owner": second(nobody.Import(w.ctx, key, theirs.Reveal())),
			"a text of nobody":        second(nobody.Import(w.ctx, key, foreignText(t))),
			"a text that is none":     second(nobody.Import(w.ctx, key, "x")),
			"a text of another kind":  second(nobody.Import(w.ctx, latchkey.Spec{Kind: latchkey.KindSession}, theirs.Reveal())),
			"a role that is there": third(nobody.Issue(w.ctx, latchkey.Spec{Kind: key.Kind,
				Roles: []string{role.ID}})),
			"a role that is not": third(nobody.Issue(w.ctx, latchkey.Spec{Kind: key.Kind,
				Roles: []string{"x"}})),
			"a kind that is none":   third(nobody.Issue(w.ctx, latchkey.Spec{Kind: 99})),
			"an heir of one there":  second(nobody.CreateRole(w.ctx, latchkey.Role{Name: "n", Inherits: []string{role.ID}})),
			"an heir of none":       second(nobody.CreateRole(w.ctx, latchkey.Role{Name: "n", Inherits: []string{"x"}})),
			"a name that is taken":  second(nobody.CreateRole(w.ctx, latchkey.Role{Name: "there"})),
			"an update of a role":   second(nobody.UpdateRole(w.ctx, role.ID, func(*latchkey.Role) error { return nil })),
			"an update of none":     second(nobody.UpdateRole(w.ctx, "x", func(*latchkey.Role) error { return nil })),
			"a deletion of a role":  nobody.DeleteRole(w.ctx, role.ID),
			"a deletion of none":    nobody.DeleteRole(w.ctx, "x"),
			"a rotation of none":    second(nobody.Rotate(w.ctx, "x", 0)),
			"a revelation of none":  second(nobody.Reveal(w.ctx, "x")),
			"a revocation of none":  nobody.Revoke(w.ctx, "x", ""),
			"an update of no token": second(nobody.Update(w.ctx, "x", func(*latchkey.Token) error { return nil })),
			"a configuration":       nobody.Configure(w.ctx, func(*latchkey.Owner) error { return nil }),
			"an erasure":            nobody.Erase(w.ctx),
		} {
			if what == "a text that is none" || what == "a kind that is none" {
				assert.Error(t, err, what)
				continue
			}
			assert.ErrorIs(t, err, latchkey.ErrDenied, what)
		}
	}
}

// A call requires what was there before it: an actor may change what its own rights come from.
func TestAnActorMayChangeItsOwnRecords(t *testing.T) {
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

// An Assumed caller depends on one stored record, its owner's. Every call reads it again.
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

func TestAnActorWithoutItsRightsDoesNothing(t *testing.T) {
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

// A secret key that was narrowed to a role has its rights from that role, though the key does not name it.
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

func TestAuditTrail(t *testing.T) {
	var heard []latchkey.Event
	w := newWorld(t, func(o *latchkey.Options) {
		o.Observer.Changed = func(_ context.Context, e latchkey.Event) { heard = append(heard, e) }
	})
	tok, secret := w.issue(latchkey.KindAPIKey, latchkey.Settings{Permissions: admin()})
	as := mustAs(w, w.access(secret))
	other, otherSecret := w.key(readAll())
	w.ok(as.Revoke(w.ctx, other.ID, "left the company"))
	w.ok(as.Revoke(w.ctx, other.ID, "again"))
	var kept []latchkey.Event
	for e, err := range w.acme.Events(w.ctx, latchkey.EventQuery{}) {
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

func TestOnce(t *testing.T) {
	ctx := t.Context()
	store := memstore.New(nil)
	a, again := latchkey.New(store, nil).For("acme"), latchkey.New(store, nil).For("acme")
	until := time.Now().Add(time.Hour)
	require.NoError(t, a.Once(ctx, "form 1", until))
	require.ErrorIs(t, again.Once(ctx, "form 1", until), latchkey.ErrExists, "another process knows it")
	require.NoError(t, again.Once(ctx, "form 2", until))
	require.NoError(t, a.Manager().For("other").Once(ctx, "form 1", until), "another owner does not")
}

func errOf[T any](_ T, err error) error { return err }

// By says in the audit trail who acted for the host, and changes no right.
func TestBy(t *testing.T) {
	w := newWorld(t)
	acme, err := w.acme.By("ada@desk", "ticket 7")
	w.ok(err)
	token, _, err := acme.Issue(w.ctx, latchkey.Spec{Kind: latchkey.KindSecret})
	w.ok(err)
	w.ok(acme.Revoke(w.ctx, token.ID, "leaked"))
	w.key()
	_, secret, err := acme.Issue(w.ctx, latchkey.Spec{Kind: latchkey.KindSecret})
	w.ok(err)
	actor := w.access(secret.Reveal())
	acting, err := acme.As(actor)
	w.ok(err)
	_, _, err = acting.Issue(w.ctx, latchkey.Spec{Kind: latchkey.KindAPIKey})
	w.ok(err)
	var got [][3]string
	for e, err := range w.acme.Events(w.ctx, latchkey.EventQuery{}) {
		w.ok(err)
		got = append(got, [3]string{e.Action, e.Actor, e.Reason})
	}
	require.Equal(t, [][3]string{
		{"token.issue", "host:ada@desk", "ticket 7"},
		{"token.revoke", "host:ada@desk", "leaked"},
		{"token.issue", "", ""},
		{"token.issue", "host:ada@desk", "ticket 7"},
		{"token.issue", actor.TokenID(), "ticket 7"},
	}, got)
	for _, bad := range [][2]string{{"", ""}, {"a\x00", ""}, {strings.Repeat("a", 129), ""},
		{"a", strings.Repeat("a", 257)}} {
		_, err := w.acme.By(bad[0], bad[1])
		w.is(latchkey.ErrInvalid, err)
	}
}

// A Reading reads the actor once. What changes something, or shows a secret, reads it again.
func TestReading(t *testing.T) {
	w := newWorld(t)
	_, text := w.issue(latchkey.KindSecret, latchkey.Settings{Name: "actor"})
	token, _ := w.issue(latchkey.KindAPIKey, latchkey.Settings{Name: "k"})
	actor := w.access(text)
	live := must(w.acme.As(actor))
	page := must(live.Reading(w.ctx))
	w.ok(w.acme.Revoke(w.ctx, actor.TokenID(), ""))
	_, err := live.Get(w.ctx, token.ID)
	require.ErrorIs(t, err, latchkey.ErrInvalidToken)
	got, err := page.Get(w.ctx, token.ID)
	w.ok(err)
	require.Equal(t, "k", got.Name)
	n, err := page.CountTokens(w.ctx, latchkey.TokenQuery{}, 0)
	w.ok(err)
	require.Equal(t, 2, n)
	for name, err := range map[string]error{
		"Revoke":  page.Revoke(w.ctx, token.ID, ""),
		"Rotate":  second(page.Rotate(w.ctx, token.ID, 0)),
		"Reveal":  second(page.Reveal(w.ctx, token.ID)),
		"Once":    page.Once(w.ctx, "k", w.now()),
		"Reading": second(page.Reading(w.ctx)),
		"another": second(must(page.As(actor)).Get(w.ctx, token.ID)),
		"more":    second(page.Exceeding().Get(w.ctx, token.ID)),
	} {
		require.ErrorIs(t, err, latchkey.ErrInvalidToken, name)
	}
	_, err = live.Reading(w.ctx)
	require.ErrorIs(t, err, latchkey.ErrInvalidToken)
}
