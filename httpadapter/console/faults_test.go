package console

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/url"
	"regexp"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/latchkey-go/latchkey"
)

// mint makes a token of a new API key with the settings given.
func (w *fixture) mint(s latchkey.Settings, n latchkey.Narrowing) (parent, child latchkey.Token, secret latchkey.Secret) {
	w.t.Helper()
	ctx := w.t.Context()
	parent, text, err := w.acme.Issue(ctx, latchkey.Spec{Kind: latchkey.KindAPIKey, Settings: s})
	require.NoError(w.t, err)
	access, err := w.keys.Verify(ctx, latchkey.Presented{Secret: text.Reveal(), Referer: "https://example.com/"})
	require.NoError(w.t, err)
	child, secret, err = w.keys.Mint(ctx, access, n)
	require.NoError(w.t, err)
	return parent, child, secret
}

func (w *fixture) role(r latchkey.Role) latchkey.Role {
	w.t.Helper()
	r, err := w.acme.CreateRole(w.t.Context(), r)
	require.NoError(w.t, err)
	return r
}

// another is the same console as another process would serve it.
func (w *fixture) another() *fixture {
	other := *w
	other.mux = http.NewServeMux()
	Mount(other.mux, "/any/where", func(*http.Request) (latchkey.Account, latchkey.Access, error) {
		return w.owner,
			w.who, nil
	},
		&Options{Clock: func() time.Time { return w.now }})
	return &other
}

// C: what decides about a token is on its page.

func TestAccessShowsAllThatDecides(t *testing.T) {
	w := newFixture(t, nil)
	rule := func(on latchkey.Pattern) latchkey.Permissions {
		return latchkey.Permissions{latchkey.Allow(latchkey.Read).On(on)}
	}
	top := w.role(latchkey.Role{Name: "top", Permissions: latchkey.Permissions{latchkey.Allow(latchkey.Any).On("of-top/*"),
		latchkey.Deny(latchkey.Delete).On("of-top/x")}})
	mid := w.role(latchkey.Role{Name: "mid", Inherits: []string{top.ID}, InheritDenies: true,
		Permissions: rule("of-mid/*")})
	low := w.role(latchkey.Role{Name: "low", Inherits: []string{mid.ID}, Permissions: rule("*"),
		Boundary: latchkey.Permissions{latchkey.Allow(latchkey.Any).On("*"),
			latchkey.Deny(latchkey.Any).On("no-role-gives/*")}})
	require.NoError(t, w.acme.Configure(t.Context(), func(o *latchkey.Owner) error {
		o.Boundary = latchkey.Permissions{latchkey.Allow(latchkey.Any).On("*"), latchkey.Allow(latchkey.Any).On("latchkey/*"),
			latchkey.Deny(latchkey.Any).On("no-account-has/*")}
		return nil
	}))
	parent, child, _ := w.mint(latchkey.Settings{Name: "the parent", Roles: []string{low.ID}, Permissions: rule("own/*")},
		latchkey.Narrowing{Lifetime: time.Hour})
	for _, path := range []string{"token/" + parent.ID, "token/" + child.ID, "role/" + low.ID} {
		page := w.get(path + "/access")
		for _, on := range []string{"of-top/…", "of-top/x", "of-mid/…", "no-role-gives/…", "no-account-has/…"} {
			require.Contains(t, page, "<bdi>"+on+"</bdi>", path)
		}
		require.Contains(t, page, "<bdi>read, create, update, delete, any other</bdi>",
			"%s: an action that no rule names", path)
		require.Regexp(t, `<bdi>delete</bdi></td><td role="cell" class="mono name"><bdi>of-top/x</bdi></td>`+
			`<td role="cell"><span class="state off">no`, page)
	}
	require.Contains(t, w.get("token/"+child.ID+"/access"), "<bdi>own/…</bdi>")

	// A secret token, and one that it minted, may do everything, and their pages do not say nothing.
	_, text, err := w.acme.Issue(t.Context(), latchkey.Spec{Kind: latchkey.KindSecret})
	require.NoError(t, err)
	access, err := w.keys.Verify(t.Context(), latchkey.Presented{Secret: text.Reveal()})
	require.NoError(t, err)
	all, _, err := w.keys.Mint(t.Context(), access, latchkey.Narrowing{Lifetime: time.Hour})
	require.NoError(t, err)
	for _, id := range []string{access.TokenID(), all.ID} {
		require.Contains(t, w.get("token/"+id+"/access"), "<bdi>latchkey/…</bdi>")
	}

	// Names that could be taken for the page's own are not.
	odd := w.issue(latchkey.Spec{Kind: latchkey.KindAPIKey, Settings: latchkey.Settings{Permissions: latchkey.Permissions{
		latchkey.Allow(latchkey.Any).On("set/*"), latchkey.Deny(latchkey.Any).On("set/…"),
		latchkey.Deny("any-other").On("set/y")}}})
	page := w.get("token/" + odd.ID + "/access")
	require.Regexp(t, `<bdi>set/……</bdi></td><td role="cell"><span class="state on">every row`, page)
	require.Regexp(t, `<bdi>set/…</bdi></td><td role="cell"><span class="state off">no`, page)
}

var moreThere = regexp.MustCompile(`And (\d+) more: try them above, or see the <a href="(\?from=\d+)"`)

