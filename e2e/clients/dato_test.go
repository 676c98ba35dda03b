package clients

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"github.com/chromedp/chromedp"
	"github.com/stretchr/testify/require"

	"github.com/latchkey-go/latchkey"
	"github.com/latchkey-go/latchkey/e2e/internal/harness"
	"github.com/latchkey-go/latchkey/httpadapter/datocms"
)

// What follows is done with DatoCMS' own npm clients, @datocms/cma-client-node 5.5.3 and @datocms/cda-client 0.3.2,
// as they were published, unless a line says that the request is made by hand.

// dato is those clients, in a Node process of its own.
type dato struct {
	s     *harness.Server
	mu    sync.Mutex
	in    io.WriteCloser
	lines *bufio.Scanner
}

func startDato(s *harness.Server) *dato {
	s.T.Helper()
	clients := harness.Path(s.T, "clients")
	_, err := os.Stat(filepath.Join(clients, "node_modules", "@datocms", "cma-client-node"))
	require.NoError(s.T, err, "the npm packages are missing: run `make install`")
	cmd := exec.Command("node", "dato.js")
	cmd.Dir = clients
	cmd.Env = append(os.Environ(), "BASE="+s.Base)
	cmd.Stderr = os.Stderr
	in, err := cmd.StdinPipe()
	require.NoError(s.T, err)
	out, err := cmd.StdoutPipe()
	require.NoError(s.T, err)
	require.NoError(s.T, cmd.Start())
	s.T.Cleanup(func() {
		in.Close()
		cmd.Wait()
	})
	lines := bufio.NewScanner(out)
	lines.Buffer(nil, 16<<20)
	return &dato{s: s, in: in, lines: lines}
}

// datoReply is how a call ended.
type datoReply struct {
	OK    json.RawMessage
	Waits int
	Error *struct {
		API       bool
		Status    int
		Codes     []string
		Found     []bool
		ByDetails []bool
		Details   []json.RawMessage
		Messages  []string
		Message   string
	}
}

func (d *dato) send(request any, into any) {
	d.s.T.Helper()
	d.mu.Lock()
	defer d.mu.Unlock()
	line, err := json.Marshal(request)
	require.NoError(d.s.T, err)
	_, err = d.in.Write(append(line, '\n'))
	require.NoError(d.s.T, err)
	require.True(d.s.T, d.lines.Scan(), "the client ended")
	require.NoError(d.s.T, json.Unmarshal(d.lines.Bytes(), into), d.lines.Text())
}

// call calls "accessTokens.create" and the like, as the administrator unless another token is named.
func (d *dato) call(token, call string, options obj, args ...any) (r datoReply) {
	d.s.T.Helper()
	if token == "" {
		token = d.s.Credentials.CMAToken
	}
	d.send(obj{"token": token, "call": call, "args": append([]any{}, args...), "options": options}, &r)
	return r
}

// ok is call as the administrator, for calls that must succeed.
func (d *dato) ok(call string, args ...any) obj {
	d.s.T.Helper()
	var out obj
	d.okInto(&out, call, args...)
	if secret, ok := out["token"].(string); ok {
		d.s.Hide(secret)
	}
	return out
}

func (d *dato) okInto(into any, call string, args ...any) {
	d.s.T.Helper()
	r := d.call("", call, nil, args...)
	require.Nil(d.s.T, r.Error)
	require.NoError(d.s.T, json.Unmarshal(r.OK, into), string(r.OK))
}

// refused is call, for calls that must end with an ApiError in which findError finds this code.
func (d *dato) refused(status int, code, token, call string, options obj, args ...any) json.RawMessage {
	d.s.T.Helper()
	r := d.call(token, call, options, args...)
	require.NotNil(d.s.T, r.Error, "%s: %s", call, r.OK)
	require.True(d.s.T, r.Error.API, "no ApiError: %s", r.Error.Message)
	require.Equal(d.s.T, []string{code}, r.Error.Codes, call)
	require.Equal(d.s.T, status, r.Error.Status)
	require.Equal(d.s.T, []bool{true}, r.Error.Found, "findError by code")
	require.Equal(d.s.T, []bool{true}, r.Error.ByDetails, "findError by code and details")
	require.Zero(d.s.T, r.Waits, "a lasting error must not be tried again")
	return r.Error.Details[0]
}

