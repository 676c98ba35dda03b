package latchkey_test

import (
	"net/netip"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/latchkey-go/latchkey"
)

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
	_, err := at("10.0.0.1").Narrow(w.ctx, latchkey.Narrowing{Limits: monthly(1)})
	w.is(latchkey.ErrInvalid, err)
	home := latchkey.Narrowing{Restrictions: latchkey.Restrictions{Addresses: prefixes("10.0.0.0/8")}}
	_, err = at("10.0.0.1").Narrow(w.ctx, home)
	w.ok(err)
	_, err = at("192.0.2.1").Narrow(w.ctx, home)
	w.is(latchkey.ErrAddress, err)
	_, err = w.access(secret).Narrow(w.ctx, home)
	w.is(latchkey.ErrAddress, err)
}

// A key that may do everything may narrow to any role. Once narrowed to some, it may narrow further to those only.
func TestNarrowedToRoles(t *testing.T) {
	w := newWorld(t)
	reader, other := w.role("reader", readAll()), w.role("other", readAll())
	_, secret := w.issue(latchkey.KindSecret, latchkey.Settings{})
	to := func(a latchkey.Access, roles ...string) (latchkey.Access, error) {
		return a.Narrow(w.ctx, latchkey.Narrowing{Roles: roles})
	}
	a, err := to(w.access(secret), reader.ID, other.ID)
	w.ok(err)
	a, err = to(a, reader.ID)
	w.ok(err)
	_, err = to(a, other.ID)
	w.is(latchkey.ErrInvalid, err)
	_, _, err = a.Mint(w.ctx, latchkey.Narrowing{Roles: []string{other.ID}, Lifetime: time.Hour})
	w.is(latchkey.ErrInvalid, err)
	same, err := w.access(secret).Narrow(w.ctx, latchkey.Narrowing{})
	w.ok(err)
	_, err = to(same, other.ID)
	w.ok(err)
	less, err := same.Narrow(w.ctx, latchkey.Narrowing{Permissions: latchkey.Permissions{
		latchkey.Allow(latchkey.Read).On("nothing")}})
	w.ok(err)
	require.Equal(t, "narrowing: no rule allows it", less.Explain(latchkey.Read, "dataset/a").Reason)
}

// A create on a malformed resource is denied, whatever a rule forces on every one.
func TestPrepareOnAMalformedResource(t *testing.T) {
	w := newWorld(t)
	a := must(w.acme.Assume(latchkey.Client{}, latchkey.Permissions{
		latchkey.Allow(latchkey.Create).On("*").Force(map[string]any{"owner": latchkey.Attr("team")})}))
	for on, want := range map[latchkey.Resource]error{"row": latchkey.ErrForced, "": latchkey.ErrDenied,
		"a//b": latchkey.ErrDenied, "row/*": latchkey.ErrDenied} {
		_, err := a.Prepare(latchkey.Create, on, orders, nil, latchkey.Row{"region": "EU"})
		w.is(want, err)
	}
}

// A reference without a value admits no row, whichever method asks.
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

	// Covers fills in the values of the caller on both sides.
	_, literal := w.issue(latchkey.KindAPIKey, latchkey.Settings{Roles: []string{role.ID},
		Permissions: latchkey.Permissions{latchkey.Allow(latchkey.Read).On("a").Where(eq("region", role.ID))}})
	ofRoles := latchkey.Permissions{
		latchkey.Allow(latchkey.Read).On("a").Where(latchkey.Where("region", latchkey.In, latchkey.SelfRoles))}
	assert.True(t, w.access(literal).Covers(w.ctx, ofRoles))
	_, foreign := w.issue(latchkey.KindAPIKey, latchkey.Settings{Roles: []string{w.role("other").ID},
		Permissions: latchkey.Permissions{latchkey.Allow(latchkey.Read).On("a").Where(eq("region", role.ID))}})
	assert.False(t, w.access(foreign).Covers(w.ctx, ofRoles))

	forced := latchkey.Allow(latchkey.Create).On("a")
	w.ok(forced.Force(map[string]any{"x": "y"}).Validate())
	w.is(latchkey.ErrBadCondition, forced.Force(map[string]any{"x": latchkey.SelfRoles}).Validate())
}

