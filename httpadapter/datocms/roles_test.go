package datocms

import (
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
	"sync"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/latchkey-go/latchkey"
)

// entries of every action, as the product's own server and its types write them.
var (
	modelEntries = []string{
		`{"environment":"main","item_type":null,"workflow":null,"on_stage":null,"to_stage":null,"action":"all",` +
			`"on_creator":"anyone","localization_scope":"all","locale":null}`,
		`{"environment":"main","action":"all","on_creator":"role","localization_scope":"all","workflow":"w","on_stage":"a",` +
			`"to_stage":"b"}`,
		`{"environment":"main","item_type":"44","action":"read","on_creator":"self"}`,
		`{"environment":"main","item_type":"44","action":"create","localization_scope":"localized","locale":"it"}`,
		`{"environment":"main","item_type":"44","action":"update","on_creator":"anyone",` +
			`"localization_scope":"not_localized","on_stage":"a"}`,
		`{"environment":"main","item_type":"44","action":"publish","on_creator":"anyone","localization_scope":"all"}`,
		`{"environment":"main","item_type":"44","action":"duplicate","on_creator":null}`,
		`{"environment":"main","item_type":"44","action":"delete","on_creator":"self","on_stage":"a"}`,
		`{"environment":"main","item_type":"44","action":"edit_creator","on_creator":"role"}`,
		`{"environment":"main","item_type":"44","action":"take_over","on_creator":"role"}`,
		`{"environment":"other","workflow":"w","action":"move_to_stage","on_creator":"role","on_stage":"a","to_stage":"b"}`,
	}
	uploadEntries = []string{
		`{"environment":"main","action":"all","on_creator":"anyone","localization_scope":"all","locale":null}`,
		`{"environment":"main","action":"update","on_creator":"self","localization_scope":"localized","locale":"en",` +
			`"upload_collection":"c"}`,
		`{"environment":"main","action":"create","upload_collection":"c"}`,
		`{"environment":"main","action":"read","on_creator":"anyone"}`,
		`{"environment":"main","action":"delete","on_creator":"self"}`,
		`{"environment":"main","action":"edit_creator","on_creator":"self"}`,
		`{"environment":"main","action":"replace_asset","on_creator":"self","upload_collection":null}`,
		`{"environment":"main","action":"move","on_creator":"anyone","upload_collection":"c",` +
			`"move_to_upload_collection":"d"}`,
	}
)

func TestRolesRoundTripVerbatim(t *testing.T) {
	w := newFixture(t, nil)
	all := `"name":"r"`
	for i, flag := range flagNames {
		all += `,"` + flag + `":` + []string{"true", "false"}[i%2]
	}
	lists := `,"environments_access":"sandbox_only",` +
		models(strings.Join(modelEntries, ","), modelEntries[2]) + "," +
		uploads(strings.Join(uploadEntries, ","), uploadEntries[4]) +
		`,"positive_build_trigger_permissions":[{"build_trigger":null},{}],` +
		`"negative_build_trigger_permissions":[{"build_trigger":"7"}]` +
		`,"positive_search_index_permissions":[{"search_index":"9"}],"negative_search_index_permissions":[]`
	var made, found, again gotRole
	w.ok(201, "POST", "/roles", roleBodyText("", all+lists, nil), &made)
	check := func(got gotRole) {
		t.Helper()
		text, err := json.Marshal(got.Attributes)
		require.NoError(t, err)
		require.JSONEq(t, "{"+all+lists+"}", string(text))
		require.Len(t, got.Attributes, 1+20+1+8)
		for i, raw := range []string{strings.Join(modelEntries, ","), modelEntries[2]} {
			require.Equal(t, "["+raw+"]", string(got.Attributes[listNames[i]]), "byte for byte")
		}
		require.Len(t, got.Meta.Final, 20+1+8)
		// without inheritance the final permissions are the role's own, without duplicates
		for name, raw := range got.Meta.Final {
			if name != "positive_build_trigger_permissions" {
				require.Equal(t, string(got.Attributes[name]), string(raw), name)
			}
		}
		require.Equal(t, `[{"build_trigger":null}]`, string(got.Meta.Final["positive_build_trigger_permissions"]))
		require.Empty(t, got.Relationships.Inherits.Data)
	}
	check(made)
	w.ok(200, "GET", "/roles/"+made.ID, "", &found)
	check(found)

	// A client that sends back all it received, including meta, changes nothing.
	body, err := json.Marshal(map[string]any{"data": map[string]any{"type": "role", "id": made.ID,
		"attributes": found.Attributes, "meta": map[string]any{"final_permissions": found.Meta.Final},
		"relationships": map[string]any{"inherits_permissions_from": map[string]any{"data": []any{}}}}})
	require.NoError(t, err)
	w.ok(200, "PUT", "/roles/"+made.ID, string(body), &again)
	check(again)
	w.ok(200, "PUT", "/roles/"+made.ID, `{"data":{"type":"role","id":"`+made.ID+`"}}`, &again)
	check(again)
	w.ok(200, "PUT", "/roles/"+made.ID, roleBodyText(made.ID, uploads("", ""), nil), &again)
	require.Equal(t, `[]`, string(again.Attributes["positive_upload_permissions"]))
	require.Equal(t, string(made.Attributes["positive_item_type_permissions"]),
		string(again.Attributes["positive_item_type_permissions"]), "one family alone is replaced")

	var twin gotRole
	w.ok(201, "POST", "/roles/"+made.ID+"/duplicate", "", &twin)
	require.Equal(t, `"r (duplicate #1)"`, string(twin.Attributes["name"]))
	delete(twin.Attributes, "name")
	delete(again.Attributes, "name")
	require.Equal(t, again.Attributes, twin.Attributes)
	w.ok(201, "POST", "/roles/"+made.ID+"/duplicate", "", &twin)
	require.Equal(t, `"r (duplicate #2)"`, string(twin.Attributes["name"]))
	w.ok(201, "POST", "/roles/"+twin.ID+"/duplicate", "", &twin)
	require.Equal(t, `"r (duplicate #2) (duplicate #1)"`, string(twin.Attributes["name"]))
}

