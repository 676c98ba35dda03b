package console

import (
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/latchkey-go/latchkey"
)

func invoices() *latchkey.Catalogue {
	return &latchkey.Catalogue{
		Resources: []latchkey.ResourceType{
			{Template: "invoice/{ID}", Name: "invoice", Actions: []latchkey.Action{latchkey.Read, "approve"},
				Schema: latchkey.NewSchema(latchkey.Fields{"region": {Column: "region", Type: latchkey.Text}})},
			{Template: "plan/{team}/{1}", Actions: []latchkey.Action{latchkey.Read}},
			{Template: "file/{path...}", Name: "file", Actions: []latchkey.Action{latchkey.Read}},
			{Template: "report", Name: "report", Actions: []latchkey.Action{"export"}},
			{Template: "report/old", Name: "report", Actions: []latchkey.Action{"export"}}, // the same name
		},
		Actions: map[latchkey.Action]string{"approve": "approve & pay"},
	}
}

// declaring makes the console one of a host that declares a catalogue.
func declaring(w *fixture, c *latchkey.Catalogue) {
	keys := latchkey.New(&w.reads, &latchkey.Options{Clock: func() time.Time { return w.now }, Catalogue: c})
	w.owner = keys.For("acme")
	w.who = must(w.owner.Assume(latchkey.Client{ID: "ada", Name: "Ada"}, everything))
	w.acme = w.owner
}

// A declared catalogue gives the pages their choices and their words.
func TestDeclaredCatalogue(t *testing.T) {
	w := newFixture(t, &Options{})
	declaring(w, invoices())
	token := w.issue(latchkey.Spec{Kind: latchkey.KindAPIKey, Name: "k"})
	page := w.get("token/" + token.ID)
	for _, choice := range []string{"invoice: read", "invoice: approve &amp; pay", "plan/{team}/{1}: read", "file: read",
		"report: export", "report/old: export", "Permissions by name", `placeholder="id or team/name or path"`} {
		require.Contains(t, page, choice)
	}
	require.NotContains(t, page, "Core Data Access", "no host of a catalogue has what another product has")
	form := w.form("token/" + token.ID)
	form.Set("add", "a7")
	form["addright"] = []string{"0", "1"}
	form["right"] = []string{"4"}
	rec := w.post("token/"+token.ID, form)
	require.Equal(t, http.StatusSeeOther, rec.Code, rec.Body)
	require.Equal(t, []string{"allow export on report", "allow read, approve on invoice/a7"},
		ruleTexts(w.token(token.ID).Permissions), "the name stays as it was typed")
	page = w.get("token/" + token.ID)
	require.Contains(t, page, "a7 – invoice: approve &amp; pay")

	access := w.get("token/" + token.ID + "/access?action=approve&resource=invoice/a7")
	for _, word := range []string{`<option value="approve">approve &amp; pay</option>`,
		`<option value="invoice/{ID}">invoice</option>`, `placeholder="invoice/{ID}"`,
		"<bdi>approve &amp; pay</bdi> on <bdi>invoice/a7</bdi>", "invoice a7", "every row"} {
		require.Contains(t, access, word)
	}
	access = w.get("token/" + token.ID + "/access?action=aprove&resource=invoice/a7")
	require.Contains(t, access,
		"The catalogue has no such action on &#34;invoice/{ID}&#34;: there are &#34;approve&#34;, &#34;read&#34;.")
	access = w.get("token/" + token.ID + "/access?action=read&resource=invoices/a7")
	require.Contains(t, access, "The catalogue has no such resource.")

	require.Contains(t, w.get("role"), "invoice/{ID}: read, approve")

	// What cannot be meant is not saved, and the page says why.
	form = w.form("role")
	form.Set("name", "clerk")
	form.Set("rule[0][verb]", "allow")
	form.Set("rule[0][actions]", "aprove")
	form.Set("rule[0][on]", "invoice/*")
	form.Set("do", "save")
	rec = w.post("role", form)
	require.Equal(t, http.StatusUnprocessableEntity, rec.Code, rec.Body)
	require.Contains(t, rec.Body.String(), "The catalogue has no action &#34;aprove&#34;")
	require.Empty(t, w.errs)
}

// The console's own list of rights comes first. Without any, the form of a token offers none, and keeps what it has.
func TestDeclaredCatalogueAndOwnRights(t *testing.T) {
	w := newFixture(t, &Options{Catalogue: []Right{{Label: "Everything", Action: latchkey.Read, Pattern: "*"}}})
	declaring(w, invoices())
	page := w.get("token/" + w.issue(latchkey.Spec{Kind: latchkey.KindAPIKey, Name: "k"}).ID)
	require.Contains(t, page, "Everything")
	require.NotContains(t, page, "invoice: read")

	plain := newFixture(t, &Options{})
	rules := latchkey.Permissions{latchkey.Allow(latchkey.Read).On("core/*")}
	id := plain.issue(latchkey.Spec{Kind: latchkey.KindAPIKey, Name: "k", Permissions: rules}).ID
	page = plain.get("token/" + id)
	for _, no := range []string{"Data Access", "ataset", "Permissions by name", `name="right"`, `name="add"`} {
		require.NotContains(t, page, no)
	}
	require.Contains(t, page, "allow read on core/*", "shown as a rule")
	require.Equal(t, http.StatusSeeOther, plain.post("token/"+id, plain.form("token/"+id)).Code)
	require.Equal(t, rules, plain.token(id).Permissions)
}

// However much a host declares, the pages stay small.
func TestDeclaredCatalogueIsBounded(t *testing.T) {
	c := invoices()
	for i := range 500 {
		c.Resources = append(c.Resources, latchkey.ResourceType{Template: fmt.Sprintf("thing%d/{id}", i),
			Actions: []latchkey.Action{latchkey.Read, latchkey.Action(fmt.Sprint("act", i))}})
	}
	require.Len(t, newCatalogue(rightsOf(c)), maxDeclared)
	w := newFixture(t, &Options{})
	declaring(w, c)
	token := w.issue(latchkey.Spec{Kind: latchkey.KindAPIKey, Name: "k"})
	w.get("token/" + token.ID)
	page := w.get("token/" + token.ID + "/access")
	require.LessOrEqual(t, strings.Count(page, "<option"), 2*maxDeclared)
}
