package console

import (
	"context"
	"encoding/binary"
	"encoding/csv"
	"fmt"
	"io"
	"maps"
	"net/http"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/chromedp/chromedp"
	"github.com/stretchr/testify/require"

	"github.com/latchkey-go/latchkey"
	"github.com/latchkey-go/latchkey/e2e/internal/harness"
)

// stocked writes n tokens of acme past the checks of new ones: ids and ages follow from their numbers.
func (p *tokenPages) stocked(n int) {
	p.t.Helper()
	began := time.Now().AddDate(-1, 0, 0)
	for from := 0; from < n; {
		write := latchkey.Write{Owner: "acme", At: time.Now(), Silent: true}
		binary.BigEndian.PutUint64(write.ID[:], uint64(from)+1<<40)
		for ; len(write.Tokens) < 1000 && from < n; from++ {
			made := began.Add(time.Duration(from) * time.Minute).UTC()
			id := fmt.Sprintf("%08x-%04x-7%03x-8000-%012x", made.UnixMilli()>>16, made.UnixMilli()&0xffff, from&0xfff, from)
			write.Tokens = append(write.Tokens, latchkey.Token{ID: id, Owner: "acme", Kind: latchkey.KindAPIKey, Created: made,
				Hint:     "ak_" + fmt.Sprintf("%02x…%03x", from%256, from%4096),
				Settings: latchkey.Settings{Name: fmt.Sprintf("Storefront of Customer No %05d", from)}})
		}
		require.NoError(p.t, p.store.Write(context.Background(), write))
	}
}

// task is a task that a person carries out, and the clicks that it takes.
type task struct {
	*tab
	clicks int
}

func (k *task) press(selector string) {
	k.t.Helper()
	k.clicks++
	k.tab.press(selector)
}

// follow presses the link or button of the page that reads so.
func (k *task) follow(text string) {
	k.t.Helper()
	require.True(k.t, evaluate[bool](k.tab, fmt.Sprintf(`((text) => {
		document.querySelectorAll("[data-mark]").forEach((e) => delete e.dataset.mark);
		const all = ["main a, main button", "a, button"].flatMap((s) => [...document.querySelectorAll(s)]).filter(
			(e) => e.checkVisibility() && e.textContent.trim() == text);
		if (all.length) all[0].dataset.mark = "1";
		return all.length > 0;
	})(%q)`, text)), "%q on %s", text, k.address())
	k.press("[data-mark]")
}

func (k *task) set(selector, value string) {
	k.t.Helper()
	require.True(k.t, evaluate[bool](k.tab,
		fmt.Sprintf(`((e) => { e.value = %q; return e.value != ""; })(document.querySelector(%q))`,
			value, selector)))
}

// ways returns with scripts and without, or the one of them that was drawn. With n other than 0 it is the other.
func ways(n int) map[string]bool {
	all := map[string]bool{"with scripts": true, "without scripts": false}
	if os.Getenv("LONG") == "" {
		chosen := (harness.Drawn("ways").IntN(2)+n)%2 == 0
		maps.DeleteFunc(all, func(_ string, scripts bool) bool { return scripts != chosen })
	}
	return all
}

