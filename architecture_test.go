package latchkey_test

import (
	"encoding/json"
	"go/ast"
	"go/importer"
	"go/parser"
	"go/token"
	"go/types"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// rootPackage is the root, type-checked, without its tests.
type rootPackage struct {
	fset  *token.FileSet
	files map[string]*ast.File // by name
	types *types.Package
	info  *types.Info
}

// checkRoot type-checks the root with the export data that building it left.
func checkRoot(t *testing.T) *rootPackage {
	t.Helper()
	out, err := exec.Command("go", "list", "-export", "-deps", "-json=ImportPath,Export", ".").Output()
	require.NoError(t, err)
	exports := map[string]string{}
	for d := json.NewDecoder(strings.NewReader(string(out))); ; {
		var p struct{ ImportPath, Export string }
		if err := d.Decode(&p); err == io.EOF {
			break
		} else if err != nil {
			t.Fatal(err)
		}
		exports[p.ImportPath] = p.Export
	}
	root := &rootPackage{fset: token.NewFileSet(), files: map[string]*ast.File{}, info: &types.Info{
		Defs: map[*ast.Ident]types.Object{}, Uses: map[*ast.Ident]types.Object{},
	}}
	names, err := filepath.Glob("*.go")
	require.NoError(t, err)
	var files []*ast.File
	for _, name := range names {
		if strings.HasSuffix(name, "_test.go") {
			continue
		}
		file, err := parser.ParseFile(root.fset, name, nil, parser.SkipObjectResolution)
		require.NoError(t, err)
		root.files[name] = file
		files = append(files, file)
	}
	config := types.Config{Importer: importer.ForCompiler(root.fset, "gc", func(path string) (io.ReadCloser, error) {
		return os.Open(exports[path])
	})}
	root.types, err = config.Check(module, root.fset, files, root.info)
	require.NoError(t, err)
	return root
}

// arrows are the uses of one file's declarations in another: "a.go → b.go" to the names.
func (r *rootPackage) arrows() map[[2]string][]string {
	found := map[[2]string][]string{}
	for ident, object := range r.info.Uses {
		if object.Pkg() != r.types || !object.Pos().IsValid() {
			continue
		}
		from, to := r.fset.Position(ident.Pos()).Filename, r.fset.Position(object.Pos()).Filename
		if from != to && !slices.Contains(found[[2]string{from, to}], object.Name()) {
			found[[2]string{from, to}] = append(found[[2]string{from, to}], object.Name())
		}
	}
	return found
}

// house is what ARCHITECTURE.md says of the root.
type house struct {
	chapters   []string
	chapterOf  map[string]int // by file
	exceptions map[[2]string]bool
	internal   []string
}

func readHouse(t *testing.T) house {
	t.Helper()
	text, err := os.ReadFile("ARCHITECTURE.md")
	require.NoError(t, err)
	h := house{chapterOf: map[string]int{}, exceptions: map[[2]string]bool{}}
	table := ""
	for line := range strings.Lines(string(text)) {
		line = strings.TrimSpace(line)
		if cells := strings.Split(line, "|"); len(cells) > 3 {
			for i := range cells {
				cells[i] = strings.TrimSpace(cells[i])
			}
			switch {
			case cells[1] == "chapter" || cells[1] == "internal/":
				table = cells[1]
			case strings.HasPrefix(cells[1], "---"):
			case table == "chapter":
				if cells[1] != "" {
					h.chapters = append(h.chapters, cells[1])
				}
				_, twice := h.chapterOf[cells[2]]
				require.False(t, twice, "ARCHITECTURE.md names %s twice", cells[2])
				h.chapterOf[cells[2]] = len(h.chapters) - 1
			case table == "internal/":
				for name := range strings.SplitSeq(cells[1], ", ") {
					h.internal = append(h.internal, name)
				}
			}
			continue
		}
		table = ""
		if rest, ok := strings.CutPrefix(line, "- `"); ok {
			if from, rest, ok := strings.Cut(rest, "` uses `"); ok {
				to, _, _ := strings.Cut(rest, "`")
				h.exceptions[[2]string{from, to}] = true
			}
		}
	}
	return h
}

// Each file of the root, and each package under internal, stands in ARCHITECTURE.md once.
func TestArchitectureNamesEachFileOnce(t *testing.T) {
	h := readHouse(t)
	var want, named []string
	files, err := filepath.Glob("*.go")
	require.NoError(t, err)
	for _, file := range files {
		if !strings.HasSuffix(file, "_test.go") {
			want = append(want, file)
		}
	}
	for file := range h.chapterOf {
		named = append(named, file)
	}
	require.ElementsMatch(t, want, named)

	entries, err := os.ReadDir("internal")
	require.NoError(t, err)
	var packages []string
	for _, entry := range entries {
		packages = append(packages, entry.Name())
	}
	require.ElementsMatch(t, packages, h.internal)
}

// A file uses its own chapter and those before it. Each exception that ARCHITECTURE.md names is one.
func TestArchitectureKeepsItsOrder(t *testing.T) {
	h := readHouse(t)
	used := map[[2]string]bool{}
	for arrow, names := range checkRoot(t).arrows() {
		from, to := h.chapterOf[arrow[0]], h.chapterOf[arrow[1]]
		if to <= from {
			continue
		}
		used[arrow] = true
		if !h.exceptions[arrow] {
			slices.Sort(names)
			t.Errorf("%s (%s) uses %s (%s), which comes later: %s", arrow[0], h.chapters[from], arrow[1], h.chapters[to],
				strings.Join(names, ", "))
		}
	}
	for arrow := range h.exceptions {
		if !used[arrow] {
			t.Errorf("ARCHITECTURE.md excepts %s and %s, which need it no more", arrow[0], arrow[1])
		}
	}
}

// No exported name of the root is an alias of an internal type or embeds one: its documentation would be empty.
func TestArchitectureHidesInternalTypes(t *testing.T) {
	root := checkRoot(t)
	internal := func(typ types.Type) bool {
		if p, ok := typ.(*types.Pointer); ok {
			typ = p.Elem()
		}
		named, ok := types.Unalias(typ).(*types.Named)
		return ok && named.Obj().Pkg() != nil && strings.HasPrefix(named.Obj().Pkg().Path(), module+"/internal/")
	}
	seen := 0
	for _, name := range root.types.Scope().Names() {
		object := root.types.Scope().Lookup(name)
		if !object.Exported() {
			continue
		}
		seen++
		if internal(object.Type()) {
			t.Errorf("%s has the type %s", name, object.Type())
		}
		typ, ok := object.(*types.TypeName)
		if !ok {
			if signature, ok := object.Type().(*types.Signature); ok {
				exposes(t, name, signature, internal)
			}
			continue
		}
		if typ.IsAlias() {
			t.Errorf("%s is an alias", name)
		}
		if s, ok := typ.Type().Underlying().(*types.Struct); ok {
			for field := range s.Fields() {
				if (field.Embedded() || field.Exported()) && internal(field.Type()) {
					t.Errorf("%s.%s has the type %s", name, field.Name(), field.Type())
				}
			}
		}
		methods := types.NewMethodSet(types.NewPointer(typ.Type()))
		for method := range methods.Methods() {
			if method.Obj().Exported() {
				exposes(t, name+"."+method.Obj().Name(), method.Obj().Type().(*types.Signature), internal)
			}
		}
	}
	require.Greater(t, seen, 100)
}

// exposes fails if a function takes or returns an internal type.
func exposes(t *testing.T, name string, s *types.Signature, internal func(types.Type) bool) {
	t.Helper()
	for _, tuple := range []*types.Tuple{s.Params(), s.Results()} {
		for v := range tuple.Variables() {
			if internal(v.Type()) {
				t.Errorf("%s has %s in its signature", name, v.Type())
			}
		}
	}
}
