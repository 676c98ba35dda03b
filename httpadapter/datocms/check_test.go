package datocms

import (
	"encoding/json"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/latchkey-go/latchkey/internal/strictjson"
)

func TestBadBodies(t *testing.T) {
	w := newFixture(t, nil)
	role := w.role.ID
	good := tokenBodyText("", "x", role, true, true, true)
	goodRole := roleBodyText("", `"name":"x"`, nil)
	with := func(body, old, new string) string {
		out := strings.Replace(body, old, new, 1)
		require.NotEqual(t, body, out, old)
		return out
	}
	entry := func(e string) string { return roleBodyText("", `"name":"x",`+models(e, ""), nil) }
	upload := func(e string) string { return roleBodyText("", `"name":"x",`+uploads(e, ""), nil) }
	for name, c := range map[string]struct {
		path, body, code string
		message          string // part of the first message
	}{
		"not JSON":              {"/access_tokens", `{`, codeJSON, ""},
		"empty":                 {"/access_tokens", "", codeJSON, ""},
		"trailing data":         {"/access_tokens", good + "{}", codeJSON, ""},
		"a name twice":          {"/access_tokens", with(good, `"name":"x"`, `"name":"x","name":"y"`), codeJSON, ""},
		"a name twice, by case": {"/access_tokens", with(good, `"name":"x"`, `"name":"x","NAME":"y"`), codeJSON, ""},
		"a flag twice, by case": {"/access_tokens",
			with(good, `"can_access_cma":true`, `"can_access_cma":false,"can_access_Cma":true`), codeJSON, ""},
		"the Kelvin sign": {"/roles",
			with(goodRole, `"name":"x"`, `"name":"x","can_edit_site":true,"can_edit_\u017fite":true`), codeJSON, ""},
		"invalid UTF-8":    {"/access_tokens", with(good, `"x"`, "\"\xff\""), codeJSON, ""},
		"a lone surrogate": {"/access_tokens", with(good, `"x"`, `"\ud800"`), codeJSON, ""},
		"too deep":         {"/access_tokens", strings.Repeat("[", 40) + strings.Repeat("]", 40), codeJSON, ""},
		"an array": {"/access_tokens", `[]`, codeFormat,
			`#: failed schema #/definitions/access_token/links/0/schema: not an object.`},
		"no data":    {"/access_tokens", `{}`, codeFormat, `"data" wasn't supplied.`},
		"data: null": {"/access_tokens", `{"data":null}`, codeFormat, `#/data: `},
		"beside data": {"/access_tokens", with(good, `{"data"`, `{"included":[],"data"`), codeFormat,
			`"included" is not a permitted key.`},
		"another type": {"/access_tokens", with(good, `"access_token"`, `"role"`), codeFormat, `#/data/type: `},
		"an id on create": {"/access_tokens", with(good, `"attributes"`, `"id":"1","attributes"`), codeFormat,
			`"id" is not a permitted key.`},
		"meta on a token": {"/access_tokens", with(good, `"attributes"`, `"meta":{},"attributes"`), codeFormat,
			`"meta" is not a permitted key.`},
		"a token to set": {"/access_tokens", with(good, `"name"`, `"token":"abc","name"`), codeFormat,
			`"token" is not a permitted key.`},
		"hardcoded_type": {"/access_tokens", with(good, `"name"`, `"hardcoded_type":null,"name"`), codeFormat,
			`"hardcoded_type" is not`},
		"last access": {"/access_tokens", with(good, `"name"`, `"last_cma_access":"never","name"`), codeFormat,
			``},
		"a flag missing": {"/access_tokens", with(good, `,"can_access_cma":true`, ``), codeFormat,
			`"can_access_cma" wasn't supplied.`},
		"a flag by another case": {"/access_tokens", with(good, `"can_access_cma"`, `"Can_access_cma"`), codeFormat,
			`"can_access_cma" wasn't supplied.`},
		"a flag of 1": {"/access_tokens", with(good, `"can_access_cma":true`, `"can_access_cma":1`), codeFormat,
			`#/data/attributes/can_access_cma: `},
		"a flag of 0": {"/access_tokens", with(good, `"can_access_cma":true`, `"can_access_cma":0`),
			codeFormat, `not a boolean`},
		"a flag as text": {"/access_tokens", with(good, `"can_access_cma":true`, `"can_access_cma":"true"`),
			codeFormat, `not a boolean`},
		"a flag of null": {"/access_tokens", with(good, `"can_access_cma":true`, `"can_access_cma":null`),
			codeFormat, `not a boolean`},
		"a flag in a list": {"/access_tokens", with(good, `"can_access_cma":true`, `"can_access_cma":[true]`),
			codeFormat, `not a boolean`},
		"a name of null": {"/access_tokens", with(good, `"x"`, `null`), codeFormat, `not a string`},
		"a name of 7":    {"/access_tokens", with(good, `"x"`, `7`), codeFormat, `not a string`},
		"an empty name":  {"/access_tokens", with(good, `"x"`, `""`), codeField, ``},
		"a long name":    {"/access_tokens", with(good, `"x"`, `"`+strings.Repeat("x", 257)+`"`), codeField, ``},
		"a NUL":          {"/access_tokens", with(good, `"x"`, `"\u0000"`), codeField, ``},
		"no role": {"/access_tokens", tokenBodyText("", "x", ""), codeFormat,
			`"relationships" wasn't supplied.`},
		"a role of null": {"/access_tokens", with(good, `{"id":"`+role+`","type":"role"}`, `null`), codeFormat,
			`#/data/relationships/role/data: `},
		"two roles": {"/access_tokens",
			with(good, `{"id":"`+role+`","type":"role"}`, `[{"id":"`+role+`","type":"role"}]`), codeFormat, `not an object`},
		"a role of another type": {"/access_tokens", with(good, `"type":"role"`, `"type":"user"`),
			codeFormat, `not one of role`},
		"a role's id as number": {"/access_tokens", with(good, `"`+role+`"`, `7`), codeFormat, `not a string`},
		"another relationship": {"/access_tokens", with(good, `"role":{`, `"creator":{},"role":{`), codeFormat,
			`"creator" is not`},
		"role: no name": {"/roles", roleBodyText("", `"can_edit_site":true`, nil), codeFormat,
			`"name" wasn't supplied.`},
		"role: no attributes": {"/roles", roleBodyText("", ``, nil), codeFormat, `"attributes" wasn't supplied.`},
		"role: a flag of 1": {"/roles", roleBodyText("", `"name":"x","can_edit_site":1`, nil),
			codeFormat, `not a boolean`},
		"role: an unknown flag": {"/roles", roleBodyText("", `"name":"x","can_fly":true`, nil), codeFormat,
			`"can_fly" is not`},
		"role: environments": {"/roles", roleBodyText("", `"name":"x","environments_access":"some"`, nil),
			codeFormat, `not one of`},
		"role: environments null": {"/roles", roleBodyText("", `"name":"x","environments_access":null`, nil),
			codeFormat, `not a string`},
		"role: half a family": {"/roles", roleBodyText("", `"name":"x","positive_upload_permissions":[]`, nil),
			codeFormat, `positive_upload_permissions and negative_upload_permissions are supplied together`},
		"role: its other half": {"/roles",
			roleBodyText("", `"name":"x","negative_search_index_permissions":[]`, nil),
			codeFormat, `positive_search_index_permissions and negative_search_index_permissions are supplied together`},
		"role: a list of null": {"/roles",
			roleBodyText("", `"name":"x","positive_upload_permissions":null,"negative_upload_permissions":[]`, nil),
			codeFormat, `not an array`},
		"role: parents of null": {"/roles", with(roleBodyText("", `"name":"x"`, []string{}), `"data":[]`, `"data":null`),
			codeFormat, `not an array`},
		"role: a parent's type": {"/roles", with(roleBodyText("", `"name":"x"`, []string{role}), `{"type":"role"`,
			`{"type":"x"`), codeFormat, `not one of role`},
		"role: meta of text": {"/roles", with(goodRole, `"attributes"`, `"meta":"x","attributes"`),
			codeFormat, `#/data/meta: `},
		"entry: no action": {"/roles", entry(`{"environment":"main"}`), codeFormat, `"action" wasn't supplied.`},
		"entry: no environment": {"/roles", entry(`{"action":"read","on_creator":"anyone"}`), codeFormat,
			`#/data/attributes/positive_item_type_permissions/0: failed schema #/definitions/role/links/0/schema/properties/` +
				`data/properties/attributes/properties/positive_item_type_permissions/items: "environment" wasn't supplied.`},
		"entry: environment null": {"/roles", entry(`{"environment":null,"action":"read","on_creator":"anyone"}`),
			codeFormat, `not a string`},
		"entry: unknown action": {"/roles", entry(`{"environment":"main","action":"fly"}`), codeFormat, `not an action`},
		"entry: an upload's": {"/roles", entry(`{"environment":"main","action":"move","on_creator":"anyone"}`),
			codeFormat, `not an action`},
		"entry: unknown key": {"/roles", entry(`{"environment":"main","action":"read","on_creator":"anyone","x":1}`),
			codeFormat, `"x" is not`},
		"entry: no creator": {"/roles", entry(`{"environment":"main","action":"read"}`), codeFormat, `/on_creator`},
		"entry: a creator there": {"/roles",
			entry(`{"environment":"main","action":"create","on_creator":"self","localization_scope":"all"}`),
			codeFormat, `not permitted`},
		"entry: another creator": {"/roles", entry(`{"environment":"main","action":"read","on_creator":"me"}`), codeFormat,
			`not one of anyone`},
		"entry: no scope": {"/roles", entry(`{"environment":"main","action":"update","on_creator":"self"}`),
			codeFormat, `localization_scope`},
		"entry: a scope there": {"/roles",
			entry(`{"environment":"main","action":"read","on_creator":"self","localization_scope":"all"}`),
			codeFormat, `not permitted`},
		"entry: all, localized": {"/roles",
			entry(`{"environment":"main","action":"all","on_creator":"self","localization_scope":"localized","locale":"it"}`),
			codeFormat, `not all`},
		"entry: no locale": {"/roles",
			entry(`{"environment":"main","action":"update","on_creator":"self","localization_scope":"localized"}`),
			codeFormat, `/locale`},
		"entry: a locale there": {"/roles",
			entry(`{"environment":"main","action":"update","on_creator":"self","localization_scope":"all","locale":"it"}`),
			codeFormat, `not permitted`},
		"entry: a stage there": {"/roles",
			entry(`{"environment":"main","action":"read","on_creator":"self","on_stage":"a"}`), codeFormat, `not permitted`},
		"entry: to a stage": {"/roles",
			entry(`{"environment":"main","action":"update","on_creator":"self","localization_scope":"all","to_stage":"a"}`),
			codeFormat, `not permitted`},
		"entry: model, workflow": {"/roles",
			entry(`{"environment":"main","action":"read","on_creator":"self","item_type":"1","workflow":"2"}`), codeFormat,
			`exclude each other`},
		"entry: an id as number": {"/roles",
			entry(`{"environment":"main","action":"read","on_creator":"self","item_type":1}`), codeFormat, `not a string`},
		"entry: a linkage": {"/roles",
			entry(`{"environment":"main","action":"read","on_creator":"self","item_type":{"id":"1","type":"item_type"}}`),
			codeFormat, `not a string`},
		"entry: an empty id": {"/roles",
			entry(`{"environment":"main","action":"read","on_creator":"self","item_type":""}`), codeFormat, `not an id`},
		"entry: a long id": {"/roles",
			entry(`{"environment":"` + strings.Repeat("x", 65) + `","action":"read","on_creator":"self"}`),
			codeFormat, `not an id`},
		"entry: a text": {"/roles", entry(`"read"`), codeFormat, `not an object`},
		"upload: publish": {"/roles", upload(`{"environment":"main","action":"publish","on_creator":"self"}`),
			codeFormat, `not an action`},
		"upload: to a collection": {"/roles",
			upload(`{"environment":"main","action":"read","on_creator":"self","move_to_upload_collection":"1"}`),
			codeFormat, `not permitted`},
		"upload: a model": {"/roles", upload(`{"environment":"main","action":"read","on_creator":"self","item_type":"1"}`),
			codeFormat, `"item_type" is not`},
		"trigger: an action": {"/roles",
			roleBodyText("", `"name":"x","positive_build_trigger_permissions":[{"action":"all"}],`+
				`"negative_build_trigger_permissions":[]`, nil), codeFormat, `"action" is not`},
		"too many entries": {"/roles", entry(strings.Repeat(`{},`, 1000) + `{}`), codeFormat, `more than 1000`},
		"so many faults":   {"/roles", entry(strings.Repeat(`{},`, 900) + `{}`), codeFormat, ``},
	} {
		t.Run(name, func(t *testing.T) {
			status := 422
			if c.code == codeJSON {
				status = 415
			}
			details := refusedReply(t, w.send(w.admin, "POST", c.path, c.body), status, c.code)
			if c.code == codeFormat {
				var d struct{ Messages []string }
				require.NoError(t, json.Unmarshal([]byte(details), &d))
				require.NotEmpty(t, d.Messages)
				require.LessOrEqual(t, len(d.Messages), maxMessages)
				require.Contains(t, strings.Join(d.Messages, "\n"), c.message)
			}
		})
	}
	big := w.send(w.admin, "POST", "/roles", `{"data":"`+strings.Repeat("x", maxBody)+`"}`)
	refusedReply(t, big, 413, codeJSON)

	var tokens []gotToken
	var roles []gotRole
	w.ok(200, "GET", "/access_tokens", "", &tokens)
	w.ok(200, "GET", "/roles", "", &roles)
	require.Len(t, tokens, 1, "nothing was made")
	require.Len(t, roles, 1)

	// An update names its own id, and all four attributes.
	path := "/access_tokens/" + w.adminID
	for _, body := range []string{tokenBodyText("", "x", ""), tokenBodyText("other", "x", ""),
		`{"data":{"type":"access_token","id":"` + w.adminID + `","attributes":{"name":"x"}}}`,
		`{"data":{"type":"access_token","id":"` + w.adminID + `"}}`,
		with(tokenBodyText(w.adminID, "x", role, true, true, true), `{"id":"`+role+`","type":"role"}`, `null`)} {
		w.refused(w.admin, 422, codeFormat, "PUT", path, body)
	}
	details := w.refused(w.admin, 422, codeFormat, "PUT", "/roles/"+role, roleBodyText("other", `"name":"x"`, nil))
	require.JSONEq(t, `{"messages":["#/data/id: failed schema #/definitions/role/links/1/schema/properties/data/`+
		`properties/id: not the id of the path."]}`, details, "the schema is that of an update")
}

