package console

import (
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"html/template"
	"maps"
	"net/http"
	"net/url"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"text/template/parse"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/latchkey-go/latchkey"
)

// use is a text that a template or the program names, with the placeholders that it gives.
type use struct {
	where, key string
	args       []string
	known      bool // the arguments are known
}

var keyText = regexp.MustCompile(`^[a-z]+\.[a-z0-9]+(-[a-z0-9]+)*$`)

// usedWords returns all texts that the pages and the program name.
func usedWords(t *testing.T) (all []use) {
	t.Helper()
	for _, page := range templates().Templates() {
		if page.Tree == nil || page.Tree.Root == nil {
			continue
		}
		walkTemplate(page.Tree.Root, func(c *parse.CommandNode) {
			f, ok := c.Args[0].(*parse.IdentifierNode)
			if !ok || f.Ident != "say" && f.Ident != "rich" {
				return
			}
			u := use{where: page.Name(), known: true}
			for i, x := range c.Args[1:] {
				text, literal := x.(*parse.StringNode)
				if i == 0 {
					require.True(t, literal, "%s: the key of a text must be a literal: %s", page.Name(), c)
					u.key = text.Text
				} else if i%2 == 1 {
					require.True(t, literal, "%s: the name of a placeholder must be a literal: %s", page.Name(), c)
					u.args = append(u.args, text.Text)
				}
			}
			all = append(all, u)
		})
	}
	pages := map[string]bool{}
	for _, page := range catalogues {
		for key := range page {
			name, _, _ := strings.Cut(key, ".")
			pages[name] = true
		}
	}
	files, err := filepath.Glob("*.go")
	require.NoError(t, err)
	set := token.NewFileSet()
	for _, name := range files {
		if strings.HasSuffix(name, "_test.go") || isCatalogue(name) {
			continue
		}
		file, err := parser.ParseFile(set, name, nil, 0)
		require.NoError(t, err)
		ast.Inspect(file, func(n ast.Node) bool {
			switch n := n.(type) {
			case *ast.CallExpr:
				all = append(all, callOf(set, n)...)
			case *ast.BasicLit: // in a table, or in a variable
				key, err := strconv.Unquote(n.Value)
				page, _, _ := strings.Cut(key, ".")
				isKey := err == nil && keyText.MatchString(key) && pages[page] && !strings.HasSuffix(key, ".html") &&
					!strings.HasSuffix(key, ".csv")
				if n.Kind == token.STRING && isKey {
					all = append(all, use{where: set.Position(n.Pos()).String(), key: key})
				}
			}
			return true
		})
	}
	return all
}

// callOf returns the text that a call names.
func callOf(set *token.FileSet, call *ast.CallExpr) []use {
	f, ok := call.Fun.(*ast.SelectorExpr)
	named := ok && slices.Contains([]string{"say", "rich", "heading"}, f.Sel.Name)
	if !named || len(call.Args) == 0 || call.Ellipsis != 0 {
		return nil
	}
	u := use{where: set.Position(call.Pos()).String(), known: true}
	for i, x := range call.Args {
		if i > 0 && i%2 == 0 {
			continue // a value
		}
		lit, ok := x.(*ast.BasicLit)
		if !ok {
			return nil // a variable: its value is a literal elsewhere
		}
		text, _ := strconv.Unquote(lit.Value)
		if i == 0 {
			u.key = text
		} else {
			u.args = append(u.args, text)
		}
	}
	return []use{u}
}

func isCatalogue(file string) bool {
	return strings.HasPrefix(file, "words_") && file != "words_message.go" && file != "words_format.go"
}