// Entries keep their bytes where encoding/json would write others.
func TestEntriesAreNotWrittenAnew(t *testing.T) {
	w := newFixture(t, nil)
	const entry = `{"environment":"main","action":"read","on_creator":"anyone","item_type":"<a>&\u00e9\/"}`
	role := w.newRole("<b>", models(entry, ""))
	var found gotRole
	w.ok(200, "GET", "/roles/"+role.ID, "", &found)
	for _, raw := range []json.RawMessage{role.Attributes["positive_item_type_permissions"],
		found.Attributes["positive_item_type_permissions"], found.Meta.Final["positive_item_type_permissions"]} {
		require.Equal(t, "["+entry+"]", string(raw))
	}
	// White space alone is left out.
	role = w.newRole("spaced", models(strings.ReplaceAll(entry, ",", " ,\n\t"), ""))
	require.Equal(t, "["+entry+"]", string(role.Attributes["positive_item_type_permissions"]))
	kept, err := w.acme.Role(t.Context(), role.ID)
	require.NoError(t, err)
	require.Contains(t, string(kept.Extra), "["+entry+"]")
}

// A request to duplicate a role has no name, so the caller could not correct a name that is taken.
func TestManyDuplicateAtOnce(t *testing.T) {
	w := newFixture(t, nil)
	role := w.newRole("r", "")
	const many = 40
	names := make([]string, many)
	var all sync.WaitGroup
	for i := range names {
		all.Go(func() {
			out := w.raw("POST", "/roles/"+role.ID+"/duplicate", "", clientHeaders(w.admin))
			var got struct{ Data gotRole }
			if assert.Equal(t, 201, out.Code, out.Body) && assert.NoError(t, json.Unmarshal(out.Body.Bytes(), &got)) {
				names[i] = string(got.Data.Attributes["name"])
			}
		})
	}
	all.Wait()
	for n := range many {
		require.Contains(t, names, fmt.Sprintf(`"r (duplicate #%d)"`, n+1))
	}
}

// A call that needs no body takes one, if it can be read. If it cannot, nothing is done.
func TestBodiesOfCallsThatNeedNone(t *testing.T) {
	w := newFixture(t, nil)
	role := w.newRole("r", "")
	token := w.newToken("t", w.role.ID, false, false, true)
	before := w.state()
	calls := [][2]string{{"POST", "/roles/" + role.ID + "/duplicate"},
		{"POST", "/access_tokens/" + token.ID + "/regenerate_token"}, {"DELETE", "/roles/" + role.ID},
		{"DELETE", "/access_tokens/" + token.ID}}
	for _, call := range calls {
		for _, body := range []string{"{", "{} {}", `{"a":1,"a":2}`} {
			w.refused(w.admin, 415, codeJSON, call[0], call[1], body)
		}
		h := clientHeaders(w.admin)
		h.Set("Content-Type", "text/plain")
		refusedReply(t, w.raw(call[0], call[1], "{}", h), 415, codeContentType)
	}
	require.Equal(t, before, w.state())
	for _, call := range calls {
		require.Less(t, w.send(w.admin, call[0], call[1], "{}").Code, 300, call)
	}
}

