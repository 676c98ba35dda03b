package datocms

import (
	"context"
	"encoding/json"
	"net/http"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/latchkey-go/latchkey"
	"github.com/latchkey-go/latchkey/memstore"
)

// entriesEverywhere may read every model of every environment that matters here.
func entriesEverywhere() string {
	in := func(env string) string {
		return `{"environment":"` + env + `","action":"read","on_creator":"anyone"}`
	}
	return models(in("main")+","+in("staging")+","+in("forgotten"), "")
}

// What a handler asks that knows nothing of environments_access: nothing but rows.
func mayRead(a latchkey.Access, env string) bool {
	rows, err := a.Filter(latchkey.Read, Model(env, "44"))
	return err == nil && rows.IsAllRows()
}

func TestPlainFilterObeysEnvironmentsAccess(t *testing.T) {
	opts := &Options{Environments: []string{"main", "staging"}}
	for _, c := range []struct {
		own, inherited string // environments_access; "" inherits nothing
		primary, other bool
	}{
		{"all", "", true, true},
		{"primary_only", "", true, false},
		{"sandbox_only", "", false, true},
		{"none", "", false, false},
		// The role has no entries of its own: it has them from one that may enter nothing itself, or little.
		{"all", "none", true, true},
		{"primary_only", "none", true, false},
		{"sandbox_only", "none", false, true},
		{"none", "none", false, false},
		{"none", "primary_only", true, false},
		{"none", "all", true, true},
		{"primary_only", "sandbox_only", true, true},
		{"sandbox_only", "primary_only", true, true},
		{"sandbox_only", "sandbox_only", false, true},
	} {
		t.Run(c.own+" "+c.inherited, func(t *testing.T) {
			w := newFixture(t, opts)
			access := func(environments, entries string, up ...string) latchkey.Access {
				role := w.newRole("role "+environments, `"environments_access":"`+environments+`",`+entries, up...)
				return w.verify(*w.newToken("t", role.ID).Attributes.Token)
			}
			var a latchkey.Access
			if c.inherited == "" {
				a = access(c.own, entriesEverywhere())
			} else {
				base := w.newRole("base", `"environments_access":"`+c.inherited+`",`+entriesEverywhere())
				a = access(c.own, models("", ""), base.ID)
			}
			require.Equal(t, c.primary, mayRead(a, "main"), "main")
			require.Equal(t, c.other, mayRead(a, "staging"), "staging")
			require.Equal(t, c.other, mayRead(a, "forgotten"), "an environment that the options do not name")
			require.Equal(t, c.primary, Enter(a, true) == nil)
			require.Equal(t, c.other, Enter(a, false) == nil)
		})
	}
}

// Flags, build triggers and what else is in no environment do not hang on environments_access.
func TestEnvironmentsAccessTakesNothingElse(t *testing.T) {
	w := newFixture(t, nil)
	role := w.newRole("r", `"environments_access":"none","can_edit_site":true,"can_manage_access_tokens":true,`+
		`"positive_build_trigger_permissions":[{"build_trigger":null}],"negative_build_trigger_permissions":[]`)
	a := w.verify(*w.newToken("t", role.ID, true, true, true).Attributes.Token)
	require.True(t, a.Allows(latchkey.Use, Flag("can_edit_site")))
	require.True(t, a.Allows(latchkey.Use, BuildTrigger("7")))
	require.True(t, a.Allows(latchkey.Create, "latchkey/token/new"))
	require.True(t, a.Allows(latchkey.Use, apiCMA))
}

func TestEnvironmentsAccessOfAParentBitesAtOnce(t *testing.T) {
	w := newFixture(t, &Options{Environments: []string{"main", "staging"}})
	base := w.newRole("base", `"environments_access":"all",`+entriesEverywhere())
	leaf := w.newRole("leaf", `"environments_access":"none",`+models("", ""), base.ID)
	secret := *w.newToken("t", leaf.ID).Attributes.Token
	require.True(t, mayRead(w.verify(secret), "staging"))
	w.ok(200, "PUT", "/roles/"+base.ID, roleBodyText(base.ID, `"environments_access":"primary_only"`, nil), &gotRole{})
	a := w.verify(secret)
	require.True(t, mayRead(a, "main"))
	require.False(t, mayRead(a, "staging"))
}

