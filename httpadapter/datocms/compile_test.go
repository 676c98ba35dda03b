package datocms

import (
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/latchkey-go/latchkey"
	"github.com/latchkey-go/latchkey/memstore"
)

// records is a host's schema with the fields that roles refer to.
var records = latchkey.NewSchema(latchkey.Fields{
	FieldCreator:      {Column: "creator_id", Type: latchkey.Text},
	FieldCreatorRole:  {Column: "creator_role_id", Type: latchkey.Text},
	FieldWorkflow:     {Column: "workflow_id", Type: latchkey.Text},
	FieldStage:        {Column: "stage", Type: latchkey.Text},
	FieldToStage:      {Column: "to_stage", Type: latchkey.Text},
	FieldLocale:       {Column: "locale", Type: latchkey.Text},
	FieldToCollection: {Column: "to_collection", Type: latchkey.Text},
})

// ask checks one question about a row: "update model/44 creator=me stage=a". A field that is not named is NULL; "-x"
// is a row without the field x.
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
				"duplicate model/1", "delete model/1", "edit_creator model/1", "take_over model/1",
				"move_to_stage model/1 to_stage=x"},
			[]string{"read other/model/1", "read upload/1", "invent model/1", "read model"}},
		"all of one workflow": {models(`{"environment":"main","action":"all","on_creator":"anyone",`+
			`"localization_scope":"all","workflow":"w"}`, ""),
			[]string{"read model/1 workflow=w", "update model/2 workflow=w"},
			[]string{"read model/1", "read model/1 workflow=v", "read model/1 -workflow"}},
		"all, moving to one stage": {models(`{"environment":"main","action":"all","on_creator":"anyone",`+
			`"localization_scope":"all","on_stage":"a","to_stage":"b"}`, ""),
			[]string{"update model/1 stage=a", "move_to_stage model/1 stage=a to_stage=b"},
			[]string{"update model/1 stage=b", "update model/1", "move_to_stage model/1 stage=a to_stage=c",
				"move_to_stage model/1 stage=a", "move_to_stage model/1 stage=b to_stage=b"}},
		"one's own": {models(`{"environment":"main","item_type":"44","action":"update","on_creator":"self",`+
			`"localization_scope":"all"}`, ""),
			[]string{"update model/44 creator=me"},
			[]string{"update model/44 creator=other", "update model/44", "update model/44 -creator",
				"update model/45 creator=me",
				"read model/44 creator=me", "delete model/44 creator=me"}},
		"one's role's": {models(`{"environment":"main","action":"delete","on_creator":"role"}`, ""),
			[]string{"delete model/44 creator_role=my-role"},
			[]string{"delete model/44 creator_role=other", "delete model/44 creator=me", "delete model/44 -creator_role"}},
		"one locale": {models(`{"environment":"main","action":"update","on_creator":"anyone",`+
			`"localization_scope":"localized","locale":"it"}`, ""),
			[]string{"update model/1 locale=it"},
			[]string{"update model/1 locale=en", "update model/1", "update model/1 -locale"}},
		"no locale": {models(`{"environment":"main","action":"update","on_creator":"anyone",`+
			`"localization_scope":"not_localized"}`, ""),
			[]string{"update model/1"}, []string{"update model/1 locale=en", "update model/1 -locale"}},
		"moving": {models(`{"environment":"main","action":"move_to_stage","on_creator":"self","on_stage":"a","to_stage":"b"}`,
			""),
			[]string{"move_to_stage model/1 creator=me stage=a to_stage=b"},
			[]string{"move_to_stage model/1 creator=me stage=a to_stage=c", "update model/1 creator=me stage=a"}},
		"several join": {models(`{"environment":"main","item_type":"1","action":"read","on_creator":"anyone"},`+
			`{"environment":"main","item_type":"2","action":"read","on_creator":"self"}`, ""),
			[]string{"read model/1", "read model/2 creator=me"}, []string{"read model/2 creator=other", "read model/3"}},
		"all but deleting": {models(all, `{"environment":"main","item_type":"44","action":"delete","on_creator":"anyone"}`),
			[]string{"delete model/43", "update model/44"}, []string{"delete model/44"}},
		"all but others' ... one's own stay denied": {models(all,
			`{"environment":"main","action":"delete","on_creator":"self"}`),
			[]string{"delete model/44 creator=other", "delete model/44"},
			[]string{"delete model/44 creator=me", "delete model/44 -creator"}},
		"all but one locale": {models(all,
			`{"environment":"main","action":"update","on_creator":"anyone","localization_scope":"localized","locale":"it"}`),
			[]string{"update model/1 locale=en", "update model/1", "read model/1 locale=it"},
			[]string{"update model/1 locale=it", "update model/1 -locale"}},
		"all but content of no locale": {models(all,
			`{"environment":"main","action":"update","on_creator":"anyone","localization_scope":"not_localized"}`),
			[]string{"update model/1 locale=en"}, []string{"update model/1"}},
		"negative all takes the host's actions, too": {models(all,
			`{"environment":"main","item_type":"9","action":"all","on_creator":"anyone","localization_scope":"all"}`),
			[]string{"read model/8"}, []string{"read model/9", "publish model/9", "invent model/9"}},
		"negatives win whatever the order": {models(`{"environment":"main","item_type":"1","action":"read",`+
			`"on_creator":"anyone"}`,
			`{"environment":"main","action":"read","on_creator":"anyone"}`), nil, []string{"read model/1"}},
		"a name is no pattern": {models(`{"environment":"*","item_type":"*","action":"read","on_creator":"anyone"},`+
			`{"environment":"main","item_type":"a/b","action":"read","on_creator":"anyone"}`, ""),
			[]string{"read model/a%2Fb"}, []string{"read model/1", "read model/a", "read model/a/b"}},
		"uploads": {uploads(all, ""),
			[]string{"read upload/c", "replace_asset upload/%", "move upload/c move_to_upload_collection=d",
				"update upload/c locale=it"},
			[]string{"read model/1", "publish upload/c", "read other/upload/c"}},
		"uploads of one collection": {uploads(`{"environment":"main","action":"read","on_creator":"anyone",`+
			`"upload_collection":"c"}`, ""),
			[]string{"read upload/c"}, []string{"read upload/d", "read upload/%", "update upload/c"}},
		"uploads, moving": {uploads(`{"environment":"main","action":"move","on_creator":"anyone","upload_collection":"c",`+
			`"move_to_upload_collection":"d"}`, ""),
			[]string{"move upload/c move_to_upload_collection=d"},
			[]string{"move upload/c move_to_upload_collection=e", "move upload/c", "move upload/e move_to_upload_collection=d"}},
	} {
		t.Run(name, func(t *testing.T) {
			w := newFixture(t, nil)
			role := w.newRole("r", c.attributes)
			declaresRole(t, w, role.ID)
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

// declaresRole checks that what this package declares for a host's catalogue has all that a stored role is about.
func declaresRole(t *testing.T, w *fixture, id string) {
	t.Helper()
	role, err := w.acme.Role(t.Context(), id)
	require.NoError(t, err)
	declared := &latchkey.Catalogue{Resources: ResourceTypes()}
	require.NoError(t, declared.CheckRules(role.Permissions))
	require.NoError(t, declared.CheckRules(role.Boundary))
}

func TestResourceTypesDeclareAllRules(t *testing.T) {
	w := newFixture(t, nil)
	declared := &latchkey.Catalogue{Resources: ResourceTypes()}
	require.NoError(t, declared.Validate())
	for i, attributes := range []string{models(strings.Join(modelEntries, ","), strings.Join(modelEntries, ",")),
		uploads(`{"environment":"main","action":"all","on_creator":"role","localization_scope":"all"},`+
			`{"environment":"main","action":"move","on_creator":"self","move_to_upload_collection":"d"}`, ""),
		`"environments_access":"sandbox_only"`, `"environments_access":"all"`, `"can_manage_webhooks":true,` +
			`"positive_build_trigger_permissions":[{"build_trigger":null}],"negative_build_trigger_permissions":[],` +
			`"negative_search_index_permissions":[{"search_index":"7"}],"positive_search_index_permissions":[]`} {
		declaresRole(t, w, w.newRole(strings.Repeat("x", i+1), attributes).ID)
	}
	admin := AdminRole("admin", "main")
	require.NoError(t, declared.CheckRules(admin.Permissions))
	require.NoError(t, declared.CheckRules(admin.Boundary))
	require.NoError(t, declared.CheckRules(TokenSpec("t", "r", true, true, true).Permissions))
	require.NoError(t, declared.CheckRules(TokenSpec("t", "r", false, false, false).Permissions))
	for _, wrong := range []latchkey.Rule{latchkey.Allow("fly").On("env/*"), latchkey.Allow(latchkey.Read).On("model/44"),
		latchkey.Allow(latchkey.Read).On("env/main/model/44").Where(latchkey.Where("colour", latchkey.Eq, "red"))} {
		require.Error(t, declared.CheckRules(latchkey.Permissions{wrong}))
	}
}

func TestFilterIsARowCondition(t *testing.T) {
	w := newFixture(t, nil)
	role := w.newRole("r", models(`{"environment":"main","item_type":"44","action":"update","on_creator":"self",`+
		`"localization_scope":"all"}`, ""))
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

	// A role that allows it to everyone allows every row, and the next request applies the change.
	w.ok(200, "PUT", "/roles/"+role.ID, roleBodyText(role.ID, models(modelEntries[0], ""), nil), &gotRole{})
	rows, err = w.verify(*token.Attributes.Token).Filter(latchkey.Update, "env/main/model/44")
	require.NoError(t, err)
	require.True(t, rows.IsAllRows())
}

func TestFlagsAndTriggers(t *testing.T) {
	w := newFixture(t, nil)
	role := w.newRole("r", `"can_manage_webhooks":true,"positive_build_trigger_permissions":[{"build_trigger":null}],`+
		`"negative_build_trigger_permissions":[{"build_trigger":"7"}],`+
		`"positive_search_index_permissions":[{"search_index":"3"}],`+
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

// A rule of the host's that does not fit its schema is an internal error, and is not described to the caller.
func TestRuleOfTheHostsIsTrouble(t *testing.T) {
	err := &latchkey.ConditionError{Field: "regoin", Unknown: true, OfRule: true, Reason: "the schema has no such field"}
	out := httptest.NewRecorder()
	WriteError(out, httptest.NewRequest("GET", "/", nil), err)
	require.Equal(t, 500, out.Code)
	require.NotContains(t, out.Body.String(), "regoin")
}

// entriesEverywhere allows reading every model of every environment of the test.
func entriesEverywhere() string {
	in := func(env string) string {
		return `{"environment":"` + env + `","action":"read","on_creator":"anyone"}`
	}
	return models(in("main")+","+in("staging")+","+in("forgotten"), "")
}

// mayRead asks as a handler does that knows nothing of environments_access: about rows only.
func mayRead(a latchkey.Access, env string) bool {
	rows, err := a.Filter(latchkey.Read, Model(env, "44"))
	return err == nil && rows.IsAllRows()
}

// Only AdminRole reaches environments that nobody named. A role that may do everything in those it names reaches no
// other.
func TestARoleOfNamedEnvironmentsReachesNoOther(t *testing.T) {
	whole := func(env string) string {
		return models(`{"environment":"`+env+`","action":"all","on_creator":"anyone","localization_scope":"all"}`, "") +
			"," + uploads(`{"environment":"`+env+`","action":"all","on_creator":"anyone","localization_scope":"all"}`, "")
	}
	w := newFixture(t, &Options{Environments: []string{"main", "staging"}})
	role := w.newRole("r", `"environments_access":"all",`+whole("main"))
	access := w.verify(*w.newToken("t", role.ID).Attributes.Token)
	require.Equal(t, []bool{true, false, false},
		[]bool{mayRead(access, "main"), mayRead(access, "staging"), mayRead(access, "made later")})
	w.ok(200, "PUT", "/roles/"+role.ID, roleBodyText(role.ID, `"name":"renamed"`, nil), &gotRole{})
	w.ok(200, "PUT", "/roles/"+role.ID, roleBodyText(role.ID, whole("main"), nil), &gotRole{})
	access = w.verify(*w.newToken("u", role.ID).Attributes.Token)
	require.Equal(t, []bool{true, false, false},
		[]bool{mayRead(access, "main"), mayRead(access, "staging"), mayRead(access, "made later")},
		"an update widens nothing")
	admin := w.makeRole(w.acme, AdminRole("admin", "main"))
	access = w.verify(*w.newToken("a", admin.ID).Attributes.Token)
	require.Equal(t, []bool{true, true, true},
		[]bool{mayRead(access, "main"), mayRead(access, "staging"), mayRead(access, "made later")})
}

func TestPlainFilterObeysEnvironmentsAccess(t *testing.T) {
	opts := &Options{Environments: []string{"main", "staging"}}
	for _, c := range []struct {
		own, inherited string // environments_access; "" inherits nothing
		primary, other bool
	}{
		{"all", "", true, true},
		{"primary_only", "", true, false},
		{"sandbox_only", "", false, true},
		{"none", "", false, false},
		// The role has no entries of its own. It inherits them from one that may itself enter no environment, or few.
		{"all", "none", true, true},
		{"primary_only", "none", true, false},
		{"sandbox_only", "none", false, true},
		{"none", "none", false, false},
		{"none", "primary_only", true, false},
		{"none", "all", true, true},
		{"primary_only", "sandbox_only", true, true},
		{"sandbox_only", "primary_only", true, true},
		{"sandbox_only", "sandbox_only", false, true},
	} {
		t.Run(c.own+" "+c.inherited, func(t *testing.T) {
			w := newFixture(t, opts)
			access := func(environments, entries string, up ...string) latchkey.Access {
				role := w.newRole("role "+environments, `"environments_access":"`+environments+`",`+entries, up...)
				return w.verify(*w.newToken("t", role.ID).Attributes.Token)
			}
			var a latchkey.Access
			if c.inherited == "" {
				a = access(c.own, entriesEverywhere())
			} else {
				base := w.newRole("base", `"environments_access":"`+c.inherited+`",`+entriesEverywhere())
				a = access(c.own, models("", ""), base.ID)
			}
			require.Equal(t, c.primary, mayRead(a, "main"), "main")
			require.Equal(t, c.other, mayRead(a, "staging"), "staging")
			require.Equal(t, c.other, mayRead(a, "forgotten"), "an environment that the options do not name")
			require.Equal(t, c.primary, Enter(a, true) == nil)
			require.Equal(t, c.other, Enter(a, false) == nil)
		})
	}
}

// Flags, build triggers and other resources outside environments do not depend on environments_access.
func TestEnvironmentsAccessTakesNothingElse(t *testing.T) {
	w := newFixture(t, nil)
	role := w.newRole("r", `"environments_access":"none","can_edit_site":true,"can_manage_access_tokens":true,`+
		`"positive_build_trigger_permissions":[{"build_trigger":null}],"negative_build_trigger_permissions":[]`)
	a := w.verify(*w.newToken("t", role.ID, true, true, true).Attributes.Token)
	require.True(t, a.Allows(latchkey.Use, Flag("can_edit_site")))
	require.True(t, a.Allows(latchkey.Use, BuildTrigger("7")))
	require.True(t, a.Allows(latchkey.Create, "latchkey/token/new"))
	require.True(t, a.Allows(latchkey.Use, apiCMA))
}

func TestEnvironmentsAccessOfAParentBitesAtOnce(t *testing.T) {
	w := newFixture(t, &Options{Environments: []string{"main", "staging"}})
	base := w.newRole("base", `"environments_access":"all",`+entriesEverywhere())
	leaf := w.newRole("leaf", `"environments_access":"none",`+models("", ""), base.ID)
	secret := *w.newToken("t", leaf.ID).Attributes.Token
	require.True(t, mayRead(w.verify(secret), "staging"))
	w.ok(200, "PUT", "/roles/"+base.ID, roleBodyText(base.ID, `"environments_access":"primary_only"`, nil), &gotRole{})
	a := w.verify(secret)
	require.True(t, mayRead(a, "main"))
	require.False(t, mayRead(a, "staging"))
}

// A caller that manages roles cannot open an environment that it may not enter, even through an inherited role.
func TestNobodyOpensAnEnvironmentByWayOfAParent(t *testing.T) {
	w := newFixture(t, &Options{Environments: []string{"main", "staging"}})
	base := w.newRole("base", `"environments_access":"none",`+models("", ""))
	heir := w.newRole("heir", `"environments_access":"primary_only",`+entriesEverywhere(), base.ID)
	manager := w.newRole("manager", `"environments_access":"primary_only","can_manage_users":true,`+entriesEverywhere())
	secret := *w.newToken("m", manager.ID).Attributes.Token
	require.False(t, mayRead(w.verify(secret), "staging"))
	body := roleBodyText(base.ID, `"environments_access":"sandbox_only"`, nil)
	require.NotEqual(t, http.StatusOK, w.send(secret, "PUT", "/roles/"+base.ID, body).Code)
	a := w.verify(*w.newToken("t", heir.ID).Attributes.Token)
	require.False(t, mayRead(a, "staging"))
}

// A host may check an environment itself, not only what is in it.
func TestEnvironmentsAccessOfTheEnvironmentItself(t *testing.T) {
	for environments, want := range map[string][2]bool{
		"all": {true, true}, "primary_only": {true, false}, "sandbox_only": {false, true}, "none": {},
	} {
		m := latchkey.New(memstore.New(nil), nil)
		role := AdminRole("admin", "main")
		p := storedPermissions(role.Extra)
		p.environments = environments
		require.NoError(t, p.apply(&role, "main", true))
		role, err := m.For("acme").CreateRole(t.Context(), role)
		require.NoError(t, err)
		_, secret, err := m.For("acme").Issue(t.Context(), TokenSpec("t", role.ID, true, true, true))
		require.NoError(t, err)
		a, err := m.Verify(t.Context(), latchkey.Presented{Secret: secret.Reveal()})
		require.NoError(t, err)
		for i, env := range []latchkey.Resource{"env/main", "env/staging"} {
			require.Equal(t, want[i], a.Allows(latchkey.Update, env), "%s: %s", environments, env)
			require.Equal(t, want[i], a.Allows(latchkey.Update, env+"/model/44"), "%s: %s", environments, env)
		}
	}
}

func TestGatesDecideWhateverTheRoleGives(t *testing.T) {
	w := newFixture(t, nil)
	anything := w.makeRole(w.acme, latchkey.Role{Name: "of the host", Permissions: latchkey.Permissions{
		latchkey.Allow(latchkey.Any).On("*", "latchkey/*")}})
	_, closed := w.issue(w.acme, TokenSpec("closed", anything.ID, false, false, false))
	w.refused(closed, 401, codeAuthorization, "GET", "/roles", "")
	refusedReply(t, w.deliver(closed, nil), 401, codeAuthorization)
	_, open := w.issue(w.acme, TokenSpec("open", anything.ID, true, false, true))
	w.okAs(open, 200, "GET", "/roles", "", &[]gotRole{})
	require.Equal(t, 200, w.deliver(open, nil).Code)
	refusedReply(t, w.deliver(open, http.Header{"X-Include-Drafts": {"true"}}), 401, codePermissions)
}
