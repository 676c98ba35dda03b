package api

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/latchkey-go/latchkey"
	"github.com/latchkey-go/latchkey/httpadapter"
)

// Members that a record has and no caller sets are refused by name, and nothing is changed.
func TestMassAssignment(t *testing.T) {
	h := newHouse(t, setup{})
	token, role := "/tokens/"+h.token.ID, "/roles/"+h.role.ID
	for _, tt := range []struct {
		method, target, base string
		members              []string
	}{
		{"POST", "/tokens", `"kind":"api_key"`, []string{"id", "owner", "version", "parent", "depth", "origin", "full",
			"rows",
			"forced", "created", "owner_version", "used", "revoked", "reason", "hint", "public", "damaged", "refused", "secret",
			"text", "kept", "state"}},
		{"POST", "/tokens/import", `"kind":"api_key","text":"old_1234567890abcdef"`, []string{"id", "owner", "version",
			"origin",
			"created", "used", "digest"}},
		{"PATCH", token, `"name":"x"`, []string{"id", "owner", "version", "kind", "test", "parent", "depth", "origin",
			"client",
			"attributes", "child_attributes", "full", "rows", "forced", "created", "owner_version", "used", "revoked", "reason",
			"hint", "public", "damaged", "refused"}},
		{"POST", "/me/tokens", `"lifetime":1000000000`, []string{"id", "owner", "origin", "kind", "test", "parent",
			"validity", "disabled", "child_attributes"}},
		{"POST", "/roles", `"name":"x"`, []string{"id", "owner", "version", "origin", "damaged", "coded"}},
		{"PATCH", role, `"name":"x"`, []string{"id", "owner", "version", "origin", "damaged", "coded"}},
		{"PATCH", "/owner", `"disabled":true`, []string{"id", "version", "since", "damaged", "owner"}},
		{"POST", "/tokens/revoke", `"client":"c1"`, []string{"owner", "steps", "progress", "states", "search", "id"}},
		{"POST", token + "/rotate", `"reason":"x"`, []string{"secret", "id", "text", "created"}},
	} {
		for _, name := range tt.members {
			p := h.do(tt.method, tt.target, "{"+tt.base+`,"`+name+`":"acme"}`).refused(400, "bad-request")
			assert.Equal(t, "/"+name, p.Pointer, "%s %s", tt.method, tt.target)
			assert.Equal(t, "An unknown member.", p.Detail)
		}
	}
	now, err := h.acme.Get(t.Context(), h.token.ID)
	require.NoError(t, err)
	require.Equal(t, h.token.Version, now.Version)
	r, err := h.acme.Role(t.Context(), h.role.ID)
	require.NoError(t, err)
	require.Equal(t, h.role.Version, r.Version)
	n, err := h.acme.CountTokens(t.Context(), latchkey.TokenQuery{}, 0)
	require.NoError(t, err)
	require.Equal(t, 4, n, "nothing was made")
}

// Of several faults of a query the same one is told each time: that of the first name.
func TestTheSameFaultIsTold(t *testing.T) {
	h := newHouse(t, setup{})
	for range 40 {
		p := h.do("GET", "/tokens?zz=1&limit=0&kind=x&state=y&order=z", "").refused(400, "bad-request")
		require.Equal(t, "kind", p.Field)
	}
}

