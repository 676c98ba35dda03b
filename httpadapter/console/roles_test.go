package console

import (
	"fmt"
	"net/http"
	"net/url"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/latchkey-go/latchkey"
)

func TestRoles(t *testing.T) {
	w := newFixture(t, nil)
	ctx := t.Context()
	form := w.form("role")
	form.Set("name", "reader")
	form.Set("rule[0][verb]", "allow")
	form.Set("rule[0][actions]", "read, list")
	form.Set("rule[0][on]", "dataset/*\r\nfile/a, b")
	form.Set("rule[0][where]", `{"field":"region","op":"=","value":"EU"}`)
	rec := w.post("role", form)
	require.Equal(t, http.StatusSeeOther, rec.Code, rec.Body)
	var role latchkey.Role
	for r, err := range w.acme.Roles(ctx, latchkey.RoleQuery{}) {
		require.NoError(t, err)
		role = r
	}
	require.Equal(t, []string{`allow read, list on dataset/*, "file/a, b" where region = "EU"`},
		ruleTexts(role.Permissions))
	require.Contains(t, w.get("roles"), `allow read, list on dataset/*`)

	// An unchanged form changes no rule.
	require.Equal(t, http.StatusSeeOther, w.post("role/"+role.ID, w.form("role/"+role.ID)).Code)
	same, err := w.acme.Role(ctx, role.ID)
	require.NoError(t, err)
	require.Equal(t, ruleTexts(role.Permissions), ruleTexts(same.Permissions))

	// Rules are added, moved and removed by buttons, and saved only at the end.
	form = w.form("role/" + role.ID)
	form.Set("do", "add")
	form = formOf(w.post("role/"+role.ID, form).Body.String())
	form.Set("rule[1][verb]", "deny")
	form.Set("rule[1][actions]", "*")
	form.Set("rule[1][on]", "dataset/secret")
	form.Set("do", "up-1")
	rec = w.post("role/"+role.ID, form)
	require.Equal(t, http.StatusOK, rec.Code)
	form = formOf(rec.Body.String())
	require.Equal(t, "dataset/secret", form.Get("rule[0][on]"))
	form.Set("rule[0][verb]", "deny")
	stale := url.Values{}
	for k, v := range form {
		stale[k] = v
	}
	require.Equal(t, http.StatusSeeOther, w.post("role/"+role.ID, form).Code)
	role, err = w.acme.Role(ctx, role.ID)
	require.NoError(t, err)
	require.Equal(t, "deny any action on dataset/secret", ruleTexts(role.Permissions)[0])

	// A boundary is shown in words, and kept.
	require.NotContains(t, w.get("role/"+role.ID), "Boundary")
	for want, boundary := range map[string]latchkey.Permissions{
		"It allows nothing":         {},
		"allow read on dataset/a/*": {latchkey.Allow(latchkey.Read).On("dataset/a/*")},
	} {
		_, err = w.acme.UpdateRole(ctx, role.ID, func(r *latchkey.Role) error { r.Boundary = boundary; return nil })
		require.NoError(t, err)
		require.Contains(t, w.get("role/"+role.ID), want)
		require.Equal(t, http.StatusSeeOther, w.post("role/"+role.ID, w.form("role/"+role.ID)).Code)
		role, err = w.acme.Role(ctx, role.ID)
		require.NoError(t, err)
		require.Equal(t, ruleTexts(boundary), ruleTexts(role.Boundary))
		require.NotNil(t, role.Boundary)
	}

	stale.Set("name", "theirs")
	rec = w.post("role/"+role.ID, stale)
	require.Equal(t, http.StatusConflict, rec.Code, "the second saver is told")
	require.Equal(t, "theirs", formOf(rec.Body.String()).Get("name"), "and nothing is lost")

	for field, value := range map[string]string{"rule[0][actions]": "READ", "rule[0][on]": "", "rule[0][where]": "{",
		"rule[0][force]": "[]",
		"rule[0][verb]":  "perhaps"} {
		form := w.form("role/" + role.ID)
		form.Set(field, value)
		rec := w.post("role/"+role.ID, form)
		require.Equal(t, http.StatusUnprocessableEntity, rec.Code, field)
		require.Contains(t, rec.Body.String(), `class="wrong"`, field)
	}
	form = w.form("role")
	form.Set("name", "reader")
	rec = w.post("role", form)
	require.Equal(t, http.StatusUnprocessableEntity, rec.Code)
	require.Contains(t, rec.Body.String(), "Another role has this name")

	id := w.issue(latchkey.Spec{Kind: latchkey.KindAPIKey, Roles: []string{role.ID}}).ID
	rec = w.post("role/"+role.ID+"/delete", nil)
	require.Equal(t, http.StatusConflict, rec.Code)
	require.Contains(t, rec.Body.String(), "Remove it from them first")
	require.NoError(t, w.acme.Delete(ctx, id))
	require.Equal(t, http.StatusSeeOther, w.post("role/"+role.ID+"/delete", nil).Code)
	require.Equal(t, http.StatusNotFound, w.do("GET", "role/"+role.ID, "").Code)
}

