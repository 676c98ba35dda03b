package latchkey_test

import (
	"context"
	"net/netip"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/latchkey-go/latchkey"
)

func TestMintNarrowsItsParent(t *testing.T) {
	w := newWorld(t)
	reader := w.role("reader", latchkey.Allow(latchkey.Read).On("dataset/*"))
	writer := w.role("writer", latchkey.Allow(latchkey.Create, latchkey.Update).On("dataset/orders"))
	foreign := w.role("foreign", latchkey.Allow(latchkey.Any).On("*"))
	_, key := w.issue(latchkey.KindAPIKey, latchkey.Settings{Roles: []string{reader.ID, writer.ID}})
	parent := w.access(key)

	for name, c := range map[string]struct {
		n     latchkey.Narrowing
		allow []latchkey.Action // on dataset/orders, every row
		some  []latchkey.Action
	}{
		"nothing said": {latchkey.Narrowing{}, []latchkey.Action{"read", "create", "update"}, nil},
		"one role":     {latchkey.Narrowing{Roles: []string{reader.ID}}, []latchkey.Action{"read"}, nil},
		"a rule": {latchkey.Narrowing{Permissions: latchkey.Permissions{latchkey.Allow(latchkey.Any).On("*")}},
			[]latchkey.Action{"read", "create", "update"}, nil},
		"a rule elsewhere": {latchkey.Narrowing{Permissions: latchkey.Permissions{latchkey.Allow(latchkey.Any).On(
			"other/*")}}, nil, nil},
		"no rules at all": {latchkey.Narrowing{Permissions: latchkey.Permissions{}}, nil, nil},
		"a role, a deny": {latchkey.Narrowing{Roles: []string{writer.ID},
			Permissions: latchkey.Permissions{latchkey.Deny(latchkey.Update).On("*")}},
			[]latchkey.Action{"create"}, nil},
		"rows": {latchkey.Narrowing{Rows: []latchkey.Condition{eq("region", "EU")}}, nil,
			[]latchkey.Action{"read", "create", "update"}},
	} {
		t.Run(name, func(t *testing.T) {
			tok, secret := w.mint(parent, c.n)
			narrow, err := parent.Narrow(w.ctx, c.n)
			w.ok(err)
			for who, a := range map[string]latchkey.Access{"minted": w.access(secret), "from memory": w.access(secret),
				"narrowed": narrow} {
				for _, action := range []latchkey.Action{"read", "create", "update", "delete", "alter", "use"} {
					err := a.Check(action, "dataset/orders")
					switch {
					case contains(c.allow, action):
						assert.NoError(t, err, "%s %s", who, action)
					case contains(c.some, action):
						var denied *latchkey.DeniedError
						require.ErrorAs(t, err, &denied, "%s %s", who, action)
						assert.True(t, denied.Rows)
					default:
						assert.ErrorIs(t, err, latchkey.ErrDenied, "%s %s", who, action)
						_, err = a.Filter(action, "dataset/orders")
						assert.ErrorIs(t, err, latchkey.ErrDenied)
					}
				}
				assert.False(t, a.Allows(latchkey.Create, "latchkey/token/x"))
			}
			assert.Equal(t, latchkey.KindAccess, tok.Kind)
			assert.Equal(t, uint8(1), tok.Depth)
			assert.Equal(t, parent.TokenID(), tok.Parent)
		})
	}
	for name, n := range map[string]latchkey.Narrowing{
		"an empty list of roles":   {Roles: []string{}},
		"a role the parent lacks":  {Roles: []string{foreign.ID}},
		"it beside one it has":     {Roles: []string{reader.ID, foreign.ID}},
		"an unknown role":          {Roles: []string{"nope"}},
		"an empty role":            {Roles: []string{""}},
		"a negative credit limit":  {Limits: monthly(-1)},
		"a faulty row":             {Rows: []latchkey.Condition{latchkey.All()}},
		"a client without id":      {Client: latchkey.Client{Name: "Ada"}},
		"a bad domain":             {Restrictions: latchkey.Restrictions{Domains: []string{"a@b"}}},
		"a bad pattern":            {Permissions: latchkey.Permissions{latchkey.Allow(latchkey.Read).On("")}},
		"a forced value of a kind": {Forced: map[string]any{"x": []int{1}}},
	} {
		n.Lifetime = time.Hour
		_, _, err := parent.Mint(w.ctx, n)
		assert.ErrorIs(t, err, latchkey.ErrInvalid, name)
		_, err = parent.Narrow(w.ctx, n)
		assert.ErrorIs(t, err, latchkey.ErrInvalid, name)
	}
	for _, life := range []time.Duration{0, -1} {
		_, _, err := parent.Mint(w.ctx, latchkey.Narrowing{Lifetime: life})
		assert.ErrorIs(t, err, latchkey.ErrInvalid)
	}
	_, _, err := (latchkey.Access{}).Mint(w.ctx, latchkey.Narrowing{Lifetime: time.Hour})
	w.is(latchkey.ErrInvalidToken, err)
}

