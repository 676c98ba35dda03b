package latchkey_test

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/latchkey-go/latchkey"
	"github.com/latchkey-go/latchkey/memstore"
)

// oversized is sets of rules. Each rule is small enough, but their rows together are larger than a condition may be.
var oversized = map[string]func(actions ...latchkey.Action) latchkey.Permissions{
	"lists": func(actions ...latchkey.Action) (huge latchkey.Permissions) {
		for i := range 5 {
			list := make([]int, 1000)
			for j := range list {
				list[j] = i*1000 + j
			}
			huge = append(huge, latchkey.Grant(actions...).On("dataset/x").Where(latchkey.Where("k", latchkey.In, list)))
		}
		return huge
	},
	"comparisons": func(actions ...latchkey.Action) (huge latchkey.Permissions) {
		for i := range 9 {
			var parts []latchkey.Condition
			for j := range 999 {
				parts = append(parts, latchkey.Where("k", latchkey.Eq, i*1000+j))
			}
			huge = append(huge, latchkey.Grant(actions...).On("dataset/x").Where(latchkey.AnyOf(parts...)))
		}
		return huge
	},
	"denies": func(actions ...latchkey.Action) (huge latchkey.Permissions) {
		for i := range 150 {
			huge = append(huge,
				latchkey.Grant(actions...).On("dataset/x").Where(latchkey.Where("k", latchkey.Eq, i)),
				latchkey.Deny(actions...).On("dataset/x").Where(latchkey.Where("j", latchkey.Eq, i)))
		}
		return huge
	},
}

// inEU are the rights of an actor that reaches some rows, and administers.
func inEU() latchkey.Permissions {
	return latchkey.Permissions{
		latchkey.Allow(latchkey.Read, latchkey.Delete).On("dataset/x").Where(latchkey.Where("region", latchkey.Eq, "EU")),
		latchkey.Allow(latchkey.Any).On("latchkey/token/*", "latchkey/role/*"),
	}
}

var everywhere = latchkey.AnyOf(latchkey.Where("region", latchkey.IsNull, true),
	latchkey.Where("region", latchkey.IsNull, false))

func TestRowsTooLargeTogetherLieWithinNothing(t *testing.T) {
	for name, huge := range oversized {
		p := huge(latchkey.Read)
		require.NoError(t, p.Validate(), name)
		assert.False(t, p.Within(inEU()), name)
		assert.False(t, p.Within(p), name)
		assert.True(t, p.Within(latchkey.Permissions{latchkey.Allow(latchkey.Any).On("*")}), name)
	}
	var forced latchkey.Permissions // beyond what pairs of forced values may be
	for i := range 300 {
		forced = append(forced, latchkey.Grant(latchkey.Create).On("a").Force(map[string]any{"x": i}))
	}
	w := newWorld(t)
	_, secret := w.issue(latchkey.KindAPIKey, latchkey.Settings{Permissions: append(admin(), forced...)})
	var others latchkey.Permissions
	for i := range 300 {
		others = append(others, latchkey.Grant(latchkey.Create).On("a").Force(map[string]any{"y": i}))
	}
	_, _, err := w.access(secret).Mint(w.ctx, latchkey.Narrowing{Lifetime: time.Hour, Permissions: others})
	w.is(latchkey.ErrInvalid, err)
	_, _, err = w.access(secret).Mint(w.ctx, latchkey.Narrowing{Lifetime: time.Hour, Permissions: others[:100]})
	w.ok(err)
}

// What a parent has for itself counts: not only what it shares with others.
func TestRowsTooLargeWithThoseOfTheParent(t *testing.T) {
	w := newWorld(t)
	_, root := w.key(latchkey.Allow(latchkey.Any).On("*"))
	rows := func(from, n int) (rows []latchkey.Condition) {
		for i := range n {
			list := make([]any, 500)
			for j := range list {
				list[j] = j
			}
			rows = append(rows, latchkey.Where(fmt.Sprint("f", from+i), latchkey.In, list))
		}
		return rows
	}
	narrow := func(from, n int) latchkey.Narrowing {
		return latchkey.Narrowing{Lifetime: time.Hour, Rows: rows(from, n)}
	}
	child, secret := w.mint(w.access(root), narrow(0, 5))
	require.Len(t, child.Rows, 5)
	parent := w.access(secret)
	_, _, err := parent.Mint(w.ctx, narrow(5, 4))
	w.is(latchkey.ErrInvalid, err)
	_, err = parent.RightsFor(w.ctx, "")
	w.ok(err)
	_, text := w.mint(parent, narrow(5, 2))
	filter, err := w.access(text).Filter(latchkey.Read, "orders")
	w.ok(err)
	require.False(t, filter.IsAllRows())
	// Few enough for the bound that is computed first, if it did not count the rows that are the parent's own.
	_, secret = w.mint(w.access(root), narrow(0, 7))
	_, _, err = w.access(secret).Mint(w.ctx, narrow(7, 2))
	w.is(latchkey.ErrInvalid, err)
}

// Rules with rows that are too large together would allow nothing, and another edit could make them usable later.
func TestRowsTooLargeTogetherAreNotSaved(t *testing.T) {
	for name, huge := range oversized {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			rules := huge(latchkey.Read)
			half := w.role("half", rules[:len(rules)/2+1]...)
			rest := rules[len(rules)/2+1:]
			_, err := w.acme.CreateRole(w.ctx, latchkey.Role{Name: "huge", Permissions: rules})
			w.is(latchkey.ErrInvalid, err)
			_, err = w.acme.CreateRole(w.ctx, latchkey.Role{Name: "heir", Inherits: []string{half.ID}, Permissions: rest})
			w.is(latchkey.ErrInvalid, err)
			_, _, err = w.acme.Issue(w.ctx, latchkey.Spec{Kind: latchkey.KindAPIKey,
				Permissions: rules})
			w.is(latchkey.ErrInvalid, err)
			_, _, err = w.acme.Issue(w.ctx, latchkey.Spec{Kind: latchkey.KindAPIKey,
				Roles: []string{half.ID}, Permissions: rest})
			w.is(latchkey.ErrInvalid, err)
			tok, _ := w.issue(latchkey.KindAPIKey, latchkey.Settings{Roles: []string{half.ID}})
			_, err = w.acme.Update(w.ctx, tok.ID, func(t *latchkey.Token) error { t.Permissions = rest; return nil })
			w.is(latchkey.ErrInvalid, err)
			small := w.role("small")
			_, err = w.acme.CreateRole(w.ctx, latchkey.Role{Name: "heir", Inherits: []string{small.ID}, Permissions: rest})
			w.ok(err)
			_, err = w.acme.UpdateRole(w.ctx, small.ID, func(r *latchkey.Role) error {
				r.Permissions = rules[:len(rules)/2+1]
				return nil
			})
			w.is(latchkey.ErrInvalid, err) // its heir would be too large
		})
	}
}

// Oversized rules are saved beside strong ones and then removed. They are in a role that a token, another role or a
// minted token has, or in the token itself.
func TestRemovingOversizedRulesGainsNothing(t *testing.T) {
	strong := latchkey.Permissions{latchkey.Grant(latchkey.Read, latchkey.Delete).On("dataset/x").Where(everywhere)}
	reaches := func(w *world, secret string) bool {
		a, err := w.verify(secret)
		if err != nil {
			return false
		}
		rows, err := a.Filter(latchkey.Delete, "dataset/x")
		if err != nil {
			return false
		}
		p, err := rows.Bind(latchkey.Fields{"region": {Column: "region", Type: latchkey.Text},
			"k": {Column: "k", Type: latchkey.Integer}, "j": {Column: "j", Type: latchkey.Integer}})
		return err == nil && p.Match(latchkey.Row{"region": "US", "k": -1, "j": -1})
	}
	for size, huge := range oversized {
		rules := huge(latchkey.Read, latchkey.Delete)
		ballast := func(as latchkey.Account, ctx context.Context) (latchkey.Role, error) {
			return as.CreateRole(ctx, latchkey.Role{Name: "ballast", Permissions: rules})
		}
		for name, try := range map[string]func(w *world, as latchkey.Account) string{
			"a role of a new key": func(w *world, as latchkey.Account) string {
				b, _ := ballast(as, w.ctx)
				_, s, err := as.Issue(w.ctx, latchkey.Spec{Kind: latchkey.KindAPIKey,
					Roles: []string{b.ID}, Permissions: strong})
				if err != nil {
					return ""
				}
				_, _ = as.UpdateRole(w.ctx, b.ID, func(r *latchkey.Role) error { r.Permissions = nil; return nil })
				return s.Reveal()
			},
			"a role that another inherits": func(w *world, as latchkey.Account) string {
				b, _ := ballast(as, w.ctx)
				h, err := as.CreateRole(w.ctx, latchkey.Role{Name: "heir", Inherits: []string{b.ID}, Permissions: strong})
				if err != nil {
					return ""
				}
				_, _ = as.UpdateRole(w.ctx, b.ID, func(r *latchkey.Role) error { r.Permissions = nil; return nil })
				_, secret := w.issue(latchkey.KindAPIKey, latchkey.Settings{Roles: []string{h.ID}})
				return secret
			},
			"a host's role of a new key": func(w *world, as latchkey.Account) string {
				b := w.role("half", rules[:len(rules)/2]...)
				_, s, err := as.Issue(w.ctx, latchkey.Spec{Kind: latchkey.KindAPIKey,
					Roles: []string{b.ID}, Permissions: append(rules[len(rules)/2:], strong...)})
				if err != nil {
					return ""
				}
				w.editRole(b, func(r *latchkey.Role) { r.Permissions = nil })
				return s.Reveal()
			},
			"rules of a minted token": func(w *world, as latchkey.Account) string {
				_, root := w.issue(latchkey.KindSecret, latchkey.Settings{})
				m, secret := w.mint(w.access(root), latchkey.Narrowing{Permissions: latchkey.Permissions{readAll()}})
				b, _ := ballast(as, w.ctx)
				_, err := as.Update(w.ctx, m.ID, func(t *latchkey.Token) error {
					t.Roles, t.Permissions = []string{b.ID}, strong
					return nil
				})
				if err != nil {
					return ""
				}
				_ = as.DeleteRole(w.ctx, b.ID)
				return secret
			},
			"rules of a key of its own": func(w *world, as latchkey.Account) string {
				k, s, err := as.Issue(w.ctx, latchkey.Spec{Kind: latchkey.KindAPIKey,
					Permissions: append(strong[:1:1], rules...)})
				if err != nil {
					return ""
				}
				_, _ = as.Update(w.ctx, k.ID, func(t *latchkey.Token) error { t.Permissions = t.Permissions[:1]; return nil })
				return s.Reveal()
			},
		} {
			t.Run(size+", "+name, func(t *testing.T) {
				w := newWorld(t)
				_, weak := w.issue(latchkey.KindAPIKey, latchkey.Settings{Permissions: inEU()})
				require.False(t, reaches(w, weak))
				if secret := try(w, mustAs(w, w.access(weak))); secret != "" {
					assert.False(t, reaches(w, secret))
				}
			})
		}
	}
}

