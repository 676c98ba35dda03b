package strictjson

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

type inner struct {
	Kind string `json:"kind"`
	Deny bool   `json:"deny"`
}

type embedded struct {
	Settings string `json:"settings"`
	Role     int    `json:"role"` // hidden by grant.Role
}

type grant struct {
	Role  string `json:"role"`
	Count int64  `json:"count"`
	embedded
	In     inner            `json:"in"`
	Ptr    *inner           `json:"ptr"`
	List   []inner          `json:"list"`
	Array  [2]inner         `json:"array"`
	Map    map[string]inner `json:"map"`
	Any    any              `json:"any"`
	Raw    json.RawMessage  `json:"raw"`
	When   time.Time        `json:"when"`
	Own    own              `json:"own"`
	Bare   string
	Hidden string `json:"-"`
	//lint:ignore SA5008 the name is "-"
	Dash string `json:"-,"`
	//lint:ignore U1000 what is not exported is not decoded
	private string
}

// own has a strict UnmarshalJSON.
type own struct{ K string }

func (o *own) UnmarshalJSON(data []byte) error {
	return Unmarshal(data, (*struct {
		K string `json:"k"`
	})(o))
}

func TestAccepts(t *testing.T) {
	for _, text := range []string{
		`{}`, ` { } `, "\t\r\n{}\n", `null`,
		`{"role":"ro","count":9007199254740993}`,
		`{"in":{"kind":"a","deny":true},"ptr":{"kind":"b"},"list":[{"kind":"c"},{}],"map":{"x":{"kind":"d"},"y":{}}}`,
		`{"array":[{"kind":"a"}],"settings":"s","Bare":"b","-":"d"}`,
		`{"any":{"Role":1,"x":[1,{"Y":null}]},"raw":{"Role":1},"own":{"k":"v"},"when":"2026-01-02T03:04:05Z"}`,
		`{"\u0072ole":"by another spelling"}`,
		`{"ptr":null,"list":null,"map":null,"any":null}`,
	} {
		var strict, loose grant
		require.NoError(t, Unmarshal([]byte(text), &strict), text)
		d := json.NewDecoder(strings.NewReader(text))
		d.UseNumber()
		require.NoError(t, d.Decode(&loose))
		assert.Equal(t, loose, strict, text)
	}
	var v any
	require.NoError(t, Unmarshal([]byte(`[1, 1e400, 9007199254740993, 0.10]`), &v))
	assert.Equal(t, []any{json.Number("1"), json.Number("1e400"), json.Number("9007199254740993"), json.Number("0.10")}, v)
}

// Texts that two parsers read differently.
func TestAttacks(t *testing.T) {
	for name, text := range map[string]string{
		"the same name twice":                  `{"role":"ro","role":"admin"}`,
		"the same name, spelled with escapes":  `{"role":"ro","\u0072ole":"admin"}`,
		"another case after":                   `{"role":"ro","ROLE":"admin"}`,
		"another case before":                  `{"ROLE":"admin","role":"ro"}`,
		"another case alone":                   `{"Role":"admin"}`,
		"Kelvin sign for k":                    "{\"in\":{\"\u212aind\":\"admin\"}}",
		"Kelvin sign beside k":                 "{\"any\":{\"kind\":\"ro\",\"\u212aind\":\"admin\"}}",
		"long s for s":                         "{\"\u017fettings\":\"admin\"}",
		"escaped long s for s":                 `{"\u017fettings":"admin"}`,
		"an unknown member":                    `{"role":"ro","isAdmin":true}`,
		"trailing data":                        `{"role":"ro"}{"role":"admin"}`,
		"trailing bracket":                     `{"role":"ro"}}`,
		"invalid UTF-8 that becomes U+FFFD":    "{\"role\":\"ad\xffmin\"}",
		"a lone surrogate that becomes U+FFFD": `{"role":"\ud800"}`,
		"a twin deep within":                   `{"any":[[{"a":{"b":1,"b":2}}]]}`,
		"a twin in raw JSON":                   `{"raw":{"b":1,"B":2}}`,
		"a twin in a map":                      `{"map":{"x":{},"X":{}}}`,
		"another case in a list":               `{"list":[{},{"Kind":"a"}]}`,
		"another case in an array":             `{"array":[{"DENY":true}]}`,
		"another case in a map":                `{"map":{"x":{"kinD":"a"}}}`,
		"another case behind a pointer":        `{"ptr":{"Kind":"a"}}`,
		"another case of an embedded field":    `{"Settings":"a"}`,
		"another case of an untagged field":    `{"bare":"a"}`,
		"an unknown member in a list":          `{"list":[{"x":1}]}`,
		"a member that is not one":             `{"Hidden":"a"}`,
		"a private one":                        `{"private":"a"}`,
		"another case, decoding itself":        `{"own":{"K":"a"}}`,
		"a byte order mark":                    "\ufeff{}",
		"a comment":                            `{"role":"ro"/*,"role":"admin"*/}`,
		"a trailing comma":                     `{"role":"ro",}`,
		"a number for a text":                  `{"role":0}`,
		"a list for a text":                    `{"role":["ro"]}`,
		"a number that is no int":              `{"count":1.5}`,
		"a number too big":                     `{"count":9223372036854775808}`,
		"nothing":                              ``,
		"a NUL after the end":                  "{}\x00",
		"single quotes":                        `{'role':'ro'}`,
		"not a number":                         `{"any":NaN}`,
	} {
		err := Unmarshal([]byte(text), &grant{})
		var e *Error
		require.ErrorAs(t, err, &e, "%s: %s", name, text)
	}
}