func TestAccessShowsEveryPart(t *testing.T) {
	w := newFixture(t, nil)
	var rules latchkey.Permissions
	for i := range 200 {
		rules = append(rules, latchkey.Allow(latchkey.Read).On(latchkey.Pattern(fmt.Sprintf("set/%03d", i))).
			Where(latchkey.Where("note", latchkey.Eq, strings.Repeat("long ", 10*i))))
	}
	id := w.issue(latchkey.Spec{Kind: latchkey.KindAPIKey, Settings: latchkey.Settings{Permissions: rules}}).ID
	role := w.role(latchkey.Role{Name: "much", Permissions: rules})
	for _, at := range []string{"token/" + id + "/access", "role/" + role.ID + "/access"} {
		seen, parts, of := map[string]bool{}, 0, 0
		for path := at; path != ""; parts++ {
			page := w.get(path)
			rows := regexp.MustCompile(`<bdi>(set/\d+|core/…|premium/…)</bdi>`).FindAllStringSubmatch(page, -1)
			for _, m := range rows {
				require.False(t, seen[m[1]], m[1])
				seen[m[1]] = true
			}
			path = ""
			if m := moreThere.FindStringSubmatch(page); m != nil {
				fmt.Sscan(m[1], &of)
				require.Equal(t, 202, len(seen)+of, "what is left out is counted")
				path = at + m[2]
			}
		}
		require.Len(t, seen, 202)
		require.Greater(t, parts, 3)
		require.Less(t, parts, 60)
	}
	// What the tester says of very much is cut with a word.
	page := w.get("token/" + id + "/access?action=read&resource=set/199")
	require.Regexp(t, `long l?o?n?g? ?…`, page)
}

func TestPagesSayWhatElseHolds(t *testing.T) {
	w := newFixture(t, nil)
	ctx := t.Context()
	parent, child, secret := w.mint(latchkey.Settings{Name: "the parent",
		Permissions:  latchkey.Permissions{latchkey.Allow(latchkey.Any).On("core/*")},
		Restrictions: latchkey.Restrictions{Domains: []string{"example.com"}}, Limits: latchkey.Limits{Credits: 5_000_000,
			Rate: latchkey.Rate{Count: 7, Per: time.Minute}}}, latchkey.Narrowing{Lifetime: 10 * time.Hour, Name: "the child"})
	_ = secret
	require.NoError(t, w.acme.Configure(ctx, func(o *latchkey.Owner) error { o.Limits.Credits = 9_000_000; return nil }))
	_, err := w.acme.Update(ctx, parent.ID,
		func(t *latchkey.Token) error { t.Validity.NotAfter = w.now.Add(time.Hour); return nil })
	require.NoError(t, err)
	for _, path := range []string{"token/" + child.ID, "token/" + child.ID + "/access"} {
		page := w.get(path)
		for _, says := range []string{"Allowed domains: <bdi>example.com</bdi> <small>(of <bdi>the parent</bdi>)",
			"<bdi>5 in a calendar month</bdi>",
			"<bdi>9 in a calendar month</bdi> <small>(of <bdi>the account</bdi>)", "<bdi>7 requests per minute</bdi>",
			"Ends: <bdi>22 Nov 2026, 10:00 UTC, with what it was minted from</bdi>"} {
			require.Contains(t, page, says, path)
		}
		require.NotContains(t, page, `state off">Refused`)
	}
	_, err = w.acme.Update(ctx, parent.ID, func(t *latchkey.Token) error { t.Disabled = true; return nil })
	require.NoError(t, err)
	for _, path := range []string{"token/" + child.ID, "?kind=access"} {
		require.Contains(t, w.get(path), "Refused</span>", path)
	}
	require.Contains(t, w.get("token/"+child.ID+"/access"), "Refused (<bdi>a token it was minted from has ended or is "+
		"disabled")

	// A parent that who asks may not see is not told, and not passed over.
	w.who = w.acme.Assume(latchkey.Client{ID: "bob"},
		latchkey.Permissions{latchkey.Allow(latchkey.Read).On(latchkey.Pattern("latchkey/token/" + child.ID))})
	page := w.get("token/" + child.ID)
	require.NotContains(t, page, "the parent<")
	require.NotContains(t, page, "example.com</bdi>")
	require.Contains(t, page, "which you may not see")
	require.Contains(t, page, "Refused</span>")
}

func TestRolesSayWhoHasThem(t *testing.T) {
	w := newFixture(t, nil)
	base := w.role(latchkey.Role{Name: "base"})
	for i := range 14 {
		w.role(latchkey.Role{Name: fmt.Sprint("heir ", i), Inherits: []string{base.ID}})
	}
	w.issue(latchkey.Spec{Kind: latchkey.KindAPIKey, Settings: latchkey.Settings{Name: "holder",
		Roles: []string{base.ID}}})
	for _, path := range []string{"role/" + base.ID, "role/" + base.ID + "/delete"} {
		page := w.get(path)
		require.Contains(t, page, "<bdi>heir 0</bdi>", path)
		require.Contains(t, page, "<bdi>heir 11</bdi></a> and others.", path)
		require.Contains(t, page, "<bdi>holder</bdi></a>.", path)
	}
}

// D: a minted token with all its parent's rights.