// role makes a role; token makes a token of one.
func (d *dato) role(name string, attributes obj) string {
	d.s.T.Helper()
	attributes["name"] = name
	return d.ok("roles.create", attributes)["id"].(string)
}

func (d *dato) token(name, role string, cda, preview, cma bool) (id, secret string) {
	d.s.T.Helper()
	t := d.ok("accessTokens.create", tokenBody(name, role, cda, preview, cma))
	return t["id"].(string), t["token"].(string)
}

func tokenBody(name, role string, cda, preview, cma bool) obj {
	b := obj{"name": name, "can_access_cda": cda, "can_access_cda_preview": preview, "can_access_cma": cma}
	if role != "" {
		b["role"] = obj{"id": role, "type": "role"}
	}
	return b
}

// The vendor's own live test of tokens, step by step.
func TestDatoVendorSequence(t *testing.T) {
	harness.BeforeMidnight(t) // "today"
	s := harness.StartServer(t)
	d := startDato(s)
	var before, list []obj
	d.okInto(&before, "accessTokens.list")
	require.Equal(t, "cma_token", before[0]["name"])
	require.Equal(t, s.Credentials.CMAToken, before[0]["token"], "it can be read at any time")
	require.Equal(t, "today", before[0]["last_cma_access"], "it is used right now")
	require.Equal(t, "never", before[0]["last_cda_access"])

	role := d.ok("roles.create", obj{"name": "My role"})
	token := d.ok("accessTokens.create", tokenBody("New token", role["id"].(string), true, false, false))
	require.Equal(t, obj{"id": role["id"], "type": "role"}, token["role"])
	require.Nil(t, token["hardcoded_type"])
	found := d.ok("accessTokens.find", token)
	require.Equal(t, token, found)
	d.okInto(&list, "accessTokens.list")
	require.Len(t, list, len(before)+1)
	updated := d.ok("accessTokens.update", token, tokenBody("Updated", "", true, true, true))
	require.Equal(t, "Updated", updated["name"])
	require.Equal(t, true, updated["can_access_cma"])
	require.Equal(t, token["role"], updated["role"], "kept")
	require.Equal(t, token["token"], updated["token"], "kept")
	updated["name"] = "Spread"
	require.Equal(t, updated, d.ok("accessTokens.update", token["id"], updated), "a token sent back whole")
	rotated := d.ok("accessTokens.regenerateToken", token)
	require.NotEqual(t, token["token"], rotated["token"])
	d.refused(401, "INVALID_AUTHORIZATION_HEADER", token["token"].(string), "accessTokens.list", nil)
	require.Nil(t, d.call(rotated["token"].(string), "accessTokens.list", nil).Error)
	destroyed := d.ok("accessTokens.destroy", token["id"])
	require.Equal(t, token["id"], destroyed["id"])
	d.refused(401, "INVALID_AUTHORIZATION_HEADER", rotated["token"].(string), "accessTokens.list", nil)
	d.okInto(&list, "accessTokens.list")
	require.Len(t, list, len(before))
	d.ok("roles.destroy", role)
}

