package console

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"math"
	"net/http"
	"strconv"
	"strings"
)

// Look is how the pages look. The zero value is the console's own look.
type Look struct {
	// Light and Dark are the colours of the two themes.
	Light, Dark Colours

	// Theme is "light" or "dark" to show only that theme. "": the one that the reader's system asks for.
	Theme string

	// Logo is an image for the top of each page, of at most 8 KiB: SVG, PNG, WebP or JPEG. It is shown 28 px high. Nil:
	// the console's own.
	Logo []byte

	// LogoIsName reports whether the logo shows the name, so that Options.Title stands beside it for screen readers only.
	LogoIsName bool
}

// Colours are colours of a theme, each written as "#0b5a63". "": the console's own. [Handler] refuses colours that
// people with low vision could not tell apart (WCAG 2.2, 1.4.3 and 1.4.11).
type Colours struct {
	Background string // of the page
	Card       string // of what stands on it
	Ink        string // of text
	Quiet      string // of text that matters less
	Line       string // between things; for decoration
	Edge       string // around fields and buttons
	Accent     string // of links, of what is chosen, and of the main button
	Good       string // of what was done, and what is valid
	Warn       string // of warnings
	Bad        string // of errors, and of what cannot be undone
}

// The console's own colours, as in console.css.
var (
	ownLight = Colours{"#f7f7f5", "#ffffff", "#1b1d1f", "#5a6066", "#dcddd9", "#868c91", "#0b5a63", "#1c6132", "#7a4b00",
		"#a11d26"}
	ownDark = Colours{"#131517", "#1b1e20", "#e6e7e4", "#a2a9ae", "#32373a", "#7b8388", "#7fc8cf", "#8fd3a0", "#ecc077",
		"#f6a3a0"}
)

const maxLogo = 8 << 10

// ownLook is what the pages of one console refer to, besides the files of every console.
type ownLook struct {
	style, logo string            // names of files; "": none
	files       map[string]string // by name
	types       map[string]string // media types by name
}

// newLook returns the files of a look. It panics if the look cannot be shown, or not be read.
func newLook(l Look) ownLook {
	out := ownLook{files: map[string]string{}, types: map[string]string{}}
	add := func(file, content, mediaType string) string {
		sum := sha256.Sum256([]byte(content))
		name := hex.EncodeToString(sum[:6]) + "-" + file
		out.files[name], out.types[name] = content, mediaType
		return name
	}
	light, dark := styleOf("Light", l.Light, ownLight), styleOf("Dark", l.Dark, ownDark)
	var css string
	switch l.Theme {
	case "":
		if light != "" {
			css = ":root{" + light + "}"
			if dark == "" { // the colours above would be those of the dark theme, too
				dark = styleOf("Dark", ownDark, ownDark)
			}
		}
		if dark != "" {
			css += "@media (prefers-color-scheme:dark){:root{" + dark + "}}"
		}
	case "light":
		css = ":root{color-scheme:light;" + styleOf("Light", merged(l.Light, ownLight), ownLight) + "}"
	case "dark":
		css = ":root{color-scheme:dark;" + styleOf("Dark", merged(l.Dark, ownDark), ownDark) + "}"
	default:
		panic(fmt.Sprintf("console: Options.Look.Theme: %q is neither \"light\" nor \"dark\"", l.Theme))
	}
	if css != "" {
		out.style = add("look.css", css, "text/css; charset=utf-8")
	}
	if l.Logo == nil {
		return out
	}
	mediaType := imageType(l.Logo)
	switch {
	case mediaType == "":
		panic("console: Options.Look.Logo is no SVG, PNG, WebP or JPEG image")
	case len(l.Logo) > maxLogo:
		panic(fmt.Sprintf("console: Options.Look.Logo has %d bytes; at most %d are shown", len(l.Logo), maxLogo))
	}
	out.logo = add("logo", string(l.Logo), mediaType)
	return out
}

// imageType returns the media type of an image that browsers show, or "".
func imageType(image []byte) string {
	start := bytes.TrimLeft(bytes.TrimPrefix(image, []byte("\ufeff")), " \t\r\n")
	if bytes.HasPrefix(start, []byte("<svg")) || bytes.HasPrefix(start, []byte("<?xml")) &&
		bytes.Contains(start, []byte("<svg")) {
		return "image/svg+xml"
	}
	switch t := http.DetectContentType(image); t {
	case "image/png", "image/webp", "image/jpeg":
		return t
	}
	return ""
}

// fields returns the colours with their names, those of Go and those of the style sheet.
func (c *Colours) fields() []struct {
	name, css string
	value     *string
} {
	return []struct {
		name, css string
		value     *string
	}{
		{"Background", "bg", &c.Background}, {"Card", "card", &c.Card}, {"Ink", "ink", &c.Ink}, {"Quiet", "quiet", &c.Quiet},
		{"Line", "line", &c.Line}, {"Edge", "edge", &c.Edge}, {"Accent", "accent", &c.Accent}, {"Good", "good", &c.Good},
		{"Warn", "warn", &c.Warn}, {"Bad", "bad", &c.Bad},
	}
}