// Somebody who manages roles opens no environment that she may not enter, be it by way of a role that is inherited.
func TestNobodyOpensAnEnvironmentByWayOfAParent(t *testing.T) {
	w := newFixture(t, &Options{Environments: []string{"main", "staging"}})
	base := w.newRole("base", `"environments_access":"none",`+models("", ""))
	heir := w.newRole("heir", `"environments_access":"primary_only",`+entriesEverywhere(), base.ID)
	manager := w.newRole("manager", `"environments_access":"primary_only","can_manage_users":true,`+entriesEverywhere())
	secret := *w.newToken("m", manager.ID).Attributes.Token
	require.False(t, mayRead(w.verify(secret), "staging"))
	body := roleBodyText(base.ID, `"environments_access":"sandbox_only"`, nil)
	require.NotEqual(t, http.StatusOK, w.send(secret, "PUT", "/roles/"+base.ID, body).Code)
	a := w.verify(*w.newToken("t", heir.ID).Attributes.Token)
	require.False(t, mayRead(a, "staging"))
}

func TestRecompile(t *testing.T) {
	before, after := []string{"main", "staging"}, []string{"staging", "main"}
	w := newFixture(t, &Options{Environments: before})
	base := w.newRole("base", `"environments_access":"none",`+entriesEverywhere())
	leaf := w.newRole("leaf", `"environments_access":"primary_only",`+models("", ""), base.ID)
	host, err := w.acme.CreateRole(t.Context(), latchkey.Role{Name: "the host's", Permissions: latchkey.Permissions{
		latchkey.Allow(latchkey.Any).On("*")}})
	require.NoError(t, err)
	secret := *w.newToken("t", leaf.ID).Attributes.Token
	recompile := func(opts *Options) int {
		n, err := Recompile(t.Context(), w.acme, opts)
		require.NoError(t, err)
		return n
	}
	require.Zero(t, recompile(&Options{Environments: before}), "all is as it should be")
	require.True(t, mayRead(w.verify(secret), "main"))

	require.Equal(t, 1, recompile(&Options{Environments: after}), "one role speaks of the primary environment")
	require.False(t, mayRead(w.verify(secret), "main"))
	require.True(t, mayRead(w.verify(secret), "staging"))

	require.Equal(t, 3, recompile(&Options{Environments: after, NegativesNotInherited: true}), "the administrator's too")
	got, err := w.acme.Role(t.Context(), leaf.ID)
	require.NoError(t, err)
	require.False(t, got.InheritDenies)
	same, err := w.acme.Role(t.Context(), host.ID)
	require.NoError(t, err)
	require.Equal(t, host.Version, same.Version, "a role of the host's own is left alone")

	// What cannot be read gives nothing, and is kept as it is.
	broken, err := w.acme.UpdateRole(t.Context(), base.ID, func(r *latchkey.Role) error {
		r.Extra = []byte(`{"environments_access":"everywhere"}`)
		return nil
	})
	require.NoError(t, err)
	require.Equal(t, 1, recompile(&Options{Environments: after, NegativesNotInherited: true}))
	got, err = w.acme.Role(t.Context(), base.ID)
	require.NoError(t, err)
	require.Equal(t, string(broken.Extra), string(got.Extra))
	require.Empty(t, got.Permissions)
	require.False(t, mayRead(w.verify(secret), "staging"))
}

