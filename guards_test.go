package latchkey_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/latchkey-go/latchkey"
)

// What a record may hold is bounded, on every way in, and one step less is let through.
func TestRecordsAreBounded(t *testing.T) {
	long := strings.Repeat("x", 257)
	for name, c := range map[string]struct {
		good, bad func(w *world, s *latchkey.Settings)
	}{
		"name": {func(_ *world, s *latchkey.Settings) {
			s.Name = long[:256]
		}, func(_ *world, s *latchkey.Settings) { s.Name = long }},
		"a role named twice": {func(w *world, s *latchkey.Settings) {
			s.Roles = []string{w.role("a").ID, w.role("b").ID}
		}, func(w *world, s *latchkey.Settings) {
			s.Roles = slices.Repeat([]string{w.role("c").ID}, 2)
		}},
		"too many roles": {func(*world, *latchkey.Settings) {}, func(_ *world, s *latchkey.Settings) {
			for i := range 1001 {
				s.Roles = append(s.Roles, fmt.Sprint(i))
			}
		}},
		"idle": {func(_ *world, s *latchkey.Settings) { s.Validity.Idle = time.Second },
			func(_ *world, s *latchkey.Settings) { s.Validity.Idle = time.Second - 1 }},
		"an end before the begin": {func(w *world, s *latchkey.Settings) {
			s.Validity.NotBefore, s.Validity.NotAfter = w.now().Add(time.Hour), w.now().Add(time.Hour+time.Microsecond)
		}, func(w *world, s *latchkey.Settings) {
			s.Validity.NotBefore, s.Validity.NotAfter = w.now().Add(time.Hour), w.now().Add(time.Hour)
		}},
		"a year": {func(w *world, s *latchkey.Settings) {
			s.Validity.NotAfter = time.Date(9999, 12, 31, 0, 0, 0, 0, time.UTC)
		},
			func(w *world, s *latchkey.Settings) {
				s.Validity.NotAfter = time.Date(10000, 1, 1, 0, 0, 0, 0, time.UTC)
			}},
		"extra": {func(_ *world, s *latchkey.Settings) { s.Extra = json.RawMessage(`{}`) },
			func(_ *world, s *latchkey.Settings) { s.Extra = json.RawMessage(`{`) }},
		"much extra": {func(_ *world, s *latchkey.Settings) {
			s.Extra = json.RawMessage(`"` + strings.Repeat("x", 1<<20-2) + `"`)
		},
			func(_ *world, s *latchkey.Settings) {
				s.Extra = json.RawMessage(`"` + strings.Repeat("x", 1<<20-1) + `"`)
			}},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			var good, bad latchkey.Settings
			c.good(w, &good)
			w.issue(latchkey.KindAPIKey, good)
			c.bad(w, &bad)
			_, _, err := w.acme.Issue(w.ctx, bad.Spec(latchkey.KindAPIKey))
			w.is(latchkey.ErrInvalid, err)
			tok, _ := w.key()
			_, err = w.acme.Update(w.ctx, tok.ID, func(t *latchkey.Token) error { t.Settings = bad; return nil })
			w.is(latchkey.ErrInvalid, err)
		})
	}
	w := newWorld(t)
	tok, secret := w.key()
	for _, kind := range []latchkey.Kind{6, 99, 255} {
		_, _, err := w.acme.Issue(w.ctx, latchkey.Spec{Kind: kind})
		w.is(latchkey.ErrInvalid, err)
	}
	for origin, want := range map[string]error{
		long[:64]: nil, long[:65]: latchkey.ErrInvalid, "\x00": latchkey.ErrInvalid,
	} {
		_, _, err := w.acme.Issue(w.ctx, latchkey.Spec{Kind: latchkey.KindAPIKey, Origin: origin})
		require.ErrorIs(t, err, want)
		_, _, err = w.access(secret).Mint(w.ctx, latchkey.Narrowing{Lifetime: time.Hour, Origin: origin})
		require.ErrorIs(t, err, want)
		_, err = w.acme.CreateRole(w.ctx, latchkey.Role{Name: "n", Origin: origin})
		require.ErrorIs(t, err, want)
	}
	for id, want := range map[string]error{long[:256]: nil, long: latchkey.ErrInvalid, "\xff": latchkey.ErrInvalid} {
		_, err := w.access(secret).Narrow(w.ctx, latchkey.Narrowing{Client: latchkey.Client{ID: id}})
		require.ErrorIs(t, err, want)
		_, err = w.access(secret).Narrow(w.ctx, latchkey.Narrowing{Client: latchkey.Client{ID: "1", Name: id}})
		require.ErrorIs(t, err, want)
	}
	w.is(latchkey.ErrInvalid, w.acme.Revoke(w.ctx, tok.ID, long))
	w.access(secret)
	w.ok(w.acme.Revoke(w.ctx, tok.ID, long[:256]))
}

