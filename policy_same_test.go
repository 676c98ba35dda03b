package latchkey

import (
	"maps"
	"math/rand/v2"
	"testing"

	"github.com/stretchr/testify/require"
)

// Two policies of one caller, such as a token's before and after a change: references compare by their names.
func TestWithinForOneCaller(t *testing.T) {
	by := func(v any) Permissions { return Permissions{Allow(Read).On("a").Where(Where("by", Eq, v))} }
	forced := func(v any) Permissions { return Permissions{Allow(Create).On("a").Force(map[string]any{"by": v})} }
	on := func(p ...Pattern) Permissions { return Permissions{Allow(Read).On(p...)} }
	others := Permissions{Allow(Read).On("a"), Deny(Read).On("a").Where(Where("by", Eq, Self))}
	for name, c := range map[string]struct {
		p, q Permissions
		want bool
	}{
		"who asks": {by(Self), by(Self), true},
		"who asks, by another way": {by(ClientID),
			Permissions{Allow(Read).On("a").Where(Not(Where("by", Ne, ClientID)))}, true},
		"who asks in every row":               {by(Self), on("a"), true},
		"every row in who asks":               {on("a"), by(Self), false},
		"the token in the client":             {by(Self), by(ClientID), false},
		"an attribute in itself":              {by(Attr("team")), by(Attr("team")), true},
		"an attribute in another":             {by(Attr("team")), by(Attr("unit")), false},
		"a value in a reference":              {by("EU"), by(Attr("team")), false},
		"a reference in a value":              {by(Attr("team")), by("EU"), false},
		"what is not mine in all":             {others, on("a"), true},
		"all in what is not mine":             {on("a"), others, false},
		"forced alike":                        {forced(Self), forced(Self), true},
		"forced otherwise":                    {forced(Self), forced(ClientID), false},
		"forced in free":                      {forced(Self), Permissions{Allow(Create).On("a")}, true},
		"free in forced":                      {Permissions{Allow(Create).On("a")}, forced(Self), false},
		"the client's own":                    {on("user/{*client}"), on("user/{*client}"), true},
		"the client's own in everybody's":     {on("user/{*client}"), on("user/*"), true},
		"everybody's in the client's own":     {on("user/*"), on("user/{*client}"), false},
		"one client in the client's own":      {on("user/42"), on("user/{*client}"), false},
		"the client's own in that of another": {on("user/{*client}"), on("user/42"), false},
		"the client's own but one": {on("user/{*client}"),
			Permissions{Allow(Read).On("user/{*client}"), Deny(Read).On("user/42")}, false},
	} {
		p, q := newPolicy([]layer{{rules: c.p}}, nil), newPolicy([]layer{{rules: c.q}}, nil)
		require.Equal(t, c.want, p.withinSame(t.Context(), q), name)
		if p.within(t.Context(), q) {
			require.True(t, c.want, "%s: within for all callers", name)
		}
	}
}

// Whoever the caller is, with or without the values: no row is admitted by g and not by h.
func TestConditionsWithinOthersForOneCallerAreSound(t *testing.T) {
	values := []any{"a", "b", Self, ClientID, OwnerID}
	var random func(r *rand.Rand, depth int) Condition
	random = func(r *rand.Rand, depth int) Condition {
		switch n := r.IntN(8); {
		case n < 4 || depth > 2:
			op := []Op{Eq, Ne, Lt, Ge}[r.IntN(4)]
			return Where([]string{"x", "y"}[r.IntN(2)], op, values[r.IntN(len(values))])
		case n < 6:
			return Not(random(r, depth+1))
		case n == 6:
			return All(random(r, depth+1), random(r, depth+1))
		default:
			return AnyOf(random(r, depth+1), random(r, depth+1))
		}
	}
	var callers []refValues
	for _, self := range []any{nil, "a", "b"} {
		for _, client := range []any{nil, "a", "b"} {
			known := map[RefVar]any{Self: self, ClientID: client, OwnerID: "b"}
			maps.DeleteFunc(known, func(_ RefVar, v any) bool { return v == nil })
			callers = append(callers, lookup(known))
		}
	}
	s := NewSchema(Fields{"x": {Column: "x", Type: Text}, "y": {Column: "y", Type: Text}})
	yes := 0
	eachWorld(t, 20_000, func(t *testing.T, r *rand.Rand) {
		g, h := random(r, 0), random(r, 0)
		w := subsumption{left: maxSteps, same: true}
		if !w.implies(g, h) {
			return
		}
		if g.hasRefs() && h.hasRefs() && !g.Equal(h) {
			yes++
		}
		for _, caller := range callers {
			inner, err := s.Bind(g.resolve(caller))
			require.NoError(t, err)
			outer, err := s.Bind(h.resolve(caller))
			require.NoError(t, err)
			for _, x := range []any{nil, "a", "b", "c"} {
				for _, y := range []any{nil, "a", "b", "c"} {
					row := Row{"x": x, "y": y}
					require.False(t, inner.Match(row) && !outer.Match(row), "%v within %v: %v", g, h, row)
				}
			}
		}
	})
	t.Logf("%d times yes", yes)
	if !testing.Short() {
		require.Greater(t, yes, 100)
	}
}
