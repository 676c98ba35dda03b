package predicate

import (
	"fmt"
	"math/big"
	"math/rand/v2"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// A value for which opaque has a reason is present and not NULL, and meets no comparison, however it is wrapped.
func TestOpaqueValuesAreUnknown(t *testing.T) {
	type nullable struct {
		Value secret
		Valid bool
	}
	s := schema(t, oneOfEach)
	value := secret("a")
	pointer := &value
	for _, v := range []any{value, secret(nil), pointer, &pointer, nullable{value, true}} {
		row := map[string]any{"s": v}
		for _, negated := range []bool{false, true} {
			assert.False(t, compare(t, s, "s", "=", "a", negated).Match(row), "%T", v)
			assert.False(t, compare(t, s, "s", "in", []any{}, negated).Match(row), "%T", v)
		}
		assert.False(t, compare(t, s, "s", "is-null", true, false).Match(row), "%T", v)
		assert.True(t, compare(t, s, "s", "is-null", false, false).Match(row), "%T", v)
		_, err := s.Row(row)
		require.NotNil(t, err)
		assert.Equal(t, "a secret", err.Reason, "%T", v)
	}
	assert.True(t, compare(t, s, "s", "is-null", true, false).Match(map[string]any{"s": nullable{}}))
}

// Decimals compare as rational numbers do.
func TestDecimals(t *testing.T) {
	r := rand.New(rand.NewPCG(2, 0))
	number := func() string {
		text := strings.Repeat("0", r.IntN(2)) + fmt.Sprint(r.Uint64N(1<<r.IntN(64)))
		if r.IntN(2) == 0 {
			text += "." + fmt.Sprint(r.IntN(100)) + strings.Repeat("0", r.IntN(3))
		}
		if r.IntN(2) == 0 {
			text = "-" + text
		}
		return text
	}
	for range 20_000 {
		a, b := number(), number()
		x, _ := new(big.Rat).SetString(a)
		y, _ := new(big.Rat).SetString(b)
		require.Equal(t, x.Cmp(y), compareDecimals(a, b), "%s and %s", a, b)
		v, reason := numberValue(b)
		require.Empty(t, reason)
		require.Equal(t, x.Cmp(y), v.compare(rowValue{kind: rowDecimal, text: a}), "%s and %s", a, b)
	}
}
