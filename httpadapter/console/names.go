package console

import (
	"fmt"
	"html"
	"html/template"
	"slices"
	"strings"
	"unicode"
	"unicode/utf8"
)

// Names are typed by people. They may hold characters that are invisible, or that reverse the text beside them. A
// page shows such a character as its code point, "⟨U+202E⟩": [visible] replaces it in the whole page. Fields of a
// form hold it as a character reference ([asTyped]), so that a form that is sent unchanged changes nothing.

// invisible reports whether r is drawn as nothing, or changes how the text beside it is drawn. The runes before and
// after it tell what a script or an emoji needs; 0 is none.
func invisible(r, before, after rune) bool {
	switch {
	case r < ' ':
		return r != '\n' && r != '\t' && r != '\r'
	case r < 0x7f:
		return false
	case r == 0x200c || r == 0x200d: // joiners: needed between letters that join, and in emoji
		return before < 0x300 || after < 0x300
	case r == 0xfe0e || r == 0xfe0f: // how an emoji is drawn
		return after != 0x20e3 && (before < 0xa0 || unicode.IsLetter(before))
	case unicode.Is(unicode.Prepended_Concatenation_Mark, r):
		return false
	}
	return r == 0x2800 || unicode.In(r, unicode.Cc, unicode.Cf, unicode.Zl, unicode.Zp, unicode.Co,
		unicode.Variation_Selector,
		unicode.Other_Default_Ignorable_Code_Point)
}

// eachInvisible calls found with each invisible rune of s, and plain with the text between.
func eachInvisible(s string, plain func(string), found func(rune)) {
	from, before := 0, rune(0)
	for at := 0; at < len(s); {
		r, n := utf8.DecodeRuneInString(s[at:])
		if r >= 0x7f || r < ' ' {
			after, _ := utf8.DecodeRuneInString(s[at+n:])
			if at+n == len(s) {
				after = 0
			}
			if invisible(r, before, after) {
				plain(s[from:at])
				found(r)
				from = at + n
			}
		}
		before = r
		at += n
	}
	plain(s[from:])
}

// escaped returns what a page shows for an invisible rune.
func escaped(r rune) string { return fmt.Sprintf("⟨U+%04X⟩", r) }

// visible returns a page with its invisible characters made visible.
func visible(page string) string {
	var b strings.Builder
	b.Grow(len(page))
	eachInvisible(
		page,
		func(s string) { b.WriteString(s) },
		func(r rune) { // as escaped does, without allocating: the sender may be unknown
			b.WriteString("⟨U+")
			writeHex(&b, r, 4)
			b.WriteString("⟩")
		},
	)
	return b.String()
}

// brief cuts a text to about most bytes of a page, of which some characters take many. It is for the names in the rows
// of a page.
func brief(s string, most int) string {
	for i, r := range s {
		switch {
		case strings.ContainsRune(`"'&<>`, r):
			most -= len("&#34;")
		case invisible(r, 0, 0):
			most -= len("⟨U+0000⟩")
		default:
			most -= utf8.RuneLen(r)
		}
		if most < 0 {
			return s[:i] + "…"
		}
	}
	return s
}

// asTyped returns a text for a field of a form; [visible] leaves it unchanged.
func asTyped(s string) template.HTML {
	var b strings.Builder
	writeTyped(&b, s)
	return template.HTML(b.String()) // escaped above
}

// writeTyped writes what asTyped returns. It does not allocate, since the sender of the text may be unknown.
func writeTyped(b *strings.Builder, s string) {
	eachInvisible(s, func(s string) { writeHTML(b, s) }, func(r rune) {
		b.WriteString("&#x")
		writeHex(b, r, 1)
		b.WriteByte(';')
	})
}

// writeHex writes a rune in at least digits upper-case hexadecimal digits.
func writeHex(b *strings.Builder, r rune, digits int) {
	for shift := 28; shift >= 0; shift -= 4 {
		if uint32(r)>>shift != 0 || shift < 4*digits {
			b.WriteByte("0123456789ABCDEF"[r>>shift&0xf])
		}
	}
}

