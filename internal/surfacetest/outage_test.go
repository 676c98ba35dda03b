package surfacetest

import (
	"context"
	"fmt"
	"maps"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/latchkey-go/latchkey"
	"github.com/latchkey-go/latchkey/httpadapter"
	"github.com/latchkey-go/latchkey/httpadapter/api"
	"github.com/latchkey-go/latchkey/httpadapter/apperate"
	"github.com/latchkey-go/latchkey/httpadapter/authzen"
	"github.com/latchkey-go/latchkey/httpadapter/cloudtables"
	"github.com/latchkey-go/latchkey/httpadapter/console"
	"github.com/latchkey-go/latchkey/httpadapter/datocms"
	"github.com/latchkey-go/latchkey/httpadapter/forward"
	"github.com/latchkey-go/latchkey/httpadapter/oauth"
	"github.com/latchkey-go/latchkey/httpadapter/webforce"
	"github.com/latchkey-go/latchkey/latchkeytest"
	"github.com/latchkey-go/latchkey/memstore"
)

// served is a store that can be made to fail, what is in it, and every surface over it.
type served struct {
	store *latchkeytest.Store
	acme  latchkey.Account
	faces map[string]http.Handler

	still *still // below store

	admin   string            // the text of a secret key
	user    string            // the text of the token that uses the Console
	names   *strings.Replacer // texts and ids of what deeds name
	unnamed *strings.Replacer // the other way round
}

func newServed(t *testing.T) *served {
	t.Helper()
	clock := latchkeytest.NewClock(time.Date(2030, 1, 2, 12, 0, 0, 0, time.UTC))
	ring, err := latchkey.NewKeyring(latchkey.Key{ID: 1, Secret: []byte(strings.Repeat("k", 32))})
	require.NoError(t, err)
	plain := memstore.New(&memstore.Options{Clock: clock.Now})
	s := &served{still: &still{Store: plain}}
	s.store = &latchkeytest.Store{Store: s.still}
	manager := func(of latchkey.Store) *latchkey.Manager {
		keys := latchkey.New(of, &latchkey.Options{Clock: clock.Now, Keyring: ring, CacheTokens: -1,
			Imported: func(text string) bool { return strings.HasPrefix(text, "key-") }})
		t.Cleanup(func() { _ = keys.Close(context.Background()) })
		return keys
	}
	first := manager(plain)
	acme := first.For("acme")
	named := map[string]string{}
	role := func(r latchkey.Role) string {
		made, err := acme.CreateRole(t.Context(), r)
		require.NoError(t, err)
		named[r.Name] = made.ID
		return made.ID
	}
	issue := func(name string, spec latchkey.Spec) {
		token, secret, err := acme.Issue(t.Context(), spec)
		require.NoError(t, err)
		named[name], named[name+" id"] = secret.Reveal(), token.ID
	}
	every := latchkey.Permissions{latchkey.Allow(latchkey.Any).On("*")}
	budget := func(meter string, per latchkey.Period) latchkey.Limits {
		return latchkey.Limits{Quotas: []latchkey.Quota{{Meter: meter, Per: per, Amount: 100 * latchkey.Credit}}}
	}
	reader := role(latchkey.Role{Name: "reader", Permissions: every})
	role(latchkey.Role{Name: "heir", Inherits: []string{reader}})
	role(latchkey.Role{Name: "spare role"})
	issue("admin", latchkey.Spec{Kind: latchkey.KindSecret})
	issue("key", latchkey.Spec{Kind: latchkey.KindAPIKey, Roles: []string{reader}, Permissions: every,
		Limits: budget("", latchkey.Day)})
	issue("looker", latchkey.Spec{Kind: latchkey.KindAPIKey,
		Permissions: latchkey.Permissions{latchkey.Allow(latchkey.Read).On("*", "latchkey/*")}})
	issue("nobody", latchkey.Spec{Kind: latchkey.KindAPIKey})
	issue("page", latchkey.Spec{Kind: latchkey.KindPublishable, Limits: budget(apperate.MeterCore, latchkey.Month),
		Permissions: latchkey.Permissions{latchkey.Allow(latchkey.Read).On("core/*")}})
	issue("session", latchkey.Spec{Kind: latchkey.KindSession,
		Permissions: latchkey.Permissions{latchkey.Allow(latchkey.Any).On("*", "latchkey/*")},
		Validity:    latchkey.Validity{NotAfter: clock.Now().Add(time.Hour)}})
	cms, cmsHeir := role(datocms.AdminRole("cms", "main")), datocms.AdminRole("cms heir", "main")
	cmsHeir.Inherits = []string{cms}
	role(cmsHeir)
	issue("app", latchkey.Spec{Kind: latchkey.KindAPIKey, Origin: webforce.Origin, Name: "app"})
	issue("editor", datocms.TokenSpec("editor", cms, true, true, true))
	issue("spare", datocms.TokenSpec("spare", cms, true, true, true))
	_, err = acme.Rotate(t.Context(), named["spare id"], time.Hour)
	require.NoError(t, err)
	secrets, err := acme.Secrets(t.Context(), named["spare id"])
	require.NoError(t, err)
	named["old secret"] = secrets[0].ID
	parent, err := acme.Verify(t.Context(), latchkey.Presented{Secret: named["key"]})
	require.NoError(t, err)
	child, text, err := parent.Mint(t.Context(), latchkey.Narrowing{Client: latchkey.Client{ID: "c1"},
		Lifetime: time.Hour})
	require.NoError(t, err)
	named["child"], named["access"], s.admin = child.ID, text.Reveal(), named["admin"]
	var names, unnamed []string
	for _, name := range slices.Sorted(maps.Keys(named)) {
		names, unnamed = append(names, "{"+name+"}", named[name]), append(unnamed, named[name], "{"+name+"}")
	}
	s.names, s.unnamed = strings.NewReplacer(names...), strings.NewReplacer(unnamed...)
	parent.Count("api", "GET /x", 1)
	require.NoError(t, first.Close(t.Context())) // which writes it
	s.faces = s.over(manager(s.store), clock)
	return s
}

