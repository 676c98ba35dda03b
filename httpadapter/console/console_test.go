package console

import (
	"bytes"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"net/url"
	"regexp"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/latchkey-go/latchkey"
	"github.com/latchkey-go/latchkey/memstore"
)

// TestTheWalkThrough follows IEX's own instructions, with its words.
func TestTheWalkThrough(t *testing.T) {
	w := newFixture(t, &Options{Catalogue: Apperate(), CreditMeter: "core", Languages: []*Words{ApperateWords()}})
	w.issue(latchkey.Spec{Kind: latchkey.KindSecret, Name: "root"})
	require.Contains(t, w.get(""), `href="new"`)
	require.Contains(t, w.get(""), "Are you sure you want to add a publishable token?")

	form := w.form("new")
	form.Set("name", "My site")
	rec := w.post("new", form)
	require.Equal(t, http.StatusSeeOther, rec.Code, rec.Body)
	to := rec.Header().Get("Location")
	require.True(t, strings.HasPrefix(to, "./?made="), to)
	page := w.get(strings.TrimPrefix(to, "./"))
	require.Contains(t, page, "Successfully created a new publishable token")
	require.Less(t, strings.Index(page, "root"), strings.Index(page, "My site"), "at the bottom")

	u, err := url.Parse(to)
	require.NoError(t, err)
	id := u.Query().Get("made")
	require.Equal(t, 2, strings.Count(page, `href="token/`+id+`"`), "by its id and by the gear")
	for _, label := range []string{"Nickname", "Signed Requests", "Core Data Access", "Premium Data Access",
		"Dataset permissions", "Allowed Domain(s)", "Core Credit Usage Limit", "Done"} {
		require.Contains(t, w.get("token/"+id), ">"+label+"<")
	}
	form = w.form("token/" + id)
	require.Equal(t, []string{"0"}, form["right"], "core access is on by default")
	form.Add("right", "1")
	form.Set("domains", "www.example.com\r\n*.example.org")
	form.Set("credits", "1000.5")
	form.Set("add", "acme/cars")
	form["addright"] = []string{"2", "3"}
	rec = w.post("token/"+id, form)
	require.Equal(t, http.StatusSeeOther, rec.Code, rec.Body)
	require.Equal(t, "../?done=saved&token="+id+"&version=2", rec.Header().Get("Location"))
	got := w.token(id)
	require.Equal(t, []string{"www.example.com", "*.example.org"}, got.Restrictions.Domains)
	require.Equal(t, monthly(1_000_500_000), got.Limits.Quotas)
	require.Equal(t, []string{"allow read on core/*", "allow read on premium/*",
		"allow read, create, update on dataset/ACME/CARS"}, ruleTexts(got.Permissions))

	// The token behaves as the form says.
	access, err := w.acme.Verify(t.Context(), latchkey.Presented{Secret: got.Public, Referer: "https://www.example.com/x"})
	require.NoError(t, err)
	require.True(t, access.Allows(latchkey.Update, "dataset/ACME/CARS"))
	require.False(t, access.Allows(latchkey.Delete, "dataset/ACME/CARS"))
	_, err = w.acme.Verify(t.Context(), latchkey.Presented{Secret: got.Public, Referer: "https://evil.test/"})
	require.ErrorIs(t, err, latchkey.ErrReferer)

	// Saving an unchanged form changes nothing.
	version := got.Version
	rec = w.post("token/"+id, w.form("token/"+id))
	require.Equal(t, http.StatusSeeOther, rec.Code)
	again := w.token(id)
	require.Equal(t, version+1, again.Version)
	require.Equal(t, got.Settings, again.Settings)
	require.Empty(t, w.errs)
}

func TestEveryChangeIsGuarded(t *testing.T) {
	w := newFixture(t, nil)
	id := w.issue(latchkey.Spec{Kind: latchkey.KindAPIKey, Name: "k"}).ID
	role, err := w.acme.CreateRole(t.Context(), latchkey.Role{Name: "reader"})
	require.NoError(t, err)
	before := fmt.Sprint(w.token(id), w.count())
	form := "application/x-www-form-urlencoded"
	posts := 0
	for at, p := range pages {
		path := strings.Replace(at, "*", id, 1)
		if strings.HasPrefix(at, "role/") {
			path = strings.Replace(at, "*", role.ID, 1)
		}
		if p.post != nil {
			posts++
			for name, header := range map[string][]string{
				"no origin":     {"Content-Type", form},
				"another":       {"Content-Type", form, "Origin", "https://evil.test"},
				"null":          {"Content-Type", form, "Origin", "null"},
				"cross-site":    {"Content-Type", form, "Sec-Fetch-Site", "cross-site"},
				"same-site":     {"Content-Type", form, "Sec-Fetch-Site", "same-site"},
				"text/plain":    {"Content-Type", "text/plain", "Sec-Fetch-Site", "same-origin"},
				"multipart":     {"Content-Type", "multipart/form-data; boundary=x", "Sec-Fetch-Site", "same-origin"},
				"no media type": {"Sec-Fetch-Site", "same-origin"},
			} {
				require.Equal(t, http.StatusForbidden, w.do("POST", path, "a=b", header...).Code, "%s: %s", at, name)
			}
		}
		rec := w.do("GET", path, "")
		if p.get == nil {
			require.Equal(t, http.StatusMethodNotAllowed, rec.Code)
		}
		for _, method := range []string{"PUT", "DELETE", "PATCH"} {
			require.Contains(t, []int{403, 405}, w.do(method, path, "", "Origin", "http://console.test").Code)
		}
	}
	require.GreaterOrEqual(t, posts, 11)
	require.Equal(t, before, fmt.Sprint(w.token(id), w.count()), "no GET and no foreign POST changed anything")
	require.Equal(t, http.StatusSeeOther,
		w.do("POST", "token/"+id+"/disable", "", "Content-Type", form, "Origin", "http://console.test").Code,
		"an own page without Sec-Fetch")
}

