package console

import (
	"fmt"
	"math/rand/v2"
	"net/http"
	"net/url"
	"os"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/latchkey-go/latchkey"
)

// ruleWith returns the form of a role with one rule.
func ruleWith(fields map[string]string, rows ...[3]string) url.Values {
	form := url.Values{"name": {"r"}, "do": {"save"}, "form": {newFormID()}, "rule[0][verb]": {"allow"},
		"rule[0][act]": {"read"}, "rule[0][on]": {"dataset/orders"}}
	for name, value := range fields {
		form.Set("rule[0]["+name+"]", value)
	}
	for _, r := range rows {
		form.Add("rule[0][field]", r[0])
		form.Add("rule[0][op]", r[1])
		form.Add("rule[0][value]", r[2])
	}
	return form
}

// What people write in the fields of a rule, and the rule that it makes.
func TestRulesThatPeopleWrite(t *testing.T) {
	for name, c := range map[string]struct {
		form url.Values
		want string
	}{
		"a row": {ruleWith(nil, [3]string{"region", "=", "EU"}), `allow read on dataset/orders where region = "EU"`},
		"rows that all hold": {ruleWith(map[string]string{"join": "all"}, [3]string{"region", "=", "EU"},
			[3]string{"amount", "<", "1000"}, [3]string{"", "=", ""}),
			`allow read on dataset/orders where region = "EU" and amount < 1000`},
		"rows of which any holds": {ruleWith(map[string]string{"join": "any"}, [3]string{"region", "=", `"EU"`},
			[3]string{"owner", "=", "self"}), `allow read on dataset/orders where region = "EU" or owner = self`},
		"a list": {ruleWith(nil, [3]string{"region", "in", "EU, CH , 7"}),
			`allow read on dataset/orders where region in ["EU", "CH", 7]`},
		"roles of the caller": {ruleWith(nil, [3]string{"role", "in", "self_roles"}),
			`allow read on dataset/orders where role in self_roles`},
		"null": {ruleWith(nil, [3]string{"note", "is not null", ""}), `allow read on dataset/orders where note is not null`},
		"a number that text is searched for": {ruleWith(nil, [3]string{"note", "contains", "42"}),
			`allow read on dataset/orders where note contains "42"`},
		"a day, and a field with a space": {ruleWith(nil, [3]string{"due day", "<", "2026-12-01"}),
			`allow read on dataset/orders where "due day" < "2026-12-01"`},
		"the text of the pages": {ruleWith(map[string]string{"where": `region = "EU" and (a = 1 or not b is null)`}),
			`allow read on dataset/orders where region = "EU" and (a = 1 or not b is null)`},
		"a text instead of the rows": {ruleWith(map[string]string{"where": `a = 2`, "was": `a = 1`},
			[3]string{"a", "=", "1"}), `allow read on dataset/orders where a = 2`},
		"a row beside a text that is no list of rows": {ruleWith(map[string]string{"where": `not (a = 1 and b = 2)`,
			"was": `not (a = 1 and b = 2)`}, [3]string{"c", "=", "3"}),
			`allow read on dataset/orders where not (a = 1 and b = 2) and c = 3`},
		"JSON": {ruleWith(map[string]string{"where": `{"field":"a","op":"=","value":1}`, "force": `{"a":1}`}),
			`allow read on dataset/orders where a = 1 force a = 1`},
		"forced values as text": {ruleWith(map[string]string{"verb": "grant", "force": `region = "EU", n = null`}),
			`grant read on dataset/orders force n = null, region = "EU"`},
		"boxes, other actions and a picked kind": {ruleWith(map[string]string{"actions": "approve, export",
			"pick": "invoice/*"}), `allow read, approve, export on dataset/orders, invoice/*`},
		"any action": {ruleWith(map[string]string{"act": "*", "on": "*"}), `allow any action on *`},
	} {
		w := newFixture(t, nil)
		rec := w.post("role", c.form)
		require.Equal(t, http.StatusSeeOther, rec.Code, "%s: %s", name, textOf(rec.Body.String()))
		for r := range w.acme.Roles(t.Context(), latchkey.RoleQuery{}) {
			require.Equal(t, []string{c.want}, ruleTexts(r.Permissions), name)
			// The form of what is stored, sent unchanged, changes nothing.
			form := w.form("role/" + r.ID)
			form.Set("do", "save")
			require.Equal(t, http.StatusSeeOther, w.post("role/"+r.ID, form).Code, name)
			again, err := w.acme.Role(t.Context(), r.ID)
			require.NoError(t, err)
			require.Equal(t, []string{c.want}, ruleTexts(again.Permissions), name)
		}
	}
}

