package latchkey_test

import (
	"context"
	"math/rand/v2"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/latchkey-go/latchkey"
	"github.com/latchkey-go/latchkey/memstore"
)

func TestCovers(t *testing.T) {
	const read, write = latchkey.Read, latchkey.Update
	rules := func(r ...latchkey.Rule) latchkey.Permissions { return r }
	own := latchkey.Where("owner", latchkey.Eq, latchkey.ClientID)
	red := latchkey.Where("colour", latchkey.Eq, "red")
	keys := latchkey.New(memstore.New(nil), nil)
	ann := latchkey.Client{ID: "ann"}
	for _, tt := range []struct {
		name   string
		client latchkey.Client
		has, p latchkey.Permissions
		want   bool
	}{
		{"the same", ann, rules(latchkey.Grant(read).On("a/*")), rules(latchkey.Grant(read).On("a/*")), true},
		{"less", ann, rules(latchkey.Grant(read, write).On("a/*")), rules(latchkey.Grant(read).On("a/b")), true},
		{"nothing", ann, nil, rules(), true},
		{"another action", ann, rules(latchkey.Grant(read).On("a/*")), rules(latchkey.Grant(write).On("a/b")), false},
		{"another resource", ann, rules(latchkey.Grant(read).On("a/b")), rules(latchkey.Grant(read).On("a/*")), false},
		{"a part of it", ann, rules(latchkey.Grant(read).On("a/b")), rules(latchkey.Grant(read, write).On("a/b")), false},
		{"some rows", ann, rules(latchkey.Grant(read).On("a").Where(red)), rules(latchkey.Grant(read).On("a")), false},
		{"but for a deny", ann, rules(latchkey.Grant(read).On("a/*"), latchkey.Deny(read).On("a/b")),
			rules(latchkey.Grant(read).On("a/*")), false},
		{"own rows", ann, rules(latchkey.Grant(read).On("a").Where(own)), rules(latchkey.Grant(read).On("a").Where(own)),
			true},
		{"own rows by value", ann, rules(latchkey.Grant(read).On("a").Where(own)),
			rules(latchkey.Grant(read).On("a").Where(latchkey.Where("owner", latchkey.Eq, "ann"))), true},
		{"another's rows", ann, rules(latchkey.Grant(read).On("a").Where(own)),
			rules(latchkey.Grant(read).On("a").Where(latchkey.Where("owner", latchkey.Eq, "bob"))), false},
		{"rows of whoever comes", latchkey.Client{}, rules(latchkey.Grant(read).On("b")),
			rules(latchkey.Grant(read).On("a").Where(own)), false},
		{"invalid", ann, rules(latchkey.Grant(read).On("*")), rules(latchkey.Grant(read).On("a/**/b")), false},
		{"exceed", ann, rules(latchkey.Grant(latchkey.Any).On("*")), rules(latchkey.Grant(latchkey.Exceed).On("a")), false},
	} {
		a, err := keys.For("acme").Assume(tt.client, tt.has)
		require.NoError(t, err, tt.name)
		require.Equal(t, tt.want, a.Covers(t.Context(), tt.p), tt.name)
	}
	require.False(t, latchkey.Access{}.Covers(t.Context(), nil))
	_, secret, err := keys.For("acme").Issue(t.Context(), latchkey.Spec{Kind: latchkey.KindSecret})
	require.NoError(t, err)
	all, err := keys.Verify(t.Context(), latchkey.Presented{Secret: secret.Reveal()})
	require.NoError(t, err)
	require.True(t, all.Covers(t.Context(), rules(latchkey.Grant(latchkey.Any).On("*"))))
	require.False(t, all.Covers(t.Context(), rules(latchkey.Grant(latchkey.Any).On("a/**/b"))))
	require.False(t, all.Covers(t.Context(), rules(latchkey.Grant(latchkey.Exceed).On("*"))))
	a, err := keys.For("acme").Assume(ann, rules(latchkey.Grant(read).On("a/*")))
	require.NoError(t, err)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	require.False(t, a.Covers(ctx, rules(latchkey.Grant(read).On("a/b"))))
}

// What an Access covers, it may do.
func TestCoveredIsAllowed(t *testing.T) {
	rnd := rand.New(rand.NewPCG(1, 2))
	patterns := []latchkey.Pattern{"*", "a", "a/*", "a/b", "a/{*}", "a/{*}/c", "b/*", "b"}
	actions := []latchkey.Action{"read", "update", "delete"}
	list := func() (p latchkey.Permissions) {
		for range 1 + rnd.IntN(4) {
			verb := []func(...latchkey.Action) latchkey.RuleStart{latchkey.Allow, latchkey.Grant, latchkey.Deny}[rnd.IntN(3)]
			r := verb(actions[rnd.IntN(3)]).On(patterns[rnd.IntN(len(patterns))])
			if rnd.IntN(3) == 0 {
				r = r.Where(latchkey.Where("n", latchkey.Lt, rnd.IntN(3)))
			}
			p = append(p, r)
		}
		return p
	}
	keys := latchkey.New(memstore.New(nil), nil)
	covered := 0
	for range 9000 {
		has, p := list(), list()
		require.NoError(t, has.Validate())
		a, err := keys.For("acme").Assume(latchkey.Client{}, has)
		require.NoError(t, err)
		if !a.Covers(t.Context(), p) {
			continue
		}
		for _, action := range actions {
			for _, on := range []latchkey.Resource{"a", "a/b", "a/x", "a/b/c", "a/x/c", "b", "b/x", "z"} {
				if p.Allows(action, on) {
					covered++
					require.True(t, a.Allows(action, on), "%v covers %v: %s %s", has, p, action, on)
				}
			}
		}
	}
	require.Greater(t, covered, 500)
}
