package console

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"html"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"net/url"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/latchkey-go/latchkey"
	"github.com/latchkey-go/latchkey/memstore"
)

// world is a console under a prefix, and who is signed in.
type fixture struct {
	t     *testing.T
	now   time.Time
	keys  *latchkey.Manager
	acme  latchkey.Account
	who   latchkey.Access
	owner latchkey.Account // of the console that is visited
	mux   *http.ServeMux
	log   bytes.Buffer
	errs  []error
	reads counting
}

// counting counts the listings a page costs.
type counting struct {
	latchkey.Store
	tokens, usage, owners, others, once int
	before                              func() // called before each Write
}

func (c *counting) Once(ctx context.Context, owner string, key [32]byte, until time.Time) error {
	c.once++
	return c.Store.Once(ctx, owner, key, until)
}

func (c *counting) Write(ctx context.Context, w latchkey.Write) (uint64, error) {
	if c.before != nil {
		c.before()
	}
	return c.Store.Write(ctx, w)
}

func (c *counting) Load(ctx context.Context, owner, id string) (latchkey.Found, error) {
	c.others++
	return c.Store.Load(ctx, owner, id)
}

func (c *counting) Secrets(ctx context.Context, owner, id string) ([]latchkey.SecretRecord, error) {
	c.others++
	return c.Store.Secrets(ctx, owner, id)
}

func (c *counting) Role(ctx context.Context, owner, id string) (latchkey.Role, error) {
	c.others++
	return c.Store.Role(ctx, owner, id)
}

func (c *counting) Roles(ctx context.Context, owner string, q latchkey.RoleQuery) ([]latchkey.Role, error) {
	c.others++
	return c.Store.Roles(ctx, owner, q)
}

func (c *counting) Owner(ctx context.Context, owner string) (latchkey.Owner, error) {
	c.owners++
	return c.Store.Owner(ctx, owner)
}

func (c *counting) Tokens(ctx context.Context, owner string, q latchkey.TokenQuery) ([]latchkey.Token, error) {
	c.tokens++
	return c.Store.Tokens(ctx, owner, q)
}

func (c *counting) Usage(ctx context.Context, owner string, q latchkey.UsageQuery) ([]latchkey.UsageRow, error) {
	c.usage++
	return c.Store.Usage(ctx, owner, q)
}

var everything = latchkey.Permissions{latchkey.Allow(latchkey.Any).On("*"), latchkey.Allow(latchkey.Any).On("latchkey/*")}

func newFixture(t *testing.T, opts *Options) *fixture {
	w := &fixture{t: t, now: time.Date(2026, 11, 22, 9, 0, 0, 0, time.UTC), mux: http.NewServeMux()}
	clock := func() time.Time { return w.now }
	key, err := latchkey.GenerateKey(nil, 1)
	require.NoError(t, err)
	ring, err := latchkey.NewKeyring(key)
	require.NoError(t, err)
	w.reads.Store = memstore.New(&memstore.Options{Clock: clock})
	w.keys = latchkey.New(&w.reads, &latchkey.Options{Clock: clock, Keyring: ring})
	t.Cleanup(func() { _ = w.keys.Close(t.Context()) })
	w.acme = w.keys.For("acme")
	w.owner, w.who = w.acme, w.acme.Assume(latchkey.Client{ID: "ada", Name: "Ada"}, everything)
	if opts == nil {
		opts = &Options{}
	}
	opts.Clock = clock
	opts.OnError = func(_ *http.Request, err error) { w.errs = append(w.errs, err) }
	opts.Logger = slog.New(slog.NewTextHandler(&w.log, nil))
	Mount(w.mux, "/any/where", func(*http.Request) (latchkey.Account, latchkey.Access, error) {
		if w.who == (latchkey.Access{}) {
			return latchkey.Account{}, latchkey.Access{}, latchkey.ErrInvalidToken
		}
		return w.owner, w.who, nil
	}, opts)
	return w
}