func TestRulesThatPeopleWriteWrongly(t *testing.T) {
	w := newFixture(t, nil)
	for name, c := range map[string]struct {
		form url.Values
		want string
	}{
		"a text that is malformed": {ruleWith(map[string]string{"where": `region = 'EU'`}), `write a text in double quotes`},
		"and beside or":            {ruleWith(map[string]string{"where": `a = 1 and b = 2 or c = 3`}), `put parentheses`},
		"an operator of none":      {ruleWith(nil, [3]string{"a", "like", "1"}), "Choose an operator."},
		"no value":                 {ruleWith(nil, [3]string{"a", "starts-with", ""}), "empty text would admit"},
		"no field":                 {ruleWith(nil, [3]string{"", "=", "1"}), "the field has no name"},
	} {
		rec := w.post("role", c.form)
		require.Equal(t, http.StatusUnprocessableEntity, rec.Code, name)
		require.Contains(t, unhtml.Replace(rec.Body.String()), c.want, name)
		require.Equal(t, "r", formOf(rec.Body.String()).Get("name"), "what was typed stays")
	}
}

// Each rule that can be stored stands in the form as rows, as text or as it is, and is saved as the same.
func TestRuleFormsRoundTrip(t *testing.T) {
	seed := uint64(1)
	if os.Getenv("SEEDS") != "fixed" { // as the run of mutants sets it, so that none is killed by chance
		seed = rand.Uint64()
	}
	t.Logf("seed %d", seed)
	r := rand.New(rand.NewPCG(seed, 0))
	v := &view{console: &console{}}
	values := []any{"EU", "self", "true", "1000", "a,b", `q"q`, " x ", "", 7, true, latchkey.Self, latchkey.Attr("team")}
	leaf := func() latchkey.Condition {
		field := []string{"region", "not", "a b", "in", `"`}[r.IntN(5)]
		switch r.IntN(4) {
		case 0:
			return latchkey.Where(field, latchkey.IsNull, r.IntN(2) == 0)
		case 1:
			return latchkey.Where(field, latchkey.In, []any{values[r.IntN(10)], values[r.IntN(10)]})
		}
		return latchkey.Where(field, []latchkey.Op{latchkey.Eq, latchkey.Ne, latchkey.Lt}[r.IntN(3)],
			values[r.IntN(len(values))])
	}
	rows := 0
	for range 3000 {
		parts := make([]latchkey.Condition, 1+r.IntN(4))
		for i := range parts {
			if parts[i] = leaf(); r.IntN(6) == 0 {
				parts[i] = latchkey.Not(parts[i])
			}
		}
		c := latchkey.All(parts...)
		if r.IntN(2) == 0 {
			c = latchkey.AnyOf(parts...)
		}
		rule := latchkey.Allow(latchkey.Update, "approve", latchkey.Read).On("a", "b/*").Where(c)
		e := v.editableForm(rule)
		require.True(t, e.roundTrips(v, rule), "%s\n%+v", rule, e)
		if len(e.Rows) > 0 {
			rows++
		}
	}
	require.Greater(t, rows, 1000, "most are drawn as rows")
}

// What the host has not declared is warned about, wherever the rule came from.
func TestRulesAreWarnedAbout(t *testing.T) {
	c := invoices()
	c.Resources[0].Schema = latchkey.NewSchema(latchkey.Fields{"region": {Column: "region", Type: latchkey.Text}})
	w := newFixture(t, nil)
	w.role(latchkey.Role{Name: "old", Permissions: latchkey.Permissions{
		latchkey.Allow("aprove").On("invoice/*"),
		latchkey.Allow(latchkey.Read).On("invoice/*").Where(latchkey.Where("regoin", latchkey.Eq, "EU"))}})
	declaring(w, c)
	for r := range w.acme.Roles(t.Context(), latchkey.RoleQuery{}) {
		page := unhtml.Replace(w.get("role/" + r.ID))
		require.Contains(t, page, `The catalogue has no action "aprove"`)
		require.Contains(t, page, `regoin`)
		require.Contains(t, page, `<option value="region">`, "fields are suggested")
		require.Contains(t, page, `<option value="invoice/*">invoice</option>`, "kinds are suggested")
		require.Contains(t, page, `approve & pay`, "actions have boxes")
	}
	// "1000" in a field that holds texts is a text.
	form := ruleWith(map[string]string{"on": "invoice/*"}, [3]string{"region", "=", "1000"})
	require.Equal(t, http.StatusSeeOther, w.post("role", form).Code)
	found := false
	for r := range w.acme.Roles(t.Context(), latchkey.RoleQuery{Names: []string{"r"}}) {
		found = true
		require.Equal(t, []string{`allow read on invoice/* where region = "1000"`}, ruleTexts(r.Permissions))
	}
	require.True(t, found)
}

