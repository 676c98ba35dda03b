package datocms

import (
	"encoding/json"
	"flag"
	"net/http"
	"os"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/latchkey-go/latchkey"
)

var update = flag.Bool("update", false, "write the golden files anew")

func golden(t *testing.T, name, got string) {
	t.Helper()
	file := "testdata/" + name + ".golden"
	if *update {
		require.NoError(t, os.WriteFile(file, []byte(got), 0o644))
	}
	want, err := os.ReadFile(file)
	require.NoError(t, err)
	require.Equal(t, string(want), got)
}

// The life of a token as in the vendor's own live test, with every byte of every reply.
func TestWire(t *testing.T) {
	w := newFixture(t, nil)
	var script strings.Builder
	do := func(method, path, body string) []byte {
		out := w.send(w.admin, method, path, body)
		script.WriteString(method + " " + path + " → " + itoa(out.Code) + "\n" + out.Body.String() + "\n\n")
		return out.Body.Bytes()
	}
	id := func(body []byte) string {
		var doc struct{ Data linkage }
		require.NoError(t, json.Unmarshal(body, &doc))
		return doc.Data.ID
	}
	role := id(do("POST", "/roles", `{"data":{"type":"role","attributes":{"name":"New role"}}}`))
	token := id(do("POST", "/access_tokens", tokenBodyText("", "Read-only API token", role, true)))
	do("GET", "/access_tokens/"+token, "")
	do("GET", "/access_tokens", "")
	do("PUT", "/access_tokens/"+token, tokenBodyText(token, "Renamed", "", true, true, true))
	do("POST", "/access_tokens/"+token+"/regenerate_token", "")
	do("DELETE", "/access_tokens/"+token, "")
	do("GET", "/access_tokens", "")
	child := id(do("POST", "/roles", roleBodyText("", `"name":"Child","can_edit_site":true,`+models(
		`{"environment":"main","action":"read","on_creator":"self"}`, ``), []string{role})))
	do("POST", "/roles/"+child+"/duplicate", "")
	do("GET", "/roles", "")
	do("PUT", "/roles/"+child, roleBodyText(child, `"name":"Kind"`, []string{}))
	do("DELETE", "/roles/"+child, "")
	golden(t, "wire", plain(script.String()))
}

func TestTokenFlagsAndRolesBiteAtOnce(t *testing.T) {
	w := newFixture(t, nil)
	token := w.newToken("t", w.role.ID, true, false, true)
	secret := *token.Attributes.Token
	var list []gotToken
	w.okAs(secret, 200, "GET", "/access_tokens", "", &list)

	w.ok(200, "PUT", "/access_tokens/"+token.ID, tokenBodyText(token.ID, "t", "", true, false, false), &token)
	require.Equal(t, w.role.ID, token.Relationships.Role.Data.ID, "the role is kept")
	w.refused(secret, 401, codeAuthorization, "GET", "/access_tokens", "")
	require.Equal(t, 200, w.deliver(secret, nil).Code)

	weak := w.newRole("weak", "")
	w.ok(200, "PUT", "/access_tokens/"+token.ID, tokenBodyText(token.ID, "t", weak.ID, false, false, true), &token)
	w.refused(secret, 401, codePermissions, "POST", "/access_tokens", tokenBodyText("", "x", weak.ID))
	require.Equal(t, 401, w.deliver(secret, nil).Code)

	w.ok(200, "PUT", "/roles/"+weak.ID, roleBodyText(weak.ID, `"can_manage_access_tokens":true`, nil), &gotRole{})
	w.okAs(secret, 201, "POST", "/access_tokens", tokenBodyText("", "x", weak.ID), &token)
	w.ok(200, "PUT", "/roles/"+weak.ID, roleBodyText(weak.ID, `"can_manage_access_tokens":false`, nil), &gotRole{})
	w.refused(secret, 401, codePermissions, "POST", "/access_tokens", tokenBodyText("", "x", weak.ID))
}