// over returns every surface of the module.
func (s *served) over(keys *latchkey.Manager, clock *latchkeytest.Clock) map[string]http.Handler {
	s.acme = keys.For("acme")
	native := httpadapter.New(keys, &httpadapter.Options{Owner: "acme"})
	asked := httpadapter.New(keys, &httpadapter.Options{Owner: "acme",
		Proxies: []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8")}})
	tables := &cloudtables.Options{}
	authorize := cloudtables.Authorize(s.acme, tables)
	read := latchkey.Permissions{latchkey.Grant(latchkey.Read).On("data/*")}
	return map[string]http.Handler{
		"require": native.Require(latchkey.Read, "data/x")(ok),
		"rows":    native.RequireRows(latchkey.Read, "data/x")(seen(ok)),
		"forward": question(forward.New(asked, []forward.Route{{Pattern: "GET /x", Action: latchkey.Read,
			Resource: "data/x", Meter: "api", Credits: latchkey.Credit}}, &forward.Options{From: forward.Envoy})),
		"api": api.Handler(native, &api.Options{Clock: clock.Now}),
		"authzen": authzen.Handler(native, &authzen.Options{URL: "https://pdp.example.com",
			Resources: map[string]authzen.ResourceType{"data": {Actions: []string{"read"}}}}),
		"apperate":    apperate.Handler(s.acme, &apperate.Options{Clock: clock.Now}, ok),
		"cloudtables": cloudtables.Handler(s.acme, tables),
		"cloudtables.Authorize": http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if _, err := authorize(r); err != nil {
				cloudtables.WriteError(w, r, err)
			}
		}),
		"datocms":          datocms.Handler(s.acme, &datocms.Options{Clock: clock.Now, AnyVersion: true}),
		"datocms.Delivery": datocms.Delivery(s.acme, &datocms.Options{Clock: clock.Now, AnyVersion: true})(ok),
		"webforce": webforce.Handler(s.acme, &webforce.Options{Commands: map[string]webforce.Command{
			"db.get": {Run: func(*http.Request, webforce.Call) (any, error) { return nil, nil }}}}),
		"oauth": oauth.Handler(keys, &oauth.Options{Issuer: "https://api.example.com",
			Scopes: map[string]latchkey.Permissions{"read": read}}),
		"console": console.Handler(func(r *http.Request) (latchkey.Account, latchkey.Access, error) {
			a, err := s.acme.Verify(r.Context(), latchkey.Presented{Secret: s.user})
			return s.acme, a, err
		}, &console.Options{Clock: clock.Now}),
	}
}

