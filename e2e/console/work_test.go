package console

import (
	"context"
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/chromedp/cdproto/emulation"
	"github.com/chromedp/cdproto/network"
	"github.com/chromedp/chromedp"
	"github.com/stretchr/testify/require"

	"github.com/latchkey-go/latchkey"
	"github.com/latchkey-go/latchkey/e2e/internal/harness"
	"github.com/latchkey-go/latchkey/httpadapter/console"
	"github.com/latchkey-go/latchkey/memstore"
)

// TestConsoleSaysThatItCannotSend: while the server cannot be reached, the page stays, says so, and keeps what was
// typed; then it can be sent, and is carried out once.
func TestConsoleSaysThatItCannotSend(t *testing.T) {
	p := servePages(t)
	token, _ := p.furnish()
	b := newTab(t, harness.Window(t))
	var down atomic.Bool
	target, err := url.Parse(p.base)
	require.NoError(t, err)
	forward := &httputil.ReverseProxy{Rewrite: func(r *httputil.ProxyRequest) {
		r.SetURL(&url.URL{Scheme: "http", Host: target.Host})
	}}
	front := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if down.Load() {
			panic(http.ErrAbortHandler) // the connection ends without a reply
		}
		forward.ServeHTTP(w, r)
	}))
	t.Cleanup(front.Close)
	edit := front.URL + target.Path + "token/" + token.ID
	b.open(edit)
	b.fill("#name", "Typed while offline")
	down.Store(true)
	evaluate[bool](b, `document.querySelector(".wideaction button").click(), true`)
	b.until(`document.querySelector(".save").textContent.startsWith("Not sent: the server cannot be reached.")`)
	require.Equal(t, edit, b.address())
	require.Equal(t, "Typed while offline", evaluate[string](b, `document.querySelector("#name").value`))
	require.Equal(t, "save", evaluate[string](b, "document.activeElement.value"), "the focus is on the button")
	require.Equal(t, "status", evaluate[string](b, `document.querySelector(".save").getAttribute("role")`))
	down.Store(false)
	b.press(done)
	require.Contains(t, b.text("[role=status]"), "Saved.")
	got, err := p.acme.Get(t.Context(), token.ID)
	require.NoError(t, err)
	require.Equal(t, "Typed while offline", got.Name)
	require.Equal(t, token.Version+1, got.Version, "once")
}

// TestConsoleKeepsWorkBehindASignIn: a host that answers with its own page of sign-in, so that the console never sees
// the form, does not lose it. It is offered again, once, to the same person, and only if it was not saved.
func TestConsoleKeepsWorkBehindASignIn(t *testing.T) {
	keys := latchkey.New(memstore.New(nil), nil)
	t.Cleanup(func() { require.NoError(t, keys.Close(context.Background())) })
	acme := keys.For("acme")
	role, err := acme.CreateRole(t.Context(), latchkey.Role{Name: "readers",
		Permissions: latchkey.Permissions{latchkey.Allow(latchkey.Read).On("a"), latchkey.Allow(latchkey.Read).On("b")}})
	require.NoError(t, err)
	var out atomic.Bool
	var who atomic.Value
	who.Store("Ada")
	mux := http.NewServeMux()
	console.Mount(mux, "/console", func(*http.Request) (latchkey.Account, latchkey.Access, error) {
		access, err := acme.Assume(latchkey.Client{ID: "1", Name: who.Load().(string)}, latchkey.Permissions{
			latchkey.Allow(latchkey.Any, latchkey.Give).On("*", "latchkey/*")})
		return acme, access, err
	}, nil)
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if out.Load() && r.Method == http.MethodPost {
			w.Header().Set("Content-Type", "text/html")
			fmt.Fprint(w, "<!doctype html><link rel=icon href=data:,><main>Sign in</main>")
			return
		}
		mux.ServeHTTP(w, r)
	}))
	t.Cleanup(server.Close)
	b := newTab(t, harness.Window(t))
	edit := server.URL + "/console/role/" + role.ID
	lose := func(rule bool) {
		t.Helper()
		b.open(edit)
		if rule {
			b.press("button[value=add]")
			b.fill(`[name="rule[2][actions]"]`, "read")
			b.fill(`[name="rule[2][on]"]`, "dataset/typed")
		}
		b.fill("#name", "desk")
		out.Store(true)
		b.press(".wideaction button")
		require.Equal(t, "Sign in", b.text("main"))
		out.Store(false)
	}
	lose(true)
	b.open(edit)
	require.Contains(t, b.text(".draft"), "What you last sent from here was not saved.")
	require.Equal(t, "readers", evaluate[string](b, `document.querySelector("#name").value`), "nothing is put in unasked")
	b.press(".draft button")
	require.Equal(t, "desk", evaluate[string](b, `document.querySelector("#name").value`))
	require.Equal(t, "dataset/typed", evaluate[string](b, `document.querySelector('[name="rule[2][on]"]').value`))
	require.Empty(t, b.text(".draft"))
	got, err := acme.Role(t.Context(), role.ID)
	require.NoError(t, err)
	require.Equal(t, role.Version, got.Version, "nothing is saved yet")
	b.press(".wideaction button")
	require.Contains(t, b.text("[role=status]"), "Saved.")
	got, err = acme.Role(t.Context(), role.ID)
	require.NoError(t, err)
	require.Equal(t, "desk", got.Name)
	require.Len(t, got.Permissions, 3)
	b.open(edit)
	require.Empty(t, b.text(".draft"), "it was saved")

	lose(false)
	who.Store("Bob")
	b.open(edit)
	require.Empty(t, b.text(".draft"), "it is another person's")
	who.Store("Ada")
	lose(false)
	_, err = acme.UpdateRole(t.Context(), role.ID, func(r *latchkey.Role) error { r.Permissions = nil; return nil })
	require.NoError(t, err)
	b.open(edit)
	require.Empty(t, b.text(".draft"), "the role is another one now")
	require.Zero(t, evaluate[int](b, "sessionStorage.length"))
}

