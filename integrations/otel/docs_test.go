package latchkeyotel_test

import (
	"os"
	"regexp"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// Each line of a marked snippet of README.md is one of the file that it names, in that order.
func TestSnippetsOfTheReadme(t *testing.T) {
	readme, err := os.ReadFile("README.md")
	require.NoError(t, err)
	marked := regexp.MustCompile("(?s)<!-- example: (\\S+) -->\n```go\n(.*?)```")
	snippets := marked.FindAllStringSubmatch(string(readme), -1)
	require.Len(t, snippets, 2)
	require.Equal(t, 2, strings.Count(string(readme), "```go"), "a snippet that is no part of a program")
	for _, s := range snippets {
		program, err := os.ReadFile(s[1])
		require.NoError(t, err)
		rest := string(program)
		for line := range strings.Lines(s[2]) {
			_, after, ok := strings.Cut(rest, strings.TrimSpace(line)+"\n")
			require.True(t, ok, "%s has no line %q there", s[1], line)
			rest = after
		}
	}
}

// Links to other files of the repository lead somewhere.
func TestLinksOfTheReadme(t *testing.T) {
	readme, err := os.ReadFile("README.md")
	require.NoError(t, err)
	links := regexp.MustCompile(`\]\(([^)#]+)(?:#([^)]+))?\)`).FindAllStringSubmatch(string(readme), -1)
	require.NotEmpty(t, links)
	for _, l := range links {
		text, err := os.ReadFile(l[1])
		require.NoError(t, err)
		if l[2] == "" {
			continue
		}
		found := false
		for line := range strings.Lines(string(text)) {
			heading := strings.ToLower(strings.TrimSpace(strings.TrimLeft(line, "#")))
			heading = regexp.MustCompile(`[^\w\- ]`).ReplaceAllString(heading, "")
			found = found || strings.HasPrefix(line, "#") && strings.ReplaceAll(heading, " ", "-") == l[2]
		}
		require.True(t, found, "%s has no heading %q", l[1], l[2])
	}
}
