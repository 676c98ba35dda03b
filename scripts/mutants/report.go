package main

import (
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"regexp"
	"slices"
	"strconv"
	"strings"
)

// score is what became of the mutants of one file.
type score struct {
	file          string
	made          int // by the operators
	tried, killed int // of those that build
	equivalent    int // on the list
	draw, date    string
}

// String returns the row of the report.
func (s *score) String() string {
	return fmt.Sprintf("| %s | %d | %d | %d | %d | %.1f %% | `%s` | %s |", s.file, s.made, s.tried, s.killed, s.equivalent,
		100*float64(s.killed)/float64(max(1, s.tried)), s.draw, s.date)
}

var row = regexp.MustCompile(
	`^\| (\S+) \| (\d+) \| (\d+) \| (\d+) \| (\d+) \| [0-9.]+ % \| ` + "`(.*)`" + ` \| (\S+) \|$`)

// parseScores reads the rows of a report.
func parseScores(text string) map[string]*score {
	scores := map[string]*score{}
	for line := range strings.Lines(text) {
		f := row.FindStringSubmatch(strings.TrimSpace(line))
		if f == nil {
			continue
		}
		var n [4]int
		for i := range n {
			n[i], _ = strconv.Atoi(f[2+i]) // the pattern admits digits only
		}
		scores[f[1]] = &score{file: f[1], made: n[0], tried: n[1], killed: n[2], equivalent: n[3], draw: f[6], date: f[7]}
	}
	return scores
}

// update puts scores into a report in place of older ones of the same files.
func update(name string, scores map[string]*score) error {
	text, err := os.ReadFile(name)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	all := parseScores(string(text))
	maps.Copy(all, scores)
	return os.WriteFile(name, []byte(reportOf(all)), 0o644)
}

// reportOf returns the document.
func reportOf(scores map[string]*score) string {
	var b strings.Builder
	b.WriteString(reportHead)
	tried, killed := 0, 0
	for _, name := range slices.Sorted(maps.Keys(scores)) {
		s := scores[name]
		if s.tried == 0 {
			continue
		}
		tried, killed = tried+s.tried, killed+s.killed
		fmt.Fprintln(&b, s)
	}
	share := 100 * float64(killed) / float64(max(1, tried))
	fmt.Fprintf(&b, "\n%d of %d mutants were killed: %.1f %%.\n", killed, tried, share)
	return b.String()
}

const reportHead = `# Mutation scores

How many one-line changes of the code a test notices. ` + "`scripts/mutants`" + ` makes the changes by operators:
conditions that always or never hold, bounds one off, statements that are gone, returns without an error, literals that
lack a field. It runs each against the tests that execute the changed statement. The score is the share of those tried
that make a test fail. Changes that nobody can tell from the code as it is stand in ` + "`equivalents.txt`" + `
beside the program with their reasons, and are not tried.

This file is written by the command. That of a row is the following, with the file and what the column "draw" says:

    go run ./scripts/mutants -generate '^FILE$' DRAW -report docs/mutation-score.md

` + "`-each`" + ` draws that many mutants of a file. With ` + "`-budget`" + ` a mutant counts as not killed if the
tests that take that long together do not fail, so that score is a lower bound. The guards in ` + "`mutants.txt`" + `
are another set, written by hand: each of them must turn the test red that is named there.

| file | mutants | tried | killed | equivalent | score | draw | date |
|---|---|---|---|---|---|---|---|
`
