package latchkey_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/latchkey-go/latchkey"
)

type roleEnds = map[string]time.Time

// A role that was lent for a time ends then: for the token, for what it minted and narrowed, and in the cache.
func TestARoleEnds(t *testing.T) {
	for name, change := range map[string]func(*latchkey.Options){
		"cached":     func(*latchkey.Options) {},
		"not cached": func(o *latchkey.Options) { o.CacheTokens = -1 },
		"stale":      func(o *latchkey.Options) { o.MaxStale = 24 * time.Hour },
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t, change, withRoles(codeViewer))
			editor := w.role("editor", latchkey.Grant(latchkey.Update).On("doc/*"))
			_, err := w.acme.CreateRole(w.ctx, latchkey.Role{Name: "chief", Inherits: []string{"editor"}})
			w.ok(err)
			soon, later := w.now().Add(time.Hour), w.now().Add(2*time.Hour)
			tok, secret := w.issue(latchkey.KindAPIKey, latchkey.Settings{Roles: []string{"editor", "chief", "viewer"},
				RoleEnds: roleEnds{"editor": soon, "chief": soon, "viewer": later},
				Permissions: latchkey.Permissions{latchkey.Grant(latchkey.Delete).On("doc/*"),
					latchkey.Grant("see").On("mine").Where(latchkey.Where("role", latchkey.In, latchkey.SelfRoles))}})
			_, equal := w.issue(latchkey.KindAPIKey, tok.Settings)
			_, lasting := w.issue(latchkey.KindAPIKey, latchkey.Settings{Roles: tok.Roles, Permissions: tok.Permissions})
			full, fullSecret := w.mint(w.access(secret), latchkey.Narrowing{Lifetime: 10 * time.Hour})
			named, namedSecret := w.mint(w.access(secret), latchkey.Narrowing{Lifetime: 10 * time.Hour,
				Roles: []string{"editor", "viewer"}})
			_, grandchild := w.mint(w.access(namedSecret), latchkey.Narrowing{Lifetime: 10 * time.Hour,
				Roles: []string{"editor"}})
			_, early := w.mint(w.access(secret), latchkey.Narrowing{Lifetime: 10 * time.Hour, Roles: []string{"editor"},
				RoleEnds: roleEnds{"editor": w.now().Add(time.Minute)}})
			require.Nil(t, full.RoleEnds)
			require.Equal(t, roleEnds{editor.ID: soon, "code:viewer": later}, named.RoleEnds, "the record shows the result")
			narrow, err := w.access(secret).Narrow(w.ctx, latchkey.Narrowing{Roles: []string{"editor"}})
			w.ok(err)
			brief, err := w.access(lasting).Narrow(w.ctx, latchkey.Narrowing{Roles: []string{"editor", "viewer"},
				RoleEnds: roleEnds{"editor": w.now().Add(time.Minute)}})
			w.ok(err)

			check := func(secret string, may ...latchkey.Action) {
				t.Helper()
				for range 2 { // read, and cached
					a := w.access(secret)
					for _, do := range []latchkey.Action{latchkey.Read, latchkey.Update, latchkey.Delete} {
						require.Equal(t, slices.Contains(may, do), a.Allows(do, "doc/1"), do)
					}
				}
			}
			again := func(a latchkey.Access, may bool) {
				t.Helper()
				b, err := a.Again(w.ctx)
				w.ok(err)
				require.Equal(t, may, b.Allows(latchkey.Update, "doc/1"))
			}
			rows := func(n int) {
				t.Helper()
				a := w.access(secret)
				require.Len(t, a.Roles(), n)
				c, err := a.Filter("see", "mine")
				if n == 0 {
					w.is(latchkey.ErrDenied, err)
				} else {
					require.Equal(t, n, strings.Count(c.String(), "-7")+strings.Count(c.String(), "code:"))
				}
			}
			all := []latchkey.Action{latchkey.Read, latchkey.Update, latchkey.Delete}
			for _, s := range []string{secret, equal, lasting, fullSecret} {
				check(s, all...)
			}
			check(namedSecret, latchkey.Read, latchkey.Update)
			check(grandchild, latchkey.Update)
			check(early, latchkey.Update)
			again(narrow, true)
			again(brief, true)
			w.turn(time.Minute)
			check(early)
			again(brief, false)
			require.True(t, must(brief.Again(w.ctx)).Allows(latchkey.Read, "doc/1"))
			w.turn(59*time.Minute - time.Microsecond)
			check(secret, all...)
			check(grandchild, latchkey.Update)
			w.turn(time.Microsecond) // the end itself is too late
			for _, s := range []string{secret, equal, fullSecret} {
				check(s, latchkey.Read, latchkey.Delete)
			}
			check(lasting, all...)
			check(namedSecret, latchkey.Read)
			check(grandchild)
			again(narrow, false)
			rows(1)
			_, _, err = w.access(secret).Mint(w.ctx, latchkey.Narrowing{Roles: []string{editor.ID}, Lifetime: time.Hour})
			w.is(latchkey.ErrInvalid, err) // the parent lacks it
			w.turn(time.Hour)
			for _, s := range []string{secret, equal, fullSecret} {
				check(s, latchkey.Delete)
			}
			check(namedSecret)
			rows(0)

			// The record keeps the role, so that the host can lend it again. What was minted ends as it was minted.
			w.is(latchkey.ErrInUse, w.acme.DeleteRole(w.ctx, editor.ID))
			w.update(tok, func(t *latchkey.Token) { t.RoleEnds[editor.ID] = w.now().Add(time.Hour) })
			check(secret, latchkey.Update, latchkey.Delete)
			check(fullSecret, latchkey.Update, latchkey.Delete)
			check(namedSecret)
			w.update(tok, func(t *latchkey.Token) { t.RoleEnds = nil })
			w.turn(5 * time.Hour)
			check(secret, all...)
		})
	}
}