func TestRoleNamesAndBonds(t *testing.T) {
	w := newFixture(t, nil)
	parent := w.newRole("parent", "")
	child := w.newRole("child", "", parent.ID)
	details := w.refused(w.admin, 422, codeField, "POST", "/roles", roleBodyText("", `"name":"child"`, nil))
	require.JSONEq(t, `{"field":"name","code":"VALIDATION_UNIQUENESS","record_type":"Role"}`, details)
	w.refused(w.admin, 422, codeField, "PUT", "/roles/"+parent.ID, roleBodyText(parent.ID, `"name":"child"`, nil))
	w.makeRole(w.acme, latchkey.Role{Name: "of the host"})
	w.newRole("of the host", "") // names of other origins do not conflict

	for _, parents := range [][]string{{parent.ID}, {child.ID}, {w.role.ID, w.role.ID}} { // itself, a cycle, twice
		details := w.refused(w.admin, 422, codeField, "PUT", "/roles/"+parent.ID, roleBodyText(parent.ID, "", parents))
		require.JSONEq(t, `{"field":"inherits_permissions_from","code":"VALIDATION_INVALID","record_type":"Role"}`, details)
	}
	w.refused(w.admin, 422, codeBound, "DELETE", "/roles/"+parent.ID, "")
	token := w.newToken("t", child.ID)
	w.refused(w.admin, 422, codeBound, "DELETE", "/roles/"+child.ID, "")
	w.ok(200, "DELETE", "/access_tokens/"+token.ID, "", &token)
	var gone gotRole
	w.ok(200, "DELETE", "/roles/"+child.ID, "", &gone)
	require.Equal(t, []linkage{{parent.ID, "role"}}, gone.Relationships.Inherits.Data)
	w.ok(200, "DELETE", "/roles/"+parent.ID, "", &gone)
	w.refused(w.admin, 404, codeNotFound, "GET", "/roles/"+parent.ID, "")
}

func TestWhoReadsRoles(t *testing.T) {
	w := newFixture(t, nil)
	none := *w.newToken("t", w.newRole("none", "").ID, false, false, true).Attributes.Token
	tokens := *w.newToken("t", w.newRole("tokens", `"can_manage_access_tokens":true`).ID, false, false,
		true).Attributes.Token
	var list []gotRole
	w.refused(none, 401, codePermissions, "GET", "/roles", "")
	w.refused(none, 401, codePermissions, "GET", "/roles/"+w.role.ID, "")
	w.okAs(tokens, 200, "GET", "/roles", "", &list)
	require.Len(t, list, 3)
	for _, id := range []string{w.role.ID, "no-role"} { // whether there is one stays unknown
		for method, path := range map[string]string{"GET": "/roles/" + id, "PUT": "/roles/" + id, "DELETE": "/roles/" + id,
			"POST": "/roles/" + id + "/duplicate"} {
			w.refused(none, 401, codePermissions, method, path, "")
		}
	}
	w.refused(tokens, 401, codePermissions, "POST", "/roles", roleBodyText("", `"name":"x"`, nil))
	w.opts.OpenRoles = true
	s := newSurface(w.acme, &w.opts, MeterCMA, DefaultRate)
	require.NoError(t, (&call{s: s, access: w.verify(none)}).mayRead(w.role.ID))
}

// A copy inherits denies, or not, as its original does.
func TestADuplicateInheritsAlike(t *testing.T) {
	for _, not := range []bool{false, true} {
		w := newFixture(t, &Options{NegativesNotInherited: not})
		entry := `{"environment":"main","item_type":"1","action":"read","on_creator":"anyone"}`
		leaf := w.newRole("leaf", models(entry, ""), w.newRole("base", models(entry, entry)).ID)
		var copied gotRole
		w.ok(http.StatusCreated, "POST", "/roles/"+leaf.ID+"/duplicate", "", &copied)
		require.Equal(t, leaf.Relationships, copied.Relationships)
		for _, role := range []gotRole{leaf, copied} {
			access := w.verify(*w.newToken("t", role.ID).Attributes.Token)
			require.Equal(t, not, access.Allows(latchkey.Read, Model("main", "1")), role.Attributes["name"])
		}
	}
}

// A copy is compiled for the current primary environment, whatever its original was compiled for: Recompile may miss
// it.
func TestADuplicateIsCompiledAnew(t *testing.T) {
	w := newFixture(t, &Options{Environments: []string{"main", "staging"}})
	base := w.newRole("base", `"environments_access":"primary_only",`+entriesEverywhere())
	_, err := w.acme.UpdateRole(t.Context(), base.ID, func(r *latchkey.Role) error {
		return storedPermissions(r.Extra).apply(r, "staging", true)
	})
	require.NoError(t, err)
	var copied gotRole
	w.ok(http.StatusCreated, "POST", "/roles/"+base.ID+"/duplicate", "", &copied)
	a := w.verify(*w.newToken("t", copied.ID).Attributes.Token)
	require.True(t, mayRead(a, "main"))
	require.False(t, mayRead(a, "staging"))
}
