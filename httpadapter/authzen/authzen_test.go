package authzen

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/latchkey-go/latchkey"
	"github.com/latchkey-go/latchkey/httpadapter"
	"github.com/latchkey-go/latchkey/memstore"
)

var orders = latchkey.NewSchema(latchkey.Fields{"region": {Column: "o.region", Type: latchkey.Text},
	"amount": {Column: "o.amount", Type: latchkey.Integer}})

// shop declares what the tests of tokens ask about.
func shop(o *latchkey.Options, _ *httpadapter.Options) {
	o.Catalogue = &latchkey.Catalogue{Resources: []latchkey.ResourceType{
		{Template: "dataset/{name}", Schema: orders,
			Actions: []latchkey.Action{latchkey.Read, latchkey.Update, latchkey.Delete}},
		{Template: "page/{name}", Actions: []latchkey.Action{latchkey.Read}}}}
}

// What is answered about a token is what a Verify of it says.
func TestTokensAnswerAsTheyDo(t *testing.T) {
	f := newFixture(t, Options{}, shop)
	eu := latchkey.Where("region", latchkey.Eq, "EU")
	role, err := f.acme.CreateRole(t.Context(), latchkey.Role{Name: "eu", Permissions: latchkey.Permissions{
		allow(latchkey.Read).On("dataset/*").Where(eu), latchkey.Deny(latchkey.Any).On("dataset/secret")}})
	require.NoError(t, err)
	ids := map[string]string{}
	add := func(text string) latchkey.Access {
		access := f.access(text)
		ids[access.TokenID()] = text
		return access
	}
	_, text := f.key(allow(latchkey.Any).On("dataset/*"), allow(latchkey.Read).On("page/*"))
	add(text)
	_, text = f.issue(latchkey.Spec{Kind: latchkey.KindAPIKey, Roles: []string{role.ID}})
	parent := add(text)
	_, child, err := parent.Mint(t.Context(), latchkey.Narrowing{Lifetime: time.Hour,
		Rows: []latchkey.Condition{latchkey.Where("amount", latchkey.Lt, 10)}})
	require.NoError(t, err)
	add(child.Reveal())
	_, text = f.issue(latchkey.Spec{Kind: latchkey.KindSecret})
	add(text)
	_, text = f.key()
	add(text)
	rows := []string{"", `{}`, `{"region":"EU"}`, `{"region":"EU","amount":3}`, `{"region":"EU","amount":30}`,
		`{"region":"US","amount":3}`, `{"region":null,"amount":"3"}`, `{"region":["EU"]}`, `{"region":"EU","amount":1e1}`}
	some := 0
	for id, text := range ids {
		access := f.access(text)
		for _, on := range []string{"dataset/orders", "dataset/secret", "page/a", "other/x"} {
			for _, action := range []latchkey.Action{latchkey.Read, latchkey.Update, "approve", "*", "Not An Action"} {
				for _, row := range rows {
					typ, name, _ := strings.Cut(on, "/")
					var sent []string
					var r latchkey.Row
					if row != "" {
						sent = []string{row}
						require.NoError(t, json.Unmarshal([]byte(row), &r))
					}
					want := access.Check(action, latchkey.Resource(on)) == nil
					if !want {
						want = access.CheckRow(action, latchkey.Resource(on), orders, r) == nil
						if want {
							some++
						}
					}
					body := question("token", id, string(action), typ, name, sent...)
					require.Equal(t, []bool{want}, f.ask("evaluation", body).decisions(), body)
				}
			}
		}
	}
	require.Positive(t, some, "some answers depend on a row")
	require.Empty(t, f.errs)
}

// A caller learns nothing about a subject that it has no right to ask about, not even that there is one.
func TestWhoMayAsk(t *testing.T) {
	opts := certified()
	f := newFixture(t, opts, shop)
	tok, text := f.key(allow(latchkey.Any).On("*"))
	none := "0198f2a4-7c1e-7aaa-8bbb-0123456789ab"
	read := func(on latchkey.Pattern) latchkey.Rule { return allow(latchkey.Read).On(on) }
	exactly := func(segments ...string) latchkey.Pattern { return latchkey.Exactly(latchkey.Path(segments...)) }
	for _, c := range []struct {
		name        string
		rules       latchkey.Permissions
		token, user bool
	}{
		{"nothing", nil, false, false},
		{"all but latchkey's own", latchkey.Permissions{allow(latchkey.Any).On("*")}, false, false},
		{"tokens", latchkey.Permissions{read("latchkey/token/*")}, true, false},
		{"the token", latchkey.Permissions{read(exactly("latchkey", "token", tok.ID))}, true, false},
		{"to change tokens", latchkey.Permissions{allow(latchkey.Update).On("latchkey/token/*")}, false, false},
		{"users", latchkey.Permissions{read("latchkey/subject/user/*")}, false, true},
		{"alice", latchkey.Permissions{read(exactly("latchkey", "subject", "user", "alice"))}, false, true},
		{"bob", latchkey.Permissions{read(exactly("latchkey", "subject", "user", "bob"))}, false, false},
		{"other subjects", latchkey.Permissions{read("latchkey/subject/machine/*")}, false, false},
	} {
		_, key := f.key(c.rules...)
		ask := func(path, body string) reply { return f.send(request(path, key, body)) }
		unknown := ask("evaluation", question("token", none, "read", "dataset", "a"))
		require.Equal(t, []bool{false}, unknown.decisions())
		require.Equal(t, noSubject, unknown.reason())
		for _, x := range []struct {
			may              bool
			typ, id, on, res string
		}{{c.token, "token", tok.ID, "dataset", "a"}, {c.user, "user", "alice", "record", "record-1"}} {
			got := ask("evaluation", question(x.typ, x.id, "read", x.on, x.res))
			require.Equal(t, []bool{x.may}, got.decisions(), c.name)
			if !x.may {
				require.Equal(t, unknown.body, got.body, c.name)
			}
			found := ask("search/subject", `{"subject":{"type":"`+x.typ+`"},"action":{"name":"read"},"resource":{"type":"`+x.on+
				`","id":"`+x.res+`"}}`)
			require.Equal(t, http.StatusOK, found.status)
			require.Equal(t, x.may, slices.Contains(found.ids(), x.id), c.name)
			actions := ask("search/action", `{"subject":{"type":"`+x.typ+`","id":"`+x.id+`"},"resource":{"type":"`+x.on+
				`","id":"`+x.res+`"}}`)
			require.Equal(t, x.may, len(actions.Results) > 0, c.name)
			resources := ask("search/resource", `{"subject":{"type":"`+x.typ+`","id":"`+x.id+
				`"},"action":{"name":"read"},"resource":{"type":"record"}}`)
			require.Equal(t, x.may, len(resources.Results) > 0, c.name)
		}
	}
	// The subject's rights are no rights to ask, and the caller's none of the subject.
	own := f.send(request("evaluation", text, question("token", tok.ID, "read", "a", "b")))
	require.Equal(t, []bool{false}, own.decisions())
	idle, _ := f.key()
	callers := f.ask("evaluation", question("token", idle.ID, "read", "latchkey", "token"))
	require.Equal(t, []bool{false}, callers.decisions())
	// Other owners' tokens are nobody.
	foreign, _, err := f.keys.For("other").Issue(t.Context(), latchkey.Spec{Kind: latchkey.KindSecret})
	require.NoError(t, err)
	require.Equal(t, noSubject, f.ask("evaluation", question("token", foreign.ID, "read", "a", "b")).reason())
	anonymous := request("evaluation", "", "{}")
	anonymous.Header.Del("Authorization")
	for _, r := range []*http.Request{anonymous, request("evaluation", "ak_nonsense", "{}")} {
		require.Equal(t, http.StatusUnauthorized, f.send(r).status)
	}
}

