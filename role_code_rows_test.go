package latchkey_test

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	lk "github.com/latchkey-go/latchkey"
)

// A process that lacks a role of code admits no row that one with the role does not, whatever rules compare with
// SelfRoles: negated or not, in an Allow, a Grant or a Deny, of the token, of a stored role, of a parent, of a
// narrowing or of the boundary. The role itself only allows: what it denies, only a process that knows it can deny.
func TestAProcessThatLacksARoleAdmitsNoMore(t *testing.T) {
	seeds := uint64(150)
	if testing.Short() {
		seeds = 40
	}
	less, same, negated := 0, 0, 0
	for seed := uint64(1); seed <= seeds; seed++ {
		r := rand.New(rand.NewPCG(seed, 12))
		grants := func() (p lk.Permissions) {
			for range 1 + r.IntN(2) {
				x := lk.Grant(someActions(r)...).On(oneOf(r, dataOn...))
				if chance(r, 50) {
					x = x.Where(rolesCondition(r, 0))
				}
				p = append(p, x)
			}
			return p
		}
		rules := func() (p lk.Permissions) {
			for range r.IntN(4) {
				x := oneOf(r, lk.Allow, lk.Grant, lk.Deny)(someActions(r)...).On(oneOf(r, dataOn...))
				if chance(r, 80) {
					x = x.Where(rolesCondition(r, 0))
				}
				p = append(p, x)
			}
			return p
		}
		code := []lk.Role{{Name: "base", Permissions: grants()}, {Name: "extra", Permissions: grants()}}
		w := newWorld(t, withRoles(code...))
		stored, err := w.acme.CreateRole(w.ctx, lk.Role{Name: "stored", Permissions: rules()})
		w.ok(err)
		heir, err := w.acme.CreateRole(w.ctx, lk.Role{Name: "heir", Permissions: rules(), InheritDenies: chance(r, 30),
			Inherits: []string{oneOf(r, "extra", "base", stored.ID)}})
		w.ok(err)
		u := newUniverse("acme", "code:base", "code:extra", stored.ID, heir.ID)
		var roles []string
		for _, id := range []string{"code:base", "code:extra", "code:extra", stored.ID, heir.ID} {
			if chance(r, 60) && !slices.Contains(roles, id) {
				roles = append(roles, id)
			}
		}
		s := lk.Settings{Roles: roles, Permissions: rules()}
		kind := lk.KindAPIKey
		if chance(r, 20) {
			kind = lk.KindSession
		}
		_, secret := w.issue(kind, s)
		if chance(r, 40) {
			n := lk.Narrowing{Lifetime: time.Minute, Rows: []lk.Condition{rolesCondition(r, 0)}}
			if chance(r, 50) && len(roles) > 0 {
				n.Roles = []string{oneOf(r, roles...)}
				n.Permissions = rules()
			}
			_, secret = w.mint(w.access(secret), n)
		}
		if chance(r, 30) {
			w.configure(func(o *lk.Owner) {
				o.Boundary = append(lk.Permissions{lk.Allow(lk.Any).On("*").Where(rolesCondition(r, 0))}, rules()...)
			})
		}
		bare := w.beside(code[0])
		with, without := w.access(secret), bare.access(secret)
		if chance(r, 40) {
			n := lk.Narrowing{Rows: []lk.Condition{rolesCondition(r, 0)}}
			if chance(r, 30) {
				if held := without.Roles(); len(held) > 0 {
					n.Roles = []string{oneOf(r, held...)}
				}
			}
			with, without = must(with.Narrow(w.ctx, n)), must(without.Narrow(w.ctx, n))
			if chance(r, 50) {
				with, without = must(with.Again(w.ctx)), must(without.Again(w.ctx))
			}
		}
		reaches := func(a lk.Access, do lk.Action, on lk.Resource) (set rowSet) {
			c, err := a.Filter(do, on)
			if err != nil {
				return set
			}
			p, err := u.schema.Bind(c)
			w.ok(err)
			for i, row := range u.rows {
				if p.Match(row) {
					set.add(i)
				}
			}
			return set
		}
		for _, on := range []lk.Resource{"dataset/x", "dataset/y", "payroll/x", "other"} {
			for _, do := range append([]lk.Action{"x:y"}, dataDo...) {
				whole, part := reaches(with, do, on), reaches(without, do, on)
				if more := part.without(whole); !more.empty() {
					t.Fatalf("seed %d: a process that lacks the role admits %s on %s of %s: %v\n%v\n%v", seed, do, on,
						u.show(rights{{rows: more}}, []question{{do, on}}), fmt.Sprint(roles), with.Explain(do, on),
						without.Explain(do, on))
				}
				require.False(t, without.Allows(do, on) && !with.Allows(do, on))
				switch {
				case part == whole && !part.empty():
					same++
				case part != whole && !part.empty():
					less++
				}
				extra, other := u.masks[2][3], u.masks[2][2]
				if slices.Contains(roles, "code:extra") && part.and(extra).empty() && !part.and(other).empty() {
					negated++
				}
			}
		}
	}
	t.Logf("the same %d times, less %d times; only rows that name another role %d times", same, less, negated)
	require.Greater(t, min(same, less, negated), int(seeds)/5, "the test compares too little")
}

