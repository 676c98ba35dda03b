package difference_test

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/latchkey-go/latchkey"
	"github.com/latchkey-go/latchkey/cmd/latchkey/internal/difference"
)

func show(before, after string) string {
	var out []string
	for _, l := range difference.Of(json.RawMessage(before), json.RawMessage(after)) {
		out = append(out, l.String())
	}
	return strings.Join(out, "\n")
}

func TestDifferences(t *testing.T) {
	rule := func(p ...latchkey.Rule) string {
		text, err := json.Marshal(latchkey.Role{Name: "viewer", Permissions: p})
		require.NoError(t, err)
		return string(text)
	}
	read := latchkey.Allow(latchkey.Read).On("dataset/*").Where(latchkey.Where("region", latchkey.Eq, "EU"))
	deny := latchkey.Deny(latchkey.Any).On("dataset/payroll")
	write := latchkey.Allow(latchkey.Update).On("dataset/orders")
	for name, c := range map[string]struct{ before, after, want string }{
		"nothing":               {`{"a":1}`, `{ "a": 1 }`, ""},
		"another order":         {`{"a":1,"b":2}`, `{"b":2,"a":1}`, ""},
		"neither":               {``, ``, ""},
		"a new record":          {``, `{"a":1,"b":"x"}`, "+ a: 1\n+ b: \"x\""},
		"a record that is gone": {`{"a":1}`, ``, "- a: 1"},
		"a value":               {`{"a":1}`, `{"a":2}`, "- a: 1\n+ a: 2"},
		"a large number": {`{"a":9007199254740993}`, `{"a":9007199254740992}`,
			"- a: 9007199254740993\n+ a: 9007199254740992"},
		"an object":             {`{"v":{"a":1,"b":2}}`, `{"v":{"a":1,"b":3}}`, "~ v:\n  - b: 2\n  + b: 3"},
		"an object for a value": {`{"v":1}`, `{"v":{"a":1}}`, "- v: 1\n+ v: {\"a\":1}"},
		"null is not missing":   {`{"v":null}`, `{}`, "- v: null"},
		"a new object":          {`{}`, `{"v":{"a":1}}`, "~ v:\n  + a: 1"},
		"a list":                {`{"r":["a","b"]}`, `{"r":["b","c"]}`, "~ r:\n  -  1  \"a\"\n     1  \"b\"\n  +  2  \"c\""},
		"a boundary of nothing": {`{}`, `{"boundary":[]}`, "~ boundary: none → an empty list"},
		"a boundary": {`{}`, `{"boundary":[{"deny":["*"],"on":["*"]}]}`,
			"~ boundary: none before\n  +  1  deny any action on *"},
		"no boundary any more": {`{"boundary":[]}`, `{}`, "~ boundary: an empty list → none"},
		"rules": {rule(read, write), rule(read, deny, write), "~ permissions:\n" +
			"     1  allow read on dataset/* where region = \"EU\"\n" +
			"  +  2  deny any action on dataset/payroll\n" +
			"     3  allow update on dataset/orders"},
		"rules in another order": {rule(write, deny), rule(deny, write), "~ permissions:\n" +
			"  -  1  allow update on dataset/orders\n" +
			"     1  deny any action on dataset/payroll\n" +
			"  +  2  allow update on dataset/orders"},
		"no rules any more": {rule(deny), rule(), "~ permissions:\n  -  1  deny any action on dataset/payroll"},
		"a text":            {`{"`, `{"a":1}`, "- \"{\\\"\"\n+ \"{\\\"a\\\":1}\""},
		"a list of lists":   {`[[1],[2]]`, `[[1]]`, "~ :\n     1  [1]\n  -  2  [2]"},
	} {
		require.Equal(t, c.want, show(c.before, c.after), name)
	}
}

func TestLongListsAreShownWithoutComparingAll(t *testing.T) {
	list := func(prefix string) string {
		items := make([]string, 5000)
		for i := range items {
			items[i] = fmt.Sprintf("%q", prefix+fmt.Sprint(i))
		}
		return `{"r":["same",` + strings.Join(items, ",") + `]}`
	}
	lines := difference.Of(json.RawMessage(list("a")), json.RawMessage(list("b")))
	require.Len(t, lines, 1+1+5000+5000)
}

func FuzzOf(f *testing.F) {
	f.Add(`{"permissions":[{"allow":["read"],"on":["a"]}]}`, `{"permissions":[]}`)
	f.Add(`{"rows":[{"field":"a"}]}`, `null`)
	f.Add(``, `[1,{"a":[]}]`)
	f.Fuzz(func(t *testing.T, before, after string) {
		require.Empty(t, show(before, before))
		if json.Valid([]byte(before)) && json.Valid([]byte(after)) && show(before, after) == "" {
			var x, y any
			require.NoError(t, json.Unmarshal([]byte(before), &x))
			require.NoError(t, json.Unmarshal([]byte(after), &y))
			require.Equal(t, x, y)
		}
	})
}
