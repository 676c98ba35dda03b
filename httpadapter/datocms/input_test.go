package datocms

import (
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/latchkey-go/latchkey"
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
		message          string // some of the first message
	}{
		"not JSON":                {"/access_tokens", `{`, codeJSON, ""},
		"empty":                   {"/access_tokens", "", codeJSON, ""},
		"trailing data":           {"/access_tokens", good + "{}", codeJSON, ""},
		"a name twice":            {"/access_tokens", with(good, `"name":"x"`, `"name":"x","name":"y"`), codeJSON, ""},
		"a name twice, by case":   {"/access_tokens", with(good, `"name":"x"`, `"name":"x","NAME":"y"`), codeJSON, ""},
		"a flag twice, by case":   {"/access_tokens", with(good, `"can_access_cma":true`, `"can_access_cma":false,"can_access_Cma":true`), codeJSON, ""},
		"the Kelvin sign":         {"/roles", with(goodRole, `"name":"x"`, `"name":"x","can_edit_site":true,"can_edit_\u017fite":true`), codeJSON, ""},
		"invalid UTF-8":           {"/access_tokens", with(good, `"x"`, "\"\xff\""), codeJSON, ""},
		"a lone surrogate":        {"/access_tokens", with(good, `"x"`, `"\ud800"`), codeJSON, ""},
		"too deep":                {"/access_tokens", strings.Repeat("[", 40) + strings.Repeat("]", 40), codeJSON, ""},
		"an array":                {"/access_tokens", `[]`, codeFormat, `#: failed schema #/definitions/access_token/links/0/schema: not an object.`},
		"no data":                 {"/access_tokens", `{}`, codeFormat, `"data" wasn't supplied.`},
		"data: null":              {"/access_tokens", `{"data":null}`, codeFormat, `#/data: `},
		"beside data":             {"/access_tokens", with(good, `{"data"`, `{"included":[],"data"`), codeFormat, `"included" is not a permitted key.`},
		"another type":            {"/access_tokens", with(good, `"access_token"`, `"role"`), codeFormat, `#/data/type: `},
		"an id on create":         {"/access_tokens", with(good, `"attributes"`, `"id":"1","attributes"`), codeFormat, `"id" is not a permitted key.`},
		"meta on a token":         {"/access_tokens", with(good, `"attributes"`, `"meta":{},"attributes"`), codeFormat, `"meta" is not a permitted key.`},
		"a token to set":          {"/access_tokens", with(good, `"name"`, `"token":"abc","name"`), codeFormat, `"token" is not a permitted key.`},
		"hardcoded_type":          {"/access_tokens", with(good, `"name"`, `"hardcoded_type":null,"name"`), codeFormat, `"hardcoded_type" is not`},
		"last access":             {"/access_tokens", with(good, `"name"`, `"last_cma_access":"never","name"`), codeFormat, ``},
		"a flag missing":          {"/access_tokens", with(good, `,"can_access_cma":true`, ``), codeFormat, `"can_access_cma" wasn't supplied.`},
		"a flag by another case":  {"/access_tokens", with(good, `"can_access_cma"`, `"Can_access_cma"`), codeFormat, `"can_access_cma" wasn't supplied.`},
		"a flag of 1":             {"/access_tokens", with(good, `"can_access_cma":true`, `"can_access_cma":1`), codeFormat, `#/data/attributes/can_access_cma: `},
		"a flag of 0":             {"/access_tokens", with(good, `"can_access_cma":true`, `"can_access_cma":0`), codeFormat, `not a boolean`},
		"a flag as text":          {"/access_tokens", with(good, `"can_access_cma":true`, `"can_access_cma":"true"`), codeFormat, `not a boolean`},
		"a flag of null":          {"/access_tokens", with(good, `"can_access_cma":true`, `"can_access_cma":null`), codeFormat, `not a boolean`},
		"a flag in a list":        {"/access_tokens", with(good, `"can_access_cma":true`, `"can_access_cma":[true]`), codeFormat, `not a boolean`},
		"a name of null":          {"/access_tokens", with(good, `"x"`, `null`), codeFormat, `not a string`},
		"a name of 7":             {"/access_tokens", with(good, `"x"`, `7`), codeFormat, `not a string`},
		"an empty name":           {"/access_tokens", with(good, `"x"`, `""`), codeField, ``},
		"a long name":             {"/access_tokens", with(good, `"x"`, `"`+strings.Repeat("x", 257)+`"`), codeField, ``},
		"a NUL":                   {"/access_tokens", with(good, `"x"`, `"\u0000"`), codeField, ``},
		"no role":                 {"/access_tokens", tokenBodyText("", "x", ""), codeFormat, `"relationships" wasn't supplied.`},
		"a role of null":          {"/access_tokens", with(good, `{"id":"`+role+`","type":"role"}`, `null`), codeFormat, `#/data/relationships/role/data: `},
		"two roles":               {"/access_tokens", with(good, `{"id":"`+role+`","type":"role"}`, `[{"id":"`+role+`","type":"role"}]`), codeFormat, `not an object`},
		"a role of another type":  {"/access_tokens", with(good, `"type":"role"`, `"type":"user"`), codeFormat, `not one of role`},
		"a role's id as number":   {"/access_tokens", with(good, `"`+role+`"`, `7`), codeFormat, `not a string`},
		"another relationship":    {"/access_tokens", with(good, `"role":{`, `"creator":{},"role":{`), codeFormat, `"creator" is not`},
		"role: no name":           {"/roles", roleBodyText("", `"can_edit_site":true`, nil), codeFormat, `"name" wasn't supplied.`},
		"role: no attributes":     {"/roles", roleBodyText("", ``, nil), codeFormat, `"attributes" wasn't supplied.`},
		"role: a flag of 1":       {"/roles", roleBodyText("", `"name":"x","can_edit_site":1`, nil), codeFormat, `not a boolean`},
		"role: an unknown flag":   {"/roles", roleBodyText("", `"name":"x","can_fly":true`, nil), codeFormat, `"can_fly" is not`},
		"role: environments":      {"/roles", roleBodyText("", `"name":"x","environments_access":"some"`, nil), codeFormat, `not one of`},
		"role: environments null": {"/roles", roleBodyText("", `"name":"x","environments_access":null`, nil), codeFormat, `not a string`},
		"role: half a family":     {"/roles", roleBodyText("", `"name":"x","positive_upload_permissions":[]`, nil), codeFormat, `supplied together`},
		"role: a list of null":    {"/roles", roleBodyText("", `"name":"x","positive_upload_permissions":null,"negative_upload_permissions":[]`, nil), codeFormat, `not an array`},
		"role: parents of null":   {"/roles", with(roleBodyText("", `"name":"x"`, []string{}), `"data":[]`, `"data":null`), codeFormat, `not an array`},
		"role: a parent's type":   {"/roles", with(roleBodyText("", `"name":"x"`, []string{role}), `{"type":"role"`, `{"type":"x"`), codeFormat, `not one of role`},
		"role: meta of text":      {"/roles", with(goodRole, `"attributes"`, `"meta":"x","attributes"`), codeFormat, `#/data/meta: `},
		"entry: no action":        {"/roles", entry(`{"environment":"main"}`), codeFormat, `"action" wasn't supplied.`},
		"entry: no environment":   {"/roles", entry(`{"action":"read","on_creator":"anyone"}`), codeFormat, `#/data/attributes/positive_item_type_permissions/0: failed schema #/definitions/role/links/0/schema/properties/data/properties/attributes/properties/positive_item_type_permissions/items: "environment" wasn't supplied.`},
		"entry: environment null": {"/roles", entry(`{"environment":null,"action":"read","on_creator":"anyone"}`), codeFormat, `not a string`},
		"entry: unknown action":   {"/roles", entry(`{"environment":"main","action":"fly"}`), codeFormat, `not an action`},
		"entry: an upload's":      {"/roles", entry(`{"environment":"main","action":"move","on_creator":"anyone"}`), codeFormat, `not an action`},
		"entry: unknown key":      {"/roles", entry(`{"environment":"main","action":"read","on_creator":"anyone","x":1}`), codeFormat, `"x" is not`},
		"entry: no creator":       {"/roles", entry(`{"environment":"main","action":"read"}`), codeFormat, `/on_creator`},
		"entry: a creator there":  {"/roles", entry(`{"environment":"main","action":"create","on_creator":"self","localization_scope":"all"}`), codeFormat, `not permitted`},
		"entry: another creator":  {"/roles", entry(`{"environment":"main","action":"read","on_creator":"me"}`), codeFormat, `not one of anyone`},
		"entry: no scope":         {"/roles", entry(`{"environment":"main","action":"update","on_creator":"self"}`), codeFormat, `localization_scope`},
		"entry: a scope there":    {"/roles", entry(`{"environment":"main","action":"read","on_creator":"self","localization_scope":"all"}`), codeFormat, `not permitted`},
		"entry: all, localized":   {"/roles", entry(`{"environment":"main","action":"all","on_creator":"self","localization_scope":"localized","locale":"it"}`), codeFormat, `not all`},
		"entry: no locale":        {"/roles", entry(`{"environment":"main","action":"update","on_creator":"self","localization_scope":"localized"}`), codeFormat, `/locale`},
		"entry: a locale there":   {"/roles", entry(`{"environment":"main","action":"update","on_creator":"self","localization_scope":"all","locale":"it"}`), codeFormat, `not permitted`},
		"entry: a stage there":    {"/roles", entry(`{"environment":"main","action":"read","on_creator":"self","on_stage":"a"}`), codeFormat, `not permitted`},
		"entry: to a stage":       {"/roles", entry(`{"environment":"main","action":"update","on_creator":"self","localization_scope":"all","to_stage":"a"}`), codeFormat, `not permitted`},
		"entry: model, workflow":  {"/roles", entry(`{"environment":"main","action":"read","on_creator":"self","item_type":"1","workflow":"2"}`), codeFormat, `exclude each other`},
		"entry: an id as number":  {"/roles", entry(`{"environment":"main","action":"read","on_creator":"self","item_type":1}`), codeFormat, `not a string`},
		"entry: a linkage":        {"/roles", entry(`{"environment":"main","action":"read","on_creator":"self","item_type":{"id":"1","type":"item_type"}}`), codeFormat, `not a string`},
		"entry: an empty id":      {"/roles", entry(`{"environment":"main","action":"read","on_creator":"self","item_type":""}`), codeFormat, `not an id`},
		"entry: a long id":        {"/roles", entry(`{"environment":"` + strings.Repeat("x", 65) + `","action":"read","on_creator":"self"}`), codeFormat, `not an id`},
		"entry: a text":           {"/roles", entry(`"read"`), codeFormat, `not an object`},
		"upload: publish":         {"/roles", upload(`{"environment":"main","action":"publish","on_creator":"self"}`), codeFormat, `not an action`},
		"upload: to a collection": {"/roles", upload(`{"environment":"main","action":"read","on_creator":"self","move_to_upload_collection":"1"}`), codeFormat, `not permitted`},
		"upload: a model":         {"/roles", upload(`{"environment":"main","action":"read","on_creator":"self","item_type":"1"}`), codeFormat, `"item_type" is not`},
		"trigger: an action":      {"/roles", roleBodyText("", `"name":"x","positive_build_trigger_permissions":[{"action":"all"}],"negative_build_trigger_permissions":[]`, nil), codeFormat, `"action" is not`},
		"too many entries":        {"/roles", entry(strings.Repeat(`{},`, 1000) + `{}`), codeFormat, `more than 1000`},
		"so many faults":          {"/roles", entry(strings.Repeat(`{},`, 900) + `{}`), codeFormat, ``},
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
	w.refused(w.admin, 422, codeFormat, "PUT", "/roles/"+role, roleBodyText("other", `"name":"x"`, nil))
}

