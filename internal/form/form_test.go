package form

import (
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// show renders a tree as JSON: lists as arrays, maps as objects, texts as strings.
func show(v *Value) string {
	b, err := json.Marshal(plain(v))
	if err != nil {
		panic(err)
	}
	return string(b)
}

func plain(v *Value) any {
	switch v.Kind {
	case Map:
		m := map[string]any{}
		for _, name := range v.Names {
			m[name] = plain(v.Map[name])
		}
		return m
	case List:
		l := []any{}
		for _, item := range v.Items {
			l = append(l, plain(item))
		}
		return l
	case Text:
		return v.Text
	case Null:
		return nil
	}
	return json.RawMessage(v.Text)
}

func TestParse(t *testing.T) {
	for _, tt := range []struct{ name, in, want string }{
		{"nothing", ``, `{}`},
		{"one", `key=K`, `{"key":"K"}`},
		{"no equals sign", `key`, `{"key":""}`},
		{"value with equals signs", `a=b=c`, `{"a":"b=c"}`},
		{"stray separators", `&clientName=&key=K&&`, `{"clientName":"","key":"K"}`},
		{"space as plus", `a=front+desk`, `{"a":"front desk"}`},
		{"space as %20", `a=front%20desk`, `{"a":"front desk"}`},
		{"plus", `a=1%2B1`, `{"a":"1+1"}`},
		{"UTF-8", `a=caf%C3%A9`, `{"a":"café"}`},
		{"list", `a[0]=x&a[1]=y`, `{"a":["x","y"]}`},
		{"list out of order", `a[1]=y&a[0]=x`, `{"a":["x","y"]}`},
		{"list with gaps", `a[7]=y&a[2]=x`, `{"a":["x","y"]}`},
		{"list of more than 20", `a[0]=x&a[21]=y`, `{"a":["x","y"]}`},
		{"list, encoded brackets", `a%5B0%5D=x&a%5b1%5d=y`, `{"a":["x","y"]}`},
		{"list, empty brackets", `a[]=x&a[]=y`, `{"a":["x","y"]}`},
		{"list of one", `a[]=x`, `{"a":["x"]}`},
		{"repeated name", `a=x&a=y&a=z`, `{"a":["x","y","z"]}`},
		{"repeated entry", `a[b]=x&a[b]=y`, `{"a":{"b":["x","y"]}}`},
		{"map", `c[id]=dp-616&c[value]=2`, `{"c":{"id":"dp-616","value":"2"}}`},
		{"list of maps", `c[0][id]=a&c[1][id]=b&c[0][op]=%3E%3D`, `{"c":[{"id":"a","op":"\u003e="},{"id":"b"}]}`},
		{"list in a map in a list", `c[0][v][0]=1&c[0][v][1]=2`, `{"c":[{"v":["1","2"]}]}`},
		{"a name with a leading zero is a name", `a[01]=x`, `{"a":{"01":"x"}}`},
		{"a negative index is a name", `a[-1]=x`, `{"a":{"-1":"x"}}`},
		{"names that hurt elsewhere", `__proto__[x]=1&constructor=2&a[toString]=3&hasOwnProperty=4`,
			`{"__proto__":{"x":"1"},"a":{"toString":"3"},"constructor":"2","hasOwnProperty":"4"}`},
		{"six brackets", `a[b][c][d][e][f][g]=x`, `{"a":{"b":{"c":{"d":{"e":{"f":{"g":"x"}}}}}}}`},
		{"largest index", `a[1000]=x`, `{"a":["x"]}`},
	} {
		t.Run(tt.name, func(t *testing.T) {
			v, err := Parse(tt.in)
			require.NoError(t, err)
			require.JSONEq(t, tt.want, show(v))
		})
	}
}

func TestParseRefuses(t *testing.T) {
	for name, in := range map[string]string{
		"no name":                          `=x`,
		"no name before brackets":          `[a]=x`,
		"open bracket":                     `a[b=x`,
		"close bracket":                    `ab]=x`,
		"close before open":                `a]b[=x`,
		"bracket in brackets":              `a[b[c]]=x`,
		"text behind brackets":             `a[b]c=x`,
		"text between brackets":            `a[b]c[d]=x`,
		"empty brackets in the middle":     `a[][b]=x`,
		"text and map":                     `a=1&a[b]=2`,
		"map and text":                     `a[b]=2&a=1`,
		"repeated name and list":           `a=1&a=2&a[0]=3`,
		"repeated name and empty brackets": `a=1&a=2&a[]=3`,
		"list and repeated name":           `a[0]=3&a=1`,
		"empty brackets and index":         `a[]=1&a[0]=2`,
		"index and empty brackets":         `a[0]=2&a[]=1`,
		"list and map":                     `a[0]=1&a[b]=2`,
		"map and list":                     `a[b]=2&a[0]=1`,
		"index too large":                  `a[1001]=x`,
		"index beyond any integer":         `a[99999999999999999999999]=x`,
		"seven brackets":                   `a[b][c][d][e][f][g][h]=x`,
		"thousands of brackets":            `a` + strings.Repeat(`[b]`, 10_000) + `=x`,
		"half an escape":                   `a=%4`,
		"an escape of nothing":             `a=%`,
		"an escape that is none":           `a=%zz`,
		"a bad escape in a name":           `%zz=a`,
		"invalid UTF-8":                    `a=%ff`,
		"invalid UTF-8, raw":               "a=\xff",
		"invalid UTF-8 in a name":          `a%ff=1`,
		"an encoded surrogate":             `a=%ed%a0%80`,
		"NUL":                              `a=x%00y`,
		"NUL in a name":                    `a%00=x`,
		"semicolon":                        `a=1;b=2`,
		"too many pairs":                   strings.Repeat(`a=1&`, MaxPairs+1),
		"too many pairs that are skipped":  strings.Repeat(`skip=1&`, MaxPairs+1),
	} {
		t.Run(name, func(t *testing.T) {
			v, err := Parse(in, "skip")
			require.ErrorIs(t, err, ErrMalformed)
			require.Nil(t, v)
		})
	}
	_, err := Parse(`a=` + strings.Repeat("x", MaxBytes))
	require.ErrorIs(t, err, ErrTooLarge)
	_, err = Parse(strings.Repeat("&", MaxBytes)) // a stray separator is not a pair
	require.NoError(t, err)
}

// The largest number that a limit names is allowed, and one more is not.
func TestEachLimitIsReached(t *testing.T) {
	padded := func(text string, n int) string { return text + strings.Repeat("x", n-len(text)) }
	nested := func(open, inner, end string, n int) string {
		return strings.Repeat(open, n) + inner + strings.Repeat(end, n)
	}
	for name, c := range map[string]struct {
		most int
		try  func(n int) error
	}{
		"bytes of a form": {MaxBytes, func(n int) error {
			_, err := Parse(padded("a=", n))
			return err
		}},
		"bytes in which a name is found": {MaxBytes, func(n int) error {
			_, err := Find(padded("a=", n), "a", true)
			return err
		}},
		"bytes of JSON": {MaxBytes, func(n int) error {
			_, err := ParseJSON([]byte(padded(`{"a":"`, n-2) + `"}`))
			return err
		}},
		"pairs": {MaxPairs, func(n int) error {
			_, err := Parse(strings.Repeat("a[]=1&", n))
			return err
		}},
		"pairs among which a name is found": {MaxPairs, func(n int) error {
			_, err := Find(strings.Repeat("a=1&", n), "a", true)
			return err
		}},
		"values of JSON": {MaxPairs, func(n int) error { // the list is one, too
			_, err := ParseJSON([]byte("[" + strings.Repeat("1,", n-2) + "1]"))
			return err
		}},
		"brackets": {MaxDepth, func(n int) error {
			_, err := Parse("a" + strings.Repeat("[b]", n) + "=1")
			return err
		}},
		"levels of JSON": {MaxDepth, func(n int) error {
			_, err := ParseJSON([]byte(nested(`{"a":`, "1", "}", n)))
			return err
		}},
	} {
		t.Run(name, func(t *testing.T) {
			require.NoError(t, c.try(c.most))
			require.ErrorIs(t, c.try(c.most+1), ErrMalformed)
		})
	}
}

func TestParseSkips(t *testing.T) {
	v, err := Parse(`meta=web&meta[a[b]=1&meta[][x]=%00&meta=%zz&key=K&metadata=1`, "meta")
	require.NoError(t, err)
	require.JSONEq(t, `{"key":"K","metadata":"1"}`, show(v))
}

func TestParseJSON(t *testing.T) {
	const in = `{"key":"K","n":1.50,"big":12345678901234567890,"b":true,"z":null,"l":[1,"x",{"a":[]}],` +
		`"meta":{"deep":[[[[[[[[1]]]]]]]]}}`
	v, err := ParseJSON([]byte(in), "meta")
	require.NoError(t, err)
	require.Equal(t, `{"b":true,"big":12345678901234567890,"key":"K","l":[1,"x",{"a":[]}],"n":1.50,"z":null}`, show(v))
	require.Equal(t, Number, v.Get("n").Kind)
	require.True(t, v.Get("key").IsJSON())
	require.Nil(t, v.Get("key").Get("x"))
	require.Nil(t, v.Get("absent").Get("x"))

	for name, in := range map[string]string{
		"empty":             ``,
		"two values":        `{} {}`,
		"rubbish":           `{"a":}`,
		"NUL":               `{"a":"\u0000"}`,
		"NUL in a name":     `{"\u0000":1}`,
		"invalid UTF-8":     "{\"a\":\"\xff\"}",
		"too deep":          `[[[[[[[[1]]]]]]]]`,
		"a million deep":    strings.Repeat(`[`, 60_000),
		"too many values":   `[` + strings.Repeat(`1,`, MaxPairs) + `1]`,
		"a name twice":      `{"a":1,"a":2}`,
		"twice, deep":       `{"a":{"b":1,"b":1}}`,
		"twice, skipped":    `{"meta":1,"meta":2}`,
		"names by case":     `{"role":1,"ROLE":2}`,
		"lone surrogate":    `{"a":"\ud800"}`,
		"a byte order mark": "\ufeff{}",
	} {
		t.Run(name, func(t *testing.T) {
			v, err := ParseJSON([]byte(in), "meta")
			require.ErrorIs(t, err, ErrMalformed)
			require.Nil(t, v)
		})
	}
}

// TestErrorsHoldNoInput: an error may end up in a log, and the input may hold a secret.
func TestErrorsHoldNoInput(t *testing.T) {
	for _, in := range []string{`SECRET[=x`, `a=SECRET%`, `SECRET;=1`, `a=1&a[SECRET]=1`, `SECRET%ff=1`} {
		_, err := Parse(in)
		require.Error(t, err)
		require.NotContains(t, err.Error(), "SECRET")
	}
	_, err := ParseJSON([]byte(`{"SECRET":1,"SECRET":2}`))
	require.Error(t, err)
	require.NotContains(t, err.Error(), "SECRET")
}

func TestParseIsLinear(t *testing.T) {
	var b strings.Builder
	for i := range 900 {
		fmt.Fprintf(&b, "a[%d][b]=x&", 900-i)
	}
	require.Less(t, testing.AllocsPerRun(5, func() { _, _ = Parse(b.String()) }), 20_000.0)
}

func FuzzForm(f *testing.F) {
	for _, s := range []string{"", "key=K&roles[0]=a", "a[b][c]=1&a[b][d]=2", "a=1&a=2", "a%5B%5D=1",
		"a[b]=%ff", "a[][b]=1",
		"conditions[0][id]=dp-1&conditions[0][set]=false", "a=1;b=2", "meta[a[b]=%zz", `{"a":[1,"x",null]}`} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		v, err := Parse(s, "meta")
		if err != nil {
			if !errors.Is(err, ErrMalformed) || v != nil {
				t.Fatalf("an error that is not ErrMalformed, or a tree beside it: %v", err)
			}
		} else {
			check(t, v, 0)
		}
		if v, err := ParseJSON([]byte(s), "meta"); err == nil {
			check(t, v, 0)
		}
	})
}

// check fails if a tree exceeds the limits or mixes up kinds.
func check(t *testing.T, v *Value, depth int) {
	if depth > MaxDepth+1 {
		t.Fatal("too deep")
	}
	if err := checkText(v.Text); err != nil {
		t.Fatal(err)
	}
	if v.Kind == 0 || v.Kind != Map && (v.Map != nil || v.Names != nil) || v.Kind != List && v.Items != nil ||
		len(v.Names) != len(v.Map) {
		t.Fatalf("kinds are mixed up: %+v", v)
	}
	for _, item := range v.Items {
		check(t, item, depth+1)
	}
	for _, name := range v.Names {
		if name == "" && depth == 0 && !v.json {
			t.Fatal("a field without a name")
		}
		check(t, v.Map[name], depth+1)
	}
}
