package api

import (
	"context"
	"net/http"
	"net/http/httptest"
	"net/url"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/latchkey-go/latchkey"
	"github.com/latchkey-go/latchkey/httpadapter"
	"github.com/latchkey-go/latchkey/latchkeytest"
)

// house is a world with a record of each sort.
type house struct {
	*world
	role, heir     latchkey.Role  // heir inherits role
	token, child   latchkey.Token // child is minted from token, which has the role
	secret         string         // of token
	plain, plainID string         // an API key without roles: what may be ended
}

const codeRole = "code:auditor"

func newHouse(t *testing.T, s setup) *house {
	t.Helper()
	ring, err := latchkey.NewKeyring(latchkey.Key{ID: 1, Secret: []byte(strings.Repeat("k", 32))})
	require.NoError(t, err)
	s.options.Keyring = ring
	s.options.Imported = func(text string) bool { return strings.HasPrefix(text, "old_") }
	s.options.Roles = []latchkey.Role{{Name: "auditor",
		Permissions: latchkey.Permissions{latchkey.Allow(latchkey.Read).On("latchkey/event")}}}
	s.options.Catalogue = &latchkey.Catalogue{Resources: []latchkey.ResourceType{{Template: "data/{id}", Name: "data",
		Actions: []latchkey.Action{"read", "write"}, Schema: latchkey.NewSchema(latchkey.Fields{
			"region": {Column: "region", Type: latchkey.Text}})}}}
	h := &house{world: newWorld(t, s)}
	ctx := t.Context()
	h.role, err = h.acme.CreateRole(ctx, latchkey.Role{Name: "reader", Permissions: latchkey.Permissions{
		latchkey.Allow(latchkey.Read).On("data/*").Where(latchkey.Where("region", latchkey.Eq, "EU")),
		latchkey.Allow(latchkey.Mint).On("latchkey/token/*"),
	}})
	require.NoError(t, err)
	h.heir, err = h.acme.CreateRole(ctx, latchkey.Role{Name: "heir", Inherits: []string{h.role.ID},
		Boundary: latchkey.Permissions{latchkey.Allow(latchkey.Read).On("data/*")}})
	require.NoError(t, err)
	spec := latchkey.Spec{Kind: latchkey.KindAPIKey, Name: "of c1", Roles: []string{h.role.ID, codeRole},
		RoleEnds: map[string]time.Time{codeRole: h.clock.now().Add(time.Hour)},
		Client:   latchkey.Client{ID: "c1", Name: "One"}, Attributes: latchkey.Attributes{"team": "red"},
		Limits: latchkey.Limits{Quotas: []latchkey.Quota{{Amount: 9 * latchkey.Credit, Per: latchkey.Month}}}}
	id, text := h.issue(spec)
	h.secret = text
	h.token, err = h.acme.Get(ctx, id)
	require.NoError(t, err)
	access, err := h.keys.Verify(ctx, latchkey.Presented{Secret: text})
	require.NoError(t, err)
	h.child, _, err = access.Mint(ctx, latchkey.Narrowing{Lifetime: time.Hour,
		Rows: []latchkey.Condition{latchkey.Where("region", latchkey.Ne, "US")}})
	require.NoError(t, err)
	_, err = access.Spend(ctx, "api", "GET /x", latchkey.Credit)
	require.NoError(t, err)
	h.plainID, h.plain = h.issue(latchkey.Spec{Kind: latchkey.KindAPIKey, Name: "plain"})
	_, err = h.keys.Verify(ctx, latchkey.Presented{Secret: h.plain + "x"})
	require.Error(t, err)
	return h
}

// example is a request that an operation carries out.
type example struct{ target, body string }

