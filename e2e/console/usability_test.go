package console

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/chromedp/cdproto/emulation"
	"github.com/chromedp/cdproto/page"
	"github.com/chromedp/chromedp"
	"github.com/stretchr/testify/require"

	"github.com/latchkey-go/latchkey"
	"github.com/latchkey-go/latchkey/e2e/internal/harness"
)

// until waits for what a script says of the page, also while one page makes way for the next.
func (p *tab) until(script string) {
	p.t.Helper()
	for end := time.Now().Add(3 * time.Minute); time.Now().Before(end); time.Sleep(5 * time.Millisecond) {
		if ok, err := chromedp.Run(p.ctx, chromedp.Evaluate[bool](script)); err == nil && ok {
			return
		}
	}
	p.t.Fatalf("it never comes to be that %s", script)
}

func (p *tab) questions() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.asked
}

func (p *tab) staying(stay bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.stay = stay
}

// TestConsoleFiltersWait: a choice of the filter changes nothing before it is applied (WCAG 3.2.2), and what is
// searched for comes into no address when it is a key.
func TestConsoleFiltersWait(t *testing.T) {
	p := servePages(t)
	p.furnish()
	_, secret, err := p.acme.Issue(t.Context(), latchkey.Spec{Kind: latchkey.KindAPIKey,
		Name: "pasted"})
	require.NoError(t, err)
	b := newTab(t, harness.Window(t))
	b.open(p.base)
	marked(b, "old")
	evaluate[bool](b, `document.querySelectorAll(".filter > label > select:not([name=sort])").forEach((s) => {
		s.focus(); s.selectedIndex = 2; s.dispatchEvent(new Event("input",
			{bubbles: true})); s.dispatchEvent(new Event("change", {bubbles: true}));
	}), new Promise((done) => setTimeout(() => done(true), 300))`)
	require.Equal(t, p.base, b.address())
	require.True(t, evaluate[bool](b, `"old" in document.documentElement.dataset`))
	b.press(".filter > .button")
	require.Contains(t, b.address(), "kind=api_key&state=disabled")
	require.Contains(t, b.text("main"), "Nightly export")

	for _, field := range []string{"pasted", secret.Reveal()} {
		b.open(p.base)
		b.fill("[type=search]", field)
		b.press(".filter > .button")
		require.Contains(t, b.text("main"), "pasted")
		require.NotContains(t, b.address(), secret.Reveal())
	}
	require.Contains(t, b.address(), "/token/")
	require.Zero(t, evaluate[int](b,
		`performance.getEntries().filter((e) => e.name.includes("`+secret.Reveal()+`")).length`))
	require.Empty(t, b.complaints())
}