func TestMintedWithAllRights(t *testing.T) {
	w := newFixture(t, nil)
	parent, child, _ := w.mint(latchkey.Settings{Name: "the parent",
		Permissions: latchkey.Permissions{latchkey.Allow(latchkey.Any).On("core/*", "dataset/*")}},
		latchkey.Narrowing{Lifetime: time.Hour, Client: latchkey.Client{ID: "42", Name: "Ada L"}})
	at := "token/" + child.ID
	page := w.get(at)
	require.Contains(t, page, "<bdi>Ada L</bdi>")
	require.Contains(t, page, `<a href="../token/`+parent.ID+`"><bdi>the parent</bdi></a>`)
	require.Contains(t, page, "It may do all that its parent may do")
	require.NotContains(t, page, `name="right"`, "there is nothing to switch by accident")
	before := w.token(child.ID)
	for _, change := range []func(url.Values){func(url.Values) {}, func(f url.Values) { f.Set("right", "0") },
		func(f url.Values) { f.Set("add", "a/b"); f.Set("addright", "2") }, func(f url.Values) { f.Set("had-role", "x") }} {
		form := w.form(at)
		change(form)
		require.Equal(t, http.StatusSeeOther, w.post(at, form).Code)
		after := w.token(child.ID)
		require.True(t, after.Full)
		require.Equal(t, before.Settings, after.Settings)
	}
	form := w.form(at)
	form.Set("name", "named")
	require.Equal(t, http.StatusSeeOther, w.post(at, form).Code)
	require.Equal(t, "named", w.token(child.ID).Name)
}

func TestSwitchesSayWhatHoldsAllTheSame(t *testing.T) {
	w := newFixture(t, nil)
	role := w.role(latchkey.Role{Name: "core",
		Permissions: latchkey.Permissions{latchkey.Allow(latchkey.Read).On("core/*")}})
	id := w.issue(latchkey.Spec{Kind: latchkey.KindAPIKey, Settings: latchkey.Settings{Roles: []string{role.ID},
		Permissions: latchkey.Permissions{latchkey.Allow(latchkey.Read).On("premium/*")}}}).ID
	require.Contains(t, w.get("token/"+id), "It may all the same, by its roles")
	require.NoError(t, w.acme.Configure(t.Context(), func(o *latchkey.Owner) error {
		o.Boundary = latchkey.Permissions{latchkey.Allow(latchkey.Any).On("core/*", "latchkey/*")}
		return nil
	}))
	require.Contains(t, w.get("token/"+id), "In effect it may not:")
}

// E: what is pasted.

func TestAKeyFindsItsTokenAndStandsNowhere(t *testing.T) {
	w := newFixture(t, nil)
	ctx := t.Context()
	site := w.issue(latchkey.Spec{Kind: latchkey.KindPublishable, Settings: latchkey.Settings{Name: "site"}})
	test := w.issue(latchkey.Spec{Kind: latchkey.KindPublishable, Test: true,
		Settings: latchkey.Settings{Name: "test site"}})
	w.issue(latchkey.Spec{Kind: latchkey.KindAPIKey, Settings: latchkey.Settings{Name: "storefront-of-the-customer-2026"}})
	parent, minted, mintedText := w.mint(latchkey.Settings{Name: "key"}, latchkey.Narrowing{Lifetime: time.Hour,
		Name: "minted"})
	first, err := w.acme.Reveal(ctx, parent.ID)
	require.NoError(t, err)
	second, err := w.acme.Rotate(ctx, parent.ID, time.Hour)
	require.NoError(t, err)
	_, foreign, err := w.keys.For("other").Issue(ctx, latchkey.Spec{Kind: latchkey.KindAPIKey})
	require.NoError(t, err)

	said := func(rec *httptest.ResponseRecorder, text string) {
		t.Helper()
		require.NotContains(t, rec.Body.String(), text)
		require.NotContains(t, rec.Header().Get("Location"), text)
		require.NotContains(t, w.log.String(), text)
		for _, err := range w.errs {
			require.NotContains(t, err.Error(), text)
		}
	}
	for text, id := range map[string]string{site.Public: site.ID, test.Public: test.ID, first.Reveal(): parent.ID,
		second.Reveal():     parent.ID,
		mintedText.Reveal(): minted.ID} {
		for _, rec := range []*httptest.ResponseRecorder{w.post("", url.Values{"q": {text}}), w.post("",
			url.Values{"q": {" " + text + "\n"}}),
			w.do("GET", "?q="+url.QueryEscape(text), ""), w.do("GET", "seek?q="+url.QueryEscape(text), "")} {
			require.Equal(t, http.StatusSeeOther, rec.Code)
			require.Equal(t, "./token/"+id, rec.Header().Get("Location"))
			said(rec, text)
		}
	}
	// What the list shows finds it, too: the first characters, and all of it.
	for q, name := range map[string]string{site.Public[:8]: "site", mask(&site): "site", test.Public[:8]: "test site",
		second.Reveal()[:5]: "key",
		second.Reveal()[:6]: "key", second.Reveal()[:8]: "key", w.token(parent.ID).Hint: "key",
		mintedText.Reveal()[:6]: "minted", minted.ID: "minted"} {
		rec := w.post("", url.Values{"q": {q}})
		require.Equal(t, http.StatusSeeOther, rec.Code, q)
		require.Contains(t, w.get(strings.TrimPrefix(rec.Header().Get("Location"), "./")), "<bdi>"+name+"</bdi>", q)
		require.Contains(t, w.get("?q="+url.QueryEscape(q)), "<bdi>"+name+"</bdi>", q)
	}
	require.NotContains(t, w.get("?q="+site.Public[:7]+"!"), "<bdi>site</bdi>", "as long as it is known, it is compared")
	// A part of a key that is longer than what the list shows is answered at once.
	rec := w.post("", url.Values{"q": {second.Reveal()[:20]}})
	require.Equal(t, http.StatusOK, rec.Code)
	require.Contains(t, rec.Body.String(), "<bdi>key</bdi>")
	said(rec, second.Reveal()[:20])

	// Another owner's, one that was never made, and one whose token may not be seen are alike.
	unknown := second.Reveal()[:10] + strings.Repeat("0", len(second.Reveal())-10)
	var bodies []string
	blind := func(text string) {
		w.who = w.acme.Assume(latchkey.Client{ID: "ada", Name: "Ada"},
			latchkey.Permissions{latchkey.Allow(latchkey.Read).On("latchkey/role/*")})
		defer func() { w.who = w.acme.Assume(latchkey.Client{ID: "ada", Name: "Ada"}, everything) }()
		rec := w.post("", url.Values{"q": {text}})
		require.Equal(t, http.StatusOK, rec.Code)
		said(rec, text)
		bodies = append(bodies, regexp.MustCompile(`name="form" value="[^"]*"`).ReplaceAllString(rec.Body.String(), ""))
	}
	for _, text := range []string{foreign.Reveal(), unknown, second.Reveal()} {
		blind(text)
	}
	require.Contains(t, bodies[0], "No token here has that text.")
	require.Equal(t, bodies[0], bodies[1])
	require.Equal(t, bodies[0], bodies[2])
	for _, text := range []string{foreign.Reveal(), unknown} {
		rec := w.do("GET", "?q="+text, "")
		require.Equal(t, http.StatusSeeOther, rec.Code)
		require.Equal(t, "./?q="+text[:5], rec.Header().Get("Location"))
		require.Equal(t, "no-referrer", rec.Header().Get("Referrer-Policy"))
		said(rec, text)
		for _, path := range []string{"roles", "roles?q=" + text} {
			method := map[bool]string{true: "POST", false: "GET"}[path == "roles"]
			rec := w.do(method, path, url.Values{"q": {text}}.Encode(), "Sec-Fetch-Site", "same-origin", "Content-Type",
				"application/x-www-form-urlencoded")
			said(rec, text)
		}
	}

	// Keys of other forms do not come into an address either, names do.
	for _, text := range []string{"0123456789abcdef0123456789abcdef", "Zm9vYmFyYmF6cXV4Zm9v"} {
		rec := w.post("", url.Values{"q": {text}})
		require.Equal(t, http.StatusOK, rec.Code)
		said(rec, text)
	}
	rec = w.post("", url.Values{"q": {"storefront-of-the-customer-2026"}})
	require.Contains(t, rec.Body.String(), "<bdi>storefront-of-the-customer-2026</bdi>",
		"a name that could be a key is searched for, too")
	require.Equal(t, "./?kind=api_key&q=site+two", w.post("", url.Values{"q": {"site two"},
		"kind": {"api_key"}}).Header().Get("Location"))
	require.Equal(t, "./", w.post("", nil).Header().Get("Location"))
	require.Equal(t, "./roles?q=reader", w.post("roles", url.Values{"q": {"reader"}}).Header().Get("Location"))
	require.Contains(t, w.get("?q=storefront-of-the-customer-2026"), "<bdi>storefront-of-the-customer-2026</bdi>")
	rec = w.post("", url.Values{"q": {unknown}})
	require.Contains(t, rec.Body.String(), "No token here has that text.", "though another begins and is shown like it")
	require.Contains(t, w.get(""), `<form class="filter" method="post"`)
}

