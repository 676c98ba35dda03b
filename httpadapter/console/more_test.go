package console

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/latchkey-go/latchkey"
)

func TestRoles(t *testing.T) {
	w := newFixture(t, nil)
	ctx := t.Context()
	form := w.form("role")
	form.Set("name", "reader")
	form.Set("rule[0][verb]", "allow")
	form.Set("rule[0][actions]", "read, list")
	form.Set("rule[0][on]", "dataset/*\r\nfile/a, b")
	form.Set("rule[0][where]", `{"field":"region","op":"=","value":"EU"}`)
	rec := w.post("role", form)
	require.Equal(t, http.StatusSeeOther, rec.Code, rec.Body)
	var role latchkey.Role
	for r, err := range w.acme.Roles(ctx, latchkey.RoleQuery{}) {
		require.NoError(t, err)
		role = r
	}
	require.Equal(t, []string{`allow read, list on dataset/*, "file/a, b" where region = "EU"`}, ruleTexts(role.Permissions))
	require.Contains(t, w.get("roles"), `allow read, list on dataset/*`)

	// A form sent as it was drawn changes no rule.
	require.Equal(t, http.StatusSeeOther, w.post("role/"+role.ID, w.form("role/"+role.ID)).Code)
	same, err := w.acme.Role(ctx, role.ID)
	require.NoError(t, err)
	require.Equal(t, ruleTexts(role.Permissions), ruleTexts(same.Permissions))

	// Rules are added, moved and removed by buttons, and saved only at the end.
	form = w.form("role/" + role.ID)
	form.Set("do", "add")
	form = formOf(w.post("role/"+role.ID, form).Body.String())
	form.Set("rule[1][verb]", "deny")
	form.Set("rule[1][actions]", "*")
	form.Set("rule[1][on]", "dataset/secret")
	form.Set("do", "up-1")
	rec = w.post("role/"+role.ID, form)
	require.Equal(t, http.StatusOK, rec.Code)
	form = formOf(rec.Body.String())
	require.Equal(t, "dataset/secret", form.Get("rule[0][on]"))
	form.Set("rule[0][verb]", "deny")
	stale := url.Values{}
	for k, v := range form {
		stale[k] = v
	}
	require.Equal(t, http.StatusSeeOther, w.post("role/"+role.ID, form).Code)
	role, err = w.acme.Role(ctx, role.ID)
	require.NoError(t, err)
	require.Equal(t, "deny any action on dataset/secret", ruleTexts(role.Permissions)[0])

	// A boundary is read aloud, and kept.
	require.NotContains(t, w.get("role/"+role.ID), "Boundary")
	for want, boundary := range map[string]latchkey.Permissions{
		"It lets nothing through":   {},
		"allow read on dataset/a/*": {latchkey.Allow(latchkey.Read).On("dataset/a/*")},
	} {
		_, err = w.acme.UpdateRole(ctx, role.ID, func(r *latchkey.Role) error { r.Boundary = boundary; return nil })
		require.NoError(t, err)
		require.Contains(t, w.get("role/"+role.ID), want)
		require.Equal(t, http.StatusSeeOther, w.post("role/"+role.ID, w.form("role/"+role.ID)).Code)
		role, err = w.acme.Role(ctx, role.ID)
		require.NoError(t, err)
		require.Equal(t, ruleTexts(boundary), ruleTexts(role.Boundary))
		require.NotNil(t, role.Boundary)
	}

	stale.Set("name", "theirs")
	rec = w.post("role/"+role.ID, stale)
	require.Equal(t, http.StatusConflict, rec.Code, "the second saver is told")
	require.Equal(t, "theirs", formOf(rec.Body.String()).Get("name"), "and nothing is lost")

	for field, value := range map[string]string{"rule[0][actions]": "READ", "rule[0][on]": "", "rule[0][where]": "{", "rule[0][force]": "[]",
		"rule[0][verb]": "perhaps"} {
		form := w.form("role/" + role.ID)
		form.Set(field, value)
		rec := w.post("role/"+role.ID, form)
		require.Equal(t, http.StatusUnprocessableEntity, rec.Code, field)
		require.Contains(t, rec.Body.String(), `class="wrong"`, field)
	}
	form = w.form("role")
	form.Set("name", "reader")
	rec = w.post("role", form)
	require.Equal(t, http.StatusUnprocessableEntity, rec.Code)
	require.Contains(t, rec.Body.String(), "Another role has this name")

	id := w.issue(latchkey.Spec{Kind: latchkey.KindAPIKey, Settings: latchkey.Settings{Roles: []string{role.ID}}}).ID
	rec = w.post("role/"+role.ID+"/delete", nil)
	require.Equal(t, http.StatusConflict, rec.Code)
	require.Contains(t, rec.Body.String(), "Take it away from them first")
	require.NoError(t, w.acme.Delete(ctx, id))
	require.Equal(t, http.StatusSeeOther, w.post("role/"+role.ID+"/delete", nil).Code)
	require.Equal(t, http.StatusNotFound, w.do("GET", "role/"+role.ID, "").Code)
}