// TestConsoleTasksOfADay carries out what owners do after they have made a key, and counts the clicks: six at most,
// with scripts and without. Sampled: in one of the two ways.
func TestConsoleTasksOfADay(t *testing.T) {
	for name, scripts := range ways(1) {
		t.Run(name, func(t *testing.T) {
			p := servePages(t)
			ctx := t.Context()
			p.stocked(10_000)
			issue := func(name string, client latchkey.Client) (latchkey.Token, string) {
				token, secret, err := p.acme.Issue(ctx, latchkey.Spec{Kind: latchkey.KindAPIKey, Name: name, Client: client,
					Restrictions: latchkey.Restrictions{Domains: []string{"example.com"}}})
				require.NoError(t, err)
				return token, secret.Reveal()
			}
			use := func(secret string) (latchkey.Access, error) {
				return p.acme.Verify(ctx, latchkey.Presented{Secret: secret, Referer: "https://example.com/",
					Address: netip.MustParseAddr("192.0.2.7")})
			}
			_, leaked := issue("Nightly importer", latchkey.Client{ID: "42", Name: "Zoë of the shop"})
			access, err := use(leaked)
			require.NoError(t, err)
			access.Count("core", "GET /orders", 17)
			child, minted, err := access.Mint(ctx, latchkey.Narrowing{Lifetime: time.Hour})
			require.NoError(t, err)
			refused, text := issue("Refused somewhere", latchkey.Client{})
			for range 3 {
				_, err := p.acme.Verify(ctx, latchkey.Presented{Secret: text, Referer: "https://elsewhere.test/"})
				require.ErrorIs(t, err, latchkey.ErrReferer)
			}
			rotated, old := issue("To be rotated", latchkey.Client{})
			b := newTab(t, harness.Window(t))
			b.scripts(scripts)
			done := func(what string, k *task, most int) {
				t.Helper()
				t.Logf("%s: %d clicks", what, k.clicks)
				require.LessOrEqual(t, k.clicks, most, what)
				require.Empty(t, b.complaints(), what)
			}
			start := func() *task {
				b.open(p.base)
				return &task{tab: b}
			}

			// Find by part of a name, in any case, among ten thousand.
			k := start()
			k.fill("[type=search]", "CUSTOMER no 0777")
			k.follow("Search")
			require.Contains(t, k.text(".tally"), "10 tokens")
			k.press("tbody tr:nth-child(8) a.mono")
			require.Equal(t, "Storefront of Customer No 07777", k.text("h1"))
			done("find by part of a name", k, 2)

			// Who used what last week.
			k = start()
			k.follow("Usage")
			k.follow("7 days")
			require.Contains(t, k.text("main"), "Zoë of the shop (42)")
			k.follow("Zoë of the shop (42)")
			require.Contains(t, k.text("h1"), "Zoë of the shop")
			require.Contains(t, k.text("main"), "GET /orders")
			done("who used what last week", k, 3)

			// Why was this refused?
			k = start()
			k.fill("[type=search]", "refused some")
			k.follow("Search")
			k.press("tbody a.mono")
			require.Contains(t, k.address(), refused.ID)
			k.follow("Usage")
			require.Contains(t, k.text("#refusals"), "Domain not allowed")
			done("why was this refused", k, 3)

			// A leaked key is found and ended, with what was minted from it.
			k = start()
			k.follow("A key leaked?")
			k.fill("#leaked", leaked)
			k.follow("Look it up")
			require.Contains(t, k.text("main"), "192.0.2.7")
			require.Contains(t, k.text("main"), "Zoë of the shop (42)")
			k.follow("End it, and everything minted from it")
			require.Contains(t, k.text("[role=status]"), "The token is revoked")
			for _, secret := range []string{leaked, minted.Reveal()} {
				_, err := use(secret)
				require.ErrorIs(t, err, latchkey.ErrInvalidToken)
			}
			require.NotEmpty(t, child.ID)
			done("leaked key found and ended", k, 3)

			// Rotate with an overlap, and see the old secret fall silent.
			k = start()
			k.fill("[type=search]", rotated.ID)
			k.follow("Search")
			k.press("tbody a.mono")
			k.follow("Rotate…")
			k.follow("Rotate")
			fresh := evaluate[string](k.tab, "document.querySelector('#secret').value")
			_, err = use(old)
			require.NoError(t, err)
			k.follow("Edit To be rotated")
			require.Contains(t, k.text(".secrets"), "An old secret that still works.")
			require.NotContains(t, k.text(".secrets"), "Not since the new one was made.")
			require.Contains(t, k.text(".secrets"), "192.0.2.7")
			_, err = use(fresh)
			require.NoError(t, err)
			done("rotate with overlap and see the old one", k, 5)
			k.follow("End it now…")
			k.follow("End it now")
			require.NotContains(t, k.text(".secrets"), "An old secret")
			_, err = use(old)
			require.ErrorIs(t, err, latchkey.ErrInvalidToken)
			_, err = use(fresh)
			require.NoError(t, err)

			// The audit of one day, as a file.
			k = start()
			k.follow("Audit trail")
			today := time.Now().UTC().Format(time.DateOnly)
			if scripts {
				k.set("[name=from]", today)
				k.set("[name=to]", today)
				k.follow("Show")
			} else { // what typing into the fields leads to: without scripts a test cannot set them
				k.clicks++
				b.open(p.base + "audit?from=" + today + "&to=" + today)
			}
			require.Contains(t, k.text("main"), "Token revoked")
			file := evaluate[string](k.tab,
				`[...document.querySelectorAll("a")].find((a) => a.textContent == "Export as CSV").href`)
			k.clicks++
			reply, err := http.Get(file)
			require.NoError(t, err)
			lines, err := csv.NewReader(reply.Body).ReadAll()
			require.NoError(t, err)
			require.NoError(t, reply.Body.Close())
			require.Equal(t, "actor_name", lines[0][3])
			require.Greater(t, len(lines), 6)
			done("audit of one day exported", k, 3)

			// The pasted keys are in no address that the browser knows.
			if scripts {
				for _, key := range []string{leaked, fresh, old} {
					require.False(t, evaluate[bool](b, fmt.Sprintf(`performance.getEntries().some((e) => e.name.includes(%[1]q)) ||
						JSON.stringify([{...sessionStorage}, {...localStorage}]).includes(%[1]q)`, key)))
				}
			}
		})
	}
}