func TestDatoRoles(t *testing.T) {
	s := harness.StartServer(t)
	d := startDato(s)
	entry := obj{"environment": "main", "item_type": "penguin", "workflow": nil, "on_stage": nil, "to_stage": nil,
		"action": "read", "on_creator": "anyone", "localization_scope": nil, "locale": nil}
	created := d.ok("roles.create", obj{"name": "Editor", "can_edit_site": true, "environments_access": "all",
		"positive_item_type_permissions": []obj{entry}, "negative_item_type_permissions": []obj{},
		"positive_build_trigger_permissions": []obj{{"build_trigger": nil}}, "negative_build_trigger_permissions": []obj{}})
	require.Equal(t, []any{map[string]any(entry)}, created["positive_item_type_permissions"])
	require.Equal(t, created, d.ok("roles.find", created["id"]))
	final := created["meta"].(map[string]any)["final_permissions"].(map[string]any)
	require.Len(t, final, 20+1+8)
	require.Equal(t, created["positive_item_type_permissions"], final["positive_item_type_permissions"])

	var before, after []obj
	d.okInto(&before, "roles.list")
	again := d.ok("roles.find", created)
	again["name"] = "Renamed" // sent back whole, meta included, as DatoCMS' own test does
	updated := d.ok("roles.update", created, again)
	require.Equal(t, again, updated)
	twin := d.ok("roles.duplicate", created["id"])
	require.Equal(t, "Renamed (duplicate #1)", twin["name"])
	d.okInto(&after, "roles.list")
	require.Len(t, after, len(before)+1)
	child := d.ok("roles.create",
		obj{"name": "Child", "inherits_permissions_from": []obj{{"id": twin["id"], "type": "role"}}})
	require.Equal(t, true, child["meta"].(map[string]any)["final_permissions"].(map[string]any)["can_edit_site"])
	d.refused(422, "REQUIRED_BY_ASSOCIATION", "", "roles.destroy", nil, twin["id"])
	d.ok("roles.destroy", child)
	d.ok("roles.destroy", twin)

	// The client's helper finds the environment by itself, unless it was told one.
	update := entry
	update["action"], update["localization_scope"] = "update", "all"
	delete(update, "environment")
	require.Nil(t, d.call("", "roles.updateCurrentEnvironmentPermissions", nil, created["id"],
		obj{"positive_item_type_permissions": obj{"add": []obj{update}}}).Error)
	changed := d.ok("roles.find", created)["positive_item_type_permissions"].([]any)
	require.Len(t, changed, 2)
	require.Equal(t, "update", changed[1].(map[string]any)["action"])
	require.Equal(t, "main", changed[1].(map[string]any)["environment"])
	require.Nil(t, d.call("", "roles.updateCurrentEnvironmentPermissions", obj{"environment": "main"}, created["id"],
		obj{"positive_item_type_permissions": obj{"remove": []obj{update}},
			"positive_upload_permissions": obj{"add": []obj{{"action": "read", "on_creator": "self"}}}}).Error)
	role := d.ok("roles.find", created)
	require.Len(t, role["positive_item_type_permissions"], 1)
	require.Len(t, role["positive_upload_permissions"], 1)
}

