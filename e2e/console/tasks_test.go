package console

import (
	"fmt"
	"os"
	"testing"
	"time"

	"github.com/chromedp/chromedp"
	"github.com/stretchr/testify/require"

	"github.com/latchkey-go/latchkey"
	"github.com/latchkey-go/latchkey/e2e/internal/harness"
)

// person counts the clicks of somebody who does a task. What is typed is no click.
type person struct {
	*tab
	clicks int
}

// click presses the mouse on what leads to another page.
func (p *person) click(selector string) {
	p.t.Helper()
	p.clicks++
	p.press(selector)
}

// tick presses the mouse on what stays on the page.
func (p *person) tick(selector string) {
	p.t.Helper()
	p.clicks++
	p.do(chromedp.Click(chromedp.CSS(selector)))
}

// TestConsoleTasks: a person does what an owner does after the first key, with at most six clicks each, with and
// without scripts. The clicks are shown with -v.
func TestConsoleTasks(t *testing.T) {
	browser := harness.Window(t)
	const primary = "main button.primary"
	for name, task := range map[string]func(t *testing.T, p *tokenPages, me *person, scripts bool){
		"a key for two data sets that ends in 30 days": func(t *testing.T, p *tokenPages, me *person, scripts bool) {
			me.open(p.base)
			if scripts {
				me.tick("a[data-opens]")
				me.click("dialog a")
			} else {
				me.click("a[data-opens]")
				me.tick("[name=kind][value=api_key]")
			}
			me.fill("#name", "Importer")
			me.fill("#add", "ACME/CARS\nACME/BOATS")
			me.tick("[name=ends][value='30']")
			me.click(primary)
			require.Contains(t, me.text("main"), "allow read on dataset/ACME/BOATS")
			me.click(primary)
			secret := evaluate[string](me.tab, "document.querySelector('#secret').value")
			require.Contains(t, evaluate[string](me.tab, "document.querySelector('#line-env').value"), secret)
			access, err := p.acme.Verify(t.Context(), latchkey.Presented{Secret: secret})
			require.NoError(t, err)
			require.True(t, access.Allows(latchkey.Read, "dataset/ACME/CARS"))
			require.True(t, access.Allows(latchkey.Read, "dataset/ACME/BOATS"))
			require.False(t, access.Allows(latchkey.Read, "dataset/ACME/PARTS"))
			made, err := p.acme.Get(t.Context(), access.TokenID())
			require.NoError(t, err)
			require.Equal(t, 30, int(made.Validity.NotAfter.Sub(made.Created).Hours()/24+0.5))
		},
		"unused keys of 90 days disabled": func(t *testing.T, p *tokenPages, me *person, _ bool) {
			for i := range 30 {
				old := p.issue(latchkey.KindAPIKey, latchkey.Settings{Name: fmt.Sprint("forgotten ", i)})
				old.Created = time.Now().AddDate(0, 0, -100)
				err := p.store.Write(t.Context(), latchkey.Write{ID: [16]byte{1, byte(i)}, Owner: "acme",
					Tokens: []latchkey.Token{old}})
				require.NoError(t, err)
			}
			p.issue(latchkey.KindAPIKey, latchkey.Settings{Name: "fresh"})
			me.open(p.base)
			me.click("a[href='./?unused=90']")
			me.tick("[name=all]")
			me.click("button[name=do][value=disable]")
			require.Contains(t, me.text("h1"), "Disable 30 tokens?")
			me.click(primary)
			require.Contains(t, me.text("main"), "30 changed.")
			n, err := p.acme.CountTokens(t.Context(), latchkey.TokenQuery{States: []latchkey.State{latchkey.Disabled}}, 100)
			require.NoError(t, err)
			require.Equal(t, 30, n)
		},
		"a role for some rows, without JSON": func(t *testing.T, p *tokenPages, me *person, _ bool) {
			me.open(p.base)
			me.click("nav a[href$=roles]")
			me.click("a.button.primary")
			me.fill("#name", "EU desk, small orders")
			me.tick("[name='rule[0][act]'][value=read]")
			me.fill("[name='rule[0][on]']", "dataset/ACME/ORDERS")
			me.fill("[name='rule[0][field]']", "region")
			me.fill("[name='rule[0][value]']", "EU")
			me.click(primary)
			require.Contains(t, me.text("main"), `allow read on dataset/ACME/ORDERS where region = "EU"`)
		},
		"everything of one client revoked": func(t *testing.T, p *tokenPages, me *person, _ bool) {
			for i := range 3 {
				_, _, err := p.acme.Issue(t.Context(), latchkey.Spec{Kind: latchkey.KindAPIKey, Name: fmt.Sprint("n", i),
					Client: latchkey.Client{ID: "client-4711", Name: "Ada"}})
				require.NoError(t, err)
			}
			other := p.issue(latchkey.KindAPIKey, latchkey.Settings{Name: "other"})
			me.open(p.base)
			me.fill("[type=search]", "client-4711")
			me.click(".filter button")
			me.tick("[name=all]")
			me.click("button[name=do][value=revoke]")
			require.Contains(t, me.text("h1"), "Revoke 3 tokens?")
			me.fill("#reason", "left")
			me.click("main form button.danger")
			require.Contains(t, me.text("main"), "3 changed.")
			for tok, err := range p.acme.Tokens(t.Context(), latchkey.TokenQuery{}) {
				require.NoError(t, err)
				require.Equal(t, tok.ID == other.ID, tok.Revoked.IsZero(), tok.Name)
			}
		},
	} {
		for _, scripts := range []bool{true, false} {
			t.Run(fmt.Sprintf("%s, scripts %v", name, scripts), func(t *testing.T) {
				p := servePages(t)
				me := &person{tab: newTab(t, browser)}
				me.scripts(scripts)
				me.look("light", 1280, 900)
				task(t, p, me, scripts)
				require.LessOrEqual(t, me.clicks, 6)
				require.Empty(t, me.complaints())
				t.Logf("%d clicks", me.clicks)
			})
		}
	}
}

