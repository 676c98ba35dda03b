package latchkey_test

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/latchkey-go/latchkey"
)

// oversized is a set of rules, each small enough, whose rows together are larger than a condition may be.
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

// Rules whose rows are too large together would allow nothing, and could be made readable later by somebody else.
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

// Rules that are too large together are saved beside strong ones, and taken away: by a role that a token has, one that
// a role inherits, one that a minted token has, and in the token itself.
func TestNobodyGainsByTakingAwayWhatWasTooLarge(t *testing.T) {
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

// A role that cannot be read allows nothing today, and what applies its Denies again allows nothing with it.
func TestNobodyBuildsOnARoleThatCannotBeRead(t *testing.T) {
	w := newWorld(t)
	broken := latchkey.Role{ID: "0193e000-0000-7000-8000-000000000001", Owner: "acme", Name: "broken",
		Permissions: latchkey.Permissions{{}}}
	_, err := w.store.Store.Write(w.ctx, latchkey.Write{ID: [16]byte{9}, Owner: "acme", Roles: []latchkey.Role{broken}})
	w.ok(err)
	as := mustAs(w, must(w.acme.Assume(latchkey.Client{ID: "7"}, inEU())))
	_, err = as.CreateRole(w.ctx, latchkey.Role{Name: "heir", Inherits: []string{broken.ID}, InheritDenies: true,
		Permissions: latchkey.Permissions{latchkey.Grant(latchkey.Any).On("*")}})
	w.is(latchkey.ErrDenied, err)
	_, err = w.acme.CreateRole(w.ctx, latchkey.Role{Name: "heir", Inherits: []string{broken.ID}, InheritDenies: true})
	w.ok(err) // the host may
}

// A sandbox token changes nothing that the answer of a live one depends on.
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

// What a call was judged by is required by its write, whoever changes it meanwhile.
func TestWhatWasJudgedIsRequired(t *testing.T) {
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
		"credits": {func(_ *world, s *latchkey.Settings) { s.Limits.Credits = 100 }, nil},
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

func foreignText(t *testing.T) string {
	t.Helper()
	w := newWorld(t)
	_, secret := w.key()
	return secret
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

// An actor without the right learns nothing of texts and roles.
func TestRightsAreAskedFirst(t *testing.T) {
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

func second[T any](_ T, err error) error        { return err }
func third[T, U any](_ T, _ U, err error) error { return err }

// A boundary that refers to who asks means something else for what the actor makes than for the actor: nobody gets
// round it by making a token.
func TestABoundaryThatRefersToWhoAsks(t *testing.T) {
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

// The same of the roles of who asks: they are those of the token that is made, and not the actor's.
func TestABoundaryThatRefersToTheRolesOfWhoAsks(t *testing.T) {
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
