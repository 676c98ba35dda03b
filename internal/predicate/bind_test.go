package predicate

import (
	"cmp"
	"encoding/json"
	"slices"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// A node that the caller forgot to describe admits nothing.
func TestAForgottenNodeAdmitsNothing(t *testing.T) {
	s := schema(t, oneOfEach)
	b := NewBinder(s, 3, nil)
	first := b.Any(0, 2)
	require.Nil(t, b.Compare(first, "s", "=", "a", false))
	b.End()
	p := b.Predicate()
	assert.True(t, p.Match(map[string]any{"s": "a"}))
	assert.False(t, p.Match(map[string]any{"s": "b"}))
	where, _ := p.SQL(SQLite, 1)
	assert.Contains(t, where, "(1=0)")
}

func TestCompareRefuses(t *testing.T) {
	s := schema(t, oneOfEach)
	for _, c := range []struct {
		field, op string
		value     any
		unknown   bool
		reason    string
	}{
		{"x", "=", "a", true, "no such field"},
		{"s", "=", int64(1), false, "takes text"},
		{"i", "=", "5.5", false, "digits"},
		{"i", "contains", "5", false, "does not support the operator"},
		{"b", "<", true, false, "does not support the operator"},
		{"b", "=", int64(2), false, "true, false, 1 or 0"},
		{"d", "=", "2026-02-30", false, "a real day"},
		{"t", "=", "2026-11-22", false, "an instant"},
		{"f", "=", "1e400", false, "a float64 can hold"},
		{"n", "=", strings.Repeat("1", 36), false, "35 digits"},
		{"i", "in", struct{}{}, false, "a list"},
		{"i", "in", []any{int64(1), "x"}, false, "digits"},
		{"s", "starts-with", string(utf8.MaxRune), false, "no text lies above"},
	} {
		b := NewBinder(s, 1, nil)
		err := b.Compare(0, c.field, c.op, c.value, false)
		require.NotNil(t, err, "%v", c)
		assert.Equal(t, c.field, err.Field)
		assert.Equal(t, c.unknown, err.Unknown)
		assert.Contains(t, err.Reason, c.reason)
	}
}

// The largest number that a limit names is allowed, and one more is not.
func TestEachLimitIsReached(t *testing.T) {
	nines := func(n int) string { return strings.Repeat("9", n) }
	for name, c := range map[string]struct {
		most int
		try  func(n int) string // what is wrong
	}{
		"digits before the point": {35, func(n int) string {
			_, reason := numberValue(nines(n))
			return reason
		}},
		"digits behind the point": {30, func(n int) string {
			_, reason := numberValue("0." + nines(n))
			return reason
		}},
		"bytes of a name": {512, func(n int) string { return CheckName(nines(n)) }},
		"bytes of a text": {64 << 10, func(n int) string {
			_, reason := CanonicalText(nil, nines(n))
			return reason
		}},
		"bytes of a number": {64 << 10, func(n int) string {
			_, reason := canonicalNumber("0." + nines(n-2))
			return reason
		}},
	} {
		require.Empty(t, c.try(c.most), name)
		require.NotEmpty(t, c.try(c.most+1), name)
	}
	for text, want := range map[string]string{
		nines(35): nines(35), "1e34": "1" + strings.Repeat("0", 34), "1e35": "1e35",
		"1e-30": "0." + strings.Repeat("0", 29) + "1", "1e-31": "1e-31",
	} {
		require.Equal(t, json.Number(want), PlainNumber(json.Number(text)))
	}
}

// No text with the prefix lies above its successor, and none without it between the two.
func TestSuccessor(t *testing.T) {
	alphabet := []string{"", "a", "b", "\x00", "\x7f", "ß", "\ud7ff", "\ue000", "\U0010ffff"}
	var texts []string
	for _, a := range alphabet {
		for _, b := range alphabet {
			for _, c := range alphabet {
				texts = append(texts, a+b+c)
			}
		}
	}
	slices.Sort(texts)
	for _, prefix := range slices.Compact(slices.Clone(texts)) {
		if prefix == "" {
			continue
		}
		above, reason := successor(prefix)
		if reason != "" {
			require.Empty(t, strings.Trim(prefix, "\U0010ffff"))
			continue
		}
		for _, text := range texts {
			require.Equal(t, strings.HasPrefix(text, prefix), cmp.Compare(text, prefix) >= 0 && text < above,
				"%q in %q", text, prefix)
		}
	}
}
