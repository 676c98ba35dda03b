package console

import (
	"net/http"
	"net/url"
	"os"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/latchkey-go/latchkey"
)

const mark = `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 9 9"><circle cx="4" cy="4" r="4"/></svg>`

// The table of own colours says what the style sheet says, and can be told apart.
func TestOwnColours(t *testing.T) {
	css, err := os.ReadFile("assets/console.css")
	require.NoError(t, err)
	light, rest, _ := strings.Cut(string(css), "@media (prefers-color-scheme:dark)")
	dark, _, _ := strings.Cut(rest, "}}")
	for _, theme := range []struct {
		own Colours
		css string
	}{{ownLight, light}, {ownDark, dark}} {
		for _, f := range theme.own.fields() {
			short := *f.value
			if short[1:4] == short[4:] {
				short = short[:4]
			}
			require.Contains(t, theme.css, "--"+f.css+":"+short)
		}
		require.NotPanics(t, func() { styleOf("own", theme.own, theme.own) })
	}
}

func TestLookOfAHost(t *testing.T) {
	w := newFixture(t, &Options{Look: Look{Light: Colours{Accent: "#7a1fa2"}, Logo: []byte(mark), LogoIsName: true},
		Links: func(r *http.Request) []Link {
			return []Link{{Text: "Dashboard <1>", URL: "/dashboard"}, {Text: "Help", URL: "https://help.example/?q=1&r=2"}}
		}})
	for _, page := range []string{w.get(""), w.get("role")} {
		require.Contains(t, page, `<a href="/dashboard"><bdi>Dashboard &lt;1&gt;</bdi></a>`)
		require.Contains(t, page, `href="https://help.example/?q=1&amp;r=2"`)
		require.Contains(t, page, `<bdi class="sr">API Tokens</bdi>`)
		for _, file := range []string{"look.css", "logo"} {
			_, name, _ := strings.Cut(page, `="./static/`)
			for !strings.HasPrefix(name[13:], file) {
				_, name, _ = strings.Cut(name, `="./static/`)
			}
			name, _, _ = strings.Cut(name, `"`)
			rec := w.do("GET", "static/"+name, "")
			require.Equal(t, http.StatusOK, rec.Code)
			require.Contains(t, rec.Header().Get("Cache-Control"), "immutable")
			if file == "logo" {
				require.Equal(t, "image/svg+xml", rec.Header().Get("Content-Type"))
				require.Equal(t, mark, rec.Body.String())
				continue
			}
			require.Contains(t, rec.Body.String(), "--accent:#7a1fa2;")
			require.Contains(t, rec.Body.String(), "--on-accent:#ffffff")
			require.Contains(t, rec.Body.String(), "@media (prefers-color-scheme:dark){:root{--bg:#131517",
				"the dark theme stays as it was")
		}
	}
	forced := newLook(Look{Theme: "dark"})
	require.Contains(t, forced.files[forced.style], ":root{color-scheme:dark;--bg:#131517")
	require.Empty(t, newLook(Look{}).files)

	bad := newFixture(t, &Options{Links: func(*http.Request) []Link { return []Link{{Text: "x", URL: "javascript:x()"}} }})
	require.Equal(t, http.StatusInternalServerError, bad.do("GET", "", "").Code)
	require.NotContains(t, bad.do("GET", "", "").Body.String(), "javascript")
}

func TestLooksThatNobodyCouldRead(t *testing.T) {
	for want, l := range map[string]Look{
		"Light.Accent: the contrast":            {Light: Colours{Accent: "#9bd0d5"}},
		"Dark.Ink: the contrast":                {Dark: Colours{Ink: "#444444"}},
		"Dark.Accent: the contrast":             {Dark: Colours{Accent: "#0b5a63"}},
		"Light.Edge: the contrast":              {Light: Colours{Edge: "#dddddd"}},
		`Light.Card: "white" is no colour`:      {Light: Colours{Card: "white"}},
		`Dark.Bad: "#f00" is no colour`:         {Dark: Colours{Bad: "#f00"}},
		`Light.Ink: "#00000g" is no colour`:     {Light: Colours{Ink: "#00000g"}},
		`Light.Quiet: "#5a6066;}" is no colour`: {Light: Colours{Quiet: "#5a6066;}"}},
		"Look.Theme: \"sepia\"":                 {Theme: "sepia"},
		"is no SVG, PNG, WebP or JPEG image":    {Logo: []byte("<html><script>")},
		"has 9000 bytes; at most 8192":          {Logo: []byte("<svg " + strings.Repeat(" ", 8995))},
	} {
		func() {
			defer func() { require.Contains(t, recover(), want) }()
			newLook(l)
		}()
	}
}

