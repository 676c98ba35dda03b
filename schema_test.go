package latchkey

import (
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

var testFields = Fields{"s": {"s", Text}, "i": {"i", Integer}, "n": {"n", Number},
	"b": {"b", Boolean}, "d": {"d", Date},
	"t": {"t", DateTime}, "f": {"f", Float}}

func TestNewSchemaPanics(t *testing.T) {
	for want, f := range map[string]Fields{
		`field "a" has no column`:                  {"a": {"", Text}},
		`field "a" has no type`:                    {"a": {"a", 0}},
		`field "b" has no type`:                    {"b": {"a", 9}},
		`field "": the field has no name`:          {"": {"a", Text}},
		`"a" and "b" share a column but differ`:    {"a": {"x", Text}, "b": {"x", Integer}},
		`columns "x" and "X" differ in case only,`: {"a": {"x", Text}, "b": {"X", Text}},
	} {
		require.PanicsWithValue(t, true, func() {
			defer func() { panic(strings.Contains(fmt.Sprint(recover()), want)) }()
			NewSchema(f)
		}, want)
	}
}

func TestFieldsAreCopied(t *testing.T) {
	f := Fields{"a": {"a", Text}}
	s := NewSchema(f)
	f["a"] = Field{"b; DROP TABLE", Text}
	s.Fields()["a"] = Field{"c", Text}
	require.Equal(t, Fields{"a": {"a", Text}}, s.Fields())
}

func TestBindRefuses(t *testing.T) {
	s := NewSchema(testFields)
	for _, c := range []Condition{
		Where("s", Eq, 5), Where("s", Eq, true), Where("s", In, []any{"a", 1}),
		Where("s", StartsWith, "\U0010FFFF\U0010FFFF"),
		Where("i", Eq, "+5"), Where("i", Eq, " 5"), Where("i", Eq, "1e3"), Where("i", Eq, "4000.0"), Where("i", Eq, ""),
		Where("i", Eq, "-"),
		Where("i", Eq, 5.5), Where("i", Eq, "9223372036854775808"), Where("i", Eq, true), Where("i", Contains, "5"),
		Where("i", Eq, json.Number("9223372036854775808")),
		Where("n", Eq, "NaN"), Where("n", Eq, "Infinity"), Where("n", Eq, "1e3"), Where("n", Eq, ".5"), Where("n", Eq, "5."),
		Where("n", Eq, "0x10"),
		Where("n", Eq, 1e300), Where("n", Eq, 1e-31), Where("n", Eq, strings.Repeat("9", 36)), Where("n", StartsWith, "5"),
		Where("n", Eq, false),
		Where("f", Eq, "NaN"), Where("f", Eq, "Infinity"), Where("f", Eq, "1e400"), Where("f", Eq, "+5"), Where("f", Eq,
			"0x1p-2"),
		Where("f", Eq, "1_0"), Where("f", Eq, true), Where("f", StartsWith, "5"), Where("f", In, []any{1, "1e"}),
		Where("b", Eq, "yes"), Where("b", Eq, 2), Where("b", Lt, true), Where("b", Eq, "TRUE"), Where("b", Contains, "t"),
		Where("d", Eq, "2026-02-29"), Where("d", Eq, "2026-1-1"), Where("d", Eq, "0999-12-31"), Where("d", Eq, "10000-01-01"),
		Where("d", Eq, 20261122),
		Where("d", Eq, "2026-11-22T00:00:00Z"), Where("d", Eq, time.Now()),
		Where("t", Eq, "2026-11-22T10:00:00"), Where("t", Eq, "2026-11-22 10:00:00Z"),
		Where("t", Eq, "2026-11-22T10:00:00.1234567Z"),
		Where("t", Eq, "2026-11-22T24:00:00Z"), Where("t", Eq, "2026-11-22T10:00:60Z"),
		Where("t", Eq, "2026-11-22T10:00:00+15:00"),
		Where("t", Eq, "2026-11-22"), Where("t", Eq, "1000-01-01T00:00:00+01:00"),
		Where("t", Eq, "9999-12-31T23:59:59-01:00"),
	} {
		for _, c := range []Condition{c, Not(c), All(Where("s", Eq, "x"), AnyOf(c, Where("i", Eq, 1)))} {
			p, err := s.Bind(c)
			var ce *ConditionError
			require.True(t, errors.As(err, &ce), "%v", c)
			require.ErrorIs(t, err, ErrBadCondition)
			require.False(t, ce.Unknown)
			require.NotEmpty(t, ce.Field)
			require.False(t, p.Match(Row{}))
		}
	}
	for _, value := range []any{"x", Self, Attr("a")} {
		_, err := s.Bind(Where("secret", Eq, value))
		require.Equal(t, &ConditionError{Field: "secret", Unknown: true, Reason: "the schema has no such field"}, err)
	}
}

// Text from a form is typed like the Go value.
func TestBindTypesText(t *testing.T) {
	s := NewSchema(testFields)
	for _, pair := range [][2]Condition{
		{Where("i", Ge, "4000"), Where("i", Ge, 4000)},
		{Where("i", In, []string{"-1", "007"}), Where("i", In, []int{-1, 7})},
		{Where("n", Lt, "-0.50"), Where("n", Lt, -0.5)},
		{Where("b", Eq, "1"), Where("b", Eq, true)},
		{Where("b", Ne, "false"), Where("b", Ne, 0)},
		{Where("t", Eq, "2026-11-22T11:00:00+01:00"), Where("t", Eq, time.Date(2026, 11, 22, 10, 0, 0, 999, time.UTC))},
	} {
		for _, d := range []Dialect{SQLite, Postgres, MySQL} {
			a, err := s.Bind(pair[0])
			require.NoError(t, err)
			b, err := s.Bind(pair[1])
			require.NoError(t, err)
			where, args := a.SQL(d, 1)
			where2, args2 := b.SQL(d, 1)
			require.Equal(t, where2, where)
			require.Equal(t, args2, args)
		}
	}
}

// One column by two names is one field.
func TestAliases(t *testing.T) {
	s := NewSchema(Fields{"dp-1": {"region", Text}, "region": {"region", Text}, "amount": {"amount", Number},
		"n": {"amount", Number}})
	p, err := s.Bind(Where("region", Eq, "EU"))
	require.NoError(t, err)
	require.True(t, p.Match(Row{"region": "EU"}))
	require.True(t, p.Match(Row{"dp-1": "EU"}))
	require.True(t, p.Match(Row{"dp-1": "EU", "region": []byte("EU")}))
	require.False(t, p.Match(Row{"dp-1": "US", "region": "EU"}), "which of them?")
	null, err := s.Bind(Where("region", IsNull, true))
	require.NoError(t, err)
	require.False(t, null.Match(Row{"dp-1": nil, "region": "EU"}))
	require.True(t, null.Match(Row{"dp-1": nil}))
	require.True(t, null.Match(Row{"dp-1": nil, "region": nil}))

	row, err := s.Row(Row{"region": "EU", "dp-1": []byte("EU"), "n": "5.0", "amount": 5})
	require.NoError(t, err)
	require.Equal(t, Row{"dp-1": "EU", "amount": int64(5)}, row)
	row, err = s.Row(Row{"region": "EU"})
	require.NoError(t, err)
	require.Equal(t, Row{"region": "EU"}, row)
	_, err = s.Row(Row{"region": "EU", "dp-1": "US"})
	require.ErrorIs(t, err, ErrBadCondition)
	_, err = s.Row(Row{"region": "EU", "dp-1": nil})
	require.ErrorIs(t, err, ErrBadCondition)

	caller := Row{"dp-1": "US", "amount": int64(3)}
	forced, err := s.force(caller, Values{"region": "EU", "n": "7"})
	require.NoError(t, err)
	require.Equal(t, Row{"dp-1": "EU", "amount": int64(7)}, forced)
	require.Equal(t, Row{"dp-1": "US", "amount": int64(3)}, caller, "the caller's row stays as it was")
	forced, err = s.force(nil, Values{"region": nil})
	require.NoError(t, err)
	require.Equal(t, Row{"region": nil}, forced)
	_, err = s.force(caller, Values{"region": "EU", "dp-1": "US"})
	require.ErrorIs(t, err, ErrBadCondition)
	_, err = s.force(caller, Values{"secret": 1})
	require.ErrorIs(t, err, ErrBadCondition)

	column, ok := s.column("dp-1")
	require.True(t, ok)
	require.Equal(t, "region", column)
	_, ok = s.column("x")
	require.False(t, ok)
}

// nullSingle has the form of a nullable float32.
type nullSingle struct {
	Single float32
	Valid  bool
}

func TestRowsAreTyped(t *testing.T) {
	s := NewSchema(testFields)
	for _, tt := range []struct {
		field    string
		in, want any
	}{
		{"s", "4000", "4000"}, {"s", []byte("é"), "é"}, {"s", Eq, "="}, {"s", nil, nil}, {"s", (*string)(nil), nil},
		{"i", "4000", int64(4000)}, {"i", uint8(3), int64(3)}, {"i", 4000.0, int64(4000)},
		{"i", json.Number("-7"), int64(-7)},
		{"n", "12.50", json.Number("12.5")}, {"n", 12.5, 12.5}, {"n", "12", int64(12)},
		{"n", json.Number("0.1"), json.Number("0.1")},
		{"n", uint64(1 << 63), json.Number("9223372036854775808")}, {"n", float32(0.5), 0.5},
		{"i", json.Number("9007199254740993"), int64(1<<53 + 1)}, {"i", 1<<53 - 1.0, int64(1<<53 - 1)}, {"n", -(1<<53 - 1.0),
			-(1<<53 - 1.0)},
		{"i", float32(1<<24 - 1), int64(1<<24 - 1)}, {"i", uint64(math.MaxInt64), int64(math.MaxInt64)},
		{"i", "-0", int64(0)}, {"i", "007", int64(7)},
		{"i", "-9223372036854775808", int64(math.MinInt64)}, {"n", "-0.0", int64(0)}, {"n", "9223372036854775807.1",
			json.Number("9223372036854775807.1")},
		{"f", 1e300, 1e300}, {"f", "1e300", 1e300}, {"f", json.Number("1E-400"), 0.0}, {"f", 1 << 53, 9007199254740992.0},
		{"f", float32(0.5), 0.5},
		{"b", "true", true}, {"b", 0, false}, {"b", 1.0, true}, {"b", true, true},
		{"d", "2026-11-22", "2026-11-22"}, {"d", time.Date(2026, 11, 22, 0, 0, 0, 0, time.FixedZone("", 7200)), "2026-11-22"},
		{"t", "2026-11-22 12:00:00.50+02:00", "2026-11-22T10:00:00.5Z"}, {"t", "2026-11-22T10:00:00", "2026-11-22T10:00:00Z"},
		{"t", time.Date(2026, 11, 22, 10, 0, 0, 1999, time.UTC), "2026-11-22T10:00:00.000001Z"},
	} {
		got, err := s.Row(Row{tt.field: tt.in})
		require.NoError(t, err, "%s %v", tt.field, tt.in)
		require.Equal(t, Row{tt.field: tt.want}, got)
		again, err := s.Row(got)
		require.NoError(t, err)
		require.Equal(t, got, again)
	}
	for _, row := range []Row{
		{"s": 5}, {"s": true}, {"s": "x\x00"}, {"s": "\xff"}, {"s": []byte("\xff")}, {"s": Blob("x")},
		{"s": time.Now()}, {"s": struct{}{}},
		{"i": ""}, {"i": "x"}, {"i": 5.5}, {"i": uint64(1 << 63)}, {"i": true}, {"i": 1e300}, {"i": []int{1}}, {"i": Self},
		{"i": uint64(math.MaxUint64)}, {"i": json.Number("9223372036854775808")}, {"i": json.Number("1e2")},
		{"i": json.Number("4000.5")},
		{"i": 1 << 53 * 1.0}, {"i": -(1 << 53) * 1.0}, {"n": 1 << 53 * 1.0}, {"n": 1234567890123456700.0}, {"n": 1e300},
		{"n": math.Inf(1)},
		{"i": math.Inf(-1)}, {"i": float32(1 << 24)}, {"n": float32(1 << 24)}, {"n": new(float32(1 << 30))},
		{"n": nullSingle{1 << 30, true}},
		{"f": math.Inf(1)}, {"f": math.NaN()}, {"f": "NaN"}, {"f": json.Number("1e400")}, {"f": true}, {"f": "x"},
		{"n": "1e3"}, {"n": "NaN"}, {"n": "x"}, {"b": 2}, {"b": "yes"}, {"d": ""}, {"d": "2026-02-30"},
		{"d": time.Unix(1, 0)}, {"t": "now"},
		{"t": time.Time{}}, {"t": "2026-11-22"},
	} {
		_, err := s.Row(row)
		var ce *ConditionError
		require.True(t, errors.As(err, &ce), "%v", row)
		require.False(t, ce.Unknown)
		require.NotEmpty(t, ce.Field)
	}
	_, err := s.Row(Row{"s": "x", "secret": nil})
	require.Equal(t, &ConditionError{Field: "secret", Unknown: true, Reason: "the schema has no such field"}, err)
}