func TestWhoMayMint(t *testing.T) {
	w := newWorld(t)
	role := w.role("reader", readAll())
	hour := latchkey.Narrowing{Lifetime: time.Hour}

	_, pk := w.issue(latchkey.KindPublishable, latchkey.Settings{})
	_, _, err := w.access(pk).Mint(w.ctx, hour)
	w.is(latchkey.ErrDenied, err)

	_, sk := w.issue(latchkey.KindSecret, latchkey.Settings{})
	_, s := w.mint(w.access(sk), latchkey.Narrowing{Roles: []string{role.ID}})
	assert.True(t, w.access(s).Allows(latchkey.Read, "x"))
	assert.False(t, w.access(s).Allows(latchkey.Create, "x"))
	_, s = w.mint(w.access(sk), latchkey.Narrowing{})
	assert.True(t, w.access(s).Allows(latchkey.Create, "latchkey/token/x"), "all its parent may do")

	_, ss := w.issue(latchkey.KindSession, latchkey.Settings{})
	_, s = w.mint(w.access(ss), latchkey.Narrowing{Roles: []string{role.ID}})
	assert.False(t, w.access(s).Allows(latchkey.Read, "x"), "a session may name the role, and still gives what it has")

	n, err := w.access(sk).Narrow(w.ctx, latchkey.Narrowing{})
	w.ok(err)
	_, _, err = n.Mint(w.ctx, hour)
	w.is(latchkey.ErrInvalid, err)
	_, _, err = must(w.acme.Assume(latchkey.Client{ID: "7"}, nil)).Mint(w.ctx, hour)
	w.is(latchkey.ErrInvalid, err)

	secret := sk
	for range 4 {
		_, secret = w.mint(w.access(secret), latchkey.Narrowing{})
	}
	_, _, err = w.access(secret).Mint(w.ctx, hour)
	w.is(latchkey.ErrDenied, err)
}

func TestMintedTokensEndWithTheirParents(t *testing.T) {
	w := newWorld(t)
	end := w.now().Add(30 * time.Minute)
	key, secret := w.issue(latchkey.KindAPIKey, latchkey.Settings{Validity: latchkey.Validity{NotAfter: end}})
	tok, child := w.mint(w.access(secret), latchkey.Narrowing{Lifetime: 24 * time.Hour})
	assert.Equal(t, end, tok.Validity.NotAfter, "clamped, and shown")
	grand, _ := w.mint(w.access(child), latchkey.Narrowing{Lifetime: 10 * time.Minute})
	assert.Equal(t, w.now().Add(10*time.Minute), grand.Validity.NotAfter)
	w.update(key, func(t *latchkey.Token) { t.Validity.NotAfter = end.Add(time.Hour) })
	w.turn(30 * time.Minute)
	_, err := w.verify(child)
	w.is(latchkey.ErrExpired, err) // the child keeps the end it got
	w.access(secret)
}

func TestMintFromAddresses(t *testing.T) {
	w := newWorld(t)
	home, away := netip.MustParseAddr("10.0.0.1"), netip.MustParseAddr("192.0.2.1")
	_, secret := w.issue(latchkey.KindAPIKey,
		latchkey.Settings{Restrictions: latchkey.Restrictions{MintFrom: prefixes("10.0.0.0/8")}})
	at := func(secret string, from netip.Addr) latchkey.Access {
		return mustVerify(w, latchkey.Presented{Secret: secret, Address: from})
	}
	hour := latchkey.Narrowing{Lifetime: time.Hour}
	for _, from := range []netip.Addr{away, {}} {
		_, _, err := at(secret, from).Mint(w.ctx, hour)
		w.is(latchkey.ErrAddress, err)
	}
	_, child, err := at(secret, home).Mint(w.ctx, hour)
	w.ok(err)
	_, _, err = at(child.Reveal(), away).Mint(w.ctx, hour)
	w.ok(err) // children travel
}

