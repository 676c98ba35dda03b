package latchkey_test

import (
	"fmt"
	"os"
	"path"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// The README, docs/operations.md and docs/routers.md show code that is compiled and output that is tested elsewhere.
// A comment above each block says where it comes from:
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

func TestReadme(t *testing.T) {
	kinds := map[string]int{}
	for _, doc := range []string{"README.md", "docs/operations.md", "docs/routers.md"} {
		text, err := os.ReadFile(filepath.FromSlash(doc))
		require.NoError(t, err)
		checkBlocks(t, doc, readBlocks(t, string(text)), kinds)
	}
	require.Positive(t, kinds["program"])
	require.Positive(t, kinds["example"])
	require.Positive(t, kinds["output"])
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

// badLinks are the relative links of a document that lead to no file, or to no heading of one.
func badLinks(doc, text string, read func(path string) (string, error)) (bad []string, seen int) {
	for _, m := range link.FindAllStringSubmatch(prose(text), -1) {
		if strings.Contains(m[1], "://") {
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
	docs, err := filepath.Glob("docs/*.md")
	require.NoError(t, err)
	docs = append(docs, "README.md", "CHANGELOG.md", ".github/SECURITY.md", ".github/CONTRIBUTING.md")
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
		doc = filepath.ToSlash(doc)
		text, err := read(doc)
		require.NoError(t, err)
		bad, seen := badLinks(doc, text, read)
		require.Empty(t, bad, doc)
		all += seen
	}
	require.Greater(t, all, 10)

	// This test can fail.
	other := func(string) (string, error) { return "# One\n\n```\n# none\n```\n\n## A `b`, c?\n\n# One\n", nil }
	bad, seen := badLinks("docs/a.md",
		"[x](b.md#a-b-c) [x](b.md#one-1) [x](b.md#none) [x](#one) [x](https://a.example/#b)", other)
	require.Equal(t, []string{"b.md#none", "#one"}, bad)
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
}
