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

var (
	eu    = Where("region", Eq, "EU")
	us    = Where("region", Eq, "US")
	large = Where("amount", Ge, 4000)
)

func TestConditionString(t *testing.T) {
	for want, c := range map[string]Condition{
		"no row":                               {},
		"every row":                            AllRows,
		`region = "EU" and not amount >= 4000`: All(eu, Not(large)),
		`(region = "EU" or region = "US") and amount >= 4000`: All(AnyOf(eu, us), large),
		`not (region = "EU" and amount >= 4000)`:              Not(All(eu, large)),
		`region in ["EU", "US"]`: Where("region", In,
			[]string{"EU", "US"}),
		`n in [1, 2.5, true]`:                       Where("n", In, []any{1, 2.5, true}),
		`owner = self and "the role" in self_roles`: All(Where("owner", Eq, Self), Where("the role", In, SelfRoles)),
		`gone is null and not kept is not null`:     All(Where("gone", IsNull, true), Not(Where("kept", IsNull, false))),
		`at < "2026-11-22T09:00:00.5Z"`: Where("at", Lt,
			time.Date(2026, 11, 22, 10, 0, 0, 5e8, time.FixedZone("", 3600))),
		`no row (latchkey: invalid argument: bad condition: field "a": unknown operator)`: Where("a", "like", "x"),
	} {
		require.Equal(t, want, c.String())
	}
}

func TestConditionsSimplify(t *testing.T) {
	zero := Condition{}
	for name, tt := range map[string]struct{ got, want Condition }{
		"all of one part is the part":   {All(eu), eu},
		"any of one part is the part":   {AnyOf(eu), eu},
		"every row adds nothing to all": {All(AllRows, eu), eu},
		"all of every row is every row": {All(AllRows, AllRows), AllRows},
		"no row makes all no row":       {All(eu, zero), zero},
		"every row makes any every row": {AnyOf(eu, AllRows), AllRows},
		"no row adds nothing to any":    {AnyOf(zero, eu), eu},
		"any of no row is no row":       {AnyOf(zero, zero), zero},
		"not every row is no row":       {Not(AllRows), zero},
		"not no row is still no row":    {Not(zero), zero},
		"not not":                       {Not(Not(eu)), eu},
		"all in all is flat":            {All(All(eu, large), us), All(eu, large, us)},
		"any in any is flat":            {AnyOf(AnyOf(eu, large), us), AnyOf(eu, large, us)},
		"said twice is said once":       {All(eu, large, Where("region", Eq, "EU")), All(eu, large)},
		"kinds of integers are one":     {Where("n", Eq, uint8(7)), Where("n", Eq, json.Number("7"))},
		"a whole float is an integer":   {Where("n", Eq, 4000.0), Where("n", Eq, 4000)},
		"beyond int64 is a number": {Where("n", Eq, uint64(math.MaxUint64)),
			Where("n", Eq, json.Number("18446744073709551615"))},
		"a named text is a text":                  {Where("op", Eq, Eq), Where("op", Eq, "=")},
		"a list is copied, whatever its elements": {Where("n", In, []int{1, 2}), Where("n", In, []any{int64(1), uint(2)})},
	} {
		require.True(t, tt.got.Equal(tt.want), "%s: %v, want %v", name, tt.got, tt.want)
	}
	require.True(t, All(AllRows, AllRows) == AllRows && AllRows.IsAllRows() && !AllRows.IsNoRows())
	require.True(t, zero.IsNoRows() && !zero.IsAllRows() && Not(AllRows) == zero)
	require.False(t, eu.Equal(us))
	require.False(t, eu.Equal(Not(eu)))
	require.False(t, Where("n", Eq, 1).Equal(Where("n", Eq, "1")), "text is no number before Bind")
	require.False(t, Where("n", In, []string{}).IsNoRows())

	list := []string{"EU"}
	c := Where("region", In, list)
	list[0] = "US"
	require.Equal(t, `region in ["EU"]`, c.String())
}