func TestRotateAndDestroyKillAtOnce(t *testing.T) {
	w := newFixture(t, nil)
	token := w.newToken("t", w.role.ID, true, true, true)
	old := *token.Attributes.Token
	var again gotToken
	w.ok(200, "POST", "/access_tokens/"+token.ID+"/regenerate_token", "", &again)
	require.NotEqual(t, old, *again.Attributes.Token)
	require.Equal(t, token.Attributes.Name, again.Attributes.Name)
	require.Equal(t, token.Relationships, again.Relationships)
	w.refused(old, 401, codeAuthorization, "GET", "/access_tokens", "")
	var found gotToken
	w.okAs(*again.Attributes.Token, 200, "GET", "/access_tokens/"+token.ID, "", &found)
	require.Equal(t, again.Attributes.Token, found.Attributes.Token, "the secret can be read at any time")

	w.refused(*again.Attributes.Token, 422, codeSelf, "DELETE", "/access_tokens/"+token.ID, "")
	w.ok(200, "DELETE", "/access_tokens/"+token.ID, "", &found)
	require.Equal(t, token.ID, found.ID)
	w.refused(*again.Attributes.Token, 401, codeAuthorization, "GET", "/access_tokens", "")
	w.refused(w.admin, 404, codeNotFound, "GET", "/access_tokens/"+token.ID, "")
}

// A token that is revoked while a call is about it is not there, or was there.
func TestTokensThatAreRevokedMeanwhile(t *testing.T) {
	for name, c := range map[string]struct{ method, path string }{
		"read": {"GET", ""}, "regenerate": {"POST", "/regenerate_token"}, "destroy": {"DELETE", ""}, "update": {"PUT", ""}} {
		t.Run(name, func(t *testing.T) {
			missing := 0
			for n, hit := 1, true; hit; n++ {
				w := newFixture(t, nil)
				token, body := w.newToken("t", w.role.ID, true, true, true), ""
				if name == "update" {
					body = tokenBodyText(token.ID, "u", w.role.ID, true, true, true)
				}
				loads := 0
				hit = false
				w.store.loaded = func(id string) {
					if id != token.ID {
						return
					}
					if loads++; loads == n {
						hit = true
						require.NoError(t, w.acme.Revoke(t.Context(), token.ID, ""))
					}
				}
				out := w.send(w.admin, c.method, "/access_tokens/"+token.ID+c.path, body)
				w.store.loaded = nil
				if out.Code == 404 {
					require.Contains(t, out.Body.String(), codeNotFound)
					missing++
				} else {
					require.Equal(t, 200, out.Code, "load %d: %s", n, out.Body)
				}
				if !hit {
					require.Equal(t, 200, out.Code)
				}
			}
			require.Positive(t, missing)
		})
	}
}

func TestWhoSeesSecrets(t *testing.T) {
	w := newFixture(t, nil)
	reader := w.newToken("reader", w.newRole("reader", `"can_manage_users":true`).ID, false, false, true)
	keeper := w.newToken("keeper", w.newRole("keeper", `"can_manage_access_tokens":true`).ID, false, false, true)
	seen := func(token string) map[string]bool {
		var list []gotToken
		w.okAs(token, 200, "GET", "/access_tokens", "", &list)
		out := map[string]bool{}
		for _, t := range list {
			out[t.Attributes.Name] = t.Attributes.Token != nil
		}
		return out
	}
	require.Equal(t, map[string]bool{"Full access": true, "reader": true, "keeper": true}, seen(w.admin))
	require.Equal(t, map[string]bool{"Full access": false, "reader": false, "keeper": false},
		seen(*reader.Attributes.Token), "without can_manage_access_tokens")
	require.Equal(t, map[string]bool{"Full access": false, "reader": false, "keeper": true},
		seen(*keeper.Attributes.Token), "the secret of a token that may do more is an escalation")

	w = newFixtureWith(t, nil, false)
	made := w.newToken("t", w.role.ID)
	var found gotToken
	w.ok(200, "GET", "/access_tokens/"+made.ID, "", &found)
	require.Nil(t, found.Attributes.Token, "nothing can be revealed without a keyring")
	w.ok(200, "POST", "/access_tokens/"+made.ID+"/regenerate_token", "", &found)
	require.NotNil(t, found.Attributes.Token, "but a new secret is shown once")
}