// F: forms that are sent again.

var anySecret = regexp.MustCompile(`value="((?:sk|ak|ss)_\w{40,})"`)

func TestAFormSentAgainIsCarriedOutOnce(t *testing.T) {
	w := newFixture(t, nil)
	id := w.issue(latchkey.Spec{Kind: latchkey.KindAPIKey, Settings: latchkey.Settings{Name: "k",
		Restrictions: latchkey.Restrictions{Signed: true}}}).ID
	events := func() (n int) {
		for _, err := range w.acme.Events(t.Context(), 0) {
			require.NoError(t, err)
			n++
		}
		return n
	}
	at := "token/" + id
	for _, c := range []struct {
		path   string
		change func(url.Values)
	}{
		{at + "/rotate", func(f url.Values) { f.Set("overlap", "0s") }}, {at + "/reveal", nil}, {at + "/signing",
			nil}, {at, func(f url.Values) { f.Set("name", "new name") }},
		{at + "/disable", nil}, {at + "/enable", nil}, {"new?kind=session", func(f url.Values) { f.Set("kind", "session") }},
		{"new", nil}, {"role", func(f url.Values) { f.Set("name", "a role") }}, {at + "/revoke", nil},
	} {
		form := w.form(c.path)
		path, _, _ := strings.Cut(c.path, "?")
		require.Len(t, form["form"], 1, c.path)
		if c.change != nil {
			c.change(form)
		}
		first := w.post(path, form)
		require.Less(t, first.Code, 400, "%s: %s", c.path, first.Body)
		before := events()
		second := w.post(path, form)
		require.Equal(t, before, events(), "%s: a reload does nothing", c.path)
		require.Equal(t, first.Code, second.Code, c.path)
		require.Equal(t, first.Header().Get("Location"), second.Header().Get("Location"), c.path)
		require.Equal(t, anySecret.FindString(first.Body.String()), anySecret.FindString(second.Body.String()), c.path)

		// Another process, or this one after it was started anew, does it no more either, and claims nothing.
		third := w.another().post(path, form)
		require.Equal(t, before, events(), "%s: elsewhere", c.path)
		require.Equal(t, http.StatusConflict, third.Code, c.path)
		require.Contains(t, third.Body.String(), map[bool]string{true: "is revoked",
			false: "sent before"}[c.path == at+"/revoke"], c.path)
		require.Empty(t, anySecret.FindString(third.Body.String()), c.path)

		// A while later the secret is shown no more.
		w.now = w.now.Add(time.Minute)
		later := w.post(path, form)
		require.Equal(t, before, events(), "%s: later", c.path)
		require.Empty(t, anySecret.FindString(later.Body.String()), c.path)
		w.now = w.now.Add(-time.Minute)
	}
	role := w.role(latchkey.Role{Name: "to go"})
	form := w.form("role/" + role.ID + "/delete")
	for range 2 {
		rec := w.post("role/"+role.ID+"/delete", form)
		require.Equal(t, http.StatusSeeOther, rec.Code)
		require.Contains(t, w.get(strings.TrimPrefix(rec.Header().Get("Location"), "../../")), "There is no such role now.")
	}

	// With anything else typed it is another form: nothing typed is lost to what was sent before.
	key := w.issue(latchkey.Spec{Kind: latchkey.KindAPIKey, Settings: latchkey.Settings{Name: "k"}}).ID
	form = w.form("token/" + key)
	form.Set("name", "one")
	require.Equal(t, http.StatusSeeOther, w.post("token/"+key, form).Code)
	form.Set("name", "two")
	require.Equal(t, http.StatusConflict, w.post("token/"+key, form).Code)
	require.Equal(t, "one", w.token(key).Name)

	// A form is of one person and one page.
	form = w.form("token/" + key + "/rotate")
	secret := anySecret.FindString(w.post("token/"+key+"/rotate", form).Body.String())
	require.NotEmpty(t, secret)
	w.who = w.acme.Assume(latchkey.Client{ID: "eve"}, everything)
	require.NotContains(t, w.post("token/"+key+"/rotate", form).Body.String(), secret)
	// One without an id makes nothing.
	before := events()
	require.Equal(t, http.StatusConflict, w.post("token/"+key+"/rotate", url.Values{"overlap": {"0s"}}).Code)
	require.Equal(t, http.StatusConflict, w.post("new", url.Values{"kind": {"api_key"}}).Code)
	require.Equal(t, before, events())
}