func TestWhatATokenMayDo(t *testing.T) {
	schema := latchkey.NewSchema(latchkey.Fields{"region": {Column: "o.region", Type: latchkey.Text}})
	w := newFixture(t, &Options{Schema: func(on latchkey.Resource) (*latchkey.Schema, latchkey.Dialect) {
		if on == "dataset/orders" {
			return schema, latchkey.Postgres
		}
		return nil, 0
	}})
	role, err := w.acme.CreateRole(t.Context(), latchkey.Role{Name: "eu", Permissions: latchkey.Permissions{
		latchkey.Allow(latchkey.Read).On("dataset/*").Where(latchkey.Where("region", latchkey.Eq, "EU"))}})
	require.NoError(t, err)
	id := w.issue(latchkey.Spec{Kind: latchkey.KindAPIKey, Settings: latchkey.Settings{Roles: []string{role.ID}}}).ID
	page := w.get("token/" + id + "/access?action=read&resource=dataset/orders")
	require.Contains(t, page, "o.region = $1")
	require.Contains(t, page, ">EU</code>")
	require.Contains(t, page, "some rows")
	require.Contains(t, page, "dataset/…")
	page = w.get("token/" + id + "/access?action=read&resource=dataset/other")
	require.Contains(t, page, "knows no fields")
	page = w.get("token/" + id + "/access?action=delete&resource=dataset/orders")
	require.Contains(t, page, "no rule allows it")
	require.NotContains(t, page, "As SQL")
	page = w.get("role/" + role.ID + "/access?action=read&resource=dataset/orders")
	require.Contains(t, page, "role eu")
	require.Contains(t, w.get("token/"+id+"/access?action=READ&resource=a//b"), "denied whatever")
}

func TestUsagePages(t *testing.T) {
	w := newFixture(t, nil)
	token, secret, err := w.acme.Issue(t.Context(), latchkey.Spec{Kind: latchkey.KindAPIKey,
		Settings: latchkey.Settings{Name: "busy", Limits: latchkey.Limits{Credits: 4_000_000}}})
	require.NoError(t, err)
	access, err := w.acme.Verify(t.Context(), latchkey.Presented{Secret: secret.Reveal()})
	require.NoError(t, err)
	access.CountCredits("core", "GET /orders", 1204, 3_000_000)
	page := w.get("")
	require.Contains(t, page, `aria-label="1,204 in 14 days, 1,204 today"`)
	require.Contains(t, page, "M52 16v-16h3v16z", "the last bar is the highest")
	for _, path := range []string{"usage", "token/" + token.ID + "/usage?days=7"} {
		page = w.get(path)
		require.Contains(t, page, "most on 22 November: 1,204", path)
		require.Contains(t, page, "GET /orders")
	}
	require.Contains(t, page, "<b>3</b> of 4 credits")
	require.Contains(t, page, "75 percent of the limit")

	// Clients go by the newest name that a token was minted with, where there is one and the visitor may know it.
	for _, name := range []string{"Ada", "Ada <L.>"} {
		_, minted, err := w.keys.Mint(t.Context(), access, latchkey.Narrowing{Lifetime: time.Hour,
			Client: latchkey.Client{ID: "42", Name: name}})
		require.NoError(t, err)
		a, err := w.acme.Verify(t.Context(), latchkey.Presented{Secret: minted.Reveal()})
		require.NoError(t, err)
		a.Count("core", "GET /orders", 1)
	}
	w.acme.Assume(latchkey.Client{ID: "nameless"}, nil).Count("core", "GET /orders", 1)
	page = w.get("usage")
	require.Contains(t, page, "<bdi>Ada &lt;L.&gt; (42)</bdi>")
	require.Contains(t, page, "<bdi>nameless</bdi>")
	w.who = w.acme.Assume(latchkey.Client{ID: "bob"}, latchkey.Permissions{
		latchkey.Allow(latchkey.Read).On("latchkey/usage", "latchkey/token/*")})
	page = w.get("usage")
	require.Contains(t, page, "<bdi>42</bdi>")
	require.NotContains(t, page, "Ada")

	w.who = w.acme.Assume(latchkey.Client{ID: "bob"}, latchkey.Permissions{latchkey.Allow(latchkey.Read).On("latchkey/token/*")})
	require.NotContains(t, w.get(""), "1,204")
	require.Equal(t, http.StatusForbidden, w.do("GET", "usage", "").Code)
}

