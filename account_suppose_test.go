package latchkey_test

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/latchkey-go/latchkey"
)

// What a change of a role would change for the role, for what inherits it, and for each token, is told before it is
// saved. Nothing is written, and no decision is made by it.
func TestExplainWithARoleAsItWouldBecome(t *testing.T) {
	w := newWorld(t)
	eu := latchkey.Where("region", latchkey.Eq, "EU")
	base := w.role("base", latchkey.Allow(latchkey.Read).On("dataset/orders"))
	extra := w.role("extra", latchkey.Allow(latchkey.Update).On("dataset/orders"))
	heir, err := w.acme.CreateRole(w.ctx, latchkey.Role{Name: "heir", Inherits: []string{base.ID}})
	w.ok(err)
	holder, text := w.issue(latchkey.KindAPIKey, latchkey.Settings{Roles: []string{base.ID}})
	inherits, _ := w.issue(latchkey.KindAPIKey, latchkey.Settings{Roles: []string{heir.ID}})
	outweighs, _ := w.issue(latchkey.KindAPIKey, latchkey.Settings{Roles: []string{base.ID},
		Permissions: latchkey.Permissions{latchkey.Allow(latchkey.Read).On("dataset/*")}})
	without, _ := w.issue(latchkey.KindAPIKey, latchkey.Settings{Permissions: latchkey.Permissions{
		latchkey.Allow(latchkey.Read).On("dataset/orders")}})
	minted, _ := w.mint(w.access(text), latchkey.Narrowing{})
	w.configure(func(o *latchkey.Owner) {
		o.Boundary = latchkey.Permissions{latchkey.Allow(latchkey.Any).On("dataset/*", "latchkey/*")}
	})
	w.access(text) // its rights are in the cache now, by the versions of its roles
	read := latchkey.Question{Action: latchkey.Read, Resource: "dataset/orders"}
	update := latchkey.Question{Action: latchkey.Update, Resource: "dataset/orders"}
	secret := latchkey.Question{Action: latchkey.Read, Resource: "other"}
	becomes := base.Clone()
	becomes.Inherits = []string{"extra"}
	becomes.Permissions = latchkey.Permissions{latchkey.Allow(latchkey.Read).On("dataset/orders").Where(eu),
		latchkey.Allow(latchkey.Read).On("other")}

	verdicts := func(answers []latchkey.Explanation, err error) (out []string) {
		w.ok(err)
		for _, e := range answers {
			out = append(out, e.Verdict)
		}
		return out
	}
	ask := []latchkey.Question{read, update, secret}
	now, then := []string{"all", "none", "none"}, []string{"some", "all", "none"}
	require.Equal(t, now, verdicts(w.acme.ExplainRole(w.ctx, base.ID, ask...)))
	require.Equal(t, then, verdicts(w.acme.ExplainRoleAs(w.ctx, becomes, ask...)))
	for name, c := range map[string]struct {
		token     latchkey.Token
		now, then []string
	}{
		"one that has it":                    {holder, now, then},
		"one with a role that inherits it":   {inherits, now, then},
		"one that was minted from it":        {minted, now, then},
		"one whose own rules outweigh it":    {outweighs, now, []string{"all", "all", "none"}},
		"one without it, with the same rule": {without, now, now},
	} {
		require.Equal(t, c.now, verdicts(w.acme.Explain(w.ctx, c.token.ID, ask...)), name)
		require.Equal(t, c.then, verdicts(w.acme.ExplainWith(w.ctx, c.token.ID, becomes, ask...)), name)
		require.Equal(t, c.now, verdicts(w.acme.Explain(w.ctx, c.token.ID, ask...)), name)
	}
	bare := base.Clone() // with the same roles, so that only its rules tell it from what the cache holds
	bare.Permissions = nil
	require.Equal(t, []string{"none", "none", "none"}, verdicts(w.acme.ExplainWith(w.ctx, holder.ID, bare, ask...)))
	access, err := w.verify(text)
	w.ok(err)
	w.ok(access.Check(latchkey.Read, "dataset/orders"))
	w.is(latchkey.ErrDenied, access.Check(latchkey.Update, "dataset/orders"))
	stored, err := w.acme.Role(w.ctx, base.ID)
	w.ok(err)
	require.Equal(t, base, stored)

	fresh := latchkey.Role{Name: "fresh", Inherits: []string{extra.ID}}
	require.Equal(t, []string{"none", "all", "none"}, verdicts(w.acme.ExplainRoleAs(w.ctx, fresh, ask...)))
	for name, bad := range map[string]latchkey.Role{
		"no name":           {},
		"an unknown parent": {Name: "x", Inherits: []string{"nobody"}},
		"itself, by way of": {Name: "base", ID: base.ID, Inherits: []string{heir.ID}},
		"an invalid rule":   {Name: "x", Permissions: latchkey.Permissions{{}}},
	} {
		_, err := w.acme.ExplainRoleAs(w.ctx, bad, read)
		require.ErrorIs(t, err, latchkey.ErrInvalid, name)
		_, err = w.acme.ExplainWith(w.ctx, holder.ID, bad, read)
		require.ErrorIs(t, err, latchkey.ErrInvalid, name)
	}
}

// A supposed role shows no rules that the actor may not read.
func TestExplainWithShowsNoHiddenRole(t *testing.T) {
	w := newWorld(t)
	mine, hidden := w.role("mine", readAll()), w.role("hidden", latchkey.Allow(latchkey.Update).On("x"))
	holder, _ := w.issue(latchkey.KindAPIKey, latchkey.Settings{Roles: []string{mine.ID}})
	clerk, err := w.acme.Assume(latchkey.Client{ID: "clerk"}, latchkey.Permissions{
		latchkey.Allow(latchkey.Read).On("latchkey/*"),
		latchkey.Deny(latchkey.Read).On(latchkey.Exactly(latchkey.Path("latchkey", "role", hidden.ID)))})
	w.ok(err)
	as, err := w.acme.As(clerk)
	w.ok(err)
	ask := latchkey.Question{Action: latchkey.Update, Resource: "x"}
	r := mine.Clone()
	_, err = as.ExplainRoleAs(w.ctx, r, ask)
	w.ok(err)
	_, err = as.ExplainWith(w.ctx, holder.ID, r, ask)
	w.ok(err)
	r.Inherits = []string{hidden.ID}
	_, err = as.ExplainRoleAs(w.ctx, r, ask)
	require.Error(t, err)
	_, err = as.ExplainWith(w.ctx, holder.ID, r, ask)
	require.Error(t, err)
	r = hidden.Clone()
	_, err = as.ExplainRoleAs(w.ctx, r, ask)
	w.is(latchkey.ErrDenied, err)
	secret, _ := w.issue(latchkey.KindAPIKey, latchkey.Settings{Roles: []string{hidden.ID}})
	_, err = as.ExplainWith(w.ctx, secret.ID, r, ask)
	w.is(latchkey.ErrDenied, err)
}
