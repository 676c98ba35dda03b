package webforce

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/latchkey-go/latchkey"
	"github.com/latchkey-go/latchkey/internal/form"
)

// given returns the flags that permissions allow on a database.
func given(p latchkey.Permissions, id string) string {
	var out []string
	for _, f := range flags {
		if p.Allows(f.action, Database(id)) {
			out = append(out, f.name)
		}
	}
	return strings.Join(out, ",")
}

func compiled(t *testing.T, text string, o Overlay) latchkey.Permissions {
	t.Helper()
	raw, err := jsonText("extra", text)
	require.NoError(t, err)
	x, err := compileExtra(raw, o, false)
	require.NoError(t, err, text)
	require.Equal(t, text, string(x.json))
	require.NoError(t, x.permissions.Validate())
	declared := &latchkey.Catalogue{Resources: ResourceTypes()}
	require.NoError(t, declared.CheckRules(x.permissions), "of what a host may declare")
	require.ErrorIs(t, declared.CheckRules(latchkey.Permissions{latchkey.Allow(latchkey.Use).On("db/*")}),
		latchkey.ErrInvalid)
	return x.permissions
}

// entries returns db_permissions made of pairs: databases, permissions.
func entries(pairs ...string) string {
	var list []string
	for i := 0; i < len(pairs); i += 2 {
		list = append(list, fmt.Sprintf(`{"databases":[%s],"permissions":{%s}}`, pairs[i], pairs[i+1]))
	}
	return `{"db_permissions":[` + strings.Join(list, ",") + `]}`
}

// The order of entries under each of the three overlays.
func TestOverlay(t *testing.T) {
	const e1, e2 = `"get":1,"update":1`, `"update":0,"add":1`
	for _, tt := range []struct {
		name                  string
		extra, of             string
		flags, entries, union string
	}{
		{"one after another", entries(`"7"`, e1, `"7"`, e2), "7", "get,add", "add", "get,update,add"},
		{"the other way round", entries(`"7"`, e2, `"7"`, e1), "7", "get,update,add", "get,update", "get,update,add"},
		{"all, then one", entries(`"*"`, e1, `"7"`, e2), "7", "get,add", "add", "get,update,add"},
		{"all, then one: the others", entries(`"*"`, e1, `"7"`, e2), "8", "get,update", "get,update", "get,update"},
		{"one, then all", entries(`"7"`, e1, `"*"`, e2), "7", "get,add", "add", "get,update,add"},
		{"one, then all: the others", entries(`"7"`, e1, `"*"`, e2), "8", "add", "add", "add"},
		{"one, then nothing for all", entries(`"7"`, e1, `"*"`, `"get":0`), "7", "update", "", "get,update"},
		{"nothing for one, then all", entries(`"7"`, `"get":0`, `"*"`, `"get":1`), "7", "get", "get", "get"},
		{"twice in one list", entries(`"7","7"`, e1), "7", "get,update", "get,update", "get,update"},
		{"among others", entries(`"8","7"`, e1, `"7","9"`, e2), "7", "get,add", "add", "get,update,add"},
		{"not named", entries(`"7"`, e1), "8", "", "", ""},
		{"looks alike", entries(`"7"`, e1), "07", "", "", ""},
		{"nothing on", entries(`"7"`, `"get":0`), "7", "", "", ""},
		{"a new database", entries(`"7"`, `"add":1,"alter":1`), "", "", "", ""},
		{"a new database, by all", entries(`"*"`, `"add":1,"alter":1`), "", "add,alter", "add,alter", "add,alter"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			for o, want := range map[Overlay]string{OverlayFlags: tt.flags, OverlayEntries: tt.entries, OverlayUnion: tt.union} {
				require.Equal(t, want, given(compiled(t, tt.extra, o), tt.of), "reading %d", o+1)
			}
		})
	}
}

