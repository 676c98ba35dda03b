package strictjson

import (
	"encoding/json"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestUnmarshalOpen(t *testing.T) {
	for text, want := range map[string]grant{
		`{"role":"ro","more":{"role":"x","list":[1]}}`:             {Role: "ro"},
		`{"in":{"kind":"a","extra":null},"roles":1}`:               {In: inner{Kind: "a"}},
		`{"list":[{"kind":"a","new":1}],"Hidden":"x","private":2}`: {List: []inner{{Kind: "a"}}},
	} {
		var got grant
		require.Error(t, Unmarshal([]byte(text), &grant{}), text)
		require.NoError(t, UnmarshalOpen([]byte(text), &got), text)
		require.Equal(t, want, got, text)
	}
	for text, why := range map[string]string{
		`{"role":"a","role":"b"}`:              "a name that the object has already, or has but for its case",
		`{"role":"a","Role":"b"}`:              "a name that the object has already, or has but for its case",
		`{"new":1,"new":2}`:                    "a name that the object has already, or has but for its case",
		`{"new":{"a":1,"a":2}}`:                "a name that the object has already, or has but for its case",
		`{"Role":"b"}`:                         "a name that differs from a known one by its case alone",
		`{"in":{"\u212aind":"b"}}`:             "a name that differs from a known one by its case alone",
		`{"list":[{"KIND":"b"}]}`:              "a name that differs from a known one by its case alone",
		`{"role":1}`:                           `a value of the wrong type for "role"`,
		`{"new":"` + "\xff" + `"}`:             "invalid UTF-8",
		`{"new":[1,]}`:                         "unexpected byte",
		`{} {}`:                                "trailing data",
		`{"own":{"k":"v","unknown member":1}}`: "unknown member",
	} {
		err := UnmarshalOpen([]byte(text), &grant{})
		var e *Error
		require.ErrorAs(t, err, &e, text)
		require.Equal(t, why, e.Reason, text)
	}
}

// What Unmarshal accepts means the same here. What is accepted means what it means to a reader by exact names.
func FuzzUnmarshalOpen(f *testing.F) {
	for _, s := range []string{`{"role":"a","new":{"x":[1]}}`, `{"Role":"a"}`, `{"in":{"kind":"a","more":1}}`, `null`,
		`{"\u0072ole":"a","r\u006fles":1}`} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		var strict, open grant
		strictly, err := Unmarshal(data, &strict), UnmarshalOpen(data, &open)
		if strictly == nil {
			require.NoError(t, err)
			require.Equal(t, strict, open)
		}
		if err != nil {
			return
		}
		var exact map[string]json.RawMessage
		require.NoError(t, Unmarshal(data, &exact))
		role := ""
		if raw, ok := exact["role"]; ok && string(raw) != "null" {
			require.NoError(t, json.Unmarshal(raw, &role))
		}
		require.Equal(t, role, open.Role)
	})
}
