package authzen

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/latchkey-go/latchkey"
	"github.com/latchkey-go/latchkey/httpadapter"
)

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
	require.Empty(t, f.ask("search/subject", strings.Replace(search, "user", "planet", 1)+"}").ids(), "nobody knows any")
	const actions = `{"subject":{"type":"user","id":"alice"},"resource":{"type":"record","id":"record-1"}`
	page := f.ask("search/action", actions+`,"context":{"a":1},"page":{"limit":1}}`)
	require.Len(t, page.ids(), 1)
	next := `"page":{"token":"` + *page.Page.Next + `"}}`
	for of, status := range map[string]int{`,"context":{"a":1},`: http.StatusOK,
		`,"context":{"a":2},`: http.StatusBadRequest} {
		require.Equal(t, status, f.send(request("search/action", f.pep, actions+of+next)).status, of)
	}
	_, other := f.key(allow(latchkey.Read).On("latchkey/*"))
	var at position
	data, err := base64.RawURLEncoding.DecodeString(*first.Page.Next)
	require.NoError(t, err)
	require.NoError(t, json.Unmarshal(data, &at))
	nul, unlimitedAt := at, at
	nul.After, unlimitedAt.Limit = "a\x00", nil
	for name, r := range map[string]*http.Request{
		"a limit later": request("search/subject", f.pep, search+`,"page":{"token":"`+unlimitedAt.text()+`","limit":1}}`),
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
	require.Contains(t, none.body, `"results":[]`)
	require.NotEmpty(t, *none.Page.Next)
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

// Each search is answered page by page, without a gap and without a repetition, and the last page says so.
func TestPagesOfEverySearch(t *testing.T) {
	names := []string{"a", "b", "c", "d", "e"}
	var rows []FoundResource
	for _, name := range names {
		rows = append(rows, FoundResource{ID: name})
	}
	f := newFixture(t, Options{
		Subjects: map[string]SubjectType{"user": {
			Rights: func(_ context.Context, a latchkey.Account, q Question) (latchkey.Rights, error) {
				access, err := a.Assume(latchkey.Client{ID: q.Subject.ID}, latchkey.Permissions{allow(latchkey.Any).On("*")})
				return access.Rights(), err
			},
			List: func(_ context.Context, _ latchkey.Account, p latchkey.Page) ([]string, error) {
				require.Equal(t, listed, p.Limit)
				return listing(names, p), nil
			}}, "unlisted": {Rights: func(_ context.Context, a latchkey.Account, q Question) (latchkey.Rights, error) {
			access, err := a.Assume(latchkey.Client{ID: q.Subject.ID}, latchkey.Permissions{allow(latchkey.Any).On("*")})
			return access.Rights(), err
		}}},
		Resources: map[string]ResourceType{"doc": {Actions: names,
			Search: func(_ context.Context, _ latchkey.Account, q ResourceQuery) (out []FoundResource, _ error) {
				require.Equal(t, Question{Subject: Subject{Type: "user", ID: "x"}, Action: Action{Name: "a"},
					Resource: Resource{Type: "doc"}, Context: map[string]any{"k": "v"}}, q.Question)
				for _, r := range rows {
					if r.ID > q.Page.After && len(out) < q.Page.Size() {
						out = append(out, r)
					}
				}
				return out, nil
			}}, "unsearched": {}}})
	var tokens []string
	for range names {
		tok, _ := f.key(allow("a").On("doc/x"))
		tokens = append(tokens, tok.ID)
	}
	entity := func(kind, id string) string { return `{"type":"` + kind + `","id":"` + id + `"}` }
	const action = `"action":{"name":"a"}`
	for _, c := range []struct {
		path, body string
		found      []found
	}{
		{"search/subject", `"subject":{"type":"token"},` + action + `,"resource":` + entity("doc", "x"),
			entities("token", tokens)},
		{"search/subject", `"subject":{"type":"user"},` + action + `,"resource":` + entity("doc", "x"),
			entities("user", names)},
		{"search/resource", `"subject":` + entity("user", "x") + `,` + action + `,"resource":{"type":"doc"},
			"context":{"k":"v"}`, entities("doc", names)},
		{"search/action", `"subject":` + entity("user", "x") + `,"resource":` + entity("doc", "x"),
			[]found{{Name: "a"}, {Name: "b"}, {Name: "c"}, {Name: "d"}, {Name: "e"}}},
	} {
		for limit := 1; limit <= len(names)+1; limit++ {
			var all []found
			for token, pages := "", 0; ; pages++ {
				require.LessOrEqual(t, pages, len(names))
				got := f.ask(c.path, fmt.Sprintf(`{%s,"page":{"limit":%d,"token":%q}}`, c.body, limit, token))
				require.Equal(t, http.StatusOK, got.status, got.body)
				require.Len(t, got.Results, *got.Page.Count)
				require.LessOrEqual(t, len(got.Results), limit)
				all = append(all, got.Results...)
				if token = *got.Page.Next; token == "" {
					break
				}
				require.Len(t, got.Results, limit)
			}
			require.Equal(t, c.found, all, "%s, %d a page", c.body, limit)
		}
	}

	// Nothing is found where nothing can be asked.
	for body, path := range map[string]string{
		`{"subject":{"type":"unlisted"},` + action + `,"resource":` + entity("doc", "x") + `}`:    "search/subject",
		`{"subject":{"type":"planet"},` + action + `,"resource":` + entity("doc", "x") + `}`:      "search/subject",
		`{"subject":` + entity("user", "x") + `,` + action + `,"resource":{"type":"unsearched"}}`: "search/resource",
		`{"subject":` + entity("planet", "x") + `,` + action + `,"resource":{"type":"doc"}}`:      "search/resource",
		`{"subject":` + entity("planet", "x") + `,"resource":` + entity("doc", "x") + `}`:         "search/action",
	} {
		got := f.ask(path, body)
		require.Equal(t, http.StatusOK, got.status, got.body)
		require.Empty(t, got.Results)
		require.Contains(t, got.body, `"results":[]`)
	}
	for _, name := range []string{"*", "Not An Action"} {
		got := f.ask("search/subject", `{"subject":{"type":"token"},"action":{"name":"`+name+`"},"resource":`+
			entity("doc", "x")+`}`)
		require.Equal(t, http.StatusOK, got.status, got.body)
		require.Empty(t, got.Results)
	}
	long := f.ask("search/subject", `{"subject":{"type":"token"},`+action+`,"resource":`+
		entity("doc", strings.Repeat("x", 100_000))+`}`)
	require.Equal(t, http.StatusOK, long.status, long.body)
	require.Empty(t, long.Results, "no resource is so long")
}

// entities are those of a type with some ids.
func entities(kind string, ids []string) (list []found) {
	for _, id := range ids {
		list = append(list, found{Type: kind, ID: id})
	}
	return list
}

// What a function of the host fails with in a search is no answer, and neither is a list that does not go on.
func TestSearchesOfAHostThatFails(t *testing.T) {
	var rights, list, search error
	var ids []string
	f := newFixture(t, Options{
		Subjects: map[string]SubjectType{"user": {
			Rights: func(_ context.Context, a latchkey.Account, q Question) (latchkey.Rights, error) {
				access, err := a.Assume(latchkey.Client{ID: q.Subject.ID}, latchkey.Permissions{allow(latchkey.Any).On("*")})
				return access.Rights(), errors.Join(err, rights)
			},
			List: func(context.Context, latchkey.Account, latchkey.Page) ([]string, error) { return ids, list }}},
		Resources: map[string]ResourceType{"doc": {Actions: []string{"read"},
			Search: func(context.Context, latchkey.Account, ResourceQuery) (out []FoundResource, _ error) {
				for _, id := range ids {
					out = append(out, FoundResource{ID: id})
				}
				return out, search
			}}}})
	const user, action, doc = `"subject":{"type":"user","id":"x"}`, `"action":{"name":"read"}`,
		`"resource":{"type":"doc","id":"x"}`
	send := func(path string) reply {
		return f.ask(path, `{`+user+`,`+action+`,`+doc+`}`)
	}
	for _, c := range []struct {
		rights, list, search error
		ids                  []string
		status               map[string]int // of the searches for a subject, a resource and an action
	}{
		{ids: []string{"a", "b"}, status: map[string]int{"subject": 200, "resource": 200, "action": 200}},
		{ids: []string{"a", "a"}, status: map[string]int{"subject": 500, "resource": 500, "action": 200}},
		{ids: []string{""}, status: map[string]int{"subject": 500, "resource": 500, "action": 200}},
		{ids: []string{"a"}, rights: latchkey.ErrUnavailable,
			status: map[string]int{"subject": 503, "resource": 503, "action": 503}},
		{ids: []string{"a"}, list: latchkey.ErrUnavailable,
			status: map[string]int{"subject": 503, "resource": 200, "action": 200}},
		{ids: []string{"a"}, search: latchkey.ErrUnavailable,
			status: map[string]int{"subject": 200, "resource": 503, "action": 200}},
	} {
		rights, list, search, ids = c.rights, c.list, c.search, c.ids
		for what, status := range c.status {
			got := send("search/" + what)
			require.Equal(t, status, got.status, "%+v: %s: %s", c, what, got.body)
			if status == 200 {
				require.NotEmpty(t, got.Results)
			}
		}
	}
	rights, list, search = latchkey.ErrNotFound, nil, errors.New("nothing to ask for")
	for _, what := range []string{"subject", "resource", "action"} {
		got := send("search/" + what)
		require.Equal(t, http.StatusOK, got.status, "a subject that does not exist may do nothing: %s", got.body)
		require.Empty(t, got.Results)
	}
}

// A search for tokens and one for resources look at so many candidates and no more, and go on from there.
func TestSearchesAreBounded(t *testing.T) {
	var users []string
	for i := range 2 * maxLooked {
		users = append(users, fmt.Sprintf("u%06d", i+1))
	}
	f := newFixture(t, Options{Subjects: map[string]SubjectType{"user": {
		Rights: func(_ context.Context, a latchkey.Account, q Question) (latchkey.Rights, error) {
			access, err := a.Assume(latchkey.Client{ID: q.Subject.ID}, latchkey.Permissions{allow(latchkey.Any).On("*")})
			return access.Rights(), err
		},
		List: func(_ context.Context, _ latchkey.Account, p latchkey.Page) ([]string, error) {
			return listing(users, p), nil
		}}}, Resources: map[string]ResourceType{"doc": {Schema: orders,
		Search: func(_ context.Context, _ latchkey.Account, q ResourceQuery) (out []FoundResource, _ error) {
			for i := range 3*maxLooked + 1 { // it forgets the predicate and the limit
				if id := fmt.Sprintf("d%06d", i); id > q.Page.After {
					out = append(out, FoundResource{id, latchkey.Row{"region": "US"}})
				}
			}
			return out, nil
		}}}})
	eu, _ := f.key(allow(latchkey.Read).On("doc/*").Where(latchkey.Where("region", latchkey.Eq, "EU")))
	every, _ := f.key(allow(latchkey.Read).On("doc/*"))
	many := []string{every.ID}
	for range maxLooked {
		tok, _ := f.key(allow(latchkey.Read).On("other/x"))
		many = append(many, tok.ID)
	}
	last, _ := f.key(allow(latchkey.Read).On("doc/x"))
	pages := func(path, body string) (n int, ids []string) {
		for token := ""; ; {
			got := f.ask(path, fmt.Sprintf(`{%s,"action":{"name":"read"},"page":{"token":%q}}`, body, token))
			require.Equal(t, http.StatusOK, got.status, got.body)
			n, ids = n+1, append(ids, got.ids()...)
			if token = *got.Page.Next; token == "" {
				return n, ids
			}
		}
	}
	n, ids := pages("search/subject", `"subject":{"type":"token"},"resource":{"type":"doc","id":"x"}`)
	require.Equal(t, 2, n)
	require.Equal(t, []string{every.ID, last.ID}, ids)
	n, ids = pages("search/resource", `"subject":{"type":"token","id":"`+eu.ID+`"},"resource":{"type":"doc"}`)
	require.Equal(t, 4, n)
	require.Empty(t, ids)

	// A page that is full ends before that.
	for body, want := range map[string][]string{
		`"subject":{"type":"token"},"resource":{"type":"other","id":"x"}`:              many[3:5],
		`"subject":{"type":"user"},"resource":{"type":"doc","id":"x"}`:                 {"u000003", "u000004"},
		`"subject":{"type":"token","id":"` + every.ID + `"},"resource":{"type":"doc"}`: {"d000002", "d000003"},
	} {
		path := "search/subject"
		if strings.Contains(body, every.ID) {
			path = "search/resource"
		}
		var got reply
		for _, token := range []func() string{func() string { return "" }, func() string { return *got.Page.Next }} {
			got = f.ask(path, fmt.Sprintf(`{%s,"action":{"name":"read"},"page":{"limit":2,"token":%q}}`, body, token()))
			require.Len(t, got.Results, 2, got.body)
		}
		require.Equal(t, want, got.ids(), body)
	}
}