func TestExtraMeansWhatItSays(t *testing.T) {
	all := compiled(t, entries(`"*"`, `"get":1,"update":1,"add":1,"remove":1,"alter":1`), 0)
	require.Equal(t, "get,update,add,remove,alter", given(all, "7"))
	for _, r := range []latchkey.Resource{"dataset/7", "db", "latchkey/token/x", StockImages, "service/x"} {
		for _, a := range []latchkey.Action{latchkey.Read, latchkey.Create, latchkey.Use, "other"} {
			require.False(t, all.Allows(a, r), "%s %s", a, r)
		}
	}
	require.False(t, all.Allows("other", Database("7")), "flags are five actions, not all")

	for text, want := range map[string]bool{
		`{"stock_images":"1"}`: true, `{"stock_images":1}`: true, `{"stock_images":true}`: true,
		`{"stock_images":"0"}`: false, `{"stock_images":0}`: false, `{"stock_images":false}`: false,
		`{}`: false, `{"db_permissions":[]}`: false, `{"note":"kept","stock_image":"1"}`: false,
	} {
		p := compiled(t, text, 0)
		require.Equal(t, want, p.Allows(latchkey.Use, StockImages), text)
		require.Empty(t, given(p, "7"), text)
	}
	both := compiled(t, `{"stock_images":"1","db_permissions":[{"databases":["7"],"permissions":{"get":"1"}}]}`, 0)
	require.True(t, both.Allows(latchkey.Use, StockImages))
	require.Equal(t, "get", given(both, "7"))

	for text, want := range map[string]string{
		`"get":1`: "get", `"get":"1"`: "get", `"get":true`: "get", `"get":0`: "", `"get":"0"`: "", `"get":false`: "",
	} {
		require.Equal(t, want, given(compiled(t, entries(`"7"`, text), 0), "7"), text)
	}
	require.Equal(t, "get", given(compiled(t, entries(`7,8`, `"get":1`), 0), "8"), "an id as a number")
	odd := `a/b*%.. "é`
	text, err := json.Marshal(odd)
	require.NoError(t, err)
	p := compiled(t, entries(string(text), `"get":1`), 0)
	require.Equal(t, "get", given(p, odd), "any text is an id, and names itself only")
	for _, other := range []string{"a", "a/b", "b", "7", ".."} {
		require.Empty(t, given(p, other))
	}
	var many []string // one entry for each of 250 databases
	for i := range 250 {
		many = append(many, fmt.Sprintf(`"%d"`, i), `"get":1,"update":0,"add":0,"remove":0,"alter":0`)
	}
	require.Equal(t, "get", given(compiled(t, entries(many...), 0), "249"))
	kept := `{"db_permissions":[{"comment":{"a":[1]},"databases":["7"],"permissions":{"get":1}}],"other":null}`
	require.Equal(t, "get", given(compiled(t, kept, 0), "7"), "members that nobody knows are kept")
}