// TestConsoleAsksForThePasswordAgain: the way to a secret leads over the host's page, and a form that comes too late is
// not lost, with scripts and without.
func TestConsoleAsksForThePasswordAgain(t *testing.T) {
	for _, scripts := range []bool{true, false} {
		t.Run(fmt.Sprintf("scripts %t", scripts), func(t *testing.T) {
			keys := latchkey.New(memstore.New(nil), nil)
			t.Cleanup(func() { require.NoError(t, keys.Close(context.Background())) })
			acme := keys.For("acme")
			token, _, err := acme.Issue(t.Context(), latchkey.Spec{Kind: latchkey.KindAPIKey, Name: "k"})
			require.NoError(t, err)
			access := must(acme.Assume(latchkey.Client{ID: "1", Name: "Ada"}, latchkey.Permissions{
				latchkey.Allow(latchkey.Any, latchkey.Give).On("*", "latchkey/*")}))
			var known atomic.Bool
			mux := http.NewServeMux()
			console.Mount(mux, "/console", func(*http.Request) (latchkey.Account, latchkey.Access, error) {
				return acme, access, nil
			}, &console.Options{Confirm: func(r *http.Request) (string, error) {
				if known.Load() {
					return "", nil
				}
				return "/password?back=" + r.RequestURI, nil
			}})
			mux.HandleFunc("/password", func(w http.ResponseWriter, r *http.Request) {
				if r.Method == http.MethodPost {
					known.Store(true)
					http.Redirect(w, r, r.URL.Query().Get("back"), http.StatusSeeOther)
					return
				}
				w.Header().Set("Content-Type", "text/html")
				fmt.Fprint(w, `<!doctype html><link rel=icon href=data:,><main>`+
					`<form method=post><button>It is me</button></form></main>`)
			})
			server := httptest.NewServer(mux)
			t.Cleanup(server.Close)
			b := newTab(t, harness.Window(t))
			b.scripts(scripts)
			revoke := server.URL + "/console/token/" + token.ID + "/revoke"
			b.open(revoke)
			require.Equal(t, "It is me", b.text("button"))
			b.press("button")
			require.Equal(t, revoke, b.address())
			b.fill("#reason", "found on a paste site")
			known.Store(false) // it took too long
			b.press("main form button")
			require.Contains(t, b.text("main"), "Please confirm who you are")
			require.Contains(t, b.text("main"), "found on a paste site")
			require.Equal(t, "_blank", evaluate[string](b, `document.querySelector("main a.primary").target`))
			known.Store(true) // in the other window
			b.press("main form button")
			require.Contains(t, b.text("[role=status]"), "The token is revoked")
			got, err := acme.Get(t.Context(), token.ID)
			require.NoError(t, err)
			require.Equal(t, "found on a paste site", got.Reason)
		})
	}
}

