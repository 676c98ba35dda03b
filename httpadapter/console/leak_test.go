package console

import (
	"net/http"
	"net/http/httptest"
	"net/netip"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/latchkey-go/latchkey"
	"github.com/latchkey-go/latchkey/internal/form"
)

// A leaked key is pasted, its page says whose it is and where it was used, and one more click ends it and what it
// minted. The key is in no address, no page, no log and no error.
func TestALeakedKeyIsEnded(t *testing.T) {
	w := newFixture(t, nil)
	ctx := t.Context()
	token, secret, err := w.acme.Issue(ctx, latchkey.Spec{Kind: latchkey.KindAPIKey, Name: "importer",
		Client: latchkey.Client{ID: "42", Name: "Zoë"}})
	require.NoError(t, err)
	access, err := w.acme.Verify(ctx, latchkey.Presented{Secret: secret.Reveal(),
		Address: netip.MustParseAddr("192.0.2.7")})
	require.NoError(t, err)
	_, minted, err := access.Mint(ctx, latchkey.Narrowing{Lifetime: time.Hour})
	require.NoError(t, err)
	nowhere := func(rec *httptest.ResponseRecorder, key string) {
		t.Helper()
		require.NotContains(t, rec.Body.String(), key)
		require.NotContains(t, rec.Header().Get("Location"), key)
		require.NotContains(t, w.log.String(), key)
		for _, err := range w.errs {
			require.NotContains(t, err.Error(), key)
		}
	}
	require.Contains(t, w.get("leak"), "Paste the key.")
	rec := w.post("leak", url.Values{"q": {" " + secret.Reveal() + " "}})
	require.Equal(t, http.StatusSeeOther, rec.Code)
	nowhere(rec, secret.Reveal())
	at := strings.TrimPrefix(rec.Header().Get("Location"), "./")
	require.True(t, strings.HasPrefix(at, "token/"+token.ID+"/leak?secret="), at)
	page := w.get(at)
	for _, part := range []string{"importer", "Zoë (42)", "the newest of the token", "from <bdi>192.0.2.7</bdi>",
		"1 token",
		"End it, and everything minted from it", "rotate?why=leak"} {
		require.Contains(t, page, part)
	}
	form := formOf(page)
	require.Equal(t, "leaked", form.Get("reason"))
	rec = w.post("token/"+token.ID+"/revoke", form)
	require.Equal(t, http.StatusSeeOther, rec.Code)
	for _, text := range []string{secret.Reveal(), minted.Reveal()} {
		_, err = w.acme.Verify(ctx, latchkey.Presented{Secret: text})
		require.ErrorIs(t, err, latchkey.ErrInvalidToken)
	}
	require.Equal(t, "leaked", w.token(token.ID).Reason)
	page = w.get(at)
	require.Contains(t, page, "This token is revoked, with everything minted from it.")
	require.NotContains(t, page, "<button class=\"button danger\">")

	// What is unknown, another owner's, or may not be read is answered alike, and not repeated either.
	_, foreign, err := w.keys.For("other").Issue(ctx, latchkey.Spec{Kind: latchkey.KindAPIKey})
	require.NoError(t, err)
	hidden, theirs, err := w.acme.Issue(ctx, latchkey.Spec{Kind: latchkey.KindAPIKey, Name: "hidden"})
	require.NoError(t, err)
	w.who = must(w.acme.Assume(latchkey.Client{ID: "bob"}, latchkey.Permissions{
		latchkey.Allow(latchkey.Read).On("latchkey/role/*")}))
	for _, key := range []string{foreign.Reveal(), theirs.Reveal(), "ak_" + strings.Repeat("0", 40), "no key at all",
		"x"} {
		rec = w.post("leak", url.Values{"q": {key}})
		require.Equal(t, http.StatusOK, rec.Code)
		require.Contains(t, rec.Body.String(), "No token here has that key now.")
		if len(key) > 1 {
			nowhere(rec, key)
		}
	}
	require.Equal(t, http.StatusNotFound, w.do("GET", "token/"+hidden.ID+"/leak", "").Code)
	require.Contains(t, w.post("leak", url.Values{"q": {" "}}).Body.String(), `<p>Paste the key.</p>`)

	// Nor is it kept for a person who has to sign in first.
	w.who = latchkey.Access{}
	rec = w.post("leak", url.Values{"q": {theirs.Reveal()}})
	require.Equal(t, http.StatusUnauthorized, rec.Code)
	nowhere(rec, theirs.Reveal())
}