func TestWhoMayNotLeavesNoTraceInTheStore(t *testing.T) {
	w := newFixture(t, nil)
	id := w.issue(latchkey.Spec{Kind: latchkey.KindAPIKey, Settings: latchkey.Settings{Name: "k"}}).ID
	w.who = w.acme.Assume(latchkey.Client{ID: "bob"}, latchkey.Permissions{latchkey.Allow(latchkey.Read).On("latchkey/*")})
	w.reads.once = 0
	for _, path := range []string{"token/" + id, "token/" + id + "/rotate", "token/" + id + "/revoke", "new", "role"} {
		require.Equal(t, http.StatusForbidden, w.post(path, url.Values{"form": {newFormID()}, "overlap": {"0s"},
			"kind": {"api_key"}, "name": {"x"}}).Code, path)
	}
	require.Zero(t, w.reads.once)
}

func TestFormsAreBounded(t *testing.T) {
	now := time.Now()
	f := newSubmissions(func() time.Time { return now })
	fine := func() error { return nil }
	refuse := func() (reply, error) { return reply{}, latchkey.ErrInvalid }
	for i := range 3 * maxSubmissions {
		_, err := f.once(t.Context(), fmt.Sprint(i), fine, refuse)
		require.ErrorIs(t, err, latchkey.ErrInvalid)
		require.LessOrEqual(t, len(f.byKey), maxSubmissions)
		require.LessOrEqual(t, f.order.Len(), maxSubmissions)
	}
	for i := range 100 { // those that the store did not take leave nothing
		_, err := f.once(t.Context(), fmt.Sprint("x", i), func() error { return latchkey.ErrUnavailable }, refuse)
		require.ErrorIs(t, err, latchkey.ErrUnavailable)
	}
	now = now.Add(submissionKept)
	_, _ = f.once(t.Context(), "last", fine, refuse)
	require.Len(t, f.byKey, 1)
	require.Equal(t, 1, f.order.Len())

	// What was refused may be sent again, and the store is not asked twice.
	asked := 0
	_, err := f.once(t.Context(), "last", func() error { asked++; return latchkey.ErrExists }, func() (reply,
		error) {
		return reply{to: "there"}, nil
	})
	require.NoError(t, err)
	require.Zero(t, asked)
}

func TestNothingWaitsForEver(t *testing.T) {
	for name, c := range map[string]struct {
		end  func() (reply, error)
		want error
	}{
		"a panic":            {func() (reply, error) { panic("out of order") }, errFormUsed},
		"an end":             {func() (reply, error) { return reply{to: "first"}, nil }, nil},
		"a refusal":          {func() (reply, error) { return reply{}, latchkey.ErrInvalid }, nil},
		"nobody knows":       {func() (reply, error) { return reply{}, latchkey.ErrUnknownOutcome }, errFormUsed},
		"the goroutine goes": {func() (reply, error) { select {} }, latchkey.ErrUnavailable},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				f := newSubmissions(time.Now)
				fine := func() error { return nil }
				ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
				defer cancel()
				leave := make(chan struct{})
				var wg sync.WaitGroup
				wg.Go(func() {
					defer func() { _ = recover() }()
					_, _ = f.once(ctx, "form", fine, func() (reply, error) {
						time.Sleep(time.Second)
						if name == "the goroutine goes" {
							<-leave
							return reply{}, errors.New("late")
						}
						return c.end()
					})
				})
				synctest.Wait()
				var waiters sync.WaitGroup
				for range 5 {
					waiters.Go(func() {
						r, err := f.once(ctx, "form", fine, func() (reply, error) { return reply{to: "again"}, nil })
						if c.want != nil {
							require.ErrorIs(t, err, c.want)
							return
						}
						require.NoError(t, err)
						require.Equal(t, map[string]string{"an end": "first", "a refusal": "again"}[name], r.to)
					})
				}
				waiters.Wait()
				close(leave)
				wg.Wait()
				time.Sleep(2 * secretKept) // the timers that forget secrets
			})
		})
	}
}

