package latchkey

import (
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestPath(t *testing.T) {
	for _, c := range []struct {
		segments []string
		want     Resource
	}{
		{[]string{"dataset", "orders"}, "dataset/orders"},
		{[]string{"dataset", "a/b"}, "dataset/a%2Fb"},
		{[]string{"dataset", "*"}, "dataset/%2A"},
		{[]string{"db", "%2A"}, "db/%252A"},
		{[]string{"db", ""}, "db/%"},
		{[]string{"db", "."}, "db/%2E"},
		{[]string{"db", ".."}, "db/%2E%2E"},
		{[]string{"db", "..."}, "db/..."},
		{[]string{"db", "a\x00b"}, "db/a%00b"},
		{[]string{"db", "a\xffé"}, "db/a%FFé"},
		{[]string{"latchkey", "token", "../x"}, "latchkey/token/..%2Fx"},
		{[]string{"two words\n"}, "two words\n"},
	} {
		got := Path(c.segments...)
		require.Equal(t, c.want, got)
		require.NoError(t, got.Validate())
		require.True(t, got.valid())
		require.Equal(t, c.segments, got.Segments())
	}
	require.ErrorIs(t, Path().Validate(), ErrInvalid)
	require.ErrorIs(t, Path(strings.Repeat("%", 171)).Validate(), ErrInvalid, "over 512 bytes")
	require.NoError(t, Path(strings.Repeat("%", 170)).Validate())
	require.Equal(t, []string{"a%zz", "%2", "50%"}, Resource("a%zz/%2/50%").Segments())
	for r, why := range map[string]string{
		"":                             "is empty",
		strings.Repeat("é", 256):       "",
		strings.Repeat("a", 512):       "",
		strings.Repeat("a", 513):       "longer than 512 bytes",
		"é" + strings.Repeat("a", 511): "longer than 512 bytes",
		"\xff":                         "not valid UTF-8",
		"a\x00":                        "NUL",
		"a*":                           `raw "*"`,
		"a//b":                         "an empty segment",
		"é/":                           "an empty segment",
		"/a":                           "an empty segment",
		"a/./b":                        `a "." segment`,
		"..":                           `a ".." segment`,
		"é/..":                         `a ".." segment`,
	} {
		err := Resource(r).Validate()
		require.Equal(t, why == "", Resource(r).valid(), "%q", r)
		require.Equal(t, why == "", Exactly(Resource(r)).Matches(Resource(r)), "%q", r)
		if why == "" {
			require.NoError(t, err)
			continue
		}
		require.ErrorIs(t, err, ErrInvalid)
		require.ErrorContains(t, err, why)
	}
}

func TestPatterns(t *testing.T) {
	for _, c := range []struct {
		pattern Pattern
		yes, no []Resource
	}{
		{"a", []Resource{"a"}, []Resource{"a/b", "ab", "A", "a/", ""}},
		{"a/*", []Resource{"a/b", "a/b/c", "a/%"}, []Resource{"a", "ab", "ab/c", "a/", "b/a/c", "a/*", "a/../b"}},
		{"*", []Resource{"a", "a/b", "latchkey", "latchkeys/x", "a/latchkey/x"}, []Resource{"latchkey/token/1", "", "*"}},
		{"latchkey/*", []Resource{"latchkey/token", "latchkey/token/1"}, []Resource{"latchkey", "a"}},
		{"latchkey/token/*", []Resource{"latchkey/token/1"}, []Resource{"latchkey/role/1", "latchkey/token"}},
		{Exactly("*"), nil, []Resource{"*", "a"}},
		{Exactly("a/*"), nil, []Resource{"a/b", "a/*"}},
		{Under(""), nil, []Resource{"a", "/a", "a/b"}},
		{Under("a/.."), nil, []Resource{"a/../b", "b"}},
		{Under(Path("db", "*")), []Resource{"db/%2A/x"}, []Resource{"db/a/x", "db/%2A"}},
	} {
		for _, r := range c.yes {
			require.True(t, c.pattern.Matches(r), "%q matches %q", c.pattern, r)
		}
		for _, r := range c.no {
			require.False(t, c.pattern.Matches(r), "%q matches %q", c.pattern, r)
		}
	}
	for _, bad := range []Pattern{"", "/*", "**", "a*", "*/a", "a/*/b", "a/**", "a/", "a//b", "./*",
		"a/../*", "a\x00", "\xff/*",
		Pattern(strings.Repeat("a", 513))} {
		require.ErrorIs(t, bad.Validate(), ErrInvalid, "%q", bad)
		require.False(t, bad.Matches("a/b"))
	}
}

func TestActions(t *testing.T) {
	for _, a := range []Action{Read, Any, "a", "x:y.z_0-9", Action(strings.Repeat("a", 64))} {
		require.NoError(t, a.Validate())
	}
	for _, a := range []Action{"", "Read", "a b", "é", "**", "a/b", "a\x00", Action(strings.Repeat("a", 65))} {
		require.ErrorIs(t, a.Validate(), ErrInvalid, "%q", a)
	}
}

func FuzzPattern(f *testing.F) {
	f.Add("dataset/*", "dataset/orders", "a/b")
	f.Add("*", "latchkey/token", "..")
	f.Add("latchkey/*", "latchkey/token/x", "%")
	f.Add("a/*", "a/\xff", "")
	f.Add("a/{*}/b/*", "a/x/b/c", "{*}")
	f.Add("{*}/{*client}", "latchkey/token", "{*client}")
	f.Fuzz(func(t *testing.T, pattern, resource, segment string) {
		p, r := Pattern(pattern), Resource(resource)
		require.Equal(t, r.Validate() == nil, r.valid())
		if p.Matches(r) {
			require.NoError(t, p.Validate())
			require.NoError(t, r.Validate())
		}
		compiled := newPolicy([]layer{{rules: Permissions{Allow(Any).On(p)}}}, nil)
		require.Equal(t, p.Matches(r), compiled.verdict(Read, r) == verdictAll)
		r.Segments()

		made := Path("db", segment)
		require.Equal(t, []string{"db", segment}, made.Segments())
		if len(made) > maxResource {
			require.Error(t, made.Validate())
			return
		}
		require.NoError(t, made.Validate())
		require.True(t, Exactly(made).Matches(made))
		require.Equal(t, r == made, Exactly(made).Matches(r))
		require.True(t, Pattern("db/*").Matches(made))
		require.False(t, Under(made).Matches(made))
		other := Path("db", resource)
		require.Equal(t, resource == segment, Exactly(made).Matches(other))
		if len(other) < maxResource/2 && len(made) < maxResource/2 {
			child := Path(append(slices.Clone(made.Segments()), resource)...)
			require.True(t, Under(made).Matches(child))
		}
	})
}