// walkTemplate calls found with every command of a template.
func walkTemplate(n parse.Node, found func(*parse.CommandNode)) {
	list := func(l *parse.ListNode) {
		if l != nil {
			walkTemplate(l, found)
		}
	}
	branch := func(b *parse.BranchNode) {
		walkTemplate(b.Pipe, found)
		list(b.List)
		list(b.ElseList)
	}
	switch n := n.(type) {
	case *parse.ListNode:
		for _, x := range n.Nodes {
			walkTemplate(x, found)
		}
	case *parse.ActionNode:
		walkTemplate(n.Pipe, found)
	case *parse.IfNode:
		branch(&n.BranchNode)
	case *parse.RangeNode:
		branch(&n.BranchNode)
	case *parse.WithNode:
		branch(&n.BranchNode)
	case *parse.TemplateNode:
		if n.Pipe != nil {
			walkTemplate(n.Pipe, found)
		}
	case *parse.PipeNode:
		for _, c := range n.Cmds {
			found(c)
			for _, x := range c.Args {
				if sub, ok := x.(*parse.PipeNode); ok {
					walkTemplate(sub, found)
				}
			}
		}
	}
}

// TestEveryTextIsThere is the rule of the catalogue: every key that is used has a text in both languages, every text is
// used, and a call gives the placeholders that the text has.
func TestEveryTextIsThere(t *testing.T) {
	en, de := English(), German()
	used := map[string]bool{}
	for _, u := range usedWords(t) {
		m, ok := en.messages[u.key]
		require.True(t, ok, "%s: there is no text %q", u.where, u.key)
		used[u.key] = true
		if !u.known {
			continue
		}
		for _, name := range m.names() {
			tag := strings.Trim(name, "<>")
			_, always := elements[tag]
			require.True(t, slices.Contains(u.args, tag) || name != tag && always, "%s: %s: no value for %s", u.where, u.key,
				name)
		}
	}
	for _, page := range catalogues {
		name := ""
		for key, p := range page {
			require.Regexp(t, keyText, key)
			first, _, _ := strings.Cut(key, ".")
			require.True(t, name == "" || name == first, "%s: the texts of a page begin with its name", key)
			name = first
			require.True(t, used[key] || name == "format", "nothing uses the text %q", key)
			require.NotEmpty(t, p.English, key)
			require.NotEmpty(t, p.German, key)
			require.NoError(t, de.messages[key].fits(en.messages[key]), key)
			require.NoError(t, en.messages[key].fits(de.messages[key]), key)
		}
	}
	files, err := filepath.Glob("words_*.go")
	require.NoError(t, err)
	var count int
	for _, file := range files {
		if isCatalogue(file) && !strings.HasSuffix(file, "_test.go") && file != "words_catalogue.go" {
			count++
		}
	}
	require.Equal(t, count+2, len(catalogues), "words_catalogue.go lists the texts of each page")
}

// TestGermanAddressesNobody: the German texts neither say Sie nor du, and have German quotation marks.
func TestGermanAddressesNobody(t *testing.T) {
	address := regexp.MustCompile(`\b(Sie (können|dürfen|müssen|haben|sind)|Ihre?[mnrs]?|[Dd]u|[Dd]ein\w*|[Ee]uch)\b`)
	for key, text := range German().Texts() {
		require.NotRegexp(t, address, text, key)
		require.NotContains(t, text, "“…”", key)
		require.Equal(t, strings.Count(text, "„"), strings.Count(text, "“"), "%s: %s", key, text)
	}
}