// Each member of each body takes what the document says, and nothing of another type. The refusal names the member.
func TestWrongTypes(t *testing.T) {
	h := newHouse(t, setup{})
	values := []string{`true`, `7`, `1.5`, `"x"`, `[]`, `[7]`, `{}`, `{"x":7}`, `null`}
	tried := 0
	for id, op := range describedOperations() {
		body, ok := op.object["requestBody"].(object)
		if !ok {
			continue
		}
		e := h.examples()[id]
		var base object
		require.NoError(t, json.Unmarshal([]byte(e.body), &base))
		schema := deref(body["content"].(object)[mediaJSON].(object)["schema"].(object))
		for name, of := range schema["properties"].(object) {
			for _, text := range values {
				var v any
				require.NoError(t, json.Unmarshal([]byte(text), &v))
				if len(violations("", of.(object), v, false)) == 0 {
					continue
				}
				sent := object{}
				for k, was := range base {
					sent[k] = was
				}
				sent[name] = json.RawMessage(text)
				data, err := json.Marshal(sent)
				require.NoError(t, err)
				got := h.request(op, example{e.target, string(data)})
				p := got.refused(400, "bad-request")
				assert.True(t, p.Pointer == "/"+name || strings.HasPrefix(p.Pointer, "/"+name+"/"), "%s %s: %s: %s", id, name,
					text, got.Body)
				tried++
			}
		}
	}
	require.Greater(t, tried, 300)
}

// A body has one meaning, or it is refused with the place where it has two.
func TestBodiesHaveOneMeaning(t *testing.T) {
	h := newHouse(t, setup{})
	deep := strings.Repeat(`{"all":[`, 20) + strings.Repeat(`]}`, 20)
	for _, tt := range []struct{ body, pointer, detail string }{
		{``, "", "unexpected end"},
		{`[]`, "", "must be an object"},
		{`null`, "", "must be an object"},
		{`"kind"`, "", "must be an object"},
		{`{"kind":"api_key"} {}`, "", "trailing data"},
		{`{"kind":"api_key"`, "/kind", "unexpected end"},
		{`{"kind":"api_key",}`, "", "unexpected byte"},
		{`{"kind":"api_key","kind":"secret"}`, "/kind", "a name that the object has already"},
		{`{"kind":"api_key","KIND":"secret"}`, "/KIND", "a name that the object has already, or has but for its case"},
		{`{"Kind":"api_key"}`, "/Kind", "unknown member"},
		{`{"kind":"api_key","n\u0061me":"a","name":"b"}`, "/name", "a name that the object has already"},
		{`{"name":"x"}`, "/kind", "missing"},
		{`{"kind":"API_KEY"}`, "/kind", "one of secret"},
		{`{"kind":"api_key","validity":{"idle":1000000000,"idle":0}}`, "/validity/idle", "has already"},
		{`{"kind":"api_key","validity":{"idel":1}}`, "/validity/idel", "unknown member"},
		{`{"kind":"api_key","validity":{"not_after":"tomorrow"}}`, "/validity/not_after", "RFC 3339"},
		{`{"kind":"api_key","validity":{"not_after":"2027-01-01T00:00:00,5Z"}}`, "/validity/not_after", "RFC 3339"},
		{`{"kind":"api_key","limits":{"credits":5}}`, "/limits/credits", "unknown member"},
		{`{"kind":"api_key","limits":{"quotas":[{"amount":1,"per":"day"},{"amount":"2","per":"day"}]}}`,
			"/limits/quotas/1/amount", "a whole number"},
		{`{"kind":"api_key","limits":{"quotas":[{"per":"day"}]}}`, "/limits/quotas/0/amount", "missing"},
		{`{"kind":"api_key","restrictions":{"addresses":["192.0.2.7"]}}`, "/restrictions/addresses/0", "of another form"},
		{`{"kind":"api_key","permissions":[{"allow":["read"],"on":["a"]},{"allow":["read"],"deny":["read"],"on":["b"]}]}`,
			"/permissions/1", "exactly one of allow, grant and deny"},
		{`{"kind":"api_key","permissions":[{"allow":["read"],"on":["a"],"when":true}]}`, "/permissions/0", "unknown member"},
		{`{"kind":"api_key","permissions":[{"allow":["read"],"on":["a"],"where":{"field":"x","op":"~","value":1}}]}`,
			"/permissions/0", ""},
		{`{"kind":"api_key","permissions":[{"allow":["read"],"on":["a"],"where":` + deep + `}]}`, "/permissions/0", "deep"},
		{"{\"kind\":\"api_key\",\"name\":\"\xff\"}", "/name", "invalid UTF-8"},
		{`{"kind":"api_key","name":"\ud800"}`, "/name", "a lone surrogate"},
		{`{"kind":"api_key","role_ends":{"a~b/c":1}}`, "/role_ends/a~0b~1c", "RFC 3339"},
		{`{"kind":"api_key","role_ends":{"a\"b":{"x":1,"x":2}}}`, `/role_ends/a"b/x`, "has already"},
		{`{"kind":"api_key","name":"a\"b\\","role_ends":{"c":1,"c":2}}`, "/role_ends/c", "has already"},
		{`{"kind":"api_key","attributes":{"team":{}}}`, "/attributes", ""},
	} {
		got := h.do("POST", "/tokens", tt.body)
		p := got.refused(400, "bad-request")
		if !strings.Contains(tt.pointer, "permissions/0") || tt.detail != "deep" {
			assert.Equal(t, tt.pointer, p.Pointer, tt.body)
		}
		assert.Contains(t, strings.ToLower(p.Detail), strings.ToLower(tt.detail), tt.body)
	}
}

