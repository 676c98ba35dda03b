package latchkey_test

import (
	"fmt"
	"slices"
	"sync"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/latchkey-go/latchkey"
)

func TestRolesRefuse(t *testing.T) {
	w := newWorld(t)
	for name, r := range map[string]latchkey.Role{
		"an id":      {Name: "n", ID: "x"},
		"an owner":   {Name: "n", Owner: "acme"},
		"a version":  {Name: "n", Version: 1},
		"an unknown": {Name: "n", Inherits: []string{"x"}},
		"no name":    {},
	} {
		_, err := w.acme.CreateRole(w.ctx, r)
		assert.ErrorIs(t, err, latchkey.ErrInvalid, name)
	}
	role := w.role("n")
	own := fmt.Errorf("my own")
	for name, c := range map[string]struct {
		edit func(*latchkey.Role) error
		want error
	}{
		"the id":      {func(r *latchkey.Role) error { r.ID = "x"; return nil }, latchkey.ErrInvalid},
		"the owner":   {func(r *latchkey.Role) error { r.Owner = "x"; return nil }, latchkey.ErrInvalid},
		"the origin":  {func(r *latchkey.Role) error { r.Origin = "x"; return nil }, latchkey.ErrInvalid},
		"the version": {func(r *latchkey.Role) error { r.Version++; return nil }, latchkey.ErrInvalid},
		"inherits it": {func(r *latchkey.Role) error {
			r.Inherits = []string{role.ID}
			return nil
		}, latchkey.ErrInvalid},
		"a rule": {func(r *latchkey.Role) error {
			r.Permissions = latchkey.Permissions{{}}
			return nil
		}, latchkey.ErrInvalid},
		"an error of it": {func(r *latchkey.Role) error { r.Name = "m"; return own }, own},
		"its name":       {func(r *latchkey.Role) error { r.Name = "m"; return nil }, nil},
	} {
		_, err := w.acme.UpdateRole(w.ctx, role.ID, c.edit)
		require.ErrorIs(t, err, c.want, name)
	}
	got, err := w.acme.Role(w.ctx, role.ID)
	w.ok(err)
	assert.Equal(t, "m", got.Name)
	assert.Equal(t, uint64(2), got.Version)
}

func TestRolesThatInherit(t *testing.T) {
	w := newWorld(t)
	a := w.role("a", latchkey.Grant(latchkey.Read).On("x/*"))
	b, err := w.acme.CreateRole(w.ctx, latchkey.Role{Name: "b", Inherits: []string{a.ID}})
	w.ok(err)
	c, err := w.acme.CreateRole(w.ctx,
		latchkey.Role{Name: "c", Inherits: []string{b.ID}, Permissions: latchkey.Permissions{
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

// Inheriting too many roles is refused before all of them are read.
func TestInheritanceIsBounded(t *testing.T) {
	w := newWorld(t)
	id := func(i int) string { return fmt.Sprintf("0193e000-0000-7000-8000-%012d", i) }
	chain := func(n int) {
		var roles []latchkey.Role
		for i := range n {
			r := latchkey.Role{ID: id(i), Owner: "acme", Name: fmt.Sprint(i)}
			if i > 0 {
				r.Inherits = []string{id(i - 1)}
			}
			roles = append(roles, r)
		}
		err := w.store.Store.Write(w.ctx, latchkey.Write{ID: [16]byte{7}, Owner: "acme", Roles: roles})
		w.ok(err)
	}
	chain(1001)
	_, err := w.acme.CreateRole(w.ctx, latchkey.Role{Name: "heir", Inherits: []string{id(1000)}})
	w.is(latchkey.ErrInvalid, err)
	_, _, err = w.acme.Issue(w.ctx, latchkey.Spec{Kind: latchkey.KindAPIKey,
		Roles: []string{id(1000)}})
	w.is(latchkey.ErrInvalid, err)
	_, err = w.acme.CreateRole(w.ctx, latchkey.Role{Name: "heir", Inherits: []string{id(900)}})
	w.ok(err)

	// A role and all that it inherits are at most 1000 roles. Each that may be saved can be held.
	other, changed := w.role("other"), w.role("changed")
	for name, c := range map[string]struct {
		inherits []string
		ok       bool
	}{
		"1000 roles":                     {[]string{id(998)}, true},
		"1001 roles":                     {[]string{id(999)}, false},
		"1000 roles in two ways":         {[]string{other.ID, id(997)}, true},
		"1001 roles in two ways":         {[]string{other.ID, id(998)}, false},
		"1000 roles, some of them twice": {[]string{id(500), id(998)}, true},
	} {
		r, err := w.acme.CreateRole(w.ctx, latchkey.Role{Name: name, Inherits: c.inherits})
		if !c.ok {
			require.ErrorContains(t, err, "1000 roles", name)
			_, err = w.acme.UpdateRole(w.ctx, changed.ID, func(r *latchkey.Role) error { r.Inherits = c.inherits; return nil })
			require.ErrorContains(t, err, "1000 roles", name)
			continue
		}
		require.NoError(t, err, name)
		l, err := w.acme.RoleLineage(w.ctx, r.ID)
		require.NoError(t, err, name)
		require.Len(t, l.Roles, 1000, name)
		_, secret := w.issue(latchkey.KindAPIKey, latchkey.Settings{Roles: []string{r.ID}})
		w.access(secret)
	}

	// One that is stored with more, by an earlier version, keeps what it has under another name.
	w.ok(w.store.Store.Write(w.ctx, latchkey.Write{ID: [16]byte{8}, Owner: "acme",
		Roles: []latchkey.Role{{ID: id(2000), Owner: "acme", Name: "large", Inherits: []string{id(999)}}}}))
	_, err = w.acme.UpdateRole(w.ctx, id(2000), func(r *latchkey.Role) error { r.Name = "renamed"; return nil })
	w.ok(err)
	_, err = w.acme.UpdateRole(w.ctx, id(2000), func(r *latchkey.Role) error { r.InheritDenies = true; return nil })
	require.ErrorContains(t, err, "1000 roles")
}

// More roles than a token may name are refused before any is read.
func TestTooManyRolesAreNotRead(t *testing.T) {
	w := newHalfway(t)
	acme := w.keys.For("acme")
	list := slices.Repeat([]string{"base"}, 1001)
	reads := map[string]int{}
	w.store.Fail(func(call string) error { reads[call]++; return nil })
	for name, do := range map[string]func() error{
		"Issue": func() error {
			_, _, err := acme.Issue(t.Context(), latchkey.Spec{Kind: latchkey.KindAPIKey, Roles: list})
			return err
		},
		"EditAll": func() error {
			_, err := acme.EditAll(t.Context(), latchkey.Selector{All: true}, latchkey.Edit{AddRoles: list}, "")
			return err
		},
	} {
		require.ErrorIs(t, do(), latchkey.ErrInvalid, name)
		require.Zero(t, reads["Role"]+reads["Roles"], "%s: %v", name, reads)
	}
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
func TestARingMadeConcurrentlyIsSeen(t *testing.T) {
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

// A role that an actor may not read is reported as not found.
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
