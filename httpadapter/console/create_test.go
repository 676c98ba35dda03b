package console

import (
	"net/http"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestTestTokens(t *testing.T) {
	w := newFixture(t, nil)
	form := w.form("new")
	form.Set("test", "on")
	require.Equal(t, http.StatusSeeOther, w.post("new", form).Code)
	require.Contains(t, w.get(""), "TEST PUBLISHABLE")
	form = w.form("new?kind=api_key")
	form.Set("test", "on")
	form.Set("name", "kept")
	rec := w.post("new", form)
	require.Equal(t, http.StatusUnprocessableEntity, rec.Code)
	require.Contains(t, rec.Body.String(), `id="test-e"`)
	again := formOf(rec.Body.String())
	require.Equal(t, []string{"on", "kept", "api_key"}, []string{again.Get("test"), again.Get("name"), again.Get("kind")})
	require.Equal(t, 1, w.count())
	for field, value := range map[string]string{"name": strings.Repeat("x", 257), "kind": "access"} {
		form := w.form("new")
		form.Set(field, value)
		rec := w.post("new", form)
		require.Equal(t, http.StatusUnprocessableEntity, rec.Code)
		require.Contains(t, rec.Body.String(), `id="`+field+`-e"`)
	}
	require.Equal(t, 1, w.count())
}