func TestDatoErrorsAreFoundByTheClient(t *testing.T) {
	s := harness.StartServer(t)
	d := startDato(s)
	role := d.role("none", obj{})
	id, weak := d.token("weak", role, true, true, true)
	_, noCMA := d.token("no CMA", d.ok("roles.create", obj{"name": "x"})["id"].(string), true, true, false)
	const never = "0190a1b2-0000-7000-8000-000000000000"
	admin := harness.TokenID(t, s.Account(), s.Credentials.CMAToken)

	for name, token := range map[string]string{"without the flag": noCMA, "unknown": "b4933d2ea96713a17303907802cb88",
		"another kind": s.Credentials.Publishable, "a host's key": s.Credentials.APIKey, "malformed": "a b"} {
		t.Run(name, func(t *testing.T) {
			s.Sub(t)
			for _, call := range []string{"accessTokens.list", "roles.list", "environments.list"} {
				d.refused(401, "INVALID_AUTHORIZATION_HEADER", token, call, nil)
			}
			d.refused(401, "INVALID_AUTHORIZATION_HEADER", token, "accessTokens.regenerateToken", nil, id)
		})
	}
	var nobody datoReply
	d.send(obj{"token": nil, "call": "roles.list"}, &nobody) // "Bearer null"
	require.Equal(t, []string{"INVALID_AUTHORIZATION_HEADER"}, nobody.Error.Codes)

	d.refused(401, "INSUFFICIENT_PERMISSIONS", weak, "accessTokens.create", nil, tokenBody("x", role, false, false, false))
	d.refused(401, "INSUFFICIENT_PERMISSIONS", weak, "roles.list", nil)
	d.refused(404, "NOT_FOUND", "", "accessTokens.find", nil, never)
	d.refused(404, "NOT_FOUND", "", "roles.find", nil, never)
	d.refused(404, "NOT_FOUND", "", "accessTokens.find", nil, harness.TokenID(t, s.Account(), s.Credentials.APIKey))
	d.refused(404, "INVALID_ENVIRONMENT", "", "roles.list", obj{"environment": "nope"})
	d.refused(406, "INVALID_ACCEPT_HEADER", "", "roles.list", obj{"extraHeaders": obj{"Accept": "text/html"}})
	d.refused(415, "INVALID_CONTENT_TYPE_HEADER", "", "roles.create",
		obj{"extraHeaders": obj{"Content-Type": "text/plain"}}, obj{"name": "y"})
	details := d.refused(422, "INVALID_FORMAT", "", "accessTokens.update", nil, id, obj{"name": "x"})
	require.Contains(t, string(details), `\"can_access_cma\" wasn't supplied.`)
	spread := tokenBody("x", "", true, true, true)
	spread["role"] = nil // the client sends data: null
	d.refused(422, "INVALID_FORMAT", "", "accessTokens.update", nil, id, spread)
	details = d.refused(422, "INVALID_FIELD", "", "roles.create", nil, obj{"name": "none"})
	require.JSONEq(t, `{"field":"name","code":"VALIDATION_UNIQUENESS","record_type":"Role"}`, string(details))
	d.refused(422, "INVALID_FIELD", "", "accessTokens.create", nil, tokenBody("x", never, false, false, false))
	d.refused(422, "CANNOT_DESTROY_CURRENT_USER", "", "accessTokens.destroy", nil, admin)
	d.refused(422, "REQUIRED_BY_ASSOCIATION", "", "roles.destroy", nil, role)
	d.refused(422, "INVALID_DESTINATION_TYPE", "", "accessTokens.destroy", nil, id,
		obj{"destination_user_type": "robot", "destination_user_id": "7"})
	d.refused(422, "INVALID_DESTINATION_USER", "", "accessTokens.destroy", nil, id, obj{"destination_user_type": "user"})

	spec := datocms.TokenSpec("factory", role, true, false, false)
	spec.Extra = json.RawMessage(`{"hardcoded_type":"readonly"}`)
	factory, secret, err := s.Account().Issue(t.Context(), spec)
	require.NoError(t, err)
	s.Hide(secret.Reveal())
	d.refused(401, "NON_EDITABLE_ACCESS_TOKEN", "", "accessTokens.update", nil, factory.ID,
		tokenBody("x", "", true, true, true))
	require.Equal(t, "readonly", d.ok("accessTokens.find", factory.ID)["hardcoded_type"])

	// By hand: what this client always sends.
	r := s.Get("/roles", "Authorization", "Bearer "+s.Credentials.CMAToken)
	require.Equal(t, 422, r.Status)
	require.Contains(t, r.Body, `"INVALID_API_VERSION"`)
	r = s.Do("PATCH", "/roles/"+role, "application/json", "{}", "Authorization", "Bearer "+s.Credentials.CMAToken)
	require.Equal(t, 404, r.Status)
	require.Contains(t, r.Body, `"INVALID_ENDPOINT"`)

	// The secrets of others are for those who may manage tokens.
	reply := d.call(weak, "accessTokens.list", nil)
	require.Nil(t, reply.Error)
	require.NotContains(t, string(reply.OK), s.Credentials.CMAToken)
	require.NotContains(t, string(reply.OK), weak)
}

func TestDatoClientWaitsOutTheRateLimit(t *testing.T) {
	s := harness.StartServer(t)
	d := startDato(s)
	one := obj{"token": s.Credentials.CMAToken, "call": "environments.list"}
	var many []obj
	for range 100 {
		many = append(many, one)
	}
	var replies []datoReply
	// Where 100 calls take longer than the limit lets pass so many, nobody is refused.
	waits := 0
	for try := 0; waits == 0; try++ {
		require.Less(t, try, 10, "100 calls at once passed a limit of 60")
		d.send(obj{"many": many}, &replies)
		for _, r := range replies {
			require.Nil(t, r.Error)
			waits += r.Waits
		}
	}
	require.Less(t, waits, 1000, "the client came again without waiting")

	one["options"] = obj{"autoRetry": false}
	refused := 0
	for try := 0; refused == 0; try++ {
		require.Less(t, try, 10, "100 calls at once passed a limit of 60")
		d.send(obj{"many": many}, &replies)
		for _, r := range replies {
			if r.Error != nil {
				require.Equal(t, 429, r.Error.Status)
				refused++
			}
		}
	}
}