func TestHeaders(t *testing.T) {
	w := newFixture(t, &Options{Environments: []string{"main", "sandbox"}})
	body := roleBodyText("", `"name":"x"`, nil)
	set := func(name string, values ...string) http.Header {
		h := clientHeaders(w.admin)
		if h[name] = values; values == nil {
			delete(h, name)
		}
		return h
	}
	for name, c := range map[string]struct {
		h      http.Header
		status int
		code   string // "": it passes
	}{
		"vnd.api+json":              {set("Content-Type", "application/vnd.api+json"), 0, ""},
		"with a charset":            {set("Content-Type", "application/json; charset=utf-8"), 0, ""},
		"another charset":           {set("Content-Type", "application/json; charset=latin1"), 415, codeContentType},
		"a form":                    {set("Content-Type", "application/x-www-form-urlencoded"), 415, codeContentType},
		"text":                      {set("Content-Type", "text/plain;charset=UTF-8"), 415, codeContentType},
		"no type":                   {set("Content-Type"), 415, codeContentType},
		"two types":                 {set("Content-Type", "application/json", "text/plain"), 415, codeContentType},
		"compressed":                {set("Content-Encoding", "gzip"), 415, codeContentType},
		"no Accept":                 {set("Accept"), 0, ""},
		"curl's Accept":             {set("Accept", "*/*"), 0, ""},
		"another Accept":            {set("Accept", "text/html"), 406, codeAccept},
		"no version":                {set("X-Api-Version"), 422, codeVersion},
		"an old version":            {set("X-Api-Version", "2"), 422, codeVersion},
		"two versions":              {set("X-Api-Version", "3", "3"), 422, codeVersion},
		"an environment":            {set("X-Environment", "sandbox"), 0, ""},
		"an unknown environment":    {set("X-Environment", "nope"), 404, codeEnvironment},
		"two environments":          {set("X-Environment", "main", "main"), 404, codeEnvironment},
		"no credential":             {set("Authorization"), 401, codeAuthorization},
		"null":                      {set("Authorization", "Bearer null"), 401, codeAuthorization},
		"an empty credential":       {set("Authorization", "Bearer "), 401, codeAuthorization},
		"two credentials":           {set("Authorization", "Bearer "+w.admin, "Bearer "+w.admin), 400, codeAuthorization},
		"another scheme":            {set("Authorization", "Basic "+w.admin), 401, codeAuthorization},
		"no scheme":                 {set("Authorization", w.admin), 401, codeAuthorization},
		"the scheme's case is free": {set("Authorization", "bearer "+w.admin), 0, ""},
	} {
		t.Run(name, func(t *testing.T) {
			out := w.raw("POST", "/roles", body, c.h)
			if c.code != "" {
				refusedReply(t, out, c.status, c.code)
				return
			}
			require.Equal(t, 201, out.Code, out.Body.String())
			var made struct{ Data gotRole }
			require.NoError(t, json.Unmarshal(out.Body.Bytes(), &made))
			want := "main"
			if env := c.h.Get("X-Environment"); env != "" {
				want = env
			}
			require.Equal(t, want, out.Header().Get("X-Environment"))
			w.ok(200, "DELETE", "/roles/"+made.Data.ID, "", &gotRole{})
		})
	}
	for _, p := range []string{"/access_tokens?token=" + w.admin, "/access_tokens?access_token=" + w.admin} { // no carrier
		refusedReply(t, w.raw("GET", p, "", set("Authorization")), 401, codeAuthorization)
	}
	var envs []environment
	w.ok(200, "GET", "/environments", "", &envs)
	require.Equal(t, "main", envs[0].ID)
	require.True(t, envs[0].Meta.Primary)
	require.False(t, envs[1].Meta.Primary)
	for i, id := range []string{"main", envs[1].ID} {
		var one environment
		w.ok(200, "GET", "/environments/"+id, "", &one)
		require.Equal(t, envs[i], one)
		require.Regexp(t, `^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z$`, one.Meta.Created)
		require.NotEmpty(t, one.Meta.Changed)
	}
	w.opts.AnyVersion = true
	w.mux = http.NewServeMux()
	Mount(w.mux, w.acme, &w.opts)
	require.Equal(t, 200, w.raw("GET", "/roles", "", set("X-Api-Version")).Code)
}