// The zero Access, which comes with an error, allows nothing.
func TestZeroAccessAllowsNothing(t *testing.T) {
	w := newWorld(t)
	_, secret := w.key(readAll())
	good := w.access(secret)
	for a, want := range map[latchkey.Access]error{{}: latchkey.ErrDenied, good: nil} {
		zero := a == latchkey.Access{}
		require.ErrorIs(t, a.Check(latchkey.Read, "data/x"), want)
		assert.Equal(t, !zero, a.Allows(latchkey.Read, "data/x"))
		_, err := a.Filter(latchkey.Read, "data/x")
		require.ErrorIs(t, err, want)
		require.ErrorIs(t, a.CheckRow(latchkey.Read, "data/x", orders, latchkey.Row{"region": "EU"}), want)
		_, err = a.Prepare(latchkey.Read, "data/x", orders, latchkey.Row{"region": "EU"}, latchkey.Row{"region": "EU"})
		require.ErrorIs(t, err, want)
		explained := a.Explain(latchkey.Read, "data/x")
		assert.Equal(t, zero, explained.Verdict == "none")
		assert.Equal(t, latchkey.Read, explained.Action)
		assert.EqualValues(t, "data/x", explained.Resource)
		if zero {
			want = latchkey.ErrInvalidToken
		}
		_, err = a.Narrow(w.ctx, latchkey.Narrowing{})
		require.ErrorIs(t, err, want)
		_, err = a.Again(w.ctx)
		require.ErrorIs(t, err, want)
		_, err = w.acme.As(a)
		require.ErrorIs(t, err, want)
		_, _, err = a.Mint(w.ctx, latchkey.Narrowing{Lifetime: time.Hour})
		require.ErrorIs(t, err, want)
		_, err = a.Reserve(w.ctx, "calls", latchkey.Uncounted, 1)
		require.ErrorIs(t, err, want)
		require.ErrorIs(t, spend(w.ctx, a, "calls", 1), want)
		_, err = a.Token(w.ctx)
		if zero {
			w.is(latchkey.ErrNotFound, err)
		} else {
			w.ok(err)
		}
		assert.Equal(t, zero, a.Owner() == "" && a.TokenID() == "" && a.Kind() == 0 && a.Roles() == nil)
	}
	assumed := must(w.acme.Assume(latchkey.Client{ID: "7"}, latchkey.Permissions{readAll()}))
	_, err := assumed.Token(w.ctx)
	w.is(latchkey.ErrNotFound, err)
	other := latchkey.New(w.store, nil)
	_, err = other.For("acme").As(good)
	w.is(latchkey.ErrUnknownToken, err)
}

// A row that the schema does not know is an error, and a row that no rule admits is refused.
func TestCheckRowRefuses(t *testing.T) {
	w := newWorld(t)
	_, secret := w.key(latchkey.Allow(latchkey.Read).On("data/x").Where(eq("region", "EU")),
		latchkey.Allow(latchkey.Read).On("data/y").Where(eq("elsewhere", 1)))
	a := w.access(secret)
	w.ok(a.CheckRow(latchkey.Read, "data/x", orders, latchkey.Row{"region": "EU"}))
	w.is(latchkey.ErrDenied, a.CheckRow(latchkey.Read, "data/x", orders, latchkey.Row{"region": "US"}))
	w.is(latchkey.ErrDenied, a.CheckRow(latchkey.Read, "data/x", orders, latchkey.Row{}))
	require.Equal(t, &latchkey.DeniedError{Action: latchkey.Read, Resource: "data/x", Rows: true},
		a.CheckRow(latchkey.Read, "data/x", orders, latchkey.Row{"region": "US"}), "other rows are allowed")
	w.is(latchkey.ErrDenied, a.CheckRow(latchkey.Update, "data/x", orders, latchkey.Row{"region": "EU"}))
	w.is(latchkey.ErrBadCondition, a.CheckRow(latchkey.Read, "data/y", orders, latchkey.Row{"region": "EU"}))
}

