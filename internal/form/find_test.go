package form

import (
	"net/url"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestFind(t *testing.T) {
	for _, c := range []struct {
		text     string
		brackets bool
		value    string
		n        int
		kind     Kind
	}{
		{"", true, "", 0, 0},
		{"key=a", false, "a", 1, Text},
		{"x=1&key=a%2Bb+c&y", false, "a+b c", 1, Text},
		{"%6Bey=a&k%65y=b", false, "a", 2, Text},
		{"key", false, "", 1, Text},
		{"key=", false, "", 1, Text},
		{"keys=a&ke=b&Key=c&key%00=d&=key&&", true, "", 0, 0},
		{"key[]=a", true, "a", 1, List},
		{"key[x]=a", true, "a", 1, Map},
		{"key%5B0%5D=a&key=b", true, "a", 2, List},
		{"key[]=a", false, "", 0, 0},
	} {
		f, err := Find(c.text, "key", c.brackets)
		require.NoError(t, err, c.text)
		require.Equal(t, c.n, f.N, c.text)
		require.Equal(t, c.value, f.Value, c.text)
		require.Equal(t, c.kind, f.Kind, c.text)
	}
	for _, bad := range []string{"a;b=1", "key=%", "%zz=1&key=a", "key=a&b=%4", "key=%FF"} {
		_, err := Find(bad, "key", false)
		require.ErrorIs(t, err, ErrMalformed, bad)
	}
}

// Find and Parse agree about every form that Parse accepts.
func FuzzFind(f *testing.F) {
	for _, s := range []string{"key=a", "key[]=a&key[]=b", "a=b&key=%6b", "key=a&key=b", "key[x]=1", "%6b%65y=x"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, text string) {
		tree, err := Parse(text)
		if err != nil {
			return
		}
		f, err := Find(text, "key", true)
		require.NoError(t, err)
		switch v := tree.Get("key"); {
		case v == nil:
			require.Zero(t, f)
		case v.Kind == Text:
			require.Equal(t, Found{Text, v.Text, 1}, f)
		default:
			require.Positive(t, f.N)
			require.True(t, f.N > 1 || f.Kind != Text)
		}
		if query, err := url.ParseQuery(text); err == nil {
			f, err = Find(text, "key", false)
			require.NoError(t, err)
			require.Len(t, query["key"], f.N)
		}
	})
}

func TestFindAllocatesNothing(t *testing.T) {
	_, err := Find(strings.Repeat("a=1&", MaxPairs)+"key=a", "key", true)
	require.ErrorIs(t, err, ErrMalformed)
	_, err = Find(strings.Repeat("a", MaxBytes+1), "key", true)
	require.ErrorIs(t, err, ErrTooLarge)
	for _, text := range []string{strings.Repeat("a=1&", 1<<18), strings.Repeat("%6b%65z=%31&", 1<<16),
		strings.Repeat("key=1&", 1<<17)} {
		require.Zero(t, testing.AllocsPerRun(3, func() { _, _ = Find(text, "key", false) }))
	}
}