// TestConsoleKeepsWhatIsTyped: nothing typed is lost by a link, by a browser that was stopped, or by a refusal.
func TestConsoleKeepsWhatIsTyped(t *testing.T) {
	p := servePages(t)
	token, role := p.furnish()
	b := newTab(t, harness.Window(t))
	edit := p.base + "token/" + token.ID
	for path, field := range map[string]string{"token/" + token.ID: "#name", "role/" + role.ID: "#name", "new": "#name"} {
		b.open(p.base + path)
		b.do(chromedp.Click(chromedp.CSS(field)))
		before := b.questions()
		b.press("nav[aria-label=Console] a")
		require.Equal(t, before, b.questions(), "%s: nothing was typed", path)
		b.open(p.base + path)
		b.do(chromedp.SendKeys(chromedp.CSS(field), " typed"))
		b.staying(true)
		evaluate[bool](b, `document.querySelector("nav[aria-label=Console] a").click(), true`)
		require.Eventually(t, func() bool { return b.questions() > before }, 3*time.Minute, 5*time.Millisecond, path)
		require.Contains(t, evaluate[string](b, `document.querySelector("`+field+`").value`), " typed", path)
		b.staying(false)
		b.press("nav[aria-label=Console] a")
		require.Equal(t, p.base, b.address(), path)
	}

	// After a refusal the focus is on what is wrong, and from there it leads to the field.
	b.open(edit)
	b.fill("#credits", "ten")
	b.press(done)
	b.until(`document.activeElement.id == "errors"`)
	require.Contains(t, b.text("#errors"), "Credit limit: Write a number")
	b.do(chromedp.Click(chromedp.CSS("#errors a")))
	b.until(`document.activeElement.id == "credits"`)
	b.fill("#credits", "11")
	before := b.questions()
	b.press(done)
	require.Equal(t, before, b.questions(), "what is sent is not asked about")
	require.Contains(t, b.text("[role=status]"), "Saved.")
	b.onlyRefusals()

	// A save that the browser was stopped from sending can be sent again, and the page says that it is under way; the
	// second click of a double click sends nothing.
	b.open(edit)
	b.fill("#name", "Sent again")
	evaluate[bool](b, `(() => {
		const form = document.querySelector(".wideaction").closest("form"), button = form.querySelector(".wideaction button");
		window.sent = 0;
		window.stop1 = (event) => { if (!event.defaultPrevented) { window.sent++; event.preventDefault(); } };
		window.addEventListener("submit", window.stop1);
		button.click();
		button.click();
		return true;
	})()`)
	b.until("window.sent == 1")
	require.Equal(t, "Sending…", b.text(".save"))
	evaluate[bool](b, `window.removeEventListener("submit", window.stop1), true`)
	b.until(`(() => { window.began ??= performance.now(); return performance.now() - window.began > 1600; })()`)
	require.Equal(t, 1, evaluate[int](b, "window.sent"))
	b.press(done)
	got, err := p.acme.Get(t.Context(), token.ID)
	require.NoError(t, err)
	require.Equal(t, "Sent again", got.Name)

	// A secret that was just made lives through a reload.
	b.open(edit + "/rotate")
	b.do(chromedp.Click(chromedp.CSS(`input[value="0s"]`)))
	b.press("main form button")
	secret := evaluate[string](b, "document.querySelector('#secret').value")
	marked(b, "old")
	_, err = chromedp.Call(b.ctx, page.Reload, page.ReloadParams{})
	require.NoError(t, err)
	b.do(chromedp.WaitReady(chromedp.CSS("html:not([data-old]) main")))
	require.Equal(t, secret, evaluate[string](b, "document.querySelector('#secret').value"))
	_, err = p.acme.Verify(t.Context(), latchkey.Presented{Secret: secret, Referer: "https://www.example.com/"})
	require.NoError(t, err)
}

// TestConsoleIsolatesNames: whatever stands on a page that a person wrote is isolated from what stands beside it.
func TestConsoleIsolatesNames(t *testing.T) {
	p := servePages(t)
	const word = "שם QQQ" // begins from the right
	ctx := t.Context()
	role, err := p.acme.CreateRole(ctx, latchkey.Role{Name: word + " role", Origin: "x", Permissions: latchkey.Permissions{
		latchkey.Allow(latchkey.Read).On("dataset/ACME/" + word).Where(latchkey.Where("region", latchkey.Eq, word))}})
	require.NoError(t, err)
	heir, err := p.acme.CreateRole(ctx, latchkey.Role{Name: word + " heir", Inherits: []string{role.ID}})
	require.NoError(t, err)
	parent, secret, err := p.acme.Issue(ctx, latchkey.Spec{Kind: latchkey.KindAPIKey,
		Name: word, Roles: []string{heir.ID},
		Permissions: latchkey.Permissions{latchkey.Allow(latchkey.Read).On("dataset/ACME/QQQ"),
			latchkey.Deny(latchkey.Read).On("x/" + word)}})
	require.NoError(t, err)
	access, err := p.acme.Verify(ctx, latchkey.Presented{Secret: secret.Reveal()})
	require.NoError(t, err)
	child, _, err := access.Mint(ctx, latchkey.Narrowing{Lifetime: time.Hour, Name: word + " child",
		Client: latchkey.Client{ID: "QQQ 1", Name: word}})
	require.NoError(t, err)
	gone, _, err := p.acme.Issue(ctx, latchkey.Spec{Kind: latchkey.KindAPIKey, Name: word})
	require.NoError(t, err)
	require.NoError(t, p.acme.Revoke(ctx, gone.ID, word))
	access.Count("QQQ meter", "QQQ endpoint", 3, 1)
	b := newTab(t, harness.Window(t))
	seen := 0
	for _, path := range []string{"", "?kind=access", "?q=" + word, "token/" + parent.ID, "token/" + child.ID,
		"token/" + gone.ID, "token/" + parent.ID + "/rotate",
		"token/" + parent.ID + "/access?action=read&resource=dataset/ACME/QQQ", "token/" + child.ID +
			"/access", "token/" + parent.ID + "/usage", "usage",
		"roles", "role/" + role.ID, "role/" + heir.ID, "role/" + role.ID + "/delete", "role/" + heir.ID + "/access", "role"} {
		b.open(p.base + path)
		loose := evaluate[[]string](b, `(() => {
			const out = [];
			const texts = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
			for (let n = texts.nextNode(); n; n = texts.nextNode())
				if (n.data.includes("QQQ")) {
					window.found = (window.found || 0) + 1;
					if (!n.parentElement.closest("bdi, [dir=auto], datalist, .sr")) out.push(n.parentElement.outerHTML);
				}
			for (const e of document.querySelectorAll("main input:not([type=hidden]), main textarea"))
				if (e.value.includes("QQQ") && e.type != "checkbox" && e.dir != "auto") out.push(e.outerHTML);
			return out;
		})()`)
		require.Empty(t, loose, path)
		seen += evaluate[int](b, "window.found || 0")
	}
	require.Greater(t, seen, 40)
}