// leaky makes a token that was used, refused, changed, and rotated because it leaked, with what was minted from it.
func (p *tokenPages) leaky(role latchkey.Role) latchkey.Token {
	t := p.t
	t.Helper()
	ctx := t.Context()
	ada, err := p.acme.As(must(p.acme.Assume(latchkey.Client{ID: "ada", Name: "Ada"}, latchkey.Permissions{
		latchkey.Allow(latchkey.Any, latchkey.Give).On("*", "latchkey/*")})))
	require.NoError(t, err)
	leaky, secret, err := p.acme.Issue(ctx, latchkey.Spec{Kind: latchkey.KindAPIKey, Name: "Order import, staging",
		Client: latchkey.Client{ID: "42", Name: "Zoë of the shop"}, Limits: latchkey.Limits{Quotas: []latchkey.Quota{
			{Meter: "core", Amount: 500 * latchkey.Credit, Per: latchkey.Month},
			{Amount: 40 * latchkey.Credit, Per: latchkey.Day, Carry: 10 * latchkey.Credit}}},
		Restrictions: latchkey.Restrictions{Domains: []string{"shop.example.com"}}})
	require.NoError(t, err)
	at := latchkey.Presented{Secret: secret.Reveal(), Referer: "https://shop.example.com/",
		Address: netip.MustParseAddr("192.0.2.7")}
	access, err := p.acme.Verify(ctx, at)
	require.NoError(t, err)
	_, err = access.Spend(ctx, "core", "GET /orders", 31*latchkey.Credit)
	require.NoError(t, err)
	_, _, err = access.Mint(ctx, latchkey.Narrowing{Lifetime: time.Hour, Client: latchkey.Client{ID: "42",
		Name: "Zoë of the shop"}})
	require.NoError(t, err)
	for n := range 5 {
		bad := at
		bad.Referer = []string{"https://elsewhere.test/", ""}[n%2]
		_, err = p.acme.Verify(ctx, bad)
		require.ErrorIs(t, err, latchkey.ErrReferer)
	}
	access.Refused(ctx, access.Check(latchkey.Delete, "dataset/x"))
	_, err = ada.Update(ctx, leaky.ID, func(t *latchkey.Token) error {
		t.Roles = []string{role.ID}
		t.Restrictions.Domains = []string{"shop.example.com", "*.example.org"}
		t.Validity.NotAfter = time.Now().AddDate(0, 0, 20)
		return nil
	})
	require.NoError(t, err)
	_, err = ada.UpdateRole(ctx, role.ID, func(r *latchkey.Role) error {
		r.Permissions = r.Permissions[:1]
		return nil
	})
	require.NoError(t, err)
	_, err = ada.RotateWith(ctx, leaky.ID, latchkey.Rotation{Overlap: time.Hour, Reason: "leaked"})
	require.NoError(t, err)
	_, err = p.acme.Verify(ctx, at)
	require.NoError(t, err)
	return leaky
}