func (w *fixture) do(method, path, body string, header ...string) *httptest.ResponseRecorder {
	w.t.Helper()
	r := httptest.NewRequest(method, "http://console.test/any/where/"+path, strings.NewReader(body))
	if method == http.MethodPost && header == nil {
		header = []string{"Sec-Fetch-Site", "same-origin", "Content-Type", "application/x-www-form-urlencoded"}
	}
	for i := 0; i+1 < len(header); i += 2 {
		r.Header.Set(header[i], header[i+1])
	}
	rec := httptest.NewRecorder()
	w.mux.ServeHTTP(rec, r)
	require.Contains(w.t, rec.Header().Get("Content-Security-Policy"), "frame-ancestors 'none'", path)
	require.NotContains(w.t, rec.Header().Get("Content-Security-Policy"), "unsafe")
	if !strings.HasPrefix(path, "static/") || rec.Code != http.StatusOK {
		require.Equal(w.t, "no-store", rec.Header().Get("Cache-Control"), path)
	}
	require.Less(w.t, rec.Body.Len()+len(staticFiles[styleName])+len(staticFiles[scriptName])+len(staticFiles[iconName]), 60_000, path)
	return rec
}

func (w *fixture) get(path string) string {
	w.t.Helper()
	rec := w.do("GET", path, "")
	require.Equal(w.t, http.StatusOK, rec.Code, "%s: %s", path, rec.Body)
	return rec.Body.String()
}

func (w *fixture) post(path string, form url.Values) *httptest.ResponseRecorder {
	w.t.Helper()
	return w.do("POST", path, form.Encode())
}

// form is what a browser would send of the form of a page whose action fits, as it was drawn.
func (w *fixture) form(page string) url.Values {
	w.t.Helper()
	return formOf(w.get(page))
}

var (
	inputs    = regexp.MustCompile(`<input ([^>]*)>`)
	areas     = regexp.MustCompile(`<textarea ([^>]*)>([^<]*)</textarea>`)
	selects   = regexp.MustCompile(`(?s)<select name="([^"]*)"[^>]*>(.*?)</select>`)
	selected  = regexp.MustCompile(`<option value="([^"]*)" selected>`)
	attribute = func(name, in string) string {
		m := regexp.MustCompile(`(?:^|\s)` + name + `="([^"]*)"`).FindStringSubmatch(in)
		if m == nil {
			return ""
		}
		return unhtml.Replace(m[1])
	}
	unhtml unescaper
)

// unescaper reads HTML's character references.
type unescaper struct{}

func (unescaper) Replace(s string) string { return html.UnescapeString(s) }

func formOf(page string) url.Values {
	form := url.Values{}
	for _, m := range inputs.FindAllStringSubmatch(page, -1) {
		name, kind := attribute("name", m[1]), attribute("type", m[1])
		if name == "" || (kind == "checkbox" || kind == "radio") && !strings.Contains(m[1], " checked") {
			continue
		}
		form.Add(name, attribute("value", m[1]))
	}
	for _, m := range areas.FindAllStringSubmatch(page, -1) {
		form.Add(attribute("name", m[1]), unhtml.Replace(m[2]))
	}
	for _, m := range selects.FindAllStringSubmatch(page, -1) {
		s := selected.FindStringSubmatch(m[2])
		if s == nil {
			s = regexp.MustCompile(`<option value="([^"]*)"`).FindStringSubmatch(m[2])
		}
		form.Add(m[1], s[1])
	}
	return form
}

func (w *fixture) issue(spec latchkey.Spec) latchkey.Token {
	w.t.Helper()
	t, _, err := w.acme.Issue(w.t.Context(), spec)
	require.NoError(w.t, err)
	return t
}

func (w *fixture) token(id string) latchkey.Token {
	w.t.Helper()
	t, err := w.acme.Get(w.t.Context(), id)
	require.NoError(w.t, err)
	return t
}

func (w *fixture) count() (n int) {
	for _, err := range w.acme.Tokens(w.t.Context(), latchkey.TokenQuery{}) {
		require.NoError(w.t, err)
		n++
	}
	return n
}

