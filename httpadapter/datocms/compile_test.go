package datocms

import (
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/latchkey-go/latchkey"
)

// records is a host's schema that knows what roles speak about.
var records = latchkey.NewSchema(latchkey.Fields{
	FieldCreator:      {Column: "creator_id", Type: latchkey.Text},
	FieldCreatorRole:  {Column: "creator_role_id", Type: latchkey.Text},
	FieldWorkflow:     {Column: "workflow_id", Type: latchkey.Text},
	FieldStage:        {Column: "stage", Type: latchkey.Text},
	FieldToStage:      {Column: "to_stage", Type: latchkey.Text},
	FieldLocale:       {Column: "locale", Type: latchkey.Text},
	FieldToCollection: {Column: "to_collection", Type: latchkey.Text},
})

// ask is one question, with the row it is about: "update model/44 creator=me stage=a". A field not named is NULL; "-x" is
// a row without the field x.
func ask(t *testing.T, access latchkey.Access, me, role, question string) bool {
	t.Helper()
	words := strings.Fields(question)
	row := latchkey.Row{}
	for name := range records.Fields() {
		row[name] = nil
	}
	for _, word := range words[2:] {
		name, value, _ := strings.Cut(word, "=")
		switch {
		case strings.HasPrefix(word, "-"):
			delete(row, word[1:])
		case value == "me":
			row[name] = me
		case value == "my-role":
			row[name] = role
		default:
			row[name] = value
		}
	}
	on := latchkey.Resource("env/main/" + words[1])
	if strings.HasPrefix(words[1], "other/") {
		on = latchkey.Resource("env/" + words[1])
	}
	err := access.CheckRow(latchkey.Action(words[0]), on, records, row)
	if err != nil {
		require.ErrorIs(t, err, latchkey.ErrDenied, question)
	}
	return err == nil
}

