package httpadapter

import (
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestTemplate(t *testing.T) {
	for _, tt := range []struct{ route, target, template, want string }{
		{"/x", "/x", "dataset/orders", "dataset/orders"},
		{"/x", "/x", "dataset", "dataset"},
		{"/d/{id}", "/d/orders", "dataset/{id}", "dataset/orders"},
		{"/d/{id}/{row}", "/d/orders/7", "dataset/{id}/row/{row}", "dataset/orders/row/7"},
		{"/d/{id}", "/d/a%2Fb", "dataset/{id}", "dataset/a%2Fb"},
		{"/d/{id...}", "/d/a/b", "dataset/{id}", "dataset/a%2Fb"},
		{"/d/{id}", "/d/%2A", "dataset/{id}", "dataset/%2A"},
		{"/d/{id}", "/d/50%25", "dataset/{id}", "dataset/50%25"},
		{"/d/{id}", "/d/..%2Fother", "dataset/{id}", "dataset/..%2Fother"},
		{"/d/{id}", "/d/%7Bx%7D", "dataset/{id}", "dataset/{x}"},
		{"/d/{id}", "/d/%2E%2E", "dataset/{id}", "dataset/%2E%2E"},
		{"/d/{id}", "/d/%2E", "dataset/{id}", "dataset/%2E"},

		{"/d/{id}", "/d/orders", "dataset/{ID}", ""},
		{"/x", "/x", "dataset/{id}", ""},
		{"/d/{id...}", "/d/", "dataset/{id}", ""},
	} {
		tmpl := parseTemplate(tt.template)
		served := false
		mux := http.NewServeMux()
		mux.HandleFunc(tt.route, func(_ http.ResponseWriter, r *http.Request) {
			served = true
			got, ok := tmpl.resource(r)
			require.Equal(t, tt.want, string(got), tt.target)
			require.Equal(t, tt.want != "", ok, tt.target)
		})
		r := httptest.NewRequest("GET", "/", nil)
		r.URL.Path, r.URL.RawPath = unescaped(tt.target), tt.target
		mux.ServeHTTP(httptest.NewRecorder(), r)
		require.True(t, served, tt.target)
	}
}

func unescaped(s string) string {
	return strings.NewReplacer("%2F", "/", "%2A", "*", "%25", "%", "%7B", "{", "%7D", "}", "%2E", ".").Replace(s)
}

func TestTemplatePanics(t *testing.T) {
	for _, text := range []string{"", "/", "a/", "/a", "a//b", "*", "a/*", "a/b*", ".", "a/..", "{", "a/{", "a/{}", "a/{x", "a/x}",
		"a/b{x}", "a/{x}b", "a/{x}{y}", "a/{{x}}", "a/{x...}", "a/{$}", "a\x00", "a\xff", strings.Repeat("a", 513)} {
		require.Panics(t, func() { parseTemplate(text) }, text)
	}
}