// A role ends by the time that the store confirms, like a token, and does not come back when the clocks are set back.
func TestARoleThatEndedStaysSo(t *testing.T) {
	w := newWorld(t, func(o *latchkey.Options) { o.CacheTokens = -1 })
	r := w.role("r", readAll())
	_, secret := w.issue(latchkey.KindAPIKey, latchkey.Settings{Roles: []string{r.ID},
		RoleEnds: roleEnds{r.ID: w.now().Add(time.Minute)}})
	require.True(t, w.access(secret).Allows(latchkey.Read, "x"))
	w.turn(2 * time.Minute)
	require.False(t, w.access(secret).Allows(latchkey.Read, "x"))
	w.turn(-90 * time.Second)
	require.False(t, w.access(secret).Allows(latchkey.Read, "x"))
}

// A record that some other program wrote gives a role that has no proper end to nobody.
func TestAnEndOfARoleThatIsNone(t *testing.T) {
	w := newWorld(t)
	r := w.role("r", readAll())
	tok, secret := w.issue(latchkey.KindAPIKey, latchkey.Settings{Roles: []string{r.ID}})
	require.True(t, w.access(secret).Allows(latchkey.Read, "x"))
	tok.RoleEnds = roleEnds{r.ID: {}}
	w.ok(w.store.Store.Write(w.ctx, latchkey.Write{ID: [16]byte{7}, Owner: "acme", Tokens: []latchkey.Token{tok}}))
	require.False(t, w.access(secret).Allows(latchkey.Read, "x"))
}

func TestRoleEndsRefuse(t *testing.T) {
	w := newWorld(t)
	r, other := w.role("r", readAll()), w.role("other")
	at := w.now().Add(time.Hour)
	tok, secret := w.issue(latchkey.KindAPIKey, latchkey.Settings{Roles: []string{r.ID, other.ID},
		RoleEnds: roleEnds{r.ID: at}})
	_, session := w.issue(latchkey.KindSession, latchkey.Settings{})
	ends := map[string]roleEnds{
		"of a role that it does not name": {"x": at},
		"the zero time":                   {r.ID: {}},
		"no year of this era":             {r.ID: time.Date(10000, 1, 1, 0, 0, 0, 0, time.UTC)},
		"past":                            {r.ID: w.now()},
	}
	for what, e := range ends {
		_, _, err := w.acme.Issue(w.ctx, latchkey.Spec{Kind: latchkey.KindAPIKey, Roles: []string{r.ID}, RoleEnds: e})
		require.ErrorIs(t, err, latchkey.ErrInvalid, what)
		n := latchkey.Narrowing{Roles: []string{r.ID}, RoleEnds: e, Lifetime: time.Hour}
		for _, s := range []string{secret, session} {
			_, _, err = w.access(s).Mint(w.ctx, n)
			require.ErrorIs(t, err, latchkey.ErrInvalid, what)
			_, err = w.access(s).Narrow(w.ctx, n)
			require.ErrorIs(t, err, latchkey.ErrInvalid, what)
		}
		if what == "past" {
			continue // an update may end a role at once
		}
		_, err = w.acme.Update(w.ctx, tok.ID, func(t *latchkey.Token) error { t.RoleEnds = e; return nil })
		require.ErrorIs(t, err, latchkey.ErrInvalid, what)
	}
	n := latchkey.Narrowing{RoleEnds: roleEnds{r.ID: at}, Lifetime: time.Hour}
	_, _, err := w.access(secret).Mint(w.ctx, n)
	w.is(latchkey.ErrInvalid, err) // no role is named
	_, _, err = w.acme.Issue(w.ctx, latchkey.Spec{Kind: latchkey.KindSecret, RoleEnds: roleEnds{r.ID: at}})
	w.is(latchkey.ErrInvalid, err)

	// An end goes with its role, and stays with it.
	got, err := w.acme.Update(w.ctx, tok.ID, func(t *latchkey.Token) error { t.Roles = []string{other.ID}; return nil })
	w.ok(err)
	require.Empty(t, got.RoleEnds)
	_, err = w.acme.Update(w.ctx, tok.ID, func(t *latchkey.Token) error { t.RoleEnds = roleEnds{r.ID: at}; return nil })
	w.is(latchkey.ErrInvalid, err)
	var read latchkey.Spec
	require.ErrorIs(t, json.Unmarshal([]byte(`{"kind":"api_key","roles":["a"],"role_ends":{"a":null}}`), &read),
		latchkey.ErrInvalid)
}