func TestMessages(t *testing.T) {
	write := func(text string, as textKind, args ...any) string {
		w := *English()
		m, err := parseMessage(text)
		require.NoError(t, err, text)
		w.messages = maps.Clone(w.messages)
		w.messages["x"] = m
		return w.write("x", as, args)
	}
	moment := time.Date(2026, 12, 31, 18, 5, 0, 0, time.FixedZone("", 3600))
	tokens := "{n, plural, =0 {no token} one {# token of {who}} other {# tokens of {who}}}"
	for _, c := range []struct {
		text string
		args []any
		want [3]string // plain, rich, title
	}{
		{"a & b", nil, [3]string{"a & b", "a &amp; b", "a &amp; b"}},
		{"of {who}", []any{"who", "<b>\u202e"}, [3]string{"of <b>\u202e", "of <bdi>&lt;b&gt;\u202e</bdi>",
			"of &#x2068;&lt;b&gt;\u202e&#x2069;"}},
		{"{when}", []any{"when", moment}, [3]string{"31 Dec 2026, 17:05 UTC",
			`<time datetime="2026-12-31T17:05:00Z" data-zone="stamp">31 Dec 2026, 17:05 UTC</time>`, "31 Dec 2026, 17:05 UTC"}},
		{"{n} and {c}", []any{"n", 12345, "c", latchkey.Credits(1_234_500_000)}, [3]string{"12,345 and 1,234.5",
			"12,345 and 1,234.5", "12,345 and 1,234.5"}},
		{tokens, []any{"n", 0, "who", "Ada"}, [3]string{"no token", "no token", "no token"}},
		{tokens, []any{"n", int64(1), "who", "Ada"}, [3]string{"1 token of Ada", "1 token of <bdi>Ada</bdi>",
			"1 token of &#x2068;Ada&#x2069;"}},
		{tokens, []any{"n", 1204, "who", "Ada"}, [3]string{"1,204 tokens of Ada", "1,204 tokens of <bdi>Ada</bdi>",
			"1,204 tokens of &#x2068;Ada&#x2069;"}},
		{"see <link>the <b>next</b> {n}</link>.", []any{"n", 2, "link", link("?from=\"2\"")}, [3]string{"see the next 2.",
			`see <a href="?from=&#34;2&#34;">the <b>next</b> 2</a>.`, "see the next 2."}},
		{"<link>x</link>", []any{"link", link("javascript:alert(1)")}, [3]string{"x", `<a href="#">x</a>`, "x"}},
		{"<link>x</link>", []any{"link", "not an element"}, [3]string{"x", "x", "x"}},
		{"{it}", []any{"it", template.HTML("<i>1</i>")}, [3]string{"<i>1</i>", "<i>1</i>", "<i>1</i>"}},
		{"takes effect {soon}", []any{"soon", own("at once")}, [3]string{"takes effect at once", "takes effect at once",
			"takes effect at once"}},
		{"{d}", []any{"d", 90 * time.Minute}, [3]string{"90 minutes", "90 minutes", "90 minutes"}},
	} {
		for as, want := range c.want {
			require.Equal(t, want, write(c.text, textKind(as), c.args...), c.text)
		}
	}
	for _, bad := range []string{"{", "}", "{}", "{a", "{a, b}", "{n, plural}", "{n, plural, one {x}}",
		"{n, plural, other x}", "{n, plural, dozen {x} other {y}}", "{n, plural, =x {x} other {y}}", "<", "<b>",
		"<b>x</i>", "</b>", "<a href=x>y</a>", "<B>x</B>", strings.Repeat("<b>", 9), strings.Repeat("x", maxMessage+1),
		"{n, plural, other {x}",
		"{n, plural, other {}} }"} {
		_, err := parseMessage(bad)
		require.Error(t, err, bad)
	}
}

func FuzzMessage(f *testing.F) {
	for _, text := range English().source {
		f.Add(text)
	}
	f.Add("{n, plural, =0 {<b>#</b>} other {#}}<b>{x}</b>")
	f.Fuzz(func(t *testing.T, text string) {
		m, err := parseMessage(text)
		if err != nil {
			return
		}
		w := *English()
		w.messages = map[string]message{"x": m}
		args := []any{}
		for _, name := range m.names() {
			args = append(args, strings.Trim(name, "<>"), "\"'<&")
		}
		rich := w.write("x", richText, args)
		for _, tag := range regexp.MustCompile(`<[^>]*>?`).FindAllString(rich, -1) {
			require.Contains(t, []string{"<bdi>", "</bdi>", "<b>", "</b>", "<small>", "</small>", "</span>",
				`<span class="mono" translate="no">`}, tag)
		}
	})
}