func TestNoCallerMintsAboveItself(t *testing.T) {
	w := newFixture(t, nil)
	role := w.newRole("keeper", `"can_manage_access_tokens":true,"can_manage_users":true`)
	token := w.newToken("keeper", role.ID, false, false, true)
	secret := *token.Attributes.Token
	refused := func(method, path, body string) {
		t.Helper()
		w.refused(secret, 401, codePermissions, method, path, body)
	}
	// a stronger role
	refused("POST", "/access_tokens", tokenBodyText("", "x", w.role.ID, false, false, true))
	refused("POST", "/access_tokens", tokenBodyText("", "x", role.ID, true, false, true)) // another API
	// itself, upward
	refused("PUT", "/access_tokens/"+token.ID, tokenBodyText(token.ID, "x", w.role.ID, false, false, true))
	refused("PUT", "/access_tokens/"+token.ID, tokenBodyText(token.ID, "x", "", true, true, true))
	refused("PUT", "/access_tokens/"+w.adminID, tokenBodyText(w.adminID, "x", "")) // a stronger token, downward
	refused("POST", "/access_tokens/"+w.adminID+"/regenerate_token", "")
	refused("DELETE", "/access_tokens/"+w.adminID, "")
	refused("POST", "/roles", roleBodyText("", `"name":"x","can_edit_site":true`, nil))
	refused("POST", "/roles", roleBodyText("", `"name":"x"`, []string{w.role.ID}))
	refused("POST", "/roles/"+w.role.ID+"/duplicate", "")
	refused("PUT", "/roles/"+role.ID, roleBodyText(role.ID, `"can_edit_site":true`, nil))
	refused("PUT", "/roles/"+role.ID, roleBodyText(role.ID, ``, []string{w.role.ID}))
	refused("PUT", "/roles/"+w.role.ID, roleBodyText(w.role.ID, `"can_edit_site":false`, nil)) // held by a stronger token
	refused("DELETE", "/roles/"+w.role.ID, "")

	var made gotToken
	w.okAs(secret, 201, "POST", "/access_tokens", tokenBodyText("", "equal", role.ID, false, false, true), &made)
	w.okAs(secret, 201, "POST", "/roles", roleBodyText("", `"name":"x"`, nil), &gotRole{})

	w.opts.AllowEscalation = true
	w.mux = http.NewServeMux()
	Mount(w.mux, w.acme, &w.opts)
	w.okAs(secret, 201, "POST", "/access_tokens", tokenBodyText("", "x", w.role.ID, true, true, true), &made)
	w.okAs(secret, 201, "POST", "/roles", roleBodyText("", `"name":"y","can_edit_site":true`, nil), &gotRole{})
	weak := w.newToken("weak", w.newRole("weak", "").ID, false, false, true)
	w.refused(*weak.Attributes.Token, 401, codePermissions, "POST", "/access_tokens", tokenBodyText("", "x", role.ID))
}

func TestOnlyItsOwnOriginAndOwner(t *testing.T) {
	w := newFixture(t, nil)
	hostRole := w.makeRole(w.acme, latchkey.Role{Name: "host"})
	hostID, _ := w.issue(w.acme, latchkey.Spec{Kind: latchkey.KindAPIKey, Name: "host"})
	foreignRole := w.makeRole(w.other, AdminRole("Admin", "main"))
	foreignID, _ := w.issue(w.other, TokenSpec("foreign", foreignRole.ID, true, true, true))
	revokedID, _ := w.issue(w.acme, TokenSpec("revoked", w.role.ID, true, true, true))
	require.NoError(t, w.acme.Revoke(t.Context(), revokedID, ""))

	const never = "0190a1b2-0000-7000-8000-000000000000"
	same := func(method, path, tail, body string, ids ...string) {
		t.Helper()
		want := w.refused(w.admin, 404, codeNotFound, method, path+never+tail, strings.ReplaceAll(body, "ID", never))
		for _, id := range append(ids, "x%00y", strings.Repeat("x", 600), "%2e%2e") {
			plainID := strings.NewReplacer("%00", `\u0000`, "%2e", ".").Replace(id)
			require.Equal(t, want, w.refused(w.admin, 404, codeNotFound, method, path+id+tail,
				strings.ReplaceAll(body, "ID", plainID)))
		}
	}
	tokens, roles := []string{hostID, foreignID, revokedID}, []string{hostRole.ID, foreignRole.ID}
	same("GET", "/access_tokens/", "", "", tokens...)
	same("PUT", "/access_tokens/", "", tokenBodyText("ID", "x", ""), tokens...)
	same("DELETE", "/access_tokens/", "", "", tokens...)
	same("POST", "/access_tokens/", "/regenerate_token", "", tokens...)
	same("GET", "/roles/", "", "", roles...)
	same("PUT", "/roles/", "", roleBodyText("ID", `"name":"x"`, nil), roles...)
	same("DELETE", "/roles/", "", "", roles...)
	same("POST", "/roles/", "/duplicate", "", roles...)

	for _, id := range append(roles, never, "x") { // and in each slot of a body
		w.refused(w.admin, 422, codeField, "POST", "/access_tokens", tokenBodyText("", "x", id))
		w.refused(w.admin, 422, codeField, "PUT", "/access_tokens/"+w.adminID,
			tokenBodyText(w.adminID, "x", id, true, true, true))
		w.refused(w.admin, 422, codeField, "POST", "/roles", roleBodyText("", `"name":"x"`, []string{id}))
		w.refused(w.admin, 422, codeField, "PUT", "/roles/"+w.role.ID, roleBodyText(w.role.ID, ``, []string{id}))
	}
	var list []gotToken
	w.ok(200, "GET", "/access_tokens", "", &list)
	require.Len(t, list, 1)
	var all []gotRole
	w.ok(200, "GET", "/roles", "", &all)
	require.Len(t, all, 1)
}

