package main

import (
	"testing"
	"unicode/utf8"

	"github.com/stretchr/testify/require"
)

// A name cannot move the cursor, nor look like another one.
func TestVisible(t *testing.T) {
	for text, want := range map[string]string{
		"":               "",
		"plain":          "plain",
		"Zoë 株式会社 👍":     "Zoë 株式会社 👍",
		"a\x1b[2Jb":      `a\u001b[2Jb`,
		"a\nb\tc\r":      `a\u000ab\u0009c\u000d`,
		"\u202egnp.exe":  `\u202egnp.exe`,
		"ad\u200bmin":    `ad\u200bmin`,
		"a\u00a0b":       `a\u00a0b`,
		"a\u2028b":       `a\u2028b`,
		"\U000e0041":     `\U000e0041`,
		"\xff\xfe":       `\xff\xfe`,
		"\ufffd":         "\ufffd",
		"\x9b31m":        `\x9b31m`,
		"\u009b31m":      `\u009b31m`,
		"\ufeffadmin":    `\ufeffadmin`,
		"private \ue000": `private \ue000`,
	} {
		require.Equal(t, want, visible(text), "%q", text)
	}
	require.Equal(t, "a\n    b\\u001b", visibleLines("a\n\tb\x1b"))
}

func TestColumns(t *testing.T) {
	for text, want := range map[string]int{"": 0, "abc": 3, "Zoë": 3, "Zoe\u0308": 3, "株式": 4, "ｆ": 2} {
		require.Equal(t, want, columns(text), text)
	}
	for _, c := range []struct {
		text string
		most int
		want string
	}{{"abc", 3, "abc"}, {"abcd", 3, "ab…"}, {"株式会社", 5, "株式…"}, {"株式会社", 4, "株…"}, {"株式", 4, "株式"}} {
		require.Equal(t, c.want, cut(c.text, c.most))
		require.LessOrEqual(t, columns(cut(c.text, c.most)), c.most)
	}
}

// Whatever a name holds, what is shown has no control character.
func FuzzVisible(f *testing.F) {
	f.Add("a\x1b[2J")
	f.Add("\xff\u202e")
	f.Fuzz(func(t *testing.T, text string) {
		shown := visible(text)
		require.True(t, utf8.ValidString(shown))
		for _, r := range shown {
			require.False(t, hidden(r), "%q", shown)
		}
	})
}
