package plot

import (
	"encoding/xml"
	"errors"
	"io"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestSVG(t *testing.T) {
	p := Plot{Title: `ns <per> "Verify" & more`, X: "tokens", Y: "ns", Lines: []Line{
		{Name: "latchkey", Strong: true, X: []float64{1000, 1e6}, Y: []float64{200, 500}},
		{Name: "a & b", X: []float64{1000, 1e6}, Y: []float64{8000, 8000}},
		{Name: "none"},
	}}
	text := p.SVG()
	seen := map[string]int{}
	for d := xml.NewDecoder(strings.NewReader(text)); ; {
		token, err := d.Token()
		if errors.Is(err, io.EOF) {
			break
		}
		require.NoError(t, err)
		if start, ok := token.(xml.StartElement); ok {
			seen[start.Name.Local]++
		}
	}
	require.Equal(t, 2, seen["polyline"], "a line without points is not drawn")
	require.Equal(t, 4, seen["circle"])
	require.Contains(t, text, "prefers-color-scheme: dark")
	require.Contains(t, text, "a &amp; b")
	for _, tick := range []string{">1k<", ">1M<", ">100<", ">10k<"} {
		require.Contains(t, text, tick)
	}
}

func TestAxis(t *testing.T) {
	a := newAxis([]float64{100, 1e4}, 0, 100)
	require.InDelta(t, 0, a.at(100), 1e-9)
	require.InDelta(t, 50, a.at(1000), 1e-9)
	require.InDelta(t, 100, a.at(1e4), 1e-9)
	require.Len(t, a.ticks(), 3)
	require.Len(t, newAxis([]float64{10}, 0, 1).ticks(), 2, "one value has an axis too")
}

func TestNamesOfLinesDoNotOverlap(t *testing.T) {
	lines := make([]Line, 8)
	for i := range lines {
		lines[i] = Line{X: []float64{1}, Y: []float64{5}}
	}
	at := spread(lines, newAxis([]float64{1, 10}, height-bottom, top))
	for i := 1; i < len(at); i++ {
		require.GreaterOrEqual(t, at[i]-at[i-1], 15.0)
	}
}