func TestMintVerifiesTheParentAgain(t *testing.T) {
	w := newWorld(t)
	role := w.role("reader", readAll())
	key, secret := w.issue(latchkey.KindAPIKey, latchkey.Settings{Roles: []string{role.ID}})
	snapshot := w.access(secret)
	w.update(key, func(t *latchkey.Token) { t.Roles = nil })
	_, _, err := snapshot.Mint(w.ctx, latchkey.Narrowing{Lifetime: time.Hour, Roles: []string{role.ID}})
	w.is(latchkey.ErrInvalid, err)
	w.ok(w.acme.Revoke(w.ctx, key.ID, ""))
	_, _, err = snapshot.Mint(w.ctx, latchkey.Narrowing{Lifetime: time.Hour})
	w.is(latchkey.ErrRevoked, err)
	_, err = snapshot.Again(w.ctx)
	w.is(latchkey.ErrRevoked, err)
}

// A mint writes nothing if its parent is lost between its reads and its write.
func TestMintWhileTheParentChanges(t *testing.T) {
	for name, c := range map[string]struct {
		lose func(w *world, key latchkey.Token)
		want error
	}{
		"nothing":  {func(*world, latchkey.Token) {}, nil},
		"deleting": {func(w *world, key latchkey.Token) { w.ok(w.acme.Delete(w.ctx, key.ID)) }, latchkey.ErrUnknownToken},
		"revoking": {func(w *world, key latchkey.Token) { w.ok(w.acme.Revoke(w.ctx, key.ID, "")) }, latchkey.ErrRevoked},
		"disabling": {func(w *world, key latchkey.Token) {
			w.update(key, func(t *latchkey.Token) { t.Disabled = true })
		}, latchkey.ErrDisabled},
		"where it mints": {func(w *world, key latchkey.Token) {
			w.update(key, func(t *latchkey.Token) { t.Restrictions.MintFrom = prefixes("10.0.0.0/8") })
		}, latchkey.ErrAddress},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			key, secret := w.key(readAll())
			a := w.access(secret)
			done := w.store.before(func() { c.lose(w, key) })
			_, _, err := a.Mint(w.ctx, latchkey.Narrowing{Lifetime: time.Hour})
			require.True(t, done())
			require.ErrorIs(t, err, c.want)
		})
	}
}

// With MaxStale, too, a stored mint goes by all that was committed before it: also by what its write does not require.
func TestMintAfterALossElsewhere(t *testing.T) {
	for name, c := range map[string]struct {
		lose func(w *world, top latchkey.Token, role latchkey.Role)
		want error
	}{
		"nothing": {func(*world, latchkey.Token, latchkey.Role) {}, nil},
		"an ancestor is revoked": {func(w *world, top latchkey.Token, _ latchkey.Role) {
			w.ok(w.acme.Revoke(w.ctx, top.ID, ""))
		}, latchkey.ErrParent},
		"the role's right": {func(w *world, _ latchkey.Token, role latchkey.Role) {
			w.editRole(role, func(r *latchkey.Role) { r.Permissions = latchkey.Permissions{readAll()} })
		}, latchkey.ErrDenied},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			w.configure(func(o *latchkey.Owner) { o.Policy = latchkey.OwnerPolicy{MintRight: true} })
			role := w.role("minter", latchkey.Allow(latchkey.Mint).On("latchkey/token/*"))
			top, secret := w.issue(latchkey.KindAPIKey, latchkey.Settings{Roles: []string{role.ID}})
			_, child := w.mint(w.access(secret), latchkey.Narrowing{})
			o := w.options()
			o.MaxStale = time.Hour
			bounded := latchkey.New(w.store, &o)
			defer func() { _ = bounded.Close(context.Background()) }()
			a, err := bounded.Verify(w.ctx, latchkey.Presented{Secret: child})
			w.ok(err)
			_, _, err = a.Mint(w.ctx, latchkey.Narrowing{Lifetime: time.Minute})
			w.ok(err)
			_, err = bounded.Verify(w.ctx, latchkey.Presented{Secret: child})
			w.ok(err)
			c.lose(w, top, role)
			_, err = bounded.Verify(w.ctx, latchkey.Presented{Secret: child})
			w.ok(err) // within the bound
			_, _, err = a.Mint(w.ctx, latchkey.Narrowing{Lifetime: time.Minute})
			require.ErrorIs(t, err, c.want)
		})
	}
}