// What is no secret in a member that expects none is not repeated: somebody may have pasted one there.
func TestRefusalsRepeatNoSecret(t *testing.T) {
	h := newHouse(t, setup{})
	const pasted = "old_verysecretverysecret"
	for _, body := range []string{
		`{"kind":"` + pasted + `"}`,
		`{"kind":"api_key","validity":{"not_after":"` + pasted + `"}}`,
		`{"kind":"api_key","validity":"` + pasted + `"}`,
		`{"kind":"api_key","test":"` + pasted + `"}`,
		`{"kind":"api_key","restrictions":{"addresses":["` + pasted + `"]}}`,
		`{"kind":"api_key","name":"` + pasted + `\u0007"}`,
		`{"kind":"api_key",` + pasted,
	} {
		got := h.do("POST", "/tokens", body)
		require.Equal(t, 400, got.Code)
		assert.NotContains(t, got.Body.String(), pasted, body)
	}
	for _, query := range []string{"?kind=" + pasted, "?" + pasted + "=1", "?cursor=" + pasted, "?limit=" + pasted,
		"?expires_from=" + pasted} {
		got := h.do("GET", "/tokens"+query, nil)
		require.Equal(t, 400, got.Code)
		assert.NotContains(t, got.Body.String(), pasted, query)
	}
	for _, body := range []string{`{"secret":"` + pasted + `"}`, `{"secret":"short"}`, `{"secret":""}`} {
		got := h.do("POST", "/tokens/find", body)
		got.refused(404, "not-found")
		assert.NotContains(t, got.Body.String(), pasted)
	}
}

