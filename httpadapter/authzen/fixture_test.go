package authzen

import (
	"context"
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/latchkey-go/latchkey"
	"github.com/latchkey-go/latchkey/httpadapter"
	"github.com/latchkey-go/latchkey/memstore"
)

const pdp = "https://pdp.example.com"

// fixture is a decision point with a key that may ask about everybody.
type fixture struct {
	t    *testing.T
	keys *latchkey.Manager
	acme latchkey.Account
	h    http.Handler
	pep  string // the text of the caller's key
	errs []error
}

func newFixture(t *testing.T, opts Options, change ...func(*latchkey.Options, *httpadapter.Options)) *fixture {
	t.Helper()
	f := &fixture{t: t}
	var of latchkey.Options
	adapter := httpadapter.Options{OnError: func(_ *http.Request, err error) { f.errs = append(f.errs, err) }}
	for _, c := range change {
		c(&of, &adapter)
	}
	f.keys = latchkey.New(memstore.New(nil), &of)
	f.acme = f.keys.For("acme")
	if opts.URL == "" {
		opts.URL = pdp
	}
	mux := http.NewServeMux()
	Mount(mux, httpadapter.New(f.keys, &adapter), &opts)
	f.h = mux
	_, f.pep = f.key(latchkey.Allow(latchkey.Read).On("latchkey/*"))
	return f
}

func (f *fixture) issue(spec latchkey.Spec) (latchkey.Token, string) {
	f.t.Helper()
	tok, secret, err := f.acme.Issue(f.t.Context(), spec)
	require.NoError(f.t, err)
	return tok, secret.Reveal()
}

func (f *fixture) key(rules ...latchkey.Rule) (latchkey.Token, string) {
	f.t.Helper()
	return f.issue(latchkey.Spec{Kind: latchkey.KindAPIKey, Permissions: rules})
}

func (f *fixture) access(text string) latchkey.Access {
	f.t.Helper()
	a, err := f.keys.Verify(f.t.Context(), latchkey.Presented{Secret: text})
	require.NoError(f.t, err)
	return a
}

// reply is a reply with its JSON.
type reply struct {
	status int
	header http.Header
	body   string

	Decision    *bool
	Context     map[string]any
	Evaluations []struct {
		Decision *bool
		Context  map[string]any
	}
	Page *struct {
		Next  *string `json:"next_token"`
		Count *int
	}
	Results       []found
	Title, Detail string
}

// decisions are those of a reply: of one evaluation or of several.
func (r reply) decisions() []bool {
	var out []bool
	if r.Decision != nil {
		out = append(out, *r.Decision)
	}
	for _, e := range r.Evaluations {
		out = append(out, e.Decision != nil && *e.Decision)
	}
	return out
}

// ids are the ids or names that a search found.
func (r reply) ids() []string {
	out := []string{}
	for _, x := range r.Results {
		out = append(out, x.ID+x.Name)
	}
	return out
}

func (r reply) reason() string { s, _ := r.Context["reason"].(string); return s }

func request(path, key, body string) *http.Request {
	r := httptest.NewRequest(http.MethodPost, pdp+"/access/v1/"+path, strings.NewReader(body))
	r.Header.Set("Content-Type", "application/json")
	r.Header.Set("Authorization", "Bearer "+key)
	r.Header.Set("X-Request-ID", "bfe9eb29-ab87 é")
	return r
}

func (f *fixture) send(r *http.Request) reply {
	f.t.Helper()
	w := httptest.NewRecorder()
	f.h.ServeHTTP(w, r)
	got := reply{status: w.Code, header: w.Header(), body: w.Body.String()}
	media := w.Header().Get("Content-Type")
	switch {
	case w.Code == http.StatusOK:
		require.Equal(f.t, "application/json", media)
	case w.Code != http.StatusMethodNotAllowed && w.Code != http.StatusNotFound:
		require.Equal(f.t, "application/problem+json", media)
	}
	if strings.HasSuffix(media, "json") {
		require.Equal(f.t, "nosniff", w.Header().Get("X-Content-Type-Options"))
		require.NoError(f.t, json.Unmarshal(w.Body.Bytes(), &got), got.body)
	}
	if w.Code != http.StatusNotFound {
		require.Equal(f.t, "no-store", w.Header().Get("Cache-Control"))
		require.Equal(f.t, r.Header["X-Request-Id"], w.Header()["X-Request-Id"])
	}
	return got
}