func TestDatoFlagsBiteOnTheNextRequest(t *testing.T) {
	harness.BeforeMidnight(t) // "today"
	s := harness.StartServer(t)
	d := startDato(s)
	role := d.role("reader", obj{"positive_item_type_permissions": []obj{
		{"environment": "main", "item_type": "penguin", "action": "read", "on_creator": "anyone"}},
		"negative_item_type_permissions": []obj{}})
	id, secret := d.token("t", role, true, false, true)
	require.Nil(t, d.query(secret, nil).Error)
	d.ok("accessTokens.update", id, tokenBody("t", "", false, false, false))
	require.Equal(t, []string{"INVALID_AUTHORIZATION_HEADER"}, d.query(secret, nil).Error.Codes)
	d.refused(401, "INVALID_AUTHORIZATION_HEADER", secret, "accessTokens.list", nil)
	d.ok("accessTokens.update", id, tokenBody("t", "", true, false, false))
	require.Nil(t, d.query(secret, nil).Error)
	d.ok("roles.update", role, obj{"environments_access": "none"})
	require.Equal(t, []string{"INSUFFICIENT_PERMISSIONS"}, d.query(secret, nil).Error.Codes)
	d.ok("roles.update", role, obj{"environments_access": "primary_only", "positive_item_type_permissions": []obj{},
		"negative_item_type_permissions": []obj{}})
	gone := d.query(secret, nil).Error
	require.Equal(t, 200, gone.Status)
	require.Contains(t, gone.Messages[0], "allPenguins", "the model is not in the schema")
	found := d.ok("accessTokens.find", id)
	require.Equal(t, "today", found["last_cda_access"])
	require.Equal(t, "never", found["last_cma_access"], "what was refused at the gate is no use")

	// One's own records alone: birds have no creator, so there is none.
	d.ok("roles.update", role, obj{"positive_item_type_permissions": []obj{
		{"environment": "main", "action": "read", "on_creator": "self"}}, "negative_item_type_permissions": []obj{}})
	require.Contains(t, d.query(secret, nil).Error.Messages[0], "allPenguins")
	access, err := s.Account().Verify(t.Context(), latchkey.Presented{Secret: secret})
	require.NoError(t, err)
	rows, err := access.Filter(latchkey.Read, datocms.Model("main", "penguin"))
	require.NoError(t, err)
	require.Equal(t, `creator = "`+id+`"`, rows.String())
}

const allBirds = `{ allPenguins(first: 500) { id _status island bodyMass } _allPenguinsMeta { count } }`

func (d *dato) query(token string, options obj) (r datoReply) {
	d.s.T.Helper()
	d.send(obj{"token": token, "query": allBirds, "options": options}, &r)
	return r
}

