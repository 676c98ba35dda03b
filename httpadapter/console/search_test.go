package console

import (
	"net/http"
	"net/http/httptest"
	"net/url"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/latchkey-go/latchkey"
)

func TestAKeyFindsItsTokenAndStandsNowhere(t *testing.T) {
	w := newFixture(t, nil)
	ctx := t.Context()
	site := w.issue(latchkey.Spec{Kind: latchkey.KindPublishable, Name: "site"})
	test := w.issue(latchkey.Spec{Kind: latchkey.KindPublishable, Test: true,
		Name: "test site"})
	w.issue(latchkey.Spec{Kind: latchkey.KindAPIKey, Name: "storefront-of-the-customer-2026"})
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
			w.do("GET", "?q="+url.QueryEscape(text), "")} {
			require.Equal(t, http.StatusSeeOther, rec.Code)
			require.Equal(t, "./token/"+id, rec.Header().Get("Location"))
			said(rec, text)
		}
	}
	// What the list shows of a token finds it: the first characters, and all of it.
	for q, name := range map[string]string{site.Public[:8]: "site", mask(&site): "site", test.Public[:8]: "test site",
		second.Reveal()[:5]:     "key",
		w.token(parent.ID).Hint: "key", strings.ToUpper(w.token(parent.ID).Hint): "key",
		mintedText.Reveal()[:5]: "minted", minted.ID: "minted", minted.ID[24:]: "minted", "SITe": "site"} {
		rec := w.post("", url.Values{"q": {q}})
		require.Equal(t, http.StatusSeeOther, rec.Code, q)
		require.Contains(t, w.get(strings.TrimPrefix(rec.Header().Get("Location"), "./")), "<bdi>"+name+"</bdi>", q)
		require.Contains(t, w.get("?q="+url.QueryEscape(q)), "<bdi>"+name+"</bdi>", q)
	}
	require.NotContains(t, w.get("?q="+site.Public[:7]+"!"), "<bdi>site</bdi>", "as long as it is known, it is compared")
	// A part of a key that is longer than what the list shows is answered at once, with those that begin like it.
	var rec *httptest.ResponseRecorder
	for _, n := range []int{6, 8, 20} {
		rec = w.post("", url.Values{"q": {second.Reveal()[:n]}})
		require.Equal(t, http.StatusOK, rec.Code)
		require.Contains(t, rec.Body.String(), "<bdi>key</bdi>")
		require.Contains(t, rec.Body.String(), "No token here has that text now.")
		said(rec, second.Reveal()[:n])
	}

	// A key of another owner, one that never existed, and one whose token may not be seen get the same reply.
	unknown := second.Reveal()[:10] + strings.Repeat("0", len(second.Reveal())-10)
	var bodies []string
	blind := func(text string) {
		w.who = must(w.acme.Assume(latchkey.Client{ID: "ada", Name: "Ada"},
			latchkey.Permissions{latchkey.Allow(latchkey.Read).On("latchkey/role/*")}))
		defer func() { w.who = must(w.acme.Assume(latchkey.Client{ID: "ada", Name: "Ada"}, everything)) }()
		rec := w.post("", url.Values{"q": {text}})
		require.Equal(t, http.StatusOK, rec.Code)
		said(rec, text)
		bodies = append(bodies, regexp.MustCompile(`name="form" value="[^"]*"`).ReplaceAllString(rec.Body.String(), ""))
	}
	for _, text := range []string{foreign.Reveal(), unknown, second.Reveal()} {
		blind(text)
	}
	require.Contains(t, bodies[0], "No token here has that text now.")
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

	// Keys of other systems do not get into a URL either; names do.
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
	require.Contains(t, rec.Body.String(), "No token here has that text now.",
		"though another begins and is shown like it")
	require.Contains(t, w.get(""), `<form class="filter" method="post"`)
}

func TestNoticesHold(t *testing.T) {
	w := newFixture(t, nil)
	id := w.issue(latchkey.Spec{Kind: latchkey.KindAPIKey, Name: "k"}).ID
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
		require.Regexp(t, `class="notice good"[^>]* role="status"[^>]*>`+c.says, follow(c.path, w.form(c.path)), c.path)
	}
}