// Pages of other sites ask nothing with a browser's cookie, and a form is no question.
func TestCookies(t *testing.T) {
	f := newFixture(t, certified(), func(_ *latchkey.Options, o *httpadapter.Options) {
		o.Carriers = httpadapter.Carriers{Cookie: "key"}
	})
	send := func(site, media string) *httptest.ResponseRecorder {
		r := request("evaluation", "", question("user", "alice", "read", "record", "record-1"))
		r.Header.Del("Authorization")
		r.AddCookie(&http.Cookie{Name: "key", Value: f.pep})
		r.Header.Set("Sec-Fetch-Site", site)
		r.Header.Set("Content-Type", media)
		w := httptest.NewRecorder()
		f.h.ServeHTTP(w, r)
		return w
	}
	require.Equal(t, http.StatusOK, send("same-origin", "application/json").Code)
	for _, site := range []string{"cross-site", "same-site"} {
		for _, media := range []string{"application/json", "text/plain"} {
			w := send(site, media)
			require.Equal(t, http.StatusForbidden, w.Code)
			require.NotContains(t, w.Body.String(), "decision")
		}
	}
	require.Equal(t, http.StatusBadRequest, send("same-origin", "text/plain").Code)
}

// Many callers ask at once.
func TestManyAskAtOnce(t *testing.T) {
	f := newFixture(t, certified(), shop)
	tok, _ := f.key(allow(latchkey.Read).On("dataset/*").Where(latchkey.Where("region", latchkey.Eq, "EU")))
	bodies := map[string]string{question("token", tok.ID, "read", "dataset", "a", `{"region":"EU"}`): "true",
		question("token", tok.ID, "read", "dataset", "a", `{"region":"US"}`): "false",
		question("user", "alice", "write", "record", "record-1"):             "true",
		question("user", "bob", "write", "record", "record-1"):               "false"}
	var all sync.WaitGroup
	for range 8 {
		for body, want := range bodies {
			all.Go(func() {
				for range 5 {
					w := httptest.NewRecorder()
					f.h.ServeHTTP(w, request("evaluation", f.pep, body))
					assert.Contains(t, w.Body.String(), `"decision":`+want)
				}
			})
		}
	}
	all.Wait()
}

// What has ended may do nothing, and is no longer found.
func TestTokensThatEnded(t *testing.T) {
	f := newFixture(t, Options{}, shop)
	tok, text := f.key(allow(latchkey.Read).On("dataset/*"))
	child, _, err := f.access(text).Mint(t.Context(), latchkey.Narrowing{Lifetime: time.Hour})
	require.NoError(t, err)
	who := func() []string {
		return f.ask("search/subject", `{"subject":{"type":"token"},"action":{"name":"read"},"resource":{"type":"dataset",
			"id":"a"}}`).ids()
	}
	require.Equal(t, []string{tok.ID, child.ID}, who())
	require.Equal(t, []bool{true}, f.ask("evaluation", question("token", child.ID, "read", "dataset", "a")).decisions())
	require.NoError(t, f.acme.Revoke(t.Context(), tok.ID, ""))
	got := f.ask("evaluation", question("token", tok.ID, "read", "dataset", "a"))
	require.Equal(t, []bool{false}, got.decisions())
	require.Equal(t, "the token would be refused: token revoked", got.reason())
	require.Equal(t, []bool{false}, f.ask("evaluation", question("token", child.ID, "read", "dataset", "a")).decisions())
	require.Empty(t, who())
}

// A token that is found may do what was asked to this very row, whether or not the caller may read its rules.
func TestTokensThatAreFoundMayDoIt(t *testing.T) {
	f := newFixture(t, Options{}, shop)
	in := func(region string) latchkey.Permissions {
		return latchkey.Permissions{allow(latchkey.Read).On("dataset/*").Where(latchkey.Where("region", latchkey.Eq, region))}
	}
	role, err := f.acme.CreateRole(t.Context(), latchkey.Role{Name: "us", Permissions: in("US")})
	require.NoError(t, err)
	eu, _ := f.key(in("EU")...)
	us, _ := f.issue(latchkey.Spec{Kind: latchkey.KindAPIKey, Roles: []string{role.ID}})
	every, _ := f.key(allow(latchkey.Read).On("dataset/*"))
	f.key(allow(latchkey.Update).On("dataset/*"))
	_, desk := f.key(allow(latchkey.Read).On("latchkey/token/*"))
	for _, key := range []string{f.pep, desk} {
		for properties, want := range map[string][]string{`{"region":"EU"}`: {eu.ID, every.ID},
			`{"region":"US"}`: {us.ID, every.ID}, `{}`: {every.ID}} {
			got := f.send(request("search/subject", key, `{"subject":{"type":"token"},"action":{"name":"read"},
				"resource":{"type":"dataset","id":"a","properties":`+properties+`}}`))
			require.Equal(t, want, got.ids(), properties)
		}
	}
}

// damagedStore lists one token as damaged.
type damagedStore struct {
	latchkey.Store
	id string
}

func (s *damagedStore) Tokens(ctx context.Context, owner string, q latchkey.TokenQuery) ([]latchkey.Token, error) {
	list, err := s.Store.Tokens(ctx, owner, q)
	for i := range list {
		list[i].Damaged = list[i].ID == s.id
	}
	return list, err
}

func (s *damagedStore) Load(ctx context.Context, owner, id string) (latchkey.Found, error) {
	if id == s.id {
		return latchkey.Found{}, &latchkey.DamagedError{Kind: latchkey.ChangedToken, Owner: owner, ID: id}
	}
	return s.Store.Load(ctx, owner, id)
}