func TestDatoDelivery(t *testing.T) {
	s := harness.StartServer(t)
	d := startDato(s)
	role := d.role("reader", obj{"positive_item_type_permissions": []obj{
		{"environment": "main", "action": "all", "on_creator": "anyone", "localization_scope": "all"}},
		"negative_item_type_permissions": []obj{}})
	isComplete := func(b harness.Penguin) bool {
		for _, cell := range b {
			if cell == "" {
				return false
			}
		}
		return true
	}
	published, all := len(harness.Where(t, isComplete)), len(harness.Where(t, harness.EveryPenguin))
	require.Less(t, published, all)
	drafts := obj{"includeDrafts": true}

	read := func(token string, options obj) (count, drafts int) {
		t.Helper()
		r := d.query(token, options)
		require.Nil(t, r.Error)
		var got struct {
			All []struct {
				ID     string
				Status string `json:"_status"`
			} `json:"allPenguins"`
			Meta struct{ Count int } `json:"_allPenguinsMeta"`
		}
		require.NoError(t, json.Unmarshal(r.OK, &got))
		for _, b := range got.All {
			if b.Status == "draft" {
				drafts++
			}
		}
		require.Len(t, got.All, got.Meta.Count)
		return len(got.All), drafts
	}
	_, both := d.token("both", role, true, true, false)
	_, only := d.token("published", role, true, false, false)
	_, preview := d.token("preview", role, false, true, false)
	count, n := read(both, nil)
	require.Equal(t, []int{published, 0}, []int{count, n})
	count, n = read(both, drafts)
	require.Equal(t, []int{all, all - published}, []int{count, n})
	count, _ = read(only, obj{"environment": "main"})
	require.Equal(t, published, count)
	count, _ = read(preview, drafts)
	require.Equal(t, all, count)
	count, _ = read(s.Credentials.CMAToken, drafts)
	require.Equal(t, all, count)

	refused := func(status int, code, token string, options obj) {
		t.Helper()
		e := d.query(token, options).Error
		require.NotNil(t, e)
		require.Equal(t, []string{code}, e.Codes)
		require.Equal(t, status, e.Status)
	}
	refused(401, "INSUFFICIENT_PERMISSIONS", only, drafts)
	refused(401, "INSUFFICIENT_PERMISSIONS", preview, nil)
	refused(404, "INVALID_ENVIRONMENT", both, obj{"environment": "nope"})
	refused(401, "INVALID_AUTHORIZATION_HEADER", s.Credentials.Publishable, nil)
	refused(401, "INVALID_AUTHORIZATION_HEADER", "unknown", nil)

	// By hand.
	post := func(body string, header ...string) harness.Reply {
		return s.Do("POST", "/graphql", "text/plain;charset=UTF-8", body, append(header, "Authorization", "Bearer "+only)...)
	}
	r := post(`{"query":"{ _site { name } }"}`, "X-Include-Drafts", "false")
	require.Equal(t, 400, r.Status)
	require.Contains(t, r.Body, "X-Include-Drafts header can only be set to `true`")
	r = post(`{"query":"query($id: ID!) { penguin(filter: {id: {eq: $id}}) { species beakLength } }",` +
		`"variables":{"id":"1"}}`)
	require.JSONEq(t, `{"data":{"penguin":{"species":"Adelie","beakLength":39.1}}}`, r.Body)
	r = post(`{"query":"{ penguin(filter: {id: {eq: \"4\"}}) { species } }"}`)
	require.JSONEq(t, `{"data":{"penguin":null}}`, r.Body, "a draft")
	r = post(`{"query":"{ allPenguins(filter: {island: {eq: \"x' OR '1'='1\"}}) { id } }"}`)
	require.JSONEq(t, `{"data":{"allPenguins":[]}}`, r.Body)
	r = post(`{`)
	require.Equal(t, 415, r.Status)
	require.Contains(t, r.Body, `"code":"INVALID_JSON_BODY"`)
	require.Contains(t, post(`{"query":"{ allPenguins(first: 501) { id } }"}`).Body, "500")
}

// The client repeats a GET for ever while the reply is no JSON: of every path that is not served it must learn so.
func TestDatoClientEndsWhereThereIsNothing(t *testing.T) {
	s := harness.StartServer(t)
	d := startDato(s)
	for _, retry := range []bool{false, true} { // without, a reply that it would repeat is an error at once
		options := obj{"autoRetry": retry}
		r := d.call("", "environments.find", options, "main")
		require.Nil(t, r.Error)
		var env struct {
			ID   string
			Meta struct {
				Status    string
				Primary   bool
				CreatedAt time.Time `json:"created_at"`
				ChangedAt time.Time `json:"last_data_change_at"`
			}
		}
		require.NoError(t, json.Unmarshal(r.OK, &env))
		require.Equal(t, "main", env.ID)
		require.Equal(t, "ready", env.Meta.Status)
		require.True(t, env.Meta.Primary)
		d.refused(404, "NOT_FOUND", "", "environments.find", options, "nope")
		d.refused(401, "INVALID_AUTHORIZATION_HEADER", "unknown", "environments.find", options, "main")
		for call, args := range map[string][]any{
			"site.find": nil, "itemTypes.list": nil, "itemTypes.find": {"article"}, "items.list": nil, "uploads.list": nil,
			"users.list": nil, "plugins.list": nil, "webhooks.list": nil, "jobResults.find": {"7"},
			"environments.fork": {"main", obj{"id": "sandbox"}}, "environments.promote": {"main"},
			"environments.rename": {"main", obj{"id": "other"}}, "environments.destroy": {"main"},
		} {
			d.refused(404, "INVALID_ENDPOINT", "", call, options, args...)
		}
		d.refused(401, "INVALID_AUTHORIZATION_HEADER", "unknown", "site.find", options)
	}
	var environments []obj
	d.okInto(&environments, "environments.list")
	require.Len(t, environments, 1)

	// By hand. What another system here serves is left to it, and people get the plain reply.
	r := s.Get("/nothing/here")
	require.Equal(t, 404, r.Status)
	require.Contains(t, r.Header.Get("Content-Type"), "text/plain")
	require.Equal(t, 405, s.Do("POST", "/embed", "", "", "Authorization", "Bearer "+s.Credentials.CMAToken).Status)
	require.Equal(t, 200, s.Do("HEAD", "/environments/main", "", "", "Authorization", "Bearer "+s.Credentials.CMAToken,
		"X-Api-Version", "3").Status)
	require.Equal(t, 204, s.Do("OPTIONS", "/item-types", "", "", "Origin", "https://example.org",
		"Access-Control-Request-Method", "GET", "Access-Control-Request-Headers", "authorization,x-api-version").Status)
}