func TestRolesSayWhoHasThem(t *testing.T) {
	w := newFixture(t, nil)
	base := w.role(latchkey.Role{Name: "base"})
	for i := range 14 {
		w.role(latchkey.Role{Name: fmt.Sprint("heir ", i), Inherits: []string{base.ID}})
	}
	w.issue(latchkey.Spec{Kind: latchkey.KindAPIKey, Name: "holder",
		Roles: []string{base.ID}})
	for _, path := range []string{"role/" + base.ID, "role/" + base.ID + "/delete"} {
		page := w.get(path)
		require.Contains(t, page, "<bdi>heir 0</bdi>", path)
		require.Contains(t, page, "<bdi>heir 11</bdi></a> and others.", path)
		require.Contains(t, page, "<bdi>holder</bdi></a>.", path)
	}
}

func TestRolesWithManyRules(t *testing.T) {
	if testing.Short() {
		t.Skip("nothing runs beside it: the run without the race detector is enough")
	}
	w := newFixture(t, nil)
	ctx := t.Context()
	want := latchkey.Permissions{}
	for i := range 500 {
		want = append(want, latchkey.Allow(latchkey.Read,
			latchkey.Update).On(latchkey.Pattern(fmt.Sprintf("dataset/ACME/SET%03d", i))).
			Where(latchkey.Where("region", latchkey.Eq, fmt.Sprintf("R%03d", i))))
	}
	long := latchkey.Deny(latchkey.Read).On("dataset/ACME/LONG").Where(latchkey.Where("note", latchkey.Eq,
		strings.Repeat("so ", 4000)))
	want[33] = long
	role, err := w.acme.CreateRole(ctx, latchkey.Role{Name: "many", Permissions: want})
	require.NoError(t, err)
	stored := func() []string {
		r, err := w.acme.Role(ctx, role.ID)
		require.NoError(t, err)
		return ruleTexts(r.Permissions)
	}
	at := "role/" + role.ID

	// Every part, saved unchanged, changes nothing; together the parts are all rules.
	read, parts := 0, 0
	for path := at; path != ""; parts++ {
		page := w.get(path)
		read += strings.Count(page, "[verb]") + strings.Count(page, "[kept]")
		require.Equal(t, http.StatusSeeOther, w.post(at, formOf(page)).Code)
		require.Equal(t, ruleTexts(want), stored(), path)
		path = ""
		if m := regexp.MustCompile(`href="(\?at=\d+)" rel="next"`).FindStringSubmatch(page); m != nil {
			path = at + m[1]
		}
	}
	require.Equal(t, 500, read)
	require.Less(t, parts, 75)

	// A change in the middle, across two parts: the long rule moves up, another is removed, a new one is added.
	page := w.get(at + "?at=30")
	n := strings.Count(page, "[verb]") + strings.Count(page, "[kept]")
	require.Contains(t, page, fmt.Sprintf("Rules 30 to %d of 500", 29+n))
	require.Contains(t, page, "This form cannot hold it: kept as it is.")
	for _, do := range []string{"up-4", "drop-0", "add"} {
		form := formOf(page)
		form.Set("do", do)
		rec := w.post(at, form)
		require.Equal(t, http.StatusOK, rec.Code)
		page = rec.Body.String()
	}
	form := formOf(page)
	form.Set(fmt.Sprintf("rule[%d][verb]", n-1), "deny")
	form.Set(fmt.Sprintf("rule[%d][actions]", n-1), "delete")
	form.Set(fmt.Sprintf("rule[%d][on]", n-1), "dataset/*")
	require.Equal(t, http.StatusSeeOther, w.post(at, form).Code)
	order := ruleTexts(want)
	order[32], order[33] = order[33], order[32]
	order = slices.Insert(slices.Delete(order, 29, 30), 28+n, "deny delete on dataset/*")
	require.Equal(t, order, stored())

	// The second person to save gets the conflict, with that part as it is now.
	mine := w.form(at + "?at=101")
	theirs := w.form(at)
	theirs.Set("do", "drop-0")
	rec := w.post(at, theirs)
	require.Equal(t, http.StatusSeeOther, w.post(at, formOf(rec.Body.String())).Code)
	mine.Set("rule[0][on]", "dataset/ACME/MINE")
	rec = w.post(at, mine)
	require.Equal(t, http.StatusConflict, rec.Code)
	require.Equal(t, order[1:], stored())
	again := formOf(rec.Body.String())
	require.Equal(t, "dataset/ACME/MINE", again.Get("rule[0][on]"))
	require.Contains(t, unhtml.Replace(rec.Body.String()), stored()[100], "as it is stored now")
	require.Equal(t, http.StatusSeeOther, w.post(at, again).Code)
	require.Len(t, stored(), 499)
	require.Contains(t, stored()[100], "dataset/ACME/MINE")

	// A kept rule that was removed meanwhile is an error.
	mine = w.form(at + "?at=30")
	_, err = w.acme.UpdateRole(ctx, role.ID, func(r *latchkey.Role) error {
		r.Permissions = slices.DeleteFunc(r.Permissions,
			func(r latchkey.Rule) bool { return strings.Contains(r.String(), "LONG") })
		return nil
	})
	require.NoError(t, err)
	rec = w.post(at, mine)
	require.Equal(t, http.StatusConflict, rec.Code)
	rec = w.post(at, formOf(rec.Body.String()))
	require.Equal(t, http.StatusUnprocessableEntity, rec.Code)
	require.Contains(t, rec.Body.String(), "changed meanwhile")

	// A form with an invalid part is not one of the console.
	for name, change := range map[string][]string{"from": {"-1"}, "to": {"9999", "-3"}, "of": {"3"}} {
		for _, value := range change {
			form := w.form(at)
			form.Set(name, value)
			require.Equal(t, http.StatusConflict, w.post(at, form).Code, "%s %s", name, value)
		}
	}
	w.get(at + "/access")
	w.get("roles")
}