func TestPlurals(t *testing.T) {
	for tag, want := range map[string]string{
		"en": "other one other other other other other", "de-AT": "other one other other other other other",
		"fr": "one one other other other other other", "pt-BR": "one one other other other other other",
		"pt-PT": "other one other other other other other", "ja": "other other other other other other other",
		"pl": "many one few many many few many", "ru": "many one few many one few many",
		"cs": "other one few other other other other", "ar": "zero one two few many many many",
		"lv": "zero one other other one other zero", "lt": "other one few few one few other",
		"he": "other one two other other other other", "sl": "other one two other other other other",
		"ro": "few one few few other other other", "hr": "other one few other one few other",
	} {
		var got []string
		for _, n := range []int64{0, 1, 2, 5, 21, 22, 30} {
			got = append(got, pluralRule(tag)(n))
		}
		require.Equal(t, want, strings.Join(got, " "), tag)
	}
}

func TestGermanNumbersAndDates(t *testing.T) {
	w := German()
	at := time.Date(2026, 3, 1, 9, 5, 0, 0, time.UTC)
	require.Equal(t, "1.234.567", w.number(1_234_567))
	require.Equal(t, "1.234,5", w.credits(1_234_500_000))
	require.Equal(t, "1. März 2026, 09:05 UTC", w.stamp(at))
	require.Equal(t, "vor 1 Tag", w.say("format.days-ago", "n", 1))
	require.Equal(t, "vor 3 Stunden", w.ago(at.Add(3*time.Hour), at))
	for typed, want := range map[string]latchkey.Credits{"1,5": 1_500_000, "1000": 1_000_000_000} {
		got, ok := w.parseCredits(typed)
		require.True(t, ok, typed)
		require.Equal(t, want, got)
		require.Equal(t, typed, w.creditText(got))
	}
	for _, typed := range []string{"1.5", "1.000", "1.000,5"} { // "1.000" is a thousand here, and one elsewhere
		_, ok := w.parseCredits(typed)
		require.False(t, ok, typed)
	}
}

func TestTranslate(t *testing.T) {
	fr, err := Translate("fr", map[string]string{"frame.tokens": "Jetons",
		"list.days": "{n, plural, one {# jour} other {# jours}}"})
	require.NoError(t, err)
	require.Equal(t, "fr", fr.Language())
	require.Equal(t, "0 jour", fr.say("list.days", "n", 0))
	require.Contains(t, fr.Missing(), "frame.roles")
	require.NotContains(t, fr.Missing(), "frame.tokens")
	ours, err := fr.With(map[string]string{"frame.roles": "Rôles"})
	require.NoError(t, err)
	require.Equal(t, "Rôles", ours.say("frame.roles"))
	require.NotContains(t, ours.Missing(), "frame.roles")
	require.Equal(t, "Roles", fr.say("frame.roles"), "texts are immutable")
	require.Empty(t, German().Missing())
	for name, texts := range map[string]map[string]string{
		"an unknown key": {"frame.token": "x"}, "an unknown placeholder": {"frame.tokens": "{n} x"},
		"an unknown tag": {"frame.tokens": "<b>x</b>"}, "no message": {"frame.tokens": "{"},
	} {
		_, err := Translate("fr", texts)
		require.ErrorIs(t, err, latchkey.ErrInvalid, name)
		_, err = English().With(texts)
		require.ErrorIs(t, err, latchkey.ErrInvalid, name)
	}
	for _, tag := range []string{"", "x", "english please", "en\"", "de_AT"} {
		_, err := Translate(tag, nil)
		require.ErrorIs(t, err, latchkey.ErrInvalid, tag)
	}
	require.Equal(t, slices.Sorted(maps.Keys(English().source)), slices.Sorted(maps.Keys(maps.Collect(German().Texts()))))
}