// People see until when a role is held, and that one has ended.
func TestRoleEndsAreShown(t *testing.T) {
	w := newWorld(t)
	r, other := w.role("r", readAll()), w.role("other")
	soon, later := w.now().Add(time.Hour), w.now().Add(2*time.Hour)
	_, secret := w.issue(latchkey.KindAPIKey, latchkey.Settings{Roles: []string{r.ID, other.ID},
		RoleEnds: roleEnds{r.ID: later, other.ID: later}})
	child, _ := w.mint(w.access(secret), latchkey.Narrowing{Roles: []string{r.ID}, RoleEnds: roleEnds{r.ID: soon},
		Lifetime: 9 * time.Hour})
	explain := func() latchkey.Explanation {
		e, err := w.acme.Explain(w.ctx, child.ID, latchkey.Question{Action: latchkey.Read, Resource: "x"})
		w.ok(err)
		return e[0]
	}
	e := explain()
	require.Equal(t, "all", e.Verdict)
	require.Equal(t, []string{"token", child.Parent}, []string{e.Layers[0].Name, e.Layers[1].Name})
	require.Equal(t, soon, e.Layers[0].Roles[0].Ends)
	require.False(t, e.Layers[0].Roles[0].Ended)
	require.Equal(t, later, e.Layers[1].Roles[0].Ends)
	require.Contains(t, e.String(), "is held until 2026-03-04T06:06:07Z")
	l, err := w.acme.Lineage(w.ctx, child.ID)
	w.ok(err)
	require.Equal(t, roleEnds{r.ID: soon, other.ID: later}, l.RoleEnds)
	for tok, err := range w.acme.Tokens(w.ctx, latchkey.TokenQuery{Parent: child.Parent}) {
		w.ok(err)
		require.Equal(t, roleEnds{r.ID: soon}, tok.RoleEnds)
	}
	w.turn(time.Hour)
	e = explain()
	require.Equal(t, "none", e.Verdict)
	require.Len(t, e.Layers[0].Roles, 1)
	require.True(t, e.Layers[0].Roles[0].Ended)
	require.Equal(t, "none", e.Layers[0].Roles[0].Verdict)
	require.Equal(t, "r", e.Layers[0].Roles[0].Name)
	require.Contains(t, e.Reason, "gives nothing: it was held until")
	require.Contains(t, e.String(), "gives nothing: it was held until 2026-03-04T06:06:07Z")
}