// A condition on the caller is narrower than "every row" only, so a role editor with some rows cannot write one.
func TestAWeakEditorWritesNoRuleAboutWhoAsks(t *testing.T) {
	w := newFixture(t, nil)
	strong := w.who
	eu := latchkey.Where("region", latchkey.Eq, "EU")
	w.who = must(w.acme.Assume(latchkey.Client{ID: "weak"},
		latchkey.Permissions{latchkey.Allow(latchkey.Any).On("latchkey/*"),
			latchkey.Allow(latchkey.Read).On("dataset/*").Where(eu)}))
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

// Roles of the program are shown and given like others, and nobody can change them here.
func TestRolesOfTheProgram(t *testing.T) {
	w := newFixture(t, nil)
	own := w.role(latchkey.Role{Name: "own"})
	w.role(latchkey.Role{Name: "Viewer"}) // from before the program had one
	keys := latchkey.New(&w.reads, &latchkey.Options{Clock: func() time.Time { return w.now }, Roles: []latchkey.Role{
		{Name: "viewer", Permissions: latchkey.Permissions{latchkey.Grant(latchkey.Read).On("doc/*")}}}})
	t.Cleanup(func() { _ = keys.Close(t.Context()) })
	w.owner = keys.For("acme")
	w.who = must(w.owner.Assume(latchkey.Client{ID: "ada"}, everything))
	list := w.get("roles")
	require.Contains(t, list, "part of the program")
	require.Equal(t, 1, strings.Count(list, "part of the program"), "the stored role is not")
	require.Equal(t, 1, strings.Count(list, "a role of the program has this name"))
	require.Contains(t, list, `href="role/code:viewer"`)
	require.Contains(t, w.get("role/"+own.ID), ">Delete…<")
	page := w.get("role/code:viewer")
	require.Contains(t, page, "changes only with it")
	require.Contains(t, page, "<fieldset class=\"bare\" disabled>")
	require.NotContains(t, page, ">Delete…<")
	form := w.form("role/code:viewer")
	form.Set("name", "mine")
	require.NotEqual(t, http.StatusSeeOther, w.post("role/code:viewer", form).Code)
	require.NotEqual(t, http.StatusSeeOther, w.post("role/code:viewer/delete", w.form("role/"+own.ID+"/delete")).Code)
	require.Contains(t, w.get("role/code:viewer/access"), "viewer")

	form = w.form("role/" + own.ID)
	form.Add("role", "code:viewer")
	require.Equal(t, http.StatusSeeOther, w.post("role/"+own.ID, form).Code)
	heir, err := w.acme.Role(t.Context(), own.ID)
	require.NoError(t, err)
	require.Equal(t, []string{"code:viewer"}, heir.Inherits)
}