// writeHTML writes what template.HTMLEscapeString returns.
func writeHTML(b *strings.Builder, s string) {
	for i := range len(s) {
		switch c := s[i]; c {
		case 0:
			b.WriteString("\uFFFD")
		case '"':
			b.WriteString("&#34;")
		case '\'':
			b.WriteString("&#39;")
		case '&':
			b.WriteString("&amp;")
		case '<':
			b.WriteString("&lt;")
		case '>':
			b.WriteString("&gt;")
		default:
			b.WriteByte(c)
		}
	}
}

// asSent returns what a browser sends for a field that showed s and was not edited, as the console reads it (HTML,
// "form submission" and "value sanitization"). A field with one line loses line breaks, and spaces around the text
// are trimmed. Character references to U+0080 to U+009F mean other characters.
func asSent(s string, oneLine bool) string {
	s = html.UnescapeString(string(asTyped(s)))
	s = strings.NewReplacer("\r\n", "\n", "\r", "\n").Replace(s)
	if oneLine {
		s = strings.ReplaceAll(s, "\n", "")
	}
	return strings.TrimSpace(s)
}

// exact returns the name of a role as a page shows it. Names of roles are compared byte for byte. So unusual spaces,
// and spaces that could be overlooked, are shown as code points.
func exact(name string) string {
	var b strings.Builder
	for i, r := range name {
		odd := unicode.IsSpace(r) && (r != ' ' || i == 0 || i == len(name)-1 || name[i-1] == ' ')
		if odd {
			b.WriteString(escaped(r))
		} else {
			b.WriteRune(r)
		}
	}
	return b.String()
}

// misleading returns what is wrong with a new name of a role: invisible characters, or spaces that look like others.
// "" means that nothing is.
func (v *view) misleading(name string) (wrong template.HTML) {
	eachInvisible(name, func(string) {}, func(r rune) {
		if wrong == "" {
			wrong = v.rich("role.invisible", "code", fmt.Sprintf("U+%04X", r))
		}
	})
	if wrong != "" {
		return wrong
	}
	for _, r := range name {
		if unicode.IsSpace(r) && r != ' ' {
			return v.rich("role.odd-space", "code", fmt.Sprintf("U+%04X", r))
		}
	}
	if strings.Contains(name, "  ") {
		return v.rich("role.two-spaces")
	}
	return ""
}

var plainLetters, marksOff = func() (map[rune]rune, map[rune][2]rune) {
	one, two := map[rune]rune{}, map[rune][2]rune{}
	for _, table := range []string{variants, twins} {
		runes := []rune(table)
		for i := 0; i+1 < len(runes); i += 2 {
			one[runes[i]] = runes[i+1]
		}
	}
	for mark, table := range composed {
		runes := []rune(table)
		for i := 0; i+1 < len(runes); i += 2 {
			two[runes[i]] = [2]rune{runes[i+1], mark}
		}
	}
	return one, two
}()

// skeleton returns a name without what people do not tell apart: case, composed or wide letters, look-alike letters
// of other scripts, kinds of space, and invisible characters. Two names look alike if their skeletons are equal (see
// Unicode UTS #39).
func skeleton(name string) string {
	var out []rune
	var add func(r rune)
	add = func(r rune) {
		switch {
		case r >= 0xff01 && r <= 0xff5e: // full width
			add(r - 0xff01 + '!')
		case r >= 0xac00 && r <= 0xd7a3: // Hangul syllables (Unicode 16.0, section 3.12)
			s := r - 0xac00
			out = append(out, 0x1100+s/588, 0x1161+s%588/28)
			if t := s % 28; t != 0 {
				out = append(out, 0x11a7+t)
			}
		case marksOff[r] != [2]rune{}:
			add(marksOff[r][0])
			add(marksOff[r][1])
		case plainLetters[r] != 0:
			add(plainLetters[r])
		default:
			out = append(out, unicode.ToLower(unicode.ToUpper(r)))
		}
	}
	eachInvisible(name, func(s string) {
		for _, r := range s {
			if unicode.IsSpace(r) {
				r = ' '
			}
			add(r)
		}
	}, func(rune) {})
	for i := 0; i < len(out); { // marks on one letter may stand in any order
		j := i
		for j < len(out) && unicode.Is(unicode.Mn, out[j]) {
			j++
		}
		slices.Sort(out[i:j])
		i = max(j, i+1)
	}
	return strings.Join(strings.Fields(string(out)), " ")
}
