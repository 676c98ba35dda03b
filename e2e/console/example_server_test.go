package console

import (
	"encoding/json"
	"slices"
	"testing"

	"github.com/chromedp/chromedp"
	"github.com/stretchr/testify/require"

	"github.com/latchkey-go/latchkey/e2e/internal/harness"
)

// tick clicks the label that reads so.
func (p *tab) tick(label string) {
	p.t.Helper()
	quoted, err := json.Marshal(label)
	require.NoError(p.t, err)
	require.True(p.t, evaluate[bool](p, `((text) => {
		document.querySelectorAll("[data-mark]").forEach((e) => delete e.dataset.mark);
		const all = [...document.querySelectorAll("main label")].filter((e) => {
			const name = e.querySelector(".sr") || e;
			return name.textContent.trim() == text;
		});
		if (all.length != 1) return false;
		all[0].dataset.mark = "1";
		return true;
	})(`+string(quoted)+`)`), "one label %q", label)
	p.do(chromedp.Click(chromedp.CSS("[data-mark]")))
}

const done = ".wideaction button"

// TestConsoleWalkThrough is the product's own description of its page ("Creating an API Token"), step by step, in a
// browser against the example server, with scripts and without. After each step the token is used at the server's
// gateway, as its holder would. Sampled: in the way in which TestConsoleTasksOfADay does not go.
func TestConsoleWalkThrough(t *testing.T) {
	for name, scripts := range ways(0) {
		t.Run(name, func(t *testing.T) {
			harness.BeforeMidnight(t)
			s := harness.StartServer(t)
			b := newTab(t, harness.Window(t))
			b.scripts(scripts)

			// 1. Go to the API Tokens page: all tokens, oldest to newest, their secrets hidden.
			b.open(s.Base + "/console/")
			require.Equal(t, "API Tokens", b.text("h1"))
			listed := evaluate[[]string](b, `[...document.querySelectorAll("tbody a.mono")].map((a) => a.pathname)`)
			require.Len(t, listed, tokenCount(t, s.Account()))
			require.True(t, slices.IsSorted(listed), "ids sort by age")
			require.Equal(t, "SECRET", b.text("tbody tr:first-child .badge"))
			for _, secret := range []string{s.Credentials.Secret, s.Credentials.APIKey, s.Credentials.Session} {
				require.NotContains(t, b.text("html"), secret)
			}

			// 2. Create a token: a question first, that warns. Cancel makes none.
			before := len(listed)
			if scripts {
				ask := []chromedp.Action[chromedp.Void]{chromedp.Click(chromedp.CSS(`a[data-opens]`)),
					chromedp.WaitVisible(chromedp.CSS("dialog"))}
				b.do(ask...)
				require.Contains(t, b.text("dialog h2"), "Are you sure you want to add a publishable token?")
				require.Contains(t, b.text("dialog"), "Any domain may use the token until you restrict it")
				b.do(chromedp.Click(chromedp.CSS("dialog [data-closes]")), chromedp.WaitNotVisible(chromedp.CSS("dialog")))
				require.Equal(t, before, tokenCount(t, s.Account()))
				b.do(ask...)
				b.press("dialog button.primary") // 3. Add publishable token.
			} else {
				b.press("a[data-opens]")
				require.Contains(t, b.text("main"), "Are you sure you want to add a token?")
				require.Contains(t, b.text("main"), "Any domain may use it until you restrict it")
				b.press("main form a.button")
				require.Equal(t, before, tokenCount(t, s.Account()))
				b.press("a[data-opens]")
				b.press(done) // a review first, that warns again, and makes none
				require.Equal(t, before, tokenCount(t, s.Account()))
				require.Contains(t, b.text("main .warn"), "Any domain may use")
				b.press(done) // 3. Add publishable token.
			}
			require.Contains(t, b.text("[role=status]"), "Successfully created a new publishable token")
			require.Equal(t, "PUBLISHABLE", b.text("tbody tr:last-child .badge"))
			require.Equal(t, before+1, tokenCount(t, s.Account()))

			// 4. Edit it, found at the bottom, by its gear, and by its id.
			b.press("tbody tr:last-child a.gear")
			edit := b.address()
			b.press(".crumb a")
			b.press("tbody tr:last-child a.mono")
			require.Equal(t, edit, b.address())
			token := evaluate[string](b, "document.querySelector('#public').value")
			require.Regexp(t, `^pk_`, token)
			s.Hide(token)
			g := gatewayCaller{s, &token}

			// As made: core data, for any page. Nothing else.
			const at = "https://www.example.com/"
			g.status(200, "stock/aapl/quote")
			g.status(200, "data/CORE/QUOTE/AAPL", "Referer", "https://anybody.test/")
			g.status(403, "data/CORE/PREMIUM_NEWS/AAPL")
			g.status(403, "data/ACME/PENGUINS/1")
			g.status(403, "data/ACME/ISLANDS/1")

			// 5. Define the token.
			b.fill("#name", "Walked through")
			b.tick("Premium Data Access")
			b.fill("input[name=add]", "acme/penguins")
			b.tick("read")
			b.press("button[value=add]")
			require.Equal(t, "ACME/PENGUINS – read", b.text(".chip"))
			require.Equal(t, "Walked through", evaluate[string](b, "document.querySelector('#name').value"),
				"what was typed is kept")
			b.fill("#domains", "www.example.com")
			b.fill("#credits", "5")
			g.status(403, "data/ACME/PENGUINS/1") // not yet
			b.press(done)                         // 6. Done.
			require.Contains(t, b.text("[role=status]"), "Saved. The change takes effect at once")
			require.Equal(t, "Walked through", b.text("tbody tr:last-child .name bdi"))

			// It behaves so: from that domain only, …
			require.Equal(t, harness.IEXReferer, g.status(401, "stock/aapl/quote"))
			g.status(401, "stock/aapl/quote", "Referer", "https://www.example.com.evil.test/")
			g.status(401, "stock/aapl/quote", "Referer", "https://example.com/")
			// … that data set, to read, …
			g.status(200, "data/ACME/PENGUINS/1", "Referer", at)
			g.status(403, "data/ACME/ISLANDS/1", "Referer", at)
			g.status(403, "data/ACME/PENGUINS,ISLANDS/1", "Referer", at)
			require.Equal(t, 403, g.post(`[{"species":"Adelie"}]`, "Referer", at))
			g.status(404, "data/CORE/PREMIUM_NEWS/AAPL", "Referer", at) // it may, and there is none
			// … and no further than the limit, which counts from when it was set.
			for range 5 {
				g.status(200, "stock/aapl/quote", "Referer", at)
			}
			require.Equal(t, harness.IEXOverLimit, g.status(402, "stock/aapl/quote", "Referer", at))
			require.Equal(t, 200, s.Get("/v1/stock/aapl/quote?token="+s.Credentials.Publishable).Status, "other tokens go on")
			b.open(edit + "/usage")
			require.Contains(t, b.text("main"), "5 of 5 credits", "two that were spent before there was a limit are not counted")
			require.Contains(t, b.text("main"), "7 credits in 30 days", "but are shown as used")
			require.Contains(t, b.text("main"), "STOCK_QUOTE")
			b.open(edit)
			b.fill("#credits", "6")
			b.press(done)
			g.status(200, "stock/aapl/quote", "Referer", at)
			g.status(402, "stock/aapl/quote", "Referer", at)

			// Every switch, taken back.
			b.open(edit)
			b.fill("#credits", "\b")
			b.fill("#domains", "\b")
			b.tick("Core Data Access")
			b.tick("Premium Data Access")
			b.tick("ACME/PENGUINS – read")
			b.fill("input[name=add]", "ACME/ISLANDS")
			b.tick("read")
			b.press(done) // takes what was typed, too
			g.status(403, "stock/aapl/quote")
			g.status(403, "data/CORE/PREMIUM_NEWS/AAPL")
			g.status(403, "data/ACME/PENGUINS/1")
			g.status(200, "data/ACME/ISLANDS/1")

			// Signed requests, addresses and the first day.
			b.open(edit)
			b.tick("Signed Requests")
			b.press(done)
			g.status(401, "data/ACME/ISLANDS/1")
			b.open(edit)
			b.tick("Signed Requests")
			b.do(chromedp.Click(chromedp.CSS(".more summary")))
			b.fill("#addresses", "192.0.2.0/24")
			b.press(done)
			g.status(403, "data/ACME/ISLANDS/1")
			b.open(edit)
			b.fill("#addresses", "127.0.0.1")
			b.press(done)
			g.status(200, "data/ACME/ISLANDS/1")

			// Rotate, with and without an overlap; disable, enable, revoke.
			old := token
			for _, step := range []struct {
				overlap string
				old     int
			}{{"1h0m0s", 200}, {"0s", 403}} {
				b.open(edit + "/rotate")
				require.Contains(t, b.text("main"), "at once")
				b.do(chromedp.Click(chromedp.CSS(`input[value="` + step.overlap + `"]`)))
				b.press("main form button")
				token = evaluate[string](b, "document.querySelector('#secret').value")
				s.Hide(token)
				g.status(200, "data/ACME/ISLANDS/1")
				gatewayCaller{s, &old}.status(step.old, "data/ACME/ISLANDS/1")
				old = token
				if step.overlap == "0s" {
					break
				}
			}
			for _, step := range []struct {
				link string
				want int
			}{{"disable", 403}, {"enable", 200}, {"revoke", 403}} {
				b.open(edit + "/" + step.link)
				require.Contains(t, b.text("main"), "at once", "it says when it takes effect")
				b.press("main form button")
				g.status(step.want, "data/ACME/ISLANDS/1")
			}
			require.Contains(t, b.text("tbody tr:last-child .state"), "Revoked")

			// An API key is shown once, and is what its roles are.
			b.open(s.Base + "/console/new?kind=api_key")
			b.fill("#name", "Gate")
			b.press(done) // the review
			require.Contains(t, b.text("main"), "Gate")
			b.press(done)
			key := evaluate[string](b, "document.querySelector('#secret').value")
			require.Regexp(t, `^ak_`, key)
			s.Hide(key)
			rows := func() int { return s.Get("/io/api/1/dataset/" + harness.Dataset + "?key=" + key).Status }
			require.Equal(t, 403, rows(), "it may do nothing yet")
			b.press("main a.primary")
			require.NotContains(t, b.text("html"), key)
			b.tick("viewer")
			b.press(done)
			require.Equal(t, 200, rows())

			// A test token is refused where none is let in.
			b.open(s.Base + "/console/new")
			b.do(chromedp.Click(chromedp.CSS(".more summary")))
			b.do(chromedp.Click(chromedp.CSS("input[name=test]")))
			b.press(done)
			b.press(done)
			require.Equal(t, "TEST PUBLISHABLE", b.text("tbody tr:last-child .badge"))
			b.press("tbody tr:last-child a.gear")
			token = evaluate[string](b, "document.querySelector('#public').value")
			require.Regexp(t, `^Tpk_`, token)
			require.Contains(t, g.status(403, "stock/aapl/quote"), "Test tokens may only be used in the sandbox")
			if scripts {
				require.Empty(t, b.complaints())
			}
		})
	}
}

// gatewayCaller is the server's gateway, asked with a token.
type gatewayCaller struct {
	s     *harness.Server
	token *string
}

// status asks for data, and returns what the reply said.
func (g gatewayCaller) status(want int, path string, header ...string) string {
	g.s.T.Helper()
	r := g.s.Get("/v1/"+path+"?token="+*g.token, header...)
	require.Equal(g.s.T, want, r.Status, "%s: %s", path, r.Body)
	return r.Body
}

func (g gatewayCaller) post(records string, header ...string) int {
	g.s.T.Helper()
	return g.s.Do("POST", "/v1/record/ACME/PENGUINS?token="+*g.token, "application/json", records, header...).Status
}
