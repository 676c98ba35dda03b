package authzen

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/latchkey-go/latchkey"
)

// The published certification scenario, case by case.
func TestCertification(t *testing.T) {
	f := newFixture(t, certified())
	var data struct {
		Cases []struct {
			ID, Path  string
			Body      json.RawMessage
			Raw, Type *string
			Status    int
			Decisions []*bool  // null: any
			Single    bool     // the reply is that of one evaluation
			Includes  []string // results, among others
			None      bool     // there are no others
		}
	}
	readJSON(t, "testdata/certification.json", &data)
	require.Greater(t, len(data.Cases), 60)
	for _, c := range data.Cases {
		body := string(c.Body)
		if c.Raw != nil {
			body = *c.Raw
		}
		send := func(name string) reply {
			r := request(c.Path, f.pep, body)
			if c.Type != nil {
				r.Header.Set("Content-Type", *c.Type)
			}
			if r.Header.Del("X-Request-ID"); name != "" {
				r.Header.Set("X-Request-ID", name)
			}
			return f.send(r) // which checks that X-Request-ID comes back
		}
		got := send("id-1")
		require.Equal(t, got.body, send("").body, "%s: the same request again", c.ID)
		if c.Status != 0 {
			require.Equal(t, c.Status, got.status, c.ID)
			require.NotEmpty(t, got.Detail, c.ID)
			continue
		}
		require.Equal(t, http.StatusOK, got.status, "%s: %s", c.ID, got.body)
		if c.Decisions != nil {
			require.Len(t, got.decisions(), len(c.Decisions), c.ID)
			for i, want := range c.Decisions {
				require.True(t, want == nil || *want == got.decisions()[i], "%s: %s", c.ID, got.body)
			}
			require.Equal(t, c.Path == "evaluation" || c.Single, got.Decision != nil, c.ID)
			for _, e := range got.Evaluations {
				require.NotNil(t, e.Decision, c.ID)
			}
			continue
		}
		require.Contains(t, got.body, `"results":[`, c.ID)
		require.Subset(t, got.ids(), c.Includes, c.ID)
		require.Equal(t, c.None, len(got.Results) == 0, c.ID)
		var asked struct{ Subject, Resource struct{ Type string } }
		require.NoError(t, json.Unmarshal(c.Body, &asked))
		for _, x := range got.Results {
			switch c.Path {
			case "search/subject":
				require.Equal(t, found{Type: asked.Subject.Type, ID: x.ID}, x, c.ID)
			case "search/resource":
				require.Equal(t, found{Type: asked.Resource.Type, ID: x.ID}, x, c.ID)
			default:
				require.Equal(t, found{Name: x.Name}, x, c.ID)
			}
		}
		require.NotNil(t, got.Page.Next, c.ID)
		if *got.Page.Next != "" {
			rest := f.ask(c.Path, strings.Replace(string(c.Body), `"limit": 1`, `"token": "`+*got.Page.Next+`"`, 1))
			require.Equal(t, http.StatusOK, rest.status, rest.body)
			require.NotNil(t, rest.Page.Next)
		}
	}
}

// The Todo application of the interop events.
func TestTodo(t *testing.T) {
	var data struct {
		Users       map[string]string
		Evaluation  [][]any
		Evaluations [][]any
	}
	readJSON(t, "testdata/todo.json", &data)
	people := map[string]struct {
		email string
		roles []string
	}{
		"rick":  {"rick@the-citadel.com", []string{"admin", "evil_genius"}},
		"morty": {"morty@the-citadel.com", []string{"editor"}}, "summer": {"summer@the-smiths.com", []string{"editor"}},
		"beth":  {"beth@the-smiths.com", []string{"viewer"}},
		"jerry": {"jerry@the-smiths.com", []string{"viewer"}},
	}
	own := latchkey.Where("ownerID", latchkey.Eq, latchkey.Attr("email"))
	byRole := map[string]latchkey.Permissions{
		"editor": {allow("can_create_todo").On("todo/*"),
			allow("can_update_todo", "can_delete_todo").On("todo/*").Where(own)},
		"admin":       {allow("can_create_todo", "can_delete_todo").On("todo/*")},
		"evil_genius": {allow("can_update_todo").On("todo/*")},
	}
	byID := map[string]string{}
	for name, id := range data.Users {
		byID[id] = name
	}
	f := newFixture(t, Options{
		Subjects: map[string]SubjectType{"user": {Rights: func(_ context.Context, account latchkey.Account, q Question) (
			latchkey.Rights, error) {
			person, ok := people[byID[q.Subject.ID]]
			if !ok {
				return latchkey.Rights{}, latchkey.ErrNotFound
			}
			rules := latchkey.Permissions{allow("can_read_user").On("user/*"), allow("can_read_todos").On("todo/*")}
			for _, role := range person.roles {
				rules = append(rules, byRole[role]...)
			}
			access, err := account.AssumeWith(latchkey.Caller{Client: latchkey.Client{ID: q.Subject.ID},
				Attributes: latchkey.Attributes{"email": person.email}, Rules: rules})
			return access.Rights(), err
		}}},
		Resources: map[string]ResourceType{"todo": {Schema: latchkey.NewSchema(latchkey.Fields{
			"ownerID": {Column: "owner", Type: latchkey.Text}})}},
	})
	owned := func(owner any) []string {
		if owner == nil {
			return nil
		}
		return []string{fmt.Sprintf(`{"ownerID":%q}`, owner)}
	}
	require.Len(t, data.Evaluation, 40)
	for _, c := range data.Evaluation {
		body := question("user", data.Users[c[0].(string)], c[1].(string), c[2].(string), c[3].(string), owned(c[4])...)
		require.Equal(t, []bool{c[5].(bool)}, f.ask("evaluation", body).decisions(), c)
	}
	for _, c := range data.Evaluations {
		var items []string
		var want []bool
		for _, x := range c[2].([]any) {
			x := x.([]any)
			items = append(items, fmt.Sprintf(`{"resource":{"type":"todo","id":%q,"properties":{"ownerID":%q}}}`, x[0], x[1]))
			want = append(want, x[2].(bool))
		}
		body := fmt.Sprintf(`{"subject":{"type":"user","id":%q},"action":{"name":%q},"resource":{},"context":{},`+
			`"evaluations":[%s]}`, data.Users[c[0].(string)], c[1], strings.Join(items, ","))
		require.Equal(t, want, f.ask("evaluations", body).decisions(), c)
	}
}