// Of a damaged token it is not known what it may do: it is not found, and a question about it has no answer.
func TestDamagedTokens(t *testing.T) {
	store := &damagedStore{Store: memstore.New(nil)}
	keys := latchkey.New(store, nil)
	f := &fixture{t: t, keys: keys, acme: keys.For("acme"), h: Handler(httpadapter.New(keys, nil), &Options{URL: pdp})}
	_, f.pep = f.key(allow(latchkey.Read).On("latchkey/*"))
	bad, _ := f.key(allow(latchkey.Read).On("*"))
	good, _ := f.key(allow(latchkey.Read).On("*"))
	store.id = bad.ID
	require.Equal(t, []string{good.ID}, f.ask("search/subject",
		`{"subject":{"type":"token"},"action":{"name":"read"},"resource":{"type":"a","id":"b"}}`).ids())
	got := f.ask("evaluation", question("token", bad.ID, "read", "a", "b"))
	require.Equal(t, http.StatusServiceUnavailable, got.status)
	require.NotContains(t, got.body, bad.ID)
}

// A sandbox answers for test tokens, and no other surface does.
func TestSandbox(t *testing.T) {
	for _, sandbox := range []bool{false, true} {
		f := newFixture(t, Options{}, shop, func(_ *latchkey.Options, o *httpadapter.Options) { o.Test = sandbox })
		_, key := f.issue(latchkey.Spec{Kind: latchkey.KindSecret, Test: sandbox})
		for _, test := range []bool{false, true} {
			tok, _ := f.issue(latchkey.Spec{Kind: latchkey.KindSecret, Test: test})
			got := f.send(request("evaluation", key, question("token", tok.ID, "read", "a", "b")))
			require.Equal(t, []bool{test == sandbox}, got.decisions())
			found := f.send(request("search/subject", key,
				`{"subject":{"type":"token"},"action":{"name":"read"},"resource":{"type":"a","id":"b"}}`))
			require.Equal(t, test == sandbox, slices.Contains(found.ids(), tok.ID))
		}
	}
}

// A client is what the caller's key could mint for it: never more than such a token could do.
func TestClients(t *testing.T) {
	f := newFixture(t, Options{Resources: map[string]ResourceType{"dataset": {Schema: orders}}})
	rules := []latchkey.Rule{allow(latchkey.Read).On("user/{*client}"),
		allow(latchkey.Read).On("dataset/*").Where(latchkey.Where("region", latchkey.Eq, latchkey.ClientID))}
	_, key := f.key(rules...)
	_, minted, err := f.access(key).Mint(t.Context(), latchkey.Narrowing{Lifetime: time.Hour,
		Client: latchkey.Client{ID: "42"}})
	require.NoError(t, err)
	ask := func(key, id, typ, res string, row ...string) reply {
		return f.send(request("evaluation", key, question("client", id, "read", typ, res, row...)))
	}
	require.Equal(t, []bool{true}, ask(key, "42", "user", "42").decisions())
	require.Equal(t, []bool{false}, ask(key, "43", "user", "42").decisions())
	require.Equal(t, []bool{true}, ask(key, "EU", "dataset", "a", `{"region":"EU"}`).decisions())
	require.Equal(t, []bool{false}, ask(key, "EU", "dataset", "a", `{"region":"US"}`).decisions())
	require.Equal(t, []bool{true}, ask(minted.Reveal(), "42", "user", "42").decisions())
	other := ask(minted.Reveal(), "43", "user", "43")
	require.Equal(t, []bool{false}, other.decisions())
	require.Equal(t, noClient, other.reason())
	require.NoError(t, f.acme.Configure(t.Context(), func(o *latchkey.Owner) error {
		o.Policy.ClientRight = true
		return nil
	}))
	require.Equal(t, noClient, ask(key, "42", "user", "42").reason())
	require.Empty(t, f.send(request("search/subject", key,
		`{"subject":{"type":"client"},"action":{"name":"read"},"resource":{"type":"user","id":"42"}}`)).Results)
}

func TestReasons(t *testing.T) {
	f := newFixture(t, Options{}, shop)
	role, err := f.acme.CreateRole(t.Context(), latchkey.Role{Name: "eu", Permissions: latchkey.Permissions{
		allow(latchkey.Read).On("dataset/*").Where(latchkey.Where("region", latchkey.Eq, "EU"))}})
	require.NoError(t, err)
	tok, _ := f.issue(latchkey.Spec{Kind: latchkey.KindAPIKey, Roles: []string{role.ID}, Permissions: latchkey.Permissions{
		latchkey.Deny(latchkey.Delete).On("dataset/a")}})
	_, desk := f.key(allow(latchkey.Read).On("latchkey/token/*"))
	ask := func(key, action string, row ...string) reply {
		return f.send(request("evaluation", key, question("token", tok.ID, action, "dataset", "a", row...)))
	}
	const some = "token allows some rows only, and this is "
	require.Equal(t, some+"one of them", ask(f.pep, "read", `{"region":"EU"}`).reason())
	require.Equal(t, some+"none of them", ask(f.pep, "read").reason())
	require.Equal(t, `token: rule 1: deny delete on dataset/a`, ask(f.pep, "delete").reason())
	for _, action := range []string{"read", "delete"} {
		got := ask(desk, action, `{"region":"EU"}`)
		require.Equal(t, []bool{action == "read"}, got.decisions())
		require.Equal(t, notShown, got.reason(), "it may not read the role")
	}
	silent := httptest.NewRecorder()
	Handler(httpadapter.New(f.keys, nil), &Options{URL: pdp, NoReasons: true}).ServeHTTP(silent,
		request("evaluation", f.pep, question("token", tok.ID, "delete", "dataset", "a")))
	require.Equal(t, "{\"decision\":false}\n", silent.Body.String())
}

// A rule on rows allows nothing where rows are not known.
func TestRowsThatAreNotKnown(t *testing.T) {
	f := newFixture(t, certified())
	tok, _ := f.key(allow(latchkey.Read).On("*").Where(latchkey.Where("status", latchkey.Eq, "active")))
	ask := func(typ, id, row string) reply {
		return f.ask("evaluation", question("token", tok.ID, "read", typ, id, row))
	}
	require.Equal(t, []bool{true}, ask("record", "record-1", `{}`).decisions(), "the host knows the row")
	require.Equal(t, []bool{false}, ask("record", "record-1", `{"status":"archived"}`).decisions())
	got := ask("record", "record-9", `{"status":"active"}`)
	require.Equal(t, []bool{false}, got.decisions())
	require.Equal(t, noRow, got.reason())
	got = ask("page", "1", `{"status":"active"}`)
	require.Equal(t, []bool{false}, got.decisions())
	require.Equal(t, noSchema, got.reason())
	// A rule that does not fit the schema is the host's mistake, and allows nothing.
	bad, _ := f.key(allow(latchkey.Read).On("record/*").Where(latchkey.Where("colour", latchkey.Eq, "red")))
	wrong := f.ask("evaluation", question("token", bad.ID, "read", "record", "record-1"))
	require.Equal(t, http.StatusInternalServerError, wrong.status)
	require.NotContains(t, wrong.body, "colour")
}

