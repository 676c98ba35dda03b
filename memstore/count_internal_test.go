package memstore

import (
	"math"
	"testing"

	"github.com/stretchr/testify/require"
)

// A count that would overflow stops at the end of its range, and only such a one.
func TestSum(t *testing.T) {
	for _, c := range [][3]int64{{1, 2, 3}, {1, -5, -4}, {-5, 1, -4}, {5, -1, 4}, {0, 0, 0}, {-1, -2, -3}, {-1, 1, 0},
		{0, math.MinInt64, math.MinInt64}, {math.MaxInt64, 0, math.MaxInt64},
		{math.MaxInt64, 1, math.MaxInt64}, {math.MaxInt64, math.MaxInt64, math.MaxInt64},
		{math.MinInt64, -1, math.MinInt64}, {math.MinInt64, math.MinInt64, math.MinInt64},
		{math.MinInt64, math.MaxInt64, -1}, {math.MaxInt64, math.MinInt64, -1}} {
		require.Equal(t, c[2], sum(c[0], c[1]), c)
	}
}