func malformedConditions() map[string]Condition {
	deep, wide := eu, make([]Condition, 1000)
	for i := range 12 {
		deep = All(Where("n", Eq, i), AnyOf(Where("n", Ne, i), deep))
	}
	for i := range wide {
		wide[i] = Where("n", Eq, i)
	}
	items := make([]Condition, 5)
	for i := range items {
		items[i] = Where("n", In, append(make([]int, 999), i))
	}
	return map[string]Condition{
		"all of nothing":       All(),
		"any of nothing":       AnyOf(),
		"operator":             Where("a", "LIKE", "x"),
		"no operator":          Where("a", "", "x"),
		"no field":             Where("", Eq, "x"),
		"field NUL":            Where("a\x00", Eq, "x"),
		"field UTF-8":          Where("a\xff", Eq, "x"),
		"field length":         Where(strings.Repeat("a", 513), Eq, "x"),
		"nil":                  Where("a", Eq, nil),
		"nil pointer":          Where("a", Eq, (*string)(nil)),
		"NUL":                  Where("a", Eq, "x\x00"),
		"UTF-8":                Where("a", Eq, "x\xff"),
		"text length":          Where("a", Eq, strings.Repeat("a", 64<<10+1)),
		"NaN":                  Where("a", Eq, math.NaN()),
		"infinity":             Where("a", Eq, float32(math.Inf(-1))),
		"exponent":             Where("a", Eq, json.Number("1e3")),
		"leading zero":         Where("a", Eq, json.Number("007")),
		"no number":            Where("a", Eq, json.Number("")),
		"struct":               Where("a", Eq, struct{}{}),
		"bytes":                Where("a", Eq, []byte("x")),
		"list without in":      Where("a", Eq, []string{"x"}),
		"in without list":      Where("a", In, "x"),
		"in of bytes":          Where("a", In, []byte("x")),
		"in of lists":          Where("a", In, [][]string{{"x"}}),
		"in of nil":            Where("a", In, []any{nil}),
		"in nil":               Where("a", In, nil),
		"in self":              Where("a", In, Self),
		"in of references":     Where("a", In, []RefVar{Self}),
		"equals roles":         Where("a", Eq, SelfRoles),
		"unknown reference":    Where("a", Eq, RefVar(9)),
		"long list":            Where("a", In, make([]int, 1001)),
		"is-null of text":      Where("a", IsNull, "true"),
		"is-null of reference": Where("a", IsNull, Self),
		"contains nothing":     Where("a", Contains, ""),
		"starts with nothing":  Where("a", StartsWith, ""),
		"contains a number":    Where("a", Contains, 1),
		"year 10000":           Where("a", Eq, time.Date(10000, 1, 1, 0, 0, 0, 0, time.UTC)),
		"zero time":            Where("a", Eq, time.Time{}),
		"too deep":             deep,
		"too wide":             All(wide...),
		"too many values":      AnyOf(items...),
	}
}

func TestMalformedConditionsAdmitNothing(t *testing.T) {
	s := NewSchema(Fields{"a": {"a", Text}, "n": {"n", Integer}, "region": {"region", Text}})
	for name, c := range malformedConditions() {
		for what, d := range map[string]Condition{"itself": c, "not": Not(c), "not not": Not(Not(c)),
			"any with every row": AnyOf(AllRows, c), "all": All(eu, c), "all with no row": All(Condition{}, c),
			"resolved": c.resolve(nil)} {
			require.ErrorIs(t, d.Validate(), ErrBadCondition, "%s, %s", name, what)
			require.False(t, d.IsAllRows())
			_, err := json.Marshal(d)
			require.ErrorIs(t, err, ErrBadCondition)
			p, err := s.Bind(d)
			var ce *ConditionError
			require.True(t, errors.As(err, &ce) && errors.Is(err, ErrInvalid), "%s, %s", name, what)
			require.False(t, p.Match(Row{"a": "x", "n": 1, "region": "EU"}))
			where, args := p.SQL(SQLite, 1)
			require.Equal(t, "(1=0)", where)
			require.Empty(t, args)
		}
	}
	require.NoError(t, Condition{}.Validate())
	require.NoError(t, AllRows.Validate())
	require.NoError(t, All(eu, Not(large)).Validate())
}

func TestConditionErrorsHoldNoValue(t *testing.T) {
	err := Where("region", Eq, "secret\x00").Validate()
	require.EqualError(t, err, `latchkey: invalid argument: bad condition: field "region": the text holds a NUL`)
}

