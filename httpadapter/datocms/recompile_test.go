package datocms

import (
	"context"
	"encoding/json"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/latchkey-go/latchkey"
	"github.com/latchkey-go/latchkey/memstore"
)

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

	// A role that cannot be read allows nothing, and is left unchanged.
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

// Recompile leaves a role alone whose record is damaged. If the store lists no roles, or takes no change, it says so.
func TestRecompileInTrouble(t *testing.T) {
	w := newFixture(t, nil)
	lost := w.newRole("lost", `"environments_access":"primary_only"`)
	role := w.newRole("r", `"environments_access":"primary_only"`)
	after := &Options{Environments: []string{"staging"}}
	w.store.damaged = lost.ID
	w.store.downWrite = latchkey.ErrUnavailable
	n, err := Recompile(t.Context(), w.acme, after)
	require.ErrorIs(t, err, latchkey.ErrUnavailable)
	require.Zero(t, n)
	w.store.downWrite, w.store.downRoles = nil, latchkey.ErrUnavailable
	_, err = Recompile(t.Context(), w.acme, after)
	require.ErrorIs(t, err, latchkey.ErrUnavailable)
	w.store.downRoles = nil
	n, err = Recompile(t.Context(), w.acme, after)
	require.NoError(t, err)
	require.Equal(t, 1, n)
	w.store.damaged = ""
	for id, version := range map[string]uint64{lost.ID: 1, role.ID: 2} {
		r, err := w.acme.Role(t.Context(), id)
		require.NoError(t, err)
		require.Equal(t, version, r.Version)
	}
}

// deletesRole is a store that deletes a role right after listing it.
type deletesRole struct {
	latchkey.Store
	gone func()
}

func (s *deletesRole) Roles(ctx context.Context, owner string, q latchkey.RoleQuery) ([]latchkey.Role, error) {
	list, err := s.Store.Roles(ctx, owner, q)
	if gone := s.gone; gone != nil {
		s.gone = nil // DeleteRole lists roles, too
		gone()
	}
	return list, err
}

// Recompile succeeds although a role is deleted and another one changed while it runs.
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