// TestConsoleShowsLocalTime: moments are in the reader's zone, with UTC beside them; without scripts they are in UTC.
func TestConsoleShowsLocalTime(t *testing.T) {
	p := servePages(t)
	over := p.issue(latchkey.KindAPIKey, latchkey.Settings{Name: "over",
		Validity: latchkey.Validity{NotAfter: time.Date(2033, 12, 31, 22, 30, 0, 0, time.UTC)}})
	b := newTab(t, harness.Window(t))
	zone := func(name string) {
		t.Helper()
		_, err := chromedp.Call(b.ctx, emulation.SetTimezoneOverride, emulation.SetTimezoneOverrideParams{TimezoneID: name})
		require.NoError(t, err)
	}
	role, err := p.acme.CreateRole(t.Context(), latchkey.Role{Name: "r"})
	require.NoError(t, err)
	_ = role
	for name, want := range map[string][2]string{
		"Asia/Kolkata":     {"1 Jan 2034, 04:00 GMT+5:30", "1 Jan 2034, 04:00"},
		"America/New_York": {"31 Dec 2033, 17:30 GMT-5", "31 Dec 2033, 17:30"},
		"UTC":              {"", ""},
	} {
		zone(name)
		b.open(p.base + "token/" + over.ID)
		said := b.text("#end ~ small")
		if want[0] == "" {
			require.Empty(t, said, name)
		} else {
			require.Contains(t, said, "In your time zone: "+want[1], name)
		}
		created := strings.Join(strings.Fields(b.text(".meta time")), " ")
		utc := over.Created.UTC()
		at, err := time.LoadLocation(name)
		require.NoError(t, err)
		require.Contains(t, created, utc.Format("15:04")+" UTC", "%s: %s", name, created)
		if name != "UTC" {
			require.True(t, strings.HasPrefix(created, utc.In(at).Format("2 Jan 2006, 15:04")), "%s: %s", name, created)
		}
	}
	b.scripts(false)
	zone("Asia/Kolkata")
	b.open(p.base + "token/" + over.ID)
	require.Equal(t, over.Created.UTC().Format("2 Jan 2006, 15:04 UTC"), b.text(".meta time"))
	require.Empty(t, b.complaints())
}

// pagesOf are pages of every kind, with what the account holds.
func pagesOf(token latchkey.Token, role latchkey.Role) []string {
	return []string{"", "new", "token/" + token.ID, "token/" + token.ID + "/rotate", "token/" + token.ID + "/revoke",
		"token/" + token.ID + "/access?action=read&resource=dataset/ACME/CARS", "token/" + token.ID + "/usage", "usage",
		"roles", "role/" + role.ID, "role", "role/" + role.ID + "/delete", "nothing"}
}

// TestConsoleTargets: what is pressed is at least 24 px high and wide (WCAG 2.2, 2.5.8), links within sentences apart.
func TestConsoleTargets(t *testing.T) {
	p := servePages(t)
	token, role := p.furnish()
	b := newTab(t, harness.Window(t))
	for _, width := range []int64{360, 1280} {
		b.look("light", width, 900)
		for _, path := range pagesOf(token, role) {
			b.open(p.base + path)
			require.Empty(t, evaluate[[]string](b, `(() => {
				document.querySelectorAll("details").forEach((d) => d.open = true);
				const out = [];
				for (const e of document.querySelectorAll("a, button, input:not([type=hidden]), select, textarea, summary")) {
					if (e.closest(".sr, .skip") || e.offsetParent === null) continue;
					const beside = [...e.parentNode.childNodes].some((n) => n.nodeType == 3 && n.data.trim());
					const inSentence = e.localName == "a" && beside;
					const box = (e.labels && e.labels[0] && e.labels[0].contains(e) ? e.labels[0] : e).getBoundingClientRect();
					if (!inSentence && (box.height < 24 || box.width < 24))
						out.push(Math.round(box.width) + "x" + Math.round(box.height) + " " + e.outerHTML.slice(0, 120));
				}
				return out;
			})()`), "%s at %d px", path, width)
		}
	}
}