// A name has 1 to 256 bytes and no NUL.
func TestNames(t *testing.T) {
	w := newFixture(t, nil)
	for name, code := range map[string]string{"": "VALIDATION_REQUIRED", `a\u0000b`: "VALIDATION_INVALID",
		strings.Repeat("é", 128) + "x": "VALIDATION_LENGTH", strings.Repeat("é", 128): ""} {
		other := strings.ReplaceAll(name, "é", "ü") // as names of roles are unique
		for _, c := range []struct{ method, path, record, body string }{
			{"POST", "/roles", "Role", roleBodyText("", `"name":"`+name+`"`, nil)},
			{"PUT", "/roles/" + w.role.ID, "Role", roleBodyText(w.role.ID, `"name":"`+other+`"`, nil)},
			{"POST", "/access_tokens", "AccessToken", tokenBodyText("", name, w.role.ID)},
			{"PUT", "/access_tokens/" + w.adminID, "AccessToken",
				tokenBodyText(w.adminID, name, w.role.ID, true, true, true)},
		} {
			if code == "" {
				require.Less(t, w.send(w.admin, c.method, c.path, c.body).Code, 300)
				continue
			}
			require.JSONEq(t, `{"field":"name","code":"`+code+`","record_type":"`+c.record+`"}`,
				w.refused(w.admin, 422, codeField, c.method, c.path, c.body))
		}
	}
	// So has that of a duplicate, which the caller does not choose.
	long := w.newRole(strings.Repeat("x", 256), "")
	require.Contains(t, w.refused(w.admin, 422, codeField, "POST", "/roles/"+long.ID+"/duplicate", ""),
		"VALIDATION_LENGTH")
}

// An accepted body is returned unchanged, and compiles to valid rules.
func FuzzRoleAttributes(f *testing.F) {
	for _, e := range append(append([]string{}, modelEntries...), `{}`,
		`{"environment":"*","action":"read","on_creator":"self"}`) {
		f.Add(`{` + models(e, e) + `}`)
	}
	f.Add(`{"can_edit_site":true,"environments_access":"all"}`)
	f.Add(`{` + uploads(uploadEntries[7], uploadEntries[0]) + `}`)
	f.Fuzz(func(t *testing.T, text string) {
		if strictjson.Valid([]byte(text), maxDepth) != nil {
			return
		}
		c := newChecker("role", false)
		m := c.object([]byte(text), "#", nil, slices.Concat(flagNames, []string{"environments_access"}, listNames))
		p := newPermissions()
		if p.read(c, m, "#"); c.err() != nil {
			return
		}
		require.NoError(t, p.compile().Validate())
		extra, err := p.extra()
		require.NoError(t, err)
		again := storedPermissions(extra)
		second, err := again.extra()
		require.NoError(t, err)
		require.Equal(t, string(extra), string(second))
		require.Equal(t, p.compile(), again.compile())
		require.True(t, storedPermissions(nil).compile().Within(p.compile()))
	})
}