// Every route there is, with every wrong token there is, is refused in the product's own words and changes nothing.
func TestRouteWalk(t *testing.T) {
	w := newFixture(t, &Options{Environments: []string{"main"}})
	weakRole := w.newRole("weak", "")
	target := w.newToken("target", w.role.ID, true, true, true)
	one := func(spec latchkey.Spec) string { _, text := w.issue(w.acme, spec); return text }
	full := TokenSpec("x", w.role.ID, true, true, true)

	ending := full
	ending.Validity.NotAfter = w.now().Add(time.Hour)
	expired := one(ending)
	revokedID, revoked := w.issue(w.acme, full)
	require.NoError(t, w.acme.Revoke(t.Context(), revokedID, ""))
	disabled := full
	disabled.Disabled = true
	otherRole := w.makeRole(w.other, AdminRole("Admin", "main"))
	_, foreign := w.issue(w.other, TokenSpec("x", otherRole.ID, true, true, true))
	everything := latchkey.Permissions{latchkey.Allow(latchkey.Any).On("*", "latchkey/*")}
	_, minted, err := w.keys.Mint(t.Context(), w.verify(w.admin), latchkey.Narrowing{Lifetime: 24 * time.Hour})
	require.NoError(t, err)
	wrong := map[string]string{
		"missing": "", "malformed": "no token", "truncated": w.admin[:len(w.admin)-1], "longer": w.admin + "x",
		"another case": strings.ToUpper(w.admin), "unknown": "ak_" + strings.Repeat("0", 40), "null": "null",
		"expired": expired, "revoked": revoked, "disabled": one(disabled), "of another owner": foreign,
		"publishable": one(latchkey.Spec{Kind: latchkey.KindPublishable, Settings: latchkey.Settings{Permissions: everything}}),
		"minted":      minted.Reveal(),
		"no API":      one(TokenSpec("x", w.role.ID, false, false, false)),
		"delivery":    one(TokenSpec("x", w.role.ID, true, true, false)),
		"a host's":    one(latchkey.Spec{Kind: latchkey.KindAPIKey}),
	}
	w.advance(2 * time.Hour)
	weak := one(TokenSpec("weak", weakRole.ID, false, false, true))
	open := map[string]bool{"GET /access_tokens": true, "GET /access_tokens/:id": true, "GET /environments": true,
		"GET /environments/:id": true}

	before := w.state()
	for name := range endpoints {
		method, path, _ := strings.Cut(name, " ")
		id, body := target.ID, tokenBodyText(target.ID, "stolen", w.role.ID, true, true, true)
		if strings.HasPrefix(path, "/roles") {
			id, body = w.role.ID, roleBodyText(w.role.ID, `"name":"stolen"`, nil)
		}
		if !strings.Contains(path, ":id") {
			body = strings.Replace(body, `"id":"`+id+`",`, "", 1)
		}
		if method == "GET" || method == "DELETE" || strings.Count(path, "/") == 3 {
			body = ""
		}
		if strings.HasPrefix(path, "/environments") {
			id = "main"
		}
		path = strings.Replace(path, ":id", id, 1)
		for kind, token := range wrong {
			h := clientHeaders(token)
			if token == "" {
				h.Del("Authorization")
			}
			out := w.raw(method, path, body, h)
			refusedReply(t, out, 401, codeAuthorization)
			require.NotContains(t, out.Body.String(), target.ID, kind)
			w.advance(time.Second)
		}
		if !open[name] {
			w.refused(weak, 401, codePermissions, method, path, body)
		}
	}
	require.Equal(t, before, w.state(), "something was changed")

	for _, c := range [][2]string{{"PATCH", "/roles/" + w.role.ID}, {"PUT", "/roles"}, {"DELETE", "/access_tokens"},
		{"GET", "/roles/" + w.role.ID + "/duplicate"}, {"GET", "/access_tokens/x/regenerate_token"}, {"PATCH", "/environments"},
		// A plain 404 makes the client repeat a GET for ever: whatever is beneath these paths answers in JSON.
		{"GET", "/access_tokens/"}, {"GET", "/roles/"}, {"GET", "/roles/x/members"}, {"POST", "/access_tokens/x/y/z"},
		{"GET", "/environments/"}, {"POST", "/environments/main/fork"}, {"PUT", "/environments/main/promote"},
		{"PUT", "/environments/main/rename"}, {"DELETE", "/environments/main"}, {"GET", "/environments/main/x"}} {
		w.refused(w.admin, 404, codeEndpoint, c[0], c[1], "")
	}
	for _, id := range []string{"nope", "Main", "main%20", "main%2F", strings.Repeat("x", 300)} {
		w.refused(w.admin, 404, codeNotFound, "GET", "/environments/"+id, "")
	}
}