// examples are of all operations. Each is for a new house.
func (h *house) examples() map[string]example {
	id := h.token.ID
	questions := `{"questions":[{"action":"read","resource":"data/1"},{"action":"write","resource":"data/1"}]}`
	secrets, err := h.acme.Secrets(h.t.Context(), id)
	require.NoError(h.t, err)
	if len(secrets) == 1 { // one more, which can be ended
		_, err := h.acme.Rotate(h.t.Context(), id, time.Hour)
		require.NoError(h.t, err)
	}
	return map[string]example{
		"getMe":         {"/me", ""},
		"listMyCredits": {"/me/credits?meter=api", ""},
		"listCredits":   {"/tokens/" + h.child.ID + "/credits?meter=api", ""},
		"listMyReach":   {"/me/reach?action=read", ""},
		"explainMe":     {"/me/explain", questions},
		"mintToken": {"/me/tokens", `{"lifetime":60000000000,"name":"short","rows":[{"field":"region","op":"=","value":"EU"}],
			"forced":{"region":"EU"},"client":{"id":"c2"},"permissions":[{"grant":["read"],"on":["data/*"]}]}`},
		"listTokens":  {"/tokens", ""},
		"countTokens": {"/tokens/count", ""},
		"issueToken": {"/tokens", `{"kind":"api_key","name":"new","roles":["reader"],
			"role_ends":{"reader":"2027-01-01T00:00:00Z"},
			"permissions":[{"allow":["read"],"on":["data/*"],
				"where":{"not":{"any":[{"field":"region","op":"in","value":["US","CA"]}]}}}],
			"restrictions":{"addresses":["192.0.2.0/24"],"domains":["example.com"]},
			"limits":{"quotas":[{"meter":"api","amount":1000000,"per":"day"}],"rate":{"count":5,"per":1000000000}},
			"validity":{"not_after":"2028-01-01T00:00:00Z","idle":86400000000000},"extra":{"plan":"gold","none":null},
			"client":{"id":"c3","name":"Three"},"attributes":{"team":"blue","level":3},"child_attributes":["trip"]}`},
		"getToken": {"/tokens/" + id, ""},
		"updateToken": {"/tokens/" + id, `{"name":"renamed","limits":{"rate":{"count":1,"per":1000000}},
			"validity":{"idle":null},"extra":{"a":1}}`},
		"revokeToken":   {"/tokens/" + id + "/revoke", `{"reason":"left"}`},
		"deleteToken":   {"/tokens/" + id, ""},
		"importToken":   {"/tokens/import", `{"kind":"api_key","text":"old_1234567890abcdef"}`},
		"findToken":     {"/tokens/find", `{"secret":"` + h.secret + `"}`},
		"rotateToken":   {"/tokens/" + id + "/rotate", `{"overlap":3600000000000,"reason":"monthly"}`},
		"revealToken":   {"/tokens/" + id + "/reveal", ""},
		"signingSecret": {"/tokens/" + id + "/signing-secret", ""},
		"listSecrets":   {"/tokens/" + id + "/secrets", ""},
		"endSecret":     {"/tokens/" + id + "/secrets/" + secrets[0].ID, ""},
		"revokeTokens":  {"/tokens/revoke", `{"client":"c1","reason":"gone"}`},
		"disableTokens": {"/tokens/disable", `{"kinds":["api_key"],"origin":"","created_before":"2027-01-01T00:00:00Z"}`},
		"explainToken":  {"/tokens/" + id + "/explain", questions},
		"tokenLineage":  {"/tokens/" + h.child.ID + "/lineage", ""},
		"explainRole":   {"/roles/" + h.heir.ID + "/explain", questions},
		"roleLineage":   {"/roles/" + h.heir.ID + "/lineage", ""},
		"whoMay":        {"/who?action=read&resource=data/1", ""},
		"listRoles":     {"/roles", ""},
		"createRole": {"/roles", `{"name":"maker","inherits":["reader"],"inherit_denies":true,"boundary":[],
			"permissions":[{"deny":["*"],"on":["data/secret"]},{"grant":["write"],"on":["data/*"],
				"where":{"field":"region","op":"=","value":{"ref":"client_id"}},"force":{"region":"EU"}}],"extra":[1]}`},
		"getRole": {"/roles/" + h.role.ID, ""},
		"updateRole": {"/roles/" + h.role.ID, `{"name":"renamed","permissions":null,"boundary":[{"allow":["read"],
			"on":["data/*"]}]}`},
		"deleteRole":   {"/roles/" + h.heir.ID, ""},
		"listClients":  {"/clients", ""},
		"getClient":    {"/clients/c1", ""},
		"exportClient": {"/clients/c1/export", ""},
		"eraseClient":  {"/clients/c1", ""},
		"getOwner":     {"/owner", ""},
		"updateOwner":  {"/owner", `{"disabled":false,"extra":{"a":null,"b":1}}`},
		"listUsage":    {"/usage?by=token,client,meter,endpoint,day", ""},
		"listRefusals": {"/refusals", ""},
		"listEvents":   {"/events", ""},
		"getCatalogue": {"/catalogue", ""},
	}
}

