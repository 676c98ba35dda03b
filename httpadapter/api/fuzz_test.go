package api

import (
	"bytes"
	"encoding/json"
	"reflect"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/latchkey-go/latchkey/httpadapter"
)

// FuzzBody: a body is refused, or it is read into a value whose own JSON reads as the same value. A refusal points at a
// member, and no body makes the decoder panic.
func FuzzBody(f *testing.F) {
	var types []reflect.Type
	for _, op := range operations() {
		if op.in != nil {
			types = append(types, op.in)
		}
	}
	for i := range types {
		for _, seed := range []string{`{}`, `{"kind":"api_key","name":"x","validity":{"idle":1000000000}}`,
			`{"permissions":[{"allow":["read"],"on":["a/*"],"where":{"not":true}}],"boundary":[],"name":"r"}`,
			`{"lifetime":1,"rows":[true],"forced":{"a":null},"extra":{"a":[1,null]}}`, `{"a":1,"a":2}`,
			`{"limits":{"quotas":[{"amount":1,"per":"day"}],"rate":{"count":1,"per":1}}}`, `[`,
			`{"role_ends":{"a":"2027-01-01T00:00:00Z"}}`,
			`{"questions":[{"action":"read","resource":"a"}]}`, `{"client":{"id":"c"},"attributes":{"a":["b"]},"all":true}`} {
			f.Add(uint8(i), []byte(seed))
		}
	}
	f.Fuzz(func(t *testing.T, which uint8, body []byte) {
		typ := types[int(which)%len(types)]
		if err := checkJSON(body); err != nil {
			p := httpadapter.ProblemOf(err)
			require.Equal(t, 400, p.Status)
			require.True(t, p.Pointer == "" || p.Pointer[0] == '/')
			return
		}
		v := reflect.New(typ).Elem()
		if err := decode(body, v); err != nil {
			p := httpadapter.ProblemOf(err)
			require.Equal(t, 400, p.Status)
			require.True(t, p.Pointer == "" || p.Pointer[0] == '/')
			return
		}
		text, err := json.Marshal(v.Interface())
		require.NoError(t, err)
		again := reflect.New(typ).Elem()
		require.NoError(t, decode(text, again), "%s became %s", body, text)
		twice, err := json.Marshal(again.Interface())
		require.NoError(t, err)
		require.Equal(t, string(text), string(twice))
	})
}

// FuzzPatch: a merge patch does what RFC 7396 says, by the plain way to compute it.
func FuzzPatch(f *testing.F) {
	f.Add([]byte(`{"a":{"b":1,"c":2},"d":[1]}`), []byte(`{"a":{"b":null,"e":{"f":null}},"d":{"x":1}}`))
	f.Add([]byte(`{}`), []byte(`{"a":{"b":{"c":null}}}`))
	f.Add([]byte(`{"a":1}`), []byte(`{"a":null,"é":"\u0000"}`))
	f.Fuzz(func(t *testing.T, object, patch []byte) {
		if checkJSON(object) != nil || checkJSON(patch) != nil {
			return
		}
		members, err := membersOf(patch)
		require.NoError(t, err)
		got := merge(object, members)
		require.NoError(t, checkJSON(got))
		var is, was, with any
		for text, into := range map[*[]byte]*any{&got: &is, &object: &was, &patch: &with} {
			d := json.NewDecoder(bytes.NewReader(*text))
			d.UseNumber()
			require.NoError(t, d.Decode(into))
		}
		require.Equal(t, plainMerge(was, with), is)
	})
}

// plainMerge is MergePatch of RFC 7396 §2.
func plainMerge(target, patch any) any {
	with, ok := patch.(map[string]any)
	if !ok {
		return patch
	}
	into, ok := target.(map[string]any)
	if !ok {
		into = map[string]any{}
	}
	for name, value := range with {
		if value == nil {
			delete(into, name)
		} else {
			into[name] = plainMerge(into[name], value)
		}
	}
	return into
}

// FuzzQuery: a query is refused or each of its parameters is known, once, and valid.
func FuzzQuery(f *testing.F) {
	known := params(tokenFilter, []parameter{{name: "order", values: orders}, {name: "reverse", kind: boolParameter},
		{name: "most", kind: numberParameter}}, days, pageParameters)
	f.Add("kind=api_key,secret&state=active&limit=5&cursor=x")
	f.Add("find=%C3%A9&expires_from=2026-11-30T12:00:00Z&reverse=true")
	f.Add("kind=&limit=0&;=%zz")
	f.Fuzz(func(t *testing.T, raw string) {
		q, err := readQuery(raw, known, []string{"token"})
		if err != nil {
			require.Equal(t, 400, httpadapter.ProblemOf(err).Status)
			return
		}
		for name, value := range q {
			require.NotContains(t, value, "\x00")
			require.True(t, strings.Contains(raw, name) || strings.Contains(raw, "%"))
			if name == "limit" {
				require.LessOrEqual(t, q.number(name, 0), MaxLimit)
				require.Positive(t, q.number(name, 0))
			}
		}
	})
}

// FuzzCursor: a cursor that is taken was made for the listing.
func FuzzCursor(f *testing.F) {
	listing := []byte("123456789")
	f.Add("MTIzNDU2Nzg5YWZ0ZXI", "after")
	f.Add("", "")
	f.Fuzz(func(t *testing.T, text, after string) {
		if got, ok := parseCursor(text, listing); ok {
			require.NotEmpty(t, got)
			again, ok := parseCursor(encodeCursor(listing, got), listing)
			require.True(t, ok)
			require.Equal(t, got, again)
			_, ok = parseCursor(text, []byte("987654321"))
			require.False(t, ok)
		}
		if after != "" {
			got, ok := parseCursor(encodeCursor(listing, after), listing)
			require.True(t, ok)
			require.Equal(t, after, got)
		}
	})
}

// FuzzEntityTags: what is taken for entity tags can be written as such, and reads the same again.
func FuzzEntityTags(f *testing.F) {
	for _, seed := range []string{`"1.a"`, `W/"1", "2"`, `*`, `"`, `"a" "b"`, `,`, ``} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, line string) {
		tags, any, err := entityTags([]string{line})
		if err != nil || any {
			return
		}
		var b strings.Builder
		for i, tag := range tags {
			if i > 0 {
				b.WriteString(", ")
			}
			if tag.weak {
				b.WriteString("W/")
			}
			b.WriteString(`"` + tag.text + `"`)
		}
		again, _, err := entityTags([]string{b.String()})
		require.NoError(t, err)
		require.Equal(t, tags, again)
	})
}