// rolesCondition is a condition, often about the roles of the caller.
func rolesCondition(r *rand.Rand, depth int) lk.Condition {
	switch n := r.IntN(10); {
	case n < 4:
		return lk.Not(lk.Where("who", lk.In, lk.SelfRoles))
	case n < 5:
		return lk.Where("who", lk.In, lk.SelfRoles)
	case n < 6 || depth > 1:
		return condition(r, 1)
	case n < 7:
		return lk.Not(rolesCondition(r, depth+1))
	case n < 9:
		return lk.All(rolesCondition(r, depth+1), rolesCondition(r, depth+1))
	}
	return lk.AnyOf(rolesCondition(r, depth+1), rolesCondition(r, depth+1))
}

// What a process does with each row, one by one.
func TestSelfRolesThatAProcessLacks(t *testing.T) {
	in := lk.Where("role", lk.In, lk.SelfRoles)
	schema := lk.NewSchema(lk.Fields{"role": {Column: "role", Type: lk.Text}})
	for name, c := range map[string]struct {
		rules lk.Permissions
		roles []string
		with  []string // rows that a process with the role admits
		bare  []string // and one without
	}{
		"in": {lk.Permissions{lk.Allow(lk.Read).On("x").Where(in)}, []string{"base", "extra"},
			[]string{"code:base", "code:extra"}, []string{"code:base"}},
		"not in": {lk.Permissions{lk.Allow(lk.Read).On("x").Where(lk.Not(in))}, []string{"base", "extra"},
			[]string{"other"}, []string{"other"}},
		"a Deny in": {lk.Permissions{lk.Allow(lk.Read).On("x"), lk.Deny(lk.Read).On("x").Where(in)},
			[]string{"base", "extra"}, []string{"other"}, []string{"other"}},
		"a Deny not in": {lk.Permissions{lk.Allow(lk.Read).On("x"), lk.Deny(lk.Read).On("x").Where(lk.Not(in))},
			[]string{"base", "extra"}, []string{"code:base", "code:extra"}, []string{"code:base"}},
		"only the role, in": {lk.Permissions{lk.Allow(lk.Read).On("x").Where(in)}, []string{"extra"},
			[]string{"code:extra"}, nil},
		"only the role, not in": {lk.Permissions{lk.Allow(lk.Read).On("x").Where(lk.Not(in))}, []string{"extra"},
			[]string{"code:base", "other"}, []string{"code:base", "other"}},
		"no role at all": {lk.Permissions{lk.Allow(lk.Read).On("x").Where(lk.Not(in))}, nil, nil, nil},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t, withRoles(lk.Role{Name: "base"}, lk.Role{Name: "extra"}))
			_, secret := w.issue(lk.KindAPIKey, lk.Settings{Roles: c.roles, Permissions: c.rules})
			bare := w.beside(lk.Role{Name: "base"})
			for a, want := range map[*world][]string{w: c.with, bare: c.bare} {
				var got []string
				for _, role := range []string{"code:base", "code:extra", "other"} {
					if a.access(secret).CheckRow(lk.Read, "x", schema, lk.Row{"role": role}) == nil {
						got = append(got, role)
					}
				}
				require.Equal(t, want, got)
				require.Error(t, a.access(secret).CheckRow(lk.Read, "x", schema, lk.Row{"role": nil}))
			}
		})
	}
}
