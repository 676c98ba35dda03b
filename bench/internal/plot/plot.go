// Package plot draws lines over two logarithmic axes as SVG.
package plot

import (
	"fmt"
	"html"
	"math"
	"slices"
	"strings"
)

// Plot is a chart. Both axes are logarithmic. All values must be positive.
type Plot struct {
	Title string // what is shown, for people who do not see the picture too
	X, Y  string // names of the axes, with units
	Lines []Line
}

// Line is a line of a chart. Points are in the order of X.
type Line struct {
	Name   string
	Strong bool // drawn wider: what the chart is about
	X, Y   []float64
}

// The size of the picture and of the margins around the lines, in pixels.
const (
	width, height            = 800, 420
	left, right, top, bottom = 64, 236, 40, 48 // right: names of lines, up to some 32 characters
)

// colours stand out on white and on black by three to one at least. They are near those of Okabe and Ito, without the
// yellow, the black and the pale blue.
var colours = []string{"#2f81f7", "#d55e00", "#009e73", "#c7629b", "#a6761d", "#3b93c9", "#7f79c4", "#888888",
	"#d1495b"}

// dashes tell lines apart without colour.
var dashes = []string{"", "7 4", "2 3", "9 3 2 3", "4 2", "12 4", "1 4", "6 2 2 2 2 2", "3 6"}

// SVG returns the chart. Text and axes have the colour of the reader's scheme, dark or light; the ground is clear.
func (p *Plot) SVG() string {
	var xs, ys []float64
	for _, l := range p.Lines {
		xs, ys = append(xs, l.X...), append(ys, l.Y...)
	}
	x, y := newAxis(xs, left, width-right), newAxis(ys, height-bottom, top)
	var b strings.Builder
	fmt.Fprintf(&b, `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 %d %d" width="%d" height="%d" role="img" `+
		"aria-label=\"%s\">\n", width, height, width, height, html.EscapeString(p.Title))
	b.WriteString("<style>\n" +
		"text { font: 12px system-ui, sans-serif; fill: #1f2328 }\n" +
		"text.strong { font-weight: 600 }\n" +
		".grid { stroke: #8c959f; stroke-opacity: .35; stroke-width: 1 }\n" +
		"polyline { fill: none }\n" +
		"@media (prefers-color-scheme: dark) { text { fill: #e6edf3 } }\n</style>\n")
	fmt.Fprintf(&b, "<text class=\"strong\" x=\"%d\" y=\"20\">%s</text>\n", left, html.EscapeString(p.Title))
	for _, v := range x.ticks() {
		at := x.at(v)
		fmt.Fprintf(&b, "<line class=\"grid\" x1=\"%.1f\" y1=\"%d\" x2=\"%.1f\" y2=\"%d\"/>"+
			"<text x=\"%.1f\" y=\"%d\" text-anchor=\"middle\">%s</text>\n",
			at, top, at, height-bottom, at, height-bottom+16, short(v))
	}
	for _, v := range y.ticks() {
		at := y.at(v)
		fmt.Fprintf(&b, "<line class=\"grid\" x1=\"%d\" y1=\"%.1f\" x2=\"%d\" y2=\"%.1f\"/>"+
			"<text x=\"%d\" y=\"%.1f\" text-anchor=\"end\">%s</text>\n",
			left, at, width-right, at, left-6, at+4, short(v))
	}
	fmt.Fprintf(&b, "<text x=\"%d\" y=\"%d\" text-anchor=\"middle\">%s</text>\n",
		(left+width-right)/2, height-10, html.EscapeString(p.X))
	fmt.Fprintf(&b, "<text transform=\"translate(14 %d) rotate(-90)\" text-anchor=\"middle\">%s</text>\n",
		(top+height-bottom)/2, html.EscapeString(p.Y))
	labels := spread(p.Lines, y)
	for i, l := range p.Lines {
		if len(l.X) == 0 {
			continue
		}
		colour, stroke, class := colours[i%len(colours)], 1.6, ""
		if l.Strong {
			stroke, class = 3.2, ` class="strong"`
		}
		points := make([]string, len(l.X))
		for j := range l.X {
			points[j] = fmt.Sprintf("%.1f,%.1f", x.at(l.X[j]), y.at(l.Y[j]))
		}
		fmt.Fprintf(&b, "<polyline stroke=\"%s\" stroke-width=\"%.1f\" stroke-dasharray=\"%s\" points=\"%s\"/>\n",
			colour, stroke, dashes[i%len(dashes)], strings.Join(points, " "))
		for _, pair := range points {
			px, py, _ := strings.Cut(pair, ",")
			fmt.Fprintf(&b, "<circle cx=\"%s\" cy=\"%s\" r=\"%.1f\" fill=\"%s\"/>\n", px, py, stroke+1, colour)
		}
		last := len(l.X) - 1
		fmt.Fprintf(&b, "<line stroke=\"%s\" x1=\"%.1f\" y1=\"%.1f\" x2=\"%d\" y2=\"%.1f\" stroke-opacity=\".8\"/>"+
			"<text%s x=\"%d\" y=\"%.1f\">%s</text>\n", colour, x.at(l.X[last])+4, y.at(l.Y[last]), width-right+12,
			labels[i], class, width-right+16, labels[i]+4, html.EscapeString(l.Name))
	}
	b.WriteString("</svg>\n")
	return b.String()
}

// axis maps values to pixels.
type axis struct {
	low, high float64 // exponents of ten
	from, to  float64 // pixels
}

func newAxis(values []float64, from, to int) axis {
	a := axis{math.Inf(1), math.Inf(-1), float64(from), float64(to)}
	for _, v := range values {
		a.low, a.high = min(a.low, math.Floor(math.Log10(v)+1e-9)), max(a.high, math.Ceil(math.Log10(v)-1e-9))
	}
	if len(values) == 0 {
		a.low, a.high = 0, 1
	}
	if a.low == a.high {
		a.high++
	}
	return a
}

func (a axis) at(v float64) float64 {
	return a.from + (math.Log10(v)-a.low)/(a.high-a.low)*(a.to-a.from)
}

// ticks returns the powers of ten within the axis.
func (a axis) ticks() (ticks []float64) {
	for e := a.low; e <= a.high; e++ {
		ticks = append(ticks, math.Pow(10, e))
	}
	return ticks
}

// spread returns where the names of the lines stand, beside their ends but never one over another.
func spread(lines []Line, y axis) []float64 {
	const apart = 15
	order, at := make([]int, 0, len(lines)), make([]float64, len(lines))
	for i, l := range lines {
		if len(l.Y) > 0 {
			order, at[i] = append(order, i), y.at(l.Y[len(l.Y)-1])
		}
	}
	slices.SortStableFunc(order, func(i, j int) int {
		if at[i] < at[j] {
			return -1
		}
		return 1
	})
	floor := float64(top)
	for _, i := range order {
		at[i] = max(at[i], floor)
		floor = at[i] + apart
	}
	ceiling := float64(height - bottom)
	for _, i := range slices.Backward(order) {
		at[i] = min(at[i], ceiling)
		ceiling = at[i] - apart
	}
	return at
}

// short writes a power of ten as people say it: 1k, 10M.
func short(v float64) string {
	for _, unit := range []struct {
		of   float64
		name string
	}{{1e9, "G"}, {1e6, "M"}, {1e3, "k"}} {
		if v >= unit.of*0.999 {
			return fmt.Sprintf("%g%s", math.Round(v/unit.of), unit.name)
		}
	}
	return fmt.Sprintf("%g", v)
}
