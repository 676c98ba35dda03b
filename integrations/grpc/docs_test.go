package latchkeygrpc_test

import (
	"os"
	"regexp"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

var shown = regexp.MustCompile("(?s)<!-- example: (\\S+) -->\n```\\w+\n(.*?)\n```\n")

// The README shows code that is compiled, run or parsed: each line of a snippet is in the file, in this order.
func TestReadme(t *testing.T) {
	readme, err := os.ReadFile("README.md")
	require.NoError(t, err)
	snippets := shown.FindAllStringSubmatch(string(readme), -1)
	require.Len(t, snippets, strings.Count(string(readme), "<!-- example:"))
	for _, s := range snippets {
		require.Empty(t, missing(t, s[1], s[2]), s[1])
	}
	require.Equal(t, "nosuch line", missing(t, "example_test.go", "package latchkeygrpc_test\nnosuch line"), "the control")
}

// missing is the first line of a snippet that is not in the file, behind those before it.
func missing(t *testing.T, file, snippet string) string {
	t.Helper()
	text, err := os.ReadFile(file)
	require.NoError(t, err)
	rest := strings.Split(string(text), "\n")
next:
	for line := range strings.Lines(snippet) {
		line = strings.TrimSpace(line)
		for i, have := range rest {
			if strings.TrimSpace(have) == line {
				rest = rest[i+1:]
				continue next
			}
		}
		return line
	}
	return ""
}