// ask sends a body with the key of the fixture.
func (f *fixture) ask(path, body string) reply {
	f.t.Helper()
	return f.send(request(path, f.pep, body))
}

// question is the body of an evaluation.
func question(subjectType, subjectID, action, resourceType, resourceID string, properties ...string) string {
	data, err := json.Marshal([]string{subjectType, subjectID, action, resourceType, resourceID})
	if err != nil {
		panic(err)
	}
	var s []string
	for text := range strings.SplitSeq(strings.Trim(string(data), "[]"), ",") {
		s = append(s, text)
	}
	props := ""
	if len(properties) > 0 {
		props = `,"properties":` + properties[0]
	}
	return `{"subject":{"type":` + s[0] + `,"id":` + s[1] + `},"action":{"name":` + s[2] + `},"resource":{"type":` + s[3] +
		`,"id":` + s[4] + props + `}}`
}

func readJSON(t *testing.T, path string, into any) {
	t.Helper()
	data, err := os.ReadFile(path)
	require.NoError(t, err)
	require.NoError(t, json.Unmarshal(data, into))
}

// listing returns one page of ids, as a host does with its database.
func listing(ids []string, page latchkey.Page) []string {
	slices.Sort(ids)
	i, there := slices.BinarySearch(ids, page.After)
	if there {
		i++
	}
	return ids[i:min(i+page.Size(), len(ids))]
}

var allow = latchkey.Allow

// certified is the host of the certification's fixture: users alice and bob, and records with a status.
func certified() Options {
	schema := latchkey.NewSchema(latchkey.Fields{"status": {Column: "r.status", Type: latchkey.Text}})
	roles := map[string]string{"alice": "", "bob": "admin"}
	records := map[string]string{"record-1": "active", "record-2": "archived"}
	known := latchkey.Where("status", latchkey.In, []string{"active", "archived"})
	active := latchkey.Where("status", latchkey.Eq, "active")
	archived := latchkey.Where("status", latchkey.Eq, "archived")
	rules := map[string]latchkey.Permissions{
		"alice": {allow(latchkey.Read, "trash").On("record/*").Where(known), allow("write").On("record/*").Where(active)},
		"bob":   {allow(latchkey.Read).On("record/*").Where(known)},
	}
	return Options{
		Subjects: map[string]SubjectType{"user": {
			Rights: func(_ context.Context, account latchkey.Account, q Question) (latchkey.Rights, error) {
				role, ok := roles[q.Subject.ID]
				if !ok {
					return latchkey.Rights{}, latchkey.ErrNotFound
				}
				if sent, ok := q.Subject.Properties["role"].(string); ok {
					role = sent
				}
				may := slices.Clone(rules[q.Subject.ID])
				if role == "admin" {
					may = append(may, latchkey.Grant("write").On("record/*").Where(archived))
				}
				access, err := account.Assume(latchkey.Client{ID: q.Subject.ID}, may)
				return access.Rights(), err
			},
			List: func(_ context.Context, _ latchkey.Account, page latchkey.Page) ([]string, error) {
				return listing([]string{"alice", "bob"}, page), nil
			},
		}},
		Resources: map[string]ResourceType{"record": {
			Schema: schema,
			Row: func(_ context.Context, _ latchkey.Account, q Question) (latchkey.Row, error) {
				status, ok := records[q.Resource.ID]
				if !ok {
					return nil, latchkey.ErrNotFound
				}
				if sent, ok := q.Resource.Properties["status"].(string); ok {
					status = sent
				}
				return latchkey.Row{"status": status}, nil
			},
			Actions: []string{"read", "write", "delete"},
			Search: func(_ context.Context, _ latchkey.Account, q ResourceQuery) ([]FoundResource, error) {
				var out []FoundResource
				for _, id := range listing([]string{"record-1", "record-2"}, latchkey.Page{After: q.Page.After, Limit: 1000}) {
					if row := (latchkey.Row{"status": records[id]}); q.Rows.Match(row) && len(out) < q.Page.Size() {
						out = append(out, FoundResource{id, row})
					}
				}
				return out, nil
			},
		}},
		Action: func(a Action) latchkey.Action {
			if soft, _ := a.Properties["soft"].(bool); a.Name == "delete" && soft {
				return "trash"
			}
			return latchkey.Action(a.Name)
		},
	}
}
