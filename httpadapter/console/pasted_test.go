package console

import (
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/latchkey-go/latchkey"
)

// People paste keys into the wrong field. Such a text stands in no URL and no page, whichever field it was.
func TestAKeyInAFilterStandsNowhere(t *testing.T) {
	w := newFixture(t, nil)
	client := "9F86d081884c7d659a2feaa0c55ad015"
	tok := w.issue(latchkey.Spec{Kind: latchkey.KindAPIKey, Name: "site", Client: latchkey.Client{ID: client}})
	secret, err := w.acme.Reveal(t.Context(), tok.ID)
	require.NoError(t, err)
	key, foreign := secret.Reveal(), "ghp_0123456789abcdefghijABCDEFGHIJ"
	for _, field := range []string{"role", "client", "origin"} {
		for _, pasted := range []string{key, foreign} {
			rec := w.post("", url.Values{field: {pasted}})
			require.Equal(t, http.StatusOK, rec.Code, field)
			require.Contains(t, rec.Body.String(), "No token here has that text now.", field)
			require.NotContains(t, rec.Body.String(), pasted, field)
		}
		rec := w.do("GET", "?"+field+"="+key, "")
		require.Equal(t, http.StatusSeeOther, rec.Code, field)
		require.Equal(t, "./", rec.Header().Get("Location"), field)
		require.Equal(t, "no-referrer", rec.Header().Get("Referrer-Policy"), field)
		require.NotContains(t, w.get("token/"+tok.ID+"?list="+field[:1]+key), key, field)
		rec = w.post("many", url.Values{"do": {"revoke"}, "all": {"on"}, field: {key}})
		require.Equal(t, http.StatusUnprocessableEntity, rec.Code, "a filter that is left out must not select everything")
		require.NotContains(t, rec.Body.String(), key, field)
	}
	require.Equal(t, "./?client="+client, w.post("", url.Values{"client": {client}}).Header().Get("Location"),
		"the id of a client here is no secret")

	for _, page := range []string{"audit", "token/" + tok.ID + "/history"} {
		require.Contains(t, w.get(page), `<form class="filter grid" method="post"`)
		rec := w.post(page, url.Values{"actor": {key}, "action": {"token."}})
		require.Equal(t, http.StatusSeeOther, rec.Code)
		require.Equal(t, "./"+page[strings.LastIndex(page, "/")+1:]+"?action=token.&actor="+tok.ID,
			rec.Header().Get("Location"))
		for _, pasted := range []string{foreign, key[:len(key)-1], "client:" + key} {
			rec = w.post(page, url.Values{"actor": {pasted}})
			require.Equal(t, http.StatusOK, rec.Code)
			require.NotContains(t, rec.Body.String(), pasted)
			require.Contains(t, rec.Body.String(), "No token here has that text now.")
			require.Contains(t, rec.Body.String(), "No entry matches.", "it selects nothing, not everything")
		}
		rec = w.do("GET", page+"?actor=client:"+key, "")
		require.NotContains(t, rec.Body.String(), key)
		require.Equal(t, "no-referrer", rec.Header().Get("Referrer-Policy"))
	}
	require.Equal(t, "./audit?object="+tok.ID, w.post("audit", url.Values{"object": {key}}).Header().Get("Location"))
	require.Equal(t, "./audit?actor=client%3Aada&from=2026-11-01",
		w.post("audit", url.Values{"actor": {"client:ada"}, "from": {"2026-11-01"}}).Header().Get("Location"))
	w.who = latchkey.Access{}
	for _, page := range []string{"", "roles", "leak", "audit", "token/" + tok.ID + "/history"} {
		rec := w.post(page, url.Values{"q": {key}, "actor": {key}})
		require.Equal(t, http.StatusUnauthorized, rec.Code)
		require.NotContains(t, rec.Body.String(), key, "what a search field held is not kept")
	}
}

// A key that is not known costs one listing, however many tokens there are.
func TestAnUnknownKeyIsFoundMissingAtOnce(t *testing.T) {
	w := newFixture(t, nil)
	w.stock(2000)
	for _, prefix := range []string{"ak_", "pk_"} {
		w.reads.tokens = 0
		rec := w.post("", url.Values{"q": {prefix + strings.Repeat("A1b2C3d4", 5)}})
		require.Contains(t, rec.Body.String(), "No token here has that text now.")
		require.LessOrEqual(t, w.reads.tokens, 1, prefix)
	}
}

