package console

import (
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/latchkey-go/latchkey"
)

// states returns the state of each token by name.
func (w *fixture) states() map[string]string {
	out := map[string]string{}
	for tok, err := range w.acme.Tokens(w.t.Context(), latchkey.TokenQuery{}) {
		require.NoError(w.t, err)
		out[tok.Name] = tok.State(w.now).String()
	}
	return out
}

// carryOut answers the question with the changes, and goes on until nothing is left. It returns the last page.
func (w *fixture) carryOut(form url.Values, changes map[string]string) string {
	w.t.Helper()
	rec := w.post("many", form)
	require.Equal(w.t, http.StatusOK, rec.Code, rec.Body)
	for i := 0; ; i++ {
		require.Less(w.t, i, 50)
		form = formOf(rec.Body.String())
		if i == 0 {
			for k, x := range changes {
				form.Set(k, x)
			}
		}
		if rec = w.post("many", form); rec.Code != http.StatusOK || !strings.Contains(rec.Body.String(), `name="behind"`) {
			return unhtml.Replace(rec.Body.String())
		}
	}
}

func (w *fixture) ids(names ...string) (out []string) {
	for tok := range w.acme.Tokens(w.t.Context(), latchkey.TokenQuery{}) {
		for _, name := range names {
			if tok.Name == name {
				out = append(out, tok.ID)
			}
		}
	}
	return out
}

// Selected rows, or everything that the list's filters find, and nothing else.
func TestManySelects(t *testing.T) {
	w := newFixture(t, nil)
	for _, name := range []string{"a one", "a two", "b"} {
		w.issue(latchkey.Spec{Kind: latchkey.KindAPIKey, Name: name})
	}
	w.issue(latchkey.Spec{Kind: latchkey.KindAPIKey, Name: "ada", Client: latchkey.Client{ID: "42"}})
	// Nothing is done before the question is answered, and it says how many are meant.
	rec := w.post("many", url.Values{"do": {"disable"}, "id": w.ids("a one", "b")})
	require.Contains(t, rec.Body.String(), "Disable 2 tokens?")
	require.NotContains(t, w.states(), "disabled")
	page := w.carryOut(url.Values{"do": {"disable"}, "id": w.ids("a one", "b")}, nil)
	require.Contains(t, textOf(page), "All 2 tokens. 2 changed.")
	require.Equal(t, map[string]string{"a one": "disabled", "a two": "active", "b": "disabled", "ada": "active"},
		w.states())
	w.carryOut(url.Values{"do": {"enable"}, "all": {"on"}, "q": {"A O"}}, nil)
	require.Equal(t, map[string]string{"a one": "active", "a two": "active", "b": "disabled", "ada": "active"}, w.states())
	w.carryOut(url.Values{"do": {"revoke"}, "all": {"on"}, "client": {"42"}}, map[string]string{"reason": "left"})
	require.Equal(t, "revoked", w.states()["ada"])
	require.Equal(t, "left", w.token(w.ids("ada")[0]).Reason)
	w.carryOut(url.Values{"do": {"revoke"}, "all": {"on"}, "state": {"disabled"}}, nil)
	require.Equal(t, map[string]string{"a one": "active", "a two": "active", "b": "revoked", "ada": "revoked"}, w.states())

	for name, form := range map[string]url.Values{
		"no row":                       {"do": {"revoke"}},
		"what is no id":                {"do": {"revoke"}, "id": {"x"}},
		"a pasted key":                 {"do": {"revoke"}, "all": {"on"}, "q": {"ghp_0123456789abcdefghijABCDEFGHIJ"}},
		"before a moment that is none": {"do": {"revoke"}, "made-before": {"yesterday"}},
	} {
		form.Set("go", "on")
		rec := w.post("many", form)
		require.Equal(t, http.StatusUnprocessableEntity, rec.Code, name)
		require.NotContains(t, rec.Body.String(), "ghp_0123", name)
	}
	require.Equal(t, http.StatusNotFound, w.post("many", url.Values{"do": {"delete"}}).Code)
	require.Equal(t, "active", w.states()["a one"])
}

// Ends and roles of many tokens. What cannot be changed so is named, with the reason.
func TestManyEdits(t *testing.T) {
	w := newFixture(t, nil)
	reader := w.role(latchkey.Role{Name: "reader",
		Permissions: latchkey.Permissions{latchkey.Allow(latchkey.Read).On("a")}})
	w.issue(latchkey.Spec{Kind: latchkey.KindAPIKey, Name: "key", Validity: latchkey.Validity{NotAfter: w.now.Add(day)}})
	w.issue(latchkey.Spec{Kind: latchkey.KindSecret, Name: "root"})
	all := func(do string) url.Values { return url.Values{"do": {do}, "all": {"on"}} }
	page := w.carryOut(all("extend"), map[string]string{"days": "30"})
	require.Contains(t, textOf(page), "All 2 tokens. 1 changed. 1 was so already.")
	require.True(t, w.token(w.ids("key")[0]).Validity.NotAfter.Equal(w.now.Add(30*day).Truncate(time.Second)))
	page = w.carryOut(all("addrole"), map[string]string{"with": reader.ID})
	require.Contains(t, page, "1 changed. 1 was refused.")
	require.Contains(t, page, ">root<")
	require.Equal(t, []string{reader.ID}, w.token(w.ids("key")[0]).Roles)
	w.carryOut(all("droprole"), map[string]string{"with": "reader"})
	require.Empty(t, w.token(w.ids("key")[0]).Roles)
	for name, c := range map[string]struct {
		do      string
		changes map[string]string
		wrong   string
	}{
		"no end":             {"extend", map[string]string{"days": ""}, "end-e"},
		"an end in the past": {"extend", map[string]string{"days": "date", "end": "2001-01-01T00:00"}, "end-e"},
		"no role":            {"addrole", map[string]string{"with": ""}, "with-e"},
	} {
		require.Contains(t, w.carryOut(all(c.do), c.changes), `id="`+c.wrong+`"`, name)
	}
	require.Contains(t, w.carryOut(all("addrole"), map[string]string{"with": "nobody"}), "Nothing was done.")
}

