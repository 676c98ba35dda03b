package console

import (
	"net/http"
	"net/url"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/latchkey-go/latchkey"
)

func TestTextStaysText(t *testing.T) {
	w := newFixture(t, nil)
	hostile := `"><script>alert(1)</script><img src=x onerror=alert(1)>{{.}}` + "\u202e‘"
	role := w.role(latchkey.Role{Name: hostile})
	id := w.issue(latchkey.Spec{Kind: latchkey.KindAPIKey, Name: hostile, Roles: []string{role.ID}}).ID
	for _, path := range []string{"", "?q=" + url.QueryEscape(hostile), "token/" + id, "token/" + id + "/revoke",
		"token/" + id + "/access",
		"token/" + id + "/access?action=read&resource=" + url.QueryEscape(hostile), "roles", "role/" + role.ID,
		"role/" + role.ID + "/access"} {
		page := w.get(path)
		require.NotContains(t, page, "<script>alert", path)
		require.NotContains(t, page, "<img src=x", path)
	}
	require.Equal(t, hostile, w.form("token/"+id).Get("name"))
}

func TestWhatWasTypedCanBeSentAgain(t *testing.T) {
	w := newFixture(t, nil)
	id := w.issue(latchkey.Spec{Kind: latchkey.KindAPIKey, Name: "k"}).ID
	form := w.form("token/" + id)
	form.Set("name", `typed "<&`)
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

	// What may be a secret, and what another site's page sent, is not repeated.
	w.who = latchkey.Access{}
	require.NotContains(t, w.post("", url.Values{"q": {"some-key-0123456789"}}).Body.String(), "some-key")
	require.NotContains(t, w.do("POST", "token/"+id, "name=theirs", "Content-Type", "application/x-www-form-urlencoded",
		"Sec-Fetch-Site", "cross-site").Body.String(), "theirs")
	require.NotContains(t, w.do("POST", "token/"+id, "name=theirs", "Content-Type",
		"application/x-www-form-urlencoded").Body.String(), "theirs")
	// What is too large for a page is not repeated either, and is not read to its end.
	require.Equal(t, http.StatusUnauthorized, w.post("role", url.Values{"name": {strings.Repeat("x", 60_000)}}).Code)
	require.Equal(t, http.StatusUnauthorized, w.post("role", url.Values{"name": {strings.Repeat("x", 1<<20)}}).Code)

	// A person who may read but not change gets the form as it was typed.
	w.who = must(w.acme.Assume(latchkey.Client{ID: "bob"},
		latchkey.Permissions{latchkey.Allow(latchkey.Read).On("latchkey/*"),
			latchkey.Allow(latchkey.Update, latchkey.Create, latchkey.Delete).On("latchkey/*")}))
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
		require.Contains(t, rec.Body.String(), "it takes rights that you do not have", path)
		require.Equal(t, "typed.example", formOf(rec.Body.String()).Get(field), path)
		require.Contains(t, rec.Body.String(), "data-dirty", path)
	}
}