func TestHardcodedTokens(t *testing.T) {
	w := newFixture(t, nil)
	spec := TokenSpec("Read-only", w.role.ID, true, false, false)
	spec.Extra = json.RawMessage(`{"hardcoded_type":"readonly"}`)
	id, old := w.issue(w.acme, spec)
	out := w.send(w.admin, "GET", "/access_tokens/"+id, "")
	require.Contains(t, out.Body.String(), `"hardcoded_type":"readonly"`)
	w.refused(w.admin, 401, codeNonEditable, "PUT", "/access_tokens/"+id, tokenBodyText(id, "x", ""))
	w.ok(200, "POST", "/access_tokens/"+id+"/regenerate_token", "", &gotToken{})
	require.Equal(t, 401, w.deliver(old, nil).Code)
	w.ok(200, "DELETE", "/access_tokens/"+id, "", &gotToken{})
}

func TestDestinations(t *testing.T) {
	var asked []Destination
	var answer error
	w := newFixture(t, &Options{Reassign: func(_ *http.Request, _ string, to Destination) error {
		asked = append(asked, to)
		return answer
	}})
	token := w.newToken("t", w.newRole("r", "").ID)
	path := "/access_tokens/" + token.ID
	answer = ErrDestinationRequired
	w.refused(w.admin, 422, codeDestinationNeeded, "DELETE", path, "")
	answer = ErrDestination
	w.refused(w.admin, 422, codeDestination, "DELETE", path+"?destination_user_type=user&destination_user_id=7", "")
	asked, answer = nil, nil
	for query, code := range map[string]string{
		"destination_user_type=robot&destination_user_id=7":                           codeDestinationType,
		"destination_user_id=7":                                                       codeDestinationType,
		"destination_user_type=user&destination_user_type=user&destination_user_id=7": codeDestinationType,
		"destination_user_type=user":                                                  codeDestination,
		"destination_user_type=user&destination_user_id=7&destination_user_id=8":      codeDestination,
		"destination_user_type=user&destination_user_id=" + strings.Repeat("7", 65):   codeDestination,
		"destination_user_type=user&destination_user_id=7%00":                         codeFormat,
		"destination_user_type=user&destination_user_id=%zz":                          codeFormat,
	} {
		w.refused(w.admin, 422, code, "DELETE", path+"?"+query, "")
	}
	keeper := w.newToken("keeper", w.newRole("keeper", `"can_manage_access_tokens":true`).ID, false, false, true)
	w.refused(*keeper.Attributes.Token, 401, codePermissions, "DELETE", "/access_tokens/"+w.adminID, "")
	require.Empty(t, asked, "nothing is given away before it is sure that it may be")
	w.ok(200, "DELETE", path+"?destination_user_type=user&destination_user_id=7", "", &gotToken{})
	require.Equal(t, []Destination{{"user", "7"}}, asked)
}