func TestOwnersAndRights(t *testing.T) {
	w := newFixture(t, nil)
	id := w.issue(latchkey.Spec{Kind: latchkey.KindAPIKey, Name: "acme's key"}).ID
	other := w.keys.For("other")
	w.owner, w.who = other, must(other.Assume(latchkey.Client{ID: "eve"}, everything))
	require.NotContains(t, w.get(""), "acme&#39;s key")
	for at, p := range pages {
		if strings.HasPrefix(at, "token/*") {
			path := strings.Replace(at, "*", id, 1)
			if p.get != nil {
				require.Equal(t, http.StatusNotFound, w.do("GET", path, "").Code, at)
			}
			if p.post != nil {
				require.Equal(t, http.StatusNotFound, w.post(path, url.Values{"overlap": {"0s"}}).Code, at)
			}
		}
	}
	w.owner = w.acme // the host confuses them: fail closed
	require.Equal(t, http.StatusUnauthorized, w.do("GET", "", "").Code)
	w.who = latchkey.Access{}
	require.Equal(t, http.StatusUnauthorized, w.do("GET", "", "").Code)

	// A person who may only read.
	w.who = must(w.acme.Assume(latchkey.Client{ID: "bob"},
		latchkey.Permissions{latchkey.Allow(latchkey.Read).On("latchkey/*")}))
	page := w.get("")
	require.Contains(t, page, "acme&#39;s key")
	require.NotContains(t, page, "Create a token")
	page = w.get("token/" + id)
	require.NotContains(t, page, "Revoke")
	require.Equal(t, http.StatusForbidden, w.post("token/"+id, formOf(page)).Code)
	require.Equal(t, http.StatusForbidden, w.post("token/"+id+"/revoke", nil).Code)
	require.Equal(t, http.StatusForbidden, w.post("token/"+id+"/reveal", nil).Code)
	require.True(t, errors.Is(w.errs[len(w.errs)-1], latchkey.ErrDenied))
}

func TestAddressesLeadNowhereElse(t *testing.T) {
	w := newFixture(t, nil)
	for _, path := range []string{"x", "/evil.test", "token/", "token//rotate", "token/a/b/c", "static/",
		"static/../console.css", "%2e%2e/"} {
		r := httptest.NewRequest("GET", "/", nil)
		r.URL.Path = "/" + path
		rec := httptest.NewRecorder()
		Handler(func(*http.Request) (latchkey.Account, latchkey.Access, error) { return w.owner, w.who, nil },
			nil).ServeHTTP(rec, r)
		require.Equal(t, http.StatusNotFound, rec.Code, path)
		require.Empty(t, rec.Header().Get("Location"))
	}
	id := w.issue(latchkey.Spec{Kind: latchkey.KindAPIKey, Name: "k"}).ID
	for _, query := range []string{"after=//evil.test", "made=//evil.test", "q=%5cevil", "before=https://evil.test",
		"list=//evil.test", "list=https%3A%2F%2Fevil.test%2F%3Fq%3Dx", "sort=//evil.test", "role=//evil.test"} {
		for _, path := range []string{"", "token/" + id, "token/" + id + "/revoke"} {
			for _, m := range regexp.MustCompile(`(?:href|action)="([^"]*)"`).FindAllStringSubmatch(w.get(path+"?"+query), -1) {
				to, err := url.Parse(unhtml.Replace(m[1]))
				require.NoError(t, err)
				require.Empty(t, to.Scheme+to.Host, m[1])
			}
		}
		if to := w.post("", url.Values{"q": {query}}).Header().Get("Location"); to != "" {
			require.True(t, strings.HasPrefix(to, "./?"), to)
		}
	}
	require.Equal(t, http.StatusBadRequest, w.do("GET", "?q=%ff", "").Code)
	for name := range staticFiles {
		rec := w.do("GET", "static/"+name, "")
		require.Equal(t, http.StatusOK, rec.Code)
		require.Contains(t, rec.Header().Get("Cache-Control"), "immutable")
	}
	require.Panics(t, func() { Handler(nil, nil) })
	require.Panics(t, func() {
		Handler(func(*http.Request) (latchkey.Account, latchkey.Access, error) { panic("") },
			&Options{FrameAncestors: []string{"a; b"}})
	})
}