// A host that gives a whole prefix away has no path beneath it that a client would ask for again and again.
func TestHandlerAnswersEveryPath(t *testing.T) {
	for _, environments := range [][]string{nil, {"main"}} {
		w := newFixture(t, &Options{Environments: environments})
		all := Handler(w.acme, &w.opts)
		mux := http.NewServeMux()
		mux.Handle("/cma/", http.StripPrefix("/cma", all))
		for _, door := range []struct {
			h      http.Handler
			prefix string
		}{{all, ""}, {mux, "/cma"}} {
			get := func(method, path, token string) *httptest.ResponseRecorder {
				r := httptest.NewRequest(method, door.prefix+path, nil)
				r.Header = clientHeaders(token)
				out := httptest.NewRecorder()
				door.h.ServeHTTP(out, r)
				return out
			}
			for _, path := range []string{"/", "/site", "/site?include=item_types", "/item-types", "/environments/main/x",
				"/site-invitations/7", "/job-results/1", "/a%2Fb", "/roles/", "/environmentsx"} {
				refusedReply(t, get("GET", path, w.admin), 404, codeEndpoint)
				refusedReply(t, get("POST", path, w.admin), 404, codeEndpoint)
				refusedReply(t, get("GET", path, "unknown"), 401, codeAuthorization)
			}
			for _, path := range []string{"/environments", "/environments/main", "/roles", "/access_tokens"} {
				require.Equal(t, 200, get("GET", path, w.admin).Code, path)
				require.Equal(t, 200, get("HEAD", path, w.admin).Code, path)
			}
			refusedReply(t, get("GET", "/environments/other", w.admin), 404, codeNotFound)
			require.Equal(t, 204, get("OPTIONS", "/site", "").Code)
		}
		var one environment // Mount serves them too, whether or not the options name any
		w.ok(200, "GET", "/environments/main", "", &one)
		require.True(t, one.Meta.Primary)
	}
}