// TestKindsThatTheHostAllows: others can neither be chosen nor be sent.
func TestKindsThatTheHostAllows(t *testing.T) {
	w := newFixture(t, &Options{Kinds: []latchkey.Kind{latchkey.KindAPIKey, latchkey.KindSession}})
	page := w.get("new")
	require.Contains(t, page, `value="api_key" checked`)
	require.NotContains(t, page, `value="secret"`)
	require.NotContains(t, w.get(""), "<dialog")
	form := w.form("new")
	for _, kind := range []string{"secret", "publishable", "access"} {
		form.Set("kind", kind)
		rec := w.post("new", form)
		require.Equal(t, http.StatusUnprocessableEntity, rec.Code, kind)
		require.Contains(t, rec.Body.String(), "Choose a kind of token.")
	}
	require.Zero(t, w.count())
	form.Set("kind", "session")
	require.Equal(t, http.StatusOK, w.post("new", form).Code)

	none := newFixture(t, &Options{Kinds: []latchkey.Kind{}})
	require.NotContains(t, none.get(""), `href="new"`)
	require.PanicsWithValue(t, `console: Options.Kinds: nobody can create a token of the kind "access"`, func() {
		newFixture(t, &Options{Kinds: []latchkey.Kind{latchkey.KindAccess}})
	})
}

// TestConfirm: before a secret or an end, the host may ask who it is once more. Nothing is done before, and nothing
// that was typed is lost.
func TestConfirm(t *testing.T) {
	ask, asked := "/password?back=1", []string(nil)
	w := newFixture(t, &Options{Confirm: func(r *http.Request) (string, error) {
		asked = append(asked, r.Method+" "+r.RequestURI)
		return ask, nil
	}})
	id := w.issue(latchkey.Spec{Kind: latchkey.KindAPIKey, Name: "k"}).ID
	role := w.role(latchkey.Role{Name: "r"})
	for _, path := range []string{"", "token/" + id, "token/" + id + "/access", "token/" + id + "/disable", "roles",
		"usage"} {
		w.get(path)
	}
	require.Equal(t, http.StatusSeeOther, w.post("token/"+id+"/disable", w.form("token/"+id+"/disable")).Code)
	require.Empty(t, asked, "nothing else asks")

	guarded := []string{"new", "token/" + id + "/rotate", "token/" + id + "/reveal", "token/" + id + "/signing",
		"role/" + role.ID + "/delete", "token/" + id + "/revoke"}
	before := w.token(id)
	forms := map[string]url.Values{}
	for _, path := range guarded {
		ask = ""
		forms[path] = w.form(path)
		ask = "/password?back=1"
		rec := w.do("GET", path, "")
		require.Equal(t, http.StatusSeeOther, rec.Code, path)
		require.Equal(t, ask, rec.Header().Get("Location"))
		require.Equal(t, "GET http://console.test/any/where/"+path, asked[len(asked)-1], "the host can send the browser back")

		forms[path].Set("reason", "found on a paste site")
		forms[path].Set("name", "found on a paste site")
		forms[path].Set("kind", "api_key")
		rec = w.post(path, forms[path])
		require.Equal(t, http.StatusForbidden, rec.Code, path)
		require.Contains(t, rec.Body.String(), `href="/password?back=1" target="_blank"`)
		require.Contains(t, rec.Body.String(), "found on a paste site", "kept")
		require.Regexp(t, `name="form" value="`+forms[path].Get("form"), rec.Body.String())
		require.Equal(t, before, w.token(id), "nothing was done")
		require.Equal(t, 1, w.count())
	}
	ask = ""
	for _, path := range guarded { // sent again from that page
		require.Contains(t, []int{http.StatusOK, http.StatusSeeOther}, w.post(path, forms[path]).Code, path)
	}
	require.Equal(t, "found on a paste site", w.token(id).Reason)

	for _, bad := range []string{"javascript:x()", "//evil.example/", "\\\\evil.example", "ftp://x/", "?x",
		"/\\evil.example", "/a\nb"} {
		ask = bad
		require.Equal(t, http.StatusInternalServerError, w.do("GET", "new", "").Code, "%q", bad)
	}
}