// The records of the search interop event: every search, in pages of every size.
func TestSearchInterop(t *testing.T) {
	var data struct {
		Users, Records            [][3]string
		Subject, Resource, Action map[string][]string
	}
	readJSON(t, "testdata/search.json", &data)
	require.Equal(t, []int{6, 20, 60, 18, 120}, []int{len(data.Users), len(data.Records), len(data.Subject),
		len(data.Resource), len(data.Action)})
	var users, records []string
	rights, rows := map[string]latchkey.Caller{}, map[string]latchkey.Row{}
	for _, u := range data.Users {
		users = append(users, u[0])
		owner := latchkey.Where("owner", latchkey.Eq, latchkey.ClientID)
		department := latchkey.Where("department", latchkey.Eq, latchkey.Attr("department"))
		rules := latchkey.Permissions{allow("view", "edit", "delete").On("record/*").Where(owner),
			latchkey.Grant("view").On("record/*").Where(department)}
		if u[1] == "manager" {
			rules = append(rules, allow("view").On("record/*"), latchkey.Grant("edit").On("record/*").Where(department))
		}
		rights[u[0]] = latchkey.Caller{Client: latchkey.Client{ID: u[0]}, Rules: rules,
			Attributes: latchkey.Attributes{"department": u[2]}}
	}
	for _, r := range data.Records {
		records = append(records, r[0])
		rows[r[0]] = latchkey.Row{"department": r[1], "owner": r[2]}
	}
	f := newFixture(t, Options{
		Subjects: map[string]SubjectType{"user": {
			Rights: func(_ context.Context, account latchkey.Account, q Question) (latchkey.Rights, error) {
				who, ok := rights[q.Subject.ID]
				if !ok {
					return latchkey.Rights{}, latchkey.ErrNotFound
				}
				access, err := account.AssumeWith(who)
				return access.Rights(), err
			},
			List: func(_ context.Context, _ latchkey.Account, p latchkey.Page) ([]string, error) {
				return listing(users, p), nil
			},
		}},
		Resources: map[string]ResourceType{"record": {
			Schema: latchkey.NewSchema(latchkey.Fields{"department": {Column: "department", Type: latchkey.Text},
				"owner": {Column: "owner", Type: latchkey.Text}}),
			Actions: []string{"view", "edit", "delete"},
			Row: func(_ context.Context, _ latchkey.Account, q Question) (latchkey.Row, error) {
				return rows[q.Resource.ID], nil
			},
			Search: func(_ context.Context, _ latchkey.Account, q ResourceQuery) ([]FoundResource, error) {
				var out []FoundResource
				for _, id := range listing(records, latchkey.Page{After: q.Page.After, Limit: 1000}) {
					if q.Rows.Match(rows[id]) && len(out) < q.Page.Size() {
						out = append(out, FoundResource{ID: id, Row: rows[id]})
					}
				}
				return out, nil
			},
		}},
	})
	all := func(path, body string, limit int) []string {
		ids, page := []string{}, ""
		if limit > 0 {
			page = fmt.Sprintf(`"limit":%d`, limit)
		}
		for {
			got := f.ask("search/"+path, strings.TrimSuffix(body, "}")+`,"page":{`+page+`}}`)
			require.Equal(t, http.StatusOK, got.status, got.body)
			require.Equal(t, len(got.Results), *got.Page.Count)
			if limit > 0 {
				require.LessOrEqual(t, len(got.Results), limit)
			}
			if ids = append(ids, got.ids()...); *got.Page.Next == "" {
				return ids
			}
			page = fmt.Sprintf(`"token":%q`, *got.Page.Next)
		}
	}
	for _, limit := range []int{0, 1, 3} {
		for key, want := range data.Subject {
			record, action, _ := strings.Cut(key, " ")
			require.Equal(t, want, all("subject", `{"subject":{"type":"user"},"action":{"name":"`+action+
				`"},"resource":{"type":"record","id":"`+record+`"}}`, limit), key)
		}
		for key, want := range data.Resource {
			user, action, _ := strings.Cut(key, " ")
			require.Equal(t, want, all("resource", `{"subject":{"type":"user","id":"`+user+`"},"action":{"name":"`+action+
				`"},"resource":{"type":"record"}}`, limit), key)
		}
		for key, want := range data.Action {
			user, record, _ := strings.Cut(key, " ")
			require.Equal(t, want, all("action", `{"subject":{"type":"user","id":"`+user+
				`"},"resource":{"type":"record","id":"`+record+`"}}`, limit), key)
		}
	}
	// What a search finds, an evaluation allows, and nothing else.
	for _, user := range users {
		for _, record := range records {
			for _, action := range []string{"view", "edit", "delete"} {
				want := slices.Contains(data.Action[user+" "+record], action)
				require.Equal(t, []bool{want}, f.ask("evaluation", question("user", user, action, "record", record)).decisions())
			}
		}
	}
}