// An invalid role allows nothing today, and neither does a role that applies its Denies again.
func TestAnActorInheritsNoUnreadableRole(t *testing.T) {
	w := newWorld(t)
	broken := latchkey.Role{ID: "0193e000-0000-7000-8000-000000000001", Owner: "acme", Name: "broken",
		Permissions: latchkey.Permissions{{}}}
	err := w.store.Store.Write(w.ctx, latchkey.Write{ID: [16]byte{9}, Owner: "acme", Roles: []latchkey.Role{broken}})
	w.ok(err)
	as := mustAs(w, must(w.acme.Assume(latchkey.Client{ID: "7"}, inEU())))
	_, err = as.CreateRole(w.ctx, latchkey.Role{Name: "heir", Inherits: []string{broken.ID}, InheritDenies: true,
		Permissions: latchkey.Permissions{latchkey.Grant(latchkey.Any).On("*")}})
	w.is(latchkey.ErrDenied, err)
	_, err = w.acme.CreateRole(w.ctx, latchkey.Role{Name: "heir", Inherits: []string{broken.ID}, InheritDenies: true})
	w.ok(err) // the host may
}

// A role without holders gives no way to more rights either.
func TestARoleWithoutHoldersIsNotWidened(t *testing.T) {
	w := newWorld(t)
	role := w.role("empty")
	_, secret := w.key(latchkey.Allow(latchkey.Read).On("data/a"), latchkey.Allow(latchkey.Any).On("latchkey/role/*"))
	as := mustAs(w, w.access(secret))
	_, err := as.UpdateRole(w.ctx, role.ID, func(r *latchkey.Role) error {
		r.Permissions = latchkey.Permissions{readAll()}
		return nil
	})
	w.is(latchkey.ErrDenied, err)
	strong := w.role("strong", readAll())
	_, err = as.UpdateRole(w.ctx, role.ID, func(r *latchkey.Role) error { r.Inherits = []string{strong.ID}; return nil })
	w.is(latchkey.ErrDenied, err)
	_, err = as.UpdateRole(w.ctx, role.ID, func(r *latchkey.Role) error {
		r.Permissions = latchkey.Permissions{latchkey.Allow(latchkey.Read).On("data/a")}
		return nil
	})
	w.ok(err)
}

// An actor changes a role that others hold and inherit when it may do all that they may.
func TestAnActorChangesARoleThatOthersHave(t *testing.T) {
	w := newWorld(t)
	data := latchkey.Allow(latchkey.Read).On("data/*")
	base := w.role("base", data)
	heir, err := w.acme.CreateRole(w.ctx, latchkey.Role{Name: "heir", Inherits: []string{base.ID}})
	w.ok(err)
	holder, held := w.issue(latchkey.KindAPIKey, latchkey.Settings{Roles: []string{base.ID, heir.ID}})
	w.mint(w.access(held), latchkey.Narrowing{Roles: []string{base.ID}})
	revoked, _ := w.issue(latchkey.KindAPIKey, latchkey.Settings{Roles: []string{base.ID}, Permissions: admin()})
	w.ok(w.acme.Revoke(w.ctx, revoked.ID, ""))
	_, secret := w.key(data, latchkey.Allow(latchkey.Any).On("latchkey/role/*"))
	as := mustAs(w, w.access(secret))
	rename := func() error {
		_, err := as.UpdateRole(w.ctx, base.ID, func(r *latchkey.Role) error { r.Name += "x"; return nil })
		return err
	}
	w.ok(rename())
	w.update(holder, func(t *latchkey.Token) {
		t.Permissions = latchkey.Permissions{latchkey.Grant(latchkey.Create).On("data/*")}
	})
	w.is(latchkey.ErrDenied, rename())
	w.update(holder, func(t *latchkey.Token) { t.Permissions = nil })
	w.ok(rename())
	w.editRole(heir, func(r *latchkey.Role) {
		r.Permissions = latchkey.Permissions{latchkey.Grant(latchkey.Create).On("data/*")}
	})
	w.is(latchkey.ErrDenied, rename())
}

// A weak role may hold a Deny that limits a stronger role which inherits it.
func TestADenyUnderAStrongerRoleStays(t *testing.T) {
	w := newWorld(t)
	base := w.role("base", latchkey.Deny(latchkey.Read).On("hr/*"))
	above, err := w.acme.CreateRole(w.ctx, latchkey.Role{Name: "above", Inherits: []string{base.ID}, InheritDenies: true,
		Permissions: latchkey.Permissions{latchkey.Allow(latchkey.Read).On("*"),
			latchkey.Allow(latchkey.Any).On("latchkey/role/*")}})
	w.ok(err)
	_, secret := w.issue(latchkey.KindAPIKey, latchkey.Settings{Roles: []string{above.ID}})
	require.False(t, w.access(secret).Allows(latchkey.Read, "hr/pay"))
	_, err = mustAs(w, w.access(secret)).UpdateRole(w.ctx, base.ID,
		func(r *latchkey.Role) error { r.Permissions = nil; return nil })
	assert.ErrorIs(t, err, latchkey.ErrDenied)
	assert.False(t, w.access(secret).Allows(latchkey.Read, "hr/pay"))
}

// A role may be weak by its boundary alone: a role that inherits it gets what the boundary holds back.
func TestWhatABoundaryHoldsBackIsNotPassedOn(t *testing.T) {
	w := newWorld(t)
	all := latchkey.Permissions{latchkey.Allow(latchkey.Any).On("*")}
	base := w.role("base", latchkey.Allow(latchkey.Read).On("a"))
	heir, err := w.acme.CreateRole(w.ctx, latchkey.Role{Name: "heir", Inherits: []string{base.ID}})
	w.ok(err)
	bounded, err := w.acme.CreateRole(w.ctx, latchkey.Role{Name: "bounded", Inherits: []string{base.ID}, Permissions: all,
		Boundary: latchkey.Permissions{latchkey.Allow(latchkey.Read).On("a")}})
	w.ok(err)
	_, secret := w.key(latchkey.Allow(latchkey.Read).On("a"), latchkey.Allow(latchkey.Any).On("latchkey/role/*"))
	mine := mustAs(w, w.access(secret))

	_, err = mine.CreateRole(w.ctx, latchkey.Role{Name: "mine", Inherits: []string{bounded.ID}})
	assert.ErrorIs(t, err, latchkey.ErrDenied, "an heir without a boundary")
	_, err = mine.CreateRole(w.ctx, latchkey.Role{Name: "mine", Inherits: []string{bounded.ID}, Boundary: all})
	assert.ErrorIs(t, err, latchkey.ErrDenied, "an heir with a wide boundary")
	_, err = mine.CreateRole(w.ctx, latchkey.Role{Name: "mine", Inherits: []string{bounded.ID},
		Boundary: latchkey.Permissions{}})
	assert.NoError(t, err, "an heir that adds nothing to the boundary")

	_, err = mine.UpdateRole(w.ctx, base.ID, func(r *latchkey.Role) error {
		r.Permissions, r.Boundary = all, latchkey.Permissions{latchkey.Allow(latchkey.Read).On("a")}
		return nil
	})
	assert.ErrorIs(t, err, latchkey.ErrDenied, "rules for an heir, behind a boundary")
	_, err = mine.UpdateRole(w.ctx, base.ID, func(r *latchkey.Role) error { r.Boundary = all; return nil })
	assert.ErrorIs(t, err, latchkey.ErrDenied, "a boundary that lets through what an heir says")
	_, err = mine.UpdateRole(w.ctx, base.ID, func(r *latchkey.Role) error { r.Permissions = nil; return nil })
	assert.NoError(t, err)
	for _, r := range []latchkey.Role{heir, bounded} {
		_, secret := w.issue(latchkey.KindAPIKey, latchkey.Settings{Roles: []string{r.ID}})
		assert.False(t, w.access(secret).Allows(latchkey.Read, "b"), r.Name)
	}
}

