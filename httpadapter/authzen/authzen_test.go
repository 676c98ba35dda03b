package authzen

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"slices"
	"sync"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/latchkey-go/latchkey"
	"github.com/latchkey-go/latchkey/httpadapter"
)

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
	const missing = "authzen: Mount needs an Adapter, and Options with URL"
	require.PanicsWithValue(t, missing, func() { Handler(nil, &Options{URL: pdp}) })
	require.PanicsWithValue(t, missing, func() { Handler(auth, nil) })
	Handler(auth, &Options{URL: "http://127.0.0.1:8080", Subjects: map[string]SubjectType{"client": {Rights: rights}},
		Resources: map[string]ResourceType{"a": {On: "{id}"}, "b": {On: "b/c%2Fd/{id}/e"}}})
	of := newKind("b", ResourceType{On: "b/c%2Fd/{id}/e"})
	require.Equal(t, latchkey.Resource("b/c%2Fd/x%2Fy/e"), of.resource("x/y"))
	require.Equal(t, latchkey.Resource("a%2Fb/%2E%2E"), newKind("a/b", ResourceType{}).resource(".."))
}

type nilStore struct{ latchkey.Store }

func (nilStore) Feeds() []latchkey.FeedID { return nil }
