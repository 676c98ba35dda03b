package httpadapter

import (
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

func get(target string, headers ...string) *http.Request {
	r := httptest.NewRequest("GET", target, nil)
	for i := 0; i < len(headers); i += 2 {
		r.Header[http.CanonicalHeaderKey(headers[i])] = append(r.Header.Values(headers[i]), headers[i+1])
	}
	return r
}

func TestFind(t *testing.T) {
	bearer := Carriers{Bearer: true}
	query := Carriers{Bearer: true, Query: []string{"token", "auth_token"}}
	header := Carriers{Headers: []string{"key"}}
	for _, tt := range []struct {
		name     string
		carriers Carriers
		r        *http.Request
		body     []string
		want     string
		err      error
	}{
		{"bearer", bearer, get("/", "Authorization", "Bearer abc-._~+/=="), nil, "abc-._~+/==", nil},
		{"any case", bearer, get("/", "Authorization", "bEARER abc"), nil, "abc", nil},
		{"header", header, get("/", "key", "K"), nil, "K", nil},
		{"header, any case", header, get("/", "KEY", "K"), nil, "K", nil},
		{"query", query, get("/?token=T&x=1"), nil, "T", nil},
		{"body", bearer, get("/"), []string{"B"}, "B", nil},

		{"none", bearer, get("/"), nil, "", ErrNoCredential},
		{"another scheme", bearer, get("/", "Authorization", "Basic YTpi"), nil, "", ErrNoCredential},
		{"query not read", bearer, get("/?token=T"), nil, "", ErrNoCredential},
		{"query by another case", query, get("/?Token=T"), nil, "", ErrNoCredential},
		{"empty header", header, get("/", "key", ""), nil, "", ErrNoCredential},
		{"empty body", bearer, get("/"), []string{""}, "", ErrNoCredential},
		{"bearer where it is not read", header, get("/", "Authorization", "Bearer abc"), nil, "", ErrNoCredential},

		{"two headers", bearer, get("/", "Authorization", "Bearer a", "Authorization", "Bearer a"), nil, "",
			ErrManyCredentials},
		{"two schemes", bearer, get("/", "Authorization", "Basic a", "Authorization", "Bearer a"), nil, "",
			ErrManyCredentials},
		{"two key headers", header, get("/", "key", "K", "key", "K"), nil, "", ErrManyCredentials},
		{"bearer and query", query, get("/?token=a", "Authorization", "Bearer a"), nil, "", ErrManyCredentials},
		{"bearer and empty query", query, get("/?token=", "Authorization", "Bearer a"), nil, "", ErrManyCredentials},
		{"twice in the query", query, get("/?token=a&token=a"), nil, "", ErrManyCredentials},
		{"two parameters", query, get("/?token=a&auth_token=a"), nil, "", ErrManyCredentials},
		{"header and body", header, get("/", "key", "K"), []string{"K"}, "", ErrManyCredentials},
		{"two in the body", header, get("/"), []string{"K", "K"}, "", ErrManyCredentials},
		{"unread bearer and body", header, get("/", "Authorization", "Bearer K"), []string{"K"}, "", ErrManyCredentials},

		{"no token", bearer, get("/", "Authorization", "Bearer"), nil, "", ErrBadRequest},
		{"empty token", bearer, get("/", "Authorization", "Bearer "), nil, "", ErrBadRequest},
		{"two spaces", bearer, get("/", "Authorization", "Bearer  abc"), nil, "", ErrBadRequest},
		{"space behind", bearer, get("/", "Authorization", "Bearer abc "), nil, "", ErrBadRequest},
		{"tab", bearer, get("/", "Authorization", "Bearer\tabc"), nil, "", ErrBadRequest},
		{"a list", bearer, get("/", "Authorization", "Bearer a, Bearer b"), nil, "", ErrBadRequest},
		{"equals sign in the middle", bearer, get("/", "Authorization", "Bearer a=b"), nil, "", ErrBadRequest},
		{"only equals signs", bearer, get("/", "Authorization", "Bearer =="), nil, "", ErrBadRequest},
		{"percent", bearer, get("/", "Authorization", "Bearer a%62"), nil, "", ErrBadRequest},
		{"quotes", bearer, get("/", "Authorization", `Bearer "abc"`), nil, "", ErrBadRequest},
		{"not ASCII", bearer, get("/", "Authorization", "Bearer ábc"), nil, "", ErrBadRequest},
		{"empty Authorization", bearer, get("/", "Authorization", ""), nil, "", ErrBadRequest},
		{"malformed query", query, get("/?token=a&x=%zz"), nil, "", ErrBadRequest},
		{"semicolon", query, get("/?x=1;token=b&token=a"), nil, "", ErrBadRequest},
	} {
		t.Run(tt.name, func(t *testing.T) {
			got, err := tt.carriers.Find(tt.r, tt.body...)
			require.ErrorIs(t, err, tt.err)
			require.Equal(t, tt.want, got)
		})
	}
}

// TestOneResolver keeps credentials in one place: only this package reads the Authorization header. No package uses
// the standard library's form readers, which take the first of several values and drop malformed ones.
func TestOneResolver(t *testing.T) {
	files := 0
	err := filepath.WalkDir(".", func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() || !strings.HasSuffix(path, ".go") || strings.HasSuffix(path, "_test.go") {
			return err
		}
		text, err := os.ReadFile(path)
		require.NoError(t, err)
		for _, fault := range credentialReads(t, path, string(text)) {
			if fault != `"Authorization"` || filepath.Dir(path) != "." {
				t.Errorf("%s uses %s: find credentials with Carriers.Find or Authorization", path, fault)
			}
		}
		files++
		return nil
	})
	require.NoError(t, err)
	require.Greater(t, files, 5)
	require.Len(t, credentialReads(t, "x.go", `package x
		func f(r *http.Request) { r.FormValue("a"); r.BasicAuth(); r.Header.Get("Authorization"); r.URL.Query() }`), 4)
}

func credentialReads(t *testing.T, name, src string) (out []string) {
	f, err := parser.ParseFile(token.NewFileSet(), name, src, 0)
	require.NoError(t, err)
	ast.Inspect(f, func(n ast.Node) bool {
		switch n := n.(type) {
		case *ast.BasicLit:
			if strings.EqualFold(n.Value, `"Authorization"`) {
				out = append(out, `"Authorization"`)
			}
		case *ast.CallExpr:
			if sel, ok := n.Fun.(*ast.SelectorExpr); ok {
				switch sel.Sel.Name {
				case "FormValue", "PostFormValue", "BasicAuth", "ParseForm", "ParseMultipartForm":
					out = append(out, sel.Sel.Name)
				case "Query":
					if inner, ok := sel.X.(*ast.SelectorExpr); ok && inner.Sel.Name == "URL" {
						out = append(out, "URL.Query")
					}
				}
			}
		}
		return true
	})
	return out
}