// A Deny that a bounded role applies again also holds for the roles that inherit it, though within the boundary it
// changes nothing.
func TestADenyBehindABoundaryStays(t *testing.T) {
	w := newWorld(t)
	base := w.role("base", latchkey.Deny(latchkey.Read).On("b"))
	bounded, err := w.acme.CreateRole(w.ctx, latchkey.Role{Name: "bounded", Inherits: []string{base.ID},
		InheritDenies: true,
		Permissions:   latchkey.Permissions{latchkey.Allow(latchkey.Read).On("a", "b")},
		Boundary:      latchkey.Permissions{latchkey.Allow(latchkey.Read).On("a")}})
	w.ok(err)
	heir, err := w.acme.CreateRole(w.ctx, latchkey.Role{Name: "heir", Inherits: []string{bounded.ID}})
	w.ok(err)
	_, held := w.issue(latchkey.KindAPIKey, latchkey.Settings{Roles: []string{heir.ID}})
	assert.False(t, w.access(held).Allows(latchkey.Read, "b"))
	_, secret := w.key(latchkey.Allow(latchkey.Read).On("a"), latchkey.Allow(latchkey.Any).On("latchkey/role/*"))

	_, err = mustAs(w, w.access(secret)).UpdateRole(w.ctx, base.ID, func(r *latchkey.Role) error {
		r.Permissions = nil
		return nil
	})
	assert.ErrorIs(t, err, latchkey.ErrDenied)
	assert.False(t, w.access(held).Allows(latchkey.Read, "b"))
}

// A boundary that refers to the caller means something else for a new token than for the actor. An actor cannot get
// round it by making a token.
func TestABoundaryThatRefersToTheCaller(t *testing.T) {
	w := newWorld(t)
	notOwn := latchkey.Where("requester", latchkey.Ne, latchkey.Self)
	w.configure(func(o *latchkey.Owner) {
		o.Boundary = latchkey.Permissions{latchkey.Allow(latchkey.Any).On("*", "latchkey/*"),
			latchkey.Allow("approve").On("payment").Where(notOwn)}
	})
	rights := append(admin(), latchkey.Allow("approve", latchkey.Read).On("payment"))
	_, secret := w.key(rights...)
	for name, as := range map[string]latchkey.Account{
		"a key":           mustAs(w, w.access(secret)),
		"an assumed user": mustAs(w, must(w.acme.Assume(latchkey.Client{ID: "7"}, rights))),
	} {
		issue := func(rules ...latchkey.Rule) error {
			_, _, err := as.Issue(w.ctx, latchkey.Spec{Kind: latchkey.KindAPIKey,
				Permissions: rules})
			return err
		}
		assert.ErrorIs(t, issue(latchkey.Allow("approve").On("payment")), latchkey.ErrDenied, name)
		assert.NoError(t, issue(latchkey.Allow(latchkey.Read).On("payment")), name)
	}
	// The host has not such a boundary: the same passes.
	w.configure(func(o *latchkey.Owner) {
		o.Boundary = latchkey.Permissions{latchkey.Allow(latchkey.Any).On("*", "latchkey/*"),
			latchkey.Allow("approve").On("payment").Where(latchkey.Where("requester", latchkey.Ne, "7"))}
	})
	_, _, err := mustAs(w, w.access(secret)).Issue(w.ctx, latchkey.Spec{Kind: latchkey.KindAPIKey,
		Permissions: latchkey.Permissions{latchkey.Allow("approve").On("payment")}})
	w.ok(err)
}

// The same for the caller's roles: they are those of the token that is made, not the actor's.
func TestABoundaryThatRefersToRolesOfTheCaller(t *testing.T) {
	w := newWorld(t)
	clerk, chief := w.role("clerk"), w.role("chief")
	w.configure(func(o *latchkey.Owner) {
		o.Boundary = latchkey.Permissions{latchkey.Allow(latchkey.Any).On("*", "latchkey/*"),
			latchkey.Allow("approve").On("payment").Where(latchkey.Where("role", latchkey.In, latchkey.SelfRoles))}
	})
	_, secret := w.issue(latchkey.KindAPIKey, latchkey.Settings{Roles: []string{clerk.ID},
		Permissions: append(admin(), latchkey.Allow("approve", latchkey.Read).On("payment"))})
	issue := func(action latchkey.Action) error {
		_, _, err := mustAs(w, w.access(secret)).Issue(w.ctx, latchkey.Spec{Kind: latchkey.KindAPIKey,
			Roles:       []string{chief.ID},
			Permissions: latchkey.Permissions{latchkey.Allow(action).On("payment")}})
		return err
	}
	w.is(latchkey.ErrDenied, issue("approve"))
	w.ok(issue(latchkey.Read))
}

// A minted token with rows that are too large together allows nothing today: it is checked by what it would allow.
func TestAMintedTokenIsCheckedAsItBecomes(t *testing.T) {
	for name, wide := range map[string]bool{"beyond the actor": true, "within the actor": false} {
		for _, act := range []string{"update", "delete"} {
			t.Run(name+", "+act, func(t *testing.T) {
				w := newWorld(t)
				in := func(i int) latchkey.Rule {
					list := make([]int, 1000)
					for j := range list {
						list[j] = i*1000 + j
					}
					return latchkey.Grant(latchkey.Read).On("dataset/x").Where(eq("region", "EU")).
						Where(latchkey.Where("k", latchkey.In, list))
				}
				ballast := w.role("ballast", in(0), in(1))
				_, root := w.issue(latchkey.KindSecret, latchkey.Settings{})
				child, secret := w.mint(w.access(root), latchkey.Narrowing{Roles: []string{ballast.ID}})
				child.Permissions = latchkey.Permissions{in(2), in(3), in(4)}
				if wide {
					child.Permissions = append(child.Permissions, latchkey.Grant(latchkey.Read).On("dataset/x").Where(everywhere))
				}
				err := w.store.Store.Write(w.ctx, latchkey.Write{ID: [16]byte{7}, Owner: "acme",
					Tokens: []latchkey.Token{child}})
				w.ok(err)
				schema := latchkey.NewSchema(latchkey.Fields{"region": {Column: "region", Type: latchkey.Text},
					"k": {Column: "k", Type: latchkey.Integer}})
				reads := func() error {
					return w.access(secret).CheckRow(latchkey.Read, "dataset/x", schema, latchkey.Row{"region": "EU", "k": 2500})
				}
				w.is(latchkey.ErrBadCondition, reads())
				_, weak := w.issue(latchkey.KindAPIKey, latchkey.Settings{Permissions: inEU()})
				as := mustAs(w, w.access(weak))
				if act == "update" {
					_, err = as.UpdateRole(w.ctx, ballast.ID, func(r *latchkey.Role) error { r.Permissions = nil; return nil })
				} else {
					err = as.DeleteRole(w.ctx, ballast.ID)
				}
				if wide {
					w.is(latchkey.ErrDenied, err)
					return
				}
				w.ok(err)
				w.ok(reads())
			})
		}
	}
}

// A test token is accepted by sandboxes only, and so is all that it makes or changes.
func TestATestTokenReachesNoLiveOne(t *testing.T) {
	w := newWorld(t)
	live, _ := w.key()
	_, secret, err := w.acme.Issue(w.ctx, latchkey.Spec{Kind: latchkey.KindSecret, Test: true})
	w.ok(err)
	a, err := w.keys.Verify(w.ctx, latchkey.Presented{Secret: secret.Reveal(), Test: true})
	w.ok(err)
	as := mustAs(w, a)
	_, _, err = as.Issue(w.ctx, latchkey.Spec{Kind: latchkey.KindSecret})
	assert.ErrorIs(t, err, latchkey.ErrDenied)
	_, err = as.Rotate(w.ctx, live.ID, 0)
	assert.ErrorIs(t, err, latchkey.ErrDenied)
	assert.ErrorIs(t, as.Revoke(w.ctx, live.ID, ""), latchkey.ErrDenied)
	_, _, err = as.Issue(w.ctx, latchkey.Spec{Kind: latchkey.KindSecret, Test: true})
	assert.NoError(t, err)

	off := func(o *latchkey.Owner) error { o.Disabled = true; return nil }
	w.is(latchkey.ErrDenied, as.Configure(w.ctx, off)) // the owner's record holds for live tokens
	_, secret, err = w.acme.Issue(w.ctx, latchkey.Spec{Kind: latchkey.KindSecret})
	w.ok(err)
	w.ok(mustAs(w, w.access(secret.Reveal())).Configure(w.ctx, off))
}

