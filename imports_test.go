package latchkey_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"os/exec"
	"path"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

const module = "github.com/latchkey-go/latchkey"

// mayImport says which packages of this module a package may import; "" is the root, "a/*" all beneath a. A package
// that is not listed, by its own path or a pattern, is an error: say here where a new one stands in the tree.
var mayImport = map[string][]string{
	"":              {"internal/*"},
	"memstore":      {"", "internal/*"},
	"sqlstore":      {"", "internal/*"},
	"storetest":     {"", "internal/*"},
	"latchkeytest":  {"", "memstore"},
	"settings":      {"", "internal/*"},
	"httpadapter":   {"", "internal/*"},
	"httpadapter/*": {"", "httpadapter", "internal/*"}, // never each other
	// Never the root, which stands on them, and never each other but for these three.
	"internal/*": {"internal/base62", "internal/fault", "internal/uuidv7"},
	// Of the HTTP surfaces.
	"internal/form": {"internal/strictjson"},
	// Tests alone, through every surface.
	"internal/surfacetest": {"", "memstore", "httpadapter", "httpadapter/*"},
	"scripts/*":            {},
	"examples/*":           {"", "memstore", "sqlstore", "storetest", "latchkeytest", "httpadapter", "httpadapter/*"},
}

// inTestsToo is what the tests of a package may import besides.
var inTestsToo = []string{"", "memstore", "sqlstore", "storetest", "latchkeytest", "httpadapter", "internal/*"}

type listedPackage struct {
	ImportPath                               string
	Imports, Deps, TestImports, XTestImports []string
}

func goList(t *testing.T, args ...string) []listedPackage {
	t.Helper()
	cmd := exec.Command("go", append([]string{"list", "-json"}, args...)...)
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	require.NoError(t, err, stderr.String())
	var found []listedPackage
	for decoder := json.NewDecoder(bytes.NewReader(out)); ; {
		var p listedPackage
		err := decoder.Decode(&p)
		if errors.Is(err, io.EOF) {
			return found
		}
		require.NoError(t, err)
		found = append(found, p)
	}
}

// within is the path of one of our packages inside the module; ok is false for those of others.
func within(importPath string) (inside string, ok bool) {
	if importPath == module {
		return "", true
	}
	return strings.CutPrefix(importPath, module+"/")
}

func matches(inside string, patterns []string) bool {
	return slices.ContainsFunc(patterns, func(pattern string) bool {
		above, beneath := strings.CutSuffix(pattern, "/*")
		return inside == pattern || beneath && strings.HasPrefix(inside, above+"/")
	})
}

func allowedIn(t *testing.T, inside string) []string {
	t.Helper()
	if allowed, ok := mayImport[inside]; ok {
		return allowed
	}
	for at := path.Dir(inside); at != "."; at = path.Dir(at) {
		if allowed, ok := mayImport[at+"/*"]; ok {
			return allowed
		}
	}
	t.Errorf("package %q has no place in the import tree: add it to mayImport", inside)
	return nil
}

// isStandard: only the standard library has no dot in the first element of its paths.
func isStandard(importPath string) bool {
	first, _, _ := strings.Cut(importPath, "/")
	return !strings.Contains(first, ".")
}

func isTestify(importPath string) bool {
	return importPath == "github.com/stretchr/testify" || strings.HasPrefix(importPath, "github.com/stretchr/testify/")
}

func TestImportsKeepTheTree(t *testing.T) {
	seen := 0
	for _, p := range goList(t, "./...") {
		inside, ok := within(p.ImportPath)
		require.True(t, ok, p.ImportPath)
		seen++
		allowed := allowedIn(t, inside)
		for _, imported := range p.Imports {
			switch own, ours := within(imported); {
			case ours && !matches(own, allowed):
				t.Errorf("%q imports %q", inside, own)
			case !ours && !isStandard(imported) && !mayImportForeign(inside, imported):
				// Testify too: also in storetest, which is no test file but what users' tests compile.
				t.Errorf("%q imports %s, which is neither ours nor the standard library's", inside, imported)
			}
		}
		for _, imported := range append(p.TestImports, p.XTestImports...) {
			switch own, ours := within(imported); {
			case ours && own != inside && !matches(own, allowed) && !matches(own, inTestsToo):
				t.Errorf("a test of %q imports %q", inside, own)
			case !ours && !isStandard(imported) && imported != "github.com/google/uuid" && !isTestify(imported) &&
				!mayImportForeign(inside, imported):
				t.Errorf("a test of %q imports %s", inside, imported)
			}
		}
	}
	require.NotZero(t, seen)
}

// mayImportForeign reports whether a package may import another module's: one package has the ids, another the slow
// hashes, the root the keys.
func mayImportForeign(inside, imported string) bool {
	switch inside {
	case "internal/uuidv7":
		return imported == "github.com/google/uuid"
	case "", "internal/slowhash":
		return strings.HasPrefix(imported, "golang.org/x/crypto/")
	}
	return false
}

func TestRootNeverReachesNetworkOrDatabase(t *testing.T) {
	root := goList(t, module)
	require.Len(t, root, 1)
	require.NotEmpty(t, root[0].Deps)
	// Exact names: uuid pulls in database/sql/driver, which is types alone.
	for _, forbidden := range []string{"net/http", "database/sql"} {
		require.NotContains(t, root[0].Deps, forbidden)
	}
	for _, dep := range root[0].Deps {
		require.False(t, isTestify(dep), "the root links %s into its users' programs", dep)
	}
}

func TestModuleRequiresThreeModules(t *testing.T) {
	out, err := exec.Command("go", "mod", "edit", "-json").Output()
	require.NoError(t, err)
	var mod struct {
		Require []struct {
			Path     string
			Indirect bool
		}
		Replace []struct{ Old struct{ Path string } }
	}
	require.NoError(t, json.Unmarshal(out, &mod))
	var direct []string
	for _, r := range mod.Require {
		if !r.Indirect {
			direct = append(direct, r.Path)
		}
	}
	require.ElementsMatch(t, []string{
		"github.com/google/uuid", "github.com/stretchr/testify", "golang.org/x/crypto",
	}, direct)
	require.Empty(t, mod.Replace, "a replace in the root module does nothing for its users")
}