func TestCompiledRolesReadAsPolicy(t *testing.T) {
	all := `{"environment":"main","action":"all","on_creator":"anyone","localization_scope":"all"}`
	for name, c := range map[string]struct {
		attributes  string
		allow, deny []string
	}{
		"nothing": {models("", ""), nil, []string{"read model/1", "read upload/1"}},
		"all": {models(all, ""),
			[]string{"read model/1", "create model/1", "update model/2 creator=other locale=it", "publish model/1",
				"duplicate model/1", "delete model/1", "edit_creator model/1", "take_over model/1", "move_to_stage model/1 to_stage=x"},
			[]string{"read other/model/1", "read upload/1", "invent model/1", "read model"}},
		"all of one workflow": {models(`{"environment":"main","action":"all","on_creator":"anyone","localization_scope":"all","workflow":"w"}`, ""),
			[]string{"read model/1 workflow=w", "update model/2 workflow=w"},
			[]string{"read model/1", "read model/1 workflow=v", "read model/1 -workflow"}},
		"all, moving to one stage": {models(`{"environment":"main","action":"all","on_creator":"anyone","localization_scope":"all","on_stage":"a","to_stage":"b"}`, ""),
			[]string{"update model/1 stage=a", "move_to_stage model/1 stage=a to_stage=b"},
			[]string{"update model/1 stage=b", "update model/1", "move_to_stage model/1 stage=a to_stage=c",
				"move_to_stage model/1 stage=a", "move_to_stage model/1 stage=b to_stage=b"}},
		"one's own": {models(`{"environment":"main","item_type":"44","action":"update","on_creator":"self","localization_scope":"all"}`, ""),
			[]string{"update model/44 creator=me"},
			[]string{"update model/44 creator=other", "update model/44", "update model/44 -creator", "update model/45 creator=me",
				"read model/44 creator=me", "delete model/44 creator=me"}},
		"one's role's": {models(`{"environment":"main","action":"delete","on_creator":"role"}`, ""),
			[]string{"delete model/44 creator_role=my-role"},
			[]string{"delete model/44 creator_role=other", "delete model/44 creator=me", "delete model/44 -creator_role"}},
		"one locale": {models(`{"environment":"main","action":"update","on_creator":"anyone","localization_scope":"localized","locale":"it"}`, ""),
			[]string{"update model/1 locale=it"}, []string{"update model/1 locale=en", "update model/1", "update model/1 -locale"}},
		"no locale": {models(`{"environment":"main","action":"update","on_creator":"anyone","localization_scope":"not_localized"}`, ""),
			[]string{"update model/1"}, []string{"update model/1 locale=en", "update model/1 -locale"}},
		"moving": {models(`{"environment":"main","action":"move_to_stage","on_creator":"self","on_stage":"a","to_stage":"b"}`, ""),
			[]string{"move_to_stage model/1 creator=me stage=a to_stage=b"},
			[]string{"move_to_stage model/1 creator=me stage=a to_stage=c", "update model/1 creator=me stage=a"}},
		"several join": {models(`{"environment":"main","item_type":"1","action":"read","on_creator":"anyone"},`+
			`{"environment":"main","item_type":"2","action":"read","on_creator":"self"}`, ""),
			[]string{"read model/1", "read model/2 creator=me"}, []string{"read model/2 creator=other", "read model/3"}},
		"all but deleting": {models(all, `{"environment":"main","item_type":"44","action":"delete","on_creator":"anyone"}`),
			[]string{"delete model/43", "update model/44"}, []string{"delete model/44"}},
		"all but others' ... one's own stay denied": {models(all, `{"environment":"main","action":"delete","on_creator":"self"}`),
			[]string{"delete model/44 creator=other", "delete model/44"},
			[]string{"delete model/44 creator=me", "delete model/44 -creator"}},
		"all but one locale": {models(all, `{"environment":"main","action":"update","on_creator":"anyone","localization_scope":"localized","locale":"it"}`),
			[]string{"update model/1 locale=en", "update model/1", "read model/1 locale=it"},
			[]string{"update model/1 locale=it", "update model/1 -locale"}},
		"all but content of no locale": {models(all, `{"environment":"main","action":"update","on_creator":"anyone","localization_scope":"not_localized"}`),
			[]string{"update model/1 locale=en"}, []string{"update model/1"}},
		"negative all takes the host's actions, too": {models(all, `{"environment":"main","item_type":"9","action":"all","on_creator":"anyone","localization_scope":"all"}`),
			[]string{"read model/8"}, []string{"read model/9", "publish model/9", "invent model/9"}},
		"negatives win whatever the order": {models(`{"environment":"main","item_type":"1","action":"read","on_creator":"anyone"}`,
			`{"environment":"main","action":"read","on_creator":"anyone"}`), nil, []string{"read model/1"}},
		"a name is no pattern": {models(`{"environment":"*","item_type":"*","action":"read","on_creator":"anyone"},`+
			`{"environment":"main","item_type":"a/b","action":"read","on_creator":"anyone"}`, ""),
			[]string{"read model/a%2Fb"}, []string{"read model/1", "read model/a", "read model/a/b"}},
		"uploads": {uploads(all, ""),
			[]string{"read upload/c", "replace_asset upload/%", "move upload/c move_to_upload_collection=d", "update upload/c locale=it"},
			[]string{"read model/1", "publish upload/c", "read other/upload/c"}},
		"uploads of one collection": {uploads(`{"environment":"main","action":"read","on_creator":"anyone","upload_collection":"c"}`, ""),
			[]string{"read upload/c"}, []string{"read upload/d", "read upload/%", "update upload/c"}},
		"uploads, moving": {uploads(`{"environment":"main","action":"move","on_creator":"anyone","upload_collection":"c","move_to_upload_collection":"d"}`, ""),
			[]string{"move upload/c move_to_upload_collection=d"},
			[]string{"move upload/c move_to_upload_collection=e", "move upload/c", "move upload/e move_to_upload_collection=d"}},
	} {
		t.Run(name, func(t *testing.T) {
			w := newFixture(t, nil)
			role := w.newRole("r", c.attributes)
			token := w.newToken("t", role.ID)
			access := w.verify(*token.Attributes.Token)
			for _, q := range c.allow {
				require.True(t, ask(t, access, token.ID, role.ID, q), "allow "+q)
			}
			for _, q := range c.deny {
				require.False(t, ask(t, access, token.ID, role.ID, q), "deny "+q)
			}
		})
	}
}

