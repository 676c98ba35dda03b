package measure

import (
	"errors"
	"math"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

func TestSeries(t *testing.T) {
	s := Series{5, 1, 3, 2, 4}
	require.Equal(t, 3.0, s.Median())
	low, high := s.Quartiles()
	require.Equal(t, []float64{2, 4}, []float64{low, high})
	require.Equal(t, Series{5, 1, 3, 2, 4}, s, "the rounds keep their order")
	require.Equal(t, 2.5, Series{1, 2, 3, 4}.Median())
	require.True(t, math.IsNaN(Series{}.Median()))
	require.Equal(t, Series{2, 3}, Series{4, 9}.Over(Series{2, 3}))
	require.Equal(t, Series{6, 12}, Series{4, 9}.Plus(Series{2, 3}))
	require.Equal(t, Series{2, 6}, Series{4, 9}.Minus(Series{2, 3}))
	require.Equal(t, Series{8, 18}, Series{4, 9}.Scale(2))
	// The median of the ratios is not the ratio of the medians: a slow round slows both sides.
	require.Equal(t, 2.0, Series{2, 20, 6}.Over(Series{1, 10, 3}).Median())
}

func TestSlope(t *testing.T) {
	x := []float64{1, 10, 100, 1000}
	slope, spread := Slope(x, []float64{3, 30, 300, 3000})
	require.InDelta(t, 1, slope, 1e-9)
	require.InDelta(t, 0, spread, 1e-9)
	slope, _ = Slope(x, []float64{7, 7, 7, 7})
	require.InDelta(t, 0, slope, 1e-9)
	slope, _ = Slope(x, []float64{1, 100, 1e4, 1e6})
	require.InDelta(t, 2, slope, 1e-9)
	_, spread = Slope(x, []float64{3, 40, 200, 3000})
	require.Greater(t, spread, 0.01)
	_, spread = Slope(x[:2], []float64{1, 10})
	require.True(t, math.IsNaN(spread))
}

func TestTurn(t *testing.T) {
	first := map[int]bool{}
	for round := range 6 {
		seen := map[int]bool{}
		for place := range 3 {
			seen[turn(place, round, 3)] = true
		}
		require.Len(t, seen, 3, "each side has its turn in round %d", round)
		first[turn(0, round, 3)] = true
	}
	require.Len(t, first, 3, "each side begins some round")
}

var kept []byte

func TestCompare(t *testing.T) {
	var order []string
	prepared, bounded := 0, 0
	results, err := Compare([]Side{
		{Name: "allocates", Run: func(n int) error {
			order = append(order, "allocates")
			for range n {
				kept = make([]byte, 1024)
			}
			return nil
		}},
		{Name: "bounded", Max: 7, Prepare: func(n int) error { prepared = n; return nil }, Run: func(n int) error {
			order = append(order, "bounded")
			if n > prepared {
				return errors.New("not prepared")
			}
			prepared, bounded = 0, max(bounded, n)
			return nil
		}},
	}, Options{Each: time.Millisecond, Rounds: 4})
	require.NoError(t, err)
	require.Equal(t, 7, bounded)
	require.Len(t, results[0].NS, 4)
	require.Len(t, results[1].NS, 4)
	require.GreaterOrEqual(t, results[0].Bytes, 1024.0)
	require.GreaterOrEqual(t, results[0].Allocs, 1.0)
	require.Zero(t, results[1].GC)
	rounds := order[len(order)-8:]
	require.Equal(t, []string{"allocates", "bounded", "bounded", "allocates", "bounded", "allocates", "allocates",
		"bounded"}, rounds)
}

func TestCompareFailsWithItsSide(t *testing.T) {
	wrong := errors.New("wrong answer")
	_, err := Compare([]Side{{Name: "peer", Run: func(int) error { return wrong }}}, Options{Each: 1, Rounds: 1})
	require.ErrorIs(t, err, wrong)
	require.ErrorContains(t, err, "peer")
}
