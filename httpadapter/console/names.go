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

// Names come from people, and may hold characters that nobody sees, or that turn round what stands beside them. A
// page shows those as what they are, "⟨U+202E⟩", wherever they stand: [visible] sees to it for a whole page. In the
// fields of a form they stand as they are, written as references ([asTyped]), so that a form sent as it was drawn
// changes nothing.

// unseen reports whether r is drawn as nothing, or changes how what stands beside it is drawn. The runes before and
// after it tell apart what a script or an emoji needs; 0 is none.
func invisible(r, before, after rune) bool {
	switch {
	case r < ' ':
		return r != '\n' && r != '\t' && r != '\r'
	case r < 0x7f:
		return false
	case r == 0x200c || r == 0x200d: // joiners: between letters that join, and inside emoji
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

// eachUnseen calls found with each rune of s that is unseen, and plain with what lies between.
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

// escaped is how a page shows a rune that cannot be seen.
func escaped(r rune) string { return fmt.Sprintf("⟨U+%04X⟩", r) }

// visible is a page with what cannot be seen made visible.
func visible(page string) string {
	var b strings.Builder
	b.Grow(len(page))
	eachInvisible(page, func(s string) { b.WriteString(s) }, func(r rune) { // as escaped does, of what nobody may have sent
		b.WriteString("⟨U+")
		writeHex(&b, r, 4)
		b.WriteString("⟩")
	})
	return b.String()
}

// asTyped is a text for a field of a form: [visible] leaves it alone.
func asTyped(s string) template.HTML {
	var b strings.Builder
	writeTyped(&b, s)
	return template.HTML(b.String()) // escaped above
}

// writeTyped writes what asTyped returns. It allocates nothing of its own, for it also writes what nobody sent.
func writeTyped(b *strings.Builder, s string) {
	eachInvisible(s, func(s string) { writeHTML(b, s) }, func(r rune) {
		b.WriteString("&#x")
		writeHex(b, r, 1)
		b.WriteByte(';')
	})
}

// writeHex writes a rune in at least so many upper-case hexadecimal digits.
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

// asSent is what a browser sends of a field that was drawn with s and left alone (HTML, "form submission" and "value
// sanitization"), as the console reads it: without line breaks if it has one line, and without spaces around it.
// References to U+0080 to U+009F mean other characters.
func asSent(s string, oneLine bool) string {
	s = html.UnescapeString(string(asTyped(s)))
	s = strings.NewReplacer("\r\n", "\n", "\r", "\n").Replace(s)
	if oneLine {
		s = strings.ReplaceAll(s, "\n", "")
	}
	return strings.TrimSpace(s)
}

// exact is the name of a role as a page shows it. Names of roles are compared byte for byte, so spaces that could be
// taken for others, or for none, are shown, too.
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

// misleading says what is wrong with a new name of a role: it holds what cannot be seen, or spaces that look like
// others. "": nothing is.
func misleading(name string) (wrong string) {
	eachInvisible(name, func(string) {}, func(r rune) {
		if wrong == "" {
			wrong = fmt.Sprintf("The name holds the character U+%04X, which cannot be seen. Leave it out.", r)
		}
	})
	if wrong != "" {
		return wrong
	}
	for _, r := range name {
		if unicode.IsSpace(r) && r != ' ' {
			return fmt.Sprintf("The name holds the character U+%04X, which looks like a space. Write a plain space.", r)
		}
	}
	if strings.Contains(name, "  ") {
		return "The name holds two spaces side by side, which look like one. Write one."
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

// skeleton is a name without what eyes do not tell apart: case, composed or decomposed letters, wide or narrow ones,
// those of other scripts that are drawn alike, spaces, and what cannot be seen. Two names with one skeleton look
// alike.
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