// G: nothing typed is lost.

func TestWhatWasTypedCanBeSentAgain(t *testing.T) {
	w := newFixture(t, nil)
	id := w.issue(latchkey.Spec{Kind: latchkey.KindAPIKey, Settings: latchkey.Settings{Name: "k"}}).ID
	form := w.form("token/" + id)
	form.Set("name", `typed "<&`+"\u202e")
	form.Set("domains", "a.example\r\nb.example")
	who := w.who
	w.who = latchkey.Access{}
	rec := w.post("token/"+id, form)
	require.Equal(t, http.StatusUnauthorized, rec.Code)
	require.Contains(t, rec.Body.String(), "Sign in again in another window")
	w.who = who
	again := formOf(rec.Body.String())
	require.Equal(t, form.Get("name"), again.Get("name"))
	require.Equal(t, form.Get("form"), again.Get("form"))
	require.Equal(t, http.StatusSeeOther, w.post("token/"+id, again).Code)
	require.Equal(t, form.Get("name"), w.token(id).Name)
	require.Equal(t, []string{"a.example", "b.example"}, w.token(id).Restrictions.Domains)

	// What may be a key, and what another site's page sent, is not repeated.
	w.who = latchkey.Access{}
	require.NotContains(t, w.post("", url.Values{"q": {"some-key-0123456789"}}).Body.String(), "some-key")
	require.NotContains(t, w.do("POST", "token/"+id, "name=theirs", "Content-Type", "application/x-www-form-urlencoded",
		"Sec-Fetch-Site", "cross-site").Body.String(), "theirs")
	require.NotContains(t, w.do("POST", "token/"+id, "name=theirs", "Content-Type",
		"application/x-www-form-urlencoded").Body.String(), "theirs")
	// Nor is what is too much for a page, and that is read no further.
	require.Equal(t, http.StatusUnauthorized, w.post("role", url.Values{"name": {strings.Repeat("x", 60_000)}}).Code)
	require.Equal(t, http.StatusUnauthorized, w.post("role", url.Values{"name": {strings.Repeat("x", 1<<20)}}).Code)

	// Whoever may look but not change is shown the form as it was typed.
	w.who = w.acme.Assume(latchkey.Client{ID: "bob"}, latchkey.Permissions{latchkey.Allow(latchkey.Read).On("latchkey/*"),
		latchkey.Allow(latchkey.Update, latchkey.Create, latchkey.Delete).On("latchkey/*")})
	role := w.role(latchkey.Role{Name: "r", Permissions: latchkey.Permissions{latchkey.Allow(latchkey.Read).On("core/*")}})
	for path, field := range map[string]string{"token/" + id: "domains", "role/" + role.ID: "name",
		"role": "rule[0][on]"} {
		form := w.form(path)
		form.Set(field, "typed.example")
		if path == "role" {
			form.Set("name", "new")
			form.Set("rule[0][verb]", "allow")
			form.Set("rule[0][actions]", "read")
		}
		if strings.HasPrefix(path, "token/") {
			form.Set("right", "0") // which bob does not have
		}
		if strings.HasPrefix(path, "role/") {
			form.Set("rule[0][actions]", "read, delete")
		}
		rec := w.post(path, form)
		require.Equal(t, http.StatusForbidden, rec.Code, path)
		require.Contains(t, rec.Body.String(), "your own rights do not reach that far", path)
		require.Equal(t, "typed.example", formOf(rec.Body.String()).Get(field), path)
		require.Contains(t, rec.Body.String(), "data-dirty", path)
	}
}

func TestAStoppedBrowserStopsNoWork(t *testing.T) {
	w := newFixture(t, nil)
	id := w.issue(latchkey.Spec{Kind: latchkey.KindAPIKey, Settings: latchkey.Settings{Name: "k"}}).ID
	form := w.form("token/" + id)
	form.Set("name", "saved")
	ctx, stop := context.WithCancel(t.Context())
	w.reads.before = stop // when the store is asked to write
	r := httptest.NewRequestWithContext(ctx, "POST", "http://console.test/any/where/token/"+id,
		strings.NewReader(form.Encode()))
	r.Header.Set("Sec-Fetch-Site", "same-origin")
	r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	w.mux.ServeHTTP(httptest.NewRecorder(), r)
	require.Error(t, ctx.Err())
	w.reads.before = nil
	require.Equal(t, "saved", w.token(id).Name)
	rec := w.post("token/"+id, form)
	require.Equal(t, http.StatusSeeOther, rec.Code, "sent again, it is answered as it would have been")
}

// H: what is over.

func TestARevokedTokenOffersNothing(t *testing.T) {
	w := newFixture(t, nil)
	id := w.issue(latchkey.Spec{Kind: latchkey.KindAPIKey, Settings: latchkey.Settings{Name: "k"}}).ID
	forms := map[string]url.Values{}
	for _, do := range []string{"", "/rotate", "/disable", "/reveal", "/signing", "/revoke"} {
		forms[do] = w.form("token/" + id + do)
	}
	forms["/enable"] = url.Values{"form": {newFormID()}}
	require.NoError(t, w.acme.Revoke(t.Context(), id, "leaked"))
	want := w.token(id)
	page := w.get("token/" + id)
	for _, no := range []string{"Rotate", "Disable…", "Reveal", "Revoke…", ">Done<"} {
		require.NotContains(t, page, no)
	}
	require.Contains(t, page, "This token was revoked on 22 Nov 2026, 09:00 UTC")
	for do, form := range forms {
		if do != "" {
			page := w.get("token/" + id + do)
			require.Contains(t, page, "This token was revoked on", do)
			require.NotContains(t, page, "<form", do)
		}
		form.Set("overlap", "0s")
		for range 2 {
			rec := w.post("token/"+id+do, form)
			require.Equal(t, http.StatusConflict, rec.Code, do)
			require.Contains(t, rec.Body.String(), "the token is revoked", do)
			require.Contains(t, rec.Body.String(), "This token was revoked on", do)
		}
		require.Equal(t, want, w.token(id), do)
	}
	// What is so already is said, too.
	id = w.issue(latchkey.Spec{Kind: latchkey.KindAPIKey, Settings: latchkey.Settings{Name: "k", Disabled: true}}).ID
	require.Contains(t, w.get("token/"+id+"/disable"), "This token is disabled already.")
	require.NotContains(t, w.get("token/"+id+"/disable"), "<form")
	require.Contains(t, w.get("token/"+id+"/enable"), "<form")
}

