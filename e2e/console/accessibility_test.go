package console

import (
	"fmt"
	"iter"
	"maps"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/chromedp/chromedp"
	"github.com/stretchr/testify/require"

	"github.com/latchkey-go/latchkey"
	"github.com/latchkey-go/latchkey/e2e/internal/harness"
)

// inspector looks at a page as it stands: in one of both themes, narrow or wide, or in all of them.
type inspector struct {
	*tab
	pictures string  // a directory; "": none are taken
	widths   []int64 // nil: narrow and wide
	// inspected counts the pages that inspect has looked at.
	inspected int
	// offered counts the pages that inspectSome was called for.
	offered int
}

// faults asks axe-core, with every rule it has, and whether anything is wider than the window.
func (i *inspector) faults() []string {
	i.t.Helper()
	source, err := os.ReadFile(harness.Path(i.t, "clients", "node_modules", "axe-core", "axe.min.js"))
	require.NoError(i.t, err, "`make install` brings axe-core")
	if !evaluate[bool](i.tab, "!!window.axe") {
		evaluate[bool](i.tab, string(source)+";true")
	}
	return evaluate[[]string](i.tab, `axe.run(document, {resultTypes: ["violations"]}).then((r) => {
		if (r.passes.length < 10) return ["axe looked at nothing"];
		const nodes = (v) => v.nodes.map((n) => n.html + " " + n.failureSummary).join(" | ");
		const found = r.violations.map((v) => v.id + ": " + v.help + " " + nodes(v));
		const root = document.documentElement;
		if (root.scrollWidth > innerWidth)
			found.push("the page is " + root.scrollWidth + " px wide, the window " + innerWidth);
		return found;
	})`)
}