// An Access of another account or Manager, or of a test token, counts as not signed in.
func TestAccessFromElsewhere(t *testing.T) {
	w := newFixture(t, nil)
	require.Equal(t, 200, w.do("GET", "", "").Code)
	_, sandbox, err := w.acme.Issue(t.Context(), latchkey.Spec{Kind: latchkey.KindSecret, Test: true})
	require.NoError(t, err)
	test, err := w.acme.Verify(t.Context(), latchkey.Presented{Secret: sandbox.Reveal(), Test: true})
	require.NoError(t, err)
	second := latchkey.New(&w.reads, nil)
	for name, who := range map[string]latchkey.Access{
		"test token":      test,
		"another owner":   must(w.keys.For("other").Assume(latchkey.Client{ID: "ada"}, everything)),
		"another manager": must(second.For("acme").Assume(latchkey.Client{ID: "ada"}, everything)),
	} {
		w.who = who
		require.Equal(t, 401, w.do("GET", "", "").Code, name)
		require.Equal(t, 401, w.do("POST", "new", "").Code, name)
	}
}

// Rules of the host's own that Assume refuses are no mistake of the person who is signed in.
func TestRulesThatAssumeRefuses(t *testing.T) {
	acme := latchkey.New(memstore.New(nil), nil).For("acme")
	var log bytes.Buffer
	h := Handler(func(*http.Request) (latchkey.Account, latchkey.Access, error) {
		access, err := acme.Assume(latchkey.Client{ID: "ada"}, latchkey.Permissions{latchkey.Allow("Read").On("*")})
		return acme, access, err
	}, &Options{Logger: slog.New(slog.NewTextHandler(&log, nil))})
	out := httptest.NewRecorder()
	h.ServeHTTP(out, httptest.NewRequest("GET", "/", nil))
	require.Equal(t, 500, out.Code)
	require.NotContains(t, out.Body.String(), "rule 1")
	require.Contains(t, log.String(), "rule 1")
}

// TestNoPageIsHeavy fills every list with entries of maximal length; do checks the size of each page.
func TestNoPageIsHeavy(t *testing.T) {
	if testing.Short() {
		t.Skip("nothing runs beside it: the run without the race detector is enough")
	}
	w := newFixture(t, &Options{Names: func(*http.Request) (out []string) {
		for i := range 500 {
			out = append(out, strings.Repeat("N", 3*maxNameLength/4)+fmt.Sprint(i))
		}
		return append(out, strings.Repeat("N", 500))
	}})
	ctx := t.Context()
	var rules, sets latchkey.Permissions
	for i := range 60 {
		rules = append(rules, latchkey.Allow(latchkey.Read).On(latchkey.Pattern(fmt.Sprintf("dataset/ACME/SET%d", i))).
			Where(latchkey.Where("note", latchkey.Eq, strings.Repeat(`"<&`, 5*i))))
		sets = append(sets, latchkey.Allow(latchkey.Read).On(latchkey.Pattern(fmt.Sprintf("dataset/ACME/%s%d",
			strings.Repeat("S", 8*i), i))))
	}
	var roles []string
	for i := range 200 {
		r, err := w.acme.CreateRole(ctx, latchkey.Role{Name: fmt.Sprint(strings.Repeat("department ", 20), i),
			Permissions: rules})
		require.NoError(t, err)
		roles = append(roles, r.ID)
	}
	var id string
	for i := range 30 {
		id = w.issue(latchkey.Spec{Kind: latchkey.KindAPIKey,
			Name: fmt.Sprint(strings.Repeat("customer ", 27), i), Roles: roles[:150], Permissions: append(sets, rules...)}).ID
	}
	for _, path := range []string{"", "roles", "usage", "token/" + id, "token/" + id + "?chips=45",
		"token/" + id + "/access", "role/" + roles[0],
		"role/" + roles[0] + "?at=50", "role/" + roles[0] + "/access"} {
		w.get(path)
	}
	// All of it can be saved unchanged.
	before := w.token(id).Settings
	require.Equal(t, http.StatusSeeOther, w.post("token/"+id, w.form("token/"+id)).Code)
	require.Equal(t, before, w.token(id).Settings)
	require.Equal(t, http.StatusSeeOther, w.post("role/"+roles[0], w.form("role/"+roles[0]+"?at=50")).Code)
	r, err := w.acme.Role(ctx, roles[0])
	require.NoError(t, err)
	require.Equal(t, ruleTexts(rules), ruleTexts(r.Permissions))
}

// The script asks for the icon with a query, to learn whether the server can be reached: no cache may answer.
func TestTheServerItselfIsAsked(t *testing.T) {
	w := newFixture(t, nil)
	for path, want := range map[string]string{"static/" + iconName: "public, max-age=31536000, immutable",
		"static/" + iconName + "?1796087353348": "no-store"} {
		rec := httptest.NewRecorder()
		w.mux.ServeHTTP(rec, httptest.NewRequest("GET", "/any/where/"+path, nil))
		require.Equal(t, http.StatusOK, rec.Code)
		require.Equal(t, want, rec.Header().Get("Cache-Control"), path)
	}
}
