package latchkey

import (
	"encoding/json"
	"fmt"
	"net/netip"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

func TestRoleValidate(t *testing.T) {
	good := Role{ID: "r", Name: "analyst", Origin: "datocms", Inherits: []string{"a", "b"}, Permissions: payroll,
		Extra: json.RawMessage(`{"a":1}`)}
	require.NoError(t, good.Validate())
	inherits := func(n int) (ids []string) {
		for i := range n {
			ids = append(ids, fmt.Sprint(i))
		}
		return ids
	}
	bound := good.Clone()
	bound.Name, bound.Origin, bound.Inherits = strings.Repeat("a", 256), strings.Repeat("a", 64), inherits(256)
	require.NoError(t, bound.Validate())
	for name, edit := range map[string]func(*Role){
		"no name":         func(r *Role) { r.Name = "" },
		"long name":       func(r *Role) { r.Name = strings.Repeat("a", 257) },
		"NUL":             func(r *Role) { r.Name = "a\x00" },
		"no UTF-8":        func(r *Role) { r.Name = "\xff" },
		"origin":          func(r *Role) { r.Origin = strings.Repeat("a", 65) },
		"inherits twice":  func(r *Role) { r.Inherits = []string{"a", "a"} },
		"inherits itself": func(r *Role) { r.Inherits = []string{"r"} },
		"inherits nobody": func(r *Role) { r.Inherits = []string{""} },
		"inherits many":   func(r *Role) { r.Inherits = inherits(257) },
		"rule":            func(r *Role) { r.Permissions = Permissions{{}} },
		"condition":       func(r *Role) { r.Permissions = Permissions{Allow(Read).On("a").Where(All())} },
		"boundary":        func(r *Role) { r.Boundary = Permissions{{}} },
		"boundary forces": func(r *Role) { r.Boundary = Permissions{Allow(Read).On("a").Force(Values{"x": 1})} },
		"extra":           func(r *Role) { r.Extra = json.RawMessage(`{`) },
		"long extra":      func(r *Role) { r.Extra = json.RawMessage(`"` + strings.Repeat("a", 1<<20) + `"`) },
	} {
		r := good.Clone()
		edit(&r)
		require.ErrorIs(t, r.Validate(), ErrInvalid, name)
	}
	require.NoError(t, good.Validate(), "the clones were edited, not the role")
}

func TestClonesShareNothing(t *testing.T) {
	extra, prefix := json.RawMessage(`{}`), []netip.Prefix{netip.MustParsePrefix("10.0.0.0/8")}
	r := Role{Inherits: []string{"a"}, Permissions: Permissions{Allow(Read).On("a")}, Extra: extra}
	c := r.Clone()
	require.Equal(t, r, c)
	c.Inherits[0], c.Permissions[0], c.Extra[0] = "b", Rule{}, 'x'
	require.Equal(t, Role{Inherits: []string{"a"}, Permissions: Permissions{Allow(Read).On("a")},
		Extra: json.RawMessage(`{}`)}, r)

	tok := func() Token {
		return Token{ID: "t", Rows: []Condition{inEU}, Forced: Values{"a": int64(1)}, Settings: Settings{
			Roles: []string{"a"}, Permissions: Permissions{Allow(Read).On("a")}, Extra: json.RawMessage(`{}`),
			Restrictions: Restrictions{Domains: []string{"a"}, Addresses: append([]netip.Prefix{}, prefix...),
				MintFrom: append([]netip.Prefix{}, prefix...)}}}
	}
	orig := tok()
	k := orig.Clone()
	require.Equal(t, orig, k)
	k.Rows[0], k.Forced["a"], k.Roles[0], k.Permissions[0], k.Extra[0] = Condition{}, 2, "b", Rule{}, 'x'
	k.Restrictions.Domains[0], k.Restrictions.Addresses[0], k.Restrictions.MintFrom[0] = "b",
		netip.Prefix{}, netip.Prefix{}
	require.Equal(t, tok(), orig)

	o := Owner{Boundary: Permissions{Allow(Read).On("a")}, Extra: []byte("{}")}
	d := o.Clone()
	require.Equal(t, o, d)
	d.Boundary[0], d.Extra[0] = Rule{}, 'x'
	require.Equal(t, Owner{Boundary: Permissions{Allow(Read).On("a")}, Extra: []byte("{}")}, o)
	require.Nil(t, Owner{}.Clone().Boundary)
	require.NotNil(t, Owner{Boundary: Permissions{}}.Clone().Boundary, "an empty boundary stays one")

	r = Role{Boundary: Permissions{Allow(Read).On("a")}}
	c = r.Clone()
	c.Boundary[0] = Rule{}
	require.Equal(t, Role{Boundary: Permissions{Allow(Read).On("a")}}, r)
	require.Nil(t, Role{}.Clone().Boundary)
	require.NotNil(t, Role{Boundary: Permissions{}}.Clone().Boundary, "an empty boundary stays one")
}

func TestCloneSharesNothing(t *testing.T) {
	token := func() Token {
		return Token{
			Settings: Settings{
				Roles: []string{"r"}, Permissions: Permissions{Allow(Read).On("*")}, Extra: json.RawMessage("1"),
				Restrictions: Restrictions{
					Domains: []string{"d"}, Addresses: []netip.Prefix{netip.MustParsePrefix("::/0")},
					MintFrom: []netip.Prefix{netip.MustParsePrefix("::/1")},
				},
			},
			Rows: []Condition{AllRows}, Forced: Values{"a": "b"},
		}
	}
	x := token()
	y := x.Clone()
	y.Roles[0], y.Permissions[0], y.Extra[0], y.Restrictions.Domains[0] = "", Rule{}, '2', ""
	y.Restrictions.Addresses[0], y.Restrictions.MintFrom[0], y.Rows[0] = netip.Prefix{}, netip.Prefix{}, Condition{}
	y.Forced["a"] = "c"
	assert.Equal(t, token(), x)

	role := func() Role {
		return Role{Inherits: []string{"r"}, Permissions: Permissions{Allow(Read).On("*")}, Extra: json.RawMessage("1")}
	}
	r := role()
	s := r.Clone()
	s.Inherits[0], s.Permissions[0], s.Extra[0] = "", Rule{}, '2'
	assert.Equal(t, role(), r)

	o := Owner{Boundary: Permissions{Allow(Read).On("*")}, Extra: []byte("1")}
	p := o.Clone()
	p.Boundary[0], p.Extra[0] = Rule{}, '2'
	assert.Equal(t, Owner{Boundary: Permissions{Allow(Read).On("*")}, Extra: []byte("1")}, o)
	assert.Nil(t, Owner{}.Clone().Boundary)
	assert.NotNil(t, Owner{Boundary: Permissions{}}.Clone().Boundary, "allowing nothing must not become no limit")
}