// An actor gives nobody for longer what it has until Friday, by no way.
func TestAnActorWithARoleUntilFriday(t *testing.T) {
	type env struct {
		*world
		editor, viewer           latchkey.Role
		as                       latchkey.Account
		self                     latchkey.Token
		friday, sooner, saturday time.Time
	}
	type act struct {
		may bool
		do  func(e *env) error
	}
	spec := func(s latchkey.Settings) func(*env) error {
		return func(e *env) error { return third(e.as.Issue(e.ctx, s.Spec(latchkey.KindAPIKey))) }
	}
	issue := func(f func(e *env) latchkey.Settings) func(*env) error {
		return func(e *env) error { return spec(f(e))(e) }
	}
	update := func(from func(e *env) latchkey.Settings, edit func(e *env, t *latchkey.Token)) func(*env) error {
		return func(e *env) error {
			tok, _ := e.issue(latchkey.KindAPIKey, from(e))
			return second(e.as.Update(e.ctx, tok.ID, func(t *latchkey.Token) error { edit(e, t); return nil }))
		}
	}
	secretOf := func(do func(*env, string) error, from func(e *env) latchkey.Settings) func(*env) error {
		return func(e *env) error {
			tok, _ := e.issue(latchkey.KindAPIKey, from(e))
			return do(e, tok.ID)
		}
	}
	rotate := func(e *env, id string) error { return second(e.as.Rotate(e.ctx, id, 0)) }
	reveal := func(e *env, id string) error { return second(e.as.Reveal(e.ctx, id)) }
	revealAll := func(e *env, id string) error {
		got, err := e.as.RevealAll(e.ctx, id)
		if err == nil && len(got) == 0 {
			return latchkey.ErrDenied
		}
		return err
	}
	editor := func(e *env) latchkey.Settings { return latchkey.Settings{Roles: []string{e.editor.ID}} }
	until := func(end func(e *env) time.Time) func(e *env) latchkey.Settings {
		return func(e *env) latchkey.Settings {
			return latchkey.Settings{Roles: []string{e.editor.ID}, RoleEnds: roleEnds{e.editor.ID: end(e)}}
		}
	}
	friday := func(e *env) time.Time { return e.friday }
	sooner := func(e *env) time.Time { return e.sooner }
	saturday := func(e *env) time.Time { return e.saturday }
	ending := func(end func(e *env) time.Time) func(e *env) latchkey.Settings {
		return func(e *env) latchkey.Settings {
			s := editor(e)
			s.Validity.NotAfter = end(e)
			return s
		}
	}
	rules := func(e *env) latchkey.Settings { return latchkey.Settings{Permissions: e.editor.Permissions} }
	viewer := func(e *env) latchkey.Settings { return latchkey.Settings{Roles: []string{e.viewer.ID}} }
	// gives gives the rules of the role to one that a mint from a secret key names, which lives for this long.
	gives := func(life time.Duration) func(e *env) error {
		return func(e *env) error {
			r := e.world.role("minted")
			_, root := e.issue(latchkey.KindSecret, latchkey.Settings{})
			e.world.mint(e.access(root), latchkey.Narrowing{Roles: []string{r.ID}, Lifetime: life})
			return second(e.as.UpdateRole(e.ctx, r.ID, func(r *latchkey.Role) error {
				r.Permissions = e.editor.Permissions
				return nil
			}))
		}
	}
	for what, a := range map[string]act{
		"gives its rules to a role of a minted token":          {false, gives(3 * time.Hour)},
		"gives its rules to a role of one minted until Friday": {true, gives(2 * time.Hour)},
		"takes from a role of a minted token": {true, func(e *env) error {
			_, root := e.issue(latchkey.KindSecret, latchkey.Settings{})
			e.world.mint(e.access(root), latchkey.Narrowing{Roles: []string{e.editor.ID}, Lifetime: 3 * time.Hour})
			return second(e.as.UpdateRole(e.ctx, e.editor.ID, func(r *latchkey.Role) error {
				r.Permissions = nil
				return nil
			}))
		}},
		"issues what it has for good":                 {true, issue(viewer)},
		"issues the role for good":                    {false, issue(editor)},
		"issues the role until Friday":                {true, issue(until(friday))},
		"issues the role until Thursday":              {true, issue(until(sooner))},
		"issues the role until Saturday":              {false, issue(until(saturday))},
		"issues a token with the role that ends then": {true, issue(ending(friday))},
		"issues a token with the role that ends late": {false, issue(ending(saturday))},
		"issues the rules of the role":                {false, issue(rules)},
		"issues another role with the same rules": {false, func(e *env) error {
			r := e.world.role("same", e.editor.Permissions...)
			return spec(latchkey.Settings{Roles: []string{r.ID}})(e)
		}},
		"issues an heir of the role": {false, func(e *env) error {
			r, err := e.as.CreateRole(e.ctx, latchkey.Role{Name: "heir", Inherits: []string{e.editor.ID}})
			e.ok(err)
			return spec(latchkey.Settings{Roles: []string{r.ID}})(e)
		}},
		"imports the role for good": {false, func(e *env) error {
			return second(e.as.Import(e.ctx, editor(e).Spec(latchkey.KindAPIKey), "imported-0123456789"))
		}},
		"adds the role": {false, update(viewer, func(e *env, t *latchkey.Token) {
			t.Roles = append(t.Roles, e.editor.ID)
		})},
		"adds its rules": {false, update(viewer, func(e *env, t *latchkey.Token) {
			t.Permissions = e.editor.Permissions
		})},
		"adds the role until Friday": {true, update(viewer, func(e *env, t *latchkey.Token) {
			t.Settings = until(friday)(e)
		})},
		"adds a right to who has it for good": {false, update(editor, func(e *env, t *latchkey.Token) {
			t.Roles = append(t.Roles, e.viewer.ID) // with a new right it is judged as a whole, like a new token
		})},
		"adds a right to who has it till then": {true, update(until(friday), func(e *env, t *latchkey.Token) {
			t.Roles = append(t.Roles, e.viewer.ID)
		})},
		"lengthens an end": {false, update(until(sooner), func(e *env, t *latchkey.Token) {
			t.RoleEnds[e.editor.ID] = e.saturday
		})},
		"lengthens an end to Friday": {true, update(until(sooner), func(e *env, t *latchkey.Token) {
			t.RoleEnds[e.editor.ID] = e.friday
		})},
		"removes an end": {false, update(until(sooner), func(e *env, t *latchkey.Token) {
			t.RoleEnds = nil
		})},
		"shortens an end": {true, update(until(saturday), func(e *env, t *latchkey.Token) {
			t.RoleEnds[e.editor.ID] = e.sooner
		})},
		"renames a disabled one that has it for good": {true, update(func(e *env) latchkey.Settings {
			s := editor(e)
			s.Disabled = true
			return s
		}, func(e *env, t *latchkey.Token) { t.Name = "new" })},
		"renames who has it for good": {true, update(editor, func(e *env, t *latchkey.Token) {
			t.Name = "renamed"
		})},
		"enables who has it for good": {false, update(func(e *env) latchkey.Settings {
			s := editor(e)
			s.Disabled = true
			return s
		}, func(e *env, t *latchkey.Token) { t.Disabled = false })},
		"lets one with the role live longer": {false, update(ending(sooner), func(e *env, t *latchkey.Token) {
			t.Validity.NotAfter = e.saturday
		})},
		"lets one with the role live till then": {true, update(ending(sooner), func(e *env, t *latchkey.Token) {
			t.Validity.NotAfter = e.friday
		})},
		"keeps its own role": {false, func(e *env) error {
			return second(e.as.Update(e.ctx, e.self.ID, func(t *latchkey.Token) error { t.RoleEnds = nil; return nil }))
		}},
		"rotates who has it for good":                {false, secretOf(rotate, editor)},
		"rotates who has it until Friday":            {true, secretOf(rotate, until(friday))},
		"rotates who has it until Saturday":          {false, secretOf(rotate, until(saturday))},
		"reveals who has it for good":                {false, secretOf(reveal, editor)},
		"reveals who has it until Friday":            {true, secretOf(reveal, until(friday))},
		"reveals, with others, who has it for good":  {false, secretOf(revealAll, editor)},
		"reveals, with others, who has it till then": {true, secretOf(revealAll, until(friday))},
		"revokes who has it for good": {true, secretOf(func(e *env, id string) error {
			return e.as.Revoke(e.ctx, id, "")
		}, editor)},
		"gives a role that others have its rules": {false, func(e *env) error {
			e.issue(latchkey.KindAPIKey, viewer(e))
			return second(e.as.UpdateRole(e.ctx, e.viewer.ID, func(r *latchkey.Role) error {
				r.Permissions = append(r.Permissions, e.editor.Permissions...)
				return nil
			}))
		}},
		"makes a role that others have its heir": {false, func(e *env) error {
			up := e.world.role("up")
			heir, err := e.acme.CreateRole(e.ctx, latchkey.Role{Name: "heir", Inherits: []string{up.ID}})
			e.ok(err)
			e.issue(latchkey.KindAPIKey, latchkey.Settings{Roles: []string{heir.ID}})
			return second(e.as.UpdateRole(e.ctx, up.ID, func(r *latchkey.Role) error {
				r.Inherits = []string{e.editor.ID}
				return nil
			}))
		}},
		"gives its rules to a role that is lent until Friday": {true, func(e *env) error {
			r := e.world.role("lent")
			e.issue(latchkey.KindAPIKey, latchkey.Settings{Roles: []string{r.ID}, RoleEnds: roleEnds{r.ID: e.friday}})
			return second(e.as.UpdateRole(e.ctx, r.ID, func(r *latchkey.Role) error {
				r.Permissions = e.editor.Permissions
				return nil
			}))
		}},
		"gives its rules to a role of one that has them until then": {false, func(e *env) error {
			r := e.world.role("other")
			e.issue(latchkey.KindAPIKey, latchkey.Settings{Roles: []string{r.ID, e.editor.ID},
				RoleEnds: roleEnds{e.editor.ID: e.friday}})
			return second(e.as.UpdateRole(e.ctx, r.ID, func(r *latchkey.Role) error {
				r.Permissions = e.editor.Permissions
				return nil
			}))
		}},
		"gives its rules to a role that one has until Friday, and another for good": {false, func(e *env) error {
			r := e.world.role("lent")
			e.issue(latchkey.KindAPIKey, latchkey.Settings{Roles: []string{r.ID}, RoleEnds: roleEnds{r.ID: e.friday}})
			e.issue(latchkey.KindAPIKey, latchkey.Settings{Roles: []string{r.ID}})
			return second(e.as.UpdateRole(e.ctx, r.ID, func(r *latchkey.Role) error {
				r.Permissions = e.editor.Permissions
				return nil
			}))
		}},
		"renames the role": {true, func(e *env) error {
			e.issue(latchkey.KindAPIKey, editor(e))
			return second(e.as.UpdateRole(e.ctx, e.editor.ID, func(r *latchkey.Role) error { r.Name = "renamed"; return nil }))
		}},
		"makes a role of its rules": {true, func(e *env) error { // that gives them to nobody yet
			return second(e.as.CreateRole(e.ctx, latchkey.Role{Name: "new", Permissions: e.editor.Permissions}))
		}},
	} {
		for how, exceeding := range map[string]bool{"": false, ", exceeding": true} {
			t.Run(what+how, func(t *testing.T) {
				ring := must(latchkey.NewKeyring(latchkey.Key{ID: 1, Secret: []byte(strings.Repeat("a", 32))}))
				e := &env{world: newWorld(t, func(o *latchkey.Options) {
					o.Keyring, o.Imported = ring, func(string) bool { return true }
				})}
				e.sooner, e.friday, e.saturday = e.now().Add(time.Hour), e.now().Add(2*time.Hour), e.now().Add(3*time.Hour)
				e.editor = e.world.role("editor", latchkey.Grant(latchkey.Update).On("doc/*"))
				e.viewer = e.world.role("viewer", latchkey.Grant(latchkey.Read).On("doc/*"))
				self, secret := e.issue(latchkey.KindAPIKey, latchkey.Settings{Roles: []string{e.viewer.ID, e.editor.ID},
					RoleEnds: roleEnds{e.editor.ID: e.friday}, Permissions: latchkey.Permissions{
						latchkey.Grant(latchkey.Any).On("latchkey/*")}})
				e.self, e.as = self, mustAs(e.world, e.access(secret))
				if exceeding { // that is about the bounds of its token, not about its rights
					e.as = e.as.Exceeding()
				}
				err := a.do(e)
				if a.may {
					require.NoError(t, err)
					return
				}
				require.ErrorIs(t, err, latchkey.ErrDenied)
			})
		}
	}
}