// TestConsoleInForcedColours: with the colours of the system, what is chosen can be told from what is not.
func TestConsoleInForcedColours(t *testing.T) {
	p := servePages(t)
	token, _ := p.furnish()
	b := newTab(t, harness.Window(t))
	for _, theme := range themes {
		_, err := chromedp.Call(b.ctx, emulation.SetEmulatedMedia,
			emulation.SetEmulatedMediaParams{Features: []*emulation.MediaFeature{
				{Name: "forced-colors", Value: "active"}, {Name: "prefers-color-scheme", Value: theme}}})
		require.NoError(t, err)
		b.open(p.base + "token/" + token.ID)
		look := func(selector, what string) string {
			return evaluate[string](b, fmt.Sprintf(`getComputedStyle(document.querySelector(%q)).%s`, selector, what))
		}
		require.NotEqual(t, look("nav a[aria-current]", "borderBottomColor"), look("nav a:not([aria-current])",
			"borderBottomColor"), theme)
		require.NotEqual(t, look("nav a[aria-current]", "textDecorationLine"), look("nav a:not([aria-current])",
			"textDecorationLine"), theme)
		require.NotEqual(t, look("input[name=right]:checked + i", "backgroundColor"),
			look("input[name=signed]:not(:checked) + i", "backgroundColor"), theme)
		// The knob can be seen on the rail.
		for _, rail := range []string{"input[name=right]:checked + i", "input[name=signed]:not(:checked) + i"} {
			knob := evaluate[string](b,
				fmt.Sprintf(`getComputedStyle(document.querySelector(%q), "::after").backgroundColor`, rail))
			require.NotEqual(t, look(rail, "backgroundColor"), knob, "%s %s", theme, rail)
		}
	}
}

// TestConsoleNamesAreWhatIsSeen: what a field, link or button is called holds what stands on it (WCAG 2.5.3).
func TestConsoleNamesAreWhatIsSeen(t *testing.T) {
	p := servePages(t)
	token, role := p.furnish()
	b := newTab(t, harness.Window(t))
	for _, path := range []string{"", "token/" + token.ID, "role/" + role.ID, "roles", "new", "usage", "token/" +
		token.ID + "/access"} {
		b.open(p.base + path)
		for _, pair := range evaluate[[][2]string](b,
			`[...document.querySelectorAll("main a, main button, main select, main input:not([type=hidden])")].map((e) => {
			const line = e.closest(".line");
			const shown = (n) => [...n.childNodes].map((c) => c.nodeType == 3 ? c.data : c.nodeType != 1 ||
				c.matches(".sr, [aria-hidden=true], small, input, select, textarea") ? "" : shown(c)).join("");
			const label = e.labels && e.labels[0];
			let seen = e.matches("a, button") ? shown(e) : label ? shown(label) : "";
			if (e.getAttribute("role") == "switch") seen = shown(line.firstElementChild);
			const name = e.getAttribute("aria-label") || (label ? label.textContent : e.textContent);
			const plain = (s) => s.replace(/\s+/g, " ").trim().toLowerCase();
			return [plain(seen), plain(name)];
		})`) {
			require.True(t, strings.Contains(pair[1], pair[0]), "%s: seen %q, called %q", path, pair[0], pair[1])
		}
	}
}