func TestDatoDeliveryPathForms(t *testing.T) {
	s := harness.StartServer(t)
	d := startDato(s)
	role := d.role("reader", obj{"positive_item_type_permissions": []obj{
		{"environment": "main", "action": "all", "on_creator": "anyone", "localization_scope": "all"}},
		"negative_item_type_permissions": []obj{}})
	_, both := d.token("both", role, true, true, false)
	_, only := d.token("published", role, true, false, false)
	_, preview := d.token("preview", role, false, true, false)
	at := func(path string, more ...any) obj {
		o := obj{"graphqlEndpointUrl": s.Base + "/graphql" + path}
		for i := 0; i+1 < len(more); i += 2 {
			o[more[i].(string)] = more[i+1]
		}
		return o
	}
	count := func(token string, options obj) int {
		t.Helper()
		r := d.query(token, options)
		require.Nil(t, r.Error)
		var got struct {
			Meta struct{ Count int } `json:"_allPenguinsMeta"`
		}
		require.NoError(t, json.Unmarshal(r.OK, &got))
		return got.Meta.Count
	}
	published, all := count(both, nil), count(both, obj{"includeDrafts": true})
	require.Less(t, published, all)
	for _, path := range []string{"/environments/main", "/environments/main/", "/"} {
		require.Equal(t, published, count(only, at(path)), path)
		require.Equal(t, all, count(both, at(path, "includeDrafts", true)), path)
	}
	for _, path := range []string{"/preview", "/preview/", "/environments/main/preview", "/environments/main/preview/"} {
		require.Equal(t, all, count(both, at(path)), path)
		require.Equal(t, all, count(preview, at(path, "environment", "main")), path)
		require.Equal(t, []string{"INSUFFICIENT_PERMISSIONS"}, d.query(only, at(path)).Error.Codes, path)
	}
	require.Equal(t, []string{"INSUFFICIENT_PERMISSIONS"}, d.query(preview, at("/environments/main")).Error.Codes)
	for path, code := range map[string]string{"/environments/nope": "INVALID_ENVIRONMENT",
		"/environments/nope/preview": "INVALID_ENVIRONMENT", "/environments/Main": "INVALID_ENVIRONMENT",
		"/environments/": "INVALID_ENDPOINT", "/Preview": "INVALID_ENDPOINT", "/environments/main/x": "INVALID_ENDPOINT",
		"/environments%2Fmain": "INVALID_ENDPOINT", "/%2Fpreview": "INVALID_ENDPOINT"} {
		e := d.query(both, at(path)).Error
		require.NotNil(t, e, path)
		require.Equal(t, []string{code}, e.Codes, path)
		require.Equal(t, 404, e.Status)
	}
	e := d.query(both, at("/environments/main", "environment", "nope")).Error
	require.Equal(t, []string{"INVALID_ENVIRONMENT"}, e.Codes)
}