func TestPagesOfManyTokens(t *testing.T) {
	w := newFixture(t, nil)
	var names []string
	for i := range 60 {
		names = append(names, fmt.Sprintf("key %02d", i))
		w.issue(latchkey.Spec{Kind: latchkey.KindAPIKey, Settings: latchkey.Settings{Name: names[i]}})
	}
	shown := func(page string) (out []string) {
		for _, n := range names {
			if strings.Contains(page, "<bdi>"+n+"</bdi>") {
				out = append(out, n)
			}
		}
		return out
	}
	href := func(page, text string) string {
		_, after, ok := strings.Cut(strings.ReplaceAll(page, "\n", ""), `aria-label="Pages"`)
		require.True(t, ok)
		at := strings.Index(after, ">"+text+"</a>")
		require.Positive(t, at, "no link %s", text)
		start := strings.LastIndex(after[:at], `href="`)
		link, _, _ := strings.Cut(after[start+6:], `"`)
		return strings.TrimPrefix(unhtml.Replace(link), "./")
	}
	follow := func(link string) string {
		rec := w.do("GET", link, "")
		if rec.Code == http.StatusSeeOther {
			return w.get(strings.TrimPrefix(rec.Header().Get("Location"), "./"))
		}
		return rec.Body.String()
	}
	w.reads.tokens, w.reads.usage = 0, 0
	page := w.get("")
	require.Equal(t, []int{1, 1}, []int{w.reads.tokens, w.reads.usage}, "one reading of tokens and one of usage")
	require.Equal(t, names[:25], shown(page))
	page = follow(href(page, "Next"))
	require.Equal(t, names[25:50], shown(page))
	last := follow(href(page, "Last"))
	require.Equal(t, names[35:], shown(last))
	require.Equal(t, names[10:35], shown(follow(href(last, "Previous"))))
	require.Equal(t, names[:25], shown(follow(href(page, "Previous"))))
	require.Equal(t, names[:25], shown(follow(href(last, "First"))))

	require.Equal(t, []string{"key 07"}, shown(w.get("?q=key+07")))
	require.Contains(t, w.get("?q=nothing"), "No token fits")
	page = w.get("?q=key&kind=api_key&state=active")
	require.Contains(t, href(page, "Next"), "kind=api_key")
	require.Empty(t, shown(w.get("?state=revoked")))

	form := w.form("new")
	form.Set("name", "the newest")
	to := w.post("new", form).Header().Get("Location")
	page = w.get(strings.TrimPrefix(to, "./"))
	require.Contains(t, page, "Successfully created")
	require.Greater(t, strings.Index(page, "the newest"), strings.Index(page, "key 59"))
}

func TestExpiringTokensAreMarked(t *testing.T) {
	w := newFixture(t, nil)
	id := w.issue(latchkey.Spec{Kind: latchkey.KindAPIKey, Settings: latchkey.Settings{
		Validity: latchkey.Validity{NotAfter: w.now.Add(8 * 24 * time.Hour)}}}).ID
	for _, c := range []struct {
		after time.Duration
		word  string
	}{{0, "Active"}, {25 * time.Hour, "Expiring"}, {9 * 24 * time.Hour, "Expired"}} {
		token := w.token(id)
		require.Equal(t, c.word, stateOf(&token, w.now.Add(c.after)).Word)
	}
}