func TestLanguageOfARequest(t *testing.T) {
	ar, err := Translate("ar", nil)
	require.NoError(t, err)
	all := []*Words{English(), German(), ar}
	for _, c := range []struct {
		languages []*Words
		chosen    string // by the host; "-": it does not choose
		accepts   string
		want      string
	}{
		{nil, "-", "de", `lang="en" dir="ltr"`},
		{all, "-", "", `lang="en" dir="ltr"`},
		{all, "-", "de-CH,de;q=0.9,en;q=0.8", `lang="de" dir="ltr"`},
		{all, "-", "fr, en;q=0.5, de;q=0.7", `lang="de" dir="ltr"`},
		{all, "-", "de;q=0, ar", `lang="ar" dir="rtl"`},
		{all, "-", "*, \"<x>\";q=z", `lang="en" dir="ltr"`},
		{all, "de-AT", "ar", `lang="de" dir="ltr"`},
		{all, "fr", "ar", `lang="en" dir="ltr"`},
		{[]*Words{German()}, "en", "en", `lang="de" dir="ltr"`},
	} {
		opts := &Options{Languages: c.languages}
		if c.chosen != "-" {
			opts.Language = func(*http.Request) string { return c.chosen }
		}
		w := newFixture(t, opts)
		page := w.do("GET", "", "", "Accept-Language", c.accepts).Body.String()
		require.Contains(t, page, "<html "+c.want, fmt.Sprint(c))
	}
	require.PanicsWithValue(t, `console: Options.Languages: two are "de"`, func() {
		Handler(func(*http.Request) (latchkey.Account, latchkey.Access, error) {
			return latchkey.Account{}, latchkey.Access{}, nil
		},
			&Options{Languages: []*Words{German(), German()}})
	})
}

// TestNoTextIsOutsideTheCatalogue renders pages in a language of another alphabet. Latin words that are left are data,
// or texts that nobody can translate.
func TestNoTextIsOutsideTheCatalogue(t *testing.T) {
	other := map[string]string{}
	for key, text := range English().Texts() {
		if other[key] = inGreek(text); strings.HasPrefix(key, "format.") {
			other[key] = text
		}
	}
	greek, err := Translate("el", other)
	require.NoError(t, err)
	w := newFixture(t, &Options{Title: "1", Languages: []*Words{greek}, Catalogue: []Right{
		{Label: "2", Action: latchkey.Read, Pattern: "core/*"}, {Label: "3", Action: latchkey.Read, Pattern: "d/{4}/{5}"}}})
	w.who = must(w.acme.Assume(latchkey.Client{ID: "6", Name: "7"}, everything))
	role := w.role(latchkey.Role{Name: "8", Permissions: latchkey.Permissions{latchkey.Allow(latchkey.Read).On("9")}})
	heir := w.role(latchkey.Role{Name: "10", Inherits: []string{role.ID}, Boundary: latchkey.Permissions{}})
	parent, child, _ := w.mint(latchkey.Settings{Name: "11", Permissions: everything, Roles: []string{heir.ID},
		Limits: latchkey.Limits{Quotas: monthly(4_000_000), Rate: latchkey.Rate{Count: 5, Per: time.Minute, Burst: 6}}},
		latchkey.Narrowing{Name: "12", Lifetime: time.Hour, Client: latchkey.Client{ID: "13", Name: "14"}})
	for _, path := range []string{"", "?kind=access", "?state=revoked", "?q=zzz", "new", "roles", "roles?q=zzz", "role",
		"role/" + role.ID, "role/" + heir.ID, "role/" + role.ID + "/delete", "role/" + role.ID + "/access",
		"token/" + parent.ID, "token/" + child.ID, "token/" + parent.ID + "/access?action=read&resource=15",
		"token/" + child.ID + "/usage", "usage", "token/" + parent.ID + "/rotate", "token/" + parent.ID + "/revoke",
		"token/" + parent.ID + "/disable", "token/" + parent.ID + "/enable", "token/" + parent.ID + "/reveal",
		"token/" + parent.ID + "/signing", "nothing/here"} {
		untranslated(t, path, w.do("GET", path, "").Body.String())
	}
	form := w.form("token/" + parent.ID)
	for _, field := range []string{"credits", "rate", "end", "begin", "idle", "addresses", "mintfrom", "add", "addrole"} {
		form.Set(field, "?")
	}
	untranslated(t, "a form with errors", w.post("token/"+parent.ID, form).Body.String())
	untranslated(t, "a form without a kind", w.post("new", nil).Body.String())
	untranslated(t, "a role without a name", w.post("role", nil).Body.String())
	untranslated(t, "a secret", w.post("token/"+parent.ID+"/reveal", nil).Body.String())
	untranslated(t, "a method", w.do("PUT", "", "").Body.String())
	untranslated(t, "another site", w.do("POST", "new", "", "Origin", "https://evil.example").Body.String())
	w.who = latchkey.Access{}
	untranslated(t, "signed out", w.post("role/"+role.ID, url.Values{"1": {"1"}}).Body.String())
}