// A long change goes on from page to page, by any process, and a step that is sent twice does nothing the second time.
func TestManySteps(t *testing.T) {
	w := newFixture(t, nil)
	w.role(latchkey.Role{Name: "reader"})
	for i := range 450 {
		w.issue(latchkey.Spec{Kind: latchkey.KindAPIKey, Name: fmt.Sprint("k", i)})
	}
	form := formOf(w.post("many", url.Values{"do": {"addrole"}, "all": {"on"}}).Body.String())
	form.Set("with", "reader")
	other := w.another()
	var said []string
	for _, process := range []*fixture{w, other, w} {
		rec := process.post("many", form)
		require.Equal(t, http.StatusOK, rec.Code)
		again := process.post("many", form)
		require.Contains(t, again.Body.String(), "were so already")
		page := textOf(rec.Body.String())
		for _, words := range []string{"200 of 450 so far. 200 changed.", "400 of 450 so far. 400 changed.",
			"All 450 tokens. 450 changed."} {
			if strings.Contains(page, words) {
				said = append(said, words)
			}
		}
		form = formOf(rec.Body.String())
	}
	require.Len(t, said, 3)
	n, err := w.acme.CountTokens(t.Context(), latchkey.TokenQuery{Role: "reader"}, 1000)
	require.NoError(t, err)
	require.Equal(t, 450, n)
}

// A person who may change nothing sees no boxes, and cannot post.
func TestManyNeedsRights(t *testing.T) {
	w := newFixture(t, nil)
	w.issue(latchkey.Spec{Kind: latchkey.KindAPIKey, Name: "k"})
	require.Contains(t, w.get(""), `name="id"`)
	w.who = must(w.owner.Assume(latchkey.Client{ID: "eve"},
		latchkey.Permissions{latchkey.Allow(latchkey.Read).On("latchkey/*")}))
	require.NotContains(t, w.get(""), `name="id"`)
	page := w.carryOut(url.Values{"do": {"revoke"}, "all": {"on"}}, nil)
	require.Contains(t, page, "1 was refused.")
	require.Contains(t, page, "it takes rights that you do not have")
	require.Equal(t, "active", w.states()["k"])
}

// What a key minted is listed, by client, and ended together.
func TestWhatATokenMinted(t *testing.T) {
	w := newFixture(t, nil)
	for _, client := range []string{"Ada", "Grace"} {
		w.mint(latchkey.Settings{Name: "key " + client,
			Permissions: latchkey.Permissions{latchkey.Allow(latchkey.Read).On("a")}}, latchkey.Narrowing{Lifetime: time.Hour,
			Client: latchkey.Client{ID: client + "-id", Name: client}})
	}
	parent := w.ids("key Ada")[0]
	require.Contains(t, w.get("token/"+parent), `token/`+parent+`/minted`)
	page := w.get("token/" + parent + "/minted")
	require.Contains(t, page, "It minted 1 token.")
	require.Contains(t, page, "Ada")
	require.NotContains(t, page, "Grace")
	page = w.carryOut(url.Values{"do": {"revoke"}, "parent": {parent}}, nil)
	require.Contains(t, page, "1 changed.")
	require.Contains(t, w.get("token/"+parent+"/minted"), "Revoked")
	require.Contains(t, w.get("token/"+w.ids("key Grace")[0]+"/minted"), "Expiring")
}

// The whole account: everything that is older than a moment ends, and the account is switched off after a question.
func TestTheWholeAccount(t *testing.T) {
	w := newFixture(t, nil)
	w.issue(latchkey.Spec{Kind: latchkey.KindAPIKey, Name: "old"})
	w.now = w.now.Add(time.Hour)
	w.issue(latchkey.Spec{Kind: latchkey.KindAPIKey, Name: "new"})
	require.Contains(t, w.get("account"), `name="made-before"`)
	before := url.Values{"do": {"revoke"}, "made-before": {momentText(w.now.Add(-time.Minute))}}
	require.Contains(t, w.post("many", before).Body.String(), "Revoke 1 token?")
	w.carryOut(before, nil)
	require.Equal(t, map[string]string{"old": "revoked", "new": "active"}, w.states())
	require.Contains(t, w.get("account?ask=off"), "1 token works now.")
	require.Equal(t, http.StatusNotFound, w.post("account", url.Values{}).Code)
	rec := w.post("account", url.Values{"do": {"off"}})
	require.Equal(t, http.StatusOK, rec.Code, rec.Body)
	o, err := w.acme.Record(t.Context())
	require.NoError(t, err)
	require.True(t, o.Disabled)
}