func TestAddressesLeadNowhereElse(t *testing.T) {
	w := newFixture(t, nil)
	for _, path := range []string{"x", "/evil.test", "token/", "token//rotate", "token/a/b/c", "static/", "static/../console.css", "%2e%2e/"} {
		r := httptest.NewRequest("GET", "/", nil)
		r.URL.Path = "/" + path
		rec := httptest.NewRecorder()
		Handler(func(*http.Request) (latchkey.Account, latchkey.Access, error) { return w.owner, w.who, nil }, nil).ServeHTTP(rec, r)
		require.Equal(t, http.StatusNotFound, rec.Code, path)
		require.Empty(t, rec.Header().Get("Location"))
	}
	for _, query := range []string{"after=//evil.test", "made=//evil.test", "q=%5cevil", "before=https://evil.test"} {
		rec := w.do("GET", "seek?"+query, "")
		require.True(t, strings.HasPrefix(rec.Header().Get("Location"), "./?"), rec.Header().Get("Location"))
	}
	require.Equal(t, http.StatusBadRequest, w.do("GET", "?q=%ff", "").Code)
	for name := range staticFiles {
		rec := w.do("GET", "static/"+name, "")
		require.Equal(t, http.StatusOK, rec.Code)
		require.Contains(t, rec.Header().Get("Cache-Control"), "immutable")
	}
	require.Panics(t, func() { Handler(nil, nil) })
	require.Panics(t, func() {
		Handler(func(*http.Request) (latchkey.Account, latchkey.Access, error) { panic("") }, &Options{FrameAncestors: []string{"a; b"}})
	})
}

func TestTextStaysText(t *testing.T) {
	w := newFixture(t, nil)
	hostile := `"><script>alert(1)</script><img src=x onerror=alert(1)>{{.}}` + "\u202e‘"
	role, err := w.acme.CreateRole(t.Context(), latchkey.Role{Name: hostile})
	require.NoError(t, err)
	id := w.issue(latchkey.Spec{Kind: latchkey.KindAPIKey, Settings: latchkey.Settings{Name: hostile, Roles: []string{role.ID}}}).ID
	for _, path := range []string{"", "?q=" + url.QueryEscape(hostile), "token/" + id, "token/" + id + "/revoke", "token/" + id + "/access",
		"token/" + id + "/access?action=read&resource=" + url.QueryEscape(hostile), "roles", "role/" + role.ID, "role/" + role.ID + "/access"} {
		page := w.get(path)
		require.NotContains(t, page, "<script>alert", path)
		require.NotContains(t, page, "<img src=x", path)
	}
	require.Equal(t, hostile, w.form("token/"+id).Get("name"))
}

// Whoever holds an Access that is not one of this account, of this Manager, or that is a test token's, is nobody here.
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
		"another owner":   w.keys.For("other").Assume(latchkey.Client{ID: "ada"}, everything),
		"another manager": second.For("acme").Assume(latchkey.Client{ID: "ada"}, everything),
	} {
		w.who = who
		require.Equal(t, 401, w.do("GET", "", "").Code, name)
		require.Equal(t, 401, w.do("POST", "new", "").Code, name)
	}
}

// A limit of nothing is typed as 0, shown as 0, and kept by a form that is sent as it was drawn.
func TestALimitOfNothing(t *testing.T) {
	w := newFixture(t, nil)
	tok := w.issue(latchkey.Spec{Kind: latchkey.KindAPIKey, Settings: latchkey.Settings{Name: "k"}})
	form := w.form("token/" + tok.ID)
	form.Set("credits", "0")
	require.Equal(t, 303, w.post("token/"+tok.ID, form).Code)
	require.Equal(t, latchkey.NoCredits, w.token(tok.ID).Limits.Credits)
	form = w.form("token/" + tok.ID)
	require.Equal(t, "0", form.Get("credits"))
	form.Set("name", "other")
	require.Equal(t, 303, w.post("token/"+tok.ID, form).Code)
	require.Equal(t, latchkey.NoCredits, w.token(tok.ID).Limits.Credits)
	form = w.form("token/" + tok.ID)
	form.Set("credits", "")
	require.Equal(t, 303, w.post("token/"+tok.ID, form).Code)
	require.Zero(t, w.token(tok.ID).Limits.Credits)
}