// encoding/json accepts each of these. So the checks above are needed.
func TestEncodingJSONWouldTakeThem(t *testing.T) {
	for _, text := range []string{
		`{"role":"ro","role":"admin"}`, `{"role":"ro","ROLE":"admin"}`, `{"Role":"admin"}`,
		"{\"in\":{\"\u212aind\":\"admin\"}}", "{\"\u017fettings\":\"admin\"}", "{\"role\":\"ad\xffmin\"}",
		`{"role":"\ud800"}`, `{"role":"ro","isAdmin":true}`,
	} {
		assert.NoError(t, json.Unmarshal([]byte(text), &grant{}), text)
	}
}

func TestStrings(t *testing.T) {
	for _, text := range []string{
		`""`, `"a"`, `" "`, `"\""`, `"\\"`, `"\/"`, `"\b\f\n\r\t"`, `"\u0000"`, `"\u0022"`, `"\u005C"`,
		`"\u00e9"`, `"\uABCD\uabcd"`,
		`"\uD834\uDD1E"`, `"\ud83d\ude39\ud83d\udc8d"`, `"\uDBFF\uDFFF"`, `"\uFFFF"`, `"\uFFFE"`, `"\uFDD0"`,
		`"\u2028"`,
		"\"\u2028\u2029\"", "\"\x7f\"", "\"\u00e9\u20ac\U0001d11e\"", "\"\uffff\ufffe\U0010fffe\"",
		"\"\ufffd\"", "\"\ufeff\"",
		`"a/*b*/c/*d//e"`, `"\\u0012"`, `"\\n"`, `"\u2064\u200B\u1234"`,
	} {
		var strict, loose string
		assert.NoError(t, Unmarshal([]byte(text), &strict), "%q", text)
		assert.NoError(t, json.Unmarshal([]byte(text), &loose), "%q", text)
		assert.Equal(t, loose, strict)
	}
	for _, text := range []string{
		// lone surrogates
		`"\ud800"`, `"\uDADA"`, `"\udc00"`, `"\udc00\udc00"`, `"\uDFAA"`, `"\uD888\u1234"`, `"\uD800\n"`, `"\ud800abc"`,
		`"\uD800\uD800"`,
		`"\uD800\uD800\uDC00"`, `"\uDd1e\uD834"`, `"\uD834\\uDD1E"`, `"\uD834 \uDD1E"`, `"\ud800\u0041"`,
		`"\ud800\ue000"`,
		// invalid escapes
		`"\`, `"\"`, `"\u"`, `"\u0"`, `"\u00A"`, `"\u00A`, `"\uD834\u"`, `"\uD834\uD"`, `"\uD800\u1x"`,
		`"\uD834\`, `"\u 123"`,
		`"\u+123"`, `"\U0041"`, `"\x00"`, `"\a"`, `"\'"`, `"\0"`, "\"\\\t\"", "\"\\\x00\"", "\"\\\u00e9\"",
		"\"\\\xe5\"", "\"\\u\xe5\"",
		`"\uqqqq"`, `"\u00g0"`, `"\u00:0"`, `"\u00@0"`, "\"\\u00`0\"",
		// invalid UTF-8
		"\"\xff\"", "\"\x81\"", "\"\xe9\"", "\"\xc0\xaf\"", "\"\xe0\x80\xaf\"", "\"\xfc\x80\x80\x80\x80\x80\"",
		"\"\xed\xa0\x80\"", "\"\xed\xbf\xbf\"", "\"\xf4\xbf\xbf\xbf\"", "\"\xf4\x90\x80\x80\"",
		"\"\xe6\x97\xa5\xd1\x88\xfa\"",
		"\"\xe0\xff\"", "\"\xc3\"", "\"\xc3", "\"\xe2\x82\"", "\"\xf0\x9f\x98\"",
		"\xff\xfe[\x00\"\x00\xe9\x00\"\x00]\x00", "\x00[\x00\"\x00\xe9\x00\"\x00]",
		// control characters and quotes
		"\"\n\"", "\"\t\"", "\"\x00\"", "\"\x1f\"", "\"a\x00a\"", "\"new\nline\"", `'a'`, `a`, `"`, `"a`, `""x`,
		`"a" "b"`, `\n`, "\u201ca\u201d",
	} {
		var s string
		assert.Error(t, Unmarshal([]byte(text), &s), "%q", text)
		assert.Error(t, Valid([]byte(text), 1), "%q", text)
		assert.Error(t, Valid([]byte(`{`+text+`:1}`), 1), "%q as a name", text)
	}
}

