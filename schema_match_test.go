package latchkey

import (
	"encoding/json"
	"math"
	"math/rand/v2"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// nullString has the form of sql.NullString.
type nullString struct {
	String string
	Valid  bool
}

// admits binds c to testFields and matches one row.
func admits(t *testing.T, c Condition, r Row) bool {
	t.Helper()
	p, err := NewSchema(testFields).Bind(c)
	require.NoError(t, err, "%v", c)
	return p.Match(r)
}

// noNumbers returns values that neither an Integer nor a Number takes for a number. They are texts that Go parses and
// engines keep as text, or the other way round, and floats that may be rounded.
func noNumbers() []any {
	out := []any{math.NaN(), float32(math.NaN()), math.Inf(1), math.Inf(-1), float32(math.Inf(1)), 1 << 53 * 1.0,
		-(1 << 53) * 1.0,
		9007199254740994.0, 1234567890123456700.0, -9.3e18, 1e300, float32(1 << 60), new(1e20)}
	for _, s := range []string{"x", "", "-", "Infinity", "-Infinity", "+Infinity", "infinity", "inf", "Inf", "-inf",
		"+Inf", "INF", "NaN", "nan",
		"0x1", "0x1p-2", "0X5", "0b1", "0o7", "1_000", "+5", " 5", "5 ", "\t5", "5\n", ".5", "5.", "-.5", "--5", "1e3",
		"1E3", "5e0", "1e400", "1e-400",
		"5,0", "5.0.0", "٣", "５", "5\x00", "5f", "5L", "١٢"} {
		out = append(out, s, []byte(s), json.Number(s))
	}
	return out
}

// A comparison and its negation both need a known value. Only is-null admits NULL, and nothing admits what is absent.
func TestUnknownValuesAreNotAdmitted(t *testing.T) {
	unfit := map[string][]any{
		"s": {5, 5.5, true, Blob("x"), Blob(nil), time.Now(), json.Number("5"), struct{}{}, []int{1}, Self},
		"i": append([]any{true, Blob("5"), time.Now(), struct{ A, B int }{}, Self}, noNumbers()...),
		"n": append([]any{true}, noNumbers()...),
		"f": {"x", "", "+5", "5 ", ".5", "5.", "0x1p-2", "1_000", "inf", "Infinity", "-Infinity", "NaN", "1e", "1e+", "e5",
			"1e5.5", "1e_5", "1e0x5", "1ee5", "1e400", "٣",
			math.NaN(), float32(math.NaN()), true, Blob("5")},
		"b": {2, -1, 0.5, "true", "1", []byte("1"), math.NaN(), math.Inf(1), json.Number("2"), json.Number("1e0"),
			json.Number("true")},
		"d": {"2026-02-30", "0000-00-00", "2026-11-22 ", "2026-11-22T00:00:00Z", "infinity", 20261122,
			time.Unix(1, 0), time.Time{},
			"0999-12-31", "10000-01-01", time.Date(10000, 1, 1, 0, 0, 0, 0, time.UTC)},
		"t": {"2026-11-22", "2026-11-22T24:00:00Z", "2026-11-22T10:00:00.1234567Z", "infinity",
			"2026-11-22T10:00:00+15:00", 5,
			time.Time{}, time.Unix(0, 1), "1000-01-01T00:00:00+00:01"},
	}
	conditions := map[string][]Condition{
		"s": {Where("s", Eq, "a"), Where("s", Lt, "b"), Where("s", Ge, "b"), Where("s", In, []string{"a"}),
			Where("s", In, []string{}),
			Where("s", Contains, "a"), Where("s", StartsWith, "a")},
		"i": {Where("i", Eq, 5), Where("i", Lt, 5), Where("i", Ge, 5), Where("i", In, []int{5}), Where("i", In, []int{})},
		"n": {Where("n", Eq, 5), Where("n", Lt, 0.5), Where("n", Ge, 5), Where("n", In, []int{5}), Where("n", In, []int{})},
		"f": {Where("f", Eq, 5), Where("f", Lt, 0.5), Where("f", Ge, 5), Where("f", In, []int{5}), Where("f", In, []int{})},
		"b": {Where("b", Eq, true), Where("b", Ne, true), Where("b", In, []bool{true}), Where("b", In, []bool{})},
		"d": {Where("d", Eq, "2026-11-22"), Where("d", Lt, "2026-11-22"), Where("d", Gt, "2026-11-22"),
			Where("d", In, []string{})},
		"t": {Where("t", Eq, "2026-11-22T10:00:00Z"), Where("t", Lt, "2026-11-22T10:00:00Z"), Where("t", In, []string{})},
	}
	for field, list := range conditions {
		null := Where(field, IsNull, true)
		for _, c := range list {
			for _, c := range []Condition{c, Not(c)} {
				require.False(t, admits(t, c, Row{}), "%v of nothing", c)
				require.False(t, admits(t, c, Row{field: nil}), "%v of NULL", c)
				require.False(t, admits(t, c, Row{field: (*string)(nil)}))
				require.False(t, admits(t, c, Row{field: nullString{}}))
				require.False(t, admits(t, c, Row{field: []byte(nil)}))
				for _, v := range unfit[field] {
					require.False(t, admits(t, c, Row{field: v}), "%v of %T %v", c, v, v)
				}
			}
		}
		for _, v := range []any{nil, (*int)(nil), nullString{}, []byte(nil)} {
			require.True(t, admits(t, null, Row{field: v}), "%s %T", field, v)
			require.False(t, admits(t, Not(null), Row{field: v}))
		}
		for _, v := range unfit[field] {
			require.False(t, admits(t, null, Row{field: v}), "%T %v is unfit, but not NULL", v, v)
			require.True(t, admits(t, Not(null), Row{field: v}))
		}
		require.False(t, admits(t, null, Row{}), "nothing is not NULL either")
		require.False(t, admits(t, Not(null), Row{}))
	}
}

// Every kind of value that a driver returns is compared by its meaning.
func TestMatchTakesDriverKinds(t *testing.T) {
	text, five := "EU", 5
	for _, tt := range []struct {
		c    Condition
		rows []any
	}{
		{Where("s", Eq, "EU"), []any{"EU", []byte("EU"), json.RawMessage("EU"), Op("EU"), &text, nullString{"EU", true}}},
		{Where("i", Eq, 5), []any{5, int8(5), int16(5), int32(5), int64(5), uint(5), uint8(5), uint64(5), 5.0,
			float32(5), "5", "5.00", "05",
			[]byte("5"), json.Number("5"), &five, time.Duration(5)}},
		{Where("i", Lt, math.MaxInt64), []any{int64(math.MaxInt64 - 1), uint64(math.MaxInt64 - 1), "9223372036854775806.9"}},
		{Where("n", Gt, math.MaxInt64), []any{uint64(math.MaxInt64 + 1), uint64(math.MaxUint64),
			[]byte("18446744073709551615"),
			"9223372036854775807.000000000000000001"}},
		{Where("n", Eq, 0.1), []any{0.1, "0.1", "0.10", []byte("00.1"), json.Number("0.1")}},
		{Where("n", Ne, 0.1), []any{float32(0.1), 0.30000000000000004, "0.1000000000000000000000000000001", 0, -0.1}},
		{Where("n", Eq, "-0.0"), []any{0, 0.0, math.Copysign(0, -1), "0", "-0", "0.00"}},
		{Where("n", Lt, "-9223372036854775808"), []any{"-9223372036854775808.5", "-99999999999999999999"}},
		{Where("n", Gt, "-9223372036854775808.5"), []any{int64(math.MinInt64), "-9223372036854775808.4"}},
		{Where("n", Lt, "9223372036854775807.5"), []any{int64(math.MaxInt64), 0, "9223372036854775807"}},
		{Where("n", Ge, "5.5"), []any{6, 5.5, "5.50", 5.6}},
		{Where("i", Lt, "9007199254740992"), []any{1<<53 - 1.0, "9007199254740991.5", json.Number("9007199254740991"),
			float32(1 << 52)}},
		{Where("f", Gt, "1e300"), []any{1e301, math.Inf(1), "2e300", []byte("1.5e+300"), json.Number("1E301")}},
		{Where("f", Eq, int64(1<<53+1)), []any{1 << 53, int64(1<<53 + 1), "9007199254740993", uint64(1<<53 + 1),
			float32(1 << 53)}},
		{Where("f", In, []any{0.1, "1e19", 7}), []any{0.1, 7, uint64(1e19), "7.0", 1e19}},
		{Where("f", Lt, "-0"), []any{-5e-324, math.Inf(-1), "-0.1", -1}},
		{Where("b", Eq, true), []any{true, 1, int8(1), 1.0, uint8(1), json.Number("1"), json.Number("1.00")}},
		{Where("b", Ne, true), []any{false, 0, 0.0, json.Number("-0")}},
		{Where("d", Ge, "2026-11-22"),
			[]any{"2026-11-22", []byte("2026-11-23"), time.Date(2026, 11, 22, 0, 0, 0, 0, time.UTC),
				time.Date(2026, 11, 22, 0, 0, 0, 0, time.FixedZone("", 5*3600+1800))}},
		{Where("d", Lt, "1970-01-02"), []any{"1970-01-01", "1969-12-31", "1000-01-01", time.Unix(0, 0).UTC(), "1900-02-28"}},
		{Where("t", Eq, "2026-11-22T10:00:00.5Z"), []any{"2026-11-22T10:00:00.5", "2026-11-22 12:00:00.500000+02:00",
			time.Date(2026, 11, 22, 11, 0, 0, 5e8, time.FixedZone("", 3600)), []byte("2026-11-22 10:00:00.50")}},
		{Where("s", In, []string{"b", "a", "c", "a"}), []any{"a", "b", "c", []byte("c")}},
		{Where("n", In, []any{3, "1.5", "-2", uint64(math.MaxUint64), 7}),
			[]any{3, 1.5, "1.50", -2, uint64(math.MaxUint64), "7.0"}},
		{Not(Where("n", In, []any{3, "1.5", 7})), []any{2, 1.6, "1.51", "6"}},
		{Where("s", Gt, "Z"), []any{"a", "é", "[", "Za"}},
		{Where("s", Ne, "é"), []any{"e\u0301", "É", "é "}},
		{Where("s", Contains, "%"), []any{"5%", "%"}},
		{Not(Where("s", Contains, "%")), []any{"5", ""}},
		{Not(Where("s", StartsWith, "E")), []any{"eu", "", "UE"}},
	} {
		for _, v := range tt.rows {
			field := strings.Trim(strings.Fields(strings.TrimPrefix(tt.c.String(), "not "))[0], "(")
			require.True(t, admits(t, tt.c, Row{field: v}), "%v of %T %v", tt.c, v, v)
			require.False(t, admits(t, Not(tt.c), Row{field: v}), "not %v of %T %v", tt.c, v, v)
		}
	}
}

// The laws of conditions, tested against an evaluator of Kleene's three-valued logic. It shares only the tree with the
// code.

type truth int // -1 false, 0 unknown, 1 true

// truthOf evaluates c on a row whose values are string, int64 or nil; nil and absent values are unknown.
func truthOf(c Condition, r Row) truth {
	switch n := c.n; {
	case n == nil:
		return 0
	case n.kind == nodeEvery:
		return 1
	case n.kind == nodeNot:
		return -truthOf(Condition{n.parts[0]}, r)
	case n.kind == nodeAll:
		least := truth(1)
		for _, p := range n.parts {
			least = min(least, truthOf(Condition{p}, r))
		}
		return least
	case n.kind == nodeAny:
		greatest := truth(-1)
		for _, p := range n.parts {
			greatest = max(greatest, truthOf(Condition{p}, r))
		}
		return greatest
	default:
		v, present := r[n.field]
		if !present {
			return 0
		}
		if n.op == IsNull {
			return yes((v == nil) == n.value.(bool))
		}
		if v == nil {
			return 0
		}
		if n.op == In {
			in := false
			for _, e := range n.value.([]any) {
				in = in || e == v
			}
			return yes(in)
		}
		if s, ok := v.(string); ok {
			return yes(compares(n.op, strings.Compare(s, n.value.(string)), s, n.value.(string)))
		}
		a, b := v.(int64), n.value.(int64)
		order := 0
		if a < b {
			order = -1
		} else if a > b {
			order = 1
		}
		return yes(compares(n.op, order, "", ""))
	}
}

func yes(b bool) truth {
	if b {
		return 1
	}
	return -1
}

func compares(op Op, order int, s, part string) bool {
	switch op {
	case Eq:
		return order == 0
	case Ne:
		return order != 0
	case Lt:
		return order < 0
	case Le:
		return order <= 0
	case Gt:
		return order > 0
	case Ge:
		return order >= 0
	case Contains:
		return strings.Contains(s, part)
	}
	return strings.HasPrefix(s, part)
}

var smallTexts = []string{"", "a", "ab", "b", "ba"}

func randomCondition(r *rand.Rand, depth int, nulls bool) Condition {
	if depth > 0 && r.IntN(3) > 0 {
		switch r.IntN(5) {
		case 0:
			return Not(randomCondition(r, depth-1, nulls))
		case 1, 2:
			return All(randomCondition(r, depth-1, nulls), randomCondition(r, depth-1, nulls))
		}
		return AnyOf(randomCondition(r, depth-1, nulls), randomCondition(r, depth-1, nulls))
	}
	if nulls && r.IntN(6) == 0 {
		return Where([]string{"s", "i"}[r.IntN(2)], IsNull, r.IntN(2) == 0)
	}
	if r.IntN(2) == 0 {
		switch op := []Op{Eq, Ne, Lt, Le, Gt, Ge, In, Contains, StartsWith}[r.IntN(9)]; op {
		case In:
			return Where("s", In, smallTexts[:r.IntN(4)])
		case Contains, StartsWith:
			return Where("s", op, smallTexts[1+r.IntN(4)])
		default:
			return Where("s", op, smallTexts[r.IntN(5)])
		}
	}
	op := []Op{Eq, Ne, Lt, Le, Gt, Ge}[r.IntN(6)]
	return Where("i", op, r.IntN(4))
}

func TestLawsOfConditions(t *testing.T) {
	for _, seed := range seeds(t) {
		lawsOfConditions(t, rand.New(rand.NewPCG(seed, 0)))
	}
}

func lawsOfConditions(t *testing.T, r *rand.Rand) {
	s := NewSchema(testFields)
	var rows []Row
	for _, text := range []any{nil, "", "a", "ab", "b", "ba", "c"} {
		for _, i := range []any{nil, int64(0), int64(1), int64(2), int64(5)} {
			rows = append(rows, Row{"s": text, "i": i})
		}
	}
	rows = append(rows, Row{}, Row{"s": "a"}, Row{"i": int64(1)})
	set := func(c Condition) string {
		p, err := s.Bind(c)
		require.NoError(t, err, "%v", c)
		var b strings.Builder
		for _, row := range rows {
			b.WriteByte("01"[map[bool]int{true: 1}[p.Match(row)]])
		}
		return b.String()
	}
	for range 1500 {
		a, b, c := randomCondition(r, 3, true), randomCondition(r, 2, true), randomCondition(r, 2, true)
		var want strings.Builder
		for _, row := range rows {
			want.WriteByte("01"[map[bool]int{true: 1}[truthOf(a, row) == 1]])
		}
		require.Equal(t, want.String(), set(a), "%v", a)

		for law, pair := range map[string][2]Condition{
			"double negation":       {Not(Not(a)), a},
			"De Morgan, all":        {Not(All(a, b)), AnyOf(Not(a), Not(b))},
			"De Morgan, any":        {Not(AnyOf(a, b)), All(Not(a), Not(b))},
			"all commutes":          {All(a, b), All(b, a)},
			"any commutes":          {AnyOf(a, b), AnyOf(b, a)},
			"all associates":        {All(a, All(b, c)), All(All(a, b), c)},
			"any associates":        {AnyOf(a, AnyOf(b, c)), AnyOf(AnyOf(a, b), c)},
			"all is idempotent":     {All(a, a), a},
			"any is idempotent":     {AnyOf(a, a), a},
			"all absorbs":           {All(a, AnyOf(a, b)), a},
			"any absorbs":           {AnyOf(a, All(a, b)), a},
			"all distributes":       {All(a, AnyOf(b, c)), AnyOf(All(a, b), All(a, c))},
			"any distributes":       {AnyOf(a, All(b, c)), All(AnyOf(a, b), AnyOf(a, c))},
			"nothing is both":       {All(a, Not(a)), {}},
			"resolving changes not": {a.resolve(nil), a},
			"internal and":          {allOf(a, b), All(a, b)},
			"internal or":           {anyOf(a, b), AnyOf(a, b)},
		} {
			require.Equal(t, set(pair[1]), set(pair[0]), "%s: a = %v, b = %v, c = %v", law, a, b, c)
		}

		// The JSON form is the condition.
		data, err := json.Marshal(a)
		require.NoError(t, err)
		var back Condition
		require.NoError(t, json.Unmarshal(data, &back), "%s", data)
		require.True(t, a.Equal(back), "%v: %s", a, data)

		// A value that goes missing never lets a row in.
		d := randomCondition(r, 3, false)
		p, err := s.Bind(d)
		require.NoError(t, err)
		for _, row := range rows {
			for _, less := range []Row{{"s": row["s"]}, {"i": row["i"]}, {"s": nil, "i": row["i"]}, {"s": row["s"], "i": nil}} {
				if p.Match(less) {
					require.True(t, p.Match(row), "%v admits %v but not %v", d, less, row)
				}
			}
		}
	}
}