// What an actor minted, or narrowed itself to, for a time is no more than that.
func TestAnActorThatNarrowedItsRole(t *testing.T) {
	w := newWorld(t)
	r := w.role("r", readAll(), latchkey.Grant(latchkey.Any).On("latchkey/*"))
	_, secret := w.issue(latchkey.KindAPIKey, latchkey.Settings{Roles: []string{r.ID}})
	end := w.now().Add(time.Hour)
	narrow, err := w.access(secret).Narrow(w.ctx, latchkey.Narrowing{Roles: []string{r.ID}, RoleEnds: roleEnds{r.ID: end}})
	w.ok(err)
	spec := latchkey.Spec{Kind: latchkey.KindAPIKey, Permissions: latchkey.Permissions{readAll()}}
	_, _, err = mustAs(w, w.access(secret)).Issue(w.ctx, spec)
	w.ok(err)
	_, _, err = mustAs(w, narrow).Issue(w.ctx, spec)
	w.is(latchkey.ErrDenied, err)
	spec.Validity.NotAfter = end
	_, _, err = mustAs(w, narrow).Issue(w.ctx, spec)
	w.ok(err)
}

// Beyond a few ends, all of the later ones count as one, at the first of them. That refuses more, never less.
func TestManyEndsOfRoles(t *testing.T) {
	w := newWorld(t)
	s := latchkey.Settings{RoleEnds: roleEnds{},
		Permissions: latchkey.Permissions{latchkey.Grant(latchkey.Any).On("latchkey/*")}}
	var roles []latchkey.Role
	for i := range 12 {
		r := w.role(fmt.Sprint("r", i), latchkey.Grant(latchkey.Read).On(latchkey.Pattern(fmt.Sprint("x/", i))))
		s.Roles = append(s.Roles, r.ID)
		s.RoleEnds[r.ID] = w.now().Add(time.Duration(i+1) * time.Hour)
		roles = append(roles, r)
	}
	_, secret := w.issue(latchkey.KindAPIKey, s)
	as := mustAs(w, w.access(secret))
	try := func(i int, until time.Time) error {
		return third(as.Issue(w.ctx, latchkey.Spec{Kind: latchkey.KindAPIKey, Roles: []string{roles[i].ID},
			RoleEnds: roleEnds{roles[i].ID: until}}))
	}
	for i := range 12 {
		require.Equal(t, i < 8, try(i, s.RoleEnds[roles[i].ID]) == nil, "the role %d until its end", i)
		require.NoError(t, try(i, s.RoleEnds[roles[min(i, 7)].ID]), "the role %d until the eighth end", i)
		w.is(latchkey.ErrDenied, try(i, s.RoleEnds[roles[i].ID].Add(time.Microsecond)))
	}
}