// TestConsoleFitsEveryWidth: no page is wider than the window, down to 320 px (1280 px at 400 %), in either language.
// Sampled: each page is looked at in three widths and in 320 px. Each width has its turn before one comes again, and
// their order is drawn. One of each three pages is asked for faults in German. LONG=1 looks at all widths and pages.
func TestConsoleFitsEveryWidth(t *testing.T) {
	p := servePages(t)
	token, role := p.furnish()
	i := &inspector{tab: newTab(t, harness.Window(t)),
		pictures: os.Getenv("LATCHKEY_SCREENSHOTS")}
	wider := []int64{360, 768, 861, 1023, 1024, 1120, 1280, 1600}
	order, turn := harness.Drawn(t.Name()).Perm(len(wider)), 0
	for _, language := range []string{"en", "de"} {
		_, err := chromedp.Call(i.ctx, network.SetExtraHTTPHeaders, network.SetExtraHTTPHeadersParams{
			Headers: network.Headers{"Accept-Language": language}})
		require.NoError(t, err)
		for n, path := range pagesOf(token, role) {
			i.open(p.base + path)
			require.Equal(t, language, evaluate[string](i.tab, "document.documentElement.lang"))
			widths := append([]int64{320}, wider...)
			if i.pictures == "" && os.Getenv("LONG") == "" {
				widths = widths[:1]
				for range 3 {
					widths = append(widths, wider[order[turn%len(order)]])
					turn++
				}
			}
			for _, width := range widths {
				i.look("light", width, 900)
				wide := evaluate[int64](i.tab, "document.documentElement.scrollWidth")
				require.LessOrEqual(t, wide, width, "%s %s; SEED=%d looks so again", language, path, harness.Seed())
				if i.pictures != "" && (language == "de" || width == 320 || width == 768 || width == 1280) {
					i.picture(fmt.Sprintf("fit-%s-%02d-%d", language, n, width))
				}
			}
			if language == "de" && harness.Sampled(6) {
				require.Empty(t, i.faults(), "%s; SEED=%d asks again", path, harness.Seed())
			}
		}
	}
}

func (i *inspector) picture(name string) {
	i.t.Helper()
	picture, err := chromedp.Run(i.ctx, chromedp.FullScreenshot(100))
	require.NoError(i.t, err)
	require.NoError(i.t, os.WriteFile(filepath.Join(i.pictures, name+".png"), picture, 0o644))
}

// TestConsoleOfAHost: with a host's own colours, logo and links, and in a script from right to left, the pages are
// accessible and fit.
func TestConsoleOfAHost(t *testing.T) {
	p := servePages(t)
	token, role := p.furnish()
	arabic, err := console.Translate("ar", map[string]string{"frame.tokens": "الرموز", "frame.roles": "الأدوار"})
	require.NoError(t, err)
	access := must(p.acme.Assume(latchkey.Client{ID: "ada", Name: "Ada"}, latchkey.Permissions{
		latchkey.Allow(latchkey.Any, latchkey.Give).On("*", "latchkey/*")}))
	mux := http.NewServeMux()
	console.Mount(mux, "", func(*http.Request) (latchkey.Account, latchkey.Access, error) { return p.acme, access, nil },
		&console.Options{Title: "Keys of the harbour", Catalogue: console.Apperate(), Languages: []*console.Words{arabic},
			Look: console.Look{
				Light: console.Colours{Background: "#faf6ff", Accent: "#7a1fa2", Line: "#e2d8ee"},
				Dark:  console.Colours{Background: "#120a1a", Card: "#1d1226", Accent: "#d9a6f0"},
				Logo:  []byte(`<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 9 9"><circle cx="4.5" cy="4.5" r="4"/></svg>`)},
			Links: func(*http.Request) []console.Link {
				return []console.Link{{Text: "Dashboard", URL: "/"}, {Text: "Sign out", URL: "/sign-out"}}
			}})
	server := httptest.NewServer(mux)
	t.Cleanup(server.Close)
	i := &inspector{tab: newTab(t, harness.Window(t)),
		pictures: os.Getenv("LATCHKEY_SCREENSHOTS")}
	for n, path := range []string{"", "token/" + token.ID, "role/" + role.ID, "usage", "new"} {
		i.open(server.URL + "/" + path)
		require.Equal(t, "rtl", evaluate[string](i.tab, "document.dir"))
		require.Zero(t, evaluate[float64](i.tab, `document.querySelector(".top").getBoundingClientRect().left`))
		i.inspect(fmt.Sprintf("host-%d", n))
		require.Empty(t, i.complaints(), path)
	}
	require.Equal(t, "rgb(122, 31, 162)", evaluate[string](i.tab, `matchMedia("(prefers-color-scheme: dark)").matches ?
		"rgb(122, 31, 162)" : getComputedStyle(document.querySelector("a")).color`))
}

