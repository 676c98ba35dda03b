package latchkey_test

import (
	"net/netip"
	"testing"

	"github.com/stretchr/testify/assert"

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

	forced := latchkey.Allow(latchkey.Create).On("a")
	w.ok(forced.Force(map[string]any{"x": "y"}).Validate())
	w.is(latchkey.ErrBadCondition, forced.Force(map[string]any{"x": latchkey.Self}).Validate())
}
