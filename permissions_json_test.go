package latchkey

import (
	"encoding/json"
	"math/rand/v2"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestPermissionsJSON(t *testing.T) {
	for form, r := range map[string]Rule{
		`{"allow":["read"],"on":["dataset/*"]}`: Allow(Read).On("dataset/*"),
		`{"grant":["create","x:y"],"on":["a","b/*"],"where":{"field":"region","op":"=","value":"EU"},"force":{"by":null,"n":3,"region":"EU"}}`: Grant(Create, "x:y").On("a", "b/*").Where(inEU).Force(map[string]any{"region": "EU", "by": nil, "n": 3}),
		`{"deny":["*"],"on":["*"],"where":false}`: Deny(Any).On("*").Where(Condition{}),
	} {
		data, err := json.Marshal(Permissions{r})
		require.NoError(t, err)
		require.Equal(t, "["+form+"]", string(data))
		var back Permissions
		require.NoError(t, json.Unmarshal(data, &back))
		require.Len(t, back, 1)
		require.Equal(t, r.String(), back[0].String())
		require.True(t, r.Condition().Equal(back[0].Condition()))
		require.Equal(t, r.Forced(), back[0].Forced())
	}
	for form, want := range map[string]Permissions{`null`: nil, `[]`: {}} {
		got := Permissions{Deny(Any).On("*")}
		require.NoError(t, json.Unmarshal([]byte(form), &got))
		require.Equal(t, want, got)
		data, err := json.Marshal(want)
		require.NoError(t, err)
		require.Equal(t, form, string(data))
	}
	var o Owner
	require.NoError(t, json.Unmarshal([]byte(`{"boundary":null}`), &o))
	require.Nil(t, o.Boundary, "no boundary")
	require.NoError(t, json.Unmarshal([]byte(`{"boundary":[]}`), &o))
	require.NotNil(t, o.Boundary, "a boundary that allows nothing")

	for form, want := range map[string]Role{`{"id":"","owner":"","version":0,"name":"r"}`: {Name: "r"},
		`{"id":"","owner":"","version":0,"name":"r","boundary":[]}`: {Name: "r", Boundary: Permissions{}}} {
		data, err := json.Marshal(want)
		require.NoError(t, err)
		require.Equal(t, form, string(data))
		var r Role
		require.NoError(t, json.Unmarshal(data, &r))
		require.Equal(t, want, r)
	}
}

func TestPermissionsJSONIsStrict(t *testing.T) {
	const rule = `{"allow":["read"],"on":["a"]}`
	for _, form := range []string{
		``, `{}`, rule, `"*"`, `true`, `1`, `[null]`, `[[]]`, `["*"]`, `[{}]`, `[` + rule + `,null]`, `[` + rule + `]x`,
		`[{"allow":["read"]}]`, `[{"on":["a"]}]`,
		`[{"allow":[],"on":["a"]}]`, `[{"allow":["read"],"on":[]}]`, `[{"allow":["read"],"on":null}]`,
		`[{"allow":null,"on":["a"]}]`, `[{"allow":null,"grant":["read"],"on":["a"]}]`,
		`[{"allow":["read"],"deny":["read"],"on":["a"]}]`, `[{"allow":["read"],"deny":[],"on":["a"]}]`,
		`[{"allow":"read","on":["a"]}]`, `[{"allow":["read"],"on":"a"}]`, `[{"allow":[null],"on":["a"]}]`,
		`[{"allow":["read"],"on":[null]}]`, `[{"allow":["READ"],"on":["a"]}]`, `[{"allow":["read"],"on":["a//b"]}]`,
		`[{"allow":["read"],"on":["a"],"where":null}]`, `[{"allow":["read"],"on":["a"],"where":{}}]`,
		`[{"allow":["read"],"on":["a"],"where":[]}]`, `[{"allow":["read"],"on":["a"],"where":{"all":[]}}]`,
		`[{"allow":["read"],"on":["a"],"force":null}]`, `[{"allow":["read"],"on":["a"],"force":{}}]`,
		`[{"allow":["read"],"on":["a"],"force":{"x":[1]}}]`, `[{"allow":["read"],"on":["a"],"force":{"x":{"ref":"self"}}}]`,
		`[{"deny":["read"],"on":["a"],"force":{"x":1}}]`,
	} {
		p := Permissions{Allow(Any).On("*")}
		require.Error(t, json.Unmarshal([]byte(form), &p), "%s", form)
		p = Permissions{Allow(Any).On("*")}
		require.ErrorIs(t, p.UnmarshalJSON([]byte(form)), ErrInvalid, "%s", form)
		require.Equal(t, Permissions{}, p, "%s: nothing, and not nil, which for a boundary is no limit", form)
	}
}

func TestPermissionsJSONRoundTrip(t *testing.T) {
	eachWorld(t, 500, func(t *testing.T, r *rand.Rand) {
		p := permissionsOf(randomRules(r, 8))
		data, err := json.Marshal(p)
		require.NoError(t, err)
		var back Permissions
		require.NoError(t, json.Unmarshal(data, &back))
		require.Len(t, back, len(p))
		for i := range p {
			require.Equal(t, p[i].String(), back[i].String())
			require.True(t, p[i].Condition().Equal(back[i].Condition()))
			require.Equal(t, p[i].Forced(), back[i].Forced())
		}
	})
}

func FuzzPermissionsJSON(f *testing.F) {
	f.Add([]byte(`[{"allow":["read"],"on":["dataset/*"],"where":{"field":"region","op":"=","value":"EU"},"force":{"a":1.5}}]`))
	f.Add([]byte(`[{"deny":["*"],"on":["*","latchkey/*"],"where":{"not":{"any":[{"field":"a","op":"in","value":[1,"b"]},false]}}}]`))
	f.Add([]byte(`null`))
	f.Fuzz(func(t *testing.T, data []byte) {
		var p Permissions
		if err := p.UnmarshalJSON(data); err != nil {
			require.ErrorIs(t, err, ErrInvalid)
			require.Equal(t, Permissions{}, p)
			return
		}
		require.NoError(t, p.Validate())
		again, err := json.Marshal(p)
		require.NoError(t, err)
		var back Permissions
		require.NoError(t, json.Unmarshal(again, &back), "%s", again)
		third, err := json.Marshal(back)
		require.NoError(t, err)
		require.Equal(t, string(again), string(third))
		for _, on := range modelResources {
			require.Equal(t, p.Allows(Read, on), back.Allows(Read, on))
		}
	})
}