func TestNoticesHold(t *testing.T) {
	w := newFixture(t, nil)
	id := w.issue(latchkey.Spec{Kind: latchkey.KindAPIKey, Settings: latchkey.Settings{Name: "k"}}).ID
	role := w.role(latchkey.Role{Name: "r"})
	_, err := w.acme.UpdateRole(t.Context(), role.ID, func(r *latchkey.Role) error { r.Name = "r2"; return nil })
	require.NoError(t, err)
	for _, query := range []string{"done=revoked", "done=disabled", "done=saved", "done=enabled", "made=" + id + "x",
		"done=revoked&token=" + id,
		"done=disabled&token=" + id, "done=saved&token=" + id, "done=saved&version=7&token=" +
			id, "done=revoked&token=none"} {
		require.NotContains(t, w.get("?"+query), `class="notice good"`, query)
	}
	for _, query := range []string{"done=disabled", "done=revoked", "done=saved"} {
		require.NotContains(t, w.get("token/"+id+"?"+query), `class="notice good"`, query)
	}
	for _, query := range []string{"done=saved", "done=made", "done=deleted", "done=made&role=" + role.ID,
		"done=saved&role=" + role.ID,
		"done=saved&version=1&role=" + role.ID, "done=deleted&role=" + role.ID, "done=deleted&role=x"} {
		require.NotContains(t, w.get("roles?"+query), `class="notice good"`, query)
	}
	follow := func(path string, form url.Values) string {
		rec := w.post(path, form)
		require.Equal(t, http.StatusSeeOther, rec.Code, rec.Body)
		to := rec.Header().Get("Location")
		return w.get(strings.TrimPrefix(strings.ReplaceAll(to, "../", ""), "./"))
	}
	for _, c := range []struct{ path, says string }{{"token/" + id, "Saved."}, {"token/" + id + "/disable",
		"The token is disabled"},
		{"token/" + id + "/enable", "The token is enabled"}, {"token/" + id + "/revoke",
			"The token is revoked"}, {"role/" + role.ID, "Saved."}} {
		require.Contains(t, follow(c.path, w.form(c.path)), `class="notice good" role="status">`+c.says, c.path)
	}
}

// I: names.

func TestNamesCannotHide(t *testing.T) {
	w := newFixture(t, nil)
	for r, want := range map[string]string{"\u202e": "⟨U+202E⟩", "\u2066": "⟨U+2066⟩", "\u200f": "⟨U+200F⟩",
		"\u200b": "⟨U+200B⟩", "\ufeff": "⟨U+FEFF⟩",
		"\u00ad": "⟨U+00AD⟩", "\u2028": "⟨U+2028⟩", "\x1b": "⟨U+001B⟩",
		"\u0085": "⟨U+0085⟩", "\u3164": "⟨U+3164⟩", "\u200d": "⟨U+200D⟩",
		"\ufe0f": "⟨U+FE0F⟩", "\U000e0041": "⟨U+E0041⟩", "\u2800": "⟨U+2800⟩"} {
		name := "ad" + r + "min"
		role := w.role(latchkey.Role{Name: name})
		parent, child, _ := w.mint(latchkey.Settings{Name: name, Roles: []string{role.ID}},
			latchkey.Narrowing{Lifetime: time.Hour, Name: name,
				Client: latchkey.Client{ID: name, Name: name}})
		for _, path := range []string{"", "?kind=access", "?q=" + url.QueryEscape(name), "token/" + parent.ID, "token/" +
			child.ID, "token/" + parent.ID + "/rotate",
			"token/" + parent.ID + "/revoke", "token/" + parent.ID + "/access", "token/" + parent.ID +
				"/usage", "roles", "role/" + role.ID,
			"role/" + role.ID + "/delete", "role/" + role.ID + "/access", "token/" + child.ID +
				"/access?resource=a&action=read"} {
			page := w.get(path)
			require.NotContains(t, page, r, "%q %s", r, path)
			require.Contains(t, unhtml.Replace(page), want, "%q %s", r, path)
		}
		// And yet a form sent as it was drawn changes nothing.
		for _, path := range []string{"token/" + parent.ID, "role/" + role.ID} {
			if r != "\u0085" { // which no form can hold
				require.Equal(t, name, w.form(path).Get("name"))
			}
			require.Equal(t, http.StatusSeeOther, w.post(path, w.form(path)).Code)
		}
		require.Equal(t, name, w.token(parent.ID).Name)
		got, err := w.acme.Role(t.Context(), role.ID)
		require.NoError(t, err)
		require.Equal(t, name, got.Name)
	}
	for _, fine := range []string{"नमस्\u200dते", "می\u200cخواهم", "👩\u200d👧", "❤️", "1️⃣", "Zoë", "עברית", "naïve café"} {
		require.Equal(t, fine, visible(fine))
		require.Empty(t, misleading(fine), fine)
	}
	spaced := w.role(latchkey.Role{Name: " two  spaces\u00a0"})
	require.Contains(t, unhtml.Replace(w.get("roles")), "⟨U+0020⟩two ⟨U+0020⟩spaces⟨U+00A0⟩")
	require.Equal(t, http.StatusSeeOther, w.post("role/"+spaced.ID, w.form("role/"+spaced.ID)).Code)
	got, err := w.acme.Role(t.Context(), spaced.ID)
	require.NoError(t, err)
	require.Equal(t, spaced.Name, got.Name, "what was not changed stays")
}