// deed is a request that is carried out.
type deed struct {
	face, method, target, body string
	token                      string // in Authorization
	as                         string // who uses the Console; "": a secret key
}

// deeds are requests that reach every operation of every surface which reads or writes the store. Names in braces stand
// for what a served has.
func deeds() (all []deed) {
	add := func(face, method, target, body, token string) {
		all = append(all, deed{face: face, method: method, target: target, body: body, token: token})
	}
	add("require", "GET", "/x", "", "{key}")
	add("require", "GET", "/x", "", "{access}")
	add("rows", "GET", "/x", "", "{key}")
	add("forward", "GET", "/x", "", "{key}")

	questions := `{"questions":[{"action":"read","resource":"data/1"}]}`
	for _, target := range []string{"/me", "/me/credits?meter=api", "/me/reach?action=read", "/tokens", "/tokens/count",
		"/tokens/{key id}", "/tokens/{spare id}/secrets", "/tokens/{key id}/credits?meter=api",
		"/tokens/{child}/lineage", "/roles", "/roles/{heir}", "/roles/{heir}/lineage",
		"/who?action=read&resource=data/1", "/clients", "/clients/c1", "/clients/c1/export", "/owner", "/usage?by=token",
		"/refusals", "/events"} {
		add("api", "GET", target, "", "{admin}")
		add("api", "HEAD", target, "", "{admin}")
	}
	for target, body := range map[string]string{"/me/explain": questions, "/tokens/{key id}/explain": questions,
		"/roles/{heir}/explain": questions,
		"/tokens":               `{"kind":"api_key","name":"new","roles":["reader"]}`,
		"/tokens/import":        `{"kind":"api_key","text":"key-3b1f6a52c0d94c2e8f7a"}`,
		"/tokens/find":          `{"secret":"{key}"}`, "/tokens/{spare id}/rotate": `{}`,
		"/tokens/{spare id}/reveal": ``, "/tokens/{spare id}/signing-secret": ``,
		"/tokens/{spare id}/revoke": `{}`, "/tokens/revoke": `{"client":"c1"}`,
		"/tokens/disable": `{"kinds":["publishable"]}`, "/roles": `{"name":"maker","inherits":["reader"]}`} {
		add("api", "POST", target, body, "{admin}")
	}
	add("api", "POST", "/me/tokens", `{"lifetime":60000000000}`, "{key}")
	add("api", "PATCH", "/tokens/{key id}", `{"name":"renamed","roles":["heir"]}`, "{admin}")
	add("api", "PATCH", "/tokens/{key id}", `{"disabled":true}`, "{admin}")
	add("api", "PATCH", "/roles/{reader}", `{"name":"renamed"}`, "{admin}")
	add("api", "PATCH", "/owner", `{"disabled":false,"extra":{"a":1}}`, "{admin}")
	add("api", "DELETE", "/tokens/{spare id}", "", "{admin}")
	add("api", "DELETE", "/tokens/{spare id}/secrets/{old secret}", "", "{admin}")
	add("api", "DELETE", "/roles/{spare role}", "", "{admin}")
	add("api", "DELETE", "/clients/c1", "", "{admin}")

	for _, subject := range []string{`{"type":"token","id":"{key id}"}`, `{"type":"client","id":"7"}`,
		`{"type":"token"}`} {
		entities := `{"subject":` + subject + `,"action":{"name":"read"},"resource":{"type":"data","id":"x"}`
		if strings.Contains(subject, `"id"`) {
			add("authzen", "POST", "/access/v1/evaluation", entities+"}", "{key}")
			add("authzen", "POST", "/access/v1/evaluations", entities+`,"evaluations":[{},{}]}`, "{key}")
			add("authzen", "POST", "/access/v1/search/action", `{"subject":`+subject+`,"resource":{"type":"data","id":"x"}}`,
				"{key}")
		} else {
			add("authzen", "POST", "/access/v1/search/subject", entities+"}", "{key}")
		}
	}

	for _, target := range []string{"/v1/account/metadata", "/v1/account/usage", "/v1/account/usage/credits"} {
		add("apperate", "GET", target+"?token={admin}", "", "")
	}
	add("apperate", "POST", "/v1/account/signed?token={admin}", `{"tokenToSign":"{page}"}`, "")
	add("apperate", "GET", "/v1/stock/aapl/quote?token={page}", "", "")
	add("apperate", "GET", "/v1/data/core/quote/aapl?token={page}", "", "")

	add("cloudtables", "POST", "/api/1/access", "key={key}", "")
	add("cloudtables", "POST", "/api/1/access", "role=reader&clientId=c2&clientName=Two&key={key}", "")
	add("cloudtables", "POST", "/api/1/access", "roles%5B%5D=reader&roles%5B%5D=heir&key={admin}", "")
	add("cloudtables.Authorize", "GET", "/api/1/dataset/1/data?token={access}", "", "")
	add("cloudtables.Authorize", "GET", "/api/1/dataset/1/data?key={key}", "", "")

	for _, target := range []string{"/access_tokens", "/access_tokens/{spare id}", "/roles", "/environments"} {
		add("datocms", "GET", target, "", "{editor}")
	}
	add("datocms", "GET", "/roles/{cms heir}", "", "{editor}")
	add("datocms", "POST", "/access_tokens", `{"data":{"type":"access_token","attributes":{"name":"new",
		"can_access_cda":true,"can_access_cda_preview":false,"can_access_cma":false},
		"relationships":{"role":{"data":{"type":"role","id":"{cms}"}}}}}`, "{editor}")
	add("datocms", "PUT", "/access_tokens/{spare id}", `{"data":{"type":"access_token","id":"{spare id}",
		"attributes":{"name":"renamed","can_access_cda":true,"can_access_cda_preview":true,"can_access_cma":true},
		"relationships":{"role":{"data":{"type":"role","id":"{cms}"}}}}}`, "{editor}")
	add("datocms", "POST", "/access_tokens/{spare id}/regenerate_token", "", "{editor}")
	add("datocms", "DELETE", "/access_tokens/{spare id}", "", "{editor}")
	add("datocms", "POST", "/roles", `{"data":{"type":"role","attributes":{"name":"New role"}}}`, "{editor}")
	for method, target := range map[string]string{"POST": "/roles/{cms heir}/duplicate", "DELETE": "/roles/{cms heir}"} {
		add("datocms", method, target, "", "{editor}")
	}
	add("datocms", "PUT", "/roles/{cms heir}", `{"data":{"type":"role","id":"{cms heir}","attributes":{"name":"Kind"}}}`,
		"{editor}")
	add("datocms.Delivery", "GET", "/", "", "{editor}")

	for token, commands := range map[string][]string{
		"{session}": {"access.get_all", "access.add&name=app", "access.get&token_id={app id}",
			"access.add&name=app&extra=%7B%22meta%22%3Atrue%7D",
			"access.update&meta=%7B%22name%22%3A%22new%22%7D&token_id={app id}", "access.remove&token_id={app id}"},
		"{key}": {"db.get&db_id=7"}} {
		for _, cmd := range commands {
			add("webforce", "POST", "/api", "auth_token="+token+"&cmd="+cmd, "")
		}
	}

	add("oauth", "POST", "/oauth/token", "grant_type=client_credentials&scope=read&client_id={key id}"+
		"&client_secret={key}", "")
	for _, what := range []string{"introspect", "revoke"} {
		add("oauth", "POST", "/oauth/"+what, "token={access}&client_id={key id}&client_secret={key}", "")
		add("oauth", "POST", "/oauth/"+what, "token={access}&client_id={admin id}&client_secret={admin}", "")
	}

	token, role := "/token/{key id}", "/role/{heir}"
	for _, target := range []string{"/", "/?q=spare", "/new", "/account", token, token + "/minted", token + "/rotate",
		token + "/disable", token + "/revoke", token + "/reveal", token + "/access", token + "/usage", token + "/history",
		token + "/leak", "/roles", "/role", role, role + "/delete", role + "/access", role + "/history", "/usage",
		"/usage.csv", "/refusals.csv", "/tokens.csv", "/audit", "/audit.csv"} {
		add("console", "GET", target, "", "")
	}
	return all
}