func TestFilterIsARowCondition(t *testing.T) {
	w := newFixture(t, nil)
	role := w.newRole("r", models(`{"environment":"main","item_type":"44","action":"update","on_creator":"self","localization_scope":"all"}`, ""))
	token := w.newToken("t", role.ID)
	access := w.verify(*token.Attributes.Token)
	rows, err := access.Filter(latchkey.Update, "env/main/model/44")
	require.NoError(t, err)
	require.Equal(t, `creator = "`+token.ID+`"`, rows.String())
	p, err := records.Bind(rows)
	require.NoError(t, err)
	where, args := p.SQL(latchkey.SQLite, 1)
	require.Contains(t, where, "creator_id")
	for _, arg := range args {
		require.Equal(t, token.ID, arg)
	}
	require.Error(t, access.Check(latchkey.Update, "env/main/model/44"), "some rows are not all")

	// A role that says so for everybody gives every row, and the change is seen by the next request.
	w.ok(200, "PUT", "/roles/"+role.ID, roleBodyText(role.ID, models(modelEntries[0], ""), nil), &gotRole{})
	rows, err = w.verify(*token.Attributes.Token).Filter(latchkey.Update, "env/main/model/44")
	require.NoError(t, err)
	require.True(t, rows.IsAllRows())
}

func TestFlagsAndTriggers(t *testing.T) {
	w := newFixture(t, nil)
	role := w.newRole("r", `"can_manage_webhooks":true,"positive_build_trigger_permissions":[{"build_trigger":null}],`+
		`"negative_build_trigger_permissions":[{"build_trigger":"7"}],"positive_search_index_permissions":[{"search_index":"3"}],`+
		`"negative_search_index_permissions":[]`)
	access := w.verify(*w.newToken("t", role.ID).Attributes.Token)
	for on, want := range map[latchkey.Resource]bool{
		Flag("can_manage_webhooks"): true, Flag("can_manage_sso"): false, BuildTrigger("1"): true, BuildTrigger("7"): false,
		SearchIndex("3"): true, SearchIndex("4"): false, "api/cma": false, "environment/primary": true,
		"environment/sandbox": false,
	} {
		require.Equal(t, want, access.Allows(latchkey.Use, on), on)
	}
}

func TestAdminRoleIsEverythingUntilSomethingIsTaken(t *testing.T) {
	w := newFixture(t, nil)
	may := func() bool { return w.verify(w.admin).Allows(Publish, Model("of tomorrow", "1")) }
	require.True(t, may())
	require.True(t, w.verify(w.admin).Allows(Move, Upload("of tomorrow", "")))
	w.newRole("elsewhere", models(`{"environment":"sandbox","action":"read","on_creator":"anyone"}`, "")) // it may give what it has
	put := func(attributes string) {
		w.ok(200, "PUT", "/roles/"+w.role.ID, roleBodyText(w.role.ID, attributes, nil), &gotRole{})
	}
	put(`"can_edit_favicon":false`)
	require.True(t, may())
	put(models(modelEntries[0], `{"environment":"main","action":"delete","on_creator":"anyone"}`))
	require.False(t, may(), "what is left is what the wire says")
	require.True(t, w.verify(w.admin).Allows(Publish, Model("main", "1")))

	// No request can say it.
	check := newChecker("role", false)
	check.object([]byte(`{"all_environments":true}`), "#", nil, listNames)
	require.Error(t, check.err())
	w.refused(w.admin, 422, codeFormat, "POST", "/roles", roleBodyText("", `"name":"x","all_environments":true`, nil))
}

func TestUnreadableExtraSaysNothing(t *testing.T) {
	for _, extra := range []string{``, `x`, `[]`, `{"can_edit_site":1}`, `{"positive_upload_permissions":[]}`,
		`{"can_edit_site":true,"environments_access":"everywhere"}`} {
		p := storedPermissions([]byte(extra))
		require.False(t, p.flags["can_edit_site"])
		require.False(t, p.compile().Allows(latchkey.Use, enterPrimary), extra)
	}
}

// A rule of the host's that does not fit its schema is trouble of the host's, and no word about it is told.
func TestRuleOfTheHostsIsTrouble(t *testing.T) {
	err := &latchkey.ConditionError{Field: "regoin", Unknown: true, OfRule: true, Reason: "the schema has no such field"}
	out := httptest.NewRecorder()
	WriteError(out, httptest.NewRequest("GET", "/", nil), err)
	require.Equal(t, 500, out.Code)
	require.NotContains(t, out.Body.String(), "regoin")
}