func lookup(vals map[RefVar]any) refValues {
	return func(v any) (any, bool) { ref, _ := v.(RefVar); x, ok := vals[ref]; return x, ok }
}

func TestReferencesAreFilledIn(t *testing.T) {
	mine, role := Where("owner", Eq, Self), Where("role", In, SelfRoles)
	who := lookup(map[RefVar]any{Self: "t1", SelfRoles: []string{"r1", "r2"}, ClientID: ""})
	for want, c := range map[string]Condition{
		`owner = "t1"`:         mine,
		`not owner = "t1"`:     Not(mine),
		`role in ["r1", "r2"]`: role,
		`region = "EU" and (owner = "t1" or amount >= 4000)`: All(eu, AnyOf(mine, large)),
		`not region = "EU" or not owner = "t1"`:              Not(All(eu, mine)),
		`region = "EU"`:                                      eu,
		"no row":                                             Where("client", Eq, ClientID), // an empty text is no value
	} {
		r := c.resolve(who)
		require.Equal(t, want, r.String())
		require.False(t, r.hasRefs())
	}
	require.True(t, All(eu, Not(mine)).hasRefs())
	require.False(t, All(eu, large).hasRefs())
	require.Equal(t, "no row", Where("a", Eq, Self).resolve(lookup(map[RefVar]any{Self: "x\x00"})).String())
	require.Equal(t, "no row", Where("a", Eq, Self).resolve(lookup(map[RefVar]any{Self: ClientID})).String())
}

// A reference without a value admits nothing, and so does its negation, wherever it stands and whenever it is negated.
func TestReferencesWithoutValueAdmitNothing(t *testing.T) {
	unset := lookup(nil)
	mine := Where("owner", Eq, Self)
	for _, c := range []Condition{mine, Not(mine), All(eu, mine), All(eu, Not(mine)), Not(AnyOf(eu, mine)),
		Not(AnyOf(us, Not(mine))), Where("role", In, SelfRoles), Not(Where("role", In, SelfRoles))} {
		require.True(t, c.resolve(unset).IsNoRows(), "%v", c)
		require.True(t, Not(c.resolve(unset)).IsNoRows(), "%v", c)
	}
	s := NewSchema(Fields{"owner": {"owner", Text}, "region": {"region", Text}})
	row := Row{"owner": "t1", "region": "EU"}
	for c, want := range map[Condition]bool{
		AnyOf(eu, mine).resolve(unset):      true, // region is enough
		AnyOf(us, mine).resolve(unset):      false,
		Not(AnyOf(us, mine)).resolve(unset): false,
		Not(AnyOf(us, mine).resolve(unset)): false, // negated afterwards: still unknown
		Not(All(us, mine)).resolve(unset):   true,  // region is not US: known for every caller
	} {
		p, err := s.Bind(c)
		require.NoError(t, err)
		require.Equal(t, want, p.Match(row), "%v", c)
	}
}

func TestUnfilledReferencesAreNotBound(t *testing.T) {
	_, err := Where("owner", Eq, Self).Bind(Fields{"owner": {"owner", Text}})
	require.ErrorIs(t, err, ErrBadCondition)
	require.ErrorContains(t, err, `field "owner": the reference self`)
}

// A condition that is too large only because latchkey composed it is no mistake of the caller.
func TestComposedFaultsAreOfRules(t *testing.T) {
	parts := make([]Condition, 9000)
	for i := range parts {
		parts[i] = Where("i", Eq, i)
	}
	for composed, c := range map[bool]Condition{true: anyOf(parts...), false: AnyOf(parts...)} {
		_, err := NewSchema(testFields).Bind(c)
		var ce *ConditionError
		require.ErrorAs(t, err, &ce)
		require.Equal(t, composed, ce.OfRule)
	}
}

