package console

import (
	"fmt"
	"net/http"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/latchkey-go/latchkey"
)

func TestTheSecondSaverIsTold(t *testing.T) {
	w := newFixture(t, nil)
	id := w.issue(latchkey.Spec{Kind: latchkey.KindPublishable, Name: "site"}).ID
	mine, theirs := w.form("token/"+id), w.form("token/"+id)
	theirs.Set("domains", "theirs.example")
	require.Equal(t, http.StatusSeeOther, w.post("token/"+id, theirs).Code)
	mine.Set("name", "my name")
	rec := w.post("token/"+id, mine)
	require.Equal(t, http.StatusConflict, rec.Code)
	require.Contains(t, rec.Body.String(), "theirs.example", "what they saved")
	require.Contains(t, rec.Body.String(), "my name", "what was typed")
	require.Equal(t, "site", w.token(id).Name)
	require.Equal(t, []string{"theirs.example"}, w.token(id).Restrictions.Domains)
	again := formOf(rec.Body.String())
	again.Set("domains", "theirs.example")
	require.Equal(t, http.StatusSeeOther, w.post("token/"+id, again).Code)
	require.Equal(t, "my name", w.token(id).Name)
	require.Equal(t, []string{"theirs.example"}, w.token(id).Restrictions.Domains)

	// What the other person added is in the form, not ticked. It goes if it is left so, and stays if it is ticked.
	for _, tick := range []bool{true, false} {
		mine, theirs = w.form("token/"+id), w.form("token/"+id)
		theirs.Set("add", "acme/theirs")
		theirs.Set("addright", "2")
		require.Equal(t, http.StatusSeeOther, w.post("token/"+id, theirs).Code)
		mine.Del("chip")
		rec = w.post("token/"+id, mine)
		require.Equal(t, http.StatusConflict, rec.Code)
		require.Contains(t, rec.Body.String(), `value="2 dataset/ACME/THEIRS">`)
		again = formOf(rec.Body.String())
		require.Empty(t, again["chip"])
		if tick {
			again["chip"] = []string{"2 dataset/ACME/THEIRS"}
		}
		require.Equal(t, http.StatusSeeOther, w.post("token/"+id, again).Code)
		require.Equal(t, tick, w.token(id).Permissions.Allows(latchkey.Read, "dataset/ACME/THEIRS"))
	}
}

func TestTokensWithMuch(t *testing.T) {
	w := newFixture(t, nil)
	ctx := t.Context()
	var roles []string
	for i := range 200 {
		r, err := w.acme.CreateRole(ctx, latchkey.Role{Name: fmt.Sprintf("Role of the department %03d", i)})
		require.NoError(t, err)
		roles = append(roles, r.ID)
	}
	var rules latchkey.Permissions
	for i := range 300 {
		rules = append(rules, latchkey.Allow(latchkey.Read,
			latchkey.Delete).On(latchkey.Pattern(fmt.Sprintf("dataset/ACME/SET%03d", i))))
		rules = append(rules, latchkey.Deny(latchkey.Any).On(latchkey.Pattern(fmt.Sprintf("dataset/ACME/SET%03d/x", i))))
	}
	id := w.issue(latchkey.Spec{Kind: latchkey.KindAPIKey, Name: "much", Roles: roles[100:], Permissions: rules}).ID
	at := "token/" + id
	want := w.token(id).Settings

	// Every part, saved unchanged, changes nothing.
	chips := 0
	for path := at; path != ""; {
		page := w.get(path)
		chips += strings.Count(page, `name="chip"`)
		require.Equal(t, http.StatusSeeOther, w.post(at, formOf(page)).Code)
		require.Equal(t, want, w.token(id).Settings, path)
		path = ""
		if m := regexp.MustCompile(`href="(\?chips=\d+)">Later`).FindStringSubmatch(page); m != nil {
			path = at + m[1]
		}
	}
	require.Equal(t, 600, chips, "each is on one of the pages")
	page := w.get(at)
	require.Contains(t, page, "and 288 more", "rules that no chip stands for")
	require.Contains(t, page, "Showing 60 of 100")

	// Entries are removed and added in a part in the middle; the rest stays.
	form := w.form(at + "?chips=60")
	gone := form["chip"][0]
	require.Equal(t, "2 dataset/ACME/SET030", gone)
	form["chip"] = form["chip"][1:]
	form.Set("add", "acme/new")
	form["addright"] = []string{"4"}
	form["role"] = form["role"][1:]
	form.Set("addrole", "Role of the department 007")
	require.Equal(t, http.StatusSeeOther, w.post(at, form).Code)
	got := w.token(id)
	require.False(t, got.Permissions.Allows(latchkey.Read, "dataset/ACME/SET030"))
	require.True(t, got.Permissions.Allows(latchkey.Delete, "dataset/ACME/SET030"))
	require.True(t, got.Permissions.Allows(latchkey.Delete, "dataset/ACME/NEW"))
	for i := range 300 {
		on := latchkey.Resource(fmt.Sprintf("dataset/ACME/SET%03d", i))
		require.Equal(t, i != 30, got.Permissions.Allows(latchkey.Read, on), on)
		require.False(t, got.Permissions.Allows(latchkey.Read, on+"/x"), on)
	}
	require.Equal(t, append(slices.Clone(roles[101:]), roles[7]), got.Roles)

	// Roles are typed by name. An unknown one is marked beside the field, and kept.
	for _, button := range []string{"save", "addrole"} {
		form = w.form(at)
		form.Set("addrole", "No such role")
		form.Set("do", button)
		rec := w.post(at, form)
		require.Contains(t, rec.Body.String(), "No role has this name")
		require.Equal(t, "No such role", formOf(rec.Body.String()).Get("addrole"))
	}
	require.Equal(t, got.Roles, w.token(id).Roles)
	form.Set("addrole", roles[8])
	rec := w.post(at, form)
	require.Contains(t, rec.Body.String(), `value="`+roles[8]+`" checked`)

	// Another person adds what this form never showed: it stays, and so do the changes of this form.
	mine, theirs := w.form(at), w.form(at)
	theirs.Set("addrole", roles[9])
	require.Equal(t, http.StatusSeeOther, w.post(at, theirs).Code)
	mine.Set("name", "mine")
	rec = w.post(at, mine)
	require.Equal(t, http.StatusConflict, rec.Code)
	require.Equal(t, http.StatusSeeOther, w.post(at, formOf(rec.Body.String())).Code)
	require.Equal(t, "mine", w.token(id).Name)
	require.Contains(t, w.token(id).Roles, roles[9])

	// A role that inherits many.
	up, err := w.acme.CreateRole(ctx, latchkey.Role{Name: "all", Inherits: roles})
	require.NoError(t, err)
	form = w.form("role/" + up.ID)
	form["role"] = form["role"][2:]
	require.Equal(t, http.StatusSeeOther, w.post("role/"+up.ID, form).Code)
	up, err = w.acme.Role(ctx, up.ID)
	require.NoError(t, err)
	require.Equal(t, roles[2:], up.Inherits)
	w.get("token/" + id + "/access")
}