// Resource search gives the host a predicate, and shows nothing that an evaluation would deny.
func TestResourceSearch(t *testing.T) {
	var asked []string
	var list []FoundResource
	ask := func(_ context.Context, account latchkey.Account, q ResourceQuery) ([]FoundResource, error) {
		where, args := q.Rows.SQL(latchkey.SQLite, 1)
		asked = append(asked, fmt.Sprint(where, args))
		require.Equal(t, "acme", account.Owner())
		out := []FoundResource{}
		for _, r := range list {
			if r.ID > q.Page.After && len(out) < q.Page.Size() { // it forgets the predicate
				out = append(out, r)
			}
		}
		return out, nil
	}
	f := newFixture(t, Options{Resources: map[string]ResourceType{
		"order":   {On: "dataset/orders", Schema: orders, Search: ask},
		"dataset": {Search: ask},
		"note":    {On: "shop/{id}/note", Schema: orders, Search: ask},
		"plain":   {On: "plain/{id}", Search: ask},
	}}, shop)
	eu := latchkey.Where("region", latchkey.Eq, "EU")
	small := latchkey.Where("amount", latchkey.Lt, 10)
	list = []FoundResource{{"a", latchkey.Row{"region": "EU", "amount": 3}},
		{"b", latchkey.Row{"region": "US", "amount": 3}}, {"c", latchkey.Row{"region": "EU", "amount": 30}}, {"d", nil}}
	search := func(key, id, typ, action string) []string {
		t.Helper()
		asked = nil
		got := f.send(request("search/resource", key, `{"subject":{"type":"token","id":"`+id+`"},"action":{"name":"`+action+
			`"},"resource":{"type":"`+typ+`","id":"b"}}`))
		require.Equal(t, http.StatusOK, got.status, got.body)
		return got.ids()
	}
	role, err := f.acme.CreateRole(t.Context(), latchkey.Role{Name: "r", Permissions: latchkey.Permissions{
		allow(latchkey.Read).On("dataset/*").Where(eu)}})
	require.NoError(t, err)
	tok, _ := f.issue(latchkey.Spec{Kind: latchkey.KindAPIKey, Roles: []string{role.ID}, Permissions: latchkey.Permissions{
		latchkey.Grant(latchkey.Update).On("dataset/*").Where(small), latchkey.Deny(latchkey.Any).On("dataset/a"),
		latchkey.Grant(latchkey.Delete).On("dataset/*")}})
	_, desk := f.key(allow(latchkey.Read).On("latchkey/token/*"))

	require.Equal(t, []string{"a", "c"}, search(f.pep, tok.ID, "order", "read"))
	require.Len(t, asked, 1)
	require.Contains(t, asked[0], "o.region")
	require.Equal(t, []string{"a", "c"}, search(desk, tok.ID, "order", "read"), "it may not read the role")
	require.NotContains(t, asked[0], "o.region", "so the host learns no rule for it")
	require.Equal(t, []string{"c"}, search(f.pep, tok.ID, "dataset", "read"), "a is denied")
	require.Contains(t, asked[0], "o.region")
	require.Equal(t, []string{"b"}, search(f.pep, tok.ID, "dataset", "update"))
	require.Equal(t, []string{"a", "b", "c", "d"}, search(f.pep, tok.ID, "order", "delete"))
	require.Equal(t, []string{"a", "b", "c", "d"}, search(f.pep, tok.ID, "dataset", "delete"))
	for _, none := range []string{"approve", "*", "Not An Action", "reveal"} {
		require.Empty(t, search(f.pep, tok.ID, "order", none))
		require.Empty(t, asked, "nothing is allowed, so nothing is asked")
		require.Empty(t, search(f.pep, tok.ID, "dataset", none))
		require.Empty(t, asked)
	}
	require.Empty(t, search(f.pep, tok.ID, "page", "read"), "no function")

	shops, _, err := f.acme.Issue(t.Context(), latchkey.Spec{Kind: latchkey.KindAPIKey, Origin: "test",
		Permissions: latchkey.Permissions{allow(latchkey.Read).On("shop/{*}/note").Where(eu),
			allow(latchkey.Read).On("shop/a/lamp").Where(latchkey.Where("colour", latchkey.Eq, "red"))}})
	require.NoError(t, err)
	require.Equal(t, []string{"a", "c"}, search(f.pep, shops.ID, "note", "read"))
	require.NotContains(t, asked[0], "o.region", "what lies beside has other fields: each is decided about")
	plain, _, err := f.acme.Issue(t.Context(), latchkey.Spec{Kind: latchkey.KindAPIKey, Origin: "test",
		Permissions: latchkey.Permissions{allow(latchkey.Read).On("plain/*").Where(eu),
			latchkey.Grant(latchkey.Read).On("plain/c")}})
	require.NoError(t, err)
	require.Equal(t, []string{"c"}, search(f.pep, plain.ID, "plain", "read"), "without a schema no condition holds")

	// A host that lists out of order would be asked for ever.
	list = []FoundResource{{"b", nil}, {"a", nil}}
	got := f.ask("search/resource", `{"subject":{"type":"token","id":"`+tok.ID+`"},"action":{"name":"delete"},
		"resource":{"type":"order"}}`)
	require.Equal(t, http.StatusInternalServerError, got.status)
}