func TestConditionJSON(t *testing.T) {
	for want, c := range map[string]Condition{
		`false`: {},
		`true`:  AllRows,
		`{"field":"region","op":"=","value":"EU"}`:                eu,
		`{"field":"owner","op":"=","value":{"ref":"self"}}`:       Where("owner", Eq, Self),
		`{"field":"owner","op":"=","value":{"ref":"owner_id"}}`:   Where("owner", Eq, OwnerID),
		`{"field":"client","op":"=","value":{"ref":"client_id"}}`: Where("client", Eq, ClientID),
		`{"field":"role","op":"in","value":{"ref":"self_roles"}}`: Where("role", In, SelfRoles),
		`{"field":"n","op":"in","value":[1,2.50,"x",true]}`:       Where("n", In, []any{1, json.Number("2.50"), "x", true}),
		`{"field":"n","op":"in","value":[]}`:                      Where("n", In, []string{}),
		`{"field":"n","op":"=","value":18446744073709551615}`:     Where("n", Eq, uint64(1<<64-1)),
		`{"field":"n","op":"is-null","value":false}`:              Where("n", IsNull, false),
		`{"not":{"field":"region","op":"=","value":"EU"}}`:        Not(eu),
		`{"all":[{"field":"region","op":"=","value":"EU"},{"any":[{"field":"a","op":"!=","value":"é\"\n"},{"field":"b",` +
			`"op":"=","value":0}]}]}`: All(eu, AnyOf(Where("a", Ne, "é\"\n"), Where("b", Eq, 0))),
		`{"any":[false,{"field":"region","op":"=","value":"EU"}]}`: AnyOf(Where("o", Eq, Self), eu).resolve(lookup(nil)),
	} {
		data, err := c.MarshalJSON()
		require.NoError(t, err)
		require.JSONEq(t, want, string(data))
		require.Equal(t, want, string(data))
		var back Condition
		require.NoError(t, json.Unmarshal(data, &back), want)
		require.True(t, c.Equal(back), want)
		require.Equal(t, c.IsAllRows(), back.IsAllRows())
		require.Equal(t, c.hasRefs(), back.hasRefs())
	}
	// The deepest condition survives inside a record.
	deep := eu
	for i := 0; All(eu, AnyOf(us, Where("n", Eq, i), deep)).Validate() == nil; i++ {
		deep = All(Where("n", Ne, i), AnyOf(us, Where("n", Eq, i), deep))
		if next := All(Where("m", Ne, i), AnyOf(us, Where("n", Eq, i), deep)); next.Validate() != nil {
			break
		}
	}
	require.NoError(t, deep.Validate())
	data, err := json.Marshal(Token{Kind: KindAccess, Rows: []Condition{deep}})
	require.NoError(t, err)
	var token Token
	require.NoError(t, json.Unmarshal(data, &token))
	require.True(t, deep.Equal(token.Rows[0]))
}

