package api

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// An Idempotency-Key is a text of 1 to 255 characters, in quotes or not.
func TestOnceKey(t *testing.T) {
	long := strings.Repeat("k", maxOnceKey)
	for value, want := range map[string]string{"k": "k", `"k"`: "k", "a-b": "a-b", long: long, `"` + long + `"`: long} {
		got, ok := onceKey(value)
		require.True(t, ok, value)
		require.Equal(t, want, got)
	}
	for _, value := range []string{"", `"`, `""`, `"k`, `k"`, `a"b`, `a\b`, "a b", "a\x7f", "é", long + "k",
		`"` + long + `k"`} {
		_, ok := onceKey(value)
		require.False(t, ok, value)
	}
}