// send carries out a deed.
func (s *served) send(d deed) (out *httptest.ResponseRecorder) {
	d.target, d.body, d.token = s.names.Replace(d.target), s.names.Replace(d.body), s.names.Replace(d.token)
	s.user = s.admin
	if d.as != "" {
		s.user = s.names.Replace(d.as)
	}
	r := httptest.NewRequest(d.method, d.target, nil)
	if d.body != "" {
		kind := "application/json"
		switch {
		case !strings.ContainsRune("{[7", rune(d.body[0])):
			kind = "application/x-www-form-urlencoded"
		case d.face == "datocms":
			kind = "application/vnd.api+json"
		case d.method == http.MethodPatch:
			kind = "application/merge-patch+json"
		}
		setBody(r, kind, d.body)
	}
	if d.token != "" {
		bearer(r, d.token)
	}
	out = httptest.NewRecorder()
	defer func() {
		// A file that was begun breaks off: nobody takes it for a whole one.
		if e := recover(); e == http.ErrAbortHandler {
			out.Code = http.StatusServiceUnavailable
		} else if e != nil {
			panic(e)
		}
	}()
	s.faces[d.face].ServeHTTP(out, r)
	return out
}

// A store that cannot be asked is never taken for an answer. Whatever call of it fails, no surface reports success, and
// none says that the caller or what it asked for is wrong: it reports that the service is unavailable.
func TestAnOutageIsNeverAnAnswer(t *testing.T) {
	passed := map[string]string{
		`api {"disabled":true}: Role`: "a token may be switched off though nobody knows its roles",
		"apperate : Settle":           "the data is sent; what was reserved stays so until it lapses",
	}
	tried := 0
	for _, d := range deeds() {
		name := strings.TrimSpace(fmt.Sprint(d.face, " ", d.method, " ", d.target, " ", d.body))
		t.Run(name, func(t *testing.T) {
			once := func(n int) (out *httptest.ResponseRecorder, told, hit string, called int, changed bool) {
				s := newServed(t)
				s.store.Fail(func(call string) error {
					if call == "AddUsage" {
						return nil // in the background
					}
					if called++; called-1 == n {
						hit = call
						return fmt.Errorf("%w: the disk is on fire", latchkey.ErrUnavailable)
					}
					changed = changed || hit == "" && call == "Write"
					return nil
				})
				out = s.send(d)
				s.store.Fail(nil)
				return out, s.told(d, out, true), hit, called, changed
			}
			out, whole, _, all, changes := once(-1)
			require.Less(t, out.Code, 300, out.Body.String())
			require.Positive(t, all)
			require.NotContains(t, out.Body.String(), `"return_code":"FAILURE"`, "webforce says so in the body")
			for n := range all {
				out, told, hit, _, changed := once(n)
				if hit == "" {
					continue // it was not needed this time
				}
				tried++
				// Once the change is made, a reply is better than none: it may hold a secret. It shows what it shows otherwise.
				fine := out.Code < 300 && (changed && changes || passed[d.face+" "+d.body+": "+hit] != "")
				away := out.Code == http.StatusServiceUnavailable ||
					d.face == "webforce" && strings.Contains(out.Body.String(), "Temporarily unavailable")
				if fine && !away {
					assert.Equal(t, whole, told, "call %d of %d, %s, failed", n+1, all, hit)
				}
				assert.True(t, fine || away, "call %d of %d, %s, failed: %d: %s", n+1, all, hit, out.Code, out.Body)
			}
		})
	}
	t.Logf("%d calls of the store failed", tried)
	require.Greater(t, tried, 300)
}
