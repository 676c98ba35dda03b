package main

import (
	"bytes"
	"flag"
	"os"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

var update = flag.Bool("update", false, "write docs/command.md anew where it describes commands")

const docs = "../../docs/command.md"

// The part of docs/command.md between the marks is what "latchkey help" prints, for every command. -update writes it.
func TestDocsDescribeEachCommand(t *testing.T) {
	text, err := os.ReadFile(docs)
	require.NoError(t, err)
	const begin, end = "<!-- commands -->\n", "<!-- end of commands -->\n"
	before, rest, ok := strings.Cut(string(text), begin)
	require.True(t, ok, "docs/command.md has no %q", begin)
	_, after, ok := strings.Cut(rest, end)
	require.True(t, ok, "docs/command.md has no %q", end)

	var b bytes.Buffer
	for _, c := range commands() {
		b.WriteString("\n### latchkey " + c.name + "\n\n```text\n")
		printCommandHelp(&b, c)
		b.WriteString("```\n")
	}
	want := before + begin + b.String() + "\n" + end + after
	if *update {
		require.NoError(t, os.WriteFile(docs, []byte(want), 0o644))
		return
	}
	require.Equal(t, want, string(text), "run: go test -run TestDocs -update .")
}

// Every exit code stands in docs/command.md with the words of the help.
func TestDocsNameEachExitCode(t *testing.T) {
	text, err := os.ReadFile(docs)
	require.NoError(t, err)
	var b bytes.Buffer
	require.NoError(t, printHelp(&b, []string{"exit-codes"}))
	require.Contains(t, string(text), "```text\n"+b.String()+"```\n")
}

// What the help says of a command can be read, and has a place on a page.
func TestHelpIsComplete(t *testing.T) {
	for _, c := range commands() {
		require.NotEmpty(t, c.summary, c.name)
		require.False(t, strings.HasSuffix(c.summary, "."), c.name)
		require.NotNil(t, c.define, c.name)
		require.LessOrEqual(t, c.min, max(c.max, c.min), c.name)
		require.Equal(t, c.args == "", c.max == 0, "%s: args and max", c.name)
		var b bytes.Buffer
		printCommandHelp(&b, c)
		for line := range strings.Lines(b.String()) {
			require.LessOrEqual(t, len([]rune(strings.TrimSuffix(line, "\n"))), 110, "%s: %s", c.name, line)
		}
		f := newFlags(c)
		c.define(f)
		f.VisitAll(func(fl *flag.Flag) {
			require.NotEmpty(t, fl.Usage, "%s -%s", c.name, fl.Name)
			require.True(t, strings.ToLower(fl.Name) == fl.Name, "%s -%s", c.name, fl.Name)
		})
	}
}