// TestConsoleFindAndSee inspects the pages that find, tell and end, in a theme at a width from 360 to 1600 px. Sampled:
// it inspects a fifth of them, and LONG=1 all, in both themes at all widths.
func TestConsoleFindAndSee(t *testing.T) {
	p := servePages(t)
	token, role := p.furnish()
	ctx := t.Context()
	i := &inspector{tab: newTab(t, harness.Window(t)),
		pictures: os.Getenv("LATCHKEY_SCREENSHOTS"), widths: []int64{360, 768, 1280, 1600}}
	if i.pictures != "" {
		i.pictures = filepath.Join(i.pictures, "find")
		require.NoError(t, os.MkdirAll(i.pictures, 0o755))
	}
	leaky := p.leaky(role)
	secrets, err := p.acme.Secrets(ctx, leaky.ID)
	require.NoError(t, err)

	from, to := time.Now().UTC().AddDate(0, 0, -200).Format(time.DateOnly), time.Now().UTC().Format(time.DateOnly)
	for name, path := range inOrder(map[string]string{
		"list": "", "list-filtered": "?q=ORDER&expiring=30&sort=end", "list-role": "?role=nobody",
		"list-used": "?sort=used&q=e",
		"audit":     "audit", "audit-none": "audit?object=none", "audit-wrong": "audit?from=x", "audit-event": "audit/3",
		"history": "token/" + leaky.ID + "/history", "role-history": "role/" + role.ID + "/history",
		"usage": "usage", "usage-client": "usage?client=42", "usage-token": "token/" + leaky.ID + "/usage",
		"usage-weeks": "usage?from=" + from + "&to=" + to, "usage-wrong": "usage?from=x",
		"leak": "leak", "leaked": "token/" + leaky.ID + "/leak",
		"leaked-old":    "token/" + leaky.ID + "/leak?secret=" + secrets[0].ID,
		"leaked-new":    "token/" + leaky.ID + "/leak?secret=" + secrets[1].ID,
		"leaked-public": "token/" + token.ID + "/leak", "leaked-gone": "token/" + leaky.ID + "/leak?secret=gone",
		"token-secrets": "token/" + leaky.ID, "end": "token/" + leaky.ID + "/end?secret=" + secrets[0].ID,
		"rotate-leaked": "token/" + leaky.ID + "/rotate?why=leak",
	}) {
		i.open(p.base + path)
		i.inspectSome(name)
		require.Empty(t, i.complaints(), name)
	}
	// Unknown keys, at both fields.
	unknown := "ak_" + strings.Repeat("0", 40)
	i.open(p.base + "leak")
	i.fill("#leaked", unknown)
	i.press("main button.primary")
	require.Contains(t, i.text("#errors"), "No token here has that key now.")
	require.NotContains(t, evaluate[string](i.tab, "document.documentElement.outerHTML + location.href"), unknown)
	i.inspect("leak-unknown")
	i.do(chromedp.Navigate(p.base))
	require.Empty(t, i.complaints())
	reply, err := http.Get(p.base + "tokens.csv")
	require.NoError(t, err)
	body, err := io.ReadAll(reply.Body)
	require.NoError(t, err)
	require.NoError(t, reply.Body.Close())
	require.Contains(t, string(body), "Order import, staging")
}