// lending is a world of tokens and roles with ends, and what each may do at each moment by a plain model.
type lending struct {
	*world
	r       *rand.Rand
	from    time.Time
	roles   []string
	tokens  []string
	secrets map[string]string
}

const things = 5 // resources "t/0" …; a set of them is a bit mask

func (l *lending) rules(most int) (p latchkey.Permissions) {
	for range l.r.IntN(most + 1) {
		p = append(p, latchkey.Grant(latchkey.Read).On(latchkey.Pattern(fmt.Sprint("t/", l.r.IntN(things)))))
	}
	return p
}

func masked(p latchkey.Permissions) (m int) {
	for i := range things {
		if p.Allows(latchkey.Read, latchkey.Resource(fmt.Sprint("t/", i))) {
			m |= 1 << i
		}
	}
	return m
}

func (l *lending) moment() time.Time { return l.from.Add(time.Duration(1+l.r.IntN(6)) * time.Hour) }

// ends lends some of the roles for a time.
func (l *lending) ends(roles []string) roleEnds {
	out := roleEnds{}
	for _, id := range roles {
		if l.r.IntN(2) == 0 {
			out[id] = l.moment()
		}
	}
	return out
}

func (l *lending) some(from []string) (out []string) {
	for _, id := range from {
		if l.r.IntN(3) == 0 {
			out = append(out, id)
		}
	}
	return out
}