// parameterValues are values that an example takes for each parameter.
func (h *house) parameterValues(op, name string) []string {
	values := map[string][]string{
		"kind": {"api_key", "secret,access"}, "state": {"active", "revoked,expired"}, "role": {h.role.ID, "reader"},
		"client": {"c1"}, "parent": {h.token.ID}, "origin": {"", "datocms"}, "search": {"of"}, "find": {"C1"},
		"expires_from": {"2026-01-01T00:00:00Z"}, "expires_to": {"2027-01-01T00:00:00+01:00"},
		"unused_since": {"2026-01-01T00:00:00Z"}, "created_before": {"2027-01-01T00:00:00Z"}, "order": orders,
		"reverse": {"true", "false"}, "limit": {"1", "200"}, "most": {"1", "1000000"}, "meter": {"api"},
		"action": {"read"}, "under": {"data"}, "resource": {"data/1"}, "minted": {"true"}, "id": {h.role.ID, codeRole},
		"name": {"reader"}, "inherits": {"reader"}, "from": {"2026-11-01"}, "to": {"2026-11-30"}, "by": {"token,day"},
		"token": {h.token.ID}, "actor": {"", h.adminID}, "object": {h.token.ID},
	}
	if op == "listEvents" {
		values["action"], values["order"] = []string{"token.", "token.issue"}, []string{"newest", "oldest"}
		values["from"], values["to"] = values["expires_from"], values["expires_to"]
	}
	return values[name]
}

// request sends the example of an operation.
func (h *house) request(op servedOperation, e example, headers ...string) reply {
	h.t.Helper()
	if op.merges() {
		headers = append([]string{"Content-Type", mediaMerge}, headers...)
	}
	if e.body == "" {
		return h.do(op.method, e.target, nil, headers...)
	}
	return h.do(op.method, e.target, e.body, headers...)
}

func (d servedOperation) merges() bool {
	body, _ := d.object["requestBody"].(object)
	return body != nil && body["content"].(object)[mediaMerge] != nil
}

func (d servedOperation) parameters(in string) (list []object) {
	all, _ := d.object["parameters"].([]any)
	for _, p := range all {
		if p.(object)["in"] == in {
			list = append(list, p.(object))
		}
	}
	return list
}

func (d servedOperation) has(in, name string) bool {
	return slices.ContainsFunc(d.parameters(in), func(p object) bool { return p["name"] == name })
}

// Each operation of the document is in the table of examples, succeeds with its example, and takes HEAD with GET. That
// each reply is as the document says, and each body that was taken, checkTruth checks for every request of every test.
func TestTruthExamples(t *testing.T) {
	for id, op := range describedOperations() {
		h := newHouse(t, setup{})
		e, ok := h.examples()[id]
		require.True(t, ok, "%s has no example", id)
		done := h.request(op, e)
		require.Less(t, done.Code, 300, "%s: %s", id, done.Body)
		if op.method == "GET" {
			head := h.do("HEAD", e.target, nil)
			require.Equal(t, done.Code, head.Code, id)
			require.Empty(t, head.Body.String(), id)
		}
		if op.merges() { // plain JSON is taken, too
			require.Less(t, newHouse(t, setup{}).do(op.method, e.target, e.body, "Content-Type", mediaJSON).Code, 405, id)
		}
	}
	h := newHouse(t, setup{})
	require.Len(t, h.examples(), len(describedOperations()), "an example of no operation")
}