// A host may ask about an environment itself, not only about what is in it.
func TestEnvironmentsAccessOfTheEnvironmentItself(t *testing.T) {
	for environments, want := range map[string][2]bool{
		"all": {true, true}, "primary_only": {true, false}, "sandbox_only": {false, true}, "none": {},
	} {
		m := latchkey.New(memstore.New(nil), nil)
		role := AdminRole("admin", "main")
		p := storedPermissions(role.Extra)
		p.environments = environments
		require.NoError(t, p.apply(&role, "main", true))
		role, err := m.For("acme").CreateRole(t.Context(), role)
		require.NoError(t, err)
		_, secret, err := m.For("acme").Issue(t.Context(), TokenSpec("t", role.ID, true, true, true))
		require.NoError(t, err)
		a, err := m.Verify(t.Context(), latchkey.Presented{Secret: secret.Reveal()})
		require.NoError(t, err)
		for i, env := range []latchkey.Resource{"env/main", "env/staging"} {
			require.Equal(t, want[i], a.Allows(latchkey.Update, env), "%s: %s", environments, env)
			require.Equal(t, want[i], a.Allows(latchkey.Update, env+"/model/44"), "%s: %s", environments, env)
		}
	}
}

// deletesRole is a store where a role is gone by the time a listing that holds it has been read.
type deletesRole struct {
	latchkey.Store
	gone func()
}

func (s *deletesRole) Roles(ctx context.Context, owner string, q latchkey.RoleQuery) ([]latchkey.Role, error) {
	list, err := s.Store.Roles(ctx, owner, q)
	if gone := s.gone; gone != nil {
		s.gone = nil // it lists roles, too
		gone()
	}
	return list, err
}

// A role that is deleted, and one that is changed, while Recompile is at work keep it from nothing.
func TestRecompileAmongOthers(t *testing.T) {
	store := &deletesRole{Store: memstore.New(nil)}
	acme := latchkey.New(store, nil).For("acme")
	var ids []string
	for _, name := range []string{"deleted", "edited", "left alone"} {
		role := AdminRole(name, "main")
		p := storedPermissions(role.Extra)
		p.environments = "primary_only"
		require.NoError(t, p.apply(&role, "main", true))
		role, err := acme.CreateRole(t.Context(), role)
		require.NoError(t, err)
		ids = append(ids, role.ID)
	}
	store.gone = func() {
		require.NoError(t, acme.DeleteRole(t.Context(), ids[0]))
		_, err := acme.UpdateRole(t.Context(), ids[1], func(r *latchkey.Role) error {
			p := storedPermissions(r.Extra)
			p.environments = "none"
			return p.apply(r, "main", true)
		})
		require.NoError(t, err)
	}
	n, err := Recompile(t.Context(), acme, &Options{Environments: []string{"staging"}})
	require.NoError(t, err)
	require.Equal(t, 1, n, "one has nothing to change any more, one is gone")
	for id, want := range map[string]string{ids[1]: "none", ids[2]: "primary_only"} {
		r, err := acme.Role(t.Context(), id)
		require.NoError(t, err)
		p := storedPermissions(r.Extra)
		require.Equal(t, want, p.environments)
		text, err := json.Marshal(r.Boundary)
		require.NoError(t, err)
		should, err := json.Marshal(p.boundary("staging"))
		require.NoError(t, err)
		require.JSONEq(t, string(should), string(text))
	}
}

// A copy speaks of the primary environment there is, whatever its original was compiled for: Recompile may not see it.
func TestADuplicateIsCompiledAnew(t *testing.T) {
	w := newFixture(t, &Options{Environments: []string{"main", "staging"}})
	base := w.newRole("base", `"environments_access":"primary_only",`+entriesEverywhere())
	_, err := w.acme.UpdateRole(t.Context(), base.ID, func(r *latchkey.Role) error {
		return storedPermissions(r.Extra).apply(r, "staging", true)
	})
	require.NoError(t, err)
	var copied gotRole
	w.ok(http.StatusCreated, "POST", "/roles/"+base.ID+"/duplicate", "", &copied)
	a := w.verify(*w.newToken("t", copied.ID).Attributes.Token)
	require.True(t, mayRead(a, "main"))
	require.False(t, mayRead(a, "staging"))
}
