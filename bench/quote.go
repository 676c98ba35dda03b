package main

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
)

// quoted are the documents that a run writes figures into: between a comment that names the block and the next "end".
var quoted = map[string]func(b *bench) (string, error){
	"README.md":           readmeLines,
	"docs/performance.md": performanceLines,
}

const blockBegins, blockEnds = "<!-- bench: written by make bench -->\n", "<!-- end -->"

// quote writes what was measured into the documents of a repository.
func (b *bench) quote(repository string) error {
	for name, lines := range quoted {
		text, err := lines(b)
		if err != nil {
			return fmt.Errorf("%s: %w", name, err)
		}
		file := filepath.Join(repository, name)
		old, err := os.ReadFile(file)
		if err != nil {
			return err
		}
		fresh, err := replaceBlock(string(old), text)
		if err != nil {
			return fmt.Errorf("%s: %w", name, err)
		}
		if err := os.WriteFile(file, []byte(fresh), 0o644); err != nil {
			return err
		}
	}
	return nil
}

// replaceBlock replaces what stands in the one block of a document.
func replaceBlock(document, text string) (string, error) {
	before, rest, ok := strings.Cut(document, blockBegins)
	_, after, ended := strings.Cut(rest, blockEnds)
	if !ok || !ended || strings.Contains(after, blockBegins) {
		return "", fmt.Errorf("there is not one block %q with its end", strings.TrimSpace(blockBegins))
	}
	return before + blockBegins + text + blockEnds + after, nil
}

// find returns the line of some work beside a peer, whose name begins with beside.
func (b *bench) find(work, beside string) (line, error) {
	for _, l := range b.lines {
		if l.work == work && strings.HasPrefix(l.peer, beside) && (beside != "" || l.peer == "") {
			return l, nil
		}
	}
	return line{}, fmt.Errorf("nothing was measured of %q beside %q", work, beside)
}

// times returns a ratio without its spread.
func (l line) times() string {
	ratio, _, _ := strings.Cut(l.ratio, " ")
	return ratio
}

// took returns a figure without its spread.
func (l line) took() string {
	figure, _, _ := strings.Cut(l.figure, " (")
	return figure
}

// sentences fills a text in: %f of each line is its figure, and %r its ratio. A line is named by its work and its peer.
func (b *bench) sentences(parts ...[3]string) (string, error) {
	var out strings.Builder
	for _, p := range parts {
		l, err := b.find(p[0], p[1])
		if err != nil {
			return "", err
		}
		out.WriteString(strings.NewReplacer("%f", l.took(), "%r", l.times()).Replace(p[2]))
	}
	return out.String(), nil
}

func readmeLines(b *bench) (string, error) {
	return b.sentences(
		[3]string{"Verify, cached, 1,000 tokens", "golang-jwt HS256",
			"- `Verify` of a cached token takes %f, %r times as fast as golang-jwt HS256; "},
		[3]string{"Verify, cached, 1,000,000 tokens", "golang-jwt HS256", "of one in a million, %f, %r times as fast.\n"},
		[3]string{"Allows, hot, 10,000 grants", "casbin CachedEnforcer",
			"- `Allows` takes %f with 10,000 grants, %r times as fast as casbin's cache, "},
		[3]string{"Allows, hot, 10,000 grants", "casbin Enforce", "%r times as fast as its `Enforce`.\n"},
		[3]string{"Match, 3 terms", "cel-go",
			"- A condition is matched in %f, %r times as fast as by cel-go, "},
		[3]string{"Filter + Bind + SQL, as a statement", "goqu", "and written as SQL in %f, %r times as fast as by goqu.\n"},
		[3]string{"Mint, memstore", "golang-jwt HS256",
			"- `Mint` takes %f in memory, %r times as fast as golang-jwt signs; "},
		[3]string{"Require with a wildcard, over the bare mux", "golang-jwt HS256 middleware",
			"a guarded request takes %f more, %r times as fast.\n"},
	)
}

// performanceLines are the lines of the table that compare latchkey with others.
func performanceLines(b *bench) (string, error) {
	var t strings.Builder
	t.WriteString("| work | time | beside | times as fast |\n|---|--:|---|--:|\n")
	for _, l := range b.lines {
		if l.peer != "" && !l.limit {
			fmt.Fprintf(&t, "| %s | %s | %s | %s |\n", l.work, l.took(), l.peer, l.times())
		}
	}
	return t.String(), nil
}