func TestGrammar(t *testing.T) {
	for _, text := range []string{
		`0`, `-0`, `1`, `-1`, `10`, `0.5`, `-0.0`, `1e5`, `1E+5`, `1e-05`, `123.456e78`, `true`, `false`,
		`null`, `[]`, `[[]]`,
		`[1,2]`, `[ 1 , 2 ]`, `{"a":[]}`, `{"":0}`, `{"a":1,"b":2}`,
	} {
		assert.NoError(t, Valid([]byte(text), 9), text)
		assert.True(t, json.Valid([]byte(text)), text)
	}
	for _, text := range []string{
		``, ` `, `00`, `01`, `-`, `-01`, `+1`, `.5`, `1.`, `1.e5`, `1e`, `1e+`, `0x1`, `1_000`, `Infinity`,
		`-Infinity`, `1 2`, `--1`,
		`tru`, `truE`, `True`, `nul`, `nulll`, `[`, `]`, `[1`, `[1,`, `[1,]`, `[,1]`, `[1 2]`, `[1}`, `{`, `}`,
		`{"a"`, `{"a":`, `{"a":1`,
		`{"a":1,`, `{"a":1,}`, `{,}`, `{a:1}`, `{1:1}`, `{"a" 1}`, `{"a":1 "b":2}`, `{"a"::1}`, `{"a":1]`,
		"\v1", "\f1", "\u00a01", `1,`,
		`//`, `[1]//`, "1\x00", "\x00",
	} {
		assert.Error(t, Valid([]byte(text), 9), "%q", text)
		assert.False(t, json.Valid([]byte(text)), "%q", text)
	}
}

func nested(depth int) []byte {
	return []byte(strings.Repeat(`[`, depth) + strings.Repeat(`]`, depth))
}

func TestDepth(t *testing.T) {
	var v any
	assert.NoError(t, Unmarshal(nested(32), &v))
	assert.ErrorContains(t, Unmarshal(nested(33), &v), "at byte 32: nested too deeply")
	assert.NoError(t, Valid([]byte(`1`), 0))
	assert.Error(t, Valid([]byte(`{}`), 0))
	assert.NoError(t, Valid([]byte(`{"a":[{}]}`), 3))
	assert.Error(t, Valid([]byte(`{"a":[{}]}`), 2))
	assert.Error(t, Valid([]byte(`{"a":[[],[],{"a":{}}]}`), 3))
	// Side by side is not within.
	assert.NoError(t, Valid([]byte(`[`+strings.Repeat(`[],{},`, 1000)+`[]]`), 2))
}

