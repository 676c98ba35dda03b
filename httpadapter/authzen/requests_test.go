package authzen

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/latchkey-go/latchkey"
	"github.com/latchkey-go/latchkey/httpadapter"
)

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
	form := send("same-origin", "text/plain")
	require.Equal(t, http.StatusBadRequest, form.Code)
	require.Contains(t, form.Body.String(), "must be application/json")
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
	for path, body := range map[string]string{
		"search/subject":  `"action":{"name":"read"},"resource":{"type":"record","id":"record-1"}`,
		"search/resource": `"subject":{"type":"user","id":"alice"},"action":{"name":"read"}`,
		"search/action":   `"subject":{"type":"user","id":"alice"}`,
	} {
		missing, _ := strings.CutPrefix(strings.Replace(path, "action", "resource", 1), "search/")
		got := f.ask(path, `{`+body+`}`)
		require.Equal(t, http.StatusBadRequest, got.status, path)
		require.Contains(t, got.Detail, "missing: "+missing, path)
	}
	// One of several that is malformed has an error of its own.
	several := f.ask("evaluations", `{"evaluations":[`+good+`,`+in(`"id":"alice"`, `"id":""`)+`]}`)
	require.Equal(t, []bool{true, false}, several.decisions())
	require.NotContains(t, several.Evaluations[0].Context, "error")
	require.Equal(t, map[string]any{"error": map[string]any{"status": 400.,
		"message": "a required member is missing: subject.id"}}, several.Evaluations[1].Context)
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
		{[]string{`\` + secret}, 400}, {[]string{`"\u0061` + secret[1:] + `"`}, 400},
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