var badExtras = map[string]string{
	``:                         "extra is no valid JSON",
	` `:                        "extra is no valid JSON",
	`x`:                        "extra is no valid JSON",
	`{`:                        "extra is no valid JSON",
	`{} {}`:                    "extra is no valid JSON",
	`{"a":1,}`:                 "extra is no valid JSON",
	`null`:                     "extra is a JSON object",
	`[]`:                       "extra is a JSON object",
	`"{}"`:                     "extra is a JSON object",
	`1`:                        "extra is a JSON object",
	"{\"a\":\"\xff\"}":         "Malformed form: invalid UTF-8",
	"{\"a\":\"\x00\"}":         "Malformed form: NUL",
	`{"a":"\ud800"}`:           "extra is no valid JSON",
	`{"a":1,"a":2}`:            "extra is no valid JSON",
	`{"a":1,"A":2}`:            "extra is no valid JSON",
	`{"a":{"b":1,"\u0062":2}}`: "extra is no valid JSON",
	`{"DB_permissions":[]}`:    "db_permissions is written in lower case",
	`{"ſtock_images":"0"}`:     "stock_images is written in lower case",
	`{"db_permissions":{}}`:    "db_permissions is a list",
	`{"db_permissions":null}`:  "db_permissions is a list",
	`{"db_permissions":"[]"}`:  "db_permissions is a list",
	`{"db_permissions":[[]]}`:  "db_permissions[0] is an object",
	`{"db_permissions":[{}]}`:  `db_permissions[0].databases is a list of ids, or ["*"]`,
	`{"db_permissions":[{"databases":"7","permissions":{"get":1}}]}`: `db_permissions[0].databases is a list`,
	`{"db_permissions":[{"databases":"*","permissions":{"get":1}}]}`: `db_permissions[0].databases is a list`,
	`{"db_permissions":[{"databases":["7"]}]}`: "db_permissions[0].permissions is an object with " +
		"at least one flag",
	`{"db_permissions":[{"databases":["7"],"permissions":[1]}]}`:       "db_permissions[0].permissions is an object",
	`{"db_permissions":[{"databases":["7"],"Permissions":{"get":1}}]}`: "permissions is written in lower case",
	entries(``, `"get":1`):                     "db_permissions[0].databases is a list of ids",
	entries(`""`, `"get":1`):                   "db_permissions[0].databases holds what is no id",
	entries(`null`, `"get":1`):                 "db_permissions[0].databases holds what is no id",
	entries(`true`, `"get":1`):                 "db_permissions[0].databases holds what is no id",
	entries(`7.0`, `"get":1`):                  "db_permissions[0].databases holds what is no id",
	entries(`1e1`, `"get":1`):                  "db_permissions[0].databases holds what is no id",
	entries(`-7`, `"get":1`):                   "db_permissions[0].databases holds what is no id",
	entries(`99999999999999999999`, `"get":1`): "db_permissions[0].databases holds what is no id",
	entries(`["7"]`, `"get":1`):                "db_permissions[0].databases holds what is no id",
	entries(`"a\u0000"`, `"get":1`):            "Malformed db_permissions[0]: NUL",
	entries(`"*","7"`, `"get":1`):              `db_permissions[0].databases: "*" stands alone`,
	entries(`"7","*"`, `"get":1`):              `db_permissions[0].databases: "*" stands alone`,
	entries(`"7"`, ``): "db_permissions[0].permissions is an object with " +
		"at least one flag",
	entries(`"7"`, `"get":1`, `"8"`,
		``): "db_permissions[1].permissions is an object with at least one flag",
	entries(`"7"`, `"write":1`): "db_permissions[0].permissions holds what is none " +
		"of",
	entries(`"7"`, `"get":1,"write":0`): "db_permissions[0].permissions holds what is none " +
		"of",
	entries(`"7"`, `"GET":1`):      "db_permissions[0].permissions holds what is none of",
	entries(`"7"`, `"get":2`):      "db_permissions[0].permissions.get is 0 or 1",
	entries(`"7"`, `"get":-0`):     "db_permissions[0].permissions.get is 0 or 1",
	entries(`"7"`, `"get":1.0`):    "db_permissions[0].permissions.get is 0 or 1",
	entries(`"7"`, `"get":"true"`): "db_permissions[0].permissions.get is 0 or 1",
	entries(`"7"`, `"get":"01"`):   "db_permissions[0].permissions.get is 0 or 1",
	entries(`"7"`, `"get":""`):     "db_permissions[0].permissions.get is 0 or 1",
	entries(`"7"`, `"get":null`):   "db_permissions[0].permissions.get is 0 or 1",
	entries(`"7"`, `"get":[1]`):    "db_permissions[0].permissions.get is 0 or 1",
	`{"stock_images":"yes"}`:       "stock_images is 0 or 1",
	`{"stock_images":null}`:        "stock_images is 0 or 1",
	`{"stock_images":2}`:           "stock_images is 0 or 1",
	`{"stock_images":["1"]}`:       "stock_images is 0 or 1",
	`{"x":` + strings.Repeat("[", 33) + strings.Repeat("]", 33) +
		`}`: "extra is no valid JSON: at byte 36: nested too deeply",
	entries(`"`+strings.Repeat("%", 200)+`"`,
		`"get":1`): "db_permissions[0].databases holds what is no id",
	entries(strings.TrimSuffix(strings.Repeat(`"7",`, 1001), ","),
		`"get":1`): "Malformed db_permissions[0]: too many values",
	`{"note":"` + strings.Repeat("x", 64<<10) + `"}`: "Request too large",
}

func TestBadExtraMakesNothing(t *testing.T) {
	w := newFixture(t, nil)
	a := w.add("app", `{"stock_images":"1"}`)
	before := w.call("access.get_all").body
	for text, want := range badExtras {
		r := w.call("access.add", "name", "bad", "extra", text)
		require.Equal(t, "FAILURE", r.Code, text)
		require.True(t, strings.HasPrefix(r.Message, want), "%.80q: %s", text, r.Message)
		require.Equal(t, "{}", string(r.Data))

		r = w.call("access.update", "token_id", a.ID, "meta[extra]", text)
		require.Equal(t, "FAILURE", r.Code, text)
		if json.Valid([]byte(text)) && text != `"{}"` { // JSON text within JSON is accepted there
			r = w.call("access.update", "token_id", a.ID, "meta", `{"extra":`+text+`}`)
			require.Equal(t, "FAILURE", r.Code, text)
		}
	}
	require.Equal(t, before, w.call("access.get_all").body)
	require.Empty(t, w.log.String())
}