func TestDiscovery(t *testing.T) {
	resources := func(t ResourceType) Options { return Options{Resources: map[string]ResourceType{"a": t}} }
	actions := resources(ResourceType{Actions: []string{"read"}})
	search := resources(ResourceType{Search: func(context.Context, latchkey.Account, ResourceQuery) ([]FoundResource,
		error) {
		return nil, nil
	}})
	for _, c := range []struct {
		name, url, at    string
		opts             Options
		catalogue        bool
		resource, action bool
	}{
		{"least", pdp, "", Options{}, false, false, false},
		{"a catalogue", pdp, "", Options{}, true, false, true},
		{"actions", pdp, "", actions, false, false, true},
		{"a search", pdp + "/tenant1", "/tenant1", search, false, true, false},
	} {
		c.opts.URL = c.url
		var change []func(*latchkey.Options, *httpadapter.Options)
		if c.catalogue {
			change = append(change, shop)
		}
		f := newFixture(t, c.opts, change...)
		w := httptest.NewRecorder()
		f.h.ServeHTTP(w, httptest.NewRequest("GET", pdp+"/.well-known/authzen-configuration"+c.at, nil))
		require.Equal(t, http.StatusOK, w.Code, c.name)
		require.Equal(t, "application/json", w.Header().Get("Content-Type"))
		var got map[string]string
		require.NoError(t, json.Unmarshal(w.Body.Bytes(), &got))
		want := map[string]string{"policy_decision_point": c.url,
			"access_evaluation_endpoint":  c.url + "/access/v1/evaluation",
			"access_evaluations_endpoint": c.url + "/access/v1/evaluations",
			"search_subject_endpoint":     c.url + "/access/v1/search/subject"}
		if c.resource {
			want["search_resource_endpoint"] = c.url + "/access/v1/search/resource"
		}
		if c.action {
			want["search_action_endpoint"] = c.url + "/access/v1/search/action"
		}
		require.Equal(t, want, got, c.name)
		for _, name := range []string{"evaluation", "evaluations", "search/subject", "search/resource", "search/action"} {
			there := slices.Contains(slices.Collect(func(yield func(string) bool) {
				for _, v := range want {
					if !yield(v) {
						return
					}
				}
			}), c.url+"/access/v1/"+name)
			for _, h := range []http.Handler{f.h, Handler(httpadapter.New(f.keys, nil), &c.opts)} {
				r := request(name, f.pep, "{}")
				r.URL.Path = c.at + r.URL.Path
				w := httptest.NewRecorder()
				h.ServeHTTP(w, r)
				if c.catalogue && h != f.h {
					continue
				}
				require.Equal(t, map[bool]int{true: 400, false: 404}[there], w.Code, "%s: %s", c.name, name)
			}
		}
	}
	f := newFixture(t, Options{})
	r := request("evaluation", f.pep, "")
	r.Method = http.MethodGet
	got := f.send(r)
	require.Equal(t, http.StatusMethodNotAllowed, got.status)
	require.Equal(t, "POST", got.header.Get("Allow"))
}

func TestMalformedRequests(t *testing.T) {
	f := newFixture(t, certified(), shop)
	good := question("user", "alice", "read", "record", "record-1")
	in := func(old, new string) string {
		require.Contains(t, good, old)
		return strings.Replace(good, old, new, 1)
	}
	deep := strings.Repeat("[", 40) + strings.Repeat("]", 40)
	for body, why := range map[string]string{
		`[]`: "a JSON object", `null`: "a JSON object", `"x"`: "a JSON object", ` `: "a JSON object",
		good + good: "trailing data", good[:len(good)-1]: "unexpected end",
		in(`"subject"`, `"subject":{"type":"user","id":"bob"},"subject"`): "a name that the object has already",
		in(`"id":"alice"`, `"id":"alice","id":"bob"`):                     "a name that the object has already",
		in(`"id":"alice"`, `"id":"alice","ID":"bob"`):                     "a name that the object has already",
		in(`"id":"alice"`, `"id":"alice","\u0069d":"bob"`):                "a name that the object has already",
		in(`"subject"`, `"Subject"`):                                      "by its case alone",
		in(`"id":"alice"`, `"new":{"a":1,"a":2},"id":"alice"`):            "a name that the object has already",
		in(`"id":"alice"`, `"id":"alice","properties":{"a":1,"A":2}`):     "a name that the object has already",
		in(`"id":"alice"`, `"id":"alice","properties":[]`):                "wrong type",
		in(`"id":"record-1"`, `"id":"record-1","properties":7`):           "wrong type",
		in(`"id":"alice"`, `"id":["alice"]`):                              `"subject.id"`,
		in(`"id":"alice"`, `"id":null`):                                   "missing: subject.id",
		in(`"id":"alice"`, `"id":""`):                                     "missing: subject.id",
		in(`{"type":"user","id":"alice"}`, `null`):                        "missing: subject.",
		in(`"id":"alice"`, `"id":"al`+"\xff"+`ice"`):                      "invalid UTF-8",
		in(`"id":"alice"`, `"id":"\ud800"`):                               "a lone surrogate",
		in(`"id":"alice"`, `"id":"alice","more":`+deep):                   "nested too deeply",
		in(`"subject"`, `"context":"noon","subject"`):                     `"context"`,
	} {
		for _, path := range []string{"evaluation", "evaluations"} {
			got := f.ask(path, body)
			require.Equal(t, http.StatusBadRequest, got.status, body)
			require.Contains(t, got.Detail, why, body)
		}
	}
	// Unknown members are ignored, whatever they hold.
	for _, fine := range []string{good, in(`"id":"alice"`, `"id":"alice","name":7`), in(`"subject"`, `"page":7,"subject"`),
		in(`"id":"alice"`, `"id":"alice","properties":null`), in(`"subject"`, `"context":null,"subject"`)} {
		require.Equal(t, []bool{true}, f.ask("evaluation", fine).decisions(), fine)
	}
	ofOthers := f.ask("evaluation", in(`"subject"`, `"evaluations":7,"options":[],"subject"`))
	require.Equal(t, []bool{true}, ofOthers.decisions())
	for body, why := range map[string]string{
		`{"evaluations":7}`:                 `"evaluations"`,
		`{"evaluations":[7]}`:               `"evaluations"`,
		`{"evaluations":[null]}`:            "null",
		`{"evaluations":[{}],"options":7}`:  `"options"`,
		`{"evaluations":[{"subject":"x"}]}`: `"evaluations.subject"`,
		`{"evaluations":[{}],"options":{"evaluations_semantic":"Execute_All"}}`: "semantic of evaluations must be",
		`{"evaluations":[{}],"options":{"evaluations_semantic":7}}`:             "evaluations_semantic",
	} {
		got := f.ask("evaluations", body)
		require.Equal(t, http.StatusBadRequest, got.status, body)
		require.Contains(t, got.Detail, why, body)
	}
	for page, why := range map[string]string{`7`: `"page"`, `{"limit":-1}`: "negative", `{"limit":1.5}`: `"page.limit"`,
		`{"limit":"1"}`: `"page.limit"`, `{"limit":99999999999999999999}`: `"page.limit"`, `{"token":7}`: `"page.token"`,
		`{"token":"x"}`: "is not one of this search", `{"token":"bnVsbA"}`: "is not one of this search"} {
		got := f.ask("search/subject", `{"subject":{"type":"user"},"action":{"name":"read"},"resource":{"type":"record",
			"id":"record-1"},"page":`+page+`}`)
		require.Equal(t, http.StatusBadRequest, got.status, page)
		require.Contains(t, got.Detail, why, page)
	}
	// What is searched for may have any id and properties, and an action search any action.
	for path, body := range map[string]string{
		"search/subject": `{"subject":{"type":"user","id":7,"properties":7},"action":{"name":"read"},
			"resource":{"type":"record","id":"record-1"}}`,
		"search/resource": `{"subject":{"type":"user","id":"alice"},"action":{"name":"read"},
			"resource":{"type":"record","id":[]}}`,
		"search/action": `{"subject":{"type":"user","id":"alice"},"action":7,"resource":{"type":"record","id":"record-1"}}`,
	} {
		require.NotEmpty(t, f.ask(path, body).Results, path)
	}
	everybody := f.ask("search/subject", `{"subject":{"type":"user","properties":{"role":"admin"}},
		"action":{"name":"write"},"resource":{"type":"record","id":"record-2"}}`)
	require.Equal(t, []string{"bob"}, everybody.ids(), "alice is no admin")
	for media, fine := range map[string]bool{"application/json": true, "application/json; charset=utf-8": true,
		"Application/JSON": true, "": false, "application/x-www-form-urlencoded": false,
		"application/json; charset=utf-16": false, "application/authzen+json": false} {
		r := request("evaluation", f.pep, good)
		r.Header.Set("Content-Type", media)
		require.Equal(t, map[bool]int{true: 200, false: 400}[fine], f.send(r).status, media)
	}
	r := request("evaluation", f.pep, good)
	r.Header.Set("Content-Encoding", "gzip")
	require.Equal(t, http.StatusBadRequest, f.send(r).status)
}