func TestTheWalkThrough(t *testing.T) {
	w := newFixture(t, nil)
	w.issue(latchkey.Spec{Kind: latchkey.KindSecret, Settings: latchkey.Settings{Name: "root"}})
	require.Contains(t, w.get(""), `href="new"`)

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
	require.Equal(t, latchkey.Credits(1_000_500_000), got.Limits.Credits)
	require.Equal(t, []string{"allow read on core/*", "allow read on premium/*",
		"allow read, create, update on dataset/ACME/CARS"}, ruleTexts(got.Permissions))

	// The token behaves so.
	access, err := w.acme.Verify(t.Context(), latchkey.Presented{Secret: got.Public, Referer: "https://www.example.com/x"})
	require.NoError(t, err)
	require.True(t, access.Allows(latchkey.Update, "dataset/ACME/CARS"))
	require.False(t, access.Allows(latchkey.Delete, "dataset/ACME/CARS"))
	_, err = w.acme.Verify(t.Context(), latchkey.Presented{Secret: got.Public, Referer: "https://evil.test/"})
	require.ErrorIs(t, err, latchkey.ErrReferer)

	// Saving a form as it was drawn changes nothing.
	version := got.Version
	rec = w.post("token/"+id, w.form("token/"+id))
	require.Equal(t, http.StatusSeeOther, rec.Code)
	again := w.token(id)
	require.Equal(t, version+1, again.Version)
	require.Equal(t, got.Settings, again.Settings)
	require.Empty(t, w.errs)
}

func TestEveryFieldIsKept(t *testing.T) {
	w := newFixture(t, nil)
	role, err := w.acme.CreateRole(t.Context(), latchkey.Role{Name: "reader"})
	require.NoError(t, err)
	id := w.issue(latchkey.Spec{Kind: latchkey.KindAPIKey, Settings: latchkey.Settings{Name: " odd ", Roles: []string{role.ID},
		Permissions: latchkey.Permissions{latchkey.Deny(latchkey.Any).On("core/x"), latchkey.Allow(latchkey.Read).On("core/*")},
		Limits:      latchkey.Limits{Credits: 1, Rate: latchkey.Rate{Count: 7, Per: 90 * time.Second, Burst: 3}},
		Validity:    latchkey.Validity{NotAfter: w.now.Add(time.Hour + 1500*time.Millisecond), Idle: time.Hour},
		Extra:       []byte(`{"a": 1}`)}}).ID
	before := w.token(id)
	rec := w.post("token/"+id, w.form("token/"+id))
	require.Equal(t, http.StatusSeeOther, rec.Code, rec.Body)
	after := w.token(id)
	after.Name = before.Name // spaces around a name are typing
	require.Equal(t, before.Settings, after.Settings)
}

func TestBadEntriesAreKeptAndExplained(t *testing.T) {
	w := newFixture(t, nil)
	id := w.issue(latchkey.Spec{Kind: latchkey.KindPublishable, Settings: latchkey.Settings{Name: "site"}}).ID
	for field, c := range map[string]struct{ value, says string }{
		"name":    {strings.Repeat("x", 257), "At most 256 bytes"},
		"domains": {"exa mple.com/../x", "it has no valid host|segment"},
		"credits": {"ten", "A number above 0"},
		"rate":    {"-1", "Whole numbers"},
		"end":     {"2020-01-01T00:00", "This is past"},
		"add":     {"nothing", "Choose what is to be allowed"},
	} {
		form := w.form("token/" + id)
		form.Set("name", "kept & shown")
		form.Set(field, c.value)
		rec := w.post("token/"+id, form)
		require.Equal(t, http.StatusUnprocessableEntity, rec.Code, field)
		require.Regexp(t, c.says, rec.Body.String(), field)
		require.Contains(t, rec.Body.String(), `class="wrong"`)
		again := formOf(rec.Body.String())
		require.Equal(t, c.value, again.Get(field), "what was typed is still there")
		if field != "name" {
			require.Equal(t, "kept & shown", again.Get("name"))
		}
		require.Equal(t, "site", w.token(id).Name, "nothing was saved")
	}
}

