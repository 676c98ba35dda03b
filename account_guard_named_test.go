package latchkey_test

import (
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/latchkey-go/latchkey"
)

// A secret key has Give without a rule. So only an actor that has all that a secret key has makes one, changes one, or
// gets a secret of one. To end one, and to switch it off, passes no right on.
func TestOnlyAllRightsMakeASecretKey(t *testing.T) {
	everything := latchkey.Permissions{latchkey.Allow(latchkey.Any).On("*", "latchkey/*")}
	giving := append(latchkey.Permissions{latchkey.Grant(latchkey.Give).On("*", "latchkey/*")}, everything[0])
	someGiving := append(latchkey.Permissions{latchkey.Grant(latchkey.Give).On("latchkey/client/*")}, everything[0])
	denied := latchkey.Permissions{giving[0], everything[0], latchkey.Deny(latchkey.Give).On("latchkey/client/x")}
	rules := func(p latchkey.Permissions) latchkey.Settings { return latchkey.Settings{Permissions: p} }
	withRing := func(o *latchkey.Options) {
		o.Keyring = must(latchkey.NewKeyring(latchkey.Key{ID: 1, Secret: []byte(strings.Repeat("a", 32))}))
		o.Imported = func(s string) bool { return strings.HasPrefix(s, "imported-") }
		o.Roles = []latchkey.Role{{Name: "all", Permissions: everything}, {Name: "all and give", Permissions: giving}}
	}
	type actor struct {
		kind  latchkey.Kind // 0: Assumed
		set   latchkey.Settings
		may   bool
		edits func(*world, latchkey.Access) latchkey.Access
	}
	for name, c := range map[string]actor{
		"a secret key":                    {latchkey.KindSecret, latchkey.Settings{}, true, nil},
		"everything":                      {latchkey.KindAPIKey, rules(everything), false, nil},
		"everything in a session":         {latchkey.KindSession, rules(everything), false, nil},
		"everything, Give named":          {latchkey.KindAPIKey, rules(giving), true, nil},
		"everything, some of Give":        {latchkey.KindAPIKey, rules(someGiving), false, nil},
		"everything, all but one of Give": {latchkey.KindAPIKey, rules(denied), false, nil},
		"by a role of code":               {latchkey.KindAPIKey, latchkey.Settings{Roles: []string{"all"}}, false, nil},
		"by a role of code with Give": {latchkey.KindAPIKey, latchkey.Settings{Roles: []string{"all and give"}}, true,
			nil},
		"an Assumed caller":             {0, rules(everything), false, nil},
		"an Assumed caller, Give named": {0, rules(giving), true, nil},
		"a secret key, narrowed to everything": {latchkey.KindSecret, latchkey.Settings{}, false,
			func(w *world, a latchkey.Access) latchkey.Access {
				return must(a.Narrow(w.ctx, latchkey.Narrowing{Permissions: everything}))
			}},
		"a secret key, narrowed to itself": {latchkey.KindSecret, latchkey.Settings{}, true,
			func(w *world, a latchkey.Access) latchkey.Access { return must(a.Narrow(w.ctx, latchkey.Narrowing{})) }},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t, withRing)
			victim, _ := w.issue(latchkey.KindSecret, latchkey.Settings{})
			off, _ := w.issue(latchkey.KindSecret, latchkey.Settings{Disabled: true})
			w.ok(errOf(w.acme.SigningSecret(w.ctx, victim.ID)))
			fresh, err := w.acme.Rotate(w.ctx, victim.ID, time.Hour)
			w.ok(err)
			w.ok(errOf(w.verify(fresh.Reveal())))
			old := must(w.acme.Secrets(w.ctx, victim.ID))[0].ID
			var a latchkey.Access
			if c.kind == 0 {
				a = must(w.acme.Assume(latchkey.Client{ID: "ada"}, c.set.Permissions))
			} else {
				_, secret := w.issue(c.kind, c.set)
				a = w.access(secret)
			}
			if c.edits != nil {
				a = c.edits(w, a)
			}
			as := mustAs(w, a).Exceeding() // so that only rights decide
			spec := latchkey.Spec{Kind: latchkey.KindSecret}
			for what, do := range map[string]func() error{
				"issue":  func() error { _, _, err := as.Issue(w.ctx, spec); return err },
				"import": func() error { return errOf(as.Import(w.ctx, spec, "imported-0123456789abcdef")) },
				"import a digest": func() error {
					return errOf(as.ImportDigest(w.ctx, spec, latchkey.KeptSecret{SHA256: strings.Repeat("ab", 32)}))
				},
				"rotate":         func() error { return errOf(as.Rotate(w.ctx, victim.ID, time.Hour)) },
				"reveal":         func() error { return errOf(as.Reveal(w.ctx, victim.ID)) },
				"signing secret": func() error { return errOf(as.SigningSecret(w.ctx, victim.ID)) },
				"end a secret":   func() error { return as.EndSecret(w.ctx, victim.ID, old, "") },
				"rename": func() error {
					return errOf(as.Update(w.ctx, victim.ID, func(t *latchkey.Token) error { t.Name = "mine"; return nil }))
				},
				"enable": func() error {
					return errOf(as.Update(w.ctx, off.ID, func(t *latchkey.Token) error { t.Disabled = false; return nil }))
				},
			} {
				if err := do(); c.may {
					assert.NoError(t, err, what)
				} else {
					assert.ErrorIs(t, err, latchkey.ErrDenied, what)
				}
			}
			all, err := as.RevealAll(w.ctx, victim.ID)
			w.ok(err)
			require.Equal(t, c.may, len(all) == 1)
			// What passes no right on.
			err = errOf(as.Update(w.ctx, victim.ID, func(t *latchkey.Token) error {
				t.Disabled, t.Name = true, "and renamed"
				return nil
			}))
			if !c.may {
				w.is(latchkey.ErrDenied, err)
			}
			w.ok(errOf(w.acme.Update(w.ctx, victim.ID, func(t *latchkey.Token) error { t.Disabled = false; return nil })))
			w.ok(errOf(as.Update(w.ctx, victim.ID, func(t *latchkey.Token) error { t.Disabled = true; return nil })))
			third, _ := w.issue(latchkey.KindSecret, latchkey.Settings{Name: "third"})
			swept, err := as.DisableAll(w.ctx, latchkey.Selector{CreatedBefore: w.now().Add(time.Hour)}, "")
			w.ok(err)
			require.NotContains(t, swept.RefusedIDs, third.ID)
			w.ok(as.Revoke(w.ctx, victim.ID, ""))
			w.ok(as.Delete(w.ctx, third.ID))
		})
	}
}