// A test token changes nothing that a live token's answers depend on.
func TestASandboxTouchesNoLiveRole(t *testing.T) {
	type sandbox struct {
		*world
		as   latchkey.Account
		role latchkey.Role
	}
	live := func(w *world) latchkey.Access {
		_, s := w.issue(latchkey.KindSecret, latchkey.Settings{})
		return w.access(s)
	}
	heir := func(w *world, of latchkey.Role) latchkey.Role {
		r, err := w.acme.CreateRole(w.ctx, latchkey.Role{Name: "heir of " + of.Name, Inherits: []string{of.ID}})
		w.ok(err)
		return r
	}
	for name, c := range map[string]struct {
		hold func(w sandbox)
		may  bool
	}{
		"nobody": {func(sandbox) {}, true},
		"a sandbox token": {func(w sandbox) {
			_, _, err := w.acme.Issue(w.ctx, latchkey.Spec{Kind: latchkey.KindPublishable, Test: true,
				Roles: []string{w.role.ID}})
			w.ok(err)
		}, true},
		"a live key": {func(w sandbox) { w.issue(latchkey.KindAPIKey, latchkey.Settings{Roles: []string{w.role.ID}}) },
			false},
		"a live minted token": {func(w sandbox) {
			w.mint(live(w.world), latchkey.Narrowing{Roles: []string{w.role.ID}})
		}, false},
		"a live minted token, two generations down": {func(w sandbox) {
			_, s := w.mint(live(w.world), latchkey.Narrowing{})
			w.mint(w.access(s), latchkey.Narrowing{Roles: []string{w.role.ID}})
		}, false},
		"a live key, by way of two roles": {func(w sandbox) {
			w.issue(latchkey.KindAPIKey, latchkey.Settings{Roles: []string{heir(w.world, heir(w.world, w.role)).ID}})
		}, false},
		"a live minted token, by way of a role": {func(w sandbox) {
			w.mint(live(w.world), latchkey.Narrowing{Roles: []string{heir(w.world, w.role).ID}})
		}, false},
		"a live key that comes between": {func(w sandbox) {
			w.store.before(func() { w.issue(latchkey.KindAPIKey, latchkey.Settings{Roles: []string{w.role.ID}}) })
		}, false},
		"a live minted token that comes between": {func(w sandbox) {
			a := live(w.world)
			w.store.before(func() { w.mint(a, latchkey.Narrowing{Roles: []string{w.role.ID}}) })
		}, false},
	} {
		t.Run(name, func(t *testing.T) {
			for _, act := range []string{"update", "delete"} {
				w := newWorld(t)
				role := w.role("viewer", latchkey.Allow(latchkey.Read).On("dataset/a"))
				_, s, err := w.acme.Issue(w.ctx, latchkey.Spec{Kind: latchkey.KindSecret, Test: true})
				w.ok(err)
				a, err := w.keys.Verify(w.ctx, latchkey.Presented{Secret: s.Reveal(), Test: true})
				w.ok(err)
				box := sandbox{w, mustAs(w, a), role}
				c.hold(box)
				if act == "update" {
					_, err = box.as.UpdateRole(w.ctx, role.ID, func(r *latchkey.Role) error { r.Permissions = nil; return nil })
				} else {
					err = box.as.DeleteRole(w.ctx, role.ID)
				}
				if c.may && !(act == "delete" && name != "nobody") {
					assert.NoError(t, err, act)
				} else {
					assert.Error(t, err, act)
				}
				if !c.may {
					assert.ErrorIs(t, err, latchkey.ErrDenied, act)
				}
			}
		})
	}
}

// The write of a call requires the records that the call was checked against: a concurrent change is a conflict.
func TestWhatWasCheckedIsRequired(t *testing.T) {
	clerk := func(w *world) latchkey.Account {
		_, s := w.key(latchkey.Allow(latchkey.Read).On("data/a"),
			latchkey.Allow(latchkey.Any).On("latchkey/role/*", "latchkey/token/*"))
		return mustAs(w, w.access(s))
	}
	weaken := func(w *world, as latchkey.Account, base latchkey.Role) error {
		_, err := as.UpdateRole(w.ctx, base.ID, func(r *latchkey.Role) error {
			r.Permissions = latchkey.Permissions{latchkey.Grant(latchkey.Read).On("data/a")}
			return nil
		})
		return err
	}
	everything := latchkey.Permissions{latchkey.Grant(latchkey.Any).On("*")}
	for name, between := range map[string]func(w *world, base latchkey.Role){
		"an heir": func(w *world, base latchkey.Role) {
			_, err := w.acme.CreateRole(w.ctx, latchkey.Role{Name: "heir", Inherits: []string{base.ID}, InheritDenies: true,
				Permissions: everything})
			w.ok(err)
		},
		"an heir that was there": func(w *world, base latchkey.Role) {
			r := w.role("other", everything...)
			w.editRole(r, func(r *latchkey.Role) { r.Inherits, r.InheritDenies = []string{base.ID}, true })
		},
		"a holder": func(w *world, base latchkey.Role) {
			w.issue(latchkey.KindAPIKey, latchkey.Settings{Roles: []string{base.ID}, Permissions: everything})
		},
		"a holder that was there": func(w *world, base latchkey.Role) {
			tok, _ := w.key(everything...)
			w.update(tok, func(t *latchkey.Token) { t.Roles = []string{base.ID} })
		},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			base := w.role("base", latchkey.Grant(latchkey.Read).On("data/a"), latchkey.Deny(latchkey.Any).On("payroll/*"))
			as := clerk(w)
			done := w.store.before(func() { between(w, base) })
			w.is(latchkey.ErrDenied, weaken(w, as, base))
			require.True(t, done())
		})
	}
	t.Run("an heir's heir", func(t *testing.T) {
		w := newWorld(t)
		base := w.role("base", latchkey.Grant(latchkey.Read).On("data/a"), latchkey.Deny(latchkey.Any).On("payroll/*"))
		mid, err := w.acme.CreateRole(w.ctx, latchkey.Role{Name: "mid", Inherits: []string{base.ID}, InheritDenies: true})
		w.ok(err)
		as := clerk(w)
		done := w.store.before(func() {
			_, err := w.acme.CreateRole(w.ctx, latchkey.Role{Name: "top", Inherits: []string{mid.ID}, InheritDenies: true,
				Permissions: everything})
			w.ok(err)
		})
		w.is(latchkey.ErrDenied, weaken(w, as, base))
		require.True(t, done())
	})
	t.Run("the role of a new token", func(t *testing.T) {
		w := newWorld(t)
		role := w.role("reader", latchkey.Grant(latchkey.Read).On("data/a"))
		as := clerk(w)
		done := w.store.before(func() { w.editRole(role, func(r *latchkey.Role) { r.Permissions = everything }) })
		_, _, err := as.Issue(w.ctx, latchkey.Spec{Kind: latchkey.KindAPIKey,
			Roles: []string{role.ID}})
		w.is(latchkey.ErrDenied, err)
		require.True(t, done())
	})
	t.Run("the role of a role of a token that is rotated", func(t *testing.T) {
		w := newWorld(t)
		base := w.role("reader", latchkey.Grant(latchkey.Read).On("data/a"))
		role, err := w.acme.CreateRole(w.ctx, latchkey.Role{Name: "heir", Inherits: []string{base.ID}})
		w.ok(err)
		tok, _ := w.issue(latchkey.KindAPIKey, latchkey.Settings{Roles: []string{role.ID}})
		as := clerk(w)
		done := w.store.before(func() { w.editRole(base, func(r *latchkey.Role) { r.Permissions = everything }) })
		_, err = as.Rotate(w.ctx, tok.ID, 0)
		w.is(latchkey.ErrDenied, err)
		require.True(t, done())
	})
	t.Run("the parent of a token that is changed", func(t *testing.T) {
		w := newWorld(t)
		parent, s := w.key(latchkey.Allow(latchkey.Read).On("data/a"))
		child, _ := w.mint(w.access(s), latchkey.Narrowing{})
		as := clerk(w)
		done := w.store.before(func() { w.update(parent, func(t *latchkey.Token) { t.Permissions = everything }) })
		_, err := as.Update(w.ctx, child.ID, func(t *latchkey.Token) error { t.Name = "x"; return nil })
		w.is(latchkey.ErrDenied, err)
		require.True(t, done())
	})
}

// stepIn is a store that runs a function after it has listed the roles that inherit one, before the caller uses the
// list.
type stepIn struct {
	latchkey.Store
	then func()
}