func TestAFormSentAsItWasDrawnChangesNothing(t *testing.T) {
	w := newFixture(t, nil)
	var rules latchkey.Permissions
	for _, odd := range []string{"\u0085", "\u202e", "x\ny", "x\r\ny", "\u00a0", " a", "a ", "\x1b", "a,b", "\u2028",
		"\\u0041", "<&\""} {
		rules = append(rules, latchkey.Deny(latchkey.Read).On(latchkey.Pattern("dataset/ACME/A"+odd)).
			Where(latchkey.Where("note", latchkey.Eq,
				odd)), latchkey.Allow(latchkey.Read).On(latchkey.Pattern("dataset/ACME/A"+odd)))
	}
	role := w.role(latchkey.Role{Name: "line\nbreak", Permissions: rules})
	token := w.issue(latchkey.Spec{Kind: latchkey.KindAPIKey, Settings: latchkey.Settings{Name: " \u0085k\n",
		Roles: []string{role.ID}, Permissions: rules}})
	for _, path := range []string{"role/" + role.ID, "role/" + role.ID + "?at=21", "token/" + token.ID} {
		at, _, _ := strings.Cut(path, "?")
		form := w.form(path)
		form.Set("name", strings.ReplaceAll(form.Get("name"), "\n", "")) // as a browser has it
		for name, values := range form {
			for i := range values {
				form[name][i] = strings.ReplaceAll(strings.ReplaceAll(values[i], "\r\n", "\n"), "\n", "\r\n")
			}
		}
		require.Equal(t, http.StatusSeeOther, w.post(at, form).Code, path)
	}
	require.Equal(t, token.Settings, w.token(token.ID).Settings)
	got, err := w.acme.Role(t.Context(), role.ID)
	require.NoError(t, err)
	require.Equal(t, role.Name, got.Name)
	require.Equal(t, ruleTexts(rules), ruleTexts(got.Permissions))
}

func TestRoleNamesThatLookAlikeAreRefused(t *testing.T) {
	w := newFixture(t, nil)
	for _, name := range []string{"Admin", "Café", "日本", "한글", "fine", "two words"} {
		w.role(latchkey.Role{Name: name})
	}
	w.role(latchkey.Role{Name: "viewer", Origin: "datocms"})
	other := w.role(latchkey.Role{Name: "other"})
	for _, name := range []string{"Admin ", " Admin", "admin", "ADMIN", "Ad\u200bmin", "Admin\u00a0", "\u202eAdmin",
		"Аdmin", "Ａdmin", "Cafe\u0301", "CAFÉ",
		"\u1112\u1161\u11ab\u1100\u1173\u11af", "ﬁne\u200b", "two  " +
			"words", "two\u00a0words", "two\twords", "x\u2060", "Viewer", "viewer", "Admın\u200b"} {
		for _, path := range []string{"role", "role/" + other.ID} {
			form := w.form(path)
			form.Set("name", name)
			rec := w.post(path, form)
			require.Equal(t, http.StatusUnprocessableEntity, rec.Code, "%q", name)
			require.Contains(t, rec.Body.String(), `id="name-e"`, "%q", name)
			require.Contains(t, rec.Body.String(), `<a href="#name">Name</a>`, "%q", name)
		}
	}
	for _, name := range []string{"Admins", "Cafe", "日本人", "β tester", "other one"} {
		form := w.form("role")
		form.Set("name", name)
		require.Equal(t, http.StatusSeeOther, w.post("role", form).Code, name)
	}
	form := w.form("role/" + other.ID)
	form.Set("name", "Other")
	require.Equal(t, http.StatusSeeOther, w.post("role/"+other.ID, form).Code, "it may look like itself")
}

// A condition on who asks lies within every row only, so a role editor with some rows cannot write one.
func TestAWeakEditorWritesNoRuleAboutWhoAsks(t *testing.T) {
	w := newFixture(t, nil)
	strong := w.who
	eu := latchkey.Where("region", latchkey.Eq, "EU")
	w.who = w.acme.Assume(latchkey.Client{ID: "weak"}, latchkey.Permissions{latchkey.Allow(latchkey.Any).On("latchkey/*"),
		latchkey.Allow(latchkey.Read).On("dataset/*").Where(eu)})
	roles := 0
	save := func(where string) int {
		form := w.form("role")
		roles++
		form.Set("name", fmt.Sprint("role ", roles))
		form.Set("rule[0][verb]", "allow")
		form.Set("rule[0][actions]", "read")
		form.Set("rule[0][on]", "dataset/*")
		form.Set("rule[0][where]", where)
		return w.post("role", form).Code
	}
	require.Equal(t, http.StatusSeeOther, save(`{"field":"region","op":"=","value":"EU"}`))
	self := `{"field":"owner","op":"=","value":{"ref":"self"}}`
	require.Equal(t, http.StatusForbidden, save(self))
	w.who = strong
	require.Equal(t, http.StatusSeeOther, save(self))
}
