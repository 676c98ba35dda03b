package latchkey

import (
	"encoding/json"
	"math"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

func implies(g, h Condition) bool {
	w := subsumption{left: maxSteps}
	return w.implies(g, h)
}

func TestComparisonsWithinOthers(t *testing.T) {
	is := func(op Op, v any) Condition { return Where("x", op, v) }
	for _, c := range []struct {
		g, h Condition
		want bool
	}{
		{is(Lt, 500), is(Lt, 1000), true},
		{is(Lt, 1000), is(Lt, 500), false},
		{is(Lt, 500), is(Le, 500), true},
		{is(Le, 500), is(Lt, 500), false},
		{is(Le, 499), is(Lt, 500), true}, // by the order; 499 is not less than 500 by rounding
		{is(Gt, 1000), is(Gt, 500), true},
		{is(Ge, 1000), is(Gt, 500), true},
		{is(Gt, 500), is(Ge, 500), true},
		{is(Gt, 500), is(Lt, 1000), false},
		{is(Eq, 5), is(Lt, 1000), true},
		{is(Eq, 5000), is(Lt, 1000), false},
		{is(Eq, 5), is(Ne, 6), true},
		{is(Eq, 5), is(IsNull, false), true},
		{is(Eq, 5), is(IsNull, true), false},
		{is(IsNull, false), Not(is(In, []int{})), false}, // a value that does not fit is unknown
		{is(Eq, 5), Not(is(In, []int{})), true},
		{is(IsNull, true), is(IsNull, false), false},
		{is(In, []int{5, 7}), is(In, []int{5, 6, 7}), true},
		{is(In, []int{5, 8}), is(In, []int{5, 6, 7}), false},
		{is(In, []int{1, 2}), is(In, []int{1, 2, 3}), true},
		{is(In, []int{1, 2}), is(Lt, 10), true},
		{is(In, []int{1, 20}), is(Lt, 10), false},
		{Not(is(In, []int{5, 6, 7})), is(Ne, 6), true},
		{Not(is(In, []int{5, 6, 7})), is(Ne, 8), false},
		{Not(is(Ge, 500)), is(Lt, 1000), true},
		{All(is(Ge, 10), is(Lt, 20)), All(is(Gt, 5), is(Le, 20)), true},
		{is(Lt, 500), AnyOf(is(Lt, 100), is(Lt, 1000)), true},
		{is(Lt, 500), is(Ne, 500), true},
		{is(Lt, 500), is(Ne, 499), false},
		{is(StartsWith, "ab"), is(StartsWith, "a"), true},
		{is(StartsWith, "a"), is(StartsWith, "ab"), false},
		{is(StartsWith, "ab"), is(Contains, "b"), true},
		{is(Contains, "abc"), is(Contains, "b"), true},
		{is(Eq, "abc"), is(StartsWith, "a"), true},
		{is(Eq, "bc"), is(StartsWith, "a"), false},
		{is(In, []string{"ab", "ac"}), is(StartsWith, "a"), true},
		{Not(is(StartsWith, "a")), Not(is(StartsWith, "ab")), true},
		{is(Eq, "2026-11-22T10:00:00Z"), is(Lt, "2026-11-22T12:00:00+01:00"), true},

		// Texts with a prefix, of which the prefix is the least and none is the greatest.
		{is(StartsWith, "a"), is(Lt, "b"), true},
		{is(StartsWith, "a"), is(Le, "b"), true},
		{is(StartsWith, "a"), is(Lt, "ab"), false}, // "ac"
		{is(StartsWith, "a"), is(Le, "ab"), false}, // the same
		{is(StartsWith, "a"), is(Lt, "a"), false},
		{is(StartsWith, "a"), is(Le, "a"), false}, // "ab"
		{is(StartsWith, "b"), is(Lt, "a"), false},
		{is(StartsWith, "b"), is(Ge, "a"), true},
		{is(StartsWith, "b"), is(Ge, "b"), true},
		{is(StartsWith, "b"), is(Ge, "ba"), false}, // "b"
		{is(StartsWith, "b"), is(Gt, "a"), true},
		{is(StartsWith, "b"), is(Gt, "b"), false}, // "b"
		{is(StartsWith, "a"), is(Contains, "b"), false},
		{is(StartsWith, "a"), is(Ne, "b"), true},
		{is(StartsWith, "a"), is(Ne, "ab"), false},
		{is(StartsWith, "a"), is(Ne, "a"), false},
		{is(StartsWith, "ab"), is(Ne, "a"), true},
		{is(StartsWith, "a"), Not(is(StartsWith, "b")), true},
		{is(StartsWith, "a"), Not(is(StartsWith, "ab")), false},
		{is(StartsWith, "ab"), Not(is(StartsWith, "a")), false},
		{is(StartsWith, "a"), Not(is(In, []string{"b", "c"})), true},
		{is(StartsWith, "a"), Not(is(In, []string{"b", "ac"})), false},
		{is(StartsWith, "a"), Not(is(Contains, "a")), false},

		// Texts with a part.
		{is(Contains, "b"), is(Contains, "abc"), false},
		{is(Contains, "ab"), is(StartsWith, "a"), false}, // "cab"
		{is(Contains, "ab"), is(Ne, "a"), true},
		{is(Contains, "ab"), is(Ne, "cab"), false},
		{is(Contains, "ab"), Not(is(In, []string{"a", "b"})), true},
		{is(Contains, "ab"), Not(is(In, []string{"a", "abc"})), false},
		{Not(is(Contains, "b")), Not(is(Contains, "abc")), true},
		{Not(is(Contains, "abc")), Not(is(Contains, "b")), false},
		{Not(is(Contains, "b")), Not(is(StartsWith, "ab")), true},
		{Not(is(Contains, "ab")), Not(is(StartsWith, "b")), false},
		{Not(is(Contains, "b")), is(Ne, "abc"), true},
		{Not(is(Contains, "b")), is(Ne, "ac"), false},
		{Not(is(StartsWith, "ab")), Not(is(StartsWith, "a")), false},
		{Not(is(StartsWith, "a")), is(Ne, "ab"), true},
		{Not(is(StartsWith, "ab")), is(Ne, "a"), false},
		{Not(is(StartsWith, "a")), Not(is(Contains, "a")), false},

		// A field of another type.
		{is(Eq, 1), is(Lt, 1000), false},         // true, of a Boolean, has no order
		{is(Eq, "1"), is(Lt, "6"), false},        // the same
		{is(In, []int{0, 1}), is(Lt, 10), false}, // the same
		{is(Eq, 1), is(In, []int{1, 2}), false},  // a Boolean takes no 2
		{is(Lt, "500"), is(Lt, "1000"), false},   // texts are ordered by their bytes
		{is(Lt, "1000"), is(Lt, "500"), false},   // numbers are not
		{is(Eq, "12"), is(StartsWith, "1"), false},
		{is(Eq, "2026-11-22"), is(StartsWith, "2026"), false},
		{is(Eq, 5), is(Lt, "1000"), true}, // a text column takes no 5, and those that do read the text as a number
		{is(Eq, "5"), is(Lt, 1000), false},
		{is(Eq, 5), is(Lt, 5.5), false},                                                    // an Integer takes no 5.5
		{is(Eq, json.Number("0.1")), is(Lt, json.Number("0.10000000000000000001")), false}, // equal floats
		{is(Eq, json.Number("0.1")), is(Le, json.Number("0.10000000000000000001")), true},
		{is(Le, int64(1)<<53), is(Lt, int64(1)<<53+1), false},
		{Where("y", Lt, 500), is(Lt, 1000), false},
		{is(Lt, ClientID), is(Lt, ClientID), false},
		{is(Eq, OwnerID), is(Ge, ""), false},
	} {
		assert.Equal(t, c.want, implies(c.g, c.h), "%v within %v", c.g, c.h)
	}
}

var (
	impliedValues = []any{0, 1, 2, 5, -5, 500, 1000, int64(1) << 53, int64(1)<<53 + 1, int64(math.MaxInt64), true, false,
		"", "a", "ab", "abc", "b", "bc", "0", "1", "5", "05", "5.0", "500", "1000", "-0", "true", "2026-11-22", "2026-11-23",
		"2026-11-22T10:00:00Z", "2026-11-22T12:00:00+01:00", "2026-11-22T12:00:00Z", "1e3", "0.1",
		json.Number("0.1"), json.Number("0.10000000000000000001"), json.Number("0.5"), json.Number("-0.5"),
		json.Number("99999999999999999999"), "\U0010ffff"}
	impliedOps  = []Op{Eq, Ne, Lt, Le, Gt, Ge, In, Contains, StartsWith, IsNull}
	impliedRows = []any{nil, 0, 1, 2, 5, -5, 499, 500, 999, 1000, int64(1) << 53, int64(1)<<53 + 1, int64(math.MaxInt64),
		int64(math.MinInt64), true, false, "", "a", "ab", "abc", "abd", "ac", "b", "bc", "cb", "zz", "\xff", "0", "1",
		"5", "05",
		"5.0", "0.1", "0.10000000000000000001", "0.100000000000000000005", "500", "-0", "1e3", "2026-11-22", "2026-11-23",
		"2026-11-22T10:00:00Z", "2026-11-22 11:00:00", "2026-11-22T11:00:00.5Z", 0.1, 0.5, -0.5,
		math.Copysign(0, -1), math.NaN(),
		math.Inf(1), math.Inf(-1), 5e300, uint64(math.MaxUint64), json.Number("0.10000000000000000001"),
		json.Number("99999999999999999999"), []byte("ab"), []byte(nil), Blob("ab"), []int{1},
		time.Date(2026, 11, 22, 0, 0, 0, 0, time.UTC), time.Date(2026, 11, 22, 10, 0, 0, 1, time.UTC)}
)

func randomComparison(r *rand.Rand) Condition {
	one := func() any { return impliedValues[r.IntN(len(impliedValues))] }
	op := impliedOps[r.IntN(len(impliedOps))]
	var c Condition
	switch op {
	case In:
		c = Where("x", In, pick(r, impliedValues, 0, 3))
	case IsNull:
		c = Where("x", IsNull, r.IntN(2) == 0)
	default:
		c = Where("x", op, one())
	}
	if c.Validate() != nil {
		return randomComparison(r)
	}
	if r.IntN(3) == 0 {
		c = Not(c)
	}
	return c
}

// Whatever the type of the field: if g lies within h, and the field takes g, it takes h too, and no row is admitted by
// g and not by h.
func TestComparisonsWithinOthersAreSound(t *testing.T) {
	yes := 0
	seen := map[Op]int{}
	eachWorld(t, 20_000, func(t *testing.T, r *rand.Rand) {
		g, h := randomComparison(r), randomComparison(r)
		if !implies(g, h) {
			return
		}
		if !g.Equal(h) {
			yes++
			if h.n.kind == nodeLeaf {
				seen[h.n.op]++
			}
		}
		for typ := Text; typ <= Float; typ++ {
			s := NewSchema(Fields{"x": {Column: "x", Type: typ}})
			inner, err := s.Bind(g)
			if err != nil {
				continue
			}
			outer, err := s.Bind(h)
			if err != nil {
				for _, v := range impliedRows {
					require.False(t, inner.Match(Row{"x": v}), "%v within %v, which type %d does not take: %v", g, h, typ, v)
				}
				continue
			}
			for _, v := range impliedRows {
				if inner.Match(Row{"x": v}) {
					require.True(t, outer.Match(Row{"x": v}), "%v within %v of type %d: %v (%T)", g, h, typ, v, v)
				}
			}
		}
	})
	t.Logf("%d times yes: %v", yes, seen)
	if !testing.Short() {
		require.Greater(t, yes, 100)
		for _, op := range impliedOps {
			require.NotZero(t, seen[op], op)
		}
	}
}
