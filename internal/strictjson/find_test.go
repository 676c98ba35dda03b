package strictjson

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestFind(t *testing.T) {
	for _, c := range []struct {
		text, value string
		isString    bool
		n           int
	}{
		{`{}`, "", false, 0},
		{`{"token":"a"}`, "a", true, 1},
		{` { "x" : [ {"token":"b"} , 1 ] , "token" : "a\u0062" } `, "ab", true, 1},
		{`{"\u0074o\u006ben":"a","token":"b"}`, "a", true, 2},
		{`{"Token":"a","token\u0000":"b","tok\ud83d\ude00en":"c","tokens":"d","tok/en":"e"}`, "", false, 0},
		{`{"token":7}`, "", false, 1},
		{`{"token":null,"a":true,"b":{},"c":[],"d":-1.5e3}`, "", false, 1},
		{`[{"token":"a"}]`, "", false, 0},
		{`"token"`, "", false, 0},
		{`{"` + strings.Repeat(`\u0041`, 100) + `":1,"token":"a"}`, "a", true, 1},
	} {
		f, err := Find([]byte(c.text), "token")
		require.NoError(t, err, c.text)
		require.Equal(t, c.n, f.N, c.text)
		require.Equal(t, c.isString, f.First == '"', c.text)
		require.Equal(t, c.value, f.Text, c.text)
		require.Equal(t, strings.HasPrefix(strings.TrimSpace(c.text), "{"), f.Object)
	}
	for _, bad := range []string{``, `{`, `{"token"`, `{"token":`, `{"token":"a"`, `{"token":"a",}`, `{"token":"a"}x`,
		`{,}`,
		`{"token" "a"}`, `{"a":[1,]}`, `{"a":{1:2}}`, `{"a":[1 2]}`, `{"a":01}`, `{"a":"\ud800"}`, "{\"a\":\"\xff\"}",
		`{"a":` + strings.Repeat("[", 40) + strings.Repeat("]", 40) + `}`} {
		_, err := Find([]byte(bad), "token")
		require.Error(t, err, bad)
	}
	require.Panics(t, func() { _, _ = Find(nil, strings.Repeat("x", 65)) })
}

// Find accepts an object if, and only if, Valid does: whichever byte of one is another, is gone, or comes twice.
func TestFindChecksTheWholeText(t *testing.T) {
	good := ` { "a" : [ { "b" : -1.5e3 , "c\u0041" : [ ] } , "x\\ny" , true ] , "token" : "v" , "d" : { } } `
	others := "\x00\t {}[]:,\"\\;x0-é\xff"
	accepted := 0
	check := func(text string) {
		f, err := Find([]byte(text), "token")
		if strings.HasPrefix(strings.TrimSpace(text), "[") {
			return // an array is not read
		}
		want := Valid([]byte(text), MaxDepth)
		require.Equal(t, want == nil, err == nil, "%q: %v, %v", text, err, want)
		if err != nil {
			require.Zero(t, f, text)
			return
		}
		accepted++
	}
	for i := range len(good) {
		check(good[:i])
		check(good[:i] + good[i+1:])
		check(good[:i+1] + good[i:])
		for j := range len(others) {
			check(good[:i] + others[j:j+1] + good[i+1:])
		}
	}
	require.Greater(t, accepted, 100)
	for depth := MaxDepth - 2; depth <= MaxDepth+2; depth++ {
		check(`{"a":` + strings.Repeat("[", depth) + strings.Repeat("]", depth) + `}`)
		check(`{"a":` + strings.Repeat(`{"x":`, depth) + "1" + strings.Repeat("}", depth) + `}`)
	}
}

// A name is the one that is asked for however it is escaped, and no other is.
func TestFindDecodesNames(t *testing.T) {
	name := "a\b\f\n\r\t\"\\/" + strings.Repeat("z", maxFindName-9)
	longest := ""
	for i := range len(name) {
		longest += fmt.Sprintf(`\u%04x`, name[i])
	}
	for written, n := range map[string]int{
		`a\b\f\n\r\t\"\\\/` + name[9:]:  1,
		longest:                         1,
		longest + `\u007a`:              0,
		`a\b\f\n\r\n\"\\\/` + name[9:]:  0,
		`a\b\b\n\r\t\"\\\/` + name[9:]:  0,
		`a\b\f\n\r\t\"\\\/` + name[10:]: 0,
	} {
		f, err := Find([]byte(`{"`+written+`":1}`), name)
		require.NoError(t, err)
		require.Equal(t, n, f.N, written)
	}
}

// Find and Unmarshal agree about every object that Unmarshal accepts.
func FuzzFind(f *testing.F) {
	for _, s := range []string{`{"token":"a"}`, `{"a":{"token":1},"token":[]}`, `{"\u0074oken":"é"}`,
		`{"token":"\u00e9"}`} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		var object map[string]json.RawMessage
		if Unmarshal(data, &object) != nil || object == nil {
			return
		}
		f, err := Find(data, "token")
		require.NoError(t, err)
		raw, there := object["token"]
		if !there {
			require.Equal(t, Found{Object: true}, f)
			return
		}
		require.Equal(t, 1, f.N)
		require.Equal(t, raw[0], f.First)
		if raw[0] == '"' {
			var text string
			require.NoError(t, json.Unmarshal(raw, &text))
			require.Equal(t, text, f.Text)
		}
	})
}

func TestFindAllocatesLittle(t *testing.T) {
	for _, text := range []string{
		`{"a":[` + strings.Repeat("0,", 1<<18) + `0]}`,
		`{"a":[` + strings.Repeat(`{"a":1,"b":{}},`, 1<<16) + `0]}`,
		`{` + strings.Repeat(`"\u0061":1,`, 1<<16) + `"b":1}`,
		`{` + strings.Repeat(`"token":1,`, 1<<16) + `"b":1}`,
	} {
		data := []byte(text)
		require.LessOrEqual(t, testing.AllocsPerRun(3, func() { _, _ = Find(data, "token") }), 2.0)
	}
}