func TestConditionJSONIsStrict(t *testing.T) {
	const good = `{"field":"a","op":"=","value":"x"}`
	for _, bad := range []string{
		``, `null`, `0`, `1`, `"true"`, `[]`, `{}`, `[` + good + `]`, good + good, good + `,`,
		`{"field":"a","op":"=","value":"x"`,
		`{"field":"a","op":"="}`, `{"field":"a","value":"x"}`, `{"op":"=","value":"x"}`,
		`{"Field":"a","op":"=","value":"x"}`, `{"field":"a","OP":"=","value":"x"}`,
		`{"field":"a","op":"=","value":"x","more":1}`,
		`{"field":"a","op":"=","value":"x","field":"b"}`, `{"field":"a","op":"=","value":"x","value":"y"}`,
		`{"field":"a","op":"=","op":"=","value":"x"}`, `{"field":"a","field":"a","op":"=","value":"x"}`,
		`{"field":"a","op":"=","value":"x","value":"x"}`, `{"all":[` + good + `],"all":[` + good + `]}`,
		`{"field":"a","op":"=","value":"x","not":` + good + `}`, `{"not":` + good + `,"not":` + good + `}`,
		`{"field":"a","op":"==","value":"x"}`, `{"field":"a","op":"LIKE","value":"x"}`, `{"field":1,"op":"=","value":"x"}`,
		`{"field":"","op":"=","value":"x"}`, `{"field":"a","op":null,"value":"x"}`,
		`{"field":"a\u0000","op":"=","value":"x"}`,
		`{"field":"a","op":"=","value":null}`, `{"field":"a","op":"=","value":1e3}`, `{"field":"a","op":"=","value":1E400}`,
		`{"field":"a","op":"=","value":["x"]}`, `{"field":"a","op":"=","value":{}}`, `{"field":"a","op":"=","value":{"x":1}}`,
		`{"field":"a","op":"=","value":{"ref":"Self"}}`, `{"field":"a","op":"=","value":{"ref":""}}`,
		`{"field":"a","op":"=","value":{"ref":1}}`,
		`{"field":"a","op":"=","value":{"ref":"self","ref":"self"}}`, `{"field":"a","op":"=","value":{"ref":"self","x":1}}`,
		`{"field":"a","op":"=","value":{"ref":"self_roles"}}`, `{"field":"a","op":"in","value":{"ref":"self"}}`,
		`{"field":"a","op":"in","value":[{"ref":"self"}]}`, `{"field":"a","op":"in","value":"x"}`,
		`{"field":"a","op":"in","value":[null]}`,
		`{"field":"a","op":"in","value":[["x"]]}`, `{"field":"a","op":"in","value":[[]]}`,
		`{"field":"a","op":"is-null","value":"true"}`,
		`{"field":"a","op":"=","value":"x\u0000"}`, "{\"field\":\"a\",\"op\":\"=\",\"value\":\"\xff\"}",
		`{"all":[]}`, `{"any":[]}`, `{"all":` + good + `}`, `{"all":null}`, `{"not":null}`, `{"not":true}`,
		`{"not":[` + good + `]}`,
		`{"all":[` + good + `,true]}`, `{"any":[true]}`, `{"any":[` + good + `,null]}`,
		`{"all":[` + good + `],"any":[` + good + `]}`,
		`{"any":[` + good + `,{"field":"a","op":"bad","value":"x"}]}`,
	} {
		c := AllRows
		err := c.UnmarshalJSON([]byte(bad))
		require.ErrorIs(t, err, ErrBadCondition, bad)
		require.True(t, c.IsNoRows(), bad)
	}
	// Nothing refused becomes a right by being negated or joined.
	for _, none := range []string{`{"not":false}`, `{"all":[false,` + good + `]}`, `{"not":{"any":[{"all":[false,` + good +
		`]},` + good + `]}}`} {
		var c Condition
		require.NoError(t, c.UnmarshalJSON([]byte(none)), none)
		p, err := c.Bind(Fields{"a": {"a", Text}})
		require.NoError(t, err)
		require.False(t, p.Match(Row{"a": "y"}), none)
	}
}

func TestValuesAreBounded(t *testing.T) {
	of := func(n int) []byte {
		var b strings.Builder
		for i := range n {
			fmt.Fprintf(&b, `,"f%d":1`, i)
		}
		return []byte("{" + b.String()[1:] + "}")
	}
	var v Values
	require.NoError(t, v.UnmarshalJSON(of(maxListItems)))
	require.Len(t, v, maxListItems)
	require.ErrorContains(t, v.UnmarshalJSON(of(maxListItems+1)), "too many values")
	require.Nil(t, v)
}

func TestValuesJSON(t *testing.T) {
	var v Values
	require.NoError(t, json.Unmarshal([]byte(`{"a":"x","b":true,"c":5,"d":5.50,"e":null,"f":18446744073709551615}`), &v))
	require.Equal(t, Values{"a": "x", "b": true, "c": int64(5), "d": json.Number("5.50"), "e": nil,
		"f": json.Number("18446744073709551615")}, v)
	data, err := json.Marshal(v)
	require.NoError(t, err)
	require.Equal(t, `{"a":"x","b":true,"c":5,"d":5.50,"e":null,"f":18446744073709551615}`, string(data))

	data, err = json.Marshal(Values(nil))
	require.NoError(t, err)
	require.Equal(t, `{}`, string(data))

	for _, bad := range []string{``, `null`, `[]`, `{"a":[1]}`, `{"a":[]}`, `{"a":{}}`, `{"a":{"ref":"nobody"}}`,
		`{"a":{"ref":""}}`, `{"a":{"ref":"self_roles"}}`, `{"a":{"attr":""}}`, `{"a":{"attr":1}}`,
		`{"a":{"attr":"x","attr":"x"}}`, `{"a":{"attr":"x","ref":"self"}}`, `{"a":[{"attr":"x"}]}`, `{"a":1e3}`,
		`{"a":1,"a":1}`, `{"":1}`, `{"a":"\u0000"}`, `{"a":1}x`, `{"a":1`} {
		v := Values{"a": 1}
		require.ErrorIs(t, v.UnmarshalJSON([]byte(bad)), ErrBadCondition, bad)
		require.Nil(t, v, bad)
	}
	for _, bad := range []Values{{"a": SelfRoles}, {"a": RefVar(9)}, {"a": Attr("")}, {"a": []string{"x"}},
		{"a": struct{}{}}, {"": 1}, {"a": "x\x00"},
		{"a": []byte("x")}} {
		_, err := json.Marshal(bad)
		require.Error(t, err)
		_, err = normaliseValues(bad)
		require.True(t, errors.Is(err, ErrBadCondition), "%v", bad)
	}
	normal, err := normaliseValues(map[string]any{"a": uint8(1), "b": 0.5, "c": nil, "d": Eq})
	require.NoError(t, err)
	require.Equal(t, Values{"a": int64(1), "b": json.Number("0.5"), "c": nil, "d": "="}, normal)
	normal, err = normaliseValues(nil)
	require.NoError(t, err)
	require.Nil(t, normal)
}

