package datocms

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/latchkey-go/latchkey"
)

func TestAdminRoleIsEverythingUntilSomethingIsTaken(t *testing.T) {
	w := newFixture(t, nil)
	may := func() bool { return w.verify(w.admin).Allows(Publish, Model("of tomorrow", "1")) }
	require.True(t, may())
	require.True(t, w.verify(w.admin).Allows(Move, Upload("of tomorrow", "")))
	// it may give what it has
	w.newRole("elsewhere", models(`{"environment":"sandbox","action":"read","on_creator":"anyone"}`, ""))
	put := func(attributes string) {
		w.ok(200, "PUT", "/roles/"+w.role.ID, roleBodyText(w.role.ID, attributes, nil), &gotRole{})
	}
	put(`"can_edit_favicon":false`)
	require.True(t, may())
	put(models(modelEntries[0], `{"environment":"main","action":"delete","on_creator":"anyone"}`))
	require.False(t, may(), "what is left is what the wire says")
	require.True(t, w.verify(w.admin).Allows(Publish, Model("main", "1")))

	// No request can set it.
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

func TestFinalPermissions(t *testing.T) {
	w := newFixture(t, nil)
	read := func(id string) string {
		return `{"environment":"main","item_type":"` + id + `","action":"read","on_creator":"anyone"}`
	}
	same := `{"environment":"main","workflow":null,"item_type":"1","action":"read","on_creator":"anyone"}` // as read("1")
	base := w.newRole("base", `"can_edit_site":true,"environments_access":"none",`+
		models(read("1")+","+read("2"), read("3")))
	side := w.newRole("side", `"environments_access":"sandbox_only",`+uploads(uploadEntries[0], ""))
	leaf := w.newRole("leaf", `"can_edit_schema":true,"environments_access":"primary_only",`+
		models(same+","+read("3"), read("2")),
		base.ID, side.ID)
	require.Equal(t, []linkage{{base.ID, "role"}, {side.ID, "role"}}, leaf.Relationships.Inherits.Data)
	require.Equal(t, "["+same+","+read("3")+"]", string(leaf.Attributes["positive_item_type_permissions"]), "declared")
	final := leaf.Meta.Final
	require.Equal(t, "["+read("1")+","+read("2")+","+read("3")+"]", string(final["positive_item_type_permissions"]))
	require.Equal(t, "["+read("3")+","+read("2")+"]", string(final["negative_item_type_permissions"]))
	require.Equal(t, "["+uploadEntries[0]+"]", string(final["positive_upload_permissions"]))
	require.Equal(t, `"all"`, string(final["environments_access"]), "primary_only and sandbox_only")
	require.Equal(t, "true", string(final["can_edit_site"]))
	require.Equal(t, "true", string(final["can_edit_schema"]))
	require.Equal(t, "false", string(final["can_manage_sso"]))

	// What is shown is what is enforced.
	access := w.verify(*w.newToken("t", leaf.ID).Attributes.Token)
	for id, want := range map[string]bool{"1": true, "2": false, "3": false, "4": false} {
		require.Equal(t, want, access.Allows(latchkey.Read, Model("main", id)), id)
	}
	require.NoError(t, Enter(access, true))
	require.NoError(t, Enter(access, false))
	require.True(t, access.Allows(latchkey.Use, Flag("can_edit_site")))

	w.ok(200, "PUT", "/roles/"+base.ID, roleBodyText(base.ID, `"can_edit_site":false,`+models("", ""), nil), &gotRole{})
	access = w.verify(*w.newToken("t2", leaf.ID).Attributes.Token)
	require.False(t, access.Allows(latchkey.Use, Flag("can_edit_site")), "a parent's change is the child's")
	require.True(t, access.Allows(latchkey.Read, Model("main", "3")))
}

// Two roles together may enter what either may.
func TestMergedEnvironments(t *testing.T) {
	enters := map[string][2]bool{"all": {true, true}, "primary_only": {true, false}, "sandbox_only": {false, true},
		"none": {false, false}}
	for a, ofA := range enters {
		for b, ofB := range enters {
			require.Equal(t, [2]bool{ofA[0] || ofB[0], ofA[1] || ofB[1]}, enters[mergeEnvironments(a, b)], "%s, %s", a, b)
		}
	}
}

// What a role inherits from one that the host made, or that cannot be read, is not shown: the API has no words for it.
func TestFinalPermissionsOfOtherRoles(t *testing.T) {
	w := newFixture(t, nil)
	host := w.makeRole(w.acme, latchkey.Role{Name: "of the host", Extra: []byte(`{"can_edit_site":true}`)})
	lost := w.newRole("lost", `"can_edit_schema":true`)
	role := w.newRole("r", `"can_edit_favicon":true`, lost.ID)
	_, err := w.acme.UpdateRole(t.Context(), role.ID, func(r *latchkey.Role) error {
		r.Inherits = append(r.Inherits, host.ID)
		return nil
	})
	require.NoError(t, err)
	final := func() (flags []string) {
		var got gotRole
		w.ok(200, "GET", "/roles/"+role.ID, "", &got)
		var all []gotRole
		w.ok(200, "GET", "/roles", "", &all)
		for _, one := range all {
			if one.ID == role.ID {
				require.Equal(t, got.Meta.Final, one.Meta.Final)
			}
		}
		for _, name := range flagNames {
			if string(got.Meta.Final[name]) == "true" {
				flags = append(flags, name)
			}
		}
		return flags
	}
	require.Equal(t, []string{"can_edit_favicon", "can_edit_schema"}, final())
	w.store.damaged = lost.ID
	require.Equal(t, []string{"can_edit_favicon"}, final())
	var all []gotRole
	w.ok(200, "GET", "/roles", "", &all)
	require.Len(t, all, 2, "the administrator's and the readable one")
}

func TestNegativesNotInherited(t *testing.T) {
	w := newFixture(t, &Options{NegativesNotInherited: true})
	entry := `{"environment":"main","item_type":"1","action":"read","on_creator":"anyone"}`
	base := w.newRole("base", models(entry, entry))
	leaf := w.newRole("leaf", models(entry, ""), base.ID)
	require.Equal(t, "[]", string(leaf.Meta.Final["negative_item_type_permissions"]))
	access := w.verify(*w.newToken("t", leaf.ID).Attributes.Token)
	require.True(t, access.Allows(latchkey.Read, Model("main", "1")))
	access = w.verify(*w.newToken("t", base.ID).Attributes.Token)
	require.False(t, access.Allows(latchkey.Read, Model("main", "1")))
}