// TestConsoleLongChanges: a change of many tokens goes on from step to step, by itself with scripts, and by its button
// without.
func TestConsoleLongChanges(t *testing.T) {
	browser := harness.Window(t)
	for _, scripts := range []bool{true, false} {
		p := servePages(t)
		_, err := p.acme.CreateRole(t.Context(), latchkey.Role{Name: "reader"})
		require.NoError(t, err)
		for i := range 450 {
			p.issue(latchkey.KindAPIKey, latchkey.Settings{Name: fmt.Sprint("k", i)})
		}
		b := newTab(t, browser)
		b.scripts(scripts)
		b.open(p.base)
		b.do(chromedp.Click(chromedp.CSS("[name=all]")))
		b.press("button[name=do][value=addrole]")
		b.do(chromedp.Click(chromedp.CSS("[name=with]")))
		b.press("main button.primary")
		if !scripts {
			require.Contains(t, b.text("main"), "200 of 450 so far.")
			b.press("main button.primary")
			require.Contains(t, b.text("main"), "400 of 450 so far.")
			b.press("main button.primary")
		}
		b.until(`document.querySelector("main").textContent.includes("450 changed.")`)
		require.Empty(t, b.complaints())
	}
}

// TestConsoleMakingIsAccessible inspects the pages of part: create, many at once, roles, the chain.
func TestConsoleMakingIsAccessible(t *testing.T) {
	p := servePages(t)
	token, role := p.furnish()
	i := &inspector{tab: newTab(t, harness.Window(t)),
		pictures: os.Getenv("LATCHKEY_SCREENSHOTS"), widths: []int64{360, 768, 1280, 1600}}
	full := i.minted(p)
	require.NoError(t, p.acme.Configure(t.Context(), func(o *latchkey.Owner) error {
		o.Boundary = latchkey.Permissions{latchkey.Allow(latchkey.Any).On("*", "latchkey/*")}
		return nil
	}))
	show := func(name string) {
		t.Helper()
		i.inspect(name)
		require.Empty(t, i.complaints(), name)
	}
	for name, path := range inOrder(map[string]string{"make-list": "", "make-new": "new?kind=api_key",
		"make-account": "account", "make-account-off": "account?ask=off", "make-minted": "token/" + full.Parent + "/minted",
		"make-chain": "token/" + full.ID + "/access", "make-full": "token/" + full.ID, "make-role-new": "role"}) {
		i.open(p.base + path)
		show(name)
	}
	i.open(p.base + "new")
	i.fill("#name", "Importer")
	i.fill("#add", "ACME/CARS\nACME/BOATS")
	i.press("main button.primary")
	show("make-review")
	i.press("main button[value=change]")
	i.press("main button.primary")
	require.Contains(t, i.text("main"), "dataset/ACME/BOATS")
	for _, action := range []string{"extend", "addrole", "revoke"} {
		i.open(p.base)
		i.do(chromedp.Click(chromedp.CSS("[name=all]")))
		i.press("button[name=do][value=" + action + "]")
		show("make-many-" + action)
	}
	i.open(p.base)
	i.do(chromedp.Click(chromedp.CSS("[name=all]")))
	i.press("button[name=do][value=extend]")
	i.press("main button.primary")
	show("make-many-done")
	i.open(p.base + "role/" + role.ID)
	i.do(chromedp.Click(chromedp.CSS(".ruleset li:first-child summary")))
	show("make-role")
	i.fill("[name='rule[0][value]']", "CH")
	i.press("main button.primary")
	require.Contains(t, i.text("main"), "Which tokens this is for")
	show("make-foreseen")
	_ = token
}