// During the overlap of a rotation the page of the token tells about the old secret, until it is ended.
func TestAnOldSecretIsSeenAndEnded(t *testing.T) {
	w := newFixture(t, nil)
	ctx := t.Context()
	token, old, err := w.acme.Issue(ctx, latchkey.Spec{Kind: latchkey.KindAPIKey, Name: "k"})
	require.NoError(t, err)
	page := w.get("token/" + token.ID)
	require.Contains(t, page, "Never used.")
	require.NotContains(t, page, "An old secret")

	chosen := func(path string) string {
		return formOf(w.get(path)).Get("overlap")
	}
	require.Equal(t, usualOverlap, chosen("token/"+token.ID+"/rotate"))
	require.Equal(t, leakOverlap, chosen("token/"+token.ID+"/rotate?why=leak"))
	form := w.form("token/" + token.ID + "/rotate?why=leak")
	require.Equal(t, "leaked", form.Get("reason"))
	rec := w.post("token/"+token.ID+"/rotate", form)
	require.Equal(t, http.StatusOK, rec.Code)
	w.now = w.now.Add(time.Minute)
	for e, err := range w.acme.Events(ctx, latchkey.EventQuery{Action: "token.rotate"}) {
		require.NoError(t, err)
		require.Equal(t, "leaked", e.Reason)
	}

	page = w.get("token/" + token.ID)
	require.Contains(t, page, "An old secret that still works.")
	require.Contains(t, page, `It ends on <time datetime="2026-11-22T09:15:00Z"`)
	require.Contains(t, page, "Not since the new one was made.")
	_, err = w.acme.Verify(ctx, latchkey.Presented{Secret: old.Reveal(), Address: netip.MustParseAddr("198.51.100.9")})
	require.NoError(t, err)
	page = w.get("token/" + token.ID)
	require.Contains(t, page, "from <bdi>198.51.100.9</bdi>")
	require.NotContains(t, page, "Not since the new one was made.")

	// A leak of the old secret says so, and ends it alone. The newest cannot be ended so.
	at := strings.TrimPrefix(w.post("leak", url.Values{"q": {old.Reveal()}}).Header().Get("Location"), "./")
	page = w.get(at)
	require.Contains(t, page, "an old one that still works")
	end := strings.TrimPrefix(linkOf(page, "End it now…"), "../../")
	page = w.get(end)
	require.Contains(t, page, "are refused at once")
	rec = w.post(end, formOf(page))
	require.Equal(t, http.StatusSeeOther, rec.Code, rec.Body)
	page = w.get(strings.TrimPrefix(rec.Header().Get("Location"), "../../"))
	require.Contains(t, page, "The old secret has ended, at once.")
	require.NotContains(t, page, "An old secret")
	_, err = w.acme.Verify(ctx, latchkey.Presented{Secret: old.Reveal()})
	require.ErrorIs(t, err, latchkey.ErrInvalidToken)
	require.Contains(t, w.get(end), "This secret has ended already.")
	require.Contains(t, w.post(end, formOf(page)).Body.String(), "This secret has ended already.")
	require.Contains(t, w.get("token/"+token.ID+"/end?secret=x"), "This secret has ended already.")
	secrets, err := w.acme.Secrets(ctx, token.ID)
	require.NoError(t, err)
	require.Len(t, secrets, 1)
	require.Contains(t, w.get("token/"+token.ID+"/end?secret="+secrets[0].ID), "This is the newest secret")
	require.NotContains(t, w.get("token/"+token.ID+"?done=ended&secret="+secrets[0].ID), "The old secret has ended",
		"the notice is true of what is stored")

	// A reader sees the last use, and can end nothing.
	w.who = must(w.acme.Assume(latchkey.Client{ID: "bob"}, latchkey.Permissions{
		latchkey.Allow(latchkey.Read).On("latchkey/token/*")}))
	_, err = w.acme.Rotate(ctx, token.ID, time.Hour)
	require.NoError(t, err)
	page = w.get("token/" + token.ID)
	require.Contains(t, page, "An old secret that still works.")
	require.NotContains(t, page, "End it now…")
	require.Equal(t, http.StatusForbidden, w.post("token/"+token.ID+"/end?secret="+secrets[0].ID,
		url.Values{"form": {newFormID()}}).Code)
}

