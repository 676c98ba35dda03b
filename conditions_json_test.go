package latchkey

import (
	"encoding/json"
	"errors"
	"testing"

	"github.com/stretchr/testify/require"
)

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
		`{"all":[{"field":"region","op":"=","value":"EU"},{"any":[{"field":"a","op":"!=","value":"é\"\n"},{"field":"b","op":"=","value":0}]}]}`: All(eu, AnyOf(Where("a", Ne, "é\"\n"), Where("b", Eq, 0))),
		`{"any":[false,{"field":"region","op":"=","value":"EU"}]}`:                                                                              AnyOf(Where("o", Eq, Self), eu).resolve(lookup(nil)),
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
		``, `null`, `0`, `1`, `"true"`, `[]`, `{}`, `[` + good + `]`, good + good, good + `,`, `{"field":"a","op":"=","value":"x"`,
		`{"field":"a","op":"="}`, `{"field":"a","value":"x"}`, `{"op":"=","value":"x"}`,
		`{"Field":"a","op":"=","value":"x"}`, `{"field":"a","OP":"=","value":"x"}`, `{"field":"a","op":"=","value":"x","more":1}`,
		`{"field":"a","op":"=","value":"x","field":"b"}`, `{"field":"a","op":"=","value":"x","value":"y"}`,
		`{"field":"a","op":"=","value":"x","not":` + good + `}`, `{"not":` + good + `,"not":` + good + `}`,
		`{"field":"a","op":"==","value":"x"}`, `{"field":"a","op":"LIKE","value":"x"}`, `{"field":1,"op":"=","value":"x"}`,
		`{"field":"","op":"=","value":"x"}`, `{"field":"a","op":null,"value":"x"}`, `{"field":"a\u0000","op":"=","value":"x"}`,
		`{"field":"a","op":"=","value":null}`, `{"field":"a","op":"=","value":1e3}`, `{"field":"a","op":"=","value":1E400}`,
		`{"field":"a","op":"=","value":["x"]}`, `{"field":"a","op":"=","value":{}}`, `{"field":"a","op":"=","value":{"x":1}}`,
		`{"field":"a","op":"=","value":{"ref":"Self"}}`, `{"field":"a","op":"=","value":{"ref":""}}`, `{"field":"a","op":"=","value":{"ref":1}}`,
		`{"field":"a","op":"=","value":{"ref":"self","ref":"self"}}`, `{"field":"a","op":"=","value":{"ref":"self","x":1}}`,
		`{"field":"a","op":"=","value":{"ref":"self_roles"}}`, `{"field":"a","op":"in","value":{"ref":"self"}}`,
		`{"field":"a","op":"in","value":[{"ref":"self"}]}`, `{"field":"a","op":"in","value":"x"}`, `{"field":"a","op":"in","value":[null]}`,
		`{"field":"a","op":"in","value":[["x"]]}`, `{"field":"a","op":"in","value":[[]]}`, `{"field":"a","op":"is-null","value":"true"}`,
		`{"field":"a","op":"=","value":"x\u0000"}`, "{\"field\":\"a\",\"op\":\"=\",\"value\":\"\xff\"}",
		`{"all":[]}`, `{"any":[]}`, `{"all":` + good + `}`, `{"all":null}`, `{"not":null}`, `{"not":true}`, `{"not":[` + good + `]}`,
		`{"all":[` + good + `,true]}`, `{"any":[true]}`, `{"any":[` + good + `,null]}`, `{"all":[` + good + `],"any":[` + good + `]}`,
		`{"any":[` + good + `,{"field":"a","op":"bad","value":"x"}]}`,
	} {
		c := AllRows
		err := c.UnmarshalJSON([]byte(bad))
		require.ErrorIs(t, err, ErrBadCondition, bad)
		require.True(t, c.IsNoRows(), bad)
	}
	// Nothing refused becomes a right by being negated or joined.
	for _, none := range []string{`{"not":false}`, `{"all":[false,` + good + `]}`, `{"not":{"any":[{"all":[false,` + good + `]},` + good + `]}}`} {
		var c Condition
		require.NoError(t, c.UnmarshalJSON([]byte(none)), none)
		p, err := c.Bind(Fields{"a": {"a", Text}})
		require.NoError(t, err)
		require.False(t, p.Match(Row{"a": "y"}), none)
	}
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

	for _, bad := range []string{``, `null`, `[]`, `{"a":[1]}`, `{"a":[]}`, `{"a":{}}`, `{"a":{"ref":"self"}}`, `{"a":1e3}`, `{"a":1,"a":1}`,
		`{"":1}`, `{"a":"\u0000"}`, `{"a":1}x`, `{"a":1`} {
		v := Values{"a": 1}
		require.ErrorIs(t, v.UnmarshalJSON([]byte(bad)), ErrBadCondition, bad)
		require.Nil(t, v, bad)
	}
	for _, bad := range []Values{{"a": Self}, {"a": []string{"x"}}, {"a": struct{}{}}, {"": 1}, {"a": "x\x00"}, {"a": []byte("x")}} {
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

// Whatever the bytes: no panic; an error leaves the zero Condition; what was read is read again from what it writes,
// and binds, prints and matches without a panic, admitting nothing together with its negation.
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
		for _, row := range []Row{{}, {"s": value, "i": value, "n": value, "b": value, "d": value, "t": value}, {"s": nil, "i": 5, "b": true}} {
			require.False(t, p.Match(row) && q.Match(row))
		}
		for _, d := range []Dialect{SQLite, Postgres, MySQL} {
			where, _ := p.SQL(d, 1)
			require.True(t, where[0] == '(' && where[len(where)-1] == ')')
		}
	})
}