func (s *stepIn) Roles(ctx context.Context, owner string, q latchkey.RoleQuery) ([]latchkey.Role, error) {
	list, err := s.Store.Roles(ctx, owner, q)
	if then := s.then; then != nil && q.Inherits != "" {
		s.then = nil
		then()
	}
	return list, err
}

// Two concurrent calls, each within the actor's rights, must not make a role that exceeds them.
func TestAnHeirMadeDuringAnEditIsAConflict(t *testing.T) {
	for what, early := range map[string]bool{"a new heir": false, "an heir that changes": true} {
		t.Run(what, func(t *testing.T) {
			w := newWorld(t)
			base := w.role("base", latchkey.Deny(latchkey.Read).On("b"))
			_, secret := w.key(latchkey.Allow(latchkey.Read).On("a"), latchkey.Allow(latchkey.Any).On("latchkey/role/*"),
				latchkey.Allow(latchkey.Any).On("latchkey/token/*"))
			mine := mustAs(w, w.access(secret))
			record := func() latchkey.Owner {
				o, err := w.acme.Record(w.ctx)
				w.ok(err)
				o.Version = 0
				return o
			}
			if early {
				w.configure(func(o *latchkey.Owner) {
					o.Extra, o.Limits, o.Boundary = []byte(`{"plan":1}`), monthly(7),
						latchkey.Permissions{latchkey.Allow(latchkey.Any).On("*", "latchkey/*")}
				})
			}
			before := record()
			heir := latchkey.Role{Name: "heir", Inherits: []string{base.ID}}
			var err error
			if early {
				heir, err = mine.CreateRole(w.ctx, heir)
				w.ok(err)
			}
			s := &stepIn{Store: w.store.Store}
			w.store.Store = s
			s.then = func() {
				say := func(r *latchkey.Role) error {
					r.InheritDenies, r.Permissions = true, latchkey.Permissions{latchkey.Allow(latchkey.Read).On("a", "b")}
					return nil
				}
				if early {
					_, err = mine.UpdateRole(w.ctx, heir.ID, say)
				} else {
					w.ok(say(&heir))
					heir, err = mine.CreateRole(w.ctx, heir)
				}
				w.ok(err)
			}
			_, err = mine.UpdateRole(w.ctx, base.ID, func(r *latchkey.Role) error { r.Permissions = nil; return nil })
			assert.ErrorIs(t, err, latchkey.ErrDenied)
			require.Nil(t, s.then, "somebody came between")
			_, held := w.issue(latchkey.KindAPIKey, latchkey.Settings{Roles: []string{heir.ID}})
			assert.False(t, w.access(held).Allows(latchkey.Read, "b"))
			assert.Equal(t, before, record(), "the owner's record is what it was")
			_, err = mine.CreateRole(w.ctx, latchkey.Role{Name: "heir", Inherits: []string{base.ID}})
			assert.ErrorIs(t, err, latchkey.ErrExists)
		})
	}
}

// What an actor makes or changes ends, reaches and spends no further than its own token, but for the right to exceed.
func TestAnActorExceedsNoBoundOfItsOwnToken(t *testing.T) {
	home := netip.MustParseAddr("10.0.0.1")
	hour := func(w *world) time.Time { return w.now().Add(time.Hour) }
	bounds := map[string]struct {
		actor  func(w *world, s *latchkey.Settings) // binds the actor
		within func(w *world, s *latchkey.Settings) // binds what it makes enough; nil: nothing is enough
	}{
		"an end": {func(w *world, s *latchkey.Settings) { s.Validity.NotAfter = hour(w) },
			func(w *world, s *latchkey.Settings) { s.Validity.NotAfter = hour(w) }},
		"an idle limit": {func(_ *world, s *latchkey.Settings) { s.Validity.Idle = time.Hour }, nil},
		"addresses": {func(_ *world, s *latchkey.Settings) { s.Restrictions.Addresses = prefixes("10.0.0.0/8") },
			func(_ *world, s *latchkey.Settings) {
				s.Restrictions.Addresses = prefixes("10.1.0.0/16", "10.2.0.0/16")
			}},
		"domains": {func(_ *world, s *latchkey.Settings) { s.Restrictions.Domains = []string{"example.com"} },
			func(_ *world, s *latchkey.Settings) { s.Restrictions.Domains = []string{"example.com"} }},
		"where it mints": {func(_ *world, s *latchkey.Settings) { s.Restrictions.MintFrom = prefixes("10.0.0.0/8") },
			func(_ *world, s *latchkey.Settings) { s.Restrictions.MintFrom = prefixes("10.0.0.0/9") }},
		"credits": {func(_ *world, s *latchkey.Settings) { s.Limits = monthly(100) }, nil},
		"a rate": {func(_ *world, s *latchkey.Settings) {
			s.Limits.Rate = latchkey.Rate{Count: 10, Per: time.Second, Burst: 100}
		}, nil},
	}
	for name, b := range bounds {
		for _, desk := range []bool{false, true} {
			t.Run(fmt.Sprintf("%s, exceed %v", name, desk), func(t *testing.T) {
				k := must(latchkey.GenerateKey(nil, 1))
				w := newWorld(t, func(o *latchkey.Options) { o.Keyring = must(latchkey.NewKeyring(k)) })
				set := latchkey.Settings{Permissions: append(admin(), readAll())}
				if desk {
					set.Permissions = append(set.Permissions, latchkey.Allow(latchkey.Exceed).On("latchkey/token/*"))
				}
				b.actor(w, &set)
				own, secret := w.issue(latchkey.KindAPIKey, set)
				as := func() latchkey.Account {
					return mustAs(w, mustVerify(w, latchkey.Presented{Secret: secret, Address: home, Referer: "https://example.com/"}))
				}
				other, _ := w.key(readAll()) // which nothing binds
				unbound := latchkey.Settings{Permissions: latchkey.Permissions{readAll()}}
				free := unbound.Spec(latchkey.KindAPIKey)
				refused := func(err error, what string) {
					t.Helper()
					if desk {
						assert.NoError(t, err, what)
					} else {
						assert.ErrorIs(t, err, latchkey.ErrDenied, what)
					}
				}
				_, _, err := as().Issue(w.ctx, free)
				refused(err, "issue")
				_, err = as().Import(w.ctx, free, foreignText(t))
				refused(err, "import")
				_, err = as().Rotate(w.ctx, other.ID, 0)
				refused(err, "rotate")
				_, err = as().Reveal(w.ctx, other.ID)
				refused(err, "reveal")
				_, err = as().SigningSecret(w.ctx, other.ID)
				refused(err, "signing secret")
				texts, err := as().RevealAll(w.ctx, other.ID)
				w.ok(err)
				assert.Equal(t, desk, len(texts) == 1, "reveal all")
				w.update(other, func(t *latchkey.Token) { t.Disabled = true })
				_, err = as().Update(w.ctx, other.ID, func(t *latchkey.Token) error { t.Disabled = false; return nil })
				refused(err, "switch on")
				// Rights that a token gets would outlive the actor, too: by its own rules, by a role, and by a role it has.
				role, giving := w.role("held by a key"), w.role("giving", readAll())
				held, _ := w.issue(latchkey.KindAPIKey, latchkey.Settings{Roles: []string{role.ID}, Limits: set.Limits})
				_, err = as().Update(w.ctx, held.ID, func(t *latchkey.Token) error { t.Name = "other"; return nil })
				w.ok(err)
				_, err = as().Update(w.ctx, held.ID, func(t *latchkey.Token) error {
					t.Permissions = latchkey.Permissions{readAll()}
					return nil
				})
				refused(err, "give rules")
				_, err = as().Update(w.ctx, held.ID, func(t *latchkey.Token) error {
					t.Roles, t.Permissions = append(t.Roles, giving.ID), nil
					return nil
				})
				refused(err, "give a role")
				_, err = as().UpdateRole(w.ctx, role.ID, func(r *latchkey.Role) error {
					r.Permissions = latchkey.Permissions{readAll()}
					return nil
				})
				refused(err, "give to a role that a key has")
				if b.within != nil {
					bound := unbound
					b.within(w, &bound)
					tok, _, err := as().Issue(w.ctx, bound.Spec(latchkey.KindAPIKey))
					w.ok(err)
					_, err = as().Update(w.ctx, tok.ID, func(t *latchkey.Token) error { t.Settings = unbound; return nil })
					refused(err, "widen")
					_, err = as().Rotate(w.ctx, tok.ID, 0)
					w.ok(err)
				}
				// What it minted is bound by it, and what only ends needs no more than the right to end it.
				child, _ := w.mint(mustVerify(w, latchkey.Presented{Secret: secret, Address: home,
					Referer: "https://example.com/"}),
					latchkey.Narrowing{})
				_, err = as().Rotate(w.ctx, child.ID, 0)
				w.ok(err)
				w.ok(as().Revoke(w.ctx, other.ID, ""))
				w.ok(as().Delete(w.ctx, other.ID))
				_, err = as().Update(w.ctx, own.ID, func(t *latchkey.Token) error { t.Name = "mine"; return nil })
				w.ok(err)
			})
		}
	}
}