func TestBounds(t *testing.T) {
	f := newFixture(t, certified())
	many := func(n int) string {
		return `{"subject":{"type":"user","id":"alice"},"action":{"name":"read"},
			"resource":{"type":"record","id":"record-1"},"evaluations":[` + strings.TrimSuffix(
			strings.Repeat("{},", n), ",") + `]}`
	}
	require.Len(t, f.ask("evaluations", many(maxEvaluations)).Evaluations, maxEvaluations)
	require.Equal(t, http.StatusBadRequest, f.ask("evaluations", many(maxEvaluations+1)).status)
	good := question("user", "alice", "read", "record", "record-1")
	pad := func(n int) string { return strings.Repeat(" ", n-len(good)) + good }
	require.Equal(t, http.StatusOK, f.ask("evaluation", pad(maxBody)).status)
	require.Equal(t, http.StatusRequestEntityTooLarge, f.ask("evaluation", pad(maxBody+1)).status)
	long := strings.Repeat("x", 100_000)
	require.Equal(t, []bool{false}, f.ask("evaluation", question("user", long, "read", "record", "record-1")).decisions())
	require.Equal(t, []bool{false}, f.ask("evaluation", question("user", "alice", long, "record", long)).decisions())

	// A search looks at so many candidates and no more, and goes on from there.
	var looked int
	ids := make([]string, 2*maxLooked+10)
	for i := range ids {
		ids[i] = fmt.Sprintf("u%06d", i)
	}
	f = newFixture(t, Options{Subjects: map[string]SubjectType{"user": {
		Rights: func(_ context.Context, a latchkey.Account, q Question) (latchkey.Rights, error) {
			looked++
			rules := latchkey.Permissions{}
			if q.Subject.ID == ids[len(ids)-1] {
				rules = latchkey.Permissions{allow(latchkey.Read).On("a/b")}
			}
			access, err := a.Assume(latchkey.Client{ID: q.Subject.ID}, rules)
			return access.Rights(), err
		},
		List: func(_ context.Context, _ latchkey.Account, p latchkey.Page) ([]string, error) {
			return listing(ids, p), nil
		},
	}}})
	page, pages := "", 0
	for {
		looked = 0
		got := f.ask("search/subject", `{"subject":{"type":"user"},"action":{"name":"read"},"resource":{"type":"a","id":"b"},
			"page":{`+page+`}}`)
		require.Equal(t, http.StatusOK, got.status, got.body)
		require.LessOrEqual(t, looked, maxLooked)
		if pages++; *got.Page.Next == "" {
			require.Equal(t, ids[len(ids)-1:], got.ids())
			break
		}
		require.Empty(t, got.Results)
		page = `"token":"` + *got.Page.Next + `"`
	}
	require.Equal(t, 3, pages)
}

// A page token is of one search of one caller.
func TestPageTokens(t *testing.T) {
	f := newFixture(t, certified())
	const search = `{"subject":{"type":"user"},"action":{"name":"read"},"resource":{"type":"record","id":"record-1"}`
	first := f.ask("search/subject", search+`,"page":{"limit":1}}`)
	require.Equal(t, []string{"alice"}, first.ids())
	token := `"token":"` + *first.Page.Next + `"`
	for _, fine := range []string{``, `,"limit":1`, `,"limit":null,"more":1`} {
		got := f.ask("search/subject", search+`,"page":{`+token+fine+`}}`)
		require.Equal(t, []string{"bob"}, got.ids(), fine)
		require.Empty(t, *got.Page.Next)
	}
	_, other := f.key(allow(latchkey.Read).On("latchkey/*"))
	var at position
	data, err := base64.RawURLEncoding.DecodeString(*first.Page.Next)
	require.NoError(t, err)
	require.NoError(t, json.Unmarshal(data, &at))
	nul := at
	nul.After = "a\x00"
	for name, r := range map[string]*http.Request{
		"NUL":           request("search/subject", f.pep, search+`,"page":{"token":"`+nul.text()+`"}}`),
		"another limit": request("search/subject", f.pep, search+`,"page":{`+token+`,"limit":2}}`),
		"a context":     request("search/subject", f.pep, search+`,"context":{"a":1},"page":{`+token+`}}`),
		"another action": request("search/subject", f.pep, strings.Replace(search, "read", "write", 1)+`,"page":{`+
			token+`}}`),
		"another caller": request("search/subject", other, search+`,"page":{`+token+`}}`),
		"another endpoint": request("search/resource", f.pep, `{"subject":{"type":"user","id":"alice"},
			"action":{"name":"read"},"resource":{"type":"record"},"page":{`+token+`}}`),
		"cut off": request("search/subject", f.pep, search+`,"page":{`+token[:len(token)-3]+`"}}`),
	} {
		require.Equal(t, http.StatusBadRequest, f.send(r).status, name)
	}
	unlimited := f.ask("search/subject", search+`,"page":{}}`)
	require.Equal(t, []string{"alice", "bob"}, unlimited.ids())
	// One that somebody made up leads to nothing that the caller may not see.
	negative := int64(-5)
	at.Limit = &negative
	require.Equal(t, http.StatusBadRequest, f.ask("search/subject", search+`,"page":{"token":"`+at.text()+`"}}`).status)
	// Nothing is asked for, and nothing is lost.
	none := f.ask("search/subject", search+`,"page":{"limit":0}}`)
	require.Empty(t, none.Results)
	require.NotEmpty(t, *none.Page.Next)
}

