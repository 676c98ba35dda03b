package measure

import (
	"math"
	"slices"
)

// Series is one figure of each round, in the order of the rounds.
type Series []float64

// Median returns the middle figure, the mean of the two in the middle of an even number, and NaN for none.
func (s Series) Median() float64 { return s.at(0.5) }

// Quartiles returns the bounds of the middle half of the figures: the spread that this module reports.
func (s Series) Quartiles() (low, high float64) { return s.at(0.25), s.at(0.75) }

// at returns the figure that a share of all figures are below, interpolated.
func (s Series) at(share float64) float64 {
	if len(s) == 0 {
		return math.NaN()
	}
	sorted := slices.Sorted(slices.Values(s))
	place := share * float64(len(sorted)-1)
	i := int(place)
	if i+1 == len(sorted) {
		return sorted[i]
	}
	return sorted[i] + (place-float64(i))*(sorted[i+1]-sorted[i])
}

// Over returns the ratios s/t, round by round: what was measured at the same time is compared.
func (s Series) Over(t Series) Series { return s.each(t, func(a, b float64) float64 { return a / b }) }

// Plus returns the sums s+t, round by round.
func (s Series) Plus(t Series) Series { return s.each(t, func(a, b float64) float64 { return a + b }) }

// Minus returns the differences s-t, round by round.
func (s Series) Minus(t Series) Series { return s.each(t, func(a, b float64) float64 { return a - b }) }

// each panics if t has fewer rounds than s: figures of different comparisons say nothing about each other.
func (s Series) each(t Series, f func(a, b float64) float64) Series {
	out := make(Series, len(s))
	for i := range s {
		out[i] = f(s[i], t[i])
	}
	return out
}

// Scale returns the figures multiplied by f.
func (s Series) Scale(f float64) Series {
	return s.each(s, func(a, _ float64) float64 { return a * f })
}

// Slope fits y = a·x^slope to points by least squares in the logarithms, and returns the slope and its standard error.
// All x and y must be positive. With fewer than three different x the error is NaN.
func Slope(x, y []float64) (slope, spread float64) {
	var n, sx, sy float64
	for i := range x {
		n, sx, sy = n+1, sx+math.Log(x[i]), sy+math.Log(y[i])
	}
	var xx, xy float64
	for i := range x {
		dx := math.Log(x[i]) - sx/n
		xx, xy = xx+dx*dx, xy+dx*(math.Log(y[i])-sy/n)
	}
	slope = xy / xx
	if n < 3 {
		return slope, math.NaN()
	}
	var rest float64
	for i := range x {
		r := math.Log(y[i]) - sy/n - slope*(math.Log(x[i])-sx/n)
		rest += r * r
	}
	return slope, math.Sqrt(rest / (n - 2) / xx)
}