// A record of another owner, one that the caller may not read, one that does not exist, and an id that is none: the
// replies are the same, byte for byte.
func TestForeignRecordsAreNone(t *testing.T) {
	h := newHouse(t, setup{})
	other := h.keys.For("other")
	foreignToken, _ := h.issueFor(other, latchkey.Spec{Kind: latchkey.KindAPIKey, Client: latchkey.Client{ID: "theirs"}})
	foreignRole, err := other.CreateRole(t.Context(), latchkey.Role{Name: "theirs"})
	require.NoError(t, err)
	foreignSecrets, err := other.Secrets(t.Context(), foreignToken)
	require.NoError(t, err)
	// An actor with every right on one token and one role, and none on any other.
	_, narrow := h.issue(latchkey.Spec{Kind: latchkey.KindAPIKey, Permissions: latchkey.Permissions{
		latchkey.Allow(latchkey.Any, latchkey.Give).On("data/*", latchkey.Pattern("latchkey/token/"+h.plainID),
			latchkey.Pattern("latchkey/role/"+h.heir.ID))}})
	tried := 0
	for id, op := range describedOperations() {
		if !strings.Contains(op.path, "{id}") || id == "eraseClient" {
			continue
		}
		e := h.examples()[id]
		mine := recordID.FindString(e.target)
		theirs, hidden := foreignToken, h.token.ID
		switch {
		case strings.HasPrefix(op.path, "/roles"):
			theirs, hidden = foreignRole.ID, h.role.ID
		case strings.HasPrefix(op.path, "/clients"):
			theirs, hidden = "theirs", ""
		}
		at := func(token, record string) string {
			target := strings.Replace(e.target, mine, mine[:strings.LastIndexByte(mine, '/')+1]+record, 1)
			if id == "endSecret" && record == theirs {
				target = target[:strings.LastIndexByte(target, '/')+1] + foreignSecrets[0].ID
			}
			headers := []string{}
			if op.merges() {
				headers = append(headers, "Content-Type", mediaMerge)
			}
			var body any
			if e.body != "" {
				body = e.body
			}
			got := h.as(token, op.method, target, body, headers...)
			var all strings.Builder
			_ = got.Header().Write(&all)
			return http.StatusText(got.Code) + "\n" + all.String() + got.Body.String()
		}
		none := at(h.admin, nobody)
		require.Contains(t, none, "problem/not-found", id)
		assert.Equal(t, none, at(h.admin, theirs), "%s: another owner's", id)
		assert.Equal(t, none, at(h.admin, "x"), "%s: no id", id)
		assert.Equal(t, none, at(h.admin, strings.Repeat("x", 300)), "%s: a long id", id)
		if hidden != "" {
			assert.Equal(t, at(narrow, nobody), at(narrow, hidden), "%s: not readable", id)
			require.Contains(t, at(narrow, hidden), "problem/not-found", id)
		}
		tried++
	}
	require.Equal(t, 19, tried)
	_, err = other.Get(t.Context(), foreignToken)
	require.NoError(t, err)
}

// A body is of one of the types that are read, not compressed, not too long, and sent only where one is read.
func TestBodies(t *testing.T) {
	h := newHouse(t, setup{api: Options{MaxBody: 100}})
	small := `{"kind":"api_key"}`
	for _, tt := range []struct {
		method, target, body string
		headers              []string
		status               int
	}{
		{"POST", "/tokens", small, nil, 201},
		{"POST", "/tokens", small, []string{"Content-Type", "application/json; charset=utf-8"}, 201},
		{"POST", "/tokens", small + strings.Repeat(" ", 100-len(small)), nil, 201},
		{"POST", "/tokens", small + strings.Repeat(" ", 101-len(small)), nil, 413},
		{"POST", "/tokens", small, []string{"Content-Type", "application/json; charset=latin1"}, 415},
		{"POST", "/tokens", small, []string{"Content-Type", "text/plain"}, 415},
		{"POST", "/tokens", small, []string{"Content-Type", "application/x-www-form-urlencoded"}, 415},
		{"POST", "/tokens", small, []string{"Content-Type", ""}, 415},
		{"POST", "/tokens", small, []string{"Content-Type", mediaMerge}, 415},
		{"POST", "/tokens", small, []string{"Content-Encoding", "gzip"}, 415},
		{"PATCH", "/tokens/" + h.plainID, `{}`, []string{"Content-Type", mediaMerge}, 200},
		{"PATCH", "/tokens/" + h.plainID, `[]`, []string{"Content-Type", "application/json-patch+json"}, 415},
		{"GET", "/tokens", small, nil, 400},
		{"DELETE", "/tokens/" + h.plainID, small, nil, 400},
		{"POST", "/tokens/" + h.plainID + "/reveal", `{}`, nil, 400},
		{"POST", "/tokens/" + h.plainID + "/rotate", `{"overlap":1000000}`, []string{"Content-Type", ""}, 400},
		{"POST", "/tokens/" + h.plainID + "/rotate", `{}`, nil, 200},
	} {
		got := h.do(tt.method, tt.target, tt.body, tt.headers...)
		assert.Equal(t, tt.status, got.Code, "%s %s %s %v: %s", tt.method, tt.target, tt.body, tt.headers, got.Body)
	}
	h.do("POST", "/tokens/"+h.plainID+"/rotate", nil).ok(200)
	_, err := h.acme.Get(t.Context(), h.plainID)
	require.NoError(t, err, "a DELETE with a body did nothing")
}

