package authzen

import (
	"context"
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"
	"time"

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
	// Neither is a subject that the host does not know, nor one of a type that nobody knows.
	for _, kind := range []string{"user", "planet"} {
		require.Equal(t, noSubject, f.ask("evaluation", question(kind, "nobody", "read", "record", "record-1")).reason())
	}
	anonymous := request("evaluation", "", "{}")
	anonymous.Header.Del("Authorization")
	for _, r := range []*http.Request{anonymous, request("evaluation", "ak_nonsense", "{}")} {
		require.Equal(t, http.StatusUnauthorized, f.send(r).status)
	}
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