// TestConsolePrints: on paper stand the records, black on white, and no controls.
func TestConsolePrints(t *testing.T) {
	p := servePages(t)
	token, role := p.furnish()
	i := &inspector{tab: newTab(t, harness.Window(t)),
		pictures: os.Getenv("LATCHKEY_SCREENSHOTS")}
	for n, path := range pagesOf(token, role) {
		_, err := chromedp.Call(i.ctx, emulation.SetEmulatedMedia, emulation.SetEmulatedMediaParams{Media: "print",
			Features: []*emulation.MediaFeature{{Name: "prefers-color-scheme", Value: "dark"}}})
		require.NoError(t, err)
		i.do(chromedp.EmulateViewport(794, 1123)) // A4 at 96 dpi
		i.open(p.base + path)
		require.Empty(t, evaluate[[]string](i.tab, `[...document.querySelectorAll("button, .button, nav, [type=search]")]
			.filter((e) => e.getClientRects().length && !e.closest(".sr")).map((e) => e.outerHTML.slice(0, 120))`), path)
		paper := evaluate[string](i.tab, "getComputedStyle(document.body).backgroundColor")
		require.Equal(t, "rgb(255, 255, 255)", paper, path)
		require.LessOrEqual(t, evaluate[int](i.tab, "document.documentElement.scrollWidth"), 794, path)
		if i.pictures != "" {
			i.picture(fmt.Sprintf("print-%02d", n))
		}
	}
}

// TestConsoleFocusFollowsTheWork: after a change the focus is on what was done. After a button inside a form it is on
// what the button was pressed for. Both hold with scripts and without.
func TestConsoleFocusFollowsTheWork(t *testing.T) {
	p := servePages(t)
	token, role := p.furnish()
	b := newTab(t, harness.Window(t))
	for _, scripts := range []bool{true, false} {
		b.scripts(scripts)
		for _, c := range []struct{ path, press, id string }{
			{"token/" + token.ID, done, "notice"},
			{"token/" + token.ID, `button[value="add"]`, "add"},
			{"role/" + role.ID, `button[value="add"]`, "verb-2"},
			{"role/" + role.ID, `button[value="up-1"]`, "rule-0"},
			{"role/" + role.ID, `button[value="drop-0"]`, "rule-0"},
			{"role/" + role.ID, `button[value="drop-1"]`, "add-rule"},
			{"role/" + role.ID, done, "notice"},
			{"token/" + token.ID + "/disable", "main form button", "notice"},
			{"token/" + token.ID + "/enable", "main form button", "notice"},
		} {
			b.open(p.base + c.path)
			if strings.Contains(c.press, "-") {
				evaluate[bool](b, `document.querySelectorAll("details").forEach((d) => d.open = true), true`)
			}
			b.press(c.press)
			b.until(fmt.Sprintf("document.activeElement.id == %q", c.id))
		}
		b.open(p.base + "role")
		b.press(done) // without a name
		b.until(`document.activeElement.id == "errors"`)
	}
}

// TestConsoleRowsHaveHeaders: each row of a table of records is named by one of its cells.
func TestConsoleRowsHaveHeaders(t *testing.T) {
	p := servePages(t)
	token, _ := p.furnish()
	b := newTab(t, harness.Window(t))
	for _, width := range []int64{360, 1280} { // the narrow one is no table to CSS
		b.look("light", width, 900)
		for _, path := range []string{"", "roles", "token/" + token.ID + "/access", "usage"} {
			b.open(p.base + path)
			rows := evaluate[[2]int](b, `(() => {
				const rows = [...document.querySelectorAll("tbody tr")];
				return [rows.length, rows.filter((r) => r.querySelectorAll("th[scope=row]").length == 1).length];
			})()`)
			require.Positive(t, rows[0], path)
			require.Equal(t, rows[0], rows[1], path)
		}
	}
}