// Paths and methods.
func TestRoutes(t *testing.T) {
	h := newHouse(t, setup{})
	_, spaced := h.issue(latchkey.Spec{Kind: latchkey.KindAPIKey, Client: latchkey.Client{ID: "a/b ../é%2F"}})
	_ = spaced
	for _, tt := range []struct {
		method, target string
		status         int
		allow          string
	}{
		{"GET", "/", 404, ""}, {"GET", "/token", 404, ""}, {"GET", "/tokens/", 404, ""}, {"GET", "//tokens", 404, ""},
		{"GET", "/tokens/" + h.plainID + "/", 404, ""}, {"GET", "/tokens/" + h.plainID + "/nope", 404, ""},
		{"GET", "/tokens%2F" + h.plainID, 404, ""}, {"DELETE", "/clients/", 404, ""}, {"GET", "/tokens//secrets", 404, ""},
		{"GET", "/Tokens", 404, ""},
		{"GET", "/clients/a%2Fb%20..%2F%C3%A9%252F", 200, ""}, {"GET", "/clients/a/b", 404, ""},
		{"PUT", "/tokens", 405, "GET, HEAD, POST"}, {"DELETE", "/tokens", 405, "GET, HEAD, POST"},
		{"POST", "/tokens/" + h.plainID, 405, "DELETE, GET, HEAD, PATCH"},
		{"GET", "/tokens/" + h.plainID + "/rotate", 405, "POST"}, {"OPTIONS", "/tokens", 405, "GET, HEAD, POST"},
		{"BREW", "/me", 405, "GET, HEAD"},
	} {
		got := h.do(tt.method, tt.target, nil)
		require.Equal(t, tt.status, got.Code, "%s %s: %s", tt.method, tt.target, got.Body)
		require.Equal(t, tt.allow, got.Header().Get("Allow"), "%s %s", tt.method, tt.target)
		if tt.status >= 400 {
			require.Equal(t, "application/problem+json", got.Header().Get("Content-Type"))
		}
	}
	require.Equal(t, 401, h.as("", "GET", "/nope", nil).Code, "what there is, only callers hear")
}