// Lists of extra are lists: anything else is refused, and gives no right.
func TestListsOfExtra(t *testing.T) {
	for _, text := range []string{`{"db_permissions":null}`, `{"db_permissions":7}`, `{"db_permissions":{}}`,
		`{"db_permissions":"x"}`, `{"db_permissions":[7]}`, `{"db_permissions":[null]}`, `{"db_permissions":[[]]}`} {
		x, err := compileExtra(json.RawMessage(text), Overlay(0), false)
		require.Error(t, err, text)
		require.Empty(t, x.permissions, text)
	}
	x, err := compileExtra(json.RawMessage(`{"db_permissions":[]}`), Overlay(0), false)
	require.NoError(t, err)
	require.Empty(t, x.permissions)
}

// A value in brackets means the same as JSON, and is shown as JSON in which every scalar is a text.
func TestBrackets(t *testing.T) {
	const one = `{"db_permissions":[{"databases":["7","8"],"permissions":{"get":"1","add":"0"}}],"stock_images":"1"}`
	for name, tt := range map[string]struct{ pairs, want string }{
		"all": {"extra[db_permissions][0][databases][0]=7&extra[db_permissions][0][databases][1]=8" +
			"&extra[db_permissions][0][permissions][get]=1&extra[db_permissions][0][permissions][add]=0&extra[stock_images]=1",
			one},
		"encoded": {"extra%5Bdb_permissions%5D%5B0%5D%5Bdatabases%5D%5B%5D=7" +
			"&extra%5Bdb_permissions%5D%5B0%5D%5Bdatabases%5D%5B%5D=8" +
			"&extra[db_permissions][0][permissions][get]=1&extra[db_permissions][0][permissions][add]=0&extra[stock_images]=1",
			one},
		"booleans": {"extra[db_permissions][0][databases][]=7&extra[db_permissions][0][permissions][get]=true" +
			"&extra[db_permissions][0][permissions][update]=false",
			`{"db_permissions":[{"databases":["7"],"permissions":{"get":"true","update":"false"}}]}`},
		"JSON list": {encode("extra[db_permissions]", `[ {"databases":["7"], "permissions":{"get":1}} ]`,
			"extra[stock_images]", "0"),
			`{"db_permissions":[ {"databases":["7"], "permissions":{"get":1}} ],"stock_images":"0"}`},
		"JSON entry": {encode("extra[db_permissions][0]", `{"databases":["7"],"permissions":{"get":1}}`),
			`{"db_permissions":[{"databases":["7"],"permissions":{"get":1}}]}`},
		"JSON within an entry": {encode("extra[db_permissions][0][databases]", `["7"]`,
			"extra[db_permissions][0][permissions]", `{"get":1}`),
			`{"db_permissions":[{"databases":["7"],"permissions":{"get":1}}]}`},
		"half of an entry": {encode("extra[db_permissions][0][databases][0]", `7`,
			"extra[db_permissions][0][permissions]", `{"get":true}`),
			`{"db_permissions":[{"databases":["7"],"permissions":{"get":true}}]}`},
		"unknown members": {encode("extra[db_permissions][0][databases][0]", `7`,
			"extra[db_permissions][0][permissions][get]", "1",
			"extra[note][a][]", `"<é>`, "extra[more]", `{"x":1}`),
			`{"db_permissions":[{"databases":["7"],"permissions":{"get":"1"}}],"note":{"a":["\"\u003cé\u003e"]},` +
				`"more":"{\"x\":1}"}`},
		"two entries, second first": {"extra[db_permissions][1][databases][]=7&extra[db_permissions][1][permissions][add]=0" +
			"&extra[db_permissions][0][databases][]=7&extra[db_permissions][0][permissions][get]=1" +
			"&extra[db_permissions][0][permissions][add]=1",
			`{"db_permissions":[{"databases":["7"],"permissions":{"get":"1","add":"1"}},{"databases":["7"],` +
				`"permissions":{"add":"0"}}]}`},
	} {
		t.Run(name, func(t *testing.T) {
			w := newFixture(t, nil)
			h := w.ok(w.send(post(encode("cmd", "access.add", "auth_token", w.session, "name", "app") + "&" + tt.pairs)))
			require.Equal(t, tt.want, string(h.Extra))
			require.Equal(t, "get", has(w.verified(h.Token), "7"))
			require.Equal(t, tt.want, string(w.ok(w.call("access.get", "token_id", h.ID)).Extra))

			h2 := w.add("other", `{}`)
			nested := strings.ReplaceAll(strings.ReplaceAll(tt.pairs, "extra[", "meta[extra]["), "extra%5B",
				"meta%5Bextra%5D%5B")
			got := w.ok(w.send(post(encode("cmd", "access.update", "auth_token", w.session, "token_id", h2.ID) + "&" + nested)))
			require.Equal(t, tt.want, string(got.Extra))
			require.Equal(t, "other", got.Name)
			require.Equal(t, "get", has(w.verified(h2.Token), "7"))
		})
	}
	w := newFixture(t, nil)
	const (
		seven = "extra[db_permissions][0][databases][]=7"
		may   = "&extra[db_permissions][0][permissions]"
	)
	for pairs, want := range map[string]string{
		"extra[db_permissions][0][databases]=7" + may + "[get]=1":  "db_permissions[0].databases is a list",
		"extra[db_permissions][0][databases]=*" + may + "[get]=1":  "extra is no valid JSON",
		"extra[db_permissions][0][databases][]=" + may + "[get]=1": "db_permissions[0].databases holds what is no id",
		seven + may + "[get]=yes":                                  "db_permissions[0].permissions.get is 0 or 1",
		seven + may + "[get]=1" + may + "[get]=0":                  "db_permissions[0].permissions.get is 0 or 1",
		seven + may + "[GET]=1" + may + "[get]=0":                  "extra is no valid JSON",
		"extra[db_permissions][a][databases][]=7":                  "db_permissions is a list",
		"extra[db_permissions]=x":                                  "extra is no valid JSON",
		"extra[DB_PERMISSIONS]=x":                                  "db_permissions is written in lower case",
		"extra={}&extra[stock_images]=1":                           "Malformed form: one name used in two ways",
		"extra={}&extra={}":                                        "extra is given once",
		"extra[]={}":                                               "extra is given once",
		"extra[a][b][c][d][e][f][g]=1":                             "Malformed form: nested too deeply",
		"extra[stock_images=1":                                     "Malformed form: brackets do not match",
	} {
		r := w.send(post(encode("cmd", "access.add", "auth_token", w.session, "name", "app") + "&" + pairs))
		require.Equal(t, "FAILURE", r.Code, pairs)
		require.True(t, strings.HasPrefix(r.Message, want), "%s: %s", pairs, r.Message)
	}
	require.Empty(t, w.list(w.call("access.get_all")))
}