func TestRequestID(t *testing.T) {
	f := newFixture(t, certified())
	body := question("user", "alice", "read", "record", "record-1")
	_, secret := f.key()
	for _, c := range []struct {
		values []string
		status int
	}{
		{nil, 200}, {[]string{"a b\u00e9"}, 200}, {[]string{""}, 200}, {[]string{strings.Repeat("x", maxRequestID)}, 200},
		{[]string{strings.Repeat("x", maxRequestID+1)}, 400}, {[]string{"a", "a"}, 400},
		{[]string{"a\r\nSet-Cookie: b=c"}, 400}, {[]string{"a\x7f"}, 400}, {[]string{secret}, 400},
	} {
		r := request("evaluation", f.pep, body)
		r.Header["X-Request-Id"] = c.values
		w := httptest.NewRecorder()
		f.h.ServeHTTP(w, r)
		require.Equal(t, c.status, w.Code, c.values)
		if c.status == 200 {
			require.Equal(t, c.values, w.Header()["X-Request-Id"])
		} else {
			require.Empty(t, w.Header()["X-Request-Id"])
			require.NotContains(t, w.Body.String(), secret)
		}
	}
}

// A secret has no place in a body, and is not repeated.
func TestSecretsAreRefused(t *testing.T) {
	f := newFixture(t, certified())
	_, secret := f.key()
	_, public := f.issue(latchkey.Spec{Kind: latchkey.KindPublishable})
	good := question("user", "alice", "read", "record", "record-1")
	hidden := `\u00` + fmt.Sprintf("%x", secret[0]) + secret[1:]
	wrong := secret[:len(secret)-1] + map[bool]string{true: "b", false: "a"}[secret[len(secret)-1] == 'a']
	put := func(text string) []string {
		return []string{
			strings.Replace(good, `"alice"`, `"`+text+`"`, 1),
			strings.Replace(good, `"read"`, `"`+text+`"`, 1),
			strings.Replace(good, `"id":"alice"`, `"id":"alice","properties":{"k":["Bearer `+text+`"]}`, 1),
			strings.Replace(good, `"subject"`, `"context":{"`+text+`":1},"subject"`, 1),
			strings.Replace(good, `"subject"`, `"unknown":{"a":"`+text+`"},"subject"`, 1),
		}
	}
	for _, body := range slices.Concat(put(secret), put(hidden)) {
		f.errs = nil
		for _, path := range []string{"evaluation", "evaluations", "search/subject", "search/action", "search/resource"} {
			got := f.ask(path, body)
			require.Equal(t, http.StatusBadRequest, got.status, path)
			require.NotContains(t, got.body+fmt.Sprint(f.errs), secret)
		}
		require.Contains(t, f.ask("evaluation", body).Detail, "Name a token by its id")
	}
	for _, body := range slices.Concat(put(public), put(wrong)) {
		require.Equal(t, http.StatusOK, f.ask("evaluation", body).status)
	}
}

// What a host's function says is not passed on, and never reads as a permission.
func TestHostFunctionsThatFail(t *testing.T) {
	var fail error
	var rights latchkey.Rights
	opts := certified()
	opts.Subjects = map[string]SubjectType{"user": {
		Rights: func(context.Context, latchkey.Account, Question) (latchkey.Rights, error) { return rights, fail },
		List: func(context.Context, latchkey.Account, latchkey.Page) ([]string, error) {
			return []string{"b", "a"}, nil
		}}}
	var row error
	record := opts.Resources["record"]
	record.Row = func(context.Context, latchkey.Account, Question) (latchkey.Row, error) { return nil, row }
	opts.Resources = map[string]ResourceType{"record": record}
	f := newFixture(t, opts)
	everything, err := f.acme.Assume(latchkey.Client{ID: "x"}, latchkey.Permissions{allow(latchkey.Any).On("*")})
	require.NoError(t, err)
	rights = everything.Rights()
	body := question("user", "alice", "read", "record", "record-1")
	require.Equal(t, []bool{true}, f.ask("evaluation", body).decisions())
	for _, c := range []struct {
		err    error
		status int
	}{
		{fmt.Errorf("psst: %w", latchkey.ErrNotFound), 200}, {latchkey.ErrRevoked, 200},
		{fmt.Errorf("psst: %w", latchkey.ErrUnavailable), 503},
		{fmt.Errorf("%w: %w", latchkey.ErrUnavailable, latchkey.ErrNotFound), 503},
		{errors.New("psst"), 500}, {context.Canceled, 500},
	} {
		fail = c.err
		for path, body := range map[string]string{"evaluation": body, "evaluations": `{"evaluations":[` + body + `]}`} {
			got := f.ask(path, body)
			require.Equal(t, c.status, got.status, c.err)
			require.NotContains(t, got.body, "psst")
			if c.status == 200 {
				require.Equal(t, []bool{false}, got.decisions())
			}
		}
		row, fail = c.err, nil
		some, err := f.acme.Assume(latchkey.Client{ID: "x"}, latchkey.Permissions{
			allow(latchkey.Any).On("*").Where(latchkey.Where("status", latchkey.Eq, "active"))})
		require.NoError(t, err)
		rights = some.Rights()
		got := f.ask("evaluation", body)
		if errors.Is(c.err, latchkey.ErrRevoked) {
			require.Equal(t, 401, got.status) // the host said so itself
		} else {
			require.Equal(t, c.status, got.status, c.err)
		}
		require.NotContains(t, got.body, "psst")
		require.NotContains(t, got.body, `"decision":true`)
		rights = everything.Rights()
	}
	fail = nil
	foreign, err := f.keys.For("other").Assume(latchkey.Client{ID: "x"}, latchkey.Permissions{allow(latchkey.Any).On("*")})
	require.NoError(t, err)
	rights = foreign.Rights()
	require.Equal(t, http.StatusInternalServerError, f.ask("evaluation", body).status)
	rights = latchkey.Rights{}
	require.Equal(t, []bool{false}, f.ask("evaluation", body).decisions())
	require.Equal(t, http.StatusInternalServerError, f.ask("search/subject",
		`{"subject":{"type":"user"},"action":{"name":"read"},"resource":{"type":"record","id":"record-1"}}`).status)
}