type lendingState struct {
	roles  map[string]latchkey.Role
	tokens map[string]latchkey.Token
}

func (l *lending) read() lendingState {
	s := lendingState{map[string]latchkey.Role{}, map[string]latchkey.Token{}}
	for r, err := range l.acme.Roles(l.ctx, latchkey.RoleQuery{}) {
		l.ok(err)
		s.roles[r.ID] = r
	}
	for t, err := range l.acme.Tokens(l.ctx, latchkey.TokenQuery{}) {
		l.ok(err)
		s.tokens[t.ID] = t
	}
	return s
}

func (s lendingState) role(id string) (m int) {
	r, ok := s.roles[id]
	if !ok {
		return 0
	}
	m = masked(r.Permissions)
	for _, up := range r.Inherits {
		m |= s.role(up)
	}
	return m
}

// held are the roles that a token has at a moment.
func (s lendingState) held(t latchkey.Token, at time.Time) (out []string) {
	if t.Full {
		return s.held(s.tokens[t.Parent], at)
	}
	for _, id := range t.Roles {
		end, ends := t.RoleEnds[id]
		if ends && !at.Before(end) {
			continue
		}
		if t.Parent == "" || slices.Contains(s.held(s.tokens[t.Parent], at), id) {
			out = append(out, id)
		}
	}
	return out
}

// rights are what a token may do at a moment.
func (s lendingState) rights(id string, at time.Time) (m int) {
	t, ok := s.tokens[id]
	if end := t.Validity.NotAfter; !ok || !end.IsZero() && !at.Before(end) {
		return 0
	}
	if t.Full {
		return s.rights(t.Parent, at)
	}
	m = masked(t.Permissions)
	for _, id := range s.held(t, at) {
		m |= s.role(id)
	}
	if t.Parent != "" {
		m &= s.rights(t.Parent, at)
	}
	return m
}