// Headers that could be taken in two ways are refused, and none of a request comes back in one.
func TestHeaders(t *testing.T) {
	h := newHouse(t, setup{})
	for _, key := range []string{"", `""`, "a b", `a"b`, `"a`, "a\\b", "a\tb", "a\r\nSet-Cookie: x=1", "é",
		strings.Repeat("a", 256),
		`"a", "b"`} {
		got := h.do("POST", "/tokens", `{"kind":"api_key"}`, "Idempotency-Key", key)
		got.refused(400, "bad-request")
		require.Empty(t, got.Header().Get("Set-Cookie"))
	}
	twice := httptest.NewRequest("POST", "/tokens", strings.NewReader(`{"kind":"api_key"}`))
	twice.Header = http.Header{"Authorization": {"Bearer " + h.admin}, "Content-Type": {mediaJSON},
		"Idempotency-Key": {"a", "b"}}
	h.send(twice).refused(400, "bad-request")
	for _, tag := range []string{"7", `"7`, `"7" "8"`, `"7",`, `7"`, `"a` + "\x01" + `"`, "\"a\x7f\"", `"1 "`, `*, "7"`,
		`W/`, `"7", W/`, `,`,
		strings.Repeat(`"7",`, 17) + `"7"`} {
		h.do("PATCH", "/tokens/"+h.plainID, `{"name":"x"}`, "If-Match", tag).refused(400, "bad-request")
	}
	for _, tag := range []string{`W/"1.x"`, `"01.x"`, `"+1"`, `"x"`, `""`, `"2.x"`, `"18446744073709551616"`} {
		h.do("PATCH", "/tokens/"+h.plainID, `{"name":"x"}`, "If-Match", tag).refused(412, "stale")
	}
	h.do("PATCH", "/tokens/"+h.plainID, `{"name":"y"}`, "If-Match", `"7.a", "1.b"`).ok(200)
	for _, header := range []string{"If-Match", "Idempotency-Key"} { // where it would be ignored
		h.do("POST", "/me/explain", `{"questions":[{"action":"read","resource":"data/1"}]}`, header, `"1"`).
			refused(400, "bad-request")
	}
	h.do("GET", "/tokens/"+h.plainID, nil, "Idempotency-Key", "a").refused(400, "bad-request")
	h.do("GET", "/tokens/"+h.plainID, nil, "If-Match", `"1"`).ok(200) // clients send it with every request
	// A name, a reason or a client of a request reaches no header.
	for _, body := range []string{`{"kind":"api_key","name":"a\r\nX: y"}`, `{"kind":"api_key",
		"client":{"id":"a\r\nX: y"}}`} {
		got := h.do("POST", "/tokens", body)
		require.Empty(t, got.Header().Get("X"))
		for _, values := range got.Header() {
			require.NotContains(t, strings.Join(values, ""), "\n")
		}
	}
}

// A page of another origin cannot use what a browser adds by itself: neither a cookie of the Adapter, nor the session
// of a host that sets the Access itself.
func TestCrossOrigin(t *testing.T) {
	h := newHouse(t, setup{})
	session := func(next http.Handler) http.Handler { // a host's own sign-in, by a cookie
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			access, err := h.acme.Assume(latchkey.Client{ID: "ann"}, latchkey.Permissions{
				latchkey.Allow(latchkey.Any, latchkey.Give).On("*", "latchkey/*")})
			require.NoError(t, err)
			next.ServeHTTP(w, r.WithContext(httpadapter.WithAccess(r.Context(), access)))
		})
	}
	cookies := httpadapter.Carriers{Bearer: true, Cookie: "__Host-k", TrustedOrigins: []string{"https://app.example"}}
	auth := httpadapter.New(h.keys, &httpadapter.Options{Carriers: cookies})
	plain := Handler(auth, &Options{Clock: h.clock.now})
	for _, tt := range []struct {
		name, site, origin string
		status             int // of a POST without a body, as a form can send it
	}{
		{"no browser", "", "", 200},
		{"its own page", "same-origin", "https://api.example", 200},
		{"an old browser's own page", "", "http://example.com", 200},
		{"a trusted origin", "same-site", "https://app.example", 200},
		{"another site", "cross-site", "https://evil.example", 403},
		{"another site, by an old browser", "", "https://evil.example", 403},
		{"another host of the site", "same-site", "https://blog.example", 403},
		{"a sandbox", "cross-site", "null", 403},
		{"another site without Origin", "cross-site", "", 403},
	} {
		for who, handler := range map[string]http.Handler{"cookie": plain, "session": session(plain)} {
			r := httptest.NewRequest("POST", "/tokens/"+h.plainID+"/rotate", nil)
			if who == "cookie" {
				r.AddCookie(&http.Cookie{Name: "__Host-k", Value: h.admin})
			}
			for name, value := range map[string]string{"Sec-Fetch-Site": tt.site, "Origin": tt.origin} {
				if value != "" {
					r.Header.Set(name, value)
				}
			}
			w := httptest.NewRecorder()
			handler.ServeHTTP(w, r)
			require.Equal(t, tt.status, w.Code, "%s, %s: %s", who, tt.name, w.Body)
		}
	}
	// A Bearer token is set by a program: its page may be anywhere, if CORS lets it read the reply.
	for _, handler := range []http.Handler{plain, session(plain)} {
		r := httptest.NewRequest("GET", "/me", nil)
		r.Header.Set("Authorization", "Bearer "+h.admin)
		r.Header.Set("Sec-Fetch-Site", "cross-site")
		r.Header.Set("Origin", "https://spa.example")
		w := httptest.NewRecorder()
		handler.ServeHTTP(w, r)
		require.Equal(t, 200, w.Code, w.Body)
	}
}

