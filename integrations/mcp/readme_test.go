package latchkeymcp_test

import (
	"os"
	"regexp"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// Each marked snippet of the README is in the file that it names, line by line and in this order.
func TestReadme(t *testing.T) {
	text, err := os.ReadFile("README.md")
	require.NoError(t, err)
	blocks := regexp.MustCompile("(?s)<!-- example: (\\S+) -->\n```go\n(.*?)```").FindAllStringSubmatch(string(text), -1)
	require.Len(t, blocks, 4)
	for _, block := range blocks {
		source, err := os.ReadFile(block[1])
		require.NoError(t, err)
		rest := string(source)
		for line := range strings.Lines(block[2]) {
			_, after, found := strings.Cut(rest, line)
			require.True(t, found, "%s has no line %q", block[1], line)
			rest = after
		}
	}
}