func TestConfigureRefuses(t *testing.T) {
	own := fmt.Errorf("my own")
	for name, c := range map[string]struct {
		edit func(*latchkey.Owner) error
		want error
	}{
		"nothing":        {func(*latchkey.Owner) error { return nil }, nil},
		"the id":         {func(o *latchkey.Owner) error { o.ID = "other"; return nil }, latchkey.ErrInvalid},
		"the version":    {func(o *latchkey.Owner) error { o.Version++; return nil }, latchkey.ErrInvalid},
		"when all ended": {func(o *latchkey.Owner) error { o.Since++; return nil }, latchkey.ErrInvalid},
		"a rule": {func(o *latchkey.Owner) error {
			o.Boundary = latchkey.Permissions{{}}
			return nil
		}, latchkey.ErrInvalid},
		"credits": {func(o *latchkey.Owner) error { o.Limits.Credits = -1; return nil }, latchkey.ErrInvalid},
		"much extra": {func(o *latchkey.Owner) error {
			o.Extra = bytes.Repeat([]byte("1"), 1<<20+1)
			return nil
		}, latchkey.ErrInvalid},
		"its own error": {func(o *latchkey.Owner) error { o.Disabled = true; return own }, own},
	} {
		w := newWorld(t)
		before, err := w.acme.Record(w.ctx)
		w.ok(err)
		require.ErrorIs(t, w.acme.Configure(w.ctx, c.edit), c.want, name)
		after, err := w.acme.Record(w.ctx)
		w.ok(err)
		before.Version = after.Version
		assert.Equal(t, before, after, name)
	}
}

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