// The cost of big inputs is linear in their length. The benchmark below measures it. Here they only have to end.
func TestBigInputs(t *testing.T) {
	var v any
	assert.Error(t, Unmarshal(bytes.Repeat([]byte{'['}, 1_000_000), &v))
	assert.Error(t, Unmarshal(bytes.Repeat([]byte(`{"a":`), 200_000), &v))
	assert.Error(t, Unmarshal([]byte(strings.Repeat("9", 10_000)), &v))
	assert.Error(t, Unmarshal([]byte("0."+strings.Repeat("9", 10_000)), &v))
	assert.NoError(t, Unmarshal([]byte(strings.Repeat("9", maxNumber)), new(json.Number)))
	assert.Error(t, Unmarshal([]byte(strings.Repeat("9", maxNumber+1)), new(json.Number)))
	assert.NoError(t, Unmarshal([]byte(`"`+strings.Repeat("a", 1_000_000)+`"`), &v))
	keys := manyKeys(maxMembers)
	assert.NoError(t, Unmarshal(keys, &v))
	for _, twin := range []string{"K0", "k16", "K77", "k9999", "\u212a5000"} {
		twins := append(bytes.Clone(keys[:len(keys)-1]), `,"`+twin+`":0}`...)
		assert.ErrorContains(t, Unmarshal(twins, &v), "a name that the object has already", twin)
	}
	assert.ErrorContains(t, Unmarshal(manyKeys(maxMembers+1), &v), "too many members")
	assert.ErrorContains(t, Unmarshal(manyKeys(100_000), &v), "too many members")
	assert.NoError(t, Valid([]byte(`[`+string(keys)+`,`+string(keys)+`]`), 2), "counted by object")
}

func manyKeys(n int) []byte {
	b := []byte{'{'}
	for i := range n {
		b = fmt.Appendf(b, `"k%d":0,`, i)
	}
	b[len(b)-1] = '}'
	return b
}

func TestErrorsHoldNoContent(t *testing.T) {
	for _, text := range []string{
		`{"CANARY":1}`, `{"role":"CANARY`, `{"any":{"CANARY":1,"CANARY":2}}`, `{"any":CANARY}`, `{"count":"CANARY"}`,
		`{"when":"CANARY"}`, `{"own":{"k":"a","CANARY":1}}`, `{"count":31415926535897932384}`,
		`{"count":3.1415926}`, `{"role":31415926}`,
	} {
		err := Unmarshal([]byte(text), &grant{})
		require.Error(t, err, text)
		assert.NotContains(t, err.Error(), "CANARY")
		assert.NotContains(t, err.Error(), "1415926")
	}
	err := Unmarshal([]byte(`{"role":"x","in":{"deny":1}}`), &grant{})
	assert.EqualError(t, err, `json: at byte 26: a value of the wrong type for "in.deny"`)
	err = Unmarshal([]byte(`{"role": "x" "count"}`), &grant{})
	assert.EqualError(t, err, "json: at byte 13: unexpected byte")
	assert.ErrorContains(t, Unmarshal([]byte(`{}`), grant{}), "the target is not a pointer")
	assert.Error(t, Unmarshal([]byte(`{}`), nil))
}

var errOwn = errors.New("mine")

type refuses struct{}

func (*refuses) UnmarshalJSON([]byte) error { return errOwn }

func TestUnmarshalersErrorIsKept(t *testing.T) {
	assert.ErrorIs(t, Unmarshal([]byte(`[{}]`), &[]refuses{}), errOwn)
}

func TestTargets(t *testing.T) {
	text := []byte(`{"KIND":"a"}`)
	in := &inner{}
	var boxed any = in
	for _, v := range []any{in, &in, boxed, &boxed} {
		assert.ErrorContains(t, Unmarshal(text, v), "unknown member", "%T", v)
	}
	assert.NoError(t, Unmarshal([]byte(`{"kind":"a"}`), &boxed))
	assert.Equal(t, "a", in.Kind)
	var none any
	assert.NoError(t, Unmarshal(text, &none))
	var nilPtr *inner
	assert.ErrorContains(t, Unmarshal(text, &nilPtr), "unknown member")
	var many [][]map[string]*inner
	assert.ErrorContains(t, Unmarshal([]byte(`[[{"x":{"KIND":"a"}}]]`), &many), "unknown member")
	type recursive struct {
		Next *recursive `json:"next"`
	}
	assert.NoError(t, Unmarshal([]byte(`{"next":{"next":{}}}`), &recursive{}))
	assert.Error(t, Unmarshal([]byte(`{"next":{"Next":{}}}`), &recursive{}))
}

type (
	A1      struct{ X, Y, Z int }
	A2      struct{ X, Y int }
	A3      struct{ A1 }
	A4      struct{ A1 }
	lower   struct{ Inside int }
	Text    string
	OnlyPtr struct{ P int }
	A5      struct{ A6 }
	A6      struct{ X int }
)