// Each parameter that is described is taken, and each other one is refused.
func TestTruthParameters(t *testing.T) {
	h := newHouse(t, setup{})
	for id, op := range describedOperations() {
		e := h.examples()[id]
		path, _, _ := strings.Cut(e.target, "?")
		query := func() url.Values {
			_, raw, _ := strings.Cut(e.target, "?")
			q, err := url.ParseQuery(raw)
			require.NoError(t, err)
			return q
		}
		q := query()
		q.Set("nope", "1")
		p := h.request(op, example{path + "?" + q.Encode(), e.body}).refused(400, "bad-request")
		require.NotContains(t, p.Detail, "nope")
		for _, described := range op.parameters("query") {
			name := described["name"].(string)
			if name == "cursor" {
				continue // TestCursors
			}
			values := h.parameterValues(id, name)
			require.NotEmpty(t, values, "%s %s", id, name)
			for _, v := range values {
				q := query()
				q.Set(name, v)
				got := h.request(op, example{path + "?" + q.Encode(), e.body})
				require.Equal(t, 200, got.Code, "%s %s=%s: %s", id, name, v, got.Body)
			}
			q := query()
			q[name] = []string{values[0], values[0]}
			h.request(op, example{path + "?" + q.Encode(), e.body}).refused(400, "bad-request")
			if described["required"] == true {
				q.Del(name)
				h.request(op, example{path + "?" + q.Encode(), e.body}).refused(400, "bad-request")
			}
		}
	}
}

// nobody is a well-formed id that no record has.
const nobody = "0198c2a5-7b1e-7c3d-8f00-5a1b2c3d4e5f"

var recordID = regexp.MustCompile(`^(/(?:tokens|roles|clients)/)(?:[0-9a-f-]{36}|c1)`)

// conflicts are requests that are answered 409, beside a request that was carried out before.
func (h *house) conflicts() map[string]func() reply {
	ctx := h.t.Context()
	return map[string]func() reply{
		"issueToken": nil, "mintToken": nil, "rotateToken": nil, // by an Idempotency-Key
		"createRole": func() reply { return h.do("POST", "/roles", `{"name":"Reader"}`) },
		"importToken": func() reply {
			h.do("POST", "/tokens/import", `{"kind":"api_key","text":"old_1234567890abcdef"}`).ok(201)
			return h.do("POST", "/tokens/import", `{"kind":"api_key","text":"old_1234567890abcdef"}`)
		},
		"updateRole": func() reply { return h.do("PATCH", "/roles/"+h.role.ID, `{"name":"HEIR"}`) },
		"deleteRole": func() reply { return h.do("DELETE", "/roles/"+h.role.ID, nil) },
		"endSecret": func() reply {
			list, err := h.acme.Secrets(ctx, h.plainID)
			require.NoError(h.t, err)
			return h.do("DELETE", "/tokens/"+h.plainID+"/secrets/"+list[0].ID, nil)
		},
		"revealToken": func() reply {
			other := newWorld(h.t, setup{})
			return other.do("POST", "/tokens/"+other.adminID+"/reveal", nil)
		},
		"signingSecret": func() reply {
			other := newWorld(h.t, setup{})
			return other.do("POST", "/tokens/"+other.adminID+"/signing-secret", nil)
		},
		"updateToken": func() reply { // one more would be live than the policy lets
			h.clock.add(time.Hour)
			id, _ := h.issue(latchkey.Spec{Kind: latchkey.KindAPIKey,
				Validity: latchkey.Validity{NotAfter: h.clock.now().Add(time.Minute)}})
			h.clock.add(2 * time.Minute)
			require.NoError(h.t, h.acme.Configure(ctx, func(o *latchkey.Owner) error { o.Policy.Tokens = 3; return nil }))
			return h.do("PATCH", "/tokens/"+id, `{"validity":null}`)
		},
	}
}