// The host's functions get what the caller sent, with defaults filled in.
func TestHostFunctionsSeeTheQuestion(t *testing.T) {
	var got []Question
	f := newFixture(t, Options{Subjects: map[string]SubjectType{"user": {
		Rights: func(_ context.Context, a latchkey.Account, q Question) (latchkey.Rights, error) {
			got = append(got, q)
			require.Equal(t, "acme", a.Owner())
			return latchkey.Rights{}, nil
		}}}})
	reply := f.ask("evaluations", `{"subject":{"type":"user","id":"a","properties":{"n":1.50,"o":{"x":[true,null]}}},
		"action":{"name":"read","properties":{"m":"GET"}},"context":{"ip":"::1"},"evaluations":[
		{"resource":{"type":"r","id":"1","properties":{"n":1e3}}},
		{"resource":{"type":"r","id":"2"},"context":{},"action":{"name":"write"},"subject":{"type":"user","id":"b"}}]}`)
	require.Equal(t, []bool{false, false}, reply.decisions())
	require.Equal(t, []Question{
		{Subject{"user", "a", map[string]any{"n": json.Number("1.50"), "o": map[string]any{"x": []any{true, nil}}}},
			Action{"read", map[string]any{"m": "GET"}}, Resource{"r", "1", latchkey.Row{"n": json.Number("1000")}},
			map[string]any{"ip": "::1"}},
		{Subject{"user", "b", nil}, Action{"write", nil}, Resource{"r", "2", nil}, map[string]any{}},
	}, got)
}

func TestOptionsAreChecked(t *testing.T) {
	keys := latchkey.New(nilStore{}, nil)
	auth := httpadapter.New(keys, nil)
	rights := func(context.Context, latchkey.Account, Question) (latchkey.Rights, error) {
		return latchkey.Rights{}, nil
	}
	for name, opts := range map[string]*Options{
		"nil": nil, "no URL": {}, "plain http": {URL: "http://pdp.example.com"}, "a query": {URL: pdp + "?a"},
		"a slash":   {URL: pdp + "/"},
		"token":     {URL: pdp, Subjects: map[string]SubjectType{"token": {Rights: rights}}},
		"no type":   {URL: pdp, Subjects: map[string]SubjectType{"": {Rights: rights}}},
		"no Rights": {URL: pdp, Subjects: map[string]SubjectType{"user": {}}},
		"two ids":   {URL: pdp, Resources: map[string]ResourceType{"a": {On: "a/{id}/{id}"}}},
		"a name":    {URL: pdp, Resources: map[string]ResourceType{"a": {On: "a/{name}"}}},
		"a pattern": {URL: pdp, Resources: map[string]ResourceType{"a": {On: "a/*"}}},
		"empty":     {URL: pdp, Resources: map[string]ResourceType{"a": {On: "a//b"}}},
	} {
		require.Panics(t, func() { Handler(auth, opts) }, name)
	}
	require.Panics(t, func() { Handler(nil, &Options{URL: pdp}) })
	Handler(auth, &Options{URL: "http://127.0.0.1:8080", Subjects: map[string]SubjectType{"client": {Rights: rights}},
		Resources: map[string]ResourceType{"a": {On: "{id}"}, "b": {On: "b/c%2Fd/{id}/e"}}})
	of := newKind("b", ResourceType{On: "b/c%2Fd/{id}/e"})
	require.Equal(t, latchkey.Resource("b/c%2Fd/x%2Fy/e"), of.resource("x/y"))
	require.Equal(t, latchkey.Resource("a%2Fb/%2E%2E"), newKind("a/b", ResourceType{}).resource(".."))
}

type nilStore struct{ latchkey.Store }

func (nilStore) Feeds() []latchkey.FeedID { return nil }

func FuzzRequests(f *testing.F) {
	for _, s := range []string{question("user", "a", "read", "r", "1"),
		`{"evaluations":[{},{"subject":null}],"options":{"evaluations_semantic":"execute_all"}}`,
		`{"subject":{"type":"u"},"page":{"limit":1,"token":""},"context":{"a":[1e9,"\u00e9"]}}`, `{"Subject":1}`} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		var one evaluationForm
		var several evaluationsForm
		errs := []error{decode(data, &one), decode(data, &several), decode(data, &subjectSearchForm{}),
			decode(data, &resourceSearchForm{}), decode(data, &actionSearchForm{})}
		for _, err := range errs {
			if err != nil {
				require.ErrorIs(t, err, httpadapter.ErrBadRequest)
			}
		}
		if errs[0] != nil {
			return
		}
		// What is read is what an exact reader of the names reads.
		var exact struct {
			Subject, Action, Resource map[string]json.RawMessage
		}
		var members map[string]json.RawMessage
		require.NoError(t, json.Unmarshal(data, &members))
		for name, into := range map[string]*map[string]json.RawMessage{"subject": &exact.Subject, "action": &exact.Action,
			"resource": &exact.Resource} {
			if raw, ok := members[name]; ok {
				require.NoError(t, json.Unmarshal(raw, into))
			}
		}
		text := func(of map[string]json.RawMessage, name string) (s string) {
			if raw, ok := of[name]; ok {
				require.NoError(t, json.Unmarshal(raw, &s))
			}
			return s
		}
		q, err := one.question()
		complete := text(exact.Subject, "type") != "" && text(exact.Subject, "id") != "" &&
			text(exact.Action, "name") != "" && text(exact.Resource, "type") != "" && text(exact.Resource, "id") != ""
		require.Equal(t, complete, err == nil)
		if complete {
			require.Equal(t, text(exact.Subject, "id"), q.Subject.ID)
			require.Equal(t, text(exact.Resource, "id"), q.Resource.ID)
			require.Equal(t, text(exact.Action, "name"), q.Action.Name)
		}
	})
}

func FuzzPosition(f *testing.F) {
	limit := int64(3)
	first := position{Limit: &limit, Of: []byte("0123456789abcdef")}
	f.Add(position{After: "a", Limit: &limit, Of: first.Of}.text())
	f.Add("bnVsbA")
	f.Fuzz(func(t *testing.T, text string) {
		at, err := readPosition(text, first)
		if err != nil {
			require.ErrorIs(t, err, httpadapter.ErrBadRequest)
			return
		}
		require.Equal(t, first.Of, at.Of)
		require.Equal(t, limit, *at.Limit)
		again, err := readPosition(at.text(), first)
		require.NoError(t, err)
		require.Equal(t, at, again)
	})
}
