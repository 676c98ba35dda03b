package httpadapter

import (
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// TestOneResolver keeps credentials in one place: only this package reads the Authorization header, and none uses the
// standard library's form readers, which take the first of several values and drop what is malformed.
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