func TestForcedValues(t *testing.T) {
	w := newWorld(t)
	_, secret := w.key(latchkey.Allow(latchkey.Any).On("dataset/*"))
	_, child := w.mint(w.access(secret), latchkey.Narrowing{
		Rows: []latchkey.Condition{eq("region", "EU")}, Forced: map[string]any{"region": "EU"}})
	a := w.access(child)
	row, err := a.Prepare(latchkey.Create, "dataset/orders", orders, nil, latchkey.Row{"region": "US", "amount": "3"})
	w.ok(err)
	assert.Equal(t, latchkey.Row{"region": "EU", "amount": int64(3)}, row)
	_, err = a.Prepare(latchkey.Update, "dataset/orders", orders, latchkey.Row{"region": "EU"},
		latchkey.Row{"region": "US"})
	w.is(latchkey.ErrDenied, err)
	_, err = a.Prepare(latchkey.Update, "dataset/orders", orders, latchkey.Row{"region": "US"},
		latchkey.Row{"region": "EU"})
	w.is(latchkey.ErrDenied, err)
	_, err = a.Prepare(latchkey.Create, "dataset/orders", orders, nil, latchkey.Row{"nosuch": 1})
	w.is(latchkey.ErrBadCondition, err)
	_, _, err = a.Mint(w.ctx, latchkey.Narrowing{Lifetime: time.Hour, Forced: map[string]any{"region": "US"}})
	w.is(latchkey.ErrForced, err)
	_, grand := w.mint(a, latchkey.Narrowing{Forced: map[string]any{"region": "EU", "amount": 7}})
	row, err = w.access(grand).Prepare(latchkey.Create, "dataset/orders", orders, nil, latchkey.Row{"amount": 1})
	w.ok(err)
	assert.Equal(t, latchkey.Row{"region": "EU", "amount": int64(7)}, row)
}

// Mint validates what it was given once.
func TestMintValidatesOnce(t *testing.T) {
	asked := 0
	w := newWorld(t, func(o *latchkey.Options) { o.PublicSuffix = func(string) bool { asked++; return false } })
	_, secret := w.key(readAll())
	restrict := latchkey.Restrictions{Domains: []string{"*.example.com", "*.example.org"}}
	_, _, err := w.access(secret).Mint(w.ctx, latchkey.Narrowing{Lifetime: time.Hour, Restrictions: restrict})
	w.ok(err)
	assert.Equal(t, len(restrict.Domains), asked)
}

func TestClientCannotBeReplaced(t *testing.T) {
	w := newWorld(t)
	_, secret := w.key(latchkey.Allow(latchkey.Read).On("*").Where(eq("client", latchkey.ClientID)))
	_, child := w.mint(w.access(secret), latchkey.Narrowing{Client: latchkey.Client{ID: "42", Name: "Ada"}})
	other := latchkey.Narrowing{Lifetime: time.Hour, Client: latchkey.Client{ID: "7"}}
	_, _, err := w.access(child).Mint(w.ctx, other)
	w.is(latchkey.ErrInvalid, err)
	_, err = w.access(child).Narrow(w.ctx, other)
	w.is(latchkey.ErrInvalid, err)
	_, err = must(w.acme.Assume(latchkey.Client{ID: "42"}, nil)).Narrow(w.ctx, other)
	w.is(latchkey.ErrInvalid, err)

	_, grand := w.mint(w.access(child), latchkey.Narrowing{})
	assert.Equal(t, latchkey.Client{ID: "42", Name: "Ada"}, w.access(grand).Client(), "inherited")
	_, grand = w.mint(w.access(child), latchkey.Narrowing{Client: latchkey.Client{ID: "42", Name: "Ada L."}})
	assert.NoError(t, w.access(grand).CheckRow(latchkey.Read, "x", orders, latchkey.Row{"client": "42"}))
}

// A name of a client that is stored stays valid for that client, though no new one may be like it.
func TestAStoredNameOfAClientStays(t *testing.T) {
	w := newWorld(t)
	_, secret := w.key(readAll())
	const odd = "Ada \u202e"
	hour := func(id, name string) error {
		_, _, err := w.access(secret).Mint(w.ctx, latchkey.Narrowing{Lifetime: time.Hour,
			Client: latchkey.Client{ID: id, Name: name}})
		return err
	}
	require.ErrorContains(t, hour("41", odd), "Client.Name holds")
	w.ok(w.store.Store.Write(w.ctx, latchkey.Write{ID: uuid.Must(uuid.NewV7()), Owner: "acme", At: w.now(),
		Clients: []latchkey.Client{{ID: "41", Name: odd}}}))
	for _, beside := range []string{"40", "42", "43"} {
		w.ok(hour(beside, "Grace"))
	}
	w.ok(hour("41", odd))
	for _, other := range []latchkey.Client{{ID: "40", Name: odd}, {ID: "44", Name: odd}, {ID: "4", Name: odd},
		{ID: "41", Name: odd + "L."}} {
		require.ErrorContains(t, hour(other.ID, other.Name), "Client.Name holds", "%q", other)
	}
}

// A caller that may name any role must name one that exists.
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