// Each status that is described comes, and each that comes is described (checkTruth).
func TestTruthStatuses(t *testing.T) {
	for id, op := range describedOperations() {
		came := map[int]bool{}
		try := func(got reply) { came[got.Code] = true }
		h := newHouse(t, setup{})
		e := h.examples()[id]
		path, _, _ := strings.Cut(e.target, "?")
		try(h.as("", op.method, e.target, nil))
		try(h.request(op, example{path + "?nope=1", e.body}))
		last := len(h.secret) - 1
		unknown := h.secret[:last] + map[bool]string{true: "y", false: "z"}[h.secret[last] == 'z']
		if gone := recordID.ReplaceAllString(e.target, "${1}"+nobody); gone != e.target || id == "findToken" {
			try(h.request(op, example{gone, strings.ReplaceAll(e.body, h.secret, unknown)}))
		}
		if e.body != "" {
			try(h.do(op.method, e.target, "text", "Content-Type", "text/plain"))
			try(h.do(op.method, e.target, `{"name":"`+strings.Repeat("a", DefaultMaxBody)+`"}`))
		}
		if op.has("header", "If-Match") {
			try(h.request(op, e, "If-Match", `"99.x"`))
			strict := newHouse(t, setup{api: Options{RequireIfMatch: true}})
			try(strict.request(op, strict.examples()[id]))
			require.Less(t, strict.request(op, strict.examples()[id], "If-Match", "*").Code, 300, id)
		}
		if op.has("header", "If-None-Match") {
			try(h.request(op, e, "If-None-Match", "*"))
		}
		if op.has("header", "Idempotency-Key") {
			again := newHouse(t, setup{})
			e := again.examples()[id]
			require.Less(t, again.request(op, e, "Idempotency-Key", "k1").Code, 300)
			try(again.request(op, e, "Idempotency-Key", "k1"))
			e.body = strings.TrimSuffix(e.body, "}") + " }"
			try(again.request(op, e, "Idempotency-Key", "k1"))
		}
		if conflict := newHouse(t, setup{}).conflicts()[id]; conflict != nil {
			try(conflict())
		}
		if id == "getCatalogue" {
			try(newWorld(t, setup{}).do("GET", "/catalogue", nil))
		}
		if slices.Contains(op.statuses(), 409) {
			try(storeRefuses(t, op, id))
		}
		try(crossOrigin(t, op, id))
		try(tooOften(t, op, id))
		try(storeAway(t, op, id))
		try(h.request(op, e))
		for _, status := range op.statuses() {
			assert.True(t, came[status], "%s is never answered %d, which is described", id, status)
		}
	}
}

// crossOrigin sends a request with a cookie from a page of another origin.
func crossOrigin(t *testing.T, op servedOperation, id string) reply {
	h := newHouse(t, setup{adapter: httpadapter.Options{Carriers: httpadapter.Carriers{Bearer: true, Cookie: "__Host-k"}}})
	e := h.examples()[id]
	r := httptest.NewRequest(op.method, e.target, strings.NewReader(e.body))
	r.AddCookie(&http.Cookie{Name: "__Host-k", Value: h.admin})
	r.Header.Set("Content-Type", mediaJSON)
	r.Header.Set("Sec-Fetch-Site", "cross-site")
	r.Header.Set("Origin", "https://evil.example")
	got := h.send(r)
	got.refused(403, "cross-origin")
	return got
}

// tooOften sends a request with a token whose rate is used up.
func tooOften(t *testing.T, op servedOperation, id string) reply {
	h := newHouse(t, setup{})
	e := h.examples()[id]
	_, text := h.issue(latchkey.Spec{Kind: latchkey.KindSecret,
		Limits: latchkey.Limits{Rate: latchkey.Rate{Count: 1, Per: time.Hour}}})
	first := h.as(text, "GET", "/me", nil)
	require.Equal(t, `"token";r=0;t=3600`, first.Header().Get("RateLimit"))
	return h.as(text, op.method, e.target, nil)
}

// refusing is a store that refuses to write.
type refusing struct {
	latchkey.Store
	armed bool
}

func (s *refusing) Write(ctx context.Context, w latchkey.Write) error {
	if s.armed {
		return latchkey.ErrInUse
	}
	return s.Store.Write(ctx, w)
}

// storeRefuses sends a request whose change contradicts what the store has.
func storeRefuses(t *testing.T, op servedOperation, id string) reply {
	var store *refusing
	h := newHouse(t, setup{store: func(s latchkey.Store) latchkey.Store {
		store = &refusing{Store: s}
		return store
	}})
	e := h.examples()[id]
	store.armed = true
	got := h.request(op, e)
	got.refused(409, "in-use")
	return got
}

// storeAway sends a request while the store does not answer.
func storeAway(t *testing.T, op servedOperation, id string) reply {
	var store *latchkeytest.Store
	h := newHouse(t, setup{store: func(s latchkey.Store) latchkey.Store {
		store = &latchkeytest.Store{Store: s}
		return store
	}})
	e := h.examples()[id]
	store.Down(true)
	defer store.Down(false)
	got := h.request(op, e)
	got.refused(503, "unavailable")
	require.NotEmpty(t, got.Header().Get("Retry-After"))
	return got
}