// The product's own scalars and what its clients ask of every project.
func TestDatoGraphQLTypes(t *testing.T) {
	s := harness.StartServer(t)
	d := startDato(s)
	ask := func(query string, pages bool, variables obj) string {
		t.Helper()
		var r datoReply
		d.send(obj{"token": s.Credentials.CMAToken, "query": query, "pages": pages, "options": obj{"variables": variables}},
			&r)
		require.Nil(t, r.Error)
		return string(r.OK)
	}
	require.JSONEq(t, `{"_site":{"locales":["en"],"noIndex":false,"faviconMetaTags":[]}}`,
		ask(`query($l: SiteLocale) { _site(locale: $l) { locales noIndex faviconMetaTags { tag } } }`, false, obj{"l": "en"}))
	for _, name := range []string{"IntType", "FloatType", "BooleanType"} {
		require.JSONEq(t, `{"__type":{"kind":"SCALAR","name":"`+name+`"}}`,
			ask(`{ __type(name: "`+name+`") { kind name } }`, false, nil))
	}
	require.JSONEq(t, `{"allPenguins":[
			{"id":"2","_modelApiKey":"penguin","_isValid":true,"bodyMass":3800,"beakLength":39.5}]}`,
		ask(`query($first: IntType, $skip: IntType = 1) { allPenguins(first: $first, skip: $skip) {
			id _modelApiKey _isValid bodyMass beakLength } }`, false, obj{"first": 1}))
	require.JSONEq(t, `{"penguin":{"id":"1"}}`,
		ask(`query($id: ID!) { penguin(filter: {id: {eq: $id}}, fallbackLocales: [en]) { id } }`, false, obj{"id": "1"}))
	var paged struct{ AllPenguins []obj }
	pages := ask(`query($n: IntType) { allPenguins(first: $n) { id } }`, true, obj{"n": 900})
	require.NoError(t, json.Unmarshal([]byte(pages), &paged))
	require.Greater(t, len(paged.AllPenguins), 300)
	for _, bad := range []any{1.5, "1", true, 1e300} {
		var r datoReply
		d.send(obj{"token": s.Credentials.CMAToken, "query": `query($n: IntType) { allPenguins(first: $n) { id } }`,
			"options": obj{"variables": obj{"n": bad}}}, &r)
		require.NotNil(t, r.Error, "%v", bad)
	}
}

// The same client in a browser, in a page of another origin.
func TestDatoBrowserClient(t *testing.T) {
	s := harness.StartServer(t)
	modules := http.FileServer(http.Dir(harness.Path(t, "clients", "node_modules")))
	mux := http.NewServeMux()
	mux.Handle("/modules/", http.StripPrefix("/modules/", modules))
	mux.HandleFunc("/{$}", func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "text/html; charset=utf-8")
		fmt.Fprint(w, `<!doctype html><html lang="en"><title>Site</title><link rel="icon" href="data:,">
			<script type="importmap">{"imports": {
				"@0no-co/graphql.web": "/modules/@0no-co/graphql.web/dist/graphql.web.mjs",
				"@datocms/cda-client": "/modules/@datocms/cda-client/dist/esm/index.js"}}</script>`)
	})
	site := httptest.NewServer(mux)
	t.Cleanup(site.Close)
	page, cancel := context.WithTimeout(harness.Chromium(t, s), 3*time.Minute)
	t.Cleanup(cancel)
	require.NoError(t, chromedp.Do(page, chromedp.Navigate(site.URL)))
	script, err := json.Marshal(obj{"token": s.Credentials.CMAToken, "graphqlEndpointUrl": s.Base + "/graphql",
		"includeDrafts": true, "excludeInvalid": true, "environment": "main", "returnCacheTags": true, "contentLink": "v1",
		"baseEditingUrl": "https://example.admin.datocms.com"})
	require.NoError(t, err)
	got, err := chromedp.Run(page,
		chromedp.Evaluate[obj](`import('@datocms/cda-client').then(async ({ rawExecuteQuery }) => {
		const [data, reply] = await rawExecuteQuery('{ _allPenguinsMeta { count } }', `+string(script)+`);
		return { count: data._allPenguinsMeta.count, environment: reply.headers.get('x-environment'),
			remaining: reply.headers.get('x-ratelimit-remaining') };
	}).catch((error) => ({ error: String(error) }))`, chromedp.EvalAwaitPromise))
	require.NoError(t, err)
	require.Nil(t, got["error"])
	require.EqualValues(t, 344, got["count"])
	require.Equal(t, "main", got["environment"], "the page may read it")
	require.NotEmpty(t, got["remaining"])
}