// The names that fieldsOf finds are those that encoding/json writes.
func TestFieldsAreThoseOfEncodingJSON(t *testing.T) {
	for _, v := range []any{
		grant{}, embedded{},
		struct {
			A1
			A2
		}{},
		struct {
			A1
			A2
			X string
		}{},
		struct {
			A1
			A2 `json:"two"`
		}{},
		struct {
			A3
			A4
		}{},
		struct { // two of a name hide a third that lies deeper
			A1
			A2
			A5
		}{},
		struct {
			A3
			A1
		}{},
		struct {
			A int `json:"B"`
			B int
		}{},
		reflect.Zero(reflect.StructOf([]reflect.StructField{ // two of one name: neither counts
			{Name: "A", Type: reflect.TypeFor[int](), Tag: `json:"C"`},
			{Name: "B", Type: reflect.TypeFor[int](), Tag: `json:"C"`},
		})).Interface(),
		struct {
			A int `json:",omitempty"`
			//lint:ignore SA5008 encoding/json passes such a name over
			B int `json:"bad\"name"`
			C int `json:"ok name!"`
			D int `json:"\u00e9"`
		}{A: 1},
		struct {
			lower
			Text
			*OnlyPtr
		}{OnlyPtr: &OnlyPtr{}},
		struct {
			lower `json:"named"`
			N     int `json:"n,string"`
		}{},
	} {
		text, err := json.Marshal(v)
		require.NoError(t, err)
		var written map[string]any
		require.NoError(t, json.Unmarshal(text, &written))
		known := map[string]any{}
		for name := range fieldsOf(reflect.TypeOf(v)) {
			known[name] = written[name]
		}
		delete(written, "raw") // nil is written as null, and is not compared
		delete(known, "raw")
		assert.Equal(t, written, known, "%T", v)
	}
}

func FuzzStrictJSON(f *testing.F) {
	for _, s := range []string{
		`{"a":[1,2.5e-3,"\u00e9\ud834\udd1e",null,true]}`, `{"a":1,"A":2}`, "{\"k\":1,\"\u212a\":2}",
		`[[[[]]]]`, "\"\xff\"",
		`{"role":"ro","in":{"kind":"x"}}`, `{"Role":"x"}`, `-0.0e+0`, `{"\u0061":1,"a":2}`, `"\ud800"`,
		`{"own":{"k":"v"}}`,
	} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		var strict any
		if err := Unmarshal(data, &strict); err != nil {
			if Valid(data, MaxDepth) == nil {
				t.Fatalf("valid, yet %v", err)
			}
			return
		}
		d := json.NewDecoder(bytes.NewReader(data))
		d.UseNumber()
		var loose any
		if err := d.Decode(&loose); err != nil || d.More() || !reflect.DeepEqual(strict, loose) {
			t.Fatalf("%q is %#v here and %#v (%v) to encoding/json", data, strict, loose, err)
		}
		once, err := json.Marshal(strict)
		if err != nil {
			t.Fatal(err)
		}
		var again any
		if err := Unmarshal(once, &again); err != nil || !reflect.DeepEqual(strict, again) {
			t.Fatalf("%q, written as %q, is %#v: %v", data, once, again, err)
		}
		// Into a struct: whatever goes in by our names goes in by a map of exact names too.
		var g grant
		if m, ok := strict.(map[string]any); ok && Unmarshal(data, &g) == nil {
			if role, _ := m["role"].(string); role != g.Role {
				t.Fatalf("%q: role %q is not %q", data, g.Role, role)
			}
			for name := range m {
				if _, ok := fieldsOf(reflect.TypeFor[grant]())[name]; !ok {
					t.Fatalf("%q: took the member %q", data, name)
				}
			}
		}
	})
}

func BenchmarkKeys(b *testing.B) {
	keys := manyKeys(maxMembers)
	b.SetBytes(int64(len(keys)))
	for b.Loop() {
		_ = Valid(keys, MaxDepth)
	}
}

func BenchmarkStruct(b *testing.B) {
	text := []byte(`{"role":"ro","count":5,"in":{"kind":"a","deny":true},"list":[{"kind":"b"},{"kind":"c"}]}`)
	for b.Loop() {
		if err := Unmarshal(text, &grant{}); err != nil {
			b.Fatal(err)
		}
	}
}