// FuzzExtra: an accepted extra is kept unchanged, and its rules are valid and about databases and stock images only.
// No overlay allows more than the union.
func FuzzExtra(f *testing.F) {
	for text := range badExtras {
		if len(text) < 1000 {
			f.Add(text, "extra="+text)
		}
	}
	f.Add(entries(`"7","8"`, `"get":1,"add":"0"`, `"*"`, `"get":false`), "extra[db_permissions][0][databases][]=7")
	f.Add(`{"stock_images":"1"}`, "extra[db_permissions][0][permissions][get]=true&extra[db_permissions]=[]")
	f.Fuzz(func(t *testing.T, text, pairs string) {
		check := func(v *form.Value) {
			union, err := readExtra(v, OverlayUnion)
			for _, o := range []Overlay{OverlayFlags, OverlayEntries} {
				x, err2 := readExtra(v, o)
				if (err == nil) != (err2 == nil) {
					t.Fatalf("the readings take different texts: %v, %v", err, err2)
				}
				if err != nil {
					continue
				}
				if x.permissions.Validate() != nil || !x.permissions.Within(union.permissions) {
					t.Fatalf("%s gives more than the union", x.json)
				}
				if !json.Valid(x.json) || v.Kind == form.Text && string(x.json) != v.Text {
					t.Fatalf("%q is kept as %q", v.Text, x.json)
				}
				if x.permissions.Allows(latchkey.Read, "db") || x.permissions.Allows(latchkey.Read, "latchkey/token/x") {
					t.Fatal("more than databases")
				}
			}
		}
		check(&form.Value{Kind: form.Text, Text: text})
		if tree, err := form.Parse(pairs); err == nil && tree.Get("extra") != nil {
			check(tree.Get("extra"))
		}
	})
}

func TestOverlayOption(t *testing.T) {
	extra := entries(`"7"`, `"get":1,"update":1`, `"7"`, `"update":0,"add":1`)
	for o, want := range map[Overlay]string{OverlayFlags: "get,add", OverlayEntries: "add",
		OverlayUnion: "get,update,add"} {
		w := newFixture(t, &Options{Overlay: o})
		a := w.add("app", extra)
		require.Equal(t, want, has(w.verified(a.Token), "7"))
		w.ok(w.call("access.update", "token_id", a.ID, "meta", `{"extra":{}}`))
		require.Empty(t, has(w.verified(a.Token), "7"))
		w.ok(w.call("access.update", "token_id", a.ID, "meta", `{"extra":`+extra+`}`))
		require.Equal(t, want, has(w.verified(a.Token), "7"))
	}
}