// A token that was minted mints by its own MintFrom alone. That of its parent is no bound which an actor with the same
// one could rely on, when it gets at a secret of the token.
func TestMintFromOfAParentBindsNothingOfItsChild(t *testing.T) {
	home := netip.MustParseAddr("10.0.0.1")
	for name, c := range map[string]struct {
		actor, child latchkey.Restrictions
		may          bool
	}{
		"the child mints from everywhere": {latchkey.Restrictions{MintFrom: prefixes("10.0.0.0/8")}, latchkey.Restrictions{},
			false},
		"the child mints from more": {latchkey.Restrictions{MintFrom: prefixes("10.0.0.0/8")},
			latchkey.Restrictions{MintFrom: prefixes("8.0.0.0/5")}, false},
		"the child mints from no more": {latchkey.Restrictions{MintFrom: prefixes("10.0.0.0/8")},
			latchkey.Restrictions{MintFrom: prefixes("10.1.0.0/16")}, true},
		"the actor mints from everywhere": {latchkey.Restrictions{}, latchkey.Restrictions{}, true},
		"addresses of the parent are inherited": {latchkey.Restrictions{Addresses: prefixes("10.0.0.0/8")},
			latchkey.Restrictions{}, true},
	} {
		t.Run(name, func(t *testing.T) {
			k := must(latchkey.GenerateKey(nil, 1))
			w := newWorld(t, func(o *latchkey.Options) { o.Keyring = must(latchkey.NewKeyring(k)) })
			_, text := w.issue(latchkey.KindAPIKey, latchkey.Settings{Permissions: latchkey.Permissions{readAll()},
				Restrictions: latchkey.Restrictions{Addresses: prefixes("10.0.0.0/8"), MintFrom: prefixes("10.0.0.0/8")}})
			child, _ := w.mint(mustVerify(w, latchkey.Presented{Secret: text, Address: home}),
				latchkey.Narrowing{Restrictions: c.child})
			_, text = w.issue(latchkey.KindAPIKey, latchkey.Settings{Permissions: append(admin(), readAll()),
				Restrictions: c.actor})
			as := mustAs(w, mustVerify(w, latchkey.Presented{Secret: text, Address: home}))
			for what, do := range map[string]func() error{
				"signing secret": func() error { _, err := as.SigningSecret(w.ctx, child.ID); return err },
				"reveal":         func() error { _, err := as.Reveal(w.ctx, child.ID); return err },
				"rotate":         func() error { _, err := as.Rotate(w.ctx, child.ID, 0); return err },
			} {
				if err := do(); c.may {
					assert.NoError(t, err, what)
				} else {
					assert.ErrorIs(t, err, latchkey.ErrDenied, what)
				}
			}
			// An edit that leaves it as wide as it was is allowed, and a wider one is not.
			edit := func(from []netip.Prefix) error {
				_, err := as.Update(w.ctx, child.ID, func(t *latchkey.Token) error {
					t.Name += "x"
					t.Restrictions.MintFrom = from
					return nil
				})
				return err
			}
			assert.NoError(t, edit(c.child.MintFrom))
			if len(c.child.MintFrom) > 0 && len(c.actor.MintFrom) > 0 {
				assert.ErrorIs(t, edit(nil), latchkey.ErrDenied)
			}
		})
	}
}

func TestANarrowedActorKeepsToItsAddresses(t *testing.T) {
	w := newWorld(t)
	_, secret := w.key(append(admin(), readAll())...)
	a := mustVerify(w, latchkey.Presented{Secret: secret, Address: netip.MustParseAddr("10.0.0.1")})
	n, err := a.Narrow(w.ctx, latchkey.Narrowing{Restrictions: latchkey.Restrictions{Addresses: prefixes("10.0.0.0/8")}})
	w.ok(err)
	again, err := n.Again(w.ctx)
	w.ok(err)
	for _, n := range []latchkey.Access{n, again} {
		as := mustAs(w, n)
		spec := latchkey.Spec{Kind: latchkey.KindAPIKey}
		_, _, err = as.Issue(w.ctx, spec)
		w.is(latchkey.ErrDenied, err)
		spec.Restrictions.Addresses = prefixes("10.0.0.0/8")
		_, _, err = as.Issue(w.ctx, spec)
		w.ok(err)
		_, err = as.Rotate(w.ctx, a.TokenID(), 0)
		w.is(latchkey.ErrDenied, err)
	}
}

// An actor that signs its requests makes no token that can be used unsigned.
func TestAnActorThatSigns(t *testing.T) {
	ring := must(latchkey.NewKeyring(latchkey.Key{ID: 1, Secret: []byte(strings.Repeat("a", 32))}))
	w := newWorld(t, func(o *latchkey.Options) { o.Keyring = ring })
	tok, secret := w.issue(latchkey.KindAPIKey, latchkey.Settings{Permissions: append(admin(), readAll()),
		Restrictions: latchkey.Restrictions{Signed: true}})
	key, err := w.acme.SigningSecret(w.ctx, tok.ID)
	w.ok(err)
	as := mustAs(w, mustVerify(w, latchkey.Presented{Secret: secret, Signature: &latchkey.Signature{Date: w.now(),
		OK: func(k []byte) bool { return string(k) == key.Reveal() }}}))
	_, _, err = as.Issue(w.ctx, latchkey.Spec{Kind: latchkey.KindAPIKey})
	w.is(latchkey.ErrDenied, err)
	signed := latchkey.Spec{Kind: latchkey.KindAPIKey}
	signed.Restrictions.Signed = true
	made, _, err := as.Issue(w.ctx, signed)
	w.ok(err)
	_, err = as.Update(w.ctx, made.ID, func(t *latchkey.Token) error { t.Restrictions.Signed = false; return nil })
	w.is(latchkey.ErrDenied, err)
}

// A token that was wider than the actor before may stay so or become narrower, but not wider.
func TestAnActorWidensNothingThatWasWider(t *testing.T) {
	rate := func(n int) latchkey.Rate { return latchkey.Rate{Count: n, Per: time.Second} }
	for name, c := range map[string]struct {
		actor, from func(w *world, s *latchkey.Settings)
		to          func(w *world, t *latchkey.Token)
		may         bool
	}{
		"a name": {func(_ *world, s *latchkey.Settings) { s.Restrictions.Addresses = prefixes("10.0.0.0/8") },
			func(*world, *latchkey.Settings) {}, func(_ *world, t *latchkey.Token) { t.Name = "x" }, true},
		"an end": {func(w *world, s *latchkey.Settings) { s.Validity.NotAfter = w.now().Add(time.Hour) },
			func(w *world, s *latchkey.Settings) { s.Validity.NotAfter = w.now().Add(3 * time.Hour) },
			func(w *world, t *latchkey.Token) { t.Validity.NotAfter = w.now().Add(2 * time.Hour) }, true},
		"a later end": {func(w *world, s *latchkey.Settings) { s.Validity.NotAfter = w.now().Add(time.Hour) },
			func(w *world, s *latchkey.Settings) { s.Validity.NotAfter = w.now().Add(3 * time.Hour) },
			func(w *world, t *latchkey.Token) { t.Validity.NotAfter = w.now().Add(4 * time.Hour) }, false},
		"an earlier begin": {func(w *world, s *latchkey.Settings) { s.Validity.NotAfter = w.now().Add(time.Hour) },
			func(w *world, s *latchkey.Settings) { s.Validity.NotBefore = w.now().Add(3 * time.Hour) },
			func(w *world, t *latchkey.Token) { t.Validity.NotBefore = w.now() }, false},
		"a longer idle time": {func(_ *world, s *latchkey.Settings) { s.Validity.Idle = time.Hour },
			func(_ *world, s *latchkey.Settings) { s.Validity.Idle = time.Minute },
			func(_ *world, t *latchkey.Token) { t.Validity.Idle = 2 * time.Minute }, false},
		"a shorter idle time": {func(_ *world, s *latchkey.Settings) { s.Validity.Idle = time.Hour },
			func(_ *world, s *latchkey.Settings) { s.Validity.Idle = 2 * time.Minute },
			func(_ *world, t *latchkey.Token) { t.Validity.Idle = time.Minute }, true},
		"more credits": {func(_ *world, s *latchkey.Settings) { s.Limits = monthly(100) },
			func(_ *world, s *latchkey.Settings) { s.Limits = monthly(10) },
			func(_ *world, t *latchkey.Token) { t.Limits = monthly(11) }, false},
		"fewer credits": {func(_ *world, s *latchkey.Settings) { s.Limits = monthly(100) },
			func(_ *world, s *latchkey.Settings) { s.Limits = monthly(10) },
			func(_ *world, t *latchkey.Token) { t.Limits = monthly(9) }, true},
		"another period": {func(_ *world, s *latchkey.Settings) { s.Limits = monthly(100) },
			func(_ *world, s *latchkey.Settings) { s.Limits = monthly(10) },
			func(_ *world, t *latchkey.Token) { t.Limits.Quotas[0].Per = latchkey.Day }, false},
		"what is carried": {func(_ *world, s *latchkey.Settings) { s.Limits = monthly(100) },
			func(_ *world, s *latchkey.Settings) { s.Limits = monthly(10) },
			func(_ *world, t *latchkey.Token) { t.Limits.Quotas[0].Carry = 1 }, false},
		"of one meter only": {func(_ *world, s *latchkey.Settings) { s.Limits = monthly(100) },
			func(_ *world, s *latchkey.Settings) { s.Limits = monthly(10) },
			func(_ *world, t *latchkey.Token) { t.Limits.Quotas[0].Meter = "api" }, false},
		"one quota more": {func(_ *world, s *latchkey.Settings) { s.Limits = monthly(100) },
			func(_ *world, s *latchkey.Settings) { s.Limits = monthly(10) },
			func(_ *world, t *latchkey.Token) {
				t.Limits.Quotas = append(t.Limits.Quotas, latchkey.Quota{Amount: 1 << 40, Per: latchkey.Day})
			}, true},
		"another rate": {func(_ *world, s *latchkey.Settings) { s.Limits.Rate = rate(100) },
			func(_ *world, s *latchkey.Settings) { s.Limits.Rate = rate(10) },
			func(_ *world, t *latchkey.Token) { t.Limits.Rate = rate(9) }, false},
		"a later end beside credits": {func(_ *world, s *latchkey.Settings) { s.Limits = monthly(100) },
			func(w *world, s *latchkey.Settings) {
				s.Limits, s.Validity.NotAfter = monthly(10), w.now().Add(time.Hour)
			},
			func(w *world, t *latchkey.Token) { t.Validity.NotAfter = w.now().Add(2 * time.Hour) }, false},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			actor, from := latchkey.Settings{Permissions: append(admin(), readAll())}, latchkey.Settings{}
			c.actor(w, &actor)
			c.from(w, &from)
			_, secret := w.issue(latchkey.KindAPIKey, actor)
			tok, _ := w.issue(latchkey.KindAPIKey, from)
			as := mustAs(w, mustVerify(w, latchkey.Presented{Secret: secret, Address: netip.MustParseAddr("10.0.0.1")}))
			_, err := as.Update(w.ctx, tok.ID, func(t *latchkey.Token) error { c.to(w, t); return nil })
			if c.may {
				w.ok(err)
			} else {
				w.is(latchkey.ErrDenied, err)
			}
		})
	}
}