// Whatever an actor does, at no moment to come may anything do more by it than the actor may do then. And what Verify
// answers as time goes on is what the records say.
func TestLentRolesAreLentNoLonger(t *testing.T) {
	seeds := uint64(40)
	if testing.Short() {
		seeds = 8
	}
	done := map[bool]int{}
	for seed := range seeds {
		w := newWorld(t)
		l := &lending{world: w, r: rand.New(rand.NewPCG(seed, 9)), from: w.now(), secrets: map[string]string{}}
		for i := range 5 {
			r, err := l.acme.CreateRole(l.ctx, latchkey.Role{Name: fmt.Sprint(i), Permissions: l.rules(2),
				Inherits: l.some(l.roles)})
			l.ok(err)
			l.roles = append(l.roles, r.ID)
		}
		spec := func(admin bool) latchkey.Settings {
			s := latchkey.Settings{Roles: l.some(l.roles), Permissions: l.rules(1)}
			s.RoleEnds = l.ends(s.Roles)
			if l.r.IntN(4) == 0 {
				s.Validity.NotAfter = l.moment()
			}
			if admin {
				s.Permissions = append(s.Permissions, latchkey.Grant(latchkey.Any).On("latchkey/*"))
			}
			return s
		}
		keep := func(t latchkey.Token, text string) {
			l.tokens, l.secrets[t.ID] = append(l.tokens, t.ID), text
		}
		for i := range 6 {
			keep(l.issue(latchkey.KindAPIKey, spec(i < 3)))
		}
		actors := l.tokens[:3]
		for range 40 {
			actor := actors[l.r.IntN(3)]
			was := l.read()
			access, err := l.verify(l.secrets[actor])
			l.ok(err)
			as, target, shown := mustAs(w, access), l.tokens[l.r.IntN(len(l.tokens))], ""
			switch l.r.IntN(7) {
			case 0:
				var made latchkey.Token
				var secret latchkey.Secret
				if made, secret, err = as.Issue(l.ctx, spec(false).Spec(latchkey.KindAPIKey)); err == nil {
					keep(made, secret.Reveal())
				}
			case 1, 2:
				_, err = as.Update(l.ctx, target, func(t *latchkey.Token) error {
					if t.Parent == "" && l.r.IntN(2) == 0 {
						t.Roles = l.some(l.roles)
					}
					t.RoleEnds = l.ends(t.Roles)
					if l.r.IntN(3) == 0 && t.Parent == "" {
						t.Validity.NotAfter = time.Time{}
					}
					return nil
				})
			case 3:
				var secret latchkey.Secret
				if secret, err = as.Rotate(l.ctx, target, 0); err == nil {
					shown, l.secrets[target] = target, secret.Reveal()
				}
			case 4, 5:
				_, err = as.UpdateRole(l.ctx, l.roles[l.r.IntN(len(l.roles))], func(r *latchkey.Role) error {
					if l.r.IntN(2) == 0 {
						r.Permissions = l.rules(2)
					} else if i := slices.Index(l.roles, r.ID); i > 0 {
						r.Inherits = l.some(l.roles[:i])
					}
					return nil
				})
			case 6:
				n := latchkey.Narrowing{Lifetime: 9 * time.Hour}
				if held := access.Roles(); len(held) > 0 && l.r.IntN(2) == 0 {
					n.Roles = held[:1+l.r.IntN(len(held))]
					n.RoleEnds = l.ends(n.Roles)
				}
				if made, text, e := access.Mint(l.ctx, n); e == nil {
					keep(made, text.Reveal())
				} else {
					err = e
				}
			}
			if err != nil && !errors.Is(err, latchkey.ErrDenied) && !errors.Is(err, latchkey.ErrInvalid) {
				l.ok(err)
			}
			done[err == nil]++
			is := l.read()
			for id := range is.tokens {
				for h := range 8 {
					at := l.from.Add(time.Duration(h) * time.Hour)
					had := was.rights(id, at)
					if id == shown {
						had = 0
					}
					more := is.rights(id, at) &^ had
					require.Zero(t, more&^was.rights(actor, at), "seed %d: %s got %b by %s at hour %d: %v",
						seed, id, more, actor, h, err)
				}
			}
		}
		for h := range 8 {
			is := l.read()
			for _, id := range l.tokens {
				a, _ := l.verify(l.secrets[id]) // the zero Access of one that has ended
				for i := range things {
					may := a.Allows(latchkey.Read, latchkey.Resource(fmt.Sprint("t/", i)))
					require.Equal(t, is.rights(id, l.now())&(1<<i) != 0, may, "seed %d: %s and t/%d at hour %d", seed, id, i, h)
				}
			}
			w.turn(time.Hour)
		}
	}
	require.Greater(t, done[true], int(6*seeds))
	require.Greater(t, done[false], int(6*seeds))
}

// What is minted now has a role no longer than any token above it, also where the end of one that is not its parent was
// set after its parent was made.
func TestAnEarlierEndOfARoleBindsWhatIsMintedLater(t *testing.T) {
	for above := range 3 { // which of the tokens above it has the earlier end
		w := newWorld(t)
		r := w.role("editor", readAll())
		late, soon := w.now().Add(time.Hour), w.now().Add(time.Minute)
		key, text := w.issue(latchkey.KindAPIKey, latchkey.Settings{Roles: []string{r.ID},
			RoleEnds: roleEnds{r.ID: late}})
		chain := []latchkey.Token{key}
		for range 2 {
			var tok latchkey.Token
			tok, text = w.mint(w.access(text), latchkey.Narrowing{Roles: []string{"editor"}})
			require.Equal(t, roleEnds{r.ID: late}, tok.RoleEnds)
			chain = append(chain, tok)
		}
		w.update(chain[above], func(t *latchkey.Token) { t.RoleEnds = roleEnds{r.ID: soon} })
		for _, own := range []roleEnds{nil, {"editor": late}} {
			tok, _ := w.mint(w.access(text), latchkey.Narrowing{Roles: []string{"editor"}, RoleEnds: own})
			require.Equal(t, roleEnds{r.ID: soon}, tok.RoleEnds, "set at %d above", above)
		}
		tok, _ := w.mint(w.access(text), latchkey.Narrowing{Roles: []string{"editor"},
			RoleEnds: roleEnds{"editor": soon.Add(-time.Second)}})
		require.Equal(t, roleEnds{r.ID: soon.Add(-time.Second)}, tok.RoleEnds)
	}
}
