package latchkey_test

import (
	"context"
	"fmt"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/latchkey-go/latchkey"
	"github.com/latchkey-go/latchkey/memstore"
)

// decided is a caller, and what it is asked.
type decided struct {
	access latchkey.Access
	on     []latchkey.Resource
}

// heldBy issues a token with roles, and verifies it.
func heldBy(b *testing.B, roles []latchkey.Role, own latchkey.Permissions, client latchkey.Client) latchkey.Access {
	b.Helper()
	ctx := context.Background()
	keys := latchkey.New(memstore.New(nil), nil)
	b.Cleanup(func() { require.NoError(b, keys.Close(ctx)) })
	acme := keys.For("acme")
	spec := latchkey.Spec{Kind: latchkey.KindAPIKey, Client: client}
	spec.Permissions = own
	for _, r := range roles {
		r, err := acme.CreateRole(ctx, r)
		require.NoError(b, err)
		spec.Roles = append(spec.Roles, r.ID)
	}
	_, secret, err := acme.Issue(ctx, spec)
	require.NoError(b, err)
	access, err := keys.Verify(ctx, latchkey.Presented{Secret: secret.Reveal()})
	require.NoError(b, err)
	return access
}

// grants is a caller whose one role grants n resources.
func grants(b *testing.B, n int) decided {
	var d decided
	var rules latchkey.Permissions
	for i := range n {
		on := latchkey.Path("dataset", fmt.Sprintf("d%06d", i))
		d.on = append(d.on, on)
		rules = append(rules, latchkey.Grant(latchkey.Read).On(latchkey.Exactly(on)))
	}
	d.on = d.on[:min(n, 1024)]
	d.access = heldBy(b, []latchkey.Role{{Name: "reader", Permissions: rules}}, nil, latchkey.Client{})
	return d
}

// roles is a caller with n roles, of which the last one allows. They speak of different resources, or all of the same
// one: then the others allow other actions and some rows.
func roles(b *testing.B, n int, same bool) decided {
	var list []latchkey.Role
	for i := range n {
		on := latchkey.Pattern(fmt.Sprintf("kind%d/*", i))
		if same {
			on = "dataset/*"
		}
		rules := latchkey.Permissions{latchkey.Allow(latchkey.Update).On(on),
			latchkey.Allow(latchkey.Read).On(on).Where(latchkey.Where("region", latchkey.Eq, i))}
		if i == n-1 {
			rules = latchkey.Permissions{latchkey.Allow(latchkey.Read).On("dataset/*")}
		}
		list = append(list, latchkey.Role{Name: fmt.Sprint("role ", i), Permissions: rules})
	}
	return decided{heldBy(b, list, nil, latchkey.Client{}), []latchkey.Resource{"dataset/orders"}}
}

// minted is a caller whose token was minted depth times, each time for less.
func minted(b *testing.B, depth int) decided {
	ctx := context.Background()
	d := grants(b, 100)
	for range depth {
		_, secret, err := d.access.Mint(ctx, latchkey.Narrowing{Lifetime: time.Hour,
			Permissions: latchkey.Permissions{latchkey.Allow(latchkey.Read).On("dataset/*")}})
		require.NoError(b, err)
		d.access, err = d.access.Manager().Verify(ctx, latchkey.Presented{Secret: secret.Reveal()})
		require.NoError(b, err)
	}
	return d
}

// own is a caller whose token has rules of its own.
func own(b *testing.B, on latchkey.Resource, rules ...latchkey.Rule) decided {
	return decided{heldBy(b, nil, rules, latchkey.Client{ID: "u-42"}), []latchkey.Resource{on}}
}

// decisions are the callers of the benchmarks, by name.
var decisions = []struct {
	name string
	of   func(b *testing.B) decided
}{
	{"grants=1", func(b *testing.B) decided { return grants(b, 1) }},
	{"grants=100", func(b *testing.B) decided { return grants(b, 100) }},
	{"grants=10000", func(b *testing.B) decided { return grants(b, 10_000) }},
	{"grants=100000", func(b *testing.B) decided { return grants(b, 100_000) }},
	{"roles=20", func(b *testing.B) decided { return roles(b, 20, false) }},
	{"roles=100", func(b *testing.B) decided { return roles(b, 100, false) }},
	{"roles=20/of-one-resource", func(b *testing.B) decided { return roles(b, 20, true) }},
	{"roles=100/of-one-resource", func(b *testing.B) decided { return roles(b, 100, true) }},
	{"minted=4", func(b *testing.B) decided { return minted(b, 4) }},
	{"beneath", func(b *testing.B) decided {
		return own(b, "user/u-42/inbox", latchkey.Allow(latchkey.Read).On("user/u-42/*"))
	}},
	{"any-segment", func(b *testing.B) decided {
		return own(b, "user/u-42/inbox", latchkey.Allow(latchkey.Read).On("user/{*}/*"))
	}},
	{"client-segment", func(b *testing.B) decided {
		return own(b, "user/u-42/inbox", latchkey.Allow(latchkey.Read).On("user/{*client}/*"))
	}},
	{"any-segment/inner", func(b *testing.B) decided {
		return own(b, "user/u-42/inbox", latchkey.Allow(latchkey.Read).On("user/{*}/inbox"))
	}},
	{"attribute", func(b *testing.B) decided {
		return own(b, "user/u-42/inbox", latchkey.Allow(latchkey.Read).On("user/u-42/*"),
			latchkey.Grant(latchkey.Read).On("team/*").Where(latchkey.Where("team", latchkey.Eq, latchkey.Attr("team"))))
	}},
}

// BenchmarkAccessAllows asks 1,024 questions in turn, or the one that there is.
func BenchmarkAccessAllows(b *testing.B) {
	for _, d := range decisions {
		b.Run(d.name, func(b *testing.B) {
			d := d.of(b)
			for range 100_000 / len(d.on) {
				for _, on := range d.on {
					require.True(b, d.access.Allows(latchkey.Read, on))
				}
			}
			b.ReportAllocs()
			i := 0
			for b.Loop() {
				if !d.access.Allows(latchkey.Read, d.on[i]) {
					b.Fatal("denied")
				}
				if i++; i == len(d.on) {
					i = 0
				}
			}
		})
	}
}

// BenchmarkAccessAllowsQuestion asks prepared questions.
func BenchmarkAccessAllowsQuestion(b *testing.B) {
	for _, d := range decisions {
		b.Run(d.name, func(b *testing.B) {
			d := d.of(b)
			var asked []latchkey.PreparedQuestion
			for _, on := range d.on {
				asked = append(asked, latchkey.PrepareQuestion(latchkey.Read, on))
			}
			for range 100_000 / len(asked) {
				for _, q := range asked {
					require.True(b, d.access.AllowsQuestion(q))
				}
			}
			b.ReportAllocs()
			i := 0
			for b.Loop() {
				if !d.access.AllowsQuestion(asked[i]) {
					b.Fatal("denied")
				}
				if i++; i == len(asked) {
					i = 0
				}
			}
		})
	}
}