// A role that nobody holds yet is no way to more rights, either.
func TestNobodyWidensARoleThatNobodyHolds(t *testing.T) {
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

// Each call of an actor asks for the right that is its own, and no other will do.
func TestEveryCallAsksItsOwnRight(t *testing.T) {
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
			for _, err = range as.Events(w.ctx, 0) {
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

// A token made without a keyring has no text to reveal, with one it has no signing secret without it.
func TestNothingIsRevealedWithoutAKeyring(t *testing.T) {
	w := newWorld(t)
	tok, _ := w.key()
	public, text := w.issue(latchkey.KindPublishable, latchkey.Settings{})
	ring := must(latchkey.NewKeyring(must(latchkey.GenerateKey(nil, 1))))
	keys := latchkey.New(w.store, &latchkey.Options{Clock: w.now, Keyring: ring})
	for _, acme := range []latchkey.Account{w.acme, keys.For("acme")} {
		_, err := acme.Reveal(w.ctx, tok.ID)
		w.is(latchkey.ErrNeedsKeyring, err)
		s, err := acme.Reveal(w.ctx, public.ID)
		w.ok(err)
		assert.Equal(t, text, s.Reveal())
	}
	_, err := w.acme.SigningSecret(w.ctx, tok.ID)
	w.is(latchkey.ErrNeedsKeyring, err)
	_, err = keys.For("acme").SigningSecret(w.ctx, tok.ID)
	w.ok(err)
}

// Who may name any role names one that is there.
func TestAMintNamesRolesThatAreThere(t *testing.T) {
	w := newWorld(t)
	role := w.role("there", readAll())
	for _, kind := range []latchkey.Kind{latchkey.KindSecret, latchkey.KindSession} {
		_, secret := w.issue(kind, latchkey.Settings{})
		a := w.access(secret)
		for id, want := range map[string]error{role.ID: nil, "nope": latchkey.ErrInvalid} {
			n := latchkey.Narrowing{Lifetime: time.Hour, Roles: []string{id}}
			_, _, err := a.Mint(w.ctx, n)
			require.ErrorIs(t, err, want)
			_, err = a.Narrow(w.ctx, n)
			require.ErrorIs(t, err, want)
		}
	}
}

// More roles than a role may inherit are refused, and not read one by one for ever.
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
		_, err := w.store.Store.Write(w.ctx, latchkey.Write{ID: [16]byte{7}, Owner: "acme", Roles: roles})
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
}

// A list with a rule that cannot be read allows nothing, for that rule may have been a Deny.
func TestAnInvalidListAllowsNothing(t *testing.T) {
	good := latchkey.Permissions{readAll()}
	for name, rules := range map[string]latchkey.Permissions{"before": {{}, readAll()}, "after": {readAll(), {}}} {
		assert.False(t, rules.Allows(latchkey.Read, "x"), name)
		assert.False(t, rules.Decide(latchkey.Read, "x").Allowed(), name)
		assert.True(t, rules.Decide(latchkey.Read, "x").Rows().IsNoRows(), name)
	}
	assert.True(t, good.Allows(latchkey.Read, "x"))
	assert.True(t, good.Decide(latchkey.Read, "x").Allowed())
}

// A reference that has no value admits no row, however it is asked.
func TestReferencesThatHaveNoValue(t *testing.T) {
	w := newWorld(t)
	role := w.role("r")
	rules := latchkey.Permissions{
		latchkey.Allow(latchkey.Read).On("client").Where(latchkey.Where("client", latchkey.Eq, latchkey.ClientID)),
		latchkey.Allow(latchkey.Read).On("other").Where(latchkey.Where("client", latchkey.Ne, latchkey.ClientID)),
		latchkey.Allow(latchkey.Read).On("roles").Where(latchkey.Where("region", latchkey.In, latchkey.SelfRoles)),
		latchkey.Allow(latchkey.Read).On("others").
			Where(latchkey.Not(latchkey.Where("region", latchkey.In, latchkey.SelfRoles))),
		latchkey.Allow(latchkey.Read).On("owner").Where(latchkey.Where("owner", latchkey.Eq, latchkey.OwnerID)),
	}
	_, without := w.key(rules...)
	_, secret := w.issue(latchkey.KindAPIKey, latchkey.Settings{Roles: []string{role.ID}, Permissions: rules})
	_, with := w.mint(w.access(secret), latchkey.Narrowing{Client: latchkey.Client{ID: "7"}})
	check := func(secret string, on latchkey.Resource, row latchkey.Row, may bool) {
		t.Helper()
		assert.Equal(t, may, w.access(secret).CheckRow(latchkey.Read, on, orders, row) == nil, on)
	}
	check(without, "client", latchkey.Row{"client": ""}, false)
	check(without, "other", latchkey.Row{"client": "7"}, false)
	check(without, "roles", latchkey.Row{"region": ""}, false)
	check(without, "others", latchkey.Row{"region": "x"}, false)
	check(without, "owner", latchkey.Row{"owner": "acme"}, true)
	assumed := must(w.acme.Assume(latchkey.Client{}, rules)) // it has no roles, and no id
	for on, row := range map[latchkey.Resource]latchkey.Row{"client": {"client": ""}, "other": {"client": "7"},
		"roles": {"region": ""}, "others": {"region": "x"}} {
		w.is(latchkey.ErrDenied, assumed.CheckRow(latchkey.Read, on, orders, row))
	}
	w.ok(assumed.CheckRow(latchkey.Read, "owner", orders, latchkey.Row{"owner": "acme"}))
	check(with, "client", latchkey.Row{"client": "7"}, true)
	check(with, "client", latchkey.Row{"client": "8"}, false)
	check(with, "other", latchkey.Row{"client": "8"}, true)
	check(with, "roles", latchkey.Row{"region": role.ID}, true)
	check(with, "others", latchkey.Row{"region": "x"}, true)
	check(with, "others", latchkey.Row{"region": role.ID}, false)
	check(with, "owner", latchkey.Row{"owner": "other"}, false)

	forced := latchkey.Allow(latchkey.Create).On("a")
	w.ok(forced.Force(map[string]any{"x": "y"}).Validate())
	w.is(latchkey.ErrBadCondition, forced.Force(map[string]any{"x": latchkey.Self}).Validate())
}

// What a parent may do with its roles does not grow by the roles that its mint names.
func TestTheRolesOfAParentAreItsOwn(t *testing.T) {
	w := newWorld(t)
	rows := latchkey.Allow(latchkey.Read).On("data").Where(latchkey.Where("region", latchkey.In, latchkey.SelfRoles))
	low, high := w.role("low", rows), w.role("high", rows)
	_, secret := w.issue(latchkey.KindSession, latchkey.Settings{Roles: []string{low.ID}})
	for name, c := range map[string]struct {
		role, row latchkey.Role
		may       bool
	}{
		"its own role":     {low, low, true},
		"a role it lacks":  {high, high, false},
		"of another's row": {high, low, false},
	} {
		n := latchkey.Narrowing{Roles: []string{c.role.ID}}
		_, child := w.mint(w.access(secret), n)
		narrowed, err := w.access(secret).Narrow(w.ctx, n)
		w.ok(err)
		for _, a := range []latchkey.Access{w.access(child), narrowed} {
			err := a.CheckRow(latchkey.Read, "data", orders, latchkey.Row{"region": c.row.ID})
			assert.Equal(t, c.may, err == nil, name)
		}
	}
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

// However many actions the rules of one pattern name, each is told from the others.
func TestManyActionsOfOnePattern(t *testing.T) {
	w := newWorld(t)
	action := func(i int) latchkey.Action { return latchkey.Action(fmt.Sprintf("act.%02d", i)) }
	rules := latchkey.Permissions{latchkey.Allow(latchkey.Any).On("data/x")}
	for i := range 40 {
		switch i % 4 {
		case 0:
			rules = append(rules, latchkey.Deny(action(i)).On("data/x"))
		case 1:
			rules = append(rules, latchkey.Deny(action(i)).On("data/x").Where(eq("region", "EU")))
		case 2:
			rules = append(rules, latchkey.Allow(action(i)).On("data/x"))
		}
	}
	_, secret := w.key(rules...)
	a := w.access(secret)
	for i := range 44 { // the last ones no rule names
		want := i >= 40 || i%4 > 1
		assert.Equal(t, want, a.Allows(action(i), "data/x"), action(i))
		assert.Equal(t, want, rules.Allows(action(i), "data/x"), action(i))
		_, err := a.Filter(action(i), "data/x")
		assert.Equal(t, i < 40 && i%4 == 0, err != nil, action(i))
	}
}

// An actor whose requests are signed makes nothing that can be used unsigned.
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

// What was wider than an actor before may stay so, and become narrower, but gains nothing.
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
		"more credits": {func(_ *world, s *latchkey.Settings) { s.Limits.Credits = 100 },
			func(_ *world, s *latchkey.Settings) { s.Limits.Credits = 10 },
			func(_ *world, t *latchkey.Token) { t.Limits.Credits = 11 }, false},
		"fewer credits": {func(_ *world, s *latchkey.Settings) { s.Limits.Credits = 100 },
			func(_ *world, s *latchkey.Settings) { s.Limits.Credits = 10 },
			func(_ *world, t *latchkey.Token) { t.Limits.Credits = 9 }, true},
		"another rate": {func(_ *world, s *latchkey.Settings) { s.Limits.Rate = rate(100) },
			func(_ *world, s *latchkey.Settings) { s.Limits.Rate = rate(10) },
			func(_ *world, t *latchkey.Token) { t.Limits.Rate = rate(9) }, false},
		"a later end beside credits": {func(_ *world, s *latchkey.Settings) { s.Limits.Credits = 100 },
			func(w *world, s *latchkey.Settings) {
				s.Limits.Credits, s.Validity.NotAfter = 10, w.now().Add(time.Hour)
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

// A minted token that allows nothing today, for its rows are too large together, is judged by what it would allow.
func TestAMintedTokenIsJudgedAsItBecomes(t *testing.T) {
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
				_, err := w.store.Store.Write(w.ctx, latchkey.Write{ID: [16]byte{7}, Owner: "acme",
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

func TestNarrowRefuses(t *testing.T) {
	w := newWorld(t)
	_, secret := w.key(readAll())
	at := func(address string) latchkey.Access {
		return mustVerify(w, latchkey.Presented{Secret: secret, Address: netip.MustParseAddr(address)})
	}
	for name, r := range map[string]latchkey.Restrictions{
		"signed":         {Signed: true},
		"domains":        {Domains: []string{"example.com"}},
		"where it mints": {MintFrom: prefixes("10.0.0.0/8")},
	} {
		_, err := at("10.0.0.1").Narrow(w.ctx, latchkey.Narrowing{Restrictions: r})
		assert.ErrorIs(t, err, latchkey.ErrInvalid, name)
	}
	_, err := at("10.0.0.1").Narrow(w.ctx, latchkey.Narrowing{Limits: latchkey.Limits{Credits: 1}})
	w.is(latchkey.ErrInvalid, err)
	home := latchkey.Narrowing{Restrictions: latchkey.Restrictions{Addresses: prefixes("10.0.0.0/8")}}
	_, err = at("10.0.0.1").Narrow(w.ctx, home)
	w.ok(err)
	_, err = at("192.0.2.1").Narrow(w.ctx, home)
	w.is(latchkey.ErrAddress, err)
	_, err = w.access(secret).Narrow(w.ctx, home)
	w.is(latchkey.ErrAddress, err)
}
