package console

import (
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/latchkey-go/latchkey"
)

func TestNamesCannotHide(t *testing.T) {
	w := newFixture(t, nil)
	for r, want := range map[string]string{"\u202e": "⟨U+202E⟩", "\u2066": "⟨U+2066⟩", "\u200f": "⟨U+200F⟩",
		"\u200b": "⟨U+200B⟩", "\ufeff": "⟨U+FEFF⟩",
		"\u00ad": "⟨U+00AD⟩", "\u2028": "⟨U+2028⟩", "\x1b": "⟨U+001B⟩",
		"\u0085": "⟨U+0085⟩", "\u3164": "⟨U+3164⟩", "\u200d": "⟨U+200D⟩",
		"\ufe0f": "⟨U+FE0F⟩", "\U000e0041": "⟨U+E0041⟩", "\u2800": "⟨U+2800⟩"} {
		name := "ad" + r + "min"
		role := w.role(latchkey.Role{Name: name})
		parent, child, _ := w.mint(latchkey.Settings{Name: name, Roles: []string{role.ID}},
			latchkey.Narrowing{Lifetime: time.Hour, Name: name,
				Client: latchkey.Client{ID: name, Name: name}})
		for _, path := range []string{"", "?kind=access", "?q=" + url.QueryEscape(name), "token/" + parent.ID, "token/" +
			child.ID, "token/" + parent.ID + "/rotate",
			"token/" + parent.ID + "/revoke", "token/" + parent.ID + "/access", "token/" + parent.ID +
				"/usage", "roles", "role/" + role.ID,
			"role/" + role.ID + "/delete", "role/" + role.ID + "/access", "token/" + child.ID +
				"/access?resource=a&action=read"} {
			page := w.get(path)
			require.NotContains(t, page, r, "%q %s", r, path)
			require.Contains(t, unhtml.Replace(page), want, "%q %s", r, path)
		}
		// Still, an unchanged form changes nothing.
		for _, path := range []string{"token/" + parent.ID, "role/" + role.ID} {
			if r != "\u0085" { // which no form can hold
				require.Equal(t, name, w.form(path).Get("name"))
			}
			require.Equal(t, http.StatusSeeOther, w.post(path, w.form(path)).Code)
		}
		require.Equal(t, name, w.token(parent.ID).Name)
		got, err := w.acme.Role(t.Context(), role.ID)
		require.NoError(t, err)
		require.Equal(t, name, got.Name)
	}
	for _, fine := range []string{"नमस्\u200dते", "می\u200cخواهم", "👩\u200d👧", "❤️", "1️⃣", "Zoë", "עברית", "naïve café"} {
		require.Equal(t, fine, visible(fine))
		require.Empty(t, (&view{words: English()}).misleading(fine), fine)
	}
	spaced := w.role(latchkey.Role{Name: " two  spaces\u00a0"})
	require.Contains(t, unhtml.Replace(w.get("roles")), "⟨U+0020⟩two ⟨U+0020⟩spaces⟨U+00A0⟩")
	require.Equal(t, http.StatusSeeOther, w.post("role/"+spaced.ID, w.form("role/"+spaced.ID)).Code)
	got, err := w.acme.Role(t.Context(), spaced.ID)
	require.NoError(t, err)
	require.Equal(t, spaced.Name, got.Name, "what was not changed stays")
}

func TestAFormSentAsItWasDrawnChangesNothing(t *testing.T) {
	w := newFixture(t, nil)
	var rules latchkey.Permissions
	for _, odd := range []string{"\u0085", "\u202e", "x\ny", "x\r\ny", "\u00a0", " a", "a ", "\x1b", "a,b", "\u2028",
		"\\u0041", "<&\""} {
		rules = append(rules, latchkey.Deny(latchkey.Read).On(latchkey.Pattern("dataset/ACME/A"+odd)).
			Where(latchkey.Where("note", latchkey.Eq,
				odd)), latchkey.Allow(latchkey.Read).On(latchkey.Pattern("dataset/ACME/A"+odd)))
	}
	role := w.role(latchkey.Role{Name: "line\nbreak", Permissions: rules})
	token := w.issue(latchkey.Spec{Kind: latchkey.KindAPIKey, Name: " \u0085k\n",
		Roles: []string{role.ID}, Permissions: rules})
	for _, path := range []string{"role/" + role.ID, "role/" + role.ID + "?at=21", "token/" + token.ID} {
		at, _, _ := strings.Cut(path, "?")
		form := w.form(path)
		form.Set("name", strings.ReplaceAll(form.Get("name"), "\n", "")) // as a browser sends it
		for name, values := range form {
			for i := range values {
				form[name][i] = strings.ReplaceAll(strings.ReplaceAll(values[i], "\r\n", "\n"), "\n", "\r\n")
			}
		}
		require.Equal(t, http.StatusSeeOther, w.post(at, form).Code, path)
	}
	require.Equal(t, token.Settings, w.token(token.ID).Settings)
	got, err := w.acme.Role(t.Context(), role.ID)
	require.NoError(t, err)
	require.Equal(t, role.Name, got.Name)
	require.Equal(t, ruleTexts(rules), ruleTexts(got.Permissions))
}

func TestRoleNamesThatLookAlikeAreRefused(t *testing.T) {
	w := newFixture(t, nil)
	for _, name := range []string{"Admin", "Café", "日本", "한글", "fine", "two words"} {
		w.role(latchkey.Role{Name: name})
	}
	w.role(latchkey.Role{Name: "viewer", Origin: "datocms"})
	other := w.role(latchkey.Role{Name: "other"})
	for _, name := range []string{"Admin ", " Admin", "admin", "ADMIN", "Ad\u200bmin", "Admin\u00a0", "\u202eAdmin",
		"Аdmin", "Ａdmin", "Cafe\u0301", "CAFÉ",
		"\u1112\u1161\u11ab\u1100\u1173\u11af", "ﬁne\u200b", "two  " +
			"words", "two\u00a0words", "two\twords", "x\u2060", "Viewer", "viewer", "Admın\u200b"} {
		for _, path := range []string{"role", "role/" + other.ID} {
			form := w.form(path)
			form.Set("name", name)
			rec := w.post(path, form)
			require.Equal(t, http.StatusUnprocessableEntity, rec.Code, "%q", name)
			require.Contains(t, rec.Body.String(), `id="name-e"`, "%q", name)
			require.Contains(t, rec.Body.String(), `<a href="#name">Name</a>`, "%q", name)
		}
	}
	for _, name := range []string{"Admins", "Cafe", "日本人", "β tester", "other one"} {
		form := w.form("role")
		form.Set("name", name)
		require.Equal(t, http.StatusSeeOther, w.post("role", form).Code, name)
	}
	form := w.form("role/" + other.ID)
	form.Set("name", "Other")
	require.Equal(t, http.StatusSeeOther, w.post("role/"+other.ID, form).Code, "it may look like itself")
}