// No bytes make a panic, and an error leaves the zero Condition. A Condition that was read survives a round trip. It
// binds, prints and matches without a panic, and no row meets both it and its negation.
func FuzzConditionJSON(f *testing.F) {
	for _, seed := range []string{`true`, `false`, `{"not":false}`, `{"field":"s","op":"in","value":["a",1]}`,
		`{"all":[{"field":"i","op":">=","value":4000},{"not":{"field":"n","op":"=","value":0.10}}]}`,
		`{"any":[{"field":"d","op":"<","value":"2026-11-22"},{"field":"t","op":"=","value":"2026-11-22T10:00:00.5Z"}]}`,
		`{"field":"s","op":"starts-with","value":{"ref":"self"}}`, `{"field":"b","op":"is-null","value":true}`} {
		f.Add([]byte(seed), "a")
	}
	s := NewSchema(testFields)
	f.Fuzz(func(t *testing.T, data []byte, value string) {
		var c Condition
		if err := c.UnmarshalJSON(data); err != nil {
			require.ErrorIs(t, err, ErrBadCondition)
			require.True(t, c.IsNoRows())
			return
		}
		require.NoError(t, c.Validate())
		written, err := c.MarshalJSON()
		require.NoError(t, err)
		var back Condition
		require.NoError(t, back.UnmarshalJSON(written), "%s", written)
		require.True(t, c.Equal(back), "%s", written)
		_ = c.String()

		p, err := s.Bind(c)
		if err != nil {
			require.ErrorIs(t, err, ErrBadCondition)
			return
		}
		q, err := s.Bind(Not(c))
		require.NoError(t, err)
		for _, row := range []Row{{}, {"s": value, "i": value, "n": value, "b": value, "d": value, "t": value},
			{"s": nil, "i": 5, "b": true}} {
			require.False(t, p.Match(row) && q.Match(row))
		}
		for _, d := range []Dialect{SQLite, Postgres, MySQL} {
			where, _ := p.SQL(d, 1)
			require.True(t, where[0] == '(' && where[len(where)-1] == ')')
		}
	})
}

// Of equal parts one is kept, of few and of many.
func TestEqualPartsCountOnce(t *testing.T) {
	for _, n := range []int64{2, 16, 17, 40} {
		var once, twice []Condition
		for i := range n {
			c := Where("n", Eq, i)
			once, twice = append(once, c), append(twice, c, Not(Not(c)))
		}
		require.Equal(t, AnyOf(once...).String(), AnyOf(twice...).String())
		require.Equal(t, All(once...).String(), All(twice...).String())
	}
}

// What takes text takes nothing else.
func TestOperatorsOfText(t *testing.T) {
	for _, op := range []Op{Contains, StartsWith} {
		for _, v := range []any{3, true, nil, []string{"x"}} {
			err := Where("a", op, v).Validate()
			require.ErrorIs(t, err, ErrBadCondition, "%s %v", op, v)
		}
		require.ErrorContains(t, Where("a", op, 3).Validate(), string(op)+" takes text")
		require.NoError(t, Where("a", op, "x").Validate())
	}
}