// An actor does not loosen the restrictions of its own token.
func TestAnActorDoesNotLoosenItsOwnToken(t *testing.T) {
	home := netip.MustParseAddr("10.0.0.1")
	for name, c := range map[string]struct {
		edit func(*latchkey.Token)
		may  bool
	}{
		"its name":        {func(t *latchkey.Token) { t.Name = "x" }, true},
		"fewer addresses": {func(t *latchkey.Token) { t.Restrictions.Addresses = prefixes("10.0.0.0/16") }, true},
		"an earlier end": {func(t *latchkey.Token) { t.Validity.NotAfter = t.Validity.NotAfter.Add(-time.Minute) },
			true},
		"more addresses": {func(t *latchkey.Token) { t.Restrictions.Addresses = prefixes("10.0.0.0/8", "192.0.2.0/24") },
			false},
		"a shorter prefix": {func(t *latchkey.Token) { t.Restrictions.Addresses = prefixes("10.0.0.0/7") }, false},
		"all addresses":    {func(t *latchkey.Token) { t.Restrictions.Addresses = nil }, false},
		"minting from all": {func(t *latchkey.Token) { t.Restrictions.MintFrom = nil }, false},
		"a later end": {func(t *latchkey.Token) { t.Validity.NotAfter = t.Validity.NotAfter.Add(1 * time.Minute) },
			false},
		"no end":              {func(t *latchkey.Token) { t.Validity.NotAfter = time.Time{} }, false},
		"a longer idle time":  {func(t *latchkey.Token) { t.Validity.Idle *= 2 }, false},
		"no idle limit":       {func(t *latchkey.Token) { t.Validity.Idle = 0 }, false},
		"a shorter idle time": {func(t *latchkey.Token) { t.Validity.Idle /= 2 }, true},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			tok, secret := w.issue(latchkey.KindAPIKey, latchkey.Settings{Permissions: admin(),
				Validity:     latchkey.Validity{NotAfter: w.now().Add(time.Hour), Idle: 10 * time.Minute},
				Restrictions: latchkey.Restrictions{Addresses: prefixes("10.0.0.0/8"), MintFrom: prefixes("10.0.0.0/8")}})
			as := mustAs(w, mustVerify(w, latchkey.Presented{Secret: secret, Address: home}))
			_, err := as.Update(w.ctx, tok.ID, func(t *latchkey.Token) error { c.edit(t); return nil })
			if c.may {
				assert.NoError(t, err)
			} else {
				assert.ErrorIs(t, err, latchkey.ErrDenied)
			}
		})
	}
}

// Exceed is allowed by what names it and by nothing else.
func TestOnlyARuleThatNamesItAllowsExceed(t *testing.T) {
	on := latchkey.Resource("latchkey/token/x")
	all := latchkey.Allow(latchkey.Any).On("latchkey/*")
	named := latchkey.Allow(latchkey.Exceed).On("latchkey/token/*")
	for name, c := range map[string]struct {
		rules latchkey.Permissions
		want  bool
	}{
		"any":                 {latchkey.Permissions{all}, false},
		"named":               {latchkey.Permissions{named}, true},
		"named, elsewhere":    {latchkey.Permissions{latchkey.Allow(latchkey.Exceed).On("*")}, false},
		"named, then any":     {latchkey.Permissions{named, all}, true},
		"denied with any":     {latchkey.Permissions{named, latchkey.Deny(latchkey.Any).On("latchkey/*")}, false},
		"denied by name":      {latchkey.Permissions{named, latchkey.Deny(latchkey.Exceed).On("latchkey/token/x")}, false},
		"any beside its name": {latchkey.Permissions{latchkey.Allow(latchkey.Any, latchkey.Exceed).On("latchkey/*")}, true},
	} {
		w := newWorld(t)
		assert.Equal(t, c.want, c.rules.Allows(latchkey.Exceed, on), name)
		assert.Equal(t, c.want, c.rules.Decide(latchkey.Exceed, on).Allowed(), name)
		_, secret := w.key(c.rules...)
		a := w.access(secret)
		assert.Equal(t, c.want, a.Allows(latchkey.Exceed, on), name)
		assert.Equal(t, c.want, a.Check(latchkey.Exceed, on) == nil, name)
		assert.Equal(t, c.want, a.Explain(latchkey.Exceed, on).Verdict == "all", name)
		if c.want {
			assert.False(t, c.rules.Within(latchkey.Permissions{all}), name)
			_, _, err := mustAs(w, must(w.acme.Assume(latchkey.Client{ID: "7"}, latchkey.Permissions{all}))).Issue(w.ctx,
				latchkey.Spec{Kind: latchkey.KindAPIKey, Permissions: c.rules})
			assert.ErrorIs(t, err, latchkey.ErrDenied, name)
		}
	}
	w := newWorld(t)
	_, root := w.issue(latchkey.KindSecret, latchkey.Settings{})
	assert.False(t, w.access(root).Allows(latchkey.Exceed, on))
	assert.True(t, w.access(root).Allows("other", on))
	_, full := w.mint(w.access(root), latchkey.Narrowing{})
	assert.False(t, w.access(full).Allows(latchkey.Exceed, on))
	_, err := mustAs(w, w.access(root)).CreateRole(w.ctx, latchkey.Role{Name: "desk",
		Permissions: latchkey.Permissions{named}})
	w.is(latchkey.ErrDenied, err)
	deskToken, desk := w.key(named)
	_, err = mustAs(w, w.access(root)).Update(w.ctx, deskToken.ID,
		func(t *latchkey.Token) error { t.Name = "x"; return nil })
	w.is(latchkey.ErrDenied, err)
	other, _ := w.key(named)
	w.ok(mustAs(w, w.access(root)).Revoke(w.ctx, other.ID, "ended by a secret key"))
	w.ok(mustAs(w, w.access(root)).Delete(w.ctx, other.ID))
	_, full = w.mint(w.access(desk), latchkey.Narrowing{})
	assert.True(t, w.access(full).Allows(latchkey.Exceed, on))
}