// What was confirmed is what is done: tokens made since are left alone, and another number is asked about again.
func TestManyDoesWhatWasConfirmed(t *testing.T) {
	w := newFixture(t, nil)
	w.issue(latchkey.Spec{Kind: latchkey.KindAPIKey, Name: "a"})
	w.issue(latchkey.Spec{Kind: latchkey.KindAPIKey, Name: "b"})
	form := formOf(w.post("many", url.Values{"do": {"revoke"}, "all": {"on"}}).Body.String())
	w.now = w.now.Add(time.Second)
	w.issue(latchkey.Spec{Kind: latchkey.KindAPIKey, Name: "made since"})
	require.Equal(t, http.StatusOK, w.post("many", form).Code)
	require.Equal(t, map[string]string{"a": "revoked", "b": "revoked", "made since": "active"}, w.states())

	// A filter finds more than it did.
	form = formOf(w.post("many", url.Values{"do": {"revoke"}, "all": {"on"}, "state": {"disabled"}}).Body.String())
	require.Equal(t, "0", form.Get("total"))
	_, err := w.acme.Update(t.Context(), w.ids("made since")[0],
		func(t *latchkey.Token) error { t.Disabled = true; return nil })
	require.NoError(t, err)
	rec := w.post("many", form)
	require.Equal(t, http.StatusConflict, rec.Code)
	require.Contains(t, rec.Body.String(), "Revoke 1 token?")
	require.Equal(t, "disabled", w.states()["made since"])
	require.Equal(t, http.StatusOK, w.post("many", formOf(rec.Body.String())).Code)
	require.Equal(t, "revoked", w.states()["made since"])

	// What a token minted, too.
	parent, _, secret := w.mint(latchkey.Settings{Name: "parent"}, latchkey.Narrowing{Name: "child", Lifetime: time.Hour})
	_ = secret
	form = formOf(w.post("many", url.Values{"do": {"revoke"}, "parent": {parent.ID}}).Body.String())
	w.now = w.now.Add(time.Second)
	text, err := w.acme.Reveal(t.Context(), parent.ID)
	require.NoError(t, err)
	access, err := w.keys.Verify(t.Context(), latchkey.Presented{Secret: text.Reveal()})
	require.NoError(t, err)
	_, _, err = access.Mint(t.Context(), latchkey.Narrowing{Name: "younger", Lifetime: time.Hour})
	require.NoError(t, err)
	require.Equal(t, http.StatusOK, w.post("many", form).Code)
	require.Equal(t, "revoked", w.states()["child"])
	require.Equal(t, "active", w.states()["younger"])
}

// A page of minted tokens, and one of revoked tokens, keeps within its size with the longest names there are.
func TestLongNamesOfManyRows(t *testing.T) {
	w := newFixture(t, nil)
	quotes := strings.Repeat(`'`, 250)
	parent, _, _ := w.mint(latchkey.Settings{Name: quotes}, latchkey.Narrowing{Lifetime: time.Hour})
	text, err := w.acme.Reveal(t.Context(), parent.ID)
	require.NoError(t, err)
	access, err := w.keys.Verify(t.Context(), latchkey.Presented{Secret: text.Reveal()})
	require.NoError(t, err)
	for i := range pageSize + 1 {
		child, _, err := access.Mint(t.Context(), latchkey.Narrowing{Lifetime: time.Hour, Name: quotes,
			Client: latchkey.Client{ID: quotes[:200] + string(rune('a'+i)), Name: quotes}})
		require.NoError(t, err)
		require.NoError(t, w.acme.Revoke(t.Context(), child.ID, quotes))
	}
	w.get("token/" + parent.ID + "/minted") // get checks the size
	w.get("?kind=access")
	w.get("?kind=access&client=" + url.QueryEscape(quotes[:200]+"a"))
}

// Rows and text of a condition that were both changed are refused: leaving out either would allow more than was meant.
func TestRowsAndTextOfACondition(t *testing.T) {
	w := newFixture(t, nil)
	for name, c := range map[string]struct{ stored, value, where, saved string }{
		"both, differently":            {"", "EU", "amount < 1000", "refused"},
		"both, the same":               {"", "EU", `region = "EU"`, `region = "EU"`},
		"the text alone":               {"", "", "amount < 1000", "amount < 1000"},
		"the text of a stored one":     {`region = "EU"`, "EU", "amount < 1000", "amount < 1000"},
		"the text of it, taken out":    {`region = "EU"`, "EU", "", ""},
		"the row of it":                {`region = "EU"`, "US", `region = "EU"`, `region = "US"`},
		"the row of it, and the text":  {`region = "EU"`, "US", "amount < 1000", "refused"},
		"the row, and the text is out": {`region = "EU"`, "US", "", "refused"},
	} {
		rule := latchkey.Allow(latchkey.Read).On("a")
		if c.stored != "" {
			rule = rule.Where(must(latchkey.ParseCondition(c.stored)))
		}
		r := w.role(latchkey.Role{Name: name, Permissions: latchkey.Permissions{rule}})
		form := w.form("role/" + r.ID)
		form.Set("do", "save")
		form.Set("rule[0][where]", c.where)
		if c.value != "" {
			form.Set("rule[0][field]", "region")
			form.Set("rule[0][op]", "=")
			form.Set("rule[0][value]", c.value)
		}
		rec := w.post("role/"+r.ID, form)
		now := must(w.acme.Role(t.Context(), r.ID))
		if c.saved == "refused" {
			require.Equal(t, http.StatusUnprocessableEntity, rec.Code, name)
			require.Contains(t, rec.Body.String(), "were both changed", name)
			require.Equal(t, r.Permissions, now.Permissions, name)
			continue
		}
		require.Equal(t, http.StatusSeeOther, rec.Code, "%s: %s", name, rec.Body)
		want := strings.TrimSuffix("allow read on a where "+c.saved, " where ")
		require.Equal(t, want, now.Permissions[0].String(), name)
	}
}