// Before a role in use is saved, its page says what changes, and for which tokens. Nothing is saved by that.
func TestWhatAChangeOfARoleChanges(t *testing.T) {
	w := newFixture(t, nil)
	role := w.role(latchkey.Role{Name: "reader", Permissions: latchkey.Permissions{
		latchkey.Allow(latchkey.Read).On("dataset/orders")}})
	heir := w.role(latchkey.Role{Name: "heir", Inherits: []string{role.ID}})
	w.issue(latchkey.Spec{Kind: latchkey.KindAPIKey, Name: "holder", Roles: []string{role.ID}})
	w.issue(latchkey.Spec{Kind: latchkey.KindAPIKey, Name: "by the heir", Roles: []string{heir.ID}})
	w.issue(latchkey.Spec{Kind: latchkey.KindAPIKey, Name: "spared", Roles: []string{role.ID},
		Permissions: latchkey.Permissions{
			latchkey.Allow(latchkey.Read).On("dataset/*"), latchkey.Deny(latchkey.Update).On("*")}})
	form := w.form("role/" + role.ID)
	require.Contains(t, w.get("role/"+role.ID), "See what changes")
	form.Add("rule[0][act]", "update")
	form["rule[0][field]"], form["rule[0][op]"], form["rule[0][value]"] = []string{"region"}, []string{"="}, []string{"EU"}
	form.Set("do", "review")
	rec := w.post("role/"+role.ID, form)
	require.Equal(t, http.StatusOK, rec.Code, "%v", w.errs)
	page := textOf(rec.Body.String())
	for _, words := range []string{"Nothing is saved yet.", "2 tokens have the role.", "Inherited by heir.",
		"holder: read dataset/orders every row → some rows region = \"EU\"; update dataset/orders no → some rows",
		"by the heir: read dataset/orders every row → some rows", "spared: nothing changes"} {
		require.Contains(t, page, words)
	}
	stored, err := w.acme.Role(t.Context(), role.ID)
	require.NoError(t, err)
	require.Equal(t, role.Permissions, stored.Permissions)
	again := formOf(rec.Body.String())
	again.Set("do", "save")
	require.Equal(t, http.StatusSeeOther, w.post("role/"+role.ID, again).Code)
	stored, err = w.acme.Role(t.Context(), role.ID)
	require.NoError(t, err)
	require.Equal(t, []string{`allow read, update on dataset/orders where region = "EU"`}, ruleTexts(stored.Permissions))

	form.Set("do", "review") // of the version before
	require.Equal(t, http.StatusConflict, w.post("role/"+role.ID, form).Code)
	form = w.form("role/" + role.ID)
	form.Set("rule[0][where]", "a =")
	form.Set("do", "review")
	require.Equal(t, http.StatusUnprocessableEntity, w.post("role/"+role.ID, form).Code)
}

// The page of what a token may do shows the whole chain, by name.
func TestTheWholeChain(t *testing.T) {
	w := newFixture(t, nil)
	base := w.role(latchkey.Role{Name: "base", Permissions: latchkey.Permissions{latchkey.Allow(latchkey.Read).On("a")}})
	top := w.role(latchkey.Role{Name: "top", Inherits: []string{base.ID}})
	require.NoError(t, w.acme.Configure(t.Context(), func(o *latchkey.Owner) error {
		o.Boundary = latchkey.Permissions{latchkey.Allow(latchkey.Any).On("a", "latchkey/*")}
		return nil
	}))
	parent, child, _ := w.mint(latchkey.Settings{Name: "the key", Roles: []string{top.ID},
		Permissions: latchkey.Permissions{
			latchkey.Allow(latchkey.Read).On("b")}}, latchkey.Narrowing{Lifetime: 24 * 30 * 3600e9,
		Client: latchkey.Client{ID: "42", Name: "Ada Lovelace"}, Rows: []latchkey.Condition{latchkey.Where("region",
			latchkey.Eq, "EU")}})
	body := w.get("token/" + child.ID + "/access?action=update&resource=a")
	page := textOf(body)
	require.Contains(t, page, `The token itself for the client Ada Lovelace: may do all that the next may do`)
	require.Contains(t, page, `the key: top, base (inherited); 1 rule of its own`)
	require.Contains(t, page, "The account: its boundary, 1 rule")
	require.Contains(t, body, `href="../../role/`+base.ID+`"`)
	require.Contains(t, body, `href="../../token/`+parent.ID+`"`)
	require.Contains(t, page, "“the key”", "who decided is named")
	require.NotContains(t, page, "Decided by "+parent.ID)
	require.NotContains(t, page, "\ufffd")
	require.Regexp(t, `Answers 1 to \d+ of \d+\.`, page)
	require.Contains(t, textOf(w.get("role/"+top.ID+"/access")), "The role itself: base; no rules of its own")
	form := w.get("token/" + child.ID)
	require.Contains(t, form, `client=42`)
	require.Contains(t, textOf(form), "Ada Lovelace")
	require.NotContains(t, form, `name="right"`, "it has all its parent's rights, and none to be switched")
	require.Equal(t, fmt.Sprint(true), fmt.Sprint(child.Full))
}
