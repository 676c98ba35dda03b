package datocms

import (
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/latchkey-go/latchkey"
)

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
	// not a carrier
	for _, p := range []string{"/access_tokens?token=" + w.admin, "/access_tokens?access_token=" + w.admin} {
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

// Every route, called with every kind of invalid token, is refused in the product's format and changes nothing.
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
	_, minted, err := w.verify(w.admin).Mint(t.Context(), latchkey.Narrowing{Lifetime: 24 * time.Hour})
	require.NoError(t, err)
	wrong := map[string]string{
		"missing": "", "malformed": "no token", "truncated": w.admin[:len(w.admin)-1], "longer": w.admin + "x",
		"another case": strings.ToUpper(w.admin), "unknown": "ak_" + strings.Repeat("0", 40), "null": "null",
		"expired": expired, "revoked": revoked, "disabled": one(disabled), "of another owner": foreign,
		"publishable": one(latchkey.Spec{Kind: latchkey.KindPublishable, Permissions: everything}),
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
		{"GET", "/roles/" + w.role.ID + "/duplicate"}, {"GET", "/access_tokens/x/regenerate_token"},
		{"PATCH", "/environments"},
		// A plain 404 makes the client repeat a GET for ever, so every path beneath these is answered in JSON.
		{"GET", "/access_tokens/"}, {"GET", "/roles/"}, {"GET", "/roles/x/members"}, {"POST", "/access_tokens/x/y/z"},
		{"GET", "/environments/"}, {"POST", "/environments/main/fork"}, {"PUT", "/environments/main/promote"},
		{"PUT", "/environments/main/rename"}, {"DELETE", "/environments/main"}, {"GET", "/environments/main/x"}} {
		w.refused(w.admin, 404, codeEndpoint, c[0], c[1], "")
	}
	for _, id := range []string{"nope", "Main", "main%20", "main%2F", strings.Repeat("x", 300)} {
		w.refused(w.admin, 404, codeNotFound, "GET", "/environments/"+id, "")
	}
}

// A host that passes a whole prefix has no path beneath it that makes a client repeat its request for ever.
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
		var one environment // Mount serves them, too, whether or not the options name any
		w.ok(200, "GET", "/environments/main", "", &one)
		require.True(t, one.Meta.Primary)
	}
}

// state returns all tokens and roles of the account, without their last use.
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

func TestPreflight(t *testing.T) {
	w := newFixture(t, nil)
	for _, path := range []string{"/access_tokens", "/roles/x"} {
		out := w.raw("OPTIONS", path, "", http.Header{"Origin": {"https://example.org"}})
		require.Equal(t, 204, out.Code)
		require.Equal(t, "*", out.Header().Get("Access-Control-Allow-Origin"))
		require.Empty(t, out.Header().Get("Access-Control-Allow-Credentials"))
		require.Contains(t, out.Header().Get("Access-Control-Allow-Headers"), "x-api-version")
		require.Equal(t, "1728000", out.Header().Get("Access-Control-Max-Age"))
	}
}
