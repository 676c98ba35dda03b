package latchkey_test

import (
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"os"
	"path"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// The documents show code that is compiled and output that is tested elsewhere. A comment above each block says where
// it comes from:
//
//	<!-- program: FILE -->  the block is the whole file
//	<!-- example: FILE -->  each line of the block is in the file, in this order; indentation apart
//	<!-- output: DIR -->    the block is what the Example in DIR/example_test.go prints

var marker = regexp.MustCompile(`^<!-- (program|example|output): (\S+) -->$`)

type block struct {
	line               int
	kind, from, syntax string
	lines              []string
}

// readBlocks finds the fenced blocks of a Markdown text, and what the comment right above each says.
func readBlocks(t *testing.T, text string) []block {
	t.Helper()
	var blocks []block
	above := ""
	lines := strings.Split(text, "\n")
	for i := 0; i < len(lines); i++ {
		syntax, opens := strings.CutPrefix(lines[i], "```")
		if !opens {
			above = lines[i]
			continue
		}
		b := block{line: i + 1, syntax: syntax}
		if m := marker.FindStringSubmatch(above); m != nil {
			b.kind, b.from = m[1], m[2]
		}
		for i++; lines[i] != "```"; i++ {
			require.Less(t, i+1, len(lines), "the block at line %d does not end", b.line)
			b.lines = append(b.lines, lines[i])
		}
		above = ""
		blocks = append(blocks, b)
	}
	return blocks
}

// missingLine is the first line that is not in text, after those before it; "" if there is none.
func missingLine(lines []string, text string) string {
	rest := strings.Split(text, "\n")
next:
	for _, want := range lines {
		for i, line := range rest {
			if strings.TrimSpace(line) == strings.TrimSpace(want) {
				rest = rest[i+1:]
				continue next
			}
		}
		return want
	}
	return ""
}

// exampleOutput is what stands behind "// Output:" in a Go file that has one example.
func exampleOutput(text string) string {
	_, text, _ = strings.Cut(text, "// Output:\n")
	var out []string
	for line := range strings.Lines(text) {
		line, ok := strings.CutPrefix(strings.TrimSpace(line), "//")
		if !ok {
			break
		}
		out = append(out, strings.TrimPrefix(line, " "))
	}
	return strings.Join(out, "\n")
}

// documents returns the Markdown files that match, with slashes. A pattern may match none.
func documents(t *testing.T, patterns ...string) (docs []string) {
	t.Helper()
	for _, pattern := range patterns {
		found, err := filepath.Glob(filepath.FromSlash(pattern))
		require.NoError(t, err)
		for _, doc := range found {
			docs = append(docs, filepath.ToSlash(doc))
		}
	}
	return docs
}

func TestReadme(t *testing.T) {
	kinds := map[string]int{}
	docs := documents(t, "README.md", "ARCHITECTURE.md", "docs/*.md", "examples/*/README.md",
		"integrations/*/README.md")
	require.Subset(t, docs, []string{"README.md", "docs/guide.md", "docs/operations.md", "examples/server/README.md",
		"integrations/connect/README.md", "integrations/frameworks/README.md", "integrations/grpc/README.md",
		"integrations/mcp/README.md", "integrations/otel/README.md"})
	for _, doc := range docs {
		text, err := os.ReadFile(filepath.FromSlash(doc))
		require.NoError(t, err)
		checkBlocks(t, doc, readBlocks(t, string(text)), kinds)
	}
	require.Positive(t, kinds["program"])
	require.Positive(t, kinds["example"])
	require.Positive(t, kinds["output"])
}

// Go code in the package documentation of the adapters is part of their examples. JavaScript, which calls require, is
// not.
func TestPackageDocumentation(t *testing.T) {
	seen := 0
	for _, doc := range documents(t, "httpadapter/*/doc.go") {
		text, err := os.ReadFile(filepath.FromSlash(doc))
		require.NoError(t, err)
		for _, lines := range indented(string(text)) {
			if strings.Contains(lines[0], "require(") {
				continue
			}
			examples, err := os.ReadFile(filepath.FromSlash(path.Join(path.Dir(doc), "example_test.go")))
			require.NoError(t, err)
			require.Empty(t, missingLine(lines, string(examples)), "%s: not in the examples in this order", doc)
			seen++
		}
	}
	require.Positive(t, seen)
}

// indented returns the code blocks of a package comment.
func indented(text string) (blocks [][]string) {
	var block []string
	for line := range strings.Lines(text + "\n") {
		code, ok := strings.CutPrefix(strings.TrimRight(line, "\n"), "//\t")
		switch {
		case ok:
			block = append(block, code)
		case block != nil:
			blocks, block = append(blocks, block), nil
		}
	}
	return blocks
}

func checkBlocks(t *testing.T, doc string, blocks []block, kinds map[string]int) {
	t.Helper()
	for _, b := range blocks {
		kinds[b.kind]++
		read := func(path string) string {
			source, err := os.ReadFile(filepath.FromSlash(path))
			require.NoError(t, err, "%s:%d", doc, b.line)
			return string(source)
		}
		switch b.kind {
		case "program":
			require.Equal(t, read(b.from), strings.Join(b.lines, "\n")+"\n", "%s:%d is not %s", doc, b.line, b.from)
		case "example":
			require.NotEmpty(t, b.lines, "%s:%d", doc, b.line)
			require.Empty(t, missingLine(b.lines, read(b.from)), "%s:%d: not in %s in this order", doc, b.line, b.from)
		case "output":
			require.Equal(t, exampleOutput(read(b.from+"/example_test.go")), strings.Join(b.lines, "\n"),
				"%s:%d is not the output of %s", doc, b.line, b.from)
		default:
			require.NotEqual(t, "go", b.syntax, "%s:%d: say in a comment right above where this comes from", doc, b.line)
		}
	}
}

// reference is where the documentation of the packages stands, followed by the directory of each.
const reference = "https://pkg.go.dev/github.com/latchkey-go/latchkey"

var (
	link    = regexp.MustCompile(`\]\(([^)\s]+)\)`)
	heading = regexp.MustCompile(`^#{1,6} (.+)$`)
	noSlug  = regexp.MustCompile(`[^\p{L}\p{N} _-]`)
)

// prose is a Markdown text without its fenced blocks.
func prose(text string) string {
	fenced := false
	var out strings.Builder
	for line := range strings.Lines(text) {
		if strings.HasPrefix(line, "```") {
			fenced = !fenced
		} else if !fenced {
			out.WriteString(line)
		}
	}
	return out.String()
}

// anchorsOf are those that GitHub gives the headings of a Markdown text.
func anchorsOf(text string) map[string]bool {
	anchors := map[string]bool{}
	for line := range strings.Lines(prose(text)) {
		m := heading.FindStringSubmatch(strings.TrimRight(line, "\n"))
		if m == nil {
			continue
		}
		slug := strings.ReplaceAll(noSlug.ReplaceAllString(strings.ToLower(m[1]), ""), " ", "-")
		for n, s := 1, slug; anchors[slug]; n++ {
			slug = fmt.Sprintf("%s-%d", s, n)
		}
		anchors[slug] = true
	}
	return anchors
}

// badLinks returns the links of a document to this repository that lead to no file or package, or to no heading of a
// file, and how many it saw.
func badLinks(doc, text string, read func(path string) (string, error)) (bad []string, seen int) {
	for _, m := range link.FindAllStringSubmatch(prose(text), -1) {
		if strings.Contains(m[1], "://") {
			if dir, ours := strings.CutPrefix(m[1], reference); ours {
				seen++
				if _, err := read(path.Join(".", dir)); err != nil {
					bad = append(bad, m[1])
				}
			}
			continue
		}
		seen++
		target, anchor, _ := strings.Cut(m[1], "#")
		to := text
		if target != "" {
			var err error
			if to, err = read(path.Join(path.Dir(doc), target)); err != nil {
				bad = append(bad, m[1])
				continue
			}
		}
		if anchor != "" && !anchorsOf(to)[anchor] {
			bad = append(bad, m[1])
		}
	}
	return bad, seen
}

func TestLinksLeadSomewhere(t *testing.T) {
	docs := documents(t, "*.md", "docs/*.md", ".github/*.md", "examples/*/README.md", "integrations/*/README.md",
		"httpadapter/*/README.md")
	require.Subset(t, docs, []string{"README.md", "CHANGELOG.md", ".github/SECURITY.md", ".github/CONTRIBUTING.md"})
	read := func(path string) (string, error) {
		info, err := os.Stat(filepath.FromSlash(path))
		if err != nil || info.IsDir() {
			return "", err
		}
		text, err := os.ReadFile(filepath.FromSlash(path))
		return string(text), err
	}
	all := 0
	for _, doc := range docs {
		text, err := read(doc)
		require.NoError(t, err)
		bad, seen := badLinks(doc, text, read)
		require.Empty(t, bad, doc)
		all += seen
	}
	require.Greater(t, all, 10)

	// This test can fail.
	other := func(path string) (string, error) {
		if path == "gone" {
			return "", os.ErrNotExist
		}
		return "# One\n\n```\n# none\n```\n\n## A `b`, c?\n\n# One\n", nil
	}
	bad, seen := badLinks("docs/a.md", "[x](b.md#a-b-c) [x](b.md#one-1) [x](b.md#none) [x](#one) [x](../gone) "+
		"[x](https://a.example/#b) [x]("+reference+"/b) [x]("+reference+"/gone)", other)
	require.Equal(t, []string{"b.md#none", "#one", "../gone", reference + "/gone"}, bad)
	require.Equal(t, 7, seen)
}

var (
	inCode     = regexp.MustCompile("`([^`]+)`")
	identifier = regexp.MustCompile(`\w+`)
)

// unknownPlaces returns what the last column of a document's tables names in backticks and code does not have, and how
// many names it saw. A name is an identifier, with a package or a type before it, or a package. In a section whose
// heading names a package it stands in that package, in the root or in httpadapter; elsewhere anywhere. code has the
// names of each directory.
func unknownPlaces(text string, code map[string]map[string]bool) (unknown []string, seen int) {
	within := ""
	for line := range strings.Lines(text) {
		if strings.HasPrefix(line, "## ") {
			if within = ""; inCode.MatchString(line) {
				within = inCode.FindStringSubmatch(line)[1]
			}
		}
		cells := strings.Split(strings.TrimSpace(line), " | ")
		if len(cells) != 3 || !strings.HasPrefix(line, "|") {
			continue
		}
		for _, m := range inCode.FindAllStringSubmatch(cells[2], -1) {
			seen++
			for _, name := range identifier.FindAllString(m[1], -1) {
				known := false
				for dir, names := range code {
					known = known || names[name] && (within == "" || dir == within || dir == "." || dir == "httpadapter")
				}
				if !known {
					unknown = append(unknown, m[1])
				}
			}
		}
	}
	return unknown, seen
}

func TestRulingsNameCode(t *testing.T) {
	code := map[string]map[string]bool{}
	put := func(dir, name string) {
		if code[dir] == nil {
			code[dir] = map[string]bool{}
		}
		code[dir][name] = true
	}
	put("httpadapter/console", "js") // of the file console.js
	err := filepath.WalkDir(".", func(path string, entry os.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if entry.IsDir() {
			switch name := entry.Name(); {
			case path == ".":
			case strings.HasPrefix(name, "."), path == "e2e", path == "examples", path == "integrations":
				return filepath.SkipDir
			default:
				put(".", name)
			}
			return nil
		}
		if !strings.HasSuffix(path, ".go") || strings.HasSuffix(path, "_test.go") {
			return nil
		}
		file, err := parser.ParseFile(token.NewFileSet(), path, nil, parser.SkipObjectResolution)
		if err != nil {
			return err
		}
		ast.Inspect(file, func(n ast.Node) bool {
			if name, ok := n.(*ast.Ident); ok {
				put(filepath.ToSlash(filepath.Dir(path)), name.Name)
			}
			return true
		})
		return nil
	})
	require.NoError(t, err)
	text, err := os.ReadFile(filepath.FromSlash("docs/rulings.md"))
	require.NoError(t, err)
	unknown, seen := unknownPlaces(string(text), code)
	require.Empty(t, unknown, "docs/rulings.md: named as the place of a ruling, and not in the code")
	require.Greater(t, seen, 200)

	// This test can fail.
	unknown, seen = unknownPlaces("| a | `none` | `x.y`, option `z` |\nx | `none` | `none` |\n"+
		"## The adapter (`a`)\n| a | b | `c` |\n| a | b | `z` |\n",
		map[string]map[string]bool{"a": {"c": true}, "b": {"x": true, "z": true}})
	require.Equal(t, []string{"x.y", "z"}, unknown)
	require.Equal(t, 4, seen)
}

// The tests above can fail.
func TestReadmeDrift(t *testing.T) {
	source := "a := 1\nb := 2\nif a {\n\tc(a)\n}\n"
	require.Empty(t, missingLine([]string{"a := 1", "c(a)"}, source))
	require.Equal(t, "c(b)", missingLine([]string{"a := 1", "c(b)"}, source))
	require.Equal(t, "a := 1", missingLine([]string{"b := 2", "a := 1"}, source), "another order")
	require.Equal(t, "one\n two", exampleOutput("func Example() {\n\t// Output:\n\t// one\n\t//  two\n}\n"))
	require.Empty(t, readBlocks(t, "<!-- example: x -->\n\n```go\ny\n```\n")[0].kind, "not right above")
	require.Equal(t, [][]string{{"a", "\tb"}, {"c"}}, indented("// x\n//\n//\ta\n//\t\tb\n//\n//\tc\npackage p"))
}