// minted makes a token that may do all its parent may.
func (i *inspector) minted(p *tokenPages) latchkey.Token {
	i.t.Helper()
	_, secret, err := p.acme.Issue(i.t.Context(), latchkey.Spec{Kind: latchkey.KindAPIKey,
		Name:         "Tables of the shop",
		Permissions:  latchkey.Permissions{latchkey.Allow(latchkey.Any).On("dataset/ACME/*")},
		Restrictions: latchkey.Restrictions{Addresses: []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8")}},
		Limits:       latchkey.Limits{Rate: latchkey.Rate{Count: 60, Per: time.Minute}}})
	require.NoError(i.t, err)
	access, err := p.acme.Verify(i.t.Context(), latchkey.Presented{Secret: secret.Reveal(),
		Address: netip.MustParseAddr("127.0.0.1")})
	require.NoError(i.t, err)
	full, _, err := access.Mint(i.t.Context(), latchkey.Narrowing{Lifetime: time.Hour,
		Client: latchkey.Client{ID: "42", Name: "Zoë of the shop"}})
	require.NoError(i.t, err)
	return full
}

var themes, narrowAndWide = []string{"light", "dark"}, []int64{360, 1600}

// sighting is how a page is looked at.
type sighting struct {
	theme string
	width int64
}

// sightings returns how the next page is looked at: in each theme and at each width with LONG=1, and for pictures.
// Sampled: otherwise in one theme at one width. Each combination has its turn before one comes again, and their order
// is drawn.
func (i *inspector) sightings() (all []sighting) {
	i.t.Helper()
	widths := i.widths
	if widths == nil {
		widths = narrowAndWide
	}
	for _, theme := range themes {
		for _, width := range widths {
			all = append(all, sighting{theme, width})
		}
	}
	if i.pictures != "" || os.Getenv("LONG") != "" {
		return all
	}
	turn := harness.Drawn(i.t.Name()).Perm(len(all))[i.inspected%len(all)]
	i.inspected++
	return all[turn : turn+1]
}

func (i *inspector) inspect(name string) {
	i.t.Helper()
	for _, s := range i.sightings() {
		i.look(s.theme, s.width, 900)
		where := fmt.Sprintf("%s-%s-%d", name, s.theme, s.width)
		require.Empty(i.t, i.faults(), "%s; SEED=%d looks at it so again", where, harness.Seed())
		if i.pictures != "" {
			i.picture(where)
		}
	}
}

// inspectSome inspects one of each five pages in a row, drawn. With LONG=1 and for pictures it inspects each.
func (i *inspector) inspectSome(name string) {
	i.t.Helper()
	chosen := harness.Drawn(fmt.Sprint(i.t.Name(), i.offered/5)).IntN(5) == i.offered%5
	i.offered++
	if chosen || i.pictures != "" || os.Getenv("LONG") != "" {
		i.inspect(name)
	}
}

// inOrder yields the pages by name, so that a seed looks at each as it did before.
func inOrder(pages map[string]string) iter.Seq2[string, string] {
	return func(yield func(name, path string) bool) {
		for _, name := range slices.Sorted(maps.Keys(pages)) {
			if !yield(name, pages[name]) {
				return
			}
		}
	}
}

// TestConsoleIsAccessible opens every page, and every state of one, and inspects them. Sampled: of the pages that only
// show something it inspects a fifth, and LONG=1 all. With LATCHKEY_SCREENSHOTS set to a directory it
// leaves pictures there: see docs/console.
func TestConsoleIsAccessible(t *testing.T) {
	p := servePages(t)
	token, role := p.furnish()
	i := &inspector{tab: newTab(t, harness.Window(t)),
		pictures: os.Getenv("LATCHKEY_SCREENSHOTS")}

	// What the inspection is worth: it finds each of these, in each theme and width, and nothing on the page without them,
	// as inspect looks at it.
	i.open(p.base)
	i.inspect("list")
	require.Empty(t, i.complaints())
	evaluate[bool](i.tab, `document.querySelector("img").removeAttribute("alt");
		document.querySelector(".who").style.color = "#777";
		document.querySelector("[type=search]").parentNode.replaceWith(document.createElement("input"));
		document.querySelector("h1").style.minWidth = "1800px", true`)
	for _, theme := range themes {
		for _, width := range narrowAndWide {
			i.look(theme, width, 900)
			found := i.faults()
			require.Len(t, found, 4, "%s, %d px", theme, width)
			for n, fault := range []string{"color-contrast", "image-alt", "label", "px wide"} {
				require.Contains(t, found[n], fault, "%s, %d px", theme, width)
			}
		}
	}
	evaluate[bool](i.tab, `document.body.setAttribute("onclick", "alert(1)"), true`)
	require.Eventually(t,
		func() bool { return strings.Contains(strings.Join(i.complaints(), " "), "Content Security Policy") },
		3*time.Minute, 10*time.Millisecond, "the browser's complaints are heard")

	edit := p.base + "token/" + token.ID
	for name, path := range inOrder(map[string]string{
		"search": "?q=Nothing", "expired": "?state=expired", "none": "?state=not_yet_valid", "minted": "?kind=access",
		"made": "?made=" + token.ID, "new": "new", "edit": "token/" + token.ID, "rotate": "token/" + token.ID + "/rotate",
		"revoke": "token/" + token.ID + "/revoke",
		"access": "token/" + token.ID + "/access?action=read&resource=dataset/ACME/CARS",
		"usage":  "usage", "token-usage": "token/" + token.ID + "/usage",
		"roles": "roles", "role": "role/" + role.ID, "new-role": "role",
		"effective": "role/" + role.ID + "/access?action=create&resource=dataset/ACME/ORDERS",
		"delete":    "role/" + role.ID + "/delete",
		"empty":     "../other/", "empty-roles": "../other/roles", "empty-usage": "../other/usage",
		"read-only": "../reader/token/" + token.ID, "read-only-role": "../reader/role/" + role.ID,
	}) {
		i.open(p.base + path)
		i.inspectSome(name)
		require.Empty(t, i.complaints(), name)
	}

	refused := func(name, heading string, status int) {
		t.Helper()
		require.Contains(t, i.text("main"), heading)
		i.inspect(name)
		for _, complaint := range i.complaints() {
			require.Contains(t, complaint, fmt.Sprintf("status of %d", status), name)
		}
	}
	i.open(p.base + "token/none")
	refused("missing", "There is nothing here", 404)
	i.open(p.base + "../reader/usage")
	refused("forbidden", "You may not do this", 403)
	i.open(p.base + "../nobody/")
	refused("signed-out", "You are not signed in", 401)
	foreign := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "text/html; charset=utf-8")
		fmt.Fprintf(w, `<!doctype html><link rel="icon" href="data:,"><main>`+
			`<form method="post" action="%s/disable"><button>Win</button></form></main>`, edit)
	}))
	t.Cleanup(foreign.Close)
	i.open(foreign.URL)
	i.press("button")
	refused("foreign", "The request came from another site", 403)
	got, err := p.acme.Get(t.Context(), token.ID)
	require.NoError(t, err)
	require.False(t, got.Disabled)

	// A token that was minted with all rights of one that is restricted; one that is over, and what may be asked about it.
	full := i.minted(p)
	for name, path := range inOrder(map[string]string{"minted-full": "token/" + full.ID,
		"minted-access": "token/" + full.ID + "/access", "list-minted": "?kind=access"}) {
		i.open(p.base + path)
		i.inspect(name)
		require.Empty(t, i.complaints(), name)
	}
	over := p.issue(latchkey.KindAPIKey, latchkey.Settings{Name: "Over \u202e and out"})
	require.NoError(t, p.acme.Revoke(t.Context(), over.ID, "lost"))
	for name, path := range inOrder(map[string]string{"revoked": "", "revoked-rotate": "/rotate"}) {
		i.open(p.base + "token/" + over.ID + path)
		require.Contains(t, i.text("main"), "This token was revoked on", name)
		i.inspect(name)
		require.Empty(t, i.complaints(), name)
	}
	// A session that ended while somebody typed.
	i.open(edit)
	i.fill("#name", "Typed before the session ended")
	evaluate[bool](i.tab, `document.querySelector("main form").action = location.href.replace("/acme/", "/nobody/"), true`)
	i.press(done)
	require.Contains(t, i.text("main"), "Typed before the session ended")
	refused("session-ended", "You are not signed in", 401)
	i.open(p.base)
	i.fill("[type=search]", "ak_"+strings.Repeat("0", 40))
	i.press(".filter > .button")
	require.Contains(t, i.text("main"), "No token here has that text now.")
	i.inspect("unknown-key")
	require.Empty(t, i.complaints())

	// The question on the list, and the fields that are folded away.
	i.open(p.base)
	i.do(chromedp.Click(chromedp.CSS(`a[data-opens]`)), chromedp.WaitVisible(chromedp.CSS("dialog")))
	i.inspect("dialog")
	i.open(edit)
	i.do(chromedp.Click(chromedp.CSS(".more summary")))
	i.inspect("edit-more")
	i.open(p.base + "role/" + role.ID)
	i.do(chromedp.Click(chromedp.CSS(".ruleset li:last-child summary")))
	i.inspect("role-open")
	i.open(p.base + "usage")
	i.do(chromedp.Click(chromedp.CSS("summary")))
	i.inspect("usage-table")

	// A secret, shown once.
	i.open(p.base + "new?kind=api_key")
	i.press(done)
	require.Contains(t, i.text("h1"), "Create this token?")
	i.inspect("review")
	i.press(done)
	require.Regexp(t, "^ak_", evaluate[string](i.tab, "document.querySelector('#secret').value"))
	i.inspect("secret")
	require.Empty(t, i.complaints())

	// Bad input stands beside what is wrong with it.
	i.open(edit)
	i.do(chromedp.Click(chromedp.CSS(".more summary")))
	for field, bad := range map[string]string{"#domains": "exa_mple.com/../x", "#credits": "ten", "[name=rate]": "-1",
		"#addresses": "10.0.0.1/8", "#mintfrom": "here", "[name=idle]": "soon", "[name=add]": "nothing"} {
		if evaluate[bool](i.tab, fmt.Sprintf("!!document.querySelector(%q)", field)) {
			i.fill(field, bad)
		}
	}
	i.press(done)
	refused("bad-edit", "Not saved", 422)
	i.open(p.base + "new?kind=session")
	i.do(chromedp.Click(chromedp.CSS(".more summary")))
	i.do(chromedp.Click(chromedp.CSS("[name=test]")))
	i.press(done)
	refused("bad-new", "Nothing was made", 422)
	i.open(p.base + "role/" + role.ID)
	i.do(chromedp.Click(chromedp.CSS(".ruleset li:last-child summary")))
	i.do(chromedp.Click(chromedp.CSS(".ruleset li:last-child details details summary")))
	i.inspect("role-text")
	i.fill(`[name="rule[1][where]"]`, `{"field":`)
	i.press(done)
	refused("bad-role", "Not saved", 422)

	// The second saver is told.
	i.open(edit)
	_, err = p.acme.Update(t.Context(), token.ID, func(t *latchkey.Token) error {
		t.Name, t.Restrictions.Domains = "Customer portal, new", []string{"www.example.com", "shop.example.com"}
		return nil
	})
	require.NoError(t, err)
	i.fill("#credits", "75000")
	i.press(done)
	refused("conflict", "Somebody else changed this token", 409)
	i.open(p.base + "role/" + role.ID)
	_, err = p.acme.UpdateRole(t.Context(), role.ID, func(r *latchkey.Role) error {
		r.Permissions = r.Permissions[:1]
		return nil
	})
	require.NoError(t, err)
	i.fill("#name", "EU desk, mine")
	i.press(done)
	refused("conflict-role", "Somebody else changed this role", 409)

	// What is long is shown in part.
	var rules latchkey.Permissions
	for n := range 130 {
		rules = append(rules, latchkey.Allow(latchkey.Read).On(latchkey.Pattern(fmt.Sprintf("dataset/ACME/SET%03d", n))))
	}
	var many []string
	for n := range 20 {
		r, err := p.acme.CreateRole(t.Context(), latchkey.Role{Name: fmt.Sprintf("Department %02d", n), Permissions: rules})
		require.NoError(t, err)
		many = append(many, r.ID)
	}
	much := p.issue(latchkey.KindAPIKey, latchkey.Settings{Name: "Much", Permissions: rules, Roles: many[:5]})
	i.open(p.base + "role/" + many[0] + "?at=21")
	i.inspect("role-many")
	i.open(p.base + "token/" + much.ID + "?chips=60")
	i.inspect("edit-much")
	require.Empty(t, i.complaints())
}