var placeholders = regexp.MustCompile(`^({[a-z0-9]+(, plural,|})| *(=[0-9]+|one|other) {|</?[a-z]+>)`)

// inGreek writes the letters of a text, but not its placeholders and tags, in another alphabet.
func inGreek(text string) string {
	var b strings.Builder
	for text != "" {
		if m := placeholders.FindString(text); m != "" {
			b.WriteString(m)
			text = text[len(m):]
			continue
		}
		if c := text[0]; c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' {
			b.WriteRune('α')
		} else {
			b.WriteByte(c)
		}
		text = text[1:]
	}
	return b.String()
}

var (
	dataElements = regexp.MustCompile(`(?s)<(time|bdi|pre|code|datalist|textarea)(?: [^>]*)?>.*?</[a-z]+>`)
	dataClasses  = regexp.MustCompile(`(?s)<([a-z0-9]+) [^>]*(?:class="mono[^"]*"|translate="no")[^>]*>[^<]*</[a-z0-9]+>`)
	spoken       = regexp.MustCompile(`(?:aria-label|title|placeholder|alt|data-label)="([^"]*)"`)
	markup       = regexp.MustCompile(`(?s)<[^>]*>`)
	latin        = regexp.MustCompile(`[A-Za-z]{2,}`)
	// Units of time, months, and what rules are written with are the same in this language.
	notWords = regexp.MustCompile(`UTC|\b(Nov|November|never|just now|allow|grant|deny|read|any|core|on|days?)\b|` +
		`\b(ak|pk)_\w+…?\w*|[0-9a-f]{8}-[0-9a-f-]{27}`)
)

// untranslated fails if a page has a text in the Latin alphabet.
func untranslated(t *testing.T, path, page string) {
	t.Helper()
	for _, m := range spoken.FindAllStringSubmatch(page, -1) {
		require.Empty(t, latin.FindAllString(notWords.ReplaceAllString(unhtml.Replace(m[1]), ""), -1), "%s: %s", path, m[0])
	}
	page = dataClasses.ReplaceAllString(dataElements.ReplaceAllString(page, ""), "")
	for line := range strings.Lines(unhtml.Replace(markup.ReplaceAllString(page, "\n"))) {
		require.Empty(t, latin.FindAllString(notWords.ReplaceAllString(line, ""), -1), "%s: %s", path, line)
	}
}

// TestHostsOwnWords: a host calls things what its customers call them.
func TestHostsOwnWords(t *testing.T) {
	ours, err := English().With(map[string]string{"list.create": "New key"})
	require.NoError(t, err)
	w := newFixture(t, &Options{Languages: []*Words{ours}})
	require.Contains(t, w.get(""), ">New key</a>")
}