// merged returns colours with those of own in the place of missing ones.
func merged(c, own Colours) Colours {
	all := own.fields()
	for i, f := range c.fields() {
		if *f.value == "" {
			*f.value = *all[i].value
		}
	}
	return c
}

// styleOf returns the variables of the style sheet for the colours of a theme, or "" if there are none. It panics if
// they cannot be read, or not be told apart.
func styleOf(theme string, c, own Colours) string {
	if c == (Colours{}) {
		return ""
	}
	all := merged(c, own)
	rgb := map[string]colour{}
	var b strings.Builder
	for _, f := range all.fields() {
		x, err := parseColour(*f.value)
		if err != nil {
			panic(fmt.Sprintf("console: Options.Look.%s.%s: %v", theme, f.name, err))
		}
		rgb[f.name] = x
		b.WriteString("--" + f.css + ":" + x.String() + ";")
	}
	card := rgb["Card"]
	onAccent := colour{255, 255, 255}
	if dark := (colour{13, 17, 20}); contrast(dark, rgb["Accent"]) > contrast(onAccent, rgb["Accent"]) {
		onAccent = dark
	}
	wash := rgb["Accent"].over(card, 0.1)
	b.WriteString("--on-accent:" + onAccent.String() + ";--wash:" + wash.String())
	grounds := map[string]colour{}
	for _, name := range []string{"Good", "Warn", "Bad"} {
		grounds[name] = rgb[name].over(card, 0.1)
		b.WriteString(";--" + strings.ToLower(name) + "-bg:" + grounds[name].String())
	}
	for _, p := range []struct {
		what     string
		on, with colour
		ground   string
		least    float64
	}{
		{"Ink", rgb["Background"], rgb["Ink"], "Background", 4.5}, {"Ink", card, rgb["Ink"], "Card", 4.5},
		{"Ink", wash, rgb["Ink"], "what is chosen", 4.5},
		{"Quiet", rgb["Background"], rgb["Quiet"], "Background", 4.5}, {"Quiet", card, rgb["Quiet"], "Card", 4.5},
		{"Accent", rgb["Background"], rgb["Accent"], "Background", 4.5}, {"Accent", card, rgb["Accent"], "Card", 4.5},
		{"Accent", rgb["Accent"], onAccent, "a text on it", 4.5},
		{"Good", grounds["Good"], rgb["Good"], "its ground", 4.5}, {"Warn", grounds["Warn"], rgb["Warn"], "its ground", 4.5},
		{"Bad", grounds["Bad"], rgb["Bad"], "its ground", 4.5}, {"Bad", card, rgb["Bad"], "Card", 4.5},
		{"Warn", card, rgb["Warn"], "Card", 4.5}, {"Bad", rgb["Background"], rgb["Bad"], "Background", 4.5},
		{"Edge", card, rgb["Edge"], "Card", 3}, {"Edge", rgb["Background"], rgb["Edge"], "Background", 3},
	} {
		if got := contrast(p.on, p.with); got < p.least {
			panic(fmt.Sprintf("console: Options.Look.%s.%s: the contrast with %s is %.2f, and must be at least %.1f", theme,
				p.what, p.ground, got, p.least))
		}
	}
	return b.String()
}

// colour is red, green and blue.
type colour [3]uint8

func parseColour(s string) (colour, error) {
	n, err := strconv.ParseUint(strings.TrimPrefix(s, "#"), 16, 32)
	if err != nil || len(s) != 7 || s[0] != '#' {
		return colour{}, fmt.Errorf("%q is no colour, such as #0b5a63", s)
	}
	return colour{uint8(n >> 16), uint8(n >> 8), uint8(n)}, nil
}

func (c colour) String() string { return fmt.Sprintf("#%02x%02x%02x", c[0], c[1], c[2]) }

// over returns the colour of a thin layer of c over another one.
func (c colour) over(under colour, share float64) (out colour) {
	for i := range out {
		out[i] = uint8(math.Round(share*float64(c[i]) + (1-share)*float64(under[i])))
	}
	return out
}

// luminance returns the relative luminance of a colour (WCAG 2.2).
func (c colour) luminance() float64 {
	linear := func(v uint8) float64 {
		if s := float64(v) / 255; s > 0.04045 {
			return math.Pow((s+0.055)/1.055, 2.4)
		}
		return float64(v) / 255 / 12.92
	}
	return 0.2126*linear(c[0]) + 0.7152*linear(c[1]) + 0.0722*linear(c[2])
}

// contrast returns the contrast ratio of two colours (WCAG 2.2), from 1 to 21.
func contrast(a, b colour) float64 {
	x, y := a.luminance(), b.luminance()
	return (max(x, y) + 0.05) / (min(x, y) + 0.05)
}