// An actor that holds all there is over tokens and is refused learns from the error what kind of refusal it is.
func TestADeniedActorIsToldWhy(t *testing.T) {
	w := newWorld(t)
	_, secret := w.issue(latchkey.KindAPIKey, latchkey.Settings{
		Permissions: latchkey.Permissions{latchkey.Allow(latchkey.Any).On("latchkey/*"), readAll()},
		Validity:    latchkey.Validity{NotAfter: w.now().Add(time.Hour)}})
	desk := mustAs(w, mustVerify(w, latchkey.Presented{Secret: secret}))
	spec := latchkey.Spec{Kind: latchkey.KindAPIKey,
		Permissions: latchkey.Permissions{readAll()}}
	_, _, err := desk.Issue(w.ctx, spec)
	require.ErrorContains(t, err, `beyond the actor's own token`)
	require.ErrorContains(t, err, `"exceed"`)
	denied, ok := errors.AsType[*latchkey.DeniedError](err)
	require.True(t, ok)
	require.Equal(t, latchkey.Create, denied.Action)

	spec.Permissions = latchkey.Permissions{latchkey.Allow(latchkey.Update).On("dataset/a")}
	spec.Validity.NotAfter = w.now().Add(time.Minute)
	_, _, err = desk.Issue(w.ctx, spec)
	require.ErrorContains(t, err, "could do more than the actor")
	_, ok = errors.AsType[*latchkey.DeniedError](err)
	require.True(t, ok)
}

// spoilt is a store in which some roles cannot be read.
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

// spoil damages a token.
func spoil(t *testing.T, s latchkey.Store, id string) {
	t.Helper()
	f, err := s.Load(t.Context(), "acme", id)
	require.NoError(t, err)
	f.Token.Damaged = true
	err = s.Write(t.Context(), latchkey.Write{ID: uuid.Must(uuid.NewV7()), Owner: "acme", At: time.Now(),
		Tokens: []latchkey.Token{f.Token}})
	require.NoError(t, err)
}

// An actor that ends may take rights from a token that lasts, and give it none.
func TestAnActorThatEndsTakesRightsOnly(t *testing.T) {
	w := newWorld(t)
	on := func(of ...latchkey.Pattern) latchkey.Permissions {
		return latchkey.Permissions{latchkey.Allow(latchkey.Any).On(of...)}
	}
	lasting, _ := w.issue(latchkey.KindAPIKey, latchkey.Settings{Permissions: on("a", "b")})
	_, text := w.issue(latchkey.KindAPIKey, latchkey.Settings{Permissions: on("*", "latchkey/*"),
		Validity: latchkey.Validity{NotAfter: w.now().Add(time.Hour)}})
	as := mustAs(w, w.access(text))
	set := func(p latchkey.Permissions) error {
		return second(as.Update(w.ctx, lasting.ID, func(t *latchkey.Token) error { t.Permissions = p; return nil }))
	}
	w.ok(set(on("a")))
	w.is(latchkey.ErrDenied, set(on("a", "b")))
	w.is(latchkey.ErrDenied, set(on("c")))
	w.ok(set(nil))
	w.is(latchkey.ErrDenied, set(on("a")))
}

// A damaged record may have allowed anything: only an actor that may do everything may change it.
func TestOnlyFullRightsEndADamagedRecord(t *testing.T) {
	for _, c := range []struct {
		what string
		kind latchkey.Kind
		set  latchkey.Settings
		ends bool // it may end what is damaged, and switch it off
		may  bool // it may do whatever can be done
	}{
		{"a secret key", latchkey.KindSecret, latchkey.Settings{}, true, true},
		{"all rules, Give named", latchkey.KindAPIKey, latchkey.Settings{Permissions: latchkey.Permissions{
			latchkey.Allow(latchkey.Any, latchkey.Give).On("*", "latchkey/*")}}, true, true},
		{"all rules", latchkey.KindAPIKey, latchkey.Settings{Permissions: latchkey.Permissions{
			latchkey.Allow(latchkey.Any).On("*", "latchkey/*")}}, true, false},
		{"all but reading one", latchkey.KindAPIKey, latchkey.Settings{Permissions: latchkey.Permissions{
			latchkey.Allow(latchkey.Any).On("*", "latchkey/*"), latchkey.Deny(latchkey.Read).On("dataset/a")}}, false, false},
		{"an administrator of tokens and roles", latchkey.KindAPIKey, latchkey.Settings{Permissions: latchkey.Permissions{
			latchkey.Allow(latchkey.Any).On("latchkey/*")}}, false, false},
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
			enable := func(t *latchkey.Token) error { t.Disabled = !t.Disabled; return nil }
			for i, call := range []struct {
				may bool
				do  func() error
			}{
				{c.ends, func() error { return errOf(as.Update(ctx, bad.ID, enable)) }},
				{c.may, func() error { return errOf(as.Update(ctx, bad.ID, enable)) }},
				{c.may, func() error { _, err := as.Rotate(ctx, bad.ID, 0); return err }},
				{c.ends, func() error { return as.Revoke(ctx, bad.ID, "") }},
				{c.ends, func() error { return as.Delete(ctx, bad.ID) }},
				{c.may, func() error { return edit(lonely.ID) }},
				{c.may, func() error { return edit(role.ID) }},
				{c.ends, func() error { return as.Revoke(ctx, holder.ID, "") }},
			} {
				if err := call.do(); call.may {
					require.NoError(t, err, i)
				} else {
					require.ErrorIs(t, err, latchkey.ErrDenied, i)
				}
			}
		})
	}
}

// A damaged holder of a role may do anything: an actor that may do less does not change the role.
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

// A damaged holder of a role may have rights of its own: the result for another holder with the same roles does not
// count for it.
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

// A token that was minted from one that may name any role gets what its role gets. An actor whose own token ends gives
// it nothing that it would keep.
func TestAnActorGivesMintedTokensNothingToKeep(t *testing.T) {
	w := newWorld(t)
	r := w.role("r")
	_, root := w.issue(latchkey.KindSecret, latchkey.Settings{})
	w.mint(w.access(root), latchkey.Narrowing{Roles: []string{r.ID}, Lifetime: 2 * time.Hour})
	widen := func(end time.Duration, exceeding bool) error {
		_, secret := w.issue(latchkey.KindAPIKey, latchkey.Settings{Permissions: append(admin(), readAll()),
			Validity: latchkey.Validity{NotAfter: w.now().Add(end)}})
		as := mustAs(w, w.access(secret))
		if exceeding {
			as = as.Exceeding()
		}
		_, err := as.UpdateRole(w.ctx, r.ID, func(r *latchkey.Role) error {
			r.Permissions = append(r.Permissions, latchkey.Grant(latchkey.Read).On(latchkey.Pattern("d/"+end.String())))
			return nil
		})
		return err
	}
	w.is(latchkey.ErrDenied, widen(time.Hour, false))
	w.ok(widen(3*time.Hour, false))
	w.ok(widen(time.Hour, true))
	w.turn(90 * time.Minute)
	w.ok(widen(30*time.Minute, false))
}

// What a minted token gains depends on the tokens that it was minted from. If one of them cannot be read it may gain
// anything, and if one changes meanwhile the actor is judged anew.
func TestAnActorGivesMintedTokensNothingThatTheirParentsHide(t *testing.T) {
	for _, c := range []struct {
		what   string
		parent func(w *world, root string) // after the mint
		race   func(w *world, root string) // between the check and the write
		want   error
	}{
		{"an address that the parent has, too", nil, nil, nil},
		{"an address that the parent loses meanwhile", nil, func(w *world, root string) {
			_, err := w.acme.Update(w.ctx, root, func(t *latchkey.Token) error {
				t.Restrictions.Addresses = nil
				return nil
			})
			w.ok(err)
		}, latchkey.ErrDenied},
		{"a parent that cannot be read", func(w *world, root string) {
			f, err := w.store.Load(w.ctx, "acme", root)
			w.ok(err)
			f.Token.Damaged, f.Token.Kind = true, latchkey.KindAPIKey // what is left of it has no rights
			w.ok(w.store.Write(w.ctx, latchkey.Write{ID: uuid.Must(uuid.NewV7()), Owner: "acme", At: w.now(),
				Tokens: []latchkey.Token{f.Token}}))
		}, nil, latchkey.ErrDenied},
	} {
		t.Run(c.what, func(t *testing.T) {
			w := newWorld(t)
			inside := latchkey.Restrictions{Addresses: []netip.Prefix{netip.MustParsePrefix("10.0.0.0/8")}}
			presented := func(secret string) latchkey.Access {
				return mustVerify(w, latchkey.Presented{Secret: secret, Address: netip.MustParseAddr("10.1.2.3")})
			}
			r := w.role("r")
			root, secret := w.issue(latchkey.KindSecret, latchkey.Settings{Restrictions: inside})
			w.mint(presented(secret), latchkey.Narrowing{Roles: []string{r.ID}})
			_, secret = w.issue(latchkey.KindAPIKey, latchkey.Settings{Permissions: append(admin(), readAll()),
				Restrictions: inside})
			as := mustAs(w, presented(secret))
			if c.parent != nil {
				c.parent(w, root.ID)
			}
			ran := func() bool { return true }
			if c.race != nil {
				ran = w.store.before(func() { c.race(w, root.ID) })
			}
			_, err := as.UpdateRole(w.ctx, r.ID, func(r *latchkey.Role) error {
				r.Permissions = append(r.Permissions, readAll())
				return nil
			})
			w.is(c.want, err)
			require.True(t, ran())
		})
	}
}
