package latchkey_test

import (
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// sourceFiles calls each with every Go file of the repository, node_modules left out.
func sourceFiles(t *testing.T, each func(path string, file *ast.File)) {
	t.Helper()
	n := 0
	require.NoError(t, filepath.WalkDir(".", func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if d.IsDir() && (d.Name() == "node_modules" || path != "." && strings.HasPrefix(d.Name(), ".")) {
			return filepath.SkipDir
		}
		if d.IsDir() || !strings.HasSuffix(path, ".go") {
			return nil
		}
		file, err := parser.ParseFile(token.NewFileSet(), path, nil, parser.SkipObjectResolution|parser.ParseComments)
		if err != nil {
			return err
		}
		n++
		each(filepath.ToSlash(path), file)
		return nil
	}))
	require.Greater(t, n, 300)
}

// TestSecurityTestsExist: docs/security-tests.md has a row for each class of faults, and what a row names is a test.
func TestSecurityTestsExist(t *testing.T) {
	tests := map[string]bool{} // "e2e/rows TestSameRows"
	sourceFiles(t, func(path string, file *ast.File) {
		if !strings.HasSuffix(path, "_test.go") {
			return
		}
		for _, d := range file.Decls {
			f, ok := d.(*ast.FuncDecl)
			if ok && f.Recv == nil && (strings.HasPrefix(f.Name.Name, "Test") || strings.HasPrefix(f.Name.Name, "Fuzz")) {
				tests[filepath.ToSlash(filepath.Dir(path))+" "+f.Name.Name] = true
			}
		}
	})
	text, err := os.ReadFile("docs/security-tests.md")
	require.NoError(t, err)
	row := regexp.MustCompile(`(?m)^\| (\d+) \| ([^|]+) \| ([^|]+) \|([^|]*)\|$`)
	name := regexp.MustCompile("`([a-zA-Z0-9_./-]+) ((?:Test|Fuzz)[A-Za-z0-9_]+)`")
	next, named := 1, 0
	for _, m := range row.FindAllStringSubmatch(string(text), -1) {
		require.Equal(t, strconv.Itoa(next), m[1], "the rows are numbered in order")
		next++
		found := name.FindAllStringSubmatch(m[3], -1)
		if len(found) == 0 {
			require.Regexp(t, "^Does not apply: .{20,}", m[3], "row %s names no test, and does not say why", m[1])
		}
		for _, f := range found {
			require.True(t, tests[f[1]+" "+f[2]], "row %s: there is no test %s in %s", m[1], f[2], f[1])
			named++
		}
		rest := name.ReplaceAllString(m[3], "")
		require.NotContains(t, rest, "`", "row %s: write a test as `folder TestName`", m[1])
	}
	require.Equal(t, 82, next, "there are 81 rows")
	require.Greater(t, named, 150)
	require.False(t, tests[". TestThatIsNotThere"])
}

// keyNames are names of what must not be written into a source.
var keyNames = regexp.MustCompile(`(?i)(key|secret|pepper|password|passwd|salt|seed|credential)s?$`)

// literalKey returns the value of an expression that is a secret written into the source: a literal text of some length
// without spaces, or a list of bytes.
func literalKey(e ast.Expr) (string, bool) {
	switch e := e.(type) {
	case *ast.BasicLit:
		text, err := strconv.Unquote(e.Value)
		if e.Kind != token.STRING || err != nil || len(text) < 16 || strings.ContainsAny(text, " \n%{<") ||
			!strings.ContainsAny(text, "0123456789") { // names, of which there are many
			return "", false
		}
		return text, true
	case *ast.CallExpr: // []byte("…")
		if _, ok := e.Fun.(*ast.ArrayType); ok && len(e.Args) == 1 {
			return literalKey(e.Args[0])
		}
	case *ast.CompositeLit: // []byte{1, 2, …}
		of, ok := e.Type.(*ast.ArrayType)
		if ok && len(e.Elts) >= 16 {
			if name, ok := of.Elt.(*ast.Ident); ok && name.Name == "byte" {
				return "bytes", true
			}
		}
	}
	return "", false
}

// literalKeys returns what a file gives literally to something that is named as a key.
func literalKeys(file *ast.File) (found []string) {
	check := func(name string, value ast.Expr) {
		if text, ok := literalKey(value); ok && keyNames.MatchString(name) {
			found = append(found, name+": "+text)
		}
	}
	last := func(e ast.Expr) string {
		switch e := e.(type) {
		case *ast.Ident:
			return e.Name
		case *ast.SelectorExpr:
			return e.Sel.Name
		}
		return ""
	}
	ast.Inspect(file, func(n ast.Node) bool {
		switch n := n.(type) {
		case *ast.ValueSpec:
			for i, v := range n.Values {
				check(n.Names[min(i, len(n.Names)-1)].Name, v)
			}
		case *ast.AssignStmt:
			for i, v := range n.Rhs {
				check(last(n.Lhs[min(i, len(n.Lhs)-1)]), v)
			}
		case *ast.KeyValueExpr:
			check(last(n.Key), n.Value)
		case *ast.CallExpr: // hmac.New(h, []byte("…")), chacha20poly1305.NewX([]byte("…"))
			if f, ok := n.Fun.(*ast.SelectorExpr); ok {
				switch f.Sel.Name {
				case "New", "NewX", "NewCipher", "NewGCM", "NewKeyring", "ParseKeyring", "Key":
					for _, a := range n.Args {
						if _, ok := a.(*ast.BasicLit); !ok || f.Sel.Name == "ParseKeyring" {
							check("a key", a)
						}
					}
				}
			}
		}
		return true
	})
	return found
}

// publicTexts are literals under such names that are no secrets, by file. The list may only shrink.
var publicTexts = map[string][]string{}

// TestNoKeyIsInTheSource: no key, pepper or password is written into code that ships. Tests have keys of their own.
func TestNoKeyIsInTheSource(t *testing.T) {
	planted, err := parser.ParseFile(token.NewFileSet(), "planted.go", `package p
var cursorKey = []byte("d3adb33fd3adb33fd3adb33f")
var o = Options{Pepper: "d3adb33fd3adb33fd3adb33f"}
var m = hmac.New(sha256.New, []byte("d3adb33fd3adb33fd3adb33f"))
func f() { c.secret = []byte{1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16} }
`, 0)
	require.NoError(t, err)
	require.Len(t, literalKeys(planted), 4, "the planted keys are not seen")

	shipped := 0
	sourceFiles(t, func(path string, file *ast.File) {
		if strings.HasSuffix(path, "_test.go") || strings.HasPrefix(path, "e2e/") || strings.HasPrefix(path, "storetest/") ||
			strings.HasPrefix(path, "latchkeytest/") {
			return
		}
		shipped++
		for _, key := range literalKeys(file) {
			assert.Contains(t, publicTexts[path], key, "%s: a key in the source", path)
		}
	})
	require.Greater(t, shipped, 200)
}