// A value of a query is text without NUL, and a request asks at most a hundred questions.
func TestBoundsOfQuestionsAndQueries(t *testing.T) {
	h := newHouse(t, setup{})
	for value, fine := range map[string]bool{"a": true, "%C3%BC": true, "a%00": false, "%00": false, "%FF": false} {
		if got := h.do("GET", "/tokens?search="+value, nil); fine {
			got.ok(200)
		} else {
			require.Equal(t, "search", got.refused(400, "bad-request").Field, value)
		}
	}
	for n, fine := range map[int]bool{0: false, 1: true, 100: true, 101: false} {
		one := `{"action":"read","resource":"data/1"}`
		body := `{"questions":[` + strings.TrimSuffix(strings.Repeat(one+",", n), ",") + `]}`
		require.Equal(t, fine, h.do("POST", "/me/explain", body).Code == 200, n)
	}
}

// The largest number that a limit names is allowed, and one more is not.
func TestEachLimitIsReached(t *testing.T) {
	h := newHouse(t, setup{})
	h.issue(latchkey.Spec{Kind: latchkey.KindAPIKey, Client: latchkey.Client{ID: strings.Repeat("c", maxClientID)}})
	padded := func(text string, n int) string { return text + strings.Repeat(" ", n-len(text)) }
	for name, c := range map[string]struct {
		most, allowed, refused int // and the statuses
		try                    func(n int) reply
	}{
		"bytes of a path": {maxPath, 405, 404, func(n int) reply {
			return h.do("PUT", "/clients/"+strings.Repeat("c", n-len("clients/")), nil)
		}},
		"bytes of a query": {maxQuery, 200, 400, func(n int) reply {
			return h.do("GET", "/tokens?limit=1"+strings.Repeat("&", n-len("limit=1")), nil)
		}},
		"items of a parameter": {100, 200, 400, func(n int) reply {
			return h.do("GET", "/tokens?kind=secret"+strings.Repeat(",secret", n-1), nil)
		}},
		"items of a page": {MaxLimit, 200, 400, func(n int) reply {
			return h.do("GET", fmt.Sprint("/tokens?limit=", n), nil)
		}},
		"how far to count": {1_000_000, 200, 400, func(n int) reply {
			return h.do("GET", fmt.Sprint("/tokens/count?most=", n), nil)
		}},
		"bytes of a client that is exported": {maxClientID, 200, 404, func(n int) reply {
			return h.do("GET", "/clients/"+strings.Repeat("c", n)+"/export", nil)
		}},
		"entity tags": {maxTags, 200, 400, func(n int) reply {
			return h.do("PATCH", "/roles/"+h.heir.ID, `{}`, "If-Match", strings.Repeat(`"x",`, n-1)+`"1"`)
		}},
		"bytes of an Idempotency-Key": {maxOnceKey, 201, 400, func(n int) reply {
			return h.do("POST", "/tokens", `{"kind":"api_key"}`, "Idempotency-Key", strings.Repeat("k", n))
		}},
		"bytes of a body": {DefaultMaxBody, 201, 413, func(n int) reply {
			return h.do("POST", "/tokens", padded(`{"kind":"api_key"}`, n))
		}},
	} {
		t.Run(name, func(t *testing.T) {
			got := c.try(c.most)
			require.Equal(t, c.allowed, got.Code, got.Body)
			got = c.try(c.most + 1)
			require.Equal(t, c.refused, got.Code, got.Body)
		})
	}
}