// An update without its row before must not count as a create, or it could take over another caller's row.
func TestPrepareChecksTheAction(t *testing.T) {
	w := newWorld(t)
	_, secret := w.key(latchkey.Allow(latchkey.Any).On("dataset/*").Where(eq("region", "EU")))
	a, row := w.access(secret), latchkey.Row{"region": "EU", "amount": 3}
	for name, tt := range map[string]struct {
		action        latchkey.Action
		before, after latchkey.Row
	}{
		"a create of a row that is there":    {latchkey.Create, row, row},
		"an update without the row before":   {latchkey.Update, nil, row},
		"an update without the row after":    {latchkey.Update, row, nil},
		"a delete without the row before":    {latchkey.Delete, nil, row},
		"a delete that leaves a row":         {latchkey.Delete, row, row},
		"no row at all":                      {latchkey.Update, nil, nil},
		"an action of the host's, of no row": {"publish", nil, nil},
	} {
		t.Run(name, func(t *testing.T) {
			got, err := a.Prepare(tt.action, "dataset/orders", orders, tt.before, tt.after)
			require.ErrorIs(t, err, latchkey.ErrInvalid)
			require.Nil(t, got)
		})
	}
	_, err := a.Prepare("publish", "dataset/orders", orders, row, row)
	w.ok(err)
}

func TestReferences(t *testing.T) {
	w := newWorld(t)
	tok, secret := w.key(
		latchkey.Allow(latchkey.Read).On("dataset/orders").Where(eq("owner", latchkey.Self)),
		latchkey.Allow(latchkey.Update).On("dataset/orders").Where(eq("client", latchkey.ClientID)),
		latchkey.Allow(latchkey.Delete).On("dataset/orders").Where(latchkey.Not(eq("client", latchkey.ClientID))),
	)
	_, child := w.mint(w.access(secret), latchkey.Narrowing{Client: latchkey.Client{ID: "42", Name: "Ada"}})
	admits := func(a latchkey.Access, action latchkey.Action, row latchkey.Row) bool {
		return a.CheckRow(action, "dataset/orders", orders, row) == nil
	}
	for range 2 {
		key, mint := w.access(secret), w.access(child)
		assert.True(t, admits(key, latchkey.Read, latchkey.Row{"owner": tok.ID}))
		assert.True(t, admits(mint, latchkey.Read, latchkey.Row{"owner": tok.ID}), "Self is the root of the chain")
		assert.False(t, admits(mint, latchkey.Read, latchkey.Row{"owner": mint.TokenID()}))
		assert.True(t, admits(mint, latchkey.Update, latchkey.Row{"client": "42"}))
		assert.False(t, admits(mint, latchkey.Update, latchkey.Row{"client": "43"}))
		assert.True(t, admits(mint, latchkey.Delete, latchkey.Row{"client": "43"}))
		// A reference without a value matches nothing, negated or not.
		assert.False(t, admits(key, latchkey.Update, latchkey.Row{"client": ""}))
		assert.False(t, admits(key, latchkey.Delete, latchkey.Row{"client": "43"}))
		_, err := key.Filter(latchkey.Update, "dataset/orders")
		assert.ErrorIs(t, err, latchkey.ErrDenied)
	}
	me := must(w.acme.Assume(latchkey.Client{ID: "7"}, latchkey.Permissions{
		latchkey.Allow(latchkey.Read).On("dataset/orders").Where(eq("owner", latchkey.Self))}))
	assert.True(t, admits(me, latchkey.Read, latchkey.Row{"owner": "7"}))
}