// The place in the list, with its filters and its order, survives every page of a token and every edit.
func TestThePlaceInTheListSurvives(t *testing.T) {
	w := newFixture(t, nil)
	for range 60 {
		w.issue(latchkey.Spec{Kind: latchkey.KindAPIKey, Name: "Shop"})
	}
	page := w.get("?" + url.Values{"q": {"sHo"}, "state": {"active"}, "sort": {"newest"}}.Encode())
	second := linksOf(page)["Next"]
	page = w.get(second)
	_, after, _ := strings.Cut(page, `<a class="mono" href="`)
	opened, _, _ := strings.Cut(after, `"`)
	opened = unhtml.Replace(opened)
	id, list, found := strings.Cut(strings.TrimPrefix(opened, "token/"), "?list=")
	require.True(t, found, opened)
	want, err := url.ParseQuery(strings.TrimPrefix(second, "?"))
	require.NoError(t, err)
	back := func(at string) {
		t.Helper()
		_, query, _ := strings.Cut(at, "?")
		got, err := url.ParseQuery(query)
		require.NoError(t, err)
		for _, name := range []string{"done", "token", "version"} {
			got.Del(name)
		}
		require.Equal(t, want, got, at)
	}
	for _, page := range []string{"", "/rotate", "/disable", "/enable", "/revoke", "/reveal", "/history", "/leak",
		"/usage",
		"/rotate?why=leak"} {
		path := "token/" + id + page + "?list=" + list
		if strings.Contains(page, "?") {
			path = "token/" + id + page + "&list=" + list
		}
		text := w.get(path)
		if page == "" {
			back(linkOf(text, "Back to all tokens"))
			for _, link := range []string{"Usage", "History", "Rotate…", "Disable…", "Revoke…"} {
				require.Contains(t, linkOf(text, link), "?list="+list, link)
			}
			continue
		}
		crumb := linkOf(text, "Back to the token")
		if page == "/history" {
			crumb = linkOf(text, "Back")
		}
		require.Contains(t, crumb, "?list="+list, page)
	}
	edit := "token/" + id + "?list=" + list
	form := w.form(edit)
	form.Set("name", "Shop renamed")
	back(w.post(edit, form).Header().Get("Location"))
	for _, action := range []string{"disable", "enable"} {
		at := "token/" + id + "/" + action + "?list=" + list
		rec := w.post(at, w.form(at))
		require.Contains(t, rec.Header().Get("Location"), "&list="+list)
	}
	at := "token/" + id + "/revoke?list=" + list
	back(w.post(at, w.form(at)).Header().Get("Location"))

	// What is no listing does not survive, and a key least of all.
	_, secret, err := w.acme.Issue(t.Context(), latchkey.Spec{Kind: latchkey.KindAPIKey})
	require.NoError(t, err)
	text := w.get("token/" + id + "?list=" + url.QueryEscape("q"+secret.Reveal()+"~tevil~zevil"))
	require.NotContains(t, text, secret.Reveal())
	require.NotContains(t, text, "evil")
}

func TestListingsInShort(t *testing.T) {
	all := []listing{{}, {Find: "a ~b~.c~~ x&y=ä", Kind: "all", State: "active", Expiring: "7", Unused: "30", Role: "r~",
		Client: "~c",
		Origin: "-", Sort: "name", place: place{After: "id.name ~ with spaces "}}, {place: place{Last: true}},
		{Sort: "end", place: place{Before: "x.12"}}}
	for _, l := range all {
		require.Equal(t, l, readShort(l.short()))
		q, err := form.Parse(strings.TrimPrefix(string(l.lead("?")), "?"))
		require.NoError(t, err)
		v := &view{query: q}
		require.Equal(t, l, v.opened())
	}
	for _, text := range []string{"~", "~~", "zz", "q", "~q~k", "x~", "\xff", strings.Repeat("~.", 5000)} {
		l := readShort(text)
		require.Equal(t, l, readShort(l.short()), "%q", text)
	}
}

func TestTokensAsAFile(t *testing.T) {
	w := newFixture(t, nil)
	w.issue(latchkey.Spec{Kind: latchkey.KindAPIKey, Name: "=HYPERLINK(\"https://evil.test\")"})
	w.issue(latchkey.Spec{Kind: latchkey.KindPublishable, Name: "shop, \"new\""})
	hidden := w.issue(latchkey.Spec{Kind: latchkey.KindAPIKey, Name: "kept apart"})
	body := w.do("GET", "tokens.csv", "").Body.String()
	require.Contains(t, body, `,"'=HYPERLINK(""https://evil.test"")",`)
	require.Contains(t, body, `,"shop, ""new""",`)
	body = w.do("GET", "tokens.csv?kind=publishable", "").Body.String()
	require.Equal(t, 2, strings.Count(body, "\r\n"))
	w.who = must(w.acme.Assume(latchkey.Client{ID: "bob"}, latchkey.Permissions{
		latchkey.Allow(latchkey.Read).On("latchkey/token/*"),
		latchkey.Deny(latchkey.Read).On(latchkey.Pattern("latchkey/token/" + hidden.ID))}))
	require.NotContains(t, w.do("GET", "tokens.csv", "").Body.String(), "kept apart")
	require.NotContains(t, w.get(""), "kept apart")
	require.Contains(t, w.get(""), "2 tokens", "what may not be read is not counted")
	require.Contains(t, w.get("?q=kept"), "0 tokens")
}