func TestTheSecondSaverIsTold(t *testing.T) {
	w := newFixture(t, nil)
	id := w.issue(latchkey.Spec{Kind: latchkey.KindPublishable, Settings: latchkey.Settings{Name: "site"}}).ID
	mine, theirs := w.form("token/"+id), w.form("token/"+id)
	theirs.Set("domains", "theirs.example")
	require.Equal(t, http.StatusSeeOther, w.post("token/"+id, theirs).Code)
	mine.Set("name", "my name")
	rec := w.post("token/"+id, mine)
	require.Equal(t, http.StatusConflict, rec.Code)
	require.Contains(t, rec.Body.String(), "theirs.example", "what they saved")
	require.Contains(t, rec.Body.String(), "my name", "what was typed")
	require.Equal(t, "site", w.token(id).Name)
	require.Equal(t, []string{"theirs.example"}, w.token(id).Restrictions.Domains)
	again := formOf(rec.Body.String())
	again.Set("domains", "theirs.example")
	require.Equal(t, http.StatusSeeOther, w.post("token/"+id, again).Code)
	require.Equal(t, "my name", w.token(id).Name)
	require.Equal(t, []string{"theirs.example"}, w.token(id).Restrictions.Domains)

	// What they added stands in the form, not ticked: it goes when it is left so, and stays when it is ticked.
	for _, tick := range []bool{true, false} {
		mine, theirs = w.form("token/"+id), w.form("token/"+id)
		theirs.Set("add", "acme/theirs")
		theirs.Set("addright", "2")
		require.Equal(t, http.StatusSeeOther, w.post("token/"+id, theirs).Code)
		mine.Del("chip")
		rec = w.post("token/"+id, mine)
		require.Equal(t, http.StatusConflict, rec.Code)
		require.Contains(t, rec.Body.String(), `value="2 dataset/ACME/THEIRS">`)
		again = formOf(rec.Body.String())
		require.Empty(t, again["chip"])
		if tick {
			again["chip"] = []string{"2 dataset/ACME/THEIRS"}
		}
		require.Equal(t, http.StatusSeeOther, w.post("token/"+id, again).Code)
		require.Equal(t, tick, w.token(id).Permissions.Allows(latchkey.Read, "dataset/ACME/THEIRS"))
	}
}

func TestAFormSentTwiceMakesOneToken(t *testing.T) {
	w := newFixture(t, nil)
	form := w.form("new?kind=api_key")
	first, second := w.post("new", form), w.post("new", form)
	require.Equal(t, http.StatusOK, first.Code)
	secret := regexp.MustCompile(`ak_\w{40}`)
	require.NotEmpty(t, secret.FindString(first.Body.String()))
	require.Equal(t, secret.FindString(first.Body.String()), secret.FindString(second.Body.String()),
		"a browser shows the second reply")
	require.Equal(t, 1, w.count())
	w.now = w.now.Add(time.Minute)
	later := w.post("new", form)
	require.Empty(t, secret.FindString(later.Body.String()), "shown once")
	require.Contains(t, later.Body.String(), "sent before")
	require.Equal(t, 1, w.count())

	form.Set("form", "short")
	require.Equal(t, http.StatusConflict, w.post("new", form).Code)
	form.Set("kind", "access")
	require.Equal(t, http.StatusUnprocessableEntity, w.post("new", form).Code)
	require.Equal(t, 1, w.count())
}