// state is all tokens and roles of the account, without when they were used.
func (w *fixture) state() string {
	var all []any
	for t, err := range w.acme.Tokens(w.t.Context(), latchkey.TokenQuery{}) {
		require.NoError(w.t, err)
		t.Used = time.Time{}
		all = append(all, t)
	}
	for r, err := range w.acme.Roles(w.t.Context(), latchkey.RoleQuery{}) {
		require.NoError(w.t, err)
		all = append(all, r)
	}
	text, err := json.Marshal(all)
	require.NoError(w.t, err)
	return string(text)
}

func TestRateLimit(t *testing.T) {
	w := newFixture(t, &Options{Rate: DefaultRate})
	for i := range 60 {
		out := w.send(w.admin, "GET", "/roles", "")
		require.NotEqual(t, 429, out.Code)
		require.Equal(t, itoa(59-i), out.Header().Get("X-RateLimit-Remaining"))
	}
	out := w.send(w.admin, "GET", "/roles", "")
	refusedReply(t, out, 429, codeRate)
	require.Equal(t, "1", out.Header().Get("X-RateLimit-Reset"), "never 0: clients would come again at once")
	_, other := w.issue(w.acme, TokenSpec("x", w.role.ID, false, false, true))
	require.Equal(t, 200, w.send(other, "GET", "/roles", "").Code, "counted per token")
	w.advance(time.Second)
	require.Equal(t, 200, w.send(w.admin, "GET", "/roles", "").Code)
	w.advance(time.Minute)
	for range 60 {
		w.refused("wrong", 401, codeAuthorization, "GET", "/roles", "")
	}
	w.refused("wrong", 429, codeRate, "GET", "/roles", "")
	require.Equal(t, 200, w.send(w.admin, "GET", "/roles", "").Code, "guessing does not lock others of the address out")

	for want, d := range map[string]time.Duration{"1": 0, "2": time.Second + 1, "3": 3 * time.Second} {
		require.Equal(t, want, seconds(d))
	}
}

// What came in once comes back the same, and compiles to rules that can be kept.
func FuzzRoleAttributes(f *testing.F) {
	for _, e := range append(append([]string{}, modelEntries...), `{}`, `{"environment":"*","action":"read","on_creator":"self"}`) {
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
