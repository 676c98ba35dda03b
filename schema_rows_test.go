package latchkey

import (
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/latchkey-go/latchkey/internal/strictjson"
)

// What came as JSON is written with every digit, or not at all.
func TestRowKeepsNumbersOfJSON(t *testing.T) {
	s := NewSchema(testFields)
	for text, want := range map[string]struct{ decoded, integer, number any }{
		`9007199254740993`: {json.Number("9007199254740993"), int64(9007199254740993),
			int64(9007199254740993)},
		`-9007199254740993`: {json.Number("-9007199254740993"), int64(-9007199254740993),
			int64(-9007199254740993)},
		`9223372036854775807`: {json.Number("9223372036854775807"), int64(math.MaxInt64),
			int64(math.MaxInt64)},
		`-9223372036854775808`: {json.Number("-9223372036854775808"), int64(math.MinInt64),
			int64(math.MinInt64)},
		`9223372036854775808`: {json.Number("9223372036854775808"), nil, json.Number("9223372036854775808")},
		`18446744073709551615`: {json.Number("18446744073709551615"), nil,
			json.Number("18446744073709551615")},
		`4000`:                                 {json.Number("4000"), int64(4000), int64(4000)},
		`4000.0`:                               {json.Number("4000"), int64(4000), int64(4000)},
		`4e3`:                                  {json.Number("4000"), int64(4000), int64(4000)},
		`1.5E+1`:                               {json.Number("15"), int64(15), int64(15)},
		`1200e-2`:                              {json.Number("12"), int64(12), int64(12)},
		`12.50`:                                {json.Number("12.50"), nil, json.Number("12.5")},
		`-5e-3`:                                {json.Number("-0.005"), nil, json.Number("-0.005")},
		`-0`:                                   {json.Number("-0"), int64(0), int64(0)},
		`-0.0e5`:                               {json.Number("-0"), int64(0), int64(0)},
		`0.1000000000000000055511151231257827`: {json.Number("0.1000000000000000055511151231257827"), nil, nil},
		`1e400`:                                {json.Number("1e400"), nil, nil},
		`1e-400`:                               {json.Number("1e-400"), nil, nil},
		`1e99999999999999999999`:               {json.Number("1e99999999999999999999"), nil, nil},
		`1e34`: {json.Number("1" + strings.Repeat("0", 34)), nil,
			json.Number("1" + strings.Repeat("0", 34))},
		`1e35`: {json.Number("1e35"), nil, nil},
		`123456789012345678901234567890123456789`: {json.Number("123456789012345678901234567890123456789"), nil, nil},
	} {
		var row Row
		require.NoError(t, json.Unmarshal([]byte(`{"v": `+text+`, "x": null}`), &row), text)
		require.Equal(t, Row{"v": want.decoded, "x": nil}, row, text)
		for field, w := range map[string]any{"i": want.integer, "n": want.number} {
			got, err := s.Row(Row{field: row["v"]})
			if w == nil {
				var ce *ConditionError
				require.True(t, errors.As(err, &ce), "%s as %s: %v", text, field, got)
				require.Equal(t, field, ce.Field)
				require.NotContains(t, err.Error(), text)
				require.False(t, admits(t, Where(field, Eq, 5), Row{field: row["v"]}))
				continue
			}
			require.NoError(t, err, "%s as %s", text, field)
			require.Equal(t, Row{field: w}, got, text)
			require.True(t, admits(t, Where(field, Eq, w), Row{field: row["v"]}), "Match, %s", text)
		}
	}
}

func TestRowOfJSONHasOneMeaning(t *testing.T) {
	for _, text := range []string{`{"a":1,"a":2}`, `{"a":1,"a":1}`, `{"a":1,"A":2}`, `{"a":1,"\u0061":2}`,
		`{"a":{"b":1,"b":2}}`, `[1]`, `5`, `"x"`,
		`true`, `{"a":"\ud800"}`, "{\"a\":\"\xff\"}", `{"a":` + strings.Repeat("[", 40) + strings.Repeat("]", 40) + `}`} {
		row := Row{"kept": 1}
		err := json.Unmarshal([]byte(text), &row)
		require.ErrorIs(t, err, ErrBadCondition, text)
		require.Equal(t, Row{"kept": 1}, row)
	}
	row := Row{"kept": 1, "a": 2} // as encoding/json does with a map
	require.NoError(t, json.Unmarshal([]byte(`{"a":"x","b":[1,{"c":2.0}],"d":true}`), &row))
	require.Equal(t, Row{"kept": 1, "a": "x", "b": []any{json.Number("1"), map[string]any{"c": json.Number("2.0")}},
		"d": true}, row)
	require.NoError(t, json.Unmarshal([]byte(`null`), &row))
	require.Nil(t, row)
	var within struct{ Rows []Row }
	require.NoError(t, strictjson.Unmarshal([]byte(`{"Rows":[{"id":9007199254740993},null]}`), &within))
	require.Equal(t, []Row{{"id": json.Number("9007199254740993")}, nil}, within.Rows)
	require.Error(t, strictjson.Unmarshal([]byte(`{"Rows":[{"id":1,"id":2}]}`), &within))
}

// Forced values and conditions keep them, too.
func TestValuesAndConditionsKeepNumbers(t *testing.T) {
	s := NewSchema(testFields)
	const id = "9007199254740993"
	var forced Values
	require.NoError(t, json.Unmarshal([]byte(`{"i":`+id+`}`), &forced))
	require.Equal(t, Values{"i": int64(9007199254740993)}, forced)
	var c Condition
	require.NoError(t, json.Unmarshal([]byte(`{"field":"i","op":"=","value":`+id+`}`), &c))
	require.True(t, admits(t, c, Row{"i": int64(9007199254740993)}))
	require.False(t, admits(t, c, Row{"i": int64(9007199254740992)}))
	for _, v := range []any{9007199254740992.0, -9007199254740992.0, 1e18, 1e300, float32(1 << 24), float32(1 << 60),
		math.Inf(1), math.NaN()} {
		for _, c := range []Condition{Where("i", Eq, v), Where("n", Ne, v), Where("n", In, []any{1, v}),
			Not(Where("f", Lt, v))} {
			require.ErrorIs(t, c.Validate(), ErrBadCondition, "%v", v)
			_, err := s.Bind(c)
			var ce *ConditionError
			require.True(t, errors.As(err, &ce))
			require.NotEmpty(t, ce.Field)
			require.NotContains(t, err.Error(), fmt.Sprint(v))
		}
		_, err := normaliseValues(Values{"i": v})
		require.ErrorIs(t, err, ErrBadCondition, "%v", v)
		require.ErrorIs(t, Allow(Any).On("*").Force(Values{"i": v}).Validate(), ErrBadCondition)
	}
	require.NoError(t, Where("n", Eq, 1<<53-1.0).Validate())
	require.NoError(t, Where("n", Eq, float32(1<<24-1)).Validate())
	require.NoError(t, Where("n", Eq, 0.1).Validate())
}