func TestSecretsComeOutOnlyWhereTheyAreAskedFor(t *testing.T) {
	w := newFixture(t, nil)
	token, secret, err := w.acme.Issue(t.Context(), latchkey.Spec{Kind: latchkey.KindAPIKey, Settings: latchkey.Settings{Name: "k"}})
	require.NoError(t, err)
	shown := func(body string) bool { return strings.Contains(body, secret.Reveal()) }
	for _, path := range []string{"", "token/" + token.ID, "token/" + token.ID + "/reveal", "token/" + token.ID + "/rotate",
		"token/" + token.ID + "/revoke", "token/" + token.ID + "/access", "token/" + token.ID + "/usage", "usage"} {
		require.False(t, shown(w.get(path)), path)
	}
	rec := w.post("token/"+token.ID+"/reveal", nil)
	require.True(t, shown(rec.Body.String()))
	last := ""
	for e, err := range w.acme.Events(t.Context(), 0) {
		require.NoError(t, err)
		last = e.Actor + " " + e.Action + " " + e.Object
	}
	require.Equal(t, "client:ada token.reveal "+token.ID, last)

	rotate := func(overlap string) *httptest.ResponseRecorder {
		form := w.form("token/" + token.ID + "/rotate")
		form.Set("overlap", overlap)
		return w.post("token/"+token.ID+"/rotate", form)
	}
	rec = rotate("24h0m0s")
	fresh := regexp.MustCompile(`ak_\w{40}`).FindString(rec.Body.String())
	require.NotEmpty(t, fresh)
	require.False(t, shown(rec.Body.String()))
	for _, text := range []string{fresh, secret.Reveal()} {
		_, err := w.acme.Verify(t.Context(), latchkey.Presented{Secret: text})
		require.NoError(t, err)
	}
	rec = w.post("token/"+token.ID+"/rotate", nil)
	require.Equal(t, http.StatusUnprocessableEntity, rec.Code)
	rotate("0s")
	_, err = w.acme.Verify(t.Context(), latchkey.Presented{Secret: fresh})
	require.ErrorIs(t, err, latchkey.ErrInvalidToken)
	require.NotContains(t, w.log.String(), fresh)
}

func TestDisableEnableRevoke(t *testing.T) {
	w := newFixture(t, nil)
	id := w.issue(latchkey.Spec{Kind: latchkey.KindAPIKey, Settings: latchkey.Settings{Name: "k"}}).ID
	for _, c := range []struct{ do, state string }{{"disable", "disabled"}, {"enable", "active"}, {"revoke", "revoked"}} {
		page := w.get("token/" + id + "/" + c.do)
		require.Contains(t, page, "at once", "it says when it holds")
		before := w.token(id)
		require.Equal(t, before.Version, w.token(id).Version, "asking changes nothing")
		rec := w.post("token/"+id+"/"+c.do, url.Values{"reason": {"left"}})
		require.Equal(t, http.StatusSeeOther, rec.Code, rec.Body)
		require.Equal(t, c.state, w.token(id).State(w.now).String())
	}
	require.Equal(t, "left", w.token(id).Reason)
	require.Contains(t, w.get(""), "Revoked")
	require.NotContains(t, w.get("token/"+id), "/rotate")
}

func TestEveryChangeIsGuarded(t *testing.T) {
	w := newFixture(t, nil)
	id := w.issue(latchkey.Spec{Kind: latchkey.KindAPIKey, Settings: latchkey.Settings{Name: "k"}}).ID
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
		w.do("POST", "token/"+id+"/disable", "", "Content-Type", form, "Origin", "http://console.test").Code, "an own page without Sec-Fetch")
}

func TestOwnersAndRights(t *testing.T) {
	w := newFixture(t, nil)
	id := w.issue(latchkey.Spec{Kind: latchkey.KindAPIKey, Settings: latchkey.Settings{Name: "acme's key"}}).ID
	other := w.keys.For("other")
	w.owner, w.who = other, other.Assume(latchkey.Client{ID: "eve"}, everything)
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
	w.owner = w.acme // the host mixes them up: fail closed
	require.Equal(t, http.StatusUnauthorized, w.do("GET", "", "").Code)
	w.who = latchkey.Access{}
	require.Equal(t, http.StatusUnauthorized, w.do("GET", "", "").Code)

	// Somebody who may look only.
	w.who = w.acme.Assume(latchkey.Client{ID: "bob"}, latchkey.Permissions{latchkey.Allow(latchkey.Read).On("latchkey/*")})
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
